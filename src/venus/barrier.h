/* SPDX-License-Identifier: MIT */
/*
 * Ownership transfers to and from queue families outside of the device: what is outside is the guest's notion (its
 * compositor, its kernel), and on the host the same memory. Their layout transitions stay, the transfer goes.
 */
#ifndef PV_VENUS_BARRIER_H
#define PV_VENUS_BARRIER_H

#include <vulkan/vulkan.h>

#include "base/base.h"

/* Both of a barrier's queue families. */
static inline void pv_venus_barrier_fix(uint32_t *source, uint32_t *destination)
{
	/* External, and foreign: the two highest below IGNORED. */
	if ((*source >= VK_QUEUE_FAMILY_FOREIGN_EXT && *source != VK_QUEUE_FAMILY_IGNORED) ||
	    (*destination >= VK_QUEUE_FAMILY_FOREIGN_EXT && *destination != VK_QUEUE_FAMILY_IGNORED)) {
		*source = VK_QUEUE_FAMILY_IGNORED;
		*destination = VK_QUEUE_FAMILY_IGNORED;
	}
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What barriers say of a world that the host does not have.
 *
 * Ownership transfers to and from queue families outside of the device: what is outside is the guest's notion (its
 * compositor, its kernel), and on the host the same memory. Their layout transitions stay, the transfer goes.
 *
 * Preinitialized images, linear ones that the CPU fills first: they are bound to imported memory, so they are external
 * images, and those start undefined. A transition from undefined may lose what is in an image; what drivers do is to
 * reset its compression, which linear images do not have.
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

static inline void pv_venus_barrier_fix_layout(VkImageLayout *old)
{
	if (*old == VK_IMAGE_LAYOUT_PREINITIALIZED)
		*old = VK_IMAGE_LAYOUT_UNDEFINED;
}

#endif

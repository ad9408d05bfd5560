/* SPDX-License-Identifier: MIT */
/*
 * Portability mode: what MoltenVK 1.4 lacks is hidden from our own renderer, so that the way a Mac will go can be
 * tested on any host. Extensions are those of its list; features are masked where they are asked for and refused where
 * they are to be enabled.
 */
#ifndef PV_VENUS_PORTABILITY_H
#define PV_VENUS_PORTABILITY_H

#include <vulkan/vulkan.h>

#include "base/base.h"

/* A device extension of MoltenVK 1.4. */
bool pv_venus_portability_has_extension(const char *name);
/* Clears in `features` what is hidden. */
void pv_venus_portability_mask_features(VkPhysicalDeviceFeatures *features);
/* The same in a chain of feature structs, VkPhysicalDeviceFeatures2 included. */
void pv_venus_portability_mask_chain(void *chain);
/* A chain for vkCreateDevice (`features`: pEnabledFeatures, or NULL) wants something hidden. */
bool pv_venus_portability_wants_hidden(const void *chain, const VkPhysicalDeviceFeatures *features);

#endif

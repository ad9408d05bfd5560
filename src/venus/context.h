/* SPDX-License-Identifier: MIT */
/* One guest process's use of Vulkan: its objects, rings, resources and, once created, its instance. */
#ifndef PV_VENUS_CONTEXT_H
#define PV_VENUS_CONTEXT_H

#include "venus/generated/functions.h"
#include "venus/object.h"

struct pv_venus_context {
	uint32_t id;
	struct pv_venus_object_table *objects;
	/* Valid once vkCreateInstance succeeded; there is one instance a context, for its whole life. */
	struct pv_venus_instance_functions instance_fn;
	VkInstance instance;
};

#endif

/* SPDX-License-Identifier: MIT */
/* One guest process's use of Vulkan: its objects, rings, resources and, once created, its instance. */
#ifndef PV_VENUS_CONTEXT_H
#define PV_VENUS_CONTEXT_H

#include "base/mutex.h"
#include "venus/generated/functions.h"
#include "venus/host.h"
#include "venus/object.h"

struct pv_venus_context {
	uint32_t id;
	struct pv_venus_object_table *objects;

	/* ---- Host Vulkan ---- */
	/* Immutable after create; its chosen device is what the guest sees. */
	const struct pv_venus_host_device *host_device;
	/* Valid once vkCreateInstance succeeded; there is one instance a context, for its whole life. */
	struct pv_venus_instance_functions instance_fn;
	VkInstance instance;
	struct pv_venus_object *instance_object;
	/* The host's handle of host_device in `instance`. */
	VkPhysicalDevice physical_device;
	/* Guards what follows, the creation of the instance, and the life of VkDeviceMemory against blob creation. A leaf. */
	struct pv_mutex vulkan_lock;
	struct pv_venus_device *devices;
};

/* Before the context's first command. */
void pv_venus_context_init_vulkan(struct pv_venus_context *context, const struct pv_venus_host_device *host_device);
/*
 * Destroys all Vulkan objects of a context whose threads have ended, in whatever state they are, and waits for the
 * host's GPU to be done with them. Afterwards the object table is empty of them.
 */
void pv_venus_context_release_vulkan(struct pv_venus_context *context);

#endif

/* SPDX-License-Identifier: MIT */
/* Looks at one device of the host: what it is, and what it can do for a guest. Used at start only. */
#ifndef PV_VENUS_HOST_PROBE_H
#define PV_VENUS_HOST_PROBE_H

#include "venus/host.h"

/* An instance of our own, apart from those of contexts. {0} is finished. */
struct pv_venus_probe {
	VkInstance instance;
	PFN_vkDestroyInstance destroy_instance;
	PFN_vkEnumeratePhysicalDevices list;
	PFN_vkGetPhysicalDeviceProperties2 get_properties;
	PFN_vkGetPhysicalDeviceFeatures2 get_features;
	PFN_vkGetPhysicalDeviceMemoryProperties get_memory;
	PFN_vkGetPhysicalDeviceQueueFamilyProperties get_queue_families;
	PFN_vkGetPhysicalDeviceExternalSemaphoreProperties get_semaphore;
	PFN_vkEnumerateDeviceExtensionProperties list_extensions;
	PFN_vkCreateDevice create_device;
	PFN_vkGetDeviceProcAddr get_device_proc;
};

PV_MUST_USE enum pv_status pv_venus_probe_init(struct pv_venus_probe *probe);
void pv_venus_probe_finish(struct pv_venus_probe *probe);

/* Fills in what the driver says of itself, and `refusal` if that is enough to refuse it. */
void pv_venus_probe_identify(const struct pv_venus_probe *probe, VkPhysicalDevice handle,
			     struct pv_venus_host_device *device);
/* After identify, for a usable one: makes a device for a moment and fills in the rest, or `refusal`. */
void pv_venus_probe_device(const struct pv_venus_probe *probe, VkPhysicalDevice handle,
			   struct pv_venus_host_device *device);

/* ---- The parts that decide, for tests ---- */

/* The guest's extension list from the host's. `out` has room for `count` + PV_VENUS_MAX_VIRTUAL_EXTENSIONS. */
#define PV_VENUS_MAX_VIRTUAL_EXTENSIONS 8
uint32_t pv_venus_probe_filter_extensions(const struct pv_venus_host_device *device, const VkExtensionProperties *host,
					  uint32_t count, VkExtensionProperties *out);
/* An extension the guest may enable that never reaches the host. */
bool pv_venus_extension_is_virtual(const char *name);
/*
 * One that the guest's driver implements by itself and offers by itself. It still says so when it creates a device, and
 * the host's driver wants to know if it has it too: others depend on it.
 */
bool pv_venus_extension_is_guests_own(const char *name);
/* What of `memory` a guest is shown when only `importable_types` can be shared with it. */
void pv_venus_probe_filter_memory(VkPhysicalDeviceMemoryProperties *memory, uint32_t importable_types);
/* Heaps of types that are importable are `max_bytes` large at the most. */
void pv_venus_probe_limit_memory(VkPhysicalDeviceMemoryProperties *memory, uint32_t importable_types,
				 uint64_t max_bytes);

/* Enables VK_KHR_portability_enumeration where the loader has it. *flags: for VkInstanceCreateInfo. */
uint32_t pv_venus_host_instance_extensions(const char **names, VkInstanceCreateFlags *flags);

#endif

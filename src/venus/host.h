/* SPDX-License-Identifier: MIT */
/*
 * The host's Vulkan devices, looked at once: which there are, what each can do for a guest, and the one that contexts
 * are shown. Immutable after create; any thread.
 *
 * A guest sees exactly one device, the chosen one. A machine with a GPU usually lists a CPU renderer beside it, which
 * would only be one more way for a guest's program to become slow without a word.
 */
#ifndef PV_VENUS_HOST_H
#define PV_VENUS_HOST_H

#include <vulkan/vulkan.h>

#include "base/base.h"

struct pv_venus_host;

struct pv_venus_host_params {
	/* A number in the list, or a part of one device's name (case does not matter). NULL: the best usable one. */
	const char *device;
	/* Hide what MoltenVK lacks: each extension and feature. For tests of the way a Mac will go. */
	bool emulate_portability;
	/*
	 * The guest's kernel makes dma-bufs of blobs (a virtio-gpu device). Over vtest it cannot: applications are then
	 * not told of dma-bufs, and the guest's window system copies.
	 */
	bool dma_buf;
	/* For a virtual machine: a device that runs on a CPU is shown as a virtual GPU. */
	bool virtual_gpu;
	/* Heaps of memory that can be imported, which is the host's, are not shown larger than this. 0: no limit. */
	uint64_t max_memory_bytes;
	/* Look at all devices closely, not just at the chosen one: for a list. */
	bool all;
};

#define PV_VENUS_MAX_GUESTS_OWN 3

struct pv_venus_host_device {
	uint32_t index; /* in the list, which has the best first; what --device takes */
	/* As the host's driver says; API version not capped. */
	VkPhysicalDeviceProperties properties;
	VkPhysicalDeviceIDProperties id;
	VkPhysicalDeviceDriverProperties driver;
	uint64_t device_local_bytes; /* of its largest heap */
	/* NULL: usable. Else why not, for people; static storage. */
	const char *refusal;

	/* ---- What a guest is shown. Valid once the device was looked at closely (`probed`) and is usable. ---- */
	bool probed;
	uint32_t api_version; /* of the device, capped */
	VkExtensionProperties *extensions;
	uint32_t nr_extensions;
	/* Types that host memory cannot be imported into have lost HOST_VISIBLE. */
	VkPhysicalDeviceMemoryProperties memory;
	VkQueueFamilyProperties *queue_families;
	uint32_t nr_queue_families;

	/* ---- How the host's driver is used ---- */
	uint32_t importable_types; /* mask of memory types that memory of ours can be imported into */
	uint64_t import_alignment; /* of address and size: driver, host page and guest page */
	bool portability_subset;   /* VK_KHR_portability_subset must be enabled */
	bool imports_sync_fd;      /* semaphores take sync files, of which -1 is a signalled one */
	bool zeroes_memory;        /* the driver's own memory can be had zeroed: nothing of one guest for another */
	/* Of the guest driver's own extensions (host_probe.h) those that the host has: static names. */
	const char *guests_own[PV_VENUS_MAX_GUESTS_OWN];
	uint32_t nr_guests_own;
	bool emulate_portability, dma_buf, virtual_gpu; /* as in the params */
	uint64_t max_memory_bytes;
	/* Which one of several alike: the driver's list is in the same order for each instance. */
	uint32_t nr_alike_before;
};

/*
 * Loads the Vulkan loader's drivers. PV_ERR_HOST: there is no Vulkan at all. A machine without a usable device is not
 * an error here: nothing is chosen then.
 */
PV_MUST_USE enum pv_status pv_venus_host_create(const struct pv_venus_host_params *params, struct pv_venus_host **out);
void pv_venus_host_destroy(struct pv_venus_host *host);

/* Best first. */
const struct pv_venus_host_device *pv_venus_host_devices(const struct pv_venus_host *host, size_t *out_count);
/* What guests are shown; NULL: none is usable, or none matches params.device; *out_why (static) then says so. */
const struct pv_venus_host_device *pv_venus_host_chosen(const struct pv_venus_host *host, const char **out_why);

/* Of a device that can be used: the largest heap of memory that ours can be imported into. */
uint64_t pv_venus_host_device_importable_bytes(const struct pv_venus_host_device *device);

/* The same device in another instance; NULL: it is gone. `list` and `get` are that instance's functions. */
VkPhysicalDevice pv_venus_host_device_find(const struct pv_venus_host_device *device, VkInstance instance,
					   PFN_vkEnumeratePhysicalDevices list, PFN_vkGetPhysicalDeviceProperties2 get);

#endif

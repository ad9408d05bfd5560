/* SPDX-License-Identifier: MIT */
#define VK_ENABLE_BETA_EXTENSIONS /* VK_KHR_portability_subset's struct */
#include "venus/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "venus/chain.h"
#include "venus/handler.h"
#include "venus/host.h"
#include "venus/host_probe.h"
#include "venus/memory.h"
#include "venus/portability.h"
#include "venus/queue.h"
#include "venus/sync.h"

static const char module[] = "venus";

#define MAX_QUEUES_PER_FAMILY 256
#define MAX_QUEUE_INFOS       64

/* Extensions that guests do not ask for: see host_names(). */
#define MAX_OWN_EXTENSIONS 4

/* ---- Creation ---- */

static bool shown(const struct pv_venus_host_device *host, const char *name)
{
	for (uint32_t i = 0; i < host->nr_extensions; i++)
		if (strcmp(host->extensions[i].extensionName, name) == 0)
			return true;
	return false;
}

static bool listed(const char *const *names, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* What the host's device is to be created with. NULL: *result says why not. */
static const char **host_names(struct pv_venus_decoder *d, const VkDeviceCreateInfo *info, uint32_t *out_count,
			       VkResult *result)
{
	const struct pv_venus_host_device *host = d->context->host_device;
	const char **names;
	uint32_t used = 0;

	names = pv_venus_alloc(d, ((uint64_t)info->enabledExtensionCount + MAX_OWN_EXTENSIONS) * sizeof(*names));
	if (!names) {
		*result = VK_ERROR_OUT_OF_HOST_MEMORY;
		return NULL;
	}
	for (uint32_t i = 0; i < info->enabledExtensionCount; i++) {
		const char *name = info->ppEnabledExtensionNames[i];

		if (pv_venus_extension_is_guests_own(name)) {
			if (listed(host->guests_own, host->nr_guests_own, name) && !listed(names, used, name))
				names[used++] = name;
			continue;
		}
		if (!shown(host, name)) {
			PV_LOG_LIMITED(PV_LOG_WARNING, module, "context %u: wants %.80s, which it was not shown",
				       d->context->id, name);
			*result = VK_ERROR_EXTENSION_NOT_PRESENT;
			return NULL;
		}
		if (!pv_venus_extension_is_virtual(name) && !listed(names, used, name))
			names[used++] = name;
	}
	names[used++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
	if (host->portability_subset && !listed(names, used, VK_KHR_PORTABILITY_SUBSET_EXTENSION_NAME))
		names[used++] = VK_KHR_PORTABILITY_SUBSET_EXTENSION_NAME;
	if (host->imports_sync_fd)
		names[used++] = VK_KHR_EXTERNAL_SEMAPHORE_FD_EXTENSION_NAME;
	if (host->zeroes_memory)
		names[used++] = "VK_EXT_zero_initialize_device_memory";
	*out_count = used;
	return names;
}

/* More queues than a family has, of all flags together, is for the guest's driver to prevent. */
static bool queues_are_possible(const struct pv_venus_host_device *host, const VkDeviceCreateInfo *info)
{
	for (uint32_t i = 0; i < info->queueCreateInfoCount; i++) {
		const VkDeviceQueueCreateInfo *queues = &info->pQueueCreateInfos[i];
		uint64_t sum = 0;

		if (queues->queueFamilyIndex >= host->nr_queue_families || i >= MAX_QUEUE_INFOS)
			return false;
		for (uint32_t k = 0; k <= i; k++) {
			const VkDeviceQueueCreateInfo *other = &info->pQueueCreateInfos[k];

			if (other->queueFamilyIndex != queues->queueFamilyIndex)
				continue;
			if (k < i && other->flags == queues->flags)
				return false;
			sum += other->queueCount;
		}
		if (sum > host->queue_families[queues->queueFamilyIndex].queueCount || sum > MAX_QUEUES_PER_FAMILY)
			return false;
	}
	return true;
}

static VkResult create_host_device(struct pv_venus_decoder *d, VkPhysicalDevice physical_device,
				   const VkDeviceCreateInfo *guests, VkDevice *out)
{
	struct pv_venus_context *context = d->context;
	const struct pv_venus_host_device *host = context->host_device;
	VkPhysicalDevicePortabilitySubsetFeaturesKHR subset = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PORTABILITY_SUBSET_FEATURES_KHR};
#ifdef VK_EXT_zero_initialize_device_memory
	VkPhysicalDeviceZeroInitializeDeviceMemoryFeaturesEXT zero = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ZERO_INITIALIZE_DEVICE_MEMORY_FEATURES_EXT,
	    .zeroInitializeDeviceMemory = VK_TRUE};
#endif
	VkDeviceCreateInfo info = *guests;
	VkDeviceGroupDeviceCreateInfo *group;
	VkResult result;

	group = pv_venus_chain_take(&info, VK_STRUCTURE_TYPE_DEVICE_GROUP_DEVICE_CREATE_INFO);
	if (group && group->physicalDeviceCount > 1)
		return VK_ERROR_INITIALIZATION_FAILED;
	if (!queues_are_possible(host, &info))
		return VK_ERROR_INITIALIZATION_FAILED;
	if (host->emulate_portability && pv_venus_portability_wants_hidden(info.pNext, info.pEnabledFeatures))
		return VK_ERROR_FEATURE_NOT_PRESENT;
	info.ppEnabledExtensionNames = host_names(d, &info, &info.enabledExtensionCount, &result);
	if (!info.ppEnabledExtensionNames)
		return result;
	info.enabledLayerCount = 0;
	if (host->portability_subset) {
		/* Guests know nothing of the subset: whatever of Vulkan it can be told to have, it shall have. */
		VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
						      .pNext = &subset};

		context->instance_fn.GetPhysicalDeviceFeatures2(physical_device, &features);
		subset.pNext = NULL;
		pv_venus_chain_push(&info, &subset);
	}
#ifdef VK_EXT_zero_initialize_device_memory
	if (host->zeroes_memory)
		pv_venus_chain_push(&info, &zero);
#endif
	return context->instance_fn.CreateDevice(physical_device, &info, NULL, out);
}

static bool enables_null_descriptor(const VkDeviceCreateInfo *info)
{
	const VkPhysicalDeviceRobustness2FeaturesEXT *features =
	    pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT);

	return features && features->nullDescriptor;
}

static bool enables_maintenance6(const VkDeviceCreateInfo *info)
{
	const VkPhysicalDeviceVulkan14Features *all =
	    pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_4_FEATURES);
	const VkPhysicalDeviceMaintenance6Features *one =
	    pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_6_FEATURES);

	return (all && all->maintenance6) || (one && one->maintenance6);
}

static struct pv_venus_device *new_device(struct pv_venus_context *context)
{
	struct pv_venus_device *device;

	pv_mutex_lock(&context->vulkan_lock);
	device = context->free_devices;
	if (device)
		context->free_devices = device->next;
	pv_mutex_unlock(&context->vulkan_lock);
	return device ? device : calloc(1, sizeof(*device));
}

static void keep_device(struct pv_venus_context *context, struct pv_venus_device **list, struct pv_venus_device *device)
{
	pv_mutex_lock(&context->vulkan_lock);
	device->next = *list;
	*list = device;
	pv_mutex_unlock(&context->vulkan_lock);
}

void pv_venus_handle_vkCreateDevice(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateDevice *args)
{
	struct pv_venus_context *context = d->context;
	struct pv_venus_object_info info = {.id = args->pDevice_id, .type = PV_VENUS_DEVICE};
	struct pv_venus_device *device;
	struct pv_venus_object *object;
	VkDevice handle = VK_NULL_HANDLE;

	pv_venus_check_new_id(d, args->pDevice_id, "vkCreateDevice.pDevice");
	if (d->failed)
		return;
	args->ret = create_host_device(d, args->physicalDevice, args->pCreateInfo, &handle);
	if (d->failed)
		return;
	device = args->ret == VK_SUCCESS ? new_device(context) : NULL;
	if (args->ret == VK_SUCCESS && !device) {
		PFN_vkDestroyDevice destroy =
		    (PFN_vkDestroyDevice)context->instance_fn.GetDeviceProcAddr(handle, "vkDestroyDevice");

		destroy(handle, NULL);
		args->ret = VK_ERROR_OUT_OF_HOST_MEMORY;
	}
	if (args->ret != VK_SUCCESS) {
		PV_LOG_LIMITED(PV_LOG_WARNING, module, "context %u: vkCreateDevice: VkResult %d", context->id,
			       args->ret);
		/* Nothing to take back if that fails. */
		(void)!pv_venus_created(d, PV_VENUS_DEVICE, args->pDevice_id, 0, args->ret, NULL);
		return;
	}
	pv_venus_device_functions_load(&device->fn, context->instance_fn.GetDeviceProcAddr, handle);
	device->handle = handle;
	device->context = context;
	device->host = context->host_device;
	device->queues = NULL;
	device->object = NULL;
	device->null_descriptor = enables_null_descriptor(args->pCreateInfo);
	device->maintenance6 = enables_maintenance6(args->pCreateInfo);
	device->import_semaphore =
	    device->host->imports_sync_fd
		? (PFN_vkImportSemaphoreFdKHR)context->instance_fn.GetDeviceProcAddr(handle, "vkImportSemaphoreFdKHR")
		: NULL;
	info.handle = PV_VENUS_HANDLE(handle);
	info.device = device;
	if (pv_venus_queues_create(device, args->pCreateInfo) != PV_OK) {
		pv_venus_device_destroy(device);
		args->ret = VK_ERROR_OUT_OF_HOST_MEMORY;
		(void)!pv_venus_created(d, PV_VENUS_DEVICE, args->pDevice_id, 0, args->ret, NULL);
		return;
	}
	if (pv_venus_object_add(d->objects, &info, &object) != PV_OK) {
		pv_venus_device_destroy(device);
		pv_venus_fail(d, "vkCreateDevice.pDevice", "the id is taken", args->pDevice_id);
		return;
	}
	device->object = object;
	keep_device(context, &context->devices, device);
	*args->pDevice = handle;
}

/* ---- Destruction ---- */

/* How long work that was submitted may take to end by itself when its device is to be destroyed. */
#define PATIENCE_NS UINT64_C(2000000000)

struct leftovers {
	struct pv_venus_object_info *items;
	size_t count, room;
};

static void destroy_child(struct pv_venus_device *device, const struct pv_venus_object_info *child)
{
	if (child->handle != 0)
		pv_venus_destroy_handle(device, child->type, child->handle);
	if (child->type == PV_VENUS_DEVICE_MEMORY)
		pv_venus_memory_release(child->extra);
}

/* The newest first: what was made of something goes before it. False: there is no memory for the rest. */
static bool collect(struct pv_venus_device *device, struct leftovers *leftovers)
{
	struct pv_venus_object_table *objects = device->context->objects;
	struct pv_venus_object_info removed;

	if (!device->object)
		return true;
	/* It is there: nobody else destroys a device that is off the list. */
	(void)!pv_venus_object_remove(objects, device->object, &removed);
	for (;;) {
		if (leftovers->count == leftovers->room) {
			size_t room = leftovers->room ? leftovers->room * 2 : 64;
			struct pv_venus_object_info *items = realloc(leftovers->items, room * sizeof(*items));

			if (!items)
				return false;
			leftovers->items = items;
			leftovers->room = room;
		}
		if (!pv_venus_object_remove_child(objects, device->object, &leftovers->items[leftovers->count]))
			return true;
		leftovers->count++;
	}
}

/*
 * A guest that dies may leave work that waits for a semaphore it would have signalled. Nobody else will, and the host's
 * driver would wait for ever.
 */
static void release_waits(struct pv_venus_device *device, const struct leftovers *leftovers)
{
	for (size_t i = 0; i < leftovers->count; i++) {
		const struct pv_venus_object_info *child = &leftovers->items[i];
		VkSemaphoreSignalInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
		uint64_t value;

		if (child->type != PV_VENUS_SEMAPHORE || child->extra != PV_VENUS_TIMELINE_SEMAPHORE)
			continue;
		info.semaphore = (VkSemaphore)(uintptr_t)child->handle;
		if (device->fn.GetSemaphoreCounterValue(device->handle, info.semaphore, &value) != VK_SUCCESS)
			continue;
		/* Far ahead of any wait, and no farther than drivers allow. */
		info.value = value + INT32_MAX;
		device->fn.SignalSemaphore(device->handle, &info);
	}
}

void pv_venus_device_destroy(struct pv_venus_device *device)
{
	struct pv_venus_context *context = device->context;
	struct pv_venus_object_info child;
	struct leftovers leftovers = {0};
	bool all = collect(device, &leftovers);
	VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
	VkFence fence = VK_NULL_HANDLE;

	if (device->fn.CreateFence(device->handle, &info, NULL, &fence) == VK_SUCCESS &&
	    !pv_venus_queues_wait(device, fence, PATIENCE_NS)) {
		PV_LOG_LIMITED(PV_LOG_WARNING, module,
			       "context %u: its work does not end: what it waits for is signalled", context->id);
		release_waits(device, &leftovers);
	}
	device->fn.DeviceWaitIdle(device->handle);
	device->fn.DestroyFence(device->handle, fence, NULL);
	pv_venus_queues_destroy(device);
	for (size_t i = 0; i < leftovers.count; i++)
		destroy_child(device, &leftovers.items[i]);
	free(leftovers.items);
	while (!all && pv_venus_object_remove_child(context->objects, device->object, &child))
		destroy_child(device, &child);
	device->fn.DestroyDevice(device->handle, NULL);
	keep_device(context, &context->free_devices, device);
}

/* False: it is not on the list: another ring was faster. */
static bool unlist(struct pv_venus_context *context, const struct pv_venus_device *device)
{
	struct pv_venus_device **at;
	bool found;

	pv_mutex_lock(&context->vulkan_lock);
	at = &context->devices;
	while (*at && *at != device)
		at = &(*at)->next;
	found = *at != NULL;
	if (found)
		*at = (*at)->next;
	pv_mutex_unlock(&context->vulkan_lock);
	return found;
}

void pv_venus_handle_vkDestroyDevice(struct pv_venus_decoder *d, struct pv_venus_args_vkDestroyDevice *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);

	if (unlist(d->context, device))
		pv_venus_device_destroy(device);
}

void pv_venus_context_free_devices(struct pv_venus_context *context)
{
	while (context->free_devices) {
		struct pv_venus_device *device = context->free_devices;

		context->free_devices = device->next;
		free(device);
	}
	pv_venus_context_free_queues(context);
}

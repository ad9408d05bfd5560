/* SPDX-License-Identifier: MIT */
/* The one physical device a guest sees: its lists come from what was read at start (host.h). */
#include <string.h>

#include "venus/chain.h"
#include "venus/handler.h"
#include "venus/host.h"
#include "venus/portability.h"

/* Guests enumerate as often as they like; the device keeps the id it was given first. */
static void enter_physical_device(struct pv_venus_decoder *d, uint64_t id)
{
	struct pv_venus_context *context = d->context;
	struct pv_venus_object_info info = {
	    .id = id, .type = PV_VENUS_PHYSICAL_DEVICE, .handle = PV_VENUS_HANDLE(context->physical_device)};
	struct pv_venus_object *object;

	pv_mutex_lock(&context->vulkan_lock);
	info.owner = context->instance_object;
	if (context->physical_device_id == id) {
		pv_mutex_unlock(&context->vulkan_lock);
		return;
	}
	if (context->physical_device_id != 0 || id == 0) {
		pv_mutex_unlock(&context->vulkan_lock);
		pv_venus_fail(d, "vkEnumeratePhysicalDevices.pPhysicalDevices", "not the id it had before", id);
		return;
	}
	context->physical_device_id = id;
	pv_mutex_unlock(&context->vulkan_lock);
	if (pv_venus_object_add(d->objects, &info, &object) != PV_OK)
		pv_venus_fail(d, "vkEnumeratePhysicalDevices.pPhysicalDevices", "the id is taken", id);
}

void pv_venus_handle_vkEnumeratePhysicalDevices(struct pv_venus_decoder *d,
						struct pv_venus_args_vkEnumeratePhysicalDevices *args)
{
	struct pv_venus_context *context = d->context;
	uint32_t available = context->physical_device ? 1 : 0;
	uint32_t written = pv_venus_list(available, args->pPhysicalDevices, args->pPhysicalDeviceCount, &args->ret);

	if (written == 0)
		return;
	enter_physical_device(d, args->pPhysicalDevices_ids[0]);
	args->pPhysicalDevices[0] = context->physical_device;
}

/* One group of one device. A group of the host may have more in it, which the guest does not see. */
void pv_venus_handle_vkEnumeratePhysicalDeviceGroups(struct pv_venus_decoder *d,
						     struct pv_venus_args_vkEnumeratePhysicalDeviceGroups *args)
{
	struct pv_venus_context *context = d->context;
	uint32_t written = pv_venus_list(context->physical_device ? 1 : 0, args->pPhysicalDeviceGroupProperties,
					 args->pPhysicalDeviceGroupCount, &args->ret);
	uint64_t id;

	pv_mutex_lock(&context->vulkan_lock);
	id = context->physical_device_id;
	pv_mutex_unlock(&context->vulkan_lock);
	if (written == 0)
		return;
	if (id == 0) {
		args->ret = VK_ERROR_INITIALIZATION_FAILED; /* The guest has not given it a name yet. */
		*args->pPhysicalDeviceGroupCount = 0;
		return;
	}
	args->pPhysicalDeviceGroupProperties[0].physicalDeviceCount = 1;
	args->pPhysicalDeviceGroupProperties[0].physicalDevices[0] = (VkPhysicalDevice)(uintptr_t)id;
	args->pPhysicalDeviceGroupProperties[0].subsetAllocation = VK_FALSE;
}

void pv_venus_handle_vkEnumerateDeviceExtensionProperties(
    struct pv_venus_decoder *d, struct pv_venus_args_vkEnumerateDeviceExtensionProperties *args)
{
	const struct pv_venus_host_device *host = d->context->host_device;
	uint32_t written;

	if (args->pLayerName) {
		pv_venus_fail(d, "vkEnumerateDeviceExtensionProperties.pLayerName", "there are no layers", 0);
		return;
	}
	written = pv_venus_list(host->nr_extensions, args->pProperties, args->pPropertyCount, &args->ret);
	if (written > 0)
		memcpy(args->pProperties, host->extensions, written * sizeof(*args->pProperties));
}

/*
 * To a virtual machine the device is a virtual GPU, whatever draws behind it; its name says what. OpenGL on Vulkan
 * (zink) takes no CPU devices, and X no OpenGL with "llvmpipe" anywhere in its name, though the guest's own CPU would
 * be the slower one. Mesa's Vulkan driver of that name has another: lavapipe.
 */
static void show_properties(const struct pv_venus_host_device *host, VkPhysicalDeviceProperties *properties)
{
	static const char from[] = "llvmpipe", to[] = "lavapipe";
	char *name;

	properties->apiVersion = host->api_version;
	if (!host->virtual_gpu || properties->deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU)
		return;
	properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU;
	name = strstr(properties->deviceName, from);
	if (name)
		memcpy(name, to, sizeof(to) - 1);
}

void pv_venus_handle_vkGetPhysicalDeviceProperties(struct pv_venus_decoder *d,
						   struct pv_venus_args_vkGetPhysicalDeviceProperties *args)
{
	*args->pProperties = d->context->host_device->properties;
	show_properties(d->context->host_device, args->pProperties);
}

void pv_venus_handle_vkGetPhysicalDeviceProperties2(struct pv_venus_decoder *d,
						    struct pv_venus_args_vkGetPhysicalDeviceProperties2 *args)
{
	d->context->instance_fn.GetPhysicalDeviceProperties2(args->physicalDevice, args->pProperties);
	show_properties(d->context->host_device, &args->pProperties->properties);
}

void pv_venus_handle_vkGetPhysicalDeviceMemoryProperties(struct pv_venus_decoder *d,
							 struct pv_venus_args_vkGetPhysicalDeviceMemoryProperties *args)
{
	*args->pMemoryProperties = d->context->host_device->memory;
}

/* Heaps may be shown smaller than they are. */
static void limit_budget(const VkPhysicalDeviceMemoryProperties2 *properties)
{
	const VkPhysicalDeviceMemoryProperties *memory = &properties->memoryProperties;
	VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget =
	    pv_venus_chain_find(properties->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);

	for (uint32_t i = 0; budget && i < memory->memoryHeapCount; i++)
		budget->heapBudget[i] = pv_min_u64(budget->heapBudget[i], memory->memoryHeaps[i].size);
}

void pv_venus_handle_vkGetPhysicalDeviceMemoryProperties2(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceMemoryProperties2 *args)
{
	/* For the budget in the chain, which changes. */
	d->context->instance_fn.GetPhysicalDeviceMemoryProperties2(args->physicalDevice, args->pMemoryProperties);
	args->pMemoryProperties->memoryProperties = d->context->host_device->memory;
	limit_budget(args->pMemoryProperties);
}

static void mask_queue_family(const struct pv_venus_decoder *d, VkQueueFamilyProperties *properties)
{
	if (d->context->host_device->emulate_portability)
		properties->queueFlags &= ~(VkQueueFlags)(VK_QUEUE_SPARSE_BINDING_BIT | VK_QUEUE_PROTECTED_BIT);
}

void pv_venus_handle_vkGetPhysicalDeviceQueueFamilyProperties(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceQueueFamilyProperties *args)
{
	d->context->instance_fn.GetPhysicalDeviceQueueFamilyProperties(
	    args->physicalDevice, args->pQueueFamilyPropertyCount, args->pQueueFamilyProperties);
	for (uint32_t i = 0; args->pQueueFamilyProperties && i < *args->pQueueFamilyPropertyCount; i++)
		mask_queue_family(d, &args->pQueueFamilyProperties[i]);
}

void pv_venus_handle_vkGetPhysicalDeviceQueueFamilyProperties2(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceQueueFamilyProperties2 *args)
{
	d->context->instance_fn.GetPhysicalDeviceQueueFamilyProperties2(
	    args->physicalDevice, args->pQueueFamilyPropertyCount, args->pQueueFamilyProperties);
	for (uint32_t i = 0; args->pQueueFamilyProperties && i < *args->pQueueFamilyPropertyCount; i++)
		mask_queue_family(d, &args->pQueueFamilyProperties[i].queueFamilyProperties);
}

void pv_venus_handle_vkGetPhysicalDeviceFeatures(struct pv_venus_decoder *d,
						 struct pv_venus_args_vkGetPhysicalDeviceFeatures *args)
{
	d->context->instance_fn.GetPhysicalDeviceFeatures(args->physicalDevice, args->pFeatures);
	if (d->context->host_device->emulate_portability)
		pv_venus_portability_mask_features(args->pFeatures);
}

void pv_venus_handle_vkGetPhysicalDeviceFeatures2(struct pv_venus_decoder *d,
						  struct pv_venus_args_vkGetPhysicalDeviceFeatures2 *args)
{
	d->context->instance_fn.GetPhysicalDeviceFeatures2(args->physicalDevice, args->pFeatures);
	if (d->context->host_device->emulate_portability)
		pv_venus_portability_mask_chain(args->pFeatures);
}

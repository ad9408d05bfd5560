/* SPDX-License-Identifier: MIT */
#include "venus/host_probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/socket.h"
#include "venus/generated/protocol.h"
#include "venus/portability.h"
#include "venus/resource.h"

static const char module[] = "venus";

#define GUEST_PAGE_BYTES 4096
#define PROBE_BYTES      (256 << 10)

/* ---- An instance of our own ---- */

uint32_t pv_venus_host_instance_extensions(const char **names, VkInstanceCreateFlags *flags)
{
	VkExtensionProperties *offered = NULL;
	uint32_t count = 0, used = 0;

	*flags = 0;
	if (vkEnumerateInstanceExtensionProperties(NULL, &count, NULL) != VK_SUCCESS)
		return 0;
	offered = calloc(count + 1, sizeof(*offered));
	if (!offered || vkEnumerateInstanceExtensionProperties(NULL, &count, offered) < 0)
		count = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(offered[i].extensionName, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME) != 0)
			continue;
		names[used++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
		*flags = VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
	}
	free(offered);
	return used;
}

enum pv_status pv_venus_probe_init(struct pv_venus_probe *probe)
{
	const char *names[1];
	VkApplicationInfo application = {
	    .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "pvgpu", .apiVersion = VK_API_VERSION_1_4};
	VkInstanceCreateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
	    .pApplicationInfo = &application,
	    .ppEnabledExtensionNames = names,
	};
	VkInstance instance;
	VkResult result;

	info.enabledExtensionCount = pv_venus_host_instance_extensions(names, &info.flags);
	result = vkCreateInstance(&info, NULL, &instance);
	if (result != VK_SUCCESS) {
		pv_log(PV_LOG_ERROR, module, "Vulkan does not start on this host (VkResult %d): is a driver installed?",
		       result);
		return PV_ERR_HOST;
	}
	*probe = (struct pv_venus_probe){.instance = instance};
#define LOAD(member, name) probe->member = (PFN_##name)vkGetInstanceProcAddr(instance, #name)
	LOAD(destroy_instance, vkDestroyInstance);
	LOAD(list, vkEnumeratePhysicalDevices);
	LOAD(get_properties, vkGetPhysicalDeviceProperties2);
	LOAD(get_features, vkGetPhysicalDeviceFeatures2);
	LOAD(get_memory, vkGetPhysicalDeviceMemoryProperties);
	LOAD(get_semaphore, vkGetPhysicalDeviceExternalSemaphoreProperties);
	LOAD(get_queue_families, vkGetPhysicalDeviceQueueFamilyProperties);
	LOAD(list_extensions, vkEnumerateDeviceExtensionProperties);
	LOAD(create_device, vkCreateDevice);
	LOAD(get_device_proc, vkGetDeviceProcAddr);
#undef LOAD
	if (!probe->get_properties) {
		pv_log(PV_LOG_ERROR, module, "the host's Vulkan loader is older than 1.1");
		pv_venus_probe_finish(probe);
		return PV_ERR_HOST;
	}
	return PV_OK;
}

void pv_venus_probe_finish(struct pv_venus_probe *probe)
{
	if (probe->instance)
		probe->destroy_instance(probe->instance, NULL);
	*probe = (struct pv_venus_probe){0};
}

/* ---- What it is ---- */

static VkExtensionProperties *host_extensions(const struct pv_venus_probe *probe, VkPhysicalDevice handle,
					      uint32_t *out_count)
{
	VkExtensionProperties *list = NULL;
	uint32_t count = 0;

	*out_count = 0;
	if (probe->list_extensions(handle, NULL, &count, NULL) != VK_SUCCESS)
		return NULL;
	list = calloc(count + 1, sizeof(*list));
	if (!list)
		return NULL;
	if (probe->list_extensions(handle, NULL, &count, list) < 0)
		count = 0;
	*out_count = count;
	return list;
}

static bool has(const VkExtensionProperties *list, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(list[i].extensionName, name) == 0)
			return true;
	return false;
}

void pv_venus_probe_identify(const struct pv_venus_probe *probe, VkPhysicalDevice handle,
			     struct pv_venus_host_device *device)
{
	VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
	VkPhysicalDeviceMemoryProperties memory;
	uint32_t count;
	VkExtensionProperties *extensions = host_extensions(probe, handle, &count);

	device->id.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES;
	device->driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
	device->id.pNext = &device->driver;
	properties.pNext = &device->id;
	probe->get_properties(handle, &properties);
	device->id.pNext = NULL; /* The struct is copied about. */
	device->properties = properties.properties;

	probe->get_memory(handle, &memory);
	for (uint32_t i = 0; i < memory.memoryHeapCount; i++)
		if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
		    memory.memoryHeaps[i].size > device->device_local_bytes)
			device->device_local_bytes = memory.memoryHeaps[i].size;

	if (device->properties.apiVersion < VK_API_VERSION_1_1)
		device->refusal = "its driver offers Vulkan 1.0 only";
	else if (!has(extensions, count, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME))
		device->refusal = "its driver lacks VK_EXT_external_memory_host, which it needs to share memory with a "
				  "guest";
	free(extensions);
}

/* ---- What it can do ---- */

static const struct pv_venus_extension *find_known(const char *name)
{
	for (size_t i = 0; i < PV_VENUS_NR_EXTENSIONS; i++)
		if (strcmp(pv_venus_extensions[i].name, name) == 0)
			return &pv_venus_extensions[i];
	return NULL;
}

static const char *const guests_own_extensions[] = {
    VK_EXT_TOOLING_INFO_EXTENSION_NAME,
    VK_KHR_DEFERRED_HOST_OPERATIONS_EXTENSION_NAME,
    VK_KHR_MAP_MEMORY_2_EXTENSION_NAME,
};
_Static_assert(PV_ARRAY_LEN(guests_own_extensions) == PV_VENUS_MAX_GUESTS_OWN, "room for all");

bool pv_venus_extension_is_guests_own(const char *name)
{
	for (size_t i = 0; i < PV_ARRAY_LEN(guests_own_extensions); i++)
		if (strcmp(guests_own_extensions[i], name) == 0)
			return true;
	return false;
}

struct virtual_extension {
	const char *name;
	bool dma_buf; /* Only where the guest's kernel makes dma-bufs. */
};

static const struct virtual_extension virtual_extensions[] = {
    /* Without it Mesa drops the device. */
    {VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME, false},
    /* Without these there is no swapchain and no synchronization2. */
    {VK_KHR_EXTERNAL_FENCE_FD_EXTENSION_NAME, false},
    {VK_KHR_EXTERNAL_SEMAPHORE_FD_EXTENSION_NAME, false},
    {VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME, false},
    {VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME, true},
    /* Of modifiers only LINEAR: the memory is pages that anyone must be able to read. */
    {VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME, true},
};
_Static_assert(PV_ARRAY_LEN(virtual_extensions) <= PV_VENUS_MAX_VIRTUAL_EXTENSIONS, "room for all");

bool pv_venus_extension_is_virtual(const char *name)
{
	for (size_t i = 0; i < PV_ARRAY_LEN(virtual_extensions); i++)
		if (strcmp(virtual_extensions[i].name, name) == 0)
			return true;
	return false;
}

uint32_t pv_venus_probe_filter_extensions(const struct pv_venus_host_device *device, const VkExtensionProperties *host,
					  uint32_t count, VkExtensionProperties *out)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct pv_venus_extension *known = find_known(host[i].extensionName);

		if (!known || pv_venus_extension_is_guests_own(known->name) ||
		    pv_venus_extension_is_virtual(host[i].extensionName))
			continue;
		if (device->emulate_portability && !pv_venus_portability_has_extension(host[i].extensionName))
			continue;
		out[used] = host[i];
		if (out[used].specVersion > known->spec_version)
			out[used].specVersion = known->spec_version;
		used++;
	}
	for (size_t i = 0; i < PV_ARRAY_LEN(virtual_extensions); i++) {
		const struct pv_venus_extension *known = find_known(virtual_extensions[i].name);

		if (!known || (virtual_extensions[i].dma_buf && !device->dma_buf))
			continue;
		memset(&out[used], 0, sizeof(out[used]));
		strncpy(out[used].extensionName, virtual_extensions[i].name, VK_MAX_EXTENSION_NAME_SIZE - 1);
		out[used].specVersion = known->spec_version;
		used++;
	}
	return used;
}

void pv_venus_probe_filter_memory(VkPhysicalDeviceMemoryProperties *memory, uint32_t importable_types)
{
	const VkMemoryPropertyFlags mapped = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
					     VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

	for (uint32_t i = 0; i < memory->memoryTypeCount; i++)
		if (!(importable_types & (1u << i)))
			memory->memoryTypes[i].propertyFlags &= ~mapped;
}

void pv_venus_probe_limit_memory(VkPhysicalDeviceMemoryProperties *memory, uint32_t importable_types,
				 uint64_t max_bytes)
{
	for (uint32_t i = 0; i < memory->memoryTypeCount; i++) {
		VkMemoryHeap *heap = &memory->memoryHeaps[memory->memoryTypes[i].heapIndex];

		if (importable_types & (1u << i))
			heap->size = pv_min_u64(heap->size, max_bytes);
	}
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Which memory types take pages of ours; asked of a device made for it. 0: none, or it cannot be found out. */
static uint32_t importable_types(const struct pv_venus_probe *probe, VkDevice handle)
{
	PFN_vkGetMemoryHostPointerPropertiesEXT get = (PFN_vkGetMemoryHostPointerPropertiesEXT)probe->get_device_proc(
	    handle, "vkGetMemoryHostPointerPropertiesEXT");
	VkMemoryHostPointerPropertiesEXT properties = {.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
	struct pv_venus_resource *pages;
	VkResult result;
	int fd;

	if (!get || pv_shm_create("pvgpu-probe", PROBE_BYTES, &fd) != PV_OK ||
	    pv_venus_resource_create(PV_VENUS_RESOURCE_MEMORY, PROBE_BYTES, fd, &pages) != PV_OK)
		return 0;
	result = get(handle, VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, pages->bytes, &properties);
	pv_venus_resource_unref(pages);
	return result == VK_SUCCESS ? properties.memoryTypeBits : 0;
}

static bool can_share(const struct pv_venus_host_device *device)
{
	const VkMemoryPropertyFlags needed = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

	for (uint32_t i = 0; i < device->memory.memoryTypeCount; i++)
		if ((device->memory.memoryTypes[i].propertyFlags & needed) == needed)
			return true;
	return false;
}

static bool imports_sync_fd(const struct pv_venus_probe *probe, VkPhysicalDevice handle)
{
	VkPhysicalDeviceExternalSemaphoreInfo info = {.sType =
							  VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_SEMAPHORE_INFO,
						      .handleType = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT};
	VkExternalSemaphoreProperties properties = {.sType = VK_STRUCTURE_TYPE_EXTERNAL_SEMAPHORE_PROPERTIES};

	probe->get_semaphore(handle, &info, &properties);
	return properties.externalSemaphoreFeatures & VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT;
}

/* VK_EXT_zero_initialize_device_memory. */
static bool zeroes_memory(const struct pv_venus_probe *probe, VkPhysicalDevice handle)
{
#ifdef VK_EXT_zero_initialize_device_memory
	uint32_t count;
	VkExtensionProperties *extensions = host_extensions(probe, handle, &count);
	bool offered = extensions && has(extensions, count, VK_EXT_ZERO_INITIALIZE_DEVICE_MEMORY_EXTENSION_NAME);
	VkPhysicalDeviceZeroInitializeDeviceMemoryFeaturesEXT zero = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ZERO_INITIALIZE_DEVICE_MEMORY_FEATURES_EXT};
	VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &zero};

	free(extensions);
	if (offered)
		probe->get_features(handle, &features);
	return offered && zero.zeroInitializeDeviceMemory;
#else
	(void)probe, (void)handle;
	return false;
#endif
}

static bool all_is_importable(const struct pv_venus_host_device *device)
{
	return device->importable_types == (UINT64_C(1) << device->memory.memoryTypeCount) - 1;
}

static bool read_lists(const struct pv_venus_probe *probe, VkPhysicalDevice handle, struct pv_venus_host_device *device)
{
	uint32_t count, nr_families = 0;
	VkExtensionProperties *extensions = host_extensions(probe, handle, &count);
	bool ok = false;

	if (!extensions)
		return false;
	device->portability_subset = has(extensions, count, "VK_KHR_portability_subset");
	device->imports_sync_fd = !device->emulate_portability &&
				  has(extensions, count, VK_KHR_EXTERNAL_SEMAPHORE_FD_EXTENSION_NAME) &&
				  imports_sync_fd(probe, handle);
	for (size_t i = 0; i < PV_ARRAY_LEN(guests_own_extensions); i++)
		if (has(extensions, count, guests_own_extensions[i]))
			device->guests_own[device->nr_guests_own++] = guests_own_extensions[i];
	device->extensions = calloc(count + PV_VENUS_MAX_VIRTUAL_EXTENSIONS, sizeof(*device->extensions));
	probe->get_queue_families(handle, &nr_families, NULL);
	device->queue_families = calloc(nr_families + 1, sizeof(*device->queue_families));
	if (device->extensions && device->queue_families) {
		device->nr_extensions = pv_venus_probe_filter_extensions(device, extensions, count, device->extensions);
		probe->get_queue_families(handle, &nr_families, device->queue_families);
		device->nr_queue_families = nr_families;
		ok = true;
	}
	free(extensions);
	return ok;
}

void pv_venus_probe_device(const struct pv_venus_probe *probe, VkPhysicalDevice handle,
			   struct pv_venus_host_device *device)
{
	VkPhysicalDeviceExternalMemoryHostPropertiesEXT import = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT};
	VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
						  .pNext = &import};
	const char *names[2] = {VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME, "VK_KHR_portability_subset"};
	float priority = 1;
	VkDeviceQueueCreateInfo queue = {
	    .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
	VkDeviceCreateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
	    .queueCreateInfoCount = 1,
	    .pQueueCreateInfos = &queue,
	    .enabledExtensionCount = 1,
	    .ppEnabledExtensionNames = names,
	};
	PFN_vkDestroyDevice destroy;
	VkDevice probed;

	device->probed = true;
	device->api_version = device->properties.apiVersion;
	if (VK_API_VERSION_MINOR(device->api_version) > 4)
		device->api_version = VK_MAKE_API_VERSION(0, 1, 4, VK_HEADER_VERSION);
	if (!read_lists(probe, handle, device)) {
		device->refusal = "its extensions cannot be read";
		return;
	}
	if (device->portability_subset)
		info.enabledExtensionCount = 2;
	if (probe->create_device(handle, &info, NULL, &probed) != VK_SUCCESS) {
		device->refusal = "its driver cannot make a device";
		return;
	}
	device->importable_types = importable_types(probe, probed);
	destroy = (PFN_vkDestroyDevice)probe->get_device_proc(probed, "vkDestroyDevice");
	destroy(probed, NULL);

	probe->get_properties(handle, &properties);
	device->import_alignment =
	    max_u64(max_u64(import.minImportedHostPointerAlignment, pv_page_bytes()), GUEST_PAGE_BYTES);
	probe->get_memory(handle, &device->memory);
	pv_venus_probe_filter_memory(&device->memory, device->importable_types);
	if (device->max_memory_bytes)
		pv_venus_probe_limit_memory(&device->memory, device->importable_types, device->max_memory_bytes);
	/* Not where all memory is ours, which comes zeroed. */
	device->zeroes_memory =
	    !device->emulate_portability && !all_is_importable(device) && zeroes_memory(probe, handle);
	if (!can_share(device))
		device->refusal = "none of its memory types takes memory that is shared with a guest";
}

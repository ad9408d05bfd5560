/* SPDX-License-Identifier: MIT */
#include "venus/memory.h"

#include "base/log.h"
#include "base/pages.h"
#include "base/socket.h"
#include "venus/chain.h"
#include "venus/handler.h"
#include "venus/host.h"

static const char module[] = "venus";

/*
 * object->extra of a VkDeviceMemory: the resource whose bytes were imported, counted. NULL: the driver's own memory.
 * It is as large as the memory, rounded up to whole pages.
 */
static struct pv_venus_resource *resource_of(const struct pv_venus_object *object)
{
	return atomic_load_explicit(&object->extra, memory_order_relaxed);
}

void pv_venus_memory_release(void *take_extra)
{
	pv_venus_resource_unref(take_extra);
}

enum pv_status pv_venus_memory_export(struct pv_venus_context *context, uint64_t memory_id, uint64_t size_bytes,
				      struct pv_venus_resource **out)
{
	enum pv_status status = PV_ERR_GUEST;
	struct pv_venus_object *object;

	/* vkFreeMemory takes the object out of the table under the same lock before it lets go of the resource. */
	pv_mutex_lock(&context->vulkan_lock);
	object = memory_id != 0 ? pv_venus_object_find(context->objects, memory_id) : NULL;
	if (object && object->type == PV_VENUS_DEVICE_MEMORY) {
		struct pv_venus_resource *resource = resource_of(object);

		if (object->failed)
			status = PV_ERR_NO_MEMORY;
		else if (!resource)
			status = PV_ERR_UNSUPPORTED;
		else if (size_bytes <= resource->size_bytes) {
			*out = pv_venus_resource_ref(resource);
			status = PV_OK;
		}
	}
	pv_mutex_unlock(&context->vulkan_lock);
	return status;
}

/* ---- vkAllocateMemory ---- */

/* What can be imported is a multiple of the driver's alignment. False: no such size exists. */
static bool aligned_size(const struct pv_venus_host_device *host, uint64_t guest_size, uint64_t *out)
{
	uint64_t sum;

	if (!pv_add_u64(guest_size, host->import_alignment - 1, &sum))
		return false;
	*out = sum & ~(host->import_alignment - 1);
	return true;
}

/* Pages for a new allocation; all together not more than the heap has, so that a guest does not exhaust the host. */
static VkResult new_pages(const struct pv_venus_context *context, uint32_t type, uint64_t size,
			  struct pv_venus_resource **out)
{
	const VkPhysicalDeviceMemoryProperties *memory = &context->host_device->memory;
	uint64_t heap = memory->memoryHeaps[memory->memoryTypes[type].heapIndex].size;
	struct pv_venus_resource *resource;
	int fd;

	if (size == 0 || size > heap || pv_shm_create("pvgpu-memory", size, &fd) != PV_OK ||
	    pv_venus_resource_create(PV_VENUS_RESOURCE_MEMORY, size, fd, &resource) != PV_OK)
		return VK_ERROR_OUT_OF_DEVICE_MEMORY;
	if (context->memory && !pv_venus_resource_charge_within(resource, context->memory, heap)) {
		PV_LOG_LIMITED(
		    PV_LOG_WARNING, module,
		    "context %u (%s): the guest's Vulkan programs need more than the %llu MiB of device memory "
		    "that there are; see --max-host-memory",
		    context->id, context->name, (unsigned long long)(heap >> 20));
		pv_venus_resource_unref(resource);
		return VK_ERROR_OUT_OF_DEVICE_MEMORY;
	}
	*out = resource;
	return VK_SUCCESS;
}

/* The guest's blob that is to become this memory. */
static VkResult blob_pages(struct pv_venus_decoder *d, uint32_t resource_id, uint64_t size,
			   struct pv_venus_resource **out)
{
	struct pv_venus_resource *resource = pv_venus_context_resource(d->context, resource_id);
	uint64_t page = pv_page_bytes();

	if (!resource) {
		pv_venus_fail(d, "VkImportMemoryResourceInfoMESA.resourceId", "the context has no such resource",
			      resource_id);
		return VK_ERROR_INVALID_EXTERNAL_HANDLE;
	}
	/* A mapping has whole pages, whatever the guest made of its size. */
	if (!resource->bytes || (uintptr_t)resource->bytes % d->context->host_device->import_alignment != 0 ||
	    size == 0 || size > ((resource->size_bytes + page - 1) & ~(page - 1))) {
		pv_venus_resource_unref(resource);
		return VK_ERROR_INVALID_EXTERNAL_HANDLE;
	}
	*out = resource;
	return VK_SUCCESS;
}

/*
 * Where the memory's bytes are to be: in a blob the guest has made, in pages of ours, or (*out stays NULL) with the
 * driver. `info` loses what only concerns us, and its size is made one that can be imported.
 */
static VkResult choose_pages(struct pv_venus_decoder *d, VkMemoryAllocateInfo *info, struct pv_venus_resource **out)
{
	const struct pv_venus_host_device *host = d->context->host_device;
	const VkImportMemoryResourceInfoMESA *blob =
	    pv_venus_chain_take(info, VK_STRUCTURE_TYPE_IMPORT_MEMORY_RESOURCE_INFO_MESA);
	bool exported = pv_venus_chain_take(info, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO) != NULL;
	bool importable = host->importable_types & (1u << info->memoryTypeIndex);
	bool host_visible =
	    host->memory.memoryTypes[info->memoryTypeIndex].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;

	if (blob && !importable)
		return VK_ERROR_INVALID_EXTERNAL_HANDLE;
	if (!blob && !(importable && (exported || host_visible)))
		return VK_SUCCESS;
	if (!aligned_size(host, info->allocationSize, &info->allocationSize))
		return VK_ERROR_OUT_OF_DEVICE_MEMORY;
	/* It wants the exact size of the image or buffer, which need not be one of whole pages. */
	(void)pv_venus_chain_take(info, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
	return blob ? blob_pages(d, blob->resourceId, info->allocationSize, out)
		    : new_pages(d->context, info->memoryTypeIndex, info->allocationSize, out);
}

/* Memory of the driver's own may have been another guest's: it is to be zeroed where the driver can. */
static void ask_for_zeroes(const struct pv_venus_host_device *host, VkMemoryAllocateInfo *info,
			   VkMemoryAllocateFlagsInfo *ours)
{
#ifdef VK_EXT_zero_initialize_device_memory
	VkMemoryAllocateFlagsInfo *flags;

	if (!host->zeroes_memory)
		return;
	flags = pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO);
	if (!flags) {
		*ours = (VkMemoryAllocateFlagsInfo){.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO};
		pv_venus_chain_push(info, ours);
		flags = ours;
	}
	flags->flags |= VK_MEMORY_ALLOCATE_ZERO_INITIALIZE_BIT_EXT;
#else
	(void)host, (void)info, (void)ours;
#endif
}

void pv_venus_handle_vkAllocateMemory(struct pv_venus_decoder *d, struct pv_venus_args_vkAllocateMemory *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkMemoryAllocateInfo info = *args->pAllocateInfo;
	VkImportMemoryHostPointerInfoEXT import = {
	    .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
	    .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
	};
	VkMemoryAllocateFlagsInfo flags;
	struct pv_venus_resource *resource = NULL;
	VkDeviceMemory made = VK_NULL_HANDLE;

	pv_venus_check_new_id(d, args->pMemory_id, "vkAllocateMemory.pMemory");
	if (d->failed)
		return;
	if (info.memoryTypeIndex >= device->host->memory.memoryTypeCount) {
		pv_venus_fail(d, "VkMemoryAllocateInfo.memoryTypeIndex", "there is no such memory type",
			      info.memoryTypeIndex);
		return;
	}
	args->ret = choose_pages(d, &info, &resource);
	if (d->failed)
		return;
	if (resource) {
		/* A GPU's driver pins every page at once; where a CPU draws they come when they are touched. */
		if (device->host->properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU)
			pv_pages_make_huge(resource->bytes, info.allocationSize);
		import.pHostPointer = resource->bytes;
		pv_venus_chain_push(&info, &import);
	} else {
		ask_for_zeroes(device->host, &info, &flags);
	}
	if (args->ret == VK_SUCCESS)
		args->ret = device->fn.AllocateMemory(args->device, &info, NULL, &made);
	if (args->ret != VK_SUCCESS) {
		PV_LOG_LIMITED(PV_LOG_INFO, module, "context %u: no device memory of %llu bytes (VkResult %d)",
			       d->context->id, (unsigned long long)info.allocationSize, args->ret);
		made = VK_NULL_HANDLE;
	}
	if (pv_venus_created_with(d, PV_VENUS_DEVICE_MEMORY, args->pMemory_id, PV_VENUS_HANDLE(made), args->ret,
				  args->device_object, resource)) {
		*args->pMemory = made;
		if (made)
			return; /* The object has the resource now. */
	} else if (made) {
		device->fn.FreeMemory(args->device, made, NULL);
	}
	pv_venus_resource_unref(resource);
}

void pv_venus_handle_vkFreeMemory(struct pv_venus_decoder *d, struct pv_venus_args_vkFreeMemory *args)
{
	struct pv_venus_context *context = d->context;
	struct pv_venus_object_info removed;
	bool mine;

	if (!args->memory_object)
		return;
	pv_mutex_lock(&context->vulkan_lock);
	mine = pv_venus_object_remove(d->objects, args->memory_object, &removed);
	pv_mutex_unlock(&context->vulkan_lock);
	if (!mine)
		return; /* Another ring was faster. */
	if (removed.handle)
		pv_venus_destroy_handle(removed.device, PV_VENUS_DEVICE_MEMORY, removed.handle);
	pv_venus_memory_release(removed.extra);
}

/* What importing a blob needs to know first. */
void pv_venus_handle_vkGetMemoryResourcePropertiesMESA(struct pv_venus_decoder *d,
						       struct pv_venus_args_vkGetMemoryResourcePropertiesMESA *args)
{
	const struct pv_venus_host_device *host = d->context->host_device;
	struct pv_venus_resource *resource = pv_venus_context_resource(d->context, args->resourceId);
	VkMemoryResourceAllocationSizePropertiesMESA *size;

	if (!resource) {
		pv_venus_fail(d, "vkGetMemoryResourcePropertiesMESA.resourceId", "the context has no such resource",
			      args->resourceId);
		return;
	}
	size = pv_venus_chain_find(args->pMemoryResourceProperties->pNext,
				   VK_STRUCTURE_TYPE_MEMORY_RESOURCE_ALLOCATION_SIZE_PROPERTIES_MESA);
	if (resource->bytes) {
		args->pMemoryResourceProperties->memoryTypeBits = host->importable_types;
		if (size)
			size->allocationSize = resource->size_bytes;
		args->ret = VK_SUCCESS;
	} else {
		args->ret = VK_ERROR_INVALID_EXTERNAL_HANDLE;
	}
	pv_venus_resource_unref(resource);
}

/* SPDX-License-Identifier: MIT */
/* The hand-written handlers on a host of stubs, which note what they are asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pages.h"
#include "base/socket.h"
#include "venus/chain.h"
#include "venus/external.h"
#include "venus/handler.h"
#include "venus/host.h"
#include "venus/memory.h"
#include "venus/query.h"
#include "venus/queue.h"

#define LOCAL_TYPE  0
#define MAPPED_TYPE 1
#define DEVICE_ID   1

static struct world {
	struct pv_venus_host_device host;
	struct pv_venus_context context;
	struct pv_venus_device device;
	struct pv_venus_queue queue;
	struct pv_venus_decoder decoder;
	/* What the host was asked for. */
	int nr_allocated, nr_freed, nr_submits, nr_pools_destroyed, nr_buffers_freed, nr_results;
	bool had_export, had_dedicated;
	void *imported;
	uint64_t size_bytes;
	VkImageTiling tiling;
	uint32_t nr_waits, nr_signals;
	/* What it answers. */
	VkResult result;
} w;

#define HANDLE(type, value) ((type)(uintptr_t)(value))

/* ---- The host ---- */

static VkResult VKAPI_CALL allocate_memory(VkDevice device, const VkMemoryAllocateInfo *info,
					   const VkAllocationCallbacks *allocator, VkDeviceMemory *out)
{
	const VkImportMemoryHostPointerInfoEXT *import =
	    pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);

	(void)device, (void)allocator;
	w.nr_allocated++;
	w.size_bytes = info->allocationSize;
	w.imported = import ? import->pHostPointer : NULL;
	w.had_export = pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO);
	w.had_dedicated = pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
	*out = HANDLE(VkDeviceMemory, 0x1000 + w.nr_allocated);
	return w.result;
}

static void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks *allocator)
{
	(void)device, (void)memory, (void)allocator;
	w.nr_freed++;
}

static VkResult VKAPI_CALL create_image(VkDevice device, const VkImageCreateInfo *info,
					const VkAllocationCallbacks *allocator, VkImage *out)
{
	(void)device, (void)allocator;
	w.tiling = info->tiling;
	assert_null(pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT));
	*out = HANDLE(VkImage, 0x2000);
	return w.result;
}

static VkResult VKAPI_CALL image_format(VkPhysicalDevice device, const VkPhysicalDeviceImageFormatInfo2 *info,
					VkImageFormatProperties2 *out)
{
	(void)device, (void)out;
	w.tiling = info->tiling;
	assert_null(info->pNext);
	assert_null(out->pNext);
	return VK_SUCCESS;
}

static VkResult VKAPI_CALL no_image_format(VkPhysicalDevice device, const VkPhysicalDeviceImageFormatInfo2 *info,
					   VkImageFormatProperties2 *out)
{
	(void)device, (void)info, (void)out;
	return VK_ERROR_FORMAT_NOT_SUPPORTED;
}

static VkResult VKAPI_CALL queue_submit(VkQueue queue, uint32_t count, const VkSubmitInfo *submits, VkFence fence)
{
	(void)queue, (void)fence;
	assert_int_equal(count, 1);
	w.nr_submits++;
	w.nr_waits = submits->waitSemaphoreCount;
	w.nr_signals = submits->signalSemaphoreCount;
	return w.result;
}

static VkResult VKAPI_CALL allocate_command_buffers(VkDevice device, const VkCommandBufferAllocateInfo *info,
						    VkCommandBuffer *out)
{
	(void)device;
	for (uint32_t i = 0; i < info->commandBufferCount; i++)
		out[i] = HANDLE(VkCommandBuffer, 0x3000 + i * 16);
	return w.result;
}

static void VKAPI_CALL free_command_buffers(VkDevice device, VkCommandPool pool, uint32_t count,
					    const VkCommandBuffer *buffers)
{
	(void)device, (void)pool, (void)buffers;
	w.nr_buffers_freed += (int)count;
}

static void VKAPI_CALL destroy_command_pool(VkDevice device, VkCommandPool pool, const VkAllocationCallbacks *allocator)
{
	(void)device, (void)pool, (void)allocator;
	w.nr_pools_destroyed++;
}

static VkResult VKAPI_CALL create_query_pool(VkDevice device, const VkQueryPoolCreateInfo *info,
					     const VkAllocationCallbacks *allocator, VkQueryPool *out)
{
	(void)device, (void)info, (void)allocator;
	*out = HANDLE(VkQueryPool, 0x4000);
	return w.result;
}

static VkResult VKAPI_CALL get_query_pool_results(VkDevice device, VkQueryPool pool, uint32_t first, uint32_t count,
						  size_t data_bytes, void *data, VkDeviceSize stride,
						  VkQueryResultFlags flags)
{
	(void)device, (void)pool, (void)first, (void)count, (void)data_bytes, (void)data, (void)stride, (void)flags;
	w.nr_results++;
	return w.result;
}

static VkResult VKAPI_CALL get_group_handles(VkDevice device, VkPipeline pipeline, uint32_t first, uint32_t count,
					     size_t data_bytes, void *data)
{
	(void)device, (void)pipeline, (void)first, (void)count, (void)data_bytes, (void)data;
	w.nr_results++;
	return w.result;
}

static void VKAPI_CALL get_properties(VkPhysicalDevice device, VkPhysicalDeviceProperties2 *out)
{
	VkPhysicalDeviceRayTracingPipelinePropertiesKHR *tracing =
	    pv_venus_chain_find(out, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_PROPERTIES_KHR);

	(void)device;
	tracing->shaderGroupHandleSize = 32;
	tracing->shaderGroupHandleCaptureReplaySize = 64;
}

/* ---- The world ---- */

static struct pv_venus_object *add(enum pv_venus_type type, uint64_t id, uint64_t handle, struct pv_venus_object *owner)
{
	struct pv_venus_object_info info = {
	    .id = id, .type = type, .handle = handle, .owner = owner, .device = &w.device};
	struct pv_venus_object *object;

	assert_int_equal(pv_venus_object_add(w.context.objects, &info, &object), PV_OK);
	return object;
}

static int start(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	w.host.memory.memoryTypeCount = 2;
	w.host.memory.memoryTypes[LOCAL_TYPE].propertyFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
	w.host.memory.memoryTypes[MAPPED_TYPE].propertyFlags =
	    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
	w.host.memory.memoryHeapCount = 1;
	w.host.memory.memoryHeaps[0].size = UINT64_C(1) << 30;
	w.host.importable_types = 1 << MAPPED_TYPE;
	w.host.import_alignment = pv_page_bytes();
	pv_mutex_init(&w.context.vulkan_lock);
	pv_mutex_init(&w.context.resources_lock);
	w.context.host_device = &w.host;
	w.context.instance_fn.GetPhysicalDeviceImageFormatProperties2 = image_format;
	assert_int_equal(pv_venus_object_table_create(&w.context.objects), PV_OK);
	w.decoder.context = &w.context;
	w.decoder.objects = w.context.objects;
	w.decoder.arena.max_bytes = 1 << 20;
	w.device.context = &w.context;
	w.device.host = &w.host;
	w.device.queues = &w.queue;
	w.device.fn.AllocateMemory = allocate_memory;
	w.device.fn.FreeMemory = free_memory;
	w.device.fn.CreateImage = create_image;
	w.device.fn.QueueSubmit = queue_submit;
	w.device.fn.AllocateCommandBuffers = allocate_command_buffers;
	w.device.fn.FreeCommandBuffers = free_command_buffers;
	w.device.fn.DestroyCommandPool = destroy_command_pool;
	w.device.fn.CreateQueryPool = create_query_pool;
	w.device.fn.GetQueryPoolResults = get_query_pool_results;
	w.device.fn.GetRayTracingShaderGroupHandlesKHR = get_group_handles;
	w.device.fn.GetRayTracingCaptureReplayShaderGroupHandlesKHR = get_group_handles;
	w.context.instance_fn.GetPhysicalDeviceProperties2 = get_properties;
	pv_mutex_init(&w.queue.lock);
	w.device.object = add(PV_VENUS_DEVICE, DEVICE_ID, 0xd000, NULL);
	return 0;
}

static int stop(void **state)
{
	struct pv_venus_object_info child;

	(void)state;
	while (pv_venus_object_remove_child(w.context.objects, w.device.object, &child))
		if (child.type == PV_VENUS_DEVICE_MEMORY)
			pv_venus_memory_release(child.extra);
	pv_venus_object_table_destroy(w.context.objects);
	pv_arena_finish(&w.decoder.arena);
	pv_id_map_finish(&w.context.resources);
	return 0;
}

/* ---- Memory ---- */

static VkResult allocate(uint64_t id, uint32_t type, uint64_t size_bytes, const void *chain)
{
	VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
				     .pNext = chain,
				     .allocationSize = size_bytes,
				     .memoryTypeIndex = type};
	VkDeviceMemory made = VK_NULL_HANDLE;
	struct pv_venus_args_vkAllocateMemory args = {
	    .device_object = w.device.object, .pAllocateInfo = &info, .pMemory = &made, .pMemory_id = id};

	pv_venus_handle_vkAllocateMemory(&w.decoder, &args);
	assert_int_equal(made != VK_NULL_HANDLE, args.ret == VK_SUCCESS && !w.decoder.failed);
	return args.ret;
}

static void free_it(uint64_t id)
{
	struct pv_venus_object *object = pv_venus_object_find(w.context.objects, id);
	struct pv_venus_args_vkFreeMemory args = {.device_object = w.device.object,
						  .memory = HANDLE(VkDeviceMemory, object->handle),
						  .memory_object = object};

	pv_venus_handle_vkFreeMemory(&w.decoder, &args);
}

/* Of all contexts together. */
static void test_memory_of_the_hosts_has_a_limit(void **state)
{
	const uint64_t third = UINT64_C(340) << 20;
	struct pv_venus_account *account;
	struct pv_venus_resource *blob;

	(void)state;
	assert_int_equal(pv_venus_account_create(&account), PV_OK);
	w.context.memory = account;
	for (uint64_t id = 11; id <= 13; id++)
		assert_int_equal(allocate(id, MAPPED_TYPE, third, NULL), VK_SUCCESS);
	assert_int_equal(allocate(14, MAPPED_TYPE, third, NULL), VK_ERROR_OUT_OF_DEVICE_MEMORY);
	assert_int_equal(atomic_load(&account->bytes), 3 * third);
	/* The driver's own is another matter. */
	assert_int_equal(allocate(15, LOCAL_TYPE, third, NULL), VK_SUCCESS);
	free_it(11);
	assert_int_equal(allocate(16, MAPPED_TYPE, third, NULL), VK_SUCCESS);
	/* A blob that was made of it keeps it. */
	assert_int_equal(pv_venus_memory_export(&w.context, 16, third, &blob), PV_OK);
	free_it(16);
	assert_int_equal(atomic_load(&account->bytes), 3 * third);
	pv_venus_resource_unref(blob);
	w.result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
	assert_int_equal(allocate(17, MAPPED_TYPE, third, NULL), VK_ERROR_OUT_OF_DEVICE_MEMORY);
	w.result = VK_SUCCESS;
	free_it(12);
	free_it(13);
	assert_int_equal(atomic_load(&account->bytes), 0);
	w.context.memory = NULL;
	pv_venus_account_unref(account);
}

static void test_mapped_memory_is_ours(void **state)
{
	VkMemoryDedicatedAllocateInfo dedicated = {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
	VkExportMemoryAllocateInfo export = {.sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO,
					     .pNext = &dedicated};
	struct pv_venus_resource *blob;

	(void)state;
	assert_int_equal(allocate(5, MAPPED_TYPE, 100, &export), VK_SUCCESS);
	assert_int_equal(w.size_bytes, pv_page_bytes());
	assert_non_null(w.imported);
	assert_int_equal((uintptr_t)w.imported % pv_page_bytes(), 0);
	assert_false(w.had_export);
	assert_false(w.had_dedicated);

	assert_int_equal(pv_venus_memory_export(&w.context, 5, pv_page_bytes() + 1, &blob), PV_ERR_GUEST);
	assert_int_equal(pv_venus_memory_export(&w.context, 5, pv_page_bytes(), &blob), PV_OK);
	assert_ptr_equal(blob->bytes, w.imported);
	/* The pages outlive the memory as long as somebody has the blob. */
	free_it(5);
	assert_int_equal(w.nr_freed, 1);
	assert_int_equal(blob->bytes[99], 0);
	pv_venus_resource_unref(blob);
	assert_int_equal(pv_venus_memory_export(&w.context, 5, 1, &blob), PV_ERR_GUEST);
}

static void test_local_memory_is_the_drivers(void **state)
{
	struct pv_venus_resource *blob;

	(void)state;
	assert_int_equal(allocate(5, LOCAL_TYPE, 100, NULL), VK_SUCCESS);
	assert_int_equal(w.size_bytes, 100);
	assert_null(w.imported);
	assert_int_equal(pv_venus_memory_export(&w.context, 5, 100, &blob), PV_ERR_UNSUPPORTED);
}

static void test_no_memory_leaves_a_tombstone(void **state)
{
	struct pv_venus_resource *blob;

	(void)state;
	w.result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
	assert_int_equal(allocate(5, MAPPED_TYPE, 100, NULL), VK_ERROR_OUT_OF_DEVICE_MEMORY);
	assert_true(pv_venus_object_find(w.context.objects, 5)->failed);
	assert_int_equal(pv_venus_memory_export(&w.context, 5, 1, &blob), PV_ERR_NO_MEMORY);
	free_it(5);
	assert_int_equal(w.nr_freed, 0);
	assert_null(pv_venus_object_find(w.context.objects, 5));
	/* A guest that is told needs none. */
	w.decoder.command_flags = PV_VENUS_GENERATE_REPLY;
	assert_int_equal(allocate(5, MAPPED_TYPE, 100, NULL), VK_ERROR_OUT_OF_DEVICE_MEMORY);
	assert_null(pv_venus_object_find(w.context.objects, 5));
	assert_false(w.decoder.failed);
}

static void test_absurd_sizes_do_not_reach_the_host(void **state)
{
	(void)state;
	assert_int_equal(allocate(5, MAPPED_TYPE, UINT64_MAX, NULL), VK_ERROR_OUT_OF_DEVICE_MEMORY);
	assert_int_equal(allocate(6, MAPPED_TYPE, UINT64_C(1) << 40, NULL), VK_ERROR_OUT_OF_DEVICE_MEMORY);
	assert_int_equal(allocate(7, MAPPED_TYPE, 0, NULL), VK_ERROR_OUT_OF_DEVICE_MEMORY);
	assert_int_equal(w.nr_allocated, 0);
	assert_false(w.decoder.failed);
}

static void test_absurd_types_end_the_stream(void **state)
{
	(void)state;
	(void)allocate(5, 2, 100, NULL);
	assert_true(w.decoder.failed);
	assert_int_equal(w.nr_allocated, 0);
}

static void test_a_blob_becomes_memory(void **state)
{
	VkImportMemoryResourceInfoMESA import = {.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_RESOURCE_INFO_MESA,
						 .resourceId = 77};
	struct pv_venus_resource *blob, *other;
	int fd;

	(void)state;
	assert_int_equal(pv_shm_create("test", 3 * pv_page_bytes(), &fd), PV_OK);
	assert_int_equal(pv_venus_resource_create(PV_VENUS_RESOURCE_MEMORY, 3 * pv_page_bytes() - 5, fd, &blob), PV_OK);
	assert_int_equal(pv_id_map_add(&w.context.resources, 77, blob), PV_OK);
	/* The last page is there, though the guest has not asked for all of it. */
	assert_int_equal(allocate(5, MAPPED_TYPE, 3 * pv_page_bytes(), &import), VK_SUCCESS);
	assert_ptr_equal(w.imported, blob->bytes);
	assert_int_equal(pv_venus_memory_export(&w.context, 5, 1, &other), PV_OK);
	assert_ptr_equal(other, blob);
	pv_venus_resource_unref(other);
	assert_int_equal(allocate(6, MAPPED_TYPE, 3 * pv_page_bytes() + 1, &import), VK_ERROR_INVALID_EXTERNAL_HANDLE);
	assert_int_equal(allocate(7, LOCAL_TYPE, 1, &import), VK_ERROR_INVALID_EXTERNAL_HANDLE);
	assert_false(w.decoder.failed);
	import.resourceId = 78;
	(void)allocate(8, MAPPED_TYPE, 1, &import);
	assert_true(w.decoder.failed);
	free_it(5);
	pv_venus_resource_unref(blob);
}

/* ---- Images ---- */

static VkResult make_image(uint64_t id, const uint64_t *modifiers, uint32_t count)
{
	VkImageDrmFormatModifierListCreateInfoEXT list = {
	    .sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT,
	    .drmFormatModifierCount = count,
	    .pDrmFormatModifiers = modifiers};
	VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
				  .pNext = &list,
				  .format = VK_FORMAT_B8G8R8A8_UNORM,
				  .arrayLayers = 7,
				  .tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT};
	VkImage made = VK_NULL_HANDLE;
	struct pv_venus_args_vkCreateImage args = {
	    .device_object = w.device.object, .pCreateInfo = &info, .pImage = &made, .pImage_id = id};

	w.context.instance_fn.GetPhysicalDeviceImageFormatProperties2 = no_image_format;
	pv_venus_handle_vkCreateImage(&w.decoder, &args);
	return args.ret;
}

static void test_images_with_modifiers_are_linear(void **state)
{
	const uint64_t modifiers[] = {0x0100000000000001, 0};
	uintptr_t traits;

	(void)state;
	assert_int_equal(make_image(9, modifiers, 2), VK_SUCCESS);
	assert_int_equal(w.tiling, VK_IMAGE_TILING_LINEAR);
	traits = pv_venus_traits(pv_venus_object_find(w.context.objects, 9));
	assert_true(traits & PV_VENUS_TRAIT_MODIFIER);
	assert_int_equal(PV_VENUS_TRAIT_FORMAT(traits), VK_FORMAT_B8G8R8A8_UNORM);
	assert_int_equal(PV_VENUS_TRAIT_LAYERS(traits), 7);
	assert_int_equal(make_image(10, modifiers, 1), VK_ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT);
}

static VkResult ask_format(VkExternalMemoryHandleTypeFlagBits handle, uint64_t modifier,
			   VkExternalMemoryFeatureFlags *out)
{
	VkPhysicalDeviceExternalImageFormatInfo external = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO, .handleType = handle};
	VkPhysicalDeviceImageDrmFormatModifierInfoEXT drm = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT,
	    .pNext = &external,
	    .drmFormatModifier = modifier};
	VkPhysicalDeviceImageFormatInfo2 info = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2,
						 .pNext = &drm,
						 .tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT};
	VkExternalImageFormatProperties shared = {.sType = VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES};
	VkImageFormatProperties2 properties = {.sType = VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, .pNext = &shared};
	struct pv_venus_args_vkGetPhysicalDeviceImageFormatProperties2 args = {.pImageFormatInfo = &info,
									       .pImageFormatProperties = &properties};

	pv_venus_handle_vkGetPhysicalDeviceImageFormatProperties2(&w.decoder, &args);
	assert_ptr_equal(properties.pNext, &shared);
	*out = shared.externalMemoryProperties.externalMemoryFeatures;
	return args.ret;
}

static void test_formats_that_can_be_shared(void **state)
{
	VkExternalMemoryFeatureFlags features;

	(void)state;
	assert_int_equal(ask_format(VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT, 0, &features), VK_SUCCESS);
	assert_int_equal(w.tiling, VK_IMAGE_TILING_LINEAR);
	assert_int_equal(features,
			 VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT);
	assert_int_equal(ask_format(VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT, 1, &features),
			 VK_ERROR_FORMAT_NOT_SUPPORTED);
	assert_int_equal(ask_format(VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, 0, &features),
			 VK_ERROR_FORMAT_NOT_SUPPORTED);
}

/* ---- Semaphores ---- */

static void test_payloads_are_batches_of_nothing(void **state)
{
	VkImportSemaphoreResourceInfoMESA info = {.sType = VK_STRUCTURE_TYPE_IMPORT_SEMAPHORE_RESOURCE_INFO_MESA,
						  .semaphore = HANDLE(VkSemaphore, 0x4000)};
	struct pv_venus_args_vkImportSemaphoreResourceMESA import = {.device_object = w.device.object,
								     .pImportSemaphoreResourceInfo = &info};
	struct pv_venus_args_vkWaitSemaphoreResourceMESA wait = {.device_object = w.device.object,
								 .semaphore = HANDLE(VkSemaphore, 0x4000)};

	(void)state;
	pv_venus_handle_vkImportSemaphoreResourceMESA(&w.decoder, &import);
	assert_int_equal(w.nr_submits, 1);
	assert_int_equal(w.nr_waits, 0);
	assert_int_equal(w.nr_signals, 1);
	pv_venus_handle_vkWaitSemaphoreResourceMESA(&w.decoder, &wait);
	assert_int_equal(w.nr_submits, 2);
	assert_int_equal(w.nr_waits, 1);
	assert_int_equal(w.nr_signals, 0);
	info.resourceId = 1;
	pv_venus_handle_vkImportSemaphoreResourceMESA(&w.decoder, &import);
	assert_true(w.decoder.failed);
}

/* ---- Pools ---- */

static VkResult allocate_buffers(struct pv_venus_object *pool, const uint64_t *ids, uint32_t count)
{
	VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
					    .commandBufferCount = count};
	VkCommandBuffer made[4] = {0};
	struct pv_venus_args_vkAllocateCommandBuffers args = {.device_object = w.device.object,
							      .pAllocateInfo = &info,
							      .pool_object = pool,
							      .pCommandBuffers = made,
							      .pCommandBuffers_ids = ids};

	pv_venus_handle_vkAllocateCommandBuffers(&w.decoder, &args);
	return args.ret;
}

static void test_a_pool_takes_its_children_along(void **state)
{
	struct pv_venus_object *pool = add(PV_VENUS_COMMAND_POOL, 20, 0x5000, w.device.object);
	const uint64_t ids[] = {21, 22};
	struct pv_venus_args_vkDestroyCommandPool destroy = {
	    .device_object = w.device.object, .commandPool = HANDLE(VkCommandPool, 0x5000), .commandPool_object = pool};

	(void)state;
	assert_int_equal(allocate_buffers(pool, ids, 2), VK_SUCCESS);
	assert_int_equal(pv_venus_object_find(w.context.objects, 22)->handle, 0x3010);
	pv_venus_handle_vkDestroyCommandPool(&w.decoder, &destroy);
	assert_int_equal(w.nr_pools_destroyed, 1);
	assert_null(pv_venus_object_find(w.context.objects, 20));
	assert_null(pv_venus_object_find(w.context.objects, 21));
	assert_null(pv_venus_object_find(w.context.objects, 22));
}

static void test_children_that_were_not_made(void **state)
{
	struct pv_venus_object *pool = add(PV_VENUS_COMMAND_POOL, 20, 0x5000, w.device.object);
	const uint64_t ids[] = {21, 22};

	(void)state;
	w.result = VK_ERROR_OUT_OF_HOST_MEMORY;
	assert_int_equal(allocate_buffers(pool, ids, 2), VK_ERROR_OUT_OF_HOST_MEMORY);
	assert_true(pv_venus_object_find(w.context.objects, 21)->failed);
	assert_true(pv_venus_object_find(w.context.objects, 22)->failed);
}

static void test_children_are_freed_by_their_own_pool(void **state)
{
	struct pv_venus_object *pool = add(PV_VENUS_COMMAND_POOL, 20, 0x5000, w.device.object);
	struct pv_venus_object *other = add(PV_VENUS_COMMAND_POOL, 30, 0x6000, w.device.object);
	const uint64_t ids[] = {21, 22};
	struct pv_venus_object *children[2];
	VkCommandBuffer handles[2] = {0};
	struct pv_venus_args_vkFreeCommandBuffers args = {.device_object = w.device.object,
							  .commandPool_object = pool,
							  .commandBufferCount = 2,
							  .pCommandBuffers = handles,
							  .pCommandBuffers_objects = children};

	(void)state;
	assert_int_equal(allocate_buffers(pool, ids, 2), VK_SUCCESS);
	children[0] = NULL; /* as a guest may */
	children[1] = pv_venus_object_find(w.context.objects, 22);
	pv_venus_handle_vkFreeCommandBuffers(&w.decoder, &args);
	assert_int_equal(w.nr_buffers_freed, 1);
	assert_null(pv_venus_object_find(w.context.objects, 22));
	assert_false(w.decoder.failed);
	args.commandPool_object = other;
	children[1] = pv_venus_object_find(w.context.objects, 21);
	pv_venus_handle_vkFreeCommandBuffers(&w.decoder, &args);
	assert_true(w.decoder.failed);
	assert_int_equal(w.nr_buffers_freed, 1);
}

/* ---- The physical device ---- */

static VkResult enumerate(uint64_t id)
{
	uint32_t count = 1;
	VkPhysicalDevice made = VK_NULL_HANDLE;
	struct pv_venus_args_vkEnumeratePhysicalDevices args = {
	    .pPhysicalDeviceCount = &count, .pPhysicalDevices = &made, .pPhysicalDevices_ids = &id};

	pv_venus_handle_vkEnumeratePhysicalDevices(&w.decoder, &args);
	assert_int_equal(count, 1);
	return args.ret;
}

/* Drivers do not look at how much room there is for results. */
static void test_results_fit(void **state)
{
	static const struct {
		VkQueryType type;
		VkQueryPipelineStatisticFlags statistics;
		uint32_t count;
		size_t data_bytes;
		VkDeviceSize stride;
		VkQueryResultFlags flags;
		bool fit;
	} cases[] = {
	    {VK_QUERY_TYPE_TIMESTAMP, 0, 1, 4, 0, 0, true},
	    {VK_QUERY_TYPE_TIMESTAMP, 0, 1, 4, UINT64_MAX, 0, true},
	    {VK_QUERY_TYPE_TIMESTAMP, 0, 1, 3, 0, 0, false},
	    {VK_QUERY_TYPE_TIMESTAMP, 0, 1, 0, 0, 0, false},
	    {VK_QUERY_TYPE_TIMESTAMP, 0, 0, 0, 0, 0, true},
	    {VK_QUERY_TYPE_TIMESTAMP, 0, 1, 4, 0, VK_QUERY_RESULT_64_BIT, false},
	    {VK_QUERY_TYPE_OCCLUSION, 0, 4, 32, 8, VK_QUERY_RESULT_64_BIT, true},
	    {VK_QUERY_TYPE_OCCLUSION, 0, 4, 31, 8, VK_QUERY_RESULT_64_BIT, false},
	    {VK_QUERY_TYPE_OCCLUSION, 0, 4, 32, 9, VK_QUERY_RESULT_64_BIT, false},
	    {VK_QUERY_TYPE_OCCLUSION, 0, 4, 32, UINT64_MAX / 3 + 1, VK_QUERY_RESULT_64_BIT, false},
	    {VK_QUERY_TYPE_OCCLUSION, 0, 2, 16, 8, VK_QUERY_RESULT_WITH_AVAILABILITY_BIT, true},
	    {VK_QUERY_TYPE_OCCLUSION, 0, 2, 12, 8, VK_QUERY_RESULT_WITH_AVAILABILITY_BIT, false},
	    {VK_QUERY_TYPE_PIPELINE_STATISTICS, 0x7ff, 1, 88, 0, VK_QUERY_RESULT_64_BIT, true},
	    {VK_QUERY_TYPE_PIPELINE_STATISTICS, 0x7ff, 1, 87, 0, VK_QUERY_RESULT_64_BIT, false},
	    {VK_QUERY_TYPE_TRANSFORM_FEEDBACK_STREAM_EXT, 0, 1, 8, 0, 0, true},
	    {VK_QUERY_TYPE_TRANSFORM_FEEDBACK_STREAM_EXT, 0, 1, 7, 0, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
		const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
						    .queryType = cases[i].type,
						    .queryCount = 4,
						    .pipelineStatistics = cases[i].statistics};
		VkQueryPool made = VK_NULL_HANDLE;
		struct pv_venus_args_vkCreateQueryPool create = {.device_object = w.device.object,
								 .pCreateInfo = &info,
								 .pQueryPool = &made,
								 .pQueryPool_id = 100 + i};
		struct pv_venus_args_vkGetQueryPoolResults get = {.device_object = w.device.object,
								  .queryCount = cases[i].count,
								  .dataSize = cases[i].data_bytes,
								  .stride = cases[i].stride,
								  .flags = cases[i].flags};

		w.nr_results = 0;
		w.decoder.failed = false;
		pv_venus_handle_vkCreateQueryPool(&w.decoder, &create);
		assert_int_equal(PV_VENUS_HANDLE(made), 0x4000);
		get.queryPool_object = pv_venus_object_find(w.context.objects, 100 + i);
		assert_int_equal(pv_venus_queries_of(get.queryPool_object), 4);
		pv_venus_handle_vkGetQueryPoolResults(&w.decoder, &get);
		assert_int_equal(w.decoder.failed, !cases[i].fit);
		assert_int_equal(w.nr_results, cases[i].fit);
	}
}

static void test_group_handles_fit(void **state)
{
	struct pv_venus_args_vkGetRayTracingShaderGroupHandlesKHR get = {
	    .device_object = w.device.object, .groupCount = 2, .dataSize = 64};
	struct pv_venus_args_vkGetRayTracingCaptureReplayShaderGroupHandlesKHR capture = {
	    .device_object = w.device.object, .groupCount = 2, .dataSize = 128};

	(void)state;
	pv_venus_handle_vkGetRayTracingShaderGroupHandlesKHR(&w.decoder, &get);
	pv_venus_handle_vkGetRayTracingCaptureReplayShaderGroupHandlesKHR(&w.decoder, &capture);
	assert_false(w.decoder.failed);
	assert_int_equal(w.nr_results, 2);
	get.dataSize--;
	pv_venus_handle_vkGetRayTracingShaderGroupHandlesKHR(&w.decoder, &get);
	assert_true(w.decoder.failed);
	w.decoder.failed = false;
	capture.groupCount = UINT32_MAX;
	pv_venus_handle_vkGetRayTracingCaptureReplayShaderGroupHandlesKHR(&w.decoder, &capture);
	assert_true(w.decoder.failed);
	assert_int_equal(w.nr_results, 2);
}

static void test_the_device_keeps_its_name(void **state)
{
	(void)state;
	w.context.physical_device = HANDLE(VkPhysicalDevice, 0x7000);
	assert_int_equal(enumerate(40), VK_SUCCESS);
	assert_int_equal(enumerate(40), VK_SUCCESS);
	assert_int_equal(pv_venus_object_find(w.context.objects, 40)->handle, 0x7000);
	assert_false(w.decoder.failed);
	(void)enumerate(41);
	assert_true(w.decoder.failed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_mapped_memory_is_ours),
	    TEST(test_memory_of_the_hosts_has_a_limit),
	    TEST(test_local_memory_is_the_drivers),
	    TEST(test_no_memory_leaves_a_tombstone),
	    TEST(test_absurd_sizes_do_not_reach_the_host),
	    TEST(test_absurd_types_end_the_stream),
	    TEST(test_a_blob_becomes_memory),
	    TEST(test_images_with_modifiers_are_linear),
	    TEST(test_formats_that_can_be_shared),
	    TEST(test_payloads_are_batches_of_nothing),
	    TEST(test_a_pool_takes_its_children_along),
	    TEST(test_children_that_were_not_made),
	    TEST(test_children_are_freed_by_their_own_pool),
	    TEST(test_results_fit),
	    TEST(test_group_handles_fit),
	    TEST(test_the_device_keeps_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

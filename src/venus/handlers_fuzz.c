/* SPDX-License-Identifier: MIT */
/*
 * Hostile command streams against our own handlers, on a host that does nothing: what they make of counts, sizes,
 * chains and objects that are not what they should be. The codec before them has a fuzzer of its own.
 *
 * Input: one word that chooses how the host fares, then the stream. Objects of each type have the type's number as id;
 * with TOMBSTONE added it is one that the host could not make.
 */
#include <stdlib.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "base/pages.h"
#include "base/socket.h"
#include "venus/external.h"
#include "venus/generated/internal.h"
#include "venus/handler.h"
#include "venus/host.h"
#include "venus/memory.h"
#include "venus/null_driver.h"
#include "venus/queue.h"

#define MAX_INPUT_BYTES (64u << 10)
#define MAX_COMMANDS    64
#define RESOURCE_ID     1
#define TOMBSTONE       32

static uint8_t replies[16 << 10];
static struct pv_venus_host_device host;
static VkExtensionProperties extensions[4];
static VkQueueFamilyProperties families[2];

/* A device would need functions by name. */
static VkResult VKAPI_CALL no_device(VkPhysicalDevice physical_device, const VkDeviceCreateInfo *info,
				     const VkAllocationCallbacks *allocator, VkDevice *out)
{
	(void)physical_device, (void)info, (void)allocator, (void)out;
	return VK_ERROR_INITIALIZATION_FAILED;
}

static void describe_host(uint32_t how)
{
	strcpy(extensions[0].extensionName, "VK_KHR_maintenance1");
	strcpy(extensions[1].extensionName, "VK_KHR_external_memory_fd");
	families[0].queueCount = 4;
	families[1].queueCount = 1;
	host = (struct pv_venus_host_device){
	    .probed = true,
	    .api_version = VK_API_VERSION_1_4,
	    .extensions = extensions,
	    .nr_extensions = 2,
	    .queue_families = families,
	    .nr_queue_families = 2,
	    .importable_types = 2,
	    .import_alignment = pv_page_bytes(),
	    .emulate_portability = how & 16,
	    .zeroes_memory = how & 32,
	    .dma_buf = true,
	};
	host.memory.memoryTypeCount = 2;
	host.memory.memoryTypes[0].propertyFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
	host.memory.memoryTypes[1].propertyFlags =
	    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
	host.memory.memoryHeapCount = 1;
	host.memory.memoryHeaps[0].size = 16 << 20;
}

static void add(enum pv_venus_type type, uint64_t id, struct pv_venus_object *owner, void *extra)
{
	struct pv_venus_object_info info = {
	    .id = id,
	    .handle = ++pv_venus_null.last_handle,
	    .type = type,
	    .owner = owner,
	    .extra = extra,
	    .device = type == PV_VENUS_INSTANCE || type == PV_VENUS_PHYSICAL_DEVICE ? NULL : &pv_venus_null.device,
	};
	struct pv_venus_object *object;

	check(pv_venus_object_add(pv_venus_null.context.objects, &info, &object) == PV_OK);
}

static void add_tombstone(enum pv_venus_type type)
{
	struct pv_venus_object_info info = {.id = TOMBSTONE + type, .type = type, .failed = true};
	struct pv_venus_object *object;

	if (type != PV_VENUS_DEVICE) {
		info.device = &pv_venus_null.device;
		info.owner = pv_venus_null.device.object;
	}
	check(pv_venus_object_add(pv_venus_null.context.objects, &info, &object) == PV_OK);
}

static struct pv_venus_resource *start(uint32_t how)
{
	static const VkResult results[] = {VK_SUCCESS, VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_DEVICE_LOST,
					   VK_INCOMPLETE};
	struct pv_venus_context *context = &pv_venus_null.context;
	struct pv_venus_device *device = &pv_venus_null.device;
	struct pv_venus_queue *queue = calloc(1, sizeof(*queue));
	struct pv_venus_resource *resource;
	int fd;

	pv_log_set_sink(drop_line, NULL);
	check(queue && pv_venus_null_start());
	describe_host(how);
	pv_venus_context_init_vulkan(context, &host);
	pv_mutex_init(&context->resources_lock);
	pv_mutex_init(&context->timelines_lock);
	context->has_instance = true;
	context->instance_fn.CreateDevice = no_device;
	context->physical_device = (VkPhysicalDevice)(uintptr_t)1;
	context->physical_device_id = PV_VENUS_PHYSICAL_DEVICE;
	check(pv_shm_create("fuzz", 2 * pv_page_bytes(), &fd) == PV_OK);
	check(pv_venus_resource_create(PV_VENUS_RESOURCE_MEMORY, 2 * pv_page_bytes() - 1, fd, &resource) == PV_OK);
	check(pv_id_map_add(&context->resources, RESOURCE_ID, resource) == PV_OK);

	device->handle = (VkDevice)(uintptr_t)2;
	device->context = context;
	device->host = &host;
	pv_mutex_init(&queue->lock);
	queue->handle = (VkQueue)(uintptr_t)3;
	device->queues = queue;
	add(PV_VENUS_DEVICE, PV_VENUS_DEVICE, NULL, NULL);
	device->object = pv_venus_object_find(context->objects, PV_VENUS_DEVICE);
	for (int type = PV_VENUS_INSTANCE; type < PV_VENUS_NR_TYPES; type++) {
		void *extra = NULL;

		if (type == PV_VENUS_DEVICE)
			continue;
		if (type == PV_VENUS_QUEUE)
			extra = queue;
		if (type == PV_VENUS_DEVICE_MEMORY)
			extra = pv_venus_resource_ref(resource);
		if (type == PV_VENUS_IMAGE)
			extra = (void *)PV_VENUS_TRAITS_OF_IMAGE(VK_FORMAT_G8_B8R8_2PLANE_420_UNORM, 3);
		add((enum pv_venus_type)type, (uint64_t)type, type <= PV_VENUS_DEVICE ? NULL : device->object, extra);
	}
	for (int type = PV_VENUS_DEVICE; type < PV_VENUS_NR_TYPES; type++)
		add_tombstone((enum pv_venus_type)type);
	pv_venus_null.result = results[how % 4];
	pv_venus_null.decoder.reply.begin = pv_venus_null.decoder.reply.cursor = replies;
	pv_venus_null.decoder.reply.end = replies + (how & 4 ? 64 : sizeof(replies));
	return resource;
}

/* As vkDestroyDevice and the end of a context have it. */
static void finish(struct pv_venus_resource *resource)
{
	struct pv_venus_context *context = &pv_venus_null.context;
	struct pv_venus_object_info child;

	check(pv_venus_object_remove(context->objects, pv_venus_null.device.object, &child));
	while (pv_venus_object_remove_child(context->objects, pv_venus_null.device.object, &child))
		if (child.type == PV_VENUS_DEVICE_MEMORY)
			pv_venus_memory_release(child.extra);
	pv_venus_queues_destroy(&pv_venus_null.device);
	pv_venus_context_free_queues(context);
	pv_id_map_finish(&context->resources);
	pv_venus_resource_unref(resource);
	pv_venus_null_finish();
}

/* What belongs to rings, and what takes away the device that the harness needs to the end. */
static bool is_for_others(uint32_t type)
{
	switch (type) {
	case 12:  /* vkDestroyDevice */
	case 178: /* vkSetReplyCommandStreamMESA */
	case 179:
	case 180:
	case 188: /* vkCreateRingMESA */
	case 189:
	case 190:
	case 191:
	case 251: /* vkSubmitVirtqueueSeqnoMESA */
	case 252:
	case 253:
		return true;
	default:
		return false;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_venus_decoder *d = &pv_venus_null.decoder;
	struct pv_venus_resource *resource;
	uint8_t *copy;

	if (size < 8 || size > MAX_INPUT_BYTES)
		return 0;
	resource = start(pv_venus_load_u32(data));
	copy = malloc(size - 4);
	check(copy != NULL);
	memcpy(copy, data + 4, size - 4);
	d->cursor = copy;
	d->end = copy + (size - 4);
	for (int i = 0; i < MAX_COMMANDS && d->end - d->cursor >= 4 && !d->failed; i++) {
		if (is_for_others(pv_venus_load_u32(d->cursor)))
			break;
		d->reply.cursor = d->reply.begin;
		pv_venus_execute(d);
	}
	if (d->failed)
		check(d->failed_field && d->failed_reason);
	free(copy);
	finish(resource);
	return 0;
}

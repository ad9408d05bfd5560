/* SPDX-License-Identifier: MIT */
#include "venus/null_driver.h"

#include <stdlib.h>

#include "venus/generated/commands.h"

#define ARENA_BYTES (UINT64_C(64) << 20)

struct pv_venus_null pv_venus_null;

bool pv_venus_null_start(void)
{
	memset(&pv_venus_null, 0, sizeof(pv_venus_null));
	if (pv_venus_object_table_create(&pv_venus_null.context.objects) != PV_OK)
		return false;
	pv_venus_null_instance_functions(&pv_venus_null.context.instance_fn);
	pv_venus_null_device_functions(&pv_venus_null.device.fn);
	pv_venus_null.decoder.context = &pv_venus_null.context;
	pv_venus_null.decoder.objects = pv_venus_null.context.objects;
	pv_venus_null.decoder.arena.max_bytes = ARENA_BYTES;
	return true;
}

void pv_venus_null_finish(void)
{
	pv_arena_finish(&pv_venus_null.decoder.arena);
	pv_venus_object_table_destroy(pv_venus_null.context.objects);
	memset(&pv_venus_null, 0, sizeof(pv_venus_null));
}

uint64_t pv_venus_null_run(const void *stream, uint64_t bytes)
{
	struct pv_venus_decoder *d = &pv_venus_null.decoder;
	/* Exactly as long, so that the sanitizer sees whoever reads on; malloc aligns. */
	uint8_t *copy = malloc(bytes ? bytes : 1);
	uint64_t commands = 0;

	if (!copy)
		abort();
	if (bytes)
		memcpy(copy, stream, bytes);
	d->cursor = copy;
	d->end = copy + bytes;
	while (!d->failed && d->cursor < d->end) {
		pv_venus_execute(d);
		commands += !d->failed;
	}
	d->cursor = d->end = NULL;
	free(copy);
	return commands;
}

static bool add(enum pv_venus_type type, uint64_t id, uint64_t handle, struct pv_venus_object *owner)
{
	struct pv_venus_object_info info = {.id = id, .type = type, .handle = handle, .owner = owner};
	struct pv_venus_object *object;

	if (type != PV_VENUS_INSTANCE && type != PV_VENUS_PHYSICAL_DEVICE)
		info.device = &pv_venus_null.device;
	return pv_venus_object_add(pv_venus_null.context.objects, &info, &object) == PV_OK;
}

bool pv_venus_null_add(enum pv_venus_type type, uint64_t id)
{
	return add(type, id, ++pv_venus_null.last_handle, NULL);
}

uint64_t pv_venus_null_make(struct pv_venus_decoder *d, enum pv_venus_type type, uint64_t id, VkResult result,
			    struct pv_venus_object *owner)
{
	uint64_t handle = result >= 0 ? ++pv_venus_null.last_handle : 0;

	return pv_venus_created(d, type, id, handle, result, owner) ? handle : 0;
}

/* What pv_venus_encode_head() writes, into the chain that is there. */
bool pv_venus_null_fill_head(struct pv_venus_decoder *d, uint32_t stype, void *next,
			     bool (*const fillers[])(struct pv_venus_decoder *d, void *memory))
{
	void *nodes[PV_VENUS_MAX_CHAIN];
	unsigned nr_nodes = 0;

	if (pv_venus_read_u32(d, "sType") != stype)
		pv_venus_fail(d, "reply", "it has another sType", stype);
	while (pv_venus_read_u64(d, "pNext") && next && nr_nodes < PV_VENUS_MAX_CHAIN) {
		VkBaseOutStructure base;

		memcpy(&base, next, sizeof(base));
		if (pv_venus_read_u32(d, "sType") != (uint32_t)base.sType)
			pv_venus_fail(d, "reply", "its chain is another", (uint64_t)base.sType);
		nodes[nr_nodes++] = next;
		next = base.pNext;
	}
	if (next)
		pv_venus_fail(d, "reply", "its chain is shorter", 0);
	while (nr_nodes-- > 0 && !d->failed) {
		VkBaseOutStructure base;

		memcpy(&base, nodes[nr_nodes], sizeof(base));
		fillers[pv_venus_chain_number((uint32_t)base.sType)](d, nodes[nr_nodes]);
	}
	return !d->failed;
}

#ifndef PV_VENUS_NULL_HOST
static void remove_with_children(struct pv_venus_object *object)
{
	struct pv_venus_object_table *table = pv_venus_null.context.objects;
	struct pv_venus_object_info info;

	if (object && pv_venus_object_remove(table, object, &info))
		while (pv_venus_object_remove_child(table, object, &info))
			;
}

static void remove_all(struct pv_venus_object *const *objects, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		remove_with_children(objects[i]);
}

void pv_venus_handle_vkSetReplyCommandStreamMESA(struct pv_venus_decoder *d,
						 struct pv_venus_args_vkSetReplyCommandStreamMESA *args)
{
	const VkCommandStreamDescriptionMESA *stream = args->pStream;

	if (stream->size > pv_venus_null.replies_bytes || stream->offset > pv_venus_null.replies_bytes - stream->size) {
		pv_venus_fail(d, "vkSetReplyCommandStreamMESA.pStream", "it is not in the resource", stream->offset);
		return;
	}
	d->reply.begin = pv_venus_null.replies + stream->offset;
	d->reply.cursor = d->reply.begin;
	d->reply.end = d->reply.begin + stream->size;
}

void pv_venus_handle_vkSeekReplyCommandStreamMESA(struct pv_venus_decoder *d,
						  struct pv_venus_args_vkSeekReplyCommandStreamMESA *args)
{
	if (args->position > (uint64_t)(d->reply.end - d->reply.begin))
		pv_venus_fail(d, "vkSeekReplyCommandStreamMESA.position", "it is not in the stream", args->position);
	else if (d->reply.begin)
		d->reply.cursor = d->reply.begin + args->position;
}

void pv_venus_handle_vkExecuteCommandStreamsMESA(struct pv_venus_decoder *d,
						 struct pv_venus_args_vkExecuteCommandStreamsMESA *args)
{
	const uint8_t *cursor = d->cursor, *end = d->end;

	if (d->nested)
		pv_venus_fail(d, "vkExecuteCommandStreamsMESA", "it is nested", 0);
	d->nested = true;
	for (uint32_t i = 0; i < args->streamCount && !d->failed; i++) {
		const VkCommandStreamDescriptionMESA *stream = &args->pStreams[i];

		if (!pv_venus_null.streams || stream->size > pv_venus_null.streams_bytes ||
		    stream->offset > pv_venus_null.streams_bytes - stream->size || stream->offset % 4)
			continue;
		d->cursor = pv_venus_null.streams + stream->offset;
		d->end = d->cursor + stream->size;
		while (!d->failed && d->cursor < d->end)
			pv_venus_execute(d);
	}
	d->nested = false;
	d->cursor = cursor;
	d->end = end;
}

void pv_venus_handle_vkCreateInstance(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateInstance *args)
{
	args->ret = pv_venus_null.result;
	*args->pInstance =
	    (VkInstance)(uintptr_t)pv_venus_null_make(d, PV_VENUS_INSTANCE, args->pInstance_id, args->ret, NULL);
}

void pv_venus_handle_vkEnumeratePhysicalDevices(struct pv_venus_decoder *d,
						struct pv_venus_args_vkEnumeratePhysicalDevices *args)
{
	if (args->pPhysicalDevices && *args->pPhysicalDeviceCount) {
		uint64_t id = args->pPhysicalDevices_ids[0];

		args->pPhysicalDevices[0] = (VkPhysicalDevice)(uintptr_t)1;
		if (id && !pv_venus_object_find(d->objects, id) &&
		    !add(PV_VENUS_PHYSICAL_DEVICE, id, 1, args->instance_object))
			pv_venus_fail(d, "vkEnumeratePhysicalDevices", "no memory", 0);
	}
	*args->pPhysicalDeviceCount = 1;
	args->ret = pv_venus_null.result;
}

void pv_venus_handle_vkCreateDevice(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateDevice *args)
{
	args->ret = pv_venus_null.result;
	if (args->ret < 0) {
		/* A tombstone, or nothing. */
		pv_venus_null_make(d, PV_VENUS_DEVICE, args->pDevice_id, args->ret, NULL);
		return;
	}
	*args->pDevice = (VkDevice)(uintptr_t)++pv_venus_null.last_handle;
	if (!add(PV_VENUS_DEVICE, args->pDevice_id, pv_venus_null.last_handle, NULL))
		pv_venus_fail(d, "vkCreateDevice", "no memory", 0);
}

void pv_venus_handle_vkDestroyDevice(struct pv_venus_decoder *d, struct pv_venus_args_vkDestroyDevice *args)
{
	(void)d;
	remove_with_children(args->device_object);
}

void pv_venus_handle_vkDestroyInstance(struct pv_venus_decoder *d, struct pv_venus_args_vkDestroyInstance *args)
{
	(void)d;
	remove_with_children(args->instance_object);
}

void pv_venus_handle_vkFreeMemory(struct pv_venus_decoder *d, struct pv_venus_args_vkFreeMemory *args)
{
	(void)d;
	remove_with_children(args->memory_object);
}

void pv_venus_handle_vkFreeCommandBuffers(struct pv_venus_decoder *d, struct pv_venus_args_vkFreeCommandBuffers *args)
{
	(void)d;
	remove_all(args->pCommandBuffers_objects, args->pCommandBuffers_objects ? args->commandBufferCount : 0);
}

void pv_venus_handle_vkFreeDescriptorSets(struct pv_venus_decoder *d, struct pv_venus_args_vkFreeDescriptorSets *args)
{
	(void)d;
	remove_all(args->pDescriptorSets_objects, args->pDescriptorSets_objects ? args->descriptorSetCount : 0);
	args->ret = VK_SUCCESS;
}

void pv_venus_handle_vkDestroyCommandPool(struct pv_venus_decoder *d, struct pv_venus_args_vkDestroyCommandPool *args)
{
	(void)d;
	remove_with_children(args->commandPool_object);
}

void pv_venus_handle_vkDestroyDescriptorPool(struct pv_venus_decoder *d,
					     struct pv_venus_args_vkDestroyDescriptorPool *args)
{
	(void)d;
	remove_with_children(args->descriptorPool_object);
}

void pv_venus_handle_vkResetDescriptorPool(struct pv_venus_decoder *d, struct pv_venus_args_vkResetDescriptorPool *args)
{
	struct pv_venus_object_info info;

	while (args->descriptorPool_object &&
	       pv_venus_object_remove_child(d->objects, args->descriptorPool_object, &info))
		;
	args->ret = VK_SUCCESS;
}
#endif

/* SPDX-License-Identifier: MIT */
/* Command buffers and descriptor sets: objects that belong to a pool and go with it. */
#include "venus/handler.h"

/* Which pools and children a command is about. */
struct family {
	enum pv_venus_type child;
	const char *ids_field, *children_field;
};

static const struct family command_buffers = {PV_VENUS_COMMAND_BUFFER, "vkAllocateCommandBuffers.pCommandBuffers",
					      "vkFreeCommandBuffers.pCommandBuffers"};
static const struct family descriptor_sets = {PV_VENUS_DESCRIPTOR_SET, "vkAllocateDescriptorSets.pDescriptorSets",
					      "vkFreeDescriptorSets.pDescriptorSets"};

static void check_new_ids(struct pv_venus_decoder *d, const struct family *family, const uint64_t *ids, uint32_t count)
{
	for (uint32_t i = 0; i < count && !d->failed; i++)
		pv_venus_check_new_id(d, ids[i], family->ids_field);
}

/* Children that were made, or that were not: Vulkan makes all or none. `handles` is NULL for none. */
static bool enter_children(struct pv_venus_decoder *d, const struct family *family, const uint64_t *ids,
			   const uint64_t *handles, uint32_t count, VkResult result, struct pv_venus_object *pool)
{
	for (uint32_t i = 0; i < count; i++)
		if (!pv_venus_created(d, family->child, ids[i], handles ? handles[i] : 0, result, pool))
			return false;
	return true;
}

static void drop_children(struct pv_venus_decoder *d, struct pv_venus_object *pool)
{
	struct pv_venus_object_info ignored;

	while (pv_venus_object_remove_child(d->objects, pool, &ignored))
		;
}

/* Takes freed children out of the table. Returns how many handles there are for the host to free. */
static uint32_t take_children(struct pv_venus_decoder *d, const struct family *family, struct pv_venus_object *pool,
			      struct pv_venus_object *const *children, uint32_t count, uint64_t *handles)
{
	uint32_t taken = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct pv_venus_object_info removed;

		if (!children[i] || !pv_venus_object_remove(d->objects, children[i], &removed))
			continue;
		/* The host's goes with its own pool. */
		if (removed.owner != pool) {
			pv_venus_fail(d, family->children_field, "it is of another pool", removed.id);
			return taken;
		}
		if (removed.handle != 0)
			handles[taken++] = removed.handle;
	}
	return taken;
}

/* ---- Command buffers ---- */

void pv_venus_handle_vkAllocateCommandBuffers(struct pv_venus_decoder *d,
					      struct pv_venus_args_vkAllocateCommandBuffers *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	uint32_t count = args->pAllocateInfo->commandBufferCount;
	uint64_t *handles;

	check_new_ids(d, &command_buffers, args->pCommandBuffers_ids, count);
	handles = pv_venus_alloc(d, count * sizeof(*handles));
	if (d->failed || !handles)
		return;
	args->ret = device->fn.AllocateCommandBuffers(args->device, args->pAllocateInfo, args->pCommandBuffers);
	for (uint32_t i = 0; i < count; i++) {
		if (args->ret != VK_SUCCESS)
			args->pCommandBuffers[i] = NULL;
		handles[i] = PV_VENUS_HANDLE(args->pCommandBuffers[i]);
	}
	/* When they cannot be entered the stream has failed, and the pool goes with the device. */
	(void)enter_children(d, &command_buffers, args->pCommandBuffers_ids, handles, count, args->ret,
			     args->pool_object);
}

void pv_venus_handle_vkFreeCommandBuffers(struct pv_venus_decoder *d, struct pv_venus_args_vkFreeCommandBuffers *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkCommandBuffer *buffers;
	uint64_t *handles;
	uint32_t taken;

	if (args->commandBufferCount == 0)
		return;
	if (!args->pCommandBuffers) {
		pv_venus_fail(d, "vkFreeCommandBuffers.pCommandBuffers", "there are none", args->commandBufferCount);
		return;
	}
	handles = pv_venus_alloc(d, args->commandBufferCount * sizeof(*handles));
	buffers = pv_venus_alloc(d, args->commandBufferCount * sizeof(VkCommandBuffer));
	if (!handles || !buffers)
		return;
	taken = take_children(d, &command_buffers, args->commandPool_object, args->pCommandBuffers_objects,
			      args->commandBufferCount, handles);
	for (uint32_t i = 0; i < taken; i++)
		buffers[i] = (VkCommandBuffer)(uintptr_t)handles[i];
	if (taken > 0)
		device->fn.FreeCommandBuffers(args->device, args->commandPool, taken, buffers);
}

void pv_venus_handle_vkDestroyCommandPool(struct pv_venus_decoder *d, struct pv_venus_args_vkDestroyCommandPool *args)
{
	struct pv_venus_object_info removed;

	if (!args->commandPool_object || !pv_venus_object_remove(d->objects, args->commandPool_object, &removed))
		return;
	drop_children(d, args->commandPool_object);
	if (removed.handle)
		pv_venus_destroy_handle(removed.device, PV_VENUS_COMMAND_POOL, removed.handle);
}

/* ---- Descriptor sets ---- */

void pv_venus_handle_vkAllocateDescriptorSets(struct pv_venus_decoder *d,
					      struct pv_venus_args_vkAllocateDescriptorSets *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	uint32_t count = args->pAllocateInfo->descriptorSetCount;
	uint64_t *handles;

	check_new_ids(d, &descriptor_sets, args->pDescriptorSets_ids, count);
	handles = pv_venus_alloc(d, count * sizeof(*handles));
	if (d->failed || !handles)
		return;
	args->ret = device->fn.AllocateDescriptorSets(args->device, args->pAllocateInfo, args->pDescriptorSets);
	for (uint32_t i = 0; i < count; i++) {
		if (args->ret != VK_SUCCESS)
			args->pDescriptorSets[i] = VK_NULL_HANDLE;
		handles[i] = PV_VENUS_HANDLE(args->pDescriptorSets[i]);
	}
	(void)enter_children(d, &descriptor_sets, args->pDescriptorSets_ids, handles, count, args->ret,
			     args->pool_object);
}

void pv_venus_handle_vkFreeDescriptorSets(struct pv_venus_decoder *d, struct pv_venus_args_vkFreeDescriptorSets *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkDescriptorSet *sets;
	uint64_t *handles;
	uint32_t taken;

	args->ret = VK_SUCCESS;
	if (args->descriptorSetCount == 0)
		return;
	if (!args->pDescriptorSets) {
		pv_venus_fail(d, "vkFreeDescriptorSets.pDescriptorSets", "there are none", args->descriptorSetCount);
		return;
	}
	handles = pv_venus_alloc(d, args->descriptorSetCount * sizeof(*handles));
	sets = pv_venus_alloc(d, args->descriptorSetCount * sizeof(*sets));
	if (!handles || !sets)
		return;
	taken = take_children(d, &descriptor_sets, args->descriptorPool_object, args->pDescriptorSets_objects,
			      args->descriptorSetCount, handles);
	for (uint32_t i = 0; i < taken; i++)
		sets[i] = (VkDescriptorSet)(uintptr_t)handles[i];
	if (taken > 0)
		args->ret = device->fn.FreeDescriptorSets(args->device, args->descriptorPool, taken, sets);
}

void pv_venus_handle_vkResetDescriptorPool(struct pv_venus_decoder *d, struct pv_venus_args_vkResetDescriptorPool *args)
{
	drop_children(d, args->descriptorPool_object);
	args->ret = pv_venus_device_of(args->device_object)
			->fn.ResetDescriptorPool(args->device, args->descriptorPool, args->flags);
}

void pv_venus_handle_vkDestroyDescriptorPool(struct pv_venus_decoder *d,
					     struct pv_venus_args_vkDestroyDescriptorPool *args)
{
	struct pv_venus_object_info removed;

	if (!args->descriptorPool_object || !pv_venus_object_remove(d->objects, args->descriptorPool_object, &removed))
		return;
	drop_children(d, args->descriptorPool_object);
	if (removed.handle)
		pv_venus_destroy_handle(removed.device, PV_VENUS_DESCRIPTOR_POOL, removed.handle);
}

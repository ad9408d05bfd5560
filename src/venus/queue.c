/* SPDX-License-Identifier: MIT */
#include "venus/queue.h"

#include <stdlib.h>

#include "venus/chain.h"
#include "venus/handler.h"

static struct pv_venus_queue *new_queue(struct pv_venus_context *context)
{
	struct pv_venus_queue *queue;

	pv_mutex_lock(&context->vulkan_lock);
	queue = context->free_queues;
	if (queue)
		context->free_queues = queue->next;
	pv_mutex_unlock(&context->vulkan_lock);
	if (queue)
		return queue;
	queue = calloc(1, sizeof(*queue));
	if (queue)
		pv_mutex_init(&queue->lock);
	return queue;
}

static void keep_queue(struct pv_venus_context *context, struct pv_venus_queue **list, struct pv_venus_queue *queue)
{
	pv_mutex_lock(&context->vulkan_lock);
	queue->next = *list;
	*list = queue;
	pv_mutex_unlock(&context->vulkan_lock);
}

enum pv_status pv_venus_queues_create(struct pv_venus_device *device, const VkDeviceCreateInfo *info)
{
	for (uint32_t i = 0; i < info->queueCreateInfoCount; i++) {
		const VkDeviceQueueCreateInfo *family = &info->pQueueCreateInfos[i];

		for (uint32_t k = 0; k < family->queueCount; k++) {
			VkDeviceQueueInfo2 which = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_INFO_2,
						    .flags = family->flags,
						    .queueFamilyIndex = family->queueFamilyIndex,
						    .queueIndex = k};
			struct pv_venus_queue *queue = new_queue(device->context);

			if (!queue)
				return PV_ERR_NO_MEMORY;
			queue->flags = family->flags;
			queue->family = family->queueFamilyIndex;
			queue->index = k;
			queue->taken = false;
			queue->timeline = NULL;
			queue->handle = VK_NULL_HANDLE;
			device->fn.GetDeviceQueue2(device->handle, &which, &queue->handle);
			/* There is none for flags that the driver does not know: then the guest may not ask for it. */
			keep_queue(device->context, queue->handle ? &device->queues : &device->context->free_queues,
				   queue);
		}
	}
	return PV_OK;
}

void pv_venus_queues_destroy(struct pv_venus_device *device)
{
	struct pv_venus_context *context = device->context;

	while (device->queues) {
		struct pv_venus_queue *queue = device->queues;
		struct pv_venus_timeline *timeline;

		pv_mutex_lock(&queue->lock);
		timeline = queue->timeline;
		queue->timeline = NULL;
		pv_mutex_unlock(&queue->lock);
		pv_venus_timeline_destroy(timeline);

		device->queues = queue->next;
		keep_queue(context, &context->free_queues, queue);
	}
}

void pv_venus_context_free_queues(struct pv_venus_context *context)
{
	while (context->free_queues) {
		struct pv_venus_queue *queue = context->free_queues;

		context->free_queues = queue->next;
		pv_mutex_finish(&queue->lock);
		free(queue);
	}
}

static struct pv_venus_queue *find(struct pv_venus_device *device, const VkDeviceQueueInfo2 *info)
{
	struct pv_venus_queue *queue = device->queues;

	while (queue && (queue->flags != info->flags || queue->family != info->queueFamilyIndex ||
			 queue->index != info->queueIndex))
		queue = queue->next;
	return queue;
}

/* Makes it the guest's, with a timeline for its fences. */
static bool take(struct pv_venus_decoder *d, struct pv_venus_device *device, struct pv_venus_queue *queue,
		 uint32_t ring_idx)
{
	struct pv_venus_timeline_params params = {
	    .context = d->context,
	    .device = device,
	    .queue = queue->handle,
	    .queue_lock = &queue->lock,
	    .ring_idx = ring_idx,
	};
	struct pv_venus_timeline *timeline;
	enum pv_status status;
	bool was_taken;

	pv_mutex_lock(&queue->lock);
	was_taken = queue->taken;
	queue->taken = true;
	pv_mutex_unlock(&queue->lock);
	if (was_taken) {
		pv_venus_fail(d, "vkGetDeviceQueue2.pQueueInfo", "the guest has this queue already", queue->index);
		return false;
	}
	status = pv_venus_timeline_create(&params, &timeline);
	if (status != PV_OK) {
		pv_venus_fail(d, "VkDeviceQueueTimelineInfoMESA.ringIdx",
			      status == PV_ERR_GUEST ? "it is 0, too large or bound already" : "out of memory",
			      ring_idx);
		return false;
	}
	pv_mutex_lock(&queue->lock);
	queue->timeline = timeline;
	pv_mutex_unlock(&queue->lock);
	return true;
}

void pv_venus_handle_vkGetDeviceQueue2(struct pv_venus_decoder *d, struct pv_venus_args_vkGetDeviceQueue2 *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	const VkDeviceQueueTimelineInfoMESA *timeline_info =
	    pv_venus_chain_find(args->pQueueInfo->pNext, VK_STRUCTURE_TYPE_DEVICE_QUEUE_TIMELINE_INFO_MESA);
	struct pv_venus_queue *queue = find(device, args->pQueueInfo);

	pv_venus_check_new_id(d, args->pQueue_id, "vkGetDeviceQueue2.pQueue");
	if (d->failed)
		return;
	if (!queue) {
		pv_venus_fail(d, "vkGetDeviceQueue2.pQueueInfo", "the device was not created with such a queue",
			      args->pQueueInfo->queueFamilyIndex);
		return;
	}
	if (!timeline_info) {
		pv_venus_fail(d, "vkGetDeviceQueue2.pQueueInfo", "VkDeviceQueueTimelineInfoMESA is missing", 0);
		return;
	}
	if (!take(d, device, queue, timeline_info->ringIdx))
		return;
	*args->pQueue = queue->handle;
	if (!pv_venus_created_with(d, PV_VENUS_QUEUE, args->pQueue_id, PV_VENUS_HANDLE(queue->handle), VK_SUCCESS,
				   args->device_object, queue))
		return; /* The queue itself belongs to the device. */
}

static struct pv_venus_queue *queue_of(const struct pv_venus_object *object)
{
	return atomic_load_explicit(&object->extra, memory_order_relaxed);
}

/* Fences asked for so far are of what was submitted so far: their batches go first. */
static void lock_for_submit(struct pv_venus_queue *queue) PV_ACQUIRE(queue->lock)
{
	pv_mutex_lock(&queue->lock);
	if (queue->timeline)
		pv_venus_timeline_submit_pending(queue->timeline);
}

void pv_venus_handle_vkQueueSubmit(struct pv_venus_decoder *d, struct pv_venus_args_vkQueueSubmit *args)
{
	struct pv_venus_queue *queue = queue_of(args->queue_object);

	(void)d;
	lock_for_submit(queue);
	args->ret = pv_venus_device_of(args->queue_object)
			->fn.QueueSubmit(args->queue, args->submitCount, args->pSubmits, args->fence);
	pv_mutex_unlock(&queue->lock);
}

void pv_venus_handle_vkQueueSubmit2(struct pv_venus_decoder *d, struct pv_venus_args_vkQueueSubmit2 *args)
{
	struct pv_venus_queue *queue = queue_of(args->queue_object);
	PFN_vkQueueSubmit2 submit = pv_venus_device_of(args->queue_object)->fn.QueueSubmit2;

	if (!PV_VENUS_HAS(d, submit, "vkQueueSubmit2"))
		return;
	lock_for_submit(queue);
	args->ret = submit(args->queue, args->submitCount, args->pSubmits, args->fence);
	pv_mutex_unlock(&queue->lock);
}

void pv_venus_handle_vkQueueBindSparse(struct pv_venus_decoder *d, struct pv_venus_args_vkQueueBindSparse *args)
{
	struct pv_venus_queue *queue = queue_of(args->queue_object);

	(void)d;
	lock_for_submit(queue);
	args->ret = pv_venus_device_of(args->queue_object)
			->fn.QueueBindSparse(args->queue, args->bindInfoCount, args->pBindInfo, args->fence);
	pv_mutex_unlock(&queue->lock);
}

VkResult pv_venus_queue_submit_empty(struct pv_venus_device *device, VkSemaphore wait, VkSemaphore signal)
{
	VkPipelineStageFlags stages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
	VkSubmitInfo info = {
	    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
	    .waitSemaphoreCount = wait ? 1 : 0,
	    .pWaitSemaphores = &wait,
	    .pWaitDstStageMask = &stages,
	    .signalSemaphoreCount = signal ? 1 : 0,
	    .pSignalSemaphores = &signal,
	};
	struct pv_venus_queue *queue = device->queues;
	VkResult result;

	if (!queue)
		return VK_ERROR_UNKNOWN;
	lock_for_submit(queue);
	result = device->fn.QueueSubmit(queue->handle, 1, &info, VK_NULL_HANDLE);
	pv_mutex_unlock(&queue->lock);
	return result;
}

bool pv_venus_queues_wait(struct pv_venus_device *device, VkFence fence, uint64_t timeout_ns)
{
	for (struct pv_venus_queue *queue = device->queues; queue; queue = queue->next) {
		VkResult result;

		lock_for_submit(queue);
		result = device->fn.QueueSubmit(queue->handle, 0, NULL, fence);
		pv_mutex_unlock(&queue->lock);
		if (result != VK_SUCCESS)
			continue;
		if (device->fn.WaitForFences(device->handle, 1, &fence, VK_TRUE, timeout_ns) == VK_TIMEOUT)
			return false;
		device->fn.ResetFences(device->handle, 1, &fence);
	}
	return true;
}

/* SPDX-License-Identifier: MIT */
#include "venus/timeline.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/thread.h"
#include "venus/device.h"

/* The timeline's thread looks this often whether it is still wanted. */
#define WAIT_SLICE_NS UINT64_C(1000000000)

struct pv_venus_timeline {
	_Atomic uint32_t refs; /* its owner, the thread, and whoever looked it up */

	/* Immutable. */
	struct pv_venus_context *context;
	const struct pv_venus_device *device;
	VkQueue queue;
	struct pv_mutex *queue_lock;
	uint32_t ring_idx;

	/* A stack of what was asked for: pushed by the device thread, taken whole by the holder of queue_lock. */
	_Atomic(struct pv_venus_fence *) asked;

	/* Under queue_lock: submitted, in order. */
	struct pv_venus_fence *first, **last;

	struct pv_mutex lock; /* a leaf */
	struct pv_condition changed;
	bool started PV_GUARDED_BY(lock);
	bool kicked PV_GUARDED_BY(lock);
	bool ended PV_GUARDED_BY(lock);
	_Atomic bool stop; /* release by destroy, acquire by the thread */
	pthread_t thread;
};

static void unref(struct pv_venus_timeline *timeline)
{
	if (atomic_fetch_sub_explicit(&timeline->refs, 1, memory_order_acq_rel) != 1)
		return;
	pv_condition_finish(&timeline->changed);
	pv_mutex_finish(&timeline->lock);
	free(timeline);
}

enum pv_status pv_venus_timeline_create(const struct pv_venus_timeline_params *params, struct pv_venus_timeline **out)
{
	struct pv_venus_context *context = params->context;
	struct pv_venus_timeline *timeline;
	bool taken;

	if (params->ring_idx == 0 || params->ring_idx >= PV_VENUS_MAX_TIMELINES)
		return PV_ERR_GUEST;
	timeline = calloc(1, sizeof(*timeline));
	if (!timeline)
		return PV_ERR_NO_MEMORY;
	atomic_init(&timeline->refs, 1);
	timeline->context = context;
	timeline->device = params->device;
	timeline->queue = params->queue;
	timeline->queue_lock = params->queue_lock;
	timeline->ring_idx = params->ring_idx;
	timeline->last = &timeline->first;
	pv_mutex_init(&timeline->lock);
	pv_condition_init(&timeline->changed);

	pv_mutex_lock(&context->timelines_lock);
	taken = context->timelines[params->ring_idx] != NULL;
	if (!taken)
		context->timelines[params->ring_idx] = timeline;
	pv_mutex_unlock(&context->timelines_lock);
	if (taken) {
		unref(timeline);
		return PV_ERR_GUEST;
	}
	*out = timeline;
	return PV_OK;
}

/* All that was asked for, the oldest first. */
static struct pv_venus_fence *take_asked(struct pv_venus_timeline *timeline)
{
	/* Acquire: pairs with the release in add(). */
	struct pv_venus_fence *fence = atomic_exchange_explicit(&timeline->asked, NULL, memory_order_acquire);
	struct pv_venus_fence *oldest = NULL;

	while (fence) {
		struct pv_venus_fence *older = fence->next;

		fence->next = oldest;
		oldest = fence;
		fence = older;
	}
	return oldest;
}

/* An empty batch: it ends when everything before it has ended. */
static VkFence submit_marker(struct pv_venus_timeline *timeline)
{
	const struct pv_venus_device *device = timeline->device;
	const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
	VkFence fence = VK_NULL_HANDLE;
	VkResult result;

	result = device->fn.CreateFence(device->handle, &info, NULL, &fence);
	if (result != VK_SUCCESS)
		return VK_NULL_HANDLE;
	result = device->fn.QueueSubmit(timeline->queue, 0, NULL, fence);
	if (result == VK_SUCCESS)
		return fence;
	/* A lost device does nothing any more; without memory the fence is early rather than never. */
	device->fn.DestroyFence(device->handle, fence, NULL);
	return VK_NULL_HANDLE;
}

void pv_venus_timeline_submit_pending(struct pv_venus_timeline *timeline)
{
	struct pv_venus_fence *fence;

	if (!timeline || !atomic_load_explicit(&timeline->asked, memory_order_relaxed))
		return;
	fence = take_asked(timeline);
	while (fence) {
		struct pv_venus_fence *next = fence->next;

		fence->handle = submit_marker(timeline);
		fence->next = NULL;
		*timeline->last = fence;
		timeline->last = &fence->next;
		fence = next;
	}
}

static void wait_and_signal(struct pv_venus_timeline *timeline, struct pv_venus_fence *fence)
{
	const struct pv_venus_device *device = timeline->device;
	VkResult result;
	bool stop;

	if (fence->handle) {
		do {
			stop = atomic_load_explicit(&timeline->stop, memory_order_acquire);
			result = device->fn.WaitForFences(device->handle, 1, &fence->handle, VK_TRUE,
							  stop ? 0 : WAIT_SLICE_NS);
		} while (result == VK_TIMEOUT && !stop);
		/* Else it is in use although the queue should be idle: the device's end takes it. */
		if (result != VK_TIMEOUT)
			device->fn.DestroyFence(device->handle, fence->handle, NULL);
	}
	pv_venus_mailbox_post(timeline->context->mailbox, &fence->mail);
}

static void serve(struct pv_venus_timeline *timeline)
{
	struct pv_venus_fence *fence;

	pv_mutex_lock(timeline->queue_lock);
	pv_venus_timeline_submit_pending(timeline);
	fence = timeline->first;
	timeline->first = NULL;
	timeline->last = &timeline->first;
	pv_mutex_unlock(timeline->queue_lock);
	while (fence) {
		struct pv_venus_fence *next = fence->next;

		wait_and_signal(timeline, fence);
		fence = next;
	}
}

static void *timeline_thread(void *user)
{
	struct pv_venus_timeline *timeline = user;
	bool stop = false;

	while (!stop) {
		pv_mutex_lock(&timeline->lock);
		while (!timeline->kicked && !atomic_load_explicit(&timeline->stop, memory_order_acquire))
			pv_condition_wait(&timeline->changed, &timeline->lock);
		timeline->kicked = false;
		pv_mutex_unlock(&timeline->lock);
		stop = atomic_load_explicit(&timeline->stop, memory_order_acquire);
		serve(timeline);
	}
	return NULL;
}

bool pv_venus_timeline_add(struct pv_venus_context *context, uint32_t ring_idx, struct pv_venus_fence *fence)
{
	struct pv_venus_timeline *timeline = NULL;
	bool added = false;

	if (ring_idx >= PV_VENUS_MAX_TIMELINES)
		return false;
	pv_mutex_lock(&context->timelines_lock);
	timeline = context->timelines[ring_idx];
	if (timeline)
		atomic_fetch_add_explicit(&timeline->refs, 1, memory_order_relaxed);
	pv_mutex_unlock(&context->timelines_lock);
	if (!timeline)
		return false;

	pv_mutex_lock(&timeline->lock);
	if (!timeline->ended && !timeline->started)
		timeline->started =
		    pv_thread_create("pv-venus-fence", timeline_thread, timeline, &timeline->thread) == PV_OK;
	if (!timeline->ended && timeline->started) {
		fence->handle = VK_NULL_HANDLE;
		/* Only this thread pushes. Release: pairs with take_asked(). */
		fence->next = atomic_load_explicit(&timeline->asked, memory_order_relaxed);
		while (!atomic_compare_exchange_weak_explicit(&timeline->asked, &fence->next, fence,
							      memory_order_release, memory_order_relaxed))
			;
		timeline->kicked = true;
		pv_condition_signal(&timeline->changed);
		added = true;
	}
	pv_mutex_unlock(&timeline->lock);
	unref(timeline);
	return added;
}

void pv_venus_timeline_destroy(struct pv_venus_timeline *timeline)
{
	struct pv_venus_context *context;
	bool started;

	if (!timeline)
		return;
	context = timeline->context;
	pv_mutex_lock(&context->timelines_lock);
	context->timelines[timeline->ring_idx] = NULL;
	pv_mutex_unlock(&context->timelines_lock);

	pv_mutex_lock(&timeline->lock);
	/* At once: a fence that is still added is there before the thread serves for the last time. */
	timeline->ended = true;
	atomic_store_explicit(&timeline->stop, true, memory_order_release);
	started = timeline->started;
	pv_condition_signal(&timeline->changed);
	pv_mutex_unlock(&timeline->lock);
	/* It serves what is left before it ends; nothing was ever added without it. */
	if (started)
		pthread_join(timeline->thread, NULL);
	unref(timeline);
}

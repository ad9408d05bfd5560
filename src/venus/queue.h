/* SPDX-License-Identifier: MIT */
/* A VkQueue: used by rings and by the timeline of its fences, one at a time. */
#ifndef PV_VENUS_QUEUE_H
#define PV_VENUS_QUEUE_H

#include "base/mutex.h"
#include "venus/device.h"
#include "venus/timeline.h"

/* Type-stable within a context, as the device. */
struct pv_venus_queue {
	/* Immutable after create. */
	VkQueue handle;
	VkDeviceQueueCreateFlags flags;
	uint32_t family, index;
	/* Held around every use of `handle`. A leaf, but for the driver. */
	struct pv_mutex lock;
	/* Guarded by it. NULL: the guest has not asked for the queue yet. */
	struct pv_venus_timeline *timeline;
	bool taken;                  /* the guest has it */
	struct pv_venus_queue *next; /* of the device's list, or the context's free ones */
};

/* Fetches the queues of a new device into its list. PV_ERR_NO_MEMORY: some are missing. */
PV_MUST_USE enum pv_status pv_venus_queues_create(struct pv_venus_device *device, const VkDeviceCreateInfo *info);
/* Of a device that is idle or lost. The timelines end. */
void pv_venus_queues_destroy(struct pv_venus_device *device);
/* Frees what is kept. */
void pv_venus_context_free_queues(struct pv_venus_context *context);

/*
 * All that was submitted has ended, or the device is lost. False: not within `timeout_ns` for each queue, and `fence`
 * (an unsignalled one) is in use.
 */
PV_MUST_USE bool pv_venus_queues_wait(struct pv_venus_device *device, VkFence fence, uint64_t timeout_ns);

/* A batch of nothing on any queue of the device, that waits for `wait` and signals `signal`; either may be missing. */
VkResult pv_venus_queue_submit_empty(struct pv_venus_device *device, VkSemaphore wait, VkSemaphore signal);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Fences of a VkQueue: a virtio-gpu fence on a timeline bound to a queue signals when the work submitted to that queue
 * so far has ended. That moment is marked by an empty batch with a VkFence.
 *
 * The device thread only notes what is asked for. Whoever next holds the queue's lock, the timeline's own thread or a
 * ring's thread inside vkQueueSubmit, submits the batches; the timeline's thread waits for them in their order and
 * reports. It is started with the first fence, since most queues never see one.
 */
#ifndef PV_VENUS_TIMELINE_H
#define PV_VENUS_TIMELINE_H

#include "base/mutex.h"
#include "venus/context.h"
#include "venus/mailbox.h"

struct pv_venus_device;

/* From whoever asks for it; `mail` is posted to the context's mailbox when it has signalled. */
struct pv_venus_fence {
	struct pv_venus_mail mail;
	/* The timeline's. */
	struct pv_venus_fence *next;
	VkFence handle; /* NULL: there is nothing to wait for */
};

struct pv_venus_timeline_params {
	struct pv_venus_context *context;
	const struct pv_venus_device *device; /* its fn and handle; must outlive the timeline */
	VkQueue queue;
	struct pv_mutex *queue_lock; /* held around every use of `queue` */
	uint32_t ring_idx;           /* not yet checked */
};

/* Any thread. PV_ERR_GUEST: ring_idx is 0, too large or bound already. */
PV_MUST_USE enum pv_status pv_venus_timeline_create(const struct pv_venus_timeline_params *params,
						    struct pv_venus_timeline **out);
/*
 * Any thread but the device thread, without the queue's lock. The binding ends, what is pending is signalled: the queue
 * should be idle, or lost, so that its fences have nothing to wait for. NULL is fine.
 */
void pv_venus_timeline_destroy(struct pv_venus_timeline *timeline);
/* With the queue's lock held, before every submission to the queue. Costs one load when nothing is pending. */
void pv_venus_timeline_submit_pending(struct pv_venus_timeline *timeline);

/*
 * Device thread. The fence signals when the work submitted so far on the timeline bound to ring_idx has ended. False:
 * none is bound, the fence is untouched.
 */
bool pv_venus_timeline_add(struct pv_venus_context *context, uint32_t ring_idx, struct pv_venus_fence *fence);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Requests: from a virtqueue into a handler, and back when they are done.
 *
 * A request is taken from the ring, its header is copied once, and it lives in a slot of its queue's pool until it is
 * given back. Its id (serial and slot) is what renderers see as op id and fence id: after a reset or a stop the slot
 * has another id, and late answers find nothing. A command with the fence flag is answered when the renderer signals
 * the fence made right after it, failed ones too, because a driver takes the newest fence for all older ones.
 *
 * Fences with a ring_idx are on a timeline of their context, which its renderer keeps in order. All others share the
 * device's own timeline, whoever draws for them: they are answered in the order of their commands, else Linux would
 * take a quick one for the slow one before it. Commands whose op is pending are left out of that order, since a context
 * that waits must not hold up another one or the screen.
 *
 * Answers become visible at the end of a batch, all at once. Until then the driver may not count on anything, so a
 * renderer may put work off and skip what later commands of the batch make useless (a guest that flips faster than it
 * is shown).
 *
 * A queue may stop with requests in flight and go on where it was: QEMU does that to a machine that is paused. They
 * stay in their slots, nothing is written for them until the queue runs again, and then they are answered, once, in the
 * order in which they ended. A start anywhere else, or a reset, is another driver's: they are dropped.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gpu/gpu_internal.h"

/* Long batches give way to timers and other fds about this often. */
#define BATCH_BUDGET_NS   4000000
#define BATCH_CHECK_EVERY 16
#define MAX_BATCHES       8

#define SLOT_BITS 16

_Static_assert(PV_VIRTQ_MAX_SIZE <= 1 << (SLOT_BITS - 1), "slot and queue fit into SLOT_BITS");

static uint64_t make_id(struct pv_gpu *gpu, uint32_t queue, size_t slot)
{
	return ++gpu->next_serial << SLOT_BITS | slot << 1 | queue;
}

struct pv_gpu_request *pv_gpu_find_request(struct pv_gpu *gpu, uint64_t id)
{
	struct pv_gpu_queue *queue = &gpu->queues[id & 1];
	size_t slot = (id & ((1 << SLOT_BITS) - 1)) >> 1;

	if (id == 0 || !queue->pool || slot >= queue->virtq.layout.size || queue->pool[slot].id != id)
		return NULL;
	return &queue->pool[slot];
}

static void release_request(struct pv_gpu *gpu, struct pv_gpu_request *request)
{
	struct pv_gpu_queue *queue = &gpu->queues[request->queue];

	free(request->heap_spans);
	free(request->kept);
	request->heap_spans = NULL;
	request->kept = NULL;
	request->id = 0;
	request->next = queue->free;
	queue->free = request;
}

/* Where the answer goes, kept as guest addresses: memory may change before it is written. */
static enum pv_status keep_writable(struct pv_gpu_request *request, const struct pv_virtq_chain *chain)
{
	const struct pv_guest_span *spans = chain->spans + chain->nr_readable;
	struct pv_guest_span *to = request->spans;

	if (chain->nr_writable > PV_GPU_INLINE_SPANS) {
		to = request->heap_spans = malloc(chain->nr_writable * sizeof(*to));
		if (!to)
			return PV_ERR_NO_MEMORY;
	}
	memcpy(to, spans, chain->nr_writable * sizeof(*to));
	request->nr_spans = chain->nr_writable;
	request->writable_len = chain->writable_len;
	return PV_OK;
}

void pv_gpu_raise_interrupt(struct pv_gpu *gpu, struct pv_gpu_queue *queue)
{
	if (!pv_virtq_needs_interrupt(&queue->virtq) || !gpu->transport)
		return;
	gpu->stats.interrupts++;
	gpu->transport->interrupt(gpu->transport_user, (uint32_t)(queue - gpu->queues));
}

/* Makes finished requests the driver's. What renderers put off to the end of a batch happens before. */
static void publish(struct pv_gpu *gpu, struct pv_gpu_queue *queue)
{
	gpu->renderer->ops->finish_batch(gpu->renderer);
	pv_virtq_publish(&queue->virtq);
	pv_gpu_raise_interrupt(gpu, queue);
}

static void give_back(struct pv_gpu *gpu, struct pv_gpu_request *request)
{
	struct pv_gpu_queue *queue = &gpu->queues[request->queue];

	if (!queue->virtq.running) {
		request->next = NULL;
		*(queue->last_ended ? &queue->last_ended->next : &queue->first_ended) = request;
		queue->last_ended = request;
		return;
	}
	pv_virtq_push(&queue->virtq, request->head, request->written_len);
	release_request(gpu, request);
	if (queue->busy)
		queue->completed = true;
	else
		publish(gpu, queue);
}

static void write_response(struct pv_gpu *gpu, struct pv_gpu_request *request, struct pv_gpu_response *response)
{
	const struct pv_guest_span *spans = request->heap_spans ? request->heap_spans : request->spans;
	uint32_t len = response->payload_len;

	if (len < sizeof(response->hdr))
		len = sizeof(response->hdr);
	if (len > request->writable_len) {
		/* Cursor commands come without room for an answer; control commands ought to have it. */
		len = request->writable_len >= sizeof(response->hdr) ? sizeof(response->hdr) : 0;
		if (response->payload_len > sizeof(response->hdr))
			response->type = PV_GPU_RESP_ERR_UNSPEC;
	}
	response->hdr = (struct pv_gpu_ctrl_hdr){.type = response->type};
	if (request->hdr.flags & PV_GPU_FLAG_FENCE) {
		response->hdr.flags = request->hdr.flags & (PV_GPU_FLAG_FENCE | PV_GPU_FLAG_INFO_RING_IDX);
		response->hdr.fence_id = request->hdr.fence_id;
		response->hdr.ctx_id = request->hdr.ctx_id;
		response->hdr.ring_idx = request->hdr.ring_idx;
	}
	request->written_len = len;
	if (len > 0 && pv_guest_write(gpu->map, spans, request->nr_spans, 0, &response->hdr, len) != PV_OK) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "a response buffer is not inside guest memory");
		request->written_len = 0;
	}
}

static bool is_complete(const struct pv_gpu_request *request)
{
	return request->answered && (!(request->hdr.flags & PV_GPU_FLAG_FENCE) || request->fence_signalled);
}

static void advance_ordered(struct pv_gpu *gpu)
{
	while (gpu->first_ordered && is_complete(gpu->first_ordered)) {
		struct pv_gpu_request *request = gpu->first_ordered;

		gpu->first_ordered = request->next_ordered;
		if (!gpu->first_ordered)
			gpu->last_ordered = NULL;
		give_back(gpu, request);
	}
}

static void complete(struct pv_gpu *gpu, struct pv_gpu_request *request)
{
	if (!is_complete(request))
		return;
	if (request->ordered)
		advance_ordered(gpu);
	else
		give_back(gpu, request);
}

static void append_ordered(struct pv_gpu *gpu, struct pv_gpu_request *request)
{
	request->ordered = true;
	request->next_ordered = NULL;
	if (gpu->last_ordered)
		gpu->last_ordered->next_ordered = request;
	else
		gpu->first_ordered = request;
	gpu->last_ordered = request;
}

/* Right after the op was called, so that it is the next in the renderer's order. The request may be over afterwards. */
static void ask_for_fence(struct pv_gpu *gpu, struct pv_gpu_request *request)
{
	bool on_ring = request->hdr.flags & PV_GPU_FLAG_INFO_RING_IDX;

	if (!on_ring && request->answered)
		append_ordered(gpu, request);
	request->fence_asked = true;
	gpu->stats.fences_created++;
	gpu->renderer->ops->create_fence(gpu->renderer, request->id, request->hdr.ctx_id,
					 on_ring ? request->hdr.ring_idx : 0);
}

/* While its queue is stopped. Without memory for a copy the driver has to do with an error. */
static void keep_response(struct pv_gpu_request *request, const struct pv_gpu_response *response)
{
	request->is_kept = true;
	request->kept = malloc(sizeof(*request->kept));
	if (request->kept)
		*request->kept = *response;
}

static void write_kept_response(struct pv_gpu *gpu, struct pv_gpu_request *request)
{
	struct pv_gpu_response failed;

	if (!request->is_kept)
		return;
	failed.type = PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	failed.payload_len = 0;
	request->is_kept = false;
	write_response(gpu, request, request->kept ? request->kept : &failed);
}

static void answer(struct pv_gpu *gpu, struct pv_gpu_request *request, struct pv_gpu_response *response)
{
	if (gpu->queues[request->queue].virtq.running)
		write_response(gpu, request, response);
	else
		keep_response(request, response);
	if (response->type >= PV_GPU_RESP_ERR_UNSPEC)
		gpu->stats.failed_commands++;
	request->answered = true;
}

void pv_gpu_finish_request(struct pv_gpu *gpu, struct pv_gpu_request *request, struct pv_gpu_response *response)
{
	answer(gpu, request, response);
	complete(gpu, request);
}

void pv_gpu_fence_signalled(void *user, uint64_t fence_id)
{
	struct pv_gpu *gpu = user;
	struct pv_gpu_request *request = pv_gpu_find_request(gpu, fence_id);

	if (!request || !request->fence_asked || request->fence_signalled)
		return;
	request->fence_signalled = true;
	gpu->stats.fences_signalled++;
	complete(gpu, request);
}

void pv_gpu_op_done(void *user, uint64_t op_id, enum pv_status status)
{
	struct pv_gpu *gpu = user;
	struct pv_gpu_request *request = pv_gpu_find_request(gpu, op_id);
	struct pv_gpu_response response;

	if (!request || request->answered || PV_NEVER(status == PV_PENDING))
		return;
	response.type = pv_gpu_response_type(status);
	response.payload_len = 0;
	pv_gpu_finish_op(gpu, request, status, &response);
	pv_gpu_finish_request(gpu, request, &response);
}

/* Returns NULL when the request was refused without an answer. */
static struct pv_gpu_request *take_request(struct pv_gpu *gpu, uint32_t index, const struct pv_virtq_chain *chain)
{
	struct pv_gpu_queue *queue = &gpu->queues[index];
	struct pv_gpu_request *request = queue->free;

	if (!request) {
		/* Only a driver that announces a buffer again before it got it back can do this. */
		if (!queue->virtq.broken)
			PV_LOG_LIMITED(
			    PV_LOG_ERROR, "gpu",
			    "queue %u broken until the driver resets it: more requests in flight than it holds", index);
		queue->virtq.broken = true;
		return NULL;
	}
	queue->free = request->next;
	*request = (struct pv_gpu_request){
	    .id = make_id(gpu, index, (size_t)(request - queue->pool)), .queue = index, .head = chain->head};
	if (keep_writable(request, chain) != PV_OK) {
		give_back(gpu, request);
		return NULL;
	}
	return request;
}

static void execute(struct pv_gpu *gpu, uint32_t index, const struct pv_virtq_chain *chain)
{
	struct pv_gpu_request *request = take_request(gpu, index, chain);

	if (!request)
		return;

	const uint64_t id = request->id;
	struct pv_gpu_response response;
	response.type = PV_GPU_RESP_ERR_UNSPEC;
	response.payload_len = 0;
	if (pv_guest_read(gpu->map, chain->spans, chain->nr_readable, 0, &request->hdr, sizeof(request->hdr)) != PV_OK)
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "a command of %llu bytes has no header in guest memory",
			       (unsigned long long)chain->readable_len);
	else if (index == PV_GPU_QUEUE_CONTROL)
		pv_gpu_execute_control(gpu, request, chain, &response);
	else
		pv_gpu_execute_cursor(gpu, request, chain, &response);

	/* It may be over already: a renderer may report from within an op. Then the id is another one's or nobody's. */
	if (request->id != id)
		return;
	if (response.type != 0 && !PV_NEVER(request->answered))
		answer(gpu, request, &response);
	if (request->hdr.flags & PV_GPU_FLAG_FENCE)
		ask_for_fence(gpu, request);
	else
		complete(gpu, request);
}

static void post_resume(struct pv_gpu *gpu)
{
	if (gpu->resume_posted)
		return;
	gpu->resume_posted = true;
	pv_loop_post(gpu->loop, &gpu->resume);
}

/* Takes requests until there are none, or time is up: then false. */
static bool run_batch(struct pv_gpu *gpu, uint32_t index)
{
	struct pv_gpu_queue *queue = &gpu->queues[index];
	uint64_t *counter = index == PV_GPU_QUEUE_CONTROL ? &gpu->stats.commands : &gpu->stats.cursor_commands;
	uint64_t started_ns = 0;

	for (unsigned n = 1; pv_virtq_pop(&queue->virtq, &gpu->chain) == PV_OK; n++) {
		(*counter)++;
		execute(gpu, index, &gpu->chain);
		if (n % BATCH_CHECK_EVERY != 0)
			continue;
		uint64_t now_ns = pv_now_ns();
		if (started_ns == 0)
			started_ns = now_ns;
		if (now_ns - started_ns > BATCH_BUDGET_NS)
			return false;
	}
	return true;
}

/* Works off one queue. Goes on later, after others had their turn, when it takes long. */
static void run_queue(struct pv_gpu *gpu, uint32_t index)
{
	struct pv_gpu_queue *queue = &gpu->queues[index];
	unsigned batches = 0;
	bool in_time;

	if (!queue->virtq.running || queue->virtq.broken || queue->busy)
		return;
	pv_virtq_disable_doorbell(&queue->virtq);
	do {
		queue->busy = true;
		queue->completed = false;
		in_time = run_batch(gpu, index) && ++batches < MAX_BATCHES;
		queue->busy = false;
		if (queue->completed)
			publish(gpu, queue);
		else
			gpu->renderer->ops->finish_batch(gpu->renderer);
	} while (in_time && pv_virtq_enable_doorbell(&queue->virtq));

	if (!in_time)
		post_resume(gpu);
	if (queue->virtq.broken) {
		gpu->stats.queue_broken[index] = true;
		if (gpu->transport && gpu->transport->needs_reset)
			gpu->transport->needs_reset(gpu->transport_user);
	}
}

void pv_gpu_queue_notify(struct pv_gpu *gpu, uint32_t queue)
{
	if (queue < PV_GPU_NR_QUEUES)
		run_queue(gpu, queue);
}

void pv_gpu_resume(struct pv_loop_task *task)
{
	struct pv_gpu *gpu = PV_CONTAINER_OF(task, struct pv_gpu, resume);

	gpu->resume_posted = false;
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		run_queue(gpu, i);
}

static void unlink_waiting(struct pv_gpu *gpu, const struct pv_gpu_request *request)
{
	for (struct pv_gpu_request **link = &gpu->waiting_for_outputs; *link; link = &(*link)->next)
		if (*link == request) {
			*link = request->next;
			return;
		}
}

static void unlink_ordered(struct pv_gpu *gpu, uint32_t queue)
{
	struct pv_gpu_request **link = &gpu->first_ordered;

	gpu->last_ordered = NULL;
	while (*link) {
		if ((*link)->queue == queue) {
			*link = (*link)->next_ordered;
			continue;
		}
		gpu->last_ordered = *link;
		link = &(*link)->next_ordered;
	}
}

static void drop_requests(struct pv_gpu *gpu, uint32_t index)
{
	struct pv_gpu_queue *queue = &gpu->queues[index];

	unlink_ordered(gpu, index);
	advance_ordered(gpu);
	for (size_t i = 0; queue->pool && i < queue->virtq.layout.size; i++) {
		if (queue->pool[i].id == 0)
			continue;
		unlink_waiting(gpu, &queue->pool[i]);
		free(queue->pool[i].heap_spans);
		free(queue->pool[i].kept);
	}
	free(queue->pool);
	queue->pool = queue->free = queue->first_ended = queue->last_ended = NULL;
}

uint16_t pv_gpu_queue_stop(struct pv_gpu *gpu, uint32_t index)
{
	if (index >= PV_GPU_NR_QUEUES)
		return 0;
	gpu->stats.queue_running[index] = false;
	return pv_virtq_stop(&gpu->queues[index].virtq);
}

void pv_gpu_queue_drop(struct pv_gpu *gpu, uint32_t index)
{
	(void)pv_gpu_queue_stop(gpu, index);
	drop_requests(gpu, index);
}

/* Whether a queue that starts like this is the one that was stopped, for the driver that waits for its requests. */
static bool goes_on(const struct pv_gpu_queue *queue, const struct pv_virtq_layout *layout, uint16_t base)
{
	const struct pv_virtq_layout *old = &queue->virtq.layout;

	return queue->pool && !queue->virtq.broken && queue->virtq.next_avail == base && old->size == layout->size &&
	       old->desc_addr == layout->desc_addr && old->avail_addr == layout->avail_addr &&
	       old->used_addr == layout->used_addr;
}

/* What ended while the queue was stopped, in that order. */
static void give_back_ended(struct pv_gpu *gpu, struct pv_gpu_queue *queue)
{
	struct pv_gpu_request *request = queue->first_ended;

	for (size_t i = 0; i < queue->virtq.layout.size; i++)
		if (queue->pool[i].id != 0)
			write_kept_response(gpu, &queue->pool[i]);
	queue->first_ended = queue->last_ended = NULL;
	while (request) {
		struct pv_gpu_request *next = request->next;

		give_back(gpu, request);
		request = next;
	}
}

enum pv_status pv_gpu_queue_start(struct pv_gpu *gpu, uint32_t index, const struct pv_virtq_layout *layout,
				  uint16_t base)
{
	if (index >= PV_GPU_NR_QUEUES)
		return PV_ERR_ARGUMENT;
	struct pv_gpu_queue *queue = &gpu->queues[index];

	(void)pv_gpu_queue_stop(gpu, index);
	if (!goes_on(queue, layout, base))
		drop_requests(gpu, index);
	enum pv_status status = pv_virtq_start(&queue->virtq, layout, base, gpu->driver_features, gpu->map);
	if (status != PV_OK) {
		drop_requests(gpu, index);
		return status;
	}
	if (queue->pool) {
		give_back_ended(gpu, queue);
	} else {
		queue->pool = calloc(layout->size, sizeof(*queue->pool));
		if (!queue->pool) {
			(void)pv_virtq_stop(&queue->virtq);
			return PV_ERR_NO_MEMORY;
		}
		for (size_t i = layout->size; i-- > 0;) {
			queue->pool[i].next = queue->free;
			queue->free = &queue->pool[i];
		}
	}
	gpu->stats.queue_running[index] = true;
	gpu->stats.queue_broken[index] = false;
	/* Requests announced before the start rang no bell that we heard. */
	post_resume(gpu);
	return PV_OK;
}

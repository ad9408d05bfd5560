/* SPDX-License-Identifier: MIT */
/*
 * A message is checked whole before anything of it is done. Then each batch waits for its in-fence, runs its commands,
 * and asks for a fence if there is something to be told when they have ended. `client->step` is 1 plus three times the
 * number of the batch plus how far it has come.
 */
#include "transport/vtest/submit.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/socket.h"

#define NAME "SUBMIT_CMD2"

enum { AT_IN_FENCE, AT_COMMANDS, AT_FENCE, NR_PHASES };

struct batch {
	uint32_t flags, ring_idx;
	const uint8_t *commands;
	size_t len_bytes;
	const uint8_t *points; /* nr_points times id, value low, value high */
	uint32_t nr_points;
};

static uint32_t word_at(const uint8_t *at, size_t index)
{
	uint32_t value;

	memcpy(&value, at + 4 * index, sizeof(value));
	return value;
}

static enum pv_status check_batch(struct pv_vtest_client *client, const struct pv_vtest_message *message,
				  size_t header_at, uint32_t number, struct batch *out)
{
	const uint8_t *header = message->payload + 4 * header_at;
	uint64_t nr_words = message->len_bytes / 4;
	uint32_t offset = word_at(header, PV_VTEST_BATCH_CMD_OFFSET), size = word_at(header, PV_VTEST_BATCH_CMD_SIZE);
	uint32_t sync_offset = word_at(header, PV_VTEST_BATCH_SYNC_OFFSET);
	uint32_t sync_count = word_at(header, PV_VTEST_BATCH_SYNC_COUNT);
	struct batch batch = {.flags = word_at(header, PV_VTEST_BATCH_FLAGS)};

	if (batch.flags &
	    ~(uint32_t)(PV_VTEST_BATCH_HAS_RING_IDX | PV_VTEST_BATCH_IN_FENCE_FD | PV_VTEST_BATCH_OUT_FENCE_FD))
		return pv_vtest_client_fault(client, NAME, "batch %u: there are no flags 0x%x", number, batch.flags);
	if (!pv_range_fits(offset, size, nr_words))
		return pv_vtest_client_fault(client, NAME, "batch %u: commands at %u+%u do not fit into %llu words",
					     number, offset, size, (unsigned long long)nr_words);
	if (sync_count > PV_VTEST_MAX_BATCH_SYNCS || !pv_range_fits(sync_offset, 3 * (uint64_t)sync_count, nr_words))
		return pv_vtest_client_fault(client, NAME, "batch %u: %u syncs at %u do not fit into %llu words",
					     number, sync_count, sync_offset, (unsigned long long)nr_words);
	if (batch.flags & PV_VTEST_BATCH_HAS_RING_IDX)
		batch.ring_idx = word_at(header, PV_VTEST_BATCH_RING_IDX);
	if (batch.ring_idx >= PV_VTEST_MAX_TIMELINES)
		return pv_vtest_client_fault(client, NAME, "batch %u: there is no timeline %u", number, batch.ring_idx);
	batch.commands = message->payload + 4 * (size_t)offset;
	batch.len_bytes = 4 * (size_t)size;
	batch.points = message->payload + 4 * (size_t)sync_offset;
	batch.nr_points = sync_count;
	for (uint32_t i = 0; i < sync_count; i++) {
		uint32_t id = word_at(batch.points, 3 * (size_t)i);

		if (!pv_vtest_sync_find(&client->syncs, id))
			return pv_vtest_client_fault(client, NAME, "batch %u: there is no sync %u", number, id);
	}
	*out = batch;
	return PV_OK;
}

/* Batch `number` of a message with so many. */
static enum pv_status find_batch(struct pv_vtest_client *client, const struct pv_vtest_message *message,
				 uint32_t number, struct batch *out)
{
	uint32_t nr_batches = word_at(message->payload, 0);
	/* One batch alone may have the short header of old clients in any version: the offsets tell where the rest is.
	 */
	size_t stride = nr_batches > 1 && client->version >= 4 ? PV_VTEST_BATCH_WORDS_V4 : PV_VTEST_BATCH_WORDS_V3;

	if (nr_batches > PV_VTEST_MAX_BATCHES || 1 + nr_batches * stride > message->len_bytes / 4)
		return pv_vtest_client_fault(client, NAME, "%u batches do not fit into %zu words", nr_batches,
					     message->len_bytes / 4);
	return check_batch(client, message, 1 + number * stride, number, out);
}

/* ---- In-fences ---- */

static void end_in_fence(struct pv_vtest_client *client)
{
	pv_loop_remove_fd(client->in_fence_watch);
	client->in_fence_watch = NULL;
	pv_fd_close(&client->in_fence_fd);
}

static void in_fence_ready(void *user, uint32_t events)
{
	struct pv_vtest_client *client = user;

	(void)events;
	end_in_fence(client);
	client->waiting = false;
	pv_vtest_client_wake(client);
}

static enum pv_status wait_in_fence(struct pv_vtest_client *client)
{
	enum pv_status status;

	client->in_fence_fd = pv_vtest_client_take_fd(client);
	if (client->in_fence_fd < 0)
		return pv_vtest_client_fault(client, NAME, "the in-fence's descriptor has not come");
	status = pv_loop_add_fd(client->vtest->params.loop, client->in_fence_fd, PV_LOOP_READ, in_fence_ready, client,
				&client->in_fence_watch);
	if (status != PV_OK) {
		pv_fd_close(&client->in_fence_fd);
		return pv_vtest_client_fault(client, NAME, "the in-fence's descriptor cannot be polled");
	}
	return PV_PENDING;
}

/* ---- Fences ---- */

static void finish_fence(struct pv_vtest_client *client, struct pv_vtest_fence *fence, bool signalled)
{
	for (uint32_t i = 0; i < fence->nr_points; i++) {
		struct pv_vtest_point *point = &fence->points[i];

		if (signalled)
			pv_vtest_sync_set(&client->syncs, point->sync, point->value);
		pv_vtest_sync_unref(point->sync);
	}
	if (fence->raise_fd >= 0) {
		if (signalled)
			pv_notifier_raise(fence->raise_fd);
		pv_fd_close(&fence->raise_fd);
		client->nr_out_fences--;
	}
	free(fence);
}

static void unlink_fence(struct pv_vtest_client *client, struct pv_vtest_fence **link)
{
	struct pv_vtest_fence *fence = *link;

	*link = fence->next;
	if (!fence->next)
		client->last_fence = link;
	client->nr_fences--;
}

void pv_vtest_fence_signalled(struct pv_vtest_client *client, uint32_t seqno)
{
	struct pv_vtest_fence **link = &client->fences, *target;

	for (target = client->fences; target && target->seqno != seqno;)
		target = target->next;
	if (!target)
		return;
	while (*link) {
		struct pv_vtest_fence *fence = *link;

		if (fence->ring_idx != target->ring_idx) {
			link = &fence->next;
			continue;
		}
		unlink_fence(client, link);
		finish_fence(client, fence, true);
		if (fence == target)
			break;
	}
}

void pv_vtest_fences_drop(struct pv_vtest_client *client)
{
	while (client->fences) {
		struct pv_vtest_fence *fence = client->fences;

		unlink_fence(client, &client->fences);
		finish_fence(client, fence, false);
	}
}

static enum pv_status send_out_fence(struct pv_vtest_client *client, struct pv_vtest_fence *fence)
{
	int fd = -1;

	if (!pv_vtest_client_may_have_fd(client) || pv_vtest_notifier_create(&fd, &fence->raise_fd) != PV_OK)
		return pv_vtest_client_fault(client, NAME, "there is no descriptor for an out-fence");
	client->nr_out_fences++;
	return pv_vtest_client_send_fd(client, fd, true);
}

/* Takes the fence. */
static void ask_for_fence(struct pv_vtest_client *client, struct pv_vtest_fence *fence)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	uint32_t seqno = ++client->next_fence_seqno, ring_idx = fence->ring_idx;

	fence->seqno = seqno;
	*client->last_fence = fence;
	client->last_fence = &fence->next;
	client->nr_fences++;
	/* It may be signalled, and freed, before this returns. */
	if (!client->context_made)
		pv_vtest_fence_signalled(client, seqno);
	else
		renderer->ops->create_fence(renderer, pv_vtest_id(client, seqno), client->number, ring_idx);
}

enum pv_status pv_vtest_fence_add(struct pv_vtest_client *client)
{
	struct pv_vtest_fence *fence = calloc(1, sizeof(*fence));

	if (!fence)
		return PV_ERR_NO_MEMORY;
	fence->raise_fd = -1;
	ask_for_fence(client, fence);
	return PV_OK;
}

static enum pv_status add_fence(struct pv_vtest_client *client, const struct batch *batch)
{
	struct pv_vtest_fence *fence;
	enum pv_status status;

	if (batch->nr_points == 0 && !(batch->flags & PV_VTEST_BATCH_OUT_FENCE_FD))
		return PV_OK;
	fence = calloc(1, sizeof(*fence) + batch->nr_points * sizeof(fence->points[0]));
	if (!fence)
		return PV_ERR_NO_MEMORY;
	fence->raise_fd = -1;
	fence->ring_idx = batch->ring_idx;
	fence->nr_points = batch->nr_points;
	for (uint32_t i = 0; i < batch->nr_points; i++) {
		const uint8_t *point = batch->points + 12 * (size_t)i;

		fence->points[i].sync = pv_vtest_sync_ref(pv_vtest_sync_find(&client->syncs, word_at(point, 0)));
		fence->points[i].value = word_at(point, 1) | (uint64_t)word_at(point, 2) << 32;
	}
	if (batch->flags & PV_VTEST_BATCH_OUT_FENCE_FD) {
		status = send_out_fence(client, fence);
		if (status != PV_OK) {
			finish_fence(client, fence, false);
			return status;
		}
	}
	ask_for_fence(client, fence);
	return PV_OK;
}

/* ---- The message ---- */

static enum pv_status run_commands(struct pv_vtest_client *client, const struct batch *batch)
{
	struct pv_renderer *renderer = client->vtest->renderer;

	if (batch->len_bytes == 0 || client->lost)
		return PV_OK;
	client->submits++;
	client->submitted_bytes += batch->len_bytes;
	return renderer->ops->submit(renderer, pv_vtest_client_op_id(client), client->number, batch->commands,
				     batch->len_bytes);
}

/* Sooner or later the renderer tells why; the client learns it from its rings, and its fences still come. */
static void take_result(struct pv_vtest_client *client, enum pv_status status)
{
	if (status == PV_OK)
		return;
	if (!client->lost)
		PV_LOG_LIMITED(PV_LOG_WARNING, "vtest", "client %u (%s): its context is lost: %s", client->number,
			       client->name, pv_status_string(status));
	client->lost = true;
}

static enum pv_status run_phase(struct pv_vtest_client *client, const struct batch *batch, uint32_t phase)
{
	enum pv_status status;

	switch (phase) {
	case AT_IN_FENCE:
		return batch->flags & PV_VTEST_BATCH_IN_FENCE_FD ? wait_in_fence(client) : PV_OK;
	case AT_COMMANDS:
		status = run_commands(client, batch);
		if (status == PV_PENDING)
			return PV_PENDING;
		take_result(client, status);
		return PV_OK;
	default:
		return add_fence(client, batch);
	}
}

enum pv_status pv_vtest_submit(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	uint32_t nr_batches = word_at(message->payload, 0);
	struct batch batch = {0};
	enum pv_status status = PV_OK;

	if (client->step == 0) {
		for (uint32_t i = 0; i < nr_batches && status == PV_OK; i++)
			status = find_batch(client, message, i, &batch);
		if (status != PV_OK)
			return status;
		client->step = 1;
	} else if ((client->step - 1) % NR_PHASES == AT_FENCE) {
		/* Waited for its commands. */
		take_result(client, client->op_status);
	}
	while (client->step - 1 < nr_batches * NR_PHASES) {
		uint32_t number = (client->step - 1) / NR_PHASES, phase = (client->step - 1) % NR_PHASES;

		status = find_batch(client, message, number, &batch);
		/* A phase that has to wait is over when the wait is. */
		client->step++;
		if (status == PV_OK)
			status = run_phase(client, &batch, phase);
		if (status != PV_OK)
			return status;
	}
	return PV_OK;
}

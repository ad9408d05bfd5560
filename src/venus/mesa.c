/* SPDX-License-Identifier: MIT */
/* Commands of the protocol itself: replies, nested streams, rings, and the order between rings and control stream. */
#include <stdatomic.h>
#include <stdlib.h>

#include "venus/control.h"
#include "venus/decoder.h"
#include "venus/generated/commands.h"
#include "venus/ring.h"

/* Inline data of a copy to an image is the largest there is. */
#define MAX_NESTED_BYTES  (UINT64_C(512) << 20)
#define KEEP_NESTED_BYTES (UINT64_C(16) << 20)

/* Only these are small and quick enough for the device thread, and Mesa sends no others here. */
bool pv_venus_is_control_command(uint32_t type)
{
	switch (type) {
	case 178: /* vkSetReplyCommandStreamMESA */
	case 179: /* vkSeekReplyCommandStreamMESA */
	case 188: /* vkCreateRingMESA */
	case 189: /* vkDestroyRingMESA */
	case 190: /* vkNotifyRingMESA */
	case 191: /* vkWriteRingExtraMESA */
	case 251: /* vkSubmitVirtqueueSeqnoMESA */
	case 253: /* vkWaitRingSeqnoMESA */
		return true;
	default:
		return false;
	}
}

/* ---- Replies ---- */

void pv_venus_handle_vkSetReplyCommandStreamMESA(struct pv_venus_decoder *d,
						 struct pv_venus_args_vkSetReplyCommandStreamMESA *args)
{
	const VkCommandStreamDescriptionMESA *stream = args->pStream;
	struct pv_venus_resource *resource = pv_venus_shared_range(d, stream->resourceId, stream->offset, stream->size,
								   "VkCommandStreamDescriptionMESA");

	if (!resource)
		return;
	pv_venus_resource_unref(d->reply.resource);
	d->reply = (struct pv_venus_reply){
	    .begin = resource->bytes + stream->offset,
	    .cursor = resource->bytes + stream->offset,
	    .end = resource->bytes + stream->offset + stream->size,
	    .resource = resource,
	};
}

static void seek_reply(struct pv_venus_decoder *d, size_t position, const char *field)
{
	if (position > (size_t)(d->reply.end - d->reply.begin))
		pv_venus_fail(d, field, "it is outside of the reply stream", position);
	else if (d->reply.begin)
		d->reply.cursor = d->reply.begin + position;
}

void pv_venus_handle_vkSeekReplyCommandStreamMESA(struct pv_venus_decoder *d,
						  struct pv_venus_args_vkSeekReplyCommandStreamMESA *args)
{
	seek_reply(d, args->position, "position");
}

/* ---- Nested streams ---- */

/*
 * Copied a little ahead of the cursor: the guest's lines are in its processor's cache, so the next ones are fetched
 * while commands execute.
 */
#define COPY_BYTES  4096u
#define AHEAD_BYTES 1024u

/* Room for a private copy: the guest can change what it shares while we decode. */
static uint8_t *nested_room(struct pv_venus_decoder *d, uint64_t size)
{
	struct pv_venus_ring *ring = d->ring;

	if (size > MAX_NESTED_BYTES) {
		pv_venus_fail(d, "VkCommandStreamDescriptionMESA.size", "it is too large", size);
		return NULL;
	}
	if (ring->nested_bytes < size) {
		uint64_t room = size < UINT64_C(64) << 10 ? UINT64_C(64) << 10 : size * 3 / 2;

		free(ring->nested_commands);
		ring->nested_commands = malloc(room);
		ring->nested_bytes = ring->nested_commands ? room : 0;
	}
	if (!ring->nested_commands)
		pv_venus_fail(d, "VkCommandStreamDescriptionMESA.size", "the host has no memory", size);
	return ring->nested_commands;
}

/* False: the stream is at its end, or is to end here. */
static inline bool prepare_nested_command(struct pv_venus_decoder *d)
{
	uint64_t have = (uint64_t)(d->end - d->cursor);

	if (have < AHEAD_BYTES && d->source_bytes) {
		(void)pv_venus_copy_more(d, have + pv_min_u64(COPY_BYTES, d->source_bytes));
		have = (uint64_t)(d->end - d->cursor);
	}
	/* As far into the next copy as the cursor is in this one. It may point behind the stream: no access faults. */
	__builtin_prefetch(d->source + (COPY_BYTES + AHEAD_BYTES - have) % COPY_BYTES);
	return have && !d->failed && !pv_venus_should_stop(d);
}

static void execute_nested(struct pv_venus_decoder *d, const VkCommandStreamDescriptionMESA *stream)
{
	uint8_t *room = nested_room(d, stream->size);
	struct pv_venus_resource *resource = room
						 ? pv_venus_shared_range(d, stream->resourceId, stream->offset,
									 stream->size, "VkCommandStreamDescriptionMESA")
						 : NULL;

	if (!resource)
		return;
	d->cursor = room;
	d->end = room;
	d->source = resource->bytes + stream->offset;
	d->source_bytes = stream->size;
	d->nested = true;
	while (prepare_nested_command(d))
		d->context->execute(d);
	/* Of a failure it is the nested command that is named. */
	if (!d->failed)
		d->nested = false;
	d->source_bytes = 0;
	pv_venus_resource_unref(resource);
}

void pv_venus_handle_vkExecuteCommandStreamsMESA(struct pv_venus_decoder *d,
						 struct pv_venus_args_vkExecuteCommandStreamsMESA *args)
{
	struct pv_venus_ring *ring = d->ring;
	const uint8_t *cursor = d->cursor, *end = d->end;
	uint32_t type = d->command_type, flags = d->command_flags;
	struct pv_arena arena = d->arena;

	if (!ring || d->nested) {
		pv_venus_fail(d, "command",
			      d->nested ? "a nested stream nests" : "it is not one for the control stream",
			      args->streamCount);
		return;
	}
	if (args->streamCount == 0) {
		pv_venus_fail(d, "streamCount", "it is 0", 0);
		return;
	}
	/* Our own arguments must live while other commands reset theirs. */
	d->arena = ring->nested_arena;
	for (uint32_t i = 0; i < args->streamCount && !d->failed; i++) {
		const VkCommandStreamDescriptionMESA *stream = &args->pStreams[i];

		if (args->pReplyPositions)
			seek_reply(d, args->pReplyPositions[i], "pReplyPositions");
		if (stream->size == 0 || d->failed)
			continue;
		execute_nested(d, stream);
	}
	ring->nested_arena = d->arena;
	d->arena = arena;
	if (ring->nested_bytes > KEEP_NESTED_BYTES) {
		free(ring->nested_commands);
		ring->nested_commands = NULL;
		ring->nested_bytes = 0;
	}
	if (d->failed)
		return;
	d->tombstone = false;
	d->command_type = type;
	d->command_flags = flags;
	d->cursor = cursor;
	d->end = end;
}

/* ---- Rings ---- */

/* What concerns a ring from outside comes in the control stream. NULL: it does not, or there is no such ring. */
static struct pv_venus_ring *find_ring(struct pv_venus_decoder *d, uint64_t id)
{
	struct pv_venus_ring *ring;

	if (d->ring) {
		pv_venus_fail(d, "command", "it is one for the control stream only", id);
		return NULL;
	}
	ring = pv_venus_ring_find(d->context, id);
	if (!ring)
		pv_venus_fail(d, "ring", "there is no such ring", id);
	return ring;
}

void pv_venus_handle_vkCreateRingMESA(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateRingMESA *args)
{
	if (d->ring)
		pv_venus_fail(d, "command", "it is one for the control stream only", args->ring);
	else
		pv_venus_ring_create(d, args->ring, args->pCreateInfo);
}

void pv_venus_handle_vkDestroyRingMESA(struct pv_venus_decoder *d, struct pv_venus_args_vkDestroyRingMESA *args)
{
	struct pv_venus_ring *ring = find_ring(d, args->ring);

	if (ring)
		pv_venus_control_destroy_ring(d->context->control, ring);
}

void pv_venus_handle_vkNotifyRingMESA(struct pv_venus_decoder *d, struct pv_venus_args_vkNotifyRingMESA *args)
{
	struct pv_venus_ring *ring = find_ring(d, args->ring);

	if (ring)
		pv_venus_ring_notify(ring);
}

void pv_venus_handle_vkWriteRingExtraMESA(struct pv_venus_decoder *d, struct pv_venus_args_vkWriteRingExtraMESA *args)
{
	struct pv_venus_ring *ring = find_ring(d, args->ring);

	if (!ring)
		return;
	if (!pv_range_fits(args->offset, 4, ring->extra_bytes) || args->offset % 4) {
		pv_venus_fail(d, "offset", "it is outside of the ring's extra memory", args->offset);
		return;
	}
	/* Release: the guest takes it as the sign that what came before in the control stream has happened. */
	atomic_store_explicit((_Atomic uint32_t *)(void *)(ring->extra + args->offset), args->value,
			      memory_order_release);
}

/* ---- The order between rings and the control stream ---- */

void pv_venus_handle_vkSubmitVirtqueueSeqnoMESA(struct pv_venus_decoder *d,
						struct pv_venus_args_vkSubmitVirtqueueSeqnoMESA *args)
{
	struct pv_venus_ring *ring = find_ring(d, args->ring);

	if (ring)
		pv_venus_ring_set_virtqueue_seqno(ring, args->seqno);
}

void pv_venus_handle_vkWaitVirtqueueSeqnoMESA(struct pv_venus_decoder *d,
					      struct pv_venus_args_vkWaitVirtqueueSeqnoMESA *args)
{
	if (!d->ring)
		pv_venus_fail(d, "command", "it is one for rings only", args->seqno);
	else
		pv_venus_ring_wait_virtqueue_seqno(d->ring, args->seqno);
}

void pv_venus_handle_vkWaitRingSeqnoMESA(struct pv_venus_decoder *d, struct pv_venus_args_vkWaitRingSeqnoMESA *args)
{
	struct pv_venus_ring *ring = find_ring(d, args->ring);

	/* Ring positions have 32 bits. */
	if (ring)
		pv_venus_control_wait_seqno(d->context->control, ring, (uint32_t)args->seqno);
}

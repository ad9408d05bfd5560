/* SPDX-License-Identifier: MIT */
/*
 * One Venus command stream in execution (wire format 1): a ring's, or the context's control stream.
 *
 * The bytes between `cursor` and `end` are a private copy, aligned to 4 bytes: the guest cannot change them, and
 * arguments point into them. More of the stream may still be at `source`, in the guest's memory, from where each byte
 * is copied once, behind `end`. Reading past the end, an impossible count, an unknown struct or object sets `failed`
 * and gives zeros from then on, so that decoding code needs no branches of its own; nothing is called on the host once
 * it is set. What failed is kept for the log line.
 *
 * Generated code (gen/) is the main user. Owned by the stream's thread.
 */
#ifndef PV_VENUS_DECODER_H
#define PV_VENUS_DECODER_H

#include <string.h>

#include "base/arena.h"
#include "venus/object.h"
#include "venus/reply.h"

struct pv_venus_context;
struct pv_venus_ring;

/* Command flag: the guest wants the command's results in its reply stream. */
#define PV_VENUS_GENERATE_REPLY 0x1u

struct pv_venus_decoder {
	const uint8_t *cursor, *end;
	const uint8_t *source; /* the rest of the stream; there is room for it behind `end` */
	uint64_t source_bytes;
	bool failed;
	/* This command names an object that the host could not make: it is skipped. Cleared for each command. */
	bool tombstone;
	/* Nested streams cannot nest. */
	bool nested;
	uint32_t command_type, command_flags;
	/* Whose functions this command calls, NULL: an instance's. Each object that it names is of this device. */
	struct pv_venus_device *device;
	struct pv_arena arena; /* decoded arguments; reset for each command */
	struct pv_venus_reply reply;
	struct pv_venus_context *context;
	struct pv_venus_object_table *objects; /* the context's */
	struct pv_venus_object_cache cache;
	/* Of the pool that a vkAllocateCommandBuffers or vkAllocateDescriptorSets names; generated code's. */
	struct pv_venus_object *pool_object;
	/* The ring whose stream this is; NULL for the control stream. */
	struct pv_venus_ring *ring;
	/* Why `failed` was set: both static strings; the value that was wrong. For the log. */
	const char *failed_field, *failed_reason;
	uint64_t failed_value;
};

/* Marks the stream as not to be trusted any more. The first reason is kept. `field` as in "VkImageCreateInfo.samples".
 */
void pv_venus_fail(struct pv_venus_decoder *decoder, const char *field, const char *reason, uint64_t value);

/* Copies from `source` what `bytes` at the cursor lack. False: the stream does not have that many. */
bool pv_venus_copy_more(struct pv_venus_decoder *decoder, uint64_t bytes);

/* False: fewer than `bytes` are left, and the stream has failed. Afterwards that much may be read unchecked. */
bool pv_venus_need_more(struct pv_venus_decoder *decoder, uint64_t bytes, const char *field);
static inline bool pv_venus_need(struct pv_venus_decoder *decoder, uint64_t bytes, const char *field)
{
	if (__builtin_expect((uint64_t)(decoder->end - decoder->cursor) >= bytes, 1))
		return true;
	return pv_venus_need_more(decoder, bytes, field);
}

/* After pv_venus_need(). */
static inline uint32_t pv_venus_take_u32(struct pv_venus_decoder *decoder)
{
	uint32_t value;

	memcpy(&value, decoder->cursor, sizeof(value));
	decoder->cursor += sizeof(value);
	return value;
}

/* After pv_venus_need(). 64-bit values are aligned to 4 bytes only. */
static inline uint64_t pv_venus_take_u64(struct pv_venus_decoder *decoder)
{
	uint64_t value;

	memcpy(&value, decoder->cursor, sizeof(value));
	decoder->cursor += sizeof(value);
	return value;
}

static inline uint32_t pv_venus_read_u32(struct pv_venus_decoder *decoder, const char *field)
{
	return pv_venus_need(decoder, 4, field) ? pv_venus_take_u32(decoder) : 0;
}

static inline uint64_t pv_venus_read_u64(struct pv_venus_decoder *decoder, const char *field)
{
	return pv_venus_need(decoder, 8, field) ? pv_venus_take_u64(decoder) : 0;
}

/* Zeroed or not, from the arena; fails the stream and gives NULL when there is no memory. */
void *pv_venus_alloc_failed(struct pv_venus_decoder *decoder, uint64_t bytes);
static inline void *pv_venus_alloc(struct pv_venus_decoder *decoder, uint64_t bytes)
{
	void *memory = pv_arena_alloc(&decoder->arena, bytes);

	return __builtin_expect(memory != NULL, 1) ? memory : pv_venus_alloc_failed(decoder, bytes);
}

/*
 * The object of a decoded id that is not 0. NULL: unknown, of another type or another device, and the stream has
 * failed. A tombstone is returned as well, and marks the command. lookup_failed() also says of id 0 that it is NULL.
 */
struct pv_venus_object *pv_venus_lookup_failed(struct pv_venus_decoder *decoder, uint64_t id, enum pv_venus_type type,
					       const char *field);
static inline struct pv_venus_object *pv_venus_lookup_object(struct pv_venus_decoder *decoder, uint64_t id,
							     enum pv_venus_type type, const char *field)
{
	struct pv_venus_object *object = pv_venus_object_find_cached(decoder->objects, &decoder->cache, id);

	if (__builtin_expect(object && object->type == type &&
				 !atomic_load_explicit(&object->failed, memory_order_relaxed) &&
				 atomic_load_explicit(&object->device, memory_order_relaxed) == decoder->device,
			     1))
		return object;
	return pv_venus_lookup_failed(decoder, id, type, field);
}

/* The host handle of a decoded id: 0 for 0, for a tombstone and on failure. */
static inline uint64_t pv_venus_lookup(struct pv_venus_decoder *decoder, uint64_t id, enum pv_venus_type type,
				       const char *field)
{
	struct pv_venus_object *object;

	if (id == 0)
		return 0;
	object = pv_venus_lookup_object(decoder, id, type, field);
	return object ? object->handle : 0;
}

/*
 * Decodes and executes the one command at the cursor, and writes its reply if one is wanted. If it is malformed the
 * stream has failed, and nothing was called on the host.
 */
void pv_venus_execute(struct pv_venus_decoder *decoder);

/* An id the guest chose for an object to be made: fails the stream if it is 0 or taken. */
void pv_venus_check_new_id(struct pv_venus_decoder *decoder, uint64_t id, const char *field);

/*
 * After the host was asked to make an object: enters it or, if it failed and the guest asked for no reply, a tombstone.
 * `owner`: the device's object, or the pool's. When the object cannot be entered the stream fails, and the caller must
 * destroy the handle (false).
 */
PV_MUST_USE bool pv_venus_created(struct pv_venus_decoder *decoder, enum pv_venus_type type, uint64_t id,
				  uint64_t handle, int32_t result, struct pv_venus_object *owner);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What generated code (gen/) is made of, below the decoder's own primitives. No one else includes this, but for tests.
 *
 * Decoding functions return false, or NULL, once the stream has failed; so nothing that was not decoded is ever used.
 * Elements of 4 bytes stay in the stream: it is private, and aligned to 4 bytes. Wider ones are copied.
 */
#ifndef PV_VENUS_CODEC_H
#define PV_VENUS_CODEC_H

#include "venus/context.h"
#include "venus/decoder.h"
#include "venus/device.h"
#include "venus/generated/functions.h"
#include "venus/query.h"

/* Elements of an output array that takes no room in the stream, so that nothing else bounds it. */
#define PV_VENUS_MAX_OUTPUT 65536u
/* Structs of one chain: more than there are for any head. */
#define PV_VENUS_MAX_CHAIN       256
#define PV_VENUS_CHAIN_SET_WORDS 6

struct pv_venus_command {
	void (*execute)(struct pv_venus_decoder *d);
	const char *name;
};
/* By type. No name: there is no such command. No function: it is not served. */
extern const struct pv_venus_command pv_venus_commands[] __attribute__((visibility("hidden")));

/* ---- Values in the stream; `at` is aligned to 4 bytes ---- */

static inline uint32_t pv_venus_load_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline uint64_t pv_venus_load_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline float pv_venus_load_f32(const uint8_t *at)
{
	float value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* In 4 bytes. */
static inline uint8_t pv_venus_load_u8(const uint8_t *at)
{
	return (uint8_t)pv_venus_load_u32(at);
}

static inline uint16_t pv_venus_load_u16(const uint8_t *at)
{
	return (uint16_t)pv_venus_load_u32(at);
}

static inline void pv_venus_store_u32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void pv_venus_store_u64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void pv_venus_store_f32(uint8_t *at, float value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void pv_venus_store_u8(uint8_t *at, uint8_t value)
{
	pv_venus_store_u32(at, value);
}

static inline void pv_venus_store_u16(uint8_t *at, uint16_t value)
{
	pv_venus_store_u32(at, value);
}

static inline uint64_t pv_venus_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Vulkan has pointers that are not const where nothing is written. */
static inline void *pv_venus_unconst(const void *pointer)
{
	return (void *)(uintptr_t)pointer;
}

static inline const void *pv_venus_const(const void *pointer)
{
	return pointer;
}

/* The next `bytes` of the stream; NULL: there are not as many, and it has failed. */
static inline const uint8_t *pv_venus_take(struct pv_venus_decoder *d, uint64_t bytes, const char *field)
{
	const uint8_t *at = d->cursor;

	if (!pv_venus_need(d, bytes, field))
		return NULL;
	d->cursor = at + bytes;
	return at;
}

/* ---- What a handle may be. Inlined by force: else, as a command names several, it is called for each. ---- */
#define PV_VENUS_INLINE static inline __attribute__((always_inline))

/* Of the first parameter, which decides whose functions are called: never NULL. */
PV_VENUS_INLINE bool pv_venus_load_dispatch(struct pv_venus_decoder *d, uint64_t id, enum pv_venus_type type,
					    const char *field, struct pv_venus_object **out, uint64_t *handle)
{
	struct pv_venus_object *object = id ? pv_venus_object_find_cached(d->objects, &d->cache, id) : NULL;

	d->device = object ? atomic_load_explicit(&object->device, memory_order_relaxed) : NULL;
	if (__builtin_expect(
		!object || object->type != type || atomic_load_explicit(&object->failed, memory_order_relaxed), 0))
		object = pv_venus_lookup_failed(d, id, type, field);
	if (__builtin_expect(!object, 0))
		return false;
	*out = object;
	*handle = atomic_load_explicit(&object->handle, memory_order_relaxed);
	return true;
}

/* Never NULL. */
PV_VENUS_INLINE bool pv_venus_need_object(struct pv_venus_decoder *d, uint64_t id, enum pv_venus_type type,
					  const char *field, struct pv_venus_object **out, uint64_t *handle)
{
	struct pv_venus_object *object = __builtin_expect(id != 0, 1) ? pv_venus_lookup_object(d, id, type, field)
								      : pv_venus_lookup_failed(d, id, type, field);

	if (__builtin_expect(!object, 0))
		return false;
	*out = object;
	*handle = atomic_load_explicit(&object->handle, memory_order_relaxed);
	return true;
}

PV_VENUS_INLINE bool pv_venus_need_handle(struct pv_venus_decoder *d, uint64_t id, enum pv_venus_type type,
					  const char *field, uint64_t *handle)
{
	struct pv_venus_object *object;

	return pv_venus_need_object(d, id, type, field, &object, handle);
}

/* NULL and 0 of id 0. */
PV_VENUS_INLINE bool pv_venus_load_object(struct pv_venus_decoder *d, uint64_t id, enum pv_venus_type type,
					  const char *field, struct pv_venus_object **out, uint64_t *handle)
{
	*out = NULL;
	*handle = 0;
	return id == 0 || pv_venus_need_object(d, id, type, field, out, handle);
}

PV_VENUS_INLINE bool pv_venus_load_handle(struct pv_venus_decoder *d, uint64_t id, enum pv_venus_type type,
					  const char *field, uint64_t *handle)
{
	struct pv_venus_object *object;

	return pv_venus_load_object(d, id, type, field, &object, handle);
}

PV_VENUS_INLINE bool pv_venus_load_handle_if(struct pv_venus_decoder *d, bool nullable, uint64_t id,
					     enum pv_venus_type type, const char *field, uint64_t *handle)
{
	if (__builtin_expect(id == 0 && nullable, 0)) {
		*handle = 0;
		return true;
	}
	return pv_venus_need_handle(d, id, type, field, handle);
}

/* A handle that other commands may leave out. That of a tombstone is 0 too; the command is skipped then. */
static inline bool pv_venus_never_null_here(struct pv_venus_decoder *d, uint64_t handle, const char *field)
{
	if (__builtin_expect(handle || d->tombstone, 1))
		return true;
	pv_venus_fail(d, field, "it must not be NULL", 0);
	return false;
}

/* By what is chained to a pipeline: it is a part of one, or takes its descriptors from heaps. */
bool pv_venus_may_lack_layout(const void *chain);
/* By what is chained to a stage: its code is there. */
bool pv_venus_may_lack_module(const void *chain);

/* By what is enabled. With a device that is a tombstone, which none is asked of, the command is skipped. */
static inline bool pv_venus_may_be_null_descriptor(const struct pv_venus_decoder *d)
{
	return !d->device || d->device->null_descriptor;
}

static inline bool pv_venus_may_lack_index_buffer(const struct pv_venus_decoder *d)
{
	return !d->device || d->device->maintenance6;
}

/* False: the pool does not have that many, and the stream has failed. */
static inline bool pv_venus_check_queries(struct pv_venus_decoder *d, const struct pv_venus_object *pool,
					  uint32_t first, uint32_t count, const char *field)
{
	uint32_t available = pv_venus_queries_of(pool);

	if (__builtin_expect(first <= available && count <= available - first, 1))
		return true;
	pv_venus_fail(d, field, "the pool has not as many queries", (uint64_t)first + count);
	return false;
}

/* False: an entry is outside of the data, and the stream has failed. */
bool pv_venus_check_VkSpecializationInfo(struct pv_venus_decoder *d, const VkSpecializationInfo *info);
/* False: of a descriptor lacks what its type is about, and the stream has failed. */
bool pv_venus_check_VkWriteDescriptorSet(struct pv_venus_decoder *d, const VkWriteDescriptorSet *write);

/* ---- Arrays ---- */

bool pv_venus_need_array_more(struct pv_venus_decoder *d, uint64_t count, uint64_t size, const char *field);
/* False: `count` elements of at least `size` bytes each cannot follow. */
static inline bool pv_venus_need_array(struct pv_venus_decoder *d, uint64_t count, uint64_t size, const char *field)
{
	uint64_t bytes;

	if (__builtin_expect(!__builtin_mul_overflow(count, size, &bytes) && bytes <= (uint64_t)(d->end - d->cursor),
			     1))
		return true;
	return pv_venus_need_array_more(d, count, size, field);
}

/* Room for `count` elements of `size` bytes that take at least `wire_size` bytes in the stream each. */
void *pv_venus_alloc_array(struct pv_venus_decoder *d, uint64_t count, uint64_t wire_size, uint64_t size,
			   const char *field);
/* Room, zeroed, for what the host is to fill. */
void *pv_venus_alloc_output(struct pv_venus_decoder *d, uint64_t count, uint64_t size, const char *field);
void *pv_venus_alloc_zeroed(struct pv_venus_decoder *d, uint64_t size);
/* `count` bytes and their padding, in the stream. NULL of 0. */
static inline bool pv_venus_take_bytes(struct pv_venus_decoder *d, uint64_t count, const char *field, const void **out)
{
	/* Compared before it is rounded up, which cannot overflow then. */
	if (!pv_venus_need(d, count, field))
		return false;
	*out = count ? pv_venus_take(d, (count + 3) & ~UINT64_C(3), field) : NULL;
	return *out || !count;
}

/* `count` elements of `size` bytes, in the stream. NULL of 0. */
static inline bool pv_venus_take_array(struct pv_venus_decoder *d, uint64_t count, uint64_t size, const char *field,
				       const void **out)
{
	*out = count ? d->cursor : NULL;
	if (!pv_venus_need_array(d, count, size, field))
		return false;
	d->cursor += count * size;
	return true;
}

/* The guest's ids of `count` objects to be made, and zeroed room for their handles. */
bool pv_venus_take_ids(struct pv_venus_decoder *d, uint64_t count, uint64_t handle_size, const char *field,
		       void **handles, const uint64_t **ids);
bool pv_venus_take_objects(struct pv_venus_decoder *d, uint64_t count, bool nullable, enum pv_venus_type type,
			   const char *field, void **handles, struct pv_venus_object *const **objects);
bool pv_venus_decode_string(struct pv_venus_decoder *d, bool nullable, const char *field, const char **out);
bool pv_venus_decode_strings(struct pv_venus_decoder *d, uint64_t count, const char *field, const char *const **out);

/* ---- Structs with an sType ---- */

/* Of structs that chains are made of, by number. */
struct pv_venus_chain_set {
	uint64_t words[PV_VENUS_CHAIN_SET_WORDS];
};

struct pv_venus_chain_struct {
	uint32_t stype, size;
	bool duplicates; /* a chain may have it more than once */
	const char *name;
	/* Its own members. NULL: it never occurs like that. */
	bool (*decode)(struct pv_venus_decoder *d, void *memory);
	bool (*partial)(struct pv_venus_decoder *d, void *memory);
	void (*encode)(struct pv_venus_reply *reply, const void *memory);
};
extern const struct pv_venus_chain_struct pv_venus_chain_structs[];
/* -1: chains have no such struct. */
int pv_venus_chain_number(uint32_t stype);

/* After the flag that there is one. `next` is the address of a pNext. `set`: what `head` accepts, NULL: nothing. */
bool pv_venus_decode_chain(struct pv_venus_decoder *d, const struct pv_venus_chain_set *set, bool partial,
			   const char *head, void *next);
bool pv_venus_wrong_stype(struct pv_venus_decoder *d, const char *name, uint32_t stype);

/* The sType and the chain; the members follow. */
static inline bool pv_venus_decode_head(struct pv_venus_decoder *d, uint32_t stype,
					const struct pv_venus_chain_set *set, bool partial, const char *name,
					VkStructureType *out, void *next)
{
	const uint8_t *at = pv_venus_take(d, 12, name);
	void *nothing = NULL;

	if (!at)
		return false;
	if (__builtin_expect(pv_venus_load_u32(at) != stype, 0))
		return pv_venus_wrong_stype(d, name, pv_venus_load_u32(at));
	*out = (VkStructureType)stype;
	/* Through memcpy: the pointer has its own type in each struct. */
	memcpy(next, &nothing, sizeof(nothing));
	return pv_venus_load_u64(at + 4) == 0 || pv_venus_decode_chain(d, set, partial, name, next);
}

void pv_venus_encode_head(struct pv_venus_reply *reply, VkStructureType stype, const void *next);

/* ---- Replies ---- */

/* Of a command that returns nothing. */
void pv_venus_reply_plain(struct pv_venus_decoder *d, uint32_t command);
/* The stream fails if the reply did not fit. */
void pv_venus_reply_end(struct pv_venus_decoder *d);
/*
 * Where the driver is to write `bytes` of output: behind the first `ahead` bytes of the reply, or anywhere if there is
 * to be none.
 */
bool pv_venus_reserve_blob(struct pv_venus_decoder *d, uint64_t ahead, uint64_t bytes, const char *field, void **out);
/* The count of bytes and the bytes, which are in their place already. */
void pv_venus_reply_blob(struct pv_venus_decoder *d, const void *blob, uint64_t bytes);

#endif

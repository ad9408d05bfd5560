/* SPDX-License-Identifier: MIT */
/*
 * The Vulkan objects of one context: guest-chosen ids to host handles.
 *
 * Look-ups take no lock: ring threads decode at the same time, and a vkCmd* does several. What makes that safe:
 * - objects are type-stable: their memory is reused for objects of the same type, but not freed before the context
 *   ends, so a pointer that a racing guest made stale reads an object, and its `id` tells whether it is the one meant;
 * - a look-up that misses is repeated under the lock before it counts as a miss, since the chain it followed may have
 *   been changed under it.
 * A guest that destroys an object in one ring while it uses it in another gets either object, of the same type.
 */
#ifndef PV_VENUS_OBJECT_H
#define PV_VENUS_OBJECT_H

#include <stdatomic.h>

#include "base/base.h"

enum pv_venus_type {
	PV_VENUS_INSTANCE = 1,
	PV_VENUS_PHYSICAL_DEVICE,
	PV_VENUS_DEVICE,
	PV_VENUS_QUEUE,
	PV_VENUS_COMMAND_BUFFER,
	PV_VENUS_SEMAPHORE,
	PV_VENUS_FENCE,
	PV_VENUS_DEVICE_MEMORY,
	PV_VENUS_BUFFER,
	PV_VENUS_IMAGE,
	PV_VENUS_EVENT,
	PV_VENUS_QUERY_POOL,
	PV_VENUS_BUFFER_VIEW,
	PV_VENUS_IMAGE_VIEW,
	PV_VENUS_SHADER_MODULE,
	PV_VENUS_PIPELINE_CACHE,
	PV_VENUS_PIPELINE_LAYOUT,
	PV_VENUS_RENDER_PASS,
	PV_VENUS_PIPELINE,
	PV_VENUS_DESCRIPTOR_SET_LAYOUT,
	PV_VENUS_SAMPLER,
	PV_VENUS_DESCRIPTOR_POOL,
	PV_VENUS_DESCRIPTOR_SET,
	PV_VENUS_FRAMEBUFFER,
	PV_VENUS_COMMAND_POOL,
	PV_VENUS_SAMPLER_YCBCR_CONVERSION,
	PV_VENUS_DESCRIPTOR_UPDATE_TEMPLATE,
	PV_VENUS_PRIVATE_DATA_SLOT,
	PV_VENUS_DEFERRED_OPERATION,
	PV_VENUS_ACCELERATION_STRUCTURE,
	PV_VENUS_TENSOR,
	PV_VENUS_NR_TYPES,
};

/* "VkImage" and so on; static storage. */
const char *pv_venus_type_name(enum pv_venus_type type);

struct pv_venus_device;

struct pv_venus_object {
	/* 0: free. Written under the table's lock; a look-up's acquire load pairs with the release store of add. */
	_Atomic uint64_t id;
	/*
	 * These are immutable while the id lives. Atomic (plain loads on the machines that matter) for the guest that
	 * destroys what it still uses: it may see the next object of the type.
	 */
	_Atomic uint64_t handle; /* host handle, non-dispatchable or a pointer in 64 bits; 0 for a tombstone */
	/* Whose functions to call; NULL for instances and physical devices (and of a device: itself). */
	_Atomic(struct pv_venus_device *) device;
	/* What belongs to one type only: struct pv_venus_memory, _queue, ...; NULL for most. */
	_Atomic(void *) extra;
	/* A tombstone: the host could not make it and the guest does not know. Commands that name it are skipped. */
	_Atomic bool failed;
	uint8_t type; /* enum pv_venus_type; for ever */
	/* Of the hash chain or the free list. */
	_Atomic(struct pv_venus_object *) next;
	/* Owner: the device, or the pool of command buffers and descriptor sets. Guarded by the table's lock. */
	struct pv_venus_object *owner, *first_child, *prev_sibling, *next_sibling;
};

struct pv_venus_object_table;

/* Of one context: several times what the largest games have; about 100 bytes each. */
#define PV_VENUS_MAX_OBJECTS (UINT64_C(1) << 20)

PV_MUST_USE enum pv_status pv_venus_object_table_create(struct pv_venus_object_table **out);
/* Frees the memory only; what the objects stand for must have been destroyed. */
void pv_venus_object_table_destroy(struct pv_venus_object_table *table);

/* Any thread, no lock unless it misses. NULL: there is no such object. `id` is not 0. */
struct pv_venus_object *pv_venus_object_find(struct pv_venus_object_table *table, uint64_t id);

struct pv_venus_object_info {
	uint64_t id; /* not 0 */
	uint64_t handle;
	enum pv_venus_type type;
	bool failed;
	struct pv_venus_device *device;
	struct pv_venus_object *owner; /* NULL: none */
	void *extra;
};
/*
 * Any thread. PV_ERR_GUEST: the id is taken, or the owner is gone. PV_ERR_NO_MEMORY: also when the context has too many
 * objects (PV_VENUS_MAX_OBJECTS).
 */
PV_MUST_USE enum pv_status pv_venus_object_add(struct pv_venus_object_table *table,
					       const struct pv_venus_object_info *info, struct pv_venus_object **out);
/*
 * Any thread. What it was is copied to *out. A pointer to it stays readable, its id is 0. False: another thread was
 * faster, and destroys the handle. What is to be destroyed stands in *out alone: what a decoded command says may be
 * destroyed already, by a ring that removed the object and made another, which `object` is now.
 * One that has children takes no more of them from now on, and is not reused until the last is removed: so an owner is
 * removed first, then its children.
 */
PV_MUST_USE bool pv_venus_object_remove(struct pv_venus_object_table *table, struct pv_venus_object *object,
					struct pv_venus_object_info *out);
/*
 * Any thread. Takes one childless descendant off its owner and out of the table: what it was is copied to *out. False:
 * there is none. Called until then it empties the whole tree, the leaves first.
 */
bool pv_venus_object_remove_child(struct pv_venus_object_table *table, struct pv_venus_object *owner,
				  struct pv_venus_object_info *out);
/* Number of live objects, tombstones included. Any thread. */
uint64_t pv_venus_object_count(struct pv_venus_object_table *table);

/* ---- In front of the table: one thread's own memory of what it looked up last ---- */

#define PV_VENUS_CACHE_SLOTS 256

/* Owned by one thread. {0} is empty. Stale slots are harmless: they are checked by id. */
struct pv_venus_object_cache {
	struct pv_venus_object *slots[PV_VENUS_CACHE_SLOTS];
};

static inline struct pv_venus_object *pv_venus_object_find_cached(struct pv_venus_object_table *table,
								  struct pv_venus_object_cache *cache, uint64_t id)
{
	struct pv_venus_object **slot = &cache->slots[id % PV_VENUS_CACHE_SLOTS];
	struct pv_venus_object *object = *slot;

	if (object && atomic_load_explicit(&object->id, memory_order_acquire) == id)
		return object;
	object = pv_venus_object_find(table, id);
	if (object)
		*slot = object;
	return object;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. A chained hash whose writers hold the lock and whose readers hold nothing. Objects come from
 * slabs of one type each and go back to that type's free list, never to the heap, so a reader can at worst arrive at
 * another object: its id says so. A chain may be changed under a reader, who then misses or wanders into another chain;
 * chains have no cycles, so it ends, and a miss is looked at again under the lock. Growth makes a new array of buckets
 * and moves all objects over; the old arrays stay for readers who are in them, and are together smaller than the new.
 */
#include "venus/object.h"

#include <stdlib.h>

#include "base/mutex.h"

#define SLAB_OBJECTS  64
#define FIRST_BUCKETS 1024

struct slab {
	struct slab *next;
	struct pv_venus_object objects[SLAB_OBJECTS];
};

struct buckets {
	struct buckets *older;
	uint64_t mask;
	_Atomic(struct pv_venus_object *) heads[];
};

struct pv_venus_object_table {
	/* Release store when it has grown, acquire load by look-ups: they see its heads. */
	_Atomic(struct buckets *) buckets;
	_Atomic uint64_t count; /* written under the lock */

	struct pv_mutex lock; /* a leaf */
	struct pv_venus_object *free[PV_VENUS_NR_TYPES] PV_GUARDED_BY(lock);
	struct slab *slabs PV_GUARDED_BY(lock);
};

const char *pv_venus_type_name(enum pv_venus_type type)
{
	static const char *const names[PV_VENUS_NR_TYPES] = {
	    [PV_VENUS_INSTANCE] = "VkInstance",
	    [PV_VENUS_PHYSICAL_DEVICE] = "VkPhysicalDevice",
	    [PV_VENUS_DEVICE] = "VkDevice",
	    [PV_VENUS_QUEUE] = "VkQueue",
	    [PV_VENUS_COMMAND_BUFFER] = "VkCommandBuffer",
	    [PV_VENUS_SEMAPHORE] = "VkSemaphore",
	    [PV_VENUS_FENCE] = "VkFence",
	    [PV_VENUS_DEVICE_MEMORY] = "VkDeviceMemory",
	    [PV_VENUS_BUFFER] = "VkBuffer",
	    [PV_VENUS_IMAGE] = "VkImage",
	    [PV_VENUS_EVENT] = "VkEvent",
	    [PV_VENUS_QUERY_POOL] = "VkQueryPool",
	    [PV_VENUS_BUFFER_VIEW] = "VkBufferView",
	    [PV_VENUS_IMAGE_VIEW] = "VkImageView",
	    [PV_VENUS_SHADER_MODULE] = "VkShaderModule",
	    [PV_VENUS_PIPELINE_CACHE] = "VkPipelineCache",
	    [PV_VENUS_PIPELINE_LAYOUT] = "VkPipelineLayout",
	    [PV_VENUS_RENDER_PASS] = "VkRenderPass",
	    [PV_VENUS_PIPELINE] = "VkPipeline",
	    [PV_VENUS_DESCRIPTOR_SET_LAYOUT] = "VkDescriptorSetLayout",
	    [PV_VENUS_SAMPLER] = "VkSampler",
	    [PV_VENUS_DESCRIPTOR_POOL] = "VkDescriptorPool",
	    [PV_VENUS_DESCRIPTOR_SET] = "VkDescriptorSet",
	    [PV_VENUS_FRAMEBUFFER] = "VkFramebuffer",
	    [PV_VENUS_COMMAND_POOL] = "VkCommandPool",
	    [PV_VENUS_SAMPLER_YCBCR_CONVERSION] = "VkSamplerYcbcrConversion",
	    [PV_VENUS_DESCRIPTOR_UPDATE_TEMPLATE] = "VkDescriptorUpdateTemplate",
	    [PV_VENUS_PRIVATE_DATA_SLOT] = "VkPrivateDataSlot",
	    [PV_VENUS_DEFERRED_OPERATION] = "VkDeferredOperationKHR",
	    [PV_VENUS_ACCELERATION_STRUCTURE] = "VkAccelerationStructureKHR",
	    [PV_VENUS_TENSOR] = "VkTensorARM",
	};

	return (unsigned)type < PV_VENUS_NR_TYPES && names[type] ? names[type] : "object";
}

static struct buckets *make_buckets(uint64_t count)
{
	struct buckets *buckets = calloc(1, sizeof(*buckets) + count * sizeof(buckets->heads[0]));

	if (buckets)
		buckets->mask = count - 1;
	return buckets;
}

enum pv_status pv_venus_object_table_create(struct pv_venus_object_table **out)
{
	struct pv_venus_object_table *table = calloc(1, sizeof(*table));
	struct buckets *buckets = make_buckets(FIRST_BUCKETS);

	if (!table || !buckets) {
		free(table);
		free(buckets);
		return PV_ERR_NO_MEMORY;
	}
	atomic_init(&table->buckets, buckets);
	pv_mutex_init(&table->lock);
	*out = table;
	return PV_OK;
}

void pv_venus_object_table_destroy(struct pv_venus_object_table *table)
{
	if (!table)
		return;
	for (struct buckets *buckets = atomic_load_explicit(&table->buckets, memory_order_relaxed); buckets;) {
		struct buckets *older = buckets->older;

		free(buckets);
		buckets = older;
	}
	while (table->slabs) {
		struct slab *slab = table->slabs;

		table->slabs = slab->next;
		free(slab);
	}
	pv_mutex_finish(&table->lock);
	free(table);
}

/*
 * Mesa counts its ids up from 1: neighbours then share cache lines of the array. Drivers that use addresses as ids
 * leave the low bits alike; the page number spreads those.
 */
static _Atomic(struct pv_venus_object *) *head_of(struct buckets *buckets, uint64_t id)
{
	return &buckets->heads[(id + (id >> 12)) & buckets->mask];
}

static struct pv_venus_object *find(struct pv_venus_object_table *table, uint64_t id)
{
	struct buckets *buckets = atomic_load_explicit(&table->buckets, memory_order_acquire);
	struct pv_venus_object *object = atomic_load_explicit(head_of(buckets, id), memory_order_acquire);

	while (object) {
		uint64_t at = atomic_load_explicit(&object->id, memory_order_acquire);

		if (at == id)
			return object;
		/* It has just been removed: what follows may be a list of free ones, and long. */
		if (at == 0)
			return NULL;
		object = atomic_load_explicit(&object->next, memory_order_acquire);
	}
	return NULL;
}

struct pv_venus_object *pv_venus_object_find(struct pv_venus_object_table *table, uint64_t id)
{
	struct pv_venus_object *object;

	if (PV_NEVER(id == 0))
		return NULL;
	object = find(table, id);
	if (__builtin_expect(object != NULL, 1))
		return object;
	pv_mutex_lock(&table->lock);
	object = find(table, id);
	pv_mutex_unlock(&table->lock);
	return object;
}

static void insert(struct buckets *buckets, struct pv_venus_object *object, uint64_t id)
{
	_Atomic(struct pv_venus_object *) *head = head_of(buckets, id);

	atomic_store_explicit(&object->next, atomic_load_explicit(head, memory_order_relaxed), memory_order_release);
	atomic_store_explicit(head, object, memory_order_release);
}

/* Under the lock. Failing is fine: chains become longer. */
static void grow(struct pv_venus_object_table *table)
{
	struct buckets *old = atomic_load_explicit(&table->buckets, memory_order_relaxed);
	struct buckets *new = make_buckets((old->mask + 1) * 2);

	if (!new)
		return;
	for (uint64_t i = 0; i <= old->mask; i++) {
		struct pv_venus_object *object = atomic_load_explicit(&old->heads[i], memory_order_relaxed);

		while (object) {
			struct pv_venus_object *next = atomic_load_explicit(&object->next, memory_order_relaxed);

			insert(new, object, atomic_load_explicit(&object->id, memory_order_relaxed));
			object = next;
		}
	}
	new->older = old;
	atomic_store_explicit(&table->buckets, new, memory_order_release);
}

/* Under the lock. */
static struct pv_venus_object *take_free(struct pv_venus_object_table *table, enum pv_venus_type type)
{
	struct pv_venus_object *object = table->free[type];

	if (!object) {
		struct slab *slab = calloc(1, sizeof(*slab));

		if (!slab)
			return NULL;
		slab->next = table->slabs;
		table->slabs = slab;
		for (size_t i = 0; i < SLAB_OBJECTS; i++) {
			slab->objects[i].type = (uint8_t)type;
			atomic_init(&slab->objects[i].next, i + 1 < SLAB_OBJECTS ? &slab->objects[i + 1] : NULL);
		}
		object = &slab->objects[0];
	}
	table->free[type] = atomic_load_explicit(&object->next, memory_order_relaxed);
	return object;
}

/* Under the lock: nothing names it any more. */
static void give_free(struct pv_venus_object_table *table, struct pv_venus_object *object)
{
	atomic_store_explicit(&object->next, table->free[object->type], memory_order_release);
	table->free[object->type] = object;
}

static void join_owner(struct pv_venus_object *object, struct pv_venus_object *owner)
{
	object->owner = owner;
	object->prev_sibling = NULL;
	object->next_sibling = owner ? owner->first_child : NULL;
	if (object->next_sibling)
		object->next_sibling->prev_sibling = object;
	if (owner)
		owner->first_child = object;
}

/* Under the lock. */
static void leave_owner(struct pv_venus_object_table *table, struct pv_venus_object *object)
{
	struct pv_venus_object *owner = object->owner;

	if (!owner)
		return;
	if (object->next_sibling)
		object->next_sibling->prev_sibling = object->prev_sibling;
	if (object->prev_sibling)
		object->prev_sibling->next_sibling = object->next_sibling;
	else
		owner->first_child = object->next_sibling;
	object->owner = NULL;
	/* Removed before its children: this was the last. */
	if (!owner->first_child && atomic_load_explicit(&owner->id, memory_order_relaxed) == 0)
		give_free(table, owner);
}

enum pv_status pv_venus_object_add(struct pv_venus_object_table *table, const struct pv_venus_object_info *info,
				   struct pv_venus_object **out)
{
	struct pv_venus_object *object = NULL;
	enum pv_status status = PV_OK;
	uint64_t count;

	if (PV_NEVER(info->id == 0 || info->type == 0 || info->type >= PV_VENUS_NR_TYPES))
		return PV_ERR_ARGUMENT;
	pv_mutex_lock(&table->lock);
	count = atomic_load_explicit(&table->count, memory_order_relaxed);
	if (find(table, info->id) || (info->owner && atomic_load_explicit(&info->owner->id, memory_order_relaxed) == 0))
		status = PV_ERR_GUEST;
	else if (count >= PV_VENUS_MAX_OBJECTS || !(object = take_free(table, info->type)))
		status = PV_ERR_NO_MEMORY;
	if (status == PV_OK) {
		if (count >= atomic_load_explicit(&table->buckets, memory_order_relaxed)->mask)
			grow(table);
		atomic_store_explicit(&object->handle, info->handle, memory_order_relaxed);
		atomic_store_explicit(&object->device, info->device, memory_order_relaxed);
		atomic_store_explicit(&object->extra, info->extra, memory_order_relaxed);
		atomic_store_explicit(&object->failed, info->failed, memory_order_relaxed);
		join_owner(object, info->owner);
		/* Pairs with the acquire loads of look-ups: who sees the id sees what was stored above. */
		atomic_store_explicit(&object->id, info->id, memory_order_release);
		insert(atomic_load_explicit(&table->buckets, memory_order_relaxed), object, info->id);
		atomic_store_explicit(&table->count, count + 1, memory_order_relaxed);
		*out = object;
	}
	pv_mutex_unlock(&table->lock);
	return status;
}

/* Under the lock. */
static void remove_locked(struct pv_venus_object_table *table, struct pv_venus_object *object,
			  struct pv_venus_object_info *out)
{
	struct buckets *buckets = atomic_load_explicit(&table->buckets, memory_order_relaxed);
	_Atomic(struct pv_venus_object *) *link;
	struct pv_venus_object *at;

	*out = (struct pv_venus_object_info){
	    .id = atomic_load_explicit(&object->id, memory_order_relaxed),
	    .handle = atomic_load_explicit(&object->handle, memory_order_relaxed),
	    .type = object->type,
	    .failed = atomic_load_explicit(&object->failed, memory_order_relaxed),
	    .device = atomic_load_explicit(&object->device, memory_order_relaxed),
	    .owner = object->owner,
	    .extra = atomic_load_explicit(&object->extra, memory_order_relaxed),
	};
	link = head_of(buckets, out->id);
	while ((at = atomic_load_explicit(link, memory_order_relaxed)) != object && at)
		link = &at->next;
	if (PV_NEVER(!at))
		return;
	atomic_store_explicit(link, atomic_load_explicit(&object->next, memory_order_relaxed), memory_order_release);
	atomic_store_explicit(&object->id, 0, memory_order_release);
	atomic_fetch_sub_explicit(&table->count, 1, memory_order_relaxed);
	leave_owner(table, object);
	if (!object->first_child)
		give_free(table, object);
}

bool pv_venus_object_remove(struct pv_venus_object_table *table, struct pv_venus_object *object,
			    struct pv_venus_object_info *out)
{
	bool there;

	pv_mutex_lock(&table->lock);
	there = atomic_load_explicit(&object->id, memory_order_relaxed) != 0;
	if (there)
		remove_locked(table, object, out);
	pv_mutex_unlock(&table->lock);
	return there;
}

bool pv_venus_object_remove_child(struct pv_venus_object_table *table, struct pv_venus_object *owner,
				  struct pv_venus_object_info *out)
{
	struct pv_venus_object *object;

	pv_mutex_lock(&table->lock);
	object = owner->first_child;
	while (object && object->first_child)
		object = object->first_child;
	if (object)
		remove_locked(table, object, out);
	pv_mutex_unlock(&table->lock);
	return object != NULL;
}

uint64_t pv_venus_object_count(struct pv_venus_object_table *table)
{
	return atomic_load_explicit(&table->count, memory_order_relaxed);
}

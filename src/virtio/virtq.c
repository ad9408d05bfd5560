/* SPDX-License-Identifier: MIT */
/*
 * The rings are shared with a guest that runs at the same time. 16-bit ring fields are read and written with atomics;
 * descriptors are copied as a whole, then checked, and the copy is used. Orderings:
 *  - avail->idx is loaded with acquire: what the guest wrote before publishing it (ring entry, descriptors) is seen.
 *  - used->idx is stored with release: the guest sees the used entry and our data before the index.
 *  - "any more?" hand-shakes (avail_event / used_event) need store-then-load order on both sides: a seq_cst fence here,
 *    its partner is the driver's full barrier (virtio_mb() in Linux).
 */
#include "virtio/virtq.h"

#include <stdatomic.h>
#include <string.h>

#include "base/log.h"

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

/* Avail ring: flags, idx, ring[size], used_event. Used ring: flags, idx, {id, len}[size], avail_event. */
struct used_elem {
	uint32_t id;
	uint32_t len;
};

static uint64_t avail_bytes(uint16_t size)
{
	return 4 + 2 * (uint64_t)size + 2;
}

static uint64_t used_bytes(uint16_t size)
{
	return 4 + sizeof(struct used_elem) * (uint64_t)size + 2;
}

static _Atomic uint16_t *ring_u16(void *ring, size_t offset)
{
	return (_Atomic uint16_t *)(void *)((uint8_t *)ring + offset);
}

static uint16_t load_avail_index(const struct pv_virtq *q)
{
	return atomic_load_explicit(ring_u16(q->avail, 2), memory_order_acquire);
}

static enum pv_status break_queue(struct pv_virtq *q, const char *why)
{
	/* Memory that was cut short reads as zeros; that is not the driver's doing, and the transport's to report. */
	if (!q->broken && pv_guest_map_is_intact(q->map))
		PV_LOG_LIMITED(PV_LOG_ERROR, "virtio", "queue broken until the driver resets it: %s", why);
	q->broken = true;
	return PV_ERR_GUEST;
}

static uint64_t desc_bytes(uint16_t size)
{
	return sizeof(struct desc) * (uint64_t)size;
}

const char *pv_virtq_find_gap(const struct pv_virtq_layout *layout, const struct pv_guest_map *map)
{
	if (!pv_guest_map_resolve(map, layout->desc_addr, desc_bytes(layout->size)))
		return "descriptor table";
	if (!pv_guest_map_resolve(map, layout->avail_addr, avail_bytes(layout->size)))
		return "available ring";
	if (!pv_guest_map_resolve(map, layout->used_addr, used_bytes(layout->size)))
		return "used ring";
	return NULL;
}

static enum pv_status find_rings(struct pv_virtq *q)
{
	const struct pv_virtq_layout *l = &q->layout;

	q->desc = pv_guest_map_resolve(q->map, l->desc_addr, desc_bytes(l->size));
	q->avail = pv_guest_map_resolve(q->map, l->avail_addr, avail_bytes(l->size));
	q->used = pv_guest_map_resolve(q->map, l->used_addr, used_bytes(l->size));
	if (!q->desc || !q->avail || !q->used)
		return break_queue(q, "a ring is not inside guest memory");
	/* Atomic access needs what 2.7 asks for anyway. */
	if ((uintptr_t)q->avail % 2 || (uintptr_t)q->used % 4)
		return break_queue(q, "a ring is not aligned");
	return PV_OK;
}

enum pv_status pv_virtq_start(struct pv_virtq *virtq, const struct pv_virtq_layout *layout, uint16_t base,
			      uint64_t features, struct pv_guest_map *map)
{
	if (layout->size == 0 || layout->size > PV_VIRTQ_MAX_SIZE || (layout->size & (layout->size - 1)) != 0) {
		PV_LOG_LIMITED(PV_LOG_ERROR, "virtio", "a queue size of %u is not a power of two up to %d",
			       layout->size, PV_VIRTQ_MAX_SIZE);
		return PV_ERR_GUEST;
	}
	(void)pv_virtq_stop(virtq);
	*virtq = (struct pv_virtq){
	    .layout = *layout, .map = map, .features = features, .next_avail = base, .next_used = base};
	enum pv_status status = map ? find_rings(virtq) : break_queue(virtq, "there is no guest memory");
	if (status != PV_OK) {
		virtq->map = NULL;
		return status;
	}
	pv_guest_map_ref(map);
	/* What the ring says is used already (a restart after migration or a stop) is the truth. */
	virtq->next_used = atomic_load_explicit(ring_u16(virtq->used, 2), memory_order_relaxed);
	virtq->running = true;
	return PV_OK;
}

uint16_t pv_virtq_stop(struct pv_virtq *virtq)
{
	virtq->running = false;
	virtq->desc = virtq->avail = virtq->used = NULL;
	pv_guest_map_unref(virtq->map);
	virtq->map = NULL;
	return virtq->next_avail;
}

enum pv_status pv_virtq_remap(struct pv_virtq *virtq, struct pv_guest_map *map)
{
	if (!virtq->running)
		return PV_OK;
	if (map)
		pv_guest_map_ref(map);
	pv_guest_map_unref(virtq->map);
	virtq->map = map;
	enum pv_status status = find_rings(virtq);
	if (status != PV_OK)
		virtq->desc = virtq->avail = virtq->used = NULL;
	return status;
}

static enum pv_status add_span(struct pv_virtq *q, struct pv_virtq_chain *chain, const struct desc *d)
{
	unsigned n = chain->nr_readable + chain->nr_writable;

	if (n == PV_VIRTQ_MAX_SEGMENTS)
		return break_queue(q, "a chain has more than 1024 segments");
	chain->spans[n] = (struct pv_guest_span){.addr = d->addr, .len = d->len};
	if (d->flags & DESC_WRITE) {
		chain->nr_writable++;
		chain->writable_len += d->len;
	} else {
		if (chain->nr_writable > 0)
			return break_queue(q, "a readable descriptor follows a writable one");
		chain->nr_readable++;
		chain->readable_len += d->len;
	}
	return PV_OK;
}

/* The indirect table may cross memory regions, so each entry is fetched through the map. */
static enum pv_status add_indirect(struct pv_virtq *q, struct pv_virtq_chain *chain, const struct desc *table)
{
	const struct pv_guest_span span = {.addr = table->addr, .len = table->len};
	uint32_t n = table->len / (uint32_t)sizeof(struct desc), index = 0;

	if (!(q->features & PV_VIRTIO_RING_F_INDIRECT_DESC))
		return break_queue(q, "an indirect descriptor without the feature");
	if (table->len % sizeof(struct desc) != 0 || n == 0 || n > PV_VIRTQ_MAX_SEGMENTS)
		return break_queue(q, "an indirect table has an impossible size");

	/* n steps at most: a loop among the entries ends here. */
	for (uint32_t steps = 0; steps < n; steps++) {
		struct desc d;

		if (pv_guest_read(q->map, &span, 1, index * sizeof(d), &d, sizeof(d)) != PV_OK)
			return break_queue(q, "an indirect table is not inside guest memory");
		if (d.flags & DESC_INDIRECT)
			return break_queue(q, "an indirect table inside an indirect table");
		enum pv_status status = add_span(q, chain, &d);
		if (status != PV_OK)
			return status;
		if (!(d.flags & DESC_NEXT))
			return PV_OK;
		if (d.next >= n)
			return break_queue(q, "a descriptor's next is behind its indirect table");
		index = d.next;
	}
	return break_queue(q, "an indirect table loops");
}

static enum pv_status collect_chain(struct pv_virtq *q, struct pv_virtq_chain *chain)
{
	uint32_t index = chain->head;

	/* `size` steps at most: a loop ends here. */
	for (uint32_t steps = 0; steps < q->layout.size; steps++) {
		struct desc d;

		if (index >= q->layout.size)
			return break_queue(q, "a descriptor index is behind the table");
		memcpy(&d, (const uint8_t *)q->desc + index * sizeof(d), sizeof(d));
		enum pv_status status;
		if (d.flags & DESC_INDIRECT) {
			if (d.flags & DESC_NEXT)
				return break_queue(q, "an indirect descriptor with a next one");
			status = add_indirect(q, chain, &d);
		} else {
			status = add_span(q, chain, &d);
		}
		if (status != PV_OK)
			return status;
		if (!(d.flags & DESC_NEXT))
			return PV_OK;
		index = d.next;
	}
	return break_queue(q, "a descriptor chain loops");
}

enum pv_status pv_virtq_pop(struct pv_virtq *virtq, struct pv_virtq_chain *chain)
{
	if (!virtq->running)
		return PV_PENDING;
	if (virtq->broken)
		return PV_ERR_GUEST;

	uint16_t waiting = (uint16_t)(load_avail_index(virtq) - virtq->next_avail);
	if (waiting == 0)
		return PV_PENDING;
	if (waiting > virtq->layout.size)
		return break_queue(virtq, "more requests are announced than the queue holds");

	uint16_t slot = virtq->next_avail & (uint16_t)(virtq->layout.size - 1);
	chain->head = atomic_load_explicit(ring_u16(virtq->avail, 4 + 2 * (size_t)slot), memory_order_relaxed);
	chain->nr_readable = chain->nr_writable = 0;
	chain->readable_len = chain->writable_len = 0;
	enum pv_status status = collect_chain(virtq, chain);
	if (status == PV_OK)
		virtq->next_avail++;
	return status;
}

void pv_virtq_push(struct pv_virtq *virtq, uint16_t head, uint32_t written_len)
{
	if (!virtq->running || virtq->broken)
		return;
	uint16_t slot = virtq->next_used & (uint16_t)(virtq->layout.size - 1);
	struct used_elem elem = {.id = head, .len = written_len};
	memcpy((uint8_t *)virtq->used + 4 + sizeof(elem) * (size_t)slot, &elem, sizeof(elem));
	virtq->next_used++;
}

void pv_virtq_publish(struct pv_virtq *virtq)
{
	/* A broken queue's answers from before are still the driver's. */
	if (!virtq->running || !virtq->used)
		return;
	atomic_store_explicit(ring_u16(virtq->used, 2), virtq->next_used, memory_order_release);
}

bool pv_virtq_needs_interrupt(struct pv_virtq *virtq)
{
	if (!virtq->running || virtq->broken)
		return false;
	/* used->idx before used_event or flags; partner: the driver's barrier after it enabled interrupts. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!(virtq->features & PV_VIRTIO_RING_F_EVENT_IDX)) {
		bool any = !virtq->signalled_used_valid || virtq->next_used != virtq->signalled_used;

		virtq->signalled_used = virtq->next_used;
		virtq->signalled_used_valid = true;
		return any &&
		       !(atomic_load_explicit(ring_u16(virtq->avail, 0), memory_order_relaxed) & AVAIL_NO_INTERRUPT);
	}

	uint16_t event =
	    atomic_load_explicit(ring_u16(virtq->avail, 4 + 2 * (size_t)virtq->layout.size), memory_order_relaxed);
	uint16_t old = virtq->signalled_used, now = virtq->next_used;
	bool valid = virtq->signalled_used_valid;
	virtq->signalled_used = now;
	virtq->signalled_used_valid = true;
	/* 2.7.10.1: did the index pass `event` since the last time? */
	return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

void pv_virtq_disable_doorbell(struct pv_virtq *virtq)
{
	if (!virtq->running || virtq->broken)
		return;
	/* With EVENT_IDX the avail_event left behind does it: the driver only rings when it passes that. */
	if (!(virtq->features & PV_VIRTIO_RING_F_EVENT_IDX))
		atomic_store_explicit(ring_u16(virtq->used, 0), USED_NO_NOTIFY, memory_order_relaxed);
}

bool pv_virtq_enable_doorbell(struct pv_virtq *virtq)
{
	if (!virtq->running || virtq->broken)
		return false;
	if (virtq->features & PV_VIRTIO_RING_F_EVENT_IDX)
		atomic_store_explicit(ring_u16(virtq->used, 4 + sizeof(struct used_elem) * (size_t)virtq->layout.size),
				      virtq->next_avail, memory_order_relaxed);
	else
		atomic_store_explicit(ring_u16(virtq->used, 0), 0, memory_order_relaxed);
	/* Our wish before the look at the index; partner: the driver's barrier between its index and its look at our
	 * wish. */
	atomic_thread_fence(memory_order_seq_cst);
	return load_avail_index(virtq) != virtq->next_avail;
}

/* SPDX-License-Identifier: MIT */
/*
 * The device side of a split virtqueue (virtio 1.3, 2.7). Owned by one thread. The guest may write anything into the
 * rings at any time: every index and address is copied once, checked, and an impossible one makes the queue broken
 * (2.1.2 DEVICE_NEEDS_RESET) until the next start.
 */
#ifndef PV_VIRTIO_VIRTQ_H
#define PV_VIRTIO_VIRTQ_H

#include "guestmem/guest_map.h"

#define PV_VIRTQ_MAX_SIZE 1024
/* Segments of one chain, indirect ones included. */
#define PV_VIRTQ_MAX_SEGMENTS 1024

#define PV_VIRTIO_RING_F_INDIRECT_DESC (1ULL << 28)
#define PV_VIRTIO_RING_F_EVENT_IDX     (1ULL << 29)
#define PV_VIRTIO_F_VERSION_1          (1ULL << 32)

/* Guest-physical addresses of the three rings; size is a power of two up to PV_VIRTQ_MAX_SIZE. */
struct pv_virtq_layout {
	uint16_t size;
	uint64_t desc_addr, avail_addr, used_addr;
};

/* One request: readable spans first, then writable ones, as the spec orders them. */
struct pv_virtq_chain {
	uint16_t head;
	uint16_t nr_readable, nr_writable;
	uint64_t readable_len, writable_len;
	struct pv_guest_span spans[PV_VIRTQ_MAX_SEGMENTS];
};

struct pv_virtq {
	struct pv_virtq_layout layout;
	struct pv_guest_map *map; /* a counted reference while running */
	void *desc;
	void *avail;
	void *used;
	uint64_t features;
	uint16_t next_avail, next_used;
	uint16_t signalled_used;
	bool signalled_used_valid;
	bool running, broken;
};

/* The name of the first of the rings that is not whole in one region of `map` (NULL: empty), or NULL. */
const char *pv_virtq_find_gap(const struct pv_virtq_layout *layout, const struct pv_guest_map *map);

/* `virtq` is {0} or stopped. next_avail = next_used = `base`. PV_ERR_GUEST: size or a ring address is invalid. */
PV_MUST_USE enum pv_status pv_virtq_start(struct pv_virtq *virtq, const struct pv_virtq_layout *layout, uint16_t base,
					  uint64_t features, struct pv_guest_map *map);
/* Returns the index of the next request not yet taken. Takes {0} too. */
uint16_t pv_virtq_stop(struct pv_virtq *virtq);
/* Memory changed under a running queue: finds the rings again. PV_ERR_GUEST: they are gone; the queue is broken. */
PV_MUST_USE enum pv_status pv_virtq_remap(struct pv_virtq *virtq, struct pv_guest_map *map);

/* PV_OK: a request. PV_PENDING: none. PV_ERR_GUEST: the queue is broken (and logged once). */
PV_MUST_USE enum pv_status pv_virtq_pop(struct pv_virtq *virtq, struct pv_virtq_chain *chain);
/*
 * Gives a request back with `written_len` bytes written to it; the driver sees it with the next publish. Ignored when
 * not running or broken.
 */
void pv_virtq_push(struct pv_virtq *virtq, uint16_t head, uint32_t written_len);
/* Everything pushed so far is the driver's from now on, the memory of the requests included. */
void pv_virtq_publish(struct pv_virtq *virtq);
/* True if the driver wants an interrupt for what was published since the last call. */
bool pv_virtq_needs_interrupt(struct pv_virtq *virtq);

/*
 * Asks the driver for no doorbells while we work, and for one from now on. After enabling, pop once more before
 * sleeping: returns true if a request slipped in.
 */
void pv_virtq_disable_doorbell(struct pv_virtq *virtq);
bool pv_virtq_enable_doorbell(struct pv_virtq *virtq);

#endif

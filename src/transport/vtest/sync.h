/* SPDX-License-Identifier: MIT */
/*
 * The syncs of one client: 64-bit counters, and waits for them to reach values. Owned by the loop's thread.
 *
 * A wait is a descriptor that the client polls and we raise; what the client has closed we cannot see, so a wait stays
 * until it is satisfied, its time is over or the client leaves.
 */
#ifndef PV_TRANSPORT_VTEST_SYNC_H
#define PV_TRANSPORT_VTEST_SYNC_H

#include "base/id_map.h"

#define PV_VTEST_MAX_SYNCS 65536u
/* Of all waits of a client together: what one change of a sync may have to look at. */
#define PV_VTEST_MAX_WAIT_ENTRIES 4096u

struct pv_vtest_wait_entry;

struct pv_vtest_sync {
	uint32_t id;
	uint32_t refs; /* its id is one, each fence to come and each wait is another */
	uint64_t value;
	struct pv_vtest_wait_entry *entries;
};

struct pv_vtest_wait;

/* {0} is none. */
struct pv_vtest_syncs {
	struct pv_id_map map;
	uint32_t next_id;
	struct pv_vtest_wait *waits;
	uint32_t nr_waits, nr_entries;
};

void pv_vtest_syncs_finish(struct pv_vtest_syncs *syncs);

PV_MUST_USE enum pv_status pv_vtest_sync_create(struct pv_vtest_syncs *syncs, uint64_t value, uint32_t *out_id);
/* False: there is no such sync. */
bool pv_vtest_sync_remove(struct pv_vtest_syncs *syncs, uint32_t id);
/* Borrowed; NULL: there is none. */
struct pv_vtest_sync *pv_vtest_sync_find(const struct pv_vtest_syncs *syncs, uint32_t id);
struct pv_vtest_sync *pv_vtest_sync_ref(struct pv_vtest_sync *sync);
void pv_vtest_sync_unref(struct pv_vtest_sync *sync);
/* Raises what waited for it. */
void pv_vtest_sync_set(struct pv_vtest_syncs *syncs, struct pv_vtest_sync *sync, uint64_t value);

struct pv_vtest_target {
	uint32_t sync_id;
	uint64_t value;
};

/*
 * *out_fd is the caller's and becomes readable once all syncs (or, if `any`, one of them) have reached their values, or
 * is so already; never, when that has not happened until `deadline_ns` (UINT64_MAX: for ever). PV_ERR_PEER: there is no
 * such sync. PV_ERR_NO_MEMORY: too many waits. PV_ERR_HOST: no descriptor to be had.
 */
PV_MUST_USE enum pv_status pv_vtest_wait_create(struct pv_vtest_syncs *syncs, const struct pv_vtest_target *targets,
						size_t count, bool any, uint64_t now_ns, uint64_t deadline_ns,
						int *out_fd);
/* Ends the waits whose time is over; returns the next deadline, UINT64_MAX: none. */
uint64_t pv_vtest_waits_expire(struct pv_vtest_syncs *syncs, uint64_t now_ns);

/* One descriptor to poll, one to raise it with; each is to be closed. */
PV_MUST_USE enum pv_status pv_vtest_notifier_create(int *out_poll_fd, int *out_raise_fd);

#endif

/* SPDX-License-Identifier: MIT */
/* What the event loop needs from the platform: epoll on Linux, kqueue on macOS. Owned by the loop's thread. */
#ifndef PV_BASE_LOOP_POLLER_H
#define PV_BASE_LOOP_POLLER_H

#include "base/base.h"

#define PV_POLLER_BATCH 64

struct pv_poller_event {
	void *user; /* as given to pv_poller_add() */
	uint32_t events;
};

/* All return fds >= 0 or a status; `events` are PV_LOOP_READ | PV_LOOP_WRITE. */
PV_MUST_USE enum pv_status pv_poller_create(int *out_fd);
PV_MUST_USE enum pv_status pv_poller_add(int poller, int fd, uint32_t events, void *user);
void pv_poller_modify(int poller, int fd, uint32_t old_events, uint32_t events, void *user);
void pv_poller_remove(int poller, int fd, uint32_t old_events);
/* Waits at most `timeout_ns` (UINT64_MAX: for ever); returns how many of `out` were filled. */
size_t pv_poller_wait(int poller, uint64_t timeout_ns, struct pv_poller_event out[PV_POLLER_BATCH]);

#endif

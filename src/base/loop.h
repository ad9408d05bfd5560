/* SPDX-License-Identifier: MIT */
/*
 * An event loop: file descriptors, timers and tasks from other threads. One loop belongs to one thread, the one inside
 * pv_loop_run(); everything is for that thread alone unless it says "any thread". Callbacks may add and remove
 * anything, themselves included.
 */
#ifndef PV_BASE_LOOP_H
#define PV_BASE_LOOP_H

#include "base/base.h"

struct pv_loop;
struct pv_loop_fd;
struct pv_loop_timer;

enum {
	PV_LOOP_READ = 1 << 0,
	PV_LOOP_WRITE = 1 << 1,
	/* Reported only: the other end is gone or the fd failed. Level-triggered: remove the fd. */
	PV_LOOP_HANGUP = 1 << 2,
};

PV_MUST_USE enum pv_status pv_loop_create(struct pv_loop **out);
/* Every fd and timer must have been removed. Tasks never run are dropped. */
void pv_loop_destroy(struct pv_loop *loop);

/* Runs until pv_loop_stop(). */
void pv_loop_run(struct pv_loop *loop);
/* Any thread. The loop ends after the callbacks in hand; tasks posted before the stop have run. */
void pv_loop_stop(struct pv_loop *loop);
/* Waits at most `timeout_ns` (UINT64_MAX: for ever) and runs what is ready: for embedders with a loop of their own. */
void pv_loop_step(struct pv_loop *loop, uint64_t timeout_ns);
/* Any thread: true inside pv_loop_run() or pv_loop_step() on this thread. */
bool pv_loop_is_current(const struct pv_loop *loop);

/* Level-triggered. `fd` is borrowed until pv_loop_remove_fd(). `events` may be 0 (only hang-ups are reported). */
PV_MUST_USE enum pv_status pv_loop_add_fd(struct pv_loop *loop, int fd, uint32_t events,
					  void (*ready)(void *user, uint32_t events), void *user,
					  struct pv_loop_fd **out);
void pv_loop_set_events(struct pv_loop_fd *watch, uint32_t events);
/* NULL is fine. The callback is not called again, even if it was ready in the same round. */
void pv_loop_remove_fd(struct pv_loop_fd *watch);

/* One-shot timers on the monotonic clock. */
PV_MUST_USE enum pv_status pv_loop_add_timer(struct pv_loop *loop, void (*expired)(void *user), void *user,
					     struct pv_loop_timer **out);
void pv_loop_arm_timer(struct pv_loop_timer *timer, uint64_t deadline_ns);
void pv_loop_disarm_timer(struct pv_loop_timer *timer);
void pv_loop_remove_timer(struct pv_loop_timer *timer);

/* The caller's storage; must stay until it has run. Re-usable from inside `run`. */
struct pv_loop_task {
	void (*run)(struct pv_loop_task *task);
	struct pv_loop_task *next;
};
/* Any thread: `task->run` is called on the loop's thread, in posting order. No allocation. */
void pv_loop_post(struct pv_loop *loop, struct pv_loop_task *task);
/* The loop's own thread: a posted task that has not run is forgotten; harmless for one that is not posted. */
void pv_loop_cancel(struct pv_loop *loop, struct pv_loop_task *task);
/* Any thread but a callback of a loop that `loop` itself may wait for: runs `fn(user)` on the loop's thread and waits
 * for it. Called on the loop's own thread it runs at once. */
void pv_loop_call(struct pv_loop *loop, void (*fn)(void *user), void *user);

/* Monotonic clock in nanoseconds. Any thread. */
uint64_t pv_now_ns(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. One round: run posted tasks, run expired timers, wait, call the ready watches. A watch that is
 * removed while its event waits in the current batch stays allocated on the `dead` list until the batch is done, marked
 * removed, so that its callback is not called. Other threads reach in through one place, `inbox`: a mutex-guarded list
 * and a notifier that the poller watches.
 */
#include "base/loop.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/loop_poller.h"
#include "base/mutex.h"
#include "base/socket.h"

struct pv_loop_fd {
	struct pv_loop *loop;
	int fd;
	uint32_t events;
	bool removed;
	void (*ready)(void *user, uint32_t events);
	void *user;
	struct pv_loop_fd *next_dead;
};

struct pv_loop_timer {
	struct pv_loop *loop;
	uint64_t deadline_ns; /* UINT64_MAX: disarmed */
	bool removed;
	void (*expired)(void *user);
	void *user;
	struct pv_loop_timer *next;
};

struct pv_loop {
	int poller;
	int notifier[2];
	struct pv_loop_fd *notifier_watch;
	struct pv_loop_fd *dead;
	struct pv_loop_timer *timers;
	unsigned iterating_timers;
	_Atomic bool stop; /* release by pv_loop_stop(), acquire by pv_loop_run() */

	struct pv_mutex lock;
	struct pv_loop_task *first PV_GUARDED_BY(lock);
	struct pv_loop_task **last PV_GUARDED_BY(lock);
	size_t nr_tasks PV_GUARDED_BY(lock);
};

static _Thread_local const struct pv_loop *current_loop;

uint64_t pv_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void notifier_ready(void *user, uint32_t events)
{
	struct pv_loop *loop = user;

	(void)events;
	/* Cleared before the inbox is emptied: a task posted in between raises it again. */
	pv_notifier_clear(loop->notifier[0]);
}

enum pv_status pv_loop_create(struct pv_loop **out)
{
	struct pv_loop *loop = calloc(1, sizeof(*loop));
	enum pv_status status;

	if (!loop)
		return PV_ERR_NO_MEMORY;
	loop->poller = loop->notifier[0] = loop->notifier[1] = -1;
	loop->last = &loop->first;
	pv_mutex_init(&loop->lock);

	status = pv_poller_create(&loop->poller);
	if (status == PV_OK)
		status = pv_notifier_create(loop->notifier);
	if (status == PV_OK)
		status =
		    pv_loop_add_fd(loop, loop->notifier[0], PV_LOOP_READ, notifier_ready, loop, &loop->notifier_watch);
	if (status != PV_OK) {
		pv_loop_destroy(loop);
		return status;
	}
	*out = loop;
	return PV_OK;
}

static void free_dead(struct pv_loop *loop)
{
	while (loop->dead) {
		struct pv_loop_fd *watch = loop->dead;

		loop->dead = watch->next_dead;
		free(watch);
	}
}

static void free_removed_timers(struct pv_loop *loop)
{
	for (struct pv_loop_timer **link = &loop->timers; *link;) {
		struct pv_loop_timer *timer = *link;

		if (timer->removed) {
			*link = timer->next;
			free(timer);
		} else {
			link = &timer->next;
		}
	}
}

void pv_loop_destroy(struct pv_loop *loop)
{
	if (!loop)
		return;
	pv_loop_remove_fd(loop->notifier_watch);
	free_dead(loop);
	free_removed_timers(loop);
	(void)PV_NEVER(loop->timers != NULL);
	if (loop->notifier[1] != loop->notifier[0])
		pv_fd_close(&loop->notifier[1]);
	pv_fd_close(&loop->notifier[0]);
	pv_fd_close(&loop->poller);
	pv_mutex_finish(&loop->lock);
	free(loop);
}

static struct pv_loop_task *take_task(struct pv_loop *loop)
{
	pv_mutex_lock(&loop->lock);
	struct pv_loop_task *task = loop->first;
	if (task) {
		loop->first = task->next;
		if (!loop->first)
			loop->last = &loop->first;
		loop->nr_tasks--;
	}
	pv_mutex_unlock(&loop->lock);
	return task;
}

static void run_tasks(struct pv_loop *loop)
{
	/* As many as there are now: tasks that post themselves again must not starve fds. */
	pv_mutex_lock(&loop->lock);
	size_t n = loop->nr_tasks;
	pv_mutex_unlock(&loop->lock);

	for (struct pv_loop_task *task; n > 0 && (task = take_task(loop)); n--)
		task->run(task); /* `task` may be gone or posted again now */
}

void pv_loop_cancel(struct pv_loop *loop, struct pv_loop_task *task)
{
	pv_mutex_lock(&loop->lock);
	for (struct pv_loop_task **link = &loop->first; *link; link = &(*link)->next) {
		if (*link != task)
			continue;
		*link = task->next;
		if (loop->last == &task->next)
			loop->last = link;
		loop->nr_tasks--;
		break;
	}
	pv_mutex_unlock(&loop->lock);
}

static bool has_tasks(struct pv_loop *loop)
{
	pv_mutex_lock(&loop->lock);
	bool any = loop->first != NULL;
	pv_mutex_unlock(&loop->lock);
	return any;
}

/* Returns the time until the next deadline. */
static uint64_t run_timers(struct pv_loop *loop)
{
	uint64_t next = UINT64_MAX;

	if (!loop->timers)
		return next;

	uint64_t now = pv_now_ns();
	loop->iterating_timers++;
	for (struct pv_loop_timer *timer = loop->timers; timer; timer = timer->next) {
		if (timer->removed || timer->deadline_ns > now)
			continue;
		timer->deadline_ns = UINT64_MAX;
		timer->expired(timer->user);
	}
	if (--loop->iterating_timers == 0)
		free_removed_timers(loop);

	now = pv_now_ns();
	for (const struct pv_loop_timer *timer = loop->timers; timer; timer = timer->next) {
		if (timer->removed || timer->deadline_ns == UINT64_MAX)
			continue;
		next = pv_min_u64(next, timer->deadline_ns > now ? timer->deadline_ns - now : 0);
	}
	return next;
}

static void step(struct pv_loop *loop, uint64_t timeout_ns)
{
	struct pv_poller_event events[PV_POLLER_BATCH];

	run_tasks(loop);
	uint64_t timer_ns = run_timers(loop);
	if (has_tasks(loop) || atomic_load_explicit(&loop->stop, memory_order_acquire))
		timer_ns = 0;

	size_t n = pv_poller_wait(loop->poller, pv_min_u64(timeout_ns, timer_ns), events);
	for (size_t i = 0; i < n; i++) {
		struct pv_loop_fd *watch = events[i].user;

		if (!watch->removed)
			watch->ready(watch->user, events[i].events);
	}
	free_dead(loop);
	run_tasks(loop);
}

void pv_loop_step(struct pv_loop *loop, uint64_t timeout_ns)
{
	const struct pv_loop *outer = current_loop;

	current_loop = loop;
	step(loop, timeout_ns);
	(void)run_timers(loop);
	current_loop = outer;
}

void pv_loop_run(struct pv_loop *loop)
{
	current_loop = loop;
	while (!atomic_load_explicit(&loop->stop, memory_order_acquire))
		step(loop, UINT64_MAX);
	run_tasks(loop);
	current_loop = NULL;
	/* So that it can run again. */
	atomic_store_explicit(&loop->stop, false, memory_order_relaxed);
}

void pv_loop_stop(struct pv_loop *loop)
{
	atomic_store_explicit(&loop->stop, true, memory_order_release);
	pv_notifier_raise(loop->notifier[1]);
}

bool pv_loop_is_current(const struct pv_loop *loop)
{
	return current_loop == loop;
}

enum pv_status pv_loop_add_fd(struct pv_loop *loop, int fd, uint32_t events, void (*ready)(void *user, uint32_t events),
			      void *user, struct pv_loop_fd **out)
{
	struct pv_loop_fd *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return PV_ERR_NO_MEMORY;
	*watch = (struct pv_loop_fd){.loop = loop, .fd = fd, .events = events, .ready = ready, .user = user};

	enum pv_status status = pv_poller_add(loop->poller, fd, events, watch);
	if (status != PV_OK) {
		free(watch);
		return status;
	}
	*out = watch;
	return PV_OK;
}

void pv_loop_set_events(struct pv_loop_fd *watch, uint32_t events)
{
	if (watch->events == events)
		return;
	pv_poller_modify(watch->loop->poller, watch->fd, watch->events, events, watch);
	watch->events = events;
}

void pv_loop_remove_fd(struct pv_loop_fd *watch)
{
	if (!watch || watch->removed)
		return;
	pv_poller_remove(watch->loop->poller, watch->fd, watch->events);
	watch->removed = true;
	watch->next_dead = watch->loop->dead;
	watch->loop->dead = watch;
}

enum pv_status pv_loop_add_timer(struct pv_loop *loop, void (*expired)(void *user), void *user,
				 struct pv_loop_timer **out)
{
	struct pv_loop_timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return PV_ERR_NO_MEMORY;
	*timer = (struct pv_loop_timer){
	    .loop = loop, .deadline_ns = UINT64_MAX, .expired = expired, .user = user, .next = loop->timers};
	loop->timers = timer;
	*out = timer;
	return PV_OK;
}

void pv_loop_arm_timer(struct pv_loop_timer *timer, uint64_t deadline_ns)
{
	timer->deadline_ns = deadline_ns;
}

void pv_loop_disarm_timer(struct pv_loop_timer *timer)
{
	timer->deadline_ns = UINT64_MAX;
}

void pv_loop_remove_timer(struct pv_loop_timer *timer)
{
	if (!timer)
		return;
	timer->removed = true;
	timer->deadline_ns = UINT64_MAX;
	if (timer->loop->iterating_timers == 0)
		free_removed_timers(timer->loop);
}

void pv_loop_post(struct pv_loop *loop, struct pv_loop_task *task)
{
	task->next = NULL;
	pv_mutex_lock(&loop->lock);
	bool was_empty = loop->first == NULL;
	*loop->last = task;
	loop->last = &task->next;
	loop->nr_tasks++;
	pv_mutex_unlock(&loop->lock);

	if (was_empty && !pv_loop_is_current(loop))
		pv_notifier_raise(loop->notifier[1]);
}

struct call {
	struct pv_loop_task task;
	void (*fn)(void *user);
	void *user;
	struct pv_mutex lock;
	struct pv_condition done;
	bool is_done PV_GUARDED_BY(lock);
};

static void run_call(struct pv_loop_task *task)
{
	struct call *call = PV_CONTAINER_OF(task, struct call, task);

	call->fn(call->user);
	pv_mutex_lock(&call->lock);
	call->is_done = true;
	pv_condition_signal(&call->done);
	pv_mutex_unlock(&call->lock);
}

void pv_loop_call(struct pv_loop *loop, void (*fn)(void *user), void *user)
{
	struct call call = {.task.run = run_call, .fn = fn, .user = user};

	if (pv_loop_is_current(loop)) {
		fn(user);
		return;
	}
	pv_mutex_init(&call.lock);
	pv_condition_init(&call.done);
	pv_loop_post(loop, &call.task);
	pv_mutex_lock(&call.lock);
	while (!call.is_done)
		pv_condition_wait(&call.done, &call.lock);
	pv_mutex_unlock(&call.lock);
	pv_condition_finish(&call.done);
	pv_mutex_finish(&call.lock);
}

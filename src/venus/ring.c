/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. The guest appends commands to a buffer and stores `tail`; the ring's thread copies what is
 * pending to memory of its own, since the guest may change it at any moment, executes it and stores `head` after each
 * command, which is at once the guest's free space, its answer and its fence. Both count bytes and wrap at 2^32.
 *
 * With nothing to do the thread first spins, for as long as that has paid lately, then yields, then sleeps an eighth of
 * the time it has waited so far: whoever comes back is served at most that much later, at a cost that dies out. After
 * the idle timeout it says IDLE and sleeps until it is notified. The guest stores the tail and then loads the status;
 * we store IDLE and then load the tail: were all four sequentially consistent, one of the two would see the other. But
 * Mesa's store before 26 is a release only, and its processor may load the status before others see the tail. That
 * lasts for as long as a store buffer takes to drain, so we look at the tail once more a little later.
 *
 * A guest that has seen IDLE looks at its clock, notifies, and sends no second notification within the timeout,
 * whatever the status says. So the thread says IDLE again only once the timeout has passed since it took note of the
 * last one: also when that finds it awake, long after the IDLE that it answers.
 *
 * The context's control stream may wait for `executed` to reach a seqno. It stores the wish in `waiter` and looks at
 * `executed`; the thread stores `executed` and looks at `waiter`, cheaply after each command, and with a full barrier
 * before it stops running for any reason.
 */
#include "venus/ring.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/thread.h"
#include "gpu/renderer.h"
#include "venus/control.h"
#include "venus/renderer.h"

#define MAX_BUFFER_BYTES (16u << 20)
#define WAITER           (UINT64_C(1) << 32)

/* Short: with few CPUs the host's driver, or the guest itself, waits for ours. Yielding is as quick where it is free.
 */
#define SPIN_MIN_NS UINT64_C(500)
#define SPIN_MAX_NS UINT64_C(3000)
/* Waits after which it is tried again: the guest may have got a processor of its own. */
#define SPIN_AGAIN   256u
#define YIELD_NS     UINT64_C(100000)
#define SLEEP_MIN_NS UINT64_C(10000)
#define SLEEP_MAX_NS UINT64_C(10000000)
/* Far longer than a store stays unseen. */
#define SETTLE_NS UINT64_C(100000)

/* ---- The thread ---- */

void pv_venus_ring_set_status(struct pv_venus_ring *ring, uint32_t bits)
{
	atomic_fetch_or_explicit(ring->status, bits, memory_order_seq_cst);
}

static bool has_reached(uint32_t executed, uint32_t seqno)
{
	return (int32_t)(executed - seqno) >= 0;
}

static void look_at_waiter(struct pv_venus_ring *ring, uint64_t waiter)
{
	uint32_t executed = atomic_load_explicit(&ring->executed, memory_order_relaxed);

	if (waiter && has_reached(executed, (uint32_t)waiter) &&
	    atomic_compare_exchange_strong_explicit(&ring->waiter, &waiter, 0, memory_order_acq_rel,
						    memory_order_relaxed))
		pv_venus_control_wake(ring->context->control);
}

/* Pairs with the exchange in pv_venus_ring_reached(): whichever is later sees what the other stored before. */
static void settle_waiter(struct pv_venus_ring *ring)
{
	look_at_waiter(ring, atomic_fetch_or_explicit(&ring->waiter, 0, memory_order_seq_cst));
}

static bool should_stop(struct pv_venus_ring *ring)
{
	return pv_venus_should_stop(&ring->decoder);
}

/* False: the context is lost. */
static bool run_pending(struct pv_venus_ring *ring, uint32_t start, uint32_t tail)
{
	struct pv_venus_decoder *d = &ring->decoder;
	uint32_t len = tail - start;
	uint32_t offset = start & (ring->buffer_bytes - 1);
	uint32_t until_end = ring->buffer_bytes - offset;

	if (len > ring->buffer_bytes) {
		d->command_type = UINT32_MAX;
		pv_venus_fail(d, "tail", "more is pending than the ring holds", len);
		pv_venus_context_fail(d);
		return false;
	}
	if (len <= until_end) {
		memcpy(ring->commands, ring->buffer + offset, len);
	} else {
		memcpy(ring->commands, ring->buffer + offset, until_end);
		memcpy(ring->commands + until_end, ring->buffer, len - until_end);
	}

	ring->copied_tail = tail;
	d->cursor = ring->commands;
	d->end = ring->commands + len;
	while (d->cursor < d->end) {
		uint32_t executed;

		ring->context->execute(d);
		if (__builtin_expect(d->failed, 0)) {
			pv_venus_context_fail(d);
			return false;
		}
		executed = start + (uint32_t)(d->cursor - ring->commands);
		/*
		 * Release: whoever sees it sees the replies as well, and everything else the command did. The guest's
		 * first: what the control stream does after its wait comes after it, too.
		 */
		atomic_store_explicit(ring->head, executed, memory_order_release);
		atomic_store_explicit(&ring->executed, executed, memory_order_release);
		look_at_waiter(ring, atomic_load_explicit(&ring->waiter, memory_order_relaxed));
		if (__builtin_expect(should_stop(ring), 0))
			return false;
	}
	return true;
}

static bool has_work(struct pv_venus_ring *ring, uint32_t at)
{
	return atomic_load_explicit(ring->tail, memory_order_acquire) != at || should_stop(ring);
}

/* Has it been notified since it took note of that last? */
static bool take_notification(struct pv_venus_ring *ring) PV_REQUIRES(ring->context->rings_lock)
{
	bool notified = ring->notified;

	ring->notified = false;
	return notified;
}

/* Says IDLE, and sleeps until it is notified; not if it was notified while it was awake. */
static void sleep_idle(struct pv_venus_ring *ring, uint32_t at)
{
	uint64_t waiter;
	bool stays_awake;

	pv_mutex_lock(&ring->context->rings_lock);
	stays_awake = take_notification(ring);
	pv_mutex_unlock(&ring->context->rings_lock);
	if (stays_awake)
		return;

	/* Pairs with the guest's store of the tail, before its load of the status. */
	pv_venus_ring_set_status(ring, PV_VENUS_RING_IDLE);
	waiter = atomic_load_explicit(&ring->waiter, memory_order_seq_cst);
	if (atomic_load_explicit(ring->tail, memory_order_seq_cst) == at) {
		/* The guest told the control stream to wait after it had stored the tail: nothing more will come. */
		if (waiter && !has_reached(at, (uint32_t)waiter)) {
			ring->decoder.command_type = 253; /* vkWaitRingSeqnoMESA */
			pv_venus_fail(&ring->decoder, "seqno", "the ring is idle and will not get there",
				      (uint32_t)waiter);
			pv_venus_context_fail(&ring->decoder);
			return;
		}
		atomic_fetch_add_explicit(&ring->sleeps, 1, memory_order_relaxed);
		pv_mutex_lock(&ring->context->rings_lock);
		if (!ring->notified && !should_stop(ring))
			pv_condition_wait_for(&ring->wake, &ring->context->rings_lock, SETTLE_NS);
		while (!take_notification(ring) && !has_work(ring, at))
			pv_condition_wait(&ring->wake, &ring->context->rings_lock);
		pv_mutex_unlock(&ring->context->rings_lock);
	}
	atomic_fetch_and_explicit(ring->status, ~PV_VENUS_RING_IDLE, memory_order_seq_cst);
}

/*
 * Longer after a success, shorter after a failure and at last not at all, so that a guest that is slower, or that
 * shares our processor, waits for nothing.
 */
static bool spin(struct pv_venus_ring *ring, uint32_t at, uint64_t start_ns)
{
	if (!ring->may_spin || (ring->spin_ns < SPIN_MIN_NS && ++ring->waits % SPIN_AGAIN != 0))
		return false;
	if (ring->spin_ns < SPIN_MIN_NS)
		ring->spin_ns = SPIN_MAX_NS;
	do {
		for (int i = 0; i < 16; i++) {
			if (has_work(ring, at)) {
				ring->spin_ns = pv_min_u64(ring->spin_ns * 2, SPIN_MAX_NS);
				return true;
			}
			pv_cpu_relax();
		}
	} while (pv_now_ns() - start_ns < ring->spin_ns);
	ring->spin_ns /= 2;
	return false;
}

/* Returns when there may be something to do. */
static void wait_for_work(struct pv_venus_ring *ring, uint32_t at)
{
	uint64_t start_ns = pv_now_ns(), elapsed_ns = 0;

	if (spin(ring, at, start_ns))
		return;
	while ((elapsed_ns = pv_now_ns() - start_ns) < ring->idle_timeout_ns) {
		if (elapsed_ns < YIELD_NS) {
			sched_yield();
		} else {
			uint64_t sleep_ns = pv_min_u64(elapsed_ns / 8, SLEEP_MAX_NS);

			pv_thread_sleep_ns(sleep_ns > SLEEP_MIN_NS ? sleep_ns : SLEEP_MIN_NS);
		}
		if (has_work(ring, at))
			return;
	}
	sleep_idle(ring, at);
}

static void *ring_thread(void *user)
{
	struct pv_venus_ring *ring = user;

	pv_thread_sleep_exactly();
	if (ring->has_nice)
		pv_thread_set_nice(ring->nice);
	while (!should_stop(ring)) {
		uint32_t executed = atomic_load_explicit(&ring->executed, memory_order_relaxed);
		uint32_t tail = atomic_load_explicit(ring->tail, memory_order_acquire);

		if (tail != executed) {
			if (!run_pending(ring, executed, tail))
				break;
		} else {
			settle_waiter(ring);
			wait_for_work(ring, executed);
		}
	}
	/* A ring that came after the others were told. */
	if (atomic_load_explicit(&ring->context->lost, memory_order_acquire))
		pv_venus_ring_set_status(ring, PV_VENUS_RING_FATAL);
	atomic_store_explicit(&ring->ended, true, memory_order_release);
	pv_venus_control_wake(ring->context->control);
	return NULL;
}

/* ---- Guests that ask until they like the answer ---- */

/* A vkSetReplyCommandStreamMESA and a question of an object's state: no other command fits in. */
#define QUESTION_BYTES 68u
/* Mesa yields for longer than that while it waits for an answer, and sleeps for longer than that afterwards. */
#define HOLD_NS UINT64_C(40000)

bool pv_venus_ring_asks_again(struct pv_venus_decoder *d, uint64_t id, uint64_t value)
{
	struct pv_venus_ring *ring = d->ring;
	uint32_t at;
	bool again;

	if (!ring || d->nested)
		return false;
	at = atomic_load_explicit(&ring->executed, memory_order_relaxed);
	again = ring->asked_id == id && ring->asked_value == value && at - ring->asked_at <= QUESTION_BYTES;
	ring->asked_id = id;
	ring->asked_value = value;
	ring->asked_at = at;
	return again;
}

bool pv_venus_ring_may_hold(struct pv_venus_decoder *d, uint64_t start_ns)
{
	struct pv_venus_ring *ring = d->ring;

	if (d->cursor != d->end || atomic_load_explicit(ring->tail, memory_order_relaxed) != ring->copied_tail ||
	    should_stop(ring) || pv_now_ns() - start_ns >= HOLD_NS)
		return false;
	sched_yield();
	return true;
}

/* ---- Create and destroy ---- */

struct region {
	const char *field;
	uint64_t offset, len;
};

static bool are_disjoint(const struct region *a, const struct region *b)
{
	return a->len == 0 || b->len == 0 || a->offset + a->len <= b->offset || b->offset + b->len <= a->offset;
}

/* Where the parts lie; all are checked against the ring's range of the resource. */
static bool check_layout(struct pv_venus_decoder *d, const VkRingCreateInfoMESA *info)
{
	const struct region regions[] = {
	    {"VkRingCreateInfoMESA.headOffset", info->headOffset, 4},
	    {"VkRingCreateInfoMESA.tailOffset", info->tailOffset, 4},
	    {"VkRingCreateInfoMESA.statusOffset", info->statusOffset, 4},
	    {"VkRingCreateInfoMESA.bufferOffset", info->bufferOffset, info->bufferSize},
	    {"VkRingCreateInfoMESA.extraOffset", info->extraOffset, info->extraSize},
	};

	if (info->offset % 4)
		pv_venus_fail(d, "VkRingCreateInfoMESA.offset", "it is not aligned to 4 bytes", info->offset);
	if (info->bufferSize < 8 || info->bufferSize > MAX_BUFFER_BYTES || info->bufferSize & (info->bufferSize - 1))
		pv_venus_fail(d, "VkRingCreateInfoMESA.bufferSize", "it is no power of two up to 16 MiB",
			      info->bufferSize);
	for (size_t i = 0; i < PV_ARRAY_LEN(regions); i++) {
		const struct region *region = &regions[i];

		if (!pv_range_fits(region->offset, region->len, info->size))
			pv_venus_fail(d, region->field, "it is outside of the ring", region->offset);
		else if (region->offset % 4 || region->len % 4)
			pv_venus_fail(d, region->field, "it is not aligned to 4 bytes", region->offset);
		for (size_t j = 0; j < i && !d->failed; j++)
			if (!are_disjoint(region, &regions[j]))
				pv_venus_fail(d, region->field, "it overlaps another part", region->offset);
	}
	return !d->failed;
}

/* What is chained to the info. */
static uint64_t read_chain(struct pv_venus_decoder *d, struct pv_venus_ring *ring, const VkRingCreateInfoMESA *info)
{
	uint64_t period_ns = 0;

	for (const VkBaseInStructure *next = info->pNext; next; next = next->pNext) {
		if (next->sType == VK_STRUCTURE_TYPE_RING_MONITOR_INFO_MESA) {
			const VkRingMonitorInfoMESA *monitor = (const void *)next;

			period_ns = UINT64_C(1000) * monitor->maxReportingPeriodMicroseconds;
			if (period_ns == 0)
				pv_venus_fail(d, "VkRingMonitorInfoMESA.maxReportingPeriodMicroseconds", "it is 0", 0);
		} else if (next->sType == VK_STRUCTURE_TYPE_RING_PRIORITY_INFO_MESA) {
			const VkRingPriorityInfoMESA *priority = (const void *)next;

			ring->has_nice = true;
			ring->nice = priority->priority < -20 ? -20 : priority->priority > 19 ? 19 : priority->priority;
		}
	}
	return period_ns;
}

static void free_ring(struct pv_venus_ring *ring)
{
	pv_venus_decoder_finish(&ring->decoder);
	pv_arena_finish(&ring->nested_arena);
	pv_venus_resource_unref(ring->resource);
	pv_condition_finish(&ring->wake);
	free(ring->nested_commands);
	free(ring->commands);
	free(ring);
}

static bool start(struct pv_venus_decoder *d, struct pv_venus_ring *ring, uint64_t period_ns)
{
	struct pv_venus_context *context = ring->context;

	if (period_ns) {
		if (pv_venus_monitor_add(context->monitor, &ring->monitor_entry, ring->status, period_ns) != PV_OK) {
			pv_venus_fail(d, "VkRingMonitorInfoMESA", "the host has no more threads", 0);
			return false;
		}
		ring->monitored = true;
	}
	if (pv_thread_create("pv-venus-ring", ring_thread, ring, &ring->thread) != PV_OK) {
		pv_venus_fail(d, "ring", "the host has no more threads", ring->id);
		if (ring->monitored)
			pv_venus_monitor_remove(context->monitor, &ring->monitor_entry);
		return false;
	}
	pv_mutex_lock(&context->rings_lock);
	ring->next = context->rings;
	context->rings = ring;
	context->nr_rings++;
	pv_mutex_unlock(&context->rings_lock);
	return true;
}

/* The ring outlives us if we die: it is in the guest's memory. */
static void leave_last_word(const struct pv_renderer *renderer, const VkRingCreateInfoMESA *info)
{
	if (renderer && renderer->events.last_word)
		renderer->events.last_word(renderer->events.user, info->resourceId, info->offset + info->statusOffset,
					   PV_VENUS_RING_FATAL);
}

void pv_venus_ring_create(struct pv_venus_decoder *d, uint64_t id, const VkRingCreateInfoMESA *info)
{
	struct pv_venus_context *context = d->context;
	struct pv_venus_resource *resource;
	struct pv_venus_ring *ring;
	uint64_t period_ns;
	uint8_t *bytes;

	if (pv_venus_ring_find(context, id)) {
		pv_venus_fail(d, "ring", "the id is taken", id);
		return;
	}
	if (context->nr_rings >= PV_VENUS_MAX_RINGS) {
		pv_venus_fail(d, "ring", "the context has too many rings", context->nr_rings);
		return;
	}
	resource = pv_venus_shared_range(d, info->resourceId, info->offset, info->size, "VkRingCreateInfoMESA");
	if (!resource)
		return;
	ring = check_layout(d, info) ? calloc(1, sizeof(*ring)) : NULL;
	if (ring)
		ring->commands = malloc(info->bufferSize);
	if (!ring || !ring->commands) {
		/* Of a bad layout the first reason stays. */
		pv_venus_fail(d, "ring", "the host has no memory", info->bufferSize);
		free(ring);
		pv_venus_resource_unref(resource);
		return;
	}

	bytes = resource->bytes + info->offset;
	ring->context = context;
	ring->id = id;
	ring->resource = resource;
	ring->head = (_Atomic uint32_t *)(void *)(bytes + info->headOffset);
	ring->tail = (_Atomic uint32_t *)(void *)(bytes + info->tailOffset);
	ring->status = (_Atomic uint32_t *)(void *)(bytes + info->statusOffset);
	ring->buffer = bytes + info->bufferOffset;
	ring->buffer_bytes = (uint32_t)info->bufferSize;
	ring->extra = bytes + info->extraOffset;
	ring->extra_bytes = info->extraSize;
	ring->idle_timeout_ns = info->idleTimeout;
	/* With one CPU the guest does not run while we look. */
	ring->may_spin = pv_thread_nr_cpus() > 1;
	ring->spin_ns = SPIN_MAX_NS;
	pv_condition_init(&ring->wake);
	pv_venus_decoder_init(&ring->decoder, context, ring);
	ring->nested_arena.max_bytes = ring->decoder.arena.max_bytes;
	period_ns = read_chain(d, ring, info);
	/* Both are ours from now on; the guest promises that it wrote neither. */
	if (atomic_load_explicit(ring->head, memory_order_relaxed) != 0)
		pv_venus_fail(d, "VkRingCreateInfoMESA.headOffset", "the ring's head is not 0", 0);
	if (atomic_load_explicit(ring->status, memory_order_relaxed) != 0)
		pv_venus_fail(d, "VkRingCreateInfoMESA.statusOffset", "the ring's status is not 0", 0);
	if (d->failed || !start(d, ring, period_ns))
		free_ring(ring);
	else
		leave_last_word(context->renderer, info);
}

struct pv_venus_ring *pv_venus_ring_find(struct pv_venus_context *context, uint64_t id)
{
	struct pv_venus_ring *ring;

	pv_mutex_lock(&context->rings_lock);
	for (ring = context->rings; ring && ring->id != id; ring = ring->next)
		;
	pv_mutex_unlock(&context->rings_lock);
	return ring;
}

static void wake(struct pv_venus_ring *ring)
{
	pv_condition_signal(&ring->wake);
}

void pv_venus_ring_stop(struct pv_venus_ring *ring)
{
	/* Before the lock: the thread looks at it under the lock before it sleeps. */
	atomic_store_explicit(&ring->stop, true, memory_order_release);
	pv_mutex_lock(&ring->context->rings_lock);
	wake(ring);
	pv_mutex_unlock(&ring->context->rings_lock);
}

void pv_venus_ring_destroy(struct pv_venus_ring *ring)
{
	struct pv_venus_context *context = ring->context;
	struct pv_venus_ring **link;

	pthread_join(ring->thread, NULL);
	pv_mutex_lock(&context->rings_lock);
	for (link = &context->rings; *link != ring; link = &(*link)->next)
		;
	*link = ring->next;
	context->nr_rings--;
	pv_mutex_unlock(&context->rings_lock);
	if (ring->monitored)
		pv_venus_monitor_remove(context->monitor, &ring->monitor_entry);
	free_ring(ring);
}

/* ---- The control stream and the ring ---- */

void pv_venus_ring_notify(struct pv_venus_ring *ring)
{
	pv_mutex_lock(&ring->context->rings_lock);
	ring->notified = true;
	wake(ring);
	pv_mutex_unlock(&ring->context->rings_lock);
}

void pv_venus_ring_set_virtqueue_seqno(struct pv_venus_ring *ring, uint64_t seqno)
{
	pv_mutex_lock(&ring->context->rings_lock);
	if (ring->virtqueue_seqno < seqno)
		ring->virtqueue_seqno = seqno;
	wake(ring);
	pv_mutex_unlock(&ring->context->rings_lock);
}

void pv_venus_ring_wait_virtqueue_seqno(struct pv_venus_ring *ring, uint64_t seqno)
{
	struct pv_venus_context *context = ring->context;
	bool deadlock = false;

	/* What the control stream waits for may be this ring: it must not be missed while we sleep. */
	settle_waiter(ring);
	pv_mutex_lock(&context->rings_lock);
	while (ring->virtqueue_seqno < seqno && !should_stop(ring)) {
		/* Under the lock: had the control stream got to our seqno before it began to wait, we would see that.
		 */
		deadlock = atomic_load_explicit(&ring->waiter, memory_order_relaxed) != 0;
		if (deadlock)
			break;
		pv_condition_wait(&ring->wake, &context->rings_lock);
	}
	pv_mutex_unlock(&context->rings_lock);
	if (deadlock)
		pv_venus_fail(&ring->decoder, "seqno", "the control stream waits for this ring", seqno);
}

bool pv_venus_ring_reached(struct pv_venus_ring *ring, uint32_t seqno)
{
	if (has_reached(atomic_load_explicit(&ring->executed, memory_order_acquire), seqno))
		return true;
	/* Pairs with settle_waiter(). */
	atomic_exchange_explicit(&ring->waiter, WAITER | seqno, memory_order_seq_cst);
	if (has_reached(atomic_load_explicit(&ring->executed, memory_order_acquire), seqno)) {
		/* Its thread may have seen the wish as well: one wake-up too many does no harm. */
		atomic_store_explicit(&ring->waiter, 0, memory_order_relaxed);
		return true;
	}
	pv_venus_ring_notify(ring);
	return false;
}

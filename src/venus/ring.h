/* SPDX-License-Identifier: MIT */
/*
 * A ring: a stream of commands in memory that the guest shares with us, and the thread that executes them. How it
 * sleeps and is woken stands in ring.c.
 */
#ifndef PV_VENUS_RING_H
#define PV_VENUS_RING_H

#include <pthread.h>

#include "venus/context.h"
#include "venus/mailbox.h"
#include "venus/monitor.h"

/* Bits of a ring's status word, as in VkRingStatusFlagBitsMESA. */
#define PV_VENUS_RING_IDLE  0x1u
#define PV_VENUS_RING_FATAL 0x2u
#define PV_VENUS_RING_ALIVE 0x4u

struct pv_venus_ring {
	/* ---- Immutable ---- */
	struct pv_venus_context *context;
	uint64_t id; /* the guest's name for it */
	struct pv_venus_resource *resource;
	/* In guest memory: the guest writes there whatever it likes, so head and status are not read back. */
	_Atomic uint32_t *head, *tail, *status;
	const uint8_t *buffer;
	uint32_t buffer_bytes; /* a power of two */
	uint8_t *extra;
	uint64_t extra_bytes;
	uint64_t idle_timeout_ns;
	int32_t nice;
	bool has_nice, monitored, may_spin;
	pthread_t thread;

	/* ---- Any thread ---- */
	/* Release by whoever ends the ring, acquire by its thread. */
	_Atomic bool stop;
	/* Release store when the thread will touch nothing any more, acquire load by the device thread. */
	_Atomic bool ended;
	/* Our own copy of *head. Release by the ring's thread after each command, acquire by the device thread. */
	_Atomic uint32_t executed;
	/*
	 * WAITER | seqno: the device thread waits for `executed` to get there. Whoever of the two threads swaps it for
	 * 0 has ended the wait.
	 */
	_Atomic uint64_t waiter;

	/* ---- Under context->rings_lock ---- */
	struct pv_condition wake;
	bool notified;
	uint64_t virtqueue_seqno;
	struct pv_venus_ring *next;

	/* ---- The ring's thread ---- */
	struct pv_venus_decoder decoder;
	struct pv_arena nested_arena; /* arguments of nested streams' commands */
	uint8_t *commands;            /* buffer_bytes: private copy of what is pending */
	uint8_t *nested_commands;     /* the same of a nested stream */
	uint64_t nested_bytes;        /* room there */
	uint64_t spin_ns;             /* how long it pays to look for the next command before yielding */
	uint32_t waits;               /* without spinning */
	uint32_t copied_tail;         /* where what is in `commands` ends */
	/* The last question that was answered with "not yet", and where in the stream it was. */
	uint64_t asked_id, asked_value;
	uint32_t asked_at;

	/* ---- The device thread ---- */
	struct pv_venus_monitored monitor_entry;
	/* Sums for people: how often it slept for lack of work. */
	_Atomic uint64_t sleeps;
};

/*
 * Any thread: whoever waits for long (a fence, a semaphore) does it in slices and asks this in between: the wait's ring
 * is being destroyed, or the context is lost. The command then ends, no matter how.
 */
static inline bool pv_venus_should_stop(const struct pv_venus_decoder *decoder)
{
	return atomic_load_explicit(&decoder->context->lost, memory_order_acquire) ||
	       (decoder->ring && atomic_load_explicit(&decoder->ring->stop, memory_order_acquire));
}

/*
 * The ring's thread, in a command that asks for the state of an object and whose answer is "not yet" (any `value`).
 * True: the guest asks for the second time with nothing in between, so it does nothing but wait, and the handler may
 * look again for as long as pv_venus_ring_may_hold() allows. A guest that asks once in a while is answered at once.
 */
bool pv_venus_ring_asks_again(struct pv_venus_decoder *decoder, uint64_t id, uint64_t value);
/* Lets other threads run. False: there is something else to do, or a guest that waits for the answer would soon sleep.
 */
bool pv_venus_ring_may_hold(struct pv_venus_decoder *decoder, uint64_t start_ns);

/*
 * All on the device thread unless they say otherwise.
 *
 * Creates and starts one as vkCreateRingMESA says. A bad `info` fails `decoder`'s stream; so does a lack of memory or
 * threads, since the command has no answer.
 */
void pv_venus_ring_create(struct pv_venus_decoder *decoder, uint64_t id, const VkRingCreateInfoMESA *info);
/* NULL: there is none. */
struct pv_venus_ring *pv_venus_ring_find(struct pv_venus_context *context, uint64_t id);
/* Any thread. Asks it to end; its context's control stream is told when `ended` is set. */
void pv_venus_ring_stop(struct pv_venus_ring *ring);
/* Any thread but the ring's own: joins its thread and frees it. After pv_venus_ring_stop(); waits for it to end. */
void pv_venus_ring_destroy(struct pv_venus_ring *ring);

/* The guest has added commands while it said IDLE. */
void pv_venus_ring_notify(struct pv_venus_ring *ring);
/* The context's control stream has got to `seqno`. */
void pv_venus_ring_set_virtqueue_seqno(struct pv_venus_ring *ring, uint64_t seqno);
/* The ring's thread: until the control stream has got to `seqno`, the ring is stopped, or the context lost. */
void pv_venus_ring_wait_virtqueue_seqno(struct pv_venus_ring *ring, uint64_t seqno);
/*
 * Has it executed everything up to `seqno`? If not the context's control stream is told when it has (or has ended).
 * Wakes the ring.
 */
bool pv_venus_ring_reached(struct pv_venus_ring *ring, uint32_t seqno);

/* Any thread: the bits are set for the guest to see. */
void pv_venus_ring_set_status(struct pv_venus_ring *ring, uint32_t bits);

#endif

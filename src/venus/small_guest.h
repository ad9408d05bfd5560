/* SPDX-License-Identifier: MIT */
/*
 * A guest's driver in small against the whole renderer without Vulkan: real blobs, rings and threads, the real codec
 * for the protocol's own commands, and a few commands of our own (from FIRST_FAKE up) in the place of Vulkan's. For
 * tests: each is a program of its own, and includes this once.
 */
#ifndef PV_VENUS_SMALL_GUEST_H
#define PV_VENUS_SMALL_GUEST_H

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "base/thread.h"
#include "venus/codec.h"
#include "venus/generated/commands.h"
#include "venus/renderer.h"
#include "venus/ring.h"

enum {
	/* Each is { type, flags, argument }; with a reply: { type, argument + 1 }. */
	FIRST_FAKE = 0x1000,
	FAKE_ADD = FIRST_FAKE, /* adds the argument to `sum` */
	FAKE_BLOCK,            /* until `gate` is open, or the ring should stop */
	FAKE_FAIL,
	FAKE_ASK, /* the state of an object, which is "not yet": answers how often it looked, plus the argument */
};

#define RING_BYTES 4096u
#define HEAD       0u
#define TAIL       64u
#define STATUS     128u
#define BUFFER     192u
#define EXTRA      (BUFFER + RING_BYTES)
#define SHM_BYTES  (EXTRA + 4)
#define FIRST_OP   1000
#define NO_STATUS  ((enum pv_status) - 1)
#define SECOND_NS  UINT64_C(1000000000)

static struct pv_loop *loop;
static struct pv_renderer *renderer;
static _Atomic uint64_t sum;
static _Atomic bool gate, blocking;

static uint64_t next_op;
static enum pv_status op_status[8192];
static uint64_t fences[256];
static size_t nr_fences;

static inline void fake_execute(struct pv_venus_decoder *d)
{
	uint32_t type, argument;
	uint64_t start_ns;

	if (d->end - d->cursor < 12) {
		pv_venus_execute(d);
		return;
	}
	memcpy(&type, d->cursor, 4);
	if (type < FIRST_FAKE || type > FAKE_ASK) {
		pv_venus_execute(d);
		return;
	}
	d->command_type = pv_venus_take_u32(d);
	d->command_flags = pv_venus_take_u32(d);
	argument = pv_venus_take_u32(d);
	switch (type) {
	case FAKE_ADD:
		atomic_fetch_add(&sum, argument);
		break;
	case FAKE_BLOCK:
		atomic_store(&blocking, true);
		while (!atomic_load(&gate) && !pv_venus_should_stop(d))
			usleep(1000);
		break;
	case FAKE_FAIL:
		pv_venus_fail(d, "argument", "it is a test", argument);
		break;
	case FAKE_ASK:
		start_ns = pv_now_ns();
		if (pv_venus_ring_asks_again(d, 5, 0))
			while (pv_venus_ring_may_hold(d, start_ns))
				argument++;
		break;
	default:
		break;
	}
	if (d->command_flags & PV_VENUS_GENERATE_REPLY) {
		pv_venus_reply_u32(&d->reply, type);
		pv_venus_reply_u32(&d->reply, argument + 1);
		if (d->reply.overflow)
			pv_venus_fail(d, "reply", "it does not fit", 8);
	}
}

/* ---- What the device core is to the renderer ---- */

static inline void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	(void)user;
	assert_true(op_id >= FIRST_OP && op_id < next_op);
	assert_int_equal(op_status[op_id - FIRST_OP], PV_PENDING);
	op_status[op_id - FIRST_OP] = status;
}

static inline void fence_signalled(void *user, uint64_t fence_id)
{
	(void)user;
	assert_true(nr_fences < PV_ARRAY_LEN(fences));
	fences[nr_fences++] = fence_id;
}

static inline uint64_t new_op(void)
{
	assert_true(next_op - FIRST_OP < PV_ARRAY_LEN(op_status));
	op_status[next_op - FIRST_OP] = PV_PENDING;
	return next_op++;
}

static inline enum pv_status at_once(uint64_t op, enum pv_status status)
{
	op_status[op - FIRST_OP] = status;
	return status;
}

static inline bool fence_is_signalled(uint64_t id)
{
	for (size_t i = 0; i < nr_fences; i++)
		if (fences[i] == id)
			return true;
	return false;
}

/* Runs the loop until `condition`, for at most some seconds. */
#define WAIT_FOR(condition)                                                                                            \
	do {                                                                                                           \
		uint64_t give_up_ns_ = pv_now_ns() + 20 * SECOND_NS;                                                   \
		while (!(condition) && pv_now_ns() < give_up_ns_)                                                      \
			pv_loop_step(loop, 1000000);                                                                   \
		assert_true(condition);                                                                                \
	} while (0)

static inline int set_up(void **state)
{
	const struct pv_venus_renderer_params params = {
	    .loop = NULL, .execute = fake_execute, .max_shm_bytes = 64 << 20};
	struct pv_venus_renderer_params with_loop = params;

	(void)state;
	next_op = FIRST_OP;
	nr_fences = 0;
	atomic_store(&sum, 0);
	atomic_store(&gate, false);
	atomic_store(&blocking, false);
	if (pv_loop_create(&loop) != PV_OK)
		return -1;
	with_loop.loop = loop;
	if (pv_venus_renderer_create(&with_loop, &renderer) != PV_OK)
		return -1;
	renderer->events = (struct pv_renderer_events){op_done, fence_signalled, NULL};
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	pv_renderer_destroy(renderer);
	pv_loop_destroy(loop);
	return 0;
}

static inline void make_context(uint32_t id)
{
	assert_int_equal(renderer->ops->context_create(renderer, new_op(), id, PV_VENUS_CAPSET_ID, "test"), PV_OK);
}

static inline enum pv_status make_blob(uint32_t ctx_id, uint32_t id, uint64_t size_bytes, uint64_t blob_id)
{
	const struct pv_resource_info info = {
	    .id = id,
	    .kind = PV_RESOURCE_HOST_BLOB,
	    .size_bytes = size_bytes,
	    .ctx_id = ctx_id,
	    .blob_id = blob_id,
	    .blob_flags = PV_BLOB_MAPPABLE,
	};
	uint64_t op = new_op();

	return at_once(op, renderer->ops->resource_create(renderer, op, &info));
}

static inline uint8_t *map_blob(uint32_t id, uint64_t size_bytes)
{
	int fd = -1;
	void *bytes;

	assert_int_equal(renderer->ops->blob_export(renderer, id, &fd), PV_OK);
	bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(bytes, MAP_FAILED);
	/* It cannot be cut short. */
	assert_int_equal(ftruncate(fd, 0), -1);
	close(fd);
	return bytes;
}

/* ---- What a guest's driver is ---- */

struct words {
	uint32_t word[256];
	size_t count;
};

static inline void put(struct words *words, uint32_t value)
{
	assert_true(words->count < PV_ARRAY_LEN(words->word));
	words->word[words->count++] = value;
}

static inline void put_u64(struct words *words, uint64_t value)
{
	put(words, (uint32_t)value);
	put(words, (uint32_t)(value >> 32));
}

static inline void put_fake(struct words *words, uint32_t type, uint32_t flags, uint32_t argument)
{
	put(words, type);
	put(words, flags);
	put(words, argument);
}

static inline void put_set_reply(struct words *words, uint32_t resource_id, uint64_t offset, uint64_t size)
{
	put(words, 178);
	put(words, 0);
	put_u64(words, 1);
	put(words, resource_id);
	put_u64(words, offset);
	put_u64(words, size);
}

static inline void put_ring_command(struct words *words, uint32_t type, uint64_t ring)
{
	put(words, type);
	put(words, 0);
	put_u64(words, ring);
}

struct ring_shape {
	uint32_t resource_id;
	uint64_t offset, size, head, tail, status, buffer, buffer_bytes, extra, extra_bytes;
	uint32_t monitor_us; /* 0: not monitored */
	bool has_monitor;
	uint64_t idle_ns;
};

static const struct ring_shape good_shape = {
    .resource_id = 1,
    .size = SHM_BYTES,
    .head = HEAD,
    .tail = TAIL,
    .status = STATUS,
    .buffer = BUFFER,
    .buffer_bytes = RING_BYTES,
    .extra = EXTRA,
    .extra_bytes = 4,
    .idle_ns = 1000000,
};

static inline void put_create_ring(struct words *words, uint64_t ring, const struct ring_shape *shape)
{
	put_ring_command(words, 188, ring);
	put_u64(words, 1);
	put(words, 1000384000);
	if (shape->has_monitor) {
		put_u64(words, 1);
		put(words, 1000384006);
		put_u64(words, 1);
		put(words, 1000384007);
		put_u64(words, 0);
		put(words, 5); /* priority */
		put(words, shape->monitor_us);
	} else {
		put_u64(words, 0);
	}
	put(words, 0);
	put(words, shape->resource_id);
	put_u64(words, shape->offset);
	put_u64(words, shape->size);
	put_u64(words, shape->idle_ns);
	put_u64(words, shape->head);
	put_u64(words, shape->tail);
	put_u64(words, shape->status);
	put_u64(words, shape->buffer);
	put_u64(words, shape->buffer_bytes);
	put_u64(words, shape->extra);
	put_u64(words, shape->extra_bytes);
}

static inline enum pv_status submit(uint32_t ctx_id, const struct words *words, uint64_t *out_op)
{
	uint64_t op = new_op();

	if (out_op)
		*out_op = op;
	return at_once(op, renderer->ops->submit(renderer, op, ctx_id, words->word, 4 * words->count));
}

/* One ring of one context, from the guest's side. */
struct guest {
	uint32_t ctx_id;
	uint64_t ring;
	uint8_t *shm;
	uint32_t tail;
};

static inline _Atomic uint32_t *word_at(const struct guest *guest, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)(guest->shm + offset);
}

static inline uint32_t head(const struct guest *guest)
{
	return atomic_load_explicit(word_at(guest, HEAD), memory_order_acquire);
}

static inline uint32_t status(const struct guest *guest)
{
	return atomic_load(word_at(guest, STATUS));
}

static inline void start_shaped(struct guest *guest, uint32_t ctx_id, const struct ring_shape *shape)
{
	struct words words = {0};

	*guest = (struct guest){.ctx_id = ctx_id, .ring = 0x7f0000000000 + ctx_id};
	make_context(ctx_id);
	assert_int_equal(make_blob(ctx_id, shape->resource_id, SHM_BYTES, 0), PV_OK);
	guest->shm = map_blob(shape->resource_id, SHM_BYTES);
	put_create_ring(&words, guest->ring, shape);
	assert_int_equal(submit(ctx_id, &words, NULL), PV_OK);
}

static inline void start(struct guest *guest, uint32_t ctx_id)
{
	struct ring_shape shape = good_shape;

	shape.resource_id = ctx_id * 100;
	start_shaped(guest, ctx_id, &shape);
}

static inline void finish(struct guest *guest)
{
	renderer->ops->context_destroy(renderer, guest->ctx_id);
	munmap(guest->shm, SHM_BYTES);
}

/* True: the guest would notify. Waits for room. */
static inline bool write_ring(struct guest *guest, const struct words *words)
{
	for (size_t i = 0; i < words->count; i++) {
		uint32_t at = guest->tail + 4 * (uint32_t)i;

		while (at + 4 - head(guest) > RING_BYTES)
			sched_yield();
		memcpy(guest->shm + BUFFER + (at & (RING_BYTES - 1)), &words->word[i], 4);
		/* Whole commands only; the tests' commands are never cut as they are written at once. */
	}
	guest->tail += 4 * (uint32_t)words->count;
	atomic_store(word_at(guest, TAIL), guest->tail);
	return atomic_load(word_at(guest, STATUS)) & PV_VENUS_RING_IDLE;
}

static inline void notify(const struct guest *guest)
{
	struct words words = {0};

	put_ring_command(&words, 190, guest->ring);
	put(&words, guest->tail);
	put(&words, 0);
	/* The ring may have seen the work in the last moment, and be lost by now. */
	if (submit(guest->ctx_id, &words, NULL) != PV_OK)
		WAIT_FOR(status(guest) & PV_VENUS_RING_FATAL);
}

static inline void send(struct guest *guest, const struct words *words)
{
	if (write_ring(guest, words))
		notify(guest);
}

static inline void send_fake(struct guest *guest, uint32_t type, uint32_t argument)
{
	struct words words = {0};

	put_fake(&words, type, 0, argument);
	send(guest, &words);
}

#endif

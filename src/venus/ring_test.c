/* SPDX-License-Identifier: MIT */
/*
 * A guest's driver in small against the whole renderer without Vulkan: real blobs, rings and threads, the real codec
 * for the protocol's own commands, and a few commands of our own (from FIRST_FAKE up) in the place of Vulkan's.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
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

static void fake_execute(struct pv_venus_decoder *d)
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

static void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	(void)user;
	assert_true(op_id >= FIRST_OP && op_id < next_op);
	assert_int_equal(op_status[op_id - FIRST_OP], PV_PENDING);
	op_status[op_id - FIRST_OP] = status;
}

static void fence_signalled(void *user, uint64_t fence_id)
{
	(void)user;
	assert_true(nr_fences < PV_ARRAY_LEN(fences));
	fences[nr_fences++] = fence_id;
}

static uint64_t new_op(void)
{
	assert_true(next_op - FIRST_OP < PV_ARRAY_LEN(op_status));
	op_status[next_op - FIRST_OP] = PV_PENDING;
	return next_op++;
}

static enum pv_status at_once(uint64_t op, enum pv_status status)
{
	op_status[op - FIRST_OP] = status;
	return status;
}

static bool fence_is_signalled(uint64_t id)
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

static int set_up(void **state)
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

static int tear_down(void **state)
{
	(void)state;
	pv_renderer_destroy(renderer);
	pv_loop_destroy(loop);
	return 0;
}

static void make_context(uint32_t id)
{
	assert_int_equal(renderer->ops->context_create(renderer, new_op(), id, PV_VENUS_CAPSET_ID, "test"), PV_OK);
}

static enum pv_status make_blob(uint32_t ctx_id, uint32_t id, uint64_t size_bytes, uint64_t blob_id)
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

static uint8_t *map_blob(uint32_t id, uint64_t size_bytes)
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

static void put(struct words *words, uint32_t value)
{
	assert_true(words->count < PV_ARRAY_LEN(words->word));
	words->word[words->count++] = value;
}

static void put_u64(struct words *words, uint64_t value)
{
	put(words, (uint32_t)value);
	put(words, (uint32_t)(value >> 32));
}

static void put_fake(struct words *words, uint32_t type, uint32_t flags, uint32_t argument)
{
	put(words, type);
	put(words, flags);
	put(words, argument);
}

static void put_set_reply(struct words *words, uint32_t resource_id, uint64_t offset, uint64_t size)
{
	put(words, 178);
	put(words, 0);
	put_u64(words, 1);
	put(words, resource_id);
	put_u64(words, offset);
	put_u64(words, size);
}

static void put_ring_command(struct words *words, uint32_t type, uint64_t ring)
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

static void put_create_ring(struct words *words, uint64_t ring, const struct ring_shape *shape)
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

static enum pv_status submit(uint32_t ctx_id, const struct words *words, uint64_t *out_op)
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

static _Atomic uint32_t *word_at(const struct guest *guest, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)(guest->shm + offset);
}

static uint32_t head(const struct guest *guest)
{
	return atomic_load_explicit(word_at(guest, HEAD), memory_order_acquire);
}

static uint32_t status(const struct guest *guest)
{
	return atomic_load(word_at(guest, STATUS));
}

static void start_shaped(struct guest *guest, uint32_t ctx_id, const struct ring_shape *shape)
{
	struct words words = {0};

	*guest = (struct guest){.ctx_id = ctx_id, .ring = 0x7f0000000000 + ctx_id};
	make_context(ctx_id);
	assert_int_equal(make_blob(ctx_id, shape->resource_id, SHM_BYTES, 0), PV_OK);
	guest->shm = map_blob(shape->resource_id, SHM_BYTES);
	put_create_ring(&words, guest->ring, shape);
	assert_int_equal(submit(ctx_id, &words, NULL), PV_OK);
}

static void start(struct guest *guest, uint32_t ctx_id)
{
	struct ring_shape shape = good_shape;

	shape.resource_id = ctx_id * 100;
	start_shaped(guest, ctx_id, &shape);
}

static void finish(struct guest *guest)
{
	renderer->ops->context_destroy(renderer, guest->ctx_id);
	munmap(guest->shm, SHM_BYTES);
}

/* True: the guest would notify. Waits for room. */
static bool write_ring(struct guest *guest, const struct words *words)
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

static void notify(const struct guest *guest)
{
	struct words words = {0};

	put_ring_command(&words, 190, guest->ring);
	put(&words, guest->tail);
	put(&words, 0);
	/* The ring may have seen the work in the last moment, and be lost by now. */
	if (submit(guest->ctx_id, &words, NULL) != PV_OK)
		WAIT_FOR(status(guest) & PV_VENUS_RING_FATAL);
}

static void send(struct guest *guest, const struct words *words)
{
	if (write_ring(guest, words))
		notify(guest);
}

static void send_fake(struct guest *guest, uint32_t type, uint32_t argument)
{
	struct words words = {0};

	put_fake(&words, type, 0, argument);
	send(guest, &words);
}

/* ---- Tests ---- */

static void commands_are_executed_in_order(void **state)
{
	(void)state;
	struct guest guest;

	start(&guest, 1);
	/* Around the ring several times, in batches of different sizes. */
	for (uint32_t i = 1; i <= 2000; i++) {
		struct words words = {0};

		for (uint32_t j = 0; j <= i % 7; j++)
			put_fake(&words, FAKE_ADD, 0, j ? 0 : i);
		send(&guest, &words);
	}
	WAIT_FOR(head(&guest) == guest.tail);
	assert_int_equal(atomic_load(&sum), 2000 * 2001 / 2);
	assert_false(status(&guest) & PV_VENUS_RING_FATAL);
	finish(&guest);
}

static void idle_rings_sleep_and_are_woken(void **state)
{
	(void)state;
	struct guest guest;

	start(&guest, 1);
	for (uint32_t i = 1; i <= 50; i++) {
		struct rusage before, after;
		uint64_t since;

		WAIT_FOR(status(&guest) & PV_VENUS_RING_IDLE);
		if (i == 1) {
			getrusage(RUSAGE_SELF, &before);
			since = pv_now_ns();
			usleep(200000);
			getrusage(RUSAGE_SELF, &after);
			/* Our own sleep, and the end of the thread's going to bed: nobody polls. */
			assert_true(after.ru_nvcsw - before.ru_nvcsw < 10);
			assert_true(pv_now_ns() - since >= 190000000);
		}
		struct words words = {0};

		put_fake(&words, FAKE_ADD, 0, 1);
		assert_true(write_ring(&guest, &words));
		notify(&guest);
		WAIT_FOR(head(&guest) == guest.tail);
		assert_int_equal(atomic_load(&sum), i);
	}
	finish(&guest);
}

/* The race between going to sleep and new work, many times: with each work the guest waits about the idle timeout. */
static void no_wake_up_is_lost(void **state)
{
	(void)state;
	struct guest guest;
	struct ring_shape shape = good_shape;

	shape.idle_ns = 20000;
	start_shaped(&guest, 1, &shape);
	for (uint32_t i = 0; i < 3000; i++) {
		uint64_t until = pv_now_ns() + 15000 + UINT64_C(500) * (i % 64);

		send_fake(&guest, FAKE_ADD, 1);
		while (head(&guest) != guest.tail)
			assert_true(pv_now_ns() < until + 10 * SECOND_NS);
		while (pv_now_ns() < until)
			;
	}
	assert_int_equal(atomic_load(&sum), 3000);
	finish(&guest);
}

/*
 * A guest that is held up between its look at the status and its look at the clock notifies late, and does not do so
 * again within the timeout: for that long the ring may not say IDLE.
 */
static void a_late_notification_keeps_it_awake(void **state)
{
	(void)state;
	struct guest guest;
	struct ring_shape shape = good_shape;
	uint64_t notified_ns;

	shape.idle_ns = SECOND_NS / 2;
	start_shaped(&guest, 1, &shape);
	WAIT_FOR(status(&guest) & PV_VENUS_RING_IDLE);
	send_fake(&guest, FAKE_ADD, 1);
	WAIT_FOR(!(status(&guest) & PV_VENUS_RING_IDLE));
	usleep(200000);
	notified_ns = pv_now_ns();
	notify(&guest);
	WAIT_FOR(status(&guest) & PV_VENUS_RING_IDLE);
	assert_true(pv_now_ns() - notified_ns >= shape.idle_ns);
	finish(&guest);
}

/*
 * A guest whose store of the tail becomes visible a moment after its look at the status does not notify. Often, since
 * the machine may stop us for longer than that moment.
 */
static void a_tail_that_comes_late_is_seen(void **state)
{
	(void)state;
	struct guest guest;
	struct words words = {0};
	uint32_t seen = 0;

	put_fake(&words, FAKE_ADD, 0, 1);
	start(&guest, 1);
	for (uint32_t i = 0; i < 1000 && seen < 10; i++) {
		uint64_t until_ns;

		while (!(status(&guest) & PV_VENUS_RING_IDLE))
			pv_cpu_relax();
		(void)write_ring(&guest, &words);
		until_ns = pv_now_ns() + SECOND_NS / 50;
		while (head(&guest) != guest.tail && pv_now_ns() < until_ns)
			sched_yield();
		seen += head(&guest) == guest.tail;
		notify(&guest);
		WAIT_FOR(head(&guest) == guest.tail);
	}
	assert_int_equal(seen, 10);
	finish(&guest);
}

static void replies(void **state)
{
	(void)state;
	struct guest guest;
	struct words words = {0};
	uint32_t *reply;

	start(&guest, 1);
	assert_int_equal(make_blob(1, 2, 4096, 0), PV_OK);
	reply = (uint32_t *)(void *)map_blob(2, 4096);
	put_set_reply(&words, 2, 16, 32);
	put_fake(&words, FAKE_ADD, 1, 41);
	put_fake(&words, FAKE_ADD, 1, 100);
	/* Back to the third reply's place. */
	put(&words, 179);
	put(&words, 0);
	put_u64(&words, 24);
	put_fake(&words, FAKE_ADD, 1, 7);
	send(&guest, &words);
	WAIT_FOR(head(&guest) == guest.tail);
	assert_int_equal(reply[4], FAKE_ADD);
	assert_int_equal(reply[5], 42);
	assert_int_equal(reply[7], 101);
	assert_int_equal(reply[8], 0);
	assert_int_equal(reply[11], 8);

	/* It may go: the stream holds it. */
	renderer->ops->resource_destroy(renderer, 2);
	send_fake(&guest, FAKE_ADD, 1);
	WAIT_FOR(head(&guest) == guest.tail);

	/* A reply that does not fit. */
	words.count = 0;
	put_fake(&words, FAKE_ADD, 1, 7);
	send(&guest, &words);
	WAIT_FOR(status(&guest) & PV_VENUS_RING_FATAL);
	assert_int_equal(reply[12], 0);
	munmap(reply, 4096);
	finish(&guest);
}

/* How often the ring's thread looked again before it answered; `after`: so many commands follow at once. */
static uint32_t ask(struct guest *guest, const uint32_t *reply, uint32_t after)
{
	struct words words = {0};

	put_set_reply(&words, 2, 0, 64);
	put_fake(&words, FAKE_ASK, 1, 0);
	while (after--)
		put_fake(&words, FAKE_ADD, 0, 1);
	send(guest, &words);
	WAIT_FOR(head(guest) == guest->tail);
	return reply[1] - 1;
}

static void a_guest_that_asks_again_is_answered_later(void **state)
{
	(void)state;
	struct guest guest;
	uint32_t *reply;

	start(&guest, 1);
	assert_int_equal(make_blob(1, 2, 4096, 0), PV_OK);
	reply = (uint32_t *)(void *)map_blob(2, 4096);
	assert_int_equal(ask(&guest, reply, 0), 0);
	/* Not every time: the thread may lose its CPU for as long as it would have looked. */
	WAIT_FOR(ask(&guest, reply, 0) > 0);
	/* Something else is to be done. */
	assert_int_equal(ask(&guest, reply, 3), 0);
	/* It has done something else. */
	assert_int_equal(ask(&guest, reply, 0), 0);
	WAIT_FOR(ask(&guest, reply, 0) > 0);
	munmap(reply, 4096);
	finish(&guest);
}

static void put_execute(struct words *words, uint32_t resource_id, const uint64_t (*ranges)[2], uint32_t count,
			bool with_positions)
{
	put(words, 180);
	put(words, 0);
	put(words, count);
	put_u64(words, count);
	for (uint32_t i = 0; i < count; i++) {
		put(words, resource_id);
		put_u64(words, ranges[i][0]);
		put_u64(words, ranges[i][1]);
	}
	put_u64(words, with_positions ? count : 0);
	for (uint32_t i = 0; with_positions && i < count; i++)
		put_u64(words, UINT64_C(8) * (count - 1 - i));
	put(words, 0);
	put_u64(words, 0);
	put(words, 0);
}

static void nested_streams(void **state)
{
	(void)state;
	enum { LARGE = 170000 };
	static const uint64_t ranges[3][2] = {{0, 24}, {0, 0}, {24, 12}},
			      large[1][2] = {{1 << 20, UINT64_C(12) * LARGE}};
	struct guest guest;
	struct words words = {0}, nested = {0};
	uint32_t *shm, *reply;

	start(&guest, 1);
	assert_int_equal(make_blob(1, 2, 4 << 20, 0), PV_OK);
	assert_int_equal(make_blob(1, 3, 4096, 0), PV_OK);
	shm = (uint32_t *)(void *)map_blob(2, 4 << 20);
	reply = (uint32_t *)(void *)map_blob(3, 4096);
	put_fake(&nested, FAKE_ADD, 0, 5);
	put_fake(&nested, FAKE_ADD, 1, 6);
	put_fake(&nested, FAKE_ADD, 1, 7);
	memcpy(shm, nested.word, 4 * nested.count);
	put_set_reply(&words, 3, 0, 64);
	put_execute(&words, 2, ranges, 3, true);
	put_fake(&words, FAKE_ADD, 0, 1000);
	send(&guest, &words);
	WAIT_FOR(head(&guest) == guest.tail);
	assert_int_equal(atomic_load(&sum), 1018);
	/* Their positions were 16, 8 and 0. */
	assert_int_equal(reply[5], 7);
	assert_int_equal(reply[1], 8);

	/* A large one. */
	for (size_t i = 0; i < LARGE; i++) {
		const uint32_t command[3] = {FAKE_ADD, 0, 1};

		memcpy(shm + (1 << 18) + 3 * i, command, sizeof(command));
	}
	words.count = 0;
	put_execute(&words, 2, large, 1, false);
	send(&guest, &words);
	WAIT_FOR(head(&guest) == guest.tail);
	assert_int_equal(atomic_load(&sum), 1018 + LARGE);
	munmap(shm, 4 << 20);
	munmap(reply, 4096);
	finish(&guest);
}

/* Each of these loses its own context, and no other. */
static void nested_streams_of_bad_guests(void **state)
{
	(void)state;
	static const uint64_t good[1][2] = {{0, 12}}, outside[1][2] = {{4090, 12}},
			      wraps[1][2] = {{UINT64_MAX - 3, 12}};
	struct guest witness;
	struct words streams[5] = {0}, nesting = {0};

	start(&witness, 50);
	put_execute(&streams[0], 2, good, 0, false);
	put_execute(&streams[1], 2, outside, 1, false);
	put_execute(&streams[2], 2, wraps, 1, false);
	put_execute(&streams[3], 99, good, 1, false);
	/* The nested stream at 16 nests once more. */
	put_execute(&nesting, 2, good, 1, false);
	const uint64_t at_16[1][2] = {{16, 4 * nesting.count}};
	put_execute(&streams[4], 2, at_16, 1, false);
	for (uint32_t i = 0; i < PV_ARRAY_LEN(streams); i++) {
		struct guest guest;
		uint8_t *shm;

		start(&guest, 1 + i);
		assert_int_equal(make_blob(1 + i, 2, 4096, 0), PV_OK);
		shm = map_blob(2, 4096);
		memcpy(shm + 16, nesting.word, 4 * nesting.count);
		send(&guest, &streams[i]);
		WAIT_FOR(status(&guest) & PV_VENUS_RING_FATAL);
		assert_int_equal(head(&guest), 0);
		munmap(shm, 4096);
		finish(&guest);
		renderer->ops->resource_destroy(renderer, 2);
	}
	send_fake(&witness, FAKE_ADD, 3);
	WAIT_FOR(head(&witness) == witness.tail);
	finish(&witness);
}

static void bad_rings_are_refused(void **state)
{
	(void)state;
	static const struct {
		size_t field;
		uint64_t value;
	} cases[] = {
#define CASE(name, value) {offsetof(struct ring_shape, name), value}
	    CASE(offset, 4),
	    CASE(offset, UINT64_MAX - 3),
	    CASE(size, SHM_BYTES + 4),
	    CASE(size, EXTRA),
	    CASE(head, 2),
	    CASE(head, TAIL),
	    CASE(head, UINT64_MAX - 3),
	    CASE(tail, BUFFER + 4),
	    CASE(tail, SHM_BYTES),
	    CASE(status, HEAD),
	    CASE(buffer, STATUS),
	    CASE(buffer, BUFFER + 4),
	    CASE(buffer_bytes, 4095),
	    CASE(buffer_bytes, 0),
	    CASE(buffer_bytes, UINT64_C(1) << 63),
	    CASE(buffer_bytes, 8192),
	    CASE(extra, BUFFER),
	    CASE(extra, EXTRA + 2),
	    CASE(extra_bytes, 8),
	    CASE(extra_bytes, UINT64_MAX - EXTRA + 1),
#undef CASE
	};

	for (uint32_t i = 0; i < PV_ARRAY_LEN(cases) + 5; i++) {
		struct ring_shape shape = good_shape;
		struct words words = {0};
		uint8_t *shm;

		make_context(1);
		assert_int_equal(make_blob(1, 1, SHM_BYTES, 0), PV_OK);
		shm = map_blob(1, SHM_BYTES);
		if (i < PV_ARRAY_LEN(cases))
			memcpy((uint8_t *)&shape + cases[i].field, &cases[i].value, 8);
		else if (i == PV_ARRAY_LEN(cases))
			shm[HEAD] = 1;
		else if (i == PV_ARRAY_LEN(cases) + 1)
			shm[STATUS] = 1;
		else if (i == PV_ARRAY_LEN(cases) + 2)
			shape.has_monitor = true; /* of period 0 */
		else if (i == PV_ARRAY_LEN(cases) + 3)
			shape.resource_id = 77;
		put_create_ring(&words, 1, &shape);
		if (i == PV_ARRAY_LEN(cases) + 4)
			put_create_ring(&words, 1, &shape); /* the id is taken */
		assert_int_equal(submit(1, &words, NULL), PV_ERR_GUEST);
		/* Once lost, for ever lost. */
		words.count = 0;
		assert_int_equal(submit(1, &words, NULL), PV_ERR_GUEST);
		munmap(shm, SHM_BYTES);
		renderer->ops->resource_destroy(renderer, 1);
		renderer->ops->context_destroy(renderer, 1);
	}
}

static void there_is_a_limit_of_rings(void **state)
{
	(void)state;
	struct pv_venus_renderer_status st;
	enum pv_status result = PV_OK;
	uint32_t made = 0;

	make_context(1);
	for (; result == PV_OK; made++) {
		struct ring_shape shape = good_shape;
		struct words words = {0};

		shape.resource_id = 1 + made;
		assert_int_equal(make_blob(1, 1 + made, SHM_BYTES, 0), PV_OK);
		put_create_ring(&words, made, &shape);
		result =
		    at_once(new_op(), renderer->ops->submit(renderer, next_op - 1, 1, words.word, 4 * words.count));
	}
	assert_int_equal(result, PV_ERR_GUEST);
	assert_int_equal(made, PV_VENUS_MAX_RINGS + 1);
	pv_venus_renderer_status(renderer, &st);
	assert_int_equal(st.nr_rings, PV_VENUS_MAX_RINGS);
	assert_int_equal(st.nr_lost, 1);
	renderer->ops->context_destroy(renderer, 1);
	/* The rings' memory is not theirs alone: the resources still live. */
	WAIT_FOR((pv_venus_renderer_status(renderer, &st), st.nr_ending == 0));
}

static void a_tail_too_far_is_fatal(void **state)
{
	(void)state;
	struct guest guest;
	struct words words = {0};

	start(&guest, 1);
	atomic_store(word_at(&guest, TAIL), RING_BYTES + 4);
	put_ring_command(&words, 190, guest.ring);
	put_u64(&words, 0);
	(void)submit(1, &words, NULL);
	WAIT_FOR(status(&guest) & PV_VENUS_RING_FATAL);
	assert_int_equal(head(&guest), 0);
	finish(&guest);
}

static void a_bad_command_loses_its_context_only(void **state)
{
	(void)state;
	struct guest bad, good;
	struct words words = {0};
	struct ring_shape shape = good_shape;
	uint8_t *second;

	start(&bad, 1);
	start(&good, 2);
	/* A second ring of the bad one's, asleep. */
	shape.resource_id = 7;
	assert_int_equal(make_blob(1, 7, SHM_BYTES, 0), PV_OK);
	second = map_blob(7, SHM_BYTES);
	put_create_ring(&words, 12345, &shape);
	assert_int_equal(submit(1, &words, NULL), PV_OK);
	WAIT_FOR(second[STATUS] & PV_VENUS_RING_IDLE);

	words.count = 0;
	put_fake(&words, FAKE_ADD, 0, 1);
	put_fake(&words, FAKE_FAIL, 0, 0xbad);
	put_fake(&words, FAKE_ADD, 0, 10);
	send(&bad, &words);
	WAIT_FOR(status(&bad) & PV_VENUS_RING_FATAL);
	WAIT_FOR(second[STATUS] & PV_VENUS_RING_FATAL);
	assert_int_equal(atomic_load(&sum), 1);
	/* The half-executed command is not published. */
	assert_int_equal(head(&bad), 12);
	words.count = 0;
	assert_int_equal(submit(1, &words, NULL), PV_ERR_GUEST);
	/* Its fences still signal; it can still be cleaned up. */
	renderer->ops->create_fence(renderer, 5, 1, 0);
	assert_true(fence_is_signalled(5));

	send_fake(&good, FAKE_ADD, 100);
	WAIT_FOR(head(&good) == good.tail);
	assert_int_equal(atomic_load(&sum), 101);
	munmap(second, SHM_BYTES);
	finish(&bad);
	finish(&good);
}

static void only_control_commands_in_the_control_stream(void **state)
{
	(void)state;
	static const uint32_t types[] = {0, 137, 180, 252, 18, 0xffffffff, FAKE_ADD};

	for (size_t i = 0; i < PV_ARRAY_LEN(types); i++) {
		struct words words = {0};

		make_context(1);
		put_fake(&words, types[i], 0, 0);
		assert_int_equal(submit(1, &words, NULL), PV_ERR_GUEST);
		renderer->ops->context_destroy(renderer, 1);
	}
	/* And none of those in a ring. */
	for (uint32_t type = 188; type <= 191; type++) {
		struct guest guest;
		struct words words = {0};

		start(&guest, 1);
		put_ring_command(&words, type, guest.ring);
		for (int i = 0; i < 6; i++)
			put(&words, 0);
		send(&guest, &words);
		WAIT_FOR(status(&guest) & PV_VENUS_RING_FATAL);
		finish(&guest);
		renderer->ops->resource_destroy(renderer, 100);
	}
	assert_int_equal(atomic_load(&sum), 0);
}

/* ---- The order between control stream and rings ---- */

static void the_control_stream_waits_for_a_ring(void **state)
{
	(void)state;
	struct guest guest, other;
	struct words words = {0}, empty = {0};
	uint64_t op, behind;

	start(&guest, 1);
	start(&other, 2);
	send_fake(&guest, FAKE_BLOCK, 0);
	send_fake(&guest, FAKE_ADD, 1);
	put_ring_command(&words, 253, guest.ring);
	put_u64(&words, guest.tail);
	put_ring_command(&words, 191, guest.ring);
	put_u64(&words, 0);
	put(&words, 77);
	assert_int_equal(submit(1, &words, &op), PV_PENDING);
	/* What follows keeps its place. */
	assert_int_equal(make_blob(1, 2, 4096, 0), PV_PENDING);
	assert_int_equal(submit(1, &empty, &behind), PV_PENDING);
	renderer->ops->create_fence(renderer, 9, 1, 0);
	/* Another context does not wait. */
	assert_int_equal(submit(2, &empty, NULL), PV_OK);
	renderer->ops->create_fence(renderer, 8, 2, 0);
	assert_true(fence_is_signalled(8));
	for (int i = 0; i < 10; i++)
		pv_loop_step(loop, 1000000);
	assert_false(fence_is_signalled(9));
	assert_int_equal(atomic_load(word_at(&guest, EXTRA)), 0);

	atomic_store(&gate, true);
	WAIT_FOR(fence_is_signalled(9));
	assert_int_equal(op_status[op - FIRST_OP], PV_OK);
	assert_int_equal(op_status[behind - FIRST_OP], PV_OK);
	assert_int_equal(atomic_load(word_at(&guest, EXTRA)), 77);
	assert_int_equal(atomic_load(&sum), 1);
	munmap(map_blob(2, 4096), 4096);

	/* One that has happened is no wait. */
	assert_int_equal(submit(1, &words, NULL), PV_OK);
	finish(&guest);
	finish(&other);
}

/* The same in a race, many times. */
static void no_progress_is_missed(void **state)
{
	(void)state;
	struct guest guest;

	start(&guest, 1);
	for (uint32_t i = 0; i < 3000; i++) {
		struct words words = {0};
		uint64_t op;

		for (uint32_t j = 0; j < 1 + i % 5; j++)
			put_fake(&words, FAKE_ADD, 0, 1);
		send(&guest, &words);
		words.count = 0;
		put_ring_command(&words, 253, guest.ring);
		put_u64(&words, guest.tail);
		next_op = FIRST_OP;
		if (submit(1, &words, &op) == PV_PENDING)
			WAIT_FOR(op_status[op - FIRST_OP] == PV_OK);
		assert_int_equal(head(&guest), guest.tail);
	}
	finish(&guest);
}

static void a_wait_that_cannot_end_is_fatal(void **state)
{
	(void)state;
	struct guest guest;
	struct words words = {0};
	uint64_t op;

	start(&guest, 1);
	WAIT_FOR(status(&guest) & PV_VENUS_RING_IDLE);
	put_ring_command(&words, 253, guest.ring);
	put_u64(&words, 400);
	assert_int_equal(submit(1, &words, &op), PV_PENDING);
	WAIT_FOR(op_status[op - FIRST_OP] != PV_PENDING);
	assert_int_equal(op_status[op - FIRST_OP], PV_ERR_GUEST);
	assert_true(status(&guest) & PV_VENUS_RING_FATAL);
	finish(&guest);

	/* Each waits for the other. */
	start(&guest, 2);
	words.count = 0;
	put(&words, 252);
	put(&words, 0);
	put_u64(&words, 1);
	send(&guest, &words);
	words.count = 0;
	put_ring_command(&words, 253, guest.ring);
	put_u64(&words, guest.tail);
	assert_int_equal(submit(2, &words, &op), PV_PENDING);
	WAIT_FOR(op_status[op - FIRST_OP] != PV_PENDING);
	assert_int_equal(op_status[op - FIRST_OP], PV_ERR_GUEST);
	finish(&guest);
}

static void a_ring_waits_for_the_control_stream(void **state)
{
	(void)state;
	struct guest guest;
	struct words words = {0};

	start(&guest, 1);
	put(&words, 252);
	put(&words, 0);
	put_u64(&words, 3);
	put_fake(&words, FAKE_ADD, 0, 1);
	send(&guest, &words);
	for (uint64_t seqno = 1; seqno <= 3; seqno++) {
		usleep(5000);
		assert_int_equal(atomic_load(&sum), 0);
		words.count = 0;
		put_ring_command(&words, 251, guest.ring);
		put_u64(&words, seqno);
		assert_int_equal(submit(1, &words, NULL), PV_OK);
	}
	WAIT_FOR(head(&guest) == guest.tail);
	assert_int_equal(atomic_load(&sum), 1);
	finish(&guest);
}

static void a_ring_is_destroyed_in_order(void **state)
{
	(void)state;
	struct guest guest;
	struct words words = {0};
	struct pv_venus_renderer_status st;
	uint64_t op;

	start(&guest, 1);
	send_fake(&guest, FAKE_BLOCK, 0);
	WAIT_FOR(atomic_load(&blocking));
	put_ring_command(&words, 189, guest.ring);
	/* It ends at once where it can: the fake looks at should_stop(). */
	(void)submit(1, &words, &op);
	renderer->ops->create_fence(renderer, 1, 1, 0);
	WAIT_FOR(fence_is_signalled(1));
	assert_int_equal(op_status[op - FIRST_OP], PV_OK);
	pv_venus_renderer_status(renderer, &st);
	assert_int_equal(st.nr_rings, 0);
	assert_int_equal(st.nr_lost, 0);
	assert_false(status(&guest) & PV_VENUS_RING_FATAL);
	/* A new one may have the same name and memory. */
	memset(guest.shm, 0, SHM_BYTES);
	words.count = 0;
	struct ring_shape shape = good_shape;
	shape.resource_id = 100;
	put_create_ring(&words, guest.ring, &shape);
	assert_int_equal(submit(1, &words, NULL), PV_OK);
	guest.tail = 0;
	send_fake(&guest, FAKE_ADD, 5);
	WAIT_FOR(head(&guest) == guest.tail);
	assert_int_equal(atomic_load(&sum), 5);

	/* Unknown rings. */
	words.count = 0;
	put_ring_command(&words, 189, 4711);
	assert_int_equal(submit(1, &words, NULL), PV_ERR_GUEST);
	finish(&guest);
}

/* ---- Ends ---- */

static void a_context_ends_at_any_moment(void **state)
{
	(void)state;
	struct pv_venus_renderer_status st;

	for (uint32_t round = 0; round < 20; round++) {
		struct guest guest;
		struct words words = {0};
		uint64_t op;

		next_op = FIRST_OP;
		nr_fences = 0;
		start(&guest, 1);
		if (round % 2) {
			send_fake(&guest, FAKE_BLOCK, 0);
		} else {
			put(&words, 252);
			put(&words, 0);
			put_u64(&words, 1);
			send(&guest, &words);
			words.count = 0;
		}
		send_fake(&guest, FAKE_ADD, 1);
		if (round % 4 < 2) {
			put_ring_command(&words, 189, guest.ring);
			(void)submit(1, &words, &op);
		} else if (round % 2) {
			put_ring_command(&words, 253, guest.ring);
			put_u64(&words, guest.tail);
			assert_int_equal(submit(1, &words, &op), PV_PENDING);
			(void)make_blob(1, 9, 4096, 0);
		} else {
			(void)submit(1, &words, &op);
		}
		renderer->ops->create_fence(renderer, 3, 1, 0);
		if (round % 3)
			renderer->ops->resource_destroy(renderer, 100);
		finish(&guest);
		/* All is answered, the id is free. */
		assert_int_not_equal(op_status[op - FIRST_OP], PV_PENDING);
		assert_true(fence_is_signalled(3));
		make_context(1);
		renderer->ops->context_destroy(renderer, 1);
		if (round % 3 == 0)
			renderer->ops->resource_destroy(renderer, 100);
	}
	WAIT_FOR((pv_venus_renderer_status(renderer, &st), st.nr_ending == 0));
	assert_int_equal(st.nr_contexts, 0);
}

static void a_reset_forgets_everything(void **state)
{
	(void)state;
	struct guest guest;
	struct words words = {0};

	start(&guest, 1);
	send_fake(&guest, FAKE_BLOCK, 0);
	put_ring_command(&words, 253, guest.ring);
	put_u64(&words, guest.tail);
	assert_int_equal(submit(1, &words, NULL), PV_PENDING);
	renderer->ops->create_fence(renderer, 3, 1, 0);
	renderer->ops->reset(renderer);
	assert_int_equal(nr_fences, 0);
	munmap(guest.shm, SHM_BYTES);
	/* The same ids again. */
	start(&guest, 1);
	send_fake(&guest, FAKE_ADD, 1);
	WAIT_FOR(head(&guest) == guest.tail);
	finish(&guest);
}

/* ---- Blobs, fences, capability sets ---- */

static void blobs(void **state)
{
	(void)state;
	struct pv_venus_renderer_status st;
	struct guest guest;
	int fd;

	start(&guest, 1);
	assert_int_equal(make_blob(9, 10, 4096, 0), PV_ERR_GUEST);
	assert_int_equal(make_blob(1, 10, 0, 0), PV_ERR_GUEST);
	assert_int_equal(make_blob(1, 0, 4096, 0), PV_ERR_GUEST);
	assert_int_equal(make_blob(1, 10, UINT64_C(1) << 40, 0), PV_ERR_NO_MEMORY);
	assert_int_equal(make_blob(1, 10, UINT64_MAX, 0), PV_ERR_NO_MEMORY);
	assert_int_equal(make_blob(1, 10, 131268, 0), PV_OK);
	assert_int_equal(make_blob(1, 10, 4096, 0), PV_ERR_GUEST);
	/* Memory that could not be made, or is still to be: the client gets memory of its own. */
	assert_int_equal(make_blob(1, 11, 4096, 555), PV_OK);
	munmap(map_blob(11, 4096), 4096);
	/* The limit is on the sum, and comes back. */
	assert_int_equal(make_blob(1, 12, 60 << 20, 0), PV_OK);
	assert_int_equal(make_blob(1, 13, 8 << 20, 0), PV_ERR_NO_MEMORY);
	pv_venus_renderer_status(renderer, &st);
	assert_int_equal(st.shm_bytes, SHM_BYTES + 131268 + 4096 + (60 << 20));
	renderer->ops->resource_destroy(renderer, 12);
	assert_int_equal(make_blob(1, 13, 8 << 20, 0), PV_OK);
	assert_int_equal(renderer->ops->blob_export(renderer, 99, &fd), PV_ERR_UNSUPPORTED);
	/* Attaching is idempotent, and needs a context and a resource. */
	assert_int_equal(renderer->ops->context_attach(renderer, new_op(), 1, 10), PV_OK);
	assert_int_equal(renderer->ops->context_attach(renderer, new_op(), 1, 99), PV_ERR_GUEST);
	assert_int_equal(renderer->ops->context_attach(renderer, new_op(), 9, 10), PV_ERR_GUEST);
	make_context(2);
	assert_int_equal(renderer->ops->context_attach(renderer, new_op(), 2, 10), PV_OK);
	renderer->ops->context_detach(renderer, 2, 10);
	renderer->ops->context_detach(renderer, 2, 10);
	finish(&guest);
	/* Blobs outlive their context. */
	munmap(map_blob(13, 4096), 4096);
	renderer->ops->resource_destroy(renderer, 13);
	renderer->ops->context_destroy(renderer, 2);
}

static void fences_always_come(void **state)
{
	(void)state;
	uint64_t ids[] = {1, 2, 3, 4};

	renderer->ops->create_fence(renderer, ids[0], 77, 0); /* no such context */
	make_context(1);
	renderer->ops->create_fence(renderer, ids[1], 1, 0);
	renderer->ops->create_fence(renderer, ids[2], 1, 5); /* no queue is bound */
	renderer->ops->create_fence(renderer, ids[3], 1, 500);
	assert_int_equal(nr_fences, 4);
	assert_memory_equal(fences, ids, sizeof(ids));
	renderer->ops->context_destroy(renderer, 1);
}

static void capability_sets(void **state)
{
	(void)state;
	struct pv_capset_info info;
	uint8_t bytes[200];
	uint32_t words[40];
	size_t len = sizeof(bytes);

	assert_true(renderer->ops->capset_info(renderer, 0, &info));
	assert_int_equal(info.id, 4);
	assert_int_equal(info.max_size_bytes, 160);
	assert_false(renderer->ops->capset_info(renderer, 1, &info));
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(renderer->ops->capset(renderer, 4, 0, bytes, &len), PV_OK);
	assert_int_equal(len, 160);
	assert_int_equal(bytes[160], 0xee);
	memcpy(words, bytes, 160);
	assert_int_equal(words[0], 1);
	assert_true(words[1] >= 0x00401000);
	assert_int_equal(words[4], 1);
	assert_true(words[5] & 1);
	assert_int_equal(words[37] + words[38] + words[39], 2);
	len = 20;
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(renderer->ops->capset(renderer, 4, 0, bytes, &len), PV_OK);
	assert_int_equal(bytes[20], 0xee);
	assert_int_equal(renderer->ops->capset(renderer, 2, 0, bytes, &len), PV_ERR_GUEST);
	assert_int_equal(renderer->ops->context_create(renderer, new_op(), 1, 2, ""), PV_ERR_UNSUPPORTED);
}

static void monitored_rings_are_alive(void **state)
{
	(void)state;
	struct guest guest;
	struct ring_shape shape = good_shape;

	shape.has_monitor = true;
	shape.monitor_us = 1; /* taken for 50 ms */
	start_shaped(&guest, 1, &shape);
	/* Also while its thread is busy, and after the guest took the bit away. */
	send_fake(&guest, FAKE_BLOCK, 0);
	WAIT_FOR(atomic_load(&blocking));
	for (int i = 0; i < 3; i++) {
		WAIT_FOR(status(&guest) & PV_VENUS_RING_ALIVE);
		atomic_fetch_and(word_at(&guest, STATUS), ~PV_VENUS_RING_ALIVE);
		assert_false(status(&guest) & PV_VENUS_RING_ALIVE);
	}
	finish(&guest);
}

/* ---- What it costs: PVGPU_BENCH=1 ---- */

static void cost(void **state)
{
	(void)state;
	enum { ROUNDS = 20000 };
	static const uint64_t pauses_ns[] = {0, 20000, 200000, 500000};
	struct guest guest;
	struct words words = {0};
	uint64_t start_ns, took_ns;

	if (!getenv("PVGPU_BENCH"))
		skip();
	start(&guest, 1);
	assert_int_equal(make_blob(1, 2, 4096, 0), PV_OK);
	put_set_reply(&words, 2, 0, 64);
	put_fake(&words, FAKE_ADD, 1, 1);
	for (size_t p = 0; p < PV_ARRAY_LEN(pauses_ns); p++) {
		uint32_t rounds = pauses_ns[p] ? 1000 : ROUNDS;
		struct rusage before, after;

		took_ns = 0;
		getrusage(RUSAGE_SELF, &before);
		for (uint32_t i = 0; i < rounds; i++) {
			start_ns = pv_now_ns();
			while (pauses_ns[p] >= 100000 && pv_now_ns() - start_ns < 1000)
				;
			if (pauses_ns[p] >= 100000)
				usleep((useconds_t)(pauses_ns[p] / 1000));
			else
				while (pv_now_ns() - start_ns < pauses_ns[p])
					;
			start_ns = pv_now_ns();
			next_op = FIRST_OP;
			send(&guest, &words);
			while (head(&guest) != guest.tail)
				sched_yield();
			took_ns += pv_now_ns() - start_ns;
		}
		getrusage(RUSAGE_SELF, &after);
		printf("# round trip, %llu us apart: %.2f us; %.1f context switches each\n",
		       (unsigned long long)pauses_ns[p] / 1000, (double)took_ns / rounds / 1000,
		       (double)(after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw) / rounds);
	}
	for (uint32_t i = 0; i < 200; i++) {
		WAIT_FOR(status(&guest) & PV_VENUS_RING_IDLE);
		start_ns = pv_now_ns();
		next_op = FIRST_OP;
		send(&guest, &words);
		while (head(&guest) != guest.tail)
			sched_yield();
		took_ns = i ? took_ns + pv_now_ns() - start_ns : 0;
	}
	printf("# round trip from idle: %.2f us\n", (double)took_ns / 199 / 1000);
	words.count = 0;
	for (uint32_t i = 0; i < 64; i++)
		put_fake(&words, FAKE_ADD, 0, 1);
	start_ns = pv_now_ns();
	for (uint32_t i = 0; i < 20000; i++)
		send(&guest, &words);
	while (head(&guest) != guest.tail)
		;
	printf("# one of many commands: %.2f ns\n", (double)(pv_now_ns() - start_ns) / 20000 / 64);
	finish(&guest);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(commands_are_executed_in_order),
	    TEST(idle_rings_sleep_and_are_woken),
	    TEST(no_wake_up_is_lost),
	    TEST(a_late_notification_keeps_it_awake),
	    TEST(a_tail_that_comes_late_is_seen),
	    TEST(replies),
	    TEST(a_guest_that_asks_again_is_answered_later),
	    TEST(nested_streams),
	    TEST(nested_streams_of_bad_guests),
	    TEST(bad_rings_are_refused),
	    TEST(there_is_a_limit_of_rings),
	    TEST(a_tail_too_far_is_fatal),
	    TEST(a_bad_command_loses_its_context_only),
	    TEST(only_control_commands_in_the_control_stream),
	    TEST(the_control_stream_waits_for_a_ring),
	    TEST(no_progress_is_missed),
	    TEST(a_wait_that_cannot_end_is_fatal),
	    TEST(a_ring_waits_for_the_control_stream),
	    TEST(a_ring_is_destroyed_in_order),
	    TEST(a_context_ends_at_any_moment),
	    TEST(a_reset_forgets_everything),
	    TEST(blobs),
	    TEST(fences_always_come),
	    TEST(capability_sets),
	    TEST(monitored_rings_are_alive),
	    TEST(cost),
	};
#undef TEST

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}

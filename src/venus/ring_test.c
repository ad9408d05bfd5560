/* SPDX-License-Identifier: MIT */
/* One ring after the other: what a guest writes there, and what it must not. */
#include <sys/resource.h>

#include "venus/small_guest.h"

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
	    TEST(monitored_rings_are_alive),
	    TEST(cost),
	};
#undef TEST

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}

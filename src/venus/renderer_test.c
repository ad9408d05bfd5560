/* SPDX-License-Identifier: MIT */
/* What is between rings, control stream, contexts and blobs. */
#include "venus/small_guest.h"

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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
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
	};
#undef TEST

	return cmocka_run_group_tests_name("renderer", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Both ends of a worker, and each against an end that is not one. */
#include "worker/worker_test.h"

static void ops_are_answered(void **state)
{
	struct world world;
	struct pv_capset_info info;
	struct pv_worker_client_status status;
	uint8_t bytes[512];
	size_t len = sizeof(bytes);

	(void)state;
	world_start(&world);
	struct pv_renderer *r = world.renderer;

	pv_worker_client_status(r, &status);
	assert_string_equal(status.device, "a?device");
	assert_int_equal(status.restarts, 0);
	assert_true(r->ops->capset_info(r, 1, &info));
	assert_int_equal(info.id, 5);
	assert_false(r->ops->capset_info(r, 2, &info));
	assert_int_equal(r->ops->capset(r, 5, 1, bytes, &len), PV_OK);
	assert_int_equal(len, 160);
	assert_int_equal(bytes[159], 0x51);
	assert_int_equal(r->ops->capset(r, 5, 2, bytes, &len), PV_ERR_GUEST);
	assert_null(r->ops->transfer_3d);

	assert_int_equal(make_context(&world, 1, 1), PV_OK);
	assert_int_equal(make_context(&world, 2, FAILS), PV_ERR_NO_MEMORY);
	r->ops->context_destroy(r, FAILS);
	assert_int_equal(make_blob(&world, 3, 10, 8192), PV_OK);
	assert_memory_equal(world.window + 8192, "mapped", 6);
	r->ops->create_fence(r, 1, 1, 0);
	assert_int_equal(r->ops->blob_unmap(r, 5, 10), PV_PENDING);
	wait_for(&world, &world.answers[5]);
	assert_int_equal(world.answers[5], PV_OK);
	assert_true(world.fences[1]);
	r->ops->resource_destroy(r, 10);

	/* Nobody waits: what the old blob left there is gone before the next one has the range. */
	assert_int_equal(make_blob(&world, 6, 11, 0), PV_OK);
	assert_int_equal(r->ops->blob_unmap(r, 0, 11), PV_OK);
	r->ops->resource_destroy(r, 11);
	assert_int_equal(make_context(&world, 8, 2), PV_OK);
	assert_int_equal(world.window[0], 0);
	/* The same with an unmap under way. */
	assert_int_equal(make_blob(&world, 10, 11, 0), PV_OK);
	assert_int_equal(r->ops->blob_unmap(r, 12, 11), PV_PENDING);
	assert_int_equal(r->ops->blob_unmap(r, 0, 11), PV_OK);
	r->ops->resource_destroy(r, 11);
	r->ops->context_destroy(r, 2);
	assert_int_equal(make_context(&world, 13, 2), PV_OK);
	assert_int_equal(world.window[0], 0);
	assert_int_equal(r->ops->context_memory_bytes(r, 2), 0);
	assert_int_equal(make_context(&world, 9, 3), PV_OK);
	assert_int_equal(r->ops->context_memory_bytes(r, 2), 2000);
	world_end(&world);
}

/* A fence of a context's own timeline is asked for only if something new was asked of the context. */
static void settled_contexts_signal_at_once(void **state)
{
	struct world world;

	(void)state;
	world_start(&world);
	struct pv_renderer *r = world.renderer;

	assert_int_equal(make_context(&world, 1, 1), PV_OK);
	r->ops->create_fence(r, 1, 1, 0);
	assert_false(world.fences[1]);
	assert_int_equal(r->ops->submit(r, 2, 1, "x", 1), PV_PENDING);
	/* This one follows the submit, the first does not. */
	r->ops->create_fence(r, 2, 1, 0);
	r->ops->finish_batch(r);
	wait_for(&world, &world.answers[2]);
	assert_int_equal(make_context(&world, 3, 2), PV_OK);
	assert_true(world.fences[1] && world.fences[2]);
	assert_int_equal(r->ops->submit(r, 4, 1, "", 0), PV_OK);
	r->ops->create_fence(r, 3, 1, 0);
	assert_true(world.fences[3]);
	/* Other timelines have work that is not asked for by ops. */
	r->ops->create_fence(r, 4, 1, 1);
	assert_false(world.fences[4]);
	assert_int_equal(r->ops->submit(r, 5, 1, "x", 1), PV_PENDING);
	r->ops->create_fence(r, 5, 1, 0);
	assert_false(world.fences[5]);

	/* What is known of a context is not true of the next one of its id. */
	r->ops->context_destroy(r, 1);
	assert_int_equal(r->ops->context_create(r, 6, 1, 4, "test"), PV_PENDING);
	r->ops->finish_batch(r);
	wait_for(&world, &world.answers[6]);
	assert_true(world.fences[4] && world.fences[5]);
	r->ops->create_fence(r, 6, 1, 0);
	assert_false(world.fences[6]);
	world_end(&world);
}

static void ends_of_contexts_answer(void **state)
{
	struct world world;

	(void)state;
	world_start(&world);
	struct pv_renderer *r = world.renderer;

	assert_int_equal(r->ops->context_create(r, 1, PENDS, 4, "test"), PV_PENDING);
	assert_int_equal(r->ops->submit(r, 2, PENDS, "x", 1), PV_PENDING);
	r->ops->create_fence(r, 1, PENDS, 0);
	r->ops->context_destroy(r, PENDS);
	assert_int_equal(world.answers[1], PV_ERR_GUEST);
	assert_int_equal(world.answers[2], PV_ERR_GUEST);
	assert_int_equal(r->ops->submit(r, 3, PENDS, "x", 1), PV_ERR_GUEST);
	/* Its id is free at once; late answers find nothing. */
	assert_int_equal(make_context(&world, 4, 1), PV_OK);
	assert_int_equal(r->ops->submit(r, 5, 1, "D", 1), PV_PENDING);
	wait_for(&world, &world.answers[5]);
	assert_true(world.fences[1]);
	/* After a reset nothing old is reported. */
	assert_int_equal(r->ops->context_create(r, 6, PENDS, 4, "test"), PV_PENDING);
	r->ops->reset(r);
	assert_int_equal(make_context(&world, 7, 1), PV_OK);
	assert_int_equal(world.answers[6], PV_PENDING);
	world_end(&world);
}

static void a_death_answers_all(void **state)
{
	const char leave[] = {'L', 10};
	struct pv_worker_client_status status;
	struct world world;
	int fd;

	(void)state;
	world_start(&world);
	struct pv_renderer *r = world.renderer;

	assert_int_equal(make_context(&world, 1, 1), PV_OK);
	assert_int_equal(make_blob(&world, 2, 10, 4096), PV_OK);
	assert_int_equal(make_blob(&world, 20, 12, 0), PV_OK);
	assert_int_equal(r->ops->submit(r, 4, 1, leave, 2), PV_PENDING);
	wait_for(&world, &world.answers[4]);
	/* What waits: an op, a fence, an unmap, and one that was not even sent. */
	assert_int_equal(make_blob(&world, 5, 11, 16384), PV_OK);
	assert_int_equal(r->ops->context_create(r, 7, PENDS, 4, "test"), PV_PENDING);
	r->ops->create_fence(r, 1, 1, PENDS);
	assert_int_equal(r->ops->context_attach(r, 8, 1, 11), PV_PENDING);
	wait_for(&world, &world.answers[8]);
	assert_int_equal(world.answers[7], PV_PENDING);
	assert_int_equal(r->ops->blob_unmap(r, 9, 11), PV_PENDING);
	die(&world);
	assert_int_equal(world.answers[7], PV_ERR_HOST);
	assert_int_equal(world.answers[9], PV_OK);
	assert_true(world.fences[1]);
	assert_int_equal(world.window[4096 + 64], 2);

	/* The old ones can be ended, and do nothing else. */
	assert_int_equal(r->ops->submit(r, 10, 1, "x", 1), PV_ERR_GUEST);
	r->ops->create_fence(r, 2, 1, 1);
	assert_true(world.fences[2]);
	assert_int_equal(r->ops->blob_unmap(r, 11, 10), PV_OK);
	assert_memory_equal(world.window, "mapped", 6);
	assert_int_equal(r->ops->blob_unmap(r, 0, 12), PV_OK);
	assert_int_equal(world.window[0], 0);
	r->ops->resource_destroy(r, 12);
	assert_int_equal(r->ops->blob_export(r, 10, &fd), PV_ERR_UNSUPPORTED);
	r->ops->resource_destroy(r, 10);
	r->ops->resource_destroy(r, 11);
	r->ops->context_destroy(r, 1);
	r->ops->context_destroy(r, PENDS);
	/* And the new worker knows the window. */
	assert_int_equal(make_context(&world, 12, 1), PV_OK);
	assert_int_equal(make_blob(&world, 13, 10, 4096), PV_OK);
	pv_worker_client_status(r, &status);
	assert_int_equal(status.restarts, 1);
	assert_int_equal(status.pid, 4711);
	world_end(&world);
}

static void one_that_hangs_is_ended(void **state)
{
	struct world world;

	(void)state;
	world_start(&world);
	struct pv_renderer *r = world.renderer;

	assert_int_equal(make_context(&world, 1, 1), PV_OK);
	r->ops->create_fence(r, 1, 1, PENDS);
	hang_is_over = false;
	assert_int_equal(r->ops->submit(r, 2, 1, "H", 1), PV_PENDING);
	r->ops->finish_batch(r);
	wait_for_the_next(&world);
	assert_int_equal(world.answers[2], PV_ERR_HOST);
	assert_true(world.fences[1]);
	assert_int_equal(make_context(&world, 3, 2), PV_OK);
	world_end(&world);
}

/* The GPU may work for as long as it likes. */
static void one_with_long_work_is_not(void **state)
{
	struct world world;
	uint64_t end_ns;

	(void)state;
	world_start(&world);
	struct pv_renderer *r = world.renderer;

	assert_int_equal(make_context(&world, 1, 1), PV_OK);
	r->ops->create_fence(r, 1, 1, PENDS);
	assert_int_equal(r->ops->context_create(r, 2, PENDS, 4, "test"), PV_PENDING);
	r->ops->finish_batch(r);
	end_ns = pv_now_ns() + 10 * WATCH_NS;
	while (pv_now_ns() < end_ns)
		pv_loop_step(world.loop, STEP_NS);
	assert_int_equal(world.started, 1);
	assert_int_equal(world.answers[2], PV_PENDING);
	assert_false(world.fences[1]);
	world_end(&world);
}

static void nothing_to_draw_with(void **state)
{
	struct pv_worker_client_params params;
	struct world world;

	(void)state;
	world_init(&world, false);
	params = client_params(&world, "none");
	assert_int_equal(pv_worker_client_create(&params, &world.renderer), PV_ERR_UNSUPPORTED);
	world_end(&world);
}

/* ---- An end that is none ---- */

static void *say(void *user)
{
	struct world *world = user;
	uint8_t ignored[4096];

	while (world->own_end < 0)
		usleep(1000);
	(void)!read(world->own_end, ignored, sizeof(ignored));
	(void)!write(world->own_end, world->words, world->words_len);
	return NULL;
}

static void impostors_are_not_believed(void **state)
{
	static const struct {
		struct pv_worker_header header;
		uint64_t payload[4];
	} lies[] = {
	    {{0, 0, 0}, {0}},
	    {{7, PV_WORKER_DONE, 0}, {0}},
	    {{UINT32_MAX & ~7u, PV_WORKER_DONE, 0}, {0}},
	    {{24, PV_WORKER_DONE, 1}, {0}},
	    {{24, PV_WORKER_DONE, 0}, {0, PV_PENDING}},
	    {{16, PV_WORKER_DONE, 0}, {0}},
	    {{16, PV_WORKER_READY, 0}, {1}},
	    {{16, PV_WORKER_CAPSET, 0}, {1}},
	    {{40, PV_WORKER_CAPSET, 0}, {1, UINT64_MAX, UINT64_MAX}},
	    {{8, PV_WORKER_NR_EVENTS, 0}, {0}},
	};

	(void)state;
	for (size_t i = 0; i < PV_ARRAY_LEN(lies); i++) {
		struct pv_worker_client_params params;
		struct world world;
		pthread_t thread;

		world_init(&world, true);
		params = client_params(&world, "fake");
		world.words = &lies[i];
		world.words_len = sizeof(lies[i]);
		assert_int_equal(pthread_create(&thread, NULL, say, &world), 0);
		assert_int_equal(pv_worker_client_create(&params, &world.renderer), PV_ERR_HOST);
		pthread_join(thread, NULL);
		world.renderer = NULL;
		pv_loop_destroy(world.loop);
		munmap(world.window, WINDOW_BYTES);
		close(world.window_fd);
	}
}

static void a_silent_one_is_given_up(void **state)
{
	struct pv_worker_client_params params;
	struct world world;

	(void)state;
	world_init(&world, true);
	params = client_params(&world, "fake");
	params.start_timeout_ns = UINT64_C(50000000);
	assert_int_equal(pv_worker_client_create(&params, &world.renderer), PV_ERR_HOST);
	world.renderer = NULL;
	pv_loop_destroy(world.loop);
	munmap(world.window, WINDOW_BYTES);
	close(world.window_fd);
}

/* What a server does with one message after its HELLO. */
static enum pv_status serve_message(uint16_t type, size_t len, const void *payload, bool with_hello)
{
	struct pv_worker_channel channel;
	struct pv_worker_hello *hello;
	struct pv_loop *loop;
	enum pv_status status;
	int fds[2];
	void *message;

	assert_int_equal(pv_loop_create(&loop), PV_OK);
	assert_int_equal(pv_socket_pair(fds), PV_OK);
	pv_worker_channel_init(&channel, fds[0]);
	if (with_hello) {
		hello = pv_worker_channel_put(&channel, PV_WORKER_HELLO, sizeof(*hello), -1);
		hello->version = PV_WORKER_VERSION;
	}
	message = pv_worker_channel_put(&channel, type, len, -1);
	assert_non_null(message);
	memcpy(message, payload, len);
	assert_int_equal(pv_worker_channel_flush(&channel), PV_OK);
	shutdown(channel.fd, SHUT_WR);
	status = pv_worker_serve(loop, fds[1], &(struct pv_worker_maker){.make = make_fake});
	pv_worker_channel_finish(&channel);
	pv_loop_destroy(loop);
	return status;
}

static void servers_check_sizes(void **state)
{
	const struct pv_worker_submit long_one = {.ctx_id = 1, .len_bytes = 100};
	const struct pv_worker_attach_backing many = {.resource_id = 1, .nr_spans = UINT32_MAX};
	const struct pv_worker_memory much = {.nr_parts = UINT64_MAX / 16};
	const struct pv_worker_window window = {.size_bytes = WINDOW_BYTES};
	struct pv_worker_context_create nameless = {.ctx_id = 1, .capset_id = 4};
	const struct pv_worker_ids ids = {.token = 1, .ctx_id = 1};
	struct pv_worker_transfer_3d transfer = {0};

	(void)state;
	memset(nameless.name, 'x', sizeof(nameless.name));
	memset(&transfer.transfer.to_guest, 2, 1);
	assert_int_equal(serve_message(PV_WORKER_SUBMIT, sizeof(long_one), &long_one, true), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_ATTACH_BACKING, sizeof(many), &many, true), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_MEMORY, sizeof(much), &much, true), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_WINDOW, sizeof(window), &window, true), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_CONTEXT_CREATE, sizeof(nameless), &nameless, true), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_TRANSFER_3D, sizeof(transfer), &transfer, true), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_NR_REQUESTS, 0, "", true), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_FENCE, 8, &ids, true), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_FENCE, sizeof(ids), &ids, false), PV_ERR_PEER);
	assert_int_equal(serve_message(PV_WORKER_FENCE, sizeof(ids), &ids, true), PV_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ops_are_answered),         cmocka_unit_test(settled_contexts_signal_at_once),
	    cmocka_unit_test(ends_of_contexts_answer),  cmocka_unit_test(a_death_answers_all),
	    cmocka_unit_test(nothing_to_draw_with),     cmocka_unit_test(impostors_are_not_believed),
	    cmocka_unit_test(a_silent_one_is_given_up), cmocka_unit_test(servers_check_sizes),
	    cmocka_unit_test(one_that_hangs_is_ended),  cmocka_unit_test(one_with_long_work_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

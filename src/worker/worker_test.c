/* SPDX-License-Identifier: MIT */
/*
 * Both ends of a worker, and each against an end that is not one. The worker is a thread here, so that a sanitizer sees
 * all of it; its renderer answers as the test says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/socket.h"
#include "gpu/protocol.h"
#include "worker/channel.h"
#include "worker/client.h"
#include "worker/server.h"

#define WINDOW_BYTES (2u << 20)
#define STEP_NS      UINT64_C(20000000)
#define PATIENCE_NS  UINT64_C(10000000000)
/* Six of them without a sign of life are a hang: long enough for a live one on a busy machine. */
#define WATCH_NS UINT64_C(200000000)

/* ---- A renderer: ids say what becomes of an op ---- */

enum { FAILS = 66, PENDS = 77 };

struct fake {
	struct pv_renderer base;
	int window_fd;
	uint64_t map_offset;
	uint64_t pending[64];
	size_t nr_pending;
	struct pv_frame *frame; /* of the last resource that was shown */
	struct pv_rect fetched;
	bool gives_dma_bufs; /* asked or not */
};

static struct fake *fake_of(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct fake, base);
}

static enum pv_status outcome(struct fake *fake, uint64_t op_id, uint32_t id)
{
	if (id == FAILS)
		return PV_ERR_NO_MEMORY;
	if (id != PENDS || fake->nr_pending == PV_ARRAY_LEN(fake->pending))
		return PV_OK;
	fake->pending[fake->nr_pending++] = op_id;
	return PV_PENDING;
}

static void fake_destroy(struct pv_renderer *renderer)
{
	free(fake_of(renderer));
}

static void fake_set_guest_map(struct pv_renderer *renderer, struct pv_guest_map *map)
{
	(void)renderer, (void)map;
}

static enum pv_status fake_resource_create(struct pv_renderer *renderer, uint64_t op_id,
					   const struct pv_resource_info *info)
{
	return outcome(fake_of(renderer), op_id, info->id);
}

static void fake_resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	(void)renderer, (void)resource_id;
}

static void fill(struct pv_frame *frame, const struct pv_rect *rect, uint8_t with)
{
	for (uint32_t y = rect->y; y < rect->y + rect->height; y++)
		memset(frame->pixels + (size_t)y * frame->stride_bytes + (size_t)rect->x * 4, with,
		       (size_t)rect->width * 4);
}

static void fake_refresh(struct pv_frame *frame, const struct pv_rect *stale)
{
	fill(frame, stale, 0x11);
}

static bool fake_fetch(struct pv_frame *frame, const struct pv_rect *stale)
{
	((struct fake *)frame->refresh_user)->fetched = *stale;
	return true;
}

static enum pv_status fake_set_frame(struct pv_renderer *renderer, uint32_t resource_id, struct pv_frame *frame)
{
	if (resource_id == FAILS)
		return PV_ERR_GUEST;
	fake_of(renderer)->frame = frame;
	frame->fetch = fake_fetch;
	frame->refresh = fake_refresh;
	frame->refresh_user = fake_of(renderer);
	if (fake_of(renderer)->gives_dma_bufs) {
		struct pv_dma_buf buf = {
		    .stride_bytes = 4 * resource_id, .fourcc = 5, .modifier = UINT64_C(6) << 40, .y_0_top = true};

		assert_int_equal(pv_shm_create("dma-buf", 4096 * (uint64_t)resource_id, &buf.fd), PV_OK);
		pv_frame_set_dma_buf(frame, &buf);
	}
	return PV_OK;
}

/* It was shown without a flush. */
static enum pv_status fake_get_frame(struct pv_renderer *renderer, uint32_t resource_id,
				     const struct pv_blob_layout *layout, struct pv_frame **out)
{
	(void)resource_id;
	assert_null(layout);
	*out = pv_frame_ref(fake_of(renderer)->frame);
	(*out)->stale = (struct pv_rect){.width = (*out)->width, .height = (*out)->height};
	return PV_OK;
}

static enum pv_status fake_update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
					const struct pv_rect *rect)
{
	(void)rect;
	return outcome(fake_of(renderer), op_id, resource_id);
}

static void fake_create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	(void)ctx_id;
	if (ring_idx != PENDS)
		renderer->events.fence_signalled(renderer->events.user, fence_id);
}

static void nothing(struct pv_renderer *renderer)
{
	(void)renderer;
}

static enum pv_status fake_set_window(struct pv_renderer *renderer, int fd, uint64_t size_bytes)
{
	fake_of(renderer)->window_fd = fd;
	return size_bytes == WINDOW_BYTES ? PV_OK : PV_ERR_HOST;
}

static bool fake_capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	(void)renderer;
	*out = (struct pv_capset_info){.id = 4 + index, .max_version = index, .max_size_bytes = 160};
	return index < 2;
}

static enum pv_status fake_capset(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
				  size_t *len_bytes)
{
	(void)renderer;
	*len_bytes = pv_min_u64(*len_bytes, 160);
	memset(buf, (int)(capset_id * 16 + version), *len_bytes);
	return PV_OK;
}

static enum pv_status fake_context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
					  uint32_t capset_id, const char *name)
{
	(void)capset_id;
	return strcmp(name, "crash") == 0 ? PV_ERR_GUEST : outcome(fake_of(renderer), op_id, ctx_id);
}

static void fake_context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	(void)renderer, (void)ctx_id;
}

static enum pv_status fake_context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
					  uint32_t resource_id)
{
	(void)ctx_id;
	return outcome(fake_of(renderer), op_id, resource_id);
}

static void fake_context_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id)
{
	(void)renderer, (void)ctx_id, (void)resource_id;
}

/* Set by whoever kills a worker. */
static _Atomic bool hang_is_over;

/* "L": leaves a last word in the resource that follows; "D": what pends is done; "F": so is the fetch; "H": hangs. */
static enum pv_status fake_submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
				  size_t len_bytes)
{
	struct fake *fake = fake_of(renderer);
	const char *text = commands;

	if (len_bytes >= 2 && text[0] == 'L')
		renderer->events.last_word(renderer->events.user, (uint32_t)text[1], 64, 2);
	while (len_bytes >= 1 && text[0] == 'H' && !hang_is_over)
		usleep(1000);
	while (len_bytes >= 1 && text[0] == 'D' && fake->nr_pending > 0)
		renderer->events.op_done(renderer->events.user, fake->pending[--fake->nr_pending], PV_OK);
	if (len_bytes >= 1 && text[0] == 'F') {
		fill(fake->frame, &fake->fetched, 0x22);
		pv_frame_fetched(fake->frame);
	}
	return outcome(fake, op_id, ctx_id);
}

/* Whoever looks there sees that it was mapped. */
static enum pv_status fake_blob_map(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				    uint64_t offset_bytes)
{
	struct fake *fake = fake_of(renderer);

	if (pwrite(fake->window_fd, "mapped", 6, (off_t)offset_bytes) != 6)
		return PV_ERR_HOST;
	fake->map_offset = offset_bytes;
	return outcome(fake, op_id, resource_id);
}

static enum pv_status fake_blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id)
{
	struct fake *fake = fake_of(renderer);

	if (op_id != 0)
		return outcome(fake, op_id, resource_id);
	pv_shm_punch(fake->window_fd, fake->map_offset, 4096);
	return PV_OK;
}

static uint64_t fake_memory_bytes(struct pv_renderer *renderer, uint32_t ctx_id)
{
	(void)renderer;
	return ctx_id * UINT64_C(1000);
}

static const struct pv_renderer_ops fake_ops = {
    .name = "fake",
    .destroy = fake_destroy,
    .set_guest_map = fake_set_guest_map,
    .resource_create = fake_resource_create,
    .resource_destroy = fake_resource_destroy,
    .get_frame = fake_get_frame,
    .set_frame = fake_set_frame,
    .update_frame = fake_update_frame,
    .create_fence = fake_create_fence,
    .finish_batch = nothing,
    .reset = nothing,
    .set_window = fake_set_window,
    .capset_info = fake_capset_info,
    .capset = fake_capset,
    .context_create = fake_context_create,
    .context_destroy = fake_context_destroy,
    .context_attach = fake_context_attach,
    .context_detach = fake_context_detach,
    .submit = fake_submit,
    .blob_map = fake_blob_map,
    .blob_unmap = fake_blob_unmap,
    .context_memory_bytes = fake_memory_bytes,
};

static enum pv_status make_fake(void *user, const struct pv_worker_hello *hello, struct pv_renderer **out,
				struct pv_worker_ready *out_ready)
{
	struct fake *fake;

	(void)user;
	if (strcmp(hello->renderers, "none") == 0)
		return PV_ERR_UNSUPPORTED;
	fake = calloc(1, sizeof(*fake));
	assert_non_null(fake);
	fake->base.ops = &fake_ops;
	fake->window_fd = -1;
	fake->gives_dma_bufs = strcmp(hello->renderers, "dma-buf") == 0;
	strcpy(out_ready->device, "a\tdevice");
	*out = &fake->base;
	return PV_OK;
}

/* ---- Workers that are threads, or nobody at all ---- */

struct world {
	struct pv_loop *loop;
	struct pv_renderer *renderer;
	int window_fd;
	uint8_t *window;
	bool nobody;         /* workers are the test's own end of the socket */
	_Atomic int own_end; /* of the last one of them */
	const void *words;
	size_t words_len;
	struct thread *last;
	uint32_t started;

	enum pv_status answers[256]; /* by op id; PV_PENDING: none came */
	bool fences[256];
};

struct thread {
	struct world *world;
	int fd, fd_to_cut; /* shutdown() there is the worker's death */
	pthread_t thread;
	bool has_thread;
	_Atomic bool gone;
	void (*ended)(void *user);
	void *user;
	struct pv_loop_task task;
};

static void run_ended(struct pv_loop_task *task)
{
	struct thread *thread = PV_CONTAINER_OF(task, struct thread, task);

	thread->ended(thread->user);
}

static void *serve(void *user)
{
	struct thread *thread = user;
	struct pv_loop *loop;
	enum pv_status status;

	assert_int_equal(pv_loop_create(&loop), PV_OK);
	status = pv_worker_serve(loop, thread->fd, &(struct pv_worker_maker){.make = make_fake});
	assert_true(status == PV_OK || status == PV_ERR_UNSUPPORTED);
	pv_loop_destroy(loop);
	pv_loop_post(thread->world->loop, &thread->task);
	return NULL;
}

static enum pv_status start(void *user, int take_fd, void (*ended)(void *user), void *ended_user, void **out)
{
	struct world *world = user;
	struct thread *thread = calloc(1, sizeof(*thread));

	*thread =
	    (struct thread){.world = world, .fd = take_fd, .ended = ended, .user = ended_user, .task.run = run_ended};
	thread->fd_to_cut = dup(take_fd);
	world->started++;
	if (world->nobody) {
		world->own_end = take_fd;
	} else {
		assert_int_equal(pthread_create(&thread->thread, NULL, serve, thread), 0);
		thread->has_thread = true;
	}
	*out = world->last = thread;
	return PV_OK;
}

static void kill_thread(void *worker)
{
	struct thread *thread = worker;

	hang_is_over = true;
	shutdown(thread->fd_to_cut, SHUT_RDWR);
	if (!thread->has_thread && !thread->gone) {
		thread->gone = true;
		pv_loop_post(thread->world->loop, &thread->task);
	}
}

static int64_t no_pid(void *worker)
{
	(void)worker;
	return 4711;
}

static void release(void *worker, char how[PV_WORKER_HOW_BYTES])
{
	struct thread *thread = worker;

	(void)snprintf(how, PV_WORKER_HOW_BYTES, "a thread's end");
	shutdown(thread->fd_to_cut, SHUT_RDWR);
	if (thread->has_thread)
		pthread_join(thread->thread, NULL);
	else
		close(thread->fd);
	pv_loop_cancel(thread->world->loop, &thread->task);
	close(thread->fd_to_cut);
	free(thread);
}

static void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	struct world *world = user;

	assert_true(op_id < PV_ARRAY_LEN(world->answers));
	assert_int_equal(world->answers[op_id], PV_PENDING);
	assert_int_not_equal(status, PV_PENDING);
	world->answers[op_id] = status;
}

static void fence_signalled(void *user, uint64_t fence_id)
{
	struct world *world = user;

	assert_false(world->fences[fence_id]);
	world->fences[fence_id] = true;
}

static void world_init(struct world *world, bool nobody)
{
	*world = (struct world){.nobody = nobody};
	atomic_init(&world->own_end, -1);
	for (size_t i = 0; i < PV_ARRAY_LEN(world->answers); i++)
		world->answers[i] = PV_PENDING;
	assert_int_equal(pv_loop_create(&world->loop), PV_OK);
	assert_int_equal(pv_shm_create("test", WINDOW_BYTES, &world->window_fd), PV_OK);
	world->window = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, world->window_fd, 0);
	assert_ptr_not_equal(world->window, MAP_FAILED);
}

static struct pv_worker_client_params client_params(struct world *world, const char *renderers)
{
	struct pv_worker_client_params params = {
	    .loop = world->loop,
	    .launcher = {.start = start, .kill = kill_thread, .pid = no_pid, .release = release, .user = world},
	    .start_timeout_ns = PATIENCE_NS,
	    .watch_interval_ns = WATCH_NS,
	};

	(void)snprintf(params.hello.renderers, sizeof(params.hello.renderers), "%s", renderers);
	return params;
}

static void world_start_with(struct world *world, const char *renderers, bool with_dma_bufs)
{
	struct pv_worker_client_params params;
	struct pv_renderer *r;

	world_init(world, false);
	params = client_params(world, renderers);
	params.hello.with_dma_bufs = with_dma_bufs;
	assert_int_equal(pv_worker_client_create(&params, &world->renderer), PV_OK);
	r = world->renderer;
	r->events = (struct pv_renderer_events){.op_done = op_done, .fence_signalled = fence_signalled, .user = world};
	assert_int_equal(r->ops->set_window(r, world->window_fd, WINDOW_BYTES), PV_OK);
}

static void world_start(struct world *world)
{
	world_start_with(world, "fake", false);
}

static void world_end(struct world *world)
{
	pv_renderer_destroy(world->renderer);
	pv_loop_destroy(world->loop);
	munmap(world->window, WINDOW_BYTES);
	close(world->window_fd);
}

static void wait_for(struct world *world, enum pv_status *answer)
{
	uint64_t deadline_ns = pv_now_ns() + PATIENCE_NS;

	world->renderer->ops->finish_batch(world->renderer);
	while (*answer == PV_PENDING && pv_now_ns() < deadline_ns)
		pv_loop_step(world->loop, STEP_NS);
	assert_int_not_equal(*answer, PV_PENDING);
}

static enum pv_status make_context(struct world *world, uint64_t op_id, uint32_t ctx_id)
{
	struct pv_renderer *r = world->renderer;

	assert_int_equal(r->ops->context_create(r, op_id, ctx_id, 4, "test"), PV_PENDING);
	wait_for(world, &world->answers[op_id]);
	return world->answers[op_id];
}

static enum pv_status make_blob(struct world *world, uint64_t op_id, uint32_t resource_id, uint64_t offset_bytes)
{
	struct pv_renderer *r = world->renderer;
	const struct pv_resource_info info = {.id = resource_id,
					      .kind = PV_RESOURCE_HOST_BLOB,
					      .size_bytes = 4096,
					      .ctx_id = 1,
					      .blob_flags = PV_BLOB_MAPPABLE};

	assert_int_equal(r->ops->resource_create(r, op_id, &info), PV_PENDING);
	assert_int_equal(r->ops->blob_map(r, op_id + 1, resource_id, offset_bytes), PV_PENDING);
	wait_for(world, &world->answers[op_id]);
	wait_for(world, &world->answers[op_id + 1]);
	return world->answers[op_id + 1];
}

static void wait_for_the_next(struct world *world)
{
	uint64_t deadline_ns = pv_now_ns() + PATIENCE_NS;
	uint32_t before = world->started;

	while (world->started == before && pv_now_ns() < deadline_ns)
		pv_loop_step(world->loop, STEP_NS);
	assert_int_equal(world->started, before + 1);
}

/* The next one is there at once, in the place of the first that dies. */
static void die(struct world *world)
{
	kill_thread(world->last);
	wait_for_the_next(world);
}

/* ---- Tests ---- */

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

/* ---- Pictures ---- */

struct looker {
	struct pv_frame_waiter waiter;
	enum pv_status told; /* PV_PENDING: not yet */
};

static void told(struct pv_frame_waiter *waiter)
{
	PV_CONTAINER_OF(waiter, struct looker, waiter)->told = PV_OK;
}

static struct pv_frame *show(struct world *world, uint64_t op_id, uint32_t resource_id)
{
	struct pv_renderer *r = world->renderer;
	const struct pv_resource_info info = {
	    .id = resource_id, .kind = PV_RESOURCE_3D, .format = PV_GPU_FORMAT_B8G8R8X8, .width = 16, .height = 16};
	struct pv_frame *frame;

	assert_int_equal(r->ops->resource_create(r, op_id, &info), PV_PENDING);
	assert_int_equal(r->ops->get_frame(r, resource_id, NULL, &frame), PV_OK);
	wait_for(world, &world->answers[op_id]);
	return frame;
}

static void flush(struct world *world, uint64_t op_id, uint32_t resource_id, const struct pv_rect *rect)
{
	struct pv_renderer *r = world->renderer;

	assert_int_equal(r->ops->update_frame(r, op_id, resource_id, rect), PV_PENDING);
	wait_for(world, &world->answers[op_id]);
}

static void submit(struct world *world, uint64_t op_id, const char *text)
{
	struct pv_renderer *r = world->renderer;

	assert_int_equal(r->ops->submit(r, op_id, 1, text, strlen(text)), PV_PENDING);
	wait_for(world, &world->answers[op_id]);
}

static uint8_t pixel(const struct pv_frame *frame, uint32_t x, uint32_t y)
{
	return frame->pixels[(size_t)y * frame->stride_bytes + (size_t)x * 4];
}

static void pictures_come_when_somebody_looks(void **state)
{
	const struct pv_rect part = {.x = 2, .y = 3, .width = 4, .height = 5};
	struct looker looker = {.waiter.ready = told, .told = PV_PENDING};
	struct pv_frame *frame, *other;
	struct world world;

	(void)state;
	world_start(&world);
	struct pv_renderer *r = world.renderer;

	assert_int_equal(make_context(&world, 1, 1), PV_OK);
	frame = show(&world, 2, 10);
	/* All of it, since it was not flushed. */
	assert_false(pv_frame_fetch(frame, &looker.waiter));
	submit(&world, 3, "x");
	assert_int_equal(looker.told, PV_PENDING);
	submit(&world, 4, "F");
	wait_for(&world, &looker.told);
	assert_int_equal(pixel(frame, 15, 15), 0x22);
	assert_true(pv_frame_fetch(frame, &looker.waiter));

	/* A flush fetches nothing; who looks then has what was flushed, and no more. */
	memset(frame->pixels, 0, frame->size_bytes);
	flush(&world, 5, 10, &part);
	looker.told = PV_PENDING;
	assert_false(pv_frame_fetch(frame, &looker.waiter));
	submit(&world, 6, "F");
	wait_for(&world, &looker.told);
	assert_int_equal(pixel(frame, 2, 3), 0x22);
	assert_int_equal(pixel(frame, 5, 7), 0x22);
	assert_int_equal(pixel(frame, 6, 7), 0);
	assert_int_equal(pixel(frame, 5, 8), 0);

	/* The last picture of one that goes, also while somebody waits. */
	looker.told = PV_PENDING;
	flush(&world, 7, 10, &part);
	assert_false(pv_frame_fetch(frame, &looker.waiter));
	flush(&world, 14, 10, &part);
	pv_frame_refresh(frame);
	r->ops->resource_destroy(r, 10);
	submit(&world, 8, "x");
	assert_int_equal(looker.told, PV_OK);
	assert_int_equal(pixel(frame, 2, 3), 0x11);
	pv_frame_unref(frame);

	/* Nobody waits for one that is gone, or was of a worker that is gone. */
	frame = show(&world, 9, 11);
	looker.told = PV_PENDING;
	assert_false(pv_frame_fetch(frame, &looker.waiter));
	r->ops->resource_destroy(r, 11);
	assert_int_equal(looker.told, PV_OK);
	pv_frame_unref(frame);
	frame = show(&world, 12, 12);
	looker.told = PV_PENDING;
	assert_false(pv_frame_fetch(frame, &looker.waiter));
	die(&world);
	assert_int_equal(looker.told, PV_OK);
	assert_int_equal(r->ops->get_frame(r, 12, NULL, &other), PV_ERR_HOST);
	assert_true(pv_frame_fetch(frame, &looker.waiter));
	r->ops->resource_destroy(r, 12);
	pv_frame_unref(frame);
	world_end(&world);
}

static void dma_bufs_come_along(void **state)
{
	enum { FIRST = PENDS + 1 };
	const struct pv_rect all = {.width = 16, .height = 16};
	struct pv_frame *frames[PV_DMA_BUF_MAX + 2];
	struct world world;
	uint64_t op_id = 1;

	(void)state;
	world_start_with(&world, "dma-buf", true);
	struct pv_renderer *r = world.renderer;

	for (uint32_t i = 0; i < PV_ARRAY_LEN(frames); i++) {
		/* Room for the last one. */
		if (i == PV_DMA_BUF_MAX + 1)
			r->ops->resource_destroy(r, FIRST);
		frames[i] = show(&world, op_id++, FIRST + i);
		flush(&world, op_id++, FIRST + i, &all);
		if (i == PV_DMA_BUF_MAX) {
			assert_null(frames[i]->dma_buf);
			continue;
		}
		const struct pv_dma_buf *buf = frames[i]->dma_buf;
		struct stat file;

		assert_non_null(buf);
		assert_int_equal(fstat(buf->fd, &file), 0);
		assert_int_equal(file.st_size, 4096 * (FIRST + i));
		assert_int_equal(buf->width, 16);
		assert_int_equal(buf->height, 16);
		assert_int_equal(buf->stride_bytes, 4 * (FIRST + i));
		assert_int_equal(buf->fourcc, 5);
		assert_int_equal(buf->modifier, UINT64_C(6) << 40);
		assert_true(buf->y_0_top);
	}
	assert_non_null(frames[0]->dma_buf); /* its display may still show it */
	for (uint32_t i = 0; i < PV_ARRAY_LEN(frames); i++)
		pv_frame_unref(frames[i]);
	world_end(&world);
}

static void dma_bufs_are_for_those_who_asked(void **state)
{
	struct pv_frame *frame;
	struct world world;

	(void)state;
	world_start_with(&world, "dma-buf", false);
	frame = show(&world, 1, 1);
	for (uint64_t end_ns = pv_now_ns() + PATIENCE_NS; world.started < 2 && pv_now_ns() < end_ns;)
		pv_loop_step(world.loop, STEP_NS);
	assert_int_equal(world.started, 2);
	assert_null(frame->dma_buf);
	pv_frame_unref(frame);
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
	    cmocka_unit_test(ops_are_answered),
	    cmocka_unit_test(settled_contexts_signal_at_once),
	    cmocka_unit_test(ends_of_contexts_answer),
	    cmocka_unit_test(a_death_answers_all),
	    cmocka_unit_test(pictures_come_when_somebody_looks),
	    cmocka_unit_test(dma_bufs_come_along),
	    cmocka_unit_test(dma_bufs_are_for_those_who_asked),
	    cmocka_unit_test(nothing_to_draw_with),
	    cmocka_unit_test(impostors_are_not_believed),
	    cmocka_unit_test(a_silent_one_is_given_up),
	    cmocka_unit_test(servers_check_sizes),
	    cmocka_unit_test(one_that_hangs_is_ended),
	    cmocka_unit_test(one_with_long_work_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What tests of both ends of a worker share. It is a thread here, so that a sanitizer sees all of it; its renderer
 * answers as the test says. Each test is a program of its own, and includes this once.
 */
#ifndef PV_WORKER_WORKER_TEST_H
#define PV_WORKER_WORKER_TEST_H

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

static inline struct fake *fake_of(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct fake, base);
}

static inline enum pv_status outcome(struct fake *fake, uint64_t op_id, uint32_t id)
{
	if (id == FAILS)
		return PV_ERR_NO_MEMORY;
	if (id != PENDS || fake->nr_pending == PV_ARRAY_LEN(fake->pending))
		return PV_OK;
	fake->pending[fake->nr_pending++] = op_id;
	return PV_PENDING;
}

static inline void fake_destroy(struct pv_renderer *renderer)
{
	free(fake_of(renderer));
}

static inline void fake_set_guest_map(struct pv_renderer *renderer, struct pv_guest_map *map)
{
	(void)renderer, (void)map;
}

static inline enum pv_status fake_resource_create(struct pv_renderer *renderer, uint64_t op_id,
						  const struct pv_resource_info *info)
{
	return outcome(fake_of(renderer), op_id, info->id);
}

static inline void fake_resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	(void)renderer, (void)resource_id;
}

static inline void fill(struct pv_frame *frame, const struct pv_rect *rect, uint8_t with)
{
	for (uint32_t y = rect->y; y < rect->y + rect->height; y++)
		memset(frame->pixels + (size_t)y * frame->stride_bytes + (size_t)rect->x * 4, with,
		       (size_t)rect->width * 4);
}

static inline void fake_refresh(struct pv_frame *frame, const struct pv_rect *stale)
{
	fill(frame, stale, 0x11);
}

static inline bool fake_fetch(struct pv_frame *frame, const struct pv_rect *stale)
{
	((struct fake *)frame->refresh_user)->fetched = *stale;
	return true;
}

static inline enum pv_status fake_set_frame(struct pv_renderer *renderer, uint32_t resource_id, struct pv_frame *frame)
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
static inline enum pv_status fake_get_frame(struct pv_renderer *renderer, uint32_t resource_id,
					    const struct pv_blob_layout *layout, struct pv_frame **out)
{
	(void)resource_id;
	assert_null(layout);
	*out = pv_frame_ref(fake_of(renderer)->frame);
	(*out)->stale = (struct pv_rect){.width = (*out)->width, .height = (*out)->height};
	return PV_OK;
}

static inline enum pv_status fake_update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
					       const struct pv_rect *rect)
{
	(void)rect;
	return outcome(fake_of(renderer), op_id, resource_id);
}

static inline void fake_create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id,
				     uint32_t ring_idx)
{
	(void)ctx_id;
	if (ring_idx != PENDS)
		renderer->events.fence_signalled(renderer->events.user, fence_id);
}

static inline void nothing(struct pv_renderer *renderer)
{
	(void)renderer;
}

static inline enum pv_status fake_set_window(struct pv_renderer *renderer, int fd, uint64_t size_bytes)
{
	fake_of(renderer)->window_fd = fd;
	return size_bytes == WINDOW_BYTES ? PV_OK : PV_ERR_HOST;
}

static inline bool fake_capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	(void)renderer;
	*out = (struct pv_capset_info){.id = 4 + index, .max_version = index, .max_size_bytes = 160};
	return index < 2;
}

static inline enum pv_status fake_capset(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
					 size_t *len_bytes)
{
	(void)renderer;
	*len_bytes = pv_min_u64(*len_bytes, 160);
	memset(buf, (int)(capset_id * 16 + version), *len_bytes);
	return PV_OK;
}

static inline enum pv_status fake_context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
						 uint32_t capset_id, const char *name)
{
	(void)capset_id;
	return strcmp(name, "crash") == 0 ? PV_ERR_GUEST : outcome(fake_of(renderer), op_id, ctx_id);
}

static inline void fake_context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	(void)renderer, (void)ctx_id;
}

static inline enum pv_status fake_context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
						 uint32_t resource_id)
{
	(void)ctx_id;
	return outcome(fake_of(renderer), op_id, resource_id);
}

static inline void fake_context_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id)
{
	(void)renderer, (void)ctx_id, (void)resource_id;
}

/* Set by whoever kills a worker. */
static _Atomic bool hang_is_over;

/* "L": leaves a last word in the resource that follows; "D": what pends is done; "F": so is the fetch; "H": hangs. */
static inline enum pv_status fake_submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
					 const void *commands, size_t len_bytes)
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
static inline enum pv_status fake_blob_map(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
					   uint64_t offset_bytes)
{
	struct fake *fake = fake_of(renderer);

	if (pwrite(fake->window_fd, "mapped", 6, (off_t)offset_bytes) != 6)
		return PV_ERR_HOST;
	fake->map_offset = offset_bytes;
	return outcome(fake, op_id, resource_id);
}

static inline enum pv_status fake_blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id)
{
	struct fake *fake = fake_of(renderer);

	if (op_id != 0)
		return outcome(fake, op_id, resource_id);
	pv_shm_punch(fake->window_fd, fake->map_offset, 4096);
	return PV_OK;
}

static inline uint64_t fake_memory_bytes(struct pv_renderer *renderer, uint32_t ctx_id)
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

static inline enum pv_status make_fake(void *user, const struct pv_worker_hello *hello, struct pv_renderer **out,
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

static inline void run_ended(struct pv_loop_task *task)
{
	struct thread *thread = PV_CONTAINER_OF(task, struct thread, task);

	thread->ended(thread->user);
}

static inline void *serve(void *user)
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

static inline enum pv_status start(void *user, int take_fd, void (*ended)(void *user), void *ended_user, void **out)
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

static inline void kill_thread(void *worker)
{
	struct thread *thread = worker;

	hang_is_over = true;
	shutdown(thread->fd_to_cut, SHUT_RDWR);
	if (!thread->has_thread && !thread->gone) {
		thread->gone = true;
		pv_loop_post(thread->world->loop, &thread->task);
	}
}

static inline int64_t no_pid(void *worker)
{
	(void)worker;
	return 4711;
}

static inline void release(void *worker, char how[PV_WORKER_HOW_BYTES])
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

static inline void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	struct world *world = user;

	assert_true(op_id < PV_ARRAY_LEN(world->answers));
	assert_int_equal(world->answers[op_id], PV_PENDING);
	assert_int_not_equal(status, PV_PENDING);
	world->answers[op_id] = status;
}

static inline void fence_signalled(void *user, uint64_t fence_id)
{
	struct world *world = user;

	assert_false(world->fences[fence_id]);
	world->fences[fence_id] = true;
}

static inline void world_init(struct world *world, bool nobody)
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

static inline struct pv_worker_client_params client_params(struct world *world, const char *renderers)
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

static inline void world_start_with(struct world *world, const char *renderers, bool with_dma_bufs)
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

static inline void world_start(struct world *world)
{
	world_start_with(world, "fake", false);
}

static inline void world_end(struct world *world)
{
	pv_renderer_destroy(world->renderer);
	pv_loop_destroy(world->loop);
	munmap(world->window, WINDOW_BYTES);
	close(world->window_fd);
}

static inline void wait_for(struct world *world, enum pv_status *answer)
{
	uint64_t deadline_ns = pv_now_ns() + PATIENCE_NS;

	world->renderer->ops->finish_batch(world->renderer);
	while (*answer == PV_PENDING && pv_now_ns() < deadline_ns)
		pv_loop_step(world->loop, STEP_NS);
	assert_int_not_equal(*answer, PV_PENDING);
}

static inline enum pv_status make_context(struct world *world, uint64_t op_id, uint32_t ctx_id)
{
	struct pv_renderer *r = world->renderer;

	assert_int_equal(r->ops->context_create(r, op_id, ctx_id, 4, "test"), PV_PENDING);
	wait_for(world, &world->answers[op_id]);
	return world->answers[op_id];
}

static inline enum pv_status make_blob(struct world *world, uint64_t op_id, uint32_t resource_id, uint64_t offset_bytes)
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

static inline void wait_for_the_next(struct world *world)
{
	uint64_t deadline_ns = pv_now_ns() + PATIENCE_NS;
	uint32_t before = world->started;

	while (world->started == before && pv_now_ns() < deadline_ns)
		pv_loop_step(world->loop, STEP_NS);
	assert_int_equal(world->started, before + 1);
}

/* The next one is there at once, in the place of the first that dies. */
static inline void die(struct world *world)
{
	kill_thread(world->last);
	wait_for_the_next(world);
}

#endif

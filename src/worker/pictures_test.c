/* SPDX-License-Identifier: MIT */
/* Pictures of a worker's: fetched when somebody looks, or given away as dma-bufs. */
#include "worker/worker_test.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pictures_come_when_somebody_looks),
	    cmocka_unit_test(dma_bufs_come_along),
	    cmocka_unit_test(dma_bufs_are_for_those_who_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

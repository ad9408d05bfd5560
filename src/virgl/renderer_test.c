/* SPDX-License-Identifier: MIT */
/* With the real library, on whatever OpenGL this host has. */
#include "virgl/renderer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "base/socket.h"
#include "gpu/protocol.h"
#include "virgl/import.h"
#include "virgl/stream.h"
#include "virgl/virgl.h"

#define SIDE      64u
#define BYTES     (SIDE * SIDE * 4)
#define MAP_BASE  0x10000u
#define MAP_BYTES (1u << 20)

static struct pv_loop *loop;
static struct pv_renderer *renderer;
static struct pv_guest_map *map;
static uint8_t *memory;
static uint64_t last_fence, last_op;
static int nr_fences, nr_ops;

static void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	(void)user;
	assert_int_equal(status, PV_OK);
	last_op = op_id;
	nr_ops++;
}

static void fence_signalled(void *user, uint64_t fence_id)
{
	(void)user;
	last_fence = fence_id;
	nr_fences++;
}

static struct pv_guest_map *make_map(uint64_t base, void *bytes)
{
	const struct pv_guest_region_params params = {
	    .guest_addr = base, .size_bytes = MAP_BYTES, .fd = -1, .memory = bytes};
	struct pv_guest_region *region;
	struct pv_guest_map *made;

	assert_int_equal(pv_guest_region_create(&params, &region), PV_OK);
	assert_int_equal(pv_guest_map_create(&region, 1, &made), PV_OK);
	pv_guest_region_unref(region);
	return made;
}

static int set_up(void **state)
{
	(void)state;
	last_fence = last_op = 0;
	nr_fences = nr_ops = 0;
	assert_int_equal(pv_loop_create(&loop), PV_OK);
	if (pv_virgl_renderer_create(&(struct pv_virgl_renderer_params){.loop = loop}, &renderer) != PV_OK) {
		pv_loop_destroy(loop);
		renderer = NULL;
		return 0;
	}
	renderer->events = (struct pv_renderer_events){.op_done = op_done, .fence_signalled = fence_signalled};
	memory = calloc(1, MAP_BYTES);
	assert_non_null(memory);
	map = make_map(MAP_BASE, memory);
	renderer->ops->set_guest_map(renderer, map);
	return 0;
}

/* With a reader as some drivers want it; the renderer makes one if there is none. */
static int set_up_by_buffer(void **state)
{
	int result = set_up(state);

	if (result == 0 && renderer)
		assert_int_equal(pv_virgl_reader_create(loop, true, &pv_virgl_of(renderer)->reader), PV_OK);
	return result;
}

static int tear_down(void **state)
{
	(void)state;
	if (!renderer)
		return 0;
	renderer->ops->reset(renderer);
	pv_renderer_destroy(renderer);
	pv_guest_map_unref(map);
	pv_loop_destroy(loop);
	free(memory);
	return 0;
}

/* A host without OpenGL. */
#define NEEDS_GL()                                                                                                     \
	do {                                                                                                           \
		if (!renderer)                                                                                         \
			skip();                                                                                        \
	} while (0)

static void wait_for(const int *counter, int value)
{
	for (int i = 0; i < 500 && *counter < value; i++)
		pv_loop_step(loop, 10000000);
	assert_int_equal(*counter, value);
}

static enum pv_status make_texture(uint32_t id, uint32_t side)
{
	const struct pv_resource_info info = {
	    .id = id,
	    .kind = PV_RESOURCE_3D,
	    .format = PV_GPU_FORMAT_B8G8R8A8,
	    .width = side,
	    .height = side,
	    .texture = {.target = 2, .bind = 1 << 1 | 1 << 3 | 1 << 18, .depth = 1, .array_size = 1}};

	return renderer->ops->resource_create(renderer, 1, &info);
}

static void back(uint32_t id)
{
	/* Scattered, and not in order. */
	const struct pv_guest_span spans[] = {
	    {MAP_BASE + 8192, 4096}, {MAP_BASE, 4096}, {MAP_BASE + 16384, BYTES - 8192}};

	assert_int_equal(renderer->ops->attach_backing(renderer, 2, id, spans, PV_ARRAY_LEN(spans)), PV_OK);
}

static void fill(uint8_t seed)
{
	for (uint32_t i = 0; i < BYTES; i++) {
		uint32_t at = i < 4096 ? 8192 + i : i < 8192 ? i - 4096 : 16384 + i - 8192;

		memory[at] = (uint8_t)(seed + i / 4 % SIDE + i / 4 / SIDE * 3 + i % 4 * 50);
	}
}

static struct pv_transfer_3d whole(uint32_t id, bool to_guest)
{
	return (struct pv_transfer_3d){
	    .resource_id = id, .width = SIDE, .height = SIDE, .depth = 1, .to_guest = to_guest};
}

static enum pv_status transfer(const struct pv_transfer_3d *t)
{
	return renderer->ops->transfer_3d(renderer, 3, t);
}

static void check_frame(struct pv_frame *frame, uint8_t seed)
{
	pv_frame_refresh(frame);
	for (uint32_t i = 0; i < BYTES; i++)
		assert_int_equal(frame->pixels[i], (uint8_t)(seed + i / 4 % SIDE + i / 4 / SIDE * 3 + i % 4 * 50));
}

static void sets_are_those_of_opengl(void **state)
{
	struct pv_capset_info info;
	uint8_t bytes[PV_GPU_MAX_CAPSET_BYTES];
	size_t len = sizeof(bytes);

	(void)state;
	NEEDS_GL();
	assert_true(renderer->ops->capset_info(renderer, 0, &info));
	assert_int_equal(info.id, PV_VIRGL_CAPSET_ID);
	assert_true(renderer->ops->capset_info(renderer, 1, &info));
	assert_int_equal(info.id, PV_VIRGL2_CAPSET_ID);
	assert_true(info.max_size_bytes > 308 && info.max_size_bytes <= sizeof(bytes));
	assert_false(renderer->ops->capset_info(renderer, 2, &info));
	assert_int_equal(renderer->ops->capset(renderer, 2, info.max_version, bytes, &len), PV_OK);
	assert_int_equal(len, info.max_size_bytes);
	/* capability_bits: no texture barrier of a host that draws tile by tile. */
	if (strstr(pv_virgl_renderer_gl_name(renderer), "llvmpipe"))
		assert_false(bytes[392 + 1] & 1 << (12 - 8));
	assert_int_equal(renderer->ops->capset(renderer, 2, info.max_version + 1, bytes, &len), PV_ERR_GUEST);
	assert_int_equal(renderer->ops->capset(renderer, 4, 0, bytes, &len), PV_ERR_GUEST);
	assert_true(strlen(pv_virgl_renderer_gl_name(renderer)) > 0);
}

static void there_is_one_for_the_process(void **state)
{
	struct pv_renderer *other;

	(void)state;
	NEEDS_GL();
	assert_int_equal(pv_virgl_renderer_create(&(struct pv_virgl_renderer_params){.loop = loop}, &other),
			 PV_ERR_HOST);
}

static void render_nodes_that_cannot_draw(void **state)
{
	char path[] = "/tmp/pv-no-node-XXXXXX";
	int fd;

	(void)state;
	NEEDS_GL();
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	pv_renderer_destroy(renderer);
	renderer = NULL;
	assert_int_equal(
	    pv_virgl_renderer_create(&(struct pv_virgl_renderer_params){.loop = loop, .render_node = "/nonexistent"},
				     &renderer),
	    PV_ERR_UNSUPPORTED);
	assert_int_equal(
	    pv_virgl_renderer_create(&(struct pv_virgl_renderer_params){.loop = loop, .render_node = path}, &renderer),
	    PV_ERR_UNSUPPORTED);
	unlink(path);
	/* They are not in the way of the next one. */
	assert_int_equal(pv_virgl_renderer_create(&(struct pv_virgl_renderer_params){.loop = loop}, &renderer), PV_OK);
}

static void textures_come_back(void **state)
{
	struct pv_frame *frame;
	struct pv_transfer_3d t;

	(void)state;
	NEEDS_GL();
	assert_int_equal(make_texture(7, SIDE), PV_OK);
	back(7);
	fill(1);
	t = whole(7, false);
	assert_int_equal(transfer(&t), PV_OK);
	assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &frame), PV_OK);
	check_frame(frame, 1);

	memset(memory, 0, MAP_BYTES);
	t = whole(7, true);
	assert_int_equal(transfer(&t), PV_OK);
	assert_int_equal(memory[8192 + 400], (uint8_t)(1 + 100 % SIDE + 100 / SIDE * 3));

	/* A part of it, flushed: the display sees it once the host has drawn. */
	fill(9);
	t = (struct pv_transfer_3d){
	    .resource_id = 7, .x = 8, .y = 16, .width = 4, .height = 2, .depth = 1, .stride_bytes = SIDE * 4};
	t.offset_bytes = 16 * SIDE * 4 + 8 * 4;
	assert_int_equal(transfer(&t), PV_OK);
	const struct pv_rect rect = {.x = 8, .y = 16, .width = 4, .height = 2};
	enum pv_status status = renderer->ops->update_frame(renderer, 44, 7, &rect);
	if (status == PV_PENDING) {
		wait_for(&nr_ops, 1);
		assert_int_equal(last_op, 44);
	}
	pv_frame_refresh(frame);
	uint32_t inside = (17 * SIDE + 11) * 4, outside = (17 * SIDE + 12) * 4;
	assert_int_equal(frame->pixels[inside], (uint8_t)(9 + 11 + 17 * 3));
	assert_int_equal(frame->pixels[outside], (uint8_t)(1 + 12 + 17 * 3));

	/* What a display keeps shows its last picture. */
	renderer->ops->resource_destroy(renderer, 7);
	pv_frame_refresh(frame);
	pv_frame_unref(frame);
}

/* ---- Pictures ---- */

static int nr_told;

static void told(struct pv_frame_waiter *waiter)
{
	(void)waiter;
	nr_told++;
}

/* As displays do. */
static void fetch_and_wait(struct pv_frame *frame)
{
	struct pv_frame_waiter waiter = {.ready = told};

	nr_told = 0;
	if (!pv_frame_fetch(frame, &waiter))
		wait_for(&nr_told, 1);
}

static enum pv_status make_shown(uint32_t id, uint32_t format, uint32_t width, uint32_t height, uint32_t flags)
{
	const struct pv_resource_info info = {
	    .id = id,
	    .kind = PV_RESOURCE_3D,
	    .format = format,
	    .width = width,
	    .height = height,
	    .texture = {.target = 2, .bind = 1 << 1 | 1 << 3 | 1 << 18, .depth = 1, .array_size = 1, .flags = flags}};
	const struct pv_guest_span span = {MAP_BASE, MAP_BYTES};
	enum pv_status status = renderer->ops->resource_create(renderer, 1, &info);

	if (status == PV_OK)
		assert_int_equal(renderer->ops->attach_backing(renderer, 2, id, &span, 1), PV_OK);
	return status;
}

static void send_picture(uint32_t id, uint32_t width, uint32_t height)
{
	const struct pv_transfer_3d t = {.resource_id = id, .width = width, .height = height, .depth = 1};

	assert_int_equal(transfer(&t), PV_OK);
}

static void flush_and_wait(uint32_t id, const struct pv_rect *rect)
{
	nr_ops = 0;
	if (renderer->ops->update_frame(renderer, 5, id, rect) == PV_PENDING)
		wait_for(&nr_ops, 1);
}

/* Bytes are where the format's name has its letters; sRGB colours are shown as they are. */
static void each_format_is_read_as_it_is_shown(void **state)
{
	static const struct {
		uint32_t format;
		const char *letters;
	} cases[] = {{PV_GPU_FORMAT_B8G8R8A8, "BGRA"},
		     {PV_GPU_FORMAT_B8G8R8X8, "BGRX"},
		     {PV_GPU_FORMAT_A8R8G8B8, "ARGB"},
		     {PV_GPU_FORMAT_X8R8G8B8, "XRGB"},
		     {PV_GPU_FORMAT_R8G8B8A8, "RGBA"},
		     {PV_GPU_FORMAT_R8G8B8X8, "RGBX"},
		     {PV_GPU_FORMAT_A8B8G8R8, "ABGR"},
		     {PV_GPU_FORMAT_X8B8G8R8, "XBGR"},
		     {100, "BGRA"},
		     {101, "BGRX"},
		     {104, "RGBA"}};
	struct pv_frame *frame;
	size_t nr_tried = 0;

	(void)state;
	NEEDS_GL();
	for (size_t n = 0; n < PV_ARRAY_LEN(cases); n++) {
		/* Not all libraries have all of them. */
		if (make_shown(7, cases[n].format, 16, 16, 0) != PV_OK)
			continue;
		for (uint32_t i = 0; i < 16 * 16 * 4; i++)
			memory[i] = (uint8_t)((size_t)i * 7 + n);
		send_picture(7, 16, 16);
		assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &frame), PV_OK);
		fetch_and_wait(frame);
		for (uint32_t i = 0; i < 16 * 16; i++) {
			uint32_t shown;

			pv_frame_read_xrgb(frame, &(struct pv_rect){i % 16, i / 16, 1, 1}, &shown, 4);
			for (uint32_t c = 0; c < 3; c++) {
				const char *at = strchr(cases[n].letters, "BGR"[c]);

				assert_int_equal(shown >> 8 * c & 0xff,
						 memory[(size_t)i * 4 + (size_t)(at - cases[n].letters)]);
			}
		}
		pv_frame_unref(frame);
		renderer->ops->resource_destroy(renderer, 7);
		nr_tried++;
	}
	assert_true(nr_tried >= 4);
}

/* Not square, so that rows that are counted from the wrong end are found. */
static void pictures_are_the_right_way_up(void **state)
{
	enum { WIDTH = 24, HEIGHT = 40 };
	const struct pv_rect part = {.x = 3, .y = 5, .width = 7, .height = 11};
	struct pv_frame *frame;

	(void)state;
	NEEDS_GL();
	for (uint32_t flags = 0; flags < 2; flags++) {
		assert_int_equal(make_shown(7, PV_GPU_FORMAT_B8G8R8A8, WIDTH, HEIGHT, flags), PV_OK);
		memset(memory, 0, (size_t)WIDTH * HEIGHT * 4);
		send_picture(7, WIDTH, HEIGHT);
		assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &frame), PV_OK);
		fetch_and_wait(frame);
		for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
			memcpy(memory + (size_t)i * 4, &(uint32_t){i + 1}, 4);
		send_picture(7, WIDTH, HEIGHT);
		/* Of a part no more than the part is read. */
		memset(frame->pixels, 0xee, frame->size_bytes);
		flush_and_wait(7, &part);
		fetch_and_wait(frame);
		for (uint32_t i = 0; i < WIDTH * HEIGHT; i++) {
			uint32_t x = i % WIDTH, y = i / WIDTH, pixel;
			bool inside = x >= 3 && x < 10 && y >= 5 && y < 16;

			memcpy(&pixel, frame->pixels + (size_t)i * 4, 4);
			assert_int_equal(pixel, inside ? i + 1 : 0xeeeeeeee);
		}
		/* Those who cannot wait see the same. */
		assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &frame), PV_OK);
		pv_frame_unref(frame);
		pv_frame_refresh(frame);
		assert_memory_equal(frame->pixels, memory, (size_t)WIDTH * HEIGHT * 4);
		pv_frame_unref(frame);
		renderer->ops->resource_destroy(renderer, 7);
	}
}

/* Memory of another process's, say. */
static void pictures_are_put_where_they_are_wanted(void **state)
{
	struct pv_frame *frame, *small, *again;

	(void)state;
	NEEDS_GL();
	assert_int_equal(pv_frame_create(SIDE, SIDE, PV_GPU_FORMAT_B8G8R8X8, &frame), PV_OK);
	assert_int_equal(pv_frame_create(SIDE, SIDE / 2, PV_GPU_FORMAT_B8G8R8X8, &small), PV_OK);
	assert_int_equal(renderer->ops->set_frame(renderer, 7, frame), PV_ERR_UNSUPPORTED);
	assert_int_equal(make_texture(7, SIDE), PV_OK);
	back(7);
	assert_int_equal(renderer->ops->set_frame(renderer, 7, small), PV_ERR_GUEST);
	for (uint8_t round = 0; round < 2; round++) {
		const struct pv_transfer_3d t = whole(7, false);

		fill(round);
		assert_int_equal(transfer(&t), PV_OK);
		assert_int_equal(renderer->ops->set_frame(renderer, 7, frame), PV_OK);
		fetch_and_wait(frame);
		check_frame(frame, round);
		assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &again), PV_OK);
		assert_ptr_equal(again, frame);
		pv_frame_unref(again);
	}
	pv_frame_unref(small);
	pv_frame_unref(frame);
}

static void a_picture_may_go_while_it_is_read(void **state)
{
	enum { LARGE = 1024 };
	static struct pv_frame_waiter waiter = {.ready = told};
	struct pv_frame *frame;

	(void)state;
	NEEDS_GL();
	nr_told = 0;
	for (int round = 0; round < 20; round++) {
		assert_int_equal(make_texture(7, LARGE), PV_OK);
		assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &frame), PV_OK);
		assert_false(pv_frame_fetch(frame, &waiter));
		/* Some are in hand then, some not. */
		if (round % 2)
			usleep(100 * (useconds_t)round);
		renderer->ops->resource_destroy(renderer, 7);
		assert_int_equal(nr_told, round + 1);
		assert_true(pv_frame_fetch(frame, &waiter));
		pv_frame_unref(frame);
	}
	/* And with the renderer. */
	assert_int_equal(make_texture(7, LARGE), PV_OK);
	assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &frame), PV_OK);
	assert_false(pv_frame_fetch(frame, &waiter));
	pv_frame_unref(frame);
}

/* VIRGL_CCMD_BLIT of 16 x 16 pixels of 3 to all of 2, filtered. */
static size_t put_blit(uint32_t *words, uint32_t side)
{
	const uint32_t blit[] = {16 | 21 << 16,
				 0xf | 1 << 8,
				 0,
				 0,
				 2,
				 0,
				 PV_GPU_FORMAT_B8G8R8A8,
				 0,
				 0,
				 0,
				 side,
				 side,
				 1,
				 3,
				 0,
				 PV_GPU_FORMAT_B8G8R8A8,
				 0,
				 0,
				 0,
				 16,
				 16,
				 1};

	memcpy(words, blit, sizeof(blit));
	return PV_ARRAY_LEN(blit);
}

/* Sends so much drawing that the GPU, or the CPU in its place, is busy for a while. */
static void draw_a_lot(uint32_t side, int times)
{
	uint32_t words[22];
	size_t n = put_blit(words, side);

	while (times-- > 0)
		assert_int_equal(renderer->ops->submit(renderer, 2, 1, words, n * 4), PV_OK);
	nr_fences = 0;
	renderer->ops->create_fence(renderer, 100, 1, 0);
}

/*
 * What is drawn after a flush is not waited for on this thread: neither by the display that looks nor by others. How
 * much is a lot, nobody knows; it was too little if it has ended before this thread has looked.
 */
static void drawing_holds_up_nobody(void **state)
{
	enum { LARGE = 2048, MOST = 512 };
	static const uint32_t nop[] = {0};
	const struct pv_rect all = {.width = SIDE, .height = SIDE};
	struct pv_frame_waiter waiter = {.ready = told};
	struct pv_frame *frame;
	int times = 1;

	(void)state;
	NEEDS_GL();
	assert_int_equal(make_texture(2, LARGE), PV_OK);
	assert_int_equal(make_texture(3, SIDE), PV_OK);
	assert_int_equal(make_texture(7, SIDE), PV_OK);
	back(7);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "busy"), PV_OK);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 2, PV_VIRGL2_CAPSET_ID, "other"), PV_OK);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 2), PV_OK);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 3), PV_OK);
	assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &frame), PV_OK);
	fetch_and_wait(frame);
	for (bool held_up = true; held_up; times *= 2) {
		const struct pv_transfer_3d t = whole(7, false);

		assert_true(times <= MOST);
		fill((uint8_t)times);
		assert_int_equal(transfer(&t), PV_OK);
		flush_and_wait(7, &all);
		draw_a_lot(LARGE, times);
		nr_told = 0;
		assert_false(pv_frame_fetch(frame, &waiter));
		assert_int_equal(renderer->ops->submit(renderer, 2, 2, nop, sizeof(nop)), PV_OK);
		pv_loop_step(loop, 0);
		held_up = nr_fences > 0;
		if (nr_told == 0)
			wait_for(&nr_told, 1);
		check_frame(frame, (uint8_t)times);
		wait_for(&nr_fences, 1);
	}
	pv_frame_unref(frame);
}

static void the_guests_memory_may_move(void **state)
{
	struct pv_transfer_3d t = whole(5, false);
	uint8_t *second = calloc(1, MAP_BYTES);
	struct pv_guest_map *moved = make_map(MAP_BASE, second), *elsewhere = make_map(1ull << 40, second);
	struct pv_frame *frame;

	(void)state;
	if (renderer) {
		assert_int_equal(make_texture(5, SIDE), PV_OK);
		back(5);
		fill(3);
		memcpy(second, memory, MAP_BYTES);
		memset(memory, 0, MAP_BYTES);
		renderer->ops->set_guest_map(renderer, moved);
		assert_int_equal(transfer(&t), PV_OK);
		assert_int_equal(renderer->ops->get_frame(renderer, 5, NULL, &frame), PV_OK);
		check_frame(frame, 3);
		pv_frame_unref(frame);
		/* Gone, and there again. */
		renderer->ops->set_guest_map(renderer, elsewhere);
		assert_int_equal(transfer(&t), PV_ERR_GUEST);
		renderer->ops->set_guest_map(renderer, NULL);
		assert_int_equal(transfer(&t), PV_ERR_GUEST);
		renderer->ops->set_guest_map(renderer, moved);
		assert_int_equal(transfer(&t), PV_OK);
		renderer->ops->set_guest_map(renderer, map);
	}
	pv_guest_map_unref(moved);
	pv_guest_map_unref(elsewhere);
	free(second);
}

static void hostile_transfers(void **state)
{
	static const struct pv_transfer_3d cases[] = {
	    {.resource_id = 1, .width = SIDE},
	    {.resource_id = 3, .x = UINT32_MAX, .width = 1, .height = 1, .depth = 1},
	    {.resource_id = 3, .z = UINT32_MAX, .width = 1, .height = 1, .depth = 1},
	    {.resource_id = 3, .width = SIDE + 1, .height = 1, .depth = 1},
	    {.resource_id = 3, .width = SIDE, .height = SIDE, .depth = UINT32_MAX},
	    {.resource_id = 3, .width = SIDE, .height = SIDE, .depth = 1, .level = 1},
	    {.resource_id = 3, .width = SIDE, .height = SIDE, .depth = 1, .level = UINT32_MAX},
	    {.resource_id = 3, .width = SIDE, .height = SIDE, .depth = 1, .offset_bytes = 4},
	    {.resource_id = 3, .width = SIDE, .height = SIDE, .depth = 1, .offset_bytes = UINT64_MAX - 3},
	    {.resource_id = 3, .width = SIDE, .height = SIDE, .depth = 1, .stride_bytes = 0x4000004},
	    {.resource_id = 3, .width = 1, .height = SIDE, .depth = 1, .stride_bytes = BYTES},
	    {.resource_id = 3, .width = SIDE, .height = SIDE, .depth = 1, .ctx_id = 77},
	};

	(void)state;
	NEEDS_GL();
	assert_int_equal(make_texture(3, SIDE), PV_OK);
	back(3);
	for (size_t i = 0; i < 2 * PV_ARRAY_LEN(cases); i++) {
		struct pv_transfer_3d t = cases[i / 2];

		t.to_guest = i % 2;
		assert_int_equal(transfer(&t), PV_ERR_GUEST);
	}
	/* Without a backing there is nothing to copy. */
	renderer->ops->detach_backing(renderer, 3);
	struct pv_transfer_3d t = whole(3, false);
	assert_int_equal(transfer(&t), PV_ERR_GUEST);
}

static void hostile_resources(void **state)
{
	struct pv_frame *frame;
	struct pv_resource_info info = {.id = 11, .kind = PV_RESOURCE_3D, .format = UINT32_MAX};

	(void)state;
	NEEDS_GL();
	assert_int_equal(renderer->ops->resource_create(renderer, 1, &info), PV_ERR_GUEST);
	info.format = 1;
	info.texture.target = 99;
	assert_int_equal(renderer->ops->resource_create(renderer, 1, &info), PV_ERR_GUEST);
	assert_int_equal(make_texture(11, UINT32_MAX), PV_ERR_GUEST);
	/* Ids are free again. */
	assert_int_equal(make_texture(11, SIDE), PV_OK);
	assert_int_equal(renderer->ops->get_frame(renderer, 12, NULL, &frame), PV_ERR_UNSUPPORTED);
	info = (struct pv_resource_info){.id = 12, .kind = PV_RESOURCE_HOST_BLOB, .ctx_id = 9, .size_bytes = 4096};
	assert_int_equal(renderer->ops->resource_create(renderer, 1, &info), PV_ERR_GUEST);
}

static void fences_come(void **state)
{
	static const uint32_t nop[] = {0};

	(void)state;
	NEEDS_GL();
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "one"), PV_OK);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 2, 0, ""), PV_OK);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "again"), PV_ERR_GUEST);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 3, 4, "venus"), PV_ERR_UNSUPPORTED);
	/* Nothing to wait for. */
	renderer->ops->create_fence(renderer, 10, 1, 0);
	assert_int_equal(nr_fences, 1);
	assert_int_equal(renderer->ops->submit(renderer, 2, 1, nop, sizeof(nop)), PV_OK);
	renderer->ops->create_fence(renderer, UINT64_C(0x123456789ab), 1, 0);
	wait_for(&nr_fences, 2);
	assert_true(last_fence == UINT64_C(0x123456789ab));
	/* Those of a context that goes come all the same. */
	assert_int_equal(renderer->ops->submit(renderer, 3, 2, nop, sizeof(nop)), PV_OK);
	renderer->ops->create_fence(renderer, 12, 2, 0);
	renderer->ops->create_fence(renderer, 13, 2, 0);
	renderer->ops->context_destroy(renderer, 2);
	assert_int_equal(nr_fences, 4);
	renderer->ops->create_fence(renderer, 14, 2, 0);
	assert_int_equal(nr_fences, 5);
	struct pv_virgl_renderer_status status;
	pv_virgl_renderer_status(renderer, &status);
	assert_int_equal(status.nr_contexts, 1);
	assert_int_equal(status.nr_fences, 0);
}

/* In the library the end of a context took with it the one fence that was being waited for, whosever it was. */
static void the_end_of_a_context_costs_no_other_its_fence(void **state)
{
	enum { LARGE = 2048 };
	/* VIRGL_CCMD_CREATE_OBJECT of a surface, VIRGL_CCMD_SET_FRAMEBUFFER_STATE, VIRGL_CCMD_CLEAR of its colour. */
	static const uint32_t clear[] = {0,
					 1 | 8 << 8 | 5 << 16,
					 1,
					 7,
					 PV_GPU_FORMAT_B8G8R8A8,
					 0,
					 0,
					 5 | 3 << 16,
					 1,
					 0,
					 1,
					 7 | 8 << 16,
					 4,
					 0,
					 0,
					 0,
					 0,
					 0,
					 0,
					 0};
	const struct pv_rect all = {.width = LARGE, .height = LARGE};
	struct pv_frame *frame;

	(void)state;
	NEEDS_GL();
	assert_int_equal(make_texture(7, LARGE), PV_OK);
	assert_int_equal(renderer->ops->get_frame(renderer, 7, NULL, &frame), PV_OK);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "long"), PV_OK);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 7), PV_OK);
	for (int round = 0; round < 24; round++) {
		bool is_shown = round % 2;

		nr_fences = nr_ops = 0;
		assert_int_equal(renderer->ops->context_create(renderer, 1, 2, PV_VIRGL2_CAPSET_ID, "short"), PV_OK);
		assert_int_equal(renderer->ops->submit(renderer, 2, 1, round ? clear + 11 : clear,
						       round ? sizeof(clear) - 11 * sizeof(*clear) : sizeof(clear)),
				 PV_OK);
		if (is_shown)
			assert_int_equal(renderer->ops->update_frame(renderer, 3, 7, &all), PV_PENDING);
		else
			renderer->ops->create_fence(renderer, 100 + (uint64_t)round, 1, 0);
		usleep(50 * (useconds_t)round);
		renderer->ops->context_destroy(renderer, 2);
		wait_for(is_shown ? &nr_ops : &nr_fences, 1);
	}
	pv_frame_unref(frame);
}

static void bad_commands_lose_their_context(void **state)
{
	static const uint32_t bad[] = {0xff, 0, 0}, nop[] = {0};

	(void)state;
	NEEDS_GL();
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "bad"), PV_OK);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 2, PV_VIRGL2_CAPSET_ID, "good"), PV_OK);
	assert_int_equal(renderer->ops->submit(renderer, 2, 1, bad, sizeof(bad)), PV_ERR_GUEST);
	assert_int_equal(renderer->ops->submit(renderer, 2, 1, bad, 5), PV_ERR_GUEST);
	assert_int_equal(renderer->ops->submit(renderer, 2, 2, nop, sizeof(nop)), PV_OK);
	renderer->ops->create_fence(renderer, 20, 1, 0);
	renderer->ops->create_fence(renderer, 21, 2, 0);
	wait_for(&nr_fences, 2);
}

static enum pv_status submit_to(uint32_t ctx_id, const uint32_t *words, size_t len_bytes)
{
	return renderer->ops->submit(renderer, 2, ctx_id, words, len_bytes);
}

/* The device counts what RESOURCE_CREATE_3D makes. */
static void nothing_is_made_in_command_buffers(void **state)
{
	/* VIRGL_CCMD_PIPE_RESOURCE_CREATE of a buffer of 256 MiB, VIRGL_CCMD_NOP. */
	static const uint32_t make[] = {0, 48 | 11 << 16, 0, 64, 1 << 4, 256 << 20, 1, 1, 1, 0, 0, 0, 1}, nop[] = {0};

	(void)state;
	NEEDS_GL();
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "bad"), PV_OK);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 2, PV_VIRGL2_CAPSET_ID, "good"), PV_OK);
	assert_int_equal(submit_to(1, make, sizeof(make)), PV_ERR_GUEST);
	assert_int_equal(submit_to(2, nop, sizeof(nop)), PV_OK);
	/* What only looks like it. */
	assert_int_equal(submit_to(2, make, sizeof(*make)), PV_OK);
}

static void gl_contexts_are_limited(void **state)
{
	/* VIRGL_CCMD_CREATE_SUB_CTX, VIRGL_CCMD_DESTROY_SUB_CTX. */
#define MAKE(id)    29 | 1 << 16, id
#define END(id)     30 | 1 << 16, id
#define SET_SUB(id) 28 | 1 << 16, id
	static const uint32_t two[] = {MAKE(0), MAKE(1), MAKE(1), MAKE(2)}, third[] = {MAKE(3)};
	static const uint32_t exchange[] = {0, END(1), END(1), END(77)}, failing[] = {END(2), 0xff};
	struct pv_virgl *virgl;

	(void)state;
	NEEDS_GL();
	virgl = pv_virgl_of(renderer);
	virgl->max_held_bytes = 4 * PV_VIRGL_CONTEXT_BYTES;
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "x"), PV_OK);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 2, PV_VIRGL2_CAPSET_ID, "y"), PV_OK);
	assert_int_equal(submit_to(1, two, sizeof(two)), PV_OK);
	assert_int_equal(submit_to(2, third, sizeof(third)), PV_ERR_GUEST);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 3, PV_VIRGL2_CAPSET_ID, "z"), PV_ERR_NO_MEMORY);
	assert_int_equal(submit_to(1, exchange, sizeof(exchange)), PV_OK);
	assert_int_equal(virgl->held_bytes, 3 * PV_VIRGL_CONTEXT_BYTES);
	assert_int_equal(submit_to(1, third, sizeof(third)), PV_OK);
	/* Of a command buffer that fails nobody knows how much was carried out. */
	assert_int_equal(submit_to(1, failing, sizeof(failing)), PV_ERR_GUEST);
	assert_int_equal(virgl->held_bytes, 4 * PV_VIRGL_CONTEXT_BYTES);
	renderer->ops->context_destroy(renderer, 1);
	assert_int_equal(virgl->held_bytes, PV_VIRGL_CONTEXT_BYTES);
	assert_int_equal(renderer->ops->context_create(renderer, 1, 3, PV_VIRGL2_CAPSET_ID, "z"), PV_OK);
}

#define OBJECT(type, handle)  1 | (type) << 8 | 9 << 16, handle, 0, 0, 0, 0, 0, 0, 0, 0
#define DESTROY(type, handle) 3 | (type) << 8 | 1 << 16, handle
#define SAMPLER               7
#define SAMPLER_BYTES         (UINT64_C(512) + 40)

static uint64_t object_bytes(void)
{
	return pv_virgl_of(renderer)->held_bytes - PV_VIRGL_CONTEXT_BYTES;
}

static void objects_are_counted(void **state)
{
	static const uint32_t make[] = {OBJECT(SAMPLER, 1), OBJECT(SAMPLER, 2)}, end[] = {0, DESTROY(SAMPLER, 2)};
	static const uint32_t again[] = {OBJECT(SAMPLER, 1)}, unknown[] = {DESTROY(SAMPLER, 77), DESTROY(SAMPLER, 2)};
	/* In a GL context of its own, which ends with what it has. */
	static const uint32_t sub[] = {MAKE(5), SET_SUB(5), OBJECT(SAMPLER, 8), OBJECT(SAMPLER, 9)};
	static const uint32_t others[] = {SET_SUB(0), DESTROY(SAMPLER, 8)}, end_sub[] = {END(5)};
	static const uint32_t failing[] = {DESTROY(SAMPLER, 1), 0xff};

	(void)state;
	NEEDS_GL();
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "x"), PV_OK);
	assert_int_equal(submit_to(1, make, sizeof(make)), PV_OK);
	assert_int_equal(object_bytes(), 2 * SAMPLER_BYTES);
	assert_int_equal(submit_to(1, end, sizeof(end)), PV_OK);
	assert_int_equal(object_bytes(), SAMPLER_BYTES);
	assert_int_equal(submit_to(1, unknown, sizeof(unknown)), PV_OK);
	assert_int_equal(object_bytes(), SAMPLER_BYTES);
	/* The library loses the first one. */
	assert_int_equal(submit_to(1, again, sizeof(again)), PV_OK);
	assert_int_equal(object_bytes(), 2 * SAMPLER_BYTES);

	assert_int_equal(submit_to(1, sub, sizeof(sub)), PV_OK);
	assert_int_equal(object_bytes(), 4 * SAMPLER_BYTES + PV_VIRGL_CONTEXT_BYTES);
	assert_int_equal(submit_to(1, others, sizeof(others)), PV_OK);
	assert_int_equal(object_bytes(), 4 * SAMPLER_BYTES + PV_VIRGL_CONTEXT_BYTES);
	assert_int_equal(submit_to(1, end_sub, sizeof(end_sub)), PV_OK);
	assert_int_equal(object_bytes(), 2 * SAMPLER_BYTES);

	pv_virgl_of(renderer)->max_held_bytes = PV_VIRGL_CONTEXT_BYTES + 3 * SAMPLER_BYTES + 100;
	assert_int_equal(submit_to(1, again, sizeof(again)), PV_OK);
	assert_int_equal(submit_to(1, again, sizeof(again)), PV_ERR_GUEST);
	assert_int_equal(submit_to(1, failing, sizeof(failing)), PV_ERR_GUEST);
	assert_int_equal(object_bytes(), 3 * SAMPLER_BYTES);
	/* Contexts take what is theirs along. */
	renderer->ops->context_destroy(renderer, 1);
	assert_int_equal(pv_virgl_of(renderer)->held_bytes, 0);
}

/* ---- Blobs of other renderers ---- */

#define BLOB_OFFSET 256u
#define BLOB_STRIDE (SIDE * 4 + 64)
#define BLOB_BYTES  (32u << 10)

/* A file of two pages more than the blob, which is behind the first; NULL: no such file. */
static uint8_t *import_blob(uint32_t id, int *out_fd)
{
	const struct pv_resource_info info = {.id = id, .kind = PV_RESOURCE_FOREIGN_BLOB, .size_bytes = BLOB_BYTES};
	uint8_t *bytes;

	assert_int_equal(pv_shm_create("blob", 4096 + BLOB_BYTES + 4096, out_fd), PV_OK);
	bytes = mmap(NULL, 4096 + BLOB_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, *out_fd, 0);
	assert_ptr_not_equal(bytes, MAP_FAILED);
	assert_int_equal(renderer->ops->resource_create(renderer, 1, &info), PV_OK);
	assert_int_equal(renderer->ops->attach_file(renderer, 0, id, *out_fd, 4096, BLOB_BYTES), PV_OK);
	return bytes;
}

static void end_blob(uint8_t *bytes, int fd)
{
	munmap(bytes, 4096 + BLOB_BYTES + 4096);
	close(fd);
}

static void paint(uint8_t *bytes, uint32_t colour)
{
	for (uint32_t y = 0; y < SIDE; y++)
		for (uint32_t x = 0; x < SIDE; x++)
			memcpy(bytes + 4096 + BLOB_OFFSET + (size_t)y * BLOB_STRIDE + (size_t)x * 4,
			       &(uint32_t){colour + y * SIDE + x}, 4);
}

/* VIRGL_CCMD_PIPE_RESOURCE_SET_TYPE of one plane, VIRGL_CCMD_RESOURCE_COPY_REGION. */
#define SET_TYPE(id, w, h, stride, offset)                                                                             \
	49 | 10 << 16, id, PV_GPU_FORMAT_B8G8R8A8, 1 << 3, w, h, 0, 0, 0, stride, offset
#define COPY(to, from) 17 | 13 << 16, to, 0, 0, 0, 0, from, 0, 0, 0, 0, SIDE, SIDE, 1

/* What the context has copied into texture 2. */
static void check_copy(uint32_t colour)
{
	struct pv_frame *frame;

	assert_int_equal(renderer->ops->get_frame(renderer, 2, NULL, &frame), PV_OK);
	pv_frame_refresh(frame);
	for (uint32_t i = 0; i < SIDE * SIDE; i++)
		assert_memory_equal(frame->pixels + (size_t)i * 4, (&(uint32_t){colour + i}), 4);
	pv_frame_unref(frame);
}

static void make_copier(uint32_t ctx_id)
{
	assert_int_equal(renderer->ops->context_create(renderer, 1, ctx_id, PV_VIRGL2_CAPSET_ID, "x"), PV_OK);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, ctx_id, 2), PV_OK);
}

static void foreign_blobs_are_textures(void **state)
{
	static const uint32_t type_and_copy[] = {0, SET_TYPE(9, SIDE, SIDE, BLOB_STRIDE, BLOB_OFFSET), COPY(2, 9)};
	static const uint32_t copy[] = {COPY(2, 9)};
	struct pv_virgl_renderer_status status;
	uint8_t *bytes;
	int fd;

	(void)state;
	NEEDS_GL();
	assert_int_equal(make_texture(2, SIDE), PV_OK);
	make_copier(1);
	make_copier(3);
	bytes = import_blob(9, &fd);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
	paint(bytes, 0x123000);
	assert_int_equal(submit_to(1, type_and_copy, sizeof(type_and_copy)), PV_OK);
	check_copy(0x123000);
	/* The next command buffer sees what is there then. */
	paint(bytes, 0x456000);
	assert_int_equal(submit_to(1, copy, sizeof(copy)), PV_OK);
	check_copy(0x456000);
	/* Another context gets it with its type. */
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 3, 9), PV_OK);
	paint(bytes, 0x789000);
	assert_int_equal(submit_to(3, type_and_copy, sizeof(type_and_copy)), PV_OK);
	check_copy(0x789000);
	/* Its memory goes first: the picture stays. */
	renderer->ops->detach_backing(renderer, 9);
	paint(bytes, 0xabc000);
	assert_int_equal(submit_to(1, copy, sizeof(copy)), PV_OK);
	check_copy(0x789000);
	renderer->ops->context_detach(renderer, 3, 9);
	renderer->ops->resource_destroy(renderer, 9);
	pv_virgl_renderer_status(renderer, &status);
	assert_int_equal(status.nr_resources, 1);
	end_blob(bytes, fd);
	/* The context has it no more; the library keeps that to itself. */
	(void)submit_to(1, copy, sizeof(copy));
	check_copy(0x789000);

	/* One whose type is said before it has memory. */
	const struct pv_resource_info info = {.id = 9, .kind = PV_RESOURCE_FOREIGN_BLOB, .size_bytes = BLOB_BYTES};
	assert_int_equal(renderer->ops->resource_create(renderer, 1, &info), PV_OK);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 3, 9), PV_OK);
	assert_int_equal(submit_to(3, type_and_copy, sizeof(type_and_copy)), PV_OK);
	renderer->ops->context_destroy(renderer, 3);
}

static uint32_t pictures_copied(void)
{
	const uint64_t picture_bytes = UINT64_C(4) * SIDE * SIDE;
	struct pv_virgl_renderer_status status;

	pv_virgl_renderer_status(renderer, &status);
	assert_int_equal(status.imported_bytes % picture_bytes, 0);
	return (uint32_t)(status.imported_bytes / picture_bytes);
}

#define CREATE_SUB_CTX(id)         29 | 1 << 16, id
#define SET_SUB_CTX(id)            28 | 1 << 16, id
#define DESTROY_SUB_CTX(id)        30 | 1 << 16, id
#define CREATE_VIEW(handle, id)    1 | 6 << 8 | 6 << 16, handle, id, PV_GPU_FORMAT_B8G8R8A8, 0, 0, 1 << 3 | 2 << 6 | 3 << 9
#define DESTROY_VIEW(handle)       3 | 6 << 8 | 1 << 16, handle
#define SAMPLE(shader, at, handle) 10 | 3 << 16, shader, at, handle
#define SUBMIT(...)                                                                                                    \
	assert_int_equal(submit_to(1, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__})), PV_OK)

/* A desktop has the pictures of all windows and draws one: only those that a command buffer may read are copied. */
static void foreign_blobs_are_copied_if_read(void **state)
{
	enum { VERTEX, FRAGMENT };
	uint32_t before;
	uint8_t *bytes;
	int fd;

	(void)state;
	NEEDS_GL();
	assert_int_equal(make_texture(2, SIDE), PV_OK);
	make_copier(1);
	bytes = import_blob(9, &fd);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
	SUBMIT(CREATE_SUB_CTX(1), SET_SUB_CTX(1), SET_TYPE(9, SIDE, SIDE, BLOB_STRIDE, BLOB_OFFSET));

#define COPIES(n, ...)                                                                                                 \
	do {                                                                                                           \
		before = pictures_copied();                                                                            \
		SUBMIT(__VA_ARGS__);                                                                                   \
		assert_int_equal(pictures_copied() - before, n);                                                       \
	} while (0)
	COPIES(0, 0);
	COPIES(1, COPY(2, 9));
	COPIES(0, COPY(2, 2));
	COPIES(1, CREATE_VIEW(7, 9));
	COPIES(0, CREATE_VIEW(8, 2), SAMPLE(FRAGMENT, 0, 8));
	COPIES(1, SAMPLE(FRAGMENT, 1, 7));
	/* It stays bound, also without its name, until something else is there. */
	COPIES(1, 0);
	COPIES(1, DESTROY_VIEW(7));
	COPIES(1, SAMPLE(FRAGMENT, 0, 0), SAMPLE(VERTEX, 1, 0));
	COPIES(1, SAMPLE(FRAGMENT, 1, 8));
	COPIES(0, 0);
	/* Another object has its handle. */
	COPIES(0, CREATE_VIEW(7, 2), SAMPLE(FRAGMENT, 1, 7));
	/* Each sub-context has its own. */
	COPIES(1, CREATE_VIEW(10, 9), SAMPLE(VERTEX, 31, 10));
	COPIES(1, SET_SUB_CTX(0));
	COPIES(0, SAMPLE(VERTEX, 30, 10));
	COPIES(1, SET_SUB_CTX(1), SAMPLE(VERTEX, 31, 0));
	COPIES(0, 0);
	/* Without a sub-context it is not known what is bound. */
	COPIES(1, DESTROY_SUB_CTX(1));
	COPIES(1, 0);
	COPIES(1, SET_SUB_CTX(0));
	COPIES(0, 0);
	/* Nor of one that is new to us since there was no import for a while. */
	renderer->ops->context_detach(renderer, 1, 9);
	COPIES(0, 0);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
	COPIES(1, 0);
	COPIES(1, SET_SUB_CTX(0));
	COPIES(0, 0);
	/* A view that was made in one that is not known can be bound in any. */
	renderer->ops->context_detach(renderer, 1, 9);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
	COPIES(1, CREATE_VIEW(11, 9));
	COPIES(1, SET_SUB_CTX(0));
	COPIES(1, SAMPLE(VERTEX, 0, 11));
	COPIES(1, 0);
#undef COPIES
	end_blob(bytes, fd);
}

static void foreign_blobs_are_limited(void **state)
{
	struct pv_resource_info info = {.kind = PV_RESOURCE_FOREIGN_BLOB, .size_bytes = BLOB_BYTES};

	(void)state;
	NEEDS_GL();
	assert_int_equal(renderer->ops->context_create(renderer, 1, 1, PV_VIRGL2_CAPSET_ID, "x"), PV_OK);
	for (info.id = 1; info.id <= PV_VIRGL_MAX_IMPORTS + 1; info.id++)
		assert_int_equal(renderer->ops->resource_create(renderer, 1, &info), PV_OK);
	for (uint32_t id = 1; id <= PV_VIRGL_MAX_IMPORTS; id++)
		assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, id), PV_OK);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, PV_VIRGL_MAX_IMPORTS + 1), PV_ERR_NO_MEMORY);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, PV_VIRGL_MAX_IMPORTS), PV_OK);
	/* One that goes makes room. */
	renderer->ops->context_detach(renderer, 1, 7);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, PV_VIRGL_MAX_IMPORTS + 1), PV_OK);
}

static void hostile_types(void **state)
{
	static const uint32_t cases[][11] = {
	    {SET_TYPE(9, 0, SIDE, BLOB_STRIDE, 0)},
	    {SET_TYPE(9, UINT32_MAX, SIDE, BLOB_STRIDE, 0)},
	    {SET_TYPE(9, SIDE, 1u << 31, BLOB_STRIDE, 0)},
	    /* More than the device has counted. */
	    {SET_TYPE(9, 8192, 8192, 8192 * 4, 0)},
	    {SET_TYPE(9, 1, 16384, 4, 0)},
	    {SET_TYPE(8, SIDE, SIDE, BLOB_STRIDE, 0)},
	    {49 | 8 << 16, 9, PV_GPU_FORMAT_B8G8R8A8, 1 << 3, SIDE, SIDE, 0, 0, 0},
	    {49, 9},
	};
	/* Of a length that the sanitizer knows. */
	uint32_t *header = malloc(sizeof(*header));
	/* Textures that get nothing from the blob, since it is not all there; the context lives on. */
	static const uint32_t layouts[][2] = {
	    {SIDE * 4 - 4, 0},
	    {0, 0},
	    {UINT32_MAX, 0},
	    {BLOB_STRIDE, BLOB_BYTES - SIDE * BLOB_STRIDE + 68},
	    {BLOB_STRIDE, UINT32_MAX - 3},
	};
	uint8_t *bytes;
	int fd;

	(void)state;
	NEEDS_GL();
	assert_int_equal(make_texture(2, SIDE), PV_OK);
	bytes = import_blob(9, &fd);
	for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
		make_copier(1);
		assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
		assert_int_equal(submit_to(1, cases[i], sizeof(cases[i])), PV_ERR_GUEST);
		renderer->ops->context_destroy(renderer, 1);
	}
	*header = 49;
	make_copier(1);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
	assert_int_equal(submit_to(1, header, sizeof(*header)), PV_ERR_GUEST);
	renderer->ops->context_destroy(renderer, 1);
	free(header);
	/* Not this context's. */
	make_copier(1);
	assert_int_equal(submit_to(1, (const uint32_t[]){SET_TYPE(9, SIDE, SIDE, BLOB_STRIDE, 0)}, 44), PV_ERR_GUEST);
	renderer->ops->context_destroy(renderer, 1);
	renderer->ops->resource_destroy(renderer, 9);
	end_blob(bytes, fd);

	make_copier(1);
	for (size_t i = 0; i < PV_ARRAY_LEN(layouts); i++) {
		const uint32_t words[] = {SET_TYPE(9, SIDE, SIDE, layouts[i][0], layouts[i][1]), COPY(2, 9)};

		bytes = import_blob(9, &fd);
		memset(bytes, 0xff, 4096 + BLOB_BYTES + 4096);
		assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
		assert_int_equal(submit_to(1, words, sizeof(words)), PV_OK);
		assert_int_equal(submit_to(1, words, sizeof(words)), PV_OK);
		renderer->ops->resource_destroy(renderer, 9);
		end_blob(bytes, fd);
	}
	/* A command that is longer than the rest: as in a context without imports. */
	static const uint32_t longer[] = {49 | 0xffffu << 16, 9};
	bytes = import_blob(9, &fd);
	assert_int_equal(renderer->ops->context_attach(renderer, 1, 1, 9), PV_OK);
	make_copier(3);
	assert_int_equal(submit_to(1, longer, sizeof(longer)), submit_to(3, longer, sizeof(longer)));
	end_blob(bytes, fd);
}

#define IN_BOTH_WAYS(test)                                                                                             \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down),                                                      \
	    cmocka_unit_test_setup_teardown(test, set_up_by_buffer, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(sets_are_those_of_opengl, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(there_is_one_for_the_process, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(render_nodes_that_cannot_draw, set_up, tear_down),
	    IN_BOTH_WAYS(textures_come_back),
	    IN_BOTH_WAYS(each_format_is_read_as_it_is_shown),
	    IN_BOTH_WAYS(pictures_are_the_right_way_up),
	    IN_BOTH_WAYS(pictures_are_put_where_they_are_wanted),
	    IN_BOTH_WAYS(a_picture_may_go_while_it_is_read),
	    cmocka_unit_test_setup_teardown(drawing_holds_up_nobody, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_guests_memory_may_move, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(hostile_transfers, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(hostile_resources, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(fences_come, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_end_of_a_context_costs_no_other_its_fence, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_commands_lose_their_context, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(nothing_is_made_in_command_buffers, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(gl_contexts_are_limited, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(objects_are_counted, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(foreign_blobs_are_textures, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(foreign_blobs_are_copied_if_read, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(foreign_blobs_are_limited, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(hostile_types, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

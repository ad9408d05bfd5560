/* SPDX-License-Identifier: MIT */
/*
 * A driver in small: a page of memory with queues in it, and a display that notes what it is told. For tests: each is a
 * program of its own, and includes this once.
 */
#ifndef PV_GPU_GPU_TEST_H
#define PV_GPU_GPU_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "gpu/gpu.h"
#include "gpu/protocol.h"
#include "render2d/render2d.h"

#define BASE       0x40000000ull
#define QUEUE_SIZE 64

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct queue_memory {
	struct desc desc[QUEUE_SIZE];
	struct {
		uint16_t flags, idx, ring[QUEUE_SIZE], used_event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE_SIZE];
		uint16_t avail_event;
	} used __attribute__((aligned(4)));
};

/* One request uses slot N of both arrays and descriptors 2N, 2N + 1. */
#define SLOTS (QUEUE_SIZE / 2)

static struct {
	struct queue_memory queues[PV_GPU_NR_QUEUES];
	union {
		struct pv_gpu_ctrl_hdr hdr;
		uint8_t bytes[512];
	} request[SLOTS];
	union {
		struct pv_gpu_ctrl_hdr hdr;
		struct pv_gpu_resp_display_info display_info;
		struct pv_gpu_resp_edid edid;
		struct pv_gpu_resp_uuid uuid;
	} response[SLOTS];
	uint32_t pixels[256 * 256];
} guest __attribute__((aligned(4096)));

static struct pv_loop *loop;
static struct pv_gpu *gpu;
static struct pv_guest_map *map;
static int interrupts[PV_GPU_NR_QUEUES], config_changes, resets_needed;

static inline uint64_t address(const void *p)
{
	return BASE + (uint64_t)((const char *)p - (const char *)&guest);
}

/* A display that notes what it is told. */

static struct {
	struct pv_display base;
	struct pv_frame *frame[PV_GPU_MAX_SCANOUTS];
	struct pv_rect src[PV_GPU_MAX_SCANOUTS], damage[PV_GPU_MAX_SCANOUTS];
	int damages, queries, cursor_sets, cursor_moves;
	struct pv_cursor cursor;
	bool destroyed;
} screen;

static inline void screen_destroy(struct pv_display *d)
{
	(void)d;
	for (int i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		pv_frame_unref(screen.frame[i]);
	screen.destroyed = true;
}

static inline void screen_set_scanout(struct pv_display *d, uint32_t id, struct pv_frame *frame,
				      const struct pv_rect *src)
{
	(void)d;
	pv_frame_unref(screen.frame[id]);
	screen.frame[id] = frame ? pv_frame_ref(frame) : NULL;
	screen.src[id] = *src;
}

static inline void screen_damage(struct pv_display *d, uint32_t id, const struct pv_rect *rect)
{
	(void)d;
	assert_true(pv_rect_fits(rect, screen.src[id].width, screen.src[id].height));
	screen.damage[id] = *rect;
	screen.damages++;
}

static inline void screen_set_cursor(struct pv_display *d, const struct pv_cursor *cursor)
{
	(void)d;
	screen.cursor = *cursor;
	screen.cursor_sets++;
}

static inline void screen_move_cursor(struct pv_display *d, const struct pv_cursor *cursor)
{
	(void)d;
	screen.cursor = *cursor;
	screen.cursor_moves++;
}

static inline void screen_query(struct pv_display *d)
{
	(void)d;
	screen.queries++;
}

static const struct pv_display_ops screen_ops = {.name = "screen",
						 .destroy = screen_destroy,
						 .set_scanout = screen_set_scanout,
						 .damage = screen_damage,
						 .set_cursor = screen_set_cursor,
						 .move_cursor = screen_move_cursor};
static const struct pv_display_ops asking_screen_ops = {.name = "asking",
							.destroy = screen_destroy,
							.set_scanout = screen_set_scanout,
							.damage = screen_damage,
							.query_outputs = screen_query};

static inline void on_interrupt(void *user, uint32_t queue)
{
	(void)user;
	interrupts[queue]++;
}

static inline void on_config_changed(void *user)
{
	(void)user;
	config_changes++;
}

static inline void on_needs_reset(void *user)
{
	(void)user;
	resets_needed++;
}

static const struct pv_gpu_transport_ops transport_ops = {
    .interrupt = on_interrupt, .config_changed = on_config_changed, .needs_reset = on_needs_reset};

static inline void start_queues(void)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		struct queue_memory *q = &guest.queues[i];
		const struct pv_virtq_layout layout = {QUEUE_SIZE, address(q->desc), address(&q->avail),
						       address(&q->used)};

		memset(q, 0, sizeof(*q));
		assert_int_equal(pv_gpu_queue_start(gpu, i, &layout, 0), PV_OK);
	}
	pv_loop_step(loop, 0);
}

static inline int set_up(void **state, struct pv_renderer *renderer)
{
	(void)state;
	struct pv_guest_region *region;
	struct pv_gpu_params params = {.take_renderer = renderer,
				       .nr_outputs = 2,
				       .outputs = {{.enabled = true, .width = 640, .height = 480},
						   {.enabled = true, .x = 640, .width = 800, .height = 600}},
				       .max_host_bytes = 1 << 20};

	memset(&guest, 0, sizeof(guest));
	memset(&screen, 0, sizeof(screen));
	memset(interrupts, 0, sizeof(interrupts));
	config_changes = resets_needed = 0;
	pv_log_set_level(PV_LOG_ERROR);
	if (pv_loop_create(&loop) != PV_OK)
		return -1;
	params.loop = loop;
	if (pv_gpu_create(&params, &gpu) != PV_OK)
		return -1;
	if (pv_guest_region_create(
		&(struct pv_guest_region_params){
		    .guest_addr = BASE, .size_bytes = sizeof(guest), .fd = -1, .memory = &guest},
		&region) != PV_OK ||
	    pv_guest_map_create(&region, 1, &map) != PV_OK)
		return -1;
	pv_guest_region_unref(region);
	pv_gpu_set_transport(gpu, &transport_ops, NULL);
	pv_gpu_set_guest_map(gpu, map);
	screen.base.ops = &screen_ops;
	pv_gpu_add_display(gpu, &screen.base);
	if (pv_gpu_set_driver_features(gpu, pv_gpu_features(gpu) & ~PV_VIRTIO_RING_F_EVENT_IDX) != PV_OK)
		return -1;
	start_queues();
	return 0;
}

static inline int set_up_2d(void **state)
{
	struct pv_renderer *renderer;

	return pv_render2d_create(&renderer) == PV_OK ? set_up(state, renderer) : -1;
}

static inline int tear_down(void **state)
{
	(void)state;
	pv_gpu_destroy(gpu);
	assert_true(screen.destroyed);
	pv_guest_map_unref(map);
	pv_loop_destroy(loop);
	return 0;
}

/* Announces a command in `slot` without ringing. */
static inline void announce(uint32_t queue, unsigned slot, const void *command, size_t len)
{
	struct queue_memory *q = &guest.queues[queue];
	struct desc *desc = &q->desc[(size_t)2 * slot];

	assert_true(len <= sizeof(guest.request[slot]));
	memcpy(&guest.request[slot], command, len);
	memset(&guest.response[slot], 0, sizeof(guest.response[slot]));
	desc[0] = (struct desc){address(&guest.request[slot]), (uint32_t)len, 1, (uint16_t)(2 * slot + 1)};
	desc[1] = (struct desc){address(&guest.response[slot]), sizeof(guest.response[slot]), 2, 0};
	q->avail.ring[q->avail.idx % QUEUE_SIZE] = (uint16_t)(2 * slot);
	q->avail.idx++;
}

static inline uint32_t run(const void *command, size_t len)
{
	announce(PV_GPU_QUEUE_CONTROL, 0, command, len);
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	return guest.response[0].hdr.type;
}

#define RUN(type, ...) run(&(struct type){__VA_ARGS__}, sizeof(struct type))
#define HDR(command)   .hdr = {.type = PV_GPU_CMD_##command}

static inline uint32_t create_2d(uint32_t id, uint32_t width, uint32_t height)
{
	return RUN(pv_gpu_resource_create_2d, HDR(RESOURCE_CREATE_2D), .resource_id = id,
		   .format = PV_GPU_FORMAT_B8G8R8X8, .width = width, .height = height);
}

static inline uint32_t attach_pixels(uint32_t id)
{
	struct {
		struct pv_gpu_attach_backing cmd;
		struct pv_gpu_mem_entry entries[2];
	} c = {.cmd = {HDR(RESOURCE_ATTACH_BACKING), .resource_id = id, .nr_entries = 2},
	       .entries = {{.addr = address(guest.pixels), .length = 4096},
			   {.addr = address(guest.pixels) + 4096, .length = sizeof(guest.pixels) - 4096}}};
	return run(&c, sizeof(c));
}

#endif

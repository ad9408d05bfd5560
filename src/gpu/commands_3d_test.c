/* SPDX-License-Identifier: MIT */
/* 3D commands against a renderer that answers when the test says so. The driver is a page of memory with a queue in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/log.h"
#include "gpu/gpu.h"
#include "gpu/protocol.h"

#define BASE         0x40000000ull
#define QUEUE_SIZE   64
#define SLOTS        (QUEUE_SIZE / 2)
#define WINDOW_BYTES (4ull << 20)

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static struct {
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
	union {
		struct pv_gpu_ctrl_hdr hdr;
		uint8_t bytes[256];
	} request[SLOTS];
	union {
		struct pv_gpu_ctrl_hdr hdr;
		struct pv_gpu_resp_capset_info capset_info;
		struct pv_gpu_resp_capset capset;
		struct pv_gpu_resp_map_info map_info;
	} response[SLOTS];
} guest __attribute__((aligned(4096)));

static struct pv_loop *loop;
static struct pv_gpu *gpu;
static struct pv_guest_map *map;
static uint8_t *window;
static unsigned next_slot;

/* ---- The renderer ---- */

enum op { OP_CREATE, OP_CONTEXT, OP_ATTACH, OP_SUBMIT, OP_MAP, OP_UNMAP, OP_BACKING, NR_OPS };

static struct {
	struct pv_renderer base;
	bool later[NR_OPS], fences_later;
	enum pv_status status[NR_OPS];
	uint64_t op[NR_OPS]; /* the newest of each */
	int count[NR_OPS];
	uint64_t fences[SLOTS];
	int nr_fences;
	uint32_t fence_ctx, fence_ring, attached_ctx, attached_resource, capset_id;
	char name[65];
	uint8_t submitted[256];
	size_t submitted_bytes;
	struct pv_resource_info info;
	uint64_t map_offset, window_bytes;
	int window_fd, destroyed, contexts_destroyed, unmapped_at_once;
} fake;

static enum pv_status take(enum op op, uint64_t op_id)
{
	fake.op[op] = op_id;
	fake.count[op]++;
	return fake.later[op] ? PV_PENDING : fake.status[op];
}

static void done(enum op op, enum pv_status status)
{
	fake.base.events.op_done(fake.base.events.user, fake.op[op], status);
}

static void signal_fence(int index)
{
	fake.base.events.fence_signalled(fake.base.events.user, fake.fences[index]);
}

static void fake_destroy(struct pv_renderer *r)
{
	(void)r;
}

static void fake_set_guest_map(struct pv_renderer *r, struct pv_guest_map *m)
{
	(void)r, (void)m;
}

static enum pv_status fake_create(struct pv_renderer *r, uint64_t op_id, const struct pv_resource_info *info)
{
	(void)r;
	fake.info = *info;
	return take(OP_CREATE, op_id);
}

static void fake_resource_destroy(struct pv_renderer *r, uint32_t id)
{
	(void)r, (void)id;
	fake.destroyed++;
}

static enum pv_status fake_attach_backing(struct pv_renderer *r, uint64_t op_id, uint32_t id,
					  const struct pv_guest_span *s, size_t n)
{
	(void)r, (void)id, (void)s, (void)n;
	return take(OP_BACKING, op_id);
}

static void fake_detach_backing(struct pv_renderer *r, uint32_t id)
{
	(void)r, (void)id;
}

static enum pv_status fake_get_frame(struct pv_renderer *r, uint32_t id, const struct pv_blob_layout *l,
				     struct pv_frame **out)
{
	(void)r, (void)id, (void)l, (void)out;
	return PV_ERR_UNSUPPORTED;
}

static enum pv_status fake_update(struct pv_renderer *r, uint64_t op_id, uint32_t id, const struct pv_rect *rect)
{
	(void)r, (void)op_id, (void)id, (void)rect;
	return PV_OK;
}

static void fake_fence(struct pv_renderer *r, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	fake.fence_ctx = ctx_id;
	fake.fence_ring = ring_idx;
	if (fake.fences_later)
		fake.fences[fake.nr_fences++] = fence_id;
	else
		r->events.fence_signalled(r->events.user, fence_id);
}

static void fake_nothing(struct pv_renderer *r)
{
	(void)r;
}

static enum pv_status fake_set_window(struct pv_renderer *r, int fd, uint64_t size_bytes)
{
	(void)r;
	fake.window_fd = fd;
	fake.window_bytes = size_bytes;
	return PV_OK;
}

static bool fake_capset_info(struct pv_renderer *r, uint32_t index, struct pv_capset_info *out)
{
	(void)r;
	*out = (struct pv_capset_info){.id = 4, .max_version = 0, .max_size_bytes = 160};
	return index == 0;
}

static enum pv_status fake_capset(struct pv_renderer *r, uint32_t id, uint32_t version, void *buf, size_t *len)
{
	(void)r;
	if (id != 4 || version != 0)
		return PV_ERR_GUEST;
	memset(buf, 0x5a, 160);
	*len = 160;
	return PV_OK;
}

static enum pv_status fake_context_create(struct pv_renderer *r, uint64_t op_id, uint32_t ctx_id, uint32_t capset_id,
					  const char *name)
{
	(void)r, (void)ctx_id;
	fake.capset_id = capset_id;
	snprintf(fake.name, sizeof(fake.name), "%s", name);
	return take(OP_CONTEXT, op_id);
}

static void fake_context_destroy(struct pv_renderer *r, uint32_t ctx_id)
{
	(void)ctx_id;
	fake.contexts_destroyed++;
	/* What a renderer must do: its pending ops are answered before this returns. */
	for (int i = 0; i < NR_OPS; i++)
		if (fake.later[i] && fake.op[i])
			r->events.op_done(r->events.user, fake.op[i], PV_ERR_GUEST);
}

static enum pv_status fake_context_attach(struct pv_renderer *r, uint64_t op_id, uint32_t ctx_id, uint32_t resource_id)
{
	(void)r;
	fake.attached_ctx = ctx_id;
	fake.attached_resource = resource_id;
	return take(OP_ATTACH, op_id);
}

static void fake_context_detach(struct pv_renderer *r, uint32_t ctx_id, uint32_t resource_id)
{
	(void)r, (void)ctx_id, (void)resource_id;
	fake.attached_ctx = 0;
}

static enum pv_status fake_submit(struct pv_renderer *r, uint64_t op_id, uint32_t ctx_id, const void *commands,
				  size_t len)
{
	(void)r, (void)ctx_id;
	fake.submitted_bytes = len;
	memcpy(fake.submitted, commands, len < sizeof(fake.submitted) ? len : sizeof(fake.submitted));
	return take(OP_SUBMIT, op_id);
}

static enum pv_status fake_blob_map(struct pv_renderer *r, uint64_t op_id, uint32_t id, uint64_t offset)
{
	(void)r, (void)id;
	fake.map_offset = offset;
	return take(OP_MAP, op_id);
}

static enum pv_status fake_blob_unmap(struct pv_renderer *r, uint64_t op_id, uint32_t id)
{
	(void)r, (void)id;
	if (op_id == 0) {
		fake.unmapped_at_once++;
		return PV_OK;
	}
	return take(OP_UNMAP, op_id);
}

static const struct pv_renderer_ops fake_ops = {
    .name = "fake",
    .destroy = fake_destroy,
    .set_guest_map = fake_set_guest_map,
    .resource_create = fake_create,
    .resource_destroy = fake_resource_destroy,
    .attach_backing = fake_attach_backing,
    .detach_backing = fake_detach_backing,
    .get_frame = fake_get_frame,
    .update_frame = fake_update,
    .create_fence = fake_fence,
    .finish_batch = fake_nothing,
    .reset = fake_nothing,
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
};

/* ---- A display that keeps what it is shown ---- */

static struct {
	struct pv_display base;
	struct pv_frame *frame;
	bool on;
	int damages;
} screen;

static void screen_destroy(struct pv_display *d)
{
	(void)d;
	pv_frame_unref(screen.frame);
}

static void screen_set_scanout(struct pv_display *d, uint32_t id, struct pv_frame *frame, const struct pv_rect *src)
{
	(void)d, (void)id, (void)src;
	screen.on = frame != NULL;
	if (!frame)
		return; /* the last picture stays */
	pv_frame_ref(frame);
	pv_frame_unref(screen.frame);
	screen.frame = frame;
}

static void screen_damage(struct pv_display *d, uint32_t id, const struct pv_rect *rect)
{
	(void)d, (void)id, (void)rect;
	screen.damages++;
}

static const struct pv_display_ops screen_ops = {
    .name = "screen", .destroy = screen_destroy, .set_scanout = screen_set_scanout, .damage = screen_damage};

/* ---- The driver ---- */

static uint64_t address(const void *p)
{
	return BASE + (uint64_t)((const char *)p - (const char *)&guest);
}

static void on_interrupt(void *user, uint32_t queue)
{
	(void)user, (void)queue;
}

static const struct pv_gpu_transport_ops transport_ops = {.interrupt = on_interrupt};

static void start_queue(void)
{
	const struct pv_virtq_layout layout = {QUEUE_SIZE, address(guest.desc), address(&guest.avail),
					       address(&guest.used)};

	memset(&guest, 0, sizeof(guest));
	next_slot = 0;
	assert_int_equal(pv_gpu_queue_start(gpu, PV_GPU_QUEUE_CONTROL, &layout, 0), PV_OK);
	pv_loop_step(loop, 0);
}

static void start_driver(void)
{
	assert_int_equal(pv_gpu_set_driver_features(gpu, pv_gpu_features(gpu) & ~PV_VIRTIO_RING_F_EVENT_IDX), PV_OK);
	start_queue();
}

static int set_up(void **state)
{
	(void)state;
	struct pv_guest_region *region;
	struct pv_gpu_params params = {.take_renderer = &fake.base,
				       .nr_outputs = 1,
				       .outputs = {{.enabled = true, .width = 640, .height = 480}},
				       .window_bytes = WINDOW_BYTES};

	memset(&fake, 0, sizeof(fake));
	memset(&screen, 0, sizeof(screen));
	fake.base.ops = &fake_ops;
	pv_log_set_level(PV_LOG_ERROR);
	if (pv_loop_create(&loop) != PV_OK)
		return -1;
	params.loop = loop;
	if (pv_gpu_create(&params, &gpu) != PV_OK)
		return -1;
	window = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, pv_gpu_window_fd(gpu), 0);
	if (window == MAP_FAILED)
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
	start_driver();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pv_gpu_destroy(gpu);
	munmap(window, WINDOW_BYTES);
	pv_guest_map_unref(map);
	pv_loop_destroy(loop);
	return 0;
}

/* Sends a command; returns its slot. Slots are used once. */
static unsigned send(const void *command, size_t len)
{
	unsigned slot = next_slot++;
	struct desc *desc = &guest.desc[(size_t)2 * slot];

	assert_true(slot < SLOTS && len <= sizeof(guest.request[slot]));
	memcpy(&guest.request[slot], command, len);
	desc[0] = (struct desc){address(&guest.request[slot]), (uint32_t)len, 1, (uint16_t)(2 * slot + 1)};
	desc[1] = (struct desc){address(&guest.response[slot]), sizeof(guest.response[slot]), 2, 0};
	guest.avail.ring[guest.avail.idx % QUEUE_SIZE] = (uint16_t)(2 * slot);
	guest.avail.idx++;
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	return slot;
}

#define SEND(type, ...) send(&(struct type){__VA_ARGS__}, sizeof(struct type))
#define HDR(command)    .hdr = {.type = PV_GPU_CMD_##command}
#define IN(command, id) .hdr = {.type = PV_GPU_CMD_##command, .ctx_id = (id)}

/* 0: not answered. */
static uint32_t answer(unsigned slot)
{
	for (uint16_t i = 0; i < guest.used.idx; i++)
		if (guest.used.ring[i].id == 2 * slot)
			return guest.response[slot].hdr.type;
	return 0;
}

#define assert_answer(slot, type) assert_int_equal(answer(slot), PV_GPU_RESP_##type)
#define assert_no_answer(slot)    assert_int_equal(answer(slot), 0)

static unsigned create_context(uint32_t id)
{
	return SEND(pv_gpu_ctx_create, IN(CTX_CREATE, id), .nlen = 4, .context_init = 4, .debug_name = "test");
}

static unsigned create_blob(uint32_t ctx_id, uint32_t id, uint64_t size)
{
	return SEND(pv_gpu_create_blob, IN(RESOURCE_CREATE_BLOB, ctx_id), .resource_id = id,
		    .blob_mem = PV_GPU_BLOB_MEM_HOST3D, .blob_flags = 1, .blob_id = 7, .size = size);
}

static unsigned map_blob(uint32_t id, uint64_t offset)
{
	return SEND(pv_gpu_map_blob, HDR(RESOURCE_MAP_BLOB), .resource_id = id, .offset = offset);
}

static unsigned unmap_blob(uint32_t id)
{
	return SEND(pv_gpu_resource_ref, HDR(RESOURCE_UNMAP_BLOB), .resource_id = id);
}

static unsigned unref(uint32_t id)
{
	return SEND(pv_gpu_resource_ref, HDR(RESOURCE_UNREF), .resource_id = id);
}

static uint64_t window_used(void)
{
	struct pv_gpu_stats stats;

	pv_gpu_get_stats(gpu, &stats);
	return stats.window_used_bytes;
}

/* ---- Tests ---- */

static void features_and_capsets(void **state)
{
	(void)state;
	struct pv_gpu_config config;

	assert_true(pv_gpu_features(gpu) & 1ull << PV_GPU_F_VIRGL);
	assert_true(pv_gpu_features(gpu) & 1ull << PV_GPU_F_CONTEXT_INIT);
	assert_int_equal(pv_gpu_features_of_3d(gpu) & 3, 1ull << PV_GPU_F_VIRGL);
	pv_gpu_config_read(gpu, 0, &config, sizeof(config));
	assert_int_equal(config.num_capsets, 1);
	assert_int_equal(fake.window_fd, pv_gpu_window_fd(gpu));
	assert_int_equal(fake.window_bytes, WINDOW_BYTES);

	unsigned slot = SEND(pv_gpu_get_capset_info, HDR(GET_CAPSET_INFO), .capset_index = 0);
	assert_answer(slot, OK_CAPSET_INFO);
	assert_int_equal(guest.response[slot].capset_info.capset_id, 4);
	assert_int_equal(guest.response[slot].capset_info.capset_max_size, 160);
	assert_answer(SEND(pv_gpu_get_capset_info, HDR(GET_CAPSET_INFO), .capset_index = 1), ERR_INVALID_PARAMETER);
	slot = SEND(pv_gpu_get_capset, HDR(GET_CAPSET), .capset_id = 4);
	assert_answer(slot, OK_CAPSET);
	assert_int_equal(guest.used.ring[guest.used.idx - 1].len, 24 + 160);
	assert_int_equal(guest.response[slot].capset.capset[159], 0x5a);
	assert_answer(SEND(pv_gpu_get_capset, HDR(GET_CAPSET), .capset_id = 2), ERR_INVALID_PARAMETER);
	assert_answer(SEND(pv_gpu_get_capset, HDR(GET_CAPSET), .capset_id = 4, .capset_version = 1),
		      ERR_INVALID_PARAMETER);
}

static void without_the_feature_there_is_no_3d(void **state)
{
	(void)state;
	assert_int_equal(pv_gpu_set_driver_features(gpu, PV_VIRTIO_F_VERSION_1 | 1ull << PV_GPU_F_RESOURCE_BLOB),
			 PV_OK);
	assert_answer(create_context(1), ERR_UNSPEC);
	assert_answer(create_blob(1, 1, 4096), ERR_UNSPEC);
	assert_int_equal(fake.count[OP_CONTEXT] + fake.count[OP_CREATE], 0);
}

static void contexts_come_and_go(void **state)
{
	(void)state;
	struct pv_gpu_stats stats;

	assert_answer(create_context(0), ERR_INVALID_CONTEXT_ID);
	assert_answer(create_context(5), OK_NODATA);
	assert_int_equal(fake.capset_id, 4);
	assert_string_equal(fake.name, "test");
	assert_answer(create_context(5), ERR_INVALID_CONTEXT_ID);
	/* A name that is longer than it can be, and not all of it is text. */
	struct pv_gpu_ctx_create c = {IN(CTX_CREATE, 6), .nlen = UINT32_MAX};
	memset(c.debug_name, '\n', sizeof(c.debug_name));
	assert_answer(send(&c, sizeof(c)), OK_NODATA);
	assert_int_equal(strlen(fake.name), 64);
	assert_int_equal(fake.name[0], '?');
	pv_gpu_get_stats(gpu, &stats);
	assert_int_equal(stats.contexts, 2);

	assert_answer(SEND(pv_gpu_ctrl_hdr, .type = PV_GPU_CMD_CTX_DESTROY, .ctx_id = 5), OK_NODATA);
	assert_answer(SEND(pv_gpu_ctrl_hdr, .type = PV_GPU_CMD_CTX_DESTROY, .ctx_id = 5), ERR_INVALID_CONTEXT_ID);
	assert_int_equal(fake.contexts_destroyed, 1);
	/* One that the renderer cannot make leaves nothing. */
	fake.later[OP_CONTEXT] = true;
	unsigned slot = create_context(5);
	assert_no_answer(slot);
	done(OP_CONTEXT, PV_ERR_NO_MEMORY);
	assert_answer(slot, ERR_OUT_OF_MEMORY);
	fake.later[OP_CONTEXT] = false;
	assert_answer(create_context(5), OK_NODATA);
	pv_gpu_reset(gpu);
	assert_int_equal(fake.contexts_destroyed, 3);
}

static void command_buffers_are_copied_and_bounded(void **state)
{
	(void)state;
	struct {
		struct pv_gpu_submit_3d cmd;
		uint8_t bytes[16];
	} c = {.cmd = {IN(SUBMIT_3D, 1), .size = 16}, .bytes = {1, 2, 3}};

	assert_answer(send(&c, sizeof(c)), ERR_INVALID_CONTEXT_ID);
	create_context(1);
	assert_answer(send(&c, sizeof(c)), OK_NODATA);
	assert_int_equal(fake.submitted_bytes, 16);
	assert_memory_equal(fake.submitted, c.bytes, 16);
	c.cmd.size = 17;
	assert_answer(send(&c, sizeof(c)), ERR_INVALID_PARAMETER);
	c.cmd.size = UINT32_MAX;
	assert_answer(send(&c, sizeof(c)), ERR_INVALID_PARAMETER);
	c.cmd.size = 0;
	assert_answer(send(&c, sizeof(c)), OK_NODATA);
	assert_int_equal(fake.count[OP_SUBMIT], 2);
	fake.status[OP_SUBMIT] = PV_ERR_GUEST;
	assert_answer(send(&c, sizeof(c)), ERR_INVALID_PARAMETER);
}

static void a_waiting_context_holds_up_nobody(void **state)
{
	(void)state;
	struct pv_gpu_submit_3d c = {
	    .hdr = {.type = PV_GPU_CMD_SUBMIT_3D, .flags = PV_GPU_FLAG_FENCE, .fence_id = 1, .ctx_id = 1}};

	create_context(1);
	fake.later[OP_SUBMIT] = true;
	unsigned waiting = send(&c, sizeof(c));
	assert_no_answer(waiting);
	/* Neither 2D, with a fence of the same timeline, nor another context. */
	assert_answer(SEND(pv_gpu_resource_create_2d,
			   .hdr = {.type = PV_GPU_CMD_RESOURCE_CREATE_2D, .flags = PV_GPU_FLAG_FENCE, .fence_id = 2},
			   .resource_id = 9, .format = 1, .width = 1, .height = 1),
		      OK_NODATA);
	fake.later[OP_SUBMIT] = false;
	assert_answer(create_context(2), OK_NODATA);
	c.hdr.ctx_id = 2;
	assert_answer(send(&c, sizeof(c)), OK_NODATA);
	assert_no_answer(waiting);
}

static void destroying_a_context_answers_what_it_waits_for(void **state)
{
	(void)state;
	struct pv_gpu_submit_3d c = {
	    .hdr = {.type = PV_GPU_CMD_SUBMIT_3D, .flags = PV_GPU_FLAG_FENCE, .fence_id = 1, .ctx_id = 1}};

	create_context(1);
	fake.later[OP_SUBMIT] = true;
	unsigned waiting = send(&c, sizeof(c));
	assert_no_answer(waiting);
	unsigned end = SEND(pv_gpu_ctrl_hdr, .type = PV_GPU_CMD_CTX_DESTROY, .ctx_id = 1);
	assert_answer(end, OK_NODATA);
	assert_answer(waiting, OK_NODATA);
	assert_answer(create_context(1), OK_NODATA);
}

static void fences_of_rings_and_of_the_device(void **state)
{
	(void)state;
	struct pv_gpu_submit_3d c = {.hdr = {.type = PV_GPU_CMD_SUBMIT_3D,
					     .flags = PV_GPU_FLAG_FENCE | PV_GPU_FLAG_INFO_RING_IDX,
					     .fence_id = 11,
					     .ctx_id = 1,
					     .ring_idx = 3}};
	unsigned slots[3];

	create_context(1);
	fake.fences_later = true;
	/* Different timelines: any order. */
	slots[0] = send(&c, sizeof(c));
	assert_int_equal(fake.fence_ctx, 1);
	assert_int_equal(fake.fence_ring, 3);
	c.hdr.ring_idx = 5;
	slots[1] = send(&c, sizeof(c));
	signal_fence(1);
	assert_no_answer(slots[0]);
	assert_answer(slots[1], OK_NODATA);
	assert_int_equal(guest.response[slots[1]].hdr.ring_idx, 5);
	assert_int_equal(guest.response[slots[1]].hdr.fence_id, 11);
	signal_fence(0);
	assert_answer(slots[0], OK_NODATA);

	/* The device's own: in order. */
	fake.nr_fences = 0;
	c.hdr.flags = PV_GPU_FLAG_FENCE;
	for (int i = 0; i < 3; i++)
		slots[i] = send(&c, sizeof(c));
	assert_int_equal(fake.fence_ring, 0);
	signal_fence(2);
	signal_fence(1);
	for (int i = 0; i < 3; i++)
		assert_no_answer(slots[i]);
	signal_fence(0);
	for (int i = 0; i < 3; i++)
		assert_answer(slots[i], OK_NODATA);
	signal_fence(0);

	/* A pending op's fence may come first. */
	fake.nr_fences = 0;
	fake.later[OP_SUBMIT] = true;
	slots[0] = send(&c, sizeof(c));
	assert_int_equal(fake.nr_fences, 1);
	signal_fence(0);
	assert_no_answer(slots[0]);
	done(OP_SUBMIT, PV_OK);
	assert_answer(slots[0], OK_NODATA);
}

/* A machine that is paused: nothing is written meanwhile, nothing is lost, nothing is answered twice. */
static void requests_in_flight_outlive_a_stop(void **state)
{
	(void)state;
	const struct pv_virtq_layout layout = {QUEUE_SIZE, address(guest.desc), address(&guest.avail),
					       address(&guest.used)};
	struct pv_gpu_submit_3d fenced = {IN(SUBMIT_3D, 1)};
	unsigned slots[3];

	create_context(1);
	assert_answer(create_blob(1, 1, 8192), OK_NODATA);
	fenced.hdr.flags = PV_GPU_FLAG_FENCE;
	fake.fences_later = fake.later[OP_MAP] = true;
	slots[0] = send(&fenced, sizeof(fenced));
	slots[1] = send(&fenced, sizeof(fenced));
	slots[2] = map_blob(1, 4096);

	uint16_t base = pv_gpu_queue_stop(gpu, PV_GPU_QUEUE_CONTROL), used = guest.used.idx;
	assert_int_equal(base, guest.avail.idx);
	signal_fence(1);
	done(OP_MAP, PV_OK);
	signal_fence(0);
	assert_int_equal(guest.used.idx, used);
	assert_int_equal(guest.response[slots[2]].hdr.type, 0);

	assert_int_equal(pv_gpu_queue_start(gpu, PV_GPU_QUEUE_CONTROL, &layout, base), PV_OK);
	assert_answer(slots[0], OK_NODATA);
	assert_answer(slots[1], OK_NODATA);
	assert_answer(slots[2], OK_MAP_INFO);
	assert_int_equal(guest.used.idx, (uint16_t)(used + 3));
	signal_fence(0);
	done(OP_MAP, PV_OK);
	assert_int_equal(guest.used.idx, (uint16_t)(used + 3));

	/* Still in flight when it goes on; and twice. */
	fake.nr_fences = 0;
	slots[0] = send(&fenced, sizeof(fenced));
	for (int i = 0; i < 2; i++) {
		base = pv_gpu_queue_stop(gpu, PV_GPU_QUEUE_CONTROL);
		assert_int_equal(pv_gpu_queue_start(gpu, PV_GPU_QUEUE_CONTROL, &layout, base), PV_OK);
		assert_no_answer(slots[0]);
	}
	signal_fence(0);
	assert_answer(slots[0], OK_NODATA);

	/* Another driver's rings: it has asked for nothing. */
	fake.nr_fences = 0;
	send(&fenced, sizeof(fenced));
	(void)pv_gpu_queue_stop(gpu, PV_GPU_QUEUE_CONTROL);
	start_queue();
	signal_fence(0);
	assert_int_equal(guest.used.idx, 0);
	fake.nr_fences = 0;
	send(&fenced, sizeof(fenced));
	(void)pv_gpu_queue_stop(gpu, PV_GPU_QUEUE_CONTROL);
	signal_fence(0);
	pv_gpu_reset(gpu);
	start_driver();
	assert_int_equal(guest.used.idx, 0);
}

static void blobs_have_their_part_of_the_window(void **state)
{
	(void)state;
	struct pv_gpu_stats stats;

	assert_answer(create_blob(1, 1, 8192), ERR_INVALID_CONTEXT_ID);
	create_context(1);
	assert_answer(create_blob(1, 1, 8192), OK_NODATA);
	assert_int_equal(fake.info.kind, PV_RESOURCE_HOST_BLOB);
	assert_int_equal(fake.info.ctx_id, 1);
	assert_int_equal(fake.info.blob_id, 7);
	assert_answer(create_blob(1, 2, 4097), OK_NODATA);
	/* Unaligned, outside, wrapping round. */
	assert_answer(map_blob(1, 100), ERR_INVALID_PARAMETER);
	assert_answer(map_blob(1, WINDOW_BYTES), ERR_INVALID_PARAMETER);
	assert_answer(map_blob(1, WINDOW_BYTES - 4096), ERR_INVALID_PARAMETER);
	assert_answer(map_blob(1, UINT64_MAX - 4095), ERR_INVALID_PARAMETER);
	assert_answer(map_blob(3, 0), ERR_INVALID_RESOURCE_ID);
	assert_int_equal(fake.count[OP_MAP], 0);

	unsigned slot = map_blob(1, 4096);
	assert_answer(slot, OK_MAP_INFO);
	assert_int_equal(guest.response[slot].map_info.map_info, PV_GPU_MAP_CACHE_CACHED);
	assert_int_equal(fake.map_offset, 4096);
	assert_answer(map_blob(1, 65536), ERR_INVALID_PARAMETER); /* twice */
	assert_answer(map_blob(2, 8192), ERR_INVALID_PARAMETER);  /* taken */
	assert_answer(map_blob(2, 0), ERR_INVALID_PARAMETER);     /* its second page is taken */
	assert_answer(map_blob(2, 12288), OK_MAP_INFO);
	assert_int_equal(window_used(), 16384);

	memset(window, 0x77, 32768);
	assert_answer(unmap_blob(1), OK_NODATA);
	assert_answer(unmap_blob(1), ERR_INVALID_PARAMETER);
	assert_int_equal(window_used(), 8192);
	assert_int_equal(window[4095], 0x77);
	assert_int_equal(window[4096], 0);
	assert_int_equal(window[12287], 0);
	assert_int_equal(window[12288], 0x77);
	/* UNREF alone will do. */
	assert_answer(unref(2), OK_NODATA);
	assert_int_equal(window_used(), 0);
	assert_int_equal(window[12288], 0);
	assert_answer(map_blob(1, 0), OK_MAP_INFO);
	pv_gpu_reset(gpu);
	assert_int_equal(fake.unmapped_at_once, 1);
	assert_int_equal(window[0], 0x77); /* the renderer's: it may not have come to it yet */
	pv_gpu_get_stats(gpu, &stats);
	assert_int_equal(stats.window_used_bytes + stats.resources + stats.contexts + stats.host_bytes, 0);
}

static void a_blob_that_cannot_be_mapped(void **state)
{
	(void)state;
	struct pv_gpu_create_blob c = {IN(RESOURCE_CREATE_BLOB, 1), .resource_id = 1,
				       .blob_mem = PV_GPU_BLOB_MEM_HOST3D, .size = 4096};

	create_context(1);
	send(&c, sizeof(c)); /* not mappable */
	assert_answer(map_blob(1, 0), ERR_INVALID_PARAMETER);
	create_blob(1, 2, 4096);
	fake.status[OP_MAP] = PV_ERR_UNSUPPORTED;
	assert_answer(map_blob(2, 0), ERR_UNSPEC);
	assert_int_equal(window_used(), 0);
	fake.status[OP_MAP] = PV_OK;
	fake.later[OP_MAP] = true;
	unsigned slot = map_blob(2, 0);
	assert_no_answer(slot);
	assert_int_equal(window_used(), 4096);
	done(OP_MAP, PV_ERR_HOST);
	assert_answer(slot, ERR_UNSPEC);
	assert_int_equal(window_used(), 0);
	slot = map_blob(2, 0);
	done(OP_MAP, PV_OK);
	assert_answer(slot, OK_MAP_INFO);
	assert_int_equal(guest.response[slot].map_info.map_info, PV_GPU_MAP_CACHE_CACHED);
}

static void a_range_is_nobodys_only_when_the_renderer_is_done(void **state)
{
	(void)state;
	create_context(1);
	create_blob(1, 1, 4096);
	create_blob(1, 2, 4096);
	assert_answer(map_blob(1, 0), OK_MAP_INFO);
	fake.later[OP_UNMAP] = true;
	unsigned unmap = unmap_blob(1);
	unsigned end = unref(1);
	assert_no_answer(unmap);
	assert_no_answer(end);
	assert_answer(unref(1), ERR_INVALID_RESOURCE_ID);
	assert_answer(map_blob(2, 0), ERR_INVALID_PARAMETER);
	assert_answer(create_blob(1, 1, 4096), ERR_INVALID_RESOURCE_ID);
	done(OP_UNMAP, PV_OK);
	assert_answer(unmap, OK_NODATA);
	assert_answer(end, OK_NODATA);
	assert_int_equal(window_used(), 0);
	assert_answer(map_blob(2, 0), OK_MAP_INFO);
	assert_answer(create_blob(1, 1, 4096), OK_NODATA);

	/* The same by UNREF alone. */
	end = unref(2);
	assert_no_answer(end);
	assert_answer(map_blob(1, 0), ERR_INVALID_PARAMETER);
	done(OP_UNMAP, PV_OK);
	assert_answer(end, OK_NODATA);
	assert_answer(map_blob(1, 0), OK_MAP_INFO);
}

static void an_unmap_behind_a_pending_map(void **state)
{
	(void)state;
	create_context(1);
	create_blob(1, 1, 4096);
	fake.later[OP_MAP] = fake.later[OP_UNMAP] = true;
	unsigned map_slot = map_blob(1, 0), unmap_slot = unmap_blob(1);
	done(OP_MAP, PV_ERR_GUEST);
	assert_answer(map_slot, ERR_INVALID_PARAMETER);
	assert_no_answer(unmap_slot);
	assert_int_equal(window_used(), 4096);
	done(OP_UNMAP, PV_OK);
	assert_answer(unmap_slot, OK_NODATA);
	assert_int_equal(window_used(), 0);
}

static void a_creation_that_fails_late(void **state)
{
	(void)state;
	create_context(1);
	fake.later[OP_CREATE] = fake.later[OP_MAP] = true;
	unsigned creation = create_blob(1, 1, 4096), mapping = map_blob(1, 0);
	assert_no_answer(creation);
	done(OP_CREATE, PV_ERR_NO_MEMORY);
	assert_answer(creation, ERR_OUT_OF_MEMORY);
	assert_int_equal(fake.unmapped_at_once, 1);
	assert_int_equal(window_used(), 0);
	done(OP_MAP, PV_ERR_GUEST);
	assert_answer(mapping, ERR_INVALID_PARAMETER);

	/* The id is another's when the failure is reported. */
	creation = create_blob(1, 1, 4096);
	uint64_t old = fake.op[OP_CREATE];
	assert_answer(unref(1), OK_NODATA);
	fake.later[OP_CREATE] = false;
	assert_answer(create_blob(1, 1, 4096), OK_NODATA);
	int destroyed = fake.destroyed;
	fake.base.events.op_done(fake.base.events.user, old, PV_ERR_NO_MEMORY);
	assert_answer(creation, ERR_OUT_OF_MEMORY);
	assert_int_equal(fake.destroyed, destroyed);
	fake.later[OP_MAP] = false;
	assert_answer(map_blob(1, 0), OK_MAP_INFO);
}

static void resources_meet_contexts(void **state)
{
	(void)state;
	create_context(1);
	create_context(2);
	create_blob(1, 1, 4096);
	assert_answer(SEND(pv_gpu_resource_ref, IN(CTX_ATTACH_RESOURCE, 2), .resource_id = 1), OK_NODATA);
	assert_int_equal(fake.attached_ctx, 2);
	assert_int_equal(fake.attached_resource, 1);
	assert_answer(SEND(pv_gpu_resource_ref, IN(CTX_ATTACH_RESOURCE, 3), .resource_id = 1), ERR_INVALID_CONTEXT_ID);
	assert_answer(SEND(pv_gpu_resource_ref, IN(CTX_ATTACH_RESOURCE, 1), .resource_id = 9), ERR_INVALID_RESOURCE_ID);
	assert_answer(SEND(pv_gpu_resource_ref, IN(CTX_DETACH_RESOURCE, 2), .resource_id = 1), OK_NODATA);
	assert_int_equal(fake.attached_ctx, 0);
	/* No OpenGL here. */
	assert_answer(SEND(pv_gpu_resource_create_3d, HDR(RESOURCE_CREATE_3D), .resource_id = 5), ERR_UNSPEC);
	assert_answer(SEND(pv_gpu_transfer_host_3d, HDR(TRANSFER_TO_HOST_3D), .resource_id = 1), ERR_UNSPEC);
}

static unsigned create_texture(uint32_t id, uint32_t width, uint32_t height)
{
	return SEND(pv_gpu_resource_create_3d, HDR(RESOURCE_CREATE_3D), .resource_id = id, .target = 2,
		    .format = PV_GPU_FORMAT_B8G8R8A8, .bind = 2, .width = width, .height = height, .depth = 1,
		    .array_size = 1);
}

static uint64_t charged(void)
{
	struct pv_gpu_stats stats;

	pv_gpu_get_stats(gpu, &stats);
	return stats.host_bytes;
}

static enum pv_status fake_transfer_3d(struct pv_renderer *r, uint64_t op_id, const struct pv_transfer_3d *transfer)
{
	(void)r, (void)op_id, (void)transfer;
	return PV_OK;
}

static void textures_have_their_share_of_host_memory(void **state)
{
	(void)state;
	struct pv_renderer_ops with_opengl = fake_ops;
	const uint64_t picture = 4096ull * 4096 * 4;
	uint32_t id;

	with_opengl.transfer_3d = fake_transfer_3d;
	fake.base.ops = &with_opengl;
	create_context(1);
	for (id = 1; id < 20 && answer(create_texture(id, 4096, 4096)) == PV_GPU_RESP_OK_NODATA; id++)
		;
	assert_int_equal(id, 8); /* of 64 MiB and a little, in 512 */
	assert_int_equal(guest.response[next_slot - 1].hdr.type, PV_GPU_RESP_ERR_OUT_OF_MEMORY);
	assert_answer(unref(id), ERR_INVALID_RESOURCE_ID);
	/* Its copy for displays as well. */
	assert_answer(SEND(pv_gpu_set_scanout, HDR(SET_SCANOUT), .resource_id = 1, .r = {.width = 640, .height = 480}),
		      ERR_OUT_OF_MEMORY);
	assert_answer(create_texture(id, UINT32_MAX, UINT32_MAX), ERR_OUT_OF_MEMORY);
	assert_answer(unref(7), OK_NODATA);
	assert_answer(unref(6), OK_NODATA);
	assert_answer(unref(5), OK_NODATA);
	assert_int_equal(charged() / picture, 4);

	/* What the renderer refuses costs nothing. */
	uint64_t before = charged();
	fake.status[OP_CREATE] = PV_ERR_GUEST;
	assert_answer(create_texture(5, 64, 64), ERR_INVALID_PARAMETER);
	assert_int_equal(charged(), before);
	fake.status[OP_CREATE] = PV_OK;

	/* With the renderer's process its textures are gone, and there is room for others under new ids. */
	fake.base.events.lost(fake.base.events.user);
	assert_true(charged() < 1 << 20);
	for (id = 11; id < 18; id++)
		assert_answer(create_texture(id, 4096, 4096), OK_NODATA);
	pv_gpu_reset(gpu);
	assert_int_equal(charged(), 0);
	fake.base.ops = &fake_ops;
}

/* The second context is OpenGL's: a texture is made of it. */
static void a_blob_in_a_context_of_another_renderer_costs_a_texture(void **state)
{
	(void)state;
	create_context(1);
	SEND(pv_gpu_ctx_create, IN(CTX_CREATE, 2), .context_init = 2);
	create_blob(1, 1, 4 << 20);
	create_blob(1, 2, 1ull << 40);
	assert_answer(SEND(pv_gpu_resource_ref, IN(CTX_ATTACH_RESOURCE, 1), .resource_id = 1), OK_NODATA);
	assert_true(charged() < 1 << 20);
	assert_answer(SEND(pv_gpu_resource_ref, IN(CTX_ATTACH_RESOURCE, 2), .resource_id = 1), OK_NODATA);
	assert_in_range(charged(), 4 << 20, 5 << 20);
	assert_answer(SEND(pv_gpu_resource_ref, IN(CTX_ATTACH_RESOURCE, 2), .resource_id = 1), OK_NODATA);
	assert_in_range(charged(), 4 << 20, 5 << 20);
	assert_answer(SEND(pv_gpu_resource_ref, IN(CTX_ATTACH_RESOURCE, 2), .resource_id = 2), ERR_OUT_OF_MEMORY);
	assert_int_equal(fake.attached_resource, 1);
	assert_answer(unref(1), OK_NODATA);
	assert_true(charged() < 1 << 20);
}

static void a_blob_is_shown_where_it_lies(void **state)
{
	(void)state;
	struct pv_gpu_set_scanout_blob c = {HDR(SET_SCANOUT_BLOB), .r = {0, 0, 16, 16},
					    .resource_id = 1,      .width = 16,
					    .height = 16,          .format = PV_GPU_FORMAT_B8G8R8X8,
					    .strides = {128},      .offsets = {4096}};
	uint32_t pixels[16 * 16];

	create_context(1);
	create_blob(1, 1, 8192);
	assert_answer(send(&c, sizeof(c)), ERR_UNSPEC); /* the renderer cannot show what is not mapped */
	map_blob(1, 65536);
	window[65536 + 4096] = 0xaa;
	assert_answer(send(&c, sizeof(c)), OK_NODATA);
	assert_true(screen.on);
	assert_int_equal(screen.frame->pixels[0], 0xaa);
	/* No copy: what the GPU draws is there. */
	window[65536 + 4096 + 128] = 0xbb;
	assert_answer(SEND(pv_gpu_resource_flush, HDR(RESOURCE_FLUSH), .r = {0, 0, 16, 16}, .resource_id = 1),
		      OK_NODATA);
	pv_frame_read_xrgb(screen.frame, &(struct pv_rect){0, 0, 16, 16}, pixels, 64);
	assert_int_equal(pixels[0], 0xaa);
	assert_int_equal(pixels[16], 0xbb);
	assert_int_equal(screen.damages, 2);

	/* Another stride: the first frame, if it is kept, shows what it showed. */
	struct pv_frame *kept = pv_frame_ref(screen.frame);
	c.strides[0] = 64;
	assert_answer(send(&c, sizeof(c)), OK_NODATA);
	assert_ptr_not_equal(kept, screen.frame);
	window[65536 + 4096] = 0xcc;
	assert_int_equal(kept->pixels[0], 0xaa);
	assert_int_equal(screen.frame->pixels[0], 0xcc);
	pv_frame_unref(kept);
	c.strides[0] = 66;
	assert_answer(send(&c, sizeof(c)), ERR_INVALID_PARAMETER);

	/* The last picture outlives the blob. */
	assert_answer(unref(1), OK_NODATA);
	assert_false(screen.on);
	assert_int_equal(window[65536 + 4096], 0);
	window[65536 + 4096] = 0x11;
	assert_int_equal(screen.frame->pixels[0], 0xcc);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(features_and_capsets),
	    TEST(without_the_feature_there_is_no_3d),
	    TEST(contexts_come_and_go),
	    TEST(command_buffers_are_copied_and_bounded),
	    TEST(a_waiting_context_holds_up_nobody),
	    TEST(destroying_a_context_answers_what_it_waits_for),
	    TEST(fences_of_rings_and_of_the_device),
	    TEST(requests_in_flight_outlive_a_stop),
	    TEST(blobs_have_their_part_of_the_window),
	    TEST(a_blob_that_cannot_be_mapped),
	    TEST(a_range_is_nobodys_only_when_the_renderer_is_done),
	    TEST(an_unmap_behind_a_pending_map),
	    TEST(a_creation_that_fails_late),
	    TEST(resources_meet_contexts),
	    TEST(textures_have_their_share_of_host_memory),
	    TEST(a_blob_in_a_context_of_another_renderer_costs_a_texture),
	    TEST(a_blob_is_shown_where_it_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The console against a VMM made for the test: it keeps a surface for each head as QEMU does, and fails on everything
 * that would make QEMU crash or leak. Both ends run on this thread, turn by turn.
 */
#include "display/vmm_console.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/socket.h"
#include "gpu/protocol.h"

enum { GET_FEATURES = 1, SET_FEATURES, GET_INFO, CURSOR_POS, CURSOR_HIDE, CURSOR_UPDATE, SCANOUT, UPDATE, NR_REQUESTS };
#define REPLY 4u

#define MS               1000000ull
#define FPS              50
#define VMM_BUFFER_BYTES (8u << 20)

/* ---- the core ---- */

static struct {
	struct pv_output outputs[PV_GPU_MAX_SCANOUTS];
	int updated, queried;
} gpu;

static void heads_changed(void *user, const struct pv_output heads[PV_GPU_MAX_SCANOUTS])
{
	(void)user;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (heads[i].enabled)
			assert_true(heads[i].width >= 1 && heads[i].width <= PV_FRAME_MAX_SIDE &&
				    heads[i].height >= 1 && heads[i].height <= PV_FRAME_MAX_SIDE);
	memcpy(gpu.outputs, heads, sizeof(gpu.outputs));
	gpu.updated++;
}

static void queried(void *user)
{
	(void)user;
	gpu.queried++;
}

/* ---- the VMM ---- */

static struct {
	int fd;
	bool answers;
	uint8_t *buf;
	size_t len;
	uint64_t bytes, update_pixels;
	int requests[NR_REQUESTS];
	int last_request;
	struct {
		uint32_t width, height;
		uint32_t *pixels;
		bool updated;
	} surfaces[PV_GPU_MAX_SCANOUTS];
	uint32_t cursor[5 + 64 * 64]; /* scanout, x, y, hot_x, hot_y, pixels */
	bool cursor_visible;
	struct pv_gpu_resp_display_info info;
} vmm;

static struct pv_loop *loop;
static struct pv_display *display;

static void vmm_send(const void *bytes, size_t len)
{
	assert_int_equal(send(vmm.fd, bytes, len, MSG_NOSIGNAL), len);
}

static void vmm_reply(uint32_t request, const void *payload, uint32_t len)
{
	uint32_t header[3] = {request, REPLY, len};

	vmm_send(header, sizeof(header));
	vmm_send(payload, len);
}

static void vmm_answer(uint32_t request)
{
	uint64_t features = 3;

	if (request == GET_FEATURES)
		vmm_reply(request, &features, sizeof(features));
	else if (request == GET_INFO)
		vmm_reply(request, &vmm.info, sizeof(vmm.info));
}

static void vmm_take_scanout(const uint32_t *p)
{
	assert_true(p[0] < PV_GPU_MAX_SCANOUTS);
	/* QEMU forgets a surface that was never drawn on. */
	if (p[1])
		assert_true(!vmm.surfaces[p[0]].pixels || vmm.surfaces[p[0]].updated);
	free(vmm.surfaces[p[0]].pixels);
	vmm.surfaces[p[0]].pixels = p[1] ? calloc((size_t)p[1] * p[2], 4) : NULL;
	vmm.surfaces[p[0]].width = p[1];
	vmm.surfaces[p[0]].height = p[2];
	vmm.surfaces[p[0]].updated = false;
}

static void vmm_take_update(const uint32_t *p, uint32_t len)
{
	struct pv_rect r = {p[1], p[2], p[3], p[4]};

	assert_true(p[0] < PV_GPU_MAX_SCANOUTS);
	/* QEMU uses the surface unseen. */
	assert_non_null(vmm.surfaces[p[0]].pixels);
	assert_false(pv_rect_is_empty(&r));
	assert_true(pv_rect_fits(&r, vmm.surfaces[p[0]].width, vmm.surfaces[p[0]].height));
	assert_int_equal(len, 20 + (uint64_t)r.width * r.height * 4);
	assert_true(len <= 20 + (1u << 20));
	for (uint32_t y = 0; y < r.height; y++)
		memcpy(vmm.surfaces[p[0]].pixels + (size_t)(r.y + y) * vmm.surfaces[p[0]].width + r.x,
		       p + 5 + (size_t)y * r.width, (size_t)r.width * 4);
	vmm.surfaces[p[0]].updated = true;
	vmm.update_pixels += (uint64_t)r.width * r.height;
}

static void vmm_take(uint32_t request, const uint32_t *payload, uint32_t len)
{
	static const uint32_t sizes[NR_REQUESTS] = {[SET_FEATURES] = 8,
						    [CURSOR_POS] = 12,
						    [CURSOR_HIDE] = 12,
						    [CURSOR_UPDATE] = 20 + 64 * 64 * 4,
						    [SCANOUT] = 12};

	assert_true(request > 0 && request < NR_REQUESTS);
	vmm.requests[request]++;
	vmm.last_request = (int)request;
	if (request == UPDATE)
		vmm_take_update(payload, len);
	else
		assert_int_equal(len, sizes[request]);
	if (request == SCANOUT)
		vmm_take_scanout(payload);
	if (request == CURSOR_POS || request == CURSOR_HIDE || request == CURSOR_UPDATE) {
		vmm.cursor_visible = request != CURSOR_HIDE;
		memcpy(vmm.cursor, payload, len);
	}
	if (vmm.answers)
		vmm_answer(request);
}

/* Reads at most `max` bytes and takes the messages that are whole. Returns how much there was. */
static size_t vmm_read(size_t max)
{
	size_t at = 0;

	if (max > VMM_BUFFER_BYTES - vmm.len)
		max = VMM_BUFFER_BYTES - vmm.len;
	ssize_t n = recv(vmm.fd, vmm.buf + vmm.len, max, MSG_DONTWAIT);
	if (n <= 0)
		return 0;
	vmm.len += (size_t)n;
	vmm.bytes += (size_t)n;
	while (vmm.len - at >= 12) {
		uint32_t header[3];

		memcpy(header, vmm.buf + at, sizeof(header));
		assert_int_equal(header[1], 0);
		assert_true(header[2] < VMM_BUFFER_BYTES / 2);
		if (vmm.len - at < 12 + header[2])
			break;
		vmm_take(header[0], (const uint32_t *)(const void *)(vmm.buf + at + 12), header[2]);
		at += 12 + header[2];
	}
	vmm.len -= at;
	memmove(vmm.buf, vmm.buf + at, vmm.len);
	return (size_t)n;
}

/* Both sides until neither has anything to do for 3 frame times. */
static void settle_reading(size_t piece)
{
	uint64_t quiet_since_ns = pv_now_ns();

	while (pv_now_ns() - quiet_since_ns < 3000 * MS / FPS) {
		pv_loop_step(loop, MS);
		if (vmm_read(piece) > 0)
			quiet_since_ns = pv_now_ns();
	}
}

static void settle(void)
{
	settle_reading(VMM_BUFFER_BYTES);
}

static void steps(int n)
{
	while (n--)
		pv_loop_step(loop, 0);
}

static int set_up(void **state)
{
	int fds[2];

	(void)state;
	memset(&vmm, 0, sizeof(vmm));
	memset(&gpu, 0, sizeof(gpu));
	vmm.info.hdr.type = PV_GPU_RESP_OK_DISPLAY_INFO;
	vmm.info.pmodes[0].enabled = 1;
	vmm.info.pmodes[0].r = (struct pv_gpu_wire_rect){0, 0, 1280, 800};
	vmm.answers = true;
	vmm.buf = malloc(VMM_BUFFER_BYTES);
	if (!vmm.buf || pv_socket_pair(fds) != PV_OK || pv_loop_create(&loop) != PV_OK)
		return -1;
	vmm.fd = fds[0];
	struct pv_vmm_console_params params = {
	    .loop = loop, .take_fd = fds[1], .max_fps = FPS, .heads_changed = heads_changed, .queried = queried};
	return pv_vmm_console_create(&params, &display) == PV_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	pv_display_destroy(display);
	pv_loop_destroy(loop);
	pv_fd_close(&vmm.fd);
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		free(vmm.surfaces[i].pixels);
	free(vmm.buf);
	return 0;
}

/* ---- the guest's screen ---- */

static struct pv_frame *make_frame(uint32_t width, uint32_t height)
{
	struct pv_frame *frame;

	assert_int_equal(pv_frame_create(width, height, PV_GPU_FORMAT_B8G8R8X8, &frame), PV_OK);
	return frame;
}

static void paint(struct pv_frame *frame, const struct pv_rect *r, uint32_t seed)
{
	for (uint32_t y = r->y; y < r->y + r->height; y++) {
		uint32_t *row = (uint32_t *)(void *)(frame->pixels + (size_t)y * frame->stride_bytes);
		for (uint32_t x = r->x; x < r->x + r->width; x++)
			row[x] = 0xff000000u | ((x * 31 + y * 17 + seed * 101) & 0xffffff);
	}
}

static struct pv_rect whole(const struct pv_frame *frame)
{
	return (struct pv_rect){0, 0, frame->width, frame->height};
}

static void damage(uint32_t scanout_id, struct pv_rect rect)
{
	display->ops->damage(display, scanout_id, &rect);
}

static void show(uint32_t scanout_id, struct pv_frame *frame, struct pv_rect src)
{
	display->ops->set_scanout(display, scanout_id, frame, &src);
	damage(scanout_id, (struct pv_rect){0, 0, src.width, src.height});
}

static void turn_off(uint32_t scanout_id)
{
	display->ops->set_scanout(display, scanout_id, NULL, &(struct pv_rect){0});
}

static void assert_shown(uint32_t scanout_id, const struct pv_frame *frame, struct pv_rect src)
{
	assert_int_equal(vmm.surfaces[scanout_id].width, src.width);
	assert_int_equal(vmm.surfaces[scanout_id].height, src.height);
	for (uint32_t y = 0; y < src.height; y++)
		assert_memory_equal(vmm.surfaces[scanout_id].pixels + (size_t)y * src.width,
				    frame->pixels + (size_t)(src.y + y) * frame->stride_bytes + (size_t)src.x * 4,
				    (size_t)src.width * 4);
}

/* ---- heads and replies ---- */

static void start_sequence(void **state)
{
	uint32_t header[3] = {GET_FEATURES, REPLY, 8};
	uint8_t reply[20] = {0};

	(void)state;
	vmm.answers = false;
	settle();
	assert_int_equal(vmm.requests[GET_FEATURES], 1);
	assert_int_equal(vmm.bytes, 12);
	/* Byte by byte, as a stream may. */
	memcpy(reply, header, sizeof(header));
	for (size_t i = 0; i < sizeof(reply); i++) {
		assert_int_equal(vmm.bytes, 12);
		vmm_send(reply + i, 1);
		steps(3);
	}
	settle();
	assert_int_equal(vmm.requests[SET_FEATURES], 1);
	assert_int_equal(vmm.requests[GET_INFO], 1);
	assert_int_equal(vmm.bytes, 12 + 20 + 12);
	vmm_reply(GET_INFO, &vmm.info, sizeof(vmm.info));
	settle();
	assert_int_equal(gpu.updated, 1);
	assert_int_equal(gpu.queried, 0); /* nobody had asked */
	assert_true(gpu.outputs[0].enabled);
	assert_int_equal(gpu.outputs[0].width, 1280);
	assert_int_equal(gpu.outputs[0].height, 800);
	assert_false(gpu.outputs[1].enabled);
	assert_int_equal(vmm.bytes, 12 + 20 + 12);
}

static void core_is_answered_by_a_fresh_reply(void **state)
{
	(void)state;
	settle();
	vmm.answers = false;
	vmm.info.pmodes[0].r.width = 1000;
	vmm.info.pmodes[1].enabled = 1;
	vmm.info.pmodes[1].r = (struct pv_gpu_wire_rect){1000, 0, 300, 200};
	display->ops->query_outputs(display);
	settle();
	assert_int_equal(gpu.queried, 0);
	/* Asked again while the first reply is due: that one may be too old. */
	display->ops->query_outputs(display);
	settle();
	assert_int_equal(vmm.requests[GET_INFO], 2);
	vmm_answer(GET_INFO);
	settle();
	assert_int_equal(gpu.queried, 0);
	assert_int_equal(vmm.requests[GET_INFO], 3);
	vmm.info.pmodes[0].r.width = 1001;
	vmm_answer(GET_INFO);
	settle();
	assert_int_equal(gpu.queried, 1);
	assert_int_equal(gpu.outputs[0].width, 1001);
	assert_int_equal(gpu.outputs[1].x, 1000);
	assert_int_equal(gpu.outputs[1].height, 200);
	settle();
	assert_int_equal(vmm.requests[GET_INFO], 3);
}

static void core_is_answered_without_a_reply(void **state)
{
	(void)state;
	vmm.answers = false;
	uint64_t start_ns = pv_now_ns();
	display->ops->query_outputs(display);
	while (gpu.queried == 0 && pv_now_ns() - start_ns < 3000 * MS)
		pv_loop_step(loop, 100 * MS);
	assert_int_equal(gpu.queried, 1);
	assert_int_equal(gpu.updated, 0);
	assert_true(pv_now_ns() - start_ns >= 990 * MS);
	/* What comes late is taken all the same, and answers nothing. */
	vmm.answers = true;
	settle();
	assert_true(gpu.updated >= 1);
	assert_int_equal(gpu.queried, 1);
	display->ops->query_outputs(display);
	settle();
	assert_int_equal(gpu.queried, 2);
}

static void odd_sizes_are_made_fit(void **state)
{
	(void)state;
	vmm.info.pmodes[0].r = (struct pv_gpu_wire_rect){UINT32_MAX, 7, UINT32_MAX, 16385};
	vmm.info.pmodes[1].enabled = 0xffffffff;
	vmm.info.pmodes[1].r = (struct pv_gpu_wire_rect){0, 0, 100, 0};
	settle();
	assert_int_equal(gpu.outputs[0].width, PV_FRAME_MAX_SIDE);
	assert_int_equal(gpu.outputs[0].height, PV_FRAME_MAX_SIDE);
	assert_false(gpu.outputs[1].enabled);
}

/* ---- pixels ---- */

static void only_damage_is_sent(void **state)
{
	struct pv_frame *frame = make_frame(400, 300);
	struct pv_rect src = {50, 40, 300, 200};

	(void)state;
	paint(frame, &(struct pv_rect){0, 0, 400, 300}, 1);
	show(0, frame, src);
	settle();
	assert_int_equal(vmm.requests[SCANOUT], 1);
	assert_int_equal(vmm.update_pixels, 300 * 200);
	assert_shown(0, frame, src);

	uint64_t bytes = vmm.bytes;
	vmm.update_pixels = 0;
	paint(frame, &(struct pv_rect){60, 50, 4, 3}, 2);
	damage(0, (struct pv_rect){10, 10, 4, 3});
	paint(frame, &(struct pv_rect){349, 239, 1, 1}, 3);
	damage(0, (struct pv_rect){299, 199, 1, 1});
	settle();
	assert_int_equal(vmm.update_pixels, 13);
	assert_int_equal(vmm.bytes - bytes, 2 * 32 + 13 * 4);
	assert_shown(0, frame, src);

	/* Another buffer of the same size: no new surface. */
	struct pv_frame *other = make_frame(300, 200);
	paint(other, &(struct pv_rect){0, 0, 300, 200}, 4);
	show(0, other, whole(other));
	settle();
	assert_int_equal(vmm.requests[SCANOUT], 1);
	assert_shown(0, other, whole(other));
	pv_frame_unref(frame);
	pv_frame_unref(other);
}

static void what_the_vmm_has_is_not_sent_again(void **state)
{
	struct pv_frame *frame = make_frame(400, 300), *same = make_frame(400, 300);

	(void)state;
	paint(frame, &(struct pv_rect){0, 0, 400, 300}, 1);
	paint(same, &(struct pv_rect){0, 0, 400, 300}, 1);
	show(0, frame, whole(frame));
	settle();

	/* Flips between equal buffers, and flushes of nothing new. */
	uint64_t bytes = vmm.bytes;
	for (int i = 0; i < 4; i++) {
		show(0, i % 2 ? frame : same, whole(frame));
		settle();
	}
	assert_int_equal(vmm.bytes, bytes);

	/* Of a full flush, the part around the changes: two pixels, in one band. */
	vmm.update_pixels = 0;
	paint(frame, &(struct pv_rect){100, 20, 1, 1}, 2);
	paint(frame, &(struct pv_rect){109, 24, 1, 1}, 3);
	damage(0, whole(frame));
	settle();
	assert_int_equal(vmm.update_pixels, 10 * 5);
	assert_shown(0, frame, whole(frame));
	/* Back again: it is the VMM's picture that counts, not the guest's last one. */
	show(0, same, whole(same));
	settle();
	assert_shown(0, same, whole(same));

	/* A new surface knows nothing. */
	vmm.update_pixels = 0;
	turn_off(0);
	settle();
	show(0, same, whole(same));
	settle();
	assert_int_equal(vmm.update_pixels, 400 * 300);
	assert_shown(0, same, whole(same));
	pv_frame_unref(frame);
	pv_frame_unref(same);
}

static void modes_and_off(void **state)
{
	struct pv_frame *a = make_frame(64, 48), *b = make_frame(32, 100);

	(void)state;
	paint(a, &(struct pv_rect){0, 0, 64, 48}, 1);
	paint(b, &(struct pv_rect){0, 0, 32, 100}, 2);
	show(0, a, whole(a));
	show(1, b, whole(b));
	settle();
	assert_shown(0, a, whole(a));
	assert_shown(1, b, whole(b));
	show(0, b, whole(b));
	settle();
	assert_shown(0, b, whole(b));
	turn_off(0);
	settle();
	assert_null(vmm.surfaces[0].pixels);
	assert_int_equal(vmm.last_request, SCANOUT);
	assert_int_equal(vmm.requests[SCANOUT], 4);
	/* Never on, or off again before anybody saw it: nothing to tell. */
	turn_off(0);
	turn_off(5);
	show(5, a, whole(a));
	turn_off(5);
	settle();
	assert_int_equal(vmm.requests[SCANOUT], 4);
	show(0, a, whole(a));
	settle();
	assert_shown(0, a, whole(a));
	/* Many modes at once: only the last one counts. */
	for (uint32_t i = 1; i <= 30; i++)
		show(0, a, (struct pv_rect){0, 0, 2 * i, 40});
	settle();
	assert_shown(0, a, (struct pv_rect){0, 0, 60, 40});
	assert_true(vmm.requests[SCANOUT] <= 7);
	pv_frame_unref(a);
	pv_frame_unref(b);
}

/* However slowly it is read, each new surface is drawn on before the next one comes: see vmm_take_scanout(). */
static void modes_for_a_slow_reader(void **state)
{
	struct pv_frame *frame = make_frame(1024, 600);
	uint64_t start_ns = pv_now_ns();

	(void)state;
	for (uint32_t i = 0; i < 10000 && pv_now_ns() - start_ns < 3000 * MS; i++) {
		struct pv_rect src = {0, 0, 500 + i % 500, 600};

		if (i % 7 == 3)
			turn_off(0);
		else if (i % 3)
			show(0, frame, src);
		pv_loop_step(loop, i % 2 * MS / 4);
		vmm_read(1 + i * 7919 % 40000);
	}
	show(0, frame, whole(frame));
	settle();
	assert_shown(0, frame, whole(frame));
	assert_true(vmm.requests[SCANOUT] > 20);
	pv_frame_unref(frame);
}

static void large_frames_go_in_pieces(void **state)
{
	struct pv_frame *frame = make_frame(2047, 1500);

	(void)state;
	paint(frame, &(struct pv_rect){0, 0, 2047, 1500}, 9);
	show(0, frame, whole(frame));
	settle_reading(70001);
	assert_int_equal(vmm.update_pixels, 2047 * 1500);
	assert_int_equal(vmm.requests[UPDATE], 47); /* of at most 256 KiB */
	assert_shown(0, frame, whole(frame));
	pv_frame_unref(frame);

	/* The widest row there is. */
	frame = make_frame(PV_FRAME_MAX_SIDE, 40);
	paint(frame, &(struct pv_rect){0, 0, PV_FRAME_MAX_SIDE, 40}, 9);
	show(0, frame, whole(frame));
	settle();
	assert_shown(0, frame, whole(frame));
	pv_frame_unref(frame);
}

static void stalled_reader_costs_nothing(void **state)
{
	struct pv_frame *frame = make_frame(1024, 1024);
	uint64_t worst_ns = 0;

	(void)state;
	show(0, frame, whole(frame));
	for (uint32_t i = 0; i < 400; i++) {
		struct pv_rect r = {i % 13 * 70, i % 7 * 130, 100, 120};

		paint(frame, &r, i);
		uint64_t start_ns = pv_now_ns();
		damage(0, r);
		uint64_t took_ns = pv_now_ns() - start_ns;
		worst_ns = took_ns > worst_ns ? took_ns : worst_ns;
		pv_loop_step(loop, i % 8 == 0 ? MS : 0);
	}
	assert_true(worst_ns < 100 * MS);
	assert_int_equal(vmm.bytes, 0);
	/* Not 400 pictures come now, but what had been started and the latest. */
	settle();
	assert_shown(0, frame, whole(frame));
	assert_true(vmm.update_pixels <= UINT64_C(3) * 1024 * 1024);
	pv_frame_unref(frame);
}

static void frames_are_paced(void **state)
{
	struct pv_frame *frame = make_frame(16, 16);

	(void)state;
	show(0, frame, whole(frame));
	settle();
	int before = vmm.requests[UPDATE];
	uint64_t start_ns = pv_now_ns();
	paint(frame, &(struct pv_rect){0, 0, 1, 1}, 77);
	damage(0, (struct pv_rect){0, 0, 1, 1});
	while (vmm.requests[UPDATE] == before) {
		pv_loop_step(loop, MS);
		vmm_read(VMM_BUFFER_BYTES);
	}
	assert_true(pv_now_ns() - start_ns < 15 * MS); /* at once, not a frame later */
	settle();

	before = vmm.requests[UPDATE];
	start_ns = pv_now_ns();
	while (pv_now_ns() - start_ns < 1000 * MS) {
		paint(frame, &(struct pv_rect){3, 3, 2, 2}, (uint32_t)pv_now_ns());
		damage(0, (struct pv_rect){3, 3, 2, 2});
		pv_loop_step(loop, MS);
		vmm_read(VMM_BUFFER_BYTES);
	}
	int sent = vmm.requests[UPDATE] - before;
	assert_true(sent <= FPS + 2);
	assert_true(sent >= FPS / 2); /* a busy machine may lose some */
	settle();
	assert_shown(0, frame, whole(frame));

	/* With nothing to do the loop sleeps. */
	start_ns = pv_now_ns();
	pv_loop_step(loop, 100 * MS);
	assert_true(pv_now_ns() - start_ns >= 95 * MS);
	pv_frame_unref(frame);
}

static int nr_fetches;

static bool begin_fetch(struct pv_frame *frame, const struct pv_rect *stale)
{
	(void)frame, (void)stale;
	nr_fetches++;
	return true;
}

static struct pv_frame *make_far_frame(void)
{
	struct pv_frame *frame = make_frame(32, 32);

	frame->fetch = begin_fetch;
	frame->stale = whole(frame);
	return frame;
}

static void what_is_sent_was_fetched(void **state)
{
	struct pv_frame *frame = make_far_frame(), *other = make_far_frame();

	(void)state;
	nr_fetches = 0;
	show(0, frame, whole(frame));
	settle();
	/* It is flushed in the meantime, and the guest turns the page. */
	frame->stale = (struct pv_rect){3, 3, 1, 1};
	damage(0, (struct pv_rect){3, 3, 1, 1});
	settle();
	show(0, other, whole(other));
	settle();
	assert_int_equal(nr_fetches, 1);
	assert_int_equal(vmm.requests[UPDATE], 0);
	/* The first picture comes all the same, then what was shown since. */
	paint(frame, &(struct pv_rect){0, 0, 32, 32}, 1);
	pv_frame_fetched(frame);
	settle();
	assert_shown(0, frame, whole(frame));
	assert_int_equal(nr_fetches, 2);
	paint(other, &(struct pv_rect){0, 0, 32, 32}, 2);
	pv_frame_fetched(other);
	settle();
	assert_shown(0, other, whole(other));
	assert_int_equal(nr_fetches, 2);
	/* A head that is turned off waits for nothing, and a display that ends neither. */
	other->stale = whole(other);
	damage(0, whole(other));
	settle();
	assert_int_equal(nr_fetches, 3);
	turn_off(0);
	assert_null(other->waiters);
	settle();
	show(0, frame, whole(frame));
	settle();
	assert_int_equal(nr_fetches, 4);
	close(vmm.fd);
	vmm.fd = -1;
	settle();
	assert_null(frame->waiters);
	pv_frame_unref(frame);
	pv_frame_unref(other);
}

static void busy_head_starves_no_other(void **state)
{
	struct pv_frame *big = make_frame(2048, 1024), *small = make_frame(8, 8);
	uint64_t start_ns = pv_now_ns();

	(void)state;
	paint(small, &(struct pv_rect){0, 0, 8, 8}, 5);
	show(0, big, whole(big));
	for (int i = 0; !vmm.surfaces[1].updated; i++) {
		paint(big, &(struct pv_rect){0, 0, 2048, 1024}, (uint32_t)i);
		damage(0, whole(big));
		if (i == 3)
			show(1, small, whole(small));
		pv_loop_step(loop, 0);
		/* Less than is drawn: when a round is done, the next one is due. */
		usleep(1000);
		vmm_read(65536);
		assert_true(pv_now_ns() - start_ns < 5000 * MS);
	}
	assert_shown(1, small, whole(small));
	pv_frame_unref(big);
	pv_frame_unref(small);
}

/* ---- the cursor ---- */

static void cursor_messages(void **state)
{
	static struct pv_cursor cursor = {.scanout_id = 1, .x = 10, .y = -20, .hot_x = 3, .hot_y = 4, .visible = true};

	(void)state;
	for (uint32_t i = 0; i < PV_ARRAY_LEN(cursor.pixels); i++)
		cursor.pixels[i] = i * 0x01010101u;
	settle();
	display->ops->set_cursor(display, &cursor);
	settle();
	assert_int_equal(vmm.requests[CURSOR_UPDATE], 1);
	assert_true(vmm.cursor_visible);
	assert_int_equal(vmm.cursor[0], 1);
	assert_int_equal((int32_t)vmm.cursor[2], -20);
	assert_int_equal(vmm.cursor[4], 4);
	assert_memory_equal(vmm.cursor + 5, cursor.pixels, sizeof(cursor.pixels));

	/* A hundred moves at once are one message, and the image stays where it is. */
	for (int i = 0; i < 100; i++) {
		cursor.x = i;
		display->ops->move_cursor(display, &cursor);
	}
	display->ops->set_cursor(display, &cursor);
	settle();
	assert_int_equal(vmm.requests[CURSOR_POS], 1);
	assert_int_equal(vmm.cursor[1], 99);
	assert_int_equal(vmm.requests[CURSOR_UPDATE], 1);

	cursor.visible = false;
	display->ops->set_cursor(display, &cursor);
	display->ops->set_cursor(display, &cursor);
	settle();
	assert_int_equal(vmm.requests[CURSOR_HIDE], 1);
	assert_false(vmm.cursor_visible);
	display->ops->move_cursor(display, &cursor);
	settle();
	assert_int_equal(vmm.last_request, CURSOR_HIDE);

	cursor.visible = true;
	display->ops->set_cursor(display, &cursor);
	settle();
	assert_true(vmm.cursor_visible);
	assert_int_equal(vmm.requests[CURSOR_UPDATE], 1);

	/* A new image that is hidden before it was sent, and shown later. */
	cursor.pixels[7]++;
	display->ops->set_cursor(display, &cursor);
	cursor.visible = false;
	display->ops->set_cursor(display, &cursor);
	settle();
	assert_false(vmm.cursor_visible);
	int requests = vmm.requests[CURSOR_HIDE];
	settle();
	assert_int_equal(vmm.requests[CURSOR_HIDE], requests);
	cursor.visible = true;
	display->ops->set_cursor(display, &cursor);
	settle();
	assert_true(vmm.cursor_visible);
	assert_memory_equal(vmm.cursor + 5, cursor.pixels, sizeof(cursor.pixels));
}

/* ---- a VMM that leaves or lies ---- */

static int nr_log_lines;

static void count_line(void *user, enum pv_log_level level, const char *line)
{
	(void)user;
	(void)line;
	nr_log_lines += level <= PV_LOG_INFO;
}

/* After it all the calls of the core are harmless, and its questions are answered. */
static void assert_quiet(void)
{
	static struct pv_cursor cursor = {.visible = true};
	struct pv_frame *frame = make_frame(10, 10);
	int before = gpu.queried;

	show(0, frame, whole(frame));
	display->ops->set_cursor(display, &cursor);
	display->ops->move_cursor(display, &cursor);
	turn_off(0);
	display->ops->query_outputs(display);
	assert_int_equal(gpu.queried, before + 1);
	assert_int_equal(frame->refs, 1);
	uint64_t start_ns = pv_now_ns();
	pv_loop_step(loop, 20 * MS);
	assert_true(pv_now_ns() - start_ns >= 19 * MS); /* nothing is polled any more */
	pv_frame_unref(frame);
}

static void hang_up_inside_messages(void **state)
{
	struct pv_frame *frame = make_frame(1000, 1000);
	uint32_t half[2] = {GET_FEATURES, REPLY};

	(void)state;
	pv_log_set_sink(count_line, NULL);
	nr_log_lines = 0;
	display->ops->query_outputs(display);
	show(0, frame, whole(frame));
	steps(20); /* the socket is full in the middle of a band */
	vmm_read(200000);
	steps(5);
	vmm_send(half, sizeof(half));
	pv_fd_close(&vmm.fd);
	for (int i = 0; i < 100; i++)
		pv_loop_step(loop, 0);
	pv_log_set_sink(NULL, NULL);
	assert_int_equal(nr_log_lines, 1);
	assert_int_equal(gpu.queried, 1); /* it was waiting */
	assert_int_equal(frame->refs, 1);
	assert_quiet();
	pv_frame_unref(frame);
}

static void plain_hang_up(void **state)
{
	(void)state;
	settle();
	pv_log_set_sink(count_line, NULL);
	nr_log_lines = 0;
	pv_fd_close(&vmm.fd);
	for (int i = 0; i < 100; i++)
		pv_loop_step(loop, 0);
	pv_log_set_sink(NULL, NULL);
	assert_int_equal(nr_log_lines, 1);
	assert_quiet();
}

static const struct bad_reply {
	const char *what;
	uint32_t header[3];
	uint32_t payload_len;
	bool with_fd;
} bad_replies[] = {
    {"another size", {GET_FEATURES, REPLY, 4}, 4, false},
    {"no size", {GET_FEATURES, REPLY, 0}, 0, false},
    {"a huge size", {GET_FEATURES, REPLY, 0xffffffff}, 8, false},
    {"not a reply", {GET_FEATURES, 0, 8}, 8, false},
    {"not asked for", {GET_INFO, REPLY, 408}, 408, false},
    {"never asked for", {UPDATE, REPLY, 20}, 20, false},
    {"unknown", {77, REPLY, 0}, 0, false},
    {"with a file", {GET_FEATURES, REPLY, 8}, 8, true},
    {"zeros", {0, 0, 0}, 0, false},
};

static void send_with_fd(const void *bytes, size_t len, bool with_fd)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	size_t sent;

	assert_int_equal(pv_socket_send(vmm.fd, &iov, 1, &(int){0}, with_fd, &sent), PV_OK);
	assert_int_equal(sent, len);
}

static void bad_replies_close(void **state)
{
	(void)state;
	for (size_t i = 0; i < PV_ARRAY_LEN(bad_replies); i++) {
		const struct bad_reply *bad = &bad_replies[i];
		uint8_t message[12 + 408] = {0}, byte;

		if (i > 0)
			assert_int_equal(set_up(NULL), 0);
		vmm.answers = false;
		settle();
		memcpy(message, bad->header, 12);
		send_with_fd(message, 12 + bad->payload_len, bad->with_fd);
		steps(20);
		if (recv(vmm.fd, &byte, 1, MSG_DONTWAIT) > 0)
			fail_msg("%s: still talking", bad->what);
		assert_quiet();
		if (i + 1 < PV_ARRAY_LEN(bad_replies))
			tear_down(NULL);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(start_sequence),
	    TEST(core_is_answered_by_a_fresh_reply),
	    TEST(core_is_answered_without_a_reply),
	    TEST(odd_sizes_are_made_fit),
	    TEST(only_damage_is_sent),
	    TEST(what_the_vmm_has_is_not_sent_again),
	    TEST(modes_and_off),
	    TEST(modes_for_a_slow_reader),
	    TEST(large_frames_go_in_pieces),
	    TEST(stalled_reader_costs_nothing),
	    TEST(frames_are_paced),
	    TEST(what_is_sent_was_fetched),
	    TEST(busy_head_starves_no_other),
	    TEST(cursor_messages),
	    TEST(hang_up_inside_messages),
	    TEST(plain_hang_up),
	    TEST(bad_replies_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Pictures that go to a VMM as dma-bufs. The VMM of the test keeps what QEMU would; memory files stand for dma-bufs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/socket.h"
#include "display/vmm_console.h"
#include "gpu/protocol.h"

enum {
	GET_FEATURES = 1,
	SET_FEATURES,
	GET_INFO,
	SCANOUT = 7,
	UPDATE,
	DMABUF_SCANOUT,
	DMABUF_UPDATE,
	DMABUF_SCANOUT2 = 12,
	NR_REQUESTS,
};

#define REPLY   4u
#define DMABUF2 2u
#define MS      1000000ull
#define FPS     100
#define WIDTH   64u
#define HEIGHT  32u
#define TILED   0x0300000000000001ull

static struct {
	int fd;
	bool answers; /* DMABUF_UPDATE */
	uint64_t features, accepted;
	uint8_t buf[1 << 20];
	size_t len;
	int fds[4];
	size_t nr_fds;
	int requests[NR_REQUESTS];
	int order[64], nr_requests;
	/* Of the last message of each kind. */
	uint32_t scanout[12], scanout_bytes, update[5];
	int dma_buf; /* what head 0 shows; -1: none */
} vmm;

static struct pv_loop *loop;
static struct pv_display *display;

static void heads_changed(void *user, const struct pv_output heads[PV_GPU_MAX_SCANOUTS])
{
	(void)user, (void)heads;
}

static void queried(void *user)
{
	(void)user;
}

static void reply(uint32_t request, const void *payload, uint32_t len)
{
	uint32_t header[3] = {request, REPLY, len};

	assert_int_equal(send(vmm.fd, header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
	if (len > 0)
		assert_int_equal(send(vmm.fd, payload, len, MSG_NOSIGNAL), len);
}

static int take_fd(void)
{
	int fd = -1;

	if (vmm.nr_fds > 0) {
		fd = vmm.fds[0];
		memmove(vmm.fds, vmm.fds + 1, --vmm.nr_fds * sizeof(vmm.fds[0]));
	}
	return fd;
}

static void take_scanout(const uint32_t *payload, uint32_t len)
{
	memset(vmm.scanout, 0, sizeof(vmm.scanout));
	assert_true(len <= sizeof(vmm.scanout));
	memcpy(vmm.scanout, payload, len);
	vmm.scanout_bytes = len;
	pv_fd_close(&vmm.dma_buf);
	if (payload[5])
		vmm.dma_buf = take_fd();
	assert_true(!payload[5] == (vmm.dma_buf < 0));
}

static void take(uint32_t request, const uint32_t *payload, uint32_t len)
{
	static const struct pv_gpu_resp_display_info info = {
	    .hdr.type = PV_GPU_RESP_OK_DISPLAY_INFO,
	    .pmodes[0] = {.enabled = 1, .r = {.width = WIDTH, .height = HEIGHT}}};

	assert_true(request > 0 && request < NR_REQUESTS && vmm.nr_requests < (int)PV_ARRAY_LEN(vmm.order));
	vmm.requests[request]++;
	vmm.order[vmm.nr_requests++] = (int)request;
	switch (request) {
	case GET_FEATURES:
		reply(request, &vmm.features, sizeof(vmm.features));
		break;
	case SET_FEATURES:
		memcpy(&vmm.accepted, payload, sizeof(vmm.accepted));
		break;
	case GET_INFO:
		reply(request, &info, sizeof(info));
		break;
	case DMABUF_SCANOUT:
		assert_int_equal(len, 40);
		take_scanout(payload, len);
		break;
	case DMABUF_SCANOUT2:
		assert_int_equal(len, 48);
		take_scanout(payload, len);
		break;
	case DMABUF_UPDATE:
		assert_int_equal(len, 20);
		assert_true(vmm.dma_buf >= 0);
		memcpy(vmm.update, payload, len);
		if (vmm.answers)
			reply(request, NULL, 0);
		break;
	case UPDATE:
		/* QEMU's windows would go on with the dma-buf. */
		assert_true(vmm.dma_buf < 0);
		break;
	default:
		break;
	}
}

static bool vmm_read(void)
{
	size_t n = 0, nr_fds = PV_ARRAY_LEN(vmm.fds) - vmm.nr_fds, at = 0;
	uint32_t header[3];

	if (pv_socket_recv(vmm.fd, vmm.buf + vmm.len, sizeof(vmm.buf) - vmm.len, &n, vmm.fds + vmm.nr_fds, &nr_fds) !=
	    PV_OK)
		return false;
	vmm.nr_fds += nr_fds;
	vmm.len += n;
	while (vmm.len - at >= sizeof(header)) {
		static uint32_t payload[64 << 10];

		memcpy(header, vmm.buf + at, sizeof(header));
		assert_true(header[2] <= sizeof(payload));
		if (vmm.len - at < sizeof(header) + header[2])
			break;
		memcpy(payload, vmm.buf + at + sizeof(header), header[2]);
		take(header[0], payload, header[2]);
		at += sizeof(header) + header[2];
	}
	vmm.len -= at;
	memmove(vmm.buf, vmm.buf + at, vmm.len);
	return n > 0;
}

/* Both sides until neither has anything to do for 4 frame times. */
static void settle(void)
{
	uint64_t quiet_since_ns = pv_now_ns();

	while (pv_now_ns() - quiet_since_ns < 4000 * MS / FPS) {
		pv_loop_step(loop, MS);
		if (vmm_read())
			quiet_since_ns = pv_now_ns();
	}
}

static void start(uint64_t features, bool send_dma_bufs)
{
	int fds[2];

	memset(&vmm, 0, sizeof(vmm));
	vmm.features = features;
	vmm.answers = true;
	vmm.dma_buf = -1;
	assert_int_equal(pv_socket_pair(fds), PV_OK);
	assert_int_equal(pv_loop_create(&loop), PV_OK);
	vmm.fd = fds[0];
	assert_int_equal(pv_fd_set_nonblocking(vmm.fd, true), PV_OK);
	struct pv_vmm_console_params params = {.loop = loop,
					       .take_fd = fds[1],
					       .max_fps = FPS,
					       .send_dma_bufs = send_dma_bufs,
					       .heads_changed = heads_changed,
					       .queried = queried};
	assert_int_equal(pv_vmm_console_create(&params, &display), PV_OK);
	settle();
}

static void finish(void)
{
	pv_display_destroy(display);
	pv_loop_destroy(loop);
	pv_fd_close(&vmm.fd);
	pv_fd_close(&vmm.dma_buf);
	assert_int_equal(vmm.nr_fds, 0);
}

static struct pv_frame *make_frame(void)
{
	struct pv_frame *frame;

	assert_int_equal(pv_frame_create(WIDTH, HEIGHT, PV_GPU_FORMAT_B8G8R8X8, &frame), PV_OK);
	return frame;
}

static struct pv_frame *make_shared(uint64_t modifier, bool y_0_top)
{
	struct pv_frame *frame = make_frame();
	struct pv_dma_buf buf = {
	    .stride_bytes = WIDTH * 4, .fourcc = 0x34325258, .modifier = modifier, .y_0_top = y_0_top};

	assert_int_equal(pv_shm_create("dma-buf", 4096, &buf.fd), PV_OK);
	pv_frame_set_dma_buf(frame, &buf);
	return frame;
}

static void damage(struct pv_rect rect)
{
	display->ops->damage(display, 0, &rect);
}

static void show(struct pv_frame *frame, struct pv_rect src)
{
	display->ops->set_scanout(display, 0, frame, &src);
	damage((struct pv_rect){0, 0, src.width, src.height});
	settle();
}

static void show_all(struct pv_frame *frame)
{
	show(frame, (struct pv_rect){0, 0, WIDTH, HEIGHT});
}

static bool is_file_of(const struct pv_frame *frame)
{
	struct stat a, b;

	assert_int_equal(fstat(vmm.dma_buf, &a), 0);
	assert_int_equal(fstat(frame->dma_buf->fd, &b), 0);
	return a.st_ino == b.st_ino;
}

static void it_goes_without_its_pixels(void **state)
{
	(void)state;
	start(DMABUF2, true);
	struct pv_frame *frame = make_shared(TILED, true);

	assert_int_equal(vmm.accepted, DMABUF2);
	show(frame, (struct pv_rect){8, 4, 32, 16});
	assert_int_equal(vmm.requests[DMABUF_SCANOUT2], 1);
	const uint32_t expected[] = {0, 8, 4, 32, 16, WIDTH, HEIGHT, WIDTH * 4, 1, 0x34325258, 0x00000001, 0x03000000};
	assert_memory_equal(vmm.scanout, expected, sizeof(expected));
	assert_true(is_file_of(frame));
	assert_memory_equal(vmm.update, ((uint32_t[]){0, 0, 0, 32, 16}), sizeof(vmm.update));
	/* What changes in it is only told of. */
	damage((struct pv_rect){1, 2, 3, 4});
	settle();
	assert_memory_equal(vmm.update, ((uint32_t[]){0, 1, 2, 3, 4}), sizeof(vmm.update));
	assert_int_equal(vmm.requests[DMABUF_UPDATE], 2);
	assert_int_equal(vmm.requests[DMABUF_SCANOUT2], 1);
	/* Another part of it is another scanout. */
	show(frame, (struct pv_rect){0, 0, 32, 16});
	assert_int_equal(vmm.requests[DMABUF_SCANOUT2], 2);
	assert_int_equal(vmm.requests[UPDATE] + vmm.requests[SCANOUT] + vmm.requests[DMABUF_SCANOUT], 0);
	pv_frame_unref(frame);
	finish();
}

static void it_is_not_told_of_more_than_it_shows(void **state)
{
	(void)state;
	start(DMABUF2, true);
	struct pv_frame *frame = make_shared(PV_DMA_BUF_LINEAR, false);

	vmm.answers = false;
	show_all(frame);
	assert_int_equal(vmm.requests[DMABUF_UPDATE], 1);
	damage((struct pv_rect){10, 10, 5, 5});
	damage((struct pv_rect){30, 20, 5, 5});
	settle();
	assert_int_equal(vmm.requests[DMABUF_UPDATE], 1);
	reply(DMABUF_UPDATE, NULL, 0);
	settle();
	assert_int_equal(vmm.requests[DMABUF_UPDATE], 2);
	assert_memory_equal(vmm.update, ((uint32_t[]){0, 10, 10, 25, 15}), sizeof(vmm.update));
	/* A head that is turned off meanwhile is so at once. */
	display->ops->set_scanout(display, 0, NULL, &(struct pv_rect){0});
	settle();
	assert_int_equal(vmm.dma_buf, -1);
	assert_int_equal(vmm.requests[SCANOUT], 1);
	pv_frame_unref(frame);
	finish();
}

static void old_front_ends_know_no_modifiers(void **state)
{
	(void)state;
	start(1, true);
	struct pv_frame *plain = make_shared(PV_DMA_BUF_NO_MODIFIER, false), *tiled = make_shared(TILED, false);

	assert_int_equal(vmm.accepted, 0);
	show_all(plain);
	assert_int_equal(vmm.requests[DMABUF_SCANOUT], 1);
	assert_int_equal(vmm.scanout_bytes, 40);
	assert_int_equal(vmm.scanout[8], 0);
	assert_true(is_file_of(plain));
	show_all(tiled);
	assert_true(vmm.requests[UPDATE] > 0);
	pv_frame_unref(plain);
	pv_frame_unref(tiled);
	finish();
}

static void pixels_and_dma_bufs_take_turns(void **state)
{
	(void)state;
	start(DMABUF2, true);
	struct pv_frame *shared = make_shared(PV_DMA_BUF_LINEAR, false), *pixels = make_frame();
	static const int expected[] = {DMABUF_SCANOUT, SCANOUT, UPDATE};

	for (int i = 0; i < 3; i++) {
		show_all(shared);
		assert_true(is_file_of(shared));
		vmm.nr_requests = 0;
		show_all(pixels);
		assert_int_equal(vmm.nr_requests, PV_ARRAY_LEN(expected));
		assert_memory_equal(vmm.order, expected, sizeof(expected));
	}
	/* One that gets its dma-buf later, as from another process, is shown so from then on. */
	struct pv_dma_buf buf = *shared->dma_buf;

	buf.fd = dup(buf.fd);
	pv_frame_set_dma_buf(pixels, &buf);
	vmm.nr_requests = 0;
	damage((struct pv_rect){0, 0, 1, 1});
	settle();
	assert_int_equal(vmm.nr_requests, 2);
	assert_int_equal(vmm.order[0], DMABUF_SCANOUT2);
	assert_int_equal(vmm.order[1], DMABUF_UPDATE);
	pv_frame_unref(shared);
	pv_frame_unref(pixels);
	finish();
}

static void it_is_for_those_who_asked(void **state)
{
	(void)state;
	start(DMABUF2, false);
	struct pv_frame *frame = make_shared(PV_DMA_BUF_LINEAR, false);

	assert_int_equal(vmm.accepted, 0);
	show_all(frame);
	assert_int_equal(vmm.requests[UPDATE], 1);
	assert_int_equal(vmm.requests[DMABUF_SCANOUT2] + vmm.requests[DMABUF_SCANOUT], 0);
	pv_frame_unref(frame);
	finish();
}

static void an_answer_that_is_not_due_closes(void **state)
{
	(void)state;
	start(DMABUF2, true);
	uint8_t byte;

	reply(DMABUF_UPDATE, NULL, 0);
	for (int i = 0; i < 20; i++)
		pv_loop_step(loop, MS);
	assert_int_equal(recv(vmm.fd, &byte, 1, MSG_DONTWAIT), 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_goes_without_its_pixels),       cmocka_unit_test(it_is_not_told_of_more_than_it_shows),
	    cmocka_unit_test(old_front_ends_know_no_modifiers), cmocka_unit_test(pixels_and_dma_bufs_take_turns),
	    cmocka_unit_test(it_is_for_those_who_asked),        cmocka_unit_test(an_answer_that_is_not_due_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

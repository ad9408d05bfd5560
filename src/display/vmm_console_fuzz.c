/* SPDX-License-Identifier: MIT */
/* A hostile VMM at the other end of the console socket, between the calls of a core. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "base/socket.h"
#include "display/vmm_console.h"
#include "gpu/protocol.h"

static void heads_changed(void *user, const struct pv_output heads[PV_GPU_MAX_SCANOUTS])
{
	(void)user;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (heads[i].enabled && (heads[i].width == 0 || heads[i].width > PV_FRAME_MAX_SIDE ||
					 heads[i].height == 0 || heads[i].height > PV_FRAME_MAX_SIDE))
			abort();
}

static void queried(void *user)
{
	(void)user;
}

/* A whole reply with `request` from the input and all else right: what random bytes would take long to find. */
static void send_reply(int fd, uint8_t request, const uint8_t *data, size_t len)
{
	uint8_t message[12 + 408] = {request, 0, 0, 0, 4};
	uint32_t payload = request == 1 ? 8 : request == 3 ? 408 : 0;

	for (size_t i = 0; i < len && i < payload; i++)
		message[12 + i * 37 % payload] = data[i];
	message[8] = (uint8_t)payload;
	message[9] = (uint8_t)(payload >> 8);
	(void)!send(fd, message, 12 + payload, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void one_step(int fd, struct pv_display *display, struct pv_frame *frame, const uint8_t *data, size_t len)
{
	static uint8_t sink[1 << 16];
	static struct pv_cursor cursor;
	uint32_t id = data[0] >> 4;
	struct pv_rect src = {data[1] % 100u, data[1] % 30u, 1 + data[1] / 3u, 1 + data[1] / 5u};

	switch (data[0] & 0x0f) {
	case 0:
		(void)!send(fd, data + 1, len - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 1:
	case 2:
		send_reply(fd, data[0] & 1 ? 1 : 3, data + 1, len - 1);
		break;
	case 3:
		display->ops->query_outputs(display);
		break;
	case 4:
		display->ops->set_scanout(display, id, frame, &src);
		display->ops->damage(display, id, &(struct pv_rect){0, 0, src.width, src.height});
		break;
	case 5:
		display->ops->set_scanout(display, id, NULL, &(struct pv_rect){0});
		break;
	case 6:
		cursor.scanout_id = id;
		cursor.visible = data[1] & 1;
		cursor.hot_x = data[1];
		display->ops->set_cursor(display, &cursor);
		break;
	case 7:
		cursor.x = data[1] * -99;
		display->ops->move_cursor(display, &cursor);
		break;
	case 8:
		(void)!recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
		break;
	case 9:
		shutdown(fd, data[1] & 1 ? SHUT_WR : SHUT_RD);
		break;
	case 10:
		send_reply(fd, 10, data + 1, len - 1);
		break;
	case 11: {
		struct pv_dma_buf buf = {.fd = dup(fd), .modifier = data[1] & 3};

		if (!frame->dma_buf)
			pv_frame_set_dma_buf(frame, &buf);
		break;
	}
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_loop *loop;
	struct pv_frame *frame;
	struct pv_display *display;
	int fds[2];

	pv_log_set_sink(drop_line, NULL);
	if (pv_loop_create(&loop) != PV_OK || pv_socket_pair(fds) != PV_OK ||
	    pv_frame_create(200, 100, PV_GPU_FORMAT_B8G8R8X8, &frame) != PV_OK)
		abort();
	struct pv_vmm_console_params params = {.loop = loop,
					       .take_fd = fds[1],
					       .max_fps = 1000000,
					       .send_dma_bufs = true,
					       .heads_changed = heads_changed,
					       .queried = queried};
	if (pv_vmm_console_create(&params, &display) != PV_OK)
		abort();
	/* Each step: its length, then its bytes. */
	while (size >= 3) {
		size_t len = 2 + data[0] % 64u;

		if (len > size - 1)
			len = size - 1;
		one_step(fds[0], display, frame, data + 1, len);
		pv_loop_step(loop, 0);
		data += 1 + len;
		size -= 1 + len;
	}
	pv_display_destroy(display);
	if (frame->refs != 1)
		abort();
	pv_frame_unref(frame);
	pv_loop_destroy(loop);
	close(fds[0]);
	return 0;
}

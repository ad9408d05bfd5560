/* SPDX-License-Identifier: MIT */
#include "transport/fake_guest.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/socket.h"
#include "render2d/render2d.h"

int fg_count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* The device. */

static void *device_thread(void *user)
{
	struct fg *fg = user;

	pv_loop_run(fg->loop);
	return NULL;
}

void fg_open(struct fg *fg, uint64_t window_bytes)
{
	struct pv_gpu_params params = {
	    .nr_outputs = 1, .outputs = {{.enabled = true, .width = 640, .height = 480}}, .window_bytes = window_bytes};

	*fg = (struct fg){.ram = -1};
	FG_CHECK(pv_loop_create(&fg->loop) == PV_OK);
	FG_CHECK(pv_render2d_create(&params.take_renderer) == PV_OK);
	params.loop = fg->loop;
	FG_CHECK(pv_gpu_create(&params, &fg->gpu) == PV_OK);
	FG_CHECK(pthread_create(&fg->thread, NULL, device_thread, fg) == 0);

	FG_CHECK(pv_shm_create("ram", FG_RAM_BYTES, &fg->ram) == PV_OK);
	fg->memory = mmap(NULL, FG_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fg->ram, 0);
	FG_CHECK(fg->memory != MAP_FAILED);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		int fds[2];

		FG_CHECK(pv_notifier_create(fds) == PV_OK);
		fg->rings[i].kick = fds[0];
		FG_CHECK(pv_notifier_create(fds) == PV_OK);
		fg->rings[i].call = fds[0];
	}
}

static void destroy_gpu(void *user)
{
	struct fg *fg = user;

	pv_gpu_destroy(fg->gpu);
}

void fg_close(struct fg *fg)
{
	pv_loop_call(fg->loop, destroy_gpu, fg);
	pv_loop_stop(fg->loop);
	FG_CHECK(pthread_join(fg->thread, NULL) == 0);
	pv_loop_destroy(fg->loop);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		pv_fd_close(&fg->rings[i].kick);
		pv_fd_close(&fg->rings[i].call);
	}
	munmap(fg->memory, FG_RAM_BYTES);
	pv_fd_close(&fg->ram);
}

/* The socket. */

void fg_socket_pair(int out_fds[2])
{
	FG_CHECK(pv_socket_pair(out_fds) == PV_OK);
}

bool fg_wait_readable(int fd, int ms)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	return poll(&entry, 1, ms) == 1;
}

bool fg_send(int fd, const void *bytes, size_t len, const int *fds, size_t nr_fds)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		struct iovec iov = {.iov_base = (void *)(uintptr_t)at, .iov_len = len};
		size_t sent = 0;

		if (pv_socket_send(fd, &iov, 1, fds, nr_fds, &sent) != PV_OK)
			return false;
		nr_fds = 0;
		at += sent;
		len -= sent;
	}
	return true;
}

void fg_receive(int fd, void *bytes, size_t len)
{
	uint8_t *at = bytes;

	while (len > 0) {
		size_t got = 0;

		FG_CHECK(fg_wait_readable(fd, FG_TIMEOUT_MS));
		FG_CHECK(pv_socket_recv(fd, at, len, &got, NULL, NULL) == PV_OK);
		FG_CHECK(got > 0);
		at += got;
		len -= got;
	}
}

void fg_wait_hang_up(int fd)
{
	for (;;) {
		uint8_t bytes[512];
		size_t got = 0;

		FG_CHECK(fg_wait_readable(fd, FG_TIMEOUT_MS));
		if (pv_socket_recv(fd, bytes, sizeof(bytes), &got, NULL, NULL) != PV_OK || got == 0)
			return;
	}
}

/* The driver. */

/* Each queue has 16 pages: descriptors, available ring, used ring, then commands and responses. */
uint64_t fg_queue_at(uint32_t index)
{
	return 0x10000 + index * 16ULL * FG_PAGE;
}

void fg_forget_rings(struct fg *fg)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		fg->rings[i].next = fg->rings[i].seen = 0;
		memset(fg->memory + fg_queue_at(i), 0, 3 * FG_PAGE);
		pv_notifier_clear(fg->rings[i].call);
	}
}

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define SLOT_BYTES  2048
#define RESPONSE_AT 1024

static uint64_t slot_at(uint32_t index, uint16_t slot)
{
	return fg_queue_at(index) + 3 * FG_PAGE + (uint64_t)slot * SLOT_BYTES;
}

static _Atomic uint16_t *ring_word(struct fg *fg, uint32_t index, uint32_t page, uint32_t word)
{
	return (_Atomic uint16_t *)(void *)(fg->memory + fg_queue_at(index) + page * FG_PAGE + 2 * (size_t)word);
}

void fg_submit(struct fg *fg, uint32_t index, const void *command, uint32_t len)
{
	struct fg_ring *ring = &fg->rings[index];
	uint16_t slot = ring->next % (FG_RING_SIZE / 2);
	uint64_t at = slot_at(index, slot);
	struct desc chain[2] = {{at, len, 1, (uint16_t)(slot * 2 + 1)},
				{at + RESPONSE_AT, SLOT_BYTES - RESPONSE_AT, 2, 0}};

	FG_CHECK(len <= RESPONSE_AT && (uint16_t)(ring->next - ring->seen) < FG_RING_SIZE / 2);
	memcpy(fg->memory + at, command, len);
	memset(fg->memory + at + RESPONSE_AT, 0xee, SLOT_BYTES - RESPONSE_AT);
	memcpy(fg->memory + fg_queue_at(index) + sizeof(chain) * slot, chain, sizeof(chain));
	*ring_word(fg, index, 1, 2 + ring->next % FG_RING_SIZE) = (uint16_t)(slot * 2);
	atomic_store_explicit(ring_word(fg, index, 1, 1), ++ring->next, memory_order_release);
}

void fg_kick(struct fg *fg, uint32_t index)
{
	if (fg->ring_doorbell)
		fg->ring_doorbell(fg->user, index);
	else
		pv_notifier_raise(fg->rings[index].kick);
}

bool fg_is_answered(struct fg *fg, uint32_t index)
{
	return atomic_load_explicit(ring_word(fg, index, 2, 1), memory_order_acquire) == fg->rings[index].next;
}

uint32_t fg_wait_response(struct fg *fg, uint32_t index)
{
	struct fg_ring *ring = &fg->rings[index];
	uint32_t type;

	while (atomic_load_explicit(ring_word(fg, index, 2, 1), memory_order_acquire) == ring->seen) {
		FG_CHECK(fg_wait_readable(ring->call, FG_TIMEOUT_MS));
		pv_notifier_clear(ring->call);
	}
	memcpy(&type, fg->memory + slot_at(index, ring->seen % (FG_RING_SIZE / 2)) + RESPONSE_AT, sizeof(type));
	ring->seen++;
	return type;
}

uint32_t fg_command(struct fg *fg, const void *command, uint32_t len)
{
	fg_submit(fg, PV_GPU_QUEUE_CONTROL, command, len);
	fg_kick(fg, PV_GPU_QUEUE_CONTROL);
	return fg_wait_response(fg, PV_GPU_QUEUE_CONTROL);
}

uint32_t fg_create_2d(struct fg *fg, uint32_t id, uint32_t width, uint32_t height)
{
	struct pv_gpu_resource_create_2d command = {.hdr.type = PV_GPU_CMD_RESOURCE_CREATE_2D,
						    .resource_id = id,
						    .format = PV_GPU_FORMAT_B8G8R8X8,
						    .width = width,
						    .height = height};

	return fg_command(fg, &command, sizeof(command));
}

uint32_t fg_get_display_info(struct fg *fg)
{
	struct pv_gpu_ctrl_hdr command = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};

	return fg_command(fg, &command, sizeof(command));
}

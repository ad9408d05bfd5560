/* SPDX-License-Identifier: MIT */
/*
 * For tests of transports: a device with its thread, a guest with one memfd of RAM, and a driver for its two queues.
 * What a test gets wrong ends the program with a line that says where.
 */
#ifndef PV_TRANSPORT_FAKE_GUEST_H
#define PV_TRANSPORT_FAKE_GUEST_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/gpu.h"
#include "gpu/protocol.h"

#define FG_RAM_BYTES  (4u << 20)
#define FG_RING_SIZE  16
#define FG_PAGE       ((size_t)4096)
#define FG_TIMEOUT_MS 20000

#define FG_CHECK(condition)                                                                                            \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct fg_ring {
	int kick, call; /* event fds */
	uint16_t next;  /* requests given to the device */
	uint16_t seen;  /* of its answers */
};

struct fg {
	struct pv_gpu *gpu;
	struct pv_loop *loop;
	pthread_t thread;
	int ram;
	uint8_t *memory;
	struct fg_ring rings[PV_GPU_NR_QUEUES];
	/* The doorbell, where it is not `kick`; set by the transport's rig. */
	void (*ring_doorbell)(void *user, uint32_t queue);
	void *user;
};

void fg_open(struct fg *fg, uint64_t window_bytes);
/* The transport is gone. */
void fg_close(struct fg *fg);

/* A connected pair: ours, and the one for the device. */
void fg_socket_pair(int out_fds[2]);
bool fg_wait_readable(int fd, int ms);
/* Exactly that many bytes, or the end of the program. */
void fg_receive(int fd, void *bytes, size_t len);
/* False: the device has hung up. */
bool fg_send(int fd, const void *bytes, size_t len, const int *fds, size_t nr_fds);
/* Reads until the device hangs up. */
void fg_wait_hang_up(int fd);
/* How many fds this process has open. */
int fg_count_fds(void);

/* Guest addresses of a queue's descriptors; the available ring is a page behind, the used ring two. */
uint64_t fg_queue_at(uint32_t index);
/* A new driver: rings that start at 0. */
void fg_forget_rings(struct fg *fg);

/* Queues a command in one readable and one writable descriptor; does not ring. */
void fg_submit(struct fg *fg, uint32_t index, const void *command, uint32_t len);
void fg_kick(struct fg *fg, uint32_t index);
/* Waits for the answer to the oldest unanswered command; returns its type. */
uint32_t fg_wait_response(struct fg *fg, uint32_t index);
/* Both, and the kick between. */
uint32_t fg_command(struct fg *fg, const void *command, uint32_t len);
/* True if the device has answered everything. */
bool fg_is_answered(struct fg *fg, uint32_t index);
uint32_t fg_create_2d(struct fg *fg, uint32_t id, uint32_t width, uint32_t height);
uint32_t fg_get_display_info(struct fg *fg);

#endif

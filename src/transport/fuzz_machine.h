/* SPDX-License-Identifier: MIT */
/*
 * For fuzzers of transports: a device core without threads, a guest whose memory holds one ring at a known place, and
 * the input as a stream of bytes. What must not be false ends the program.
 */
#ifndef PV_TRANSPORT_FUZZ_MACHINE_H
#define PV_TRANSPORT_FUZZ_MACHINE_H

#include "transport/device_side.h"

#define FUZZ_RAM_BYTES    (256u << 10)
#define FUZZ_WINDOW_BYTES (2u << 20)
#define FUZZ_MAX_PENDING  16

#define FUZZ_RING_SIZE 8
#define FUZZ_DESC_AT   0x1000
#define FUZZ_AVAIL_AT  0x2000
#define FUZZ_USED_AT   0x3000

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* Zeros when there is nothing left. */
uint8_t fuzz_take_u8(struct fuzz_input *input);
void fuzz_take(struct fuzz_input *input, void *out, size_t len);
void fuzz_check(bool condition);

struct fuzz_machine {
	struct pv_loop *loop;
	struct pv_gpu *gpu;
	struct pv_transport_device device;
	struct pv_transport_op done[FUZZ_MAX_PENDING];
	size_t nr_done;
	int ram, event, pair[2], null;
};

void fuzz_machine_open(struct fuzz_machine *machine, bool has_window);
void fuzz_machine_close(struct fuzz_machine *machine);
/* As the device thread does it, but that it is always as fast as can be; the result is in `done`. */
void fuzz_machine_run(struct fuzz_machine *machine, const struct pv_transport_op *op, size_t max_ops);
/* Kinds: 0 RAM, 1 an event fd, 2 the window, 3 a socket, 4 something else. */
int fuzz_machine_borrow_fd(struct fuzz_machine *machine, uint8_t kind);

/* A few bytes anywhere in guest memory. */
void fuzz_machine_poke(struct fuzz_machine *machine, struct fuzz_input *input);
/* A request in the ring, and the event fd raised. */
void fuzz_machine_submit(struct fuzz_machine *machine, struct fuzz_input *input);

/* The fuzzer's whole run: the log is silent, `next` is called until the input is used up or it returns false. */
void fuzz_machine_loop(struct fuzz_machine *machine, struct fuzz_input *input,
		       bool (*next)(void *user, struct fuzz_input *input), void *user);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Messages with fds between a device's process and its worker, over a non-blocking socket. What is put is kept until it
 * is flushed, so that one system call carries many. Owned by one thread.
 */
#ifndef PV_WORKER_CHANNEL_H
#define PV_WORKER_CHANNEL_H

#include "base/base.h"

/* Larger ones break the protocol. */
#define PV_WORKER_MAX_MESSAGE_BYTES (8u << 20)
#define PV_WORKER_MAX_FDS           64

/* On the wire, in host byte order; sizes are multiples of 8, so that all that follows is aligned. */
struct pv_worker_header {
	uint32_t size_bytes; /* this included */
	uint16_t type;
	uint16_t nr_fds; /* 0 or 1 */
};

struct pv_worker_message {
	uint16_t type;
	size_t len; /* of the payload */
	const void *payload;
	bool has_fd;
};

struct pv_worker_channel {
	int fd; /* owned; -1: closed */

	uint8_t *out;
	size_t out_len, out_room, sent;
	/* Duplicates that go with the message at `at` in `out`. */
	struct pv_worker_fd_mark {
		size_t at;
		int fd;
	} marks[PV_WORKER_MAX_FDS];
	size_t nr_marks;

	uint8_t *in;
	size_t in_len, in_room, taken;
	int fds[PV_WORKER_MAX_FDS]; /* that came, in their order, and whose message was not yet taken */
	size_t nr_fds;
	int current_fd; /* of the last message taken; -1: none, or its receiver has it */
};

/* `take_fd` becomes non-blocking. */
void pv_worker_channel_init(struct pv_worker_channel *channel, int take_fd);
/* Closed: nothing goes out or comes in any more. Twice is harmless. */
void pv_worker_channel_finish(struct pv_worker_channel *channel);

/*
 * A new message with `len` bytes of payload, zeroed, to be filled in before the next call. `fd` (-1: none) is borrowed.
 * NULL: no memory or no fds left.
 */
void *pv_worker_channel_put(struct pv_worker_channel *channel, uint16_t type, size_t len, int fd);
/* Put and not sent. */
size_t pv_worker_channel_pending_bytes(const struct pv_worker_channel *channel);
/* PV_PENDING: the socket is full, flush again when it can be written to. PV_ERR_PEER: it is closed. */
PV_MUST_USE enum pv_status pv_worker_channel_flush(struct pv_worker_channel *channel);

/* Reads once. PV_PENDING: nothing is there. PV_ERR_PEER: the other end is gone or sends nonsense. PV_ERR_NO_MEMORY. */
PV_MUST_USE enum pv_status pv_worker_channel_receive(struct pv_worker_channel *channel);
/*
 * The next message that is here in full, valid until the next receive or next. PV_PENDING: there is none. PV_ERR_PEER:
 * nonsense.
 */
PV_MUST_USE enum pv_status pv_worker_channel_next(struct pv_worker_channel *channel, struct pv_worker_message *out);
/* The fd of the message taken last, now the caller's; -1: none. */
int pv_worker_channel_take_fd(struct pv_worker_channel *channel);

#endif

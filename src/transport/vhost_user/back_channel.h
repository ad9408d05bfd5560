/* SPDX-License-Identifier: MIT */
/*
 * The socket on which the back end asks things of the front end (SET_BACKEND_REQ_FD). Nothing waits here: requests are
 * flags that turn into bytes when the socket has room, answers are events. Owned by the socket thread.
 *
 * User-Mode Linux gives the write end of a pipe instead, on which it can be told of things, and no more.
 */
#ifndef PV_TRANSPORT_VHOST_USER_BACK_CHANNEL_H
#define PV_TRANSPORT_VHOST_USER_BACK_CHANNEL_H

#include "base/loop.h"
#include "transport/vhost_user/protocol.h"

struct pv_vhost_channel_events {
	/* The answer to pv_vhost_channel_map(). */
	void (*mapped)(void *user, bool ok);
	/* The front end closed this socket (PV_OK), or broke its protocol (PV_ERR_PEER, logged). Closed already. */
	void (*lost)(void *user, enum pv_status status);
	void *user;
};

struct pv_vhost_channel {
	struct pv_vhost_channel_events events;
	struct pv_loop *loop;
	int fd; /* -1: none */
	bool is_pipe;
	struct pv_loop_fd *watch;

	bool config_change_due, map_due;
	bool map_wants_reply, map_in_flight;
	int map_fd; /* borrowed */
	uint64_t map_bytes;

	uint8_t out[sizeof(struct pv_vhost_header) + sizeof(struct pv_vhost_shmem_map)];
	size_t out_len, out_sent;
	int out_fd; /* borrowed; -1: none */
	uint8_t in[sizeof(struct pv_vhost_header) + sizeof(uint64_t)];
	size_t in_len;
};

void pv_vhost_channel_init(struct pv_vhost_channel *channel, struct pv_loop *loop,
			   const struct pv_vhost_channel_events *events);
void pv_vhost_channel_finish(struct pv_vhost_channel *channel);

/* Replaces the socket; what was in flight on the old one is forgotten. PV_ERR_PEER: the fd is neither socket nor pipe.
 */
PV_MUST_USE enum pv_status pv_vhost_channel_open(struct pv_vhost_channel *channel, int take_fd);
bool pv_vhost_channel_is_open(const struct pv_vhost_channel *channel);
/* Open, and good for pv_vhost_channel_map(). */
bool pv_vhost_channel_takes_fds(const struct pv_vhost_channel *channel);

/* Many calls before the socket has room become one message. Ignored without a socket. */
void pv_vhost_channel_config_change(struct pv_vhost_channel *channel);
/*
 * Asks for `size_bytes` of `fd` (borrowed until the answer) to be mapped at the start of shared memory region 1. With
 * `wants_reply` the answer comes from the front end, else as soon as the request is sent. One at a time.
 */
void pv_vhost_channel_map(struct pv_vhost_channel *channel, int fd, uint64_t size_bytes, bool wants_reply);

#endif

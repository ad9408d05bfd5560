/* SPDX-License-Identifier: MIT */
/*
 * One front end on one stream socket: what vhost-user and vfio-user have in common.
 *
 * Two threads. The socket thread, made here, reads messages and answers them; it never waits for the device thread, for
 * the front end or for anything else. Whatever touches the device is an operation, posted to the device thread; what
 * must not be answered before it took effect is answered when the operation is posted back.
 */
#ifndef PV_TRANSPORT_CONNECTION_H
#define PV_TRANSPORT_CONNECTION_H

#include "base/socket.h"
#include "transport/device_side.h"

#define PV_CONNECTION_NR_CARRIERS 32

struct pv_transport_stats {
	bool connected;
	uint64_t messages, memory_regions, memory_bytes;
	uint64_t protocol_features, features;
	uint64_t doorbells;
	bool window_mapped;
};

/* What messages mean. `user` is the transport. Called on the socket thread; nothing here may wait. */
struct pv_connection_ops {
	const char *module; /* for the log */
	size_t header_bytes, max_payload_bytes, max_reply_bytes, max_fds;
	size_t max_ops; /* that one call of handle() or op_done() submits */

	/* As soon as the header is there: how much follows it, at most max_payload_bytes. PV_ERR_PEER (logged): the
	 * stream cannot be understood any more. */
	enum pv_status (*check_header)(void *user, const void *header, size_t *payload_bytes);
	/* Takes the fds, whatever the result. An error, which has been logged, ends the connection. */
	enum pv_status (*handle)(void *user, const void *header, const void *payload, const int *take_fds,
				 size_t nr_fds);
	/* Optional: the message is handled, and its answer, if it has one by now, has left. */
	void (*handled)(void *user);
	/* While true no message is handled: the last one is not finished. */
	bool (*is_waiting)(void *user);
	/* An operation is done. Errors as handle()'s. */
	enum pv_status (*op_done)(void *user, const struct pv_transport_op *op);
	/* The config space changed by itself. */
	void (*config_changed)(void *user);
	/* Optional: the device cannot go on until it is reset. */
	void (*needs_reset)(void *user);
	/* Fills in memory, features and window. */
	void (*get_stats)(void *user, struct pv_transport_stats *stats);
	/* Once: the connection is over, and the socket closed. */
	void (*ended)(void *user);
};

struct pv_connection_params {
	const struct pv_connection_ops *ops;
	struct pv_gpu *gpu;          /* borrowed; lives on `device_loop` */
	struct pv_loop *device_loop; /* running on its own thread for as long as the connection exists */
	int take_fd;
	/* As in struct pv_vhost_user_params. */
	void (*console)(void *user, int take_fd);
	void (*closed)(void *user, enum pv_status status);
	void *user;
};

struct pv_connection;

struct pv_connection_carrier {
	struct pv_loop_task task;
	struct pv_connection *connection;
	struct pv_transport_op op;
	struct pv_connection_carrier *next_free;
};

/* Owned by the socket thread, but for what says otherwise. */
struct pv_connection {
	struct pv_connection_params params; /* immutable */
	struct pv_transport_device device;  /* device thread */
	/* Immutable after init: what a protocol has to know of the device. */
	uint64_t device_features, window_features, window_bytes;
	int window_fd; /* borrowed; -1: none */

	struct pv_loop *loop;
	pthread_t thread;
	int fd;
	struct pv_loop_fd *watch;
	struct {
		uint8_t *bytes; /* of header and payload */
		size_t filled, payload_bytes;
		int fds[PV_SOCKET_MAX_FDS];
		size_t nr_fds;
	} reader;
	uint8_t *out;
	size_t out_len, out_sent;
	int out_fd; /* goes with the first byte; borrowed; -1: none */

	struct pv_connection_carrier carriers[PV_CONNECTION_NR_CARRIERS];
	struct pv_connection_carrier *free_carriers;
	size_t nr_free_carriers;
	struct pv_connection_carrier detach;

	bool ended, detached, quitting;
	enum pv_status end_status;
	uint64_t messages;

	struct pv_loop_task config_task, reset_task, memory_task, quit_task;
	/* Set by the device thread when it posts the task of that name, cleared (acq_rel on both sides) when that runs.
	 */
	_Atomic bool config_posted, reset_posted;

	struct pv_mutex stats_lock;
	struct pv_transport_stats stats PV_GUARDED_BY(stats_lock);
};

/*
 * Makes a transport: an object of `object_bytes`, zeroed, that begins with its struct pv_connection and is what the ops
 * get as `user`. `start` prepares the rest of it when the device is attached and nothing has been read yet; when it
 * fails, ops->ended() is called as after a connection. Consumes the fd, even on failure. Any thread but the two loops'.
 */
PV_MUST_USE enum pv_status pv_connection_create(size_t object_bytes, const struct pv_connection_params *params,
						enum pv_status (*start)(void *object), void **out);
/* Closes the socket, stops the queues, resets the device, ends the socket thread, frees the object. NULL is fine. */
void pv_connection_destroy(struct pv_connection *connection);

/* Socket thread. `op` is copied, what it owns moves. Its result comes by op_done(), later, in order. */
void pv_connection_submit(struct pv_connection *connection, const struct pv_transport_op *op);
/* Socket thread: how many more can be submitted now. */
size_t pv_connection_free_ops(const struct pv_connection *connection);
/* Socket thread, at most one a message: it leaves as soon as the call that made it has returned. `fd` is borrowed until
 * the end of the connection; -1: none. */
void pv_connection_reply(struct pv_connection *connection, const void *bytes, size_t len, int fd);
/* Socket thread. Harmless when it has ended. */
void pv_connection_end(struct pv_connection *connection, enum pv_status status);

/* Socket thread: what get_stats() of the protocol says changed outside of a message. */
void pv_connection_publish_stats(struct pv_connection *connection);
/* Any thread. */
void pv_connection_get_stats(struct pv_connection *connection, struct pv_transport_stats *out);

#endif

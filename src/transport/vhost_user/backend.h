/* SPDX-License-Identifier: MIT */
/*
 * The state of one vhost-user connection: takes checked messages, answers them and issues operations for the device
 * thread. No sockets, no threads and no waiting in here, so all of it can be driven by a test or a fuzzer. Owned by the
 * socket thread.
 */
#ifndef PV_TRANSPORT_VHOST_USER_BACKEND_H
#define PV_TRANSPORT_VHOST_USER_BACKEND_H

#include "base/log.h"
#include "transport/device_side.h"
#include "transport/vhost_user/memory_table.h"
#include "transport/vhost_user/message.h"

/* The most operations that one message can cause: both rings stop and start around a change of memory. */
#define PV_VHOST_MAX_OPS_PER_MESSAGE 8
#define PV_VHOST_MAX_REPLY_BYTES     (sizeof(struct pv_vhost_header) + sizeof(struct pv_vhost_shmem_config))

struct pv_vhost_backend_ops {
	/* At most one a message, of at most PV_VHOST_MAX_REPLY_BYTES. */
	void (*reply)(void *user, const void *bytes, size_t len);
	/* `op` is copied, what it owns moves. Its result comes by pv_vhost_backend_op_done(), later, in order. */
	void (*submit)(void *user, const struct pv_transport_op *op);
	/* The socket for requests to the front end. PV_ERR_PEER: that is no socket, nor a pipe. */
	enum pv_status (*open_channel)(void *user, int take_fd);
	/* Whether that socket is there, and can carry map_window(). */
	bool (*can_map_window)(void *user);
	/* Asks the front end to map the window; answered by pv_vhost_backend_window_mapped(). */
	void (*map_window)(void *user, bool wants_reply);
};

struct pv_vhost_backend_params {
	const struct pv_vhost_backend_ops *ops;
	void *user;
	struct pv_transport_device *device; /* for what any thread may ask of it */
	uint64_t device_features;           /* pv_gpu_features() */
	uint64_t window_features;           /* those of them that need the window */
	int window_fd;                      /* borrowed; -1: no window */
	uint64_t window_bytes;
};

struct pv_vhost_ring {
	uint32_t size; /* 0: not set */
	bool has_addr;
	struct pv_vhost_ring_addr addr;
	bool started; /* it has a doorbell */
	bool enable_seen, enabled;
	bool running;    /* START was the last of START and STOP that we issued */
	bool is_located; /* `layout` is where the ring is, until it is stopped for good */
	struct pv_virtq_layout layout;
};

enum pv_vhost_window {
	PV_VHOST_WINDOW_UNMAPPED,
	PV_VHOST_WINDOW_ASKED,
	PV_VHOST_WINDOW_STALE, /* asked for a device that was stopped since: the answer does not count */
	PV_VHOST_WINDOW_MAPPED,
	PV_VHOST_WINDOW_REFUSED,
};

struct pv_vhost_backend {
	struct pv_vhost_backend_params params;
	uint64_t protocol_features, features;
	uint8_t device_status;
	bool has_console;
	/* All rings were stopped, features were set, and no ring has been started since. */
	bool after_full_stop;
	struct pv_vhost_ring rings[PV_GPU_NR_QUEUES];
	struct pv_vhost_memory_table memory;
	enum pv_vhost_window window;
	struct pv_log_limit refusals; /* that did not end the connection */

	/* The message that waits for the device thread; request 0: none does. */
	struct {
		uint32_t request;
		bool need_reply;
		uint32_t queue;
		uint64_t value;
	} waiting;
};

/* `backend` must not move afterwards. PV_ERR_HOST: the window's file cannot be examined. */
PV_MUST_USE enum pv_status pv_vhost_backend_init(struct pv_vhost_backend *backend,
						 const struct pv_vhost_backend_params *params);
void pv_vhost_backend_finish(struct pv_vhost_backend *backend);

/* While true, no message may be handled: the last one is not finished. */
bool pv_vhost_backend_is_waiting(const struct pv_vhost_backend *backend);
/* Consumes the message's fds. PV_ERR_PEER: logged, the connection is to be closed. */
PV_MUST_USE enum pv_status pv_vhost_backend_handle(struct pv_vhost_backend *backend, struct pv_vhost_message *message);
/* The same returns. */
PV_MUST_USE enum pv_status pv_vhost_backend_op_done(struct pv_vhost_backend *backend, const struct pv_transport_op *op);
void pv_vhost_backend_window_mapped(struct pv_vhost_backend *backend, bool ok);

/* Whether the front end wants to hear of changes of the config space that it did not make. */
bool pv_vhost_backend_wants_config_changes(const struct pv_vhost_backend *backend);

#endif

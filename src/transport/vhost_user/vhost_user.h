/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user transport: a standard back end (QEMU docs, "Vhost-user Protocol") for one front end on one socket.
 *
 * Two threads. The socket thread, made here, reads messages and answers them; it never waits for the device thread, for
 * the front end or for anything else. Whatever touches the device is posted to the device thread, and the messages that
 * must not be acknowledged before it took effect are answered when its answer is posted back.
 */
#ifndef PV_TRANSPORT_VHOST_USER_H
#define PV_TRANSPORT_VHOST_USER_H

#include "gpu/gpu.h"

struct pv_vhost_user;

struct pv_vhost_user_params {
	struct pv_gpu *gpu;          /* borrowed; lives on `device_loop` */
	struct pv_loop *device_loop; /* running on its own thread for as long as the transport exists */
	int take_fd;                 /* a connected stream socket */
	/*
	 * Device thread. The front end gave us its console's socket (VHOST_USER_GPU_SET_SOCKET); a second call replaces
	 * the first. Optional: without it the fd is closed.
	 */
	void (*console)(void *user, int take_fd);
	/* Socket thread, once: the connection ended. PV_OK: the front end closed it; PV_ERR_PEER: it broke the protocol
	 * (logged). The transport must still be destroyed, from another thread. */
	void (*closed)(void *user, enum pv_status status);
	void *user;
};

struct pv_vhost_user_stats {
	bool connected;
	uint64_t messages, memory_regions, memory_bytes;
	uint64_t protocol_features, features;
	uint64_t doorbells;
	bool window_mapped;
};

/* Any thread but the two loops'. */
PV_MUST_USE enum pv_status pv_vhost_user_create(const struct pv_vhost_user_params *params, struct pv_vhost_user **out);
/* Closes the connection, stops the queues, resets the device, ends the socket thread. Any thread but the two loops'.
 * NULL is fine. */
void pv_vhost_user_destroy(struct pv_vhost_user *transport);
/* Any thread. */
void pv_vhost_user_get_stats(struct pv_vhost_user *transport, struct pv_vhost_user_stats *out);

#endif

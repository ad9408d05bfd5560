/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user transport: a standard back end (QEMU docs, "Vhost-user Protocol") for one front end on one socket. Its
 * threads are those of transport/connection.h.
 */
#ifndef PV_TRANSPORT_VHOST_USER_H
#define PV_TRANSPORT_VHOST_USER_H

#include "transport/connection.h"

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

/* Any thread but the two loops'. */
PV_MUST_USE enum pv_status pv_vhost_user_create(const struct pv_vhost_user_params *params, struct pv_vhost_user **out);
/* Closes the connection, stops the queues, resets the device, ends the socket thread. Any thread but the two loops'.
 * NULL is fine. */
void pv_vhost_user_destroy(struct pv_vhost_user *transport);
/* Any thread. */
void pv_vhost_user_get_stats(struct pv_vhost_user *transport, struct pv_transport_stats *out);

#endif

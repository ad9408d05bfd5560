/* SPDX-License-Identifier: MIT */
/*
 * The vfio-user transport: a PCI function for one VMM on one socket (QEMU's vfio-user-pci, Cloud Hypervisor's
 * --user-device). Its threads are those of transport/connection.h.
 */
#ifndef PV_TRANSPORT_VFIO_USER_H
#define PV_TRANSPORT_VFIO_USER_H

#include "transport/connection.h"

struct pv_vfio_user;

struct pv_vfio_user_params {
	struct pv_gpu *gpu;          /* borrowed; lives on `device_loop`; its window is a power of two, or none */
	struct pv_loop *device_loop; /* running on its own thread for as long as the transport exists */
	int take_fd;                 /* a connected stream socket */
	/* Socket thread, once: the connection ended. PV_OK: the VMM closed it; PV_ERR_PEER: it sent what is no
	 * vfio-user (logged). The transport must still be destroyed, from another thread. */
	void (*closed)(void *user, enum pv_status status);
	void *user;
};

/* Any thread but the two loops'. PV_ERR_ARGUMENT: the window is no power of two. */
PV_MUST_USE enum pv_status pv_vfio_user_create(const struct pv_vfio_user_params *params, struct pv_vfio_user **out);
/* Closes the connection, stops the queues, resets the device, ends the socket thread. Any thread but the two loops'.
 * NULL is fine. */
void pv_vfio_user_destroy(struct pv_vfio_user *transport);
/* Any thread. */
void pv_vfio_user_get_stats(struct pv_vfio_user *transport, struct pv_transport_stats *out);

#endif

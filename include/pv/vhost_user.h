/* SPDX-License-Identifier: MIT */
/*
 * Serves a device to a VMM through vhost-user (QEMU documentation, "Vhost-user Protocol"): QEMU's vhost-user-gpu-pci
 * and vhost-user-vga, and any front end that takes a vhost-user device of virtio id 16.
 */
#ifndef PV_VHOST_USER_H
#define PV_VHOST_USER_H

#include "pv/device.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pv_vhost_user_server;

struct pv_vhost_user_server_params {
	uint32_t struct_size; /* sizeof(struct pv_vhost_user_server_params) */
	/* A connected stream socket with the front end at its other end. Consumed, even on failure. */
	int32_t take_fd;
	/*
	 * The connection ended: PV_OK if the front end closed it, PV_ERR_PEER if it broke the protocol (already
	 * logged). Comes once, on a thread of the server's own; the server must still be destroyed, from another
	 * thread. May be NULL.
	 */
	void (*PV_NULLABLE closed)(void *PV_NULLABLE user, enum pv_status status);
	void *PV_NULLABLE user;
};

/*
 * Makes the front end the owner of the device and serves it on a thread of the server's own. Not from a callback.
 * PV_ERR_ARGUMENT: the device has an owner.
 */
PV_API PV_MUST_USE enum pv_status
pv_vhost_user_server_create(struct pv_device *PV_NONNULL device,
			    const struct pv_vhost_user_server_params *PV_NONNULL params,
			    struct pv_vhost_user_server *PV_NULLABLE *PV_NONNULL out);
/* Closes the connection, resets the device, ends the thread. Not from a callback. NULL is fine. */
PV_API void pv_vhost_user_server_destroy(struct pv_vhost_user_server *PV_NULLABLE server);

/*
 * A listening, non-blocking socket at `path` for front ends to connect to; the caller accepts and owns it, and removes
 * the file in the end. A stale socket file is replaced. PV_ERR_HOST: the path cannot be used (logged).
 */
PV_API PV_MUST_USE enum pv_status pv_vhost_user_listen(const char *PV_NONNULL path, int32_t *PV_NONNULL out_fd);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Serves a device to a VMM through vfio-user, as a whole PCI function: QEMU's vfio-user-pci (11.1 or newer), Cloud
 * Hypervisor's --user-device.
 */
#ifndef PV_VFIO_USER_H
#define PV_VFIO_USER_H

#include "pv/device.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pv_vfio_user_server;

struct pv_vfio_user_server_params {
	uint32_t struct_size; /* sizeof(struct pv_vfio_user_server_params) */
	/* A connected stream socket with the VMM at its other end. Consumed, even on failure. */
	int32_t take_fd;
	/*
	 * The connection ended: PV_OK if the VMM closed it, PV_ERR_PEER if it sent what is no vfio-user (already
	 * logged). Comes once, on a thread of the server's own; the server must still be destroyed, from another
	 * thread. May be NULL.
	 */
	void (*PV_NULLABLE closed)(void *PV_NULLABLE user, enum pv_status status);
	void *PV_NULLABLE user;
};

/*
 * Makes the VMM the owner of the device and serves it on a thread of the server's own. Not from a callback.
 * PV_ERR_ARGUMENT: the device has an owner, or a window (pv_device_params.window_bytes) that is no power of two.
 *
 * A VMM does not expect this connection to end before it does: QEMU 11.1 aborts if it waits for an answer just then,
 * and never connects again.
 */
PV_API PV_MUST_USE enum pv_status pv_vfio_user_server_create(struct pv_device *PV_NONNULL device,
							     const struct pv_vfio_user_server_params *PV_NONNULL params,
							     struct pv_vfio_user_server *PV_NULLABLE *PV_NONNULL out);
/* Closes the connection, resets the device, ends the thread. Not from a callback. NULL is fine. */
PV_API void pv_vfio_user_server_destroy(struct pv_vfio_user_server *PV_NULLABLE server);

/*
 * A listening, non-blocking socket at `path` for VMMs to connect to; the caller accepts and owns it, and removes the
 * file in the end. A stale socket file is replaced. PV_ERR_HOST: the path cannot be used (logged).
 */
PV_API PV_MUST_USE enum pv_status pv_vfio_user_listen(const char *PV_NONNULL path, int32_t *PV_NONNULL out_fd);

#ifdef __cplusplus
}
#endif

#endif

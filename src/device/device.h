/* SPDX-License-Identifier: MIT */
/* Inside of a device, for its parts and servers. */
#ifndef PV_DEVICE_DEVICE_H
#define PV_DEVICE_DEVICE_H

#include <pthread.h>

#include "device/meter.h"
#include "device/renderers.h"
#include "gpu/gpu.h"
#include "pv/device.h"
#include "transport/connection.h"

enum pv_device_owner { PV_DEVICE_UNOWNED, PV_DEVICE_OWNED_BY_PROGRAM, PV_DEVICE_OWNED_BY_SERVER };

/* A socket server that owns the device. */
struct pv_device_server {
	const char *kind; /* "vhost-user" */
	/* For the status; NULL: there is no transport (yet, any more). Any thread. */
	void (*get_stats)(void *transport, struct pv_transport_stats *out);
	void *transport;
};

struct pv_device_doorbell {
	struct pv_loop_task task;
	struct pv_device *device;
	uint32_t queue;
	/* Posted and not yet run. Exchanged with acq_rel on both sides: a doorbell that finds it set is covered by the
	 * run that will clear it before it looks at the ring. */
	_Atomic bool posted;
};

struct pv_device {
	/* Immutable after create. */
	pthread_t thread;
	struct pv_loop *loop;
	uint64_t created_ns;
	bool writes_png; /* at its end */
	bool with_dma_bufs;
	struct pv_device_doorbell doorbells[PV_GPU_NR_QUEUES];

	/* Owned by the device thread. */
	struct pv_gpu *gpu;
	struct pv_device_host host; /* outlives the core */
	struct pv_display *png;     /* in the core's list */
	struct pv_display *meter;   /* in the core's list */
	struct pv_display *console; /* the VMM's, in the core's list; or NULL */
	struct pv_device_view *views;
	enum pv_device_owner owner;
	struct pv_device_owner_ops owner_ops;
	void *owner_user;
	struct pv_device_server server; /* with OWNED_BY_SERVER */
};

/* Device thread. PV_ERR_ARGUMENT: it has another owner. */
PV_MUST_USE enum pv_status pv_device_claim(struct pv_device *device, enum pv_device_owner owner);
void pv_device_release(struct pv_device *device);

/*
 * For servers; any thread but the device's. Claims the device for a server of that kind (static storage), as
 * pv_device_claim(); then says where its numbers are, until get_stats is NULL again; then lets go of the device.
 */
PV_MUST_USE enum pv_status pv_device_begin_service(struct pv_device *device, const char *kind);
void pv_device_set_transport(struct pv_device *device, void (*get_stats)(void *transport, struct pv_transport_stats *),
			     void *transport);
void pv_device_end_service(struct pv_device *device);

/* A listening, non-blocking socket. PV_ERR_HOST, PV_ERR_ARGUMENT: the path cannot be used (logged). Any thread. */
PV_MUST_USE enum pv_status pv_server_listen(const char *path, int32_t *out_fd);

/* Reads a caller's params struct of any version: the common part is copied, the rest is zero. False: it makes no sense.
 */
bool pv_params_read(void *dst, size_t dst_size, const void *src, uint32_t src_size);

#endif

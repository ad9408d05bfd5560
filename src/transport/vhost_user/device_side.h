/* SPDX-License-Identifier: MIT */
/*
 * The half of the transport that lives on the device thread: it carries out, in order, the operations that the back end
 * has checked, watches the doorbells and raises the interrupts. Owned by the device thread unless a function says
 * otherwise.
 */
#ifndef PV_TRANSPORT_VHOST_USER_DEVICE_SIDE_H
#define PV_TRANSPORT_VHOST_USER_DEVICE_SIDE_H

#include <stdatomic.h>

#include "base/mutex.h"
#include "gpu/gpu.h"

enum pv_vhost_op_kind {
	PV_VHOST_OP_SET_FEATURES,
	PV_VHOST_OP_SET_MAP,
	PV_VHOST_OP_SET_BASE,
	PV_VHOST_OP_SET_KICK,
	PV_VHOST_OP_SET_CALL,
	PV_VHOST_OP_SET_ERR,
	PV_VHOST_OP_START,
	PV_VHOST_OP_STOP,
	PV_VHOST_OP_RESET,
	PV_VHOST_OP_WRITE_CONFIG,
	PV_VHOST_OP_CONSOLE,
	PV_VHOST_OP_DETACH,
};

struct pv_vhost_op {
	enum pv_vhost_op_kind kind;
	uint32_t queue;
	/* The request that waits for this operation; 0: none does. */
	uint32_t request;
	int take_fd; /* SET_KICK, SET_CALL, SET_ERR (-1: none from now on), CONSOLE */
	union {
		uint64_t features;
		struct pv_guest_map *take_map; /* SET_MAP */
		struct {
			uint16_t base;
			bool after_full_stop; /* of all rings, and features were set again since */
		} set_base;
		struct pv_virtq_layout layout; /* START */
		struct {
			uint32_t offset, size;
			uint8_t bytes[PV_GPU_CONFIG_BYTES];
		} config;
	};
	/* Filled in by pv_vhost_device_run(). */
	enum pv_status status;
	uint16_t stopped_at; /* STOP: the next index to take */
};

struct pv_vhost_device_ring {
	struct pv_vhost_device *device;
	uint32_t index;
	int kick_fd, call_fd, err_fd; /* -1: none */
	struct pv_loop_fd *kick_watch;
	struct pv_virtq_layout layout;
	uint16_t base;
	bool running;
	bool interrupted; /* since it started, or since it has this call fd */
};

struct pv_vhost_device_params {
	struct pv_gpu *gpu;
	struct pv_loop *loop;
	void (*console)(void *user, int take_fd);
	/* The config space changed by itself. */
	void (*config_changed)(void *user);
	/* A file behind guest memory was cut short (logged): the front end is to be dropped. Called once. */
	void (*memory_lost)(void *user);
	void *user;
};

struct pv_vhost_device {
	struct pv_vhost_device_params params;
	struct pv_vhost_device_ring rings[PV_GPU_NR_QUEUES];
	struct pv_guest_map *map;
	uint64_t features;
	bool attached, memory_lost;

	_Atomic uint64_t doorbells; /* relaxed: a counter for stats */
	/* Release when the core gives up, acquire by GET_STATUS; a hint with no data behind it. */
	_Atomic bool needs_reset;

	/* A copy for GET_CONFIG, so that the front end's question need not wait for the device thread. */
	struct pv_mutex config_lock;
	uint8_t config[PV_GPU_CONFIG_BYTES] PV_GUARDED_BY(config_lock);
};

/* Becomes the core's transport. `device` must not move afterwards. */
void pv_vhost_device_init(struct pv_vhost_device *device, const struct pv_vhost_device_params *params);
/* Detaches if that has not been done. */
void pv_vhost_device_finish(struct pv_vhost_device *device);

/* Consumes what the op owns. */
void pv_vhost_device_run(struct pv_vhost_device *device, struct pv_vhost_op *op);

/* Any thread. Bytes past the end are 0. */
void pv_vhost_device_read_config(struct pv_vhost_device *device, uint32_t offset, void *buf, uint32_t size);
/* Any thread. */
bool pv_vhost_device_needs_reset(struct pv_vhost_device *device);

#endif

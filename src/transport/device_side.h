/* SPDX-License-Identifier: MIT */
/*
 * The half of a transport that lives on the device thread: it carries out, in order, the operations that the socket
 * thread has checked, hears the doorbells and raises the interrupts. Owned by the device thread unless a function says
 * otherwise.
 */
#ifndef PV_TRANSPORT_DEVICE_SIDE_H
#define PV_TRANSPORT_DEVICE_SIDE_H

#include <stdatomic.h>

#include "base/mutex.h"
#include "gpu/gpu.h"

enum pv_transport_op_kind {
	PV_TRANSPORT_OP_SET_FEATURES,
	PV_TRANSPORT_OP_SET_MAP,
	PV_TRANSPORT_OP_SET_BASE,
	PV_TRANSPORT_OP_SET_KICK,
	PV_TRANSPORT_OP_SET_CALL,
	PV_TRANSPORT_OP_SET_ERR,
	PV_TRANSPORT_OP_START,
	PV_TRANSPORT_OP_STOP,
	PV_TRANSPORT_OP_RESET,
	PV_TRANSPORT_OP_WRITE_CONFIG,
	PV_TRANSPORT_OP_CONSOLE,
	PV_TRANSPORT_OP_SHOW_WINDOW,
	PV_TRANSPORT_OP_DETACH,
};

struct pv_transport_op {
	enum pv_transport_op_kind kind;
	uint32_t queue;
	/* The request that waits for this operation; 0: none does. */
	uint32_t request;
	int take_fd; /* SET_KICK, SET_CALL, SET_ERR (-1: none from now on), CONSOLE */
	union {
		uint64_t features;
		bool shown;                    /* SHOW_WINDOW: whether the guest sees it */
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
	/* Filled in by pv_transport_device_run(). */
	enum pv_status status;
	uint16_t stopped_at; /* STOP: the next index to take */
};

struct pv_transport_ring {
	struct pv_transport_device *device;
	uint32_t index;
	int kick_fd, call_fd, err_fd; /* -1: none */
	struct pv_loop_fd *kick_watch;
	struct pv_virtq_layout layout;
	uint16_t base;
	bool running;
	bool interrupted; /* since it started */
	bool heard;       /* a doorbell message since it started */

	/* A doorbell that came as a message. Posted and not yet run: exchanged with acq_rel on both sides, so that one
	 * that finds it set is covered by the run that will clear it before it looks at the ring. */
	struct pv_loop_task doorbell;
	_Atomic bool doorbell_posted;
};

struct pv_transport_device_params {
	struct pv_gpu *gpu;
	struct pv_loop *loop;
	void (*console)(void *user, int take_fd);
	/* The config space changed by itself. */
	void (*config_changed)(void *user);
	/* Optional: the core gave up, or a ring cannot be started. */
	void (*needs_reset)(void *user);
	/* A file behind guest memory was cut short (logged): the front end is to be dropped. Called once. */
	void (*memory_lost)(void *user);
	void *user;
};

struct pv_transport_device {
	struct pv_transport_device_params params;
	struct pv_transport_ring rings[PV_GPU_NR_QUEUES];
	struct pv_guest_map *map;
	uint64_t features;
	bool attached, memory_lost, warned_unshared;

	_Atomic uint64_t doorbells; /* relaxed: a counter for stats */
	/* Release when the core gives up, acquire by GET_STATUS; a hint with no data behind it. */
	_Atomic bool needs_reset;

	/* The ISR status (virtio 1.3, 4.1.4.5). Release when a cause is added, acquire when it is read and cleared. */
	_Atomic uint8_t isr;

	/* A copy for the front end's questions, which need not wait for the device thread then. */
	struct pv_mutex config_lock;
	uint8_t config[PV_GPU_CONFIG_BYTES] PV_GUARDED_BY(config_lock);
	uint8_t config_generation PV_GUARDED_BY(config_lock); /* counts changes */
};

/* Becomes the core's transport. `device` must not move afterwards. */
void pv_transport_device_init(struct pv_transport_device *device, const struct pv_transport_device_params *params);
/* Detaches if that has not been done. */
void pv_transport_device_finish(struct pv_transport_device *device);

/* Consumes what the op owns. */
void pv_transport_device_run(struct pv_transport_device *device, struct pv_transport_op *op);

/* What can be polled and raised: an eventfd, which is no kind of file, or a pipe or socket, which stand in for one. Any
 * thread. */
bool pv_transport_is_notifier(int fd);

/* Any thread: the driver rang. Neither waits nor allocates. */
void pv_transport_device_ring(struct pv_transport_device *device, uint32_t queue);
/* Any thread: the ISR status, which is 0 then. */
uint8_t pv_transport_device_take_isr(struct pv_transport_device *device);
/* Any thread. */
uint8_t pv_transport_device_config_generation(struct pv_transport_device *device);
/* Any thread. Bytes past the end are 0. */
void pv_transport_device_read_config(struct pv_transport_device *device, uint32_t offset, void *buf, uint32_t size);
/* Any thread. */
bool pv_transport_device_needs_reset(struct pv_transport_device *device);

#endif

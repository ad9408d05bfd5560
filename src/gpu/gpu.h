/* SPDX-License-Identifier: MIT */
/*
 * The device core: a virtio-gpu device (virtio 1.3, 5.7) without a bus. Transports feed it queues, features and guest
 * memory; renderers draw; displays show. Everything here is called on the device thread (the one of params.loop).
 */
#ifndef PV_GPU_GPU_H
#define PV_GPU_GPU_H

#include "base/loop.h"
#include "gpu/display.h"
#include "gpu/renderer.h"
#include "virtio/virtq.h"

struct pv_gpu;

enum { PV_GPU_QUEUE_CONTROL, PV_GPU_QUEUE_CURSOR, PV_GPU_NR_QUEUES };

#define PV_GPU_CONFIG_BYTES       20
#define PV_GPU_DEFAULT_HOST_BYTES (UINT64_C(512) << 20)

/* What the device needs from whoever carries its queues. Called on the device thread; must not block. */
struct pv_gpu_transport_ops {
	void (*interrupt)(void *user, uint32_t queue);
	/* A config field changed; optional. */
	void (*config_changed)(void *user);
	/* The device cannot go on (virtio's DEVICE_NEEDS_RESET); optional. Logged by the core already. */
	void (*needs_reset)(void *user);
};

struct pv_gpu_params {
	struct pv_loop *loop;
	struct pv_renderer *take_renderer;
	uint32_t nr_outputs; /* 1..PV_GPU_MAX_SCANOUTS */
	struct pv_output outputs[PV_GPU_MAX_SCANOUTS];
	uint64_t max_host_bytes; /* pictures and textures of all resources together; 0: PV_GPU_DEFAULT_HOST_BYTES */
	/*
	 * The window of host-visible memory (virtio shared memory id 1), 0 = none; else a multiple of 2 MiB. The core
	 * makes one sparse memfd of this size; transports map it whole.
	 */
	uint64_t window_bytes;
};

PV_MUST_USE enum pv_status pv_gpu_create(const struct pv_gpu_params *params, struct pv_gpu **out);
void pv_gpu_destroy(struct pv_gpu *gpu);

/* NULL ops: detached. */
void pv_gpu_set_transport(struct pv_gpu *gpu, const struct pv_gpu_transport_ops *ops, void *user);

/* Features. Offered ones never change. PV_ERR_GUEST: the driver chose one that was not offered. */
uint64_t pv_gpu_features(const struct pv_gpu *gpu);
/*
 * Those among them that promise a 3D renderer. A transport that cannot show the guest the window must not pass them on:
 * with VIRTIO_GPU_F_VIRGL a driver takes it for granted, and QEMU's console asks for OpenGL.
 */
uint64_t pv_gpu_features_of_3d(const struct pv_gpu *gpu);
/* Those of them that are of no use without the window: all or none, since OpenGL does without. */
uint64_t pv_gpu_features_of_window(const struct pv_gpu *gpu);
/*
 * Whether the guest sees the window (shown, until a transport says that it is not): what needs it is not offered else,
 * and the log says so. For before the driver starts; one that has counted the capability sets already finds them gone.
 */
void pv_gpu_show_window(struct pv_gpu *gpu, bool shown);
PV_MUST_USE enum pv_status pv_gpu_set_driver_features(struct pv_gpu *gpu, uint64_t features);

/* Config space (5.7.4). Reads past the end give zeros; writes take effect on events_clear alone. */
void pv_gpu_config_read(const struct pv_gpu *gpu, uint32_t offset, void *buf, size_t len);
void pv_gpu_config_write(struct pv_gpu *gpu, uint32_t offset, const void *buf, size_t len);

/* Memory; a new reference is taken. Running queues are found again in it or become broken. */
void pv_gpu_set_guest_map(struct pv_gpu *gpu, struct pv_guest_map *map);

/* Queues. Starting a running one or stopping a stopped one is harmless (the first restarts it). */
PV_MUST_USE enum pv_status pv_gpu_queue_start(struct pv_gpu *gpu, uint32_t queue, const struct pv_virtq_layout *layout,
					      uint16_t base);
/*
 * Returns the next index to take. Requests that are not finished are answered once the queue starts at that index with
 * the same layout, and dropped when it starts in another way.
 */
uint16_t pv_gpu_queue_stop(struct pv_gpu *gpu, uint32_t queue);
/* The driver rang: works off what is there. Harmless for a stopped queue. */
void pv_gpu_queue_notify(struct pv_gpu *gpu, uint32_t queue);

/* Back to the state after create: queues stopped, resources and scanouts gone, features 0. Outputs and displays stay.
 */
void pv_gpu_reset(struct pv_gpu *gpu);

/* Displays. A new one gets the present scanouts and cursor at once. */
void pv_gpu_add_display(struct pv_gpu *gpu, struct pv_display *take_display);
/* Takes it off the list and destroys it. */
void pv_gpu_remove_display(struct pv_gpu *gpu, struct pv_display *display);

/* Heads. Changes raise VIRTIO_GPU_EVENT_DISPLAY. n <= nr_outputs; the others stay. PV_ERR_ARGUMENT: a bad n or size. */
uint32_t pv_gpu_nr_outputs(const struct pv_gpu *gpu);
const struct pv_output *pv_gpu_output(const struct pv_gpu *gpu, uint32_t index);
PV_MUST_USE enum pv_status pv_gpu_set_outputs(struct pv_gpu *gpu, const struct pv_output *outputs, uint32_t n);
/*
 * The same without raising the event: for a display whose VMM owns the config space and tells the guest itself. n may
 * be up to PV_GPU_MAX_SCANOUTS: such a VMM may have more heads than we were created with.
 */
PV_MUST_USE enum pv_status pv_gpu_update_outputs(struct pv_gpu *gpu, const struct pv_output *outputs, uint32_t n);
/* A display's answer to query_outputs: GET_DISPLAY_INFO requests that wait are answered. */
void pv_gpu_outputs_queried(struct pv_gpu *gpu);

/* The host-visible window's memory, -1 without one. Borrowed. */
int pv_gpu_window_fd(const struct pv_gpu *gpu);
uint64_t pv_gpu_window_bytes(const struct pv_gpu *gpu);

/* Counters since create. Plain copies. */
struct pv_gpu_scanout_stats {
	bool active;
	uint32_t width, height, resource_id, format;
	uint64_t flushes;
};
struct pv_gpu_stats {
	uint64_t commands, cursor_commands, failed_commands, interrupts;
	uint64_t fences_created, fences_signalled;
	uint64_t transfers, transferred_bytes, flushes;
	uint64_t resources, host_bytes, max_host_bytes;
	uint64_t contexts, submits, window_used_bytes;
	uint64_t resets;
	uint64_t driver_features;
	bool queue_running[PV_GPU_NR_QUEUES], queue_broken[PV_GPU_NR_QUEUES];
	const char *renderer;
	struct pv_gpu_scanout_stats scanouts[PV_GPU_MAX_SCANOUTS];
};
void pv_gpu_get_stats(const struct pv_gpu *gpu, struct pv_gpu_stats *out);

struct pv_gpu_context_stats {
	uint32_t id, capset_id;
	char name[65];
	uint64_t nr_blobs, blob_bytes; /* that were made in it and live */
	uint64_t host_bytes;           /* besides */
	uint64_t submits;
};
/* Up to `max` of them, in no order; returns how many. */
size_t pv_gpu_get_contexts(const struct pv_gpu *gpu, struct pv_gpu_context_stats *out, size_t max);

#endif

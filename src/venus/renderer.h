/* SPDX-License-Identifier: MIT */
/*
 * The Venus renderer: the guests' Vulkan, executed by the host's (src/gpu/renderer.h).
 *
 * It draws, but shows nothing by itself: the 2D ops answer PV_ERR_UNSUPPORTED, but for the resources of a guest's
 * memory (PV_RESOURCE_GUEST_BLOB), which it knows by name only.
 */
#ifndef PV_VENUS_RENDERER_H
#define PV_VENUS_RENDERER_H

#include "gpu/renderer.h"

struct pv_loop;
struct pv_venus_decoder;
struct pv_venus_host;

#define PV_VENUS_CAPSET_ID    4
#define PV_VENUS_CAPSET_BYTES 160

struct pv_venus_renderer_params {
	struct pv_loop *loop;             /* the device thread's; borrowed */
	const struct pv_venus_host *host; /* borrowed; a device has been chosen */
	/* Drivers make mappable blobs first and import them as memory, even without a window. */
	bool use_guest_vram;
	/* Shared memory of one context's blobs that are not device memory; 0: PV_VENUS_DEFAULT_SHM_BYTES. */
	uint64_t max_shm_bytes;
	/* Tests: executes one command in the place of pv_venus_execute(). NULL: that. */
	void (*execute)(struct pv_venus_decoder *decoder);
};

/* Mesa uses 10 MiB for a small program; recording in many threads takes a few hundred. */
#define PV_VENUS_DEFAULT_SHM_BYTES (UINT64_C(2) << 30)
/* Guest processes with Vulkan at the same time, those whose end is still in progress included. */
#define PV_VENUS_MAX_CONTEXTS 128
/* Of one context; each is a thread. Mesa makes one per guest thread that compiles pipelines, and one for all else. */
#define PV_VENUS_MAX_RINGS 128

/* On the device thread, as all that follows. */
PV_MUST_USE enum pv_status pv_venus_renderer_create(const struct pv_venus_renderer_params *params,
						    struct pv_renderer **out);

struct pv_venus_renderer_status {
	uint32_t nr_contexts;
	uint32_t nr_ending; /* given up, but their threads or the host's driver are not done */
	uint32_t nr_lost;
	uint32_t nr_rings;
	uint64_t nr_objects, shm_bytes;
};
void pv_venus_renderer_status(struct pv_renderer *renderer, struct pv_venus_renderer_status *out);

#endif

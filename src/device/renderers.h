/* SPDX-License-Identifier: MIT */
/* Which renderers a device has. Device thread. */
#ifndef PV_DEVICE_RENDERERS_H
#define PV_DEVICE_RENDERERS_H

#include "gpu/renderer.h"

struct pv_loop;
struct pv_device_worker;
struct pv_worker_client_status;
struct pv_virgl_renderer_params;
/* The host's Vulkan, as Venus uses it. */
struct pv_device_vulkan;

struct pv_device_renderer_params {
	struct pv_loop *loop;
	const char *names; /* as in struct pv_device_params */
	const char *vulkan_device, *render_node;
	bool emulate_portability, use_guest_vram, with_dma_bufs;
	uint64_t *window_bytes;   /* PV_DEVICE_WINDOW_AUTO is replaced */
	uint64_t *max_host_bytes; /* 0, for Vulkan no limit but its own, is replaced */
	/* A program whose process has those that use drivers; NULL: this process. */
	const char *worker_program;
};

struct pv_device_renderer_names {
	bool venus, virgl;
};
/* "2d,venus". PV_ERR_ARGUMENT: there is no such renderer (logged). */
PV_MUST_USE enum pv_status pv_device_renderer_names(const char *text, struct pv_device_renderer_names *out);

/* What is needed for as long as the renderer lives; {0}: nothing. */
struct pv_device_host {
	struct pv_device_vulkan *vulkan; /* NULL: not in this process */
	struct pv_device_worker *worker; /* NULL: none */
};

/* One renderer for all of them. */
PV_MUST_USE enum pv_status pv_device_renderer_create(const struct pv_device_renderer_params *params,
						     struct pv_renderer **out, struct pv_device_host *out_host);
/* After the renderer. */
void pv_device_host_finish(struct pv_device_host *host);

/* worker.c: those of `names` (NULL: what there is) in a process of their own. As pv_worker_client_create(). */
PV_MUST_USE enum pv_status pv_device_worker_create(const struct pv_device_renderer_params *params,
						   struct pv_renderer **out, struct pv_device_worker **out_worker);
/* After the renderer. NULL is fine. */
void pv_device_worker_destroy(struct pv_device_worker *worker);
/* While the renderer lives. */
void pv_device_worker_status(const struct pv_device_worker *worker, struct pv_worker_client_status *out);

/* vulkan_*.c: the Venus renderer. PV_ERR_UNSUPPORTED: this host or build has none; *out_why (static) says why. */
PV_MUST_USE enum pv_status pv_device_vulkan_create(const struct pv_device_renderer_params *params,
						   struct pv_renderer **out, struct pv_device_vulkan **out_vulkan,
						   const char **out_why);
/* opengl_*.c: the VirGL renderer, see there. PV_ERR_UNSUPPORTED: this host or build has none. Logged. */
PV_MUST_USE enum pv_status pv_device_opengl_create(const struct pv_virgl_renderer_params *params,
						   struct pv_renderer **out);
/* NULL is fine. */
void pv_device_vulkan_destroy(struct pv_device_vulkan *vulkan);
/* For people; NULL: none. Valid as long as `vulkan`. */
const char *pv_device_vulkan_device(const struct pv_device_vulkan *vulkan);
const char *pv_device_vulkan_driver(const struct pv_device_vulkan *vulkan);

#endif

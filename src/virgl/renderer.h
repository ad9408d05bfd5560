/* SPDX-License-Identifier: MIT */
/*
 * The VirGL renderer: the guests' OpenGL, executed by the host's through virglrenderer (src/gpu/renderer.h).
 *
 * It has textures (PV_RESOURCE_3D) with a guest backing, blobs that are made in a context (not mappable), and pictures
 * of its textures for displays. 2D resources and guest blobs are left to others.
 *
 * The library is one for the process and draws with GL contexts of the thread that made it: there can be one renderer
 * at a time, made, used and destroyed on one thread.
 */
#ifndef PV_VIRGL_RENDERER_H
#define PV_VIRGL_RENDERER_H

#include "gpu/renderer.h"

struct pv_loop;

#define PV_VIRGL_CAPSET_ID  1
#define PV_VIRGL2_CAPSET_ID 2

/* Guest processes with OpenGL at the same time; each has GL contexts of the host's. */
#define PV_VIRGL_MAX_CONTEXTS 256

struct pv_virgl_renderer_params {
	struct pv_loop *loop;
	/*
	 * The path of the DRM device that shall draw, such as /dev/dri/renderD128; NULL: the one that EGL chooses, the
	 * CPU where there is none.
	 */
	const char *render_node;
	/*
	 * What GL contexts, shaders and other objects of the guests are thought to take of the host's memory is not
	 * more than this, all together, resources apart; 0: no limit.
	 */
	uint64_t max_held_bytes;
	bool with_dma_bufs; /* pictures have one, where the driver can (pv_frame.dma_buf) */
};

/* PV_ERR_UNSUPPORTED: no OpenGL that can be used. PV_ERR_HOST: the process has one already. Both logged. */
PV_MUST_USE enum pv_status pv_virgl_renderer_create(const struct pv_virgl_renderer_params *params,
						    struct pv_renderer **out);

/* For people: what the host's OpenGL calls itself, and its version. Valid as long as the renderer. */
const char *pv_virgl_renderer_gl_name(struct pv_renderer *renderer);
const char *pv_virgl_renderer_gl_version(struct pv_renderer *renderer);

struct pv_virgl_renderer_status {
	uint32_t nr_contexts, nr_resources, nr_fences;
	uint64_t imported_bytes; /* copied from other renderers' blobs so far */
};
void pv_virgl_renderer_status(struct pv_renderer *renderer, struct pv_virgl_renderer_status *out);

#endif

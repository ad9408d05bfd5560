/* SPDX-License-Identifier: MIT */
/* virglrenderer itself: its one instance, its log, its fences as events of the loop. */
#ifndef PV_VIRGL_LIBRARY_H
#define PV_VIRGL_LIBRARY_H

#include <sys/uio.h>

/* Contexts and fences of their own are stable since 1.0, and the same since 0.10.4. */
#define VIRGL_RENDERER_UNSTABLE_APIS 1
#include <virglrenderer.h>

#include "base/base.h"
#include "base/loop.h"

/* The library's; its header does not have it. */
struct virgl_box {
	uint32_t x, y, z, width, height, depth;
};

struct pv_virgl_library {
	/* Called from within pv_virgl_library_poll() and the fence functions of the library. */
	void (*context_fence)(void *user, uint32_t ctx_id, uint64_t fence_id);
	void (*fence)(void *user, uint32_t fence_id);
	/* The loop's: afterwards, when other functions of the library may be called again. */
	void (*polled)(void *user);
	void *user;

	char gl_name[128], gl_version[128];
	int render_node_fd; /* until the library takes it; -1: none */
	struct pv_loop_fd *watch;
	struct virgl_renderer_callbacks callbacks;
};

/*
 * Callbacks and user are the caller's to fill in, the rest is zero. Render node and errors as in
 * pv_virgl_renderer_create().
 */
PV_MUST_USE enum pv_status pv_virgl_library_init(struct pv_virgl_library *library, struct pv_loop *loop,
						 const char *render_node);
void pv_virgl_library_finish(struct pv_virgl_library *library);

#endif

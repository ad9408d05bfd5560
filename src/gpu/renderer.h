/* SPDX-License-Identifier: MIT */
/*
 * What draws. The device core speaks to every renderer through this table in the manner of messages: ids, numbers and
 * spans, no pointer into the core and none back into guest-visible state, so that a renderer can live in a process of
 * its own. All ops are called on the device thread, in the guest's order, and must not wait for anything.
 *
 * Each call that can fail carries an `op_id`. It either finishes at once (any status but PV_PENDING) or returns
 * PV_PENDING and later reports events->op_done(op_id). The core never starts an op on a resource id that it has not
 * seen created, and never creates an id twice.
 */
#ifndef PV_GPU_RENDERER_H
#define PV_GPU_RENDERER_H

#include "gpu/frame.h"
#include "guestmem/guest_map.h"

enum pv_resource_kind {
	PV_RESOURCE_2D,         /* format, width, height; pixels live in the renderer */
	PV_RESOURCE_GUEST_BLOB, /* size_bytes; bytes live in its guest backing */
};

struct pv_resource_info {
	uint32_t id; /* not 0 */
	enum pv_resource_kind kind;
	uint32_t format, width, height; /* PV_RESOURCE_2D; checked by the core */
	uint64_t size_bytes;            /* of the guest blob, or of the picture */
};

/* Where a scanout's pixels lie inside a blob. */
struct pv_blob_layout {
	uint32_t format, width, height;
	uint32_t stride_bytes;
	uint64_t offset_bytes;
};

struct pv_transfer {
	uint32_t resource_id;
	struct pv_rect rect;
	uint64_t offset_bytes; /* into the backing, of the rectangle's first pixel */
};

/* Called by the renderer on the device thread. */
struct pv_renderer_events {
	void (*op_done)(void *user, uint64_t op_id, enum pv_status status);
	void (*fence_signalled)(void *user, uint64_t fence_id);
	void *user;
};

struct pv_renderer {
	const struct pv_renderer_ops *ops;
	struct pv_renderer_events events; /* filled in by pv_gpu_create() */
};

struct pv_renderer_ops {
	const char *name;
	void (*destroy)(struct pv_renderer *renderer);
	/* The guest's memory from now on (a new reference is taken if kept); NULL: none. */
	void (*set_guest_map)(struct pv_renderer *renderer, struct pv_guest_map *map);

	enum pv_status (*resource_create)(struct pv_renderer *renderer, uint64_t op_id,
					  const struct pv_resource_info *info);
	void (*resource_destroy)(struct pv_renderer *renderer, uint32_t resource_id);
	/* `spans` is borrowed for the call; not checked against guest memory. */
	enum pv_status (*attach_backing)(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
					 const struct pv_guest_span *spans, size_t nr_spans);
	void (*detach_backing)(struct pv_renderer *renderer, uint32_t resource_id);
	/* Guest backing to picture; `rect` is inside it (checked by the core). PV_ERR_GUEST: the backing is too short.
	 */
	enum pv_status (*transfer_to_host)(struct pv_renderer *renderer, uint64_t op_id,
					   const struct pv_transfer *transfer);
	/*
	 * The picture to show for a resource; the caller gets a reference. A 2D resource (`layout` NULL) always gives
	 * the same frame. A blob gives one made for `layout`, whose extent the core has checked against its size; it
	 * has one live frame at a time, an earlier one of another layout is no longer updated.
	 */
	enum pv_status (*get_frame)(struct pv_renderer *renderer, uint32_t resource_id,
				    const struct pv_blob_layout *layout, struct pv_frame **out);
	/* The guest flushed `rect`: what get_frame() gave last for this resource must show it when it is next read. */
	enum pv_status (*update_frame)(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				       const struct pv_rect *rect);
	/* Asks for events->fence_signalled(fence_id) once all ops before this call have taken effect; may come at once.
	 */
	void (*create_fence)(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx);
	/*
	 * Before the answers of a batch are published: what was put off although its op returned PV_OK, and reads guest
	 * memory or can be noticed by the guest in another way, happens now.
	 */
	void (*finish_batch)(struct pv_renderer *renderer);
	/* The guest's driver is gone: every resource has been destroyed; pending ops and fences are forgotten. */
	void (*reset)(struct pv_renderer *renderer);
};

static inline void pv_renderer_destroy(struct pv_renderer *renderer)
{
	if (renderer)
		renderer->ops->destroy(renderer);
}

#endif

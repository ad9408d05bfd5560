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
	PV_RESOURCE_HOST_BLOB,  /* size_bytes, ctx_id, blob_id; bytes live with the renderer */
};

struct pv_resource_info {
	uint32_t id; /* not 0 */
	enum pv_resource_kind kind;
	uint32_t format, width, height; /* PV_RESOURCE_2D; checked by the core */
	uint64_t size_bytes;            /* of the blob, or of the picture */
	/* PV_RESOURCE_HOST_BLOB (5.7.6.8, VIRTIO_GPU_BLOB_MEM_HOST3D). */
	uint32_t ctx_id, blob_flags;
	uint64_t blob_id;
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

	/*
	 * 3D: all of what follows, or NULL throughout. The ops of one context and of blobs made in it take effect in
	 * the order of their calls, even where earlier ones are pending; those of different contexts do not wait for
	 * each other. fence_signalled() for ring_idx 0 means that the context's ops before create_fence() have taken
	 * effect, for others that the work they submitted to that timeline has ended; it comes in any case, also after
	 * the context is lost or gone.
	 */
	/* Capability sets: ids by index, then contents. *len_bytes: room at `buf` in, size out (NULL buf: just size).
	 */
	uint32_t (*capset_id)(struct pv_renderer *renderer, uint32_t index); /* 0: no more */
	enum pv_status (*capset)(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
				 size_t *len_bytes);
	/* `name` is for people; at most 64 bytes, may be empty. */
	enum pv_status (*context_create)(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
					 uint32_t capset_id, const char *name);
	/* Its pending ops are answered (with an error) and its fences signalled before the id is free again. */
	void (*context_destroy)(struct pv_renderer *renderer, uint32_t ctx_id);
	/* A resource becomes known to a context; twice is harmless. The creating context knows its blobs at once. */
	enum pv_status (*context_attach)(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
					 uint32_t resource_id);
	void (*context_detach)(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id);
	/* A command buffer (VIRTIO_GPU_CMD_SUBMIT_3D); `commands` is borrowed for the call. PV_ERR_GUEST: the context
	 * is lost. */
	enum pv_status (*submit)(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
				 size_t len_bytes);
	/*
	 * Host blobs, once created. Their memory as a file to be mapped at offset 0, at least as long as the blob: the
	 * caller gets a duplicate. PV_ERR_UNSUPPORTED: it is not mappable. For transports without a window.
	 */
	enum pv_status (*blob_export)(struct pv_renderer *renderer, uint32_t resource_id, int *out_fd);
	/* VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB at `offset_bytes` of the window; *out_map_info as in 5.7.6.10. */
	enum pv_status (*blob_map)(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				   uint64_t offset_bytes, uint32_t *out_map_info);
	void (*blob_unmap)(struct pv_renderer *renderer, uint32_t resource_id);
};

static inline void pv_renderer_destroy(struct pv_renderer *renderer)
{
	if (renderer)
		renderer->ops->destroy(renderer);
}

#endif

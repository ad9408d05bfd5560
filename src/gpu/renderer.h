/* SPDX-License-Identifier: MIT */
/*
 * What draws. The device core speaks to every renderer through this table in the manner of messages: ids, numbers and
 * spans, no pointer into the core and none back into guest-visible state, so that a renderer can live in a process of
 * its own. All ops are called on the device thread, in the guest's order, and must not wait for anything.
 *
 * Each call that can fail carries an `op_id`. It either finishes at once (any status but PV_PENDING) or returns
 * PV_PENDING and later reports events->op_done(op_id). The core starts ops only on resources that it has asked for and
 * not yet destroyed; they may still be pending. Ids are the guest's: one that was destroyed may be used again at once.
 *
 * Events may be reported from within an op. The core may then call other ops before that one returns.
 */
#ifndef PV_GPU_RENDERER_H
#define PV_GPU_RENDERER_H

#include "gpu/frame.h"
#include "guestmem/guest_map.h"

enum pv_resource_kind {
	PV_RESOURCE_2D,         /* format, width, height; pixels live in the renderer */
	PV_RESOURCE_GUEST_BLOB, /* size_bytes; bytes live in its guest backing */
	PV_RESOURCE_HOST_BLOB,  /* size_bytes, ctx_id, blob_id; bytes live with the renderer */
	/* The same with a guest backing, attached next (VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST). */
	PV_RESOURCE_HOST_GUEST_BLOB,
	PV_RESOURCE_3D, /* as 2D, and `texture`: made and moved by the OpenGL renderer */
	/* size_bytes; a host blob of another renderer, for the OpenGL renderer's contexts. attach_file() says where. */
	PV_RESOURCE_FOREIGN_BLOB,
};

/* VIRTIO_GPU_CMD_RESOURCE_CREATE_3D: numbers of Gallium, for the renderer to judge. */
struct pv_texture_info {
	uint32_t target, bind, depth, array_size, last_level, nr_samples, flags;
};

struct pv_resource_info {
	uint32_t id; /* not 0 */
	enum pv_resource_kind kind;
	uint32_t format, width, height; /* PV_RESOURCE_2D: checked by the core; PV_RESOURCE_3D: as the guest said */
	uint64_t size_bytes;            /* of the blob, or of the 2D picture */
	/* Host blobs (5.7.6.8, VIRTIO_GPU_BLOB_MEM_HOST3D). The context exists. */
	uint32_t ctx_id, blob_flags;
	uint64_t blob_id;
	struct pv_texture_info texture;
};

/* Bits of pv_resource_info.blob_flags. */
#define PV_BLOB_MAPPABLE     (1u << 0)
#define PV_BLOB_SHAREABLE    (1u << 1)
#define PV_BLOB_CROSS_DEVICE (1u << 2)

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

/* Between a guest backing and a texture or host blob (5.7.6.9); nothing in it is checked. */
struct pv_transfer_3d {
	uint32_t resource_id, ctx_id; /* ctx_id exists, or 0 */
	uint32_t x, y, z, width, height, depth;
	uint32_t level, stride_bytes, layer_stride_bytes;
	uint64_t offset_bytes;
	bool to_guest;
};

struct pv_capset_info {
	uint32_t id; /* not 0 */
	uint32_t max_version, max_size_bytes;
	bool needs_window; /* of no use to a guest that does not see the host-visible window */
};

/* Called by the renderer on the device thread. */
struct pv_renderer_events {
	void (*op_done)(void *user, uint64_t op_id, enum pv_status status);
	void (*fence_signalled)(void *user, uint64_t fence_id);
	/*
	 * Optional, for renderers in a process of their own: should that die, `bits` are to be set in the 32-bit word
	 * at `offset_bytes` of a host blob, where the guest looks.
	 */
	void (*last_word)(void *user, uint32_t resource_id, uint64_t offset_bytes, uint32_t bits);
	/*
	 * Optional. The renderer was in a process of its own, which is gone: what the 3D resources of now had on the
	 * host is free. Their ids are still known and answer with errors.
	 */
	void (*lost)(void *user);
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
	/* Also for one whose creation failed: then there may be no such resource. */
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
	/*
	 * Optional: the resource's frame is this one from now on, which is in memory that others see as well. It has
	 * the resource's size and one of the formats of pv_gpu_format_plain(). PV_ERR_UNSUPPORTED: it has no picture;
	 * PV_ERR_GUEST: not one that can be shown.
	 */
	enum pv_status (*set_frame)(struct pv_renderer *renderer, uint32_t resource_id, struct pv_frame *frame);
	/* The guest flushed `rect`: what get_frame() gave last for this resource must show it when it is next read,
	 * or fetched. */
	enum pv_status (*update_frame)(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				       const struct pv_rect *rect);
	/* Asks for events->fence_signalled(fence_id) once all ops before this call have taken effect; may come at once.
	 */
	void (*create_fence)(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx);
	/*
	 * At the end of a batch, before its answers (if there are some already) are published: what was put off
	 * although its op returned PV_OK, and reads guest memory or can be noticed by the guest in another way, happens
	 * now.
	 */
	void (*finish_batch)(struct pv_renderer *renderer);
	/* The guest's driver is gone: every resource has been destroyed; pending ops and fences are forgotten. */
	void (*reset)(struct pv_renderer *renderer);

	/*
	 * 3D: all of what follows but for the optional ones, or NULL throughout. The ops of one context and of the
	 * blobs made in it take effect in the order of their calls, even where earlier ones are pending, and so do
	 * create_fence(), context_detach() and resource_destroy(); those of different contexts do not wait for each
	 * other. fence_signalled() for ring_idx 0 means that the context's ops before create_fence() have taken effect,
	 * for others that the work they submitted to that timeline has ended; it comes in any case, also after the
	 * context is lost or gone.
	 */
	/*
	 * Optional: renderers without it have no mappable blobs. The host-visible window: a sparse file of `size_bytes`
	 * that the guest sees whole, `fd` is borrowed for the renderer's life. Called once, before anything else, or
	 * never: then there is no window.
	 */
	enum pv_status (*set_window)(struct pv_renderer *renderer, int fd, uint64_t size_bytes);
	/* Capability sets by index, the same for the renderer's life. False: there are no more. */
	bool (*capset_info)(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out);
	/* Contents. *len_bytes: room at `buf` in, size out. PV_ERR_GUEST: no such set or version. */
	enum pv_status (*capset)(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
				 size_t *len_bytes);
	/* `name` is for people; at most 64 bytes, may be empty. `capset_id` 0: the guest did not choose (OpenGL). */
	enum pv_status (*context_create)(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
					 uint32_t capset_id, const char *name);
	/*
	 * Its pending ops are answered (with an error) before it returns, and the id may be used again at once. The
	 * rest of the context may end later, somewhere else. Blobs made in it live on.
	 */
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
	 * caller gets a duplicate. PV_ERR_UNSUPPORTED: it is not mappable, or it lives in the window. For transports
	 * without a window.
	 */
	enum pv_status (*blob_export)(struct pv_renderer *renderer, uint32_t resource_id, int *out_fd);
	/*
	 * VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB. From the call on the blob's bytes are those of the window at `offset_bytes`
	 * (a multiple of 4096, the range is the blob's alone and zero). Linux maps each mappable blob right after it
	 * was created, so that memory need not be anywhere before. PV_ERR_UNSUPPORTED: the bytes are elsewhere already.
	 */
	enum pv_status (*blob_map)(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				   uint64_t offset_bytes);
	/*
	 * Cannot fail, may be pending. Once done the renderer and the host's GPU touch the range no more, whatever the
	 * guest still refers to (such memory becomes private and its contents are undefined): the caller gives the
	 * range to others, and empties it before. With `op_id` 0 nobody waits for it: it happens before what is asked
	 * for later, the renderer empties the range, and a map of the blob that is still pending will fail (reset, or
	 * its creation failed); unknown ids are harmless then.
	 */
	enum pv_status (*blob_unmap)(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id);
	/* Optional: OpenGL. VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D and FROM_HOST_3D. */
	enum pv_status (*transfer_3d)(struct pv_renderer *renderer, uint64_t op_id,
				      const struct pv_transfer_3d *transfer);
	/*
	 * Optional: a backing for a texture in the place of a guest's memory: part of a file from pv_shm_create(),
	 * which keeps its size (pv_shm_keep_size()); `fd` is borrowed. For transports without a guest, and for the
	 * blobs of other renderers, which lie in the window: detach_backing() ends it before they leave.
	 */
	enum pv_status (*attach_file)(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id, int fd,
				      uint64_t offset_bytes, uint64_t size_bytes);
	/* Optional: memory that a context holds on the host outside of the window, for people. */
	uint64_t (*context_memory_bytes)(struct pv_renderer *renderer, uint32_t ctx_id);
};

static inline void pv_renderer_destroy(struct pv_renderer *renderer)
{
	if (renderer)
		renderer->ops->destroy(renderer);
}

#endif

/* SPDX-License-Identifier: MIT */
/* Shared by the files of the device core: queue.c (requests), commands*.c (what they mean), scanout.c (what is shown).
 */
#ifndef PV_GPU_GPU_INTERNAL_H
#define PV_GPU_GPU_INTERNAL_H

#include "base/id_map.h"
#include "gpu/gpu.h"
#include "gpu/protocol.h"
#include "gpu/window.h"

/* More than any single response we give, or QEMU's limit of entries in one backing. */
#define PV_GPU_MAX_BACKING_ENTRIES 16384

/* Host memory of a resource. */
struct pv_gpu_cost {
	uint64_t picture_bytes; /* a 2D picture; with the 3D renderer: a texture, or one made of a blob */
	uint64_t shown_bytes;   /* what displays see of a texture or blob */
	uint64_t backing_bytes; /* the list of it */
};

struct pv_gpu_resource {
	uint32_t id;
	enum pv_resource_kind kind;
	uint32_t format, width, height; /* PV_RESOURCE_2D */
	uint64_t size_bytes;
	bool has_backing;
	bool has_uuid;
	uint8_t uuid[16];
	struct pv_gpu_cost cost;
	uint64_t host_bytes; /* charged for all of it */
	/* A blob's picture: the layout it was shown with last. */
	bool has_layout;
	struct pv_blob_layout layout;

	/* Host blobs. */
	uint32_t ctx_id, capset_id, blob_flags;
	uint64_t ctx_serial; /* tells the context from a later one of the same id */
	bool mapped;         /* has a range of the window, also while a map or unmap is pending */
	uint64_t map_offset;
	struct pv_frame *frame; /* the mapped pixels, once shown, */
	struct pv_blob_layout frame_layout;
	/* Requests in flight that end a state of it; 0: none. */
	uint64_t create_request, map_request, unmap_request, unref_request;
};

static inline bool pv_gpu_is_blob(const struct pv_gpu_resource *resource)
{
	return resource->kind == PV_RESOURCE_GUEST_BLOB || resource->kind == PV_RESOURCE_HOST_BLOB ||
	       resource->kind == PV_RESOURCE_HOST_GUEST_BLOB;
}

/* A guest process's use of a 3D renderer. */
struct pv_gpu_context {
	uint32_t id, capset_id;
	uint64_t serial;
	char name[PV_GPU_CONTEXT_NAME_BYTES + 1];
	uint64_t nr_blobs, blob_bytes; /* that were made in it and live */
	uint64_t submits;
};

struct pv_gpu_scanout {
	uint32_t resource_id; /* 0: off */
	struct pv_rect rect;  /* of the resource's picture */
	struct pv_frame *frame;
	uint64_t flushes;
};

/* What a handler leaves for the driver. */
struct pv_gpu_response {
	uint32_t type; /* 0: the answer comes later (op_done, outputs) */
	uint32_t payload_len;
	union {
		struct pv_gpu_resp_display_info display_info;
		struct pv_gpu_resp_edid edid;
		struct pv_gpu_resp_uuid uuid;
		struct pv_gpu_resp_capset_info capset_info;
		struct pv_gpu_resp_capset capset;
		struct pv_gpu_resp_map_info map_info;
		struct pv_gpu_ctrl_hdr hdr; /* always first, filled in by the queue */
	};
};

#define PV_GPU_INLINE_SPANS 4

/* A request the driver waits for. Lives in its queue's pool. */
struct pv_gpu_request {
	uint64_t id; /* unique among those in flight and after; 0: free */
	uint32_t queue;
	uint16_t head;
	struct pv_gpu_ctrl_hdr hdr;
	/* What the pending op is about; 0: none. A resource's own *_request fields tell it from a later one of that id.
	 */
	uint32_t resource_id, created_context_id;
	uint64_t created_context_serial;
	struct pv_rect flush_rect; /* of RESOURCE_FLUSH, checked */
	uint32_t scanout_id;       /* of GET_EDID, checked */
	bool answered;             /* the response is written, or kept until the queue runs again */
	bool is_kept;
	struct pv_gpu_response *kept; /* if is_kept; NULL: there was no memory for it */
	bool fence_asked, fence_signalled;
	bool ordered; /* waits its turn among the fences of the device's own timeline */
	uint32_t written_len;
	uint64_t writable_len;
	size_t nr_spans;
	struct pv_guest_span *heap_spans; /* when there are more than fit inline */
	struct pv_guest_span spans[PV_GPU_INLINE_SPANS];
	struct pv_gpu_request *next;         /* free list, the wait for outputs, or those that ended */
	struct pv_gpu_request *next_ordered; /* if `ordered` */
};

struct pv_gpu_queue {
	struct pv_virtq virtq;
	struct pv_gpu_request *pool; /* virtq.layout.size of them */
	struct pv_gpu_request *free;
	/* Ended while the queue was stopped: to be given back when it goes on. */
	struct pv_gpu_request *first_ended, *last_ended;
	bool busy;      /* inside its own batch: interrupts wait for its end */
	bool completed; /* something was pushed in this batch */
};

struct pv_gpu {
	struct pv_loop *loop;
	struct pv_renderer *renderer;
	const struct pv_gpu_transport_ops *transport;
	void *transport_user;
	struct pv_display *displays;

	uint64_t driver_features;
	struct pv_gpu_config config;
	struct pv_guest_map *map;
	struct pv_gpu_queue queues[PV_GPU_NR_QUEUES];
	uint64_t next_serial;
	struct pv_virtq_chain chain; /* scratch of the batch in hand */
	struct pv_loop_task resume;  /* goes on with a long batch after other work */
	bool resume_posted;

	struct pv_gpu_request *first_ordered, *last_ordered;

	struct pv_id_map resources;
	uint64_t max_host_bytes, host_bytes;

	bool has_3d;
	bool window_hidden; /* the transport cannot show it to the guest */
	struct pv_id_map contexts;
	uint64_t next_context_serial;
	uint8_t *submit_scratch; /* PV_GPU_SUBMIT_SCRATCH_BYTES, for the usual command buffers */
	struct pv_window window;

	uint32_t nr_outputs; /* that SET_SCANOUT accepts; config.num_scanouts or more */
	struct pv_output outputs[PV_GPU_MAX_SCANOUTS];
	struct pv_gpu_request *waiting_for_outputs;
	bool outputs_queried;
	struct pv_gpu_scanout scanouts[PV_GPU_MAX_SCANOUTS];
	struct pv_cursor cursor;

	struct pv_gpu_stats stats;
};

/* commands.c: the renderer's process is gone, and with it what the guest's 3D resources had there. */
void pv_gpu_renderer_lost(void *user);

/* queue.c */
void pv_gpu_op_done(void *user, uint64_t op_id, enum pv_status status);
void pv_gpu_fence_signalled(void *user, uint64_t fence_id);
void pv_gpu_resume(struct pv_loop_task *task);
void pv_gpu_finish_request(struct pv_gpu *gpu, struct pv_gpu_request *request, struct pv_gpu_response *response);
void pv_gpu_raise_interrupt(struct pv_gpu *gpu, struct pv_gpu_queue *queue);

/* The request of an id that may be old; NULL: it is over. */
struct pv_gpu_request *pv_gpu_find_request(struct pv_gpu *gpu, uint64_t id);

/* commands.c: fills `response`; type 0 leaves the request in flight. `request->hdr` holds the checked header. */
void pv_gpu_execute_control(struct pv_gpu *gpu, struct pv_gpu_request *request, const struct pv_virtq_chain *chain,
			    struct pv_gpu_response *response);
void pv_gpu_execute_cursor(struct pv_gpu *gpu, struct pv_gpu_request *request, const struct pv_virtq_chain *chain,
			   struct pv_gpu_response *response);
uint32_t pv_gpu_response_type(enum pv_status status);
void pv_gpu_destroy_resource(struct pv_gpu *gpu, uint32_t resource_id);
void pv_gpu_destroy_all_resources(struct pv_gpu *gpu);

/* commands_3d.c */
#define PV_GPU_SUBMIT_SCRATCH_BYTES 65536
/* Takes note of the end of a pending op; true: `response` holds more than its status. */
void pv_gpu_finish_op(struct pv_gpu *gpu, struct pv_gpu_request *request, enum pv_status status,
		      struct pv_gpu_response *response);
/* The capability sets that are offered, by index. False: there are no more. */
bool pv_gpu_find_capset(const struct pv_gpu *gpu, uint32_t index, struct pv_capset_info *out);
/* Stops a queue and forgets its requests: its driver is gone. */
void pv_gpu_queue_drop(struct pv_gpu *gpu, uint32_t index);
/* The range goes back to the window, in its own time if `request_id` is not 0: then PV_PENDING is possible. */
enum pv_status pv_gpu_unmap_resource(struct pv_gpu *gpu, struct pv_gpu_resource *resource, uint64_t request_id);
/* The mapped picture of a blob is no longer the blob's. */
void pv_gpu_drop_mapped_frame(struct pv_gpu_resource *resource);
void pv_gpu_forget_blob(struct pv_gpu *gpu, const struct pv_gpu_resource *resource);
void pv_gpu_destroy_all_contexts(struct pv_gpu *gpu);

/* scanout.c */
/* The answer to GET_DISPLAY_INFO or GET_EDID, whichever `request` is. */
void pv_gpu_fill_from_outputs(const struct pv_gpu *gpu, const struct pv_gpu_request *request,
			      struct pv_gpu_response *response);
void pv_gpu_set_scanout(struct pv_gpu *gpu, uint32_t scanout_id, uint32_t resource_id, struct pv_frame *take_frame,
			const struct pv_rect *rect);
void pv_gpu_disable_scanout(struct pv_gpu *gpu, uint32_t scanout_id);
/* Switches off the heads that show it. */
void pv_gpu_hide_resource(struct pv_gpu *gpu, uint32_t resource_id);
bool pv_gpu_resource_is_shown(const struct pv_gpu *gpu, uint32_t resource_id);
/* Tells displays which part of which scanout `rect` of the resource is. */
void pv_gpu_flush_scanouts(struct pv_gpu *gpu, uint32_t resource_id, const struct pv_rect *rect);
void pv_gpu_hide_cursor(struct pv_gpu *gpu);
void pv_gpu_show_cursor_image(struct pv_gpu *gpu);
void pv_gpu_show_cursor_position(struct pv_gpu *gpu);
/* True: a display was asked, pv_gpu_outputs_queried() follows. False: what we have is current. */
bool pv_gpu_query_outputs(struct pv_gpu *gpu);

#endif

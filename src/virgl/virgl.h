/* SPDX-License-Identifier: MIT */
/* The renderer's state, for its files. Owned by the device thread. */
#ifndef PV_VIRGL_VIRGL_H
#define PV_VIRGL_VIRGL_H

#include "base/id_map.h"
#include "virgl/library.h"
#include "virgl/reader.h"
#include "virgl/renderer.h"

struct pv_virgl_fence {
	struct pv_virgl_fence *next;
	uint64_t id;
	uint64_t number; /* what the library calls it: they count up */
};

/* First in, first out. */
struct pv_virgl_fences {
	struct pv_virgl_fence *first, *last;
};

/* stream.c: what a context has by its command buffers, as far as can be known. */
struct pv_virgl_stream {
	struct pv_id_map subs;    /* GL contexts in it, but for number 0; the values are the context */
	uint32_t sub;             /* of these the one that has the next command */
	struct pv_id_map objects; /* by the guest's numbers */
	/* Counted in struct pv_virgl, the context with it, and of that what the command buffer in hand ends. */
	uint64_t held_bytes, ended_bytes;
	bool is_blurred; /* one failed: nothing counts as gone any more */
};

struct pv_virgl_context {
	uint32_t id;
	bool busy; /* has commands that no fence follows */
	bool lost; /* a command of it was refused */
	struct pv_virgl_fences fences;
	struct pv_id_map imports; /* struct pv_virgl_import: blobs of other renderers that it has */
	struct {
		struct pv_virgl_sub_context *first, *current; /* current NULL: not known */
		uint32_t nr_sub_contexts;
		bool lost_track;
	} sampled; /* sampled.c */
	struct pv_virgl *virgl;
	struct pv_virgl_stream stream;
};

struct pv_virgl_resource {
	uint32_t id;
	/* Of a blob of another renderer 0 until a context has said what it is; the library knows it from then on. */
	uint32_t width, height, format, target;
	bool is_import;
	/* Of such a blob, and in it. */
	uint64_t blob_bytes;
	uint32_t stride_bytes, offset_bytes;
	struct pv_virgl *virgl;
	/* The guest backing, and where it is in our memory: what the library has. NULL: nothing, or it is not there. */
	struct pv_guest_span *spans;
	size_t nr_spans;
	uint64_t backing_bytes;
	struct iovec *iov;
	/* A mapping in the place of a guest backing. */
	struct iovec file;
	uint32_t texture;                 /* GL's name; 0: nobody has asked for it yet */
	bool y_0_top;                     /* its rows are in that order */
	struct pv_virgl_picture *picture; /* NULL: never shown */
};

/* A flush that waits for the drawing before it. */
struct pv_virgl_flush {
	struct pv_virgl_flush *next;
	uint64_t op_id;
	uint32_t fence_id;
	uint32_t resource_id;
	struct pv_rect rect;
};

struct pv_virgl {
	struct pv_renderer base;
	struct pv_loop *loop;
	struct pv_virgl_library library;
	bool with_dma_bufs;
	uint32_t nr_dma_bufs;
	struct pv_virgl_reader *reader; /* NULL: nothing was ever shown */
	struct pv_guest_map *map;       /* counted; NULL: none */
	struct pv_id_map contexts, resources;
	uint64_t held_bytes, max_held_bytes; /* by all contexts and what is in them, but for resources */

	struct pv_virgl_fences signalled; /* to be told */
	struct pv_virgl_fence *free_fences;
	uint32_t nr_fences;
	uint64_t last_fence_number;

	struct pv_virgl_flush *flushes, **last_flush, *free_flushes;
	uint32_t next_flush_id, done_flush_id;

	uint64_t imported_bytes; /* copied from other renderers' blobs */
};

/* Whether the library knows of it. */
static inline bool pv_virgl_is_typed(const struct pv_virgl_resource *resource)
{
	return !resource->is_import || resource->width != 0;
}

static inline struct pv_virgl *pv_virgl_of(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct pv_virgl, base);
}

/* renderer.c: the library gets what the resource has in the place of a guest backing. */
bool pv_virgl_attach_file(struct pv_virgl_resource *resource);
/* renderer.c: returns the library's error, 0: none. */
int pv_virgl_execute(const struct pv_virgl_context *context, const uint32_t *commands, size_t nr_words);

/* virglrenderer and virtio-gpu have the same numbers, but for those with sRGB colours, shown as they are; 0: none. */
uint32_t pv_virgl_shown_format(uint32_t format);

/*
 * frame.c: `texture` and what goes with it. The library makes an EGL image of the texture, after which it may be empty
 * (NVIDIA), so that those that are made for a screen are asked for while they still are. False: there is none.
 */
bool pv_virgl_find_texture(struct pv_virgl_resource *resource);

/* frame.c: ops of the table */
enum pv_status pv_virgl_get_frame(struct pv_renderer *renderer, uint32_t resource_id,
				  const struct pv_blob_layout *layout, struct pv_frame **out);
enum pv_status pv_virgl_set_frame(struct pv_renderer *renderer, uint32_t resource_id, struct pv_frame *frame);
enum pv_status pv_virgl_update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_rect *rect);
/* dma_buf.c: the resource's texture as a dma-buf of the frame, where the driver can. */
void pv_virgl_add_dma_buf(const struct pv_virgl_resource *resource, struct pv_frame *frame);
/* The display may keep it, but it reaches back no more. */
void pv_virgl_drop_frame(struct pv_virgl_resource *resource);
/* Tells of the flushes whose fence has signalled. */
void pv_virgl_finish_flushes(struct pv_virgl *virgl);
/* As if all had signalled: who reads waits, then. */
void pv_virgl_end_flushes(struct pv_virgl *virgl);
void pv_virgl_forget_flushes(struct pv_virgl *virgl);
void pv_virgl_free_flushes(struct pv_virgl *virgl);

#endif

/* SPDX-License-Identifier: MIT */
/* The renderer's state, for its files. Owned by the device thread. */
#ifndef PV_VIRGL_VIRGL_H
#define PV_VIRGL_VIRGL_H

#include "base/id_map.h"
#include "virgl/library.h"
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

struct pv_virgl_context {
	uint32_t id;
	bool busy; /* has commands that no fence follows */
	bool lost; /* a command of it was refused */
	struct pv_virgl_fences fences;
	/* Blobs of other renderers that it has. */
	struct pv_virgl_import *imports;
	uint32_t nr_imports;
};

struct pv_virgl_resource {
	uint32_t id;
	/* Of a blob of another renderer 0 until a context has said what it is; the library knows it from then on. */
	uint32_t width, height, format, target;
	bool is_import;
	/* In such a blob. */
	uint32_t stride_bytes, offset_bytes;
	struct pv_virgl *virgl;
	/* The guest backing, and where it is in our memory: what the library has. NULL: nothing, or it is not there. */
	struct pv_guest_span *spans;
	size_t nr_spans;
	uint64_t backing_bytes;
	struct iovec *iov;
	/* A mapping in the place of a guest backing. */
	struct iovec file;
	struct pv_frame *frame; /* NULL: never shown */
};

/* A flush that waits for the drawing before it. */
struct pv_virgl_flush {
	struct pv_virgl_flush *next;
	uint64_t op_id;
	uint32_t fence_id;
};

struct pv_virgl {
	struct pv_renderer base;
	struct pv_virgl_library library;
	struct pv_guest_map *map; /* counted; NULL: none */
	struct pv_id_map contexts, resources;

	struct pv_virgl_fences signalled; /* to be told */
	struct pv_virgl_fence *free_fences;
	uint32_t nr_fences;
	uint64_t last_fence_number;

	struct pv_virgl_flush *flushes, **last_flush, *free_flushes;
	uint32_t next_flush_id, done_flush_id;
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

/* frame.c: ops of the table */
enum pv_status pv_virgl_get_frame(struct pv_renderer *renderer, uint32_t resource_id,
				  const struct pv_blob_layout *layout, struct pv_frame **out);
enum pv_status pv_virgl_update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_rect *rect);
/* The display may keep it, but it reaches back no more. */
void pv_virgl_drop_frame(struct pv_virgl_resource *resource);
/* Tells of the flushes whose fence has signalled. */
void pv_virgl_finish_flushes(struct pv_virgl *virgl);
/* As if all had signalled: the display waits in the read-back, then. */
void pv_virgl_end_flushes(struct pv_virgl *virgl);
void pv_virgl_forget_flushes(struct pv_virgl *virgl);
void pv_virgl_free_flushes(struct pv_virgl *virgl);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What displays see of a texture: a frame whose stale part is read back when somebody looks, so that pictures that are
 * never looked at cost nothing. A flush ends only when the host's GPU has drawn what came before it: displays learn of
 * it then, and the read-back finds a finished picture in place of waiting for one on the device thread.
 */
#include <stdlib.h>

#include "base/log.h"
#include "gpu/protocol.h"
#include "virgl/virgl.h"

#define MODULE "virgl"

/* Gallium's texture targets that are one plain picture. */
enum { TARGET_2D = 2, TARGET_RECT = 5 };

uint32_t pv_virgl_shown_format(uint32_t format)
{
	switch (format) {
	case 98:
		return PV_GPU_FORMAT_A8B8G8R8;
	case 99:
		return PV_GPU_FORMAT_X8B8G8R8;
	case 100:
		return PV_GPU_FORMAT_B8G8R8A8;
	case 101:
		return PV_GPU_FORMAT_B8G8R8X8;
	case 102:
		return PV_GPU_FORMAT_A8R8G8B8;
	case 103:
		return PV_GPU_FORMAT_X8R8G8B8;
	case 104:
		return PV_GPU_FORMAT_R8G8B8A8;
	case 230:
		return PV_GPU_FORMAT_R8G8B8X8;
	default:
		return pv_gpu_format_to_pixman(format) ? format : 0;
	}
}

/* The guest's rows from above, whichever way up the texture is: the library turns them. */
static void read_back(struct pv_frame *frame, const struct pv_rect *stale)
{
	const struct pv_virgl_resource *resource = frame->refresh_user;
	struct virgl_box box = {
	    .x = stale->x, .y = stale->y, .width = stale->width, .height = stale->height, .depth = 1};
	struct iovec pixels = {.iov_base = frame->pixels, .iov_len = frame->size_bytes};
	uint64_t offset = (uint64_t)stale->y * frame->stride_bytes + (uint64_t)stale->x * 4;
	int error =
	    virgl_renderer_transfer_read_iov(resource->id, 0, 0, frame->stride_bytes, 0, &box, offset, &pixels, 1);

	if (error)
		PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "resource %u is shown but cannot be read (%d)", resource->id,
			       error);
}

enum pv_status pv_virgl_get_frame(struct pv_renderer *renderer, uint32_t resource_id,
				  const struct pv_blob_layout *layout, struct pv_frame **out)
{
	struct pv_virgl_resource *resource = pv_id_map_get(&pv_virgl_of(renderer)->resources, resource_id);

	if (!resource || layout)
		return PV_ERR_UNSUPPORTED;
	if (!resource->frame) {
		uint32_t format = pv_virgl_shown_format(resource->format);
		enum pv_status status = PV_ERR_GUEST;

		if (format && (resource->target == TARGET_2D || resource->target == TARGET_RECT))
			status = pv_frame_create(resource->width, resource->height, format, &resource->frame);
		if (status != PV_OK) {
			PV_LOG_LIMITED(PV_LOG_WARNING, MODULE,
				       "resource %u (target %u, format %u, %u x %u) cannot be shown", resource->id,
				       resource->target, resource->format, resource->width, resource->height);
			return status;
		}
		resource->frame->refresh = read_back;
		resource->frame->refresh_user = resource;
	}
	resource->frame->stale = (struct pv_rect){.width = resource->width, .height = resource->height};
	*out = pv_frame_ref(resource->frame);
	return PV_OK;
}

void pv_virgl_drop_frame(struct pv_virgl_resource *resource)
{
	if (!resource->frame)
		return;
	resource->frame->refresh = NULL;
	pv_frame_unref(resource->frame);
	resource->frame = NULL;
}

static struct pv_virgl_flush *make_flush(struct pv_virgl *virgl)
{
	struct pv_virgl_flush *flush = virgl->free_flushes;

	if (!flush)
		return malloc(sizeof(*flush));
	virgl->free_flushes = flush->next;
	return flush;
}

static void recycle(struct pv_virgl *virgl, struct pv_virgl_flush *flush)
{
	flush->next = virgl->free_flushes;
	virgl->free_flushes = flush;
}

static struct pv_virgl_flush *take_first(struct pv_virgl *virgl)
{
	struct pv_virgl_flush *flush = virgl->flushes;

	virgl->flushes = flush->next;
	if (!virgl->flushes)
		virgl->last_flush = &virgl->flushes;
	return flush;
}

enum pv_status pv_virgl_update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_rect *rect)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, resource_id);
	struct pv_virgl_flush *flush;

	if (!resource || !resource->frame)
		return PV_OK;
	struct pv_rect whole = {.width = resource->width, .height = resource->height};
	struct pv_rect inside = pv_rect_intersect(rect, &whole);
	resource->frame->stale = pv_rect_union(&resource->frame->stale, &inside);

	flush = make_flush(virgl);
	if (!flush)
		return PV_OK; /* the display waits in the read-back, then */
	*flush = (struct pv_virgl_flush){.op_id = op_id, .fence_id = ++virgl->next_flush_id};
	if (virgl_renderer_create_fence((int)flush->fence_id, 0) != 0) {
		recycle(virgl, flush);
		return PV_OK;
	}
	*virgl->last_flush = flush;
	virgl->last_flush = &flush->next;
	return PV_PENDING;
}

void pv_virgl_finish_flushes(struct pv_virgl *virgl)
{
	/* In a circle: ids wrap. */
	while (virgl->flushes && (int32_t)(virgl->done_flush_id - virgl->flushes->fence_id) >= 0) {
		struct pv_virgl_flush *flush = take_first(virgl);
		uint64_t op_id = flush->op_id;

		recycle(virgl, flush);
		virgl->base.events.op_done(virgl->base.events.user, op_id, PV_OK);
	}
}

void pv_virgl_end_flushes(struct pv_virgl *virgl)
{
	virgl->done_flush_id = virgl->next_flush_id;
	pv_virgl_finish_flushes(virgl);
}

void pv_virgl_forget_flushes(struct pv_virgl *virgl)
{
	while (virgl->flushes)
		recycle(virgl, take_first(virgl));
}

void pv_virgl_free_flushes(struct pv_virgl *virgl)
{
	pv_virgl_forget_flushes(virgl);
	while (virgl->free_flushes) {
		struct pv_virgl_flush *flush = virgl->free_flushes;

		virgl->free_flushes = flush->next;
		free(flush);
	}
}

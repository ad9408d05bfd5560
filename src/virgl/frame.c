/* SPDX-License-Identifier: MIT */
/*
 * What displays see of a texture: a frame whose stale part is read back when somebody looks, so that pictures that are
 * never looked at cost nothing. A flush ends only when the host's GPU has drawn what came before it: displays learn of
 * it then, and the read-back, on the reader's thread, finds a finished picture. One that is shown without a flush is
 * read behind the drawing that is under way.
 */
#include <stdlib.h>

#include "base/log.h"
#include "gpu/protocol.h"
#include "virgl/virgl.h"

#define MODULE "virgl"

/* Gallium's texture targets that are one plain picture. */
enum { TARGET_2D = 2, TARGET_RECT = 5 };
/* The library's, of a resource: the first row is the one at the top. */
enum { FLAG_Y_0_TOP = 1 };

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

/* What is shown of a texture. The resource's, or, while a read is under way for one that is gone, its own. */
struct pv_virgl_picture {
	struct pv_virgl_read read;
	struct pv_virgl *virgl;
	struct pv_virgl_resource *resource; /* NULL: gone */
	struct pv_frame *frame;             /* counted */
	bool is_reading;
	bool unflushed; /* may be shown before it was flushed: drawing may be under way */
};

static void free_picture(struct pv_virgl_picture *picture)
{
	pv_frame_unref(picture->frame);
	free(picture);
}

static void complain(const struct pv_virgl_resource *resource)
{
	PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "resource %u is shown but cannot be read", resource->id);
}

static void read_done(struct pv_virgl_read *read, bool ok)
{
	struct pv_virgl_picture *picture = PV_CONTAINER_OF(read, struct pv_virgl_picture, read);

	if (!picture->resource) {
		free_picture(picture);
		return;
	}
	if (!ok)
		complain(picture->resource);
	picture->is_reading = false;
	pv_frame_fetched(picture->frame);
}

static bool fetch(struct pv_frame *frame, const struct pv_rect *stale)
{
	struct pv_virgl_picture *picture = frame->refresh_user;

	picture->is_reading = true;
	picture->read.rect = *stale;
	picture->read.after_drawing = picture->unflushed;
	pv_virgl_reader_begin(picture->virgl->reader, &picture->read);
	return true;
}

static void refresh(struct pv_frame *frame, const struct pv_rect *stale)
{
	const struct pv_virgl_picture *picture = frame->refresh_user;
	struct pv_virgl_read read = picture->read;

	/* Behind the one that may be under way, which is told of later. */
	read.rect = *stale;
	read.after_drawing = picture->unflushed;
	if (!pv_virgl_reader_read_now(picture->virgl->reader, &read))
		complain(picture->resource);
}

bool pv_virgl_find_texture(struct pv_virgl_resource *resource)
{
	struct virgl_renderer_resource_info info = {0};

	if (resource->texture)
		return true;
	/* Its error can be of what it says about export. */
	(void)virgl_renderer_resource_get_info((int)resource->id, &info);
	if (info.width != resource->width || info.height != resource->height)
		return false;
	resource->texture = info.tex_id;
	resource->y_0_top = info.flags & FLAG_Y_0_TOP;
	return resource->texture;
}

static enum pv_status set_frame(struct pv_virgl *virgl, struct pv_virgl_resource *resource, struct pv_frame *frame)
{
	struct pv_virgl_picture *picture;
	enum pv_status status = PV_OK;

	if (!virgl->reader)
		status = pv_virgl_reader_create(virgl->loop, false, &virgl->reader);
	if (status != PV_OK)
		return status;
	picture = malloc(sizeof(*picture));
	if (!picture)
		return PV_ERR_NO_MEMORY;
	if (!pv_virgl_find_texture(resource)) {
		free(picture);
		return PV_ERR_GUEST;
	}
	pv_virgl_drop_frame(resource);
	*picture = (struct pv_virgl_picture){.virgl = virgl,
					     .resource = resource,
					     .frame = pv_frame_ref(frame),
					     .read = {.texture = resource->texture,
						      .is_rectangle = resource->target == TARGET_RECT,
						      .y_0_top = resource->y_0_top,
						      .height = resource->height,
						      .pixels = frame->pixels,
						      .stride_bytes = frame->stride_bytes,
						      .done = read_done}};
	frame->refresh = refresh;
	frame->fetch = fetch;
	frame->refresh_user = picture;
	resource->picture = picture;
	if (virgl->with_dma_bufs && virgl->nr_dma_bufs < PV_DMA_BUF_MAX) {
		pv_virgl_add_dma_buf(resource, frame);
		virgl->nr_dma_bufs += frame->dma_buf != NULL;
	}
	return PV_OK;
}

static bool can_be_shown(const struct pv_virgl_resource *resource)
{
	return pv_virgl_shown_format(resource->format) &&
	       (resource->target == TARGET_2D || resource->target == TARGET_RECT);
}

static enum pv_status make_frame(struct pv_virgl *virgl, struct pv_virgl_resource *resource)
{
	enum pv_status status = PV_ERR_GUEST;
	struct pv_frame *frame = NULL;

	if (can_be_shown(resource))
		status = pv_frame_create(resource->width, resource->height,
					 pv_gpu_format_plain(pv_virgl_shown_format(resource->format)), &frame);
	if (status == PV_OK)
		status = set_frame(virgl, resource, frame);
	pv_frame_unref(frame);
	return status;
}

static void refuse(const struct pv_virgl_resource *resource)
{
	PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "resource %u (target %u, format %u, %u x %u) cannot be shown",
		       resource->id, resource->target, resource->format, resource->width, resource->height);
}

/* It is shown from now on, though it may not be flushed yet. */
static void begin_showing(struct pv_virgl_resource *resource)
{
	resource->picture->unflushed = true;
	resource->picture->frame->stale = (struct pv_rect){.width = resource->width, .height = resource->height};
}

enum pv_status pv_virgl_get_frame(struct pv_renderer *renderer, uint32_t resource_id,
				  const struct pv_blob_layout *layout, struct pv_frame **out)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, resource_id);
	enum pv_status status = PV_OK;

	if (!resource || layout)
		return PV_ERR_UNSUPPORTED;
	if (!resource->picture)
		status = make_frame(virgl, resource);
	if (status != PV_OK) {
		refuse(resource);
		return status;
	}
	begin_showing(resource);
	*out = pv_frame_ref(resource->picture->frame);
	return PV_OK;
}

enum pv_status pv_virgl_set_frame(struct pv_renderer *renderer, uint32_t resource_id, struct pv_frame *frame)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, resource_id);
	enum pv_status status = PV_ERR_GUEST;

	if (!resource)
		return PV_ERR_UNSUPPORTED;
	if (can_be_shown(resource) && frame->width == resource->width && frame->height == resource->height)
		status = set_frame(virgl, resource, frame);
	if (status == PV_OK)
		begin_showing(resource);
	else
		refuse(resource);
	return status;
}

void pv_virgl_drop_frame(struct pv_virgl_resource *resource)
{
	struct pv_virgl_picture *picture = resource->picture;
	struct pv_frame *frame;

	if (!picture)
		return;
	resource->picture = NULL;
	picture->resource = NULL;
	frame = pv_frame_ref(picture->frame);
	if (frame->dma_buf)
		picture->virgl->nr_dma_bufs--;
	if (picture->is_reading)
		pv_virgl_reader_cancel(picture->virgl->reader, &picture->read);
	else
		free_picture(picture);
	pv_frame_let_go(frame);
	pv_frame_unref(frame);
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

static void mark_stale(struct pv_virgl *virgl, uint32_t resource_id, const struct pv_rect *rect, bool is_drawn)
{
	struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, resource_id);

	if (!resource || !resource->picture)
		return;
	struct pv_rect whole = {.width = resource->width, .height = resource->height};
	struct pv_rect inside = pv_rect_intersect(rect, &whole);
	struct pv_frame *frame = resource->picture->frame;

	frame->stale = pv_rect_union(&frame->stale, &inside);
	resource->picture->unflushed = !is_drawn;
}

enum pv_status pv_virgl_update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_rect *rect)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	const struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, resource_id);
	struct pv_virgl_flush *flush;

	if (!resource || !resource->picture)
		return PV_OK;
	flush = make_flush(virgl);
	if (flush) {
		*flush = (struct pv_virgl_flush){
		    .op_id = op_id, .fence_id = ++virgl->next_flush_id, .resource_id = resource_id, .rect = *rect};
		if (virgl_renderer_create_fence((int)flush->fence_id, 0) == 0) {
			*virgl->last_flush = flush;
			virgl->last_flush = &flush->next;
			return PV_PENDING;
		}
		recycle(virgl, flush);
	}
	/* Who reads waits, then. */
	mark_stale(virgl, resource_id, rect, false);
	return PV_OK;
}

static void finish_flushes(struct pv_virgl *virgl, bool are_drawn)
{
	/* In a circle: ids wrap. */
	while (virgl->flushes && (int32_t)(virgl->done_flush_id - virgl->flushes->fence_id) >= 0) {
		struct pv_virgl_flush *flush = take_first(virgl);
		uint64_t op_id = flush->op_id;

		/* Not before: what is read until then may be half drawn. */
		mark_stale(virgl, flush->resource_id, &flush->rect, are_drawn);
		recycle(virgl, flush);
		virgl->base.events.op_done(virgl->base.events.user, op_id, PV_OK);
	}
}

void pv_virgl_finish_flushes(struct pv_virgl *virgl)
{
	finish_flushes(virgl, true);
}

void pv_virgl_end_flushes(struct pv_virgl *virgl)
{
	virgl->done_flush_id = virgl->next_flush_id;
	finish_flushes(virgl, false);
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

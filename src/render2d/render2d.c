/* SPDX-License-Identifier: MIT */
/*
 * A 2D resource is a frame that transfers write into. A transfer only marks its rectangle stale; it is fetched when a
 * reader asks (pv_frame_refresh), and at the end of the batch at the latest, before the guest is told that it is done.
 * Transfers that a later one of the same batch covers are never carried out.
 *
 * A guest blob has no pixels of its own: its frame fetches them when a reader asks, whenever that is, so flips between
 * blobs that nobody looks at copy nothing.
 */
#include "render2d/render2d.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/id_map.h"
#include "base/log.h"

struct resource {
	struct pv_resource_info info;
	struct render2d *renderer;
	struct pv_guest_span *spans; /* NULL: no backing */
	size_t nr_spans;
	uint64_t backing_bytes;
	struct pv_frame *frame;       /* 2D: always; blob: once it was shown */
	struct pv_blob_layout layout; /* of the frame in the backing */
	bool has_pending;             /* 2D: on the list of stale frames that this batch must still fetch */
	struct resource *next_pending;
};

struct render2d {
	struct pv_renderer base;
	struct pv_guest_map *map; /* counted; NULL: none */
	struct pv_id_map resources;
	struct resource *pending;
};

static struct render2d *to_render2d(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct render2d, base);
}

static struct resource *find(struct pv_renderer *renderer, uint32_t id)
{
	return pv_id_map_get(&to_render2d(renderer)->resources, id);
}

static void drop_frame(struct resource *resource)
{
	if (!resource->frame)
		return;
	/* A display may keep it: the last picture stays, but it cannot reach back. */
	resource->frame->refresh = NULL;
	pv_frame_unref(resource->frame);
	resource->frame = NULL;
}

/* What a batch has put off for this resource, now. */
static void finish_pending(struct resource *resource)
{
	struct resource **link = &resource->renderer->pending;

	if (!resource->has_pending)
		return;
	while (*link != resource)
		link = &(*link)->next_pending;
	*link = resource->next_pending;
	resource->has_pending = false;
	pv_frame_refresh(resource->frame);
}

static void free_resource(struct resource *resource)
{
	/* Pixels that nobody else holds need not be fetched any more. */
	if (resource->has_pending && atomic_load_explicit(&resource->frame->refs, memory_order_relaxed) == 1)
		resource->frame->stale = (struct pv_rect){0};
	finish_pending(resource);
	drop_frame(resource);
	free(resource->spans);
	free(resource);
}

static void destroy(struct pv_renderer *renderer)
{
	struct render2d *r = to_render2d(renderer);
	struct resource *resource;
	uint32_t cursor = 0;

	while ((resource = pv_id_map_any(&r->resources, &cursor)))
		free_resource(pv_id_map_remove(&r->resources, resource->info.id));
	pv_id_map_finish(&r->resources);
	pv_guest_map_unref(r->map);
	free(r);
}

static void set_guest_map(struct pv_renderer *renderer, struct pv_guest_map *map)
{
	struct render2d *r = to_render2d(renderer);

	if (map)
		pv_guest_map_ref(map);
	pv_guest_map_unref(r->map);
	r->map = map;
}

/* Rows of `row_bytes` from the backing, `from_stride` apart, to `dst`, `to_stride` apart. */
static enum pv_status copy_rows(const struct resource *resource, uint64_t offset, uint32_t from_stride, uint8_t *dst,
				uint32_t to_stride, uint32_t row_bytes, uint32_t rows)
{
	struct pv_guest_cursor cursor;
	uint64_t last;

	if (!resource->spans)
		return PV_ERR_GUEST;
	if (!pv_add_u64(offset, (uint64_t)from_stride * rows, &last))
		return PV_ERR_GUEST;
	pv_guest_cursor_init(&cursor, resource->renderer->map, resource->spans, resource->nr_spans);
	/* Whole rows lie back to back on both sides: one copy. */
	if (row_bytes == from_stride && row_bytes == to_stride)
		return pv_guest_cursor_read(&cursor, offset, dst, (uint64_t)row_bytes * rows);
	for (uint32_t y = 0; y < rows; y++) {
		enum pv_status status = pv_guest_cursor_read(&cursor, offset + (uint64_t)y * from_stride,
							     dst + (size_t)y * to_stride, row_bytes);
		if (status != PV_OK)
			return status;
	}
	return PV_OK;
}

static void refresh_frame(struct pv_frame *frame, const struct pv_rect *stale)
{
	const struct resource *resource = frame->refresh_user;
	const struct pv_blob_layout *l = &resource->layout;
	uint64_t offset = l->offset_bytes + (uint64_t)stale->y * l->stride_bytes + (uint64_t)stale->x * 4;

	if (copy_rows(resource, offset, l->stride_bytes,
		      frame->pixels + (size_t)stale->y * frame->stride_bytes + (size_t)stale->x * 4,
		      frame->stride_bytes, stale->width * 4, stale->height) != PV_OK)
		PV_LOG_LIMITED(PV_LOG_WARNING, "2d",
			       "resource %u is shown but has no guest memory; the old picture stays",
			       resource->info.id);
}

/* The resource's frame from now on, with nothing of an earlier one in it. */
static enum pv_status make_frame(struct resource *resource, const struct pv_blob_layout *layout)
{
	struct pv_frame *frame;
	enum pv_status status = pv_frame_create(layout->width, layout->height, layout->format, &frame);

	if (status != PV_OK)
		return status;
	drop_frame(resource);
	frame->refresh = refresh_frame;
	frame->refresh_user = resource;
	resource->frame = frame;
	resource->layout = *layout;
	return PV_OK;
}

static enum pv_status resource_create(struct pv_renderer *renderer, uint64_t op_id, const struct pv_resource_info *info)
{
	struct render2d *r = to_render2d(renderer);
	struct resource *resource = calloc(1, sizeof(*resource));
	enum pv_status status = PV_OK;

	(void)op_id;
	if (!resource)
		return PV_ERR_NO_MEMORY;
	resource->info = *info;
	resource->renderer = r;
	if (info->kind == PV_RESOURCE_2D)
		status = make_frame(resource, &(struct pv_blob_layout){.format = info->format,
								       .width = info->width,
								       .height = info->height,
								       .stride_bytes = info->width * 4});
	if (status == PV_OK)
		status = pv_id_map_add(&r->resources, info->id, resource);
	if (status != PV_OK)
		free_resource(resource);
	return status;
}

static void resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct resource *resource = pv_id_map_remove(&to_render2d(renderer)->resources, resource_id);

	if (resource)
		free_resource(resource);
}

static enum pv_status attach_backing(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_guest_span *spans, size_t nr_spans)
{
	struct resource *resource = find(renderer, resource_id);

	(void)op_id;
	if (PV_NEVER(!resource))
		return PV_ERR_ARGUMENT;
	struct pv_guest_span *copy = malloc((nr_spans ? nr_spans : 1) * sizeof(*copy));
	if (!copy)
		return PV_ERR_NO_MEMORY;

	/* Neighbours become one: a contiguous buffer of 2000 pages is one copy, not 2000. */
	size_t n = 0;
	for (size_t i = 0; i < nr_spans; i++) {
		if (n > 0 && copy[n - 1].addr + copy[n - 1].len == spans[i].addr)
			copy[n - 1].len += spans[i].len;
		else if (spans[i].len > 0)
			copy[n++] = spans[i];
	}
	finish_pending(resource);
	free(resource->spans);
	resource->spans = copy;
	resource->nr_spans = n;
	resource->backing_bytes = 0;
	for (size_t i = 0; i < n; i++)
		resource->backing_bytes += copy[i].len;
	return PV_OK;
}

static void detach_backing(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct resource *resource = find(renderer, resource_id);

	if (!resource)
		return;
	finish_pending(resource);
	free(resource->spans);
	resource->spans = NULL;
	resource->nr_spans = 0;
	resource->backing_bytes = 0;
}

static bool contains(const struct pv_rect *outer, const struct pv_rect *inner)
{
	return inner->x >= outer->x && inner->y >= outer->y && inner->x + inner->width <= outer->x + outer->width &&
	       inner->y + inner->height <= outer->y + outer->height;
}

static bool is_backed(const struct resource *resource)
{
	for (size_t i = 0; i < resource->nr_spans; i++)
		if (!pv_guest_map_resolve(resource->renderer->map, resource->spans[i].addr, resource->spans[i].len))
			return false;
	return resource->nr_spans > 0;
}

/* Puts the rectangle off to the end of the batch, together with what waits there already. */
static void put_off(struct resource *resource, const struct pv_rect *rect)
{
	struct pv_frame *frame = resource->frame;

	if (pv_rect_is_empty(&frame->stale) || contains(rect, &frame->stale)) {
		frame->stale = *rect;
	} else if (!contains(&frame->stale, rect)) {
		/* The union could have pixels that the guest did not ask for. */
		pv_frame_refresh(frame);
		frame->stale = *rect;
	}
	if (resource->has_pending)
		return;
	resource->has_pending = true;
	resource->next_pending = resource->renderer->pending;
	resource->renderer->pending = resource;
}

static enum pv_status transfer_to_host(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer *transfer)
{
	struct resource *resource = find(renderer, transfer->resource_id);
	const struct pv_rect *r = &transfer->rect;

	(void)op_id;
	if (PV_NEVER(!resource || resource->info.kind != PV_RESOURCE_2D))
		return PV_ERR_ARGUMENT;
	struct pv_frame *frame = resource->frame;
	uint64_t usual_offset = (uint64_t)r->y * frame->stride_bytes + (uint64_t)r->x * 4;
	uint64_t end = usual_offset + (uint64_t)(r->height - 1) * frame->stride_bytes + (uint64_t)r->width * 4;

	if (transfer->offset_bytes == usual_offset && end <= resource->backing_bytes && is_backed(resource)) {
		put_off(resource, r);
		return PV_OK;
	}
	/* Any other place in the backing, which has the picture's own stride (5.7.6.8); or one that is not all there.
	 */
	finish_pending(resource);
	return copy_rows(resource, transfer->offset_bytes, frame->stride_bytes, frame->pixels + usual_offset,
			 frame->stride_bytes, r->width * 4, r->height);
}

static bool same_layout(const struct pv_blob_layout *a, const struct pv_blob_layout *b)
{
	return a->format == b->format && a->width == b->width && a->height == b->height &&
	       a->stride_bytes == b->stride_bytes && a->offset_bytes == b->offset_bytes;
}

static enum pv_status get_frame(struct pv_renderer *renderer, uint32_t resource_id, const struct pv_blob_layout *layout,
				struct pv_frame **out)
{
	struct resource *resource = find(renderer, resource_id);

	if (PV_NEVER(!resource || (resource->info.kind == PV_RESOURCE_2D) != (layout == NULL)))
		return PV_ERR_ARGUMENT;
	if (layout && !(resource->frame && same_layout(&resource->layout, layout))) {
		enum pv_status status = make_frame(resource, layout);

		if (status != PV_OK)
			return status;
	}
	if (layout)
		resource->frame->stale = (struct pv_rect){.width = layout->width, .height = layout->height};
	*out = pv_frame_ref(resource->frame);
	return PV_OK;
}

static enum pv_status update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				   const struct pv_rect *rect)
{
	struct resource *resource = find(renderer, resource_id);

	(void)op_id;
	if (PV_NEVER(!resource))
		return PV_ERR_ARGUMENT;
	if (resource->info.kind == PV_RESOURCE_GUEST_BLOB && resource->frame) {
		struct pv_rect whole = {.width = resource->frame->width, .height = resource->frame->height};
		struct pv_rect inside = pv_rect_intersect(rect, &whole);

		resource->frame->stale = pv_rect_union(&resource->frame->stale, &inside);
	}
	return PV_OK;
}

static void create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	(void)ctx_id;
	(void)ring_idx;
	/* Every op is finished when it returns. */
	renderer->events.fence_signalled(renderer->events.user, fence_id);
}

static void finish_batch(struct pv_renderer *renderer)
{
	struct render2d *r = to_render2d(renderer);

	while (r->pending)
		finish_pending(r->pending);
}

static void reset(struct pv_renderer *renderer)
{
	(void)renderer; /* nothing is ever pending here */
}

static const struct pv_renderer_ops render2d_ops = {
    .name = "2d",
    .destroy = destroy,
    .set_guest_map = set_guest_map,
    .resource_create = resource_create,
    .resource_destroy = resource_destroy,
    .attach_backing = attach_backing,
    .detach_backing = detach_backing,
    .transfer_to_host = transfer_to_host,
    .get_frame = get_frame,
    .update_frame = update_frame,
    .create_fence = create_fence,
    .finish_batch = finish_batch,
    .reset = reset,
};

enum pv_status pv_render2d_create(struct pv_renderer **out)
{
	struct render2d *renderer = calloc(1, sizeof(*renderer));

	if (!renderer)
		return PV_ERR_NO_MEMORY;
	renderer->base.ops = &render2d_ops;
	*out = &renderer->base;
	return PV_OK;
}

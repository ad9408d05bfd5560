/* SPDX-License-Identifier: MIT */
/*
 * The virtio-gpu commands (virtio 1.3, 5.7.6.7 to 5.7.6.10). Each handler gets a copy of its command, taken from guest
 * memory once, and returns the response type; everything in the copy is a guest's word until it is checked here.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "gpu/command.h"

uint32_t pv_gpu_response_type(enum pv_status status)
{
	switch (status) {
	case PV_OK:
		return PV_GPU_RESP_OK_NODATA;
	case PV_PENDING:
		return PV_GPU_ANSWER_LATER;
	case PV_ERR_NO_MEMORY:
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	case PV_ERR_GUEST:
	case PV_ERR_ARGUMENT:
		return PV_GPU_RESP_ERR_INVALID_PARAMETER;
	default:
		return PV_GPU_RESP_ERR_UNSPEC;
	}
}

static struct pv_rect to_rect(const struct pv_gpu_wire_rect *r)
{
	return (struct pv_rect){.x = r->x, .y = r->y, .width = r->width, .height = r->height};
}

struct pv_gpu_resource *pv_gpu_find_resource(const struct pv_gpu_call *c, uint32_t guest_id)
{
	struct pv_gpu_resource *resource = pv_id_map_get(&c->gpu->resources, guest_id);

	if (resource && resource->unref_request == 0)
		return resource;
	PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "command 0x%x names resource %u, which does not exist",
		       c->request->hdr.type, guest_id);
	return NULL;
}

/* Resources */

/* What core and renderer keep of a resource besides; generous. */
#define RESOURCE_BYTES 1024

enum pv_status pv_gpu_charge(struct pv_gpu *gpu, struct pv_gpu_resource *resource, const struct pv_gpu_cost *cost)
{
	uint64_t others = gpu->host_bytes - resource->host_bytes, bytes;
	bool counts = pv_add_u64(RESOURCE_BYTES, cost->picture_bytes, &bytes) &&
		      pv_add_u64(bytes, cost->shown_bytes, &bytes) && pv_add_u64(bytes, cost->backing_bytes, &bytes);

	if (!counts || (bytes > resource->host_bytes && !pv_range_fits(others, bytes, gpu->max_host_bytes))) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu",
			       "resource %u is refused: with it the guest's pictures and textures would take more than "
			       "%llu MiB of host memory; see --max-host-memory",
			       resource->id, (unsigned long long)(gpu->max_host_bytes >> 20));
		return PV_ERR_NO_MEMORY;
	}
	gpu->host_bytes = others + bytes;
	resource->host_bytes = bytes;
	resource->cost = *cost;
	return PV_OK;
}

static enum pv_status charge_backing(struct pv_gpu *gpu, struct pv_gpu_resource *resource, uint32_t nr_spans)
{
	struct pv_gpu_cost cost = resource->cost;

	cost.backing_bytes = (uint64_t)nr_spans * sizeof(struct pv_guest_span);
	return pv_gpu_charge(gpu, resource, &cost);
}

static enum pv_status charge_shown(struct pv_gpu *gpu, struct pv_gpu_resource *resource, uint64_t shown_bytes)
{
	struct pv_gpu_cost cost = resource->cost;

	cost.shown_bytes = shown_bytes;
	return pv_gpu_charge(gpu, resource, &cost);
}

void pv_gpu_renderer_lost(void *user)
{
	struct pv_gpu *gpu = user;

	for (uint32_t i = 0; i < gpu->resources.capacity; i++) {
		struct pv_gpu_resource *resource = gpu->resources.slots[i].value;

		if (gpu->resources.slots[i].id == 0 || resource->kind == PV_RESOURCE_2D)
			continue;
		struct pv_gpu_cost cost = resource->cost;
		cost.picture_bytes = 0;
		(void)pv_gpu_charge(gpu, resource, &cost);
	}
}

void pv_gpu_destroy_resource(struct pv_gpu *gpu, uint32_t resource_id)
{
	struct pv_gpu_resource *resource = pv_id_map_get(&gpu->resources, resource_id);

	if (!resource)
		return;
	pv_gpu_hide_resource(gpu, resource_id);
	if (resource->mapped)
		(void)pv_gpu_unmap_resource(gpu, resource, 0);
	pv_gpu_drop_mapped_frame(resource);
	pv_gpu_forget_blob(gpu, resource);
	gpu->renderer->ops->resource_destroy(gpu->renderer, resource_id);
	gpu->host_bytes -= resource->host_bytes;
	(void)pv_id_map_remove(&gpu->resources, resource_id);
	free(resource);
}

void pv_gpu_destroy_all_resources(struct pv_gpu *gpu)
{
	const struct pv_gpu_resource *resource;
	uint32_t cursor = 0;

	while ((resource = pv_id_map_any(&gpu->resources, &cursor)))
		pv_gpu_destroy_resource(gpu, resource->id);
}

uint32_t pv_gpu_check_new_id(const struct pv_gpu_call *c, uint32_t guest_id)
{
	if (guest_id == 0 || pv_id_map_get(&c->gpu->resources, guest_id))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_RESOURCE_ID, "resource id %u is %s", guest_id,
			      guest_id ? "taken" : "not allowed");
	return PV_GPU_RESP_OK_NODATA;
}

uint32_t pv_gpu_create_resource(const struct pv_gpu_call *c, const struct pv_resource_info *info,
				uint64_t picture_bytes)
{
	struct pv_gpu *gpu = c->gpu;
	struct pv_gpu_resource *resource = malloc(sizeof(*resource));

	if (!resource)
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	*resource = (struct pv_gpu_resource){.id = info->id,
					     .kind = info->kind,
					     .format = info->format,
					     .width = info->width,
					     .height = info->height,
					     .size_bytes = info->size_bytes};
	enum pv_status status = pv_gpu_charge(gpu, resource, &(struct pv_gpu_cost){.picture_bytes = picture_bytes});
	if (status == PV_OK && pv_id_map_add(&gpu->resources, resource->id, resource) != PV_OK) {
		gpu->host_bytes -= resource->host_bytes;
		status = PV_ERR_NO_MEMORY;
	}
	if (status != PV_OK) {
		free(resource);
		return pv_gpu_response_type(status);
	}

	status = gpu->renderer->ops->resource_create(gpu->renderer, c->request->id, info);
	if (status == PV_PENDING) {
		c->request->resource_id = resource->id;
		resource->create_request = c->request->id;
	} else if (status != PV_OK) {
		pv_gpu_destroy_resource(gpu, resource->id);
	}
	return pv_gpu_response_type(status);
}

static uint32_t resource_create_2d(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_create_2d *cmd = bytes;
	uint32_t type = pv_gpu_check_new_id(c, cmd->resource_id);

	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (!pv_gpu_format_to_pixman(cmd->format))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "resource %u has unknown format %u", cmd->resource_id,
			      cmd->format);
	if (cmd->width == 0 || cmd->width > PV_FRAME_MAX_SIDE || cmd->height == 0 || cmd->height > PV_FRAME_MAX_SIDE)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "resource %u of %u x %u: sides are 1 to %d",
			      cmd->resource_id, cmd->width, cmd->height, PV_FRAME_MAX_SIDE);

	const struct pv_resource_info info = {.id = cmd->resource_id,
					      .kind = PV_RESOURCE_2D,
					      .format = cmd->format,
					      .width = cmd->width,
					      .height = cmd->height,
					      .size_bytes = (uint64_t)cmd->width * cmd->height * 4};
	return pv_gpu_create_resource(c, &info, pv_frame_cost_bytes(cmd->width, cmd->height));
}

static uint32_t resource_unref(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	pv_gpu_hide_resource(c->gpu, resource->id);
	/* A driver that has its answer gives the blob's range of the window to another. */
	if (resource->unmap_request != 0 ||
	    (resource->mapped && pv_gpu_unmap_resource(c->gpu, resource, c->request->id) == PV_PENDING)) {
		resource->unref_request = c->request->id;
		c->request->resource_id = resource->id;
		return PV_GPU_ANSWER_LATER;
	}
	pv_gpu_destroy_resource(c->gpu, cmd->resource_id);
	return PV_GPU_RESP_OK_NODATA;
}

uint32_t pv_gpu_read_backing(const struct pv_gpu_call *c, size_t fixed_len, uint32_t guest_count,
			     struct pv_guest_span **out_spans, uint64_t *out_bytes)
{
	if (guest_count > PV_GPU_MAX_BACKING_ENTRIES)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "a backing of %u entries: at most %d are supported",
			      guest_count, PV_GPU_MAX_BACKING_ENTRIES);
	/* In place: both have 16 bytes, and each entry is read before its span is written. */
	_Static_assert(sizeof(struct pv_gpu_mem_entry) == sizeof(struct pv_guest_span), "converted in place");
	union {
		struct pv_gpu_mem_entry entry;
		struct pv_guest_span span;
	} *items = malloc((guest_count ? guest_count : 1) * sizeof(*items));
	uint64_t total = 0;

	if (!items)
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (pv_guest_read(c->gpu->map, c->chain->spans, c->chain->nr_readable, fixed_len, items,
			  guest_count * sizeof(*items)) != PV_OK) {
		free(items);
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "a backing announces %u entries but is shorter",
			      guest_count);
	}
	for (uint32_t i = 0; i < guest_count; i++) {
		struct pv_guest_span span = {.addr = items[i].entry.addr, .len = items[i].entry.length};

		for (uint64_t done = 0, run; done < span.len; done += run)
			if (!pv_guest_map_run(c->gpu->map, span.addr + done, span.len - done, &run)) {
				free(items);
				PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
					      "backing entry %u (0x%llx, %llu bytes) is not inside guest memory", i,
					      (unsigned long long)span.addr, (unsigned long long)span.len);
			}
		total += span.len; /* 2^14 entries below 2^32 each */
		items[i].span = span;
	}
	*out_spans = &items->span;
	*out_bytes = total;
	return PV_GPU_RESP_OK_NODATA;
}

enum pv_status pv_gpu_attach_backing(const struct pv_gpu_call *c, struct pv_gpu_resource *resource,
				     const struct pv_guest_span *spans, uint32_t nr_spans)
{
	struct pv_renderer *r = c->gpu->renderer;
	enum pv_status status = charge_backing(c->gpu, resource, nr_spans);

	if (status != PV_OK)
		return status;
	status = r->ops->attach_backing(r, c->request->id, resource->id, spans, nr_spans);
	resource->has_backing = status == PV_OK || status == PV_PENDING;
	if (!resource->has_backing)
		(void)charge_backing(c->gpu, resource, 0);
	return status;
}

static uint32_t resource_attach_backing(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_attach_backing *cmd = bytes;
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);
	struct pv_guest_span *spans;
	uint64_t total;

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (resource->has_backing)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "resource %u has a backing already", cmd->resource_id);
	uint32_t type = pv_gpu_read_backing(c, sizeof(*cmd), cmd->nr_entries, &spans, &total);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;

	enum pv_status status = pv_gpu_attach_backing(c, resource, spans, cmd->nr_entries);
	free(spans);
	return pv_gpu_response_type(status);
}

static uint32_t resource_detach_backing(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!resource->has_backing)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "resource %u has no backing", cmd->resource_id);
	/* A blob that is shown keeps its last picture. */
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (c->gpu->scanouts[i].resource_id == resource->id)
			pv_frame_refresh(c->gpu->scanouts[i].frame);
	c->gpu->renderer->ops->detach_backing(c->gpu->renderer, resource->id);
	resource->has_backing = false;
	(void)charge_backing(c->gpu, resource, 0);
	return PV_GPU_RESP_OK_NODATA;
}

static uint32_t transfer_to_host_2d(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_transfer_to_host_2d *cmd = bytes;
	const struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);
	const struct pv_transfer transfer = {
	    .resource_id = cmd->resource_id, .rect = to_rect(&cmd->r), .offset_bytes = cmd->offset};

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	/* A blob's bytes are seen by both sides: there is nothing to move. */
	if (pv_gpu_is_blob(resource))
		return PV_GPU_RESP_OK_NODATA;
	if (!pv_rect_fits(&transfer.rect, resource->width, resource->height))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
			      "transfer of %u x %u at %u, %u is not inside resource %u (%u x %u)", cmd->r.width,
			      cmd->r.height, cmd->r.x, cmd->r.y, resource->id, resource->width, resource->height);
	if (pv_rect_is_empty(&transfer.rect))
		return PV_GPU_RESP_OK_NODATA;
	if (!resource->has_backing)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "transfer from resource %u, which has no backing", resource->id);

	enum pv_status status = c->gpu->renderer->ops->transfer_to_host(c->gpu->renderer, c->request->id, &transfer);
	if (status == PV_OK || status == PV_PENDING) {
		c->gpu->stats.transfers++;
		c->gpu->stats.transferred_bytes += (uint64_t)cmd->r.width * cmd->r.height * 4;
	} else {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "transfer from resource %u: its backing is too short",
			       resource->id);
	}
	return pv_gpu_response_type(status);
}

static uint32_t resource_flush(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_flush *cmd = bytes;
	const struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);
	const struct pv_rect rect = to_rect(&cmd->r);

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	bool blob = pv_gpu_is_blob(resource);
	/* A blob that was never shown has no size in pixels; nothing of it can be on a screen. */
	if (blob && !resource->has_layout)
		return PV_GPU_RESP_OK_NODATA;
	uint32_t width = blob ? resource->layout.width : resource->width;
	uint32_t height = blob ? resource->layout.height : resource->height;
	if (!pv_rect_fits(&rect, width, height))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
			      "flush of %u x %u at %u, %u is not inside resource %u (%u x %u)", rect.width, rect.height,
			      rect.x, rect.y, resource->id, width, height);

	/* A mapped frame shows the blob's own bytes. */
	enum pv_status status = resource->frame ? PV_OK
						: c->gpu->renderer->ops->update_frame(c->gpu->renderer, c->request->id,
										      resource->id, &rect);
	c->gpu->stats.flushes++;
	if (status == PV_OK) {
		pv_gpu_flush_scanouts(c->gpu, resource->id, &rect);
	} else if (status == PV_PENDING) {
		/* Displays learn of it when it can be read. */
		c->request->resource_id = resource->id;
		c->request->flush_rect = rect;
	}
	return pv_gpu_response_type(status);
}

static uint32_t resource_assign_uuid(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;

	if (!pv_gpu_has_feature(c->gpu, PV_GPU_F_RESOURCE_UUID))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "RESOURCE_ASSIGN_UUID without its feature");
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);
	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!resource->has_uuid) {
		if (getentropy(resource->uuid, sizeof(resource->uuid)) != 0)
			return PV_GPU_RESP_ERR_UNSPEC;
		resource->uuid[6] = (resource->uuid[6] & 0x0f) | 0x40; /* RFC 9562, version 4 */
		resource->uuid[8] = (resource->uuid[8] & 0x3f) | 0x80;
		resource->has_uuid = true;
	}
	memcpy(c->response->uuid.uuid, resource->uuid, sizeof(resource->uuid));
	c->response->payload_len = sizeof(c->response->uuid);
	return PV_GPU_RESP_OK_RESOURCE_UUID;
}

#define KNOWN_BLOB_FLAGS (PV_BLOB_MAPPABLE | PV_BLOB_SHAREABLE | PV_BLOB_CROSS_DEVICE)

static uint32_t resource_create_blob(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_create_blob *cmd = bytes;
	struct pv_guest_span *spans;
	uint64_t total;

	if (!pv_gpu_has_feature(c->gpu, PV_GPU_F_RESOURCE_BLOB))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "RESOURCE_CREATE_BLOB without its feature");
	uint32_t type = pv_gpu_check_new_id(c, cmd->resource_id);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if ((cmd->blob_flags & ~KNOWN_BLOB_FLAGS) || cmd->size == 0)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "blob %u: flags 0x%x, %llu bytes", cmd->resource_id,
			      cmd->blob_flags, (unsigned long long)cmd->size);
	if (c->gpu->has_3d &&
	    (cmd->blob_mem == PV_GPU_BLOB_MEM_HOST3D || cmd->blob_mem == PV_GPU_BLOB_MEM_HOST3D_GUEST))
		return pv_gpu_create_host_blob(c, cmd);
	if (cmd->blob_mem != PV_GPU_BLOB_MEM_GUEST)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
			      "blob %u: memory type %u: without a 3D renderer there are guest memory blobs only",
			      cmd->resource_id, cmd->blob_mem);
	type = pv_gpu_read_backing(c, sizeof(*cmd), cmd->nr_entries, &spans, &total);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (total < cmd->size) {
		free(spans);
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "blob %u of %llu bytes is backed by %llu only",
			      cmd->resource_id, (unsigned long long)cmd->size, (unsigned long long)total);
	}

	const struct pv_resource_info info = {
	    .id = cmd->resource_id, .kind = PV_RESOURCE_GUEST_BLOB, .size_bytes = cmd->size};
	type = pv_gpu_create_resource(c, &info, 0);
	/* One answer for both, when the first that was put off is done: the renderer takes calls in order. */
	if (type == PV_GPU_RESP_OK_NODATA || type == PV_GPU_ANSWER_LATER) {
		enum pv_status status = pv_gpu_attach_backing(c, pv_id_map_get(&c->gpu->resources, cmd->resource_id),
							      spans, cmd->nr_entries);
		if (status != PV_OK && status != PV_PENDING)
			pv_gpu_destroy_resource(c->gpu, cmd->resource_id);
		if (status != PV_OK)
			type = pv_gpu_response_type(status);
	}
	free(spans);
	return type;
}

/* Scanouts */

static uint32_t check_scanout_id(const struct pv_gpu_call *c, uint32_t guest_id)
{
	if (guest_id >= c->gpu->nr_outputs)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_SCANOUT_ID, "there is no scanout %u, only %u", guest_id,
			      c->gpu->nr_outputs);
	return PV_GPU_RESP_OK_NODATA;
}

static uint32_t check_scanout_rect(uint32_t resource_id, const struct pv_rect *rect, uint32_t width, uint32_t height)
{
	if (pv_rect_is_empty(rect) || !pv_rect_fits(rect, width, height))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
			      "scanout of %u x %u at %u, %u is not inside resource %u (%u x %u)", rect->width,
			      rect->height, rect->x, rect->y, resource_id, width, height);
	return PV_GPU_RESP_OK_NODATA;
}

static enum pv_status get_frame(const struct pv_gpu_call *c, struct pv_gpu_resource *resource,
				const struct pv_blob_layout *layout, struct pv_frame **out)
{
	if (resource->mapped)
		return pv_gpu_get_mapped_frame(c->gpu, resource, layout, out);
	/* Of a texture renderer and displays have a copy each; what is too large for one is refused. */
	if (resource->kind == PV_RESOURCE_3D && resource->width <= PV_FRAME_MAX_SIDE &&
	    resource->height <= PV_FRAME_MAX_SIDE) {
		enum pv_status status =
		    charge_shown(c->gpu, resource, 2 * pv_frame_cost_bytes(resource->width, resource->height));

		if (status != PV_OK)
			return status;
	}
	return c->gpu->renderer->ops->get_frame(c->gpu->renderer, resource->id, layout, out);
}

static uint32_t show(const struct pv_gpu_call *c, uint32_t scanout_id, struct pv_gpu_resource *resource,
		     const struct pv_blob_layout *layout, const struct pv_rect *rect)
{
	struct pv_frame *frame;
	enum pv_status status = get_frame(c, resource, layout, &frame);

	if (status != PV_OK)
		return pv_gpu_response_type(status);
	/* A texture's frame is as large as its renderer made it. */
	if (!pv_rect_fits(rect, frame->width, frame->height)) {
		pv_frame_unref(frame);
		return PV_GPU_RESP_ERR_INVALID_PARAMETER;
	}
	pv_gpu_set_scanout(c->gpu, scanout_id, resource->id, frame, rect);
	return PV_GPU_RESP_OK_NODATA;
}

static uint32_t set_scanout(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_set_scanout *cmd = bytes;
	const struct pv_rect rect = to_rect(&cmd->r);
	uint32_t type = check_scanout_id(c, cmd->scanout_id);

	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (cmd->resource_id == 0) {
		pv_gpu_disable_scanout(c->gpu, cmd->scanout_id);
		return PV_GPU_RESP_OK_NODATA;
	}
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);
	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (pv_gpu_is_blob(resource))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_RESOURCE_ID,
			      "SET_SCANOUT with blob %u: blobs take SET_SCANOUT_BLOB", resource->id);
	type = check_scanout_rect(resource->id, &rect, resource->width, resource->height);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	return show(c, cmd->scanout_id, resource, NULL, &rect);
}

static bool same_layout(const struct pv_blob_layout *a, const struct pv_blob_layout *b)
{
	return a->format == b->format && a->width == b->width && a->height == b->height &&
	       a->stride_bytes == b->stride_bytes && a->offset_bytes == b->offset_bytes;
}

/* A layout of a blob that is checked, and paid for. */
static uint32_t use_layout(const struct pv_gpu_call *c, struct pv_gpu_resource *resource,
			   const struct pv_blob_layout *l)
{
	if (!pv_gpu_format_to_pixman(l->format) || l->width == 0 || l->width > PV_FRAME_MAX_SIDE || l->height == 0 ||
	    l->height > PV_FRAME_MAX_SIDE || l->stride_bytes < l->width * 4)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
			      "blob %u shown as %u x %u, format %u, stride %u: impossible", resource->id, l->width,
			      l->height, l->format, l->stride_bytes);
	/* 2^32 * 2^14 at most: no wrap. */
	uint64_t extent = (uint64_t)l->stride_bytes * (l->height - 1) + (uint64_t)l->width * 4;
	if (!pv_range_fits(l->offset_bytes, extent, resource->size_bytes))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
			      "blob %u of %llu bytes is too small for the picture in it", resource->id,
			      (unsigned long long)resource->size_bytes);
	if (resource->has_layout && same_layout(&resource->layout, l))
		return PV_GPU_RESP_OK_NODATA;
	if (charge_shown(c->gpu, resource, pv_frame_cost_bytes(l->width, l->height)) != PV_OK)
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	resource->layout = *l;
	resource->has_layout = true;
	return PV_GPU_RESP_OK_NODATA;
}

static uint32_t set_scanout_blob(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_set_scanout_blob *cmd = bytes;
	const struct pv_rect rect = to_rect(&cmd->r);
	const struct pv_blob_layout layout = {.format = cmd->format,
					      .width = cmd->width,
					      .height = cmd->height,
					      .stride_bytes = cmd->strides[0],
					      .offset_bytes = cmd->offsets[0]};

	if (!pv_gpu_has_feature(c->gpu, PV_GPU_F_RESOURCE_BLOB))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "SET_SCANOUT_BLOB without its feature");
	uint32_t type = check_scanout_id(c, cmd->scanout_id);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (cmd->resource_id == 0) {
		pv_gpu_disable_scanout(c->gpu, cmd->scanout_id);
		return PV_GPU_RESP_OK_NODATA;
	}
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);
	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!pv_gpu_is_blob(resource))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_RESOURCE_ID,
			      "SET_SCANOUT_BLOB with resource %u, which is no blob", resource->id);
	if (resource->has_layout && !same_layout(&resource->layout, &layout))
		for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
			if (i != cmd->scanout_id && c->gpu->scanouts[i].resource_id == resource->id)
				PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
					      "blob %u is shown on scanout %u in another layout", resource->id, i);
	type = use_layout(c, resource, &layout);
	if (type == PV_GPU_RESP_OK_NODATA)
		type = check_scanout_rect(resource->id, &rect, layout.width, layout.height);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	return show(c, cmd->scanout_id, resource, &layout, &rect);
}

/* Answers from what the heads are now: a display that decides them is asked first. */
static uint32_t answer_with_outputs(const struct pv_gpu_call *c)
{
	struct pv_gpu_request **link = &c->gpu->waiting_for_outputs;

	if (!pv_gpu_query_outputs(c->gpu)) {
		pv_gpu_fill_from_outputs(c->gpu, c->request, c->response);
		return c->response->type;
	}
	while (*link)
		link = &(*link)->next;
	c->request->next = NULL;
	*link = c->request;
	return PV_GPU_ANSWER_LATER;
}

static uint32_t get_display_info(const struct pv_gpu_call *c, const void *bytes)
{
	(void)bytes;
	return answer_with_outputs(c);
}

static uint32_t get_edid(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_get_edid *cmd = bytes;

	if (!pv_gpu_has_feature(c->gpu, PV_GPU_F_EDID))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "GET_EDID without its feature");
	if (cmd->scanout >= PV_GPU_MAX_SCANOUTS)
		return check_scanout_id(c, cmd->scanout);
	c->request->scanout_id = cmd->scanout;
	/* Linux asks for the EDID of a changed head before it asks what changed. */
	return answer_with_outputs(c);
}

/* Dispatch */

struct handler {
	pv_gpu_handler *run;
	size_t len;
};

#define COMMAND_MAX_BYTES 128

#define HANDLER(first, code, function, type) [PV_GPU_CMD_##code - PV_GPU_CMD_##first] = {function, sizeof(struct type)}
#define HANDLER_2D(...)                      HANDLER(GET_DISPLAY_INFO, __VA_ARGS__)
#define HANDLER_3D(...)                      HANDLER(CTX_CREATE, __VA_ARGS__)

static const struct handler handlers_2d[] = {
    HANDLER_2D(GET_DISPLAY_INFO, get_display_info, pv_gpu_ctrl_hdr),
    HANDLER_2D(RESOURCE_CREATE_2D, resource_create_2d, pv_gpu_resource_create_2d),
    HANDLER_2D(RESOURCE_UNREF, resource_unref, pv_gpu_resource_ref),
    HANDLER_2D(SET_SCANOUT, set_scanout, pv_gpu_set_scanout),
    HANDLER_2D(RESOURCE_FLUSH, resource_flush, pv_gpu_resource_flush),
    HANDLER_2D(TRANSFER_TO_HOST_2D, transfer_to_host_2d, pv_gpu_transfer_to_host_2d),
    HANDLER_2D(RESOURCE_ATTACH_BACKING, resource_attach_backing, pv_gpu_attach_backing),
    HANDLER_2D(RESOURCE_DETACH_BACKING, resource_detach_backing, pv_gpu_resource_ref),
    HANDLER_2D(GET_CAPSET_INFO, pv_gpu_get_capset_info, pv_gpu_get_capset_info),
    HANDLER_2D(GET_CAPSET, pv_gpu_get_capset, pv_gpu_get_capset),
    HANDLER_2D(GET_EDID, get_edid, pv_gpu_get_edid),
    HANDLER_2D(RESOURCE_ASSIGN_UUID, resource_assign_uuid, pv_gpu_resource_ref),
    HANDLER_2D(RESOURCE_CREATE_BLOB, resource_create_blob, pv_gpu_create_blob),
    HANDLER_2D(SET_SCANOUT_BLOB, set_scanout_blob, pv_gpu_set_scanout_blob),
};

/* Only with a 3D renderer. */
static const struct handler handlers_3d[] = {
    HANDLER_3D(CTX_CREATE, pv_gpu_ctx_create, pv_gpu_ctx_create),
    HANDLER_3D(CTX_DESTROY, pv_gpu_ctx_destroy, pv_gpu_ctrl_hdr),
    HANDLER_3D(CTX_ATTACH_RESOURCE, pv_gpu_ctx_attach, pv_gpu_resource_ref),
    HANDLER_3D(CTX_DETACH_RESOURCE, pv_gpu_ctx_detach, pv_gpu_resource_ref),
    HANDLER_3D(RESOURCE_CREATE_3D, pv_gpu_create_3d, pv_gpu_resource_create_3d),
    HANDLER_3D(TRANSFER_TO_HOST_3D, pv_gpu_transfer_to_host_3d, pv_gpu_transfer_host_3d),
    HANDLER_3D(TRANSFER_FROM_HOST_3D, pv_gpu_transfer_from_host_3d, pv_gpu_transfer_host_3d),
    HANDLER_3D(SUBMIT_3D, pv_gpu_submit_3d, pv_gpu_submit_3d),
    HANDLER_3D(RESOURCE_MAP_BLOB, pv_gpu_map_blob, pv_gpu_map_blob),
    HANDLER_3D(RESOURCE_UNMAP_BLOB, pv_gpu_unmap_blob, pv_gpu_resource_ref),
};

static const struct handler *find_handler(const struct pv_gpu *gpu, uint32_t type)
{
	uint32_t index_2d = type - PV_GPU_CMD_GET_DISPLAY_INFO, index_3d = type - PV_GPU_CMD_CTX_CREATE;

	if (index_2d < PV_ARRAY_LEN(handlers_2d) && handlers_2d[index_2d].run)
		return &handlers_2d[index_2d];
	if (pv_gpu_has_feature(gpu, PV_GPU_F_VIRGL) && index_3d < PV_ARRAY_LEN(handlers_3d))
		return &handlers_3d[index_3d];
	return NULL;
}

/* The command's fixed part into `bytes`, header from the copy taken before, so that nothing is read twice. */
static enum pv_status read_command(const struct pv_gpu *gpu, const struct pv_gpu_request *request,
				   const struct pv_virtq_chain *chain, uint8_t *bytes, size_t len)
{
	const size_t hdr_len = sizeof(request->hdr);

	memcpy(bytes, &request->hdr, hdr_len);
	if (pv_guest_read(gpu->map, chain->spans, chain->nr_readable, hdr_len, bytes + hdr_len, len - hdr_len) == PV_OK)
		return PV_OK;
	PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "command 0x%x has %llu bytes, %zu are needed", request->hdr.type,
		       (unsigned long long)chain->readable_len, len);
	return PV_ERR_GUEST;
}

void pv_gpu_execute_control(struct pv_gpu *gpu, struct pv_gpu_request *request, const struct pv_virtq_chain *chain,
			    struct pv_gpu_response *response)
{
	const struct pv_gpu_call c = {.gpu = gpu, .request = request, .chain = chain, .response = response};
	const struct handler *handler = find_handler(gpu, request->hdr.type);
	_Alignas(uint64_t) uint8_t bytes[COMMAND_MAX_BYTES];

	if (!handler) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "unknown command 0x%x", request->hdr.type);
		response->type = PV_GPU_RESP_ERR_UNSPEC;
		return;
	}
	if (read_command(gpu, request, chain, bytes, handler->len) != PV_OK) {
		response->type = PV_GPU_RESP_ERR_INVALID_PARAMETER;
		return;
	}
	response->type = handler->run(&c, bytes);
}

/* Cursor queue (5.7.6.10) */

/* Linux makes the buffers of cursors in the format of dumb buffers, which has no alpha, and puts alpha into them. */
static uint32_t with_alpha(uint32_t format)
{
	switch (format) {
	case PV_GPU_FORMAT_B8G8R8X8:
		return PV_GPU_FORMAT_B8G8R8A8;
	case PV_GPU_FORMAT_X8R8G8B8:
		return PV_GPU_FORMAT_A8R8G8B8;
	case PV_GPU_FORMAT_X8B8G8R8:
		return PV_GPU_FORMAT_A8B8G8R8;
	case PV_GPU_FORMAT_R8G8B8X8:
		return PV_GPU_FORMAT_R8G8B8A8;
	default:
		return format;
	}
}

static uint32_t load_cursor_image(const struct pv_gpu_call *c, uint32_t guest_resource_id)
{
	const struct pv_blob_layout blob_layout = {.format = PV_GPU_FORMAT_B8G8R8A8,
						   .width = PV_GPU_CURSOR_SIDE,
						   .height = PV_GPU_CURSOR_SIDE,
						   .stride_bytes = PV_GPU_CURSOR_SIDE * 4};
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, guest_resource_id);
	const struct pv_blob_layout *layout = NULL;
	struct pv_frame *frame;

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (pv_gpu_is_blob(resource)) {
		if (pv_gpu_resource_is_shown(c->gpu, resource->id))
			PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
				      "blob %u is a scanout and cannot be the cursor", resource->id);
		uint32_t type = use_layout(c, resource, &blob_layout);
		if (type != PV_GPU_RESP_OK_NODATA)
			return type;
		layout = &blob_layout;
	} else if (resource->width != PV_GPU_CURSOR_SIDE || resource->height != PV_GPU_CURSOR_SIDE) {
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "a cursor is %d x %d, resource %u is %u x %u",
			      PV_GPU_CURSOR_SIDE, PV_GPU_CURSOR_SIDE, resource->id, resource->width, resource->height);
	}
	enum pv_status status = get_frame(c, resource, layout, &frame);
	if (status != PV_OK)
		return pv_gpu_response_type(status);

	if (frame->width < PV_GPU_CURSOR_SIDE || frame->height < PV_GPU_CURSOR_SIDE) {
		pv_frame_unref(frame);
		return PV_GPU_RESP_ERR_INVALID_PARAMETER;
	}
	pv_frame_refresh(frame);
	pixman_image_t *from = pixman_image_create_bits_no_clear(
	    pv_gpu_format_to_pixman(with_alpha(frame->format)), PV_GPU_CURSOR_SIDE, PV_GPU_CURSOR_SIDE,
	    (uint32_t *)(void *)frame->pixels, (int)frame->stride_bytes);
	pixman_image_t *to = pixman_image_create_bits_no_clear(PIXMAN_a8r8g8b8, PV_GPU_CURSOR_SIDE, PV_GPU_CURSOR_SIDE,
							       c->gpu->cursor.pixels, PV_GPU_CURSOR_SIDE * 4);
	if (from && to)
		pixman_image_composite32(PIXMAN_OP_SRC, from, NULL, to, 0, 0, 0, 0, 0, 0, PV_GPU_CURSOR_SIDE,
					 PV_GPU_CURSOR_SIDE);
	bool copied = from && to;
	if (from)
		pixman_image_unref(from);
	if (to)
		pixman_image_unref(to);
	pv_frame_unref(frame);
	return copied ? PV_GPU_RESP_OK_NODATA : PV_GPU_RESP_ERR_OUT_OF_MEMORY;
}

static uint32_t update_cursor(const struct pv_gpu_call *c, const struct pv_gpu_update_cursor *cmd)
{
	struct pv_cursor *cursor = &c->gpu->cursor;
	uint32_t type = check_scanout_id(c, cmd->scanout_id);

	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (cmd->hdr.type == PV_GPU_CMD_UPDATE_CURSOR && cmd->resource_id != 0) {
		if (cmd->hot_x >= PV_GPU_CURSOR_SIDE || cmd->hot_y >= PV_GPU_CURSOR_SIDE)
			PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "a hot spot at %u, %u is outside the cursor",
				      cmd->hot_x, cmd->hot_y);
		type = load_cursor_image(c, cmd->resource_id);
		if (type != PV_GPU_RESP_OK_NODATA)
			return type;
		cursor->hot_x = cmd->hot_x;
		cursor->hot_y = cmd->hot_y;
	}

	bool was_visible = cursor->visible;
	cursor->scanout_id = cmd->scanout_id;
	cursor->x = (int32_t)cmd->x; /* the driver's numbers may be negative */
	cursor->y = (int32_t)cmd->y;
	cursor->visible = cmd->resource_id != 0;
	if (cmd->hdr.type == PV_GPU_CMD_UPDATE_CURSOR || was_visible != cursor->visible)
		pv_gpu_show_cursor_image(c->gpu);
	else
		pv_gpu_show_cursor_position(c->gpu);
	return PV_GPU_RESP_OK_NODATA;
}

void pv_gpu_execute_cursor(struct pv_gpu *gpu, struct pv_gpu_request *request, const struct pv_virtq_chain *chain,
			   struct pv_gpu_response *response)
{
	const struct pv_gpu_call c = {.gpu = gpu, .request = request, .chain = chain, .response = response};
	struct pv_gpu_update_cursor cmd;

	if (request->hdr.type != PV_GPU_CMD_UPDATE_CURSOR && request->hdr.type != PV_GPU_CMD_MOVE_CURSOR) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "unknown cursor command 0x%x", request->hdr.type);
		response->type = PV_GPU_RESP_ERR_UNSPEC;
	} else if (read_command(gpu, request, chain, (uint8_t *)&cmd, sizeof(cmd)) != PV_OK) {
		response->type = PV_GPU_RESP_ERR_INVALID_PARAMETER;
	} else {
		response->type = update_cursor(&c, &cmd);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * The virtio-gpu commands (virtio 1.3, 5.7.6.7 to 5.7.6.10). Each handler gets a copy of its command, taken from guest
 * memory once, and returns the response type; everything in the copy is a guest's word until it is checked here.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "gpu/gpu_internal.h"

#define PENDING 0u

#define REFUSE(type, ...)                                                                                              \
	do {                                                                                                           \
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", __VA_ARGS__);                                                    \
		return (type);                                                                                         \
	} while (0)

uint32_t pv_gpu_response_type(enum pv_status status)
{
	switch (status) {
	case PV_OK:
		return PV_GPU_RESP_OK_NODATA;
	case PV_PENDING:
		return PENDING;
	case PV_ERR_NO_MEMORY:
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	case PV_ERR_GUEST:
	case PV_ERR_ARGUMENT:
		return PV_GPU_RESP_ERR_INVALID_PARAMETER;
	default:
		return PV_GPU_RESP_ERR_UNSPEC;
	}
}

/* One command in hand. */
struct command {
	struct pv_gpu *gpu;
	struct pv_gpu_request *request;
	const struct pv_virtq_chain *chain;
	struct pv_gpu_response *response;
};

static struct pv_rect to_rect(const struct pv_gpu_wire_rect *r)
{
	return (struct pv_rect){.x = r->x, .y = r->y, .width = r->width, .height = r->height};
}

static bool has_feature(const struct pv_gpu *gpu, unsigned bit)
{
	return gpu->driver_features & 1ull << bit;
}

static struct pv_gpu_resource *find(const struct command *c, uint32_t guest_id)
{
	struct pv_gpu_resource *resource = pv_id_map_get(&c->gpu->resources, guest_id);

	if (!resource)
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "command 0x%x names resource %u, which does not exist",
			       c->request->hdr.type, guest_id);
	return resource;
}

/* Resources */

/* What core and renderer keep of a resource besides its picture and the list of its backing; generous. */
#define RESOURCE_BYTES 1024

/* Makes the resource cost what is given from now on. Costing less always succeeds. */
static enum pv_status charge(struct pv_gpu *gpu, struct pv_gpu_resource *resource, uint64_t picture_bytes,
			     uint64_t backing_bytes)
{
	/* At most 2^30 + 2^18. */
	const uint64_t bytes = RESOURCE_BYTES + picture_bytes + backing_bytes;
	uint64_t others = gpu->host_bytes - resource->host_bytes;

	if (bytes > resource->host_bytes && (bytes > gpu->max_host_bytes || others > gpu->max_host_bytes - bytes)) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu",
			       "the guest's resources need more than %llu MiB of host memory; see --max-host-memory",
			       (unsigned long long)(gpu->max_host_bytes >> 20));
		return PV_ERR_NO_MEMORY;
	}
	gpu->host_bytes = others + bytes;
	resource->host_bytes = bytes;
	resource->picture_bytes = picture_bytes;
	resource->backing_bytes = backing_bytes;
	return PV_OK;
}

void pv_gpu_destroy_resource(struct pv_gpu *gpu, uint32_t resource_id)
{
	struct pv_gpu_resource *resource = pv_id_map_get(&gpu->resources, resource_id);

	if (!resource)
		return;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (gpu->scanouts[i].resource_id == resource_id)
			pv_gpu_disable_scanout(gpu, i);
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

static uint32_t check_new_id(const struct command *c, uint32_t guest_id)
{
	if (guest_id == 0 || pv_id_map_get(&c->gpu->resources, guest_id))
		REFUSE(PV_GPU_RESP_ERR_INVALID_RESOURCE_ID, "resource id %u is %s", guest_id,
		       guest_id ? "taken" : "not allowed");
	return PV_GPU_RESP_OK_NODATA;
}

/* Enters a resource whose fields are checked and asks the renderer to make it. */
static uint32_t create(const struct command *c, const struct pv_gpu_resource *prototype, uint64_t picture_bytes)
{
	struct pv_gpu *gpu = c->gpu;
	struct pv_gpu_resource *resource = malloc(sizeof(*resource));

	if (!resource)
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	*resource = *prototype;
	enum pv_status status = charge(gpu, resource, picture_bytes, 0);
	if (status == PV_OK && pv_id_map_add(&gpu->resources, resource->id, resource) != PV_OK) {
		gpu->host_bytes -= resource->host_bytes;
		status = PV_ERR_NO_MEMORY;
	}
	if (status != PV_OK) {
		free(resource);
		return pv_gpu_response_type(status);
	}

	const struct pv_resource_info info = {.id = resource->id,
					      .kind = resource->kind,
					      .format = resource->format,
					      .width = resource->width,
					      .height = resource->height,
					      .size_bytes = resource->size_bytes};
	status = gpu->renderer->ops->resource_create(gpu->renderer, c->request->id, &info);
	if (status == PV_PENDING)
		c->request->created_resource_id = resource->id;
	else if (status != PV_OK)
		pv_gpu_destroy_resource(gpu, resource->id);
	return pv_gpu_response_type(status);
}

static uint32_t resource_create_2d(const struct command *c, const void *bytes)
{
	const struct pv_gpu_resource_create_2d *cmd = bytes;
	uint32_t type = check_new_id(c, cmd->resource_id);

	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (!pv_gpu_format_to_pixman(cmd->format))
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "resource %u has unknown format %u", cmd->resource_id,
		       cmd->format);
	if (cmd->width == 0 || cmd->width > PV_FRAME_MAX_SIDE || cmd->height == 0 || cmd->height > PV_FRAME_MAX_SIDE)
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "resource %u of %u x %u: sides are 1 to %d", cmd->resource_id,
		       cmd->width, cmd->height, PV_FRAME_MAX_SIDE);

	const struct pv_gpu_resource prototype = {.id = cmd->resource_id,
						  .kind = PV_RESOURCE_2D,
						  .format = cmd->format,
						  .width = cmd->width,
						  .height = cmd->height,
						  .size_bytes = (uint64_t)cmd->width * cmd->height * 4};
	return create(c, &prototype, pv_frame_cost_bytes(cmd->width, cmd->height));
}

static uint32_t resource_unref(const struct command *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;

	if (!find(c, cmd->resource_id))
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	pv_gpu_destroy_resource(c->gpu, cmd->resource_id);
	return PV_GPU_RESP_OK_NODATA;
}

/*
 * Reads the backing entries behind a command of `fixed_len` bytes; the spans are the caller's to free. Every entry must
 * lie in guest memory now; it may leave later, so that users check again.
 */
static uint32_t read_backing(const struct command *c, size_t fixed_len, uint32_t guest_count,
			     struct pv_guest_span **out_spans, uint64_t *out_bytes)
{
	if (guest_count > PV_GPU_MAX_BACKING_ENTRIES)
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "a backing of %u entries: at most %d are supported",
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
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "a backing announces %u entries but is shorter", guest_count);
	}
	for (uint32_t i = 0; i < guest_count; i++) {
		struct pv_guest_span span = {.addr = items[i].entry.addr, .len = items[i].entry.length};

		for (uint64_t done = 0, run; done < span.len; done += run)
			if (!pv_guest_map_run(c->gpu->map, span.addr + done, span.len - done, &run)) {
				free(items);
				REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
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

static enum pv_status attach(const struct command *c, struct pv_gpu_resource *resource,
			     const struct pv_guest_span *spans, uint32_t nr_spans)
{
	struct pv_renderer *r = c->gpu->renderer;
	enum pv_status status =
	    charge(c->gpu, resource, resource->picture_bytes, (uint64_t)nr_spans * sizeof(struct pv_guest_span));

	if (status != PV_OK)
		return status;
	status = r->ops->attach_backing(r, c->request->id, resource->id, spans, nr_spans);
	resource->has_backing = status == PV_OK || status == PV_PENDING;
	if (!resource->has_backing)
		(void)charge(c->gpu, resource, resource->picture_bytes, 0);
	return status;
}

static uint32_t resource_attach_backing(const struct command *c, const void *bytes)
{
	const struct pv_gpu_attach_backing *cmd = bytes;
	struct pv_gpu_resource *resource = find(c, cmd->resource_id);
	struct pv_guest_span *spans;
	uint64_t total;

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (resource->has_backing)
		REFUSE(PV_GPU_RESP_ERR_UNSPEC, "resource %u has a backing already", cmd->resource_id);
	uint32_t type = read_backing(c, sizeof(*cmd), cmd->nr_entries, &spans, &total);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;

	enum pv_status status = attach(c, resource, spans, cmd->nr_entries);
	free(spans);
	return pv_gpu_response_type(status);
}

static uint32_t resource_detach_backing(const struct command *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;
	struct pv_gpu_resource *resource = find(c, cmd->resource_id);

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!resource->has_backing)
		REFUSE(PV_GPU_RESP_ERR_UNSPEC, "resource %u has no backing", cmd->resource_id);
	/* A blob that is shown keeps its last picture. */
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (c->gpu->scanouts[i].resource_id == resource->id)
			pv_frame_refresh(c->gpu->scanouts[i].frame);
	c->gpu->renderer->ops->detach_backing(c->gpu->renderer, resource->id);
	resource->has_backing = false;
	(void)charge(c->gpu, resource, resource->picture_bytes, 0);
	return PV_GPU_RESP_OK_NODATA;
}

static uint32_t transfer_to_host_2d(const struct command *c, const void *bytes)
{
	const struct pv_gpu_transfer_to_host_2d *cmd = bytes;
	const struct pv_gpu_resource *resource = find(c, cmd->resource_id);
	const struct pv_transfer transfer = {
	    .resource_id = cmd->resource_id, .rect = to_rect(&cmd->r), .offset_bytes = cmd->offset};

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	/* A guest blob's bytes are the guest's own: there is nothing to move. */
	if (resource->kind == PV_RESOURCE_GUEST_BLOB)
		return PV_GPU_RESP_OK_NODATA;
	if (!pv_rect_fits(&transfer.rect, resource->width, resource->height))
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
		       "transfer of %u x %u at %u, %u is not inside resource %u (%u x %u)", cmd->r.width, cmd->r.height,
		       cmd->r.x, cmd->r.y, resource->id, resource->width, resource->height);
	if (pv_rect_is_empty(&transfer.rect))
		return PV_GPU_RESP_OK_NODATA;
	if (!resource->has_backing)
		REFUSE(PV_GPU_RESP_ERR_UNSPEC, "transfer from resource %u, which has no backing", resource->id);

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

static uint32_t resource_flush(const struct command *c, const void *bytes)
{
	const struct pv_gpu_resource_flush *cmd = bytes;
	const struct pv_gpu_resource *resource = find(c, cmd->resource_id);
	const struct pv_rect rect = to_rect(&cmd->r);

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	bool blob = resource->kind == PV_RESOURCE_GUEST_BLOB;
	/* A blob that was never shown has no size in pixels; nothing of it can be on a screen. */
	if (blob && !resource->has_layout)
		return PV_GPU_RESP_OK_NODATA;
	uint32_t width = blob ? resource->layout.width : resource->width;
	uint32_t height = blob ? resource->layout.height : resource->height;
	if (!pv_rect_fits(&rect, width, height))
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
		       "flush of %u x %u at %u, %u is not inside resource %u (%u x %u)", rect.width, rect.height,
		       rect.x, rect.y, resource->id, width, height);

	enum pv_status status =
	    c->gpu->renderer->ops->update_frame(c->gpu->renderer, c->request->id, resource->id, &rect);
	c->gpu->stats.flushes++;
	if (status == PV_OK || status == PV_PENDING)
		pv_gpu_flush_scanouts(c->gpu, resource->id, &rect);
	return pv_gpu_response_type(status);
}

static uint32_t resource_assign_uuid(const struct command *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;

	if (!has_feature(c->gpu, PV_GPU_F_RESOURCE_UUID))
		REFUSE(PV_GPU_RESP_ERR_UNSPEC, "RESOURCE_ASSIGN_UUID without its feature");
	struct pv_gpu_resource *resource = find(c, cmd->resource_id);
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

#define KNOWN_BLOB_FLAGS 7u /* mappable, shareable, cross-device */

static uint32_t resource_create_blob(const struct command *c, const void *bytes)
{
	const struct pv_gpu_create_blob *cmd = bytes;
	struct pv_guest_span *spans;
	uint64_t total;

	if (!has_feature(c->gpu, PV_GPU_F_RESOURCE_BLOB))
		REFUSE(PV_GPU_RESP_ERR_UNSPEC, "RESOURCE_CREATE_BLOB without its feature");
	uint32_t type = check_new_id(c, cmd->resource_id);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (cmd->blob_mem != PV_GPU_BLOB_MEM_GUEST || (cmd->blob_flags & ~KNOWN_BLOB_FLAGS) || cmd->size == 0)
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
		       "blob %u: memory type %u, flags 0x%x, %llu bytes: the 2D renderer has guest memory blobs only",
		       cmd->resource_id, cmd->blob_mem, cmd->blob_flags, (unsigned long long)cmd->size);
	type = read_backing(c, sizeof(*cmd), cmd->nr_entries, &spans, &total);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (total < cmd->size) {
		free(spans);
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "blob %u of %llu bytes is backed by %llu only",
		       cmd->resource_id, (unsigned long long)cmd->size, (unsigned long long)total);
	}

	const struct pv_gpu_resource prototype = {
	    .id = cmd->resource_id, .kind = PV_RESOURCE_GUEST_BLOB, .size_bytes = cmd->size};
	type = create(c, &prototype, 0);
	/* One answer for both, when the first that was put off is done: the renderer takes calls in order. */
	if (type == PV_GPU_RESP_OK_NODATA || type == PENDING) {
		enum pv_status status =
		    attach(c, pv_id_map_get(&c->gpu->resources, cmd->resource_id), spans, cmd->nr_entries);
		if (status != PV_OK && status != PV_PENDING)
			pv_gpu_destroy_resource(c->gpu, cmd->resource_id);
		if (status != PV_OK)
			type = pv_gpu_response_type(status);
	}
	free(spans);
	return type;
}

/* Scanouts */

static uint32_t check_scanout_id(const struct command *c, uint32_t guest_id)
{
	if (guest_id >= c->gpu->nr_outputs)
		REFUSE(PV_GPU_RESP_ERR_INVALID_SCANOUT_ID, "there is no scanout %u, only %u", guest_id,
		       c->gpu->nr_outputs);
	return PV_GPU_RESP_OK_NODATA;
}

static uint32_t check_scanout_rect(uint32_t resource_id, const struct pv_rect *rect, uint32_t width, uint32_t height)
{
	if (pv_rect_is_empty(rect) || !pv_rect_fits(rect, width, height))
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
		       "scanout of %u x %u at %u, %u is not inside resource %u (%u x %u)", rect->width, rect->height,
		       rect->x, rect->y, resource_id, width, height);
	return PV_GPU_RESP_OK_NODATA;
}

static uint32_t show(const struct command *c, uint32_t scanout_id, uint32_t resource_id,
		     const struct pv_blob_layout *layout, const struct pv_rect *rect)
{
	struct pv_frame *frame;
	enum pv_status status = c->gpu->renderer->ops->get_frame(c->gpu->renderer, resource_id, layout, &frame);

	if (status == PV_OK)
		pv_gpu_set_scanout(c->gpu, scanout_id, resource_id, frame, rect);
	return pv_gpu_response_type(status);
}

static uint32_t set_scanout(const struct command *c, const void *bytes)
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
	const struct pv_gpu_resource *resource = find(c, cmd->resource_id);
	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (resource->kind != PV_RESOURCE_2D)
		REFUSE(PV_GPU_RESP_ERR_INVALID_RESOURCE_ID, "SET_SCANOUT with blob %u: blobs take SET_SCANOUT_BLOB",
		       resource->id);
	type = check_scanout_rect(resource->id, &rect, resource->width, resource->height);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	return show(c, cmd->scanout_id, resource->id, NULL, &rect);
}

static bool same_layout(const struct pv_blob_layout *a, const struct pv_blob_layout *b)
{
	return a->format == b->format && a->width == b->width && a->height == b->height &&
	       a->stride_bytes == b->stride_bytes && a->offset_bytes == b->offset_bytes;
}

/* A layout of a blob that is checked, and paid for. */
static uint32_t use_layout(const struct command *c, struct pv_gpu_resource *resource, const struct pv_blob_layout *l)
{
	if (!pv_gpu_format_to_pixman(l->format) || l->width == 0 || l->width > PV_FRAME_MAX_SIDE || l->height == 0 ||
	    l->height > PV_FRAME_MAX_SIDE || l->stride_bytes < l->width * 4)
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "blob %u shown as %u x %u, format %u, stride %u: impossible",
		       resource->id, l->width, l->height, l->format, l->stride_bytes);
	/* 2^32 * 2^14 at most: no wrap. */
	uint64_t extent = (uint64_t)l->stride_bytes * (l->height - 1) + (uint64_t)l->width * 4;
	if (!pv_range_fits(l->offset_bytes, extent, resource->size_bytes))
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "blob %u of %llu bytes is too small for the picture in it",
		       resource->id, (unsigned long long)resource->size_bytes);
	if (resource->has_layout && same_layout(&resource->layout, l))
		return PV_GPU_RESP_OK_NODATA;
	if (charge(c->gpu, resource, pv_frame_cost_bytes(l->width, l->height), resource->backing_bytes) != PV_OK)
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	resource->layout = *l;
	resource->has_layout = true;
	return PV_GPU_RESP_OK_NODATA;
}

static uint32_t set_scanout_blob(const struct command *c, const void *bytes)
{
	const struct pv_gpu_set_scanout_blob *cmd = bytes;
	const struct pv_rect rect = to_rect(&cmd->r);
	const struct pv_blob_layout layout = {.format = cmd->format,
					      .width = cmd->width,
					      .height = cmd->height,
					      .stride_bytes = cmd->strides[0],
					      .offset_bytes = cmd->offsets[0]};

	if (!has_feature(c->gpu, PV_GPU_F_RESOURCE_BLOB))
		REFUSE(PV_GPU_RESP_ERR_UNSPEC, "SET_SCANOUT_BLOB without its feature");
	uint32_t type = check_scanout_id(c, cmd->scanout_id);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (cmd->resource_id == 0) {
		pv_gpu_disable_scanout(c->gpu, cmd->scanout_id);
		return PV_GPU_RESP_OK_NODATA;
	}
	struct pv_gpu_resource *resource = find(c, cmd->resource_id);
	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (resource->kind != PV_RESOURCE_GUEST_BLOB)
		REFUSE(PV_GPU_RESP_ERR_INVALID_RESOURCE_ID, "SET_SCANOUT_BLOB with resource %u, which is no blob",
		       resource->id);
	if (resource->has_layout && !same_layout(&resource->layout, &layout))
		for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
			if (i != cmd->scanout_id && c->gpu->scanouts[i].resource_id == resource->id)
				REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
				       "blob %u is shown on scanout %u in another layout", resource->id, i);
	type = use_layout(c, resource, &layout);
	if (type == PV_GPU_RESP_OK_NODATA)
		type = check_scanout_rect(resource->id, &rect, layout.width, layout.height);
	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	return show(c, cmd->scanout_id, resource->id, &layout, &rect);
}

/* Answers from what the heads are now: a display that decides them is asked first. */
static uint32_t answer_with_outputs(const struct command *c)
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
	return PENDING;
}

static uint32_t get_display_info(const struct command *c, const void *bytes)
{
	(void)bytes;
	return answer_with_outputs(c);
}

static uint32_t get_edid(const struct command *c, const void *bytes)
{
	const struct pv_gpu_get_edid *cmd = bytes;

	if (!has_feature(c->gpu, PV_GPU_F_EDID))
		REFUSE(PV_GPU_RESP_ERR_UNSPEC, "GET_EDID without its feature");
	if (cmd->scanout >= PV_GPU_MAX_SCANOUTS)
		return check_scanout_id(c, cmd->scanout);
	c->request->scanout_id = cmd->scanout;
	/* Linux asks for the EDID of a changed head before it asks what changed. */
	return answer_with_outputs(c);
}

static uint32_t get_capset_info(const struct command *c, const void *bytes)
{
	const struct pv_gpu_get_capset_info *cmd = bytes;

	(void)c;
	REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "there is no capset %u: num_capsets is 0", cmd->capset_index);
}

/* Dispatch */

struct handler {
	uint32_t (*run)(const struct command *c, const void *bytes);
	size_t len;
};

#define COMMAND_MAX_BYTES sizeof(struct pv_gpu_set_scanout_blob)

static const struct handler handlers[] = {
#define HANDLER(code, function, type)                                                                                  \
	[PV_GPU_CMD_##code - PV_GPU_CMD_GET_DISPLAY_INFO] = {function, sizeof(struct type)}
    HANDLER(GET_DISPLAY_INFO, get_display_info, pv_gpu_ctrl_hdr),
    HANDLER(RESOURCE_CREATE_2D, resource_create_2d, pv_gpu_resource_create_2d),
    HANDLER(RESOURCE_UNREF, resource_unref, pv_gpu_resource_ref),
    HANDLER(SET_SCANOUT, set_scanout, pv_gpu_set_scanout),
    HANDLER(RESOURCE_FLUSH, resource_flush, pv_gpu_resource_flush),
    HANDLER(TRANSFER_TO_HOST_2D, transfer_to_host_2d, pv_gpu_transfer_to_host_2d),
    HANDLER(RESOURCE_ATTACH_BACKING, resource_attach_backing, pv_gpu_attach_backing),
    HANDLER(RESOURCE_DETACH_BACKING, resource_detach_backing, pv_gpu_resource_ref),
    HANDLER(GET_CAPSET_INFO, get_capset_info, pv_gpu_get_capset_info),
    HANDLER(GET_EDID, get_edid, pv_gpu_get_edid),
    HANDLER(RESOURCE_ASSIGN_UUID, resource_assign_uuid, pv_gpu_resource_ref),
    HANDLER(RESOURCE_CREATE_BLOB, resource_create_blob, pv_gpu_create_blob),
    HANDLER(SET_SCANOUT_BLOB, set_scanout_blob, pv_gpu_set_scanout_blob),
#undef HANDLER
};

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
	const struct command c = {.gpu = gpu, .request = request, .chain = chain, .response = response};
	uint32_t index = request->hdr.type - PV_GPU_CMD_GET_DISPLAY_INFO;
	_Alignas(uint64_t) uint8_t bytes[COMMAND_MAX_BYTES];

	if (index >= PV_ARRAY_LEN(handlers) || !handlers[index].run) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "unknown command 0x%x", request->hdr.type);
		response->type = PV_GPU_RESP_ERR_UNSPEC;
		return;
	}
	if (read_command(gpu, request, chain, bytes, handlers[index].len) != PV_OK) {
		response->type = PV_GPU_RESP_ERR_INVALID_PARAMETER;
		return;
	}
	response->type = handlers[index].run(&c, bytes);
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

static uint32_t load_cursor_image(const struct command *c, uint32_t guest_resource_id)
{
	const struct pv_blob_layout blob_layout = {.format = PV_GPU_FORMAT_B8G8R8A8,
						   .width = PV_GPU_CURSOR_SIDE,
						   .height = PV_GPU_CURSOR_SIDE,
						   .stride_bytes = PV_GPU_CURSOR_SIDE * 4};
	struct pv_gpu_resource *resource = find(c, guest_resource_id);
	const struct pv_blob_layout *layout = NULL;
	struct pv_frame *frame;

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (resource->kind == PV_RESOURCE_GUEST_BLOB) {
		if (pv_gpu_resource_is_shown(c->gpu, resource->id))
			REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "blob %u is a scanout and cannot be the cursor",
			       resource->id);
		uint32_t type = use_layout(c, resource, &blob_layout);
		if (type != PV_GPU_RESP_OK_NODATA)
			return type;
		layout = &blob_layout;
	} else if (resource->width != PV_GPU_CURSOR_SIDE || resource->height != PV_GPU_CURSOR_SIDE) {
		REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "a cursor is %d x %d, resource %u is %u x %u",
		       PV_GPU_CURSOR_SIDE, PV_GPU_CURSOR_SIDE, resource->id, resource->width, resource->height);
	}
	enum pv_status status = c->gpu->renderer->ops->get_frame(c->gpu->renderer, resource->id, layout, &frame);
	if (status != PV_OK)
		return pv_gpu_response_type(status);

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

static uint32_t update_cursor(const struct command *c, const struct pv_gpu_update_cursor *cmd)
{
	struct pv_cursor *cursor = &c->gpu->cursor;
	uint32_t type = check_scanout_id(c, cmd->scanout_id);

	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (cmd->hdr.type == PV_GPU_CMD_UPDATE_CURSOR && cmd->resource_id != 0) {
		if (cmd->hot_x >= PV_GPU_CURSOR_SIDE || cmd->hot_y >= PV_GPU_CURSOR_SIDE)
			REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "a hot spot at %u, %u is outside the cursor",
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
	const struct command c = {.gpu = gpu, .request = request, .chain = chain, .response = response};
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

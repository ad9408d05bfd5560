/* SPDX-License-Identifier: MIT */
/*
 * The commands of 3D contexts and of host blobs (virtio 1.3, 5.7.6.7 to 5.7.6.10).
 *
 * A host blob's bytes are those of the window from RESOURCE_MAP_BLOB on, which Linux sends right after the creation of
 * each mappable blob, and until UNMAP_BLOB or UNREF has been answered: only then does its driver give the range to
 * another blob. So both wait for the renderer, whose use of the range must have ended; the range is then punched out.
 */
#include <stdlib.h>
#include <string.h>

#include "gpu/command.h"
#include "gpu/texture.h"

/* More than any driver sends: virgl stops at 256 KiB. */
#define SUBMIT_MAX_BYTES (4u << 20)
/* Each may cost the host threads and a device. */
#define MAX_CONTEXTS 1024

/* ---- Capability sets ---- */

static bool is_hidden(const struct pv_gpu *gpu, uint32_t capset_id)
{
	struct pv_capset_info info;

	for (uint32_t i = 0; gpu->window_hidden && gpu->renderer->ops->capset_info(gpu->renderer, i, &info); i++)
		if (info.id == capset_id)
			return info.needs_window;
	return false;
}

uint32_t pv_gpu_get_capset_info(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_get_capset_info *cmd = bytes;
	struct pv_capset_info info;

	if (!pv_gpu_find_capset(c->gpu, cmd->capset_index, &info))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "there is no capset %u: num_capsets is %u",
			      cmd->capset_index, c->gpu->config.num_capsets);
	c->response->capset_info = (struct pv_gpu_resp_capset_info){
	    .capset_id = info.id, .capset_max_version = info.max_version, .capset_max_size = info.max_size_bytes};
	c->response->payload_len = sizeof(c->response->capset_info);
	return PV_GPU_RESP_OK_CAPSET_INFO;
}

uint32_t pv_gpu_get_capset(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_get_capset *cmd = bytes;
	size_t len = sizeof(c->response->capset.capset);

	if (!c->gpu->has_3d || is_hidden(c->gpu, cmd->capset_id))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "there is no capset of id %u", cmd->capset_id);
	/* Drivers expect capset_max_size bytes: what the set lacks is zero. */
	memset(c->response->capset.capset, 0, sizeof(c->response->capset.capset));
	enum pv_status status = c->gpu->renderer->ops->capset(c->gpu->renderer, cmd->capset_id, cmd->capset_version,
							      c->response->capset.capset, &len);
	if (status != PV_OK)
		PV_GPU_REFUSE(pv_gpu_response_type(status), "there is no capset of id %u and version %u",
			      cmd->capset_id, cmd->capset_version);
	c->response->payload_len = (uint32_t)(sizeof(c->response->hdr) + len);
	return PV_GPU_RESP_OK_CAPSET;
}

/* ---- Contexts ---- */

static struct pv_gpu_context *find_context(const struct pv_gpu_call *c)
{
	struct pv_gpu_context *context = pv_id_map_get(&c->gpu->contexts, c->request->hdr.ctx_id);

	if (!context)
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "command 0x%x names context %u, which does not exist",
			       c->request->hdr.type, c->request->hdr.ctx_id);
	return context;
}

static void forget_context(struct pv_gpu *gpu, uint32_t ctx_id)
{
	free(pv_id_map_remove(&gpu->contexts, ctx_id));
}

uint32_t pv_gpu_ctx_create(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_ctx_create *cmd = bytes;
	struct pv_gpu *gpu = c->gpu;
	const uint32_t id = cmd->hdr.ctx_id;

	if (id == 0 || pv_id_map_get(&gpu->contexts, id))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_CONTEXT_ID, "context id %u is %s", id,
			      id ? "taken" : "not allowed");
	if (pv_gpu_has_feature(gpu, PV_GPU_F_CONTEXT_INIT) && is_hidden(gpu, cmd->context_init & 0xff))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "context %u is for capset %u, which is not offered",
			      id, cmd->context_init & 0xff);
	if (gpu->contexts.count >= MAX_CONTEXTS)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_OUT_OF_MEMORY, "the guest has %d contexts already", MAX_CONTEXTS);
	struct pv_gpu_context *context = calloc(1, sizeof(*context));
	if (!context)
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	context->id = id;
	context->serial = ++gpu->next_context_serial;
	if (pv_gpu_has_feature(gpu, PV_GPU_F_CONTEXT_INIT))
		context->capset_id = cmd->context_init & 0xff;
	/* Not every driver ends its names with a zero, and nlen is no better than the bytes are. */
	memcpy(context->name, cmd->debug_name, pv_min_u64(cmd->nlen, PV_GPU_CONTEXT_NAME_BYTES));
	for (char *p = context->name; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	if (pv_id_map_add(&gpu->contexts, id, context) != PV_OK) {
		free(context);
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	}

	enum pv_status status =
	    gpu->renderer->ops->context_create(gpu->renderer, c->request->id, id, context->capset_id, context->name);
	if (status == PV_PENDING) {
		c->request->created_context_id = id;
		c->request->created_context_serial = context->serial;
	} else if (status != PV_OK) {
		forget_context(gpu, id);
	}
	return pv_gpu_response_type(status);
}

uint32_t pv_gpu_ctx_destroy(const struct pv_gpu_call *c, const void *bytes)
{
	struct pv_gpu_context *context = find_context(c);

	(void)bytes;
	if (!context)
		return PV_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	/* First, so that its failed ops find no context to undo. */
	forget_context(c->gpu, c->request->hdr.ctx_id);
	c->gpu->renderer->ops->context_destroy(c->gpu->renderer, c->request->hdr.ctx_id);
	return PV_GPU_RESP_OK_NODATA;
}

void pv_gpu_destroy_all_contexts(struct pv_gpu *gpu)
{
	const struct pv_gpu_context *context;
	uint32_t cursor = 0;

	while ((context = pv_id_map_any(&gpu->contexts, &cursor))) {
		uint32_t id = context->id;

		forget_context(gpu, id);
		gpu->renderer->ops->context_destroy(gpu->renderer, id);
	}
}

size_t pv_gpu_get_contexts(const struct pv_gpu *gpu, struct pv_gpu_context_stats *out, size_t max)
{
	struct pv_renderer *r = gpu->renderer;
	size_t n = 0;

	for (uint32_t i = 0; i < gpu->contexts.capacity && n < max; i++) {
		const struct pv_gpu_context *context = gpu->contexts.slots[i].value;

		if (gpu->contexts.slots[i].id == 0)
			continue;
		out[n] = (struct pv_gpu_context_stats){.id = context->id,
						       .capset_id = context->capset_id,
						       .nr_blobs = context->nr_blobs,
						       .blob_bytes = context->blob_bytes,
						       .submits = context->submits};
		if (r->ops->context_memory_bytes)
			out[n].host_bytes = r->ops->context_memory_bytes(r, context->id);
		memcpy(out[n].name, context->name, sizeof(out[n].name));
		n++;
	}
	return n;
}

/* A blob in a context of another renderer than its own becomes a texture of that one, for as long as it lives. */
static enum pv_status charge_import(struct pv_gpu *gpu, const struct pv_gpu_context *context,
				    struct pv_gpu_resource *resource)
{
	struct pv_gpu_cost cost = resource->cost;

	if (resource->kind == PV_RESOURCE_3D || resource->ctx_id == 0 || resource->capset_id == context->capset_id)
		return PV_OK;
	cost.picture_bytes = pv_texture_max_import_bytes(resource->size_bytes);
	return pv_gpu_charge(gpu, resource, &cost);
}

uint32_t pv_gpu_ctx_attach(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;
	struct pv_renderer *r = c->gpu->renderer;
	const struct pv_gpu_context *context = find_context(c);
	struct pv_gpu_resource *resource;

	if (!context)
		return PV_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	resource = pv_gpu_find_resource(c, cmd->resource_id);
	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (charge_import(c->gpu, context, resource) != PV_OK)
		return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	return pv_gpu_response_type(
	    r->ops->context_attach(r, c->request->id, c->request->hdr.ctx_id, cmd->resource_id));
}

uint32_t pv_gpu_ctx_detach(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;

	if (!find_context(c))
		return PV_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (!pv_gpu_find_resource(c, cmd->resource_id))
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	c->gpu->renderer->ops->context_detach(c->gpu->renderer, c->request->hdr.ctx_id, cmd->resource_id);
	return PV_GPU_RESP_OK_NODATA;
}

uint32_t pv_gpu_submit_3d(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_submit_3d *cmd = bytes;
	struct pv_gpu *gpu = c->gpu;
	struct pv_gpu_context *context = find_context(c);
	uint8_t *commands = gpu->submit_scratch;

	if (!context)
		return PV_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (cmd->size > SUBMIT_MAX_BYTES || !pv_range_fits(sizeof(*cmd), cmd->size, c->chain->readable_len))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
			      "context %u: a command buffer of %u bytes in a command of %llu", context->id, cmd->size,
			      (unsigned long long)c->chain->readable_len);
	if (cmd->size > PV_GPU_SUBMIT_SCRATCH_BYTES) {
		commands = malloc(cmd->size);
		if (!commands)
			return PV_GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	uint32_t type = PV_GPU_RESP_ERR_INVALID_PARAMETER;
	if (pv_guest_read(gpu->map, c->chain->spans, c->chain->nr_readable, sizeof(*cmd), commands, cmd->size) ==
	    PV_OK) {
		context->submits++;
		gpu->stats.submits++;
		type = pv_gpu_response_type(
		    gpu->renderer->ops->submit(gpu->renderer, c->request->id, cmd->hdr.ctx_id, commands, cmd->size));
	}
	if (commands != gpu->submit_scratch)
		free(commands);
	return type;
}

/* ---- Textures ---- */

uint32_t pv_gpu_create_3d(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_create_3d *cmd = bytes;
	uint32_t type = pv_gpu_check_new_id(c, cmd->resource_id);
	const struct pv_resource_info info = {
	    .id = cmd->resource_id,
	    .kind = PV_RESOURCE_3D,
	    .format = cmd->format,
	    .width = cmd->width,
	    .height = cmd->height,
	    .texture = {.target = cmd->target,
			.bind = cmd->bind,
			.depth = cmd->depth,
			.array_size = cmd->array_size,
			.last_level = cmd->last_level,
			.nr_samples = cmd->nr_samples,
			.flags = cmd->flags},
	};

	if (type != PV_GPU_RESP_OK_NODATA)
		return type;
	if (!c->gpu->renderer->ops->transfer_3d)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "resource %u is a texture: there is no OpenGL renderer",
			      cmd->resource_id);
	return pv_gpu_create_resource(c, &info, pv_texture_cost_bytes(&info));
}

static uint32_t transfer_3d(const struct pv_gpu_call *c, const struct pv_gpu_transfer_host_3d *cmd, bool to_guest)
{
	struct pv_renderer *r = c->gpu->renderer;
	const struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (cmd->hdr.ctx_id != 0 && !find_context(c))
		return PV_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	/* The guest's own bytes need not move. */
	if (resource->kind == PV_RESOURCE_GUEST_BLOB)
		return PV_GPU_RESP_OK_NODATA;
	if (resource->kind == PV_RESOURCE_2D || !r->ops->transfer_3d)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "a 3D transfer with resource %u, which is no texture",
			      resource->id);

	const struct pv_transfer_3d transfer = {.resource_id = cmd->resource_id,
						.ctx_id = cmd->hdr.ctx_id,
						.x = cmd->x,
						.y = cmd->y,
						.z = cmd->z,
						.width = cmd->width,
						.height = cmd->height,
						.depth = cmd->depth,
						.level = cmd->level,
						.stride_bytes = cmd->stride,
						.layer_stride_bytes = cmd->layer_stride,
						.offset_bytes = cmd->offset,
						.to_guest = to_guest};
	c->gpu->stats.transfers++;
	return pv_gpu_response_type(r->ops->transfer_3d(r, c->request->id, &transfer));
}

uint32_t pv_gpu_transfer_to_host_3d(const struct pv_gpu_call *c, const void *bytes)
{
	return transfer_3d(c, bytes, false);
}

uint32_t pv_gpu_transfer_from_host_3d(const struct pv_gpu_call *c, const void *bytes)
{
	return transfer_3d(c, bytes, true);
}

/* ---- Host blobs ---- */

static struct pv_gpu_context *context_of(struct pv_gpu *gpu, const struct pv_gpu_resource *resource)
{
	struct pv_gpu_context *context = pv_id_map_get(&gpu->contexts, resource->ctx_id);

	return context && context->serial == resource->ctx_serial ? context : NULL;
}

void pv_gpu_forget_blob(struct pv_gpu *gpu, const struct pv_gpu_resource *resource)
{
	struct pv_gpu_context *context = context_of(gpu, resource);

	/* Nothing is left to be undone by an op that still fails. */
	struct pv_gpu_request *creation = pv_gpu_find_request(gpu, resource->create_request);
	if (creation)
		creation->resource_id = 0;
	if (!context)
		return;
	context->nr_blobs--;
	context->blob_bytes -= resource->size_bytes;
}

uint32_t pv_gpu_create_host_blob(const struct pv_gpu_call *c, const struct pv_gpu_create_blob *cmd)
{
	bool backed = cmd->blob_mem == PV_GPU_BLOB_MEM_HOST3D_GUEST;
	struct pv_gpu_context *context;
	struct pv_guest_span *spans = NULL;
	uint64_t total;

	if (!pv_gpu_has_feature(c->gpu, PV_GPU_F_VIRGL))
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_UNSPEC, "blob %u: host memory without VIRTIO_GPU_F_VIRGL",
			      cmd->resource_id);
	context = find_context(c);
	if (!context)
		return PV_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (backed) {
		uint32_t type = pv_gpu_read_backing(c, sizeof(*cmd), cmd->nr_entries, &spans, &total);

		if (type != PV_GPU_RESP_OK_NODATA)
			return type;
	}

	const struct pv_resource_info info = {.id = cmd->resource_id,
					      .kind = backed ? PV_RESOURCE_HOST_GUEST_BLOB : PV_RESOURCE_HOST_BLOB,
					      .size_bytes = cmd->size,
					      .ctx_id = context->id,
					      .blob_flags = cmd->blob_flags,
					      .blob_id = cmd->blob_id};
	uint32_t type = pv_gpu_create_resource(c, &info, 0);
	/* NULL also when it failed from within the op. */
	struct pv_gpu_resource *resource = pv_id_map_get(&c->gpu->resources, info.id);
	if ((type == PV_GPU_RESP_OK_NODATA || type == PV_GPU_ANSWER_LATER) && resource) {
		resource->ctx_id = context->id;
		resource->capset_id = context->capset_id;
		resource->ctx_serial = context->serial;
		resource->blob_flags = info.blob_flags;
		context->nr_blobs++;
		context->blob_bytes += info.size_bytes;
		if (backed && pv_gpu_attach_backing(c, resource, spans, cmd->nr_entries) > PV_PENDING) {
			pv_gpu_destroy_resource(c->gpu, info.id);
			type = PV_GPU_RESP_ERR_UNSPEC;
		}
	}
	free(spans);
	return type;
}

static void forget_range(struct pv_gpu *gpu, struct pv_gpu_resource *resource)
{
	resource->mapped = false;
	resource->unmap_request = 0;
	pv_window_release(&gpu->window, resource->map_offset, resource->size_bytes);
}

/* The renderer is done with it. */
static void release_range(struct pv_gpu *gpu, struct pv_gpu_resource *resource)
{
	pv_window_empty(&gpu->window, resource->map_offset, resource->size_bytes);
	forget_range(gpu, resource);
}

uint32_t pv_gpu_map_blob(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_map_blob *cmd = bytes;
	struct pv_gpu *gpu = c->gpu;
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!(resource->blob_flags & PV_BLOB_MAPPABLE) || resource->mapped)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "resource %u %s", resource->id,
			      resource->mapped ? "is mapped already" : "is no mappable blob");
	if (pv_window_take(&gpu->window, cmd->offset, resource->size_bytes) != PV_OK)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER,
			      "blob %u of %llu bytes mapped at 0x%llx: not inside the window of %llu bytes, or part of "
			      "that is taken",
			      resource->id, (unsigned long long)resource->size_bytes, (unsigned long long)cmd->offset,
			      (unsigned long long)gpu->window.size_bytes);
	resource->mapped = true;
	resource->map_offset = cmd->offset;

	enum pv_status status = gpu->renderer->ops->blob_map(gpu->renderer, c->request->id, resource->id, cmd->offset);
	if (status == PV_PENDING) {
		c->request->resource_id = resource->id;
		resource->map_request = c->request->id;
		return PV_GPU_ANSWER_LATER;
	}
	if (status != PV_OK) {
		release_range(gpu, resource);
		return pv_gpu_response_type(status);
	}
	/* The window is ordinary memory of the host's. */
	c->response->map_info = (struct pv_gpu_resp_map_info){.map_info = PV_GPU_MAP_CACHE_CACHED};
	c->response->payload_len = sizeof(c->response->map_info);
	return PV_GPU_RESP_OK_MAP_INFO;
}

enum pv_status pv_gpu_unmap_resource(struct pv_gpu *gpu, struct pv_gpu_resource *resource, uint64_t request_id)
{
	/* Displays may look for as long as they like, but not at what comes there next. */
	pv_gpu_drop_mapped_frame(resource);
	enum pv_status status = gpu->renderer->ops->blob_unmap(gpu->renderer, request_id, resource->id);
	if (status == PV_PENDING && request_id != 0) {
		resource->unmap_request = request_id;
		return PV_PENDING;
	}
	if (request_id != 0)
		release_range(gpu, resource);
	else
		forget_range(gpu, resource); /* the renderer may not have come to it yet, and empties it */
	return PV_OK;
}

uint32_t pv_gpu_unmap_blob(const struct pv_gpu_call *c, const void *bytes)
{
	const struct pv_gpu_resource_ref *cmd = bytes;
	struct pv_gpu_resource *resource = pv_gpu_find_resource(c, cmd->resource_id);

	if (!resource)
		return PV_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!resource->mapped || resource->unmap_request != 0)
		PV_GPU_REFUSE(PV_GPU_RESP_ERR_INVALID_PARAMETER, "resource %u is not mapped", resource->id);
	if (pv_gpu_unmap_resource(c->gpu, resource, c->request->id) == PV_PENDING) {
		c->request->resource_id = resource->id;
		return PV_GPU_ANSWER_LATER;
	}
	return PV_GPU_RESP_OK_NODATA;
}

/* ---- Pictures in the window ---- */

void pv_gpu_drop_mapped_frame(struct pv_gpu_resource *resource)
{
	if (!resource->frame)
		return;
	pv_frame_make_private(resource->frame);
	pv_frame_unref(resource->frame);
	resource->frame = NULL;
}

static bool shows(const struct pv_frame *frame, const struct pv_blob_layout *shown, const struct pv_blob_layout *layout)
{
	return frame && shown->format == layout->format && shown->width == layout->width &&
	       shown->height == layout->height && shown->stride_bytes == layout->stride_bytes &&
	       shown->offset_bytes == layout->offset_bytes;
}

enum pv_status pv_gpu_get_mapped_frame(struct pv_gpu *gpu, struct pv_gpu_resource *resource,
				       const struct pv_blob_layout *layout, struct pv_frame **out)
{
	if (resource->unmap_request != 0)
		return PV_ERR_GUEST;
	if (!shows(resource->frame, &resource->frame_layout, layout)) {
		struct pv_frame *frame;
		enum pv_status status =
		    pv_frame_create_mapped(gpu->window.fd, resource->map_offset + layout->offset_bytes, layout->width,
					   layout->height, layout->stride_bytes, layout->format, &frame);

		if (status != PV_OK)
			return status;
		pv_gpu_drop_mapped_frame(resource);
		resource->frame = frame;
		resource->frame_layout = *layout;
	}
	*out = pv_frame_ref(resource->frame);
	return PV_OK;
}

/* ---- The end of pending ops ---- */

static void finish_map(struct pv_gpu *gpu, struct pv_gpu_resource *resource, enum pv_status status,
		       struct pv_gpu_response *response)
{
	resource->map_request = 0;
	if (status == PV_OK) {
		response->type = PV_GPU_RESP_OK_MAP_INFO;
		response->map_info = (struct pv_gpu_resp_map_info){.map_info = PV_GPU_MAP_CACHE_CACHED};
		response->payload_len = sizeof(response->map_info);
	} else if (resource->unmap_request == 0) {
		pv_gpu_hide_resource(gpu, resource->id);
		pv_gpu_drop_mapped_frame(resource);
		release_range(gpu, resource);
	}
}

/* An unmap has ended, and with it an UNREF that waits for it: either by this request itself or by a later one. */
static void finish_unmap(struct pv_gpu *gpu, struct pv_gpu_resource *resource, const struct pv_gpu_request *request)
{
	uint64_t unref_request = resource->unref_request;

	release_range(gpu, resource);
	if (unref_request == 0)
		return;
	pv_gpu_destroy_resource(gpu, resource->id);
	if (unref_request == request->id)
		return;
	struct pv_gpu_request *unref = pv_gpu_find_request(gpu, unref_request);
	if (!unref)
		return;
	struct pv_gpu_response response;
	response.type = PV_GPU_RESP_OK_NODATA;
	response.payload_len = 0;
	pv_gpu_finish_request(gpu, unref, &response);
}

void pv_gpu_finish_op(struct pv_gpu *gpu, struct pv_gpu_request *request, enum pv_status status,
		      struct pv_gpu_response *response)
{
	struct pv_gpu_resource *resource = pv_id_map_get(&gpu->resources, request->resource_id);

	if (request->created_context_id && status != PV_OK) {
		const struct pv_gpu_context *context = pv_id_map_get(&gpu->contexts, request->created_context_id);

		if (context && context->serial == request->created_context_serial)
			forget_context(gpu, context->id);
	}
	/* The guest ended the context, so it asks for no result; Linux would log an error for each killed process. */
	if (request->hdr.type == PV_GPU_CMD_SUBMIT_3D && !pv_id_map_get(&gpu->contexts, request->hdr.ctx_id))
		response->type = PV_GPU_RESP_OK_NODATA;
	if (!resource)
		return;
	if (request->hdr.type == PV_GPU_CMD_RESOURCE_FLUSH) {
		if (status == PV_OK)
			pv_gpu_flush_scanouts(gpu, resource->id, &request->flush_rect);
	} else if (resource->unmap_request == request->id) {
		/* It cannot fail, whatever the renderer says: the range is the window's again. */
		response->type = PV_GPU_RESP_OK_NODATA;
		finish_unmap(gpu, resource, request);
	} else if (resource->map_request == request->id) {
		finish_map(gpu, resource, status, response);
	} else if (resource->create_request == request->id) {
		resource->create_request = 0;
		if (status != PV_OK)
			pv_gpu_destroy_resource(gpu, resource->id);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * The table of src/gpu/renderer.h: each op becomes a message and, if somebody waits for it, something pending. What
 * must be answered at once is known here: capability sets from the start, pictures because their memory is ours.
 */
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "base/socket.h"
#include "gpu/protocol.h"
#include "worker/client_internal.h"

static void drop_frame(struct pv_worker_resource *resource);

/* ---- Ops: resources ---- */

static enum pv_status resource_create(struct pv_renderer *renderer, uint64_t op_id, const struct pv_resource_info *info)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_resource_create *message;
	struct pv_worker_resource *resource;
	uint64_t token;
	enum pv_status status;

	if (client->state == PV_WORKER_DOWN)
		return PV_ERR_HOST;
	resource = calloc(1, sizeof(*resource));
	if (!resource)
		return PV_ERR_NO_MEMORY;
	resource->id = info->id;
	resource->epoch = client->epoch;
	resource->client = client;
	resource->info = *info;
	status = pv_id_map_add(&client->resources, info->id, resource);
	if (status != PV_OK) {
		free(resource);
		return status;
	}
	status = pv_worker_client_begin(
	    client, (struct pv_worker_pending){.kind = PV_WORKER_PENDING_CREATE, .id = op_id, .ctx_id = info->ctx_id},
	    PV_WORKER_RESOURCE_CREATE, sizeof(*message), (void **)&message, &token);
	if (status != PV_PENDING) {
		free(pv_id_map_remove(&client->resources, info->id));
		return status;
	}
	if (message) {
		message->token = token;
		message->info = *info;
	}
	return status;
}

static void free_resource(struct pv_worker_resource *resource)
{
	drop_frame(resource);
	free(resource);
}

static void resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_resource *resource = pv_id_map_remove(&client->resources, resource_id);

	if (!resource)
		return;
	if (pv_worker_client_is_current(client, resource->epoch))
		pv_worker_client_send_ids(client, PV_WORKER_RESOURCE_DESTROY,
					  (struct pv_worker_ids){.resource_id = resource_id});
	free_resource(resource);
}

static enum pv_status attach_backing(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_guest_span *spans, size_t nr_spans)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_resource *resource = pv_worker_client_resource(client, resource_id);
	struct pv_worker_attach_backing *message;
	size_t len = nr_spans * sizeof(*spans);
	uint64_t token;
	enum pv_status status;

	if (!resource)
		return PV_ERR_HOST;
	if (!pv_worker_client_reads_memory(client))
		return PV_OK;
	status = pv_worker_client_begin(
	    client,
	    (struct pv_worker_pending){.kind = PV_WORKER_PENDING_OP, .id = op_id, .ctx_id = resource->info.ctx_id},
	    PV_WORKER_ATTACH_BACKING, sizeof(*message) + len, (void **)&message, &token);
	if (status == PV_PENDING && message) {
		message->token = token;
		message->resource_id = resource_id;
		message->nr_spans = (uint32_t)nr_spans;
		if (len)
			memcpy(message->spans, spans, len);
	}
	return status;
}

static void detach_backing(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);

	if (pv_worker_client_resource(client, resource_id) && pv_worker_client_reads_memory(client))
		pv_worker_client_send_ids(client, PV_WORKER_DETACH_BACKING,
					  (struct pv_worker_ids){.resource_id = resource_id});
}

static enum pv_status transfer_to_host(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer *transfer)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_transfer *message;
	uint64_t token;
	enum pv_status status;

	if (!pv_worker_client_resource(client, transfer->resource_id))
		return PV_ERR_HOST;
	status = pv_worker_client_begin(client, (struct pv_worker_pending){.kind = PV_WORKER_PENDING_OP, .id = op_id},
					PV_WORKER_TRANSFER, sizeof(*message), (void **)&message, &token);
	if (status == PV_PENDING && message)
		*message = (struct pv_worker_transfer){.token = token, .transfer = *transfer};
	return status;
}

static enum pv_status transfer_3d(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer_3d *transfer)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_transfer_3d *message;
	uint64_t token;
	enum pv_status status;

	if (!pv_worker_client_resource(client, transfer->resource_id))
		return PV_ERR_HOST;
	status = pv_worker_client_begin(
	    client, (struct pv_worker_pending){.kind = PV_WORKER_PENDING_OP, .id = op_id, .ctx_id = transfer->ctx_id},
	    PV_WORKER_TRANSFER_3D, sizeof(*message), (void **)&message, &token);
	if (status == PV_PENDING && message) {
		message->token = token;
		message->transfer = *transfer;
	}
	return status;
}

/* ---- Ops: pictures ---- */

static bool send_fetch(struct pv_worker_resource *resource, uint64_t token, const struct pv_rect *rect,
		       struct pv_worker_fetch_frame *message)
{
	if (message)
		*message = (struct pv_worker_fetch_frame){
		    .token = token, .resource_id = resource->id, .is_unflushed = resource->is_unflushed, .rect = *rect};
	pv_worker_client_flush(resource->client);
	return true;
}

static bool fetch(struct pv_frame *frame, const struct pv_rect *stale)
{
	struct pv_worker_resource *resource = frame->refresh_user;
	struct pv_worker_fetch_frame *message;
	uint64_t token;

	if (!pv_worker_client_is_current(resource->client, resource->epoch) ||
	    pv_worker_client_begin(
		resource->client,
		(struct pv_worker_pending){.kind = PV_WORKER_PENDING_FETCH, .resource_id = resource->id},
		PV_WORKER_FETCH_FRAME, sizeof(*message), (void **)&message, &token) != PV_PENDING)
		return false;
	resource->fetch_token = token;
	return send_fetch(resource, token, stale, message);
}

/* Who asks has the picture a little later, even if the resource goes now. */
static void refresh(struct pv_frame *frame, const struct pv_rect *stale)
{
	struct pv_worker_resource *resource = frame->refresh_user;

	if (pv_worker_client_is_current(resource->client, resource->epoch))
		(void)send_fetch(resource, 0, stale,
				 pv_worker_client_put(resource->client, PV_WORKER_FETCH_FRAME,
						      sizeof(struct pv_worker_fetch_frame), -1));
}

void pv_worker_resource_flushed(struct pv_worker_resource *resource, const struct pv_rect *rect)
{
	struct pv_rect whole, inside;

	if (!resource->frame)
		return;
	whole = (struct pv_rect){.width = resource->frame->width, .height = resource->frame->height};
	inside = pv_rect_intersect(rect, &whole);
	resource->frame->stale = pv_rect_union(&resource->frame->stale, &inside);
	resource->is_unflushed = false;
}

static void drop_frame(struct pv_worker_resource *resource)
{
	struct pv_frame *frame = resource->frame;

	if (!frame)
		return;
	resource->frame = NULL;
	if (frame->dma_buf)
		resource->client->nr_dma_bufs--;
	pv_frame_let_go(frame);
	pv_frame_unref(frame);
}

/* Its memory is ours, so that it outlives the worker, and shared with it. */
static enum pv_status make_frame(struct pv_worker_client *client, struct pv_worker_resource *resource,
				 const struct pv_blob_layout *layout)
{
	uint32_t width = layout ? layout->width : resource->info.width;
	uint32_t height = layout ? layout->height : resource->info.height;
	uint32_t format = layout ? layout->format : resource->info.format;
	struct pv_worker_frame *message;
	struct pv_frame *frame;
	enum pv_status status;
	int fd;

	if (width == 0 || height == 0 || width > PV_FRAME_MAX_SIDE || height > PV_FRAME_MAX_SIDE ||
	    !pv_gpu_format_to_pixman(format))
		return PV_ERR_GUEST;
	status = pv_shm_create("pv-frame", (uint64_t)width * height * 4, &fd);
	if (status != PV_OK)
		return status;
	pv_shm_keep_size(fd);
	format = pv_gpu_format_plain(format);
	status = pv_frame_create_mapped(fd, 0, width, height, width * 4, format, &frame);
	message = status == PV_OK ? pv_worker_client_put(client, PV_WORKER_FRAME, sizeof(*message), fd) : NULL;
	pv_fd_close(&fd);
	if (status != PV_OK)
		return status;
	if (message)
		*message = (struct pv_worker_frame){.resource_id = resource->id,
						    .width = width,
						    .height = height,
						    .format = format,
						    .number = ++client->nr_frames};
	drop_frame(resource);
	resource->frame_number = client->nr_frames;
	frame->fetch = fetch;
	frame->refresh = refresh;
	frame->refresh_user = resource;
	resource->frame = frame;
	return PV_OK;
}

static enum pv_status get_frame(struct pv_renderer *renderer, uint32_t resource_id, const struct pv_blob_layout *layout,
				struct pv_frame **out)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_resource *resource = pv_worker_client_resource(client, resource_id);
	enum pv_status status = PV_OK;

	if (!resource)
		return PV_ERR_HOST;
	if (!resource->frame || layout)
		status = make_frame(client, resource, layout);
	if (status != PV_OK)
		return status;
	/* It is shown from now on, though it may not be flushed yet. */
	resource->is_unflushed = true;
	resource->frame->stale = (struct pv_rect){.width = resource->frame->width, .height = resource->frame->height};
	*out = pv_frame_ref(resource->frame);
	return PV_OK;
}

static enum pv_status update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				   const struct pv_rect *rect)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_update_frame *message;
	uint64_t token;
	enum pv_status status;

	if (!pv_worker_client_resource(client, resource_id))
		return PV_ERR_HOST;
	status = pv_worker_client_begin(
	    client,
	    (struct pv_worker_pending){
		.kind = PV_WORKER_PENDING_FLUSH, .id = op_id, .resource_id = resource_id, .rect = *rect},
	    PV_WORKER_UPDATE_FRAME, sizeof(*message), (void **)&message, &token);
	if (status == PV_PENDING && message)
		*message = (struct pv_worker_update_frame){.token = token, .resource_id = resource_id, .rect = *rect};
	return status;
}

/* ---- Ops: contexts ---- */

static enum pv_status context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, uint32_t capset_id,
				     const char *name)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_context_create *message;
	struct pv_worker_context *context;
	uint64_t token;
	enum pv_status status;

	if (client->state == PV_WORKER_DOWN)
		return PV_ERR_HOST;
	context = calloc(1, sizeof(*context));
	if (!context)
		return PV_ERR_NO_MEMORY;
	*context = (struct pv_worker_context){
	    .id = ctx_id, .epoch = client->epoch, .since_serial = client->pending.next_serial};
	status = pv_id_map_add(&client->contexts, ctx_id, context);
	if (status != PV_OK) {
		free(context);
		return status;
	}
	status = pv_worker_client_begin(
	    client, (struct pv_worker_pending){.kind = PV_WORKER_PENDING_OP, .id = op_id, .ctx_id = ctx_id},
	    PV_WORKER_CONTEXT_CREATE, sizeof(*message), (void **)&message, &token);
	if (status != PV_PENDING) {
		free(pv_id_map_remove(&client->contexts, ctx_id));
		return status;
	}
	if (message) {
		message->token = token;
		message->ctx_id = ctx_id;
		message->capset_id = capset_id;
		memcpy(message->name, name, strnlen(name, sizeof(message->name) - 1));
	}
	return status;
}

static bool ends_with_context(const struct pv_worker_pending *pending, uint32_t ctx_id)
{
	return pending->ctx_id == ctx_id &&
	       (pending->kind == PV_WORKER_PENDING_OP || pending->kind == PV_WORKER_PENDING_CREATE);
}

static void context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_context *context = pv_id_map_remove(&client->contexts, ctx_id);
	uint32_t index = client->pending.first, last_serial = client->pending.next_serial;

	if (!context)
		return;
	if (pv_worker_client_is_current(client, context->epoch))
		pv_worker_client_send_ids(client, PV_WORKER_CONTEXT_DESTROY, (struct pv_worker_ids){.ctx_id = ctx_id});
	free(context);
	/* Each answer can change the list, but what it adds has another serial. */
	while (index != PV_WORKER_NONE) {
		struct pv_worker_pending *pending = &client->pending.entries[index];
		uint32_t next = pending->next;

		if (ends_with_context(pending, ctx_id) && (int32_t)(last_serial - pending->serial) >= 0) {
			pv_worker_client_answer(client, index, PV_ERR_GUEST);
			next = client->pending.first;
		}
		index = next;
	}
}

static enum pv_status context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
				     uint32_t resource_id)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_ids *message;
	uint64_t token;
	enum pv_status status;

	if (!pv_worker_client_context(client, ctx_id) || !pv_worker_client_resource(client, resource_id))
		return PV_ERR_HOST;
	status = pv_worker_client_begin(
	    client, (struct pv_worker_pending){.kind = PV_WORKER_PENDING_OP, .id = op_id, .ctx_id = ctx_id},
	    PV_WORKER_CONTEXT_ATTACH, sizeof(*message), (void **)&message, &token);
	if (status == PV_PENDING && message)
		*message = (struct pv_worker_ids){.token = token, .ctx_id = ctx_id, .resource_id = resource_id};
	return status;
}

static void context_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);

	if (!pv_worker_client_context(client, ctx_id) || !pv_worker_client_resource(client, resource_id))
		return;
	pv_worker_client_asked(client, ctx_id);
	pv_worker_client_send_ids(client, PV_WORKER_CONTEXT_DETACH,
				  (struct pv_worker_ids){.ctx_id = ctx_id, .resource_id = resource_id});
}

static enum pv_status submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
			     size_t len_bytes)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_submit *message;
	uint64_t token;
	enum pv_status status;

	if (!pv_worker_client_context(client, ctx_id))
		return PV_ERR_GUEST;
	/* For the sake of its fence. */
	if (len_bytes == 0)
		return PV_OK;
	status = pv_worker_client_begin(
	    client, (struct pv_worker_pending){.kind = PV_WORKER_PENDING_OP, .id = op_id, .ctx_id = ctx_id},
	    PV_WORKER_SUBMIT, sizeof(*message) + len_bytes, (void **)&message, &token);
	if (status == PV_PENDING && message) {
		message->token = token;
		message->ctx_id = ctx_id;
		message->len_bytes = (uint32_t)len_bytes;
		memcpy(message->commands, commands, len_bytes);
	}
	return status;
}

static void create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	const struct pv_worker_context *context = pv_worker_client_context(client, ctx_id);
	bool settled = context && ring_idx == 0 && context->settled == context->asked;
	uint64_t token = 0;

	if (context && !settled)
		token = pv_worker_client_add_pending(
		    client, (struct pv_worker_pending){.kind = ring_idx == 0 ? PV_WORKER_PENDING_OWN_FENCE
									     : PV_WORKER_PENDING_FENCE,
						       .id = fence_id,
						       .ctx_id = ctx_id,
						       .asked = context->asked});
	/* Nothing to wait for. Of a context that is gone, or out of memory: early rather than never. */
	if (!token) {
		client->base.events.fence_signalled(client->base.events.user, fence_id);
		return;
	}
	pv_worker_client_send_ids(client, PV_WORKER_FENCE,
				  (struct pv_worker_ids){.token = token, .ctx_id = ctx_id, .ring_idx = ring_idx});
}

static uint64_t context_memory_bytes(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_context *context = pv_worker_client_context(client, ctx_id);

	if (!context)
		return 0;
	/* Known by the next time. */
	pv_worker_client_send_ids(client, PV_WORKER_GET_MEMORY_BYTES, (struct pv_worker_ids){.ctx_id = ctx_id});
	pv_worker_client_flush(client);
	return context->memory_bytes;
}

/* ---- Ops: the window ---- */

static enum pv_status set_window(struct pv_renderer *renderer, int fd, uint64_t size_bytes)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);

	client->window_fd = fd;
	client->window_bytes = size_bytes;
	pv_worker_client_send_window(client);
	pv_worker_client_flush(client);
	return PV_OK;
}

static enum pv_status blob_export(struct pv_renderer *renderer, uint32_t resource_id, int *out_fd)
{
	(void)renderer, (void)resource_id, (void)out_fd;
	return PV_ERR_UNSUPPORTED;
}

static enum pv_status blob_map(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
			       uint64_t offset_bytes)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_resource *resource = pv_worker_client_resource(client, resource_id);
	struct pv_worker_blob_map *message;
	uint64_t token;
	enum pv_status status;

	if (!resource)
		return PV_ERR_HOST;
	if (client->window_fd < 0 || !pv_range_fits(offset_bytes, resource->info.size_bytes, client->window_bytes))
		return PV_ERR_GUEST;
	pv_worker_client_asked(client, resource->info.ctx_id);
	status = pv_worker_client_begin(
	    client, (struct pv_worker_pending){.kind = PV_WORKER_PENDING_MAP, .id = op_id, .resource_id = resource_id},
	    PV_WORKER_BLOB_MAP, sizeof(*message), (void **)&message, &token);
	if (status != PV_PENDING)
		return status;
	resource->mapped = true;
	resource->map_offset = offset_bytes;
	resource->map_token = token;
	if (message)
		*message = (struct pv_worker_blob_map){
		    .token = token, .resource_id = resource_id, .offset_bytes = offset_bytes};
	return status;
}

static enum pv_status blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_resource *resource = pv_id_map_get(&client->resources, resource_id);
	uint64_t token = 0;
	bool is_current;

	/* An unmap that is pending does not empty the range, which the core gives away now. */
	if (!resource || (!resource->mapped && op_id != 0))
		return PV_OK;
	/* Else the process that had it in use is gone. */
	is_current = pv_worker_client_is_current(client, resource->epoch);
	if (is_current && op_id != 0) {
		token = pv_worker_client_add_pending(client, (struct pv_worker_pending){.kind = PV_WORKER_PENDING_UNMAP,
											.id = op_id,
											.resource_id = resource_id});
		if (!token)
			return PV_ERR_NO_MEMORY;
	}
	resource->mapped = false;
	if (is_current && pv_worker_client_can_send(client))
		pv_worker_client_send_ids(client, PV_WORKER_BLOB_UNMAP,
					  (struct pv_worker_ids){.token = token, .resource_id = resource_id});
	else if (op_id == 0)
		pv_shm_punch(client->window_fd, resource->map_offset, resource->info.size_bytes);
	return token ? PV_PENDING : PV_OK;
}

/* ---- Ops: the whole ---- */

static bool capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	const struct pv_worker_client *client = pv_worker_client_of(renderer);

	for (size_t i = 0; i < client->nr_capsets; i++) {
		/* Each has a version 0. */
		if (client->capsets[i].version != 0 || index-- != 0)
			continue;
		*out = client->capsets[i].info;
		return true;
	}
	return false;
}

static enum pv_status capset(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
			     size_t *len_bytes)
{
	const struct pv_worker_client *client = pv_worker_client_of(renderer);

	for (size_t i = 0; i < client->nr_capsets; i++) {
		const struct pv_worker_known_capset *known = &client->capsets[i];

		if (known->info.id != capset_id || known->version != version)
			continue;
		*len_bytes = pv_min_u64(*len_bytes, known->len_bytes);
		memcpy(buf, known->bytes, *len_bytes);
		return PV_OK;
	}
	return PV_ERR_GUEST;
}

static void set_guest_map(struct pv_renderer *renderer, struct pv_guest_map *map)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);

	if (map)
		pv_guest_map_ref(map);
	pv_guest_map_unref(client->map);
	client->map = map;
	if (pv_worker_client_reads_memory(client))
		pv_worker_client_send_memory(client);
}

static void finish_batch(struct pv_renderer *renderer)
{
	pv_worker_client_flush(pv_worker_client_of(renderer));
}

static void reset(struct pv_renderer *renderer)
{
	struct pv_worker_client *client = pv_worker_client_of(renderer);
	struct pv_worker_resource *resource;
	struct pv_worker_context *context;
	uint32_t cursor = 0;

	while (client->pending.first != PV_WORKER_NONE)
		(void)pv_worker_pendings_remove(&client->pending, client->pending.first);
	if (pv_worker_client_can_send(client))
		(void)pv_worker_client_put(client, PV_WORKER_RESET, 0, -1);
	while ((context = pv_id_map_any(&client->contexts, &cursor)))
		free(pv_id_map_remove(&client->contexts, context->id));
	cursor = 0;
	while ((resource = pv_id_map_any(&client->resources, &cursor)))
		free_resource(pv_id_map_remove(&client->resources, resource->id));
	pv_worker_client_flush(client);
}

static void destroy(struct pv_renderer *renderer)
{
	reset(renderer);
	pv_worker_client_destroy(pv_worker_client_of(renderer));
}

#define OPS                                                                                                            \
	.name = "worker", .destroy = destroy, .set_guest_map = set_guest_map, .resource_create = resource_create,      \
	.resource_destroy = resource_destroy, .attach_backing = attach_backing, .detach_backing = detach_backing,      \
	.transfer_to_host = transfer_to_host, .get_frame = get_frame, .update_frame = update_frame,                    \
	.create_fence = create_fence, .finish_batch = finish_batch, .reset = reset, .set_window = set_window,          \
	.capset_info = capset_info, .capset = capset, .context_create = context_create,                                \
	.context_destroy = context_destroy, .context_attach = context_attach, .context_detach = context_detach,        \
	.submit = submit, .blob_export = blob_export, .blob_map = blob_map, .blob_unmap = blob_unmap,                  \
	.context_memory_bytes = context_memory_bytes

const struct pv_renderer_ops pv_worker_client_ops = {OPS};
const struct pv_renderer_ops pv_worker_client_opengl_ops = {OPS, .transfer_3d = transfer_3d};

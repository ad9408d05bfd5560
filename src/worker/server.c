/* SPDX-License-Identifier: MIT */
/*
 * Tokens are the op ids and fence ids of the renderer. Answers are gathered while messages are worked off, and sent
 * with one system call after them; what comes later, from a thread of the renderer's, is sent at once.
 */
#include "worker/server.h"

#include <stdlib.h>
#include <string.h>

#include "base/id_map.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/pages.h"
#include "base/socket.h"
#include "worker/channel.h"

#define MODULE "worker"

#define MAX_QUEUE_BYTES (64u << 20)
#define MAX_READS       16

/* A picture that the device shows. */
struct shown {
	struct server *server;
	uint32_t resource_id;
	struct pv_frame *frame; /* counted; in the device's memory */
	struct pv_frame_waiter waiter;
	uint64_t token; /* of what it waits for */
};

struct server {
	struct pv_loop *loop;
	const struct pv_worker_maker *maker;
	struct pv_worker_channel channel;
	struct pv_loop_fd *watch;
	bool receiving; /* answers are gathered */
	bool stopping;
	enum pv_status status;

	struct pv_renderer *renderer;   /* NULL: before HELLO */
	int window_fd;                  /* owned; -1: none */
	int files[PV_WORKER_MAX_FILES]; /* owned: of the next map */
	size_t nr_files;
	struct pv_id_map shown;
};

static void stop(struct server *server, enum pv_status status)
{
	if (server->stopping)
		return;
	server->stopping = true;
	server->status = status;
	pv_loop_stop(server->loop);
}

/* ---- Answers ---- */

static void flush(struct server *server)
{
	enum pv_status status = pv_worker_channel_flush(&server->channel);

	if (status != PV_OK && status != PV_PENDING) {
		stop(server, PV_OK);
		return;
	}
	pv_loop_set_events(server->watch, status == PV_PENDING ? PV_LOOP_READ | PV_LOOP_WRITE : PV_LOOP_READ);
	if (pv_worker_channel_pending_bytes(&server->channel) > MAX_QUEUE_BYTES)
		stop(server, PV_ERR_PEER);
}

static void *put(struct server *server, enum pv_worker_event type, size_t len)
{
	void *message = pv_worker_channel_put(&server->channel, (uint16_t)type, len, -1);

	if (!message)
		stop(server, PV_ERR_NO_MEMORY);
	return message;
}

static void sent(struct server *server)
{
	if (!server->receiving)
		flush(server);
}

static void answer(struct server *server, uint64_t token, enum pv_status status)
{
	struct pv_worker_done *done;

	if (status == PV_PENDING || token == 0)
		return;
	done = put(server, PV_WORKER_DONE, sizeof(*done));
	if (done)
		*done = (struct pv_worker_done){.token = token, .status = status};
	sent(server);
}

/* ---- Pictures ---- */

static void fetched(struct pv_frame_waiter *waiter)
{
	struct shown *shown = PV_CONTAINER_OF(waiter, struct shown, waiter);

	answer(shown->server, shown->token, PV_OK);
}

static void forget_shown(struct server *server, uint32_t resource_id)
{
	struct shown *shown = pv_id_map_remove(&server->shown, resource_id);

	if (!shown)
		return;
	if (shown->waiter.frame) {
		pv_frame_stop_waiting(&shown->waiter);
		fetched(&shown->waiter);
	}
	pv_frame_unref(shown->frame);
	free(shown);
}

static void tell_dma_buf(struct server *server, const struct pv_worker_frame *message, const struct pv_frame *frame)
{
	const struct pv_dma_buf *buf = frame->dma_buf;
	struct pv_worker_dma_buf *event;

	if (!buf)
		return;
	event = pv_worker_channel_put(&server->channel, PV_WORKER_DMA_BUF, sizeof(*event), buf->fd);
	/* Else its pixels are shown. */
	if (event)
		*event = (struct pv_worker_dma_buf){.resource_id = message->resource_id,
						    .frame_number = message->number,
						    .stride_bytes = buf->stride_bytes,
						    .fourcc = buf->fourcc,
						    .modifier = buf->modifier,
						    .y_0_top = buf->y_0_top};
	sent(server);
}

static enum pv_status show(struct server *server, const struct pv_worker_frame *message, int fd)
{
	struct pv_renderer *r = server->renderer;
	struct pv_frame *frame;
	struct shown *shown;
	enum pv_status status;

	forget_shown(server, message->resource_id);
	if (message->resource_id == 0 || message->width > PV_FRAME_MAX_SIDE || message->height > PV_FRAME_MAX_SIDE)
		return PV_ERR_PEER;
	status =
	    pv_frame_create_mapped(fd, 0, message->width, message->height, message->width * 4, message->format, &frame);
	if (status != PV_OK)
		return status == PV_ERR_GUEST ? PV_ERR_PEER : PV_OK;
	shown = calloc(1, sizeof(*shown));
	/* Else it stays as it is. */
	if (shown && r->ops->set_frame && r->ops->set_frame(r, message->resource_id, frame) == PV_OK) {
		*shown = (struct shown){.server = server,
					.resource_id = message->resource_id,
					.frame = pv_frame_ref(frame),
					.waiter.ready = fetched};
		tell_dma_buf(server, message, frame);
		if (pv_id_map_add(&server->shown, shown->resource_id, shown) == PV_OK)
			shown = NULL;
		else
			pv_frame_unref(frame);
	}
	free(shown);
	pv_frame_unref(frame);
	return PV_OK;
}

static void fetch_frame(struct server *server, const struct pv_worker_fetch_frame *message)
{
	struct shown *shown = pv_id_map_get(&server->shown, message->resource_id);
	struct pv_renderer *r = server->renderer;
	struct pv_rect whole, inside;
	struct pv_frame *again;

	/* One that waits is enough. */
	if (!shown || (shown->waiter.frame && message->token != 0)) {
		answer(server, message->token, PV_OK);
		return;
	}
	whole = (struct pv_rect){.width = shown->frame->width, .height = shown->frame->height};
	inside = pv_rect_intersect(&message->rect, &whole);
	shown->frame->stale = pv_rect_union(&shown->frame->stale, &inside);
	if (message->is_unflushed && r->ops->get_frame(r, shown->resource_id, NULL, &again) == PV_OK)
		pv_frame_unref(again);
	if (message->token == 0) {
		pv_frame_refresh(shown->frame);
		return;
	}
	shown->token = message->token;
	if (pv_frame_fetch(shown->frame, &shown->waiter))
		answer(server, message->token, PV_OK);
}

static void forget_all_shown(struct server *server)
{
	const struct shown *shown;
	uint32_t cursor = 0;

	while ((shown = pv_id_map_any(&server->shown, &cursor)))
		forget_shown(server, shown->resource_id);
}

/* ---- Events ---- */

static void op_done(void *user, uint64_t token, enum pv_status status)
{
	answer(user, token, status);
}

static void fence_signalled(void *user, uint64_t token)
{
	answer(user, token, PV_OK);
}

static void last_word(void *user, uint32_t resource_id, uint64_t offset_bytes, uint32_t bits)
{
	struct server *server = user;
	struct pv_worker_last_word *message = put(server, PV_WORKER_LAST_WORD, sizeof(*message));

	if (message)
		*message = (struct pv_worker_last_word){resource_id, bits, offset_bytes};
	sent(server);
}

/* ---- The beginning ---- */

static void send_capset(struct server *server, const struct pv_capset_info *info, uint32_t version)
{
	struct pv_renderer *r = server->renderer;
	uint8_t bytes[PV_WORKER_MAX_CAPSET_BYTES] = {0};
	struct pv_worker_capset *message;
	size_t len = sizeof(bytes);

	if (r->ops->capset(r, info->id, version, bytes, &len) != PV_OK)
		return;
	message = put(server, PV_WORKER_CAPSET, sizeof(*message) + len);
	if (!message)
		return;
	message->info = *info;
	message->version = version;
	message->len_bytes = (uint32_t)len;
	memcpy(message->bytes, bytes, len);
}

static void send_ready(struct server *server, enum pv_status status, const struct pv_worker_ready *ready)
{
	struct pv_worker_ready *message;
	struct pv_capset_info info;

	for (uint32_t i = 0; server->renderer && i < PV_WORKER_MAX_CAPSETS; i++) {
		if (!server->renderer->ops->capset_info(server->renderer, i, &info))
			break;
		for (uint32_t version = 0; version <= info.max_version && version < PV_WORKER_MAX_VERSIONS; version++)
			send_capset(server, &info, version);
	}
	message = put(server, PV_WORKER_READY, sizeof(*message));
	if (!message)
		return;
	*message = *ready;
	message->version = PV_WORKER_VERSION;
	message->status = status;
}

static bool ends_with_zero(const char *text)
{
	return memchr(text, 0, PV_WORKER_NAME_BYTES) != NULL;
}

static enum pv_status hello(struct server *server, const struct pv_worker_hello *message)
{
	struct pv_worker_ready ready = {0};
	enum pv_status status;

	if (server->renderer || !ends_with_zero(message->renderers) || !ends_with_zero(message->vulkan_device) ||
	    !ends_with_zero(message->render_node))
		return PV_ERR_PEER;
	status = message->version == PV_WORKER_VERSION
		     ? server->maker->make(server->maker->user, message, &server->renderer, &ready)
		     : PV_ERR_PEER;
	if (status == PV_OK)
		server->renderer->events = (struct pv_renderer_events){
		    .op_done = op_done, .fence_signalled = fence_signalled, .last_word = last_word, .user = server};
	send_ready(server, status, &ready);
	if (status != PV_OK)
		stop(server, status);
	return PV_OK;
}

static enum pv_status set_window(struct server *server, const struct pv_worker_window *message, int take_fd)
{
	struct pv_renderer *r = server->renderer;

	if (server->window_fd >= 0) {
		pv_fd_close(&take_fd);
		return PV_ERR_PEER;
	}
	server->window_fd = take_fd;
	if (!r->ops->set_window)
		return PV_OK;
	return r->ops->set_window(r, take_fd, message->size_bytes);
}

/* ---- Guest memory ---- */

static enum pv_status take_file(struct server *server, int take_fd)
{
	if (server->nr_files == PV_WORKER_MAX_FILES) {
		pv_fd_close(&take_fd);
		return PV_ERR_PEER;
	}
	server->files[server->nr_files++] = take_fd;
	return PV_OK;
}

static enum pv_status make_map(const struct pv_worker_memory *message, struct pv_guest_file *const *files,
			       size_t nr_files, struct pv_guest_map **out)
{
	struct pv_guest_region *regions[PV_GUEST_MAX_REGIONS] = {0};
	enum pv_status status = PV_OK;
	size_t n = 0;

	for (; n < message->nr_parts && status == PV_OK; n += status == PV_OK) {
		const struct pv_guest_part *part = &message->parts[n];
		struct pv_guest_region_params params = {.guest_addr = part->guest_addr,
							.size_bytes = part->size_bytes,
							.fd = -1,
							.fd_offset = part->offset_bytes};

		if (part->file >= nr_files)
			status = PV_ERR_PEER;
		else
			params.file = files[part->file];
		if (status == PV_OK)
			status = pv_guest_region_create(&params, &regions[n]);
	}
	if (status == PV_OK)
		status = pv_guest_map_create(regions, n, out);
	while (n > 0)
		pv_guest_region_unref(regions[--n]);
	return status;
}

static enum pv_status set_memory(struct server *server, const struct pv_worker_memory *message)
{
	struct pv_guest_file *files[PV_WORKER_MAX_FILES];
	enum pv_status status = PV_OK;
	struct pv_guest_map *map = NULL;
	size_t n = 0;

	for (; n < server->nr_files && status == PV_OK; n += status == PV_OK)
		status = pv_guest_file_create(server->files[n], &files[n]);
	if (status == PV_OK)
		status = make_map(message, files, n, &map);
	if (status == PV_OK)
		server->renderer->ops->set_guest_map(server->renderer, map);
	pv_guest_map_unref(map);
	while (n > 0)
		pv_guest_file_unref(files[--n]);
	while (server->nr_files > 0)
		pv_fd_close(&server->files[--server->nr_files]);
	return status;
}

/* ---- Ops ---- */

static void send_memory_bytes(struct server *server, uint32_t ctx_id)
{
	struct pv_renderer *r = server->renderer;
	struct pv_worker_memory_bytes *message = put(server, PV_WORKER_MEMORY_BYTES, sizeof(*message));

	if (message)
		*message = (struct pv_worker_memory_bytes){
		    .ctx_id = ctx_id,
		    .size_bytes = r->ops->context_memory_bytes ? r->ops->context_memory_bytes(r, ctx_id) : 0};
}

static void do_ids(struct server *server, uint16_t type, const struct pv_worker_ids *ids)
{
	struct pv_renderer *r = server->renderer;

	switch (type) {
	case PV_WORKER_RESOURCE_DESTROY:
		forget_shown(server, ids->resource_id);
		r->ops->resource_destroy(r, ids->resource_id);
		break;
	case PV_WORKER_DETACH_BACKING:
		r->ops->detach_backing(r, ids->resource_id);
		break;
	case PV_WORKER_FENCE:
		r->ops->create_fence(r, ids->token, ids->ctx_id, ids->ring_idx);
		break;
	case PV_WORKER_CONTEXT_DESTROY:
		r->ops->context_destroy(r, ids->ctx_id);
		break;
	case PV_WORKER_CONTEXT_ATTACH:
		answer(server, ids->token, r->ops->context_attach(r, ids->token, ids->ctx_id, ids->resource_id));
		break;
	case PV_WORKER_BLOB_UNMAP:
		answer(server, ids->token, r->ops->blob_unmap(r, ids->token, ids->resource_id));
		break;
	case PV_WORKER_CONTEXT_DETACH:
		r->ops->context_detach(r, ids->ctx_id, ids->resource_id);
		break;
	default:
		send_memory_bytes(server, ids->ctx_id);
		break;
	}
}

static enum pv_status create_context(struct server *server, const struct pv_worker_context_create *message)
{
	struct pv_renderer *r = server->renderer;

	if (!memchr(message->name, 0, sizeof(message->name)))
		return PV_ERR_PEER;
	answer(server, message->token,
	       r->ops->context_create(r, message->token, message->ctx_id, message->capset_id, message->name));
	return PV_OK;
}

/* Its size fits to its type. */
static enum pv_status do_message(struct server *server, const struct pv_worker_message *message)
{
	struct pv_renderer *r = server->renderer;
	const void *payload = message->payload;

	switch (message->type) {
	case PV_WORKER_WINDOW:
		return set_window(server, payload, pv_worker_channel_take_fd(&server->channel));
	case PV_WORKER_FILE:
		return take_file(server, pv_worker_channel_take_fd(&server->channel));
	case PV_WORKER_MEMORY:
		return set_memory(server, payload);
	case PV_WORKER_RESOURCE_CREATE: {
		const struct pv_worker_resource_create *m = payload;

		answer(server, m->token, r->ops->resource_create(r, m->token, &m->info));
		return PV_OK;
	}
	case PV_WORKER_ATTACH_BACKING: {
		const struct pv_worker_attach_backing *m = payload;

		answer(server, m->token, r->ops->attach_backing(r, m->token, m->resource_id, m->spans, m->nr_spans));
		return PV_OK;
	}
	case PV_WORKER_TRANSFER: {
		const struct pv_worker_transfer *m = payload;

		answer(server, m->token, r->ops->transfer_to_host(r, m->token, &m->transfer));
		return PV_OK;
	}
	case PV_WORKER_TRANSFER_3D: {
		const struct pv_worker_transfer_3d *m = payload;

		answer(server, m->token,
		       r->ops->transfer_3d ? r->ops->transfer_3d(r, m->token, &m->transfer) : PV_ERR_UNSUPPORTED);
		return PV_OK;
	}
	case PV_WORKER_FRAME: {
		int fd = pv_worker_channel_take_fd(&server->channel);
		enum pv_status status = show(server, payload, fd);

		pv_fd_close(&fd);
		return status;
	}
	case PV_WORKER_UPDATE_FRAME: {
		const struct pv_worker_update_frame *m = payload;

		answer(server, m->token, r->ops->update_frame(r, m->token, m->resource_id, &m->rect));
		return PV_OK;
	}
	case PV_WORKER_FETCH_FRAME:
		fetch_frame(server, payload);
		return PV_OK;
	case PV_WORKER_PING:
		(void)put(server, PV_WORKER_PONG, 0);
		return PV_OK;
	case PV_WORKER_RESET:
		forget_all_shown(server);
		r->ops->reset(r);
		return PV_OK;
	case PV_WORKER_CONTEXT_CREATE:
		return create_context(server, payload);
	case PV_WORKER_SUBMIT: {
		const struct pv_worker_submit *m = payload;

		answer(server, m->token, r->ops->submit(r, m->token, m->ctx_id, m->commands, m->len_bytes));
		return PV_OK;
	}
	case PV_WORKER_BLOB_MAP: {
		const struct pv_worker_blob_map *m = payload;

		answer(server, m->token, r->ops->blob_map(r, m->token, m->resource_id, m->offset_bytes));
		return PV_OK;
	}
	default:
		do_ids(server, message->type, payload);
		return PV_OK;
	}
}

/* ---- What comes in ---- */

/* Payload sizes; those with something behind say how much of it there is. */
static const struct shape {
	uint16_t size;
	bool fd;
} shapes[PV_WORKER_NR_REQUESTS] = {
    [PV_WORKER_HELLO] = {sizeof(struct pv_worker_hello), false},
    [PV_WORKER_WINDOW] = {sizeof(struct pv_worker_window), true},
    [PV_WORKER_FILE] = {0, true},
    [PV_WORKER_MEMORY] = {sizeof(struct pv_worker_memory), false},
    [PV_WORKER_RESOURCE_CREATE] = {sizeof(struct pv_worker_resource_create), false},
    [PV_WORKER_RESOURCE_DESTROY] = {sizeof(struct pv_worker_ids), false},
    [PV_WORKER_ATTACH_BACKING] = {sizeof(struct pv_worker_attach_backing), false},
    [PV_WORKER_DETACH_BACKING] = {sizeof(struct pv_worker_ids), false},
    [PV_WORKER_TRANSFER] = {sizeof(struct pv_worker_transfer), false},
    [PV_WORKER_TRANSFER_3D] = {sizeof(struct pv_worker_transfer_3d), false},
    [PV_WORKER_FRAME] = {sizeof(struct pv_worker_frame), true},
    [PV_WORKER_UPDATE_FRAME] = {sizeof(struct pv_worker_update_frame), false},
    [PV_WORKER_FETCH_FRAME] = {sizeof(struct pv_worker_fetch_frame), false},
    [PV_WORKER_FENCE] = {sizeof(struct pv_worker_ids), false},
    [PV_WORKER_RESET] = {0, false},
    [PV_WORKER_CONTEXT_CREATE] = {sizeof(struct pv_worker_context_create), false},
    [PV_WORKER_CONTEXT_DESTROY] = {sizeof(struct pv_worker_ids), false},
    [PV_WORKER_CONTEXT_ATTACH] = {sizeof(struct pv_worker_ids), false},
    [PV_WORKER_CONTEXT_DETACH] = {sizeof(struct pv_worker_ids), false},
    [PV_WORKER_SUBMIT] = {sizeof(struct pv_worker_submit), false},
    [PV_WORKER_BLOB_MAP] = {sizeof(struct pv_worker_blob_map), false},
    [PV_WORKER_BLOB_UNMAP] = {sizeof(struct pv_worker_ids), false},
    [PV_WORKER_GET_MEMORY_BYTES] = {sizeof(struct pv_worker_ids), false},
    [PV_WORKER_PING] = {0, false},
};

/* What is said to come behind the struct, in bytes; UINT64_MAX: too much. */
static uint64_t tail_bytes(const struct pv_worker_message *message)
{
	uint64_t n = 0;

	if (message->type == PV_WORKER_MEMORY) {
		n = ((const struct pv_worker_memory *)message->payload)->nr_parts;
		return n <= PV_GUEST_MAX_REGIONS ? n * sizeof(struct pv_guest_part) : UINT64_MAX;
	}
	if (message->type == PV_WORKER_ATTACH_BACKING)
		return (uint64_t)((const struct pv_worker_attach_backing *)message->payload)->nr_spans *
		       sizeof(struct pv_guest_span);
	/* No other byte is a bool. */
	if (message->type == PV_WORKER_TRANSFER_3D) {
		uint8_t to_guest;

		memcpy(&to_guest,
		       (const uint8_t *)message->payload + offsetof(struct pv_worker_transfer_3d, transfer.to_guest),
		       sizeof(to_guest));
		return to_guest <= 1 ? 0 : UINT64_MAX;
	}
	if (message->type == PV_WORKER_SUBMIT)
		return ((const struct pv_worker_submit *)message->payload)->len_bytes;
	return n;
}

static bool is_well_formed(const struct pv_worker_message *message)
{
	const struct shape *shape;
	uint64_t tail, len;

	if (message->type == 0 || message->type >= PV_WORKER_NR_REQUESTS)
		return false;
	shape = &shapes[message->type];
	if (message->len < shape->size || message->has_fd != shape->fd)
		return false;
	tail = tail_bytes(message);
	/* The end of a message is rounded up. */
	return pv_add_u64(shape->size + 7u, tail, &len) && (len & ~(uint64_t)7) == message->len;
}

static enum pv_status take_message(struct server *server, const struct pv_worker_message *message)
{
	if (!is_well_formed(message))
		return PV_ERR_PEER;
	if (message->type == PV_WORKER_HELLO)
		return hello(server, message->payload);
	return server->renderer ? do_message(server, message) : PV_ERR_PEER;
}

/* Reads once. PV_PENDING: nothing was there. */
static enum pv_status receive(struct server *server)
{
	enum pv_status status = pv_worker_channel_receive(&server->channel);
	struct pv_worker_message message;

	if (status == PV_ERR_PEER) {
		/* Gone, as it has every right to be. */
		stop(server, PV_OK);
		return status;
	}
	while (status == PV_OK && !server->stopping) {
		status = pv_worker_channel_next(&server->channel, &message);
		if (status == PV_PENDING)
			return PV_OK;
		if (status == PV_OK)
			status = take_message(server, &message);
	}
	if (status != PV_OK && status != PV_PENDING) {
		pv_log(PV_LOG_ERROR, MODULE, "the device's process makes no sense: %s", pv_status_string(status));
		stop(server, status);
	}
	return status;
}

static void ready(void *user, uint32_t events)
{
	struct server *server = user;

	(void)events;
	server->receiving = true;
	for (int i = 0; i < MAX_READS && !server->stopping; i++)
		if (receive(server) != PV_OK)
			break;
	if (server->renderer)
		server->renderer->ops->finish_batch(server->renderer);
	server->receiving = false;
	flush(server);
}

enum pv_status pv_worker_serve(struct pv_loop *loop, int take_fd, const struct pv_worker_maker *maker)
{
	struct server server = {.loop = loop, .maker = maker, .window_fd = -1};
	enum pv_status status;

	pv_worker_channel_init(&server.channel, take_fd);
	status = pv_loop_add_fd(loop, server.channel.fd, PV_LOOP_READ, ready, &server, &server.watch);
	if (status == PV_OK) {
		pv_loop_run(loop);
		status = server.status;
	}
	/* Nobody listens any more, but the renderer may speak until it is gone. */
	server.receiving = true;
	forget_all_shown(&server);
	pv_renderer_destroy(server.renderer);
	pv_loop_remove_fd(server.watch);
	pv_worker_channel_finish(&server.channel);
	pv_id_map_finish(&server.shown);
	while (server.nr_files > 0)
		pv_fd_close(&server.files[--server.nr_files]);
	pv_fd_close(&server.window_fd);
	return status;
}

/* SPDX-License-Identifier: MIT */
/*
 * Both ends of a worker's socket against arbitrary bytes: the first byte says which end. Messages are given their
 * headers here, so that what they carry is reached: a type, a length, then so many bytes; every 16th header is as wrong
 * as the input likes.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/socket.h"
#include "gpu/protocol.h"
#include "worker/channel.h"
#include "worker/client.h"
#include "worker/server.h"

#define MAX_INPUT 32768

/* ---- A renderer without effect ---- */

static struct pv_renderer renderer;

static void nothing(struct pv_renderer *r)
{
	(void)r;
}

static void with_map(struct pv_renderer *r, struct pv_guest_map *map)
{
	(void)r, (void)map;
}

static void with_id(struct pv_renderer *r, uint32_t id)
{
	(void)r, (void)id;
}

static void with_ids(struct pv_renderer *r, uint32_t ctx_id, uint32_t id)
{
	(void)r, (void)ctx_id, (void)id;
}

static enum pv_status create(struct pv_renderer *r, uint64_t op_id, const struct pv_resource_info *info)
{
	(void)r, (void)op_id;
	return info->id % 2 ? PV_OK : PV_PENDING;
}

/* The last byte tells whether all of it is there. */
static enum pv_status attach(struct pv_renderer *r, uint64_t op_id, uint32_t id, const struct pv_guest_span *spans,
			     size_t n)
{
	(void)r, (void)op_id, (void)id;
	return n > 0 && spans[n - 1].len % 2 ? PV_OK : PV_ERR_GUEST;
}

static enum pv_status transfer(struct pv_renderer *r, uint64_t op_id, const struct pv_transfer *t)
{
	(void)r, (void)op_id;
	return t->resource_id ? PV_OK : PV_ERR_GUEST;
}

static enum pv_status transfer_3d(struct pv_renderer *r, uint64_t op_id, const struct pv_transfer_3d *t)
{
	(void)r, (void)op_id;
	return t->to_guest ? PV_OK : PV_ERR_GUEST;
}

static enum pv_status get_frame(struct pv_renderer *r, uint32_t id, const struct pv_blob_layout *layout,
				struct pv_frame **out)
{
	(void)r, (void)layout;
	return id % 2 ? pv_frame_create(16, 16, 1, out) : PV_ERR_GUEST;
}

static enum pv_status set_frame(struct pv_renderer *r, uint32_t id, struct pv_frame *frame)
{
	(void)r, (void)frame;
	return id % 2 ? PV_OK : PV_ERR_GUEST;
}

static enum pv_status update_frame(struct pv_renderer *r, uint64_t op_id, uint32_t id, const struct pv_rect *rect)
{
	(void)r, (void)op_id, (void)rect;
	return id % 3 ? PV_OK : PV_PENDING;
}

static void create_fence(struct pv_renderer *r, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	(void)ctx_id, (void)ring_idx;
	r->events.fence_signalled(r->events.user, fence_id);
}

static bool capset_info(struct pv_renderer *r, uint32_t index, struct pv_capset_info *out)
{
	(void)r;
	*out = (struct pv_capset_info){.id = 4, .max_size_bytes = 160};
	return index == 0;
}

static enum pv_status capset(struct pv_renderer *r, uint32_t id, uint32_t version, void *buf, size_t *len)
{
	(void)r, (void)id, (void)version;
	*len = 160;
	memset(buf, 1, *len);
	return PV_OK;
}

static enum pv_status context_create(struct pv_renderer *r, uint64_t op_id, uint32_t ctx_id, uint32_t capset_id,
				     const char *name)
{
	(void)r, (void)op_id, (void)ctx_id, (void)capset_id;
	return strlen(name) % 2 ? PV_OK : PV_PENDING;
}

static enum pv_status context_attach(struct pv_renderer *r, uint64_t op_id, uint32_t ctx_id, uint32_t id)
{
	(void)ctx_id, (void)id;
	r->events.last_word(r->events.user, id, ctx_id, 2);
	(void)op_id;
	return PV_OK;
}

static enum pv_status submit(struct pv_renderer *r, uint64_t op_id, uint32_t ctx_id, const void *commands, size_t len)
{
	const uint8_t *bytes = commands;

	(void)r, (void)op_id, (void)ctx_id;
	return len > 0 && bytes[len - 1] ? PV_OK : PV_ERR_GUEST;
}

static enum pv_status blob_map(struct pv_renderer *r, uint64_t op_id, uint32_t id, uint64_t offset)
{
	(void)r, (void)op_id, (void)id, (void)offset;
	return PV_OK;
}

static enum pv_status blob_unmap(struct pv_renderer *r, uint64_t op_id, uint32_t id)
{
	(void)r, (void)op_id, (void)id;
	return PV_OK;
}

static const struct pv_renderer_ops ops = {
    .name = "fuzz",
    .destroy = nothing,
    .set_guest_map = with_map,
    .resource_create = create,
    .resource_destroy = with_id,
    .attach_backing = attach,
    .detach_backing = with_id,
    .transfer_to_host = transfer,
    .transfer_3d = transfer_3d,
    .get_frame = get_frame,
    .set_frame = set_frame,
    .update_frame = update_frame,
    .create_fence = create_fence,
    .finish_batch = nothing,
    .reset = nothing,
    .capset_info = capset_info,
    .capset = capset,
    .context_create = context_create,
    .context_destroy = with_id,
    .context_attach = context_attach,
    .context_detach = with_ids,
    .submit = submit,
    .blob_map = blob_map,
    .blob_unmap = blob_unmap,
};

static enum pv_status make(void *user, const struct pv_worker_hello *hello, struct pv_renderer **out,
			   struct pv_worker_ready *out_ready)
{
	(void)user, (void)hello, (void)out_ready;
	renderer = (struct pv_renderer){.ops = &ops};
	*out = &renderer;
	return PV_OK;
}

/* ---- Input ---- */

/* Puts what the input says; types count from 1. */
static void put_messages(struct pv_worker_channel *channel, const uint8_t *data, size_t size, uint16_t nr_types)
{
	while (size >= 3) {
		uint16_t type = data[0] % (nr_types + 1);
		size_t len = data[1] | (size_t)(data[2] & 7) << 8;
		bool has_fd = data[2] & 8;
		void *payload;

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		payload = pv_worker_channel_put(channel, type, len, has_fd ? channel->fd : -1);
		if (!payload)
			return;
		if (len)
			memcpy(payload, data, len);
		if (type == 0 && len >= sizeof(struct pv_worker_header))
			memcpy((struct pv_worker_header *)payload - 1, data, sizeof(struct pv_worker_header));
		data += len;
		size -= len;
	}
}

static void fuzz_server(const uint8_t *data, size_t size)
{
	struct pv_worker_channel channel;
	struct pv_worker_hello *hello;
	struct pv_loop *loop;
	int fds[2];

	if (pv_loop_create(&loop) != PV_OK || pv_socket_pair(fds) != PV_OK)
		abort();
	pv_worker_channel_init(&channel, fds[0]);
	hello = pv_worker_channel_put(&channel, PV_WORKER_HELLO, sizeof(*hello), -1);
	hello->version = PV_WORKER_VERSION;
	put_messages(&channel, data, size, PV_WORKER_NR_REQUESTS);
	if (pv_worker_channel_flush(&channel) == PV_ERR_PEER)
		abort();
	shutdown(channel.fd, SHUT_WR);
	if (pv_worker_serve(loop, fds[1], &(struct pv_worker_maker){.make = make}) == PV_PENDING)
		abort();
	pv_worker_channel_finish(&channel);
	pv_loop_destroy(loop);
}

/* ---- The device's end ---- */

struct impostor {
	const uint8_t *data;
	size_t size;
	struct pv_worker_channel channel;
};

static enum pv_status start(void *user, int take_fd, void (*ended)(void *ended_user), void *ended_user, void **out)
{
	struct impostor *impostor = user;
	struct pv_worker_capset *set;
	struct pv_worker_ready *ready;

	(void)ended, (void)ended_user;
	pv_worker_channel_init(&impostor->channel, take_fd);
	set = pv_worker_channel_put(&impostor->channel, PV_WORKER_CAPSET, sizeof(*set), -1);
	set->info.id = 4;
	ready = pv_worker_channel_put(&impostor->channel, PV_WORKER_READY, sizeof(*ready), -1);
	ready->version = PV_WORKER_VERSION;
	ready->has_opengl = impostor->size > 0 && impostor->data[0] & 2;
	/* Half of the inputs speak before they are ready. */
	if (impostor->size > 0 && impostor->data[0] & 1)
		impostor->channel.out_len = 0;
	put_messages(&impostor->channel, impostor->data, impostor->size, PV_WORKER_NR_EVENTS);
	(void)pv_worker_channel_flush(&impostor->channel);
	*out = impostor;
	return PV_OK;
}

static void stop(void *worker)
{
	(void)worker;
}

static int64_t pid(void *worker)
{
	(void)worker;
	return 1;
}

static void release(void *worker, char how[PV_WORKER_HOW_BYTES])
{
	how[0] = '\0';
	pv_worker_channel_finish(&((struct impostor *)worker)->channel);
}

static void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	(void)user, (void)op_id;
	if (status == PV_PENDING)
		abort();
}

static void fence_signalled(void *user, uint64_t fence_id)
{
	(void)user, (void)fence_id;
}

static void fuzz_client(const uint8_t *data, size_t size)
{
	struct impostor impostor = {.data = data, .size = size};
	struct pv_worker_client_params params = {
	    .launcher = {.start = start, .kill = stop, .pid = pid, .release = release, .user = &impostor},
	    .start_timeout_ns = 1000000,
	    .hello.with_dma_bufs = true,
	};
	struct pv_frame *frame = NULL;
	struct pv_renderer *r;

	if (pv_loop_create(&params.loop) != PV_OK)
		abort();
	if (pv_worker_client_create(&params, &r) == PV_OK) {
		const struct pv_resource_info info = {
		    .id = 1, .kind = PV_RESOURCE_HOST_BLOB, .size_bytes = 4096, .ctx_id = 1};

		const struct pv_resource_info texture = {
		    .id = 2, .kind = PV_RESOURCE_3D, .format = PV_GPU_FORMAT_B8G8R8X8, .width = 16, .height = 16};

		r->events = (struct pv_renderer_events){.op_done = op_done, .fence_signalled = fence_signalled};
		(void)!r->ops->context_create(r, 1, 1, 4, "fuzz");
		(void)!r->ops->resource_create(r, 2, &info);
		if (r->ops->get_frame && r->ops->resource_create(r, 3, &texture) == PV_PENDING)
			(void)!r->ops->get_frame(r, texture.id, NULL, &frame);
		r->ops->create_fence(r, 3, 1, 0);
		r->ops->finish_batch(r);
		for (int i = 0; i < 4; i++)
			pv_loop_step(params.loop, 0);
		pv_renderer_destroy(r);
		pv_frame_unref(frame);
	}
	pv_loop_destroy(params.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > MAX_INPUT)
		return 0;
	pv_log_set_sink(drop_line, NULL);
	if (data[0] & 1)
		fuzz_server(data + 1, size - 1);
	else
		fuzz_client(data + 1, size - 1);
	return 0;
}

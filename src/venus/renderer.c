/* SPDX-License-Identifier: MIT */
/*
 * The renderer's table: what the device core asks for becomes operations of contexts (control.c), in their order.
 *
 * A context that is given up goes on living on a thread of its own until its rings have ended and the host's driver has
 * destroyed what was in it; then that thread posts a note, and the device thread frees it. Notes are delivered in order
 * and the rings' threads ended before, so nothing refers to it any more.
 */
#include "venus/renderer.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/socket.h"
#include "base/thread.h"
#include "venus/control.h"
#include "venus/generated/commands.h"
#include "venus/host.h"
#include "venus/mailbox.h"
#include "venus/memory.h"
#include "venus/monitor.h"
#include "venus/ring.h"
#include "venus/timeline.h"

/* A submission carries a handful of small commands. */
#define MAX_SUBMIT_BYTES (1u << 20)

struct venus {
	struct pv_renderer base;
	struct pv_venus_mailbox mailbox;
	struct pv_venus_monitor *monitor;
	const struct pv_venus_host_device *host_device;
	void (*execute)(struct pv_venus_decoder *decoder);
	bool use_guest_vram;
	uint64_t max_shm_bytes;
	struct pv_venus_account *memory; /* of all contexts: device memory in pages of ours or in the window */
	uint64_t max_memory_bytes;

	int window_fd; /* borrowed; -1: none */
	uint64_t window_bytes;

	struct pv_id_map clients; /* by context id */
	struct client *first_client;
	uint32_t nr_clients, nr_ending;
	uint64_t next_serial;
	struct pv_id_map blobs;
	/* Counts resets: a fence of before is forgotten. */
	uint64_t generation;
	bool resetting; /* ops are forgotten as well */
};

/* A context, as the renderer sees it. */
struct client {
	struct venus *venus;
	uint64_t serial; /* tells it from a later one of the same id */
	struct pv_venus_context *context;
	struct pv_venus_account *account;
	struct client *next, *prev; /* of those not given up */
	pthread_t reaper;
	bool has_reaper;
	struct pv_venus_mail reaped;
};

/* A virtio-gpu resource, of any kind. */
struct blob {
	uint32_t refs; /* the map, and each op that refers to it */
	uint32_t id;
	enum pv_resource_kind kind;
	uint64_t size_bytes, blob_id;
	uint32_t ctx_id, flags;
	uint64_t ctx_serial;
	bool gone;              /* from the window, for good */
	uint64_t window_offset; /* device thread: of the map that was asked for last */
	/* Counted. NULL: not made yet, or not ours to know. */
	struct pv_venus_resource *resource;
};

struct fence {
	struct pv_venus_fence base;
	struct venus *venus;
	uint64_t id, generation;
};

static struct venus *venus_of(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct venus, base);
}

static void unref_blob(struct blob *blob)
{
	if (--blob->refs)
		return;
	pv_venus_resource_unref(blob->resource);
	free(blob);
}

/* ---- Ops ---- */

static void op_done(struct pv_venus_op *op, enum pv_status status)
{
	struct venus *venus = op->user;

	if (!venus->resetting)
		venus->base.events.op_done(venus->base.events.user, op->id, status);
}

static struct pv_venus_op *make_op(struct venus *venus, uint64_t id,
				   enum pv_status (*run)(struct pv_venus_context *context, struct pv_venus_op *op),
				   size_t len)
{
	struct pv_venus_op *op = malloc(sizeof(*op) + len);

	if (op)
		*op = (struct pv_venus_op){.run = run, .done = op_done, .user = venus, .id = id, .len = len};
	return op;
}

/* ---- Capability set ---- */

static bool capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	(void)renderer;
	if (index != 0)
		return false;
	*out = (struct pv_capset_info){
	    .id = PV_VENUS_CAPSET_ID, .max_size_bytes = PV_VENUS_CAPSET_BYTES, .needs_window = true};
	return true;
}

static void put_u32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static enum pv_status capset(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
			     size_t *len_bytes)
{
	const struct venus *venus = venus_of(renderer);
	uint32_t mask[32] = {1}; /* bit 0: the mask counts */
	uint8_t bytes[PV_VENUS_CAPSET_BYTES];

	if (capset_id != PV_VENUS_CAPSET_ID || version != 0)
		return PV_ERR_GUEST;
	for (size_t i = 0; i < PV_VENUS_NR_EXTENSIONS; i++) {
		uint32_t number = pv_venus_extensions[i].number;

		if (number < 32 * PV_ARRAY_LEN(mask))
			mask[number / 32] |= 1u << number % 32;
	}
	put_u32(bytes, 1); /* wire format */
	put_u32(bytes + 4, PV_VENUS_VK_XML_VERSION);
	put_u32(bytes + 8, 1);  /* VK_EXT_command_serialization */
	put_u32(bytes + 12, 3); /* VK_MESA_venus_protocol: host image copies, priorities of rings */
	put_u32(bytes + 16, 1); /* blob id 0 is shared memory */
	for (size_t i = 0; i < PV_ARRAY_LEN(mask); i++)
		put_u32(bytes + 20 + 4 * i, mask[i]);
	put_u32(bytes + 148, 1); /* waits may be sent */
	put_u32(bytes + 152, 1); /* timelines by ring_idx */
	put_u32(bytes + 156, venus->use_guest_vram);

	*len_bytes = *len_bytes < sizeof(bytes) ? *len_bytes : sizeof(bytes);
	if (buf)
		memcpy(buf, bytes, *len_bytes);
	else
		*len_bytes = sizeof(bytes);
	return PV_OK;
}

/* ---- Contexts ---- */

static enum pv_status context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, uint32_t capset_id,
				     const char *name)
{
	struct venus *venus = venus_of(renderer);
	const struct pv_venus_context_params params = {
	    .id = ctx_id,
	    .name = name,
	    .host_device = venus->host_device,
	    .execute = venus->execute,
	    .mailbox = &venus->mailbox,
	    .monitor = venus->monitor,
	    .renderer = &venus->base,
	    .memory = venus->memory,
	};
	struct client *client;
	enum pv_status status;

	(void)op_id;
	if (capset_id != PV_VENUS_CAPSET_ID)
		return PV_ERR_UNSUPPORTED;
	if (ctx_id == 0 || pv_id_map_get(&venus->clients, ctx_id))
		return PV_ERR_GUEST;
	if (venus->nr_clients + venus->nr_ending >= PV_VENUS_MAX_CONTEXTS) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "venus", "there are %u contexts already, %u of them ending",
			       venus->nr_clients + venus->nr_ending, venus->nr_ending);
		return PV_ERR_NO_MEMORY;
	}
	client = calloc(1, sizeof(*client));
	if (!client)
		return PV_ERR_NO_MEMORY;
	client->venus = venus;
	client->serial = ++venus->next_serial;
	status = pv_venus_account_create(&client->account);
	if (status == PV_OK)
		status = pv_venus_context_create(&params, &client->context);
	if (status == PV_OK)
		status = pv_id_map_add(&venus->clients, ctx_id, client);
	if (status != PV_OK) {
		pv_venus_context_free(client->context);
		pv_venus_account_unref(client->account);
		free(client);
		return status;
	}
	client->next = venus->first_client;
	if (client->next)
		client->next->prev = client;
	venus->first_client = client;
	venus->nr_clients++;
	return PV_OK;
}

static void deliver_reaped(struct pv_venus_mail *mail)
{
	struct client *client = PV_CONTAINER_OF(mail, struct client, reaped);

	if (client->has_reaper)
		pthread_join(client->reaper, NULL);
	client->venus->nr_ending--;
	pv_venus_context_free(client->context);
	pv_venus_account_unref(client->account);
	free(client);
}

static void *reaper_thread(void *user)
{
	struct client *client = user;

	pv_venus_context_release(client->context);
	/* Drivers allocate in small pieces, and what another client got in between keeps hundreds of MiB in store. */
	pv_heap_trim();
	pv_venus_mailbox_post(&client->venus->mailbox, &client->reaped);
	return NULL;
}

static void give_up(struct client *client)
{
	struct venus *venus = client->venus;

	(void)pv_id_map_remove(&venus->clients, client->context->id);
	if (client->next)
		client->next->prev = client->prev;
	if (client->prev)
		client->prev->next = client->next;
	else
		venus->first_client = client->next;
	venus->nr_clients--;
	venus->nr_ending++;
	client->reaped.deliver = deliver_reaped;
	pv_venus_control_end(client->context->control);
	(void)pv_venus_context_lose(client->context);
	client->has_reaper = pv_thread_create("pv-venus-end", reaper_thread, client, &client->reaper) == PV_OK;
	/* Without a thread for it, it is done here, however long it takes. */
	if (!client->has_reaper)
		(void)reaper_thread(client);
}

static void context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct client *client = pv_id_map_get(&venus_of(renderer)->clients, ctx_id);

	if (client)
		give_up(client);
}

/* ---- Blobs ---- */

static enum pv_status make_memory(struct client *client, enum pv_venus_resource_kind kind, uint64_t size_bytes,
				  struct pv_venus_resource **out)
{
	struct pv_venus_resource *resource;
	enum pv_status status;
	int fd;

	status = pv_shm_create("pv-venus", size_bytes, &fd);
	if (status != PV_OK)
		return status;
	status = pv_venus_resource_create(kind, size_bytes, fd, &resource);
	if (status != PV_OK)
		return status;
	pv_venus_resource_charge(resource, client->account);
	*out = resource;
	return PV_OK;
}

static enum pv_status check_limit(struct client *client, uint64_t size_bytes)
{
	uint64_t used = atomic_load_explicit(&client->account->bytes, memory_order_relaxed);

	if (used <= client->venus->max_shm_bytes && size_bytes <= client->venus->max_shm_bytes - used)
		return PV_OK;
	PV_LOG_LIMITED(PV_LOG_WARNING, "venus", "context %u (%s): a blob of %llu bytes is refused: %llu are in use",
		       client->context->id, client->context->name, (unsigned long long)size_bytes,
		       (unsigned long long)used);
	return PV_ERR_NO_MEMORY;
}

static enum pv_status wrap_shared(struct client *client, uint64_t size_bytes, struct pv_venus_resource **out)
{
	enum pv_status status = pv_venus_resource_wrap(PV_VENUS_RESOURCE_SHM, size_bytes, NULL, out);

	if (status == PV_OK)
		pv_venus_resource_charge(*out, client->account);
	return status;
}

/* Device memory may keep it when it has left the window. */
static enum pv_status wrap_memory(struct client *client, uint64_t size_bytes, struct pv_venus_resource **out)
{
	struct pv_venus_resource *resource;
	enum pv_status status = pv_venus_resource_wrap(PV_VENUS_RESOURCE_MEMORY, size_bytes, NULL, &resource);

	if (status != PV_OK)
		return status;
	if (!pv_venus_resource_charge_within(resource, client->venus->memory, client->venus->max_memory_bytes)) {
		PV_LOG_LIMITED(
		    PV_LOG_WARNING, "venus",
		    "context %u (%s): the guest's Vulkan programs need more than the %llu MiB of device memory "
		    "that there are; see --max-host-memory",
		    client->context->id, client->context->name,
		    (unsigned long long)(client->venus->max_memory_bytes >> 20));
		pv_venus_resource_unref(resource);
		return PV_ERR_NO_MEMORY;
	}
	*out = resource;
	return PV_OK;
}

static enum pv_status make_resource(struct client *client, struct blob *blob, struct pv_venus_resource **out)
{
	struct venus *venus = client->venus;
	enum pv_status status;

	if (blob->blob_id != 0) {
		status = pv_venus_memory_export(client->context, blob->blob_id, blob->size_bytes, out);
		if (status == PV_OK || (status != PV_ERR_GUEST && venus->window_fd >= 0))
			return status;
		/*
		 * No such memory: the guest makes it from this blob later (use_guest_vram). Or it could not be made,
		 * and the guest does not know; vtest knows no errors, so it gets memory that nobody else sees.
		 */
	}
	if (venus->window_fd >= 0) {
		/* Its bytes are where the guest maps it. The window is what limits them. */
		return blob->blob_id ? wrap_memory(client, blob->size_bytes, out)
				     : wrap_shared(client, blob->size_bytes, out);
	}
	status = check_limit(client, blob->size_bytes);
	if (status != PV_OK)
		return status;
	return make_memory(client, blob->blob_id ? PV_VENUS_RESOURCE_MEMORY : PV_VENUS_RESOURCE_SHM, blob->size_bytes,
			   out);
}

static enum pv_status run_create(struct pv_venus_context *context, struct pv_venus_op *op)
{
	struct venus *venus = op->user;
	struct client *client = pv_id_map_get(&venus->clients, context->id);
	struct blob *blob = op->subject;
	struct pv_venus_resource *resource;
	enum pv_status status;

	status = make_resource(client, blob, &resource);
	if (status != PV_OK)
		return status;
	status = pv_venus_context_attach(context, blob->id, pv_venus_resource_ref(resource));
	if (status != PV_OK) {
		pv_venus_resource_unref(resource);
		return status;
	}
	blob->resource = resource;
	return PV_OK;
}

static void forget_blob(struct venus *venus, struct blob *blob)
{
	if (pv_id_map_get(&venus->blobs, blob->id) == blob) {
		(void)pv_id_map_remove(&venus->blobs, blob->id);
		unref_blob(blob);
	}
}

static void create_done(struct pv_venus_op *op, enum pv_status status)
{
	struct blob *blob = op->subject;

	if (status != PV_OK)
		forget_blob(op->user, blob);
	unref_blob(blob); /* NOLINT(clang-analyzer-unix.Malloc): the map and the op have a reference each */
	op_done(op, status);
}

static enum pv_status create_host_blob(struct venus *venus, uint64_t op_id, struct blob *blob)
{
	struct client *client = pv_id_map_get(&venus->clients, blob->ctx_id);
	struct pv_venus_op *op = client ? make_op(venus, op_id, run_create, 0) : NULL;
	enum pv_status status;

	if (!op)
		return client ? PV_ERR_NO_MEMORY : PV_ERR_GUEST;
	blob->ctx_serial = client->serial;
	op->subject = blob;
	op->done = create_done;
	blob->refs++;
	status = pv_venus_control_do(client->context->control, op);
	if (status != PV_PENDING)
		unref_blob(blob);
	return status;
}

static enum pv_status resource_create(struct pv_renderer *renderer, uint64_t op_id, const struct pv_resource_info *info)
{
	struct venus *venus = venus_of(renderer);
	struct blob *blob;
	enum pv_status status;

	if (info->kind != PV_RESOURCE_HOST_BLOB && info->kind != PV_RESOURCE_GUEST_BLOB)
		return PV_ERR_UNSUPPORTED;
	if (info->id == 0 || info->size_bytes == 0 || pv_id_map_get(&venus->blobs, info->id))
		return PV_ERR_GUEST;
	blob = calloc(1, sizeof(*blob));
	if (!blob)
		return PV_ERR_NO_MEMORY;
	blob->refs = 1;
	blob->id = info->id;
	blob->kind = info->kind;
	blob->size_bytes = info->size_bytes;
	blob->blob_id = info->blob_id;
	blob->ctx_id = info->ctx_id;
	blob->flags = info->blob_flags;
	status = pv_id_map_add(&venus->blobs, blob->id, blob);
	if (status != PV_OK) {
		unref_blob(blob);
		return status;
	}
	if (blob->kind == PV_RESOURCE_GUEST_BLOB)
		return PV_OK;
	status = create_host_blob(venus, op_id, blob);
	if (status != PV_OK && status != PV_PENDING)
		forget_blob(venus, blob); /* NOLINT(clang-analyzer-unix.Malloc): the op had a reference of its own */
	return status;
}

static enum pv_status run_detach(struct pv_venus_context *context, struct pv_venus_op *op)
{
	pv_venus_context_detach(context, (uint32_t)op->number);
	return PV_OK;
}

static void detach(struct client *client, uint32_t resource_id)
{
	struct pv_venus_op *op = make_op(client->venus, 0, run_detach, 0);

	/* Without memory the context keeps it until its end. */
	if (!op)
		return;
	op->number = resource_id;
	op->done = NULL;
	pv_venus_control_do(client->context->control, op);
}

static void resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct venus *venus = venus_of(renderer);
	struct blob *blob = pv_id_map_get(&venus->blobs, resource_id);

	if (!blob)
		return;
	for (struct client *client = venus->first_client; client; client = client->next)
		detach(client, resource_id);
	forget_blob(venus, blob);
}

static enum pv_status run_attach(struct pv_venus_context *context, struct pv_venus_op *op)
{
	const struct blob *blob = op->subject;

	/* Guest memory is known by name only; a blob of another context has to be there. */
	if (!blob->resource)
		return blob->kind == PV_RESOURCE_GUEST_BLOB ? PV_OK : PV_ERR_GUEST;
	return pv_venus_context_attach(context, blob->id, pv_venus_resource_ref(blob->resource));
}

static void attach_done(struct pv_venus_op *op, enum pv_status status)
{
	unref_blob(op->subject);
	op_done(op, status);
}

static enum pv_status context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
				     uint32_t resource_id)
{
	struct venus *venus = venus_of(renderer);
	struct client *client = pv_id_map_get(&venus->clients, ctx_id);
	struct blob *blob = pv_id_map_get(&venus->blobs, resource_id);
	struct pv_venus_op *op;
	enum pv_status status;

	if (!client || !blob)
		return PV_ERR_GUEST;
	op = make_op(venus, op_id, run_attach, 0);
	if (!op)
		return PV_ERR_NO_MEMORY;
	op->subject = blob;
	op->done = attach_done;
	blob->refs++;
	status = pv_venus_control_do(client->context->control, op);
	if (status != PV_PENDING)
		unref_blob(blob);
	return status;
}

static void context_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id)
{
	struct client *client = pv_id_map_get(&venus_of(renderer)->clients, ctx_id);

	if (client)
		detach(client, resource_id);
}

static enum pv_status blob_export(struct pv_renderer *renderer, uint32_t resource_id, int *out_fd)
{
	const struct blob *blob = pv_id_map_get(&venus_of(renderer)->blobs, resource_id);
	int fd;

	if (!blob || !blob->resource || blob->resource->fd < 0 || blob->resource->window_bytes)
		return PV_ERR_UNSUPPORTED;
	fd = fcntl(blob->resource->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return PV_ERR_HOST;
	*out_fd = fd;
	return PV_OK;
}

/* ---- The window ---- */

static enum pv_status set_window(struct pv_renderer *renderer, int fd, uint64_t size_bytes)
{
	struct venus *venus = venus_of(renderer);

	venus->window_fd = fd;
	venus->window_bytes = size_bytes;
	return PV_OK;
}

static enum pv_status run_map(struct pv_venus_context *context, struct pv_venus_op *op)
{
	struct venus *venus = op->user;
	struct blob *blob = op->subject;

	(void)context;
	if (!blob->resource || blob->gone)
		return PV_ERR_GUEST;
	/* The guest made memory first and the blob from it. */
	if (blob->resource->bytes && venus->host_device &&
	    venus->host_device->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU)
		return pv_venus_resource_move_to_window(blob->resource, venus->window_fd, op->number, blob->size_bytes);
	return pv_venus_resource_enter_window(blob->resource, venus->window_fd, op->number);
}

/* Pending while it cannot be done: better a part of the window that nobody gets than one that two have. */
static enum pv_status run_unmap(struct pv_venus_context *context, struct pv_venus_op *op)
{
	struct blob *blob = op->subject;

	(void)context;
	return !blob->resource || pv_venus_resource_leave_window(blob->resource) ? PV_OK : PV_PENDING;
}

static void window_op_done(struct pv_venus_op *op, enum pv_status status)
{
	struct blob *blob = op->subject;

	/* The context ended before its turn came. */
	if (op->run == run_unmap && status != PV_OK && blob->resource)
		(void)pv_venus_resource_leave_window(blob->resource);
	unref_blob(blob);
	op_done(op, status);
}

/* In the order of the context in which the blob was made; at once if that is gone. */
static enum pv_status do_window_op(struct venus *venus, uint64_t op_id, struct blob *blob, uint64_t offset_bytes,
				   enum pv_status (*run)(struct pv_venus_context *context, struct pv_venus_op *op))
{
	struct client *client = pv_id_map_get(&venus->clients, blob->ctx_id);
	struct pv_venus_op *op = make_op(venus, op_id, run, 0);
	enum pv_status status;

	if (!op)
		return PV_ERR_NO_MEMORY;
	op->subject = blob;
	op->number = offset_bytes;
	op->done = window_op_done;
	if (!client || client->serial != blob->ctx_serial) {
		status = run(NULL, op);
		free(op);
		return status;
	}
	blob->refs++;
	status = pv_venus_control_do(client->context->control, op);
	if (status != PV_PENDING)
		unref_blob(blob);
	return status;
}

static enum pv_status blob_map(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
			       uint64_t offset_bytes)
{
	struct venus *venus = venus_of(renderer);
	struct blob *blob = pv_id_map_get(&venus->blobs, resource_id);

	if (!blob || blob->kind != PV_RESOURCE_HOST_BLOB || venus->window_fd < 0 ||
	    !pv_range_fits(offset_bytes, blob->size_bytes, venus->window_bytes))
		return PV_ERR_GUEST;
	blob->window_offset = offset_bytes;
	return do_window_op(venus, op_id, blob, offset_bytes, run_map);
}

static enum pv_status blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id)
{
	struct venus *venus = venus_of(renderer);
	struct blob *blob = pv_id_map_get(&venus->blobs, resource_id);

	if (!blob)
		return PV_OK;
	if (op_id == 0) {
		/* A map that is still pending will fail. */
		blob->gone = true;
		if (blob->resource)
			(void)pv_venus_resource_leave_window(blob->resource);
		pv_shm_punch(venus->window_fd, blob->window_offset, blob->size_bytes);
		return PV_OK;
	}
	return do_window_op(venus, op_id, blob, 0, run_unmap);
}

/* ---- Commands and fences ---- */

static enum pv_status submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
			     size_t len_bytes)
{
	struct venus *venus = venus_of(renderer);
	struct client *client = pv_id_map_get(&venus->clients, ctx_id);
	struct pv_venus_op *op;

	if (!client || len_bytes > MAX_SUBMIT_BYTES)
		return PV_ERR_GUEST;
	op = make_op(venus, op_id, pv_venus_control_run_commands, len_bytes);
	if (!op)
		return PV_ERR_NO_MEMORY;
	if (len_bytes)
		memcpy(op->commands, commands, len_bytes);
	return pv_venus_control_do(client->context->control, op);
}

static void signal_fence(struct fence *fence)
{
	struct venus *venus = fence->venus;
	uint64_t id = fence->id;
	bool forgotten = fence->generation != venus->generation;

	free(fence);
	if (!forgotten)
		venus->base.events.fence_signalled(venus->base.events.user, id);
}

static void deliver_fence(struct pv_venus_mail *mail)
{
	signal_fence(PV_CONTAINER_OF(mail, struct fence, base.mail));
}

static enum pv_status run_fence(struct pv_venus_context *context, struct pv_venus_op *op)
{
	struct fence *fence = op->subject;
	uint32_t ring_idx = (uint32_t)op->number;

	if (ring_idx != 0) {
		if (pv_venus_timeline_add(context, ring_idx, &fence->base))
			return PV_OK;
		PV_LOG_LIMITED(PV_LOG_WARNING, "venus", "context %u (%s): a fence on timeline %u, which has no queue",
			       context->id, context->name, ring_idx);
	}
	signal_fence(fence);
	return PV_OK;
}

/* PV_OK: run_fence() had it. */
static void fence_done(struct pv_venus_op *op, enum pv_status status)
{
	if (status != PV_OK)
		signal_fence(op->subject);
}

static void create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	struct venus *venus = venus_of(renderer);
	struct client *client = pv_id_map_get(&venus->clients, ctx_id);
	struct fence *fence = calloc(1, sizeof(*fence));
	struct pv_venus_op *op = make_op(venus, fence_id, run_fence, 0);

	/* Of a context that is gone, or out of memory: early rather than never. */
	if (!client || !fence || !op) {
		free(fence);
		free(op);
		venus->base.events.fence_signalled(venus->base.events.user, fence_id);
		return;
	}
	fence->base.mail.deliver = deliver_fence;
	fence->venus = venus;
	fence->id = fence_id;
	fence->generation = venus->generation;
	op->subject = fence;
	op->number = ring_idx;
	op->done = fence_done;
	pv_venus_control_do(client->context->control, op);
}

/* ---- What belongs to 2D ---- */

static void set_guest_map(struct pv_renderer *renderer, struct pv_guest_map *map)
{
	(void)renderer;
	(void)map;
}

static enum pv_status attach_backing(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_guest_span *spans, size_t nr_spans)
{
	(void)renderer;
	(void)op_id;
	(void)resource_id;
	(void)spans;
	(void)nr_spans;
	return PV_OK;
}

static void detach_backing(struct pv_renderer *renderer, uint32_t resource_id)
{
	(void)renderer;
	(void)resource_id;
}

static enum pv_status transfer_to_host(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer *transfer)
{
	(void)renderer;
	(void)op_id;
	(void)transfer;
	return PV_ERR_UNSUPPORTED;
}

static enum pv_status get_frame(struct pv_renderer *renderer, uint32_t resource_id, const struct pv_blob_layout *layout,
				struct pv_frame **out)
{
	(void)renderer;
	(void)resource_id;
	(void)layout;
	(void)out;
	return PV_ERR_UNSUPPORTED;
}

static enum pv_status update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				   const struct pv_rect *rect)
{
	(void)renderer;
	(void)op_id;
	(void)resource_id;
	(void)rect;
	return PV_ERR_UNSUPPORTED;
}

static void finish_batch(struct pv_renderer *renderer)
{
	(void)renderer;
}

/* ---- The whole ---- */

static void reset(struct pv_renderer *renderer)
{
	struct venus *venus = venus_of(renderer);
	uint32_t cursor = 0;
	struct blob *blob;

	venus->generation++;
	venus->resetting = true;
	while (venus->first_client)
		give_up(venus->first_client);
	while ((blob = pv_id_map_any(&venus->blobs, &cursor)))
		forget_blob(venus, blob);
	venus->resetting = false;
}

static void destroy(struct pv_renderer *renderer)
{
	struct venus *venus = venus_of(renderer);

	reset(renderer);
	while (venus->nr_ending)
		pv_venus_mailbox_wait(&venus->mailbox);
	pv_venus_mailbox_finish(&venus->mailbox);
	pv_venus_monitor_destroy(venus->monitor);
	pv_id_map_finish(&venus->clients);
	pv_id_map_finish(&venus->blobs);
	pv_venus_account_unref(venus->memory);
	free(venus);
}

void pv_venus_renderer_status(struct pv_renderer *renderer, struct pv_venus_renderer_status *out)
{
	const struct venus *venus = venus_of(renderer);

	*out = (struct pv_venus_renderer_status){.nr_contexts = venus->nr_clients, .nr_ending = venus->nr_ending};
	for (struct client *client = venus->first_client; client; client = client->next) {
		out->nr_lost += atomic_load_explicit(&client->context->lost, memory_order_relaxed);
		/* Only this thread makes and removes rings. */
		out->nr_rings += client->context->nr_rings;
		out->nr_objects += pv_venus_object_count(client->context->objects);
		out->shm_bytes += atomic_load_explicit(&client->account->bytes, memory_order_relaxed);
	}
}

static const struct pv_renderer_ops ops = {
    .name = "venus",
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
    .capset_info = capset_info,
    .capset = capset,
    .context_create = context_create,
    .context_destroy = context_destroy,
    .context_attach = context_attach,
    .context_detach = context_detach,
    .submit = submit,
    .blob_export = blob_export,
    .set_window = set_window,
    .blob_map = blob_map,
    .blob_unmap = blob_unmap,
};

enum pv_status pv_venus_renderer_create(const struct pv_venus_renderer_params *params, struct pv_renderer **out)
{
	struct venus *venus = calloc(1, sizeof(*venus));
	enum pv_status status;
	const char *why;

	if (!venus)
		return PV_ERR_NO_MEMORY;
	status = pv_venus_account_create(&venus->memory);
	if (status == PV_OK)
		status = pv_venus_monitor_create(&venus->monitor);
	if (status != PV_OK) {
		pv_venus_account_unref(venus->memory);
		free(venus);
		return status;
	}
	pv_venus_mailbox_init(&venus->mailbox, params->loop);
	venus->base.ops = &ops;
	venus->execute = params->execute ? params->execute : pv_venus_execute;
	venus->host_device = params->host ? pv_venus_host_chosen(params->host, &why) : NULL;
	venus->max_memory_bytes =
	    venus->host_device ? pv_venus_host_device_importable_bytes(venus->host_device) : UINT64_MAX;
	venus->use_guest_vram = params->use_guest_vram;
	venus->max_shm_bytes = params->max_shm_bytes ? params->max_shm_bytes : PV_VENUS_DEFAULT_SHM_BYTES;
	venus->window_fd = -1;
	*out = &venus->base;
	return PV_OK;
}

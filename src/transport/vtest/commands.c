/* SPDX-License-Identifier: MIT */
/* What each command of the protocol does. OpenGL's are in opengl.c; the table of all is at the end. */
#include <string.h>

#include "base/log.h"
#include "base/socket.h"
#include "transport/vtest/client.h"
#include "transport/vtest/opengl.h"
#include "transport/vtest/submit.h"

static uint32_t word(const struct pv_vtest_message *message, size_t index)
{
	uint32_t value;

	memcpy(&value, message->payload + 4 * index, sizeof(value));
	return value;
}

static uint64_t long_word(const struct pv_vtest_message *message, size_t index)
{
	return word(message, index) | (uint64_t)word(message, index + 1) << 32;
}

#define FAULT(client, message, ...) pv_vtest_client_fault(client, (message)->handler->name, __VA_ARGS__)

/* ---- Getting acquainted ---- */

static enum pv_status create_renderer(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	size_t len = strnlen((const char *)message->payload, message->len_bytes);

	if (len >= sizeof(client->name))
		len = sizeof(client->name) - 1;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = message->payload[i];

		client->name[i] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
	}
	client->name[len] = '\0';
	return PV_OK;
}

static enum pv_status ping_protocol_version(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	(void)message;
	return pv_vtest_client_reply(client, PV_VTEST_PING_PROTOCOL_VERSION, NULL, 0);
}

static enum pv_status protocol_version(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	uint32_t version = word(message, 0);

	if (version > PV_VTEST_VERSION)
		version = PV_VTEST_VERSION;
	/* There never was a server of version 1. */
	if (version == 1)
		version = 0;
	client->version = version;
	return pv_vtest_client_reply(client, PV_VTEST_PROTOCOL_VERSION, &version, 1);
}

static enum pv_status get_param(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	uint32_t reply[2] = {0, 0}; /* known, value */

	switch (word(message, 0)) {
	case PV_VTEST_PARAM_MAX_TIMELINES:
		reply[0] = 1;
		reply[1] = PV_VTEST_MAX_TIMELINES;
		break;
	case PV_VTEST_PARAM_TIMELINE_SYNCOBJ:
		reply[0] = 1;
		break;
	default:
		break;
	}
	return pv_vtest_client_reply(client, PV_VTEST_GET_PARAM, reply, 2);
}

static bool find_capset(struct pv_renderer *renderer, uint32_t id, struct pv_capset_info *out)
{
	for (uint32_t i = 0; renderer->ops->capset_info(renderer, i, out); i++) {
		if (out->id == id)
			return true;
	}
	return false;
}

static enum pv_status get_capset(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	uint32_t header[3] = {1, PV_VTEST_GET_CAPSET, 0}, id = word(message, 0), version = word(message, 1);
	struct pv_capset_info info;
	size_t size, len;
	uint8_t *reply;

	if (!find_capset(renderer, id, &info) || version > info.max_version)
		return pv_vtest_client_reply(client, PV_VTEST_GET_CAPSET, &header[2], 1);
	/* In whole words; what the renderer leaves of it is zero. */
	len = info.max_size_bytes;
	size = (len + 3) & ~(size_t)3;
	reply = pv_vtest_client_reserve(client, sizeof(header) + size);
	if (!reply)
		return PV_ERR_NO_MEMORY;
	memset(reply, 0, sizeof(header) + size);
	header[0] += (uint32_t)(size / 4);
	header[2] = renderer->ops->capset(renderer, id, version, reply + sizeof(header), &len) == PV_OK;
	memcpy(reply, header, sizeof(header));
	return PV_OK;
}

/* ---- The context and its memory ---- */

/* Closing the connection would let the client spin for ever: it goes on with a context in which nothing succeeds. */
static void lose_context(struct pv_vtest_client *client, const char *what, enum pv_status status)
{
	if (!client->lost)
		PV_LOG_LIMITED(PV_LOG_ERROR, "vtest", "client %u (%s): %s: %s", client->number, client->name, what,
			       pv_status_string(status));
	client->lost = true;
}

static enum pv_status context_init(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	uint32_t capset_id = word(message, 0);
	enum pv_status status = client->op_status;
	struct pv_capset_info info;

	if (client->step == 0) {
		if (client->has_context)
			return FAULT(client, message, "there is a context already");
		if (!find_capset(renderer, capset_id, &info))
			return FAULT(client, message, "capset %u is not one of those offered", capset_id);
		client->step = 1;
		client->has_context = client->context_made = true;
		status = renderer->ops->context_create(renderer, pv_vtest_client_op_id(client), client->number,
						       capset_id, client->name);
		if (status == PV_PENDING)
			return PV_PENDING;
	}
	if (status != PV_OK) {
		client->context_made = false;
		lose_context(client, "its context cannot be made", status);
	}
	return PV_OK;
}

/* What the client gets for memory that it cannot have: an id that can be given back, and nothing to map. */
static enum pv_status send_blob(struct pv_vtest_client *client, struct pv_vtest_resource *resource, int fd)
{
	enum pv_status status = pv_vtest_client_reply(client, PV_VTEST_RESOURCE_CREATE_BLOB, &resource->id, 1);

	if (status != PV_OK)
		pv_fd_close(&fd);
	else if (fd < 0)
		status = pv_vtest_client_send_fd(client, client->vtest->null_fd, false);
	else
		status = pv_vtest_client_send_fd(client, fd, true);
	return status;
}

static enum pv_status blob_created(struct pv_vtest_client *client, enum pv_status status)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	struct pv_vtest_resource *resource = client->resource;
	int fd = -1;

	client->resource = NULL;
	if (status == PV_OK) {
		resource->dead = false;
		client->resource_bytes += resource->size_bytes;
		status = renderer->ops->blob_export(renderer, resource->id, &fd);
		/* Memory that only the GPU reaches: the client does not map it. */
		if (status == PV_ERR_UNSUPPORTED)
			status = PV_OK;
	}
	if (status != PV_OK && !client->lost)
		PV_LOG_LIMITED(PV_LOG_WARNING, "vtest", "client %u (%s): a blob of %llu bytes cannot be had: %s",
			       client->number, client->name, (unsigned long long)resource->size_bytes,
			       pv_status_string(status));
	return send_blob(client, resource, fd);
}

static enum pv_status resource_create_blob(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	const struct pv_vtest_params *params = &client->vtest->params;
	uint32_t type = word(message, 0), flags = word(message, 1);
	struct pv_resource_info info = {.kind = PV_RESOURCE_HOST_BLOB,
					.size_bytes = long_word(message, 2),
					.ctx_id = client->number,
					.blob_flags = flags,
					.blob_id = long_word(message, 4)};
	enum pv_status status;
	uint64_t total_bytes;

	if (client->step > 0)
		return blob_created(client, client->op_status);
	if (type < PV_VTEST_BLOB_GUEST || type > PV_VTEST_BLOB_HOST3D_GUEST)
		return FAULT(client, message, "there is no blob type %u", type);
	if (flags & ~(uint32_t)PV_VTEST_BLOB_ALL_FLAGS)
		return FAULT(client, message, "there are no blob flags 0x%x", flags);
	if (type == PV_VTEST_BLOB_GUEST && info.blob_id != 0)
		return FAULT(client, message, "a guest's blob has no id");
	client->resource = pv_vtest_resource_add(client, 0, info.size_bytes);
	if (!client->resource)
		return PV_ERR_NO_MEMORY;
	client->step = 1;
	info.id = client->resource->id;
	if (client->lost || info.size_bytes == 0)
		status = PV_ERR_GUEST;
	else if (!pv_vtest_client_may_have_fd(client) ||
		 !pv_add_u64(client->resource_bytes, info.size_bytes, &total_bytes) ||
		 (params->max_client_bytes && total_bytes > params->max_client_bytes))
		status = PV_ERR_NO_MEMORY;
	else
		/* There is no guest memory: blobs of it are shared memory of the renderer's like those with id 0. */
		status = renderer->ops->resource_create(renderer, pv_vtest_client_op_id(client), &info);
	return status == PV_PENDING ? PV_PENDING : blob_created(client, status);
}

static enum pv_status resource_unref(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_vtest_resource *resource = pv_id_map_get(&client->vtest->resources, word(message, 0));

	if (!resource || resource->client != client)
		return FAULT(client, message, "there is no resource %u", word(message, 0));
	pv_vtest_resource_remove(resource);
	return PV_OK;
}

/* ---- Syncs ---- */

static enum pv_status sync_create(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	uint32_t id = 0;
	enum pv_status status = pv_vtest_sync_create(&client->syncs, long_word(message, 0), &id);

	if (status != PV_OK)
		return FAULT(client, message, "too many syncs, or no memory for one more than %u",
			     client->syncs.map.count);
	return pv_vtest_client_reply(client, PV_VTEST_SYNC_CREATE, &id, 1);
}

static enum pv_status no_sync(struct pv_vtest_client *client, const struct pv_vtest_message *message, uint32_t id)
{
	return FAULT(client, message, "there is no sync %u", id);
}

static enum pv_status sync_unref(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	uint32_t id = word(message, 0);

	return pv_vtest_sync_remove(&client->syncs, id) ? PV_OK : no_sync(client, message, id);
}

static enum pv_status sync_read(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	const struct pv_vtest_sync *sync = pv_vtest_sync_find(&client->syncs, word(message, 0));

	if (!sync)
		return no_sync(client, message, word(message, 0));
	uint32_t value[2] = {(uint32_t)sync->value, (uint32_t)(sync->value >> 32)};
	return pv_vtest_client_reply(client, PV_VTEST_SYNC_READ, value, 2);
}

static enum pv_status sync_write(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_vtest_sync *sync = pv_vtest_sync_find(&client->syncs, word(message, 0));

	if (!sync)
		return no_sync(client, message, word(message, 0));
	pv_vtest_sync_set(&client->syncs, sync, long_word(message, 1));
	return PV_OK;
}

static enum pv_status sync_wait(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_vtest_target targets[PV_VTEST_MAX_WAIT_TARGETS];
	size_t nr_words = message->len_bytes / 4, count = (nr_words - 2) / 3;
	uint32_t flags = word(message, 0), timeout_ms = word(message, 1);
	uint64_t now_ns = pv_now_ns(), deadline_ns = UINT64_MAX;
	enum pv_status status;
	int fd = -1;

	if ((nr_words - 2) % 3 != 0)
		return FAULT(client, message, "%zu words are not a whole number of syncs", nr_words);
	if (flags & ~(uint32_t)PV_VTEST_WAIT_ANY)
		return FAULT(client, message, "there are no flags 0x%x", flags);
	if (timeout_ms != PV_VTEST_WAIT_FOREVER)
		deadline_ns = now_ns + timeout_ms * UINT64_C(1000000);
	for (size_t i = 0; i < count; i++) {
		targets[i].sync_id = word(message, 2 + 3 * i);
		targets[i].value = long_word(message, 3 + 3 * i);
	}
	if (!pv_vtest_client_may_have_fd(client))
		return FAULT(client, message, "too many waits and blobs at once");
	status =
	    pv_vtest_wait_create(&client->syncs, targets, count, flags & PV_VTEST_WAIT_ANY, now_ns, deadline_ns, &fd);
	if (status == PV_ERR_PEER)
		return FAULT(client, message, "a sync does not exist");
	if (status != PV_OK)
		return FAULT(client, message, "no room for one more wait: %s", pv_status_string(status));
	if (deadline_ns != UINT64_MAX && client->syncs.nr_waits > 0)
		pv_vtest_arm_wait_timer(client->vtest, deadline_ns);
	status = pv_vtest_client_reply(client, PV_VTEST_SYNC_WAIT, NULL, 0);
	if (status == PV_OK)
		return pv_vtest_client_send_fd(client, fd, true);
	pv_fd_close(&fd);
	return status;
}

/* ---- The table ---- */

static const struct pv_vtest_handler handlers[] = {
    {.command = PV_VTEST_CREATE_RENDERER,
     .name = "CREATE_RENDERER",
     .in_bytes = true,
     .max_words = 1u << 20,
     .run = create_renderer},
    {.command = PV_VTEST_PING_PROTOCOL_VERSION, .name = "PING_PROTOCOL_VERSION", .run = ping_protocol_version},
    {.command = PV_VTEST_PROTOCOL_VERSION,
     .name = "PROTOCOL_VERSION",
     .min_words = 1,
     .max_words = 1,
     .run = protocol_version},
    {.command = PV_VTEST_RESOURCE_BUSY_WAIT,
     .name = "RESOURCE_BUSY_WAIT",
     .min_words = 2,
     .max_words = 2,
     .run = pv_vtest_busy_wait},
    {.command = PV_VTEST_GET_PARAM,
     .name = "GET_PARAM",
     .min_words = 1,
     .max_words = 1,
     .since = PV_VTEST_VERSION_BLOBS,
     .run = get_param},
    {.command = PV_VTEST_GET_CAPSET,
     .name = "GET_CAPSET",
     .min_words = 2,
     .max_words = 2,
     .since = PV_VTEST_VERSION_BLOBS,
     .run = get_capset},
    {.command = PV_VTEST_CONTEXT_INIT,
     .name = "CONTEXT_INIT",
     .min_words = 1,
     .max_words = 1,
     .since = PV_VTEST_VERSION_BLOBS,
     .run = context_init},
    {.command = PV_VTEST_RESOURCE_CREATE_BLOB,
     .name = "RESOURCE_CREATE_BLOB",
     .min_words = 6,
     .max_words = 6,
     .needs_context = true,
     .run = resource_create_blob},
    {.command = PV_VTEST_RESOURCE_UNREF,
     .name = "RESOURCE_UNREF",
     .min_words = 1,
     .max_words = 1,
     .needs_context = true,
     .run = resource_unref},
    {.command = PV_VTEST_SYNC_CREATE,
     .name = "SYNC_CREATE",
     .min_words = 2,
     .max_words = 2,
     .since = PV_VTEST_VERSION_BLOBS,
     .run = sync_create},
    {.command = PV_VTEST_SYNC_UNREF,
     .name = "SYNC_UNREF",
     .min_words = 1,
     .max_words = 1,
     .since = PV_VTEST_VERSION_BLOBS,
     .run = sync_unref},
    {.command = PV_VTEST_SYNC_READ,
     .name = "SYNC_READ",
     .min_words = 1,
     .max_words = 1,
     .since = PV_VTEST_VERSION_BLOBS,
     .run = sync_read},
    {.command = PV_VTEST_SYNC_WRITE,
     .name = "SYNC_WRITE",
     .min_words = 3,
     .max_words = 3,
     .since = PV_VTEST_VERSION_BLOBS,
     .run = sync_write},
    {.command = PV_VTEST_SYNC_WAIT,
     .name = "SYNC_WAIT",
     .min_words = 2,
     .max_words = 2 + 3 * PV_VTEST_MAX_WAIT_TARGETS,
     .since = PV_VTEST_VERSION_BLOBS,
     .run = sync_wait},
    {.command = PV_VTEST_SUBMIT_CMD2,
     .name = "SUBMIT_CMD2",
     .min_words = 1,
     .max_words = PV_VTEST_MAX_SUBMIT_WORDS,
     .needs_context = true,
     .run = pv_vtest_submit},
    {.command = PV_VTEST_GET_CAPS, .name = "GET_CAPS", .run = pv_vtest_get_caps},
    {.command = PV_VTEST_GET_CAPS2, .name = "GET_CAPS2", .run = pv_vtest_get_caps},
    {.command = PV_VTEST_RESOURCE_CREATE,
     .name = "RESOURCE_CREATE",
     .min_words = 10,
     .max_words = 10,
     .run = pv_vtest_resource_create},
    {.command = PV_VTEST_RESOURCE_CREATE2,
     .name = "RESOURCE_CREATE2",
     .min_words = 11,
     .max_words = 11,
     .run = pv_vtest_resource_create},
    {.command = PV_VTEST_TRANSFER_GET2,
     .name = "TRANSFER_GET2",
     .min_words = 10,
     .max_words = 10,
     .run = pv_vtest_transfer},
    {.command = PV_VTEST_TRANSFER_PUT2,
     .name = "TRANSFER_PUT2",
     .min_words = 10,
     .max_words = 10,
     .longer_header = true, /* Mesa counts the pixels, which are in shared memory */
     .run = pv_vtest_transfer},
    {.command = PV_VTEST_SUBMIT_CMD,
     .name = "SUBMIT_CMD",
     .max_words = PV_VTEST_MAX_GL_SUBMIT_WORDS,
     .run = pv_vtest_submit_gl},
};

const struct pv_vtest_handler *pv_vtest_find_handler(uint32_t command)
{
	for (size_t i = 0; i < PV_ARRAY_LEN(handlers); i++) {
		if (handlers[i].command == command)
			return &handlers[i];
	}
	return NULL;
}

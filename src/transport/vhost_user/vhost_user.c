/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/vhost_user.h"

#include <string.h>

#include "base/log.h"
#include "transport/vhost_user/back_channel.h"
#include "transport/vhost_user/backend.h"

#define MODULE "vhost-user"

/* Owned by the socket thread. */
struct pv_vhost_user {
	struct pv_connection connection; /* first: see pv_connection_create() */
	struct pv_vhost_backend backend;
	struct pv_vhost_channel channel;
};

/* What the connection asks of the protocol. */

static enum pv_status check_header(void *user, const void *bytes, size_t *payload_bytes)
{
	struct pv_vhost_header header;
	struct pv_vhost_fault fault;

	(void)user;
	memcpy(&header, bytes, sizeof(header));
	enum pv_status status = pv_vhost_header_check(&header, &fault);
	if (status == PV_OK)
		*payload_bytes = header.size;
	else
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", pv_vhost_request_name(header.request), fault.text);
	return status;
}

static enum pv_status handle(void *user, const void *header_bytes, const void *payload, const int *take_fds,
			     size_t nr_fds)
{
	struct pv_vhost_user *transport = user;
	struct pv_vhost_header header;
	struct pv_vhost_message message;
	struct pv_vhost_fault fault;

	memcpy(&header, header_bytes, sizeof(header));
	enum pv_status status =
	    pv_vhost_message_parse(&header, payload, take_fds, nr_fds, PV_GPU_NR_QUEUES, &message, &fault);
	if (status != PV_OK) {
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", pv_vhost_request_name(header.request), fault.text);
		return status;
	}
	if (pv_log_enabled(PV_LOG_DEBUG))
		pv_log(PV_LOG_DEBUG, MODULE, "<- %s", pv_vhost_request_name(message.request));
	return pv_vhost_backend_handle(&transport->backend, &message);
}

static bool is_waiting(void *user)
{
	struct pv_vhost_user *transport = user;

	return pv_vhost_backend_is_waiting(&transport->backend);
}

static enum pv_status op_done(void *user, const struct pv_transport_op *op)
{
	struct pv_vhost_user *transport = user;

	return pv_vhost_backend_op_done(&transport->backend, op);
}

static void config_changed(void *user)
{
	struct pv_vhost_user *transport = user;

	if (pv_vhost_backend_wants_config_changes(&transport->backend))
		pv_vhost_channel_config_change(&transport->channel);
}

static void get_stats(void *user, struct pv_transport_stats *stats)
{
	struct pv_vhost_user *transport = user;
	const struct pv_vhost_backend *backend = &transport->backend;

	stats->memory_regions = backend->memory.nr_slots;
	for (size_t i = 0; i < backend->memory.nr_slots; i++)
		stats->memory_bytes += backend->memory.slots[i].where.size_bytes;
	stats->protocol_features = backend->protocol_features;
	stats->features = backend->features;
	stats->window_mapped = backend->window == PV_VHOST_WINDOW_MAPPED;
}

static void ended(void *user)
{
	struct pv_vhost_user *transport = user;

	pv_vhost_channel_finish(&transport->channel);
	pv_vhost_backend_finish(&transport->backend);
}

static const struct pv_connection_ops connection_ops = {
    .module = MODULE,
    .header_bytes = sizeof(struct pv_vhost_header),
    .max_payload_bytes = PV_VHOST_MAX_PAYLOAD_BYTES,
    .max_reply_bytes = PV_VHOST_MAX_REPLY_BYTES,
    .max_fds = PV_VHOST_MAX_FDS,
    .max_ops = PV_VHOST_MAX_OPS_PER_MESSAGE,
    .check_header = check_header,
    .handle = handle,
    .is_waiting = is_waiting,
    .op_done = op_done,
    .config_changed = config_changed,
    .get_stats = get_stats,
    .ended = ended,
};

/* What the back end asks of the connection and of the channel. */

static void reply(void *user, const void *bytes, size_t len)
{
	struct pv_vhost_user *transport = user;

	pv_connection_reply(&transport->connection, bytes, len, -1);
}

static void submit(void *user, const struct pv_transport_op *op)
{
	struct pv_vhost_user *transport = user;

	pv_connection_submit(&transport->connection, op);
}

static void window_mapped(void *user, bool ok)
{
	struct pv_vhost_user *transport = user;

	pv_vhost_backend_window_mapped(&transport->backend, ok);
	pv_connection_publish_stats(&transport->connection);
}

static void channel_lost(void *user, enum pv_status status)
{
	struct pv_vhost_user *transport = user;

	if (status != PV_OK)
		pv_connection_end(&transport->connection, status);
	else
		pv_log(PV_LOG_DEBUG, MODULE, "the front end closed the channel for our requests");
}

static enum pv_status open_channel(void *user, int take_fd)
{
	struct pv_vhost_user *transport = user;

	return pv_vhost_channel_open(&transport->channel, take_fd);
}

static bool can_map_window(void *user)
{
	const struct pv_vhost_user *transport = user;

	return pv_vhost_channel_takes_fds(&transport->channel);
}

static void map_window(void *user, bool wants_reply)
{
	struct pv_vhost_user *transport = user;

	pv_vhost_channel_map(&transport->channel, transport->connection.window_fd, transport->connection.window_bytes,
			     wants_reply);
}

static const struct pv_vhost_backend_ops backend_ops = {
    .reply = reply,
    .submit = submit,
    .open_channel = open_channel,
    .can_map_window = can_map_window,
    .map_window = map_window,
};

/* Life. */

static enum pv_status start(void *object)
{
	struct pv_vhost_user *transport = object;
	struct pv_vhost_channel_events events = {.mapped = window_mapped, .lost = channel_lost, .user = transport};
	struct pv_vhost_backend_params params = {
	    .ops = &backend_ops,
	    .user = transport,
	    .device = &transport->connection.device,
	    .device_features = transport->connection.device_features,
	    .window_features = transport->connection.window_features,
	    .window_fd = transport->connection.window_fd,
	    .window_bytes = transport->connection.window_bytes,
	};

	pv_vhost_channel_init(&transport->channel, transport->connection.loop, &events);
	return pv_vhost_backend_init(&transport->backend, &params);
}

enum pv_status pv_vhost_user_create(const struct pv_vhost_user_params *params, struct pv_vhost_user **out)
{
	struct pv_connection_params connection_params = {
	    .ops = &connection_ops,
	    .gpu = params->gpu,
	    .device_loop = params->device_loop,
	    .take_fd = params->take_fd,
	    .console = params->console,
	    .closed = params->closed,
	    .user = params->user,
	};
	void *transport;
	enum pv_status status =
	    pv_connection_create(sizeof(struct pv_vhost_user), &connection_params, start, &transport);

	if (status == PV_OK)
		*out = transport;
	return status;
}

void pv_vhost_user_destroy(struct pv_vhost_user *transport)
{
	pv_connection_destroy(transport ? &transport->connection : NULL);
}

void pv_vhost_user_get_stats(struct pv_vhost_user *transport, struct pv_transport_stats *out)
{
	pv_connection_get_stats(&transport->connection, out);
}

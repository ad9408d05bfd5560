/* SPDX-License-Identifier: MIT */
#include "transport/vfio_user/vfio_user.h"

#include <string.h>

#include "base/log.h"
#include "transport/vfio_user/function.h"

#define MODULE "vfio-user"

/* Owned by the socket thread. */
struct pv_vfio_user {
	struct pv_connection connection; /* first: see pv_connection_create() */
	struct pv_vfio_function function;
};

/* What the connection asks of the protocol. */

static enum pv_status check_header(void *user, const void *bytes, size_t *payload_bytes)
{
	struct pv_vfio_header header;
	struct pv_vfio_fault fault;

	(void)user;
	memcpy(&header, bytes, sizeof(header));
	enum pv_status status = pv_vfio_header_check(&header, payload_bytes, &fault);
	if (status != PV_OK)
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", pv_vfio_command_name(header.command), fault.text);
	return status;
}

static enum pv_status handle(void *user, const void *header_bytes, const void *payload, const int *take_fds,
			     size_t nr_fds)
{
	struct pv_vfio_user *transport = user;
	struct pv_vfio_header header;
	struct pv_vfio_message message;
	struct pv_vfio_fault fault;

	memcpy(&header, header_bytes, sizeof(header));
	if (pv_vfio_message_parse(&header, payload, take_fds, nr_fds, &message, &fault) != PV_OK) {
		pv_vfio_function_refuse(&transport->function, &message, &fault);
		return PV_OK;
	}
	if (pv_log_enabled(PV_LOG_DEBUG))
		pv_log(PV_LOG_DEBUG, MODULE, "<- %s", pv_vfio_command_name(message.command));
	return pv_vfio_function_handle(&transport->function, &message);
}

/* After the answer has left: what a doorbell leads to may take us down, but not the VMM with us. */
static void handled(void *user)
{
	struct pv_vfio_user *transport = user;
	uint32_t doorbells = pv_vfio_function_take_doorbells(&transport->function);

	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		if (doorbells >> i & 1)
			pv_transport_device_ring(&transport->connection.device, i);
	}
}

static bool is_waiting(void *user)
{
	struct pv_vfio_user *transport = user;

	return pv_vfio_function_is_waiting(&transport->function);
}

static enum pv_status op_done(void *user, const struct pv_transport_op *op)
{
	struct pv_vfio_user *transport = user;
	enum pv_status status = pv_vfio_function_op_done(&transport->function, op);

	handled(user);
	return status;
}

static void config_interrupt(void *user)
{
	struct pv_vfio_user *transport = user;

	pv_vfio_function_config_interrupt(&transport->function);
}

static void get_stats(void *user, struct pv_transport_stats *stats)
{
	struct pv_vfio_user *transport = user;
	const struct pv_vfio_dma_table *dma = &transport->function.dma;

	for (size_t i = 0; i < dma->nr_maps; i++) {
		if (!dma->maps[i].region)
			continue;
		stats->memory_regions++;
		stats->memory_bytes += dma->maps[i].size_bytes;
	}
	stats->features = transport->function.features;
	stats->window_mapped = transport->function.window_shown;
}

static void ended(void *user)
{
	struct pv_vfio_user *transport = user;

	pv_vfio_function_finish(&transport->function);
}

static const struct pv_connection_ops connection_ops = {
    .module = MODULE,
    .header_bytes = sizeof(struct pv_vfio_header),
    .max_payload_bytes = PV_VFIO_MAX_PAYLOAD_BYTES,
    .max_reply_bytes = PV_VFIO_MAX_REPLY_BYTES,
    .max_fds = PV_VFIO_MAX_FDS,
    .max_ops = PV_VFIO_MAX_OPS,
    .check_header = check_header,
    .handle = handle,
    .handled = handled,
    .is_waiting = is_waiting,
    .op_done = op_done,
    .config_changed = config_interrupt,
    .needs_reset = config_interrupt,
    .get_stats = get_stats,
    .ended = ended,
};

/* What the function asks of the connection. */

static void reply(void *user, const void *bytes, size_t len, int fd)
{
	struct pv_vfio_user *transport = user;

	pv_connection_reply(&transport->connection, bytes, len, fd);
}

static void submit(void *user, const struct pv_transport_op *op)
{
	struct pv_vfio_user *transport = user;

	pv_connection_submit(&transport->connection, op);
}

static size_t free_ops(void *user)
{
	const struct pv_vfio_user *transport = user;

	return pv_connection_free_ops(&transport->connection);
}

static const struct pv_vfio_function_ops function_ops = {.reply = reply, .submit = submit, .free_ops = free_ops};

/* Life. */

static enum pv_status start(void *object)
{
	struct pv_vfio_user *transport = object;
	struct pv_vfio_function_params params = {
	    .ops = &function_ops,
	    .user = transport,
	    .device = &transport->connection.device,
	    .device_features = transport->connection.device_features,
	    .window_fd = transport->connection.window_fd,
	    .window_bytes = transport->connection.window_bytes,
	};
	enum pv_status status = pv_vfio_function_init(&transport->function, &params);

	if (status == PV_OK && (params.window_bytes & (params.window_bytes - 1)) != 0)
		status = PV_ERR_ARGUMENT;
	return status;
}

enum pv_status pv_vfio_user_create(const struct pv_vfio_user_params *params, struct pv_vfio_user **out)
{
	struct pv_connection_params connection_params = {
	    .ops = &connection_ops,
	    .gpu = params->gpu,
	    .device_loop = params->device_loop,
	    .take_fd = params->take_fd,
	    .closed = params->closed,
	    .user = params->user,
	};
	void *transport;
	enum pv_status status =
	    pv_connection_create(sizeof(struct pv_vfio_user), &connection_params, start, &transport);

	if (status == PV_OK)
		*out = transport;
	return status;
}

void pv_vfio_user_destroy(struct pv_vfio_user *transport)
{
	pv_connection_destroy(transport ? &transport->connection : NULL);
}

void pv_vfio_user_get_stats(struct pv_vfio_user *transport, struct pv_transport_stats *out)
{
	pv_connection_get_stats(&transport->connection, out);
}

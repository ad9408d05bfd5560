/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. The socket thread sleeps in its loop and never anywhere else. It reads one message at a time,
 * never a byte past it (so that fds belong to the message they came with), and reads the next only when the protocol
 * has finished the last, its reply has left and there are enough free operations: a peer that floods us, or does not
 * read its replies, fills its own socket.
 *
 * Operations travel in a fixed set of carriers: posted to the device loop, carried out there, posted back. Nothing that
 * the front end may wait for waits, in turn, for the front end: that is what keeps us out of the dead locks these
 * protocols are known for.
 *
 *   socket thread    reader -> protocol -> carriers ----post---> device_side    device thread
 *                    outbox <- protocol <- carriers <---post----
 *
 * The end of the connection, for whatever reason, is one more operation, DETACH, behind all others; when it is back,
 * nothing of this connection is left on the device thread and `closed` is called.
 */
#include "transport/connection.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/thread.h"

#define OPS(connection) ((connection)->params.ops)
/* The object that the connection begins. */
#define USER(connection) ((void *)(connection))

void pv_connection_publish_stats(struct pv_connection *connection)
{
	struct pv_transport_stats stats = {.connected = !connection->ended, .messages = connection->messages};

	OPS(connection)->get_stats(USER(connection), &stats);
	pv_mutex_lock(&connection->stats_lock);
	connection->stats = stats;
	pv_mutex_unlock(&connection->stats_lock);
}

void pv_connection_get_stats(struct pv_connection *connection, struct pv_transport_stats *out)
{
	pv_mutex_lock(&connection->stats_lock);
	*out = connection->stats;
	pv_mutex_unlock(&connection->stats_lock);
	out->doorbells = atomic_load_explicit(&connection->device.doorbells, memory_order_relaxed);
}

/* The end. */

static void detach_done(struct pv_loop_task *task)
{
	struct pv_connection_carrier *carrier = PV_CONTAINER_OF(task, struct pv_connection_carrier, task);
	struct pv_connection *connection = carrier->connection;

	connection->detached = true;
	if (connection->quitting)
		pv_loop_stop(connection->loop);
	else if (connection->params.closed)
		connection->params.closed(connection->params.user, connection->end_status);
}

static void run_on_device(struct pv_loop_task *task);

static void drop_received_fds(struct pv_connection *connection)
{
	for (size_t i = 0; i < connection->reader.nr_fds; i++)
		pv_fd_close(&connection->reader.fds[i]);
	connection->reader.nr_fds = 0;
}

void pv_connection_end(struct pv_connection *connection, enum pv_status status)
{
	if (connection->ended)
		return;
	connection->ended = true;
	connection->end_status = status;
	pv_loop_remove_fd(connection->watch);
	connection->watch = NULL;
	pv_fd_close(&connection->fd);
	drop_received_fds(connection);
	OPS(connection)->ended(USER(connection));
	pv_connection_publish_stats(connection);

	connection->detach.op = (struct pv_transport_op){.kind = PV_TRANSPORT_OP_DETACH, .take_fd = -1};
	connection->detach.task.run = run_on_device;
	pv_loop_post(connection->params.device_loop, &connection->detach.task);
}

/* Carriers. */

static void update(struct pv_connection *connection);

static void op_done(struct pv_loop_task *task)
{
	struct pv_connection_carrier *carrier = PV_CONTAINER_OF(task, struct pv_connection_carrier, task);
	struct pv_connection *connection = carrier->connection;
	struct pv_transport_op op = carrier->op;

	carrier->next_free = connection->free_carriers;
	connection->free_carriers = carrier;
	connection->nr_free_carriers++;
	if (connection->ended)
		return;
	enum pv_status status = OPS(connection)->op_done(USER(connection), &op);
	if (status != PV_OK)
		pv_connection_end(connection, status);
	update(connection);
}

/* Device thread. */
static void run_on_device(struct pv_loop_task *task)
{
	struct pv_connection_carrier *carrier = PV_CONTAINER_OF(task, struct pv_connection_carrier, task);
	struct pv_connection *connection = carrier->connection;

	pv_transport_device_run(&connection->device, &carrier->op);
	carrier->task.run = carrier->op.kind == PV_TRANSPORT_OP_DETACH ? detach_done : op_done;
	pv_loop_post(connection->loop, &carrier->task);
}

size_t pv_connection_free_ops(const struct pv_connection *connection)
{
	return connection->nr_free_carriers;
}

void pv_connection_submit(struct pv_connection *connection, const struct pv_transport_op *op)
{
	struct pv_connection_carrier *carrier = connection->free_carriers;

	/* can_read() saw to it that there are enough. */
	if (PV_NEVER(!carrier))
		return;
	connection->free_carriers = carrier->next_free;
	connection->nr_free_carriers--;
	carrier->op = *op;
	carrier->task.run = run_on_device;
	pv_loop_post(connection->params.device_loop, &carrier->task);
}

/* Writing. */

static void flush(struct pv_connection *connection)
{
	while (!connection->ended && connection->out_sent < connection->out_len) {
		struct iovec iov = {.iov_base = connection->out + connection->out_sent,
				    .iov_len = connection->out_len - connection->out_sent};
		bool with_fd = connection->out_fd >= 0 && connection->out_sent == 0;
		size_t sent = 0;
		enum pv_status status =
		    pv_socket_send(connection->fd, &iov, 1, &connection->out_fd, with_fd ? 1 : 0, &sent);

		if (status == PV_PENDING)
			return;
		if (status != PV_OK) {
			pv_connection_end(connection, PV_OK); /* it hung up */
			return;
		}
		connection->out_sent += sent;
	}
	connection->out_len = connection->out_sent = 0;
}

/* Sent by the next flush(): a connection must not end inside the protocol. */
void pv_connection_reply(struct pv_connection *connection, const void *bytes, size_t len, int fd)
{
	if (PV_NEVER(connection->out_len > 0 || len > OPS(connection)->max_reply_bytes))
		return;
	memcpy(connection->out, bytes, len);
	connection->out_len = len;
	connection->out_fd = fd;
}

/* Reading. */

static bool can_read(struct pv_connection *connection)
{
	return !connection->ended && connection->out_len == 0 && !OPS(connection)->is_waiting(USER(connection)) &&
	       connection->nr_free_carriers >= OPS(connection)->max_ops;
}

static void handle_message(struct pv_connection *connection)
{
	const uint8_t *bytes = connection->reader.bytes;
	size_t nr_fds = connection->reader.nr_fds;

	connection->reader.filled = connection->reader.nr_fds = 0;
	connection->messages++;
	enum pv_status status = OPS(connection)
				    ->handle(USER(connection), bytes, bytes + OPS(connection)->header_bytes,
					     connection->reader.fds, nr_fds);
	if (status != PV_OK) {
		pv_connection_end(connection, status);
		return;
	}
	flush(connection);
	if (!connection->ended && OPS(connection)->handled)
		OPS(connection)->handled(USER(connection));
}

/* The end of the stream, which may be a message's middle. */
static void peer_left(struct pv_connection *connection)
{
	bool in_message = connection->reader.filled > 0;

	if (in_message)
		pv_log(PV_LOG_ERROR, OPS(connection)->module,
		       "the front end closed the connection in the middle of a message");
	pv_connection_end(connection, in_message ? PV_ERR_PEER : PV_OK);
}

/* Reads up to the end of the header or of the payload. Returns false when there is nothing more to do for now. */
static bool read_some(struct pv_connection *connection)
{
	const struct pv_connection_ops *ops = OPS(connection);
	__typeof__(connection->reader) *reader = &connection->reader;
	bool in_header = reader->filled < ops->header_bytes;
	size_t want = ops->header_bytes + (in_header ? 0 : reader->payload_bytes) - reader->filled;
	size_t nr_fds = ops->max_fds - reader->nr_fds, got = 0;
	enum pv_status status = pv_socket_recv(connection->fd, reader->bytes + reader->filled, want, &got,
					       reader->fds + reader->nr_fds, &nr_fds);

	if (status == PV_PENDING)
		return false;
	if (status != PV_OK) {
		pv_log(PV_LOG_ERROR, ops->module, "the connection broke, or a message has more than %zu fds",
		       ops->max_fds);
		pv_connection_end(connection, PV_ERR_PEER);
		return false;
	}
	reader->nr_fds += nr_fds;
	if (got == 0) {
		peer_left(connection);
		return false;
	}
	reader->filled += got;
	if (in_header && reader->filled == ops->header_bytes) {
		reader->payload_bytes = 0;
		if (ops->check_header(USER(connection), reader->bytes, &reader->payload_bytes) != PV_OK ||
		    PV_NEVER(reader->payload_bytes > ops->max_payload_bytes)) {
			pv_connection_end(connection, PV_ERR_PEER);
			return false;
		}
	}
	if (reader->filled >= ops->header_bytes && reader->filled == ops->header_bytes + reader->payload_bytes)
		handle_message(connection);
	return true;
}

/* After every event: sends what there is to send; what the loop shall tell us next. */
static void update(struct pv_connection *connection)
{
	flush(connection);
	if (!connection->ended) {
		pv_loop_set_events(connection->watch, (can_read(connection) ? PV_LOOP_READ : 0u) |
							  (connection->out_len > 0 ? PV_LOOP_WRITE : 0u));
		pv_connection_publish_stats(connection);
	}
}

static void socket_ready(void *user, uint32_t events)
{
	struct pv_connection *connection = user;

	flush(connection);
	/* Level-triggered: with reading suspended this would call us for ever. Nobody is left to hear an answer. */
	if ((events & PV_LOOP_HANGUP) && !can_read(connection))
		pv_connection_end(connection, PV_OK);
	while (can_read(connection) && read_some(connection))
		;
	update(connection);
}

/* What comes from other threads. */

/* Device thread. */
static void config_changed(void *user)
{
	struct pv_connection *connection = user;

	if (!atomic_exchange_explicit(&connection->config_posted, true, memory_order_acq_rel))
		pv_loop_post(connection->loop, &connection->config_task);
}

static void tell_config_changed(struct pv_loop_task *task)
{
	struct pv_connection *connection = PV_CONTAINER_OF(task, struct pv_connection, config_task);

	(void)atomic_exchange_explicit(&connection->config_posted, false, memory_order_acq_rel);
	if (!connection->ended)
		OPS(connection)->config_changed(USER(connection));
}

/* Device thread. */
static void needs_reset(void *user)
{
	struct pv_connection *connection = user;

	if (!atomic_exchange_explicit(&connection->reset_posted, true, memory_order_acq_rel))
		pv_loop_post(connection->loop, &connection->reset_task);
}

static void tell_needs_reset(struct pv_loop_task *task)
{
	struct pv_connection *connection = PV_CONTAINER_OF(task, struct pv_connection, reset_task);

	(void)atomic_exchange_explicit(&connection->reset_posted, false, memory_order_acq_rel);
	if (!connection->ended && OPS(connection)->needs_reset)
		OPS(connection)->needs_reset(USER(connection));
}

/* Device thread, once. */
static void memory_lost(void *user)
{
	struct pv_connection *connection = user;

	pv_loop_post(connection->loop, &connection->memory_task);
}

static void end_for_lost_memory(struct pv_loop_task *task)
{
	pv_connection_end(PV_CONTAINER_OF(task, struct pv_connection, memory_task), PV_ERR_PEER);
}

/* Device thread. */
static void give_console(void *user, int take_fd)
{
	struct pv_connection *connection = user;

	if (connection->params.console)
		connection->params.console(connection->params.user, take_fd);
	else
		pv_fd_close(&take_fd);
}

static void quit(struct pv_loop_task *task)
{
	struct pv_connection *connection = PV_CONTAINER_OF(task, struct pv_connection, quit_task);

	connection->quitting = true;
	pv_connection_end(connection, PV_OK);
	if (connection->detached)
		pv_loop_stop(connection->loop);
}

/* Life. */

static void *socket_thread(void *user)
{
	struct pv_connection *connection = user;

	pv_loop_run(connection->loop);
	return NULL;
}

/* Device thread. */
static void attach(void *user)
{
	struct pv_connection *connection = user;
	struct pv_transport_device_params params = {.gpu = connection->params.gpu,
						    .loop = connection->params.device_loop,
						    .console = give_console,
						    .config_changed = config_changed,
						    .needs_reset = needs_reset,
						    .memory_lost = memory_lost,
						    .user = connection};

	pv_transport_device_init(&connection->device, &params);
	connection->device_features = pv_gpu_features(connection->params.gpu);
	connection->window_features = pv_gpu_features_of_window(connection->params.gpu);
	connection->window_fd = pv_gpu_window_fd(connection->params.gpu);
	connection->window_bytes = pv_gpu_window_bytes(connection->params.gpu);
}

/* Device thread. */
static void finish_device(void *user)
{
	struct pv_connection *connection = user;

	pv_transport_device_finish(&connection->device);
}

static enum pv_status init(struct pv_connection *connection, const struct pv_connection_params *params)
{
	enum pv_status status = PV_ERR_NO_MEMORY;

	connection->params = *params;
	connection->fd = params->take_fd;
	connection->out_fd = -1;
	connection->reader.bytes = malloc(params->ops->header_bytes + params->ops->max_payload_bytes);
	connection->out = malloc(params->ops->max_reply_bytes);
	if (connection->reader.bytes && connection->out)
		status = pv_loop_create(&connection->loop);
	if (status != PV_OK)
		return status;
	pv_mutex_init(&connection->stats_lock);
	connection->config_task.run = tell_config_changed;
	connection->reset_task.run = tell_needs_reset;
	connection->memory_task.run = end_for_lost_memory;
	connection->quit_task.run = quit;
	connection->detach.connection = connection;
	for (size_t i = 0; i < PV_CONNECTION_NR_CARRIERS; i++) {
		connection->carriers[i].connection = connection;
		connection->carriers[i].next_free = connection->free_carriers;
		connection->free_carriers = &connection->carriers[i];
	}
	connection->nr_free_carriers = PV_CONNECTION_NR_CARRIERS;
	pv_loop_call(params->device_loop, attach, connection);
	return PV_OK;
}

static enum pv_status start_thread(struct pv_connection *connection)
{
	enum pv_status status = pv_fd_set_nonblocking(connection->fd, true);

	if (status == PV_OK)
		status = pv_loop_add_fd(connection->loop, connection->fd, PV_LOOP_READ, socket_ready, connection,
					&connection->watch);
	if (status != PV_OK)
		return status;
	pv_connection_publish_stats(connection);
	return pv_thread_create(OPS(connection)->module, socket_thread, connection, &connection->thread);
}

static void free_memory(struct pv_connection *connection)
{
	pv_fd_close(&connection->fd);
	free(connection->reader.bytes);
	free(connection->out);
	free(connection);
}

/* The thread is gone, or never was. */
static void release(struct pv_connection *connection)
{
	pv_loop_call(connection->params.device_loop, finish_device, connection);
	pv_loop_remove_fd(connection->watch);
	pv_loop_destroy(connection->loop);
	pv_mutex_finish(&connection->stats_lock);
	free_memory(connection);
}

enum pv_status pv_connection_create(size_t object_bytes, const struct pv_connection_params *params,
				    enum pv_status (*start)(void *object), void **out)
{
	struct pv_connection *connection = calloc(1, object_bytes);
	int fd = params->take_fd;
	enum pv_status status;

	if (!connection) {
		pv_fd_close(&fd);
		return PV_ERR_NO_MEMORY;
	}
	status = init(connection, params);
	if (status != PV_OK) {
		free_memory(connection);
		return status;
	}
	status = start(USER(connection));
	if (status == PV_OK)
		status = start_thread(connection);
	if (status != PV_OK) {
		OPS(connection)->ended(USER(connection));
		release(connection);
		return status;
	}
	*out = USER(connection);
	return PV_OK;
}

void pv_connection_destroy(struct pv_connection *connection)
{
	if (!connection)
		return;
	pv_loop_post(connection->loop, &connection->quit_task);
	pthread_join(connection->thread, NULL);
	release(connection);
}

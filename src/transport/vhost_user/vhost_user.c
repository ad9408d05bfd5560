/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. The socket thread sleeps in its loop and never anywhere else. It reads one message at a time,
 * never a byte past it (so that fds belong to the message they came with), and reads the next only when the back end
 * has finished the last, its reply has left and there are enough free operations: a peer that floods us, or does not
 * read its replies, fills its own socket.
 *
 * Operations travel in a fixed set of carriers: posted to the device loop, carried out there, posted back. Nothing that
 * the front end may wait for waits, in turn, for the front end: that is what keeps us out of the dead locks this
 * protocol is known for.
 *
 *   socket thread    reader -> backend -> carriers ----post---> device_side    device thread
 *                    outbox <- backend <- carriers <---post----
 *
 * The end of the connection, for whatever reason, is one more operation, DETACH, behind all others; when it is back,
 * nothing of this connection is left on the device thread and `closed` is called.
 */
#include "transport/vhost_user/vhost_user.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/socket.h"
#include "transport/vhost_user/back_channel.h"
#include "transport/vhost_user/backend.h"

#define MODULE      "vhost-user"
#define NR_CARRIERS 32

struct carrier {
	struct pv_loop_task task;
	struct pv_vhost_user *transport;
	struct pv_vhost_op op;
	struct carrier *next_free;
};

struct reader {
	struct pv_vhost_header header;
	uint8_t payload[PV_VHOST_MAX_PAYLOAD_BYTES];
	size_t filled; /* of header and payload together */
	int fds[PV_VHOST_MAX_FDS];
	size_t nr_fds;
};

/* Owned by the socket thread, but for what says otherwise. */
struct pv_vhost_user {
	struct pv_vhost_user_params params; /* immutable */
	struct pv_vhost_device device;      /* device thread */
	struct pv_loop *loop;
	pthread_t thread;

	int fd;
	struct pv_loop_fd *watch;
	struct reader reader;
	uint8_t out[PV_VHOST_MAX_REPLY_BYTES];
	size_t out_len, out_sent;
	struct pv_vhost_backend backend;
	struct pv_vhost_channel channel;

	struct carrier carriers[NR_CARRIERS];
	struct carrier *free_carriers;
	size_t nr_free_carriers;
	struct carrier detach;

	bool ended, detached, quitting;
	enum pv_status end_status;

	struct pv_loop_task config_task, memory_task, quit_task;
	/* Set by the device thread when it posts config_task, cleared (acq_rel on both sides) when that runs. */
	_Atomic bool config_posted;

	uint64_t messages;
	struct pv_mutex stats_lock;
	struct pv_vhost_user_stats stats PV_GUARDED_BY(stats_lock);
};

static void publish_stats(struct pv_vhost_user *transport)
{
	const struct pv_vhost_backend *backend = &transport->backend;
	struct pv_vhost_user_stats stats = {
	    .connected = !transport->ended,
	    .messages = transport->messages,
	    .memory_regions = backend->memory.nr_slots,
	    .protocol_features = backend->protocol_features,
	    .features = backend->features,
	    .window_mapped = backend->window == PV_VHOST_WINDOW_MAPPED,
	};

	for (size_t i = 0; i < backend->memory.nr_slots; i++)
		stats.memory_bytes += backend->memory.slots[i].where.size_bytes;
	pv_mutex_lock(&transport->stats_lock);
	transport->stats = stats;
	pv_mutex_unlock(&transport->stats_lock);
}

void pv_vhost_user_get_stats(struct pv_vhost_user *transport, struct pv_vhost_user_stats *out)
{
	pv_mutex_lock(&transport->stats_lock);
	*out = transport->stats;
	pv_mutex_unlock(&transport->stats_lock);
	out->doorbells = atomic_load_explicit(&transport->device.doorbells, memory_order_relaxed);
}

/* The end. */

static void detach_done(struct pv_loop_task *task)
{
	struct carrier *carrier = PV_CONTAINER_OF(task, struct carrier, task);
	struct pv_vhost_user *transport = carrier->transport;

	transport->detached = true;
	if (transport->quitting)
		pv_loop_stop(transport->loop);
	else if (transport->params.closed)
		transport->params.closed(transport->params.user, transport->end_status);
}

static void run_on_device(struct pv_loop_task *task);

static void end_connection(struct pv_vhost_user *transport, enum pv_status status)
{
	if (transport->ended)
		return;
	transport->ended = true;
	transport->end_status = status;
	pv_loop_remove_fd(transport->watch);
	transport->watch = NULL;
	pv_fd_close(&transport->fd);
	for (size_t i = 0; i < transport->reader.nr_fds; i++)
		pv_fd_close(&transport->reader.fds[i]);
	transport->reader.nr_fds = 0;
	pv_vhost_channel_finish(&transport->channel);
	pv_vhost_backend_finish(&transport->backend);
	publish_stats(transport);

	transport->detach.op = (struct pv_vhost_op){.kind = PV_VHOST_OP_DETACH, .take_fd = -1};
	transport->detach.task.run = run_on_device;
	pv_loop_post(transport->params.device_loop, &transport->detach.task);
}

/* Carriers. */

static void update(struct pv_vhost_user *transport);

static void op_done(struct pv_loop_task *task)
{
	struct carrier *carrier = PV_CONTAINER_OF(task, struct carrier, task);
	struct pv_vhost_user *transport = carrier->transport;
	struct pv_vhost_op op = carrier->op;

	carrier->next_free = transport->free_carriers;
	transport->free_carriers = carrier;
	transport->nr_free_carriers++;
	if (transport->ended)
		return;
	enum pv_status status = pv_vhost_backend_op_done(&transport->backend, &op);
	if (status != PV_OK)
		end_connection(transport, status);
	update(transport);
}

/* Device thread. */
static void run_on_device(struct pv_loop_task *task)
{
	struct carrier *carrier = PV_CONTAINER_OF(task, struct carrier, task);
	struct pv_vhost_user *transport = carrier->transport;

	pv_vhost_device_run(&transport->device, &carrier->op);
	carrier->task.run = carrier->op.kind == PV_VHOST_OP_DETACH ? detach_done : op_done;
	pv_loop_post(transport->loop, &carrier->task);
}

static void submit_op(void *user, const struct pv_vhost_op *op)
{
	struct pv_vhost_user *transport = user;
	struct carrier *carrier = transport->free_carriers;

	/* can_read() saw to it that there are enough. */
	if (PV_NEVER(!carrier))
		return;
	transport->free_carriers = carrier->next_free;
	transport->nr_free_carriers--;
	carrier->op = *op;
	carrier->task.run = run_on_device;
	pv_loop_post(transport->params.device_loop, &carrier->task);
}

/* Writing. */

static void flush(struct pv_vhost_user *transport)
{
	while (!transport->ended && transport->out_sent < transport->out_len) {
		struct iovec iov = {.iov_base = transport->out + transport->out_sent,
				    .iov_len = transport->out_len - transport->out_sent};
		size_t sent = 0;
		enum pv_status status = pv_socket_send(transport->fd, &iov, 1, NULL, 0, &sent);

		if (status == PV_PENDING)
			return;
		if (status != PV_OK) {
			end_connection(transport, PV_OK); /* it hung up */
			return;
		}
		transport->out_sent += sent;
	}
	transport->out_len = transport->out_sent = 0;
}

/* Sent by the next flush(): a connection must not end inside the back end. */
static void queue_reply(void *user, const void *bytes, size_t len)
{
	struct pv_vhost_user *transport = user;

	if (PV_NEVER(transport->out_len > 0 || len > sizeof(transport->out)))
		return;
	memcpy(transport->out, bytes, len);
	transport->out_len = len;
}

/* Reading. */

static bool can_read(const struct pv_vhost_user *transport)
{
	return !transport->ended && transport->out_len == 0 && !pv_vhost_backend_is_waiting(&transport->backend) &&
	       transport->nr_free_carriers >= PV_VHOST_MAX_OPS_PER_MESSAGE;
}

static void handle_message(struct pv_vhost_user *transport)
{
	struct reader *reader = &transport->reader;
	struct pv_vhost_message message;
	struct pv_vhost_fault fault;
	size_t nr_fds = reader->nr_fds;
	enum pv_status status;

	reader->filled = reader->nr_fds = 0;
	status = pv_vhost_message_parse(&reader->header, reader->payload, reader->fds, nr_fds, PV_GPU_NR_QUEUES,
					&message, &fault);
	if (status == PV_OK) {
		transport->messages++;
		if (pv_log_enabled(PV_LOG_DEBUG))
			pv_log(PV_LOG_DEBUG, MODULE, "<- %s", pv_vhost_request_name(message.request));
		status = pv_vhost_backend_handle(&transport->backend, &message);
	} else {
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", pv_vhost_request_name(reader->header.request), fault.text);
	}
	if (status != PV_OK)
		end_connection(transport, status);
}

static enum pv_status check_header(const struct pv_vhost_header *header)
{
	struct pv_vhost_fault fault;
	enum pv_status status = pv_vhost_header_check(header, &fault);

	if (status != PV_OK)
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", pv_vhost_request_name(header->request), fault.text);
	return status;
}

/* The end of the stream, which may be a message's middle. */
static void peer_left(struct pv_vhost_user *transport)
{
	if (transport->reader.filled > 0)
		pv_log(PV_LOG_ERROR, MODULE, "the front end closed the connection in the middle of a message");
	end_connection(transport, transport->reader.filled > 0 ? PV_ERR_PEER : PV_OK);
}

/* Reads up to the end of the header or of the payload. Returns false when there is nothing more to do for now. */
static bool read_some(struct pv_vhost_user *transport)
{
	struct reader *reader = &transport->reader;
	const size_t header_len = sizeof(reader->header);
	bool in_header = reader->filled < header_len;
	uint8_t *at =
	    in_header ? (uint8_t *)&reader->header + reader->filled : reader->payload + (reader->filled - header_len);
	size_t want = in_header ? header_len - reader->filled : header_len + reader->header.size - reader->filled;
	size_t nr_fds = PV_VHOST_MAX_FDS - reader->nr_fds, got = 0;
	enum pv_status status = pv_socket_recv(transport->fd, at, want, &got, reader->fds + reader->nr_fds, &nr_fds);

	if (status == PV_PENDING)
		return false;
	if (status != PV_OK) {
		pv_log(PV_LOG_ERROR, MODULE, "the connection broke, or a message has more than %d fds",
		       PV_VHOST_MAX_FDS);
		end_connection(transport, PV_ERR_PEER);
		return false;
	}
	reader->nr_fds += nr_fds;
	if (got == 0) {
		peer_left(transport);
		return false;
	}
	reader->filled += got;
	if (in_header && reader->filled == header_len && check_header(&reader->header) != PV_OK) {
		end_connection(transport, PV_ERR_PEER);
		return false;
	}
	if (reader->filled >= header_len && reader->filled == header_len + reader->header.size)
		handle_message(transport);
	return true;
}

/* After every event: sends what there is to send; what the loop shall tell us next. */
static void update(struct pv_vhost_user *transport)
{
	flush(transport);
	if (!transport->ended) {
		pv_loop_set_events(transport->watch, (can_read(transport) ? PV_LOOP_READ : 0u) |
							 (transport->out_len > 0 ? PV_LOOP_WRITE : 0u));
		publish_stats(transport);
	}
}

static void socket_ready(void *user, uint32_t events)
{
	struct pv_vhost_user *transport = user;

	flush(transport);
	/* Level-triggered: with reading suspended this would call us for ever. Nobody is left to hear an answer. */
	if ((events & PV_LOOP_HANGUP) && !can_read(transport))
		end_connection(transport, PV_OK);
	while (can_read(transport) && read_some(transport))
		flush(transport);
	update(transport);
}

/* The back channel and what comes from other threads. */

static void window_mapped(void *user, bool ok)
{
	struct pv_vhost_user *transport = user;

	pv_vhost_backend_window_mapped(&transport->backend, ok);
	if (!transport->ended)
		publish_stats(transport);
}

static void channel_lost(void *user, enum pv_status status)
{
	struct pv_vhost_user *transport = user;

	if (status != PV_OK)
		end_connection(transport, status);
	else
		pv_log(PV_LOG_DEBUG, MODULE, "the front end closed the channel for our requests");
}

static enum pv_status open_channel(void *user, int take_fd)
{
	struct pv_vhost_user *transport = user;

	return pv_vhost_channel_open(&transport->channel, take_fd);
}

static bool has_channel(void *user)
{
	const struct pv_vhost_user *transport = user;

	return pv_vhost_channel_is_open(&transport->channel);
}

static void map_window(void *user, bool wants_reply)
{
	struct pv_vhost_user *transport = user;

	pv_vhost_channel_map(&transport->channel, transport->backend.params.window_fd,
			     transport->backend.params.window_bytes, wants_reply);
}

static const struct pv_vhost_backend_ops backend_ops = {
    .reply = queue_reply,
    .submit = submit_op,
    .open_channel = open_channel,
    .has_channel = has_channel,
    .map_window = map_window,
};

/* Device thread. */
static void config_changed(void *user)
{
	struct pv_vhost_user *transport = user;

	if (!atomic_exchange_explicit(&transport->config_posted, true, memory_order_acq_rel))
		pv_loop_post(transport->loop, &transport->config_task);
}

static void tell_config_changed(struct pv_loop_task *task)
{
	struct pv_vhost_user *transport = PV_CONTAINER_OF(task, struct pv_vhost_user, config_task);

	(void)atomic_exchange_explicit(&transport->config_posted, false, memory_order_acq_rel);
	if (!transport->ended && pv_vhost_backend_wants_config_changes(&transport->backend))
		pv_vhost_channel_config_change(&transport->channel);
}

/* Device thread, once. */
static void memory_lost(void *user)
{
	struct pv_vhost_user *transport = user;

	pv_loop_post(transport->loop, &transport->memory_task);
}

static void end_for_lost_memory(struct pv_loop_task *task)
{
	end_connection(PV_CONTAINER_OF(task, struct pv_vhost_user, memory_task), PV_ERR_PEER);
}

/* Device thread. */
static void give_console(void *user, int take_fd)
{
	struct pv_vhost_user *transport = user;

	if (transport->params.console)
		transport->params.console(transport->params.user, take_fd);
	else
		pv_fd_close(&take_fd);
}

static void quit(struct pv_loop_task *task)
{
	struct pv_vhost_user *transport = PV_CONTAINER_OF(task, struct pv_vhost_user, quit_task);

	transport->quitting = true;
	end_connection(transport, PV_OK);
	if (transport->detached)
		pv_loop_stop(transport->loop);
}

/* Life. */

static void *socket_thread(void *user)
{
	struct pv_vhost_user *transport = user;

	pv_loop_run(transport->loop);
	return NULL;
}

/* Device thread. */
static void attach(void *user)
{
	struct pv_vhost_user *transport = user;
	struct pv_vhost_device_params params = {.gpu = transport->params.gpu,
						.loop = transport->params.device_loop,
						.console = give_console,
						.config_changed = config_changed,
						.memory_lost = memory_lost,
						.user = transport};

	pv_vhost_device_init(&transport->device, &params);
	transport->backend.params = (struct pv_vhost_backend_params){
	    .device_features = pv_gpu_features(transport->params.gpu),
	    .window_fd = pv_gpu_window_fd(transport->params.gpu),
	    .window_bytes = pv_gpu_window_bytes(transport->params.gpu),
	};
}

/* Device thread. */
static void finish_device(void *user)
{
	struct pv_vhost_user *transport = user;

	pv_vhost_device_finish(&transport->device);
}

static void release(struct pv_vhost_user *transport)
{
	pv_loop_call(transport->params.device_loop, finish_device, transport);
	pv_vhost_backend_finish(&transport->backend);
	pv_loop_remove_fd(transport->watch);
	pv_loop_destroy(transport->loop);
	pv_fd_close(&transport->fd);
	pv_mutex_finish(&transport->stats_lock);
	free(transport);
}

static enum pv_status start(struct pv_vhost_user *transport)
{
	struct pv_vhost_channel_events events = {.mapped = window_mapped, .lost = channel_lost, .user = transport};
	struct pv_vhost_backend_params params = transport->backend.params;
	enum pv_status status;

	params.ops = &backend_ops;
	params.user = transport;
	params.device = &transport->device;
	pv_vhost_channel_init(&transport->channel, transport->loop, &events);
	status = pv_vhost_backend_init(&transport->backend, &params);
	if (status == PV_OK)
		status = pv_fd_set_nonblocking(transport->fd, true);
	if (status == PV_OK)
		status = pv_loop_add_fd(transport->loop, transport->fd, PV_LOOP_READ, socket_ready, transport,
					&transport->watch);
	if (status != PV_OK)
		return status;
	publish_stats(transport);
	if (pthread_create(&transport->thread, NULL, socket_thread, transport) != 0)
		return PV_ERR_HOST;
	return PV_OK;
}

enum pv_status pv_vhost_user_create(const struct pv_vhost_user_params *params, struct pv_vhost_user **out)
{
	struct pv_vhost_user *transport = calloc(1, sizeof(*transport));
	int fd = params->take_fd;
	enum pv_status status;

	if (!transport) {
		pv_fd_close(&fd);
		return PV_ERR_NO_MEMORY;
	}
	status = pv_loop_create(&transport->loop);
	if (status != PV_OK) {
		pv_fd_close(&fd);
		free(transport);
		return status;
	}
	transport->params = *params;
	transport->fd = fd;
	pv_mutex_init(&transport->stats_lock);
	transport->config_task.run = tell_config_changed;
	transport->memory_task.run = end_for_lost_memory;
	transport->quit_task.run = quit;
	transport->detach.transport = transport;
	for (size_t i = 0; i < NR_CARRIERS; i++) {
		transport->carriers[i].transport = transport;
		transport->carriers[i].next_free = transport->free_carriers;
		transport->free_carriers = &transport->carriers[i];
	}
	transport->nr_free_carriers = NR_CARRIERS;
	pv_loop_call(params->device_loop, attach, transport);

	status = start(transport);
	if (status != PV_OK) {
		release(transport);
		return status;
	}
	*out = transport;
	return PV_OK;
}

void pv_vhost_user_destroy(struct pv_vhost_user *transport)
{
	if (!transport)
		return;
	pv_loop_post(transport->loop, &transport->quit_task);
	pthread_join(transport->thread, NULL);
	release(transport);
}

/* SPDX-License-Identifier: MIT */
#include "transport/vtest/client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/socket.h"
#include "transport/vtest/submit.h"

#define MODULE       "vtest"
#define MIN_IN_BYTES 65536u
/* A buffer that one large message needed is not kept beyond it. */
#define MAX_KEPT_BYTES (1u << 20)
#define MIN_OUT_BYTES  256u
/* Until the other clients' turn. */
#define MESSAGES_A_TURN 64u
#define BYTES_A_TURN    (1u << 20)

enum pv_status pv_vtest_client_fault(struct pv_vtest_client *client, const char *command, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	client->vtest->stats.broken++;
	if (pv_log_allowed(&client->vtest->fault_limit, MODULE))
		pv_log(PV_LOG_ERROR, MODULE, "client %u (%s): %s: %s; its connection is closed", client->number,
		       client->name, command, text);
	return PV_ERR_PEER;
}

/* ---- Output ---- */

uint8_t *pv_vtest_client_reserve(struct pv_vtest_client *client, size_t len)
{
	size_t size = client->out_size ? client->out_size : MIN_OUT_BYTES;
	uint8_t *out;

	while (size - client->out_len < len)
		size *= 2;
	if (size != client->out_size) {
		out = realloc(client->out, size);
		if (!out)
			return NULL;
		client->out = out;
		client->out_size = size;
	}
	client->out_len += len;
	return client->out + client->out_len - len;
}

enum pv_status pv_vtest_client_reply(struct pv_vtest_client *client, uint32_t command, const uint32_t *words,
				     size_t nr_words)
{
	const uint32_t header[2] = {(uint32_t)nr_words, command};
	uint8_t *at = pv_vtest_client_reserve(client, sizeof(header) + 4 * nr_words);

	if (!at)
		return PV_ERR_NO_MEMORY;
	memcpy(at, header, sizeof(header));
	if (nr_words > 0)
		memcpy(at + sizeof(header), words, 4 * nr_words);
	return PV_OK;
}

/* Room for one more descriptor to be sent. */
static bool grow_out_fds(struct pv_vtest_client *client)
{
	size_t size = client->out_fds_size ? 2 * client->out_fds_size : 4;
	struct pv_vtest_out_fd *fds;

	if (client->nr_out_fds < client->out_fds_size)
		return true;
	fds = realloc(client->out_fds, size * sizeof(*fds));
	if (!fds)
		return false;
	client->out_fds = fds;
	client->out_fds_size = size;
	return true;
}

enum pv_status pv_vtest_client_send_fd(struct pv_vtest_client *client, int fd, bool owned)
{
	uint8_t *at = grow_out_fds(client) ? pv_vtest_client_reserve(client, 1) : NULL;

	if (!at) {
		if (owned)
			pv_fd_close(&fd);
		return PV_ERR_NO_MEMORY;
	}
	*at = 0;
	client->out_fds[client->nr_out_fds++] = (struct pv_vtest_out_fd){client->out_len - 1, fd, owned};
	return PV_OK;
}

static void fd_sent(struct pv_vtest_client *client)
{
	struct pv_vtest_out_fd *out = &client->out_fds[client->out_fds_sent++];

	if (out->owned)
		pv_fd_close(&out->fd);
}

/* PV_PENDING: the client does not take it now. */
static enum pv_status flush(struct pv_vtest_client *client)
{
	while (client->out_sent < client->out_len) {
		const struct pv_vtest_out_fd *next =
		    client->out_fds_sent < client->nr_out_fds ? &client->out_fds[client->out_fds_sent] : NULL;
		bool with_fd = next && next->position == client->out_sent;
		size_t end = with_fd ? client->out_sent + 1 : next ? next->position : client->out_len, sent = 0;
		struct iovec iov = {client->out + client->out_sent, end - client->out_sent};
		enum pv_status status =
		    pv_socket_send(client->fd, &iov, 1, with_fd ? &next->fd : NULL, with_fd ? 1 : 0, &sent);

		if (status != PV_OK)
			return status;
		client->out_sent += sent;
		if (with_fd)
			fd_sent(client);
	}
	client->out_sent = client->out_len = client->out_fds_sent = client->nr_out_fds = 0;
	return PV_OK;
}

/* ---- Input ---- */

int pv_vtest_client_take_fd(struct pv_vtest_client *client)
{
	int fd;

	if (client->nr_fds == 0)
		return -1;
	fd = client->fds[0];
	client->nr_fds--;
	memmove(client->fds, client->fds + 1, client->nr_fds * sizeof(client->fds[0]));
	return fd;
}

/* Room behind what is there, for the message in hand to become whole. */
static enum pv_status make_room(struct pv_vtest_client *client)
{
	size_t len = client->in_end - client->in_start, size = client->in_size;
	uint8_t *in;

	if (client->in_start > 0) {
		memmove(client->in, client->in + client->in_start, len);
		client->in_start = 0;
		client->in_end = len;
	}
	/* It grows as bytes come, not as the header says: a client that announces much gets nothing for it. */
	if (len == size)
		size = size ? 2 * size : MIN_IN_BYTES;
	else if (len == 0 && size > MAX_KEPT_BYTES)
		size = MIN_IN_BYTES;
	else
		return PV_OK;
	in = realloc(client->in, size);
	if (!in)
		return PV_ERR_NO_MEMORY;
	client->in = in;
	client->in_size = size;
	return PV_OK;
}

/* PV_PENDING: nothing has come. PV_ERR_PEER without a word: it has left. */
static enum pv_status receive(struct pv_vtest_client *client, size_t *nr_bytes)
{
	size_t nr_fds = PV_VTEST_MAX_FDS - client->nr_fds, got = 0;
	enum pv_status status = make_room(client);

	if (status == PV_OK)
		status = pv_socket_recv(client->fd, client->in + client->in_end, client->in_size - client->in_end, &got,
					client->fds + client->nr_fds, &nr_fds);
	if (status != PV_OK)
		return status;
	client->nr_fds += nr_fds;
	client->in_end += got;
	*nr_bytes += got;
	return got > 0 ? PV_OK : PV_ERR_PEER;
}

static enum pv_status check_header(struct pv_vtest_client *client, uint32_t command, uint32_t len,
				   const struct pv_vtest_handler *handler)
{
	if (!client->has_name && command != PV_VTEST_CREATE_RENDERER)
		return pv_vtest_client_fault(client, "first message", "%u in place of CREATE_RENDERER", command);
	if (!handler)
		return pv_vtest_client_fault(client, "message", "there is no command %u, or it is not served here",
					     command);
	if (client->has_name && command == PV_VTEST_CREATE_RENDERER)
		return pv_vtest_client_fault(client, handler->name, "the client has introduced itself already");
	if (len < handler->min_words || (len > handler->max_words && !handler->longer_header))
		return pv_vtest_client_fault(client, handler->name, "a length of %u, it has %u to %u", len,
					     handler->min_words, handler->max_words);
	if (client->version < handler->since)
		return pv_vtest_client_fault(client, handler->name, "not in protocol version %u", client->version);
	if (handler->needs_context && !client->has_context)
		return pv_vtest_client_fault(client, handler->name, "before CONTEXT_INIT");
	return PV_OK;
}

/* PV_PENDING: the next message is not there whole. */
static enum pv_status next_message(struct pv_vtest_client *client, struct pv_vtest_message *out)
{
	size_t have = client->in_end - client->in_start;
	const struct pv_vtest_handler *handler;
	enum pv_status status;
	uint32_t header[2];
	size_t len;

	if (have < sizeof(header))
		return PV_PENDING;
	memcpy(header, client->in + client->in_start, sizeof(header));
	handler = pv_vtest_find_handler(header[1]);
	status = check_header(client, header[1], header[0], handler);
	if (status != PV_OK)
		return status;
	len = header[0] < handler->max_words ? header[0] : handler->max_words;
	if (!handler->in_bytes)
		len *= 4;
	if (have - sizeof(header) < len)
		return PV_PENDING;
	*out = (struct pv_vtest_message){handler, client->in + client->in_start + sizeof(header), len};
	return PV_OK;
}

static void message_done(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	client->step = 0;
	client->commands++;
	client->vtest->stats.commands++;
	client->in_start += PV_VTEST_HEADER_BYTES + message->len_bytes;
	if (client->in_start == client->in_end) {
		client->in_start = client->in_end = 0;
	} else if (client->in_start % 4 != 0) {
		/* A name of any length came before: the renderer gets words that are aligned as in a guest's memory. */
		client->in_end -= client->in_start;
		memmove(client->in, client->in + client->in_start, client->in_end);
		client->in_start = 0;
	}
}

/* ---- The message in hand ---- */

static bool may_begin(const struct pv_vtest_client *client)
{
	return !client->waiting && client->out_len == 0 &&
	       (client->step > 0 || client->nr_fences < PV_VTEST_MAX_FENCES);
}

/* One message, or what can be done of it. PV_PENDING: nothing more can be done now. */
static enum pv_status run_message(struct pv_vtest_client *client)
{
	struct pv_vtest_message message;
	enum pv_status status = next_message(client, &message);

	if (status != PV_OK)
		return status;
	/* Set before: the answer may be there before the call has returned. */
	client->waiting = true;
	status = message.handler->run(client, &message);
	if (status == PV_PENDING)
		return PV_PENDING;
	client->waiting = false;
	if (status == PV_OK) {
		if (message.handler->command == PV_VTEST_CREATE_RENDERER)
			client->has_name = true;
		message_done(client, &message);
	} else if (status != PV_ERR_PEER) {
		pv_vtest_client_fault(client, message.handler->name, "%s", pv_status_string(status));
	}
	return status;
}

static enum pv_status work_off(struct pv_vtest_client *client)
{
	size_t nr_messages = 0, nr_bytes = 0;
	bool may_have_more = true;

	for (;;) {
		enum pv_status status = flush(client);

		if (status != PV_OK)
			return status == PV_PENDING ? PV_OK : status;
		if (!may_begin(client))
			return PV_OK;
		if (nr_messages >= MESSAGES_A_TURN || nr_bytes >= BYTES_A_TURN) {
			pv_vtest_client_wake(client);
			return PV_OK;
		}
		status = run_message(client);
		nr_messages++;
		if (status == PV_PENDING && !client->waiting) {
			/* The last read did not fill the buffer: asking again would cost a system call for nothing. If
			 * there is more after all, the loop says so. */
			if (!may_have_more)
				return PV_OK;
			status = receive(client, &nr_bytes);
			if (status == PV_PENDING)
				return PV_OK;
			may_have_more = client->in_end == client->in_size;
		}
		if (status != PV_OK && status != PV_PENDING)
			return status;
	}
}

static void update_events(struct pv_vtest_client *client)
{
	uint32_t events = client->out_len > 0 ? PV_LOOP_WRITE : 0u;

	if (may_begin(client) && !client->task_posted)
		events |= PV_LOOP_READ;
	pv_loop_set_events(client->watch, events);
}

static void go_on(struct pv_vtest_client *client)
{
	enum pv_status status = work_off(client);

	if (status == PV_OK) {
		update_events(client);
		return;
	}
	if (client->in_end > client->in_start && pv_log_enabled(PV_LOG_DEBUG))
		pv_log(PV_LOG_DEBUG, MODULE, "client %u (%s) left in the middle of something", client->number,
		       client->name);
	pv_vtest_client_destroy(client);
}

static void socket_ready(void *user, uint32_t events)
{
	struct pv_vtest_client *client = user;

	/* Level-triggered: while nothing is read this would call us for ever. Nobody is left to hear an answer. */
	if ((events & PV_LOOP_HANGUP) && (!may_begin(client) || client->task_posted))
		pv_vtest_client_destroy(client);
	else
		go_on(client);
}

static void task_run(struct pv_loop_task *task)
{
	struct pv_vtest_client *client = PV_CONTAINER_OF(task, struct pv_vtest_client, task);

	client->task_posted = false;
	go_on(client);
}

void pv_vtest_client_wake(struct pv_vtest_client *client)
{
	if (client->task_posted)
		return;
	client->task_posted = true;
	pv_loop_post(client->vtest->params.loop, &client->task);
}

/* ---- The renderer's answers ---- */

uint64_t pv_vtest_client_op_id(struct pv_vtest_client *client)
{
	return pv_vtest_id(client, ++client->op_seqno);
}

void pv_vtest_client_op_done(struct pv_vtest_client *client, uint32_t seqno, enum pv_status status)
{
	if (!client->waiting || client->in_fence_watch || client->waits_for_fences || client->op_seqno != seqno)
		return;
	client->op_status = status;
	client->waiting = false;
	pv_vtest_client_wake(client);
}

void pv_vtest_client_fence_signalled(struct pv_vtest_client *client, uint32_t seqno)
{
	bool was_full = client->nr_fences >= PV_VTEST_MAX_FENCES;

	pv_vtest_fence_signalled(client, seqno);
	if (was_full && client->nr_fences < PV_VTEST_MAX_FENCES)
		pv_vtest_client_wake(client);
	if (client->waits_for_fences && !client->fences) {
		client->waits_for_fences = client->waiting = false;
		pv_vtest_client_wake(client);
	}
}

/* ---- Life ---- */

uint64_t pv_vtest_client_nr_fds(const struct pv_vtest_client *client)
{
	return client->nr_resources + client->syncs.nr_waits + client->nr_out_fences + client->nr_fds;
}

bool pv_vtest_client_may_have_fd(const struct pv_vtest_client *client)
{
	return pv_vtest_client_nr_fds(client) <= client->vtest->params.max_client_fds;
}

enum pv_status pv_vtest_client_create(struct pv_vtest *vtest, int take_fd, uint32_t number,
				      struct pv_vtest_client **out)
{
	struct pv_vtest_client *client = calloc(1, sizeof(*client));
	enum pv_status status = PV_ERR_NO_MEMORY;

	if (!client)
		goto out_fd;
	client->vtest = vtest;
	client->number = number;
	client->fd = take_fd;
	client->in_fence_fd = -1;
	client->task.run = task_run;
	client->last_fence = &client->fences;
	snprintf(client->name, sizeof(client->name), "no name yet");
	status = pv_fd_set_nonblocking(take_fd, true);
	if (status == PV_OK)
		status =
		    pv_loop_add_fd(vtest->params.loop, take_fd, PV_LOOP_READ, socket_ready, client, &client->watch);
	if (status != PV_OK)
		goto out_client;
	*out = client;
	return PV_OK;

out_client:
	free(client);
out_fd:
	pv_fd_close(&take_fd);
	return status;
}

static void release_connection(struct pv_vtest_client *client)
{
	pv_loop_remove_fd(client->watch);
	pv_loop_cancel(client->vtest->params.loop, &client->task);
	pv_fd_close(&client->fd);
	for (size_t i = 0; i < client->nr_fds; i++)
		pv_fd_close(&client->fds[i]);
	while (client->out_fds_sent < client->nr_out_fds)
		fd_sent(client);
	pv_loop_remove_fd(client->in_fence_watch);
	pv_fd_close(&client->in_fence_fd);
	free(client->out_fds);
	free(client->out);
	free(client->in);
}

/* The context first: its threads then no longer look for what is taken from it. */
static void release_context(struct pv_vtest_client *client)
{
	struct pv_renderer *renderer = client->vtest->renderer;

	/* Made, but the client has not been told. One that is being made fails with its context. */
	if (client->resource && !client->waiting)
		client->resource->dead = client->op_status != PV_OK;
	if (client->context_made)
		renderer->ops->context_destroy(renderer, client->number);
	while (client->resources)
		pv_vtest_resource_remove(client->resources);
	pv_vtest_fences_drop(client);
	pv_vtest_syncs_finish(&client->syncs);
}

void pv_vtest_client_destroy(struct pv_vtest_client *client)
{
	struct pv_vtest *vtest = client->vtest;

	if (pv_log_enabled(PV_LOG_DEBUG))
		pv_log(PV_LOG_DEBUG, MODULE, "client %u (%s) is gone after %" PRIu64 " messages", client->number,
		       client->name, client->commands);
	/* First: what the renderer reports from now on finds nobody. */
	pv_vtest_forget_client(vtest, client);
	release_connection(client);
	release_context(client);
	free(client);
}

/* SPDX-License-Identifier: MIT */
/*
 * The control server: a loop on a thread of its own, so that nothing a client does holds up the device. A client's
 * requests are worked off one at a time, and none is read while a reply waits to be taken: that bounds what a client
 * can make us keep, and what it can make the device do to one thing at a time.
 */
#include "pv/control.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/log.h"
#include "base/socket.h"
#include "base/thread.h"
#include "device/device.h"
#include "device/process.h"

#define MAX_CLIENTS     16
#define LISTEN_BACKLOG  128
#define ACCEPT_PAUSE_NS 1000000000ull

struct client {
	struct pv_control_server *server;
	int fd; /* -1: slot is free */
	struct pv_loop_fd *watch;
	uint64_t last_heard_ns;
	size_t in_len;
	char in[PV_CONTROL_MAX_REQUEST_BYTES];
	/* The reply that is being sent, with the descriptor that goes with its first byte; NULL: none. */
	char *out;
	size_t out_len, out_sent;
	int out_fd;
};

/* What is looked at: one of them. */
struct target {
	struct pv_device *device;
	struct pv_vtest_server *vtest;
};

struct pv_control_server {
	/* Immutable after create. */
	struct target target;
	struct pv_loop *loop;
	pthread_t thread;
	char *path;
	int listen_fd;

	/* Owned by the server's thread. */
	struct pv_loop_fd *listen_watch;
	struct pv_loop_timer *accept_timer;
	struct client clients[MAX_CLIENTS];
};

/* ---- Commands: each fills in the reply, or says why not ---- */

struct request {
	struct target target;
	yyjson_val *root;
	yyjson_mut_doc *reply_doc;
	yyjson_mut_val *reply;
	int fd; /* goes with the reply; -1: none */
};

/* False: present and not a number from 0 to max. Absent leaves *value alone. */
static bool get_number(const struct request *request, const char *name, uint32_t max, uint32_t *value)
{
	yyjson_val *v = yyjson_obj_get(request->root, name);

	if (!v)
		return true;
	if (!yyjson_is_uint(v) || yyjson_get_uint(v) > max)
		return false;
	*value = (uint32_t)yyjson_get_uint(v);
	return true;
}

static bool get_flag(const struct request *request, const char *name, bool *value)
{
	yyjson_val *v = yyjson_obj_get(request->root, name);

	if (!v)
		return true;
	if (!yyjson_is_bool(v))
		return false;
	*value = yyjson_get_bool(v);
	return true;
}

static const char *command_status(struct request *request)
{
	yyjson_mut_val *copy = NULL;
	yyjson_doc *doc = NULL;
	enum pv_status status;
	char *json = NULL;

	status = request->target.vtest ? pv_vtest_server_status(request->target.vtest, &json)
				       : pv_device_status(request->target.device, &json);
	if (status == PV_OK)
		doc = yyjson_read(json, strlen(json), 0);
	if (doc)
		copy = yyjson_val_mut_copy(request->reply_doc, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	pv_free(json);
	return copy && yyjson_mut_obj_add_val(request->reply_doc, request->reply, "status", copy) ? NULL
												  : "out of memory";
}

static const char *command_outputs(struct request *request)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(request->reply_doc, request->reply, "outputs");
	struct pv_device_output output;

	for (uint32_t i = 0; pv_device_get_output(request->target.device, i, &output) == PV_OK; i++) {
		yyjson_mut_val *entry = yyjson_mut_arr_add_obj(request->reply_doc, list);

		yyjson_mut_obj_add_uint(request->reply_doc, entry, "output", i);
		yyjson_mut_obj_add_bool(request->reply_doc, entry, "enabled", output.enabled);
		yyjson_mut_obj_add_uint(request->reply_doc, entry, "x", output.x);
		yyjson_mut_obj_add_uint(request->reply_doc, entry, "y", output.y);
		yyjson_mut_obj_add_uint(request->reply_doc, entry, "width", output.width);
		yyjson_mut_obj_add_uint(request->reply_doc, entry, "height", output.height);
	}
	return NULL;
}

static const char *command_set_output(struct request *request)
{
	struct pv_device_output output;
	uint32_t index = 0;

	if (!get_number(request, "output", UINT32_MAX, &index) ||
	    pv_device_get_output(request->target.device, index, &output) != PV_OK)
		return "there is no such output";
	if (!get_number(request, "width", UINT32_MAX, &output.width) ||
	    !get_number(request, "height", UINT32_MAX, &output.height) ||
	    !get_number(request, "x", INT32_MAX, &output.x) || !get_number(request, "y", INT32_MAX, &output.y) ||
	    !get_flag(request, "enabled", &output.enabled))
		return "width, height, x and y are numbers, enabled is true or false";
	/* The old physical size would give the new mode a wrong density. */
	output.width_mm = output.height_mm = 0;
	switch (pv_device_set_output(request->target.device, index, &output)) {
	case PV_OK:
		return NULL;
	case PV_ERR_UNSUPPORTED:
		return "the virtual machine's own console decides that: resize its window";
	default:
		return "width and height are 1 to 16384";
	}
}

static const char *command_screenshot(struct request *request)
{
	uint32_t scanout = 0;
	enum pv_status status;
	bool cursor = true;
	struct stat info;
	int fd = -1;

	if (!get_number(request, "scanout", UINT32_MAX, &scanout) || !get_flag(request, "cursor", &cursor))
		return "scanout is a number, cursor is true or false";
	if (pv_process_anonymous_file(&fd) != PV_OK)
		return "the server cannot make a file";
	status = pv_device_screenshot(request->target.device, scanout, cursor, fd);
	if (status != PV_OK || fstat(fd, &info) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
		pv_fd_close(&fd);
		return status == PV_ERR_ARGUMENT ? "that scanout has not shown anything yet"
						 : "the picture cannot be written";
	}
	yyjson_mut_obj_add_uint(request->reply_doc, request->reply, "size", (uint64_t)info.st_size);
	request->fd = fd;
	return NULL;
}

static const struct {
	const char *name;
	bool needs_device;
	const char *(*run)(struct request *request);
} commands[] = {
    {"status", false, command_status},
    {"outputs", true, command_outputs},
    {"set-output", true, command_set_output},
    {"screenshot", true, command_screenshot},
};

static const char *run_command(struct request *request)
{
	yyjson_val *command = yyjson_obj_get(request->root, "command");

	if (!yyjson_is_str(command))
		return "not a JSON object with a \"command\"";
	for (size_t i = 0; i < PV_ARRAY_LEN(commands); i++) {
		if (!yyjson_equals_str(command, commands[i].name))
			continue;
		if (commands[i].needs_device && !request->target.device)
			return "there are no screens: this is a vtest server, ask for its status";
		return commands[i].run(request);
	}
	return "no such command: there are status, outputs, set-output and screenshot";
}

/* Answers one line: *out_fd is -1 or goes with the reply. NULL: no memory. */
static char *answer(const struct target *target, const char *line, size_t len, size_t *out_len, int *out_fd)
{
	yyjson_doc *doc = yyjson_read(line, len, 0);
	struct request request = {.target = *target, .root = yyjson_doc_get_root(doc), .fd = -1};
	const char *error;
	char *text = NULL;

	request.reply_doc = yyjson_mut_doc_new(NULL);
	if (!request.reply_doc)
		goto out;
	request.reply = yyjson_mut_obj(request.reply_doc);
	yyjson_mut_doc_set_root(request.reply_doc, request.reply);
	error = run_command(&request);
	if (error) {
		/* What it had begun to say does not count. */
		yyjson_mut_obj_clear(request.reply);
		yyjson_mut_obj_add_str(request.reply_doc, request.reply, "error", error);
	}
	yyjson_mut_obj_add_bool(request.reply_doc, request.reply, "ok", !error);
	yyjson_val *id = yyjson_obj_get(request.root, "id");
	if (id)
		yyjson_mut_obj_add_val(request.reply_doc, request.reply, "id",
				       yyjson_val_mut_copy(request.reply_doc, id));
	text = yyjson_mut_write(request.reply_doc, YYJSON_WRITE_NEWLINE_AT_END, out_len);
	if (text)
		*out_fd = request.fd;
	else
		pv_fd_close(&request.fd);
out:
	yyjson_mut_doc_free(request.reply_doc);
	yyjson_doc_free(doc);
	return text;
}

/* ---- Clients ---- */

static void drop_client(struct client *client)
{
	pv_loop_remove_fd(client->watch);
	client->watch = NULL;
	pv_fd_close(&client->fd);
	pv_fd_close(&client->out_fd);
	free(client->out);
	client->out = NULL;
	client->in_len = 0;
}

/* PV_PENDING: the client does not take it now. */
static enum pv_status send_reply(struct client *client)
{
	while (client->out_sent < client->out_len) {
		struct iovec iov = {client->out + client->out_sent, client->out_len - client->out_sent};
		size_t sent = 0;
		enum pv_status status =
		    pv_socket_send(client->fd, &iov, 1, &client->out_fd, client->out_fd >= 0 ? 1 : 0, &sent);

		if (status != PV_OK)
			return status;
		pv_fd_close(&client->out_fd);
		client->out_sent += sent;
	}
	free(client->out);
	client->out = NULL;
	return PV_OK;
}

/* Answers whole lines for as long as the client takes the replies. Another status than PV_OK and PV_PENDING ends it. */
static enum pv_status work_off(struct client *client)
{
	for (;;) {
		enum pv_status status = client->out ? send_reply(client) : PV_OK;
		char *end;

		if (status != PV_OK)
			return status;
		end = memchr(client->in, '\n', client->in_len);
		if (!end)
			return client->in_len < sizeof(client->in) ? PV_OK : PV_ERR_PEER;
		client->out_sent = 0;
		client->out = answer(&client->server->target, client->in, (size_t)(end - client->in), &client->out_len,
				     &client->out_fd);
		if (!client->out)
			return PV_ERR_NO_MEMORY;
		client->in_len -= (size_t)(end + 1 - client->in);
		memmove(client->in, end + 1, client->in_len);
	}
}

static void client_ready(void *user, uint32_t events)
{
	struct client *client = user;
	enum pv_status status = PV_OK;
	size_t got = 0;

	if (!client->out && (events & (PV_LOOP_READ | PV_LOOP_HANGUP))) {
		/* No fd is expected: one that comes closes the connection. */
		size_t nr_fds = 0;

		status = pv_socket_recv(client->fd, client->in + client->in_len, sizeof(client->in) - client->in_len,
					&got, NULL, &nr_fds);
		if (status == PV_OK && got == 0)
			status = PV_ERR_PEER;
		if (status == PV_OK)
			client->in_len += got;
		client->last_heard_ns = pv_now_ns();
	} else if (events & PV_LOOP_HANGUP) {
		status = PV_ERR_PEER;
	}
	if (status == PV_OK)
		status = work_off(client);
	if (status != PV_OK && status != PV_PENDING)
		drop_client(client);
	else
		pv_loop_set_events(client->watch, client->out ? PV_LOOP_WRITE : PV_LOOP_READ);
}

/* A free slot; without one, that of the client which has been silent for longest. */
static struct client *find_slot(struct pv_control_server *server)
{
	struct client *oldest = &server->clients[0];

	for (size_t i = 0; i < MAX_CLIENTS; i++) {
		struct client *client = &server->clients[i];

		if (client->fd < 0)
			return client;
		if (client->last_heard_ns < oldest->last_heard_ns)
			oldest = client;
	}
	drop_client(oldest);
	return oldest;
}

static void take_client(struct pv_control_server *server, int take_fd)
{
	struct client *client;
	uid_t uid;

	if (!pv_process_peer_uid(take_fd, &uid) || (uid != geteuid() && uid != 0) ||
	    pv_fd_set_nonblocking(take_fd, true) != PV_OK) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "control", "refused a client of another user");
		pv_fd_close(&take_fd);
		return;
	}
	client = find_slot(server);
	client->last_heard_ns = pv_now_ns();
	client->fd = take_fd;
	if (pv_loop_add_fd(server->loop, take_fd, PV_LOOP_READ, client_ready, client, &client->watch) != PV_OK)
		drop_client(client);
}

static void listener_ready(void *user, uint32_t events)
{
	struct pv_control_server *server = user;
	enum pv_status status;
	int fd = -1;

	(void)events;
	while ((status = pv_socket_accept(server->listen_fd, &fd)) == PV_OK)
		take_client(server, fd);
	if (status != PV_PENDING) {
		/* Most likely out of descriptors: the listener stays readable, so look away for a while. */
		pv_loop_set_events(server->listen_watch, 0);
		pv_loop_arm_timer(server->accept_timer, pv_now_ns() + ACCEPT_PAUSE_NS);
	}
}

static void accept_again(void *user)
{
	struct pv_control_server *server = user;

	pv_loop_set_events(server->listen_watch, PV_LOOP_READ);
}

/* ---- The server ---- */

static void *run_server(void *user)
{
	struct pv_control_server *server = user;

	pv_loop_run(server->loop);
	return NULL;
}

static void release(struct pv_control_server *server)
{
	for (size_t i = 0; i < MAX_CLIENTS; i++) {
		if (server->clients[i].fd >= 0)
			drop_client(&server->clients[i]);
	}
	if (server->loop) {
		pv_loop_remove_fd(server->listen_watch);
		if (server->accept_timer)
			pv_loop_remove_timer(server->accept_timer);
		pv_loop_destroy(server->loop);
	}
	if (server->listen_fd >= 0)
		(void)unlink(server->path);
	pv_fd_close(&server->listen_fd);
	free(server->path);
	free(server);
}

static enum pv_status create(struct target target, const char *path, struct pv_control_server **out)
{
	struct pv_control_server *server = calloc(1, sizeof(*server));
	enum pv_status status;

	if (!server)
		return PV_ERR_NO_MEMORY;
	server->target = target;
	server->listen_fd = -1;
	for (size_t i = 0; i < MAX_CLIENTS; i++) {
		server->clients[i].server = server;
		server->clients[i].fd = -1;
		server->clients[i].out_fd = -1;
	}
	server->path = strdup(path);
	if (!server->path) {
		release(server);
		return PV_ERR_NO_MEMORY;
	}
	status = pv_loop_create(&server->loop);
	if (status == PV_OK)
		status = pv_socket_listen(path, &server->listen_fd);
	/* Whoever connects before the chmod is refused by its user id. The longer queue is for clients that come at
	 * once. */
	if (status == PV_OK && (chmod(path, 0600) < 0 || listen(server->listen_fd, LISTEN_BACKLOG) < 0 ||
				pv_fd_set_nonblocking(server->listen_fd, true) != PV_OK))
		status = PV_ERR_HOST;
	if (status == PV_OK)
		status = pv_loop_add_timer(server->loop, accept_again, server, &server->accept_timer);
	if (status == PV_OK)
		status = pv_loop_add_fd(server->loop, server->listen_fd, PV_LOOP_READ, listener_ready, server,
					&server->listen_watch);
	if (status == PV_OK)
		status = pv_thread_create("control", run_server, server, &server->thread);
	if (status != PV_OK) {
		release(server);
		return status;
	}
	*out = server;
	return PV_OK;
}

enum pv_status pv_control_server_create(struct pv_device *device, const char *path, struct pv_control_server **out)
{
	return create((struct target){.device = device}, path, out);
}

enum pv_status pv_control_server_create_for_vtest(struct pv_vtest_server *vtest, const char *path,
						  struct pv_control_server **out)
{
	return create((struct target){.vtest = vtest}, path, out);
}

void pv_control_server_destroy(struct pv_control_server *server)
{
	if (!server)
		return;
	pv_loop_stop(server->loop);
	pthread_join(server->thread, NULL);
	release(server);
}

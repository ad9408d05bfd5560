/* SPDX-License-Identifier: MIT */
/* A vtest server: the renderers and the transport on a thread of their own, the device thread of this server. */
#include "pv/vtest.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/log.h"
#include "base/socket.h"
#include "base/thread.h"
#include "device/device.h"
#include "device/process.h"
#include "device/renderers.h"
#include "device/version.h"
#include "device/vulkan.h"
#include "mux/mux.h"
#include "render2d/render2d.h"
#include "transport/vtest/vtest.h"
#include "venus/host.h"
#include "venus/renderer.h"
#include "virgl/renderer.h"

#define MODULE "vtest"

struct pv_vtest_server {
	/* Immutable after create. */
	struct pv_device_renderer_names names;
	struct pv_venus_host *host; /* NULL: no Vulkan */
	const struct pv_venus_host_device *device;
	struct pv_loop *loop;
	pthread_t thread;
	char *path; /* of the socket file; NULL: not ours */
	uint64_t created_ns;

	/* Owned by the device thread. */
	struct pv_renderer *renderer;
	struct pv_renderer *venus; /* it, or a part of it; NULL: none */
	struct pv_vtest *transport;
};

/* ---- Status ---- */

struct state {
	struct pv_vtest_server *server;
	struct pv_vtest_stats stats;
	struct pv_vtest_client_stats *clients;
	uint64_t *memory_bytes; /* of the clients' contexts */
	size_t nr_clients;
	struct pv_venus_renderer_status renderer;
};

static void gather(void *user)
{
	struct state *state = user;
	struct pv_vtest_server *server = state->server;
	struct pv_renderer *renderer = server->renderer;

	pv_vtest_get_stats(server->transport, &state->stats);
	if (server->venus)
		pv_venus_renderer_status(server->venus, &state->renderer);
	state->clients = calloc(state->stats.clients + 1, sizeof(*state->clients));
	state->memory_bytes = calloc(state->stats.clients + 1, sizeof(*state->memory_bytes));
	if (!state->clients || !state->memory_bytes)
		return;
	state->nr_clients = pv_vtest_get_clients(server->transport, state->clients, state->stats.clients);
	for (size_t i = 0; i < state->nr_clients && renderer->ops->context_memory_bytes; i++) {
		if (state->clients[i].ctx_id)
			state->memory_bytes[i] =
			    renderer->ops->context_memory_bytes(renderer, state->clients[i].ctx_id);
	}
}

static void add_client(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct pv_vtest_client_stats *client,
		       uint64_t memory_bytes)
{
	yyjson_mut_val *entry = yyjson_mut_arr_add_obj(doc, list);

	yyjson_mut_obj_add_uint(doc, entry, "number", client->number);
	yyjson_mut_obj_add_strcpy(doc, entry, "name", client->name);
	yyjson_mut_obj_add_uint(doc, entry, "protocol_version", client->version);
	yyjson_mut_obj_add_bool(doc, entry, "context", client->ctx_id != 0);
	yyjson_mut_obj_add_bool(doc, entry, "lost", client->lost);
	yyjson_mut_obj_add_uint(doc, entry, "messages", client->commands);
	yyjson_mut_obj_add_uint(doc, entry, "submits", client->submits);
	yyjson_mut_obj_add_uint(doc, entry, "submitted_bytes", client->submitted_bytes);
	yyjson_mut_obj_add_uint(doc, entry, "blobs", client->resources);
	yyjson_mut_obj_add_uint(doc, entry, "blob_bytes", client->resource_bytes);
	yyjson_mut_obj_add_uint(doc, entry, "memory_bytes", memory_bytes);
	yyjson_mut_obj_add_uint(doc, entry, "syncs", client->syncs);
	yyjson_mut_obj_add_uint(doc, entry, "waits", client->waits);
	yyjson_mut_obj_add_uint(doc, entry, "fences", client->fences);
}

static void add_numbers(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct state *state)
{
	yyjson_mut_val *counters = yyjson_mut_obj_add_obj(doc, root, "counters");
	yyjson_mut_val *contexts = yyjson_mut_obj_add_obj(doc, root, "contexts");
	yyjson_mut_val *memory = yyjson_mut_obj_add_obj(doc, root, "memory");
	struct pv_process_usage usage = pv_process_usage(0);

	yyjson_mut_obj_add_uint(doc, counters, "connections", state->stats.connections);
	yyjson_mut_obj_add_uint(doc, counters, "refused", state->stats.refused);
	yyjson_mut_obj_add_uint(doc, counters, "broken", state->stats.broken);
	yyjson_mut_obj_add_uint(doc, counters, "messages", state->stats.commands);
	yyjson_mut_obj_add_uint(doc, contexts, "count", state->renderer.nr_contexts);
	yyjson_mut_obj_add_uint(doc, contexts, "ending", state->renderer.nr_ending);
	yyjson_mut_obj_add_uint(doc, contexts, "lost", state->renderer.nr_lost);
	yyjson_mut_obj_add_uint(doc, contexts, "rings", state->renderer.nr_rings);
	yyjson_mut_obj_add_uint(doc, contexts, "objects", state->renderer.nr_objects);
	yyjson_mut_obj_add_uint(doc, contexts, "shm_bytes", state->renderer.shm_bytes);
	yyjson_mut_obj_add_uint(doc, memory, "resident_bytes", usage.resident_bytes);
	yyjson_mut_obj_add_uint(doc, memory, "peak_resident_bytes", usage.peak_resident_bytes);
	yyjson_mut_obj_add_uint(doc, memory, "private_bytes", usage.private_bytes);
	yyjson_mut_obj_add_real(doc, root, "cpu_seconds", (double)usage.cpu_ns / 1e9);
}

enum pv_status pv_vtest_server_status(struct pv_vtest_server *server, char **out_json)
{
	struct state state = {.server = server};
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *clients;
	char *json = NULL;

	pv_loop_call(server->loop, gather, &state);
	/* Every call below takes what a failed one before it left, and does nothing. */
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "version", PV_VERSION);
	yyjson_mut_obj_add_str(doc, root, "kind", "vtest");
	yyjson_mut_obj_add_uint(doc, root, "pid", (uint64_t)getpid());
	yyjson_mut_obj_add_str(doc, root, "renderer", server->renderer->ops->name);
	if (server->path)
		yyjson_mut_obj_add_str(doc, root, "socket", server->path);
	yyjson_mut_obj_add_real(doc, root, "uptime_seconds", (double)(pv_now_ns() - server->created_ns) / 1e9);
	if (server->device)
		pv_vulkan_describe(doc, yyjson_mut_obj_add_obj(doc, root, "device"), server->device);
	yyjson_mut_obj_add_uint(doc, root, "max_clients", state.stats.max_clients);
	clients = yyjson_mut_obj_add_arr(doc, root, "clients");
	for (size_t i = 0; i < state.nr_clients; i++)
		add_client(doc, clients, &state.clients[i], state.memory_bytes[i]);
	add_numbers(doc, root, &state);
	if (doc)
		json = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	free(state.clients);
	free(state.memory_bytes);
	if (!json)
		return PV_ERR_NO_MEMORY;
	*out_json = json;
	return PV_OK;
}

/* ---- Clients ---- */

struct add_call {
	struct pv_vtest_server *server;
	int fd;
	enum pv_status status;
};

static void add(void *user)
{
	struct add_call *call = user;

	call->status = pv_vtest_add_client(call->server->transport, call->fd);
}

enum pv_status pv_vtest_server_add_client(struct pv_vtest_server *server, int32_t take_fd)
{
	struct add_call call = {.server = server, .fd = take_fd};

	pv_loop_call(server->loop, add, &call);
	return call.status;
}

/* ---- Create and destroy ---- */

static void *run_loop(void *user)
{
	struct pv_vtest_server *server = user;

	pv_loop_run(server->loop);
	return NULL;
}

struct create_call {
	struct pv_vtest_server *server;
	const struct pv_vtest_server_params *params;
	int listen_fd; /* consumed */
	enum pv_status status;
};

static enum pv_status create_venus(struct pv_vtest_server *server, const struct pv_vtest_server_params *params,
				   struct pv_renderer **out)
{
	const struct pv_venus_renderer_params renderer_params = {
	    .loop = server->loop,
	    .host = server->host,
	    .use_guest_vram = params->use_guest_vram,
	};
	enum pv_status status = pv_venus_renderer_create(&renderer_params, out);

	if (status == PV_OK)
		server->venus = *out;
	return status;
}

static enum pv_status create_renderer(struct pv_vtest_server *server, const struct pv_vtest_server_params *params)
{
	struct pv_renderer *plain, *children[2];
	enum pv_status status = PV_OK;
	size_t count = 0;

	if (!server->names.virgl)
		return create_venus(server, params, &server->renderer);
	status = pv_render2d_create(&plain);
	if (status != PV_OK)
		return status;
	if (server->names.venus)
		status = create_venus(server, params, &children[count]);
	if (status == PV_OK) {
		count += server->names.venus;
		status = pv_device_opengl_create(
		    &(struct pv_virgl_renderer_params){.loop = server->loop, .render_node = params->render_node},
		    &children[count]);
	}
	if (status == PV_OK)
		return pv_mux_create(plain, children, count + 1, &server->renderer);
	while (count > 0)
		pv_renderer_destroy(children[--count]);
	pv_renderer_destroy(plain);
	return status;
}

static void create_parts(void *user)
{
	struct create_call *call = user;
	struct pv_vtest_server *server = call->server;

	call->status = create_renderer(server, call->params);
	if (call->status != PV_OK) {
		pv_fd_close(&call->listen_fd);
		return;
	}
	const struct pv_vtest_params params = {
	    .loop = server->loop,
	    .renderer = server->renderer,
	    .take_listen_fd = call->listen_fd,
	    .max_clients = call->params->max_clients ? call->params->max_clients : PV_VENUS_MAX_CONTEXTS,
	    .max_client_bytes = call->params->max_client_bytes,
	    .idle = call->params->idle,
	    .user = call->params->user,
	};
	call->listen_fd = -1;
	call->status = pv_vtest_create(&params, &server->transport);
}

static void destroy_parts(void *user)
{
	struct pv_vtest_server *server = user;

	pv_vtest_destroy(server->transport);
	pv_renderer_destroy(server->renderer);
}

static enum pv_status choose_device(struct pv_vtest_server *server, const struct pv_vtest_server_params *params)
{
	const struct pv_venus_host_params host_params = {
	    .device = params->device,
	    .emulate_portability = params->emulate_portability,
	    .dma_buf = params->show_dma_buf,
	};
	enum pv_status status = pv_venus_host_create(&host_params, &server->host);
	const char *why = NULL;

	if (status != PV_OK)
		return status;
	server->device = pv_venus_host_chosen(server->host, &why);
	if (server->device) {
		pv_log(PV_LOG_INFO, MODULE, "uses %s", server->device->properties.deviceName);
		return PV_OK;
	}
	if (params->device)
		pv_log(PV_LOG_ERROR, MODULE, "the device \"%s\" cannot be used: %s", params->device, why);
	else
		pv_log(PV_LOG_ERROR, MODULE, "there is no device to be used: %s", why);
	return PV_ERR_HOST;
}

static enum pv_status open_listener(struct pv_vtest_server *server, const char *path, int *out_fd)
{
	enum pv_status status;

	status = pv_socket_listen(path, out_fd);
	if (status != PV_OK)
		return status;
	server->path = strdup(path);
	if (server->path)
		return PV_OK;
	(void)unlink(path);
	pv_fd_close(out_fd);
	return PV_ERR_NO_MEMORY;
}

static void release(struct pv_vtest_server *server)
{
	if (server->path)
		(void)unlink(server->path);
	pv_loop_destroy(server->loop);
	pv_venus_host_destroy(server->host);
	free(server->path);
	free(server);
}

enum pv_status pv_vtest_server_create(const struct pv_vtest_server_params *from, struct pv_vtest_server **out)
{
	struct pv_vtest_server_params params;
	struct create_call call = {.params = &params, .listen_fd = -1};
	struct pv_vtest_server *server;
	enum pv_status status;

	if (!pv_params_read(&params, sizeof(params), from, from->struct_size))
		return PV_ERR_ARGUMENT;
	if (!params.path)
		call.listen_fd = params.take_fd;
	call.server = server = calloc(1, sizeof(*server));
	if (!server) {
		pv_fd_close(&call.listen_fd);
		return PV_ERR_NO_MEMORY;
	}
	server->created_ns = pv_now_ns();
	/* The device before the socket: whoever finds the socket can use it. */
	status = pv_device_renderer_names(params.renderers ? params.renderers : "venus", &server->names);
	if (status == PV_OK && !server->names.venus && !server->names.virgl)
		status = PV_ERR_ARGUMENT;
	if (status == PV_OK && server->names.venus)
		status = choose_device(server, &params);
	if (status == PV_OK)
		status = pv_loop_create(&server->loop);
	if (status == PV_OK && params.path)
		status = open_listener(server, params.path, &call.listen_fd);
	if (status == PV_OK)
		status = pv_thread_create("vtest", run_loop, server, &server->thread);
	if (status != PV_OK) {
		pv_fd_close(&call.listen_fd);
		release(server);
		return status;
	}
	pv_loop_call(server->loop, create_parts, &call);
	if (call.status != PV_OK) {
		pv_vtest_server_destroy(server);
		return call.status;
	}
	*out = server;
	return PV_OK;
}

void pv_vtest_server_destroy(struct pv_vtest_server *server)
{
	if (!server)
		return;
	pv_loop_call(server->loop, destroy_parts, server);
	pv_loop_stop(server->loop);
	pthread_join(server->thread, NULL);
	release(server);
}

enum pv_status pv_vtest_listen(const char *path, int32_t *out_fd)
{
	return pv_server_listen(path, out_fd);
}

/* SPDX-License-Identifier: MIT */
/* The server: takes clients in, gives out ids, and brings the renderer's answers to whom they concern. */
#include "transport/vtest/vtest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/socket.h"
#include "transport/vtest/client.h"

#define MODULE              "vtest"
#define DEFAULT_MAX_CLIENTS 256u
#define ACCEPT_PAUSE_NS     1000000000ull
/* What is left of ended waits is cleared away at most so often. */
#define WAIT_PAUSE_NS 1000000000ull

/* ---- Resources ---- */

struct pv_vtest_resource *pv_vtest_resource_add(struct pv_vtest_client *client, uint32_t id, uint64_t size_bytes)
{
	struct pv_vtest *vtest = client->vtest;
	struct pv_vtest_resource *resource = calloc(1, sizeof(*resource));

	if (!resource)
		return NULL;
	while (id == 0 || pv_id_map_get(&vtest->resources, id))
		id = ++vtest->next_resource_id;
	resource->id = id;
	resource->client = client;
	resource->size_bytes = size_bytes;
	resource->dead = true;
	if (pv_id_map_add(&vtest->resources, resource->id, resource) != PV_OK) {
		free(resource);
		return NULL;
	}
	resource->next = client->resources;
	if (resource->next)
		resource->next->prev = resource;
	client->resources = resource;
	client->nr_resources++;
	return resource;
}

void pv_vtest_resource_remove(struct pv_vtest_resource *resource)
{
	struct pv_vtest_client *client = resource->client;
	struct pv_vtest *vtest = client->vtest;

	if (resource->next)
		resource->next->prev = resource->prev;
	if (resource->prev)
		resource->prev->next = resource->next;
	else
		client->resources = resource->next;
	client->nr_resources--;
	(void)pv_id_map_remove(&vtest->resources, resource->id);
	if (!resource->dead) {
		client->resource_bytes -= resource->size_bytes;
		vtest->renderer->ops->resource_destroy(vtest->renderer, resource->id);
	}
	free(resource);
}

/* ---- The renderer's answers ---- */

static void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	struct pv_vtest *vtest = user;
	struct pv_vtest_client *client = pv_id_map_get(&vtest->clients, (uint32_t)(op_id >> 32));

	if (client)
		pv_vtest_client_op_done(client, (uint32_t)op_id, status);
}

static void fence_signalled(void *user, uint64_t fence_id)
{
	struct pv_vtest *vtest = user;
	struct pv_vtest_client *client = pv_id_map_get(&vtest->clients, (uint32_t)(fence_id >> 32));

	if (client)
		pv_vtest_client_fence_signalled(client, (uint32_t)fence_id);
}

static void ignore_op(void *user, uint64_t op_id, enum pv_status status)
{
	(void)user;
	(void)op_id;
	(void)status;
}

static void ignore_fence(void *user, uint64_t fence_id)
{
	(void)user;
	(void)fence_id;
}

/* ---- Waits ---- */

static void clear_waits(void *user)
{
	struct pv_vtest *vtest = user;
	uint64_t now_ns = pv_now_ns(), next_ns = UINT64_MAX;

	for (struct pv_vtest_client *client = vtest->first_client; client; client = client->next)
		next_ns = pv_min_u64(next_ns, pv_vtest_waits_expire(&client->syncs, now_ns));
	vtest->wait_timer_ns = UINT64_MAX;
	if (next_ns != UINT64_MAX)
		pv_vtest_arm_wait_timer(vtest, next_ns);
}

void pv_vtest_arm_wait_timer(struct pv_vtest *vtest, uint64_t deadline_ns)
{
	uint64_t at_ns = deadline_ns + WAIT_PAUSE_NS;

	if (at_ns >= vtest->wait_timer_ns)
		return;
	vtest->wait_timer_ns = at_ns;
	pv_loop_arm_timer(vtest->wait_timer, at_ns);
}

/* ---- Clients ---- */

static bool is_full(const struct pv_vtest *vtest)
{
	return vtest->clients.count >= vtest->params.max_clients;
}

static void watch_listener(struct pv_vtest *vtest)
{
	if (vtest->listen_watch)
		pv_loop_set_events(vtest->listen_watch, is_full(vtest) ? 0 : PV_LOOP_READ);
}

void pv_vtest_forget_client(struct pv_vtest *vtest, struct pv_vtest_client *client)
{
	(void)pv_id_map_remove(&vtest->clients, client->number);
	if (client->next)
		client->next->prev = client->prev;
	else
		vtest->last_client = client->prev;
	if (client->prev)
		client->prev->next = client->next;
	else
		vtest->first_client = client->next;
	watch_listener(vtest);
	if (!vtest->first_client && vtest->params.idle)
		vtest->params.idle(vtest->params.user);
}

enum pv_status pv_vtest_add_client(struct pv_vtest *vtest, int take_fd)
{
	struct pv_vtest_client *client = NULL;
	enum pv_status status;

	do
		vtest->next_number++;
	while (vtest->next_number == 0 || pv_id_map_get(&vtest->clients, vtest->next_number));
	status = pv_vtest_client_create(vtest, take_fd, vtest->next_number, &client);
	if (status != PV_OK)
		return status;
	client->prev = vtest->last_client;
	if (client->prev)
		client->prev->next = client;
	else
		vtest->first_client = client;
	vtest->last_client = client;
	status = pv_id_map_add(&vtest->clients, client->number, client);
	if (status != PV_OK) {
		pv_vtest_client_destroy(client);
		return status;
	}
	vtest->stats.connections++;
	watch_listener(vtest);
	return PV_OK;
}

static void listener_ready(void *user, uint32_t events)
{
	struct pv_vtest *vtest = user;
	enum pv_status status = PV_PENDING;
	int fd = -1;

	(void)events;
	while (!is_full(vtest) && (status = pv_socket_accept(vtest->listen_fd, &fd)) == PV_OK) {
		if (pv_vtest_add_client(vtest, fd) != PV_OK) {
			vtest->stats.refused++;
			PV_LOG_LIMITED(PV_LOG_ERROR, MODULE, "no memory for one more client");
		}
	}
	if (is_full(vtest)) {
		PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "%u clients: the next ones have to wait", vtest->clients.count);
	} else if (status != PV_PENDING) {
		/* Most likely out of descriptors: the listener stays readable, so look away for a while. */
		pv_loop_set_events(vtest->listen_watch, 0);
		pv_loop_arm_timer(vtest->accept_timer, pv_now_ns() + ACCEPT_PAUSE_NS);
	}
}

static void accept_again(void *user)
{
	watch_listener(user);
}

/* ---- Status ---- */

void pv_vtest_get_stats(const struct pv_vtest *vtest, struct pv_vtest_stats *out)
{
	*out = vtest->stats;
	out->clients = vtest->clients.count;
	out->max_clients = vtest->params.max_clients;
}

size_t pv_vtest_get_clients(const struct pv_vtest *vtest, struct pv_vtest_client_stats *out, size_t max)
{
	size_t n = 0;

	for (const struct pv_vtest_client *client = vtest->first_client; client && n < max; client = client->next) {
		struct pv_vtest_client_stats *stats = &out[n++];

		*stats = (struct pv_vtest_client_stats){
		    .number = client->number,
		    .ctx_id = client->has_context ? client->number : 0,
		    .version = client->version,
		    .lost = client->lost,
		    .commands = client->commands,
		    .submits = client->submits,
		    .submitted_bytes = client->submitted_bytes,
		    .resources = client->nr_resources,
		    .resource_bytes = client->resource_bytes,
		    .syncs = client->syncs.map.count,
		    .waits = client->syncs.nr_waits,
		    .fences = client->nr_fences,
		};
		memcpy(stats->name, client->name, sizeof(stats->name));
	}
	return n;
}

/* ---- The server ---- */

static uint32_t default_client_fds(void)
{
	struct rlimit limit;
	rlim_t quarter = 256;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		quarter = limit.rlim_cur / 4;
	return quarter > 65536 ? 65536 : (uint32_t)quarter;
}

static enum pv_status listen_for_clients(struct pv_vtest *vtest)
{
	enum pv_status status;

	if (vtest->listen_fd < 0)
		return PV_OK;
	status = pv_fd_set_nonblocking(vtest->listen_fd, true);
	if (status != PV_OK)
		return status;
	return pv_loop_add_fd(vtest->params.loop, vtest->listen_fd, PV_LOOP_READ, listener_ready, vtest,
			      &vtest->listen_watch);
}

enum pv_status pv_vtest_create(const struct pv_vtest_params *params, struct pv_vtest **out)
{
	struct pv_vtest *vtest = calloc(1, sizeof(*vtest));
	enum pv_status status;
	int fd = params->take_listen_fd;

	if (!vtest) {
		pv_fd_close(&fd);
		return PV_ERR_NO_MEMORY;
	}
	vtest->params = *params;
	vtest->renderer = params->renderer;
	vtest->listen_fd = fd;
	vtest->wait_timer_ns = UINT64_MAX;
	if (vtest->params.max_clients == 0)
		vtest->params.max_clients = DEFAULT_MAX_CLIENTS;
	if (vtest->params.max_client_fds == 0)
		vtest->params.max_client_fds = default_client_fds();
	vtest->renderer->events =
	    (struct pv_renderer_events){.op_done = op_done, .fence_signalled = fence_signalled, .user = vtest};
	/* It is always readable and can never be mapped. */
	vtest->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	status = vtest->null_fd < 0 ? PV_ERR_HOST : PV_OK;
	if (status == PV_OK)
		status = pv_loop_add_timer(params->loop, accept_again, vtest, &vtest->accept_timer);
	if (status == PV_OK)
		status = pv_loop_add_timer(params->loop, clear_waits, vtest, &vtest->wait_timer);
	if (status == PV_OK)
		status = listen_for_clients(vtest);
	if (status != PV_OK) {
		pv_vtest_destroy(vtest);
		return status;
	}
	*out = vtest;
	return PV_OK;
}

void pv_vtest_destroy(struct pv_vtest *vtest)
{
	if (!vtest)
		return;
	while (vtest->first_client)
		pv_vtest_client_destroy(vtest->first_client);
	/* What the renderer still has to say is for nobody. */
	vtest->renderer->events = (struct pv_renderer_events){.op_done = ignore_op, .fence_signalled = ignore_fence};
	pv_loop_remove_fd(vtest->listen_watch);
	pv_loop_remove_timer(vtest->accept_timer);
	pv_loop_remove_timer(vtest->wait_timer);
	pv_fd_close(&vtest->listen_fd);
	pv_fd_close(&vtest->null_fd);
	pv_id_map_finish(&vtest->clients);
	pv_id_map_finish(&vtest->resources);
	free(vtest);
}

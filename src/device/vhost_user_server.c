/* SPDX-License-Identifier: MIT */
/* A vhost-user front end as the device's owner, with the VMM's console as one more display while it is connected. */
#include "pv/vhost_user.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/socket.h"
#include "device/device.h"
#include "display/vmm_console.h"
#include "transport/vhost_user/vhost_user.h"

struct pv_vhost_user_server {
	struct pv_device *device;
	struct pv_vhost_user *transport;
	void (*closed)(void *user, enum pv_status status);
	void *user;
};

static void remove_console(struct pv_device *device)
{
	if (device->console)
		pv_gpu_remove_display(device->gpu, device->console);
	device->console = NULL;
}

static void heads_changed(void *user, const struct pv_output heads[PV_GPU_MAX_SCANOUTS])
{
	const struct pv_device *device = user;

	/* No event: the VMM owns the config space and tells the guest itself. */
	if (pv_gpu_update_outputs(device->gpu, heads, PV_GPU_MAX_SCANOUTS) != PV_OK)
		PV_LOG_LIMITED(PV_LOG_WARNING, "console", "the VMM's heads are not taken");
}

static void queried(void *user)
{
	const struct pv_device *device = user;

	pv_gpu_outputs_queried(device->gpu);
}

static void console(void *user, int take_fd)
{
	struct pv_vhost_user_server *server = user;
	struct pv_device *device = server->device;
	struct pv_vmm_console_params params = {.loop = device->loop,
					       .take_fd = take_fd,
					       .send_dma_bufs = device->with_dma_bufs,
					       .heads_changed = heads_changed,
					       .queried = queried,
					       .user = device};

	remove_console(device);
	/* Without it the guest's pictures are still to be had in every other way; the cause has been logged. */
	if (pv_vmm_console_create(&params, &device->console) == PV_OK)
		pv_gpu_add_display(device->gpu, device->console);
}

static void closed(void *user, enum pv_status status)
{
	struct pv_vhost_user_server *server = user;

	if (server->closed)
		server->closed(server->user, status);
}

static void get_stats(void *transport, struct pv_transport_stats *out)
{
	pv_vhost_user_get_stats(transport, out);
}

/* Device thread. */
static void end_console(void *user)
{
	struct pv_vhost_user_server *server = user;

	remove_console(server->device);
}

enum pv_status pv_vhost_user_server_create(struct pv_device *device, const struct pv_vhost_user_server_params *from,
					   struct pv_vhost_user_server **out)
{
	struct pv_vhost_user_server_params params;
	struct pv_vhost_user_params transport_params;
	struct pv_vhost_user_server *server;
	enum pv_status status;
	int fd;

	if (!pv_params_read(&params, sizeof(params), from, from->struct_size))
		return PV_ERR_ARGUMENT;
	fd = params.take_fd;
	server = calloc(1, sizeof(*server));
	if (!server) {
		pv_fd_close(&fd);
		return PV_ERR_NO_MEMORY;
	}
	server->device = device;
	server->closed = params.closed;
	server->user = params.user;
	status = pv_device_begin_service(device, "vhost-user");
	if (status != PV_OK) {
		pv_fd_close(&fd);
		goto out_server;
	}
	transport_params = (struct pv_vhost_user_params){
	    .gpu = device->gpu,
	    .device_loop = device->loop,
	    .take_fd = fd,
	    .console = console,
	    .closed = closed,
	    .user = server,
	};
	status = pv_vhost_user_create(&transport_params, &server->transport);
	if (status != PV_OK)
		goto out_claim;
	pv_device_set_transport(device, get_stats, server->transport);
	*out = server;
	return PV_OK;

out_claim:
	pv_device_end_service(device);
out_server:
	free(server);
	return status;
}

void pv_vhost_user_server_destroy(struct pv_vhost_user_server *server)
{
	if (!server)
		return;
	pv_device_set_transport(server->device, NULL, NULL);
	pv_vhost_user_destroy(server->transport);
	pv_loop_call(server->device->loop, end_console, server);
	pv_device_end_service(server->device);
	free(server);
}

enum pv_status pv_vhost_user_listen(const char *path, int32_t *out_fd)
{
	return pv_server_listen(path, out_fd);
}

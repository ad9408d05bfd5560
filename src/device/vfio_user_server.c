/* SPDX-License-Identifier: MIT */
/* A VMM that speaks vfio-user as the device's owner. */
#include "pv/vfio_user.h"

#include <stdlib.h>

#include "base/socket.h"
#include "device/device.h"
#include "transport/vfio_user/vfio_user.h"

struct pv_vfio_user_server {
	struct pv_device *device;
	struct pv_vfio_user *transport;
};

static void get_stats(void *transport, struct pv_transport_stats *out)
{
	pv_vfio_user_get_stats(transport, out);
}

enum pv_status pv_vfio_user_server_create(struct pv_device *device, const struct pv_vfio_user_server_params *from,
					  struct pv_vfio_user_server **out)
{
	struct pv_vfio_user_server_params params;
	struct pv_vfio_user_server *server;
	enum pv_status status = PV_ERR_NO_MEMORY;
	int fd;

	if (!pv_params_read(&params, sizeof(params), from, from->struct_size))
		return PV_ERR_ARGUMENT;
	fd = params.take_fd;
	server = calloc(1, sizeof(*server));
	if (server)
		status = pv_device_begin_service(device, "vfio-user");
	if (status != PV_OK) {
		pv_fd_close(&fd);
		free(server);
		return status;
	}
	struct pv_vfio_user_params transport_params = {.gpu = device->gpu,
						       .device_loop = device->loop,
						       .take_fd = fd,
						       .closed = params.closed,
						       .user = params.user};
	server->device = device;
	status = pv_vfio_user_create(&transport_params, &server->transport);
	if (status != PV_OK) {
		pv_device_end_service(device);
		free(server);
		return status;
	}
	pv_device_set_transport(device, get_stats, server->transport);
	*out = server;
	return PV_OK;
}

void pv_vfio_user_server_destroy(struct pv_vfio_user_server *server)
{
	if (!server)
		return;
	pv_device_set_transport(server->device, NULL, NULL);
	pv_vfio_user_destroy(server->transport);
	pv_device_end_service(server->device);
	free(server);
}

enum pv_status pv_vfio_user_listen(const char *path, int32_t *out_fd)
{
	return pv_server_listen(path, out_fd);
}

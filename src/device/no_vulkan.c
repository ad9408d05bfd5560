/* SPDX-License-Identifier: MIT */
/* In the place of vulkan.c and vtest_server.c, in builds without Vulkan for guests. */
#include "base/log.h"
#include "base/socket.h"
#include "device/device.h"
#include "pv/vtest.h"
#include "pv/vulkan.h"

static enum pv_status unsupported(void)
{
	pv_log(
	    PV_LOG_ERROR, "vulkan",
	    "this build has no Vulkan for guests: build it with -Dvenus=enabled, Vulkan's headers and their registry");
	return PV_ERR_UNSUPPORTED;
}

enum pv_status pv_vulkan_devices(const struct pv_vulkan_devices_params *params, char **out_json)
{
	(void)params;
	(void)out_json;
	return unsupported();
}

enum pv_status pv_vtest_server_create(const struct pv_vtest_server_params *params, struct pv_vtest_server **out)
{
	int fd = params->path ? -1 : params->take_fd;

	(void)out;
	pv_fd_close(&fd);
	return unsupported();
}

void pv_vtest_server_destroy(struct pv_vtest_server *server)
{
	(void)server;
}

enum pv_status pv_vtest_server_add_client(struct pv_vtest_server *server, int32_t take_fd)
{
	int fd = take_fd;

	(void)server;
	pv_fd_close(&fd);
	return unsupported();
}

enum pv_status pv_vtest_server_status(struct pv_vtest_server *server, char **out_json)
{
	(void)server;
	(void)out_json;
	return unsupported();
}

enum pv_status pv_vtest_listen(const char *path, int32_t *out_fd)
{
	return pv_server_listen(path, out_fd);
}

/* SPDX-License-Identifier: MIT */
#include "pv/vfio_user.h"

#include "cli/serve.h"

static const struct cli_option options[] = {CLI_SERVE_OPTIONS, {0}};

static enum pv_status create(struct pv_device *device, int take_fd, void (*closed)(void *user, enum pv_status status),
			     void **out)
{
	struct pv_vfio_user_server_params params = {
	    .struct_size = sizeof(params), .take_fd = take_fd, .closed = closed};
	struct pv_vfio_user_server *server;
	enum pv_status status = pv_vfio_user_server_create(device, &params, &server);

	if (status == PV_OK)
		*out = server;
	return status;
}

static void destroy(void *server)
{
	pv_vfio_user_server_destroy(server);
}

static const struct cli_serve_kind kind = {
    .options = options,
    .window_is_bar = true,
    .listen = pv_vfio_user_listen,
    .create = create,
    .destroy = destroy,
};

static int vfio_user(const struct cli_command *command, int argc, char **argv)
{
	return cli_serve(command, &kind, argc, argv);
}

const struct cli_command cli_vfio_user = {
    .name = "vfio-user",
    .run = vfio_user,
    .help =
	"Usage: pvgpu vfio-user --socket-path=PATH [OPTIONS]\n"
	"       pvgpu vfio-user --fd=N [OPTIONS]\n"
	"\n"
	"Is the graphics device of one virtual machine, a PCI device of its own. Stays in the foreground; ends when "
	"the\n"
	"VMM leaves, or on SIGTERM: end the VMM first, it cannot connect again and may not survive.\n"
	"\n" CLI_SERVE_SOCKET_HELP CLI_SERVE_SCREEN_HELP
	"  --window=SIZE               memory shared with the host's GPU, a power of two; default half of the host's\n"
	"                              memory, 256M to 16G, if a renderer uses it; takes memory only where it is "
	"used\n" CLI_SERVE_RENDER_HELP CLI_SERVE_CONTROL_HELP "\n"
	"Examples:\n"
	"  pvgpu vfio-user --socket-path=/tmp/gpu.sock --size=1920x1080\n"
	"  qemu-system-x86_64 -machine q35,memory-backend=mem -object memory-backend-memfd,id=mem,size=2G,share=on "
	"-m 2G \\\n"
	"      -vga none -device "
	"'{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/tmp/gpu.sock\"}}' ...\n"
	"  cloud-hypervisor --memory size=2G,shared=on --user-device socket=/tmp/gpu.sock ...\n",
};

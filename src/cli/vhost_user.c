/* SPDX-License-Identifier: MIT */
#include "pv/vhost_user.h"

#include "cli/serve.h"

/* Letters: those of QEMU's own back end. */
static const struct cli_option options[] = {
    CLI_SERVE_OPTIONS,
    {CLI_SERVE_CAPABILITIES, 'c', "print-capabilities", false},
    {CLI_SERVE_DMA_BUF, 0, "dma-buf", false},
    {CLI_SERVE_VIRGL, 'v', "virgl", false},
    {0},
};

static enum pv_status create(struct pv_device *device, int take_fd, void (*closed)(void *user, enum pv_status status),
			     void **out)
{
	struct pv_vhost_user_server_params params = {
	    .struct_size = sizeof(params), .take_fd = take_fd, .closed = closed};
	struct pv_vhost_user_server *server;
	enum pv_status status = pv_vhost_user_server_create(device, &params, &server);

	if (status == PV_OK)
		*out = server;
	return status;
}

static void destroy(void *server)
{
	pv_vhost_user_server_destroy(server);
}

static const struct cli_serve_kind kind = {
    .options = options,
#ifdef PV_HAVE_VIRGL
    .capabilities = "{\n  \"type\": \"gpu\",\n  \"features\": [\"virgl\", \"render-node\"]\n}",
#else
    .capabilities = "{\n  \"type\": \"gpu\",\n  \"features\": []\n}",
#endif
    .listen = pv_vhost_user_listen,
    .create = create,
    .destroy = destroy,
};

static int vhost_user(const struct cli_command *command, int argc, char **argv)
{
	return cli_serve(command, &kind, argc, argv);
}

const struct cli_command cli_vhost_user = {
    .name = "vhost-user",
    .run = vhost_user,
    .help = "Usage: pvgpu vhost-user --socket-path=PATH [OPTIONS]\n"
	    "       pvgpu vhost-user --fd=N [OPTIONS]\n"
	    "\n"
	    "Is the graphics device of one virtual machine. Stays in the foreground; ends when the VMM leaves, or on "
	    "SIGTERM.\n"
	    "\n" CLI_SERVE_SOCKET_HELP
	    "  -c, --print-capabilities    print what this build can do as JSON, for libvirt and the "
	    "like\n"
	    "  -v, --virgl                 short for --renderer=2d,virgl\n"
	    "  --dma-buf                   QEMU's display has gl=on and this GPU: give it OpenGL's pictures "
	    "uncopied\n" CLI_SERVE_SCREEN_HELP
	    "  --window=SIZE               memory shared with the host's GPU, a multiple of 2M; default half of the "
	    "host's\n"
	    "                              memory, 256M to 16G, if a renderer uses it; takes memory only where it is "
	    "used\n" CLI_SERVE_RENDER_HELP CLI_SERVE_CONTROL_HELP "\n"
	    "Examples:\n"
	    "  pvgpu vhost-user --socket-path=/tmp/gpu.sock --name=work --size=1920x1080\n"
	    "  pvgpu vhost-user -s /tmp/gpu.sock --outputs=2 --size=1280x800,off --display=png=/tmp/last.png\n"
	    "  qemu-system-x86_64 -machine q35,memory-backend=mem -object memory-backend-memfd,id=mem,size=2G,share=on "
	    "-m 2G \\\n"
	    "      -chardev socket,id=gpu,path=/tmp/gpu.sock -device vhost-user-gpu-pci,chardev=gpu -vga none ...\n"
	    "  With Vulkan (QEMU 11.1): -device vhost-user-test-device-pci,chardev=gpu,virtio-id=16,num_vqs=2,"
	    "vq_size=256,config_size=20\n",
};

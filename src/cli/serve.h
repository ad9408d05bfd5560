/* SPDX-License-Identifier: MIT */
/* What the commands that serve a VMM share: options, the socket they are found by, the main loop. */
#ifndef PV_CLI_SERVE_H
#define PV_CLI_SERVE_H

#include "cli/server_options.h"
#include "pv/device.h"

enum {
	CLI_SERVE_CAPABILITIES = CLI_SERVER_OWN,
	CLI_SERVE_OUTPUTS,
	CLI_SERVE_SIZE,
	CLI_SERVE_DISPLAY,
	CLI_SERVE_IN_PROCESS,
	CLI_SERVE_WINDOW,
	CLI_SERVE_MAX_HOST_MEMORY,
	CLI_SERVE_KEEP_LISTENING,
	CLI_SERVE_DMA_BUF,
	CLI_SERVE_VIRGL, /* as of QEMU's own back end */
};

/* For the table of a command. */
#define CLI_SERVE_OPTIONS                                                                                              \
	CLI_SERVER_OPTIONS, {CLI_SERVE_IN_PROCESS, 0, "renderer-in-process", false},                                   \
	    {CLI_SERVE_OUTPUTS, 0, "outputs", true}, {CLI_SERVE_SIZE, 0, "size", true},                                \
	    {CLI_SERVE_DISPLAY, 0, "display", true}, {CLI_SERVE_WINDOW, 0, "window", true},                            \
	    {CLI_SERVE_MAX_HOST_MEMORY, 0, "max-host-memory", true},                                                   \
	{                                                                                                              \
		CLI_SERVE_KEEP_LISTENING, 0, "keep-listening", false                                                   \
	}

/* For its help: before and after what it says of --window. */
#define CLI_SERVE_SOCKET_HELP                                                                                          \
	"  -s, --socket-path=PATH      listen there\n"                                                                 \
	"  -f, --fd=N                  use this inherited socket, connected or listening\n"
#define CLI_SERVE_SCREEN_HELP                                                                                          \
	"  --outputs=N                 number of heads, 1 to 16; default 1\n"                                          \
	"  --size=SIZE[,SIZE...]       size of each head, WIDTHxHEIGHT or off; default 1280x800\n"                     \
	"  --display=none|png[=PATH]   png: write each head's last picture to PATH in the end; default none\n"
#define CLI_SERVE_RENDER_HELP                                                                                          \
	"  --renderer=LIST             2d, venus, virgl, with commas: venus gives the guest the host's Vulkan, "       \
	"virgl\n"                                                                                                      \
	"                              its OpenGL; default 2d\n"                                                       \
	"  --device=NUMBER|NAME        Vulkan device, as pvgpu devices lists them; default the best\n"                 \
	"  --render-node=PATH          DRM device for OpenGL, such as /dev/dri/renderD128; default as EGL chooses\n"   \
	"  --renderer-in-process       load GPU drivers into this process: one that crashes takes the VM with it\n"    \
	"  --emulate-portability       for tests: make do with the Vulkan of a Mac\n"                                  \
	"  --guest-vram                for tests: place mappable memory as for a GPU, which pins it\n"
#define CLI_SERVE_CONTROL_HELP                                                                                         \
	"  --max-host-memory=SIZE      for the guest's pictures and OpenGL textures, and for its Vulkan memory;\n"     \
	"                              default 512M, with virgl half of this host's; for Vulkan what its driver has\n" \
	"  --control=PATH|none         control socket for pvgpu status and others; default by name\n"                  \
	"  --name=NAME                 name of this device for them; default the process id\n"                         \
	"  --keep-listening            serve the next VMM when one has left\n"                                         \
	"  --log-level=LEVEL           error, warning, info or debug; default info\n"

/* What differs between them. */
struct cli_serve_kind {
	const struct cli_option *options;
	const char *capabilities; /* with CLI_SERVE_CAPABILITIES */
	bool window_is_bar;       /* so its size is a power of two */

	enum pv_status (*listen)(const char *path, int32_t *out_fd);
	/* `closed` comes with user NULL, on any thread. */
	enum pv_status (*create)(struct pv_device *device, int take_fd,
				 void (*closed)(void *user, enum pv_status status), void **out);
	void (*destroy)(void *server);
};

/* The whole command. Returns the exit code. */
int cli_serve(const struct cli_command *command, const struct cli_serve_kind *kind, int argc, char **argv);

#endif

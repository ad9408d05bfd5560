/* SPDX-License-Identifier: MIT */
/* pvgpu vtest. The main thread makes the server and then sleeps until a signal; all else happens on its threads. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/heap.h"
#include "cli/server_options.h"
#include "cli/socket.h"
#include "cli/vtest_apart.h"
#include "pv/control.h"
#include "pv/log.h"
#include "pv/vtest.h"

struct options {
	struct cli_server_options server;
	int client_fd; /* of the only client; -1: there may be others */
	struct pv_vtest_server_params params;
};

enum {
	OPT_DMA_BUF = CLI_SERVER_OWN,
	OPT_MAX_CLIENTS,
	OPT_CLIENT,
	OPT_MAX_CLIENT_MEMORY,
};

static const struct cli_option known_options[] = {
    CLI_SERVER_OPTIONS,
    {OPT_DMA_BUF, 0, "dma-buf", false},
    {OPT_MAX_CLIENTS, 0, "max-clients", true},
    {OPT_MAX_CLIENT_MEMORY, 0, "max-client-memory", true},
    {OPT_CLIENT, 0, "client", true},
    {0},
};

/* Returns an exit code; CLI_OK: go on. */
static int take_option(const struct cli_command *command, struct options *options, int id, const char *value)
{
	uint64_t number;

	switch (id) {
	case OPT_CLIENT:
		if (!cli_parse_number(value, INT32_MAX, &number))
			return cli_usage(command, "--client=%s: give the number of a connected socket", value);
		options->client_fd = (int)number;
		return CLI_OK;
	case OPT_DMA_BUF:
		options->params.show_dma_buf = true;
		return CLI_OK;
	case OPT_MAX_CLIENTS:
		if (!cli_parse_number(value, 1000, &number) || number == 0)
			return cli_usage(command, "--max-clients=%s: 1 to 1000 can be served at once", value);
		options->params.max_clients = (uint32_t)number;
		return CLI_OK;
	case OPT_MAX_CLIENT_MEMORY:
		if (!cli_parse_bytes(value, &options->params.max_client_bytes) || options->params.max_client_bytes == 0)
			return cli_usage(command, "--max-client-memory=%s: give a number of bytes, such as 512M or 8G",
					 value);
		return CLI_OK;
	default:
		return cli_server_take_option(command, &options->server, id, value);
	}
}

/* Returns an exit code, or -1: go on. */
static int parse(const struct cli_command *command, int argc, char **argv, struct options *options)
{
	struct cli_parser parser = {.command = command, .options = known_options, .argc = argc, .argv = argv};
	int id, code;

	while ((id = cli_next(&parser)) != CLI_END) {
		if (id == CLI_BAD || id == CLI_HELP)
			return cli_ended(id);
		if (id == CLI_WORD)
			return cli_usage(command, "\"%s\": all options begin with --", parser.value);
		code = take_option(command, options, id, parser.value);
		if (code != CLI_OK)
			return code;
	}
	code = cli_server_check_options(command, &options->server);
	if (code != CLI_OK)
		return code;
	options->params.device = options->server.device;
	options->params.render_node = options->server.render_node;
	options->params.renderers = options->server.renderers;
	options->params.emulate_portability = options->server.emulate_portability;
	options->params.use_guest_vram = options->server.guest_vram;
	return -1;
}

/* ---- Serving ---- */

/* An inherited socket, by --fd or from systemd; else the path. */
static int choose_socket(struct options *options)
{
	const struct cli_server_options *server = &options->server;
	unsigned long activated = cli_activated_fds();
	bool listening = false;
	int code;

	if (server->fd < 0 && !server->socket_path && activated > 1) {
		cli_error("one ListenStream= to a unit", "systemd passed %lu sockets, one is needed", activated);
		return CLI_FAILED;
	}
	if (server->fd < 0 && (server->socket_path || activated == 0)) {
		options->params.path = server->socket_path ? server->socket_path : PV_VTEST_DEFAULT_PATH;
		return cli_check_directory(options->params.path, "--socket-path");
	}
	options->params.take_fd = server->fd >= 0 ? server->fd : CLI_FIRST_ACTIVATED_FD;
	code = cli_check_inherited(options->params.take_fd, server->fd >= 0 ? "--fd" : "LISTEN_FDS", &listening);
	if (code == CLI_OK && !listening) {
		cli_error("listen on it first, or give a path: --socket-path=PATH", "descriptor %d does not listen",
			  (int)options->params.take_fd);
		code = CLI_FAILED;
	}
	return code;
}

static int start_server(struct options *options, struct pv_vtest_server **out)
{
	switch (pv_vtest_server_create(&options->params, out)) {
	case PV_OK:
		return CLI_OK;
	case PV_ERR_UNSUPPORTED: /* said so, and what to do */
	case PV_ERR_ARGUMENT:    /* the same: the path is served by another process */
		return CLI_FAILED;
	case PV_ERR_NO_MEMORY:
		cli_error(NULL, "out of memory");
		return CLI_FAILED;
	default:
		cli_error("if it is the device: pvgpu devices lists what there is, and why it cannot be used",
			  "the server cannot be started");
		return CLI_FAILED;
	}
}

struct service {
	struct pv_vtest_server *server;
	struct pv_control_server *control;
};

static bool create_control(void *user, const char *path)
{
	struct service *service = user;

	return pv_control_server_create_for_vtest(service->server, path, &service->control) == PV_OK;
}

/* All threads made from now on leave them to us, too. */
static void block_signals(sigset_t *out)
{
	sigemptyset(out);
	sigaddset(out, SIGTERM);
	sigaddset(out, SIGINT);
	sigaddset(out, SIGHUP);
	pthread_sigmask(SIG_BLOCK, out, NULL);
}

static void wait_for_end(const sigset_t *signals)
{
	int signal_number;

	while (sigwait(signals, &signal_number) != 0)
		;
}

/* ---- Each client apart ---- */

/* The command line of a process for one client. */
static void add_words(const struct options *options, const char *program, struct cli_words *words)
{
	static const char *const levels[] = {"error", "warning", "info", "debug"};
	const struct pv_vtest_server_params *server = &options->params;
	enum pv_log_level level = options->server.log_level;

	cli_words_add(words, "%s", program);
	cli_words_add(words, "vtest");
	cli_words_add(words, "--control=none");
	cli_words_add(words, "--renderer=%s", server->renderers);
	cli_words_add(words, "--log-level=%s", levels[level == PV_LOG_INFO ? PV_LOG_WARNING : level]);
	if (server->device)
		cli_words_add(words, "--device=%s", server->device);
	if (server->render_node)
		cli_words_add(words, "--render-node=%s", server->render_node);
	if (server->emulate_portability)
		cli_words_add(words, "--emulate-portability");
	if (server->use_guest_vram)
		cli_words_add(words, "--guest-vram");
	if (server->show_dma_buf)
		cli_words_add(words, "--dma-buf");
	if (server->max_client_bytes)
		cli_words_add(words, "--max-client-memory=%llu", (unsigned long long)server->max_client_bytes);
}

static int serve_apart(struct options *options)
{
	const size_t max_clients = options->params.max_clients ? options->params.max_clients : 128;
	char *program = cli_own_program();
	struct cli_words words = {0};
	int fd = -1, code = choose_socket(options);

	if (code == CLI_OK && options->params.path && pv_vtest_listen(options->params.path, &fd) != PV_OK)
		code = CLI_FAILED;
	if (code == CLI_OK && !options->params.path)
		fd = options->params.take_fd;
	if (code == CLI_OK) {
		add_words(options, program ? program : "pvgpu", &words);
		cli_server_info(&options->server, "listening, a process for each client, use VTEST_SOCKET_NAME=",
				options->params.path ? options->params.path : "(the inherited socket's path)");
		code = words.failed ? CLI_FAILED : cli_vtest_serve_apart(fd, &words, max_clients);
	}
	if (fd >= 0 && options->params.path)
		unlink(options->params.path);
	if (fd >= 0)
		close(fd);
	cli_words_finish(&words);
	free(program);
	return code;
}

/* The main thread waits for a signal in any case: the last client's end is one. */
static void on_idle(void *user)
{
	(void)user;
	kill(getpid(), SIGTERM);
}

static int serve_one(struct options *options)
{
	struct pv_vtest_server *server = NULL;
	sigset_t signals;
	int code;

	block_signals(&signals);
	options->params.idle = on_idle;
	code = start_server(options, &server);
	if (code == CLI_OK && pv_vtest_server_add_client(server, options->client_fd) == PV_OK)
		wait_for_end(&signals);
	pv_vtest_server_destroy(server);
	return code;
}

static int serve(struct options *options)
{
	struct service service = {0};
	sigset_t signals;
	int code;

	code = choose_socket(options);
	if (code != CLI_OK)
		return code;
	block_signals(&signals);
	code = start_server(options, &service.server);
	if (code == CLI_OK)
		code = cli_server_start_control(&options->server, create_control, &service, "no status");
	if (code == CLI_OK) {
		cli_server_info(&options->server, "listening, use VN_DEBUG=vtest VTEST_SOCKET_NAME=",
				options->params.path ? options->params.path : "(the inherited socket's path)");
		wait_for_end(&signals);
	}
	pv_control_server_destroy(service.control);
	pv_vtest_server_destroy(service.server);
	return code;
}

static int vtest(const struct cli_command *command, int argc, char **argv)
{
	struct options options = {.client_fd = -1, .params = {.struct_size = sizeof(options.params), .take_fd = -1}};
	int code;

	cli_server_options_init(&options.server);
	code = parse(command, argc, argv, &options);
	if (code >= 0)
		return code;
	pv_log_set_level(options.server.log_level);
	cli_raise_descriptor_limit();
	cli_not_our_own_guest();
	cli_keep_heap();
	if (options.client_fd >= 0)
		return serve_one(&options);
	/* Mesa's OpenGL driver and virglrenderer are made for that. */
	if (options.server.renderers && strstr(options.server.renderers, "virgl"))
		return serve_apart(&options);
	return serve(&options);
}

const struct cli_command cli_vtest = {
    .name = "vtest",
    .run = vtest,
    .help = "Usage: pvgpu vtest [OPTIONS]\n"
	    "\n"
	    "Gives Mesa's venus and virpipe drivers in ordinary programs of this machine the host's GPU, without a "
	    "virtual\n"
	    "machine.\n"
	    "Serves many programs at once. Stays in the foreground; ends on SIGTERM.\n"
	    "\n"
	    "  -s, --socket-path=PATH     listen there; default " PV_VTEST_DEFAULT_PATH ", where Mesa looks\n"
	    "  -f, --fd=N                 use this inherited socket, which listens\n"
	    "  -d, --device=NAME|INDEX    which GPU, see pvgpu devices: its number or a part of its name; default the "
	    "best\n"
	    "  --renderer=LIST            venus (Vulkan), virgl (OpenGL) or both; with virgl each program has a "
	    "process of\n"
	    "                             its own; default venus\n"
	    "  --render-node=PATH         DRM device for OpenGL, such as /dev/dri/renderD128; default as EGL chooses\n"
	    "  --emulate-portability      as if the host had MoltenVK: for tests\n"
	    "  --guest-vram               let drivers make mappable memory first, as in a virtual machine: for tests\n"
	    "  --dma-buf                  tell drivers of dma-bufs, as in a virtual machine: for tests\n"
	    "  --max-clients=N            programs served at once, the next ones wait; default 128\n"
	    "  --max-client-memory=SIZE   that one program can share with its GPU; default no limit\n"
	    "  --control=PATH|none        control socket for pvgpu status; default by name\n"
	    "  --name=NAME                name of this server for it; default the process id\n"
	    "  --log-level=LEVEL          error, warning, info or debug; default info\n"
	    "\n"
	    "Examples:\n"
	    "  pvgpu vtest --socket-path=/tmp/gpu.sock &\n"
	    "  export VN_DEBUG=vtest VTEST_SOCKET_NAME=/tmp/gpu.sock\n"
	    "  export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/virtio_icd.json\n"
	    "  vulkaninfo --summary\n"
	    "  vkcube\n"
	    "  pvgpu vtest --renderer=venus,virgl --socket-path=/tmp/gpu.sock &\n"
	    "  GALLIUM_DRIVER=virpipe LIBGL_ALWAYS_SOFTWARE=1 VTEST_SOCKET_NAME=/tmp/gpu.sock glxinfo -B\n"
	    "  pvgpu vtest --device=llvmpipe --log-level=debug\n",
};

/* SPDX-License-Identifier: MIT */
/*
 * Serving a VMM. The main thread makes the device and its servers and then sleeps in poll() for front ends that
 * connect, for the end of the one that is connected, and for signals; all else happens on the library's threads.
 */
#include "cli/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/heap.h"
#include "cli/socket.h"
#include "pv/control.h"
#include "pv/log.h"

#define DEFAULT_WIDTH    1280
#define DEFAULT_HEIGHT   800
#define DEFAULT_PNG_PATH "pvgpu.png"

struct options {
	struct cli_server_options server;
	bool print_capabilities, keep_listening;
	uint64_t nr_outputs; /* 0: as many as sizes */
	uint32_t nr_sizes;
	struct pv_device_output outputs[PV_DEVICE_MAX_OUTPUTS];
	const char *png_path;
	bool in_process, with_dma_bufs;
	uint64_t window_bytes, max_host_bytes;
};

/* ---- The command line ---- */

/* "800x600,off,1024x768": one entry for each head. */
static bool parse_sizes(struct options *options, const char *text)
{
	for (;;) {
		struct pv_device_output *output = &options->outputs[options->nr_sizes];

		if (options->nr_sizes == PV_DEVICE_MAX_OUTPUTS)
			return false;
		if (strncmp(text, "off", 3) == 0)
			text += 3;
		else if (cli_parse_size(text, &text, &output->width, &output->height))
			output->enabled = true;
		else
			return false;
		options->nr_sizes++;
		if (*text == '\0')
			return true;
		if (*text++ != ',')
			return false;
	}
}

static bool parse_display(struct options *options, const char *text)
{
	if (strcmp(text, "none") == 0)
		return true;
	if (strcmp(text, "png") == 0)
		options->png_path = DEFAULT_PNG_PATH;
	else if (strncmp(text, "png=", 4) == 0 && text[4])
		options->png_path = text + 4;
	else
		return false;
	return true;
}

/* Returns an exit code; CLI_OK: go on. */
static int take_option(const struct cli_command *command, const struct cli_serve_kind *kind, struct options *options,
		       int id, const char *value)
{
	switch (id) {
	case CLI_SERVE_CAPABILITIES:
		options->print_capabilities = true;
		return CLI_OK;
	case CLI_SERVE_OUTPUTS:
		if (!cli_parse_number(value, PV_DEVICE_MAX_OUTPUTS, &options->nr_outputs) || options->nr_outputs == 0)
			return cli_usage(command, "--outputs=%s: 1 to %d heads can be had", value,
					 PV_DEVICE_MAX_OUTPUTS);
		return CLI_OK;
	case CLI_SERVE_SIZE:
		if (!parse_sizes(options, value))
			return cli_usage(
			    command,
			    "--size=%s: write WIDTHxHEIGHT (each 1 to %d) or off for up to %d heads, with commas",
			    value, PV_DEVICE_MAX_SIDE_PIXELS, PV_DEVICE_MAX_OUTPUTS);
		return CLI_OK;
	case CLI_SERVE_DISPLAY:
		if (!parse_display(options, value))
			return cli_usage(command, "--display=%s: there are none, png and png=PATH", value);
		return CLI_OK;
	case CLI_SERVE_VIRGL:
		if (!options->server.renderers)
			options->server.renderers = "2d,virgl";
		return CLI_OK;
	case CLI_SERVE_DMA_BUF:
		options->with_dma_bufs = true;
		return CLI_OK;
	case CLI_SERVE_IN_PROCESS:
		options->in_process = true;
		return CLI_OK;
	case CLI_SERVE_WINDOW:
		if (!cli_parse_bytes(value, &options->window_bytes) || options->window_bytes % (2u << 20) ||
		    options->window_bytes > (1ull << 46))
			return cli_usage(command, "--window=%s: give a multiple of 2M, such as 256M or 4G, or 0",
					 value);
		if (kind->window_is_bar && (options->window_bytes & (options->window_bytes - 1)))
			return cli_usage(command, "--window=%s: a PCI device's has a power of two, such as 256M or 4G",
					 value);
		return CLI_OK;
	case CLI_SERVE_MAX_HOST_MEMORY:
		if (!cli_parse_bytes(value, &options->max_host_bytes) || options->max_host_bytes == 0)
			return cli_usage(command, "--max-host-memory=%s: give a number of bytes, such as 512M or 2G",
					 value);
		return CLI_OK;
	case CLI_SERVE_KEEP_LISTENING:
		options->keep_listening = true;
		return CLI_OK;
	default:
		return cli_server_take_option(command, &options->server, id, value);
	}
}

/* Heads without a size are like the last one with one; all lie side by side. */
static void complete_outputs(struct options *options)
{
	uint32_t x = 0;

	if (options->nr_outputs < options->nr_sizes)
		options->nr_outputs = options->nr_sizes;
	if (options->nr_outputs == 0)
		options->nr_outputs = 1;
	if (options->nr_sizes == 0) {
		options->outputs[0] =
		    (struct pv_device_output){.enabled = true, .width = DEFAULT_WIDTH, .height = DEFAULT_HEIGHT};
		options->nr_sizes = 1;
	}
	for (uint32_t i = 0; i < options->nr_outputs; i++) {
		if (i >= options->nr_sizes)
			options->outputs[i] = options->outputs[options->nr_sizes - 1];
		options->outputs[i].x = x;
		x += options->outputs[i].width;
	}
}

/* Returns an exit code, or -1: go on. */
static int parse(const struct cli_command *command, const struct cli_serve_kind *kind, int argc, char **argv,
		 struct options *options)
{
	struct cli_parser parser = {.command = command, .options = kind->options, .argc = argc, .argv = argv};
	int id, code;

	while ((id = cli_next(&parser)) != CLI_END) {
		if (id == CLI_BAD || id == CLI_HELP)
			return cli_ended(id);
		if (id == CLI_WORD)
			return cli_usage(command, "\"%s\": all options begin with --", parser.value);
		code = take_option(command, kind, options, id, parser.value);
		if (code != CLI_OK)
			return code;
	}
	if (options->print_capabilities) {
		puts(kind->capabilities);
		return CLI_OK;
	}
	code = cli_server_check_options(command, &options->server);
	complete_outputs(options);
	return code == CLI_OK ? -1 : code;
}

/* ---- Signals ---- */

/* Written to by the signal handler and by the server's callback; the main thread polls it. */
static int wake_fds[2] = {-1, -1};

enum { WAKE_STOP = 's', WAKE_CLOSED = 'c' };

static void wake(char reason)
{
	int saved_errno = errno;
	ssize_t ignored = write(wake_fds[1], &reason, 1);

	(void)ignored;
	errno = saved_errno;
}

static void on_signal(int signal_number)
{
	(void)signal_number;
	wake(WAKE_STOP);
}

static void on_closed(void *user, enum pv_status status)
{
	(void)user, (void)status;
	wake(WAKE_CLOSED);
}

static bool prepare_wake(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	if (!cli_open_wake_pipe(wake_fds))
		return false;
	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	return true;
}

/* ---- Where front ends come from ---- */

struct source {
	int listen_fd;    /* -1: none (any more) */
	int connected_fd; /* -1: none (any more) */
	const char *made; /* socket file to be removed; NULL: none of ours */
};

/* Takes an inherited socket, listening or connected. */
static int inherit(struct source *source, int fd, const char *origin)
{
	bool listening = false;
	int code = cli_check_inherited(fd, origin, &listening);

	if (code != CLI_OK)
		return code;
	if (listening) {
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		source->listen_fd = fd;
	} else {
		source->connected_fd = fd;
	}
	return CLI_OK;
}

static int open_source(const struct cli_command *command, const struct cli_serve_kind *kind,
		       const struct cli_server_options *options, struct source *source)
{
	unsigned long activated;
	int32_t fd;
	int code;

	if (options->fd >= 0)
		return inherit(source, options->fd, "--fd");
	if (options->socket_path) {
		code = cli_check_directory(options->socket_path, "--socket-path");
		if (code != CLI_OK)
			return code;
		/* On failure it has been logged. */
		if (kind->listen(options->socket_path, &fd) != PV_OK)
			return CLI_FAILED;
		source->listen_fd = fd;
		source->made = options->socket_path;
		return CLI_OK;
	}
	activated = cli_activated_fds();
	if (activated == 0)
		return cli_usage(command, "say where the virtual machine connects: --socket-path=PATH, or --fd=N");
	if (activated > 1) {
		cli_error("one ListenStream= to a unit", "systemd passed %lu sockets, one is needed", activated);
		return CLI_FAILED;
	}
	return inherit(source, CLI_FIRST_ACTIVATED_FD, "LISTEN_FDS");
}

static void close_listener(struct source *source)
{
	if (source->listen_fd >= 0)
		close(source->listen_fd);
	source->listen_fd = -1;
	if (source->made)
		unlink(source->made);
	source->made = NULL;
}

/* ---- Serving ---- */

struct service {
	const struct cli_serve_kind *kind;
	const struct options *options;
	struct source source;
	struct pv_device *device;
	struct pv_control_server *control;
	void *server; /* of the kind; NULL: none */
};

static bool create_control(void *user, const char *path)
{
	struct service *service = user;

	return pv_control_server_create(service->device, path, &service->control) == PV_OK;
}

static int start_device(struct service *service)
{
	const struct options *options = service->options;
	const struct cli_server_options *server = &options->server;
	struct pv_device_params params = {
	    .struct_size = sizeof(params),
	    .nr_outputs = (uint32_t)options->nr_outputs,
	    .outputs = options->outputs,
	    .max_host_bytes = options->max_host_bytes,
	    .window_bytes = options->window_bytes,
	    .png_path = options->png_path,
	    .renderers = server->renderers ? server->renderers : "2d",
	    .vulkan_device = server->device,
	    .render_node = server->render_node,
	    .emulate_portability = server->emulate_portability,
	    .use_guest_vram = server->guest_vram,
	    .with_dma_bufs = options->with_dma_bufs,
	};
	char *program = options->in_process ? NULL : cli_worker_program();
	enum pv_status status;

	params.worker_program = program;
	status = pv_device_create(&params, &service->device);
	free(program);
	if (status == PV_OK)
		return CLI_OK;
	cli_error(NULL, "the device cannot be made: %s", pv_status_string(status));
	return CLI_FAILED;
}

static bool serve(struct service *service, int take_fd)
{
	enum pv_status status = service->kind->create(service->device, take_fd, on_closed, &service->server);

	if (status != PV_OK)
		cli_error(NULL, "the connection cannot be served: %s", pv_status_string(status));
	return status == PV_OK;
}

/* True: go on. */
static bool take_front_end(struct service *service)
{
	int fd = accept(service->source.listen_fd, NULL, NULL);

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			cli_error(NULL, "accept: %s", strerror(errno));
			/* Most likely too many open files; the connection still waits, so do not spin. */
			poll(NULL, 0, 200);
		}
		return true;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (!service->options->keep_listening)
		close_listener(&service->source);
	return serve(service, fd) || service->options->keep_listening;
}

/* The front end left. True: there may be another one. */
static bool end_front_end(struct service *service)
{
	if (service->server)
		service->kind->destroy(service->server);
	service->server = NULL;
	return service->options->keep_listening && service->source.listen_fd >= 0;
}

static int run(struct service *service)
{
	for (;;) {
		struct pollfd fds[2] = {{.fd = wake_fds[0], .events = POLLIN},
					/* While one front end is served the next one waits in the socket's queue. */
					{.fd = service->server ? -1 : service->source.listen_fd, .events = POLLIN}};
		char reason;

		if (poll(fds, 2, -1) < 0 && errno != EINTR) {
			cli_error(NULL, "poll: %s", strerror(errno));
			return CLI_FAILED;
		}
		while (read(wake_fds[0], &reason, 1) == 1) {
			if (reason == WAKE_STOP || !end_front_end(service))
				return CLI_OK;
		}
		if (fds[1].revents && !service->server && !take_front_end(service))
			return CLI_FAILED;
	}
}

static int start(const struct cli_command *command, struct service *service)
{
	const struct cli_server_options *server = &service->options->server;
	const char *png_path = service->options->png_path;
	int code = CLI_OK, fd;

	if (png_path)
		code = cli_check_directory(png_path, "--display=png");
	if (code == CLI_OK)
		code = open_source(command, service->kind, server, &service->source);
	if (code == CLI_OK)
		code = start_device(service);
	if (code == CLI_OK)
		code = cli_server_start_control(server, create_control, service, "no status and no screenshots");
	if (code != CLI_OK)
		return code;
	if (service->source.connected_fd >= 0) {
		fd = service->source.connected_fd;
		service->source.connected_fd = -1;
		cli_server_info(server, "serving the connected socket", "");
		return serve(service, fd) ? CLI_OK : CLI_FAILED;
	}
	cli_server_info(server, "listening on ", server->socket_path ? server->socket_path : "the inherited socket");
	return CLI_OK;
}

static void stop(struct service *service)
{
	close_listener(&service->source);
	if (service->source.connected_fd >= 0)
		close(service->source.connected_fd);
	if (service->server)
		service->kind->destroy(service->server);
	pv_control_server_destroy(service->control);
	pv_device_destroy(service->device);
}

int cli_serve(const struct cli_command *command, const struct cli_serve_kind *kind, int argc, char **argv)
{
	struct options options = {.window_bytes = PV_DEVICE_WINDOW_AUTO};
	struct service service = {.kind = kind, .options = &options, .source = {.listen_fd = -1, .connected_fd = -1}};
	int code;

	cli_server_options_init(&options.server);
	code = parse(command, kind, argc, argv, &options);
	if (code >= 0)
		return code;
	pv_log_set_level(options.server.log_level);
	cli_raise_descriptor_limit();
	if (options.in_process && options.server.renderers && strstr(options.server.renderers, "venus")) {
		cli_not_our_own_guest();
		cli_keep_heap();
	}
	if (!prepare_wake())
		return CLI_FAILED;
	code = start(command, &service);
	if (code == CLI_OK)
		code = run(&service);
	stop(&service);
	return code;
}

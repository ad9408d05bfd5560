/* SPDX-License-Identifier: MIT */
/* Options that all commands have which serve somebody: pvgpu vhost-user, vfio-user and vtest. */
#ifndef PV_CLI_SERVER_OPTIONS_H
#define PV_CLI_SERVER_OPTIONS_H

#include "cli/cli.h"
#include "pv/log.h"

enum {
	CLI_SERVER_SOCKET_PATH = 1,
	CLI_SERVER_FD,
	CLI_SERVER_RENDERER,
	CLI_SERVER_DEVICE,
	CLI_SERVER_RENDER_NODE,
	CLI_SERVER_EMULATE_PORTABILITY,
	CLI_SERVER_GUEST_VRAM,
	CLI_SERVER_CONTROL,
	CLI_SERVER_NAME,
	CLI_SERVER_LOG_LEVEL,
	CLI_SERVER_OWN, /* the first of a command's own */
};

/* For the table of a command. */
#define CLI_SERVER_OPTIONS                                                                                             \
	{CLI_SERVER_SOCKET_PATH, 's', "socket-path", true}, {CLI_SERVER_FD, 'f', "fd", true},                          \
	    {CLI_SERVER_RENDERER, 0, "renderer", true}, {CLI_SERVER_DEVICE, 'd', "device", true},                      \
	    {CLI_SERVER_RENDER_NODE, 'r', "render-node", true},                                                        \
	    {CLI_SERVER_EMULATE_PORTABILITY, 0, "emulate-portability", false},                                         \
	    {CLI_SERVER_GUEST_VRAM, 0, "guest-vram", false}, {CLI_SERVER_CONTROL, 0, "control", true},                 \
	    {CLI_SERVER_NAME, 0, "name", true},                                                                        \
	{                                                                                                              \
		CLI_SERVER_LOG_LEVEL, 0, "log-level", true                                                             \
	}

struct cli_server_options {
	const char *socket_path;
	int fd; /* -1: none */
	const char *renderers, *device, *render_node;
	bool emulate_portability, guest_vram;
	const char *control; /* NULL: by name */
	const char *name;
	char pid_name[32];
	enum pv_log_level log_level;
};

void cli_server_options_init(struct cli_server_options *options);
/* One of those above. Returns an exit code; CLI_OK: go on. */
int cli_server_take_option(const struct cli_command *command, struct cli_server_options *options, int id,
			   const char *value);
/* What cannot be together. Returns an exit code; CLI_OK: go on. */
int cli_server_check_options(const struct cli_command *command, const struct cli_server_options *options);

/* "pvgpu: info: WHATWHICH", where the log has such lines. */
void cli_server_info(const struct cli_server_options *options, const char *what, const char *which);

/*
 * Makes the control socket, unless there is to be none. `create` gets its path, which is the caller's to free
 * afterwards; `without` says what is missed where none could be had that nobody asked for. Returns an exit code.
 */
int cli_server_start_control(const struct cli_server_options *options, bool (*create)(void *user, const char *path),
			     void *user, const char *without);

#endif

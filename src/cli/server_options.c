/* SPDX-License-Identifier: MIT */
#include "cli/server_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/socket.h"

void cli_server_options_init(struct cli_server_options *options)
{
	*options = (struct cli_server_options){.fd = -1, .log_level = PV_LOG_INFO};
	snprintf(options->pid_name, sizeof(options->pid_name), "%ld", (long)getpid());
}

int cli_server_take_option(const struct cli_command *command, struct cli_server_options *options, int id,
			   const char *value)
{
	uint64_t number;

	switch (id) {
	case CLI_SERVER_SOCKET_PATH:
		options->socket_path = value;
		return cli_check_socket_path(command, "--socket-path", value);
	case CLI_SERVER_FD:
		if (!cli_parse_number(value, INT32_MAX, &number))
			return cli_usage(command, "--fd=%s: give the number of an open socket", value);
		options->fd = (int)number;
		return CLI_OK;
	case CLI_SERVER_RENDERER:
		options->renderers = value;
		return CLI_OK;
	case CLI_SERVER_DEVICE:
		if (value[0] == '\0')
			return cli_usage(command, "--device: give a number or a part of a name, as pvgpu devices lists "
						  "them");
		options->device = value;
		return CLI_OK;
	case CLI_SERVER_RENDER_NODE:
		options->render_node = value;
		return CLI_OK;
	case CLI_SERVER_EMULATE_PORTABILITY:
		options->emulate_portability = true;
		return CLI_OK;
	case CLI_SERVER_GUEST_VRAM:
		options->guest_vram = true;
		return CLI_OK;
	case CLI_SERVER_CONTROL:
		if (value[0] == '\0')
			return cli_usage(command, "--control: give the control socket's path, or none");
		options->control = value;
		return CLI_OK;
	case CLI_SERVER_NAME:
		if (!cli_is_name(value))
			return cli_usage(command,
					 "--name=%s: names have up to 64 letters, digits, dots, dashes and underscores",
					 value);
		options->name = value;
		return CLI_OK;
	default:
		if (!cli_parse_log_level(value, &options->log_level))
			return cli_usage(command, "--log-level=%s: there are error, warning, info and debug", value);
		return CLI_OK;
	}
}

int cli_server_check_options(const struct cli_command *command, const struct cli_server_options *options)
{
	if (options->socket_path && options->fd >= 0)
		return cli_usage(command, "give either --socket-path or --fd, not both");
	return CLI_OK;
}

void cli_server_info(const struct cli_server_options *options, const char *what, const char *which)
{
	if (options->log_level >= PV_LOG_INFO)
		fprintf(stderr, "pvgpu: info: %s%s\n", what, which);
}

int cli_server_start_control(const struct cli_server_options *options, bool (*create)(void *user, const char *path),
			     void *user, const char *without)
{
	char *path;
	bool made;

	if (options->control && strcmp(options->control, "none") == 0)
		return CLI_OK;
	if (options->control) {
		int code = cli_check_directory(options->control, "--control");

		if (code != CLI_OK)
			return code;
		path = strdup(options->control);
	} else {
		path = cli_control_path(options->name ? options->name : options->pid_name, true);
	}
	made = path && create(user, path);
	free(path);
	if (made)
		return CLI_OK;
	if (options->control || options->name) {
		cli_error("choose another one with --control or --name, or --control=none",
			  "the control socket cannot be made");
		return CLI_FAILED;
	}
	/* Nobody asked for it. */
	cli_server_info(options, "goes on without a control socket: ", without);
	return CLI_OK;
}

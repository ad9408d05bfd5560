/* SPDX-License-Identifier: MIT */
/* What commands that serve on a socket need. The exit codes that these return come with what was wrong said. */
#ifndef PV_CLI_SOCKET_H
#define PV_CLI_SOCKET_H

#include "cli/cli.h"
#include "pv/log.h"

#define CLI_FIRST_ACTIVATED_FD 3

/* Whether a path has a length that a socket can have. */
int cli_check_socket_path(const struct cli_command *command, const char *option, const char *path);
/* Whether a file can be made at `path`, which was given with `option`. */
int cli_check_directory(const char *path, const char *option);
/* Makes an inherited stream socket close-on-exec; `origin` is where its number is from. */
int cli_check_inherited(int fd, const char *origin, bool *out_listening);
/* sd_listen_fds(3): how many sockets systemd passed to this very process, from CLI_FIRST_ACTIVATED_FD. */
unsigned long cli_activated_fds(void);

bool cli_parse_log_level(const char *text, enum pv_log_level *out);

/* Each memory region, blob and client is a descriptor; the usual soft limit is 1024. */
void cli_raise_descriptor_limit(void);

#endif

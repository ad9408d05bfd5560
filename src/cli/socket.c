/* SPDX-License-Identifier: MIT */
#include "cli/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int cli_check_socket_path(const struct cli_command *command, const char *option, const char *path)
{
	const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (path[0] != '\0' && strlen(path) <= max)
		return CLI_OK;
	return cli_usage(command, "%s=%s: a socket's path has 1 to %zu bytes, choose another", option, path, max);
}

int cli_check_directory(const char *path, const char *option)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	struct stat info;
	int code = CLI_OK;

	if (!directory || stat(directory, &info) < 0 || !S_ISDIR(info.st_mode)) {
		cli_error("make it, or choose another path", "%s=%s: the directory %s does not exist", option, path,
			  directory ? directory : "");
		code = CLI_FAILED;
	} else if (access(directory, W_OK | X_OK) < 0) {
		cli_error("choose a path that this user can write", "%s=%s: %s: %s", option, path, directory,
			  strerror(errno));
		code = CLI_FAILED;
	}
	free(directory);
	return code;
}

int cli_check_inherited(int fd, const char *origin, bool *out_listening)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(int), address_len = sizeof(address);
	int type = 0, listening = 0;

	if (fcntl(fd, F_GETFD) < 0) {
		cli_error("pass an open socket to the program", "%s: descriptor %d is not open", origin, fd);
		return CLI_FAILED;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM ||
	    getsockname(fd, (struct sockaddr *)&address, &address_len) < 0 || address.ss_family != AF_UNIX) {
		cli_error("pass a Unix stream socket", "%s: descriptor %d is no such socket", origin, fd);
		return CLI_FAILED;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	len = sizeof(int);
	*out_listening = getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
	return CLI_OK;
}

unsigned long cli_activated_fds(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t for_pid = 0, nr = 0;

	if (!pid || !count || !cli_parse_number(pid, INT32_MAX, &for_pid) || for_pid != (uint64_t)getpid() ||
	    !cli_parse_number(count, 1024, &nr))
		return 0;
	return (unsigned long)nr;
}

bool cli_parse_log_level(const char *text, enum pv_log_level *out)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*out = (enum pv_log_level)i;
			return true;
		}
	}
	return false;
}

void cli_raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* SPDX-License-Identifier: MIT */
/* The other end of the control socket, and where the sockets are. Knows no device. */
#include "pv/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/socket.h"

#define MAX_REPLY_BYTES (1u << 20)

static bool is_directory(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Others could put their own sockets into a directory that is not ours alone. */
static enum pv_status check_private(const char *path)
{
	struct stat info;

	if (lstat(path, &info) < 0) {
		pv_log(PV_LOG_ERROR, "control", "%s: %s", path, strerror(errno));
		return PV_ERR_HOST;
	}
	if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
		pv_log(PV_LOG_ERROR, "control",
		       "%s is not a directory of this user alone: remove it, or name a socket path", path);
		return PV_ERR_HOST;
	}
	return PV_OK;
}

enum pv_status pv_control_directory(bool create, char **out_path)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char user_runtime[64], path[512];
	enum pv_status status;
	int len;

	snprintf(user_runtime, sizeof(user_runtime), "/run/user/%lu", (unsigned long)geteuid());
	if (!runtime || runtime[0] != '/' || !is_directory(runtime))
		runtime = is_directory(user_runtime) ? user_runtime : NULL;
	if (runtime)
		len = snprintf(path, sizeof(path), "%s/pvgpu", runtime);
	else
		len = snprintf(path, sizeof(path), "/tmp/pvgpu-%lu", (unsigned long)geteuid());
	if (len < 0 || (size_t)len >= sizeof(path))
		return PV_ERR_HOST;

	if (create && mkdir(path, 0700) < 0 && errno != EEXIST) {
		pv_log(PV_LOG_ERROR, "control", "cannot make %s: %s", path, strerror(errno));
		return PV_ERR_HOST;
	}
	if (create || is_directory(path)) {
		status = check_private(path);
		if (status != PV_OK)
			return status;
	}
	char *copy = strdup(path);
	if (!copy)
		return PV_ERR_NO_MEMORY;
	*out_path = copy;
	return PV_OK;
}

/* Waits for `events` until the deadline. */
static bool wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now_ns = pv_now_ns();
		uint64_t left_ms = now_ns < deadline_ns ? (deadline_ns - now_ns + 999999) / 1000000 : 0;
		int ready = poll(&poll_fd, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);

		if (ready > 0)
			return true;
		if (ready == 0 || errno != EINTR)
			return false;
	}
}

static enum pv_status send_line(int fd, const char *line, uint64_t deadline_ns)
{
	struct iovec iov[2] = {{.iov_base = (void *)(uintptr_t)line, .iov_len = strlen(line)},
			       {.iov_base = (void *)(uintptr_t)"\n", .iov_len = 1}};
	size_t first = 0;

	while (first < 2) {
		size_t sent = 0;
		enum pv_status status = pv_socket_send(fd, iov + first, 2 - first, NULL, 0, &sent);

		if (status == PV_PENDING && wait_for(fd, POLLOUT, deadline_ns))
			continue;
		if (status != PV_OK)
			return PV_ERR_PEER;
		while (first < 2 && sent >= iov[first].iov_len)
			sent -= iov[first++].iov_len;
		if (first < 2) {
			iov[first].iov_base = (char *)iov[first].iov_base + sent;
			iov[first].iov_len -= sent;
		}
	}
	return PV_OK;
}

struct reply {
	char *text; /* with room for one byte more than `size` */
	size_t len, size;
	int fd;
};

/* Reads up to the newline, which becomes the string's end. */
static enum pv_status receive_line(int fd, struct reply *reply, uint64_t deadline_ns)
{
	while (reply->len < MAX_REPLY_BYTES) {
		size_t got = 0, nr_fds = 1;
		enum pv_status status;
		int received = -1;
		char *end;

		if (reply->len == reply->size) {
			char *more = realloc(reply->text, reply->size * 2 + 1025);

			if (!more)
				return PV_ERR_NO_MEMORY;
			reply->text = more;
			reply->size = reply->size * 2 + 1024;
		}
		status =
		    pv_socket_recv(fd, reply->text + reply->len, reply->size - reply->len, &got, &received, &nr_fds);
		if (status == PV_PENDING && wait_for(fd, POLLIN, deadline_ns))
			continue;
		if (nr_fds > 0 && reply->fd < 0)
			reply->fd = received;
		else if (nr_fds > 0)
			pv_fd_close(&received);
		if (status != PV_OK || got == 0)
			return PV_ERR_PEER;
		end = memchr(reply->text + reply->len, '\n', got);
		reply->len += got;
		if (end) {
			*end = '\0';
			return PV_OK;
		}
	}
	return PV_ERR_PEER;
}

enum pv_status pv_control_call(const char *path, const char *request, uint32_t timeout_ms, char **out_reply,
			       int32_t *out_fd)
{
	uint64_t deadline_ns = pv_now_ns() + timeout_ms * 1000000ull;
	struct reply reply = {.fd = -1};
	enum pv_status status;
	int fd = -1;

	status = pv_socket_connect(path, &fd);
	if (status == PV_OK)
		status = pv_fd_set_nonblocking(fd, true);
	if (status == PV_OK)
		status = send_line(fd, request, deadline_ns);
	if (status == PV_OK)
		status = receive_line(fd, &reply, deadline_ns);
	pv_fd_close(&fd);
	if (status != PV_OK) {
		pv_fd_close(&reply.fd);
		free(reply.text);
		return status;
	}
	*out_reply = reply.text;
	*out_fd = reply.fd;
	return PV_OK;
}

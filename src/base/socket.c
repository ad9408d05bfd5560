/* SPDX-License-Identifier: MIT */
#include "base/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/socket_platform.h"

void pv_fd_close(int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved_errno;
}

enum pv_status pv_fd_set_nonblocking(int fd, bool nonblocking)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
		return PV_ERR_HOST;
	return PV_OK;
}

static enum pv_status make_address(const char *path, struct sockaddr_un *address)
{
	size_t len = strlen(path);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (len == 0 || len >= sizeof(address->sun_path)) {
		pv_log(PV_LOG_ERROR, "socket", "the path \"%s\" is %s: use one of 1 to %zu bytes", path,
		       len ? "too long for a socket" : "empty", sizeof(address->sun_path) - 1);
		return PV_ERR_ARGUMENT;
	}
	memcpy(address->sun_path, path, len + 1);
	return PV_OK;
}

/* A socket file left by a process that is gone is removed; a living server's or another kind of file is not. */
static enum pv_status remove_stale(const char *path, const struct sockaddr_un *address)
{
	struct stat info;
	int fd = -1;

	if (lstat(path, &info) < 0)
		return PV_OK;
	if (!S_ISSOCK(info.st_mode)) {
		pv_log(PV_LOG_ERROR, "socket", "%s exists and is no socket: remove it or choose another path", path);
		return PV_ERR_ARGUMENT;
	}
	if (pv_socket_open(&fd) != PV_OK)
		return PV_ERR_HOST;
	bool alive = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
	pv_fd_close(&fd);
	if (alive) {
		pv_log(PV_LOG_ERROR, "socket", "another process listens on %s: stop it or choose another path", path);
		return PV_ERR_ARGUMENT;
	}
	(void)unlink(path);
	return PV_OK;
}

enum pv_status pv_socket_listen(const char *path, int *out_fd)
{
	struct sockaddr_un address;
	int fd = -1;
	enum pv_status status = make_address(path, &address);

	if (status == PV_OK)
		status = remove_stale(path, &address);
	if (status == PV_OK)
		status = pv_socket_open(&fd);
	if (status != PV_OK)
		return status;

	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0) {
		pv_log(PV_LOG_ERROR, "socket", "cannot listen on %s: %s", path, strerror(errno));
		pv_fd_close(&fd);
		return PV_ERR_HOST;
	}
	*out_fd = fd;
	return PV_OK;
}

enum pv_status pv_socket_connect(const char *path, int *out_fd)
{
	struct sockaddr_un address;
	int fd = -1;
	enum pv_status status = make_address(path, &address);

	if (status == PV_OK)
		status = pv_socket_open(&fd);
	if (status != PV_OK)
		return status;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		pv_fd_close(&fd);
		return PV_ERR_HOST;
	}
	*out_fd = fd;
	return PV_OK;
}

enum pv_status pv_socket_accept(int listen_fd, int *out_fd)
{
	int fd = accept(listen_fd, NULL, NULL);

	if (fd < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED)
			return PV_PENDING;
		pv_log(PV_LOG_ERROR, "socket", "accept: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	pv_socket_no_sigpipe(fd);
	*out_fd = fd;
	return PV_OK;
}

enum pv_status pv_socket_pair(int out_fds[2])
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0) {
		pv_log(PV_LOG_ERROR, "socket", "socketpair: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	for (int i = 0; i < 2; i++) {
		(void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
		pv_socket_no_sigpipe(fds[i]);
		out_fds[i] = fds[i];
	}
	return PV_OK;
}

/* One more than we accept, so that a surplus is seen and not silently cut off. */
#define RECV_FDS (PV_SOCKET_MAX_FDS + 1)

union control_buffer {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * RECV_FDS)];
};

/* Keeps the first *nr_fds received fds in `fds`, closes the rest. Returns false if there were more, or some were lost.
 */
static bool take_fds(struct msghdr *message, int *fds, size_t *nr_fds)
{
	size_t max = *nr_fds, n = 0;
	bool ok = !(message->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < max) {
				(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
				fds[n++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	*nr_fds = n;
	return ok;
}

enum pv_status pv_socket_recv(int fd, void *buf, size_t len, size_t *out_len, int *fds, size_t *nr_fds)
{
	union control_buffer control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr message = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	size_t no_fds = 0;
	ssize_t got;

	do
		got = recvmsg(fd, &message, PV_SOCKET_RECV_FLAGS);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		if (nr_fds)
			*nr_fds = 0;
		return errno == EAGAIN || errno == EWOULDBLOCK ? PV_PENDING : PV_ERR_PEER;
	}
	if (!take_fds(&message, fds, nr_fds ? nr_fds : &no_fds)) {
		for (size_t i = 0; nr_fds && i < *nr_fds; i++)
			pv_fd_close(&fds[i]);
		if (nr_fds)
			*nr_fds = 0;
		return PV_ERR_PEER;
	}
	*out_len = (size_t)got;
	return PV_OK;
}

enum pv_status pv_socket_send(int fd, const struct iovec *iov, size_t nr_iov, const int *fds, size_t nr_fds,
			      size_t *out_len)
{
	union control_buffer control = {0};
	struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov};
	ssize_t sent;

	if (nr_fds > PV_SOCKET_MAX_FDS)
		return PV_ERR_ARGUMENT;
	message.msg_iovlen = (__typeof__(message.msg_iovlen))nr_iov;
	if (nr_fds > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = (__typeof__(message.msg_controllen))CMSG_SPACE(sizeof(int) * nr_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = (__typeof__(c->cmsg_len))CMSG_LEN(sizeof(int) * nr_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nr_fds);
	}
	do
		sent = sendmsg(fd, &message, PV_SOCKET_SEND_FLAGS);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? PV_PENDING : PV_ERR_PEER;
	*out_len = (size_t)sent;
	return PV_OK;
}

enum pv_status pv_pipe_send(int fd, const void *buf, size_t len, size_t *out_len)
{
	ssize_t sent;

	do
		sent = write(fd, buf, len);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? PV_PENDING : PV_ERR_PEER;
	*out_len = (size_t)sent;
	return PV_OK;
}

void pv_notifier_raise(int fd)
{
	/* 8 bytes, value 1: what an eventfd wants, and good for a pipe. EAGAIN: already raised. */
	uint64_t one = 1;
	ssize_t ignored = write(fd, &one, sizeof(one));
	(void)ignored;
}

void pv_notifier_clear(int fd)
{
	uint64_t buf[8];

	/* An eventfd gives 8 bytes at once; a pipe gives what is in it. */
	while (read(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf))
		;
}

/* SPDX-License-Identifier: MIT */
#include "base/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/socket_platform.h"

enum pv_status pv_socket_open(int *out_fd)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0) {
		pv_log(PV_LOG_ERROR, "socket", "socket: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	pv_socket_no_sigpipe(fd);
	*out_fd = fd;
	return PV_OK;
}

void pv_socket_no_sigpipe(int fd)
{
	int on = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
}

enum pv_status pv_notifier_create(int out_fds[2])
{
	int fds[2];

	if (pipe(fds) < 0) {
		pv_log(PV_LOG_ERROR, "socket", "pipe: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	for (int i = 0; i < 2; i++) {
		(void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
		(void)pv_fd_set_nonblocking(fds[i], true);
		out_fds[i] = fds[i];
	}
	return PV_OK;
}

enum pv_status pv_shm_create(const char *name, uint64_t size_bytes, int *out_fd)
{
	static _Atomic unsigned serial;
	char path[31]; /* PSHMNAMLEN */

	(void)name;
	/* There is no memfd: a name that lives for the blink of an eye. */
	snprintf(path, sizeof(path), "/pv.%d.%u", (int)getpid(), atomic_fetch_add(&serial, 1));
	int fd = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd >= 0)
		(void)shm_unlink(path);
	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0) {
		PV_LOG_LIMITED(PV_LOG_ERROR, "socket", "shared memory of %llu bytes: %s",
			       (unsigned long long)size_bytes, strerror(errno));
		pv_fd_close(&fd);
		return PV_ERR_HOST;
	}
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	*out_fd = fd;
	return PV_OK;
}

void pv_shm_keep_size(int fd)
{
	(void)fd; /* it can be set once there */
}

void pv_shm_punch(int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
	void *bytes;

	/* POSIX shared memory cannot have holes there. */
	if (pv_pages_map_file(fd, offset_bytes, size_bytes, &bytes) != PV_OK) {
		pv_log(PV_LOG_ERROR, "socket", "freeing shared memory: it cannot be mapped");
		return;
	}
	memset(bytes, 0, size_bytes);
	pv_pages_unmap_file(bytes, size_bytes);
}

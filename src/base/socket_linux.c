/* SPDX-License-Identifier: MIT */
#include "base/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/socket_platform.h"

enum pv_status pv_socket_open(int *out_fd)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		pv_log(PV_LOG_ERROR, "socket", "socket: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	*out_fd = fd;
	return PV_OK;
}

void pv_socket_no_sigpipe(int fd)
{
	(void)fd; /* MSG_NOSIGNAL does it */
}

enum pv_status pv_notifier_create(int out_fds[2])
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0) {
		pv_log(PV_LOG_ERROR, "socket", "eventfd: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	out_fds[0] = out_fds[1] = fd;
	return PV_OK;
}

enum pv_status pv_shm_create(const char *name, uint64_t size_bytes, int *out_fd)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0) {
		PV_LOG_LIMITED(PV_LOG_ERROR, "socket", "shared memory of %llu bytes: %s",
			       (unsigned long long)size_bytes, strerror(errno));
		pv_fd_close(&fd);
		return PV_ERR_HOST;
	}
	*out_fd = fd;
	return PV_OK;
}

void pv_shm_keep_size(int fd)
{
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		pv_log(PV_LOG_WARNING, "socket", "sealing shared memory: %s", strerror(errno));
}

void pv_shm_punch(int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset_bytes, (off_t)size_bytes) < 0)
		pv_log(PV_LOG_ERROR, "socket", "freeing shared memory: %s", strerror(errno));
}

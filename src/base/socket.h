/* SPDX-License-Identifier: MIT */
/* Unix stream sockets with file descriptors, and the few fd helpers that differ between platforms. Any thread. */
#ifndef PV_BASE_SOCKET_H
#define PV_BASE_SOCKET_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/base.h"

#define PV_SOCKET_MAX_FDS 16

/* All return close-on-exec fds. Listening replaces a stale socket file but never another kind of file. */
PV_MUST_USE enum pv_status pv_socket_listen(const char *path, int *out_fd);
PV_MUST_USE enum pv_status pv_socket_connect(const char *path, int *out_fd);
/* PV_PENDING: none is waiting (non-blocking listener). */
PV_MUST_USE enum pv_status pv_socket_accept(int listen_fd, int *out_fd);
PV_MUST_USE enum pv_status pv_socket_pair(int out_fds[2]);
PV_MUST_USE enum pv_status pv_fd_set_nonblocking(int fd, bool nonblocking);

/*
 * Receives up to `len` bytes and the fds that came with them into `fds` (at most `*nr_fds`, updated; any more are
 * closed and the call fails with PV_ERR_PEER). Received fds are close-on-exec and the caller's. PV_OK with *out_len ==
 * 0: end of stream. PV_PENDING: nothing there (non-blocking).
 */
PV_MUST_USE enum pv_status pv_socket_recv(int fd, void *buf, size_t len, size_t *out_len, int *fds, size_t *nr_fds);
/* Sends what fits; *out_len says how much. fds go with the first byte. Never raises SIGPIPE. PV_PENDING: full. */
PV_MUST_USE enum pv_status pv_socket_send(int fd, const struct iovec *iov, size_t nr_iov, const int *fds, size_t nr_fds,
					  size_t *out_len);
/* As pv_socket_send(), into a pipe. For threads that block SIGPIPE, as those of pv_thread_create() do. */
PV_MUST_USE enum pv_status pv_pipe_send(int fd, const void *buf, size_t len, size_t *out_len);

/* Closes unless -1 and sets to -1. Keeps errno. */
void pv_fd_close(int *fd);
/* A pollable flag another thread or process can raise: eventfd on Linux, a pipe elsewhere ([0] read, [1] write; the
 * same fd twice for eventfd). */
PV_MUST_USE enum pv_status pv_notifier_create(int out_fds[2]);
/* Works for eventfds and for pipes; a full pipe counts as raised. */
void pv_notifier_raise(int fd);
void pv_notifier_clear(int fd);
/* Anonymous shared memory of `size_bytes` (memfd or shm), zero-filled and sparse. */
PV_MUST_USE enum pv_status pv_shm_create(const char *name, uint64_t size_bytes, int *out_fd);
/* Nobody who shares such memory can cut it short under us from now on. */
void pv_shm_keep_size(int fd);
/* Part of such memory reads as zeros again and takes no memory. */
void pv_shm_punch(int fd, uint64_t offset_bytes, uint64_t size_bytes);

#endif

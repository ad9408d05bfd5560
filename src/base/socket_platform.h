/* SPDX-License-Identifier: MIT */
/* What differs between platforms below base/socket.h. */
#ifndef PV_BASE_SOCKET_PLATFORM_H
#define PV_BASE_SOCKET_PLATFORM_H

#include <sys/socket.h>

#include "base/base.h"

#ifdef MSG_CMSG_CLOEXEC
#define PV_SOCKET_RECV_FLAGS MSG_CMSG_CLOEXEC
#else
#define PV_SOCKET_RECV_FLAGS 0
#endif
#ifdef MSG_NOSIGNAL
#define PV_SOCKET_SEND_FLAGS MSG_NOSIGNAL
#else
#define PV_SOCKET_SEND_FLAGS 0
#endif

/* A Unix stream socket, close-on-exec, that never raises SIGPIPE. */
PV_MUST_USE enum pv_status pv_socket_open(int *out_fd);
void pv_socket_no_sigpipe(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/* What the platform tells of processes and their files. Any thread. */
#ifndef PV_DEVICE_PROCESS_H
#define PV_DEVICE_PROCESS_H

#include <sys/types.h>

#include "base/base.h"

struct pv_process_usage {
	uint64_t cpu_ns; /* user and system time of all threads */
	uint64_t resident_bytes, peak_resident_bytes;
	uint64_t private_bytes; /* of resident_bytes: neither files nor shared memory, so no guest memory */
};

/* Of this process (`pid` 0), or of a child. A field the platform does not tell is 0, all are for one that is gone. */
struct pv_process_usage pv_process_usage(int64_t pid);

/* The user at the other end of a connected Unix socket. False: cannot be told. */
bool pv_process_peer_uid(int fd, uid_t *out_uid);

/* A new empty file without a name, to be written and passed on. */
PV_MUST_USE enum pv_status pv_process_anonymous_file(int *out_fd);

#endif

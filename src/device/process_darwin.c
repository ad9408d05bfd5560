/* SPDX-License-Identifier: MIT */
#include "device/process.h"

#include <fcntl.h>
#include <mach/mach.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t timeval_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

struct pv_process_usage pv_process_usage(void)
{
	struct pv_process_usage usage = {0};
	mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
	struct mach_task_basic_info info;
	struct rusage spent;

	if (getrusage(RUSAGE_SELF, &spent) == 0) {
		usage.cpu_ns = timeval_ns(&spent.ru_utime) + timeval_ns(&spent.ru_stime);
		/* In bytes here, not in KiB. */
		usage.peak_resident_bytes = (uint64_t)spent.ru_maxrss;
	}
	if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &count) == KERN_SUCCESS)
		usage.resident_bytes = info.resident_size;
	return usage;
}

bool pv_process_peer_uid(int fd, uid_t *out_uid)
{
	gid_t gid;

	return getpeereid(fd, out_uid, &gid) == 0;
}

/* Shared memory objects cannot be written to here: a file whose name is gone. */
enum pv_status pv_process_anonymous_file(int *out_fd)
{
	FILE *file = tmpfile();
	int fd;

	if (!file)
		return PV_ERR_HOST;
	fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 0);
	fclose(file);
	if (fd < 0)
		return PV_ERR_HOST;
	*out_fd = fd;
	return PV_OK;
}

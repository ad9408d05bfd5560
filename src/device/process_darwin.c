/* SPDX-License-Identifier: MIT */
#include "device/process.h"

#include <fcntl.h>
#include <libproc.h>
#include <mach/mach.h>
#include <mach/mach_time.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t timeval_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

static struct pv_process_usage usage_of_child(int64_t pid)
{
	struct pv_process_usage usage = {0};
	mach_timebase_info_data_t base;
	struct rusage_info_v2 info;

	if (proc_pid_rusage((int)pid, RUSAGE_INFO_V2, (rusage_info_t *)&info) < 0)
		return usage;
	usage.resident_bytes = info.ri_resident_size;
	usage.private_bytes = info.ri_phys_footprint;
	/* Ticks, which are no nanoseconds on Apple's own processors. */
	if (mach_timebase_info(&base) == KERN_SUCCESS)
		usage.cpu_ns = (info.ri_user_time + info.ri_system_time) * base.numer / base.denom;
	return usage;
}

struct pv_process_usage pv_process_usage(int64_t pid)
{
	struct pv_process_usage usage = {0};
	mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
	struct mach_task_basic_info info;
	struct rusage spent;

	if (pid)
		return usage_of_child(pid);
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

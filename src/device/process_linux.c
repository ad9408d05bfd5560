/* SPDX-License-Identifier: MIT */
#include "device/process.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

static uint64_t timeval_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

struct pv_process_usage pv_process_usage(void)
{
	struct pv_process_usage usage = {0};
	struct rusage spent;
	char line[256];
	FILE *file;

	if (getrusage(RUSAGE_SELF, &spent) == 0)
		usage.cpu_ns = timeval_ns(&spent.ru_utime) + timeval_ns(&spent.ru_stime);
	file = fopen("/proc/self/status", "re");
	if (!file)
		return usage;
	while (fgets(line, sizeof(line), file)) {
		unsigned long long kib;

		if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
			usage.resident_bytes = kib * 1024;
		else if (sscanf(line, "VmHWM: %llu kB", &kib) == 1)
			usage.peak_resident_bytes = kib * 1024;
		else if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
			usage.private_bytes = kib * 1024;
	}
	fclose(file);
	return usage;
}

bool pv_process_peer_uid(int fd, uid_t *out_uid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	*out_uid = peer.uid;
	return true;
}

enum pv_status pv_process_anonymous_file(int *out_fd)
{
	int fd = memfd_create("pvgpu", MFD_CLOEXEC);

	if (fd < 0)
		return PV_ERR_HOST;
	*out_fd = fd;
	return PV_OK;
}

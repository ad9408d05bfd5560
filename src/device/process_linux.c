/* SPDX-License-Identifier: MIT */
#include "device/process.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct pv_process_usage pv_process_usage(int64_t pid)
{
	pid_t which = pid ? (pid_t)pid : getpid();
	struct pv_process_usage usage = {0};
	struct timespec spent;
	clockid_t clock;
	char line[256];
	FILE *file;

	if (clock_getcpuclockid(which, &clock) == 0 && clock_gettime(clock, &spent) == 0)
		usage.cpu_ns = (uint64_t)spent.tv_sec * 1000000000u + (uint64_t)spent.tv_nsec;
	snprintf(line, sizeof(line), "/proc/%ld/status", (long)which);
	file = fopen(line, "re");
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

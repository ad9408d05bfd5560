/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "worker/process.h"

static void tell_kernel(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t ignored;

	if (fd < 0)
		return;
	ignored = write(fd, text, strlen(text));
	(void)ignored;
	close(fd);
}

void pv_worker_child_prepare(void)
{
	/* Best effort, all of it: each is there on any system of the last ten years, and none is needed to draw. */
	closefrom(PV_WORKER_FD + 1);
	(void)fcntl(PV_WORKER_FD, F_SETFD, FD_CLOEXEC);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* Anonymous memory, ELF headers, private huge pages: no shared memory, which is the guest's. */
	tell_kernel("/proc/self/coredump_filter", "0x31");
	/* When the host runs out of memory this process is to go, and not the virtual machine. */
	tell_kernel("/proc/self/oom_score_adj", "500");
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

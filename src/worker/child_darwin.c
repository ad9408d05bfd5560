/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "worker/process.h"

/* Its socket's end tells it of the other process's; new rights and core dumps are not a matter of the process here. */
void pv_worker_child_prepare(void)
{
	for (int fd = PV_WORKER_FD + 1; fd < getdtablesize(); fd++)
		close(fd);
	(void)fcntl(PV_WORKER_FD, F_SETFD, FD_CLOEXEC);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

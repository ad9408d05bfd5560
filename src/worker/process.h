/* SPDX-License-Identifier: MIT */
/* Workers as processes of a program that runs pv_worker_child_prepare() and pv_worker_serve(). */
#ifndef PV_WORKER_PROCESS_H
#define PV_WORKER_PROCESS_H

#include "worker/client.h"

/* Where such a program finds its socket. It is run with the one argument "worker". */
#define PV_WORKER_FD 3

/* `program` is a path, copied. Any thread. */
PV_MUST_USE enum pv_status pv_worker_launcher_init(struct pv_worker_launcher *launcher, const char *program,
						   struct pv_loop *loop);
/* After the last of its workers has been released. Twice is harmless. */
void pv_worker_launcher_finish(struct pv_worker_launcher *launcher);

/*
 * In the new process, before anything else: nothing but stdin, stdout, stderr and the socket is open, it ends with the
 * process that started it, cannot get other rights by running other programs, and leaves no guest memory in core dumps.
 * A terminal's or service manager's signals are the device's; it ends when its socket does.
 */
void pv_worker_child_prepare(void);

#endif

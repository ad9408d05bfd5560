/* SPDX-License-Identifier: MIT */
/* Started by the commands that serve a virtual machine, not by people. */
#include "pv/worker.h"

#include <stdio.h>

#include "cli/cli.h"
#include "cli/heap.h"

static int worker(const struct cli_command *command, int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		fputs(command->help, stderr);
		return CLI_USAGE;
	}
	cli_not_our_own_guest();
	cli_keep_heap();
	return pv_worker_run() == PV_OK ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_worker = {
    .name = "worker",
    .run = worker,
    .help =
	"Usage: none by hand\n"
	"\n"
	"The process in which renderers use the host's GPU drivers: started by pvgpu vhost-user and pvgpu vfio-user\n"
	"unless they draw nothing but 2D or are told --renderer-in-process, and ended with them.\n",
};

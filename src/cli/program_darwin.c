/* SPDX-License-Identifier: MIT */
#include <mach-o/dyld.h>
#include <stdlib.h>

#include "cli/child.h"

char *cli_own_program(void)
{
	uint32_t size = 0;
	char *path, *real = NULL;

	_NSGetExecutablePath(NULL, &size);
	path = malloc(size);
	if (path && _NSGetExecutablePath(path, &size) == 0)
		real = realpath(path, NULL);
	free(path);
	return real;
}

char *cli_worker_program(void)
{
	return cli_own_program();
}

/* SPDX-License-Identifier: MIT */
/* Programs that this one starts. */
#ifndef PV_CLI_CHILD_H
#define PV_CLI_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum cli_child_group {
	CLI_CHILD_IN_FOREGROUND, /* gets the terminal's signals, as this program does */
	CLI_CHILD_APART,         /* does not: a ^C is for others to pass on. Reads no terminal */
};

/*
 * Starts the program (looked up in PATH) with the signals' default actions. `output_fd` becomes its standard output and
 * error, and its standard input is empty; -1: it has ours. 0, or the errno of why it could not be started.
 */
int cli_child_start(char *const *words, enum cli_child_group group, int output_fd, pid_t *out);

/* What a program says within a time; it is killed when it takes longer. */
struct cli_capture {
	int error;      /* errno: it could not be started */
	bool timed_out; /* it was killed */
	int status;     /* of wait(); without an error */
	char *text;     /* its output, ends with 0; never NULL after success */
};

/* `capture` is to be finished in any case. True: it ran, ended within its time, and with exit code 0. */
bool cli_capture(struct cli_capture *capture, char *const *words, uint32_t timeout_ms);
void cli_capture_finish(struct cli_capture *capture);

/* The path of this very program; to be freed. NULL: cannot be known. */
char *cli_own_program(void);
/* The same for programs that we start later: this version, whatever is at its path by then. */
char *cli_worker_program(void);

#endif

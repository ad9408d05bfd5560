/* SPDX-License-Identifier: MIT */
/* A process for each client of pvgpu vtest: what one of them breaks is its own, and it may choose ids as it likes. */
#ifndef PV_CLI_VTEST_APART_H
#define PV_CLI_VTEST_APART_H

#include "cli/words.h"

/*
 * Accepts clients until a signal asks for the end, and starts `words` with --client=FD for each, at most `max_clients`
 * at a time. Returns the exit code.
 */
int cli_vtest_serve_apart(int listen_fd, const struct cli_words *words, size_t max_clients);

#endif

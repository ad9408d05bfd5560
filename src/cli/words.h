/* SPDX-License-Identifier: MIT */
/* A growing list of words: the command line of another program. */
#ifndef PV_CLI_WORDS_H
#define PV_CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct cli_words {
	char **words; /* ends with NULL once there is one; good for exec */
	size_t count;
	/* Own state. */
	size_t room;
	bool failed; /* out of memory: to be looked at once, in the end */
};

void cli_words_add(struct cli_words *words, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* {0} is fine. */
void cli_words_finish(struct cli_words *words);

/* For a shell: quoted where needed, options (words that begin with a dash) each on a line of their own. */
void cli_words_print(const struct cli_words *words, FILE *file);

/* A value within QEMU's "key=value,key=value": its commas doubled. To be freed; NULL: out of memory. */
char *cli_qemu_value(const char *text);

#endif

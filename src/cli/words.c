/* SPDX-License-Identifier: MIT */
#include "cli/words.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct cli_words *words)
{
	size_t room = words->room ? words->room * 2 : 64;
	char **grown;

	/* One more for the NULL. */
	if (words->count + 1 < words->room)
		return true;
	grown = realloc(words->words, room * sizeof(*grown));
	if (!grown)
		return false;
	words->words = grown;
	words->room = room;
	return true;
}

void cli_words_add(struct cli_words *words, const char *fmt, ...)
{
	char *word = NULL;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&word, fmt, args);
	va_end(args);
	if (len < 0 || !make_room(words)) {
		words->failed = true;
		if (len >= 0)
			free(word);
		return;
	}
	words->words[words->count++] = word;
	words->words[words->count] = NULL;
}

void cli_words_finish(struct cli_words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->words[i]);
	free(words->words);
	*words = (struct cli_words){0};
}

static void print_quoted(const char *word, FILE *file)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-";

	if (*word && word[strspn(word, plain)] == '\0') {
		fputs(word, file);
		return;
	}
	fputc('\'', file);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", file);
		else
			fputc(*word, file);
	}
	fputc('\'', file);
}

void cli_words_print(const struct cli_words *words, FILE *file)
{
	for (size_t i = 0; i < words->count; i++) {
		if (i > 0)
			fputs(words->words[i][0] == '-' ? " \\\n    " : " ", file);
		print_quoted(words->words[i], file);
	}
	fputc('\n', file);
}

char *cli_qemu_value(const char *text)
{
	char *value = malloc(2 * strlen(text) + 1), *out = value;

	if (!value)
		return NULL;
	for (; *text; text++) {
		*out++ = *text;
		if (*text == ',')
			*out++ = ',';
	}
	*out = '\0';
	return value;
}

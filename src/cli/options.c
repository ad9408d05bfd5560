/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pv/device.h"

void cli_not_our_own_guest(void)
{
	const char *value = getenv("VN_DEBUG");

	if (value && strstr(value, "vtest"))
		unsetenv("VN_DEBUG");
	value = getenv("GALLIUM_DRIVER");
	if (value && strcmp(value, "virpipe") == 0)
		unsetenv("GALLIUM_DRIVER");
}

static const struct cli_option *find_long(const struct cli_parser *parser, const char *name, size_t len)
{
	for (const struct cli_option *o = parser->options; o->id; o++) {
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	}
	return NULL;
}

static const struct cli_option *find_letter(const struct cli_parser *parser, char letter)
{
	for (const struct cli_option *o = parser->options; o->id; o++) {
		if (o->letter == letter)
			return o;
	}
	return NULL;
}

static int bad(struct cli_parser *parser, const char *fmt, const char *what)
{
	char text[256];

	snprintf(text, sizeof(text), fmt, what);
	cli_usage(parser->command, "%s", text);
	return CLI_BAD;
}

static int long_option(struct cli_parser *parser, const char *word)
{
	const char *equals = strchr(word, '=');
	const struct cli_option *option =
	    find_long(parser, word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));

	if (!option)
		return bad(parser, "there is no option %s", word);
	if (!option->has_value)
		return equals ? bad(parser, "%s: this option takes no value", word) : option->id;
	if (equals)
		parser->value = equals + 1;
	else if (parser->index < parser->argc)
		parser->value = parser->argv[parser->index++];
	else
		return bad(parser, "%s needs a value", word);
	return option->id;
}

static int short_option(struct cli_parser *parser)
{
	char name[] = {'-', *parser->letters++, 0};
	const struct cli_option *option = find_letter(parser, name[1]);

	if (!option)
		return bad(parser, "there is no option %s", name);
	if (!option->has_value)
		return option->id;
	if (*parser->letters)
		parser->value = parser->letters;
	else if (parser->index < parser->argc)
		parser->value = parser->argv[parser->index++];
	else
		return bad(parser, "%s needs a value", name);
	parser->letters = NULL;
	return option->id;
}

int cli_next(struct cli_parser *parser)
{
	const char *word;

	if (parser->index == 0)
		parser->index = 1;
	parser->value = NULL;
	if (parser->letters && *parser->letters)
		return short_option(parser);
	if (parser->index >= parser->argc)
		return CLI_END;
	word = parser->argv[parser->index++];
	if (!parser->only_words && strcmp(word, "--") == 0) {
		parser->only_words = true;
		return cli_next(parser);
	}
	if (parser->only_words || word[0] != '-' || word[1] == '\0') {
		parser->value = word;
		return CLI_WORD;
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		fputs(parser->command->help, stdout);
		return CLI_HELP;
	}
	if (word[1] == '-')
		return long_option(parser, word);
	parser->letters = word + 1;
	return short_option(parser);
}

int cli_ended(int id)
{
	return id == CLI_HELP ? CLI_OK : CLI_USAGE;
}

bool cli_parse_number(const char *text, uint64_t max, uint64_t *out)
{
	unsigned long long value;
	char *end;

	/* strtoull takes blanks and signs. */
	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || value > max)
		return false;
	*out = value;
	return true;
}

bool cli_parse_bytes(const char *text, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	char digits[32];
	size_t len = strlen(text);
	const char *suffix;
	unsigned int shift = 0;
	uint64_t value;

	if (len == 0 || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len + 1);
	suffix = strchr(suffixes, toupper((unsigned char)digits[len - 1]));
	if (suffix) {
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
		digits[len - 1] = '\0';
	}
	if (!cli_parse_number(digits, UINT64_MAX >> shift, &value))
		return false;
	*out = value << shift;
	return true;
}

static bool parse_side(const char *text, const char **end, uint32_t *out)
{
	unsigned long value;
	char *stop;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	value = strtoul(text, &stop, 10);
	if (errno || value < 1 || value > PV_DEVICE_MAX_SIDE_PIXELS)
		return false;
	*end = stop;
	*out = (uint32_t)value;
	return true;
}

bool cli_parse_size(const char *text, const char **end, uint32_t *width, uint32_t *height)
{
	uint32_t w, h;

	if (!parse_side(text, &text, &w) || *text != 'x' || !parse_side(text + 1, &text, &h))
		return false;
	*width = w;
	*height = h;
	*end = text;
	return true;
}

bool cli_is_name(const char *text)
{
	size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return len > 0 && len <= 64 && text[len] == '\0' && text[0] != '.';
}

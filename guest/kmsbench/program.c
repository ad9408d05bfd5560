/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIDE_MAX       16384
#define COORDINATE_MAX 999999

static volatile sig_atomic_t interrupted;

void pv_die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

uint64_t pv_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void pv_sleep_ns(uint64_t duration_ns)
{
	struct timespec left = {
	    .tv_sec = (time_t)(duration_ns / 1000000000u),
	    .tv_nsec = (long)(duration_ns % 1000000000u),
	};

	while (nanosleep(&left, &left) != 0 && errno == EINTR && !interrupted)
		;
}

static void note_signal(int number)
{
	(void)number;
	interrupted = 1;
}

void pv_catch_signals(void)
{
	/* Without SA_RESTART, so that a wait in poll() or nanosleep() ends. */
	const struct sigaction action = {.sa_handler = note_signal};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool pv_interrupted(void)
{
	return interrupted != 0;
}

void pv_hold(double hold_s)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	char skipped[256];
	sigset_t ending, before;

	fflush(stdout);
	/* Blocked outside ppoll(), a signal cannot arrive between the check of `interrupted` and the wait. */
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigprocmask(SIG_BLOCK, &ending, &before);
	if (hold_s >= 0) {
		const struct timespec hold = {
		    .tv_sec = (time_t)hold_s,
		    .tv_nsec = (long)((hold_s - (double)(time_t)hold_s) * 1e9),
		};

		if (!interrupted)
			ppoll(NULL, 0, &hold, &before);
	} else {
		while (!interrupted) {
			/* A closed stdin reads as an error, which ends the hold like its end of file. */
			if (ppoll(&input, 1, NULL, &before) > 0 && read(STDIN_FILENO, skipped, sizeof(skipped)) <= 0)
				break;
		}
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}

void pv_json_string(const char *text)
{
	putchar('"');
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c < 0x20 || *c >= 0x7f)
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

/*
 * The digits at `text`, and where they end; `text` itself if there are none or too many. Not strtoull() nor sscanf():
 * those of glibc 2.38 and newer read C23's numbers and have names that an older guest's glibc lacks.
 */
static const char *read_digits(const char *text, uint64_t *value)
{
	const char *at = text;

	for (*value = 0; *at >= '0' && *at <= '9'; at++) {
		const uint64_t digit = (uint64_t)(*at - '0');

		if (*value > (UINT64_MAX - digit) / 10)
			return text;
		*value = *value * 10 + digit;
	}
	return at;
}

uint64_t pv_parse_uint(const char *what, const char *text, uint64_t min, uint64_t max)
{
	uint64_t value;
	const char *end = read_digits(text, &value);

	if (end == text || *end || value < min || value > max)
		pv_die("%s takes a whole number from %llu to %llu, not '%s'", what, (unsigned long long)min,
		       (unsigned long long)max, text);
	return value;
}

double pv_parse_seconds(const char *what, const char *text)
{
	char *end;
	const double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value) || value < 0 || value > 1e6)
		pv_die("%s takes a number of seconds such as 5 or 0.5, not '%s'", what, text);
	return value;
}

void pv_parse_size(const char *what, const char *text, uint32_t *width, uint32_t *height)
{
	uint64_t w, h = 0;
	const char *x = read_digits(text, &w), *end = x;

	if (x != text && *x == 'x')
		end = read_digits(x + 1, &h);
	if (w == 0 || h == 0 || w > SIDE_MAX || h > SIDE_MAX || *end)
		pv_die("%s takes a size such as 1920x1080, at most %ux%u, not '%s'", what, SIDE_MAX, SIDE_MAX, text);
	*width = (uint32_t)w;
	*height = (uint32_t)h;
}

static const char *read_coordinate(const char *text, int32_t *coordinate)
{
	const char *digits = text + (*text == '-');
	uint64_t value;
	const char *end = read_digits(digits, &value);

	if (end == digits || value > COORDINATE_MAX)
		return text;
	*coordinate = *text == '-' ? -(int32_t)value : (int32_t)value;
	return end;
}

void pv_parse_point(const char *what, const char *text, int32_t *x, int32_t *y)
{
	const char *comma = read_coordinate(text, x), *end = NULL;

	if (comma != text && *comma == ',')
		end = read_coordinate(comma + 1, y);
	if (!end || end == comma + 1 || *end)
		pv_die("%s takes a point such as 100,50, not '%s'", what, text);
}

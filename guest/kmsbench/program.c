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

#define SIDE_MAX 16384

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

uint64_t pv_parse_uint(const char *what, const char *text, uint64_t min, uint64_t max)
{
	char *end;

	errno = 0;
	const unsigned long long value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < min || value > max)
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
	unsigned w, h;
	int used = 0;

	if (sscanf(text, "%5ux%5u%n", &w, &h, &used) != 2 || text[used] || w == 0 || h == 0 || w > SIDE_MAX ||
	    h > SIDE_MAX)
		pv_die("%s takes a size such as 1920x1080, at most %ux%u, not '%s'", what, SIDE_MAX, SIDE_MAX, text);
	*width = w;
	*height = h;
}

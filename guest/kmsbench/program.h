/* SPDX-License-Identifier: MIT */
/* What the guest's small programs share: how they fail, tell the time and write JSON. */
#ifndef PVGPU_KMSBENCH_PROGRAM_H
#define PVGPU_KMSBENCH_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Ends the program with status 1 and "NAME: message" on stderr. These programs have no caller that could go on
 * without what failed, so the message says what happened and what the reader can do about it.
 */
_Noreturn void pv_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The monotonic clock. */
uint64_t pv_now_ns(void);

/* Sleeps without spinning; a signal does not cut it short. */
void pv_sleep_ns(uint64_t duration_ns);

/*
 * Keeps the picture: for `hold_s` seconds if that is not negative, else until stdin is at its end (a terminal: until
 * ctrl-D; /dev/null: at once). SIGINT and SIGTERM end either at once and are then no failure.
 */
void pv_hold(double hold_s);

/* Makes SIGINT and SIGTERM end a loop that asks pv_interrupted(), and pv_hold(). */
void pv_catch_signals(void);
bool pv_interrupted(void);

/* Writes `text` to stdout as a JSON string with its quotes. */
void pv_json_string(const char *text);

/* Reads all of `text` as a number of the given range; ends the program naming `what` otherwise. */
uint64_t pv_parse_uint(const char *what, const char *text, uint64_t min, uint64_t max);
double pv_parse_seconds(const char *what, const char *text);
void pv_parse_size(const char *what, const char *text, uint32_t *width, uint32_t *height);
void pv_parse_point(const char *what, const char *text, int32_t *x, int32_t *y);

#endif

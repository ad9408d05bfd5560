/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/loop.h"

#define LIMIT_WINDOW_NS 5000000000ULL
#define LIMIT_MESSAGES  10

static _Atomic int max_level = PV_LOG_INFO;
static void (*log_sink)(void *user, enum pv_log_level level, const char *line);
static void *log_sink_user;

void pv_log_set_level(enum pv_log_level level)
{
	atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

bool pv_log_enabled(enum pv_log_level level)
{
	return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

void pv_log_set_sink(void (*sink)(void *user, enum pv_log_level level, const char *line), void *user)
{
	log_sink = sink;
	log_sink_user = user;
}

void pv_log(enum pv_log_level level, const char *module, const char *fmt, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	char line[1024];
	va_list args;

	if (!pv_log_enabled(level))
		return;

	int used = snprintf(line, sizeof(line), "pvgpu: %s: %s: ", names[level], module);
	va_start(args, fmt);
	int more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, fmt, args);
	va_end(args);
	if (more < 0)
		return;

	size_t len = (size_t)used + (size_t)more;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	/* Guests choose parts of some messages: keep one message on one line. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20)
			line[i] = '?';
	line[len] = '\0';

	if (log_sink) {
		log_sink(log_sink_user, level, line);
		return;
	}
	line[len] = '\n';
	/* One write a line, so that lines of several threads do not mix; nothing to do about a closed stderr. */
	ssize_t ignored = write(STDERR_FILENO, line, len + 1);
	(void)ignored;
}

bool pv_log_allowed(struct pv_log_limit *limit, const char *module)
{
	/* Relaxed throughout: a race may let one message more or less through. */
	uint64_t now = pv_now_ns();
	uint64_t start = atomic_load_explicit(&limit->window_start_ns, memory_order_relaxed);

	if (start == 0 || now - start > LIMIT_WINDOW_NS) {
		uint32_t dropped = atomic_exchange_explicit(&limit->count, 0, memory_order_relaxed);
		atomic_store_explicit(&limit->window_start_ns, now, memory_order_relaxed);
		if (dropped > LIMIT_MESSAGES)
			pv_log(PV_LOG_WARNING, module, "%u messages like the next one were dropped",
			       dropped - LIMIT_MESSAGES);
	}
	return atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed) < LIMIT_MESSAGES;
}

/* SPDX-License-Identifier: MIT */
/* What fuzzers share. Each is a program of its own. */
#ifndef PV_BASE_FUZZ_H
#define PV_BASE_FUZZ_H

#include <stdlib.h>

#include "base/base.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static inline void check(bool ok)
{
	if (!ok)
		abort();
}

/* A log sink: what fuzzers do is wrong most of the time. */
static inline void drop_line(void *user, enum pv_log_level level, const char *line)
{
	(void)user, (void)level, (void)line;
}

/* What is left of it. */
struct input {
	const uint8_t *data;
	size_t len;
};

/* 0 behind the end. */
static inline uint8_t byte(struct input *in)
{
	if (in->len == 0)
		return 0;
	in->len--;
	return *in->data++;
}

#endif

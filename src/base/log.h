/* SPDX-License-Identifier: MIT */
/* Logging to stderr, one line a message: "pvgpu: error: gpu: text". Any thread. */
#ifndef PV_BASE_LOG_H
#define PV_BASE_LOG_H

#include "base/base.h"
#include "pv/log.h"

bool pv_log_enabled(enum pv_log_level level);

void pv_log(enum pv_log_level level, const char *module, const char *fmt, ...) PV_PRINTF(3, 4);

/*
 * For whatever a guest or a peer can trigger: at most 10 messages per 5 s from one place, then one line that says how
 * many were dropped. Zero-initialised; static or inside the object it speaks for. Any thread.
 */
struct pv_log_limit {
	_Atomic uint64_t window_start_ns;
	_Atomic uint32_t count;
};
bool pv_log_allowed(struct pv_log_limit *limit, const char *module);

#define PV_LOG_LIMITED(level, module, ...)                                                                             \
	do {                                                                                                           \
		static struct pv_log_limit pv_limit_;                                                                  \
		if (pv_log_enabled(level) && pv_log_allowed(&pv_limit_, (module)))                                     \
			pv_log((level), (module), __VA_ARGS__);                                                        \
	} while (0)

#endif

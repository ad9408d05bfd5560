/* SPDX-License-Identifier: MIT */
/* Where the library's messages go. */
#ifndef PV_LOG_H
#define PV_LOG_H

#include "pv/api.h"

#ifdef __cplusplus
extern "C" {
#endif

enum pv_log_level { PV_LOG_ERROR, PV_LOG_WARNING, PV_LOG_INFO, PV_LOG_DEBUG };

/* Messages above `level` are dropped. Default: PV_LOG_INFO. Any thread. */
PV_API void pv_log_set_level(enum pv_log_level level);

/*
 * Sends each message to `sink` instead of stderr, as one line without its newline; NULL: back to stderr. `sink` is
 * called on whichever thread speaks, on several at once, and must not call the library. Set it before a device exists.
 */
PV_API void pv_log_set_sink(void (*PV_NULLABLE sink)(void *PV_NULLABLE user, enum pv_log_level level,
						     const char *PV_NONNULL line),
			    void *PV_NULLABLE user);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/* What every public header starts with. All of them compile alone as C11, C++11 and through Swift's importer. */
#ifndef PV_API_H
#define PV_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exported by the shared library. */
#define PV_API      __attribute__((visibility("default")))
#define PV_MUST_USE __attribute__((warn_unused_result))

/* Whether a pointer may be NULL. Every pointer in these headers says it. */
#if defined(__clang__)
/* An extension, and meant; -Wpedantic would say so at each place. */
#pragma clang diagnostic ignored "-Wnullability-extension"
#define PV_NULLABLE _Nullable
#define PV_NONNULL  _Nonnull
#else
#define PV_NULLABLE
#define PV_NONNULL
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, "MAJOR.MINOR.PATCH"; static storage. Any thread. */
PV_API const char *PV_NONNULL pv_version(void);

/* Frees what a function of this library gave to be freed. NULL is fine. Any thread. */
PV_API void pv_free(void *PV_NULLABLE memory);

#ifdef __cplusplus
}
#endif

#endif

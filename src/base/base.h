/* SPDX-License-Identifier: MIT */
/* What every file needs: status codes, attributes, checked arithmetic. */
#ifndef PV_BASE_BASE_H
#define PV_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pv/status.h"

#define PV_MUST_USE          __attribute__((warn_unused_result))
#define PV_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define PV_ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define PV_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* Functions that want a lock held: checked by clang (base/mutex.h). On fields it documents: C cannot name a sibling
 * field. */
#if defined(__clang__)
#define PV_REQUIRES(lock) __attribute__((requires_capability(lock)))
#else
#define PV_REQUIRES(lock)
#endif
#define PV_GUARDED_BY(lock)

/* A broken invariant of our own: loud in debug builds, the error path in release ones. */
#ifdef NDEBUG
#define PV_NEVER(condition) (__builtin_expect(!!(condition), 0))
#else
void pv_report_never(const char *text, const char *file, int line);
#define PV_NEVER(condition) ((condition) ? (pv_report_never(#condition, __FILE__, __LINE__), true) : false)
#endif

static inline bool pv_add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

static inline bool pv_mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/* True when [offset, offset + len) lies inside [0, size). */
static inline bool pv_range_fits(uint64_t offset, uint64_t len, uint64_t size)
{
	return len <= size && offset <= size - len;
}

static inline uint64_t pv_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A rectangle of pixels; `width` or `height` 0 is empty. */
struct pv_rect {
	uint32_t x, y, width, height;
};

static inline bool pv_rect_is_empty(const struct pv_rect *r)
{
	return r->width == 0 || r->height == 0;
}

/* True when `r` lies inside a width x height surface; safe against wrap-around. */
static inline bool pv_rect_fits(const struct pv_rect *r, uint32_t width, uint32_t height)
{
	return pv_range_fits(r->x, r->width, width) && pv_range_fits(r->y, r->height, height);
}

/* The part of `a` inside `b`; empty (all 0) when they do not meet. Neither may wrap. */
struct pv_rect pv_rect_intersect(const struct pv_rect *a, const struct pv_rect *b);
/* The smallest rectangle around both; an empty one is ignored. */
struct pv_rect pv_rect_union(const struct pv_rect *a, const struct pv_rect *b);

#endif

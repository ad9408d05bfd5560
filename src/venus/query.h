/* SPDX-License-Identifier: MIT */
/* What others must know of query pools: object->extra says how many queries there are and how many values each has. */
#ifndef PV_VENUS_QUERY_H
#define PV_VENUS_QUERY_H

#include "venus/object.h"

static inline void *pv_venus_query_pool_extra(uint32_t queries, uint32_t values)
{
	return (void *)((uintptr_t)values << 32 | queries); /* `values` is not 0: so neither is this */
}

/* Any number, of a pool that is a tombstone. */
static inline uint32_t pv_venus_queries_of(const struct pv_venus_object *pool)
{
	uintptr_t extra = (uintptr_t)atomic_load_explicit(&pool->extra, memory_order_relaxed);

	return extra ? (uint32_t)extra : UINT32_MAX;
}

static inline uint32_t pv_venus_query_values_of(const struct pv_venus_object *pool)
{
	return (uint32_t)((uintptr_t)atomic_load_explicit(&pool->extra, memory_order_relaxed) >> 32);
}

#endif

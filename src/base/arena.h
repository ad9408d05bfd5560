/* SPDX-License-Identifier: MIT */
/* Memory that is all given back at once. Owned by one thread. */
#ifndef PV_BASE_ARENA_H
#define PV_BASE_ARENA_H

#include "base/base.h"

struct pv_arena_block;

/* {0} with max_bytes set is an empty arena. */
struct pv_arena {
	uint8_t *next, *end; /* free part of the block in use */
	struct pv_arena_block *blocks;
	uint64_t used_bytes; /* of whole blocks since the last reset */
	uint64_t max_bytes;  /* pv_arena_alloc() fails beyond it */
};

void pv_arena_finish(struct pv_arena *arena);
/* Everything allocated is gone. One block is kept, so that a steady load allocates nothing. */
void pv_arena_reset(struct pv_arena *arena);
void *pv_arena_alloc_slow(struct pv_arena *arena, uint64_t size_bytes);

/* 16-byte aligned, not zeroed; valid until the reset. NULL: no memory, or the limit. `size_bytes` may be 0. */
static inline void *pv_arena_alloc(struct pv_arena *arena, uint64_t size_bytes)
{
	uint8_t *memory = arena->next;

	if (__builtin_expect(size_bytes < (uint64_t)(arena->end - memory), 1)) {
		/* Less, not equal: an empty arena has no block to point into. Blocks are multiples of 16 bytes, so the
		 * rounded size fits as well. */
		arena->next = memory + ((size_bytes + 15) & ~UINT64_C(15));
		return memory;
	}
	return pv_arena_alloc_slow(arena, size_bytes);
}

#endif

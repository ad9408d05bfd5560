/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdlib.h>

#define FIRST_BLOCK_BYTES UINT64_C(65536)

struct pv_arena_block {
	struct pv_arena_block *older;
	uint64_t size_bytes;
	_Alignas(16) uint8_t bytes[];
};

void pv_arena_finish(struct pv_arena *arena)
{
	while (arena->blocks) {
		struct pv_arena_block *block = arena->blocks;

		arena->blocks = block->older;
		free(block);
	}
	arena->next = NULL;
	arena->end = NULL;
	arena->used_bytes = 0;
}

void pv_arena_reset(struct pv_arena *arena)
{
	struct pv_arena_block *newest = arena->blocks;

	if (!newest)
		return;
	/* The newest is the largest, unless it was made for one huge request: that memory goes back. */
	while (newest->older) {
		struct pv_arena_block *block = newest->older;

		newest->older = block->older;
		free(block);
	}
	if (newest->size_bytes > 64 * FIRST_BLOCK_BYTES) {
		pv_arena_finish(arena);
		return;
	}
	arena->next = newest->bytes;
	arena->end = newest->bytes + newest->size_bytes;
	arena->used_bytes = newest->size_bytes;
}

void *pv_arena_alloc_slow(struct pv_arena *arena, uint64_t size_bytes)
{
	uint64_t block_bytes = arena->blocks ? arena->blocks->size_bytes * 2 : FIRST_BLOCK_BYTES;
	struct pv_arena_block *block;

	if (size_bytes > arena->max_bytes)
		return NULL;
	size_bytes = (size_bytes + 15) & ~UINT64_C(15);
	if (block_bytes < size_bytes)
		block_bytes = size_bytes;
	if (block_bytes > arena->max_bytes || arena->used_bytes > arena->max_bytes - block_bytes) {
		block_bytes = size_bytes;
		if (block_bytes > arena->max_bytes || arena->used_bytes > arena->max_bytes - block_bytes)
			return NULL;
	}
	block = malloc(sizeof(*block) + block_bytes);
	if (!block)
		return NULL;
	block->size_bytes = block_bytes;
	block->older = arena->blocks;
	arena->blocks = block;
	arena->used_bytes += block_bytes;
	arena->next = block->bytes + size_bytes;
	arena->end = block->bytes + block_bytes;
	return block->bytes;
}

/* SPDX-License-Identifier: MIT */
#include "base/id_map.h"

#include <stdlib.h>
#include <sys/types.h>

#define MIN_CAPACITY 64u

void pv_id_map_finish(struct pv_id_map *map)
{
	free(map->slots);
	*map = (struct pv_id_map){0};
}

/* A full-period mix (multiply and fold), so that ids with a common stride spread. */
static uint32_t hash(uint32_t id)
{
	uint64_t h = id * 0x9E3779B97F4A7C15ull;

	return (uint32_t)(h >> 32);
}

static struct pv_id_map_slot *find(const struct pv_id_map *map, uint32_t id)
{
	uint32_t mask = map->capacity - 1;

	/* At most 3/4 full, so there is always a free slot to stop at. */
	for (uint32_t i = hash(id) & mask;; i = (i + 1) & mask)
		if (map->slots[i].id == id || map->slots[i].id == 0)
			return &map->slots[i];
}

void *pv_id_map_get(const struct pv_id_map *map, uint32_t id)
{
	if (id == 0 || map->count == 0)
		return NULL;
	return find(map, id)->value;
}

static enum pv_status grow(struct pv_id_map *map)
{
	struct pv_id_map bigger = {.capacity = map->capacity ? map->capacity * 2 : MIN_CAPACITY, .count = map->count};

	if (bigger.capacity == 0)
		return PV_ERR_NO_MEMORY;
	bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
	if (!bigger.slots)
		return PV_ERR_NO_MEMORY;
	for (uint32_t i = 0; i < map->capacity; i++)
		if (map->slots[i].id)
			*find(&bigger, map->slots[i].id) = map->slots[i];
	free(map->slots);
	*map = bigger;
	return PV_OK;
}

enum pv_status pv_id_map_add(struct pv_id_map *map, uint32_t id, void *value)
{
	if (PV_NEVER(id == 0 || value == NULL))
		return PV_ERR_ARGUMENT;
	if (map->count >= map->capacity - map->capacity / 4) {
		enum pv_status status = grow(map);

		if (status != PV_OK)
			return status;
	}
	*find(map, id) = (struct pv_id_map_slot){.id = id, .value = value};
	map->count++;
	return PV_OK;
}

void *pv_id_map_remove(struct pv_id_map *map, uint32_t id)
{
	if (id == 0 || map->count == 0)
		return NULL;

	struct pv_id_map_slot *slot = find(map, id);
	void *value = slot->value;
	uint32_t mask = map->capacity - 1;

	if (slot->id == 0)
		return NULL;
	map->count--;
	/* Close the gap: move back every later entry of the run whose home is not behind the gap. */
	uint32_t gap = (uint32_t)(slot - map->slots);
	for (uint32_t i = (gap + 1) & mask; map->slots[i].id; i = (i + 1) & mask) {
		uint32_t home = hash(map->slots[i].id) & mask;

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			map->slots[gap] = map->slots[i];
			gap = i;
		}
	}
	map->slots[gap] = (struct pv_id_map_slot){0};
	return value;
}

void *pv_id_map_any(const struct pv_id_map *map, uint32_t *cursor)
{
	/* Removal moves entries to the slot that got free or towards the end, never behind the cursor. */
	for (; map->count && *cursor < map->capacity; ++*cursor)
		if (map->slots[*cursor].id)
			return map->slots[*cursor].value;
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/* Guest-chosen 32-bit ids to pointers: open addressing, so that a hostile choice of ids costs no more than its count.
 */
#ifndef PV_BASE_ID_MAP_H
#define PV_BASE_ID_MAP_H

#include "base/base.h"

struct pv_id_map_slot {
	uint32_t id; /* 0: free */
	void *value;
};

/* {0} is an empty map. Owned by one thread. */
struct pv_id_map {
	struct pv_id_map_slot *slots;
	uint32_t capacity, count; /* capacity: 0 or a power of two */
};

void pv_id_map_finish(struct pv_id_map *map);
/* NULL when absent. Id 0 is never present. */
void *pv_id_map_get(const struct pv_id_map *map, uint32_t id);
/* `id` is not 0 and not present; `value` is not NULL. */
PV_MUST_USE enum pv_status pv_id_map_add(struct pv_id_map *map, uint32_t id, void *value);
/* Returns what was there, or NULL. */
void *pv_id_map_remove(struct pv_id_map *map, uint32_t id);
/*
 * To empty a map: any one entry's value, NULL when there are none. `cursor` starts at 0 and lives through the whole
 * emptying, in which the value given is removed before the next is asked for, and nothing is added.
 */
void *pv_id_map_any(const struct pv_id_map *map, uint32_t *cursor);

#endif

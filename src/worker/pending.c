/* SPDX-License-Identifier: MIT */
#include "worker/pending.h"

#include <stdlib.h>

#define MAX_ENTRIES (1u << 19)

void pv_worker_pendings_init(struct pv_worker_pendings *pendings)
{
	*pendings =
	    (struct pv_worker_pendings){.first = PV_WORKER_NONE, .last = PV_WORKER_NONE, .first_free = PV_WORKER_NONE};
}

void pv_worker_pendings_finish(struct pv_worker_pendings *pendings)
{
	free(pendings->entries);
	pv_worker_pendings_init(pendings);
}

static bool grow(struct pv_worker_pendings *pendings)
{
	uint32_t n = pendings->nr_entries ? pendings->nr_entries * 2 : 64;
	struct pv_worker_pending *grown = n <= MAX_ENTRIES ? realloc(pendings->entries, n * sizeof(*grown)) : NULL;

	if (!grown)
		return false;
	pendings->entries = grown;
	for (uint32_t i = n; i-- > pendings->nr_entries;) {
		grown[i] = (struct pv_worker_pending){.next = pendings->first_free};
		pendings->first_free = i;
	}
	pendings->nr_entries = n;
	return true;
}

uint64_t pv_worker_pendings_add(struct pv_worker_pendings *pendings, const struct pv_worker_pending *what)
{
	struct pv_worker_pending *entry;
	uint32_t index;

	if (pendings->first_free == PV_WORKER_NONE && !grow(pendings))
		return 0;
	index = pendings->first_free;
	entry = &pendings->entries[index];
	pendings->first_free = entry->next;
	if (++pendings->next_serial == 0)
		pendings->next_serial = 1;
	*entry = *what;
	entry->serial = pendings->next_serial;
	entry->next = PV_WORKER_NONE;
	entry->prev = pendings->last;
	if (pendings->last != PV_WORKER_NONE)
		pendings->entries[pendings->last].next = index;
	else
		pendings->first = index;
	pendings->last = index;
	return (uint64_t)entry->serial << 32 | index;
}

uint32_t pv_worker_pendings_find(const struct pv_worker_pendings *pendings, uint64_t token)
{
	uint32_t index = (uint32_t)token, serial = (uint32_t)(token >> 32);

	/* Free entries have serial 0. */
	if (index >= pendings->nr_entries || serial == 0 || pendings->entries[index].serial != serial)
		return PV_WORKER_NONE;
	return index;
}

struct pv_worker_pending pv_worker_pendings_remove(struct pv_worker_pendings *pendings, uint32_t index)
{
	struct pv_worker_pending copy = pendings->entries[index];

	if (copy.next != PV_WORKER_NONE)
		pendings->entries[copy.next].prev = copy.prev;
	else
		pendings->last = copy.prev;
	if (copy.prev != PV_WORKER_NONE)
		pendings->entries[copy.prev].next = copy.next;
	else
		pendings->first = copy.next;
	pendings->entries[index] = (struct pv_worker_pending){.next = pendings->first_free};
	pendings->first_free = index;
	return copy;
}

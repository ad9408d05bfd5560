/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/memory_table.h"

#include <string.h>

static void drop_slots(struct pv_vhost_slot *slots, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		pv_guest_region_unref(slots[i].region);
		slots[i] = (struct pv_vhost_slot){0};
	}
}

enum pv_status pv_vhost_memory_table_init(struct pv_vhost_memory_table *table, int window_fd)
{
	*table = (struct pv_vhost_memory_table){.window_fd = window_fd};
	if (window_fd >= 0 && fstat(window_fd, &table->window_file) < 0)
		return PV_ERR_HOST;
	return PV_OK;
}

void pv_vhost_memory_table_finish(struct pv_vhost_memory_table *table)
{
	drop_slots(table->slots, table->nr_slots);
	table->nr_slots = 0;
	pv_guest_map_unref(table->map);
	table->map = NULL;
}

bool pv_vhost_memory_table_has_window(const struct pv_vhost_memory_table *table)
{
	for (size_t i = 0; i < table->nr_slots; i++) {
		if (!table->slots[i].region)
			return true;
	}
	return false;
}

static bool is_window(const struct pv_vhost_memory_table *table, int fd)
{
	struct stat file;

	return table->window_fd >= 0 && fstat(fd, &file) == 0 && file.st_dev == table->window_file.st_dev &&
	       file.st_ino == table->window_file.st_ino;
}

static enum pv_status make_slot(const struct pv_vhost_memory_table *table, const struct pv_vhost_region *where, int fd,
				struct pv_vhost_slot *out)
{
	struct pv_guest_region_params params = {.guest_addr = where->guest_addr,
						.size_bytes = where->size_bytes,
						.user_addr = where->user_addr,
						.fd = fd,
						.fd_offset = where->mmap_offset};

	*out = (struct pv_vhost_slot){.where = *where};
	return is_window(table, fd) ? PV_OK : pv_guest_region_create(&params, &out->region);
}

/* Replaces the table's map by that of the slots. */
static enum pv_status change_map(struct pv_vhost_memory_table *table, const struct pv_vhost_slot *slots, size_t n)
{
	struct pv_guest_region *regions[PV_VHOST_MAX_MEM_SLOTS];
	struct pv_guest_map *map;
	size_t nr_regions = 0;

	for (size_t i = 0; i < n; i++) {
		if (slots[i].region)
			regions[nr_regions++] = slots[i].region;
	}
	enum pv_status status = pv_guest_map_create(regions, nr_regions, &map);
	if (status != PV_OK)
		return status;
	pv_guest_map_unref(table->map);
	table->map = map;
	return PV_OK;
}

enum pv_status pv_vhost_memory_table_replace(struct pv_vhost_memory_table *table, const struct pv_vhost_memory *memory,
					     const int *fds)
{
	struct pv_vhost_slot slots[PV_VHOST_MAX_TABLE_REGIONS] = {0};
	enum pv_status status = PV_OK;
	size_t n = 0;

	while (status == PV_OK && n < memory->nr_regions) {
		status = make_slot(table, &memory->regions[n], fds[n], &slots[n]);
		if (status == PV_OK)
			n++;
	}
	if (status == PV_OK)
		status = change_map(table, slots, n);
	if (status != PV_OK) {
		drop_slots(slots, n);
		return status;
	}
	drop_slots(table->slots, table->nr_slots);
	memcpy(table->slots, slots, n * sizeof(slots[0]));
	table->nr_slots = n;
	return PV_OK;
}

enum pv_status pv_vhost_memory_table_add(struct pv_vhost_memory_table *table, const struct pv_vhost_region *where,
					 int fd)
{
	struct pv_vhost_slot *slot = &table->slots[table->nr_slots];

	if (table->nr_slots == PV_VHOST_MAX_MEM_SLOTS)
		return PV_ERR_NO_MEMORY;
	enum pv_status status = make_slot(table, where, fd, slot);
	if (status != PV_OK)
		return status;
	status = change_map(table, table->slots, table->nr_slots + 1);
	if (status != PV_OK) {
		drop_slots(slot, 1);
		return status;
	}
	table->nr_slots++;
	return PV_OK;
}

enum pv_status pv_vhost_memory_table_remove(struct pv_vhost_memory_table *table, const struct pv_vhost_region *where)
{
	struct pv_vhost_slot *slots = table->slots;
	size_t i = 0;

	while (i < table->nr_slots &&
	       (slots[i].where.guest_addr != where->guest_addr || slots[i].where.size_bytes != where->size_bytes ||
		slots[i].where.user_addr != where->user_addr))
		i++;
	if (i == table->nr_slots)
		return PV_ERR_ARGUMENT;

	/* The last slot takes its place. */
	size_t last = table->nr_slots - 1;
	struct pv_vhost_slot removed = slots[i];
	slots[i] = slots[last];
	slots[last] = removed;
	enum pv_status status = change_map(table, slots, last);
	if (status != PV_OK)
		return status;
	drop_slots(&slots[last], 1);
	table->nr_slots = last;
	return PV_OK;
}

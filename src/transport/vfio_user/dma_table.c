/* SPDX-License-Identifier: MIT */
#include "transport/vfio_user/dma_table.h"

#include <string.h>

static void drop(struct pv_vfio_dma *dma)
{
	pv_guest_region_unref(dma->region);
	pv_guest_file_unref(dma->file);
	*dma = (struct pv_vfio_dma){0};
}

enum pv_status pv_vfio_dma_table_init(struct pv_vfio_dma_table *table, int window_fd)
{
	*table = (struct pv_vfio_dma_table){.window_fd = window_fd};
	if (window_fd >= 0 && fstat(window_fd, &table->window_file) < 0)
		return PV_ERR_HOST;
	return PV_OK;
}

void pv_vfio_dma_table_finish(struct pv_vfio_dma_table *table)
{
	while (table->nr_maps > 0)
		drop(&table->maps[--table->nr_maps]);
	pv_guest_map_unref(table->map);
	table->map = NULL;
}

static bool overlap(const struct pv_vfio_dma *a, const struct pv_vfio_dma *b)
{
	/* No range wraps. */
	return a->guest_addr < b->guest_addr + b->size_bytes && b->guest_addr < a->guest_addr + a->size_bytes;
}

static bool is_hidden(const struct pv_vfio_dma_table *table, size_t index)
{
	for (size_t i = index + 1; i < table->nr_maps; i++) {
		if (overlap(&table->maps[index], &table->maps[i]))
			return true;
	}
	return false;
}

static enum pv_status remake(struct pv_vfio_dma_table *table)
{
	struct pv_guest_region *regions[PV_VFIO_MAX_DMA_MAPS];
	struct pv_guest_map *map;
	size_t n = 0;

	for (size_t i = 0; i < table->nr_maps; i++) {
		if (table->maps[i].region && !is_hidden(table, i))
			regions[n++] = table->maps[i].region;
	}
	enum pv_status status = pv_guest_map_create(regions, n, &map);
	if (status != PV_OK)
		return status;
	pv_guest_map_unref(table->map);
	table->map = map;
	return PV_OK;
}

static bool is_window(const struct pv_vfio_dma_table *table, int fd)
{
	struct stat file;

	return table->window_fd >= 0 && fstat(fd, &file) == 0 && file.st_dev == table->window_file.st_dev &&
	       file.st_ino == table->window_file.st_ino;
}

/* A reference to the file's one mapping. */
static enum pv_status find_file(const struct pv_vfio_dma_table *table, const struct pv_vfio_dma_map *where, int fd,
				struct pv_guest_file **out)
{
	for (size_t i = 0; i < table->nr_maps; i++) {
		struct pv_guest_file *file = table->maps[i].file;

		if (file && pv_guest_file_holds(file, fd, where->offset, where->size_bytes)) {
			*out = pv_guest_file_ref(file);
			return PV_OK;
		}
	}
	return pv_guest_file_create(fd, out);
}

enum pv_status pv_vfio_dma_table_map(struct pv_vfio_dma_table *table, const struct pv_vfio_dma_map *where, int fd)
{
	struct pv_vfio_dma *dma = &table->maps[table->nr_maps];
	enum pv_status status = PV_OK;

	if (table->nr_maps == PV_VFIO_MAX_DMA_MAPS)
		return PV_ERR_NO_MEMORY;
	*dma = (struct pv_vfio_dma){.guest_addr = where->guest_addr, .size_bytes = where->size_bytes};
	if (fd >= 0 && (where->flags & PV_VFIO_DMA_WRITE_FLAG) && !is_window(table, fd)) {
		struct pv_guest_region_params params = {.guest_addr = where->guest_addr,
							.size_bytes = where->size_bytes,
							.fd = -1,
							.fd_offset = where->offset};

		status = find_file(table, where, fd, &dma->file);
		params.file = dma->file;
		if (status == PV_OK)
			status = pv_guest_region_create(&params, &dma->region);
	}
	table->nr_maps++;
	if (status == PV_OK)
		status = remake(table);
	if (status != PV_OK)
		drop(&table->maps[--table->nr_maps]);
	return status;
}

enum pv_status pv_vfio_dma_table_unmap(struct pv_vfio_dma_table *table, const struct pv_vfio_dma_unmap *where,
				       size_t *out_removed)
{
	const struct pv_vfio_dma range = {.guest_addr = where->guest_addr, .size_bytes = where->size_bytes};
	bool all = where->flags & PV_VFIO_UNMAP_ALL;
	size_t kept = 0, removed = 0;

	for (size_t i = 0; !all && i < table->nr_maps; i++) {
		const struct pv_vfio_dma *dma = &table->maps[i];

		if (overlap(dma, &range) &&
		    (dma->guest_addr < range.guest_addr ||
		     !pv_range_fits(dma->guest_addr - range.guest_addr, dma->size_bytes, range.size_bytes)))
			return PV_ERR_ARGUMENT;
	}
	for (size_t i = 0; i < table->nr_maps; i++) {
		if (all || overlap(&table->maps[i], &range)) {
			drop(&table->maps[i]);
			removed++;
		} else {
			table->maps[kept++] = table->maps[i];
		}
	}
	table->nr_maps = kept;
	*out_removed = removed;
	if (removed == 0)
		return PV_OK;
	enum pv_status status = remake(table);
	if (status != PV_OK) {
		pv_guest_map_unref(table->map);
		table->map = NULL;
	}
	return status;
}

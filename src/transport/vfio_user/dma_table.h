/* SPDX-License-Identifier: MIT */
/*
 * What a VMM has mapped for DMA, and the guest map it makes. Pieces of RAM come and go dozens of times while firmware
 * runs, always out of the same few files: each file is mapped once. Owned by the socket thread.
 */
#ifndef PV_TRANSPORT_VFIO_USER_DMA_TABLE_H
#define PV_TRANSPORT_VFIO_USER_DMA_TABLE_H

#include <sys/stat.h>

#include "guestmem/guest_map.h"
#include "transport/vfio_user/protocol.h"

/* What we tell the peer. */
#define PV_VFIO_MAX_DMA_MAPS PV_GUEST_MAX_REGIONS

struct pv_vfio_dma {
	uint64_t guest_addr, size_bytes;
	struct pv_guest_file *file;     /* a counted reference; NULL: memory that we cannot see, see below */
	struct pv_guest_region *region; /* the same */
};

struct pv_vfio_dma_table {
	int window_fd; /* borrowed; -1: no window */
	struct stat window_file;
	struct pv_vfio_dma maps[PV_VFIO_MAX_DMA_MAPS]; /* in the order they came */
	size_t nr_maps;
	struct pv_guest_map *map; /* of all we can see; NULL: none yet */
};

/* PV_ERR_HOST: the window's file cannot be examined. */
PV_MUST_USE enum pv_status pv_vfio_dma_table_init(struct pv_vfio_dma_table *table, int window_fd);
void pv_vfio_dma_table_finish(struct pv_vfio_dma_table *table);

/*
 * Adds a range that has been checked. Without an fd (-1; borrowed), read-only, or out of our own window it is kept, so
 * that it can be unmapped, but guest addresses do not lead there: ROMs, other devices' BARs, the window's own BAR,
 * memory that is not shared. Where ranges overlap the newest counts: a VMM in the middle of changing its memory may
 * show both. Fails without a change: PV_ERR_PEER and PV_ERR_HOST, logged by guest memory; PV_ERR_NO_MEMORY: too many.
 */
PV_MUST_USE enum pv_status pv_vfio_dma_table_map(struct pv_vfio_dma_table *table, const struct pv_vfio_dma_map *where,
						 int fd);
/*
 * Takes away all that lies inside the range, or all there is; `*out_removed` counts them. PV_ERR_ARGUMENT: the range
 * cuts one in two, nothing was changed. PV_ERR_NO_MEMORY: there is no map any more.
 */
PV_MUST_USE enum pv_status pv_vfio_dma_table_unmap(struct pv_vfio_dma_table *table,
						   const struct pv_vfio_dma_unmap *where, size_t *out_removed);

#endif

/* SPDX-License-Identifier: MIT */
/* The memory regions a front end has told us of, and the guest map they make. Owned by the socket thread. */
#ifndef PV_TRANSPORT_VHOST_USER_MEMORY_TABLE_H
#define PV_TRANSPORT_VHOST_USER_MEMORY_TABLE_H

#include <sys/stat.h>

#include "guestmem/guest_map.h"
#include "transport/vhost_user/protocol.h"

/* As many as QEMU has; it asks for the smaller number of the two. */
#define PV_VHOST_MAX_MEM_SLOTS 512

struct pv_vhost_slot {
	struct pv_vhost_region where;
	struct pv_guest_region *region; /* NULL: it is our own window, which guest addresses must not lead to */
};

struct pv_vhost_memory_table {
	int window_fd; /* borrowed; -1: no window */
	struct stat window_file;
	struct pv_vhost_slot slots[PV_VHOST_MAX_MEM_SLOTS];
	size_t nr_slots;
	struct pv_guest_map *map; /* of all slots; NULL: none yet */
};

/* PV_ERR_HOST: the window's file cannot be examined. */
PV_MUST_USE enum pv_status pv_vhost_memory_table_init(struct pv_vhost_memory_table *table, int window_fd);
void pv_vhost_memory_table_finish(struct pv_vhost_memory_table *table);

/*
 * Each makes a new map, or fails and changes nothing. `fd` and `fds` are borrowed. PV_ERR_PEER and PV_ERR_HOST have
 * been logged by guest memory; PV_ERR_NO_MEMORY: all slots are in use; PV_ERR_ARGUMENT: there is no such region.
 */
PV_MUST_USE enum pv_status pv_vhost_memory_table_replace(struct pv_vhost_memory_table *table,
							 const struct pv_vhost_memory *memory, const int *fds);
PV_MUST_USE enum pv_status pv_vhost_memory_table_add(struct pv_vhost_memory_table *table,
						     const struct pv_vhost_region *where, int fd);
/* By guest address, user address and size. */
PV_MUST_USE enum pv_status pv_vhost_memory_table_remove(struct pv_vhost_memory_table *table,
							const struct pv_vhost_region *where);

/* True while the front end shows us our own window as guest memory: it has it mapped. */
bool pv_vhost_memory_table_has_window(const struct pv_vhost_memory_table *table);

#endif

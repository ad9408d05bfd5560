/* SPDX-License-Identifier: MIT */
/*
 * The host-visible window (virtio 1.3, 5.7.5: shared memory id 1): one sparse file that the guest sees whole. The guest
 * chooses where in it a blob goes; here is kept which parts have an owner. Owned by the device thread.
 */
#ifndef PV_GPU_WINDOW_H
#define PV_GPU_WINDOW_H

#include "base/base.h"

/* What a guest's offsets and sizes are multiples of. */
#define PV_WINDOW_PAGE_BYTES 4096

struct pv_window {
	int fd; /* -1: none */
	uint64_t size_bytes;
	uint64_t used_bytes;
	uint64_t *used; /* a bit for each page; sparse */
};

/* `size_bytes` 0 makes a window without room. PV_ERR_HOST, PV_ERR_NO_MEMORY. */
PV_MUST_USE enum pv_status pv_window_init(struct pv_window *window, uint64_t size_bytes);
void pv_window_finish(struct pv_window *window);

/* A range for one owner; `len` is rounded up to pages. PV_ERR_GUEST: unaligned, outside, empty, or part of it is taken.
 */
PV_MUST_USE enum pv_status pv_window_take(struct pv_window *window, uint64_t offset, uint64_t len);
/* A taken range is zero and takes no memory from now on. */
void pv_window_empty(struct pv_window *window, uint64_t offset, uint64_t len);
/* Gives a range back, as it is. */
void pv_window_release(struct pv_window *window, uint64_t offset, uint64_t len);

#endif

/* SPDX-License-Identifier: MIT */
/* Memory straight from the kernel. Any thread. */
#ifndef PV_BASE_PAGES_H
#define PV_BASE_PAGES_H

#include "base/base.h"

/* Zeroed; only what is touched takes memory. `size_bytes` > 0. Large buffers ask for huge pages where the system has
 * them. */
PV_MUST_USE enum pv_status pv_pages_map(uint64_t size_bytes, void **out);
/* NULL is fine. */
void pv_pages_unmap(void *pages, uint64_t size_bytes);

uint64_t pv_page_bytes(void);
/* Where there are huge pages, the smallest are mostly of this size. */
#define PV_HUGE_PAGE_BYTES (UINT64_C(2) << 20)

/*
 * A shared mapping of part of a file; `offset_bytes` need not be a page's, pv_pages_unmap_file() takes the same values.
 * PV_ERR_HOST: it cannot be mapped.
 */
PV_MUST_USE enum pv_status pv_pages_map_file(int fd, uint64_t offset_bytes, uint64_t size_bytes, void **out);
void pv_pages_unmap_file(void *bytes, uint64_t size_bytes);
/*
 * For a mapping of shared memory that will be used whole, before it is: huge pages for as much of it as they fit in,
 * whatever the system's settings say. A hint: where it does nothing, pages come when they are touched.
 */
void pv_pages_make_huge(void *bytes, uint64_t size_bytes);
/*
 * Puts a part of another file in the place of the start of a file's mapping, contents included, in one step for other
 * threads as above. `bytes` is the mapping of `from_fd` at its offset 0. PV_ERR_UNSUPPORTED: not on this system.
 */
PV_MUST_USE enum pv_status pv_pages_move_to_file(void *bytes, int from_fd, int to_fd, uint64_t to_offset_bytes,
						 uint64_t size_bytes);
/*
 * Puts memory of our own in the place of such a mapping, in one step for other threads (not everywhere: a Mac may show
 * zeros in between). Zero-filled, or with `keep` with what was there. PV_ERR_NO_MEMORY: it is as it was.
 */
PV_MUST_USE enum pv_status pv_pages_make_private(void *bytes, uint64_t size_bytes, bool keep);

/*
 * Gives back to the kernel what malloc() keeps in store, in all its heaps. Takes milliseconds, in which other threads'
 * allocations wait: for the end of something large.
 */
void pv_heap_trim(void);

#endif

/* SPDX-License-Identifier: MIT */
/* Large zeroed buffers straight from the kernel: only what is touched takes memory. Any thread. */
#ifndef PV_BASE_PAGES_H
#define PV_BASE_PAGES_H

#include "base/base.h"

/* `size_bytes` > 0. Large buffers ask for huge pages where the system has them. */
PV_MUST_USE enum pv_status pv_pages_map(uint64_t size_bytes, void **out);
/* NULL is fine. */
void pv_pages_unmap(void *pages, uint64_t size_bytes);

#endif

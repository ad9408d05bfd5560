/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include <sys/mman.h>

#define HUGE_PAGE_BYTES (2ull << 20)

enum pv_status pv_pages_map(uint64_t size_bytes, void **out)
{
	void *pages = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return PV_ERR_NO_MEMORY;
	/* A screen is thousands of small pages: faults and TLB misses are a tenth of a copy's time. Advice only. */
	if (size_bytes >= 2 * HUGE_PAGE_BYTES)
		(void)madvise(pages, size_bytes, MADV_HUGEPAGE);
	*out = pages;
	return PV_OK;
}

void pv_pages_unmap(void *pages, uint64_t size_bytes)
{
	if (pages)
		munmap(pages, size_bytes);
}

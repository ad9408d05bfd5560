/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include <sys/mman.h>

enum pv_status pv_pages_map(uint64_t size_bytes, void **out)
{
	void *pages = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);

	if (pages == MAP_FAILED)
		return PV_ERR_NO_MEMORY;
	*out = pages;
	return PV_OK;
}

void pv_pages_unmap(void *pages, uint64_t size_bytes)
{
	if (pages)
		munmap(pages, size_bytes);
}

/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include <malloc/malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum pv_status pv_pages_map(uint64_t size_bytes, void **out)
{
	void *pages = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);

	if (pages == MAP_FAILED)
		return PV_ERR_NO_MEMORY;
	*out = pages;
	return PV_OK;
}

void pv_pages_make_huge(void *bytes, uint64_t size_bytes)
{
	(void)bytes, (void)size_bytes;
}

enum pv_status pv_pages_make_private(void *bytes, uint64_t size_bytes, bool keep)
{
	uint64_t lead = (uintptr_t)bytes % pv_page_bytes(), len = lead + size_bytes;
	void *at = (uint8_t *)bytes - lead, *copy = NULL;

	if (keep) {
		copy = malloc(len);
		if (!copy)
			return PV_ERR_NO_MEMORY;
		memcpy(copy, at, len);
	}
	if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0) == MAP_FAILED) {
		free(copy);
		return PV_ERR_NO_MEMORY;
	}
	if (copy)
		memcpy(at, copy, len);
	free(copy);
	return PV_OK;
}

enum pv_status pv_pages_move_to_file(void *bytes, int from_fd, int to_fd, uint64_t to_offset_bytes, uint64_t size_bytes)
{
	(void)bytes, (void)from_fd, (void)to_fd, (void)to_offset_bytes, (void)size_bytes;
	return PV_ERR_UNSUPPORTED;
}

void pv_heap_trim(void)
{
	(void)malloc_zone_pressure_relief(NULL, 0);
}

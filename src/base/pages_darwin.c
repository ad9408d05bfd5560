/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

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

void pv_pages_unmap(void *pages, uint64_t size_bytes)
{
	if (pages)
		munmap(pages, size_bytes);
}

uint64_t pv_page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A mapping's part in front of what was asked for. */
static uint64_t lead_bytes(uint64_t at)
{
	return at & (pv_page_bytes() - 1);
}

enum pv_status pv_pages_map_file(int fd, uint64_t offset_bytes, uint64_t size_bytes, void **out)
{
	uint64_t lead = lead_bytes(offset_bytes);
	uint8_t *pages =
	    mmap(NULL, lead + size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset_bytes - lead));

	if (pages == MAP_FAILED)
		return PV_ERR_HOST;
	*out = pages + lead;
	return PV_OK;
}

void pv_pages_unmap_file(void *bytes, uint64_t size_bytes)
{
	uint64_t lead = lead_bytes((uintptr_t)bytes);

	if (bytes)
		munmap((uint8_t *)bytes - lead, lead + size_bytes);
}

enum pv_status pv_pages_make_private(void *bytes, uint64_t size_bytes, bool keep)
{
	uint64_t lead = lead_bytes((uintptr_t)bytes), len = lead + size_bytes;
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

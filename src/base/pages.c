/* SPDX-License-Identifier: MIT */
/* What every system does alike. */
#include "base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

void pv_pages_unmap(void *pages, uint64_t size_bytes)
{
	if (pages)
		munmap(pages, size_bytes);
}

uint64_t pv_page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Aligned as the file is, or it cannot have huge pages. */
static uint8_t *map_aligned(int fd, uint64_t offset_bytes, uint64_t len)
{
	uint64_t page = pv_page_bytes(), room_len = ((len + page - 1) & ~(page - 1)) + PV_HUGE_PAGE_BYTES, before;
	uint8_t *room = mmap(NULL, room_len, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0), *bytes;

	if (room == MAP_FAILED)
		return MAP_FAILED;
	before = (offset_bytes - (uintptr_t)room) % PV_HUGE_PAGE_BYTES;
	bytes = mmap(room + before, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset_bytes);
	if (bytes == MAP_FAILED) {
		munmap(room, room_len);
		return MAP_FAILED;
	}
	if (before)
		munmap(room, before);
	munmap(bytes + room_len - PV_HUGE_PAGE_BYTES, PV_HUGE_PAGE_BYTES - before);
	return bytes;
}

enum pv_status pv_pages_map_file(int fd, uint64_t offset_bytes, uint64_t size_bytes, void **out)
{
	uint64_t lead = offset_bytes % pv_page_bytes(), len = lead + size_bytes;
	uint8_t *pages = MAP_FAILED;

	if (size_bytes >= PV_HUGE_PAGE_BYTES)
		pages = map_aligned(fd, offset_bytes - lead, len);
	if (pages == MAP_FAILED)
		pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset_bytes - lead));
	if (pages == MAP_FAILED)
		return PV_ERR_HOST;
	*out = pages + lead;
	return PV_OK;
}

void pv_pages_unmap_file(void *bytes, uint64_t size_bytes)
{
	uint64_t lead = (uintptr_t)bytes % pv_page_bytes();

	if (bytes)
		munmap((uint8_t *)bytes - lead, lead + size_bytes);
}

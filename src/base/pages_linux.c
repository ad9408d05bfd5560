/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

void pv_pages_make_huge(int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
	const uint64_t mask = HUGE_PAGE_BYTES - 1;
	uint64_t begin = (offset_bytes + mask) & ~mask, end = (offset_bytes + size_bytes) & ~mask;
	uint8_t *room, *at;

	if (begin >= end)
		return;
	/* Only a mapping that is aligned as the file is can have them. This one is gone in the end, the pages stay. */
	room = mmap(NULL, end - begin + HUGE_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return;
	at = (uint8_t *)(((uintptr_t)room + mask) & ~(uintptr_t)mask);
	if (mmap(at, end - begin, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)begin) != MAP_FAILED) {
		uint64_t i = 0;

		/* The kernel takes one without any page for one that was cut off. */
		while (i < end - begin && madvise(at + i, pv_page_bytes(), MADV_POPULATE_READ) == 0)
			i += HUGE_PAGE_BYTES;
		(void)madvise(at, i, MADV_COLLAPSE);
	}
	munmap(room, end - begin + HUGE_PAGE_BYTES);
}

enum pv_status pv_pages_make_private(void *bytes, uint64_t size_bytes, bool keep)
{
	uint64_t lead = (uintptr_t)bytes % pv_page_bytes(), len = lead + size_bytes;
	void *at = (uint8_t *)bytes - lead, *copy;

	/* One mapping for another: cannot run into the limit of how many there may be. */
	if (!keep)
		return mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
			       MAP_FAILED
			   ? PV_ERR_NO_MEMORY
			   : PV_OK;
	copy = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		return PV_ERR_NO_MEMORY;
	memcpy(copy, at, len);
	if (mremap(copy, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
		munmap(copy, len);
		return PV_ERR_NO_MEMORY;
	}
	return PV_OK;
}

enum pv_status pv_pages_move_to_file(void *bytes, int from_fd, int to_fd, uint64_t to_offset_bytes, uint64_t size_bytes)
{
	const uint64_t page = pv_page_bytes();
	off_t at = 0, end;
	uint8_t *to;

	if ((uintptr_t)bytes % page || to_offset_bytes % page)
		return PV_ERR_UNSUPPORTED;
	to = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, to_fd, (off_t)to_offset_bytes);
	if (to == MAP_FAILED)
		return PV_ERR_HOST;
	/* Only what was ever touched; the rest is zero on both sides. */
	while ((uint64_t)at < size_bytes && (at = lseek(from_fd, at, SEEK_DATA)) >= 0 && (uint64_t)at < size_bytes) {
		end = lseek(from_fd, at, SEEK_HOLE);
		if (end < 0 || (uint64_t)end > size_bytes)
			end = (off_t)size_bytes;
		memcpy(to + at, (uint8_t *)bytes + at, (size_t)(end - at));
		at = end;
	}
	if (mremap(to, size_bytes, size_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, bytes) == MAP_FAILED) {
		munmap(to, size_bytes);
		return PV_ERR_HOST;
	}
	return PV_OK;
}

void pv_heap_trim(void)
{
#ifdef M_TRIM_THRESHOLD /* of glibc; others keep what they keep */
	(void)malloc_trim(0);
#endif
}

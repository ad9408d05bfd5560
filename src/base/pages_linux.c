/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum pv_status pv_pages_map(uint64_t size_bytes, void **out)
{
	void *pages = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return PV_ERR_NO_MEMORY;
	/* A screen is thousands of small pages: faults and TLB misses are a tenth of a copy's time. Advice only. */
	if (size_bytes >= 2 * PV_HUGE_PAGE_BYTES)
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

void pv_pages_make_huge(void *bytes, uint64_t size_bytes)
{
	const uint64_t mask = PV_HUGE_PAGE_BYTES - 1;
	uint64_t lead = -(uintptr_t)bytes & mask, len, i = 0;
	uint8_t *at = (uint8_t *)bytes + lead;

	len = size_bytes > lead ? (size_bytes - lead) & ~mask : 0;
	/* The kernel takes one without any page for one that was cut off. */
	while (i < len && madvise(at + i, pv_page_bytes(), MADV_POPULATE_READ) == 0)
		i += PV_HUGE_PAGE_BYTES;
	if (i)
		(void)madvise(at, i, MADV_COLLAPSE);
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
	/*
	 * One thread at a time: where another allocator has taken malloc's place (a sanitizer's) this is the first that
	 * glibc's own hears, and it is not made for that to come from two threads.
	 */
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&one);
	(void)malloc_trim(0);
	pthread_mutex_unlock(&one);
#endif
}

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

enum pv_status pv_pages_map_file(int fd, uint64_t offset_bytes, uint64_t size_bytes, void **out)
{
	uint64_t lead = offset_bytes % pv_page_bytes();
	uint8_t *pages =
	    mmap(NULL, lead + size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset_bytes - lead));

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

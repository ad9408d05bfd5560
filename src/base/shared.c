/* SPDX-License-Identifier: MIT */
#include "base/shared.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/pages.h"
#include "base/socket.h"

enum pv_status pv_shared_create(uint64_t size_bytes, struct pv_shared *out)
{
	uint64_t page = pv_page_bytes(), size;
	enum pv_status status;
	void *bytes;
	int fd;

	if (!pv_add_u64(size_bytes, page - 1, &size))
		return PV_ERR_NO_MEMORY;
	size &= ~(page - 1);
	/* off_t and size_t are narrower than what a guest can ask for. */
	if (size > INT64_MAX || size > SIZE_MAX)
		return PV_ERR_NO_MEMORY;
	status = pv_shm_create("pvgpu", size, &fd);
	if (status != PV_OK)
		return status;
	bytes = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED) {
		close(fd);
		return PV_ERR_NO_MEMORY;
	}
#ifdef MADV_HUGEPAGE
	/* Advice: fewer faults for the guest and less to pin for a GPU, where the system lends huge pages to files. */
	if (size >= UINT64_C(2) << 20)
		(void)madvise(bytes, (size_t)size, MADV_HUGEPAGE);
#endif
	*out = (struct pv_shared){.bytes = bytes, .size_bytes = size, .fd = fd};
	return PV_OK;
}

void pv_shared_finish(struct pv_shared *shm)
{
	if (shm->bytes)
		munmap(shm->bytes, (size_t)shm->size_bytes);
	if (shm->fd >= 0)
		close(shm->fd);
	*shm = (struct pv_shared){.fd = -1};
}

/* SPDX-License-Identifier: MIT */
#include "venus/resource.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/socket.h"

enum pv_status pv_venus_resource_wrap(enum pv_venus_resource_kind kind, uint64_t size_bytes, uint8_t *bytes,
				      struct pv_venus_resource **out)
{
	struct pv_venus_resource *resource = calloc(1, sizeof(*resource));

	if (!resource)
		return PV_ERR_NO_MEMORY;
	atomic_init(&resource->refs, 1);
	resource->kind = kind;
	resource->size_bytes = size_bytes;
	resource->bytes = bytes;
	resource->fd = -1;
	*out = resource;
	return PV_OK;
}

enum pv_status pv_venus_resource_create(enum pv_venus_resource_kind kind, uint64_t size_bytes, int take_fd,
					struct pv_venus_resource **out)
{
	struct pv_venus_resource *resource;
	enum pv_status status;
	void *bytes;

	if (size_bytes != (size_t)size_bytes) {
		pv_fd_close(&take_fd);
		return PV_ERR_NO_MEMORY;
	}
	/* A client that gets the file must not cut it short under us. */
	pv_shm_keep_size(take_fd);
	status = pv_pages_map_file(take_fd, 0, size_bytes, &bytes);
	if (status != PV_OK) {
		PV_LOG_LIMITED(PV_LOG_ERROR, "venus", "mapping a resource of %llu bytes: %s",
			       (unsigned long long)size_bytes, strerror(errno));
		pv_fd_close(&take_fd);
		return status;
	}
	status = pv_venus_resource_wrap(kind, size_bytes, bytes, &resource);
	if (status != PV_OK) {
		pv_pages_unmap_file(bytes, size_bytes);
		pv_fd_close(&take_fd);
		return status;
	}
	resource->fd = take_fd;
	*out = resource;
	return PV_OK;
}

enum pv_status pv_venus_resource_enter_window(struct pv_venus_resource *resource, int fd, uint64_t offset_bytes)
{
	void *bytes;

	if (resource->bytes || resource->kind == PV_VENUS_RESOURCE_GUEST)
		return PV_ERR_UNSUPPORTED;
	enum pv_status status = pv_pages_map_file(fd, offset_bytes, resource->size_bytes, &bytes);
	if (status != PV_OK)
		return status;
	resource->window_bytes = resource->size_bytes;
	/* Release, for whoever finds it in a context's table meanwhile: the mapping is there. */
	atomic_store_explicit(&resource->bytes, bytes, memory_order_release);
	return PV_OK;
}

bool pv_venus_resource_leave_window(struct pv_venus_resource *resource)
{
	return !resource->window_bytes ||
	       pv_pages_make_private(resource->bytes, resource->window_bytes, false) == PV_OK;
}

enum pv_status pv_venus_resource_move_to_window(struct pv_venus_resource *resource, int fd, uint64_t offset_bytes,
						uint64_t size_bytes)
{
	if (!resource->bytes || resource->fd < 0 || resource->window_bytes || size_bytes > resource->size_bytes)
		return PV_ERR_UNSUPPORTED;
	enum pv_status status = pv_pages_move_to_file(resource->bytes, resource->fd, fd, offset_bytes, size_bytes);
	if (status != PV_OK)
		return status;
	resource->window_bytes = size_bytes;
	pv_shm_punch(resource->fd, 0, size_bytes);
	return PV_OK;
}

struct pv_venus_resource *pv_venus_resource_ref(struct pv_venus_resource *resource)
{
	/* The caller holds a reference: nothing to order. */
	atomic_fetch_add_explicit(&resource->refs, 1, memory_order_relaxed);
	return resource;
}

void pv_venus_resource_unref(struct pv_venus_resource *resource)
{
	/* Release what this thread did with it; acquire what the others did, before it goes. */
	if (!resource || atomic_fetch_sub_explicit(&resource->refs, 1, memory_order_acq_rel) != 1)
		return;
	/* A file of its own means a mapping of its own. */
	if (resource->fd >= 0 || resource->window_bytes)
		pv_pages_unmap_file(resource->bytes, resource->size_bytes);
	pv_fd_close(&resource->fd);
	if (resource->account) {
		atomic_fetch_sub_explicit(&resource->account->bytes, resource->size_bytes, memory_order_relaxed);
		pv_venus_account_unref(resource->account);
	}
	free(resource);
}

enum pv_status pv_venus_account_create(struct pv_venus_account **out)
{
	struct pv_venus_account *account = calloc(1, sizeof(*account));

	if (!account)
		return PV_ERR_NO_MEMORY;
	atomic_init(&account->refs, 1);
	*out = account;
	return PV_OK;
}

void pv_venus_account_unref(struct pv_venus_account *account)
{
	if (account && atomic_fetch_sub_explicit(&account->refs, 1, memory_order_acq_rel) == 1)
		free(account);
}

bool pv_venus_resource_charge_within(struct pv_venus_resource *resource, struct pv_venus_account *account,
				     uint64_t max_bytes)
{
	uint64_t used = atomic_load_explicit(&account->bytes, memory_order_relaxed);

	do {
		if (!pv_range_fits(used, resource->size_bytes, max_bytes))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&account->bytes, &used, used + resource->size_bytes,
							memory_order_relaxed, memory_order_relaxed));
	atomic_fetch_add_explicit(&account->refs, 1, memory_order_relaxed);
	resource->account = account;
	return true;
}

void pv_venus_resource_charge(struct pv_venus_resource *resource, struct pv_venus_account *account)
{
	atomic_fetch_add_explicit(&account->refs, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&account->bytes, resource->size_bytes, memory_order_relaxed);
	resource->account = account;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a context knows of virtio-gpu resources: shared memory that guest and renderer both map. Reference-counted,
 * since a ring's thread may still read one whose last id the guest has just destroyed.
 */
#ifndef PV_VENUS_RESOURCE_H
#define PV_VENUS_RESOURCE_H

#include "base/base.h"

enum pv_venus_resource_kind {
	PV_VENUS_RESOURCE_SHM,    /* blob id 0: rings, command streams, replies */
	PV_VENUS_RESOURCE_MEMORY, /* bytes of a VkDeviceMemory, or to become one (use_guest_vram) */
	PV_VENUS_RESOURCE_GUEST,  /* guest pages, contiguous in our address space; or not mapped at all */
};

/*
 * What a context's shared memory, or the device memory of all, takes on the host, whoever still holds it. Counted. Any
 * thread.
 */
struct pv_venus_account {
	_Atomic uint32_t refs;
	_Atomic uint64_t bytes;
};
PV_MUST_USE enum pv_status pv_venus_account_create(struct pv_venus_account **out);
void pv_venus_account_unref(struct pv_venus_account *account);

/* Immutable once others see it, but for the count and what is said of the window. */
struct pv_venus_resource {
	_Atomic uint32_t refs;
	enum pv_venus_resource_kind kind;
	uint64_t size_bytes;
	/*
	 * All of it, mapped shared for the resource's life; NULL: the host cannot map it. A blob of the window gets its
	 * bytes once, when the guest maps it: a guest that uses it in a ring before finds NULL or them.
	 */
	_Atomic(uint8_t *) bytes; /* release by the device thread */
	/* Owned: the memory as a file, mapped by others at offset 0; -1: part of the window, or nothing. */
	int fd;
	/* The device thread's: so many of `bytes` are a mapping of our own of a part of the window. */
	uint64_t window_bytes;
	struct pv_venus_account *account; /* counted; size_bytes are charged to it. NULL: none */
};

/*
 * One reference. Maps all of the file, shared. `size_bytes` is not 0, and the file, from pv_shm_create(), is as large:
 * it keeps its size from now on.
 */
PV_MUST_USE enum pv_status pv_venus_resource_create(enum pv_venus_resource_kind kind, uint64_t size_bytes, int take_fd,
						    struct pv_venus_resource **out);
/* One whose memory is not a file of its own: `bytes` (may be NULL) must outlive it. */
PV_MUST_USE enum pv_status pv_venus_resource_wrap(enum pv_venus_resource_kind kind, uint64_t size_bytes, uint8_t *bytes,
						  struct pv_venus_resource **out);
/*
 * Device thread. Gives a resource without memory a part of a file (the window). PV_ERR_UNSUPPORTED: it has memory.
 * PV_ERR_HOST: it cannot be mapped.
 */
PV_MUST_USE enum pv_status pv_venus_resource_enter_window(struct pv_venus_resource *resource, int fd,
							  uint64_t offset_bytes);
/*
 * Device thread. Puts the first `size_bytes` of a resource with a file of its own into a part of another file (the
 * window), under the same address and with their contents: for hosts that read memory by its address, and have not
 * pinned it. A write by somebody else in this very moment may be lost. PV_ERR_UNSUPPORTED: it is there already, or has
 * no file.
 */
PV_MUST_USE enum pv_status pv_venus_resource_move_to_window(struct pv_venus_resource *resource, int fd,
							    uint64_t offset_bytes, uint64_t size_bytes);
/*
 * Device thread. Takes that away: whoever still uses the resource has zeroed pages of its own from now on. False: that
 * could not be had, and it is as it was.
 */
bool pv_venus_resource_leave_window(struct pv_venus_resource *resource);
/* Before others see it. */
void pv_venus_resource_charge(struct pv_venus_resource *resource, struct pv_venus_account *account);
/* False, and nothing charged, if that makes more than `max_bytes`. */
PV_MUST_USE bool pv_venus_resource_charge_within(struct pv_venus_resource *resource, struct pv_venus_account *account,
						 uint64_t max_bytes);
/* Any thread. NULL is fine for unref. */
struct pv_venus_resource *pv_venus_resource_ref(struct pv_venus_resource *resource);
void pv_venus_resource_unref(struct pv_venus_resource *resource);

#endif

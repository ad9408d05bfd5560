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

/* Immutable after create, but for the count. */
struct pv_venus_resource {
	_Atomic uint32_t refs;
	uint32_t id;
	enum pv_venus_resource_kind kind;
	uint64_t size_bytes;
	/* All of it, mapped shared for the resource's life; NULL: the host cannot map it. */
	uint8_t *bytes;
	/* Owned: the memory as a file, mapped by others at offset 0; -1: part of the window. */
	int fd;
};

/* Any thread. */
struct pv_venus_resource *pv_venus_resource_ref(struct pv_venus_resource *resource);
void pv_venus_resource_unref(struct pv_venus_resource *resource);

#endif

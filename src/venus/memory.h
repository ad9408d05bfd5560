/* SPDX-License-Identifier: MIT */
/*
 * Device memory that the guest maps is memory of ours that the host's driver imported by its address
 * (VK_EXT_external_memory_host): nothing need be exported from a driver, and nothing is copied.
 *
 * Such memory is a struct pv_venus_resource of kind PV_VENUS_RESOURCE_MEMORY from the start. It comes into being either
 * way round: vkAllocateMemory makes it and a blob is created from it later, or the blob is created first
 * (use_guest_vram, or another context's) and vkAllocateMemory imports it. Its pages live until the last of resource and
 * VkDeviceMemory is gone, and come zeroed.
 */
#ifndef PV_VENUS_MEMORY_H
#define PV_VENUS_MEMORY_H

#include "venus/context.h"
#include "venus/resource.h"

/*
 * A blob from device memory, when the guest names a VkDeviceMemory at its creation: a counted reference. Any thread.
 * PV_ERR_GUEST: there is no such memory, or it is smaller. PV_ERR_UNSUPPORTED: it is the driver's own, which cannot be
 * shared. PV_ERR_NO_MEMORY: it was never there, since the host had none.
 */
PV_MUST_USE enum pv_status pv_venus_memory_export(struct pv_venus_context *context, uint64_t memory_id,
						  uint64_t size_bytes, struct pv_venus_resource **out);

/* Takes a VkDeviceMemory's object->extra (NULL is fine), once the host's memory is freed. */
void pv_venus_memory_release(void *take_extra);

#endif

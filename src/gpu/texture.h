/* SPDX-License-Identifier: MIT */
/* What the textures and buffers of the guest's OpenGL take from the host. */
#ifndef PV_GPU_TEXTURE_H
#define PV_GPU_TEXTURE_H

#include "gpu/renderer.h"

/*
 * In bytes, as drivers lay them out whose textures are host memory; nothing in `info` (PV_RESOURCE_3D) is checked.
 * UINT64_MAX: more than there is.
 */
uint64_t pv_texture_cost_bytes(const struct pv_resource_info *info);

/* A texture that shows a linear picture in `blob_bytes` of memory is not made if it costs more. */
static inline uint64_t pv_texture_max_import_bytes(uint64_t blob_bytes)
{
	const uint64_t slack = 64 << 10; /* drivers have tiles, and much around a small picture */

	return blob_bytes < UINT64_MAX - slack ? blob_bytes + slack : UINT64_MAX;
}

#endif

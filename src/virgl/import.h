/* SPDX-License-Identifier: MIT */
/*
 * Blobs of other renderers as textures: a Vulkan program's window in the hands of an X server or compositor that draws
 * with OpenGL. The guest's driver gives such a blob its type by a command (VIRGL_CCMD_PIPE_RESOURCE_SET_TYPE), for
 * which the library wants a dma-buf. There is none: a texture is made here, and what lies in the blob's memory is
 * copied into it before each command buffer that may read it.
 *
 * What a context draws into such a texture does not reach the blob.
 */
#ifndef PV_VIRGL_IMPORT_H
#define PV_VIRGL_IMPORT_H

#include "virgl/virgl.h"

/* Of a context: four pictures of each of 256 windows. */
#define PV_VIRGL_MAX_IMPORTS 1024

/* One that a context has. */
struct pv_virgl_import {
	struct pv_virgl_resource *resource;
	bool wanted, always_wanted; /* by the command buffer in hand, and those after it */
};

/* A context has an import; twice is harmless. PV_ERR_NO_MEMORY: it has PV_VIRGL_MAX_IMPORTS (logged), or no memory. */
PV_MUST_USE enum pv_status pv_virgl_import_attach(struct pv_virgl_context *context, struct pv_virgl_resource *resource);
void pv_virgl_import_detach(struct pv_virgl_context *context, uint32_t resource_id);
/* The context goes. */
void pv_virgl_import_detach_all(struct pv_virgl_context *context);
/* submit() of a context that has some. Returns the library's error, 0: none. */
int pv_virgl_import_submit(struct pv_virgl_context *context, const uint32_t *commands, size_t nr_words);

#endif

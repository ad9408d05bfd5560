/* SPDX-License-Identifier: MIT */
/*
 * A texture's memory for a VMM that shows it itself, so that it need not be read back. Where OpenGL is drawn by a GPU
 * the library can name that memory; by a CPU it is none that others could map.
 */
#include <unistd.h>

#include "base/log.h"
#include "virgl/virgl.h"

#define MODULE "virgl"

struct description {
	struct virgl_renderer_resource_info info;
	uint64_t modifier;
};

/* The modifier, too, where the library says it. */
static bool describe(uint32_t resource_id, struct description *out)
{
#ifdef PV_VIRGL_HAS_MODIFIERS
	struct virgl_renderer_resource_info_ext all = {.version = VIRGL_RENDERER_RESOURCE_INFO_EXT_VERSION};

	if (virgl_renderer_resource_get_info_ext((int)resource_id, &all) != 0 || !all.has_dmabuf_export ||
	    all.planes != 1)
		return false;
	*out = (struct description){all.base, all.modifiers};
	return true;
#else
	*out = (struct description){.modifier = PV_DMA_BUF_NO_MODIFIER};
	return virgl_renderer_resource_get_info((int)resource_id, &out->info) == 0;
#endif
}

void pv_virgl_add_dma_buf(const struct pv_virgl_resource *resource, struct pv_frame *frame)
{
	struct description description;
	struct pv_dma_buf buf;
	int fd = -1, stride, offset;

	if (!describe(resource->id, &description) ||
	    virgl_renderer_get_fd_for_texture2(resource->texture, &fd, &stride, &offset) != 0) {
		PV_LOG_LIMITED(PV_LOG_INFO, MODULE, "resource %u is no dma-buf: its pixels are shown", resource->id);
		return;
	}
	/* The front end's message has no place for an offset. */
	if (offset != 0 || stride <= 0) {
		close(fd);
		return;
	}
	buf = (struct pv_dma_buf){
	    .fd = fd,
	    .stride_bytes = (uint32_t)stride,
	    .fourcc = (uint32_t)description.info.drm_fourcc,
	    .modifier = description.modifier,
	    .y_0_top = resource->y_0_top,
	};
	pv_frame_set_dma_buf(frame, &buf);
}

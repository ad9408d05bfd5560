/* SPDX-License-Identifier: MIT */
#include "gpu/frame.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pages.h"
#include "gpu/protocol.h"

/*
 * Guest pages and ours both start at page boundaries, and processors copy slowly between addresses that agree in their
 * low 12 bits (2.5 times on Zen 5 for the 4 KiB runs that scattered guest pages give): keep half a page of distance.
 */
#define PIXELS_OFFSET 2048

pixman_format_code_t pv_gpu_format_to_pixman(uint32_t format)
{
	/* virtio names bytes in memory order, pixman bits from the top of a native word: reversed on little-endian
	 * hosts. */
	switch (format) {
	case PV_GPU_FORMAT_B8G8R8A8:
		return PIXMAN_a8r8g8b8;
	case PV_GPU_FORMAT_B8G8R8X8:
		return PIXMAN_x8r8g8b8;
	case PV_GPU_FORMAT_A8R8G8B8:
		return PIXMAN_b8g8r8a8;
	case PV_GPU_FORMAT_X8R8G8B8:
		return PIXMAN_b8g8r8x8;
	case PV_GPU_FORMAT_R8G8B8A8:
		return PIXMAN_a8b8g8r8;
	case PV_GPU_FORMAT_R8G8B8X8:
		return PIXMAN_x8b8g8r8;
	case PV_GPU_FORMAT_A8B8G8R8:
		return PIXMAN_r8g8b8a8;
	case PV_GPU_FORMAT_X8B8G8R8:
		return PIXMAN_r8g8b8x8;
	default:
		return 0;
	}
}

uint32_t pv_gpu_format_plain(uint32_t format)
{
	switch (format) {
	case PV_GPU_FORMAT_B8G8R8X8:
	case PV_GPU_FORMAT_X8R8G8B8:
	case PV_GPU_FORMAT_R8G8B8X8:
	case PV_GPU_FORMAT_X8B8G8R8:
		return PV_GPU_FORMAT_B8G8R8X8;
	default:
		return PV_GPU_FORMAT_B8G8R8A8;
	}
}

uint64_t pv_frame_cost_bytes(uint32_t width, uint32_t height)
{
	const uint64_t page = 4096;

	return ((uint64_t)width * height * 4 + PIXELS_OFFSET + page - 1) / page * page;
}

enum pv_status pv_frame_create_mapped(int fd, uint64_t offset_bytes, uint32_t width, uint32_t height,
				      uint32_t stride_bytes, uint32_t format, struct pv_frame **out)
{
	pixman_format_code_t code = pv_gpu_format_to_pixman(format);
	struct pv_frame *frame;

	if (!code || width == 0 || height == 0 || width > PV_FRAME_MAX_SIDE || height > PV_FRAME_MAX_SIDE ||
	    stride_bytes < width * 4 || stride_bytes > INT32_MAX || stride_bytes % 4 || offset_bytes % 4)
		return PV_ERR_GUEST;
	frame = calloc(1, sizeof(*frame));
	if (!frame)
		return PV_ERR_NO_MEMORY;
	atomic_init(&frame->refs, 1);
	frame->width = width;
	frame->height = height;
	frame->format = format;
	frame->stride_bytes = stride_bytes;
	/* The last row need not have all of its stride. */
	frame->size_bytes = (uint64_t)stride_bytes * (height - 1) + (uint64_t)width * 4;
	enum pv_status status = pv_pages_map_file(fd, offset_bytes, frame->size_bytes, (void **)&frame->pixels);
	if (status != PV_OK) {
		free(frame);
		return status;
	}
	frame->image = pixman_image_create_bits_no_clear(code, (int)width, (int)height,
							 (uint32_t *)(void *)frame->pixels, (int)stride_bytes);
	if (!frame->image) {
		pv_frame_unref(frame);
		return PV_ERR_NO_MEMORY;
	}
	*out = frame;
	return PV_OK;
}

void pv_frame_make_private(struct pv_frame *frame)
{
	/* Nobody would see the copy. */
	if (atomic_load_explicit(&frame->refs, memory_order_relaxed) == 1)
		return;
	if (pv_pages_make_private(frame->pixels, frame->size_bytes, true) != PV_OK)
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "no memory to keep a picture whose blob is gone");
}

enum pv_status pv_frame_create(uint32_t width, uint32_t height, uint32_t format, struct pv_frame **out)
{
	pixman_format_code_t code = pv_gpu_format_to_pixman(format);

	if (!code || width == 0 || height == 0 || width > PV_FRAME_MAX_SIDE || height > PV_FRAME_MAX_SIDE)
		return PV_ERR_GUEST;

	struct pv_frame *frame = calloc(1, sizeof(*frame));
	if (!frame)
		return PV_ERR_NO_MEMORY;
	atomic_init(&frame->refs, 1);
	frame->width = width;
	frame->height = height;
	frame->format = format;
	frame->stride_bytes = width * 4;
	frame->size_bytes = (uint64_t)frame->stride_bytes * height;
	if (pv_pages_map(frame->size_bytes + PIXELS_OFFSET, &frame->pages) != PV_OK) {
		free(frame);
		return PV_ERR_NO_MEMORY;
	}
	frame->pixels = (uint8_t *)frame->pages + PIXELS_OFFSET;
	frame->image = pixman_image_create_bits(code, (int)width, (int)height, (uint32_t *)(void *)frame->pixels,
						(int)frame->stride_bytes);
	if (!frame->image) {
		pv_frame_unref(frame);
		return PV_ERR_NO_MEMORY;
	}
	*out = frame;
	return PV_OK;
}

static void drop_dma_buf(struct pv_frame *frame)
{
	if (frame->dma_buf)
		close(frame->dma_buf->fd);
	free(frame->dma_buf);
	frame->dma_buf = NULL;
}

struct pv_frame *pv_frame_ref(struct pv_frame *frame)
{
	atomic_fetch_add_explicit(&frame->refs, 1, memory_order_relaxed);
	return frame;
}

void pv_frame_unref(struct pv_frame *frame)
{
	/* Release for what this thread read or drew, acquire for the one that frees. */
	if (!frame || atomic_fetch_sub_explicit(&frame->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (frame->image)
		pixman_image_unref(frame->image);
	if (frame->pages)
		pv_pages_unmap(frame->pages, frame->size_bytes + PIXELS_OFFSET);
	else
		pv_pages_unmap_file(frame->pixels, frame->size_bytes);
	drop_dma_buf(frame);
	free(frame);
}

void pv_frame_set_dma_buf(struct pv_frame *frame, const struct pv_dma_buf *dma_buf)
{
	struct pv_dma_buf *kept = malloc(sizeof(*kept));

	drop_dma_buf(frame);
	if (kept) {
		*kept = *dma_buf;
		frame->dma_buf = kept;
	} else {
		close(dma_buf->fd);
	}
}

void pv_frame_refresh(struct pv_frame *frame)
{
	struct pv_rect stale = frame->stale;

	if ((pv_rect_is_empty(&stale) && !frame->fetching) || !frame->refresh)
		return;
	frame->stale = (struct pv_rect){0};
	frame->refresh(frame, &stale);
}

/* ---- Fetching ---- */

static bool begin_fetch(struct pv_frame *frame)
{
	struct pv_rect stale = frame->stale;

	if (!frame->fetch || pv_rect_is_empty(&stale))
		return false;
	frame->stale = (struct pv_rect){0};
	frame->fetching = true;
	if (frame->fetch(frame, &stale))
		return true;
	frame->fetching = false;
	frame->stale = stale;
	return false;
}

bool pv_frame_fetch(struct pv_frame *frame, struct pv_frame_waiter *waiter)
{
	bool is_behind;

	if (!frame->fetch) {
		pv_frame_refresh(frame);
		return true;
	}
	is_behind = frame->fetching && !pv_rect_is_empty(&frame->stale);
	if (!frame->fetching && !begin_fetch(frame))
		return true;
	*waiter = (struct pv_frame_waiter){
	    .ready = waiter->ready, .frame = frame, .next = frame->waiters, .is_behind = is_behind};
	frame->waiters = waiter;
	return false;
}

void pv_frame_stop_waiting(struct pv_frame_waiter *waiter)
{
	struct pv_frame_waiter **link;

	if (!waiter->frame)
		return;
	link = &waiter->frame->waiters;
	while (*link != waiter)
		link = &(*link)->next;
	*link = waiter->next;
	waiter->frame = NULL;
}

static struct pv_frame_waiter *first_served(const struct pv_frame *frame)
{
	struct pv_frame_waiter *waiter = frame->waiters;

	while (waiter && !waiter->is_served)
		waiter = waiter->next;
	return waiter;
}

/* Each may do anything when it is told. */
static void tell_served(struct pv_frame *frame)
{
	struct pv_frame_waiter *waiter;

	while ((waiter = first_served(frame))) {
		pv_frame_stop_waiting(waiter);
		waiter->ready(waiter);
	}
}

static void serve(struct pv_frame *frame, bool all)
{
	for (struct pv_frame_waiter *waiter = frame->waiters; waiter; waiter = waiter->next) {
		waiter->is_served = all || !waiter->is_behind;
		waiter->is_behind = false;
	}
	tell_served(frame);
}

void pv_frame_fetched(struct pv_frame *frame)
{
	frame->fetching = false;
	pv_frame_ref(frame);
	serve(frame, false);
	/* Nobody waits in vain for one that cannot be begun. */
	if (frame->waiters && !frame->fetching && !begin_fetch(frame))
		serve(frame, true);
	pv_frame_unref(frame);
}

void pv_frame_let_go(struct pv_frame *frame)
{
	frame->refresh = NULL;
	frame->fetch = NULL;
	frame->fetching = false;
	pv_frame_ref(frame);
	serve(frame, true);
	pv_frame_unref(frame);
}

void pv_frame_read_xrgb(struct pv_frame *frame, const struct pv_rect *src, void *dst, uint32_t dst_stride_bytes)
{
	if (!frame->fetch)
		pv_frame_refresh(frame);
	if (PV_NEVER(!pv_rect_fits(src, frame->width, frame->height)) || pv_rect_is_empty(src))
		return;

	if (frame->format == PV_GPU_FORMAT_B8G8R8X8 || frame->format == PV_GPU_FORMAT_B8G8R8A8) {
		const uint8_t *from = frame->pixels + (size_t)src->y * frame->stride_bytes + (size_t)src->x * 4;

		if (dst_stride_bytes == frame->stride_bytes && dst_stride_bytes == src->width * 4) {
			memcpy(dst, from, (size_t)frame->stride_bytes * src->height);
			return;
		}
		for (uint32_t y = 0; y < src->height; y++)
			memcpy((uint8_t *)dst + (size_t)y * dst_stride_bytes, from + (size_t)y * frame->stride_bytes,
			       (size_t)src->width * 4);
		return;
	}

	/* An 'x' format for alpha ones, too: their colours are shown as they are, not blended. */
	pixman_image_t *to = pixman_image_create_bits_no_clear(PIXMAN_x8r8g8b8, (int)src->width, (int)src->height, dst,
							       (int)dst_stride_bytes);
	if (!to)
		return;
	pixman_image_composite32(PIXMAN_OP_SRC, frame->image, NULL, to, (int32_t)src->x, (int32_t)src->y, 0, 0, 0, 0,
				 (int32_t)src->width, (int32_t)src->height);
	pixman_image_unref(to);
}

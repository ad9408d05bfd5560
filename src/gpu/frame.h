/* SPDX-License-Identifier: MIT */
/*
 * Pixels that can be shown: one picture in host memory. Its size and format never change, its pixels do. Reference
 * counts may be taken and dropped by any thread; pixels are written and read on the device thread.
 *
 * A frame may stand for pixels that live elsewhere (a blob in guest memory, a texture). It is then brought up to date
 * only when somebody reads it: scanning out costs nothing while nobody looks. Where that takes time (`fetch`), whoever
 * looks asks first and reads when it is told; pixels that are being fetched are written by another thread or process,
 * as those of a mapped frame are: who reads meanwhile can see a part of the next picture, and is told of it afterwards.
 */
#ifndef PV_GPU_FRAME_H
#define PV_GPU_FRAME_H

#include <pixman.h>

#include "base/base.h"

/* Largest width or height of any picture, as in QEMU and DRM. */
#define PV_FRAME_MAX_SIDE 16384

/* A frame's pixels, as a file that other users of the GPU know (Linux). Modifier and fourcc are those of drm_fourcc.h.
 */
struct pv_dma_buf {
	int fd; /* the first pixel is at its start */
	uint32_t stride_bytes, fourcc;
	uint64_t modifier;
	bool y_0_top; /* its first row is the one at the top */
};

#define PV_DMA_BUF_LINEAR      0ull
#define PV_DMA_BUF_NO_MODIFIER 0x00ffffffffffffffull

/* That a renderer's frames have at a time: each is a descriptor of the process. Pixels of others are shown. */
#define PV_DMA_BUF_MAX 64

struct pv_frame {
	_Atomic uint32_t refs;
	uint32_t width, height;
	uint32_t stride_bytes; /* width * 4, or more in a mapped one */
	uint32_t format;       /* enum pv_gpu_format: 4 bytes a pixel */
	uint8_t *pixels;
	uint64_t size_bytes;
	pixman_image_t *image; /* the same pixels for pixman */
	void *pages;           /* that hold the pixels; NULL: pv_pages_map_file() */

	/* The renderer's: fetches `stale` from where the pixels live. NULL: pixels live here. */
	void (*refresh)(struct pv_frame *frame, const struct pv_rect *stale);
	/*
	 * The same without waiting: the end is told by pv_frame_fetched(), not from within. False: it cannot be begun.
	 * NULL: refresh() is fast. Else refresh() is for those who cannot wait: it may hold up the thread, or be
	 * without effect for now.
	 */
	bool (*fetch)(struct pv_frame *frame, const struct pv_rect *stale);
	void *refresh_user;
	struct pv_rect stale;
	bool fetching;
	struct pv_frame_waiter *waiters;
	/* Owned: the picture itself, for displays that can show it without its pixels. NULL: it cannot be had. */
	struct pv_dma_buf *dma_buf;
};

/* Somebody who waits for a frame. The caller's storage, zero but for `ready` at first; device thread. */
struct pv_frame_waiter {
	void (*ready)(struct pv_frame_waiter *waiter);
	struct pv_frame *frame; /* borrowed; NULL: it does not wait */
	struct pv_frame_waiter *next;
	bool is_behind; /* what it waits for is not part of the fetch that is under way */
	bool is_served;
};

/* Zero-filled. PV_ERR_GUEST: unknown format, a side of 0 or above PV_FRAME_MAX_SIDE. */
PV_MUST_USE enum pv_status pv_frame_create(uint32_t width, uint32_t height, uint32_t format, struct pv_frame **out);
/*
 * Shows pixels where they are: a mapping of a file's part, which others write. PV_ERR_GUEST as above, or alignment that
 * pictures cannot have (4 bytes). PV_ERR_HOST: it cannot be mapped.
 */
PV_MUST_USE enum pv_status pv_frame_create_mapped(int fd, uint64_t offset_bytes, uint32_t width, uint32_t height,
						  uint32_t stride_bytes, uint32_t format, struct pv_frame **out);
/* Device thread. A mapped frame keeps what it shows now; the file's part is no longer touched. */
void pv_frame_make_private(struct pv_frame *frame);
struct pv_frame *pv_frame_ref(struct pv_frame *frame);
/* NULL is fine. */
void pv_frame_unref(struct pv_frame *frame);

/* What a frame of this size takes from the host, in bytes. Sides up to PV_FRAME_MAX_SIDE. */
uint64_t pv_frame_cost_bytes(uint32_t width, uint32_t height);

/*
 * Device thread: makes `pixels` and `image` current, see `fetch`. pv_frame_read_xrgb() does it by itself, but for
 * frames that are to be fetched.
 */
void pv_frame_refresh(struct pv_frame *frame);
/*
 * Device thread. True: the frame shows all that was flushed before. False: waiter->ready() is called once it does, or
 * cannot; until then, or pv_frame_stop_waiting(), the waiter belongs to the frame and the caller keeps a reference of
 * it. However often it is asked, one fetch is under way.
 */
PV_MUST_USE bool pv_frame_fetch(struct pv_frame *frame, struct pv_frame_waiter *waiter);
/* Also of one that does not wait. */
void pv_frame_stop_waiting(struct pv_frame_waiter *waiter);
/* The renderer's: the end of a fetch. */
void pv_frame_fetched(struct pv_frame *frame);
/* The renderer's. The descriptor of `dma_buf` is the frame's from here on, in any case. Device thread. */
void pv_frame_set_dma_buf(struct pv_frame *frame, const struct pv_dma_buf *dma_buf);
/* The renderer's: the frame stays as it is from now on. */
void pv_frame_let_go(struct pv_frame *frame);
/*
 * Copies `src` (inside the frame) to `dst` as x8r8g8b8 in host byte order (bytes B, G, R, X on little-endian hosts, X
 * is 0xff or whatever the picture has there), rows `dst_stride_bytes` apart. Straight copy where the format allows it.
 * Device thread.
 */
void pv_frame_read_xrgb(struct pv_frame *frame, const struct pv_rect *src, void *dst, uint32_t dst_stride_bytes);

/* The pixman code of a virtio-gpu format; 0 if unknown. */
pixman_format_code_t pv_gpu_format_to_pixman(uint32_t format);
/* Of the two formats that are read without conversion, the one that has an alpha channel if `format` has. */
uint32_t pv_gpu_format_plain(uint32_t format);

#endif

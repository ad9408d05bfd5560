/* SPDX-License-Identifier: MIT */
/*
 * Pixels that can be shown: one picture in host memory. Its size and format never change, its pixels do. Reference
 * counts may be taken and dropped by any thread; pixels are written and read on the device thread.
 *
 * A frame may stand for pixels that live elsewhere (a blob in guest memory). It is then brought up to date only when
 * somebody reads it: scanning out of guest memory costs nothing while nobody looks.
 */
#ifndef PV_GPU_FRAME_H
#define PV_GPU_FRAME_H

#include <pixman.h>

#include "base/base.h"

/* Largest width or height of any picture, as in QEMU and DRM. */
#define PV_FRAME_MAX_SIDE 16384

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
	void *refresh_user;
	struct pv_rect stale;
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

/* Device thread: makes `pixels` and `image` current. pv_frame_read_xrgb() does it by itself. */
void pv_frame_refresh(struct pv_frame *frame);
/*
 * Copies `src` (inside the frame) to `dst` as x8r8g8b8 in host byte order (bytes B, G, R, X on little-endian hosts, X
 * is 0xff or whatever the picture has there), rows `dst_stride_bytes` apart. Straight copy where the format allows it.
 * Device thread.
 */
void pv_frame_read_xrgb(struct pv_frame *frame, const struct pv_rect *src, void *dst, uint32_t dst_stride_bytes);

/* The pixman code of a virtio-gpu format; 0 if unknown. */
pixman_format_code_t pv_gpu_format_to_pixman(uint32_t format);

#endif

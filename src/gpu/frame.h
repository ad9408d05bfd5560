/* SPDX-License-Identifier: MIT */
/*
 * Pixels that can be shown: one picture in host memory. Its size and format never change, its pixels do. Reference
 * counts may be taken and dropped by any thread; pixels are written on the device thread alone and read there, or by a
 * reader that accepts a picture in the making.
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
	uint32_t stride_bytes; /* width * 4 unless the renderer says otherwise */
	uint32_t format;       /* enum pv_gpu_format: a virtio-gpu format, 4 bytes a pixel */
	uint8_t *pixels;
	uint64_t size_bytes;
	pixman_image_t *image; /* the same pixels for pixman; not shared between threads */
};

/* Zero-filled. PV_ERR_GUEST: unknown format, a side of 0 or above PV_FRAME_MAX_SIDE. */
PV_MUST_USE enum pv_status pv_frame_create(uint32_t width, uint32_t height, uint32_t format, struct pv_frame **out);
struct pv_frame *pv_frame_ref(struct pv_frame *frame);
/* NULL is fine. */
void pv_frame_unref(struct pv_frame *frame);

/*
 * Copies `src` (inside the frame) to `dst` as x8r8g8b8 in host byte order (bytes B, G, R, X on little-endian hosts, X
 * is 0xff), rows `dst_stride_bytes` apart. Straight copy where the format allows it.
 */
void pv_frame_read_xrgb(const struct pv_frame *frame, const struct pv_rect *src, void *dst, uint32_t dst_stride_bytes);

/* The pixman code of a virtio-gpu format; 0 if unknown. */
pixman_format_code_t pv_gpu_format_to_pixman(uint32_t format);

#endif

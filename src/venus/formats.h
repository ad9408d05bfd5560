/* SPDX-License-Identifier: MIT */
/* What formats are: planes, and how much memory texels take. */
#ifndef PV_VENUS_FORMATS_H
#define PV_VENUS_FORMATS_H

#include "base/base.h"
#include "venus/generated/formats.h"

/* NULL: a format unknown to us. */
const struct pv_venus_format *pv_venus_format_find(VkFormat format);

/* 1 for most, and for unknown ones. */
uint32_t pv_venus_format_planes(VkFormat format);

/* How texels lie in memory that they are copied from or to: as in VkMemoryToImageCopy. */
struct pv_venus_texels {
	VkFormat format;                   /* of the image */
	VkImageAspectFlags aspect;         /* one */
	uint32_t row_length, image_height; /* 0: as the extent */
	VkExtent3D extent;
	uint32_t nr_layers;
};

/* Bytes from the first to the last texel. False: the format or the aspect is unknown, or no memory has so many. */
PV_MUST_USE bool pv_venus_texels_size(const struct pv_venus_texels *texels, uint64_t *out_bytes);

#endif

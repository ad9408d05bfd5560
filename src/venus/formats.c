/* SPDX-License-Identifier: MIT */
#include "venus/formats.h"

const struct pv_venus_format *pv_venus_format_find(VkFormat format)
{
	size_t low = 0, high = PV_VENUS_NR_FORMATS;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (pv_venus_formats[middle].format < format)
			low = middle + 1;
		else
			high = middle;
	}
	return low < PV_VENUS_NR_FORMATS && pv_venus_formats[low].format == format ? &pv_venus_formats[low] : NULL;
}

uint32_t pv_venus_format_planes(VkFormat format)
{
	const struct pv_venus_format *known = pv_venus_format_find(format);

	return known ? known->nr_planes : 1;
}

/* Of a depth aspect: what is copied has no room for stencil, but may have some to spare. */
static uint32_t depth_bytes(VkFormat format)
{
	switch (format) {
	case VK_FORMAT_D16_UNORM:
	case VK_FORMAT_D16_UNORM_S8_UINT:
		return 2;
	case VK_FORMAT_X8_D24_UNORM_PACK32:
	case VK_FORMAT_D24_UNORM_S8_UINT:
	case VK_FORMAT_D32_SFLOAT:
	case VK_FORMAT_D32_SFLOAT_S8_UINT:
		return 4;
	default:
		return 0;
	}
}

/* The block of texels that is copied for an aspect; block_bytes 0: there is none. */
static struct pv_venus_format block_of(VkFormat format, VkImageAspectFlags aspect)
{
	struct pv_venus_format block = {.block_width = 1, .block_height = 1, .block_depth = 1};
	const struct pv_venus_format *known = pv_venus_format_find(format);
	uint32_t plane;

	switch (aspect) {
	case VK_IMAGE_ASPECT_COLOR_BIT:
		return known ? *known : block;
	case VK_IMAGE_ASPECT_DEPTH_BIT:
		block.block_bytes = (uint8_t)depth_bytes(format);
		return block;
	case VK_IMAGE_ASPECT_STENCIL_BIT:
		block.block_bytes = 1;
		return block;
	case VK_IMAGE_ASPECT_PLANE_0_BIT:
		plane = 0;
		break;
	case VK_IMAGE_ASPECT_PLANE_1_BIT:
		plane = 1;
		break;
	case VK_IMAGE_ASPECT_PLANE_2_BIT:
		plane = 2;
		break;
	default:
		return block;
	}
	if (!known || plane >= known->nr_planes)
		return block;
	known = pv_venus_format_find(known->planes[plane]);
	return known ? *known : block;
}

static uint64_t blocks(uint32_t texels, uint32_t block)
{
	return ((uint64_t)texels + block - 1) / block;
}

bool pv_venus_texels_size(const struct pv_venus_texels *texels, uint64_t *out_bytes)
{
	struct pv_venus_format block = block_of(texels->format, texels->aspect);
	uint64_t row, height, slices, nr_blocks, part;

	if (block.block_bytes == 0)
		return false;
	if (texels->extent.width == 0 || texels->extent.height == 0 || texels->extent.depth == 0 ||
	    texels->nr_layers == 0) {
		*out_bytes = 0;
		return true;
	}
	row = blocks(texels->row_length ? texels->row_length : texels->extent.width, block.block_width);
	height = blocks(texels->image_height ? texels->image_height : texels->extent.height, block.block_height);
	/* Layers of an image with depth do not exist, but a guest may say so. */
	if (!pv_mul_u64(blocks(texels->extent.depth, block.block_depth), texels->nr_layers, &slices))
		return false;
	/* All slices but the last, all rows but the last of that, and the last row. */
	if (!pv_mul_u64(slices - 1, height, &nr_blocks) ||
	    !pv_add_u64(nr_blocks, blocks(texels->extent.height, block.block_height) - 1, &nr_blocks) ||
	    !pv_mul_u64(nr_blocks, row, &part) ||
	    !pv_add_u64(part, blocks(texels->extent.width, block.block_width), &nr_blocks))
		return false;
	return pv_mul_u64(nr_blocks, block.block_bytes, out_bytes);
}

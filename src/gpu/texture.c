/* SPDX-License-Identifier: MIT */
#include "gpu/texture.h"

/* Gallium's. */
enum { TARGET_BUFFER = 0, TARGET_1D = 1, TARGET_1D_ARRAY = 6 };

/* What drivers keep of each besides its texels; measured with Mesa's llvmpipe. */
#define BUFFER_BYTES  2048
#define TEXTURE_BYTES 4096
/* They lay out whole tiles. */
#define ROW_BYTES 64
#define TILE_ROWS 4

/*
 * Formats by Gallium's number, as virglrenderer's protocol has frozen it: what holds from `first` on until the next
 * row. The first is 1 to 16 bytes a texel, or one of those below.
 */
enum layout {
	DECODED = 5,    /* ETC and ASTC, which many drivers unpack and keep packed as well */
	UNKNOWN = 16,   /* the largest that there is */
	GROWING = 32,   /* of 1, 2, 3, 4 components in turn, each of the bytes that are added */
	BLOCKS_8 = 64,  /* bytes for 4 x 4 texels */
	BLOCKS_16 = 65, /* the same */
};

struct format_range {
	uint16_t first;
	uint8_t layout;
};

/* clang-format off */
static const struct format_range formats[] = {
    {0, UNKNOWN}, {1, 4}, {5, 2}, {8, 4}, {9, 1}, {12, 2}, {17, 4}, {23, 1}, {24, GROWING + 8}, {28, GROWING + 4},
    {48, GROWING + 2}, {64, GROWING + 1}, {68, 4}, {69, GROWING + 1}, {73, UNKNOWN}, {74, GROWING + 1},
    {78, UNKNOWN}, {82, GROWING + 1}, {86, UNKNOWN}, {87, GROWING + 4}, {91, GROWING + 2}, {95, 1}, {96, 2},
    {97, 4}, {105, BLOCKS_8}, {107, BLOCKS_16}, {109, BLOCKS_8}, {111, BLOCKS_16}, {113, BLOCKS_8},
    {115, BLOCKS_16}, {117, 2}, {119, 4}, {120, 2}, {121, 4}, {122, 2}, {123, 4}, {126, 8}, {127, 1}, {128, 4},
    {130, 1}, {131, 4}, {133, 2}, {134, 4}, {135, 2}, {136, 4}, {138, 8}, {139, 1}, {140, 4}, {141, 2},
    {143, BLOCKS_8}, {145, BLOCKS_16}, {147, 1}, {149, 2}, {150, 1}, {151, 2}, {153, 4}, {154, 2}, {157, 4},
    {158, 2}, {159, 4}, {161, 8}, {162, 4}, {163, 2}, {172, 4}, {177, GROWING + 1}, {185, GROWING + 2},
    {193, GROWING + 4}, {201, 1}, {204, 2}, {205, 1}, {208, 2}, {212, 4}, {213, 2}, {216, 4}, {220, 8}, {221, 4},
    {224, 8}, {225, 4}, {226, DECODED}, {227, 2}, {229, 4}, {234, 8}, {239, 16}, {242, 2}, {243, 4}, {246, 8},
    {247, 2}, {249, 4}, {251, 8}, {253, 4}, {255, BLOCKS_16}, {259, 4}, {269, DECODED}, {307, 4}, {322, UNKNOWN},
};
/* clang-format on */

static uint8_t layout_of(uint32_t format, uint32_t *out_first)
{
	size_t i = PV_ARRAY_LEN(formats) - 1;

	while (formats[i].first > format)
		i--;
	*out_first = formats[i].first;
	return formats[i].layout;
}

/* A block of texels. */
struct block {
	uint32_t side, bytes;
};

static struct block block_of(uint32_t format)
{
	/* Drivers put the fourth in where the format has three. */
	static const uint8_t padded[] = {1, 2, 4, 4};
	uint32_t first;
	uint8_t layout = layout_of(format, &first);

	if (layout == BLOCKS_8)
		return (struct block){4, 8};
	if (layout == BLOCKS_16)
		return (struct block){4, 16};
	if (layout > GROWING)
		return (struct block){1, (layout - GROWING) * padded[(format - first) % 4]};
	return (struct block){1, layout};
}

/* Of numbers below 2^40. */
static uint64_t whole(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static uint64_t at_level(uint32_t size, uint32_t level)
{
	return size >> level ? size >> level : 1;
}

/* One level of one layer. */
static bool level_bytes(const struct pv_resource_info *info, uint32_t level, uint64_t *out)
{
	const struct block block = block_of(info->format);
	bool is_1d = info->texture.target == TARGET_1D || info->texture.target == TARGET_1D_ARRAY;
	uint64_t width = whole(at_level(info->width, level), block.side) / block.side;
	uint64_t height = whole(at_level(info->height, level), block.side) / block.side;

	return pv_mul_u64(whole(width * block.bytes, ROW_BYTES), is_1d ? height : whole(height, TILE_ROWS), out) &&
	       pv_mul_u64(*out, at_level(info->texture.depth, level), out);
}

uint64_t pv_texture_cost_bytes(const struct pv_resource_info *info)
{
	const struct pv_texture_info *texture = &info->texture;
	uint64_t sum = 0, bytes;

	if (texture->target == TARGET_BUFFER)
		return BUFFER_BYTES + (uint64_t)info->width;
	/* More levels than a width has bits are none. */
	for (uint32_t level = 0; level <= texture->last_level && level < 32; level++)
		if (!level_bytes(info, level, &bytes) || !pv_add_u64(sum, bytes, &sum))
			return UINT64_MAX;
	if (!pv_mul_u64(sum, texture->array_size ? texture->array_size : 1, &sum) ||
	    !pv_mul_u64(sum, texture->nr_samples ? texture->nr_samples : 1, &sum) ||
	    !pv_add_u64(sum, TEXTURE_BYTES, &sum))
		return UINT64_MAX;
	return sum;
}

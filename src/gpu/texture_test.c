/* SPDX-License-Identifier: MIT */
#include "gpu/texture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Gallium's. */
enum { BUFFER, TEXTURE_1D, TEXTURE_2D, TEXTURE_3D, CUBE, ARRAY_2D = 7 };
enum {
	BGRA8 = 1,
	Z16 = 16,
	Z24S8 = 19,
	RGBA32F = 31,
	RGB16 = 50,
	R8 = 64,
	RGB8 = 66,
	DXT1 = 105,
	DXT5 = 108,
	R8G8_UINT = 178
};
enum { ETC2 = 269, ASTC_12X12 = 292 };

#define BOOKKEEPING 4096u

static uint64_t cost(struct pv_resource_info info)
{
	info.kind = PV_RESOURCE_3D;
	return pv_texture_cost_bytes(&info);
}

/* One level of 256 x 64. */
static uint64_t plain(uint32_t format)
{
	return cost((struct pv_resource_info){.format = format,
					      .width = 256,
					      .height = 64,
					      .texture = {.target = TEXTURE_2D, .depth = 1, .array_size = 1}}) -
	       BOOKKEEPING;
}

static void formats_have_their_size(void **state)
{
	const uint64_t texels = UINT64_C(256) * 64;

	(void)state;
	assert_int_equal(plain(BGRA8), texels * 4);
	assert_int_equal(plain(Z16), texels * 2);
	assert_int_equal(plain(Z24S8), texels * 4);
	assert_int_equal(plain(RGBA32F), texels * 16);
	assert_int_equal(plain(RGB16), texels * 8);
	assert_int_equal(plain(R8), texels);
	assert_int_equal(plain(RGB8), texels * 4);
	assert_int_equal(plain(R8G8_UINT), texels * 2);
	assert_int_equal(plain(DXT1), texels / 2);
	assert_int_equal(plain(DXT5), texels);
	assert_int_equal(plain(ETC2), texels * 5);
	assert_int_equal(plain(ASTC_12X12), texels * 5);
	/* What nobody knows is as large as any. */
	assert_int_equal(plain(0), texels * 16);
	assert_int_equal(plain(1000), texels * 16);
	assert_int_equal(plain(UINT32_MAX), texels * 16);
	for (uint32_t format = 0; format < 400; format++)
		assert_in_range(plain(format), texels / 2, texels * 32);
}

static void levels_layers_and_samples_count(void **state)
{
	struct pv_resource_info info = {
	    .format = BGRA8, .width = 64, .height = 64, .texture = {.target = TEXTURE_2D, .depth = 1, .array_size = 1}};

	(void)state;
	info.texture.nr_samples = 4;
	assert_int_equal(cost(info), 4 * 64 * 64 * 4 + BOOKKEEPING);
	info.texture.nr_samples = 1;
	info.texture.last_level = 6;
	/* Small levels are whole tiles of 64 bytes by 4 rows. */
	assert_int_equal(cost(info), 4 * (64 * 64 + 32 * 32 + 16 * 16 + 16 * 8 + 3 * 16 * 4) + BOOKKEEPING);
	info.texture.last_level = 0;
	info.texture.target = ARRAY_2D;
	info.texture.array_size = 10;
	assert_int_equal(cost(info), 10 * 64 * 64 * 4 + BOOKKEEPING);
	info.texture.target = CUBE;
	info.texture.array_size = 6;
	assert_int_equal(cost(info), 6 * 64 * 64 * 4 + BOOKKEEPING);
	info.texture.target = TEXTURE_3D;
	info.texture.array_size = 1;
	info.texture.depth = 32;
	info.texture.last_level = 1;
	assert_int_equal(cost(info), 4 * (64 * 64 * 32 + 32 * 32 * 16) + BOOKKEEPING);
	info = (struct pv_resource_info){.format = R8, .width = 1000, .height = 1, .texture = {.target = TEXTURE_1D}};
	assert_int_equal(cost(info), 1024 + BOOKKEEPING);
	/* Thin ones take more than their texels. */
	info = (struct pv_resource_info){.format = R8, .width = 1, .height = 16384, .texture = {.target = TEXTURE_2D}};
	assert_int_equal(cost(info), 64 * 16384 + BOOKKEEPING);
}

static void buffers_are_as_long_as_wide(void **state)
{
	struct pv_resource_info info = {.format = R8, .width = 100000, .height = 1, .texture = {.target = BUFFER}};

	(void)state;
	assert_in_range(cost(info), 100000, 104096);
	info.width = UINT32_MAX;
	assert_in_range(cost(info), UINT32_MAX, UINT32_MAX + UINT64_C(4096));
}

static void impossible_sizes_do_not_wrap(void **state)
{
	const uint32_t max = UINT32_MAX;
	struct pv_resource_info info = {
	    .format = RGBA32F, .width = max, .height = max, .texture = {.target = TEXTURE_2D}};

	(void)state;
	assert_true(cost(info) == UINT64_MAX);
	info.format = DXT1;
	assert_true(cost(info) > UINT64_C(1) << 62);
	info = (struct pv_resource_info){
	    .format = R8, .width = 65536, .height = 65536, .texture = {.target = TEXTURE_3D, .depth = max}};
	info.texture.nr_samples = max;
	assert_true(cost(info) == UINT64_MAX);
	info = (struct pv_resource_info){
	    .format = R8, .width = 65536, .height = 65536, .texture = {.target = ARRAY_2D, .array_size = max}};
	info.texture.last_level = max;
	assert_true(cost(info) > UINT64_C(1) << 62);
	info.width = info.height = 0;
	assert_in_range(cost(info), 1, UINT64_C(1) << 50);
	assert_true(pv_texture_max_import_bytes(UINT64_MAX) == UINT64_MAX);
	assert_in_range(pv_texture_max_import_bytes(4096), 4096, 128 << 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(formats_have_their_size),
	    cmocka_unit_test(levels_layers_and_samples_count),
	    cmocka_unit_test(buffers_are_as_long_as_wide),
	    cmocka_unit_test(impossible_sizes_do_not_wrap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

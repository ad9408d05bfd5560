/* SPDX-License-Identifier: MIT */
#include "venus/formats.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_size(struct pv_venus_texels texels, uint64_t expected)
{
	uint64_t bytes = 0;

	assert_true(pv_venus_texels_size(&texels, &bytes));
	assert_int_equal(bytes, expected);
}

static void test_table_is_sorted(void **state)
{
	(void)state;
	for (size_t i = 1; i < PV_VENUS_NR_FORMATS; i++)
		assert_true(pv_venus_formats[i - 1].format < pv_venus_formats[i].format);
	for (size_t i = 0; i < PV_VENUS_NR_FORMATS; i++)
		assert_ptr_equal(pv_venus_format_find(pv_venus_formats[i].format), &pv_venus_formats[i]);
	assert_null(pv_venus_format_find(VK_FORMAT_UNDEFINED));
	assert_null(pv_venus_format_find(VK_FORMAT_MAX_ENUM));
}

static void test_planes(void **state)
{
	(void)state;
	assert_int_equal(pv_venus_format_planes(VK_FORMAT_R8G8B8A8_UNORM), 1);
	assert_int_equal(pv_venus_format_planes(VK_FORMAT_G8_B8R8_2PLANE_420_UNORM), 2);
	assert_int_equal(pv_venus_format_planes(VK_FORMAT_G8_B8_R8_3PLANE_420_UNORM), 3);
	assert_int_equal(pv_venus_format_planes(VK_FORMAT_MAX_ENUM), 1);
}

static void test_size_of_texels(void **state)
{
	const VkExtent3D ten_by_ten = {10, 10, 1};

	(void)state;
	assert_size((struct pv_venus_texels){VK_FORMAT_R8G8B8A8_UNORM, VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, ten_by_ten, 1},
		    400);
	/* The last row ends with its last texel. */
	assert_size((struct pv_venus_texels){VK_FORMAT_R8G8B8A8_UNORM, VK_IMAGE_ASPECT_COLOR_BIT, 16, 0, ten_by_ten, 1},
		    (UINT64_C(9) * 16 + 10) * 4);
	assert_size((struct pv_venus_texels){VK_FORMAT_R8_UNORM, VK_IMAGE_ASPECT_COLOR_BIT, 16, 20, ten_by_ten, 3},
		    UINT64_C(2) * 20 * 16 + UINT64_C(9) * 16 + 10);
	/* 4 x 4 texels in 8 bytes: 3 x 3 blocks. */
	assert_size(
	    (struct pv_venus_texels){VK_FORMAT_BC1_RGB_UNORM_BLOCK, VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, ten_by_ten, 1},
	    72);
	assert_size(
	    (struct pv_venus_texels){VK_FORMAT_D24_UNORM_S8_UINT, VK_IMAGE_ASPECT_STENCIL_BIT, 0, 0, ten_by_ten, 1},
	    100);
	assert_size(
	    (struct pv_venus_texels){VK_FORMAT_D32_SFLOAT_S8_UINT, VK_IMAGE_ASPECT_DEPTH_BIT, 0, 0, ten_by_ten, 1},
	    400);
	assert_size((struct pv_venus_texels){VK_FORMAT_G8_B8R8_2PLANE_420_UNORM, VK_IMAGE_ASPECT_PLANE_1_BIT, 0, 0,
					     ten_by_ten, 1},
		    200);
	assert_size((struct pv_venus_texels){VK_FORMAT_R8_UNORM, VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, {0, 1, 1}, 1}, 0);
}

static void test_absurd_texels_are_refused(void **state)
{
	struct pv_venus_texels texels = {VK_FORMAT_R32G32B32A32_SFLOAT,
					 VK_IMAGE_ASPECT_COLOR_BIT,
					 UINT32_MAX,
					 UINT32_MAX,
					 {UINT32_MAX, UINT32_MAX, UINT32_MAX},
					 UINT32_MAX};
	uint64_t bytes;

	(void)state;
	assert_false(pv_venus_texels_size(&texels, &bytes));
	texels = (struct pv_venus_texels){VK_FORMAT_R8_UNORM, VK_IMAGE_ASPECT_DEPTH_BIT, 0, 0, {1, 1, 1}, 1};
	assert_false(pv_venus_texels_size(&texels, &bytes));
	texels = (struct pv_venus_texels){VK_FORMAT_R8_UNORM, VK_IMAGE_ASPECT_PLANE_1_BIT, 0, 0, {1, 1, 1}, 1};
	assert_false(pv_venus_texels_size(&texels, &bytes));
	texels = (struct pv_venus_texels){VK_FORMAT_MAX_ENUM, VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, {1, 1, 1}, 1};
	assert_false(pv_venus_texels_size(&texels, &bytes));
	texels = (struct pv_venus_texels){VK_FORMAT_R8_UNORM, 3, 0, 0, {1, 1, 1}, 1};
	assert_false(pv_venus_texels_size(&texels, &bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table_is_sorted),
	    cmocka_unit_test(test_planes),
	    cmocka_unit_test(test_size_of_texels),
	    cmocka_unit_test(test_absurd_texels_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

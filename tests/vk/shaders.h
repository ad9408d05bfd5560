/* SPDX-License-Identifier: MIT */
/* The SPIR-V of shaders/, made at build time. */
#ifndef VK_TESTS_SHADERS_H
#define VK_TESTS_SHADERS_H

#include <stddef.h>
#include <stdint.h>

struct shader_code {
	const uint32_t *words;
	size_t size;
};

extern const struct shader_code address_comp, captured_vert, color_frag, fan_geom, fill_comp, images_comp,
    indexing_comp, inline_comp, input_frag, lost_comp, mesh_vert, patch_tesc, patch_tese, rays_comp, reduce_comp,
    screen_vert, squares_mesh, step_comp, texture_frag, views_vert;

#endif

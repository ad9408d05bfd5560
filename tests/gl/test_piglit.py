# SPDX-License-Identifier: MIT
"""piglit's tests on virpipe have the same results with ours as with virgl_test_server, which has the same library.

./run check runs some of each group, PVGPU_GL_ALL=1 ./run test gl/test_piglit all of them.
"""

import collections
import json
import os

import pytest

import piglit

EVERYTHING = os.environ.get("PVGPU_GL_ALL") == "1"
# How many of a group are run by ./run check, evenly spread.
SOME = 12
GROUPS = {
    "OpenGL 1": ["!opengl 1.0", "!opengl 1.1", "!opengl 1.2", "!opengl 1.3", "!opengl 1.4", "!opengl 1.5"],
    "OpenGL 2 and 3": ["!opengl 2.0", "!opengl 2.1", "!opengl 3.0", "!opengl 3.1", "!opengl 3.2", "!opengl 3.3"],
    "GLSL 1.10": ["glsl-1.10"],
    "GLSL 1.20": ["glsl-1.20"],
    "GLSL 1.30": ["glsl-1.30"],
    "GLSL 1.40 and 1.50": ["glsl-1.40", "glsl-1.50"],
    "framebuffers": ["ext_framebuffer_object", "arb_framebuffer_object", "ext_framebuffer_blit", "arb_framebuffer_srgb",
                     "ext_packed_depth_stencil", "arb_depth_buffer_float", "arb_depth_texture", "arb_color_buffer_float",
                     "arb_draw_buffers", "arb_clear_texture"],
    "textures": ["arb_texture_rg", "arb_texture_float", "arb_texture_view", "arb_texture_cube_map", "arb_texture_rectangle",
                 "arb_copy_image", "ext_texture_array", "ext_texture_compression_s3tc", "ext_texture_integer", "ext_texture_snorm",
                 "ext_texture_srgb", "ext_packed_float", "arb_texture_gather", "arb_shader_texture_lod"],
    "buffers": ["arb_vertex_buffer_object", "arb_pixel_buffer_object", "arb_uniform_buffer_object", "arb_texture_buffer_object",
                "arb_map_buffer_range", "arb_copy_buffer", "ext_transform_feedback", "arb_transform_feedback3", "nv_primitive_restart",
                "arb_draw_instanced", "arb_instanced_arrays", "arb_occlusion_query2"],
    "programs": ["arb_vertex_program", "arb_fragment_program", "arb_separate_shader_objects", "arb_shader_storage_buffer_object",
                 "arb_compute_shader", "arb_sample_shading", "arb_blend_func_extended"],
}
# Differences that are known, and why.
EXPLAINED = {}


@pytest.fixture(scope="module")
def tree():
    try:
        return piglit.unpack()
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tests(tree):
    return piglit.profile(tree)


@pytest.mark.parametrize("group", GROUPS)
def test_the_same_as_the_test_server(tree, tests, server, peer, group, record_property):
    chosen = piglit.choose(tests, GROUPS[group])
    assert len(chosen) > SOME
    if not EVERYTHING:
        chosen = chosen[::len(chosen) // SOME]
    differing, results = piglit.compare(chosen, piglit.Runner(tree, server.client), piglit.Runner(tree, peer.client))
    counts = collections.Counter(results.values())
    print(f"{group}: {len(chosen)} tests, {len(results)} results: {dict(counts)}")
    record_property("results", json.dumps(counts))
    # Something of each group draws and is right.
    assert counts["pass"] > len(results) / 4, counts
    assert {name: pair for name, pair in differing.items() if name not in EXPLAINED} == {}

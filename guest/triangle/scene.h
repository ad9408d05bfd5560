/* SPDX-License-Identifier: MIT */
/*
 * The picture of pvgpu-triangle: one triangle on a plain background, the same in every frame.
 *
 * In a picture of w x h pixels, x to the right and y down from the top left, the corners are at
 *
 *     top    (w * 0.50, h * 0.25)   ff0000
 *     right  (w * 0.75, h * 0.75)   00ff00
 *     left   (w * 0.25, h * 0.75)   0000ff
 *
 * and the background is 203040. Inside, pixel (x, y) has the colour of the point (x + 0.5, y + 0.5), mixed linearly
 * from the three corners: with the point's barycentric coordinates t, r, l it is red 255 t, green 255 r, blue 255 l.
 * Three points to look at: the middle of the bottom edge, one pixel up, is about 007f7f; the centroid
 * (w / 2, h * 7 / 12) is about 555555; the middle of the picture (w / 2, h / 2) is about 7f3f3f. Drivers round
 * differently: allow PV_SCENE_TOLERANCE in each channel inside, nothing outside, and leave out the pixels whose
 * centre is less than one pixel from an edge.
 *
 * The picture is opaque (alpha 255) and linear 8-bit: no sRGB curve is applied.
 */
#ifndef PVGPU_TRIANGLE_SCENE_H
#define PVGPU_TRIANGLE_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_SCENE_TOLERANCE  3
#define PV_SCENE_BACKGROUND 0x203040u

/* As the vertex buffer holds it: clip space, x right and y down from -1 to 1. */
struct pv_vertex {
	float x, y;
	float red, green, blue;
};
extern const struct pv_vertex pv_scene_vertices[3];

/* A picture in memory, 4 bytes a pixel. */
struct pv_picture {
	const uint8_t *pixels;
	size_t stride_bytes;
	uint32_t width, height;
	uint8_t red_byte, green_byte, blue_byte; /* where in the 4 bytes */
};

struct pv_scene_check {
	uint64_t checked, skipped, wrong;
	unsigned max_error_inside, max_error_outside;
};

/* True if the pixel is far enough from every edge to be checked; `*rgb`, 0xrrggbb, and `*inside` only then. */
bool pv_scene_pixel(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t *rgb, bool *inside);

/* Compares every pixel with the formula. */
struct pv_scene_check pv_scene_compare(const struct pv_picture *picture);

#endif

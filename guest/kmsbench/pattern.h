/* SPDX-License-Identifier: MIT */
/*
 * Test pictures that a host can compute for itself.
 *
 * Every picture is an exact function of the pixel (x, y), counted from the top left, and of the picture's size
 * (w, h), in 8-bit red, green and blue. All divisions are integer divisions, rounded down.
 *
 *   solid:RRGGBB   every pixel is that colour. Plain `solid` is 3060c0.
 *   gradient       r = w > 1 ? x * 255 / (w - 1) : 0;   g = h > 1 ? y * 255 / (h - 1) : 0;   b = (x ^ y) & 255
 *                  (any wrong offset or stride shows in b)
 *   checker        ((x / 32) + (y / 32)) % 2 == 0 ? e0e0e0 : 202020, so the square at the top left is the light one
 *   corners        first match wins:
 *                    x == 0 || y == 0 || x == w - 1 || y == h - 1   ffff00 (a frame of one pixel)
 *                    x < 64 && y < 64                               ff0000 (top left)
 *                    x >= w - 64 && y < 64                          00ff00 (top right)
 *                    x < 64 && y >= h - 64                          0000ff (bottom left)
 *                    x >= w - 64 && y >= h - 64                     ffffff (bottom right)
 *                    otherwise                                      808080
 *
 * The cursor is a 64 x 64 picture with premultiplied alpha, aarrggbb, in four squares of 32 x 32:
 *   top left ffff0000   top right ff00ff00   bottom left 80000080 (half transparent blue)   bottom right 00000000,
 * except pixel (0, 0), which is ffffffff.
 */
#ifndef PVGPU_KMSBENCH_PATTERN_H
#define PVGPU_KMSBENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_CURSOR_SIZE 64u

enum pv_pattern_kind {
	PV_PATTERN_SOLID,
	PV_PATTERN_GRADIENT,
	PV_PATTERN_CHECKER,
	PV_PATTERN_CORNERS,
};

struct pv_pattern {
	enum pv_pattern_kind kind;
	uint32_t rgb; /* PV_PATTERN_SOLID only: 0xrrggbb */
};

/* Where a 32-bit pixel keeps each 8-bit channel: the byte's number in memory. */
struct pv_pixel_layout {
	uint8_t red, green, blue, alpha;
};

/* XR24 and AR24 on a little-endian machine: blue, green, red, alpha. */
extern const struct pv_pixel_layout pv_layout_bgra;

/* Reads `gradient`, `solid:ff8000` and so on. False, with `*pattern` untouched, if `text` is none of them. */
bool pv_pattern_parse(const char *text, struct pv_pattern *pattern);

/* The picture's colour at (x, y), 0xrrggbb. */
uint32_t pv_pattern_rgb(const struct pv_pattern *pattern, uint32_t x, uint32_t y, uint32_t width, uint32_t height);

/* Draws the whole picture; alpha, where the layout has a use for it, is 255. `stride_bytes` is at least width * 4. */
void pv_pattern_fill(const struct pv_pattern *pattern, uint8_t *pixels, size_t stride_bytes, uint32_t width,
		     uint32_t height, const struct pv_pixel_layout *layout);

/* The cursor's colour, 0xaarrggbb, for x and y below PV_CURSOR_SIZE. */
uint32_t pv_cursor_argb(uint32_t x, uint32_t y);

#endif

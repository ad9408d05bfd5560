/* SPDX-License-Identifier: MIT */
/* The pictures against values worked out by hand from pattern.h: host tests trust that text. */
#include "pattern.h"

#include <stdio.h>
#include <string.h>

static int failures;

static void expect_rgb(const char *name, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t want)
{
	struct pv_pattern pattern;

	if (!pv_pattern_parse(name, &pattern)) {
		printf("%s: not understood\n", name);
		failures++;
		return;
	}
	const uint32_t got = pv_pattern_rgb(&pattern, x, y, width, height);
	if (got != want) {
		printf("%s %ux%u at %u,%u: %06x, not %06x\n", name, width, height, x, y, got, want);
		failures++;
	}
}

static void expect_rejected(const char *name)
{
	struct pv_pattern pattern = {.kind = PV_PATTERN_CORNERS, .rgb = 1};

	if (pv_pattern_parse(name, &pattern) || pattern.kind != PV_PATTERN_CORNERS || pattern.rgb != 1) {
		printf("'%s' was accepted or changed the result\n", name);
		failures++;
	}
}

static void expect_fill(void)
{
	const struct pv_pixel_layout rgba = {.red = 0, .green = 1, .blue = 2, .alpha = 3};
	const struct pv_pattern pattern = {.kind = PV_PATTERN_SOLID, .rgb = 0x123456};
	const uint8_t want[] = {
	    0x12, 0x34, 0x56, 0xff, 0xee, 0xee, 0xee, 0xee, /* one pixel, then padding that stays as it was */
	    0x12, 0x34, 0x56, 0xff, 0xee, 0xee, 0xee, 0xee,
	};
	uint8_t got[sizeof(want)];

	memset(got, 0xee, sizeof(got));
	pv_pattern_fill(&pattern, got, 8, 1, 2, &rgba);
	if (memcmp(got, want, sizeof(want)) != 0) {
		printf("fill: wrong bytes\n");
		failures++;
	}
	pv_pattern_fill(&pattern, got, 8, 1, 1, &pv_layout_bgra);
	if (got[0] != 0x56 || got[1] != 0x34 || got[2] != 0x12 || got[3] != 0xff) {
		printf("fill: wrong byte order for XR24\n");
		failures++;
	}
}

int main(void)
{
	expect_rgb("solid", 5, 7, 640, 480, 0x3060c0);
	expect_rgb("solid:Ff8001", 0, 0, 640, 480, 0xff8001);
	expect_rgb("gradient", 0, 0, 640, 480, 0x000000);
	expect_rgb("gradient", 639, 479, 640, 480, 0xffffa0); /* 639 ^ 479 = 0x27f ^ 0x1df = 0x3a0 */
	expect_rgb("gradient", 320, 240, 640, 480, 0x7f7fb0); /* 320 * 255 / 639 = 127.7; 0x140 ^ 0xf0 = 0x1b0 */
	expect_rgb("gradient", 0, 0, 1, 1, 0x000000);
	expect_rgb("checker", 31, 31, 640, 480, 0xe0e0e0);
	expect_rgb("checker", 32, 31, 640, 480, 0x202020);
	expect_rgb("checker", 32, 32, 640, 480, 0xe0e0e0);
	expect_rgb("corners", 0, 100, 640, 480, 0xffff00);
	expect_rgb("corners", 639, 100, 640, 480, 0xffff00);
	expect_rgb("corners", 100, 479, 640, 480, 0xffff00);
	expect_rgb("corners", 63, 63, 640, 480, 0xff0000);
	expect_rgb("corners", 64, 63, 640, 480, 0x808080);
	expect_rgb("corners", 576, 63, 640, 480, 0x00ff00);
	expect_rgb("corners", 575, 63, 640, 480, 0x808080);
	expect_rgb("corners", 1, 416, 640, 480, 0x0000ff);
	expect_rgb("corners", 1, 415, 640, 480, 0x808080);
	expect_rgb("corners", 638, 478, 640, 480, 0xffffff);
	expect_rejected("");
	expect_rejected("solid:");
	expect_rejected("solid:12345");
	expect_rejected("solid:12345g");
	expect_rejected("solid:1234567");
	expect_rejected("corner");
	expect_fill();
	if (pv_cursor_argb(0, 0) != 0xffffffff || pv_cursor_argb(31, 31) != 0xffff0000 ||
	    pv_cursor_argb(32, 0) != 0xff00ff00 || pv_cursor_argb(31, 32) != 0x80000080 ||
	    pv_cursor_argb(63, 63) != 0) {
		printf("cursor: wrong colours\n");
		failures++;
	}
	return failures ? 1 : 0;
}

/* SPDX-License-Identifier: MIT */
/* The picture's formula against points worked out by hand from scene.h, and that a wrong pixel is noticed. */
#include "scene.h"

#include <stdio.h>
#include <stdlib.h>

#define WIDTH  240u
#define HEIGHT 120u
#define PIXELS ((size_t)WIDTH * HEIGHT)

static int failures;

static void expect(uint32_t x, uint32_t y, bool want_inside, uint32_t want)
{
	uint32_t rgb;
	bool inside;

	if (!pv_scene_pixel(x, y, WIDTH, HEIGHT, &rgb, &inside)) {
		printf("%u,%u was left out\n", x, y);
		failures++;
	} else if (rgb != want || inside != want_inside) {
		printf("%u,%u is %06x, %s; not %06x\n", x, y, rgb, inside ? "inside" : "outside", want);
		failures++;
	}
}

static void expect_left_out(uint32_t x, uint32_t y)
{
	uint32_t rgb;
	bool inside;

	if (pv_scene_pixel(x, y, WIDTH, HEIGHT, &rgb, &inside)) {
		printf("%u,%u is on an edge but was not left out\n", x, y);
		failures++;
	}
}

static void expect_compare(void)
{
	uint8_t *pixels = calloc(PIXELS, 4);
	const struct pv_picture picture = {
	    .pixels = pixels,
	    .stride_bytes = (size_t)WIDTH * 4,
	    .width = WIDTH,
	    .height = HEIGHT,
	    .red_byte = 0,
	    .green_byte = 1,
	    .blue_byte = 2,
	};

	if (!pixels)
		abort();
	for (uint32_t y = 0; y < HEIGHT; y++) {
		for (uint32_t x = 0; x < WIDTH; x++) {
			uint32_t rgb = 0x123456;
			bool inside;
			uint8_t *pixel = pixels + ((size_t)y * WIDTH + x) * 4;

			pv_scene_pixel(x, y, WIDTH, HEIGHT, &rgb, &inside);
			pixel[0] = (uint8_t)(rgb >> 16);
			pixel[1] = (uint8_t)(rgb >> 8);
			pixel[2] = (uint8_t)rgb;
		}
	}
	struct pv_scene_check check = pv_scene_compare(&picture);
	if (check.wrong || check.checked + check.skipped != PIXELS || check.skipped > PIXELS / 20) {
		printf("the right picture: %llu wrong, %llu checked, %llu left out\n", (unsigned long long)check.wrong,
		       (unsigned long long)check.checked, (unsigned long long)check.skipped);
		failures++;
	}
	pixels[2]++; /* outside, where nothing is allowed */
	pixels[((size_t)70 * WIDTH + 120) * 4] += PV_SCENE_TOLERANCE + 1;
	check = pv_scene_compare(&picture);
	if (check.wrong != 2 || check.max_error_outside != 1 || check.max_error_inside != PV_SCENE_TOLERANCE + 1) {
		printf("two wrong pixels: %llu found\n", (unsigned long long)check.wrong);
		failures++;
	}
	free(pixels);
}

int main(void)
{
	/* The corners are at (120, 30), (180, 90) and (60, 90). */
	expect(0, 0, false, PV_SCENE_BACKGROUND);
	expect(WIDTH - 1, HEIGHT - 1, false, PV_SCENE_BACKGROUND);
	expect(120, 27, false, PV_SCENE_BACKGROUND);
	expect(120, 92, false, PV_SCENE_BACKGROUND);
	/* At (120.5, 60.5): t = (90 - 60.5) / 60, r + l = 1 - t and r - l = 0.5 / 60; so 125.4, 65.9, 63.7. */
	expect(120, 60, true, 0x7d4240);
	/* At (120.5, 87.5): t = 2.5 / 60; so 10.6, 123.3, 121.1. */
	expect(120, 87, true, 0x0b7b79);
	expect_left_out(120, 89);
	expect_left_out(120, 90);
	expect_left_out(90, 60);
	expect_compare();
	return failures ? 1 : 0;
}

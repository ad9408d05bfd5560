/* SPDX-License-Identifier: MIT */
#include "pattern.h"

#include <string.h>

#define CORNER_SIZE 64u
#define SQUARE_SIZE 32u

const struct pv_pixel_layout pv_layout_bgra = {.red = 2, .green = 1, .blue = 0, .alpha = 3};

static bool parse_hex_digit(char digit, uint32_t *value)
{
	if (digit >= '0' && digit <= '9')
		*value = (uint32_t)(digit - '0');
	else if (digit >= 'a' && digit <= 'f')
		*value = (uint32_t)(digit - 'a') + 10;
	else if (digit >= 'A' && digit <= 'F')
		*value = (uint32_t)(digit - 'A') + 10;
	else
		return false;
	return true;
}

static bool parse_rgb(const char *text, uint32_t *rgb)
{
	uint32_t value = 0;

	if (strlen(text) != 6)
		return false;
	for (const char *c = text; *c; c++) {
		uint32_t digit;

		if (!parse_hex_digit(*c, &digit))
			return false;
		value = value << 4 | digit;
	}
	*rgb = value;
	return true;
}

bool pv_pattern_parse(const char *text, struct pv_pattern *pattern)
{
	static const struct {
		const char *name;
		enum pv_pattern_kind kind;
	} names[] = {
	    {"solid", PV_PATTERN_SOLID},
	    {"gradient", PV_PATTERN_GRADIENT},
	    {"checker", PV_PATTERN_CHECKER},
	    {"corners", PV_PATTERN_CORNERS},
	};
	uint32_t rgb = 0x3060c0;

	if (strncmp(text, "solid:", 6) == 0) {
		if (!parse_rgb(text + 6, &rgb))
			return false;
		*pattern = (struct pv_pattern){.kind = PV_PATTERN_SOLID, .rgb = rgb};
		return true;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i].name) == 0) {
			*pattern = (struct pv_pattern){.kind = names[i].kind, .rgb = rgb};
			return true;
		}
	}
	return false;
}

static uint32_t corners_rgb(uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	/* `x + CORNER_SIZE >= width` is `x >= width - CORNER_SIZE` for pictures narrower than a corner too. */
	const bool left = x < CORNER_SIZE, right = x + CORNER_SIZE >= width;
	const bool top = y < CORNER_SIZE, bottom = y + CORNER_SIZE >= height;

	if (x == 0 || y == 0 || x == width - 1 || y == height - 1)
		return 0xffff00;
	if (left && top)
		return 0xff0000;
	if (right && top)
		return 0x00ff00;
	if (left && bottom)
		return 0x0000ff;
	if (right && bottom)
		return 0xffffff;
	return 0x808080;
}

uint32_t pv_pattern_rgb(const struct pv_pattern *pattern, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	switch (pattern->kind) {
	case PV_PATTERN_SOLID:
		return pattern->rgb;
	case PV_PATTERN_GRADIENT: {
		const uint32_t red = width > 1 ? x * 255 / (width - 1) : 0;
		const uint32_t green = height > 1 ? y * 255 / (height - 1) : 0;

		return red << 16 | green << 8 | ((x ^ y) & 255);
	}
	case PV_PATTERN_CHECKER:
		return (x / SQUARE_SIZE + y / SQUARE_SIZE) % 2 == 0 ? 0xe0e0e0 : 0x202020;
	case PV_PATTERN_CORNERS:
		return corners_rgb(x, y, width, height);
	}
	return 0;
}

void pv_pattern_fill(const struct pv_pattern *pattern, uint8_t *pixels, size_t stride_bytes, uint32_t width,
		     uint32_t height, const struct pv_pixel_layout *layout)
{
	for (uint32_t y = 0; y < height; y++) {
		uint8_t *pixel = pixels + y * stride_bytes;

		for (uint32_t x = 0; x < width; x++, pixel += 4) {
			const uint32_t rgb = pv_pattern_rgb(pattern, x, y, width, height);

			pixel[layout->red] = (uint8_t)(rgb >> 16);
			pixel[layout->green] = (uint8_t)(rgb >> 8);
			pixel[layout->blue] = (uint8_t)rgb;
			pixel[layout->alpha] = 255;
		}
	}
}

uint32_t pv_cursor_argb(uint32_t x, uint32_t y)
{
	const bool left = x < PV_CURSOR_SIZE / 2, top = y < PV_CURSOR_SIZE / 2;

	if (x == 0 && y == 0)
		return 0xffffffff;
	if (top)
		return left ? 0xffff0000 : 0xff00ff00;
	return left ? 0x80000080 : 0x00000000;
}

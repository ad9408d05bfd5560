/* SPDX-License-Identifier: MIT */
#include "scene.h"

#include <math.h>

const struct pv_vertex pv_scene_vertices[3] = {
    {0.0f, -0.5f, 1.0f, 0.0f, 0.0f},
    {0.5f, 0.5f, 0.0f, 1.0f, 0.0f},
    {-0.5f, 0.5f, 0.0f, 0.0f, 1.0f},
};

struct point {
	double x, y;
};

static struct point corner(unsigned i, uint32_t width, uint32_t height)
{
	return (struct point){
	    (pv_scene_vertices[i].x + 1.0) / 2.0 * width,
	    (pv_scene_vertices[i].y + 1.0) / 2.0 * height,
	};
}

/* Twice the signed area of a, b, c. */
static double area(struct point a, struct point b, struct point c)
{
	return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

static uint32_t channel(double value)
{
	return (uint32_t)lround(fmin(fmax(value, 0.0), 1.0) * 255.0);
}

bool pv_scene_pixel(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t *rgb, bool *inside)
{
	const struct point at = {x + 0.5, y + 0.5};
	const struct point p[3] = {corner(0, width, height), corner(1, width, height), corner(2, width, height)};
	const double whole = area(p[0], p[1], p[2]);
	double weight[3], nearest = INFINITY;
	bool within = true;

	for (unsigned i = 0; i < 3; i++) {
		const struct point from = p[(i + 1) % 3], to = p[(i + 2) % 3];
		const double part = area(from, to, at);

		weight[i] = part / whole;
		within = within && weight[i] > 0;
		/* The distance from the edge's line: beyond the edge's ends it only leaves out more than it has to. */
		nearest = fmin(nearest, fabs(part) / hypot(to.x - from.x, to.y - from.y));
	}
	if (nearest < 1.0)
		return false;
	*inside = within;
	*rgb = PV_SCENE_BACKGROUND;
	if (within)
		*rgb = channel(weight[0]) << 16 | channel(weight[1]) << 8 | channel(weight[2]);
	return true;
}

static unsigned difference(uint8_t got, uint32_t want)
{
	return got > want ? got - want : want - got;
}

struct pv_scene_check pv_scene_compare(const struct pv_picture *picture)
{
	struct pv_scene_check check = {0};

	for (uint32_t y = 0; y < picture->height; y++) {
		const uint8_t *pixel = picture->pixels + y * picture->stride_bytes;

		for (uint32_t x = 0; x < picture->width; x++, pixel += 4) {
			uint32_t rgb;
			bool inside;

			if (!pv_scene_pixel(x, y, picture->width, picture->height, &rgb, &inside)) {
				check.skipped++;
				continue;
			}
			unsigned error = difference(pixel[picture->red_byte], rgb >> 16 & 255);
			const unsigned green_error = difference(pixel[picture->green_byte], rgb >> 8 & 255);
			const unsigned blue_error = difference(pixel[picture->blue_byte], rgb & 255);
			if (green_error > error)
				error = green_error;
			if (blue_error > error)
				error = blue_error;
			unsigned *max_error = inside ? &check.max_error_inside : &check.max_error_outside;
			if (error > *max_error)
				*max_error = error;
			check.wrong += error > (inside ? PV_SCENE_TOLERANCE : 0);
			check.checked++;
		}
	}
	return check;
}

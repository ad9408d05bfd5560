/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include "base/log.h"

#ifndef NDEBUG
void pv_report_never(const char *text, const char *file, int line)
{
	pv_log(PV_LOG_ERROR, "base", "broken invariant: %s (%s:%d)", text, file, line);
}
#endif

static uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

struct pv_rect pv_rect_intersect(const struct pv_rect *a, const struct pv_rect *b)
{
	uint32_t x0 = max_u32(a->x, b->x), x1 = min_u32(a->x + a->width, b->x + b->width);
	uint32_t y0 = max_u32(a->y, b->y), y1 = min_u32(a->y + a->height, b->y + b->height);

	if (x0 >= x1 || y0 >= y1)
		return (struct pv_rect){0};
	return (struct pv_rect){x0, y0, x1 - x0, y1 - y0};
}

struct pv_rect pv_rect_union(const struct pv_rect *a, const struct pv_rect *b)
{
	if (pv_rect_is_empty(a))
		return *b;
	if (pv_rect_is_empty(b))
		return *a;

	uint32_t x0 = min_u32(a->x, b->x), x1 = max_u32(a->x + a->width, b->x + b->width);
	uint32_t y0 = min_u32(a->y, b->y), y1 = max_u32(a->y + a->height, b->y + b->height);
	return (struct pv_rect){x0, y0, x1 - x0, y1 - y0};
}

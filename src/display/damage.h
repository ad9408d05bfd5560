/* SPDX-License-Identifier: MIT */
/*
 * The changed part of a picture as a few rectangles, in place and without allocation. It never forgets a changed pixel;
 * it may add unchanged ones where that saves a rectangle. Rectangles may overlap.
 */
#ifndef PV_DISPLAY_DAMAGE_H
#define PV_DISPLAY_DAMAGE_H

#include "base/base.h"

#define PV_DAMAGE_MAX_RECTS 8

/* Zero-filled is empty. */
struct pv_damage {
	uint32_t nr_rects;
	struct pv_rect rects[PV_DAMAGE_MAX_RECTS];
};

/* An empty `rect` is ignored; x + width and y + height must not wrap. */
void pv_damage_add(struct pv_damage *damage, const struct pv_rect *rect);
/* Takes up to `max_rows` rows off the top of some rectangle; false: nothing is left. */
bool pv_damage_take(struct pv_damage *damage, uint32_t (*max_rows)(uint32_t width), struct pv_rect *out);

/* The smallest rectangle that has all of it. */
struct pv_rect pv_damage_bounds(const struct pv_damage *damage);

static inline void pv_damage_clear(struct pv_damage *damage)
{
	damage->nr_rects = 0;
}

#endif

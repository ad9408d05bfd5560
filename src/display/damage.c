/* SPDX-License-Identifier: MIT */
#include "display/damage.h"

static uint64_t area(const struct pv_rect *r)
{
	return (uint64_t)r->width * r->height;
}

/* Pixels in the union of both that are in neither, or in both: what joining them would cost at most. */
static int64_t cost_of_join(const struct pv_rect *a, const struct pv_rect *b)
{
	struct pv_rect joined = pv_rect_union(a, b);

	return (int64_t)(area(&joined) - area(a)) - (int64_t)area(b);
}

static void remove_at(struct pv_damage *damage, uint32_t i)
{
	damage->rects[i] = damage->rects[--damage->nr_rects];
}

/* The rectangle that `rect` is cheapest to join with. Only called when there is one. */
static uint32_t cheapest(const struct pv_damage *damage, const struct pv_rect *rect, int64_t *cost)
{
	uint32_t best = 0;

	*cost = INT64_MAX;
	for (uint32_t i = 0; i < damage->nr_rects; i++) {
		int64_t c = cost_of_join(&damage->rects[i], rect);
		if (c < *cost) {
			*cost = c;
			best = i;
		}
	}
	return best;
}

void pv_damage_add(struct pv_damage *damage, const struct pv_rect *rect)
{
	struct pv_rect next = *rect;

	if (pv_rect_is_empty(&next))
		return;
	/* A joined rectangle may reach others, so it goes around again; each round has one fewer. */
	while (damage->nr_rects > 0) {
		int64_t cost;
		uint32_t i = cheapest(damage, &next, &cost);

		if (cost > 0 && damage->nr_rects < PV_DAMAGE_MAX_RECTS)
			break;
		next = pv_rect_union(&damage->rects[i], &next);
		remove_at(damage, i);
	}
	damage->rects[damage->nr_rects++] = next;
}

bool pv_damage_take(struct pv_damage *damage, uint32_t (*max_rows)(uint32_t width), struct pv_rect *out)
{
	if (damage->nr_rects == 0)
		return false;
	struct pv_rect *r = &damage->rects[0];
	uint32_t rows = (uint32_t)pv_min_u64(r->height, max_rows(r->width));

	*out = (struct pv_rect){r->x, r->y, r->width, rows};
	r->y += rows;
	r->height -= rows;
	if (r->height == 0)
		remove_at(damage, 0);
	return true;
}

struct pv_rect pv_damage_bounds(const struct pv_damage *damage)
{
	struct pv_rect bounds = {0};

	for (uint32_t i = 0; i < damage->nr_rects; i++)
		bounds = pv_rect_union(&bounds, &damage->rects[i]);
	return bounds;
}

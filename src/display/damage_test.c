/* SPDX-License-Identifier: MIT */
#include "display/damage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIDE 64

static uint32_t rows_limit;

static uint32_t max_rows(uint32_t width)
{
	(void)width;
	return rows_limit;
}

static void paint(uint8_t *map, const struct pv_rect *r)
{
	for (uint32_t y = r->y; y < r->y + r->height; y++)
		memset(map + (size_t)y * SIDE + r->x, 1, r->width);
}

static void nothing_changed_is_lost(void **state)
{
	static uint8_t wanted[SIDE * SIDE], got[SIDE * SIDE];

	(void)state;
	srand(1);
	for (int round = 0; round < 5000; round++) {
		struct pv_damage damage = {0};
		struct pv_rect bounds = {0}, r;

		memset(wanted, 0, sizeof(wanted));
		memset(got, 0, sizeof(got));
		for (int i = rand() % 30; i > 0; i--) {
			r.x = (uint32_t)rand() % SIDE;
			r.y = (uint32_t)rand() % SIDE;
			r.width = (uint32_t)rand() % (SIDE - r.x + 1);
			r.height = (uint32_t)rand() % (SIDE - r.y + 1);
			pv_damage_add(&damage, &r);
			if (!pv_rect_is_empty(&r)) {
				paint(wanted, &r);
				bounds = pv_rect_union(&bounds, &r);
			}
		}
		rows_limit = 1 + (uint32_t)rand() % 7;
		while (pv_damage_take(&damage, max_rows, &r)) {
			assert_true(r.width >= 1 && r.height >= 1 && r.height <= rows_limit);
			assert_true(r.x >= bounds.x && r.x + r.width <= bounds.x + bounds.width);
			assert_true(r.y >= bounds.y && r.y + r.height <= bounds.y + bounds.height);
			paint(got, &r);
		}
		for (int i = 0; i < SIDE * SIDE; i++)
			assert_true(got[i] >= wanted[i]);
	}
}

static void near_ones_stay_apart(void **state)
{
	struct pv_damage damage = {0};
	uint64_t area = 0;

	(void)state;
	for (uint32_t i = 0; i < PV_DAMAGE_MAX_RECTS; i++)
		pv_damage_add(&damage, &(struct pv_rect){i * 11, 0, 10, 10});
	assert_int_equal(damage.nr_rects, PV_DAMAGE_MAX_RECTS);
	for (uint32_t i = 0; i < damage.nr_rects; i++)
		area += (uint64_t)damage.rects[i].width * damage.rects[i].height;
	assert_int_equal(area, 100 * PV_DAMAGE_MAX_RECTS);
	/* One too many joins the two that cost the least. */
	pv_damage_add(&damage, &(struct pv_rect){33, 11, 10, 10});
	assert_int_equal(damage.nr_rects, PV_DAMAGE_MAX_RECTS);
	area = 0;
	for (uint32_t i = 0; i < damage.nr_rects; i++)
		area += (uint64_t)damage.rects[i].width * damage.rects[i].height;
	assert_int_equal(area, 100 * (PV_DAMAGE_MAX_RECTS + 1) + 10);
}

static void neighbours_become_one(void **state)
{
	struct pv_damage damage = {0};

	(void)state;
	for (uint32_t y = 0; y < 100; y++)
		pv_damage_add(&damage, &(struct pv_rect){5, y, 300, 1});
	pv_damage_add(&damage, &(struct pv_rect){6, 7, 8, 9});
	assert_int_equal(damage.nr_rects, 1);
	assert_int_equal(damage.rects[0].height, 100);
	assert_int_equal(damage.rects[0].width, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_changed_is_lost),
	    cmocka_unit_test(near_ones_stay_apart),
	    cmocka_unit_test(neighbours_become_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/id_map.h"
#include "base/log.h"

static void ranges_do_not_wrap(void **state)
{
	(void)state;
	assert_true(pv_range_fits(0, 0, 0));
	assert_true(pv_range_fits(10, 0, 10));
	assert_true(pv_range_fits(4, 6, 10));
	assert_false(pv_range_fits(5, 6, 10));
	assert_false(pv_range_fits(UINT64_MAX, 2, 10));
	assert_false(pv_range_fits(2, UINT64_MAX, 10));

	struct pv_rect wraps = {.x = 0xffffffff, .y = 0, .width = 2, .height = 1};
	assert_false(pv_rect_fits(&wraps, 100, 100));
	assert_true(pv_rect_fits(&(struct pv_rect){99, 99, 1, 1}, 100, 100));
}

static void rect_set_operations(void **state)
{
	(void)state;
	struct pv_rect a = {10, 10, 20, 20}, b = {20, 5, 20, 10}, far_off = {100, 100, 5, 5}, none = {0};
	struct pv_rect both = pv_rect_intersect(&a, &b), hull = pv_rect_union(&a, &b);

	assert_memory_equal(&both, (&(struct pv_rect){20, 10, 10, 5}), sizeof(both));
	assert_memory_equal(&hull, (&(struct pv_rect){10, 5, 30, 25}), sizeof(hull));
	both = pv_rect_intersect(&a, &far_off);
	assert_true(pv_rect_is_empty(&both));
	hull = pv_rect_union(&none, &far_off);
	assert_memory_equal(&hull, &far_off, sizeof(hull));
}

static void id_map_behaves_like_a_table(void **state)
{
	(void)state;
	struct pv_id_map map = {0};
	static char values[4096];
	static bool present[4096];
	uint32_t seed = 1, count = 0;

	/* A reference table of plain booleans against the map, with strided ids that collide in weak hashes. */
	for (int round = 0; round < 200000; round++) {
		seed = seed * 1664525 + 1013904223;
		uint32_t i = (seed >> 8) % 4096, id = (i + 1) * 4096;

		if (present[i]) {
			assert_ptr_equal(pv_id_map_get(&map, id), &values[i]);
			assert_ptr_equal(pv_id_map_remove(&map, id), &values[i]);
			count--;
		} else {
			assert_null(pv_id_map_get(&map, id));
			assert_null(pv_id_map_remove(&map, id));
			assert_int_equal(pv_id_map_add(&map, id, &values[i]), PV_OK);
			count++;
		}
		present[i] = !present[i];
		assert_int_equal(map.count, count);
	}
	assert_null(pv_id_map_get(&map, 0));
	for (uint32_t i = 0; i < 4096; i++)
		assert_ptr_equal(pv_id_map_get(&map, (i + 1) * 4096), present[i] ? &values[i] : NULL);
	uint32_t cursor = 0;
	for (char *value; (value = pv_id_map_any(&map, &cursor));)
		assert_non_null(pv_id_map_remove(&map, (uint32_t)(value - values + 1) * 4096));
	assert_int_equal(map.count, 0);
	pv_id_map_finish(&map);
}

static unsigned lines;
static char last_line[1100];

static void count_line(void *user, enum pv_log_level level, const char *line)
{
	(void)user;
	(void)level;
	lines++;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

static void log_is_limited_and_one_line(void **state)
{
	(void)state;
	pv_log_set_sink(count_line, NULL);
	for (int i = 0; i < 1000; i++)
		PV_LOG_LIMITED(PV_LOG_WARNING, "test", "flood %d", i);
	assert_int_equal(lines, 10);

	pv_log(PV_LOG_ERROR, "test", "two\nlines");
	assert_string_equal(last_line, "pvgpu: error: test: two?lines");

	char big[4000];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	pv_log(PV_LOG_ERROR, "test", "%s", big);
	assert_true(strlen(last_line) < 1024);
	unsigned before = lines;
	pv_log(PV_LOG_DEBUG, "test", "below the level");
	assert_int_equal(lines, before);
	pv_log_set_sink(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ranges_do_not_wrap),
	    cmocka_unit_test(rect_set_operations),
	    cmocka_unit_test(id_map_behaves_like_a_table),
	    cmocka_unit_test(log_is_limited_and_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

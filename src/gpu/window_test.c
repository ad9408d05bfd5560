/* SPDX-License-Identifier: MIT */
#include "gpu/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (1ull << 20)

static void ranges_have_one_owner(void **state)
{
	(void)state;
	struct pv_window w;

	assert_int_equal(pv_window_init(&w, 2 * MIB), PV_OK);
	assert_int_equal(pv_window_take(&w, 0, 0), PV_ERR_GUEST);
	assert_int_equal(pv_window_take(&w, 1, 4096), PV_ERR_GUEST);
	assert_int_equal(pv_window_take(&w, 2 * MIB, 1), PV_ERR_GUEST);
	assert_int_equal(pv_window_take(&w, 4096, 2 * MIB), PV_ERR_GUEST);
	assert_int_equal(pv_window_take(&w, UINT64_MAX - 4095, 8192), PV_ERR_GUEST);
	assert_int_equal(pv_window_take(&w, 4096, UINT64_MAX), PV_ERR_GUEST);
	assert_int_equal(pv_window_take(&w, 0, 2 * MIB), PV_OK);
	assert_int_equal(pv_window_take(&w, 2 * MIB - 4096, 4096), PV_ERR_GUEST);
	pv_window_release(&w, 0, 2 * MIB);
	/* Over a word's edge, and the last byte counts as a page. */
	assert_int_equal(pv_window_take(&w, 60ull * 4096, 8 * 4096 + 1), PV_OK);
	assert_int_equal(w.used_bytes, 9 * 4096);
	for (uint64_t page = 59; page < 70; page++)
		assert_int_equal(pv_window_take(&w, page * 4096, 4096) == PV_OK, page < 60 || page > 68);
	pv_window_release(&w, 60ull * 4096, 8 * 4096 + 1);
	for (uint64_t page = 59; page < 70; page++)
		assert_int_equal(pv_window_take(&w, page * 4096, 4096) == PV_OK, page >= 60 && page <= 68);
	pv_window_finish(&w);
}

/* The same as an array of owners, a random walk. */
static void agrees_with_a_plain_table(void **state)
{
	(void)state;
	enum { PAGES = 512, BLOBS = 64 };
	static uint8_t owner[PAGES];
	struct {
		uint32_t page, pages;
	} blobs[BLOBS] = {0};
	struct pv_window w;
	uint32_t seed = 1;

	assert_int_equal(pv_window_init(&w, PAGES * 4096ull), PV_OK);
	for (int step = 0; step < 20000; step++) {
		seed = seed * 1664525 + 1013904223;
		uint32_t b = seed >> 26, page = seed >> 8 & (PAGES - 1), pages = 1 + (seed >> 17 & 127);

		if (blobs[b].pages) {
			for (uint32_t i = 0; i < blobs[b].pages; i++)
				owner[blobs[b].page + i] = 0;
			pv_window_release(&w, blobs[b].page * 4096ull, blobs[b].pages * 4096ull);
			blobs[b].pages = 0;
			continue;
		}
		bool is_free = page + pages <= PAGES;
		for (uint32_t i = 0; is_free && i < pages; i++)
			is_free = !owner[page + i];
		assert_int_equal(pv_window_take(&w, page * 4096ull, pages * 4096ull) == PV_OK, is_free);
		if (!is_free)
			continue;
		blobs[b].page = page;
		blobs[b].pages = pages;
		for (uint32_t i = 0; i < pages; i++)
			owner[page + i] = 1;
	}
	pv_window_finish(&w);
}

static void no_window_has_no_room(void **state)
{
	(void)state;
	struct pv_window w;

	assert_int_equal(pv_window_init(&w, 0), PV_OK);
	assert_int_equal(w.fd, -1);
	assert_int_equal(pv_window_take(&w, 0, 1), PV_ERR_GUEST);
	pv_window_finish(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ranges_have_one_owner),
	    cmocka_unit_test(agrees_with_a_plain_table),
	    cmocka_unit_test(no_window_has_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

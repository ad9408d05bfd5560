/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_allocations_are_apart_and_aligned(void **state)
{
	struct pv_arena arena = {.max_bytes = 1 << 20};
	uint8_t *previous = NULL;

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		uint8_t *memory = pv_arena_alloc(&arena, i % 50 + 1);

		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % 16, 0);
		assert_ptr_not_equal(memory, previous);
		memset(memory, (int)i, i % 50 + 1);
		if (previous)
			assert_int_equal(*previous, (uint8_t)(i - 1));
		previous = memory;
	}
	pv_arena_finish(&arena);
}

static void test_nothing_is_an_allocation_as_well(void **state)
{
	struct pv_arena arena = {.max_bytes = 1 << 20};

	(void)state;
	assert_non_null(pv_arena_alloc(&arena, 0));
	pv_arena_finish(&arena);
}

static void test_the_limit_holds(void **state)
{
	struct pv_arena arena = {.max_bytes = 100000};
	uint64_t total = 0;

	(void)state;
	assert_null(pv_arena_alloc(&arena, 100001));
	assert_null(pv_arena_alloc(&arena, UINT64_MAX));
	while (pv_arena_alloc(&arena, 1000))
		total += 1000;
	assert_in_range(total, 60000, 100000);
	pv_arena_reset(&arena);
	assert_non_null(pv_arena_alloc(&arena, 1000));
	pv_arena_finish(&arena);
}

static void test_a_steady_load_takes_no_new_memory(void **state)
{
	struct pv_arena arena = {.max_bytes = 1 << 20};
	void *first;

	(void)state;
	for (int i = 0; i < 200; i++)
		assert_non_null(pv_arena_alloc(&arena, 1000));
	pv_arena_reset(&arena);
	first = pv_arena_alloc(&arena, 1000);
	pv_arena_reset(&arena);
	assert_ptr_equal(pv_arena_alloc(&arena, 1000), first);
	pv_arena_finish(&arena);
}

static void test_one_huge_request_is_given_back(void **state)
{
	struct pv_arena arena = {.max_bytes = 1 << 30};

	(void)state;
	assert_non_null(pv_arena_alloc(&arena, 64 << 20));
	pv_arena_reset(&arena);
	assert_int_equal(arena.used_bytes, 0);
	pv_arena_finish(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_allocations_are_apart_and_aligned),
	    cmocka_unit_test(test_nothing_is_an_allocation_as_well),
	    cmocka_unit_test(test_the_limit_holds),
	    cmocka_unit_test(test_a_steady_load_takes_no_new_memory),
	    cmocka_unit_test(test_one_huge_request_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

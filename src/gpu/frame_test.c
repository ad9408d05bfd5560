/* SPDX-License-Identifier: MIT */
/* Frames that are fetched: who waits is told, once, and of what it waited for. */
#include "gpu/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gpu/protocol.h"

enum { SIDE = 64 };

static struct pv_frame *frame;
static struct pv_rect fetched;
static int nr_fetches, nr_refreshes;
static bool can_begin;

struct looker {
	struct pv_frame_waiter waiter;
	int told;
	bool again; /* asks again when it is told */
};

static void told(struct pv_frame_waiter *waiter)
{
	struct looker *looker = PV_CONTAINER_OF(waiter, struct looker, waiter);

	assert_null(waiter->frame);
	looker->told++;
	if (looker->again) {
		looker->again = false;
		(void)!pv_frame_fetch(frame, waiter);
	}
}

static bool fetch(struct pv_frame *self, const struct pv_rect *stale)
{
	assert_ptr_equal(self, frame);
	if (!can_begin)
		return false;
	fetched = *stale;
	nr_fetches++;
	return true;
}

static void refresh(struct pv_frame *self, const struct pv_rect *stale)
{
	assert_ptr_equal(self, frame);
	fetched = *stale;
	nr_refreshes++;
}

static int set_up(void **state)
{
	(void)state;
	nr_fetches = nr_refreshes = 0;
	can_begin = true;
	assert_int_equal(pv_frame_create(SIDE, SIDE, PV_GPU_FORMAT_B8G8R8X8, &frame), PV_OK);
	frame->fetch = fetch;
	frame->refresh = refresh;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_null(frame->waiters);
	pv_frame_unref(frame);
	return 0;
}

static void flush(uint32_t x, uint32_t width)
{
	const struct pv_rect rect = {.x = x, .width = width, .height = 1};

	frame->stale = pv_rect_union(&frame->stale, &rect);
}

static struct looker make_looker(void)
{
	return (struct looker){.waiter.ready = told};
}

static void what_is_up_to_date_is_not_fetched(void **state)
{
	struct looker a = make_looker();

	(void)state;
	assert_true(pv_frame_fetch(frame, &a.waiter));
	assert_int_equal(nr_fetches, 0);
	flush(1, 2);
	assert_false(pv_frame_fetch(frame, &a.waiter));
	pv_frame_fetched(frame);
	assert_int_equal(a.told, 1);
	assert_true(pv_frame_fetch(frame, &a.waiter));
	assert_int_equal(nr_fetches, 1);
	/* Those that need no fetch are as they were. */
	frame->fetch = NULL;
	flush(3, 1);
	assert_true(pv_frame_fetch(frame, &a.waiter));
	assert_int_equal(nr_refreshes, 1);
	assert_int_equal(fetched.x, 3);
}

static void one_fetch_is_under_way_however_often_it_is_flushed(void **state)
{
	struct looker a = make_looker(), b = make_looker(), c = make_looker();

	(void)state;
	flush(8, 8);
	assert_false(pv_frame_fetch(frame, &a.waiter));
	assert_false(pv_frame_fetch(frame, &b.waiter));
	assert_int_equal(fetched.width, 8);
	for (uint32_t i = 0; i < 10; i++)
		flush(20 + i, 2);
	/* Not part of what is under way. */
	assert_false(pv_frame_fetch(frame, &c.waiter));
	assert_int_equal(nr_fetches, 1);
	pv_frame_fetched(frame);
	assert_int_equal(a.told + b.told, 2);
	assert_int_equal(c.told, 0);
	assert_int_equal(nr_fetches, 2);
	assert_int_equal(fetched.x, 20);
	assert_int_equal(fetched.width, 11);
	pv_frame_fetched(frame);
	assert_int_equal(c.told, 1);
	assert_false(frame->fetching);
}

static void who_is_told_may_ask_again(void **state)
{
	struct looker a = make_looker(), b = make_looker();

	(void)state;
	flush(1, 1);
	a.again = true;
	assert_false(pv_frame_fetch(frame, &a.waiter));
	flush(2, 1);
	assert_false(pv_frame_fetch(frame, &b.waiter));
	pv_frame_fetched(frame);
	/* Both wait for the same one now. */
	assert_int_equal(a.told, 1);
	assert_int_equal(b.told, 0);
	assert_int_equal(nr_fetches, 2);
	pv_frame_fetched(frame);
	assert_int_equal(a.told, 2);
	assert_int_equal(b.told, 1);
}

static void who_gives_up_is_not_told(void **state)
{
	struct looker a = make_looker(), b = make_looker();

	(void)state;
	flush(1, 1);
	assert_false(pv_frame_fetch(frame, &a.waiter));
	assert_false(pv_frame_fetch(frame, &b.waiter));
	pv_frame_stop_waiting(&a.waiter);
	pv_frame_stop_waiting(&a.waiter);
	pv_frame_fetched(frame);
	assert_int_equal(a.told, 0);
	assert_int_equal(b.told, 1);
}

static void a_fetch_that_cannot_begin_leaves_it_stale(void **state)
{
	struct looker a = make_looker(), b = make_looker();

	(void)state;
	flush(5, 1);
	can_begin = false;
	assert_true(pv_frame_fetch(frame, &a.waiter));
	assert_int_equal(frame->stale.x, 5);
	can_begin = true;
	assert_false(pv_frame_fetch(frame, &a.waiter));
	flush(6, 1);
	assert_false(pv_frame_fetch(frame, &b.waiter));
	can_begin = false;
	pv_frame_fetched(frame);
	assert_int_equal(a.told + b.told, 2);
	assert_int_equal(frame->stale.x, 6);
}

static void one_that_is_let_go_keeps_nobody_waiting(void **state)
{
	struct looker a = make_looker();

	(void)state;
	flush(1, 1);
	assert_false(pv_frame_fetch(frame, &a.waiter));
	pv_frame_let_go(frame);
	assert_int_equal(a.told, 1);
	flush(1, 1);
	assert_true(pv_frame_fetch(frame, &a.waiter));
	assert_int_equal(nr_fetches, 1);
}

static void who_cannot_wait_has_what_is_under_way_as_well(void **state)
{
	struct looker a = make_looker();

	(void)state;
	pv_frame_refresh(frame);
	assert_int_equal(nr_refreshes, 0);
	flush(1, 1);
	assert_false(pv_frame_fetch(frame, &a.waiter));
	pv_frame_refresh(frame);
	assert_int_equal(nr_refreshes, 1);
	pv_frame_fetched(frame);
	assert_int_equal(a.told, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_is_up_to_date_is_not_fetched, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(one_fetch_is_under_way_however_often_it_is_flushed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(who_is_told_may_ask_again, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(who_gives_up_is_not_told, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_fetch_that_cannot_begin_leaves_it_stale, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(one_that_is_let_go_keeps_nobody_waiting, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(who_cannot_wait_has_what_is_under_way_as_well, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

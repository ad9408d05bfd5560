/* SPDX-License-Identifier: MIT */
#include "base/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/socket.h"

static struct pv_loop *loop;
static struct pv_loop_fd *watches[2];
static int calls;

static int set_up(void **state)
{
	(void)state;
	calls = 0;
	return pv_loop_create(&loop) == PV_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	pv_loop_destroy(loop);
	return 0;
}

/* Whichever of two ready watches runs first removes both: the other must not run. */
static void remove_both(void *user, uint32_t events)
{
	(void)user;
	assert_true(events & PV_LOOP_READ);
	calls++;
	pv_loop_remove_fd(watches[0]);
	pv_loop_remove_fd(watches[1]);
}

static void removed_watch_is_not_called(void **state)
{
	(void)state;
	int fds[2][2];

	for (int i = 0; i < 2; i++) {
		assert_int_equal(pv_notifier_create(fds[i]), PV_OK);
		pv_notifier_raise(fds[i][1]);
		assert_int_equal(pv_loop_add_fd(loop, fds[i][0], PV_LOOP_READ, remove_both, NULL, &watches[i]), PV_OK);
	}
	pv_loop_step(loop, UINT64_MAX);
	pv_loop_step(loop, 0);
	assert_int_equal(calls, 1);
	for (int i = 0; i < 2; i++)
		close(fds[i][0]);
}

static void hang_up_is_reported_without_interest(void *user, uint32_t events)
{
	(void)user;
	assert_true(events & PV_LOOP_HANGUP);
	calls++;
	pv_loop_remove_fd(watches[0]);
}

static void hang_up(void **state)
{
	(void)state;
	int fds[2];

	assert_int_equal(pv_socket_pair(fds), PV_OK);
	assert_int_equal(pv_loop_add_fd(loop, fds[0], 0, hang_up_is_reported_without_interest, NULL, &watches[0]),
			 PV_OK);
	close(fds[1]);
	pv_loop_step(loop, 1000000000);
	assert_int_equal(calls, 1);
	close(fds[0]);
}

static struct pv_loop_timer *timers[3];
static int order[3];

static void timer_expired(void *user)
{
	order[calls++] = (int)(intptr_t)user;
	if ((intptr_t)user == 0)
		pv_loop_remove_timer(timers[2]);
}

static void timers_run_once_and_in_time(void **state)
{
	(void)state;
	uint64_t start = pv_now_ns();

	for (intptr_t i = 0; i < 3; i++)
		assert_int_equal(pv_loop_add_timer(loop, timer_expired, (void *)i, &timers[i]), PV_OK);
	pv_loop_arm_timer(timers[0], start + 1000000);
	pv_loop_arm_timer(timers[1], start + 20000000);
	pv_loop_arm_timer(timers[2], start + 40000000); /* removed by timer 0 */
	while (calls < 2)
		pv_loop_step(loop, UINT64_MAX);
	assert_true(pv_now_ns() - start >= 20000000);
	pv_loop_step(loop, 50000000);
	assert_int_equal(calls, 2);
	assert_int_equal(order[0], 0);
	assert_int_equal(order[1], 1);
	pv_loop_remove_timer(timers[0]);
	pv_loop_remove_timer(timers[1]);
}

#define POSTS 20000

struct posted {
	struct pv_loop_task task;
	_Atomic bool free;
	int from, serial;
};

static int last_serial[2] = {-1, -1};
static int received;

static void posted_run(struct pv_loop_task *task)
{
	struct posted *p = PV_CONTAINER_OF(task, struct posted, task);

	assert_true(pv_loop_is_current(loop));
	assert_int_equal(p->serial, last_serial[p->from] + 1);
	last_serial[p->from] = p->serial;
	if (++received == 2 * POSTS)
		pv_loop_stop(loop);
	atomic_store_explicit(&p->free, true, memory_order_release); /* pairs with post_many() */
}

static void *post_many(void *arg)
{
	static struct posted tasks[2][64];
	int from = (int)(intptr_t)arg;

	for (int i = 0; i < 64; i++)
		atomic_store(&tasks[from][i].free, true);
	for (int i = 0; i < POSTS; i++) {
		struct posted *p = &tasks[from][i % 64];

		while (!atomic_load_explicit(&p->free, memory_order_acquire))
			usleep(1);
		atomic_store(&p->free, false);
		p->task.run = posted_run;
		p->from = from;
		p->serial = i;
		pv_loop_post(loop, &p->task);
	}
	return NULL;
}

static void tasks_arrive_in_order_from_threads(void **state)
{
	(void)state;
	pthread_t threads[2];

	for (intptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
	pv_loop_run(loop);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(received, 2 * POSTS);
}

static void *run_loop(void *arg)
{
	(void)arg;
	pv_loop_run(loop);
	return NULL;
}

static void add_one(void *user)
{
	assert_true(pv_loop_is_current(loop));
	(*(int *)user)++;
}

static void call_waits_for_the_other_thread(void **state)
{
	(void)state;
	pthread_t thread;
	int sum = 0;

	assert_int_equal(pthread_create(&thread, NULL, run_loop, NULL), 0);
	for (int i = 0; i < 1000; i++)
		pv_loop_call(loop, add_one, &sum);
	assert_int_equal(sum, 1000);
	pv_loop_stop(loop);
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(removed_watch_is_not_called, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(hang_up, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(timers_run_once_and_in_time, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(tasks_arrive_in_order_from_threads, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(call_waits_for_the_other_thread, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

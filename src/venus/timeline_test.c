/* SPDX-License-Identifier: MIT */
/* Timelines on a host whose GPU ends its work when the test says so. */
#include "venus/timeline.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/loop.h"
#include "base/thread.h"
#include "venus/device.h"
#include "venus/monitor.h"

static struct pv_loop *loop;
static struct pv_venus_mailbox mailbox;
static struct pv_venus_monitor *monitor;
static struct pv_venus_context *context;

/* ---- The host ---- */

static struct pv_venus_device device;
static struct pv_mutex queue_lock = PV_MUTEX_INITIALIZER;
static _Atomic uint64_t submitted, ended, live_fences;
static _Atomic VkResult submit_result, wait_result;
static bool in_queue; /* guarded by queue_lock: the queue is used by one thread at a time */

static VkResult VKAPI_CALL create_fence(VkDevice handle, const VkFenceCreateInfo *info,
					const VkAllocationCallbacks *allocator, VkFence *out)
{
	(void)handle;
	(void)info;
	(void)allocator;
	void *serial = calloc(1, sizeof(uint64_t));

	*out = serial;
	atomic_fetch_add(&live_fences, 1);
	return serial ? VK_SUCCESS : VK_ERROR_OUT_OF_HOST_MEMORY;
}

static void VKAPI_CALL destroy_fence(VkDevice handle, VkFence fence, const VkAllocationCallbacks *allocator)
{
	(void)handle;
	(void)allocator;
	atomic_fetch_sub(&live_fences, 1);
	free((void *)fence);
}

static VkResult VKAPI_CALL queue_submit(VkQueue queue, uint32_t count, const VkSubmitInfo *infos, VkFence fence)
{
	(void)queue;
	(void)count;
	(void)infos;
	in_queue = !in_queue;
	if (!in_queue)
		abort();
	if (fence && submit_result == VK_SUCCESS)
		*(uint64_t *)(void *)fence = atomic_fetch_add(&submitted, 1) + 1;
	in_queue = !in_queue;
	return submit_result;
}

static VkResult VKAPI_CALL wait_for_fences(VkDevice handle, uint32_t count, const VkFence *list, VkBool32 all,
					   uint64_t timeout_ns)
{
	uint64_t until = pv_now_ns() + pv_min_u64(timeout_ns, 20000000);

	(void)handle;
	(void)count;
	(void)all;
	do {
		if (wait_result != VK_SUCCESS)
			return wait_result;
		if (atomic_load(&ended) >= *(const uint64_t *)(const void *)list[0])
			return VK_SUCCESS;
		pv_thread_sleep_ns(timeout_ns ? 200000 : 0);
	} while (pv_now_ns() < until);
	return VK_TIMEOUT;
}

/* ---- The renderer ---- */

static struct fence {
	struct pv_venus_fence base;
	uint32_t order; /* 0: not yet */
} fences[8];
static uint32_t nr_signalled;

static void signalled(struct pv_venus_mail *mail)
{
	struct fence *fence = PV_CONTAINER_OF(mail, struct fence, base.mail);

	assert_true(pv_loop_is_current(loop));
	assert_int_equal(fence->order, 0);
	fence->order = ++nr_signalled;
}

static void no_command(struct pv_venus_decoder *decoder)
{
	(void)decoder;
}

static int set_up(void **state)
{
	struct pv_venus_context_params params = {.id = 1, .name = "test", .execute = no_command, .mailbox = &mailbox};

	(void)state;
	device.fn.CreateFence = create_fence;
	device.fn.DestroyFence = destroy_fence;
	device.fn.QueueSubmit = queue_submit;
	device.fn.WaitForFences = wait_for_fences;
	submitted = ended = live_fences = 0;
	submit_result = wait_result = VK_SUCCESS;
	nr_signalled = 0;
	for (size_t i = 0; i < PV_ARRAY_LEN(fences); i++)
		fences[i] = (struct fence){.base.mail.deliver = signalled};
	if (pv_loop_create(&loop) != PV_OK || pv_venus_monitor_create(&monitor) != PV_OK)
		return -1;
	pv_venus_mailbox_init(&mailbox, loop);
	params.monitor = monitor;
	return pv_venus_context_create(&params, &context) == PV_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	pv_venus_context_release(context);
	pv_loop_step(loop, 0);
	pv_venus_context_free(context);
	pv_venus_mailbox_finish(&mailbox);
	pv_venus_monitor_destroy(monitor);
	pv_loop_destroy(loop);
	return atomic_load(&live_fences) == 0 ? 0 : -1;
}

static struct pv_venus_timeline *bind(uint32_t ring_idx, enum pv_status expected)
{
	const struct pv_venus_timeline_params params = {
	    .context = context,
	    .device = &device,
	    .queue = VK_NULL_HANDLE,
	    .queue_lock = &queue_lock,
	    .ring_idx = ring_idx,
	};
	struct pv_venus_timeline *timeline = NULL;

	assert_int_equal(pv_venus_timeline_create(&params, &timeline), expected);
	return timeline;
}

static void wait_until_signalled(uint32_t count)
{
	uint64_t give_up_ns = pv_now_ns() + UINT64_C(10000000000);

	while (nr_signalled < count && pv_now_ns() < give_up_ns)
		pv_loop_step(loop, 1000000);
	assert_int_equal(nr_signalled, count);
}

static void wait_until_submitted(uint64_t count)
{
	uint64_t give_up_ns = pv_now_ns() + UINT64_C(10000000000);

	while (atomic_load(&submitted) < count && pv_now_ns() < give_up_ns)
		pv_thread_sleep_ns(100000);
	assert_int_equal(atomic_load(&submitted), count);
}

/* ---- Tests ---- */

static void fences_signal_in_order(void **state)
{
	(void)state;
	struct pv_venus_timeline *timeline = bind(1, PV_OK);

	for (int i = 0; i < 5; i++)
		assert_true(pv_venus_timeline_add(context, 1, &fences[i].base));
	/* The timeline's thread may be busy with the first: at the latest the next submission marks the rest. */
	pv_mutex_lock(&queue_lock);
	pv_venus_timeline_submit_pending(timeline);
	pv_mutex_unlock(&queue_lock);
	wait_until_submitted(5);
	for (int i = 0; i < 20; i++)
		pv_loop_step(loop, 1000000);
	assert_int_equal(nr_signalled, 0);
	atomic_store(&ended, 2);
	wait_until_signalled(2);
	atomic_store(&ended, 5);
	wait_until_signalled(5);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(fences[i].order, i + 1);
	pv_venus_timeline_destroy(timeline);
}

static void bindings(void **state)
{
	(void)state;
	struct pv_venus_timeline *first = bind(3, PV_OK), *second = bind(63, PV_OK);

	assert_null(bind(3, PV_ERR_GUEST));
	assert_null(bind(0, PV_ERR_GUEST));
	assert_null(bind(64, PV_ERR_GUEST));
	assert_false(pv_venus_timeline_add(context, 4, &fences[0].base));
	assert_false(pv_venus_timeline_add(context, 64, &fences[0].base));
	pv_venus_timeline_destroy(first);
	assert_false(pv_venus_timeline_add(context, 3, &fences[0].base));
	first = bind(3, PV_OK);
	atomic_store(&ended, 1);
	assert_true(pv_venus_timeline_add(context, 3, &fences[0].base));
	wait_until_signalled(1);
	pv_venus_timeline_destroy(first);
	pv_venus_timeline_destroy(second);
	pv_venus_timeline_destroy(NULL);
}

/* While a ring's thread is inside vkQueueSubmit the device thread does not wait for it, and the next in line submits.
 */
static void a_busy_queue_blocks_nobody(void **state)
{
	(void)state;
	struct pv_venus_timeline *timeline = bind(1, PV_OK);

	pv_mutex_lock(&queue_lock);
	assert_true(pv_venus_timeline_add(context, 1, &fences[0].base));
	assert_true(pv_venus_timeline_add(context, 1, &fences[1].base));
	assert_int_equal(atomic_load(&submitted), 0);
	pv_venus_timeline_submit_pending(timeline);
	assert_int_equal(atomic_load(&submitted), 2);
	pv_venus_timeline_submit_pending(timeline);
	assert_int_equal(atomic_load(&submitted), 2);
	pv_mutex_unlock(&queue_lock);
	atomic_store(&ended, 2);
	wait_until_signalled(2);
	assert_int_equal(fences[0].order, 1);
	pv_venus_timeline_destroy(timeline);
}

static void a_lost_device_signals_at_once(void **state)
{
	(void)state;
	struct pv_venus_timeline *timeline = bind(1, PV_OK);

	assert_true(pv_venus_timeline_add(context, 1, &fences[0].base));
	wait_until_submitted(1);
	wait_result = VK_ERROR_DEVICE_LOST;
	wait_until_signalled(1);
	submit_result = VK_ERROR_DEVICE_LOST;
	assert_true(pv_venus_timeline_add(context, 1, &fences[1].base));
	wait_until_signalled(2);
	pv_venus_timeline_destroy(timeline);
}

static void what_is_pending_at_the_end_is_signalled(void **state)
{
	(void)state;
	struct pv_venus_timeline *timeline = bind(1, PV_OK);

	for (int i = 0; i < 3; i++)
		assert_true(pv_venus_timeline_add(context, 1, &fences[i].base));
	/* As vkDeviceWaitIdle would have it. */
	atomic_store(&ended, 100);
	pv_venus_timeline_destroy(timeline);
	wait_until_signalled(3);
}

static _Atomic bool stop;

static void *ring(void *user)
{
	struct pv_venus_timeline *timeline = user;

	while (!atomic_load(&stop)) {
		pv_mutex_lock(&queue_lock);
		pv_venus_timeline_submit_pending(timeline);
		(void)queue_submit(VK_NULL_HANDLE, 1, NULL, VK_NULL_HANDLE);
		pv_mutex_unlock(&queue_lock);
		atomic_store(&ended, atomic_load(&submitted));
		pv_thread_sleep_ns(1000);
	}
	return NULL;
}

static void a_ring_submits_at_the_same_time(void **state)
{
	(void)state;
	struct pv_venus_timeline *timeline = bind(1, PV_OK);
	pthread_t thread;

	atomic_store(&stop, false);
	assert_int_equal(pv_thread_create("ring", ring, timeline, &thread), PV_OK);
	for (int round = 0; round < 300; round++) {
		nr_signalled = 0;
		for (size_t i = 0; i < PV_ARRAY_LEN(fences); i++) {
			fences[i].order = 0;
			assert_true(pv_venus_timeline_add(context, 1, &fences[i].base));
		}
		wait_until_signalled(PV_ARRAY_LEN(fences));
		for (uint32_t i = 0; i < PV_ARRAY_LEN(fences); i++)
			assert_int_equal(fences[i].order, i + 1);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	pv_venus_timeline_destroy(timeline);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(fences_signal_in_order),
	    TEST(bindings),
	    TEST(a_busy_queue_blocks_nobody),
	    TEST(a_lost_device_signals_at_once),
	    TEST(what_is_pending_at_the_end_is_signalled),
	    TEST(a_ring_submits_at_the_same_time),
	};
#undef TEST

	return cmocka_run_group_tests_name("timeline", tests, NULL, NULL);
}

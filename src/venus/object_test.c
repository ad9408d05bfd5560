/* SPDX-License-Identifier: MIT */
#include "venus/object.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/loop.h"
#include "venus/decoder.h"
#include "venus/resource.h"

static struct pv_venus_object_table *table;

static int set_up(void **state)
{
	(void)state;
	return pv_venus_object_table_create(&table) == PV_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	pv_venus_object_table_destroy(table);
	return 0;
}

static struct pv_venus_object *add(uint64_t id, enum pv_venus_type type, struct pv_venus_object *owner)
{
	const struct pv_venus_object_info info = {.id = id, .handle = id * 3, .type = type, .owner = owner};
	struct pv_venus_object *object;

	assert_int_equal(pv_venus_object_add(table, &info, &object), PV_OK);
	return object;
}

static bool take(struct pv_venus_object *object)
{
	struct pv_venus_object_info removed;

	return pv_venus_object_remove(table, object, &removed);
}

static void what_is_added_is_found_until_removed(void **state)
{
	(void)state;
	/* Past several growths; ids dense, like addresses, and random. */
	static const size_t count = 20000;
	uint64_t *ids = malloc(3 * count * sizeof(*ids));
	uint64_t random = 1;

	assert_non_null(ids);
	for (uint64_t i = 0; i < count; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		ids[3 * i] = i + 1;
		ids[3 * i + 1] = 0x7f1200000000u + i * 48;
		ids[3 * i + 2] = random | UINT64_C(1) << 63;
	}
	for (size_t i = 0; i < 3 * count; i++)
		(void)add(ids[i], PV_VENUS_IMAGE, NULL);
	assert_int_equal(pv_venus_object_count(table), 3 * count);
	for (size_t i = 0; i < 3 * count; i++) {
		struct pv_venus_object *object = pv_venus_object_find(table, ids[i]);

		assert_non_null(object);
		assert_int_equal(object->id, ids[i]);
		assert_int_equal(object->handle, ids[i] * 3);
		if (i % 2)
			assert_true(take(object));
	}
	for (size_t i = 0; i < 3 * count; i++)
		assert_int_equal(pv_venus_object_find(table, ids[i]) != NULL, i % 2 == 0);
	assert_int_equal(pv_venus_object_count(table), 3 * count / 2);
	assert_null(pv_venus_object_find(table, 0x123456789));
	free(ids);
}

static void ids_are_unique(void **state)
{
	(void)state;
	const struct pv_venus_object_info info = {.id = 7, .type = PV_VENUS_BUFFER};
	struct pv_venus_object *object = add(7, PV_VENUS_IMAGE, NULL), *second = NULL;

	assert_int_equal(pv_venus_object_add(table, &info, &second), PV_ERR_GUEST);
	assert_null(second);
	assert_true(take(object));
	assert_false(take(object));
	assert_int_equal(pv_venus_object_add(table, &info, &second), PV_OK);
	/* A stale pointer must never come to mean an object of another type. */
	assert_ptr_not_equal(object, second);
	assert_int_equal(object->type, PV_VENUS_IMAGE);
	assert_ptr_equal(object, add(8, PV_VENUS_IMAGE, NULL));
}

static void there_is_a_limit(void **state)
{
	(void)state;
	const struct pv_venus_object_info info = {.id = PV_VENUS_MAX_OBJECTS + 1, .type = PV_VENUS_FENCE};
	struct pv_venus_object *object = NULL;

	for (uint64_t id = 1; id <= PV_VENUS_MAX_OBJECTS; id++)
		object = add(id, PV_VENUS_FENCE, NULL);
	assert_true(take(object));
	object = add(PV_VENUS_MAX_OBJECTS, PV_VENUS_FENCE, NULL);
	assert_int_equal(pv_venus_object_add(table, &info, &object), PV_ERR_NO_MEMORY);
}

static void children_go_leaves_first(void **state)
{
	(void)state;
	struct pv_venus_object *device = add(1, PV_VENUS_DEVICE, NULL);
	struct pv_venus_object *pool = add(2, PV_VENUS_DESCRIPTOR_POOL, device);
	struct pv_venus_object_info info;
	bool pool_gone = false;
	unsigned sets = 0, images = 0;

	for (uint64_t id = 10; id < 20; id++) {
		(void)add(id, PV_VENUS_DESCRIPTOR_SET, pool);
		(void)add(id + 10, PV_VENUS_IMAGE, device);
	}
	/* From the middle, the front and the end of their owners' lists. */
	for (uint64_t id = 10; id < 30; id += id == 15 ? 4 : 5)
		assert_true(take(pv_venus_object_find(table, id)));

	assert_true(take(device));
	/* Gone, but not for its children: it takes no more, and its memory is not reused. */
	assert_null(pv_venus_object_find(table, 1));
	info = (struct pv_venus_object_info){.id = 99, .type = PV_VENUS_IMAGE, .owner = device};
	assert_int_equal(pv_venus_object_add(table, &info, &(struct pv_venus_object *){NULL}), PV_ERR_GUEST);
	assert_ptr_not_equal(add(3, PV_VENUS_DEVICE, NULL), device);

	while (pv_venus_object_remove_child(table, device, &info)) {
		if (info.type == PV_VENUS_DESCRIPTOR_SET) {
			assert_false(pool_gone);
			assert_ptr_equal(info.owner, pool);
			sets++;
		} else if (info.type == PV_VENUS_DESCRIPTOR_POOL) {
			pool_gone = true;
			assert_int_equal(info.handle, 6);
		} else {
			images++;
		}
		assert_null(pv_venus_object_find(table, info.id));
	}
	assert_true(pool_gone);
	assert_int_equal(sets, 7);
	assert_int_equal(images, 8);
	assert_int_equal(pv_venus_object_count(table), 1);
	/* The last child freed it. */
	assert_ptr_equal(add(4, PV_VENUS_DEVICE, NULL), device);
}

/* ---- Several threads ---- */

#define THREADS   4
#define ROUNDS    20000
#define PERMANENT 512

static _Atomic bool failed;

/*
 * Each thread has objects of its own, which must be found while they live and not after, next to others that are always
 * there; and looks for the others' objects, of which it may see anything but a wrong id's data.
 */
static void *churn(void *user)
{
	uint64_t first = (uint64_t)(uintptr_t)user * 1000000, random = first;
	struct pv_venus_object_cache *cache = calloc(1, sizeof(*cache));

	for (uint64_t i = 0; i < ROUNDS && cache; i++) {
		struct pv_venus_object_info info = {.id = first + 1 + i, .handle = 5, .type = PV_VENUS_BUFFER};
		struct pv_venus_object *object, *found;

		if (pv_venus_object_add(table, &info, &object) != PV_OK ||
		    pv_venus_object_find_cached(table, cache, info.id) != object)
			failed = true;
		random = random * 6364136223846793005u + 1442695040888963407u;
		found = pv_venus_object_find_cached(table, cache, 1 + (random >> 40) % PERMANENT);
		if (!found || found->type != PV_VENUS_IMAGE || found->handle != 7)
			failed = true;
		found = pv_venus_object_find_cached(table, cache, ((random >> 33) % THREADS + 1) * 1000000 + 1 + i);
		if (found && (found->type != PV_VENUS_BUFFER || found->handle != 5))
			failed = true;
		/* A third stays until the end, so that the table grows meanwhile. */
		if (i % 3 && !take(object))
			failed = true;
		if (i % 3 && pv_venus_object_find_cached(table, cache, info.id))
			failed = true;
	}
	free(cache);
	return NULL;
}

static void threads_do_not_disturb_each_other(void **state)
{
	(void)state;
	pthread_t threads[THREADS];

	for (uint64_t id = 1; id <= PERMANENT; id++) {
		const struct pv_venus_object_info info = {.id = id, .handle = 7, .type = PV_VENUS_IMAGE};

		assert_int_equal(pv_venus_object_add(table, &info, &(struct pv_venus_object *){NULL}), PV_OK);
	}
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_false(failed);
	assert_int_equal(pv_venus_object_count(table), PERMANENT + THREADS * ((ROUNDS + 2) / 3));
}

/*
 * Two threads destroy and make objects of the same ids, as rings do that do not know of each other: what the host has
 * made is destroyed once, whatever the object was when the thread looked it up.
 */
#define SAME_IDS 3

static _Atomic uint32_t destroyed[2 * ROUNDS + 1];

static void *destroy_and_make(void *user)
{
	uint64_t first = (uintptr_t)user;
	struct pv_venus_object *object;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		struct pv_venus_object_info info = {
		    .id = 1 + i % SAME_IDS, .type = PV_VENUS_FENCE, .handle = first + i};
		struct pv_venus_object_info removed;

		object = pv_venus_object_find(table, info.id);
		if (i % 8 == 0)
			sched_yield();
		if (object && pv_venus_object_remove(table, object, &removed))
			atomic_fetch_add(&destroyed[removed.handle], 1);
		/* The host has made it; another thread may have the id. */
		if (pv_venus_object_add(table, &info, &object) != PV_OK)
			atomic_fetch_add(&destroyed[info.handle], 1);
	}
	return NULL;
}

static void each_is_destroyed_once(void **state)
{
	(void)state;
	struct pv_venus_object_info removed;
	pthread_t threads[2];

	memset(destroyed, 0, sizeof(destroyed));
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, destroy_and_make, (void *)(1 + i * ROUNDS)), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (uint64_t id = 1; id <= SAME_IDS; id++) {
		struct pv_venus_object *object = pv_venus_object_find(table, id);

		if (object && pv_venus_object_remove(table, object, &removed))
			destroyed[removed.handle]++;
	}
	for (size_t i = 1; i <= (size_t)2 * ROUNDS; i++)
		assert_int_equal(destroyed[i], 1);
	assert_int_equal(pv_venus_object_count(table), 0);
}

/* ---- The decoder's use of it ---- */

static void lookups_of_a_decoder(void **state)
{
	(void)state;
	struct pv_venus_decoder *d = calloc(1, sizeof(*d));
	struct pv_venus_object *device = add(1, PV_VENUS_DEVICE, NULL), *object;

	assert_non_null(d);
	d->objects = table;
	assert_int_equal(pv_venus_lookup(d, 1, PV_VENUS_DEVICE, "device"), 3);
	assert_int_equal(pv_venus_lookup(d, 0, PV_VENUS_DEVICE, "device"), 0);
	assert_false(d->failed);
	assert_int_equal(pv_venus_lookup(d, 1, PV_VENUS_IMAGE, "image"), 0);
	assert_true(d->failed);
	assert_string_equal(d->failed_field, "image");
	/* The first reason stays. */
	assert_int_equal(pv_venus_lookup(d, 5, PV_VENUS_IMAGE, "other"), 0);
	assert_string_equal(d->failed_field, "image");
	assert_int_equal(d->failed_value, 1);

	d->failed = false;
	assert_int_equal(pv_venus_lookup(d, 5, PV_VENUS_IMAGE, "other"), 0);
	assert_true(d->failed);

	/* A failed create that the guest does not hear of leaves a tombstone. */
	d->failed = false;
	pv_venus_check_new_id(d, 5, "pImage");
	assert_false(d->failed);
	assert_true(pv_venus_created(d, PV_VENUS_IMAGE, 5, 0xdead, -2, device));
	object = pv_venus_lookup_object(d, 5, PV_VENUS_IMAGE, "image");
	assert_non_null(object);
	assert_int_equal(object->handle, 0);
	assert_true(d->tombstone);
	assert_false(d->failed);
	pv_venus_check_new_id(d, 5, "pImage");
	assert_true(d->failed);

	/* One that it hears of leaves nothing; of several pipelines those that were made are there. */
	d->failed = d->tombstone = false;
	d->command_flags = PV_VENUS_GENERATE_REPLY;
	assert_true(pv_venus_created(d, PV_VENUS_IMAGE, 6, 0xdead, -2, device));
	assert_null(pv_venus_object_find(table, 6));
	assert_true(pv_venus_created(d, PV_VENUS_PIPELINE, 7, 0xbeef, -2, device));
	assert_int_equal(pv_venus_lookup(d, 7, PV_VENUS_PIPELINE, "pipeline"), 0xbeef);
	assert_false(d->failed || d->tombstone);

	assert_false(pv_venus_created(d, PV_VENUS_IMAGE, 5, 0xbeef, 0, device));
	assert_true(d->failed);
	d->failed = false;
	pv_venus_check_new_id(d, 0, "pImage");
	assert_true(d->failed);
	free(d);
}

/* Not a test of correctness: says what a look-up costs. PVGPU_BENCH=1. */
static void cost(void **state)
{
	(void)state;
	enum { COUNT = 4096, LOOKUPS = 20000000 };
	struct pv_venus_object_cache *cache = calloc(1, sizeof(*cache));
	uint64_t sum = 0, start, random = 1;

	assert_non_null(cache);
	if (!getenv("PVGPU_BENCH")) {
		free(cache);
		skip();
	}
	for (uint64_t id = 1; id <= COUNT; id++)
		(void)add(id, PV_VENUS_IMAGE, NULL);
	start = pv_now_ns();
	for (uint64_t i = 0; i < LOOKUPS; i++)
		sum += pv_venus_object_find(table, 1 + i % 64)->handle;
	printf("# few objects, table: %.2f ns\n", (double)(pv_now_ns() - start) / LOOKUPS);
	start = pv_now_ns();
	for (uint64_t i = 0; i < LOOKUPS; i++)
		sum += pv_venus_object_find_cached(table, cache, 1 + i % 64)->handle;
	printf("# few objects, cached: %.2f ns\n", (double)(pv_now_ns() - start) / LOOKUPS);
	start = pv_now_ns();
	for (uint64_t i = 0; i < LOOKUPS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		sum += pv_venus_object_find_cached(table, cache, 1 + (random >> 33) % COUNT)->handle;
	}
	printf("# any of %d, cached: %.2f ns (%llu)\n", COUNT, (double)(pv_now_ns() - start) / LOOKUPS,
	       (unsigned long long)sum);
	free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_is_added_is_found_until_removed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(ids_are_unique, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(there_is_a_limit, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(children_go_leaves_first, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(threads_do_not_disturb_each_other, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(each_is_destroyed_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(lookups_of_a_decoder, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(cost, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("object", tests, NULL, NULL);
}

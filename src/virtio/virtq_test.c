/* SPDX-License-Identifier: MIT */
#include "virtio/virtq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

/* A driver's side, in one array of guest memory that starts at guest address BASE. */
#define BASE       0x10000000ull
#define QUEUE_SIZE 8

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static struct {
	struct desc desc[QUEUE_SIZE];
	struct {
		uint16_t flags, idx, ring[QUEUE_SIZE], used_event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE_SIZE];
		uint16_t avail_event;
	} used;
	struct desc table[16];
	char data[256];
} guest __attribute__((aligned(64)));

static struct pv_guest_map *map;
static struct pv_virtq q;
static struct pv_virtq_chain chain;

static uint64_t address(const void *p)
{
	return BASE + (uint64_t)((const char *)p - (const char *)&guest);
}

static void start(uint64_t features)
{
	const struct pv_virtq_layout layout = {QUEUE_SIZE, address(guest.desc), address(&guest.avail),
					       address(&guest.used)};

	assert_int_equal(pv_virtq_start(&q, &layout, 0, features, map), PV_OK);
}

static int set_up(void **state)
{
	(void)state;
	struct pv_guest_region *region;

	memset(&guest, 0, sizeof(guest));
	if (pv_guest_region_create(
		&(struct pv_guest_region_params){
		    .guest_addr = BASE, .size_bytes = sizeof(guest), .fd = -1, .memory = &guest},
		&region) != PV_OK ||
	    pv_guest_map_create(&region, 1, &map) != PV_OK)
		return -1;
	pv_guest_region_unref(region);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pv_virtq_stop(&q);
	pv_guest_map_unref(map);
	return 0;
}

static void give_back(uint16_t head, uint32_t len)
{
	pv_virtq_push(&q, head, len);
	pv_virtq_publish(&q);
}

static void announce(uint16_t head)
{
	guest.avail.ring[guest.avail.idx % QUEUE_SIZE] = head;
	guest.avail.idx++;
}

static void chains_come_in_order_and_go_back(void **state)
{
	(void)state;
	start(0);
	guest.desc[3] = (struct desc){address(guest.data), 10, NEXT, 5};
	guest.desc[5] = (struct desc){address(guest.data + 10), 6, NEXT | WRITE, 1};
	guest.desc[1] = (struct desc){address(guest.data + 16), 4, WRITE, 0};
	assert_int_equal(pv_virtq_pop(&q, &chain), PV_PENDING);
	announce(3);
	assert_int_equal(pv_virtq_pop(&q, &chain), PV_OK);
	assert_int_equal(chain.head, 3);
	assert_int_equal(chain.nr_readable, 1);
	assert_int_equal(chain.nr_writable, 2);
	assert_int_equal(chain.readable_len, 10);
	assert_int_equal(chain.writable_len, 10);
	assert_int_equal(chain.spans[2].addr, address(guest.data + 16));

	/* Many times round: the 16-bit indices wrap. */
	give_back(3, 7);
	for (int i = 0; i < 70000; i++) {
		announce(1);
		assert_int_equal(pv_virtq_pop(&q, &chain), PV_OK);
		give_back(chain.head, 1);
		assert_true(pv_virtq_needs_interrupt(&q));
		assert_int_equal(guest.used.idx, guest.avail.idx);
	}
	assert_int_equal(guest.used.ring[0].id, 1);
	assert_int_equal(pv_virtq_stop(&q), guest.avail.idx);
}

static void indirect_tables_are_followed(void **state)
{
	(void)state;
	start(PV_VIRTIO_RING_F_INDIRECT_DESC);
	guest.desc[0] = (struct desc){address(guest.table), 3 * sizeof(struct desc), INDIRECT, 0};
	guest.table[0] = (struct desc){address(guest.data), 1, NEXT, 2};
	guest.table[2] = (struct desc){address(guest.data), 2, NEXT, 1};
	guest.table[1] = (struct desc){address(guest.data), 3, WRITE, 0};
	announce(0);
	assert_int_equal(pv_virtq_pop(&q, &chain), PV_OK);
	assert_int_equal(chain.readable_len, 3);
	assert_int_equal(chain.writable_len, 3);
}

static void impossible_chains_break_the_queue(void **state)
{
	(void)state;
	const struct desc good = {address(guest.data), 4, 0, 0};
	const struct {
		const char *what;
		struct desc desc[3], table[3];
		uint16_t head;
	} cases[] = {
	    {"loop", {{BASE, 4, NEXT, 1}, {BASE, 4, NEXT, 0}}, {{0}}, 0},
	    {"head behind the table", {{0}}, {{0}}, QUEUE_SIZE},
	    {"next behind the table", {{BASE, 4, NEXT, QUEUE_SIZE}}, {{0}}, 0},
	    {"readable after writable", {{BASE, 4, NEXT | WRITE, 1}, {BASE, 4, 0, 0}}, {{0}}, 0},
	    {"odd table length", {{address(guest.table), 17, INDIRECT, 0}}, {good}, 0},
	    {"empty table", {{address(guest.table), 0, INDIRECT, 0}}, {good}, 0},
	    {"huge table", {{address(guest.table), 0xfffffff0, INDIRECT, 0}}, {good}, 0},
	    {"table outside memory", {{0x10, 16, INDIRECT, 0}}, {good}, 0},
	    {"table address wraps", {{UINT64_MAX - 8, 16, INDIRECT, 0}}, {good}, 0},
	    {"indirect and next", {{address(guest.table), 16, INDIRECT | NEXT, 1}}, {good}, 0},
	    {"indirect in indirect",
	     {{address(guest.table), 16, INDIRECT, 0}},
	     {{address(guest.table), 16, INDIRECT, 0}},
	     0},
	    {"loop in a table", {{address(guest.table), 32, INDIRECT, 0}}, {{BASE, 4, NEXT, 1}, {BASE, 4, NEXT, 0}}, 0},
	    {"next behind a table", {{address(guest.table), 16, INDIRECT, 0}}, {{BASE, 4, NEXT, 1}}, 0},
	};

	pv_log_set_level(PV_LOG_ERROR);
	for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
		memset(&guest, 0, sizeof(guest));
		start(PV_VIRTIO_RING_F_INDIRECT_DESC);
		memcpy(guest.desc, cases[i].desc, sizeof(cases[i].desc));
		memcpy(guest.table, cases[i].table, sizeof(cases[i].table));
		announce(cases[i].head);
		if (pv_virtq_pop(&q, &chain) != PV_ERR_GUEST)
			fail_msg("%s was taken", cases[i].what);
		/* Stays broken, and silent, until the next start. */
		guest.desc[0] = good;
		announce(0);
		assert_int_equal(pv_virtq_pop(&q, &chain), PV_ERR_GUEST);
		give_back(0, 0);
		assert_int_equal(guest.used.idx, 0);
		assert_false(pv_virtq_needs_interrupt(&q));
	}

	memset(&guest, 0, sizeof(guest));
	start(0);
	guest.desc[0] = (struct desc){address(guest.table), 16, INDIRECT, 0};
	announce(0);
	assert_int_equal(pv_virtq_pop(&q, &chain), PV_ERR_GUEST); /* not negotiated */

	memset(&guest, 0, sizeof(guest));
	start(0);
	guest.avail.idx = QUEUE_SIZE + 1;
	assert_int_equal(pv_virtq_pop(&q, &chain), PV_ERR_GUEST);
}

static void impossible_rings_are_refused(void **state)
{
	(void)state;
	const uint64_t d = address(guest.desc), a = address(&guest.avail), u = address(&guest.used);
	const struct pv_virtq_layout layouts[] = {
	    {0, d, a, u},
	    {7, d, a, u},
	    {2048, d, a, u},
	    {QUEUE_SIZE, d, 0, u},
	    {QUEUE_SIZE, d, a, u + 1},
	    {QUEUE_SIZE, UINT64_MAX, a, u},
	    {QUEUE_SIZE, d, a + 1, u},
	    {QUEUE_SIZE, d, a, BASE + sizeof(guest) - 8},
	};

	for (size_t i = 0; i < PV_ARRAY_LEN(layouts); i++)
		assert_int_equal(pv_virtq_start(&q, &layouts[i], 0, 0, map), PV_ERR_GUEST);
	assert_int_equal(pv_virtq_pop(&q, &chain), PV_PENDING);
	assert_false(pv_virtq_enable_doorbell(&q));
	assert_int_equal(pv_virtq_start(&q, &(struct pv_virtq_layout){QUEUE_SIZE, d, a, u}, 0, 0, NULL), PV_ERR_GUEST);
}

static void event_idx_interrupts_when_it_is_passed(void **state)
{
	(void)state;
	start(PV_VIRTIO_RING_F_EVENT_IDX);
	guest.desc[0] = (struct desc){address(guest.data), 4, WRITE, 0};

	guest.avail.used_event = 0;
	give_back(0, 0);
	assert_true(pv_virtq_needs_interrupt(&q));
	guest.avail.used_event = 2; /* wants to hear after the third */
	give_back(0, 0);
	assert_false(pv_virtq_needs_interrupt(&q));
	give_back(0, 0);
	assert_true(pv_virtq_needs_interrupt(&q));
	give_back(0, 0);
	assert_false(pv_virtq_needs_interrupt(&q));

	/* The doorbell: we say where we are, and notice what slipped in. */
	assert_false(pv_virtq_enable_doorbell(&q));
	assert_int_equal(guest.used.avail_event, 0);
	announce(0);
	assert_true(pv_virtq_enable_doorbell(&q));
	assert_int_equal(pv_virtq_pop(&q, &chain), PV_OK);
	assert_false(pv_virtq_enable_doorbell(&q));
	assert_int_equal(guest.used.avail_event, 1);
}

static void the_driver_sees_what_is_published(void **state)
{
	(void)state;
	start(0);
	pv_virtq_push(&q, 3, 1);
	pv_virtq_push(&q, 5, 2);
	assert_int_equal(guest.used.idx, 0);
	pv_virtq_publish(&q);
	assert_int_equal(guest.used.idx, 2);
	assert_int_equal(guest.used.ring[1].id, 5);
	assert_int_equal(guest.used.ring[1].len, 2);
}

static void flags_silence_both_sides(void **state)
{
	(void)state;
	start(0);
	guest.avail.flags = 1;
	give_back(0, 0);
	assert_false(pv_virtq_needs_interrupt(&q));
	guest.avail.flags = 0;
	assert_false(pv_virtq_needs_interrupt(&q)); /* nothing new */
	give_back(0, 0);
	assert_true(pv_virtq_needs_interrupt(&q));
	pv_virtq_disable_doorbell(&q);
	assert_int_equal(guest.used.flags, 1);
	(void)pv_virtq_enable_doorbell(&q);
	assert_int_equal(guest.used.flags, 0);
}

static void memory_that_leaves_breaks_a_running_queue(void **state)
{
	(void)state;
	struct pv_guest_map *empty;

	assert_int_equal(pv_guest_map_create(NULL, 0, &empty), PV_OK);
	start(0);
	guest.desc[0] = (struct desc){address(guest.data), 4, 0, 0};
	announce(0);
	assert_int_equal(pv_virtq_remap(&q, map), PV_OK);
	assert_int_equal(pv_virtq_remap(&q, empty), PV_ERR_GUEST);
	assert_int_equal(pv_virtq_pop(&q, &chain), PV_ERR_GUEST);
	pv_guest_map_unref(empty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(chains_come_in_order_and_go_back, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(indirect_tables_are_followed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(impossible_chains_break_the_queue, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(impossible_rings_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(event_idx_interrupts_when_it_is_passed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_driver_sees_what_is_published, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(flags_silence_both_sides, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(memory_that_leaves_breaks_a_running_queue, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

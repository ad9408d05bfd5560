/* SPDX-License-Identifier: MIT */
#include "guestmem/guest_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/socket.h"

static struct pv_guest_region *region(uint64_t guest_addr, void *memory, uint64_t size)
{
	struct pv_guest_region *r;

	assert_int_equal(
	    pv_guest_region_create(&(struct pv_guest_region_params){.guest_addr = guest_addr,
								    .size_bytes = size,
								    .user_addr = guest_addr + 0x700000000000,
								    .fd = -1,
								    .memory = memory},
				   &r),
	    PV_OK);
	return r;
}

static void addresses_resolve_inside_one_region_only(void **state)
{
	(void)state;
	static char low[0x1000], high[0x2000], next[0x1000];
	struct pv_guest_region *r[] = {region(0x100000, high, 0x2000), region(0, low, 0x1000),
				       region(0x102000, next, 0x1000)};
	struct pv_guest_map *map;
	uint64_t run, addr;

	assert_int_equal(pv_guest_map_create(r, 3, &map), PV_OK);
	for (int i = 0; i < 3; i++)
		pv_guest_region_unref(r[i]);

	assert_ptr_equal(pv_guest_map_resolve(map, 0, 0x1000), low);
	assert_null(pv_guest_map_resolve(map, 0, 0x1001));
	assert_null(pv_guest_map_resolve(map, 0x1000, 1));
	assert_ptr_equal(pv_guest_map_resolve(map, 0x101fff, 1), high + 0x1fff);
	assert_null(pv_guest_map_resolve(map, 0x101fff, 2)); /* adjacent, but two regions */
	assert_ptr_equal(pv_guest_map_run(map, 0x101fff, 2, &run), high + 0x1fff);
	assert_int_equal(run, 1);
	assert_null(pv_guest_map_resolve(map, UINT64_MAX, 1));
	assert_null(pv_guest_map_resolve(map, UINT64_MAX - 1, 4));
	assert_null(pv_guest_map_resolve(NULL, 0, 1));

	assert_true(pv_guest_map_from_user(map, 0x700000102004, &addr));
	assert_int_equal(addr, 0x102004);
	assert_false(pv_guest_map_from_user(map, 0x700000103000, &addr));
	pv_guest_map_unref(map);
}

/* Regions of one file are pieces of one mapping, which lives as long as the last of them. */
static void regions_share_a_file(void **state)
{
	(void)state;
	struct pv_guest_region_params params = {.size_bytes = 0x1000, .fd = -1};
	struct pv_guest_region *r[2];
	struct pv_guest_file *file;
	struct pv_guest_map *map;
	int fd, other;

	assert_int_equal(pv_shm_create("test", 0x3000, &fd), PV_OK);
	assert_int_equal(pv_shm_create("other", 0x3000, &other), PV_OK);
	assert_int_equal(pv_guest_file_create(fd, &file), PV_OK);
	assert_true(pv_guest_file_holds(file, fd, 0x1000, 0x2000));
	assert_false(pv_guest_file_holds(file, fd, 0x1001, 0x2000));
	assert_false(pv_guest_file_holds(file, fd, UINT64_MAX, 0x2000));
	assert_false(pv_guest_file_holds(file, other, 0, 0x1000));
	params.file = file;
	for (uint32_t i = 0; i < 2; i++) {
		params.guest_addr = i * 0x10000ULL;
		params.fd_offset = i * 0x2000ULL;
		assert_int_equal(pv_guest_region_create(&params, &r[i]), PV_OK);
	}
	params.fd_offset = 0x2001;
	assert_int_equal(pv_guest_region_create(&params, &r[1]), PV_ERR_PEER);
	pv_guest_file_unref(file);
	assert_int_equal(pv_guest_map_create(r, 2, &map), PV_OK);
	for (int i = 0; i < 2; i++)
		pv_guest_region_unref(r[i]);

	char *low = pv_guest_map_resolve(map, 0, 0x1000), *high = pv_guest_map_resolve(map, 0x10000, 0x1000);
	assert_ptr_equal(low + 0x2000, high);
	assert_true(pv_guest_map_is_intact(map));
	assert_int_equal(ftruncate(fd, 0x1000), 0);
	low[0] = 1;
	assert_true(pv_guest_map_is_intact(map));
	high[0] = 1;
	assert_false(pv_guest_map_is_intact(map));
	pv_guest_map_unref(map);

	int pair[2];
	assert_int_equal(pv_socket_pair(pair), PV_OK);
	assert_int_equal(pv_guest_file_create(pair[0], &file), PV_ERR_PEER);
	close(pair[0]);
	close(pair[1]);
	close(fd);
	close(other);
}

static void bad_regions_are_refused(void **state)
{
	(void)state;
	static char memory[0x2000];
	struct pv_guest_region *a = region(0x1000, memory, 0x1000), *b = region(0x1fff, memory, 0x1000), *out;
	struct pv_guest_map *map;
	int fd;

	assert_int_equal(pv_guest_map_create((struct pv_guest_region *[]){a, b}, 2, &map), PV_ERR_PEER);
	pv_guest_region_unref(a);
	pv_guest_region_unref(b);

	struct pv_guest_region_params p = {.guest_addr = UINT64_MAX, .size_bytes = 2, .fd = -1, .memory = memory};
	assert_int_equal(pv_guest_region_create(&p, &out), PV_ERR_PEER);
	p = (struct pv_guest_region_params){.size_bytes = 0, .fd = -1, .memory = memory};
	assert_int_equal(pv_guest_region_create(&p, &out), PV_ERR_PEER);

	assert_int_equal(pv_shm_create("test", 0x3000, &fd), PV_OK);
	p = (struct pv_guest_region_params){.size_bytes = 0x2000, .fd = fd, .fd_offset = 0x1001};
	assert_int_equal(pv_guest_region_create(&p, &out), PV_ERR_PEER);
	p.fd_offset = UINT64_MAX - 0x1000;
	assert_int_equal(pv_guest_region_create(&p, &out), PV_ERR_PEER);
	p.fd_offset = 0x1000;
	assert_int_equal(pv_guest_region_create(&p, &out), PV_OK);
	pv_guest_region_unref(out);
	close(fd);
	p.fd = fd; /* closed now */
	assert_int_equal(pv_guest_region_create(&p, &out), PV_ERR_HOST);
}

static void unaligned_file_offsets_work(void **state)
{
	(void)state;
	int fd;
	struct pv_guest_region *r;
	struct pv_guest_map *map;

	assert_int_equal(pv_shm_create("test", 0x4000, &fd), PV_OK);
	assert_int_equal(pwrite(fd, "hello", 5, 0x1234), 5);
	struct pv_guest_region_params p = {.guest_addr = 0x8000, .size_bytes = 0x1000, .fd = fd, .fd_offset = 0x1230};
	assert_int_equal(pv_guest_region_create(&p, &r), PV_OK);
	close(fd);
	assert_int_equal(pv_guest_map_create(&r, 1, &map), PV_OK);
	pv_guest_region_unref(r);
	assert_memory_equal(pv_guest_map_resolve(map, 0x8004, 5), "hello", 5);
	pv_guest_map_unref(map);
}

/* Scattered spans against one linear copy, at every offset. */
static void spans_copy_like_one_buffer(void **state)
{
	(void)state;
	static uint8_t a[64], b[64], linear[48], got[48];
	struct pv_guest_region *r[] = {region(0x1000, a, 64), region(0x1040, b, 64)};
	struct pv_guest_map *map;
	/* The third span crosses from one region into the next. */
	const struct pv_guest_span spans[] = {{0x1050, 7}, {0x1000, 1}, {0x1030, 32}, {0x1010, 0}, {0x1020, 8}};

	assert_int_equal(pv_guest_map_create(r, 2, &map), PV_OK);
	pv_guest_region_unref(r[0]);
	pv_guest_region_unref(r[1]);
	for (size_t i = 0; i < 48; i++)
		linear[i] = (uint8_t)(i + 1);
	assert_int_equal(pv_guest_write(map, spans, 5, 0, linear, 48), PV_OK);

	struct pv_guest_cursor cursor;
	pv_guest_cursor_init(&cursor, map, spans, 5);
	for (uint64_t offset = 0; offset <= 48; offset++)
		for (uint64_t len = 0; offset + len <= 48; len++) {
			memset(got, 0xee, sizeof(got));
			assert_int_equal(pv_guest_read(map, spans, 5, offset, got, len), PV_OK);
			assert_memory_equal(got, linear + offset, len);
			memset(got, 0xee, sizeof(got));
			assert_int_equal(pv_guest_cursor_read(&cursor, offset, got, len), PV_OK);
			assert_memory_equal(got, linear + offset, len);
		}
	assert_int_equal(pv_guest_read(map, spans, 5, 1, got, 48), PV_ERR_GUEST);
	assert_int_equal(pv_guest_read(map, spans, 5, UINT64_MAX, got, 1), PV_ERR_GUEST);
	assert_int_equal(pv_guest_read(map, &(struct pv_guest_span){0x2000, 4}, 1, 0, got, 1), PV_ERR_GUEST);
	assert_int_equal(pv_guest_read(map, &(struct pv_guest_span){UINT64_MAX, 4}, 1, 2, got, 1), PV_ERR_GUEST);
	pv_guest_map_unref(map);
}

static void a_truncated_file_becomes_zero_pages(void **state)
{
	(void)state;
	int fd;
	struct pv_guest_region *r;
	struct pv_guest_map *map;
	uint32_t word = 0xffffffff;

	assert_int_equal(pv_shm_create("test", 0x4000, &fd), PV_OK);
	assert_int_equal(pv_guest_region_create(&(struct pv_guest_region_params){.size_bytes = 0x4000, .fd = fd}, &r),
			 PV_OK);
	assert_int_equal(pv_guest_map_create(&r, 1, &map), PV_OK);
	pv_guest_region_unref(r);
	assert_true(pv_guest_map_is_intact(map));

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pv_guest_read(map, &(struct pv_guest_span){0x2000, 4}, 1, 0, &word, 4), PV_OK);
	assert_int_equal(word, 0);
	assert_false(pv_guest_map_is_intact(map));
	assert_int_equal(pv_guest_write(map, &(struct pv_guest_span){0, 4}, 1, 0, &word, 4), PV_OK);
	pv_guest_map_unref(map);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_resolve_inside_one_region_only),
	    cmocka_unit_test(regions_share_a_file),
	    cmocka_unit_test(bad_regions_are_refused),
	    cmocka_unit_test(unaligned_file_offsets_work),
	    cmocka_unit_test(spans_copy_like_one_buffer),
	    cmocka_unit_test(a_truncated_file_becomes_zero_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

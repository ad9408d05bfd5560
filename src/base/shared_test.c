/* SPDX-License-Identifier: MIT */
#include "base/shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/pages.h"

static void test_rounds_up_and_is_zeroed(void **state)
{
	struct pv_shared shm;
	struct stat st;

	(void)state;
	assert_int_equal(pv_shared_create(1, &shm), PV_OK);
	assert_int_equal(shm.size_bytes, pv_page_bytes());
	assert_int_equal(fstat(shm.fd, &st), 0);
	assert_int_equal(st.st_size, (off_t)pv_page_bytes());
	for (uint64_t i = 0; i < shm.size_bytes; i++)
		assert_int_equal(shm.bytes[i], 0);
	pv_shared_finish(&shm);
	assert_int_equal(shm.fd, -1);
	pv_shared_finish(&shm);
}

static void test_is_shared_by_its_file(void **state)
{
	struct pv_shared shm;
	uint8_t *other;

	(void)state;
	assert_int_equal(pv_shared_create(UINT64_C(4) << 20, &shm), PV_OK);
	other = mmap(NULL, (size_t)shm.size_bytes, PROT_READ, MAP_SHARED, shm.fd, 0);
	assert_true(other != MAP_FAILED);
	shm.bytes[shm.size_bytes - 1] = 42;
	assert_int_equal(other[shm.size_bytes - 1], 42);
	munmap(other, (size_t)shm.size_bytes);
	pv_shared_finish(&shm);
}

static void test_absurd_sizes_fail(void **state)
{
	struct pv_shared shm;

	(void)state;
	assert_int_equal(pv_shared_create(UINT64_MAX, &shm), PV_ERR_NO_MEMORY);
	assert_int_equal(pv_shared_create(UINT64_MAX / 2, &shm), PV_ERR_NO_MEMORY);
	assert_int_equal(pv_shared_create(UINT64_C(1) << 62, &shm), PV_ERR_NO_MEMORY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rounds_up_and_is_zeroed),
	    cmocka_unit_test(test_is_shared_by_its_file),
	    cmocka_unit_test(test_absurd_sizes_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

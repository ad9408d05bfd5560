/* SPDX-License-Identifier: MIT */
#include "base/socket.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/pages.h"

#define MIB (1ull << 20)

static int count_open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void fds_travel_and_close_on_exec(void **state)
{
	(void)state;
	int pair[2], shm, got[4];
	size_t len, nr = 4;
	char buf[4];
	struct iovec iov = {.iov_base = (char[]){"abc"}, .iov_len = 4};

	assert_int_equal(pv_socket_pair(pair), PV_OK);
	assert_int_equal(pv_shm_create("test", 4096, &shm), PV_OK);
	assert_int_equal(pv_socket_send(pair[0], &iov, 1, &shm, 1, &len), PV_OK);
	assert_int_equal(len, 4);
	assert_int_equal(pv_socket_recv(pair[1], buf, sizeof(buf), &len, got, &nr), PV_OK);
	assert_int_equal(nr, 1);
	assert_string_equal(buf, "abc");
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);

	struct stat a, b;
	assert_int_equal(fstat(shm, &a) | fstat(got[0], &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	close(got[0]);
	close(shm);
	close(pair[0]);
	assert_int_equal(pv_socket_recv(pair[1], buf, sizeof(buf), &len, NULL, NULL), PV_OK);
	assert_int_equal(len, 0);
	close(pair[1]);
}

static void surplus_fds_are_closed_and_refused(void **state)
{
	(void)state;
	int pair[2], send_fds[3], got[2];
	size_t len, nr = 2;
	char buf[1];
	struct iovec iov = {.iov_base = buf, .iov_len = 1};

	assert_int_equal(pv_socket_pair(pair), PV_OK);
	for (int i = 0; i < 3; i++)
		assert_true((send_fds[i] = dup(0)) >= 0);
	int before = count_open_fds();
	assert_int_equal(pv_socket_send(pair[0], &iov, 1, send_fds, 3, &len), PV_OK);
	assert_int_equal(pv_socket_recv(pair[1], buf, 1, &len, got, &nr), PV_ERR_PEER);
	assert_int_equal(nr, 0);
	assert_int_equal(count_open_fds(), before);
	for (int i = 0; i < 3; i++)
		close(send_fds[i]);

	/* A peer that is gone is an error, not a signal. */
	close(pair[1]);
	assert_int_equal(pv_socket_send(pair[0], &iov, 1, NULL, 0, &len), PV_ERR_PEER);
	close(pair[0]);
}

static void listening_replaces_only_stale_sockets(void **state)
{
	(void)state;
	char dir[] = "/tmp/pv-socket-test-XXXXXX", path[64], file[64];
	int listener, second, client;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(file, sizeof(file), "%s/f", dir);
	assert_int_equal(pv_socket_listen(path, &listener), PV_OK);
	assert_int_equal(pv_socket_listen(path, &second), PV_ERR_ARGUMENT); /* alive */
	assert_int_equal(pv_socket_connect(path, &client), PV_OK);
	close(client);
	close(listener);
	assert_int_equal(pv_socket_connect(path, &client), PV_ERR_HOST);
	assert_int_equal(pv_socket_listen(path, &listener), PV_OK); /* stale */
	close(listener);

	int fd = open(file, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(pv_socket_listen(file, &listener), PV_ERR_ARGUMENT);
	assert_int_equal(access(file, F_OK), 0);

	char too_long[200];
	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	assert_int_equal(pv_socket_listen(too_long, &listener), PV_ERR_ARGUMENT);
	unlink(path);
	unlink(file);
	rmdir(dir);
}

static void shared_memory_gives_ranges_back(void **state)
{
	(void)state;
	const uint64_t page = pv_page_bytes();
	uint8_t *whole, *part;
	int fd;

	assert_int_equal(pv_shm_create("test", 4 * page, &fd), PV_OK);
	pv_shm_keep_size(fd);
	assert_int_equal(pv_pages_map_file(fd, 0, 4 * page, (void **)&whole), PV_OK);
	/* Not at a page's start. */
	assert_int_equal(pv_pages_map_file(fd, page + 16, page, (void **)&part), PV_OK);
	memset(part, 0x11, page);
	assert_int_equal(whole[page + 15], 0);
	assert_int_equal(whole[page + 16], 0x11);
	assert_int_equal(pv_pages_make_private(part, page, true), PV_OK);
	pv_shm_punch(fd, page, 2 * page);
	assert_int_equal(whole[page + 16], 0);
	assert_int_equal(part[0], 0x11);
	assert_int_equal(part[page - 1], 0x11);
	part[0] = 0x22;
	assert_int_equal(whole[page + 16], 0);
	assert_int_equal(pv_pages_make_private(part, page, false), PV_OK);
	assert_int_equal(part[0], 0);
	pv_pages_unmap_file(part, page);
	pv_pages_unmap_file(whole, 4 * page);
	close(fd);
}

static void memory_moves_into_another_file(void **state)
{
	(void)state;
	const uint64_t page = pv_page_bytes();
	uint8_t *own, *window;
	int from, to;

	assert_int_equal(pv_shm_create("from", 4 * page, &from), PV_OK);
	assert_int_equal(pv_shm_create("to", 8 * page, &to), PV_OK);
	assert_int_equal(pv_pages_map_file(from, 0, 4 * page, (void **)&own), PV_OK);
	assert_int_equal(pv_pages_map_file(to, 0, 8 * page, (void **)&window), PV_OK);
	own[0] = 1;
	own[2 * page + 5] = 2;
	own[3 * page] = 3;
	assert_int_equal(pv_pages_move_to_file(own, from, to, 2 * page, 3 * page), PV_OK);
	assert_int_equal(window[2 * page], 1);
	assert_int_equal(window[4 * page + 5], 2);
	assert_int_equal(window[5 * page], 0);
	own[page] = 4;
	own[3 * page] = 5; /* stayed */
	assert_int_equal(window[3 * page], 4);
	assert_int_equal(window[5 * page], 0);
	assert_int_equal(own[0], 1);
	pv_pages_unmap_file(own, 4 * page);
	pv_pages_unmap_file(window, 8 * page);
	close(from);
	close(to);
}

static void *trim(void *user)
{
	_Atomic unsigned *missing = user;

	atomic_fetch_sub(missing, 1);
	while (atomic_load(missing) != 0)
		;
	pv_heap_trim();
	return NULL;
}

/* First of all in this process: with a sanitizer's malloc only the first calls can collide. */
static void heaps_are_trimmed_by_many_threads(void **state)
{
	(void)state;
	enum { THREADS = 8 };
	_Atomic unsigned missing = THREADS;
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, trim, &missing), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* With huge pages or without: only inside of the range, and nothing is lost. */
static void huge_pages_change_no_contents(void **state)
{
	(void)state;
	static const uint32_t marks[] = {0, MIB, 2 * MIB, 5 * MIB + 123, 7 * MIB - 1};
	struct stat before, after;
	uint8_t *bytes;
	int fd;

	assert_int_equal(pv_shm_create("test", 7 * MIB, &fd), PV_OK);
	assert_int_equal(pv_pages_map_file(fd, 0, 7 * MIB, (void **)&bytes), PV_OK);
	for (size_t i = 0; i < PV_ARRAY_LEN(marks); i++)
		bytes[marks[i]] = (uint8_t)(1 + i);
	assert_int_equal(fstat(fd, &before), 0);
	pv_pages_make_huge(bytes + 2 * MIB + 1, 3 * MIB);
	pv_pages_make_huge(bytes, 0);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(after.st_blocks, before.st_blocks);
	pv_pages_make_huge(bytes + MIB, 5 * MIB + MIB / 2);
	assert_int_equal(fstat(fd, &after), 0);
	assert_true(after.st_blocks <= before.st_blocks + (blkcnt_t)(4 * MIB / 512));
	for (uint32_t at = 0, next = 0; at < 7 * MIB; at++) {
		bool marked = next < PV_ARRAY_LEN(marks) && at == marks[next];

		if (bytes[at] != (marked ? ++next : 0))
			fail_msg("byte %u is %u", at, bytes[at]);
	}
	pv_pages_unmap_file(bytes, 7 * MIB);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(heaps_are_trimmed_by_many_threads),
	    cmocka_unit_test(shared_memory_gives_ranges_back),
	    cmocka_unit_test(memory_moves_into_another_file),
	    cmocka_unit_test(huge_pages_change_no_contents),
	    cmocka_unit_test(fds_travel_and_close_on_exec),
	    cmocka_unit_test(surplus_fds_are_closed_and_refused),
	    cmocka_unit_test(listening_replaces_only_stale_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

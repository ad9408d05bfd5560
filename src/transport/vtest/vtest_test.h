/* SPDX-License-Identifier: MIT */
/*
 * What tests of the transport share: it has a fake renderer, on a loop that the test turns itself; clients are at
 * socket pairs. Each is a program of its own, and includes this once.
 */
#ifndef PV_TRANSPORT_VTEST_VTEST_TEST_H
#define PV_TRANSPORT_VTEST_VTEST_TEST_H

#include "transport/vtest/vtest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/socket.h"
#include "transport/vtest/client.h"
#include "transport/vtest/fake_renderer.h"
#include "transport/vtest/submit.h"

static struct fake_renderer fake;
static struct pv_loop *loop;
static struct pv_vtest *vtest;
static int complaints;
static char complained[4096];
static int fds_before;

static inline void keep_line(void *user, enum pv_log_level level, const char *line)
{
	(void)user;
	if (level > PV_LOG_WARNING)
		return;
	complaints++;
	snprintf(complained, sizeof(complained), "%s", line);
	print_message("# %s\n", line);
}

static inline int count_fds(void)
{
	DIR *dir = opendir("/dev/fd");
	int n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline void start(const struct pv_vtest_params *with)
{
	struct pv_vtest_params params = with ? *with : (struct pv_vtest_params){.take_listen_fd = -1};

	params.loop = loop;
	params.renderer = &fake.base;
	assert_int_equal(pv_vtest_create(&params, &vtest), PV_OK);
}

static inline int begin(void **state)
{
	(void)state;
	pv_log_set_sink(keep_line, NULL);
	fds_before = count_fds();
	complaints = 0;
	complained[0] = '\0';
	fake_renderer_init(&fake);
	return pv_loop_create(&loop) == PV_OK ? 0 : -1;
}

static inline int end(void **state)
{
	(void)state;
	pv_vtest_destroy(vtest);
	vtest = NULL;
	fake_renderer_finish(&fake);
	pv_loop_destroy(loop);
	if (count_fds() != fds_before) {
		print_error("# %d descriptors are left\n", count_fds() - fds_before);
		return -1;
	}
	return 0;
}

/* Lets the server do all it can do now. */
static inline void turn(void)
{
	for (int i = 0; i < 8; i++)
		pv_loop_step(loop, 0);
}

/* ---- A client ---- */

static inline int connect_client(void)
{
	int pair[2];

	assert_int_equal(pv_socket_pair(pair), PV_OK);
	assert_int_equal(pv_fd_set_nonblocking(pair[0], true), PV_OK);
	assert_int_equal(pv_vtest_add_client(vtest, pair[1]), PV_OK);
	return pair[0];
}

static inline void send_bytes(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static inline void send_words(int fd, uint32_t command, const uint32_t *words, uint32_t count)
{
	const uint32_t header[2] = {count, command};

	send_bytes(fd, header, sizeof(header));
	if (count > 0)
		send_bytes(fd, words, 4 * (size_t)count);
}

#define SEND(fd, command, ...)                                                                                         \
	do {                                                                                                           \
		const uint32_t words_[] = {__VA_ARGS__};                                                               \
		send_words((fd), (command), words_, PV_ARRAY_LEN(words_));                                             \
	} while (0)

static inline void expect_words(int fd, const uint32_t *words, size_t count)
{
	uint32_t got[64] = {0};

	turn();
	assert_true(count <= PV_ARRAY_LEN(got));
	assert_int_equal(recv(fd, got, 4 * count, 0), 4 * count);
	assert_memory_equal(got, words, 4 * count);
}

#define EXPECT(fd, ...)                                                                                                \
	do {                                                                                                           \
		const uint32_t words_[] = {__VA_ARGS__};                                                               \
		expect_words((fd), words_, PV_ARRAY_LEN(words_));                                                      \
	} while (0)

/* The byte with a descriptor, in a message of its own. */
static inline int expect_fd(int fd)
{
	int got_fd = -1;
	size_t nr_fds = 1, len = 0;
	uint8_t bytes[16];

	turn();
	assert_int_equal(pv_socket_recv(fd, bytes, sizeof(bytes), &len, &got_fd, &nr_fds), PV_OK);
	assert_int_equal(len, 1);
	assert_int_equal(nr_fds, 1);
	return got_fd;
}

static inline void expect_nothing(int fd)
{
	uint8_t byte;

	turn();
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
}

static inline void expect_closed(int fd, const char *complaint)
{
	uint8_t bytes[256];
	ssize_t n;

	turn();
	while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		;
	/* Reset: it closed with something of ours unread. */
	assert_true(n == 0 || errno == ECONNRESET);
	assert_int_equal(complaints, 1);
	assert_non_null(strstr(complained, complaint));
	complaints = 0;
	close(fd);
}

static inline bool is_readable(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	turn();
	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLIN);
}

static inline void introduce(int fd)
{
	static const char name[] = "test";
	const uint32_t header[2] = {sizeof(name), PV_VTEST_CREATE_RENDERER};

	send_bytes(fd, header, sizeof(header));
	send_bytes(fd, name, sizeof(name));
	send_words(fd, PV_VTEST_PING_PROTOCOL_VERSION, NULL, 0);
	SEND(fd, PV_VTEST_RESOURCE_BUSY_WAIT, 0, 0);
	EXPECT(fd, 0, PV_VTEST_PING_PROTOCOL_VERSION, 1, PV_VTEST_RESOURCE_BUSY_WAIT, 0);
	SEND(fd, PV_VTEST_PROTOCOL_VERSION, PV_VTEST_VERSION);
	EXPECT(fd, 1, PV_VTEST_PROTOCOL_VERSION, PV_VTEST_VERSION);
}

static inline int new_client(void)
{
	int fd = connect_client();

	introduce(fd);
	SEND(fd, PV_VTEST_CONTEXT_INIT, FAKE_CAPSET);
	turn();
	return fd;
}

static inline uint32_t create_sync(int fd, uint64_t value)
{
	uint32_t got[3];

	SEND(fd, PV_VTEST_SYNC_CREATE, (uint32_t)value, (uint32_t)(value >> 32));
	turn();
	assert_int_equal(recv(fd, got, sizeof(got), 0), sizeof(got));
	assert_int_equal(got[0], 1);
	assert_int_equal(got[1], PV_VTEST_SYNC_CREATE);
	return got[2];
}

static inline uint64_t read_sync(int fd, uint32_t id)
{
	uint32_t got[4];

	SEND(fd, PV_VTEST_SYNC_READ, id);
	turn();
	assert_int_equal(recv(fd, got, sizeof(got), 0), sizeof(got));
	assert_int_equal(got[0], 2);
	assert_int_equal(got[1], PV_VTEST_SYNC_READ);
	return got[2] | (uint64_t)got[3] << 32;
}

static inline uint32_t expect_resource(int fd)
{
	uint32_t got[3];

	turn();
	assert_int_equal(recv(fd, got, sizeof(got), 0), sizeof(got));
	assert_int_equal(got[0], 1);
	assert_int_equal(got[1], PV_VTEST_RESOURCE_CREATE_BLOB);
	return got[2];
}

static inline void send_blob(int fd, uint32_t size, uint32_t blob_id)
{
	SEND(fd, PV_VTEST_RESOURCE_CREATE_BLOB, PV_VTEST_BLOB_HOST3D, PV_VTEST_BLOB_MAPPABLE, size, 0, blob_id, 0);
}

/* One batch with a header of 8 words, two words of commands, and up to one sync. */
static inline void submit(int fd, uint32_t ring_idx, uint32_t sync, uint32_t value)
{
	SEND(fd, PV_VTEST_SUBMIT_CMD2, 1, PV_VTEST_BATCH_HAS_RING_IDX, 9, 2, 11, sync ? 1 : 0, ring_idx, 0, 0, 0xc0ffee,
	     0xbeef, sync, value, 0);
}

#endif

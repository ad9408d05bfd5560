/* SPDX-License-Identifier: MIT */
#include "pv/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/socket.h"

struct fixture {
	char directory[64], path[96];
	struct pv_device *device;
	struct pv_control_server *server;
};

static int set_up(void **state)
{
	struct pv_device_params params = {.struct_size = sizeof(params), .nr_outputs = 2};
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->directory, "/tmp/pv-control-test-XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/c.sock", f->directory);
	if (pv_device_create(&params, &f->device) != PV_OK ||
	    pv_control_server_create(f->device, f->path, &f->server) != PV_OK)
		return -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	int code;

	pv_control_server_destroy(f->server);
	pv_device_destroy(f->device);
	/* The server removes its socket: the directory must be empty. */
	code = rmdir(f->directory);
	free(f);
	return code;
}

static bool asks_well(struct fixture *f, const char *request, const char *expected)
{
	char *reply = NULL;
	int32_t fd = -1;
	bool same;

	assert_int_equal(pv_control_call(f->path, request, 10000, &reply, &fd), PV_OK);
	assert_int_equal(fd, -1);
	same = strcmp(reply, expected) == 0;
	if (!same)
		print_error("%s gave %s\n", request, reply);
	pv_free(reply);
	return same;
}

static void test_commands(void **state)
{
	struct fixture *f = *state;

	assert_true(
	    asks_well(f, "{\"command\":\"set-output\",\"output\":1,\"width\":640,\"height\":480}", "{\"ok\":true}"));
	assert_true(asks_well(f, "{\"command\":\"set-output\",\"output\":1,\"enabled\":false,\"id\":7}",
			      "{\"ok\":true,\"id\":7}"));
	assert_true(asks_well(
	    f, "{\"command\":\"outputs\"}",
	    "{\"outputs\":[{\"output\":0,\"enabled\":true,\"x\":0,\"y\":0,\"width\":1280,\"height\":800},"
	    "{\"output\":1,\"enabled\":false,\"x\":1280,\"y\":0,\"width\":640,\"height\":480}],\"ok\":true}"));
	assert_true(asks_well(f, "{\"command\":\"set-output\",\"output\":2,\"width\":640}",
			      "{\"error\":\"there is no such output\",\"ok\":false}"));
	assert_true(asks_well(f, "{\"command\":\"screenshot\"}",
			      "{\"error\":\"that scanout has not shown anything yet\",\"ok\":false}"));
	assert_true(asks_well(f, "[]", "{\"error\":\"not a JSON object with a \\\"command\\\"\",\"ok\":false}"));
}

/* A connection that the test speaks on by itself. */
static int connect_to(const struct fixture *f)
{
	int fd = -1;

	assert_int_equal(pv_socket_connect(f->path, &fd), PV_OK);
	return fd;
}

/* The next line has `part`. Byte by byte, so that the rest stays for the next call. */
static void expect_line(int fd, const char *part)
{
	char line[1024];
	size_t len = 0;

	while (len < sizeof(line) - 1 && read(fd, &line[len], 1) == 1 && line[len] != '\n')
		len++;
	line[len] = '\0';
	assert_non_null(strstr(line, part));
}

static void test_several_requests_at_once_are_answered_in_order(void **state)
{
	static const char requests[] =
	    "{\"command\":\"outputs\",\"id\":1}\n{\"command\":\"none\",\"id\":2}\n{\"command\":\"out";
	struct fixture *f = *state;
	int fd = connect_to(f);

	assert_int_equal(write(fd, requests, sizeof(requests) - 1), sizeof(requests) - 1);
	expect_line(fd, "\"id\":1");
	expect_line(fd, "\"id\":2");
	assert_int_equal(write(fd, "puts\"}\n", 7), 7);
	expect_line(fd, "\"outputs\"");
	close(fd);
}

static void test_endless_line_ends_the_connection(void **state)
{
	char line[PV_CONTROL_MAX_REQUEST_BYTES], byte;
	struct fixture *f = *state;
	int fd = connect_to(f);

	memset(line, 'x', sizeof(line));
	assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
	assert_true(read(fd, &byte, 1) <= 0);
	close(fd);
	assert_true(asks_well(
	    f, "{\"command\":\"none\"}",
	    "{\"error\":\"no such command: there are status, outputs, set-output and screenshot\",\"ok\":false}"));
}

static void test_sent_descriptors_end_the_connection(void **state)
{
	static const char request[] = "{\"command\":\"outputs\"}\n";
	struct fixture *f = *state;
	struct iovec iov = {(void *)(uintptr_t)request, sizeof(request) - 1};
	int fd = connect_to(f), extra = dup(fd);
	size_t sent;
	char byte;

	assert_int_equal(pv_socket_send(fd, &iov, 1, &extra, 1, &sent), PV_OK);
	assert_true(read(fd, &byte, 1) <= 0);
	close(extra);
	close(fd);
}

static void test_silent_clients_give_way(void **state)
{
	struct fixture *f = *state;
	int fds[40];

	for (size_t i = 0; i < 40; i++)
		fds[i] = connect_to(f);
	assert_true(asks_well(f, "{\"command\":\"set-output\"}", "{\"ok\":true}"));
	for (size_t i = 0; i < 40; i++)
		close(fds[i]);
}

static void test_nobody_there(void **state)
{
	struct fixture *f = *state;
	char path[128], *reply = NULL;
	int32_t fd = -1;

	snprintf(path, sizeof(path), "%s/none.sock", f->directory);
	assert_int_equal(pv_control_call(path, "{}", 1000, &reply, &fd), PV_ERR_HOST);
}

static void test_server_that_does_not_answer(void **state)
{
	struct fixture *f = *state;
	char path[128], *reply = NULL;
	int listener = -1;
	int32_t fd = -1;

	snprintf(path, sizeof(path), "%s/dumb.sock", f->directory);
	assert_int_equal(pv_socket_listen(path, &listener), PV_OK);
	assert_int_equal(pv_control_call(path, "{}", 50, &reply, &fd), PV_ERR_PEER);
	close(listener);
	unlink(path);
}

static void test_path_in_use(void **state)
{
	struct fixture *f = *state;
	struct pv_control_server *second = NULL;

	assert_int_equal(pv_control_server_create(f->device, f->path, &second), PV_ERR_ARGUMENT);
	assert_true(asks_well(f, "{\"command\":\"set-output\"}", "{\"ok\":true}"));
}

static void test_directory_must_be_private(void **state)
{
	struct fixture *f = *state;
	char path[128], *directory = NULL;
	struct stat info;

	setenv("XDG_RUNTIME_DIR", f->directory, 1);
	snprintf(path, sizeof(path), "%s/pvgpu", f->directory);

	assert_int_equal(pv_control_directory(false, &directory), PV_OK);
	assert_string_equal(directory, path);
	assert_int_equal(access(path, F_OK), -1);
	pv_free(directory);

	assert_int_equal(pv_control_directory(true, &directory), PV_OK);
	pv_free(directory);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);

	chmod(path, 0755);
	assert_int_equal(pv_control_directory(true, &directory), PV_ERR_HOST);
	rmdir(path);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_int_equal(pv_control_directory(true, &directory), PV_ERR_HOST);
	unlink(path);
	unsetenv("XDG_RUNTIME_DIR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_commands, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_several_requests_at_once_are_answered_in_order, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_endless_line_ends_the_connection, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_sent_descriptors_end_the_connection, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_silent_clients_give_way, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_nobody_there, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_server_that_does_not_answer, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_path_in_use, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_directory_must_be_private, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}

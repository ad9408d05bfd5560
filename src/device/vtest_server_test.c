/* SPDX-License-Identifier: MIT */
/* The embedding API of Vulkan without a virtual machine. What needs a device of the host is skipped where there is
 * none. */
#include "pv/vtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/socket.h"
#include "pv/control.h"
#include "pv/log.h"
#include "pv/vulkan.h"
#include "transport/vtest/protocol.h"

static void drop_line(void *user, enum pv_log_level level, const char *line)
{
	(void)user;
	(void)level;
	(void)line;
}

static yyjson_doc *parse(char *json)
{
	yyjson_doc *doc = yyjson_read(json, strlen(json), 0);

	pv_free(json);
	assert_non_null(doc);
	return doc;
}

static struct pv_vtest_server *start_or_skip(const char *path, int fd, const char *device)
{
	const struct pv_vtest_server_params params = {
	    .struct_size = sizeof(params), .path = path, .take_fd = fd, .device = device};
	struct pv_vtest_server *server = NULL;
	enum pv_status status = pv_vtest_server_create(&params, &server);

	if (status == PV_ERR_HOST || status == PV_ERR_UNSUPPORTED)
		skip();
	assert_int_equal(status, PV_OK);
	return server;
}

/* A client that has said its name and been answered. */
static int new_client(struct pv_vtest_server *server)
{
	const uint32_t words[] = {4, PV_VTEST_CREATE_RENDERER, 0x00797865, 0,
				  PV_VTEST_PING_PROTOCOL_VERSION}; /* "exy" */
	uint32_t reply[2];
	int pair[2];

	assert_int_equal(pv_socket_pair(pair), PV_OK);
	assert_int_equal(pv_vtest_server_add_client(server, pair[1]), PV_OK);
	assert_int_equal(send(pair[0], words, sizeof(words), 0), sizeof(words));
	assert_int_equal(recv(pair[0], reply, sizeof(reply), MSG_WAITALL), sizeof(reply));
	assert_int_equal(reply[1], PV_VTEST_PING_PROTOCOL_VERSION);
	return pair[0];
}

static void devices_are_listed(void **state)
{
	const struct pv_vulkan_devices_params params = {.struct_size = sizeof(params)};
	enum pv_status status;
	char *json = NULL;
	yyjson_doc *doc;

	(void)state;
	status = pv_vulkan_devices(&params, &json);
	if (status == PV_ERR_HOST || status == PV_ERR_UNSUPPORTED)
		skip();
	assert_int_equal(status, PV_OK);
	doc = parse(json);
	yyjson_val *root = yyjson_doc_get_root(doc), *device = yyjson_arr_get_first(yyjson_obj_get(root, "devices"));
	if (device) {
		assert_true(yyjson_is_str(yyjson_obj_get(device, "name")));
		assert_int_equal(yyjson_get_len(yyjson_obj_get(device, "device_uuid")), 36);
		assert_true(yyjson_obj_get(device, "guest") || yyjson_is_str(yyjson_obj_get(device, "refusal")));
	} else {
		assert_true(yyjson_is_str(yyjson_obj_get(root, "why_none")));
	}
	yyjson_doc_free(doc);
}

static void wrong_params(void **state)
{
	const struct pv_vulkan_devices_params devices = {0};
	const struct pv_vtest_server_params server = {0};
	struct pv_vtest_server *out = NULL;
	char *json = NULL;

	(void)state;
	assert_int_not_equal(pv_vulkan_devices(&devices, &json), PV_OK);
	assert_int_not_equal(pv_vtest_server_create(&server, &out), PV_OK);
	assert_null(out);
	assert_null(json);
	pv_vtest_server_destroy(NULL);
}

static void clients_and_status(void **state)
{
	struct pv_vtest_server *server = start_or_skip(NULL, -1, NULL);
	int first = new_client(server), second = new_client(server);
	char *json = NULL;
	yyjson_doc *doc;

	(void)state;
	assert_int_equal(pv_vtest_server_status(server, &json), PV_OK);
	doc = parse(json);
	yyjson_val *root = yyjson_doc_get_root(doc), *clients = yyjson_obj_get(root, "clients");
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "kind")), "vtest");
	assert_int_equal(yyjson_arr_size(clients), 2);
	assert_string_equal(yyjson_get_str(yyjson_obj_get(yyjson_arr_get_first(clients), "name")), "exy");
	yyjson_doc_free(doc);
	close(first);
	/* With a client still there. */
	pv_vtest_server_destroy(server);
	close(second);
}

static void socket_and_control(void **state)
{
	struct pv_control_server *control = NULL;
	char path[64], control_path[64], *reply = NULL;
	struct pv_vtest_server *server;
	struct stat info;
	int32_t fd = -1;
	int client = -1;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/pv-vtest-%d", (int)getpid());
	snprintf(control_path, sizeof(control_path), "/tmp/pv-vtest-%d.c", (int)getpid());
	server = start_or_skip(path, -1, "0");
	assert_int_equal(pv_control_server_create_for_vtest(server, control_path, &control), PV_OK);
	assert_int_equal(pv_socket_connect(path, &client), PV_OK);
	assert_int_equal(pv_control_call(control_path, "{\"command\":\"status\"}", 10000, &reply, &fd), PV_OK);
	assert_non_null(strstr(reply, "\"vtest\""));
	pv_free(reply);
	assert_int_equal(pv_control_call(control_path, "{\"command\":\"outputs\"}", 10000, &reply, &fd), PV_OK);
	assert_non_null(strstr(reply, "no screens"));
	pv_free(reply);
	pv_control_server_destroy(control);
	pv_vtest_server_destroy(server);
	close(client);
	assert_int_not_equal(stat(path, &info), 0);
}

static void no_such_device(void **state)
{
	struct pv_vtest_server_params params = {
	    .struct_size = sizeof(params), .path = "/tmp/pv-vtest-never", .device = "no such device"};
	struct pv_vtest_server *server = NULL;
	struct stat info;

	(void)state;
	assert_int_not_equal(pv_vtest_server_create(&params, &server), PV_OK);
	assert_null(server);
	assert_int_not_equal(stat(params.path, &info), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(devices_are_listed), cmocka_unit_test(wrong_params),
	    cmocka_unit_test(clients_and_status), cmocka_unit_test(socket_and_control),
	    cmocka_unit_test(no_such_device),
	};

	pv_log_set_sink(drop_line, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

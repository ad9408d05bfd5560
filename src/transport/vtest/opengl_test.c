/* SPDX-License-Identifier: MIT */
/* Clients of OpenGL. */
#include "transport/vtest/vtest_test.h"

/* Version 2 chooses the ids of its resources and has its context without asking. */
static int new_opengl_client(uint32_t version)
{
	static const char name[] = "test";
	const uint32_t header[2] = {sizeof(name), PV_VTEST_CREATE_RENDERER};
	int fd = connect_client();

	send_bytes(fd, header, sizeof(header));
	send_bytes(fd, name, sizeof(name));
	SEND(fd, PV_VTEST_PROTOCOL_VERSION, version);
	EXPECT(fd, 1, PV_VTEST_PROTOCOL_VERSION, version);
	return fd;
}

static void opengl_clients(void **state)
{
	uint8_t caps[8 + FAKE_GL_CAPSET_BYTES];
	const uint32_t caps_header[2] = {FAKE_GL_CAPSET_BYTES + 1, 2};
	int fd, memory;

	(void)state;
	fake_renderer_init_opengl(&fake);
	start(NULL);
	fd = new_opengl_client(2);
	send_words(fd, PV_VTEST_GET_CAPS2, NULL, 0);
	turn();
	assert_int_equal(recv(fd, caps, sizeof(caps), 0), sizeof(caps));
	assert_memory_equal(caps, caps_header, sizeof(caps_header));
	assert_int_equal(caps[8], 0x61);

	SEND(fd, PV_VTEST_RESOURCE_CREATE2, 7, 2, 67, 2, 16, 8, 1, 1, 0, 0, 512);
	memory = expect_fd(fd);
	assert_int_equal(lseek(memory, 0, SEEK_END), 512);
	close(memory);
	assert_int_equal(fake.last_resource.id, 7);
	assert_int_equal(fake.last_resource.kind, PV_RESOURCE_3D);
	assert_int_equal(fake.last_resource.format, 67);
	assert_int_equal(fake.last_resource.width, 16);
	assert_int_equal(fake.last_resource.height, 8);
	SEND(fd, PV_VTEST_TRANSFER_PUT2, 7, 0, 0, 0, 0, 16, 8, 1, 512, 0);
	SEND(fd, PV_VTEST_TRANSFER_GET2, 7, 0, 0, 0, 0, 16, 8, 1, 512, 0);
	expect_nothing(fd);
	assert_int_equal(fake.transfers, 2);
	/* As Mesa does: a length with the pixels, which do not follow. */
	const uint32_t put[] = {10 + 512 / 4, PV_VTEST_TRANSFER_PUT2, 7, 0, 0, 0, 0, 16, 8, 1, 512, 0};
	send_bytes(fd, put, sizeof(put));
	expect_nothing(fd);
	assert_int_equal(fake.transfers, 3);

	/* Busy until the fence has signalled; asked again and again there is one fence. */
	fake.late_fences = true;
	SEND(fd, PV_VTEST_SUBMIT_CMD, 1, 2, 3);
	SEND(fd, PV_VTEST_RESOURCE_BUSY_WAIT, 7, 0);
	EXPECT(fd, 1, PV_VTEST_RESOURCE_BUSY_WAIT, 1);
	SEND(fd, PV_VTEST_RESOURCE_BUSY_WAIT, 7, 1);
	expect_nothing(fd);
	assert_int_equal(fake.nr_fences, 1);
	fake_renderer_signal(&fake, 0);
	EXPECT(fd, 1, PV_VTEST_RESOURCE_BUSY_WAIT, 0);
	SEND(fd, PV_VTEST_RESOURCE_BUSY_WAIT, 7, 1);
	EXPECT(fd, 1, PV_VTEST_RESOURCE_BUSY_WAIT, 0);
	assert_int_equal(fake.submits, 1);

	/* It leaves while it waits. */
	SEND(fd, PV_VTEST_SUBMIT_CMD, 1);
	SEND(fd, PV_VTEST_RESOURCE_BUSY_WAIT, 7, 1);
	expect_nothing(fd);
	close(fd);
	turn();
	assert_int_equal(fake.resources.count, 0);
	assert_int_equal(complaints, 0);
}

static void opengl_ids_of_the_servers_choice(void **state)
{
	int fd;

	(void)state;
	fake_renderer_init_opengl(&fake);
	start(NULL);
	fd = new_opengl_client(PV_VTEST_VERSION);
	SEND(fd, PV_VTEST_CONTEXT_INIT, 2);
	SEND(fd, PV_VTEST_RESOURCE_CREATE, 0, 2, 67, 2, 16, 8, 1, 1, 0, 0);
	EXPECT(fd, 1, PV_VTEST_RESOURCE_CREATE, 1);
	close(fd);
	turn();
}

static void opengl_that_cannot_be_had(void **state)
{
	int fd;

	(void)state;
	fake_renderer_init_opengl(&fake);
	start(NULL);
	/* virpipe learns nothing of a lost context but by the end of its connection. */
	fake.result = PV_ERR_NO_MEMORY;
	fd = new_opengl_client(2);
	SEND(fd, PV_VTEST_RESOURCE_CREATE2, 7, 2, 67, 2, 16, 8, 1, 1, 0, 0, 512);
	expect_closed(fd, "its context is lost: out of memory");
	fake.result = PV_OK;
	fd = new_opengl_client(2);
	SEND(fd, PV_VTEST_RESOURCE_CREATE2, 7, 2, 67, 2, 16, 8, 1, 1, 0, 0, 512);
	close(expect_fd(fd));
	fake.result = PV_ERR_GUEST;
	SEND(fd, PV_VTEST_SUBMIT_CMD, 1);
	expect_closed(fd, "its context is lost: invalid request from the guest");
	assert_int_equal(fake.resources.count, 0);
	fake.result = PV_OK;

	static const struct {
		uint32_t version, words[16], count;
		const char *complaint;
	} cases[] = {
	    {0, {0, PV_VTEST_SUBMIT_CMD}, 2, "OpenGL needs 2"},
	    {2, {10, PV_VTEST_RESOURCE_CREATE, 0}, 12, "resource id 0 in version 2"},
	    {4, {10, PV_VTEST_RESOURCE_CREATE, 1}, 12, "resource id 1 in version 4"},
	    {2, {10, PV_VTEST_TRANSFER_GET2, 9}, 12, "there is no resource 9"},
	    {2, {11, PV_VTEST_RESOURCE_CREATE2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4097}, 13, "more memory"},
	    {2, {UINT32_MAX, PV_VTEST_SUBMIT_CMD}, 2, "a length of"},
	    {2, {11, PV_VTEST_TRANSFER_GET2, 1}, 13, "a length of"},
	    {2, {9, PV_VTEST_TRANSFER_PUT2, 1}, 11, "a length of"},
	};
	pv_vtest_destroy(vtest);
	start(&(struct pv_vtest_params){.take_listen_fd = -1, .max_client_bytes = 4096});
	for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
		fd = new_opengl_client(cases[i].version);
		send_bytes(fd, cases[i].words, 4 * (size_t)cases[i].count);
		expect_closed(fd, cases[i].complaint);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
	    TEST(opengl_clients),
	    TEST(opengl_ids_of_the_servers_choice),
	    TEST(opengl_that_cannot_be_had),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Clients of Vulkan, and what is the same for all. */
#include "transport/vtest/vtest_test.h"

static void handshake(void **state)
{
	uint32_t capset[3 + FAKE_CAPSET_BYTES / 4] = {1 + FAKE_CAPSET_BYTES / 4, PV_VTEST_GET_CAPSET, 1};
	struct pv_vtest_client_stats stats;
	int fd;

	(void)state;
	start(NULL);
	fd = connect_client();
	introduce(fd);
	SEND(fd, PV_VTEST_GET_PARAM, 1);
	EXPECT(fd, 2, PV_VTEST_GET_PARAM, 1, 64);
	SEND(fd, PV_VTEST_GET_PARAM, 77);
	EXPECT(fd, 2, PV_VTEST_GET_PARAM, 0, 0);
	SEND(fd, PV_VTEST_GET_CAPSET, FAKE_CAPSET, 0);
	memset(&capset[3], 0xca, FAKE_CAPSET_BYTES);
	expect_words(fd, capset, PV_ARRAY_LEN(capset));
	SEND(fd, PV_VTEST_GET_CAPSET, 1, 0);
	EXPECT(fd, 1, PV_VTEST_GET_CAPSET, 0);
	SEND(fd, PV_VTEST_CONTEXT_INIT, FAKE_CAPSET);
	expect_nothing(fd);
	assert_int_equal(fake.contexts.count, 1);
	assert_string_equal(fake.last_name, "test");
	assert_int_equal(pv_vtest_get_clients(vtest, &stats, 1), 1);
	assert_string_equal(stats.name, "test");
	assert_int_equal(stats.commands, 9);
	close(fd);
	turn();
	assert_int_equal(fake.contexts.count, 0);
	assert_int_equal(pv_vtest_get_clients(vtest, &stats, 1), 0);
	assert_int_equal(complaints, 0);
}

static void old_versions(void **state)
{
	static const char hello[] = "\2\0\0\0\x8\0\0\0a";
	int fd;

	(void)state;
	start(NULL);
	fd = connect_client();
	send_bytes(fd, hello, 10);
	SEND(fd, PV_VTEST_PROTOCOL_VERSION, 1);
	EXPECT(fd, 1, PV_VTEST_PROTOCOL_VERSION, 0);
	SEND(fd, PV_VTEST_PROTOCOL_VERSION, 99);
	EXPECT(fd, 1, PV_VTEST_PROTOCOL_VERSION, 4);
	SEND(fd, PV_VTEST_PROTOCOL_VERSION, 2);
	EXPECT(fd, 1, PV_VTEST_PROTOCOL_VERSION, 2);
	SEND(fd, PV_VTEST_CONTEXT_INIT, FAKE_CAPSET);
	expect_closed(fd, "not in protocol version 2");
}

static void byte_by_byte(void **state)
{
	/* The name's odd length leaves all that follows unaligned. */
	static const uint32_t words[] = {1, PV_VTEST_PROTOCOL_VERSION, 4, 1, PV_VTEST_CONTEXT_INIT, FAKE_CAPSET,
					 2, PV_VTEST_SYNC_CREATE,      5, 6};
	static const char hello[] = "\3\0\0\0\x8\0\0\0ab";
	int fd;

	(void)state;
	start(NULL);
	fd = connect_client();
	for (size_t i = 0; i < 11; i++) {
		send_bytes(fd, hello + i, 1);
		turn();
	}
	for (size_t i = 0; i < sizeof(words); i++) {
		send_bytes(fd, (const uint8_t *)words + i, 1);
		turn();
	}
	EXPECT(fd, 1, PV_VTEST_PROTOCOL_VERSION, 4, 1, PV_VTEST_SYNC_CREATE, 1);
	assert_true(read_sync(fd, 1) == (5 | UINT64_C(6) << 32));
	submit(fd, 0, 0, 0);
	expect_nothing(fd);
	assert_int_equal(fake.submits, 1);
	close(fd);
}

static void blobs(void **state)
{
	uint32_t first, second;
	int fd, blob;
	void *map;

	(void)state;
	start(NULL);
	fd = new_client();
	send_blob(fd, 131268, 0);
	first = expect_resource(fd);
	blob = expect_fd(fd);
	assert_int_equal(fake.last_resource.size_bytes, 131268);
	map = mmap(NULL, 131268, PROT_READ | PROT_WRITE, MAP_SHARED, blob, 0);
	assert_true(map != MAP_FAILED);
	munmap(map, 131268);
	close(blob);
	/* Memory of the GPU alone: an id, and nothing to map. */
	fake.export_result = PV_ERR_UNSUPPORTED;
	send_blob(fd, 4096, 7);
	second = expect_resource(fd);
	blob = expect_fd(fd);
	assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, blob, 0) == MAP_FAILED);
	close(blob);
	assert_int_not_equal(first, second);
	assert_int_equal(fake.resources.count, 2);
	SEND(fd, PV_VTEST_RESOURCE_UNREF, first);
	expect_nothing(fd);
	assert_int_equal(fake.resources.count, 1);
	assert_int_equal(complaints, 0);
	SEND(fd, PV_VTEST_RESOURCE_UNREF, first);
	expect_closed(fd, "there is no resource");
	assert_int_equal(fake.resources.count, 0);
}

/* The client must neither hang nor be cut off: it gets an id, and a descriptor that cannot be mapped. */
static void blob_failures(void **state)
{
	const struct pv_vtest_params params = {.take_listen_fd = -1, .max_client_bytes = 1u << 20};
	uint32_t id;
	int fd, blob;

	(void)state;
	start(&params);
	fd = new_client();
	for (int i = 0; i < 4; i++) {
		fake.result = i == 0 ? PV_ERR_GUEST : i == 1 ? PV_ERR_NO_MEMORY : PV_OK;
		send_blob(fd, i == 2 ? 2u << 20 : i == 3 ? 0 : 4096, 9);
		id = expect_resource(fd);
		blob = expect_fd(fd);
		assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, blob, 0) == MAP_FAILED);
		close(blob);
		SEND(fd, PV_VTEST_RESOURCE_UNREF, id);
		expect_nothing(fd);
	}
	assert_int_equal(complaints, 4);
	assert_int_equal(fake.resources.count, 0);
	send_blob(fd, 1u << 20, 9);
	(void)expect_resource(fd);
	close(expect_fd(fd));
	assert_int_equal(fake.resources.count, 1);
	close(fd);
}

static void late_answers(void **state)
{
	uint32_t sync;
	int fd, other;

	(void)state;
	start(NULL);
	fake.late = true;
	fd = connect_client();
	introduce(fd);
	SEND(fd, PV_VTEST_CONTEXT_INIT, FAKE_CAPSET);
	send_blob(fd, 4096, 0);
	SEND(fd, PV_VTEST_GET_PARAM, 1);
	expect_nothing(fd);
	assert_int_equal(fake.nr_ops, 1);
	fake_renderer_answer(&fake, 0, PV_OK);
	expect_nothing(fd);
	assert_int_equal(fake.nr_ops, 1);
	/* Others go on. */
	other = connect_client();
	introduce(other);
	fake_renderer_answer(&fake, 0, PV_OK);
	(void)expect_resource(fd);
	close(expect_fd(fd));
	EXPECT(fd, 2, PV_VTEST_GET_PARAM, 1, 64);
	/* A sync is set only after the commands. */
	sync = create_sync(fd, 0);
	submit(fd, 3, sync, 5);
	SEND(fd, PV_VTEST_SYNC_READ, sync);
	expect_nothing(fd);
	fake_renderer_answer(&fake, 0, PV_OK);
	EXPECT(fd, 2, PV_VTEST_SYNC_READ, 5, 0);
	assert_int_equal(fake.last_ring_idx, 3);
	close(fd);
	close(other);
}

static void lost_context(void **state)
{
	uint32_t sync;
	int fd, blob;

	(void)state;
	start(NULL);
	fd = new_client();
	sync = create_sync(fd, 0);
	fake.result = PV_ERR_GUEST;
	submit(fd, 1, sync, 4);
	assert_int_equal(read_sync(fd, sync), 4);
	assert_int_equal(complaints, 1);
	submit(fd, 1, sync, 5);
	assert_int_equal(read_sync(fd, sync), 5);
	assert_int_equal(fake.submits, 1);
	send_blob(fd, 4096, 0);
	(void)expect_resource(fd);
	blob = expect_fd(fd);
	assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, blob, 0) == MAP_FAILED);
	close(blob);
	assert_int_equal(complaints, 1);
	close(fd);
}

static void context_fails(void **state)
{
	int fd;

	(void)state;
	start(NULL);
	fake.result = PV_ERR_NO_MEMORY;
	fd = new_client();
	assert_int_equal(complaints, 1);
	submit(fd, 0, create_sync(fd, 0), 1);
	assert_int_equal(read_sync(fd, 1), 1);
	assert_int_equal(fake.nr_created_fences, 0);
	close(fd);
}

static int wait_fd(int fd, uint32_t flags, uint32_t timeout_ms, uint32_t a, uint32_t value_a, uint32_t b,
		   uint32_t value_b)
{
	SEND(fd, PV_VTEST_SYNC_WAIT, flags, timeout_ms, a, value_a, 0, b, value_b, 0);
	EXPECT(fd, 0, PV_VTEST_SYNC_WAIT);
	return expect_fd(fd);
}

static void write_sync(int fd, uint32_t id, uint32_t value)
{
	SEND(fd, PV_VTEST_SYNC_WRITE, id, value, 0);
	turn();
}

static void waits(void **state)
{
	struct pv_vtest_client_stats stats;
	uint32_t a, b;
	int fd, all, any, same;

	(void)state;
	start(NULL);
	fd = new_client();
	a = create_sync(fd, 1);
	b = create_sync(fd, 1);
	/* Reached already. */
	any = wait_fd(fd, PV_VTEST_WAIT_ANY, 0, a, 1, b, 9);
	assert_true(is_readable(any));
	close(any);
	/* Looked at once only. */
	all = wait_fd(fd, 0, 0, a, 1, b, 9);
	assert_false(is_readable(all));
	close(all);
	all = wait_fd(fd, 0, PV_VTEST_WAIT_FOREVER, a, 5, b, 5);
	any = wait_fd(fd, PV_VTEST_WAIT_ANY, PV_VTEST_WAIT_FOREVER, a, 5, b, 5);
	same = wait_fd(fd, PV_VTEST_WAIT_ANY, 100000, a, 3, a, 4);
	write_sync(fd, a, 4);
	assert_false(is_readable(all));
	assert_false(is_readable(any));
	assert_true(is_readable(same));
	write_sync(fd, a, 5);
	assert_true(is_readable(any));
	assert_false(is_readable(all));
	/* What a wait has seen it need not see again. */
	write_sync(fd, a, 0);
	/* The id goes, the wait stays. */
	write_sync(fd, b, 4);
	assert_int_equal(pv_vtest_get_clients(vtest, &stats, 1), 1);
	assert_int_equal(stats.waits, 1);
	write_sync(fd, b, 6);
	assert_true(is_readable(all));
	SEND(fd, PV_VTEST_SYNC_UNREF, b);
	turn();
	close(all);
	close(any);
	close(same);
	/* Left behind. */
	close(wait_fd(fd, 0, PV_VTEST_WAIT_FOREVER, a, 5, a, 6));
	close(wait_fd(fd, 0, 1, a, 5, a, 6));
	assert_int_equal(pv_vtest_get_clients(vtest, &stats, 1), 1);
	assert_int_equal(stats.waits, 2);
	usleep(1100 * 1000);
	turn();
	pv_vtest_get_clients(vtest, &stats, 1);
	assert_int_equal(stats.waits, 1);
	close(fd);
}

static void fences_in_order(void **state)
{
	uint32_t a, b;
	int fd;

	(void)state;
	start(NULL);
	fake.late_fences = true;
	fd = new_client();
	a = create_sync(fd, 0);
	b = create_sync(fd, 0);
	submit(fd, 1, a, 1);
	submit(fd, 1, a, 2);
	submit(fd, 2, b, 7);
	submit(fd, 1, a, 3);
	turn();
	assert_int_equal(fake.nr_fences, 4);
	/* The third of a timeline tells of the ones before it, and of no other timeline. */
	fake_renderer_signal(&fake, 1);
	assert_int_equal(read_sync(fd, a), 2);
	assert_int_equal(read_sync(fd, b), 0);
	fake_renderer_signal(&fake, 0);
	assert_int_equal(read_sync(fd, a), 2);
	fake_renderer_signal(&fake, 0);
	assert_int_equal(read_sync(fd, b), 7);
	/* The sync may go before its fence. */
	SEND(fd, PV_VTEST_SYNC_UNREF, a);
	turn();
	fake_renderer_signal(&fake, 0);
	assert_int_equal(fake.nr_fences, 0);
	/* What is left at the end goes with the client. */
	submit(fd, 2, b, 8);
	turn();
	close(fd);
}

static void too_many_fences(void **state)
{
	uint32_t sync;
	int fd;

	(void)state;
	start(NULL);
	fake.late_fences = true;
	fd = new_client();
	sync = create_sync(fd, 0);
	for (uint32_t i = 0; i < PV_VTEST_MAX_FENCES; i++) {
		submit(fd, 1, sync, i + 1);
		turn();
	}
	/* It is not read further, and not closed. */
	submit(fd, 1, sync, 5000);
	SEND(fd, PV_VTEST_SYNC_READ, sync);
	expect_nothing(fd);
	assert_int_equal(fake.nr_fences, PV_VTEST_MAX_FENCES);
	fake_renderer_signal(&fake, 0);
	turn();
	assert_int_equal(fake.nr_fences, PV_VTEST_MAX_FENCES);
	fake_renderer_signal(&fake, PV_VTEST_MAX_FENCES - 1);
	EXPECT(fd, 2, PV_VTEST_SYNC_READ, 5000, 0);
	close(fd);
	turn();
}

static void many_batches(void **state)
{
	uint32_t sync;
	int fd;

	(void)state;
	start(NULL);
	fd = new_client();
	sync = create_sync(fd, 0);
	fake.late = true;
	SEND(fd, PV_VTEST_SUBMIT_CMD2, 2, PV_VTEST_BATCH_HAS_RING_IDX, 17, 1, 18, 1, 1, 0, 0,
	     PV_VTEST_BATCH_HAS_RING_IDX, 21, 2, 23, 1, 2, 0, 0, 0xaaaa, sync, 1, 0, 0xbbbb, 0xcccc, sync, 2, 0);
	SEND(fd, PV_VTEST_SYNC_READ, sync);
	expect_nothing(fd);
	assert_int_equal(fake.submits, 1);
	assert_int_equal(fake.last_len, 4);
	fake_renderer_answer(&fake, 0, PV_OK);
	expect_nothing(fd);
	assert_int_equal(fake.submits, 2);
	assert_int_equal(fake.last_len, 8);
	assert_int_equal(fake.last_ring_idx, 1);
	fake_renderer_answer(&fake, 0, PV_OK);
	EXPECT(fd, 2, PV_VTEST_SYNC_READ, 2, 0);
	assert_int_equal(fake.last_ring_idx, 2);
	/* The short header of old clients, in this version too. */
	fake.late = false;
	SEND(fd, PV_VTEST_SUBMIT_CMD2, 1, PV_VTEST_BATCH_HAS_RING_IDX, 7, 2, 9, 1, 5, 0xd00d, 0xf00d, sync, 3, 0);
	assert_int_equal(read_sync(fd, sync), 3);
	assert_int_equal(((const uint32_t *)(const void *)fake.last_commands)[1], 0xf00d);
	assert_int_equal(fake.last_ring_idx, 5);
	close(fd);
}

static void fence_descriptors(void **state)
{
	int fd, out, fds[2];
	size_t sent;

	(void)state;
	start(NULL);
	fake.late_fences = true;
	fd = new_client();
	SEND(fd, PV_VTEST_SUBMIT_CMD2, 1, PV_VTEST_BATCH_OUT_FENCE_FD, 9, 1, 0, 0, 0, 0, 0, 0x1);
	out = expect_fd(fd);
	assert_false(is_readable(out));
	fake_renderer_signal(&fake, 0);
	assert_true(is_readable(out));
	close(out);

	/* The in-fence's descriptor comes with the message. */
	const uint32_t words[] = {10, PV_VTEST_SUBMIT_CMD2, 1, PV_VTEST_BATCH_IN_FENCE_FD, 9, 1, 0, 0, 0, 0, 0, 0x2};
	struct iovec iov = {(void *)(uintptr_t)words, sizeof(words)};
	assert_int_equal(pv_notifier_create(fds), PV_OK);
	assert_int_equal(pv_socket_send(fd, &iov, 1, fds, 1, &sent), PV_OK);
	SEND(fd, PV_VTEST_GET_PARAM, 2);
	expect_nothing(fd);
	assert_int_equal(fake.submits, 1);
	pv_notifier_raise(fds[1]);
	EXPECT(fd, 2, PV_VTEST_GET_PARAM, 1, 0);
	assert_int_equal(fake.submits, 2);
	pv_notifier_clear(fds[0]);
	/* A client may leave while it waits for one. */
	assert_int_equal(pv_socket_send(fd, &iov, 1, fds, 1, &sent), PV_OK);
	turn();
	if (fds[1] != fds[0])
		close(fds[1]);
	close(fds[0]);
	close(fd);
	turn();
	assert_int_equal(fake.contexts.count, 0);
}

/* At every point where the renderer has something of it in hand. */
static void death_at_any_moment(void **state)
{
	(void)state;
	start(NULL);
	for (int moment = 0; moment < 6; moment++) {
		int fd = connect_client();

		fake.late = moment != 3;
		fake.late_fences = true;
		introduce(fd);
		SEND(fd, PV_VTEST_CONTEXT_INIT, FAKE_CAPSET);
		turn();
		if (moment >= 1 && fake.nr_ops > 0)
			fake_renderer_answer(&fake, 0, PV_OK);
		if (moment == 1 || moment == 4)
			send_blob(fd, 4096, 0);
		turn();
		/* Done, but the client has not been told. */
		if (moment == 4)
			fake_renderer_answer(&fake, 0, PV_OK);
		if (moment == 2)
			submit(fd, 0, 0, 0);
		if (moment == 3) {
			submit(fd, 1, create_sync(fd, 0), 1);
			close(wait_fd(fd, 0, PV_VTEST_WAIT_FOREVER, 1, 1, 1, 2));
		}
		if (moment == 5)
			send_bytes(fd, "\1", 1);
		if (moment != 4)
			turn();
		close(fd);
		turn();
		assert_int_equal(fake.contexts.count, 0);
		assert_int_equal(fake.resources.count, 0);
		assert_int_equal(fake.nr_ops, 0);
	}
	assert_int_equal(complaints, 0);
}

/* It never takes a reply: it is not read further, costs nothing, and nobody else notices. */
static void deaf_client(void **state)
{
	const uint32_t words[] = {2, PV_VTEST_RESOURCE_BUSY_WAIT, 0, 0};
	int fd, other, sent = 0;

	(void)state;
	start(NULL);
	fd = new_client();
	for (int i = 0; i < 100000; i++) {
		if (send(fd, words, sizeof(words), MSG_NOSIGNAL) != sizeof(words)) {
			turn();
			if (send(fd, words, sizeof(words), MSG_NOSIGNAL) != sizeof(words))
				break;
		}
		sent++;
	}
	assert_in_range(sent, 1, 99999);
	other = new_client();
	close(fd);
	turn();
	assert_int_equal(fake.contexts.count, 1);
	close(other);
}

static void floods_take_turns(void **state)
{
	uint32_t words[3 * 1024];
	int fd, other;

	(void)state;
	start(NULL);
	fd = new_client();
	other = new_client();
	for (size_t i = 0; i < PV_ARRAY_LEN(words); i += 3) {
		words[i] = 1;
		words[i + 1] = PV_VTEST_CONTEXT_INIT;
		words[i + 2] = 99;
	}
	uint32_t sync = create_sync(fd, 0);
	uint32_t writes[5 * 1000];
	for (size_t i = 0; i < PV_ARRAY_LEN(writes); i += 5) {
		const uint32_t one[5] = {3, PV_VTEST_SYNC_WRITE, sync, (uint32_t)i, 0};
		memcpy(&writes[i], one, sizeof(one));
	}
	send_bytes(fd, writes, sizeof(writes));
	SEND(other, PV_VTEST_GET_PARAM, 1);
	pv_loop_step(loop, 0);
	pv_loop_step(loop, 0);
	uint32_t got[4];
	assert_int_equal(recv(other, got, sizeof(got), 0), sizeof(got));
	struct pv_vtest_client_stats stats;
	pv_vtest_get_clients(vtest, &stats, 1);
	assert_true(stats.commands < 900);
	for (int i = 0; i < 100; i++)
		turn();
	assert_int_equal(read_sync(fd, sync), 4995);
	close(fd);
	close(other);
}

static void limits(void **state)
{
	const struct pv_vtest_params params = {.take_listen_fd = -1, .max_client_fds = 4};
	uint32_t sync;
	int fd, blob;

	(void)state;
	start(&params);
	fd = new_client();
	sync = create_sync(fd, 0);
	for (int i = 0; i < 4; i++) {
		send_blob(fd, 4096, 0);
		(void)expect_resource(fd);
		close(expect_fd(fd));
	}
	send_blob(fd, 4096, 0);
	(void)expect_resource(fd);
	blob = expect_fd(fd);
	assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, blob, 0) == MAP_FAILED);
	close(blob);
	complaints = 0;
	SEND(fd, PV_VTEST_SYNC_WAIT, 0, 0, sync, 1, 0);
	expect_closed(fd, "too many waits");
}

static void stranger(int fd, const void *bytes, size_t len, const char *complaint)
{
	send_bytes(fd, bytes, len);
	expect_closed(fd, complaint);
}

static void hostile_messages(void **state)
{
	const struct {
		uint32_t words[20];
		size_t count;
		const char *complaint;
	} cases[] = {
	    {{0, 0}, 2, "there is no command 0"},
	    {{0, 4}, 2, "there is no command 4"},
	    {{0, PV_VTEST_GET_CAPS}, 2, "there is no OpenGL"},
	    {{1, PV_VTEST_SUBMIT_CMD, 0}, 3, "there is no OpenGL"},
	    {{10, PV_VTEST_RESOURCE_CREATE, 1}, 12, "there is no OpenGL"},
	    {{10, PV_VTEST_TRANSFER_PUT2, 1}, 12, "there is no OpenGL"},
	    {{1, 25, 0}, 3, "there is no command 25"},
	    {{0, UINT32_MAX}, 2, "there is no command"},
	    {{UINT32_MAX, PV_VTEST_SUBMIT_CMD2}, 2, "a length of"},
	    {{1, PV_VTEST_CREATE_RENDERER, 0}, 3, "introduced itself already"},
	    {{2, PV_VTEST_GET_PARAM, 0, 0}, 4, "a length of 2"},
	    {{1, PV_VTEST_CONTEXT_INIT, FAKE_CAPSET}, 3, "there is a context already"},
	    {{6, PV_VTEST_RESOURCE_CREATE_BLOB, 0, 1, 4096, 0, 0, 0}, 8, "there is no blob type 0"},
	    {{6, PV_VTEST_RESOURCE_CREATE_BLOB, 2, 8, 4096, 0, 0, 0}, 8, "there are no blob flags 0x8"},
	    {{6, PV_VTEST_RESOURCE_CREATE_BLOB, 1, 1, 4096, 0, 1, 0}, 8, "a guest's blob has no id"},
	    {{1, PV_VTEST_RESOURCE_UNREF, 1}, 3, "there is no resource 1"},
	    {{1, PV_VTEST_SYNC_READ, 0}, 3, "there is no sync 0"},
	    {{1, PV_VTEST_SYNC_UNREF, 9}, 3, "there is no sync 9"},
	    {{3, PV_VTEST_SYNC_WRITE, 9, 0, 0}, 5, "there is no sync 9"},
	    {{5, PV_VTEST_SYNC_WAIT, 0, 0, 9, 0, 0}, 7, "a sync does not exist"},
	    {{4, PV_VTEST_SYNC_WAIT, 0, 0, 9, 0}, 6, "not a whole number"},
	    {{2, PV_VTEST_SYNC_WAIT, 2, 0}, 4, "there are no flags 0x2"},
	    {{0, PV_VTEST_SUBMIT_CMD2}, 2, "a length of 0"},
	    {{1, PV_VTEST_SUBMIT_CMD2, UINT32_MAX}, 3, "batches do not fit"},
	    {{1, PV_VTEST_SUBMIT_CMD2, 1}, 3, "1 batches do not fit"},
	    {{7, PV_VTEST_SUBMIT_CMD2, 1, 8, 0, 0, 0, 0, 0}, 9, "there are no flags 0x8"},
	    {{7, PV_VTEST_SUBMIT_CMD2, 1, 0, 7, 1, 0, 0, 0}, 9, "commands at 7+1 do not fit"},
	    {{7, PV_VTEST_SUBMIT_CMD2, 1, 0, UINT32_MAX, 2, 0, 0, 0}, 9, "do not fit into 7 words"},
	    {{7, PV_VTEST_SUBMIT_CMD2, 1, 0, 7, 0, 7, 0x55555556, 0}, 9, "syncs at 7 do not fit"},
	    {{7, PV_VTEST_SUBMIT_CMD2, 1, 0, 7, 0, 4, 1, 0}, 9, "there is no sync"},
	    {{7, PV_VTEST_SUBMIT_CMD2, 1, 1, 7, 0, 7, 0, 64}, 9, "there is no timeline 64"},
	    {{7, PV_VTEST_SUBMIT_CMD2, 1, 2, 7, 0, 7, 0, 0}, 9, "descriptor has not come"},
	};

	(void)state;
	start(NULL);
	for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
		/* The log's limit is the server's. */
		if (i % 8 == 0) {
			pv_vtest_destroy(vtest);
			start(NULL);
		}
		stranger(new_client(), cases[i].words, 4 * cases[i].count, cases[i].complaint);
		assert_int_equal(fake.contexts.count, 0);
	}
}

static void strangers(void **state)
{
	const uint32_t early[] = {1, PV_VTEST_PROTOCOL_VERSION, 4};
	const uint32_t no_context[] = {4, PV_VTEST_CREATE_RENDERER, 0x41, 1, PV_VTEST_PROTOCOL_VERSION, 4,
				       1, PV_VTEST_RESOURCE_UNREF,  1};
	const uint32_t long_name[] = {(1u << 20) + 1, PV_VTEST_CREATE_RENDERER};
	const uint32_t capset[] = {4, PV_VTEST_CREATE_RENDERER, 0x41, 1, PV_VTEST_PROTOCOL_VERSION, 4,
				   1, PV_VTEST_CONTEXT_INIT,    99};

	(void)state;
	start(NULL);
	stranger(connect_client(), early, sizeof(early), "in place of CREATE_RENDERER");
	stranger(connect_client(), no_context, sizeof(no_context), "before CONTEXT_INIT");
	stranger(connect_client(), long_name, sizeof(long_name), "a length of 1048577");
	stranger(connect_client(), capset, sizeof(capset), "capset 99 is not one of those");
}

/* Of one client's things no other can reach. */
static void clients_are_apart(void **state)
{
	uint32_t resource, sync;
	int a, b;

	(void)state;
	start(NULL);
	a = new_client();
	b = new_client();
	send_blob(a, 4096, 0);
	resource = expect_resource(a);
	close(expect_fd(a));
	sync = create_sync(a, 3);
	assert_int_equal(create_sync(b, 9), sync);
	assert_int_equal(read_sync(a, sync), 3);
	SEND(b, PV_VTEST_RESOURCE_UNREF, resource);
	expect_closed(b, "there is no resource");
	assert_int_equal(fake.resources.count, 1);
	assert_int_equal(read_sync(a, sync), 3);
	close(a);
}

static void listening(void **state)
{
	struct pv_vtest_params params = {.max_clients = 2};
	struct pv_vtest_stats stats;
	char path[64];
	int fds[4];

	(void)state;
	snprintf(path, sizeof(path), "/tmp/pv-vtest-%d.sock", (int)getpid());
	assert_int_equal(pv_socket_listen(path, &params.take_listen_fd), PV_OK);
	start(&params);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pv_socket_connect(path, &fds[i]), PV_OK);
		assert_int_equal(pv_fd_set_nonblocking(fds[i], true), PV_OK);
		turn();
	}
	introduce(fds[0]);
	introduce(fds[1]);
	pv_vtest_get_stats(vtest, &stats);
	assert_int_equal(stats.clients, 2);
	/* The third's turn comes when one leaves. */
	close(fds[1]);
	turn();
	introduce(fds[2]);
	pv_vtest_get_stats(vtest, &stats);
	assert_int_equal(stats.clients, 2);
	assert_int_equal(stats.connections, 3);
	close(fds[0]);
	close(fds[2]);
	turn();
	introduce(fds[3]);
	close(fds[3]);
	unlink(path);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
	    TEST(handshake),
	    TEST(old_versions),
	    TEST(byte_by_byte),
	    TEST(blobs),
	    TEST(blob_failures),
	    TEST(late_answers),
	    TEST(lost_context),
	    TEST(context_fails),
	    TEST(waits),
	    TEST(fences_in_order),
	    TEST(too_many_fences),
	    TEST(many_batches),
	    TEST(fence_descriptors),
	    TEST(death_at_any_moment),
	    TEST(deaf_client),
	    TEST(floods_take_turns),
	    TEST(limits),
	    TEST(strangers),
	    TEST(hostile_messages),
	    TEST(clients_are_apart),
	    TEST(listening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

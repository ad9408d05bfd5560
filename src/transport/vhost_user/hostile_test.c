/* SPDX-License-Identifier: MIT */
/* Front ends that make mistakes, leave at any moment or do not read. */
#include "transport/vhost_user/vhost_user_test.h"

/* Mistakes of the peer. */

enum moment { AT_ONCE, REALIZED, RUNNING };

struct mistake {
	const char *name;
	enum moment moment;
	uint32_t request;
	uint32_t size;
	uint64_t words[5];
	bool with_ram_fd;
	const char *complaint;
	bool closes; /* even with need_reply */
};

#define PAIR(low, high) ((uint64_t)(low) | (uint64_t)(high) << 32)

static const struct mistake mistakes[] = {
    {"unknown", AT_ONCE, 99, 0, {0}, false, "request: number 99", true},
    {"size", AT_ONCE, PV_VHOST_SET_FEATURES, 4, {0}, false, "SET_FEATURES: size 4", true},
    {"not agreed on", AT_ONCE, PV_VHOST_GET_STATUS, 0, {0}, false, "GET_STATUS: needs protocol feature", true},
    {"window where there is none", REALIZED, PV_VHOST_GET_SHMEM_CONFIG, 0, {0}, false, "GET_SHMEM_CONFIG", true},
    {"surplus fd", REALIZED, PV_VHOST_SET_OWNER, 0, {0}, true, "SET_OWNER: 1 fds", true},
    {"index", REALIZED, PV_VHOST_GET_VRING_BASE, 8, {PAIR(2, 0)}, false, "GET_VRING_BASE: index 2", true},
    {"features", REALIZED, PV_VHOST_SET_FEATURES, 8, {1 << 5}, false, "SET_FEATURES: features 0x20", false},
    {"protocol features", REALIZED, PV_VHOST_SET_PROTOCOL_FEATURES, 8, {2}, false, "SET_PROTOCOL_FEATURES", false},
    {"large ring", REALIZED, PV_VHOST_SET_VRING_NUM, 8, {PAIR(0, 2048)}, false, "SET_VRING_NUM: num 2048", false},
    {"kick of a ring without size", REALIZED, PV_VHOST_SET_VRING_KICK, 8, {1}, true, "SET_VRING_NUM must come", false},
    {"polling", REALIZED, PV_VHOST_SET_VRING_KICK, 8, {1 | 1 << 8}, false, "polling", false},
    {"a file as call fd", REALIZED, PV_VHOST_SET_VRING_CALL, 8, {1}, true, "not an event fd", false},
    {"a file as kick fd", RUNNING, PV_VHOST_SET_VRING_KICK, 8, {1}, true, "not an event fd", false},
    {"a file as back channel", REALIZED, PV_VHOST_SET_BACKEND_REQ_FD, 0, {0}, true, "not a stream socket", false},
    {"num of a running ring", RUNNING, PV_VHOST_SET_VRING_NUM, 8, {PAIR(0, 8)}, false, "running", false},
    {"base of a running ring", RUNNING, PV_VHOST_SET_VRING_BASE, 8, {PAIR(0, 8)}, false, "running", false},
    {"address of a running ring", RUNNING, PV_VHOST_SET_VRING_ADDR, 40, {0, 1, 2, 3}, false, "running", false},
    {"features of a running device", RUNNING, PV_VHOST_SET_FEATURES, 8, {1ULL << 32}, false, "running", false},
    {"overlap", RUNNING, PV_VHOST_ADD_MEM_REG, 40, {0, 4096, 4096, 1ULL << 46}, true, "overlap", false},
    {"large region",
     RUNNING,
     PV_VHOST_ADD_MEM_REG,
     40,
     {0, 1ULL << 33, 1ULL << 32, 1ULL << 46},
     true,
     "ends behind its file",
     false},
    {"removal of nothing", RUNNING, PV_VHOST_REM_MEM_REG, 40, {0, 1, 2, 3}, false, "there is none", false},
    {"status", RUNNING, PV_VHOST_SET_STATUS, 8, {256}, false, "status 0x100", false},
};

static void make_mistake(const struct mistake *mistake, bool need_reply)
{
	struct fe fe;
	uint64_t answer = 0;

	fe_open(&fe, &(struct fe_params){0});
	if (mistake->moment >= REALIZED)
		fe_realize(&fe, ALL);
	if (mistake->moment >= RUNNING)
		fe_start(&fe);
	begin(NULL);
	fe_send(&fe, mistake->request, need_reply ? PV_VHOST_NEED_REPLY : 0, mistake->words, mistake->size,
		&fe.guest.ram, mistake->with_ram_fd ? 1 : 0);
	if (need_reply && !mistake->closes) {
		fe_expect(&fe, mistake->request, &answer, sizeof(answer));
		assert_int_equal(answer, 1);
		(void)fe_ask_u64(&fe, PV_VHOST_GET_FEATURES);
		if (mistake->moment == RUNNING)
			assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	} else {
		assert_int_equal(fe_expect_closed(&fe), PV_ERR_PEER);
	}
	assert_complained_about(mistake->complaint);
	assert_int_equal(count_complaints(), 1);
	fe_close(&fe);
}

static void each_mistake_is_named_and_costs_what_it_should(void **state)
{
	(void)state;
	int before = fds_before;

	for (size_t i = 0; i < PV_ARRAY_LEN(mistakes); i++) {
		print_message("# %s\n", mistakes[i].name);
		make_mistake(&mistakes[i], false);
		make_mistake(&mistakes[i], mistakes[i].moment != AT_ONCE);
	}
	fds_before = before;
}

static void rings_outside_memory_are_refused(void **state)
{
	(void)state;
	static const uint64_t offsets[][3] = {{FG_RAM_BYTES - 8, 0, 4096},
					      {4096, FG_RAM_BYTES - 8, 0},
					      {4096, 0, FG_RAM_BYTES - 8},
					      {1ULL << 40, 0, 4096}};

	for (size_t i = 0; i < PV_ARRAY_LEN(offsets); i++) {
		struct pv_vhost_ring_addr addr = {.desc = FE_USER_ADDR + offsets[i][0],
						  .used = FE_USER_ADDR + offsets[i][1],
						  .avail = FE_USER_ADDR + offsets[i][2]};
		struct fe fe;

		fe_open(&fe, &(struct fe_params){0});
		fe_realize(&fe, ALL);
		fe_set_features(&fe);
		fe_add_ram(&fe);
		assert_int_equal(fe_tell_ring(&fe, PV_VHOST_SET_VRING_NUM, 0, 64), 0);
		assert_int_equal(fe_tell(&fe, PV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
		assert_int_equal(fe_tell_u64(&fe, PV_VHOST_SET_VRING_KICK, 0, fe.guest.rings[0].kick), 0);
		assert_int_equal(fe_tell_ring(&fe, PV_VHOST_SET_VRING_ENABLE, 0, 1), 1);
		assert_complained_about("lies in no memory region");
		assert_int_equal(fe_stop_ring(&fe, 0), 0);
		fe_close(&fe);
	}
}

/* A size that is no power of two, an odd address: what a driver can do wrong costs it the ring, not the connection. */
static void a_bad_driver_keeps_the_connection(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_set_features(&fe);
	fe_add_ram(&fe);
	fe_set_up_ring(&fe, 0);
	(void)fe_stop_ring(&fe, 0);
	assert_int_equal(fe_tell_ring(&fe, PV_VHOST_SET_VRING_NUM, 0, 15), 0);
	assert_int_equal(fe_tell_u64(&fe, PV_VHOST_SET_VRING_KICK, 0, fe.guest.rings[0].kick), 0);
	assert_int_equal(fe_tell_ring(&fe, PV_VHOST_SET_VRING_ENABLE, 0, 1), 0);
	(void)fe_stop_ring(&fe, 0);
	fe_set_up_ring(&fe, 0);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fe_close(&fe);
}

static void slots_are_limited(void **state)
{
	(void)state;
	struct fe fe;
	uint64_t max;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	max = fe_ask_u64(&fe, PV_VHOST_GET_MAX_MEM_SLOTS);
	for (uint64_t i = 1; i <= max; i++) {
		struct pv_vhost_single_region region = {.region = {.guest_addr = (1ULL << 40) + i * 8192,
								   .size_bytes = 4096,
								   .user_addr = (1ULL << 45) + i * 8192}};

		assert_int_equal(fe_tell(&fe, PV_VHOST_ADD_MEM_REG, &region, sizeof(region), fe.guest.ram), i == max);
	}
	assert_complained_about("slots are in use");
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fe_close(&fe);
}

static void a_region_may_begin_anywhere_in_its_file(void **state)
{
	(void)state;
	struct pv_vhost_single_region region = {
	    .region = {.guest_addr = 1ULL << 40, .size_bytes = 4096, .user_addr = 1ULL << 45, .mmap_offset = 12345}};
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	assert_int_equal(fe_tell(&fe, PV_VHOST_ADD_MEM_REG, &region, sizeof(region), fe.guest.ram), 0);
	assert_int_equal(fe_tell(&fe, PV_VHOST_REM_MEM_REG, &region, sizeof(region), -1), 0);
	fe_close(&fe);
}

static void memory_that_is_cut_short_costs_the_connection(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	assert_int_equal(ftruncate(fe.guest.ram, 0), 0);
	fg_kick(&fe.guest, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(fe_expect_closed(&fe), PV_ERR_PEER);
	assert_complained_about("cut short");
	fe_close(&fe);
}

static void need_reply_must_be_agreed_on(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_send(&fe, PV_VHOST_SET_OWNER, PV_VHOST_NEED_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(fe_expect_closed(&fe), PV_ERR_PEER);
	assert_complained_about("REPLY_ACK");
	fe_close(&fe);
}

/* The end, at any byte. */

static void a_front_end_may_leave_at_any_byte(void **state)
{
	(void)state;
	struct {
		struct pv_vhost_header features;
		uint64_t value;
		struct pv_vhost_header kick;
		uint64_t index;
	} __attribute__((packed)) session = {
	    .features = {PV_VHOST_SET_PROTOCOL_FEATURES, PV_VHOST_VERSION, 8},
	    .value = PV_VHOST_PROTOCOL_F_MQ,
	    .kick = {PV_VHOST_SET_VRING_CALL, PV_VHOST_VERSION, 8},
	    .index = 1,
	};

	for (size_t len = 0; len <= sizeof(session); len++) {
		size_t first = pv_min_u64(len, 20);
		struct fe fe;

		fe_open(&fe, &(struct fe_params){0});
		if (first > 0)
			assert_true(fe_send_bytes(&fe, &session, first, NULL, 0));
		if (len > first)
			assert_true(
			    fe_send_bytes(&fe, (uint8_t *)&session + first, len - first, &fe.guest.rings[0].call, 1));
		shutdown(fe.sock, SHUT_WR);
		bool whole = len == 0 || len == 20 || len == sizeof(session);
		assert_int_equal(fe_expect_closed(&fe), whole ? PV_OK : PV_ERR_PEER);
		fe_close(&fe);
	}
}

static void leaving_and_destroying_at_any_stage(void **state)
{
	(void)state;
	for (int stage = 0; stage < 8; stage++) {
		struct pv_gpu_ctrl_hdr command = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};
		struct fe fe;

		fe_open(&fe, &(struct fe_params){.window_bytes = WINDOW_BYTES});
		if (stage / 2 >= 1)
			fe_realize(&fe, ALL);
		if (stage / 2 >= 2)
			fe_start(&fe);
		if (stage / 2 >= 3) {
			for (int n = 0; n < 7; n++)
				fg_submit(&fe.guest, PV_GPU_QUEUE_CONTROL, &command, sizeof(command));
			fg_kick(&fe.guest, PV_GPU_QUEUE_CONTROL);
		}
		if (stage % 2)
			fe_hang_up(&fe);
		fe_close(&fe);
	}
	assert_int_equal(count_complaints(), 0);
}

/* A message that waits for the device must not keep us from seeing that its sender has left. */
static void leaving_while_the_device_is_busy(void **state)
{
	(void)state;
	struct blocker blocker = {.task.run = block};
	struct fe fe;

	sem_init(&blocker.entered, 0, 0);
	sem_init(&blocker.leave, 0, 0);
	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	pv_loop_post(fe.guest.loop, &blocker.task);
	sem_wait(&blocker.entered);
	struct pv_vhost_ring_state ring = {0};
	fe_send(&fe, PV_VHOST_GET_VRING_BASE, 0, &ring, sizeof(ring), NULL, 0);
	sleep_ms(20);
	fe_hang_up(&fe);
	for (int ms = 0; stats_of(&fe).connected; ms++) {
		assert_true(ms < 5000);
		sleep_ms(1);
	}
	assert_int_equal(atomic_load(&fe.closed), -1);
	sem_post(&blocker.leave);
	fe_close(&fe);
	sem_destroy(&blocker.entered);
	sem_destroy(&blocker.leave);
}

/* Requests without end whose replies nobody reads: they stay in the sender's socket, and the device goes on. */
static void a_flood_floods_its_sender(void **state)
{
	(void)state;
	struct pv_vhost_config config = {.size = 256};
	uint8_t bytes[sizeof(struct pv_vhost_header) + sizeof(config)];
	struct pv_vhost_header header = {
	    .request = PV_VHOST_GET_CONFIG, .flags = PV_VHOST_VERSION, .size = sizeof(config)};
	struct fe fe;
	uint64_t sent_bytes = 0, messages;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), &config, sizeof(config));
	assert_int_equal(pv_fd_set_nonblocking(fe.sock, true), PV_OK);
	for (int pauses = 0; pauses < 20;) {
		struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
		size_t sent = 0;

		if (pv_socket_send(fe.sock, &iov, 1, NULL, 0, &sent) == PV_OK) {
			assert_int_equal(sent, sizeof(bytes));
			sent_bytes += sent;
			pauses = 0;
		} else {
			pauses++;
			sleep_ms(5);
		}
		assert_true(sent_bytes < 64u << 20);
	}
	messages = stats_of(&fe).messages;
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	assert_int_equal(stats_of(&fe).messages, messages);
	/* When it reads, it gets them all. */
	assert_int_equal(pv_fd_set_nonblocking(fe.sock, false), PV_OK);
	for (uint64_t i = 0; i < sent_bytes / sizeof(bytes); i++)
		fe_expect(&fe, PV_VHOST_GET_CONFIG, &config, sizeof(config));
	fe_close(&fe);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(each_mistake_is_named_and_costs_what_it_should),
	    TEST(rings_outside_memory_are_refused),
	    TEST(a_bad_driver_keeps_the_connection),
	    TEST(slots_are_limited),
	    TEST(a_region_may_begin_anywhere_in_its_file),
	    TEST(memory_that_is_cut_short_costs_the_connection),
	    TEST(need_reply_must_be_agreed_on),
	    TEST(a_front_end_may_leave_at_any_byte),
	    TEST(leaving_and_destroying_at_any_stage),
	    TEST(leaving_while_the_device_is_busy),
	    TEST(a_flood_floods_its_sender),
	};

	setvbuf(stdout, NULL, _IOLBF, 0); /* so that an abort leaves the log behind */
	pv_log_set_sink(keep_line, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

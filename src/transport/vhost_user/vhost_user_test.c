/* SPDX-License-Identifier: MIT */
/* What a front end and its guest may do. */
#include "transport/vhost_user/vhost_user_test.h"

/* The dead lock with a console that does not read needs one of the kind that QEMU's socket gets. */
#include "display/vmm_console.h"

/* Start and stop. */

static void commands_are_answered(void **state)
{
	(void)state;
	static const uint64_t sets[] = {
	    ALL,
	    ~PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
	    ~PV_VHOST_PROTOCOL_F_REPLY_ACK,
	    ~PV_VHOST_PROTOCOL_F_STATUS,
	    PV_VHOST_PROTOCOL_F_CONFIG,
	    0,
	};

	for (size_t i = 0; i < PV_ARRAY_LEN(sets); i++) {
		struct fe fe;

		fe_open(&fe, &(struct fe_params){0});
		fe_realize(&fe, sets[i]);
		fe_start(&fe);
		for (int n = 0; n < 40; n++)
			assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
		assert_true(stats_of(&fe).connected);
		assert_int_equal(stats_of(&fe).memory_bytes, FG_RAM_BYTES);
		assert_true(stats_of(&fe).doorbells >= 1);
		fe_stop(&fe);
		fe_hang_up(&fe);
		fe_close(&fe);
	}
	assert_int_equal(count_complaints(), 0);
}

static void rings_without_protocol_features_start_enabled(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_send(&fe, PV_VHOST_SET_OWNER, 0, NULL, 0, NULL, 0);
	fe_tell_u64(&fe, PV_VHOST_SET_FEATURES, PV_VIRTIO_F_VERSION_1, -1);
	fe_add_ram(&fe);
	fe_set_up_ring(&fe, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fe_close(&fe);
}

static void disabled_rings_wait(void **state)
{
	(void)state;
	struct pv_gpu_ctrl_hdr command = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	assert_int_equal(fe_tell_ring(&fe, PV_VHOST_SET_VRING_ENABLE, PV_GPU_QUEUE_CONTROL, 0), 0);
	(void)fe_ask_u64(&fe, PV_VHOST_GET_FEATURES);
	/* Config writes are done when answered, so what came before is done as well. */
	struct pv_vhost_config write = {.offset = 4, .size = 4};
	fe_tell(&fe, PV_VHOST_SET_CONFIG, &write, PV_VHOST_CONFIG_HEADER_BYTES + 4, -1);
	fg_submit(&fe.guest, PV_GPU_QUEUE_CONTROL, &command, sizeof(command));
	fg_kick(&fe.guest, PV_GPU_QUEUE_CONTROL);
	sleep_ms(50);
	assert_false(fg_is_answered(&fe.guest, PV_GPU_QUEUE_CONTROL));
	assert_int_equal(fe_tell_ring(&fe, PV_VHOST_SET_VRING_ENABLE, PV_GPU_QUEUE_CONTROL, 1), 0);
	assert_int_equal(fg_wait_response(&fe.guest, PV_GPU_QUEUE_CONTROL), PV_GPU_RESP_OK_DISPLAY_INFO);
	fe_close(&fe);
}

static void a_paused_machine_goes_on_where_it_was(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	assert_int_equal(fg_create_2d(&fe.guest, 1, 8, 8), PV_GPU_RESP_OK_NODATA);
	fe_stop(&fe);
	fe_start(&fe);
	/* Its resource is still there. */
	assert_int_equal(fg_create_2d(&fe.guest, 1, 8, 8), PV_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(fg_create_2d(&fe.guest, 2, 8, 8), PV_GPU_RESP_OK_NODATA);
	fe_close(&fe);
}

/* QEMU tells nobody when a driver is unbound and bound again; its rings begin at 0. */
static void a_new_driver_finds_an_empty_device(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	for (int round = 0; round < 3; round++) {
		fe_start(&fe);
		assert_int_equal(fg_create_2d(&fe.guest, 1, 8, 8), PV_GPU_RESP_OK_NODATA);
		fe_stop(&fe);
		fg_forget_rings(&fe.guest);
	}
	fe_close(&fe);
}

/* RING_RESET: one queue starts anew, its driver stays. */
static void a_queue_may_start_anew_alone(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	assert_int_equal(fg_create_2d(&fe.guest, 1, 8, 8), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(fe_stop_ring(&fe, PV_GPU_QUEUE_CONTROL), 1);
	fg_forget_rings(&fe.guest);
	fe_set_up_ring(&fe, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(fg_create_2d(&fe.guest, 1, 8, 8), PV_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(fg_create_2d(&fe.guest, 2, 8, 8), PV_GPU_RESP_OK_NODATA);
	fe_close(&fe);
}

static void reset_by_message_and_by_status(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	for (int round = 0; round < 4; round++) {
		fe_start(&fe);
		assert_int_equal(fg_create_2d(&fe.guest, 1, 8, 8), PV_GPU_RESP_OK_NODATA);
		/* With queues running and without. */
		if (round < 2)
			fe_stop(&fe);
		if (round % 2)
			assert_int_equal(fe_tell_u64(&fe, PV_VHOST_SET_STATUS, 0, -1), 0);
		else
			assert_int_equal(fe_tell(&fe, PV_VHOST_RESET_DEVICE, NULL, 0, -1), 0);
		assert_int_equal(fe_ask_u64(&fe, PV_VHOST_GET_STATUS), 0);
		if (round >= 2)
			assert_int_equal(fe_remove_ram(&fe), 0);
		fg_forget_rings(&fe.guest);
	}
	assert_int_equal(count_complaints(), 0);
	fe_close(&fe);
}

static void memory_comes_and_goes_under_running_rings(void **state)
{
	(void)state;
	struct pv_gpu_ctrl_hdr command = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	for (int round = 0; round < 10; round++) {
		assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
		assert_int_equal(fe_remove_ram(&fe), 0);
		fg_submit(&fe.guest, PV_GPU_QUEUE_CONTROL, &command, sizeof(command));
		fg_kick(&fe.guest, PV_GPU_QUEUE_CONTROL);
		(void)fe_ask_u64(&fe, PV_VHOST_GET_FEATURES);
		assert_false(fg_is_answered(&fe.guest, PV_GPU_QUEUE_CONTROL));
		fe_add_ram(&fe);
		assert_int_equal(fg_wait_response(&fe.guest, PV_GPU_QUEUE_CONTROL), PV_GPU_RESP_OK_DISPLAY_INFO);
	}
	assert_int_equal(count_complaints(), 0);
	fe_close(&fe);
}

static void messages_may_come_in_pieces(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_set_features(&fe);
	struct {
		struct pv_vhost_header header;
		uint32_t words[10];
	} message = {
	    .header = {.request = PV_VHOST_ADD_MEM_REG, .flags = PV_VHOST_VERSION | PV_VHOST_NEED_REPLY, .size = 40},
	    .words = {0, 0, 0, 0, FG_RAM_BYTES, 0, 0, (uint32_t)(FE_USER_ADDR >> 32), 0, 0}};
	for (size_t i = 0; i < sizeof(message); i++) {
		assert_true(fe_send_bytes(&fe, (uint8_t *)&message + i, 1, &fe.guest.ram, i == 0 ? 1 : 0));
		if (i % 7 == 0)
			sleep_ms(1);
	}
	uint64_t answer = 1;
	fe_expect(&fe, PV_VHOST_ADD_MEM_REG, &answer, sizeof(answer));
	assert_int_equal(answer, 0);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		fe_set_up_ring(&fe, i);
	fe_tell_ring(&fe, PV_VHOST_SET_VRING_ENABLE, PV_GPU_QUEUE_CONTROL, 1);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fe_close(&fe);
}

static void a_pipe_will_do_for_an_eventfd(void **state)
{
	(void)state;
	struct fe fe;
	int kick[2], call[2];

	fe_open(&fe, &(struct fe_params){0});
	assert_int_equal(pipe(kick) | pipe(call), 0);
	assert_int_equal(pv_fd_set_nonblocking(call[0], true), PV_OK);
	fe_realize(&fe, ALL);
	fe_start(&fe);
	fe_stop_ring(&fe, PV_GPU_QUEUE_CONTROL);
	int event_fds[2] = {fe.guest.rings[0].kick, fe.guest.rings[0].call};
	fe.guest.rings[0].kick = kick[0];
	fe.guest.rings[0].call = call[1];
	fe_set_up_ring(&fe, PV_GPU_QUEUE_CONTROL);
	fe.guest.rings[0].kick = kick[1];
	fe.guest.rings[0].call = call[0];
	/* More than one read's worth of rings, too. */
	static const uint8_t many[2000];
	assert_int_equal(write(kick[1], many, sizeof(many)), (int)sizeof(many));
	for (int n = 0; n < 20; n++)
		assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	/* The other end closes its doorbell: no spinning, and the connection lives. */
	close(kick[1]);
	(void)fe_ask_u64(&fe, PV_VHOST_GET_FEATURES);
	fe.guest.rings[0].kick = event_fds[0];
	fe.guest.rings[0].call = event_fds[1];
	fe_close(&fe);
	close(kick[0]);
	close(call[0]);
	close(call[1]);
}

/* Config. */

static void set_outputs(void *user)
{
	struct fe *fe = user;
	struct pv_output output = {.enabled = true, .width = 800, .height = 600};

	assert_int_equal(pv_gpu_set_outputs(fe->guest.gpu, &output, 1), PV_OK);
}

static uint32_t get_config_word(struct fe *fe, uint32_t offset)
{
	struct pv_vhost_config config = {.offset = offset, .size = 4, .flags = 0xabcd};
	uint32_t word;

	fe_send(fe, PV_VHOST_GET_CONFIG, 0, &config, PV_VHOST_CONFIG_HEADER_BYTES + 4, NULL, 0);
	memset(&config, 0, sizeof(config));
	fe_expect(fe, PV_VHOST_GET_CONFIG, &config, PV_VHOST_CONFIG_HEADER_BYTES + 4);
	assert_int_equal(config.offset, offset);
	assert_int_equal(config.size, 4);
	assert_int_equal(config.flags, 0xabcd);
	memcpy(&word, config.bytes, sizeof(word));
	return word;
}

static void config_changes_reach_the_driver_and_back(void **state)
{
	(void)state;
	struct pv_vhost_config clear = {.offset = 4, .size = 4, .bytes = {PV_GPU_EVENT_DISPLAY}};
	struct fe fe;
	int fd;

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	assert_int_equal(get_config_word(&fe, 0), 0);
	assert_int_equal(get_config_word(&fe, 8), 1);
	assert_int_equal(get_config_word(&fe, 200), 0);
	pv_loop_call(fe.guest.loop, set_outputs, &fe);
	assert_int_equal(fe_expect_back(&fe, NULL, 0, &fd).request, PV_VHOST_BACKEND_CONFIG_CHANGE);
	assert_int_equal(get_config_word(&fe, 0), PV_GPU_EVENT_DISPLAY);
	assert_int_equal(fe_tell(&fe, PV_VHOST_SET_CONFIG, &clear, PV_VHOST_CONFIG_HEADER_BYTES + 4, -1), 0);
	assert_int_equal(get_config_word(&fe, 0), 0);
	fe_close(&fe);
}

/* A front end that reads nothing on the back channel gets one message when it does, not one for each change. */
static void config_changes_do_not_pile_up(void **state)
{
	(void)state;
	struct fe fe;
	int fd, small = 1, messages = 0;

	fe_open(&fe, &(struct fe_params){0});
	setsockopt(fe.sock, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	fe_realize(&fe, ALL);
	for (int n = 0; n < 20000; n++)
		pv_loop_call(fe.guest.loop, set_outputs, &fe);
	(void)fe_ask_u64(&fe, PV_VHOST_GET_FEATURES);
	while (fg_wait_readable(fe.back, 100)) {
		assert_int_equal(fe_expect_back(&fe, NULL, 0, &fd).request, PV_VHOST_BACKEND_CONFIG_CHANGE);
		messages++;
	}
	assert_in_range(messages, 1, 19999);
	fe_close(&fe);
}

static void a_front_end_with_a_console_hears_of_no_config_changes(void **state)
{
	(void)state;
	struct fe fe;
	int pair[2];

	fe_open(&fe, &(struct fe_params){0});
	fe_realize(&fe, ALL);
	assert_int_equal(pv_socket_pair(pair), PV_OK);
	assert_int_equal(fe_tell(&fe, PV_VHOST_GPU_SET_SOCKET, NULL, 0, pair[0]), 0);
	close(pair[0]);
	fe_start(&fe);
	pv_loop_call(fe.guest.loop, set_outputs, &fe);
	assert_false(fg_wait_readable(fe.back, 50));
	assert_int_equal(get_config_word(&fe, 0), PV_GPU_EVENT_DISPLAY);
	assert_int_equal(atomic_load(&fe.consoles), 1);
	/* It is the other end of ours. */
	assert_int_equal(write(pair[1], "x", 1), 1);
	assert_true(fg_wait_readable(fe.console_fd, 1000));
	close(pair[1]);
	fe_close(&fe);
}

/* The three dead locks. */

/*
 * 1: the device waits for something of the front end while the front end's main thread waits for our ACK of ENABLE or
 * CALL. Here the device thread stands still altogether: no answer that QEMU's main thread waits for at that time may
 * need it.
 */
static void acks_do_not_wait_for_the_device(void **state)
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
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		assert_int_equal(fe_tell_u64(&fe, PV_VHOST_SET_VRING_CALL, i, fe.guest.rings[i].call), 0);
		assert_int_equal(fe_tell_u64(&fe, PV_VHOST_SET_VRING_KICK, i, fe.guest.rings[i].kick), 0);
		/* Off is another matter: it says that nothing more is taken. */
		assert_int_equal(fe_tell_ring(&fe, PV_VHOST_SET_VRING_ENABLE, i, 1), 0);
	}
	assert_int_equal(fe_ask_u64(&fe, PV_VHOST_GET_STATUS), 8);
	assert_int_equal(get_config_word(&fe, 8), 1);
	sem_post(&blocker.leave);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fe_close(&fe);
	sem_destroy(&blocker.entered);
	sem_destroy(&blocker.leave);
}

/* Takes the SHMEM_MAP request; returns the window's fd. */
static int expect_map(struct fe *fe)
{
	struct pv_vhost_shmem_map map;
	int fd;
	struct pv_vhost_header header = fe_expect_back(fe, &map, sizeof(map), &fd);

	assert_int_equal(header.request, PV_VHOST_BACKEND_SHMEM_MAP);
	assert_int_equal(header.flags, PV_VHOST_VERSION | PV_VHOST_NEED_REPLY);
	assert_int_equal(map.shmid, 1);
	assert_int_equal(map.fd_offset, 0);
	assert_int_equal(map.shm_offset, 0);
	assert_int_equal(map.len, WINDOW_BYTES);
	assert_int_equal(map.flags, PV_VHOST_SHMEM_WRITABLE);
	assert_true(fd >= 0);
	return fd;
}

static bool becomes_mapped(struct fe *fe, bool mapped)
{
	for (int ms = 0; ms < 5000; ms++) {
		if (stats_of(fe).window_mapped == mapped)
			return true;
		sleep_ms(1);
	}
	return false;
}

/* 2: QEMU answers SHMEM_MAP only after we have acknowledged the memory region that the mapping made. */
static void the_window_region_comes_before_the_reply(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){.window_bytes = WINDOW_BYTES});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	int fd = expect_map(&fe);
	fe.window_fd = fd;
	fe_add_ram(&fe);
	assert_false(stats_of(&fe).window_mapped);
	assert_int_equal(stats_of(&fe).memory_regions, 2);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fe_answer_back(&fe, PV_VHOST_BACKEND_SHMEM_MAP, 0);
	assert_true(becomes_mapped(&fe, true));
	fe.window_fd = -1;
	fe_add_ram(&fe);
	assert_int_equal(stats_of(&fe).memory_regions, 1);
	close(fd);
	assert_int_equal(count_complaints(), 0);
	fe_close(&fe);
}

static struct pv_display *console;

static void heads_changed(void *user, const struct pv_output heads[PV_GPU_MAX_SCANOUTS])
{
	struct fe *fe = user;

	assert_int_equal(pv_gpu_update_outputs(fe->guest.gpu, heads, PV_GPU_MAX_SCANOUTS), PV_OK);
}

static void queried(void *user)
{
	struct fe *fe = user;

	pv_gpu_outputs_queried(fe->guest.gpu);
}

static void make_console(void *user, int take_fd)
{
	struct fe *fe = user;
	struct pv_vmm_console_params params = {
	    .loop = fe->guest.loop, .take_fd = take_fd, .heads_changed = heads_changed, .queried = queried, .user = fe};

	assert_int_equal(pv_vmm_console_create(&params, &console), PV_OK);
	pv_gpu_add_display(fe->guest.gpu, console);
}

static void remove_console(void *user)
{
	struct fe *fe = user;

	pv_gpu_remove_display(fe->guest.gpu, console);
}

/* 3: the front end's main thread, which reads the console's socket, waits for GET_VRING_BASE while that socket is full.
 */
static void a_stop_is_answered_while_the_console_is_full(void **state)
{
	(void)state;
	struct pv_gpu_set_scanout scanout = {
	    .hdr.type = PV_GPU_CMD_SET_SCANOUT, .r = {.width = 640, .height = 480}, .resource_id = 1};
	struct pv_gpu_resource_flush flush = {
	    .hdr.type = PV_GPU_CMD_RESOURCE_FLUSH, .r = {.width = 640, .height = 480}, .resource_id = 1};
	struct fe fe;
	int pair[2];

	fe_open(&fe, &(struct fe_params){.console = make_console});
	fe_realize(&fe, ALL);
	assert_int_equal(pv_socket_pair(pair), PV_OK);
	assert_int_equal(fe_tell(&fe, PV_VHOST_GPU_SET_SOCKET, NULL, 0, pair[0]), 0);
	close(pair[0]);
	fe_start(&fe);
	/* Whatever it asks first is not answered either; without its heads it shows what there is. */
	assert_int_equal(fg_create_2d(&fe.guest, 1, 640, 480), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(fg_command(&fe.guest, &scanout, sizeof(scanout)), PV_GPU_RESP_OK_NODATA);
	for (int n = 0; n < 100; n++)
		assert_int_equal(fg_command(&fe.guest, &flush, sizeof(flush)), PV_GPU_RESP_OK_NODATA);
	sleep_ms(50);
	fe_stop(&fe);
	assert_int_equal(fe_tell(&fe, PV_VHOST_RESET_DEVICE, NULL, 0, -1), 0);
	pv_loop_call(fe.guest.loop, remove_console, &fe);
	close(pair[1]);
	fe_close(&fe);
}

/* The window. */

static void the_window_is_mapped_at_each_start_that_needs_it(void **state)
{
	(void)state;
	struct pv_vhost_shmem_config config;
	struct fe fe;
	int fd;

	fe_open(&fe, &(struct fe_params){.window_bytes = WINDOW_BYTES});
	fe_realize(&fe, ALL);
	fe_send(&fe, PV_VHOST_GET_SHMEM_CONFIG, 0, NULL, 0, NULL, 0);
	fe_expect(&fe, PV_VHOST_GET_SHMEM_CONFIG, &config, sizeof(config));
	assert_int_equal(config.nr_regions, 1);
	assert_int_equal(config.sizes[0], 0);
	assert_int_equal(config.sizes[1], WINDOW_BYTES);
	assert_int_equal(config.sizes[2], 0);
	assert_false(fg_wait_readable(fe.back, 20));

	fe_start(&fe);
	fd = expect_map(&fe);
	fe_answer_back(&fe, PV_VHOST_BACKEND_SHMEM_MAP, 0);
	assert_true(becomes_mapped(&fe, true));

	/* Paused: the front end still has it, and says so by the region. */
	fe_stop(&fe);
	assert_true(becomes_mapped(&fe, false));
	fe.window_fd = fd;
	fe_start(&fe);
	assert_true(becomes_mapped(&fe, true));
	assert_false(fg_wait_readable(fe.back, 50));

	/* Reset: it is gone. */
	fe.window_fd = -1;
	fe_stop(&fe);
	assert_int_equal(fe_tell(&fe, PV_VHOST_RESET_DEVICE, NULL, 0, -1), 0);
	close(fd);
	fg_forget_rings(&fe.guest);
	fe_start(&fe);
	fd = expect_map(&fe);
	/* Reset before it is answered: that answer is worth nothing, and the next start asks again. */
	fe_stop(&fe);
	assert_int_equal(fe_tell(&fe, PV_VHOST_RESET_DEVICE, NULL, 0, -1), 0);
	fg_forget_rings(&fe.guest);
	fe_start(&fe);
	fe_answer_back(&fe, PV_VHOST_BACKEND_SHMEM_MAP, 0);
	close(fd);
	fd = expect_map(&fe);
	assert_false(stats_of(&fe).window_mapped);
	fe_answer_back(&fe, PV_VHOST_BACKEND_SHMEM_MAP, 0);
	assert_true(becomes_mapped(&fe, true));
	close(fd);
	assert_int_equal(count_complaints(), 0);
	fe_close(&fe);
}

static void a_refused_window_is_no_catastrophe(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){.window_bytes = WINDOW_BYTES});
	fe_realize(&fe, ALL);
	fe_start(&fe);
	close(expect_map(&fe));
	fe_answer_back(&fe, PV_VHOST_BACKEND_SHMEM_MAP, 1);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	for (int ms = 0; count_complaints() < 2 && ms < 5000; ms++)
		sleep_ms(1);
	assert_complained_about("window");
	assert_false(stats_of(&fe).window_mapped);
	fe_close(&fe);
}

static void wrong_answers_on_the_back_channel_end_the_connection(void **state)
{
	(void)state;
	struct fe fe;

	for (int round = 0; round < 2; round++) {
		fe_open(&fe, &(struct fe_params){.window_bytes = WINDOW_BYTES});
		fe_realize(&fe, ALL);
		if (round == 0) {
			fe_start(&fe);
			close(expect_map(&fe));
		}
		fe_answer_back(&fe, round == 0 ? PV_VHOST_BACKEND_CONFIG_CHANGE : PV_VHOST_BACKEND_SHMEM_MAP, 0);
		assert_int_equal(fe_expect_closed(&fe), PV_ERR_PEER);
		assert_complained_about("back channel: reply to request");
		fe_close(&fe);
	}
}

static void the_back_channel_may_go(void **state)
{
	(void)state;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){.window_bytes = WINDOW_BYTES});
	fe_realize(&fe, ALL);
	close(fe.back);
	fe.back = -1;
	fe_start(&fe);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fe_close(&fe);
}

/* As User-Mode Linux does it. */
static void a_pipe_tells_of_changes_and_takes_no_window(void **state)
{
	(void)state;
	struct pv_vhost_header header;
	struct fe fe;
	int ends[2];

	fe_open(&fe, &(struct fe_params){.window_bytes = WINDOW_BYTES});
	fe_realize(&fe, ALL);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fe_tell(&fe, PV_VHOST_SET_BACKEND_REQ_FD, NULL, 0, ends[1]), 0);
	close(ends[1]);
	fe_start(&fe);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	assert_false(fg_wait_readable(ends[0], 50));
	pv_loop_call(fe.guest.loop, set_outputs, &fe);
	assert_true(fg_wait_readable(ends[0], 1000));
	assert_int_equal(read(ends[0], &header, sizeof(header)), sizeof(header));
	assert_int_equal(header.request, PV_VHOST_BACKEND_CONFIG_CHANGE);
	assert_int_equal(header.flags, PV_VHOST_VERSION);
	assert_int_equal(header.size, 0);
	/* Its end is seen, or found when there is something to tell; neither ends this program. */
	close(ends[0]);
	pv_loop_call(fe.guest.loop, set_outputs, &fe);
	assert_int_equal(fg_get_display_info(&fe.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	(void)fe_ask_u64(&fe, PV_VHOST_GET_FEATURES);
	fe_close(&fe);
}

/* User-Mode Linux wants the first acknowledgement for the very message that agrees on them. */
static void acknowledgements_are_agreed_on_and_given_at_once(void **state)
{
	(void)state;
	const uint64_t with_acks = PV_VHOST_PROTOCOL_F_MQ | PV_VHOST_PROTOCOL_F_REPLY_ACK;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	fe.protocol_features = PV_VHOST_PROTOCOL_F_REPLY_ACK;
	assert_int_equal(fe_tell(&fe, PV_VHOST_SET_PROTOCOL_FEATURES, &with_acks, sizeof(with_acks), -1), 0);
	fe_close(&fe);

	const uint64_t without = PV_VHOST_PROTOCOL_F_MQ;
	fe_open(&fe, &(struct fe_params){0});
	fe_send(&fe, PV_VHOST_SET_PROTOCOL_FEATURES, PV_VHOST_NEED_REPLY, &without, sizeof(without), NULL, 0);
	assert_int_equal(fe_expect_closed(&fe), PV_ERR_PEER);
	assert_complained_about("need_reply without the feature");
	fe_close(&fe);
}

/* Both together are more than QEMU can take. */
static void either_a_window_or_memory_slots(void **state)
{
	(void)state;
	const uint64_t both = PV_VHOST_PROTOCOL_F_SHMEM | PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS;
	struct fe fe;

	fe_open(&fe, &(struct fe_params){0});
	assert_int_equal(fe_ask_u64(&fe, PV_VHOST_GET_PROTOCOL_FEATURES) & both,
			 PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
	fe_close(&fe);
	fe_open(&fe, &(struct fe_params){.window_bytes = WINDOW_BYTES});
	assert_int_equal(fe_ask_u64(&fe, PV_VHOST_GET_PROTOCOL_FEATURES) & both, PV_VHOST_PROTOCOL_F_SHMEM);
	fe_close(&fe);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(commands_are_answered),
	    TEST(rings_without_protocol_features_start_enabled),
	    TEST(disabled_rings_wait),
	    TEST(a_paused_machine_goes_on_where_it_was),
	    TEST(a_new_driver_finds_an_empty_device),
	    TEST(a_queue_may_start_anew_alone),
	    TEST(reset_by_message_and_by_status),
	    TEST(memory_comes_and_goes_under_running_rings),
	    TEST(messages_may_come_in_pieces),
	    TEST(a_pipe_will_do_for_an_eventfd),
	    TEST(config_changes_reach_the_driver_and_back),
	    TEST(config_changes_do_not_pile_up),
	    TEST(a_front_end_with_a_console_hears_of_no_config_changes),
	    TEST(acks_do_not_wait_for_the_device),
	    TEST(the_window_region_comes_before_the_reply),
	    TEST(a_stop_is_answered_while_the_console_is_full),
	    TEST(the_window_is_mapped_at_each_start_that_needs_it),
	    TEST(a_refused_window_is_no_catastrophe),
	    TEST(wrong_answers_on_the_back_channel_end_the_connection),
	    TEST(the_back_channel_may_go),
	    TEST(a_pipe_tells_of_changes_and_takes_no_window),
	    TEST(acknowledgements_are_agreed_on_and_given_at_once),
	    TEST(either_a_window_or_memory_slots),
	};

	setvbuf(stdout, NULL, _IOLBF, 0); /* so that an abort leaves the log behind */
	pv_log_set_sink(keep_line, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

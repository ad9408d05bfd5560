/* SPDX-License-Identifier: MIT */
/* The whole transport with a real device core, against a fake VMM at the other end of a socket pair. */
#include "transport/vfio_user/vfio_user.h"

#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/socket.h"
#include "transport/vfio_user/fake_vmm.h"

#define STATUS 20

static int fds_before;

static int begin(void **state)
{
	(void)state;
	fds_before = fg_count_fds();
	return 0;
}

static int end(void **state)
{
	(void)state;
	int left = fg_count_fds() - fds_before;

	if (left != 0)
		print_error("# %d fds were left open\n", left);
	return left != 0;
}

static struct pv_transport_stats stats_of(struct fv *fv)
{
	struct pv_transport_stats stats;

	pv_vfio_user_get_stats(fv->transport, &stats);
	return stats;
}

static void commands_are_answered(void **state)
{
	(void)state;
	struct fv fv;

	fv_open(&fv, FV_WINDOW_BYTES);
	fv_realize(&fv);
	fv_start(&fv);
	for (int n = 0; n < 40; n++)
		assert_int_equal(fg_get_display_info(&fv.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	struct pv_transport_stats stats = stats_of(&fv);
	assert_true(stats.connected && stats.window_mapped && stats.doorbells >= 1);
	assert_int_equal(stats.memory_bytes, FG_RAM_BYTES);
	fv_hang_up(&fv);
	fv_close(&fv);
}

static void the_window_is_the_cores(void **state)
{
	(void)state;
	struct stat ours, theirs;
	struct fv fv;

	fv_open(&fv, FV_WINDOW_BYTES);
	fv_realize(&fv);
	assert_int_equal(fstat(pv_gpu_window_fd(fv.guest.gpu), &ours), 0);
	assert_int_equal(fstat(fv.window_fd, &theirs), 0);
	assert_int_equal(ours.st_ino, theirs.st_ino);
	fv_close(&fv);
}

static void windows_are_powers_of_two(void **state)
{
	(void)state;
	struct pv_vfio_user_params params = {0};
	struct pv_vfio_user *transport;
	struct fg guest;
	int pair[2];

	fg_open(&guest, 6ULL << 20);
	fg_socket_pair(pair);
	params.gpu = guest.gpu;
	params.device_loop = guest.loop;
	params.take_fd = pair[1];
	assert_int_equal(pv_vfio_user_create(&params, &transport), PV_ERR_ARGUMENT);
	close(pair[0]);
	fg_close(&guest);
}

/* Each way; the driver that comes then finds an empty device. */
static void resets_forget_everything(void **state)
{
	(void)state;
	const uint16_t flr = 0x8000;
	struct fv fv;

	fv_open(&fv, 0);
	fv_realize(&fv);
	for (int round = 0; round < 6; round++) {
		fv_start(&fv);
		assert_int_equal(fg_create_2d(&fv.guest, 1, 8, 8), PV_GPU_RESP_OK_NODATA);
		if (round % 3 == 1)
			assert_int_equal(fv_ask(&fv, PV_VFIO_RESET, NULL, 0, NULL, 0), 0);
		if (round % 3 == 2)
			fv_write(&fv, PV_VFIO_REGION_CONFIG, PV_PCI_CAP_EXPRESS + 8, &flr, 2);
		fv_reset_by_status(&fv);
		fg_forget_rings(&fv.guest);
	}
	fv_close(&fv);
}

static sem_t held, released;

static void hold_device(struct pv_loop_task *task)
{
	(void)task;
	sem_post(&held);
	while (sem_wait(&released) != 0)
		;
}

/* What a virtual CPU waits for is answered while the device thread is busy; what must wait for it does. */
static void only_unmap_and_reset_wait_for_the_device(void **state)
{
	(void)state;
	struct pv_loop_task task = {.run = hold_device};
	struct pv_vfio_dma_unmap unmap = {.argsz = sizeof(unmap), .size_bytes = FG_RAM_BYTES}, answer;
	uint8_t bytes[256];
	struct fv fv;
	uint16_t id;

	sem_init(&held, 0, 0);
	sem_init(&released, 0, 0);
	fv_open(&fv, FV_WINDOW_BYTES);
	fv_realize(&fv);
	fv_start(&fv);
	pv_loop_post(fv.guest.loop, &task);
	while (sem_wait(&held) != 0)
		;
	fv_set(&fv, PV_PCI_NOTIFY_OFFSET, 0, 2);
	fv_read(&fv, PV_VFIO_REGION_CONFIG, 0, bytes, sizeof(bytes));
	fv_read(&fv, PV_VFIO_REGION_BAR0, PV_PCI_DEVICE_OFFSET, bytes, 16);
	fv_set(&fv, PV_PCI_DEVICE_OFFSET + 4, 1, 4);
	fv_set_vectors(&fv, false);
	fv_set_vectors(&fv, true);
	assert_int_equal(fv_map(&fv, 1ULL << 32, FG_PAGE, fv.guest.ram, 0), 0);
	fv_set(&fv, STATUS, 0, 1);
	/* The reset is not complete, and the driver can tell. */
	assert_int_equal(fv_get(&fv, STATUS, 1), 15);

	id = fv_send(&fv, PV_VFIO_DMA_UNMAP, 0, &unmap, sizeof(unmap), NULL, 0);
	assert_false(fg_wait_readable(fv.sock, 50));
	sem_post(&released);
	assert_int_equal(fv_receive(&fv, id, PV_VFIO_DMA_UNMAP, &answer, sizeof(answer)), 0);
	assert_int_equal(fv_get(&fv, STATUS, 1), 0);
	fv_close(&fv);
	sem_destroy(&held);
	sem_destroy(&released);
}

static void posted_writes_have_no_answer(void **state)
{
	(void)state;
	struct {
		struct pv_vfio_region_access access;
		uint16_t value;
		uint8_t pad[6];
	} doorbell = {.access = {.offset = PV_PCI_NOTIFY_OFFSET, .count = 2}};
	struct {
		uint64_t n;
		struct pv_vfio_multi_entry entries[100];
	} multi = {.n = 100};
	struct pv_gpu_ctrl_hdr command = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};
	struct fv fv;

	fv_open(&fv, 0);
	fv_realize(&fv);
	fv_start(&fv);
	fg_submit(&fv.guest, PV_GPU_QUEUE_CONTROL, &command, sizeof(command));
	fv_send(&fv, PV_VFIO_REGION_WRITE, PV_VFIO_FLAG_NO_REPLY, &doorbell, sizeof(doorbell.access) + 2, NULL, 0);
	assert_int_equal(fg_wait_response(&fv.guest, PV_GPU_QUEUE_CONTROL), PV_GPU_RESP_OK_DISPLAY_INFO);
	/* Status writes: more operations than there can be at once. */
	for (int i = 0; i < 100; i++)
		multi.entries[i] = (struct pv_vfio_multi_entry){.offset = STATUS, .count = 1, .data = {i % 2 ? 3 : 0}};
	fv_send(&fv, PV_VFIO_REGION_WRITE_MULTI, PV_VFIO_FLAG_NO_REPLY, &multi, sizeof(multi), NULL, 0);
	assert_int_equal(fv_get(&fv, STATUS, 1), 3);
	fv_reset_by_status(&fv);
	fg_forget_rings(&fv.guest);
	fv_start(&fv);
	assert_int_equal(fg_get_display_info(&fv.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fv_close(&fv);
}

static void set_outputs(void *user)
{
	struct fv *fv = user;
	struct pv_output output = {.enabled = true, .width = 800, .height = 600};

	assert_int_equal(pv_gpu_set_outputs(fv->guest.gpu, &output, 1), PV_OK);
}

static void config_changes_interrupt(void **state)
{
	(void)state;
	struct fv fv;

	fv_open(&fv, 0);
	fv_realize(&fv);
	fv_start(&fv);
	uint32_t generation = fv_get(&fv, 21, 1);
	pv_loop_call(fv.guest.loop, set_outputs, &fv);
	assert_true(fg_wait_readable(fv.config_event, FG_TIMEOUT_MS));
	assert_int_equal(fv_get(&fv, PV_PCI_DEVICE_OFFSET, 4), PV_GPU_EVENT_DISPLAY);
	assert_int_not_equal(fv_get(&fv, 21, 1), generation);
	assert_true(fv_get(&fv, PV_PCI_ISR_OFFSET, 1) & 2);
	fv_close(&fv);
}

static void memory_comes_and_goes_in_pieces(void **state)
{
	(void)state;
	struct fv fv;

	fv_open(&fv, 0);
	fv_realize(&fv);
	fv_start(&fv);
	for (int round = 0; round < 20; round++) {
		assert_int_equal(fg_get_display_info(&fv.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
		assert_int_equal(fv_unmap(&fv, 0, FG_RAM_BYTES), 0);
		assert_int_equal(fv_map(&fv, 0, 3 * FG_PAGE, fv.guest.ram, 0), 0);
		assert_int_equal(fv_map(&fv, 3 * FG_PAGE, FG_RAM_BYTES - 3 * FG_PAGE, fv.guest.ram, 3 * FG_PAGE), 0);
	}
	/* Numbers are published a moment after the answer. */
	for (int ms = 0; stats_of(&fv).memory_regions != 2; ms++) {
		assert_true(ms < FG_TIMEOUT_MS);
		poll(NULL, 0, 1);
	}
	assert_int_not_equal(fv_unmap(&fv, FG_PAGE, FG_PAGE), 0);
	fv_close(&fv);
}

static void cut_memory_ends_the_connection(void **state)
{
	(void)state;
	const struct {
		struct pv_vfio_region_access access;
		uint64_t value;
	} doorbell = {.access = {.offset = PV_PCI_NOTIFY_OFFSET, .count = sizeof(uint64_t)}};
	struct fv fv;

	fv_open(&fv, 0);
	fv_realize(&fv);
	fv_start(&fv);
	assert_int_equal(ftruncate(fv.guest.ram, 0), 0);
	/* The device thread looks when it has done something. */
	fv_send(&fv, PV_VFIO_REGION_WRITE, PV_VFIO_FLAG_NO_REPLY, &doorbell, sizeof(doorbell), NULL, 0);
	assert_int_equal(fv_expect_closed(&fv), PV_ERR_PEER);
	fv_close(&fv);
}

static void nonsense_ends_the_connection(void **state)
{
	(void)state;
	static const struct pv_vfio_header headers[] = {
	    {.command = 1, .size = 15}, {.command = 1, .size = UINT32_MAX}, {.command = 1, .size = 16, .flags = 1}};

	for (size_t i = 0; i < PV_ARRAY_LEN(headers); i++) {
		struct fv fv;

		fv_open(&fv, 0);
		assert_true(fg_send(fv.sock, &headers[i], sizeof(headers[i]), NULL, 0));
		assert_int_equal(fv_expect_closed(&fv), PV_ERR_PEER);
		fv_close(&fv);
	}
}

static void mistakes_are_answered(void **state)
{
	(void)state;
	struct fv fv;

	fv_open(&fv, 0);
	/* Before VERSION. */
	assert_int_equal(fv_ask(&fv, PV_VFIO_RESET, NULL, 0, NULL, 0), 22);
	fv_realize(&fv);
	assert_int_equal(fv_ask(&fv, 99, NULL, 0, NULL, 0), 95);
	assert_int_equal(fv_ask(&fv, PV_VFIO_DEVICE_FEATURE, "12345678", 8, NULL, 0), 95);
	assert_int_equal(fv_ask(&fv, PV_VFIO_RESET, "x", 1, NULL, 0), 22);
	(void)fv_send(&fv, 99, PV_VFIO_FLAG_NO_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(fv_map(&fv, 1ULL << 32, FG_RAM_BYTES + 1, fv.guest.ram, 0), 22);
	fv_start(&fv);
	assert_int_equal(fg_get_display_info(&fv.guest), PV_GPU_RESP_OK_DISPLAY_INFO);
	fv_close(&fv);
}

static void ends_at_any_moment(void **state)
{
	(void)state;
	struct pv_gpu_ctrl_hdr command = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};

	for (int stage = 0; stage < 4; stage++) {
		struct fv fv;

		fv_open(&fv, FV_WINDOW_BYTES);
		if (stage >= 1)
			fv_realize(&fv);
		if (stage >= 2)
			fv_start(&fv);
		for (int i = 0; stage >= 3 && i < 5; i++) {
			fg_submit(&fv.guest, PV_GPU_QUEUE_CONTROL, &command, sizeof(command));
			fg_kick(&fv.guest, PV_GPU_QUEUE_CONTROL);
		}
		if (stage % 2)
			fv_hang_up(&fv);
		fv_close(&fv);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(commands_are_answered, begin, end),
	    cmocka_unit_test_setup_teardown(the_window_is_the_cores, begin, end),
	    cmocka_unit_test_setup_teardown(windows_are_powers_of_two, begin, end),
	    cmocka_unit_test_setup_teardown(resets_forget_everything, begin, end),
	    cmocka_unit_test_setup_teardown(only_unmap_and_reset_wait_for_the_device, begin, end),
	    cmocka_unit_test_setup_teardown(posted_writes_have_no_answer, begin, end),
	    cmocka_unit_test_setup_teardown(config_changes_interrupt, begin, end),
	    cmocka_unit_test_setup_teardown(memory_comes_and_goes_in_pieces, begin, end),
	    cmocka_unit_test_setup_teardown(cut_memory_ends_the_connection, begin, end),
	    cmocka_unit_test_setup_teardown(nonsense_ends_the_connection, begin, end),
	    cmocka_unit_test_setup_teardown(mistakes_are_answered, begin, end),
	    cmocka_unit_test_setup_teardown(ends_at_any_moment, begin, end),
	};

	pv_log_set_level(PV_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

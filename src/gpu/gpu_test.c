/* SPDX-License-Identifier: MIT */
/* What commands do, with the 2D renderer. */
#include "gpu/gpu_test.h"

static void display_info_waits_for_the_display_that_decides(void **state)
{
	(void)state;
	struct pv_gpu_ctrl_hdr c = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};
	struct pv_output outputs[2] = {{.enabled = true, .width = 1024, .height = 768}, {0}};

	screen.base.ops = &asking_screen_ops;
	announce(PV_GPU_QUEUE_CONTROL, 0, &c, sizeof(c));
	announce(PV_GPU_QUEUE_CONTROL, 1, &c, sizeof(c));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(screen.queries, 2);
	assert_int_equal(guest.queues[0].used.idx, 0);
	/* Meanwhile other commands go on. */
	announce(PV_GPU_QUEUE_CONTROL, 2, &(struct pv_gpu_resource_ref){HDR(RESOURCE_UNREF)},
		 sizeof(struct pv_gpu_resource_ref));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(guest.queues[0].used.idx, 1);

	assert_int_equal(pv_gpu_update_outputs(gpu, outputs, 2), PV_OK);
	assert_int_equal(config_changes, 0);
	pv_gpu_outputs_queried(gpu);
	assert_int_equal(guest.queues[0].used.idx, 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(guest.response[i].hdr.type, PV_GPU_RESP_OK_DISPLAY_INFO);
		assert_int_equal(guest.response[i].display_info.pmodes[0].r.width, 1024);
		assert_int_equal(guest.response[i].display_info.pmodes[1].enabled, 0);
	}
}

/* Linux asks for the EDID first when a head changed: it must not get the old size. */
static void edid_waits_for_the_display_that_decides(void **state)
{
	(void)state;
	struct pv_gpu_get_edid c = {HDR(GET_EDID)};
	struct pv_output outputs[1] = {{.enabled = true, .width = 1024, .height = 768}};

	screen.base.ops = &asking_screen_ops;
	announce(PV_GPU_QUEUE_CONTROL, 0, &c, sizeof(c));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(guest.queues[0].used.idx, 0);
	assert_int_equal(pv_gpu_update_outputs(gpu, outputs, 1), PV_OK);
	pv_gpu_outputs_queried(gpu);
	assert_int_equal(guest.queues[0].used.idx, 1);
	assert_int_equal(guest.response[0].hdr.type, PV_GPU_RESP_OK_EDID);
	const uint8_t *timing = guest.response[0].edid.edid + 54;
	assert_int_equal(timing[2] | (timing[4] & 0xf0) << 4, 1024);
}

static void resize_raises_the_event(void **state)
{
	(void)state;
	struct pv_output outputs[3] = {{.enabled = true, .width = 1024, .height = 768}};
	struct pv_gpu_config config;
	uint32_t one = 1;

	assert_int_equal(pv_gpu_set_outputs(gpu, outputs, 3), PV_ERR_ARGUMENT);
	outputs[0].height = 0;
	assert_int_equal(pv_gpu_set_outputs(gpu, outputs, 1), PV_ERR_ARGUMENT);
	outputs[0].height = 768;
	assert_int_equal(pv_gpu_set_outputs(gpu, outputs, 1), PV_OK);
	assert_int_equal(config_changes, 1);
	pv_gpu_config_read(gpu, 0, &config, sizeof(config));
	assert_int_equal(config.events_read, PV_GPU_EVENT_DISPLAY);
	assert_int_equal(config.num_scanouts, 2);
	pv_gpu_config_write(gpu, 4, &one, 4);
	pv_gpu_config_write(gpu, 8, &one, 4); /* read-only */
	pv_gpu_config_read(gpu, 0, &config, sizeof(config));
	assert_int_equal(config.events_read, 0);
	assert_int_equal(config.num_scanouts, 2);

	uint8_t beyond[8];
	memset(beyond, 0xee, sizeof(beyond));
	pv_gpu_config_read(gpu, sizeof(config) - 4, beyond, sizeof(beyond));
	for (int i = 0; i < 8; i++)
		assert_int_equal(beyond[i], 0);
	pv_gpu_config_read(gpu, UINT32_MAX, beyond, sizeof(beyond));
	pv_gpu_config_write(gpu, UINT32_MAX, beyond, sizeof(beyond));
}

static uint32_t transfer(uint32_t id, struct pv_gpu_wire_rect r, uint64_t offset)
{
	return RUN(pv_gpu_transfer_to_host_2d, HDR(TRANSFER_TO_HOST_2D), .r = r, .offset = offset, .resource_id = id);
}

static uint32_t flush(uint32_t id, struct pv_gpu_wire_rect r)
{
	return RUN(pv_gpu_resource_flush, HDR(RESOURCE_FLUSH), .r = r, .resource_id = id);
}

static uint32_t set_scanout(uint32_t scanout, uint32_t id, struct pv_gpu_wire_rect r)
{
	return RUN(pv_gpu_set_scanout, HDR(SET_SCANOUT), .r = r, .scanout_id = scanout, .resource_id = id);
}

static void pixels_reach_each_head_that_shows_them(void **state)
{
	(void)state;
	assert_int_equal(create_2d(1, 64, 32), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(attach_pixels(1), PV_GPU_RESP_OK_NODATA);
	for (uint32_t i = 0; i < 64 * 32; i++)
		guest.pixels[i] = 0xff000000 | i;
	assert_int_equal(set_scanout(0, 1, (struct pv_gpu_wire_rect){0, 0, 40, 32}), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout(1, 1, (struct pv_gpu_wire_rect){32, 8, 32, 16}), PV_GPU_RESP_OK_NODATA);
	/* A rectangle in the middle, its backing at the same place with the picture's stride. */
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){30, 4, 20, 10}, (4ull * 64 + 30) * 4),
			 PV_GPU_RESP_OK_NODATA);
	screen.damages = 0;
	assert_int_equal(flush(1, (struct pv_gpu_wire_rect){30, 4, 20, 10}), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(screen.damages, 2);
	assert_memory_equal(&screen.damage[0], (&(struct pv_rect){30, 4, 10, 10}), sizeof(struct pv_rect));
	assert_memory_equal(&screen.damage[1], (&(struct pv_rect){0, 0, 18, 6}), sizeof(struct pv_rect));

	static uint32_t got[64 * 32];
	pv_frame_read_xrgb(screen.frame[0], &(struct pv_rect){0, 0, 64, 32}, got, 64 * 4);
	for (uint32_t y = 0; y < 32; y++)
		for (uint32_t x = 0; x < 64; x++) {
			bool inside = x >= 30 && x < 50 && y >= 4 && y < 14;

			assert_int_equal(got[y * 64 + x], inside ? (0xff000000 | (y * 64 + x)) : 0);
		}
	/* Gone resources switch their heads off. */
	assert_int_equal(RUN(pv_gpu_resource_ref, HDR(RESOURCE_UNREF), .resource_id = 1), PV_GPU_RESP_OK_NODATA);
	assert_null(screen.frame[0]);
	assert_null(screen.frame[1]);
	assert_int_equal(interrupts[0] > 0, 1);
}

static void transfers_stay_inside_picture_and_backing(void **state)
{
	(void)state;
	assert_int_equal(create_2d(1, 256, 256), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){0, 0, 1, 1}, 0), PV_GPU_RESP_ERR_UNSPEC);
	assert_int_equal(attach_pixels(1), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(attach_pixels(1), PV_GPU_RESP_ERR_UNSPEC);
	const uint32_t big = 0xffffffff;
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){0, 0, 257, 1}, 0), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){big, 0, 2, 1}, 0), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){1, 1, big, big}, 0), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){0, 0, 256, 256}, 4), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){0, 0, 1, 1}, UINT64_MAX),
			 PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){0, 0, 1, 1}, sizeof(guest.pixels) - 4),
			 PV_GPU_RESP_OK_NODATA);
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){0, 0, 256, 256}, 0), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(transfer(2, (struct pv_gpu_wire_rect){0, 0, 1, 1}, 0), PV_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(flush(1, (struct pv_gpu_wire_rect){1, 0, 256, 1}), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(set_scanout(0, 1, (struct pv_gpu_wire_rect){0, 0, 0, 1}), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(set_scanout(2, 1, (struct pv_gpu_wire_rect){0, 0, 1, 1}), PV_GPU_RESP_ERR_INVALID_SCANOUT_ID);
}

static void host_memory_has_a_limit_and_comes_back(void **state)
{
	(void)state;
	struct pv_gpu_stats stats;

	assert_int_equal(create_2d(1, 512, 250), PV_GPU_RESP_OK_NODATA); /* half of the MiB, nearly */
	assert_int_equal(create_2d(2, 512, 262), PV_GPU_RESP_ERR_OUT_OF_MEMORY);
	assert_int_equal(create_2d(2, 512, 250), PV_GPU_RESP_OK_NODATA);
	/* Small ones cost pages and bookkeeping, not pixels. */
	uint32_t id = 100;
	while (create_2d(id, 1, 1) == PV_GPU_RESP_OK_NODATA)
		id++;
	assert_true(id - 100 < 20);
	assert_int_equal(guest.response[0].hdr.type, PV_GPU_RESP_ERR_OUT_OF_MEMORY);
	assert_int_equal(create_2d(2, 1, 1), PV_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(create_2d(0, 1, 1), PV_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(create_2d(4, 0xffffffff, 0xffffffff), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(RUN(pv_gpu_resource_ref, HDR(RESOURCE_UNREF), .resource_id = 1), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(create_2d(3, 16, 16), PV_GPU_RESP_OK_NODATA);
	pv_gpu_reset(gpu);
	pv_gpu_get_stats(gpu, &stats);
	assert_int_equal(stats.host_bytes, 0);
	assert_int_equal(stats.resources, 0);
}

static uint32_t create_blob(uint32_t id, uint64_t size)
{
	struct {
		struct pv_gpu_create_blob cmd;
		struct pv_gpu_mem_entry entries[2];
	} c = {.cmd = {HDR(RESOURCE_CREATE_BLOB), .resource_id = id, .blob_mem = PV_GPU_BLOB_MEM_GUEST, .nr_entries = 2,
		       .size = size},
	       /* the two halves the wrong way round */
	       .entries = {{.addr = address(guest.pixels) + 8192, .length = 8192},
			   {.addr = address(guest.pixels), .length = 8192}}};
	return run(&c, sizeof(c));
}

static uint32_t set_scanout_blob(uint32_t scanout, uint32_t id, uint32_t width, uint32_t height, uint32_t stride,
				 uint32_t offset)
{
	return RUN(pv_gpu_set_scanout_blob, HDR(SET_SCANOUT_BLOB), .r = {0, 0, width, height}, .scanout_id = scanout,
		   .resource_id = id, .width = width, .height = height, .format = PV_GPU_FORMAT_B8G8R8X8,
		   .strides = {stride}, .offsets = {offset});
}

static void blobs_are_fetched_when_somebody_looks(void **state)
{
	(void)state;
	uint32_t pixel;

	assert_int_equal(create_blob(7, 16384), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(create_blob(8, 16385), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(flush(7, (struct pv_gpu_wire_rect){0, 0, 9999, 9999}),
			 PV_GPU_RESP_OK_NODATA); /* never shown */
	assert_int_equal(set_scanout_blob(0, 7, 64, 64, 256, 0), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout_blob(0, 7, 64, 64, 256, 4), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(set_scanout_blob(0, 7, 64, 64, 255, 0), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(set_scanout_blob(0, 7, 0x40000001, 1, 4, 0), PV_GPU_RESP_ERR_INVALID_PARAMETER);

	guest.pixels[2048 + 65] = 0x112233; /* row 1, column 1 of the first half */
	assert_int_equal(flush(7, (struct pv_gpu_wire_rect){0, 0, 64, 64}), PV_GPU_RESP_OK_NODATA);
	pv_frame_read_xrgb(screen.frame[0], &(struct pv_rect){1, 1, 1, 1}, &pixel, 4);
	assert_int_equal(pixel, 0x112233);
	/* Without a flush the picture stays. */
	guest.pixels[2048 + 65] = 0x445566;
	pv_frame_read_xrgb(screen.frame[0], &(struct pv_rect){1, 1, 1, 1}, &pixel, 4);
	assert_int_equal(pixel, 0x112233);
	assert_int_equal(flush(7, (struct pv_gpu_wire_rect){1, 1, 1, 1}), PV_GPU_RESP_OK_NODATA);

	/* The head goes off: who kept the frame has its last picture. */
	struct pv_frame *kept = pv_frame_ref(screen.frame[0]);
	assert_int_equal(RUN(pv_gpu_resource_ref, HDR(RESOURCE_UNREF), .resource_id = 7), PV_GPU_RESP_OK_NODATA);
	assert_null(screen.frame[0]);
	guest.pixels[2048 + 65] = 0;
	pv_frame_read_xrgb(kept, &(struct pv_rect){1, 1, 1, 1}, &pixel, 4);
	assert_int_equal(pixel, 0x445566);
	pv_frame_unref(kept);
}

/* A display that looks in the middle of a batch, and the guest that changes memory as soon as it may. */
static void transfers_take_effect_before_their_answer(void **state)
{
	(void)state;
	struct pv_gpu_transfer_to_host_2d t = {HDR(TRANSFER_TO_HOST_2D), .r = {0, 0, 16, 16}, .resource_id = 1};
	uint32_t got[16 * 16];

	assert_int_equal(create_2d(1, 16, 16), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(attach_pixels(1), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout(0, 1, (struct pv_gpu_wire_rect){0, 0, 16, 16}), PV_GPU_RESP_OK_NODATA);
	for (uint32_t i = 0; i < 16 * 16; i++)
		guest.pixels[i] = i + 1;

	/* Overlapping, nested, disjoint, at an unusual place, and one that fails, in one batch. */
	const struct {
		struct pv_gpu_wire_rect r;
		uint64_t offset;
	} transfers[] = {{{2, 2, 4, 4}, 136},
			 {{3, 3, 2, 2}, 204},
			 {{4, 4, 8, 8}, 272},
			 {{15, 15, 1, 1}, 0},
			 {{0, 15, 1, 1}, UINT64_MAX / 2},
			 {{1, 0, 1, 1}, 4}};
	for (unsigned i = 0; i < PV_ARRAY_LEN(transfers); i++) {
		t.r = transfers[i].r;
		t.offset = transfers[i].offset;
		announce(PV_GPU_QUEUE_CONTROL, i, &t, sizeof(t));
	}
	int interrupts_before = interrupts[0];
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(interrupts[0], interrupts_before + 1);
	memset(guest.pixels, 0xff, sizeof(guest.pixels));
	for (unsigned i = 0; i < PV_ARRAY_LEN(transfers); i++)
		assert_int_equal(guest.response[i].hdr.type,
				 i == 4 ? PV_GPU_RESP_ERR_INVALID_PARAMETER : PV_GPU_RESP_OK_NODATA);

	pv_frame_read_xrgb(screen.frame[0], &(struct pv_rect){0, 0, 16, 16}, got, 64);
	for (uint32_t y = 0; y < 16; y++)
		for (uint32_t x = 0; x < 16; x++) {
			bool first = x >= 2 && x < 6 && y >= 2 && y < 6, third = x >= 4 && x < 12 && y >= 4 && y < 12;
			uint32_t want = first || third || (x == 1 && y == 0) ? y * 16 + x + 1 : 0;

			if (x == 15 && y == 15)
				want = 1;
			assert_int_equal(got[y * 16 + x], want);
		}
}

static void a_detach_in_the_same_batch_keeps_the_pixels(void **state)
{
	(void)state;
	struct pv_gpu_transfer_to_host_2d t = {HDR(TRANSFER_TO_HOST_2D), .r = {0, 0, 16, 16}, .resource_id = 1};
	struct pv_gpu_resource_ref detach = {HDR(RESOURCE_DETACH_BACKING), .resource_id = 1};
	uint32_t pixel;

	assert_int_equal(create_2d(1, 16, 16), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(attach_pixels(1), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout(0, 1, (struct pv_gpu_wire_rect){0, 0, 16, 16}), PV_GPU_RESP_OK_NODATA);
	guest.pixels[5] = 0x123456;
	announce(PV_GPU_QUEUE_CONTROL, 0, &t, sizeof(t));
	announce(PV_GPU_QUEUE_CONTROL, 1, &detach, sizeof(detach));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	guest.pixels[5] = 0;
	pv_frame_read_xrgb(screen.frame[0], &(struct pv_rect){5, 0, 1, 1}, &pixel, 4);
	assert_int_equal(pixel, 0x123456);
}

static void one_blob_has_one_layout_on_all_heads(void **state)
{
	(void)state;
	struct pv_gpu_stats stats;

	assert_int_equal(create_blob(7, 16384), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout_blob(0, 7, 64, 32, 256, 0), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout_blob(1, 7, 64, 32, 256, 0), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout_blob(1, 7, 32, 32, 256, 0), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(set_scanout_blob(0, 0, 0, 0, 0, 0), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout_blob(1, 7, 32, 32, 256, 0), PV_GPU_RESP_OK_NODATA);
	pv_gpu_get_stats(gpu, &stats);
	assert_in_range(stats.host_bytes, pv_frame_cost_bytes(32, 32), pv_frame_cost_bytes(32, 32) + 2048);
	assert_int_equal(set_scanout(0, 7, (struct pv_gpu_wire_rect){0, 0, 8, 8}), PV_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(transfer(7, (struct pv_gpu_wire_rect){0, 0, 8, 8}, 0), PV_GPU_RESP_OK_NODATA);
}

static void cursor(void **state)
{
	(void)state;
	struct pv_gpu_update_cursor c = {.hdr = {.type = PV_GPU_CMD_UPDATE_CURSOR},
					 .scanout_id = 1,
					 .x = 10,
					 .y = (uint32_t)-5,
					 .resource_id = 1,
					 .hot_x = 3,
					 .hot_y = 4};

	assert_int_equal(create_2d(1, 64, 64), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(create_2d(2, 32, 64), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(attach_pixels(1), PV_GPU_RESP_OK_NODATA);
	for (uint32_t i = 0; i < 64 * 64; i++)
		guest.pixels[i] = 0xff000000 | i;
	assert_int_equal(transfer(1, (struct pv_gpu_wire_rect){0, 0, 64, 64}, 0), PV_GPU_RESP_OK_NODATA);

	announce(PV_GPU_QUEUE_CURSOR, 0, &c, sizeof(c));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CURSOR);
	assert_int_equal(interrupts[1], 1);
	assert_int_equal(screen.cursor_sets, 1);
	assert_true(screen.cursor.visible);
	assert_int_equal(screen.cursor.scanout_id, 1);
	assert_int_equal(screen.cursor.y, -5);
	assert_int_equal(screen.cursor.hot_y, 4);
	assert_int_equal(screen.cursor.pixels[1234], 0xff000000 | 1234);

	c.hdr.type = PV_GPU_CMD_MOVE_CURSOR;
	c.x = 11;
	announce(PV_GPU_QUEUE_CURSOR, 0, &c, sizeof(c));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CURSOR);
	assert_int_equal(screen.cursor_moves, 1);
	assert_int_equal(screen.cursor.x, 11);

	c.hdr.type = PV_GPU_CMD_UPDATE_CURSOR;
	const uint32_t bad[][4] = {{2, 1, 0, 0}, {1, 9, 0, 0}, {1, 1, 64, 0}, {77, 1, 0, 0}};
	for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
		struct pv_gpu_update_cursor b = c;

		b.resource_id = bad[i][0];
		b.scanout_id = bad[i][1];
		b.hot_x = bad[i][2];
		announce(PV_GPU_QUEUE_CURSOR, 0, &b, sizeof(b));
		pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CURSOR);
		assert_true(guest.response[0].hdr.type >= PV_GPU_RESP_ERR_UNSPEC);
	}
	assert_int_equal(screen.cursor_sets, 1);
	pv_gpu_reset(gpu);
	assert_false(screen.cursor.visible);
}

static void every_wrong_command_gets_an_error(void **state)
{
	(void)state;
	uint8_t bytes[256];

	/* Every type, too short and with nonsense: an answer each time. */
	for (uint32_t type = 0; type < 0x400; type++)
		for (size_t len = 0; len <= 128; len += 8) {
			memset(bytes, 0xff, sizeof(bytes));
			memcpy(bytes, &(struct pv_gpu_ctrl_hdr){.type = type}, sizeof(struct pv_gpu_ctrl_hdr));
			uint16_t before = guest.queues[0].used.idx;
			uint32_t answer = run(bytes, len);

			assert_int_equal((uint16_t)(guest.queues[0].used.idx - before), 1);
			if (answer < PV_GPU_RESP_ERR_UNSPEC)
				assert_int_equal(type, PV_GPU_CMD_GET_DISPLAY_INFO);
		}
	/* Features decide. */
	pv_gpu_reset(gpu);
	assert_int_equal(pv_gpu_set_driver_features(gpu, PV_VIRTIO_F_VERSION_1), PV_OK);
	assert_int_equal(pv_gpu_set_driver_features(gpu, 1ull << PV_GPU_F_VIRGL), PV_ERR_GUEST);
	start_queues();
	assert_int_equal(create_blob(1, 4096), PV_GPU_RESP_ERR_UNSPEC);
	assert_int_equal(RUN(pv_gpu_get_edid, HDR(GET_EDID)), PV_GPU_RESP_ERR_UNSPEC);
	assert_int_equal(create_2d(1, 1, 1), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(RUN(pv_gpu_resource_ref, HDR(RESOURCE_ASSIGN_UUID), .resource_id = 1), PV_GPU_RESP_ERR_UNSPEC);
}

static void uuid_and_edid(void **state)
{
	(void)state;
	uint8_t first[16];

	assert_int_equal(create_2d(1, 1, 1), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(create_2d(2, 1, 1), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(RUN(pv_gpu_resource_ref, HDR(RESOURCE_ASSIGN_UUID), .resource_id = 1),
			 PV_GPU_RESP_OK_RESOURCE_UUID);
	memcpy(first, guest.response[0].uuid.uuid, 16);
	assert_int_equal(RUN(pv_gpu_resource_ref, HDR(RESOURCE_ASSIGN_UUID), .resource_id = 1),
			 PV_GPU_RESP_OK_RESOURCE_UUID);
	assert_memory_equal(first, guest.response[0].uuid.uuid, 16);
	assert_int_equal(RUN(pv_gpu_resource_ref, HDR(RESOURCE_ASSIGN_UUID), .resource_id = 2),
			 PV_GPU_RESP_OK_RESOURCE_UUID);
	assert_memory_not_equal(first, guest.response[0].uuid.uuid, 16);

	assert_int_equal(RUN(pv_gpu_get_edid, HDR(GET_EDID), .scanout = 1), PV_GPU_RESP_OK_EDID);
	assert_int_equal(guest.response[0].edid.size % 128, 0);
	assert_memory_equal(guest.response[0].edid.edid, "\0\xff\xff\xff\xff\xff\xff\0", 8);
	assert_int_equal(RUN(pv_gpu_get_edid, HDR(GET_EDID), .scanout = 2), PV_GPU_RESP_ERR_INVALID_SCANOUT_ID);
}

static void a_later_display_is_told_everything(void **state)
{
	(void)state;
	assert_int_equal(create_2d(1, 64, 32), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(set_scanout(1, 1, (struct pv_gpu_wire_rect){0, 0, 64, 32}), PV_GPU_RESP_OK_NODATA);
	pv_gpu_remove_display(gpu, &screen.base);
	assert_true(screen.destroyed);
	memset(&screen, 0, sizeof(screen));
	screen.base.ops = &screen_ops;
	pv_gpu_add_display(gpu, &screen.base);
	assert_non_null(screen.frame[1]);
	assert_memory_equal(&screen.damage[1], (&(struct pv_rect){0, 0, 64, 32}), sizeof(struct pv_rect));
}

int main(void)
{
#define TEST(name, up) cmocka_unit_test_setup_teardown(name, up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(display_info_waits_for_the_display_that_decides, set_up_2d),
	    TEST(edid_waits_for_the_display_that_decides, set_up_2d),
	    TEST(resize_raises_the_event, set_up_2d),
	    TEST(pixels_reach_each_head_that_shows_them, set_up_2d),
	    TEST(transfers_stay_inside_picture_and_backing, set_up_2d),
	    TEST(host_memory_has_a_limit_and_comes_back, set_up_2d),
	    TEST(blobs_are_fetched_when_somebody_looks, set_up_2d),
	    TEST(transfers_take_effect_before_their_answer, set_up_2d),
	    TEST(a_detach_in_the_same_batch_keeps_the_pixels, set_up_2d),
	    TEST(one_blob_has_one_layout_on_all_heads, set_up_2d),
	    TEST(cursor, set_up_2d),
	    TEST(every_wrong_command_gets_an_error, set_up_2d),
	    TEST(uuid_and_edid, set_up_2d),
	    TEST(a_later_display_is_told_everything, set_up_2d),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The device through the embedding API alone, without any socket: the test is the hypervisor. It owns guest memory,
 * builds rings in it as a driver does, and looks at the picture through a view and through screenshots.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <png.h>
#include <pthread.h>
#include <yyjson.h>

#include "gpu/protocol.h"
#include "pv/device.h"

#define RAM_BYTES (8u << 20)
/* Not 0, so that a guest address taken for an offset shows. */
#define RAM_ADDR    0x40000000ull
#define QUEUE_SIZE  16
#define WIDTH       64
#define HEIGHT      48
#define F_VERSION_1 (1ull << 32)
#define F_INDIRECT  (1ull << 28)

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

enum { DESC_NEXT = 1, DESC_WRITE = 2 };

struct ring {
	struct desc desc[QUEUE_SIZE];
	struct {
		uint16_t flags, idx, ring[QUEUE_SIZE], used_event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE_SIZE];
		uint16_t avail_event;
	} used __attribute__((aligned(4)));
	uint8_t request[4096];
	uint8_t response[4096];
};

/* What lies at RAM_ADDR. */
struct ram {
	struct ring rings[PV_DEVICE_NR_QUEUES] __attribute__((aligned(4096)));
	uint32_t pixels[WIDTH * HEIGHT] __attribute__((aligned(4096)));
	uint32_t blob[WIDTH * HEIGHT] __attribute__((aligned(4096)));
	uint32_t cursor[64 * 64] __attribute__((aligned(4096)));
};

struct machine {
	struct pv_device *device;
	int ram_fd;
	struct ram *ram;
	uint16_t avail_idx[PV_DEVICE_NR_QUEUES], used_idx[PV_DEVICE_NR_QUEUES];

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Guarded by lock. */
	unsigned int interrupts[PV_DEVICE_NR_QUEUES], config_changes;
	struct pv_picture *picture[PV_DEVICE_MAX_OUTPUTS];
	unsigned int damages;
	struct pv_device_rect damage;
	struct pv_device_cursor cursor;
	uint32_t cursor_pixel;
};

static uint64_t guest_addr(const struct machine *m, const void *p)
{
	return RAM_ADDR + (uint64_t)((const char *)p - (const char *)m->ram);
}

/* ---- The owner's callbacks ---- */

static void on_interrupt(void *user, uint32_t queue)
{
	struct machine *m = user;

	pthread_mutex_lock(&m->lock);
	m->interrupts[queue]++;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static void on_config_changed(void *user)
{
	struct machine *m = user;

	pthread_mutex_lock(&m->lock);
	m->config_changes++;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static const struct pv_device_owner_ops owner_ops = {
    .struct_size = sizeof(owner_ops), .interrupt = on_interrupt, .config_changed = on_config_changed};

/* ---- A driver ---- */

static void start_queue(struct machine *m, uint32_t queue)
{
	struct ring *ring = &m->ram->rings[queue];
	struct pv_device_queue params = {
	    .size = QUEUE_SIZE,
	    .desc_addr = guest_addr(m, ring->desc),
	    .avail_addr = guest_addr(m, &ring->avail),
	    .used_addr = guest_addr(m, &ring->used),
	};

	memset(ring, 0, sizeof(*ring));
	m->avail_idx[queue] = m->used_idx[queue] = 0;
	assert_int_equal(pv_device_queue_start(m->device, queue, &params), PV_OK);
}

/* Sends a request, waits for the interrupt and returns the response's type; its bytes are in the ring's `response`. */
static uint32_t submit(struct machine *m, uint32_t queue, const void *request, size_t len, size_t response_len)
{
	struct ring *ring = &m->ram->rings[queue];
	unsigned int interrupts;

	pthread_mutex_lock(&m->lock);
	interrupts = m->interrupts[queue];
	pthread_mutex_unlock(&m->lock);

	memcpy(ring->request, request, len);
	memset(ring->response, 0xee, sizeof(ring->response));
	ring->desc[0] = (struct desc){guest_addr(m, ring->request), (uint32_t)len, DESC_NEXT, 1};
	ring->desc[1] = (struct desc){guest_addr(m, ring->response), (uint32_t)response_len, DESC_WRITE, 0};
	ring->avail.ring[m->avail_idx[queue]++ % QUEUE_SIZE] = 0;
	__atomic_store_n(&ring->avail.idx, m->avail_idx[queue], __ATOMIC_RELEASE);
	pv_device_queue_notify(m->device, queue);

	pthread_mutex_lock(&m->lock);
	while (m->interrupts[queue] == interrupts)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
	m->used_idx[queue]++;
	assert_int_equal(__atomic_load_n(&ring->used.idx, __ATOMIC_ACQUIRE), m->used_idx[queue]);
	assert_int_equal(ring->used.ring[(m->used_idx[queue] - 1) % QUEUE_SIZE].id, 0);

	struct pv_gpu_ctrl_hdr header;
	memcpy(&header, ring->response, sizeof(header));
	return header.type;
}

static uint32_t command(struct machine *m, const void *request, size_t len)
{
	return submit(m, 0, request, len, sizeof(struct pv_gpu_ctrl_hdr));
}

#define COMMAND(m, request) command((m), &(request), sizeof(request))

static void start(struct machine *m)
{
	assert_int_equal(
	    pv_device_set_driver_features(m->device, F_VERSION_1 | 1u << PV_GPU_F_EDID | 1u << PV_GPU_F_RESOURCE_BLOB),
	    PV_OK);
	start_queue(m, 0);
	start_queue(m, 1);
}

static struct machine *new_machine(const struct pv_device_params *more)
{
	struct pv_device_params params = {.struct_size = sizeof(params)};
	struct pv_device_memory_region region = {.guest_addr = RAM_ADDR, .size_bytes = RAM_BYTES};
	struct machine *m = test_calloc(1, sizeof(*m));

	if (more)
		params = *more;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	m->ram_fd = memfd_create("ram", MFD_CLOEXEC);
	assert_true(m->ram_fd >= 0);
	assert_int_equal(ftruncate(m->ram_fd, RAM_BYTES), 0);
	m->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->ram_fd, 0);
	assert_true(m->ram != MAP_FAILED);
	region.fd = m->ram_fd;
	assert_int_equal(pv_device_create(&params, &m->device), PV_OK);
	assert_int_equal(pv_device_attach(m->device, &owner_ops, m), PV_OK);
	assert_int_equal(pv_device_set_memory(m->device, &region, 1), PV_OK);
	return m;
}

static void destroy_machine(struct machine *m)
{
	/* What a view kept. */
	for (size_t i = 0; i < PV_DEVICE_MAX_OUTPUTS; i++)
		pv_picture_unref(m->picture[i]);
	pv_device_detach(m->device);
	pv_device_destroy(m->device);
	munmap(m->ram, RAM_BYTES);
	close(m->ram_fd);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	test_free(m);
}

static int set_up(void **state)
{
	struct machine *m = new_machine(NULL);

	start(m);
	*state = m;
	return 0;
}

static int tear_down(void **state)
{
	destroy_machine(*state);
	return 0;
}

/* ---- What a driver does to show a picture ---- */

static uint32_t pattern(uint32_t x, uint32_t y)
{
	return 0xff000000u | (x * 4) << 16 | (y * 5) << 8 | (x ^ y);
}

static void create_2d(struct machine *m, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
	struct pv_gpu_resource_create_2d create = {
	    .hdr.type = PV_GPU_CMD_RESOURCE_CREATE_2D,
	    .resource_id = id,
	    .format = format,
	    .width = width,
	    .height = height,
	};

	assert_int_equal(COMMAND(m, create), PV_GPU_RESP_OK_NODATA);
}

static void attach_backing(struct machine *m, uint32_t id, const void *memory, uint32_t len)
{
	struct {
		struct pv_gpu_attach_backing attach;
		struct pv_gpu_mem_entry entry;
	} request = {
	    .attach = {.hdr.type = PV_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = id, .nr_entries = 1},
	    .entry = {.addr = guest_addr(m, memory), .length = len},
	};

	assert_int_equal(COMMAND(m, request), PV_GPU_RESP_OK_NODATA);
}

static void transfer(struct machine *m, uint32_t id, uint32_t width, uint32_t height)
{
	struct pv_gpu_transfer_to_host_2d request = {
	    .hdr.type = PV_GPU_CMD_TRANSFER_TO_HOST_2D, .r = {0, 0, width, height}, .resource_id = id};

	assert_int_equal(COMMAND(m, request), PV_GPU_RESP_OK_NODATA);
}

static uint32_t set_scanout(struct machine *m, uint32_t scanout, uint32_t id, struct pv_gpu_wire_rect r)
{
	struct pv_gpu_set_scanout request = {
	    .hdr.type = PV_GPU_CMD_SET_SCANOUT, .r = r, .scanout_id = scanout, .resource_id = id};

	return COMMAND(m, request);
}

static void flush(struct machine *m, uint32_t id, struct pv_gpu_wire_rect r)
{
	struct pv_gpu_resource_flush request = {.hdr.type = PV_GPU_CMD_RESOURCE_FLUSH, .r = r, .resource_id = id};

	assert_int_equal(COMMAND(m, request), PV_GPU_RESP_OK_NODATA);
}

static void show_pattern(struct machine *m)
{
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		m->ram->pixels[i] = pattern(i % WIDTH, i / WIDTH);
	create_2d(m, 1, PV_GPU_FORMAT_B8G8R8X8, WIDTH, HEIGHT);
	attach_backing(m, 1, m->ram->pixels, sizeof(m->ram->pixels));
	transfer(m, 1, WIDTH, HEIGHT);
	assert_int_equal(set_scanout(m, 0, 1, (struct pv_gpu_wire_rect){0, 0, WIDTH, HEIGHT}), PV_GPU_RESP_OK_NODATA);
	flush(m, 1, (struct pv_gpu_wire_rect){0, 0, WIDTH, HEIGHT});
}

/* ---- Looking at it ---- */

/* Reads a PNG from an fd into x8r8g8b8. */
static uint32_t *read_png(int fd, uint32_t *width, uint32_t *height)
{
	png_image image = {.version = PNG_IMAGE_VERSION};
	FILE *file;
	uint32_t *pixels;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	fd = dup(fd);
	file = fd < 0 ? NULL : fdopen(fd, "rb");
	assert_non_null(file);
	*width = *height = 0;
	if (!file)
		return NULL;
	assert_true(png_image_begin_read_from_stdio(&image, file));
	image.format = PNG_FORMAT_BGRA;
	pixels = test_malloc((size_t)PNG_IMAGE_SIZE(image));
	assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
	*width = image.width;
	*height = image.height;
	fclose(file);
	return pixels;
}

static uint32_t *screenshot(struct machine *m, uint32_t scanout, bool cursor, uint32_t *width, uint32_t *height)
{
	int fd = memfd_create("png", MFD_CLOEXEC);
	uint32_t *pixels;

	assert_int_equal(pv_device_screenshot(m->device, scanout, cursor, fd), PV_OK);
	pixels = read_png(fd, width, height);
	close(fd);
	return pixels;
}

static void assert_pattern(const uint32_t *pixels)
{
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++) {
		if ((pixels[i] | 0xff000000u) != pattern(i % WIDTH, i / WIDTH))
			fail_msg("pixel %u,%u is %08x", i % WIDTH, i / WIDTH, pixels[i]);
	}
}

static void test_config_and_features(void **state)
{
	struct machine *m = *state;
	struct pv_gpu_config config;
	uint64_t features = pv_device_features(m->device);

	assert_true(features & F_VERSION_1);
	assert_true(features & 1u << PV_GPU_F_EDID);
	assert_true(features & F_INDIRECT);
	pv_device_config_read(m->device, 0, &config, sizeof(config));
	assert_int_equal(config.num_scanouts, 1);
	assert_int_equal(config.events_read, 0);

	uint8_t beyond[8] = {1, 1, 1, 1, 1, 1, 1, 1}, zero[8] = {0};
	pv_device_config_read(m->device, 4000, beyond, sizeof(beyond));
	assert_memory_equal(beyond, zero, sizeof(zero));

	assert_int_equal(pv_device_set_driver_features(m->device, 1ull << 50), PV_ERR_GUEST);
}

static void test_display_info(void **state)
{
	struct machine *m = *state;
	struct pv_gpu_ctrl_hdr request = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};
	struct pv_gpu_resp_display_info info;

	assert_int_equal(submit(m, 0, &request, sizeof(request), sizeof(info)), PV_GPU_RESP_OK_DISPLAY_INFO);
	memcpy(&info, m->ram->rings[0].response, sizeof(info));
	assert_int_equal(info.pmodes[0].enabled, 1);
	assert_int_equal(info.pmodes[0].r.width, 1280);
	assert_int_equal(info.pmodes[0].r.height, 800);
	assert_int_equal(info.pmodes[1].enabled, 0);
}

static void test_picture_and_screenshot(void **state)
{
	struct machine *m = *state;
	uint32_t width, height;
	uint32_t *pixels;
	int fd = memfd_create("png", MFD_CLOEXEC);

	assert_int_equal(pv_device_screenshot(m->device, 0, true, fd), PV_ERR_ARGUMENT);
	assert_int_equal(pv_device_screenshot(m->device, 1, true, fd), PV_ERR_ARGUMENT);
	close(fd);
	show_pattern(m);
	pixels = screenshot(m, 0, false, &width, &height);
	assert_int_equal(width, WIDTH);
	assert_int_equal(height, HEIGHT);
	assert_pattern(pixels);
	test_free(pixels);
}

static void test_screenshot_to_a_bad_file(void **state)
{
	struct machine *m = *state;
	int fds[2];

	show_pattern(m);
	assert_int_equal(pv_device_screenshot(m->device, 0, true, -1), PV_ERR_HOST);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(pv_device_screenshot(m->device, 0, true, fds[1]), PV_ERR_HOST);
	close(fds[1]);
}

static void test_cursor_in_screenshot(void **state)
{
	struct machine *m = *state;
	struct pv_gpu_update_cursor update = {
	    .hdr.type = PV_GPU_CMD_UPDATE_CURSOR, .x = 10, .y = 12, .resource_id = 2, .hot_x = 3, .hot_y = 4};
	uint32_t width, height;
	uint32_t *pixels;

	show_pattern(m);
	for (uint32_t i = 0; i < 64 * 64; i++)
		m->ram->cursor[i] = i == 0 ? 0xffffffffu : 0;
	create_2d(m, 2, PV_GPU_FORMAT_B8G8R8A8, 64, 64);
	attach_backing(m, 2, m->ram->cursor, sizeof(m->ram->cursor));
	transfer(m, 2, 64, 64);
	(void)submit(m, 1, &update, sizeof(update), sizeof(struct pv_gpu_ctrl_hdr));

	/* The image's first pixel lies at the guest's position: drivers subtract the hot spot themselves. */
	pixels = screenshot(m, 0, true, &width, &height);
	unsigned int changed = 0;
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		changed += (pixels[i] | 0xff000000u) != pattern(i % WIDTH, i / WIDTH);
	assert_int_equal(changed, 1);
	test_free(pixels);
	pixels = screenshot(m, 0, false, &width, &height);
	assert_pattern(pixels);
	test_free(pixels);
}

static void test_blob_scanout(void **state)
{
	struct machine *m = *state;
	struct {
		struct pv_gpu_create_blob create;
		struct pv_gpu_mem_entry entry;
	} create = {
	    .create = {.hdr.type = PV_GPU_CMD_RESOURCE_CREATE_BLOB,
		       .resource_id = 3,
		       .blob_mem = PV_GPU_BLOB_MEM_GUEST,
		       .nr_entries = 1,
		       .size = sizeof(m->ram->blob)},
	    .entry = {.addr = guest_addr(m, m->ram->blob), .length = sizeof(m->ram->blob)},
	};
	struct pv_gpu_set_scanout_blob scanout = {.hdr.type = PV_GPU_CMD_SET_SCANOUT_BLOB,
						  .r = {0, 0, WIDTH, HEIGHT},
						  .resource_id = 3,
						  .width = WIDTH,
						  .height = HEIGHT,
						  .format = PV_GPU_FORMAT_B8G8R8X8,
						  .strides = {WIDTH * 4}};
	uint32_t width, height;
	uint32_t *pixels;

	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		m->ram->blob[i] = pattern(i % WIDTH, i / WIDTH);
	assert_int_equal(COMMAND(m, create), PV_GPU_RESP_OK_NODATA);
	assert_int_equal(COMMAND(m, scanout), PV_GPU_RESP_OK_NODATA);
	flush(m, 3, (struct pv_gpu_wire_rect){0, 0, WIDTH, HEIGHT});
	pixels = screenshot(m, 0, true, &width, &height);
	assert_int_equal(width, WIDTH);
	assert_pattern(pixels);
	test_free(pixels);
}

static void test_resize_is_an_event(void **state)
{
	struct machine *m = *state;
	struct pv_device_output output = {.enabled = true, .width = 1920, .height = 1080}, got;
	struct pv_gpu_ctrl_hdr request = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};
	struct pv_gpu_resp_display_info info;
	struct pv_gpu_config config;
	uint32_t clear = PV_GPU_EVENT_DISPLAY;

	assert_int_equal(pv_device_set_output(m->device, 0, &output), PV_OK);
	pthread_mutex_lock(&m->lock);
	assert_int_equal(m->config_changes, 1);
	pthread_mutex_unlock(&m->lock);
	pv_device_config_read(m->device, 0, &config, sizeof(config));
	assert_int_equal(config.events_read, PV_GPU_EVENT_DISPLAY);
	assert_int_equal(submit(m, 0, &request, sizeof(request), sizeof(info)), PV_GPU_RESP_OK_DISPLAY_INFO);
	memcpy(&info, m->ram->rings[0].response, sizeof(info));
	assert_int_equal(info.pmodes[0].r.width, 1920);
	pv_device_config_write(m->device, offsetof(struct pv_gpu_config, events_clear), &clear, sizeof(clear));
	pv_device_config_read(m->device, 0, &config, sizeof(config));
	assert_int_equal(config.events_read, 0);

	assert_int_equal(pv_device_get_output(m->device, 0, &got), PV_OK);
	assert_int_equal(got.height, 1080);
	assert_int_equal(pv_device_get_output(m->device, 1, &got), PV_ERR_ARGUMENT);
	assert_int_equal(pv_device_set_output(m->device, 1, &output), PV_ERR_ARGUMENT);
	output.width = PV_DEVICE_MAX_SIDE_PIXELS + 1;
	assert_int_equal(pv_device_set_output(m->device, 0, &output), PV_ERR_ARGUMENT);
}

static void view_set_picture(void *user, uint32_t scanout, struct pv_picture *picture)
{
	struct machine *m = user;

	pthread_mutex_lock(&m->lock);
	pv_picture_unref(m->picture[scanout]);
	m->picture[scanout] = picture ? pv_picture_ref(picture) : NULL;
	pthread_mutex_unlock(&m->lock);
}

static void view_damage(void *user, uint32_t scanout, const struct pv_device_rect *rect)
{
	struct machine *m = user;

	(void)scanout;
	pthread_mutex_lock(&m->lock);
	m->damages++;
	m->damage = *rect;
	pthread_mutex_unlock(&m->lock);
}

static void view_set_cursor(void *user, const struct pv_device_cursor *cursor)
{
	struct machine *m = user;

	pthread_mutex_lock(&m->lock);
	m->cursor = *cursor;
	m->cursor_pixel = cursor->pixels[0];
	pthread_mutex_unlock(&m->lock);
}

static const struct pv_device_view_ops view_ops = {.struct_size = sizeof(view_ops),
						   .set_picture = view_set_picture,
						   .damage = view_damage,
						   .set_cursor = view_set_cursor};

static void test_view(void **state)
{
	struct machine *m = *state;
	static uint32_t pixels[WIDTH * HEIGHT];
	struct pv_picture_info info = {.struct_size = sizeof(info)};
	struct pv_device_rect all = {0, 0, WIDTH, HEIGHT}, outside = {1, 0, WIDTH, HEIGHT}, part = {5, 6, 7, 8};
	struct pv_device_view_ops bad = view_ops;
	struct pv_device_view *view;

	/* As a caller does that ignores the header: clang warns of an assignment of NULL. */
	memset(&bad.damage, 0, sizeof(bad.damage));
	assert_int_equal(pv_device_add_view(m->device, &bad, m, &view), PV_ERR_ARGUMENT);
	show_pattern(m);
	/* One that comes late sees what is there. */
	assert_int_equal(pv_device_add_view(m->device, &view_ops, m, &view), PV_OK);
	assert_non_null(m->picture[0]);
	pv_picture_get_info(m->picture[0], &info);
	assert_int_equal(info.width, WIDTH);
	assert_int_equal(info.height, HEIGHT);
	assert_int_equal(info.format, PV_GPU_FORMAT_B8G8R8X8);
	assert_int_equal(*(const uint32_t *)info.pixels | 0xff000000u, pattern(0, 0));
	assert_int_equal(pv_picture_read_bgrx(m->picture[0], &all, pixels, WIDTH * 4), PV_OK);
	assert_pattern(pixels);
	assert_int_equal(pv_picture_read_bgrx(m->picture[0], &outside, pixels, WIDTH * 4), PV_ERR_ARGUMENT);
	assert_int_equal(pv_picture_read_bgrx(m->picture[0], &all, pixels, WIDTH * 4 - 1), PV_ERR_ARGUMENT);

	unsigned int damages = m->damages;
	flush(m, 1, (struct pv_gpu_wire_rect){part.x, part.y, part.width, part.height});
	pthread_mutex_lock(&m->lock);
	assert_int_equal(m->damages, damages + 1);
	assert_memory_equal(&m->damage, &part, sizeof(part));
	pthread_mutex_unlock(&m->lock);

	/* A part of the resource on the screen: the picture is that part. */
	assert_int_equal(set_scanout(m, 0, 1, (struct pv_gpu_wire_rect){4, 8, 32, 16}), PV_GPU_RESP_OK_NODATA);
	pv_picture_get_info(m->picture[0], &info);
	assert_int_equal(info.width, 32);
	assert_int_equal(*(const uint32_t *)info.pixels | 0xff000000u, pattern(4, 8));
	assert_int_equal(pv_picture_read_bgrx(m->picture[0], &part, pixels, WIDTH * 4), PV_OK);
	assert_int_equal(pixels[0] | 0xff000000u, pattern(4 + part.x, 8 + part.y));

	/* Off. */
	assert_int_equal(set_scanout(m, 0, 0, (struct pv_gpu_wire_rect){0}), PV_GPU_RESP_OK_NODATA);
	assert_null(m->picture[0]);
	pv_device_remove_view(m->device, view);
	damages = m->damages;
	assert_int_equal(set_scanout(m, 0, 1, (struct pv_gpu_wire_rect){0, 0, WIDTH, HEIGHT}), PV_GPU_RESP_OK_NODATA);
	flush(m, 1, (struct pv_gpu_wire_rect){0, 0, WIDTH, HEIGHT});
	assert_null(m->picture[0]);
	assert_int_equal(m->damages, damages);
}

static void test_picture_outlives_resource(void **state)
{
	struct machine *m = *state;
	struct pv_gpu_resource_ref unref = {.hdr.type = PV_GPU_CMD_RESOURCE_UNREF, .resource_id = 1};
	struct pv_device_rect all = {0, 0, WIDTH, HEIGHT};
	static uint32_t pixels[WIDTH * HEIGHT];
	struct pv_device_view *view;
	struct pv_picture *kept;

	assert_int_equal(pv_device_add_view(m->device, &view_ops, m, &view), PV_OK);
	show_pattern(m);
	kept = pv_picture_ref(m->picture[0]);
	assert_int_equal(COMMAND(m, unref), PV_GPU_RESP_OK_NODATA);
	assert_null(m->picture[0]);
	pv_device_reset(m->device);
	assert_int_equal(pv_picture_read_bgrx(kept, &all, pixels, WIDTH * 4), PV_OK);
	assert_pattern(pixels);
	pv_picture_unref(kept);
	pv_device_remove_view(m->device, view);
}

static void test_cursor_in_view(void **state)
{
	struct machine *m = *state;
	struct pv_gpu_update_cursor update = {
	    .hdr.type = PV_GPU_CMD_UPDATE_CURSOR, .x = 10, .y = 12, .resource_id = 2, .hot_x = 3, .hot_y = 4};
	struct pv_device_view *view;

	assert_int_equal(pv_device_add_view(m->device, &view_ops, m, &view), PV_OK);
	show_pattern(m);
	m->ram->cursor[0] = 0x80402010u;
	create_2d(m, 2, PV_GPU_FORMAT_B8G8R8A8, 64, 64);
	attach_backing(m, 2, m->ram->cursor, sizeof(m->ram->cursor));
	transfer(m, 2, 64, 64);
	(void)submit(m, 1, &update, sizeof(update), sizeof(struct pv_gpu_ctrl_hdr));
	pthread_mutex_lock(&m->lock);
	assert_true(m->cursor.visible);
	assert_int_equal(m->cursor.hot_x, 3);
	assert_int_equal(m->cursor.hot_y, 4);
	assert_int_equal(m->cursor_pixel & 0xffffffu, 0x402010u);
	pthread_mutex_unlock(&m->lock);
	update.resource_id = 0;
	(void)submit(m, 1, &update, sizeof(update), sizeof(struct pv_gpu_ctrl_hdr));
	pthread_mutex_lock(&m->lock);
	assert_false(m->cursor.visible);
	pthread_mutex_unlock(&m->lock);
	pv_device_remove_view(m->device, view);
}

static void test_guest_errors_are_answers(void **state)
{
	struct machine *m = *state;
	struct pv_gpu_resource_create_2d create = {
	    .hdr.type = PV_GPU_CMD_RESOURCE_CREATE_2D, .resource_id = 9, .format = 77, .width = 1, .height = 1};
	struct pv_device_queue impossible = {.size = 3};

	assert_int_equal(COMMAND(m, create), PV_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(set_scanout(m, 5, 0, (struct pv_gpu_wire_rect){0}), PV_GPU_RESP_ERR_INVALID_SCANOUT_ID);
	assert_int_equal(pv_device_queue_start(m->device, 0, &impossible), PV_ERR_GUEST);
	impossible.size = 1u << 16 | 8;
	assert_int_equal(pv_device_queue_start(m->device, 0, &impossible), PV_ERR_GUEST);
	assert_int_equal(pv_device_queue_start(m->device, 2, &impossible), PV_ERR_ARGUMENT);
	pv_device_queue_notify(m->device, 7);
	assert_int_equal(pv_device_queue_stop(m->device, 7), 0);
}

static void test_stop_and_go_on(void **state)
{
	struct machine *m = *state;
	struct ring *ring = &m->ram->rings[0];
	struct pv_device_queue queue = {
	    .size = QUEUE_SIZE,
	    .desc_addr = guest_addr(m, ring->desc),
	    .avail_addr = guest_addr(m, &ring->avail),
	    .used_addr = guest_addr(m, &ring->used),
	};

	show_pattern(m);
	queue.base = pv_device_queue_stop(m->device, 0);
	assert_int_equal(queue.base, m->avail_idx[0]);
	assert_int_equal(pv_device_queue_start(m->device, 0, &queue), PV_OK);
	flush(m, 1, (struct pv_gpu_wire_rect){0, 0, WIDTH, HEIGHT});
}

static void test_reset_forgets_the_guest(void **state)
{
	struct machine *m = *state;

	show_pattern(m);
	pv_device_reset(m->device);
	start(m);
	/* Resource 1 is free again. */
	show_pattern(m);
}

static void test_memory_table(void **state)
{
	struct machine *m = *state;
	struct pv_device_memory_region regions[2] = {
	    {.guest_addr = RAM_ADDR, .size_bytes = RAM_BYTES, .fd = -1, .memory = m->ram},
	    {.guest_addr = RAM_ADDR + 4096, .size_bytes = 4096, .fd = -1, .memory = m->ram},
	};

	/* Refused tables leave the old one. */
	assert_int_equal(pv_device_set_memory(m->device, regions, 2), PV_ERR_ARGUMENT);
	regions[1].guest_addr = 0;
	regions[1].size_bytes = 0;
	assert_int_equal(pv_device_set_memory(m->device, regions, 2), PV_ERR_ARGUMENT);
	regions[1].size_bytes = 1ull << 40;
	regions[1].fd = m->ram_fd;
	assert_int_equal(pv_device_set_memory(m->device, regions, 2), PV_ERR_ARGUMENT);
	create_2d(m, 7, PV_GPU_FORMAT_B8G8R8X8, 8, 8);
	/* The same memory by pointer: the queues go on. */
	assert_int_equal(pv_device_set_memory(m->device, regions, 1), PV_OK);
	show_pattern(m);
	assert_int_equal(pv_device_set_memory(m->device, NULL, 1), PV_ERR_ARGUMENT);
	assert_int_equal(pv_device_set_memory(m->device, NULL, 0), PV_OK);
}

static void test_one_owner(void **state)
{
	struct machine *m = *state;
	struct pv_device_owner_ops incomplete = {.struct_size = sizeof(incomplete)};
	struct pv_gpu_ctrl_hdr request = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};

	assert_int_equal(pv_device_attach(m->device, &owner_ops, m), PV_ERR_ARGUMENT);
	pv_device_detach(m->device);
	assert_int_equal(pv_device_set_driver_features(m->device, F_VERSION_1), PV_ERR_ARGUMENT);
	assert_int_equal(pv_device_attach(m->device, &incomplete, m), PV_ERR_ARGUMENT);
	assert_int_equal(pv_device_attach(m->device, &owner_ops, m), PV_OK);

	struct pv_device_memory_region region = {.guest_addr = RAM_ADDR, .size_bytes = RAM_BYTES, .fd = m->ram_fd};
	assert_int_equal(pv_device_set_memory(m->device, &region, 1), PV_OK);
	start(m);
	assert_int_equal(submit(m, 0, &request, sizeof(request), sizeof(struct pv_gpu_resp_display_info)),
			 PV_GPU_RESP_OK_DISPLAY_INFO);
}

static void test_status(void **state)
{
	struct machine *m = *state;
	char *json = NULL;

	show_pattern(m);
	assert_int_equal(pv_device_status(m->device, &json), PV_OK);
	yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
	assert_non_null(doc);
	yyjson_val *root = yyjson_doc_get_root(doc);
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "version")), pv_version());
	assert_string_equal(yyjson_get_str(yyjson_ptr_get(root, "/front_end/kind")), "program");
	assert_int_equal(yyjson_get_uint(yyjson_ptr_get(root, "/scanouts/0/width")), WIDTH);
	assert_string_equal(yyjson_get_str(yyjson_ptr_get(root, "/scanouts/0/format")), "B8G8R8X8");
	assert_int_equal(yyjson_get_uint(yyjson_ptr_get(root, "/scanouts/0/fps")), 1);
	assert_int_equal(yyjson_get_uint(yyjson_ptr_get(root, "/counters/commands")), 5);
	assert_true(yyjson_get_bool(yyjson_ptr_get(root, "/queues/0/running")));
	/* The picture, rounded up to pages, and what is kept about it. */
	assert_in_range(yyjson_get_uint(yyjson_ptr_get(root, "/memory/resource_bytes")), WIDTH * HEIGHT * 4,
			WIDTH * HEIGHT * 4 + 3 * 4096);
	assert_true(yyjson_get_uint(yyjson_ptr_get(root, "/memory/resident_bytes")) > 0);
	yyjson_doc_free(doc);
	pv_free(json);
}

static void *call_all_the_time(void *user)
{
	struct machine *m = user;

	for (uint32_t i = 0; i < 50; i++) {
		struct pv_device_output output = {.enabled = true, .width = 640 + i, .height = 480};
		uint32_t width, height;
		char *json = NULL;

		assert_int_equal(pv_device_set_output(m->device, 0, &output), PV_OK);
		assert_int_equal(pv_device_status(m->device, &json), PV_OK);
		pv_free(json);
		test_free(screenshot(m, 0, true, &width, &height));
		pv_device_queue_notify(m->device, 1);
	}
	return NULL;
}

static void test_calls_from_many_threads(void **state)
{
	struct machine *m = *state;
	pthread_t threads[3];

	show_pattern(m);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_all_the_time, m), 0);
	for (uint32_t i = 0; i < 200; i++)
		flush(m, 1, (struct pv_gpu_wire_rect){0, 0, WIDTH, HEIGHT});
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

static void test_params(void **state)
{
	struct pv_device_output outputs[2] = {{.enabled = true, .width = 800, .height = 600}, {0}};
	struct pv_device_params params = {
	    .struct_size = sizeof(params), .nr_outputs = 2, .outputs = outputs, .window_bytes = 4u << 20};
	struct pv_device *device = NULL;
	uint64_t window_bytes;

	(void)state;
	assert_int_equal(pv_device_create(&params, &device), PV_OK);
	assert_int_equal(pv_device_nr_outputs(device), 2);
	assert_true(pv_device_window(device, &window_bytes) >= 0);
	assert_int_equal(window_bytes, 4u << 20);
	pv_device_destroy(device);
	pv_device_destroy(NULL);

	/* A caller built with an older header. */
	params.struct_size = offsetof(struct pv_device_params, window_bytes);
	assert_int_equal(pv_device_create(&params, &device), PV_OK);
	assert_int_equal(pv_device_window(device, &window_bytes), -1);
	assert_int_equal(window_bytes, 0);
	pv_device_destroy(device);

	params.struct_size = 0;
	assert_int_equal(pv_device_create(&params, &device), PV_ERR_ARGUMENT);
	params.struct_size = sizeof(params);
	params.window_bytes = 4096;
	assert_int_equal(pv_device_create(&params, &device), PV_ERR_ARGUMENT);
	params.window_bytes = 0;
	params.nr_outputs = 17;
	assert_int_equal(pv_device_create(&params, &device), PV_ERR_ARGUMENT);
	params.nr_outputs = 1;
	outputs[0].width = 0;
	assert_int_equal(pv_device_create(&params, &device), PV_ERR_ARGUMENT);
}

static void test_picture_at_exit(void **state)
{
	char directory[] = "/tmp/pv-device-test-XXXXXX", path[64];
	struct pv_device_params params = {.struct_size = sizeof(params), .png_path = path};
	uint32_t width, height;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/last.png", directory);
	struct machine *m = new_machine(&params);
	start(m);
	show_pattern(m);
	destroy_machine(m);
	file = fopen(path, "rb");
	assert_non_null(file);
	if (!file)
		return;
	uint32_t *pixels = read_png(fileno(file), &width, &height);
	assert_pattern(pixels);
	test_free(pixels);
	fclose(file);
	unlink(path);
	rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_config_and_features, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_display_info, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_picture_and_screenshot, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_screenshot_to_a_bad_file, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_cursor_in_screenshot, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_blob_scanout, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_resize_is_an_event, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_view, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_picture_outlives_resource, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_cursor_in_view, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_guest_errors_are_answers, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_stop_and_go_on, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_reset_forgets_the_guest, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_memory_table, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_one_owner, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_status, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_calls_from_many_threads, set_up, tear_down),
	    cmocka_unit_test(test_params),
	    cmocka_unit_test(test_picture_at_exit),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "display/png.h"

#include <fcntl.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "gpu/protocol.h"

#define WIDTH  100
#define HEIGHT 70

struct picture {
	uint32_t width, height;
	uint8_t *rgb;
};

static struct pv_display *display;
static char directory[] = "/tmp/pv-png-XXXXXX";

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

static int set_up(void **state)
{
	(void)state;
	return pv_png_display_create(NULL, &display) == PV_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	pv_display_destroy(display);
	return 0;
}

/* libpng's simple reader: none of the code under test. */
static struct picture read_png(FILE *file)
{
	png_image image = {.version = PNG_IMAGE_VERSION};
	struct picture p;

	assert_true(png_image_begin_read_from_stdio(&image, file));
	assert_int_equal(image.format, PNG_FORMAT_RGB);
	p.width = image.width;
	p.height = image.height;
	p.rgb = malloc((size_t)PNG_IMAGE_SIZE(image));
	assert_non_null(p.rgb);
	assert_true(png_image_finish_read(&image, NULL, p.rgb, 0, NULL));
	return p;
}

static enum pv_status screenshot(uint32_t scanout_id, bool with_cursor, int fd)
{
	struct pv_snapshot *snapshot = NULL;
	enum pv_status status = pv_png_display_capture(display, scanout_id, with_cursor, &snapshot);

	if (status == PV_OK)
		status = pv_snapshot_write_png(snapshot, fd);
	pv_snapshot_destroy(snapshot);
	return status;
}

static struct picture shoot(uint32_t scanout_id, bool with_cursor)
{
	FILE *file = tmpfile();
	struct picture p = {0};

	assert_non_null(file);
	if (!file)
		return p; /* for analysers that do not know assertions */
	assert_int_equal(screenshot(scanout_id, with_cursor, fileno(file)), PV_OK);
	assert_int_equal(fseek(file, 0, SEEK_SET), 0);
	p = read_png(file);
	fclose(file);
	return p;
}

static uint32_t pixel(const struct picture *p, uint32_t x, uint32_t y)
{
	if (!p->rgb)
		return 0; /* as above */
	const uint8_t *rgb = p->rgb + ((size_t)y * p->width + x) * 3;

	return (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
}

static uint32_t colour(uint32_t x, uint32_t y)
{
	return (x * 2 + 1) << 16 | (y * 3 + 2) << 8 | (x ^ y);
}

/* Where a format has its red, green and blue in memory. */
static const struct layout {
	uint32_t format, red, green, blue;
} layouts[] = {
    {PV_GPU_FORMAT_B8G8R8A8, 2, 1, 0}, {PV_GPU_FORMAT_B8G8R8X8, 2, 1, 0}, {PV_GPU_FORMAT_A8R8G8B8, 1, 2, 3},
    {PV_GPU_FORMAT_X8R8G8B8, 1, 2, 3}, {PV_GPU_FORMAT_R8G8B8A8, 0, 1, 2}, {PV_GPU_FORMAT_X8B8G8R8, 3, 2, 1},
    {PV_GPU_FORMAT_A8B8G8R8, 3, 2, 1}, {PV_GPU_FORMAT_R8G8B8X8, 0, 1, 2},
};

static struct pv_frame *make_frame(const struct layout *layout, uint32_t width, uint32_t height)
{
	struct pv_frame *frame;

	assert_int_equal(pv_frame_create(width, height, layout->format, &frame), PV_OK);
	for (uint32_t y = 0; y < height; y++)
		for (uint32_t x = 0; x < width; x++) {
			uint8_t *p = frame->pixels + (size_t)y * frame->stride_bytes + (size_t)x * 4;
			uint32_t c = colour(x, y);

			/* What is in the fourth byte must not matter. */
			memset(p, 0x5a, 4);
			p[layout->red] = (uint8_t)(c >> 16);
			p[layout->green] = (uint8_t)(c >> 8);
			p[layout->blue] = (uint8_t)c;
		}
	return frame;
}

static void show(uint32_t scanout_id, struct pv_frame *frame, struct pv_rect src)
{
	display->ops->set_scanout(display, scanout_id, frame, &src);
}

static void all_formats_come_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < PV_ARRAY_LEN(layouts); i++) {
		struct pv_frame *frame = make_frame(&layouts[i], WIDTH, HEIGHT);

		/* A part of the frame: origin and size are the scanout's. */
		show(0, frame, (struct pv_rect){7, 5, WIDTH - 10, HEIGHT - 6});
		struct picture p = shoot(0, true);
		assert_int_equal(p.width, WIDTH - 10);
		assert_int_equal(p.height, HEIGHT - 6);
		for (uint32_t y = 0; y < p.height; y++)
			for (uint32_t x = 0; x < p.width; x++)
				assert_int_equal(pixel(&p, x, y), colour(x + 7, y + 5));
		free(p.rgb);
		pv_frame_unref(frame);
	}
}

static void shows_the_live_frame(void **state)
{
	struct pv_frame *frame = make_frame(&layouts[1], WIDTH, HEIGHT);

	(void)state;
	show(3, frame, (struct pv_rect){0, 0, WIDTH, HEIGHT});
	free(shoot(3, false).rgb);
	memset(frame->pixels + frame->stride_bytes, 0xff, 4);
	display->ops->damage(display, 3, &(struct pv_rect){0, 1, 1, 1});
	struct picture p = shoot(3, false);
	assert_int_equal(pixel(&p, 0, 1), 0xffffff);
	assert_int_equal(pixel(&p, 1, 1), colour(1, 1));
	free(p.rgb);
	pv_frame_unref(frame);
}

static void heads_without_a_picture(void **state)
{
	struct pv_frame *frame = make_frame(&layouts[0], WIDTH, HEIGHT);

	(void)state;
	assert_int_equal(screenshot(0, true, 1), PV_ERR_ARGUMENT);
	assert_int_equal(screenshot(PV_GPU_MAX_SCANOUTS, true, 1), PV_ERR_ARGUMENT);
	/* Turned off, the last picture stays. */
	show(0, frame, (struct pv_rect){0, 0, WIDTH, HEIGHT});
	pv_frame_unref(frame);
	display->ops->set_scanout(display, 0, NULL, NULL);
	struct picture p = shoot(0, false);
	assert_int_equal(pixel(&p, 9, 9), colour(9, 9));
	free(p.rgb);
}

/* Memory that the guest no longer owns is bounded. */
static void few_large_pictures_are_kept(void **state)
{
	struct pv_frame *frame;
	uint32_t kept = 0;
	int null = open("/dev/null", O_WRONLY);

	(void)state;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		assert_int_equal(pv_frame_create(4096, 2048, PV_GPU_FORMAT_B8G8R8X8, &frame), PV_OK);
		show(i, frame, (struct pv_rect){0, 0, 1, 1});
		pv_frame_unref(frame);
		display->ops->set_scanout(display, i, NULL, NULL);
		display->ops->set_scanout(display, i, NULL, NULL);
	}
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		kept += screenshot(i, false, null) == PV_OK;
	assert_int_equal(kept, 4); /* of 32 MiB each */
	close(null);
}

static uint32_t over(uint32_t top, uint32_t under)
{
	uint32_t alpha = top >> 24, result = 0;

	for (int shift = 0; shift < 24; shift += 8) {
		double c = (top >> shift & 0xff) + (under >> shift & 0xff) * (255 - alpha) / 255.0;
		result |= (uint32_t)(c > 255 ? 255 : c + 0.5) << shift;
	}
	return result;
}

static void cursor_is_clipped_and_blended(void **state)
{
	static const int32_t xs[] = {INT32_MIN, -64, -63, -1, 0, 36, 37, 50, 99, 100, INT32_MAX};
	static const int32_t ys[] = {INT32_MIN, -64, -63, -1, 0, 6, 7, 69, 70, INT32_MAX};
	static struct pv_cursor cursor = {.scanout_id = 0, .visible = true, .hot_x = 3, .hot_y = 60};
	struct pv_frame *frame = make_frame(&layouts[0], WIDTH, HEIGHT);

	(void)state;
	for (uint32_t i = 0; i < PV_ARRAY_LEN(cursor.pixels); i++) {
		uint32_t alpha = i % 256, c = alpha * (i % 7) / 7;
		cursor.pixels[i] = alpha << 24 | c << 16 | (alpha - c) << 8 | alpha / 2;
	}
	show(0, frame, (struct pv_rect){0, 0, WIDTH, HEIGHT});
	display->ops->set_cursor(display, &cursor);
	for (size_t i = 0; i < PV_ARRAY_LEN(xs); i++)
		for (size_t j = 0; j < PV_ARRAY_LEN(ys); j++) {
			cursor.x = xs[i];
			cursor.y = ys[j];
			display->ops->move_cursor(display, &cursor);
			struct picture p = shoot(0, true);
			for (uint32_t y = 0; y < HEIGHT; y++)
				for (uint32_t x = 0; x < WIDTH; x++) {
					int64_t cx = (int64_t)x - cursor.x;
					int64_t cy = (int64_t)y - cursor.y;
					uint32_t want = colour(x, y);

					if (cx >= 0 && cx < 64 && cy >= 0 && cy < 64)
						want = over(cursor.pixels[cy * 64 + cx], want);
					assert_int_equal(pixel(&p, x, y), want);
				}
			free(p.rgb);
		}

	cursor.visible = false;
	cursor.x = cursor.y = 30;
	display->ops->set_cursor(display, &cursor);
	struct picture p = shoot(0, true);
	assert_int_equal(pixel(&p, 30, 30), colour(30, 30));
	free(p.rgb);
	pv_frame_unref(frame);
}

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static void written_at_exit(void **state)
{
	char path[64], second[64], never[64];
	struct pv_frame *frame = make_frame(&layouts[4], WIDTH, HEIGHT);

	(void)state;
	snprintf(path, sizeof(path), "%s/last.png", directory);
	snprintf(second, sizeof(second), "%s/last-11.png", directory);
	snprintf(never, sizeof(never), "%s/last-1.png", directory);
	assert_int_equal(pv_png_display_create(path, &display), PV_OK);
	show(0, frame, (struct pv_rect){0, 0, WIDTH, HEIGHT});
	show(11, frame, (struct pv_rect){1, 1, 20, 10});
	display->ops->set_scanout(display, 0, NULL, NULL);
	pv_display_destroy(display);
	pv_frame_unref(frame);

	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	struct picture p = read_png(file);
	assert_int_equal(p.width, WIDTH);
	assert_int_equal(pixel(&p, 50, 60), colour(50, 60));
	free(p.rgb);
	if (file)
		fclose(file);
	file = fopen(second, "rb");
	assert_non_null(file);
	p = read_png(file);
	assert_int_equal(p.width, 20);
	assert_int_equal(pixel(&p, 0, 0), colour(1, 1));
	free(p.rgb);
	if (file)
		fclose(file);
	assert_false(exists(never));
	unlink(path);
	unlink(second);

	/* A directory that is not there is an error line, no more. */
	snprintf(path, sizeof(path), "%s/none/x.png", directory);
	assert_int_equal(pv_png_display_create(path, &display), PV_OK);
	frame = make_frame(&layouts[0], 4, 4);
	show(0, frame, (struct pv_rect){0, 0, 4, 4});
	pv_frame_unref(frame);
	pv_display_destroy(display);
}

/* Somebody asks for a picture and does not take it: no signal, no hang, no leak. */
static void readers_that_leave_or_stall(void **state)
{
	struct pv_frame *frame;
	int fds[2];

	(void)state;
	assert_int_equal(pv_frame_create(512, 512, PV_GPU_FORMAT_B8G8R8X8, &frame), PV_OK);
	for (size_t i = 0; i < frame->size_bytes; i++)
		frame->pixels[i] = (uint8_t)(rand() >> 5);
	show(0, frame, (struct pv_rect){0, 0, 512, 512});
	pv_frame_unref(frame);

	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(screenshot(0, true, fds[1]), PV_ERR_HOST);
	close(fds[1]);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	close(fds[0]);
	assert_int_equal(screenshot(0, true, fds[1]), PV_ERR_HOST);
	close(fds[1]);

	assert_int_equal(pipe(fds), 0);
	uint64_t start_ns = pv_now_ns();
	assert_int_equal(screenshot(0, true, fds[1]), PV_ERR_HOST);
	assert_true(pv_now_ns() - start_ns < 4000000000ull);
	close(fds[0]);
	close(fds[1]);

	int full = open("/dev/full", O_WRONLY);
	assert_true(full >= 0);
	assert_int_equal(screenshot(0, true, full), PV_ERR_HOST);
	close(full);
	assert_int_equal(screenshot(0, true, -1), PV_ERR_HOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(all_formats_come_back, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(shows_the_live_frame, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(heads_without_a_picture, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(few_large_pictures_are_kept, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(cursor_is_clipped_and_blended, set_up, tear_down),
	    cmocka_unit_test(written_at_exit),
	    cmocka_unit_test_setup_teardown(readers_that_leave_or_stall, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

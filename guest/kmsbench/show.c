/* SPDX-License-Identifier: MIT */
/* Pictures on the screen, for a host that looks at the other end. */
#include "kmsbench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define ORDINARY_FRAME_US 16667u

struct pv_head *pv_choose_head(struct pv_kms *kms, const char *connector)
{
	if (connector)
		return pv_kms_head(kms, connector);
	for (unsigned i = 0; i < kms->head_count; i++)
		if (pv_head_connected(&kms->heads[i]))
			return &kms->heads[i];
	pv_die("%s has no connected display. Enable an output in the VMM, or name one with --connector", kms->path);
}

drmModeModeInfo pv_choose_mode(const struct pv_head *head, const struct pv_options *options)
{
	if (options->width == 0)
		return *pv_head_preferred_mode(head);
	const drmModeModeInfo *listed = pv_head_find_mode(head, options->width, options->height);
	return listed ? *listed : pv_mode_make(options->width, options->height, ORDINARY_FRAME_US);
}

void pv_print_mode_fields(const drmModeModeInfo *mode)
{
	printf("\"width\":%u,\"height\":%u,\"refresh_mhz\":%u", mode->hdisplay, mode->vdisplay,
	       pv_mode_refresh_mhz(mode));
}

static void create_buffer(struct pv_kms *kms, struct pv_buffer *buffer, const drmModeModeInfo *mode,
			  const struct pv_virtio_format *format)
{
	if (format)
		pv_buffer_create_virtio(kms, buffer, mode->hdisplay, mode->vdisplay, format);
	else
		pv_buffer_create_dumb(kms, buffer, mode->hdisplay, mode->vdisplay);
}

static void show_on_head(struct pv_kms *kms, struct pv_head *head, struct pv_buffer *buffer,
			 const struct pv_options *options, const struct pv_pattern *pattern, bool first)
{
	const drmModeModeInfo mode = pv_choose_mode(head, options);

	create_buffer(kms, buffer, &mode, options->format);
	pv_buffer_draw(kms, buffer, pattern);
	pv_head_show(kms, head, buffer, &mode);
	printf("%s{\"connector\":", first ? "" : ",");
	pv_json_string(head->name);
	putchar(',');
	pv_print_mode_fields(&mode);
	putchar('}');
}

int pv_run_show(const struct pv_options *options)
{
	struct pv_kms kms;
	struct pv_buffer buffers[PV_HEADS_MAX];
	unsigned shown = 0;

	pv_kms_open(&kms, options->device, true);
	const bool all = options->connector && strcmp(options->connector, "all") == 0;
	struct pv_head *only = all ? NULL : pv_choose_head(&kms, options->connector);
	printf("{\"event\":\"shown\",\"format\":\"%s\",\"heads\":[", options->format ? options->format->name : "XR24");
	for (unsigned i = 0; i < kms.head_count; i++) {
		struct pv_head *head = &kms.heads[i];

		if (all ? !pv_head_connected(head) : head != only)
			continue;
		const unsigned last = options->pattern_count - 1;
		show_on_head(&kms, head, &buffers[shown], options, &options->patterns[shown < last ? shown : last],
			     shown == 0);
		shown++;
	}
	if (shown == 0)
		pv_die("%s has no connected display. Enable an output in the VMM", kms.path);
	/* Said only now: whoever reads the line finds the picture on the screen. */
	const bool drained = pv_kms_barrier(&kms);
	printf("],\"drained\":%s}\n", drained ? "true" : "false");
	pv_hold(options->hold_s);
	while (shown > 0)
		pv_buffer_destroy(&kms, &buffers[--shown]);
	pv_kms_close(&kms);
	return 0;
}

static void draw_cursor(struct pv_buffer *buffer)
{
	for (uint32_t y = 0; y < PV_CURSOR_SIZE; y++) {
		uint32_t *row = (uint32_t *)(void *)(buffer->pixels + y * buffer->stride_bytes);

		for (uint32_t x = 0; x < PV_CURSOR_SIZE; x++)
			row[x] = pv_cursor_argb(x, y);
	}
}

static void move_cursor(struct pv_kms *kms, struct pv_head *head, struct pv_point to)
{
	if (drmModeMoveCursor(kms->fd, head->crtc_id, to.x, to.y) != 0)
		pv_die("%s: the cursor cannot be moved: %s", kms->path, strerror(errno));
	printf("{\"event\":\"cursor\",\"x\":%d,\"y\":%d}\n", to.x, to.y);
	fflush(stdout);
}

int pv_run_cursor(const struct pv_options *options)
{
	struct pv_kms kms;
	struct pv_buffer picture, cursor;

	pv_kms_open(&kms, options->device, true);
	struct pv_head *head = pv_choose_head(&kms, options->connector);
	const drmModeModeInfo mode = pv_choose_mode(head, options);
	create_buffer(&kms, &picture, &mode, options->format);
	pv_buffer_draw(&kms, &picture, &options->patterns[0]);
	pv_head_show(&kms, head, &picture, &mode);
	pv_buffer_create_dumb(&kms, &cursor, PV_CURSOR_SIZE, PV_CURSOR_SIZE);
	draw_cursor(&cursor);
	if (drmModeSetCursor2(kms.fd, head->crtc_id, cursor.handle, PV_CURSOR_SIZE, PV_CURSOR_SIZE, options->hot.x,
			      options->hot.y) != 0)
		pv_die("%s: %s takes no 64x64 cursor: %s", kms.path, head->name, strerror(errno));
	pv_kms_barrier(&kms);
	printf("{\"event\":\"shown\",\"connector\":");
	pv_json_string(head->name);
	putchar(',');
	pv_print_mode_fields(&mode);
	printf(",\"hot_x\":%d,\"hot_y\":%d}\n", options->hot.x, options->hot.y);
	move_cursor(&kms, head, options->position);
	for (unsigned i = 0; i < options->move_count && !pv_interrupted(); i++) {
		pv_sleep_ns((uint64_t)options->step_ms * 1000000u);
		move_cursor(&kms, head, options->moves[i]);
	}
	pv_hold(options->hold_s);
	drmModeSetCursor(kms.fd, head->crtc_id, 0, 0, 0);
	pv_buffer_destroy(&kms, &cursor);
	pv_buffer_destroy(&kms, &picture);
	pv_kms_close(&kms);
	return 0;
}

int pv_run_modes(const struct pv_options *options)
{
	struct pv_kms kms;
	struct pv_buffer old = {0}, buffer;
	int walked = 0;

	pv_kms_open(&kms, options->device, true);
	struct pv_head *head = pv_choose_head(&kms, options->connector);
	const int count = head->connector->count_modes;
	if (count == 0)
		pv_die("connector %s lists no mode", head->name);
	for (int i = 0; i < count && !pv_interrupted(); i++, walked++) {
		const drmModeModeInfo mode = head->connector->modes[i];

		create_buffer(&kms, &buffer, &mode, options->format);
		pv_buffer_draw(&kms, &buffer, &options->patterns[0]);
		pv_head_show(&kms, head, &buffer, &mode);
		/* The old picture goes only now: without a frame buffer the screen would be switched off in between. */
		if (old.handle)
			pv_buffer_destroy(&kms, &old);
		old = buffer;
		pv_kms_barrier(&kms);
		printf("{\"event\":\"mode\",\"number\":%d,\"connector\":", i);
		pv_json_string(head->name);
		putchar(',');
		pv_print_mode_fields(&mode);
		printf("}\n");
		fflush(stdout);
		pv_sleep_ns((uint64_t)options->step_ms * 1000000u);
	}
	printf("{\"event\":\"end\",\"modes\":%d,\"of\":%d}\n", walked, count);
	if (old.handle)
		pv_buffer_destroy(&kms, &old);
	pv_kms_close(&kms);
	return walked == count ? 0 : 1;
}

int pv_run_reference(const struct pv_options *options)
{
	const struct pv_pixel_layout rgb_alpha = {.red = 0, .green = 1, .blue = 2, .alpha = 3};
	const size_t stride_bytes = (size_t)options->width * 4;
	uint8_t *pixels = malloc(stride_bytes * options->height);
	FILE *file = fopen(options->ppm, "wb");

	if (!pixels)
		pv_die("out of memory");
	if (!file)
		pv_die("%s cannot be written: %s", options->ppm, strerror(errno));
	pv_pattern_fill(&options->patterns[0], pixels, stride_bytes, options->width, options->height, &rgb_alpha);
	fprintf(file, "P6\n%u %u\n255\n", options->width, options->height);
	for (size_t i = 0; i < (size_t)options->width * options->height; i++)
		fwrite(pixels + i * 4, 1, 3, file);
	const bool failed = ferror(file) != 0;
	if (fclose(file) != 0 || failed)
		pv_die("%s cannot be written whole: is the disk full?", options->ppm);
	free(pixels);
	printf("{\"event\":\"written\",\"file\":");
	pv_json_string(options->ppm);
	printf(",\"width\":%u,\"height\":%u}\n", options->width, options->height);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "display/png.h"

#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/socket.h"

#define MODULE "png"

/*
 * Pictures of heads that were turned off keep memory that the guest no longer accounts for: in all no more than this.
 */
#define KEPT_MAX_BYTES (128ull << 20)
/* A reader that takes nothing for so long gets no more. */
#define STALL_NS 2000000000ull
/* What a pipe that polls writable takes without blocking. */
#define PIPE_CHUNK_BYTES 4096
/* Little is gained above it on screen contents, and the device thread has other things to do. */
#define COMPRESSION_LEVEL 2

struct head {
	struct pv_frame *frame; /* NULL: nothing was ever shown, or it was too large to keep */
	struct pv_rect src;
	bool on;
	struct pv_cursor cursor;
};

/* x8r8g8b8 rows without gaps, the cursor drawn in. */
struct pv_snapshot {
	uint32_t width, height;
	uint32_t pixels[];
};

/* Owned by the device thread. */
struct png_display {
	struct pv_display base;
	char *path;
	struct head heads[PV_GPU_MAX_SCANOUTS];
};

/* Where the bytes go; lives through libpng's longjmp. */
struct sink {
	int fd;
	bool is_file, is_socket;
};

static struct png_display *png_display_of(struct pv_display *display)
{
	return PV_CONTAINER_OF(display, struct png_display, base);
}

static bool wait_writable(int fd)
{
	uint64_t deadline_ns = pv_now_ns() + STALL_NS, now_ns;
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	while ((now_ns = pv_now_ns()) < deadline_ns) {
		int n = poll(&p, 1, (int)((deadline_ns - now_ns) / 1000000) + 1);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
	return false;
}

/* The signal of a pipe without a reader stays within this call: the process has not asked for it. */
static ssize_t write_without_signal(int fd, const void *buf, size_t len)
{
	sigset_t pipe_only, before, pending;
	int signal;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	bool was_pending = sigismember(&pending, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	ssize_t n = write(fd, buf, len);
	int error = errno;
	if (n < 0 && error == EPIPE && !was_pending) {
		sigpending(&pending);
		if (sigismember(&pending, SIGPIPE))
			sigwait(&pipe_only, &signal);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return n;
}

static bool sink_write(struct sink *sink, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n;

		if (!sink->is_file && !wait_writable(sink->fd)) {
			pv_log(PV_LOG_WARNING, MODULE, "the reader of the picture does not read");
			return false;
		}
		if (sink->is_socket)
			n = send(sink->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = write_without_signal(sink->fd, bytes,
						 sink->is_file ? len : (size_t)pv_min_u64(len, PIPE_CHUNK_BYTES));
		if (n < 0 && errno != EINTR && errno != EAGAIN) {
			pv_log(PV_LOG_WARNING, MODULE, "write: %s", strerror(errno));
			return false;
		}
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
	return true;
}

static void on_write(png_structp png, png_bytep bytes, size_t len)
{
	struct sink *sink = png_get_io_ptr(png);

	/* Logged there: no png_error() on top. */
	if (!sink_write(sink, bytes, len))
		png_longjmp(png, 1);
}

static void on_flush(png_structp png)
{
	(void)png;
}

static void on_error(png_structp png, png_const_charp text)
{
	pv_log(PV_LOG_WARNING, MODULE, "%s", text);
	png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
	(void)png;
	pv_log(PV_LOG_DEBUG, MODULE, "%s", text);
}

/* One channel of a pre-multiplied colour over an opaque one. */
static uint32_t blend(uint32_t over, uint32_t under, uint32_t alpha)
{
	uint32_t value = over + (under * (255 - alpha) + 127) / 255;

	return value > 255 ? 255 : value;
}

/* Puts the cursor's part in row `y`, if it has one, over it. */
static void draw_cursor(const struct pv_cursor *cursor, uint32_t *row, uint32_t width, uint32_t y)
{
	int64_t left = cursor->x;
	int64_t line = (int64_t)y - cursor->y;

	if (line < 0 || line >= PV_GPU_CURSOR_SIDE)
		return;
	const uint32_t *image = cursor->pixels + line * PV_GPU_CURSOR_SIDE;
	for (int64_t i = left < 0 ? -left : 0; i < PV_GPU_CURSOR_SIDE && left + i < width; i++) {
		uint32_t over = image[i], under = row[left + i], alpha = over >> 24;

		row[left + i] = 0xff000000u | blend(over >> 16 & 0xff, under >> 16 & 0xff, alpha) << 16 |
				blend(over >> 8 & 0xff, under >> 8 & 0xff, alpha) << 8 |
				blend(over & 0xff, under & 0xff, alpha);
	}
}

static void pack_rgb(const uint32_t *row, uint8_t *rgb, uint32_t width)
{
	for (size_t i = 0; i < width; i++) {
		uint32_t pixel = row[i];

		rgb[3 * i] = (uint8_t)(pixel >> 16);
		rgb[3 * i + 1] = (uint8_t)(pixel >> 8);
		rgb[3 * i + 2] = (uint8_t)pixel;
	}
}

static void encode_rows(png_structp png, png_infop info, const struct pv_snapshot *snapshot, uint8_t *rgb)
{
	uint32_t width = snapshot->width, height = snapshot->height;

	png_set_compression_level(png, COMPRESSION_LEVEL);
	png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_SUB);
	png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
		     PNG_FILTER_TYPE_DEFAULT);
	png_write_info(png, info);
	for (uint32_t y = 0; y < height; y++) {
		pack_rgb(snapshot->pixels + (size_t)y * width, rgb, width);
		png_write_row(png, rgb);
	}
	png_write_end(png, info);
}

/* libpng leaves by longjmp: whatever lives across the call is made before setjmp and never changed after it. */
static enum pv_status encode(const struct pv_snapshot *snapshot, struct sink *sink, uint8_t *rgb)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning);
	if (!png)
		return PV_ERR_NO_MEMORY;
	png_infop info = png_create_info_struct(png);
	if (!info) {
		png_destroy_write_struct(&png, NULL);
		return PV_ERR_NO_MEMORY;
	}
	if (setjmp(png_jmpbuf(png))) {
		png_destroy_write_struct(&png, &info);
		return PV_ERR_HOST;
	}
	png_set_write_fn(png, sink, on_write, on_flush);
	encode_rows(png, info, snapshot, rgb);
	png_destroy_write_struct(&png, &info);
	return PV_OK;
}

static enum pv_status capture_head(const struct head *head, bool with_cursor, struct pv_snapshot **out)
{
	uint32_t width = head->src.width, height = head->src.height;
	struct pv_snapshot *snapshot =
	    calloc(1, sizeof(*snapshot) + (size_t)width * height * sizeof(snapshot->pixels[0]));

	if (!snapshot)
		return PV_ERR_NO_MEMORY;
	snapshot->width = width;
	snapshot->height = height;
	pv_frame_read_xrgb(head->frame, &head->src, snapshot->pixels, width * 4);
	for (uint32_t y = 0; with_cursor && head->cursor.visible && y < height; y++)
		draw_cursor(&head->cursor, snapshot->pixels + (size_t)y * width, width, y);
	*out = snapshot;
	return PV_OK;
}

bool pv_png_display_fetch(struct pv_display *display, uint32_t scanout_id, struct pv_frame_waiter *waiter)
{
	struct pv_frame *frame =
	    scanout_id < PV_GPU_MAX_SCANOUTS ? png_display_of(display)->heads[scanout_id].frame : NULL;

	return !frame || pv_frame_fetch(frame, waiter);
}

enum pv_status pv_png_display_capture(struct pv_display *display, uint32_t scanout_id, bool with_cursor,
				      struct pv_snapshot **out)
{
	struct png_display *self = png_display_of(display);

	if (scanout_id >= PV_GPU_MAX_SCANOUTS || !self->heads[scanout_id].frame)
		return PV_ERR_ARGUMENT;
	return capture_head(&self->heads[scanout_id], with_cursor, out);
}

enum pv_status pv_snapshot_write_png(const struct pv_snapshot *snapshot, int fd)
{
	struct sink sink = {.fd = fd};
	struct stat st;

	if (fstat(fd, &st) != 0)
		return PV_ERR_HOST;
	sink.is_file = S_ISREG(st.st_mode);
	sink.is_socket = S_ISSOCK(st.st_mode);
	uint8_t *rgb = malloc((size_t)snapshot->width * 3);
	if (!rgb)
		return PV_ERR_NO_MEMORY;
	enum pv_status status = encode(snapshot, &sink, rgb);
	free(rgb);
	return status;
}

void pv_snapshot_destroy(struct pv_snapshot *snapshot)
{
	free(snapshot);
}

static enum pv_status write_head(const struct head *head, bool with_cursor, int fd)
{
	struct pv_snapshot *snapshot = NULL;
	enum pv_status status = capture_head(head, with_cursor, &snapshot);

	if (status == PV_OK)
		status = pv_snapshot_write_png(snapshot, fd);
	pv_snapshot_destroy(snapshot);
	return status;
}

/* Head 0: the path itself; others: "name-N.png" for "name.png". NULL: out of memory. */
static char *path_of_head(const char *path, uint32_t index)
{
	size_t len = strlen(path);
	size_t stem = len > 4 && strcmp(path + len - 4, ".png") == 0 ? len - 4 : len;
	char *result;
	int n;

	if (index == 0)
		n = asprintf(&result, "%s", path);
	else
		n = asprintf(&result, "%.*s-%u%s", (int)stem, path, index, path + stem);
	return n < 0 ? NULL : result;
}

/* Whole or not at all: a temporary file beside it, then a rename. */
static enum pv_status write_to_path(const struct head *head, const char *path)
{
	enum pv_status status = PV_ERR_HOST;
	char *temporary;

	if (asprintf(&temporary, "%s.%ld.tmp", path, (long)getpid()) < 0)
		return PV_ERR_NO_MEMORY;
	unlink(temporary);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0) {
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", temporary, strerror(errno));
		goto out;
	}
	status = write_head(head, true, fd);
	pv_fd_close(&fd);
	if (status == PV_OK && rename(temporary, path) != 0) {
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", path, strerror(errno));
		status = PV_ERR_HOST;
	}
	if (status != PV_OK)
		unlink(temporary);
out:
	free(temporary);
	return status;
}

static void write_at_exit(const struct png_display *self)
{
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		const struct head *head = &self->heads[i];

		if (!head->frame)
			continue;
		char *path = path_of_head(self->path, i);
		if (!path)
			continue;
		enum pv_status status = write_to_path(head, path);
		if (status == PV_OK)
			pv_log(PV_LOG_INFO, MODULE, "head %u: %s", i, path);
		else
			pv_log(PV_LOG_ERROR, MODULE, "%s: %s", path, pv_status_string(status));
		free(path);
	}
}

static void destroy(struct pv_display *display)
{
	struct png_display *self = png_display_of(display);

	if (self->path)
		write_at_exit(self);
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		pv_frame_unref(self->heads[i].frame);
	free(self->path);
	free(self);
}

static uint64_t kept_bytes(const struct png_display *self)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (self->heads[i].frame && !self->heads[i].on)
			sum += self->heads[i].frame->size_bytes;
	return sum;
}

static void set_scanout(struct pv_display *display, uint32_t scanout_id, struct pv_frame *frame,
			const struct pv_rect *src)
{
	struct png_display *self = png_display_of(display);

	if (PV_NEVER(scanout_id >= PV_GPU_MAX_SCANOUTS))
		return;
	struct head *head = &self->heads[scanout_id];
	if (frame) {
		if (PV_NEVER(pv_rect_is_empty(src) || !pv_rect_fits(src, frame->width, frame->height)))
			return;
		struct pv_frame *previous = head->frame;
		head->frame = pv_frame_ref(frame);
		head->src = *src;
		head->on = true;
		pv_frame_unref(previous);
	} else if (head->on) {
		head->on = false;
		if (kept_bytes(self) > KEPT_MAX_BYTES) {
			pv_frame_unref(head->frame);
			head->frame = NULL;
		}
	}
}

/* Pixels are read when someone asks for them. */
static void damage(struct pv_display *display, uint32_t scanout_id, const struct pv_rect *rect)
{
	(void)display;
	(void)scanout_id;
	(void)rect;
}

static void set_cursor(struct pv_display *display, const struct pv_cursor *cursor)
{
	struct png_display *self = png_display_of(display);

	if (!PV_NEVER(cursor->scanout_id >= PV_GPU_MAX_SCANOUTS))
		self->heads[cursor->scanout_id].cursor = *cursor;
}

static void move_cursor(struct pv_display *display, const struct pv_cursor *cursor)
{
	struct png_display *self = png_display_of(display);

	if (PV_NEVER(cursor->scanout_id >= PV_GPU_MAX_SCANOUTS))
		return;
	struct pv_cursor *own = &self->heads[cursor->scanout_id].cursor;
	own->x = cursor->x;
	own->y = cursor->y;
}

static const struct pv_display_ops png_ops = {
    .name = "png",
    .destroy = destroy,
    .set_scanout = set_scanout,
    .damage = damage,
    .set_cursor = set_cursor,
    .move_cursor = move_cursor,
};

enum pv_status pv_png_display_create(const char *path_at_exit, struct pv_display **out)
{
	struct png_display *self = calloc(1, sizeof(*self));

	if (!self)
		return PV_ERR_NO_MEMORY;
	self->base.ops = &png_ops;
	if (path_at_exit) {
		self->path = strdup(path_at_exit);
		if (!self->path) {
			free(self);
			return PV_ERR_NO_MEMORY;
		}
	}
	*out = &self->base;
	return PV_OK;
}

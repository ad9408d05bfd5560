/* SPDX-License-Identifier: MIT */
/*
 * A hostile driver against the device core with its real 2D renderer and two displays: sequences of virtio-gpu
 * commands, most of them nearly right, mixed with resets, memory that goes away and heads that change. The rings
 * themselves are sound here (virtq_fuzz.c breaks those), so every request must be answered once, in the specification's
 * words. The real renderer and a real display are wanted, so that this test, unlike the code beside it, includes from
 * below.
 *
 * Input: a sequence of steps, each one byte and its operands. Small numbers are one byte, see number().
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "display/png.h"
#include "gpu/gpu.h"
#include "gpu/protocol.h"
#include "render2d/render2d.h"

#define MAX_STEPS      200
#define MAX_HOST_BYTES (1u << 20)
#define RING_SIZE      8
#define RAM_BYTES      (64u << 10)
#define HIGH_ADDR      0x200000000ull
#define HIGH_BYTES     4096u
#define RING_ADDR      0x40000000ull
#define RING_BYTES     16384u
/* In the ring region: two queues' rings, then one command and its answer. */
#define QUEUE_BYTES       1024ull
#define COMMAND_OFFSET    (2 * QUEUE_BYTES)
#define COMMAND_MAX_BYTES 8192u
#define ANSWER_OFFSET     (COMMAND_OFFSET + COMMAND_MAX_BYTES)
#define ANSWER_MAX_BYTES  2048u

#define UNTOUCHED 0xee
static uint8_t untouched[ANSWER_MAX_BYTES];
static uint8_t picture[RAM_BYTES];

static void check(bool ok)
{
	if (!ok)
		abort();
}

struct input {
	const uint8_t *data;
	size_t len;
};

static uint8_t byte(struct input *in)
{
	if (in->len == 0)
		return 0;
	in->len--;
	return *in->data++;
}

/* Mostly small; now and then any, or one at an edge. */
static uint32_t number(struct input *in)
{
	static const uint32_t edges[] = {0xffffffff, 0x80000000, 0x7fffffff, 0x10000, 16384, 16385, 0xfffffffc, 4096};
	uint8_t b = byte(in);
	uint32_t raw = 0;

	if (b < 0xe0)
		return b;
	if (b < 0xf0)
		return edges[b & 7];
	for (int i = 0; i < 4; i++)
		raw = raw << 8 | byte(in);
	return raw;
}

/* What the core says to displays must hold, and every pixel it names must be there to be read. */
struct watcher {
	struct pv_display base;
	struct pv_gpu *gpu;
	struct pv_frame *frames[PV_GPU_MAX_SCANOUTS];
	struct pv_rect rects[PV_GPU_MAX_SCANOUTS];
	bool answers_later, asked;
	uint32_t sum;
};

static struct watcher *to_watcher(struct pv_display *display)
{
	return PV_CONTAINER_OF(display, struct watcher, base);
}

static void watcher_destroy(struct pv_display *display)
{
	struct watcher *w = to_watcher(display);

	for (int i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		pv_frame_unref(w->frames[i]);
	free(w);
}

static void watcher_set_scanout(struct pv_display *display, uint32_t scanout_id, struct pv_frame *frame,
				const struct pv_rect *src)
{
	struct watcher *w = to_watcher(display);

	check(scanout_id < PV_GPU_MAX_SCANOUTS);
	if (frame) {
		check(!pv_rect_is_empty(src) && pv_rect_fits(src, frame->width, frame->height));
		pv_frame_ref(frame);
	}
	pv_frame_unref(w->frames[scanout_id]);
	w->frames[scanout_id] = frame;
	w->rects[scanout_id] = *src;
}

static void watcher_damage(struct pv_display *display, uint32_t scanout_id, const struct pv_rect *rect)
{
	struct watcher *w = to_watcher(display);
	const struct pv_rect *shown = &w->rects[scanout_id];

	check(scanout_id < PV_GPU_MAX_SCANOUTS && w->frames[scanout_id]);
	check(pv_rect_fits(rect, shown->width, shown->height));

	const struct pv_rect src = {shown->x + rect->x, shown->y + rect->y, rect->width, rect->height};
	uint8_t *pixels = malloc((size_t)rect->width * rect->height * 4 + 1);
	check(pixels != NULL);
	pv_frame_read_xrgb(w->frames[scanout_id], &src, pixels, rect->width * 4);
	/* Uninitialised memory shown to anyone would be a leak: let MSan and valgrind see it used. */
	if (!pv_rect_is_empty(rect))
		w->sum += pixels[0] + pixels[(size_t)rect->width * rect->height * 4 - 1];
	free(pixels);
}

static void watcher_set_cursor(struct pv_display *display, const struct pv_cursor *cursor)
{
	struct watcher *w = to_watcher(display);

	check(cursor->scanout_id < PV_GPU_MAX_SCANOUTS);
	for (size_t i = 0; i < PV_ARRAY_LEN(cursor->pixels); i++)
		w->sum += cursor->pixels[i];
}

static void answer_outputs(struct watcher *w)
{
	if (!w->asked)
		return;
	w->asked = false;
	pv_gpu_outputs_queried(w->gpu);
}

static void watcher_query_outputs(struct pv_display *display)
{
	struct watcher *w = to_watcher(display);

	w->asked = true;
	if (!w->answers_later)
		answer_outputs(w);
}

static const struct pv_display_ops watcher_ops = {
    .name = "watcher",
    .destroy = watcher_destroy,
    .set_scanout = watcher_set_scanout,
    .damage = watcher_damage,
    .set_cursor = watcher_set_cursor,
    .move_cursor = watcher_set_cursor,
    .query_outputs = watcher_query_outputs,
};

/* The machine around the device. */
struct bench {
	struct input in;
	struct pv_loop *loop;
	struct pv_gpu *gpu;
	struct pv_display *png;
	struct watcher *watcher;
	uint8_t *ram, *high, *rings;
	struct pv_guest_map *map, *without_high, *rings_only;
	uint16_t avail[PV_GPU_NR_QUEUES];
	bool rings_visible;
};

static void interrupt(void *user, uint32_t queue)
{
	(void)user;
	check(queue < PV_GPU_NR_QUEUES);
}

static const struct pv_gpu_transport_ops transport_ops = {.interrupt = interrupt};

static void no_log(void *user, enum pv_log_level level, const char *line)
{
	(void)user;
	(void)level;
	(void)line;
}

static struct pv_guest_map *make_map(const struct bench *b, bool with_ram, bool with_high)
{
	const struct pv_guest_region_params all[] = {
	    {.guest_addr = RING_ADDR, .size_bytes = RING_BYTES, .fd = -1, .memory = b->rings},
	    {.guest_addr = 0, .size_bytes = RAM_BYTES, .fd = -1, .memory = b->ram},
	    {.guest_addr = HIGH_ADDR, .size_bytes = HIGH_BYTES, .fd = -1, .memory = b->high},
	};
	struct pv_guest_region *regions[3];
	struct pv_guest_map *map = NULL;
	size_t n = 0;

	for (size_t i = 0; i < 3; i++)
		if (i == 0 || (i == 1 && with_ram) || (i == 2 && with_high))
			check(pv_guest_region_create(&all[i], &regions[n++]) == PV_OK);
	check(pv_guest_map_create(regions, n, &map) == PV_OK);
	for (size_t i = 0; i < n; i++)
		pv_guest_region_unref(regions[i]);
	return map;
}

static void start_queue(struct bench *b, uint32_t queue)
{
	const uint64_t at = RING_ADDR + queue * QUEUE_BYTES;
	const struct pv_virtq_layout layout = {
	    .size = RING_SIZE, .desc_addr = at, .avail_addr = at + 256, .used_addr = at + 512};

	memset(b->rings + queue * QUEUE_BYTES, 0, QUEUE_BYTES);
	b->avail[queue] = 0;
	check(pv_gpu_queue_start(b->gpu, queue, &layout, 0) == PV_OK);
}

static void start_all(struct bench *b, uint64_t features)
{
	check(pv_gpu_set_driver_features(b->gpu, features | PV_VIRTIO_F_VERSION_1) == PV_OK);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		start_queue(b, i);
}

static void restart(struct bench *b)
{
	pv_gpu_set_guest_map(b->gpu, b->map);
	b->rings_visible = true;
	start_all(b, pv_gpu_features(b->gpu) & ~(uint64_t)PV_VIRTIO_RING_F_EVENT_IDX);
}

static void set_descriptor(struct bench *b, uint32_t queue, uint16_t slot, uint64_t addr, uint32_t len, uint16_t flags)
{
	uint8_t *desc = b->rings + queue * QUEUE_BYTES + 16 * (size_t)slot;
	uint16_t next = (uint16_t)(slot + 1);

	memcpy(desc, &addr, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, &flags, 2);
	memcpy(desc + 14, &next, 2);
}

/* One request through the queue: a command of `len` bytes at COMMAND_OFFSET, cut in two at `split`, and room for the
 * answer. */
static void request(struct bench *b, uint32_t queue, uint32_t len, uint32_t split, uint32_t room)
{
	uint8_t *base = b->rings + queue * QUEUE_BYTES;
	const uint64_t command = RING_ADDR + COMMAND_OFFSET;
	uint16_t n = 0, used, head = 0;
	uint32_t fence = 0;
	uint64_t fence_id;

	if (!b->rings_visible)
		return;
	memcpy(&fence, b->rings + COMMAND_OFFSET + 4, 4);
	memcpy(&fence_id, b->rings + COMMAND_OFFSET + 8, 8);
	memset(b->rings + ANSWER_OFFSET, UNTOUCHED, ANSWER_MAX_BYTES);
	split = split < len ? split : len;
	if (split > 0)
		set_descriptor(b, queue, n++, command, split, 1);
	set_descriptor(b, queue, n++, command + split, len - split, room ? 1 : 0);
	if (room)
		set_descriptor(b, queue, n, RING_ADDR + ANSWER_OFFSET, room, 2);

	memcpy(base + 256 + 4 + 2 * (size_t)(b->avail[queue] % RING_SIZE), &head, 2);
	b->avail[queue]++;
	memcpy(base + 256 + 2, &b->avail[queue], 2);
	pv_gpu_queue_notify(b->gpu, queue);
	answer_outputs(b->watcher);

	/* One request is too little for the core to put off any of it. */
	memcpy(&used, base + 512 + 2, 2);
	check(used == b->avail[queue]);
	uint32_t elem[2];
	memcpy(elem, base + 512 + 4 + 8 * (size_t)((uint16_t)(used - 1) % RING_SIZE), 8);
	check(elem[0] == head && elem[1] <= room);
	check(memcmp(b->rings + ANSWER_OFFSET + room, untouched, ANSWER_MAX_BYTES - room) == 0);
	if (elem[1] == 0)
		return;

	struct pv_gpu_ctrl_hdr answer;
	check(elem[1] >= sizeof(answer));
	memcpy(&answer, b->rings + ANSWER_OFFSET, sizeof(answer));
	check((answer.type >= PV_GPU_RESP_OK_NODATA && answer.type <= PV_GPU_RESP_OK_MAP_INFO) ||
	      (answer.type >= PV_GPU_RESP_ERR_UNSPEC && answer.type <= PV_GPU_RESP_ERR_INVALID_PARAMETER));
	if (len >= sizeof(answer) && (fence & PV_GPU_FLAG_FENCE))
		check((answer.flags & PV_GPU_FLAG_FENCE) && answer.fence_id == fence_id);
}

static void put(struct bench *b, uint32_t *at, const void *bytes, uint32_t len)
{
	if (*at + len > COMMAND_MAX_BYTES)
		return;
	memcpy(b->rings + COMMAND_OFFSET + *at, bytes, len);
	*at += len;
}

static void put_u32(struct bench *b, uint32_t *at, uint32_t value)
{
	put(b, at, &value, sizeof(value));
}

/* Fields behind the header: i = any number, r = resource id, h = scanout, f = format, 0 = zero, n = number of entries,
 * which follow. */
static const struct {
	uint32_t type;
	const char *fields;
} commands[] = {
    {PV_GPU_CMD_GET_DISPLAY_INFO, ""},
    {PV_GPU_CMD_RESOURCE_CREATE_2D, "rfii"},
    {PV_GPU_CMD_RESOURCE_CREATE_2D, "rfii"},
    {PV_GPU_CMD_RESOURCE_UNREF, "r0"},
    {PV_GPU_CMD_SET_SCANOUT, "iiiihr"},
    {PV_GPU_CMD_RESOURCE_FLUSH, "iiiir0"},
    {PV_GPU_CMD_TRANSFER_TO_HOST_2D, "iiiii0r0"},
    {PV_GPU_CMD_TRANSFER_TO_HOST_2D, "iiiiiir0"},
    {PV_GPU_CMD_RESOURCE_ATTACH_BACKING, "rn"},
    {PV_GPU_CMD_RESOURCE_DETACH_BACKING, "r0"},
    {PV_GPU_CMD_GET_CAPSET_INFO, "i0"},
    {PV_GPU_CMD_GET_CAPSET, "ii"},
    {PV_GPU_CMD_GET_EDID, "h0"},
    {PV_GPU_CMD_RESOURCE_ASSIGN_UUID, "r0"},
    {PV_GPU_CMD_RESOURCE_CREATE_BLOB, "rb0N00i0"},
    {PV_GPU_CMD_SET_SCANOUT_BLOB, "iiiihriif0s000i000"},
    {PV_GPU_CMD_UPDATE_CURSOR, "hii0rii0"},
    {PV_GPU_CMD_MOVE_CURSOR, "hii00000"},
};

static void put_field(struct bench *b, uint32_t *at, char kind, uint32_t *entries)
{
	static const uint32_t formats[] = {1, 2, 3, 4, 67, 68, 121, 134};
	struct input *in = &b->in;
	uint32_t value = 0;

	switch (kind) {
	case 'r': /* few resources, so that commands meet */
		value = byte(in);
		value = value < 0xf0 ? value & 7 : number(in);
		break;
	case 'h':
		value = byte(in);
		value = value < 0xf0 ? value & 1 : number(in);
		break;
	case 'f':
		value = byte(in);
		value = value < 0xf0 ? formats[value & 7] : number(in);
		break;
	case 'b':
		value = byte(in) < 0xf0 ? 1 : number(in);
		break;
	case 's':
		value = number(in) * 4;
		break;
	case 'n':
	case 'N':
		*entries = byte(in) & 15;
		value = byte(in) < 0xf8 ? *entries : number(in);
		break;
	case 'i':
		value = number(in);
		break;
	default:
		break;
	}
	put_u32(b, at, value);
}

static void put_entries(struct bench *b, uint32_t *at, uint32_t n)
{
	while (n-- > 0) {
		uint64_t addr = (uint64_t)byte(&b->in) * 256;
		uint8_t odd = byte(&b->in);

		if (odd >= 0xf0)
			addr = HIGH_ADDR + (odd & 15) * 256ull + addr / 16;
		else if (odd >= 0xe0)
			addr = 0 - addr;
		put(b, at, &addr, sizeof(addr));
		put_u32(b, at, odd & 1 ? number(&b->in) : (uint32_t)(byte(&b->in) + 1) * 256);
		put_u32(b, at, 0);
	}
}

static void one_command(struct bench *b)
{
	uint8_t how = byte(&b->in);
	size_t which = byte(&b->in) % PV_ARRAY_LEN(commands);
	uint32_t queue = commands[which].type >= PV_GPU_CMD_UPDATE_CURSOR ? PV_GPU_QUEUE_CURSOR : PV_GPU_QUEUE_CONTROL;
	uint32_t at = 0, entries = 0, split = 0, room = ANSWER_MAX_BYTES;

	put_u32(b, &at, commands[which].type);
	put_u32(b, &at, how & 1 ? PV_GPU_FLAG_FENCE : how & 2 ? number(&b->in) : 0);
	put_u32(b, &at, how & 3 ? number(&b->in) : 0);
	for (int i = 0; i < 3; i++)
		put_u32(b, &at, how & 4 ? number(&b->in) : 0);
	for (const char *f = commands[which].fields; *f; f++)
		put_field(b, &at, *f, &entries);
	put_entries(b, &at, entries);

	if (how & 8)
		split = byte(&b->in);
	if ((how & 0x70) == 0x70)
		at = pv_min_u64(at, number(&b->in));
	if ((how & 0x70) == 0x60)
		room = byte(&b->in);
	if ((how & 0x70) == 0x50)
		queue = 1 - queue;
	if ((how & 0x70) == 0x40)
		b->rings[COMMAND_OFFSET + byte(&b->in) % (at ? at : 1)] = byte(&b->in);
	request(b, queue, at, split, room);
}

static void memory_goes_and_comes(struct bench *b)
{
	switch (byte(&b->in) & 3) {
	case 0:
		pv_gpu_set_guest_map(b->gpu, b->without_high);
		break;
	case 1:
		pv_gpu_set_guest_map(b->gpu, b->rings_only);
		break;
	case 2:
		/* Queues break for good; only a restart helps. */
		pv_gpu_set_guest_map(b->gpu, NULL);
		b->rings_visible = false;
		pv_gpu_queue_notify(b->gpu, PV_GPU_QUEUE_CONTROL);
		break;
	default:
		pv_gpu_set_guest_map(b->gpu, b->map);
		break;
	}
}

static void change_outputs(struct bench *b)
{
	struct pv_output outputs[2];
	uint32_t n = 1 + (byte(&b->in) & 1);

	for (uint32_t i = 0; i < n; i++)
		outputs[i] =
		    (struct pv_output){.enabled = byte(&b->in) & 1, .width = number(&b->in), .height = number(&b->in)};
	(void)!pv_gpu_set_outputs(b->gpu, outputs, n);
}

static void change_config(struct bench *b)
{
	uint8_t bytes[64];
	uint32_t offset = number(&b->in), len = byte(&b->in) % sizeof(bytes);

	memset(bytes, byte(&b->in), sizeof(bytes));
	if (byte(&b->in) & 1)
		pv_gpu_config_write(b->gpu, offset, bytes, len);
	else
		pv_gpu_config_read(b->gpu, offset, bytes, len);
}

static void take_screenshot(struct bench *b)
{
	static int null = -1;

	if (null < 0)
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct pv_snapshot *snapshot;
	uint32_t scanout_id = byte(&b->in) & 1;
	if (pv_png_display_capture(b->png, scanout_id, byte(&b->in) & 1, &snapshot) != PV_OK)
		return;
	(void)!pv_snapshot_write_png(snapshot, null);
	pv_snapshot_destroy(snapshot);
}

static void step(struct bench *b)
{
	struct pv_gpu_stats stats;

	switch (byte(&b->in)) {
	case 0xf0:
		pv_gpu_reset(b->gpu);
		restart(b);
		break;
	case 0xf1:
		(void)pv_gpu_queue_stop(b->gpu, PV_GPU_QUEUE_CONTROL);
		if (b->rings_visible)
			start_queue(b, PV_GPU_QUEUE_CONTROL);
		break;
	case 0xf2:
	case 0xf3:
		memory_goes_and_comes(b);
		break;
	case 0xf4:
		change_outputs(b);
		break;
	case 0xf5:
		change_config(b);
		break;
	case 0xf6:
		take_screenshot(b);
		break;
	case 0xf7:
		b->watcher->answers_later = !b->watcher->answers_later;
		break;
	case 0xf8:
		pv_gpu_get_stats(b->gpu, &stats);
		check(stats.host_bytes <= MAX_HOST_BYTES);
		break;
	default:
		one_command(b);
		break;
	}
}

static struct pv_gpu *make_gpu(struct pv_loop *loop)
{
	struct pv_gpu_params params = {
	    .loop = loop,
	    .nr_outputs = 2,
	    .outputs = {{.enabled = true, .width = 64, .height = 48}, {.enabled = true, .width = 32, .height = 32}},
	    .max_host_bytes = MAX_HOST_BYTES};
	struct pv_gpu *gpu;

	check(pv_render2d_create(&params.take_renderer) == PV_OK);
	check(pv_gpu_create(&params, &gpu) == PV_OK);
	pv_gpu_set_transport(gpu, &transport_ops, NULL);
	return gpu;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct pv_loop *loop;
	struct bench b = {.in = {data, len}};

	if (!loop) {
		pv_log_set_sink(no_log, NULL);
		check(pv_loop_create(&loop) == PV_OK);
		memset(untouched, UNTOUCHED, sizeof(untouched));
		for (uint32_t i = 0; i < RAM_BYTES; i++)
			picture[i] = (uint8_t)(i * 7 + (i >> 8));
	}
	b.loop = loop;
	b.ram = malloc(RAM_BYTES);
	b.high = malloc(HIGH_BYTES);
	b.rings = calloc(1, RING_BYTES);
	b.watcher = calloc(1, sizeof(*b.watcher));
	check(b.ram && b.high && b.rings && b.watcher);
	memcpy(b.ram, picture, RAM_BYTES);
	memset(b.high, 0x55, HIGH_BYTES);
	b.map = make_map(&b, true, true);
	b.without_high = make_map(&b, true, false);
	b.rings_only = make_map(&b, false, false);

	b.gpu = make_gpu(loop);
	b.watcher->base.ops = &watcher_ops;
	b.watcher->gpu = b.gpu;
	pv_gpu_add_display(b.gpu, &b.watcher->base);
	check(pv_png_display_create(NULL, &b.png) == PV_OK);
	pv_gpu_add_display(b.gpu, b.png);
	restart(&b);

	for (unsigned n = 0; n < MAX_STEPS && b.in.len > 0; n++)
		step(&b);

	pv_gpu_destroy(b.gpu);
	pv_loop_step(loop, 0);
	pv_guest_map_unref(b.map);
	pv_guest_map_unref(b.without_high);
	pv_guest_map_unref(b.rings_only);
	free(b.ram);
	free(b.high);
	free(b.rings);
	return 0;
}

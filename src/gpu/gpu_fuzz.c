/* SPDX-License-Identifier: MIT */
/*
 * A hostile driver against the device core with its real 2D renderer, a 3D renderer that answers late and in any order,
 * and two displays: sequences of virtio-gpu commands, most of them nearly right, mixed with resets, memory that goes
 * away and heads that change. The rings themselves are sound here (virtq_fuzz.c breaks those), so every request must be
 * answered once, in the specification's words. The 3D renderer checks that it is asked for nothing that
 * src/gpu/renderer.h rules out, and that a blob's range of the window is its own and empty. The real renderer and a
 * real display are wanted, so that this test, unlike the code beside it, includes from below.
 *
 * Input: a sequence of steps, each one byte and its operands. Small numbers are one byte, see number().
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "display/png.h"
#include "gpu/gpu.h"
#include "gpu/protocol.h"
#include "mux/mux.h"
#include "render2d/render2d.h"

#define MAX_STEPS      200
#define MAX_HOST_BYTES (1u << 20)
#define RING_SIZE      32
#define RAM_BYTES      (64u << 10)
#define WINDOW_BYTES   (2u << 20)
#define HIGH_ADDR      0x200000000ull
#define HIGH_BYTES     4096u
#define RING_ADDR      0x40000000ull
#define RING_BYTES     (QUEUES_BYTES + NR_GROUPS * GROUP_BYTES)
/* In the ring region: two queues' rings, then the groups: one command and its answer each, and 4 descriptors. */
#define QUEUE_BYTES       2048ull
#define QUEUES_BYTES      (2 * QUEUE_BYTES)
#define AVAIL_OFFSET      512u
#define USED_OFFSET       1024u
#define NR_GROUPS         8ull
#define GROUP_BYTES       (COMMAND_MAX_BYTES + ANSWER_MAX_BYTES)
#define COMMAND_MAX_BYTES 8192u
#define ANSWER_MAX_BYTES  4224u

#define UNTOUCHED 0xee
static uint8_t untouched[ANSWER_MAX_BYTES];
static uint8_t picture[RAM_BYTES];

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

/* ---- A 3D renderer ---- */

#define FAKE_MAX    64
#define PATTERN     0xa5
#define EDGE_BYTES  64u
#define NO_RESOURCE 0xffffffffu

struct fake_resource {
	uint32_t id; /* 0: free */
	uint64_t size_bytes, offset;
	bool mapped;
};

struct fake_pending {
	uint64_t id; /* 0: free */
	bool is_fence;
	uint32_t ctx_id;
	uint32_t unmaps; /* a resource, when done */
	bool gone;       /* the context ended: errors only */
};

struct fake_3d {
	struct pv_renderer base;
	struct input *in;
	bool late;
	uint8_t *window;
	struct fake_resource resources[FAKE_MAX];
	struct fake_pending pending[FAKE_MAX];
	uint32_t contexts[FAKE_MAX];
};

static struct fake_3d *to_fake(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct fake_3d, base);
}

static struct fake_resource *fake_find(struct fake_3d *f, uint32_t id)
{
	for (size_t i = 0; i < FAKE_MAX; i++)
		if (f->resources[i].id == id)
			return &f->resources[i];
	return NULL;
}

static bool fake_has_context(const struct fake_3d *f, uint32_t ctx_id)
{
	for (size_t i = 0; i < FAKE_MAX; i++)
		if (ctx_id && f->contexts[i] == ctx_id)
			return true;
	return false;
}

static bool fake_put_off(struct fake_3d *f, struct fake_pending pending)
{
	for (size_t i = 0; i < FAKE_MAX; i++)
		if (f->pending[i].id == 0) {
			f->pending[i] = pending;
			return true;
		}
	return false;
}

static enum pv_status fake_take(struct fake_3d *f, uint64_t op_id, uint32_t ctx_id)
{
	static const enum pv_status failures[] = {PV_ERR_GUEST, PV_ERR_NO_MEMORY, PV_ERR_HOST, PV_ERR_UNSUPPORTED};
	uint8_t b = byte(f->in);

	if (b >= 0xf0)
		return failures[b & 3];
	if (f->late && (b & 1) && fake_put_off(f, (struct fake_pending){.id = op_id, .ctx_id = ctx_id}))
		return PV_PENDING;
	return PV_OK;
}

static void fake_unmapped(struct fake_resource *resource, uint8_t *window)
{
	uint64_t edge = pv_min_u64(resource->size_bytes, EDGE_BYTES);
	const uint8_t *first = window + resource->offset, *last = first + resource->size_bytes - edge;

	for (uint64_t i = 0; i < edge; i++)
		check(first[i] == PATTERN && last[i] == PATTERN);
	resource->mapped = false;
}

/* Reports one of what is pending; false: there is nothing. */
static bool fake_settle_one(struct fake_3d *f)
{
	size_t start = byte(f->in);

	for (size_t i = 0; i < FAKE_MAX; i++) {
		struct fake_pending *p = &f->pending[(start + i) % FAKE_MAX], done = *p;

		if (p->id == 0)
			continue;
		p->id = 0;
		if (done.is_fence) {
			f->base.events.fence_signalled(f->base.events.user, done.id);
			return true;
		}
		struct fake_resource *resource = done.unmaps == NO_RESOURCE ? NULL : fake_find(f, done.unmaps);
		if (resource && done.unmaps && resource->mapped)
			fake_unmapped(resource, f->window);
		f->base.events.op_done(f->base.events.user, done.id,
				       done.gone || byte(f->in) >= 0xe0 ? PV_ERR_GUEST : PV_OK);
		return true;
	}
	return false;
}

static void fake_destroy(struct pv_renderer *renderer)
{
	struct fake_3d *f = to_fake(renderer);

	for (size_t i = 0; i < FAKE_MAX; i++)
		check(f->resources[i].id == 0 && f->contexts[i] == 0);
	munmap(f->window, WINDOW_BYTES);
	free(f);
}

static enum pv_status fake_create(struct pv_renderer *renderer, uint64_t op_id, const struct pv_resource_info *info)
{
	struct fake_3d *f = to_fake(renderer);
	struct fake_resource *slot = fake_find(f, 0);

	check(info->kind != PV_RESOURCE_2D && info->kind != PV_RESOURCE_GUEST_BLOB);
	check(info->id && !fake_find(f, info->id));
	check(info->kind == PV_RESOURCE_3D || fake_has_context(f, info->ctx_id));
	if (!slot)
		return PV_ERR_NO_MEMORY;
	enum pv_status status = fake_take(f, op_id, info->ctx_id);
	if (status <= PV_PENDING)
		*slot = (struct fake_resource){.id = info->id, .size_bytes = info->size_bytes};
	return status;
}

static void fake_resource_destroy(struct pv_renderer *renderer, uint32_t id)
{
	struct fake_resource *resource = fake_find(to_fake(renderer), id);

	check(id && resource && !resource->mapped);
	resource->id = 0;
}

static enum pv_status fake_backing(struct pv_renderer *renderer, uint64_t op_id, uint32_t id,
				   const struct pv_guest_span *spans, size_t nr_spans)
{
	(void)op_id, (void)spans, (void)nr_spans;
	check(fake_find(to_fake(renderer), id));
	return byte(to_fake(renderer)->in) >= 0xf0 ? PV_ERR_NO_MEMORY : PV_OK;
}

static void fake_no_backing(struct pv_renderer *renderer, uint32_t id)
{
	check(fake_find(to_fake(renderer), id));
}

static enum pv_status fake_get_frame(struct pv_renderer *renderer, uint32_t id, const struct pv_blob_layout *layout,
				     struct pv_frame **out)
{
	check(fake_find(to_fake(renderer), id));
	if (byte(to_fake(renderer)->in) & 1)
		return PV_ERR_UNSUPPORTED;
	return pv_frame_create(layout ? layout->width : 64, layout ? layout->height : 64, PV_GPU_FORMAT_B8G8R8X8, out);
}

static void fake_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	struct fake_3d *f = to_fake(renderer);

	(void)ring_idx;
	check(fake_has_context(f, ctx_id));
	if (!f->late || !(byte(f->in) & 1) ||
	    !fake_put_off(f, (struct fake_pending){.id = fence_id, .is_fence = true, .ctx_id = ctx_id}))
		renderer->events.fence_signalled(renderer->events.user, fence_id);
}

static void fake_reset(struct pv_renderer *renderer)
{
	struct fake_3d *f = to_fake(renderer);

	for (size_t i = 0; i < FAKE_MAX; i++)
		check(f->resources[i].id == 0 && f->contexts[i] == 0);
	/* Late answers must find nothing. */
	for (size_t i = 0; i < FAKE_MAX; i++)
		if (f->pending[i].id)
			f->base.events.op_done(f->base.events.user, f->pending[i].id, PV_OK);
	memset(f->pending, 0, sizeof(f->pending));
}

static enum pv_status fake_set_window(struct pv_renderer *renderer, int fd, uint64_t size_bytes)
{
	check(size_bytes == WINDOW_BYTES);
	to_fake(renderer)->window = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(to_fake(renderer)->window != MAP_FAILED);
	return PV_OK;
}

static bool fake_capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	(void)renderer;
	*out = (struct pv_capset_info){.id = index + 4, .max_size_bytes = index ? PV_GPU_MAX_CAPSET_BYTES : 160};
	return index < 2;
}

static enum pv_status fake_capset(struct pv_renderer *renderer, uint32_t id, uint32_t version, void *buf, size_t *len)
{
	(void)renderer;
	if (version != 0)
		return PV_ERR_GUEST;
	check((id == 4 || id == 5) && *len == PV_GPU_MAX_CAPSET_BYTES);
	*len = id == 5 ? PV_GPU_MAX_CAPSET_BYTES : 160;
	memset(buf, 1, *len);
	return PV_OK;
}

static enum pv_status fake_context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
					  uint32_t capset_id, const char *name)
{
	struct fake_3d *f = to_fake(renderer);

	(void)capset_id;
	check(ctx_id && !fake_has_context(f, ctx_id) && strlen(name) <= PV_GPU_CONTEXT_NAME_BYTES);
	enum pv_status status = fake_take(f, op_id, ctx_id);
	for (size_t i = 0; i < FAKE_MAX && status == PV_OK; i++)
		if (f->contexts[i] == 0) {
			f->contexts[i] = ctx_id;
			return status;
		}
	/* Creation is never late here, so that who owns a context is known. */
	for (size_t i = 0; i < FAKE_MAX && status == PV_PENDING; i++)
		if (f->pending[i].id == op_id)
			f->pending[i].id = 0;
	return PV_ERR_NO_MEMORY;
}

static void fake_context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct fake_3d *f = to_fake(renderer);

	check(fake_has_context(f, ctx_id));
	for (size_t i = 0; i < FAKE_MAX; i++)
		if (f->contexts[i] == ctx_id)
			f->contexts[i] = 0;
	for (size_t i = 0; i < FAKE_MAX; i++) {
		struct fake_pending done = f->pending[i];

		if (done.id == 0 || done.ctx_id != ctx_id)
			continue;
		f->pending[i].id = 0;
		struct fake_resource *resource = done.unmaps == NO_RESOURCE ? NULL : fake_find(f, done.unmaps);
		if (resource && done.unmaps && resource->mapped)
			fake_unmapped(resource, f->window);
		if (done.is_fence)
			f->base.events.fence_signalled(f->base.events.user, done.id);
		else
			f->base.events.op_done(f->base.events.user, done.id, PV_ERR_GUEST);
	}
}

static enum pv_status fake_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, uint32_t id)
{
	struct fake_3d *f = to_fake(renderer);

	check(fake_has_context(f, ctx_id) && fake_find(f, id));
	return fake_take(f, op_id, ctx_id);
}

static void fake_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t id)
{
	check(fake_has_context(to_fake(renderer), ctx_id) && fake_find(to_fake(renderer), id));
}

static enum pv_status fake_submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
				  size_t len)
{
	static uint8_t copy[COMMAND_MAX_BYTES];

	check(fake_has_context(to_fake(renderer), ctx_id) && len <= sizeof(copy));
	memcpy(copy, commands, len);
	return fake_take(to_fake(renderer), op_id, ctx_id);
}

static enum pv_status fake_blob_map(struct pv_renderer *renderer, uint64_t op_id, uint32_t id, uint64_t offset)
{
	struct fake_3d *f = to_fake(renderer);
	struct fake_resource *resource = fake_find(f, id);

	check(resource && !resource->mapped && offset % 4096 == 0);
	check(pv_range_fits(offset, resource->size_bytes, WINDOW_BYTES));
	for (size_t i = 0; i < FAKE_MAX; i++) {
		const struct fake_resource *other = &f->resources[i];

		check(!other->id || !other->mapped || offset + resource->size_bytes <= other->offset ||
		      other->offset + other->size_bytes <= offset);
	}
	uint64_t edge = pv_min_u64(resource->size_bytes, EDGE_BYTES);
	uint8_t *first = f->window + offset, *last = first + resource->size_bytes - edge;
	for (uint64_t i = 0; i < edge; i++)
		check(first[i] == 0 && last[i] == 0);
	enum pv_status status = fake_take(f, op_id, 0);
	if (status > PV_PENDING)
		return status;
	memset(first, PATTERN, edge);
	memset(last, PATTERN, edge);
	resource->mapped = status == PV_OK; /* a pending one may fail */
	resource->offset = offset;
	return status;
}

static enum pv_status fake_blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t id)
{
	struct fake_3d *f = to_fake(renderer);
	struct fake_resource *resource = fake_find(f, id);

	check(op_id == 0 || resource);
	if (op_id != 0 && f->late && (byte(f->in) & 1) &&
	    fake_put_off(f, (struct fake_pending){.id = op_id, .unmaps = id}))
		return PV_PENDING;
	if (resource && resource->mapped)
		fake_unmapped(resource, f->window);
	return PV_OK;
}

static enum pv_status fake_transfer_3d(struct pv_renderer *renderer, uint64_t op_id,
				       const struct pv_transfer_3d *transfer)
{
	check(fake_find(to_fake(renderer), transfer->resource_id));
	return fake_take(to_fake(renderer), op_id, 0);
}

static const struct pv_renderer_ops fake_3d_ops = {
    .name = "fake",
    .destroy = fake_destroy,
    .resource_create = fake_create,
    .resource_destroy = fake_resource_destroy,
    .attach_backing = fake_backing,
    .detach_backing = fake_no_backing,
    .get_frame = fake_get_frame,
    .create_fence = fake_fence,
    .reset = fake_reset,
    .set_window = fake_set_window,
    .capset_info = fake_capset_info,
    .capset = fake_capset,
    .context_create = fake_context_create,
    .context_destroy = fake_context_destroy,
    .context_attach = fake_attach,
    .context_detach = fake_detach,
    .submit = fake_submit,
    .blob_map = fake_blob_map,
    .blob_unmap = fake_blob_unmap,
    .transfer_3d = fake_transfer_3d,
};

/* The machine around the device. */

/* One request's place in memory and in the ring. */
struct group {
	bool in_flight;
	uint32_t queue, len, room;
};

struct bench {
	struct input in;
	struct pv_loop *loop;
	struct pv_gpu *gpu;
	struct pv_display *png;
	struct watcher *watcher;
	struct fake_3d *fake;
	uint8_t *ram, *high, *rings;
	struct group groups[NR_GROUPS];
	size_t group; /* of the command that is being made */
	uint16_t collected[PV_GPU_NR_QUEUES];
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
	    .size = RING_SIZE, .desc_addr = at, .avail_addr = at + AVAIL_OFFSET, .used_addr = at + USED_OFFSET};

	memset(b->rings + queue * QUEUE_BYTES, 0, QUEUE_BYTES);
	b->avail[queue] = b->collected[queue] = 0;
	for (size_t i = 0; i < NR_GROUPS; i++)
		if (b->groups[i].queue == queue)
			b->groups[i].in_flight = false;
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

static uint8_t *command_of(const struct bench *b, size_t group)
{
	return b->rings + QUEUES_BYTES + group * GROUP_BYTES;
}

static uint8_t *answer_of(const struct bench *b, size_t group)
{
	return command_of(b, group) + COMMAND_MAX_BYTES;
}

static void check_answer(const struct bench *b, size_t index, uint32_t written)
{
	const struct group *group = &b->groups[index];
	const uint8_t *bytes = answer_of(b, index);
	struct pv_gpu_ctrl_hdr answer;
	uint32_t flags = 0;
	uint64_t fence_id;

	check(written <= group->room);
	check(memcmp(bytes + group->room, untouched, ANSWER_MAX_BYTES - group->room) == 0);
	if (written == 0)
		return;
	check(written >= sizeof(answer));
	memcpy(&answer, bytes, sizeof(answer));
	check((answer.type >= PV_GPU_RESP_OK_NODATA && answer.type <= PV_GPU_RESP_OK_MAP_INFO) ||
	      (answer.type >= PV_GPU_RESP_ERR_UNSPEC && answer.type <= PV_GPU_RESP_ERR_INVALID_PARAMETER));
	memcpy(&flags, command_of(b, index) + 4, 4);
	memcpy(&fence_id, command_of(b, index) + 8, 8);
	if (group->len >= sizeof(answer) && (flags & PV_GPU_FLAG_FENCE))
		check((answer.flags & PV_GPU_FLAG_FENCE) && answer.fence_id == fence_id);
}

/* Takes the answers that are there: each to a request in flight, once. */
static void collect(struct bench *b)
{
	for (uint32_t queue = 0; queue < PV_GPU_NR_QUEUES; queue++) {
		const uint8_t *used_ring = b->rings + queue * QUEUE_BYTES + USED_OFFSET;
		uint16_t used;

		memcpy(&used, used_ring + 2, 2);
		check((uint16_t)(used - b->collected[queue]) <= NR_GROUPS);
		for (; b->collected[queue] != used; b->collected[queue]++) {
			uint32_t elem[2];

			memcpy(elem, used_ring + 4 + 8 * (size_t)(b->collected[queue] % RING_SIZE), 8);
			check(elem[0] % 4 == 0 && elem[0] / 4 < NR_GROUPS);
			struct group *group = &b->groups[elem[0] / 4];
			check(group->in_flight && group->queue == queue);
			group->in_flight = false;
			check_answer(b, elem[0] / 4, elem[1]);
		}
	}
}

/* Until all is answered. */
static void settle(struct bench *b)
{
	answer_outputs(b->watcher);
	while (fake_settle_one(b->fake))
		continue;
	answer_outputs(b->watcher);
	if (!b->rings_visible)
		return;
	collect(b);
	for (size_t i = 0; i < NR_GROUPS; i++)
		check(!b->groups[i].in_flight);
}

static size_t free_group(struct bench *b)
{
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < NR_GROUPS; i++)
			if (!b->groups[i].in_flight)
				return i;
		settle(b);
		/* With the rings out of sight nothing can be answered: start anew. */
		for (size_t i = 0; i < NR_GROUPS; i++)
			b->groups[i].in_flight = false;
	}
	return 0;
}

/* One request through the queue: the group's command of `len` bytes, cut in two at `split`, and room for the answer. */
static void request(struct bench *b, size_t index, uint32_t queue, uint32_t len, uint32_t split, uint32_t room)
{
	uint8_t *base = b->rings + queue * QUEUE_BYTES;
	const uint64_t command = RING_ADDR + QUEUES_BYTES + index * GROUP_BYTES;
	uint16_t head = (uint16_t)(index * 4), n = head;

	if (!b->rings_visible)
		return;
	memset(answer_of(b, index), UNTOUCHED, ANSWER_MAX_BYTES);
	split = split < len ? split : len;
	if (split > 0)
		set_descriptor(b, queue, n++, command, split, 1);
	set_descriptor(b, queue, n++, command + split, len - split, room ? 1 : 0);
	if (room)
		set_descriptor(b, queue, n, command + COMMAND_MAX_BYTES, room, 2);
	b->groups[index] = (struct group){.in_flight = true, .queue = queue, .len = len, .room = room};

	memcpy(base + AVAIL_OFFSET + 4 + 2 * (size_t)(b->avail[queue] % RING_SIZE), &head, 2);
	b->avail[queue]++;
	memcpy(base + AVAIL_OFFSET + 2, &b->avail[queue], 2);
	pv_gpu_queue_notify(b->gpu, queue);
	answer_outputs(b->watcher);
	collect(b);
	/* One request is too little for the core to put off any of it; only the 3D renderer can. */
	if (!b->fake->late)
		settle(b);
}

static void put(struct bench *b, uint32_t *at, const void *bytes, uint32_t len)
{
	if (*at + len > COMMAND_MAX_BYTES)
		return;
	memcpy(command_of(b, b->group) + *at, bytes, len);
	*at += len;
}

static void put_u32(struct bench *b, uint32_t *at, uint32_t value)
{
	put(b, at, &value, sizeof(value));
}

/* Fields behind the header: i = any number, r = resource id, h = scanout, f = format, 0 = zero, 1 = one, n = number of
 * entries, which follow, c = capability set, b, B = kind of blob, p = pages, z = number of bytes, which follow. */
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
    {PV_GPU_CMD_CTX_CREATE, "ic0000000000000000"},
    {PV_GPU_CMD_CTX_CREATE, "ic0000000000000000"},
    {PV_GPU_CMD_CTX_DESTROY, ""},
    {PV_GPU_CMD_CTX_ATTACH_RESOURCE, "r0"},
    {PV_GPU_CMD_CTX_DETACH_RESOURCE, "r0"},
    {PV_GPU_CMD_RESOURCE_CREATE_3D, "rififiiiiii0"},
    {PV_GPU_CMD_TRANSFER_TO_HOST_3D, "iiiiiii0riii"},
    {PV_GPU_CMD_TRANSFER_FROM_HOST_3D, "iiiiiii0riii"},
    {PV_GPU_CMD_SUBMIT_3D, "z0"},
    {PV_GPU_CMD_RESOURCE_CREATE_BLOB, "rB1Ni0p0"},
    {PV_GPU_CMD_RESOURCE_CREATE_BLOB, "rB1Ni0p0"},
    {PV_GPU_CMD_RESOURCE_MAP_BLOB, "r0p0"},
    {PV_GPU_CMD_RESOURCE_MAP_BLOB, "r0p0"},
    {PV_GPU_CMD_RESOURCE_UNMAP_BLOB, "r0"},
    {PV_GPU_CMD_GET_CAPSET, "c0"},
};

static void put_field(struct bench *b, uint32_t *at, char kind, uint32_t *entries, uint32_t *bytes)
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
	case '1':
		value = 1;
		break;
	case 'c':
		value = byte(in);
		value = value < 0xf0 ? 4 + (value & 1) : number(in);
		break;
	case 'B':
		value = byte(in);
		value = value < 0xf0 ? 2 + (value & 1) : number(in);
		break;
	case 'p':
		value = byte(in);
		value = value < 0xe0 ? (value & 31) * 4096 : number(in);
		break;
	case 'z':
		value = byte(in) * 16;
		for (uint32_t i = 0; i < value; i += 16)
			put(b, &(uint32_t){*at + 8 + i}, picture + i, 16);
		*bytes = value;
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
	uint32_t at = 0, entries = 0, bytes = 0, split = 0, room = ANSWER_MAX_BYTES;

	b->group = free_group(b);
	put_u32(b, &at, commands[which].type);
	put_u32(b, &at, how & 1 ? PV_GPU_FLAG_FENCE : how & 2 ? number(&b->in) : 0);
	put_u32(b, &at, how & 3 ? number(&b->in) : 0);
	put_u32(b, &at, how & 4 ? number(&b->in) : 0);
	put_u32(b, &at, how & 0x80 ? byte(&b->in) & 3 : 1);
	put_u32(b, &at, how & 4 ? number(&b->in) : 0);
	for (const char *f = commands[which].fields; *f; f++)
		put_field(b, &at, *f, &entries, &bytes);
	at += bytes;
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
		command_of(b, b->group)[byte(&b->in) % (at ? at : 1)] = byte(&b->in);
	request(b, b->group, queue, at, split, room);
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
	case 0xf9:
		b->fake->late = !b->fake->late;
		if (!b->fake->late)
			settle(b);
		break;
	case 0xfa:
		(void)fake_settle_one(b->fake);
		if (b->rings_visible)
			collect(b);
		break;
	case 0xfb:
		settle(b);
		break;
	case 0xfc:
		b->fake->base.events.lost(b->fake->base.events.user);
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

static struct pv_gpu *make_gpu(struct bench *b)
{
	struct pv_renderer *plain, *children[1];
	struct pv_gpu_params params = {
	    .loop = b->loop,
	    .window_bytes = WINDOW_BYTES,
	    .nr_outputs = 2,
	    .outputs = {{.enabled = true, .width = 64, .height = 48}, {.enabled = true, .width = 32, .height = 32}},
	    .max_host_bytes = MAX_HOST_BYTES};
	struct pv_gpu *gpu;

	b->fake = calloc(1, sizeof(*b->fake));
	check(b->fake != NULL);
	b->fake->base.ops = &fake_3d_ops;
	b->fake->in = &b->in;
	children[0] = &b->fake->base;
	check(pv_render2d_create(&plain) == PV_OK);
	check(pv_mux_create(plain, children, 1, &params.take_renderer) == PV_OK);
	check(pv_gpu_create(&params, &gpu) == PV_OK);
	pv_gpu_set_transport(gpu, &transport_ops, NULL);
	return gpu;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct pv_loop *loop;
	struct bench b = {.in = {data, len}};

	if (!loop) {
		pv_log_set_sink(drop_line, NULL);
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

	b.gpu = make_gpu(&b);
	b.watcher->base.ops = &watcher_ops;
	b.watcher->gpu = b.gpu;
	pv_gpu_add_display(b.gpu, &b.watcher->base);
	check(pv_png_display_create(NULL, &b.png) == PV_OK);
	pv_gpu_add_display(b.gpu, b.png);
	restart(&b);

	for (unsigned n = 0; n < MAX_STEPS && b.in.len > 0; n++)
		step(&b);

	settle(&b);
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

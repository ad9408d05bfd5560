/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. Calls from the core only note what is wrong with the VMM's idea of the screen: per head the
 * size, the damage and the cursor, and whether its heads must be asked for. The loop says when the socket takes bytes;
 * then the most urgent difference becomes one message in the one output buffer, which holds the latest pixels and is
 * sent in as many pieces as it takes. So a VMM that does not read costs nothing and gets no stale frames when it reads
 * again, and the thread never waits.
 *
 * Guests flush more than they changed (page flips flush everything), and each pixel costs two copies in the VMM, under
 * its big lock. So a copy of what the VMM has is kept per head, and of every band only the changed part is sent.
 *
 * Pixels are paced: `damage` gathers until the head's time has come, then all of it moves to `sending`, which, once the
 * picture has been fetched, is worked off in bands of bounded size. That is a round; it keeps the frame that it began
 * with, or a guest that turns pages fast would never see one end. Cursors have a pace of their own at the same rate.
 *
 * A picture that is a dma-buf goes to the VMM as one, if it was said to take them: no pixel is read, it learns of each
 * change by DMABUF_UPDATE, answers when it has shown that, and is not sent another before.
 *
 * What QEMU (7.2 to 11.1) needs of us: it dereferences a head's surface on UPDATE, so a SCANOUT with a size must have
 * come first, and none with 0x0 since; it leaks the surface when a second SCANOUT comes before the first UPDATE. Hence
 * SCANOUT and the first pixels leave together.
 */
#include "display/vmm_console.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/socket.h"
#include "display/damage.h"
#include "gpu/protocol.h"

#define MODULE "console"

#define FLAG_REPLY 4u

/* Protocol features. */
#define FEATURE_DMABUF2 (1ull << 1)

#define DMA_BUF_Y_0_TOP 1u

enum request {
	GET_PROTOCOL_FEATURES = 1,
	SET_PROTOCOL_FEATURES,
	GET_DISPLAY_INFO,
	CURSOR_POS,
	CURSOR_POS_HIDE,
	CURSOR_UPDATE,
	SCANOUT,
	UPDATE,
	DMABUF_SCANOUT,
	DMABUF_UPDATE,
	DMABUF_SCANOUT2 = 12,
};

struct header {
	uint32_t request, flags, size;
};

struct cursor_pos {
	uint32_t scanout_id, x, y;
};

struct cursor_update {
	struct cursor_pos pos;
	uint32_t hot_x, hot_y;
	uint32_t pixels[PV_GPU_CURSOR_SIDE * PV_GPU_CURSOR_SIDE];
};

struct scanout {
	uint32_t scanout_id, width, height;
};

struct update {
	uint32_t scanout_id, x, y, width, height;
};

/* With a descriptor; without: the head shows no dma-buf any more. */
struct dma_buf_scanout {
	uint32_t scanout_id, x, y, width, height;
	uint32_t fd_width, fd_height, fd_stride, fd_flags, fd_fourcc;
	uint32_t modifier[2]; /* SCANOUT2: low, high */
};

#define DMA_BUF_SCANOUT_BYTES offsetof(struct dma_buf_scanout, modifier)

/* Pixels of one UPDATE: what is compared at once should stay in the processor's cache. The widest row is 64 KiB. */
#define BAND_MAX_BYTES (256u << 10)
/* The end of a dma-buf, a SCANOUT and its first UPDATE. */
#define OUT_BYTES                                                                                                      \
	(3 * sizeof(struct header) + sizeof(struct dma_buf_scanout) + sizeof(struct scanout) + sizeof(struct update) + \
	 BAND_MAX_BYTES)
/* Sent in one go before the loop sees to others. */
#define BURST_MAX_BYTES (4u << 20)
#define ANSWER_NS       1000000000ull
#define DEFAULT_MAX_FPS 60

/* Times are when the next work may start; 0 is always in the past. */
struct head {
	struct pv_frame *frame; /* NULL: off */
	struct pv_rect src;
	uint32_t told_width, told_height; /* what the VMM has; 0: off */
	uint32_t *known;                  /* its pixels, told_width a row; NULL: no memory for them */
	bool first_round;                 /* the surface is new: `known` does not count yet */
	struct pv_damage damage, sending;
	uint64_t next_pixels_ns;
	/* A round sends the picture that it began with, once that is there. */
	struct pv_frame *round_frame; /* NULL: no round was begun */
	struct pv_rect round_src;
	struct pv_frame_waiter waiter;
	struct console *console;
	/* The picture whose dma-buf the VMM shows, and what of it; NULL: it shows pixels, if anything. */
	struct pv_frame *shared;
	struct pv_rect shared_src;

	struct pv_cursor cursor;
	bool cursor_moved, cursor_changed; /* position or visibility; image */
	bool cursor_known;                 /* the VMM was sent an image */
	uint64_t next_cursor_ns;
};

/* Owned by the device thread. */
struct console {
	struct pv_display base;
	struct pv_vmm_console_params params;
	int fd; /* -1: the VMM is gone, all calls are ignored */
	struct pv_loop_fd *watch;
	uint32_t watched_events;
	struct pv_loop_timer *pace_timer, *answer_timer;
	uint64_t interval_ns;

	bool features_wanted, features_asked; /* GET_PROTOCOL_FEATURES is to be sent; its reply is due */
	bool accept_wanted;                   /* SET_PROTOCOL_FEATURES is to be sent */
	bool info_wanted, info_asked;         /* GET_DISPLAY_INFO is to be sent; its reply is due */
	bool core_waits;                      /* for params.queried() */
	bool takes_modifiers;                 /* DMABUF_SCANOUT2 */
	bool update_asked;                    /* the reply to a DMABUF_UPDATE is due */
	bool has_shared;                      /* ever */

	struct head heads[PV_GPU_MAX_SCANOUTS];
	uint32_t first_head; /* where the next search for work starts, so that no head starves */

	uint8_t in[sizeof(struct header) + sizeof(struct pv_gpu_resp_display_info)];
	size_t in_len;
	size_t out_len, out_sent;
	struct pv_frame *out_frame; /* its dma-buf goes with the first byte; NULL: none */
	/* All parts of messages are multiples of 4 bytes, so that pixels are aligned in it. */
	_Alignas(16) uint8_t out[OUT_BYTES];
};

static struct console *console_of(struct pv_display *display)
{
	return PV_CONTAINER_OF(display, struct console, base);
}

static void answer_core(struct console *self)
{
	if (!self->core_waits)
		return;
	self->core_waits = false;
	if (self->answer_timer)
		pv_loop_disarm_timer(self->answer_timer);
	self->params.queried(self->params.user);
}

static uint64_t known_bytes(const struct head *head)
{
	return (uint64_t)head->told_width * head->told_height * 4;
}

static void end_round(struct head *head)
{
	pv_frame_stop_waiting(&head->waiter);
	pv_damage_clear(&head->sending);
	pv_frame_unref(head->round_frame);
	head->round_frame = NULL;
}

static void forget_shared(struct head *head)
{
	pv_frame_unref(head->shared);
	head->shared = NULL;
}

static void forget_out_frame(struct console *self)
{
	pv_frame_unref(self->out_frame);
	self->out_frame = NULL;
}

static void forget_known(struct head *head)
{
	pv_pages_unmap(head->known, known_bytes(head));
	head->known = NULL;
}

/* From here on the display is quiet. The core is never left waiting. */
static void go_quiet(struct console *self)
{
	if (self->fd < 0)
		return;
	pv_loop_remove_fd(self->watch);
	self->watch = NULL;
	pv_fd_close(&self->fd);
	if (self->pace_timer)
		pv_loop_disarm_timer(self->pace_timer);
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		end_round(&self->heads[i]);
		pv_frame_unref(self->heads[i].frame);
		self->heads[i].frame = NULL;
		forget_known(&self->heads[i]);
		forget_shared(&self->heads[i]);
	}
	forget_out_frame(self);
	answer_core(self);
}

static void peer_broke(struct console *self, const char *what)
{
	pv_log(PV_LOG_WARNING, MODULE, "the VMM's console socket %s: closed", what);
	go_quiet(self);
}

/* ---- what is to be sent ---- */

static bool head_has_pixels(const struct head *head)
{
	return head->sending.nr_rects || head->damage.nr_rects || (!head->frame && (head->told_width || head->shared));
}

/* Whether the VMM gets the picture itself. */
static bool goes_shared(const struct console *self, const struct pv_frame *frame)
{
	return self->params.send_dma_bufs && frame && frame->dma_buf &&
	       (self->takes_modifiers || frame->dma_buf->modifier == PV_DMA_BUF_NO_MODIFIER ||
		frame->dma_buf->modifier == PV_DMA_BUF_LINEAR);
}

/* For its picture, or until the VMM has shown another one. */
static bool head_waits(const struct head *head)
{
	const struct console *self = head->console;

	return head->waiter.frame ||
	       (self->update_asked && goes_shared(self, head->round_frame ? head->round_frame : head->frame));
}

static bool head_has_cursor(const struct head *head)
{
	return head->cursor_moved || (head->cursor_changed && head->cursor.visible);
}

/* When the head has something to send; UINT64_MAX: nothing. */
static uint64_t head_due_ns(const struct head *head)
{
	uint64_t due_ns = UINT64_MAX;

	if (head->sending.nr_rects && !head_waits(head))
		return 0;
	if (head_has_pixels(head) && !head_waits(head))
		due_ns = head->next_pixels_ns;
	if (head_has_cursor(head))
		due_ns = pv_min_u64(due_ns, head->next_cursor_ns);
	return due_ns;
}

static uint64_t due_ns(const struct console *self)
{
	uint64_t earliest_ns = UINT64_MAX;

	if (self->out_sent < self->out_len || self->features_wanted || self->accept_wanted ||
	    (self->info_wanted && !self->info_asked))
		return 0;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		earliest_ns = pv_min_u64(earliest_ns, head_due_ns(&self->heads[i]));
	return earliest_ns;
}

/* Lets the loop come back when there is something to send: at once, later, or not at all. */
static void schedule(struct console *self)
{
	if (self->fd < 0)
		return;
	uint64_t when_ns = due_ns(self);
	bool now = when_ns <= pv_now_ns();
	uint32_t events = PV_LOOP_READ | (now ? PV_LOOP_WRITE : 0);

	if (events != self->watched_events) {
		self->watched_events = events;
		pv_loop_set_events(self->watch, events);
	}
	if (now || when_ns == UINT64_MAX)
		pv_loop_disarm_timer(self->pace_timer);
	else
		pv_loop_arm_timer(self->pace_timer, when_ns);
}

/* The next time in the rhythm; a late start does not slow it down, a long pause does not speed it up. */
static uint64_t next_time(const struct console *self, uint64_t previous_ns, uint64_t now_ns)
{
	return (now_ns - previous_ns < self->interval_ns ? previous_ns : now_ns) + self->interval_ns;
}

/* ---- building messages; all that was in the output buffer has been sent ---- */

static uint8_t *start_message(struct console *self, enum request request, size_t payload_bytes)
{
	struct header header = {.request = request, .size = (uint32_t)payload_bytes};
	uint8_t *p = self->out + self->out_len;

	memcpy(p, &header, sizeof(header));
	self->out_len += sizeof(header) + payload_bytes;
	return p + sizeof(header);
}

static void build(struct console *self, enum request request, const void *payload, size_t len)
{
	memcpy(start_message(self, request, len), payload, len);
}

static bool build_negotiation(struct console *self)
{
	/* EDIDs are our own. */
	const uint64_t accepted = self->takes_modifiers ? FEATURE_DMABUF2 : 0;

	if (self->features_wanted) {
		self->features_wanted = false;
		self->features_asked = true;
		start_message(self, GET_PROTOCOL_FEATURES, 0);
		return true;
	}
	if (self->accept_wanted) {
		self->accept_wanted = false;
		build(self, SET_PROTOCOL_FEATURES, &accepted, sizeof(accepted));
		return true;
	}
	if (self->info_wanted && !self->info_asked) {
		self->info_wanted = false;
		self->info_asked = true;
		start_message(self, GET_DISPLAY_INFO, 0);
		return true;
	}
	return false;
}

static bool build_cursor(struct console *self, uint32_t id, uint64_t now_ns)
{
	struct head *head = &self->heads[id];
	const struct pv_cursor *cursor = &head->cursor;
	struct cursor_pos pos = {id, (uint32_t)cursor->x, (uint32_t)cursor->y};

	if (!head_has_cursor(head) || now_ns < head->next_cursor_ns)
		return false;
	head->next_cursor_ns = next_time(self, head->next_cursor_ns, now_ns);
	head->cursor_moved = false;
	if (!cursor->visible) {
		/* The image waits until it can be seen: CURSOR_UPDATE would show it. */
		build(self, CURSOR_POS_HIDE, &pos, sizeof(pos));
	} else if (!head->cursor_changed) {
		build(self, CURSOR_POS, &pos, sizeof(pos));
	} else {
		uint8_t *p = start_message(self, CURSOR_UPDATE, sizeof(struct cursor_update));
		uint32_t hot[2] = {cursor->hot_x, cursor->hot_y};

		head->cursor_changed = false;
		head->cursor_known = true;
		memcpy(p, &pos, sizeof(pos));
		memcpy(p + offsetof(struct cursor_update, hot_x), hot, sizeof(hot));
		memcpy(p + offsetof(struct cursor_update, pixels), cursor->pixels, sizeof(cursor->pixels));
	}
	return true;
}

static uint32_t rows_in_band(uint32_t width)
{
	return BAND_MAX_BYTES / (width * 4);
}

static void build_scanout(struct console *self, uint32_t id, uint32_t width, uint32_t height)
{
	struct head *head = &self->heads[id];
	struct scanout scanout = {id, width, height};
	void *pages;

	if (head->shared) {
		/* Or QEMU's windows would go on with it. */
		struct dma_buf_scanout end = {.scanout_id = id};

		build(self, DMABUF_SCANOUT, &end, DMA_BUF_SCANOUT_BYTES);
		forget_shared(head);
	}
	forget_known(head);
	head->told_width = width;
	head->told_height = height;
	head->first_round = true;
	if (width && pv_pages_map(known_bytes(head), &pages) == PV_OK)
		head->known = pages;
	build(self, SCANOUT, &scanout, sizeof(scanout));
}

/*
 * Cuts `band`, whose pixels are at `pixels`, to the part that the VMM does not have; false: it has all. The part's rows
 * are moved together, and noted as known.
 */
static bool keep_changes(struct head *head, struct pv_rect *band, uint32_t *pixels)
{
	const uint32_t width = band->width;
	uint32_t *known = head->known + (size_t)band->y * head->told_width + band->x;
	uint32_t top = 0, bottom = band->height, left = width, right = 0;

	if (head->first_round) {
		for (uint32_t y = 0; y < bottom; y++)
			memcpy(known + (size_t)y * head->told_width, pixels + (size_t)y * width, (size_t)width * 4);
		return true;
	}
	while (top < bottom &&
	       memcmp(pixels + (size_t)top * width, known + (size_t)top * head->told_width, (size_t)width * 4) == 0)
		top++;
	if (top == bottom)
		return false;
	while (memcmp(pixels + (size_t)(bottom - 1) * width, known + (size_t)(bottom - 1) * head->told_width,
		      (size_t)width * 4) == 0)
		bottom--;
	for (uint32_t y = top; y < bottom; y++) {
		const uint32_t *a = pixels + (size_t)y * width, *b = known + (size_t)y * head->told_width;
		uint32_t x = 0;

		while (x < left && a[x] == b[x])
			x++;
		left = x < left ? x : left;
		x = width;
		while (x > right && a[x - 1] == b[x - 1])
			x--;
		right = x > right ? x : right;
	}

	for (uint32_t y = top; y < bottom; y++) {
		uint32_t *to = pixels + (size_t)(y - top) * (right - left);

		memmove(to, pixels + (size_t)y * width + left, (size_t)(right - left) * 4);
		memcpy(known + (size_t)y * head->told_width + left, to, (size_t)(right - left) * 4);
	}
	*band = (struct pv_rect){band->x + left, band->y + top, right - left, bottom - top};
	return true;
}

static void on_fetched(struct pv_frame_waiter *waiter)
{
	schedule(PV_CONTAINER_OF(waiter, struct head, waiter)->console);
}

/* Starts the head's next round if it has something to show and its time has come; false: it cannot go on yet. */
static bool start_round(struct console *self, struct head *head, uint64_t now_ns)
{
	if (!head_has_pixels(head) || now_ns < head->next_pixels_ns)
		return false;
	head->next_pixels_ns = next_time(self, head->next_pixels_ns, now_ns);
	end_round(head);
	head->sending = head->damage;
	pv_damage_clear(&head->damage);
	if (!head->frame)
		return true;
	head->round_frame = pv_frame_ref(head->frame);
	head->round_src = head->src;
	return goes_shared(self, head->frame) || pv_frame_fetch(head->frame, &head->waiter);
}

static void build_dma_buf_scanout(struct console *self, uint32_t id)
{
	struct head *head = &self->heads[id];
	const struct pv_dma_buf *buf = head->round_frame->dma_buf;
	struct dma_buf_scanout scanout = {
	    .scanout_id = id,
	    .x = head->round_src.x,
	    .y = head->round_src.y,
	    .width = head->round_src.width,
	    .height = head->round_src.height,
	    .fd_width = head->round_frame->width,
	    .fd_height = head->round_frame->height,
	    .fd_stride = buf->stride_bytes,
	    .fd_flags = buf->y_0_top ? DMA_BUF_Y_0_TOP : 0,
	    .fd_fourcc = buf->fourcc,
	    .modifier = {(uint32_t)buf->modifier, (uint32_t)(buf->modifier >> 32)},
	};

	forget_shared(head);
	head->shared = pv_frame_ref(head->round_frame);
	head->shared_src = head->round_src;
	self->out_frame = pv_frame_ref(head->round_frame);
	if (!self->has_shared) {
		self->has_shared = true;
		pv_log(PV_LOG_INFO, MODULE, "the VMM is given the GPU's pictures as dma-bufs");
	}
	/* It may show pixels again, and has none that are of use then. */
	forget_known(head);
	head->told_width = head->told_height = 0;
	if (self->takes_modifiers && buf->modifier != PV_DMA_BUF_NO_MODIFIER)
		build(self, DMABUF_SCANOUT2, &scanout, sizeof(scanout));
	else
		build(self, DMABUF_SCANOUT, &scanout, DMA_BUF_SCANOUT_BYTES);
}

/* A round that sends no pixels. */
static void build_dma_buf(struct console *self, uint32_t id)
{
	struct head *head = &self->heads[id];
	struct pv_rect all = pv_damage_bounds(&head->sending);
	struct update update = {id, all.x, all.y, all.width, all.height};

	if (head->shared != head->round_frame ||
	    memcmp(&head->shared_src, &head->round_src, sizeof(head->shared_src)) != 0)
		build_dma_buf_scanout(self, id);
	build(self, DMABUF_UPDATE, &update, sizeof(update));
	self->update_asked = true;
	end_round(head);
}

/* The next UPDATE of the head's round, behind what is in the output buffer; false: it needs none. */
static bool build_update(struct console *self, uint32_t id)
{
	struct head *head = &self->heads[id];
	/* Pixels go to where they will be sent from; the header follows when their number is known. */
	uint8_t *pixels = self->out + self->out_len + sizeof(struct header) + sizeof(struct update);
	struct pv_rect band;

	while (pv_damage_take(&head->sending, rows_in_band, &band)) {
		struct pv_rect from = {head->round_src.x + band.x, head->round_src.y + band.y, band.width, band.height};

		pv_frame_read_xrgb(head->round_frame, &from, pixels, band.width * 4);
		if (head->known && !keep_changes(head, &band, (uint32_t *)(void *)pixels))
			continue;
		struct update update = {id, band.x, band.y, band.width, band.height};
		uint8_t *p = start_message(self, UPDATE, sizeof(update) + (size_t)band.width * band.height * 4);

		memcpy(p, &update, sizeof(update));
		if (!head->sending.nr_rects) {
			head->first_round = false;
			end_round(head);
		}
		return true;
	}
	end_round(head);
	return false;
}

static bool build_pixels(struct console *self, uint32_t id, uint64_t now_ns)
{
	struct head *head = &self->heads[id];

	if (head_waits(head) || (!head->sending.nr_rects && !start_round(self, head, now_ns)))
		return false;
	if (!head->frame) {
		build_scanout(self, id, 0, 0);
		return true;
	}
	if (goes_shared(self, head->round_frame)) {
		build_dma_buf(self, id);
		return true;
	}
	if (head->told_width != head->src.width || head->told_height != head->src.height)
		build_scanout(self, id, head->src.width, head->src.height);
	return build_update(self, id);
}

static bool build_next(struct console *self)
{
	uint64_t now_ns = pv_now_ns();

	self->out_len = self->out_sent = 0;
	if (build_negotiation(self))
		return true;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (build_cursor(self, i, now_ns))
			return true;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		uint32_t id = (self->first_head + i) % PV_GPU_MAX_SCANOUTS;
		if (build_pixels(self, id, now_ns)) {
			/* A head that has started stays first until its round is done: half pictures are ugly. */
			self->first_head = self->heads[id].sending.nr_rects ? id : (id + 1) % PV_GPU_MAX_SCANOUTS;
			return true;
		}
	}
	return false;
}

static void send_what_fits(struct console *self)
{
	size_t burst_bytes = 0;

	while (burst_bytes < BURST_MAX_BYTES) {
		size_t sent;

		if (self->out_sent == self->out_len && !build_next(self))
			break;
		struct iovec iov = {self->out + self->out_sent, self->out_len - self->out_sent};
		const struct pv_frame *with = self->out_frame;
		enum pv_status status =
		    pv_socket_send(self->fd, &iov, 1, with ? &with->dma_buf->fd : NULL, with ? 1 : 0, &sent);
		if (status == PV_PENDING)
			break;
		if (status != PV_OK) {
			pv_log(PV_LOG_INFO, MODULE, "the VMM closed its console socket");
			go_quiet(self);
			return;
		}
		forget_out_frame(self);
		self->out_sent += sent;
		burst_bytes += sent;
	}
	schedule(self);
}

/* ---- replies ---- */

static void take_display_info(struct console *self, const struct pv_gpu_resp_display_info *info)
{
	/* All of them: a VMM may have more heads than this device was started with. */
	struct pv_output heads[PV_GPU_MAX_SCANOUTS] = {0};

	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		const struct pv_gpu_wire_rect *r = &info->pmodes[i].r;

		/* Something without a size cannot be shown. */
		if (!info->pmodes[i].enabled || !r->width || !r->height)
			continue;
		heads[i] = (struct pv_output){.enabled = true,
					      .x = r->x,
					      .y = r->y,
					      .width = (uint32_t)pv_min_u64(r->width, PV_FRAME_MAX_SIDE),
					      .height = (uint32_t)pv_min_u64(r->height, PV_FRAME_MAX_SIDE)};
	}
	self->params.heads_changed(self->params.user, heads);
	/* One more was asked for since the request: its answer is the one that counts. */
	if (!self->info_wanted)
		answer_core(self);
}

/* False: the connection is closed. */
static bool take_reply(struct console *self, const struct header *header, const uint8_t *payload)
{
	struct pv_gpu_resp_display_info info;
	uint64_t features;

	if (header->request == DMABUF_UPDATE) {
		self->update_asked = false;
		return true;
	}
	if (header->request == GET_PROTOCOL_FEATURES) {
		memcpy(&features, payload, sizeof(features));
		self->takes_modifiers = self->params.send_dma_bufs && (features & FEATURE_DMABUF2);
		self->features_asked = false;
		self->accept_wanted = true;
		self->info_wanted = true;
		return true;
	}
	memcpy(&info, payload, sizeof(info));
	self->info_asked = false;
	take_display_info(self, &info);
	return self->fd >= 0;
}

/* Whether it is a reply that is due. */
static bool is_reply(const struct console *self, const struct header *header)
{
	if (!(header->flags & FLAG_REPLY))
		return false;
	if (header->request == GET_PROTOCOL_FEATURES)
		return self->features_asked && header->size == sizeof(uint64_t);
	if (header->request == GET_DISPLAY_INFO)
		return self->info_asked && header->size == sizeof(struct pv_gpu_resp_display_info);
	return header->request == DMABUF_UPDATE && self->update_asked && header->size == 0;
}

/* Takes whole replies off the input buffer. False: the connection is closed. */
static bool take_replies(struct console *self)
{
	struct header header;

	while (self->in_len >= sizeof(header)) {
		memcpy(&header, self->in, sizeof(header));
		if (!is_reply(self, &header)) {
			peer_broke(self, "carried an unexpected message");
			return false;
		}
		size_t len = sizeof(header) + header.size;
		if (self->in_len < len)
			break;
		bool alive = take_reply(self, &header, self->in + sizeof(header));
		if (!alive)
			return false;
		self->in_len -= len;
		memmove(self->in, self->in + len, self->in_len);
	}
	return true;
}

/* False: the connection is closed. One read a round is enough: the loop comes back while there is more. */
static bool receive(struct console *self)
{
	size_t len = 0, nr_fds = 0;
	enum pv_status status =
	    pv_socket_recv(self->fd, self->in + self->in_len, sizeof(self->in) - self->in_len, &len, NULL, &nr_fds);

	if (status == PV_PENDING)
		return true;
	if (status == PV_OK && len > 0) {
		self->in_len += len;
		return take_replies(self);
	}
	if (status == PV_OK && self->in_len == 0) {
		pv_log(PV_LOG_INFO, MODULE, "the VMM closed its console socket");
		go_quiet(self);
	} else {
		peer_broke(self, status == PV_OK ? "ended inside a message" : "failed");
	}
	return false;
}

static void on_ready(void *user, uint32_t events)
{
	struct console *self = user;

	/* A hang-up is read too, and found as the end of the stream, after what came before it. */
	if ((events & (PV_LOOP_READ | PV_LOOP_HANGUP)) && !receive(self))
		return;
	send_what_fits(self);
}

static void on_pace(void *user)
{
	schedule(user);
}

/* The VMM's main loop may be waiting for us elsewhere: the guest gets what is known. */
static void on_no_answer(void *user)
{
	struct console *self = user;

	PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "the VMM does not say what its heads are: the last known ones are used");
	answer_core(self);
}

/* ---- the core's calls ---- */

static void set_scanout(struct pv_display *display, uint32_t scanout_id, struct pv_frame *frame,
			const struct pv_rect *src)
{
	struct console *self = console_of(display);

	if (self->fd < 0 || PV_NEVER(scanout_id >= PV_GPU_MAX_SCANOUTS))
		return;
	if (frame && PV_NEVER(pv_rect_is_empty(src) || !pv_rect_fits(src, frame->width, frame->height)))
		return;
	struct head *head = &self->heads[scanout_id];
	struct pv_frame *previous = head->frame;
	bool same_size = frame && previous && src->width == head->src.width && src->height == head->src.height;

	head->frame = frame ? pv_frame_ref(frame) : NULL;
	head->src = frame ? *src : (struct pv_rect){0};
	pv_frame_unref(previous);
	/* What was not sent yet is not part of the new picture, unless that has the same shape. */
	if (!same_size) {
		pv_damage_clear(&head->damage);
		end_round(head);
	}
	schedule(self);
}

static void damage(struct pv_display *display, uint32_t scanout_id, const struct pv_rect *rect)
{
	struct console *self = console_of(display);

	if (self->fd < 0 || PV_NEVER(scanout_id >= PV_GPU_MAX_SCANOUTS))
		return;
	struct head *head = &self->heads[scanout_id];
	if (!head->frame || PV_NEVER(!pv_rect_fits(rect, head->src.width, head->src.height)))
		return;
	pv_damage_add(&head->damage, rect);
	schedule(self);
}

static bool same_image(const struct pv_cursor *a, const struct pv_cursor *b)
{
	return a->hot_x == b->hot_x && a->hot_y == b->hot_y && memcmp(a->pixels, b->pixels, sizeof(a->pixels)) == 0;
}

static void set_cursor(struct pv_display *display, const struct pv_cursor *cursor)
{
	struct console *self = console_of(display);

	if (self->fd < 0 || PV_NEVER(cursor->scanout_id >= PV_GPU_MAX_SCANOUTS))
		return;
	struct head *head = &self->heads[cursor->scanout_id];
	/* An image that nobody sees need not be sent; it is compared again when it is to be seen. */
	if (cursor->visible && (!head->cursor_known || !same_image(&head->cursor, cursor)))
		head->cursor_changed = true;
	if (cursor->visible || head->cursor.visible)
		head->cursor_moved = true;
	struct pv_cursor *own = &head->cursor;
	own->x = cursor->x;
	own->y = cursor->y;
	own->visible = cursor->visible;
	if (head->cursor_changed && cursor->visible) {
		own->hot_x = cursor->hot_x;
		own->hot_y = cursor->hot_y;
		memcpy(own->pixels, cursor->pixels, sizeof(own->pixels));
	}
	schedule(self);
}

static void move_cursor(struct pv_display *display, const struct pv_cursor *cursor)
{
	struct console *self = console_of(display);

	if (self->fd < 0 || PV_NEVER(cursor->scanout_id >= PV_GPU_MAX_SCANOUTS))
		return;
	struct head *head = &self->heads[cursor->scanout_id];
	head->cursor.x = cursor->x;
	head->cursor.y = cursor->y;
	if (head->cursor.visible)
		head->cursor_moved = true;
	schedule(self);
}

static void query_outputs(struct pv_display *display)
{
	struct console *self = console_of(display);

	if (self->fd < 0) {
		self->params.queried(self->params.user);
		return;
	}
	if (!self->core_waits) {
		self->core_waits = true;
		pv_loop_arm_timer(self->answer_timer, pv_now_ns() + ANSWER_NS);
	}
	/* A reply already on its way may be older than what the guest was told of. */
	self->info_wanted = true;
	schedule(self);
}

static void destroy(struct pv_display *display)
{
	struct console *self = console_of(display);

	/* The core takes the display off its list first and waits for nothing of it. */
	self->core_waits = false;
	go_quiet(self);
	if (self->answer_timer)
		pv_loop_remove_timer(self->answer_timer);
	if (self->pace_timer)
		pv_loop_remove_timer(self->pace_timer);
	free(self);
}

static const struct pv_display_ops console_ops = {
    .name = "vmm-console",
    .destroy = destroy,
    .set_scanout = set_scanout,
    .damage = damage,
    .set_cursor = set_cursor,
    .move_cursor = move_cursor,
    .query_outputs = query_outputs,
};

enum pv_status pv_vmm_console_create(const struct pv_vmm_console_params *params, struct pv_display **out)
{
	int fd = params->take_fd, buffer_bytes = BAND_MAX_BYTES;
	struct console *self = calloc(1, sizeof(*self));
	enum pv_status status = PV_ERR_NO_MEMORY;

	if (!self) {
		pv_fd_close(&fd);
		return status;
	}
	self->base.ops = &console_ops;
	self->params = *params;
	self->fd = fd;
	self->interval_ns = 1000000000ull / (params->max_fps ? params->max_fps : DEFAULT_MAX_FPS);
	self->features_wanted = true;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		self->heads[i].console = self;
		self->heads[i].waiter.ready = on_fetched;
	}
	status = pv_fd_set_nonblocking(fd, true);
	if (status == PV_OK)
		status = pv_loop_add_timer(self->params.loop, on_pace, self, &self->pace_timer);
	if (status == PV_OK)
		status = pv_loop_add_timer(self->params.loop, on_no_answer, self, &self->answer_timer);
	if (status == PV_OK)
		status = pv_loop_add_fd(self->params.loop, fd, PV_LOOP_READ, on_ready, self, &self->watch);
	if (status != PV_OK) {
		destroy(&self->base);
		return status;
	}
	self->watched_events = PV_LOOP_READ;
	/* Fewer wake-ups for a frame; the system may give less. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes));
	schedule(self);
	*out = &self->base;
	return PV_OK;
}

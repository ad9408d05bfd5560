/* SPDX-License-Identifier: MIT */
#include "device/meter.h"

#include <stdlib.h>

#include "base/loop.h"

#define SLOT_NS  100000000ull
#define NR_SLOTS 10

/* Frames of one tenth of a second; `period` says which one since the clock began. */
struct slot {
	uint64_t period;
	uint32_t frames;
};

struct meter {
	struct pv_display base;
	struct slot slots[PV_GPU_MAX_SCANOUTS][NR_SLOTS];
	/* The next damage is the core's, because the scanout is new, and no frame of the guest's. */
	bool is_new[PV_GPU_MAX_SCANOUTS];
	struct pv_meter_cursor cursor;
};

static void destroy(struct pv_display *display)
{
	free(PV_CONTAINER_OF(display, struct meter, base));
}

static void set_scanout(struct pv_display *display, uint32_t scanout_id, struct pv_frame *frame,
			const struct pv_rect *src)
{
	struct meter *meter = PV_CONTAINER_OF(display, struct meter, base);

	(void)src;
	meter->is_new[scanout_id] = frame != NULL;
}

static void damage(struct pv_display *display, uint32_t scanout_id, const struct pv_rect *rect)
{
	struct meter *meter = PV_CONTAINER_OF(display, struct meter, base);
	uint64_t period = pv_now_ns() / SLOT_NS;
	struct slot *slot = &meter->slots[scanout_id][period % NR_SLOTS];

	(void)rect;
	if (meter->is_new[scanout_id]) {
		meter->is_new[scanout_id] = false;
		return;
	}
	if (slot->period != period)
		*slot = (struct slot){.period = period};
	slot->frames++;
}

static void note_cursor(struct pv_display *display, const struct pv_cursor *cursor)
{
	struct meter *meter = PV_CONTAINER_OF(display, struct meter, base);

	meter->cursor = (struct pv_meter_cursor){
	    .scanout_id = cursor->scanout_id,
	    .x = cursor->x,
	    .y = cursor->y,
	    .hot_x = cursor->hot_x,
	    .hot_y = cursor->hot_y,
	    .visible = cursor->visible,
	};
}

static const struct pv_display_ops meter_ops = {
    .name = "meter",
    .destroy = destroy,
    .set_scanout = set_scanout,
    .damage = damage,
    .set_cursor = note_cursor,
    .move_cursor = note_cursor,
};

enum pv_status pv_meter_create(struct pv_display **out)
{
	struct meter *meter = calloc(1, sizeof(*meter));

	if (!meter)
		return PV_ERR_NO_MEMORY;
	meter->base.ops = &meter_ops;
	*out = &meter->base;
	return PV_OK;
}

uint32_t pv_meter_frames_per_second(const struct pv_display *display, uint32_t scanout_id, uint64_t now_ns)
{
	const struct meter *meter = (const struct meter *)(const void *)display;
	uint64_t now = now_ns / SLOT_NS;
	uint32_t frames = 0;

	for (size_t i = 0; i < NR_SLOTS; i++) {
		const struct slot *slot = &meter->slots[scanout_id][i];

		/* The tenth in progress counts in place of the oldest one. */
		if (slot->period <= now && slot->period + NR_SLOTS > now)
			frames += slot->frames;
	}
	return frames;
}

struct pv_meter_cursor pv_meter_cursor(const struct pv_display *display)
{
	const struct meter *meter = (const struct meter *)(const void *)display;

	return meter->cursor;
}

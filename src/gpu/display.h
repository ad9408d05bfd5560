/* SPDX-License-Identifier: MIT */
/*
 * A place to show the guest's scanouts. Displays are driven on the device thread and must not block it: they note the
 * damage and send or draw when their own consumer is ready, at their own pace (present = latest, never a queue). Before
 * they read a frame they have it fetched (pv_frame_fetch()).
 */
#ifndef PV_GPU_DISPLAY_H
#define PV_GPU_DISPLAY_H

#include "gpu/frame.h"

#define PV_GPU_MAX_SCANOUTS 16
#define PV_GPU_CURSOR_SIDE  64

/* One head as the guest's driver sees it: what GET_DISPLAY_INFO and GET_EDID are made of. */
struct pv_output {
	bool enabled;
	uint32_t x, y, width, height; /* preferred mode; 1..PV_FRAME_MAX_SIDE when enabled */
	uint32_t refresh_millihertz;  /* 0: 60 Hz */
	uint32_t width_mm, height_mm; /* 0: from 96 dpi */
};

struct pv_cursor {
	uint32_t scanout_id;
	/* Of the image's top left corner, whatever the hot spot is: Linux's driver and QEMU's consoles see it so. In
	 * scanout pixels; may be outside. */
	int32_t x, y;
	uint32_t hot_x, hot_y;
	bool visible;
	/* a8r8g8b8 pre-multiplied, host byte order, PV_GPU_CURSOR_SIDE squared. */
	uint32_t pixels[PV_GPU_CURSOR_SIDE * PV_GPU_CURSOR_SIDE];
};

struct pv_display {
	const struct pv_display_ops *ops;
	struct pv_display *next; /* the device core's list */
};

struct pv_display_ops {
	const char *name;
	/* Required. Releases the display; called once, after its last other call. */
	void (*destroy)(struct pv_display *display);
	/*
	 * Required. From now on `scanout_id` shows `src` of `frame` (ref it to keep it); NULL: the head is off. Full
	 * damage follows by pv_display_damage() from the core.
	 */
	void (*set_scanout)(struct pv_display *display, uint32_t scanout_id, struct pv_frame *frame,
			    const struct pv_rect *src);
	/* Required. `rect`, in scanout coordinates and inside the scanout, has new pixels. */
	void (*damage)(struct pv_display *display, uint32_t scanout_id, const struct pv_rect *rect);
	/* Optional. The image, hot spot or visibility changed; `cursor` is borrowed for the call. */
	void (*set_cursor)(struct pv_display *display, const struct pv_cursor *cursor);
	/* Optional. Only x, y or scanout_id changed. */
	void (*move_cursor)(struct pv_display *display, const struct pv_cursor *cursor);
	/*
	 * Optional: the display decides the guest's heads (a VMM's console). Asks it for their present state; it
	 * answers through pv_gpu_set_outputs() followed by pv_gpu_outputs_queried(), on the device thread, now or
	 * later.
	 */
	void (*query_outputs)(struct pv_display *display);
};

static inline void pv_display_destroy(struct pv_display *display)
{
	if (display)
		display->ops->destroy(display);
}

#endif

/* SPDX-License-Identifier: MIT */
/* A display that shows nothing and takes note: of the frames that the guest finishes, and of the cursor. Device thread.
 */
#ifndef PV_DEVICE_METER_H
#define PV_DEVICE_METER_H

#include "gpu/display.h"

PV_MUST_USE enum pv_status pv_meter_create(struct pv_display **out);

/* Frames in the second before `now_ns`, to a tenth of a second. */
uint32_t pv_meter_frames_per_second(const struct pv_display *meter, uint32_t scanout_id, uint64_t now_ns);

/* The cursor as it was last set or moved; all zero before. Its pixels are not kept. */
struct pv_meter_cursor {
	uint32_t scanout_id;
	int32_t x, y;
	uint32_t hot_x, hot_y;
	bool visible;
};
struct pv_meter_cursor pv_meter_cursor(const struct pv_display *meter);

#endif

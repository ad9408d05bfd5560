/* SPDX-License-Identifier: MIT */
/* A display that shows nothing and counts: how many frames a second the guest finishes on each head. Device thread. */
#ifndef PV_DEVICE_METER_H
#define PV_DEVICE_METER_H

#include "gpu/display.h"

PV_MUST_USE enum pv_status pv_meter_create(struct pv_display **out);

/* Frames in the second before `now_ns`, to a tenth of a second. */
uint32_t pv_meter_frames_per_second(const struct pv_display *meter, uint32_t scanout_id, uint64_t now_ns);

#endif

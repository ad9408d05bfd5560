/* SPDX-License-Identifier: MIT */
/* A display that keeps the last frame of every head and writes it as PNG, cursor included, on demand and at the end. */
#ifndef PV_DISPLAY_PNG_H
#define PV_DISPLAY_PNG_H

#include "gpu/display.h"

/* `path_at_exit`: each head that was on is written there when the display is destroyed (head 0 to the path itself, head
 * N to "name-N.png"); NULL: nothing is. */
PV_MUST_USE enum pv_status pv_png_display_create(const char *path_at_exit, struct pv_display **out);

/*
 * A screenshot is taken in two steps, so that the device thread only copies: the capture there, its encoding wherever
 * there is time to wait for a reader.
 */
struct pv_snapshot;
/*
 * Device thread. Has the head's picture brought up to date for the capture, as pv_frame_fetch(): false, the waiter is
 * told when it is. True also for a head that shows nothing.
 */
PV_MUST_USE bool pv_png_display_fetch(struct pv_display *display, uint32_t scanout_id, struct pv_frame_waiter *waiter);
/*
 * Device thread. The head's present picture, or its last one; the snapshot is the caller's and of no thread.
 * PV_ERR_ARGUMENT: that head shows nothing and never did.
 */
PV_MUST_USE enum pv_status pv_png_display_capture(struct pv_display *display, uint32_t scanout_id, bool with_cursor,
						  struct pv_snapshot **out);
/* Any thread. `fd` is borrowed and may be non-blocking. PV_ERR_HOST: writing failed, or its reader took nothing for 2
 * s. */
PV_MUST_USE enum pv_status pv_snapshot_write_png(const struct pv_snapshot *snapshot, int fd);
/* NULL is fine. */
void pv_snapshot_destroy(struct pv_snapshot *snapshot);

#endif

/* SPDX-License-Identifier: MIT */
/* A display that keeps the last frame of every head and writes it as PNG, cursor included, on demand and at the end. */
#ifndef PV_DISPLAY_PNG_H
#define PV_DISPLAY_PNG_H

#include "gpu/display.h"

/* `path_at_exit`: each head that was on is written there when the display is destroyed (head 0 to the path itself, head
 * N to "name-N.png"); NULL: nothing is. */
PV_MUST_USE enum pv_status pv_png_display_create(const char *path_at_exit, struct pv_display **out);

/*
 * Writes the head's present picture to `fd` (borrowed). Device thread. PV_ERR_ARGUMENT: that head shows nothing and
 * never did. PV_ERR_HOST: writing failed.
 */
PV_MUST_USE enum pv_status pv_png_display_write(struct pv_display *display, uint32_t scanout_id, bool with_cursor,
						int fd);

/*
 * The same in two steps, so that the device thread only copies: a capture there, its encoding wherever there is time.
 * The snapshot is the caller's and of no thread.
 */
struct pv_snapshot;
PV_MUST_USE enum pv_status pv_png_display_capture(struct pv_display *display, uint32_t scanout_id, bool with_cursor,
						  struct pv_snapshot **out);
/* PV_ERR_HOST: writing failed. */
PV_MUST_USE enum pv_status pv_snapshot_write_png(const struct pv_snapshot *snapshot, int fd);
/* NULL is fine. */
void pv_snapshot_destroy(struct pv_snapshot *snapshot);

#endif

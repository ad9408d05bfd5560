/* SPDX-License-Identifier: MIT */
/*
 * The VMM's own console: QEMU's vhost-user-gpu display socket (QEMU docs, "Vhost-user-gpu Protocol"). Never blocks:
 * what does not fit into the socket waits and coalesces; frames are sent at most `max_fps` times a second, the first at
 * once.
 */
#ifndef PV_DISPLAY_VMM_CONSOLE_H
#define PV_DISPLAY_VMM_CONSOLE_H

#include "base/loop.h"
#include "gpu/display.h"

struct pv_vmm_console_params {
	struct pv_loop *loop; /* the device loop */
	int take_fd;          /* connected; becomes non-blocking */
	uint32_t max_fps;     /* 0: 60 */
	/*
	 * The VMM's display takes dma-bufs. It does not say so itself: one that cannot shows nothing of them. Pictures
	 * that are none go as pixels all the same.
	 */
	bool send_dma_bufs;
	/* Device thread. The VMM says what its heads are; sizes are valid, refresh rate and millimetres are not given.
	 */
	void (*heads_changed)(void *user, const struct pv_output heads[PV_GPU_MAX_SCANOUTS]);
	/* Device thread, or from within query_outputs(): that question is answered, or will not be. */
	void (*queried)(void *user);
	void *user;
};

/* Device thread. The caller adds the display to the core. If the VMM hangs up, the display goes quiet (logged once). */
PV_MUST_USE enum pv_status pv_vmm_console_create(const struct pv_vmm_console_params *params, struct pv_display **out);

#endif

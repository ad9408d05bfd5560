/* SPDX-License-Identifier: MIT */
/*
 * The VMM's own console: QEMU's vhost-user-gpu display socket (QEMU docs, "Vhost-user-gpu Protocol"). Never blocks:
 * what does not fit into the socket waits and coalesces; frames are sent at most `max_fps` times a second, the first at
 * once.
 */
#ifndef PV_DISPLAY_VMM_CONSOLE_H
#define PV_DISPLAY_VMM_CONSOLE_H

#include "gpu/gpu.h"

struct pv_vmm_console_params {
	struct pv_gpu *gpu;   /* borrowed; gets the VMM's heads by pv_gpu_update_outputs() */
	struct pv_loop *loop; /* the device loop */
	int take_fd;          /* connected; becomes non-blocking */
	uint32_t max_fps;     /* 0: 60 */
};

/* Device thread. The caller adds the display to the core. If the VMM hangs up, the display goes quiet (logged once). */
PV_MUST_USE enum pv_status pv_vmm_console_create(const struct pv_vmm_console_params *params, struct pv_display **out);

#endif

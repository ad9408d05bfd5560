/* SPDX-License-Identifier: MIT */
/* The renderer that is always there: 2D resources and guest blobs, copied by the CPU. Owned by the device thread. */
#ifndef PV_RENDER2D_H
#define PV_RENDER2D_H

#include "gpu/renderer.h"

PV_MUST_USE enum pv_status pv_render2d_create(struct pv_renderer **out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Several renderers as one: a 2D one that also has the guest blobs, and 3D ones that each have their contexts and what
 * is made in them. A context's capability set says whose it is. Owned by the device thread.
 */
#ifndef PV_MUX_MUX_H
#define PV_MUX_MUX_H

#include "gpu/renderer.h"

#define PV_MUX_MAX_3D 4

/*
 * `take_3d` have contexts, and need of the other ops only resource_create, resource_destroy, create_fence, reset and
 * destroy. Where two offer the same set the first gets it.
 */
PV_MUST_USE enum pv_status pv_mux_create(struct pv_renderer *take_2d, struct pv_renderer *const *take_3d, size_t nr_3d,
					 struct pv_renderer **out);

#endif

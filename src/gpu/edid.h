/* SPDX-License-Identifier: MIT */
#ifndef PV_GPU_EDID_H
#define PV_GPU_EDID_H

#include "gpu/display.h"

#define PV_EDID_MAX_BYTES 256

/*
 * Writes the EDID 1.4 of `output` (whose preferred mode becomes its native timing) to `edid`; returns its size in
 * bytes, a multiple of 128. A mode that a detailed timing cannot hold (a side above 4095, a clock above 655 MHz) goes
 * into a DisplayID extension. `index` (0..15) makes serial numbers differ. Any thread.
 */
size_t pv_edid_write(const struct pv_output *output, uint32_t index, uint8_t edid[PV_EDID_MAX_BYTES]);

#endif

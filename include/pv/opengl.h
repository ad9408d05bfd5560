/* SPDX-License-Identifier: MIT */
/* The OpenGL of this host, as guests are given it by VirGL. */
#ifndef PV_OPENGL_H
#define PV_OPENGL_H

#include "pv/api.h"
#include "pv/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A JSON object in *out_json, to be freed with pv_free(): "library" (virglrenderer and its version), "name" and
 * "version", which is what the host's driver says of itself. Loads the driver, which takes a moment; any thread, but
 * not while a device with OpenGL lives in this process.
 *
 * PV_ERR_UNSUPPORTED: this build or this host has no OpenGL that can be used. PV_ERR_HOST: a device has it. Both are
 * logged.
 */
PV_API PV_MUST_USE enum pv_status pv_opengl_describe(char *PV_NULLABLE *PV_NONNULL out_json);

#ifdef __cplusplus
}
#endif

#endif

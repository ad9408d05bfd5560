/* SPDX-License-Identifier: MIT */
/* Which of the host's OpenGL libraries virglrenderer can use. */
#ifndef PV_VIRGL_OPENGL_H
#define PV_VIRGL_OPENGL_H

#include "base/base.h"

/* Flags of virgl_renderer_init. PV_ERR_UNSUPPORTED, logged, if there is no library: it would end the process. */
PV_MUST_USE enum pv_status pv_virgl_opengl_flags(int *out_flags);

#endif

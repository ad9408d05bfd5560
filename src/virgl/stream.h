/* SPDX-License-Identifier: MIT */
/*
 * Command buffers, as far as they must be understood here: most of what a guest takes from the host comes by commands
 * of the device, which counts it; what it takes by its command buffers is counted here, or refused.
 *
 * A buffer is looked through before the library gets it. What it ends counts as gone only if all of it was carried out:
 * of one that fails nobody knows how far it came, and from then on what that context ends stays counted until its own
 * end.
 */
#ifndef PV_VIRGL_STREAM_H
#define PV_VIRGL_STREAM_H

#include "virgl/virgl.h"

/* What Mesa's llvmpipe takes for a GL context. */
#define PV_VIRGL_CONTEXT_BYTES (UINT64_C(10) << 20)

/* A new context. False: those that there are hold too much (logged). */
PV_MUST_USE bool pv_virgl_stream_start(struct pv_virgl_context *context);
/* Before the library gets it. False: it is refused (logged), and the context is lost. */
PV_MUST_USE bool pv_virgl_stream_begin(struct pv_virgl_context *context, const uint32_t *commands, size_t nr_words);
/* After each pv_virgl_stream_begin(): whether all of it was carried out. */
void pv_virgl_stream_end(struct pv_virgl_context *context, bool done);
/* The context goes. */
void pv_virgl_stream_finish(struct pv_virgl_context *context);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Which blobs of other renderers (import.h) a context's commands may read: those that they name, and those that are
 * bound to be sampled. Bindings last from one command buffer to the next, so all are followed while a context has
 * imports. When in doubt the answer is yes: what is missed would be an old picture.
 */
#ifndef PV_VIRGL_SAMPLED_H
#define PV_VIRGL_SAMPLED_H

#include "virgl/virgl.h"

/* Marks (`wanted`) the context's imports that the command buffer may read. Nothing in it is checked. */
void pv_virgl_sampled_follow(struct pv_virgl_context *context, const uint32_t *commands, size_t nr_words);
/* Nothing is bound any more: the context has no imports. */
void pv_virgl_sampled_forget(struct pv_virgl_context *context);

#endif

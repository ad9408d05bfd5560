/* SPDX-License-Identifier: MIT */
/* SUBMIT_CMD2: command buffers, and syncs and fences for when their work has ended. */
#ifndef PV_TRANSPORT_VTEST_SUBMIT_H
#define PV_TRANSPORT_VTEST_SUBMIT_H

#include "transport/vtest/client.h"

/* 16 MiB; Mesa sends a few hundred bytes, the rest goes through the rings. */
#define PV_VTEST_MAX_SUBMIT_WORDS (4u << 20)
#define PV_VTEST_MAX_BATCHES      64u

enum pv_status pv_vtest_submit(struct pv_vtest_client *client, const struct pv_vtest_message *message);

/* Asks for one without syncs, on timeline 0. */
PV_MUST_USE enum pv_status pv_vtest_fence_add(struct pv_vtest_client *client);
/* The renderer has done what a fence was for; those before it on the same timeline count as done, too. */
void pv_vtest_fence_signalled(struct pv_vtest_client *client, uint32_t seqno);
/* Raises and sets nothing: the client is gone. */
void pv_vtest_fences_drop(struct pv_vtest_client *client);

#endif

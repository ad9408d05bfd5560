/* SPDX-License-Identifier: MIT */
/*
 * Survives a peer that cuts a shared file short under our mapping: touching the missing pages raises SIGBUS, and the
 * handler puts anonymous zero pages over the whole mapping. A guard installs the process's SIGBUS handler; faults
 * outside guarded mappings go to the handler that was there before.
 */
#ifndef PV_GUESTMEM_FAULT_GUARD_H
#define PV_GUESTMEM_FAULT_GUARD_H

#include "base/base.h"

struct pv_fault_guard;

/* `start` and `size_bytes` are page-aligned. Any thread. NULL: too many mappings (4096). */
struct pv_fault_guard *pv_fault_guard_add(void *start, size_t size_bytes);
/* Before the mapping goes. NULL is fine. */
void pv_fault_guard_remove(struct pv_fault_guard *guard);
/* Any thread: true once a fault was caught. */
bool pv_fault_guard_hit(const struct pv_fault_guard *guard);

#endif

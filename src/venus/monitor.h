/* SPDX-License-Identifier: MIT */
/*
 * Says "alive" on behalf of rings whose threads may be busy for long inside the host's driver: a guest that waits looks
 * for it every few seconds and gives up without. One thread for all rings, which sleeps while there are none.
 */
#ifndef PV_VENUS_MONITOR_H
#define PV_VENUS_MONITOR_H

#include "base/base.h"

struct pv_venus_monitor;

/* One ring, in the owner's storage; the fields are the monitor's. */
struct pv_venus_monitored {
	_Atomic uint32_t *status;
	uint64_t period_ns;
	struct pv_venus_monitored *next, *prev;
};

PV_MUST_USE enum pv_status pv_venus_monitor_create(struct pv_venus_monitor **out);
/* Nothing is monitored any more. NULL is fine. */
void pv_venus_monitor_destroy(struct pv_venus_monitor *monitor);
/*
 * Any thread. From now on `alive` is or'ed into *status in every period, and at once; periods below 50 ms are taken for
 * that. PV_ERR_NO_MEMORY: no thread.
 */
PV_MUST_USE enum pv_status pv_venus_monitor_add(struct pv_venus_monitor *monitor, struct pv_venus_monitored *entry,
						_Atomic uint32_t *status, uint64_t period_ns);
/* Any thread. Afterwards *status is not touched any more. */
void pv_venus_monitor_remove(struct pv_venus_monitor *monitor, struct pv_venus_monitored *entry);

#endif

/* SPDX-License-Identifier: MIT */
#include "venus/monitor.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/mutex.h"
#include "base/thread.h"
#include "venus/ring.h"

/* A hostile period must not make the thread spin. */
#define MIN_PERIOD_NS UINT64_C(50000000)

struct pv_venus_monitor {
	pthread_t thread;
	struct pv_mutex lock; /* a leaf; written to is the guests' memory alone */
	struct pv_condition changed;
	bool started PV_GUARDED_BY(lock);
	bool stop PV_GUARDED_BY(lock);
	struct pv_venus_monitored *first PV_GUARDED_BY(lock);
};

static void *monitor_thread(void *user)
{
	struct pv_venus_monitor *monitor = user;

	pv_mutex_lock(&monitor->lock);
	while (!monitor->stop) {
		uint64_t period_ns = UINT64_MAX;

		for (struct pv_venus_monitored *entry = monitor->first; entry; entry = entry->next) {
			/* The guest takes it away again; nothing else depends on it. */
			atomic_fetch_or_explicit(entry->status, PV_VENUS_RING_ALIVE, memory_order_relaxed);
			period_ns = pv_min_u64(period_ns, entry->period_ns);
		}
		if (period_ns == UINT64_MAX)
			pv_condition_wait(&monitor->changed, &monitor->lock);
		else
			pv_condition_wait_for(&monitor->changed, &monitor->lock, period_ns);
	}
	pv_mutex_unlock(&monitor->lock);
	return NULL;
}

enum pv_status pv_venus_monitor_create(struct pv_venus_monitor **out)
{
	struct pv_venus_monitor *monitor = calloc(1, sizeof(*monitor));

	if (!monitor)
		return PV_ERR_NO_MEMORY;
	pv_mutex_init(&monitor->lock);
	pv_condition_init(&monitor->changed);
	*out = monitor;
	return PV_OK;
}

void pv_venus_monitor_destroy(struct pv_venus_monitor *monitor)
{
	bool started;

	if (!monitor)
		return;
	pv_mutex_lock(&monitor->lock);
	(void)PV_NEVER(monitor->first != NULL);
	monitor->stop = true;
	started = monitor->started;
	pv_condition_signal(&monitor->changed);
	pv_mutex_unlock(&monitor->lock);
	if (started)
		pthread_join(monitor->thread, NULL);
	pv_condition_finish(&monitor->changed);
	pv_mutex_finish(&monitor->lock);
	free(monitor);
}

enum pv_status pv_venus_monitor_add(struct pv_venus_monitor *monitor, struct pv_venus_monitored *entry,
				    _Atomic uint32_t *status, uint64_t period_ns)
{
	enum pv_status result = PV_OK;

	pv_mutex_lock(&monitor->lock);
	if (!monitor->started)
		result = pv_thread_create("pv-venus-alive", monitor_thread, monitor, &monitor->thread);
	if (result == PV_OK) {
		monitor->started = true;
		*entry = (struct pv_venus_monitored){
		    .status = status,
		    .period_ns = period_ns > MIN_PERIOD_NS ? period_ns : MIN_PERIOD_NS,
		    .next = monitor->first,
		};
		if (entry->next)
			entry->next->prev = entry;
		monitor->first = entry;
		pv_condition_signal(&monitor->changed);
	}
	pv_mutex_unlock(&monitor->lock);
	return result;
}

void pv_venus_monitor_remove(struct pv_venus_monitor *monitor, struct pv_venus_monitored *entry)
{
	pv_mutex_lock(&monitor->lock);
	if (entry->next)
		entry->next->prev = entry->prev;
	if (entry->prev)
		entry->prev->next = entry->next;
	else
		monitor->first = entry->next;
	pv_mutex_unlock(&monitor->lock);
}

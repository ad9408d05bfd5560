/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <sys/qos.h>
#include <sys/sysctl.h>
#include <time.h>

#include "base/mutex.h"

void pv_thread_show_name(pthread_t thread, const char *name)
{
	/* Only the thread itself can set its name here: people do without. */
	(void)thread, (void)name;
}

void pv_thread_set_nice(int nice)
{
	(void)pthread_set_qos_class_self_np(nice > 0 ? QOS_CLASS_UTILITY : QOS_CLASS_USER_INTERACTIVE, 0);
}

void pv_thread_sleep_exactly(void)
{
	/* Timers are coalesced by quality of service. */
	(void)pthread_set_qos_class_self_np(QOS_CLASS_USER_INTERACTIVE, 0);
}

void pv_thread_sleep_ns(uint64_t duration_ns)
{
	const struct timespec duration = {(time_t)(duration_ns / 1000000000u), (long)(duration_ns % 1000000000u)};

	(void)nanosleep(&duration, NULL);
}

uint32_t pv_thread_nr_cpus(void)
{
	int count = 1;
	size_t len = sizeof(count);

	(void)sysctlbyname("hw.activecpu", &count, &len, NULL, 0);
	return count > 0 ? (uint32_t)count : 1;
}

void pv_condition_wait_for(struct pv_condition *condition, struct pv_mutex *mutex, uint64_t timeout_ns)
{
	const struct timespec duration = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};

	(void)pthread_cond_timedwait_relative_np(&condition->native, &mutex->native, &duration);
}

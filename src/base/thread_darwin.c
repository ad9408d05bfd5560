/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <signal.h>
#include <sys/qos.h>
#include <sys/sysctl.h>
#include <time.h>

#include "base/log.h"
#include "base/mutex.h"

#define STACK_BYTES (8u << 20)

enum pv_status pv_thread_create(const char *name, void *(*run)(void *user), void *user, pthread_t *out)
{
	static const int faults[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP};
	sigset_t all, before;
	pthread_attr_t attr;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* Inherited: signals are for the main thread, but for those of its own faults, which have handlers. */
	sigfillset(&all);
	for (size_t i = 0; i < PV_ARRAY_LEN(faults); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(out, &attr, run, user);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (error) {
		PV_LOG_LIMITED(PV_LOG_ERROR, "thread", "no thread for %s: error %d", name, error);
		return PV_ERR_NO_MEMORY;
	}
	/* Only the thread itself can set its name here: people do without. */
	return PV_OK;
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

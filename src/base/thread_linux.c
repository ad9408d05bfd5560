/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mutex.h"

#define STACK_BYTES (8u << 20)

enum pv_status pv_thread_create(const char *name, void *(*run)(void *user), void *user, pthread_t *out)
{
	static const int faults[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP};
	sigset_t all, before;
	pthread_attr_t attr;
	char shown[16];
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
	for (size_t i = 0; i < sizeof(shown); i++) {
		shown[i] = i + 1 < sizeof(shown) ? name[i] : '\0';
		if (!shown[i])
			break;
	}
	(void)pthread_setname_np(*out, shown);
	return PV_OK;
}

void pv_thread_set_nice(int nice)
{
	/* Linux keeps it per thread, whatever POSIX says. */
	(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice);
}

void pv_thread_sleep_exactly(void)
{
	(void)prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
}

void pv_thread_sleep_ns(uint64_t duration_ns)
{
	const struct timespec duration = {(time_t)(duration_ns / 1000000000u), (long)(duration_ns % 1000000000u)};

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, NULL);
}

uint32_t pv_thread_nr_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

void pv_condition_wait_for(struct pv_condition *condition, struct pv_mutex *mutex, uint64_t timeout_ns)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	timeout_ns += (uint64_t)deadline.tv_nsec;
	deadline.tv_sec += (time_t)(timeout_ns / 1000000000u);
	deadline.tv_nsec = (long)(timeout_ns % 1000000000u);
	(void)pthread_cond_clockwait(&condition->native, &mutex->native, CLOCK_MONOTONIC, &deadline);
}

/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mutex.h"

void pv_thread_show_name(pthread_t thread, const char *name)
{
	char shown[16];

	for (size_t i = 0; i < sizeof(shown); i++) {
		shown[i] = i + 1 < sizeof(shown) ? name[i] : '\0';
		if (!shown[i])
			break;
	}
	(void)pthread_setname_np(thread, shown);
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

/* SPDX-License-Identifier: MIT */
/* Threads, where POSIX leaves something open. */
#ifndef PV_BASE_THREAD_H
#define PV_BASE_THREAD_H

#include <pthread.h>

#include "base/base.h"

struct pv_condition;
struct pv_mutex;

/*
 * A thread with a stack that a shader compiler can live with, no signals but those of its own faults. `name` is for
 * people; 15 bytes of it are shown. PV_ERR_NO_MEMORY: the system has no more threads. Any thread; to be joined with
 * pthread_join().
 */
PV_MUST_USE enum pv_status pv_thread_create(const char *name, void *(*run)(void *user), void *user, pthread_t *out);

/* Where the system can show it; pv_thread_create() does it. */
void pv_thread_show_name(pthread_t thread, const char *name);

/* The calling thread's; best effort, as far as the process may. */
void pv_thread_set_nice(int nice);
/* Sleeps of the calling thread end on time, not some 50 us later, which saves the system wake-ups. */
void pv_thread_sleep_exactly(void);
/* Can end early. */
void pv_thread_sleep_ns(uint64_t duration_ns);
uint32_t pv_thread_nr_cpus(void);

/* As pv_condition_wait(), at most for `timeout_ns`. */
void pv_condition_wait_for(struct pv_condition *condition, struct pv_mutex *mutex, uint64_t timeout_ns);

/* For loops that wait for another CPU: lets the other thread of the core run. */
static inline void pv_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most cores */
#endif
}

#endif

/* SPDX-License-Identifier: MIT */
/* A mutex and a condition that clang's thread-safety analysis understands. */
#ifndef PV_BASE_MUTEX_H
#define PV_BASE_MUTEX_H

#include <pthread.h>

#include "base/base.h"

#if defined(__clang__)
#define PV_CAPABILITY    __attribute__((capability("mutex")))
#define PV_ACQUIRE(lock) __attribute__((acquire_capability(lock)))
#define PV_RELEASE(lock) __attribute__((release_capability(lock)))
#define PV_UNCHECKED     __attribute__((no_thread_safety_analysis))
#else
#define PV_CAPABILITY
#define PV_ACQUIRE(lock)
#define PV_RELEASE(lock)
#define PV_UNCHECKED
#endif

struct PV_CAPABILITY pv_mutex {
	pthread_mutex_t native;
};

struct pv_condition {
	pthread_cond_t native;
};

#define PV_MUTEX_INITIALIZER {PTHREAD_MUTEX_INITIALIZER}

static inline void pv_mutex_init(struct pv_mutex *mutex)
{
	pthread_mutex_init(&mutex->native, NULL);
}

static inline void pv_mutex_finish(struct pv_mutex *mutex)
{
	pthread_mutex_destroy(&mutex->native);
}

static inline void pv_mutex_lock(struct pv_mutex *mutex) PV_ACQUIRE(*mutex) PV_UNCHECKED
{
	pthread_mutex_lock(&mutex->native);
}

static inline void pv_mutex_unlock(struct pv_mutex *mutex) PV_RELEASE(*mutex) PV_UNCHECKED
{
	pthread_mutex_unlock(&mutex->native);
}

static inline void pv_condition_init(struct pv_condition *condition)
{
	pthread_cond_init(&condition->native, NULL);
}

static inline void pv_condition_finish(struct pv_condition *condition)
{
	pthread_cond_destroy(&condition->native);
}

static inline void pv_condition_signal(struct pv_condition *condition)
{
	pthread_cond_signal(&condition->native);
}

static inline void pv_condition_wait(struct pv_condition *condition, struct pv_mutex *mutex) PV_REQUIRES(*mutex)
{
	pthread_cond_wait(&condition->native, &mutex->native);
}

#endif

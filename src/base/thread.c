/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <signal.h>

#include "base/log.h"

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
	pv_thread_show_name(*out, name);
	return PV_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * The handler may run on any thread at any instruction, so it takes no lock: it scans a static table. A slot's `size`
 * is written last when it is filled and first when it is emptied; 0 means free.
 */
#include "guestmem/fault_guard.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/mutex.h"

#define MAX_GUARDS 4096

struct pv_fault_guard {
	_Atomic uintptr_t start;
	_Atomic size_t size; /* release here, acquire in the handler */
	_Atomic bool hit;
};

static struct pv_fault_guard guards[MAX_GUARDS];
static _Atomic unsigned nr_used; /* slots ever used: bounds the scan */
static struct sigaction previous;
static struct pv_mutex lock = PV_MUTEX_INITIALIZER;

static void handle_fault(int signo, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	unsigned n = atomic_load_explicit(&nr_used, memory_order_acquire);

	for (unsigned i = 0; i < n; i++) {
		struct pv_fault_guard *guard = &guards[i];
		size_t size = atomic_load_explicit(&guard->size, memory_order_acquire);
		uintptr_t start = atomic_load_explicit(&guard->start, memory_order_relaxed);

		if (size == 0 || address - start >= size)
			continue;
		if (mmap((void *)start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		    MAP_FAILED)
			break;
		atomic_store_explicit(&guard->hit, true, memory_order_release);
		return;
	}

	/* Not ours. */
	if (previous.sa_flags & SA_SIGINFO)
		previous.sa_sigaction(signo, info, context);
	else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
		previous.sa_handler(signo);
	else
		signal(signo, SIG_DFL); /* the access is repeated and ends the process as it should */
}

/* Each time anew: whoever took the signal in between becomes the one we pass foreign faults on to. */
static void install(void) PV_REQUIRES(lock)
{
	struct sigaction action = {.sa_sigaction = handle_fault, .sa_flags = SA_SIGINFO | SA_NODEFER}, present;

	if (sigaction(SIGBUS, NULL, &present) != 0)
		return;
	if ((present.sa_flags & SA_SIGINFO) && present.sa_sigaction == handle_fault)
		return;
	previous = present;
	sigemptyset(&action.sa_mask);
	(void)sigaction(SIGBUS, &action, NULL);
}

struct pv_fault_guard *pv_fault_guard_add(void *start, size_t size_bytes)
{
	struct pv_fault_guard *guard = NULL;

	pv_mutex_lock(&lock);
	install();
	for (unsigned i = 0; i < MAX_GUARDS && !guard; i++)
		if (atomic_load_explicit(&guards[i].size, memory_order_relaxed) == 0)
			guard = &guards[i];
	if (guard) {
		atomic_store_explicit(&guard->hit, false, memory_order_relaxed);
		atomic_store_explicit(&guard->start, (uintptr_t)start, memory_order_relaxed);
		atomic_store_explicit(&guard->size, size_bytes, memory_order_release);
		unsigned used = (unsigned)(guard - guards) + 1;
		if (used > atomic_load_explicit(&nr_used, memory_order_relaxed))
			atomic_store_explicit(&nr_used, used, memory_order_release);
	}
	pv_mutex_unlock(&lock);
	return guard;
}

void pv_fault_guard_remove(struct pv_fault_guard *guard)
{
	if (!guard)
		return;
	pv_mutex_lock(&lock);
	atomic_store_explicit(&guard->size, 0, memory_order_release);
	pv_mutex_unlock(&lock);
}

bool pv_fault_guard_hit(const struct pv_fault_guard *guard)
{
	return atomic_load_explicit(&guard->hit, memory_order_acquire);
}

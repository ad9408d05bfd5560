/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into demo programs, so that what they show can be compared with what another driver shows:
 * - the clock they animate by goes on by a fixed step at each look and stops at STILL_MS (default 1000); at HELD_LOOKS
 *   looks behind that, the file STILL_MARK is made: from then on only one picture is drawn, again and again;
 * - vkcube, which turns by frames, draws STILL_FRAMES of them (default 37), then makes the file and waits for ever.
 * Drivers and libraries keep the true time: only the program itself is looked at.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define STEP_NS    50000000ull
#define HELD_LOOKS 60u

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *out);
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict out, void *restrict zone);
__attribute__((visibility("default"))) void *dlsym(void *restrict handle, const char *restrict name);

static uintptr_t program_begin, program_end;
static atomic_ullong looks;

static void mark(void)
{
	const char *path = getenv("STILL_MARK");
	int fd = path ? open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644) : -1;

	if (fd >= 0)
		close(fd);
}

/* The program itself is the first that is reported. */
static int find_program(struct dl_phdr_info *info, size_t size, void *user)
{
	(void)size;
	(void)user;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t begin = info->dlpi_addr + header->p_vaddr, end = begin + header->p_memsz;

		if (header->p_type != PT_LOAD)
			continue;
		if (!program_begin || begin < program_begin)
			program_begin = begin;
		if (end > program_end)
			program_end = end;
	}
	return 1;
}

__attribute__((constructor)) static void start(void)
{
	dl_iterate_phdr(find_program, NULL);
}

static bool of_program(const void *address)
{
	return (uintptr_t)address >= program_begin && (uintptr_t)address < program_end;
}

static uint64_t still_ns(void)
{
	const char *text = getenv("STILL_MS");
	uint64_t stop = (text ? strtoull(text, NULL, 10) : 1000) * 1000000ull;
	uint64_t look = atomic_fetch_add_explicit(&looks, 1, memory_order_relaxed);

	if (look == stop / STEP_NS + HELD_LOOKS)
		mark();
	/* Never 0: programs take that for "not yet". */
	return 1000000000ull + (look * STEP_NS < stop ? look * STEP_NS : stop);
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	static int (*real)(clockid_t, struct timespec *);
	uint64_t now;

	if (!real)
		*(void **)&real = dlvsym(RTLD_NEXT, "clock_gettime", "GLIBC_2.17");
	if (!of_program(__builtin_return_address(0)) || (id != CLOCK_MONOTONIC && id != CLOCK_REALTIME))
		return real(id, out);
	now = still_ns();
	*out = (struct timespec){(time_t)(now / 1000000000u), (long)(now % 1000000000u)};
	return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	static int (*real)(struct timeval *, void *);
	uint64_t now;

	if (!real)
		*(void **)&real = dlvsym(RTLD_NEXT, "gettimeofday", "GLIBC_2.2.5");
	if (!of_program(__builtin_return_address(0)))
		return real(out, zone);
	now = still_ns();
	*out = (struct timeval){(time_t)(now / 1000000000u), (suseconds_t)(now % 1000000000u / 1000)};
	return 0;
}

static void *(*real_poll)(void *connection);

/* It looks for events before each frame. The threads of the swapchain go on and present what was drawn. */
static void *poll_for_event(void *connection)
{
	static unsigned long drawn;
	const char *text = getenv("STILL_FRAMES");
	void *event = real_poll(connection);

	if (event || drawn++ < (text ? strtoul(text, NULL, 10) : 37))
		return event;
	mark();
	for (;;)
		pause();
}

/* vkcube looks its X functions up itself. */
void *dlsym(void *restrict handle, const char *restrict name)
{
	static void *(*real)(void *, const char *);

	if (!real)
		*(void **)&real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	if (strcmp(name, "xcb_poll_for_event") == 0 && of_program(__builtin_return_address(0))) {
		*(void **)&real_poll = real(handle, name);
		return (void *)(uintptr_t)poll_for_event;
	}
	/* A jump: what RTLD_NEXT means is seen from the caller. */
	return real(handle, name);
}

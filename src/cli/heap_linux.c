/* SPDX-License-Identifier: MIT */
#include "cli/heap.h"

#include <malloc.h>

void cli_keep_heap(void)
{
#ifdef M_TRIM_THRESHOLD /* of glibc; others keep what they keep */
	/*
	 * What is freed at the end of the heap stays there: a picture on its way through virglrenderer is one piece of
	 * memory, and fresh pages for each cost more than its copy. These are the limits up to which glibc's own would
	 * grow, which a limit that is set keeps from growing.
	 */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	/* Grown by as much at a time: the default of 128 KiB is a system call for every few hundred draws. */
	mallopt(M_TOP_PAD, 1 << 20);
#endif
}

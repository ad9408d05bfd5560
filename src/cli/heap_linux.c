/* SPDX-License-Identifier: MIT */
#include "cli/heap.h"

#include <malloc.h>

void cli_keep_heap(void)
{
#ifdef M_TRIM_THRESHOLD /* of glibc; others keep what they keep */
	mallopt(M_TRIM_THRESHOLD, 32 << 20);
	/* Grown by as much at a time: the default of 128 KiB is a system call for every few hundred draws. */
	mallopt(M_TOP_PAD, 1 << 20);
	/* The two above end its growth by itself. Pictures are larger, and go back when they are freed. */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

/* SPDX-License-Identifier: MIT */
#include "cli/heap.h"

/* Its heap keeps what was freed. */
void cli_keep_heap(void)
{
}

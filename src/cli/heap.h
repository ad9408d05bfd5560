/* SPDX-License-Identifier: MIT */
#ifndef PV_CLI_HEAP_H
#define PV_CLI_HEAP_H

/*
 * Before the host's Vulkan is used. Drivers free megabytes with each command buffer that is recorded anew and allocate
 * them again: the heap keeps up to 32 MiB of them for each thread, instead of giving them back to the kernel each
 * frame.
 */
void cli_keep_heap(void);

#endif

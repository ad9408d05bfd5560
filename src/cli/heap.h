/* SPDX-License-Identifier: MIT */
#ifndef PV_CLI_HEAP_H
#define PV_CLI_HEAP_H

/*
 * Before the host's Vulkan or OpenGL is used. Drivers free megabytes with each command buffer that is recorded anew,
 * and virglrenderer with each picture that passes through, and allocate them again: the heap keeps up to 64 MiB of them
 * for each of its arenas, instead of giving them back to the kernel each time.
 */
void cli_keep_heap(void);

#endif

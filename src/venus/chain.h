/* SPDX-License-Identifier: MIT */
/*
 * pNext chains. Those of decoded commands lie in the decoder's arena and are ours to change until the command ends;
 * the generated types call them const since Vulkan does.
 */
#ifndef PV_VENUS_CHAIN_H
#define PV_VENUS_CHAIN_H

#include <vulkan/vulkan.h>

#include "base/base.h"

/* The struct of that type in a chain that starts at `next`; NULL: there is none. */
static inline void *pv_venus_chain_find(const void *next, VkStructureType type)
{
	for (VkBaseOutStructure *s = (VkBaseOutStructure *)(uintptr_t)next; s; s = s->pNext)
		if (s->sType == type)
			return s;
	return NULL;
}

/* Takes the struct of that type out of the chain below `head` (a struct of ours, or one in the arena). */
static inline void *pv_venus_chain_take(const void *head, VkStructureType type)
{
	VkBaseOutStructure *before = (VkBaseOutStructure *)(uintptr_t)head;

	for (; before->pNext; before = before->pNext) {
		VkBaseOutStructure *found = before->pNext;

		if (found->sType == type) {
			before->pNext = found->pNext;
			return found;
		}
	}
	return NULL;
}

/* Puts a struct right behind `head`. It must live as long. */
static inline void pv_venus_chain_push(const void *head, void *take_node)
{
	VkBaseOutStructure *first = (VkBaseOutStructure *)(uintptr_t)head, *node = take_node;

	node->pNext = first->pNext;
	first->pNext = node;
}

#endif

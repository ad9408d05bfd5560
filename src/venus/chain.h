/* SPDX-License-Identifier: MIT */
/*
 * pNext chains. Those of decoded commands lie in the decoder's arena and are ours to change until the command ends;
 * the generated types call them const since Vulkan does.
 */
#ifndef PV_VENUS_CHAIN_H
#define PV_VENUS_CHAIN_H

#include <vulkan/vulkan.h>

#include "base/base.h"

/* What all of them begin with. Vulkan's own VkBaseOutStructure may not be used to change one that is of another type.
 */
struct pv_venus_link {
	VkStructureType type;
	struct pv_venus_link *next;
} __attribute__((may_alias));

/* The struct of that type in a chain that starts at `first`; NULL: there is none. */
static inline void *pv_venus_chain_find(const void *first, VkStructureType type)
{
	struct pv_venus_link *link = (struct pv_venus_link *)(uintptr_t)first;

	while (link && link->type != type)
		link = link->next;
	return link;
}

/* What stands before the struct of that type in the chain below `head`; its `next` is NULL: there is none. */
static inline struct pv_venus_link *pv_venus_chain_before(const void *head, VkStructureType type)
{
	struct pv_venus_link *link = (struct pv_venus_link *)(uintptr_t)head;

	while (link->next && link->next->type != type)
		link = link->next;
	return link;
}

/* Takes the struct of that type out of the chain below `head` (a struct of ours, or one in the arena). */
static inline void *pv_venus_chain_take(const void *head, VkStructureType type)
{
	struct pv_venus_link *before = pv_venus_chain_before(head, type), *found = before->next;

	if (found)
		before->next = found->next;
	return found;
}

/* Puts a struct right behind `head`. It must live as long. */
static inline void pv_venus_chain_push(const void *head, void *take_node)
{
	struct pv_venus_link *first = (struct pv_venus_link *)(uintptr_t)head, *node = take_node;

	node->next = first->next;
	first->next = node;
}

#endif

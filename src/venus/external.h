/* SPDX-License-Identifier: MIT */
/*
 * Memory, buffers and images that the guest shares under handle types of its own kernel (dma-bufs, opaque fds). On the
 * host they are bound to memory imported by its address, so that is the handle type they are created with.
 *
 * Images with a format modifier are linear ones: LINEAR is the only modifier there is.
 */
#ifndef PV_VENUS_EXTERNAL_H
#define PV_VENUS_EXTERNAL_H

#include "venus/chain.h"
#include "venus/handler.h"

/* The guest's handle types that stand for shared memory. */
#define PV_VENUS_SHARED_HANDLES                                                                                        \
	(VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT | VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT)

#define PV_VENUS_LINEAR_MODIFIER UINT64_C(0)

/* object->extra of buffers and images: a word of facts, not a pointer. Bits 3 to 33: format, above: array layers. */
#define PV_VENUS_TRAIT_SHARED                    ((uintptr_t)1) /* bound to memory that the guest shares: importable types only */
#define PV_VENUS_TRAIT_MODIFIER                  ((uintptr_t)2) /* created with a format modifier */
#define PV_VENUS_TRAIT_PLANES                    ((uintptr_t)4) /* of a format with several planes */
#define PV_VENUS_TRAITS_OF_IMAGE(format, layers) ((uintptr_t)(format) << 3 | (uintptr_t)(layers) << 34)
#define PV_VENUS_TRAIT_FORMAT(traits)            ((VkFormat)((traits) >> 3 & 0x7fffffff))
#define PV_VENUS_TRAIT_LAYERS(traits)            ((uint32_t)((traits) >> 34))
_Static_assert(sizeof(uintptr_t) == 8, "a word holds all of it");

static inline uintptr_t pv_venus_traits(const struct pv_venus_object *object)
{
	return (uintptr_t)atomic_load_explicit(&object->extra, memory_order_relaxed);
}

/* What is shared must be bound to memory that can be. */
void pv_venus_restrict_types(const struct pv_venus_decoder *d, uintptr_t traits, VkMemoryRequirements *requirements);

/* What the guest is told of memory it shares. */
void pv_venus_shared_memory_properties(VkExternalMemoryProperties *out);

/* Structs that are hidden from the driver while it fills a chain, and are put back in their places. */
struct pv_venus_hidden {
	struct pv_venus_link *before, *node;
};
/* NULL: there is none of that type. */
void *pv_venus_hide(struct pv_venus_hidden *hidden, void *head, VkStructureType type);
/* In the reverse order of hiding. */
void pv_venus_unhide(const struct pv_venus_hidden *hidden);

/*
 * Makes creation info one for the host's driver: the guest's handle types go, ours is added where the driver takes it
 * (`ours` is linked into the chain and must live as long). Returns the traits.
 */
uintptr_t pv_venus_adapt_buffer(struct pv_venus_decoder *d, VkPhysicalDevice physical_device, VkBufferCreateInfo *info,
				VkExternalMemoryBufferCreateInfo *ours);
/* VK_ERROR_*: no such image can be. *out_traits is set on success. */
VkResult pv_venus_adapt_image(struct pv_venus_decoder *d, VkPhysicalDevice physical_device, VkImageCreateInfo *info,
			      VkExternalMemoryImageCreateInfo *ours, uintptr_t *out_traits);

#endif

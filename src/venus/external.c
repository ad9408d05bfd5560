/* SPDX-License-Identifier: MIT */
#include "venus/external.h"

#include "venus/chain.h"
#include "venus/formats.h"
#include "venus/host.h"

#define OUR_HANDLE VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT

void pv_venus_shared_memory_properties(VkExternalMemoryProperties *out)
{
	out->externalMemoryFeatures =
	    VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
	out->exportFromImportedHandleTypes = PV_VENUS_SHARED_HANDLES;
	out->compatibleHandleTypes = PV_VENUS_SHARED_HANDLES;
}

void pv_venus_restrict_types(const struct pv_venus_decoder *d, uintptr_t traits, VkMemoryRequirements *requirements)
{
	if (traits & PV_VENUS_TRAIT_SHARED)
		requirements->memoryTypeBits &= d->context->host_device->importable_types;
}

void *pv_venus_hide(struct pv_venus_hidden *hidden, void *head, VkStructureType type)
{
	hidden->before = pv_venus_chain_before(head, type);
	hidden->node = hidden->before->next;
	if (hidden->node)
		hidden->before->next = hidden->node->next;
	return hidden->node;
}

void pv_venus_unhide(const struct pv_venus_hidden *hidden)
{
	if (!hidden->node)
		return;
	hidden->node->next = hidden->before->next;
	hidden->before->next = hidden->node;
}

/* ---- Buffers ---- */

static bool buffer_takes_import(const struct pv_venus_context *context, VkPhysicalDevice physical_device,
				const VkBufferCreateInfo *info)
{
	VkPhysicalDeviceExternalBufferInfo query = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
	    .flags = info->flags,
	    .usage = info->usage,
	    .handleType = OUR_HANDLE,
	};
	VkExternalBufferProperties properties = {.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
	const VkBufferUsageFlags2CreateInfo *usage =
	    pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO);
	VkBufferUsageFlags2CreateInfo usage_copy;

	if (usage) {
		usage_copy = *usage;
		usage_copy.pNext = NULL;
		query.pNext = &usage_copy;
	}
	context->instance_fn.GetPhysicalDeviceExternalBufferProperties(physical_device, &query, &properties);
	return properties.externalMemoryProperties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
}

uintptr_t pv_venus_adapt_buffer(struct pv_venus_decoder *d, VkPhysicalDevice physical_device, VkBufferCreateInfo *info,
				VkExternalMemoryBufferCreateInfo *ours)
{
	bool shared = pv_venus_chain_take(info, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO) != NULL;

	/* Any buffer may be bound to memory the guest maps. */
	if (buffer_takes_import(d->context, physical_device, info)) {
		*ours = (VkExternalMemoryBufferCreateInfo){
		    .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO, .handleTypes = OUR_HANDLE};
		pv_venus_chain_push(info, ours);
	}
	return shared ? PV_VENUS_TRAIT_SHARED : 0;
}

/* ---- Images ---- */

static bool image_takes_import(const struct pv_venus_context *context, VkPhysicalDevice physical_device,
			       const VkImageCreateInfo *info)
{
	VkPhysicalDeviceExternalImageFormatInfo external = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO, .handleType = OUR_HANDLE};
	VkPhysicalDeviceImageFormatInfo2 query = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2,
	    .pNext = &external,
	    .format = info->format,
	    .type = info->imageType,
	    .tiling = info->tiling,
	    .usage = info->usage,
	    .flags = info->flags,
	};
	VkExternalImageFormatProperties import = {.sType = VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES};
	VkImageFormatProperties2 properties = {.sType = VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, .pNext = &import};
	const VkImageStencilUsageCreateInfo *stencil =
	    pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_IMAGE_STENCIL_USAGE_CREATE_INFO);
	const VkImageFormatListCreateInfo *formats =
	    pv_venus_chain_find(info->pNext, VK_STRUCTURE_TYPE_IMAGE_FORMAT_LIST_CREATE_INFO);
	VkImageStencilUsageCreateInfo stencil_copy;
	VkImageFormatListCreateInfo formats_copy;

	if (stencil) {
		stencil_copy = *stencil;
		stencil_copy.pNext = query.pNext;
		query.pNext = &stencil_copy;
	}
	if (formats) {
		formats_copy = *formats;
		formats_copy.pNext = query.pNext;
		query.pNext = &formats_copy;
	}
	return context->instance_fn.GetPhysicalDeviceImageFormatProperties2(physical_device, &query, &properties) ==
		   VK_SUCCESS &&
	       (import.externalMemoryProperties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT) &&
	       info->samples & properties.imageFormatProperties.sampleCounts &&
	       info->extent.width <= properties.imageFormatProperties.maxExtent.width &&
	       info->extent.height <= properties.imageFormatProperties.maxExtent.height &&
	       info->extent.depth <= properties.imageFormatProperties.maxExtent.depth &&
	       info->mipLevels <= properties.imageFormatProperties.maxMipLevels &&
	       info->arrayLayers <= properties.imageFormatProperties.maxArrayLayers;
}

/*
 * Optimal images live in the driver's own memory as a rule, and drivers compress only what is not external. Where all
 * device-local memory is importable (one memory for CPU and GPU) they are bound to it all the same.
 */
static bool all_is_importable(const struct pv_venus_host_device *host)
{
	for (uint32_t i = 0; i < host->memory.memoryTypeCount; i++)
		if ((host->memory.memoryTypes[i].propertyFlags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) &&
		    !(host->importable_types & (1u << i)))
			return false;
	return true;
}

static bool has_linear(const VkImageDrmFormatModifierListCreateInfoEXT *list)
{
	for (uint32_t i = 0; i < list->drmFormatModifierCount; i++)
		if (list->pDrmFormatModifiers[i] == PV_VENUS_LINEAR_MODIFIER)
			return true;
	return false;
}

VkResult pv_venus_adapt_image(struct pv_venus_decoder *d, VkPhysicalDevice physical_device, VkImageCreateInfo *info,
			      VkExternalMemoryImageCreateInfo *ours, uintptr_t *out_traits)
{
	const VkImageDrmFormatModifierListCreateInfoEXT *list =
	    pv_venus_chain_take(info, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT);
	const VkImageDrmFormatModifierExplicitCreateInfoEXT *given =
	    pv_venus_chain_take(info, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT);
	bool shared = pv_venus_chain_take(info, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO) != NULL;
	uintptr_t traits = PV_VENUS_TRAITS_OF_IMAGE(info->format, info->arrayLayers & 0xffffff);

	if (shared)
		traits |= PV_VENUS_TRAIT_SHARED;
	if (pv_venus_format_planes(info->format) > 1)
		traits |= PV_VENUS_TRAIT_PLANES;
	if (info->tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT) {
		/* Each plane in memory of its own is more than pages that anyone reads. */
		if ((info->flags & VK_IMAGE_CREATE_DISJOINT_BIT) ||
		    (!(list && has_linear(list)) && !(given && given->drmFormatModifier == PV_VENUS_LINEAR_MODIFIER)))
			return VK_ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT;
		info->tiling = VK_IMAGE_TILING_LINEAR;
		traits |= PV_VENUS_TRAIT_MODIFIER;
	}
	if ((info->tiling == VK_IMAGE_TILING_LINEAR || all_is_importable(d->context->host_device)) &&
	    image_takes_import(d->context, physical_device, info)) {
		*ours = (VkExternalMemoryImageCreateInfo){.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO,
							  .handleTypes = OUR_HANDLE};
		pv_venus_chain_push(info, ours);
		/* Vulkan wants external images to start so: see barrier.h. */
		info->initialLayout = VK_IMAGE_LAYOUT_UNDEFINED;
	}
	*out_traits = traits;
	return VK_SUCCESS;
}

/* ---- What the guest asks beforehand ---- */

void pv_venus_handle_vkGetPhysicalDeviceExternalBufferProperties(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceExternalBufferProperties *args)
{
	VkExternalMemoryProperties *out = &args->pExternalBufferProperties->externalMemoryProperties;

	(void)d;
	*out = (VkExternalMemoryProperties){.compatibleHandleTypes = args->pExternalBufferInfo->handleType};
	if (args->pExternalBufferInfo->handleType & PV_VENUS_SHARED_HANDLES)
		pv_venus_shared_memory_properties(out);
}

void pv_venus_handle_vkGetPhysicalDeviceExternalFenceProperties(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceExternalFenceProperties *args)
{
	VkExternalFenceProperties *out = args->pExternalFenceProperties;

	(void)d;
	out->compatibleHandleTypes = args->pExternalFenceInfo->handleType;
	out->exportFromImportedHandleTypes = 0;
	out->externalFenceFeatures = 0;
	if (args->pExternalFenceInfo->handleType == VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT) {
		out->exportFromImportedHandleTypes = VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT;
		out->externalFenceFeatures =
		    VK_EXTERNAL_FENCE_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_FENCE_FEATURE_IMPORTABLE_BIT;
	}
}

void pv_venus_handle_vkGetPhysicalDeviceExternalSemaphoreProperties(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceExternalSemaphoreProperties *args)
{
	VkExternalSemaphoreProperties *out = args->pExternalSemaphoreProperties;
	const VkSemaphoreTypeCreateInfo *type =
	    pv_venus_chain_find(args->pExternalSemaphoreInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);

	(void)d;
	out->compatibleHandleTypes = args->pExternalSemaphoreInfo->handleType;
	out->exportFromImportedHandleTypes = 0;
	out->externalSemaphoreFeatures = 0;
	if (args->pExternalSemaphoreInfo->handleType == VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT &&
	    !(type && type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE)) {
		out->exportFromImportedHandleTypes = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT;
		out->externalSemaphoreFeatures =
		    VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT;
	}
}

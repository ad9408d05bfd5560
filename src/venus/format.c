/* SPDX-License-Identifier: MIT */
/* What formats can do. Modifiers are answered here: LINEAR is the only one, and is the host's linear tiling. */
#include "venus/chain.h"
#include "venus/external.h"
#include "venus/formats.h"
#include "venus/host.h"

void pv_venus_handle_vkGetPhysicalDeviceFormatProperties(struct pv_venus_decoder *d,
							 struct pv_venus_args_vkGetPhysicalDeviceFormatProperties *args)
{
	d->context->instance_fn.GetPhysicalDeviceFormatProperties(args->physicalDevice, args->format,
								  args->pFormatProperties);
}

static void fill_modifiers(VkDrmFormatModifierPropertiesListEXT *list, VkFormat format, VkFormatFeatureFlags linear)
{
	uint32_t room = list->drmFormatModifierCount;

	list->drmFormatModifierCount = linear ? 1 : 0;
	if (!list->pDrmFormatModifierProperties || !linear)
		return;
	if (room == 0) {
		list->drmFormatModifierCount = 0;
		return;
	}
	list->pDrmFormatModifierProperties[0] = (VkDrmFormatModifierPropertiesEXT){
	    .drmFormatModifier = PV_VENUS_LINEAR_MODIFIER,
	    .drmFormatModifierPlaneCount = pv_venus_format_planes(format),
	    .drmFormatModifierTilingFeatures = linear,
	};
}

static void fill_modifiers2(VkDrmFormatModifierPropertiesList2EXT *list, VkFormat format, VkFormatFeatureFlags2 linear)
{
	uint32_t room = list->drmFormatModifierCount;

	list->drmFormatModifierCount = linear ? 1 : 0;
	if (!list->pDrmFormatModifierProperties || !linear)
		return;
	if (room == 0) {
		list->drmFormatModifierCount = 0;
		return;
	}
	list->pDrmFormatModifierProperties[0] = (VkDrmFormatModifierProperties2EXT){
	    .drmFormatModifier = PV_VENUS_LINEAR_MODIFIER,
	    .drmFormatModifierPlaneCount = pv_venus_format_planes(format),
	    .drmFormatModifierTilingFeatures = linear,
	};
}

void pv_venus_handle_vkGetPhysicalDeviceFormatProperties2(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceFormatProperties2 *args)
{
	VkFormatProperties2 *out = args->pFormatProperties;
	struct pv_venus_hidden hidden, hidden2;
	VkDrmFormatModifierPropertiesListEXT *list =
	    pv_venus_hide(&hidden, out, VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_EXT);
	VkDrmFormatModifierPropertiesList2EXT *list2 =
	    pv_venus_hide(&hidden2, out, VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_2_EXT);
	const VkFormatProperties3 *wide;

	d->context->instance_fn.GetPhysicalDeviceFormatProperties2(args->physicalDevice, args->format, out);
	pv_venus_unhide(&hidden2);
	pv_venus_unhide(&hidden);
	wide = pv_venus_chain_find(out->pNext, VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3);
	if (list)
		fill_modifiers(list, args->format, out->formatProperties.linearTilingFeatures);
	if (list2)
		fill_modifiers2(list2, args->format,
				wide ? wide->linearTilingFeatures : out->formatProperties.linearTilingFeatures);
}

void pv_venus_handle_vkGetPhysicalDeviceImageFormatProperties(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceImageFormatProperties *args)
{
	args->ret = d->context->instance_fn.GetPhysicalDeviceImageFormatProperties(
	    args->physicalDevice, args->format, args->type, args->tiling, args->usage, args->flags,
	    args->pImageFormatProperties);
}

void pv_venus_handle_vkGetPhysicalDeviceImageFormatProperties2(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceImageFormatProperties2 *args)
{
	VkPhysicalDeviceImageFormatInfo2 info = *args->pImageFormatInfo;
	const VkPhysicalDeviceImageDrmFormatModifierInfoEXT *modifier =
	    pv_venus_chain_take(&info, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT);
	const VkPhysicalDeviceExternalImageFormatInfo *external =
	    pv_venus_chain_take(&info, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO);
	struct pv_venus_hidden hidden;
	VkExternalImageFormatProperties *properties;

	args->ret = VK_ERROR_FORMAT_NOT_SUPPORTED;
	if (info.tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT) {
		if (!modifier || modifier->drmFormatModifier != PV_VENUS_LINEAR_MODIFIER ||
		    (info.flags & VK_IMAGE_CREATE_DISJOINT_BIT))
			return;
		info.tiling = VK_IMAGE_TILING_LINEAR;
	}
	/* Only linear pixels mean something to others. */
	if (external && external->handleType &&
	    (!(external->handleType & PV_VENUS_SHARED_HANDLES) || info.tiling != VK_IMAGE_TILING_LINEAR))
		return;
	properties =
	    pv_venus_hide(&hidden, args->pImageFormatProperties, VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES);
	args->ret = d->context->instance_fn.GetPhysicalDeviceImageFormatProperties2(args->physicalDevice, &info,
										    args->pImageFormatProperties);
	pv_venus_unhide(&hidden);
	if (!properties)
		return;
	properties->externalMemoryProperties = (VkExternalMemoryProperties){0};
	if (external && external->handleType)
		pv_venus_shared_memory_properties(&properties->externalMemoryProperties);
}

void pv_venus_handle_vkGetPhysicalDeviceSparseImageFormatProperties(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceSparseImageFormatProperties *args)
{
	if (d->context->host_device->emulate_portability) {
		*args->pPropertyCount = 0;
		return;
	}
	d->context->instance_fn.GetPhysicalDeviceSparseImageFormatProperties(
	    args->physicalDevice, args->format, args->type, args->samples, args->usage, args->tiling,
	    args->pPropertyCount, args->pProperties);
}

void pv_venus_handle_vkGetPhysicalDeviceSparseImageFormatProperties2(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetPhysicalDeviceSparseImageFormatProperties2 *args)
{
	if (d->context->host_device->emulate_portability) {
		*args->pPropertyCount = 0;
		return;
	}
	d->context->instance_fn.GetPhysicalDeviceSparseImageFormatProperties2(args->physicalDevice, args->pFormatInfo,
									      args->pPropertyCount, args->pProperties);
}

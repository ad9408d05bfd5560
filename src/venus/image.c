/* SPDX-License-Identifier: MIT */
#include "venus/chain.h"
#include "venus/external.h"
#include "venus/formats.h"
#include "venus/host.h"

/* Where the host puts plane `plane` of a linear image. */
static VkSubresourceLayout plane_layout(const struct pv_venus_device *device, VkImage image, uintptr_t traits,
					uint32_t plane)
{
	VkImageSubresource which = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT};
	VkSubresourceLayout layout = {0};

	if (traits & PV_VENUS_TRAIT_PLANES)
		which.aspectMask = VK_IMAGE_ASPECT_PLANE_0_BIT << plane;
	device->fn.GetImageSubresourceLayout(device->handle, image, &which, &layout);
	return layout;
}

/* The guest said where the planes of an imported image are: the host's image has them where it has them. */
static bool has_given_layout(const struct pv_venus_device *device, VkImage image, uintptr_t traits,
			     const VkImageDrmFormatModifierExplicitCreateInfoEXT *given)
{
	if (given->drmFormatModifierPlaneCount != pv_venus_format_planes(PV_VENUS_TRAIT_FORMAT(traits)))
		return false;
	for (uint32_t i = 0; i < given->drmFormatModifierPlaneCount; i++) {
		VkSubresourceLayout layout = plane_layout(device, image, traits, i);

		if (layout.offset != given->pPlaneLayouts[i].offset ||
		    layout.rowPitch != given->pPlaneLayouts[i].rowPitch)
			return false;
	}
	return true;
}

void pv_venus_handle_vkCreateImage(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateImage *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkImageCreateInfo info = *args->pCreateInfo;
	const VkImageDrmFormatModifierExplicitCreateInfoEXT *given =
	    pv_venus_chain_find(info.pNext, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT);
	VkExternalMemoryImageCreateInfo ours;
	VkImage made = VK_NULL_HANDLE;
	uintptr_t traits = 0;

	pv_venus_check_new_id(d, args->pImage_id, "vkCreateImage.pImage");
	if (d->failed)
		return;
	args->ret = pv_venus_adapt_image(d, d->context->physical_device, &info, &ours, &traits);
	if (args->ret == VK_SUCCESS)
		args->ret = device->fn.CreateImage(args->device, &info, NULL, &made);
	if (args->ret == VK_SUCCESS && given && !has_given_layout(device, made, traits, given)) {
		device->fn.DestroyImage(args->device, made, NULL);
		args->ret = VK_ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT;
	}
	if (pv_venus_created_with(d, PV_VENUS_IMAGE, args->pImage_id, PV_VENUS_HANDLE(made), args->ret,
				  args->device_object, (void *)traits))
		*args->pImage = args->ret == VK_SUCCESS ? made : VK_NULL_HANDLE;
	else if (args->ret == VK_SUCCESS)
		device->fn.DestroyImage(args->device, made, NULL);
}

/* ---- Requirements ---- */

void pv_venus_handle_vkGetImageMemoryRequirements(struct pv_venus_decoder *d,
						  struct pv_venus_args_vkGetImageMemoryRequirements *args)
{
	pv_venus_device_of(args->device_object)
	    ->fn.GetImageMemoryRequirements(args->device, args->image, args->pMemoryRequirements);
	pv_venus_restrict_types(d, pv_venus_traits(args->image_object), args->pMemoryRequirements);
}

void pv_venus_handle_vkGetImageMemoryRequirements2(struct pv_venus_decoder *d,
						   struct pv_venus_args_vkGetImageMemoryRequirements2 *args)
{
	pv_venus_device_of(args->device_object)
	    ->fn.GetImageMemoryRequirements2(args->device, args->pInfo, args->pMemoryRequirements);
	pv_venus_restrict_types(d, pv_venus_traits(args->pool_object), &args->pMemoryRequirements->memoryRequirements);
}

void pv_venus_handle_vkGetDeviceImageMemoryRequirements(struct pv_venus_decoder *d,
							struct pv_venus_args_vkGetDeviceImageMemoryRequirements *args)
{
	PFN_vkGetDeviceImageMemoryRequirements fn =
	    pv_venus_device_of(args->device_object)->fn.GetDeviceImageMemoryRequirements;
	VkImageCreateInfo info = *args->pInfo->pCreateInfo;
	VkDeviceImageMemoryRequirements query = *args->pInfo;
	VkExternalMemoryImageCreateInfo ours;
	uintptr_t traits = 0;

	if (!PV_VENUS_HAS(d, fn, "vkGetDeviceImageMemoryRequirements"))
		return;
	if (pv_venus_adapt_image(d, d->context->physical_device, &info, &ours, &traits) != VK_SUCCESS)
		return; /* There cannot be such an image; all zero says as much. */
	query.pCreateInfo = &info;
	fn(args->device, &query, args->pMemoryRequirements);
	pv_venus_restrict_types(d, traits, &args->pMemoryRequirements->memoryRequirements);
}

/* ---- Layouts ---- */

/* The planes of an image with a modifier are those of memory; of a linear image, those of the format. */
static VkImageAspectFlags host_aspect(uintptr_t traits, VkImageAspectFlags aspect)
{
	uint32_t plane;

	switch (aspect) {
	case VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT:
		plane = 0;
		break;
	case VK_IMAGE_ASPECT_MEMORY_PLANE_1_BIT_EXT:
		plane = 1;
		break;
	case VK_IMAGE_ASPECT_MEMORY_PLANE_2_BIT_EXT:
		plane = 2;
		break;
	default:
		return aspect;
	}
	return traits & PV_VENUS_TRAIT_PLANES ? VK_IMAGE_ASPECT_PLANE_0_BIT << plane : VK_IMAGE_ASPECT_COLOR_BIT;
}

void pv_venus_handle_vkGetImageSubresourceLayout(struct pv_venus_decoder *d,
						 struct pv_venus_args_vkGetImageSubresourceLayout *args)
{
	VkImageSubresource which = *args->pSubresource;

	(void)d;
	which.aspectMask = host_aspect(pv_venus_traits(args->image_object), which.aspectMask);
	pv_venus_device_of(args->device_object)
	    ->fn.GetImageSubresourceLayout(args->device, args->image, &which, args->pLayout);
}

void pv_venus_handle_vkGetImageSubresourceLayout2(struct pv_venus_decoder *d,
						  struct pv_venus_args_vkGetImageSubresourceLayout2 *args)
{
	PFN_vkGetImageSubresourceLayout2 fn = pv_venus_device_of(args->device_object)->fn.GetImageSubresourceLayout2;
	VkImageSubresource2 which = *args->pSubresource;

	if (!PV_VENUS_HAS(d, fn, "vkGetImageSubresourceLayout2"))
		return;
	which.imageSubresource.aspectMask =
	    host_aspect(pv_venus_traits(args->image_object), which.imageSubresource.aspectMask);
	fn(args->device, args->image, &which, args->pLayout);
}

void pv_venus_handle_vkGetDeviceImageSubresourceLayout(struct pv_venus_decoder *d,
						       struct pv_venus_args_vkGetDeviceImageSubresourceLayout *args)
{
	PFN_vkGetDeviceImageSubresourceLayout fn =
	    pv_venus_device_of(args->device_object)->fn.GetDeviceImageSubresourceLayout;
	VkDeviceImageSubresourceInfo query = *args->pInfo;
	VkImageCreateInfo info = *query.pCreateInfo;
	VkImageSubresource2 which = *query.pSubresource;
	VkExternalMemoryImageCreateInfo ours;
	uintptr_t traits = 0;

	if (!PV_VENUS_HAS(d, fn, "vkGetDeviceImageSubresourceLayout"))
		return;
	if (pv_venus_adapt_image(d, d->context->physical_device, &info, &ours, &traits) != VK_SUCCESS)
		return;
	which.imageSubresource.aspectMask = host_aspect(traits, which.imageSubresource.aspectMask);
	query.pCreateInfo = &info;
	query.pSubresource = &which;
	fn(args->device, &query, args->pLayout);
}

void pv_venus_handle_vkGetImageDrmFormatModifierPropertiesEXT(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetImageDrmFormatModifierPropertiesEXT *args)
{
	(void)d;
	args->pProperties->drmFormatModifier = PV_VENUS_LINEAR_MODIFIER;
	args->ret = VK_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/*
 * Copies between images and the command stream (VK_EXT_host_image_copy). The driver reads or writes as much memory as
 * the region says, so the guest's size is checked against that first.
 */
#include "venus/chain.h"
#include "venus/external.h"
#include "venus/formats.h"

struct region {
	VkHostImageCopyFlags flags;
	const VkImageSubresourceLayers *subresource;
	const VkExtent3D *extent;
	uint32_t row_length, image_height;
};

/* The driver's own layout of a whole subresource, which only it knows. */
static bool opaque_size(const struct pv_venus_device *device, VkImage image, const VkImageSubresourceLayers *layers,
			uint32_t nr_layers, uint64_t *out_bytes)
{
	VkImageSubresource2 which = {.sType = VK_STRUCTURE_TYPE_IMAGE_SUBRESOURCE_2,
				     .imageSubresource = {.aspectMask = layers->aspectMask,
							  .mipLevel = layers->mipLevel,
							  .arrayLayer = layers->baseArrayLayer}};
	VkSubresourceHostMemcpySize size = {.sType = VK_STRUCTURE_TYPE_SUBRESOURCE_HOST_MEMCPY_SIZE};
	VkSubresourceLayout2 layout = {.sType = VK_STRUCTURE_TYPE_SUBRESOURCE_LAYOUT_2, .pNext = &size};

	if (!device->fn.GetImageSubresourceLayout2)
		return false;
	device->fn.GetImageSubresourceLayout2(device->handle, image, &which, &layout);
	return pv_mul_u64(size.size, nr_layers, out_bytes);
}

static bool size_fits(const struct pv_venus_device *device, const struct pv_venus_object *image,
		      const struct region *region, uint64_t data_bytes)
{
	uintptr_t traits = pv_venus_traits(image);
	uint32_t nr_layers = region->subresource->layerCount;
	struct pv_venus_texels texels = {
	    .format = PV_VENUS_TRAIT_FORMAT(traits),
	    .aspect = region->subresource->aspectMask,
	    .row_length = region->row_length,
	    .image_height = region->image_height,
	    .extent = *region->extent,
	};
	uint64_t needed;

	if (nr_layers == VK_REMAINING_ARRAY_LAYERS) {
		if (region->subresource->baseArrayLayer > PV_VENUS_TRAIT_LAYERS(traits))
			return false;
		nr_layers = PV_VENUS_TRAIT_LAYERS(traits) - region->subresource->baseArrayLayer;
	}
	texels.nr_layers = nr_layers;
	if (region->flags & VK_HOST_IMAGE_COPY_MEMCPY_EXT) {
		VkImage handle = (VkImage)(uintptr_t)image->handle;

		return opaque_size(device, handle, region->subresource, nr_layers, &needed) && needed <= data_bytes;
	}
	return pv_venus_texels_size(&texels, &needed) && needed <= data_bytes;
}

void pv_venus_handle_vkCopyImageToMemoryMESA(struct pv_venus_decoder *d,
					     struct pv_venus_args_vkCopyImageToMemoryMESA *args)
{
	const VkCopyImageToMemoryInfoMESA *guests = args->pCopyImageToMemoryInfo;
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	struct region region = {guests->flags, &guests->imageSubresource, &guests->imageExtent, guests->memoryRowLength,
				guests->memoryImageHeight};
	VkImageToMemoryCopy copy = {
	    .sType = VK_STRUCTURE_TYPE_IMAGE_TO_MEMORY_COPY,
	    .pHostPointer = args->pData,
	    .memoryRowLength = guests->memoryRowLength,
	    .memoryImageHeight = guests->memoryImageHeight,
	    .imageSubresource = guests->imageSubresource,
	    .imageOffset = guests->imageOffset,
	    .imageExtent = guests->imageExtent,
	};
	VkCopyImageToMemoryInfo info = {
	    .sType = VK_STRUCTURE_TYPE_COPY_IMAGE_TO_MEMORY_INFO,
	    .flags = guests->flags,
	    .srcImage = guests->srcImage,
	    .srcImageLayout = guests->srcImageLayout,
	    .regionCount = 1,
	    .pRegions = &copy,
	};

	if (!PV_VENUS_HAS(d, device->fn.CopyImageToMemory, "vkCopyImageToMemoryMESA"))
		return;
	if (!size_fits(device, args->pool_object, &region, args->dataSize)) {
		pv_venus_fail(d, "vkCopyImageToMemoryMESA.dataSize", "the region does not fit", args->dataSize);
		return;
	}
	args->ret = device->fn.CopyImageToMemory(args->device, &info);
}

void pv_venus_handle_vkCopyMemoryToImageMESA(struct pv_venus_decoder *d,
					     struct pv_venus_args_vkCopyMemoryToImageMESA *args)
{
	const VkCopyMemoryToImageInfoMESA *guests = args->pCopyMemoryToImageInfo;
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkCopyMemoryToImageInfo info = {
	    .sType = VK_STRUCTURE_TYPE_COPY_MEMORY_TO_IMAGE_INFO,
	    .flags = guests->flags,
	    .dstImage = guests->dstImage,
	    .dstImageLayout = guests->dstImageLayout,
	    .regionCount = guests->regionCount,
	};
	VkMemoryToImageCopy *copies;

	if (!PV_VENUS_HAS(d, device->fn.CopyMemoryToImage, "vkCopyMemoryToImageMESA"))
		return;
	copies = pv_venus_alloc(d, guests->regionCount * (uint64_t)sizeof(*copies));
	if (!copies)
		return;
	for (uint32_t i = 0; i < guests->regionCount; i++) {
		const VkMemoryToImageCopyMESA *from = &guests->pRegions[i];
		struct region region = {guests->flags, &from->imageSubresource, &from->imageExtent,
					from->memoryRowLength, from->memoryImageHeight};

		if (!size_fits(device, args->pool_object, &region, from->dataSize)) {
			pv_venus_fail(d, "VkMemoryToImageCopyMESA.dataSize", "the region does not fit", from->dataSize);
			return;
		}
		copies[i] = (VkMemoryToImageCopy){
		    .sType = VK_STRUCTURE_TYPE_MEMORY_TO_IMAGE_COPY,
		    .pHostPointer = from->pData,
		    .memoryRowLength = from->memoryRowLength,
		    .memoryImageHeight = from->memoryImageHeight,
		    .imageSubresource = from->imageSubresource,
		    .imageOffset = from->imageOffset,
		    .imageExtent = from->imageExtent,
		};
	}
	info.pRegions = copies;
	args->ret = device->fn.CopyMemoryToImage(args->device, &info);
}

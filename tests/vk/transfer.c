/* SPDX-License-Identifier: MIT */
/* Copies, fills, clears, blits and resolves, also by the host. */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

#define SIZE  65536u
#define EDGE  128u
#define BYTES (EDGE * EDGE * 4)

static const VkImageUsageFlags both = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;

static void to_layout(const struct image *image, VkImageLayout from, VkImageLayout to)
{
	VkCommandBuffer command = command_begin();

	image_barrier(command, image, from, to);
	command_finish(command);
}

static struct image noisy_image(VkImageUsageFlags usage, uint32_t seed)
{
	struct image image =
	    image_create(&(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, EDGE, EDGE, .usage = usage | both});
	uint8_t *bytes = malloc(BYTES);

	expect(bytes, "no memory");
	noise(bytes, BYTES, seed);
	to_layout(&image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	image_write(&image, 0, 0, bytes, BYTES, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	free(bytes);
	return image;
}

static void buffers(void)
{
	struct buffer a = buffer_create(SIZE, 0, ON_HOST), b = buffer_create(SIZE, 0, ON_DEVICE),
		      c = buffer_create(SIZE, 0, ON_HOST);
	VkBufferCopy regions[64];
	VkCommandBuffer command = command_begin();
	uint8_t data[4096];

	noise(a.map, SIZE, 1);
	noise(data, sizeof(data), 2);
	for (uint32_t i = 0; i < COUNT(regions); i++)
		regions[i] = (VkBufferCopy){i * 1000, (63 - i) * 1024, 1000 - i};
	barrier(command);
	vkCmdFillBuffer(command, b.handle, 0, VK_WHOLE_SIZE, 0xdeadbeef);
	barrier(command);
	vkCmdCopyBuffer(command, a.handle, b.handle, COUNT(regions), regions);
	barrier(command);
	vkCmdUpdateBuffer(command, b.handle, 8000, sizeof(data), data);
	vkCmdFillBuffer(command, b.handle, 20000, 400, 0x12345678);
	barrier(command);
	vkCmdCopyBuffer2(command, &(VkCopyBufferInfo2){.sType = VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2,
						       .srcBuffer = b.handle,
						       .dstBuffer = c.handle,
						       .regionCount = 1,
						       .pRegions = &(VkBufferCopy2){
							   .sType = VK_STRUCTURE_TYPE_BUFFER_COPY_2, .size = SIZE}});
	barrier(command);
	command_finish(command);
	report_hash("bytes", c.map, SIZE);
}

static void images(void)
{
	struct image a = noisy_image(0, 3), b = noisy_image(0, 4);
	VkImageCopy regions[] = {{{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				  {0, 0, 0},
				  {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				  {64, 64, 0},
				  {32, 16, 1}},
				 {{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				  {5, 7, 0},
				  {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				  {1, 2, 0},
				  {50, 60, 1}}};
	VkCommandBuffer command = command_begin();

	image_barrier(command, &a, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	barrier(command);
	vkCmdCopyImage(command, a.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, b.handle,
		       VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, COUNT(regions), regions);
	command_finish(command);
	image_report("picture", &b, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
}

static void image_regions(void)
{
	struct image image = image_create(
	    &(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, EDGE, EDGE, .layers = 3, .levels = 4, .usage = both});
	struct buffer buffer = buffer_create(3 * BYTES, 0, ON_HOST);
	VkBufferImageCopy regions[12];
	VkCommandBuffer command = command_begin();
	uint64_t hash = 0;

	noise(buffer.map, buffer.size, 21);
	for (uint32_t i = 0; i < COUNT(regions); i++)
		regions[i] = (VkBufferImageCopy){.bufferOffset = 1024ull * i,
						 .bufferRowLength = 160,
						 .bufferImageHeight = 130,
						 .imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, i % 4, i / 4, 1},
						 .imageExtent = {EDGE >> i % 4, EDGE >> i % 4, 1}};
	barrier(command);
	image_barrier(command, &image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	vkCmdCopyBufferToImage(command, buffer.handle, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
			       COUNT(regions), regions);
	image_barrier(command, &image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	command_finish(command);
	for (uint32_t i = 0; i < COUNT(regions); i++) {
		size_t size;
		void *bytes = image_read(&image, i % 4, i / 4, 4, &size);

		hash = hash * 31 + hash_bytes(bytes, size);
		free(bytes);
	}
	report("levels and layers", hash);
}

static void blit(void)
{
	struct image a = noisy_image(0, 5), b = noisy_image(0, 6);
	VkImageBlit regions[] = {{{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				  {{0, 0, 0}, {40, 30, 1}},
				  {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				  {{128, 0, 0}, {0, 100, 1}}}};
	VkBlitImageInfo2 info = {.sType = VK_STRUCTURE_TYPE_BLIT_IMAGE_INFO_2,
				 .srcImage = a.handle,
				 .srcImageLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
				 .dstImage = b.handle,
				 .dstImageLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
				 .regionCount = 1,
				 .pRegions = &(VkImageBlit2){.sType = VK_STRUCTURE_TYPE_IMAGE_BLIT_2,
							     .srcSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
							     .srcOffsets = {{0, 0, 0}, {128, 128, 1}},
							     .dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
							     .dstOffsets = {{10, 100, 0}, {120, 128, 1}}},
				 .filter = VK_FILTER_NEAREST};
	VkCommandBuffer command = command_begin();

	image_barrier(command, &a, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	vkCmdBlitImage(command, a.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, b.handle,
		       VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, regions, VK_FILTER_LINEAR);
	barrier(command);
	vkCmdBlitImage2(command, &info);
	command_finish(command);
	image_report("picture", &b, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
}

static void clears(void)
{
	const VkFormat formats[] = {VK_FORMAT_R8G8B8A8_UNORM, VK_FORMAT_R32_SFLOAT, VK_FORMAT_R16G16_UINT,
				    VK_FORMAT_A2B10G10R10_UNORM_PACK32, VK_FORMAT_B10G11R11_UFLOAT_PACK32};
	struct image depth = image_create(&(struct image_params){
	    VK_FORMAT_D32_SFLOAT, EDGE, EDGE, .usage = both | VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT});
	VkImageSubresourceRange color = {VK_IMAGE_ASPECT_COLOR_BIT, 0, VK_REMAINING_MIP_LEVELS, 0,
					 VK_REMAINING_ARRAY_LAYERS};
	VkImageSubresourceRange depths = {VK_IMAGE_ASPECT_DEPTH_BIT, 0, 1, 0, 1};
	VkCommandBuffer command;
	uint64_t hash = 0;
	size_t size;
	void *bytes;

	for (uint32_t i = 0; i < COUNT(formats); i++) {
		struct image image = image_create(
		    &(struct image_params){formats[i], EDGE, EDGE, .layers = 2, .levels = 2, .usage = both});
		VkClearColorValue value = {.float32 = {0.1f, 0.6f, 0.3f, 0.9f}};

		if (formats[i] == VK_FORMAT_R16G16_UINT)
			value = (VkClearColorValue){.uint32 = {1234, 54321, 0, 0}};
		command = command_begin();
		image_barrier(command, &image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
		vkCmdClearColorImage(command, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &value, 1, &color);
		image_barrier(command, &image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
			      VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
		command_finish(command);
		bytes = image_read(&image, 1, 1, 4, &size);
		hash = hash * 31 + hash_bytes(bytes, size);
		free(bytes);
		image_destroy(&image);
	}
	report("colors", hash);
	command = command_begin();
	image_barrier(command, &depth, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	vkCmdClearDepthStencilImage(command, depth.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
				    &(VkClearDepthStencilValue){0.375f, 0}, 1, &depths);
	image_barrier(command, &depth, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	command_finish(command);
	bytes = image_read(&depth, 0, 0, 4, &size);
	report_hash("depth", bytes, size);
}

static void resolve(void)
{
	struct image many =
	    image_create(&(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, EDGE, EDGE, .samples = VK_SAMPLE_COUNT_4_BIT,
						.usage = both | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT});
	struct image one = noisy_image(0, 8);
	VkClearColorValue value = {.float32 = {1, 0.5f, 0.25f, 1}};
	VkImageSubresourceRange range = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
	VkImageResolve region = {{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				 {0, 0, 0},
				 {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				 {30, 20, 0},
				 {64, 64, 1}};
	VkCommandBuffer command = command_begin();

	image_barrier(command, &many, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	vkCmdClearColorImage(command, many.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &value, 1, &range);
	image_barrier(command, &many, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	vkCmdResolveImage(command, many.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, one.handle,
			  VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &region);
	command_finish(command);
	image_report("picture", &one, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
}

static void volume(void)
{
	struct image image = image_create(&(struct image_params){VK_FORMAT_R8_UNORM, 32, 32, 16, .usage = both});
	uint8_t bytes[32 * 32 * 16], *out;
	size_t size;

	noise(bytes, sizeof(bytes), 77);
	to_layout(&image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	image_write(&image, 0, 0, bytes, sizeof(bytes), VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	to_layout(&image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	out = image_read(&image, 0, 0, 1, &size);
	expect(size == sizeof(bytes) && memcmp(bytes, out, size) == 0, "the volume came back different");
	report_hash("bytes", out, size);
}

static void copy2(void)
{
	struct image a = noisy_image(0, 11), b = noisy_image(0, 12);
	struct buffer buffer = buffer_create(BYTES, 0, ON_HOST);
	VkBufferImageCopy2 region = {.sType = VK_STRUCTURE_TYPE_BUFFER_IMAGE_COPY_2,
				     .imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				     .imageExtent = {EDGE, EDGE, 1}};
	VkImageCopy2 copy = {.sType = VK_STRUCTURE_TYPE_IMAGE_COPY_2,
			     .srcSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
			     .dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
			     .dstOffset = {64, 0, 0},
			     .extent = {64, 128, 1}};
	VkCommandBuffer command = command_begin();

	image_barrier(command, &a, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	vkCmdCopyImage2(command, &(VkCopyImageInfo2){.sType = VK_STRUCTURE_TYPE_COPY_IMAGE_INFO_2,
						     .srcImage = a.handle,
						     .srcImageLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
						     .dstImage = b.handle,
						     .dstImageLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
						     .regionCount = 1,
						     .pRegions = &copy});
	image_barrier(command, &b, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	image_barrier(command, &a, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	vkCmdCopyImageToBuffer2(command,
				&(VkCopyImageToBufferInfo2){.sType = VK_STRUCTURE_TYPE_COPY_IMAGE_TO_BUFFER_INFO_2,
							    .srcImage = b.handle,
							    .srcImageLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
							    .dstBuffer = buffer.handle,
							    .regionCount = 1,
							    .pRegions = &region});
	barrier(command);
	vkCmdCopyBufferToImage2(command,
				&(VkCopyBufferToImageInfo2){.sType = VK_STRUCTURE_TYPE_COPY_BUFFER_TO_IMAGE_INFO_2,
							    .srcBuffer = buffer.handle,
							    .dstImage = a.handle,
							    .dstImageLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
							    .regionCount = 1,
							    .pRegions = &region});
	barrier(command);
	command_finish(command);
	report_hash("buffer", buffer.map, BYTES);
	image_report("picture", &a, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
}

static void host_image_copy(void)
{
	struct image a, b;
	uint8_t *bytes = malloc(BYTES), *out = calloc(1, BYTES);
	VkMemoryToImageCopy in = {.sType = VK_STRUCTURE_TYPE_MEMORY_TO_IMAGE_COPY,
				  .pHostPointer = bytes,
				  .imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				  .imageExtent = {EDGE, EDGE, 1}};
	VkImageToMemoryCopy from = {.sType = VK_STRUCTURE_TYPE_IMAGE_TO_MEMORY_COPY,
				    .pHostPointer = out,
				    .imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
				    .imageOffset = {16, 8, 0},
				    .imageExtent = {100, 90, 1}};
	VkImageCopy2 region = {.sType = VK_STRUCTURE_TYPE_IMAGE_COPY_2,
			       .srcSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
			       .dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
			       .extent = {EDGE, EDGE, 1}};
	VkHostImageLayoutTransitionInfo transitions[2];

	need(vk.version >= VK_API_VERSION_1_4, "Vulkan 1.4");
	need(vk.features.v14.hostImageCopy, "hostImageCopy");
	expect(bytes && out, "no memory");
	a = image_create(&(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, EDGE, EDGE,
						.usage = both | VK_IMAGE_USAGE_HOST_TRANSFER_BIT});
	b = image_create(&(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, EDGE, EDGE,
						.usage = both | VK_IMAGE_USAGE_HOST_TRANSFER_BIT});
	for (uint32_t i = 0; i < 2; i++)
		transitions[i] =
		    (VkHostImageLayoutTransitionInfo){.sType = VK_STRUCTURE_TYPE_HOST_IMAGE_LAYOUT_TRANSITION_INFO,
						      .image = i ? b.handle : a.handle,
						      .oldLayout = VK_IMAGE_LAYOUT_UNDEFINED,
						      .newLayout = VK_IMAGE_LAYOUT_GENERAL,
						      .subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1}};
	CHECK(vkTransitionImageLayout(vk.device, 2, transitions));
	noise(bytes, BYTES, 31);
	CHECK(vkCopyMemoryToImage(vk.device,
				  &(VkCopyMemoryToImageInfo){.sType = VK_STRUCTURE_TYPE_COPY_MEMORY_TO_IMAGE_INFO,
							     .dstImage = a.handle,
							     .dstImageLayout = VK_IMAGE_LAYOUT_GENERAL,
							     .regionCount = 1,
							     .pRegions = &in}));
	CHECK(
	    vkCopyImageToImage(vk.device, &(VkCopyImageToImageInfo){.sType = VK_STRUCTURE_TYPE_COPY_IMAGE_TO_IMAGE_INFO,
								    .srcImage = a.handle,
								    .srcImageLayout = VK_IMAGE_LAYOUT_GENERAL,
								    .dstImage = b.handle,
								    .dstImageLayout = VK_IMAGE_LAYOUT_GENERAL,
								    .regionCount = 1,
								    .pRegions = &region}));
	CHECK(vkCopyImageToMemory(vk.device,
				  &(VkCopyImageToMemoryInfo){.sType = VK_STRUCTURE_TYPE_COPY_IMAGE_TO_MEMORY_INFO,
							     .srcImage = b.handle,
							     .srcImageLayout = VK_IMAGE_LAYOUT_GENERAL,
							     .regionCount = 1,
							     .pRegions = &from}));
	report_hash("read by the host", out, BYTES);
	image_report("picture", &b, VK_IMAGE_LAYOUT_GENERAL);
}

/* Images whose memory the host maps and whose rows it finds itself. */
static void linear_image(void)
{
	VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
				  .imageType = VK_IMAGE_TYPE_2D,
				  .format = VK_FORMAT_R8G8B8A8_UNORM,
				  .extent = {100, 60, 1},
				  .mipLevels = 1,
				  .arrayLayers = 1,
				  .samples = VK_SAMPLE_COUNT_1_BIT,
				  .tiling = VK_IMAGE_TILING_LINEAR,
				  .usage = both,
				  .initialLayout = VK_IMAGE_LAYOUT_PREINITIALIZED};
	struct image image = {.format = info.format,
			      .aspect = VK_IMAGE_ASPECT_COLOR_BIT,
			      .extent = info.extent,
			      .layers = 1,
			      .levels = 1};
	VkMemoryRequirements needs;
	VkSubresourceLayout layout;
	uint8_t *map;

	CHECK(vkCreateImage(vk.device, &info, NULL, &image.handle));
	vkGetImageMemoryRequirements(vk.device, image.handle, &needs);
	image.memory =
	    allocate(&needs, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, false);
	CHECK(vkBindImageMemory(vk.device, image.handle, image.memory, 0));
	vkGetImageSubresourceLayout(vk.device, image.handle, &(VkImageSubresource){VK_IMAGE_ASPECT_COLOR_BIT, 0, 0},
				    &layout);
	CHECK(vkMapMemory(vk.device, image.memory, 0, VK_WHOLE_SIZE, 0, (void **)&map));
	for (uint32_t y = 0; y < 60; y++)
		noise(map + layout.offset + y * layout.rowPitch, 400, y);
	image_report("picture", &image, VK_IMAGE_LAYOUT_PREINITIALIZED);
	image_destroy(&image);
}

const struct vk_case transfer_cases[] = {
    {"transfer/buffers", buffers},
    {"transfer/images", images},
    {"transfer/image_regions", image_regions},
    {"transfer/blit", blit},
    {"transfer/clears", clears},
    {"transfer/resolve", resolve},
    {"transfer/volume", volume},
    {"transfer/copy2", copy2},
    {"transfer/linear_image", linear_image},
    {"transfer/host_image_copy", host_image_copy},
    {0},
};

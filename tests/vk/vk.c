/* SPDX-License-Identifier: MIT */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_NS 60000000000u

struct vk vk;

uint32_t memory_type(uint32_t allowed, VkMemoryPropertyFlags wanted)
{
	for (uint32_t i = 0; i < vk.memory.memoryTypeCount; i++)
		if ((allowed & 1u << i) && (vk.memory.memoryTypes[i].propertyFlags & wanted) == wanted)
			return i;
	return UINT32_MAX;
}

VkDeviceMemory allocate(const VkMemoryRequirements *requirements, VkMemoryPropertyFlags wanted, bool address)
{
	VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
					   .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
	VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
				     .pNext = address ? &flags : NULL,
				     .allocationSize = requirements->size,
				     .memoryTypeIndex = memory_type(requirements->memoryTypeBits, wanted)};
	VkDeviceMemory memory;

	if (info.memoryTypeIndex == UINT32_MAX)
		info.memoryTypeIndex = memory_type(requirements->memoryTypeBits, 0);
	expect(info.memoryTypeIndex != UINT32_MAX, "no memory type fits 0x%x", requirements->memoryTypeBits);
	CHECK(vkAllocateMemory(vk.device, &info, NULL, &memory));
	return memory;
}

struct buffer buffer_create(VkDeviceSize size, VkBufferUsageFlags usage, enum where where)
{
	struct buffer buffer = {.size = size};
	bool address = vk.features.v12.bufferDeviceAddress;
	VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
				   .size = size,
				   .usage = usage | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
					    VK_BUFFER_USAGE_TRANSFER_DST_BIT |
					    (address ? VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT : 0)};
	VkMemoryRequirements requirements;

	CHECK(vkCreateBuffer(vk.device, &info, NULL, &buffer.handle));
	vkGetBufferMemoryRequirements(vk.device, buffer.handle, &requirements);
	buffer.memory =
	    allocate(&requirements,
		     where == ON_HOST ? VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
				      : VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
		     address);
	CHECK(vkBindBufferMemory(vk.device, buffer.handle, buffer.memory, 0));
	if (where == ON_HOST)
		CHECK(vkMapMemory(vk.device, buffer.memory, 0, VK_WHOLE_SIZE, 0, &buffer.map));
	if (address)
		buffer.address = vkGetBufferDeviceAddress(
		    vk.device, &(VkBufferDeviceAddressInfo){.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
							    .buffer = buffer.handle});
	return buffer;
}

void buffer_destroy(struct buffer *buffer)
{
	vkDestroyBuffer(vk.device, buffer->handle, NULL);
	vkFreeMemory(vk.device, buffer->memory, NULL);
	*buffer = (struct buffer){0};
}

static VkImageAspectFlags aspect_of(VkFormat format)
{
	switch (format) {
	case VK_FORMAT_D16_UNORM:
	case VK_FORMAT_D32_SFLOAT:
	case VK_FORMAT_X8_D24_UNORM_PACK32:
		return VK_IMAGE_ASPECT_DEPTH_BIT;
	case VK_FORMAT_D24_UNORM_S8_UINT:
	case VK_FORMAT_D32_SFLOAT_S8_UINT:
		return VK_IMAGE_ASPECT_DEPTH_BIT | VK_IMAGE_ASPECT_STENCIL_BIT;
	case VK_FORMAT_S8_UINT:
		return VK_IMAGE_ASPECT_STENCIL_BIT;
	default:
		return VK_IMAGE_ASPECT_COLOR_BIT;
	}
}

struct image image_create(const struct image_params *params)
{
	struct image image = {
	    .format = params->format,
	    .aspect = aspect_of(params->format),
	    .extent = {params->width, params->height ? params->height : 1, params->depth ? params->depth : 1},
	    .layers = params->layers ? params->layers : 1,
	    .levels = params->levels ? params->levels : 1};
	VkImageType type = params->depth ? VK_IMAGE_TYPE_3D : VK_IMAGE_TYPE_2D;
	VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
				  .flags = params->flags,
				  .imageType = type,
				  .format = image.format,
				  .extent = image.extent,
				  .mipLevels = image.levels,
				  .arrayLayers = image.layers,
				  .samples = params->samples ? params->samples : VK_SAMPLE_COUNT_1_BIT,
				  .tiling = VK_IMAGE_TILING_OPTIMAL,
				  .usage = params->usage};
	VkImageViewCreateInfo view = {.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
				      .viewType = params->depth      ? VK_IMAGE_VIEW_TYPE_3D
						  : image.layers > 1 ? VK_IMAGE_VIEW_TYPE_2D_ARRAY
								     : VK_IMAGE_VIEW_TYPE_2D,
				      .format = image.format,
				      .subresourceRange = {image.aspect, 0, image.levels, 0, image.layers}};
	const VkImageUsageFlags viewed = VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_STORAGE_BIT |
					 VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT |
					 VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT;
	VkMemoryRequirements requirements;

	CHECK(vkCreateImage(vk.device, &info, NULL, &image.handle));
	vkGetImageMemoryRequirements(vk.device, image.handle, &requirements);
	image.memory = allocate(&requirements, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, false);
	CHECK(vkBindImageMemory(vk.device, image.handle, image.memory, 0));
	view.image = image.handle;
	if (params->usage & viewed)
		CHECK(vkCreateImageView(vk.device, &view, NULL, &image.view));
	return image;
}

void image_destroy(struct image *image)
{
	vkDestroyImageView(vk.device, image->view, NULL);
	vkDestroyImage(vk.device, image->handle, NULL);
	vkFreeMemory(vk.device, image->memory, NULL);
	*image = (struct image){0};
}

VkCommandBuffer command_begin(void)
{
	VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
					    .commandPool = vk.pool,
					    .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
					    .commandBufferCount = 1};
	VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
	VkCommandBuffer command;

	CHECK(vkAllocateCommandBuffers(vk.device, &info, &command));
	CHECK(vkBeginCommandBuffer(command, &begin));
	return command;
}

void submit_and_wait(VkCommandBuffer command)
{
	VkFence fence;
	VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
	VkSubmitInfo submit = {
	    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &command};

	CHECK(vkCreateFence(vk.device, &info, NULL, &fence));
	CHECK(vkQueueSubmit(vk.queue, 1, &submit, fence));
	CHECK(vkWaitForFences(vk.device, 1, &fence, VK_TRUE, WAIT_NS));
	vkDestroyFence(vk.device, fence, NULL);
}

void command_finish(VkCommandBuffer command)
{
	CHECK(vkEndCommandBuffer(command));
	submit_and_wait(command);
	vkFreeCommandBuffers(vk.device, vk.pool, 1, &command);
}

void barrier(VkCommandBuffer command)
{
	VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
				  .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_WRITE_BIT,
				  .dstAccessMask =
				      VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_READ_BIT};

	vkCmdPipelineBarrier(command, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT,
			     VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &memory, 0, NULL, 0,
			     NULL);
}

void image_barrier(VkCommandBuffer command, const struct image *image, VkImageLayout from, VkImageLayout to)
{
	VkImageMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
				       .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
				       .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
				       .oldLayout = from,
				       .newLayout = to,
				       .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
				       .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
				       .image = image->handle,
				       .subresourceRange = {image->aspect, 0, image->levels, 0, image->layers}};

	vkCmdPipelineBarrier(command, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0,
			     NULL, 0, NULL, 1, &memory);
}

static uint32_t at_level(uint32_t size, uint32_t level)
{
	return size >> level ? size >> level : 1;
}

static VkBufferImageCopy whole(const struct image *image, uint32_t level, uint32_t layer)
{
	/* Depth is what is read of a depth and stencil image. */
	VkImageAspectFlags aspect =
	    image->aspect & VK_IMAGE_ASPECT_DEPTH_BIT ? VK_IMAGE_ASPECT_DEPTH_BIT : image->aspect;

	return (VkBufferImageCopy){.imageSubresource = {aspect, level, layer, 1},
				   .imageExtent = {at_level(image->extent.width, level),
						   at_level(image->extent.height, level),
						   at_level(image->extent.depth, level)}};
}

void *image_read(const struct image *image, uint32_t level, uint32_t layer, size_t texel_size, size_t *size)
{
	VkBufferImageCopy region = whole(image, level, layer);
	struct buffer buffer;
	VkCommandBuffer command = command_begin();
	void *bytes;

	*size = (size_t)region.imageExtent.width * region.imageExtent.height * region.imageExtent.depth * texel_size;
	buffer = buffer_create(*size, 0, ON_HOST);
	barrier(command);
	vkCmdCopyImageToBuffer(command, image->handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, buffer.handle, 1, &region);
	barrier(command);
	command_finish(command);
	bytes = malloc(*size);
	expect(bytes, "no memory");
	memcpy(bytes, buffer.map, *size);
	buffer_destroy(&buffer);
	return bytes;
}

void image_write(const struct image *image, uint32_t level, uint32_t layer, const void *bytes, size_t size,
		 VkImageLayout layout)
{
	VkBufferImageCopy region = whole(image, level, layer);
	struct buffer buffer = buffer_create(size, 0, ON_HOST);
	VkCommandBuffer command = command_begin();

	memcpy(buffer.map, bytes, size);
	barrier(command);
	vkCmdCopyBufferToImage(command, buffer.handle, image->handle, layout, 1, &region);
	command_finish(command);
	buffer_destroy(&buffer);
}

void image_report(const char *name, const struct image *image, VkImageLayout layout)
{
	VkCommandBuffer command = command_begin();
	size_t size;
	void *bytes;

	image_barrier(command, image, layout, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	command_finish(command);
	bytes = image_read(image, 0, 0, 4, &size);
	report_picture(name, bytes, image->extent.width, image->extent.height);
	free(bytes);
}

VkShaderModule shader(const struct shader_code *code)
{
	VkShaderModuleCreateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = code->size, .pCode = code->words};
	VkShaderModule module;

	CHECK(vkCreateShaderModule(vk.device, &info, NULL, &module));
	return module;
}

VkPipeline compute_pipeline(VkPipelineLayout layout, VkShaderModule module, const VkSpecializationInfo *constants,
			    VkPipelineCache cache, VkPipelineCreateFlags flags)
{
	VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
					    .flags = flags,
					    .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
						      .stage = VK_SHADER_STAGE_COMPUTE_BIT,
						      .module = module,
						      .pName = "main",
						      .pSpecializationInfo = constants},
					    .layout = layout};
	VkPipeline pipeline;

	CHECK(vkCreateComputePipelines(vk.device, cache, 1, &info, NULL, &pipeline));
	return pipeline;
}

struct compute compute_create(VkShaderModule module, const struct buffer *buffers, uint32_t count)
{
	struct compute compute;
	VkDescriptorSetLayoutBinding bindings[8];
	VkDescriptorBufferInfo infos[8];
	VkWriteDescriptorSet writes[8];
	VkDescriptorSetLayoutCreateInfo layout = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = count, .pBindings = bindings};
	VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, count};
	VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
					   .maxSets = 1,
					   .poolSizeCount = 1,
					   .pPoolSizes = &size};
	VkDescriptorSetAllocateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
					   .descriptorSetCount = 1};
	VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 16};
	VkPipelineLayoutCreateInfo pipeline = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
					       .setLayoutCount = 1,
					       .pushConstantRangeCount = 1,
					       .pPushConstantRanges = &range};

	for (uint32_t i = 0; i < count; i++) {
		bindings[i] = (VkDescriptorSetLayoutBinding){i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
							     VK_SHADER_STAGE_COMPUTE_BIT, NULL};
		infos[i] = (VkDescriptorBufferInfo){buffers[i].handle, 0, VK_WHOLE_SIZE};
	}
	CHECK(vkCreateDescriptorSetLayout(vk.device, &layout, NULL, &compute.set_layout));
	CHECK(vkCreateDescriptorPool(vk.device, &pool, NULL, &compute.pool));
	set.descriptorPool = compute.pool;
	set.pSetLayouts = &compute.set_layout;
	CHECK(vkAllocateDescriptorSets(vk.device, &set, &compute.set));
	for (uint32_t i = 0; i < count; i++)
		writes[i] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
						   .dstSet = compute.set,
						   .dstBinding = i,
						   .descriptorCount = 1,
						   .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
						   .pBufferInfo = &infos[i]};
	vkUpdateDescriptorSets(vk.device, count, writes, 0, NULL);
	pipeline.pSetLayouts = &compute.set_layout;
	CHECK(vkCreatePipelineLayout(vk.device, &pipeline, NULL, &compute.layout));
	compute.pipeline = compute_pipeline(compute.layout, module, NULL, VK_NULL_HANDLE, 0);
	return compute;
}

void compute_dispatch(VkCommandBuffer command, const struct compute *compute, const uint32_t push[4], uint32_t groups)
{
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, compute->pipeline);
	vkCmdBindDescriptorSets(command, VK_PIPELINE_BIND_POINT_COMPUTE, compute->layout, 0, 1, &compute->set, 0, NULL);
	vkCmdPushConstants(command, compute->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 16, push);
	vkCmdDispatch(command, groups, 1, 1);
}

void noise(void *bytes, size_t size, uint32_t seed)
{
	uint8_t *at = bytes;

	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525u + 1013904223u;
		at[i] = (uint8_t)(seed >> 24);
	}
}

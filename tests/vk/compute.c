/* SPDX-License-Identifier: MIT */
/* Compute, and all the ways to give a shader its descriptors. */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

#define WORDS   4096u
#define STORAGE VK_BUFFER_USAGE_STORAGE_BUFFER_BIT

static void dispatch(void)
{
	struct buffer buffer = buffer_create(WORDS * 4, STORAGE, ON_HOST);
	struct buffer groups = buffer_create(64, VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT, ON_HOST);
	VkShaderModule module = SHADER(fill_comp);
	struct compute compute = compute_create(module, &buffer, 1);
	uint32_t constant = 1000;
	VkSpecializationMapEntry entry = {0, 0, 4};
	VkSpecializationInfo constants = {1, &entry, 4, &constant};
	VkPipeline special = compute_pipeline(compute.layout, module, &constants, VK_NULL_HANDLE, 0);
	VkPipeline based =
	    compute_pipeline(compute.layout, module, &constants, VK_NULL_HANDLE, VK_PIPELINE_CREATE_DISPATCH_BASE);
	VkCommandBuffer command = command_begin();

	memset(buffer.map, 0, buffer.size);
	memcpy(groups.map, (uint32_t[]){0, 3, 1, 1}, 16);
	barrier(command);
	compute_dispatch(command, &compute, (uint32_t[4]){3, 1024, 0, 0}, 16);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, special);
	vkCmdPushConstants(command, compute.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 16,
			   (uint32_t[4]){5, 1000, 1024, 0});
	vkCmdDispatchIndirect(command, groups.handle, 4);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, based);
	vkCmdPushConstants(command, compute.layout, VK_SHADER_STAGE_COMPUTE_BIT, 8, 4, (uint32_t[1]){2048});
	vkCmdDispatchBase(command, 2, 0, 0, 4, 1, 1);
	barrier(command);
	command_finish(command);
	report_hash("words", buffer.map, buffer.size);
	vkDestroyPipeline(vk.device, special, NULL);
	vkDestroyPipeline(vk.device, based, NULL);
}

static void reduce(void)
{
	struct buffer buffers[] = {buffer_create(WORDS * 4, STORAGE, ON_HOST), buffer_create(256, STORAGE, ON_HOST)};
	struct compute compute = compute_create(SHADER(reduce_comp), buffers, 2);
	VkCommandBuffer command = command_begin();

	noise(buffers[0].map, WORDS * 4, 9);
	memset(buffers[1].map, 0, 256);
	barrier(command);
	compute_dispatch(command, &compute, (uint32_t[4]){0, WORDS, 0, 0}, WORDS / 64);
	barrier(command);
	command_finish(command);
	report_hash("sums", buffers[1].map, 256);
}

/* A variable count of buffers in one binding, updated after it is bound, some of them never. */
static void descriptor_indexing(void)
{
	const uint32_t count = 48;
	struct buffer out = buffer_create(WORDS * 4, STORAGE, ON_HOST), inputs[48];
	VkDescriptorSetLayoutBinding bindings[] = {
	    {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL},
	    {1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 64, VK_SHADER_STAGE_COMPUTE_BIT, NULL}};
	VkDescriptorBindingFlags flags[] = {0, VK_DESCRIPTOR_BINDING_UPDATE_AFTER_BIND_BIT |
						   VK_DESCRIPTOR_BINDING_PARTIALLY_BOUND_BIT |
						   VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT};
	VkDescriptorSetLayoutBindingFlagsCreateInfo binding_flags = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO,
	    .bindingCount = 2,
	    .pBindingFlags = flags};
	VkDescriptorSetLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
						  .pNext = &binding_flags,
						  .flags = VK_DESCRIPTOR_SET_LAYOUT_CREATE_UPDATE_AFTER_BIND_POOL_BIT,
						  .bindingCount = 2,
						  .pBindings = bindings};
	VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 65};
	VkDescriptorPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
						.flags = VK_DESCRIPTOR_POOL_CREATE_UPDATE_AFTER_BIND_BIT,
						.maxSets = 1,
						.poolSizeCount = 1,
						.pPoolSizes = &size};
	VkDescriptorSetVariableDescriptorCountAllocateInfo variable = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_ALLOCATE_INFO,
	    .descriptorSetCount = 1,
	    .pDescriptorCounts = &count};
	VkDescriptorSetAllocateInfo set_info = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, .pNext = &variable, .descriptorSetCount = 1};
	VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 16};
	VkPipelineLayoutCreateInfo pipeline_info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
						    .setLayoutCount = 1,
						    .pushConstantRangeCount = 1,
						    .pPushConstantRanges = &range};
	VkPhysicalDeviceVulkan12Features *f = &vk.features.v12;
	struct compute compute;
	VkCommandBuffer command;

	need(f->descriptorBindingVariableDescriptorCount && f->descriptorBindingPartiallyBound &&
		 f->descriptorBindingStorageBufferUpdateAfterBind && f->shaderStorageBufferArrayNonUniformIndexing &&
		 f->runtimeDescriptorArray,
	     "descriptorIndexing");
	CHECK(vkCreateDescriptorSetLayout(vk.device, &layout, NULL, &compute.set_layout));
	CHECK(vkCreateDescriptorPool(vk.device, &pool_info, NULL, &compute.pool));
	set_info.descriptorPool = compute.pool;
	set_info.pSetLayouts = &compute.set_layout;
	CHECK(vkAllocateDescriptorSets(vk.device, &set_info, &compute.set));
	pipeline_info.pSetLayouts = &compute.set_layout;
	CHECK(vkCreatePipelineLayout(vk.device, &pipeline_info, NULL, &compute.layout));
	compute.pipeline = compute_pipeline(compute.layout, SHADER(indexing_comp), NULL, VK_NULL_HANDLE, 0);
	vkUpdateDescriptorSets(
	    vk.device, 1,
	    &(VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
				    .dstSet = compute.set,
				    .descriptorCount = 1,
				    .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
				    .pBufferInfo = &(VkDescriptorBufferInfo){out.handle, 0, VK_WHOLE_SIZE}},
	    0, NULL);
	command = command_begin();
	barrier(command);
	compute_dispatch(command, &compute, (uint32_t[4]){count, WORDS, 0, 0}, WORDS / 64);
	barrier(command);
	CHECK(vkEndCommandBuffer(command));
	/* Every second one: the shader asks for those only. */
	for (uint32_t i = 0; i < count; i += 2) {
		inputs[i] = buffer_create(256, STORAGE, ON_HOST);
		noise(inputs[i].map, 256, i);
		vkUpdateDescriptorSets(
		    vk.device, 1,
		    &(VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
					    .dstSet = compute.set,
					    .dstBinding = 1,
					    .dstArrayElement = i,
					    .descriptorCount = 1,
					    .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
					    .pBufferInfo =
						&(VkDescriptorBufferInfo){inputs[i].handle, 0, VK_WHOLE_SIZE}},
		    0, NULL);
	}
	submit_and_wait(command);
	report_hash("words", out.map, out.size);
}

static VkDescriptorUpdateTemplate template_create(const struct compute *compute, VkDescriptorUpdateTemplateType type)
{
	VkDescriptorUpdateTemplateEntry entries[] = {
	    {0, 0, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 16, sizeof(VkDescriptorBufferInfo)},
	    {1, 0, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 16 + sizeof(VkDescriptorBufferInfo),
	     sizeof(VkDescriptorBufferInfo)}};
	VkDescriptorUpdateTemplateCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO,
						     .descriptorUpdateEntryCount = 2,
						     .pDescriptorUpdateEntries = entries,
						     .templateType = type,
						     .descriptorSetLayout = compute->set_layout,
						     .pipelineBindPoint = VK_PIPELINE_BIND_POINT_COMPUTE,
						     .pipelineLayout = compute->layout};
	VkDescriptorUpdateTemplate update;

	CHECK(vkCreateDescriptorUpdateTemplate(vk.device, &info, NULL, &update));
	return update;
}

struct template_data {
	uint64_t unused[2];
	VkDescriptorBufferInfo buffers[2];
};

static void update_template(void)
{
	struct buffer in[8], out[8], first[2];
	struct compute compute;
	VkDescriptorUpdateTemplate update;

	for (uint32_t i = 0; i < 8; i++) {
		in[i] = buffer_create(WORDS * 4, STORAGE, ON_HOST);
		out[i] = buffer_create(256, STORAGE, ON_HOST);
		noise(in[i].map, WORDS * 4, i);
		memset(out[i].map, 0, 256);
	}
	first[0] = in[0];
	first[1] = out[0];
	compute = compute_create(SHADER(reduce_comp), first, 2);
	update = template_create(&compute, VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET);
	for (uint32_t i = 0; i < 8; i++) {
		struct template_data data = {{0},
					     {{in[i].handle, 0, VK_WHOLE_SIZE}, {out[i].handle, 0, VK_WHOLE_SIZE}}};
		VkCommandBuffer command = command_begin();

		vkUpdateDescriptorSetWithTemplate(vk.device, compute.set, update, &data);
		barrier(command);
		compute_dispatch(command, &compute, (uint32_t[4]){0, WORDS, 0, 0}, WORDS / 64);
		barrier(command);
		command_finish(command);
	}
	for (uint32_t i = 0; i < 8; i++)
		report_hash((const char[]){(char)('0' + i), 0}, out[i].map, 256);
	vkDestroyDescriptorUpdateTemplate(vk.device, update, NULL);
}

/* The same set is used again and again within one command buffer, so only pushing can work. */
static void push_descriptor(void)
{
	struct buffer in[8], out[8];
	VkDescriptorSetLayoutBinding bindings[2];
	VkDescriptorSetLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
						  .flags = VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT,
						  .bindingCount = 2,
						  .pBindings = bindings};
	VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 16};
	VkPipelineLayoutCreateInfo pipeline = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
					       .setLayoutCount = 1,
					       .pushConstantRangeCount = 1,
					       .pPushConstantRanges = &range};
	struct compute compute = {0};
	VkDescriptorUpdateTemplate update;
	VkCommandBuffer command;

	need(vk.version >= VK_API_VERSION_1_4 && vk.features.v14.pushDescriptor, "pushDescriptor");
	for (uint32_t i = 0; i < 2; i++)
		bindings[i] = (VkDescriptorSetLayoutBinding){i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
							     VK_SHADER_STAGE_COMPUTE_BIT, NULL};
	CHECK(vkCreateDescriptorSetLayout(vk.device, &layout, NULL, &compute.set_layout));
	pipeline.pSetLayouts = &compute.set_layout;
	CHECK(vkCreatePipelineLayout(vk.device, &pipeline, NULL, &compute.layout));
	compute.pipeline = compute_pipeline(compute.layout, SHADER(reduce_comp), NULL, VK_NULL_HANDLE, 0);
	update = template_create(&compute, VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_PUSH_DESCRIPTORS);
	command = command_begin();
	barrier(command);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, compute.pipeline);
	vkCmdPushConstants(command, compute.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 16, (uint32_t[4]){0, WORDS, 0, 0});
	for (uint32_t i = 0; i < 8; i++) {
		VkDescriptorBufferInfo infos[2];
		VkWriteDescriptorSet writes[2];

		in[i] = buffer_create(WORDS * 4, STORAGE, ON_HOST);
		out[i] = buffer_create(256, STORAGE, ON_HOST);
		noise(in[i].map, WORDS * 4, 100 + i);
		memset(out[i].map, 0, 256);
		for (uint32_t k = 0; k < 2; k++) {
			infos[k] = (VkDescriptorBufferInfo){k ? out[i].handle : in[i].handle, 0, VK_WHOLE_SIZE};
			writes[k] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
							   .dstBinding = k,
							   .descriptorCount = 1,
							   .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
							   .pBufferInfo = &infos[k]};
		}
		if (i & 1) {
			struct template_data data = {{0}, {infos[0], infos[1]}};

			vkCmdPushDescriptorSetWithTemplate(command, update, compute.layout, 0, &data);
		} else {
			vkCmdPushDescriptorSet(command, VK_PIPELINE_BIND_POINT_COMPUTE, compute.layout, 0, 2, writes);
		}
		vkCmdDispatch(command, WORDS / 64, 1, 1);
	}
	barrier(command);
	command_finish(command);
	for (uint32_t i = 0; i < 8; i++)
		report_hash((const char[]){(char)('0' + i), 0}, out[i].map, 256);
}

static void inline_uniform(void)
{
	struct buffer out = buffer_create(1024, STORAGE, ON_HOST);
	VkDescriptorSetLayoutBinding bindings[] = {
	    {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL},
	    {1, VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 64, VK_SHADER_STAGE_COMPUTE_BIT, NULL},
	    {2, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL}};
	struct buffer uniform = buffer_create(4096, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT, ON_HOST);
	VkDescriptorSetLayoutCreateInfo layout = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 3, .pBindings = bindings};
	VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1},
					{VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 64},
					{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, 1}};
	VkDescriptorPoolInlineUniformBlockCreateInfo blocks = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO,
	    .maxInlineUniformBlockBindings = 1};
	VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
					   .pNext = &blocks,
					   .maxSets = 1,
					   .poolSizeCount = COUNT(sizes),
					   .pPoolSizes = sizes};
	VkDescriptorSetAllocateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
					   .descriptorSetCount = 1};
	VkPipelineLayoutCreateInfo pipeline = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
					       .setLayoutCount = 1};
	VkWriteDescriptorSetInlineUniformBlock block = {
	    .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK, .dataSize = 64};
	VkDescriptorBufferInfo infos[] = {{out.handle, 0, VK_WHOLE_SIZE}, {uniform.handle, 0, 64}};
	VkWriteDescriptorSet writes[] = {{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
					  .dstBinding = 0,
					  .descriptorCount = 1,
					  .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
					  .pBufferInfo = &infos[0]},
					 {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
					  .pNext = &block,
					  .dstBinding = 1,
					  .descriptorCount = 64,
					  .descriptorType = VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK},
					 {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
					  .dstBinding = 2,
					  .descriptorCount = 1,
					  .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC,
					  .pBufferInfo = &infos[1]}};
	struct compute compute;
	VkCommandBuffer command;
	uint32_t data[16], offset = 1024;

	need(vk.features.v13.inlineUniformBlock, "inlineUniformBlock");
	noise(data, sizeof(data), 41);
	noise(uniform.map, 4096, 42);
	block.pData = data;
	CHECK(vkCreateDescriptorSetLayout(vk.device, &layout, NULL, &compute.set_layout));
	CHECK(vkCreateDescriptorPool(vk.device, &pool, NULL, &compute.pool));
	set.descriptorPool = compute.pool;
	set.pSetLayouts = &compute.set_layout;
	CHECK(vkAllocateDescriptorSets(vk.device, &set, &compute.set));
	for (uint32_t i = 0; i < COUNT(writes); i++)
		writes[i].dstSet = compute.set;
	vkUpdateDescriptorSets(vk.device, COUNT(writes), writes, 0, NULL);
	pipeline.pSetLayouts = &compute.set_layout;
	CHECK(vkCreatePipelineLayout(vk.device, &pipeline, NULL, &compute.layout));
	compute.pipeline = compute_pipeline(compute.layout, SHADER(inline_comp), NULL, VK_NULL_HANDLE, 0);
	memset(out.map, 0, out.size);
	command = command_begin();
	barrier(command);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, compute.pipeline);
	vkCmdBindDescriptorSets(command, VK_PIPELINE_BIND_POINT_COMPUTE, compute.layout, 0, 1, &compute.set, 1,
				&offset);
	vkCmdDispatch(command, 1, 1, 1);
	barrier(command);
	command_finish(command);
	report_hash("words", out.map, out.size);
}

static void buffer_address(void)
{
	struct buffer nodes = buffer_create(WORDS * 16, STORAGE, ON_HOST), out = buffer_create(1024, STORAGE, ON_HOST);
	struct compute compute;
	VkCommandBuffer command;
	uint64_t *node = nodes.map;
	uint32_t push[4] = {0};

	need(vk.features.v12.bufferDeviceAddress && vk.features.core.features.shaderInt64, "bufferDeviceAddress");
	compute = compute_create(SHADER(address_comp), &out, 1);
	/* A list through memory: each node is the address of the next and a value. */
	for (uint32_t i = 0; i < WORDS; i++) {
		node[2 * i] = nodes.address + 16ull * ((i * 1237 + 331) % WORDS);
		node[2 * i + 1] = i * 77ull;
	}
	memcpy(push, &nodes.address, 8);
	memset(out.map, 0, out.size);
	command = command_begin();
	barrier(command);
	compute_dispatch(command, &compute, push, 1);
	barrier(command);
	command_finish(command);
	report_hash("sums", out.map, out.size);
}

/* Sampled and storage images, a separate sampler, texel buffers; and vkUpdateDescriptorSets' copies. */
static void images(void)
{
	const uint32_t edge = 64;
	const VkImageUsageFlags usage = VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_STORAGE_BIT |
					VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
	struct image in = image_create(&(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, edge, edge, .usage = usage});
	struct image out = image_create(&(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, edge, edge, .usage = usage});
	struct buffer texels = buffer_create(
	    4096, VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT | VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT, ON_HOST);
	struct buffer written = buffer_create(
	    16384, VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT | VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT, ON_HOST);
	const VkDescriptorType types[] = {VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE, VK_DESCRIPTOR_TYPE_SAMPLER,
					  VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
					  VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER};
	VkDescriptorSetLayoutBinding bindings[COUNT(types)];
	VkDescriptorPoolSize sizes[COUNT(types)];
	VkDescriptorSetLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
						  .bindingCount = COUNT(types),
						  .pBindings = bindings};
	VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
					   .maxSets = 2,
					   .poolSizeCount = COUNT(types),
					   .pPoolSizes = sizes};
	VkSamplerCreateInfo sampler_info = {.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
					    .magFilter = VK_FILTER_LINEAR,
					    .minFilter = VK_FILTER_LINEAR,
					    .addressModeU = VK_SAMPLER_ADDRESS_MODE_MIRRORED_REPEAT,
					    .addressModeV = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_BORDER,
					    .borderColor = VK_BORDER_COLOR_FLOAT_OPAQUE_WHITE};
	VkBufferViewCreateInfo view = {.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO, .range = VK_WHOLE_SIZE};
	VkDescriptorSetLayout set_layouts[2];
	VkDescriptorSet sets[2];
	VkDescriptorSetAllocateInfo allocate_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
						     .descriptorSetCount = 2,
						     .pSetLayouts = set_layouts};
	VkDescriptorImageInfo infos[3];
	VkBufferView views[2];
	VkWriteDescriptorSet writes[COUNT(types)];
	VkCopyDescriptorSet copies[COUNT(types)];
	VkPipelineLayoutCreateInfo pipeline = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
					       .setLayoutCount = 1};
	struct compute compute;
	VkSampler sampler;
	VkCommandBuffer command;
	uint8_t bytes[64 * 64 * 4];

	for (uint32_t i = 0; i < COUNT(types); i++) {
		bindings[i] = (VkDescriptorSetLayoutBinding){i, types[i], 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL};
		sizes[i] = (VkDescriptorPoolSize){types[i], 2};
	}
	CHECK(vkCreateDescriptorSetLayout(vk.device, &layout, NULL, &compute.set_layout));
	CHECK(vkCreateDescriptorPool(vk.device, &pool, NULL, &compute.pool));
	set_layouts[0] = set_layouts[1] = compute.set_layout;
	allocate_info.descriptorPool = compute.pool;
	CHECK(vkAllocateDescriptorSets(vk.device, &allocate_info, sets));
	CHECK(vkCreateSampler(vk.device, &sampler_info, NULL, &sampler));
	view.buffer = texels.handle;
	view.format = VK_FORMAT_R8G8B8A8_UNORM;
	CHECK(vkCreateBufferView(vk.device, &view, NULL, &views[0]));
	view.buffer = written.handle;
	view.format = VK_FORMAT_R32_UINT;
	CHECK(vkCreateBufferView(vk.device, &view, NULL, &views[1]));
	infos[0] = (VkDescriptorImageInfo){VK_NULL_HANDLE, in.view, VK_IMAGE_LAYOUT_GENERAL};
	infos[1] = (VkDescriptorImageInfo){.sampler = sampler};
	infos[2] = (VkDescriptorImageInfo){VK_NULL_HANDLE, out.view, VK_IMAGE_LAYOUT_GENERAL};
	for (uint32_t i = 0; i < COUNT(types); i++) {
		writes[i] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
						   .dstSet = sets[0],
						   .dstBinding = i,
						   .descriptorCount = 1,
						   .descriptorType = types[i],
						   .pImageInfo = i < 3 ? &infos[i] : NULL,
						   .pTexelBufferView = i < 3 ? NULL : &views[i - 3]};
		copies[i] = (VkCopyDescriptorSet){.sType = VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET,
						  .srcSet = sets[0],
						  .srcBinding = i,
						  .dstSet = sets[1],
						  .dstBinding = i,
						  .descriptorCount = 1};
	}
	vkUpdateDescriptorSets(vk.device, COUNT(writes), writes, COUNT(copies), copies);
	compute.set = sets[1];
	pipeline.pSetLayouts = &compute.set_layout;
	CHECK(vkCreatePipelineLayout(vk.device, &pipeline, NULL, &compute.layout));
	compute.pipeline = compute_pipeline(compute.layout, SHADER(images_comp), NULL, VK_NULL_HANDLE, 0);
	command = command_begin();
	image_barrier(command, &in, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_GENERAL);
	image_barrier(command, &out, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_GENERAL);
	command_finish(command);
	noise(bytes, sizeof(bytes), 51);
	image_write(&in, 0, 0, bytes, sizeof(bytes), VK_IMAGE_LAYOUT_GENERAL);
	noise(texels.map, texels.size, 52);
	command = command_begin();
	barrier(command);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, compute.pipeline);
	vkCmdBindDescriptorSets(command, VK_PIPELINE_BIND_POINT_COMPUTE, compute.layout, 0, 1, &compute.set, 0, NULL);
	vkCmdDispatch(command, edge / 8, edge / 8, 1);
	barrier(command);
	command_finish(command);
	report_hash("texel buffer", written.map, written.size);
	image_report("picture", &out, VK_IMAGE_LAYOUT_GENERAL);
}

static void pipeline_cache(void)
{
	struct buffer buffer = buffer_create(WORDS * 4, STORAGE, ON_HOST);
	VkShaderModule module = SHADER(step_comp);
	struct compute compute = compute_create(module, &buffer, 1);
	VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
	VkPipelineCache caches[3];
	VkPipelineCreationFeedback feedback[2] = {0};
	VkPipelineCreationFeedbackCreateInfo ask = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO,
						    .pPipelineCreationFeedback = &feedback[0],
						    .pipelineStageCreationFeedbackCount = 1,
						    .pPipelineStageCreationFeedbacks = &feedback[1]};
	VkComputePipelineCreateInfo create = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
					      .pNext = &ask,
					      .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
							.stage = VK_SHADER_STAGE_COMPUTE_BIT,
							.module = module,
							.pName = "main"},
					      .layout = compute.layout};
	VkPipeline pipelines[3];
	VkCommandBuffer command;
	size_t size = 0, again;
	uint8_t *data;

	CHECK(vkCreatePipelineCache(vk.device, &info, NULL, &caches[0]));
	CHECK(vkCreateComputePipelines(vk.device, caches[0], 1, &create, NULL, &pipelines[0]));
	CHECK(vkGetPipelineCacheData(vk.device, caches[0], &size, NULL));
	expect(size >= 32, "the cache's data has %zu bytes", size);
	data = calloc(1, size);
	again = size;
	CHECK(vkGetPipelineCacheData(vk.device, caches[0], &again, data));
	again = 16;
	expect(vkGetPipelineCacheData(vk.device, caches[0], &again, (uint8_t[32]){0}) == VK_INCOMPLETE,
	       "16 bytes were enough");
	info.initialDataSize = size;
	info.pInitialData = data;
	CHECK(vkCreatePipelineCache(vk.device, &info, NULL, &caches[1]));
	/* Vulkan wants the header to be a driver's own: Mesa's venus does not survive another. */
	noise(data + 32, size - 32, 3);
	CHECK(vkCreatePipelineCache(vk.device, &info, NULL, &caches[2]));
	CHECK(vkMergePipelineCaches(vk.device, caches[2], 2, (VkPipelineCache[]){caches[0], caches[1]}));
	CHECK(vkCreateComputePipelines(vk.device, caches[1], 1, &create, NULL, &pipelines[1]));
	create.flags = VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT;
	if (vk.features.v13.pipelineCreationCacheControl) {
		VkResult result = vkCreateComputePipelines(vk.device, VK_NULL_HANDLE, 1, &create, NULL, &pipelines[2]);

		expect(result == VK_SUCCESS || result == VK_PIPELINE_COMPILE_REQUIRED, "VkResult %d", (int)result);
		if (result == VK_SUCCESS)
			vkDestroyPipeline(vk.device, pipelines[2], NULL);
	}
	compute.pipeline = pipelines[1];
	memset(buffer.map, 0, buffer.size);
	command = command_begin();
	barrier(command);
	compute_dispatch(command, &compute, (uint32_t[4]){1, WORDS, 0, 0}, WORDS / 64);
	barrier(command);
	command_finish(command);
	report_hash("words", buffer.map, buffer.size);
	for (uint32_t i = 0; i < 3; i++)
		vkDestroyPipelineCache(vk.device, caches[i], NULL);
	free(data);
}

const struct vk_case compute_cases[] = {
    {"compute/dispatch", dispatch},
    {"compute/reduce", reduce},
    {"compute/descriptor_indexing", descriptor_indexing},
    {"compute/update_template", update_template},
    {"compute/push_descriptor", push_descriptor},
    {"compute/inline_uniform", inline_uniform},
    {"compute/buffer_address", buffer_address},
    {"compute/images", images},
    {"compute/pipeline_cache", pipeline_cache},
    {0},
};

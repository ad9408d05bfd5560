/* SPDX-License-Identifier: MIT */
#include "graphics.h"

struct target target_create(VkSampleCountFlagBits samples)
{
	return (struct target){
	    .color = image_create(
		&(struct image_params){COLOR_FORMAT, TARGET_EDGE, TARGET_EDGE, .samples = samples,
				       .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT |
						VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_SAMPLED_BIT |
						VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT}),
	    .depth = image_create(&(struct image_params){DEPTH_FORMAT, TARGET_EDGE, TARGET_EDGE, .samples = samples,
							 .usage = VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT})};
}

/* 32 triangles that overlap, in three planes of depth. */
struct buffer mesh_create(void)
{
	struct buffer buffer = buffer_create(MESH_VERTICES * 24, VK_BUFFER_USAGE_VERTEX_BUFFER_BIT, ON_HOST);
	float *at = buffer.map;
	uint8_t bytes[MESH_VERTICES * 6];

	noise(bytes, sizeof(bytes), 2024);
	for (uint32_t i = 0; i < MESH_VERTICES; i++, at += 6) {
		at[0] = (float)bytes[i * 6] / 128.0f - 1.0f;
		at[1] = (float)bytes[i * 6 + 1] / 128.0f - 1.0f;
		at[2] = (float)(i / 3 % 3) * 0.25f + 0.125f;
		for (uint32_t c = 0; c < 3; c++)
			at[3 + c] = (float)bytes[i * 6 + 3 + c] / 256.0f;
	}
	return buffer;
}

VkPipelineLayout layout_create(VkDescriptorSetLayout set)
{
	VkPushConstantRange range = {VK_SHADER_STAGE_ALL_GRAPHICS, 0, 16};
	VkPipelineLayoutCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
					   .setLayoutCount = set ? 1 : 0,
					   .pSetLayouts = &set,
					   .pushConstantRangeCount = 1,
					   .pPushConstantRanges = &range};
	VkPipelineLayout layout;

	CHECK(vkCreatePipelineLayout(vk.device, &info, NULL, &layout));
	return layout;
}

VkPipeline pipeline_create(const struct pipeline_params *params)
{
	const VkShaderModule modules[] = {params->vertex, params->control, params->evaluation, params->geometry,
					  params->fragment};
	const VkShaderStageFlagBits bits[] = {VK_SHADER_STAGE_VERTEX_BIT, VK_SHADER_STAGE_TESSELLATION_CONTROL_BIT,
					      VK_SHADER_STAGE_TESSELLATION_EVALUATION_BIT, VK_SHADER_STAGE_GEOMETRY_BIT,
					      VK_SHADER_STAGE_FRAGMENT_BIT};
	VkPipelineShaderStageCreateInfo stages[5];
	VkVertexInputBindingDescription binding = {0, 24, VK_VERTEX_INPUT_RATE_VERTEX};
	VkVertexInputAttributeDescription attributes[] = {{0, 0, VK_FORMAT_R32G32B32_SFLOAT, 0},
							  {1, 0, VK_FORMAT_R32G32B32_SFLOAT, 12}};
	VkPipelineVertexInputStateCreateInfo input = {.sType =
							  VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO,
						      .vertexBindingDescriptionCount = params->no_vertices ? 0 : 1,
						      .pVertexBindingDescriptions = &binding,
						      .vertexAttributeDescriptionCount = params->no_vertices ? 0 : 2,
						      .pVertexAttributeDescriptions = attributes};
	VkPipelineInputAssemblyStateCreateInfo assembly = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
	    .topology = params->topology ? params->topology : VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST};
	VkPipelineTessellationStateCreateInfo tessellation = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_TESSELLATION_STATE_CREATE_INFO, .patchControlPoints = 3};
	VkPipelineViewportStateCreateInfo viewport = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO, .viewportCount = 1, .scissorCount = 1};
	VkPipelineRasterizationStateCreateInfo raster = {.sType =
							     VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO,
							 .polygonMode = VK_POLYGON_MODE_FILL,
							 .cullMode = VK_CULL_MODE_NONE,
							 .lineWidth = 1};
	VkPipelineMultisampleStateCreateInfo samples = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
	    .rasterizationSamples = params->samples ? params->samples : VK_SAMPLE_COUNT_1_BIT};
	VkPipelineDepthStencilStateCreateInfo depth = {.sType =
							   VK_STRUCTURE_TYPE_PIPELINE_DEPTH_STENCIL_STATE_CREATE_INFO,
						       .depthTestEnable = params->depth,
						       .depthWriteEnable = params->depth,
						       .depthCompareOp = VK_COMPARE_OP_LESS_OR_EQUAL};
	VkPipelineColorBlendAttachmentState attachment = {.blendEnable = VK_TRUE,
							  .srcColorBlendFactor = VK_BLEND_FACTOR_CONSTANT_ALPHA,
							  .dstColorBlendFactor =
							      VK_BLEND_FACTOR_ONE_MINUS_CONSTANT_ALPHA,
							  .srcAlphaBlendFactor = VK_BLEND_FACTOR_ONE,
							  .colorWriteMask = 15};
	VkPipelineColorBlendStateCreateInfo blend = {.sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
						     .attachmentCount = 1,
						     .pAttachments = &attachment,
						     .blendConstants = {0, 0, 0, 0.75f}};
	VkDynamicState states[32] = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
	VkPipelineDynamicStateCreateInfo dynamic = {.sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
						    .dynamicStateCount = 2 + params->dynamic_count,
						    .pDynamicStates = states};
	VkFormat format = COLOR_FORMAT;
	VkPipelineRenderingCreateInfo rendering = {.sType = VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO,
						   .pNext = params->next,
						   .viewMask = params->view_mask,
						   .colorAttachmentCount = 1,
						   .pColorAttachmentFormats = &format,
						   .depthAttachmentFormat = DEPTH_FORMAT};
	VkGraphicsPipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
					     .pNext = params->pass ? params->next : &rendering,
					     .flags = params->flags,
					     .pStages = stages,
					     .pVertexInputState = &input,
					     .pInputAssemblyState = &assembly,
					     .pTessellationState = &tessellation,
					     .pViewportState = &viewport,
					     .pRasterizationState = &raster,
					     .pMultisampleState = &samples,
					     .pDepthStencilState = &depth,
					     .pColorBlendState = &blend,
					     .pDynamicState = &dynamic,
					     .layout = params->layout,
					     .renderPass = params->pass,
					     .subpass = params->subpass};
	VkPipeline pipeline;

	for (uint32_t i = 0; i < params->dynamic_count; i++)
		states[2 + i] = params->dynamic[i];
	for (uint32_t i = 0; i < COUNT(modules); i++)
		if (modules[i])
			stages[info.stageCount++] = (VkPipelineShaderStageCreateInfo){
			    .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
			    .stage = bits[i],
			    .module = modules[i],
			    .pName = "main"};
	if (params->control)
		assembly.topology = VK_PRIMITIVE_TOPOLOGY_PATCH_LIST;
	else
		info.pTessellationState = NULL;
	CHECK(vkCreateGraphicsPipelines(vk.device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline));
	return pipeline;
}

void viewport_set(VkCommandBuffer command, uint32_t edge)
{
	vkCmdSetViewport(command, 0, 1, &(VkViewport){0, 0, (float)edge, (float)edge, 0, 1});
	vkCmdSetScissor(command, 0, 1, &(VkRect2D){{0, 0}, {edge, edge}});
}

void target_prepare(VkCommandBuffer command, const struct target *target)
{
	image_barrier(command, &target->color, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
	image_barrier(command, &target->depth, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL);
}

void rendering_begin(VkCommandBuffer command, const struct target *target, VkRenderingFlags flags)
{
	VkRenderingAttachmentInfo color = {.sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
					   .imageView = target->color.view,
					   .imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
					   .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
					   .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
					   .clearValue = {.color = {.float32 = {0.1f, 0.2f, 0.3f, 1}}}};
	VkRenderingAttachmentInfo depth = {.sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
					   .imageView = target->depth.view,
					   .imageLayout = VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL,
					   .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
					   .storeOp = VK_ATTACHMENT_STORE_OP_DONT_CARE,
					   .clearValue = {.depthStencil = {1, 0}}};
	VkRenderingInfo info = {.sType = VK_STRUCTURE_TYPE_RENDERING_INFO,
				.flags = flags,
				.renderArea = {{0, 0}, {TARGET_EDGE, TARGET_EDGE}},
				.layerCount = 1,
				.colorAttachmentCount = 1,
				.pColorAttachments = &color,
				.pDepthAttachment = &depth};

	vkCmdBeginRendering(command, &info);
}

void push(VkCommandBuffer command, VkPipelineLayout layout, float x, float y, float scale, float extra)
{
	vkCmdPushConstants(command, layout, VK_SHADER_STAGE_ALL_GRAPHICS, 0, 16, (float[4]){x, y, scale, extra});
}

void target_report(const char *name, const struct target *target)
{
	image_report(name, &target->color, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
}

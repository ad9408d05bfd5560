/* SPDX-License-Identifier: MIT */
/* What lies beyond the core, where it is offered, and the end of a device. */
#include "graphics.h"

#include <stdlib.h>
#include <string.h>

/* A pipeline linked from four libraries. */
static void pipeline_library(void)
{
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT);
	struct buffer mesh = mesh_create();
	VkPipelineLayout layout = layout_create(VK_NULL_HANDLE);
	VkVertexInputBindingDescription binding = {0, 24, VK_VERTEX_INPUT_RATE_VERTEX};
	VkVertexInputAttributeDescription attributes[] = {{0, 0, VK_FORMAT_R32G32B32_SFLOAT, 0},
							  {1, 0, VK_FORMAT_R32G32B32_SFLOAT, 12}};
	VkPipelineVertexInputStateCreateInfo input = {.sType =
							  VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO,
						      .vertexBindingDescriptionCount = 1,
						      .pVertexBindingDescriptions = &binding,
						      .vertexAttributeDescriptionCount = 2,
						      .pVertexAttributeDescriptions = attributes};
	VkPipelineInputAssemblyStateCreateInfo assembly = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
	    .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST};
	VkPipelineViewportStateCreateInfo viewport = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO, .viewportCount = 1, .scissorCount = 1};
	VkPipelineRasterizationStateCreateInfo raster = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO, .lineWidth = 1};
	VkPipelineMultisampleStateCreateInfo samples = {.sType =
							    VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
							.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
	VkPipelineDepthStencilStateCreateInfo depth = {.sType =
							   VK_STRUCTURE_TYPE_PIPELINE_DEPTH_STENCIL_STATE_CREATE_INFO};
	VkPipelineColorBlendAttachmentState attachment = {.colorWriteMask = 15};
	VkPipelineColorBlendStateCreateInfo blend = {.sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
						     .attachmentCount = 1,
						     .pAttachments = &attachment};
	VkDynamicState states[] = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
	VkPipelineDynamicStateCreateInfo dynamic = {.sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
						    .dynamicStateCount = 2,
						    .pDynamicStates = states};
	VkPipelineShaderStageCreateInfo vertex = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
						  .stage = VK_SHADER_STAGE_VERTEX_BIT,
						  .pName = "main"},
					fragment = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
						    .stage = VK_SHADER_STAGE_FRAGMENT_BIT,
						    .pName = "main"};
	VkFormat format = COLOR_FORMAT;
	VkPipelineRenderingCreateInfo rendering = {.sType = VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO,
						   .colorAttachmentCount = 1,
						   .pColorAttachmentFormats = &format,
						   .depthAttachmentFormat = DEPTH_FORMAT};
	VkGraphicsPipelineLibraryCreateInfoEXT part = {
	    .sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_LIBRARY_CREATE_INFO_EXT, .pNext = &rendering};
	VkGraphicsPipelineCreateInfo infos[4];
	VkPipeline libraries[4], pipeline;
	VkPipelineLibraryCreateInfoKHR link = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR, .libraryCount = 4, .pLibraries = libraries};
	VkGraphicsPipelineCreateInfo linked = {
	    .sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO, .pNext = &link, .layout = layout};
	VkCommandBuffer command;

	need_extension("VK_EXT_graphics_pipeline_library");
	need(vk.features.pipeline_library.graphicsPipelineLibrary, "graphicsPipelineLibrary");
	vertex.module = SHADER(mesh_vert);
	fragment.module = SHADER(color_frag);
	for (uint32_t i = 0; i < 4; i++)
		infos[i] = (VkGraphicsPipelineCreateInfo){.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
							  .pNext = &part,
							  .flags = VK_PIPELINE_CREATE_LIBRARY_BIT_KHR,
							  .layout = layout};
	infos[0].pVertexInputState = &input;
	infos[0].pInputAssemblyState = &assembly;
	infos[1].stageCount = infos[2].stageCount = 1;
	infos[1].pStages = &vertex;
	infos[1].pViewportState = &viewport;
	infos[1].pRasterizationState = &raster;
	infos[1].pDynamicState = &dynamic;
	infos[2].pStages = &fragment;
	infos[2].pDepthStencilState = &depth;
	infos[2].pMultisampleState = &samples;
	infos[3].pColorBlendState = &blend;
	infos[3].pMultisampleState = &samples;
	for (uint32_t i = 0; i < 4; i++) {
		part.flags = 1u << i;
		CHECK(vkCreateGraphicsPipelines(vk.device, VK_NULL_HANDLE, 1, &infos[i], NULL, &libraries[i]));
	}
	CHECK(vkCreateGraphicsPipelines(vk.device, VK_NULL_HANDLE, 1, &linked, NULL, &pipeline));
	command = command_begin();
	target_prepare(command, &target);
	rendering_begin(command, &target, 0);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
	vkCmdBindVertexBuffers(command, 0, 1, &mesh.handle, &(VkDeviceSize){0});
	viewport_set(command, TARGET_EDGE);
	push(command, layout, 0, 0, 1, 0);
	vkCmdDraw(command, MESH_VERTICES, 1, 0, 0);
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &target);
	vkDestroyPipeline(vk.device, pipeline, NULL);
	for (uint32_t i = 0; i < 4; i++)
		vkDestroyPipeline(vk.device, libraries[i], NULL);
}

static void transform_feedback(void)
{
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT);
	struct buffer mesh = mesh_create();
	struct buffer captured, counter;
	VkPipelineLayout layout = layout_create(VK_NULL_HANDLE);
	VkPipeline pipeline;
	VkCommandBuffer command;

	need_extension("VK_EXT_transform_feedback");
	need(vk.features.transform_feedback.transformFeedback, "transformFeedback");
	DEVICE_FUNCTION(vkCmdBindTransformFeedbackBuffersEXT);
	DEVICE_FUNCTION(vkCmdBeginTransformFeedbackEXT);
	DEVICE_FUNCTION(vkCmdEndTransformFeedbackEXT);
	captured = buffer_create(8192, VK_BUFFER_USAGE_TRANSFORM_FEEDBACK_BUFFER_BIT_EXT, ON_HOST);
	counter = buffer_create(64, VK_BUFFER_USAGE_TRANSFORM_FEEDBACK_COUNTER_BUFFER_BIT_EXT, ON_HOST);
	pipeline = pipeline_create(&(struct pipeline_params){
	    .layout = layout, .vertex = SHADER(captured_vert), .fragment = SHADER(color_frag)});
	memset(captured.map, 0, captured.size);
	memset(counter.map, 0, counter.size);
	command = command_begin();
	target_prepare(command, &target);
	barrier(command);
	rendering_begin(command, &target, 0);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
	vkCmdBindVertexBuffers(command, 0, 1, &mesh.handle, &(VkDeviceSize){0});
	viewport_set(command, TARGET_EDGE);
	push(command, layout, 0, 0, 1, 0);
	vkCmdBindTransformFeedbackBuffersEXT(command, 0, 1, &captured.handle, &(VkDeviceSize){0}, &captured.size);
	vkCmdBeginTransformFeedbackEXT(command, 0, 0, NULL, NULL);
	vkCmdDraw(command, 48, 1, 0, 0);
	vkCmdEndTransformFeedbackEXT(command, 0, 1, &counter.handle, &(VkDeviceSize){0});
	vkCmdEndRendering(command);
	barrier(command);
	command_finish(command);
	report_hash("captured", captured.map, captured.size);
	report("bytes", *(uint32_t *)counter.map);
}

static void conditional_rendering(void)
{
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT);
	struct buffer mesh = mesh_create(), predicate;
	VkPipelineLayout layout = layout_create(VK_NULL_HANDLE);
	VkPipeline pipeline;
	VkCommandBuffer command;

	need_extension("VK_EXT_conditional_rendering");
	DEVICE_FUNCTION(vkCmdBeginConditionalRenderingEXT);
	DEVICE_FUNCTION(vkCmdEndConditionalRenderingEXT);
	predicate = buffer_create(16, VK_BUFFER_USAGE_CONDITIONAL_RENDERING_BIT_EXT, ON_HOST);
	memcpy(predicate.map, (uint32_t[]){1, 0, 1, 0}, 16);
	pipeline = pipeline_create(
	    &(struct pipeline_params){.layout = layout, .vertex = SHADER(mesh_vert), .fragment = SHADER(color_frag)});
	command = command_begin();
	target_prepare(command, &target);
	barrier(command);
	rendering_begin(command, &target, 0);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
	vkCmdBindVertexBuffers(command, 0, 1, &mesh.handle, &(VkDeviceSize){0});
	viewport_set(command, TARGET_EDGE);
	push(command, layout, 0, 0, 1, 0);
	for (uint32_t i = 0; i < 4; i++) {
		VkConditionalRenderingBeginInfoEXT info = {
		    .sType = VK_STRUCTURE_TYPE_CONDITIONAL_RENDERING_BEGIN_INFO_EXT,
		    .buffer = predicate.handle,
		    .offset = 4 * i,
		    .flags = i == 3 ? VK_CONDITIONAL_RENDERING_INVERTED_BIT_EXT : 0};

		vkCmdBeginConditionalRenderingEXT(command, &info);
		vkCmdDraw(command, 24, 1, 24 * i, 0);
		vkCmdEndConditionalRenderingEXT(command);
	}
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &target);
}

static void dynamic_vertex_input(void)
{
	static const VkDynamicState states[] = {VK_DYNAMIC_STATE_VERTEX_INPUT_EXT};
	VkVertexInputBindingDescription2EXT binding = {
	    .sType = VK_STRUCTURE_TYPE_VERTEX_INPUT_BINDING_DESCRIPTION_2_EXT, .stride = 48, .divisor = 1};
	VkVertexInputAttributeDescription2EXT attributes[2];
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT);
	struct buffer mesh = mesh_create();
	VkPipelineLayout layout = layout_create(VK_NULL_HANDLE);
	VkPipeline pipeline;
	VkCommandBuffer command;

	need_extension("VK_EXT_vertex_input_dynamic_state");
	DEVICE_FUNCTION(vkCmdSetVertexInputEXT);
	pipeline = pipeline_create(&(struct pipeline_params){.layout = layout,
							     .vertex = SHADER(mesh_vert),
							     .fragment = SHADER(color_frag),
							     .dynamic = states,
							     .dynamic_count = 1});
	for (uint32_t i = 0; i < 2; i++)
		attributes[i] = (VkVertexInputAttributeDescription2EXT){
		    .sType = VK_STRUCTURE_TYPE_VERTEX_INPUT_ATTRIBUTE_DESCRIPTION_2_EXT,
		    .location = i,
		    .format = VK_FORMAT_R32G32B32_SFLOAT,
		    .offset = 12 * i};
	command = command_begin();
	target_prepare(command, &target);
	rendering_begin(command, &target, 0);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
	vkCmdSetVertexInputEXT(command, 1, &binding, 2, attributes);
	vkCmdBindVertexBuffers(command, 0, 1, &mesh.handle, &(VkDeviceSize){0});
	viewport_set(command, TARGET_EDGE);
	push(command, layout, 0, 0, 1, 0);
	vkCmdDraw(command, MESH_VERTICES / 2, 1, 0, 0);
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &target);
}

static void multi_draw(void)
{
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT);
	struct buffer mesh = mesh_create();
	VkPipelineLayout layout = layout_create(VK_NULL_HANDLE);
	VkMultiDrawInfoEXT draws[16];
	VkPipeline pipeline;
	VkCommandBuffer command;

	need_extension("VK_EXT_multi_draw");
	DEVICE_FUNCTION(vkCmdDrawMultiEXT);
	pipeline = pipeline_create(
	    &(struct pipeline_params){.layout = layout, .vertex = SHADER(mesh_vert), .fragment = SHADER(color_frag)});
	for (uint32_t i = 0; i < COUNT(draws); i++)
		draws[i] = (VkMultiDrawInfoEXT){6 * i, 3};
	command = command_begin();
	target_prepare(command, &target);
	rendering_begin(command, &target, 0);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
	vkCmdBindVertexBuffers(command, 0, 1, &mesh.handle, &(VkDeviceSize){0});
	viewport_set(command, TARGET_EDGE);
	push(command, layout, 0, 0, 1, 0);
	vkCmdDrawMultiEXT(command, COUNT(draws), draws, 1, 0, sizeof(*draws));
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &target);
}

static void mesh_shader(void)
{
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT);
	VkPipelineLayout layout = layout_create(VK_NULL_HANDLE);
	VkPipelineShaderStageCreateInfo stages[] = {{.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
						     .stage = VK_SHADER_STAGE_MESH_BIT_EXT,
						     .pName = "main"},
						    {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
						     .stage = VK_SHADER_STAGE_FRAGMENT_BIT,
						     .pName = "main"}};
	VkPipelineViewportStateCreateInfo viewport = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO, .viewportCount = 1, .scissorCount = 1};
	VkPipelineRasterizationStateCreateInfo raster = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO, .lineWidth = 1};
	VkPipelineMultisampleStateCreateInfo samples = {.sType =
							    VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
							.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
	VkPipelineDepthStencilStateCreateInfo depth = {.sType =
							   VK_STRUCTURE_TYPE_PIPELINE_DEPTH_STENCIL_STATE_CREATE_INFO};
	VkPipelineColorBlendAttachmentState attachment = {.colorWriteMask = 15};
	VkPipelineColorBlendStateCreateInfo blend = {.sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
						     .attachmentCount = 1,
						     .pAttachments = &attachment};
	VkDynamicState states[] = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
	VkPipelineDynamicStateCreateInfo dynamic = {.sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
						    .dynamicStateCount = 2,
						    .pDynamicStates = states};
	VkFormat format = COLOR_FORMAT;
	VkPipelineRenderingCreateInfo rendering = {.sType = VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO,
						   .colorAttachmentCount = 1,
						   .pColorAttachmentFormats = &format,
						   .depthAttachmentFormat = DEPTH_FORMAT};
	VkGraphicsPipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
					     .pNext = &rendering,
					     .stageCount = 2,
					     .pStages = stages,
					     .pViewportState = &viewport,
					     .pRasterizationState = &raster,
					     .pMultisampleState = &samples,
					     .pDepthStencilState = &depth,
					     .pColorBlendState = &blend,
					     .pDynamicState = &dynamic,
					     .layout = layout};
	VkPipeline pipeline;
	VkCommandBuffer command;

	need_extension("VK_EXT_mesh_shader");
	need(vk.features.mesh_shader.meshShader, "meshShader");
	DEVICE_FUNCTION(vkCmdDrawMeshTasksEXT);
	stages[0].module = SHADER(squares_mesh);
	stages[1].module = SHADER(color_frag);
	CHECK(vkCreateGraphicsPipelines(vk.device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline));
	command = command_begin();
	target_prepare(command, &target);
	rendering_begin(command, &target, 0);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
	viewport_set(command, TARGET_EDGE);
	vkCmdDrawMeshTasksEXT(command, 10, 1, 1);
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &target);
}

struct structure {
	VkAccelerationStructureKHR handle;
	struct buffer buffer;
	VkDeviceAddress address;
};

static struct structure structure_build(VkAccelerationStructureTypeKHR type,
					const VkAccelerationStructureGeometryKHR *geometry, uint32_t count)
{
	VkAccelerationStructureBuildGeometryInfoKHR build = {
	    .sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_GEOMETRY_INFO_KHR,
	    .type = type,
	    .mode = VK_BUILD_ACCELERATION_STRUCTURE_MODE_BUILD_KHR,
	    .geometryCount = 1,
	    .pGeometries = geometry};
	VkAccelerationStructureBuildSizesInfoKHR sizes = {
	    .sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_SIZES_INFO_KHR};
	VkAccelerationStructureCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_KHR,
						     .type = type};
	VkAccelerationStructureBuildRangeInfoKHR range = {.primitiveCount = count};
	const VkAccelerationStructureBuildRangeInfoKHR *ranges = &range;
	VkAccelerationStructureDeviceAddressInfoKHR ask = {
	    .sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_DEVICE_ADDRESS_INFO_KHR};
	struct structure out;
	struct buffer scratch;
	VkCommandBuffer command;
	DEVICE_FUNCTION(vkGetAccelerationStructureBuildSizesKHR);
	DEVICE_FUNCTION(vkCreateAccelerationStructureKHR);
	DEVICE_FUNCTION(vkCmdBuildAccelerationStructuresKHR);
	DEVICE_FUNCTION(vkGetAccelerationStructureDeviceAddressKHR);

	vkGetAccelerationStructureBuildSizesKHR(vk.device, VK_ACCELERATION_STRUCTURE_BUILD_TYPE_DEVICE_KHR, &build,
						&count, &sizes);
	out.buffer = buffer_create(sizes.accelerationStructureSize,
				   VK_BUFFER_USAGE_ACCELERATION_STRUCTURE_STORAGE_BIT_KHR, ON_DEVICE);
	scratch = buffer_create(sizes.buildScratchSize + 1024, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, ON_DEVICE);
	info.buffer = out.buffer.handle;
	info.size = sizes.accelerationStructureSize;
	CHECK(vkCreateAccelerationStructureKHR(vk.device, &info, NULL, &out.handle));
	build.dstAccelerationStructure = out.handle;
	build.scratchData.deviceAddress = (scratch.address + 255) & ~255ull;
	command = command_begin();
	barrier(command);
	vkCmdBuildAccelerationStructuresKHR(command, 1, &build, &ranges);
	barrier(command);
	command_finish(command);
	ask.accelerationStructure = out.handle;
	out.address = vkGetAccelerationStructureDeviceAddressKHR(vk.device, &ask);
	return out;
}

/* Rays from a grid through triangles: hit or not, and how far. */
static void ray_query(void)
{
	const VkBufferUsageFlags usage = VK_BUFFER_USAGE_ACCELERATION_STRUCTURE_BUILD_INPUT_READ_ONLY_BIT_KHR;
	struct buffer mesh, instances, out;
	VkAccelerationStructureGeometryKHR triangles = {.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_KHR,
							.geometryType = VK_GEOMETRY_TYPE_TRIANGLES_KHR,
							.flags = VK_GEOMETRY_OPAQUE_BIT_KHR};
	VkAccelerationStructureGeometryKHR tops = {.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_KHR,
						   .geometryType = VK_GEOMETRY_TYPE_INSTANCES_KHR,
						   .flags = VK_GEOMETRY_OPAQUE_BIT_KHR};
	VkDescriptorSetLayoutBinding bindings[] = {
	    {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL},
	    {1, VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL}};
	VkDescriptorSetLayoutCreateInfo layout_info = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 2, .pBindings = bindings};
	VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1},
					{VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, 1}};
	VkDescriptorPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
						.maxSets = 1,
						.poolSizeCount = 2,
						.pPoolSizes = sizes};
	VkDescriptorSetAllocateInfo set_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
						.descriptorSetCount = 1};
	VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 16};
	VkPipelineLayoutCreateInfo pipeline_info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
						    .setLayoutCount = 1,
						    .pushConstantRangeCount = 1,
						    .pPushConstantRanges = &range};
	VkWriteDescriptorSetAccelerationStructureKHR structure_write = {
	    .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_KHR,
	    .accelerationStructureCount = 1};
	VkWriteDescriptorSet writes[2];
	VkAccelerationStructureInstanceKHR *instance;
	struct structure bottom, top;
	struct compute compute;
	VkCommandBuffer command;

	need_extension("VK_KHR_ray_query");
	need(vk.features.ray_query.rayQuery, "rayQuery");
	DEVICE_FUNCTION(vkDestroyAccelerationStructureKHR);
	mesh = buffer_create(MESH_VERTICES * 24, usage, ON_HOST);
	{
		struct buffer plain = mesh_create();

		memcpy(mesh.map, plain.map, mesh.size);
		buffer_destroy(&plain);
	}
	triangles.geometry.triangles = (VkAccelerationStructureGeometryTrianglesDataKHR){
	    .sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_TRIANGLES_DATA_KHR,
	    .vertexFormat = VK_FORMAT_R32G32B32_SFLOAT,
	    .vertexData.deviceAddress = mesh.address,
	    .vertexStride = 24,
	    .maxVertex = MESH_VERTICES - 1,
	    .indexType = VK_INDEX_TYPE_NONE_KHR};
	bottom = structure_build(VK_ACCELERATION_STRUCTURE_TYPE_BOTTOM_LEVEL_KHR, &triangles, MESH_VERTICES / 3);
	instances = buffer_create(2 * sizeof(*instance), usage, ON_HOST);
	instance = instances.map;
	for (uint32_t i = 0; i < 2; i++)
		instance[i] = (VkAccelerationStructureInstanceKHR){
		    .transform = {{{1, 0, 0, 0.25f * (float)i}, {0, 1, 0, 0}, {0, 0, 1, 2.0f * (float)i}}},
		    .instanceCustomIndex = i,
		    .mask = 0xff,
		    .accelerationStructureReference = bottom.address};
	tops.geometry.instances = (VkAccelerationStructureGeometryInstancesDataKHR){
	    .sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_INSTANCES_DATA_KHR,
	    .data.deviceAddress = instances.address};
	top = structure_build(VK_ACCELERATION_STRUCTURE_TYPE_TOP_LEVEL_KHR, &tops, 2);
	out = buffer_create(4096 * 4, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, ON_HOST);
	CHECK(vkCreateDescriptorSetLayout(vk.device, &layout_info, NULL, &compute.set_layout));
	CHECK(vkCreateDescriptorPool(vk.device, &pool_info, NULL, &compute.pool));
	set_info.descriptorPool = compute.pool;
	set_info.pSetLayouts = &compute.set_layout;
	CHECK(vkAllocateDescriptorSets(vk.device, &set_info, &compute.set));
	structure_write.pAccelerationStructures = &top.handle;
	writes[0] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
					   .dstSet = compute.set,
					   .descriptorCount = 1,
					   .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
					   .pBufferInfo = &(VkDescriptorBufferInfo){out.handle, 0, VK_WHOLE_SIZE}};
	writes[1] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
					   .pNext = &structure_write,
					   .dstSet = compute.set,
					   .dstBinding = 1,
					   .descriptorCount = 1,
					   .descriptorType = VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR};
	vkUpdateDescriptorSets(vk.device, 2, writes, 0, NULL);
	pipeline_info.pSetLayouts = &compute.set_layout;
	CHECK(vkCreatePipelineLayout(vk.device, &pipeline_info, NULL, &compute.layout));
	compute.pipeline = compute_pipeline(compute.layout, SHADER(rays_comp), NULL, VK_NULL_HANDLE, 0);
	command = command_begin();
	barrier(command);
	compute_dispatch(command, &compute, (uint32_t[4]){0}, 64);
	barrier(command);
	command_finish(command);
	report_hash("hits", out.map, out.size);
	vkDestroyAccelerationStructureKHR(vk.device, top.handle, NULL);
	vkDestroyAccelerationStructureKHR(vk.device, bottom.handle, NULL);
}

/* A store to where nothing is. A driver on a CPU would take the process with it, so real devices only. */
static void device_lost(void)
{
	struct buffer out;
	struct compute compute;
	VkCommandBuffer command;
	VkFence fence;
	VkSubmitInfo submit = {
	    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &command};
	VkResult result;
	uint64_t address = 0x7eadbeef0000u;
	uint32_t words[4] = {(uint32_t)address, (uint32_t)(address >> 32), 0, 0};

	need(vk.properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU, "a device that can be lost alone");
	need(vk.features.v12.bufferDeviceAddress, "bufferDeviceAddress");
	out = buffer_create(1024, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, ON_HOST);
	compute = compute_create(SHADER(lost_comp), &out, 1);
	CHECK(
	    vkCreateFence(vk.device, &(VkFenceCreateInfo){.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO}, NULL, &fence));
	command = command_begin();
	compute_dispatch(command, &compute, words, 1);
	CHECK(vkEndCommandBuffer(command));
	CHECK(vkQueueSubmit(vk.queue, 1, &submit, fence));
	result = vkWaitForFences(vk.device, 1, &fence, VK_TRUE, 30000000000u);
	if (result == VK_SUCCESS)
		result = vkQueueSubmit(vk.queue, 1, &submit, VK_NULL_HANDLE);
	if (result == VK_SUCCESS)
		result = vkDeviceWaitIdle(vk.device);
	expect(result == VK_ERROR_DEVICE_LOST, "VkResult %d, not VK_ERROR_DEVICE_LOST", (int)result);
	/* Objects of a lost device can still be destroyed, and another device made. */
	vkDestroyFence(vk.device, fence, NULL);
	buffer_destroy(&out);
	vkDestroyCommandPool(vk.device, vk.pool, NULL);
	vkDestroyDevice(vk.device, NULL);
	{
		float priority = 1;
		VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
						 .queueFamilyIndex = vk.family,
						 .queueCount = 1,
						 .pQueuePriorities = &priority};
		VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
					   .queueCreateInfoCount = 1,
					   .pQueueCreateInfos = &queue};
		VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
						.queueFamilyIndex = vk.family};

		CHECK(vkCreateDevice(vk.gpu, &info, NULL, &vk.device));
		vkGetDeviceQueue(vk.device, vk.family, 0, &vk.queue);
		CHECK(vkCreateCommandPool(vk.device, &pool, NULL, &vk.pool));
	}
}

const struct vk_case extension_cases[] = {
    {"extensions/pipeline_library", pipeline_library},
    {"extensions/transform_feedback", transform_feedback},
    {"extensions/conditional_rendering", conditional_rendering},
    {"extensions/dynamic_vertex_input", dynamic_vertex_input},
    {"extensions/multi_draw", multi_draw},
    {"extensions/mesh_shader", mesh_shader},
    {"extensions/ray_query", ray_query},
    {"extensions/device_lost", device_lost},
    {0},
};

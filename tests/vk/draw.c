/* SPDX-License-Identifier: MIT */
/* Drawing, with render passes and without. */
#include "graphics.h"

#include <stdlib.h>
#include <string.h>

struct scene {
	struct target target;
	struct buffer mesh;
	VkPipelineLayout layout;
	VkPipeline pipeline;
};

static struct scene scene_create(VkSampleCountFlagBits samples, const VkDynamicState *dynamic, uint32_t dynamic_count)
{
	struct scene scene = {target_create(samples), mesh_create(), layout_create(VK_NULL_HANDLE), VK_NULL_HANDLE};

	scene.pipeline = pipeline_create(&(struct pipeline_params){.layout = scene.layout,
								   .vertex = SHADER(mesh_vert),
								   .fragment = SHADER(color_frag),
								   .samples = samples,
								   .depth = true,
								   .dynamic = dynamic,
								   .dynamic_count = dynamic_count});
	return scene;
}

static void scene_bind(VkCommandBuffer command, const struct scene *scene)
{
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, scene->pipeline);
	vkCmdBindVertexBuffers(command, 0, 1, &scene->mesh.handle, &(VkDeviceSize){0});
	viewport_set(command, TARGET_EDGE);
	push(command, scene->layout, 0, 0, 1, 0);
}

static void dynamic_rendering(void)
{
	struct scene scene = scene_create(VK_SAMPLE_COUNT_1_BIT, NULL, 0);
	VkCommandBuffer command = command_begin();

	target_prepare(command, &scene.target);
	rendering_begin(command, &scene.target, 0);
	scene_bind(command, &scene);
	vkCmdDraw(command, MESH_VERTICES, 1, 0, 0);
	push(command, scene.layout, 0.5f, -0.25f, 0.5f, 0.1f);
	vkCmdDraw(command, 48, 2, 12, 1);
	vkCmdClearAttachments(command, 1,
			      &(VkClearAttachment){VK_IMAGE_ASPECT_COLOR_BIT, 0, {.color = {.float32 = {1, 0, 1, 1}}}},
			      1, &(VkClearRect){{{10, 20}, {30, 40}}, 0, 1});
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &scene.target);
}

/* Two subpasses: the second reads what the first drew as an input attachment. */
static void render_pass(void)
{
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT), out = target_create(VK_SAMPLE_COUNT_1_BIT);
	struct buffer mesh = mesh_create();
	VkAttachmentDescription attachments[] = {
	    {0, COLOR_FORMAT, VK_SAMPLE_COUNT_1_BIT, VK_ATTACHMENT_LOAD_OP_CLEAR, VK_ATTACHMENT_STORE_OP_STORE,
	     VK_ATTACHMENT_LOAD_OP_DONT_CARE, VK_ATTACHMENT_STORE_OP_DONT_CARE, VK_IMAGE_LAYOUT_UNDEFINED,
	     VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL},
	    {0, DEPTH_FORMAT, VK_SAMPLE_COUNT_1_BIT, VK_ATTACHMENT_LOAD_OP_CLEAR, VK_ATTACHMENT_STORE_OP_DONT_CARE,
	     VK_ATTACHMENT_LOAD_OP_DONT_CARE, VK_ATTACHMENT_STORE_OP_DONT_CARE, VK_IMAGE_LAYOUT_UNDEFINED,
	     VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL},
	    {0, COLOR_FORMAT, VK_SAMPLE_COUNT_1_BIT, VK_ATTACHMENT_LOAD_OP_DONT_CARE, VK_ATTACHMENT_STORE_OP_STORE,
	     VK_ATTACHMENT_LOAD_OP_DONT_CARE, VK_ATTACHMENT_STORE_OP_DONT_CARE, VK_IMAGE_LAYOUT_UNDEFINED,
	     VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL}};
	VkAttachmentReference first = {0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL},
			      depth = {1, VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL},
			      input = {0, VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL},
			      second = {2, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
	VkSubpassDescription subpasses[] = {{.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
					     .colorAttachmentCount = 1,
					     .pColorAttachments = &first,
					     .pDepthStencilAttachment = &depth},
					    {.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
					     .inputAttachmentCount = 1,
					     .pInputAttachments = &input,
					     .colorAttachmentCount = 1,
					     .pColorAttachments = &second}};
	VkSubpassDependency dependency = {0,
					  1,
					  VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT,
					  VK_PIPELINE_STAGE_FRAGMENT_SHADER_BIT,
					  VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT,
					  VK_ACCESS_INPUT_ATTACHMENT_READ_BIT,
					  VK_DEPENDENCY_BY_REGION_BIT};
	VkRenderPassCreateInfo info = {.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
				       .attachmentCount = COUNT(attachments),
				       .pAttachments = attachments,
				       .subpassCount = COUNT(subpasses),
				       .pSubpasses = subpasses,
				       .dependencyCount = 1,
				       .pDependencies = &dependency};
	VkImageView views[] = {target.color.view, target.depth.view, out.color.view};
	VkFramebufferCreateInfo frame_info = {.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
					      .attachmentCount = COUNT(views),
					      .pAttachments = views,
					      .width = TARGET_EDGE,
					      .height = TARGET_EDGE,
					      .layers = 1};
	VkClearValue clears[] = {{.color = {.float32 = {0, 0.5f, 0, 1}}}, {.depthStencil = {1, 0}}, {{{0}}}};
	VkDescriptorSetLayoutBinding binding = {0, VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT, 1, VK_SHADER_STAGE_FRAGMENT_BIT,
						NULL};
	VkDescriptorSetLayoutCreateInfo set_layout_info = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 1, .pBindings = &binding};
	VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT, 1};
	VkDescriptorPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
						.maxSets = 1,
						.poolSizeCount = 1,
						.pPoolSizes = &size};
	VkDescriptorSetAllocateInfo set_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
						.descriptorSetCount = 1};
	VkRenderPass pass;
	VkFramebuffer frame;
	VkDescriptorSetLayout set_layout;
	VkDescriptorPool pool;
	VkDescriptorSet set;
	VkPipelineLayout layout;
	VkPipeline pipelines[2];
	VkCommandBuffer command;

	CHECK(vkCreateRenderPass(vk.device, &info, NULL, &pass));
	frame_info.renderPass = pass;
	CHECK(vkCreateFramebuffer(vk.device, &frame_info, NULL, &frame));
	CHECK(vkCreateDescriptorSetLayout(vk.device, &set_layout_info, NULL, &set_layout));
	CHECK(vkCreateDescriptorPool(vk.device, &pool_info, NULL, &pool));
	set_info.descriptorPool = pool;
	set_info.pSetLayouts = &set_layout;
	CHECK(vkAllocateDescriptorSets(vk.device, &set_info, &set));
	vkUpdateDescriptorSets(
	    vk.device, 1,
	    &(VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
				    .dstSet = set,
				    .descriptorCount = 1,
				    .descriptorType = VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT,
				    .pImageInfo = &(VkDescriptorImageInfo){VK_NULL_HANDLE, target.color.view,
									   VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL}},
	    0, NULL);
	layout = layout_create(set_layout);
	pipelines[0] = pipeline_create(&(struct pipeline_params){.layout = layout,
								 .vertex = SHADER(mesh_vert),
								 .fragment = SHADER(color_frag),
								 .pass = pass,
								 .depth = true});
	pipelines[1] = pipeline_create(&(struct pipeline_params){.layout = layout,
								 .vertex = SHADER(screen_vert),
								 .fragment = SHADER(input_frag),
								 .pass = pass,
								 .subpass = 1,
								 .no_vertices = true});
	command = command_begin();
	vkCmdBeginRenderPass(command,
			     &(VkRenderPassBeginInfo){.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO,
						      .renderPass = pass,
						      .framebuffer = frame,
						      .renderArea = {{0, 0}, {TARGET_EDGE, TARGET_EDGE}},
						      .clearValueCount = COUNT(clears),
						      .pClearValues = clears},
			     VK_SUBPASS_CONTENTS_INLINE);
	viewport_set(command, TARGET_EDGE);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipelines[0]);
	vkCmdBindVertexBuffers(command, 0, 1, &mesh.handle, &(VkDeviceSize){0});
	push(command, layout, 0, 0, 1, 0);
	vkCmdDraw(command, MESH_VERTICES, 1, 0, 0);
	vkCmdNextSubpass2(command,
			  &(VkSubpassBeginInfo){.sType = VK_STRUCTURE_TYPE_SUBPASS_BEGIN_INFO,
						.contents = VK_SUBPASS_CONTENTS_INLINE},
			  &(VkSubpassEndInfo){.sType = VK_STRUCTURE_TYPE_SUBPASS_END_INFO});
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipelines[1]);
	vkCmdBindDescriptorSets(command, VK_PIPELINE_BIND_POINT_GRAPHICS, layout, 0, 1, &set, 0, NULL);
	vkCmdDraw(command, 3, 1, 0, 0);
	vkCmdEndRenderPass(command);
	command_finish(command);
	target_report("picture", &out);
	vkDestroyFramebuffer(vk.device, frame, NULL);
	vkDestroyRenderPass(vk.device, pass, NULL);
}

static void imageless_framebuffer(void)
{
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT);
	VkAttachmentDescription attachment = {0,
					      COLOR_FORMAT,
					      VK_SAMPLE_COUNT_1_BIT,
					      VK_ATTACHMENT_LOAD_OP_CLEAR,
					      VK_ATTACHMENT_STORE_OP_STORE,
					      VK_ATTACHMENT_LOAD_OP_DONT_CARE,
					      VK_ATTACHMENT_STORE_OP_DONT_CARE,
					      VK_IMAGE_LAYOUT_UNDEFINED,
					      VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
	VkAttachmentReference reference = {0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
	VkSubpassDescription subpass = {.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
					.colorAttachmentCount = 1,
					.pColorAttachments = &reference};
	VkRenderPassCreateInfo info = {.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
				       .attachmentCount = 1,
				       .pAttachments = &attachment,
				       .subpassCount = 1,
				       .pSubpasses = &subpass};
	VkFormat format = COLOR_FORMAT;
	VkFramebufferAttachmentImageInfo image = {
	    .sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENT_IMAGE_INFO,
	    .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT |
		     VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT,
	    .width = TARGET_EDGE,
	    .height = TARGET_EDGE,
	    .layerCount = 1,
	    .viewFormatCount = 1,
	    .pViewFormats = &format};
	VkFramebufferAttachmentsCreateInfo images = {.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENTS_CREATE_INFO,
						     .attachmentImageInfoCount = 1,
						     .pAttachmentImageInfos = &image};
	VkFramebufferCreateInfo frame_info = {.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
					      .pNext = &images,
					      .flags = VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT,
					      .attachmentCount = 1,
					      .width = TARGET_EDGE,
					      .height = TARGET_EDGE,
					      .layers = 1};
	VkRenderPassAttachmentBeginInfo views = {.sType = VK_STRUCTURE_TYPE_RENDER_PASS_ATTACHMENT_BEGIN_INFO,
						 .attachmentCount = 1,
						 .pAttachments = &target.color.view};
	VkClearValue clear = {.color = {.float32 = {0.9f, 0.1f, 0.4f, 1}}};
	VkRenderPass pass;
	VkFramebuffer frame;
	VkCommandBuffer command;

	need(vk.features.v12.imagelessFramebuffer, "imagelessFramebuffer");
	CHECK(vkCreateRenderPass(vk.device, &info, NULL, &pass));
	frame_info.renderPass = pass;
	CHECK(vkCreateFramebuffer(vk.device, &frame_info, NULL, &frame));
	command = command_begin();
	vkCmdBeginRenderPass2(command,
			      &(VkRenderPassBeginInfo){.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO,
						       .pNext = &views,
						       .renderPass = pass,
						       .framebuffer = frame,
						       .renderArea = {{32, 16}, {128, 100}},
						       .clearValueCount = 1,
						       .pClearValues = &clear},
			      &(VkSubpassBeginInfo){.sType = VK_STRUCTURE_TYPE_SUBPASS_BEGIN_INFO,
						    .contents = VK_SUBPASS_CONTENTS_INLINE});
	vkCmdClearAttachments(command, 1,
			      &(VkClearAttachment){VK_IMAGE_ASPECT_COLOR_BIT, 0, {.color = {.float32 = {0, 1, 0, 1}}}},
			      1, &(VkClearRect){{{40, 20}, {30, 40}}, 0, 1});
	vkCmdEndRenderPass2(command, &(VkSubpassEndInfo){.sType = VK_STRUCTURE_TYPE_SUBPASS_END_INFO});
	command_finish(command);
	vkDestroyFramebuffer(vk.device, frame, NULL);
	command = command_begin();
	image_barrier(command, &target.color, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
		      VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	command_finish(command);
	{
		size_t size;
		uint8_t *bytes = image_read(&target.color, 0, 0, 4, &size), inside[128 * 4];

		/* What is outside the render area is undefined. */
		memcpy(inside, bytes + (50 * TARGET_EDGE + 32) * 4, sizeof(inside));
		report_hash("row 50", inside, sizeof(inside));
		free(bytes);
	}
}

static void indirect(void)
{
	struct scene scene = scene_create(VK_SAMPLE_COUNT_1_BIT, NULL, 0);
	struct buffer indices = buffer_create(4096, VK_BUFFER_USAGE_INDEX_BUFFER_BIT, ON_HOST);
	struct buffer commands = buffer_create(4096, VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT, ON_HOST);
	VkDrawIndirectCommand *draws = commands.map;
	VkDrawIndexedIndirectCommand *indexed = (void *)((uint8_t *)commands.map + 1024);
	uint32_t *count = (void *)((uint8_t *)commands.map + 2048);
	uint16_t *index = indices.map;
	VkCommandBuffer command;

	need(vk.features.core.features.multiDrawIndirect && vk.features.v12.drawIndirectCount &&
		 vk.features.core.features.drawIndirectFirstInstance,
	     "drawIndirectCount");
	for (uint32_t i = 0; i < 1024; i++)
		index[i] = (uint16_t)((i * 37) % 60);
	for (uint32_t i = 0; i < 8; i++) {
		draws[i] = (VkDrawIndirectCommand){3, 1, i * 6, i & 1};
		indexed[i] = (VkDrawIndexedIndirectCommand){9, 1, i * 9, (int32_t)i, i & 1};
	}
	*count = 5;
	command = command_begin();
	target_prepare(command, &scene.target);
	barrier(command);
	rendering_begin(command, &scene.target, 0);
	scene_bind(command, &scene);
	vkCmdBindIndexBuffer(command, indices.handle, 0, VK_INDEX_TYPE_UINT16);
	vkCmdDrawIndirect(command, commands.handle, 0, 8, sizeof(*draws));
	push(command, scene.layout, -0.5f, 0.5f, 0.5f, 0);
	vkCmdDrawIndexedIndirect(command, commands.handle, 1024, 4, sizeof(*indexed));
	push(command, scene.layout, 0.5f, 0.5f, 0.5f, 0);
	vkCmdDrawIndirectCount(command, commands.handle, 0, commands.handle, 2048, 8, sizeof(*draws));
	push(command, scene.layout, 0.5f, -0.5f, 0.5f, 0);
	vkCmdDrawIndexedIndirectCount(command, commands.handle, 1024, commands.handle, 2048, 8, sizeof(*indexed));
	push(command, scene.layout, -0.5f, -0.5f, 0.5f, 0);
	vkCmdDrawIndexed(command, 99, 2, 3, 4, 0);
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &scene.target);
}

static void dynamic_state(void)
{
	static const VkDynamicState states[] = {VK_DYNAMIC_STATE_CULL_MODE,
						VK_DYNAMIC_STATE_FRONT_FACE,
						VK_DYNAMIC_STATE_PRIMITIVE_TOPOLOGY,
						VK_DYNAMIC_STATE_DEPTH_TEST_ENABLE,
						VK_DYNAMIC_STATE_DEPTH_WRITE_ENABLE,
						VK_DYNAMIC_STATE_DEPTH_COMPARE_OP,
						VK_DYNAMIC_STATE_BLEND_CONSTANTS,
						VK_DYNAMIC_STATE_LINE_WIDTH,
						VK_DYNAMIC_STATE_DEPTH_BIAS,
						VK_DYNAMIC_STATE_DEPTH_BIAS_ENABLE,
						VK_DYNAMIC_STATE_RASTERIZER_DISCARD_ENABLE,
						VK_DYNAMIC_STATE_VERTEX_INPUT_BINDING_STRIDE,
						VK_DYNAMIC_STATE_STENCIL_TEST_ENABLE,
						VK_DYNAMIC_STATE_STENCIL_OP,
						VK_DYNAMIC_STATE_STENCIL_COMPARE_MASK,
						VK_DYNAMIC_STATE_STENCIL_WRITE_MASK,
						VK_DYNAMIC_STATE_STENCIL_REFERENCE,
						VK_DYNAMIC_STATE_PRIMITIVE_RESTART_ENABLE,
						VK_DYNAMIC_STATE_DEPTH_BOUNDS_TEST_ENABLE};
	struct scene scene = scene_create(VK_SAMPLE_COUNT_1_BIT, states, COUNT(states));
	VkCommandBuffer command = command_begin();

	target_prepare(command, &scene.target);
	rendering_begin(command, &scene.target, 0);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, scene.pipeline);
	vkCmdBindVertexBuffers2(command, 0, 1, &scene.mesh.handle, &(VkDeviceSize){24},
				&(VkDeviceSize){scene.mesh.size - 24}, &(VkDeviceSize){48});
	viewport_set(command, TARGET_EDGE);
	vkCmdSetFrontFace(command, VK_FRONT_FACE_CLOCKWISE);
	vkCmdSetPrimitiveTopology(command, VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST);
	vkCmdSetDepthTestEnable(command, VK_TRUE);
	vkCmdSetDepthWriteEnable(command, VK_TRUE);
	vkCmdSetDepthCompareOp(command, VK_COMPARE_OP_LESS);
	vkCmdSetDepthBoundsTestEnable(command, VK_FALSE);
	vkCmdSetDepthBiasEnable(command, VK_TRUE);
	vkCmdSetDepthBias(command, 1, 0, 0.5f);
	vkCmdSetLineWidth(command, 1);
	vkCmdSetRasterizerDiscardEnable(command, VK_FALSE);
	vkCmdSetPrimitiveRestartEnable(command, VK_FALSE);
	vkCmdSetStencilTestEnable(command, VK_FALSE);
	vkCmdSetStencilOp(command, VK_STENCIL_FACE_FRONT_AND_BACK, VK_STENCIL_OP_KEEP, VK_STENCIL_OP_KEEP,
			  VK_STENCIL_OP_KEEP, VK_COMPARE_OP_ALWAYS);
	vkCmdSetStencilCompareMask(command, VK_STENCIL_FACE_FRONT_AND_BACK, 255);
	vkCmdSetStencilWriteMask(command, VK_STENCIL_FACE_FRONT_AND_BACK, 255);
	vkCmdSetStencilReference(command, VK_STENCIL_FACE_FRONT_AND_BACK, 1);
	for (uint32_t i = 0; i < 4; i++) {
		vkCmdSetCullMode(command, i % 4 == 3 ? VK_CULL_MODE_NONE : i % 4);
		vkCmdSetBlendConstants(command, (float[4]){0, 0, 0, 0.25f * (float)(i + 1)});
		vkCmdSetScissor(command, 0, 1, &(VkRect2D){{(int32_t)(16 * i), 8}, {100 + 20 * i, 200}});
		push(command, scene.layout, 0.5f * (float)(i % 2) - 0.25f, 0.5f * (float)(i / 2) - 0.25f, 0.75f, 0);
		vkCmdDraw(command, 42, 1, 0, 0);
	}
	vkCmdSetRasterizerDiscardEnable(command, VK_TRUE);
	vkCmdDraw(command, 42, 1, 0, 0);
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &scene.target);
}

/* Recorded once, executed from two primaries, the second of which resumes what the first suspended. */
static void secondary(void)
{
	struct scene scene = scene_create(VK_SAMPLE_COUNT_1_BIT, NULL, 0);
	VkFormat format = COLOR_FORMAT;
	VkCommandBufferInheritanceRenderingInfo rendering = {
	    .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_RENDERING_INFO,
	    .colorAttachmentCount = 1,
	    .pColorAttachmentFormats = &format,
	    .depthAttachmentFormat = DEPTH_FORMAT,
	    .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
	VkCommandBufferInheritanceInfo inheritance = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO,
						      .pNext = &rendering};
	VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
					  .flags = VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT |
						   VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT,
					  .pInheritanceInfo = &inheritance};
	VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
					    .commandPool = vk.pool,
					    .level = VK_COMMAND_BUFFER_LEVEL_SECONDARY,
					    .commandBufferCount = 4};
	VkCommandBuffer secondaries[4], primaries[2];
	VkSubmitInfo submit = {
	    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 2, .pCommandBuffers = primaries};

	CHECK(vkAllocateCommandBuffers(vk.device, &info, secondaries));
	for (uint32_t i = 0; i < 4; i++) {
		rendering.flags = i < 2 ? VK_RENDERING_SUSPENDING_BIT : VK_RENDERING_RESUMING_BIT;
		CHECK(vkBeginCommandBuffer(secondaries[i], &begin));
		scene_bind(secondaries[i], &scene);
		push(secondaries[i], scene.layout, 0.5f * (float)(i % 2), 0.5f * (float)(i / 2), 0.5f, 0);
		vkCmdDraw(secondaries[i], 24, 1, i * 24, 0);
		CHECK(vkEndCommandBuffer(secondaries[i]));
	}
	for (uint32_t i = 0; i < 2; i++) {
		primaries[i] = command_begin();
		if (i == 0)
			target_prepare(primaries[i], &scene.target);
		rendering_begin(primaries[i], &scene.target,
				VK_RENDERING_CONTENTS_SECONDARY_COMMAND_BUFFERS_BIT |
				    (i ? VK_RENDERING_RESUMING_BIT : VK_RENDERING_SUSPENDING_BIT));
		vkCmdExecuteCommands(primaries[i], 2, secondaries + 2 * i);
		vkCmdEndRendering(primaries[i]);
		CHECK(vkEndCommandBuffer(primaries[i]));
	}
	CHECK(vkQueueSubmit(vk.queue, 1, &submit, VK_NULL_HANDLE));
	CHECK(vkQueueWaitIdle(vk.queue));
	target_report("picture", &scene.target);
}

static void queries(void)
{
	struct scene scene = scene_create(VK_SAMPLE_COUNT_1_BIT, NULL, 0);
	struct buffer results = buffer_create(1024, 0, ON_HOST);
	bool statistics = vk.features.core.features.pipelineStatisticsQuery;
	VkQueryPoolCreateInfo infos[] = {
	    {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, .queryType = VK_QUERY_TYPE_OCCLUSION, .queryCount = 4},
	    {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, .queryType = VK_QUERY_TYPE_TIMESTAMP, .queryCount = 4},
	    {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
	     .queryType = VK_QUERY_TYPE_PIPELINE_STATISTICS,
	     .queryCount = 1,
	     .pipelineStatistics = VK_QUERY_PIPELINE_STATISTIC_INPUT_ASSEMBLY_VERTICES_BIT |
				   VK_QUERY_PIPELINE_STATISTIC_INPUT_ASSEMBLY_PRIMITIVES_BIT |
				   VK_QUERY_PIPELINE_STATISTIC_CLIPPING_INVOCATIONS_BIT}};
	VkQueryPool pools[3] = {VK_NULL_HANDLE};
	uint64_t values[8] = {0};
	VkCommandBuffer command;

	for (uint32_t i = 0; i < 3; i++)
		if (i < 2 || statistics)
			CHECK(vkCreateQueryPool(vk.device, &infos[i], NULL, &pools[i]));
	if (vk.features.v12.hostQueryReset)
		vkResetQueryPool(vk.device, pools[0], 0, 4);
	memset(results.map, 0, results.size);
	command = command_begin();
	target_prepare(command, &scene.target);
	for (uint32_t i = 0; i < 3; i++)
		if (pools[i])
			vkCmdResetQueryPool(command, pools[i], 0, infos[i].queryCount);
	vkCmdWriteTimestamp(command, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, pools[1], 0);
	rendering_begin(command, &scene.target, 0);
	scene_bind(command, &scene);
	if (pools[2])
		vkCmdBeginQuery(command, pools[2], 0, 0);
	for (uint32_t i = 0; i < 3; i++) {
		vkCmdBeginQuery(command, pools[0], i, VK_QUERY_CONTROL_PRECISE_BIT);
		vkCmdDraw(command, 30, 1, 30 * i, 0);
		vkCmdEndQuery(command, pools[0], i);
	}
	if (pools[2])
		vkCmdEndQuery(command, pools[2], 0);
	vkCmdEndRendering(command);
	vkCmdWriteTimestamp2(command, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, pools[1], 1);
	vkCmdCopyQueryPoolResults(command, pools[0], 0, 3, results.handle, 0, 16,
				  VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT |
				      VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
	barrier(command);
	command_finish(command);
	report_hash("copied", results.map, results.size);
	CHECK(vkGetQueryPoolResults(vk.device, pools[0], 0, 3, sizeof(values), values, 16,
				    VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT |
					VK_QUERY_RESULT_WITH_AVAILABILITY_BIT));
	report_hash("samples", values, 48);
	expect(vkGetQueryPoolResults(vk.device, pools[0], 3, 1, 8, values, 8, VK_QUERY_RESULT_64_BIT) == VK_NOT_READY,
	       "a query that was never begun has a result");
	if (pools[2]) {
		memset(values, 0, sizeof(values));
		CHECK(vkGetQueryPoolResults(vk.device, pools[2], 0, 1, sizeof(values), values, sizeof(values),
					    VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
		report_hash("statistics", values, 24);
	}
	if (vk.families[vk.family].timestampValidBits) {
		CHECK(vkGetQueryPoolResults(vk.device, pools[1], 0, 2, 16, values, 8,
					    VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
		expect(values[1] >= values[0] && values[0], "timestamps %llu and %llu", (unsigned long long)values[0],
		       (unsigned long long)values[1]);
	}
	for (uint32_t i = 0; i < 3; i++)
		vkDestroyQueryPool(vk.device, pools[i], NULL);
}

static void multisample(void)
{
	struct scene scene = scene_create(VK_SAMPLE_COUNT_4_BIT, NULL, 0);
	struct target out = target_create(VK_SAMPLE_COUNT_1_BIT);
	VkRenderingAttachmentInfo color = {.sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
					   .imageView = scene.target.color.view,
					   .imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
					   .resolveMode = VK_RESOLVE_MODE_AVERAGE_BIT,
					   .resolveImageView = out.color.view,
					   .resolveImageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
					   .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
					   .storeOp = VK_ATTACHMENT_STORE_OP_DONT_CARE};
	VkRenderingAttachmentInfo depth = {.sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
					   .imageView = scene.target.depth.view,
					   .imageLayout = VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL,
					   .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
					   .clearValue = {.depthStencil = {1, 0}}};
	VkRenderingInfo info = {.sType = VK_STRUCTURE_TYPE_RENDERING_INFO,
				.renderArea = {{0, 0}, {TARGET_EDGE, TARGET_EDGE}},
				.layerCount = 1,
				.colorAttachmentCount = 1,
				.pColorAttachments = &color,
				.pDepthAttachment = &depth};
	VkCommandBuffer command = command_begin();

	target_prepare(command, &scene.target);
	target_prepare(command, &out);
	vkCmdBeginRendering(command, &info);
	scene_bind(command, &scene);
	vkCmdDraw(command, MESH_VERTICES, 1, 0, 0);
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &out);
}

static void multiview(void)
{
	struct image color = image_create(
	    &(struct image_params){COLOR_FORMAT, TARGET_EDGE, TARGET_EDGE, .layers = 3,
				   .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT});
	struct image depth = image_create(&(struct image_params){DEPTH_FORMAT, TARGET_EDGE, TARGET_EDGE, .layers = 3,
								 .usage = VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT});
	struct target target = {color, depth};
	struct buffer mesh = mesh_create();
	VkPipelineLayout layout = layout_create(VK_NULL_HANDLE);
	VkRenderingAttachmentInfo color_info = {.sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
						.imageView = color.view,
						.imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
						.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR};
	VkRenderingAttachmentInfo depth_info = {.sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
						.imageView = depth.view,
						.imageLayout = VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL,
						.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
						.clearValue = {.depthStencil = {1, 0}}};
	VkRenderingInfo info = {.sType = VK_STRUCTURE_TYPE_RENDERING_INFO,
				.renderArea = {{0, 0}, {TARGET_EDGE, TARGET_EDGE}},
				.layerCount = 1,
				.viewMask = 5,
				.colorAttachmentCount = 1,
				.pColorAttachments = &color_info,
				.pDepthAttachment = &depth_info};
	VkPipeline pipeline;
	VkCommandBuffer command;

	need(vk.features.v11.multiview, "multiview");
	pipeline = pipeline_create(&(struct pipeline_params){.layout = layout,
							     .vertex = SHADER(views_vert),
							     .fragment = SHADER(color_frag),
							     .view_mask = 5,
							     .depth = true});
	command = command_begin();
	target_prepare(command, &target);
	vkCmdBeginRendering(command, &info);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
	vkCmdBindVertexBuffers(command, 0, 1, &mesh.handle, &(VkDeviceSize){0});
	viewport_set(command, TARGET_EDGE);
	push(command, layout, 0, 0, 1, 0);
	vkCmdDraw(command, MESH_VERTICES, 1, 0, 0);
	vkCmdEndRendering(command);
	image_barrier(command, &color, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	command_finish(command);
	for (uint32_t layer = 0; layer < 3; layer += 2) {
		size_t size;
		void *bytes = image_read(&color, 0, layer, 4, &size);

		report_picture(layer ? "view 2" : "view 0", bytes, TARGET_EDGE, TARGET_EDGE);
		free(bytes);
	}
}

static void with_stages(const char *name, const struct pipeline_params *stages)
{
	struct scene scene = {target_create(VK_SAMPLE_COUNT_1_BIT), mesh_create(), layout_create(VK_NULL_HANDLE),
			      VK_NULL_HANDLE};
	struct pipeline_params params = *stages;
	VkCommandBuffer command;

	params.layout = scene.layout;
	params.vertex = SHADER(mesh_vert);
	params.fragment = SHADER(color_frag);
	params.depth = true;
	scene.pipeline = pipeline_create(&params);
	command = command_begin();
	target_prepare(command, &scene.target);
	rendering_begin(command, &scene.target, 0);
	scene_bind(command, &scene);
	vkCmdDraw(command, 48, 1, 0, 0);
	vkCmdEndRendering(command);
	command_finish(command);
	target_report(name, &scene.target);
}

static void geometry(void)
{
	need(vk.features.core.features.geometryShader, "geometryShader");
	with_stages("picture", &(struct pipeline_params){.geometry = SHADER(fan_geom)});
}

static void tessellation(void)
{
	need(vk.features.core.features.tessellationShader, "tessellationShader");
	with_stages("picture",
		    &(struct pipeline_params){.control = SHADER(patch_tesc), .evaluation = SHADER(patch_tese)});
}

static void lines_and_points(void)
{
	for (uint32_t i = 0; i < 4; i++) {
		static const char *const names[] = {"lines", "line strip", "triangle strip", "lines with adjacency"};
		static const VkPrimitiveTopology topologies[] = {
		    VK_PRIMITIVE_TOPOLOGY_LINE_LIST, VK_PRIMITIVE_TOPOLOGY_LINE_STRIP,
		    VK_PRIMITIVE_TOPOLOGY_TRIANGLE_STRIP, VK_PRIMITIVE_TOPOLOGY_LINE_LIST_WITH_ADJACENCY};

		if (i == 3 && !vk.features.core.features.geometryShader)
			continue;
		with_stages(names[i], &(struct pipeline_params){.topology = topologies[i]});
	}
}

/* Mipmaps made by blits, sampled with every filter. */
static void textures(void)
{
	struct target target = target_create(VK_SAMPLE_COUNT_1_BIT);
	struct image image = image_create(&(struct image_params){
	    COLOR_FORMAT, 128, 128, .levels = 8,
	    .usage = VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT});
	VkDescriptorSetLayoutBinding binding = {0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1,
						VK_SHADER_STAGE_FRAGMENT_BIT, NULL};
	VkDescriptorSetLayoutCreateInfo set_layout_info = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 1, .pBindings = &binding};
	VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 4};
	VkDescriptorPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
						.maxSets = 4,
						.poolSizeCount = 1,
						.pPoolSizes = &size};
	VkDescriptorSetLayout set_layout, set_layouts[4];
	VkDescriptorPool pool;
	VkDescriptorSet sets[4];
	VkDescriptorSetAllocateInfo set_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
						.descriptorSetCount = 4,
						.pSetLayouts = set_layouts};
	VkPipelineLayout layout;
	VkPipeline pipeline;
	VkCommandBuffer command;
	uint8_t *bytes = malloc(128 * 128 * 4);

	expect(bytes, "no memory");
	noise(bytes, 128 * 128 * 4, 61);
	command = command_begin();
	image_barrier(command, &image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_GENERAL);
	command_finish(command);
	image_write(&image, 0, 0, bytes, 128 * 128 * 4, VK_IMAGE_LAYOUT_GENERAL);
	command = command_begin();
	for (uint32_t level = 1; level < 8; level++) {
		VkImageBlit region = {{VK_IMAGE_ASPECT_COLOR_BIT, level - 1, 0, 1},
				      {{0, 0, 0}, {128 >> (level - 1), 128 >> (level - 1), 1}},
				      {VK_IMAGE_ASPECT_COLOR_BIT, level, 0, 1},
				      {{0, 0, 0}, {128 >> level, 128 >> level, 1}}};

		barrier(command);
		vkCmdBlitImage(command, image.handle, VK_IMAGE_LAYOUT_GENERAL, image.handle, VK_IMAGE_LAYOUT_GENERAL, 1,
			       &region, VK_FILTER_LINEAR);
	}
	barrier(command);
	command_finish(command);
	CHECK(vkCreateDescriptorSetLayout(vk.device, &set_layout_info, NULL, &set_layout));
	CHECK(vkCreateDescriptorPool(vk.device, &pool_info, NULL, &pool));
	for (uint32_t i = 0; i < 4; i++)
		set_layouts[i] = set_layout;
	set_info.descriptorPool = pool;
	CHECK(vkAllocateDescriptorSets(vk.device, &set_info, sets));
	for (uint32_t i = 0; i < 4; i++) {
		VkSamplerCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
					    .magFilter = i & 1,
					    .minFilter = i & 1,
					    .mipmapMode = i >> 1,
					    .addressModeU = i,
					    .addressModeV = VK_SAMPLER_ADDRESS_MODE_REPEAT,
					    .maxLod = VK_LOD_CLAMP_NONE};
		VkDescriptorImageInfo use = {VK_NULL_HANDLE, image.view, VK_IMAGE_LAYOUT_GENERAL};

		CHECK(vkCreateSampler(vk.device, &info, NULL, &use.sampler));
		vkUpdateDescriptorSets(
		    vk.device, 1,
		    &(VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
					    .dstSet = sets[i],
					    .descriptorCount = 1,
					    .descriptorType = VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
					    .pImageInfo = &use},
		    0, NULL);
	}
	layout = layout_create(set_layout);
	pipeline = pipeline_create(&(struct pipeline_params){
	    .layout = layout, .vertex = SHADER(screen_vert), .fragment = SHADER(texture_frag), .no_vertices = true});
	command = command_begin();
	target_prepare(command, &target);
	rendering_begin(command, &target, 0);
	viewport_set(command, TARGET_EDGE);
	vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
	for (uint32_t i = 0; i < 4; i++) {
		VkRect2D quarter = {{128 * (int32_t)(i & 1), 128 * (int32_t)(i >> 1)}, {128, 128}};

		vkCmdSetScissor(command, 0, 1, &quarter);
		vkCmdBindDescriptorSets(command, VK_PIPELINE_BIND_POINT_GRAPHICS, layout, 0, 1, &sets[i], 0, NULL);
		push(command, layout, 0, 0, 1, 2.7f);
		vkCmdDraw(command, 3, 1, 0, 0);
	}
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &target);
	free(bytes);
}

/* Many commands: more than fit into a ring at once. */
static void many(void)
{
	struct scene scene = scene_create(VK_SAMPLE_COUNT_1_BIT, NULL, 0);
	VkCommandBuffer command = command_begin();

	target_prepare(command, &scene.target);
	rendering_begin(command, &scene.target, 0);
	scene_bind(command, &scene);
	for (uint32_t i = 0; i < 5000; i++) {
		push(command, scene.layout, (float)(i % 71) / 35.0f - 1, (float)(i % 53) / 26.0f - 1, 0.03f, 0);
		vkCmdDraw(command, 3, 1, i * 3 % MESH_VERTICES, 0);
	}
	vkCmdEndRendering(command);
	command_finish(command);
	target_report("picture", &scene.target);
}

const struct vk_case draw_cases[] = {
    {"draw/dynamic_rendering", dynamic_rendering},
    {"draw/render_pass", render_pass},
    {"draw/imageless_framebuffer", imageless_framebuffer},
    {"draw/indirect", indirect},
    {"draw/dynamic_state", dynamic_state},
    {"draw/secondary", secondary},
    {"draw/queries", queries},
    {"draw/multisample", multisample},
    {"draw/multiview", multiview},
    {"draw/geometry", geometry},
    {"draw/tessellation", tessellation},
    {"draw/lines_and_points", lines_and_points},
    {"draw/textures", textures},
    {"draw/many", many},
    {0},
};

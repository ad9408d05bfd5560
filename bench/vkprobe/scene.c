/* SPDX-License-Identifier: MIT */
#include "scene.h"

#include "scene_frag.h"
#include "scene_vert.h"

/* The largest minUniformBufferOffsetAlignment that Vulkan allows. */
#define TINT_STRIDE 256u

struct placement {
	float x, y, size;
};

static void create_pass(struct pv_scene *scene)
{
	const VkAttachmentDescription color = {
	    .format = VK_FORMAT_R8G8B8A8_UNORM,
	    .samples = VK_SAMPLE_COUNT_1_BIT,
	    .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
	    .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
	    .stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE,
	    .stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE,
	    .finalLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
	};
	const VkAttachmentReference target = {.layout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
	const VkSubpassDescription subpass = {
	    .pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
	    .colorAttachmentCount = 1,
	    .pColorAttachments = &target,
	};
	/* Frames under way share the target, and a copy may read it before the next and after this one. */
	const VkSubpassDependency dependencies[2] = {
	    {
		.srcSubpass = VK_SUBPASS_EXTERNAL,
		.dstSubpass = 0,
		.srcStageMask = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
		.dstStageMask = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT,
		.srcAccessMask = VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT,
		.dstAccessMask = VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT,
	    },
	    {
		.srcSubpass = 0,
		.dstSubpass = VK_SUBPASS_EXTERNAL,
		.srcStageMask = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT,
		.dstStageMask = VK_PIPELINE_STAGE_TRANSFER_BIT,
		.srcAccessMask = VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT,
		.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT,
	    },
	};
	const VkRenderPassCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
	    .attachmentCount = 1,
	    .pAttachments = &color,
	    .subpassCount = 1,
	    .pSubpasses = &subpass,
	    .dependencyCount = 2,
	    .pDependencies = dependencies,
	};
	PV_VK(vkCreateRenderPass(scene->probe->device, &create, NULL, &scene->pass));
	const VkFramebufferCreateInfo create_frame = {
	    .sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
	    .renderPass = scene->pass,
	    .attachmentCount = 1,
	    .pAttachments = &scene->target.view,
	    .width = scene->target.width,
	    .height = scene->target.height,
	    .layers = 1,
	};
	PV_VK(vkCreateFramebuffer(scene->probe->device, &create_frame, NULL, &scene->frame));
}

/* Written by the device: some hosts can offer no memory that may be mapped, and draws need none. */
static void fill_tints(struct pv_scene *scene)
{
	const float tints[2][4] = {{1.0f, 0.5f, 0.25f, 0.5f}, {0.25f, 0.5f, 1.0f, 0.5f}};
	const VkMemoryBarrier written = {
	    .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
	    .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
	    .dstAccessMask = VK_ACCESS_UNIFORM_READ_BIT,
	};
	struct pv_pipe pipe;

	pv_pipe_init(&pipe, scene->probe, 1);
	const VkCommandBuffer commands = pv_pipe_begin(&pipe);
	for (uint32_t i = 0; i < 2; i++)
		vkCmdUpdateBuffer(commands, scene->tints.buffer, (VkDeviceSize)i * TINT_STRIDE, sizeof(tints[i]),
				  tints[i]);
	vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_VERTEX_SHADER_BIT, 0, 1,
			     &written, 0, NULL, 0, NULL);
	pv_pipe_submit(&pipe);
	pv_pipe_finish(&pipe);
}

static void create_sets(struct pv_scene *scene)
{
	const VkDescriptorSetLayoutBinding binding = {
	    .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
	    .descriptorCount = 1,
	    .stageFlags = VK_SHADER_STAGE_VERTEX_BIT,
	};
	const VkDescriptorSetLayoutCreateInfo create_layout = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
	    .bindingCount = 1,
	    .pBindings = &binding,
	};
	PV_VK(vkCreateDescriptorSetLayout(scene->probe->device, &create_layout, NULL, &scene->set_layout));
	const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 2};
	const VkDescriptorPoolCreateInfo create_pool = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
	    .maxSets = 2,
	    .poolSizeCount = 1,
	    .pPoolSizes = &size,
	};
	PV_VK(vkCreateDescriptorPool(scene->probe->device, &create_pool, NULL, &scene->pool));
	const VkDescriptorSetLayout layouts[2] = {scene->set_layout, scene->set_layout};
	const VkDescriptorSetAllocateInfo allocate = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
	    .descriptorPool = scene->pool,
	    .descriptorSetCount = 2,
	    .pSetLayouts = layouts,
	};
	PV_VK(vkAllocateDescriptorSets(scene->probe->device, &allocate, scene->sets));
	for (uint32_t i = 0; i < 2; i++) {
		const VkDescriptorBufferInfo buffer = {scene->tints.buffer, (VkDeviceSize)i * TINT_STRIDE, 16};
		const VkWriteDescriptorSet write = {
		    .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
		    .dstSet = scene->sets[i],
		    .descriptorCount = 1,
		    .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
		    .pBufferInfo = &buffer,
		};

		vkUpdateDescriptorSets(scene->probe->device, 1, &write, 0, NULL);
	}
}

static void create_layout(struct pv_scene *scene)
{
	const VkPushConstantRange range = {VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(struct placement)};
	const VkPipelineLayoutCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
	    .setLayoutCount = 1,
	    .pSetLayouts = &scene->set_layout,
	    .pushConstantRangeCount = 1,
	    .pPushConstantRanges = &range,
	};

	PV_VK(vkCreatePipelineLayout(scene->probe->device, &create, NULL, &scene->layout));
}

VkPipeline pv_scene_create_pipeline(struct pv_scene *scene, float dim)
{
	const VkSpecializationMapEntry entry = {.size = sizeof(dim)};
	const VkSpecializationInfo constants = {
	    .mapEntryCount = 1, .pMapEntries = &entry, .dataSize = sizeof(dim), .pData = &dim};
	const VkPipelineShaderStageCreateInfo stages[2] = {
	    {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
		.stage = VK_SHADER_STAGE_VERTEX_BIT,
		.module = scene->vertex,
		.pName = "main",
	    },
	    {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
		.stage = VK_SHADER_STAGE_FRAGMENT_BIT,
		.module = scene->fragment,
		.pName = "main",
		.pSpecializationInfo = &constants,
	    },
	};
	const VkPipelineVertexInputStateCreateInfo vertex_input = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO,
	};
	const VkPipelineInputAssemblyStateCreateInfo assembly = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
	    .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST,
	};
	const VkViewport viewport = {
	    .width = (float)scene->target.width,
	    .height = (float)scene->target.height,
	    .maxDepth = 1.0f,
	};
	const VkRect2D whole = {.extent = {scene->target.width, scene->target.height}};
	const VkPipelineViewportStateCreateInfo viewports = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
	    .viewportCount = 1,
	    .pViewports = &viewport,
	    .scissorCount = 1,
	    .pScissors = &whole,
	};
	const VkPipelineRasterizationStateCreateInfo rasterization = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO,
	    .polygonMode = VK_POLYGON_MODE_FILL,
	    .cullMode = VK_CULL_MODE_NONE,
	    .lineWidth = 1.0f,
	};
	const VkPipelineMultisampleStateCreateInfo multisample = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
	    .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT,
	};
	const VkPipelineColorBlendAttachmentState blend_target = {
	    .blendEnable = VK_TRUE,
	    .srcColorBlendFactor = VK_BLEND_FACTOR_SRC_ALPHA,
	    .dstColorBlendFactor = VK_BLEND_FACTOR_ONE_MINUS_SRC_ALPHA,
	    .colorBlendOp = VK_BLEND_OP_ADD,
	    .srcAlphaBlendFactor = VK_BLEND_FACTOR_ONE,
	    .dstAlphaBlendFactor = VK_BLEND_FACTOR_ONE_MINUS_SRC_ALPHA,
	    .alphaBlendOp = VK_BLEND_OP_ADD,
	    .colorWriteMask = 0xf,
	};
	const VkPipelineColorBlendStateCreateInfo blend = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
	    .attachmentCount = 1,
	    .pAttachments = &blend_target,
	};
	const VkGraphicsPipelineCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
	    .stageCount = 2,
	    .pStages = stages,
	    .pVertexInputState = &vertex_input,
	    .pInputAssemblyState = &assembly,
	    .pViewportState = &viewports,
	    .pRasterizationState = &rasterization,
	    .pMultisampleState = &multisample,
	    .pColorBlendState = &blend,
	    .layout = scene->layout,
	    .renderPass = scene->pass,
	};
	VkPipeline pipeline;

	PV_VK(vkCreateGraphicsPipelines(scene->probe->device, VK_NULL_HANDLE, 1, &create, NULL, &pipeline));
	return pipeline;
}

void pv_scene_init(struct pv_scene *scene, struct pv_probe *probe, uint32_t width, uint32_t height)
{
	*scene = (struct pv_scene){.probe = probe};
	scene->target = pv_image_create(probe, width, height,
					VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
	create_pass(scene);
	scene->tints = pv_buffer_create(probe, 2 * TINT_STRIDE,
					VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT, 0,
					VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
	fill_tints(scene);
	create_sets(scene);
	create_layout(scene);
	scene->vertex = pv_shader_create(probe, scene_vert, sizeof(scene_vert));
	scene->fragment = pv_shader_create(probe, scene_frag, sizeof(scene_frag));
	scene->pipeline = pv_scene_create_pipeline(scene, 1.0f);
}

void pv_scene_finish(struct pv_scene *scene)
{
	const VkDevice device = scene->probe->device;

	vkDestroyPipeline(device, scene->pipeline, NULL);
	vkDestroyShaderModule(device, scene->vertex, NULL);
	vkDestroyShaderModule(device, scene->fragment, NULL);
	vkDestroyPipelineLayout(device, scene->layout, NULL);
	vkDestroyDescriptorPool(device, scene->pool, NULL);
	vkDestroyDescriptorSetLayout(device, scene->set_layout, NULL);
	pv_buffer_destroy(scene->probe, &scene->tints);
	vkDestroyFramebuffer(device, scene->frame, NULL);
	vkDestroyRenderPass(device, scene->pass, NULL);
	pv_image_destroy(scene->probe, &scene->target);
}

void pv_scene_begin(struct pv_scene *scene, VkCommandBuffer commands)
{
	const VkClearValue background = {.color.float32 = {0.1f, 0.1f, 0.1f, 1.0f}};
	const VkRenderPassBeginInfo begin = {
	    .sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO,
	    .renderPass = scene->pass,
	    .framebuffer = scene->frame,
	    .renderArea = {.extent = {scene->target.width, scene->target.height}},
	    .clearValueCount = 1,
	    .pClearValues = &background,
	};

	vkCmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
	vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, scene->pipeline);
	pv_scene_bind(scene, commands, 0);
}

void pv_scene_end(VkCommandBuffer commands)
{
	vkCmdEndRenderPass(commands);
}

void pv_scene_place(struct pv_scene *scene, VkCommandBuffer commands, float x, float y, float size)
{
	const struct placement placement = {x, y, size};

	vkCmdPushConstants(commands, scene->layout, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(placement), &placement);
}

void pv_scene_bind(struct pv_scene *scene, VkCommandBuffer commands, uint32_t set)
{
	vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, scene->layout, 0, 1, &scene->sets[set], 0,
				NULL);
}

/* SPDX-License-Identifier: MIT */
/* A frame that only computes: 256 x 256 invocations, each of which loops as often as it was told. */
#include "probe.h"

#include "loop_comp.h"

#define SIDE 256u

struct compute {
	struct pv_buffer buffer;
	VkDescriptorSetLayout set_layout;
	VkDescriptorPool pool;
	VkDescriptorSet set;
	VkPipelineLayout layout;
	VkPipeline pipeline;
	uint32_t rounds;
};

static void create_set(struct pv_probe *probe, struct compute *compute)
{
	const VkDescriptorSetLayoutBinding binding = {
	    .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
	    .descriptorCount = 1,
	    .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
	};
	const VkDescriptorSetLayoutCreateInfo create_layout = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
	    .bindingCount = 1,
	    .pBindings = &binding,
	};
	PV_VK(vkCreateDescriptorSetLayout(probe->device, &create_layout, NULL, &compute->set_layout));
	const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
	const VkDescriptorPoolCreateInfo create_pool = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
	    .maxSets = 1,
	    .poolSizeCount = 1,
	    .pPoolSizes = &size,
	};
	PV_VK(vkCreateDescriptorPool(probe->device, &create_pool, NULL, &compute->pool));
	const VkDescriptorSetAllocateInfo allocate = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
	    .descriptorPool = compute->pool,
	    .descriptorSetCount = 1,
	    .pSetLayouts = &compute->set_layout,
	};
	PV_VK(vkAllocateDescriptorSets(probe->device, &allocate, &compute->set));
	const VkDescriptorBufferInfo buffer = {compute->buffer.buffer, 0, VK_WHOLE_SIZE};
	const VkWriteDescriptorSet write = {
	    .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
	    .dstSet = compute->set,
	    .descriptorCount = 1,
	    .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
	    .pBufferInfo = &buffer,
	};
	vkUpdateDescriptorSets(probe->device, 1, &write, 0, NULL);
}

static void create_pipeline(struct pv_probe *probe, struct compute *compute)
{
	const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(uint32_t)};
	const VkPipelineLayoutCreateInfo create_layout = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
	    .setLayoutCount = 1,
	    .pSetLayouts = &compute->set_layout,
	    .pushConstantRangeCount = 1,
	    .pPushConstantRanges = &range,
	};
	const VkShaderModule shader = pv_shader_create(probe, loop_comp, sizeof(loop_comp));

	PV_VK(vkCreatePipelineLayout(probe->device, &create_layout, NULL, &compute->layout));
	const VkComputePipelineCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
	    .stage =
		{
		    .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
		    .stage = VK_SHADER_STAGE_COMPUTE_BIT,
		    .module = shader,
		    .pName = "main",
		},
	    .layout = compute->layout,
	};
	PV_VK(vkCreateComputePipelines(probe->device, VK_NULL_HANDLE, 1, &create, NULL, &compute->pipeline));
	vkDestroyShaderModule(probe->device, shader, NULL);
}

static void record(VkCommandBuffer commands, void *user)
{
	const struct compute *compute = user;
	const VkMemoryBarrier after_last = {
	    .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
	    .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
	    .dstAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
	};

	vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1,
			     &after_last, 0, NULL, 0, NULL);
	vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, compute->pipeline);
	vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, compute->layout, 0, 1, &compute->set, 0,
				NULL);
	vkCmdPushConstants(commands, compute->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(compute->rounds),
			   &compute->rounds);
	vkCmdDispatch(commands, SIDE * SIDE / 64, 1, 1);
}

void pv_measure_compute(struct pv_probe *probe, struct pv_series *series)
{
	struct compute compute = {.rounds = probe->options.loop_rounds};

	compute.buffer = pv_buffer_create(probe, (VkDeviceSize)SIDE * SIDE * 4, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, 0,
					  VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
	create_set(probe, &compute);
	create_pipeline(probe, &compute);
	pv_measure_rate(probe, series, 2, 1, record, &compute);
	vkDestroyPipeline(probe->device, compute.pipeline, NULL);
	vkDestroyPipelineLayout(probe->device, compute.layout, NULL);
	vkDestroyDescriptorPool(probe->device, compute.pool, NULL);
	vkDestroyDescriptorSetLayout(probe->device, compute.set_layout, NULL);
	pv_buffer_destroy(probe, &compute.buffer);
}

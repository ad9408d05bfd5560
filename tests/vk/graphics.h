/* SPDX-License-Identifier: MIT */
/* What the cases that draw share: a mesh of triangles, a target, pipelines. */
#ifndef VK_TESTS_GRAPHICS_H
#define VK_TESTS_GRAPHICS_H

#include "vk.h"

#define TARGET_EDGE   256u
#define MESH_VERTICES 96u
#define COLOR_FORMAT  VK_FORMAT_R8G8B8A8_UNORM
#define DEPTH_FORMAT  VK_FORMAT_D32_SFLOAT

struct target {
	struct image color, depth;
};

struct pipeline_params {
	VkPipelineLayout layout;
	VkShaderModule vertex, fragment, geometry, control, evaluation;
	VkRenderPass pass; /* VK_NULL_HANDLE: dynamic rendering */
	uint32_t subpass, view_mask;
	VkSampleCountFlagBits samples; /* 0 is 1 */
	bool no_vertices, depth;
	VkPrimitiveTopology topology;
	const VkDynamicState *dynamic; /* besides viewport and scissor */
	uint32_t dynamic_count;
	VkPipelineCreateFlags flags;
	const void *next;
};

struct target target_create(VkSampleCountFlagBits samples);
struct buffer mesh_create(void);
/* One push constant range of 16 bytes for all stages, and a set layout, or none. */
VkPipelineLayout layout_create(VkDescriptorSetLayout set);
VkPipeline pipeline_create(const struct pipeline_params *params);

void viewport_set(VkCommandBuffer command, uint32_t edge);
/* Dynamic rendering into the target, cleared. */
void rendering_begin(VkCommandBuffer command, const struct target *target, VkRenderingFlags flags);
/* The target's layouts for it, from undefined. */
void target_prepare(VkCommandBuffer command, const struct target *target);
void push(VkCommandBuffer command, VkPipelineLayout layout, float x, float y, float scale, float extra);
void target_report(const char *name, const struct target *target);

#endif

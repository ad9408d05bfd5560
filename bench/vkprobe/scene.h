/* SPDX-License-Identifier: MIT */
/* One render target, one pipeline with blending, two descriptor sets to change between. */
#ifndef PVGPU_VKPROBE_SCENE_H
#define PVGPU_VKPROBE_SCENE_H

#include "probe.h"

struct pv_scene {
	struct pv_probe *probe;
	struct pv_image target;
	VkRenderPass pass;
	VkFramebuffer frame;
	struct pv_buffer tints;
	VkDescriptorSetLayout set_layout;
	VkDescriptorPool pool;
	VkDescriptorSet sets[2];
	VkPipelineLayout layout;
	VkShaderModule vertex, fragment;
	VkPipeline pipeline;
};

void pv_scene_init(struct pv_scene *scene, struct pv_probe *probe, uint32_t width, uint32_t height);
void pv_scene_finish(struct pv_scene *scene);

/* A pipeline like the scene's own, with a constant of its own in the fragment shader. */
VkPipeline pv_scene_create_pipeline(struct pv_scene *scene, float dim);

/* Between these two, triangles; pipeline and the first descriptor set are bound. */
void pv_scene_begin(struct pv_scene *scene, VkCommandBuffer commands);
void pv_scene_end(VkCommandBuffer commands);
void pv_scene_place(struct pv_scene *scene, VkCommandBuffer commands, float x, float y, float size);
void pv_scene_bind(struct pv_scene *scene, VkCommandBuffer commands, uint32_t set);

#endif

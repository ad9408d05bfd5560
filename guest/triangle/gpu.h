/* SPDX-License-Identifier: MIT */
/*
 * The Vulkan side: one device, one pipeline that draws the scene into images of one format. Vulkan 1.0 and, for a
 * window, VK_KHR_swapchain; nothing else is asked of the driver. Every failure ends the program with advice.
 */
#ifndef PVGPU_TRIANGLE_GPU_H
#define PVGPU_TRIANGLE_GPU_H

#include <stdbool.h>
#include <stdint.h>

#include <vulkan/vulkan.h>

#include "scene.h"

struct pv_gpu {
	VkInstance instance;
	VkPhysicalDevice physical;
	VkPhysicalDeviceProperties properties;
	VkPhysicalDeviceMemoryProperties memory;
	char driver_name[VK_MAX_DRIVER_NAME_SIZE]; /* "" if the driver does not tell */
	char driver_info[VK_MAX_DRIVER_INFO_SIZE];
	VkDevice device;
	uint32_t family;
	VkQueue queue;
	VkCommandPool commands;
	VkBuffer vertices;
	VkDeviceMemory vertex_memory;
	VkFormat format;
	VkRenderPass pass;
	VkPipelineLayout layout;
	VkPipeline pipeline;
};

/* An image to draw into without a window, and a buffer to read it back from. */
struct pv_offscreen {
	uint32_t width, height;
	VkImage image;
	VkDeviceMemory image_memory;
	VkImageView view;
	VkFramebuffer frame;
	VkBuffer buffer;
	VkDeviceMemory buffer_memory;
	void *mapped;
	VkCommandBuffer commands;
	VkFence done;
	struct pv_picture picture; /* valid after each pv_offscreen_render() */
};

/* Ends the program unless `result` is VK_SUCCESS, naming the call and what can be done. */
void pv_vk_check(VkResult result, const char *call);
#define PV_VK(call) pv_vk_check((call), #call)

/*
 * Creates the instance with the given extensions and picks a GPU: the first whose name contains `wanted`, or, where
 * that is NULL, the first that is not a CPU, else the first.
 */
void pv_gpu_choose(struct pv_gpu *gpu, const char *wanted, const char *const *extensions, uint32_t extension_count);

/* Creates the device; with `surface` not VK_NULL_HANDLE, one that can present to it. */
void pv_gpu_create_device(struct pv_gpu *gpu, VkSurfaceKHR surface);

/* The pipeline for images of `format` that are left in `final_layout`. */
void pv_gpu_create_pipeline(struct pv_gpu *gpu, VkFormat format, VkImageLayout final_layout);
void pv_gpu_destroy(struct pv_gpu *gpu);

/* Writes the JSON fields "gpu", "driver", "driver_info", "driver_version" and "api", without braces. */
void pv_gpu_print_fields(const struct pv_gpu *gpu);

VkImageView pv_gpu_create_view(struct pv_gpu *gpu, VkImage image);
VkFramebuffer pv_gpu_create_frame(struct pv_gpu *gpu, VkImageView view, uint32_t width, uint32_t height);
void pv_gpu_create_commands(struct pv_gpu *gpu, VkCommandBuffer *commands, uint32_t count);

/* Records the render pass. The command buffer is being recorded. */
void pv_gpu_record_scene(struct pv_gpu *gpu, VkCommandBuffer commands, VkFramebuffer frame, uint32_t width,
			 uint32_t height);

void pv_offscreen_init(struct pv_gpu *gpu, struct pv_offscreen *offscreen, uint32_t width, uint32_t height);
void pv_offscreen_render(struct pv_gpu *gpu, struct pv_offscreen *offscreen);
void pv_offscreen_finish(struct pv_gpu *gpu, struct pv_offscreen *offscreen);

#endif

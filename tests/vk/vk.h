/* SPDX-License-Identifier: MIT */
/*
 * What the cases of vk-tests share. Each case runs in a process of its own, with the device below made for it; so `vk`
 * is a global, and nothing has to be taken back when a case ends early. A case reports numbers and hashes: run natively
 * and through our renderer they must be the same.
 */
#ifndef VK_TESTS_VK_H
#define VK_TESTS_VK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vulkan/vulkan.h>

#include "shaders.h"

#define VK_QUEUES_MAX   8u
#define VK_FAMILIES_MAX 8u
#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))

struct vk_features {
	VkPhysicalDeviceFeatures2 core;
	VkPhysicalDeviceVulkan11Features v11;
	VkPhysicalDeviceVulkan12Features v12;
	VkPhysicalDeviceVulkan13Features v13;
	VkPhysicalDeviceVulkan14Features v14;
	VkPhysicalDeviceGraphicsPipelineLibraryFeaturesEXT pipeline_library;
	VkPhysicalDeviceTransformFeedbackFeaturesEXT transform_feedback;
	VkPhysicalDeviceConditionalRenderingFeaturesEXT conditional_rendering;
	VkPhysicalDeviceVertexInputDynamicStateFeaturesEXT vertex_input;
	VkPhysicalDeviceExtendedDynamicState3FeaturesEXT dynamic_state3;
	VkPhysicalDeviceColorWriteEnableFeaturesEXT color_write;
	VkPhysicalDeviceMultiDrawFeaturesEXT multi_draw;
	VkPhysicalDeviceMutableDescriptorTypeFeaturesEXT mutable_descriptor;
	VkPhysicalDeviceCustomBorderColorFeaturesEXT border_color;
	VkPhysicalDevicePrimitivesGeneratedQueryFeaturesEXT primitives_generated;
	VkPhysicalDeviceShaderObjectFeaturesEXT shader_object;
	VkPhysicalDeviceMeshShaderFeaturesEXT mesh_shader;
	VkPhysicalDeviceAccelerationStructureFeaturesKHR acceleration_structure;
	VkPhysicalDeviceRayQueryFeaturesKHR ray_query;
	VkPhysicalDeviceRayTracingPipelineFeaturesKHR ray_tracing;
};

struct vk {
	VkInstance instance;
	VkPhysicalDevice gpu;
	VkDevice device;
	uint32_t version; /* of the physical device, 1.4 at most */
	VkPhysicalDeviceProperties properties;
	VkPhysicalDeviceMemoryProperties memory;
	struct vk_features features; /* all that are offered are on, but for robust access */
	uint32_t family_count;
	VkQueueFamilyProperties families[VK_FAMILIES_MAX];
	uint32_t family; /* of `queue`: graphics, compute, transfer */
	uint32_t queue_count;
	VkQueue queue, queues[VK_QUEUES_MAX];
	uint32_t queue_families[VK_QUEUES_MAX];
	VkCommandPool pool;
};

extern struct vk vk;

struct vk_case {
	const char *name;
	void (*run)(void);
};

/* Each file's cases, ended by a name that is NULL. */
extern const struct vk_case object_cases[], memory_cases[], transfer_cases[], compute_cases[], draw_cases[],
    sync_cases[], extension_cases[];

/* Ends of a case. A skip says what is missing: an extension's or a feature's name. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void need(bool have, const char *what);
void need_extension(const char *name);
void expect(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check(VkResult result, const char *call);
#define CHECK(call) check((call), #call)

/* What is compared. A picture is hashed, and kept as name.ppm under --pictures. */
void report(const char *name, uint64_t value);
void report_hash(const char *name, const void *bytes, size_t size);
void report_picture(const char *name, const uint8_t *rgba, uint32_t width, uint32_t height);
uint64_t hash_bytes(const void *bytes, size_t size);

bool has_extension(const char *name);
/* An entry point of an extension that the case needs. */
PFN_vkVoidFunction device_function(const char *name);
#define DEVICE_FUNCTION(name) PFN_##name name = (PFN_##name)device_function(#name)

struct buffer {
	VkBuffer handle;
	VkDeviceMemory memory;
	VkDeviceSize size;
	void *map; /* NULL if not host visible */
	VkDeviceAddress address;
};

struct image {
	VkImage handle;
	VkDeviceMemory memory;
	VkImageView view; /* of all of it */
	VkFormat format;
	VkImageAspectFlags aspect;
	VkExtent3D extent;
	uint32_t layers, levels;
};

struct image_params {
	VkFormat format;
	uint32_t width, height, depth, layers, levels; /* 0 is 1 */
	VkImageUsageFlags usage;
	VkSampleCountFlagBits samples;
	VkImageCreateFlags flags;
};

enum where {
	ON_HOST,
	ON_DEVICE,
};

uint32_t memory_type(uint32_t allowed, VkMemoryPropertyFlags wanted);
VkDeviceMemory allocate(const VkMemoryRequirements *requirements, VkMemoryPropertyFlags wanted, bool address);
struct buffer buffer_create(VkDeviceSize size, VkBufferUsageFlags usage, enum where where);
void buffer_destroy(struct buffer *buffer);
struct image image_create(const struct image_params *params);
void image_destroy(struct image *image);

VkCommandBuffer command_begin(void);
void command_finish(VkCommandBuffer command); /* ends, submits, waits and frees it */
void submit_and_wait(VkCommandBuffer command);
/* Everything before it happens before, and is visible to, everything behind it. */
void barrier(VkCommandBuffer command);
void image_barrier(VkCommandBuffer command, const struct image *image, VkImageLayout from, VkImageLayout to);

/* Bytes of one level and layer, tightly packed, of an image in TRANSFER_SRC_OPTIMAL. Freed by the caller. */
void *image_read(const struct image *image, uint32_t level, uint32_t layer, size_t texel_size, size_t *size);
void image_write(const struct image *image, uint32_t level, uint32_t layer, const void *bytes, size_t size,
		 VkImageLayout layout);
/* Reads an RGBA8 image in `layout` and reports it. */
void image_report(const char *name, const struct image *image, VkImageLayout layout);

VkShaderModule shader(const struct shader_code *code);
#define SHADER(name) shader(&(name))

/* One descriptor set of storage buffers at bindings 0.., 16 bytes of push constants, and a compute pipeline for it. */
struct compute {
	VkDescriptorSetLayout set_layout;
	VkDescriptorPool pool;
	VkDescriptorSet set;
	VkPipelineLayout layout;
	VkPipeline pipeline;
};

struct compute compute_create(VkShaderModule module, const struct buffer *buffers, uint32_t count);
VkPipeline compute_pipeline(VkPipelineLayout layout, VkShaderModule module, const VkSpecializationInfo *constants,
			    VkPipelineCache cache, VkPipelineCreateFlags flags);
void compute_dispatch(VkCommandBuffer command, const struct compute *compute, const uint32_t push[4], uint32_t groups);

/* Pseudo-random bytes, always the same for a seed. */
void noise(void *bytes, size_t size, uint32_t seed);

#endif

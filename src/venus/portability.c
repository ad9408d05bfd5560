/* SPDX-License-Identifier: MIT */
#include "venus/portability.h"

#include <stdlib.h>
#include <string.h>

#include "venus/chain.h"

/* Sorted; only those that the Venus protocol knows. */
static const char *const extensions[] = {
    "VK_EXT_4444_formats",
    "VK_EXT_buffer_device_address",
    "VK_EXT_calibrated_timestamps",
    "VK_EXT_depth_clip_control",
    "VK_EXT_descriptor_indexing",
    "VK_EXT_extended_dynamic_state",
    "VK_EXT_extended_dynamic_state2",
    "VK_EXT_extended_dynamic_state3",
    "VK_EXT_external_memory_host",
    "VK_EXT_fragment_shader_interlock",
    "VK_EXT_global_priority",
    "VK_EXT_global_priority_query",
    "VK_EXT_host_image_copy",
    "VK_EXT_host_query_reset",
    "VK_EXT_image_2d_view_of_3d",
    "VK_EXT_image_robustness",
    "VK_EXT_index_type_uint8",
    "VK_EXT_inline_uniform_block",
    "VK_EXT_line_rasterization",
    "VK_EXT_load_store_op_none",
    "VK_EXT_memory_budget",
    "VK_EXT_pipeline_creation_cache_control",
    "VK_EXT_pipeline_creation_feedback",
    "VK_EXT_pipeline_robustness",
    "VK_EXT_post_depth_coverage",
    "VK_EXT_private_data",
    "VK_EXT_robustness2",
    "VK_EXT_sample_locations",
    "VK_EXT_scalar_block_layout",
    "VK_EXT_separate_stencil_usage",
    "VK_EXT_shader_atomic_float",
    "VK_EXT_shader_demote_to_helper_invocation",
    "VK_EXT_shader_stencil_export",
    "VK_EXT_shader_subgroup_ballot",
    "VK_EXT_shader_subgroup_vote",
    "VK_EXT_shader_viewport_index_layer",
    "VK_EXT_subgroup_size_control",
    "VK_EXT_texel_buffer_alignment",
    "VK_EXT_texture_compression_astc_hdr",
    "VK_EXT_vertex_attribute_divisor",
    "VK_KHR_16bit_storage",
    "VK_KHR_8bit_storage",
    "VK_KHR_bind_memory2",
    "VK_KHR_buffer_device_address",
    "VK_KHR_calibrated_timestamps",
    "VK_KHR_copy_commands2",
    "VK_KHR_create_renderpass2",
    "VK_KHR_dedicated_allocation",
    "VK_KHR_depth_stencil_resolve",
    "VK_KHR_descriptor_update_template",
    "VK_KHR_device_group",
    "VK_KHR_driver_properties",
    "VK_KHR_dynamic_rendering",
    "VK_KHR_dynamic_rendering_local_read",
    "VK_KHR_external_fence",
    "VK_KHR_external_memory",
    "VK_KHR_external_semaphore",
    "VK_KHR_format_feature_flags2",
    "VK_KHR_fragment_shader_barycentric",
    "VK_KHR_get_memory_requirements2",
    "VK_KHR_global_priority",
    "VK_KHR_image_format_list",
    "VK_KHR_imageless_framebuffer",
    "VK_KHR_index_type_uint8",
    "VK_KHR_line_rasterization",
    "VK_KHR_load_store_op_none",
    "VK_KHR_maintenance1",
    "VK_KHR_maintenance2",
    "VK_KHR_maintenance3",
    "VK_KHR_maintenance4",
    "VK_KHR_maintenance5",
    "VK_KHR_maintenance6",
    "VK_KHR_maintenance7",
    "VK_KHR_multiview",
    "VK_KHR_portability_subset",
    "VK_KHR_push_descriptor",
    "VK_KHR_relaxed_block_layout",
    "VK_KHR_robustness2",
    "VK_KHR_sampler_mirror_clamp_to_edge",
    "VK_KHR_sampler_ycbcr_conversion",
    "VK_KHR_separate_depth_stencil_layouts",
    "VK_KHR_shader_draw_parameters",
    "VK_KHR_shader_expect_assume",
    "VK_KHR_shader_float16_int8",
    "VK_KHR_shader_float_controls",
    "VK_KHR_shader_float_controls2",
    "VK_KHR_shader_integer_dot_product",
    "VK_KHR_shader_maximal_reconvergence",
    "VK_KHR_shader_non_semantic_info",
    "VK_KHR_shader_quad_control",
    "VK_KHR_shader_relaxed_extended_instruction",
    "VK_KHR_shader_subgroup_extended_types",
    "VK_KHR_shader_subgroup_rotate",
    "VK_KHR_shader_subgroup_uniform_control_flow",
    "VK_KHR_shader_terminate_invocation",
    "VK_KHR_spirv_1_4",
    "VK_KHR_storage_buffer_storage_class",
    "VK_KHR_synchronization2",
    "VK_KHR_timeline_semaphore",
    "VK_KHR_uniform_buffer_standard_layout",
    "VK_KHR_variable_pointers",
    "VK_KHR_vertex_attribute_divisor",
    "VK_KHR_vulkan_memory_model",
    "VK_KHR_zero_initialize_workgroup_memory",
};

/* Core features that Metal has nothing for. */
static const size_t core_features[] = {
    offsetof(VkPhysicalDeviceFeatures, geometryShader),
    offsetof(VkPhysicalDeviceFeatures, logicOp),
    offsetof(VkPhysicalDeviceFeatures, depthBounds),
    offsetof(VkPhysicalDeviceFeatures, wideLines),
    offsetof(VkPhysicalDeviceFeatures, pipelineStatisticsQuery),
    offsetof(VkPhysicalDeviceFeatures, shaderFloat64),
    offsetof(VkPhysicalDeviceFeatures, shaderCullDistance),
    offsetof(VkPhysicalDeviceFeatures, shaderResourceResidency),
    offsetof(VkPhysicalDeviceFeatures, variableMultisampleRate),
    offsetof(VkPhysicalDeviceFeatures, sparseBinding),
    offsetof(VkPhysicalDeviceFeatures, sparseResidencyBuffer),
    offsetof(VkPhysicalDeviceFeatures, sparseResidencyImage2D),
    offsetof(VkPhysicalDeviceFeatures, sparseResidencyImage3D),
    offsetof(VkPhysicalDeviceFeatures, sparseResidency2Samples),
    offsetof(VkPhysicalDeviceFeatures, sparseResidency4Samples),
    offsetof(VkPhysicalDeviceFeatures, sparseResidency8Samples),
    offsetof(VkPhysicalDeviceFeatures, sparseResidency16Samples),
    offsetof(VkPhysicalDeviceFeatures, sparseResidencyAliased),
};

struct hidden_feature {
	VkStructureType type;
	uint32_t offset;
};

#define HIDDEN(stype, structure, member) {VK_STRUCTURE_TYPE_##stype, (uint32_t)offsetof(structure, member)}

/* Of structs that belong to an extension it has, or to a core version. */
static const struct hidden_feature chained_features[] = {
    HIDDEN(PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT, VkPhysicalDeviceRobustness2FeaturesEXT, nullDescriptor),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, VkPhysicalDeviceVulkan12Features, drawIndirectCount),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, VkPhysicalDeviceVulkan12Features, samplerFilterMinmax),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, VkPhysicalDeviceVulkan12Features, shaderSharedInt64Atomics),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, VkPhysicalDeviceVulkan11Features, protectedMemory),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, VkPhysicalDeviceVulkan11Features, multiviewGeometryShader),
    HIDDEN(PHYSICAL_DEVICE_MULTIVIEW_FEATURES, VkPhysicalDeviceMultiviewFeatures, multiviewGeometryShader),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_4_FEATURES, VkPhysicalDeviceVulkan14Features, stippledRectangularLines),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_4_FEATURES, VkPhysicalDeviceVulkan14Features, stippledBresenhamLines),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_4_FEATURES, VkPhysicalDeviceVulkan14Features, stippledSmoothLines),
    HIDDEN(PHYSICAL_DEVICE_VULKAN_1_4_FEATURES, VkPhysicalDeviceVulkan14Features, smoothLines),
    HIDDEN(PHYSICAL_DEVICE_LINE_RASTERIZATION_FEATURES, VkPhysicalDeviceLineRasterizationFeatures,
	   stippledRectangularLines),
    HIDDEN(PHYSICAL_DEVICE_LINE_RASTERIZATION_FEATURES, VkPhysicalDeviceLineRasterizationFeatures,
	   stippledBresenhamLines),
    HIDDEN(PHYSICAL_DEVICE_LINE_RASTERIZATION_FEATURES, VkPhysicalDeviceLineRasterizationFeatures, stippledSmoothLines),
    HIDDEN(PHYSICAL_DEVICE_LINE_RASTERIZATION_FEATURES, VkPhysicalDeviceLineRasterizationFeatures, smoothLines),
    HIDDEN(PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_2_FEATURES_EXT, VkPhysicalDeviceExtendedDynamicState2FeaturesEXT,
	   extendedDynamicState2LogicOp),
    HIDDEN(PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT, VkPhysicalDeviceExtendedDynamicState3FeaturesEXT,
	   extendedDynamicState3DepthClipEnable),
    HIDDEN(PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT, VkPhysicalDeviceExtendedDynamicState3FeaturesEXT,
	   extendedDynamicState3LogicOpEnable),
    HIDDEN(PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT, VkPhysicalDeviceExtendedDynamicState3FeaturesEXT,
	   extendedDynamicState3RasterizationStream),
    HIDDEN(PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT, VkPhysicalDeviceExtendedDynamicState3FeaturesEXT,
	   extendedDynamicState3ConservativeRasterizationMode),
    HIDDEN(PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT, VkPhysicalDeviceExtendedDynamicState3FeaturesEXT,
	   extendedDynamicState3ExtraPrimitiveOverestimationSize),
    HIDDEN(PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT, VkPhysicalDeviceExtendedDynamicState3FeaturesEXT,
	   extendedDynamicState3ColorBlendAdvanced),
    HIDDEN(PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT, VkPhysicalDeviceExtendedDynamicState3FeaturesEXT,
	   extendedDynamicState3ProvokingVertexMode),
};

static int compare(const void *key, const void *element)
{
	const char *const *name = element;

	return strcmp(key, *name);
}

bool pv_venus_portability_has_extension(const char *name)
{
	return bsearch(name, extensions, PV_ARRAY_LEN(extensions), sizeof(extensions[0]), compare) != NULL;
}

static VkBool32 *feature_at(void *structure, size_t offset)
{
	return (VkBool32 *)(void *)((char *)structure + offset);
}

void pv_venus_portability_mask_features(VkPhysicalDeviceFeatures *features)
{
	for (size_t i = 0; i < PV_ARRAY_LEN(core_features); i++)
		*feature_at(features, core_features[i]) = VK_FALSE;
}

void pv_venus_portability_mask_chain(void *chain)
{
	for (struct pv_venus_link *s = chain; s; s = s->next) {
		if (s->type == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2)
			pv_venus_portability_mask_features(&((VkPhysicalDeviceFeatures2 *)(void *)s)->features);
		for (size_t i = 0; i < PV_ARRAY_LEN(chained_features); i++)
			if (chained_features[i].type == s->type)
				*feature_at(s, chained_features[i].offset) = VK_FALSE;
	}
}

static bool wants_hidden_core(const VkPhysicalDeviceFeatures *features)
{
	VkPhysicalDeviceFeatures masked = *features;

	pv_venus_portability_mask_features(&masked);
	return memcmp(&masked, features, sizeof(masked)) != 0;
}

bool pv_venus_portability_wants_hidden(const void *chain, const VkPhysicalDeviceFeatures *features)
{
	if (features && wants_hidden_core(features))
		return true;
	for (struct pv_venus_link *s = (struct pv_venus_link *)(uintptr_t)chain; s; s = s->next) {
		if (s->type == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2 &&
		    wants_hidden_core(&((VkPhysicalDeviceFeatures2 *)(void *)s)->features))
			return true;
		for (size_t i = 0; i < PV_ARRAY_LEN(chained_features); i++)
			if (chained_features[i].type == s->type && *feature_at(s, chained_features[i].offset))
				return true;
	}
	return false;
}

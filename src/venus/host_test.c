/* SPDX-License-Identifier: MIT */
#include "venus/host_probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "venus/barrier.h"
#include "venus/chain.h"
#include "venus/portability.h"

/* ---- Extensions ---- */

static const VkExtensionProperties host_list[] = {
    {"VK_KHR_maintenance1", 2},
    {"VK_KHR_external_semaphore_fd", 1}, /* ours takes its place */
    {"VK_EXT_image_drm_format_modifier", 2},
    {"VK_EXT_transform_feedback", 1},
    {"VK_KHR_robustness2", 99}, /* newer than what can be decoded */
    {"VK_EXT_tooling_info", 1}, /* the guest's own */
    {"VK_XYZ_unheard_of", 1},
    {"VK_EXT_external_memory_host", 1},
};

static uint32_t count_of(const VkExtensionProperties *list, uint32_t count, const char *name)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++)
		found += strcmp(list[i].extensionName, name) == 0;
	return found;
}

static void test_extensions_shown(void **state)
{
	VkExtensionProperties out[PV_ARRAY_LEN(host_list) + PV_VENUS_MAX_VIRTUAL_EXTENSIONS];
	struct pv_venus_host_device device = {.dma_buf = true};
	uint32_t count;

	(void)state;
	count = pv_venus_probe_filter_extensions(&device, host_list, PV_ARRAY_LEN(host_list), out);
	assert_int_equal(count_of(out, count, "VK_KHR_maintenance1"), 1);
	assert_int_equal(count_of(out, count, "VK_EXT_transform_feedback"), 1);
	assert_int_equal(count_of(out, count, "VK_KHR_external_memory_fd"), 1);
	assert_int_equal(count_of(out, count, "VK_KHR_external_fence_fd"), 1);
	assert_int_equal(count_of(out, count, "VK_KHR_external_semaphore_fd"), 1);
	assert_int_equal(count_of(out, count, "VK_EXT_external_memory_dma_buf"), 1);
	assert_int_equal(count_of(out, count, "VK_EXT_image_drm_format_modifier"), 1);
	assert_int_equal(count_of(out, count, "VK_EXT_queue_family_foreign"), 1);
	assert_int_equal(count_of(out, count, "VK_EXT_tooling_info"), 0);
	assert_int_equal(count_of(out, count, "VK_XYZ_unheard_of"), 0);
	assert_int_equal(count_of(out, count, "VK_EXT_external_memory_host"), 0);
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(out[i].extensionName, "VK_KHR_robustness2") == 0)
			assert_true(out[i].specVersion < 99);
}

static void test_no_dma_bufs_without_a_kernel(void **state)
{
	VkExtensionProperties out[PV_ARRAY_LEN(host_list) + PV_VENUS_MAX_VIRTUAL_EXTENSIONS];
	struct pv_venus_host_device device = {.dma_buf = false};
	uint32_t count;

	(void)state;
	count = pv_venus_probe_filter_extensions(&device, host_list, PV_ARRAY_LEN(host_list), out);
	assert_int_equal(count_of(out, count, "VK_EXT_external_memory_dma_buf"), 0);
	assert_int_equal(count_of(out, count, "VK_EXT_image_drm_format_modifier"), 0);
	assert_int_equal(count_of(out, count, "VK_KHR_external_memory_fd"), 1);
}

static void test_portability_hides_extensions(void **state)
{
	VkExtensionProperties out[PV_ARRAY_LEN(host_list) + PV_VENUS_MAX_VIRTUAL_EXTENSIONS];
	struct pv_venus_host_device device = {.emulate_portability = true};
	uint32_t count;

	(void)state;
	count = pv_venus_probe_filter_extensions(&device, host_list, PV_ARRAY_LEN(host_list), out);
	assert_int_equal(count_of(out, count, "VK_EXT_transform_feedback"), 0);
	assert_int_equal(count_of(out, count, "VK_KHR_maintenance1"), 1);
	/* Virtual ones need nothing of the host. */
	assert_int_equal(count_of(out, count, "VK_KHR_external_semaphore_fd"), 1);
}

static void test_virtual_extensions_stay_here(void **state)
{
	(void)state;
	assert_true(pv_venus_extension_is_virtual("VK_KHR_external_memory_fd"));
	assert_true(pv_venus_extension_is_virtual("VK_EXT_external_memory_dma_buf"));
	assert_false(pv_venus_extension_is_virtual("VK_KHR_external_memory"));
	assert_false(pv_venus_extension_is_virtual("VK_KHR_swapchain"));
}

/* ---- Memory types ---- */

#define LOCAL    VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
#define VISIBLE  VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT
#define COHERENT VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
#define CACHED   VK_MEMORY_PROPERTY_HOST_CACHED_BIT

static void test_memory_that_cannot_be_shared_is_not_mapped(void **state)
{
	/* An NVIDIA card's: type 4 is the window into its own memory. */
	VkPhysicalDeviceMemoryProperties memory = {
	    .memoryTypeCount = 5,
	    .memoryTypes = {{0, 1},
			    {LOCAL, 0},
			    {VISIBLE | COHERENT, 1},
			    {VISIBLE | COHERENT | CACHED, 1},
			    {LOCAL | VISIBLE | COHERENT, 2}},
	};

	(void)state;
	pv_venus_probe_filter_memory(&memory, 1 << 2 | 1 << 3);
	assert_int_equal(memory.memoryTypes[0].propertyFlags, 0);
	assert_int_equal(memory.memoryTypes[1].propertyFlags, LOCAL);
	assert_int_equal(memory.memoryTypes[2].propertyFlags, VISIBLE | COHERENT);
	assert_int_equal(memory.memoryTypes[3].propertyFlags, VISIBLE | COHERENT | CACHED);
	assert_int_equal(memory.memoryTypes[4].propertyFlags, LOCAL);
	assert_int_equal(memory.memoryTypes[4].heapIndex, 2);
}

static void test_heaps_of_host_memory_have_a_limit(void **state)
{
	VkPhysicalDeviceMemoryProperties memory = {
	    .memoryTypeCount = 3,
	    .memoryTypes = {{LOCAL, 0}, {VISIBLE, 1}, {VISIBLE, 2}},
	    .memoryHeapCount = 3,
	    .memoryHeaps = {{.size = 1000}, {.size = 1000}, {.size = 100}},
	};
	const struct pv_venus_host_device device = {.memory = memory, .importable_types = 1 << 1 | 1 << 2};

	(void)state;
	assert_int_equal(pv_venus_host_device_importable_bytes(&device), 1000);
	pv_venus_probe_limit_memory(&memory, device.importable_types, 500);
	assert_int_equal(memory.memoryHeaps[0].size, 1000);
	assert_int_equal(memory.memoryHeaps[1].size, 500);
	assert_int_equal(memory.memoryHeaps[2].size, 100);
}

/* ---- Portability: features ---- */

static void test_portability_masks_features(void **state)
{
	VkPhysicalDeviceRobustness2FeaturesEXT robustness = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT,
	    .robustBufferAccess2 = VK_TRUE,
	    .nullDescriptor = VK_TRUE};
	VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
					      .pNext = &robustness,
					      .features = {.geometryShader = VK_TRUE, .samplerAnisotropy = VK_TRUE}};

	(void)state;
	assert_true(pv_venus_portability_wants_hidden(&features, NULL));
	pv_venus_portability_mask_chain(&features);
	assert_int_equal(features.features.geometryShader, VK_FALSE);
	assert_int_equal(features.features.samplerAnisotropy, VK_TRUE);
	assert_int_equal(robustness.nullDescriptor, VK_FALSE);
	assert_int_equal(robustness.robustBufferAccess2, VK_TRUE);
	assert_false(pv_venus_portability_wants_hidden(&features, &features.features));
	features.features.logicOp = VK_TRUE;
	assert_true(pv_venus_portability_wants_hidden(NULL, &features.features));
}

/* ---- Chains ---- */

static void test_chains(void **state)
{
	VkExportMemoryAllocateInfo export = {.sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO};
	VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, .pNext = &export};
	VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags};
	VkMemoryDedicatedAllocateInfo dedicated = {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};

	(void)state;
	assert_ptr_equal(pv_venus_chain_find(info.pNext, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO), &export);
	assert_ptr_equal(pv_venus_chain_take(&info, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO), &export);
	assert_null(pv_venus_chain_take(&info, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO));
	assert_ptr_equal(info.pNext, &flags);
	assert_null(flags.pNext);
	pv_venus_chain_push(&info, &dedicated);
	assert_ptr_equal(info.pNext, &dedicated);
	assert_ptr_equal(dedicated.pNext, &flags);
	assert_ptr_equal(pv_venus_chain_take(&info, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO), &dedicated);
	assert_ptr_equal(info.pNext, &flags);
}

/* ---- Barriers ---- */

static void assert_families(uint32_t source, uint32_t destination, uint32_t new_source, uint32_t new_destination)
{
	pv_venus_barrier_fix(&source, &destination);
	assert_int_equal(source, new_source);
	assert_int_equal(destination, new_destination);
}

static void test_barriers(void **state)
{
	const uint32_t ignored = VK_QUEUE_FAMILY_IGNORED;

	(void)state;
	assert_families(0, 1, 0, 1);
	assert_families(0, 0, 0, 0);
	assert_families(ignored, ignored, ignored, ignored);
	assert_families(0, VK_QUEUE_FAMILY_FOREIGN_EXT, ignored, ignored);
	assert_families(VK_QUEUE_FAMILY_EXTERNAL, 2, ignored, ignored);
	assert_families(VK_QUEUE_FAMILY_FOREIGN_EXT, VK_QUEUE_FAMILY_EXTERNAL, ignored, ignored);
}

static void test_preinitialized_images(void **state)
{
	VkImageLayout layout = VK_IMAGE_LAYOUT_PREINITIALIZED;

	(void)state;
	pv_venus_barrier_fix_layout(&layout);
	assert_int_equal(layout, VK_IMAGE_LAYOUT_UNDEFINED);
	layout = VK_IMAGE_LAYOUT_GENERAL;
	pv_venus_barrier_fix_layout(&layout);
	assert_int_equal(layout, VK_IMAGE_LAYOUT_GENERAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_extensions_shown),
	    cmocka_unit_test(test_no_dma_bufs_without_a_kernel),
	    cmocka_unit_test(test_portability_hides_extensions),
	    cmocka_unit_test(test_virtual_extensions_stay_here),
	    cmocka_unit_test(test_memory_that_cannot_be_shared_is_not_mapped),
	    cmocka_unit_test(test_heaps_of_host_memory_have_a_limit),
	    cmocka_unit_test(test_portability_masks_features),
	    cmocka_unit_test(test_chains),
	    cmocka_unit_test(test_barriers),
	    cmocka_unit_test(test_preinitialized_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

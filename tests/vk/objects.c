/* SPDX-License-Identifier: MIT */
/* Objects of every type: made, destroyed in another order, made again. */
#include "vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANY 200u

static void instance_and_device(void)
{
	VkPhysicalDeviceGroupProperties groups[8] = {0};
	VkInstance second;
	VkDevice devices[4];
	float priority = 0.5f;
	VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
					 .queueFamilyIndex = vk.family,
					 .queueCount = 1,
					 .pQueuePriorities = &priority};
	VkDeviceCreateInfo device = {
	    .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue};
	VkInstanceCreateInfo instance = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
	uint32_t count = COUNT(groups);

	for (size_t i = 0; i < COUNT(groups); i++)
		groups[i].sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GROUP_PROPERTIES;
	CHECK(vkEnumeratePhysicalDeviceGroups(vk.instance, &count, groups));
	report("groups", count);
	report("devices in group 0", groups[0].physicalDeviceCount);
	for (size_t i = 0; i < COUNT(devices); i++)
		CHECK(vkCreateDevice(vk.gpu, &device, NULL, &devices[i]));
	for (size_t i = 0; i < COUNT(devices); i++) {
		CHECK(vkDeviceWaitIdle(devices[i]));
		vkDestroyDevice(devices[i], NULL);
	}
	for (size_t i = 0; i < 3; i++) {
		CHECK(vkCreateInstance(&instance, NULL, &second));
		count = 0;
		CHECK(vkEnumeratePhysicalDevices(second, &count, NULL));
		expect(count > 0, "another instance has no devices");
		vkDestroyInstance(second, NULL);
	}
	device.pEnabledFeatures = &(VkPhysicalDeviceFeatures){0};
	device.enabledExtensionCount = 1;
	device.ppEnabledExtensionNames = (const char *const[]){"VK_PV_no_such_extension"};
	report("unknown extension", (uint64_t)(int64_t)vkCreateDevice(vk.gpu, &device, NULL, &devices[0]));
}

static void sync_objects(void)
{
	VkFence fences[MANY];
	VkSemaphore semaphores[MANY];
	VkEvent events[MANY];
	VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
					  .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
	VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
	VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
	VkEventCreateInfo event = {.sType = VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
	uint64_t value, sum = 0, signaled = 0;

	for (uint32_t i = 0; i < MANY; i++) {
		fence.flags = i & 1 ? VK_FENCE_CREATE_SIGNALED_BIT : 0;
		type.initialValue = i * 1000ull;
		semaphore.pNext = i & 1 ? &type : NULL;
		CHECK(vkCreateFence(vk.device, &fence, NULL, &fences[i]));
		CHECK(vkCreateSemaphore(vk.device, &semaphore, NULL, &semaphores[i]));
		CHECK(vkCreateEvent(vk.device, &event, NULL, &events[i]));
	}
	for (uint32_t i = 0; i < MANY; i++) {
		signaled += vkGetFenceStatus(vk.device, fences[i]) == VK_SUCCESS;
		if (i & 1) {
			CHECK(vkGetSemaphoreCounterValue(vk.device, semaphores[i], &value));
			sum += value;
		}
		if (i % 3 == 0)
			CHECK(vkSetEvent(vk.device, events[i]));
		expect(vkGetEventStatus(vk.device, events[i]) == (i % 3 == 0 ? VK_EVENT_SET : VK_EVENT_RESET),
		       "event %u has the wrong state", i);
	}
	report("signaled", signaled);
	report("sum of counters", sum);
	for (uint32_t i = MANY; i-- > 0;) {
		vkDestroyEvent(vk.device, events[i], NULL);
		vkDestroyFence(vk.device, fences[MANY - 1 - i], NULL);
		vkDestroySemaphore(vk.device, semaphores[i], NULL);
	}
}

static void descriptors(void)
{
	VkDescriptorSetLayout layouts[16];
	VkDescriptorSet sets[16][16];
	VkDescriptorPool pools[16];
	VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 64},
					{VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 64},
					{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 128}};
	VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
					   .flags = VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT,
					   .maxSets = 16,
					   .poolSizeCount = COUNT(sizes),
					   .pPoolSizes = sizes};

	for (uint32_t p = 0; p < 16; p++) {
		VkDescriptorSetLayoutBinding bindings[] = {
		    {0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1 + p % 4, VK_SHADER_STAGE_ALL, NULL},
		    {3, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1 + p % 3, VK_SHADER_STAGE_FRAGMENT_BIT, NULL},
		    {7, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1 + p % 5, VK_SHADER_STAGE_COMPUTE_BIT, NULL}};
		VkDescriptorSetLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
							  .bindingCount = COUNT(bindings),
							  .pBindings = bindings};
		VkDescriptorSetLayoutSupport support = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_SUPPORT};

		vkGetDescriptorSetLayoutSupport(vk.device, &layout, &support);
		expect(support.supported, "layout %u is not supported", p);
		CHECK(vkCreateDescriptorSetLayout(vk.device, &layout, NULL, &layouts[p]));
		CHECK(vkCreateDescriptorPool(vk.device, &pool, NULL, &pools[p]));
	}
	for (uint32_t p = 0; p < 16; p++) {
		VkDescriptorSetLayout of[16];
		VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
						    .descriptorPool = pools[p],
						    .descriptorSetCount = 8,
						    .pSetLayouts = of};

		for (uint32_t i = 0; i < 16; i++)
			of[i] = layouts[p];
		CHECK(vkAllocateDescriptorSets(vk.device, &info, sets[p]));
		CHECK(vkFreeDescriptorSets(vk.device, pools[p], 4, sets[p]));
		info.descriptorSetCount = 4;
		CHECK(vkAllocateDescriptorSets(vk.device, &info, sets[p]));
		CHECK(vkResetDescriptorPool(vk.device, pools[p], 0));
		CHECK(vkAllocateDescriptorSets(vk.device, &info, sets[p]));
	}
	for (uint32_t p = 0; p < 16; p++) {
		vkDestroyDescriptorSetLayout(vk.device, layouts[15 - p], NULL);
		vkDestroyDescriptorPool(vk.device, pools[p], NULL);
	}
}

static void commands_and_queries(void)
{
	VkCommandPool pools[8];
	VkCommandBuffer buffers[8][16];
	VkQueryPool queries[MANY];
	VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
					.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
					.queueFamilyIndex = vk.family};
	VkQueryPoolCreateInfo query = {
	    .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, .queryType = VK_QUERY_TYPE_OCCLUSION, .queryCount = 8};

	for (uint32_t p = 0; p < 8; p++) {
		VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
						    .level = p & 1 ? VK_COMMAND_BUFFER_LEVEL_SECONDARY
								   : VK_COMMAND_BUFFER_LEVEL_PRIMARY,
						    .commandBufferCount = 16};
		CHECK(vkCreateCommandPool(vk.device, &pool, NULL, &pools[p]));
		info.commandPool = pools[p];
		CHECK(vkAllocateCommandBuffers(vk.device, &info, buffers[p]));
		vkFreeCommandBuffers(vk.device, pools[p], 8, buffers[p]);
		info.commandBufferCount = 8;
		CHECK(vkAllocateCommandBuffers(vk.device, &info, buffers[p]));
		for (uint32_t i = 0; i < 8 && !(p & 1); i++) {
			VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};

			CHECK(vkBeginCommandBuffer(buffers[p][i], &begin));
			CHECK(vkEndCommandBuffer(buffers[p][i]));
		}
		CHECK(vkResetCommandPool(vk.device, pools[p], VK_COMMAND_POOL_RESET_RELEASE_RESOURCES_BIT));
		vkTrimCommandPool(vk.device, pools[p], 0);
	}
	for (uint32_t i = 0; i < MANY; i++)
		CHECK(vkCreateQueryPool(vk.device, &query, NULL, &queries[i]));
	for (uint32_t i = 0; i < MANY; i++)
		vkDestroyQueryPool(vk.device, queries[i], NULL);
	for (uint32_t p = 0; p < 8; p++)
		vkDestroyCommandPool(vk.device, pools[p], NULL);
}

static void samplers_and_views(void)
{
	struct buffer buffer = buffer_create(
	    65536, VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT | VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT, ON_DEVICE);
	struct image image = image_create(
	    &(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, 64, 64, .layers = 6, .levels = 7,
				   .usage = VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_STORAGE_BIT,
				   .flags = VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT | VK_IMAGE_CREATE_MUTABLE_FORMAT_BIT});
	VkSampler samplers[MANY];
	VkBufferView buffer_views[MANY];
	VkImageView views[MANY];

	for (uint32_t i = 0; i < MANY; i++) {
		VkSamplerCreateInfo sampler = {.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
					       .magFilter = i & 1,
					       .minFilter = i >> 1 & 1,
					       .mipmapMode = i >> 2 & 1,
					       .addressModeU = i % 4,
					       .maxLod = (float)i,
					       .borderColor = i % 6};
		VkBufferViewCreateInfo view = {.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
					       .buffer = buffer.handle,
					       .format = VK_FORMAT_R8G8B8A8_UNORM,
					       .offset = 256ull * (i % 128),
					       .range = 256};
		VkImageViewCreateInfo image_view = {
		    .sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
		    .image = image.handle,
		    .viewType = i % 2 ? VK_IMAGE_VIEW_TYPE_2D : VK_IMAGE_VIEW_TYPE_CUBE,
		    .format = i % 3 ? VK_FORMAT_R8G8B8A8_UNORM : VK_FORMAT_R8G8B8A8_UINT,
		    .components = {i % 7, (i + 1) % 7, (i + 2) % 7, (i + 3) % 7},
		    .subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, i % 7, 1, 0, i % 2 ? 1 : 6}};

		CHECK(vkCreateSampler(vk.device, &sampler, NULL, &samplers[i]));
		CHECK(vkCreateBufferView(vk.device, &view, NULL, &buffer_views[i]));
		CHECK(vkCreateImageView(vk.device, &image_view, NULL, &views[i]));
	}
	for (uint32_t i = 0; i < MANY; i++) {
		vkDestroyImageView(vk.device, views[MANY - 1 - i], NULL);
		vkDestroyBufferView(vk.device, buffer_views[i], NULL);
		vkDestroySampler(vk.device, samplers[i], NULL);
	}
	image_destroy(&image);
	buffer_destroy(&buffer);
}

static void ycbcr_conversion(void)
{
	VkSamplerYcbcrConversionCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SAMPLER_YCBCR_CONVERSION_CREATE_INFO,
						   .format = VK_FORMAT_G8_B8_R8_3PLANE_420_UNORM,
						   .ycbcrModel = VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_709,
						   .ycbcrRange = VK_SAMPLER_YCBCR_RANGE_ITU_NARROW};
	VkSamplerYcbcrConversionInfo use = {.sType = VK_STRUCTURE_TYPE_SAMPLER_YCBCR_CONVERSION_INFO};
	VkSamplerCreateInfo sampler = {.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
				       .pNext = &use,
				       .addressModeU = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE,
				       .addressModeV = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE,
				       .addressModeW = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE};
	VkDescriptorSetLayoutBinding binding = {0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1,
						VK_SHADER_STAGE_FRAGMENT_BIT, NULL};
	VkDescriptorSetLayoutCreateInfo layout = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 1, .pBindings = &binding};
	VkSampler immutable;
	VkDescriptorSetLayout handle;

	need(vk.features.v11.samplerYcbcrConversion, "samplerYcbcrConversion");
	for (uint32_t i = 0; i < 20; i++) {
		CHECK(vkCreateSamplerYcbcrConversion(vk.device, &info, NULL, &use.conversion));
		CHECK(vkCreateSampler(vk.device, &sampler, NULL, &immutable));
		binding.pImmutableSamplers = &immutable;
		CHECK(vkCreateDescriptorSetLayout(vk.device, &layout, NULL, &handle));
		vkDestroyDescriptorSetLayout(vk.device, handle, NULL);
		vkDestroySampler(vk.device, immutable, NULL);
		vkDestroySamplerYcbcrConversion(vk.device, use.conversion, NULL);
	}
}

static void private_data(void)
{
	VkPrivateDataSlot slots[4];
	VkPrivateDataSlotCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PRIVATE_DATA_SLOT_CREATE_INFO};
	struct buffer buffer = buffer_create(256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, ON_DEVICE);
	uint64_t value, sum = 0;

	need(vk.features.v13.privateData, "privateData");
	for (uint32_t i = 0; i < 4; i++)
		CHECK(vkCreatePrivateDataSlot(vk.device, &info, NULL, &slots[i]));
	for (uint32_t i = 0; i < 4; i++)
		CHECK(vkSetPrivateData(vk.device, VK_OBJECT_TYPE_BUFFER, (uint64_t)(uintptr_t)buffer.handle, slots[i],
				       i + 40));
	for (uint32_t i = 0; i < 4; i++) {
		vkGetPrivateData(vk.device, VK_OBJECT_TYPE_BUFFER, (uint64_t)(uintptr_t)buffer.handle, slots[i],
				 &value);
		sum = sum * 100 + value;
	}
	report("values", sum);
	for (uint32_t i = 0; i < 4; i++)
		vkDestroyPrivateDataSlot(vk.device, slots[i], NULL);
	buffer_destroy(&buffer);
}

static void shaders_and_pipelines(void)
{
	struct buffer buffer = buffer_create(4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, ON_DEVICE);
	struct compute compute = compute_create(SHADER(fill_comp), &buffer, 1);
	VkShaderModule modules[64];
	VkPipeline pipelines[64];
	VkPipelineCacheCreateInfo cache = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
	VkPipelineCache caches[64];
	VkComputePipelineCreateInfo infos[8];

	for (uint32_t i = 0; i < COUNT(modules); i++) {
		modules[i] = SHADER(fill_comp);
		CHECK(vkCreatePipelineCache(vk.device, &cache, NULL, &caches[i]));
	}
	for (uint32_t i = 0; i < COUNT(infos); i++)
		infos[i] = (VkComputePipelineCreateInfo){
		    .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		    .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
			      .stage = VK_SHADER_STAGE_COMPUTE_BIT,
			      .module = modules[i],
			      .pName = "main"},
		    .layout = compute.layout};
	CHECK(vkCreateComputePipelines(vk.device, caches[0], COUNT(infos), infos, NULL, pipelines));
	for (uint32_t i = 0; i < COUNT(infos); i++)
		vkDestroyPipeline(vk.device, pipelines[i], NULL);
	for (uint32_t i = 0; i < COUNT(modules); i++) {
		vkDestroyShaderModule(vk.device, modules[i], NULL);
		vkDestroyPipelineCache(vk.device, caches[i], NULL);
	}
	/* A pipeline outlives its layout, its set layout and its module. */
	vkDestroyPipelineLayout(vk.device, compute.layout, NULL);
	vkDestroyDescriptorPool(vk.device, compute.pool, NULL);
	vkDestroyDescriptorSetLayout(vk.device, compute.set_layout, NULL);
	vkDestroyPipeline(vk.device, compute.pipeline, NULL);
	buffer_destroy(&buffer);
}

static void render_passes(void)
{
	VkAttachmentDescription2 attachment = {.sType = VK_STRUCTURE_TYPE_ATTACHMENT_DESCRIPTION_2,
					       .format = VK_FORMAT_R8G8B8A8_UNORM,
					       .samples = VK_SAMPLE_COUNT_1_BIT,
					       .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
					       .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
					       .finalLayout = VK_IMAGE_LAYOUT_GENERAL};
	VkAttachmentReference2 reference = {.sType = VK_STRUCTURE_TYPE_ATTACHMENT_REFERENCE_2,
					    .layout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
					    .aspectMask = VK_IMAGE_ASPECT_COLOR_BIT};
	VkSubpassDescription2 subpass = {.sType = VK_STRUCTURE_TYPE_SUBPASS_DESCRIPTION_2,
					 .pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
					 .colorAttachmentCount = 1,
					 .pColorAttachments = &reference};
	VkRenderPassCreateInfo2 pass = {.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO_2,
					.attachmentCount = 1,
					.pAttachments = &attachment,
					.subpassCount = 1,
					.pSubpasses = &subpass};
	struct image image = image_create(
	    &(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, 32, 32, .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT});
	VkFramebufferCreateInfo frame = {.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
					 .attachmentCount = 1,
					 .pAttachments = &image.view,
					 .width = 32,
					 .height = 32,
					 .layers = 1};
	VkRenderPass passes[50];
	VkFramebuffer frames[50];
	VkExtent2D granularity;

	for (uint32_t i = 0; i < COUNT(passes); i++) {
		CHECK(vkCreateRenderPass2(vk.device, &pass, NULL, &passes[i]));
		frame.renderPass = passes[i];
		CHECK(vkCreateFramebuffer(vk.device, &frame, NULL, &frames[i]));
	}
	vkGetRenderAreaGranularity(vk.device, passes[0], &granularity);
	report("granularity", (uint64_t)granularity.width << 32 | granularity.height);
	for (uint32_t i = 0; i < COUNT(passes); i++) {
		vkDestroyRenderPass(vk.device, passes[i], NULL);
		vkDestroyFramebuffer(vk.device, frames[i], NULL);
	}
	image_destroy(&image);
}

/* Left to vkDestroyDevice and to the end of the process, as careless programs do. */
static void left_over(void)
{
	for (uint32_t i = 0; i < 20; i++) {
		struct buffer buffer =
		    buffer_create(8192, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, i & 1 ? ON_HOST : ON_DEVICE);

		compute_create(SHADER(fill_comp), &buffer, 1);
		image_create(
		    &(struct image_params){VK_FORMAT_R8G8B8A8_UNORM, 32, 32, .usage = VK_IMAGE_USAGE_SAMPLED_BIT});
	}
}

static void null_handles(void)
{
	vkDestroyBuffer(vk.device, VK_NULL_HANDLE, NULL);
	vkDestroyImage(vk.device, VK_NULL_HANDLE, NULL);
	vkDestroyFence(vk.device, VK_NULL_HANDLE, NULL);
	vkDestroyPipeline(vk.device, VK_NULL_HANDLE, NULL);
	vkDestroyQueryPool(vk.device, VK_NULL_HANDLE, NULL);
	vkDestroyCommandPool(vk.device, VK_NULL_HANDLE, NULL);
	vkDestroyDescriptorPool(vk.device, VK_NULL_HANDLE, NULL);
	vkFreeMemory(vk.device, VK_NULL_HANDLE, NULL);
	vkFreeCommandBuffers(vk.device, vk.pool, 2, (VkCommandBuffer[2]){NULL, NULL});
}

/* What the driver says of itself: the same natively and through us. */
static void limits(void)
{
	uint64_t images = 0, formats = 0;

	report("api", vk.version);
	report("families", vk.family_count);
	report("memory types", vk.memory.memoryTypeCount);
	report_hash("sparse", &vk.properties.sparseProperties, sizeof(vk.properties.sparseProperties));
	report("max image", vk.properties.limits.maxImageDimension2D);
	report("max push constants", vk.properties.limits.maxPushConstantsSize);
	for (VkFormat format = 1; format <= VK_FORMAT_ASTC_12x12_SRGB_BLOCK; format++) {
		VkFormatProperties properties;
		VkImageFormatProperties image;

		vkGetPhysicalDeviceFormatProperties(vk.gpu, format, &properties);
		formats = formats * 31 + properties.optimalTilingFeatures + 3ull * properties.linearTilingFeatures +
			  7ull * properties.bufferFeatures;
		if (vkGetPhysicalDeviceImageFormatProperties(vk.gpu, format, VK_IMAGE_TYPE_2D, VK_IMAGE_TILING_OPTIMAL,
							     VK_IMAGE_USAGE_SAMPLED_BIT, 0, &image) == VK_SUCCESS)
			images = images * 31 + image.maxArrayLayers + image.maxMipLevels * 3ull + image.sampleCounts;
	}
	report("formats", formats);
	report("image formats", images);
}

const struct vk_case object_cases[] = {
    {"objects/limits", limits},
    {"objects/instance_and_device", instance_and_device},
    {"objects/sync", sync_objects},
    {"objects/descriptors", descriptors},
    {"objects/commands_and_queries", commands_and_queries},
    {"objects/samplers_and_views", samplers_and_views},
    {"objects/ycbcr_conversion", ycbcr_conversion},
    {"objects/private_data", private_data},
    {"objects/shaders_and_pipelines", shaders_and_pipelines},
    {"objects/render_passes", render_passes},
    {"objects/null_handles", null_handles},
    {"objects/left_over", left_over},
    {0},
};

/* SPDX-License-Identifier: MIT */
/* Memory: mapped both ways, bound at offsets, sparse, exhausted. */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

#define SIZE (1u << 20)

static void copy(const struct buffer *from, const struct buffer *to)
{
	VkCommandBuffer command = command_begin();

	barrier(command);
	vkCmdCopyBuffer(command, from->handle, to->handle, 1, &(VkBufferCopy){0, 0, from->size});
	barrier(command);
	command_finish(command);
}

static void map_write_and_read(void)
{
	struct buffer in = buffer_create(SIZE, 0, ON_HOST), middle = buffer_create(SIZE, 0, ON_DEVICE),
		      out = buffer_create(SIZE, 0, ON_HOST);

	for (uint32_t round = 0; round < 4; round++) {
		noise(in.map, SIZE, round);
		memset(out.map, 0xee, SIZE);
		copy(&in, &middle);
		copy(&middle, &out);
		expect(memcmp(in.map, out.map, SIZE) == 0, "round %u came back different", round);
	}
	report_hash("bytes", out.map, SIZE);
}

/* The host and the device in turn on the same mapped bytes. */
static void map_in_turn(void)
{
	struct buffer buffer = buffer_create(4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, ON_HOST);
	struct compute compute = compute_create(SHADER(step_comp), &buffer, 1);
	volatile uint32_t *words = buffer.map;

	for (uint32_t i = 0; i < 1024; i++)
		words[i] = i;
	for (uint32_t round = 0; round < 60; round++) {
		VkCommandBuffer command = command_begin();

		barrier(command);
		compute_dispatch(command, &compute, (uint32_t[4]){round, 1024, 0, 0}, 16);
		barrier(command);
		command_finish(command);
		for (uint32_t i = 0; i < 1024; i += 3)
			words[i] ^= round;
	}
	report_hash("words", buffer.map, 4096);
}

static void flush_and_invalidate(void)
{
	VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
				   .size = SIZE,
				   .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
	struct buffer out = buffer_create(SIZE, 0, ON_HOST);

	for (uint32_t type = 0; type < vk.memory.memoryTypeCount; type++) {
		struct buffer in = {.size = SIZE};
		VkMemoryRequirements requirements;
		VkMappedMemoryRange range = {.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, .size = VK_WHOLE_SIZE};
		VkMemoryAllocateInfo allocation = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
						   .memoryTypeIndex = type};

		if (!(vk.memory.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT))
			continue;
		CHECK(vkCreateBuffer(vk.device, &info, NULL, &in.handle));
		vkGetBufferMemoryRequirements(vk.device, in.handle, &requirements);
		if (requirements.memoryTypeBits & 1u << type) {
			allocation.allocationSize = requirements.size;
			CHECK(vkAllocateMemory(vk.device, &allocation, NULL, &in.memory));
			CHECK(vkBindBufferMemory(vk.device, in.handle, in.memory, 0));
			range.memory = in.memory;
			for (uint32_t round = 0; round < 3; round++) {
				CHECK(vkMapMemory(vk.device, in.memory, 0, VK_WHOLE_SIZE, 0, &in.map));
				noise(in.map, SIZE, round);
				CHECK(vkFlushMappedMemoryRanges(vk.device, 1, &range));
				copy(&in, &out);
				CHECK(vkInvalidateMappedMemoryRanges(vk.device, 1, &range));
				expect(memcmp(in.map, out.map, SIZE) == 0, "type %u, round %u differs", type, round);
				vkUnmapMemory(vk.device, in.memory);
			}
			vkFreeMemory(vk.device, in.memory, NULL);
		}
		vkDestroyBuffer(vk.device, in.handle, NULL);
	}
	report_hash("last", out.map, SIZE);
}

static void map2(void)
{
	struct buffer buffer = buffer_create(SIZE, 0, ON_HOST), out = buffer_create(SIZE, 0, ON_HOST);
	VkMemoryMapInfo map = {
	    .sType = VK_STRUCTURE_TYPE_MEMORY_MAP_INFO, .memory = buffer.memory, .size = VK_WHOLE_SIZE};
	VkMemoryUnmapInfo unmap = {.sType = VK_STRUCTURE_TYPE_MEMORY_UNMAP_INFO, .memory = buffer.memory};

	need(vk.version >= VK_API_VERSION_1_4, "Vulkan 1.4");
	vkUnmapMemory(vk.device, buffer.memory);
	CHECK(vkMapMemory2(vk.device, &map, &buffer.map));
	noise(buffer.map, SIZE, 99);
	CHECK(vkUnmapMemory2(vk.device, &unmap));
	copy(&buffer, &out);
	report_hash("bytes", out.map, SIZE);
}

/* Several buffers and images in one allocation, bound by both calls. */
static void offsets(void)
{
	VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
				   .size = 1000,
				   .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
	VkBuffer buffers[32];
	VkBindBufferMemoryInfo binds[32];
	VkMemoryRequirements2 requirements = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
	VkMemoryDedicatedRequirements dedicated = {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
	VkMemoryRequirements *r = &requirements.memoryRequirements;
	VkDeviceSize stride;
	VkDeviceMemory memory;
	uint8_t *map;
	VkCommandBuffer command;

	requirements.pNext = &dedicated;
	for (uint32_t i = 0; i < COUNT(buffers); i++)
		CHECK(vkCreateBuffer(vk.device, &info, NULL, &buffers[i]));
	vkGetBufferMemoryRequirements2(
	    vk.device,
	    &(VkBufferMemoryRequirementsInfo2){.sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
					       .buffer = buffers[0]},
	    &requirements);
	/* A driver may round it up or not. */
	expect(r->size >= info.size, "%llu bytes", (unsigned long long)r->size);
	report("alignment", r->alignment);
	stride = (r->size + r->alignment - 1) / r->alignment * r->alignment;
	r->size = stride * COUNT(buffers);
	memory = allocate(r, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, false);
	for (uint32_t i = 0; i < COUNT(buffers); i++)
		binds[i] = (VkBindBufferMemoryInfo){.sType = VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO,
						    .buffer = buffers[i],
						    .memory = memory,
						    .memoryOffset = stride * i};
	CHECK(vkBindBufferMemory2(vk.device, 16, binds));
	CHECK(vkBindBufferMemory2(vk.device, 16, binds + 16));
	CHECK(vkMapMemory(vk.device, memory, stride, stride * 30, 0, (void **)&map));
	memset(map, 0, stride * 30);
	command = command_begin();
	for (uint32_t i = 1; i < 30; i++)
		vkCmdFillBuffer(command, buffers[i], (i * 4) % 64, 4 * i, i * 0x01010101u);
	barrier(command);
	command_finish(command);
	report_hash("bytes", map, stride * 29);
	for (uint32_t i = 0; i < COUNT(buffers); i++)
		vkDestroyBuffer(vk.device, buffers[i], NULL);
	vkFreeMemory(vk.device, memory, NULL);
}

static void requirements(void)
{
	VkBufferCreateInfo buffer = {
	    .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = 12345, .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
	VkImageCreateInfo image = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
				   .imageType = VK_IMAGE_TYPE_2D,
				   .format = VK_FORMAT_R8G8B8A8_UNORM,
				   .extent = {333, 222, 1},
				   .mipLevels = 3,
				   .arrayLayers = 2,
				   .samples = VK_SAMPLE_COUNT_1_BIT,
				   .usage = VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT};
	VkMemoryRequirements2 out = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
	VkSubresourceLayout layout;
	VkImage handle;

	vkGetDeviceBufferMemoryRequirements(
	    vk.device,
	    &(VkDeviceBufferMemoryRequirements){.sType = VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS,
						.pCreateInfo = &buffer},
	    &out);
	expect(out.memoryRequirements.size >= buffer.size, "too few bytes for a buffer");
	for (uint32_t tiling = 0; tiling < 2; tiling++) {
		image.tiling = tiling;
		image.mipLevels = tiling ? 1 : 3;
		image.arrayLayers = tiling ? 1 : 2;
		vkGetDeviceImageMemoryRequirements(
		    vk.device,
		    &(VkDeviceImageMemoryRequirements){.sType = VK_STRUCTURE_TYPE_DEVICE_IMAGE_MEMORY_REQUIREMENTS,
						       .pCreateInfo = &image},
		    &out);
		report(tiling ? "linear image" : "image", out.memoryRequirements.size);
	}
	CHECK(vkCreateImage(vk.device, &image, NULL, &handle));
	vkGetImageSubresourceLayout(vk.device, handle, &(VkImageSubresource){VK_IMAGE_ASPECT_COLOR_BIT, 0, 0}, &layout);
	report("row pitch", layout.rowPitch);
	report("size", layout.size);
	if (vk.version >= VK_API_VERSION_1_4) {
		VkImageSubresource2 subresource = {.sType = VK_STRUCTURE_TYPE_IMAGE_SUBRESOURCE_2,
						   .imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0}};
		VkSubresourceLayout2 layout2 = {.sType = VK_STRUCTURE_TYPE_SUBRESOURCE_LAYOUT_2};

		vkGetDeviceImageSubresourceLayout(
		    vk.device,
		    &(VkDeviceImageSubresourceInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_IMAGE_SUBRESOURCE_INFO,
						    .pCreateInfo = &image,
						    .pSubresource = &subresource},
		    &layout2);
		report("row pitch 2", layout2.subresourceLayout.rowPitch);
	}
	vkDestroyImage(vk.device, handle, NULL);
}

static void dedicated(void)
{
	VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
				  .imageType = VK_IMAGE_TYPE_2D,
				  .format = VK_FORMAT_R8G8B8A8_UNORM,
				  .extent = {256, 256, 1},
				  .mipLevels = 1,
				  .arrayLayers = 1,
				  .samples = VK_SAMPLE_COUNT_1_BIT,
				  .usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT};
	struct image image = {.format = info.format,
			      .aspect = VK_IMAGE_ASPECT_COLOR_BIT,
			      .extent = info.extent,
			      .layers = 1,
			      .levels = 1};
	VkMemoryDedicatedAllocateInfo dedicate = {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
	VkMemoryAllocateInfo allocation = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &dedicate};
	VkMemoryRequirements needs;
	VkClearColorValue color = {.float32 = {0.25f, 0.5f, 0.75f, 1}};
	VkImageSubresourceRange range = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
	VkCommandBuffer command;

	CHECK(vkCreateImage(vk.device, &info, NULL, &image.handle));
	vkGetImageMemoryRequirements(vk.device, image.handle, &needs);
	dedicate.image = image.handle;
	allocation.allocationSize = needs.size;
	allocation.memoryTypeIndex = memory_type(needs.memoryTypeBits, 0);
	CHECK(vkAllocateMemory(vk.device, &allocation, NULL, &image.memory));
	CHECK(vkBindImageMemory(vk.device, image.handle, image.memory, 0));
	command = command_begin();
	image_barrier(command, &image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	vkCmdClearColorImage(command, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &color, 1, &range);
	command_finish(command);
	image_report("picture", &image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	image_destroy(&image);
}

static void many(void)
{
	struct buffer buffers[500];
	uint64_t sum = 0;

	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < COUNT(buffers); i++) {
			buffers[i] = buffer_create(1024 + 37 * i, 0, ON_HOST);
			memset(buffers[i].map, (int)(i & 0xff), buffers[i].size);
		}
		for (uint32_t i = 0; i < COUNT(buffers); i++) {
			sum += ((uint8_t *)buffers[i].map)[buffers[i].size - 1];
			buffer_destroy(&buffers[i]);
		}
	}
	report("sum", sum);
}

static bool out_of_memory_result(VkResult result)
{
	return result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY;
}

/* More than there is: an error, at the latest when the memory is used, and the device goes on. */
static void out_of_memory(void)
{
	struct buffer in, out;

	for (uint32_t type = 0; type < vk.memory.memoryTypeCount; type++) {
		const VkDeviceSize sizes[] = {1ull << 46, 1ull << 62};

		for (uint32_t i = 0; i < COUNT(sizes); i++) {
			VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
						     .allocationSize = sizes[i],
						     .memoryTypeIndex = type};
			VkDeviceMemory memory = VK_NULL_HANDLE;
			VkResult result = vkAllocateMemory(vk.device, &info, NULL, &memory);

			/* A driver may find out later; freeing is all that may be done with it here. */
			if (result == VK_SUCCESS)
				vkFreeMemory(vk.device, memory, NULL);
			else
				expect(out_of_memory_result(result), "VkResult %d for %llu bytes", (int)result,
				       (unsigned long long)sizes[i]);
		}
	}
	in = buffer_create(SIZE, 0, ON_HOST);
	out = buffer_create(SIZE, 0, ON_HOST);
	noise(in.map, SIZE, 5);
	copy(&in, &out);
	report_hash("afterwards", out.map, SIZE);
}

/* Descriptors exhausted: a result that programs must get, and live on with. */
static void out_of_pool_memory(void)
{
	VkDescriptorSetLayoutBinding binding = {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT,
						NULL};
	VkDescriptorSetLayoutCreateInfo layout = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 1, .pBindings = &binding};
	VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 4};
	VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
					   .maxSets = 4,
					   .poolSizeCount = 1,
					   .pPoolSizes = &size};
	VkDescriptorSetAllocateInfo allocate_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
						     .descriptorSetCount = 1};
	VkDescriptorSetLayout set_layout;
	VkDescriptorPool pool;
	VkDescriptorSet set;
	uint32_t got = 0;

	CHECK(vkCreateDescriptorSetLayout(vk.device, &layout, NULL, &set_layout));
	CHECK(vkCreateDescriptorPool(vk.device, &info, NULL, &pool));
	allocate_info.descriptorPool = pool;
	allocate_info.pSetLayouts = &set_layout;
	/* Drivers may give more than was asked for. */
	while (got < 8 && vkAllocateDescriptorSets(vk.device, &allocate_info, &set) == VK_SUCCESS)
		got++;
	expect(got >= 4, "only %u sets of 4", got);
	CHECK(vkResetDescriptorPool(vk.device, pool, 0));
	CHECK(vkAllocateDescriptorSets(vk.device, &allocate_info, &set));
	vkDestroyDescriptorPool(vk.device, pool, NULL);
	vkDestroyDescriptorSetLayout(vk.device, set_layout, NULL);
}

static void budget(void)
{
	VkPhysicalDeviceMemoryBudgetPropertiesEXT out = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
	VkPhysicalDeviceMemoryProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
							.pNext = &out};

	need_extension("VK_EXT_memory_budget");
	vkGetPhysicalDeviceMemoryProperties2(vk.gpu, &properties);
	expect(out.heapBudget[0] > 0, "heap 0 has no budget");
	report("heaps", properties.memoryProperties.memoryHeapCount);
}

static void sparse_buffer(void)
{
	VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
				   .flags = VK_BUFFER_CREATE_SPARSE_BINDING_BIT,
				   .size = SIZE,
				   .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
	struct buffer in = buffer_create(SIZE, 0, ON_HOST), out = buffer_create(SIZE, 0, ON_HOST),
		      sparse = {.size = SIZE};
	VkMemoryRequirements needs;
	VkSparseMemoryBind bind = {0};
	VkSparseBufferMemoryBindInfo buffer_bind = {.bindCount = 1, .pBinds = &bind};
	VkBindSparseInfo sparse_info = {
	    .sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO, .bufferBindCount = 1, .pBufferBinds = &buffer_bind};
	VkFence fence;

	need(vk.features.core.features.sparseBinding, "sparseBinding");
	need(vk.families[vk.family].queueFlags & VK_QUEUE_SPARSE_BINDING_BIT, "a queue for sparse binding");
	CHECK(vkCreateBuffer(vk.device, &info, NULL, &sparse.handle));
	vkGetBufferMemoryRequirements(vk.device, sparse.handle, &needs);
	sparse.memory = allocate(&needs, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, false);
	bind.size = needs.size;
	bind.memory = sparse.memory;
	buffer_bind.buffer = sparse.handle;
	CHECK(
	    vkCreateFence(vk.device, &(VkFenceCreateInfo){.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO}, NULL, &fence));
	CHECK(vkQueueBindSparse(vk.queue, 1, &sparse_info, fence));
	CHECK(vkWaitForFences(vk.device, 1, &fence, VK_TRUE, 10000000000u));
	noise(in.map, SIZE, 17);
	copy(&in, &sparse);
	copy(&sparse, &out);
	report_hash("bytes", out.map, SIZE);
	/* Taken away again. */
	bind.memory = VK_NULL_HANDLE;
	CHECK(vkResetFences(vk.device, 1, &fence));
	CHECK(vkQueueBindSparse(vk.queue, 1, &sparse_info, fence));
	CHECK(vkWaitForFences(vk.device, 1, &fence, VK_TRUE, 10000000000u));
	vkDestroyFence(vk.device, fence, NULL);
	buffer_destroy(&sparse);
}

static void sparse_image(void)
{
	VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
				  .flags = VK_IMAGE_CREATE_SPARSE_BINDING_BIT | VK_IMAGE_CREATE_SPARSE_RESIDENCY_BIT,
				  .imageType = VK_IMAGE_TYPE_2D,
				  .format = VK_FORMAT_R8G8B8A8_UNORM,
				  .extent = {512, 512, 1},
				  .mipLevels = 1,
				  .arrayLayers = 1,
				  .samples = VK_SAMPLE_COUNT_1_BIT,
				  .usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT};
	struct image image = {.format = info.format,
			      .aspect = VK_IMAGE_ASPECT_COLOR_BIT,
			      .extent = info.extent,
			      .layers = 1,
			      .levels = 1};
	VkMemoryRequirements needs;
	VkSparseImageMemoryRequirements sparse[4];
	VkSparseImageFormatProperties formats[4];
	VkSparseImageMemoryBind binds[64];
	VkSparseImageMemoryBindInfo image_bind = {.pBinds = binds};
	VkBindSparseInfo sparse_info = {
	    .sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO, .imageBindCount = 1, .pImageBinds = &image_bind};
	VkExtent3D granularity;
	uint32_t count = COUNT(sparse);
	VkDeviceMemory memory;
	VkFence fence;
	VkCommandBuffer command;
	uint8_t *bytes = malloc(512 * 512 * 4);

	need(vk.features.core.features.sparseResidencyImage2D, "sparseResidencyImage2D");
	CHECK(vkCreateImage(vk.device, &info, NULL, &image.handle));
	vkGetImageMemoryRequirements(vk.device, image.handle, &needs);
	vkGetImageSparseMemoryRequirements(vk.device, image.handle, &count, sparse);
	expect(count > 0 && bytes, "no sparse requirements");
	count = COUNT(formats);
	vkGetPhysicalDeviceSparseImageFormatProperties(vk.gpu, info.format, info.imageType, info.samples, info.usage,
						       info.tiling, &count, formats);
	granularity = sparse[0].formatProperties.imageGranularity;
	report("granularity", granularity.width * 65536ull + granularity.height);
	report("formats", count);
	/* The tiles in reverse order. */
	needs.size = (needs.size + needs.alignment - 1) / needs.alignment * needs.alignment;
	memory = allocate(&needs, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, false);
	for (uint32_t y = 0; y < 512; y += granularity.height)
		for (uint32_t x = 0; x < 512; x += granularity.width) {
			uint32_t i = image_bind.bindCount++;

			expect(i < COUNT(binds), "the tiles are too small for this test");
			binds[i] = (VkSparseImageMemoryBind){.subresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0},
							     .offset = {(int32_t)x, (int32_t)y, 0},
							     .extent = granularity,
							     .memory = memory};
		}
	for (uint32_t i = 0; i < image_bind.bindCount; i++)
		binds[i].memoryOffset = needs.alignment * (image_bind.bindCount - 1 - i);
	image_bind.image = image.handle;
	CHECK(
	    vkCreateFence(vk.device, &(VkFenceCreateInfo){.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO}, NULL, &fence));
	CHECK(vkQueueBindSparse(vk.queue, 1, &sparse_info, fence));
	CHECK(vkWaitForFences(vk.device, 1, &fence, VK_TRUE, 10000000000u));
	command = command_begin();
	image_barrier(command, &image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	command_finish(command);
	noise(bytes, 512 * 512 * 4, 3);
	image_write(&image, 0, 0, bytes, 512 * 512 * 4, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	image_report("picture", &image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
	vkDestroyFence(vk.device, fence, NULL);
	vkDestroyImage(vk.device, image.handle, NULL);
	vkFreeMemory(vk.device, memory, NULL);
	free(bytes);
}

const struct vk_case memory_cases[] = {
    {"memory/map_write_and_read", map_write_and_read},
    {"memory/map_in_turn", map_in_turn},
    {"memory/flush_and_invalidate", flush_and_invalidate},
    {"memory/map2", map2},
    {"memory/offsets", offsets},
    {"memory/requirements", requirements},
    {"memory/dedicated", dedicated},
    {"memory/many", many},
    {"memory/out_of_memory", out_of_memory},
    {"memory/out_of_pool_memory", out_of_pool_memory},
    {"memory/budget", budget},
    {"memory/sparse_buffer", sparse_buffer},
    {"memory/sparse_image", sparse_image},
    {0},
};

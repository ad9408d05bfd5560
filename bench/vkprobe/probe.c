/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS_MAX     16u
#define FAMILIES_MAX 16u

void pv_probe_check(VkResult result, const char *call)
{
	int name_length = 0;

	if (result == VK_SUCCESS)
		return;
	while (call[name_length] && call[name_length] != '(')
		name_length++;
	pv_die("%.*s: VkResult %d; run vulkaninfo to see what the driver can do", name_length, call, (int)result);
}

static void choose_gpu(struct pv_probe *probe)
{
	VkPhysicalDevice found[GPUS_MAX];
	uint32_t count = GPUS_MAX;
	const VkResult result = vkEnumeratePhysicalDevices(probe->instance, &count, found);

	if (result != VK_INCOMPLETE)
		pv_probe_check(result, "vkEnumeratePhysicalDevices");
	for (uint32_t i = 0; i < count; i++) {
		vkGetPhysicalDeviceProperties(found[i], &probe->properties);
		if (probe->options.gpu && !strstr(probe->properties.deviceName, probe->options.gpu))
			continue;
		probe->physical = found[i];
		vkGetPhysicalDeviceMemoryProperties(found[i], &probe->memory);
		return;
	}
	pv_die("no Vulkan device%s%s; see which drivers VK_DRIVER_FILES names",
	       probe->options.gpu ? " has the name " : "", probe->options.gpu ? probe->options.gpu : "");
}

static uint32_t choose_family(struct pv_probe *probe)
{
	VkQueueFamilyProperties families[FAMILIES_MAX];
	uint32_t count = FAMILIES_MAX;

	vkGetPhysicalDeviceQueueFamilyProperties(probe->physical, &count, families);
	for (uint32_t i = 0; i < count; i++)
		if (families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT && families[i].queueFlags & VK_QUEUE_COMPUTE_BIT)
			return i;
	pv_die("%s has no queue that both draws and computes", probe->properties.deviceName);
}

void pv_probe_start(struct pv_probe *probe)
{
	const VkApplicationInfo application = {
	    .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
	    .pApplicationName = "pvgpu-vkprobe",
	    .apiVersion = VK_API_VERSION_1_3,
	};
	const VkInstanceCreateInfo create_instance = {
	    .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
	    .pApplicationInfo = &application,
	};
	const float priority = 1.0f;

	PV_VK(vkCreateInstance(&create_instance, NULL, &probe->instance));
	choose_gpu(probe);
	if (probe->properties.apiVersion < VK_API_VERSION_1_2)
		pv_die("%s has no Vulkan 1.2", probe->properties.deviceName);
	probe->family = choose_family(probe);
	const VkDeviceQueueCreateInfo queue = {
	    .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
	    .queueFamilyIndex = probe->family,
	    .queueCount = 1,
	    .pQueuePriorities = &priority,
	};
	const VkPhysicalDeviceVulkan12Features features = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
	    .timelineSemaphore = VK_TRUE, /* required of every 1.2 driver */
	};
	const VkDeviceCreateInfo create_device = {
	    .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
	    .pNext = &features,
	    .queueCreateInfoCount = 1,
	    .pQueueCreateInfos = &queue,
	};
	PV_VK(vkCreateDevice(probe->physical, &create_device, NULL, &probe->device));
	vkGetDeviceQueue(probe->device, probe->family, 0, &probe->queue);
	const VkCommandPoolCreateInfo pool = {
	    .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
	    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
	    .queueFamilyIndex = probe->family,
	};
	PV_VK(vkCreateCommandPool(probe->device, &pool, NULL, &probe->commands));
}

void pv_probe_end(struct pv_probe *probe)
{
	vkDestroyCommandPool(probe->device, probe->commands, NULL);
	vkDestroyDevice(probe->device, NULL);
	vkDestroyInstance(probe->instance, NULL);
}

uint32_t pv_memory_type(struct pv_probe *probe, uint32_t type_bits, VkMemoryPropertyFlags needed,
			VkMemoryPropertyFlags wanted)
{
	const VkMemoryPropertyFlags tries[2] = {needed | wanted, needed};

	for (uint32_t t = 0; t < 2; t++)
		for (uint32_t i = 0; i < probe->memory.memoryTypeCount; i++)
			if (type_bits >> i & 1 && (probe->memory.memoryTypes[i].propertyFlags & tries[t]) == tries[t])
				return i;
	pv_die("%s has no memory with the properties 0x%x", probe->properties.deviceName, (unsigned)needed);
}

static VkDeviceMemory allocate(struct pv_probe *probe, const VkMemoryRequirements *needs, VkMemoryPropertyFlags needed,
			       VkMemoryPropertyFlags wanted)
{
	const VkMemoryAllocateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
	    .allocationSize = needs->size,
	    .memoryTypeIndex = pv_memory_type(probe, needs->memoryTypeBits, needed, wanted),
	};
	VkDeviceMemory memory;

	PV_VK(vkAllocateMemory(probe->device, &info, NULL, &memory));
	return memory;
}

struct pv_buffer pv_buffer_create(struct pv_probe *probe, VkDeviceSize size_bytes, VkBufferUsageFlags usage,
				  VkMemoryPropertyFlags needed, VkMemoryPropertyFlags wanted)
{
	struct pv_buffer buffer = {.size_bytes = size_bytes};
	const VkBufferCreateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
	    .size = size_bytes,
	    .usage = usage,
	    .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
	};
	VkMemoryRequirements needs;

	PV_VK(vkCreateBuffer(probe->device, &info, NULL, &buffer.buffer));
	vkGetBufferMemoryRequirements(probe->device, buffer.buffer, &needs);
	buffer.memory = allocate(probe, &needs, needed, wanted);
	PV_VK(vkBindBufferMemory(probe->device, buffer.buffer, buffer.memory, 0));
	if (needed & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)
		PV_VK(vkMapMemory(probe->device, buffer.memory, 0, VK_WHOLE_SIZE, 0, &buffer.mapped));
	return buffer;
}

void pv_buffer_destroy(struct pv_probe *probe, struct pv_buffer *buffer)
{
	vkDestroyBuffer(probe->device, buffer->buffer, NULL);
	vkFreeMemory(probe->device, buffer->memory, NULL);
}

struct pv_image pv_image_create(struct pv_probe *probe, uint32_t width, uint32_t height, VkImageUsageFlags usage)
{
	struct pv_image image = {.width = width, .height = height};
	const VkImageCreateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
	    .imageType = VK_IMAGE_TYPE_2D,
	    .format = VK_FORMAT_R8G8B8A8_UNORM,
	    .extent = {width, height, 1},
	    .mipLevels = 1,
	    .arrayLayers = 1,
	    .samples = VK_SAMPLE_COUNT_1_BIT,
	    .tiling = VK_IMAGE_TILING_OPTIMAL,
	    .usage = usage,
	};
	VkMemoryRequirements needs;

	PV_VK(vkCreateImage(probe->device, &info, NULL, &image.image));
	vkGetImageMemoryRequirements(probe->device, image.image, &needs);
	image.memory = allocate(probe, &needs, 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
	PV_VK(vkBindImageMemory(probe->device, image.image, image.memory, 0));
	if (!(usage & VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT))
		return image;
	const VkImageViewCreateInfo view = {
	    .sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
	    .image = image.image,
	    .viewType = VK_IMAGE_VIEW_TYPE_2D,
	    .format = VK_FORMAT_R8G8B8A8_UNORM,
	    .subresourceRange = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .levelCount = 1, .layerCount = 1},
	};
	PV_VK(vkCreateImageView(probe->device, &view, NULL, &image.view));
	return image;
}

void pv_image_destroy(struct pv_probe *probe, struct pv_image *image)
{
	vkDestroyImageView(probe->device, image->view, NULL);
	vkDestroyImage(probe->device, image->image, NULL);
	vkFreeMemory(probe->device, image->memory, NULL);
}

VkShaderModule pv_shader_create(struct pv_probe *probe, const uint32_t *code, size_t size_bytes)
{
	const VkShaderModuleCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
	    .codeSize = size_bytes,
	    .pCode = code,
	};
	VkShaderModule shader;

	PV_VK(vkCreateShaderModule(probe->device, &create, NULL, &shader));
	return shader;
}

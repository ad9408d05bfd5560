/* SPDX-License-Identifier: MIT */
#include "gpu.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "triangle_frag.h"
#include "triangle_vert.h"

#define GPUS_MAX          16u
#define FAMILIES_MAX      16u
#define ANSWER_TIMEOUT_NS 30000000000u

static const struct vk_result {
	VkResult result;
	const char *name, *advice;
} vk_results[] = {
#define RESULT(result, advice) {result, #result, advice}
    RESULT(VK_ERROR_OUT_OF_HOST_MEMORY, "give the guest more memory"),
    RESULT(VK_ERROR_OUT_OF_DEVICE_MEMORY, "ask for a smaller --size, or give the GPU more memory"),
    RESULT(VK_ERROR_INITIALIZATION_FAILED,
	   "the driver did not start: run vulkaninfo; for Venus, see that the VM's virtio-gpu offers it"),
    RESULT(VK_ERROR_DEVICE_LOST, "the renderer gave up: look at the VMM's log and at dmesg"),
    RESULT(VK_ERROR_MEMORY_MAP_FAILED, "give the guest more memory, or the device a larger window"),
    RESULT(VK_ERROR_LAYER_NOT_PRESENT, "unset VK_INSTANCE_LAYERS"),
    RESULT(VK_ERROR_EXTENSION_NOT_PRESENT,
	   "the driver cannot present to X11: use --kms or --ppm, or another driver with --gpu"),
    RESULT(VK_ERROR_FEATURE_NOT_PRESENT, "choose another driver with --gpu"),
    RESULT(VK_ERROR_INCOMPATIBLE_DRIVER,
	   "no Vulkan driver was found: install mesa-vulkan-drivers, or check VK_ICD_FILENAMES"),
    RESULT(VK_ERROR_FORMAT_NOT_SUPPORTED, "choose another driver with --gpu"),
    RESULT(VK_ERROR_SURFACE_LOST_KHR, "the X server went away: check that it still runs"),
    RESULT(VK_ERROR_NATIVE_WINDOW_IN_USE_KHR, "another program draws to the window: stop it"),
    RESULT(VK_ERROR_OUT_OF_DATE_KHR, "the screen changed its size: run again"),
    RESULT(VK_SUBOPTIMAL_KHR, "the screen changed its size: run again"),
    RESULT(VK_TIMEOUT, "the device did not answer in 30 s: look at the VMM's log and at dmesg"),
    RESULT(VK_NOT_READY, "the device did not answer: look at the VMM's log and at dmesg"),
#undef RESULT
};

void pv_vk_check(VkResult result, const char *call)
{
	int name_length = 0;

	if (result == VK_SUCCESS)
		return;
	while (call[name_length] && call[name_length] != '(')
		name_length++;
	for (size_t i = 0; i < sizeof(vk_results) / sizeof(vk_results[0]); i++)
		if (vk_results[i].result == result)
			pv_die("%.*s: %s; %s", name_length, call, vk_results[i].name, vk_results[i].advice);
	pv_die("%.*s: VkResult %d; run vulkaninfo to see what the driver can do", name_length, call, (int)result);
}

static bool has_instance_extension(const char *name)
{
	VkExtensionProperties *extensions;
	uint32_t count = 0;
	bool found = false;

	PV_VK(vkEnumerateInstanceExtensionProperties(NULL, &count, NULL));
	extensions = calloc(count + 1, sizeof(*extensions));
	if (!extensions)
		pv_die("out of memory");
	PV_VK(vkEnumerateInstanceExtensionProperties(NULL, &count, extensions));
	for (uint32_t i = 0; i < count && !found; i++)
		found = strcmp(extensions[i].extensionName, name) == 0;
	free(extensions);
	return found;
}

static bool has_device_extension(VkPhysicalDevice physical, const char *name)
{
	VkExtensionProperties *extensions;
	uint32_t count = 0;
	bool found = false;

	PV_VK(vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL));
	extensions = calloc(count + 1, sizeof(*extensions));
	if (!extensions)
		pv_die("out of memory");
	PV_VK(vkEnumerateDeviceExtensionProperties(physical, NULL, &count, extensions));
	for (uint32_t i = 0; i < count && !found; i++)
		found = strcmp(extensions[i].extensionName, name) == 0;
	free(extensions);
	return found;
}

static void create_instance(struct pv_gpu *gpu, const char *const *extensions, uint32_t extension_count,
			    bool *knows_properties2)
{
	const VkApplicationInfo application = {
	    .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
	    .pApplicationName = "pvgpu-triangle",
	    .apiVersion = VK_API_VERSION_1_0,
	};
	const char *enabled[8];
	uint32_t enabled_count = 0;

	*knows_properties2 = has_instance_extension(VK_KHR_GET_PHYSICAL_DEVICE_PROPERTIES_2_EXTENSION_NAME);
	if (*knows_properties2)
		enabled[enabled_count++] = VK_KHR_GET_PHYSICAL_DEVICE_PROPERTIES_2_EXTENSION_NAME;
	for (uint32_t i = 0; i < extension_count; i++)
		enabled[enabled_count++] = extensions[i];
	const VkInstanceCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
	    .pApplicationInfo = &application,
	    .enabledExtensionCount = enabled_count,
	    .ppEnabledExtensionNames = enabled,
	};
	PV_VK(vkCreateInstance(&create, NULL, &gpu->instance));
}

/* The driver's own name, which Vulkan 1.0 alone does not tell. */
static void read_driver_names(struct pv_gpu *gpu)
{
	const PFN_vkGetPhysicalDeviceProperties2KHR get_properties2 =
	    (PFN_vkGetPhysicalDeviceProperties2KHR)vkGetInstanceProcAddr(gpu->instance,
									 "vkGetPhysicalDeviceProperties2KHR");
	VkPhysicalDeviceDriverPropertiesKHR driver = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES_KHR,
	};
	VkPhysicalDeviceProperties2KHR properties = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2_KHR,
	    .pNext = &driver,
	};

	if (!get_properties2 || !has_device_extension(gpu->physical, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME))
		return;
	get_properties2(gpu->physical, &properties);
	memcpy(gpu->driver_name, driver.driverName, sizeof(gpu->driver_name));
	memcpy(gpu->driver_info, driver.driverInfo, sizeof(gpu->driver_info));
	gpu->driver_name[sizeof(gpu->driver_name) - 1] = '\0';
	gpu->driver_info[sizeof(gpu->driver_info) - 1] = '\0';
}

void pv_gpu_choose(struct pv_gpu *gpu, const char *wanted, const char *const *extensions, uint32_t extension_count)
{
	VkPhysicalDevice found[GPUS_MAX];
	uint32_t count = GPUS_MAX;
	int best = -1;
	char known[1024] = "";
	size_t known_len = 0;
	bool knows_properties2;

	memset(gpu, 0, sizeof(*gpu));
	create_instance(gpu, extensions, extension_count, &knows_properties2);
	const VkResult result = vkEnumeratePhysicalDevices(gpu->instance, &count, found);
	if (result != VK_INCOMPLETE)
		pv_vk_check(result, "vkEnumeratePhysicalDevices");
	for (uint32_t i = 0; i < count; i++) {
		VkPhysicalDeviceProperties properties;
		bool best_is_cpu = gpu->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;

		vkGetPhysicalDeviceProperties(found[i], &properties);
		if (known_len < sizeof(known))
			known_len += (size_t)snprintf(known + known_len, sizeof(known) - known_len, "%s%s",
						      i ? ", " : "", properties.deviceName);
		const bool is_cpu = properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
		const bool better = wanted ? best < 0 && strstr(properties.deviceName, wanted) != NULL
					   : best < 0 || (best_is_cpu && !is_cpu);
		if (better) {
			best = (int)i;
			gpu->properties = properties;
		}
	}
	if (best < 0 && wanted)
		pv_die("no GPU's name contains '%s'; there is: %s", wanted, known);
	if (best < 0)
		pv_die("there is no Vulkan GPU, not even a software one: install mesa-vulkan-drivers");
	gpu->physical = found[best];
	vkGetPhysicalDeviceMemoryProperties(gpu->physical, &gpu->memory);
	if (knows_properties2)
		read_driver_names(gpu);
}

static uint32_t choose_family(struct pv_gpu *gpu, VkSurfaceKHR surface)
{
	VkQueueFamilyProperties families[FAMILIES_MAX];
	uint32_t count = FAMILIES_MAX;

	vkGetPhysicalDeviceQueueFamilyProperties(gpu->physical, &count, families);
	for (uint32_t i = 0; i < count; i++) {
		VkBool32 presents = VK_TRUE;

		if (!(families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) || families[i].queueCount == 0)
			continue;
		if (surface)
			PV_VK(vkGetPhysicalDeviceSurfaceSupportKHR(gpu->physical, i, surface, &presents));
		if (presents)
			return i;
	}
	pv_die("%s has no queue that draws%s; choose another with --gpu", gpu->properties.deviceName,
	       surface ? " to this window" : "");
}

static VkDeviceMemory allocate(struct pv_gpu *gpu, const VkMemoryRequirements *needs, VkMemoryPropertyFlags flags)
{
	VkDeviceMemory memory;

	for (uint32_t i = 0; i < gpu->memory.memoryTypeCount; i++) {
		if (!(needs->memoryTypeBits >> i & 1) || (gpu->memory.memoryTypes[i].propertyFlags & flags) != flags)
			continue;
		const VkMemoryAllocateInfo info = {
		    .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		    .allocationSize = needs->size,
		    .memoryTypeIndex = i,
		};
		PV_VK(vkAllocateMemory(gpu->device, &info, NULL, &memory));
		return memory;
	}
	pv_die("%s has no memory type with properties 0x%x for this; choose another with --gpu",
	       gpu->properties.deviceName, (unsigned)flags);
}

static void create_buffer(struct pv_gpu *gpu, VkDeviceSize size_bytes, VkBufferUsageFlags usage, VkBuffer *buffer,
			  VkDeviceMemory *memory, void **mapped)
{
	const VkBufferCreateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
	    .size = size_bytes,
	    .usage = usage,
	    .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
	};
	VkMemoryRequirements needs;

	PV_VK(vkCreateBuffer(gpu->device, &info, NULL, buffer));
	vkGetBufferMemoryRequirements(gpu->device, *buffer, &needs);
	*memory = allocate(gpu, &needs, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
	PV_VK(vkBindBufferMemory(gpu->device, *buffer, *memory, 0));
	PV_VK(vkMapMemory(gpu->device, *memory, 0, VK_WHOLE_SIZE, 0, mapped));
}

void pv_gpu_create_device(struct pv_gpu *gpu, VkSurfaceKHR surface)
{
	const float priority = 1.0f;
	const char *const swapchain = VK_KHR_SWAPCHAIN_EXTENSION_NAME;
	void *mapped;

	gpu->family = choose_family(gpu, surface);
	const VkDeviceQueueCreateInfo queue = {
	    .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
	    .queueFamilyIndex = gpu->family,
	    .queueCount = 1,
	    .pQueuePriorities = &priority,
	};
	const VkDeviceCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
	    .queueCreateInfoCount = 1,
	    .pQueueCreateInfos = &queue,
	    .enabledExtensionCount = surface ? 1 : 0,
	    .ppEnabledExtensionNames = &swapchain,
	};
	PV_VK(vkCreateDevice(gpu->physical, &create, NULL, &gpu->device));
	vkGetDeviceQueue(gpu->device, gpu->family, 0, &gpu->queue);
	const VkCommandPoolCreateInfo pool = {
	    .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
	    .queueFamilyIndex = gpu->family,
	};
	PV_VK(vkCreateCommandPool(gpu->device, &pool, NULL, &gpu->commands));
	create_buffer(gpu, sizeof(pv_scene_vertices), VK_BUFFER_USAGE_VERTEX_BUFFER_BIT, &gpu->vertices,
		      &gpu->vertex_memory, &mapped);
	memcpy(mapped, pv_scene_vertices, sizeof(pv_scene_vertices));
	vkUnmapMemory(gpu->device, gpu->vertex_memory);
}

static void create_pass(struct pv_gpu *gpu, VkImageLayout final_layout)
{
	const VkAttachmentDescription color = {
	    .format = gpu->format,
	    .samples = VK_SAMPLE_COUNT_1_BIT,
	    .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
	    .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
	    .stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE,
	    .stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE,
	    .initialLayout = VK_IMAGE_LAYOUT_UNDEFINED,
	    .finalLayout = final_layout,
	};
	const VkAttachmentReference target = {.layout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
	const VkSubpassDescription subpass = {
	    .pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
	    .colorAttachmentCount = 1,
	    .pColorAttachments = &target,
	};
	const VkSubpassDependency dependencies[2] = {
	    {
		/* The image is not ours before the acquire semaphore, which waits at this stage. */
		.srcSubpass = VK_SUBPASS_EXTERNAL,
		.dstSubpass = 0,
		.srcStageMask = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT,
		.dstStageMask = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT,
		.dstAccessMask = VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT,
	    },
	    {
		/* What was drawn is there for the copy that reads it back. */
		.srcSubpass = 0,
		.dstSubpass = VK_SUBPASS_EXTERNAL,
		.srcStageMask = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT,
		.dstStageMask = VK_PIPELINE_STAGE_TRANSFER_BIT,
		.srcAccessMask = VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT,
		.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT,
	    },
	};
	const VkRenderPassCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
	    .attachmentCount = 1,
	    .pAttachments = &color,
	    .subpassCount = 1,
	    .pSubpasses = &subpass,
	    .dependencyCount = 2,
	    .pDependencies = dependencies,
	};
	PV_VK(vkCreateRenderPass(gpu->device, &create, NULL, &gpu->pass));
}

static VkShaderModule create_shader(struct pv_gpu *gpu, const uint32_t *code, size_t size_bytes)
{
	const VkShaderModuleCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
	    .codeSize = size_bytes,
	    .pCode = code,
	};
	VkShaderModule shader;

	PV_VK(vkCreateShaderModule(gpu->device, &create, NULL, &shader));
	return shader;
}

void pv_gpu_create_pipeline(struct pv_gpu *gpu, VkFormat format, VkImageLayout final_layout)
{
	gpu->format = format;
	create_pass(gpu, final_layout);
	const VkShaderModule vertex = create_shader(gpu, triangle_vert, sizeof(triangle_vert));
	const VkShaderModule fragment = create_shader(gpu, triangle_frag, sizeof(triangle_frag));
	const VkPipelineShaderStageCreateInfo stages[2] = {
	    {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
		.stage = VK_SHADER_STAGE_VERTEX_BIT,
		.module = vertex,
		.pName = "main",
	    },
	    {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
		.stage = VK_SHADER_STAGE_FRAGMENT_BIT,
		.module = fragment,
		.pName = "main",
	    },
	};
	const VkVertexInputBindingDescription binding = {.stride = sizeof(struct pv_vertex)};
	const VkVertexInputAttributeDescription attributes[2] = {
	    {.location = 0, .format = VK_FORMAT_R32G32_SFLOAT, .offset = offsetof(struct pv_vertex, x)},
	    {.location = 1, .format = VK_FORMAT_R32G32B32_SFLOAT, .offset = offsetof(struct pv_vertex, red)},
	};
	const VkPipelineVertexInputStateCreateInfo vertex_input = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO,
	    .vertexBindingDescriptionCount = 1,
	    .pVertexBindingDescriptions = &binding,
	    .vertexAttributeDescriptionCount = 2,
	    .pVertexAttributeDescriptions = attributes,
	};
	const VkPipelineInputAssemblyStateCreateInfo assembly = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
	    .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST,
	};
	const VkPipelineViewportStateCreateInfo viewport = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
	    .viewportCount = 1,
	    .scissorCount = 1,
	};
	const VkPipelineRasterizationStateCreateInfo rasterization = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO,
	    .polygonMode = VK_POLYGON_MODE_FILL,
	    .cullMode = VK_CULL_MODE_NONE,
	    .lineWidth = 1.0f,
	};
	const VkPipelineMultisampleStateCreateInfo multisample = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
	    .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT,
	};
	const VkPipelineColorBlendAttachmentState blend_target = {.colorWriteMask = 0xf};
	const VkPipelineColorBlendStateCreateInfo blend = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
	    .attachmentCount = 1,
	    .pAttachments = &blend_target,
	};
	const VkDynamicState dynamic_states[2] = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
	const VkPipelineDynamicStateCreateInfo dynamic = {
	    .sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
	    .dynamicStateCount = 2,
	    .pDynamicStates = dynamic_states,
	};
	const VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
	PV_VK(vkCreatePipelineLayout(gpu->device, &layout, NULL, &gpu->layout));
	const VkGraphicsPipelineCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
	    .stageCount = 2,
	    .pStages = stages,
	    .pVertexInputState = &vertex_input,
	    .pInputAssemblyState = &assembly,
	    .pViewportState = &viewport,
	    .pRasterizationState = &rasterization,
	    .pMultisampleState = &multisample,
	    .pColorBlendState = &blend,
	    .pDynamicState = &dynamic,
	    .layout = gpu->layout,
	    .renderPass = gpu->pass,
	};
	PV_VK(vkCreateGraphicsPipelines(gpu->device, VK_NULL_HANDLE, 1, &create, NULL, &gpu->pipeline));
	vkDestroyShaderModule(gpu->device, vertex, NULL);
	vkDestroyShaderModule(gpu->device, fragment, NULL);
}

void pv_gpu_destroy(struct pv_gpu *gpu)
{
	vkDestroyPipeline(gpu->device, gpu->pipeline, NULL);
	vkDestroyPipelineLayout(gpu->device, gpu->layout, NULL);
	vkDestroyRenderPass(gpu->device, gpu->pass, NULL);
	vkDestroyBuffer(gpu->device, gpu->vertices, NULL);
	vkFreeMemory(gpu->device, gpu->vertex_memory, NULL);
	vkDestroyCommandPool(gpu->device, gpu->commands, NULL);
	vkDestroyDevice(gpu->device, NULL);
	vkDestroyInstance(gpu->instance, NULL);
}

void pv_gpu_print_fields(const struct pv_gpu *gpu)
{
	const uint32_t api = gpu->properties.apiVersion;

	printf("\"gpu\":");
	pv_json_string(gpu->properties.deviceName);
	printf(",\"driver\":");
	pv_json_string(gpu->driver_name);
	printf(",\"driver_info\":");
	pv_json_string(gpu->driver_info);
	printf(",\"driver_version\":%u,\"api\":\"%u.%u.%u\"", gpu->properties.driverVersion, VK_VERSION_MAJOR(api),
	       VK_VERSION_MINOR(api), VK_VERSION_PATCH(api));
}

VkImageView pv_gpu_create_view(struct pv_gpu *gpu, VkImage image)
{
	const VkImageViewCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
	    .image = image,
	    .viewType = VK_IMAGE_VIEW_TYPE_2D,
	    .format = gpu->format,
	    .subresourceRange = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .levelCount = 1, .layerCount = 1},
	};
	VkImageView view;

	PV_VK(vkCreateImageView(gpu->device, &create, NULL, &view));
	return view;
}

VkFramebuffer pv_gpu_create_frame(struct pv_gpu *gpu, VkImageView view, uint32_t width, uint32_t height)
{
	const VkFramebufferCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
	    .renderPass = gpu->pass,
	    .attachmentCount = 1,
	    .pAttachments = &view,
	    .width = width,
	    .height = height,
	    .layers = 1,
	};
	VkFramebuffer frame;

	PV_VK(vkCreateFramebuffer(gpu->device, &create, NULL, &frame));
	return frame;
}

void pv_gpu_create_commands(struct pv_gpu *gpu, VkCommandBuffer *commands, uint32_t count)
{
	const VkCommandBufferAllocateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
	    .commandPool = gpu->commands,
	    .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
	    .commandBufferCount = count,
	};

	PV_VK(vkAllocateCommandBuffers(gpu->device, &info, commands));
}

void pv_gpu_record_scene(struct pv_gpu *gpu, VkCommandBuffer commands, VkFramebuffer frame, uint32_t width,
			 uint32_t height)
{
	const VkClearValue background = {
	    .color.float32 =
		{
		    (float)(PV_SCENE_BACKGROUND >> 16 & 255) / 255.0f,
		    (float)(PV_SCENE_BACKGROUND >> 8 & 255) / 255.0f,
		    (float)(PV_SCENE_BACKGROUND & 255) / 255.0f,
		    1.0f,
		},
	};
	const VkRect2D whole = {.extent = {width, height}};
	const VkRenderPassBeginInfo begin = {
	    .sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO,
	    .renderPass = gpu->pass,
	    .framebuffer = frame,
	    .renderArea = whole,
	    .clearValueCount = 1,
	    .pClearValues = &background,
	};
	const VkViewport viewport = {.width = (float)width, .height = (float)height, .maxDepth = 1.0f};
	const VkDeviceSize offset = 0;

	vkCmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
	vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, gpu->pipeline);
	vkCmdSetViewport(commands, 0, 1, &viewport);
	vkCmdSetScissor(commands, 0, 1, &whole);
	vkCmdBindVertexBuffers(commands, 0, 1, &gpu->vertices, &offset);
	vkCmdDraw(commands, 3, 1, 0, 0);
	vkCmdEndRenderPass(commands);
}

static void record_offscreen(struct pv_gpu *gpu, struct pv_offscreen *offscreen)
{
	const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
	const VkBufferImageCopy copy = {
	    .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .layerCount = 1},
	    .imageExtent = {offscreen->width, offscreen->height, 1},
	};
	const VkBufferMemoryBarrier to_host = {
	    .sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER,
	    .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
	    .dstAccessMask = VK_ACCESS_HOST_READ_BIT,
	    .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
	    .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
	    .buffer = offscreen->buffer,
	    .size = VK_WHOLE_SIZE,
	};

	PV_VK(vkBeginCommandBuffer(offscreen->commands, &begin));
	pv_gpu_record_scene(gpu, offscreen->commands, offscreen->frame, offscreen->width, offscreen->height);
	vkCmdCopyImageToBuffer(offscreen->commands, offscreen->image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
			       offscreen->buffer, 1, &copy);
	vkCmdPipelineBarrier(offscreen->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 0,
			     NULL, 1, &to_host, 0, NULL);
	PV_VK(vkEndCommandBuffer(offscreen->commands));
}

void pv_offscreen_init(struct pv_gpu *gpu, struct pv_offscreen *offscreen, uint32_t width, uint32_t height)
{
	const VkImageCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
	    .imageType = VK_IMAGE_TYPE_2D,
	    .format = gpu->format,
	    .extent = {width, height, 1},
	    .mipLevels = 1,
	    .arrayLayers = 1,
	    .samples = VK_SAMPLE_COUNT_1_BIT,
	    .tiling = VK_IMAGE_TILING_OPTIMAL,
	    .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT,
	    .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
	    .initialLayout = VK_IMAGE_LAYOUT_UNDEFINED,
	};
	const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
	const uint32_t max = gpu->properties.limits.maxImageDimension2D;
	VkMemoryRequirements needs;

	if (width > max || height > max)
		pv_die("%s draws at most %ux%u; choose a smaller --size", gpu->properties.deviceName, max, max);
	*offscreen = (struct pv_offscreen){.width = width, .height = height};
	PV_VK(vkCreateImage(gpu->device, &create, NULL, &offscreen->image));
	vkGetImageMemoryRequirements(gpu->device, offscreen->image, &needs);
	offscreen->image_memory = allocate(gpu, &needs, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
	PV_VK(vkBindImageMemory(gpu->device, offscreen->image, offscreen->image_memory, 0));
	offscreen->view = pv_gpu_create_view(gpu, offscreen->image);
	offscreen->frame = pv_gpu_create_frame(gpu, offscreen->view, width, height);
	create_buffer(gpu, (VkDeviceSize)width * height * 4, VK_BUFFER_USAGE_TRANSFER_DST_BIT, &offscreen->buffer,
		      &offscreen->buffer_memory, &offscreen->mapped);
	PV_VK(vkCreateFence(gpu->device, &fence, NULL, &offscreen->done));
	pv_gpu_create_commands(gpu, &offscreen->commands, 1);
	record_offscreen(gpu, offscreen);
	offscreen->picture = (struct pv_picture){
	    .pixels = offscreen->mapped,
	    .stride_bytes = (size_t)width * 4,
	    .width = width,
	    .height = height,
	    .red_byte = 2,
	    .green_byte = 1,
	    .blue_byte = 0,
	};
}

void pv_offscreen_render(struct pv_gpu *gpu, struct pv_offscreen *offscreen)
{
	const VkSubmitInfo submit = {
	    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
	    .commandBufferCount = 1,
	    .pCommandBuffers = &offscreen->commands,
	};

	PV_VK(vkQueueSubmit(gpu->queue, 1, &submit, offscreen->done));
	PV_VK(vkWaitForFences(gpu->device, 1, &offscreen->done, VK_TRUE, ANSWER_TIMEOUT_NS));
	PV_VK(vkResetFences(gpu->device, 1, &offscreen->done));
}

void pv_offscreen_finish(struct pv_gpu *gpu, struct pv_offscreen *offscreen)
{
	vkDestroyFence(gpu->device, offscreen->done, NULL);
	vkDestroyBuffer(gpu->device, offscreen->buffer, NULL);
	vkFreeMemory(gpu->device, offscreen->buffer_memory, NULL);
	vkDestroyFramebuffer(gpu->device, offscreen->frame, NULL);
	vkDestroyImageView(gpu->device, offscreen->view, NULL);
	vkDestroyImage(gpu->device, offscreen->image, NULL);
	vkFreeMemory(gpu->device, offscreen->image_memory, NULL);
	memset(offscreen, 0, sizeof(*offscreen));
}

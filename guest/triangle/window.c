/* SPDX-License-Identifier: MIT */
#include "window.h"

#include <stdlib.h>
#include <string.h>

#include <xcb/xcb.h>

#include <vulkan/vulkan_xcb.h>

#include "program.h"

#define ANSWER_TIMEOUT_NS 30000000000u
#define FORMATS_MAX       64u
#define MODES_MAX         16u

const char *const pv_window_extensions[2] = {VK_KHR_SURFACE_EXTENSION_NAME, VK_KHR_XCB_SURFACE_EXTENSION_NAME};

void pv_window_open(struct pv_window *window, uint32_t width, uint32_t height)
{
	xcb_connection_t *connection = xcb_connect(NULL, NULL);
	const char *display = getenv("DISPLAY");

	memset(window, 0, sizeof(*window));
	if (xcb_connection_has_error(connection))
		pv_die("there is no X server at DISPLAY=%s; start Xorg, set DISPLAY, or use --kms",
		       display ? display : "");
	window->connection = connection;
	const xcb_screen_t *screen = xcb_setup_roots_iterator(xcb_get_setup(connection)).data;
	window->width = width ? width : screen->width_in_pixels;
	window->height = height ? height : screen->height_in_pixels;
	if (window->width > screen->width_in_pixels || window->height > screen->height_in_pixels)
		pv_die("--size %ux%u does not fit on the X screen of %ux%u", window->width, window->height,
		       screen->width_in_pixels, screen->height_in_pixels);
	window->id = xcb_generate_id(connection);
	/* No window manager may move it: the picture's place on the screen is part of the test. */
	const uint32_t values[2] = {screen->black_pixel, 1};
	xcb_create_window(connection, XCB_COPY_FROM_PARENT, window->id, screen->root, 0, 0, (uint16_t)window->width,
			  (uint16_t)window->height, 0, XCB_WINDOW_CLASS_INPUT_OUTPUT, screen->root_visual,
			  XCB_CW_BACK_PIXEL | XCB_CW_OVERRIDE_REDIRECT, values);
	xcb_map_window(connection, window->id);
	xcb_configure_window(connection, window->id, XCB_CONFIG_WINDOW_STACK_MODE,
			     (const uint32_t[]){XCB_STACK_MODE_ABOVE});
	/* A reply to a later request means that the server has done all before it. */
	free(xcb_get_input_focus_reply(connection, xcb_get_input_focus(connection), NULL));
}

void pv_window_create_surface(struct pv_window *window, struct pv_gpu *gpu)
{
	const VkXcbSurfaceCreateInfoKHR create = {
	    .sType = VK_STRUCTURE_TYPE_XCB_SURFACE_CREATE_INFO_KHR,
	    .connection = window->connection,
	    .window = window->id,
	};

	PV_VK(vkCreateXcbSurfaceKHR(gpu->instance, &create, NULL, &window->surface));
}

/* Linear 8-bit formats only: an sRGB one would show other numbers. */
static VkSurfaceFormatKHR choose_format(struct pv_window *window, struct pv_gpu *gpu)
{
	VkSurfaceFormatKHR formats[FORMATS_MAX];
	uint32_t count = FORMATS_MAX;

	const VkResult result = vkGetPhysicalDeviceSurfaceFormatsKHR(gpu->physical, window->surface, &count, formats);
	if (result != VK_INCOMPLETE)
		pv_vk_check(result, "vkGetPhysicalDeviceSurfaceFormatsKHR");
	for (uint32_t i = 0; i < count; i++)
		if (formats[i].format == VK_FORMAT_B8G8R8A8_UNORM || formats[i].format == VK_FORMAT_R8G8B8A8_UNORM)
			return formats[i];
	pv_die("%s presents no linear 8-bit format to this window; choose another with --gpu",
	       gpu->properties.deviceName);
}

static VkPresentModeKHR choose_present_mode(struct pv_window *window, struct pv_gpu *gpu, VkPresentModeKHR wanted)
{
	VkPresentModeKHR modes[MODES_MAX];
	uint32_t count = MODES_MAX;

	const VkResult result =
	    vkGetPhysicalDeviceSurfacePresentModesKHR(gpu->physical, window->surface, &count, modes);
	if (result != VK_INCOMPLETE)
		pv_vk_check(result, "vkGetPhysicalDeviceSurfacePresentModesKHR");
	for (uint32_t i = 0; i < count; i++)
		if (modes[i] == wanted)
			return wanted;
	pv_die("%s cannot present that way; leave --present out", gpu->properties.deviceName);
}

static void create_image_objects(struct pv_window *window, struct pv_gpu *gpu, VkImage image, uint32_t i)
{
	const VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
	const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};

	window->views[i] = pv_gpu_create_view(gpu, image);
	window->frames[i] = pv_gpu_create_frame(gpu, window->views[i], window->width, window->height);
	PV_VK(vkCreateSemaphore(gpu->device, &semaphore, NULL, &window->drawn[i]));
	PV_VK(vkBeginCommandBuffer(window->commands[i], &begin));
	pv_gpu_record_scene(gpu, window->commands[i], window->frames[i], window->width, window->height);
	PV_VK(vkEndCommandBuffer(window->commands[i]));
}

void pv_window_create_swapchain(struct pv_window *window, struct pv_gpu *gpu, VkPresentModeKHR wanted)
{
	const VkSurfaceFormatKHR format = choose_format(window, gpu);
	const VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
	const VkFenceCreateInfo signaled_fence = {
	    .sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO,
	    .flags = VK_FENCE_CREATE_SIGNALED_BIT,
	};
	VkSurfaceCapabilitiesKHR can;
	VkImage images[PV_WINDOW_IMAGES_MAX];

	PV_VK(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(gpu->physical, window->surface, &can));
	const uint32_t images_wanted = can.minImageCount > 3 ? can.minImageCount : 3;
	const VkSwapchainCreateInfoKHR create = {
	    .sType = VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR,
	    .surface = window->surface,
	    .minImageCount = can.maxImageCount && images_wanted > can.maxImageCount ? can.maxImageCount : images_wanted,
	    .imageFormat = format.format,
	    .imageColorSpace = format.colorSpace,
	    .imageExtent = {window->width, window->height},
	    .imageArrayLayers = 1,
	    .imageUsage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT,
	    .imageSharingMode = VK_SHARING_MODE_EXCLUSIVE,
	    .preTransform = can.currentTransform,
	    .compositeAlpha = can.supportedCompositeAlpha & VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR
				  ? VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR
				  : VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR,
	    .presentMode = choose_present_mode(window, gpu, wanted),
	    .clipped = VK_FALSE,
	};
	PV_VK(vkCreateSwapchainKHR(gpu->device, &create, NULL, &window->swapchain));
	pv_gpu_create_pipeline(gpu, format.format, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
	PV_VK(vkGetSwapchainImagesKHR(gpu->device, window->swapchain, &window->image_count, NULL));
	if (window->image_count > PV_WINDOW_IMAGES_MAX)
		pv_die("the driver wants %u images for this window, more than the %u there is room for; try --present",
		       window->image_count, PV_WINDOW_IMAGES_MAX);
	PV_VK(vkGetSwapchainImagesKHR(gpu->device, window->swapchain, &window->image_count, images));
	pv_gpu_create_commands(gpu, window->commands, window->image_count);
	for (uint32_t i = 0; i < window->image_count; i++)
		create_image_objects(window, gpu, images[i], i);
	for (uint32_t i = 0; i < PV_WINDOW_FLIGHTS; i++) {
		PV_VK(vkCreateSemaphore(gpu->device, &semaphore, NULL, &window->acquired[i]));
		PV_VK(vkCreateFence(gpu->device, &signaled_fence, NULL, &window->done[i]));
	}
}

void pv_window_render(struct pv_window *window, struct pv_gpu *gpu)
{
	const uint32_t flight = (uint32_t)(window->presented % PV_WINDOW_FLIGHTS);
	const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT;
	uint32_t image;

	PV_VK(vkWaitForFences(gpu->device, 1, &window->done[flight], VK_TRUE, ANSWER_TIMEOUT_NS));
	PV_VK(vkResetFences(gpu->device, 1, &window->done[flight]));
	PV_VK(vkAcquireNextImageKHR(gpu->device, window->swapchain, ANSWER_TIMEOUT_NS, window->acquired[flight],
				    VK_NULL_HANDLE, &image));
	const VkSubmitInfo submit = {
	    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
	    .waitSemaphoreCount = 1,
	    .pWaitSemaphores = &window->acquired[flight],
	    .pWaitDstStageMask = &stage,
	    .commandBufferCount = 1,
	    .pCommandBuffers = &window->commands[image],
	    .signalSemaphoreCount = 1,
	    .pSignalSemaphores = &window->drawn[image],
	};
	PV_VK(vkQueueSubmit(gpu->queue, 1, &submit, window->done[flight]));
	const VkPresentInfoKHR present = {
	    .sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR,
	    .waitSemaphoreCount = 1,
	    .pWaitSemaphores = &window->drawn[image],
	    .swapchainCount = 1,
	    .pSwapchains = &window->swapchain,
	    .pImageIndices = &image,
	};
	PV_VK(vkQueuePresentKHR(gpu->queue, &present));
	window->presented++;
}

void pv_window_wait(struct pv_window *window, struct pv_gpu *gpu)
{
	(void)window;
	PV_VK(vkDeviceWaitIdle(gpu->device));
}

void pv_window_read(struct pv_window *window)
{
	xcb_connection_t *connection = window->connection;
	const size_t stride_bytes = (size_t)window->width * 4;

	free(window->picture_reply);
	xcb_get_image_reply_t *reply =
	    xcb_get_image_reply(connection,
				xcb_get_image(connection, XCB_IMAGE_FORMAT_Z_PIXMAP, window->id, 0, 0,
					      (uint16_t)window->width, (uint16_t)window->height, ~0u),
				NULL);
	window->picture_reply = reply;
	if (!reply || (size_t)xcb_get_image_data_length(reply) < stride_bytes * window->height)
		pv_die("the window cannot be read back: the X server needs a screen of depth 24 or 32");
	window->picture = (struct pv_picture){
	    .pixels = xcb_get_image_data(reply),
	    .stride_bytes = stride_bytes,
	    .width = window->width,
	    .height = window->height,
	    .red_byte = 2,
	    .green_byte = 1,
	    .blue_byte = 0,
	};
}

void pv_window_close(struct pv_window *window, struct pv_gpu *gpu)
{
	PV_VK(vkDeviceWaitIdle(gpu->device));
	for (uint32_t i = 0; i < PV_WINDOW_FLIGHTS; i++) {
		vkDestroySemaphore(gpu->device, window->acquired[i], NULL);
		vkDestroyFence(gpu->device, window->done[i], NULL);
	}
	for (uint32_t i = 0; i < window->image_count; i++) {
		vkDestroySemaphore(gpu->device, window->drawn[i], NULL);
		vkDestroyFramebuffer(gpu->device, window->frames[i], NULL);
		vkDestroyImageView(gpu->device, window->views[i], NULL);
	}
	vkDestroySwapchainKHR(gpu->device, window->swapchain, NULL);
	vkDestroySurfaceKHR(gpu->instance, window->surface, NULL);
	free(window->picture_reply);
	xcb_disconnect(window->connection);
	memset(window, 0, sizeof(*window));
}

/* SPDX-License-Identifier: MIT */
/* The scene in an X11 window, through VK_KHR_swapchain. */
#ifndef PVGPU_TRIANGLE_WINDOW_H
#define PVGPU_TRIANGLE_WINDOW_H

#include "gpu.h"

#define PV_WINDOW_IMAGES_MAX 8u
#define PV_WINDOW_FLIGHTS    2u /* frames the CPU may be ahead of the GPU */

struct pv_window {
	uint32_t width, height;
	void *connection; /* xcb_connection_t */
	uint32_t id;
	VkSurfaceKHR surface;
	VkSwapchainKHR swapchain;
	uint32_t image_count;
	VkImageView views[PV_WINDOW_IMAGES_MAX];
	VkFramebuffer frames[PV_WINDOW_IMAGES_MAX];
	VkCommandBuffer commands[PV_WINDOW_IMAGES_MAX];
	VkSemaphore drawn[PV_WINDOW_IMAGES_MAX]; /* one an image: it is free again when the image is acquired again */
	VkSemaphore acquired[PV_WINDOW_FLIGHTS];
	VkFence done[PV_WINDOW_FLIGHTS];
	uint64_t presented;
	void *picture_reply; /* holds `picture` */
	struct pv_picture picture;
};

extern const char *const pv_window_extensions[2];

/* Connects to $DISPLAY and maps a window at the top left, over all others; 0 x 0 is the whole screen. */
void pv_window_open(struct pv_window *window, uint32_t width, uint32_t height);

/* Creates `window->surface`, then, once the device can present to it, everything else. */
void pv_window_create_surface(struct pv_window *window, struct pv_gpu *gpu);
void pv_window_create_swapchain(struct pv_window *window, struct pv_gpu *gpu, VkPresentModeKHR wanted);

void pv_window_render(struct pv_window *window, struct pv_gpu *gpu);

/* Waits for all frames. */
void pv_window_wait(struct pv_window *window, struct pv_gpu *gpu);

/* Reads what the X server shows in the window into `window->picture`. */
void pv_window_read(struct pv_window *window);
void pv_window_close(struct pv_window *window, struct pv_gpu *gpu);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * An off-screen Vulkan program that measures one thing at a time, the same way on any driver. It has no caller that
 * could go on without what failed, so everything here ends the program on an error.
 */
#ifndef PVGPU_VKPROBE_PROBE_H
#define PVGPU_VKPROBE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vulkan/vulkan.h>

#include "program.h"

#define PV_PROBE_SLOTS 3u

/* Ends the program, naming the call, unless it returned VK_SUCCESS. */
#define PV_VK(call) pv_probe_check((call), #call)
void pv_probe_check(VkResult result, const char *call);

struct pv_probe_options {
	const char *gpu;      /* part of a device's name; NULL = the first */
	uint32_t repeats;     /* samples of each rate */
	uint64_t sample_ns;   /* length of a sample of a rate */
	uint32_t latencies;   /* samples of each latency */
	uint32_t fill_layers; /* how often each pixel of the fill-bound frame is drawn */
	uint32_t loop_rounds; /* how long each invocation of the compute-bound frame takes */
};

struct pv_probe {
	struct pv_probe_options options;
	VkInstance instance;
	VkPhysicalDevice physical;
	VkPhysicalDeviceProperties properties;
	VkPhysicalDeviceMemoryProperties memory;
	VkDevice device;
	VkQueue queue;
	uint32_t family;
	VkCommandPool commands;
};

void pv_probe_start(struct pv_probe *probe);
void pv_probe_end(struct pv_probe *probe);

/* Numbers of one measurement, in the order in which they came. */
struct pv_series {
	double *values;
	uint32_t count, capacity;
};

void pv_series_add(struct pv_series *series, double value);
/* One line of JSON. Sorts the values. */
void pv_series_print(struct pv_series *series, const char *name, const char *unit);
void pv_series_finish(struct pv_series *series);

struct pv_buffer {
	VkBuffer buffer;
	VkDeviceMemory memory;
	VkDeviceSize size_bytes;
	void *mapped; /* if host-visible */
};

/* `wanted` is a preference, of which `needed` is what must be. */
struct pv_buffer pv_buffer_create(struct pv_probe *probe, VkDeviceSize size_bytes, VkBufferUsageFlags usage,
				  VkMemoryPropertyFlags needed, VkMemoryPropertyFlags wanted);
void pv_buffer_destroy(struct pv_probe *probe, struct pv_buffer *buffer);

struct pv_image {
	VkImage image;
	VkDeviceMemory memory;
	VkImageView view;
	uint32_t width, height;
};

struct pv_image pv_image_create(struct pv_probe *probe, uint32_t width, uint32_t height, VkImageUsageFlags usage);
void pv_image_destroy(struct pv_probe *probe, struct pv_image *image);

/* The index of a memory type in `type_bits`; the program ends if there is none with all of `needed`. */
uint32_t pv_memory_type(struct pv_probe *probe, uint32_t type_bits, VkMemoryPropertyFlags needed,
			VkMemoryPropertyFlags wanted);

VkShaderModule pv_shader_create(struct pv_probe *probe, const uint32_t *code, size_t size_bytes);

/* Work that is recorded anew for each submit, with up to PV_PROBE_SLOTS submits under way. */
struct pv_pipe {
	struct pv_probe *probe;
	uint32_t depth, next;
	struct {
		VkCommandBuffer commands;
		VkFence fence;
		bool busy;
	} slots[PV_PROBE_SLOTS];
};

void pv_pipe_init(struct pv_pipe *pipe, struct pv_probe *probe, uint32_t depth);
/* A command buffer that is recording; waits for the oldest submit if all slots are taken. */
VkCommandBuffer pv_pipe_begin(struct pv_pipe *pipe);
void pv_pipe_submit(struct pv_pipe *pipe);
void pv_pipe_drain(struct pv_pipe *pipe);
void pv_pipe_finish(struct pv_pipe *pipe);

/*
 * Adds `repeats` samples of how many per second of `record` are done: each of them is a frame of its own that counts
 * for `units`.
 */
void pv_measure_rate(struct pv_probe *probe, struct pv_series *series, uint32_t depth, double units,
		     void (*record)(VkCommandBuffer commands, void *user), void *user);

/* The measurements; each file says how its own are made. */
void pv_measure_control(struct pv_probe *probe, struct pv_series *series);
void pv_measure_exchange(struct pv_probe *probe, struct pv_series *series);
void pv_measure_sleep(struct pv_probe *probe, struct pv_series *series);
void pv_measure_submit_wait(struct pv_probe *probe, struct pv_series *series);
void pv_measure_submit_wait_timeline(struct pv_probe *probe, struct pv_series *series);
void pv_measure_reply_format(struct pv_probe *probe, struct pv_series *series);
void pv_measure_reply(struct pv_probe *probe, struct pv_series *series);
void pv_measure_reply_small(struct pv_probe *probe, struct pv_series *series);
void pv_measure_format_and_fence(struct pv_probe *probe, struct pv_series *series);
void pv_measure_fence_status(struct pv_probe *probe, struct pv_series *series);
void pv_measure_draws_sync(struct pv_probe *probe, struct pv_series *series);
void pv_measure_draws_queued(struct pv_probe *probe, struct pv_series *series);
void pv_measure_bound_draws_sync(struct pv_probe *probe, struct pv_series *series);
void pv_measure_bound_draws_queued(struct pv_probe *probe, struct pv_series *series);
void pv_measure_recording(struct pv_probe *probe, struct pv_series *series);
void pv_measure_bound_recording(struct pv_probe *probe, struct pv_series *series);
void pv_measure_frames_sync(struct pv_probe *probe, struct pv_series *series);
void pv_measure_frames_queued(struct pv_probe *probe, struct pv_series *series);
void pv_measure_fill(struct pv_probe *probe, struct pv_series *series);
void pv_measure_read_back(struct pv_probe *probe, struct pv_series *series);
void pv_measure_pipeline(struct pv_probe *probe, struct pv_series *series);
void pv_measure_compute(struct pv_probe *probe, struct pv_series *series);
void pv_measure_allocation(struct pv_probe *probe, struct pv_series *series);
void pv_measure_large_allocation(struct pv_probe *probe, struct pv_series *series);
void pv_measure_shared_memory(struct pv_probe *probe, struct pv_series *series);
void pv_measure_mapped_write(struct pv_probe *probe, struct pv_series *series);
void pv_measure_mapped_read(struct pv_probe *probe, struct pv_series *series);
void pv_measure_plain_write(struct pv_probe *probe, struct pv_series *series);
void pv_measure_plain_read(struct pv_probe *probe, struct pv_series *series);
void pv_measure_upload_buffer(struct pv_probe *probe, struct pv_series *series);
void pv_measure_upload_image(struct pv_probe *probe, struct pv_series *series);

#endif

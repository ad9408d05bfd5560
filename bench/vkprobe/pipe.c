/* SPDX-License-Identifier: MIT */
#include "probe.h"

void pv_pipe_init(struct pv_pipe *pipe, struct pv_probe *probe, uint32_t depth)
{
	const VkFenceCreateInfo create = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};

	*pipe = (struct pv_pipe){.probe = probe, .depth = depth};
	for (uint32_t i = 0; i < depth; i++) {
		const VkCommandBufferAllocateInfo info = {
		    .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		    .commandPool = probe->commands,
		    .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
		    .commandBufferCount = 1,
		};

		PV_VK(vkAllocateCommandBuffers(probe->device, &info, &pipe->slots[i].commands));
		PV_VK(vkCreateFence(probe->device, &create, NULL, &pipe->slots[i].fence));
	}
}

static void wait_for_slot(struct pv_pipe *pipe, uint32_t i)
{
	if (!pipe->slots[i].busy)
		return;
	PV_VK(vkWaitForFences(pipe->probe->device, 1, &pipe->slots[i].fence, VK_TRUE, UINT64_MAX));
	PV_VK(vkResetFences(pipe->probe->device, 1, &pipe->slots[i].fence));
	pipe->slots[i].busy = false;
}

VkCommandBuffer pv_pipe_begin(struct pv_pipe *pipe)
{
	const VkCommandBufferBeginInfo begin = {
	    .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
	    .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
	};

	wait_for_slot(pipe, pipe->next);
	PV_VK(vkBeginCommandBuffer(pipe->slots[pipe->next].commands, &begin));
	return pipe->slots[pipe->next].commands;
}

void pv_pipe_submit(struct pv_pipe *pipe)
{
	const VkSubmitInfo submit = {
	    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
	    .commandBufferCount = 1,
	    .pCommandBuffers = &pipe->slots[pipe->next].commands,
	};

	PV_VK(vkEndCommandBuffer(pipe->slots[pipe->next].commands));
	PV_VK(vkQueueSubmit(pipe->probe->queue, 1, &submit, pipe->slots[pipe->next].fence));
	pipe->slots[pipe->next].busy = true;
	pipe->next = (pipe->next + 1) % pipe->depth;
	/* A depth of one is the program that waits for each frame before it does anything else. */
	if (pipe->depth == 1)
		wait_for_slot(pipe, 0);
}

void pv_pipe_drain(struct pv_pipe *pipe)
{
	for (uint32_t i = 0; i < pipe->depth; i++)
		wait_for_slot(pipe, (pipe->next + i) % pipe->depth);
}

void pv_pipe_finish(struct pv_pipe *pipe)
{
	pv_pipe_drain(pipe);
	for (uint32_t i = 0; i < pipe->depth; i++) {
		vkDestroyFence(pipe->probe->device, pipe->slots[i].fence, NULL);
		vkFreeCommandBuffers(pipe->probe->device, pipe->probe->commands, 1, &pipe->slots[i].commands);
	}
}

static double frames_per_second(struct pv_pipe *pipe, uint64_t duration_ns,
				void (*record)(VkCommandBuffer commands, void *user), void *user)
{
	const uint64_t began = pv_now_ns();
	uint32_t frames = 0;

	do {
		record(pv_pipe_begin(pipe), user);
		pv_pipe_submit(pipe);
		frames++;
	} while (pv_now_ns() - began < duration_ns);
	pv_pipe_drain(pipe);
	return frames * 1e9 / (double)(pv_now_ns() - began);
}

void pv_measure_rate(struct pv_probe *probe, struct pv_series *series, uint32_t depth, double units,
		     void (*record)(VkCommandBuffer commands, void *user), void *user)
{
	struct pv_pipe pipe;

	pv_pipe_init(&pipe, probe, depth);
	/* Warms caches and clocks, and compiles what the driver left for the first use. */
	(void)frames_per_second(&pipe, probe->options.sample_ns / 2, record, user);
	for (uint32_t i = 0; i < probe->options.repeats; i++)
		pv_series_add(series, units * frames_per_second(&pipe, probe->options.sample_ns, record, user));
	pv_pipe_finish(&pipe);
}

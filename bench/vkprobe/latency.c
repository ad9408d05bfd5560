/* SPDX-License-Identifier: MIT */
/* Calls that wait for an answer, each timed alone; and what no answer can be faster than. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "probe.h"

/* A loop that no driver takes part in: how busy the machine is. */
void pv_measure_control(struct pv_probe *probe, struct pv_series *series)
{
	for (uint32_t i = 0; i < probe->options.repeats; i++) {
		const uint64_t began = pv_now_ns();
		uint64_t state = began | 1;

		for (uint32_t j = 0; j < 20000000; j++)
			state = state * 6364136223846793005u + 1442695040888963407u;
		pv_series_add(series, (double)(pv_now_ns() - began) / 1e6 + (state == 0 ? 1 : 0));
	}
}

/* On cache lines of their own, as head and tail of a ring are. */
struct exchange {
	_Alignas(64) _Atomic uint32_t asked;
	_Alignas(64) _Atomic uint32_t answered;
};

static void *answer(void *user)
{
	struct exchange *exchange = user;
	uint32_t answered = 0, asked;

	do {
		do
			asked = atomic_load_explicit(&exchange->asked, memory_order_acquire);
		while (asked == answered);
		answered = asked;
		atomic_store_explicit(&exchange->answered, answered, memory_order_release);
	} while (answered != UINT32_MAX);
	return NULL;
}

/*
 * A number there and back between two threads that do nothing else: the one that asks yields while it waits, as Mesa's
 * venus does, the other spins. No ring can answer faster.
 */
void pv_measure_exchange(struct pv_probe *probe, struct pv_series *series)
{
	struct exchange exchange = {0};
	pthread_t thread;

	if (pthread_create(&thread, NULL, answer, &exchange) != 0)
		pv_die("there can be no more threads");
	for (uint32_t i = 1; i <= probe->options.latencies + 50; i++) {
		const uint64_t began = pv_now_ns();

		atomic_store_explicit(&exchange.asked, i, memory_order_seq_cst);
		while (atomic_load_explicit(&exchange.answered, memory_order_acquire) != i)
			sched_yield();
		if (i > 50)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
	atomic_store_explicit(&exchange.asked, UINT32_MAX, memory_order_release);
	pthread_join(thread, NULL);
}

/* How long the shortest sleep of Mesa's venus takes. */
void pv_measure_sleep(struct pv_probe *probe, struct pv_series *series)
{
	const struct timespec sleep = {.tv_nsec = 160000};

	for (uint32_t i = 0; i < probe->options.latencies / 4 + 1; i++) {
		const uint64_t began = pv_now_ns();

		clock_nanosleep(CLOCK_MONOTONIC, 0, &sleep, NULL);
		pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
}

/* An empty batch: a submit with a fence and no command buffer. The reset before it is not counted. */
void pv_measure_submit_wait(struct pv_probe *probe, struct pv_series *series)
{
	const VkFenceCreateInfo create = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
	const VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO};
	VkFence fence;

	PV_VK(vkCreateFence(probe->device, &create, NULL, &fence));
	for (uint32_t i = 0; i < probe->options.latencies + 50; i++) {
		const uint64_t began = pv_now_ns();

		PV_VK(vkQueueSubmit(probe->queue, 1, &submit, fence));
		PV_VK(vkWaitForFences(probe->device, 1, &fence, VK_TRUE, UINT64_MAX));
		if (i >= 50)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
		PV_VK(vkResetFences(probe->device, 1, &fence));
	}
	vkDestroyFence(probe->device, fence, NULL);
}

/* The same with a timeline semaphore, as translation layers do. */
void pv_measure_submit_wait_timeline(struct pv_probe *probe, struct pv_series *series)
{
	const VkSemaphoreTypeCreateInfo type = {
	    .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
	    .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
	};
	const VkSemaphoreCreateInfo create = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
	VkSemaphore semaphore;

	PV_VK(vkCreateSemaphore(probe->device, &create, NULL, &semaphore));
	for (uint64_t i = 1; i <= probe->options.latencies + 50u; i++) {
		const VkTimelineSemaphoreSubmitInfo values = {
		    .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
		    .signalSemaphoreValueCount = 1,
		    .pSignalSemaphoreValues = &i,
		};
		const VkSubmitInfo submit = {
		    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
		    .pNext = &values,
		    .signalSemaphoreCount = 1,
		    .pSignalSemaphores = &semaphore,
		};
		const VkSemaphoreWaitInfo wait = {
		    .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
		    .semaphoreCount = 1,
		    .pSemaphores = &semaphore,
		    .pValues = &i,
		};
		const uint64_t began = pv_now_ns();

		PV_VK(vkQueueSubmit(probe->queue, 1, &submit, VK_NULL_HANDLE));
		PV_VK(vkWaitSemaphores(probe->device, &wait, UINT64_MAX));
		if (i > 50)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
	vkDestroySemaphore(probe->device, semaphore, NULL);
}

/*
 * The first question for each of the core formats: guest drivers keep the answers, so there are no more samples than
 * formats.
 */
void pv_measure_reply_format(struct pv_probe *probe, struct pv_series *series)
{
	VkFormatProperties properties;

	for (uint32_t format = VK_FORMAT_R4G4_UNORM_PACK8; format <= VK_FORMAT_ASTC_12x12_SRGB_BLOCK; format++) {
		const uint64_t began = pv_now_ns();

		vkGetPhysicalDeviceFormatProperties(probe->physical, (VkFormat)format, &properties);
		if (format > 10)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
}

/* A question that no guest driver was seen to answer itself. */
void pv_measure_reply(struct pv_probe *probe, struct pv_series *series)
{
	const VkDescriptorSetLayoutBinding binding = {
	    .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
	    .descriptorCount = 1,
	    .stageFlags = VK_SHADER_STAGE_VERTEX_BIT,
	};
	const VkDescriptorSetLayoutCreateInfo layout = {
	    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
	    .bindingCount = 1,
	    .pBindings = &binding,
	};
	VkDescriptorSetLayoutSupport support = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_SUPPORT};

	for (uint32_t i = 0; i < probe->options.latencies + 50; i++) {
		const uint64_t began = pv_now_ns();

		vkGetDescriptorSetLayoutSupport(probe->device, &layout, &support);
		if (i >= 50)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
	if (!support.supported)
		pv_die("vkGetDescriptorSetLayoutSupport: no uniform buffer is supported");
}

/* One without structures in the question; the image needs no memory for it. */
void pv_measure_reply_small(struct pv_probe *probe, struct pv_series *series)
{
	const VkImageCreateInfo create = {
	    .sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
	    .imageType = VK_IMAGE_TYPE_2D,
	    .format = VK_FORMAT_R8G8B8A8_UNORM,
	    .extent = {64, 64, 1},
	    .mipLevels = 1,
	    .arrayLayers = 1,
	    .samples = VK_SAMPLE_COUNT_1_BIT,
	    .tiling = VK_IMAGE_TILING_LINEAR,
	    .usage = VK_IMAGE_USAGE_TRANSFER_DST_BIT,
	};
	const VkImageSubresource color = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT};
	VkSubresourceLayout layout;
	VkImage image;

	PV_VK(vkCreateImage(probe->device, &create, NULL, &image));
	for (uint32_t i = 0; i < probe->options.latencies + 50; i++) {
		const uint64_t began = pv_now_ns();

		vkGetImageSubresourceLayout(probe->device, image, &color, &layout);
		if (i >= 50)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
	vkDestroyImage(probe->device, image, NULL);
}

/* vkGetPhysicalDeviceFormatProperties + vkGetFenceStatus, as programs call them: what a driver may answer itself, it
 * does. */
void pv_measure_format_and_fence(struct pv_probe *probe, struct pv_series *series)
{
	const VkFenceCreateInfo create = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
	VkFormatProperties properties;
	VkFence fence;

	PV_VK(vkCreateFence(probe->device, &create, NULL, &fence));
	for (uint32_t i = 0; i < probe->options.latencies + 50; i++) {
		const uint64_t began = pv_now_ns();

		vkGetPhysicalDeviceFormatProperties(probe->physical, VK_FORMAT_R8G8B8A8_UNORM, &properties);
		if (vkGetFenceStatus(probe->device, fence) != VK_NOT_READY)
			pv_die("vkGetFenceStatus: a fence that nobody signals is signalled");
		if (i >= 50)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
	vkDestroyFence(probe->device, fence, NULL);
}

/* In hundreds, for one call may be shorter than it takes to read the clock. */
void pv_measure_fence_status(struct pv_probe *probe, struct pv_series *series)
{
	const VkFenceCreateInfo create = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
	VkFence fence;

	PV_VK(vkCreateFence(probe->device, &create, NULL, &fence));
	for (uint32_t i = 0; i < probe->options.latencies / 10 + 5; i++) {
		const uint64_t began = pv_now_ns();

		for (uint32_t j = 0; j < 100; j++)
			if (vkGetFenceStatus(probe->device, fence) != VK_NOT_READY)
				pv_die("vkGetFenceStatus: a fence that nobody signals is signalled");
		if (i >= 5)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e5);
	}
	vkDestroyFence(probe->device, fence, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Fences, semaphores, events, queues and threads. */
#include "vk.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORDS   1024u
#define STORAGE VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
#define WAIT_NS 30000000000u

static VkFence fence_create(VkFenceCreateFlags flags)
{
	VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, .flags = flags};
	VkFence fence;

	CHECK(vkCreateFence(vk.device, &info, NULL, &fence));
	return fence;
}

static VkSemaphore semaphore_create(VkSemaphoreType type, uint64_t value)
{
	VkSemaphoreTypeCreateInfo type_info = {
	    .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, .semaphoreType = type, .initialValue = value};
	VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type_info};
	VkSemaphore semaphore;

	CHECK(vkCreateSemaphore(vk.device, &info, NULL, &semaphore));
	return semaphore;
}

/* A command buffer that can be submitted again and again: one step of a hash over the buffer. */
static VkCommandBuffer step_create(const struct compute *compute, uint32_t round)
{
	VkCommandBuffer command = command_begin();

	barrier(command);
	compute_dispatch(command, compute, (uint32_t[4]){round, WORDS, 0, 0}, WORDS / 64);
	barrier(command);
	CHECK(vkEndCommandBuffer(command));
	return command;
}

static void fences(void)
{
	struct buffer buffer = buffer_create(WORDS * 4, STORAGE, ON_HOST);
	struct compute compute = compute_create(SHADER(step_comp), &buffer, 1);
	VkFence all[8];
	VkCommandBuffer steps[8];

	memset(buffer.map, 0, buffer.size);
	for (uint32_t i = 0; i < 8; i++) {
		all[i] = fence_create(i == 7 ? VK_FENCE_CREATE_SIGNALED_BIT : 0);
		steps[i] = step_create(&compute, i);
	}
	expect(vkWaitForFences(vk.device, 2, all, VK_TRUE, 0) == VK_TIMEOUT,
	       "a wait for nothing did not end with VK_TIMEOUT");
	expect(vkWaitForFences(vk.device, 2, all, VK_TRUE, 3000000) == VK_TIMEOUT, "a wait of 3 ms did not end");
	CHECK(vkWaitForFences(vk.device, 8, all, VK_FALSE, WAIT_NS));
	CHECK(vkResetFences(vk.device, 8, all));
	expect(vkGetFenceStatus(vk.device, all[7]) == VK_NOT_READY, "a fence is not reset");
	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < 8; i++) {
			VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
					       .commandBufferCount = 1,
					       .pCommandBuffers = &steps[i]};

			CHECK(vkQueueSubmit(vk.queue, 1, &submit, all[i]));
		}
		CHECK(vkWaitForFences(vk.device, 8, all, VK_TRUE, WAIT_NS));
		CHECK(vkResetFences(vk.device, 8, all));
	}
	/* Nothing but a fence. */
	CHECK(vkQueueSubmit(vk.queue, 0, NULL, all[0]));
	CHECK(vkWaitForFences(vk.device, 1, all, VK_TRUE, WAIT_NS));
	report_hash("words", buffer.map, buffer.size);
}

static void binary_semaphores(void)
{
	struct buffer buffer = buffer_create(WORDS * 4, STORAGE, ON_HOST);
	struct compute compute = compute_create(SHADER(step_comp), &buffer, 1);
	VkSemaphore chain[2] = {semaphore_create(VK_SEMAPHORE_TYPE_BINARY, 0),
				semaphore_create(VK_SEMAPHORE_TYPE_BINARY, 0)};
	VkCommandBuffer steps[3] = {step_create(&compute, 1), step_create(&compute, 2), step_create(&compute, 3)};
	VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
	VkFence fence = fence_create(0);

	memset(buffer.map, 0, buffer.size);
	for (uint32_t round = 0; round < 20; round++) {
		VkSubmitInfo submits[3];

		for (uint32_t i = 0; i < 3; i++)
			submits[i] = (VkSubmitInfo){.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
						    .waitSemaphoreCount = i ? 1 : 0,
						    .pWaitSemaphores = i ? &chain[i - 1] : NULL,
						    .pWaitDstStageMask = &stage,
						    .commandBufferCount = 1,
						    .pCommandBuffers = &steps[i],
						    .signalSemaphoreCount = i < 2 ? 1 : 0,
						    .pSignalSemaphores = i < 2 ? &chain[i] : NULL};
		CHECK(vkQueueSubmit(vk.queue, 1, submits, VK_NULL_HANDLE));
		CHECK(vkQueueSubmit(vk.queue, 2, submits + 1, fence));
		CHECK(vkWaitForFences(vk.device, 1, &fence, VK_TRUE, WAIT_NS));
		CHECK(vkResetFences(vk.device, 1, &fence));
	}
	report_hash("words", buffer.map, buffer.size);
}

static void signal_host(VkSemaphore semaphore, uint64_t value)
{
	CHECK(vkSignalSemaphore(vk.device, &(VkSemaphoreSignalInfo){.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO,
								    .semaphore = semaphore,
								    .value = value}));
}

static VkResult wait_host(const VkSemaphore *semaphores, const uint64_t *semaphore_values, uint32_t count,
			  VkSemaphoreWaitFlags flags, uint64_t timeout_ns)
{
	return vkWaitSemaphores(vk.device,
				&(VkSemaphoreWaitInfo){.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
						       .flags = flags,
						       .semaphoreCount = count,
						       .pSemaphores = semaphores,
						       .pValues = semaphore_values},
				timeout_ns);
}

/* Submitted before what it waits for is signaled, by the host and by the device. */
static void timeline(void)
{
	struct buffer buffer = buffer_create(WORDS * 4, STORAGE, ON_HOST);
	struct compute compute = compute_create(SHADER(step_comp), &buffer, 1);
	VkSemaphore semaphores[2] = {semaphore_create(VK_SEMAPHORE_TYPE_TIMELINE, 5),
				     semaphore_create(VK_SEMAPHORE_TYPE_TIMELINE, 0)};
	VkCommandBuffer step = step_create(&compute, 11);
	uint64_t value;

	memset(buffer.map, 0, buffer.size);
	expect(wait_host(semaphores, (uint64_t[]){6, 1}, 2, 0, 2000000) == VK_TIMEOUT,
	       "waited for a value that is to come");
	CHECK(wait_host(semaphores, (uint64_t[]){5, 1}, 2, VK_SEMAPHORE_WAIT_ANY_BIT, 0));
	for (uint64_t round = 1; round <= 20; round++) {
		VkSemaphoreSubmitInfo wait = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
					      .semaphore = semaphores[0],
					      .value = 5 + round,
					      .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
		VkSemaphoreSubmitInfo signal = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
						.semaphore = semaphores[1],
						.value = round,
						.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
		VkCommandBufferSubmitInfo command = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
						     .commandBuffer = step};
		VkSubmitInfo2 submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
					.waitSemaphoreInfoCount = 1,
					.pWaitSemaphoreInfos = &wait,
					.commandBufferInfoCount = 1,
					.pCommandBufferInfos = &command,
					.signalSemaphoreInfoCount = 1,
					.pSignalSemaphoreInfos = &signal};

		CHECK(vkQueueSubmit2(vk.queue, 1, &submit, VK_NULL_HANDLE));
		expect(wait_host(&semaphores[1], &round, 1, 0, 1000000) == VK_TIMEOUT, "round %llu ran too early",
		       (unsigned long long)round);
		signal_host(semaphores[0], 5 + round);
		CHECK(wait_host(&semaphores[1], &round, 1, 0, WAIT_NS));
	}
	CHECK(vkGetSemaphoreCounterValue(vk.device, semaphores[1], &value));
	report("counter", value);
	report_hash("words", buffer.map, buffer.size);
}

/* Set by the host before the submission and by the device; both kinds of waiting. */
static void events(void)
{
	struct buffer buffer = buffer_create(4096, 0, ON_HOST);
	VkEventCreateInfo info = {.sType = VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
	VkMemoryBarrier2 memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
				   .srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
				   .srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT,
				   .dstStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
				   .dstAccessMask = VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT};
	VkDependencyInfo dependency = {
	    .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO, .memoryBarrierCount = 1, .pMemoryBarriers = &memory};
	VkMemoryBarrier old = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
			       .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
			       .dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT};
	VkEvent set[4];
	VkCommandBuffer command;

	for (uint32_t i = 0; i < 4; i++)
		CHECK(vkCreateEvent(vk.device, &info, NULL, &set[i]));
	CHECK(vkSetEvent(vk.device, set[0]));
	command = command_begin();
	vkCmdWaitEvents(command, 1, &set[0], VK_PIPELINE_STAGE_HOST_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, NULL, 0,
			NULL, 0, NULL);
	vkCmdFillBuffer(command, buffer.handle, 0, VK_WHOLE_SIZE, 1);
	vkCmdSetEvent(command, set[1], VK_PIPELINE_STAGE_TRANSFER_BIT);
	vkCmdWaitEvents(command, 1, &set[1], VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 1, &old, 0,
			NULL, 0, NULL);
	vkCmdFillBuffer(command, buffer.handle, 1024, 1024, 2);
	vkCmdSetEvent2(command, set[2], &dependency);
	vkCmdWaitEvents2(command, 1, &set[2], &dependency);
	vkCmdFillBuffer(command, buffer.handle, 1536, 1024, 3);
	vkCmdResetEvent(command, set[0], VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
	vkCmdResetEvent2(command, set[2], VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT);
	vkCmdPipelineBarrier2(command, &dependency);
	barrier(command);
	command_finish(command);
	report_hash("bytes", buffer.map, buffer.size);
	for (uint32_t i = 0; i < 4; i++) {
		report((const char[]){(char)('0' + i), 0}, vkGetEventStatus(vk.device, set[i]) == VK_EVENT_SET);
		CHECK(vkResetEvent(vk.device, set[i]));
		expect(vkGetEventStatus(vk.device, set[i]) == VK_EVENT_RESET, "event %u is not reset", i);
		vkDestroyEvent(vk.device, set[i], NULL);
	}
}

/* One after the other on every queue there is, each waiting for the one before. */
static void queues(void)
{
	struct buffer buffer = buffer_create(4096, 0, ON_HOST);
	VkSemaphore semaphore = semaphore_create(VK_SEMAPHORE_TYPE_TIMELINE, 0);
	uint64_t value = 0;

	memset(buffer.map, 0, buffer.size);
	for (uint32_t i = 0; i < vk.queue_count; i++) {
		VkCommandPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
						     .queueFamilyIndex = vk.queue_families[i]};
		VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
						    .commandBufferCount = 1};
		VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
		VkSemaphoreSubmitInfo wait = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
					      .semaphore = semaphore,
					      .value = value,
					      .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
		VkSemaphoreSubmitInfo signal = wait;
		VkCommandBufferSubmitInfo submitted = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO};
		VkSubmitInfo2 submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
					.waitSemaphoreInfoCount = 1,
					.pWaitSemaphoreInfos = &wait,
					.commandBufferInfoCount = 1,
					.pCommandBufferInfos = &submitted,
					.signalSemaphoreInfoCount = 1,
					.pSignalSemaphoreInfos = &signal};
		const VkQueueFlags usable = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT;
		VkCommandBuffer command;

		if (!(vk.families[vk.queue_families[i]].queueFlags & usable))
			continue;
		CHECK(vkCreateCommandPool(vk.device, &pool_info, NULL, &info.commandPool));
		CHECK(vkAllocateCommandBuffers(vk.device, &info, &command));
		CHECK(vkBeginCommandBuffer(command, &begin));
		vkCmdFillBuffer(command, buffer.handle, 16 * i, 64, i + 1);
		barrier(command);
		CHECK(vkEndCommandBuffer(command));
		signal.value = ++value;
		submitted.commandBuffer = command;
		CHECK(vkQueueSubmit2(vk.queues[i], 1, &submit, VK_NULL_HANDLE));
	}
	CHECK(wait_host(&semaphore, &value, 1, 0, WAIT_NS));
	report("queues", value);
	report_hash("bytes", buffer.map, buffer.size);
}

struct worker {
	pthread_t thread;
	uint32_t number;
	uint64_t hash;
};

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct buffer buffer = buffer_create(WORDS * 4, STORAGE, ON_HOST);
	struct compute compute = compute_create(SHADER(step_comp), &buffer, 1);
	VkCommandPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
					     .queueFamilyIndex = vk.family};
	VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
					    .commandBufferCount = 1};
	VkFence fence = fence_create(0);
	VkCommandPool pool;

	CHECK(vkCreateCommandPool(vk.device, &pool_info, NULL, &pool));
	info.commandPool = pool;
	memset(buffer.map, 0, buffer.size);
	for (uint32_t round = 0; round < 40; round++) {
		struct buffer scratch = buffer_create(1000 + round * 100, STORAGE, ON_HOST);
		VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
		VkCommandBuffer command;
		VkSubmitInfo submit = {
		    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &command};

		CHECK(vkAllocateCommandBuffers(vk.device, &info, &command));
		CHECK(vkBeginCommandBuffer(command, &begin));
		barrier(command);
		compute_dispatch(command, &compute, (uint32_t[4]){worker->number * 1000 + round, WORDS, 0, 0},
				 WORDS / 64);
		vkCmdFillBuffer(command, scratch.handle, 0, VK_WHOLE_SIZE, round);
		barrier(command);
		CHECK(vkEndCommandBuffer(command));
		pthread_mutex_lock(&queue_lock);
		CHECK(vkQueueSubmit(vk.queue, 1, &submit, fence));
		pthread_mutex_unlock(&queue_lock);
		CHECK(vkWaitForFences(vk.device, 1, &fence, VK_TRUE, WAIT_NS));
		CHECK(vkResetFences(vk.device, 1, &fence));
		expect(*(uint32_t *)scratch.map == round, "thread %u, round %u: wrong bytes", worker->number, round);
		vkFreeCommandBuffers(vk.device, pool, 1, &command);
		buffer_destroy(&scratch);
	}
	worker->hash = hash_bytes(buffer.map, buffer.size);
	vkDestroyCommandPool(vk.device, pool, NULL);
	return NULL;
}

static void threads(void)
{
	struct worker workers[6];

	for (uint32_t i = 0; i < COUNT(workers); i++) {
		workers[i].number = i;
		expect(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "no thread");
	}
	for (uint32_t i = 0; i < COUNT(workers); i++) {
		pthread_join(workers[i].thread, NULL);
		report((const char[]){(char)('0' + i), 0}, workers[i].hash);
	}
}

static void *compile(void *argument)
{
	struct worker *worker = argument;
	struct buffer buffer = buffer_create(WORDS * 4, STORAGE, ON_HOST);

	for (uint32_t i = 0; i < 12; i++) {
		struct compute compute = compute_create(SHADER(step_comp), &buffer, 1);

		vkDestroyPipeline(vk.device, compute.pipeline, NULL);
		vkDestroyDescriptorPool(vk.device, compute.pool, NULL);
		worker->hash++;
	}
	return NULL;
}

/* Pipelines from many threads at once: Mesa's venus gives each thread a ring of its own for them. */
static void threads_compile(void)
{
	struct worker workers[6] = {0};
	uint64_t sum = 0;

	for (uint32_t i = 0; i < COUNT(workers); i++)
		expect(pthread_create(&workers[i].thread, NULL, compile, &workers[i]) == 0, "no thread");
	for (uint32_t i = 0; i < COUNT(workers); i++) {
		pthread_join(workers[i].thread, NULL);
		sum += workers[i].hash;
	}
	report("pipelines", sum);
}

static void *signal_later(void *argument)
{
	nanosleep(&(struct timespec){0, 50000000}, NULL);
	signal_host(*(VkSemaphore *)argument, 1);
	return NULL;
}

/* One thread waits while another signals. */
static void wait_across_threads(void)
{
	VkSemaphore semaphore = semaphore_create(VK_SEMAPHORE_TYPE_TIMELINE, 0);
	uint64_t value = 1;
	pthread_t thread;

	expect(pthread_create(&thread, NULL, signal_later, &semaphore) == 0, "no thread");
	CHECK(wait_host(&semaphore, &value, 1, 0, WAIT_NS));
	pthread_join(thread, NULL);
	vkDestroySemaphore(vk.device, semaphore, NULL);
}

/* Idle waits, an empty submission, and command buffers submitted many times. */
static void idle(void)
{
	struct buffer buffer = buffer_create(WORDS * 4, STORAGE, ON_HOST);
	struct compute compute = compute_create(SHADER(step_comp), &buffer, 1);
	VkCommandBuffer step = step_create(&compute, 3);
	VkSubmitInfo submit = {
	    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &step};

	memset(buffer.map, 0, buffer.size);
	for (uint32_t i = 0; i < 50; i++) {
		CHECK(vkQueueSubmit(vk.queue, 1, &submit, VK_NULL_HANDLE));
		CHECK(i & 1 ? vkQueueWaitIdle(vk.queue) : vkDeviceWaitIdle(vk.device));
	}
	CHECK(vkQueueSubmit(vk.queue, 0, NULL, VK_NULL_HANDLE));
	CHECK(vkQueueWaitIdle(vk.queue));
	report_hash("words", buffer.map, buffer.size);
}

const struct vk_case sync_cases[] = {
    {"sync/fences", fences},
    {"sync/binary_semaphores", binary_semaphores},
    {"sync/timeline", timeline},
    {"sync/events", events},
    {"sync/queues", queues},
    {"sync/threads", threads},
    {"sync/threads_compile", threads_compile},
    {"sync/wait_across_threads", wait_across_threads},
    {"sync/idle", idle},
    {0},
};

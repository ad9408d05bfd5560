/* SPDX-License-Identifier: MIT */
#include "venus/barrier.h"

#include "venus/handler.h"

/* Decoded arrays lie in the arena and are ours to change. */
#define WRITABLE(type, array) ((type *)(uintptr_t)(array))

static void fix_barriers(const VkBufferMemoryBarrier *buffers, uint32_t nr_buffers, const VkImageMemoryBarrier *images,
			 uint32_t nr_images)
{
	VkBufferMemoryBarrier *buffer = WRITABLE(VkBufferMemoryBarrier, buffers);
	VkImageMemoryBarrier *image = WRITABLE(VkImageMemoryBarrier, images);

	for (uint32_t i = 0; i < nr_buffers; i++)
		pv_venus_barrier_fix(&buffer[i].srcQueueFamilyIndex, &buffer[i].dstQueueFamilyIndex);
	for (uint32_t i = 0; i < nr_images; i++) {
		pv_venus_barrier_fix(&image[i].srcQueueFamilyIndex, &image[i].dstQueueFamilyIndex);
		pv_venus_barrier_fix_layout(&image[i].oldLayout);
	}
}

static void fix_dependency(const VkDependencyInfo *info)
{
	VkBufferMemoryBarrier2 *buffer = WRITABLE(VkBufferMemoryBarrier2, info->pBufferMemoryBarriers);
	VkImageMemoryBarrier2 *image = WRITABLE(VkImageMemoryBarrier2, info->pImageMemoryBarriers);

	for (uint32_t i = 0; i < info->bufferMemoryBarrierCount; i++)
		pv_venus_barrier_fix(&buffer[i].srcQueueFamilyIndex, &buffer[i].dstQueueFamilyIndex);
	for (uint32_t i = 0; i < info->imageMemoryBarrierCount; i++) {
		pv_venus_barrier_fix(&image[i].srcQueueFamilyIndex, &image[i].dstQueueFamilyIndex);
		pv_venus_barrier_fix_layout(&image[i].oldLayout);
	}
}

void pv_venus_handle_vkCmdPipelineBarrier(struct pv_venus_decoder *d, struct pv_venus_args_vkCmdPipelineBarrier *args)
{
	(void)d;
	fix_barriers(args->pBufferMemoryBarriers, args->bufferMemoryBarrierCount, args->pImageMemoryBarriers,
		     args->imageMemoryBarrierCount);
	pv_venus_device_of(args->commandBuffer_object)
	    ->fn.CmdPipelineBarrier(args->commandBuffer, args->srcStageMask, args->dstStageMask, args->dependencyFlags,
				    args->memoryBarrierCount, args->pMemoryBarriers, args->bufferMemoryBarrierCount,
				    args->pBufferMemoryBarriers, args->imageMemoryBarrierCount,
				    args->pImageMemoryBarriers);
}

void pv_venus_handle_vkCmdPipelineBarrier2(struct pv_venus_decoder *d, struct pv_venus_args_vkCmdPipelineBarrier2 *args)
{
	PFN_vkCmdPipelineBarrier2 fn = pv_venus_device_of(args->commandBuffer_object)->fn.CmdPipelineBarrier2;

	if (!PV_VENUS_HAS(d, fn, "vkCmdPipelineBarrier2"))
		return;
	fix_dependency(args->pDependencyInfo);
	fn(args->commandBuffer, args->pDependencyInfo);
}

void pv_venus_handle_vkCmdWaitEvents(struct pv_venus_decoder *d, struct pv_venus_args_vkCmdWaitEvents *args)
{
	(void)d;
	fix_barriers(args->pBufferMemoryBarriers, args->bufferMemoryBarrierCount, args->pImageMemoryBarriers,
		     args->imageMemoryBarrierCount);
	pv_venus_device_of(args->commandBuffer_object)
	    ->fn.CmdWaitEvents(args->commandBuffer, args->eventCount, args->pEvents, args->srcStageMask,
			       args->dstStageMask, args->memoryBarrierCount, args->pMemoryBarriers,
			       args->bufferMemoryBarrierCount, args->pBufferMemoryBarriers,
			       args->imageMemoryBarrierCount, args->pImageMemoryBarriers);
}

void pv_venus_handle_vkCmdWaitEvents2(struct pv_venus_decoder *d, struct pv_venus_args_vkCmdWaitEvents2 *args)
{
	PFN_vkCmdWaitEvents2 fn = pv_venus_device_of(args->commandBuffer_object)->fn.CmdWaitEvents2;

	if (!PV_VENUS_HAS(d, fn, "vkCmdWaitEvents2"))
		return;
	for (uint32_t i = 0; i < args->eventCount; i++)
		fix_dependency(&args->pDependencyInfos[i]);
	fn(args->commandBuffer, args->eventCount, args->pEvents, args->pDependencyInfos);
}

void pv_venus_handle_vkCmdSetEvent2(struct pv_venus_decoder *d, struct pv_venus_args_vkCmdSetEvent2 *args)
{
	PFN_vkCmdSetEvent2 fn = pv_venus_device_of(args->commandBuffer_object)->fn.CmdSetEvent2;

	if (!PV_VENUS_HAS(d, fn, "vkCmdSetEvent2"))
		return;
	/* As in the wait it belongs to. */
	fix_dependency(args->pDependencyInfo);
	fn(args->commandBuffer, args->event, args->pDependencyInfo);
}

/* SPDX-License-Identifier: MIT */
#include "venus/chain.h"
#include "venus/external.h"
#include "venus/host.h"

void pv_venus_handle_vkCreateBuffer(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateBuffer *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkBufferCreateInfo info = *args->pCreateInfo;
	VkExternalMemoryBufferCreateInfo ours;
	VkBuffer made = VK_NULL_HANDLE;
	uintptr_t traits;

	pv_venus_check_new_id(d, args->pBuffer_id, "vkCreateBuffer.pBuffer");
	if (d->failed)
		return;
	traits = pv_venus_adapt_buffer(d, d->context->physical_device, &info, &ours);
	args->ret = device->fn.CreateBuffer(args->device, &info, NULL, &made);
	if (pv_venus_created_with(d, PV_VENUS_BUFFER, args->pBuffer_id, PV_VENUS_HANDLE(made), args->ret,
				  args->device_object, (void *)traits))
		*args->pBuffer = args->ret == VK_SUCCESS ? made : VK_NULL_HANDLE;
	else if (args->ret == VK_SUCCESS)
		device->fn.DestroyBuffer(args->device, made, NULL);
}

void pv_venus_handle_vkGetBufferMemoryRequirements(struct pv_venus_decoder *d,
						   struct pv_venus_args_vkGetBufferMemoryRequirements *args)
{
	pv_venus_device_of(args->device_object)
	    ->fn.GetBufferMemoryRequirements(args->device, args->buffer, args->pMemoryRequirements);
	pv_venus_restrict_types(d, pv_venus_traits(args->buffer_object), args->pMemoryRequirements);
}

void pv_venus_handle_vkGetBufferMemoryRequirements2(struct pv_venus_decoder *d,
						    struct pv_venus_args_vkGetBufferMemoryRequirements2 *args)
{
	pv_venus_device_of(args->device_object)
	    ->fn.GetBufferMemoryRequirements2(args->device, args->pInfo, args->pMemoryRequirements);
	pv_venus_restrict_types(d, pv_venus_traits(args->pool_object), &args->pMemoryRequirements->memoryRequirements);
}

void pv_venus_handle_vkGetDeviceBufferMemoryRequirements(struct pv_venus_decoder *d,
							 struct pv_venus_args_vkGetDeviceBufferMemoryRequirements *args)
{
	PFN_vkGetDeviceBufferMemoryRequirements fn =
	    pv_venus_device_of(args->device_object)->fn.GetDeviceBufferMemoryRequirements;
	VkBufferCreateInfo info = *args->pInfo->pCreateInfo;
	VkDeviceBufferMemoryRequirements query = *args->pInfo;
	VkExternalMemoryBufferCreateInfo ours;
	uintptr_t traits;

	if (!PV_VENUS_HAS(d, fn, "vkGetDeviceBufferMemoryRequirements"))
		return;
	traits = pv_venus_adapt_buffer(d, d->context->physical_device, &info, &ours);
	query.pCreateInfo = &info;
	fn(args->device, &query, args->pMemoryRequirements);
	pv_venus_restrict_types(d, traits, &args->pMemoryRequirements->memoryRequirements);
}

/* SPDX-License-Identifier: MIT */
/* Descriptors that the guest puts into heaps itself (VK_EXT_descriptor_heap): the driver writes one into the reply. */
#include "venus/handler.h"

#ifdef PV_VENUS_HAVE_vkWriteSamplerDescriptorMESA
void pv_venus_handle_vkWriteSamplerDescriptorMESA(struct pv_venus_decoder *d,
						  struct pv_venus_args_vkWriteSamplerDescriptorMESA *args)
{
	const struct pv_venus_instance_functions *instance_fn = &d->context->instance_fn;
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkHostAddressRangeEXT range = {.address = args->pData, .size = args->dataSize};

	if (!PV_VENUS_HAS(d, device->fn.WriteSamplerDescriptorsEXT, "vkWriteSamplerDescriptorMESA") ||
	    !PV_VENUS_HAS(d, instance_fn->GetPhysicalDeviceDescriptorSizeEXT, "vkWriteSamplerDescriptorMESA"))
		return;
	if (args->dataSize <
	    instance_fn->GetPhysicalDeviceDescriptorSizeEXT(d->context->physical_device, VK_DESCRIPTOR_TYPE_SAMPLER)) {
		pv_venus_fail(d, "vkWriteSamplerDescriptorMESA.dataSize", "a descriptor is larger", args->dataSize);
		return;
	}
	args->ret = device->fn.WriteSamplerDescriptorsEXT(args->device, 1, args->pSampler, &range);
}

void pv_venus_handle_vkWriteResourceDescriptorMESA(struct pv_venus_decoder *d,
						   struct pv_venus_args_vkWriteResourceDescriptorMESA *args)
{
	const struct pv_venus_instance_functions *instance_fn = &d->context->instance_fn;
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkHostAddressRangeEXT range = {.address = args->pData, .size = args->dataSize};

	if (!PV_VENUS_HAS(d, device->fn.WriteResourceDescriptorsEXT, "vkWriteResourceDescriptorMESA") ||
	    !PV_VENUS_HAS(d, instance_fn->GetPhysicalDeviceDescriptorSizeEXT, "vkWriteResourceDescriptorMESA"))
		return;
	if (args->dataSize <
	    instance_fn->GetPhysicalDeviceDescriptorSizeEXT(d->context->physical_device, args->pResource->type)) {
		pv_venus_fail(d, "vkWriteResourceDescriptorMESA.dataSize", "a descriptor is larger", args->dataSize);
		return;
	}
	args->ret = device->fn.WriteResourceDescriptorsEXT(args->device, 1, args->pResource, &range);
}
#endif

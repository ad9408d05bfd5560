/* SPDX-License-Identifier: MIT */
/* Results that a driver writes into room of ours without a look at how much there is: a guest may say anything. */
#include "venus/query.h"

#include "venus/handler.h"

/* ---- Queries ---- */

static uint32_t values_of_each(const VkQueryPoolCreateInfo *info)
{
	uint32_t statistics = (uint32_t)__builtin_popcount(info->pipelineStatistics);

	switch ((int)info->queryType) {
	case VK_QUERY_TYPE_PIPELINE_STATISTICS:
		return statistics ? statistics : 1;
	case VK_QUERY_TYPE_TRANSFORM_FEEDBACK_STREAM_EXT:
		return 2;
	default:
		return 1;
	}
}

void pv_venus_handle_vkCreateQueryPool(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateQueryPool *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	const VkQueryPoolCreateInfo *info = args->pCreateInfo;
	VkQueryPool made = VK_NULL_HANDLE;

	pv_venus_check_new_id(d, args->pQueryPool_id, "vkCreateQueryPool.pQueryPool");
	if (d->failed)
		return;
	args->ret = device->fn.CreateQueryPool(args->device, info, NULL, &made);
	if (pv_venus_created_with(d, PV_VENUS_QUERY_POOL, args->pQueryPool_id, PV_VENUS_HANDLE(made), args->ret,
				  args->device_object,
				  pv_venus_query_pool_extra(info->queryCount, values_of_each(info))))
		*args->pQueryPool = args->ret == VK_SUCCESS ? made : VK_NULL_HANDLE;
	else if (args->ret == VK_SUCCESS)
		device->fn.DestroyQueryPool(args->device, made, NULL);
}

static bool results_fit(const struct pv_venus_args_vkGetQueryPoolResults *args)
{
	uint32_t values = pv_venus_query_values_of(args->queryPool_object);
	uint64_t one;

	values += (args->flags & VK_QUERY_RESULT_WITH_AVAILABILITY_BIT) != 0;
	values += (args->flags & VK_QUERY_RESULT_WITH_STATUS_BIT_KHR) != 0;
	one = (uint64_t)values * (args->flags & VK_QUERY_RESULT_64_BIT ? 8 : 4);
	if (args->queryCount == 0)
		return true;
	return one <= args->dataSize &&
	       (args->queryCount == 1 || args->stride <= (args->dataSize - one) / (args->queryCount - 1));
}

void pv_venus_handle_vkGetQueryPoolResults(struct pv_venus_decoder *d, struct pv_venus_args_vkGetQueryPoolResults *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);

	if (!results_fit(args)) {
		pv_venus_fail(d, "vkGetQueryPoolResults.dataSize", "the results are larger", args->dataSize);
		return;
	}
	args->ret = device->fn.GetQueryPoolResults(args->device, args->queryPool, args->firstQuery, args->queryCount,
						   args->dataSize, args->pData, args->stride, args->flags);
}

/* ---- Shader groups of ray tracing pipelines ---- */

/* How much a driver writes of each. */
static VkPhysicalDeviceRayTracingPipelinePropertiesKHR group_properties(const struct pv_venus_decoder *d)
{
	VkPhysicalDeviceRayTracingPipelinePropertiesKHR properties = {
	    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_PROPERTIES_KHR};
	VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
					   .pNext = &properties};

	d->context->instance_fn.GetPhysicalDeviceProperties2(d->context->physical_device, &all);
	return properties;
}

void pv_venus_handle_vkGetRayTracingShaderGroupHandlesKHR(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetRayTracingShaderGroupHandlesKHR *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);

	if (!PV_VENUS_HAS(d, device->fn.GetRayTracingShaderGroupHandlesKHR, "vkGetRayTracingShaderGroupHandlesKHR"))
		return;
	if ((uint64_t)args->groupCount * group_properties(d).shaderGroupHandleSize > args->dataSize) {
		pv_venus_fail(d, "vkGetRayTracingShaderGroupHandlesKHR.dataSize", "the handles are larger",
			      args->dataSize);
		return;
	}
	args->ret = device->fn.GetRayTracingShaderGroupHandlesKHR(args->device, args->pipeline, args->firstGroup,
								  args->groupCount, args->dataSize, args->pData);
}

void pv_venus_handle_vkGetRayTracingCaptureReplayShaderGroupHandlesKHR(
    struct pv_venus_decoder *d, struct pv_venus_args_vkGetRayTracingCaptureReplayShaderGroupHandlesKHR *args)
{
	static const char name[] = "vkGetRayTracingCaptureReplayShaderGroupHandlesKHR";
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);

	if (!PV_VENUS_HAS(d, device->fn.GetRayTracingCaptureReplayShaderGroupHandlesKHR, name))
		return;
	if ((uint64_t)args->groupCount * group_properties(d).shaderGroupHandleCaptureReplaySize > args->dataSize) {
		pv_venus_fail(d, "vkGetRayTracingCaptureReplayShaderGroupHandlesKHR.dataSize", "the handles are larger",
			      args->dataSize);
		return;
	}
	args->ret = device->fn.GetRayTracingCaptureReplayShaderGroupHandlesKHR(
	    args->device, args->pipeline, args->firstGroup, args->groupCount, args->dataSize, args->pData);
}

/* SPDX-License-Identifier: MIT */
#include "device/renderers.h"

enum pv_status pv_device_vulkan_create(const struct pv_device_renderer_params *params, struct pv_renderer **out,
				       struct pv_device_vulkan **out_vulkan, const char **out_why)
{
	(void)params, (void)out, (void)out_vulkan;
	*out_why = "this build has no Venus renderer";
	return PV_ERR_UNSUPPORTED;
}

void pv_device_vulkan_destroy(struct pv_device_vulkan *vulkan)
{
	(void)vulkan;
}

const char *pv_device_vulkan_device(const struct pv_device_vulkan *vulkan)
{
	(void)vulkan;
	return NULL;
}

const char *pv_device_vulkan_driver(const struct pv_device_vulkan *vulkan)
{
	(void)vulkan;
	return NULL;
}

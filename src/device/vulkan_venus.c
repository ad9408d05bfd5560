/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/log.h"
#include "device/renderers.h"
#include "venus/host.h"
#include "venus/renderer.h"

struct pv_device_vulkan {
	struct pv_venus_host *host;
	const struct pv_venus_host_device *device;
};

enum pv_status pv_device_vulkan_create(const struct pv_device_renderer_params *params, struct pv_renderer **out,
				       struct pv_device_vulkan **out_vulkan, const char **out_why)
{
	const struct pv_venus_host_params host_params = {
	    .device = params->vulkan_device,
	    .emulate_portability = params->emulate_portability,
	    .dma_buf = true,
	    .virtual_gpu = true,
	    .max_memory_bytes = *params->max_host_bytes,
	};
	struct pv_device_vulkan *vulkan = calloc(1, sizeof(*vulkan));
	enum pv_status status;

	if (!vulkan)
		return PV_ERR_NO_MEMORY;
	status = pv_venus_host_create(&host_params, &vulkan->host);
	if (status == PV_ERR_HOST) {
		*out_why = "this host has no Vulkan";
		status = PV_ERR_UNSUPPORTED;
	}
	if (status != PV_OK)
		goto out_vulkan;
	vulkan->device = pv_venus_host_chosen(vulkan->host, out_why);
	if (!vulkan->device) {
		status = PV_ERR_UNSUPPORTED;
		goto out_host;
	}
	bool pins_memory =
	    params->use_guest_vram || vulkan->device->properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU;
	if (pins_memory)
		pv_log(
		    PV_LOG_INFO, "device",
		    "this Vulkan device pins memory: guests need Mesa 26.2 or newer, 25.0 to 26.1 lock themselves up");
	const struct pv_venus_renderer_params renderer_params = {
	    .loop = params->loop,
	    .host = vulkan->host,
	    /*
	     * A GPU pins memory that it imports: it must be in the window from the start. A CPU's can be moved there,
	     * which is better as long as it has to be: with blobs first the drivers of Mesa 25.0 to 26.1 lock
	     * themselves out in their first command of more than 8 KiB, mostly a shader: a new upload buffer makes
	     * vn_ring_cs_upload_locked() take its ring's lock a second time. No other bit of the set has a say in that.
	     * 26.2 is cured.
	     */
	    .use_guest_vram = pins_memory};
	status = pv_venus_renderer_create(&renderer_params, out);
	if (status != PV_OK)
		goto out_host;
	*out_vulkan = vulkan;
	return PV_OK;

out_host:
	pv_venus_host_destroy(vulkan->host);
out_vulkan:
	free(vulkan);
	return status;
}

void pv_device_vulkan_destroy(struct pv_device_vulkan *vulkan)
{
	if (!vulkan)
		return;
	pv_venus_host_destroy(vulkan->host);
	free(vulkan);
}

const char *pv_device_vulkan_device(const struct pv_device_vulkan *vulkan)
{
	return vulkan ? vulkan->device->properties.deviceName : NULL;
}

const char *pv_device_vulkan_driver(const struct pv_device_vulkan *vulkan)
{
	return vulkan ? vulkan->device->driver.driverInfo : NULL;
}

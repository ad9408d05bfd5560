/* SPDX-License-Identifier: MIT */
#include "device/renderers.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "mux/mux.h"
#include "pv/device.h"
#include "render2d/render2d.h"

#define MODULE "device"

#define MIN_WINDOW_BYTES (256ull << 20)
/* What firmware finds room for with the 39 address bits of common processors. */
#define MAX_WINDOW_BYTES (16ull << 30)

/* Half of the host's memory, as a power of two: it is an upper bound, what is not used costs nothing. */
static uint64_t usual_window_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t host_bytes = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
	uint64_t bytes = MIN_WINDOW_BYTES;

	while (bytes < MAX_WINDOW_BYTES && bytes * 4 <= host_bytes)
		bytes *= 2;
	return bytes;
}

/* False: a name that there is not. */
static bool read_names(const char *names, bool *out_venus)
{
	*out_venus = false;
	for (;;) {
		size_t len = strcspn(names, ",");

		if (len == 5 && strncmp(names, "venus", len) == 0)
			*out_venus = true;
		else if (len != 2 || strncmp(names, "2d", len) != 0)
			return false;
		if (names[len] == '\0')
			return true;
		names += len + 1;
	}
}

enum pv_status pv_device_renderer_create(const struct pv_device_renderer_params *params, struct pv_renderer **out,
					 struct pv_device_vulkan **out_vulkan)
{
	bool wanted = params->names != NULL, venus = *params->window_bytes != 0;
	struct pv_renderer *plain, *children[1];
	struct pv_device_vulkan *vulkan = NULL;
	const char *why = NULL;
	enum pv_status status;

	if (wanted && !read_names(params->names, &venus)) {
		pv_log(PV_LOG_ERROR, MODULE, "renderers \"%s\": there are 2d and venus", params->names);
		return PV_ERR_ARGUMENT;
	}
	if (venus && *params->window_bytes == 0) {
		pv_log(PV_LOG_ERROR, MODULE, "renderer venus needs a window: --window=SIZE");
		return PV_ERR_ARGUMENT;
	}
	status = pv_render2d_create(&plain);
	if (status != PV_OK)
		return status;
	if (venus) {
		status = pv_device_vulkan_create(params, &children[0], &vulkan, &why);
		if (status == PV_ERR_UNSUPPORTED && !wanted) {
			pv_log(PV_LOG_INFO, MODULE, "no Vulkan for the guest: %s", why);
			venus = false;
		} else if (status != PV_OK) {
			if (why)
				pv_log(PV_LOG_ERROR, MODULE, "no Vulkan for the guest: %s", why);
			pv_renderer_destroy(plain);
			return status;
		}
	}
	if (*params->window_bytes == PV_DEVICE_WINDOW_AUTO)
		*params->window_bytes = venus ? usual_window_bytes() : 0;
	if (!venus) {
		*out = plain;
		*out_vulkan = NULL;
		return PV_OK;
	}
	status = pv_mux_create(plain, children, 1, out);
	if (status != PV_OK) {
		pv_device_vulkan_destroy(vulkan);
		return status;
	}
	pv_log(PV_LOG_INFO, MODULE, "Vulkan for the guest: %s (%s)", pv_device_vulkan_device(vulkan),
	       pv_device_vulkan_driver(vulkan));
	*out_vulkan = vulkan;
	return PV_OK;
}

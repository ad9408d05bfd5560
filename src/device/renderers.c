/* SPDX-License-Identifier: MIT */
#include "device/renderers.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "gpu/gpu.h"
#include "mux/mux.h"
#include "pv/device.h"
#include "render2d/render2d.h"
#include "virgl/renderer.h"
#include "worker/client.h"

#define MODULE "device"

#define MIN_WINDOW_BYTES (256ull << 20)
/* What firmware finds room for with the 39 address bits of common processors. */
#define MAX_WINDOW_BYTES (16ull << 30)

static uint64_t host_memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

	return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
}

/* Half of the host's memory, as a power of two: it is an upper bound, what is not used costs nothing. */
static uint64_t usual_window_bytes(void)
{
	uint64_t bytes = MIN_WINDOW_BYTES;

	while (bytes < MAX_WINDOW_BYTES && bytes * 4 <= host_memory_bytes())
		bytes *= 2;
	return bytes;
}

/* Pictures alone are a few screens. Programs that draw with OpenGL have what they would have on a machine like this. */
static uint64_t max_host_bytes(const struct pv_device_renderer_params *params, bool has_opengl)
{
	uint64_t half = host_memory_bytes() / 2;

	if (*params->max_host_bytes)
		return *params->max_host_bytes;
	return has_opengl && half > PV_GPU_DEFAULT_HOST_BYTES ? half : PV_GPU_DEFAULT_HOST_BYTES;
}

static bool is_name(const char *text, size_t len, const char *name)
{
	return len == strlen(name) && strncmp(text, name, len) == 0;
}

enum pv_status pv_device_renderer_names(const char *text, struct pv_device_renderer_names *out)
{
	struct pv_device_renderer_names names = {0};

	for (const char *at = text;; at++) {
		size_t len = strcspn(at, ",");

		if (is_name(at, len, "venus"))
			names.venus = true;
		else if (is_name(at, len, "virgl"))
			names.virgl = true;
		else if (!is_name(at, len, "2d"))
			break;
		at += len;
		if (*at == '\0') {
			*out = names;
			return PV_OK;
		}
	}
	pv_log(PV_LOG_ERROR, MODULE, "renderers \"%s\": there are 2d, venus and virgl", text);
	return PV_ERR_ARGUMENT;
}

/* PV_ERR_UNSUPPORTED, with `must` false: no error, there is just none. */
static enum pv_status create_venus(const struct pv_device_renderer_params *params, bool must, struct pv_renderer **out,
				   struct pv_device_vulkan **out_vulkan)
{
	const char *why = NULL;
	enum pv_status status = pv_device_vulkan_create(params, out, out_vulkan, &why);

	if (status == PV_OK)
		pv_log(PV_LOG_INFO, MODULE, "Vulkan for the guest: %s (%s)", pv_device_vulkan_device(*out_vulkan),
		       pv_device_vulkan_driver(*out_vulkan));
	else if (why)
		pv_log(must ? PV_LOG_ERROR : PV_LOG_INFO, MODULE, "no Vulkan for the guest: %s", why);
	return status;
}

/* Those that use drivers, in this process or in a worker. `chosen`: all must be had. */
static enum pv_status create_3d(const struct pv_device_renderer_params *params, bool chosen,
				struct pv_device_renderer_names names, struct pv_renderer **children, size_t *count,
				struct pv_device_host *host)
{
	enum pv_status status = PV_OK;

	if (params->worker_program && (names.venus || names.virgl)) {
		status = pv_device_worker_create(params, &children[0], &host->worker);
		*count = status == PV_OK;
		return status == PV_ERR_UNSUPPORTED && !chosen ? PV_OK : status;
	}
	if (names.venus) {
		status = create_venus(params, chosen, &children[*count], &host->vulkan);
		if (status == PV_OK)
			(*count)++;
		else if (status == PV_ERR_UNSUPPORTED && !chosen)
			status = PV_OK;
	}
	if (status == PV_OK && names.virgl) {
		const struct pv_virgl_renderer_params opengl = {.loop = params->loop,
								.render_node = params->render_node,
								.max_held_bytes = max_host_bytes(params, true),
								.with_dma_bufs = params->with_dma_bufs};

		status = pv_device_opengl_create(&opengl, &children[*count]);
		*count += status == PV_OK;
	}
	return status;
}

static bool has_vulkan(const struct pv_device_host *host)
{
	struct pv_worker_client_status worker;

	if (!host->worker)
		return host->vulkan != NULL;
	pv_device_worker_status(host->worker, &worker);
	return worker.device[0] != '\0';
}

enum pv_status pv_device_renderer_create(const struct pv_device_renderer_params *params, struct pv_renderer **out,
					 struct pv_device_host *out_host)
{
	bool chosen = params->names != NULL;
	struct pv_device_renderer_names names = {.venus = *params->window_bytes != 0};
	struct pv_renderer *plain = NULL, *children[2];
	struct pv_device_host host = {0};
	enum pv_status status;
	size_t count = 0;

	if (chosen && pv_device_renderer_names(params->names, &names) != PV_OK)
		return PV_ERR_ARGUMENT;
	if (names.venus && *params->window_bytes == 0) {
		pv_log(PV_LOG_ERROR, MODULE, "renderer venus needs a window: --window=SIZE");
		return PV_ERR_ARGUMENT;
	}
	status = pv_render2d_create(&plain);
	if (status == PV_OK)
		status = create_3d(params, chosen, names, children, &count, &host);
	if (status != PV_OK) {
		while (count > 0)
			pv_renderer_destroy(children[--count]);
		pv_renderer_destroy(plain);
		pv_device_host_finish(&host);
		return status;
	}
	if (*params->window_bytes == PV_DEVICE_WINDOW_AUTO)
		*params->window_bytes = has_vulkan(&host) ? usual_window_bytes() : 0;
	if (count == 0) {
		*out = plain;
	} else {
		status = pv_mux_create(plain, children, count, out);
		if (status != PV_OK) {
			pv_device_host_finish(&host);
			return status;
		}
	}
	*params->max_host_bytes = max_host_bytes(params, (*out)->ops->transfer_3d != NULL);
	*out_host = host;
	return PV_OK;
}

void pv_device_host_finish(struct pv_device_host *host)
{
	pv_device_vulkan_destroy(host->vulkan);
	pv_device_worker_destroy(host->worker);
	*host = (struct pv_device_host){0};
}

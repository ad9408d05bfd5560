/* SPDX-License-Identifier: MIT */
/* Both ends of a worker, with the renderers of this build. */
#include "pv/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "device/renderers.h"
#include "worker/process.h"
#include "worker/server.h"

/* ---- In the worker ---- */

struct maker {
	struct pv_loop *loop;
	struct pv_device_host host;
};

static void copy_name(char to[PV_WORKER_NAME_BYTES], const char *from)
{
	memcpy(to, from, strnlen(from, PV_WORKER_NAME_BYTES - 1));
}

static const char *given(const char *text)
{
	return text[0] ? text : NULL;
}

static enum pv_status make(void *user, const struct pv_worker_hello *hello, struct pv_renderer **out,
			   struct pv_worker_ready *out_ready)
{
	struct maker *maker = user;
	uint64_t window_bytes = hello->has_window ? 1 : 0, max_host_bytes = hello->max_host_bytes;
	const struct pv_device_renderer_params params = {
	    .loop = maker->loop,
	    .names = given(hello->renderers),
	    .vulkan_device = given(hello->vulkan_device),
	    .render_node = given(hello->render_node),
	    .emulate_portability = hello->emulate_portability,
	    .use_guest_vram = hello->use_guest_vram,
	    .with_dma_bufs = hello->with_dma_bufs,
	    .window_bytes = &window_bytes,
	    .max_host_bytes = &max_host_bytes,
	};
	enum pv_status status;

	pv_log_set_level((enum pv_log_level)hello->log_level);
	status = pv_device_renderer_create(&params, out, &maker->host);
	if (status != PV_OK)
		return status;
	if (!(*out)->ops->capset_info) {
		pv_renderer_destroy(*out);
		*out = NULL;
		return PV_ERR_UNSUPPORTED;
	}
	out_ready->has_opengl = (*out)->ops->transfer_3d != NULL;
	/* Textures have a guest backing; what Vulkan draws in lies in the window. */
	out_ready->wants_memory = out_ready->has_opengl;
	if (maker->host.vulkan) {
		copy_name(out_ready->device, pv_device_vulkan_device(maker->host.vulkan));
		copy_name(out_ready->driver, pv_device_vulkan_driver(maker->host.vulkan));
	}
	return PV_OK;
}

enum pv_status pv_worker_run(void)
{
	struct maker maker = {0};
	enum pv_status status;

	pv_worker_child_prepare();
	status = pv_loop_create(&maker.loop);
	if (status != PV_OK)
		return status;
	status = pv_worker_serve(maker.loop, PV_WORKER_FD, &(struct pv_worker_maker){.make = make, .user = &maker});
	pv_device_host_finish(&maker.host);
	pv_loop_destroy(maker.loop);
	return status;
}

/* ---- In the device ---- */

struct pv_device_worker {
	struct pv_worker_launcher launcher;
	struct pv_renderer *client;
};

static enum pv_log_level log_level(void)
{
	enum pv_log_level level = PV_LOG_DEBUG;

	while (level > PV_LOG_ERROR && !pv_log_enabled(level))
		level--;
	return level;
}

/* Whether it fits. */
static bool copy_given(char to[PV_WORKER_NAME_BYTES], const char *from)
{
	if (!from)
		return true;
	copy_name(to, from);
	return strlen(from) < PV_WORKER_NAME_BYTES;
}

enum pv_status pv_device_worker_create(const struct pv_device_renderer_params *params, struct pv_renderer **out,
				       struct pv_device_worker **out_worker)
{
	struct pv_worker_client_params client = {
	    .loop = params->loop,
	    .hello = {.log_level = log_level(),
		      .emulate_portability = params->emulate_portability,
		      .use_guest_vram = params->use_guest_vram,
		      .with_dma_bufs = params->with_dma_bufs,
		      .has_window = *params->window_bytes != 0,
		      .max_host_bytes = *params->max_host_bytes},
	};
	struct pv_device_worker *worker;
	enum pv_status status;

	if (!copy_given(client.hello.renderers, params->names) ||
	    !copy_given(client.hello.vulkan_device, params->vulkan_device) ||
	    !copy_given(client.hello.render_node, params->render_node))
		return PV_ERR_ARGUMENT;
	worker = calloc(1, sizeof(*worker));
	if (!worker)
		return PV_ERR_NO_MEMORY;
	status = pv_worker_launcher_init(&worker->launcher, params->worker_program, params->loop);
	client.launcher = worker->launcher;
	if (status == PV_OK)
		status = pv_worker_client_create(&client, &worker->client);
	if (status != PV_OK) {
		pv_device_worker_destroy(worker);
		return status;
	}
	*out = worker->client;
	*out_worker = worker;
	return PV_OK;
}

void pv_device_worker_destroy(struct pv_device_worker *worker)
{
	if (worker)
		pv_worker_launcher_finish(&worker->launcher);
	free(worker);
}

void pv_device_worker_status(const struct pv_device_worker *worker, struct pv_worker_client_status *out)
{
	pv_worker_client_status(worker->client, out);
}

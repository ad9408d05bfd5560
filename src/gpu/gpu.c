/* SPDX-License-Identifier: MIT */
#include "gpu/gpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/socket.h"
#include "gpu/gpu_internal.h"

#define DEFAULT_MAX_HOST_BYTES (512ull << 20)
#define WINDOW_ALIGN           (2ull << 20)

#define OFFERED_FEATURES                                                                                               \
	(PV_VIRTIO_F_VERSION_1 | PV_VIRTIO_RING_F_INDIRECT_DESC | PV_VIRTIO_RING_F_EVENT_IDX | 1ull << PV_GPU_F_EDID | \
	 1ull << PV_GPU_F_RESOURCE_UUID | 1ull << PV_GPU_F_RESOURCE_BLOB)

enum pv_status pv_gpu_create(const struct pv_gpu_params *params, struct pv_gpu **out)
{
	enum pv_status status = PV_ERR_ARGUMENT;
	struct pv_gpu *gpu = NULL;

	if (params->nr_outputs == 0 || params->nr_outputs > PV_GPU_MAX_SCANOUTS ||
	    params->window_bytes % WINDOW_ALIGN != 0)
		goto fail;
	status = PV_ERR_NO_MEMORY;
	gpu = calloc(1, sizeof(*gpu));
	if (!gpu)
		goto fail;
	gpu->loop = params->loop;
	gpu->window_fd = -1;
	gpu->resume.run = pv_gpu_resume;
	gpu->config.num_scanouts = params->nr_outputs;
	gpu->max_host_bytes = params->max_host_bytes ? params->max_host_bytes : DEFAULT_MAX_HOST_BYTES;
	status = pv_gpu_update_outputs(gpu, params->outputs, params->nr_outputs);
	if (status != PV_OK)
		goto fail;
	if (params->window_bytes > 0) {
		status = pv_shm_create("pv-window", params->window_bytes, &gpu->window_fd);
		if (status != PV_OK)
			goto fail;
		gpu->window_bytes = params->window_bytes;
	}
	gpu->renderer = params->take_renderer;
	gpu->renderer->events = (struct pv_renderer_events){
	    .op_done = pv_gpu_op_done, .fence_signalled = pv_gpu_fence_signalled, .user = gpu};
	*out = gpu;
	return PV_OK;

fail:
	pv_renderer_destroy(params->take_renderer);
	if (gpu)
		pv_fd_close(&gpu->window_fd);
	free(gpu);
	return status;
}

void pv_gpu_destroy(struct pv_gpu *gpu)
{
	if (!gpu)
		return;
	gpu->transport = NULL;
	pv_gpu_reset(gpu);
	while (gpu->displays)
		pv_gpu_remove_display(gpu, gpu->displays);
	pv_loop_cancel(gpu->loop, &gpu->resume);
	pv_renderer_destroy(gpu->renderer);
	pv_id_map_finish(&gpu->resources);
	pv_guest_map_unref(gpu->map);
	pv_fd_close(&gpu->window_fd);
	free(gpu);
}

void pv_gpu_set_transport(struct pv_gpu *gpu, const struct pv_gpu_transport_ops *ops, void *user)
{
	gpu->transport = ops;
	gpu->transport_user = user;
}

uint64_t pv_gpu_features(const struct pv_gpu *gpu)
{
	(void)gpu;
	return OFFERED_FEATURES;
}

enum pv_status pv_gpu_set_driver_features(struct pv_gpu *gpu, uint64_t features)
{
	uint64_t unknown = features & ~pv_gpu_features(gpu);

	if (unknown) {
		PV_LOG_LIMITED(PV_LOG_ERROR, "gpu", "the driver chose features that were not offered: 0x%llx",
			       (unsigned long long)unknown);
		return PV_ERR_GUEST;
	}
	gpu->driver_features = features;
	return PV_OK;
}

void pv_gpu_config_read(const struct pv_gpu *gpu, uint32_t offset, void *buf, size_t len)
{
	memset(buf, 0, len);
	if (offset >= sizeof(gpu->config))
		return;
	memcpy(buf, (const uint8_t *)&gpu->config + offset, pv_min_u64(len, sizeof(gpu->config) - offset));
}

void pv_gpu_config_write(struct pv_gpu *gpu, uint32_t offset, const void *buf, size_t len)
{
	uint32_t clear = 0, at = offsetof(struct pv_gpu_config, events_clear);

	/* A driver may write all of the space in one go; the only writable field lies inside. */
	if (offset > at || !pv_range_fits(at - offset, sizeof(clear), len))
		return;
	memcpy(&clear, (const uint8_t *)buf + (at - offset), sizeof(clear));
	gpu->config.events_read &= ~clear;
}

void pv_gpu_set_guest_map(struct pv_gpu *gpu, struct pv_guest_map *map)
{
	if (map)
		pv_guest_map_ref(map);
	pv_guest_map_unref(gpu->map);
	gpu->map = map;
	gpu->renderer->ops->set_guest_map(gpu->renderer, map);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		if (pv_virtq_remap(&gpu->queues[i].virtq, map) != PV_OK)
			gpu->stats.queue_broken[i] = true;
}

void pv_gpu_reset(struct pv_gpu *gpu)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		(void)pv_gpu_queue_stop(gpu, i);
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		pv_gpu_disable_scanout(gpu, i);
	pv_gpu_hide_cursor(gpu);
	pv_gpu_destroy_all_resources(gpu);
	gpu->renderer->ops->reset(gpu->renderer);
	gpu->driver_features = 0;
	gpu->config.events_read = 0;
	gpu->stats.resets++;
}

int pv_gpu_window_fd(const struct pv_gpu *gpu)
{
	return gpu->window_fd;
}

uint64_t pv_gpu_window_bytes(const struct pv_gpu *gpu)
{
	return gpu->window_bytes;
}

void pv_gpu_get_stats(const struct pv_gpu *gpu, struct pv_gpu_stats *out)
{
	*out = gpu->stats;
	out->resources = gpu->resources.count;
	out->host_bytes = gpu->host_bytes;
	out->max_host_bytes = gpu->max_host_bytes;
	out->driver_features = gpu->driver_features;
	out->renderer = gpu->renderer->ops->name;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		const struct pv_gpu_scanout *scanout = &gpu->scanouts[i];

		out->scanouts[i] = (struct pv_gpu_scanout_stats){.active = scanout->frame != NULL,
								 .width = scanout->rect.width,
								 .height = scanout->rect.height,
								 .resource_id = scanout->resource_id,
								 .format = scanout->frame ? scanout->frame->format : 0,
								 .flushes = scanout->flushes};
	}
}

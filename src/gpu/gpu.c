/* SPDX-License-Identifier: MIT */
#include "gpu/gpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "gpu/gpu_internal.h"

#define WINDOW_ALIGN (2ull << 20)

#define FEATURES_OF_2D                                                                                                 \
	(PV_VIRTIO_F_VERSION_1 | PV_VIRTIO_RING_F_INDIRECT_DESC | PV_VIRTIO_RING_F_EVENT_IDX | 1ull << PV_GPU_F_EDID | \
	 1ull << PV_GPU_F_RESOURCE_UUID | 1ull << PV_GPU_F_RESOURCE_BLOB)

bool pv_gpu_find_capset(const struct pv_gpu *gpu, uint32_t index, struct pv_capset_info *out)
{
	if (!gpu->has_3d)
		return false;
	for (uint32_t i = 0; gpu->renderer->ops->capset_info(gpu->renderer, i, out); i++)
		if (!(out->needs_window && gpu->window_hidden) && index-- == 0)
			return true;
	return false;
}

static uint32_t count_capsets(const struct pv_gpu *gpu)
{
	struct pv_capset_info info;
	uint32_t n = 0;

	while (pv_gpu_find_capset(gpu, n, &info))
		n++;
	return n;
}

static enum pv_status set_up_3d(struct pv_gpu *gpu)
{
	const struct pv_renderer_ops *ops = gpu->renderer->ops;
	struct pv_capset_info info;

	gpu->has_3d = ops->context_create != NULL;
	if (!gpu->has_3d)
		return PV_OK;
	gpu->submit_scratch = malloc(PV_GPU_SUBMIT_SCRATCH_BYTES);
	if (!gpu->submit_scratch)
		return PV_ERR_NO_MEMORY;
	if (ops->set_window && gpu->window.size_bytes > 0) {
		enum pv_status status = ops->set_window(gpu->renderer, gpu->window.fd, gpu->window.size_bytes);

		if (status != PV_OK)
			return status;
	}
	for (uint32_t i = 0; ops->capset_info(gpu->renderer, i, &info); i++)
		if (PV_NEVER(info.id == 0 || info.max_size_bytes > PV_GPU_MAX_CAPSET_BYTES))
			return PV_ERR_ARGUMENT;
	gpu->config.num_capsets = count_capsets(gpu);
	if (pv_page_bytes() > PV_WINDOW_PAGE_BYTES)
		gpu->config.blob_alignment = (uint32_t)pv_page_bytes();
	return PV_OK;
}

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
	gpu->resume.run = pv_gpu_resume;
	gpu->config.num_scanouts = params->nr_outputs;
	gpu->max_host_bytes = params->max_host_bytes ? params->max_host_bytes : PV_GPU_DEFAULT_HOST_BYTES;
	status = pv_gpu_update_outputs(gpu, params->outputs, params->nr_outputs);
	if (status != PV_OK)
		goto fail;
	status = pv_window_init(&gpu->window, params->window_bytes);
	if (status != PV_OK)
		goto fail;
	gpu->renderer = params->take_renderer;
	gpu->renderer->events = (struct pv_renderer_events){.op_done = pv_gpu_op_done,
							    .fence_signalled = pv_gpu_fence_signalled,
							    .lost = pv_gpu_renderer_lost,
							    .user = gpu};
	status = set_up_3d(gpu);
	if (status != PV_OK)
		goto fail;
	*out = gpu;
	return PV_OK;

fail:
	pv_renderer_destroy(params->take_renderer);
	if (gpu) {
		pv_window_finish(&gpu->window);
		free(gpu->submit_scratch);
	}
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
	pv_id_map_finish(&gpu->contexts);
	pv_guest_map_unref(gpu->map);
	pv_window_finish(&gpu->window);
	free(gpu->submit_scratch);
	free(gpu);
}

void pv_gpu_set_transport(struct pv_gpu *gpu, const struct pv_gpu_transport_ops *ops, void *user)
{
	gpu->transport = ops;
	gpu->transport_user = user;
}

uint64_t pv_gpu_features(const struct pv_gpu *gpu)
{
	return FEATURES_OF_2D | pv_gpu_features_of_3d(gpu);
}

uint64_t pv_gpu_features_of_3d(const struct pv_gpu *gpu)
{
	if (!gpu->has_3d)
		return 0;
	return 1ull << PV_GPU_F_VIRGL | 1ull << PV_GPU_F_CONTEXT_INIT |
	       (gpu->config.blob_alignment ? 1ull << PV_GPU_F_BLOB_ALIGNMENT : 0);
}

uint64_t pv_gpu_features_of_window(const struct pv_gpu *gpu)
{
	return gpu->renderer->ops->transfer_3d ? 0 : pv_gpu_features_of_3d(gpu);
}

void pv_gpu_show_window(struct pv_gpu *gpu, bool shown)
{
	uint32_t before = gpu->config.num_capsets;

	gpu->window_hidden = !shown;
	gpu->config.num_capsets = count_capsets(gpu);
	if (gpu->config.num_capsets < before)
		pv_log(PV_LOG_WARNING, "gpu",
		       "the VMM shows its guest no host-visible window: the guest is not offered Vulkan");
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
		pv_gpu_queue_drop(gpu, i);
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		pv_gpu_disable_scanout(gpu, i);
	pv_gpu_hide_cursor(gpu);
	pv_gpu_destroy_all_contexts(gpu);
	pv_gpu_destroy_all_resources(gpu);
	gpu->renderer->ops->reset(gpu->renderer);
	gpu->driver_features = 0;
	gpu->config.events_read = 0;
	gpu->stats.resets++;
}

int pv_gpu_window_fd(const struct pv_gpu *gpu)
{
	return gpu->window.fd;
}

uint64_t pv_gpu_window_bytes(const struct pv_gpu *gpu)
{
	return gpu->window.size_bytes;
}

void pv_gpu_get_stats(const struct pv_gpu *gpu, struct pv_gpu_stats *out)
{
	*out = gpu->stats;
	out->resources = gpu->resources.count;
	out->host_bytes = gpu->host_bytes;
	out->max_host_bytes = gpu->max_host_bytes;
	out->contexts = gpu->contexts.count;
	out->window_used_bytes = gpu->window.used_bytes;
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

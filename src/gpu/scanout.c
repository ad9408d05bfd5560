/* SPDX-License-Identifier: MIT */
/* Heads, what they show, the cursor, and the displays that are told. */
#include "base/log.h"
#include "gpu/edid.h"
#include "gpu/gpu_internal.h"

static struct pv_rect whole_scanout(const struct pv_gpu_scanout *scanout)
{
	return (struct pv_rect){.width = scanout->rect.width, .height = scanout->rect.height};
}

static void damage_all(struct pv_gpu *gpu, uint32_t scanout_id)
{
	struct pv_rect whole = whole_scanout(&gpu->scanouts[scanout_id]);

	for (struct pv_display *d = gpu->displays; d; d = d->next)
		d->ops->damage(d, scanout_id, &whole);
}

void pv_gpu_set_scanout(struct pv_gpu *gpu, uint32_t scanout_id, uint32_t resource_id, struct pv_frame *take_frame,
			const struct pv_rect *rect)
{
	struct pv_gpu_scanout *scanout = &gpu->scanouts[scanout_id];

	pv_frame_unref(scanout->frame);
	scanout->frame = take_frame;
	scanout->resource_id = resource_id;
	scanout->rect = *rect;
	for (struct pv_display *d = gpu->displays; d; d = d->next)
		d->ops->set_scanout(d, scanout_id, take_frame, rect);
	damage_all(gpu, scanout_id);
}

void pv_gpu_disable_scanout(struct pv_gpu *gpu, uint32_t scanout_id)
{
	struct pv_gpu_scanout *scanout = &gpu->scanouts[scanout_id];

	if (!scanout->frame)
		return;
	/* The last picture, while its guest memory is still there: displays may keep it. */
	pv_frame_refresh(scanout->frame);
	for (struct pv_display *d = gpu->displays; d; d = d->next)
		d->ops->set_scanout(d, scanout_id, NULL, &(struct pv_rect){0});
	pv_frame_unref(scanout->frame);
	scanout->frame = NULL;
	scanout->resource_id = 0;
	scanout->rect = (struct pv_rect){0};
}

void pv_gpu_hide_resource(struct pv_gpu *gpu, uint32_t resource_id)
{
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (gpu->scanouts[i].resource_id == resource_id)
			pv_gpu_disable_scanout(gpu, i);
}

bool pv_gpu_resource_is_shown(const struct pv_gpu *gpu, uint32_t resource_id)
{
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		if (gpu->scanouts[i].resource_id == resource_id)
			return true;
	return false;
}

void pv_gpu_flush_scanouts(struct pv_gpu *gpu, uint32_t resource_id, const struct pv_rect *rect)
{
	for (uint32_t i = 0; i < gpu->nr_outputs; i++) {
		struct pv_gpu_scanout *scanout = &gpu->scanouts[i];

		if (scanout->resource_id != resource_id)
			continue;
		struct pv_rect part = pv_rect_intersect(rect, &scanout->rect);
		if (pv_rect_is_empty(&part))
			continue;
		scanout->flushes++;
		part.x -= scanout->rect.x;
		part.y -= scanout->rect.y;
		for (struct pv_display *d = gpu->displays; d; d = d->next)
			d->ops->damage(d, i, &part);
	}
}

void pv_gpu_show_cursor_image(struct pv_gpu *gpu)
{
	for (struct pv_display *d = gpu->displays; d; d = d->next)
		if (d->ops->set_cursor)
			d->ops->set_cursor(d, &gpu->cursor);
}

void pv_gpu_show_cursor_position(struct pv_gpu *gpu)
{
	for (struct pv_display *d = gpu->displays; d; d = d->next)
		if (d->ops->move_cursor)
			d->ops->move_cursor(d, &gpu->cursor);
}

void pv_gpu_hide_cursor(struct pv_gpu *gpu)
{
	if (!gpu->cursor.visible)
		return;
	gpu->cursor.visible = false;
	pv_gpu_show_cursor_image(gpu);
}

void pv_gpu_add_display(struct pv_gpu *gpu, struct pv_display *take_display)
{
	struct pv_display **link = &gpu->displays;

	while (*link)
		link = &(*link)->next;
	take_display->next = NULL;
	*link = take_display;

	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		struct pv_gpu_scanout *scanout = &gpu->scanouts[i];

		if (!scanout->frame)
			continue;
		struct pv_rect whole = whole_scanout(scanout);
		take_display->ops->set_scanout(take_display, i, scanout->frame, &scanout->rect);
		take_display->ops->damage(take_display, i, &whole);
	}
	if (gpu->cursor.visible && take_display->ops->set_cursor)
		take_display->ops->set_cursor(take_display, &gpu->cursor);
}

void pv_gpu_remove_display(struct pv_gpu *gpu, struct pv_display *display)
{
	for (struct pv_display **link = &gpu->displays; *link; link = &(*link)->next) {
		if (*link != display)
			continue;
		*link = display->next;
		pv_display_destroy(display);
		/* It may have been asked and can answer no more. */
		pv_gpu_outputs_queried(gpu);
		return;
	}
}

uint32_t pv_gpu_nr_outputs(const struct pv_gpu *gpu)
{
	return gpu->nr_outputs;
}

const struct pv_output *pv_gpu_output(const struct pv_gpu *gpu, uint32_t index)
{
	return index < gpu->nr_outputs ? &gpu->outputs[index] : NULL;
}

static bool outputs_are_valid(const struct pv_output *outputs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (outputs[i].enabled && (outputs[i].width == 0 || outputs[i].width > PV_FRAME_MAX_SIDE ||
					   outputs[i].height == 0 || outputs[i].height > PV_FRAME_MAX_SIDE))
			return false;
	return true;
}

enum pv_status pv_gpu_update_outputs(struct pv_gpu *gpu, const struct pv_output *outputs, uint32_t n)
{
	if (n > PV_GPU_MAX_SCANOUTS || !outputs_are_valid(outputs, n))
		return PV_ERR_ARGUMENT;
	for (uint32_t i = 0; i < n; i++)
		gpu->outputs[i] = outputs[i];
	if (n > gpu->nr_outputs)
		gpu->nr_outputs = n;
	return PV_OK;
}

enum pv_status pv_gpu_set_outputs(struct pv_gpu *gpu, const struct pv_output *outputs, uint32_t n)
{
	if (n > gpu->nr_outputs)
		return PV_ERR_ARGUMENT;
	enum pv_status status = pv_gpu_update_outputs(gpu, outputs, n);
	if (status != PV_OK)
		return status;
	gpu->config.events_read |= PV_GPU_EVENT_DISPLAY;
	if (gpu->transport && gpu->transport->config_changed)
		gpu->transport->config_changed(gpu->transport_user);
	return PV_OK;
}

bool pv_gpu_query_outputs(struct pv_gpu *gpu)
{
	for (struct pv_display *d = gpu->displays; d; d = d->next) {
		if (!d->ops->query_outputs)
			continue;
		gpu->outputs_queried = false;
		d->ops->query_outputs(d);
		return !gpu->outputs_queried;
	}
	return false;
}

static void fill_display_info(const struct pv_gpu *gpu, struct pv_gpu_response *response)
{
	response->type = PV_GPU_RESP_OK_DISPLAY_INFO;
	response->payload_len = sizeof(response->display_info);
	response->display_info = (struct pv_gpu_resp_display_info){0};
	for (uint32_t i = 0; i < gpu->nr_outputs; i++) {
		const struct pv_output *o = &gpu->outputs[i];

		response->display_info.pmodes[i].enabled = o->enabled;
		response->display_info.pmodes[i].r =
		    (struct pv_gpu_wire_rect){.x = o->x, .y = o->y, .width = o->width, .height = o->height};
	}
}

static void fill_edid(const struct pv_gpu *gpu, uint32_t scanout_id, struct pv_gpu_response *response)
{
	if (scanout_id >= gpu->nr_outputs) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "there is no scanout %u, only %u", scanout_id, gpu->nr_outputs);
		response->type = PV_GPU_RESP_ERR_INVALID_SCANOUT_ID;
		return;
	}
	response->type = PV_GPU_RESP_OK_EDID;
	response->payload_len = sizeof(response->edid);
	response->edid = (struct pv_gpu_resp_edid){0};
	response->edid.size = (uint32_t)pv_edid_write(&gpu->outputs[scanout_id], scanout_id, response->edid.edid);
}

void pv_gpu_fill_from_outputs(const struct pv_gpu *gpu, const struct pv_gpu_request *request,
			      struct pv_gpu_response *response)
{
	if (request->hdr.type == PV_GPU_CMD_GET_EDID)
		fill_edid(gpu, request->scanout_id, response);
	else
		fill_display_info(gpu, response);
}

void pv_gpu_outputs_queried(struct pv_gpu *gpu)
{
	gpu->outputs_queried = true;
	while (gpu->waiting_for_outputs) {
		struct pv_gpu_request *request = gpu->waiting_for_outputs;
		struct pv_gpu_response response = {.payload_len = 0};

		gpu->waiting_for_outputs = request->next;
		pv_gpu_fill_from_outputs(gpu, request, &response);
		pv_gpu_finish_request(gpu, request, &response);
	}
}

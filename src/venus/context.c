/* SPDX-License-Identifier: MIT */
#include "venus/context.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "venus/control.h"
#include "venus/generated/commands.h"
#include "venus/ring.h"

/* What one command's decoded arguments may take. Large data stays in the stream and is not counted. */
#define MAX_ARENA_BYTES (UINT64_C(256) << 20)

enum pv_status pv_venus_context_create(const struct pv_venus_context_params *params, struct pv_venus_context **out)
{
	struct pv_venus_context *context = calloc(1, sizeof(*context));
	enum pv_status status;

	if (!context)
		return PV_ERR_NO_MEMORY;
	status = pv_venus_object_table_create(&context->objects);
	if (status == PV_OK)
		status = pv_venus_control_create(context, &context->control);
	if (status != PV_OK) {
		pv_venus_object_table_destroy(context->objects);
		free(context);
		return status;
	}
	context->id = params->id;
	(void)snprintf(context->name, sizeof(context->name), "%s", params->name);
	context->execute = params->execute;
	context->mailbox = params->mailbox;
	context->renderer = params->renderer;
	context->monitor = params->monitor;
	context->memory = params->memory;
	pv_mutex_init(&context->resources_lock);
	pv_mutex_init(&context->rings_lock);
	pv_mutex_init(&context->timelines_lock);
	pv_mutex_init(&context->vulkan_lock);
	if (params->host_device)
		pv_venus_context_init_vulkan(context, params->host_device);
	*out = context;
	return PV_OK;
}

void pv_venus_context_release(struct pv_venus_context *context)
{
	(void)pv_venus_context_lose(context);
	/* No lock: rings come and go on the device thread only, which has given the context up. */
	while (context->rings)
		pv_venus_ring_destroy(context->rings);
	if (context->host_device)
		pv_venus_context_release_vulkan(context);
	for (uint32_t i = 0; i < context->resources.capacity; i++)
		if (context->resources.slots[i].id)
			pv_venus_resource_unref(context->resources.slots[i].value);
	pv_id_map_finish(&context->resources);
	context->resources = (struct pv_id_map){0};
}

void pv_venus_context_free(struct pv_venus_context *context)
{
	if (!context)
		return;
	pv_venus_control_free(context->control);
	pv_id_map_finish(&context->resources);
	pv_venus_object_table_destroy(context->objects);
	pv_mutex_finish(&context->vulkan_lock);
	pv_mutex_finish(&context->timelines_lock);
	pv_mutex_finish(&context->rings_lock);
	pv_mutex_finish(&context->resources_lock);
	free(context);
}

bool pv_venus_context_lose(struct pv_venus_context *context)
{
	/* Release: a ring that sees it sees why. */
	if (atomic_exchange_explicit(&context->lost, true, memory_order_acq_rel))
		return false;
	pv_mutex_lock(&context->rings_lock);
	for (struct pv_venus_ring *ring = context->rings; ring; ring = ring->next) {
		pv_venus_ring_set_status(ring, PV_VENUS_RING_FATAL);
		pv_condition_signal(&ring->wake);
	}
	pv_mutex_unlock(&context->rings_lock);
	pv_venus_control_wake(context->control);
	return true;
}

void pv_venus_context_fail(struct pv_venus_decoder *decoder)
{
	struct pv_venus_context *context = decoder->context;
	char where[40] = "control stream";

	if (!pv_venus_context_lose(context))
		return;
	if (decoder->ring)
		(void)snprintf(where, sizeof(where), "ring 0x%llx", (unsigned long long)decoder->ring->id);
	PV_LOG_LIMITED(PV_LOG_WARNING, "venus", "context %u (%s), %s%s: %s: %s: %s (0x%llx); the context is lost",
		       context->id, context->name, where, decoder->nested ? ", nested" : "",
		       pv_venus_command_name(decoder->command_type), decoder->failed_field, decoder->failed_reason,
		       (unsigned long long)decoder->failed_value);
}

void pv_venus_decoder_init(struct pv_venus_decoder *decoder, struct pv_venus_context *context,
			   struct pv_venus_ring *ring)
{
	decoder->context = context;
	decoder->objects = context->objects;
	decoder->ring = ring;
	decoder->arena.max_bytes = MAX_ARENA_BYTES;
}

void pv_venus_decoder_finish(struct pv_venus_decoder *decoder)
{
	pv_venus_resource_unref(decoder->reply.resource);
	decoder->reply = (struct pv_venus_reply){0};
	pv_arena_finish(&decoder->arena);
}

/* ---- Resources ---- */

enum pv_status pv_venus_context_attach(struct pv_venus_context *context, uint32_t id,
				       struct pv_venus_resource *take_resource)
{
	enum pv_status status = PV_OK;
	bool kept = false;

	pv_mutex_lock(&context->resources_lock);
	if (!pv_id_map_get(&context->resources, id)) {
		status = pv_id_map_add(&context->resources, id, take_resource);
		kept = status == PV_OK;
	}
	pv_mutex_unlock(&context->resources_lock);
	if (!kept)
		pv_venus_resource_unref(take_resource);
	return status;
}

void pv_venus_context_detach(struct pv_venus_context *context, uint32_t id)
{
	struct pv_venus_resource *resource;

	pv_mutex_lock(&context->resources_lock);
	resource = pv_id_map_remove(&context->resources, id);
	pv_mutex_unlock(&context->resources_lock);
	pv_venus_resource_unref(resource);
}

struct pv_venus_resource *pv_venus_context_resource(struct pv_venus_context *context, uint32_t id)
{
	struct pv_venus_resource *resource;

	pv_mutex_lock(&context->resources_lock);
	resource = pv_id_map_get(&context->resources, id);
	if (resource)
		pv_venus_resource_ref(resource);
	pv_mutex_unlock(&context->resources_lock);
	return resource;
}

struct pv_venus_resource *pv_venus_shared_range(struct pv_venus_decoder *decoder, uint32_t id, uint64_t offset,
						uint64_t size, const char *what)
{
	struct pv_venus_resource *resource = pv_venus_context_resource(decoder->context, id);

	if (resource && resource->bytes && resource->kind == PV_VENUS_RESOURCE_SHM &&
	    pv_range_fits(offset, size, resource->size_bytes))
		return resource;
	if (resource && resource->bytes && resource->kind == PV_VENUS_RESOURCE_SHM)
		pv_venus_fail(decoder, what, "its range is not inside the resource", offset);
	else
		pv_venus_fail(decoder, what, "its resource is no shared memory of the context", id);
	pv_venus_resource_unref(resource);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * OpenGL by the older half of the protocol, version 2 and later. A client's first command of this kind makes its
 * context if CONTEXT_INIT did not. A texture's pixels pass through shared memory of ours that the client maps.
 *
 * Up to version 2 clients choose the ids of their resources, and their command buffers have them inside, out of our
 * reach: two such clients can have the same renderer only one after the other. Who serves more gives each a process.
 */
#include "transport/vtest/opengl.h"

#include <string.h>

#include "base/log.h"
#include "base/socket.h"
#include "transport/vtest/submit.h"

#define NO_WAIT    0u
#define CAPSET_GL  1u
#define CAPSET_GL2 2u

#define FAULT(client, message, ...) pv_vtest_client_fault(client, (message)->handler->name, __VA_ARGS__)

static uint32_t word(const struct pv_vtest_message *message, size_t index)
{
	uint32_t value;

	memcpy(&value, message->payload + 4 * index, sizeof(value));
	return value;
}

/*
 * What an op that nobody waits for says. The connection of one that loses its context is closed, which ends the
 * program: virpipe has no other way to learn of it, and would go on with black pictures.
 */
static enum pv_status expect(struct pv_vtest_client *client, const struct pv_vtest_message *message,
			     enum pv_status status)
{
	if (status == PV_OK || status == PV_PENDING)
		return PV_OK;
	return FAULT(client, message, "its context is lost: %s", pv_status_string(status));
}

static enum pv_status need_context(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_renderer *renderer = client->vtest->renderer;

	if (!renderer->ops->transfer_3d || !renderer->ops->attach_file)
		return FAULT(client, message, "there is no OpenGL here");
	if (client->version < PV_VTEST_VERSION_SHM)
		return FAULT(client, message, "version %u of the protocol, OpenGL needs %d", client->version,
			     PV_VTEST_VERSION_SHM);
	if (client->lost)
		return FAULT(client, message, "its context is lost");
	if (client->has_context)
		return PV_OK;
	client->has_context = client->context_made = true;
	enum pv_status status = renderer->ops->context_create(renderer, pv_vtest_client_op_id(client), client->number,
							      CAPSET_GL2, client->name);
	client->context_made = status == PV_OK || status == PV_PENDING;
	return expect(client, message, status);
}

static bool find_capset(struct pv_renderer *renderer, uint32_t id, struct pv_capset_info *out)
{
	for (uint32_t i = 0; renderer->ops->capset_info(renderer, i, out); i++) {
		if (out->id == id)
			return true;
	}
	return false;
}

/* The length of such an answer counts bytes, and one too many. */
enum pv_status pv_vtest_get_caps(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	uint32_t id = message->handler->command == PV_VTEST_GET_CAPS2 ? CAPSET_GL2 : CAPSET_GL;
	struct pv_capset_info info;
	uint8_t *reply;

	if (!find_capset(renderer, id, &info))
		return FAULT(client, message, "there is no OpenGL here");
	const uint32_t header[2] = {info.max_size_bytes + 1, id};
	size_t len = info.max_size_bytes;
	reply = pv_vtest_client_reserve(client, sizeof(header) + len);
	if (!reply)
		return PV_ERR_NO_MEMORY;
	memcpy(reply, header, sizeof(header));
	memset(reply + sizeof(header), 0, len);
	return renderer->ops->capset(renderer, id, info.max_version ? 1 : 0, reply + sizeof(header), &len);
}

/* ---- Resources ---- */

/* Gives the resource shared memory, which the client gets as well. */
static enum pv_status share(struct pv_vtest_client *client, const struct pv_vtest_message *message,
			    struct pv_vtest_resource *resource)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	enum pv_status status;
	int fd = -1;

	if (pv_shm_create("pvgpu-texture", resource->size_bytes, &fd) != PV_OK)
		return pv_vtest_client_send_fd(client, client->vtest->null_fd, false);
	pv_shm_keep_size(fd);
	status = expect(client, message,
			renderer->ops->attach_file(renderer, pv_vtest_client_op_id(client), resource->id, fd, 0,
						   resource->size_bytes));
	if (status != PV_OK) {
		pv_fd_close(&fd);
		return status;
	}
	return pv_vtest_client_send_fd(client, fd, true);
}

enum pv_status pv_vtest_resource_create(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	bool shared = message->handler->command == PV_VTEST_RESOURCE_CREATE2;
	uint32_t guest_id = word(message, 0);
	uint64_t size_bytes = shared ? word(message, 10) : 0, total_bytes;
	struct pv_vtest_resource *resource;
	enum pv_status status = need_context(client, message);

	if (status != PV_OK)
		return status;
	if ((guest_id != 0) != (client->version < PV_VTEST_VERSION_BLOBS))
		return FAULT(client, message, "resource id %u in version %u", guest_id, client->version);
	if (guest_id != 0 && pv_id_map_get(&client->vtest->resources, guest_id))
		return FAULT(client, message, "resource id %u is taken", guest_id);
	if (!pv_add_u64(client->resource_bytes, size_bytes, &total_bytes) ||
	    (client->vtest->params.max_client_bytes && total_bytes > client->vtest->params.max_client_bytes))
		return FAULT(client, message, "more memory than one client can have");
	resource = pv_vtest_resource_add(client, guest_id, size_bytes);
	if (!resource)
		return PV_ERR_NO_MEMORY;
	const struct pv_resource_info info = {.id = resource->id,
					      .kind = PV_RESOURCE_3D,
					      .format = word(message, 2),
					      .width = word(message, 4),
					      .height = word(message, 5),
					      .texture = {.target = word(message, 1),
							  .bind = word(message, 3),
							  .depth = word(message, 6),
							  .array_size = word(message, 7),
							  .last_level = word(message, 8),
							  .nr_samples = word(message, 9)}};
	status =
	    expect(client, message, renderer->ops->resource_create(renderer, pv_vtest_client_op_id(client), &info));
	if (status != PV_OK)
		return status;
	resource->dead = false;
	client->resource_bytes = total_bytes;
	status = expect(
	    client, message,
	    renderer->ops->context_attach(renderer, pv_vtest_client_op_id(client), client->number, resource->id));
	if (status == PV_OK && client->version >= PV_VTEST_VERSION_BLOBS)
		status = pv_vtest_client_reply(client, message->handler->command, &resource->id, 1);
	return status == PV_OK && size_bytes > 0 ? share(client, message, resource) : status;
}

enum pv_status pv_vtest_transfer(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	const struct pv_vtest_resource *resource = pv_id_map_get(&client->vtest->resources, word(message, 0));
	const struct pv_transfer_3d transfer = {
	    .resource_id = word(message, 0),
	    .ctx_id = client->number,
	    .level = word(message, 1),
	    .x = word(message, 2),
	    .y = word(message, 3),
	    .z = word(message, 4),
	    .width = word(message, 5),
	    .height = word(message, 6),
	    .depth = word(message, 7),
	    .offset_bytes = word(message, 9),
	    .to_guest = message->handler->command == PV_VTEST_TRANSFER_GET2,
	};
	enum pv_status status = client->op_status;

	if (client->step == 0) {
		status = need_context(client, message);
		if (status != PV_OK)
			return status;
		if (!resource || resource->client != client)
			return FAULT(client, message, "there is no resource %u", transfer.resource_id);
		if (resource->dead)
			return PV_OK;
		client->step = 1;
		status = renderer->ops->transfer_3d(renderer, pv_vtest_client_op_id(client), &transfer);
		if (status == PV_PENDING)
			return PV_PENDING;
	}
	return expect(client, message, status);
}

/* ---- Commands ---- */

enum pv_status pv_vtest_submit_gl(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	struct pv_renderer *renderer = client->vtest->renderer;
	enum pv_status status = need_context(client, message);

	if (status != PV_OK || message->len_bytes == 0)
		return status;
	client->submits++;
	client->submitted_bytes += message->len_bytes;
	client->has_unfenced = true;
	return expect(client, message,
		      renderer->ops->submit(renderer, pv_vtest_client_op_id(client), client->number, message->payload,
					    message->len_bytes));
}

/* Whether a resource is in use: all of the client's commands are looked at. */
enum pv_status pv_vtest_busy_wait(struct pv_vtest_client *client, const struct pv_vtest_message *message)
{
	uint32_t busy;

	if (client->step == 0) {
		client->step = 1;
		if (client->has_unfenced) {
			enum pv_status status = pv_vtest_fence_add(client);

			if (status != PV_OK)
				return status;
			client->has_unfenced = false;
		}
		if (word(message, 1) != NO_WAIT && client->fences) {
			client->waits_for_fences = true;
			return PV_PENDING;
		}
	}
	busy = client->fences != NULL;
	return pv_vtest_client_reply(client, PV_VTEST_RESOURCE_BUSY_WAIT, &busy, 1);
}

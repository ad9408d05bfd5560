/* SPDX-License-Identifier: MIT */
/*
 * Two tables say whose a context and whose a 3D resource is; everything else is the 2D renderer's. A context of a kind
 * that nobody has (a guest that knows no capability sets, and no OpenGL renderer) is made all the same and is the 2D
 * renderer's: Linux makes one for its own console, draws nothing with it and complains if it cannot have it.
 *
 * A blob that comes into an OpenGL context from elsewhere (the window of a Vulkan program, for the desktop to show) is
 * made known to the OpenGL renderer, which then reads it where the guest sees it: in the host-visible window.
 */
#include "mux/mux.h"

#include <stdlib.h>
#include <string.h>

#include "base/id_map.h"
#include "base/log.h"

struct mux {
	struct pv_renderer base;
	struct pv_renderer *plain; /* the 2D one */
	struct pv_renderer *children[PV_MUX_MAX_3D];
	size_t nr_children;
	struct pv_renderer *opengl; /* of the children; NULL: none */
	struct pv_id_map contexts;  /* values are renderers */
	struct pv_id_map resources; /* values are struct resource */
	int window_fd;              /* borrowed; -1: there is none */
};

/* Of a 3D renderer. */
struct resource {
	struct pv_renderer *owner;
	uint64_t size_bytes, window_offset;
	bool mapped;   /* is in the window, or on its way there */
	bool imported; /* the OpenGL renderer knows of it as well */
};

static struct mux *to_mux(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct mux, base);
}

static struct pv_renderer *owner_of_resource(struct mux *mux, uint32_t resource_id)
{
	const struct resource *resource = pv_id_map_get(&mux->resources, resource_id);

	return resource ? resource->owner : mux->plain;
}

static struct pv_renderer *owner_of_context(struct mux *mux, uint32_t ctx_id)
{
	struct pv_renderer *owner = pv_id_map_get(&mux->contexts, ctx_id);

	return owner ? owner : mux->plain;
}

static void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	struct mux *mux = user;

	mux->base.events.op_done(mux->base.events.user, op_id, status);
}

static void fence_signalled(void *user, uint64_t fence_id)
{
	struct mux *mux = user;

	mux->base.events.fence_signalled(mux->base.events.user, fence_id);
}

static void last_word(void *user, uint32_t resource_id, uint64_t offset_bytes, uint32_t bits)
{
	struct mux *mux = user;

	if (mux->base.events.last_word)
		mux->base.events.last_word(mux->base.events.user, resource_id, offset_bytes, bits);
}

static void lost(void *user)
{
	struct mux *mux = user;

	if (mux->base.events.lost)
		mux->base.events.lost(mux->base.events.user);
}

static void forget(struct mux *mux, uint32_t resource_id)
{
	free(pv_id_map_remove(&mux->resources, resource_id));
}

static void forget_all(struct mux *mux)
{
	for (uint32_t i = 0; i < mux->resources.capacity; i++)
		if (mux->resources.slots[i].id != 0)
			free(mux->resources.slots[i].value);
	pv_id_map_finish(&mux->contexts);
	pv_id_map_finish(&mux->resources);
	mux->contexts = mux->resources = (struct pv_id_map){0};
}

static void destroy(struct pv_renderer *renderer)
{
	struct mux *mux = to_mux(renderer);

	for (size_t i = 0; i < mux->nr_children; i++)
		pv_renderer_destroy(mux->children[i]);
	pv_renderer_destroy(mux->plain);
	forget_all(mux);
	free(mux);
}

static void set_guest_map(struct pv_renderer *renderer, struct pv_guest_map *map)
{
	struct mux *mux = to_mux(renderer);

	mux->plain->ops->set_guest_map(mux->plain, map);
	for (size_t i = 0; i < mux->nr_children; i++)
		if (mux->children[i]->ops->set_guest_map)
			mux->children[i]->ops->set_guest_map(mux->children[i], map);
}

/* ---- Resources ---- */

static struct pv_renderer *choose(struct mux *mux, const struct pv_resource_info *info)
{
	switch (info->kind) {
	case PV_RESOURCE_HOST_BLOB:
	case PV_RESOURCE_HOST_GUEST_BLOB:
		return owner_of_context(mux, info->ctx_id);
	case PV_RESOURCE_3D:
		return mux->opengl;
	default:
		return mux->plain;
	}
}

static enum pv_status resource_create(struct pv_renderer *renderer, uint64_t op_id, const struct pv_resource_info *info)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = choose(mux, info);
	struct resource *resource;

	if (owner == mux->plain) {
		if (info->kind != PV_RESOURCE_2D && info->kind != PV_RESOURCE_GUEST_BLOB)
			return PV_ERR_UNSUPPORTED;
		return owner->ops->resource_create(owner, op_id, info);
	}
	if (!owner)
		return PV_ERR_UNSUPPORTED;
	resource = calloc(1, sizeof(*resource));
	if (!resource)
		return PV_ERR_NO_MEMORY;
	*resource = (struct resource){.owner = owner, .size_bytes = info->size_bytes};
	enum pv_status status = pv_id_map_add(&mux->resources, info->id, resource);
	if (status != PV_OK) {
		free(resource);
		return status;
	}
	status = owner->ops->resource_create(owner, op_id, info);
	if (status != PV_OK && status != PV_PENDING)
		forget(mux, info->id);
	return status;
}

static void resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct mux *mux = to_mux(renderer);
	const struct resource *resource = pv_id_map_get(&mux->resources, resource_id);
	struct pv_renderer *owner = owner_of_resource(mux, resource_id);

	if (resource && resource->imported)
		mux->opengl->ops->resource_destroy(mux->opengl, resource_id);
	forget(mux, resource_id);
	owner->ops->resource_destroy(owner, resource_id);
}

static enum pv_status attach_backing(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_guest_span *spans, size_t nr_spans)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	if (!owner->ops->attach_backing)
		return PV_ERR_UNSUPPORTED;
	return owner->ops->attach_backing(owner, op_id, resource_id, spans, nr_spans);
}

static void detach_backing(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	if (owner->ops->detach_backing)
		owner->ops->detach_backing(owner, resource_id);
}

static enum pv_status transfer_to_host(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer *transfer)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), transfer->resource_id);

	if (!owner->ops->transfer_to_host)
		return PV_ERR_UNSUPPORTED;
	return owner->ops->transfer_to_host(owner, op_id, transfer);
}

static enum pv_status get_frame(struct pv_renderer *renderer, uint32_t resource_id, const struct pv_blob_layout *layout,
				struct pv_frame **out)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	if (!owner->ops->get_frame)
		return PV_ERR_UNSUPPORTED;
	return owner->ops->get_frame(owner, resource_id, layout, out);
}

static enum pv_status set_frame(struct pv_renderer *renderer, uint32_t resource_id, struct pv_frame *frame)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	return owner->ops->set_frame ? owner->ops->set_frame(owner, resource_id, frame) : PV_ERR_UNSUPPORTED;
}

static enum pv_status update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				   const struct pv_rect *rect)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	return owner->ops->update_frame ? owner->ops->update_frame(owner, op_id, resource_id, rect) : PV_OK;
}

static void create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	struct pv_renderer *owner = owner_of_context(to_mux(renderer), ctx_id);

	owner->ops->create_fence(owner, fence_id, ctx_id, ring_idx);
}

static void finish_batch(struct pv_renderer *renderer)
{
	struct mux *mux = to_mux(renderer);

	mux->plain->ops->finish_batch(mux->plain);
	for (size_t i = 0; i < mux->nr_children; i++)
		if (mux->children[i]->ops->finish_batch)
			mux->children[i]->ops->finish_batch(mux->children[i]);
}

static void reset(struct pv_renderer *renderer)
{
	struct mux *mux = to_mux(renderer);

	mux->plain->ops->reset(mux->plain);
	for (size_t i = 0; i < mux->nr_children; i++)
		mux->children[i]->ops->reset(mux->children[i]);
	forget_all(mux);
}

static enum pv_status set_window(struct pv_renderer *renderer, int fd, uint64_t size_bytes)
{
	struct mux *mux = to_mux(renderer);
	enum pv_status status = PV_OK;

	mux->window_fd = fd;
	for (size_t i = 0; i < mux->nr_children && status == PV_OK; i++)
		if (mux->children[i]->ops->set_window)
			status = mux->children[i]->ops->set_window(mux->children[i], fd, size_bytes);
	return status;
}

/* ---- Capability sets and contexts ---- */

static bool capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	struct mux *mux = to_mux(renderer);

	for (size_t i = 0; i < mux->nr_children; i++) {
		struct pv_renderer *child = mux->children[i];

		for (uint32_t n = 0; child->ops->capset_info(child, n, out); n++)
			if (index-- == 0)
				return true;
	}
	return false;
}

static struct pv_renderer *owner_of_capset(struct mux *mux, uint32_t capset_id)
{
	for (size_t i = 0; i < mux->nr_children; i++) {
		struct pv_renderer *child = mux->children[i];
		struct pv_capset_info info;

		for (uint32_t n = 0; child->ops->capset_info(child, n, &info); n++)
			if (info.id == capset_id)
				return child;
	}
	return NULL;
}

static enum pv_status capset(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
			     size_t *len_bytes)
{
	struct pv_renderer *owner = owner_of_capset(to_mux(renderer), capset_id);

	return owner ? owner->ops->capset(owner, capset_id, version, buf, len_bytes) : PV_ERR_GUEST;
}

static enum pv_status context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, uint32_t capset_id,
				     const char *name)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = capset_id     ? owner_of_capset(mux, capset_id)
				    : mux->opengl ? mux->opengl
						  : mux->plain;

	if (!owner) {
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "context %u (%s) wants capability set %u, which is not offered",
			       ctx_id, name, capset_id);
		return PV_ERR_GUEST;
	}
	enum pv_status status = pv_id_map_add(&mux->contexts, ctx_id, owner);
	if (status != PV_OK || owner == mux->plain)
		return status;
	status = owner->ops->context_create(owner, op_id, ctx_id, capset_id, name);
	if (status != PV_OK && status != PV_PENDING)
		(void)pv_id_map_remove(&mux->contexts, ctx_id);
	return status;
}

static void context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = owner_of_context(mux, ctx_id);

	(void)pv_id_map_remove(&mux->contexts, ctx_id);
	if (owner != mux->plain)
		owner->ops->context_destroy(owner, ctx_id);
}

/* Where a foreign blob's bytes are. Without them it is a texture like another, only that nothing comes from there. */
static void show_to_opengl(struct mux *mux, uint32_t resource_id, const struct resource *resource)
{
	struct pv_renderer *opengl = mux->opengl;
	enum pv_status status;

	if (!resource->imported || !resource->mapped || mux->window_fd < 0)
		return;
	status = opengl->ops->attach_file(opengl, 0, resource_id, mux->window_fd, resource->window_offset,
					  resource->size_bytes);
	if (status != PV_OK)
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", "resource %u stays empty for OpenGL: %s", resource_id,
			       pv_status_string(status));
}

static enum pv_status import(struct mux *mux, uint32_t resource_id, struct resource *resource)
{
	const struct pv_resource_info info = {
	    .id = resource_id, .kind = PV_RESOURCE_FOREIGN_BLOB, .size_bytes = resource->size_bytes};
	enum pv_status status;

	if (resource->imported)
		return PV_OK;
	status = mux->opengl->ops->resource_create(mux->opengl, 0, &info);
	if (status != PV_OK)
		return status;
	resource->imported = true;
	show_to_opengl(mux, resource_id, resource);
	return PV_OK;
}

/* Into an OpenGL context, where the OpenGL renderer takes such. */
static bool can_import(const struct mux *mux, const struct pv_renderer *owner, const struct resource *resource)
{
	return owner == mux->opengl && owner && owner->ops->attach_file && resource && resource->owner != owner &&
	       mux->window_fd >= 0;
}

/* What else is another renderer's cannot be used in the context, but to know of it does no harm: the kernel tells all.
 */
static enum pv_status context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
				     uint32_t resource_id)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = owner_of_context(mux, ctx_id);
	struct resource *resource = pv_id_map_get(&mux->resources, resource_id);

	if (owner == mux->plain || !resource)
		return PV_OK;
	if (can_import(mux, owner, resource)) {
		enum pv_status status = import(mux, resource_id, resource);

		if (status != PV_OK)
			return status;
	} else if (resource->owner != owner) {
		return PV_OK;
	}
	return owner->ops->context_attach(owner, op_id, ctx_id, resource_id);
}

static void context_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = owner_of_context(mux, ctx_id);
	const struct resource *resource = pv_id_map_get(&mux->resources, resource_id);

	if (resource && (resource->owner == owner || (resource->imported && owner == mux->opengl)))
		owner->ops->context_detach(owner, ctx_id, resource_id);
}

static enum pv_status submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
			     size_t len_bytes)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = owner_of_context(mux, ctx_id);

	if (owner == mux->plain)
		return PV_ERR_UNSUPPORTED;
	return owner->ops->submit(owner, op_id, ctx_id, commands, len_bytes);
}

/* ---- Host blobs and textures ---- */

static enum pv_status blob_export(struct pv_renderer *renderer, uint32_t resource_id, int *out_fd)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	return owner->ops->blob_export ? owner->ops->blob_export(owner, resource_id, out_fd) : PV_ERR_UNSUPPORTED;
}

static enum pv_status blob_map(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
			       uint64_t offset_bytes)
{
	struct mux *mux = to_mux(renderer);
	struct resource *resource = pv_id_map_get(&mux->resources, resource_id);
	enum pv_status status;

	if (!resource || !resource->owner->ops->blob_map)
		return PV_ERR_UNSUPPORTED;
	status = resource->owner->ops->blob_map(resource->owner, op_id, resource_id, offset_bytes);
	if (status != PV_OK && status != PV_PENDING)
		return status;
	resource->mapped = true;
	resource->window_offset = offset_bytes;
	show_to_opengl(mux, resource_id, resource);
	return status;
}

static enum pv_status blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id)
{
	struct mux *mux = to_mux(renderer);
	struct resource *resource = pv_id_map_get(&mux->resources, resource_id);

	if (!resource || !resource->owner->ops->blob_unmap)
		return PV_OK;
	/* The first to go: the range may be somebody else's once the owner has left it. */
	if (resource->imported)
		mux->opengl->ops->detach_backing(mux->opengl, resource_id);
	resource->mapped = false;
	return resource->owner->ops->blob_unmap(resource->owner, op_id, resource_id);
}

static enum pv_status transfer_3d(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer_3d *transfer)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = owner_of_resource(mux, transfer->resource_id);

	if (!owner->ops->transfer_3d)
		return PV_ERR_UNSUPPORTED;
	return owner->ops->transfer_3d(owner, op_id, transfer);
}

static enum pv_status attach_file(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id, int fd,
				  uint64_t offset_bytes, uint64_t size_bytes)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	if (!owner->ops->attach_file)
		return PV_ERR_UNSUPPORTED;
	return owner->ops->attach_file(owner, op_id, resource_id, fd, offset_bytes, size_bytes);
}

static uint64_t context_memory_bytes(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct pv_renderer *owner = owner_of_context(to_mux(renderer), ctx_id);

	return owner->ops->context_memory_bytes ? owner->ops->context_memory_bytes(owner, ctx_id) : 0;
}

#define COMMON_OPS                                                                                                     \
	.destroy = destroy, .set_guest_map = set_guest_map, .resource_create = resource_create,                        \
	.resource_destroy = resource_destroy, .attach_backing = attach_backing, .detach_backing = detach_backing,      \
	.transfer_to_host = transfer_to_host, .get_frame = get_frame, .set_frame = set_frame,                          \
	.update_frame = update_frame, .create_fence = create_fence, .finish_batch = finish_batch, .reset = reset,      \
	.set_window = set_window, .capset_info = capset_info, .capset = capset, .context_create = context_create,      \
	.context_destroy = context_destroy, .context_attach = context_attach, .context_detach = context_detach,        \
	.submit = submit, .blob_export = blob_export, .blob_map = blob_map, .blob_unmap = blob_unmap,                  \
	.context_memory_bytes = context_memory_bytes

static const struct pv_renderer_ops mux_ops = {.name = "2d+3d", COMMON_OPS};
/* Whether there are textures can be seen by the op. */
static const struct pv_renderer_ops mux_opengl_ops = {
    .name = "2d+3d", COMMON_OPS, .transfer_3d = transfer_3d, .attach_file = attach_file};

static void adopt(struct mux *mux, struct pv_renderer *child)
{
	child->events = (struct pv_renderer_events){
	    .op_done = op_done, .fence_signalled = fence_signalled, .last_word = last_word, .lost = lost, .user = mux};
	if (!mux->opengl && child->ops->transfer_3d)
		mux->opengl = child;
}

enum pv_status pv_mux_create(struct pv_renderer *take_2d, struct pv_renderer *const *take_3d, size_t nr_3d,
			     struct pv_renderer **out)
{
	struct mux *mux = nr_3d <= PV_MUX_MAX_3D ? calloc(1, sizeof(*mux)) : NULL;

	if (!mux) {
		for (size_t i = 0; i < nr_3d; i++)
			pv_renderer_destroy(take_3d[i]);
		pv_renderer_destroy(take_2d);
		return PV_ERR_NO_MEMORY;
	}
	mux->plain = take_2d;
	mux->window_fd = -1;
	adopt(mux, take_2d);
	mux->opengl = NULL;
	for (size_t i = 0; i < nr_3d; i++) {
		mux->children[mux->nr_children++] = take_3d[i];
		adopt(mux, take_3d[i]);
	}
	mux->base.ops = mux->opengl ? &mux_opengl_ops : &mux_ops;
	*out = &mux->base;
	return PV_OK;
}

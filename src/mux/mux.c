/* SPDX-License-Identifier: MIT */
/*
 * Two tables say whose a context and whose a 3D resource is; everything else is the 2D renderer's. A context of a kind
 * that nobody has (a guest that knows no capability sets, and no OpenGL renderer) is made all the same and is the 2D
 * renderer's: Linux makes one for its own console, draws nothing with it and complains if it cannot have it.
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
	/* Values are renderers. */
	struct pv_id_map contexts, resources;
};

static struct mux *to_mux(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct mux, base);
}

static struct pv_renderer *owner_of_resource(struct mux *mux, uint32_t resource_id)
{
	struct pv_renderer *owner = pv_id_map_get(&mux->resources, resource_id);

	return owner ? owner : mux->plain;
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

static void destroy(struct pv_renderer *renderer)
{
	struct mux *mux = to_mux(renderer);

	for (size_t i = 0; i < mux->nr_children; i++)
		pv_renderer_destroy(mux->children[i]);
	pv_renderer_destroy(mux->plain);
	pv_id_map_finish(&mux->contexts);
	pv_id_map_finish(&mux->resources);
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

	if (owner == mux->plain) {
		if (info->kind != PV_RESOURCE_2D && info->kind != PV_RESOURCE_GUEST_BLOB)
			return PV_ERR_UNSUPPORTED;
		return owner->ops->resource_create(owner, op_id, info);
	}
	if (!owner)
		return PV_ERR_UNSUPPORTED;
	enum pv_status status = pv_id_map_add(&mux->resources, info->id, owner);
	if (status != PV_OK)
		return status;
	status = owner->ops->resource_create(owner, op_id, info);
	if (status != PV_OK && status != PV_PENDING)
		(void)pv_id_map_remove(&mux->resources, info->id);
	return status;
}

static void resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = owner_of_resource(mux, resource_id);

	(void)pv_id_map_remove(&mux->resources, resource_id);
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
	pv_id_map_finish(&mux->contexts);
	pv_id_map_finish(&mux->resources);
	mux->contexts = mux->resources = (struct pv_id_map){0};
}

static enum pv_status set_window(struct pv_renderer *renderer, int fd, uint64_t size_bytes)
{
	struct mux *mux = to_mux(renderer);
	enum pv_status status = PV_OK;

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

/* What is another renderer's cannot be used in the context, but to know of it does no harm: the kernel tells all. */
static bool meet(struct mux *mux, uint32_t ctx_id, uint32_t resource_id)
{
	const struct pv_renderer *owner = owner_of_context(mux, ctx_id);

	return owner != mux->plain && owner == owner_of_resource(mux, resource_id);
}

static enum pv_status context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
				     uint32_t resource_id)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = owner_of_context(mux, ctx_id);

	if (!meet(mux, ctx_id, resource_id))
		return PV_OK;
	return owner->ops->context_attach(owner, op_id, ctx_id, resource_id);
}

static void context_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id)
{
	struct mux *mux = to_mux(renderer);
	struct pv_renderer *owner = owner_of_context(mux, ctx_id);

	if (meet(mux, ctx_id, resource_id))
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
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	if (!owner->ops->blob_map)
		return PV_ERR_UNSUPPORTED;
	return owner->ops->blob_map(owner, op_id, resource_id, offset_bytes);
}

static enum pv_status blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	return owner->ops->blob_unmap ? owner->ops->blob_unmap(owner, op_id, resource_id) : PV_OK;
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
				  uint64_t size_bytes)
{
	struct pv_renderer *owner = owner_of_resource(to_mux(renderer), resource_id);

	if (!owner->ops->attach_file)
		return PV_ERR_UNSUPPORTED;
	return owner->ops->attach_file(owner, op_id, resource_id, fd, size_bytes);
}

static uint64_t context_memory_bytes(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct pv_renderer *owner = owner_of_context(to_mux(renderer), ctx_id);

	return owner->ops->context_memory_bytes ? owner->ops->context_memory_bytes(owner, ctx_id) : 0;
}

#define COMMON_OPS                                                                                                     \
	.destroy = destroy, .set_guest_map = set_guest_map, .resource_create = resource_create,                        \
	.resource_destroy = resource_destroy, .attach_backing = attach_backing, .detach_backing = detach_backing,      \
	.transfer_to_host = transfer_to_host, .get_frame = get_frame, .update_frame = update_frame,                    \
	.create_fence = create_fence, .finish_batch = finish_batch, .reset = reset, .set_window = set_window,          \
	.capset_info = capset_info, .capset = capset, .context_create = context_create,                                \
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
	    .op_done = op_done, .fence_signalled = fence_signalled, .last_word = last_word, .user = mux};
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

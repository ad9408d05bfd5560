/* SPDX-License-Identifier: MIT */
/*
 * The renderer's table on virglrenderer. Ops take effect when they are called; only the GPU's work is later, and fences
 * tell of it.
 *
 * The library reads and writes guest memory through pointers that it keeps (iovec). They are made from the guest's
 * addresses here, again whenever the guest's memory changes, and the map they come from is kept as long as they are.
 */
#include "virgl/renderer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "virgl/import.h"
#include "virgl/stream.h"

#define MODULE "virgl"

/* Gallium's: it may be shown on a screen. */
#define BIND_SCANOUT (1u << 18)

/* ---- Fences ---- */

static void append(struct pv_virgl_fences *fences, struct pv_virgl_fence *fence)
{
	fence->next = NULL;
	if (fences->last)
		fences->last->next = fence;
	else
		fences->first = fence;
	fences->last = fence;
}

static struct pv_virgl_fence *take_first(struct pv_virgl_fences *fences)
{
	struct pv_virgl_fence *fence = fences->first;

	fences->first = fence->next;
	if (!fences->first)
		fences->last = NULL;
	return fence;
}

static struct pv_virgl_fence *make_fence(struct pv_virgl *virgl, uint64_t id)
{
	struct pv_virgl_fence *fence = virgl->free_fences;

	if (fence)
		virgl->free_fences = fence->next;
	else
		fence = malloc(sizeof(*fence));
	if (!fence)
		return NULL;
	*fence = (struct pv_virgl_fence){.id = id, .number = ++virgl->last_fence_number};
	virgl->nr_fences++;
	return fence;
}

static void recycle(struct pv_virgl *virgl, struct pv_virgl_fence *fence)
{
	fence->next = virgl->free_fences;
	virgl->free_fences = fence;
	virgl->nr_fences--;
}

/* The listener may call other ops. */
static void tell_signalled(struct pv_virgl *virgl)
{
	while (virgl->signalled.first) {
		struct pv_virgl_fence *fence = take_first(&virgl->signalled);
		uint64_t id = fence->id;

		recycle(virgl, fence);
		virgl->base.events.fence_signalled(virgl->base.events.user, id);
	}
}

static void context_fence(void *user, uint32_t ctx_id, uint64_t number)
{
	struct pv_virgl *virgl = user;
	struct pv_virgl_context *context = pv_id_map_get(&virgl->contexts, ctx_id);

	/* In order: those before it have ended as well. */
	while (context && context->fences.first && context->fences.first->number <= number)
		append(&virgl->signalled, take_first(&context->fences));
}

static void flush_fence(void *user, uint32_t fence_id)
{
	struct pv_virgl *virgl = user;

	virgl->done_flush_id = fence_id;
}

static void polled(void *user)
{
	struct pv_virgl *virgl = user;

	tell_signalled(virgl);
	pv_virgl_finish_flushes(virgl);
}

static void create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_context *context = pv_id_map_get(&virgl->contexts, ctx_id);
	struct pv_virgl_fence *fence = NULL;

	(void)ring_idx; /* a context has one timeline */
	/* Transfers have taken effect when they return. */
	if (context && (context->busy || context->fences.first))
		fence = make_fence(virgl, fence_id);
	if (fence) {
		append(&context->fences, fence);
		/* It may signal, and be taken, before this returns. */
		uint64_t number = fence->number;
		if (virgl_renderer_context_create_fence(ctx_id, 0, 0, number) == 0) {
			context->busy = false;
			tell_signalled(virgl);
			return;
		}
		PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "context %u: no fence to be had", ctx_id);
		/* What it waits for cannot be known: as if it had ended, in its turn. */
		context_fence(virgl, ctx_id, number);
		tell_signalled(virgl);
		return;
	}
	virgl->base.events.fence_signalled(virgl->base.events.user, fence_id);
}

/*
 * The library, when a context ends, forgets the fence that it is waiting for just then, whosever it is (0.9 to 1.1).
 * One more behind the last of each context tells of all before it.
 */
static void renew_fences(struct pv_virgl *virgl)
{
	for (uint32_t i = 0; i < virgl->contexts.capacity; i++) {
		const struct pv_virgl_context *context = virgl->contexts.slots[i].value;
		uint32_t nop = 0;

		if (virgl->contexts.slots[i].id == 0 || !context->fences.last)
			continue;
		uint64_t number = context->fences.last->number;
		/* A fence follows the commands of the GL context that is current; a command makes it this one. */
		(void)virgl_renderer_submit_cmd(&nop, (int)context->id, 1);
		if (virgl_renderer_context_create_fence(context->id, 0, 0, number) != 0)
			context_fence(virgl, context->id, number);
	}
}

/* ---- Capability sets ---- */

static bool capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	static const uint32_t ids[] = {PV_VIRGL_CAPSET_ID, PV_VIRGL2_CAPSET_ID};
	uint32_t max_version = 0, max_size = 0;

	(void)renderer;
	if (index >= PV_ARRAY_LEN(ids))
		return false;
	virgl_renderer_get_cap_set(ids[index], &max_version, &max_size);
	*out = (struct pv_capset_info){.id = ids[index], .max_version = max_version, .max_size_bytes = max_size};
	return true;
}

/*
 * X moves a window by drawing from the screen to the same screen, with glTextureBarrier() before it and nothing after:
 * llvmpipe, which draws tile by tile, then fills the old place before it was read, and the window is gone. Where the
 * guest sees no such function, it copies by way of another picture.
 */
static void hide_texture_barrier(const struct pv_virgl *virgl, void *caps, size_t len_bytes)
{
	/* virgl_caps_v2's capability_bits, and VIRGL_CAP_TEXTURE_BARRIER. */
	const size_t offset = 392;
	const uint32_t texture_barrier = 1u << 12;
	uint32_t bits;

	if (!strstr(virgl->library.gl_name, "llvmpipe") || len_bytes < offset + sizeof(bits))
		return;
	memcpy(&bits, (const char *)caps + offset, sizeof(bits));
	bits &= ~texture_barrier;
	memcpy((char *)caps + offset, &bits, sizeof(bits));
}

static enum pv_status capset(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
			     size_t *len_bytes)
{
	uint32_t max_version = 0, max_size = 0;
	void *caps;

	if (capset_id != PV_VIRGL_CAPSET_ID && capset_id != PV_VIRGL2_CAPSET_ID)
		return PV_ERR_GUEST;
	virgl_renderer_get_cap_set(capset_id, &max_version, &max_size);
	if (version > max_version)
		return PV_ERR_GUEST;
	caps = calloc(1, max_size);
	if (!caps)
		return PV_ERR_NO_MEMORY;
	virgl_renderer_fill_caps(capset_id, version, caps);
	if (capset_id == PV_VIRGL2_CAPSET_ID)
		hide_texture_barrier(pv_virgl_of(renderer), caps, max_size);
	*len_bytes = pv_min_u64(*len_bytes, max_size);
	memcpy(buf, caps, *len_bytes);
	free(caps);
	return PV_OK;
}

/* ---- Contexts ---- */

/*
 * The making and the end of a context leave a GL context current that is not the one that the library believes to be
 * (1.1.0): the next command of another context would go there.
 */
static void forget_current(void)
{
	virgl_renderer_force_ctx_0();
}

static enum pv_status context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, uint32_t capset_id,
				     const char *name)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_context *context;
	enum pv_status status;

	(void)op_id;
	if (capset_id > PV_VIRGL2_CAPSET_ID)
		return PV_ERR_UNSUPPORTED;
	if (ctx_id == 0 || pv_id_map_get(&virgl->contexts, ctx_id))
		return PV_ERR_GUEST;
	if (virgl->contexts.count >= PV_VIRGL_MAX_CONTEXTS) {
		PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "there are %d contexts already", PV_VIRGL_MAX_CONTEXTS);
		return PV_ERR_NO_MEMORY;
	}
	context = calloc(1, sizeof(*context));
	if (!context)
		return PV_ERR_NO_MEMORY;
	context->id = ctx_id;
	context->virgl = virgl;
	status = pv_virgl_stream_start(context) ? PV_OK : PV_ERR_NO_MEMORY;
	if (status != PV_OK)
		goto out_context;
	status = pv_id_map_add(&virgl->contexts, ctx_id, context);
	if (status != PV_OK)
		goto out_context;
	int error = virgl_renderer_context_create_with_flags(ctx_id, capset_id ? capset_id : PV_VIRGL2_CAPSET_ID,
							     (uint32_t)strlen(name), name);
	forget_current();
	if (error == 0)
		return PV_OK;
	PV_LOG_LIMITED(PV_LOG_ERROR, MODULE, "context %u (%s): the host's OpenGL has none to give", ctx_id, name);
	status = PV_ERR_HOST;
	(void)pv_id_map_remove(&virgl->contexts, ctx_id);
out_context:
	pv_virgl_stream_finish(context);
	free(context);
	return status;
}

static void end_context(struct pv_virgl *virgl, struct pv_virgl_context *context)
{
	(void)pv_id_map_remove(&virgl->contexts, context->id);
	pv_virgl_import_detach_all(context);
	pv_virgl_stream_finish(context);
	virgl_renderer_context_destroy(context->id);
	forget_current();
	/* The library forgets what it was to tell of them. */
	while (context->fences.first)
		append(&virgl->signalled, take_first(&context->fences));
	free(context);
	/* Nothing is drawn any more: one is Linux's own. Drivers leave most of what they had in malloc()'s store. */
	if (virgl->contexts.count <= 1)
		pv_heap_trim();
}

static void context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_context *context = pv_id_map_get(&virgl->contexts, ctx_id);

	if (!context)
		return;
	end_context(virgl, context);
	renew_fences(virgl);
	tell_signalled(virgl);
	pv_virgl_end_flushes(virgl);
}

static enum pv_status context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
				     uint32_t resource_id)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, resource_id);
	struct pv_virgl_context *context = pv_id_map_get(&virgl->contexts, ctx_id);

	(void)op_id;
	if (resource && resource->is_import)
		return context ? pv_virgl_import_attach(context, resource) : PV_ERR_GUEST;
	virgl_renderer_ctx_attach_resource((int)ctx_id, (int)resource_id);
	return PV_OK;
}

static void context_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	const struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, resource_id);
	struct pv_virgl_context *context = pv_id_map_get(&virgl->contexts, ctx_id);

	if (!resource || !resource->is_import)
		virgl_renderer_ctx_detach_resource((int)ctx_id, (int)resource_id);
	else if (context)
		pv_virgl_import_detach(context, resource_id);
}

int pv_virgl_execute(const struct pv_virgl_context *context, const uint32_t *commands, size_t nr_words)
{
	/* The library does not write to it, whatever its type says. */
	return virgl_renderer_submit_cmd((void *)(uintptr_t)commands, (int)context->id, (int)nr_words);
}

static enum pv_status submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
			     size_t len_bytes)
{
	struct pv_virgl_context *context = pv_id_map_get(&pv_virgl_of(renderer)->contexts, ctx_id);
	int error = EPERM;

	(void)op_id;
	if (!context || len_bytes % 4 != 0 || len_bytes / 4 > INT32_MAX)
		return PV_ERR_GUEST;
	if (len_bytes == 0)
		return PV_OK;
	if (pv_virgl_stream_begin(context, commands, len_bytes / 4)) {
		/* Also on failure: what came before the bad command was carried out. */
		context->busy = true;
		error = context->imports.count > 0 ? pv_virgl_import_submit(context, commands, len_bytes / 4)
						   : pv_virgl_execute(context, commands, len_bytes / 4);
	}
	pv_virgl_stream_end(context, error == 0);
	if (error == 0)
		return PV_OK;
	if (!context->lost)
		PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "context %u is lost: a command was refused (%d)", ctx_id, error);
	context->lost = true;
	return PV_ERR_GUEST;
}

/* ---- Backing ---- */

/* Where the spans are now, neighbours joined. NULL: no memory, or they are not all there. */
static struct iovec *resolve(const struct pv_virgl *virgl, const struct pv_virgl_resource *resource, size_t *out_count)
{
	size_t count = 0, size = resource->nr_spans ? resource->nr_spans : 1;
	struct iovec *iov = malloc(size * sizeof(*iov));

	if (!iov || !virgl->map)
		goto fail;
	for (size_t i = 0; i < resource->nr_spans; i++) {
		const struct pv_guest_span *span = &resource->spans[i];

		for (uint64_t done = 0, run; done < span->len; done += run) {
			uint8_t *at = pv_guest_map_run(virgl->map, span->addr + done, span->len - done, &run);

			if (!at)
				goto fail;
			if (count > 0 && (uint8_t *)iov[count - 1].iov_base + iov[count - 1].iov_len == at) {
				iov[count - 1].iov_len += run;
				continue;
			}
			if (count == size) {
				struct iovec *larger = realloc(iov, 2 * size * sizeof(*iov));

				if (!larger)
					goto fail;
				iov = larger;
				size *= 2;
			}
			iov[count++] = (struct iovec){.iov_base = at, .iov_len = run};
		}
	}
	*out_count = count;
	return iov;

fail:
	free(iov);
	return NULL;
}

static void detach_iov(struct pv_virgl_resource *resource)
{
	if (!resource->iov)
		return;
	virgl_renderer_resource_detach_iov((int)resource->id, NULL, NULL);
	free(resource->iov);
	resource->iov = NULL;
}

static enum pv_status attach_iov(struct pv_virgl_resource *resource)
{
	size_t count = 0;
	struct iovec *iov = resolve(resource->virgl, resource, &count);

	if (!iov)
		return PV_ERR_GUEST;
	if (count == 0 || virgl_renderer_resource_attach_iov((int)resource->id, iov, (int)count) != 0) {
		free(iov);
		return count == 0 ? PV_OK : PV_ERR_HOST;
	}
	resource->iov = iov;
	return PV_OK;
}

static void detach_backing(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct pv_virgl_resource *resource = pv_id_map_get(&pv_virgl_of(renderer)->resources, resource_id);

	if (!resource)
		return;
	detach_iov(resource);
	free(resource->spans);
	resource->spans = NULL;
	resource->nr_spans = 0;
	resource->backing_bytes = 0;
	if (resource->file.iov_base) {
		if (pv_virgl_is_typed(resource))
			virgl_renderer_resource_detach_iov((int)resource_id, NULL, NULL);
		pv_pages_unmap_file(resource->file.iov_base, resource->file.iov_len);
		resource->file = (struct iovec){0};
	}
}

static enum pv_status attach_backing(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_guest_span *spans, size_t nr_spans)
{
	struct pv_virgl_resource *resource = pv_id_map_get(&pv_virgl_of(renderer)->resources, resource_id);

	(void)op_id;
	if (!resource)
		return PV_ERR_ARGUMENT;
	detach_backing(renderer, resource_id);
	resource->spans = malloc((nr_spans ? nr_spans : 1) * sizeof(*spans));
	if (!resource->spans)
		return PV_ERR_NO_MEMORY;
	memcpy(resource->spans, spans, nr_spans * sizeof(*spans));
	resource->nr_spans = nr_spans;
	for (size_t i = 0; i < nr_spans; i++)
		resource->backing_bytes += spans[i].len;
	enum pv_status status = attach_iov(resource);
	if (status != PV_OK)
		detach_backing(renderer, resource_id);
	return status;
}

bool pv_virgl_attach_file(struct pv_virgl_resource *resource)
{
	return !resource->file.iov_base ||
	       virgl_renderer_resource_attach_iov((int)resource->id, &resource->file, 1) == 0;
}

static enum pv_status attach_file(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id, int fd,
				  uint64_t offset_bytes, uint64_t size_bytes)
{
	struct pv_virgl_resource *resource = pv_id_map_get(&pv_virgl_of(renderer)->resources, resource_id);
	void *bytes;

	(void)op_id;
	if (!resource)
		return PV_ERR_ARGUMENT;
	detach_backing(renderer, resource_id);
	enum pv_status status = pv_pages_map_file(fd, offset_bytes, size_bytes, &bytes);
	if (status != PV_OK)
		return status;
	resource->file = (struct iovec){.iov_base = bytes, .iov_len = size_bytes};
	resource->backing_bytes = size_bytes;
	if (!pv_virgl_is_typed(resource) || pv_virgl_attach_file(resource))
		return PV_OK;
	pv_pages_unmap_file(bytes, size_bytes);
	resource->file = (struct iovec){0};
	return PV_ERR_HOST;
}

static void set_guest_map(struct pv_renderer *renderer, struct pv_guest_map *map)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_guest_map *old = virgl->map;

	virgl->map = map ? pv_guest_map_ref(map) : NULL;
	for (uint32_t i = 0; i < virgl->resources.capacity; i++) {
		struct pv_virgl_resource *resource = virgl->resources.slots[i].value;

		if (virgl->resources.slots[i].id == 0 || !resource->spans)
			continue;
		detach_iov(resource);
		/* Without its memory it stays as it is, and transfers fail. */
		if (map && attach_iov(resource) != PV_OK)
			PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "the memory behind resource %u is gone", resource->id);
	}
	/* Only now: the pointers led there. */
	pv_guest_map_unref(old);
}

/* ---- Resources ---- */

static int create_texture(const struct pv_resource_info *info)
{
	struct virgl_renderer_resource_create_args args = {
	    .handle = info->id,
	    .target = info->texture.target,
	    .format = info->format,
	    .bind = info->texture.bind,
	    .width = info->width,
	    .height = info->height,
	    .depth = info->texture.depth,
	    .array_size = info->texture.array_size,
	    .last_level = info->texture.last_level,
	    .nr_samples = info->texture.nr_samples,
	    .flags = info->texture.flags,
	};

	return virgl_renderer_resource_create(&args, NULL, 0);
}

static int create_blob(const struct pv_resource_info *info)
{
	const struct virgl_renderer_resource_create_blob_args args = {
	    .res_handle = info->id,
	    .ctx_id = info->ctx_id,
	    .blob_mem = VIRGL_RENDERER_BLOB_MEM_HOST3D,
	    .blob_flags = info->blob_flags,
	    .blob_id = info->blob_id,
	    .size = info->size_bytes,
	};

	return virgl_renderer_resource_create_blob(&args);
}

static enum pv_status resource_create(struct pv_renderer *renderer, uint64_t op_id, const struct pv_resource_info *info)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_resource *resource;
	enum pv_status status;
	int error;

	(void)op_id;
	if (info->kind != PV_RESOURCE_3D && info->kind != PV_RESOURCE_HOST_BLOB &&
	    info->kind != PV_RESOURCE_FOREIGN_BLOB)
		return PV_ERR_UNSUPPORTED;
	resource = calloc(1, sizeof(*resource));
	if (!resource)
		return PV_ERR_NO_MEMORY;
	*resource = (struct pv_virgl_resource){.id = info->id,
					       .width = info->width,
					       .height = info->height,
					       .format = info->format,
					       .target = info->texture.target,
					       .is_import = info->kind == PV_RESOURCE_FOREIGN_BLOB,
					       .blob_bytes = info->size_bytes,
					       .virgl = virgl};
	status = pv_id_map_add(&virgl->resources, info->id, resource);
	if (status != PV_OK)
		goto out_resource;
	error = resource->is_import ? 0 : info->kind == PV_RESOURCE_3D ? create_texture(info) : create_blob(info);
	if (error == 0) {
		if (info->kind == PV_RESOURCE_3D && info->texture.bind & BIND_SCANOUT)
			(void)pv_virgl_find_texture(resource);
		return PV_OK;
	}
	PV_LOG_LIMITED(PV_LOG_WARNING, MODULE,
		       "resource %u cannot be had (%d): target %u, format %u, bind 0x%x, %u x %u x %u, %u layers, %u "
		       "levels, %u samples",
		       info->id, error, info->texture.target, info->format, info->texture.bind, info->width,
		       info->height, info->texture.depth, info->texture.array_size, info->texture.last_level + 1,
		       info->texture.nr_samples);
	status = PV_ERR_GUEST;
	(void)pv_id_map_remove(&virgl->resources, info->id);
out_resource:
	free(resource);
	return status;
}

static void resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, resource_id);

	if (!resource)
		return;
	if (resource->is_import)
		for (uint32_t i = 0; i < virgl->contexts.capacity; i++)
			if (virgl->contexts.slots[i].id != 0)
				pv_virgl_import_detach(virgl->contexts.slots[i].value, resource_id);
	pv_virgl_drop_frame(resource);
	detach_backing(renderer, resource_id);
	if (pv_virgl_is_typed(resource))
		virgl_renderer_resource_unref(resource_id);
	(void)pv_id_map_remove(&virgl->resources, resource_id);
	free(resource);
}

/* ---- Transfers ---- */

/*
 * What the library computes in 32 bits must not wrap there. The box itself it checks against the texture, but for
 * negative numbers; a stride of 0 stands for the texture's own.
 */
static bool is_sane(const struct pv_transfer_3d *t, uint64_t backing_bytes)
{
	uint64_t rows, layers, sum;

	if ((t->x | t->y | t->z | t->width | t->height | t->depth | t->stride_bytes | t->layer_stride_bytes) >
	    INT32_MAX)
		return false;
	if (t->level > 31 || t->offset_bytes > backing_bytes)
		return false;
	rows = t->height ? (uint64_t)(t->height - 1) * t->stride_bytes : 0;
	layers = t->depth ? (uint64_t)(t->depth - 1) * t->layer_stride_bytes : 0;
	return pv_add_u64(rows, layers, &sum) && sum <= INT32_MAX && sum <= backing_bytes - t->offset_bytes;
}

static enum pv_status transfer_3d(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer_3d *t)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	const struct pv_virgl_resource *resource = pv_id_map_get(&virgl->resources, t->resource_id);
	struct virgl_box box = {
	    .x = t->x, .y = t->y, .z = t->z, .width = t->width, .height = t->height, .depth = t->depth};
	int error;

	(void)op_id;
	if (!resource || !is_sane(t, resource->backing_bytes))
		return PV_ERR_GUEST;
	if (t->to_guest)
		error = virgl_renderer_transfer_read_iov(t->resource_id, t->ctx_id, t->level, t->stride_bytes,
							 t->layer_stride_bytes, &box, t->offset_bytes, NULL, 0);
	else
		error = virgl_renderer_transfer_write_iov(t->resource_id, t->ctx_id, (int)t->level, t->stride_bytes,
							  t->layer_stride_bytes, &box, t->offset_bytes, NULL, 0);
	if (error == 0)
		return PV_OK;
	PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "context %u: a transfer %s resource %u failed (%d)", t->ctx_id,
		       t->to_guest ? "from" : "to", t->resource_id, error);
	return PV_ERR_GUEST;
}

static enum pv_status blob_export(struct pv_renderer *renderer, uint32_t resource_id, int *out_fd)
{
	(void)renderer, (void)resource_id, (void)out_fd;
	return PV_ERR_UNSUPPORTED;
}

static enum pv_status blob_map(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
			       uint64_t offset_bytes)
{
	(void)renderer, (void)op_id, (void)resource_id, (void)offset_bytes;
	return PV_ERR_UNSUPPORTED;
}

static enum pv_status blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id)
{
	(void)renderer, (void)op_id, (void)resource_id;
	return PV_OK;
}

/* ---- Life ---- */

static void finish_batch(struct pv_renderer *renderer)
{
	(void)renderer;
}

static void reset(struct pv_renderer *renderer)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);
	struct pv_virgl_resource *resource;
	struct pv_virgl_context *context;
	uint32_t cursor = 0;

	while ((context = pv_id_map_any(&virgl->contexts, &cursor)))
		end_context(virgl, context);
	tell_signalled(virgl);
	cursor = 0;
	while ((resource = pv_id_map_any(&virgl->resources, &cursor)))
		resource_destroy(renderer, resource->id);
	pv_virgl_forget_flushes(virgl);
}

static void destroy(struct pv_renderer *renderer)
{
	struct pv_virgl *virgl = pv_virgl_of(renderer);

	reset(renderer);
	pv_virgl_reader_destroy(virgl->reader);
	pv_virgl_library_finish(&virgl->library);
	pv_virgl_free_flushes(virgl);
	while (virgl->free_fences) {
		struct pv_virgl_fence *fence = virgl->free_fences;

		virgl->free_fences = fence->next;
		free(fence);
	}
	pv_id_map_finish(&virgl->contexts);
	pv_id_map_finish(&virgl->resources);
	pv_guest_map_unref(virgl->map);
	free(virgl);
}

static const struct pv_renderer_ops virgl_ops = {
    .name = "virgl",
    .destroy = destroy,
    .set_guest_map = set_guest_map,
    .resource_create = resource_create,
    .resource_destroy = resource_destroy,
    .attach_backing = attach_backing,
    .detach_backing = detach_backing,
    .get_frame = pv_virgl_get_frame,
    .set_frame = pv_virgl_set_frame,
    .update_frame = pv_virgl_update_frame,
    .create_fence = create_fence,
    .finish_batch = finish_batch,
    .reset = reset,
    .capset_info = capset_info,
    .capset = capset,
    .context_create = context_create,
    .context_destroy = context_destroy,
    .context_attach = context_attach,
    .context_detach = context_detach,
    .submit = submit,
    .blob_export = blob_export,
    .blob_map = blob_map,
    .blob_unmap = blob_unmap,
    .transfer_3d = transfer_3d,
    .attach_file = attach_file,
};

enum pv_status pv_virgl_renderer_create(const struct pv_virgl_renderer_params *params, struct pv_renderer **out)
{
	struct pv_virgl *virgl = calloc(1, sizeof(*virgl));

	if (!virgl)
		return PV_ERR_NO_MEMORY;
	virgl->base.ops = &virgl_ops;
	virgl->loop = params->loop;
	virgl->max_held_bytes = params->max_held_bytes ? params->max_held_bytes : UINT64_MAX;
	virgl->with_dma_bufs = params->with_dma_bufs;
	virgl->last_flush = &virgl->flushes;
	virgl->library.context_fence = context_fence;
	virgl->library.fence = flush_fence;
	virgl->library.polled = polled;
	virgl->library.user = virgl;
	enum pv_status status = pv_virgl_library_init(&virgl->library, params->loop, params->render_node);
	if (status != PV_OK) {
		free(virgl);
		return status;
	}
	*out = &virgl->base;
	return PV_OK;
}

const char *pv_virgl_renderer_gl_name(struct pv_renderer *renderer)
{
	return pv_virgl_of(renderer)->library.gl_name;
}

const char *pv_virgl_renderer_gl_version(struct pv_renderer *renderer)
{
	return pv_virgl_of(renderer)->library.gl_version;
}

void pv_virgl_renderer_status(struct pv_renderer *renderer, struct pv_virgl_renderer_status *out)
{
	const struct pv_virgl *virgl = pv_virgl_of(renderer);

	*out = (struct pv_virgl_renderer_status){.nr_contexts = virgl->contexts.count,
						 .nr_resources = virgl->resources.count,
						 .nr_fences = virgl->nr_fences,
						 .imported_bytes = virgl->imported_bytes};
}

/* SPDX-License-Identifier: MIT */
#include "transport/vtest/fake_renderer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/socket.h"

static struct fake_renderer *to_fake(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct fake_renderer, base);
}

static void check(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "fake renderer: %s\n", what);
	abort();
}

static void remove_at(struct fake_pending *list, size_t *count, size_t index)
{
	(*count)--;
	memmove(&list[index], &list[index + 1], (*count - index) * sizeof(*list));
}

/* What it stands for, when done. */
static void take_effect(struct fake_renderer *fake, const struct fake_pending *op)
{
	if (op->new_context)
		check(pv_id_map_add(&fake->contexts, op->new_context, fake) == PV_OK, "memory");
	if (op->resource.id) {
		uint64_t *size = malloc(sizeof(*size));

		check(size != NULL, "memory");
		*size = op->resource.size_bytes;
		check(pv_id_map_add(&fake->resources, op->resource.id, size) == PV_OK, "memory");
	}
}

static enum pv_status do_op(struct fake_renderer *fake, const struct fake_pending *op)
{
	for (size_t i = 0; i < fake->nr_ops; i++) {
		check(fake->ops[i].id != op->id, "an op id twice");
		check(fake->ops[i].ctx_id != op->ctx_id, "a client has two ops at once");
	}
	if (fake->late && !fake->opengl && fake->nr_ops < FAKE_MAX_PENDING) {
		fake->ops[fake->nr_ops++] = *op;
		return PV_PENDING;
	}
	if (fake->result == PV_OK)
		take_effect(fake, op);
	return fake->result;
}

void fake_renderer_answer(struct fake_renderer *fake, size_t index, enum pv_status status)
{
	struct fake_pending op;

	check(index < fake->nr_ops, "no such op");
	op = fake->ops[index];
	remove_at(fake->ops, &fake->nr_ops, index);
	if (status == PV_OK)
		take_effect(fake, &op);
	fake->base.events.op_done(fake->base.events.user, op.id, status);
}

void fake_renderer_signal(struct fake_renderer *fake, size_t index)
{
	struct fake_pending fence;

	check(index < fake->nr_fences, "no such fence");
	fence = fake->fences[index];
	remove_at(fake->fences, &fake->nr_fences, index);
	fake->base.events.fence_signalled(fake->base.events.user, fence.id);
}

static bool capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	*out = (struct pv_capset_info){.id = FAKE_CAPSET, .max_size_bytes = FAKE_CAPSET_BYTES};
	if (index > 0)
		*out =
		    (struct pv_capset_info){.id = index, .max_version = index, .max_size_bytes = FAKE_GL_CAPSET_BYTES};
	return index == 0 || (to_fake(renderer)->opengl && index <= 2);
}

static enum pv_status capset(struct pv_renderer *renderer, uint32_t id, uint32_t version, void *buf, size_t *len)
{
	if (to_fake(renderer)->opengl && id <= 2) {
		check(id > 0 && version <= id && *len >= FAKE_GL_CAPSET_BYTES, "OpenGL's capset");
		memset(buf, 0x61, FAKE_GL_CAPSET_BYTES);
		*len = FAKE_GL_CAPSET_BYTES;
		return PV_OK;
	}
	check(id == FAKE_CAPSET && version == 0 && *len >= FAKE_CAPSET_BYTES, "capset");
	memset(buf, 0xca, FAKE_CAPSET_BYTES);
	*len = FAKE_CAPSET_BYTES;
	return PV_OK;
}

static enum pv_status context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, uint32_t id,
				     const char *name)
{
	struct fake_renderer *fake = to_fake(renderer);
	const struct fake_pending op = {.id = op_id, .ctx_id = ctx_id, .new_context = ctx_id};

	check(id == FAKE_CAPSET || (fake->opengl && (id == 1 || id == 2)), "capset");
	check(strlen(name) <= 64, "the name's length");
	check(ctx_id != 0 && !pv_id_map_get(&fake->contexts, ctx_id), "a context id twice");
	snprintf(fake->last_name, sizeof(fake->last_name), "%s", name);
	return do_op(fake, &op);
}

static void context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct fake_renderer *fake = to_fake(renderer);

	bool known = pv_id_map_remove(&fake->contexts, ctx_id) != NULL;

	for (size_t i = 0; i < fake->nr_ops; i++)
		known = known || fake->ops[i].new_context == ctx_id;
	check(known, "an unknown context destroyed");
	for (size_t i = fake->nr_ops; i-- > 0;) {
		if (fake->ops[i].ctx_id == ctx_id)
			fake_renderer_answer(fake, i, PV_ERR_GUEST);
	}
	for (size_t i = fake->nr_fences; i-- > 0;) {
		if (fake->fences[i].ctx_id == ctx_id)
			fake_renderer_signal(fake, i);
	}
}

static enum pv_status resource_create(struct pv_renderer *renderer, uint64_t op_id, const struct pv_resource_info *info)
{
	struct fake_renderer *fake = to_fake(renderer);
	const struct fake_pending op = {.id = op_id, .ctx_id = info->ctx_id, .resource = *info};

	check(info->id != 0 && !pv_id_map_get(&fake->resources, info->id), "a resource id twice");
	if (info->kind == PV_RESOURCE_3D) {
		check(fake->opengl, "a texture without OpenGL");
	} else {
		check(pv_id_map_get(&fake->contexts, info->ctx_id) != NULL, "a resource without a context");
		check(info->kind == PV_RESOURCE_HOST_BLOB && info->size_bytes > 0, "not a host blob");
	}
	fake->last_resource = *info;
	return do_op(fake, &op);
}

static void resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct fake_renderer *fake = to_fake(renderer);
	void *size = pv_id_map_remove(&fake->resources, resource_id);

	check(size != NULL, "an unknown resource destroyed");
	free(size);
}

static enum pv_status submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
			     size_t len_bytes)
{
	struct fake_renderer *fake = to_fake(renderer);
	const struct fake_pending op = {.id = op_id, .ctx_id = ctx_id};
	volatile uint8_t sum = 0;

	check(pv_id_map_get(&fake->contexts, ctx_id) != NULL, "commands without a context");
	check((uintptr_t)commands % 4 == 0 && len_bytes % 4 == 0 && len_bytes > 0, "commands that are no words");
	/* All of it can be read. */
	for (size_t i = 0; i < len_bytes; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)commands)[i]);
	fake->last_len = len_bytes;
	memcpy(fake->last_commands, commands,
	       len_bytes < sizeof(fake->last_commands) ? len_bytes : sizeof(fake->last_commands));
	fake->submits++;
	fake->submitted_bytes += len_bytes;
	return do_op(fake, &op);
}

static void create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	struct fake_renderer *fake = to_fake(renderer);

	check(ring_idx < 64, "a timeline that is not there");
	check(pv_id_map_get(&fake->contexts, ctx_id) != NULL, "a fence without a context");
	fake->last_ring_idx = ring_idx;
	fake->nr_created_fences++;
	if (!fake->late_fences || fake->nr_fences == FAKE_MAX_PENDING) {
		fake->base.events.fence_signalled(fake->base.events.user, fence_id);
		return;
	}
	for (size_t i = 0; i < fake->nr_fences; i++)
		check(fake->fences[i].id != fence_id, "a fence id twice");
	fake->fences[fake->nr_fences++] = (struct fake_pending){.id = fence_id, .ctx_id = ctx_id, .ring_idx = ring_idx};
}

static enum pv_status blob_export(struct pv_renderer *renderer, uint32_t resource_id, int *out_fd)
{
	struct fake_renderer *fake = to_fake(renderer);
	const uint64_t *size = pv_id_map_get(&fake->resources, resource_id);

	check(size != NULL, "an unknown resource exported");
	return fake->export_result == PV_OK ? pv_shm_create("fake-blob", *size, out_fd) : fake->export_result;
}

static enum pv_status context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
				     uint32_t resource_id)
{
	struct fake_renderer *fake = to_fake(renderer);

	(void)op_id;
	check(pv_id_map_get(&fake->contexts, ctx_id) != NULL, "no context to attach to");
	check(pv_id_map_get(&fake->resources, resource_id) != NULL, "no resource to attach");
	return fake->result;
}

static enum pv_status transfer_3d(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer_3d *transfer)
{
	struct fake_renderer *fake = to_fake(renderer);

	(void)op_id;
	check(pv_id_map_get(&fake->contexts, transfer->ctx_id) != NULL, "a transfer without a context");
	check(pv_id_map_get(&fake->resources, transfer->resource_id) != NULL, "a transfer without a resource");
	fake->transfers++;
	return fake->result;
}

static enum pv_status attach_file(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id, int fd,
				  uint64_t offset_bytes, uint64_t size_bytes)
{
	struct fake_renderer *fake = to_fake(renderer);

	(void)op_id;
	check(pv_id_map_get(&fake->resources, resource_id) != NULL, "a file for no resource");
	check(fd >= 0 && offset_bytes == 0 && size_bytes > 0, "no file");
	return fake->result;
}

#define COMMON_OPS                                                                                                     \
	.name = "fake", .resource_create = resource_create, .resource_destroy = resource_destroy,                      \
	.create_fence = create_fence, .capset_info = capset_info, .capset = capset, .context_create = context_create,  \
	.context_destroy = context_destroy, .submit = submit, .blob_export = blob_export

static const struct pv_renderer_ops ops = {COMMON_OPS};
static const struct pv_renderer_ops opengl_ops = {COMMON_OPS, .context_attach = context_attach,
						  .transfer_3d = transfer_3d, .attach_file = attach_file};

void fake_renderer_init(struct fake_renderer *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->base.ops = &ops;
}

void fake_renderer_init_opengl(struct fake_renderer *fake)
{
	fake_renderer_init(fake);
	fake->base.ops = &opengl_ops;
	fake->opengl = true;
}

void fake_renderer_finish(struct fake_renderer *fake)
{
	check(fake->contexts.count == 0, "a context is left");
	check(fake->resources.count == 0, "a resource is left");
	check(fake->nr_ops == 0, "an op is left");
	check(fake->nr_fences == 0, "a fence is left");
	pv_id_map_finish(&fake->contexts);
	pv_id_map_finish(&fake->resources);
}

/* SPDX-License-Identifier: MIT */
#include "virgl/import.h"

#include <stdlib.h>

#include "base/log.h"
#include "gpu/frame.h"
#include "gpu/texture.h"
#include "virgl/command.h"
#include "virgl/sampled.h"

#define MODULE "virgl"

/* Of the command that gives a blob its type. */
enum {
	/* Words from the header on; further planes follow. */
	SET_TYPE_RESOURCE = 1,
	SET_TYPE_FORMAT = 2,
	SET_TYPE_WIDTH = 4,
	SET_TYPE_HEIGHT = 5,
	SET_TYPE_STRIDE = 9,
	SET_TYPE_OFFSET = 10,
	SET_TYPE_WORDS = 11,
};

/* Gallium's. */
enum { TARGET_2D = 2, BIND_RENDER_TARGET = 1 << 1, BIND_SAMPLER_VIEW = 1 << 3 };

/* Formats that windows have; 0: another. */
static uint32_t bytes_per_pixel(uint32_t format)
{
	switch (format) {
	case 64: /* R8 */
		return 1;
	case 7:  /* B5G6R5 */
	case 65: /* R8G8 */
		return 2;
	case 8:   /* R10G10B10A2 */
	case 131: /* B10G10R10A2 */
	case 233: /* B10G10R10X2 */
	case 308: /* R10G10B10X2 */
		return 4;
	case 51:  /* R16G16B16A16 */
	case 94:  /* the same of floats */
	case 234: /* R16G16B16X16 */
	case 236: /* the same of floats */
		return 8;
	default:
		return pv_virgl_shown_format(format) ? 4 : 0;
	}
}

static void attach_texture(const struct pv_virgl_context *context, const struct pv_virgl_resource *resource)
{
	virgl_renderer_ctx_attach_resource((int)context->id, (int)resource->id);
}

enum pv_status pv_virgl_import_attach(struct pv_virgl_context *context, struct pv_virgl_resource *resource)
{
	struct pv_virgl_import *import;

	if (pv_id_map_get(&context->imports, resource->id))
		return PV_OK;
	if (context->imports.count == PV_VIRGL_MAX_IMPORTS) {
		PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "context %u has %d blobs of other renderers already",
			       context->id, PV_VIRGL_MAX_IMPORTS);
		return PV_ERR_NO_MEMORY;
	}
	import = malloc(sizeof(*import));
	if (!import)
		return PV_ERR_NO_MEMORY;
	*import = (struct pv_virgl_import){.resource = resource};
	if (pv_id_map_add(&context->imports, resource->id, import) != PV_OK) {
		free(import);
		return PV_ERR_NO_MEMORY;
	}
	/* Another context has said already what it is. */
	if (pv_virgl_is_typed(resource))
		attach_texture(context, resource);
	return PV_OK;
}

void pv_virgl_import_detach(struct pv_virgl_context *context, uint32_t resource_id)
{
	struct pv_virgl_import *import = pv_id_map_remove(&context->imports, resource_id);

	if (!import)
		return;
	if (pv_virgl_is_typed(import->resource))
		virgl_renderer_ctx_detach_resource((int)context->id, (int)resource_id);
	free(import);
	if (context->imports.count == 0)
		pv_virgl_sampled_forget(context);
}

void pv_virgl_import_detach_all(struct pv_virgl_context *context)
{
	const struct pv_virgl_import *import;
	uint32_t cursor = 0;

	while ((import = pv_id_map_any(&context->imports, &cursor)))
		pv_virgl_import_detach(context, import->resource->id);
	pv_id_map_finish(&context->imports);
}

/* The library would count a picture beyond the memory as an error of the context. */
static bool fits(const struct pv_virgl_resource *resource)
{
	uint64_t row = (uint64_t)resource->width * bytes_per_pixel(resource->format), end;

	return row > 0 && resource->stride_bytes >= row &&
	       pv_add_u64(resource->offset_bytes, (uint64_t)(resource->height - 1) * resource->stride_bytes, &end) &&
	       pv_add_u64(end, row, &end) && end <= resource->backing_bytes && end <= INT32_MAX;
}

static void fetch(const struct pv_virgl_context *context, const struct pv_virgl_resource *resource)
{
	struct virgl_box box = {.width = resource->width, .height = resource->height, .depth = 1};

	if (!resource->file.iov_base || !fits(resource))
		return;
	resource->virgl->imported_bytes +=
	    (uint64_t)resource->width * resource->height * bytes_per_pixel(resource->format);
	(void)virgl_renderer_transfer_write_iov(resource->id, context->id, 0, resource->stride_bytes, 0, &box,
						resource->offset_bytes, NULL, 0);
}

/* The device has counted a texture that is not much more than the blob. */
static bool is_paid_for(const struct virgl_renderer_resource_create_args *args,
			const struct pv_virgl_resource *resource)
{
	const struct pv_resource_info info = {
	    .format = args->format, .width = args->width, .height = args->height, .texture = {.target = args->target}};

	return args->width > 0 && args->height > 0 && args->width <= PV_FRAME_MAX_SIDE &&
	       args->height <= PV_FRAME_MAX_SIDE &&
	       pv_texture_cost_bytes(&info) <= pv_texture_max_import_bytes(resource->blob_bytes);
}

/* Tells whether the command is dealt with; else it is the library's to judge. */
static bool set_type(struct pv_virgl_context *context, const uint32_t *command, size_t nr_words)
{
	const struct pv_virgl_import *import;
	struct pv_virgl_resource *resource;
	struct virgl_renderer_resource_create_args args = {
	    .target = TARGET_2D, .bind = BIND_RENDER_TARGET | BIND_SAMPLER_VIEW, .depth = 1, .array_size = 1};

	if (nr_words < SET_TYPE_WORDS)
		return false;
	import = pv_id_map_get(&context->imports, command[SET_TYPE_RESOURCE]);
	if (!import)
		return false;
	resource = import->resource;
	/* Once for all contexts. */
	if (pv_virgl_is_typed(resource))
		return true;
	args.handle = resource->id;
	args.format = command[SET_TYPE_FORMAT];
	args.width = command[SET_TYPE_WIDTH];
	args.height = command[SET_TYPE_HEIGHT];
	if (!is_paid_for(&args, resource) || virgl_renderer_resource_create(&args, NULL, 0) != 0) {
		PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "context %u: blob %u cannot be a texture: format %u, %u x %u",
			       context->id, resource->id, args.format, args.width, args.height);
		return false;
	}
	resource->format = args.format;
	resource->width = args.width;
	resource->height = args.height;
	resource->target = args.target;
	resource->stride_bytes = command[SET_TYPE_STRIDE];
	resource->offset_bytes = command[SET_TYPE_OFFSET];
	if (resource->file.iov_base && !fits(resource))
		PV_LOG_LIMITED(
		    PV_LOG_WARNING, MODULE,
		    "context %u: blob %u (%llu bytes) stays empty: format %u, %u x %u, rows %u apart, from %u",
		    context->id, resource->id, (unsigned long long)resource->backing_bytes, args.format, args.width,
		    args.height, resource->stride_bytes, resource->offset_bytes);
	if (!pv_virgl_attach_file(resource))
		resource->backing_bytes = 0;
	for (uint32_t i = 0; i < resource->virgl->contexts.capacity; i++) {
		const struct pv_virgl_context *other = resource->virgl->contexts.slots[i].value;

		if (resource->virgl->contexts.slots[i].id != 0 && pv_id_map_get(&other->imports, resource->id))
			attach_texture(other, resource);
	}
	fetch(context, resource);
	return true;
}

static void fetch_wanted(struct pv_virgl_context *context)
{
	for (uint32_t i = 0; i < context->imports.capacity; i++) {
		struct pv_virgl_import *import = context->imports.slots[i].value;

		if (context->imports.slots[i].id == 0 || !(import->wanted || import->always_wanted))
			continue;
		import->wanted = false;
		if (pv_virgl_is_typed(import->resource))
			fetch(context, import->resource);
	}
}

int pv_virgl_import_submit(struct pv_virgl_context *context, const uint32_t *commands, size_t nr_words)
{
	size_t start = 0;

	pv_virgl_sampled_follow(context, commands, nr_words);
	fetch_wanted(context);
	for (size_t at = 0, len; at < nr_words; at += len) {
		int error;

		len = pv_virgl_command_words(commands[at]);
		if (len > nr_words - at)
			break; /* the library says so */
		if (pv_virgl_command_code(commands[at]) != PV_VIRGL_CMD_PIPE_RESOURCE_SET_TYPE)
			continue;
		error = at > start ? pv_virgl_execute(context, commands + start, at - start) : 0;
		if (error)
			return error;
		start = set_type(context, commands + at, len) ? at + len : at;
	}
	return nr_words > start ? pv_virgl_execute(context, commands + start, nr_words - start) : 0;
}

/* SPDX-License-Identifier: MIT */
#include "virgl/stream.h"

#include <stdlib.h>

#include "base/log.h"
#include "virgl/command.h"

#define MODULE "virgl"

#define SHADER_CONTINUES (1u << 31) /* in the fourth word */

struct object {
	uint32_t sub;
	uint64_t bytes;
};

static bool hold(struct pv_virgl_context *context, uint64_t bytes)
{
	struct pv_virgl *virgl = context->virgl;

	if (!pv_range_fits(virgl->held_bytes, bytes, virgl->max_held_bytes)) {
		PV_LOG_LIMITED(
		    PV_LOG_WARNING, MODULE,
		    "context %u: the guest's GL contexts, shaders and other objects need more than %llu MiB; "
		    "see --max-host-memory",
		    context->id, (unsigned long long)(virgl->max_held_bytes >> 20));
		return false;
	}
	virgl->held_bytes += bytes;
	context->stream.held_bytes += bytes;
	return true;
}

bool pv_virgl_stream_start(struct pv_virgl_context *context)
{
	return hold(context, PV_VIRGL_CONTEXT_BYTES);
}

/* ---- GL contexts ---- */

static bool has_sub(const struct pv_virgl_stream *stream, uint32_t id)
{
	return id == 0 || pv_id_map_get(&stream->subs, id);
}

/* Once for each: the library has none of the same number twice, and one of number 0 from the start. */
static bool create_sub(struct pv_virgl_context *context, uint32_t id)
{
	return has_sub(&context->stream, id) ||
	       (hold(context, PV_VIRGL_CONTEXT_BYTES) && pv_id_map_add(&context->stream.subs, id, context) == PV_OK);
}

/* With its objects. */
static void end_sub(struct pv_virgl_stream *stream, uint32_t id)
{
	if (stream->is_blurred || !pv_id_map_remove(&stream->subs, id))
		return;
	stream->ended_bytes += PV_VIRGL_CONTEXT_BYTES;
	if (stream->sub == id)
		stream->sub = 0;
	for (uint32_t i = 0; i < stream->objects.capacity; i++) {
		struct object *object = stream->objects.slots[i].value;

		if (stream->objects.slots[i].id == 0 || object->sub != id)
			continue;
		/* One from behind may move here. */
		(void)pv_id_map_remove(&stream->objects, stream->objects.slots[i].id);
		stream->ended_bytes += object->bytes;
		free(object);
		i--;
	}
}

/* ---- Objects ---- */

/* With what the command has for it. */
static uint64_t cost_of(uint32_t header)
{
	uint64_t words_bytes = 4 * pv_virgl_command_words(header);

	switch (pv_virgl_command_object(header)) {
	case PV_VIRGL_OBJECT_SHADER:
		return 32768 + words_bytes;
	case PV_VIRGL_OBJECT_SAMPLER_VIEW:
	case PV_VIRGL_OBJECT_SURFACE:
		/* Often a texture object of the host's. */
		return 4096;
	default:
		return 512 + words_bytes;
	}
}

/* One whose number is taken stays counted: the library forgets the one that was there, but does not free it. */
static bool create_object(struct pv_virgl_context *context, const uint32_t *command, size_t nr_words)
{
	struct pv_virgl_stream *stream = &context->stream;
	struct object *object = pv_id_map_get(&stream->objects, command[1]);
	bool is_shader = pv_virgl_command_object(command[0]) == PV_VIRGL_OBJECT_SHADER;
	bool continues = is_shader && nr_words > 3 && (command[3] & SHADER_CONTINUES);
	uint64_t bytes = continues ? 4 * nr_words : cost_of(command[0]);

	if (!hold(context, bytes))
		return false;
	if (stream->is_blurred)
		return true;
	if (object && continues && object->sub == stream->sub)
		object->bytes += bytes;
	if (object || command[1] == 0)
		return true;
	object = malloc(sizeof(*object));
	if (!object)
		return false;
	*object = (struct object){.sub = stream->sub, .bytes = bytes};
	if (pv_id_map_add(&stream->objects, command[1], object) == PV_OK)
		return true;
	free(object);
	return false;
}

static void end_object(struct pv_virgl_stream *stream, uint32_t handle)
{
	struct object *object = pv_id_map_get(&stream->objects, handle);

	if (!object || object->sub != stream->sub || stream->is_blurred)
		return;
	(void)pv_id_map_remove(&stream->objects, handle);
	stream->ended_bytes += object->bytes;
	free(object);
}

/* ---- Command buffers ---- */

static bool take(struct pv_virgl_context *context, const uint32_t *command, size_t nr_words)
{
	switch (pv_virgl_command_code(command[0])) {
	case PV_VIRGL_CMD_PIPE_RESOURCE_CREATE:
		/* For GL_ARB_buffer_storage, which is not offered. */
		PV_LOG_LIMITED(PV_LOG_WARNING, MODULE, "context %u makes a resource in its command buffer",
			       context->id);
		return false;
	case PV_VIRGL_CMD_CREATE_OBJECT:
		return nr_words < 2 || create_object(context, command, nr_words);
	case PV_VIRGL_CMD_DESTROY_OBJECT:
		if (nr_words > 1)
			end_object(&context->stream, command[1]);
		return true;
	case PV_VIRGL_CMD_SET_SUB_CTX:
		if (nr_words > 1 && has_sub(&context->stream, command[1]))
			context->stream.sub = command[1];
		return true;
	case PV_VIRGL_CMD_CREATE_SUB_CTX:
		return nr_words < 2 || create_sub(context, command[1]);
	case PV_VIRGL_CMD_DESTROY_SUB_CTX:
		if (nr_words > 1)
			end_sub(&context->stream, command[1]);
		return true;
	default:
		return true;
	}
}

bool pv_virgl_stream_begin(struct pv_virgl_context *context, const uint32_t *commands, size_t nr_words)
{
	for (size_t at = 0, len; at < nr_words; at += len) {
		len = pv_virgl_command_words(commands[at]);
		if (len > nr_words - at)
			break; /* the library says so */
		if (!take(context, commands + at, len))
			return false;
	}
	return true;
}

void pv_virgl_stream_end(struct pv_virgl_context *context, bool done)
{
	struct pv_virgl_stream *stream = &context->stream;

	if (done) {
		context->virgl->held_bytes -= stream->ended_bytes;
		stream->held_bytes -= stream->ended_bytes;
	}
	stream->is_blurred = stream->is_blurred || !done;
	stream->ended_bytes = 0;
}

void pv_virgl_stream_finish(struct pv_virgl_context *context)
{
	struct pv_virgl_stream *stream = &context->stream;

	context->virgl->held_bytes -= stream->held_bytes;
	for (uint32_t i = 0; i < stream->objects.capacity; i++)
		if (stream->objects.slots[i].id != 0)
			free(stream->objects.slots[i].value);
	pv_id_map_finish(&stream->objects);
	pv_id_map_finish(&stream->subs);
}

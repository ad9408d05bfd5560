/* SPDX-License-Identifier: MIT */
#include "virgl/sampled.h"

#include <stdlib.h>

#include "virgl/command.h"
#include "virgl/import.h"

/* Words from the header on. */
enum {
	OBJECT_HANDLE = 1,
	VIEW_RESOURCE = 2,
	VIEWS_SHADER = 1,
	VIEWS_START = 2,
	VIEWS_FIRST = 3,
};

enum { NR_SHADERS = 6, NR_SLOTS = 32, MAX_SUB_CONTEXTS = 64 };

/* A pipe context of the guest's driver: objects and bindings of its own. */
struct pv_virgl_sub_context {
	struct pv_virgl_sub_context *next;
	uint32_t id;
	struct pv_id_map views;               /* of imports, by handle; the values are their ids */
	uint32_t bound[NR_SHADERS][NR_SLOTS]; /* ids of imports; 0: none */
};

struct command {
	uint32_t code, object_type;
	const uint32_t *words; /* with the header */
	size_t nr_words;
};

static void want(const struct pv_virgl_context *context, uint32_t resource_id)
{
	struct pv_virgl_import *import = pv_id_map_get(&context->imports, resource_id);

	if (import)
		import->wanted = true;
}

static void want_bound(const struct pv_virgl_context *context)
{
	const struct pv_virgl_sub_context *sub = context->sampled.current;

	for (uint32_t shader = 0; sub && shader < NR_SHADERS; shader++)
		for (uint32_t slot = 0; slot < NR_SLOTS; slot++)
			if (sub->bound[shader][slot] != 0)
				want(context, sub->bound[shader][slot]);
}

static void free_sub_context(struct pv_virgl_sub_context *sub)
{
	pv_id_map_finish(&sub->views);
	free(sub);
}

static struct pv_virgl_sub_context **find_sub_context(struct pv_virgl_context *context, uint32_t id)
{
	struct pv_virgl_sub_context **link = &context->sampled.first;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

static void set_sub_context(struct pv_virgl_context *context, uint32_t id)
{
	struct pv_virgl_sub_context **link = find_sub_context(context, id), *sub = *link;

	if (!sub && context->sampled.nr_sub_contexts < MAX_SUB_CONTEXTS) {
		sub = calloc(1, sizeof(*sub));
		if (sub) {
			sub->id = id;
			context->sampled.nr_sub_contexts++;
			*link = sub;
		}
	}
	if (!sub)
		context->sampled.lost_track = true;
	context->sampled.current = sub;
	want_bound(context);
}

static void destroy_sub_context(struct pv_virgl_context *context, uint32_t id)
{
	struct pv_virgl_sub_context **link = find_sub_context(context, id), *sub = *link;

	if (!sub)
		return;
	*link = sub->next;
	context->sampled.nr_sub_contexts--;
	if (context->sampled.current == sub)
		context->sampled.current = NULL;
	free_sub_context(sub);
}

/* A handle means another object from now on. What it meant stays bound where it is. */
static void set_view(struct pv_virgl_context *context, uint32_t handle, uint32_t resource_id)
{
	struct pv_virgl_sub_context *sub = context->sampled.current;
	bool is_import = pv_id_map_get(&context->imports, resource_id);

	if (handle == 0)
		return;
	if (sub)
		(void)pv_id_map_remove(&sub->views, handle);
	/* Of which sub-context it is may be unknown. */
	if (is_import && (!sub || pv_id_map_add(&sub->views, handle, (void *)(uintptr_t)resource_id) != PV_OK))
		context->sampled.lost_track = true;
}

static void bind(struct pv_virgl_context *context, const struct command *command)
{
	struct pv_virgl_sub_context *sub = context->sampled.current;

	/* It may be one whose views are known. */
	if (!sub)
		context->sampled.lost_track = true;
	if (!sub || command->nr_words < VIEWS_FIRST || command->words[VIEWS_SHADER] >= NR_SHADERS)
		return;
	for (size_t i = VIEWS_FIRST; i < command->nr_words; i++) {
		uint32_t resource_id = (uint32_t)(uintptr_t)pv_id_map_get(&sub->views, command->words[i]);
		uint64_t slot = (uint64_t)command->words[VIEWS_START] + (i - VIEWS_FIRST);

		if (slot < NR_SLOTS)
			sub->bound[command->words[VIEWS_SHADER]][slot] = resource_id;
		else if (resource_id != 0)
			context->sampled.lost_track = true;
	}
	want_bound(context);
}

static void want_named(const struct pv_virgl_context *context, const struct command *command, bool for_good)
{
	for (size_t i = 1; i < command->nr_words; i++) {
		struct pv_virgl_import *import = pv_id_map_get(&context->imports, command->words[i]);

		if (!import)
			continue;
		import->wanted = true;
		import->always_wanted |= for_good;
	}
}

static void follow(struct pv_virgl_context *context, const struct command *command)
{
	bool has_handle = command->nr_words > OBJECT_HANDLE;
	uint32_t handle = has_handle ? command->words[OBJECT_HANDLE] : 0;

	switch (command->code) {
	case PV_VIRGL_CMD_SET_SUB_CTX:
		set_sub_context(context, handle);
		break;
	case PV_VIRGL_CMD_DESTROY_SUB_CTX:
		destroy_sub_context(context, handle);
		break;
	case PV_VIRGL_CMD_CREATE_OBJECT:
		set_view(context, handle,
			 command->object_type == PV_VIRGL_OBJECT_SAMPLER_VIEW && command->nr_words > VIEW_RESOURCE
			     ? command->words[VIEW_RESOURCE]
			     : 0);
		if (command->object_type != PV_VIRGL_OBJECT_SHADER)
			want_named(context, command, false);
		break;
	case PV_VIRGL_CMD_DESTROY_OBJECT:
		set_view(context, handle, 0);
		break;
	case PV_VIRGL_CMD_SET_SAMPLER_VIEWS:
		bind(context, command);
		break;
	/* Many, long, and without names. */
	case PV_VIRGL_CMD_DRAW_VBO:
	case PV_VIRGL_CMD_SET_CONSTANT_BUFFER:
		break;
	default:
		want_named(context, command, command->code == PV_VIRGL_CMD_SET_SHADER_IMAGES);
		break;
	}
}

void pv_virgl_sampled_follow(struct pv_virgl_context *context, const uint32_t *commands, size_t nr_words)
{
	bool is_known = context->sampled.current != NULL;

	want_bound(context);
	for (size_t at = 0; at < nr_words;) {
		struct command command = {.code = pv_virgl_command_code(commands[at]),
					  .object_type = pv_virgl_command_object(commands[at]),
					  .words = commands + at,
					  .nr_words = pv_virgl_command_words(commands[at])};

		if (command.nr_words > nr_words - at)
			break; /* the library says so */
		follow(context, &command);
		at += command.nr_words;
	}
	if (is_known && context->sampled.current && !context->sampled.lost_track)
		return;
	/* Drivers say at the start of a buffer which sub-context it is for. */
	for (uint32_t i = 0; i < context->imports.capacity; i++)
		if (context->imports.slots[i].id != 0)
			((struct pv_virgl_import *)context->imports.slots[i].value)->wanted = true;
}

void pv_virgl_sampled_forget(struct pv_virgl_context *context)
{
	while (context->sampled.first) {
		struct pv_virgl_sub_context *sub = context->sampled.first;

		context->sampled.first = sub->next;
		free_sub_context(sub);
	}
	context->sampled.current = NULL;
	context->sampled.nr_sub_contexts = 0;
	context->sampled.lost_track = false;
}

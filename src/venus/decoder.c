/* SPDX-License-Identifier: MIT */
#include "venus/decoder.h"

void pv_venus_fail(struct pv_venus_decoder *decoder, const char *field, const char *reason, uint64_t value)
{
	if (decoder->failed)
		return;
	decoder->failed = true;
	decoder->failed_field = field;
	decoder->failed_reason = reason;
	decoder->failed_value = value;
}

bool pv_venus_copy_more(struct pv_venus_decoder *decoder, uint64_t bytes)
{
	uint64_t have = (uint64_t)(decoder->end - decoder->cursor);
	uint64_t missing = bytes > have ? bytes - have : 0;

	if (missing > decoder->source_bytes)
		return false;
	/* `end` is const for those who decode. */
	memcpy((uint8_t *)(uintptr_t)decoder->end, decoder->source, missing);
	decoder->end += missing;
	decoder->source += missing;
	decoder->source_bytes -= missing;
	return true;
}

bool pv_venus_need_more(struct pv_venus_decoder *decoder, uint64_t bytes, const char *field)
{
	if (pv_venus_copy_more(decoder, bytes))
		return true;
	pv_venus_fail(decoder, field, "the stream ends inside it", bytes);
	/* Nothing of the rest may be taken for more arguments. */
	decoder->cursor = decoder->end;
	return false;
}

void *pv_venus_alloc_failed(struct pv_venus_decoder *decoder, uint64_t bytes)
{
	pv_venus_fail(decoder, "arguments", "they need too much memory", bytes);
	return NULL;
}

struct pv_venus_object *pv_venus_lookup_failed(struct pv_venus_decoder *decoder, uint64_t id, enum pv_venus_type type,
					       const char *field)
{
	struct pv_venus_object *object = id ? pv_venus_object_find(decoder->objects, id) : NULL;

	if (!object) {
		pv_venus_fail(decoder, field, id ? "there is no such object" : "it must not be NULL", id);
		return NULL;
	}
	if (object->type != type) {
		pv_venus_fail(decoder, field, "the object is of another type", id);
		return NULL;
	}
	if (object->device != decoder->device) {
		pv_venus_fail(decoder, field, "the object is of another device", id);
		return NULL;
	}
	if (object->failed)
		decoder->tombstone = true;
	return object;
}

void pv_venus_check_new_id(struct pv_venus_decoder *decoder, uint64_t id, const char *field)
{
	if (id == 0)
		pv_venus_fail(decoder, field, "0 is no id for a new object", id);
	else if (!decoder->failed && pv_venus_object_find(decoder->objects, id))
		pv_venus_fail(decoder, field, "the id is taken", id);
}

bool pv_venus_created(struct pv_venus_decoder *decoder, enum pv_venus_type type, uint64_t id, uint64_t handle,
		      int32_t result, struct pv_venus_object *owner)
{
	/* Of several pipelines some may have been made although others failed; else a driver may leave anything. */
	bool failed = handle == 0 || (result < 0 && type != PV_VENUS_PIPELINE);
	struct pv_venus_object_info info = {.id = id, .type = type, .failed = failed, .owner = owner};
	struct pv_venus_object *object;
	enum pv_status status;

	/* The guest is told, and will not name it. */
	if (failed && decoder->command_flags & PV_VENUS_GENERATE_REPLY)
		return true;
	info.handle = failed ? 0 : handle;
	info.device = owner ? owner->device : NULL;
	status = pv_venus_object_add(decoder->objects, &info, &object);
	if (status == PV_OK)
		return true;
	/* It was free when it was checked: another ring took it, or destroyed the owner, since. */
	pv_venus_fail(decoder, pv_venus_type_name(type),
		      status == PV_ERR_GUEST ? "the id is taken, or the owner is gone" : "there are too many objects",
		      id);
	return false;
}

/* SPDX-License-Identifier: MIT */
/* What the hand-written command handlers share. */
#ifndef PV_VENUS_HANDLER_H
#define PV_VENUS_HANDLER_H

#include "venus/context.h"
#include "venus/decoder.h"
#include "venus/device.h"
#include "venus/generated/commands.h"

static inline struct pv_venus_device *pv_venus_device_of(const struct pv_venus_object *object)
{
	return atomic_load_explicit(&object->device, memory_order_relaxed);
}

/* A function that a handler is about to call; false: the driver has none, and the stream has failed. */
static inline bool pv_venus_has_function(struct pv_venus_decoder *d, const void *function, const char *command)
{
	if (__builtin_expect(function != NULL, 1))
		return true;
	pv_venus_fail(d, command, "the host's device has no such function", 0);
	return false;
}
#define PV_VENUS_HAS(d, function, command) pv_venus_has_function((d), (const void *)(uintptr_t)(function), (command))

/* The guest wants to be told; else a failure to make an object leaves a tombstone. */
static inline bool pv_venus_wants_reply(const struct pv_venus_decoder *d)
{
	return d->command_flags & PV_VENUS_GENERATE_REPLY;
}

/* A host handle as it is kept in an object. */
#define PV_VENUS_HANDLE(handle) ((uint64_t)(uintptr_t)(handle))

/*
 * As pv_venus_created(), for an object with something of its own (`extra`, dropped when the object failed). False: the
 * stream has failed, the caller destroys the handle.
 */
PV_MUST_USE bool pv_venus_created_with(struct pv_venus_decoder *d, enum pv_venus_type type, uint64_t id,
				       uint64_t handle, VkResult result, struct pv_venus_object *owner, void *extra);

/*
 * Vulkan's way to return a list: how many there are if `array` is NULL, else as many as there is room for. Returns how
 * many to write.
 */
static inline uint32_t pv_venus_list(uint32_t available, bool has_array, uint32_t *count, VkResult *result)
{
	uint32_t room = has_array ? *count : available;
	uint32_t written = room < available ? room : available;

	*result = written < available ? VK_INCOMPLETE : VK_SUCCESS;
	*count = written;
	return has_array ? written : 0;
}

#endif

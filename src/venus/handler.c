/* SPDX-License-Identifier: MIT */
#include "venus/handler.h"

bool pv_venus_created_with(struct pv_venus_decoder *d, enum pv_venus_type type, uint64_t id, uint64_t handle,
			   VkResult result, struct pv_venus_object *owner, void *extra)
{
	struct pv_venus_object_info info = {.id = id,
					    .handle = handle,
					    .type = type,
					    .device = pv_venus_device_of(owner),
					    .owner = owner,
					    .extra = extra};
	struct pv_venus_object *object;
	enum pv_status status;

	if (handle == 0 || result < 0)
		return pv_venus_created(d, type, id, 0, result, owner);
	status = pv_venus_object_add(d->objects, &info, &object);
	if (status == PV_OK)
		return true;
	pv_venus_fail(d, pv_venus_type_name(type),
		      status == PV_ERR_GUEST ? "the id is taken, or the owner is gone" : "there are too many objects",
		      id);
	return false;
}

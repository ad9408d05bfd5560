/* SPDX-License-Identifier: MIT */
/* A guest's VkDevice on the host. */
#ifndef PV_VENUS_DEVICE_H
#define PV_VENUS_DEVICE_H

#include "venus/generated/functions.h"
#include "venus/object.h"

struct pv_venus_physical_device;

struct pv_venus_device {
	/* Immutable after create. What the driver lacks is NULL. First: hot commands go straight to it. */
	struct pv_venus_device_functions fn;
	VkDevice handle;
	struct pv_venus_physical_device *physical;
};

#endif

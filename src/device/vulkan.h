/* SPDX-License-Identifier: MIT */
#ifndef PV_DEVICE_VULKAN_H
#define PV_DEVICE_VULKAN_H

#include <yyjson.h>

#include "venus/host.h"

/* What a device is, without what it can do for a guest. */
void pv_vulkan_describe(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct pv_venus_host_device *device);

#endif

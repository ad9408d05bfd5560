/* SPDX-License-Identifier: MIT */
/* The Vulkan devices of this host, and what each of them can do for a guest. */
#ifndef PV_VULKAN_H
#define PV_VULKAN_H

#include "pv/api.h"
#include "pv/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pv_vulkan_devices_params {
	uint32_t struct_size; /* sizeof(struct pv_vulkan_devices_params); what a shorter one lacks counts as 0 */
	/* As if the host had MoltenVK: what it lacks is not used. For tests of that case. */
	bool emulate_portability;
};

/*
 * A JSON object in *out_json, to be freed with pv_free(): "devices", the best one first, each with
 *
 *     index, name, type, driver, driver_info, vendor_id, device_id, device_uuid, driver_uuid, api_version, memory_bytes
 *     usable      whether a guest can be given it; if not, "refusal" says why
 *     guest       if usable, what the guest's driver is told: api_version, extensions (names), queue_families,
 *                 memory_types, shared_memory (bytes are shared with guests without a copy), portability_subset
 *
 * and "chosen", the index of the one that is used unless another is asked for, or null, with "why_none" then. "index"
 * is what pv_vtest_server_params.device takes. Loads the host's Vulkan drivers, which takes a moment; any thread.
 *
 * PV_ERR_UNSUPPORTED: this build has no Vulkan. PV_ERR_HOST: Vulkan does not start on this host. Both are logged.
 */
PV_API PV_MUST_USE enum pv_status pv_vulkan_devices(const struct pv_vulkan_devices_params *PV_NONNULL params,
						    char *PV_NULLABLE *PV_NONNULL out_json);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/* Until the renderer's own files are here: what host Vulkan's handlers call of them. */
#include "venus/context.h"
#include "venus/timeline.h"

#define WEAK __attribute__((weak))

WEAK struct pv_venus_resource *pv_venus_context_resource(struct pv_venus_context *context, uint32_t id)
{
	(void)context, (void)id;
	return NULL;
}

WEAK bool pv_venus_should_stop(const struct pv_venus_decoder *decoder)
{
	(void)decoder;
	return false;
}

WEAK enum pv_status pv_venus_timeline_create(const struct pv_venus_timeline_params *params,
					     struct pv_venus_timeline **out)
{
	(void)params;
	*out = NULL;
	return PV_OK;
}

WEAK void pv_venus_timeline_destroy(struct pv_venus_timeline *timeline)
{
	(void)timeline;
}

WEAK void pv_venus_timeline_submit_pending(struct pv_venus_timeline *timeline)
{
	(void)timeline;
}

/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "device/renderers.h"
#include "pv/opengl.h"

static enum pv_status unsupported(void)
{
	pv_log(
	    PV_LOG_ERROR, "device",
	    "this build has no OpenGL renderer: build it with -Dvirgl=enabled, virglrenderer 0.10.4 or newer and EGL");
	return PV_ERR_UNSUPPORTED;
}

enum pv_status pv_device_opengl_create(const struct pv_virgl_renderer_params *params, struct pv_renderer **out)
{
	(void)params, (void)out;
	return unsupported();
}

enum pv_status pv_opengl_describe(char **out_json)
{
	(void)out_json;
	return unsupported();
}

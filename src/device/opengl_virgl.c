/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "device/renderers.h"
#include "virgl/renderer.h"

enum pv_status pv_device_opengl_create(struct pv_loop *loop, struct pv_renderer **out)
{
	enum pv_status status = pv_virgl_renderer_create(loop, out);

	if (status == PV_OK)
		pv_log(PV_LOG_INFO, "device", "OpenGL for the guest: %s (%s)", pv_virgl_renderer_gl_name(*out),
		       pv_virgl_renderer_gl_version(*out));
	return status;
}

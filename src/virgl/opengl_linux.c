/* SPDX-License-Identifier: MIT */
/*
 * libepoxy, through which virglrenderer calls OpenGL, opens a library by name at the first call, and aborts if it is
 * not there. A driver does without it, and so do packages: neither libepoxy nor EGL asks for one.
 */
#include "virgl/opengl.h"

#include <dlfcn.h>
#include <virglrenderer.h>

#include "base/log.h"

static bool can_open(const char *name)
{
	void *library = dlopen(name, RTLD_LAZY | RTLD_LOCAL);

	if (library)
		dlclose(library);
	return library != NULL;
}

enum pv_status pv_virgl_opengl_flags(int *out_flags)
{
	if (can_open("libOpenGL.so.0") || can_open("libGL.so.1")) {
		*out_flags = 0;
		return PV_OK;
	}
	if (can_open("libGLESv2.so.2")) {
		*out_flags = VIRGL_RENDERER_USE_GLES;
		return PV_OK;
	}
	pv_log(PV_LOG_WARNING, "virgl",
	       "this host has neither libOpenGL.so.0 nor libGL.so.1: install libopengl0 or libgl1 for OpenGL");
	return PV_ERR_UNSUPPORTED;
}

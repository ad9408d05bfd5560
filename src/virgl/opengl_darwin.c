/* SPDX-License-Identifier: MIT */
/* OpenGL is part of the system. */
#include "virgl/opengl.h"

enum pv_status pv_virgl_opengl_flags(int *out_flags)
{
	*out_flags = 0;
	return PV_OK;
}

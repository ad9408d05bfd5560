/* SPDX-License-Identifier: MIT */
/* virglrenderer's protocol, as far as command buffers are read here before the library gets them. */
#ifndef PV_VIRGL_COMMAND_H
#define PV_VIRGL_COMMAND_H

#include "base/base.h"

/* VIRGL_CCMD_* and VIRGL_OBJECT_*. */
enum {
	PV_VIRGL_CMD_CREATE_OBJECT = 1,
	PV_VIRGL_CMD_DESTROY_OBJECT = 3,
	PV_VIRGL_CMD_DRAW_VBO = 8,
	PV_VIRGL_CMD_SET_SAMPLER_VIEWS = 10,
	PV_VIRGL_CMD_SET_CONSTANT_BUFFER = 12,
	PV_VIRGL_CMD_SET_SUB_CTX = 28,
	PV_VIRGL_CMD_CREATE_SUB_CTX = 29,
	PV_VIRGL_CMD_DESTROY_SUB_CTX = 30,
	PV_VIRGL_CMD_SET_SHADER_IMAGES = 35,
	PV_VIRGL_CMD_PIPE_RESOURCE_CREATE = 48,
	PV_VIRGL_CMD_PIPE_RESOURCE_SET_TYPE = 49,
};
enum { PV_VIRGL_OBJECT_SHADER = 4, PV_VIRGL_OBJECT_SAMPLER_VIEW = 6, PV_VIRGL_OBJECT_SURFACE = 8 };

/* A command's header: what it is, the kind of object that it is about, and its size with the header. */
static inline uint32_t pv_virgl_command_code(uint32_t header)
{
	return header & 0xff;
}

static inline uint32_t pv_virgl_command_object(uint32_t header)
{
	return header >> 8 & 0xff;
}

static inline size_t pv_virgl_command_words(uint32_t header)
{
	return 1 + (size_t)(header >> 16);
}

#endif

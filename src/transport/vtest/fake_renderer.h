/* SPDX-License-Identifier: MIT */
/* A renderer that draws nothing: it answers as it is told, and aborts when it is called against its contract. */
#ifndef PV_TRANSPORT_VTEST_FAKE_RENDERER_H
#define PV_TRANSPORT_VTEST_FAKE_RENDERER_H

#include "base/id_map.h"
#include "gpu/renderer.h"

#define FAKE_CAPSET          4u
#define FAKE_CAPSET_BYTES    160u
#define FAKE_MAX_PENDING     4096u
#define FAKE_GL_CAPSET_BYTES 1000u

struct fake_pending {
	uint64_t id; /* of an op or a fence */
	uint32_t ctx_id, ring_idx;
	struct pv_resource_info resource; /* to be created with the answer; id 0: none */
	uint32_t new_context;             /* the same */
};

struct fake_renderer {
	struct pv_renderer base;
	bool opengl;
	/* What calls from now on do. */
	bool late;             /* ops answer when told to */
	bool late_fences;      /* so do fences */
	enum pv_status result; /* of ops */
	enum pv_status export_result;
	/* Waits, oldest first. */
	struct fake_pending ops[FAKE_MAX_PENDING], fences[FAKE_MAX_PENDING];
	size_t nr_ops, nr_fences;
	/* What there is. */
	struct pv_id_map contexts, resources;
	/* What there was. */
	uint64_t submits, submitted_bytes, nr_created_fences, transfers;
	uint32_t last_ring_idx;
	uint8_t last_commands[64];
	size_t last_len;
	char last_name[80];
	struct pv_resource_info last_resource;
};

void fake_renderer_init(struct fake_renderer *fake);
/* One that has OpenGL as well; its ops are never late. */
void fake_renderer_init_opengl(struct fake_renderer *fake);
/* Everything must have been given back. */
void fake_renderer_finish(struct fake_renderer *fake);
/* Answers the `index`th op that waits, or signals the fence. */
void fake_renderer_answer(struct fake_renderer *fake, size_t index, enum pv_status status);
void fake_renderer_signal(struct fake_renderer *fake, size_t index);

#endif

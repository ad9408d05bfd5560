/* SPDX-License-Identifier: MIT */
/*
 * For tests and measurements of the codec: a context without a host. Every function of Vulkan does nothing and
 * succeeds; it takes the place of our own handlers too, so nothing that defines those may be linked with it. Built
 * with PV_VENUS_NULL_HOST it leaves those alone.
 */
#ifndef PV_VENUS_NULL_DRIVER_H
#define PV_VENUS_NULL_DRIVER_H

#include "venus/codec.h"
#include "venus/device.h"

/* One thread only. */
struct pv_venus_null {
	uint64_t nr_calls; /* of functions and handlers */
	uint64_t last_handle;
	VkResult result; /* of everything that has one */
	/* What vkSetReplyCommandStreamMESA selects a part of, whatever the resource. */
	uint8_t *replies;
	uint64_t replies_bytes;
	/* What vkExecuteCommandStreamsMESA selects parts of. */
	const uint8_t *streams;
	uint64_t streams_bytes;

	/*
	 * A reply that was recorded: the next command gives the same results. NULL cursor: zeros. It fails if the reply
	 * is not the command's.
	 */
	struct pv_venus_decoder recorded;

	struct pv_venus_context context;
	struct pv_venus_device device;
	struct pv_venus_decoder decoder;
};
extern struct pv_venus_null pv_venus_null;

/* Everything as new, with an empty table of objects. False: no memory. */
PV_MUST_USE bool pv_venus_null_start(void);
void pv_venus_null_finish(void);
/* Executes commands until `bytes` end or the stream fails: their number. They need not be aligned. */
uint64_t pv_venus_null_run(const void *stream, uint64_t bytes);
/* An object the stream does not create. */
PV_MUST_USE bool pv_venus_null_add(enum pv_venus_type type, uint64_t id);

/* For what is generated. */
uint64_t pv_venus_null_make(struct pv_venus_decoder *d, enum pv_venus_type type, uint64_t id, VkResult result,
			    struct pv_venus_object *owner);
bool pv_venus_null_fill_head(struct pv_venus_decoder *d, uint32_t stype, void *next,
			     bool (*const fillers[])(struct pv_venus_decoder *d, void *memory));
void pv_venus_null_instance_functions(struct pv_venus_instance_functions *fn);
void pv_venus_null_device_functions(struct pv_venus_device_functions *fn);

#endif

/* SPDX-License-Identifier: MIT */
/* What the handlers of virtio-gpu commands share. */
#ifndef PV_GPU_COMMAND_H
#define PV_GPU_COMMAND_H

#include "base/log.h"
#include "gpu/gpu_internal.h"

#define PV_GPU_ANSWER_LATER 0u

/* Ends a handler with a line in the log. */
#define PV_GPU_REFUSE(type, ...)                                                                                       \
	do {                                                                                                           \
		PV_LOG_LIMITED(PV_LOG_WARNING, "gpu", __VA_ARGS__);                                                    \
		return (type);                                                                                         \
	} while (0)

/* One command in hand. */
struct pv_gpu_call {
	struct pv_gpu *gpu;
	struct pv_gpu_request *request;
	const struct pv_virtq_chain *chain;
	struct pv_gpu_response *response;
};

/* `bytes` is a copy of the fixed part, everything in it a guest's word. Returns the response's type. */
typedef uint32_t pv_gpu_handler(const struct pv_gpu_call *c, const void *bytes);

static inline bool pv_gpu_has_feature(const struct pv_gpu *gpu, unsigned bit)
{
	return gpu->driver_features & 1ull << bit;
}

/* commands.c */
/* NULL: unknown (logged), or being destroyed. */
struct pv_gpu_resource *pv_gpu_find_resource(const struct pv_gpu_call *c, uint32_t guest_id);
/* Makes the resource cost this from now on. PV_ERR_NO_MEMORY: that is too much (logged). Less always succeeds. */
enum pv_status pv_gpu_charge(struct pv_gpu *gpu, struct pv_gpu_resource *resource, const struct pv_gpu_cost *cost);
uint32_t pv_gpu_check_new_id(const struct pv_gpu_call *c, uint32_t guest_id);
/* Enters a resource whose fields are checked and asks the renderer to make it. */
uint32_t pv_gpu_create_resource(const struct pv_gpu_call *c, const struct pv_resource_info *info,
				uint64_t picture_bytes);
/*
 * Reads the backing entries behind a command of `fixed_len` bytes; the spans are the caller's to free. Every entry must
 * lie in guest memory now; it may leave later, so that users check again.
 */
uint32_t pv_gpu_read_backing(const struct pv_gpu_call *c, size_t fixed_len, uint32_t guest_count,
			     struct pv_guest_span **out_spans, uint64_t *out_bytes);
enum pv_status pv_gpu_attach_backing(const struct pv_gpu_call *c, struct pv_gpu_resource *resource,
				     const struct pv_guest_span *spans, uint32_t nr_spans);

/* commands_3d.c */
pv_gpu_handler pv_gpu_get_capset_info, pv_gpu_get_capset, pv_gpu_ctx_create, pv_gpu_ctx_destroy, pv_gpu_ctx_attach,
    pv_gpu_ctx_detach, pv_gpu_create_3d, pv_gpu_transfer_to_host_3d, pv_gpu_transfer_from_host_3d, pv_gpu_submit_3d,
    pv_gpu_map_blob, pv_gpu_unmap_blob;
/* The rest of RESOURCE_CREATE_BLOB for memory of the host's. The new id and the flags are checked. */
uint32_t pv_gpu_create_host_blob(const struct pv_gpu_call *c, const struct pv_gpu_create_blob *cmd);
/* A frame that shows the window's bytes; the caller gets a reference. `layout` is checked against the blob's size. */
enum pv_status pv_gpu_get_mapped_frame(struct pv_gpu *gpu, struct pv_gpu_resource *resource,
				       const struct pv_blob_layout *layout, struct pv_frame **out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a device's process and its worker say to each other: the ops and events of src/gpu/renderer.h, as messages of a
 * channel. Both ends are of the same build. An op that wants an answer carries a token, which its DONE repeats.
 */
#ifndef PV_WORKER_PROTO_H
#define PV_WORKER_PROTO_H

#include "gpu/renderer.h"

#define PV_WORKER_VERSION 3

#define PV_WORKER_NAME_BYTES       256
#define PV_WORKER_MAX_CAPSETS      8
#define PV_WORKER_MAX_VERSIONS     8 /* of one capability set: 0 to 7 */
#define PV_WORKER_MAX_CAPSET_BYTES 4096
/* Behind a guest's memory; QEMU has one for each memory backend. */
#define PV_WORKER_MAX_FILES 32

/* From the device. */
enum pv_worker_request {
	PV_WORKER_HELLO = 1,        /* pv_worker_hello; first of all */
	PV_WORKER_WINDOW,           /* pv_worker_window, fd */
	PV_WORKER_FILE,             /* nothing, fd: one of the next map's */
	PV_WORKER_MEMORY,           /* pv_worker_memory and its parts: the guest's memory from now on */
	PV_WORKER_RESOURCE_CREATE,  /* pv_worker_resource_create */
	PV_WORKER_RESOURCE_DESTROY, /* pv_worker_ids */
	PV_WORKER_ATTACH_BACKING,   /* pv_worker_attach_backing and its spans */
	PV_WORKER_DETACH_BACKING,   /* pv_worker_ids */
	PV_WORKER_TRANSFER,         /* pv_worker_transfer */
	PV_WORKER_TRANSFER_3D,      /* pv_worker_transfer_3d */
	PV_WORKER_FRAME,            /* pv_worker_frame, fd */
	PV_WORKER_UPDATE_FRAME,     /* pv_worker_update_frame */
	PV_WORKER_FETCH_FRAME,      /* pv_worker_fetch_frame */
	PV_WORKER_FENCE,            /* pv_worker_ids */
	PV_WORKER_RESET,            /* nothing */
	PV_WORKER_CONTEXT_CREATE,   /* pv_worker_context_create */
	PV_WORKER_CONTEXT_DESTROY,  /* pv_worker_ids */
	PV_WORKER_CONTEXT_ATTACH,   /* pv_worker_ids */
	PV_WORKER_CONTEXT_DETACH,   /* pv_worker_ids */
	PV_WORKER_SUBMIT,           /* pv_worker_submit and its commands */
	PV_WORKER_BLOB_MAP,         /* pv_worker_blob_map */
	PV_WORKER_BLOB_UNMAP,       /* pv_worker_ids */
	PV_WORKER_GET_MEMORY_BYTES, /* pv_worker_ids */
	PV_WORKER_PING,             /* nothing; PONG comes at once, whatever is pending */
	PV_WORKER_NR_REQUESTS,
};

/* From the worker. */
enum pv_worker_event {
	PV_WORKER_CAPSET = 1,   /* pv_worker_capset and its bytes: before READY */
	PV_WORKER_READY,        /* pv_worker_ready: the answer to HELLO */
	PV_WORKER_DONE,         /* pv_worker_done */
	PV_WORKER_LAST_WORD,    /* pv_worker_last_word */
	PV_WORKER_MEMORY_BYTES, /* pv_worker_memory_bytes */
	PV_WORKER_DMA_BUF,      /* pv_worker_dma_buf, fd */
	PV_WORKER_PONG,         /* nothing */
	PV_WORKER_NR_EVENTS,
};

struct pv_worker_hello {
	uint32_t version, log_level;
	uint32_t emulate_portability, use_guest_vram, has_window, with_dma_bufs;
	uint64_t max_host_bytes; /* 0: as it seems right */
	/* All end with a zero; an empty one was not given. */
	char renderers[PV_WORKER_NAME_BYTES];
	char vulkan_device[PV_WORKER_NAME_BYTES];
	char render_node[PV_WORKER_NAME_BYTES];
};

struct pv_worker_window {
	uint64_t size_bytes;
};

struct pv_worker_memory {
	uint64_t nr_parts;
	struct pv_guest_part parts[]; /* of the files that came since the last map */
};

/* An op that needs no more than ids. Token 0: no answer. */
struct pv_worker_ids {
	uint64_t token;
	uint32_t ctx_id, resource_id, ring_idx, pad;
};

struct pv_worker_resource_create {
	uint64_t token;
	struct pv_resource_info info;
};

struct pv_worker_attach_backing {
	uint64_t token;
	uint32_t resource_id, nr_spans;
	struct pv_guest_span spans[];
};

struct pv_worker_transfer {
	uint64_t token;
	struct pv_transfer transfer;
};

struct pv_worker_transfer_3d {
	uint64_t token;
	struct pv_transfer_3d transfer;
};

/* Where the worker is to put the pixels of a resource when it is told to fetch them: rows without gaps. */
struct pv_worker_frame {
	uint32_t resource_id, width, height, format;
	uint32_t number, pad; /* of this frame, for what is said of it */
};

struct pv_worker_update_frame {
	uint64_t token;
	uint32_t resource_id, pad;
	struct pv_rect rect;
};

/* Token 0: at once, before what is asked for later. */
struct pv_worker_fetch_frame {
	uint64_t token;
	uint32_t resource_id, is_unflushed;
	struct pv_rect rect;
};

struct pv_worker_context_create {
	uint64_t token;
	uint32_t ctx_id, capset_id;
	char name[72];
};

struct pv_worker_submit {
	uint64_t token;
	uint32_t ctx_id, len_bytes;
	uint8_t commands[];
};

struct pv_worker_blob_map {
	uint64_t token;
	uint32_t resource_id, pad;
	uint64_t offset_bytes;
};

struct pv_worker_capset {
	struct pv_capset_info info;
	uint32_t version, len_bytes;
	uint8_t pad[4];
	uint8_t bytes[];
};

struct pv_worker_ready {
	uint32_t version;
	uint32_t status; /* enum pv_status */
	uint32_t has_opengl, wants_memory;
	/* Of the Vulkan device, for people; both end with a zero. */
	char device[PV_WORKER_NAME_BYTES], driver[PV_WORKER_NAME_BYTES];
};

struct pv_worker_done {
	uint64_t token;
	uint32_t status, pad;
};

/* See struct pv_renderer_events. */
struct pv_worker_last_word {
	uint32_t resource_id, bits;
	uint64_t offset_bytes;
};

struct pv_worker_memory_bytes {
	uint32_t ctx_id, pad;
	uint64_t size_bytes;
};

/* What a FRAME is to show is this, as well: see struct pv_dma_buf. */
struct pv_worker_dma_buf {
	uint32_t resource_id, frame_number;
	uint32_t stride_bytes, fourcc;
	uint64_t modifier;
	uint32_t y_0_top, pad;
};

#endif

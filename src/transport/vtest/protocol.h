/* SPDX-License-Identifier: MIT */
/*
 * Mesa's vtest protocol: 32-bit words in the host's byte order. A message is two words, the payload's length and the
 * command, and the payload; the length counts words, but for CREATE_RENDERER, where it counts bytes. A file descriptor
 * goes with a byte of its own behind the reply.
 */
#ifndef PV_TRANSPORT_VTEST_PROTOCOL_H
#define PV_TRANSPORT_VTEST_PROTOCOL_H

#include <stdint.h>

#define PV_VTEST_VERSION 4
/* Before this one there are no contexts, blobs and syncs. */
#define PV_VTEST_VERSION_BLOBS 3
/* Before this one textures pass through the socket. */
#define PV_VTEST_VERSION_SHM 2

#define PV_VTEST_HEADER_BYTES 8

enum pv_vtest_command {
	/* 4 and 5: textures through the socket; 25 to 37: DRM synchronisation objects. Not served. */
	PV_VTEST_GET_CAPS = 1,
	PV_VTEST_RESOURCE_CREATE = 2,
	PV_VTEST_RESOURCE_UNREF = 3,
	PV_VTEST_SUBMIT_CMD = 6,
	PV_VTEST_RESOURCE_BUSY_WAIT = 7,
	PV_VTEST_CREATE_RENDERER = 8,
	PV_VTEST_GET_CAPS2 = 9,
	PV_VTEST_PING_PROTOCOL_VERSION = 10,
	PV_VTEST_PROTOCOL_VERSION = 11,
	PV_VTEST_RESOURCE_CREATE2 = 12,
	PV_VTEST_TRANSFER_GET2 = 13,
	PV_VTEST_TRANSFER_PUT2 = 14,
	PV_VTEST_GET_PARAM = 15,
	PV_VTEST_GET_CAPSET = 16,
	PV_VTEST_CONTEXT_INIT = 17,
	PV_VTEST_RESOURCE_CREATE_BLOB = 18,
	PV_VTEST_SYNC_CREATE = 19,
	PV_VTEST_SYNC_UNREF = 20,
	PV_VTEST_SYNC_READ = 21,
	PV_VTEST_SYNC_WRITE = 22,
	PV_VTEST_SYNC_WAIT = 23,
	PV_VTEST_SUBMIT_CMD2 = 24,
};

/* GET_PARAM */
enum pv_vtest_param {
	PV_VTEST_PARAM_MAX_TIMELINES = 1,
	PV_VTEST_PARAM_TIMELINE_SYNCOBJ = 2,
};

/* RESOURCE_CREATE_BLOB: type, flags, size (low, high), blob id (low, high). */
enum pv_vtest_blob_type {
	PV_VTEST_BLOB_GUEST = 1,
	PV_VTEST_BLOB_HOST3D = 2,
	PV_VTEST_BLOB_HOST3D_GUEST = 3,
};
enum {
	PV_VTEST_BLOB_MAPPABLE = 1 << 0,
	PV_VTEST_BLOB_SHAREABLE = 1 << 1,
	PV_VTEST_BLOB_CROSS_DEVICE = 1 << 2,
	PV_VTEST_BLOB_ALL_FLAGS = 7,
};

/* SYNC_WAIT: flags, timeout in milliseconds, then {id, value low, value high} for each. */
enum { PV_VTEST_WAIT_ANY = 1 << 0 };
#define PV_VTEST_WAIT_FOREVER UINT32_MAX

/*
 * SUBMIT_CMD2: number of batches, a header for each, then what the headers point to. Offsets and sizes are in words,
 * offsets from the payload's start. Version 4 has two words more, which only OpenGL and native contexts use.
 */
enum {
	PV_VTEST_BATCH_FLAGS,
	PV_VTEST_BATCH_CMD_OFFSET,
	PV_VTEST_BATCH_CMD_SIZE,
	PV_VTEST_BATCH_SYNC_OFFSET,
	PV_VTEST_BATCH_SYNC_COUNT,
	PV_VTEST_BATCH_RING_IDX,
	PV_VTEST_BATCH_WORDS_V3, /* 6 */
	PV_VTEST_BATCH_WORDS_V4 = 8,
};
enum {
	PV_VTEST_BATCH_HAS_RING_IDX = 1 << 0,
	PV_VTEST_BATCH_IN_FENCE_FD = 1 << 1,
	PV_VTEST_BATCH_OUT_FENCE_FD = 1 << 2,
};

#endif

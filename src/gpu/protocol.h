/* SPDX-License-Identifier: MIT */
/* The virtio-gpu wire format: virtio 1.3, 5.7.6. Little-endian, as are all hosts we run on. */
#ifndef PV_GPU_PROTOCOL_H
#define PV_GPU_PROTOCOL_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "virtio-gpu structures are read in place: a big-endian host needs conversions"
#endif

#define PV_VIRTIO_ID_GPU 16

enum {
	PV_GPU_F_VIRGL = 0,
	PV_GPU_F_EDID = 1,
	PV_GPU_F_RESOURCE_UUID = 2,
	PV_GPU_F_RESOURCE_BLOB = 3,
	PV_GPU_F_CONTEXT_INIT = 4,
	PV_GPU_F_BLOB_ALIGNMENT = 5,
};

#define PV_GPU_EVENT_DISPLAY (1u << 0)

struct pv_gpu_config {
	uint32_t events_read;
	uint32_t events_clear;
	uint32_t num_scanouts;
	uint32_t num_capsets;
	uint32_t blob_alignment;
};

enum pv_gpu_command {
	PV_GPU_CMD_GET_DISPLAY_INFO = 0x0100,
	PV_GPU_CMD_RESOURCE_CREATE_2D,
	PV_GPU_CMD_RESOURCE_UNREF,
	PV_GPU_CMD_SET_SCANOUT,
	PV_GPU_CMD_RESOURCE_FLUSH,
	PV_GPU_CMD_TRANSFER_TO_HOST_2D,
	PV_GPU_CMD_RESOURCE_ATTACH_BACKING,
	PV_GPU_CMD_RESOURCE_DETACH_BACKING,
	PV_GPU_CMD_GET_CAPSET_INFO,
	PV_GPU_CMD_GET_CAPSET,
	PV_GPU_CMD_GET_EDID,
	PV_GPU_CMD_RESOURCE_ASSIGN_UUID,
	PV_GPU_CMD_RESOURCE_CREATE_BLOB,
	PV_GPU_CMD_SET_SCANOUT_BLOB,

	PV_GPU_CMD_CTX_CREATE = 0x0200,
	PV_GPU_CMD_CTX_DESTROY,
	PV_GPU_CMD_CTX_ATTACH_RESOURCE,
	PV_GPU_CMD_CTX_DETACH_RESOURCE,
	PV_GPU_CMD_RESOURCE_CREATE_3D,
	PV_GPU_CMD_TRANSFER_TO_HOST_3D,
	PV_GPU_CMD_TRANSFER_FROM_HOST_3D,
	PV_GPU_CMD_SUBMIT_3D,
	PV_GPU_CMD_RESOURCE_MAP_BLOB,
	PV_GPU_CMD_RESOURCE_UNMAP_BLOB,

	PV_GPU_CMD_UPDATE_CURSOR = 0x0300,
	PV_GPU_CMD_MOVE_CURSOR,

	PV_GPU_RESP_OK_NODATA = 0x1100,
	PV_GPU_RESP_OK_DISPLAY_INFO,
	PV_GPU_RESP_OK_CAPSET_INFO,
	PV_GPU_RESP_OK_CAPSET,
	PV_GPU_RESP_OK_EDID,
	PV_GPU_RESP_OK_RESOURCE_UUID,
	PV_GPU_RESP_OK_MAP_INFO,

	PV_GPU_RESP_ERR_UNSPEC = 0x1200,
	PV_GPU_RESP_ERR_OUT_OF_MEMORY,
	PV_GPU_RESP_ERR_INVALID_SCANOUT_ID,
	PV_GPU_RESP_ERR_INVALID_RESOURCE_ID,
	PV_GPU_RESP_ERR_INVALID_CONTEXT_ID,
	PV_GPU_RESP_ERR_INVALID_PARAMETER,
};

#define PV_GPU_FLAG_FENCE         (1u << 0)
#define PV_GPU_FLAG_INFO_RING_IDX (1u << 1)

struct pv_gpu_ctrl_hdr {
	uint32_t type;
	uint32_t flags;
	uint64_t fence_id;
	uint32_t ctx_id;
	uint8_t ring_idx;
	uint8_t padding[3];
};

enum pv_gpu_format {
	PV_GPU_FORMAT_B8G8R8A8 = 1,
	PV_GPU_FORMAT_B8G8R8X8 = 2,
	PV_GPU_FORMAT_A8R8G8B8 = 3,
	PV_GPU_FORMAT_X8R8G8B8 = 4,
	PV_GPU_FORMAT_R8G8B8A8 = 67,
	PV_GPU_FORMAT_X8B8G8R8 = 68,
	PV_GPU_FORMAT_A8B8G8R8 = 121,
	PV_GPU_FORMAT_R8G8B8X8 = 134,
};

struct pv_gpu_wire_rect {
	uint32_t x, y, width, height;
};

struct pv_gpu_resp_display_info {
	struct pv_gpu_ctrl_hdr hdr;
	struct {
		struct pv_gpu_wire_rect r;
		uint32_t enabled;
		uint32_t flags;
	} pmodes[16];
};

struct pv_gpu_get_edid {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t scanout;
	uint32_t padding;
};

struct pv_gpu_resp_edid {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t size;
	uint32_t padding;
	uint8_t edid[1024];
};

struct pv_gpu_resource_create_2d {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t resource_id;
	uint32_t format;
	uint32_t width;
	uint32_t height;
};

/* RESOURCE_UNREF, RESOURCE_DETACH_BACKING, RESOURCE_ASSIGN_UUID, RESOURCE_UNMAP_BLOB, CTX_ATTACH/DETACH_RESOURCE */
struct pv_gpu_resource_ref {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t resource_id;
	uint32_t padding;
};

struct pv_gpu_set_scanout {
	struct pv_gpu_ctrl_hdr hdr;
	struct pv_gpu_wire_rect r;
	uint32_t scanout_id;
	uint32_t resource_id;
};

struct pv_gpu_resource_flush {
	struct pv_gpu_ctrl_hdr hdr;
	struct pv_gpu_wire_rect r;
	uint32_t resource_id;
	uint32_t padding;
};

struct pv_gpu_transfer_to_host_2d {
	struct pv_gpu_ctrl_hdr hdr;
	struct pv_gpu_wire_rect r;
	uint64_t offset;
	uint32_t resource_id;
	uint32_t padding;
};

struct pv_gpu_mem_entry {
	uint64_t addr;
	uint32_t length;
	uint32_t padding;
};

struct pv_gpu_attach_backing {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t resource_id;
	uint32_t nr_entries;
	/* nr_entries struct pv_gpu_mem_entry follow */
};

struct pv_gpu_get_capset_info {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t capset_index;
	uint32_t padding;
};

struct pv_gpu_resp_capset_info {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t capset_id;
	uint32_t capset_max_version;
	uint32_t capset_max_size;
	uint32_t padding;
};

struct pv_gpu_get_capset {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t capset_id;
	uint32_t capset_version;
};

#define PV_GPU_MAX_CAPSET_BYTES 4096

struct pv_gpu_resp_capset {
	struct pv_gpu_ctrl_hdr hdr;
	uint8_t capset[PV_GPU_MAX_CAPSET_BYTES];
};

struct pv_gpu_resp_uuid {
	struct pv_gpu_ctrl_hdr hdr;
	uint8_t uuid[16];
};

#define PV_GPU_BLOB_MEM_GUEST        1
#define PV_GPU_BLOB_MEM_HOST3D       2
#define PV_GPU_BLOB_MEM_HOST3D_GUEST 3

struct pv_gpu_create_blob {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t resource_id;
	uint32_t blob_mem;
	uint32_t blob_flags;
	uint32_t nr_entries;
	uint64_t blob_id;
	uint64_t size;
	/* nr_entries struct pv_gpu_mem_entry follow */
};

#define PV_GPU_CONTEXT_NAME_BYTES 64

struct pv_gpu_ctx_create {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t nlen;
	uint32_t context_init; /* low 8 bits: capset id */
	char debug_name[PV_GPU_CONTEXT_NAME_BYTES];
};

struct pv_gpu_resource_create_3d {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t resource_id;
	uint32_t target;
	uint32_t format;
	uint32_t bind;
	uint32_t width;
	uint32_t height;
	uint32_t depth;
	uint32_t array_size;
	uint32_t last_level;
	uint32_t nr_samples;
	uint32_t flags;
	uint32_t padding;
};

struct pv_gpu_transfer_host_3d {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t x, y, z, width, height, depth;
	uint64_t offset;
	uint32_t resource_id;
	uint32_t level;
	uint32_t stride;
	uint32_t layer_stride;
};

struct pv_gpu_submit_3d {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t size;
	uint32_t padding;
	/* size bytes of commands follow */
};

struct pv_gpu_map_blob {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t resource_id;
	uint32_t padding;
	uint64_t offset;
};

#define PV_GPU_MAP_CACHE_CACHED 1

struct pv_gpu_resp_map_info {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t map_info;
	uint32_t padding;
};

struct pv_gpu_set_scanout_blob {
	struct pv_gpu_ctrl_hdr hdr;
	struct pv_gpu_wire_rect r;
	uint32_t scanout_id;
	uint32_t resource_id;
	uint32_t width;
	uint32_t height;
	uint32_t format;
	uint32_t padding;
	uint32_t strides[4];
	uint32_t offsets[4];
};

struct pv_gpu_update_cursor {
	struct pv_gpu_ctrl_hdr hdr;
	uint32_t scanout_id;
	uint32_t x, y;
	uint32_t pos_padding;
	uint32_t resource_id;
	uint32_t hot_x, hot_y;
	uint32_t padding;
};

#endif

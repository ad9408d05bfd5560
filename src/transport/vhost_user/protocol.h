/* SPDX-License-Identifier: MIT */
/* The vhost-user wire format (QEMU docs, "Vhost-user Protocol"). Integers are in host order, as the protocol says. */
#ifndef PV_TRANSPORT_VHOST_USER_PROTOCOL_H
#define PV_TRANSPORT_VHOST_USER_PROTOCOL_H

#include <stdint.h>

enum pv_vhost_request {
	PV_VHOST_GET_FEATURES = 1,
	PV_VHOST_SET_FEATURES = 2,
	PV_VHOST_SET_OWNER = 3,
	PV_VHOST_RESET_OWNER = 4,
	PV_VHOST_SET_MEM_TABLE = 5,
	PV_VHOST_SET_VRING_NUM = 8,
	PV_VHOST_SET_VRING_ADDR = 9,
	PV_VHOST_SET_VRING_BASE = 10,
	PV_VHOST_GET_VRING_BASE = 11,
	PV_VHOST_SET_VRING_KICK = 12,
	PV_VHOST_SET_VRING_CALL = 13,
	PV_VHOST_SET_VRING_ERR = 14,
	PV_VHOST_GET_PROTOCOL_FEATURES = 15,
	PV_VHOST_SET_PROTOCOL_FEATURES = 16,
	PV_VHOST_GET_QUEUE_NUM = 17,
	PV_VHOST_SET_VRING_ENABLE = 18,
	PV_VHOST_SET_BACKEND_REQ_FD = 21,
	PV_VHOST_GET_CONFIG = 24,
	PV_VHOST_SET_CONFIG = 25,
	PV_VHOST_GPU_SET_SOCKET = 33,
	PV_VHOST_RESET_DEVICE = 34,
	PV_VHOST_GET_MAX_MEM_SLOTS = 36,
	PV_VHOST_ADD_MEM_REG = 37,
	PV_VHOST_REM_MEM_REG = 38,
	PV_VHOST_SET_STATUS = 39,
	PV_VHOST_GET_STATUS = 40,
	PV_VHOST_GET_SHMEM_CONFIG = 44,
	PV_VHOST_REQUEST_LIMIT = 45,
};

/* What a back end may ask of the front end, on the socket of SET_BACKEND_REQ_FD. */
enum pv_vhost_backend_request {
	PV_VHOST_BACKEND_CONFIG_CHANGE = 2,
	PV_VHOST_BACKEND_SHMEM_MAP = 9,
};

/* Of the header's flags. */
#define PV_VHOST_VERSION      1u
#define PV_VHOST_VERSION_MASK 3u
#define PV_VHOST_REPLY        (1u << 2)
#define PV_VHOST_NEED_REPLY   (1u << 3)

/* A virtio feature bit that only the two ends of the socket see. */
#define PV_VHOST_F_PROTOCOL_FEATURES (1ULL << 30)

#define PV_VHOST_PROTOCOL_F_MQ                  (1ULL << 0)
#define PV_VHOST_PROTOCOL_F_REPLY_ACK           (1ULL << 3)
#define PV_VHOST_PROTOCOL_F_BACKEND_REQ         (1ULL << 5)
#define PV_VHOST_PROTOCOL_F_CONFIG              (1ULL << 9)
#define PV_VHOST_PROTOCOL_F_BACKEND_SEND_FD     (1ULL << 10)
#define PV_VHOST_PROTOCOL_F_RESET_DEVICE        (1ULL << 13)
#define PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS (1ULL << 15)
#define PV_VHOST_PROTOCOL_F_STATUS              (1ULL << 16)
#define PV_VHOST_PROTOCOL_F_SHMEM               (1ULL << 22)

struct pv_vhost_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};

struct pv_vhost_region {
	uint64_t guest_addr;
	uint64_t size_bytes;
	uint64_t user_addr;
	uint64_t mmap_offset;
};

#define PV_VHOST_MAX_TABLE_REGIONS 8

struct pv_vhost_memory {
	uint32_t nr_regions;
	uint32_t padding;
	struct pv_vhost_region regions[PV_VHOST_MAX_TABLE_REGIONS];
};

struct pv_vhost_single_region {
	uint64_t padding;
	struct pv_vhost_region region;
};

struct pv_vhost_ring_state {
	uint32_t index;
	uint32_t num;
};

/* Descriptor table, USED ring, available ring: not in the order one thinks of. */
struct pv_vhost_ring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

/* SET_VRING_KICK, _CALL and _ERR: the queue's index and this flag. */
#define PV_VHOST_RING_NO_FD (1u << 8)

#define PV_VHOST_CONFIG_HEADER_BYTES 12
#define PV_VHOST_MAX_CONFIG_BYTES    256

struct pv_vhost_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t bytes[PV_VHOST_MAX_CONFIG_BYTES];
};

#define PV_VHOST_CONFIG_FOR_DRIVER    0
#define PV_VHOST_CONFIG_FOR_MIGRATION 1

#define PV_VHOST_MAX_SHMEM_REGIONS 256

struct pv_vhost_shmem_config {
	uint32_t nr_regions; /* of the sizes that are not 0 */
	uint32_t padding;
	uint64_t sizes[PV_VHOST_MAX_SHMEM_REGIONS]; /* by shared memory id */
};

struct pv_vhost_shmem_map {
	uint8_t shmid;
	uint8_t padding[7];
	uint64_t fd_offset;
	uint64_t shm_offset;
	uint64_t len;
	uint64_t flags;
};

#define PV_VHOST_SHMEM_WRITABLE (1ULL << 0)

#endif

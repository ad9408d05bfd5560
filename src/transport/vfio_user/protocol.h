/* SPDX-License-Identifier: MIT */
/*
 * vfio-user on the wire (QEMU documentation, "vfio-user Protocol Specification"): little-endian structs, each message a
 * header and a payload. We are the server: requests come, replies go.
 */
#ifndef PV_TRANSPORT_VFIO_USER_PROTOCOL_H
#define PV_TRANSPORT_VFIO_USER_PROTOCOL_H

#include <stdint.h>

enum pv_vfio_command {
	PV_VFIO_VERSION = 1,
	PV_VFIO_DMA_MAP = 2,
	PV_VFIO_DMA_UNMAP = 3,
	PV_VFIO_GET_INFO = 4,
	PV_VFIO_GET_REGION_INFO = 5,
	PV_VFIO_GET_REGION_IO_FDS = 6,
	PV_VFIO_GET_IRQ_INFO = 7,
	PV_VFIO_SET_IRQS = 8,
	PV_VFIO_REGION_READ = 9,
	PV_VFIO_REGION_WRITE = 10,
	PV_VFIO_DMA_READ = 11,
	PV_VFIO_DMA_WRITE = 12,
	PV_VFIO_RESET = 13,
	PV_VFIO_DIRTY_PAGES = 14,
	PV_VFIO_REGION_WRITE_MULTI = 15,
	PV_VFIO_DEVICE_FEATURE = 16,
	PV_VFIO_COMMAND_LIMIT,
};

#define PV_VFIO_FLAG_TYPE_MASK 0xfu
#define PV_VFIO_FLAG_REPLY     0x1u
#define PV_VFIO_FLAG_NO_REPLY  0x10u
#define PV_VFIO_FLAG_ERROR     0x20u

struct pv_vfio_header {
	uint16_t id;
	uint16_t command;
	uint32_t size; /* header included */
	uint32_t flags;
	uint32_t error; /* with FLAG_ERROR: an errno of Linux */
};

struct pv_vfio_version {
	uint16_t major, minor;
	/* A JSON text with its NUL follows. */
};

#define PV_VFIO_DMA_READ_FLAG  1u
#define PV_VFIO_DMA_WRITE_FLAG 2u

struct pv_vfio_dma_map {
	uint32_t argsz, flags;
	uint64_t offset; /* in the file */
	uint64_t guest_addr, size_bytes;
};

#define PV_VFIO_UNMAP_DIRTY_BITMAP 1u
#define PV_VFIO_UNMAP_ALL          2u

struct pv_vfio_dma_unmap {
	uint32_t argsz, flags;
	uint64_t guest_addr, size_bytes;
};

#define PV_VFIO_DEVICE_CAN_RESET 1u
#define PV_VFIO_DEVICE_IS_PCI    2u

/* QEMU leaves cap_offset out, Cloud Hypervisor has it: the reply is as long as the request. */
struct pv_vfio_device_info {
	uint32_t argsz, flags, nr_regions, nr_irqs, cap_offset;
};
#define PV_VFIO_DEVICE_INFO_MIN_BYTES 16

enum pv_vfio_region {
	PV_VFIO_REGION_BAR0 = 0,
	PV_VFIO_REGION_BAR2 = 2,
	PV_VFIO_REGION_CONFIG = 7,
	PV_VFIO_NR_REGIONS = 9,
};

#define PV_VFIO_REGION_READABLE 1u
#define PV_VFIO_REGION_WRITABLE 2u
#define PV_VFIO_REGION_MAPPABLE 4u

struct pv_vfio_region_info {
	uint32_t argsz, flags, index, cap_offset;
	uint64_t size_bytes, offset;
};

enum pv_vfio_irq { PV_VFIO_IRQ_MSIX = 2, PV_VFIO_NR_IRQS = 5 };

#define PV_VFIO_IRQ_EVENTFD    1u
#define PV_VFIO_IRQ_FIXED_SIZE 8u

struct pv_vfio_irq_info {
	uint32_t argsz, flags, index, count;
};

#define PV_VFIO_SET_DATA_NONE      0x01u
#define PV_VFIO_SET_DATA_BOOL      0x02u
#define PV_VFIO_SET_DATA_EVENTFD   0x04u
#define PV_VFIO_SET_DATA_MASK      0x07u
#define PV_VFIO_SET_ACTION_MASK    0x08u
#define PV_VFIO_SET_ACTION_UNMASK  0x10u
#define PV_VFIO_SET_ACTION_TRIGGER 0x20u
#define PV_VFIO_SET_ACTIONS        0x38u

struct pv_vfio_irq_set {
	uint32_t argsz, flags, index, start, count;
	/* With DATA_BOOL a byte for each follows. */
};

struct pv_vfio_region_access {
	uint64_t offset;
	uint32_t region, count;
	/* The data follows. */
};

struct pv_vfio_multi_entry {
	uint64_t offset;
	uint32_t region, count;
	uint8_t data[8];
};

#endif

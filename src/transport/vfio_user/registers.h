/* SPDX-License-Identifier: MIT */
/*
 * The registers in BAR 0 (virtio 1.3, 4.1.4): the common structure with its select and queue fields, ISR status, device
 * configuration, doorbells. A write changes state here and returns what is to be done about it. Owned by one thread.
 */
#ifndef PV_TRANSPORT_VFIO_USER_REGISTERS_H
#define PV_TRANSPORT_VFIO_USER_REGISTERS_H

#include "base/log.h"
#include "transport/device_side.h"

/* 2.1: device status. */
#define PV_VIRTIO_STATUS_DRIVER_OK   0x04u
#define PV_VIRTIO_STATUS_FEATURES_OK 0x08u
#define PV_VIRTIO_STATUS_NEEDS_RESET 0x40u

#define PV_VIRTIO_NO_VECTOR 0xffffu
/* What drivers find, and may make smaller. */
#define PV_VIRTIO_QUEUE_SIZE 256

struct pv_virtio_queue_registers {
	uint16_t size, vector;
	bool enabled;
	uint64_t desc, avail, used; /* guest addresses, as the driver gave them */
};

struct pv_virtio_registers {
	struct pv_transport_device *device; /* for what any thread may ask of it */
	uint64_t device_features;
	uint16_t nr_vectors;

	uint32_t device_feature_select, driver_feature_select;
	uint64_t driver_features;
	uint8_t status;
	uint16_t config_vector, queue_select;
	struct pv_virtio_queue_registers queues[PV_GPU_NR_QUEUES];

	/* A reset is complete when the device has let go of everything: until then the status reads as it was
	 * (4.1.4.3.1).
	 */
	uint32_t resets_in_flight;
	uint8_t status_before_reset;
	struct pv_log_limit strange; /* accesses that mean nothing */
};

enum pv_virtio_effect_kind {
	PV_VIRTIO_NOTHING,
	PV_VIRTIO_RESET,        /* the registers are reset */
	PV_VIRTIO_FEATURES,     /* driver_features are settled, and all were offered */
	PV_VIRTIO_QUEUES,       /* one was enabled, or all may run from now on */
	PV_VIRTIO_VECTOR,       /* of `queue` */
	PV_VIRTIO_DOORBELL,     /* of `queue` */
	PV_VIRTIO_CONFIG_WRITE, /* `offset` in the device configuration: the data that was written */
};

struct pv_virtio_effect {
	enum pv_virtio_effect_kind kind;
	uint32_t queue, offset;
};

void pv_virtio_registers_init(struct pv_virtio_registers *registers, struct pv_transport_device *device,
			      uint64_t device_features, uint16_t nr_vectors);
/* Device reset by whatever way. The caller asks the device for it, and says when that is done. */
void pv_virtio_registers_reset(struct pv_virtio_registers *registers);
void pv_virtio_registers_reset_done(struct pv_virtio_registers *registers);

/* Any offset and length: what is no register reads as 0 and cannot be written. */
void pv_virtio_registers_read(struct pv_virtio_registers *registers, uint64_t offset, void *buf, uint32_t len);
PV_MUST_USE struct pv_virtio_effect pv_virtio_registers_write(struct pv_virtio_registers *registers, uint64_t offset,
							      const void *buf, uint32_t len);

/* Whether the driver wants the queue to run. */
bool pv_virtio_registers_queue_is_live(const struct pv_virtio_registers *registers, uint32_t queue);

#endif

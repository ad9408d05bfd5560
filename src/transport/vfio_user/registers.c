/* SPDX-License-Identifier: MIT */
#include "transport/vfio_user/registers.h"

#include <string.h>

#include "transport/vfio_user/pci_config.h"

/* struct virtio_pci_common_cfg (4.1.4.3). */
enum common {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_VECTOR = 16,
	NUM_QUEUES = 18,
	DEVICE_STATUS = 20,
	CONFIG_GENERATION = 21,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFF = 30,
	QUEUE_DESC = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
	COMMON_BYTES = 56,
};

static const struct pv_virtio_effect nothing = {.kind = PV_VIRTIO_NOTHING};

static void reset_values(struct pv_virtio_registers *r)
{
	r->device_feature_select = r->driver_feature_select = 0;
	r->driver_features = 0;
	r->status = 0;
	r->config_vector = PV_VIRTIO_NO_VECTOR;
	r->queue_select = 0;
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		r->queues[i] =
		    (struct pv_virtio_queue_registers){.size = PV_VIRTIO_QUEUE_SIZE, .vector = PV_VIRTIO_NO_VECTOR};
}

void pv_virtio_registers_init(struct pv_virtio_registers *registers, struct pv_transport_device *device,
			      uint64_t device_features, uint16_t nr_vectors)
{
	*registers = (struct pv_virtio_registers){
	    .device = device, .device_features = device_features, .nr_vectors = nr_vectors};
	reset_values(registers);
}

void pv_virtio_registers_reset(struct pv_virtio_registers *registers)
{
	if (registers->status != 0)
		registers->status_before_reset = registers->status;
	registers->resets_in_flight++;
	reset_values(registers);
}

void pv_virtio_registers_reset_done(struct pv_virtio_registers *registers)
{
	if (PV_NEVER(registers->resets_in_flight == 0))
		return;
	if (--registers->resets_in_flight == 0)
		registers->status_before_reset = 0;
}

bool pv_virtio_registers_queue_is_live(const struct pv_virtio_registers *registers, uint32_t queue)
{
	return registers->queues[queue].enabled && (registers->status & PV_VIRTIO_STATUS_DRIVER_OK);
}

static uint8_t read_status(const struct pv_virtio_registers *r)
{
	if (r->resets_in_flight > 0)
		return r->status ? r->status : r->status_before_reset;
	return (uint8_t)(r->status | (pv_transport_device_needs_reset(r->device) ? PV_VIRTIO_STATUS_NEEDS_RESET : 0u));
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

/* NULL: the driver selected one that is not there. */
static struct pv_virtio_queue_registers *selected(struct pv_virtio_registers *r)
{
	return r->queue_select < PV_GPU_NR_QUEUES ? &r->queues[r->queue_select] : NULL;
}

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* All of the structure at once: a read is a piece of it. */
static void read_common(struct pv_virtio_registers *r, uint8_t out[COMMON_BYTES])
{
	const struct pv_virtio_queue_registers *queue = selected(r);

	memset(out, 0, COMMON_BYTES);
	put32(out + DEVICE_FEATURE_SELECT, r->device_feature_select);
	put32(out + DEVICE_FEATURE, feature_word(r->device_features, r->device_feature_select));
	put32(out + DRIVER_FEATURE_SELECT, r->driver_feature_select);
	put32(out + DRIVER_FEATURE, feature_word(r->driver_features, r->driver_feature_select));
	put16(out + CONFIG_VECTOR, r->config_vector);
	put16(out + NUM_QUEUES, PV_GPU_NR_QUEUES);
	out[DEVICE_STATUS] = read_status(r);
	out[CONFIG_GENERATION] = pv_transport_device_config_generation(r->device);
	put16(out + QUEUE_SELECT, r->queue_select);
	put16(out + QUEUE_VECTOR, queue ? queue->vector : PV_VIRTIO_NO_VECTOR);
	if (!queue)
		return;
	put16(out + QUEUE_SIZE, queue->size);
	put16(out + QUEUE_ENABLE, queue->enabled);
	put16(out + QUEUE_NOTIFY_OFF, r->queue_select);
	put64(out + QUEUE_DESC, queue->desc);
	put64(out + QUEUE_DRIVER, queue->avail);
	put64(out + QUEUE_DEVICE, queue->used);
}

/* The part of [offset, offset + len) that lies in [0, size) of `bytes`, into `buf`. */
static void copy_out(uint64_t offset, uint8_t *buf, uint32_t len, const uint8_t *bytes, uint64_t size)
{
	if (offset < size)
		memcpy(buf, bytes + offset, pv_min_u64(len, size - offset));
}

void pv_virtio_registers_read(struct pv_virtio_registers *registers, uint64_t offset, void *buf, uint32_t len)
{
	uint64_t inside = offset % PV_PCI_PART_BYTES;
	uint8_t common[COMMON_BYTES];

	memset(buf, 0, len);
	/* Never over the end of a part: no driver reads so, and what is there is not one thing. */
	if (len == 0 || !pv_range_fits(inside, len, PV_PCI_PART_BYTES))
		return;
	switch (offset - inside) {
	case PV_PCI_COMMON_OFFSET:
		read_common(registers, common);
		copy_out(inside, buf, len, common, sizeof(common));
		break;
	case PV_PCI_ISR_OFFSET:
		if (inside == 0)
			*(uint8_t *)buf = pv_transport_device_take_isr(registers->device);
		break;
	case PV_PCI_DEVICE_OFFSET:
		pv_transport_device_read_config(registers->device, (uint32_t)inside, buf, len);
		break;
	default:
		/* Doorbells cannot be read. MSI-X: the VMM keeps the table, and what is pending, itself. */
		break;
	}
}

static struct pv_virtio_effect strange(struct pv_virtio_registers *r, const char *what)
{
	if (pv_log_allowed(&r->strange, "vfio-user"))
		pv_log(PV_LOG_WARNING, "vfio-user", "the driver wrote %s: ignored", what);
	return nothing;
}

static void set_feature_word(struct pv_virtio_registers *r, uint32_t value)
{
	unsigned int shift = 32 * r->driver_feature_select;

	/* They are settled then (3.1.1). */
	if (r->driver_feature_select > 1 || (r->status & PV_VIRTIO_STATUS_FEATURES_OK))
		return;
	r->driver_features = (r->driver_features & ~(0xffffffffULL << shift)) | (uint64_t)value << shift;
}

static struct pv_virtio_effect write_status(struct pv_virtio_registers *r, uint8_t status)
{
	uint8_t added = (uint8_t)(status & ~r->status);

	if (status == 0) {
		pv_virtio_registers_reset(r);
		return (struct pv_virtio_effect){.kind = PV_VIRTIO_RESET};
	}
	if ((added & PV_VIRTIO_STATUS_FEATURES_OK) &&
	    ((r->driver_features & ~r->device_features) || !(r->driver_features & PV_VIRTIO_F_VERSION_1))) {
		/* The driver sees that the bit is not there, and gives up (3.1.1). */
		status &= (uint8_t)~PV_VIRTIO_STATUS_FEATURES_OK;
		added &= (uint8_t)~PV_VIRTIO_STATUS_FEATURES_OK;
		(void)strange(r, "features that were not offered");
	}
	/* Bits are taken back by a reset only (2.1.1). */
	r->status |= (uint8_t)(status & ~PV_VIRTIO_STATUS_NEEDS_RESET);
	if (added & PV_VIRTIO_STATUS_FEATURES_OK)
		return (struct pv_virtio_effect){.kind = PV_VIRTIO_FEATURES};
	if (added & PV_VIRTIO_STATUS_DRIVER_OK)
		return (struct pv_virtio_effect){.kind = PV_VIRTIO_QUEUES};
	return nothing;
}

/* Reads back as "no vector" if there is none of that number (4.1.5.1.2.1). */
static uint16_t checked_vector(const struct pv_virtio_registers *r, uint16_t vector)
{
	return vector < r->nr_vectors ? vector : PV_VIRTIO_NO_VECTOR;
}

static struct pv_virtio_effect write_queue(struct pv_virtio_registers *r, uint32_t field, uint16_t value)
{
	struct pv_virtio_queue_registers *queue = selected(r);

	if (!queue)
		return strange(r, "to a queue that is not there");
	if (field == QUEUE_VECTOR) {
		queue->vector = checked_vector(r, value);
		return (struct pv_virtio_effect){.kind = PV_VIRTIO_VECTOR, .queue = r->queue_select};
	}
	if (queue->enabled)
		return strange(r, "to a queue that is enabled");
	if (field == QUEUE_SIZE) {
		if (value == 0 || value > PV_VIRTIO_QUEUE_SIZE || (value & (value - 1)) != 0)
			return strange(r, "an impossible queue size");
		queue->size = value;
		return nothing;
	}
	/* QUEUE_ENABLE; 0 is not for drivers to write (4.1.4.3.2). */
	if (value != 1)
		return nothing;
	queue->enabled = true;
	return (struct pv_virtio_effect){.kind = PV_VIRTIO_QUEUES};
}

static struct pv_virtio_effect write_address(struct pv_virtio_registers *r, uint64_t offset, const void *buf,
					     uint32_t len)
{
	struct pv_virtio_queue_registers *queue = selected(r);
	uint64_t *field;

	if (!queue || queue->enabled)
		return strange(r, "the address of a queue that is enabled, or not there");
	field = offset < QUEUE_DRIVER ? &queue->desc : offset < QUEUE_DEVICE ? &queue->avail : &queue->used;
	memcpy((uint8_t *)field + offset % 8, buf, len);
	return nothing;
}

static struct pv_virtio_effect write_16(struct pv_virtio_registers *r, uint64_t offset, uint16_t value)
{
	switch (offset) {
	case CONFIG_VECTOR:
		r->config_vector = checked_vector(r, value);
		return nothing;
	case QUEUE_SELECT:
		r->queue_select = value;
		return nothing;
	case QUEUE_SIZE:
	case QUEUE_VECTOR:
	case QUEUE_ENABLE:
		return write_queue(r, (uint32_t)offset, value);
	default:
		return strange(r, "2 bytes to no register");
	}
}

static struct pv_virtio_effect write_32(struct pv_virtio_registers *r, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		r->device_feature_select = value;
		return nothing;
	case DRIVER_FEATURE_SELECT:
		r->driver_feature_select = value;
		return nothing;
	case DRIVER_FEATURE:
		set_feature_word(r, value);
		return nothing;
	default:
		return strange(r, "4 bytes to no register");
	}
}

/* A driver writes a field as a whole, 64-bit ones in halves if it likes (4.1.3.1). */
static struct pv_virtio_effect write_common(struct pv_virtio_registers *r, uint64_t offset, const void *buf,
					    uint32_t len)
{
	uint16_t value16 = 0;
	uint32_t value32 = 0;

	if (offset >= QUEUE_DESC && offset < COMMON_BYTES &&
	    ((len == 4 && offset % 4 == 0) || (len == 8 && offset % 8 == 0)))
		return write_address(r, offset, buf, len);
	if (offset == DEVICE_STATUS && len == 1)
		return write_status(r, *(const uint8_t *)buf);
	if (len == sizeof(value16)) {
		memcpy(&value16, buf, sizeof(value16));
		return write_16(r, offset, value16);
	}
	if (len == sizeof(value32)) {
		memcpy(&value32, buf, sizeof(value32));
		return write_32(r, offset, value32);
	}
	return strange(r, "to no register");
}

struct pv_virtio_effect pv_virtio_registers_write(struct pv_virtio_registers *registers, uint64_t offset,
						  const void *buf, uint32_t len)
{
	uint64_t inside = offset % PV_PCI_PART_BYTES;

	if (len == 0 || !pv_range_fits(inside, len, PV_PCI_PART_BYTES))
		return nothing;
	switch (offset - inside) {
	case PV_PCI_COMMON_OFFSET:
		return write_common(registers, inside, buf, len);
	case PV_PCI_DEVICE_OFFSET:
		if (!pv_range_fits(inside, len, PV_GPU_CONFIG_BYTES))
			return nothing;
		return (struct pv_virtio_effect){.kind = PV_VIRTIO_CONFIG_WRITE, .offset = (uint32_t)inside};
	case PV_PCI_NOTIFY_OFFSET:
		/* The address says which queue; the value says it again. */
		if (inside % PV_PCI_NOTIFY_MULTIPLY == 0 && inside / PV_PCI_NOTIFY_MULTIPLY < PV_GPU_NR_QUEUES)
			return (struct pv_virtio_effect){.kind = PV_VIRTIO_DOORBELL,
							 .queue = (uint32_t)(inside / PV_PCI_NOTIFY_MULTIPLY)};
		return nothing;
	default:
		return nothing;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * One vfio-user request: from bytes and fds to a checked struct. Nothing here knows the connection's state, so whatever
 * passes may still be refused by the function.
 */
#ifndef PV_TRANSPORT_VFIO_USER_MESSAGE_H
#define PV_TRANSPORT_VFIO_USER_MESSAGE_H

#include "base/base.h"
#include "base/socket.h"
#include "transport/vfio_user/protocol.h"

#define PV_VFIO_MAX_FDS PV_SOCKET_MAX_FDS
/* Of one region access, and what we tell the peer. */
#define PV_VFIO_MAX_DATA_BYTES    (64u << 10)
#define PV_VFIO_MAX_PAYLOAD_BYTES (sizeof(struct pv_vfio_region_access) + PV_VFIO_MAX_DATA_BYTES)

/* What is wrong with a message, in words, and as an errno of Linux. */
struct pv_vfio_fault {
	char text[160];
	uint32_t error;
};

struct pv_vfio_message {
	uint16_t id, command;
	bool no_reply;
	uint32_t payload_bytes;
	/* The holder closes them or moves them out (leaving -1). */
	int fds[PV_VFIO_MAX_FDS];
	size_t nr_fds;
	union {
		uint8_t fixed[sizeof(struct pv_vfio_dma_map)]; /* as large as the largest that is copied whole */
		struct pv_vfio_version version;
		struct pv_vfio_dma_map map;     /* size > 0, the range does not wrap; at most one fd */
		struct pv_vfio_dma_unmap unmap; /* the same, or ALL */
		struct pv_vfio_device_info info;
		struct pv_vfio_region_info region_info; /* index < PV_VFIO_NR_REGIONS */
		struct pv_vfio_irq_info irq_info;       /* index < PV_VFIO_NR_IRQS */
		struct pv_vfio_irq_set irq_set;         /* the same; flags make sense; as many fds as `count` or none */
		struct pv_vfio_region_access access; /* region < PV_VFIO_NR_REGIONS, count is what there is of data */
		uint64_t nr_entries;
	};
	/* What follows the struct: a write's data, a bool for each interrupt, the entries of a multiple write. In the
	 * caller's buffer. */
	const uint8_t *data;
};

/* "DMA_MAP"; for an unknown one "command". Static storage. */
const char *pv_vfio_command_name(uint32_t command);

/*
 * To be called as soon as the header is there: PV_OK means that *payload_bytes, at most PV_VFIO_MAX_PAYLOAD_BYTES, are
 * worth waiting for. PV_ERR_PEER: `fault` says why the stream cannot be understood.
 */
PV_MUST_USE enum pv_status pv_vfio_header_check(const struct pv_vfio_header *header, size_t *payload_bytes,
						struct pv_vfio_fault *fault);

/*
 * `header` has passed pv_vfio_header_check(); `payload` stays the caller's and must outlive the message. The fds become
 * the message's, whatever the result. PV_ERR_PEER: `fault` says why it is to be refused; id, command and no_reply are
 * set even then.
 */
PV_MUST_USE enum pv_status pv_vfio_message_parse(const struct pv_vfio_header *header, const void *payload,
						 const int *take_fds, size_t nr_fds, struct pv_vfio_message *message,
						 struct pv_vfio_fault *fault);

/* Takes fd number `i` out of the message. */
int pv_vfio_message_take_fd(struct pv_vfio_message *message, size_t i);
/* Closes what fds are left. Takes {0}. */
void pv_vfio_message_finish(struct pv_vfio_message *message);

/* One entry of a multiple write, `i` below nr_entries. PV_ERR_PEER: it is impossible. */
PV_MUST_USE enum pv_status pv_vfio_message_entry(const struct pv_vfio_message *message, uint64_t i,
						 struct pv_vfio_multi_entry *entry, struct pv_vfio_fault *fault);

#endif

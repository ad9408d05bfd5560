/* SPDX-License-Identifier: MIT */
/* For tests: a guest whose VMM speaks vfio-user. What a test gets wrong ends the program with a line that says where.
 */
#ifndef PV_TRANSPORT_VFIO_USER_FAKE_VMM_H
#define PV_TRANSPORT_VFIO_USER_FAKE_VMM_H

#include "transport/fake_guest.h"
#include "transport/vfio_user/pci_config.h"
#include "transport/vfio_user/protocol.h"
#include "transport/vfio_user/vfio_user.h"

#define FV_WINDOW_BYTES (64ULL << 20)
#define FV_MAX_PAYLOAD  4096

struct fv {
	struct fg guest;
	struct pv_vfio_user *transport;
	_Atomic int closed; /* -1, or the status */
	int sock;
	uint16_t next_id;
	int config_event; /* vector 0 */
	int window_fd;    /* owned; -1: none came */
};

/* A device with its thread, and a connection on which nothing has been said. */
void fv_open(struct fv *fv, uint64_t window_bytes);
void fv_close(struct fv *fv);
void fv_hang_up(struct fv *fv);
/* Waits until the device hangs up, and returns the status that it closed with. */
enum pv_status fv_expect_closed(struct fv *fv);

/* Sends a message; returns its id. */
uint16_t fv_send(struct fv *fv, uint16_t command, uint32_t flags, const void *payload, size_t size, const int *fds,
		 size_t nr_fds);
/* Waits for the reply to a message: 0 or its error. What there is of payload must have `size` bytes without an error.
 */
uint32_t fv_receive(struct fv *fv, uint16_t id, uint16_t command, void *payload, size_t size);
/* Both. */
uint32_t fv_ask(struct fv *fv, uint16_t command, const void *payload, size_t size, void *answer, size_t answer_size);

void fv_read(struct fv *fv, uint32_t region, uint64_t offset, void *data, uint32_t len);
void fv_write(struct fv *fv, uint32_t region, uint64_t offset, const void *data, uint32_t len);
/* A register in BAR 0. */
uint32_t fv_get(struct fv *fv, uint64_t offset, uint32_t len);
void fv_set(struct fv *fv, uint64_t offset, uint64_t value, uint32_t len);

uint32_t fv_map(struct fv *fv, uint64_t guest_addr, uint64_t size, int fd, uint64_t offset);
uint32_t fv_unmap(struct fv *fv, uint64_t guest_addr, uint64_t size);
/* MSI-X: all of ours, or none. */
void fv_set_vectors(struct fv *fv, bool on);

/* VERSION, memory, regions, as QEMU's realize. */
void fv_realize(struct fv *fv);
/* The driver's start up to DRIVER_OK. */
void fv_start(struct fv *fv);
/* Writes 0 to the status and waits until it reads so. */
void fv_reset_by_status(struct fv *fv);

#endif

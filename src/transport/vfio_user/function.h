/* SPDX-License-Identifier: MIT */
/*
 * The PCI function at the end of one vfio-user connection: takes checked messages, answers them and issues operations
 * for the device thread. No sockets, no threads and no waiting in here, so all of it can be driven by a test or a
 * fuzzer. Owned by the socket thread.
 */
#ifndef PV_TRANSPORT_VFIO_USER_FUNCTION_H
#define PV_TRANSPORT_VFIO_USER_FUNCTION_H

#include "base/log.h"
#include "transport/device_side.h"
#include "transport/vfio_user/dma_table.h"
#include "transport/vfio_user/message.h"
#include "transport/vfio_user/pci_config.h"
#include "transport/vfio_user/registers.h"

/* The most operations that one message, or one part of a multiple write, can cause: all rings stop and start, and have
 * their interrupts changed, around a change of memory. */
#define PV_VFIO_MAX_OPS         8
#define PV_VFIO_MAX_REPLY_BYTES (sizeof(struct pv_vfio_header) + PV_VFIO_MAX_PAYLOAD_BYTES)

struct pv_vfio_function_ops {
	/* At most one a message, of at most PV_VFIO_MAX_REPLY_BYTES; `fd` is borrowed, -1: none. */
	void (*reply)(void *user, const void *bytes, size_t len, int fd);
	/* `op` is copied, what it owns moves. Its result comes by pv_vfio_function_op_done(), later, in order. */
	void (*submit)(void *user, const struct pv_transport_op *op);
	/* How many more can be submitted now; at least PV_VFIO_MAX_OPS when a message is handled. */
	size_t (*free_ops)(void *user);
};

struct pv_vfio_function_params {
	const struct pv_vfio_function_ops *ops;
	void *user;
	struct pv_transport_device *device; /* for what any thread may ask of it */
	uint64_t device_features;           /* pv_gpu_features() */
	int window_fd;                      /* borrowed; -1: no window */
	uint64_t window_bytes;              /* a power of two; 0: none */
};

struct pv_vfio_function {
	struct pv_vfio_function_params params;
	bool negotiated;   /* VERSION has come */
	bool window_shown; /* the VMM has its fd */
	struct pv_pci_config config;
	struct pv_virtio_registers registers;
	struct pv_vfio_dma_table dma;
	int vectors[PV_PCI_NR_VECTORS]; /* event fds of MSI-X; -1: none */
	uint64_t features;              /* the device has these */
	bool running[PV_GPU_NR_QUEUES]; /* START was the last of START and STOP that we issued */
	uint32_t doorbells;             /* bit n: queue n's was rung by the message in hand */
	struct pv_log_limit refusals;

	/* The message that waits for the device thread; command 0: none does. */
	struct {
		uint16_t id, command;
		bool no_reply;
		struct pv_vfio_dma_unmap unmap;
	} waiting;
	/* A multiple write of which `next` entries are done; its bytes are still the sender's. */
	struct {
		struct pv_vfio_message message;
		uint64_t next;
	} multi;
	uint8_t reply[PV_VFIO_MAX_REPLY_BYTES];
};

/* `function` must not move afterwards. PV_ERR_HOST: the window's file cannot be examined. */
PV_MUST_USE enum pv_status pv_vfio_function_init(struct pv_vfio_function *function,
						 const struct pv_vfio_function_params *params);
void pv_vfio_function_finish(struct pv_vfio_function *function);

/* While true, no message may be handled, and the last one's payload must stay: it is not finished. */
bool pv_vfio_function_is_waiting(const struct pv_vfio_function *function);
/*
 * Consumes the message's fds. What the peer gets wrong is answered with an error: a closed connection could take the
 * whole VM down (QEMU 11.1 aborts if it waits for an answer then). An error here is of the host, logged, and the end.
 */
PV_MUST_USE enum pv_status pv_vfio_function_handle(struct pv_vfio_function *function, struct pv_vfio_message *message);
/* Answers a message that could not be parsed. */
void pv_vfio_function_refuse(struct pv_vfio_function *function, const struct pv_vfio_message *message,
			     const struct pv_vfio_fault *fault);
PV_MUST_USE enum pv_status pv_vfio_function_op_done(struct pv_vfio_function *function,
						    const struct pv_transport_op *op);

/* Which queues' doorbells were rung since the last call: to be passed on when the answer is on its way. */
uint32_t pv_vfio_function_take_doorbells(struct pv_vfio_function *function);
/* The config space changed, or the device needs a reset: tells the driver. */
void pv_vfio_function_config_interrupt(struct pv_vfio_function *function);

#endif

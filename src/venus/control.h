/* SPDX-License-Identifier: MIT */
/*
 * What reaches a context by the virtqueue: operations in their order, among them the submissions that form the control
 * stream. The stream may have to wait for a ring; the operations behind it then queue up. The device thread's, but for
 * pv_venus_control_wake().
 */
#ifndef PV_VENUS_CONTROL_H
#define PV_VENUS_CONTROL_H

#include "venus/context.h"

struct pv_venus_control;

/* From malloc(); the control frees it when it is done. */
struct pv_venus_op {
	/* PV_PENDING: it cannot go on now, and is called again when a ring got somewhere. */
	enum pv_status (*run)(struct pv_venus_context *context, struct pv_venus_op *op);
	/* Its end, when it could not end at once: the status of run(), or PV_ERR_GUEST as the context was given up.
	 * NULL: nobody asks. */
	void (*done)(struct pv_venus_op *op, enum pv_status status);
	struct pv_venus_op *next;
	void *user;
	uint64_t id;     /* of the op, or the fence */
	void *subject;   /* whatever run() needs */
	uint64_t number; /* the same */
	size_t len;      /* of `commands` */
	size_t position; /* in `commands` */
	uint8_t commands[];
};

PV_MUST_USE enum pv_status pv_venus_control_create(struct pv_venus_context *context, struct pv_venus_control **out);
/* After pv_venus_control_end(), when no ring is left and what was posted has been delivered. */
void pv_venus_control_free(struct pv_venus_control *control);
/* The context is given up: what is pending is answered. From now on nothing runs. */
void pv_venus_control_end(struct pv_venus_control *control);

/* When its turn has come. Any other status than PV_PENDING: that was at once, op->done() is not called. */
enum pv_status pv_venus_control_do(struct pv_venus_control *control, struct pv_venus_op *take_op);
/* A pv_venus_op.run: executes `commands`. */
enum pv_status pv_venus_control_run_commands(struct pv_venus_context *context, struct pv_venus_op *op);

/* mesa.c: may a command of this type be in a control stream? */
bool pv_venus_is_control_command(uint32_t type);

/* Any thread: what the control stream waits for may have happened. */
void pv_venus_control_wake(struct pv_venus_control *control);

/* From commands of the control stream: what follows waits until the ring has got to `seqno`, ... */
void pv_venus_control_wait_seqno(struct pv_venus_control *control, struct pv_venus_ring *ring, uint32_t seqno);
/* ... or until it has ended and is gone. */
void pv_venus_control_destroy_ring(struct pv_venus_control *control, struct pv_venus_ring *ring);

#endif

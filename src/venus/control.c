/* SPDX-License-Identifier: MIT */
#include "venus/control.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "venus/mailbox.h"
#include "venus/ring.h"

struct pv_venus_control {
	struct pv_venus_context *context;
	struct pv_venus_mail wake; /* any thread posts it */
	/* Behind the one that is running, or that cannot go on. */
	struct pv_venus_op *first, **last;
	bool ended;
	/* What the stream waits for: this ring's end, or (waits_for_seqno) its progress. NULL: nothing. */
	struct pv_venus_ring *ring;
	bool waits_for_seqno;
	uint32_t seqno;
	struct pv_venus_decoder decoder;
};

/* ---- What the stream waits for ---- */

void pv_venus_control_wait_seqno(struct pv_venus_control *control, struct pv_venus_ring *ring, uint32_t seqno)
{
	control->ring = ring;
	control->waits_for_seqno = true;
	control->seqno = seqno;
}

void pv_venus_control_destroy_ring(struct pv_venus_control *control, struct pv_venus_ring *ring)
{
	control->ring = ring;
	control->waits_for_seqno = false;
	pv_venus_ring_stop(ring);
}

/* Nothing left to wait for? */
static bool wait_is_over(struct pv_venus_control *control)
{
	struct pv_venus_ring *ring = control->ring;

	if (!ring)
		return true;
	/* Acquire: it touches nothing any more, joining it takes no time. */
	bool ended = atomic_load_explicit(&ring->ended, memory_order_acquire);

	if (control->waits_for_seqno) {
		if (!ended && !atomic_load_explicit(&control->context->lost, memory_order_acquire) &&
		    !pv_venus_ring_reached(ring, control->seqno))
			return false;
	} else {
		if (!ended)
			return false;
		pv_venus_ring_destroy(ring);
	}
	control->ring = NULL;
	return true;
}

/* ---- The stream ---- */

static void execute(struct pv_venus_context *context, struct pv_venus_decoder *d)
{
	uint32_t type;

	if (d->end - d->cursor >= (ptrdiff_t)sizeof(type)) {
		memcpy(&type, d->cursor, sizeof(type));
		if (!pv_venus_is_control_command(type)) {
			d->command_type = type;
			pv_venus_fail(d, "command", "it is not one for the control stream", type);
			return;
		}
	}
	context->execute(d);
}

enum pv_status pv_venus_control_run_commands(struct pv_venus_context *context, struct pv_venus_op *op)
{
	struct pv_venus_control *control = context->control;
	struct pv_venus_decoder *d = &control->decoder;

	for (;;) {
		if (!wait_is_over(control))
			return PV_PENDING;
		if (atomic_load_explicit(&context->lost, memory_order_acquire))
			return PV_ERR_GUEST;
		if (op->position == op->len)
			return PV_OK;
		d->cursor = op->commands + op->position;
		d->end = op->commands + op->len;
		execute(context, d);
		if (d->failed) {
			pv_venus_context_fail(d);
			return PV_ERR_GUEST;
		}
		op->position = (size_t)(d->cursor - op->commands);
	}
}

/* ---- The queue ---- */

static void resume(struct pv_venus_control *control)
{
	struct pv_venus_op *op;

	while (!control->ended && (op = control->first)) {
		enum pv_status status = op->run(control->context, op);

		/* Its events may have led to anything: to the end, in which it was answered, too. */
		if (control->ended || status == PV_PENDING)
			return;
		control->first = op->next;
		if (!control->first)
			control->last = &control->first;
		if (op->done)
			op->done(op, status);
		free(op);
	}
}

enum pv_status pv_venus_control_do(struct pv_venus_control *control, struct pv_venus_op *take_op)
{
	if (!control->first && !control->ended) {
		enum pv_status status = take_op->run(control->context, take_op);

		if (status != PV_PENDING) {
			free(take_op);
			return status;
		}
	}
	if (control->ended) {
		free(take_op);
		return PV_ERR_GUEST;
	}
	take_op->next = NULL;
	*control->last = take_op;
	control->last = &take_op->next;
	return PV_PENDING;
}

static void deliver_wake(struct pv_venus_mail *mail)
{
	resume(PV_CONTAINER_OF(mail, struct pv_venus_control, wake));
}

void pv_venus_control_wake(struct pv_venus_control *control)
{
	pv_venus_mailbox_post(control->context->mailbox, &control->wake);
}

/* ---- Create and destroy ---- */

enum pv_status pv_venus_control_create(struct pv_venus_context *context, struct pv_venus_control **out)
{
	struct pv_venus_control *control = calloc(1, sizeof(*control));

	if (!control)
		return PV_ERR_NO_MEMORY;
	control->context = context;
	control->wake.deliver = deliver_wake;
	control->last = &control->first;
	pv_venus_decoder_init(&control->decoder, context, NULL);
	*out = control;
	return PV_OK;
}

void pv_venus_control_end(struct pv_venus_control *control)
{
	struct pv_venus_op *op = control->first;

	control->ended = true;
	control->first = NULL;
	control->last = &control->first;
	while (op) {
		struct pv_venus_op *next = op->next;

		if (op->done)
			op->done(op, PV_ERR_GUEST);
		free(op);
		op = next;
	}
}

void pv_venus_control_free(struct pv_venus_control *control)
{
	if (!control)
		return;
	pv_venus_decoder_finish(&control->decoder);
	free(control);
}

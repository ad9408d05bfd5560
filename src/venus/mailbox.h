/* SPDX-License-Identifier: MIT */
/*
 * From ring and timeline threads to the device thread: small notes, delivered in the order in which they were posted.
 * Unlike a task of the loop a note may be posted while it waits to be delivered: it is then delivered once.
 */
#ifndef PV_VENUS_MAILBOX_H
#define PV_VENUS_MAILBOX_H

#include "base/loop.h"
#include "base/mutex.h"

/* In the sender's storage, which must stay until it has been delivered or the mailbox is finished. {.deliver} is new.
 */
struct pv_venus_mail {
	void (*deliver)(struct pv_venus_mail *mail);
	struct pv_venus_mail *next; /* guarded by the mailbox's lock, as is the next */
	bool posted;
};

struct pv_venus_mailbox {
	struct pv_loop *loop;
	struct pv_loop_task task;
	struct pv_mutex lock; /* a leaf */
	struct pv_condition arrived;
	struct pv_venus_mail *first PV_GUARDED_BY(lock);
	struct pv_venus_mail **last PV_GUARDED_BY(lock);
	bool task_posted PV_GUARDED_BY(lock);
};

void pv_venus_mailbox_init(struct pv_venus_mailbox *mailbox, struct pv_loop *loop);
/* Device thread, when nobody posts any more. What is undelivered is forgotten. */
void pv_venus_mailbox_finish(struct pv_venus_mailbox *mailbox);
/* Any thread, no allocation. `mail->deliver` may free it or have it posted again. */
void pv_venus_mailbox_post(struct pv_venus_mailbox *mailbox, struct pv_venus_mail *mail);
/* Device thread: what there is is delivered; waits until there is something. */
void pv_venus_mailbox_wait(struct pv_venus_mailbox *mailbox);

#endif

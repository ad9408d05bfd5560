/* SPDX-License-Identifier: MIT */
#include "venus/mailbox.h"

static void deliver_all(struct pv_venus_mailbox *mailbox)
{
	for (;;) {
		struct pv_venus_mail *mail;

		pv_mutex_lock(&mailbox->lock);
		mail = mailbox->first;
		if (mail) {
			mailbox->first = mail->next;
			if (!mailbox->first)
				mailbox->last = &mailbox->first;
			mail->posted = false;
		}
		pv_mutex_unlock(&mailbox->lock);
		if (!mail)
			return;
		mail->deliver(mail);
	}
}

static void run_task(struct pv_loop_task *task)
{
	struct pv_venus_mailbox *mailbox = PV_CONTAINER_OF(task, struct pv_venus_mailbox, task);

	/* Before the notes are taken: one that is posted from now on needs the task again. */
	pv_mutex_lock(&mailbox->lock);
	mailbox->task_posted = false;
	pv_mutex_unlock(&mailbox->lock);
	deliver_all(mailbox);
}

void pv_venus_mailbox_init(struct pv_venus_mailbox *mailbox, struct pv_loop *loop)
{
	*mailbox = (struct pv_venus_mailbox){.loop = loop, .task.run = run_task, .last = &mailbox->first};
	pv_mutex_init(&mailbox->lock);
	pv_condition_init(&mailbox->arrived);
}

void pv_venus_mailbox_finish(struct pv_venus_mailbox *mailbox)
{
	pv_loop_cancel(mailbox->loop, &mailbox->task);
	pv_condition_finish(&mailbox->arrived);
	pv_mutex_finish(&mailbox->lock);
}

void pv_venus_mailbox_post(struct pv_venus_mailbox *mailbox, struct pv_venus_mail *mail)
{
	bool post_task = false;

	pv_mutex_lock(&mailbox->lock);
	if (!mail->posted) {
		mail->posted = true;
		mail->next = NULL;
		*mailbox->last = mail;
		mailbox->last = &mail->next;
		post_task = !mailbox->task_posted;
		mailbox->task_posted = true;
		pv_condition_signal(&mailbox->arrived);
	}
	pv_mutex_unlock(&mailbox->lock);
	/* Whoever set the flag posts: the task is in the loop once at most. */
	if (post_task)
		pv_loop_post(mailbox->loop, &mailbox->task);
}

void pv_venus_mailbox_wait(struct pv_venus_mailbox *mailbox)
{
	pv_mutex_lock(&mailbox->lock);
	while (!mailbox->first)
		pv_condition_wait(&mailbox->arrived, &mailbox->lock);
	pv_mutex_unlock(&mailbox->lock);
	deliver_all(mailbox);
}

/* SPDX-License-Identifier: MIT */
#include "base/loop_poller.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/event.h>
#include <time.h>

#include "base/log.h"
#include "base/loop.h"

enum pv_status pv_poller_create(int *out_fd)
{
	int fd = kqueue();

	if (fd < 0) {
		pv_log(PV_LOG_ERROR, "loop", "kqueue: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	*out_fd = fd;
	return PV_OK;
}

/*
 * kqueue has one filter a direction. The read filter is always registered, disabled when not wanted, so that a hang-up
 * is reported in every case.
 */
static int apply(int poller, int fd, uint32_t events, void *user)
{
	struct kevent changes[2];

	EV_SET(&changes[0], fd, EVFILT_READ, EV_ADD | (events & PV_LOOP_READ ? EV_ENABLE : EV_DISABLE), 0, 0, user);
	EV_SET(&changes[1], fd, EVFILT_WRITE, EV_ADD | (events & PV_LOOP_WRITE ? EV_ENABLE : EV_DISABLE), 0, 0, user);
	return kevent(poller, changes, 2, NULL, 0, NULL);
}

enum pv_status pv_poller_add(int poller, int fd, uint32_t events, void *user)
{
	if (apply(poller, fd, events, user) < 0) {
		pv_log(PV_LOG_WARNING, "loop", "fd %d cannot be watched: %s", fd, strerror(errno));
		return PV_ERR_HOST;
	}
	return PV_OK;
}

void pv_poller_modify(int poller, int fd, uint32_t old_events, uint32_t events, void *user)
{
	(void)old_events;
	(void)apply(poller, fd, events, user);
}

void pv_poller_remove(int poller, int fd, uint32_t old_events)
{
	struct kevent changes[2];

	(void)old_events;
	EV_SET(&changes[0], fd, EVFILT_READ, EV_DELETE, 0, 0, NULL);
	EV_SET(&changes[1], fd, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
	/* One by one: a filter that is not there must not keep the other. */
	(void)kevent(poller, &changes[0], 1, NULL, 0, NULL);
	(void)kevent(poller, &changes[1], 1, NULL, 0, NULL);
}

size_t pv_poller_wait(int poller, uint64_t timeout_ns, struct pv_poller_event out[PV_POLLER_BATCH])
{
	struct kevent events[PV_POLLER_BATCH];
	struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
				   .tv_nsec = (long)(timeout_ns % 1000000000)};
	int n = kevent(poller, NULL, 0, events, PV_POLLER_BATCH, timeout_ns == UINT64_MAX ? NULL : &timeout);

	for (int i = 0; i < n; i++) {
		out[i].user = events[i].udata;
		out[i].events = (events[i].filter == EVFILT_READ ? PV_LOOP_READ : 0u) |
				(events[i].filter == EVFILT_WRITE ? PV_LOOP_WRITE : 0u) |
				(events[i].flags & (EV_EOF | EV_ERROR) ? PV_LOOP_HANGUP : 0u);
	}
	return n > 0 ? (size_t)n : 0;
}

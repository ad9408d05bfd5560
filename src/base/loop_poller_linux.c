/* SPDX-License-Identifier: MIT */
#include "base/loop_poller.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"

static uint32_t to_epoll(uint32_t events)
{
	return (events & PV_LOOP_READ ? EPOLLIN : 0u) | (events & PV_LOOP_WRITE ? EPOLLOUT : 0u);
}

enum pv_status pv_poller_create(int *out_fd)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0) {
		pv_log(PV_LOG_ERROR, "loop", "epoll_create1: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	*out_fd = fd;
	return PV_OK;
}

enum pv_status pv_poller_add(int poller, int fd, uint32_t events, void *user)
{
	struct epoll_event event = {.events = to_epoll(events), .data.ptr = user};

	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) {
		/* A peer may hand us a file that cannot be polled. */
		pv_log(PV_LOG_WARNING, "loop", "fd %d cannot be watched: %s", fd, strerror(errno));
		return PV_ERR_HOST;
	}
	return PV_OK;
}

void pv_poller_modify(int poller, int fd, uint32_t old_events, uint32_t events, void *user)
{
	struct epoll_event event = {.events = to_epoll(events), .data.ptr = user};

	(void)old_events;
	(void)epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

void pv_poller_remove(int poller, int fd, uint32_t old_events)
{
	(void)old_events;
	(void)epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL);
}

static int wait_events(int poller, uint64_t timeout_ns, struct epoll_event *events)
{
	/* Whole milliseconds, rounded up: a timer may be late by one, never early and never busy. */
	int timeout_ms = -1;

	if (timeout_ns != UINT64_MAX) {
		uint64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
		timeout_ms = ms > 3600000 ? 3600000 : (int)ms;
	}
	return epoll_wait(poller, events, PV_POLLER_BATCH, timeout_ms);
}

size_t pv_poller_wait(int poller, uint64_t timeout_ns, struct pv_poller_event out[PV_POLLER_BATCH])
{
	struct epoll_event events[PV_POLLER_BATCH];
	int n = wait_events(poller, timeout_ns, events);

	for (int i = 0; i < n; i++) {
		out[i].user = events[i].data.ptr;
		out[i].events = (events[i].events & EPOLLIN ? PV_LOOP_READ : 0u) |
				(events[i].events & EPOLLOUT ? PV_LOOP_WRITE : 0u) |
				(events[i].events & (EPOLLHUP | EPOLLERR) ? PV_LOOP_HANGUP : 0u);
	}
	return n > 0 ? (size_t)n : 0;
}

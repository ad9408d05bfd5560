/* SPDX-License-Identifier: MIT */
/*
 * What tests of the whole transport share: it has a real device core, against a fake front end at the other end of a
 * socket pair. Each is a program of its own, and includes this once.
 */
#ifndef PV_TRANSPORT_VHOST_USER_VHOST_USER_TEST_H
#define PV_TRANSPORT_VHOST_USER_VHOST_USER_TEST_H

#include "transport/vhost_user/vhost_user.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/socket.h"
#include "transport/vhost_user/fake_front_end.h"

#define ALL          FE_ALL_PROTOCOL_FEATURES
#define WINDOW_BYTES FE_WINDOW_BYTES

/* Errors and warnings since the test began. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static int complaints;
static char complained[16384];
static int fds_before;

static inline void keep_line(void *user, enum pv_log_level level, const char *line)
{
	(void)user;
	if (level > PV_LOG_WARNING)
		return;
	pthread_mutex_lock(&log_lock);
	complaints++;
	size_t len = strlen(complained);
	snprintf(complained + len, sizeof(complained) - len, "%s\n", line);
	print_message("# %s\n", line);
	pthread_mutex_unlock(&log_lock);
}

static inline int count_complaints(void)
{
	pthread_mutex_lock(&log_lock);
	int n = complaints;
	pthread_mutex_unlock(&log_lock);
	return n;
}

static inline void assert_complained_about(const char *text)
{
	pthread_mutex_lock(&log_lock);
	bool found = strstr(complained, text) != NULL;
	if (!found)
		print_error("# the log says \"%s\", nothing of \"%s\"\n", complained, text);
	pthread_mutex_unlock(&log_lock);
	assert_true(found);
}

static inline int begin(void **state)
{
	(void)state;
	complaints = 0;
	complained[0] = 0;
	fds_before = fg_count_fds();
	return 0;
}

static inline int end(void **state)
{
	(void)state;
	int left = fg_count_fds() - fds_before;

	if (left != 0)
		print_error("# %d fds were left open\n", left);
	return left != 0;
}

static inline void sleep_ms(int ms)
{
	poll(NULL, 0, ms);
}

static inline struct pv_transport_stats stats_of(struct fe *fe)
{
	struct pv_transport_stats stats;

	pv_vhost_user_get_stats(fe->transport, &stats);
	return stats;
}

struct blocker {
	struct pv_loop_task task;
	sem_t entered, leave;
};

static inline void block(struct pv_loop_task *task)
{
	struct blocker *blocker = PV_CONTAINER_OF(task, struct blocker, task);

	sem_post(&blocker->entered);
	while (sem_wait(&blocker->leave) != 0)
		;
}

#endif

/* SPDX-License-Identifier: MIT */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Of output that is kept; a program that says more is heard out all the same. */
#define MAX_OUTPUT_BYTES (1u << 20)

extern char **environ;

int cli_child_start(char *const *words, enum cli_child_group group, int output_fd, pid_t *out)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
	sigset_t defaults, none;
	int error;

	error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	error = posix_spawnattr_init(&attributes);
	if (error)
		goto out_actions;
	/* This program ignores SIGPIPE, and what is ignored is inherited. */
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setsigmask(&attributes, &none);
	if (group == CLI_CHILD_APART) {
		flags |= POSIX_SPAWN_SETPGROUP;
		posix_spawnattr_setpgroup(&attributes, 0);
	}
	if (group == CLI_CHILD_APART || output_fd >= 0)
		error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawnattr_setflags(&attributes, flags);
	if (!error && output_fd >= 0)
		error = posix_spawn_file_actions_adddup2(&actions, output_fd, 1);
	if (!error && output_fd >= 0)
		error = posix_spawn_file_actions_adddup2(&actions, output_fd, 2);
	if (!error)
		error = posix_spawnp(out, words[0], &actions, &attributes, words, environ);
	posix_spawnattr_destroy(&attributes);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads until the end of the output or the deadline. False: the deadline. */
static bool hear_out(int fd, char *text, size_t size, int64_t deadline_ms)
{
	size_t used = 0;
	char rest[4096];

	for (;;) {
		int64_t left_ms = deadline_ms - now_ms();
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		bool full = used + 1 >= size;
		ssize_t got;

		if (left_ms <= 0)
			return false;
		if (poll(&poll_fd, 1, (int)left_ms) <= 0)
			continue;
		got = full ? read(fd, rest, sizeof(rest)) : read(fd, text + used, size - 1 - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return true;
		if (!full)
			used += (size_t)got;
	}
}

/* False: it goes on, or cannot be killed: a guest that the kernel never lets go is left to the system. */
static bool reap(pid_t pid, int64_t deadline_ms, int *status)
{
	while (waitpid(pid, status, WNOHANG) != pid) {
		if (now_ms() >= deadline_ms)
			return false;
		poll(NULL, 0, 5);
	}
	return true;
}

bool cli_capture(struct cli_capture *capture, char *const *words, uint32_t timeout_ms)
{
	int64_t deadline_ms = now_ms() + timeout_ms;
	int fds[2];
	pid_t pid;

	*capture = (struct cli_capture){.text = calloc(1, MAX_OUTPUT_BYTES)};
	if (!capture->text || pipe(fds) < 0) {
		capture->error = capture->text ? errno : ENOMEM;
		return false;
	}
	fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	fcntl(fds[1], F_SETFD, FD_CLOEXEC);
	capture->error = cli_child_start(words, CLI_CHILD_IN_FOREGROUND, fds[1], &pid);
	close(fds[1]);
	if (capture->error == 0) {
		capture->timed_out = !hear_out(fds[0], capture->text, MAX_OUTPUT_BYTES, deadline_ms) ||
				     !reap(pid, deadline_ms, &capture->status);
		if (capture->timed_out) {
			kill(pid, SIGKILL);
			reap(pid, now_ms() + 1000, &capture->status);
		}
	}
	close(fds[0]);
	return capture->error == 0 && !capture->timed_out && WIFEXITED(capture->status) &&
	       WEXITSTATUS(capture->status) == 0;
}

void cli_capture_finish(struct cli_capture *capture)
{
	free(capture->text);
	*capture = (struct cli_capture){0};
}

/* SPDX-License-Identifier: MIT */
/*
 * QEMU and the device beside each other: signals are passed on to QEMU, and neither outlives the other. The device ends
 * by itself when QEMU leaves it, so in the normal end QEMU goes first. A device that goes first takes QEMU along.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/run.h"

/* Between QEMU's last words to the device and its end. */
#define QEMU_ENDS_MS   2000
#define DEVICE_ENDS_MS 5000
/* Between SIGTERM and SIGKILL. A guest's access to a device that is gone can hold QEMU up for 5 s. */
#define PATIENCE_MS 8000

struct child {
	const char *name;
	pid_t pid; /* 0: it has ended, or was never started */
	int status;
	bool told;           /* has had its SIGTERM */
	int64_t deadline_ms; /* 0: none */
};

struct both {
	struct child qemu, device;
	bool device_failed;
};

/* Written to by the signal handlers. */
static int wake_fds[2] = {-1, -1};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_signal(int number)
{
	int saved_errno = errno;
	char byte = (char)number;
	ssize_t ignored = write(wake_fds[1], &byte, 1);

	(void)ignored;
	errno = saved_errno;
}

static bool catch_signals(void)
{
	static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	if (!cli_open_wake_pipe(wake_fds))
		return false;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
	return true;
}

static bool start(struct child *child, const struct cli_words *words, enum cli_child_group group)
{
	int error = cli_child_start(words->words, group, -1, &child->pid);

	if (error == 0)
		return true;
	child->pid = 0;
	cli_error(NULL, "%s cannot be started: %s: %s", child->name, words->words[0], strerror(error));
	return false;
}

/* True: it has ended just now. */
static bool reap(struct child *child)
{
	if (!child->pid || waitpid(child->pid, &child->status, WNOHANG) != child->pid)
		return false;
	child->pid = 0;
	child->deadline_ms = 0;
	return true;
}

static void tell(struct child *child, int number)
{
	if (!child->pid)
		return;
	kill(child->pid, number);
	child->told = true;
	child->deadline_ms = now_ms() + PATIENCE_MS;
}

/* What a deadline means: SIGTERM, then SIGKILL. */
static void press(struct both *both, struct child *child)
{
	if (!child->pid || !child->deadline_ms || now_ms() < child->deadline_ms)
		return;
	if (child == &both->qemu && !both->device.pid && !child->told) {
		both->device_failed = true;
		cli_error("the guest cannot go on without", "the device has ended, and QEMU has not");
	}
	tell(child, child->told ? SIGKILL : SIGTERM);
}

static void device_ended(struct both *both)
{
	const int status = both->device.status;

	if (!both->qemu.pid)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		/* Has QEMU left it? Then it is about to end. */
		if (!both->qemu.deadline_ms)
			both->qemu.deadline_ms = now_ms() + QEMU_ENDS_MS;
		return;
	}
	both->device_failed = true;
	if (WIFSIGNALED(status))
		cli_error("the guest cannot go on without; please report it with what it said above",
			  "the device was ended by signal %d", WTERMSIG(status));
	if (!both->qemu.told)
		tell(&both->qemu, SIGTERM);
}

static void look_after(struct both *both)
{
	if (reap(&both->device))
		device_ended(both);
	if (reap(&both->qemu) && both->device.pid)
		both->device.deadline_ms = now_ms() + DEVICE_ENDS_MS;
	press(both, &both->qemu);
	press(both, &both->device);
}

static int left_ms(const struct both *both)
{
	int64_t first = 0, left;

	if (both->qemu.pid && both->qemu.deadline_ms)
		first = both->qemu.deadline_ms;
	if (both->device.pid && both->device.deadline_ms && (!first || both->device.deadline_ms < first))
		first = both->device.deadline_ms;
	if (!first)
		return -1;
	left = first - now_ms();
	return left < 0 ? 0 : (int)left + 1;
}

static void watch(struct both *both)
{
	while (both->qemu.pid || both->device.pid) {
		struct pollfd poll_fd = {.fd = wake_fds[0], .events = POLLIN};
		char number;

		poll(&poll_fd, 1, left_ms(both));
		while (read(wake_fds[0], &number, 1) == 1) {
			if (number != SIGCHLD)
				tell(&both->qemu, number);
		}
		look_after(both);
	}
}

int run_both(const struct cli_words *device, const struct cli_words *qemu, int take_fd)
{
	struct both both = {.qemu.name = "QEMU", .device.name = "the device"};
	bool started;

	if (!catch_signals()) {
		close(take_fd);
		return CLI_FAILED;
	}
	fcntl(take_fd, F_SETFD, 0);
	started = start(&both.device, device, CLI_CHILD_APART);
	close(take_fd);
	if (!started)
		return CLI_FAILED;
	if (!start(&both.qemu, qemu, CLI_CHILD_IN_FOREGROUND)) {
		both.device_failed = true;
		tell(&both.device, SIGTERM);
	}
	watch(&both);
	if (both.device_failed)
		return CLI_FAILED;
	return WIFSIGNALED(both.qemu.status) ? 128 + WTERMSIG(both.qemu.status) : WEXITSTATUS(both.qemu.status);
}

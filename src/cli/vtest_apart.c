/* SPDX-License-Identifier: MIT */
#include "cli/vtest_apart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/cli.h"

struct apart {
	const struct cli_words *words;
	pid_t *pids;
	size_t count, max;
};

/* Written to by the signal handler; the main thread polls it. */
static int wake_fds[2] = {-1, -1};

static void on_signal(int number)
{
	int saved = errno;
	char byte = number == SIGCHLD ? 'c' : 's';

	(void)!write(wake_fds[1], &byte, 1);
	errno = saved;
}

static bool prepare_wake(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	if (!cli_open_wake_pipe(wake_fds))
		return false;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGTERM, &action, NULL) == 0 && sigaction(SIGINT, &action, NULL) == 0 &&
	       sigaction(SIGHUP, &action, NULL) == 0 && sigaction(SIGCHLD, &action, NULL) == 0;
}

static void reap(struct apart *apart)
{
	for (size_t i = 0; i < apart->count;) {
		int status;

		if (waitpid(apart->pids[i], &status, WNOHANG) != apart->pids[i]) {
			i++;
			continue;
		}
		if (WIFSIGNALED(status))
			cli_error(NULL, "process %ld of one client ended by signal %d", (long)apart->pids[i],
				  WTERMSIG(status));
		apart->pids[i] = apart->pids[--apart->count];
	}
}

/* Takes the descriptor. */
static void start(struct apart *apart, int fd)
{
	struct cli_words words = {0};
	int error = ENOMEM;

	for (size_t i = 0; i < apart->words->count; i++)
		cli_words_add(&words, "%s", apart->words->words[i]);
	cli_words_add(&words, "--client=%d", fd);
	/* It stays open in the child. */
	if (!words.failed && fcntl(fd, F_SETFD, 0) == 0)
		error = cli_child_start(words.words, CLI_CHILD_APART, -1, &apart->pids[apart->count]);
	if (error)
		cli_error(NULL, "no process for a client: %s", strerror(error));
	else
		apart->count++;
	cli_words_finish(&words);
	close(fd);
}

/* False: the end. */
static bool step(struct apart *apart, int listen_fd)
{
	struct pollfd polled[2] = {{.fd = wake_fds[0], .events = POLLIN},
				   {.fd = apart->count < apart->max ? listen_fd : -1, .events = POLLIN}};
	bool ends = false;
	char byte;

	if (poll(polled, 2, -1) < 0)
		return errno == EINTR;
	while (read(wake_fds[0], &byte, 1) == 1)
		ends |= byte == 's';
	reap(apart);
	if (polled[1].revents) {
		int fd = accept(listen_fd, NULL, NULL);

		if (fd >= 0)
			start(apart, fd);
		else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			poll(NULL, 0, 1000); /* most likely out of descriptors */
	}
	return !ends;
}

int cli_vtest_serve_apart(int listen_fd, const struct cli_words *words, size_t max_clients)
{
	struct apart apart = {.words = words, .max = max_clients, .pids = calloc(max_clients, sizeof(*apart.pids))};

	if (!apart.pids || !prepare_wake()) {
		free(apart.pids);
		cli_error(NULL, "out of memory or descriptors");
		return CLI_FAILED;
	}
	while (step(&apart, listen_fd))
		;
	for (size_t i = 0; i < apart.count; i++)
		kill(apart.pids[i], SIGTERM);
	for (size_t i = 0; i < apart.count; i++)
		waitpid(apart.pids[i], NULL, 0);
	free(apart.pids);
	return CLI_OK;
}

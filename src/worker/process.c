/* SPDX-License-Identifier: MIT */
/*
 * A thread waits for each worker's end, as a loop cannot everywhere. It looks first and takes the exit status under the
 * lock, so that nobody kills a process that has the same number by then.
 */
#include "worker/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mutex.h"
#include "base/socket.h"
#include "base/thread.h"

#define MODULE "worker"

/* To end by itself: drivers take down what the guest left. */
#define PATIENCE_NS UINT64_C(3000000000)

extern char **environ;

struct program {
	char *path;
	struct pv_loop *loop;
};

struct process {
	struct pv_loop *loop;
	void (*ended)(void *user);
	void *user;
	pid_t pid;
	pthread_t waiter;
	struct pv_loop_task task;
	char how[PV_WORKER_HOW_BYTES]; /* the waiter's, until it has ended */

	struct pv_mutex lock;
	struct pv_condition changed;
	bool gone PV_GUARDED_BY(lock);
};

static void describe(struct process *process, int status)
{
	if (WIFSIGNALED(status))
		snprintf(process->how, sizeof(process->how), "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(process->how, sizeof(process->how), "exit status %d", WEXITSTATUS(status));
}

static void *wait_for_end(void *user)
{
	struct process *process = user;
	siginfo_t info;
	int status = 0, error;

	do
		error = waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOWAIT);
	while (error < 0 && errno == EINTR);
	pv_mutex_lock(&process->lock);
	if (waitpid(process->pid, &status, WNOHANG) == process->pid)
		describe(process, status);
	else
		snprintf(process->how, sizeof(process->how), "somebody else has its exit status");
	process->gone = true;
	pv_condition_signal(&process->changed);
	pv_mutex_unlock(&process->lock);
	pv_loop_post(process->loop, &process->task);
	return NULL;
}

static void run_ended(struct pv_loop_task *task)
{
	struct process *process = PV_CONTAINER_OF(task, struct process, task);

	process->ended(process->user);
}

static int spawn(const char *path, int fd, pid_t *out)
{
	char name[] = "pvgpu", command[] = "worker";
	char *argv[] = {name, command, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int error;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	sigemptyset(&none);
	sigfillset(&all);
	error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(&actions, fd, PV_WORKER_FD);
	/* Our thread takes no signals, and the program may ignore some. */
	if (!error)
		error = posix_spawnattr_setsigmask(&attributes, &none);
	if (!error)
		error = posix_spawnattr_setsigdefault(&attributes, &all);
	if (!error)
		error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!error)
		error = posix_spawn(out, path, &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static void kill_process(void *worker)
{
	struct process *process = worker;

	pv_mutex_lock(&process->lock);
	if (!process->gone)
		(void)kill(process->pid, SIGKILL);
	pv_mutex_unlock(&process->lock);
}

static void free_process(struct process *process)
{
	pv_condition_finish(&process->changed);
	pv_mutex_finish(&process->lock);
	free(process);
}

static enum pv_status start(void *user, int take_fd, void (*ended)(void *user), void *ended_user, void **out)
{
	const struct program *program = user;
	struct process *process = calloc(1, sizeof(*process));
	int error;

	if (!process) {
		pv_fd_close(&take_fd);
		return PV_ERR_NO_MEMORY;
	}
	process->loop = program->loop;
	process->ended = ended;
	process->user = ended_user;
	process->task.run = run_ended;
	pv_mutex_init(&process->lock);
	pv_condition_init(&process->changed);
	error = spawn(program->path, take_fd, &process->pid);
	pv_fd_close(&take_fd);
	if (error) {
		pv_log(PV_LOG_ERROR, MODULE, "%s cannot be run: %s", program->path, strerror(error));
		free_process(process);
		return PV_ERR_HOST;
	}
	if (pv_thread_create("pv-worker-wait", wait_for_end, process, &process->waiter) != PV_OK) {
		kill_process(process);
		(void)waitpid(process->pid, NULL, 0);
		free_process(process);
		return PV_ERR_NO_MEMORY;
	}
	*out = process;
	return PV_OK;
}

static int64_t pid(void *worker)
{
	return ((const struct process *)worker)->pid;
}

static void release(void *worker, char how[PV_WORKER_HOW_BYTES])
{
	struct process *process = worker;
	uint64_t deadline_ns = pv_now_ns() + PATIENCE_NS, now_ns;

	pv_mutex_lock(&process->lock);
	while (!process->gone && (now_ns = pv_now_ns()) < deadline_ns)
		pv_condition_wait_for(&process->changed, &process->lock, deadline_ns - now_ns);
	pv_mutex_unlock(&process->lock);
	kill_process(process);
	pthread_join(process->waiter, NULL);
	pv_loop_cancel(process->loop, &process->task);
	memcpy(how, process->how, sizeof(process->how));
	free_process(process);
}

enum pv_status pv_worker_launcher_init(struct pv_worker_launcher *launcher, const char *path, struct pv_loop *loop)
{
	struct program *program = malloc(sizeof(*program));

	if (!program)
		return PV_ERR_NO_MEMORY;
	*program = (struct program){.path = strdup(path), .loop = loop};
	if (!program->path) {
		free(program);
		return PV_ERR_NO_MEMORY;
	}
	*launcher = (struct pv_worker_launcher){
	    .start = start, .kill = kill_process, .pid = pid, .release = release, .user = program};
	return PV_OK;
}

void pv_worker_launcher_finish(struct pv_worker_launcher *launcher)
{
	struct program *program = launcher->user;

	if (program)
		free(program->path);
	free(program);
	launcher->user = NULL;
}

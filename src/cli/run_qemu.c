/* SPDX-License-Identifier: MIT */
/* What the host's QEMU is and has, asked of itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli/child.h"
#include "cli/run.h"

/* It answers in 50 ms. */
#define TIMEOUT_MS 20000

const char *const run_transport_names[RUN_NR_TRANSPORTS] = {"vfio-user", "vhost-user", "vhost-user-gpu"};
const char *const run_transport_devices[RUN_NR_TRANSPORTS] = {"vfio-user-pci", "vhost-user-test-device-pci",
							      "vhost-user-gpu-pci"};
const char *const run_accelerator_names[RUN_NR_ACCELERATORS] = {"kvm", "hvf", "tcg"};

/* QEMU's answer to some words; NULL: said why. To be freed. */
static char *ask(const char *program, const char *first, const char *second, const char *third, const char *fourth)
{
	char *words[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)first,  (char *)(uintptr_t)second,
			 (char *)(uintptr_t)third,   (char *)(uintptr_t)fourth, NULL};
	struct cli_capture capture;
	char *text = NULL;

	if (cli_capture(&capture, words, TIMEOUT_MS)) {
		text = capture.text;
		capture.text = NULL;
	} else if (capture.error == ENOENT) {
		cli_error(
		    "install it (Debian: qemu-system-x86, of trixie-backports; macOS: brew install qemu), or say where "
		    "it is: --qemu=PROGRAM",
		    "%s is not there", program);
	} else if (capture.error) {
		cli_error("give another one: --qemu=PROGRAM", "%s: %s", program, strerror(capture.error));
	} else if (capture.timed_out) {
		cli_error("does it run by hand? give another one: --qemu=PROGRAM", "%s %s: no answer for %d s", program,
			  first, TIMEOUT_MS / 1000);
	} else {
		cli_error("does it run by hand? give another one: --qemu=PROGRAM", "%s %s fails: %.500s", program,
			  first, capture.text);
	}
	cli_capture_finish(&capture);
	return text;
}

/* Whether a text has `word` between characters that no such name has. */
static bool has_word(const char *text, const char *word)
{
	static const char in_names[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += len) {
		bool begins = at == text || !strchr(in_names, at[-1]);
		bool ends = at[len] == '\0' || !strchr(in_names, at[len]);

		if (begins && ends)
			return true;
	}
	return false;
}

static bool learn_version(struct run_qemu *qemu)
{
	char *text = ask(qemu->program, "--version", NULL, NULL, NULL);
	const char *number = text ? strstr(text, "version ") : NULL;
	unsigned int major = 0, minor = 0;

	if (number && sscanf(number, "version %u.%u", &major, &minor) == 2 && major < 1000 && minor < 100)
		qemu->version = 100 * major + minor;
	else if (text)
		cli_error("give another one: --qemu=PROGRAM", "%s does not say which QEMU it is: %.100s", qemu->program,
			  text);
	free(text);
	return qemu->version > 0;
}

static bool learn_devices(struct run_qemu *qemu)
{
	char *text = ask(qemu->program, "-machine", "none", "-device", "help");

	if (!text)
		return false;
	for (int i = 0; i < RUN_NR_TRANSPORTS; i++)
		qemu->transports[i] = has_word(text, run_transport_devices[i]);
	/* Shared memory regions came with 11.1; before, the guest would have no window. */
	if (qemu->version < 1101)
		qemu->transports[RUN_VHOST_USER] = false;
	free(text);
	return true;
}

static bool learn_memory(struct run_qemu *qemu)
{
	/* Where there is no memfd there is POSIX shared memory. */
	static const char *const backends[] = {"memory-backend-memfd", "memory-backend-shm"};
	char *text = ask(qemu->program, "-machine", "none", "-object", "help");

	for (size_t i = 0; text && !qemu->memory_backend && i < sizeof(backends) / sizeof(backends[0]); i++) {
		if (has_word(text, backends[i]))
			qemu->memory_backend = backends[i];
	}
	if (text && !qemu->memory_backend)
		cli_error("use QEMU 9.1 or newer", "%s cannot share the guest's memory: it has neither %s nor %s",
			  qemu->program, backends[0], backends[1]);
	free(text);
	return qemu->memory_backend != NULL;
}

static bool learn_the_rest(struct run_qemu *qemu)
{
	char *text = ask(qemu->program, "-display", "help", NULL, NULL);

	if (text) {
		qemu->has_gtk = has_word(text, "gtk");
		qemu->has_sdl = has_word(text, "sdl");
		qemu->has_cocoa = has_word(text, "cocoa");
		free(text);
		text = ask(qemu->program, "-help", NULL, NULL, NULL);
	}
	if (text)
		qemu->ends_with_parent = has_word(text, "exit-with-parent");
	free(text);
	return text != NULL;
}

static char *default_program(void)
{
	struct utsname host;
	char *program = NULL;
	bool is_arm = uname(&host) == 0 && (strcmp(host.machine, "arm64") == 0 || strcmp(host.machine, "aarch64") == 0);

	return asprintf(&program, "qemu-system-%s", is_arm ? "aarch64" : "x86_64") < 0 ? NULL : program;
}

bool run_find_qemu(const struct run_options *options, struct run_qemu *qemu)
{
	*qemu = (struct run_qemu){.program = options->qemu ? strdup(options->qemu) : default_program()};
	if (!qemu->program)
		return false;
	qemu->is_arm = strstr(qemu->program, "aarch64") != NULL;
	return learn_version(qemu) && learn_devices(qemu) && learn_memory(qemu) && learn_the_rest(qemu);
}

void run_qemu_finish(struct run_qemu *qemu)
{
	free(qemu->program);
	*qemu = (struct run_qemu){0};
}

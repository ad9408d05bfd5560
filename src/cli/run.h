/* SPDX-License-Identifier: MIT */
/*
 * What the parts of `pvgpu run` tell each other: what the user wants, what shall be booted, what this host's QEMU can
 * do, and the two command lines that follow from those three.
 */
#ifndef PV_CLI_RUN_H
#define PV_CLI_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/words.h"

/* The best first. */
enum run_transport {
	RUN_VFIO_USER,      /* vfio-user-pci */
	RUN_VHOST_USER,     /* vhost-user-test-device-pci as a GPU with a window */
	RUN_VHOST_USER_GPU, /* vhost-user-gpu-pci: 2D, on QEMU's own console */
	RUN_NR_TRANSPORTS,
};

enum run_accelerator { RUN_KVM, RUN_HVF, RUN_TCG, RUN_NR_ACCELERATORS };

extern const char *const run_transport_names[RUN_NR_TRANSPORTS], *const run_transport_devices[RUN_NR_TRANSPORTS],
								     *const run_accelerator_names[RUN_NR_ACCELERATORS];

/* As given on the command line; NULL, 0, -1: not given. Nothing is owned. */
struct run_options {
	const char *boot; /* IMAGE or DIR */
	const char *kernel, *initrd, *append, *firmware;
	bool snapshot;
	const char *qemu;
	int transport, accelerator;
	uint64_t memory_bytes, nr_cpus, ssh_port;
	bool no_network;
	const char *console; /* stdio, none or a file */
	const char *display; /* of QEMU */
	const char *renderers;
	bool with_dma_bufs;
	struct cli_words device_words; /* options that are the device's, passed on */
	char *const *extra;            /* for QEMU, ends with NULL */
	bool dry_run, verbose;
};

/* What is booted. */
struct run_guest {
	char *disk;         /* NULL: none */
	const char *format; /* of the disk, in QEMU's words */
	bool is_cdrom;
	char *directory;       /* the root file system; NULL: none */
	char *kernel, *initrd; /* NULL: none */
};

/* False: said why. */
bool run_find_guest(const struct run_options *options, struct run_guest *guest);
void run_guest_finish(struct run_guest *guest);

/* What this QEMU is. */
struct run_qemu {
	char *program;
	unsigned int version; /* 100 * major + minor */
	bool is_arm;
	bool transports[RUN_NR_TRANSPORTS];
	bool ends_with_parent;
	const char *memory_backend;
	bool has_gtk, has_sdl, has_cocoa;
};

bool run_find_qemu(const struct run_options *options, struct run_qemu *qemu);
void run_qemu_finish(struct run_qemu *qemu);

/* Everything decided. */
struct run_plan {
	const struct run_options *options;
	const struct run_guest *guest;
	const struct run_qemu *qemu;
	enum run_transport transport;
	enum run_accelerator accelerator;
	const char *renderers;
	const char *display; /* of QEMU */
	uint64_t memory_bytes, nr_cpus;
	const char *program; /* this one */
	const char *socket_path;
};

void run_qemu_command(const struct run_plan *plan, struct cli_words *out);
/* `fd`: the socket it shall listen on; -1: the socket's path. */
void run_device_command(const struct run_plan *plan, int fd, struct cli_words *out);

/*
 * Runs both until they end; the device listens on `take_fd`. Returns the exit code: QEMU's, unless the device could not
 * be started or left early.
 */
int run_both(const struct cli_words *device, const struct cli_words *qemu, int take_fd);

/* ---- Differs by platform ---- */

/*
 * Whether guests of this host's own architecture run on its processor, tried out. Otherwise *why has the reason and
 * what to do, for people: a text that is never freed.
 */
bool run_can_accelerate(const struct run_qemu *qemu, enum run_accelerator *out, const char **why);

#endif

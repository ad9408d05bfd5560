/* SPDX-License-Identifier: MIT */
/* The two command lines that follow from a plan. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/run.h"

/* A word of the kind "key=value,file=PATH", whatever characters the path has. */
static void add_with_path(struct cli_words *out, const char *fmt_before, const char *path)
{
	char *value = cli_qemu_value(path);

	if (value)
		cli_words_add(out, "%s%s", fmt_before, value);
	else
		out->failed = true;
	free(value);
}

/* ---- The device, for QEMU ---- */

static void add_vfio_user(const struct run_plan *plan, struct cli_words *out)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *socket = yyjson_mut_obj(doc);
	char *json;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "driver", run_transport_devices[RUN_VFIO_USER]);
	yyjson_mut_obj_add_str(doc, root, "id", "gpu");
	yyjson_mut_obj_add_str(doc, root, "bus", "gpu-port");
	yyjson_mut_obj_add_val(doc, root, "socket", socket);
	yyjson_mut_obj_add_str(doc, socket, "type", "unix");
	yyjson_mut_obj_add_str(doc, socket, "path", plan->socket_path);
	json = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	cli_words_add(out, "-device");
	cli_words_add(out, "pcie-root-port,id=gpu-port,slot=16");
	cli_words_add(out, "-device");
	if (json)
		cli_words_add(out, "%s", json);
	else
		out->failed = true;
	free(json);
}

static void add_gpu(const struct run_plan *plan, struct cli_words *out)
{
	if (plan->transport == RUN_VFIO_USER) {
		add_vfio_user(plan, out);
		return;
	}
	cli_words_add(out, "-chardev");
	add_with_path(out, "socket,id=gpu-link,path=", plan->socket_path);
	cli_words_add(out, "-device");
	cli_words_add(out, "%s,id=gpu,chardev=gpu-link%s", run_transport_devices[plan->transport],
		      /* It stands for any virtio device: this makes it a GPU. */
		      plan->transport == RUN_VHOST_USER ? ",virtio-id=16,num_vqs=2,vq_size=256,config_size=20" : "");
}

/* ---- The machine ---- */

static void add_machine(const struct run_plan *plan, struct cli_words *out)
{
	uint64_t memory_mib = plan->memory_bytes >> 20;

	cli_words_add(out, "-object");
	cli_words_add(out, "%s,id=memory,size=%lluM,share=on", plan->qemu->memory_backend,
		      (unsigned long long)memory_mib);
	cli_words_add(out, "-machine");
	cli_words_add(out, "%s,memory-backend=memory", plan->qemu->is_arm ? "virt" : "q35");
	cli_words_add(out, "-accel");
	cli_words_add(out, "%s",
		      plan->accelerator == RUN_TCG ? "tcg,thread=multi,tb-size=512"
						   : run_accelerator_names[plan->accelerator]);
	cli_words_add(out, "-cpu");
	cli_words_add(out, plan->accelerator == RUN_TCG ? "max" : "host");
	cli_words_add(out, "-smp");
	cli_words_add(out, "%llu", (unsigned long long)plan->nr_cpus);
	cli_words_add(out, "-m");
	cli_words_add(out, "%lluM", (unsigned long long)memory_mib);
}

/* ---- What is booted ---- */

static void add_disk(const struct run_plan *plan, struct cli_words *out)
{
	const struct run_guest *guest = plan->guest;
	char *path = cli_qemu_value(guest->disk);

	cli_words_add(out, "-drive");
	if (path)
		cli_words_add(out, "if=none,id=disk,format=%s,file=%s%s", guest->format, path,
			      guest->is_cdrom           ? ",media=cdrom,readonly=on"
			      : plan->options->snapshot ? ",snapshot=on"
							: "");
	else
		out->failed = true;
	free(path);
	cli_words_add(out, "-device");
	/* 0 is that of a kernel. */
	if (guest->is_cdrom) {
		cli_words_add(out, "virtio-scsi-pci");
		cli_words_add(out, "-device");
		cli_words_add(out, "scsi-cd,drive=disk,bootindex=1");
	} else {
		cli_words_add(out, "virtio-blk-pci,drive=disk,bootindex=1");
	}
}

static void add_directory(const struct run_plan *plan, struct cli_words *out)
{
	char *path = cli_qemu_value(plan->guest->directory);

	cli_words_add(out, "-fsdev");
	if (path)
		/* Who is not root cannot give files to others: owners are kept as attributes. */
		cli_words_add(out, "local,id=root,path=%s,security_model=mapped-xattr,multidevs=remap%s", path,
			      plan->options->snapshot ? ",readonly=on" : "");
	else
		out->failed = true;
	free(path);
	cli_words_add(out, "-device");
	cli_words_add(out, "virtio-9p-pci,fsdev=root,mount_tag=root");
}

static bool on_terminal(const struct run_plan *plan)
{
	return strcmp(plan->options->console, "none") != 0;
}

static void add_kernel(const struct run_plan *plan, struct cli_words *out)
{
	const struct run_guest *guest = plan->guest;

	cli_words_add(out, "-kernel");
	cli_words_add(out, "%s", guest->kernel);
	if (guest->initrd) {
		cli_words_add(out, "-initrd");
		cli_words_add(out, "%s", guest->initrd);
	}
	cli_words_add(out, "-append");
	/* The user's come last: of two that contradict each other Linux takes the last. */
	cli_words_add(out, "%s%s%s%s%s", on_terminal(plan) ? "console=tty0 console=" : "console=tty0",
		      !on_terminal(plan)   ? ""
		      : plan->qemu->is_arm ? "ttyAMA0"
					   : "ttyS0",
		      !guest->directory ? ""
					: " root=root rootfstype=9p "
					  "rootflags=trans=virtio,version=9p2000.L,msize=512000,cache=mmap",
		      !guest->directory         ? ""
		      : plan->options->snapshot ? " ro"
						: " rw",
		      plan->options->append ? " " : "");
	if (plan->options->append && !out->failed) {
		char *before = out->words[--out->count];

		cli_words_add(out, "%s%s", before, plan->options->append);
		free(before);
	}
}

/* An Arm machine has none unless it is given one. */
static const char *arm_firmware(void)
{
	static const char *const paths[] = {
	    "/usr/share/AAVMF/AAVMF_CODE.fd",      /* Debian, Ubuntu */
	    "/usr/share/edk2/aarch64/QEMU_EFI.fd", /* Fedora, Arch */
	    "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (access(paths[i], R_OK) == 0)
			return paths[i];
	}
	return "edk2-aarch64-code.fd"; /* QEMU's own, where its packager has left it in */
}

static void add_boot(const struct run_plan *plan, struct cli_words *out)
{
	const char *firmware = plan->options->firmware;

	if (!firmware && plan->qemu->is_arm && !plan->guest->kernel)
		firmware = arm_firmware();
	if (firmware) {
		cli_words_add(out, "-bios");
		cli_words_add(out, "%s", firmware);
	}
	if (plan->guest->kernel)
		add_kernel(plan, out);
	if (plan->guest->disk)
		add_disk(plan, out);
	if (plan->guest->directory)
		add_directory(plan, out);
}

/* ---- What is around it ---- */

static void add_console(const struct run_plan *plan, struct cli_words *out)
{
	const char *console = plan->options->console;

	cli_words_add(out, "-serial");
	if (strcmp(console, "stdio") == 0)
		cli_words_add(out, "mon:stdio");
	else if (strcmp(console, "none") == 0)
		cli_words_add(out, "none");
	else
		cli_words_add(out, "file:%s", console);
	cli_words_add(out, "-display");
	cli_words_add(out, "%s", plan->display);
}

static void add_network(const struct run_plan *plan, struct cli_words *out)
{
	if (plan->options->no_network)
		return;
	cli_words_add(out, "-netdev");
	if (plan->options->ssh_port)
		cli_words_add(out, "user,id=net,hostfwd=tcp:127.0.0.1:%llu-:22",
			      (unsigned long long)plan->options->ssh_port);
	else
		cli_words_add(out, "user,id=net");
	cli_words_add(out, "-device");
	cli_words_add(out, "virtio-net-pci,netdev=net");
}

static void add_small_devices(struct cli_words *out)
{
	static const char *const devices[] = {"virtio-rng-pci", "virtio-keyboard-pci", "virtio-tablet-pci"};

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		cli_words_add(out, "-device");
		cli_words_add(out, "%s", devices[i]);
	}
}

void run_qemu_command(const struct run_plan *plan, struct cli_words *out)
{
	cli_words_add(out, "%s", plan->qemu->program);
	cli_words_add(out, "-nodefaults");
	cli_words_add(out, "-no-user-config");
	if (plan->qemu->ends_with_parent) {
		cli_words_add(out, "-run-with");
		cli_words_add(out, "exit-with-parent=on");
	}
	add_machine(plan, out);
	add_gpu(plan, out);
	add_boot(plan, out);
	add_small_devices(out);
	add_network(plan, out);
	add_console(plan, out);
	for (char *const *word = plan->options->extra; word && *word; word++)
		cli_words_add(out, "%s", *word);
}

void run_device_command(const struct run_plan *plan, int fd, struct cli_words *out)
{
	const struct cli_words *more = &plan->options->device_words;

	cli_words_add(out, "%s", plan->program);
	cli_words_add(out, plan->transport == RUN_VFIO_USER ? "vfio-user" : "vhost-user");
	if (fd >= 0)
		cli_words_add(out, "--fd=%d", fd);
	else
		cli_words_add(out, "--socket-path=%s", plan->socket_path);
	cli_words_add(out, "--renderer=%s", plan->renderers);
	if (plan->options->with_dma_bufs)
		cli_words_add(out, "--dma-buf");
	for (size_t i = 0; i < more->count; i++)
		cli_words_add(out, "%s", more->words[i]);
}

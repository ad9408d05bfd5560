/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "pv/api.h"

static const char overview[] =
    "Usage: pvgpu COMMAND [OPTIONS]\n"
    "\n"
    "A virtio-gpu device for virtual machines, in a process of its own.\n"
    "\n"
    "  run           boot a guest with this device, in QEMU: one command for all below\n"
    "  vhost-user    be the device of one virtual machine, for QEMU and others\n"
    "  vfio-user     the same as a PCI device of its own, for QEMU 11.1 and Cloud Hypervisor\n"
    "  vtest         give the host's GPU to Vulkan programs of this machine, without a virtual machine\n"
    "  devices       list the host's GPUs and what a guest can have of them\n"
    "  status        show what a running device does\n"
    "  screenshot    write what its screen shows as PNG\n"
    "  resize        offer the guest another screen size\n"
    "  help [CMD]    this, or all about a command\n"
    "  version       print the version\n"
    "\n"
    "Examples:\n"
    "  pvgpu run debian.qcow2\n"
    "  pvgpu vhost-user --socket-path=/tmp/gpu.sock &\n"
    "  qemu-system-x86_64 -machine q35,memory-backend=mem -object memory-backend-memfd,id=mem,size=2G,share=on -m 2G "
    "\\\n"
    "      -chardev socket,id=gpu,path=/tmp/gpu.sock -device vhost-user-gpu-pci,chardev=gpu -vga none ...\n"
    "  pvgpu status\n"
    "  pvgpu screenshot -o now.png\n";

static const struct cli_command *const commands[] = {&cli_run,        &cli_vhost_user, &cli_vfio_user,
						     &cli_vtest,      &cli_devices,    &cli_status,
						     &cli_screenshot, &cli_resize,     &cli_worker};

void cli_error(const char *hint, const char *fmt, ...)
{
	va_list args;

	fputs("pvgpu: error: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	if (hint)
		fprintf(stderr, "pvgpu: error: %s\n", hint);
}

int cli_usage(const struct cli_command *command, const char *fmt, ...)
{
	va_list args;

	fputs("pvgpu: error: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\npvgpu: error: see: pvgpu %s --help\n", command->name);
	return CLI_USAGE;
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

static int no_such_command(const char *name)
{
	cli_error("see: pvgpu help", "there is no command \"%s\"", name);
	return CLI_USAGE;
}

static int help(int argc, char **argv)
{
	const struct cli_command *command;

	if (argc < 2) {
		fputs(overview, stdout);
		return CLI_OK;
	}
	command = find_command(argv[1]);
	if (!command)
		return no_such_command(argv[1]);
	fputs(command->help, stdout);
	return CLI_OK;
}

static int dispatch(int argc, char **argv)
{
	/* Managers such as libvirt run a back end with options alone: it is installed under this second name for them.
	 */
	const char *slash = strrchr(argv[0], '/');
	const struct cli_command *command;

	if (strcmp(slash ? slash + 1 : argv[0], "pvgpu-vhost-user") == 0)
		return cli_vhost_user.run(&cli_vhost_user, argc, argv);
	if (argc < 2) {
		fputs(overview, stderr);
		return CLI_USAGE;
	}
	argc--;
	argv++;
	if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
		return help(argc, argv);
	if (strcmp(argv[0], "version") == 0 || strcmp(argv[0], "--version") == 0) {
		printf("pvgpu %s\n", pv_version());
		return CLI_OK;
	}
	command = find_command(argv[0]);
	return command ? command->run(command, argc, argv) : no_such_command(argv[0]);
}

bool cli_open_wake_pipe(int out_fds[2])
{
	if (pipe(out_fds) < 0) {
		cli_error(NULL, "pipe: %s", strerror(errno));
		return false;
	}
	for (int i = 0; i < 2; i++) {
		fcntl(out_fds[i], F_SETFD, FD_CLOEXEC);
		fcntl(out_fds[i], F_SETFL, O_NONBLOCK);
	}
	return true;
}

int main(int argc, char **argv)
{
	int code;

	if (argc < 1)
		return CLI_USAGE;
	/* A reader that goes away is an error of that write, not our end. */
	signal(SIGPIPE, SIG_IGN);
	code = dispatch(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		cli_error(NULL, "cannot write to the standard output: %s", strerror(errno));
		return CLI_FAILED;
	}
	return code;
}

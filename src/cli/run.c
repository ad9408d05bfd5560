/* SPDX-License-Identifier: MIT */
/* pvgpu run: a guest on this device with one command. Decides; the parts in run.h find out, write down and watch. */
#include "cli/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/child.h"
#include "cli/socket.h"
#include "pv/control.h"
#include "pv/log.h"
#include "pv/vfio_user.h"
#include "pv/vhost_user.h"

#define DEFAULT_MEMORY_BYTES (4ull << 30)
#define MAX_CPUS             8
/* A Vulkan driver that is loaded for the first time reads hundreds of megabytes. */
#define PROBE_TIMEOUT_MS 20000

enum {
	OPT_KERNEL = 1,
	OPT_INITRD,
	OPT_APPEND,
	OPT_FIRMWARE,
	OPT_SNAPSHOT,
	OPT_QEMU,
	OPT_TRANSPORT,
	OPT_ACCELERATOR,
	OPT_MEMORY,
	OPT_CPUS,
	OPT_SSH,
	OPT_NO_NETWORK,
	OPT_CONSOLE,
	OPT_DISPLAY,
	OPT_RENDERER,
	OPT_DRY_RUN,
	OPT_LOG_LEVEL,
	OPT_DMA_BUF,
	OPT_DEVICES_OWN, /* from here on: the device's, passed on to it */
};

static const struct cli_option options_table[] = {
    {OPT_KERNEL, 'k', "kernel", true},
    {OPT_INITRD, 'i', "initrd", true},
    {OPT_APPEND, 'a', "append", true},
    {OPT_FIRMWARE, 0, "firmware", true},
    {OPT_SNAPSHOT, 0, "snapshot", false},
    {OPT_QEMU, 0, "qemu", true},
    {OPT_TRANSPORT, 0, "transport", true},
    {OPT_ACCELERATOR, 0, "accel", true},
    {OPT_MEMORY, 'm', "memory", true},
    {OPT_CPUS, 0, "smp", true},
    {OPT_SSH, 0, "ssh", true},
    {OPT_NO_NETWORK, 0, "no-network", false},
    {OPT_CONSOLE, 0, "console", true},
    {OPT_DISPLAY, 0, "display", true},
    {OPT_RENDERER, 0, "renderer", true},
    {OPT_DRY_RUN, 'n', "dry-run", false},
    {OPT_LOG_LEVEL, 0, "log-level", true},
    {OPT_DEVICES_OWN, 0, "device", true},
    {OPT_DEVICES_OWN + 1, 0, "window", true},
    {OPT_DEVICES_OWN + 2, 0, "size", true},
    {OPT_DEVICES_OWN + 3, 0, "outputs", true},
    {OPT_DEVICES_OWN + 4, 0, "name", true},
    {OPT_DEVICES_OWN + 5, 0, "control", true},
    {OPT_DEVICES_OWN + 6, 0, "max-host-memory", true},
    {OPT_DEVICES_OWN + 7, 0, "renderer-in-process", false},
    {OPT_DEVICES_OWN + 8, 0, "render-node", true},
    {OPT_DMA_BUF, 0, "dma-buf", false},
    {0},
};

static const char *const displays[] = {"auto", "none", "gtk", "sdl", "cocoa"};

/* ---- The command line ---- */

static int index_of(const char *value, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(value, names[i]) == 0)
			return (int)i;
	}
	return -1;
}

/* As QEMU's -m: a number alone is in MiB. */
static bool parse_memory(const char *value, uint64_t *out)
{
	uint64_t bytes;

	if (!cli_parse_bytes(value, &bytes))
		return false;
	if (value[strspn(value, "0123456789")] == '\0') {
		if (bytes > UINT64_MAX >> 20)
			return false;
		bytes <<= 20;
	}
	if (bytes < 64u << 20 || bytes % (1u << 20))
		return false;
	*out = bytes;
	return true;
}

static void pass_on(struct run_options *options, int id, const char *value)
{
	for (const struct cli_option *option = options_table; option->id; option++) {
		if (option->id == id)
			cli_words_add(&options->device_words, "--%s%s%s", option->name, value ? "=" : "",
				      value ? value : "");
	}
}

/* Returns an exit code; CLI_OK: go on. */
static int take_option(const struct cli_command *command, struct run_options *options, int id, const char *value)
{
	enum pv_log_level level = PV_LOG_INFO;

	switch (id) {
	case OPT_KERNEL:
		options->kernel = value;
		break;
	case OPT_INITRD:
		options->initrd = value;
		break;
	case OPT_APPEND:
		options->append = value;
		break;
	case OPT_FIRMWARE:
		options->firmware = value;
		break;
	case OPT_SNAPSHOT:
		options->snapshot = true;
		break;
	case OPT_QEMU:
		options->qemu = value;
		break;
	case OPT_TRANSPORT:
		options->transport = index_of(value, run_transport_names, RUN_NR_TRANSPORTS);
		if (options->transport < 0)
			return cli_usage(command, "--transport=%s: there are vfio-user, vhost-user and vhost-user-gpu",
					 value);
		break;
	case OPT_ACCELERATOR:
		options->accelerator = index_of(value, run_accelerator_names, RUN_NR_ACCELERATORS);
		if (options->accelerator < 0)
			return cli_usage(command, "--accel=%s: there are kvm, hvf and tcg", value);
		break;
	case OPT_MEMORY:
		if (!parse_memory(value, &options->memory_bytes))
			return cli_usage(command, "--memory=%s: give at least 64M, in whole megabytes, such as 4G",
					 value);
		break;
	case OPT_CPUS:
		if (!cli_parse_number(value, 1024, &options->nr_cpus) || options->nr_cpus == 0)
			return cli_usage(command, "--smp=%s: give a number from 1 to 1024", value);
		break;
	case OPT_SSH:
		if (!cli_parse_number(value, 65535, &options->ssh_port) || options->ssh_port == 0)
			return cli_usage(command, "--ssh=%s: give a port of this host that is free, such as 2222",
					 value);
		break;
	case OPT_NO_NETWORK:
		options->no_network = true;
		break;
	case OPT_CONSOLE:
		if (!*value)
			return cli_usage(command, "--console: give stdio, none or a file's path");
		options->console = value;
		break;
	case OPT_DISPLAY:
		if (strncmp(value, "png=", 4) == 0)
			cli_words_add(&options->device_words, "--display=%s", value);
		else if (index_of(value, displays, sizeof(displays) / sizeof(displays[0])) < 0)
			return cli_usage(command, "--display=%s: there are auto, none, gtk, sdl, cocoa and png=PATH",
					 value);
		else
			options->display = value;
		break;
	case OPT_RENDERER:
		options->renderers = value;
		break;
	case OPT_DMA_BUF:
		options->with_dma_bufs = true;
		break;
	case OPT_DRY_RUN:
		options->dry_run = true;
		break;
	case OPT_LOG_LEVEL:
		if (!cli_parse_log_level(value, &level))
			return cli_usage(command, "--log-level=%s: there are error, warning, info and debug", value);
		options->verbose = level >= PV_LOG_INFO;
		cli_words_add(&options->device_words, "--log-level=%s", value);
		break;
	default:
		pass_on(options, id, value);
	}
	return CLI_OK;
}

/* What cannot be together. Returns an exit code; CLI_OK: go on. */
static int check(const struct cli_command *command, const struct run_options *options)
{
	if (!options->boot && !options->kernel)
		return cli_usage(command, "say what to boot: a disk image, a directory, or --kernel=FILE");
	if (options->initrd && !options->kernel)
		return cli_usage(command, "--initrd needs --kernel");
	if (options->ssh_port && options->no_network)
		return cli_usage(command, "--ssh needs the network");
	return CLI_OK;
}

/* Returns an exit code, or -1: go on. */
static int parse(const struct cli_command *command, int argc, char **argv, struct run_options *options)
{
	struct cli_parser parser = {.command = command, .options = options_table, .argc = argc, .argv = argv};
	bool levelled = false;
	int id, code;

	while (!parser.only_words && (id = cli_next(&parser)) != CLI_END) {
		if (id == CLI_BAD || id == CLI_HELP)
			return cli_ended(id);
		if (parser.only_words) {
			parser.index--; /* the first after "--" is QEMU's, too */
			break;
		}
		if (id == CLI_WORD && options->boot)
			return cli_usage(command, "\"%s\": \"%s\" is booted already; QEMU's own arguments go behind --",
					 parser.value, options->boot);
		if (id == CLI_WORD) {
			options->boot = parser.value;
			continue;
		}
		levelled = levelled || id == OPT_LOG_LEVEL;
		code = take_option(command, options, id, parser.value);
		if (code != CLI_OK)
			return code;
	}
	options->extra = argv + parser.index;
	if (!levelled)
		/* The terminal is the guest's. */
		cli_words_add(&options->device_words, "--log-level=warning");
	code = check(command, options);
	return code == CLI_OK ? -1 : code;
}

/* ---- Decisions ---- */

static void info(const struct run_options *options, const char *fmt, const char *a, const char *b)
{
	if (!options->verbose)
		return;
	fputs("pvgpu: info: ", stderr);
	/* One of ours, always. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	fprintf(stderr, fmt, a, b);
#pragma GCC diagnostic pop
	fputc('\n', stderr);
}

static bool choose_transport(struct run_plan *plan)
{
	const struct run_options *options = plan->options;
	const struct run_qemu *qemu = plan->qemu;

	if (options->transport >= 0) {
		plan->transport = (enum run_transport)options->transport;
		if (qemu->transports[plan->transport])
			return true;
		cli_error("use QEMU 11.1 or newer, or leave --transport out", "--transport=%s: %s %u.%u has no %s%s",
			  run_transport_names[plan->transport], qemu->program, qemu->version / 100, qemu->version % 100,
			  run_transport_devices[plan->transport],
			  plan->transport == RUN_VHOST_USER ? " with a window" : "");
		return false;
	}
	for (int i = 0; i < RUN_NR_TRANSPORTS; i++) {
		if (qemu->transports[i]) {
			plan->transport = (enum run_transport)i;
			return true;
		}
	}
	cli_error("use QEMU 11.1 or newer for 3D, 7.2 or newer for 2D",
		  "%s %u.%u has no device that another process can be: none of %s, %s and %s", qemu->program,
		  qemu->version / 100, qemu->version % 100, run_transport_devices[0], run_transport_devices[1],
		  run_transport_devices[2]);
	return false;
}

static bool choose_accelerator(struct run_plan *plan)
{
	const char *why = NULL;

	if (plan->options->accelerator >= 0) {
		plan->accelerator = (enum run_accelerator)plan->options->accelerator;
		return true;
	}
	plan->accelerator = RUN_TCG;
	if (!run_can_accelerate(plan->qemu, &plan->accelerator, &why))
		info(plan->options, "the guest's processor is emulated, which makes it 10 to 60 times slower: %s", why,
		     "");
	return true;
}

static bool in_desktop(void)
{
	const char *wayland = getenv("WAYLAND_DISPLAY"), *x = getenv("DISPLAY");

	return (wayland && *wayland) || (x && *x);
}

/* QEMU wants a display with OpenGL for vhost-user-gpu-pci, though only dma-bufs need it. */
static const char *display_of_console(const struct run_plan *plan)
{
	const struct run_qemu *qemu = plan->qemu;
	const char *wanted = plan->options->display;
	bool is_auto = strcmp(wanted, "auto") == 0;

	if (strcmp(wanted, "gtk") == 0 || (is_auto && in_desktop() && qemu->has_gtk))
		return "gtk,gl=on";
	if (strcmp(wanted, "sdl") == 0 || (is_auto && in_desktop() && qemu->has_sdl))
		return "sdl,gl=on";
	if (is_auto)
		return qemu->has_cocoa ? "cocoa" : "none";
	return wanted;
}

static bool choose_display(struct run_plan *plan)
{
	const char *wanted = plan->options->display;

	if (plan->transport == RUN_VHOST_USER_GPU) {
		plan->display = display_of_console(plan);
	} else if (strcmp(wanted, "auto") != 0 && strcmp(wanted, "none") != 0) {
		cli_error(
		    "look at it with pvgpu screenshot, or have no Vulkan but QEMU's window: --transport=vhost-user-gpu",
		    "--display=%s: QEMU does not know the picture of %s", wanted,
		    run_transport_devices[plan->transport]);
		return false;
	} else {
		plan->display = "none";
	}
	if (plan->options->with_dma_bufs && !strstr(plan->display, "gl=on")) {
		cli_error("leave --dma-buf out, or have a window: --transport=vhost-user-gpu --display=gtk",
			  "--dma-buf: with %s QEMU has no window that draws with OpenGL",
			  run_transport_devices[plan->transport]);
		return false;
	}
	if (strcmp(plan->display, "none") == 0)
		info(plan->options, "the guest's screen: pvgpu screenshot -o screen.png", "", "");
	return true;
}

/* What a guest can have of this host; asked in a process of its own, for it loads the host's drivers. */
static void ask_host(const char *program, bool *out_vulkan, bool *out_opengl)
{
	char *words[] = {(char *)(uintptr_t)program, "devices", "--json", NULL};
	struct cli_capture capture;
	const char *text;
	yyjson_doc *doc = NULL;
	yyjson_val *root;

	/* It fails where there is no Vulkan. What it and drivers have to say comes before and after the object. */
	(void)cli_capture(&capture, words, PROBE_TIMEOUT_MS);
	text = capture.text ? strstr(capture.text, "{\n") : NULL;
	if (text)
		doc = yyjson_read(text, strlen(text), YYJSON_READ_STOP_WHEN_DONE);
	root = yyjson_doc_get_root(doc);
	*out_vulkan = yyjson_is_uint(yyjson_obj_get(root, "chosen"));
	*out_opengl = yyjson_is_obj(yyjson_obj_get(root, "opengl"));
	yyjson_doc_free(doc);
	cli_capture_finish(&capture);
}

static bool choose_renderers(struct run_plan *plan)
{
	bool vulkan, opengl, has_window = plan->transport != RUN_VHOST_USER_GPU;

	plan->renderers = plan->options->renderers;
	if (plan->renderers) {
		if (has_window || !strstr(plan->renderers, "venus"))
			return true;
		cli_error(plan->options->transport < 0 ? "use QEMU 11.1 or newer" : "leave --transport out",
			  "--renderer=%s: no Vulkan gets through %s", plan->renderers,
			  run_transport_devices[plan->transport]);
		return false;
	}
	ask_host(plan->program, &vulkan, &opengl);
	if (!has_window && plan->options->transport < 0)
		info(plan->options, "no Vulkan: %s would let the guest have it, with QEMU 11.1 or newer",
		     run_transport_devices[RUN_VFIO_USER], "");
	else if (has_window && !vulkan)
		info(plan->options, "no Vulkan: this host has none that a guest can be given, see pvgpu devices", "",
		     "");
	if (!opengl)
		info(plan->options, "no OpenGL by VirGL: this host or build has none, see pvgpu devices", "", "");
	vulkan = vulkan && has_window;
	plan->renderers = vulkan ? opengl ? "2d,venus,virgl" : "2d,venus" : opengl ? "2d,virgl" : "2d";
	return true;
}

static void choose_sizes(struct run_plan *plan)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE), cpus = sysconf(_SC_NPROCESSORS_ONLN);

	plan->memory_bytes = plan->options->memory_bytes;
	if (!plan->memory_bytes) {
		uint64_t half = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 2 : DEFAULT_MEMORY_BYTES;

		plan->memory_bytes = half < DEFAULT_MEMORY_BYTES ? half : DEFAULT_MEMORY_BYTES;
	}
	plan->nr_cpus = plan->options->nr_cpus;
	if (!plan->nr_cpus)
		plan->nr_cpus = cpus < 1 ? 1 : cpus > MAX_CPUS ? MAX_CPUS : (uint64_t)cpus;
}

/* In the directory of control sockets, which is this user's alone; not named as they are. */
static char *make_socket_path(void)
{
	char *directory = NULL, *path = NULL;

	/* On failure it has been logged. */
	if (pv_control_directory(true, &directory) != PV_OK)
		return NULL;
	if (asprintf(&path, "%s/run-%ld.vmm", directory, (long)getpid()) < 0)
		path = NULL;
	pv_free(directory);
	return path;
}

/* ---- The command ---- */

static int print_commands(const struct run_plan *plan)
{
	struct cli_words device = {0}, qemu = {0};
	bool failed;

	run_device_command(plan, -1, &device);
	run_qemu_command(plan, &qemu);
	failed = device.failed || qemu.failed;
	if (!failed) {
		puts("# The device:");
		cli_words_print(&device, stdout);
		puts("# The guest:");
		cli_words_print(&qemu, stdout);
	}
	cli_words_finish(&device);
	cli_words_finish(&qemu);
	return failed ? CLI_FAILED : CLI_OK;
}

static int execute(const struct run_plan *plan)
{
	struct cli_words device = {0}, qemu = {0};
	int code = CLI_FAILED;
	int32_t fd;

	/* The socket is there before either is started, so that nobody waits for anybody. On failure it has been
	 * logged. */
	if ((plan->transport == RUN_VFIO_USER ? pv_vfio_user_listen : pv_vhost_user_listen)(plan->socket_path, &fd) !=
	    PV_OK)
		return CLI_FAILED;
	run_device_command(plan, fd, &device);
	run_qemu_command(plan, &qemu);
	if (device.failed || qemu.failed) {
		cli_error(NULL, "out of memory");
		close(fd);
	} else {
		info(plan->options, "%s on %s", run_transport_devices[plan->transport],
		     run_accelerator_names[plan->accelerator]);
		code = run_both(&device, &qemu, fd);
	}
	unlink(plan->socket_path);
	cli_words_finish(&device);
	cli_words_finish(&qemu);
	return code;
}

static int decide_and_run(const struct run_options *options)
{
	struct run_guest guest = {0};
	struct run_qemu qemu = {0};
	struct run_plan plan = {.options = options, .guest = &guest, .qemu = &qemu};
	char *socket_path = NULL, *program = cli_own_program();
	int code = CLI_FAILED;

	plan.program = program;
	if (!program) {
		cli_error(NULL, "where is this program? the system does not say");
		goto out;
	}
	if (!run_find_guest(options, &guest) || !run_find_qemu(options, &qemu))
		goto out;
	if (!choose_transport(&plan) || !choose_renderers(&plan) || !choose_display(&plan) ||
	    !choose_accelerator(&plan))
		goto out;
	choose_sizes(&plan);
	socket_path = make_socket_path();
	plan.socket_path = socket_path;
	if (socket_path)
		code = options->dry_run ? print_commands(&plan) : execute(&plan);
out:
	run_qemu_finish(&qemu);
	run_guest_finish(&guest);
	free(socket_path);
	free(program);
	return code;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
	struct run_options options = {
	    .transport = -1, .accelerator = -1, .console = "stdio", .display = "auto", .verbose = true};
	int code = parse(command, argc, argv, &options);

	if (code < 0)
		code = decide_and_run(&options);
	cli_words_finish(&options.device_words);
	return code;
}

const struct cli_command cli_run = {
    .name = "run",
    .run = run,
    .help =
	"Usage: pvgpu run [OPTIONS] IMAGE [-- QEMU ARGUMENTS]\n"
	"       pvgpu run [OPTIONS] DIRECTORY [-- QEMU ARGUMENTS]\n"
	"       pvgpu run [OPTIONS] --kernel=FILE [IMAGE|DIRECTORY] [-- QEMU ARGUMENTS]\n"
	"\n"
	"Boots a guest in the QEMU of this host, with this device wired up. Takes the best there is: vfio-user-pci, "
	"then\n"
	"vhost-user-test-device-pci (both Vulkan and OpenGL, QEMU 11.1), then vhost-user-gpu-pci (OpenGL); KVM or hvf\n"
	"where a guest runs on it, else emulation. Ends when QEMU does, with its exit status.\n"
	"\n"
	"What to boot:\n"
	"  IMAGE                    a disk (qcow2, raw, vmdk, vdi, vhdx) or an installation CD (.iso)\n"
	"  DIRECTORY                a root file system, shared with the guest (9p), with a kernel in its boot/\n"
	"  -k, --kernel=FILE        boot this kernel\n"
	"  -i, --initrd=FILE        with this initial RAM disk\n"
	"  -a, --append=WORDS       more words for the kernel's command line\n"
	"      --snapshot           write nothing to the disk; a directory is then read-only\n"
	"      --firmware=FILE      BIOS or UEFI instead of QEMU's own\n"
	"\n"
	"The machine:\n"
	"  -m, --memory=SIZE        default 4G, or half of the host's\n"
	"      --smp=N              processors; default the host's, up to 8\n"
	"      --ssh=PORT           the guest's port 22 as a port of this host\n"
	"      --no-network         the default is a network behind this host\n"
	"      --console=WHERE      the serial console: stdio (default; ^A X ends QEMU), none, or a file\n"
	"      --display=KIND       QEMU's window, where it has one: auto (default), gtk, sdl, cocoa, none;\n"
	"                           png=PATH: write the screen's last picture there in the end\n"
	"      --dma-buf            with QEMU's window: it is given what the GPU drew, not a copy\n"
	"      --qemu=PROGRAM       default qemu-system-x86_64, or qemu-system-aarch64\n"
	"      --transport=KIND     vfio-user, vhost-user or vhost-user-gpu\n"
	"      --accel=KIND         kvm, hvf or tcg, without trying\n"
	"  -n, --dry-run            print the two command lines and do nothing\n"
	"\n"
	"The device, as in pvgpu help vfio-user: --renderer (default: what this host has of 2d,venus,virgl),\n"
	"--device, --render-node, --window, --renderer-in-process, --size, --outputs, --name, --control,\n"
	"--max-host-memory, --log-level (default info; warning for the device).\n"
	"\n"
	"Examples:\n"
	"  pvgpu run debian.qcow2 --snapshot --ssh=2222\n"
	"  pvgpu run --kernel=vmlinuz --initrd=initrd.img --append='root=/dev/vda1 ro' root.img\n"
	"  pvgpu run ./rootfs -m 2G -- -virtfs local,path=/srv,mount_tag=srv,security_model=none\n"
	"  pvgpu run debian.qcow2 --dry-run\n"
	"  pvgpu screenshot -o screen.png      while it runs, in another terminal\n",
};

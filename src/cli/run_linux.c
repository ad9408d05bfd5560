/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/run.h"

/* A guest of a few instructions ends in 0.1 s. */
#define TIMEOUT_MS 3000

/* A boot sector for the BIOS that ends QEMU with exit code 85. */
static const unsigned char x86_guest[512] = {
    0xb0,         0x2a,       /* mov $42, %al */
    0xe6,         0xf4,       /* out %al, $0xf4 */
    0xf4,         0xeb, 0xfd, /* 1: hlt; jmp 1b */
    [510] = 0x55, 0xaa,
};
/* A kernel that asks the firmware to switch off. */
static const unsigned char arm_guest[] = {
    0x00, 0x01, 0x80, 0x52, /* mov w0, #8 */
    0x00, 0x80, 0xb0, 0x72, /* movk w0, #0x8400, lsl #16: PSCI SYSTEM_OFF */
    0x02, 0x00, 0x00, 0xd4, /* hvc #0 */
    0x00, 0x00, 0x00, 0x14, /* b . */
};

static void add(struct cli_words *out, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cli_words_add(out, "%s", words[i]);
}

static void guest_command(const struct run_qemu *qemu, const char *path, struct cli_words *out)
{
	static const char *const common[] = {
	    "-nodefaults", "-no-user-config", "-display", "none", "-accel", "kvm", "-cpu", "host", "-m", "64"};
	static const char *const x86[] = {"-machine", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
					  "-drive"};
	static const char *const arm[] = {"-machine", "virt", "-kernel"};

	cli_words_add(out, "%s", qemu->program);
	add(out, common, sizeof(common) / sizeof(common[0]));
	if (qemu->is_arm)
		add(out, arm, sizeof(arm) / sizeof(arm[0]));
	else
		add(out, x86, sizeof(x86) / sizeof(x86[0]));
	cli_words_add(out, "%s%s", qemu->is_arm ? "" : "format=raw,file=", path);
}

/* Some hosts have a /dev/kvm on which no guest gets anywhere, so this lets one run to its end. */
static bool guest_ends(const struct run_qemu *qemu)
{
	const void *guest = qemu->is_arm ? (const void *)arm_guest : x86_guest;
	const size_t size = qemu->is_arm ? sizeof(arm_guest) : sizeof(x86_guest);
	char path[] = "/tmp/pvgpu-kvm-XXXXXX";
	struct cli_words words = {0};
	struct cli_capture capture;
	int fd = mkstemp(path);
	bool ends = false;

	if (fd < 0)
		return false;
	guest_command(qemu, path, &words);
	if (write(fd, guest, size) == (ssize_t)size && !words.failed) {
		cli_capture(&capture, words.words, TIMEOUT_MS);
		ends = !capture.error && !capture.timed_out && WIFEXITED(capture.status) &&
		       WEXITSTATUS(capture.status) == (qemu->is_arm ? 0 : 85);
		cli_capture_finish(&capture);
	}
	cli_words_finish(&words);
	close(fd);
	unlink(path);
	return ends;
}

bool run_can_accelerate(const struct run_qemu *qemu, enum run_accelerator *out, const char **why)
{
	struct utsname host;
	int fd;

	if (uname(&host) < 0 || (strcmp(host.machine, "aarch64") == 0) != qemu->is_arm) {
		*why = "this QEMU is for another processor than the host's";
		return false;
	}
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		*why = errno == EACCES ? "this user may not open /dev/kvm: join the group kvm"
				       : "there is no /dev/kvm: switch virtualization on in the firmware, and load the "
					 "kernel's module";
		return false;
	}
	close(fd);
	if (!guest_ends(qemu)) {
		*why = "there is a /dev/kvm, but a guest tried on it got nowhere";
		return false;
	}
	*out = RUN_KVM;
	return true;
}

/* SPDX-License-Identifier: MIT */
/* What shall be booted: a disk image, a directory, a kernel. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/run.h"

/* ---- Images ---- */

static bool has_bytes(int fd, off_t at, const char *bytes, size_t len)
{
	char found[16];

	return len <= sizeof(found) && pread(fd, found, len, at) == (ssize_t)len && memcmp(found, bytes, len) == 0;
}

/* In QEMU's words. Whatever has no signature is taken for what it is, byte by byte. */
static const char *detect_format(int fd, bool *is_cdrom)
{
	static const struct {
		off_t at;
		const char *bytes;
		size_t len;
		const char *format;
	} signatures[] = {
	    {0, "QFI\xfb", 4, "qcow2"},
	    {0, "KDMV", 4, "vmdk"},
	    {0, "vhdxfile", 8, "vhdx"},
	    {64, "\x7f\x10\xda\xbe", 4, "vdi"},
	};

	*is_cdrom = false;
	for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
		if (has_bytes(fd, signatures[i].at, signatures[i].bytes, signatures[i].len))
			return signatures[i].format;
	}
	/* An ISO 9660 file system: its volume descriptor is at 32 KiB. */
	*is_cdrom = has_bytes(fd, 32768 + 1, "CD001", 5);
	return "raw";
}

static bool find_image(const struct run_options *options, struct run_guest *guest)
{
	int fd = open(options->boot, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		cli_error("give a file that this user can read", "%s: %s", options->boot, strerror(errno));
		return false;
	}
	guest->format = detect_format(fd, &guest->is_cdrom);
	close(fd);
	guest->disk = strdup(options->boot);
	if (!guest->disk)
		return false;
	if (!guest->is_cdrom && !options->snapshot && access(options->boot, W_OK) < 0) {
		cli_error("let the guest's changes be forgotten: --snapshot; or make the file writable", "%s: %s",
			  options->boot, strerror(errno));
		return false;
	}
	return true;
}

/* ---- Kernels ---- */

/* As strcmp(), with numbers in order of their values: 6.12 after 6.9. */
static int compare_versions(const char *a, const char *b)
{
	while (*a && *b) {
		if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
			size_t len_a, len_b;
			int order;

			a += strspn(a, "0");
			b += strspn(b, "0");
			len_a = strspn(a, "0123456789");
			len_b = strspn(b, "0123456789");
			order = len_a != len_b ? (len_a > len_b) - (len_a < len_b) : strncmp(a, b, len_a);
			if (order)
				return order;
			a += len_a;
			b += len_b;
		} else if (*a != *b) {
			break;
		} else {
			a++;
			b++;
		}
	}
	return (unsigned char)*a - (unsigned char)*b;
}

static char *join(const char *directory, const char *prefix, const char *name, const char *suffix)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s%s%s", directory, prefix, name, suffix) < 0 ? NULL : path;
}

/* The newest file "vmlinuz-VERSION" or "vmlinuz" in a directory; *out_version is within it. */
static char *newest_kernel(const char *directory, char *version, size_t version_size)
{
	DIR *dir = opendir(directory);
	char newest[256] = "";
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (strncmp(name, "vmlinuz", 7) == 0 && strlen(name) < sizeof(newest) &&
		    (!newest[0] || compare_versions(name, newest) > 0))
			snprintf(newest, sizeof(newest), "%s", name);
	}
	if (dir)
		closedir(dir);
	if (!newest[0])
		return NULL;
	snprintf(version, version_size, "%s", newest + 7);
	return join(directory, "", newest, "");
}

/* As Debian, Fedora and Arch call what belongs to "vmlinuz-VERSION"; NULL: there is none, the kernel may do without. */
static char *initrd_of(const char *directory, const char *version)
{
	static const char *const names[][2] = {{"initrd.img", ""}, {"initramfs", ".img"}, {"initrd", ""}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = join(directory, names[i][0], version, names[i][1]);

		if (path && access(path, R_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static bool find_directory(const struct run_options *options, struct run_guest *guest)
{
	char *boot = join(options->boot, "boot", "", ""), version[256];

	guest->directory = strdup(options->boot);
	if (!options->kernel && boot) {
		guest->kernel = newest_kernel(boot, version, sizeof(version));
		if (guest->kernel)
			guest->initrd = initrd_of(boot, version);
	}
	free(boot);
	if (options->kernel || guest->kernel)
		return guest->directory != NULL;
	cli_error("install one there, or give one with --kernel=FILE", "%s/boot has no vmlinuz", options->boot);
	return false;
}

/* ---- All together ---- */

static bool is_readable(const char *option, const char *path)
{
	if (!path || access(path, R_OK) == 0)
		return true;
	cli_error("give a file that this user can read", "%s=%s: %s", option, path, strerror(errno));
	return false;
}

/* Replaces what was found by what was given. */
static bool take(char **found, const char *given)
{
	if (!given)
		return true;
	free(*found);
	*found = strdup(given);
	return *found != NULL;
}

bool run_find_guest(const struct run_options *options, struct run_guest *guest)
{
	struct stat info;

	*guest = (struct run_guest){0};
	if (options->boot && stat(options->boot, &info) < 0) {
		cli_error("give a disk image, or a directory that holds a root file system", "%s: %s", options->boot,
			  strerror(errno));
		return false;
	}
	if (options->boot && !(S_ISDIR(info.st_mode) ? find_directory(options, guest) : find_image(options, guest)))
		return false;
	return is_readable("--kernel", options->kernel) && is_readable("--initrd", options->initrd) &&
	       is_readable("--firmware", options->firmware) && take(&guest->kernel, options->kernel) &&
	       take(&guest->initrd, options->initrd);
}

void run_guest_finish(struct run_guest *guest)
{
	free(guest->disk);
	free(guest->directory);
	free(guest->kernel);
	free(guest->initrd);
	*guest = (struct run_guest){0};
}

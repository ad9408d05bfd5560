/* SPDX-License-Identifier: MIT */
/*
 * pvgpu-blobbench: what host memory costs a guest, by the kernel's own calls: no Mesa is in between. Each result is one
 * line of JSON on stdout.
 *
 *   blob           create, map, touch, unmap and close a mappable blob of the host's memory
 *   window-write   memcpy into such a blob           ram-write   the same into ordinary memory
 *   window-read    memcpy from such a blob           ram-read    the same from ordinary memory
 *   fence          an empty submit until its fence has signalled: one command there and back
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm/virtgpu_drm.h> /* the kernel's: libdrm's has no blobs */
#include <xf86drm.h>

#include "program.h"

#define CAPSET_VENUS  4u
#define COPY_BYTES    ((size_t)16 << 20)
#define COPIES        9u
#define DISTANCE_UNIT ((size_t)2 << 20)
#define DISTANCE      ((size_t)64 << 10)

struct blob {
	uint32_t handle;
	size_t size_bytes;
	unsigned char *pixels;
};

static int open_device(uint32_t capset)
{
	struct drm_virtgpu_context_set_param param = {.param = VIRTGPU_CONTEXT_PARAM_CAPSET_ID, .value = capset};
	struct drm_virtgpu_context_init init = {.num_params = 1, .ctx_set_params = (uint64_t)(uintptr_t)&param};
	char path[64];

	for (unsigned number = 128; number < 136; number++) {
		int fd;
		drmVersion *version;
		bool is_virtio;

		snprintf(path, sizeof(path), "/dev/dri/renderD%u", number);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		version = drmGetVersion(fd);
		is_virtio = version && strcmp(version->name, "virtio_gpu") == 0;
		drmFreeVersion(version);
		if (!is_virtio) {
			close(fd);
			continue;
		}
		if (drmIoctl(fd, DRM_IOCTL_VIRTGPU_CONTEXT_INIT, &init) != 0)
			pv_die("%s: no context of capability set %u: %s. Does the device offer it? See dmesg", path,
			       capset, strerror(errno));
		return fd;
	}
	pv_die("there is no render node of virtio_gpu. Is the driver loaded, and does the device have 3D?");
}

/* Blob 0 of a venus context is plain shared memory: no Vulkan is needed to make it. */
static struct blob blob_create(int fd, size_t size_bytes)
{
	struct drm_virtgpu_resource_create_blob create = {
	    .blob_mem = VIRTGPU_BLOB_MEM_HOST3D, .blob_flags = VIRTGPU_BLOB_FLAG_USE_MAPPABLE, .size = size_bytes};
	struct drm_virtgpu_map map = {0};
	struct blob blob = {.size_bytes = size_bytes};
	void *pixels;

	if (drmIoctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB, &create) != 0)
		pv_die("a blob of %zu bytes cannot be made: %s. Has the device a window?", size_bytes, strerror(errno));
	blob.handle = create.bo_handle;
	map.handle = create.bo_handle;
	if (drmIoctl(fd, DRM_IOCTL_VIRTGPU_MAP, &map) != 0)
		pv_die("a blob's offset cannot be had: %s", strerror(errno));
	pixels = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)map.offset);
	if (pixels == MAP_FAILED)
		pv_die("a blob of %zu bytes cannot be mapped: %s. Is the window full?", size_bytes, strerror(errno));
	blob.pixels = pixels;
	return blob;
}

static void blob_destroy(int fd, struct blob *blob)
{
	struct drm_gem_close close_handle = {.handle = blob->handle};

	munmap(blob->pixels, blob->size_bytes);
	drmIoctl(fd, DRM_IOCTL_GEM_CLOSE, &close_handle);
}

static int compare(const void *a, const void *b)
{
	const double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static void print(const char *name, const char *unit, double *values, uint32_t count)
{
	qsort(values, count, sizeof(*values), compare);
	printf("{\"name\":\"%s\",\"unit\":\"%s\",\"median\":%.3f,\"min\":%.3f,\"max\":%.3f,\"count\":%u}\n", name, unit,
	       values[count / 2], values[0], values[count - 1], count);
	fflush(stdout);
}

static void measure_blobs(int fd, size_t size_bytes, uint32_t count)
{
	double *values = calloc(count, sizeof(*values));

	if (!values)
		pv_die("out of memory");
	for (uint32_t i = 0; i < count; i++) {
		const uint64_t began_ns = pv_now_ns();
		struct blob blob = blob_create(fd, size_bytes);

		for (size_t at = 0; at < size_bytes; at += 4096)
			blob.pixels[at] = 1;
		blob_destroy(fd, &blob);
		values[i] = (double)(pv_now_ns() - began_ns) / 1e3;
	}
	print("blob", "us", values, count);
	free(values);
}

static void measure_copies(const char *name, void *to, const void *from)
{
	double values[COPIES];

	memcpy(to, from, COPY_BYTES);
	for (uint32_t i = 0; i < COPIES; i++) {
		const uint64_t began_ns = pv_now_ns();

		memcpy(to, from, COPY_BYTES);
		/* Nobody reads it: the compiler must not know. */
		__asm__ volatile("" ::"r"(to) : "memory");
		values[i] = (double)COPY_BYTES / (double)(pv_now_ns() - began_ns);
	}
	print(name, "GB/s", values, COPIES);
}

/*
 * At `distance` from `partner`, modulo DISTANCE_UNIT: how two areas lie to each other decides which entries of an
 * emulated processor's page table cache they take from one another when one is copied to the other, for a third of the
 * speed.
 */
static void *ordinary_memory(const void *partner, size_t distance)
{
	unsigned char *memory =
	    mmap(NULL, COPY_BYTES + DISTANCE_UNIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		pv_die("out of memory");
	memory += ((uintptr_t)partner + distance - (uintptr_t)memory) % DISTANCE_UNIT;
	memset(memory, 1, COPY_BYTES);
	return memory;
}

static void measure_memory(int fd)
{
	struct blob blob = blob_create(fd, COPY_BYTES);
	void *ram = ordinary_memory(blob.pixels, DISTANCE), *other = ordinary_memory(blob.pixels, 0);

	memset(blob.pixels, 1, COPY_BYTES);
	measure_copies("window-write", blob.pixels, ram);
	measure_copies("ram-write", other, ram);
	measure_copies("window-read", ram, blob.pixels);
	measure_copies("ram-read", ram, other);
	blob_destroy(fd, &blob);
}

static void measure_fences(int fd, uint32_t count)
{
	double *values = calloc(count, sizeof(*values));

	if (!values)
		pv_die("out of memory");
	for (uint32_t i = 0; i < count; i++) {
		struct drm_virtgpu_execbuffer submit = {.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT, .fence_fd = -1};
		const uint64_t began_ns = pv_now_ns();
		struct pollfd fence = {.events = POLLIN};

		if (drmIoctl(fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &submit) != 0)
			pv_die("an empty submit fails: %s", strerror(errno));
		fence.fd = submit.fence_fd;
		if (poll(&fence, 1, 5000) != 1)
			pv_die("a fence has not signalled for 5 s");
		values[i] = (double)(pv_now_ns() - began_ns) / 1e3;
		close(fence.fd);
	}
	print("fence", "us", values, count);
	free(values);
}

int main(int argc, char **argv)
{
	static const struct option known[] = {{"capset", required_argument, NULL, 'c'},
					      {"size", required_argument, NULL, 's'},
					      {"count", required_argument, NULL, 'n'},
					      {0}};
	uint32_t capset = CAPSET_VENUS, count = 500;
	size_t size_bytes = 1 << 20;
	int choice, fd;

	while ((choice = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (choice) {
		case 'c':
			capset = (uint32_t)pv_parse_uint("--capset", optarg, 0, 63);
			break;
		case 's':
			size_bytes = (size_t)pv_parse_uint("--size", optarg, 1, 1u << 30);
			break;
		case 'n':
			count = (uint32_t)pv_parse_uint("--count", optarg, 1, 1000000);
			break;
		default:
			fputs(
			    "usage: pvgpu-blobbench [--capset ID] [--size BYTES] [--count N] [blob|memory|fence]...\n",
			    stderr);
			return 2;
		}
	}
	fd = open_device(capset);
	for (int i = optind; i < argc; i++) {
		if (strcmp(argv[i], "blob") == 0)
			measure_blobs(fd, size_bytes, count);
		else if (strcmp(argv[i], "memory") == 0)
			measure_memory(fd);
		else if (strcmp(argv[i], "fence") == 0)
			measure_fences(fd, count);
		else
			pv_die("there is no measurement '%s': choose from blob, memory and fence", argv[i]);
	}
	close(fd);
	return 0;
}

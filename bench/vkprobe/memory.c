/* SPDX-License-Identifier: MIT */
/* Memory: how fast it comes and goes, how fast the processor reaches it, how fast it gets to the device. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"

#define MIB           (1024u * 1024u)
#define BULK_BYTES    (64u * MIB)
#define DISTANCE_UNIT (2u * MIB)
#define DISTANCE      (64u * 1024u)
#define IMAGE_SIDE    4096u /* of 4 bytes a pixel: BULK_BYTES */
#define HOST_FLAGS    (VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)

/* Allocates, maps, writes a byte in each page and frees. The writes prove that the memory is there. */
static void measure_allocation(struct pv_probe *probe, struct pv_series *series, uint32_t size, uint32_t count)
{
	const VkMemoryAllocateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
	    .allocationSize = size,
	    .memoryTypeIndex = pv_memory_type(probe, UINT32_MAX, HOST_FLAGS, VK_MEMORY_PROPERTY_HOST_CACHED_BIT),
	};
	const uint32_t first = count / 10 + 1;

	for (uint32_t i = 0; i < count + first; i++) {
		VkDeviceMemory memory;
		void *mapped;
		const uint64_t began = pv_now_ns();

		PV_VK(vkAllocateMemory(probe->device, &info, NULL, &memory));
		PV_VK(vkMapMemory(probe->device, memory, 0, VK_WHOLE_SIZE, 0, &mapped));
		for (uint32_t at = 0; at < size; at += 4096)
			((volatile unsigned char *)mapped)[at] = (unsigned char)i;
		vkUnmapMemory(probe->device, memory);
		vkFreeMemory(probe->device, memory, NULL);
		if (i >= first)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
}

void pv_measure_allocation(struct pv_probe *probe, struct pv_series *series)
{
	measure_allocation(probe, series, MIB, probe->options.latencies / 4 + 1);
}

/* What programs that do it well allocate at once. */
void pv_measure_large_allocation(struct pv_probe *probe, struct pv_series *series)
{
	measure_allocation(probe, series, BULK_BYTES, probe->options.repeats * 2);
}

/* The same with shared memory of the system's own: what memory costs that two processes see. */
void pv_measure_shared_memory(struct pv_probe *probe, struct pv_series *series)
{
	for (uint32_t i = 0; i < probe->options.latencies / 4 + 11; i++) {
		const uint64_t began = pv_now_ns();
		const int fd = memfd_create("vkprobe", MFD_CLOEXEC);
		unsigned char *mapped;

		if (fd < 0 || ftruncate(fd, MIB) != 0)
			pv_die("there is no shared memory");
		mapped = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (mapped == MAP_FAILED)
			pv_die("shared memory cannot be mapped");
		for (uint32_t at = 0; at < MIB; at += 4096)
			((volatile unsigned char *)mapped)[at] = (unsigned char)i;
		munmap(mapped, MIB);
		close(fd);
		if (i >= 10)
			pv_series_add(series, (double)(pv_now_ns() - began) / 1e3);
	}
}

/*
 * Memory that a copy from or to `partner` goes to or comes from. Always at the same distance from it, modulo
 * DISTANCE_UNIT: how the two lie to each other decides which lines of a cache, and in an emulated processor which
 * entries of its page tables' cache, they take from one another, for a third of the speed and more.
 */
static unsigned char *plain_memory(const void *partner)
{
	unsigned char *bytes =
	    mmap(NULL, BULK_BYTES + DISTANCE_UNIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		pv_die("out of memory");
	bytes += ((uintptr_t)partner + DISTANCE - (uintptr_t)bytes) % DISTANCE_UNIT;
	memset(bytes, 1, BULK_BYTES);
	return bytes;
}

/* The pages around it go with the program. */
static void plain_memory_free(unsigned char *bytes)
{
	munmap(bytes, BULK_BYTES);
}

/* GB/s of one copy after another, the first of which is not counted: it meets pages that are not there yet. */
static void measure_copy(struct pv_probe *probe, struct pv_series *series, void *to, const void *from)
{
	for (uint32_t i = 0; i < probe->options.repeats * 6 + 1; i++) {
		const uint64_t began = pv_now_ns();

		memcpy(to, from, BULK_BYTES);
		/* The compiler must believe that somebody reads it. */
		__asm__ volatile("" : : "r"(to) : "memory");
		if (i > 0)
			pv_series_add(series, (double)BULK_BYTES / (double)(pv_now_ns() - began));
	}
}

static void measure_mapped(struct pv_probe *probe, struct pv_series *series, bool write)
{
	struct pv_buffer buffer =
	    pv_buffer_create(probe, BULK_BYTES, VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
			     HOST_FLAGS, VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
	unsigned char *plain = plain_memory(buffer.mapped);

	if (write) {
		measure_copy(probe, series, buffer.mapped, plain);
	} else {
		/* Or the reads might all meet one page of zeros. */
		memset(buffer.mapped, 2, BULK_BYTES);
		measure_copy(probe, series, plain, buffer.mapped);
	}
	plain_memory_free(plain);
	pv_buffer_destroy(probe, &buffer);
}

void pv_measure_mapped_write(struct pv_probe *probe, struct pv_series *series)
{
	measure_mapped(probe, series, true);
}

void pv_measure_mapped_read(struct pv_probe *probe, struct pv_series *series)
{
	measure_mapped(probe, series, false);
}

static void measure_plain(struct pv_probe *probe, struct pv_series *series)
{
	unsigned char *to = plain_memory(NULL), *from = plain_memory(to);

	measure_copy(probe, series, to, from);
	plain_memory_free(to);
	plain_memory_free(from);
}

/* What ordinary memory does: the two are the same copy, and each has its partner above. */
void pv_measure_plain_write(struct pv_probe *probe, struct pv_series *series)
{
	measure_plain(probe, series);
}

void pv_measure_plain_read(struct pv_probe *probe, struct pv_series *series)
{
	measure_plain(probe, series);
}

struct upload {
	VkBuffer from, to;
	VkImage image;
};

static void record_buffer_upload(VkCommandBuffer commands, void *user)
{
	const struct upload *upload = user;
	const VkBufferCopy region = {.size = BULK_BYTES};

	vkCmdCopyBuffer(commands, upload->from, upload->to, 1, &region);
}

static void record_image_upload(VkCommandBuffer commands, void *user)
{
	const struct upload *upload = user;
	const VkBufferImageCopy region = {
	    .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .layerCount = 1},
	    .imageExtent = {IMAGE_SIDE, IMAGE_SIDE, 1},
	};
	const VkImageMemoryBarrier barrier = {
	    .sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
	    .dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
	    .newLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
	    .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
	    .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
	    .image = upload->image,
	    .subresourceRange = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .levelCount = 1, .layerCount = 1},
	};

	vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 0, NULL, 0,
			     NULL, 1, &barrier);
	vkCmdCopyBufferToImage(commands, upload->from, upload->image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &region);
}

static void measure_upload(struct pv_probe *probe, struct pv_series *series, bool to_image)
{
	struct pv_buffer from = pv_buffer_create(probe, BULK_BYTES, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, HOST_FLAGS, 0);
	struct pv_buffer to = {0};
	struct pv_image image = {0};

	memset(from.mapped, 3, BULK_BYTES);
	if (to_image)
		image = pv_image_create(probe, IMAGE_SIDE, IMAGE_SIDE, VK_IMAGE_USAGE_TRANSFER_DST_BIT);
	else
		to = pv_buffer_create(probe, BULK_BYTES, VK_BUFFER_USAGE_TRANSFER_DST_BIT, 0,
				      VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
	struct upload upload = {from.buffer, to.buffer, image.image};
	pv_measure_rate(probe, series, 1, BULK_BYTES / 1e9, to_image ? record_image_upload : record_buffer_upload,
			&upload);
	if (to_image)
		pv_image_destroy(probe, &image);
	else
		pv_buffer_destroy(probe, &to);
	pv_buffer_destroy(probe, &from);
}

void pv_measure_upload_buffer(struct pv_probe *probe, struct pv_series *series)
{
	measure_upload(probe, series, false);
}

void pv_measure_upload_image(struct pv_probe *probe, struct pv_series *series)
{
	measure_upload(probe, series, true);
}

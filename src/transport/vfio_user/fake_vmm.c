/* SPDX-License-Identifier: MIT */
#include "transport/vfio_user/fake_vmm.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "base/socket.h"

static void connection_closed(void *user, enum pv_status status)
{
	struct fv *fv = user;

	atomic_store(&fv->closed, (int)status);
}

static void ring_doorbell(void *user, uint32_t queue)
{
	fv_set(user, PV_PCI_NOTIFY_OFFSET + (uint64_t)PV_PCI_NOTIFY_MULTIPLY * queue, queue, 2);
}

void fv_open(struct fv *fv, uint64_t window_bytes)
{
	struct pv_vfio_user_params params = {.closed = connection_closed, .user = fv};
	int pair[2];

	*fv = (struct fv){.closed = -1, .window_fd = -1};
	fg_open(&fv->guest, window_bytes);
	fv->guest.ring_doorbell = ring_doorbell;
	fv->guest.user = fv;
	fg_socket_pair(pair);
	fv->sock = pair[0];
	params.take_fd = pair[1];
	params.gpu = fv->guest.gpu;
	params.device_loop = fv->guest.loop;
	FG_CHECK(pv_vfio_user_create(&params, &fv->transport) == PV_OK);
	FG_CHECK(pv_notifier_create(pair) == PV_OK);
	fv->config_event = pair[0];
}

void fv_hang_up(struct fv *fv)
{
	pv_fd_close(&fv->sock);
}

void fv_close(struct fv *fv)
{
	pv_vfio_user_destroy(fv->transport);
	fv_hang_up(fv);
	fg_close(&fv->guest);
	pv_fd_close(&fv->config_event);
	pv_fd_close(&fv->window_fd);
}

enum pv_status fv_expect_closed(struct fv *fv)
{
	fg_wait_hang_up(fv->sock);
	for (int ms = 0; atomic_load(&fv->closed) < 0; ms++) {
		FG_CHECK(ms < FG_TIMEOUT_MS);
		poll(NULL, 0, 1);
	}
	return (enum pv_status)atomic_load(&fv->closed);
}

uint16_t fv_send(struct fv *fv, uint16_t command, uint32_t flags, const void *payload, size_t size, const int *fds,
		 size_t nr_fds)
{
	struct pv_vfio_header header = {
	    .id = fv->next_id++, .command = command, .size = (uint32_t)(sizeof(header) + size), .flags = flags};
	uint8_t bytes[sizeof(header) + FV_MAX_PAYLOAD];

	FG_CHECK(size <= FV_MAX_PAYLOAD);
	memcpy(bytes, &header, sizeof(header));
	if (size)
		memcpy(bytes + sizeof(header), payload, size);
	FG_CHECK(fg_send(fv->sock, bytes, sizeof(header) + size, fds, nr_fds));
	return header.id;
}

uint32_t fv_receive(struct fv *fv, uint16_t id, uint16_t command, void *payload, size_t size)
{
	struct pv_vfio_header header;
	size_t got = 0, nr_fds = 1;
	int fd = -1;

	FG_CHECK(fg_wait_readable(fv->sock, FG_TIMEOUT_MS));
	FG_CHECK(pv_socket_recv(fv->sock, &header, sizeof(header), &got, &fd, &nr_fds) == PV_OK);
	FG_CHECK(got == sizeof(header) && header.id == id && header.command == command);
	if (fd >= 0) {
		pv_fd_close(&fv->window_fd);
		fv->window_fd = fd;
	}
	if (header.flags & PV_VFIO_FLAG_ERROR) {
		FG_CHECK(header.flags == (PV_VFIO_FLAG_REPLY | PV_VFIO_FLAG_ERROR));
		FG_CHECK(header.error != 0 && header.size == sizeof(header));
		return header.error;
	}
	FG_CHECK(header.flags == PV_VFIO_FLAG_REPLY && header.size == sizeof(header) + size);
	fg_receive(fv->sock, payload, size);
	return 0;
}

uint32_t fv_ask(struct fv *fv, uint16_t command, const void *payload, size_t size, void *answer, size_t answer_size)
{
	return fv_receive(fv, fv_send(fv, command, 0, payload, size, NULL, 0), command, answer, answer_size);
}

void fv_read(struct fv *fv, uint32_t region, uint64_t offset, void *data, uint32_t len)
{
	struct pv_vfio_region_access access = {.offset = offset, .region = region, .count = len};
	uint8_t answer[sizeof(access) + 256];

	FG_CHECK(len <= 256);
	FG_CHECK(fv_ask(fv, PV_VFIO_REGION_READ, &access, sizeof(access), answer, sizeof(access) + len) == 0);
	FG_CHECK(memcmp(answer, &access, sizeof(access)) == 0);
	memcpy(data, answer + sizeof(access), len);
}

void fv_write(struct fv *fv, uint32_t region, uint64_t offset, const void *data, uint32_t len)
{
	struct pv_vfio_region_access access = {.offset = offset, .region = region, .count = len};
	uint8_t bytes[sizeof(access) + 256], answer[sizeof(access)];

	FG_CHECK(len <= 256);
	memcpy(bytes, &access, sizeof(access));
	memcpy(bytes + sizeof(access), data, len);
	FG_CHECK(fv_ask(fv, PV_VFIO_REGION_WRITE, bytes, sizeof(access) + len, answer, sizeof(answer)) == 0);
	FG_CHECK(memcmp(answer, &access, sizeof(access)) == 0);
}

uint32_t fv_get(struct fv *fv, uint64_t offset, uint32_t len)
{
	uint32_t value = 0;

	fv_read(fv, PV_VFIO_REGION_BAR0, offset, &value, len);
	return value;
}

void fv_set(struct fv *fv, uint64_t offset, uint64_t value, uint32_t len)
{
	fv_write(fv, PV_VFIO_REGION_BAR0, offset, &value, len);
}

uint32_t fv_map(struct fv *fv, uint64_t guest_addr, uint64_t size, int fd, uint64_t offset)
{
	struct pv_vfio_dma_map map = {
	    .argsz = sizeof(map), .flags = 3, .offset = offset, .guest_addr = guest_addr, .size_bytes = size};
	uint16_t id = fv_send(fv, PV_VFIO_DMA_MAP, 0, &map, sizeof(map), &fd, fd >= 0 ? 1 : 0);

	return fv_receive(fv, id, PV_VFIO_DMA_MAP, NULL, 0);
}

uint32_t fv_unmap(struct fv *fv, uint64_t guest_addr, uint64_t size)
{
	struct pv_vfio_dma_unmap unmap = {.argsz = sizeof(unmap), .guest_addr = guest_addr, .size_bytes = size}, answer;
	uint32_t error = fv_ask(fv, PV_VFIO_DMA_UNMAP, &unmap, sizeof(unmap), &answer, sizeof(answer));

	FG_CHECK(error || memcmp(&unmap, &answer, sizeof(unmap)) == 0);
	return error;
}

void fv_set_vectors(struct fv *fv, bool on)
{
	struct pv_vfio_irq_set set = {.argsz = sizeof(set),
				      .flags = PV_VFIO_SET_ACTION_TRIGGER |
					       (on ? PV_VFIO_SET_DATA_EVENTFD : PV_VFIO_SET_DATA_NONE),
				      .index = PV_VFIO_IRQ_MSIX,
				      .count = on ? PV_PCI_NR_VECTORS : 0};
	int fds[PV_PCI_NR_VECTORS] = {fv->config_event, fv->guest.rings[0].call, fv->guest.rings[1].call};
	uint16_t id = fv_send(fv, PV_VFIO_SET_IRQS, 0, &set, sizeof(set), fds, set.count);

	FG_CHECK(fv_receive(fv, id, PV_VFIO_SET_IRQS, NULL, 0) == 0);
}

void fv_realize(struct fv *fv)
{
	static const char hello[] = "\0\0\0\0{\"capabilities\":{\"max_msg_fds\":16}}";
	struct pv_vfio_region_info info;
	uint8_t answer[FV_MAX_PAYLOAD];
	struct pv_vfio_header header;

	(void)fv_send(fv, PV_VFIO_VERSION, 0, hello, sizeof(hello), NULL, 0);
	fg_receive(fv->sock, &header, sizeof(header));
	FG_CHECK(header.size > sizeof(header) && header.size - sizeof(header) <= sizeof(answer));
	fg_receive(fv->sock, answer, header.size - sizeof(header));
	FG_CHECK(fv_map(fv, 0, FG_RAM_BYTES, fv->guest.ram, 0) == 0);
	info = (struct pv_vfio_region_info){.argsz = sizeof(info), .index = PV_VFIO_REGION_BAR2};
	FG_CHECK(fv_ask(fv, PV_VFIO_GET_REGION_INFO, &info, sizeof(info), &info, sizeof(info)) == 0);
}

static void set_up_queue(struct fv *fv, uint32_t index)
{
	uint64_t at = fg_queue_at(index);

	fv_set(fv, 22, index, 2);
	fv_set(fv, 24, FG_RING_SIZE, 2);
	fv_set(fv, 26, index + 1, 2);
	fv_set(fv, 32, at, 8);
	fv_set(fv, 40, at + FG_PAGE, 8);
	fv_set(fv, 48, at + 2 * FG_PAGE, 8);
	fv_set(fv, 28, 1, 2);
}

void fv_start(struct fv *fv)
{
	fv_set(fv, 20, 3, 1);
	fv_set(fv, 8, 0, 4);
	fv_set(fv, 12, 1u << PV_GPU_F_EDID, 4);
	fv_set(fv, 8, 1, 4);
	fv_set(fv, 12, 1, 4);
	fv_set(fv, 20, 11, 1);
	FG_CHECK(fv_get(fv, 20, 1) == 11);
	fv_set_vectors(fv, true);
	fv_set(fv, 16, 0, 2);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		set_up_queue(fv, i);
	fv_set(fv, 20, 15, 1);
}

void fv_reset_by_status(struct fv *fv)
{
	fv_set(fv, 20, 0, 1);
	for (int ms = 0; fv_get(fv, 20, 1) != 0; ms++) {
		FG_CHECK(ms < FG_TIMEOUT_MS);
		poll(NULL, 0, 1);
	}
}

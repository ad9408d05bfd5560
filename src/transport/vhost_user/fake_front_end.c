/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/fake_front_end.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/socket.h"
#include "render2d/render2d.h"

#define TIMEOUT_MS 20000

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

int fe_count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* The device. */

static void *device_thread(void *user)
{
	struct fe *fe = user;

	pv_loop_run(fe->loop);
	return NULL;
}

static void take_console(void *user, int take_fd)
{
	struct fe *fe = user;

	pv_fd_close(&fe->console_fd);
	fe->console_fd = take_fd;
	atomic_fetch_add(&fe->consoles, 1);
}

static void connection_closed(void *user, enum pv_status status)
{
	struct fe *fe = user;

	atomic_store(&fe->closed, (int)status);
}

void fe_open(struct fe *fe, const struct fe_params *params)
{
	struct pv_gpu_params gpu_params = {.nr_outputs = 1,
					   .outputs = {{.enabled = true, .width = 640, .height = 480}},
					   .window_bytes = params->window_bytes};
	struct pv_vhost_user_params transport_params = {
	    .console = params->console ? params->console : take_console, .closed = connection_closed, .user = fe};
	int pair[2];

	*fe = (struct fe){.console_fd = -1, .closed = -1, .back = -1, .window_fd = -1};
	CHECK(pv_loop_create(&fe->loop) == PV_OK);
	CHECK(pv_render2d_create(&gpu_params.take_renderer) == PV_OK);
	gpu_params.loop = fe->loop;
	CHECK(pv_gpu_create(&gpu_params, &fe->gpu) == PV_OK);
	CHECK(pthread_create(&fe->thread, NULL, device_thread, fe) == 0);

	CHECK(pv_socket_pair(pair) == PV_OK);
	fe->sock = pair[0];
	transport_params.take_fd = pair[1];
	transport_params.gpu = fe->gpu;
	transport_params.device_loop = fe->loop;
	CHECK(pv_vhost_user_create(&transport_params, &fe->transport) == PV_OK);

	CHECK(pv_shm_create("ram", FE_RAM_BYTES, &fe->ram) == PV_OK);
	fe->memory = mmap(NULL, FE_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fe->ram, 0);
	CHECK(fe->memory != MAP_FAILED);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		int fds[2];

		CHECK(pv_notifier_create(fds) == PV_OK);
		fe->rings[i].kick = fds[0];
		CHECK(pv_notifier_create(fds) == PV_OK);
		fe->rings[i].call = fds[0];
	}
}

void fe_hang_up(struct fe *fe)
{
	pv_fd_close(&fe->sock);
	pv_fd_close(&fe->back);
}

static void destroy_gpu(void *user)
{
	struct fe *fe = user;

	pv_gpu_destroy(fe->gpu);
}

void fe_close(struct fe *fe)
{
	pv_vhost_user_destroy(fe->transport);
	fe_hang_up(fe);
	pv_loop_call(fe->loop, destroy_gpu, fe);
	pv_loop_stop(fe->loop);
	CHECK(pthread_join(fe->thread, NULL) == 0);
	pv_loop_destroy(fe->loop);
	pv_fd_close(&fe->console_fd);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		pv_fd_close(&fe->rings[i].kick);
		pv_fd_close(&fe->rings[i].call);
	}
	munmap(fe->memory, FE_RAM_BYTES);
	pv_fd_close(&fe->ram);
}

/* The socket. */

static bool wait_readable(int fd, int ms)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	return poll(&entry, 1, ms) == 1;
}

bool fe_is_quiet(int fd, int ms)
{
	return !wait_readable(fd, ms);
}

bool fe_send_bytes(struct fe *fe, const void *bytes, size_t len, const int *fds, size_t nr_fds)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		struct iovec iov = {.iov_base = (void *)(uintptr_t)at, .iov_len = len};
		size_t sent = 0;

		if (pv_socket_send(fe->sock, &iov, 1, fds, nr_fds, &sent) != PV_OK)
			return false;
		nr_fds = 0;
		at += sent;
		len -= sent;
	}
	return true;
}

void fe_send(struct fe *fe, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds,
	     size_t nr_fds)
{
	uint8_t bytes[1024];
	struct pv_vhost_header header = {.request = request, .flags = PV_VHOST_VERSION | flags, .size = size};

	CHECK(sizeof(header) + size <= sizeof(bytes));
	memcpy(bytes, &header, sizeof(header));
	if (size)
		memcpy(bytes + sizeof(header), payload, size);
	CHECK(fe_send_bytes(fe, bytes, sizeof(header) + size, fds, nr_fds));
}

static void receive_all(int fd, void *bytes, size_t len)
{
	uint8_t *at = bytes;

	while (len > 0) {
		size_t got = 0;

		CHECK(wait_readable(fd, TIMEOUT_MS));
		CHECK(pv_socket_recv(fd, at, len, &got, NULL, NULL) == PV_OK);
		CHECK(got > 0);
		at += got;
		len -= got;
	}
}

void fe_expect(struct fe *fe, uint32_t request, void *payload, uint32_t size)
{
	struct pv_vhost_header header;

	receive_all(fe->sock, &header, sizeof(header));
	CHECK(header.request == request);
	CHECK(header.flags == (PV_VHOST_VERSION | PV_VHOST_REPLY));
	CHECK(header.size == size);
	receive_all(fe->sock, payload, size);
}

enum pv_status fe_expect_closed(struct fe *fe)
{
	for (;;) {
		uint8_t bytes[512];
		size_t got = 0;
		enum pv_status status;

		CHECK(wait_readable(fe->sock, TIMEOUT_MS));
		status = pv_socket_recv(fe->sock, bytes, sizeof(bytes), &got, NULL, NULL);
		if (status != PV_OK || got == 0)
			break;
	}
	for (int ms = 0; atomic_load(&fe->closed) < 0; ms++) {
		CHECK(ms < TIMEOUT_MS);
		poll(NULL, 0, 1);
	}
	return (enum pv_status)atomic_load(&fe->closed);
}

uint64_t fe_ask_u64(struct fe *fe, uint32_t request)
{
	uint64_t value;

	fe_send(fe, request, 0, NULL, 0, NULL, 0);
	fe_expect(fe, request, &value, sizeof(value));
	return value;
}

uint64_t fe_tell(struct fe *fe, uint32_t request, const void *payload, uint32_t size, int fd)
{
	bool reply = (fe->protocol_features & PV_VHOST_PROTOCOL_F_REPLY_ACK) != 0;
	uint64_t value = 0;

	fe_send(fe, request, reply ? PV_VHOST_NEED_REPLY : 0, payload, size, &fd, fd >= 0 ? 1 : 0);
	if (reply)
		fe_expect(fe, request, &value, sizeof(value));
	return value;
}

uint64_t fe_tell_u64(struct fe *fe, uint32_t request, uint64_t value, int fd)
{
	return fe_tell(fe, request, &value, sizeof(value), fd);
}

uint64_t fe_tell_ring(struct fe *fe, uint32_t request, uint32_t index, uint32_t num)
{
	struct pv_vhost_ring_state state = {.index = index, .num = num};

	return fe_tell(fe, request, &state, sizeof(state), -1);
}

/* The VMM. */

void fe_realize(struct fe *fe, uint64_t protocol_features)
{
	CHECK(fe_ask_u64(fe, PV_VHOST_GET_FEATURES) & PV_VHOST_F_PROTOCOL_FEATURES);
	protocol_features &= fe_ask_u64(fe, PV_VHOST_GET_PROTOCOL_FEATURES);
	fe_send(fe, PV_VHOST_SET_PROTOCOL_FEATURES, 0, &protocol_features, sizeof(protocol_features), NULL, 0);
	fe->protocol_features = protocol_features;
	CHECK(fe_ask_u64(fe, PV_VHOST_GET_QUEUE_NUM) == PV_GPU_NR_QUEUES);
	if (protocol_features & PV_VHOST_PROTOCOL_F_BACKEND_REQ) {
		int pair[2];

		CHECK(pv_socket_pair(pair) == PV_OK);
		CHECK(fe_tell(fe, PV_VHOST_SET_BACKEND_REQ_FD, NULL, 0, pair[1]) == 0);
		pv_fd_close(&pair[1]);
		fe->back = pair[0];
	}
	fe_send(fe, PV_VHOST_SET_OWNER, 0, NULL, 0, NULL, 0);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		CHECK(fe_tell_u64(fe, PV_VHOST_SET_VRING_CALL, i, fe->rings[i].call) == 0);
}

static struct pv_vhost_region ram_region(void)
{
	return (struct pv_vhost_region){.guest_addr = 0, .size_bytes = FE_RAM_BYTES, .user_addr = FE_USER_ADDR};
}

void fe_add_ram(struct fe *fe)
{
	if (fe->protocol_features & PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS) {
		struct pv_vhost_single_region region = {.region = ram_region()};

		CHECK(fe_tell(fe, PV_VHOST_ADD_MEM_REG, &region, sizeof(region), fe->ram) == 0);
	} else {
		struct pv_vhost_memory table = {
		    .nr_regions = fe->window_fd >= 0 ? 2 : 1,
		    .regions = {ram_region(),
				{.guest_addr = 1ULL << 40, .size_bytes = FE_WINDOW_BYTES, .user_addr = 1ULL << 45}}};
		int fds[2] = {fe->ram, fe->window_fd};
		bool reply = (fe->protocol_features & PV_VHOST_PROTOCOL_F_REPLY_ACK) != 0;
		uint64_t value = 0;

		fe_send(fe, PV_VHOST_SET_MEM_TABLE, reply ? PV_VHOST_NEED_REPLY : 0, &table,
			8 + table.nr_regions * sizeof(table.regions[0]), fds, table.nr_regions);
		if (reply)
			fe_expect(fe, PV_VHOST_SET_MEM_TABLE, &value, sizeof(value));
		CHECK(value == 0);
	}
}

uint64_t fe_remove_ram(struct fe *fe)
{
	struct pv_vhost_single_region region = {.region = ram_region()};

	return fe_tell(fe, PV_VHOST_REM_MEM_REG, &region, sizeof(region), -1);
}

void fe_set_features(struct fe *fe)
{
	CHECK(fe_tell_u64(fe, PV_VHOST_SET_FEATURES,
			  PV_VIRTIO_F_VERSION_1 | PV_VHOST_F_PROTOCOL_FEATURES | 1u << PV_GPU_F_EDID |
			      1ULL << 40 /* RING_RESET: QEMU's own */,
			  -1) == 0);
}

/* Each queue has 16 pages: descriptors, available ring, used ring, then commands and responses. */
static uint64_t queue_at(uint32_t index)
{
	return 0x10000 + index * 16ULL * FE_PAGE;
}

void fe_set_up_ring(struct fe *fe, uint32_t index)
{
	uint64_t at = FE_USER_ADDR + queue_at(index);
	struct pv_vhost_ring_addr addr = {.index = index, .desc = at, .avail = at + FE_PAGE, .used = at + 2 * FE_PAGE};

	CHECK(fe_tell_ring(fe, PV_VHOST_SET_VRING_NUM, index, FE_RING_SIZE) == 0);
	CHECK(fe_tell_ring(fe, PV_VHOST_SET_VRING_BASE, index, fe->rings[index].next) == 0);
	CHECK(fe_tell(fe, PV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1) == 0);
	CHECK(fe_tell_u64(fe, PV_VHOST_SET_VRING_KICK, index, fe->rings[index].kick) == 0);
	CHECK(fe_tell_u64(fe, PV_VHOST_SET_VRING_CALL, index, fe->rings[index].call) == 0);
}

void fe_start(struct fe *fe)
{
	fe_set_features(fe);
	if (fe->protocol_features & PV_VHOST_PROTOCOL_F_STATUS) {
		CHECK(fe_ask_u64(fe, PV_VHOST_GET_STATUS) <= 8);
		CHECK(fe_tell_u64(fe, PV_VHOST_SET_STATUS, 8, -1) == 0);
	}
	fe_add_ram(fe);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		fe_set_up_ring(fe, i);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		CHECK(fe_tell_ring(fe, PV_VHOST_SET_VRING_ENABLE, i, 1) == 0);
}

uint16_t fe_stop_ring(struct fe *fe, uint32_t index)
{
	struct pv_vhost_ring_state state = {.index = index};

	fe_send(fe, PV_VHOST_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	fe_expect(fe, PV_VHOST_GET_VRING_BASE, &state, sizeof(state));
	CHECK(state.index == index);
	CHECK(state.num <= UINT16_MAX);
	return (uint16_t)state.num;
}

void fe_stop(struct fe *fe)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		CHECK(fe_stop_ring(fe, i) == fe->rings[i].next);
	if (fe->protocol_features & PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
		CHECK(fe_remove_ram(fe) == 0);
}

void fe_forget_rings(struct fe *fe)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		fe->rings[i].next = fe->rings[i].seen = 0;
		memset(fe->memory + queue_at(i), 0, 3 * FE_PAGE);
		pv_notifier_clear(fe->rings[i].call);
	}
}

/* The driver. */

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define SLOT_BYTES  2048
#define RESPONSE_AT 1024

static uint64_t slot_at(uint32_t index, uint16_t slot)
{
	return queue_at(index) + 3 * FE_PAGE + (uint64_t)slot * SLOT_BYTES;
}

static _Atomic uint16_t *ring_word(struct fe *fe, uint32_t index, uint32_t page, uint32_t word)
{
	return (_Atomic uint16_t *)(void *)(fe->memory + queue_at(index) + page * FE_PAGE + 2 * (size_t)word);
}

void fe_submit(struct fe *fe, uint32_t index, const void *command, uint32_t len)
{
	struct fe_ring *ring = &fe->rings[index];
	uint16_t slot = ring->next % (FE_RING_SIZE / 2);
	uint64_t at = slot_at(index, slot);
	struct desc chain[2] = {{at, len, 1, (uint16_t)(slot * 2 + 1)},
				{at + RESPONSE_AT, SLOT_BYTES - RESPONSE_AT, 2, 0}};

	CHECK(len <= RESPONSE_AT && (uint16_t)(ring->next - ring->seen) < FE_RING_SIZE / 2);
	memcpy(fe->memory + at, command, len);
	memset(fe->memory + at + RESPONSE_AT, 0xee, SLOT_BYTES - RESPONSE_AT);
	memcpy(fe->memory + queue_at(index) + sizeof(chain) * slot, chain, sizeof(chain));
	*ring_word(fe, index, 1, 2 + ring->next % FE_RING_SIZE) = (uint16_t)(slot * 2);
	atomic_store_explicit(ring_word(fe, index, 1, 1), ++ring->next, memory_order_release);
}

void fe_kick(struct fe *fe, uint32_t index)
{
	pv_notifier_raise(fe->rings[index].kick);
}

bool fe_is_answered(struct fe *fe, uint32_t index)
{
	return atomic_load_explicit(ring_word(fe, index, 2, 1), memory_order_acquire) == fe->rings[index].next;
}

uint32_t fe_wait_response(struct fe *fe, uint32_t index)
{
	struct fe_ring *ring = &fe->rings[index];
	uint32_t type;

	while (atomic_load_explicit(ring_word(fe, index, 2, 1), memory_order_acquire) == ring->seen) {
		CHECK(wait_readable(ring->call, TIMEOUT_MS));
		pv_notifier_clear(ring->call);
	}
	memcpy(&type, fe->memory + slot_at(index, ring->seen % (FE_RING_SIZE / 2)) + RESPONSE_AT, sizeof(type));
	ring->seen++;
	return type;
}

uint32_t fe_command(struct fe *fe, const void *command, uint32_t len)
{
	fe_submit(fe, PV_GPU_QUEUE_CONTROL, command, len);
	fe_kick(fe, PV_GPU_QUEUE_CONTROL);
	return fe_wait_response(fe, PV_GPU_QUEUE_CONTROL);
}

uint32_t fe_create_2d(struct fe *fe, uint32_t id, uint32_t width, uint32_t height)
{
	struct pv_gpu_resource_create_2d command = {.hdr.type = PV_GPU_CMD_RESOURCE_CREATE_2D,
						    .resource_id = id,
						    .format = PV_GPU_FORMAT_B8G8R8X8,
						    .width = width,
						    .height = height};

	return fe_command(fe, &command, sizeof(command));
}

uint32_t fe_get_display_info(struct fe *fe)
{
	struct pv_gpu_ctrl_hdr command = {.type = PV_GPU_CMD_GET_DISPLAY_INFO};

	return fe_command(fe, &command, sizeof(command));
}

/* The back channel. */

struct pv_vhost_header fe_expect_back(struct fe *fe, void *payload, uint32_t size, int *fd)
{
	struct pv_vhost_header header;
	size_t got = 0, nr_fds = 1;

	*fd = -1;
	CHECK(wait_readable(fe->back, TIMEOUT_MS));
	CHECK(pv_socket_recv(fe->back, &header, sizeof(header), &got, fd, &nr_fds) == PV_OK);
	CHECK(got == sizeof(header));
	CHECK(header.size == size);
	receive_all(fe->back, payload, size);
	return header;
}

void fe_answer_back(struct fe *fe, uint32_t request, uint64_t value)
{
	struct {
		struct pv_vhost_header header;
		uint8_t value[sizeof(uint64_t)];
	} reply = {.header = {.request = request, .flags = PV_VHOST_VERSION | PV_VHOST_REPLY, .size = sizeof(value)}};
	struct iovec iov = {.iov_base = &reply, .iov_len = sizeof(reply)};
	size_t sent = 0;

	memcpy(reply.value, &value, sizeof(value));
	CHECK(pv_socket_send(fe->back, &iov, 1, NULL, 0, &sent) == PV_OK);
	CHECK(sent == sizeof(reply));
}

/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/fake_front_end.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "base/socket.h"

/* The device. */

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
	struct pv_vhost_user_params transport_params = {
	    .console = params->console ? params->console : take_console, .closed = connection_closed, .user = fe};
	int pair[2];

	*fe = (struct fe){.console_fd = -1, .closed = -1, .back = -1, .window_fd = -1};
	fg_open(&fe->guest, params->window_bytes);
	fg_socket_pair(pair);
	fe->sock = pair[0];
	transport_params.take_fd = pair[1];
	transport_params.gpu = fe->guest.gpu;
	transport_params.device_loop = fe->guest.loop;
	FG_CHECK(pv_vhost_user_create(&transport_params, &fe->transport) == PV_OK);
}

void fe_hang_up(struct fe *fe)
{
	pv_fd_close(&fe->sock);
	pv_fd_close(&fe->back);
}

void fe_close(struct fe *fe)
{
	pv_vhost_user_destroy(fe->transport);
	fe_hang_up(fe);
	fg_close(&fe->guest);
	pv_fd_close(&fe->console_fd);
}

/* The socket. */

bool fe_send_bytes(struct fe *fe, const void *bytes, size_t len, const int *fds, size_t nr_fds)
{
	return fg_send(fe->sock, bytes, len, fds, nr_fds);
}

void fe_send(struct fe *fe, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds,
	     size_t nr_fds)
{
	uint8_t bytes[1024];
	struct pv_vhost_header header = {.request = request, .flags = PV_VHOST_VERSION | flags, .size = size};

	FG_CHECK(sizeof(header) + size <= sizeof(bytes));
	memcpy(bytes, &header, sizeof(header));
	if (size)
		memcpy(bytes + sizeof(header), payload, size);
	FG_CHECK(fe_send_bytes(fe, bytes, sizeof(header) + size, fds, nr_fds));
}

void fe_expect(struct fe *fe, uint32_t request, void *payload, uint32_t size)
{
	struct pv_vhost_header header;

	fg_receive(fe->sock, &header, sizeof(header));
	FG_CHECK(header.request == request);
	FG_CHECK(header.flags == (PV_VHOST_VERSION | PV_VHOST_REPLY));
	FG_CHECK(header.size == size);
	fg_receive(fe->sock, payload, size);
}

enum pv_status fe_expect_closed(struct fe *fe)
{
	fg_wait_hang_up(fe->sock);
	for (int ms = 0; atomic_load(&fe->closed) < 0; ms++) {
		FG_CHECK(ms < FG_TIMEOUT_MS);
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
	FG_CHECK(fe_ask_u64(fe, PV_VHOST_GET_FEATURES) & PV_VHOST_F_PROTOCOL_FEATURES);
	protocol_features &= fe_ask_u64(fe, PV_VHOST_GET_PROTOCOL_FEATURES);
	fe_send(fe, PV_VHOST_SET_PROTOCOL_FEATURES, 0, &protocol_features, sizeof(protocol_features), NULL, 0);
	fe->protocol_features = protocol_features;
	FG_CHECK(fe_ask_u64(fe, PV_VHOST_GET_QUEUE_NUM) == PV_GPU_NR_QUEUES);
	if (protocol_features & PV_VHOST_PROTOCOL_F_BACKEND_REQ) {
		int pair[2];

		FG_CHECK(pv_socket_pair(pair) == PV_OK);
		FG_CHECK(fe_tell(fe, PV_VHOST_SET_BACKEND_REQ_FD, NULL, 0, pair[1]) == 0);
		pv_fd_close(&pair[1]);
		fe->back = pair[0];
	}
	fe_send(fe, PV_VHOST_SET_OWNER, 0, NULL, 0, NULL, 0);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		FG_CHECK(fe_tell_u64(fe, PV_VHOST_SET_VRING_CALL, i, fe->guest.rings[i].call) == 0);
}

static struct pv_vhost_region ram_region(void)
{
	return (struct pv_vhost_region){.guest_addr = 0, .size_bytes = FG_RAM_BYTES, .user_addr = FE_USER_ADDR};
}

void fe_add_ram(struct fe *fe)
{
	if (fe->protocol_features & PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS) {
		struct pv_vhost_single_region region = {.region = ram_region()};

		FG_CHECK(fe_tell(fe, PV_VHOST_ADD_MEM_REG, &region, sizeof(region), fe->guest.ram) == 0);
	} else {
		struct pv_vhost_memory table = {
		    .nr_regions = fe->window_fd >= 0 ? 2 : 1,
		    .regions = {ram_region(),
				{.guest_addr = 1ULL << 40, .size_bytes = FE_WINDOW_BYTES, .user_addr = 1ULL << 45}}};
		int fds[2] = {fe->guest.ram, fe->window_fd};
		bool reply = (fe->protocol_features & PV_VHOST_PROTOCOL_F_REPLY_ACK) != 0;
		uint64_t value = 0;

		fe_send(fe, PV_VHOST_SET_MEM_TABLE, reply ? PV_VHOST_NEED_REPLY : 0, &table,
			8 + table.nr_regions * sizeof(table.regions[0]), fds, table.nr_regions);
		if (reply)
			fe_expect(fe, PV_VHOST_SET_MEM_TABLE, &value, sizeof(value));
		FG_CHECK(value == 0);
	}
}

uint64_t fe_remove_ram(struct fe *fe)
{
	struct pv_vhost_single_region region = {.region = ram_region()};

	return fe_tell(fe, PV_VHOST_REM_MEM_REG, &region, sizeof(region), -1);
}

void fe_set_features(struct fe *fe)
{
	FG_CHECK(fe_tell_u64(fe, PV_VHOST_SET_FEATURES,
			     PV_VIRTIO_F_VERSION_1 | PV_VHOST_F_PROTOCOL_FEATURES | 1u << PV_GPU_F_EDID |
				 1ULL << 40 /* RING_RESET: QEMU's own */,
			     -1) == 0);
}

void fe_set_up_ring(struct fe *fe, uint32_t index)
{
	uint64_t at = FE_USER_ADDR + fg_queue_at(index);
	struct pv_vhost_ring_addr addr = {.index = index, .desc = at, .avail = at + FG_PAGE, .used = at + 2 * FG_PAGE};

	FG_CHECK(fe_tell_ring(fe, PV_VHOST_SET_VRING_NUM, index, FG_RING_SIZE) == 0);
	FG_CHECK(fe_tell_ring(fe, PV_VHOST_SET_VRING_BASE, index, fe->guest.rings[index].next) == 0);
	FG_CHECK(fe_tell(fe, PV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1) == 0);
	FG_CHECK(fe_tell_u64(fe, PV_VHOST_SET_VRING_KICK, index, fe->guest.rings[index].kick) == 0);
	FG_CHECK(fe_tell_u64(fe, PV_VHOST_SET_VRING_CALL, index, fe->guest.rings[index].call) == 0);
}

void fe_start(struct fe *fe)
{
	fe_set_features(fe);
	if (fe->protocol_features & PV_VHOST_PROTOCOL_F_STATUS) {
		FG_CHECK(fe_ask_u64(fe, PV_VHOST_GET_STATUS) <= 8);
		FG_CHECK(fe_tell_u64(fe, PV_VHOST_SET_STATUS, 8, -1) == 0);
	}
	fe_add_ram(fe);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		fe_set_up_ring(fe, i);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		FG_CHECK(fe_tell_ring(fe, PV_VHOST_SET_VRING_ENABLE, i, 1) == 0);
}

uint16_t fe_stop_ring(struct fe *fe, uint32_t index)
{
	struct pv_vhost_ring_state state = {.index = index};

	fe_send(fe, PV_VHOST_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	fe_expect(fe, PV_VHOST_GET_VRING_BASE, &state, sizeof(state));
	FG_CHECK(state.index == index);
	FG_CHECK(state.num <= UINT16_MAX);
	return (uint16_t)state.num;
}

void fe_stop(struct fe *fe)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		FG_CHECK(fe_stop_ring(fe, i) == fe->guest.rings[i].next);
	if (fe->protocol_features & PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
		FG_CHECK(fe_remove_ram(fe) == 0);
}

/* The back channel. */

struct pv_vhost_header fe_expect_back(struct fe *fe, void *payload, uint32_t size, int *fd)
{
	struct pv_vhost_header header;
	size_t got = 0, nr_fds = 1;

	*fd = -1;
	FG_CHECK(fg_wait_readable(fe->back, FG_TIMEOUT_MS));
	FG_CHECK(pv_socket_recv(fe->back, &header, sizeof(header), &got, fd, &nr_fds) == PV_OK);
	FG_CHECK(got == sizeof(header));
	FG_CHECK(header.size == size);
	fg_receive(fe->back, payload, size);
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
	FG_CHECK(pv_socket_send(fe->back, &iov, 1, NULL, 0, &sent) == PV_OK);
	FG_CHECK(sent == sizeof(reply));
}

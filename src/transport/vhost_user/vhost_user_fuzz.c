/* SPDX-License-Identifier: MIT */
/*
 * A hostile front end without sockets and threads: the input is a list of messages, some as random as it comes, most
 * with fields that lead somewhere, which go through parser, back end, device side and a real device core.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fuzz.h"
#include "base/socket.h"
#include "transport/fuzz_machine.h"
#include "transport/vhost_user/backend.h"

#define USER_ADDR 0x10000000ULL

struct machine {
	struct fuzz_machine base;
	struct pv_vhost_backend backend;
	bool asked, replied;
};

static void on_reply(void *user, const void *bytes, size_t len)
{
	struct machine *machine = user;
	struct pv_vhost_header header;

	memcpy(&header, bytes, sizeof(header));
	fuzz_check(!machine->replied && len == sizeof(header) + header.size && len <= PV_VHOST_MAX_REPLY_BYTES);
	machine->replied = true;
}

static void on_submit(void *user, const struct pv_transport_op *op)
{
	struct machine *machine = user;

	fuzz_machine_run(&machine->base, op, PV_VHOST_MAX_OPS_PER_MESSAGE);
}

static enum pv_status on_open_channel(void *user, int take_fd)
{
	struct machine *machine = user;

	machine->asked = false;
	pv_fd_close(&take_fd);
	return PV_OK;
}

static bool on_can_map_window(void *user)
{
	(void)user;
	return true;
}

static void on_map_window(void *user, bool wants_reply)
{
	struct machine *machine = user;

	(void)wants_reply;
	fuzz_check(!machine->asked);
	machine->asked = true;
}

static const struct pv_vhost_backend_ops ops = {.reply = on_reply,
						.submit = on_submit,
						.open_channel = on_open_channel,
						.can_map_window = on_can_map_window,
						.map_window = on_map_window};

static void open_machine(struct machine *machine, bool has_window)
{
	struct pv_vhost_backend_params params = {.ops = &ops, .user = machine, .device = &machine->base.device};

	fuzz_machine_open(&machine->base, has_window);
	params.device_features = pv_gpu_features(machine->base.gpu);
	params.window_fd = pv_gpu_window_fd(machine->base.gpu);
	params.window_bytes = pv_gpu_window_bytes(machine->base.gpu);
	fuzz_check(pv_vhost_backend_init(&machine->backend, &params) == PV_OK);
}

static void close_machine(struct machine *machine)
{
	pv_vhost_backend_finish(&machine->backend);
	fuzz_machine_close(&machine->base);
}

/* A region that may well be a good one. */
static struct pv_vhost_region take_region(struct fuzz_input *input)
{
	uint64_t guest_addr = (fuzz_take_u8(input) & 7) * 0x8000ULL;

	return (struct pv_vhost_region){.guest_addr = guest_addr,
					.size_bytes = (fuzz_take_u8(input) & 7) * 0x8000ULL + 0x8000,
					.user_addr = USER_ADDR + guest_addr,
					.mmap_offset = (fuzz_take_u8(input) & 3) * 0x100ULL};
}

/* The right size, and fields that lead somewhere. Returns the size. */
static uint32_t make_payload(struct machine *machine, struct fuzz_input *input, uint32_t request, uint8_t *payload)
{
	uint64_t features = pv_gpu_features(machine->base.gpu) | PV_VHOST_F_PROTOCOL_FEATURES;
	struct pv_vhost_ring_state ring = {.index = fuzz_take_u8(input) & 1};
	struct pv_vhost_ring_addr addr = {.index = ring.index};
	struct pv_vhost_memory memory = {.nr_regions = ring.index + 1};
	struct pv_vhost_single_region single;
	uint64_t value;

	switch (request) {
	case PV_VHOST_SET_FEATURES:
		memcpy(payload, &features, 8);
		return 8;
	case PV_VHOST_SET_PROTOCOL_FEATURES:
		value = PV_VHOST_PROTOCOL_F_MQ | PV_VHOST_PROTOCOL_F_REPLY_ACK | PV_VHOST_PROTOCOL_F_BACKEND_REQ |
			PV_VHOST_PROTOCOL_F_CONFIG | PV_VHOST_PROTOCOL_F_BACKEND_SEND_FD |
			PV_VHOST_PROTOCOL_F_RESET_DEVICE | PV_VHOST_PROTOCOL_F_STATUS |
			(pv_gpu_window_bytes(machine->base.gpu) ? PV_VHOST_PROTOCOL_F_SHMEM
								: PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
		memcpy(payload, &value, 8);
		return 8;
	case PV_VHOST_SET_MEM_TABLE:
		for (uint32_t i = 0; i < memory.nr_regions; i++)
			memory.regions[i] = take_region(input);
		memcpy(payload, &memory, sizeof(memory));
		return (uint32_t)(8 + memory.nr_regions * sizeof(memory.regions[0]));
	case PV_VHOST_ADD_MEM_REG:
	case PV_VHOST_REM_MEM_REG:
		single = (struct pv_vhost_single_region){.region = take_region(input)};
		memcpy(payload, &single, sizeof(single));
		return sizeof(single);
	case PV_VHOST_SET_VRING_ADDR:
		addr.desc = USER_ADDR + fuzz_take_u8(input) * 0x400ULL;
		addr.avail = USER_ADDR + fuzz_take_u8(input) * 0x400ULL;
		addr.used = USER_ADDR + fuzz_take_u8(input) * 0x400ULL;
		memcpy(payload, &addr, sizeof(addr));
		return sizeof(addr);
	case PV_VHOST_SET_VRING_NUM:
		ring.num = 1u << (fuzz_take_u8(input) & 15);
		memcpy(payload, &ring, sizeof(ring));
		return sizeof(ring);
	case PV_VHOST_SET_VRING_BASE:
	case PV_VHOST_GET_VRING_BASE:
	case PV_VHOST_SET_VRING_ENABLE:
		ring.num = fuzz_take_u8(input) & 1;
		memcpy(payload, &ring, sizeof(ring));
		return sizeof(ring);
	case PV_VHOST_SET_VRING_KICK:
	case PV_VHOST_SET_VRING_CALL:
	case PV_VHOST_SET_VRING_ERR:
	case PV_VHOST_SET_STATUS:
		value = ring.index;
		memcpy(payload, &value, 8);
		return 8;
	case PV_VHOST_GET_CONFIG:
	case PV_VHOST_SET_CONFIG:
		memset(payload, 0, 32);
		payload[4] = 20;
		payload[16] = fuzz_take_u8(input);
		return 32;
	default:
		return 0;
	}
}

/* False: the connection is at its end. */
static bool finish_ops(struct machine *machine)
{
	bool ok = true;

	for (size_t i = 0; i < machine->base.nr_done; i++)
		ok = ok && pv_vhost_backend_op_done(&machine->backend, &machine->base.done[i]) == PV_OK;
	machine->base.nr_done = 0;
	return ok;
}

/* False: the connection is at its end. */
static bool handle(struct machine *machine, const struct pv_vhost_header *header, const uint8_t *payload,
		   const int *fds, size_t nr_fds)
{
	/* Its own allocation, so that a read past the end is seen. */
	uint8_t *exact = malloc(header->size ? header->size : 1);
	struct pv_vhost_message message;
	struct pv_vhost_fault fault;
	enum pv_status status;

	fuzz_check(exact);
	memcpy(exact, payload, header->size);
	status = pv_vhost_message_parse(header, exact, fds, nr_fds, PV_GPU_NR_QUEUES, &message, &fault);
	free(exact);
	if (status != PV_OK)
		return false;
	bool wants_answer = message.need_reply;
	machine->replied = false;
	status = pv_vhost_backend_handle(&machine->backend, &message);
	fuzz_check(!pv_vhost_backend_is_waiting(&machine->backend) || !machine->replied);
	if (status != PV_OK || !finish_ops(machine))
		return false;
	fuzz_check(!pv_vhost_backend_is_waiting(&machine->backend));
	fuzz_check(machine->replied || !wants_answer);
	return true;
}

/* The fds that the request wants. */
static size_t right_fds(struct machine *machine, uint32_t request, const uint8_t *payload, int *fds)
{
	switch (request) {
	case PV_VHOST_SET_MEM_TABLE:
		for (size_t i = 0; i < pv_min_u64(payload[0], PV_VHOST_MAX_FDS); i++)
			fds[i] = fuzz_machine_borrow_fd(&machine->base, i == 1 ? 2 : 0);
		return pv_min_u64(payload[0], PV_VHOST_MAX_FDS);
	case PV_VHOST_ADD_MEM_REG:
		fds[0] = fuzz_machine_borrow_fd(&machine->base, 0);
		return 1;
	case PV_VHOST_SET_VRING_KICK:
	case PV_VHOST_SET_VRING_CALL:
	case PV_VHOST_SET_VRING_ERR:
		fds[0] = fuzz_machine_borrow_fd(&machine->base, 1);
		return 1;
	case PV_VHOST_SET_BACKEND_REQ_FD:
	case PV_VHOST_GPU_SET_SOCKET:
		fds[0] = fuzz_machine_borrow_fd(&machine->base, 3);
		return 1;
	default:
		return 0;
	}
}

static bool send_message(struct machine *machine, struct fuzz_input *input)
{
	uint8_t wanted = fuzz_take_u8(input), shape = fuzz_take_u8(input);
	struct pv_vhost_header header = {.request = wanted % 48,
					 .flags = PV_VHOST_VERSION | (shape & 1 ? PV_VHOST_NEED_REPLY : 0)};
	uint8_t payload[PV_VHOST_MAX_PAYLOAD_BYTES] = {0};
	struct pv_vhost_fault fault;
	int fds[PV_VHOST_MAX_FDS];
	size_t nr_fds = (shape >> 1) & 3;

	if (shape & 0x80) {
		fuzz_take(input, &header, sizeof(header));
		if (pv_vhost_header_check(&header, &fault) != PV_OK)
			return false;
		fuzz_take(input, payload, header.size);
	} else {
		header.size = make_payload(machine, input, header.request, payload);
		if (pv_vhost_header_check(&header, &fault) != PV_OK)
			return false;
	}
	if (shape & 0x40) {
		for (size_t i = 0; i < nr_fds; i++)
			fds[i] = fuzz_machine_borrow_fd(&machine->base, (uint8_t)((shape >> 3) + i));
	} else {
		nr_fds = right_fds(machine, header.request, payload, fds);
	}
	return handle(machine, &header, payload, fds, nr_fds);
}

static bool tell(struct machine *machine, uint32_t request, const void *payload, uint32_t size)
{
	struct pv_vhost_header header = {.request = request, .flags = PV_VHOST_VERSION, .size = size};
	uint8_t bytes[PV_VHOST_MAX_PAYLOAD_BYTES] = {0};
	int fds[PV_VHOST_MAX_FDS];

	memcpy(bytes, payload, size);
	return handle(machine, &header, bytes, fds, right_fds(machine, request, bytes, fds));
}

/* A good start, which random messages would need long to find. Both rings use the same places. */
static bool start(struct machine *machine, uint8_t steps)
{
	struct fuzz_input none = {0};
	uint8_t payload[PV_VHOST_MAX_PAYLOAD_BYTES];
	struct pv_vhost_memory memory = {.nr_regions = 1,
					 .regions = {{.size_bytes = FUZZ_RAM_BYTES, .user_addr = USER_ADDR}}};
	uint32_t index = steps >> 7;
	struct pv_vhost_ring_state num = {.index = index, .num = FUZZ_RING_SIZE}, base = {.index = index};
	struct pv_vhost_ring_state enable = {.index = index, .num = 1};
	struct pv_vhost_ring_addr addr = {.index = index,
					  .desc = USER_ADDR + FUZZ_DESC_AT,
					  .avail = USER_ADDR + FUZZ_AVAIL_AT,
					  .used = USER_ADDR + FUZZ_USED_AT};
	uint64_t fd = index;

	if (steps & 1 && !tell(machine, PV_VHOST_SET_PROTOCOL_FEATURES, payload,
			       make_payload(machine, &none, PV_VHOST_SET_PROTOCOL_FEATURES, payload)))
		return false;
	if (steps & 2 && !tell(machine, PV_VHOST_SET_FEATURES, payload,
			       make_payload(machine, &none, PV_VHOST_SET_FEATURES, payload)))
		return false;
	if (steps & 4 && !tell(machine, PV_VHOST_SET_MEM_TABLE, &memory, 8 + sizeof(memory.regions[0])))
		return false;
	if (steps & 8 && !(tell(machine, PV_VHOST_SET_VRING_NUM, &num, sizeof(num)) &&
			   tell(machine, PV_VHOST_SET_VRING_BASE, &base, sizeof(base)) &&
			   tell(machine, PV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr))))
		return false;
	if (steps & 16 && !tell(machine, PV_VHOST_SET_VRING_KICK, &fd, sizeof(fd)))
		return false;
	if (steps & 32 && !tell(machine, PV_VHOST_SET_VRING_CALL, &fd, sizeof(fd)))
		return false;
	return !(steps & 64) || tell(machine, PV_VHOST_SET_VRING_ENABLE, &enable, sizeof(enable));
}

static bool do_next(void *user, struct fuzz_input *input)
{
	struct machine *machine = user;

	switch (fuzz_take_u8(input) % 8) {
	case 0:
		pv_notifier_raise(machine->base.event);
		return true;
	case 1:
		fuzz_machine_poke(&machine->base, input);
		return true;
	case 2:
		if (machine->asked) {
			machine->asked = false;
			pv_vhost_backend_window_mapped(&machine->backend, fuzz_take_u8(input) & 1);
		}
		return finish_ops(machine);
	case 3:
		return start(machine, fuzz_take_u8(input));
	case 4:
		fuzz_machine_submit(&machine->base, input);
		return true;
	default:
		return send_message(machine, input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.at = data, .left = size};
	struct machine machine = {0};

	open_machine(&machine, fuzz_take_u8(&input) & 1);
	fuzz_machine_loop(&machine.base, &input, do_next, &machine);
	close_machine(&machine);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * A hostile VMM without sockets and threads: the input is a list of messages, some as random as it comes, most with
 * fields that lead somewhere, which go through parser, function, device side and a real device core.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fuzz.h"
#include "base/socket.h"
#include "transport/fuzz_machine.h"
#include "transport/vfio_user/function.h"

struct machine {
	struct fuzz_machine base;
	struct pv_vfio_function function;
	uint16_t id, command;
	bool replied, wants_reply;
};

static void on_reply(void *user, const void *bytes, size_t len, int fd)
{
	struct machine *machine = user;
	struct pv_vfio_header header;

	(void)fd;
	memcpy(&header, bytes, sizeof(header));
	fuzz_check(!machine->replied && machine->wants_reply);
	fuzz_check(len == header.size && len <= PV_VFIO_MAX_REPLY_BYTES);
	fuzz_check(header.id == machine->id && header.command == machine->command);
	machine->replied = true;
}

static void on_submit(void *user, const struct pv_transport_op *op)
{
	struct machine *machine = user;

	fuzz_machine_run(&machine->base, op, FUZZ_MAX_PENDING);
}

static size_t free_ops(void *user)
{
	const struct machine *machine = user;

	return FUZZ_MAX_PENDING - machine->base.nr_done;
}

static const struct pv_vfio_function_ops ops = {.reply = on_reply, .submit = on_submit, .free_ops = free_ops};

static void open_machine(struct machine *machine, bool has_window)
{
	struct pv_vfio_function_params params = {.ops = &ops, .user = machine, .device = &machine->base.device};

	fuzz_machine_open(&machine->base, has_window);
	params.device_features = pv_gpu_features(machine->base.gpu);
	params.window_fd = pv_gpu_window_fd(machine->base.gpu);
	params.window_bytes = pv_gpu_window_bytes(machine->base.gpu);
	fuzz_check(pv_vfio_function_init(&machine->function, &params) == PV_OK);
}

/* The results come back while a multiple write goes on and submits more. */
static bool finish_ops(struct machine *machine)
{
	bool ok = true;

	while (ok && machine->base.nr_done > 0) {
		struct pv_transport_op op = machine->base.done[0];

		machine->base.nr_done--;
		memmove(machine->base.done, machine->base.done + 1,
			machine->base.nr_done * sizeof(machine->base.done[0]));
		ok = pv_vfio_function_op_done(&machine->function, &op) == PV_OK;
	}
	return ok;
}

/* False: the connection is at its end. */
static bool handle(struct machine *machine, const struct pv_vfio_header *header, const uint8_t *payload, const int *fds,
		   size_t nr_fds)
{
	size_t size = header->size - sizeof(*header);
	/* Its own allocation, so that a read past the end is seen. */
	uint8_t *exact = malloc(size ? size : 1);
	struct pv_vfio_message message;
	struct pv_vfio_fault fault;
	bool ok = true;

	fuzz_check(exact);
	memcpy(exact, payload, size);
	machine->id = header->id;
	machine->command = header->command;
	machine->replied = false;
	machine->wants_reply = !(header->flags & PV_VFIO_FLAG_NO_REPLY);
	if (pv_vfio_message_parse(header, exact, fds, nr_fds, &message, &fault) != PV_OK)
		pv_vfio_function_refuse(&machine->function, &message, &fault);
	else
		ok = pv_vfio_function_handle(&machine->function, &message) == PV_OK;
	ok = finish_ops(machine) && ok;
	free(exact);
	fuzz_check(!ok || !pv_vfio_function_is_waiting(&machine->function));
	fuzz_check(!ok || machine->replied == machine->wants_reply);
	for (uint32_t doorbells = pv_vfio_function_take_doorbells(&machine->function), i = 0; doorbells; i++) {
		if (doorbells >> i & 1)
			pv_transport_device_ring(&machine->base.device, i);
		doorbells &= ~(1u << i);
	}
	return ok;
}

static void add(uint8_t *payload, uint32_t *size, const void *bytes, size_t len)
{
	memcpy(payload + *size, bytes, len);
	*size += (uint32_t)len;
}

static struct pv_vfio_region_access take_access(struct fuzz_input *input)
{
	static const uint32_t regions[] = {0, 0, 0, 7, 7, 2, 1, 8};
	uint32_t region = regions[fuzz_take_u8(input) & 7], offset = fuzz_take_u8(input);

	/* The common structure, the start of each other part, and all of the header and capabilities. */
	if (region == 0 && offset >= 0x80)
		offset = (offset & 7) << 12 | (offset >> 1 & 0x3c);
	return (struct pv_vfio_region_access){
	    .region = region, .offset = offset, .count = 1u << (fuzz_take_u8(input) & 3)};
}

/* The right size, and fields that lead somewhere. Returns the size. */
static uint32_t make_payload(struct fuzz_input *input, uint32_t command, uint8_t *payload)
{
	uint8_t a = fuzz_take_u8(input), b = fuzz_take_u8(input);
	struct pv_vfio_dma_map map = {.argsz = sizeof(map),
				      .flags = 1 + (a >> 7) * 2,
				      .offset = (b & 3) * 0x4000ULL,
				      .guest_addr = (a & 7) * 0x4000ULL,
				      .size_bytes = (1 + (b >> 4)) * 0x4000ULL};
	struct pv_vfio_dma_unmap unmap = {
	    .argsz = sizeof(unmap), .guest_addr = map.guest_addr, .size_bytes = map.size_bytes};
	struct pv_vfio_device_info info = {.argsz = 16};
	struct pv_vfio_region_info region_info = {.argsz = sizeof(region_info), .index = a % 10};
	struct pv_vfio_irq_info irq_info = {.argsz = sizeof(irq_info), .index = a % 6};
	struct pv_vfio_irq_set set = {
	    .argsz = sizeof(set), .flags = b & 0x3f, .index = a & 7, .start = a >> 3 & 3, .count = a >> 5 & 3};
	struct pv_vfio_region_access access;
	uint64_t n = a & 7;
	uint8_t bytes[8];
	uint32_t size = 0;

	switch (command) {
	case PV_VFIO_VERSION:
		memcpy(payload, "\0\0\0\0{}", 7);
		return 7;
	case PV_VFIO_DMA_MAP:
		add(payload, &size, &map, sizeof(map));
		break;
	case PV_VFIO_DMA_UNMAP:
		if (b == 0)
			unmap = (struct pv_vfio_dma_unmap){.argsz = sizeof(unmap), .flags = PV_VFIO_UNMAP_ALL};
		add(payload, &size, &unmap, sizeof(unmap));
		break;
	case PV_VFIO_GET_INFO:
		add(payload, &size, &info, a & 1 ? 16 : 20);
		break;
	case PV_VFIO_GET_REGION_INFO:
		add(payload, &size, &region_info, sizeof(region_info));
		break;
	case PV_VFIO_GET_IRQ_INFO:
		add(payload, &size, &irq_info, sizeof(irq_info));
		break;
	case PV_VFIO_SET_IRQS:
		add(payload, &size, &set, sizeof(set));
		fuzz_take(input, bytes, sizeof(bytes));
		if (set.flags & PV_VFIO_SET_DATA_BOOL)
			add(payload, &size, bytes, set.count);
		break;
	case PV_VFIO_REGION_READ:
	case PV_VFIO_REGION_WRITE:
		access = take_access(input);
		add(payload, &size, &access, sizeof(access));
		fuzz_take(input, bytes, access.count);
		if (command == PV_VFIO_REGION_WRITE)
			add(payload, &size, bytes, access.count);
		break;
	case PV_VFIO_REGION_WRITE_MULTI:
		add(payload, &size, &n, sizeof(n));
		for (uint64_t i = 0; i < n; i++) {
			access = take_access(input);
			add(payload, &size, &access, sizeof(access));
			fuzz_take(input, bytes, sizeof(bytes));
			add(payload, &size, bytes, sizeof(bytes));
		}
		break;
	default:
		break;
	}
	return size;
}

static size_t right_fds(struct machine *machine, uint32_t command, const uint8_t *payload, int *fds)
{
	struct pv_vfio_irq_set set;

	if (command == PV_VFIO_DMA_MAP) {
		fds[0] = fuzz_machine_borrow_fd(&machine->base, 0);
		return 1;
	}
	if (command != PV_VFIO_SET_IRQS)
		return 0;
	memcpy(&set, payload, sizeof(set));
	if (!(set.flags & PV_VFIO_SET_DATA_EVENTFD))
		return 0;
	for (uint32_t i = 0; i < set.count; i++)
		fds[i] = fuzz_machine_borrow_fd(&machine->base, 1);
	return set.count;
}

static bool send_message(struct machine *machine, struct fuzz_input *input)
{
	uint8_t wanted = fuzz_take_u8(input), shape = fuzz_take_u8(input);
	struct pv_vfio_header header = {.id = wanted,
					.command = wanted % (PV_VFIO_COMMAND_LIMIT + 1),
					.flags = shape & 1 ? PV_VFIO_FLAG_NO_REPLY : 0};
	static uint8_t payload[PV_VFIO_MAX_PAYLOAD_BYTES];
	struct pv_vfio_fault fault;
	int fds[PV_VFIO_MAX_FDS];
	size_t nr_fds = (shape >> 1) & 3, payload_bytes = 0;

	if (shape & 0x80) {
		fuzz_take(input, &header, sizeof(header));
		if (pv_vfio_header_check(&header, &payload_bytes, &fault) != PV_OK)
			return false;
		fuzz_take(input, payload, payload_bytes);
	} else {
		payload_bytes = make_payload(input, header.command, payload);
		header.size = (uint32_t)(sizeof(header) + payload_bytes);
		fuzz_check(pv_vfio_header_check(&header, &payload_bytes, &fault) == PV_OK);
	}
	if (shape & 0xc0) {
		for (size_t i = 0; i < nr_fds; i++)
			fds[i] = fuzz_machine_borrow_fd(&machine->base, (uint8_t)((shape >> 3) + i));
	} else {
		nr_fds = right_fds(machine, header.command, payload, fds);
	}
	return handle(machine, &header, payload, fds, nr_fds);
}

static bool tell(struct machine *machine, uint16_t command, const void *bytes, size_t size)
{
	struct pv_vfio_header header = {.command = command, .size = (uint32_t)(sizeof(header) + size)};
	int fds[PV_VFIO_MAX_FDS];

	return handle(machine, &header, bytes, fds, right_fds(machine, command, bytes, fds));
}

static bool write_register(struct machine *machine, uint64_t offset, uint64_t value, uint32_t len)
{
	struct pv_vfio_region_access access = {.region = 0, .offset = offset, .count = len};
	uint8_t bytes[sizeof(access) + sizeof(value)];

	memcpy(bytes, &access, sizeof(access));
	memcpy(bytes + sizeof(access), &value, sizeof(value));
	return tell(machine, PV_VFIO_REGION_WRITE, bytes, sizeof(access) + len);
}

/* A good start, which random messages would need long to find. Both rings use the same places. */
static bool start(struct machine *machine, uint8_t steps)
{
	struct pv_vfio_dma_map map = {.argsz = sizeof(map), .flags = 3, .size_bytes = FUZZ_RAM_BYTES};
	struct pv_vfio_irq_set set = {.argsz = sizeof(set), .flags = 0x24, .index = 2, .count = 3};
	bool ok = true;

	if (steps & 1)
		ok = ok && tell(machine, PV_VFIO_VERSION, "\0\0\0\0{}", 7);
	if (steps & 2)
		ok = ok && tell(machine, PV_VFIO_DMA_MAP, &map, sizeof(map));
	if (steps & 4)
		ok = ok && tell(machine, PV_VFIO_SET_IRQS, &set, sizeof(set));
	if (steps & 8)
		ok = ok && write_register(machine, 8, 0, 4) && write_register(machine, 12, 1u << 3 | 1u << 28, 4) &&
		     write_register(machine, 8, 1, 4) && write_register(machine, 12, 1, 4) &&
		     write_register(machine, 20, 11, 1);
	if (steps & 16)
		ok = ok && write_register(machine, 22, steps >> 7, 2) &&
		     write_register(machine, 24, FUZZ_RING_SIZE, 2) && write_register(machine, 26, 1, 2) &&
		     write_register(machine, 32, FUZZ_DESC_AT, 8) && write_register(machine, 40, FUZZ_AVAIL_AT, 8) &&
		     write_register(machine, 48, FUZZ_USED_AT, 8) && write_register(machine, 28, 1, 2);
	if (steps & 32)
		ok = ok && write_register(machine, 20, 15, 1);
	if (steps & 64)
		ok = ok && write_register(machine, 0x3000 + 4 * (steps >> 7), 0, 2);
	return ok;
}

static bool do_next(void *user, struct fuzz_input *input)
{
	struct machine *machine = user;

	switch (fuzz_take_u8(input) % 8) {
	case 0:
		return start(machine, fuzz_take_u8(input));
	case 1:
		fuzz_machine_poke(&machine->base, input);
		return true;
	case 2:
		fuzz_machine_submit(&machine->base, input);
		return write_register(machine, 0x3000 + 4 * (fuzz_take_u8(input) & 1), 0, 2);
	default:
		return send_message(machine, input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.at = data, .left = size};
	static struct machine machine;

	memset(&machine, 0, sizeof(machine));
	open_machine(&machine, fuzz_take_u8(&input) & 1);
	fuzz_machine_loop(&machine.base, &input, do_next, &machine);
	pv_vfio_function_finish(&machine.function);
	fuzz_machine_close(&machine.base);
	return 0;
}

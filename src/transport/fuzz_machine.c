/* SPDX-License-Identifier: MIT */
#include "transport/fuzz_machine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "base/socket.h"
#include "render2d/render2d.h"

#define MAX_STEPS 200

uint8_t fuzz_take_u8(struct fuzz_input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->at++;
}

void fuzz_take(struct fuzz_input *input, void *out, size_t len)
{
	size_t n = len < input->left ? len : input->left;

	memset(out, 0, len);
	if (n > 0)
		memcpy(out, input->at, n);
	input->at += n;
	input->left -= n;
}

void fuzz_check(bool condition)
{
	if (!condition)
		abort();
}

static void ignore(void *user)
{
	(void)user;
}

void fuzz_machine_open(struct fuzz_machine *machine, bool has_window)
{
	struct pv_gpu_params gpu_params = {.nr_outputs = 1,
					   .outputs = {{.enabled = true, .width = 64, .height = 64}},
					   .max_host_bytes = 1 << 20,
					   .window_bytes = has_window ? FUZZ_WINDOW_BYTES : 0};
	struct pv_transport_device_params device_params = {.config_changed = ignore, .memory_lost = ignore};
	int fds[2];

	fuzz_check(pv_loop_create(&machine->loop) == PV_OK);
	fuzz_check(pv_render2d_create(&gpu_params.take_renderer) == PV_OK);
	gpu_params.loop = machine->loop;
	fuzz_check(pv_gpu_create(&gpu_params, &machine->gpu) == PV_OK);
	device_params.gpu = machine->gpu;
	device_params.loop = machine->loop;
	pv_transport_device_init(&machine->device, &device_params);
	fuzz_check(pv_shm_create("ram", FUZZ_RAM_BYTES, &machine->ram) == PV_OK);
	fuzz_check(pv_notifier_create(fds) == PV_OK);
	machine->event = fds[0];
	if (fds[1] != fds[0])
		close(fds[1]);
	fuzz_check(pv_socket_pair(machine->pair) == PV_OK);
	machine->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	fuzz_check(machine->null >= 0);
}

void fuzz_machine_close(struct fuzz_machine *machine)
{
	pv_transport_device_finish(&machine->device);
	/* Doorbells that are posted still run. */
	pv_loop_step(machine->loop, 0);
	pv_gpu_destroy(machine->gpu);
	pv_loop_destroy(machine->loop);
	pv_fd_close(&machine->ram);
	pv_fd_close(&machine->event);
	pv_fd_close(&machine->pair[0]);
	pv_fd_close(&machine->pair[1]);
	pv_fd_close(&machine->null);
}

void fuzz_machine_run(struct fuzz_machine *machine, const struct pv_transport_op *op, size_t max_ops)
{
	fuzz_check(machine->nr_done < max_ops && machine->nr_done < FUZZ_MAX_PENDING);
	machine->done[machine->nr_done] = *op;
	pv_transport_device_run(&machine->device, &machine->done[machine->nr_done++]);
}

int fuzz_machine_borrow_fd(struct fuzz_machine *machine, uint8_t kind)
{
	const int fds[] = {machine->ram,     machine->event, pv_gpu_window_fd(machine->gpu),
			   machine->pair[0], machine->null,  machine->ram};
	int fd = fds[kind % PV_ARRAY_LEN(fds)];

	return dup(fd >= 0 ? fd : machine->null);
}

static void put(struct fuzz_machine *machine, off_t at, const void *bytes, size_t len)
{
	fuzz_check(pwrite(machine->ram, bytes, len, at) == (ssize_t)len);
}

void fuzz_machine_submit(struct fuzz_machine *machine, struct fuzz_input *input)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} chain[2] = {{0x4000, 64, 1, 1}, {0x5000, 512, 2, 0}};
	uint8_t command[64];
	uint16_t index;

	fuzz_take(input, command, sizeof(command));
	command[1] = command[1] & 3; /* 0x0100 and 0x0300 are where the commands are */
	put(machine, 0x4000, command, sizeof(command));
	put(machine, FUZZ_DESC_AT, chain, sizeof(chain));
	fuzz_check(pread(machine->ram, &index, sizeof(index), FUZZ_AVAIL_AT + 2) == sizeof(index));
	put(machine, FUZZ_AVAIL_AT + 4 + index % FUZZ_RING_SIZE * 2, &(uint16_t){0}, 2);
	index++;
	put(machine, FUZZ_AVAIL_AT + 2, &index, sizeof(index));
	pv_notifier_raise(machine->event);
}

void fuzz_machine_poke(struct fuzz_machine *machine, struct fuzz_input *input)
{
	uint8_t bytes[16];
	off_t at = (off_t)fuzz_take_u8(input) * 0x400;

	at += (off_t)(fuzz_take_u8(input) % 32) * 4;
	fuzz_take(input, bytes, sizeof(bytes));
	put(machine, at, bytes, sizeof(bytes));
}

void fuzz_machine_loop(struct fuzz_machine *machine, struct fuzz_input *input,
		       bool (*next)(void *user, struct fuzz_input *input), void *user)
{
	pv_log_set_sink(drop_line, NULL);
	for (int i = 0; i < MAX_STEPS && input->left > 0 && next(user, input); i++)
		pv_loop_step(machine->loop, 0);
}

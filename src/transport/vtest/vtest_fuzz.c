/* SPDX-License-Identifier: MIT */
/*
 * Two hostile clients over socket pairs, and a renderer whose answers are late, wrong or missing. The input is a list
 * of steps after a byte that says whether there is OpenGL; see step().
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "base/socket.h"
#include "transport/vtest/fake_renderer.h"
#include "transport/vtest/protocol.h"
#include "transport/vtest/vtest.h"

#define NR_CLIENTS 2
#define MAX_STEPS  400
#define MAX_WORDS  64
#define TURNS      4

struct world {
	struct pv_loop *loop;
	struct fake_renderer *renderer;
	struct pv_vtest *vtest;
	int fds[NR_CLIENTS]; /* -1: has left */
	bool reads[NR_CLIENTS];
};

static void connect_client(struct world *world, size_t which)
{
	int pair[2];

	check(pv_socket_pair(pair) == PV_OK && pv_fd_set_nonblocking(pair[0], true) == PV_OK);
	world->fds[which] = pair[0];
	world->reads[which] = true;
	check(pv_vtest_add_client(world->vtest, pair[1]) == PV_OK);
}

static void send_bytes(const struct world *world, size_t which, const void *bytes, size_t len, int fd)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	size_t sent;

	/* What does not fit, or finds nobody, is lost. */
	if (world->fds[which] >= 0 && len > 0)
		(void)!pv_socket_send(world->fds[which], &iov, 1, &fd, fd >= 0 ? 1 : 0, &sent);
}

/* Most values that mean something are small; 0xff has four bytes of its own behind it. */
static uint32_t take_word(struct input *input)
{
	uint32_t value = byte(input);

	if (value != 0xff)
		return value;
	value = 0;
	for (int i = 0; i < 4; i++)
		value = value << 8 | byte(input);
	return value;
}

/* A message whose length is right, or off by what the input says. */
static void send_message(struct world *world, size_t which, struct input *input)
{
	uint32_t words[2 + MAX_WORDS], command = byte(input) % 42, nr_words = byte(input) % MAX_WORDS;
	uint32_t length = nr_words + (nr_words == MAX_WORDS - 1 ? take_word(input) : 0);

	words[0] = command == PV_VTEST_CREATE_RENDERER ? 4 * length : length;
	words[1] = command;
	for (uint32_t i = 0; i < nr_words; i++)
		words[2 + i] = take_word(input);
	send_bytes(world, which, words, 4 * (2 + (size_t)nr_words), -1);
}

static void send_raw(struct world *world, size_t which, struct input *input)
{
	uint8_t bytes[64];
	size_t len = byte(input) % sizeof(bytes);

	for (size_t i = 0; i < len; i++)
		bytes[i] = byte(input);
	send_bytes(world, which, bytes, len, -1);
}

/* What a driver does up to its context. */
static void introduce(struct world *world, size_t which)
{
	static const uint32_t words[] = {4, PV_VTEST_CREATE_RENDERER,  0x007a7566, /* "fuz" */
					 1, PV_VTEST_PROTOCOL_VERSION, 4,
					 1, PV_VTEST_CONTEXT_INIT,     FAKE_CAPSET};

	send_bytes(world, which, words, sizeof(words), -1);
}

/* OpenGL's version of the protocol, and a texture. */
static void introduce_opengl(struct world *world, size_t which)
{
	static const uint32_t words[] = {4,
					 PV_VTEST_CREATE_RENDERER,
					 0x007a7566,
					 1,
					 PV_VTEST_PROTOCOL_VERSION,
					 2,
					 11,
					 PV_VTEST_RESOURCE_CREATE2,
					 1,
					 2,
					 1,
					 2,
					 16,
					 16,
					 1,
					 1,
					 0,
					 0,
					 1024,
					 2,
					 PV_VTEST_SUBMIT_CMD,
					 5,
					 6};

	send_bytes(world, which, words, sizeof(words), -1);
}

static void send_fd(struct world *world, size_t which)
{
	int fds[2];

	if (pv_notifier_create(fds) != PV_OK)
		return;
	send_bytes(world, which, "x", 1, fds[0]);
	if (fds[1] != fds[0])
		pv_fd_close(&fds[1]);
	pv_fd_close(&fds[0]);
}

static void read_replies(struct world *world, size_t which)
{
	uint8_t bytes[4096];
	int fds[PV_SOCKET_MAX_FDS];
	size_t nr_fds, got;

	while (world->fds[which] >= 0) {
		nr_fds = PV_SOCKET_MAX_FDS;
		enum pv_status status = pv_socket_recv(world->fds[which], bytes, sizeof(bytes), &got, fds, &nr_fds);

		if (status == PV_PENDING)
			return;
		for (size_t i = 0; status == PV_OK && i < nr_fds; i++)
			pv_fd_close(&fds[i]);
		if (status != PV_OK || got == 0)
			pv_fd_close(&world->fds[which]);
	}
}

static void set_mood(struct world *world, uint8_t mood)
{
	static const enum pv_status results[] = {PV_OK, PV_OK, PV_ERR_GUEST, PV_ERR_NO_MEMORY};
	static const enum pv_status exports[] = {PV_OK, PV_OK, PV_ERR_UNSUPPORTED, PV_ERR_HOST};

	world->renderer->late = mood & 1;
	world->renderer->late_fences = mood & 2;
	world->renderer->result = results[mood >> 2 & 3];
	world->renderer->export_result = exports[mood >> 4 & 3];
}

static void step(struct world *world, struct input *input)
{
	uint8_t what = byte(input);
	size_t which = what >> 7;
	struct fake_renderer *renderer = world->renderer;

	switch (what % 16) {
	case 0:
		pv_fd_close(&world->fds[which]);
		break;
	case 1:
		if (world->fds[which] < 0)
			connect_client(world, which);
		break;
	case 2:
		send_raw(world, which, input);
		break;
	case 3:
		introduce(world, which);
		break;
	case 4:
		send_fd(world, which);
		break;
	case 5:
		set_mood(world, byte(input));
		break;
	case 6:
		if (renderer->nr_ops > 0)
			fake_renderer_answer(renderer, byte(input) % renderer->nr_ops,
					     byte(input) & 3 ? PV_OK : PV_ERR_GUEST);
		break;
	case 7:
		if (renderer->nr_fences > 0)
			fake_renderer_signal(renderer, byte(input) % renderer->nr_fences);
		break;
	case 15:
		introduce_opengl(world, which);
		break;
	case 8:
		world->reads[which] = !world->reads[which];
		break;
	default:
		send_message(world, which, input);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fake_renderer renderer;
	struct input input = {data, size};
	struct world world = {.renderer = &renderer};
	struct pv_vtest_params params = {
	    .renderer = &renderer.base, .take_listen_fd = -1, .max_client_fds = 8, .max_client_bytes = 1u << 20};

	pv_log_set_sink(drop_line, NULL);
	if (byte(&input) & 1)
		fake_renderer_init_opengl(&renderer);
	else
		fake_renderer_init(&renderer);
	check(pv_loop_create(&world.loop) == PV_OK);
	params.loop = world.loop;
	check(pv_vtest_create(&params, &world.vtest) == PV_OK);
	for (size_t i = 0; i < NR_CLIENTS; i++)
		connect_client(&world, i);
	for (int i = 0; i < MAX_STEPS && input.len > 0; i++) {
		step(&world, &input);
		for (int turn = 0; turn < TURNS; turn++)
			pv_loop_step(world.loop, 0);
		for (size_t which = 0; which < NR_CLIENTS; which++) {
			if (world.reads[which])
				read_replies(&world, which);
		}
	}
	/* Half of the clients leave before the server does. */
	pv_fd_close(&world.fds[0]);
	pv_loop_step(world.loop, 0);
	pv_vtest_destroy(world.vtest);
	pv_fd_close(&world.fds[1]);
	fake_renderer_finish(&renderer);
	pv_loop_destroy(world.loop);
	return 0;
}

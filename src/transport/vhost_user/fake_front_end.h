/* SPDX-License-Identifier: MIT */
/* For tests: a guest whose VMM speaks vhost-user. What a test gets wrong ends the program with a line that says where.
 */
#ifndef PV_TRANSPORT_VHOST_USER_FAKE_FRONT_END_H
#define PV_TRANSPORT_VHOST_USER_FAKE_FRONT_END_H

#include "transport/fake_guest.h"
#include "transport/vhost_user/protocol.h"
#include "transport/vhost_user/vhost_user.h"

#define FE_USER_ADDR    0x7f0000000000ULL
#define FE_WINDOW_BYTES (64ULL << 20)
/* Of what QEMU acknowledges. */
#define FE_ALL_PROTOCOL_FEATURES UINT64_MAX

struct fe {
	struct fg guest;
	struct pv_vhost_user *transport;
	int console_fd; /* what the device was given; owned by the rig unless a display took it */
	_Atomic int consoles;
	_Atomic int closed; /* -1, or the status */

	/* The front end. */
	int sock, back; /* `back`: our end of the back channel, -1 without one */
	int window_fd;  /* borrowed; -1, or fe_add_ram() shows it as one more region */
	uint64_t protocol_features;
};

struct fe_params {
	uint64_t window_bytes;
	/* Device thread; NULL: the fd is kept in console_fd. */
	void (*console)(void *user, int take_fd);
};

/* A device with its thread, and a connection on which nothing has been said. */
void fe_open(struct fe *fe, const struct fe_params *params);
/* Ends everything. */
void fe_close(struct fe *fe);
/* fe_close()'s first half: what fe_open() had the front end own. */
void fe_hang_up(struct fe *fe);

/* Sends one message. */
void fe_send(struct fe *fe, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds,
	     size_t nr_fds);
/* Sends raw bytes. False if the device has hung up. */
bool fe_send_bytes(struct fe *fe, const void *bytes, size_t len, const int *fds, size_t nr_fds);
/* Waits for a reply to `request` with exactly `size` bytes. */
void fe_expect(struct fe *fe, uint32_t request, void *payload, uint32_t size);
/* Waits until the device hangs up, and returns the status that it closed with. */
enum pv_status fe_expect_closed(struct fe *fe);

uint64_t fe_ask_u64(struct fe *fe, uint32_t request);
/* Sends with need_reply where that was agreed on, and returns the answer (0 without). */
uint64_t fe_tell(struct fe *fe, uint32_t request, const void *payload, uint32_t size, int fd);
uint64_t fe_tell_u64(struct fe *fe, uint32_t request, uint64_t value, int fd);
uint64_t fe_tell_ring(struct fe *fe, uint32_t request, uint32_t index, uint32_t num);

/* QEMU's realize: negotiation of what both have of `protocol_features`, back channel, call fds. */
void fe_realize(struct fe *fe, uint64_t protocol_features);
/* QEMU's start of the device: features, memory, rings at `base`. */
void fe_start(struct fe *fe);
void fe_set_features(struct fe *fe);
void fe_add_ram(struct fe *fe);
uint64_t fe_remove_ram(struct fe *fe);
void fe_set_up_ring(struct fe *fe, uint32_t index);
/* GET_VRING_BASE. */
uint16_t fe_stop_ring(struct fe *fe, uint32_t index);
void fe_stop(struct fe *fe);
/* The back channel: waits for a request and returns it; *fd is -1 when none came. */
struct pv_vhost_header fe_expect_back(struct fe *fe, void *payload, uint32_t size, int *fd);
void fe_answer_back(struct fe *fe, uint32_t request, uint64_t value);

#endif

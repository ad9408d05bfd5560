/* SPDX-License-Identifier: MIT */
/*
 * One vhost-user request: from bytes and fds to a checked struct. Nothing here knows the connection's state, so
 * whatever passes may still be refused by the back end.
 */
#ifndef PV_TRANSPORT_VHOST_USER_MESSAGE_H
#define PV_TRANSPORT_VHOST_USER_MESSAGE_H

#include "base/base.h"
#include "transport/vhost_user/protocol.h"

#define PV_VHOST_MAX_FDS           PV_VHOST_MAX_TABLE_REGIONS
#define PV_VHOST_MAX_PAYLOAD_BYTES sizeof(struct pv_vhost_config)
/* The largest ring the wire can mean (virtio 1.3, 2.7); whether ours takes it is the back end's business. */
#define PV_VHOST_MAX_RING_SIZE 32768

/* What is wrong with a message, in words: "size 12: must be 8". */
struct pv_vhost_fault {
	char text[160];
};

struct pv_vhost_message {
	uint32_t request; /* a known one */
	bool need_reply;
	/* Exactly as many as the request demands; the holder closes them or moves them out (leaving -1). */
	int fds[PV_VHOST_MAX_FDS];
	size_t nr_fds;
	union {
		uint64_t value;                  /* feature sets, SET_STATUS */
		struct pv_vhost_ring_state ring; /* SET_VRING_NUM, _BASE, _ENABLE, GET_VRING_BASE, _KICK, _CALL, _ERR */
		struct pv_vhost_ring_addr addr;
		struct pv_vhost_memory memory;
		struct pv_vhost_region region; /* ADD_MEM_REG, REM_MEM_REG */
		struct pv_vhost_config config; /* offset + size <= PV_VHOST_MAX_CONFIG_BYTES */
	};
};

/* "SET_VRING_NUM"; for an unknown request "request". Static storage. */
const char *pv_vhost_request_name(uint32_t request);
/* The protocol features that must have been agreed on for this request. 0: none. */
uint64_t pv_vhost_request_needs(uint32_t request);

/* To be called as soon as the header is there: PV_OK means that header->size bytes of payload are worth waiting for and
 * are at most PV_VHOST_MAX_PAYLOAD_BYTES. PV_ERR_PEER: `fault` says why not. */
PV_MUST_USE enum pv_status pv_vhost_header_check(const struct pv_vhost_header *header, struct pv_vhost_fault *fault);

/*
 * `header` has passed pv_vhost_header_check(); `payload` has header->size bytes. Queue indexes are below `nr_queues`
 * afterwards. The fds become the message's, whatever the result; with PV_ERR_PEER they are closed.
 */
PV_MUST_USE enum pv_status pv_vhost_message_parse(const struct pv_vhost_header *header, const void *payload,
						  const int *take_fds, size_t nr_fds, uint32_t nr_queues,
						  struct pv_vhost_message *message, struct pv_vhost_fault *fault);

/* Takes the first fd out of the message. */
int pv_vhost_message_take_fd(struct pv_vhost_message *message);
/* Closes what fds are left. Takes {0}. */
void pv_vhost_message_finish(struct pv_vhost_message *message);

#endif

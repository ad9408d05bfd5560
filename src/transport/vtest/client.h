/* SPDX-License-Identifier: MIT */
/*
 * One vtest client: its socket, its context, what it owns. Inside of the transport; all on the loop's thread.
 *
 * A client's messages are worked off strictly one after the other. None is begun while one waits for the renderer, for
 * a fence, or for the client to take a reply: so what a client can make us keep is one message, one reply and what the
 * caps below allow, and nobody but itself waits for it.
 */
#ifndef PV_TRANSPORT_VTEST_CLIENT_H
#define PV_TRANSPORT_VTEST_CLIENT_H

#include "base/log.h"
#include "transport/vtest/protocol.h"
#include "transport/vtest/sync.h"
#include "transport/vtest/vtest.h"

/* Timelines of a context: what GET_PARAM says, and the first ring_idx that is refused. */
#define PV_VTEST_MAX_TIMELINES   64u
#define PV_VTEST_MAX_FENCES      1024u
#define PV_VTEST_MAX_BATCH_SYNCS 1024u
#define PV_VTEST_MAX_FDS         16u
/* Of one SYNC_WAIT. */
#define PV_VTEST_MAX_WAIT_TARGETS PV_VTEST_MAX_WAIT_ENTRIES
#define PV_VTEST_MAX_NAME_BYTES   64

struct pv_vtest_client;

struct pv_vtest_message {
	const struct pv_vtest_handler *handler;
	const uint8_t *payload; /* need not be aligned */
	size_t len_bytes;
};

/* The command table: what a message of a command looks like and what it does. */
struct pv_vtest_handler {
	uint32_t command;
	const char *name;
	uint32_t min_words, max_words;
	bool in_bytes;      /* the header's length counts bytes; so do the limits */
	bool longer_header; /* whatever more words the header says do not come */
	bool needs_context; /* only after CONTEXT_INIT */
	uint32_t since;     /* version of the protocol that must have been agreed on */
	/*
	 * PV_PENDING: called again, with `client->step` as it left it and the renderer's answer in `op_status`, once
	 * what it waits for has happened. Another error ends the connection; it has been logged.
	 */
	enum pv_status (*run)(struct pv_vtest_client *client, const struct pv_vtest_message *message);
};

/* NULL: there is no such command. */
const struct pv_vtest_handler *pv_vtest_find_handler(uint32_t command);

/* What the renderer was asked to signal, in the order of the submits. */
struct pv_vtest_fence {
	struct pv_vtest_fence *next;
	uint32_t seqno, ring_idx;
	int raise_fd; /* of an OUT_FENCE_FD; -1: none */
	uint32_t nr_points;
	struct pv_vtest_point {
		struct pv_vtest_sync *sync; /* a reference */
		uint64_t value;
	} points[];
};

struct pv_vtest_resource {
	uint32_t id;
	struct pv_vtest_client *client;
	struct pv_vtest_resource *prev, *next; /* of the client's */
	uint64_t size_bytes;
	/* The renderer has not made it, or not yet: only the id exists. */
	bool dead;
};

/* A descriptor to be sent: with the byte of the output at `position`. */
struct pv_vtest_out_fd {
	size_t position;
	int fd;
	bool owned;
};

struct pv_vtest_client {
	struct pv_vtest *vtest;
	struct pv_vtest_client *prev, *next;
	uint32_t number; /* also the id of its context */
	char name[PV_VTEST_MAX_NAME_BYTES];

	/* ---- The connection ---- */
	int fd;
	struct pv_loop_fd *watch;
	struct pv_loop_task task; /* goes on with what is in `in` */
	bool task_posted;
	uint8_t *in;
	size_t in_start, in_end, in_size;
	int fds[PV_VTEST_MAX_FDS]; /* received, not yet asked for */
	size_t nr_fds;
	uint8_t *out;
	size_t out_sent, out_len, out_size;
	struct pv_vtest_out_fd *out_fds;
	size_t out_fds_sent, nr_out_fds, out_fds_size;

	/* ---- The message in hand ---- */
	uint32_t step; /* 0: it has not begun */
	bool waiting;
	uint32_t op_seqno;
	enum pv_status op_status;
	struct pv_vtest_resource *resource; /* being created */
	struct pv_loop_fd *in_fence_watch;
	int in_fence_fd;

	/* ---- The protocol's state ---- */
	bool has_name; /* CREATE_RENDERER was the first message */
	uint32_t version;
	bool has_context;  /* CONTEXT_INIT came */
	bool context_made; /* the renderer knows it, or is being told */
	bool lost;         /* it cannot be used */
	/* OpenGL: commands came that no fence follows; the message in hand goes on when no fence is left. */
	bool has_unfenced, waits_for_fences;
	struct pv_vtest_syncs syncs;
	struct pv_vtest_resource *resources;
	struct pv_vtest_fence *fences, **last_fence;
	uint32_t next_fence_seqno, nr_fences, nr_out_fences;
	uint64_t nr_resources, resource_bytes;
	uint64_t commands, submits, submitted_bytes;
};

struct pv_vtest {
	struct pv_vtest_params params;
	struct pv_renderer *renderer;
	int listen_fd;
	struct pv_loop_fd *listen_watch;
	struct pv_loop_timer *accept_timer, *wait_timer;
	uint64_t wait_timer_ns; /* UINT64_MAX: not armed */
	/* Neither mapped nor read: what is sent in place of a blob that cannot be had. */
	int null_fd;

	struct pv_id_map clients; /* by number */
	struct pv_vtest_client *first_client, *last_client;
	uint32_t next_number;
	struct pv_id_map resources; /* of all clients: ids are unique in the renderer */
	uint32_t next_resource_id;
	struct pv_vtest_stats stats;
	struct pv_log_limit fault_limit;
};

/* ---- For the commands ---- */

/* Says what is wrong with the client's message; returns PV_ERR_PEER. */
enum pv_status pv_vtest_client_fault(struct pv_vtest_client *client, const char *command, const char *fmt, ...)
    PV_PRINTF(3, 4);
/* Adds to the reply. */
PV_MUST_USE enum pv_status pv_vtest_client_reply(struct pv_vtest_client *client, uint32_t command,
						 const uint32_t *words, size_t nr_words);
/* Room for `len` bytes of a reply; NULL: no memory. Valid until the next addition. */
uint8_t *pv_vtest_client_reserve(struct pv_vtest_client *client, size_t len);
/* A byte with `fd`, which is consumed if `owned`, even on failure. */
PV_MUST_USE enum pv_status pv_vtest_client_send_fd(struct pv_vtest_client *client, int fd, bool owned);
/* The oldest descriptor that came and was not taken, the caller's now; -1: there is none. */
int pv_vtest_client_take_fd(struct pv_vtest_client *client);
/* Another descriptor may be kept for this client. */
bool pv_vtest_client_may_have_fd(const struct pv_vtest_client *client);

/* An id for an answer of the renderer, and back. */
uint64_t pv_vtest_client_op_id(struct pv_vtest_client *client);
static inline uint64_t pv_vtest_id(const struct pv_vtest_client *client, uint32_t seqno)
{
	return (uint64_t)client->number << 32 | seqno;
}

/* The message in hand goes on: soon, not at once. */
void pv_vtest_client_wake(struct pv_vtest_client *client);

/* ---- For the server ---- */

PV_MUST_USE enum pv_status pv_vtest_client_create(struct pv_vtest *vtest, int take_fd, uint32_t number,
						  struct pv_vtest_client **out);
/* Gives back all it has, in the renderer too. */
void pv_vtest_client_destroy(struct pv_vtest_client *client);
/* The renderer's answer to the message in hand; one to an earlier question is ignored. */
void pv_vtest_client_op_done(struct pv_vtest_client *client, uint32_t seqno, enum pv_status status);
void pv_vtest_client_fence_signalled(struct pv_vtest_client *client, uint32_t seqno);
/* Descriptors kept for it: its own and those that the renderer keeps for its blobs. */
uint64_t pv_vtest_client_nr_fds(const struct pv_vtest_client *client);

/* ---- Of the server, for its clients ---- */

void pv_vtest_forget_client(struct pv_vtest *vtest, struct pv_vtest_client *client);
/* `id` 0: any, else one that is not taken. NULL: no memory. */
struct pv_vtest_resource *pv_vtest_resource_add(struct pv_vtest_client *client, uint32_t id, uint64_t size_bytes);
/* Forgets it; the renderer's is destroyed unless it is dead. */
void pv_vtest_resource_remove(struct pv_vtest_resource *resource);
/* A wait of some client ends then. */
void pv_vtest_arm_wait_timer(struct pv_vtest *vtest, uint64_t deadline_ns);
#endif

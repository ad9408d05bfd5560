/* SPDX-License-Identifier: MIT */
/* Between client.c, a worker's life and what it says, and client_ops.c, what it is told. Device thread. */
#ifndef PV_WORKER_CLIENT_INTERNAL_H
#define PV_WORKER_CLIENT_INTERNAL_H

#include "base/id_map.h"
#include "worker/channel.h"
#include "worker/client.h"
#include "worker/pending.h"

#define PV_WORKER_MAX_WORDS 8 /* of a resource */

enum pv_worker_state {
	PV_WORKER_DOWN,     /* there is no worker; the timer may be running */
	PV_WORKER_STARTING, /* what is sent waits in the socket */
	PV_WORKER_UP,
	PV_WORKER_DYING, /* its end is not known yet */
};

struct pv_worker_context {
	uint32_t id, epoch;
	/*
	 * How often something was asked of it, and how much of that a fence of its own timeline (ring 0) is known to
	 * have followed: if all, the next one need not be asked for.
	 */
	uint32_t asked, settled;
	uint32_t since_serial; /* of the pending ones, those after it are this context's */
	uint64_t memory_bytes; /* as the worker said last */
};

struct pv_worker_resource {
	uint32_t id, epoch;
	struct pv_resource_info info;
	bool mapped;
	uint64_t map_offset, map_token;
	struct pv_worker_client *client;
	struct pv_frame *frame; /* counted; NULL: none was asked for */
	bool is_unflushed;      /* it may be shown before it was flushed */
	uint64_t fetch_token;
	uint32_t frame_number;
	struct pv_worker_word {
		uint64_t offset_bytes;
		uint32_t bits;
	} last_words[PV_WORKER_MAX_WORDS];
	uint32_t nr_last_words;
};

struct pv_worker_client {
	struct pv_renderer base;
	struct pv_loop *loop;
	struct pv_worker_launcher launcher;
	struct pv_worker_hello hello;
	uint64_t start_timeout_ns, watch_interval_ns;

	enum pv_worker_state state;
	uint32_t epoch;
	void *worker; /* of the launcher; NULL: none */
	struct pv_worker_channel channel;
	struct pv_loop_fd *watch;
	uint32_t nr_frames; /* made so far, wraps */
	uint32_t nr_dma_bufs;
	struct pv_loop_timer *timer; /* to the start, to its end; while it is up, to the next look at it */
	bool watching;               /* that timer is running, for one that is up */
	uint32_t unanswered;         /* looks since the last PING, which was not answered; 0: it was */
	uint64_t started_ns, delay_ns;
	uint32_t restarts;
	const char *reason; /* why it is DYING; NULL: it went by itself */

	/* Immutable once the first worker is ready, as is what it is good for. */
	struct pv_worker_ready ready;
	struct pv_worker_known_capset {
		struct pv_capset_info info;
		uint32_t version, len_bytes;
		uint8_t bytes[PV_WORKER_MAX_CAPSET_BYTES];
	} capsets[PV_WORKER_MAX_CAPSETS * PV_WORKER_MAX_VERSIONS];
	size_t nr_capsets;
	size_t nr_confirmed; /* by the worker that is STARTING */
	bool known;          /* that time has come */

	int window_fd; /* borrowed; -1: none */
	uint64_t window_bytes;
	struct pv_guest_map *map; /* counted; NULL: none */

	struct pv_id_map contexts, resources;
	struct pv_worker_pendings pending;
};

static inline struct pv_worker_client *pv_worker_client_of(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct pv_worker_client, base);
}

/* ---- client.c ---- */

bool pv_worker_client_can_send(const struct pv_worker_client *client);
void pv_worker_client_flush(struct pv_worker_client *client);
/* For what cannot fail. NULL: there is nobody to send it to. */
void *pv_worker_client_put(struct pv_worker_client *client, enum pv_worker_request type, size_t len, int fd);
void pv_worker_client_send_ids(struct pv_worker_client *client, enum pv_worker_request type, struct pv_worker_ids ids);
void pv_worker_client_send_window(struct pv_worker_client *client);
void pv_worker_client_send_memory(struct pv_worker_client *client);

/* Fences of the context's own timeline wait for what is asked of it now. There may be no such context. */
void pv_worker_client_asked(struct pv_worker_client *client, uint32_t ctx_id);
/* Its token; 0: no memory. */
uint64_t pv_worker_client_add_pending(struct pv_worker_client *client, struct pv_worker_pending what);
/*
 * An op that can fail: *out_message (`len` bytes, or NULL: nobody to send it to, it waits for the end of the worker) is
 * to be filled in, *out_token to be put there. PV_PENDING is the good answer.
 */
enum pv_status pv_worker_client_begin(struct pv_worker_client *client, struct pv_worker_pending op,
				      enum pv_worker_request type, size_t len, void **out_message, uint64_t *out_token);
/* Tells the core, which may do anything from within. */
void pv_worker_client_answer(struct pv_worker_client *client, uint32_t index, enum pv_status status);

/* Whether it is of the living worker, or of one whose end is not known yet. */
bool pv_worker_client_is_current(const struct pv_worker_client *client, uint32_t epoch);
/* NULL: there is none, or it is of an earlier worker. */
struct pv_worker_context *pv_worker_client_context(struct pv_worker_client *client, uint32_t ctx_id);
struct pv_worker_resource *pv_worker_client_resource(struct pv_worker_client *client, uint32_t resource_id);
bool pv_worker_client_reads_memory(const struct pv_worker_client *client);
/* It lets go of its worker and of all there is. */
void pv_worker_client_destroy(struct pv_worker_client *client);

/* ---- client_ops.c ---- */

/* `rect` of its picture is no longer what displays see. */
void pv_worker_resource_flushed(struct pv_worker_resource *resource, const struct pv_rect *rect);

extern const struct pv_renderer_ops pv_worker_client_ops;
/* Whether there are textures can be seen by the op. */
extern const struct pv_renderer_ops pv_worker_client_opengl_ops;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The worker's side: messages become ops of a renderer, its events become messages. One loop, one thread; never two
 * servers for one renderer.
 */
#ifndef PV_WORKER_SERVER_H
#define PV_WORKER_SERVER_H

#include "gpu/renderer.h"
#include "worker/proto.h"

struct pv_loop;

/* Makes the renderer once it is known what it is to be. */
struct pv_worker_maker {
	/* *out_ready: all but version and status; it is zeroed. */
	enum pv_status (*make)(void *user, const struct pv_worker_hello *hello, struct pv_renderer **out,
			       struct pv_worker_ready *out_ready);
	void *user;
};

/*
 * Serves `take_fd` on `loop`, which is not running and is the caller's, until the other end is gone (PV_OK) or makes no
 * sense (PV_ERR_PEER); the renderer is destroyed then. Also what make() answered, and PV_ERR_HOST, PV_ERR_NO_MEMORY.
 */
PV_MUST_USE enum pv_status pv_worker_serve(struct pv_loop *loop, int take_fd, const struct pv_worker_maker *maker);

#endif

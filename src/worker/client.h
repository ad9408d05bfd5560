/* SPDX-License-Identifier: MIT */
/*
 * A renderer that draws in another process, the worker: src/gpu/renderer.h on this side, messages to the worker on the
 * other. It waits for the worker once, when it is created. When the worker ends, or hangs and is ended, its contexts
 * are lost and another one is started. Owned by the device thread.
 */
#ifndef PV_WORKER_CLIENT_H
#define PV_WORKER_CLIENT_H

#include "gpu/renderer.h"
#include "worker/proto.h"

struct pv_loop;

#define PV_WORKER_HOW_BYTES 64

/* How workers are started; tests have their own way. */
struct pv_worker_launcher {
	/*
	 * One that speaks on the other end of `take_fd`. `ended(user)` is to be called once on the loop's thread,
	 * later, when nothing of it is left.
	 */
	enum pv_status (*start)(void *launcher_user, int take_fd, void (*ended)(void *user), void *user, void **out);
	/* It ends soon, whatever it is doing. */
	void (*kill)(void *worker);
	/* Its process id, 0: none. */
	int64_t (*pid)(void *worker);
	/* Before or after it ended: waits until nothing is left of it, with patience, then without. ended() does not
	 * come any more. `how` it ended is for people. */
	void (*release)(void *worker, char how[PV_WORKER_HOW_BYTES]);
	void *user;
};

struct pv_worker_client_params {
	struct pv_loop *loop;               /* the device thread's; borrowed */
	struct pv_worker_launcher launcher; /* copied */
	struct pv_worker_hello hello;       /* what it is to be; the version is filled in */
	uint64_t start_timeout_ns;          /* 0: as long as drivers may take */
	uint64_t watch_interval_ns;         /* a fraction of how long it may be silent; 0: generous */
};

/*
 * Waits for the worker to be ready. PV_ERR_HOST: it did not start, ended or said nothing (logged). Others are what the
 * worker's renderers answered, which has been logged there: PV_ERR_UNSUPPORTED: this host has nothing for them.
 */
PV_MUST_USE enum pv_status pv_worker_client_create(const struct pv_worker_client_params *params,
						   struct pv_renderer **out);

struct pv_worker_client_status {
	int64_t pid; /* 0: none at the moment */
	uint32_t restarts;
	/* Of the Vulkan device; empty: none. Valid as long as the client. */
	const char *device, *driver;
};
void pv_worker_client_status(struct pv_renderer *renderer, struct pv_worker_client_status *out);

#endif

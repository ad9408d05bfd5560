/* SPDX-License-Identifier: MIT */
/* What waits for the worker, in the order in which it was asked for. Owned by one thread. */
#ifndef PV_WORKER_PENDING_H
#define PV_WORKER_PENDING_H

#include "base/base.h"

enum pv_worker_pending_kind {
	PV_WORKER_PENDING_OP,
	PV_WORKER_PENDING_CREATE,
	PV_WORKER_PENDING_MAP,
	PV_WORKER_PENDING_UNMAP,
	PV_WORKER_PENDING_FENCE,
	PV_WORKER_PENDING_OWN_FENCE, /* of a context's own timeline */
	PV_WORKER_PENDING_FLUSH,     /* of `rect` */
	PV_WORKER_PENDING_FETCH,     /* nobody's op */
};

struct pv_worker_pending {
	uint64_t id; /* of the core's op or fence */
	uint32_t serial, epoch;
	enum pv_worker_pending_kind kind;
	uint32_t ctx_id, resource_id;
	uint32_t asked; /* of the context, before this OWN_FENCE */
	struct pv_rect rect;
	uint32_t next, prev; /* in the list of used or (next only) free ones; PV_WORKER_NONE: the end */
};
#define PV_WORKER_NONE UINT32_MAX

struct pv_worker_pendings {
	struct pv_worker_pending *entries;
	uint32_t nr_entries; /* used and free */
	uint32_t first, last, first_free;
	uint32_t next_serial;
};

void pv_worker_pendings_init(struct pv_worker_pendings *pendings);
void pv_worker_pendings_finish(struct pv_worker_pendings *pendings);
/* `what` but for serial and links. Returns its token, which is not used again for long; 0: no memory. */
uint64_t pv_worker_pendings_add(struct pv_worker_pendings *pendings, const struct pv_worker_pending *what);
/* Any token. PV_WORKER_NONE: it waits no more. */
uint32_t pv_worker_pendings_find(const struct pv_worker_pendings *pendings, uint64_t token);
struct pv_worker_pending pv_worker_pendings_remove(struct pv_worker_pendings *pendings, uint32_t index);

#endif

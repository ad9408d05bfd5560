/* SPDX-License-Identifier: MIT */
/* Memory that can be shared with other processes by its file: anonymous, zeroed, taking up only what is touched. */
#ifndef PV_BASE_SHARED_H
#define PV_BASE_SHARED_H

#include "base/base.h"

/* {.fd = -1} is finished. */
struct pv_shared {
	uint8_t *bytes; /* mapped shared, all of it */
	uint64_t size_bytes;
	int fd; /* sized so; close-on-exec */
};

/* `size_bytes` > 0, rounded up to whole pages. Any thread. */
PV_MUST_USE enum pv_status pv_shared_create(uint64_t size_bytes, struct pv_shared *out);
void pv_shared_finish(struct pv_shared *shm);

#endif

/* SPDX-License-Identifier: MIT */
/* What others must know of semaphores. */
#ifndef PV_VENUS_SYNC_H
#define PV_VENUS_SYNC_H

/* object->extra of a timeline semaphore; NULL: a binary one. */
#define PV_VENUS_TIMELINE_SEMAPHORE ((void *)1)

#endif

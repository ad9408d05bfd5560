/* SPDX-License-Identifier: MIT */
/*
 * The vtest transport: Mesa's guest drivers as ordinary processes of this machine, each with a socket to us in place of
 * a virtio-gpu device. One client has one context. The transport drives the 3D ops of a renderer directly: there is no
 * virtual machine, no queue and no guest memory in between.
 *
 * All of it lives on one loop, the renderer's, and belongs to that loop's thread.
 */
#ifndef PV_TRANSPORT_VTEST_VTEST_H
#define PV_TRANSPORT_VTEST_VTEST_H

#include "base/loop.h"
#include "gpu/renderer.h"

struct pv_vtest;

struct pv_vtest_params {
	struct pv_loop *loop;
	struct pv_renderer *renderer; /* borrowed; its events are taken over */
	/* A listening socket, which becomes non-blocking. Consumed, even on failure. -1: none. */
	int take_listen_fd;
	uint32_t max_clients;      /* more wait in the socket's queue. 0: 256 */
	uint32_t max_client_fds;   /* blobs, waits and fences of one client. 0: a quarter of the process's */
	uint64_t max_client_bytes; /* blobs of one client. 0: no limit */
	void (*idle)(void *user);  /* the last client has left; NULL is fine */
	void *user;
};

PV_MUST_USE enum pv_status pv_vtest_create(const struct pv_vtest_params *params, struct pv_vtest **out);
/* Drops all clients. NULL is fine. */
void pv_vtest_destroy(struct pv_vtest *vtest);

/* A connected stream socket with a client at its other end. Consumed, even on failure. */
PV_MUST_USE enum pv_status pv_vtest_add_client(struct pv_vtest *vtest, int take_fd);

struct pv_vtest_client_stats {
	uint32_t number;  /* of the connection, from 1 */
	uint32_t ctx_id;  /* 0: no context yet */
	char name[64];    /* what the client calls itself; printable ASCII */
	uint32_t version; /* of the protocol */
	bool lost;        /* its context cannot be used any more */
	uint64_t commands, submits, submitted_bytes;
	uint64_t resources, resource_bytes, syncs, waits, fences;
};

struct pv_vtest_stats {
	uint64_t clients, max_clients;
	/* Since the start. */
	uint64_t connections, refused, broken; /* broken: closed over a broken protocol */
	uint64_t commands;
};

void pv_vtest_get_stats(const struct pv_vtest *vtest, struct pv_vtest_stats *out);
/* The clients that there are, at most `max`, by age; returns how many. */
size_t pv_vtest_get_clients(const struct pv_vtest *vtest, struct pv_vtest_client_stats *out, size_t max);

#endif

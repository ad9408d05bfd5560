/* SPDX-License-Identifier: MIT */
/*
 * Vulkan and OpenGL for ordinary processes of this machine, without a virtual machine: Mesa's venus driver, told to by
 * VN_DEBUG=vtest and VTEST_SOCKET_NAME=PATH, finds the host's GPU behind a socket as it would in a guest.
 */
#ifndef PV_VTEST_H
#define PV_VTEST_H

#include "pv/api.h"
#include "pv/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where Mesa looks unless told otherwise. */
#define PV_VTEST_DEFAULT_PATH "/tmp/.virgl_test"

struct pv_vtest_server;

struct pv_vtest_server_params {
	uint32_t struct_size; /* sizeof(struct pv_vtest_server_params); what a shorter one lacks counts as 0 */
	/* Listens there: a stale socket file is replaced, the file is removed in the end. NULL: take_fd. */
	const char *PV_NULLABLE path;
	/* Without a path: a listening Unix stream socket, or -1. Consumed, even on failure. With a path it is ignored.
	 */
	int32_t take_fd;
	/* A number of the list of pv_vulkan_devices(), or a part of one device's name. NULL: the best usable one. */
	const char *PV_NULLABLE device;
	/* As if the host had MoltenVK: what it lacks is not used. For tests of that case. */
	bool emulate_portability;
	/* Drivers make their mappable memory before they allocate it, as they do in a virtual machine with a window. */
	bool use_guest_vram;
	/* Drivers are told of dma-bufs, which they have in a virtual machine only. Older ones make no swapchain
	 * without. */
	bool show_dma_buf;
	uint32_t max_clients; /* more wait until one leaves. 0: 128 */
	/* Memory that one client can share with us, in bytes. 0: no limit but the host's. */
	uint64_t max_client_bytes;
	/*
	 * What clients find, names with commas: "venus" (Vulkan), "virgl" (OpenGL, Mesa's virpipe driver). NULL:
	 * "venus". Only one client of a server can have OpenGL at a time: the clients choose the ids.
	 */
	const char *PV_NULLABLE renderers;
	/* The last client has left; NULL: nobody wants to know. On a thread of the server's: must be short. */
	void (*PV_NULLABLE idle)(void *PV_NULLABLE user);
	void *PV_NULLABLE user;
	/* The DRM device for OpenGL, such as "/dev/dri/renderD128". NULL: the one that the host's EGL chooses. */
	const char *PV_NULLABLE render_node;
};

/*
 * Serves on threads of the server's own. PV_ERR_UNSUPPORTED: this build has no Vulkan. PV_ERR_HOST: no usable device,
 * or the socket cannot be had. PV_ERR_ARGUMENT: the path is too long, or another process serves it. All are logged.
 */
PV_API PV_MUST_USE enum pv_status pv_vtest_server_create(const struct pv_vtest_server_params *PV_NONNULL params,
							 struct pv_vtest_server *PV_NULLABLE *PV_NONNULL out);
/* Ends all connections. Servers of its control socket must be gone. NULL is fine. */
PV_API void pv_vtest_server_destroy(struct pv_vtest_server *PV_NULLABLE server);

/*
 * A connected Unix stream socket with a client at its other end, besides those that come by the listening one.
 * Consumed, even on failure. Any thread.
 */
PV_API PV_MUST_USE enum pv_status pv_vtest_server_add_client(struct pv_vtest_server *PV_NONNULL server,
							     int32_t take_fd);

/*
 * A listening, non-blocking socket at `path`; the caller accepts and owns it, and removes the file in the end. A stale
 * socket file is replaced. PV_ERR_HOST, PV_ERR_ARGUMENT: the path cannot be used (logged).
 */
PV_API PV_MUST_USE enum pv_status pv_vtest_listen(const char *PV_NONNULL path, int32_t *PV_NONNULL out_fd);

/* What it does, as a JSON object in *out_json, to be freed with pv_free(). Any thread. */
PV_API PV_MUST_USE enum pv_status pv_vtest_server_status(struct pv_vtest_server *PV_NONNULL server,
							 char *PV_NULLABLE *PV_NONNULL out_json);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The control socket: looking at a running device and resizing its heads from outside its process.
 *
 * A Unix stream socket, one JSON object a line each way, one reply to each request in order:
 *
 *     {"command": "status"}                                        {"ok": true, "status": {...}}
 *     {"command": "outputs"}                                       {"ok": true, "outputs": [{...}, ...]}
 *     {"command": "set-output", "output": 0, "width": 1920, "height": 1080, "enabled": true}       {"ok": true}
 *     {"command": "screenshot", "scanout": 0, "cursor": true}      {"ok": true, "size": 12345} and a file descriptor
 *     anything that cannot be done                                 {"ok": false, "error": "why"}
 *
 * "id" of a request comes back in its reply. set-output leaves alone what it does not name. A screenshot's PNG comes as
 * an anonymous file, passed with the reply's first byte (SCM_RIGHTS): so the server never writes to anything of its
 * clients'.
 */
#ifndef PV_CONTROL_H
#define PV_CONTROL_H

#include "pv/device.h"
#include "pv/vtest.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Longest request in bytes, its newline included; a longer one ends the connection. */
#define PV_CONTROL_MAX_REQUEST_BYTES 4096

struct pv_control_server;

/*
 * Serves up to 16 clients of the same user at `path` on a thread of the server's own. A stale socket file is replaced.
 * PV_ERR_ARGUMENT: another process serves that path, or it is too long. PV_ERR_HOST: it cannot be made (logged).
 */
PV_API PV_MUST_USE enum pv_status pv_control_server_create(struct pv_device *PV_NONNULL device,
							   const char *PV_NONNULL path,
							   struct pv_control_server *PV_NULLABLE *PV_NONNULL out);
/* The same for a vtest server, which has no heads: "status" is all it answers. */
PV_API PV_MUST_USE enum pv_status
pv_control_server_create_for_vtest(struct pv_vtest_server *PV_NONNULL vtest, const char *PV_NONNULL path,
				   struct pv_control_server *PV_NULLABLE *PV_NONNULL out);
/* Ends the connections and removes the socket file. Not from a callback. NULL is fine. */
PV_API void pv_control_server_destroy(struct pv_control_server *PV_NULLABLE server);

/*
 * The directory where instances of this user keep their sockets, as NAME.sock: $XDG_RUNTIME_DIR/pvgpu, else
 * /run/user/UID/pvgpu, else /tmp/pvgpu-UID. Made if missing and `create`; must be the user's own and closed to others.
 * To be freed with pv_free(). PV_ERR_HOST: it cannot be made, or is not safe (logged).
 */
PV_API PV_MUST_USE enum pv_status pv_control_directory(bool create, char *PV_NULLABLE *PV_NONNULL out_path);

/*
 * Asks the server at `path`: sends `request` (one JSON object without newline) and waits for its reply, at most
 * `timeout_ms`. *out_reply is to be freed with pv_free(); *out_fd is the descriptor that came with it, the caller's, or
 * -1. PV_ERR_HOST: nobody serves there. PV_ERR_PEER: no whole reply came in time. Blocks; needs no device.
 */
PV_API PV_MUST_USE enum pv_status pv_control_call(const char *PV_NONNULL path, const char *PV_NONNULL request,
						  uint32_t timeout_ms, char *PV_NULLABLE *PV_NONNULL out_reply,
						  int32_t *PV_NONNULL out_fd);

#ifdef __cplusplus
}
#endif

#endif

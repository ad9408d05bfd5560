/* SPDX-License-Identifier: MIT */
#ifndef PV_STATUS_H
#define PV_STATUS_H

#include "pv/api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What every fallible function returns. Out-parameters are written only with PV_OK. */
enum pv_status {
	PV_OK = 0,
	/* Not done yet; the answer comes through the call's completion. Not an error. */
	PV_PENDING,
	/* The caller's arguments are wrong; nothing was done. */
	PV_ERR_ARGUMENT,
	/* The guest sent something invalid: that command fails, the device goes on. */
	PV_ERR_GUEST,
	/* The process at the other end of a socket broke its protocol or left: its connection is closed. */
	PV_ERR_PEER,
	/* The host refused: a system call, a driver or a file failed. */
	PV_ERR_HOST,
	/* Out of memory, or a configured limit is reached. */
	PV_ERR_NO_MEMORY,
	/* Valid, but not offered by this device, build or host. */
	PV_ERR_UNSUPPORTED,
};

/* A short English phrase for `status`; never NULL, static storage. Any thread. */
PV_API const char *PV_NONNULL pv_status_string(enum pv_status status);

#ifdef __cplusplus
}
#endif

#endif

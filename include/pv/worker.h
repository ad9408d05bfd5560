/* SPDX-License-Identifier: MIT */
#ifndef PV_WORKER_H
#define PV_WORKER_H

#include "pv/api.h"
#include "pv/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a program does that pv_device_params.worker_program names, when it is run with the one argument "worker": it
 * draws for a device in another process (`pvgpu worker` is one). Closes all files but standard ones, takes over the
 * process's signals, and returns when the device is gone. Nothing else may be going on in the process. PV_ERR_PEER: it
 * was not started by a device of the same version. Others: the renderers cannot be had (logged).
 */
PV_API PV_MUST_USE enum pv_status pv_worker_run(void);

#ifdef __cplusplus
}
#endif

#endif

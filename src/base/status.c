/* SPDX-License-Identifier: MIT */
#include "pv/status.h"

const char *pv_status_string(enum pv_status status)
{
	switch (status) {
	case PV_OK:
		return "success";
	case PV_PENDING:
		return "not finished yet";
	case PV_ERR_ARGUMENT:
		return "invalid argument";
	case PV_ERR_GUEST:
		return "invalid request from the guest";
	case PV_ERR_PEER:
		return "the other end broke the protocol or left";
	case PV_ERR_HOST:
		return "the host refused";
	case PV_ERR_NO_MEMORY:
		return "out of memory, or a limit is reached";
	case PV_ERR_UNSUPPORTED:
		return "not supported here";
	}
	return "unknown status";
}

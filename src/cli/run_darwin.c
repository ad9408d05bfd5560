/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/sysctl.h>

#include "cli/run.h"

bool run_can_accelerate(const struct run_qemu *qemu, enum run_accelerator *out, const char **why)
{
	int supported = 0;
	size_t size = sizeof(supported);
	bool host_is_arm;

#ifdef __aarch64__
	host_is_arm = true;
#else
	host_is_arm = false;
#endif
	if (host_is_arm != qemu->is_arm) {
		*why = "this QEMU is for another processor than the host's";
		return false;
	}
	if (sysctlbyname("kern.hv_support", &supported, &size, NULL, 0) != 0 || !supported) {
		*why = "this Mac has no Hypervisor framework";
		return false;
	}
	*out = RUN_HVF;
	return true;
}

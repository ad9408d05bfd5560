/* SPDX-License-Identifier: MIT */
/* A guest's VkDevice on the host. */
#ifndef PV_VENUS_DEVICE_H
#define PV_VENUS_DEVICE_H

#include "venus/generated/functions.h"
#include "venus/object.h"

struct pv_venus_context;
struct pv_venus_host_device;
struct pv_venus_queue;

/* Type-stable within a context: what a racing ring still sees of a destroyed one is one, or the next. */
struct pv_venus_device {
	/* Immutable after create. What the driver lacks is NULL. First: hot commands go straight to it. */
	struct pv_venus_device_functions fn;
	VkDevice handle;
	struct pv_venus_context *context;
	const struct pv_venus_host_device *host;
	struct pv_venus_queue *queues;  /* all that it was created with */
	struct pv_venus_object *object; /* its own; owns all that is made of it */
	/* NULL: the driver has none, so a batch of work does it. Imports a signalled payload into a semaphore. */
	PFN_vkImportSemaphoreFdKHR import_semaphore;
	/* Features that the guest enabled: what may be NULL depends on them. */
	bool null_descriptor, maintenance6;
	/* Of the context's list, guarded by its vulkan_lock. */
	struct pv_venus_device *next;
};

/* Waits until the GPU is done with it and destroys all that was made of it. Off the context's list already. */
void pv_venus_device_destroy(struct pv_venus_device *device);
/* When no thread of the context is left: frees what was kept of devices and queues. */
void pv_venus_context_free_devices(struct pv_venus_context *context);

#endif

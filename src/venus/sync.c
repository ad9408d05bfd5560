/* SPDX-License-Identifier: MIT */
/*
 * Fences and semaphores. The guest's sync files never need one on the host: exporting one from a fence or a semaphore
 * takes its payload away, importing one (which the guest has waited for) leaves it signalled.
 */
#include "venus/sync.h"

#include <sched.h>

#include "base/log.h"
#include "venus/chain.h"
#include "venus/handler.h"
#include "venus/queue.h"
#include "venus/ring.h"

static const char module[] = "venus";

/* Between two looks at whether the context still wants to know. Events end a wait early; this only bounds the end. */
#define WAIT_SLICE_NS UINT64_C(50000000)
/* Less than it costs to sleep and be woken. */
#define YIELD_NS UINT64_C(20000)

void pv_venus_handle_vkCreateFence(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateFence *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkFence made = VK_NULL_HANDLE;

	pv_venus_check_new_id(d, args->pFence_id, "vkCreateFence.pFence");
	if (d->failed)
		return;
	(void)pv_venus_chain_take(args->pCreateInfo, VK_STRUCTURE_TYPE_EXPORT_FENCE_CREATE_INFO);
	args->ret = device->fn.CreateFence(args->device, args->pCreateInfo, NULL, &made);
	if (pv_venus_created(d, PV_VENUS_FENCE, args->pFence_id, PV_VENUS_HANDLE(made), args->ret, args->device_object))
		*args->pFence = args->ret == VK_SUCCESS ? made : VK_NULL_HANDLE;
	else if (args->ret == VK_SUCCESS)
		device->fn.DestroyFence(args->device, made, NULL);
}

void pv_venus_handle_vkCreateSemaphore(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateSemaphore *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	const VkSemaphoreTypeCreateInfo *type =
	    pv_venus_chain_find(args->pCreateInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
	bool timeline = type && type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE;
	VkSemaphore made = VK_NULL_HANDLE;

	pv_venus_check_new_id(d, args->pSemaphore_id, "vkCreateSemaphore.pSemaphore");
	if (d->failed)
		return;
	(void)pv_venus_chain_take(args->pCreateInfo, VK_STRUCTURE_TYPE_EXPORT_SEMAPHORE_CREATE_INFO);
	args->ret = device->fn.CreateSemaphore(args->device, args->pCreateInfo, NULL, &made);
	if (pv_venus_created_with(d, PV_VENUS_SEMAPHORE, args->pSemaphore_id, PV_VENUS_HANDLE(made), args->ret,
				  args->device_object, timeline ? PV_VENUS_TIMELINE_SEMAPHORE : NULL))
		*args->pSemaphore = args->ret == VK_SUCCESS ? made : VK_NULL_HANDLE;
	else if (args->ret == VK_SUCCESS)
		device->fn.DestroySemaphore(args->device, made, NULL);
}

/* The next slice of what is left; false: the time is up, or nobody wants to know any more. */
static bool next_slice(const struct pv_venus_decoder *d, uint64_t *left_ns, uint64_t *slice_ns)
{
	if (*left_ns == 0 || pv_venus_should_stop(d))
		return false;
	*slice_ns = pv_min_u64(*left_ns, WAIT_SLICE_NS);
	if (*left_ns != UINT64_MAX)
		*left_ns -= *slice_ns;
	return true;
}

/* ---- Questions ---- */

/*
 * A guest without feedback asks again and again, and sleeps 160 us after the 15th time. Its second question is answered
 * when the state changes, or so late that it has to ask again.
 */
void pv_venus_handle_vkGetFenceStatus(struct pv_venus_decoder *d, struct pv_venus_args_vkGetFenceStatus *args)
{
	PFN_vkGetFenceStatus get_status = pv_venus_device_of(args->device_object)->fn.GetFenceStatus;
	uint64_t start_ns;

	args->ret = get_status(args->device, args->fence);
	if (args->ret != VK_NOT_READY || !pv_venus_ring_asks_again(d, PV_VENUS_HANDLE(args->fence), 0))
		return;
	start_ns = pv_now_ns();
	while (args->ret == VK_NOT_READY && pv_venus_ring_may_hold(d, start_ns))
		args->ret = get_status(args->device, args->fence);
}

/* The same; the guest does not say which value it hopes for. */
void pv_venus_handle_vkGetSemaphoreCounterValue(struct pv_venus_decoder *d,
						struct pv_venus_args_vkGetSemaphoreCounterValue *args)
{
	PFN_vkGetSemaphoreCounterValue get_value = pv_venus_device_of(args->device_object)->fn.GetSemaphoreCounterValue;
	uint64_t start_ns, before;

	if (!PV_VENUS_HAS(d, get_value, "vkGetSemaphoreCounterValue"))
		return;
	args->ret = get_value(args->device, args->semaphore, args->pValue);
	if (args->ret != VK_SUCCESS || !pv_venus_ring_asks_again(d, PV_VENUS_HANDLE(args->semaphore), *args->pValue))
		return;
	start_ns = pv_now_ns();
	before = *args->pValue;
	while (args->ret == VK_SUCCESS && *args->pValue == before && pv_venus_ring_may_hold(d, start_ns))
		args->ret = get_value(args->device, args->semaphore, args->pValue);
}

/* ---- Waits, in slices ---- */

static VkResult wait_fences(const struct pv_venus_decoder *d, const struct pv_venus_device *device, uint32_t count,
			    const VkFence *fences, VkBool32 all, uint64_t timeout_ns)
{
	uint64_t slice_ns, start_ns;
	VkResult result;

	/* Most are signalled when the guest asks, or just about to be: it has seen the feedback of the same submit. */
	result = device->fn.WaitForFences(device->handle, count, fences, all, 0);
	start_ns = result == VK_TIMEOUT ? pv_now_ns() : 0;
	while (result == VK_TIMEOUT && pv_now_ns() - start_ns < pv_min_u64(timeout_ns, YIELD_NS)) {
		sched_yield();
		result = device->fn.WaitForFences(device->handle, count, fences, all, 0);
	}
	while (result == VK_TIMEOUT && next_slice(d, &timeout_ns, &slice_ns))
		result = device->fn.WaitForFences(device->handle, count, fences, all, slice_ns);
	return result;
}

void pv_venus_handle_vkWaitForFences(struct pv_venus_decoder *d, struct pv_venus_args_vkWaitForFences *args)
{
	args->ret = wait_fences(d, pv_venus_device_of(args->device_object), args->fenceCount, args->pFences,
				args->waitAll, args->timeout);
}

void pv_venus_handle_vkWaitSemaphores(struct pv_venus_decoder *d, struct pv_venus_args_vkWaitSemaphores *args)
{
	PFN_vkWaitSemaphores wait = pv_venus_device_of(args->device_object)->fn.WaitSemaphores;
	uint64_t left_ns = args->timeout, slice_ns;

	if (!PV_VENUS_HAS(d, wait, "vkWaitSemaphores"))
		return;
	args->ret = wait(args->device, args->pWaitInfo, 0);
	while (args->ret == VK_TIMEOUT && next_slice(d, &left_ns, &slice_ns))
		args->ret = wait(args->device, args->pWaitInfo, slice_ns);
}

/* ---- What exporting and importing a sync file does to the payload ---- */

void pv_venus_handle_vkResetFenceResourceMESA(struct pv_venus_decoder *d,
					      struct pv_venus_args_vkResetFenceResourceMESA *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);

	/* It may not be reset while it is pending. Guests wait for the sync file first, so it is not. */
	if (wait_fences(d, device, 1, &args->fence, VK_TRUE, UINT64_MAX) == VK_SUCCESS)
		device->fn.ResetFences(args->device, 1, &args->fence);
}

void pv_venus_handle_vkWaitSemaphoreResourceMESA(struct pv_venus_decoder *d,
						 struct pv_venus_args_vkWaitSemaphoreResourceMESA *args)
{
	VkResult result;

	result = pv_venus_queue_submit_empty(pv_venus_device_of(args->device_object), args->semaphore, VK_NULL_HANDLE);
	if (result != VK_SUCCESS)
		PV_LOG_LIMITED(PV_LOG_WARNING, module, "context %u: a semaphore's payload cannot be taken: VkResult %d",
			       d->context->id, result);
}

void pv_venus_handle_vkImportSemaphoreResourceMESA(struct pv_venus_decoder *d,
						   struct pv_venus_args_vkImportSemaphoreResourceMESA *args)
{
	struct pv_venus_device *device = pv_venus_device_of(args->device_object);
	VkSemaphore semaphore = args->pImportSemaphoreResourceInfo->semaphore;
	VkResult result;

	if (args->pImportSemaphoreResourceInfo->resourceId != 0) {
		pv_venus_fail(d, "VkImportSemaphoreResourceInfoMESA.resourceId", "only 0 has a meaning",
			      args->pImportSemaphoreResourceInfo->resourceId);
		return;
	}
	if (device->import_semaphore) {
		/* A sync file of -1 is one that has signalled. */
		VkImportSemaphoreFdInfoKHR info = {
		    .sType = VK_STRUCTURE_TYPE_IMPORT_SEMAPHORE_FD_INFO_KHR,
		    .semaphore = semaphore,
		    .flags = VK_SEMAPHORE_IMPORT_TEMPORARY_BIT,
		    .handleType = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT,
		    .fd = -1,
		};

		result = device->import_semaphore(args->device, &info);
	} else {
		result = pv_venus_queue_submit_empty(device, VK_NULL_HANDLE, semaphore);
	}
	if (result != VK_SUCCESS)
		PV_LOG_LIMITED(PV_LOG_WARNING, module, "context %u: a semaphore cannot be made signalled: VkResult %d",
			       d->context->id, result);
}

/* SPDX-License-Identifier: MIT */
/*
 * One guest process's use of Vulkan: its objects, rings, resources and, once created, its instance.
 *
 * Threads: the device thread creates it, feeds its control stream and gives it up; each ring's thread executes commands
 * in it. When it is given up a thread of its own ends the rings, has everything destroyed and hands it back to the
 * device thread to be freed, so that a driver that takes its time keeps nobody waiting.
 */
#ifndef PV_VENUS_CONTEXT_H
#define PV_VENUS_CONTEXT_H

#include "base/id_map.h"
#include "base/mutex.h"
#include "venus/decoder.h"
#include "venus/generated/functions.h"
#include "venus/object.h"
#include "venus/resource.h"

struct pv_renderer;
struct pv_venus_control;
struct pv_venus_device;
struct pv_venus_host_device;
struct pv_venus_mailbox;
struct pv_venus_monitor;
struct pv_venus_queue;
struct pv_venus_ring;
struct pv_venus_timeline;

/* Timelines of fences: 0 is the context's own, the rest can be bound to a VkQueue each. */
#define PV_VENUS_MAX_TIMELINES 64

struct pv_venus_context {
	uint32_t id;
	struct pv_venus_object_table *objects;

	/* ---- Host Vulkan: instance.c, device.c, memory.c ---- */
	/* Immutable; what the guest sees. */
	const struct pv_venus_host_device *host_device;
	struct pv_venus_account *memory; /* of all contexts' device memory in pages of ours; outlives the context */
	/*
	 * Valid once vkCreateInstance succeeded; there is one instance a context, for its whole life: the host's is
	 * destroyed with the context, since other rings may still be using it when the guest says vkDestroyInstance.
	 */
	struct pv_venus_instance_functions instance_fn;
	VkInstance instance;
	/* The host's handle of host_device in `instance`; VK_NULL_HANDLE: it is gone. */
	VkPhysicalDevice physical_device;
	/* A leaf. Guards what follows, and the life of VkDeviceMemory against the creation of blobs from it. */
	struct pv_mutex vulkan_lock;
	bool has_instance; /* one was asked for and did not fail */
	struct pv_venus_object *instance_object;
	uint64_t physical_device_id; /* the guest's; 0: none yet */
	/* Live ones, and those whose memory waits to be used again: a racing ring may still look at it. */
	struct pv_venus_device *devices, *free_devices;
	struct pv_venus_queue *free_queues;

	/* ---- context.c: immutable ---- */
	char name[65];
	/* Executes one command: pv_venus_execute(), or a test's own. */
	void (*execute)(struct pv_venus_decoder *decoder);
	struct pv_venus_mailbox *mailbox;   /* to the device thread; outlives the context */
	const struct pv_renderer *renderer; /* for its events; outlives the context. NULL: none */
	struct pv_venus_monitor *monitor;   /* outlives the context */

	/* ---- context.c: any thread ---- */
	/* Set once and for ever when a stream cannot be trusted any more, or the context is given up. */
	_Atomic bool lost;

	struct pv_mutex resources_lock;                           /* a leaf */
	struct pv_id_map resources PV_GUARDED_BY(resources_lock); /* counted struct pv_venus_resource */

	struct pv_mutex rings_lock; /* a leaf; also guards what the rings say it does */
	struct pv_venus_ring *rings PV_GUARDED_BY(rings_lock);
	uint32_t nr_rings PV_GUARDED_BY(rings_lock);

	struct pv_mutex timelines_lock; /* a leaf */
	struct pv_venus_timeline *timelines[PV_VENUS_MAX_TIMELINES] PV_GUARDED_BY(timelines_lock);

	/* ---- control.c: the device thread's ---- */
	struct pv_venus_control *control;
};

struct pv_venus_context_params {
	uint32_t id;
	const char *name; /* for people */
	const struct pv_venus_host_device *host_device;
	void (*execute)(struct pv_venus_decoder *decoder);
	struct pv_venus_mailbox *mailbox;
	struct pv_venus_monitor *monitor;
	const struct pv_renderer *renderer;
	struct pv_venus_account *memory; /* borrowed; NULL: not counted */
};
PV_MUST_USE enum pv_status pv_venus_context_create(const struct pv_venus_context_params *params,
						   struct pv_venus_context **out);
/*
 * Any thread but a ring's. Waits for the rings to end, which are told to, and for the host's GPU: for long, perhaps.
 * Everything is gone then but the context itself.
 */
void pv_venus_context_release(struct pv_venus_context *context);
/* After pv_venus_context_release(), if it was used. NULL is fine. */
void pv_venus_context_free(struct pv_venus_context *context);

/*
 * Any thread. The context's streams cannot be trusted, or nobody wants their results: its rings say FATAL and end, its
 * control stream refuses. The first time it returns true.
 */
bool pv_venus_context_lose(struct pv_venus_context *context);
/* The stream's thread: `decoder->failed` loses the context, with one line in the log that says why. */
void pv_venus_context_fail(struct pv_venus_decoder *decoder);

/* For a stream of `context`: its ring's, or (NULL) the control stream. Zeroed storage. */
void pv_venus_decoder_init(struct pv_venus_decoder *decoder, struct pv_venus_context *context,
			   struct pv_venus_ring *ring);
void pv_venus_decoder_finish(struct pv_venus_decoder *decoder);

/* Device thread. Takes a counted resource; one that is known under this id already stays, and PV_OK is returned. */
PV_MUST_USE enum pv_status pv_venus_context_attach(struct pv_venus_context *context, uint32_t id,
						   struct pv_venus_resource *take_resource);
/* Device thread. Unknown ids are harmless. Who uses it at this moment has a reference. */
void pv_venus_context_detach(struct pv_venus_context *context, uint32_t id);

/* vk's: before the context's first command. */
void pv_venus_context_init_vulkan(struct pv_venus_context *context, const struct pv_venus_host_device *host_device);
/*
 * vk's: destroys all Vulkan objects of a context whose rings have ended, in whatever state they are, and waits for the
 * host's GPU to be done with them. Afterwards the object table is empty of them.
 */
void pv_venus_context_release_vulkan(struct pv_venus_context *context);

/* Any thread: a counted reference, NULL: the context does not know `id`. */
struct pv_venus_resource *pv_venus_context_resource(struct pv_venus_context *context, uint32_t id);

/*
 * The stream's thread: a counted reference to shared memory that `offset` and `size` lie in. NULL: there is none, or
 * they do not, and the stream has failed. `what`: the struct's name, as in "VkRingCreateInfoMESA".
 */
struct pv_venus_resource *pv_venus_shared_range(struct pv_venus_decoder *decoder, uint32_t id, uint64_t offset,
						uint64_t size, const char *what);

#endif

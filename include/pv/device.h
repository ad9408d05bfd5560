/* SPDX-License-Identifier: MIT */
/*
 * One virtio-gpu device (virtio 1.3, section 5.7), to embed in a program.
 *
 * A device has a thread of its own, the device thread, on which everything happens. The functions here may be called
 * from any thread, callbacks included, unless they say otherwise; they hand their work to the device thread and, but
 * for pv_device_queue_notify(), wait until it is done. Callbacks come on the device thread: they must be short and must
 * not wait for a thread that may itself be inside a call to the device.
 *
 * Two kinds of owner feed a device its queues, one at a time: a socket server (pv/vhost_user.h), or the program itself,
 * a hypervisor for example: pv_device_attach() and the functions that follow it.
 *
 * Pointers are borrowed for the call unless a function says otherwise. What comes from the guest through the owner
 * (addresses, indices, sizes) need not be checked by the caller.
 */
#ifndef PV_DEVICE_H
#define PV_DEVICE_H

#include "pv/api.h"
#include "pv/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PV_DEVICE_MAX_OUTPUTS     16
#define PV_DEVICE_MAX_SIDE_PIXELS 16384
/* Virtqueues (5.7.2): 0 is the control queue, 1 the cursor queue. */
#define PV_DEVICE_NR_QUEUES 2

struct pv_device;

/* One head: what the guest is told of a monitor (VIRTIO_GPU_CMD_GET_DISPLAY_INFO and its EDID). */
struct pv_device_output {
	bool enabled;
	uint32_t x, y;                /* where the desktop shall place it, in pixels */
	uint32_t width, height;       /* preferred mode in pixels, 1..PV_DEVICE_MAX_SIDE_PIXELS; ignored when off */
	uint32_t refresh_millihertz;  /* 0: 60000 */
	uint32_t width_mm, height_mm; /* 0: as large as at 96 dpi */
};

struct pv_device_params {
	uint32_t struct_size; /* sizeof(struct pv_device_params); what a shorter one lacks counts as 0 */
	uint32_t nr_outputs;  /* 0: 1; at most PV_DEVICE_MAX_OUTPUTS */
	/* nr_outputs of them; NULL: all on, 1280x800 each, side by side. */
	const struct pv_device_output *PV_NULLABLE outputs;
	/*
	 * Host memory for the guest's pictures and OpenGL textures, in bytes; beyond it the guest is told "out of
	 * memory". 0: 512 MiB, with OpenGL half of this host's memory if that is more. As much again is the most that
	 * its GL contexts and shaders are thought to take, and that its Vulkan programs have of device memory that is
	 * the host's; 0: what the Vulkan driver has to give.
	 */
	uint64_t max_host_bytes;
	/*
	 * Virtio shared memory region 1, in bytes: 0 = none, PV_DEVICE_WINDOW_AUTO, or a multiple of 2 MiB. Costs
	 * memory only where used.
	 */
	uint64_t window_bytes;
	/* Where pv_device_destroy() writes each head's last picture as PNG, head N to "name-N.png"; NULL: nowhere. */
	const char *PV_NULLABLE png_path;
	/*
	 * Who draws for the guest, names with commas: "2d", "venus" (the host's Vulkan; needs a window), "virgl" (the
	 * host's OpenGL). "2d" is always there. NULL: "2d", and "venus" if there is a window and the host has a Vulkan
	 * device that can be used.
	 */
	const char *PV_NULLABLE renderers;
	/* The Vulkan device: its number in `pvgpu devices`, or a part of its name. NULL: the best one. */
	const char *PV_NULLABLE vulkan_device;
	/* For tests: make do with the Vulkan of a Mac. */
	bool emulate_portability;
	/* For tests: have the guest place mappable memory in the window first, as it must for a GPU, which pins it. */
	bool use_guest_vram;
	/*
	 * The path of a program that draws in a process of its own (pv/worker.h): this one then loads no GPU driver,
	 * and a driver that crashes takes the contexts of the guest's programs with it but nothing else. Another one is
	 * started then. `pvgpu` is such a program. NULL: Vulkan and OpenGL are drawn in this process, which is right
	 * for one that holds no virtual machine or must not start others.
	 */
	const char *PV_NULLABLE worker_program;
	/*
	 * The DRM device that draws the guest's OpenGL ("virgl"), such as "/dev/dri/renderD128". NULL: the one that the
	 * host's EGL chooses, the CPU where there is none.
	 */
	const char *PV_NULLABLE render_node;
	/*
	 * The VMM shows dma-bufs (Linux; its display must draw with OpenGL): a VMM's console (pv/vhost_user.h) gets the
	 * pictures of the guest's OpenGL as such, in the place of their pixels, where the driver can.
	 */
	bool with_dma_bufs;
};

/* As large as seems right for this host, a power of two; none if no renderer would use it. */
#define PV_DEVICE_WINDOW_AUTO UINT64_MAX

/*
 * Starts the device thread. PV_ERR_ARGUMENT: a value is out of range. PV_ERR_UNSUPPORTED: a renderer that was asked for
 * cannot be had (logged).
 */
PV_API PV_MUST_USE enum pv_status pv_device_create(const struct pv_device_params *PV_NONNULL params,
						   struct pv_device *PV_NULLABLE *PV_NONNULL out);
/* Not from a callback. Servers of the device (pv/vhost_user.h, pv/control.h) must be gone. NULL is fine. */
PV_API void pv_device_destroy(struct pv_device *PV_NULLABLE device);

/* ---- For a program that owns the queues itself ---- */

/* Device thread. */
struct pv_device_owner_ops {
	uint32_t struct_size; /* sizeof(struct pv_device_owner_ops) */
	/* The guest shall get queue `queue`'s interrupt. */
	void (*PV_NONNULL interrupt)(void *PV_NULLABLE user, uint32_t queue);
	/* The guest shall get the configuration change interrupt. May be NULL. */
	void (*PV_NULLABLE config_changed)(void *PV_NULLABLE user);
	/* The device stopped a queue over an impossible ring: set DEVICE_NEEDS_RESET (2.1.2). May be NULL. */
	void (*PV_NULLABLE needs_reset)(void *PV_NULLABLE user);
};

/* Makes the caller the owner. `ops` is copied. PV_ERR_ARGUMENT: the device has an owner, or `ops` is incomplete. */
PV_API PV_MUST_USE enum pv_status pv_device_attach(struct pv_device *PV_NONNULL device,
						   const struct pv_device_owner_ops *PV_NONNULL ops,
						   void *PV_NULLABLE user);
/* Resets the device and lets go of guest memory; no callback comes once it has returned. */
PV_API void pv_device_detach(struct pv_device *PV_NONNULL device);

/* Feature bits offered (5.7.3, 6): the same for the device's whole life. */
PV_API uint64_t pv_device_features(struct pv_device *PV_NONNULL device);
/* What the driver chose, at FEATURES_OK. PV_ERR_GUEST: a bit that was not offered; leave FEATURES_OK clear. */
PV_API PV_MUST_USE enum pv_status pv_device_set_driver_features(struct pv_device *PV_NONNULL device, uint64_t features);

/* Configuration space (5.7.4). Any offset and length: reads past its end give zeros, writes there do nothing. */
PV_API void pv_device_config_read(struct pv_device *PV_NONNULL device, uint32_t offset, void *PV_NONNULL buf,
				  uint32_t len_bytes);
PV_API void pv_device_config_write(struct pv_device *PV_NONNULL device, uint32_t offset, const void *PV_NONNULL buf,
				   uint32_t len_bytes);

struct pv_device_memory_region {
	uint64_t guest_addr; /* guest-physical, in bytes */
	uint64_t size_bytes; /* not 0 */
	/* Either a file that is mapped shared and read-write from `fd_offset` on (the fd itself is not kept) ... */
	int32_t fd;
	uint64_t fd_offset;
	/* ... or, with fd -1, memory of the caller, valid until it is out of the table and the call that took it out
	 * has returned. */
	void *PV_NULLABLE memory;
};

/*
 * All of the guest's memory from now on: the whole table each time. Regions must not overlap; at most 1024. Queues that
 * run go on. PV_ERR_ARGUMENT: the table is wrong, the old one stays. PV_ERR_HOST: a file cannot be mapped.
 */
PV_API PV_MUST_USE enum pv_status pv_device_set_memory(struct pv_device *PV_NONNULL device,
						       const struct pv_device_memory_region *PV_NULLABLE regions,
						       uint32_t nr_regions);

/* A split virtqueue (2.7) in guest-physical addresses. */
struct pv_device_queue {
	uint32_t size; /* entries: a power of two up to 1024 */
	uint32_t base; /* the next index in the available ring to take; 0 for a fresh queue */
	uint64_t desc_addr, avail_addr, used_addr;
};

/* Starts queue `index` afresh, even if it runs. PV_ERR_GUEST: its size or addresses are impossible; it is stopped. */
PV_API PV_MUST_USE enum pv_status pv_device_queue_start(struct pv_device *PV_NONNULL device, uint32_t index,
							const struct pv_device_queue *PV_NONNULL queue);
/*
 * Returns the `base` to go on from. Requests in flight are answered once the queue is started there at the same
 * addresses, and dropped when it starts in another way. Harmless when stopped (0).
 */
PV_API uint32_t pv_device_queue_stop(struct pv_device *PV_NONNULL device, uint32_t index);
/* The driver rang the doorbell. Does not wait, does not allocate. */
PV_API void pv_device_queue_notify(struct pv_device *PV_NONNULL device, uint32_t index);

/* Device reset (2.4): as after create, but outputs, views, memory and owner stay. */
PV_API void pv_device_reset(struct pv_device *PV_NONNULL device);

/*
 * The host-visible window (virtio shared memory region 1) as a file to map shared and whole; valid for the device's
 * life, owned by it. -1 and *size_bytes 0: there is none.
 */
PV_API int32_t pv_device_window(struct pv_device *PV_NONNULL device, uint64_t *PV_NONNULL size_bytes);

/* ---- Heads ---- */

PV_API uint32_t pv_device_nr_outputs(struct pv_device *PV_NONNULL device);
/* PV_ERR_ARGUMENT: no such head. */
PV_API PV_MUST_USE enum pv_status pv_device_get_output(struct pv_device *PV_NONNULL device, uint32_t index,
						       struct pv_device_output *PV_NONNULL out);
/*
 * Resize, switch on (plug in), switch off (unplug): the guest is told by VIRTIO_GPU_EVENT_DISPLAY and acts in its own
 * time. PV_ERR_ARGUMENT: no such head, or a size out of range. PV_ERR_UNSUPPORTED: the VMM has a console of its own for
 * the device and decides.
 */
PV_API PV_MUST_USE enum pv_status pv_device_set_output(struct pv_device *PV_NONNULL device, uint32_t index,
						       const struct pv_device_output *PV_NONNULL output);

/* ---- Views: showing the guest's screens ---- */

struct pv_device_rect {
	uint32_t x, y, width, height; /* pixels */
};

/*
 * What a head shows: pixels in host memory, reference-counted. Size and format are fixed, the pixels follow the guest's
 * drawing. All references must be gone before pv_device_destroy().
 */
struct pv_picture;

struct pv_picture_info {
	uint32_t struct_size; /* set by the caller to sizeof(struct pv_picture_info) */
	uint32_t width, height;
	uint32_t stride_bytes;
	/* enum virtio_gpu_formats (5.7.6.8), 4 bytes a pixel: 1 = bytes B, G, R, A; 2 = B, G, R, X; and so on */
	uint32_t format;
	/* Of the top left pixel; valid while the picture is referenced. In a view's callback it is up to date; a thread
	 * that reads it at other times may see a picture in the making. */
	const void *PV_NULLABLE pixels;
};

PV_API void pv_picture_get_info(const struct pv_picture *PV_NONNULL picture, struct pv_picture_info *PV_NONNULL out);
PV_API struct pv_picture *PV_NONNULL pv_picture_ref(struct pv_picture *PV_NONNULL picture);
/* NULL is fine. */
PV_API void pv_picture_unref(struct pv_picture *PV_NULLABLE picture);
/*
 * Copies `rect` to `dst` as bytes B, G, R and one to be ignored, from any format, rows `dst_stride_bytes` apart, as the
 * guest has drawn it by now. PV_ERR_ARGUMENT: `rect` is not inside the picture, or a row does not fit into the stride.
 */
PV_API PV_MUST_USE enum pv_status pv_picture_read_bgrx(struct pv_picture *PV_NONNULL picture,
						       const struct pv_device_rect *PV_NONNULL rect,
						       void *PV_NONNULL dst, uint32_t dst_stride_bytes);

struct pv_device_cursor {
	uint32_t scanout;
	int32_t x, y; /* of the image's top left corner, in the scanout's pixels; may lie outside */
	uint32_t hot_x, hot_y;
	bool visible;
	/* 64 rows of 64 pixels, bytes B, G, R, A, pre-multiplied; valid during the callback. */
	const uint32_t *PV_NONNULL pixels;
};

/* Device thread. Each may be NULL but the first two. */
struct pv_device_view_ops {
	uint32_t struct_size; /* sizeof(struct pv_device_view_ops) */
	/* From now on the head shows `picture` (pv_picture_ref() to keep it); NULL: it is off. */
	void (*PV_NONNULL set_picture)(void *PV_NULLABLE user, uint32_t scanout,
				       struct pv_picture *PV_NULLABLE picture);
	/* The guest finished drawing `rect` of the head's picture. */
	void (*PV_NONNULL damage)(void *PV_NULLABLE user, uint32_t scanout,
				  const struct pv_device_rect *PV_NONNULL rect);
	/* The cursor's image, hot spot or visibility changed. */
	void (*PV_NULLABLE set_cursor)(void *PV_NULLABLE user, const struct pv_device_cursor *PV_NONNULL cursor);
	/* Only its place changed. */
	void (*PV_NULLABLE move_cursor)(void *PV_NULLABLE user, const struct pv_device_cursor *PV_NONNULL cursor);
};

struct pv_device_view;

/* `ops` is copied. The present pictures and cursor are reported before this returns. */
PV_API PV_MUST_USE enum pv_status pv_device_add_view(struct pv_device *PV_NONNULL device,
						     const struct pv_device_view_ops *PV_NONNULL ops,
						     void *PV_NULLABLE user,
						     struct pv_device_view *PV_NULLABLE *PV_NONNULL out);
/* No callback comes once it has returned. Views still there at pv_device_destroy() go with the device. */
PV_API void pv_device_remove_view(struct pv_device *PV_NONNULL device, struct pv_device_view *PV_NONNULL view);

/* ---- Looking in from outside ---- */

/*
 * Writes what head `scanout` shows, or showed last, to `fd` as PNG, with the cursor drawn in if asked. The device
 * stands still only while the pixels are copied; compression and writing happen on the calling thread. PV_ERR_ARGUMENT:
 * there is no such head, or it has not shown anything yet. PV_ERR_HOST: writing failed.
 */
PV_API PV_MUST_USE enum pv_status pv_device_screenshot(struct pv_device *PV_NONNULL device, uint32_t scanout,
						       bool with_cursor, int32_t fd);

/*
 * The device's state as a JSON object: version, renderer, features, heads with their frames per second, queues,
 * counters, host memory and CPU time of the process. To be freed with pv_free(). The names in it stay; new ones may
 * come.
 */
PV_API PV_MUST_USE enum pv_status pv_device_status(struct pv_device *PV_NONNULL device,
						   char *PV_NULLABLE *PV_NONNULL out_json);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Kernel mode setting for the guest's programs: one device, its heads, 32-bit frame buffers.
 *
 * Pacing. Linux 6.12's virtio_gpu has no vertical blank: a commit returns as soon as its commands are queued, and
 * only a full queue holds it back. Linux 7's gives each CRTC a timer that ticks once a frame of the mode in use, and
 * every commit (page flip, DIRTYFB, mode set) waits for its next tick, whatever the device does. A rate measured in
 * an ordinary mode is then the mode's refresh rate. pv_mode_make() therefore takes the frame time freely: a mode with
 * a frame time of 100 us lets 10,000 updates a second through, and the device, through its full queue, is what is
 * measured again. The device never sees the frame time.
 */
#ifndef PVGPU_KMSBENCH_KMS_H
#define PVGPU_KMSBENCH_KMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xf86drmMode.h>

#include "pattern.h"

#define PV_HEADS_MAX 16

/* One connector with the CRTC that drives it. Heads keep the kernel's order of connectors. */
struct pv_head {
	unsigned index;
	char name[32]; /* Virtual-1 */
	uint32_t crtc_id;
	unsigned crtc_index;
	drmModeConnector *connector; /* as of the last pv_kms_probe() */
};

struct pv_kms {
	int fd;
	char path[64];
	char driver[32];
	bool has_vblank;          /* commits wait for a tick: see above */
	bool has_virtio_commands; /* the ioctls of virtio_gpu are there: pv_kms_barrier() works */
	unsigned head_count;
	struct pv_head heads[PV_HEADS_MAX];
};

/*
 * The memory formats of a virtio-gpu 2D resource. KMS itself only ever makes X8R8G8B8 in DRM's words, B8G8R8X8 in
 * virtio's; the others are reached by making the resource through virtio_gpu's own ioctl.
 */
struct pv_virtio_format {
	const char *name; /* bytes in memory order, as virtio names it: b8g8r8x8 */
	uint32_t id;
	struct pv_pixel_layout layout;
};
extern const struct pv_virtio_format pv_virtio_formats[8];

const struct pv_virtio_format *pv_virtio_format_find(const char *name);

struct pv_buffer {
	uint32_t handle, fb_id;
	uint32_t width, height;
	size_t stride_bytes, size_bytes;
	uint8_t *pixels;
	struct pv_pixel_layout layout;
	bool is_dumb; /* the kernel transfers a dumb buffer by itself; others need pv_buffer_upload() */
};

/*
 * Opens `path`, or where that is NULL the first /dev/dri/card* of virtio_gpu, else the first with a connector.
 * With `master`, takes the right to set modes, which X or another of these programs must not hold.
 */
void pv_kms_open(struct pv_kms *kms, const char *path, bool master);
void pv_kms_close(struct pv_kms *kms);

/* Asks all connectors anew for their state and modes. */
void pv_kms_probe(struct pv_kms *kms);

/* A head by its number or name; ends the program with the list of heads if there is none such. */
struct pv_head *pv_kms_head(struct pv_kms *kms, const char *name);
bool pv_head_connected(const struct pv_head *head);

/* The connector's preferred mode, else its first; ends the program if it has none. */
const drmModeModeInfo *pv_head_preferred_mode(const struct pv_head *head);

/* The connector's first mode of that size, or NULL. */
const drmModeModeInfo *pv_head_find_mode(const struct pv_head *head, uint32_t width, uint32_t height);

/* A mode that no EDID need list, with the given size and frame time. */
drmModeModeInfo pv_mode_make(uint32_t width, uint32_t height, uint32_t frame_us);
uint32_t pv_mode_refresh_mhz(const drmModeModeInfo *mode);

/* A zeroed XR24 dumb buffer, mapped, with its frame buffer. */
void pv_buffer_create_dumb(struct pv_kms *kms, struct pv_buffer *buffer, uint32_t width, uint32_t height);

/* The same in any of virtio's formats. */
void pv_buffer_create_virtio(struct pv_kms *kms, struct pv_buffer *buffer, uint32_t width, uint32_t height,
			     const struct pv_virtio_format *format);
void pv_buffer_destroy(struct pv_kms *kms, struct pv_buffer *buffer);

/* Sends a buffer that is not dumb to the device; nothing for a dumb one. Before it is shown or marked dirty. */
void pv_buffer_upload(struct pv_kms *kms, struct pv_buffer *buffer);
void pv_buffer_draw(struct pv_kms *kms, struct pv_buffer *buffer, const struct pv_pattern *pattern);

/* Sets the mode with the buffer at its top left. */
void pv_head_show(struct pv_kms *kms, struct pv_head *head, struct pv_buffer *buffer, const drmModeModeInfo *mode);
void pv_head_disable(struct pv_kms *kms, struct pv_head *head);

/*
 * Returns once the device has answered every command queued before the call. False, at once, where the driver has no
 * command whose answer a program can wait for.
 */
bool pv_kms_barrier(struct pv_kms *kms);

/* One fenced command: makes a resource of one page in the device and waits for the answer. Pairs with _release. */
uint32_t pv_kms_round_trip(struct pv_kms *kms);
void pv_kms_round_trip_release(struct pv_kms *kms, uint32_t handle);

/* The EDID of the connector as hexadecimal digits, "" if it has none. The caller frees it. */
char *pv_head_edid_hex(struct pv_kms *kms, const struct pv_head *head);

/* The plane of `type` (DRM_PLANE_TYPE_*) that `head` can use; the caller frees it. NULL if there is none. */
drmModePlane *pv_head_plane(struct pv_kms *kms, const struct pv_head *head, uint64_t type);

/* The id of an object's property, 0 if it has none of that name; `*value`, if not NULL, receives its value. */
uint32_t pv_kms_property(struct pv_kms *kms, uint32_t object_id, uint32_t object_type, const char *name,
			 uint64_t *value);

#endif

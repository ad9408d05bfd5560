/* SPDX-License-Identifier: MIT */
#include "kms.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm_fourcc.h>
#include <virtgpu_drm.h>
#include <xf86drm.h>

#include "program.h"

#define CARDS_MAX 16

/* What virtio_gpu's resource ioctl wants where the device has a 3D renderer; ignored by a 2D device. */
#define PIPE_TEXTURE_2D         2u
#define PIPE_BIND_RENDER_TARGET 2u

const struct pv_virtio_format pv_virtio_formats[8] = {
    {"b8g8r8a8", 1, {.blue = 0, .green = 1, .red = 2, .alpha = 3}},
    {"b8g8r8x8", 2, {.blue = 0, .green = 1, .red = 2, .alpha = 3}},
    {"a8r8g8b8", 3, {.alpha = 0, .red = 1, .green = 2, .blue = 3}},
    {"x8r8g8b8", 4, {.alpha = 0, .red = 1, .green = 2, .blue = 3}},
    {"r8g8b8a8", 67, {.red = 0, .green = 1, .blue = 2, .alpha = 3}},
    {"x8b8g8r8", 68, {.alpha = 0, .blue = 1, .green = 2, .red = 3}},
    {"a8b8g8r8", 121, {.alpha = 0, .blue = 1, .green = 2, .red = 3}},
    {"r8g8b8x8", 134, {.red = 0, .green = 1, .blue = 2, .alpha = 3}},
};

const struct pv_virtio_format *pv_virtio_format_find(const char *name)
{
	for (size_t i = 0; i < sizeof(pv_virtio_formats) / sizeof(pv_virtio_formats[0]); i++)
		if (strcmp(name, pv_virtio_formats[i].name) == 0)
			return &pv_virtio_formats[i];
	return NULL;
}

/* Opens the card if it can set modes; -1 with errno otherwise. */
static int open_card(const char *path, char *driver, size_t driver_size)
{
	const int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	drmVersion *version = drmGetVersion(fd);
	drmModeRes *resources = version ? drmModeGetResources(fd) : NULL;
	const bool usable = resources && resources->count_connectors > 0 && resources->count_crtcs > 0;

	if (version)
		snprintf(driver, driver_size, "%s", version->name);
	drmFreeVersion(version);
	if (resources)
		drmModeFreeResources(resources);
	if (usable)
		return fd;
	close(fd);
	errno = ENODEV;
	return -1;
}

static void find_card(struct pv_kms *kms)
{
	int first_error = ENOENT;

	kms->fd = -1;
	for (unsigned i = 0; i < CARDS_MAX; i++) {
		char path[sizeof(kms->path)], driver[sizeof(kms->driver)];

		snprintf(path, sizeof(path), "/dev/dri/card%u", i);
		const int fd = open_card(path, driver, sizeof(driver));
		if (fd < 0) {
			if (errno != ENOENT && first_error == ENOENT)
				first_error = errno;
			continue;
		}
		const bool is_virtio = strcmp(driver, "virtio_gpu") == 0;
		if (kms->fd >= 0 && !is_virtio) {
			close(fd);
			continue;
		}
		if (kms->fd >= 0)
			close(kms->fd);
		kms->fd = fd;
		memcpy(kms->path, path, sizeof(kms->path));
		memcpy(kms->driver, driver, sizeof(kms->driver));
		if (is_virtio)
			return;
	}
	if (kms->fd < 0)
		pv_die(
		    "no display device can be used (%s). Needed is a /dev/dri/card* with a connector: check that the "
		    "VM has a virtio-gpu, that its driver is loaded (modprobe virtio_gpu) and that you are root",
		    strerror(first_error));
}

static void find_heads(struct pv_kms *kms)
{
	drmModeRes *resources = drmModeGetResources(kms->fd);

	if (!resources)
		pv_die("%s: cannot list its connectors: %s", kms->path, strerror(errno));
	uint32_t crtcs_used = 0;
	for (int i = 0; i < resources->count_connectors && kms->head_count < PV_HEADS_MAX; i++) {
		drmModeConnector *connector = drmModeGetConnector(kms->fd, resources->connectors[i]);
		if (!connector)
			continue;
		uint32_t possible = 0;
		for (int k = 0; k < connector->count_encoders; k++) {
			drmModeEncoder *encoder = drmModeGetEncoder(kms->fd, connector->encoders[k]);
			if (encoder)
				possible |= encoder->possible_crtcs;
			drmModeFreeEncoder(encoder);
		}
		possible &= ~crtcs_used;
		int crtc = 0;
		while (crtc < resources->count_crtcs && !(possible >> crtc & 1))
			crtc++;
		if (crtc == resources->count_crtcs) {
			drmModeFreeConnector(connector);
			continue;
		}
		crtcs_used |= 1u << crtc;
		struct pv_head *head = &kms->heads[kms->head_count];
		const char *type = drmModeGetConnectorTypeName(connector->connector_type);
		*head = (struct pv_head){
		    .index = kms->head_count++,
		    .crtc_id = resources->crtcs[crtc],
		    .crtc_index = (unsigned)crtc,
		    .connector = connector,
		};
		snprintf(head->name, sizeof(head->name), "%s-%u", type ? type : "Unknown",
			 connector->connector_type_id);
	}
	drmModeFreeResources(resources);
	if (kms->head_count == 0)
		pv_die("%s (%s) has no connector that a CRTC can drive", kms->path, kms->driver);
}

void pv_kms_open(struct pv_kms *kms, const char *path, bool master)
{
	memset(kms, 0, sizeof(*kms));
	if (path) {
		kms->fd = open_card(path, kms->driver, sizeof(kms->driver));
		if (kms->fd < 0)
			pv_die("%s cannot be used for display: %s. Leave --device out to have one found", path,
			       strerror(errno));
		snprintf(kms->path, sizeof(kms->path), "%s", path);
	} else {
		find_card(kms);
	}
	if (master && drmSetMaster(kms->fd) != 0)
		pv_die("%s: another program holds the display (%s). Stop X or the other program first", kms->path,
		       strerror(errno));
	drmSetClientCap(kms->fd, DRM_CLIENT_CAP_UNIVERSAL_PLANES, 1);
	kms->has_virtio_commands = strcmp(kms->driver, "virtio_gpu") == 0;
	find_heads(kms);

	uint64_t sequence, time_ns;
	/* EINVAL comes from a CRTC that is off but would have a vertical blank. */
	kms->has_vblank = drmCrtcGetSequence(kms->fd, kms->heads[0].crtc_id, &sequence, &time_ns) == 0 ||
			  (errno != EOPNOTSUPP && errno != ENOTTY);
}

void pv_kms_close(struct pv_kms *kms)
{
	for (unsigned i = 0; i < kms->head_count; i++)
		drmModeFreeConnector(kms->heads[i].connector);
	close(kms->fd);
	kms->head_count = 0;
	kms->fd = -1;
}

void pv_kms_probe(struct pv_kms *kms)
{
	for (unsigned i = 0; i < kms->head_count; i++) {
		struct pv_head *head = &kms->heads[i];
		drmModeConnector *connector = drmModeGetConnector(kms->fd, head->connector->connector_id);

		if (!connector)
			pv_die("%s: connector %s is gone (%s)", kms->path, head->name, strerror(errno));
		drmModeFreeConnector(head->connector);
		head->connector = connector;
	}
}

struct pv_head *pv_kms_head(struct pv_kms *kms, const char *name)
{
	char known[PV_HEADS_MAX * (sizeof(kms->heads[0].name) + 8)] = "";
	size_t used = 0;

	for (unsigned i = 0; i < kms->head_count; i++) {
		struct pv_head *head = &kms->heads[i];
		char number[16];

		snprintf(number, sizeof(number), "%u", i);
		if (strcmp(name, head->name) == 0 || strcmp(name, number) == 0)
			return head;
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%u (%s)", i ? ", " : "", i, head->name);
	}
	pv_die("there is no connector '%s'; this device has %s", name, known);
}

bool pv_head_connected(const struct pv_head *head)
{
	return head->connector->connection == DRM_MODE_CONNECTED;
}

const drmModeModeInfo *pv_head_preferred_mode(const struct pv_head *head)
{
	const drmModeConnector *connector = head->connector;

	for (int i = 0; i < connector->count_modes; i++)
		if (connector->modes[i].type & DRM_MODE_TYPE_PREFERRED)
			return &connector->modes[i];
	if (connector->count_modes == 0)
		pv_die("connector %s lists no mode (it is %s); choose a size with --mode WxH", head->name,
		       pv_head_connected(head) ? "connected" : "not connected");
	return &connector->modes[0];
}

const drmModeModeInfo *pv_head_find_mode(const struct pv_head *head, uint32_t width, uint32_t height)
{
	for (int i = 0; i < head->connector->count_modes; i++) {
		const drmModeModeInfo *mode = &head->connector->modes[i];

		if (mode->hdisplay == width && mode->vdisplay == height)
			return mode;
	}
	return NULL;
}

drmModeModeInfo pv_mode_make(uint32_t width, uint32_t height, uint32_t frame_us)
{
	drmModeModeInfo mode = {
	    .hdisplay = (uint16_t)width,
	    .hsync_start = (uint16_t)(width + 16),
	    .hsync_end = (uint16_t)(width + 48),
	    .htotal = (uint16_t)(width + 80),
	    .vdisplay = (uint16_t)height,
	    .vsync_start = (uint16_t)(height + 3),
	    .vsync_end = (uint16_t)(height + 8),
	    .vtotal = (uint16_t)(height + 16),
	    .vrefresh = 1000000u / frame_us,
	    .type = DRM_MODE_TYPE_USERDEF,
	};
	const uint64_t clock_khz = (uint64_t)mode.htotal * mode.vtotal * 1000u / frame_us;

	/* The kernel keeps the clock as a signed 32-bit number of kHz. */
	mode.clock = clock_khz > INT32_MAX ? INT32_MAX : (uint32_t)clock_khz;
	snprintf(mode.name, sizeof(mode.name), "%ux%u", width, height);
	return mode;
}

uint32_t pv_mode_refresh_mhz(const drmModeModeInfo *mode)
{
	const uint64_t frame_pixels = (uint64_t)mode->htotal * mode->vtotal;

	return frame_pixels ? (uint32_t)(((uint64_t)mode->clock * 1000000u + frame_pixels / 2) / frame_pixels) : 0;
}

static void add_frame_buffer(struct pv_kms *kms, struct pv_buffer *buffer)
{
	const uint32_t handles[4] = {buffer->handle}, offsets[4] = {0};
	const uint32_t pitches[4] = {(uint32_t)buffer->stride_bytes};

	if (drmModeAddFB2(kms->fd, buffer->width, buffer->height, DRM_FORMAT_XRGB8888, handles, pitches, offsets,
			  &buffer->fb_id, 0) != 0)
		pv_die("%s takes no XR24 frame buffer of %ux%u: %s", kms->path, buffer->width, buffer->height,
		       strerror(errno));
}

static void map_pixels(struct pv_kms *kms, struct pv_buffer *buffer, uint64_t offset)
{
	buffer->pixels = mmap(NULL, buffer->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, kms->fd, (off_t)offset);
	if (buffer->pixels == MAP_FAILED)
		pv_die("%s: a buffer of %zu bytes cannot be mapped: %s", kms->path, buffer->size_bytes,
		       strerror(errno));
}

void pv_buffer_create_dumb(struct pv_kms *kms, struct pv_buffer *buffer, uint32_t width, uint32_t height)
{
	struct drm_mode_create_dumb create = {.width = width, .height = height, .bpp = 32};

	if (drmIoctl(kms->fd, DRM_IOCTL_MODE_CREATE_DUMB, &create) != 0)
		pv_die("%s: no dumb buffer of %ux%u: %s. A smaller --size needs less memory", kms->path, width, height,
		       strerror(errno));
	struct drm_mode_map_dumb map = {.handle = create.handle};
	if (drmIoctl(kms->fd, DRM_IOCTL_MODE_MAP_DUMB, &map) != 0)
		pv_die("%s: a dumb buffer cannot be mapped: %s", kms->path, strerror(errno));
	*buffer = (struct pv_buffer){
	    .handle = create.handle,
	    .width = width,
	    .height = height,
	    .stride_bytes = create.pitch,
	    .size_bytes = create.size,
	    .layout = pv_layout_bgra,
	    .is_dumb = true,
	};
	map_pixels(kms, buffer, map.offset);
	add_frame_buffer(kms, buffer);
}

/* Leaves the new resource's GEM handle in the result; ends the program where the driver or the device refuses. */
static uint32_t create_resource(struct pv_kms *kms, uint32_t width, uint32_t height, uint32_t format,
				uint32_t size_bytes)
{
	struct drm_virtgpu_resource_create create = {
	    .target = PIPE_TEXTURE_2D,
	    .format = format,
	    .bind = PIPE_BIND_RENDER_TARGET,
	    .width = width,
	    .height = height,
	    .depth = 1,
	    .array_size = 1,
	    .size = size_bytes,
	};

	if (drmIoctl(kms->fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, &create) != 0)
		pv_die("%s (%s): no resource of %ux%u in virtio format %u: %s", kms->path, kms->driver, width, height,
		       format, strerror(errno));
	return create.bo_handle;
}

static void wait_for_resource(struct pv_kms *kms, uint32_t handle)
{
	struct drm_virtgpu_3d_wait wait = {.handle = handle};

	if (drmIoctl(kms->fd, DRM_IOCTL_VIRTGPU_WAIT, &wait) != 0)
		pv_die("%s: the device did not answer a command within 15 s (%s). Look at the VMM's log", kms->path,
		       strerror(errno));
}

static void close_handle(struct pv_kms *kms, uint32_t handle)
{
	drmIoctl(kms->fd, DRM_IOCTL_GEM_CLOSE, &(struct drm_gem_close){.handle = handle});
}

void pv_buffer_create_virtio(struct pv_kms *kms, struct pv_buffer *buffer, uint32_t width, uint32_t height,
			     const struct pv_virtio_format *format)
{
	const uint32_t page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);

	if (!kms->has_virtio_commands)
		pv_die("--format needs the driver virtio_gpu; %s has %s", kms->path, kms->driver);
	*buffer = (struct pv_buffer){
	    .width = width,
	    .height = height,
	    .stride_bytes = (size_t)width * 4,
	    .size_bytes = ((size_t)width * height * 4 + page_bytes - 1) / page_bytes * page_bytes,
	    .layout = format->layout,
	};
	buffer->handle = create_resource(kms, width, height, format->id, (uint32_t)buffer->size_bytes);
	wait_for_resource(kms, buffer->handle);
	struct drm_virtgpu_map map = {.handle = buffer->handle};
	if (drmIoctl(kms->fd, DRM_IOCTL_VIRTGPU_MAP, &map) != 0)
		pv_die("%s: a resource cannot be mapped: %s", kms->path, strerror(errno));
	map_pixels(kms, buffer, map.offset);
	add_frame_buffer(kms, buffer);
}

void pv_buffer_destroy(struct pv_kms *kms, struct pv_buffer *buffer)
{
	drmModeRmFB(kms->fd, buffer->fb_id);
	munmap(buffer->pixels, buffer->size_bytes);
	close_handle(kms, buffer->handle);
	memset(buffer, 0, sizeof(*buffer));
}

void pv_buffer_upload(struct pv_kms *kms, struct pv_buffer *buffer)
{
	struct drm_virtgpu_3d_transfer_to_host transfer = {
	    .bo_handle = buffer->handle,
	    .box = {.w = buffer->width, .h = buffer->height, .d = 1},
	};

	if (!buffer->is_dumb && drmIoctl(kms->fd, DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST, &transfer) != 0)
		pv_die("%s: a transfer to the device failed: %s", kms->path, strerror(errno));
}

void pv_buffer_draw(struct pv_kms *kms, struct pv_buffer *buffer, const struct pv_pattern *pattern)
{
	pv_pattern_fill(pattern, buffer->pixels, buffer->stride_bytes, buffer->width, buffer->height, &buffer->layout);
	pv_buffer_upload(kms, buffer);
}

void pv_head_show(struct pv_kms *kms, struct pv_head *head, struct pv_buffer *buffer, const drmModeModeInfo *mode)
{
	drmModeModeInfo wanted = *mode;

	if (drmModeSetCrtc(kms->fd, head->crtc_id, buffer->fb_id, 0, 0, &head->connector->connector_id, 1, &wanted) !=
	    0)
		pv_die("%s: mode %ux%u cannot be set on %s: %s", kms->path, wanted.hdisplay, wanted.vdisplay,
		       head->name, strerror(errno));
}

void pv_head_disable(struct pv_kms *kms, struct pv_head *head)
{
	if (drmModeSetCrtc(kms->fd, head->crtc_id, 0, 0, 0, NULL, 0, NULL) != 0)
		pv_die("%s: %s cannot be switched off: %s", kms->path, head->name, strerror(errno));
}

uint32_t pv_kms_round_trip(struct pv_kms *kms)
{
	const uint32_t handle = create_resource(kms, 1, 1, pv_virtio_formats[0].id, 0);

	wait_for_resource(kms, handle);
	return handle;
}

void pv_kms_round_trip_release(struct pv_kms *kms, uint32_t handle)
{
	close_handle(kms, handle);
}

bool pv_kms_barrier(struct pv_kms *kms)
{
	if (!kms->has_virtio_commands)
		return false;
	/* The control queue is served in order, so an answered command means that all before it are done. */
	pv_kms_round_trip_release(kms, pv_kms_round_trip(kms));
	return true;
}

uint32_t pv_kms_property(struct pv_kms *kms, uint32_t object_id, uint32_t object_type, const char *name,
			 uint64_t *value)
{
	drmModeObjectProperties *properties = drmModeObjectGetProperties(kms->fd, object_id, object_type);
	uint32_t id = 0;

	for (uint32_t i = 0; properties && i < properties->count_props && id == 0; i++) {
		drmModePropertyRes *property = drmModeGetProperty(kms->fd, properties->props[i]);

		if (property && strcmp(property->name, name) == 0) {
			id = property->prop_id;
			if (value)
				*value = properties->prop_values[i];
		}
		drmModeFreeProperty(property);
	}
	drmModeFreeObjectProperties(properties);
	return id;
}

char *pv_head_edid_hex(struct pv_kms *kms, const struct pv_head *head)
{
	uint64_t blob_id = 0;
	drmModePropertyBlobRes *blob = NULL;

	if (pv_kms_property(kms, head->connector->connector_id, DRM_MODE_OBJECT_CONNECTOR, "EDID", &blob_id) && blob_id)
		blob = drmModeGetPropertyBlob(kms->fd, (uint32_t)blob_id);
	const size_t length = blob ? blob->length : 0;
	char *hex = malloc(length * 2 + 1);
	if (!hex)
		pv_die("out of memory");
	for (size_t i = 0; i < length; i++)
		snprintf(hex + i * 2, 3, "%02x", ((const uint8_t *)blob->data)[i]);
	hex[length * 2] = '\0';
	if (blob)
		drmModeFreePropertyBlob(blob);
	return hex;
}

drmModePlane *pv_head_plane(struct pv_kms *kms, const struct pv_head *head, uint64_t type)
{
	drmModePlaneRes *planes = drmModeGetPlaneResources(kms->fd);
	drmModePlane *found = NULL;

	for (uint32_t i = 0; planes && i < planes->count_planes && !found; i++) {
		drmModePlane *plane = drmModeGetPlane(kms->fd, planes->planes[i]);
		uint64_t plane_type;

		if (!plane)
			continue;
		if ((plane->possible_crtcs >> head->crtc_index & 1) &&
		    pv_kms_property(kms, plane->plane_id, DRM_MODE_OBJECT_PLANE, "type", &plane_type) &&
		    plane_type == type)
			found = plane;
		else
			drmModeFreePlane(plane);
	}
	drmModeFreePlaneResources(planes);
	return found;
}

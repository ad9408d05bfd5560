/* SPDX-License-Identifier: MIT */
/* What the device says of itself: heads, formats, and the events that announce a change. */
#include "kmsbench.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xf86drm.h>

#include "program.h"

#define UEVENT_MAX_BYTES 8192

static const char *connection_name(drmModeConnection connection)
{
	switch (connection) {
	case DRM_MODE_CONNECTED:
		return "connected";
	case DRM_MODE_DISCONNECTED:
		return "disconnected";
	case DRM_MODE_UNKNOWNCONNECTION:
		break;
	}
	return "unknown";
}

static void print_head(struct pv_kms *kms, const struct pv_head *head)
{
	const drmModeConnector *connector = head->connector;
	char *edid = pv_head_edid_hex(kms, head);

	printf("{\"index\":%u,\"name\":", head->index);
	pv_json_string(head->name);
	printf(",\"connector\":%u,\"crtc\":%u,\"status\":\"%s\",\"width_mm\":%u,\"height_mm\":%u,\"modes\":[",
	       connector->connector_id, head->crtc_id, connection_name(connector->connection), connector->mmWidth,
	       connector->mmHeight);
	for (int i = 0; i < connector->count_modes; i++) {
		printf("%s{", i ? "," : "");
		pv_print_mode_fields(&connector->modes[i]);
		printf(",\"preferred\":%s}", connector->modes[i].type & DRM_MODE_TYPE_PREFERRED ? "true" : "false");
	}
	printf("],\"edid\":\"%s\"}", edid);
	free(edid);
}

int pv_run_heads(const struct pv_options *options)
{
	struct pv_kms kms;

	pv_kms_open(&kms, options->device, false);
	printf("{\"device\":");
	pv_json_string(kms.path);
	printf(",\"driver\":");
	pv_json_string(kms.driver);
	printf(",\"vblank\":%s,\"heads\":[", kms.has_vblank ? "true" : "false");
	for (unsigned i = 0; i < kms.head_count; i++) {
		if (i)
			putchar(',');
		print_head(&kms, &kms.heads[i]);
	}
	printf("]}\n");
	pv_kms_close(&kms);
	return 0;
}

static void print_fourcc(uint32_t fourcc)
{
	const char text[5] = {(char)fourcc, (char)(fourcc >> 8), (char)(fourcc >> 16), (char)(fourcc >> 24), '\0'};

	pv_json_string(text);
}

static void print_plane_formats(struct pv_kms *kms, const char *name, uint64_t type)
{
	drmModePlane *plane = pv_head_plane(kms, &kms->heads[0], type);

	printf("\"%s\":[", name);
	for (uint32_t i = 0; plane && i < plane->count_formats; i++) {
		if (i)
			putchar(',');
		print_fourcc(plane->formats[i]);
	}
	printf("],");
	drmModeFreePlane(plane);
}

int pv_run_formats(const struct pv_options *options)
{
	struct pv_kms kms;

	pv_kms_open(&kms, options->device, false);
	putchar('{');
	print_plane_formats(&kms, "primary", DRM_PLANE_TYPE_PRIMARY);
	print_plane_formats(&kms, "cursor", DRM_PLANE_TYPE_CURSOR);
	printf("\"format_option\":[\"XR24\"");
	for (size_t i = 0; kms.has_virtio_commands && i < sizeof(pv_virtio_formats) / sizeof(pv_virtio_formats[0]); i++)
		printf(",\"%s\"", pv_virtio_formats[i].name);
	printf("]}\n");
	pv_kms_close(&kms);
	return 0;
}

static int open_uevents(void)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
	const int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		pv_die("the kernel's uevents cannot be heard: %s. Run as root, outside containers", strerror(errno));
	return fd;
}

/* The value of `key` in a uevent, which is a list of KEY=value strings; NULL if it is not there. */
static const char *uevent_value(const char *message, size_t length, const char *key)
{
	const size_t key_length = strlen(key);

	for (size_t at = 0; at < length; at += strlen(message + at) + 1)
		if (strncmp(message + at, key, key_length) == 0 && message[at + key_length] == '=')
			return message + at + key_length + 1;
	return NULL;
}

static void print_uevent_field(const char *message, size_t length, const char *key, const char *name)
{
	const char *value = uevent_value(message, length, key);

	if (!value)
		return;
	printf(",\"%s\":", name);
	pv_json_string(value);
}

static void report_uevent(struct pv_kms *kms, int fd, uint64_t start_ns)
{
	char message[UEVENT_MAX_BYTES + 1];
	const ssize_t received = recv(fd, message, UEVENT_MAX_BYTES, MSG_DONTWAIT);

	if (received <= 0)
		return;
	message[received] = '\0';
	const size_t length = (size_t)received;
	const char *subsystem = uevent_value(message, length, "SUBSYSTEM");
	if (!subsystem || strcmp(subsystem, "drm") != 0)
		return;
	const char *hotplug = uevent_value(message, length, "HOTPLUG");
	printf("{\"event\":\"uevent\",\"at_ms\":%.1f,\"hotplug\":%s", (double)(pv_now_ns() - start_ns) / 1e6,
	       hotplug && strcmp(hotplug, "1") == 0 ? "true" : "false");
	print_uevent_field(message, length, "ACTION", "action");
	print_uevent_field(message, length, "DEVNAME", "devname");
	pv_kms_probe(kms);
	printf(",\"heads\":[");
	for (unsigned i = 0; i < kms->head_count; i++) {
		const struct pv_head *head = &kms->heads[i];

		printf("%s{\"name\":", i ? "," : "");
		pv_json_string(head->name);
		printf(",\"status\":\"%s\"", connection_name(head->connector->connection));
		if (head->connector->count_modes > 0) {
			putchar(',');
			pv_print_mode_fields(pv_head_preferred_mode(head));
		}
		putchar('}');
	}
	printf("]}\n");
	fflush(stdout);
}

int pv_run_watch(const struct pv_options *options)
{
	struct pv_kms kms;
	struct pollfd events = {.fd = open_uevents(), .events = POLLIN};
	const uint64_t start_ns = pv_now_ns();
	const uint64_t stop_ns = start_ns + (uint64_t)(options->seconds * 1e9);

	pv_kms_open(&kms, options->device, false);
	printf("{\"event\":\"watching\",\"seconds\":%.3f}\n", options->seconds);
	fflush(stdout);
	while (!pv_interrupted()) {
		const uint64_t now_ns = pv_now_ns();

		if (now_ns >= stop_ns)
			break;
		/* Rounded up: a wait of 0 ms for the last part of one would spin. */
		if (poll(&events, 1, (int)((stop_ns - now_ns) / 1000000u) + 1) > 0)
			report_uevent(&kms, events.fd, start_ns);
	}
	close(events.fd);
	pv_kms_close(&kms);
	return 0;
}

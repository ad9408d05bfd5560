/* SPDX-License-Identifier: MIT */
/* The device's state as JSON. Numbers are gathered on the device thread, the text is made on the caller's. */
#include <stdlib.h>
#include <unistd.h>

#include <yyjson.h>

#include "device/device.h"
#include "device/process.h"
#include "device/version.h"
#include "gpu/protocol.h"
#include "pv/device.h"
#include "worker/client.h"

#define MAX_CONTEXTS 256

struct state {
	struct pv_device *device;
	struct pv_gpu_stats gpu;
	uint64_t features, window_bytes;
	struct pv_gpu_context_stats contexts[MAX_CONTEXTS];
	size_t nr_contexts;
	uint32_t nr_outputs;
	struct pv_output outputs[PV_GPU_MAX_SCANOUTS];
	uint32_t frames_per_second[PV_GPU_MAX_SCANOUTS];
	struct pv_meter_cursor cursor;
	bool has_console;
	enum pv_device_owner owner;
	const char *server;
	struct pv_transport_stats transport;
	const char *vulkan_device, *vulkan_driver; /* immutable; empty: none */
	bool has_worker;
	struct pv_worker_client_status worker;
};

static void gather_3d(struct state *state, const struct pv_device_host *host)
{
	state->vulkan_device = state->vulkan_driver = "";
	state->has_worker = host->worker != NULL;
	if (host->worker) {
		pv_device_worker_status(host->worker, &state->worker);
		state->vulkan_device = state->worker.device;
		state->vulkan_driver = state->worker.driver;
	} else if (host->vulkan) {
		state->vulkan_device = pv_device_vulkan_device(host->vulkan);
		state->vulkan_driver = pv_device_vulkan_driver(host->vulkan);
	}
}

static void gather(void *user)
{
	struct state *state = user;
	struct pv_device *device = state->device;
	uint64_t now_ns = pv_now_ns();

	pv_gpu_get_stats(device->gpu, &state->gpu);
	state->features = pv_gpu_features(device->gpu);
	state->window_bytes = pv_gpu_window_bytes(device->gpu);
	state->nr_contexts = pv_gpu_get_contexts(device->gpu, state->contexts, MAX_CONTEXTS);
	state->nr_outputs = pv_gpu_nr_outputs(device->gpu);
	for (uint32_t i = 0; i < state->nr_outputs; i++) {
		state->outputs[i] = *pv_gpu_output(device->gpu, i);
		state->frames_per_second[i] = pv_meter_frames_per_second(device->meter, i, now_ns);
	}
	state->cursor = pv_meter_cursor(device->meter);
	gather_3d(state, &device->host);
	state->has_console = device->console != NULL;
	state->owner = device->owner;
	state->server = device->server.kind;
	if (device->server.get_stats)
		device->server.get_stats(device->server.transport, &state->transport);
}

static const struct {
	unsigned int bit;
	const char *name;
} feature_names[] = {
    {PV_GPU_F_VIRGL, "VIRTIO_GPU_F_VIRGL"},
    {PV_GPU_F_EDID, "VIRTIO_GPU_F_EDID"},
    {PV_GPU_F_RESOURCE_UUID, "VIRTIO_GPU_F_RESOURCE_UUID"},
    {PV_GPU_F_RESOURCE_BLOB, "VIRTIO_GPU_F_RESOURCE_BLOB"},
    {PV_GPU_F_CONTEXT_INIT, "VIRTIO_GPU_F_CONTEXT_INIT"},
    {5, "VIRTIO_GPU_F_BLOB_ALIGNMENT"},
    {28, "VIRTIO_F_INDIRECT_DESC"},
    {29, "VIRTIO_F_EVENT_IDX"},
    {30, "VHOST_USER_F_PROTOCOL_FEATURES"},
    {32, "VIRTIO_F_VERSION_1"},
    {33, "VIRTIO_F_ACCESS_PLATFORM"},
    {34, "VIRTIO_F_RING_PACKED"},
    {35, "VIRTIO_F_IN_ORDER"},
    {40, "VIRTIO_F_RING_RESET"},
};

static const char *format_name(uint32_t format)
{
	switch (format) {
	case PV_GPU_FORMAT_B8G8R8A8:
		return "B8G8R8A8";
	case PV_GPU_FORMAT_B8G8R8X8:
		return "B8G8R8X8";
	case PV_GPU_FORMAT_A8R8G8B8:
		return "A8R8G8B8";
	case PV_GPU_FORMAT_X8R8G8B8:
		return "X8R8G8B8";
	case PV_GPU_FORMAT_R8G8B8A8:
		return "R8G8B8A8";
	case PV_GPU_FORMAT_X8B8G8R8:
		return "X8B8G8R8";
	case PV_GPU_FORMAT_A8B8G8R8:
		return "A8B8G8R8";
	case PV_GPU_FORMAT_R8G8B8X8:
		return "R8G8B8X8";
	default:
		return "none";
	}
}

static void add_features(yyjson_mut_doc *doc, yyjson_mut_val *parent, const char *key, uint64_t bits)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, parent, key);

	for (unsigned int bit = 0; bit < 64; bit++) {
		const char *name = NULL;

		if (!(bits >> bit & 1))
			continue;
		for (size_t i = 0; i < PV_ARRAY_LEN(feature_names); i++) {
			if (feature_names[i].bit == bit)
				name = feature_names[i].name;
		}
		if (name)
			yyjson_mut_arr_add_str(doc, list, name);
		else
			yyjson_mut_arr_add_uint(doc, list, bit);
	}
}

static void add_front_end(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct state *state)
{
	const struct pv_transport_stats *stats = &state->transport;
	const char *kind = state->server                                ? state->server
			   : state->owner == PV_DEVICE_OWNED_BY_PROGRAM ? "program"
									: "none";
	yyjson_mut_val *front_end = yyjson_mut_obj_add_obj(doc, root, "front_end");

	yyjson_mut_obj_add_str(doc, front_end, "kind", kind);
	yyjson_mut_obj_add_bool(doc, front_end, "connected",
				state->owner == PV_DEVICE_OWNED_BY_PROGRAM || stats->connected);
	if (!state->server)
		return;
	yyjson_mut_obj_add_uint(doc, front_end, "messages", stats->messages);
	yyjson_mut_obj_add_uint(doc, front_end, "doorbells", stats->doorbells);
	yyjson_mut_obj_add_uint(doc, front_end, "memory_regions", stats->memory_regions);
	yyjson_mut_obj_add_uint(doc, front_end, "memory_bytes", stats->memory_bytes);
	yyjson_mut_obj_add_bool(doc, front_end, "window_mapped", stats->window_mapped);
	yyjson_mut_obj_add_bool(doc, front_end, "console", state->has_console);
}

static void add_scanouts(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct state *state)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "scanouts");

	for (uint32_t i = 0; i < state->nr_outputs; i++) {
		const struct pv_gpu_scanout_stats *scanout = &state->gpu.scanouts[i];
		const struct pv_output *output = &state->outputs[i];
		yyjson_mut_val *entry = yyjson_mut_arr_add_obj(doc, list);
		yyjson_mut_val *offered;

		yyjson_mut_obj_add_uint(doc, entry, "index", i);
		yyjson_mut_obj_add_bool(doc, entry, "active", scanout->active);
		yyjson_mut_obj_add_uint(doc, entry, "width", scanout->width);
		yyjson_mut_obj_add_uint(doc, entry, "height", scanout->height);
		yyjson_mut_obj_add_str(doc, entry, "format", format_name(scanout->active ? scanout->format : 0));
		yyjson_mut_obj_add_uint(doc, entry, "resource", scanout->resource_id);
		yyjson_mut_obj_add_uint(doc, entry, "flushes", scanout->flushes);
		yyjson_mut_obj_add_uint(doc, entry, "fps", state->frames_per_second[i]);
		offered = yyjson_mut_obj_add_obj(doc, entry, "output");
		yyjson_mut_obj_add_bool(doc, offered, "enabled", output->enabled);
		yyjson_mut_obj_add_uint(doc, offered, "x", output->x);
		yyjson_mut_obj_add_uint(doc, offered, "y", output->y);
		yyjson_mut_obj_add_uint(doc, offered, "width", output->width);
		yyjson_mut_obj_add_uint(doc, offered, "height", output->height);
	}
}

static void add_cursor(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct pv_meter_cursor *cursor)
{
	yyjson_mut_val *entry = yyjson_mut_obj_add_obj(doc, root, "cursor");

	yyjson_mut_obj_add_bool(doc, entry, "visible", cursor->visible);
	yyjson_mut_obj_add_uint(doc, entry, "scanout", cursor->scanout_id);
	yyjson_mut_obj_add_int(doc, entry, "x", cursor->x);
	yyjson_mut_obj_add_int(doc, entry, "y", cursor->y);
	yyjson_mut_obj_add_uint(doc, entry, "hot_x", cursor->hot_x);
	yyjson_mut_obj_add_uint(doc, entry, "hot_y", cursor->hot_y);
}

static void add_queues(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct state *state)
{
	static const char *const names[PV_GPU_NR_QUEUES] = {"control", "cursor"};
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "queues");

	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		yyjson_mut_val *entry = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, entry, "name", names[i]);
		yyjson_mut_obj_add_bool(doc, entry, "running", state->gpu.queue_running[i]);
		yyjson_mut_obj_add_bool(doc, entry, "broken", state->gpu.queue_broken[i]);
	}
}

static void add_counters(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct pv_gpu_stats *stats)
{
	yyjson_mut_val *counters = yyjson_mut_obj_add_obj(doc, root, "counters");

	yyjson_mut_obj_add_uint(doc, counters, "commands", stats->commands);
	yyjson_mut_obj_add_uint(doc, counters, "cursor_commands", stats->cursor_commands);
	yyjson_mut_obj_add_uint(doc, counters, "failed_commands", stats->failed_commands);
	yyjson_mut_obj_add_uint(doc, counters, "interrupts", stats->interrupts);
	yyjson_mut_obj_add_uint(doc, counters, "fences_created", stats->fences_created);
	yyjson_mut_obj_add_uint(doc, counters, "fences_signalled", stats->fences_signalled);
	yyjson_mut_obj_add_uint(doc, counters, "transfers", stats->transfers);
	yyjson_mut_obj_add_uint(doc, counters, "transferred_bytes", stats->transferred_bytes);
	yyjson_mut_obj_add_uint(doc, counters, "flushes", stats->flushes);
	yyjson_mut_obj_add_uint(doc, counters, "submits", stats->submits);
	yyjson_mut_obj_add_uint(doc, counters, "resets", stats->resets);
}

static void add_usage(yyjson_mut_doc *doc, yyjson_mut_val *to, const struct pv_process_usage *usage)
{
	yyjson_mut_obj_add_uint(doc, to, "resident_bytes", usage->resident_bytes);
	yyjson_mut_obj_add_uint(doc, to, "peak_resident_bytes", usage->peak_resident_bytes);
	yyjson_mut_obj_add_uint(doc, to, "private_bytes", usage->private_bytes);
}

static void add_memory(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct state *state,
		       const struct pv_process_usage *usage)
{
	yyjson_mut_val *memory = yyjson_mut_obj_add_obj(doc, root, "memory");

	add_usage(doc, memory, usage);
	yyjson_mut_obj_add_uint(doc, memory, "resources", state->gpu.resources);
	yyjson_mut_obj_add_uint(doc, memory, "resource_bytes", state->gpu.host_bytes);
	yyjson_mut_obj_add_uint(doc, memory, "max_resource_bytes", state->gpu.max_host_bytes);
	yyjson_mut_obj_add_uint(doc, memory, "window_bytes", state->window_bytes);
	yyjson_mut_obj_add_uint(doc, memory, "window_used_bytes", state->gpu.window_used_bytes);
}

static const char *capset_name(uint32_t id)
{
	switch (id) {
	case 1:
		return "virgl";
	case 2:
		return "virgl2";
	case 4:
		return "venus";
	default:
		return "none";
	}
}

static void add_3d(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct state *state)
{
	yyjson_mut_val *list;

	if (state->vulkan_device[0]) {
		yyjson_mut_val *entry = yyjson_mut_obj_add_obj(doc, root, "vulkan");

		yyjson_mut_obj_add_str(doc, entry, "device", state->vulkan_device);
		yyjson_mut_obj_add_str(doc, entry, "driver", state->vulkan_driver);
	}
	if (state->has_worker) {
		yyjson_mut_val *entry = yyjson_mut_obj_add_obj(doc, root, "worker");
		struct pv_process_usage usage = {0};

		/* None is running: it is not this process that is meant. */
		if (state->worker.pid)
			usage = pv_process_usage(state->worker.pid);
		yyjson_mut_obj_add_uint(doc, entry, "pid", (uint64_t)state->worker.pid);
		yyjson_mut_obj_add_uint(doc, entry, "restarts", state->worker.restarts);
		yyjson_mut_obj_add_real(doc, entry, "cpu_seconds", (double)usage.cpu_ns / 1e9);
		add_usage(doc, entry, &usage);
	}
	list = yyjson_mut_obj_add_arr(doc, root, "contexts");
	for (size_t i = 0; i < state->nr_contexts; i++) {
		const struct pv_gpu_context_stats *context = &state->contexts[i];
		yyjson_mut_val *entry = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_uint(doc, entry, "id", context->id);
		yyjson_mut_obj_add_str(doc, entry, "name", context->name);
		yyjson_mut_obj_add_str(doc, entry, "renderer", capset_name(context->capset_id));
		yyjson_mut_obj_add_uint(doc, entry, "blobs", context->nr_blobs);
		yyjson_mut_obj_add_uint(doc, entry, "blob_bytes", context->blob_bytes);
		yyjson_mut_obj_add_uint(doc, entry, "host_bytes", context->host_bytes);
		yyjson_mut_obj_add_uint(doc, entry, "submits", context->submits);
	}
}

enum pv_status pv_device_status(struct pv_device *device, char **out_json)
{
	struct state state = {.device = device};
	struct pv_process_usage usage = pv_process_usage(0);
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root, *features;
	char *json = NULL;

	pv_loop_call(device->loop, gather, &state);
	/* Every call below takes what a failed one before it left, and does nothing. */
	root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "version", PV_VERSION);
	yyjson_mut_obj_add_uint(doc, root, "pid", (uint64_t)getpid());
	yyjson_mut_obj_add_str(doc, root, "renderer", state.gpu.renderer);
	yyjson_mut_obj_add_real(doc, root, "uptime_seconds", (double)(pv_now_ns() - device->created_ns) / 1e9);
	yyjson_mut_obj_add_real(doc, root, "cpu_seconds", (double)usage.cpu_ns / 1e9);
	add_front_end(doc, root, &state);
	features = yyjson_mut_obj_add_obj(doc, root, "features");
	add_features(doc, features, "offered", state.features);
	add_features(doc, features, "driver", state.gpu.driver_features);
	add_scanouts(doc, root, &state);
	add_cursor(doc, root, &state.cursor);
	add_queues(doc, root, &state);
	add_counters(doc, root, &state.gpu);
	add_memory(doc, root, &state, &usage);
	add_3d(doc, root, &state);
	if (doc)
		json = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	if (!json)
		return PV_ERR_NO_MEMORY;
	*out_json = json;
	return PV_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * One device: a thread with a loop, on it the core with its renderer and displays. The public functions wrap their
 * arguments into a `struct call` on their stack and run a function with it on the device thread.
 */
#include "pv/device.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mutex.h"
#include "base/socket.h"
#include "base/thread.h"
#include "device/device.h"
#include "device/version.h"
#include "display/png.h"

_Static_assert(PV_DEVICE_MAX_OUTPUTS == PV_GPU_MAX_SCANOUTS, "public and internal limits are the same");
_Static_assert(PV_DEVICE_MAX_SIDE_PIXELS == PV_FRAME_MAX_SIDE, "public and internal limits are the same");
_Static_assert(PV_DEVICE_NR_QUEUES == PV_GPU_NR_QUEUES, "public and internal limits are the same");

#define DEFAULT_WIDTH  1280
#define DEFAULT_HEIGHT 800

/* A picture that the GPU does not give by then is taken as it is. */
#define FETCH_NS UINT64_C(2000000000)

const char *pv_version(void)
{
	return PV_VERSION;
}

void pv_free(void *memory)
{
	free(memory);
}

bool pv_params_read(void *dst, size_t dst_size, const void *src, uint32_t src_size)
{
	/* A longer one is of a later version of the header; what it asks for beyond ours we cannot know. */
	if (src_size < sizeof(uint32_t) || src_size > 4096)
		return false;
	memset(dst, 0, dst_size);
	memcpy(dst, src, src_size < dst_size ? src_size : dst_size);
	return true;
}

static void *run_loop(void *user)
{
	struct pv_device *device = user;

	pv_loop_run(device->loop);
	return NULL;
}

/* ---- What the core tells the owner ---- */

static void interrupt(void *user, uint32_t queue)
{
	struct pv_device *device = user;

	device->owner_ops.interrupt(device->owner_user, queue);
}

static void config_changed(void *user)
{
	struct pv_device *device = user;

	if (device->owner_ops.config_changed)
		device->owner_ops.config_changed(device->owner_user);
}

static void needs_reset(void *user)
{
	struct pv_device *device = user;

	if (device->owner_ops.needs_reset)
		device->owner_ops.needs_reset(device->owner_user);
}

static const struct pv_gpu_transport_ops program_transport_ops = {
    .interrupt = interrupt,
    .config_changed = config_changed,
    .needs_reset = needs_reset,
};

enum pv_status pv_device_claim(struct pv_device *device, enum pv_device_owner owner)
{
	if (device->owner != PV_DEVICE_UNOWNED)
		return PV_ERR_ARGUMENT;
	device->owner = owner;
	return PV_OK;
}

void pv_device_release(struct pv_device *device)
{
	device->owner = PV_DEVICE_UNOWNED;
}

struct service_call {
	struct pv_device *device;
	struct pv_device_server server;
	enum pv_status status;
};

static void begin_service(void *user)
{
	struct service_call *call = user;

	call->status = pv_device_claim(call->device, PV_DEVICE_OWNED_BY_SERVER);
	if (call->status == PV_OK)
		call->device->server = call->server;
}

enum pv_status pv_device_begin_service(struct pv_device *device, const char *kind)
{
	struct service_call call = {.device = device, .server = {.kind = kind}};

	pv_loop_call(device->loop, begin_service, &call);
	return call.status;
}

static void set_transport(void *user)
{
	struct service_call *call = user;

	call->device->server.get_stats = call->server.get_stats;
	call->device->server.transport = call->server.transport;
}

void pv_device_set_transport(struct pv_device *device, void (*get_stats)(void *transport, struct pv_transport_stats *),
			     void *transport)
{
	struct service_call call = {.device = device, .server = {.get_stats = get_stats, .transport = transport}};

	pv_loop_call(device->loop, set_transport, &call);
}

static void end_service(void *user)
{
	struct pv_device *device = user;

	device->server = (struct pv_device_server){0};
	pv_device_release(device);
}

void pv_device_end_service(struct pv_device *device)
{
	pv_loop_call(device->loop, end_service, device);
}

enum pv_status pv_server_listen(const char *path, int32_t *out_fd)
{
	int fd = -1;
	enum pv_status status = pv_socket_listen(path, &fd);

	if (status == PV_OK && pv_fd_set_nonblocking(fd, true) != PV_OK) {
		pv_fd_close(&fd);
		status = PV_ERR_HOST;
	}
	if (status == PV_OK)
		*out_fd = fd;
	return status;
}

/* ---- Create ---- */

struct create_call {
	struct pv_device *device;
	struct pv_gpu_params gpu;
	struct pv_device_renderer_params renderers;
	const char *png_path;
	enum pv_status status;
};

static void create_parts(void *user)
{
	struct create_call *call = user;
	struct pv_device *device = call->device;

	call->renderers.loop = device->loop;
	call->renderers.window_bytes = &call->gpu.window_bytes;
	call->renderers.max_host_bytes = &call->gpu.max_host_bytes;
	call->status = pv_device_renderer_create(&call->renderers, &call->gpu.take_renderer, &device->host);
	if (call->status == PV_OK)
		call->status = pv_gpu_create(&call->gpu, &device->gpu);
	if (call->status == PV_OK)
		call->status = pv_png_display_create(call->png_path, &device->png);
	if (call->status == PV_OK)
		pv_gpu_add_display(device->gpu, device->png);
	if (call->status == PV_OK)
		call->status = pv_meter_create(&device->meter);
	if (call->status == PV_OK)
		pv_gpu_add_display(device->gpu, device->meter);
}

static void destroy_parts(void *user)
{
	struct pv_device *device = user;

	if (device->gpu)
		pv_gpu_destroy(device->gpu);
	/* A doorbell that is still posted finds this. */
	device->gpu = NULL;
	pv_device_host_finish(&device->host);
}

static bool to_output(const struct pv_device_output *from, struct pv_output *to)
{
	*to = (struct pv_output){
	    .enabled = from->enabled,
	    .x = from->x,
	    .y = from->y,
	    .width = from->width,
	    .height = from->height,
	    .refresh_millihertz = from->refresh_millihertz,
	    .width_mm = from->width_mm,
	    .height_mm = from->height_mm,
	};
	return !from->enabled || (from->width >= 1 && from->width <= PV_FRAME_MAX_SIDE && from->height >= 1 &&
				  from->height <= PV_FRAME_MAX_SIDE);
}

static enum pv_status read_params(const struct pv_device_params *from, struct create_call *call)
{
	struct pv_device_params params;

	if (!pv_params_read(&params, sizeof(params), from, from->struct_size))
		return PV_ERR_ARGUMENT;
	if (params.nr_outputs == 0)
		params.nr_outputs = 1;
	if (params.nr_outputs > PV_GPU_MAX_SCANOUTS ||
	    (params.window_bytes != PV_DEVICE_WINDOW_AUTO && params.window_bytes % (2u << 20) != 0))
		return PV_ERR_ARGUMENT;
	call->gpu = (struct pv_gpu_params){
	    .nr_outputs = params.nr_outputs,
	    .max_host_bytes = params.max_host_bytes,
	    .window_bytes = params.window_bytes,
	};
	call->renderers = (struct pv_device_renderer_params){
	    .names = params.renderers,
	    .vulkan_device = params.vulkan_device,
	    .render_node = params.render_node,
	    .emulate_portability = params.emulate_portability,
	    .use_guest_vram = params.use_guest_vram,
	    .with_dma_bufs = params.with_dma_bufs,
	    .worker_program = params.worker_program,
	};
	call->png_path = params.png_path;
	for (uint32_t i = 0; i < params.nr_outputs; i++) {
		struct pv_device_output output = {
		    .enabled = true, .x = i * DEFAULT_WIDTH, .width = DEFAULT_WIDTH, .height = DEFAULT_HEIGHT};

		if (!to_output(params.outputs ? &params.outputs[i] : &output, &call->gpu.outputs[i]))
			return PV_ERR_ARGUMENT;
	}
	return PV_OK;
}

static void ring_doorbell(struct pv_loop_task *task);

enum pv_status pv_device_create(const struct pv_device_params *params, struct pv_device **out)
{
	struct create_call call = {0};
	struct pv_device *device;
	enum pv_status status = read_params(params, &call);

	if (status != PV_OK)
		return status;
	device = calloc(1, sizeof(*device));
	if (!device)
		return PV_ERR_NO_MEMORY;
	device->created_ns = pv_now_ns();
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		device->doorbells[i].task.run = ring_doorbell;
		device->doorbells[i].device = device;
		device->doorbells[i].queue = i;
		atomic_init(&device->doorbells[i].posted, false);
	}
	status = pv_loop_create(&device->loop);
	if (status != PV_OK)
		goto out_device;
	status = pv_thread_create("device", run_loop, device, &device->thread);
	if (status != PV_OK)
		goto out_loop;

	device->writes_png = call.png_path != NULL;
	device->with_dma_bufs = call.renderers.with_dma_bufs;
	call.device = device;
	call.gpu.loop = device->loop;
	pv_loop_call(device->loop, create_parts, &call);
	if (call.status != PV_OK) {
		pv_device_destroy(device);
		return call.status;
	}
	*out = device;
	return PV_OK;

out_loop:
	pv_loop_destroy(device->loop);
out_device:
	free(device);
	return status;
}

/* ---- Pictures of the PNG display ---- */

struct fetch_call {
	struct pv_frame_waiter waiter;
	struct pv_device *device;
	uint32_t scanout;
	bool waits;
	struct pv_mutex lock;
	struct pv_condition came;
	bool has_come PV_GUARDED_BY(lock);
};

static void picture_came(struct pv_frame_waiter *waiter)
{
	struct fetch_call *call = PV_CONTAINER_OF(waiter, struct fetch_call, waiter);

	pv_mutex_lock(&call->lock);
	call->has_come = true;
	pv_condition_signal(&call->came);
	pv_mutex_unlock(&call->lock);
}

static void begin_fetch(void *user)
{
	struct fetch_call *call = user;

	call->waits = !pv_png_display_fetch(call->device->png, call->scanout, &call->waiter);
}

static void end_fetch(void *user)
{
	pv_frame_stop_waiting(&((struct fetch_call *)user)->waiter);
}

static void wait_for_picture(struct fetch_call *call)
{
	uint64_t deadline_ns = pv_now_ns() + FETCH_NS, now_ns;

	pv_mutex_lock(&call->lock);
	while (!call->has_come && (now_ns = pv_now_ns()) < deadline_ns)
		pv_condition_wait_for(&call->came, &call->lock, deadline_ns - now_ns);
	pv_mutex_unlock(&call->lock);
}

/* The head's picture in the PNG display is up to date afterwards, if this is not the device thread. */
static void fetch_picture(struct pv_device *device, uint32_t scanout)
{
	struct fetch_call call = {.waiter.ready = picture_came, .device = device, .scanout = scanout};

	if (pv_loop_is_current(device->loop))
		return;
	pv_mutex_init(&call.lock);
	pv_condition_init(&call.came);
	pv_loop_call(device->loop, begin_fetch, &call);
	if (call.waits) {
		wait_for_picture(&call);
		/* Also behind picture_came(), which may still have the lock. */
		pv_loop_call(device->loop, end_fetch, &call);
	}
	pv_condition_finish(&call.came);
	pv_mutex_finish(&call.lock);
}

/* ---- Destroy ---- */

void pv_device_destroy(struct pv_device *device)
{
	if (!device)
		return;
	for (uint32_t i = 0; device->writes_png && i < PV_GPU_MAX_SCANOUTS; i++)
		fetch_picture(device, i);
	pv_loop_call(device->loop, destroy_parts, device);
	pv_loop_stop(device->loop);
	pthread_join(device->thread, NULL);
	pv_loop_destroy(device->loop);
	free(device);
}

/* ---- A program that owns the queues ---- */

struct call {
	struct pv_device *device;
	const struct pv_device_owner_ops *ops;
	void *user;
	uint64_t features;
	struct pv_guest_map *map;
	uint32_t index;
	const struct pv_device_queue *queue;
	uint32_t offset, len;
	void *buf;
	const void *const_buf;
	uint32_t base;
	enum pv_status status;
};

static bool owned_by_program(const struct pv_device *device)
{
	return device->owner == PV_DEVICE_OWNED_BY_PROGRAM;
}

static void attach(void *user)
{
	struct call *call = user;
	struct pv_device *device = call->device;

	call->status = pv_device_claim(device, PV_DEVICE_OWNED_BY_PROGRAM);
	if (call->status != PV_OK)
		return;
	device->owner_ops = *call->ops;
	device->owner_user = call->user;
	pv_gpu_set_transport(device->gpu, &program_transport_ops, device);
}

enum pv_status pv_device_attach(struct pv_device *device, const struct pv_device_owner_ops *ops, void *user)
{
	struct pv_device_owner_ops copy;
	struct call call = {.device = device, .ops = &copy, .user = user};

	if (!pv_params_read(&copy, sizeof(copy), ops, ops->struct_size) || !copy.interrupt)
		return PV_ERR_ARGUMENT;
	pv_loop_call(device->loop, attach, &call);
	return call.status;
}

static void detach(void *user)
{
	struct call *call = user;
	struct pv_device *device = call->device;

	if (!owned_by_program(device))
		return;
	pv_gpu_reset(device->gpu);
	pv_gpu_set_guest_map(device->gpu, NULL);
	pv_gpu_set_transport(device->gpu, NULL, NULL);
	pv_device_release(device);
}

void pv_device_detach(struct pv_device *device)
{
	struct call call = {.device = device};

	pv_loop_call(device->loop, detach, &call);
}

static void features(void *user)
{
	struct call *call = user;

	call->features = pv_gpu_features(call->device->gpu);
}

uint64_t pv_device_features(struct pv_device *device)
{
	struct call call = {.device = device};

	pv_loop_call(device->loop, features, &call);
	return call.features;
}

static void set_driver_features(void *user)
{
	struct call *call = user;

	call->status = owned_by_program(call->device) ? pv_gpu_set_driver_features(call->device->gpu, call->features)
						      : PV_ERR_ARGUMENT;
}

enum pv_status pv_device_set_driver_features(struct pv_device *device, uint64_t chosen)
{
	struct call call = {.device = device, .features = chosen};

	pv_loop_call(device->loop, set_driver_features, &call);
	return call.status;
}

static void config_read(void *user)
{
	struct call *call = user;

	pv_gpu_config_read(call->device->gpu, call->offset, call->buf, call->len);
}

void pv_device_config_read(struct pv_device *device, uint32_t offset, void *buf, uint32_t len_bytes)
{
	struct call call = {.device = device, .offset = offset, .buf = buf, .len = len_bytes};

	pv_loop_call(device->loop, config_read, &call);
}

static void config_write(void *user)
{
	struct call *call = user;

	if (owned_by_program(call->device))
		pv_gpu_config_write(call->device->gpu, call->offset, call->const_buf, call->len);
}

void pv_device_config_write(struct pv_device *device, uint32_t offset, const void *buf, uint32_t len_bytes)
{
	struct call call = {.device = device, .offset = offset, .const_buf = buf, .len = len_bytes};

	pv_loop_call(device->loop, config_write, &call);
}

static void set_memory(void *user)
{
	struct call *call = user;

	call->status = owned_by_program(call->device) ? PV_OK : PV_ERR_ARGUMENT;
	if (call->status == PV_OK)
		pv_gpu_set_guest_map(call->device->gpu, call->map);
}

/* The owner is the caller, so what it got wrong is an argument. */
static enum pv_status from_owner(enum pv_status status)
{
	return status == PV_ERR_PEER ? PV_ERR_ARGUMENT : status;
}

enum pv_status pv_device_set_memory(struct pv_device *device, const struct pv_device_memory_region *from,
				    uint32_t nr_regions)
{
	struct pv_guest_region **regions;
	struct call call = {.device = device};
	enum pv_status status = PV_OK;
	uint32_t made = 0;

	if (nr_regions > PV_GUEST_MAX_REGIONS || (nr_regions > 0 && !from))
		return PV_ERR_ARGUMENT;
	regions = calloc(nr_regions ? nr_regions : 1, sizeof(struct pv_guest_region *));
	if (!regions)
		return PV_ERR_NO_MEMORY;
	for (; status == PV_OK && made < nr_regions; made += status == PV_OK) {
		const struct pv_device_memory_region *r = &from[made];
		struct pv_guest_region_params params = {
		    .guest_addr = r->guest_addr,
		    .size_bytes = r->size_bytes,
		    .fd = r->fd,
		    .fd_offset = r->fd_offset,
		    .memory = r->memory,
		};

		if (r->size_bytes == 0 || (r->fd < 0 && !r->memory))
			status = PV_ERR_ARGUMENT;
		else
			status = from_owner(pv_guest_region_create(&params, &regions[made]));
	}
	if (status == PV_OK)
		status = from_owner(pv_guest_map_create(regions, nr_regions, &call.map));
	if (status == PV_OK) {
		pv_loop_call(device->loop, set_memory, &call);
		status = call.status;
	}
	pv_guest_map_unref(call.map);
	while (made > 0)
		pv_guest_region_unref(regions[--made]);
	free(regions);
	return status;
}

static void queue_start(void *user)
{
	struct call *call = user;
	const struct pv_device_queue *queue = call->queue;
	struct pv_virtq_layout layout = {
	    .size = (uint16_t)queue->size,
	    .desc_addr = queue->desc_addr,
	    .avail_addr = queue->avail_addr,
	    .used_addr = queue->used_addr,
	};

	call->status = PV_ERR_ARGUMENT;
	if (!owned_by_program(call->device))
		return;
	if (queue->size > PV_VIRTQ_MAX_SIZE || queue->base > UINT16_MAX) {
		(void)pv_gpu_queue_stop(call->device->gpu, call->index);
		call->status = PV_ERR_GUEST;
		return;
	}
	call->status = pv_gpu_queue_start(call->device->gpu, call->index, &layout, (uint16_t)queue->base);
}

enum pv_status pv_device_queue_start(struct pv_device *device, uint32_t index, const struct pv_device_queue *queue)
{
	struct call call = {.device = device, .index = index, .queue = queue};

	if (index >= PV_GPU_NR_QUEUES)
		return PV_ERR_ARGUMENT;
	pv_loop_call(device->loop, queue_start, &call);
	return call.status;
}

static void queue_stop(void *user)
{
	struct call *call = user;

	if (owned_by_program(call->device))
		call->base = pv_gpu_queue_stop(call->device->gpu, call->index);
}

uint32_t pv_device_queue_stop(struct pv_device *device, uint32_t index)
{
	struct call call = {.device = device, .index = index};

	if (index < PV_GPU_NR_QUEUES)
		pv_loop_call(device->loop, queue_stop, &call);
	return call.base;
}

static void ring_doorbell(struct pv_loop_task *task)
{
	struct pv_device_doorbell *doorbell = PV_CONTAINER_OF(task, struct pv_device_doorbell, task);
	struct pv_device *device = doorbell->device;

	(void)atomic_exchange_explicit(&doorbell->posted, false, memory_order_acq_rel);
	if (device->gpu && owned_by_program(device))
		pv_gpu_queue_notify(device->gpu, doorbell->queue);
}

void pv_device_queue_notify(struct pv_device *device, uint32_t index)
{
	if (index < PV_GPU_NR_QUEUES &&
	    !atomic_exchange_explicit(&device->doorbells[index].posted, true, memory_order_acq_rel))
		pv_loop_post(device->loop, &device->doorbells[index].task);
}

static void reset(void *user)
{
	struct call *call = user;

	if (owned_by_program(call->device))
		pv_gpu_reset(call->device->gpu);
}

void pv_device_reset(struct pv_device *device)
{
	struct call call = {.device = device};

	pv_loop_call(device->loop, reset, &call);
}

struct window_call {
	struct pv_device *device;
	int fd;
	uint64_t size_bytes;
};

static void window(void *user)
{
	struct window_call *call = user;

	call->fd = pv_gpu_window_fd(call->device->gpu);
	call->size_bytes = call->fd >= 0 ? pv_gpu_window_bytes(call->device->gpu) : 0;
}

int32_t pv_device_window(struct pv_device *device, uint64_t *size_bytes)
{
	struct window_call call = {.device = device};

	pv_loop_call(device->loop, window, &call);
	*size_bytes = call.size_bytes;
	return call.fd;
}

/* ---- Heads ---- */

struct output_call {
	struct pv_device *device;
	uint32_t index, count;
	struct pv_output output;
	enum pv_status status;
};

static void get_output(void *user)
{
	struct output_call *call = user;

	call->count = pv_gpu_nr_outputs(call->device->gpu);
	call->status = call->index < call->count ? PV_OK : PV_ERR_ARGUMENT;
	if (call->status == PV_OK)
		call->output = *pv_gpu_output(call->device->gpu, call->index);
}

uint32_t pv_device_nr_outputs(struct pv_device *device)
{
	struct output_call call = {.device = device};

	pv_loop_call(device->loop, get_output, &call);
	return call.count;
}

enum pv_status pv_device_get_output(struct pv_device *device, uint32_t index, struct pv_device_output *out)
{
	struct output_call call = {.device = device, .index = index};

	pv_loop_call(device->loop, get_output, &call);
	if (call.status == PV_OK) {
		*out = (struct pv_device_output){
		    .enabled = call.output.enabled,
		    .x = call.output.x,
		    .y = call.output.y,
		    .width = call.output.width,
		    .height = call.output.height,
		    .refresh_millihertz = call.output.refresh_millihertz,
		    .width_mm = call.output.width_mm,
		    .height_mm = call.output.height_mm,
		};
	}
	return call.status;
}

static void set_output(void *user)
{
	struct output_call *call = user;
	struct pv_gpu *gpu = call->device->gpu;
	struct pv_output outputs[PV_GPU_MAX_SCANOUTS];

	call->status = PV_ERR_ARGUMENT;
	if (call->index >= pv_gpu_nr_outputs(gpu))
		return;
	/* It would be undone with the guest's next question. */
	call->status = PV_ERR_UNSUPPORTED;
	if (call->device->console)
		return;
	for (uint32_t i = 0; i < call->index; i++)
		outputs[i] = *pv_gpu_output(gpu, i);
	outputs[call->index] = call->output;
	call->status = pv_gpu_set_outputs(gpu, outputs, call->index + 1);
}

enum pv_status pv_device_set_output(struct pv_device *device, uint32_t index, const struct pv_device_output *output)
{
	struct output_call call = {.device = device, .index = index};

	if (!to_output(output, &call.output))
		return PV_ERR_ARGUMENT;
	pv_loop_call(device->loop, set_output, &call);
	return call.status;
}

/* ---- Screenshots ---- */

struct capture_call {
	struct pv_device *device;
	uint32_t scanout;
	bool with_cursor;
	struct pv_snapshot *snapshot;
	enum pv_status status;
};

static void capture(void *user)
{
	struct capture_call *call = user;

	call->status = PV_ERR_ARGUMENT;
	if (call->scanout < pv_gpu_nr_outputs(call->device->gpu))
		call->status =
		    pv_png_display_capture(call->device->png, call->scanout, call->with_cursor, &call->snapshot);
}

enum pv_status pv_device_screenshot(struct pv_device *device, uint32_t scanout, bool with_cursor, int32_t fd)
{
	struct capture_call call = {.device = device, .scanout = scanout, .with_cursor = with_cursor};

	fetch_picture(device, scanout);
	pv_loop_call(device->loop, capture, &call);
	if (call.status == PV_OK)
		call.status = pv_snapshot_write_png(call.snapshot, fd);
	pv_snapshot_destroy(call.snapshot);
	return call.status;
}

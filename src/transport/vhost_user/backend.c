/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. Everything a peer can get wrong is found here or before; the device thread gets operations that
 * can only fail for the driver's or the host's reasons. Operations take effect in the order they were issued, so a
 * message need wait for the device thread only if its sender relies on the effect when it sees the answer: then it is
 * put into `waiting`, and the next message is not read until pv_vhost_backend_op_done() has answered it. The answers to
 * ENABLE, KICK and CALL never wait, nor do the GETs (GET_VRING_BASE apart).
 *
 * A ring runs in the device core while it has a doorbell, is enabled, and its three parts lie in guest memory. Whatever
 * changes one of these stops or starts it; its place in the ring survives that on the device side. So memory may be
 * taken away and given back around a running ring, which is what front ends do when a region changes its shape. The
 * front end's own addresses of the parts are looked up once, when the ring first starts: after that the guest-physical
 * ones, which the driver chose, are the truth.
 */
#include "transport/vhost_user/backend.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define MODULE "vhost-user"

#define BASIC_PROTOCOL_FEATURES                                                                                        \
	(PV_VHOST_PROTOCOL_F_MQ | PV_VHOST_PROTOCOL_F_REPLY_ACK | PV_VHOST_PROTOCOL_F_BACKEND_REQ |                    \
	 PV_VHOST_PROTOCOL_F_CONFIG | PV_VHOST_PROTOCOL_F_BACKEND_SEND_FD | PV_VHOST_PROTOCOL_F_RESET_DEVICE |         \
	 PV_VHOST_PROTOCOL_F_STATUS)

/*
 * Feature bits that say how driver, bus and front end speak with each other, and change nothing for us. QEMU passes on
 * what the driver accepted from the bus: ANY_LAYOUT, PROTOCOL_FEATURES, and RING_RESET, for which it stops and starts
 * the ring by GET_VRING_BASE and SET_VRING_KICK.
 */
#define FEATURES_BELOW_US ((1ULL << 27) | PV_VHOST_F_PROTOCOL_FEATURES | (1ULL << 40))

#define STATUS_NEEDS_RESET 0x40

/*
 * Not CONFIGURE_MEM_SLOTS together with a window. QEMU 11.1 drops its mapping of the window when the guest resets the
 * device, then compares its memory with what it last told us, follows the window's stale address and crashes: at every
 * reboot and rebind of the driver. With SET_MEM_TABLE it compares nothing. It costs memory hotplug beyond 8 regions.
 */
static uint64_t offered_protocol_features(const struct pv_vhost_backend *backend)
{
	if (backend->params.window_bytes == 0)
		return BASIC_PROTOCOL_FEATURES | PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS;
	return BASIC_PROTOCOL_FEATURES | PV_VHOST_PROTOCOL_F_SHMEM;
}

/*
 * Vulkan needs the window, which the guest cannot reach without SHMEM. QEMU asks again when that is settled. OpenGL
 * does without; QEMU's vhost-user-gpu then wants a display with OpenGL of its own, or none.
 */
static uint64_t offered_features(const struct pv_vhost_backend *backend)
{
	if (backend->protocol_features & PV_VHOST_PROTOCOL_F_SHMEM)
		return backend->params.device_features;
	return backend->params.device_features & ~backend->params.window_features;
}

enum pv_status pv_vhost_backend_init(struct pv_vhost_backend *backend, const struct pv_vhost_backend_params *params)
{
	memset(backend, 0, sizeof(*backend));
	backend->params = *params;
	return pv_vhost_memory_table_init(&backend->memory, params->window_fd);
}

void pv_vhost_backend_finish(struct pv_vhost_backend *backend)
{
	pv_vhost_memory_table_finish(&backend->memory);
}

bool pv_vhost_backend_is_waiting(const struct pv_vhost_backend *backend)
{
	return backend->waiting.request != 0;
}

bool pv_vhost_backend_wants_config_changes(const struct pv_vhost_backend *backend)
{
	/* A front end with a console of its own (QEMU's vhost-user-gpu) tells the guest itself, and complains if we do.
	 */
	return (backend->protocol_features & PV_VHOST_PROTOCOL_F_CONFIG) && !backend->has_console;
}

/* Answers. */

static void reply(struct pv_vhost_backend *backend, uint32_t request, const void *payload, uint32_t size)
{
	uint8_t bytes[PV_VHOST_MAX_REPLY_BYTES];
	struct pv_vhost_header header = {.request = request, .flags = PV_VHOST_VERSION | PV_VHOST_REPLY, .size = size};

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), payload, size);
	backend->params.ops->reply(backend->params.user, bytes, sizeof(header) + size);
}

static enum pv_status reply_u64(struct pv_vhost_backend *backend, uint32_t request, uint64_t value)
{
	reply(backend, request, &value, sizeof(value));
	return PV_OK;
}

static enum pv_status ack(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	return message->need_reply ? reply_u64(backend, message->request, 0) : PV_OK;
}

/* The message cannot be done: an error to who asked for one, else the end of the connection. */
PV_PRINTF(4, 5)
static enum pv_status refuse(struct pv_vhost_backend *backend, uint32_t request, bool need_reply, const char *fmt, ...)
{
	char text[192];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!need_reply) {
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", pv_vhost_request_name(request), text);
		return PV_ERR_PEER;
	}
	if (pv_log_allowed(&backend->refusals, MODULE))
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", pv_vhost_request_name(request), text);
	return reply_u64(backend, request, 1);
}

#define REFUSE(backend, message, ...) refuse((backend), (message)->request, (message)->need_reply, __VA_ARGS__)

/* Operations. */

static void submit(struct pv_vhost_backend *backend, const struct pv_transport_op *op)
{
	backend->params.ops->submit(backend->params.user, op);
}

/* Issues the op that `message` waits for. */
static enum pv_status submit_and_wait(struct pv_vhost_backend *backend, const struct pv_vhost_message *message,
				      struct pv_transport_op op, uint64_t value)
{
	backend->waiting.request = op.request = message->request;
	backend->waiting.need_reply = message->need_reply;
	backend->waiting.queue = op.queue;
	backend->waiting.value = value;
	submit(backend, &op);
	return PV_OK;
}

static bool any_ring_started(const struct pv_vhost_backend *backend)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		if (backend->rings[i].started)
			return true;
	}
	return false;
}

/* The window. */

static void show_window(struct pv_vhost_backend *backend, bool shown)
{
	submit(backend, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_SHOW_WINDOW, .take_fd = -1, .shown = shown});
}

/* The front end may drop the mapping with the device: what we know of it ends when the last ring stops. */
static void forget_window(struct pv_vhost_backend *backend)
{
	if (backend->window == PV_VHOST_WINDOW_ASKED)
		backend->window = PV_VHOST_WINDOW_STALE;
	else if (backend->window != PV_VHOST_WINDOW_STALE)
		backend->window = PV_VHOST_WINDOW_UNMAPPED;
}

static void ask_for_window(struct pv_vhost_backend *backend)
{
	const uint64_t needs =
	    PV_VHOST_PROTOCOL_F_SHMEM | PV_VHOST_PROTOCOL_F_BACKEND_REQ | PV_VHOST_PROTOCOL_F_BACKEND_SEND_FD;

	if (backend->window != PV_VHOST_WINDOW_UNMAPPED || (backend->protocol_features & needs) != needs ||
	    !backend->rings[PV_GPU_QUEUE_CONTROL].running || !backend->params.ops->can_map_window(backend->params.user))
		return;
	/* A machine that was paused keeps the mapping, and shows it to us as a region. */
	if (pv_vhost_memory_table_has_window(&backend->memory)) {
		backend->window = PV_VHOST_WINDOW_MAPPED;
		return;
	}
	backend->window = PV_VHOST_WINDOW_ASKED;
	backend->params.ops->map_window(backend->params.user,
					(backend->protocol_features & PV_VHOST_PROTOCOL_F_REPLY_ACK) != 0);
}

void pv_vhost_backend_window_mapped(struct pv_vhost_backend *backend, bool ok)
{
	if (backend->window == PV_VHOST_WINDOW_STALE) {
		backend->window = PV_VHOST_WINDOW_UNMAPPED;
		ask_for_window(backend);
		return;
	}
	backend->window = ok ? PV_VHOST_WINDOW_MAPPED : PV_VHOST_WINDOW_REFUSED;
	if (!ok) {
		pv_log(PV_LOG_WARNING, MODULE, "without its window the guest gets no host-visible memory");
		show_window(backend, false);
	}
}

/* Rings. */

/* Makes sure that ring->layout is right and all there. Returns as pv_virtq_find_gap() does. */
static const char *locate_ring(struct pv_vhost_ring *ring, const struct pv_guest_map *map)
{
	struct pv_virtq_layout layout = {.size = (uint16_t)ring->size};
	const char *gap;

	if (ring->is_located)
		return pv_virtq_find_gap(&ring->layout, map);
	if (!map || !pv_guest_map_from_user(map, ring->addr.desc, &layout.desc_addr))
		return "descriptor table";
	if (!pv_guest_map_from_user(map, ring->addr.avail, &layout.avail_addr))
		return "available ring";
	if (!pv_guest_map_from_user(map, ring->addr.used, &layout.used_addr))
		return "used ring";
	gap = pv_virtq_find_gap(&layout, map);
	if (!gap) {
		ring->layout = layout;
		ring->is_located = true;
	}
	return gap;
}

static bool is_enabled(const struct pv_vhost_backend *backend, const struct pv_vhost_ring *ring)
{
	if (ring->enable_seen)
		return ring->enabled;
	return !(backend->features & PV_VHOST_F_PROTOCOL_FEATURES);
}

static void stop_ring(struct pv_vhost_backend *backend, uint32_t index)
{
	if (!backend->rings[index].running)
		return;
	backend->rings[index].running = false;
	submit(backend, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_STOP, .queue = index, .take_fd = -1});
}

/* Makes the ring run, or not, as its state says. Returns the part that keeps it from running, or NULL. */
static const char *update_ring(struct pv_vhost_backend *backend, uint32_t index)
{
	struct pv_vhost_ring *ring = &backend->rings[index];
	const char *gap;

	if (!ring->started || !is_enabled(backend, ring)) {
		stop_ring(backend, index);
		return NULL;
	}
	gap = locate_ring(ring, backend->memory.map);
	if (gap)
		stop_ring(backend, index);
	if (gap || ring->running)
		return gap;
	ring->running = true;
	submit(backend, &(struct pv_transport_op){
			    .kind = PV_TRANSPORT_OP_START, .queue = index, .take_fd = -1, .layout = ring->layout});
	ask_for_window(backend);
	return NULL;
}

static enum pv_status update_ring_or_refuse(struct pv_vhost_backend *backend, const struct pv_vhost_message *message,
					    uint32_t index)
{
	const char *gap = update_ring(backend, index);

	if (gap)
		return REFUSE(backend, message, "ring %" PRIu32 ": its %s lies in no memory region", index, gap);
	return ack(backend, message);
}

static enum pv_status set_vring_num(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	struct pv_vhost_ring *ring = &backend->rings[message->ring.index];

	if (ring->started)
		return REFUSE(backend, message, "ring %" PRIu32 ": it is running", message->ring.index);
	if (message->ring.num > PV_VIRTQ_MAX_SIZE)
		return REFUSE(backend, message, "num %" PRIu32 ": this device's rings have up to %d entries",
			      message->ring.num, PV_VIRTQ_MAX_SIZE);
	ring->size = message->ring.num;
	return ack(backend, message);
}

static enum pv_status set_vring_addr(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	const struct pv_vhost_ring_addr *addr = &message->addr;
	struct pv_vhost_ring *ring = &backend->rings[addr->index];

	if (ring->started &&
	    (addr->desc != ring->addr.desc || addr->used != ring->addr.used || addr->avail != ring->addr.avail))
		return REFUSE(backend, message, "ring %" PRIu32 ": it is running", addr->index);
	ring->addr = *addr;
	ring->has_addr = true;
	return ack(backend, message);
}

static enum pv_status set_vring_base(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	if (backend->rings[message->ring.index].started)
		return REFUSE(backend, message, "ring %" PRIu32 ": it is running", message->ring.index);
	submit(backend, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_SET_BASE,
						  .queue = message->ring.index,
						  .take_fd = -1,
						  .set_base = {.base = (uint16_t)message->ring.num,
							       .after_full_stop = backend->after_full_stop}});
	return ack(backend, message);
}

static enum pv_status get_vring_base(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	uint32_t index = message->ring.index;
	struct pv_vhost_ring *ring = &backend->rings[index];

	ring->started = ring->running = ring->is_located = false;
	if (!any_ring_started(backend))
		forget_window(backend);
	submit(backend, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_SET_KICK, .queue = index, .take_fd = -1});
	return submit_and_wait(
	    backend, message, (struct pv_transport_op){.kind = PV_TRANSPORT_OP_STOP, .queue = index, .take_fd = -1}, 0);
}

static enum pv_status set_vring_kick(struct pv_vhost_backend *backend, struct pv_vhost_message *message)
{
	uint32_t index = message->ring.index;
	struct pv_vhost_ring *ring = &backend->rings[index];

	if (!message->ring.num)
		return REFUSE(backend, message, "ring %" PRIu32 ": polling for requests is not supported, send an fd",
			      index);
	if (ring->size == 0 || !ring->has_addr)
		return REFUSE(backend, message, "ring %" PRIu32 ": SET_VRING_%s must come first", index,
			      ring->size == 0 ? "NUM" : "ADDR");
	if (!pv_transport_is_notifier(message->fds[0]))
		return REFUSE(backend, message, "ring %" PRIu32 ": fd: not an event fd, pipe or socket", index);
	submit(backend, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_SET_KICK,
						  .queue = index,
						  .take_fd = pv_vhost_message_take_fd(message)});
	ring->started = true;
	backend->after_full_stop = false;
	return update_ring_or_refuse(backend, message, index);
}

/* Call and error fds. */
static enum pv_status set_notifier(struct pv_vhost_backend *backend, struct pv_vhost_message *message,
				   enum pv_transport_op_kind kind)
{
	if (message->ring.num && !pv_transport_is_notifier(message->fds[0]))
		return REFUSE(backend, message, "ring %" PRIu32 ": fd: not an event fd, pipe or socket",
			      message->ring.index);
	submit(backend, &(struct pv_transport_op){
			    .kind = kind, .queue = message->ring.index, .take_fd = pv_vhost_message_take_fd(message)});
	return ack(backend, message);
}

static enum pv_status set_vring_enable(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	struct pv_vhost_ring *ring = &backend->rings[message->ring.index];

	ring->enable_seen = true;
	ring->enabled = message->ring.num != 0;
	/* Acknowledged, it takes nothing more. */
	if (!ring->enabled && ring->running) {
		ring->running = false;
		return submit_and_wait(
		    backend, message,
		    (struct pv_transport_op){.kind = PV_TRANSPORT_OP_STOP, .queue = message->ring.index, .take_fd = -1},
		    0);
	}
	return update_ring_or_refuse(backend, message, message->ring.index);
}

/* Memory. */

/* The message that changed memory waits until the device uses the new map. */
static enum pv_status memory_changed(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	struct pv_guest_map *map = backend->memory.map;

	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		if (backend->rings[i].running && pv_virtq_find_gap(&backend->rings[i].layout, map))
			stop_ring(backend, i);
	}
	(void)submit_and_wait(
	    backend, message,
	    (struct pv_transport_op){.kind = PV_TRANSPORT_OP_SET_MAP, .take_fd = -1, .take_map = pv_guest_map_ref(map)},
	    0);
	/* A ring that lost its memory waits for it; that is nobody's mistake. */
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		(void)update_ring(backend, i);
	return PV_OK;
}

static enum pv_status change_memory(struct pv_vhost_backend *backend, const struct pv_vhost_message *message,
				    enum pv_status status)
{
	switch (status) {
	case PV_OK:
		return memory_changed(backend, message);
	case PV_ERR_NO_MEMORY:
		return REFUSE(backend, message, "all %d slots are in use, or there is no memory",
			      PV_VHOST_MAX_MEM_SLOTS);
	case PV_ERR_ARGUMENT:
		return REFUSE(backend, message, "region at 0x%" PRIx64 ", size 0x%" PRIx64 ": there is none",
			      message->region.guest_addr, message->region.size_bytes);
	default:
		/* Guest memory has logged what is wrong with the region. */
		return message->need_reply ? reply_u64(backend, message->request, 1) : PV_ERR_PEER;
	}
}

static enum pv_status set_mem_table(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	return change_memory(backend, message,
			     pv_vhost_memory_table_replace(&backend->memory, &message->memory, message->fds));
}

static enum pv_status add_mem_reg(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	return change_memory(backend, message,
			     pv_vhost_memory_table_add(&backend->memory, &message->region, message->fds[0]));
}

static enum pv_status rem_mem_reg(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	return change_memory(backend, message, pv_vhost_memory_table_remove(&backend->memory, &message->region));
}

/* Device state. */

static enum pv_status set_features(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	uint64_t features = message->value;
	uint64_t unknown = features & ~(backend->params.device_features | FEATURES_BELOW_US);

	if (unknown)
		return REFUSE(backend, message, "features 0x%" PRIx64 ": 0x%" PRIx64 " was not offered", features,
			      unknown);
	if (!any_ring_started(backend))
		backend->after_full_stop = true;
	if (features == backend->features)
		return ack(backend, message);
	if (any_ring_started(backend))
		return REFUSE(backend, message, "features 0x%" PRIx64 ": rings are running", features);
	return submit_and_wait(backend, message,
			       (struct pv_transport_op){.kind = PV_TRANSPORT_OP_SET_FEATURES,
							.take_fd = -1,
							.features = features & backend->params.device_features},
			       features);
}

static enum pv_status set_protocol_features(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	uint64_t unknown = message->value & ~offered_protocol_features(backend);

	if (unknown)
		return REFUSE(backend, message, "features 0x%" PRIx64 ": 0x%" PRIx64 " was not offered", message->value,
			      unknown);
	backend->protocol_features = message->value;
	show_window(backend, (message->value & PV_VHOST_PROTOCOL_F_SHMEM) != 0);
	return ack(backend, message);
}

static enum pv_status reset_device(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		backend->rings[i] = (struct pv_vhost_ring){0};
	backend->features = 0;
	backend->device_status = 0;
	backend->after_full_stop = false;
	forget_window(backend);
	return submit_and_wait(backend, message, (struct pv_transport_op){.kind = PV_TRANSPORT_OP_RESET, .take_fd = -1},
			       0);
}

static enum pv_status set_status(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	if (message->value > UINT8_MAX)
		return REFUSE(backend, message, "status 0x%" PRIx64 ": has 8 bits", message->value);
	if (message->value == 0)
		return reset_device(backend, message);
	backend->device_status = (uint8_t)message->value;
	return ack(backend, message);
}

static enum pv_status get_config(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	struct pv_vhost_config config = {
	    .offset = message->config.offset, .size = message->config.size, .flags = message->config.flags};

	pv_transport_device_read_config(backend->params.device, config.offset, config.bytes, config.size);
	reply(backend, message->request, &config, PV_VHOST_CONFIG_HEADER_BYTES + config.size);
	return PV_OK;
}

static enum pv_status set_config(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	struct pv_transport_op op = {.kind = PV_TRANSPORT_OP_WRITE_CONFIG, .take_fd = -1};

	/* What is past the end, or comes with a migration that we do not do, changes nothing. */
	if (message->config.flags != PV_VHOST_CONFIG_FOR_DRIVER || message->config.offset >= PV_GPU_CONFIG_BYTES)
		return ack(backend, message);
	op.config.offset = message->config.offset;
	op.config.size = (uint32_t)pv_min_u64(message->config.size, PV_GPU_CONFIG_BYTES - op.config.offset);
	memcpy(op.config.bytes, message->config.bytes, op.config.size);
	return submit_and_wait(backend, message, op, 0);
}

static enum pv_status get_shmem_config(struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	struct pv_vhost_shmem_config config = {.nr_regions = 1};

	config.sizes[1] = backend->params.window_bytes; /* virtio-gpu's host-visible memory has id 1 */
	reply(backend, message->request, &config, sizeof(config));
	return PV_OK;
}

static enum pv_status set_backend_req_fd(struct pv_vhost_backend *backend, struct pv_vhost_message *message)
{
	int fd = pv_vhost_message_take_fd(message);

	/* What was asked on the old socket is not answered any more. */
	if (backend->window == PV_VHOST_WINDOW_ASKED || backend->window == PV_VHOST_WINDOW_STALE)
		backend->window = PV_VHOST_WINDOW_UNMAPPED;
	if (backend->params.ops->open_channel(backend->params.user, fd) != PV_OK)
		return REFUSE(backend, message, "fd: not a stream socket or pipe");
	ask_for_window(backend);
	return ack(backend, message);
}

static enum pv_status gpu_set_socket(struct pv_vhost_backend *backend, struct pv_vhost_message *message)
{
	backend->has_console = true;
	/* QEMU's vhost-user-gpu takes SHMEM, but has no such region for its guest, and refuses the mapping. */
	show_window(backend, false);
	submit(backend, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_CONSOLE,
						  .take_fd = pv_vhost_message_take_fd(message)});
	return ack(backend, message);
}

static enum pv_status dispatch(struct pv_vhost_backend *backend, struct pv_vhost_message *message)
{
	switch (message->request) {
	case PV_VHOST_GET_FEATURES:
		return reply_u64(backend, message->request, offered_features(backend) | PV_VHOST_F_PROTOCOL_FEATURES);
	case PV_VHOST_SET_FEATURES:
		return set_features(backend, message);
	case PV_VHOST_SET_OWNER:
	case PV_VHOST_RESET_OWNER: /* deprecated; the spec has us ignore it */
		return ack(backend, message);
	case PV_VHOST_SET_MEM_TABLE:
		return set_mem_table(backend, message);
	case PV_VHOST_SET_VRING_NUM:
		return set_vring_num(backend, message);
	case PV_VHOST_SET_VRING_ADDR:
		return set_vring_addr(backend, message);
	case PV_VHOST_SET_VRING_BASE:
		return set_vring_base(backend, message);
	case PV_VHOST_GET_VRING_BASE:
		return get_vring_base(backend, message);
	case PV_VHOST_SET_VRING_KICK:
		return set_vring_kick(backend, message);
	case PV_VHOST_SET_VRING_CALL:
		return set_notifier(backend, message, PV_TRANSPORT_OP_SET_CALL);
	case PV_VHOST_SET_VRING_ERR:
		return set_notifier(backend, message, PV_TRANSPORT_OP_SET_ERR);
	case PV_VHOST_GET_PROTOCOL_FEATURES:
		return reply_u64(backend, message->request, offered_protocol_features(backend));
	case PV_VHOST_SET_PROTOCOL_FEATURES:
		return set_protocol_features(backend, message);
	case PV_VHOST_GET_QUEUE_NUM:
		return reply_u64(backend, message->request, PV_GPU_NR_QUEUES);
	case PV_VHOST_SET_VRING_ENABLE:
		return set_vring_enable(backend, message);
	case PV_VHOST_SET_BACKEND_REQ_FD:
		return set_backend_req_fd(backend, message);
	case PV_VHOST_GET_CONFIG:
		return get_config(backend, message);
	case PV_VHOST_SET_CONFIG:
		return set_config(backend, message);
	case PV_VHOST_GPU_SET_SOCKET:
		return gpu_set_socket(backend, message);
	case PV_VHOST_RESET_DEVICE:
		return reset_device(backend, message);
	case PV_VHOST_GET_MAX_MEM_SLOTS:
		return reply_u64(backend, message->request, PV_VHOST_MAX_MEM_SLOTS);
	case PV_VHOST_ADD_MEM_REG:
		return add_mem_reg(backend, message);
	case PV_VHOST_REM_MEM_REG:
		return rem_mem_reg(backend, message);
	case PV_VHOST_SET_STATUS:
		return set_status(backend, message);
	case PV_VHOST_GET_STATUS:
		return reply_u64(
		    backend, message->request,
		    backend->device_status |
			(pv_transport_device_needs_reset(backend->params.device) ? STATUS_NEEDS_RESET : 0u));
	case PV_VHOST_GET_SHMEM_CONFIG:
		return get_shmem_config(backend, message);
	default:
		(void)PV_NEVER(true);
		return PV_ERR_PEER;
	}
}

/* User-Mode Linux goes by what it is about to agree on. */
static bool may_need_reply(const struct pv_vhost_backend *backend, const struct pv_vhost_message *message)
{
	uint64_t agreed = backend->protocol_features;

	if (message->request == PV_VHOST_SET_PROTOCOL_FEATURES)
		agreed |= message->value;
	return (agreed & PV_VHOST_PROTOCOL_F_REPLY_ACK) != 0;
}

enum pv_status pv_vhost_backend_handle(struct pv_vhost_backend *backend, struct pv_vhost_message *message)
{
	uint64_t missing = pv_vhost_request_needs(message->request) & ~backend->protocol_features;
	enum pv_status status;

	if (PV_NEVER(pv_vhost_backend_is_waiting(backend)))
		status = PV_ERR_PEER;
	else if (missing)
		status = refuse(backend, message->request, false, "needs protocol feature 0x%" PRIx64 ", not agreed on",
				missing);
	else if (message->need_reply && !may_need_reply(backend, message))
		status = refuse(backend, message->request, false, "flags: need_reply without the feature REPLY_ACK");
	else
		status = dispatch(backend, message);
	pv_vhost_message_finish(message);
	return status;
}

static enum pv_status finish_waiting(struct pv_vhost_backend *backend, const struct pv_transport_op *op)
{
	uint32_t request = backend->waiting.request;
	bool need_reply = backend->waiting.need_reply;

	backend->waiting.request = 0;
	if (request == PV_VHOST_GET_VRING_BASE) {
		struct pv_vhost_ring_state state = {.index = backend->waiting.queue, .num = op->stopped_at};

		reply(backend, request, &state, sizeof(state));
		return PV_OK;
	}
	if (op->status != PV_OK)
		return refuse(backend, request, need_reply, "the device does not take it: %s",
			      pv_status_string(op->status));
	if (request == PV_VHOST_SET_FEATURES)
		backend->features = backend->waiting.value;
	return need_reply ? reply_u64(backend, request, 0) : PV_OK;
}

enum pv_status pv_vhost_backend_op_done(struct pv_vhost_backend *backend, const struct pv_transport_op *op)
{
	if (op->request != 0 && op->request == backend->waiting.request)
		return finish_waiting(backend, op);
	/* Answered already if at all; the device side has logged what is wrong. */
	return op->status == PV_OK ? PV_OK : PV_ERR_PEER;
}

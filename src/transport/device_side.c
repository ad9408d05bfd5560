/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. The back end decides which rings may run; here they start, stop and keep their place (`base`),
 * so that a stop and a start, because memory moved or the VM was paused, go on where the ring was.
 *
 * A front end need not tell us that the guest's driver was replaced: QEMU sends RESET_DEVICE for some devices and some
 * versions only. But a new driver has new rings, which start at index 0, while a paused machine goes on at the index we
 * gave it. So when all rings had been stopped and the device is set up again, from the features on, and then the first
 * queue's base is 0 although it had been elsewhere, the old driver's resources are nobody's: reset. (A driver that
 * resets one queue of its own starts that one at 0, too; but then the features are not set again.)
 */
#include "transport/device_side.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/socket.h"

#define MODULE "transport"

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

static void refresh_config(struct pv_transport_device *device)
{
	uint8_t config[PV_GPU_CONFIG_BYTES];

	pv_gpu_config_read(device->params.gpu, 0, config, sizeof(config));
	pv_mutex_lock(&device->config_lock);
	if (memcmp(device->config, config, sizeof(config)) != 0)
		device->config_generation++;
	memcpy(device->config, config, sizeof(config));
	pv_mutex_unlock(&device->config_lock);
}

uint8_t pv_transport_device_config_generation(struct pv_transport_device *device)
{
	uint8_t generation;

	pv_mutex_lock(&device->config_lock);
	generation = device->config_generation;
	pv_mutex_unlock(&device->config_lock);
	return generation;
}

void pv_transport_device_read_config(struct pv_transport_device *device, uint32_t offset, void *buf, uint32_t size)
{
	memset(buf, 0, size);
	if (offset >= PV_GPU_CONFIG_BYTES)
		return;
	pv_mutex_lock(&device->config_lock);
	memcpy(buf, device->config + offset, pv_min_u64(size, PV_GPU_CONFIG_BYTES - offset));
	pv_mutex_unlock(&device->config_lock);
}

bool pv_transport_device_needs_reset(struct pv_transport_device *device)
{
	return atomic_load_explicit(&device->needs_reset, memory_order_acquire);
}

uint8_t pv_transport_device_take_isr(struct pv_transport_device *device)
{
	return atomic_exchange_explicit(&device->isr, 0, memory_order_acq_rel);
}

bool pv_transport_is_notifier(int fd)
{
	struct stat file;

	return fstat(fd, &file) == 0 &&
	       (S_ISFIFO(file.st_mode) || S_ISSOCK(file.st_mode) || (file.st_mode & S_IFMT) == 0);
}

static void on_interrupt(void *user, uint32_t queue)
{
	struct pv_transport_device *device = user;

	if (PV_NEVER(queue >= PV_GPU_NR_QUEUES))
		return;
	device->rings[queue].interrupted = true;
	atomic_fetch_or_explicit(&device->isr, ISR_QUEUE, memory_order_release);
	if (device->rings[queue].call_fd >= 0)
		pv_notifier_raise(device->rings[queue].call_fd);
}

static void on_config_changed(void *user)
{
	struct pv_transport_device *device = user;

	refresh_config(device);
	atomic_fetch_or_explicit(&device->isr, ISR_CONFIG, memory_order_release);
	device->params.config_changed(device->params.user);
}

static void set_needs_reset(struct pv_transport_device *device)
{
	atomic_store_explicit(&device->needs_reset, true, memory_order_release);
	atomic_fetch_or_explicit(&device->isr, ISR_CONFIG, memory_order_release);
	if (device->params.needs_reset)
		device->params.needs_reset(device->params.user);
}

static void on_needs_reset(void *user)
{
	struct pv_transport_device *device = user;

	set_needs_reset(device);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		if (device->rings[i].err_fd >= 0)
			pv_notifier_raise(device->rings[i].err_fd);
	}
}

static const struct pv_gpu_transport_ops transport_ops = {
    .interrupt = on_interrupt,
    .config_changed = on_config_changed,
    .needs_reset = on_needs_reset,
};

static void doorbell(struct pv_loop_task *task);

void pv_transport_device_init(struct pv_transport_device *device, const struct pv_transport_device_params *params)
{
	*device = (struct pv_transport_device){.params = *params, .attached = true};
	pv_mutex_init(&device->config_lock);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		device->rings[i] = (struct pv_transport_ring){.device = device,
							      .index = i,
							      .kick_fd = -1,
							      .call_fd = -1,
							      .err_fd = -1,
							      .doorbell = {.run = doorbell}};
	pv_gpu_set_transport(params->gpu, &transport_ops, device);
	refresh_config(device);
}

static void drop_kick(struct pv_transport_ring *ring)
{
	pv_loop_remove_fd(ring->kick_watch);
	ring->kick_watch = NULL;
	pv_fd_close(&ring->kick_fd);
}

static void stop_ring(struct pv_transport_ring *ring)
{
	if (ring->running)
		ring->base = pv_gpu_queue_stop(ring->device->params.gpu, ring->index);
	ring->running = false;
}

/* A front end that shrinks the files behind memory that a device uses is broken or hostile. */
static void check_memory(struct pv_transport_device *device)
{
	if (device->memory_lost || pv_guest_map_is_intact(device->map))
		return;
	device->memory_lost = true;
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		stop_ring(&device->rings[i]);
	pv_log(PV_LOG_ERROR, MODULE, "the front end cut short a file behind guest memory");
	device->params.memory_lost(device->params.user);
}

static void kick_ready(void *user, uint32_t events)
{
	struct pv_transport_ring *ring = user;
	uint8_t bytes[512];
	ssize_t got = -1;

	/*
	 * One read: an eventfd is empty then; what a pipe still holds makes it ready again, after everybody else had a
	 * turn. The value has no meaning.
	 */
	if (events & PV_LOOP_READ)
		got = read(ring->kick_fd, bytes, sizeof(bytes));
	if (got <= 0 && (events & PV_LOOP_HANGUP)) {
		pv_log(PV_LOG_WARNING, MODULE, "ring %u: the front end closed its doorbell", ring->index);
		drop_kick(ring);
	}
	if (got <= 0)
		return;
	atomic_fetch_add_explicit(&ring->device->doorbells, 1, memory_order_relaxed);
	if (ring->running)
		pv_gpu_queue_notify(ring->device->params.gpu, ring->index);
	check_memory(ring->device);
}

/*
 * With guest memory that is not shared we see pages of our own: zeros, for ever. A driver that rings has announced
 * something, so an available index of 0 at the first doorbell tells. (Or it has announced 65536 requests.)
 */
static void check_shared(const struct pv_transport_ring *ring)
{
	const struct pv_guest_span index = {.addr = ring->layout.avail_addr + 2, .len = 2};
	struct pv_transport_device *device = ring->device;
	uint16_t value = 0;

	if (device->warned_unshared || ring->base != 0 ||
	    pv_guest_read(device->map, &index, 1, 0, &value, sizeof(value)) != PV_OK || value != 0)
		return;
	device->warned_unshared = true;
	pv_log(PV_LOG_WARNING, MODULE,
	       "the driver rang but announced nothing: guest memory is most likely not shared, "
	       "give its memory backend share=on");
}

static void doorbell(struct pv_loop_task *task)
{
	struct pv_transport_ring *ring = PV_CONTAINER_OF(task, struct pv_transport_ring, doorbell);

	(void)atomic_exchange_explicit(&ring->doorbell_posted, false, memory_order_acq_rel);
	atomic_fetch_add_explicit(&ring->device->doorbells, 1, memory_order_relaxed);
	if (!ring->running)
		return;
	if (!ring->heard)
		check_shared(ring);
	ring->heard = true;
	pv_gpu_queue_notify(ring->device->params.gpu, ring->index);
	check_memory(ring->device);
}

void pv_transport_device_ring(struct pv_transport_device *device, uint32_t queue)
{
	struct pv_transport_ring *ring = &device->rings[queue];

	if (!atomic_exchange_explicit(&ring->doorbell_posted, true, memory_order_acq_rel))
		pv_loop_post(device->params.loop, &ring->doorbell);
}

static enum pv_status set_kick(struct pv_transport_ring *ring, int take_fd)
{
	drop_kick(ring);
	if (take_fd < 0)
		return PV_OK;
	ring->kick_fd = take_fd;

	enum pv_status status = pv_fd_set_nonblocking(take_fd, true);
	if (status == PV_OK)
		status = pv_loop_add_fd(ring->device->params.loop, take_fd, PV_LOOP_READ, kick_ready, ring,
					&ring->kick_watch);
	if (status != PV_OK) {
		pv_log(PV_LOG_ERROR, MODULE, "SET_VRING_KICK: fd: not an event fd, pipe or socket");
		drop_kick(ring);
		return PV_ERR_PEER;
	}
	return PV_OK;
}

/* An fd to raise. Made non-blocking, so that a reader that lets it fill up does not stop us. */
static enum pv_status set_notifier(int *fd, int take_fd, const char *name)
{
	pv_fd_close(fd);
	if (take_fd >= 0 && pv_fd_set_nonblocking(take_fd, true) != PV_OK) {
		pv_log(PV_LOG_ERROR, MODULE, "%s: fd: cannot be made non-blocking", name);
		pv_fd_close(&take_fd);
		return PV_ERR_PEER;
	}
	*fd = take_fd;
	return PV_OK;
}

static void start_ring(struct pv_transport_ring *ring)
{
	struct pv_gpu *gpu = ring->device->params.gpu;

	if (pv_gpu_queue_start(gpu, ring->index, &ring->layout, ring->base) != PV_OK) {
		/* The driver's fault, not the front end's (and logged): the ring is dead until the driver starts anew.
		 */
		if (ring->err_fd >= 0)
			pv_notifier_raise(ring->err_fd);
		set_needs_reset(ring->device);
		return;
	}
	ring->running = true;
	ring->interrupted = ring->heard = false;
	/* Doorbells before this moment were not acted on. */
	pv_gpu_queue_notify(gpu, ring->index);
}

static void reset(struct pv_transport_device *device)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		stop_ring(&device->rings[i]);
		device->rings[i].base = 0;
		drop_kick(&device->rings[i]);
	}
	pv_gpu_reset(device->params.gpu);
	device->features = 0;
	atomic_store_explicit(&device->needs_reset, false, memory_order_release);
	atomic_store_explicit(&device->isr, 0, memory_order_release);
	refresh_config(device);
}

static enum pv_status set_features(struct pv_transport_device *device, uint64_t features)
{
	enum pv_status status = pv_gpu_set_driver_features(device->params.gpu, features);

	if (status == PV_OK)
		device->features = features;
	refresh_config(device);
	return status;
}

/* What a new driver finds: an empty core, but the features and the memory that the front end has set up for it already.
 */
static void reset_for_new_driver(struct pv_transport_device *device)
{
	uint64_t features = device->features;

	pv_log(PV_LOG_DEBUG, MODULE, "the guest's driver was replaced: reset");
	pv_gpu_reset(device->params.gpu);
	atomic_store_explicit(&device->needs_reset, false, memory_order_release);
	(void)PV_NEVER(set_features(device, features) != PV_OK);
	pv_gpu_set_guest_map(device->params.gpu, device->map);
}

static void set_base(struct pv_transport_device *device, struct pv_transport_ring *ring, uint16_t base,
		     bool after_full_stop)
{
	if (after_full_stop && base == 0 && ring->base != 0)
		reset_for_new_driver(device);
	ring->base = base;
}

static void set_map(struct pv_transport_device *device, struct pv_guest_map *take_map)
{
	struct pv_guest_map *old = device->map;

	device->map = take_map;
	pv_gpu_set_guest_map(device->params.gpu, take_map);
	pv_guest_map_unref(old);
}

static void detach(struct pv_transport_device *device)
{
	if (!device->attached)
		return;
	device->attached = false;
	reset(device);
	pv_gpu_set_transport(device->params.gpu, NULL, NULL);
	pv_gpu_show_window(device->params.gpu, true);
	set_map(device, NULL);
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		pv_fd_close(&device->rings[i].call_fd);
		pv_fd_close(&device->rings[i].err_fd);
	}
}

void pv_transport_device_finish(struct pv_transport_device *device)
{
	detach(device);
	pv_mutex_finish(&device->config_lock);
}

static void give_console(struct pv_transport_device *device, int take_fd)
{
	if (device->params.console)
		device->params.console(device->params.user, take_fd);
	else
		pv_fd_close(&take_fd);
}

void pv_transport_device_run(struct pv_transport_device *device, struct pv_transport_op *op)
{
	struct pv_transport_ring *ring = &device->rings[op->queue];

	op->status = PV_OK;
	switch (op->kind) {
	case PV_TRANSPORT_OP_SET_FEATURES:
		op->status = set_features(device, op->features);
		break;
	case PV_TRANSPORT_OP_SET_MAP:
		set_map(device, op->take_map);
		break;
	case PV_TRANSPORT_OP_SET_BASE:
		set_base(device, ring, op->set_base.base, op->set_base.after_full_stop);
		break;
	case PV_TRANSPORT_OP_SET_KICK:
		op->status = set_kick(ring, op->take_fd);
		break;
	case PV_TRANSPORT_OP_SET_CALL:
		op->status = set_notifier(&ring->call_fd, op->take_fd, "SET_VRING_CALL");
		/*
		 * The front end had our ACK before we came here: an interrupt in between went to the fd that it no
		 * longer listens to, or to none. There may be several such fds on their way, each to be raised, for it
		 * listens to the last. One too many is harmless.
		 */
		if (ring->interrupted && ring->call_fd >= 0)
			pv_notifier_raise(ring->call_fd);
		break;
	case PV_TRANSPORT_OP_SET_ERR:
		op->status = set_notifier(&ring->err_fd, op->take_fd, "SET_VRING_ERR");
		break;
	case PV_TRANSPORT_OP_START:
		ring->layout = op->layout;
		start_ring(ring);
		break;
	case PV_TRANSPORT_OP_STOP:
		stop_ring(ring);
		op->stopped_at = ring->base;
		break;
	case PV_TRANSPORT_OP_RESET:
		reset(device);
		break;
	case PV_TRANSPORT_OP_WRITE_CONFIG:
		pv_gpu_config_write(device->params.gpu, op->config.offset, op->config.bytes, op->config.size);
		refresh_config(device);
		break;
	case PV_TRANSPORT_OP_CONSOLE:
		give_console(device, op->take_fd);
		break;
	case PV_TRANSPORT_OP_SHOW_WINDOW:
		pv_gpu_show_window(device->params.gpu, op->shown);
		refresh_config(device);
		break;
	case PV_TRANSPORT_OP_DETACH:
		detach(device);
		break;
	}
	check_memory(device);
}

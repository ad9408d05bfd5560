/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. A VMM that waits for an answer of ours holds up a virtual CPU, in QEMU under the lock of its
 * main loop. So everything a guest does all the time is answered right here: registers are state of this thread, and
 * what they mean for the device is an operation whose end nobody waits for. Operations take effect in the order they
 * were issued, and a driver that resets the device learns from the status register when that is done. Only two messages
 * wait for the device thread: DMA_UNMAP, after whose answer the memory is somebody else's, and RESET. Both are rare,
 * and between them and their end no other message is read.
 *
 * A doorbell is noted, answered, and only then passed on: if what it leads to kills us, QEMU is not waiting.
 *
 * A ring runs in the device core while its queue is enabled, the driver is ready, and its three parts lie in memory
 * that we see. Whatever changes one of these stops or starts it; its place in the ring survives that on the device
 * side.
 */
#include "transport/vfio_user/function.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/socket.h"

#define MODULE "vfio-user"

/* The protocol's errors are Linux's, wherever we run. */
enum { ERROR_IO = 5, ERROR_NO_MEMORY = 12, ERROR_INVALID = 22 };

/* Keys that QEMU 11.1 does not know make it warn. */
#define CAPABILITIES                                                                                                   \
	"{\"capabilities\":{\"max_msg_fds\":%d,\"max_data_xfer_size\":%u,\"max_dma_maps\":%d,\"pgsizes\":4096,"        \
	"\"write_multiple\":true}}"

enum pv_status pv_vfio_function_init(struct pv_vfio_function *function, const struct pv_vfio_function_params *params)
{
	memset(function, 0, sizeof(*function));
	function->params = *params;
	for (size_t i = 0; i < PV_PCI_NR_VECTORS; i++)
		function->vectors[i] = -1;
	pv_pci_config_init(&function->config, params->window_bytes);
	pv_virtio_registers_init(&function->registers, params->device, params->device_features, PV_PCI_NR_VECTORS);
	return pv_vfio_dma_table_init(&function->dma, params->window_fd);
}

void pv_vfio_function_finish(struct pv_vfio_function *function)
{
	pv_vfio_dma_table_finish(&function->dma);
	for (size_t i = 0; i < PV_PCI_NR_VECTORS; i++)
		pv_fd_close(&function->vectors[i]);
}

bool pv_vfio_function_is_waiting(const struct pv_vfio_function *function)
{
	return function->waiting.command != 0 || function->multi.message.command != 0;
}

uint32_t pv_vfio_function_take_doorbells(struct pv_vfio_function *function)
{
	uint32_t doorbells = function->doorbells;

	function->doorbells = 0;
	return doorbells;
}

/* Answers. */

static void send_reply(struct pv_vfio_function *function, uint16_t id, uint16_t command, size_t payload_bytes, int fd)
{
	struct pv_vfio_header header = {.id = id,
					.command = command,
					.size = (uint32_t)(sizeof(header) + payload_bytes),
					.flags = PV_VFIO_FLAG_REPLY};

	memcpy(function->reply, &header, sizeof(header));
	function->params.ops->reply(function->params.user, function->reply, header.size, fd);
}

/* An answer to a message that wants none would be taken for another's. */
static enum pv_status reply_fd(struct pv_vfio_function *function, const struct pv_vfio_message *message,
			       const void *payload, size_t len, int fd)
{
	if (message->no_reply)
		return PV_OK;
	if (len > 0)
		memcpy(function->reply + sizeof(struct pv_vfio_header), payload, len);
	send_reply(function, message->id, message->command, len, fd);
	return PV_OK;
}

static enum pv_status reply(struct pv_vfio_function *function, const struct pv_vfio_message *message,
			    const void *payload, size_t len)
{
	return reply_fd(function, message, payload, len, -1);
}

static enum pv_status done(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	return reply(function, message, NULL, 0);
}

static enum pv_status reply_error(struct pv_vfio_function *function, const struct pv_vfio_message *message,
				  uint32_t error)
{
	struct pv_vfio_header header = {.id = message->id,
					.command = message->command,
					.size = sizeof(header),
					.flags = PV_VFIO_FLAG_REPLY | PV_VFIO_FLAG_ERROR,
					.error = error};

	if (!message->no_reply)
		function->params.ops->reply(function->params.user, &header, sizeof(header), -1);
	return PV_OK;
}

PV_PRINTF(4, 5)
static enum pv_status refuse(struct pv_vfio_function *function, const struct pv_vfio_message *message, uint32_t error,
			     const char *fmt, ...)
{
	char text[192];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (pv_log_allowed(&function->refusals, MODULE))
		pv_log(PV_LOG_ERROR, MODULE, "%s: %s", pv_vfio_command_name(message->command), text);
	return reply_error(function, message, error);
}

void pv_vfio_function_refuse(struct pv_vfio_function *function, const struct pv_vfio_message *message,
			     const struct pv_vfio_fault *fault)
{
	(void)refuse(function, message, fault->error, "%s", fault->text);
}

/* Operations. */

static void submit(struct pv_vfio_function *function, const struct pv_transport_op *op)
{
	function->params.ops->submit(function->params.user, op);
}

static enum pv_status submit_and_wait(struct pv_vfio_function *function, const struct pv_vfio_message *message,
				      struct pv_transport_op op)
{
	function->waiting.id = message->id;
	function->waiting.no_reply = message->no_reply;
	function->waiting.command = message->command;
	op.request = message->command;
	submit(function, &op);
	return PV_OK;
}

/* Interrupts. */

static int vector_fd(const struct pv_vfio_function *function, uint16_t vector)
{
	return vector < PV_PCI_NR_VECTORS ? function->vectors[vector] : -1;
}

/* The device thread raises a queue's interrupt by an fd of its own. */
static void give_interrupt(struct pv_vfio_function *function, uint32_t queue)
{
	int fd = vector_fd(function, function->registers.queues[queue].vector);
	int copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (fd >= 0 && copy < 0)
		pv_log(PV_LOG_ERROR, MODULE, "queue %" PRIu32 " gets no interrupts: %s", queue, strerror(errno));
	submit(function, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_SET_CALL, .queue = queue, .take_fd = copy});
}

static void give_interrupts(struct pv_vfio_function *function)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		give_interrupt(function, i);
}

void pv_vfio_function_config_interrupt(struct pv_vfio_function *function)
{
	int fd = vector_fd(function, function->registers.config_vector);

	if (fd >= 0 && (function->registers.status & PV_VIRTIO_STATUS_DRIVER_OK))
		pv_notifier_raise(fd);
}

static enum pv_status trigger(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	const struct pv_vfio_irq_set *set = &message->irq_set;

	for (uint32_t i = 0; i < set->count; i++) {
		int fd = function->vectors[set->start + i];
		bool wanted = !(set->flags & PV_VFIO_SET_DATA_BOOL) || message->data[i] != 0;

		if (wanted && fd >= 0)
			pv_notifier_raise(fd);
	}
	return done(function, message);
}

static enum pv_status set_vectors(struct pv_vfio_function *function, struct pv_vfio_message *message)
{
	const struct pv_vfio_irq_set *set = &message->irq_set;

	for (size_t i = 0; i < message->nr_fds; i++) {
		if (!pv_transport_is_notifier(message->fds[i]) || pv_fd_set_nonblocking(message->fds[i], true) != PV_OK)
			return refuse(function, message, ERROR_INVALID, "fd: not an event fd, pipe or socket");
	}
	/* Without fds: these have none from now on. */
	for (uint32_t i = 0; i < set->count; i++) {
		pv_fd_close(&function->vectors[set->start + i]);
		function->vectors[set->start + i] = pv_vfio_message_take_fd(message, i);
	}
	give_interrupts(function);
	return done(function, message);
}

static enum pv_status disable_vectors(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	for (size_t i = 0; i < PV_PCI_NR_VECTORS; i++)
		pv_fd_close(&function->vectors[i]);
	give_interrupts(function);
	return done(function, message);
}

static enum pv_status set_irqs(struct pv_vfio_function *function, struct pv_vfio_message *message)
{
	const struct pv_vfio_irq_set *set = &message->irq_set;
	bool is_disable = set->count == 0 && (set->flags & PV_VFIO_SET_DATA_NONE);

	if (!(set->flags & PV_VFIO_SET_ACTION_TRIGGER))
		return refuse(function, message, ERROR_INVALID, "flags 0x%" PRIx32 ": masking is the VMM's business",
			      set->flags);
	/* There is none of the other kinds, so there is nothing to disable. */
	if (set->index != PV_VFIO_IRQ_MSIX && is_disable)
		return done(function, message);
	if (set->index != PV_VFIO_IRQ_MSIX || set->start + set->count > PV_PCI_NR_VECTORS)
		return refuse(function, message, ERROR_INVALID,
			      "index %" PRIu32 ", start %" PRIu32 ", count %" PRIu32
			      ": this device has %d MSI-X vectors",
			      set->index, set->start, set->count, PV_PCI_NR_VECTORS);
	if (is_disable)
		return disable_vectors(function, message);
	if (set->flags & PV_VFIO_SET_DATA_EVENTFD)
		return set_vectors(function, message);
	return trigger(function, message);
}

static enum pv_status get_irq_info(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	struct pv_vfio_irq_info info = {.argsz = sizeof(info), .index = message->irq_info.index};

	if (info.index == PV_VFIO_IRQ_MSIX) {
		info.flags = PV_VFIO_IRQ_EVENTFD | PV_VFIO_IRQ_FIXED_SIZE;
		info.count = PV_PCI_NR_VECTORS;
	}
	return reply(function, message, &info, sizeof(info));
}

/* Rings. */

static struct pv_virtq_layout layout_of(const struct pv_vfio_function *function, uint32_t queue)
{
	const struct pv_virtio_queue_registers *registers = &function->registers.queues[queue];

	return (struct pv_virtq_layout){.size = registers->size,
					.desc_addr = registers->desc,
					.avail_addr = registers->avail,
					.used_addr = registers->used};
}

static bool can_run(const struct pv_vfio_function *function, uint32_t queue, const char **gap)
{
	struct pv_virtq_layout layout = layout_of(function, queue);

	*gap = NULL;
	if (!pv_virtio_registers_queue_is_live(&function->registers, queue))
		return false;
	*gap = pv_virtq_find_gap(&layout, function->dma.map);
	return !*gap;
}

static void stop_rings(struct pv_vfio_function *function)
{
	const char *gap;

	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		if (!function->running[i] || can_run(function, i, &gap))
			continue;
		function->running[i] = false;
		submit(function, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_STOP, .queue = i, .take_fd = -1});
	}
}

static void start_rings(struct pv_vfio_function *function)
{
	const char *gap;

	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++) {
		if (!can_run(function, i, &gap)) {
			if (gap)
				PV_LOG_LIMITED(PV_LOG_WARNING, MODULE,
					       "queue %" PRIu32
					       ": its %s lies in no memory that is shared with us: give "
					       "the guest's memory backend share=on",
					       i, gap);
			continue;
		}
		if (function->running[i])
			continue;
		function->running[i] = true;
		submit(function,
		       &(struct pv_transport_op){
			   .kind = PV_TRANSPORT_OP_START, .queue = i, .take_fd = -1, .layout = layout_of(function, i)});
	}
}

/* Memory. */

static void use_map(struct pv_vfio_function *function, struct pv_transport_op *op)
{
	op->kind = PV_TRANSPORT_OP_SET_MAP;
	op->take_fd = -1;
	op->take_map = function->dma.map ? pv_guest_map_ref(function->dma.map) : NULL;
}

static enum pv_status dma_map(struct pv_vfio_function *function, struct pv_vfio_message *message)
{
	struct pv_transport_op op = {0};
	enum pv_status status =
	    pv_vfio_dma_table_map(&function->dma, &message->map, message->nr_fds > 0 ? message->fds[0] : -1);

	if (status == PV_ERR_NO_MEMORY)
		return refuse(function, message, ERROR_NO_MEMORY, "all %d maps are in use, or there is no memory",
			      PV_VFIO_MAX_DMA_MAPS);
	if (status != PV_OK) /* logged by guest memory */
		return reply_error(function, message, status == PV_ERR_HOST ? ERROR_IO : ERROR_INVALID);
	stop_rings(function);
	use_map(function, &op);
	submit(function, &op);
	start_rings(function);
	return done(function, message);
}

/* Answered when the device has let go of the memory. */
static enum pv_status dma_unmap(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	struct pv_transport_op op = {0};
	size_t removed = 0;
	enum pv_status status = pv_vfio_dma_table_unmap(&function->dma, &message->unmap, &removed);

	if (status == PV_ERR_ARGUMENT)
		return refuse(function, message, ERROR_INVALID,
			      "range 0x%" PRIx64 ", size 0x%" PRIx64 ": cuts a map in two", message->unmap.guest_addr,
			      message->unmap.size_bytes);
	if (status == PV_OK && removed == 0)
		return reply(function, message, &message->unmap, sizeof(message->unmap));
	stop_rings(function);
	use_map(function, &op);
	function->waiting.unmap = message->unmap;
	(void)submit_and_wait(function, message, op);
	return status;
}

/* Reset. */

/* Registers are reset. The device follows; SET_CALL because the vectors are none now. */
static void reset_device(struct pv_vfio_function *function, struct pv_transport_op *op)
{
	for (uint32_t i = 0; i < PV_GPU_NR_QUEUES; i++)
		function->running[i] = false;
	give_interrupts(function);
	op->kind = PV_TRANSPORT_OP_RESET;
	op->take_fd = -1;
	function->features = 0;
}

static void reset_without_waiting(struct pv_vfio_function *function)
{
	struct pv_transport_op op = {0};

	reset_device(function, &op);
	submit(function, &op);
}

static enum pv_status reset_function(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	struct pv_transport_op op = {0};

	pv_pci_config_reset(&function->config, function->params.window_bytes);
	pv_virtio_registers_reset(&function->registers);
	reset_device(function, &op);
	return submit_and_wait(function, message, op);
}

/* Registers. */

static void write_device_config(struct pv_vfio_function *function, uint32_t offset, const void *data, uint32_t len)
{
	struct pv_transport_op op = {.kind = PV_TRANSPORT_OP_WRITE_CONFIG, .take_fd = -1};

	op.config.offset = offset;
	op.config.size = len;
	memcpy(op.config.bytes, data, len);
	submit(function, &op);
}

static void write_register(struct pv_vfio_function *function, uint64_t offset, const void *data, uint32_t len)
{
	struct pv_virtio_effect effect = pv_virtio_registers_write(&function->registers, offset, data, len);

	switch (effect.kind) {
	case PV_VIRTIO_NOTHING:
		break;
	case PV_VIRTIO_RESET:
		reset_without_waiting(function);
		break;
	case PV_VIRTIO_FEATURES:
		function->features = function->registers.driver_features;
		submit(function, &(struct pv_transport_op){.kind = PV_TRANSPORT_OP_SET_FEATURES,
							   .take_fd = -1,
							   .features = function->features});
		start_rings(function);
		break;
	case PV_VIRTIO_QUEUES:
		start_rings(function);
		break;
	case PV_VIRTIO_VECTOR:
		give_interrupt(function, effect.queue);
		break;
	case PV_VIRTIO_DOORBELL:
		function->doorbells |= 1u << effect.queue;
		break;
	case PV_VIRTIO_CONFIG_WRITE:
		write_device_config(function, effect.offset, data, len);
		break;
	}
}

/* The configuration space. */

/* Virtio 1.3, 4.1.4.9: a register's place is written into the capability, then its data is read or written. */
static bool is_register_access(const struct pv_vfio_function *function, uint64_t offset, uint32_t len,
			       struct pv_pci_access *access)
{
	if (offset != PV_PCI_ACCESS_DATA || len > 4)
		return false;
	*access = pv_pci_config_access(&function->config);
	return access->bar == 0 && access->len == len && (len == 1 || len == 2 || len == 4) &&
	       access->offset % len == 0 && pv_range_fits(access->offset, len, PV_PCI_BAR0_BYTES);
}

static void read_config(struct pv_vfio_function *function, uint64_t offset, void *buf, uint32_t len)
{
	struct pv_pci_access access;

	if (is_register_access(function, offset, len, &access))
		pv_virtio_registers_read(&function->registers, access.offset, buf, len);
	else
		pv_pci_config_read(&function->config, (uint32_t)offset, buf, len);
}

static void write_config(struct pv_vfio_function *function, uint64_t offset, const void *data, uint32_t len)
{
	struct pv_pci_access access;

	if (is_register_access(function, offset, len, &access)) {
		write_register(function, access.offset, data, len);
		return;
	}
	if (!pv_pci_config_write(&function->config, (uint32_t)offset, data, len))
		return;
	/* A VMM passes on a function level reset as the write it is. */
	pv_log(PV_LOG_DEBUG, MODULE, "function level reset");
	pv_pci_config_reset(&function->config, function->params.window_bytes);
	pv_virtio_registers_reset(&function->registers);
	reset_without_waiting(function);
}

/* Regions. */

static uint64_t region_bytes(const struct pv_vfio_function *function, uint32_t region)
{
	switch (region) {
	case PV_VFIO_REGION_BAR0:
		return PV_PCI_BAR0_BYTES;
	case PV_VFIO_REGION_BAR2:
		return function->params.window_bytes;
	case PV_VFIO_REGION_CONFIG:
		return PV_PCI_CONFIG_BYTES;
	default:
		return 0;
	}
}

static enum pv_status get_region_info(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	struct pv_vfio_region_info info = {.argsz = sizeof(info), .index = message->region_info.index};
	bool is_window = info.index == PV_VFIO_REGION_BAR2 && function->params.window_bytes > 0;

	info.size_bytes = region_bytes(function, info.index);
	if (info.size_bytes > 0)
		info.flags = PV_VFIO_REGION_READABLE | PV_VFIO_REGION_WRITABLE;
	if (is_window)
		info.flags |= PV_VFIO_REGION_MAPPABLE;
	function->window_shown |= is_window;
	return reply_fd(function, message, &info, sizeof(info), is_window ? function->params.window_fd : -1);
}

static bool access_fits(const struct pv_vfio_function *function, const struct pv_vfio_region_access *access)
{
	return pv_range_fits(access->offset, access->count, region_bytes(function, access->region));
}

/* A VMM maps the window; this is for one that cannot. */
static bool read_window(const struct pv_vfio_function *function, uint64_t offset, void *buf, uint32_t len)
{
	return pread(function->params.window_fd, buf, len, (off_t)offset) == (ssize_t)len;
}

static bool write_window(const struct pv_vfio_function *function, uint64_t offset, const void *buf, uint32_t len)
{
	return pwrite(function->params.window_fd, buf, len, (off_t)offset) == (ssize_t)len;
}

static enum pv_status region_read(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	const struct pv_vfio_region_access *access = &message->access;
	uint8_t *out = function->reply + sizeof(struct pv_vfio_header);
	uint8_t *data = out + sizeof(*access);

	if (!access_fits(function, access))
		return refuse(function, message, ERROR_INVALID,
			      "region %" PRIu32 ", offset 0x%" PRIx64 ", count %" PRIu32 ": past its end",
			      access->region, access->offset, access->count);
	if (message->no_reply)
		return PV_OK;
	if (access->region == PV_VFIO_REGION_BAR0)
		pv_virtio_registers_read(&function->registers, access->offset, data, access->count);
	else if (access->region == PV_VFIO_REGION_CONFIG)
		read_config(function, access->offset, data, access->count);
	else if (!read_window(function, access->offset, data, access->count))
		return refuse(function, message, ERROR_IO, "the window cannot be read: %s", strerror(errno));
	memcpy(out, access, sizeof(*access));
	send_reply(function, message->id, message->command, sizeof(*access) + access->count, -1);
	return PV_OK;
}

/* `access` fits its region. */
static bool write_region(struct pv_vfio_function *function, const struct pv_vfio_region_access *access,
			 const void *data)
{
	if (access->region == PV_VFIO_REGION_BAR0)
		write_register(function, access->offset, data, access->count);
	else if (access->region == PV_VFIO_REGION_CONFIG)
		write_config(function, access->offset, data, access->count);
	else
		return write_window(function, access->offset, data, access->count);
	return true;
}

static enum pv_status region_write(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	const struct pv_vfio_region_access *access = &message->access;

	if (!access_fits(function, access))
		return refuse(function, message, ERROR_INVALID,
			      "region %" PRIu32 ", offset 0x%" PRIx64 ", count %" PRIu32 ": past its end",
			      access->region, access->offset, access->count);
	if (!write_region(function, access, message->data))
		return refuse(function, message, ERROR_IO, "the window cannot be written: %s", strerror(errno));
	return reply(function, message, access, sizeof(*access));
}

/* Each entry may need operations of its own, so there may be waits in between. */
static void continue_multi(struct pv_vfio_function *function)
{
	struct pv_vfio_message *message = &function->multi.message;
	struct pv_vfio_multi_entry entry;
	struct pv_vfio_fault fault;

	while (message->command != 0 && function->params.ops->free_ops(function->params.user) >= PV_VFIO_MAX_OPS) {
		if (function->multi.next == message->nr_entries) {
			(void)done(function, message);
			message->command = 0;
			return;
		}
		if (pv_vfio_message_entry(message, function->multi.next++, &entry, &fault) != PV_OK) {
			pv_vfio_function_refuse(function, message, &fault);
			message->command = 0;
			return;
		}
		struct pv_vfio_region_access access = {
		    .offset = entry.offset, .region = entry.region, .count = entry.count};
		if (access_fits(function, &access))
			(void)write_region(function, &access, entry.data);
	}
}

static enum pv_status region_write_multi(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	function->multi.message = *message;
	function->multi.message.nr_fds = 0;
	function->multi.next = 0;
	continue_multi(function);
	return PV_OK;
}

/* What we are. */

static enum pv_status version(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	struct pv_vfio_version ours = {0};
	uint8_t payload[sizeof(ours) + sizeof(CAPABILITIES) + 64];
	int len = snprintf((char *)payload + sizeof(ours), sizeof(payload) - sizeof(ours), CAPABILITIES,
			   PV_VFIO_MAX_FDS, PV_VFIO_MAX_DATA_BYTES, PV_VFIO_MAX_DMA_MAPS);

	function->negotiated = true;
	memcpy(payload, &ours, sizeof(ours));
	return reply(function, message, payload, sizeof(ours) + (size_t)len + 1);
}

static enum pv_status get_info(struct pv_vfio_function *function, const struct pv_vfio_message *message)
{
	struct pv_vfio_device_info info = {.argsz = message->payload_bytes,
					   .flags = PV_VFIO_DEVICE_CAN_RESET | PV_VFIO_DEVICE_IS_PCI,
					   .nr_regions = PV_VFIO_NR_REGIONS,
					   .nr_irqs = PV_VFIO_NR_IRQS};

	return reply(function, message, &info, message->payload_bytes);
}

static enum pv_status dispatch(struct pv_vfio_function *function, struct pv_vfio_message *message)
{
	switch (message->command) {
	case PV_VFIO_VERSION:
		return version(function, message);
	case PV_VFIO_DMA_MAP:
		return dma_map(function, message);
	case PV_VFIO_DMA_UNMAP:
		return dma_unmap(function, message);
	case PV_VFIO_GET_INFO:
		return get_info(function, message);
	case PV_VFIO_GET_REGION_INFO:
		return get_region_info(function, message);
	case PV_VFIO_GET_IRQ_INFO:
		return get_irq_info(function, message);
	case PV_VFIO_SET_IRQS:
		return set_irqs(function, message);
	case PV_VFIO_REGION_READ:
		return region_read(function, message);
	case PV_VFIO_REGION_WRITE:
		return region_write(function, message);
	case PV_VFIO_RESET:
		return reset_function(function, message);
	case PV_VFIO_REGION_WRITE_MULTI:
		return region_write_multi(function, message);
	default:
		(void)PV_NEVER(true);
		return PV_ERR_PEER;
	}
}

enum pv_status pv_vfio_function_handle(struct pv_vfio_function *function, struct pv_vfio_message *message)
{
	enum pv_status status;

	if (PV_NEVER(pv_vfio_function_is_waiting(function)))
		status = PV_ERR_PEER;
	else if (!function->negotiated && message->command != PV_VFIO_VERSION)
		status = refuse(function, message, ERROR_INVALID, "VERSION must come first");
	else
		status = dispatch(function, message);
	pv_vfio_message_finish(message);
	return status;
}

enum pv_status pv_vfio_function_op_done(struct pv_vfio_function *function, const struct pv_transport_op *op)
{
	if (op->kind == PV_TRANSPORT_OP_RESET)
		pv_virtio_registers_reset_done(&function->registers);
	if (op->request != 0 && op->request == function->waiting.command) {
		struct pv_vfio_message message = {.id = function->waiting.id,
						  .command = function->waiting.command,
						  .no_reply = function->waiting.no_reply};
		bool is_unmap = message.command == PV_VFIO_DMA_UNMAP;

		function->waiting.command = 0;
		return reply(function, &message, &function->waiting.unmap,
			     is_unmap ? sizeof(function->waiting.unmap) : 0);
	}
	continue_multi(function);
	/* All that can fail on the device's side is the driver's or the host's doing, and shows in the status. */
	return PV_OK;
}

/* SPDX-License-Identifier: MIT */
#include "transport/vfio_user/message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The protocol's errors are Linux's, wherever we run. */
enum { ERROR_INVALID = 22, ERROR_UNSUPPORTED = 95 };

struct command_info {
	const char *name;
	uint32_t fixed_bytes; /* what every payload begins with */
	uint8_t max_fds;
	bool has_more; /* than the fixed part */
	enum pv_status (*check)(struct pv_vfio_message *message, struct pv_vfio_fault *fault);
};

PV_PRINTF(3, 4)
static enum pv_status fail(struct pv_vfio_fault *fault, uint32_t error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(fault->text, sizeof(fault->text), fmt, args);
	va_end(args);
	fault->error = error;
	return PV_ERR_PEER;
}

#define INVALID(fault, ...) fail((fault), ERROR_INVALID, __VA_ARGS__)

static uint32_t more_bytes(const struct pv_vfio_message *message, size_t fixed_bytes)
{
	return message->payload_bytes - (uint32_t)fixed_bytes;
}

static enum pv_status check_argsz(uint32_t argsz, size_t min, struct pv_vfio_fault *fault)
{
	if (argsz < min)
		return INVALID(fault, "argsz %" PRIu32 ": the struct has %zu bytes", argsz, min);
	return PV_OK;
}

static enum pv_status check_version(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	uint32_t len = more_bytes(message, sizeof(message->version));

	if (message->version.major != 0)
		return fail(fault, ERROR_UNSUPPORTED, "major %u: this is version 0", message->version.major);
	if (len > 0 && message->data[len - 1] != '\0')
		return INVALID(fault, "the text has no end");
	return PV_OK;
}

static enum pv_status check_range(uint64_t addr, uint64_t size, struct pv_vfio_fault *fault)
{
	uint64_t end;

	if (size == 0 || !pv_add_u64(addr, size, &end))
		return INVALID(fault, "range 0x%" PRIx64 ", size 0x%" PRIx64 ": empty, or past the end of memory", addr,
			       size);
	return PV_OK;
}

static enum pv_status check_map(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	const struct pv_vfio_dma_map *map = &message->map;
	uint64_t end;

	if (map->flags & ~(PV_VFIO_DMA_READ_FLAG | PV_VFIO_DMA_WRITE_FLAG))
		return INVALID(fault, "flags 0x%" PRIx32 ": unknown", map->flags);
	if (!pv_add_u64(map->offset, map->size_bytes, &end))
		return INVALID(fault, "offset 0x%" PRIx64 ": past the end of any file", map->offset);
	enum pv_status status = check_argsz(map->argsz, sizeof(*map), fault);
	return status == PV_OK ? check_range(map->guest_addr, map->size_bytes, fault) : status;
}

static enum pv_status check_unmap(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	const struct pv_vfio_dma_unmap *unmap = &message->unmap;
	enum pv_status status = check_argsz(unmap->argsz, sizeof(*unmap), fault);

	if (status != PV_OK)
		return status;
	if (unmap->flags & ~PV_VFIO_UNMAP_ALL)
		return fail(fault, ERROR_UNSUPPORTED, "flags 0x%" PRIx32 ": this device does not track dirty pages",
			    unmap->flags);
	if (unmap->flags & PV_VFIO_UNMAP_ALL) {
		if (unmap->guest_addr != 0 || unmap->size_bytes != 0)
			return INVALID(fault, "an address or size with the flag for all");
		return PV_OK;
	}
	return check_range(unmap->guest_addr, unmap->size_bytes, fault);
}

static enum pv_status check_info(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	if (message->payload_bytes > sizeof(message->info))
		return INVALID(fault, "%" PRIu32 " bytes: the struct has %zu", message->payload_bytes,
			       sizeof(message->info));
	return check_argsz(message->info.argsz, PV_VFIO_DEVICE_INFO_MIN_BYTES, fault);
}

static enum pv_status check_region(uint32_t region, struct pv_vfio_fault *fault)
{
	if (region >= PV_VFIO_NR_REGIONS)
		return INVALID(fault, "region %" PRIu32 ": there are %d", region, PV_VFIO_NR_REGIONS);
	return PV_OK;
}

static enum pv_status check_region_info(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	enum pv_status status = check_argsz(message->region_info.argsz, sizeof(message->region_info), fault);

	return status == PV_OK ? check_region(message->region_info.index, fault) : status;
}

static enum pv_status check_irq(uint32_t index, struct pv_vfio_fault *fault)
{
	if (index >= PV_VFIO_NR_IRQS)
		return INVALID(fault, "index %" PRIu32 ": there are %d kinds of interrupts", index, PV_VFIO_NR_IRQS);
	return PV_OK;
}

static enum pv_status check_irq_info(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	enum pv_status status = check_argsz(message->irq_info.argsz, sizeof(message->irq_info), fault);

	return status == PV_OK ? check_irq(message->irq_info.index, fault) : status;
}

static bool is_one_bit(uint32_t bits)
{
	return bits != 0 && (bits & (bits - 1)) == 0;
}

static enum pv_status check_irq_set(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	const struct pv_vfio_irq_set *set = &message->irq_set;
	uint32_t data = set->flags & PV_VFIO_SET_DATA_MASK, more = more_bytes(message, sizeof(*set)), end;
	enum pv_status status = check_argsz(set->argsz, sizeof(*set), fault);

	if (status == PV_OK)
		status = check_irq(set->index, fault);
	if (status != PV_OK)
		return status;
	if (!is_one_bit(data) || !is_one_bit(set->flags & PV_VFIO_SET_ACTIONS) ||
	    set->flags & ~(PV_VFIO_SET_DATA_MASK | PV_VFIO_SET_ACTIONS))
		return INVALID(fault, "flags 0x%" PRIx32 ": must be one kind of data and one action", set->flags);
	if (__builtin_add_overflow(set->start, set->count, &end))
		return INVALID(fault, "start %" PRIu32 ", count %" PRIu32 ": too many", set->start, set->count);
	if (data == PV_VFIO_SET_DATA_BOOL ? more != set->count : more != 0)
		return INVALID(fault, "%" PRIu32 " bytes of data for %" PRIu32 " interrupts", more, set->count);
	if (message->nr_fds != 0 && (data != PV_VFIO_SET_DATA_EVENTFD || message->nr_fds != set->count))
		return INVALID(fault, "%zu fds for %" PRIu32 " interrupts", message->nr_fds, set->count);
	return PV_OK;
}

static enum pv_status check_read(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	if (message->access.count > PV_VFIO_MAX_DATA_BYTES)
		return INVALID(fault, "count %" PRIu32 ": at most %u bytes at once", message->access.count,
			       PV_VFIO_MAX_DATA_BYTES);
	return check_region(message->access.region, fault);
}

static enum pv_status check_write(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	uint32_t more = more_bytes(message, sizeof(message->access));

	if (message->access.count != more)
		return INVALID(fault, "count %" PRIu32 ": the message has %" PRIu32 " bytes of data",
			       message->access.count, more);
	return check_region(message->access.region, fault);
}

static enum pv_status check_write_multi(struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	uint32_t more = more_bytes(message, sizeof(message->nr_entries));

	if (more % sizeof(struct pv_vfio_multi_entry) != 0 ||
	    message->nr_entries != more / sizeof(struct pv_vfio_multi_entry))
		return INVALID(fault, "%" PRIu64 " writes: the message has %" PRIu32 " bytes of them",
			       message->nr_entries, more);
	return PV_OK;
}

static const struct command_info commands[PV_VFIO_COMMAND_LIMIT] = {
    [PV_VFIO_VERSION] = {"VERSION", sizeof(struct pv_vfio_version), 0, true, check_version},
    [PV_VFIO_DMA_MAP] = {"DMA_MAP", sizeof(struct pv_vfio_dma_map), 1, false, check_map},
    [PV_VFIO_DMA_UNMAP] = {"DMA_UNMAP", sizeof(struct pv_vfio_dma_unmap), 0, false, check_unmap},
    [PV_VFIO_GET_INFO] = {"GET_INFO", PV_VFIO_DEVICE_INFO_MIN_BYTES, 0, true, check_info},
    [PV_VFIO_GET_REGION_INFO] = {"GET_REGION_INFO", sizeof(struct pv_vfio_region_info), 0, false, check_region_info},
    [PV_VFIO_GET_REGION_IO_FDS] = {"GET_REGION_IO_FDS", 0, 0, true, NULL},
    [PV_VFIO_GET_IRQ_INFO] = {"GET_IRQ_INFO", sizeof(struct pv_vfio_irq_info), 0, false, check_irq_info},
    [PV_VFIO_SET_IRQS] = {"SET_IRQS", sizeof(struct pv_vfio_irq_set), PV_VFIO_MAX_FDS, true, check_irq_set},
    [PV_VFIO_REGION_READ] = {"REGION_READ", sizeof(struct pv_vfio_region_access), 0, false, check_read},
    [PV_VFIO_REGION_WRITE] = {"REGION_WRITE", sizeof(struct pv_vfio_region_access), 0, true, check_write},
    [PV_VFIO_DMA_READ] = {"DMA_READ", 0, 0, true, NULL},
    [PV_VFIO_DMA_WRITE] = {"DMA_WRITE", 0, 0, true, NULL},
    [PV_VFIO_RESET] = {"RESET", 0, 0, false, NULL},
    [PV_VFIO_DIRTY_PAGES] = {"DIRTY_PAGES", 0, 0, true, NULL},
    [PV_VFIO_REGION_WRITE_MULTI] = {"REGION_WRITE_MULTI", sizeof(uint64_t), 0, true, check_write_multi},
    [PV_VFIO_DEVICE_FEATURE] = {"DEVICE_FEATURE", 0, 0, true, NULL},
};

_Static_assert(sizeof(struct pv_vfio_region_info) <= sizeof(struct pv_vfio_dma_map), "fixed[] is large enough");

static const struct command_info *find(uint32_t command)
{
	return command < PV_ARRAY_LEN(commands) && commands[command].name ? &commands[command] : NULL;
}

const char *pv_vfio_command_name(uint32_t command)
{
	const struct command_info *info = find(command);

	return info ? info->name : "command";
}

enum pv_status pv_vfio_header_check(const struct pv_vfio_header *header, size_t *payload_bytes,
				    struct pv_vfio_fault *fault)
{
	if (header->size < sizeof(*header) || header->size - sizeof(*header) > PV_VFIO_MAX_PAYLOAD_BYTES)
		return INVALID(fault, "size %" PRIu32 ": must be %zu to %zu", header->size, sizeof(*header),
			       sizeof(*header) + PV_VFIO_MAX_PAYLOAD_BYTES);
	/* We ask nothing, so nothing can be a reply: the peer and we do not speak of the same stream. */
	if ((header->flags & PV_VFIO_FLAG_TYPE_MASK) != 0)
		return INVALID(fault, "flags 0x%" PRIx32 ": not a request", header->flags);
	*payload_bytes = header->size - sizeof(*header);
	return PV_OK;
}

static enum pv_status parse_payload(const struct pv_vfio_header *header, const void *payload,
				    struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	const struct command_info *info = find(header->command);

	if (header->flags & ~(PV_VFIO_FLAG_TYPE_MASK | PV_VFIO_FLAG_NO_REPLY))
		return INVALID(fault, "flags 0x%" PRIx32 ": do not belong in a request", header->flags);
	if (!info)
		return fail(fault, ERROR_UNSUPPORTED, "number %u: unknown", header->command);
	if (!info->check && header->command != PV_VFIO_RESET)
		return fail(fault, ERROR_UNSUPPORTED, "not supported by this device");
	if (message->nr_fds > info->max_fds)
		return INVALID(fault, "%zu fds: at most %u", message->nr_fds, info->max_fds);
	if (message->payload_bytes < info->fixed_bytes ||
	    (!info->has_more && message->payload_bytes > info->fixed_bytes))
		return INVALID(fault, "%" PRIu32 " bytes: must be %s%" PRIu32, message->payload_bytes,
			       info->has_more ? "at least " : "", info->fixed_bytes);
	memcpy(message->fixed, payload, info->fixed_bytes);
	message->data = (const uint8_t *)payload + info->fixed_bytes;
	return info->check ? info->check(message, fault) : PV_OK;
}

enum pv_status pv_vfio_message_parse(const struct pv_vfio_header *header, const void *payload, const int *take_fds,
				     size_t nr_fds, struct pv_vfio_message *message, struct pv_vfio_fault *fault)
{
	*message = (struct pv_vfio_message){.id = header->id,
					    .command = header->command,
					    .no_reply = (header->flags & PV_VFIO_FLAG_NO_REPLY) != 0,
					    .payload_bytes = header->size - (uint32_t)sizeof(*header)};
	for (size_t i = 0; i < nr_fds && i < PV_VFIO_MAX_FDS; i++)
		message->fds[message->nr_fds++] = take_fds[i];

	enum pv_status status = PV_NEVER(nr_fds > PV_VFIO_MAX_FDS) ? INVALID(fault, "unchecked message")
								   : parse_payload(header, payload, message, fault);
	if (status != PV_OK)
		pv_vfio_message_finish(message);
	return status;
}

enum pv_status pv_vfio_message_entry(const struct pv_vfio_message *message, uint64_t i,
				     struct pv_vfio_multi_entry *entry, struct pv_vfio_fault *fault)
{
	memcpy(entry, message->data + i * sizeof(*entry), sizeof(*entry));
	if (entry->count > sizeof(entry->data))
		return INVALID(fault, "write %" PRIu64 ": %" PRIu32 " bytes, there is room for %zu", i, entry->count,
			       sizeof(entry->data));
	return check_region(entry->region, fault);
}

int pv_vfio_message_take_fd(struct pv_vfio_message *message, size_t i)
{
	int fd = -1;

	if (i < message->nr_fds) {
		fd = message->fds[i];
		message->fds[i] = -1;
	}
	return fd;
}

void pv_vfio_message_finish(struct pv_vfio_message *message)
{
	for (size_t i = 0; i < message->nr_fds; i++)
		pv_fd_close(&message->fds[i]);
	message->nr_fds = 0;
}

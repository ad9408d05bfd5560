/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/socket.h"

enum payload {
	PAYLOAD_UNKNOWN = 0,
	PAYLOAD_NONE,
	PAYLOAD_U64,
	PAYLOAD_RING,
	PAYLOAD_RING_ADDR,
	PAYLOAD_RING_FD,
	PAYLOAD_MEMORY,
	PAYLOAD_REGION,
	PAYLOAD_CONFIG,
};

struct request_info {
	const char *name;
	enum payload payload;
	uint8_t min_fds, max_fds;
	uint64_t needs;
};

#define REGION_TABLE_HEADER_BYTES offsetof(struct pv_vhost_memory, regions)

static const struct request_info requests[PV_VHOST_REQUEST_LIMIT] = {
    [PV_VHOST_GET_FEATURES] = {"GET_FEATURES", PAYLOAD_NONE, 0, 0, 0},
    [PV_VHOST_SET_FEATURES] = {"SET_FEATURES", PAYLOAD_U64, 0, 0, 0},
    [PV_VHOST_SET_OWNER] = {"SET_OWNER", PAYLOAD_NONE, 0, 0, 0},
    [PV_VHOST_RESET_OWNER] = {"RESET_OWNER", PAYLOAD_NONE, 0, 0, 0},
    [PV_VHOST_SET_MEM_TABLE] = {"SET_MEM_TABLE", PAYLOAD_MEMORY, 0, PV_VHOST_MAX_TABLE_REGIONS, 0},
    [PV_VHOST_SET_VRING_NUM] = {"SET_VRING_NUM", PAYLOAD_RING, 0, 0, 0},
    [PV_VHOST_SET_VRING_ADDR] = {"SET_VRING_ADDR", PAYLOAD_RING_ADDR, 0, 0, 0},
    [PV_VHOST_SET_VRING_BASE] = {"SET_VRING_BASE", PAYLOAD_RING, 0, 0, 0},
    [PV_VHOST_GET_VRING_BASE] = {"GET_VRING_BASE", PAYLOAD_RING, 0, 0, 0},
    [PV_VHOST_SET_VRING_KICK] = {"SET_VRING_KICK", PAYLOAD_RING_FD, 0, 1, 0},
    [PV_VHOST_SET_VRING_CALL] = {"SET_VRING_CALL", PAYLOAD_RING_FD, 0, 1, 0},
    [PV_VHOST_SET_VRING_ERR] = {"SET_VRING_ERR", PAYLOAD_RING_FD, 0, 1, 0},
    [PV_VHOST_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", PAYLOAD_NONE, 0, 0, 0},
    [PV_VHOST_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", PAYLOAD_U64, 0, 0, 0},
    [PV_VHOST_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", PAYLOAD_NONE, 0, 0, 0},
    [PV_VHOST_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", PAYLOAD_RING, 0, 0, 0},
    [PV_VHOST_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", PAYLOAD_NONE, 1, 1, PV_VHOST_PROTOCOL_F_BACKEND_REQ},
    [PV_VHOST_GET_CONFIG] = {"GET_CONFIG", PAYLOAD_CONFIG, 0, 0, PV_VHOST_PROTOCOL_F_CONFIG},
    [PV_VHOST_SET_CONFIG] = {"SET_CONFIG", PAYLOAD_CONFIG, 0, 0, PV_VHOST_PROTOCOL_F_CONFIG},
    [PV_VHOST_GPU_SET_SOCKET] = {"GPU_SET_SOCKET", PAYLOAD_NONE, 1, 1, 0},
    [PV_VHOST_RESET_DEVICE] = {"RESET_DEVICE", PAYLOAD_NONE, 0, 0, PV_VHOST_PROTOCOL_F_RESET_DEVICE},
    [PV_VHOST_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", PAYLOAD_NONE, 0, 0, PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
    [PV_VHOST_ADD_MEM_REG] = {"ADD_MEM_REG", PAYLOAD_REGION, 1, 1, PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
    /* The spec lets a front end send an fd here, which is to be closed. */
    [PV_VHOST_REM_MEM_REG] = {"REM_MEM_REG", PAYLOAD_REGION, 0, 1, PV_VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
    [PV_VHOST_SET_STATUS] = {"SET_STATUS", PAYLOAD_U64, 0, 0, PV_VHOST_PROTOCOL_F_STATUS},
    [PV_VHOST_GET_STATUS] = {"GET_STATUS", PAYLOAD_NONE, 0, 0, PV_VHOST_PROTOCOL_F_STATUS},
    [PV_VHOST_GET_SHMEM_CONFIG] = {"GET_SHMEM_CONFIG", PAYLOAD_NONE, 0, 0, PV_VHOST_PROTOCOL_F_SHMEM},
};

static const struct request_info *find(uint32_t request)
{
	if (request >= PV_ARRAY_LEN(requests) || requests[request].payload == PAYLOAD_UNKNOWN)
		return NULL;
	return &requests[request];
}

const char *pv_vhost_request_name(uint32_t request)
{
	const struct request_info *info = find(request);

	return info ? info->name : "request";
}

uint64_t pv_vhost_request_needs(uint32_t request)
{
	const struct request_info *info = find(request);

	return info ? info->needs : 0;
}

PV_PRINTF(2, 3) static enum pv_status fail(struct pv_vhost_fault *fault, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(fault->text, sizeof(fault->text), fmt, args);
	va_end(args);
	return PV_ERR_PEER;
}

struct size_range {
	uint32_t min, max;
};

static struct size_range payload_size(enum payload payload)
{
	switch (payload) {
	case PAYLOAD_UNKNOWN:
	case PAYLOAD_NONE:
		return (struct size_range){0, 0};
	case PAYLOAD_U64:
	case PAYLOAD_RING_FD:
		return (struct size_range){8, 8};
	case PAYLOAD_RING:
		return (struct size_range){sizeof(struct pv_vhost_ring_state), sizeof(struct pv_vhost_ring_state)};
	case PAYLOAD_RING_ADDR:
		return (struct size_range){sizeof(struct pv_vhost_ring_addr), sizeof(struct pv_vhost_ring_addr)};
	case PAYLOAD_MEMORY:
		return (struct size_range){REGION_TABLE_HEADER_BYTES, sizeof(struct pv_vhost_memory)};
	case PAYLOAD_REGION:
		return (struct size_range){sizeof(struct pv_vhost_single_region),
					   sizeof(struct pv_vhost_single_region)};
	case PAYLOAD_CONFIG:
		return (struct size_range){PV_VHOST_CONFIG_HEADER_BYTES, sizeof(struct pv_vhost_config)};
	}
	return (struct size_range){0, 0};
}

enum pv_status pv_vhost_header_check(const struct pv_vhost_header *header, struct pv_vhost_fault *fault)
{
	const struct request_info *info = find(header->request);
	uint32_t known_flags = PV_VHOST_VERSION_MASK | PV_VHOST_NEED_REPLY;

	if (!info)
		return fail(fault, "number %" PRIu32 ": unknown, or an extension that was not offered",
			    header->request);
	if ((header->flags & PV_VHOST_VERSION_MASK) != PV_VHOST_VERSION)
		return fail(fault, "flags 0x%" PRIx32 ": the protocol version must be 1", header->flags);
	if (header->flags & ~known_flags)
		return fail(fault, "flags 0x%" PRIx32 ": only version and need_reply belong in a request",
			    header->flags);

	struct size_range range = payload_size(info->payload);
	if (range.min == range.max && header->size != range.min)
		return fail(fault, "size %" PRIu32 ": must be %" PRIu32, header->size, range.min);
	if (header->size < range.min || header->size > range.max)
		return fail(fault, "size %" PRIu32 ": must be %" PRIu32 " to %" PRIu32, header->size, range.min,
			    range.max);
	return PV_OK;
}

static enum pv_status check_index(uint64_t index, uint32_t nr_queues, struct pv_vhost_fault *fault)
{
	if (index >= nr_queues)
		return fail(fault, "index %" PRIu64 ": this device has %" PRIu32 " queues", index, nr_queues);
	return PV_OK;
}

static enum pv_status check_region(const struct pv_vhost_region *region, struct pv_vhost_fault *fault)
{
	uint64_t end;

	if (region->size_bytes == 0)
		return fail(fault, "size of the region at 0x%" PRIx64 ": 0", region->guest_addr);
	if (!pv_add_u64(region->guest_addr, region->size_bytes, &end) ||
	    !pv_add_u64(region->user_addr, region->size_bytes, &end) ||
	    !pv_add_u64(region->mmap_offset, region->size_bytes, &end))
		return fail(fault, "size of the region at 0x%" PRIx64 ": 0x%" PRIx64 " wraps around",
			    region->guest_addr, region->size_bytes);
	return PV_OK;
}

static enum pv_status parse_ring(struct pv_vhost_message *message, uint32_t nr_queues, struct pv_vhost_fault *fault)
{
	uint32_t num = message->ring.num;
	enum pv_status status = check_index(message->ring.index, nr_queues, fault);

	if (status != PV_OK)
		return status;
	if (message->request == PV_VHOST_SET_VRING_NUM && (num == 0 || num > PV_VHOST_MAX_RING_SIZE))
		return fail(fault, "num %" PRIu32 ": a ring has 1 to %d entries", num, PV_VHOST_MAX_RING_SIZE);
	if (message->request == PV_VHOST_SET_VRING_BASE && num > UINT16_MAX)
		return fail(fault, "num %" PRIu32 ": an index into a split ring has 16 bits", num);
	if (message->request == PV_VHOST_SET_VRING_ENABLE && num > 1)
		return fail(fault, "num %" PRIu32 ": must be 0 or 1", num);
	return PV_OK;
}

static enum pv_status parse_ring_addr(struct pv_vhost_message *message, uint32_t nr_queues,
				      struct pv_vhost_fault *fault)
{
	if (message->addr.flags != 0)
		return fail(fault, "flags 0x%" PRIx32 ": logging was not offered", message->addr.flags);
	return check_index(message->addr.index, nr_queues, fault);
}

/* The u64 becomes ring.index, and num 1 if an fd came with it. */
static enum pv_status parse_ring_fd(struct pv_vhost_message *message, uint32_t nr_queues, struct pv_vhost_fault *fault)
{
	uint64_t value = message->value;
	uint64_t index = value & ~(uint64_t)PV_VHOST_RING_NO_FD;
	bool has_fd = !(value & PV_VHOST_RING_NO_FD);
	enum pv_status status = check_index(index, nr_queues, fault);

	if (status != PV_OK)
		return status;
	if (message->nr_fds != (has_fd ? 1 : 0))
		return fail(fault, "%zu fds: the no-fd flag (bit 8) is %s", message->nr_fds, has_fd ? "clear" : "set");
	message->ring = (struct pv_vhost_ring_state){.index = (uint32_t)index, .num = has_fd};
	return PV_OK;
}

static enum pv_status parse_memory(struct pv_vhost_message *message, uint32_t size, struct pv_vhost_fault *fault)
{
	uint32_t n = message->memory.nr_regions;

	if (n > PV_VHOST_MAX_TABLE_REGIONS)
		return fail(fault, "%" PRIu32 " regions: the message has room for %d", n, PV_VHOST_MAX_TABLE_REGIONS);
	if (size != REGION_TABLE_HEADER_BYTES + n * sizeof(struct pv_vhost_region))
		return fail(fault, "size %" PRIu32 ": does not fit %" PRIu32 " regions", size, n);
	if (message->nr_fds != n)
		return fail(fault, "%zu fds: must be one for each of %" PRIu32 " regions", message->nr_fds, n);
	for (uint32_t i = 0; i < n; i++) {
		enum pv_status status = check_region(&message->memory.regions[i], fault);
		if (status != PV_OK)
			return status;
	}
	return PV_OK;
}

static enum pv_status parse_config(struct pv_vhost_message *message, uint32_t size, struct pv_vhost_fault *fault)
{
	const struct pv_vhost_config *config = &message->config;

	if (config->size != size - PV_VHOST_CONFIG_HEADER_BYTES)
		return fail(fault, "config size %" PRIu32 ": the payload has %" PRIu32 " bytes of it", config->size,
			    size - PV_VHOST_CONFIG_HEADER_BYTES);
	if (!pv_range_fits(config->offset, config->size, PV_VHOST_MAX_CONFIG_BYTES))
		return fail(fault, "config offset %" PRIu32 ", size %" PRIu32 ": past the %d bytes there can be",
			    config->offset, config->size, PV_VHOST_MAX_CONFIG_BYTES);
	/* A GET's flags mean nothing and are echoed. */
	if (message->request == PV_VHOST_SET_CONFIG && config->flags > PV_VHOST_CONFIG_FOR_MIGRATION)
		return fail(fault, "config flags 0x%" PRIx32 ": unknown", config->flags);
	return PV_OK;
}

static enum pv_status parse_payload(const struct request_info *info, const struct pv_vhost_header *header,
				    const void *payload, uint32_t nr_queues, struct pv_vhost_message *message,
				    struct pv_vhost_fault *fault)
{
	struct pv_vhost_single_region single;

	switch (info->payload) {
	case PAYLOAD_UNKNOWN:
	case PAYLOAD_NONE:
		return PV_OK;
	case PAYLOAD_U64:
		memcpy(&message->value, payload, sizeof(message->value));
		return PV_OK;
	case PAYLOAD_RING:
		memcpy(&message->ring, payload, sizeof(message->ring));
		return parse_ring(message, nr_queues, fault);
	case PAYLOAD_RING_ADDR:
		memcpy(&message->addr, payload, sizeof(message->addr));
		return parse_ring_addr(message, nr_queues, fault);
	case PAYLOAD_RING_FD:
		memcpy(&message->value, payload, sizeof(message->value));
		return parse_ring_fd(message, nr_queues, fault);
	case PAYLOAD_MEMORY:
		memcpy(&message->memory, payload, header->size);
		return parse_memory(message, header->size, fault);
	case PAYLOAD_REGION:
		memcpy(&single, payload, sizeof(single));
		message->region = single.region;
		return check_region(&message->region, fault);
	case PAYLOAD_CONFIG:
		memcpy(&message->config, payload, header->size);
		return parse_config(message, header->size, fault);
	}
	return PV_OK;
}

enum pv_status pv_vhost_message_parse(const struct pv_vhost_header *header, const void *payload, const int *take_fds,
				      size_t nr_fds, uint32_t nr_queues, struct pv_vhost_message *message,
				      struct pv_vhost_fault *fault)
{
	const struct request_info *info = find(header->request);
	enum pv_status status;

	*message = (struct pv_vhost_message){.request = header->request,
					     .need_reply = (header->flags & PV_VHOST_NEED_REPLY) != 0};
	for (size_t i = 0; i < nr_fds && i < PV_VHOST_MAX_FDS; i++)
		message->fds[message->nr_fds++] = take_fds[i];

	if (PV_NEVER(!info || nr_fds > PV_VHOST_MAX_FDS))
		status = fail(fault, "unchecked message");
	else if (nr_fds < info->min_fds || nr_fds > info->max_fds)
		status = fail(fault, "%zu fds: must be %s%d", nr_fds, info->min_fds < info->max_fds ? "at most " : "",
			      info->max_fds);
	else
		status = parse_payload(info, header, payload, nr_queues, message, fault);
	if (status != PV_OK)
		pv_vhost_message_finish(message);
	return status;
}

int pv_vhost_message_take_fd(struct pv_vhost_message *message)
{
	int fd = -1;

	if (message->nr_fds > 0) {
		fd = message->fds[0];
		message->fds[0] = -1;
	}
	return fd;
}

void pv_vhost_message_finish(struct pv_vhost_message *message)
{
	for (size_t i = 0; i < message->nr_fds; i++)
		pv_fd_close(&message->fds[i]);
	message->nr_fds = 0;
}

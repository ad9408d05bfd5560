/* SPDX-License-Identifier: MIT */
/*
 * Where a stream's replies go: a range of a resource that is shared with the guest. It is only ever written, never read
 * back. Replies are written in place at their final offset, so that the driver can fill them without a copy.
 */
#ifndef PV_VENUS_REPLY_H
#define PV_VENUS_REPLY_H

#include <string.h>

#include "base/base.h"

struct pv_venus_resource;

/* Owned by the stream's thread. {0}: no reply stream is set, nothing fits. */
struct pv_venus_reply {
	uint8_t *begin, *cursor, *end;
	struct pv_venus_resource *resource; /* counted */
	bool overflow;                      /* sticky until the next command: something did not fit */
};

/* `bytes` of reply, padded to 4 (the padding is zeroed); NULL and overflow: they do not fit. */
static inline uint8_t *pv_venus_reply_reserve(struct pv_venus_reply *reply, uint64_t bytes)
{
	uint8_t *at = reply->cursor;
	uint64_t padded = (bytes + 3) & ~UINT64_C(3);

	if (bytes > UINT64_MAX - 3 || padded > (uint64_t)(reply->end - at)) {
		reply->overflow = true;
		return NULL;
	}
	if (padded != bytes)
		memset(at + padded - 4, 0, 4);
	reply->cursor = at + padded;
	return at;
}

/* The same for bytes that are there already: all but the padding stays. */
static inline uint8_t *pv_venus_reply_reserve_filled(struct pv_venus_reply *reply, uint64_t bytes)
{
	uint8_t *at = reply->cursor;
	uint64_t padded = (bytes + 3) & ~UINT64_C(3);

	if (bytes > UINT64_MAX - 3 || padded > (uint64_t)(reply->end - at)) {
		reply->overflow = true;
		return NULL;
	}
	if (padded != bytes)
		memset(at + bytes, 0, padded - bytes);
	reply->cursor = at + padded;
	return at;
}

static inline void pv_venus_reply_u32(struct pv_venus_reply *reply, uint32_t value)
{
	uint8_t *at = pv_venus_reply_reserve(reply, 4);

	if (at)
		memcpy(at, &value, 4);
}

static inline void pv_venus_reply_u64(struct pv_venus_reply *reply, uint64_t value)
{
	uint8_t *at = pv_venus_reply_reserve(reply, 8);

	if (at)
		memcpy(at, &value, 8);
}

static inline void pv_venus_reply_bytes(struct pv_venus_reply *reply, const void *bytes, uint64_t len)
{
	uint8_t *at = pv_venus_reply_reserve(reply, len);

	if (at && len)
		memcpy(at, bytes, len);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A hostile driver against the split virtqueue. The input is an image of guest memory, in which the rings lie, followed
 * by what happens: the device pops and pushes, and between any two steps the guest changes its memory.
 *
 *     u8 log2 of the size, u8 features, u16 base, u16 desc page, u16 avail, u16 used, u16 length of the image, image,
 * steps
 */
#include <stdlib.h>
#include <string.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "virtio/virtq.h"

/* Two regions that touch and one apart; exact allocations, so that a byte too far is seen. */
#define REGION_BYTES 8192
#define FAR_BYTES    512
#define FAR_ADDR     0x100000000ull
#define MAX_STEPS    512

static uint32_t take(struct input *in, size_t len)
{
	uint32_t value = 0;

	len = len < in->len ? len : in->len;
	memcpy(&value, in->data, len);
	in->data += len;
	in->len -= len;
	return value;
}

static struct pv_guest_map *make_map(uint8_t *const memory[3], size_t n)
{
	static const uint64_t addr[3] = {0, REGION_BYTES, FAR_ADDR};
	static const uint64_t size[3] = {REGION_BYTES, REGION_BYTES, FAR_BYTES};
	struct pv_guest_region *regions[3];
	struct pv_guest_map *map = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct pv_guest_region_params params = {
		    .guest_addr = addr[i], .size_bytes = size[i], .fd = -1, .memory = memory[i]};
		check(pv_guest_region_create(&params, &regions[i]) == PV_OK);
	}
	check(pv_guest_map_create(regions, n, &map) == PV_OK);
	for (size_t i = 0; i < n; i++)
		pv_guest_region_unref(regions[i]);
	return map;
}

/* What every user of a chain relies on. */
static void check_chain(const struct pv_guest_map *map, const struct pv_virtq_chain *chain, uint16_t size)
{
	uint64_t readable = 0, writable = 0;
	uint8_t bytes[64] = {0};

	check(chain->head < size);
	check((unsigned)chain->nr_readable + chain->nr_writable <= PV_VIRTQ_MAX_SEGMENTS);
	for (unsigned i = 0; i < chain->nr_readable; i++)
		readable += chain->spans[i].len;
	for (unsigned i = 0; i < chain->nr_writable; i++)
		writable += chain->spans[chain->nr_readable + i].len;
	check(readable == chain->readable_len && writable == chain->writable_len);

	/* Any of these may fail; none may leave guest memory. */
	(void)!pv_guest_read(map, chain->spans, chain->nr_readable, 0, bytes, sizeof(bytes));
	(void)!pv_guest_read(map, chain->spans, chain->nr_readable, readable / 2, bytes, sizeof(bytes));
	if (pv_guest_write(map, chain->spans + chain->nr_readable, chain->nr_writable, 0, bytes, sizeof(bytes)) ==
	    PV_OK)
		check(writable >= sizeof(bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = {data, len};
	uint8_t *memory[3] = {calloc(1, REGION_BYTES), calloc(1, REGION_BYTES), calloc(1, FAR_BYTES)};
	static struct pv_virtq_chain chain;
	struct pv_guest_map *map, *smaller;
	struct pv_virtq virtq = {0};
	uint64_t features = 0;
	uint16_t last = 0;

	pv_log_set_sink(drop_line, NULL);
	check(memory[0] && memory[1] && memory[2]);
	map = make_map(memory, 3);
	smaller = make_map(memory, 1);

	struct pv_virtq_layout layout = {.size = (uint16_t)(1u << (take(&in, 1) % 17))};
	uint32_t bits = take(&in, 1);
	if (bits & 1)
		features |= PV_VIRTIO_RING_F_INDIRECT_DESC;
	if (bits & 2)
		features |= PV_VIRTIO_RING_F_EVENT_IDX;
	if (bits & 4)
		layout.size++;
	uint16_t base = (uint16_t)take(&in, 2);
	layout.desc_addr = (take(&in, 2) & 0x3ff) * 16ull;
	layout.avail_addr = take(&in, 2) & 0x3fff;
	layout.used_addr = take(&in, 2) & 0x3fff;
	if (bits & 8)
		layout.used_addr |= FAR_ADDR;
	if (bits & 16)
		layout.desc_addr = 0 - layout.desc_addr;

	size_t image = take(&in, 2);
	for (size_t i = 0; i < image && in.len > 0; i++)
		memory[i / REGION_BYTES % 2][i % REGION_BYTES] = (uint8_t)take(&in, 1);

	bool running = pv_virtq_start(&virtq, &layout, base, features, map) == PV_OK;
	uint16_t taken = 0;
	for (unsigned step = 0; step < MAX_STEPS && in.len > 0; step++) {
		switch (take(&in, 1) % 10) {
		case 0:
		case 1:
		case 2:
			/* As the device does: all there is. A chain is used after the guest had the chance to change
			 * it. */
			for (unsigned n = 0; n < 64; n++) {
				enum pv_status status = pv_virtq_pop(&virtq, &chain);

				check(status == PV_OK || status == PV_PENDING || status == PV_ERR_GUEST);
				if (status != PV_OK)
					break;
				check(running);
				check_chain(map, &chain, layout.size);
				last = chain.head;
				taken++;
			}
			break;
		case 3:
			pv_virtq_push(&virtq, last, take(&in, 1));
			break;
		case 4:
			(void)pv_virtq_needs_interrupt(&virtq);
			break;
		case 5:
			pv_virtq_disable_doorbell(&virtq);
			(void)pv_virtq_enable_doorbell(&virtq);
			break;
		case 6: {
			uint32_t at = take(&in, 2) & 0x3fff;

			for (uint32_t n = take(&in, 1) & 0x1f; n > 0; n--, at++)
				memory[at / REGION_BYTES % 2][at % REGION_BYTES] = (uint8_t)take(&in, 1);
			break;
		}
		case 7:
			(void)!pv_virtq_remap(&virtq, take(&in, 1) & 1 ? smaller : map);
			break;
		case 8: {
			/* The available index moves on: the commonest thing a driver does. */
			uint64_t at = layout.avail_addr + 2;

			if (at + 2 <= REGION_BYTES) {
				uint16_t index;

				memcpy(&index, memory[0] + at, 2);
				index = (uint16_t)(index + take(&in, 1));
				memcpy(memory[0] + at, &index, 2);
			}
			break;
		}
		default: {
			uint16_t stopped = pv_virtq_stop(&virtq);

			check(!running || stopped == (uint16_t)(base + taken));
			base = running ? stopped : base;
			taken = 0;
			running = pv_virtq_start(&virtq, &layout, base, features, map) == PV_OK;
			break;
		}
		}
	}
	(void)pv_virtq_stop(&virtq);

	pv_guest_map_unref(smaller);
	pv_guest_map_unref(map);
	for (size_t i = 0; i < 3; i++)
		free(memory[i]);
	return 0;
}

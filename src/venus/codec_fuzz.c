/* SPDX-License-Identifier: MIT */
/*
 * Hostile command streams against the generated codec, on a driver that does nothing: whatever the bytes, nothing is
 * read or written that is not there, and a stream that fails says where.
 *
 * Input: one word that chooses how the driver fares, then the stream. Objects of each type have the type's number as
 * id. The mutator knows what a stream is made of: commands, counts before arrays, chains, ids.
 */
#include <stdlib.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "venus/generated/internal.h"
#include "venus/null_driver.h"

#define MAX_INPUT_BYTES (64u << 10)
#define MAX_COMMANDS    256

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
static uint8_t replies[16 << 10];

static void start(uint32_t how)
{
	static const VkResult results[] = {VK_SUCCESS, VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_DEVICE_LOST,
					   VK_INCOMPLETE};

	pv_log_set_sink(drop_line, NULL);
	check(pv_venus_null_start());
	for (int type = PV_VENUS_INSTANCE; type < PV_VENUS_NR_TYPES; type++)
		check(pv_venus_null_add((enum pv_venus_type)type, (uint64_t)type));
	pv_venus_null.result = results[how % 4];
	pv_venus_null.replies = replies;
	pv_venus_null.replies_bytes = how & 4 ? 64 : sizeof(replies);
	/* Many commands come with the wish for a reply. */
	if (how & 8) {
		pv_venus_null.decoder.reply.begin = pv_venus_null.decoder.reply.cursor = replies;
		pv_venus_null.decoder.reply.end = replies + pv_venus_null.replies_bytes;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_venus_decoder *d = &pv_venus_null.decoder;
	uint64_t *nested;
	uint64_t bytes;

	if (size < 4 || size > MAX_INPUT_BYTES)
		return 0;
	start(pv_venus_load_u32(data));
	data += 4;
	bytes = size - 4;
	/* The same bytes, aligned, are what nested streams are parts of. */
	nested = malloc(bytes + 8);
	check(nested != NULL);
	memcpy(nested, data, bytes);
	pv_venus_null.streams = (const uint8_t *)nested;
	pv_venus_null.streams_bytes = bytes;
	pv_venus_null_run(data, bytes);
	if (d->failed)
		check(d->failed_field && d->failed_reason);
	check(d->reply.cursor >= d->reply.begin && d->reply.cursor <= d->reply.end);
	pv_venus_null_finish();
	free(nested);
	return 0;
}

/* ---- The mutator ---- */

static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525 + 1013904223;
	return limit ? (random_state >> 8) % limit : 0;
}

/* Where the commands begin, in words; the last entry is where the first bad one does, or the end. */
static uint32_t commands_of(const uint32_t *words, uint32_t count, uint32_t *starts)
{
	struct pv_venus_decoder *d = &pv_venus_null.decoder;
	uint32_t nr = 0;

	start(8);
	d->cursor = (const uint8_t *)words;
	d->end = d->cursor + 4 * (size_t)count;
	while (nr < MAX_COMMANDS && d->cursor < d->end && !d->failed) {
		starts[nr++] = (uint32_t)((d->cursor - (const uint8_t *)words) / 4);
		/* Room for every reply, which is not the point here. */
		d->reply.cursor = d->reply.begin;
		pv_venus_execute(d);
	}
	starts[nr] = d->failed ? count : (uint32_t)((d->cursor - (const uint8_t *)words) / 4);
	pv_venus_null_finish();
	return nr;
}

static uint32_t interesting(void)
{
	static const uint32_t values[] = {0,          1,          2,     3,     4,     0xffffffff,
					  0x7fffffff, 0x80000000, 65535, 65536, 65537, 0x40000000};

	switch (random_below(4)) {
	case 0:
		return random_below(PV_VENUS_NR_TYPES + 2);
	case 1:
		return pv_venus_chain_structs[random_below(PV_VENUS_NR_CHAINED)].stype;
	case 2:
		return random_below(PV_VENUS_NR_COMMANDS);
	default:
		return values[random_below(sizeof(values) / sizeof(values[0]))];
	}
}

/* Makes room for `more` words at `at`. */
static bool insert(uint32_t *words, uint32_t *count, uint32_t room, uint32_t at, uint32_t more)
{
	if (more > room - *count)
		return false;
	memmove(words + at + more, words + at, 4 * (size_t)(*count - at));
	*count += more;
	return true;
}

static void mutate_words(uint32_t *words, uint32_t *count, uint32_t room)
{
	uint32_t starts[MAX_COMMANDS + 1], copy[512];
	uint32_t nr = commands_of(words, *count, starts), at = random_below(*count), which = random_below(nr), len;

	switch (random_below(6)) {
	case 0:
		words[at] = interesting();
		break;
	case 1: /* one command again, elsewhere */
		len = nr ? starts[which + 1] - starts[which] : 0;
		if (len == 0 || len > 512)
			break;
		memcpy(copy, words + starts[which], 4 * (size_t)len);
		at = starts[random_below(nr + 1)];
		if (insert(words, count, room, at, len))
			memcpy(words + at, copy, 4 * (size_t)len);
		break;
	case 2: /* one command less */
		if (nr < 2)
			break;
		len = starts[which + 1] - starts[which];
		memmove(words + starts[which], words + starts[which + 1], 4 * (size_t)(*count - starts[which + 1]));
		*count -= len;
		break;
	case 3: /* a chain becomes longer: at what may be its end */
		for (uint32_t i = 0; i + 1 < *count; i++) {
			uint32_t flag = (at + i) % (*count - 1), body = random_below(12);

			if (words[flag] || words[flag + 1])
				continue;
			if (!insert(words, count, room, flag, 3 + body))
				break;
			words[flag] = 1;
			words[flag + 1] = 0;
			words[flag + 2] = pv_venus_chain_structs[random_below(PV_VENUS_NR_CHAINED)].stype;
			memset(words + flag + 3, 0,
			       4 * (size_t)(2 + body < *count - flag - 3 ? 2 + body : *count - flag - 3));
			break;
		}
		break;
	case 4: /* an array has more elements, or fewer: a count and the array's own are one behind the other */
		for (uint32_t i = 0; i + 2 < *count; i++) {
			uint32_t first = (at + i) % (*count - 2), more = 1 + random_below(8);

			if (words[first] != words[first + 1] || words[first] > 64 || words[first + 2])
				continue;
			words[first] = words[first + 1] = words[first] + random_below(4) - 1;
			if (insert(words, count, room, first + 3, more))
				for (uint32_t j = 0; j < more; j++)
					words[first + 3 + j] = interesting();
			break;
		}
		break;
	default: /* another command, of nothing much */
		len = 2 + random_below(24);
		at = starts[random_below(nr + 1)];
		if (!insert(words, count, room, at, len))
			break;
		memset(words + at, 0, 4 * (size_t)len);
		words[at] = random_below(PV_VENUS_NR_COMMANDS);
		words[at + 1] = random_below(2);
		for (uint32_t i = 2; i < len; i += 2)
			words[at + i] = interesting();
		break;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	static uint32_t words[MAX_INPUT_BYTES / 4];
	uint32_t count;

	random_state = seed;
	if (max_size > MAX_INPUT_BYTES)
		max_size = MAX_INPUT_BYTES;
	if (random_below(3) == 0 || size < 16 || size > max_size)
		return LLVMFuzzerMutate(data, size, max_size);
	/* Behind the first word, and without the odd bytes at the end. */
	count = (uint32_t)(size / 4 - 1);
	memcpy(words, data + 4, 4 * (size_t)count);
	mutate_words(words, &count, (uint32_t)(max_size / 4 - 1));
	memcpy(data + 4, words, 4 * (size_t)count);
	return 4 + 4 * (size_t)count;
}

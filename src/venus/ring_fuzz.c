/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest driver against the renderer without Vulkan: rings, control stream, blobs and contexts in any order,
 * most of it nearly right, while the memory that rings and nested streams live in is changed under the rings' threads.
 * Commands of the protocol itself go through the real codec; Vulkan's are the codec's own fuzzer's.
 *
 * What must hold: every op is answered once, every fence signals, and everything ends.
 *
 * Input: a sequence of steps, each one byte and its operands.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fuzz.h"
#include "base/log.h"
#include "base/loop.h"
#include "venus/decoder.h"
#include "venus/generated/commands.h"
#include "venus/renderer.h"

#define MAX_STEPS    120
#define NR_CONTEXTS  3
#define NR_BLOBS     5
#define MAX_RINGS    12 /* threads are what costs */
#define BLOB_BYTES   8192u
#define RING_BYTES   2048u
#define BUFFER       192u
#define MAX_WORDS    64
#define NO_OPERATION 0x4000u
#define PATIENCE_NS  UINT64_C(15000000000)

/* Mostly small; now and then any, or one at an edge. */
static uint64_t number(struct input *in)
{
	static const uint64_t edges[] = {UINT64_MAX,        UINT64_MAX - 3,    1u << 31,   UINT32_MAX,
					 BLOB_BYTES,        BLOB_BYTES - 4,    RING_BYTES, RING_BYTES + BUFFER,
					 UINT64_C(1) << 63, UINT64_C(1) << 32, 16u << 20,  4096};
	uint8_t b = byte(in);
	uint64_t raw = 0;

	if (b < 0xd0)
		return b;
	if (b < 0xf0)
		return edges[b % (sizeof(edges) / sizeof(edges[0]))];
	for (int i = 0; i < 4; i++)
		raw = raw << 8 | byte(in);
	return raw;
}

/* Its usual value, or now and then another. */
static uint64_t nearly(struct input *in, uint64_t usual)
{
	uint8_t b = byte(in);

	return b < 0xf0 ? usual : number(in);
}

/* ---- The stream's other commands: eight bytes that do nothing, and the protocol's ---- */

static void execute(struct pv_venus_decoder *d)
{
	uint32_t type = 0;

	if (d->end - d->cursor >= 8)
		memcpy(&type, d->cursor, 4);
	if (type < NO_OPERATION &&
	    (type < 178 || (type > 180 && type < 188) || (type > 191 && type < 251) || type > 253))
		type = NO_OPERATION;
	if (type != NO_OPERATION || d->end - d->cursor < 8) {
		pv_venus_execute(d);
		return;
	}
	d->command_type = pv_venus_take_u32(d);
	d->command_flags = pv_venus_take_u32(d);
	if (d->command_flags & PV_VENUS_GENERATE_REPLY) {
		pv_venus_reply_u64(&d->reply, 1);
		if (d->reply.overflow)
			pv_venus_fail(d, "reply", "it does not fit", 8);
	}
}

/* ---- The device core ---- */

static struct pv_loop *loop;
static struct pv_renderer *renderer;

enum answer { UNUSED, PENDING, ANSWERED, FORGOTTEN };
static uint8_t ops[4 * MAX_STEPS], fences[4 * MAX_STEPS];
static uint32_t nr_ops, nr_fences, nr_rings;
static uint8_t *maps[NR_BLOBS + 1];
static uint32_t tails[NR_BLOBS + 1];

static void op_done(void *user, uint64_t op_id, enum pv_status status)
{
	(void)user;
	check(op_id < nr_ops && ops[op_id] == PENDING && status != PV_PENDING);
	ops[op_id] = ANSWERED;
}

static void fence_signalled(void *user, uint64_t fence_id)
{
	(void)user;
	check(fence_id < nr_fences && fences[fence_id] == PENDING);
	fences[fence_id] = ANSWERED;
}

static uint64_t new_op(void)
{
	ops[nr_ops] = PENDING;
	return nr_ops++;
}

static enum pv_status answered(uint64_t op, enum pv_status status)
{
	if (status != PV_PENDING) {
		check(ops[op] == PENDING);
		ops[op] = ANSWERED;
	}
	return status;
}

/* ---- Streams ---- */

struct words {
	uint32_t word[MAX_WORDS];
	size_t count;
};

static void put(struct words *words, uint32_t value)
{
	if (words->count < MAX_WORDS)
		words->word[words->count++] = value;
}

static void put_u64(struct words *words, uint64_t value)
{
	put(words, (uint32_t)value);
	put(words, (uint32_t)(value >> 32));
}

static uint32_t a_blob(struct input *in)
{
	return 1 + byte(in) % (NR_BLOBS + 1);
}

/* The ring in a blob is named by the blob. */
static void put_create_ring(struct words *words, struct input *in)
{
	uint32_t blob = a_blob(in);

	if (++nr_rings > MAX_RINGS)
		return;
	put_u64(words, blob);
	put_u64(words, 1);
	put(words, 1000384000);
	if (byte(in) & 1) {
		put_u64(words, 1);
		put(words, 1000384006);
		put_u64(words, 0);
		put(words, (uint32_t)nearly(in, 3000000));
	} else {
		put_u64(words, 0);
	}
	put(words, 0);
	put(words, blob);
	put_u64(words, nearly(in, 0));
	put_u64(words, nearly(in, BUFFER + RING_BYTES + 4));
	put_u64(words, byte(in) & 1 ? 0 : 20000);
	put_u64(words, nearly(in, 0));
	put_u64(words, nearly(in, 64));
	put_u64(words, nearly(in, 128));
	put_u64(words, nearly(in, BUFFER));
	put_u64(words, nearly(in, RING_BYTES));
	put_u64(words, nearly(in, BUFFER + RING_BYTES));
	put_u64(words, nearly(in, 4));
}

static void put_execute(struct words *words, struct input *in)
{
	uint32_t count = byte(in) % 4;

	put(words, count);
	put_u64(words, nearly(in, count));
	for (uint32_t i = 0; i < count; i++) {
		put(words, a_blob(in));
		put_u64(words, 4096 + number(in) / 4 * 4);
		put_u64(words, number(in) / 8 * 8);
	}
	put_u64(words, 0);
	put(words, 0);
	put_u64(words, 0);
	put(words, 0);
}

static void put_command(struct words *words, struct input *in)
{
	static const uint32_t types[] = {188, 189, 190, 191, 251, 252, 253, 178, 179, 180, NO_OPERATION, NO_OPERATION};
	uint8_t b = byte(in);
	uint32_t type = b < 0xf8 ? types[b % (sizeof(types) / sizeof(types[0]))] : (uint32_t)number(in);

	put(words, type);
	put(words, byte(in) > 0xc0);
	switch (type) {
	case 188:
		put_create_ring(words, in);
		break;
	case 189:
		put_u64(words, a_blob(in));
		break;
	case 190:
	case 251:
	case 253:
		put_u64(words, a_blob(in));
		put_u64(words, number(in));
		break;
	case 191:
		put_u64(words, a_blob(in));
		put_u64(words, nearly(in, 0));
		put(words, byte(in));
		break;
	case 252:
		put_u64(words, byte(in) % 4);
		break;
	case 178:
		put_u64(words, 1);
		put(words, a_blob(in));
		put_u64(words, nearly(in, 4096));
		put_u64(words, nearly(in, 64));
		break;
	case 179:
		put_u64(words, number(in));
		break;
	case 180:
		put_execute(words, in);
		break;
	default:
		break;
	}
}

/* ---- Steps ---- */

static void map(uint32_t id)
{
	int fd;

	if (id > NR_BLOBS || maps[id] || renderer->ops->blob_export(renderer, id, &fd) != PV_OK)
		return;
	maps[id] = mmap(NULL, BLOB_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(maps[id] != MAP_FAILED);
	tails[id] = 0;
	close(fd);
}

static void make_blob(struct input *in)
{
	uint32_t id = a_blob(in);
	const struct pv_resource_info info = {
	    .id = id,
	    .kind = byte(in) > 0xf0 ? PV_RESOURCE_GUEST_BLOB : PV_RESOURCE_HOST_BLOB,
	    .ctx_id = 1 + byte(in) % (NR_CONTEXTS + 1),
	    .size_bytes = nearly(in, BLOB_BYTES),
	    .blob_id = byte(in) > 0xf0,
	};
	uint64_t op = new_op();

	if (answered(op, renderer->ops->resource_create(renderer, op, &info)) == PV_OK && info.size_bytes >= BLOB_BYTES)
		map(id);
}

static void unmap(uint32_t id)
{
	if (maps[id])
		munmap(maps[id], BLOB_BYTES);
	maps[id] = NULL;
}

static void destroy_blob(struct input *in)
{
	uint32_t id = a_blob(in);

	renderer->ops->resource_destroy(renderer, id);
	if (id <= NR_BLOBS)
		unmap(id);
}

static void submit(struct input *in)
{
	struct words words = {0};
	uint64_t op = new_op();

	for (uint8_t n = byte(in) % 3 + 1; n > 0; n--)
		put_command(&words, in);
	(void)answered(op, renderer->ops->submit(renderer, op, 1 + byte(in) % (NR_CONTEXTS + 1), words.word,
						 4 * words.count - (byte(in) > 0xf8 && words.count ? 2 : 0)));
}

/* Appends commands to the ring in a blob, or puts them where nested streams are. */
static void write_ring(struct input *in)
{
	uint32_t id = 1 + byte(in) % NR_BLOBS;
	struct words words = {0};

	if (!maps[id])
		return;
	for (uint8_t n = byte(in) % 4 + 1; n > 0; n--)
		put_command(&words, in);
	if (byte(in) > 0xc0) {
		memcpy(maps[id] + 4096 + (size_t)byte(in) * 4, words.word, 4 * words.count);
		return;
	}
	for (size_t i = 0; i < words.count; i++, tails[id] += 4)
		memcpy(maps[id] + BUFFER + (tails[id] & (RING_BYTES - 1)), &words.word[i], 4);
	atomic_store((_Atomic uint32_t *)(void *)(maps[id] + 64), (uint32_t)nearly(in, tails[id]));
}

/* Changes what others read at this moment, for a while. */
static void scribble(struct input *in)
{
	uint32_t id = 1 + byte(in) % NR_BLOBS, at = 4 * (byte(in) | (byte(in) & 7u) << 8), value = (uint32_t)number(in);
	uint32_t before;

	if (!maps[id])
		return;
	memcpy(&before, maps[id] + at, 4);
	for (uint32_t i = 0; i < 200; i++)
		atomic_store_explicit((_Atomic uint32_t *)(void *)(maps[id] + at), i & 1 ? before : value,
				      memory_order_relaxed);
}

static void forget_all(uint8_t *answers, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (answers[i] == PENDING)
			answers[i] = FORGOTTEN;
}

static void step(struct input *in)
{
	uint32_t ctx_id, id;
	uint64_t op;

	switch (byte(in) % 16) {
	case 0:
		op = new_op();
		ctx_id = 1 + byte(in) % NR_CONTEXTS;
		(void)answered(op, renderer->ops->context_create(renderer, op, ctx_id, (uint32_t)nearly(in, 4), ""));
		break;
	case 1:
		if (byte(in) > 0x80)
			renderer->ops->context_destroy(renderer, 1 + byte(in) % NR_CONTEXTS);
		break;
	case 2:
	case 3:
		make_blob(in);
		break;
	case 4:
		if (byte(in) > 0x80)
			destroy_blob(in);
		break;
	case 5:
	case 6:
	case 7:
		submit(in);
		break;
	case 8:
	case 9:
	case 10:
		write_ring(in);
		break;
	case 11:
		scribble(in);
		break;
	case 12:
		fences[nr_fences++] = PENDING;
		ctx_id = 1 + byte(in) % (NR_CONTEXTS + 1);
		renderer->ops->create_fence(renderer, nr_fences - 1, ctx_id, (uint32_t)nearly(in, 0));
		break;
	case 13:
		pv_loop_step(loop, 50000);
		break;
	case 14:
		op = new_op();
		ctx_id = 1 + byte(in) % (NR_CONTEXTS + 1);
		id = a_blob(in);
		(void)answered(op, renderer->ops->context_attach(renderer, op, ctx_id, id));
		if (byte(in) > 0xc0)
			renderer->ops->context_detach(renderer, ctx_id, id);
		break;
	default:
		if (byte(in) < 0xf0)
			break;
		renderer->ops->reset(renderer);
		forget_all(ops, nr_ops);
		forget_all(fences, nr_fences);
		for (uint32_t i = 1; i <= NR_BLOBS; i++)
			unmap(i);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct pv_venus_renderer_params params = {.execute = execute, .max_shm_bytes = 1u << 20};
	struct input in = {data, len};
	struct pv_resource_info info = {.id = 1, .kind = PV_RESOURCE_HOST_BLOB, .ctx_id = 1, .size_bytes = BLOB_BYTES};
	uint64_t until_ns;
	bool all = false;

	pv_log_set_level(PV_LOG_ERROR);
	nr_ops = nr_fences = nr_rings = 0;
	check(pv_loop_create(&loop) == PV_OK);
	params.loop = loop;
	check(pv_venus_renderer_create(&params, &renderer) == PV_OK);
	renderer->events = (struct pv_renderer_events){op_done, fence_signalled, NULL};
	(void)answered(new_op(), renderer->ops->context_create(renderer, 0, 1, PV_VENUS_CAPSET_ID, "fuzz"));
	(void)answered(new_op(), renderer->ops->resource_create(renderer, 1, &info));
	map(1);
	for (int i = 0; i < MAX_STEPS && in.len; i++)
		step(&in);

	/* Whatever waits is answered when its context goes; and all fences come. */
	for (uint32_t id = 1; id <= NR_CONTEXTS; id++)
		renderer->ops->context_destroy(renderer, id);
	/* Long: there may be many fuzzers, and few CPUs. */
	until_ns = pv_now_ns() + PATIENCE_NS;
	while (!all && pv_now_ns() < until_ns) {
		all = true;
		for (uint32_t f = 0; f < nr_fences; f++)
			all = all && fences[f] != PENDING;
		if (!all)
			pv_loop_step(loop, 1000000);
	}
	check(all);
	for (uint32_t op = 0; op < nr_ops; op++)
		check(ops[op] != PENDING);
	pv_renderer_destroy(renderer);
	pv_loop_destroy(loop);
	for (uint32_t i = 1; i <= NR_BLOBS; i++)
		unmap(i);
	return 0;
}

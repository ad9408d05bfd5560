/* SPDX-License-Identifier: MIT */
/* The generated codec on a host that does nothing: what Mesa sends, byte by byte, and what it would never send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "venus/null_driver.h"

static uint8_t replies[1 << 20];

static int setup(void **state)
{
	(void)state;
	if (!pv_venus_null_start())
		return -1;
	memset(replies, 0xee, sizeof(replies));
	pv_venus_null.replies = replies;
	pv_venus_null.replies_bytes = sizeof(replies);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pv_venus_null_finish();
	return 0;
}

static void again(void)
{
	pv_venus_null_finish();
	if (setup(NULL) != 0)
		abort();
}

struct capture {
	uint8_t bytes[512 << 10];
	size_t len;
};

static void load_from(const char *variable, const char *directory, const char *name, struct capture *capture)
{
	const char *top = getenv(variable);
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/src/venus/%s/%s", top ? top : ".", directory, name);
	file = fopen(path, "rb");
	if (!file) {
		fail_msg("%s is missing", path);
		return;
	}
	capture->len = fread(capture->bytes, 1, sizeof(capture->bytes), file);
	fclose(file);
}

static void load(const char *name, struct capture *capture)
{
	load_from("PVGPU_SOURCE", "captures", name, capture);
}

/* ---- Streams written by hand ---- */

struct stream {
	uint32_t words[1024];
	unsigned count;
};

static void put(struct stream *stream, unsigned count, const uint32_t *words)
{
	assert_true(stream->count + count <= 1024);
	memcpy(&stream->words[stream->count], words, 4 * (size_t)count);
	stream->count += count;
}
#define PUT(stream, ...)                                                                                               \
	put(stream, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (const uint32_t[]){__VA_ARGS__})

static uint64_t run(const struct stream *stream)
{
	return pv_venus_null_run(stream->words, 4 * (uint64_t)stream->count);
}

static bool failed(void)
{
	return pv_venus_null.decoder.failed;
}

static void assert_ran(const struct stream *stream, unsigned commands)
{
	uint64_t ran = run(stream);

	if (failed())
		print_error("%s: %s (%llu)\n", pv_venus_null.decoder.failed_field, pv_venus_null.decoder.failed_reason,
			    (unsigned long long)pv_venus_null.decoder.failed_value);
	assert_false(failed());
	assert_int_equal(ran, commands);
}

/* The stream fails at `field`, and nothing of the last command was called. */
static void assert_fails(const struct stream *stream, const char *field)
{
	run(stream);
	assert_true(failed());
	assert_string_equal(pv_venus_null.decoder.failed_field, field);
	assert_non_null(pv_venus_null.decoder.failed_reason);
}

static void assert_reply(unsigned count, const uint32_t *words)
{
	assert_memory_equal(replies, words, 4 * (size_t)count);
	/* And not a byte more. */
	assert_int_equal(replies[4 * (size_t)count], 0xee);
}
#define ASSERT_REPLY(...)                                                                                              \
	assert_reply(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (const uint32_t[]){__VA_ARGS__})

static void object(enum pv_venus_type type, uint64_t id)
{
	assert_true(pv_venus_null_add(type, id));
}

/* vkSetReplyCommandStreamMESA of all there is. */
#define SET_REPLY 0xb2, 0, 1, 0, 2, 0, 0, sizeof(replies), 0

/* ---- What Mesa sends ---- */

static void test_capture(void **state)
{
	static struct capture ring;

	(void)state;
	load("t2.ring.bin", &ring);
	assert_int_equal(pv_venus_null_run(ring.bytes, ring.len), 109);
	assert_false(failed());
}

/*
 * The driver gives the results it gave when the replies were recorded, which then are to be the same to the byte. Only
 * what our own handlers do otherwise is left out: their commands have replies of no interest.
 */
static void test_replies_of_capture(void **state)
{
	static struct capture ring, recorded;
	struct pv_venus_decoder *d = &pv_venus_null.decoder;
	unsigned nr_replies = 0;

	(void)state;
	load("t2.ring.bin", &ring);
	load("t2.reply.bin", &recorded);
	d->cursor = ring.bytes;
	d->end = ring.bytes + ring.len;
	while (d->cursor < d->end && !failed()) {
		const uint8_t *begin = d->reply.cursor;
		size_t offset = begin ? (size_t)(begin - replies) : 0, len;

		pv_venus_null.recorded.failed = false;
		pv_venus_null.recorded.cursor =
		    pv_venus_load_u32(d->cursor + 4) & PV_VENUS_GENERATE_REPLY ? recorded.bytes + offset : NULL;
		pv_venus_null.recorded.end = recorded.bytes + recorded.len;
		pv_venus_execute(d);
		if (pv_venus_null.recorded.failed)
			print_error("%s: %s\n", pv_venus_null.recorded.failed_field,
				    pv_venus_null.recorded.failed_reason);
		if (!(d->command_flags & PV_VENUS_GENERATE_REPLY))
			continue;
		if (!begin) {
			fail_msg("no place for replies");
			return;
		}
		len = (size_t)(d->reply.cursor - begin);
		assert_true(offset + len <= recorded.len);
		if (memcmp(begin, recorded.bytes + offset, len) != 0)
			print_error("%s at 0x%zx of %zu bytes differs\n", pv_venus_commands[d->command_type].name,
				    offset, len);
		assert_false(pv_venus_null.recorded.failed);
		assert_memory_equal(begin, recorded.bytes + offset, len);
		nr_replies++;
	}
	assert_false(failed());
	assert_int_equal(nr_replies, 32);
}

static void test_capture_of_a_thread(void **state)
{
	static struct capture ring;

	(void)state;
	/* Its reply goes to the end of a large pool. */
	load("tls.ring.bin", &ring);
	object(PV_VENUS_DEVICE, 3);
	object(PV_VENUS_SHADER_MODULE, 6);
	object(PV_VENUS_SHADER_MODULE, 0x1d);
	object(PV_VENUS_PIPELINE_LAYOUT, 5);
	assert_int_equal(pv_venus_null_run(ring.bytes, ring.len), 2);
	assert_false(failed());
}

static void test_version(void **state)
{
	struct stream s = {0};

	(void)state;
	PUT(&s, 0xb2, 0, 1, 0, 2, 0, 0, 0x14, 0);
	PUT(&s, 0x89, 1, 1, 0);
	assert_ran(&s, 2);
	ASSERT_REPLY(0x89, 0, 1, 0, 0);
}

static void test_create_instance(void **state)
{
	struct stream s = {0};

	(void)state;
	PUT(&s, SET_REPLY);
	PUT(&s, 0, 1, 1, 0, 1, 0, 0, 0);
	PUT(&s, 1, 0, 0, 0, 0);                 /* pApplicationInfo, its head */
	PUT(&s, 4, 0, 0x00636261, 1);           /* "abc", 1 */
	PUT(&s, 4, 0, 0x00676e65, 2, 0x403000); /* "eng", 2, 1.3 */
	PUT(&s, 0, 0, 0, 0, 0, 0);              /* layers, extensions */
	PUT(&s, 0, 0, 1, 0, 1, 0);
	assert_ran(&s, 2);
	ASSERT_REPLY(0, 0, 1, 0, 1, 0);
	assert_non_null(pv_venus_object_find(pv_venus_null.context.objects, 1));
	/* A failed one has no id. */
	again();
	pv_venus_null.result = VK_ERROR_OUT_OF_HOST_MEMORY;
	assert_ran(&s, 2);
	ASSERT_REPLY(0, 0xffffffff, 1, 0, 0, 0);
}

static void test_enumerate_devices(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_INSTANCE, 1);
	PUT(&s, SET_REPLY);
	PUT(&s, 2, 1, 1, 0, 1, 0, 0, 0, 0);
	assert_ran(&s, 2);
	ASSERT_REPLY(2, 0, 1, 0, 1, 0, 0);
	again();
	object(PV_VENUS_INSTANCE, 1);
	s.count = 9;
	PUT(&s, 2, 1, 1, 0, 1, 0, 1, 1, 0, 2, 0);
	assert_ran(&s, 2);
	ASSERT_REPLY(2, 0, 1, 0, 1, 1, 0, 2, 0);
}

static void allocate_memory(struct stream *s)
{
	PUT(s, 0x15, 0, 3, 0, 1, 0, 5);
	PUT(s, 1, 0, 0x3b9cba19, 1, 0, 0x3b9bb460, 0, 0); /* dedicated, flags */
	PUT(s, 0, 0x55);                                  /* of flags */
	PUT(s, 0, 0, 0, 0);                               /* of dedicated */
	PUT(s, 0x10000, 0, 0);
	PUT(s, 0, 0, 1, 0, 5, 0);
}

static void test_allocate_memory(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_DEVICE, 3);
	allocate_memory(&s);
	assert_ran(&s, 1);
	assert_int_equal(pv_venus_object_find(pv_venus_null.context.objects, 5)->type, PV_VENUS_DEVICE_MEMORY);
}

static void test_draw(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_COMMAND_BUFFER, 7);
	PUT(&s, 0x5a, 0, 7, 0, 1, 0, 0x2a, 0, 0, 0, 0, 0);
	PUT(&s, 0x6a, 0, 7, 0, 3, 1, 0, 0);
	PUT(&s, 0x7e, 0, 7, 0, 1, 2, 0);
	PUT(&s, 1, 1, 0, 0x2e, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0);
	assert_ran(&s, 3);
	assert_int_equal(pv_venus_null.nr_calls, 3);
}

static void test_submit(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_QUEUE, 4);
	object(PV_VENUS_COMMAND_BUFFER, 9);
	object(PV_VENUS_FENCE, 8);
	object(PV_VENUS_COMMAND_BUFFER, 0x17);
	object(PV_VENUS_SEMAPHORE, 0x18);
	object(PV_VENUS_FENCE, 0x19);
	PUT(&s, 0x12, 0, 4, 0, 1, 1, 0, 4, 0, 0);
	PUT(&s, 0, 0, 0, 0, 0, 1, 1, 0, 9, 0, 0, 0, 0, 8, 0);
	PUT(&s, 0xce, 0, 4, 0, 1, 1, 0, 0x3b9f9494, 0, 0, 0, 0, 0, 0);
	PUT(&s, 1, 1, 0, 0x3b9f9496, 0, 0, 0x17, 0, 0);
	PUT(&s, 1, 1, 0, 0x3b9f9495, 0, 0, 0x18, 0, 9, 0, 0x10000, 0, 0, 0x19, 0);
	assert_ran(&s, 2);
}

static void test_properties(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_PHYSICAL_DEVICE, 2);
	PUT(&s, SET_REPLY);
	PUT(&s, 0x94, 1, 2, 0, 1, 0, 0x3b9bb079, 0, 0);
	assert_ran(&s, 2);
	assert_int_equal(((uint32_t *)(void *)replies)[0], 0x94);
	assert_int_equal(((uint32_t *)(void *)replies)[3], 0x3b9bb079);
	assert_int_equal(((uint32_t *)(void *)replies)[11], 256);
	/* command, present, head, five words, the name, the UUID, limits, sparse */
	assert_int_equal(pv_venus_null.decoder.reply.cursor - replies, 4 + 8 + 12 + 20 + 264 + 24 + 540 + 20);
}

static void test_queue_and_ring(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_DEVICE, 3);
	PUT(&s, SET_REPLY);
	PUT(&s, 0x9b, 1, 3, 0, 1, 0, 0x3b9d006b, 1, 0, 0x3ba0a605, 0, 0, 1, 0, 0, 0, 1, 0, 4, 0);
	PUT(&s, 0xbc, 0, 0x77, 0, 1, 0, 0x3ba0a600, 1, 0, 0x3ba0a606, 0, 0, 0x2dc6c0, 0, 1);
	PUT(&s, 0, 0, 0x200c4, 0, 0xf4240, 0, 0, 0, 0x40, 0, 0x80, 0, 0xc0, 0, 0x20000, 0, 0x200c0, 0, 4, 0);
	assert_ran(&s, 3);
	ASSERT_REPLY(0x9b, 1, 0, 4, 0);
}

/*
 * Every command, with everything in it and with next to nothing, and the reply to it. gen/examples.py writes them from
 * the layouts of the protocol; the codec is generated from the same, but by other code.
 */
static void test_examples(void **state)
{
	static struct capture file;
	unsigned count = 0, wrong = 0;

	(void)state;
	load_from("PVGPU_BUILD", "generated", "examples.bin", &file);
	assert_true(file.len < sizeof(file.bytes));
	for (size_t at = 0; at < file.len; count++) {
		uint32_t type = pv_venus_load_u32(file.bytes + at),
			 request_bytes = pv_venus_load_u32(file.bytes + at + 4);
		uint32_t reply_bytes = pv_venus_load_u32(file.bytes + at + 8), got;
		const uint8_t *request = file.bytes + at + 12, *reply = request + request_bytes;

		again();
		for (int t = PV_VENUS_INSTANCE; t < PV_VENUS_NR_TYPES; t++)
			object((enum pv_venus_type)t, (uint64_t)t);
		pv_venus_null.decoder.reply.begin = pv_venus_null.decoder.reply.cursor = replies;
		pv_venus_null.decoder.reply.end = replies + sizeof(replies);
		/* These name a place for replies, or streams. */
		if (type < 178 || type > 180) {
			pv_venus_null_run(request, request_bytes);
			got = (uint32_t)(pv_venus_null.decoder.reply.cursor - replies);
			if (failed() || got != reply_bytes || memcmp(replies, reply, reply_bytes) != 0) {
				uint32_t same = 0;

				while (same < reply_bytes && replies[same] == reply[same])
					same++;
				print_error(
				    "%s: %s: %s (%llu); reply of %u bytes, not %u, same up to %u\n",
				    pv_venus_commands[type].name, failed() ? pv_venus_null.decoder.failed_field : "-",
				    failed() ? pv_venus_null.decoder.failed_reason : "-",
				    (unsigned long long)pv_venus_null.decoder.failed_value, got, reply_bytes, same);
				wrong++;
			}
		}
		at += 12 + request_bytes + reply_bytes;
	}
	assert_int_equal(wrong, 0);
	assert_true(count > 300);
}

/* ---- What it would not ---- */

static void test_every_truncation(void **state)
{
	static struct capture ring;
	uint64_t commands = 0;

	(void)state;
	load("t2.ring.bin", &ring);
	for (size_t len = 0; len < ring.len; len++) {
		uint64_t ran;

		again();
		ran = pv_venus_null_run(ring.bytes, len);
		/* It ends between two commands, or the one that is cut off is not executed. */
		assert_true(ran == commands || (ran == commands + 1 && !failed()));
		if (failed())
			assert_non_null(pv_venus_null.decoder.failed_field);
		else
			commands = ran;
	}
	assert_int_equal(commands, 108);
}

/* Every word in turn becomes something else: the codec may fail or not, but stays whole. */
static void test_every_word_wrong(void **state)
{
	static const uint32_t wrong[] = {0, 1, 0xffffffff, 0x7fffffff, 0x10000, 3};
	static struct capture ring;

	(void)state;
	load("t2.ring.bin", &ring);
	for (size_t at = 0; at < ring.len; at += 4)
		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			uint8_t saved[4];

			again();
			memcpy(saved, ring.bytes + at, 4);
			memcpy(ring.bytes + at, &wrong[i], 4);
			pv_venus_null_run(ring.bytes, ring.len);
			if (failed())
				assert_non_null(pv_venus_null.decoder.failed_field);
			memcpy(ring.bytes + at, saved, 4);
		}
}

static void test_unknown_commands(void **state)
{
	static const uint32_t types[] = {195, 346, 0xffffffff, 23 /* vkMapMemory */, 19 /* vkQueueWaitIdle */};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct stream s = {0};

		again();
		PUT(&s, types[i], 0, 0, 0, 0, 0, 0, 0);
		run(&s);
		assert_true(failed());
		assert_int_equal(pv_venus_null.nr_calls, 0);
		assert_int_equal(pv_venus_null.decoder.failed_value, types[i]);
	}
}

static void test_unknown_objects(void **state)
{
	struct stream s = {0};

	(void)state;
	PUT(&s, 0x6a, 0, 7, 0, 3, 1, 0, 0);
	assert_fails(&s, "vkCmdDraw.commandBuffer");
	again();
	object(PV_VENUS_DEVICE, 7); /* of the wrong type */
	assert_fails(&s, "vkCmdDraw.commandBuffer");
	again();
	s.words[2] = 0;
	assert_fails(&s, "vkCmdDraw.commandBuffer");
	assert_int_equal(pv_venus_null.nr_calls, 0);
}

/* Each handle that may not be NULL, of each command. */
static void test_null_handles(void **state)
{
	static struct capture file;
	unsigned count = 0, wrong = 0;

	(void)state;
	load_from("PVGPU_BUILD", "generated", "nulls.bin", &file);
	assert_true(file.len < sizeof(file.bytes));
	for (size_t at = 0; at < file.len; count++) {
		uint32_t type = pv_venus_load_u32(file.bytes + at),
			 request_bytes = pv_venus_load_u32(file.bytes + at + 4);
		uint32_t name_bytes = pv_venus_load_u32(file.bytes + at + 8);
		const uint8_t *request = file.bytes + at + 12, *name = request + request_bytes;
		const char *field;

		again();
		for (int t = PV_VENUS_INSTANCE; t < PV_VENUS_NR_TYPES; t++)
			object((enum pv_venus_type)t, (uint64_t)t);
		pv_venus_null_run(request, request_bytes);
		field = failed() ? strrchr(pv_venus_null.decoder.failed_field, '.') : NULL;
		if (!field || strlen(field + 1) != name_bytes || memcmp(field + 1, name, name_bytes) != 0 ||
		    strcmp(pv_venus_null.decoder.failed_reason, "it must not be NULL") != 0 || pv_venus_null.nr_calls) {
			print_error("%s: %.*s is NULL, and this was found: %s: %s\n", pv_venus_commands[type].name,
				    (int)name_bytes, (const char *)name,
				    failed() ? pv_venus_null.decoder.failed_field : "nothing",
				    failed() ? pv_venus_null.decoder.failed_reason : "-");
			wrong++;
		}
		at += 12 + request_bytes + ((name_bytes + 3) & ~3u);
	}
	assert_int_equal(wrong, 0);
	assert_true(count > 400);
}

/* vkUpdateDescriptorSets of one descriptor: what its type is about must be there, and not NULL without the feature. */
static void test_descriptors(void **state)
{
#define IMAGE(sampler, view) 1, 0, sampler, 0, view, 0, 1
#define BUFFER(buffer)       1, 0, buffer, 0, 0, 0, 16, 0
#define VIEW(view)           1, 0, view, 0
#define NONE                 0, 0
	static const struct {
		uint32_t type, nr_words, words[24];
		const char *field; /* NULL: it is well */
		bool well_with_feature;
	} cases[] = {
#define CASE(type, field, well_with_feature, ...)                                                                      \
	{type, sizeof((uint32_t[]){__VA_ARGS__}) / 4, {__VA_ARGS__}, field, well_with_feature}
	    CASE(VK_DESCRIPTOR_TYPE_SAMPLER, NULL, true, IMAGE(PV_VENUS_SAMPLER, 0), NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_SAMPLER, NULL, true, IMAGE(0, 0), NONE, NONE), /* an immutable one */
	    CASE(VK_DESCRIPTOR_TYPE_SAMPLER, "pImageInfo", false, NONE, BUFFER(PV_VENUS_BUFFER), NONE),
	    CASE(VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, NULL, true, IMAGE(PV_VENUS_SAMPLER, PV_VENUS_IMAGE_VIEW),
		 NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, "imageView", true, IMAGE(PV_VENUS_SAMPLER, 0), NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE, NULL, true, IMAGE(0, PV_VENUS_IMAGE_VIEW), NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE, "imageView", true, IMAGE(0, 0), NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, "imageView", true, IMAGE(0, 0), NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, "pImageInfo", false, NONE, NONE, VIEW(PV_VENUS_BUFFER_VIEW)),
	    CASE(VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT, "imageView", true, IMAGE(0, 0), NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, NULL, true, NONE, NONE, VIEW(PV_VENUS_BUFFER_VIEW)),
	    CASE(VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, "pTexelBufferView", true, NONE, NONE, VIEW(0)),
	    CASE(VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, "pTexelBufferView", false, NONE, NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, NULL, true, NONE, BUFFER(PV_VENUS_BUFFER), NONE),
	    CASE(VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, "buffer", true, NONE, BUFFER(0), NONE),
	    CASE(VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, "pBufferInfo", false, NONE, NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, "buffer", true, NONE, BUFFER(0), NONE),
	    CASE(VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, "buffer", true, NONE, BUFFER(0), NONE),
	    CASE(VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, "pData", false, NONE, NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, "pAccelerationStructures", false, NONE, NONE, NONE),
	    CASE(VK_DESCRIPTOR_TYPE_MAX_ENUM, "descriptorType", false, IMAGE(PV_VENUS_SAMPLER, PV_VENUS_IMAGE_VIEW),
		 NONE, NONE),
	};

	(void)state;
	for (size_t i = 0; i < 2 * PV_ARRAY_LEN(cases); i++) {
		const size_t n = i / 2;
		const bool feature = i % 2;
		const bool well = !cases[n].field || (feature && cases[n].well_with_feature);
		struct stream s = {0};

		again();
		for (int t = PV_VENUS_INSTANCE; t < PV_VENUS_NR_TYPES; t++)
			object((enum pv_venus_type)t, (uint64_t)t);
		pv_venus_null.device.null_descriptor = feature;
		PUT(&s, 79, 0, PV_VENUS_DEVICE, 0, 1, 1, 0, VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, 0, 0,
		    PV_VENUS_DESCRIPTOR_SET, 0, 0, 0, 1, cases[n].type);
		put(&s, cases[n].nr_words, cases[n].words);
		PUT(&s, 0, 0, 0);
		run(&s);
		assert_int_equal(failed(), !well);
		assert_int_equal(pv_venus_null.nr_calls, well);
		if (!well)
			assert_string_equal(strrchr(pv_venus_null.decoder.failed_field, '.') + 1, cases[n].field);
	}
}

static void test_specialization(void **state)
{
	struct pv_venus_decoder *d = &pv_venus_null.decoder;
	VkSpecializationMapEntry entry = {.offset = 4, .size = 4};
	const VkSpecializationInfo info = {.mapEntryCount = 1, .pMapEntries = &entry, .dataSize = 8};

	(void)state;
	assert_true(pv_venus_check_VkSpecializationInfo(d, &info));
	entry.size = SIZE_MAX;
	assert_false(pv_venus_check_VkSpecializationInfo(d, &info));
	assert_string_equal(d->failed_field, "VkSpecializationInfo.pMapEntries");
	entry.size = 4;
	entry.offset = 5;
	assert_false(pv_venus_check_VkSpecializationInfo(d, &info));
}

static void test_queries_of_the_pool(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_COMMAND_BUFFER, 7);
	object(PV_VENUS_QUERY_POOL, 8);
	pv_venus_object_find(pv_venus_null.context.objects, 8)->extra = pv_venus_query_pool_extra(4, 1);
	PUT(&s, 0x81, 0, 7, 0, 8, 0, 1, 3); /* vkCmdResetQueryPool */
	run(&s);
	assert_false(failed());
	assert_int_equal(pv_venus_null.nr_calls, 1);
	s.words[7] = 4;
	assert_fails(&s, "vkCmdResetQueryPool.firstQuery");
	pv_venus_null.decoder.failed = false;
	s.words[6] = s.words[7] = UINT32_MAX;
	assert_fails(&s, "vkCmdResetQueryPool.firstQuery");
	pv_venus_null.decoder.failed = false;
	s.count = 0;
	PUT(&s, 0x80, 0, 7, 0, 8, 0, 4); /* vkCmdEndQuery */
	assert_fails(&s, "vkCmdEndQuery.query");
	assert_int_equal(pv_venus_null.nr_calls, 1);
}

/* Objects of two devices in one command; one of them may be a device that the host could not make. */
static void test_other_devices(void **state)
{
	static struct pv_venus_device second;
	const struct pv_venus_object_info infos[] = {
	    {.id = 5, .handle = 5, .type = PV_VENUS_FENCE, .device = &second},
	    {.id = 6, .handle = 6, .type = PV_VENUS_COMMAND_POOL, .device = &pv_venus_null.device},
	    {.id = 7, .type = PV_VENUS_DEVICE, .failed = true},
	};
	struct pv_venus_object *made;
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_DEVICE, 3);
	for (size_t i = 0; i < PV_ARRAY_LEN(infos); i++)
		assert_int_equal(pv_venus_object_add(pv_venus_null.context.objects, &infos[i], &made), PV_OK);
	PUT(&s, 36, 0, 3, 0, 5, 0, 0, 0);
	assert_fails(&s, "vkDestroyFence.fence");
	pv_venus_null.decoder.failed = false;
	s.count = 0;
	PUT(&s, 37, 0, 3, 0, 1, 1, 0, 5, 0);
	assert_fails(&s, "vkResetFences.pFences");
	pv_venus_null.decoder.failed = false;
	s.count = 0;
	PUT(&s, 86, 0, 7, 0, 6, 0, 0, 0);
	assert_fails(&s, "vkDestroyCommandPool.commandPool");
	assert_string_equal(pv_venus_null.decoder.failed_reason, "the object is of another device");
	assert_int_equal(pv_venus_null.nr_calls, 0);
}

static void test_ids_taken(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_DEVICE, 3);
	object(PV_VENUS_FENCE, 5);
	allocate_memory(&s);
	assert_fails(&s, "vkAllocateMemory.pMemory");
	assert_int_equal(pv_venus_null.nr_calls, 0);
}

static void test_counts(void **state)
{
	struct stream s = {0};

	(void)state;
	/* vkCmdSetViewport: count of the array and of the parameter differ. */
	object(PV_VENUS_COMMAND_BUFFER, 7);
	PUT(&s, 94, 0, 7, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_fails(&s, "vkCmdSetViewport.pViewports");
	/* They agree, but the stream cannot have as many. */
	again();
	object(PV_VENUS_COMMAND_BUFFER, 7);
	s.words[5] = s.words[6] = 0xffffffff;
	assert_fails(&s, "vkCmdSetViewport.pViewports");
	assert_ptr_equal(pv_venus_null.decoder.arena.blocks, NULL);
	/* An array that is not optional, and not there. */
	again();
	object(PV_VENUS_COMMAND_BUFFER, 7);
	s.words[5] = 1;
	s.words[6] = 0;
	assert_fails(&s, "vkCmdSetViewport.pViewports");
	/* Output elements take no room in the stream. */
	again();
	object(PV_VENUS_PHYSICAL_DEVICE, 2);
	s = (struct stream){0};
	PUT(&s, 7, 0, 2, 0, 1, 0, 0xffffffff, 0xffffffff, 0);
	assert_fails(&s, "vkGetPhysicalDeviceQueueFamilyProperties.pQueueFamilyProperties");
	assert_int_equal(pv_venus_null.nr_calls, 0);
}

static void test_wrong_stype(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_DEVICE, 3);
	allocate_memory(&s);
	s.words[6] = 6;
	assert_fails(&s, "VkMemoryAllocateInfo");
	/* In the chain: a struct that extends others only, and one there is not. */
	again();
	object(PV_VENUS_DEVICE, 3);
	s.words[6] = 5;
	s.words[9] = 0x3ba0a605;
	assert_fails(&s, "VkMemoryAllocateInfo");
	again();
	object(PV_VENUS_DEVICE, 3);
	s.words[9] = 0xffffffff;
	assert_fails(&s, "VkMemoryAllocateInfo");
	/* The same twice. */
	again();
	object(PV_VENUS_DEVICE, 3);
	s.words[9] = s.words[12];
	assert_fails(&s, "VkMemoryAllocateInfo");
	assert_int_equal(pv_venus_null.nr_calls, 0);
}

/* VkDeviceCreateInfo may have the private-data struct as often as it likes; but not for ever. */
static void test_long_chain(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_PHYSICAL_DEVICE, 2);
	PUT(&s, 11, 0, 2, 0, 1, 0, 3);
	for (int i = 0; i < 300; i++)
		PUT(&s, 1, 0, 1000295001);
	assert_fails(&s, "VkDeviceCreateInfo");
	assert_string_equal(pv_venus_null.decoder.failed_reason, "a struct is in its chain too often");
}

static void test_strings(void **state)
{
	struct stream s = {0};

	(void)state;
	/* Longer than the stream, by nearly 2^64. */
	PUT(&s, 13, 0, 0xffffffff, 0xffffffff, 1, 0, 0, 0, 0);
	assert_fails(&s, "vkEnumerateInstanceExtensionProperties.pLayerName");
	/* Without its NUL; it gets one. */
	again();
	s = (struct stream){0};
	PUT(&s, 13, 0, 3, 0, 0x64636261, 1, 0, 0, 0, 0);
	assert_ran(&s, 1);
}

static void test_replies_that_do_not_fit(void **state)
{
	struct stream s = {0};

	(void)state;
	/* No stream of replies. */
	PUT(&s, 0x89, 1, 1, 0);
	assert_fails(&s, "vkEnumerateInstanceVersion");
	/* One of 16 bytes, for 20. */
	again();
	s = (struct stream){0};
	PUT(&s, 0xb2, 0, 1, 0, 2, 0, 0, 16, 0);
	PUT(&s, 0x89, 1, 1, 0);
	assert_fails(&s, "vkEnumerateInstanceVersion");
	assert_int_equal(replies[16], 0xee);
	/* A blob: the driver is not even asked. */
	again();
	object(PV_VENUS_DEVICE, 3);
	object(PV_VENUS_QUERY_POOL, 4);
	s.count = 9;
	PUT(&s, 49, 1, 3, 0, 4, 0, 0, 1, 16, 0, 16, 0, 8, 0, 0);
	assert_fails(&s, "vkGetQueryPoolResults.pData");
}

static void test_blob_in_place(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_DEVICE, 3);
	object(PV_VENUS_QUERY_POOL, 4);
	PUT(&s, 0xb2, 0, 1, 0, 2, 0, 0, 32, 0);
	PUT(&s, 49, 1, 3, 0, 4, 0, 0, 1, 13, 0, 13, 0, 8, 0, 0);
	assert_ran(&s, 2);
	/* What the driver has not written is the guest's own; the padding is zero. */
	ASSERT_REPLY(49, 0, 13, 0, 0xeeeeeeee, 0xeeeeeeee, 0xeeeeeeee, 0x000000ee);
}

static void test_nested_streams(void **state)
{
	struct stream s = {0}, inner = {0};

	(void)state;
	object(PV_VENUS_COMMAND_BUFFER, 7);
	PUT(&inner, 0x6a, 0, 7, 0, 3, 1, 0, 0);
	PUT(&inner, 0x5a, 0, 7, 0, 1, 0, 0x2a, 0, 0, 0, 0, 0);
	pv_venus_null.streams = (const uint8_t *)inner.words;
	pv_venus_null.streams_bytes = 4 * (uint64_t)inner.count;
	PUT(&s, 180, 0, 2, 2, 0);
	for (int i = 0; i < 2; i++)
		PUT(&s, 9, 0, 0, (uint32_t)pv_venus_null.streams_bytes, 0);
	PUT(&s, 0, 0, 0, 0, 0, 0);
	assert_ran(&s, 1);
	assert_int_equal(pv_venus_null.nr_calls, 4);
}

/* Wherever the private copy ends for now, the rest is fetched when it is needed; and there is no more than that. */
static void test_source(void **state)
{
	struct stream s = {0};
	struct pv_venus_decoder *d = &pv_venus_null.decoder;
	uint64_t bytes;
	uint8_t *copy;

	(void)state;
	object(PV_VENUS_COMMAND_BUFFER, 7);
	object(PV_VENUS_PIPELINE_LAYOUT, 8);
	object(PV_VENUS_DESCRIPTOR_SET, 9);
	/* vkCmdBindDescriptorSets and vkCmdPushConstants: handles, an array in place, bytes. */
	PUT(&s, 103, 0, 7, 0, 0, 8, 0, 0, 2, 2, 0, 9, 0, 9, 0, 2, 2, 0, 256, 512);
	PUT(&s, 132, 0, 7, 0, 8, 0, 1, 0, 12, 12, 0, 1, 2, 3);
	bytes = 4 * (uint64_t)s.count;
	copy = malloc(bytes);
	assert_non_null(copy);
	for (uint64_t short_of = 0; short_of <= 4; short_of += 4) {
		for (uint64_t at_once = 0; at_once + short_of <= bytes; at_once += 4) {
			memset(copy, 0xee, bytes);
			memcpy(copy, s.words, at_once);
			d->cursor = copy;
			d->end = copy + at_once;
			d->source = (const uint8_t *)s.words + at_once;
			d->source_bytes = bytes - at_once - short_of;
			pv_venus_null.nr_calls = 0;
			pv_venus_execute(d);
			assert_false(failed());
			pv_venus_execute(d);
			assert_int_equal(failed(), short_of != 0);
			assert_int_equal(pv_venus_null.nr_calls, short_of ? 1 : 2);
			if (!short_of)
				assert_memory_equal(copy, s.words, bytes);
			d->failed = false;
			d->source_bytes = 0;
		}
	}
	d->cursor = d->end = NULL;
	free(copy);
}

/* ---- Objects that the host could not make ---- */

static void test_tombstones(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_DEVICE, 3);
	pv_venus_null.result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
	allocate_memory(&s);
	assert_ran(&s, 1);
	assert_true(pv_venus_object_find(pv_venus_null.context.objects, 5)->failed);
	/* Used: no call, and an error for who asks. */
	pv_venus_null.result = VK_SUCCESS;
	pv_venus_null.nr_calls = 0;
	object(PV_VENUS_BUFFER, 6);
	s = (struct stream){0};
	PUT(&s, SET_REPLY);
	PUT(&s, 28, 1, 3, 0, 6, 0, 5, 0, 0, 0);
	assert_ran(&s, 2);
	assert_int_equal(pv_venus_null.nr_calls, 0);
	ASSERT_REPLY(28, (uint32_t)VK_ERROR_OUT_OF_DEVICE_MEMORY);
	/* What is made of one is one. */
	s = (struct stream){0};
	pv_venus_null.result = VK_ERROR_OUT_OF_HOST_MEMORY;
	PUT(&s, 52, 0, 3, 0, 1, 0, 13, 0, 0, 0, 6, 0, 0x25, 0, 0, 16, 0, 0, 0, 1, 0, 8, 0); /* vkCreateBufferView */
	assert_ran(&s, 1);
	assert_true(pv_venus_object_find(pv_venus_null.context.objects, 8)->failed);
	s = (struct stream){0};
	PUT(&s, 53, 0, 3, 0, 8, 0, 0, 0);
	assert_ran(&s, 1);
	assert_null(pv_venus_object_find(pv_venus_null.context.objects, 8));
}

static void test_lost_device(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_DEVICE, 3);
	object(PV_VENUS_FENCE, 4);
	pv_venus_null.result = VK_ERROR_DEVICE_LOST;
	PUT(&s, SET_REPLY);
	PUT(&s, 38, 1, 3, 0, 4, 0);
	assert_ran(&s, 2);
	ASSERT_REPLY(38, (uint32_t)VK_ERROR_DEVICE_LOST);
	/* Without a reply the guest would never know. */
	s.words[s.count - 5] = 0;
	assert_fails(&s, "vkGetFenceStatus");
}

static void test_missing_function(void **state)
{
	struct stream s = {0};

	(void)state;
	object(PV_VENUS_COMMAND_BUFFER, 7);
	pv_venus_null.device.fn.CmdDraw = NULL;
	PUT(&s, 0x6a, 0, 7, 0, 3, 1, 0, 0);
	assert_fails(&s, "vkCmdDraw");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_capture),
	    TEST(test_replies_of_capture),
	    TEST(test_capture_of_a_thread),
	    TEST(test_version),
	    TEST(test_create_instance),
	    TEST(test_enumerate_devices),
	    TEST(test_allocate_memory),
	    TEST(test_draw),
	    TEST(test_submit),
	    TEST(test_properties),
	    TEST(test_queue_and_ring),
	    TEST(test_examples),
	    TEST(test_every_truncation),
	    TEST(test_every_word_wrong),
	    TEST(test_unknown_commands),
	    TEST(test_unknown_objects),
	    TEST(test_null_handles),
	    TEST(test_descriptors),
	    TEST(test_specialization),
	    TEST(test_queries_of_the_pool),
	    TEST(test_other_devices),
	    TEST(test_ids_taken),
	    TEST(test_counts),
	    TEST(test_wrong_stype),
	    TEST(test_long_chain),
	    TEST(test_strings),
	    TEST(test_replies_that_do_not_fit),
	    TEST(test_blob_in_place),
	    TEST(test_nested_streams),
	    TEST(test_source),
	    TEST(test_tombstones),
	    TEST(test_lost_device),
	    TEST(test_missing_function),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

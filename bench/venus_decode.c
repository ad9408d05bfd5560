/* SPDX-License-Identifier: MIT */
/* The cost of the Venus codec alone: a frame's commands, decoded again and again on a driver that does nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "venus/null_driver.h"

static const char help[] =
    "usage: bench-venus-decode [draws | frame | barriers | FILE] [SECONDS]\n"
    "\n"
    "Decodes a stream of Venus commands on a driver that does nothing, and prints what a command costs.\n"
    "  draws      10,000 vkCmdDraw\n"
    "  frame      10,000 draws, each with a descriptor set, push constants, an index buffer and a viewport\n"
    "  barriers   10,000 vkCmdPipelineBarrier2 with an image barrier each, and vkCmdBeginRendering\n"
    "  FILE       commands as taken out of a ring; they must not create what they created before, so it runs once\n"
    "SECONDS 0 runs the stream once. Instructions for each command:\n"
    "  valgrind --tool=callgrind --toggle-collect=pv_venus_execute bench-venus-decode frame 0\n"
    "counts those within pv_venus_execute() only; divide by the number of commands printed.\n";

#define DRAWS 10000u

static uint32_t *words;
static size_t count, room;

static void put(size_t nr, const uint32_t *more)
{
	if (count + nr > room) {
		uint32_t *larger = realloc(words, 2 * (count + nr) * sizeof(*words));

		if (!larger)
			abort();
		words = larger;
		room = 2 * (count + nr);
	}
	memcpy(words + count, more, nr * sizeof(*words));
	count += nr;
}
#define PUT(...) put(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (const uint32_t[]){__VA_ARGS__})

enum { BUFFER_ID = 10, SET_ID, LAYOUT_ID, COMMAND_BUFFER_ID, IMAGE_ID, VIEW_ID };

static void draws(void)
{
	for (uint32_t i = 0; i < DRAWS; i++)
		PUT(106, 0, COMMAND_BUFFER_ID, 0, 3, 1, i, 0);
}

static void frame(void)
{
	for (uint32_t i = 0; i < DRAWS; i++) {
		PUT(103, 0, COMMAND_BUFFER_ID, 0, 0, LAYOUT_ID, 0, 0, 1, 1, 0, SET_ID, 0, 1, 1, 0, i * 256);
		PUT(132, 0, COMMAND_BUFFER_ID, 0, LAYOUT_ID, 0, 1, 0, 16, 16, 0, 1, 2, 3, 4);
		PUT(104, 0, COMMAND_BUFFER_ID, 0, BUFFER_ID, 0, i, 0, 0);
		PUT(94, 0, COMMAND_BUFFER_ID, 0, 0, 1, 1, 0, 0, 0, 0x44000000, 0x44000000, 0, 0x3f800000);
		PUT(107, 0, COMMAND_BUFFER_ID, 0, 36, 1, i, 0, 0);
	}
}

static void barriers(void)
{
	for (uint32_t i = 0; i < DRAWS; i++) {
		/* vkCmdPipelineBarrier2 */
		PUT(204, 0, COMMAND_BUFFER_ID, 0, 1, 0, 1000314003, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0);
		PUT(1000314002, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 0, 2, 0xffffffff, 0xffffffff, IMAGE_ID, 0, 1, 0, 1, 0, 1);
		/* vkCmdBeginRendering, one colour attachment */
		PUT(213, 0, COMMAND_BUFFER_ID, 0, 1, 0, 1000044000, 0, 0, 0, 0, 0, 64, 64, 1, 0, 1, 1, 0);
		PUT(1000044001, 0, 0, VIEW_ID, 0, 2, 0, 0, 0, 0, 1, 0, 0, 2, 4, 0, 1, 2, 3, 4, 0, 0, 0, 0);
		PUT(214, 0, COMMAND_BUFFER_ID, 0); /* vkCmdEndRendering */
	}
}

static void read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint32_t word;

	if (!file) {
		perror(path);
		exit(1);
	}
	while (fread(&word, sizeof(word), 1, file) == 1)
		put(1, &word);
	fclose(file);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int argc, char **argv)
{
	struct pv_venus_decoder *d = &pv_venus_null.decoder;
	const char *what = argc > 1 ? argv[1] : "frame";
	double limit = argc > 2 ? atof(argv[2]) : 2, begin, took;
	uint64_t commands = 0;
	static uint8_t replies[1 << 20];

	if (argc > 3 || what[0] == '-') {
		fputs(help, argc == 2 ? stdout : stderr);
		return argc == 2 ? 0 : 1;
	}
	if (!pv_venus_null_start())
		return 1;
	pv_venus_null.replies = replies;
	pv_venus_null.replies_bytes = sizeof(replies);
	if (strcmp(what, "draws") == 0)
		draws();
	else if (strcmp(what, "frame") == 0)
		frame();
	else if (strcmp(what, "barriers") == 0)
		barriers();
	else {
		read_file(what);
		limit = 0;
	}
	if (limit != 0 || !strchr(what, '/'))
		if (!pv_venus_null_add(PV_VENUS_BUFFER, BUFFER_ID) ||
		    !pv_venus_null_add(PV_VENUS_DESCRIPTOR_SET, SET_ID) ||
		    !pv_venus_null_add(PV_VENUS_PIPELINE_LAYOUT, LAYOUT_ID) ||
		    !pv_venus_null_add(PV_VENUS_IMAGE, IMAGE_ID) ||
		    !pv_venus_null_add(PV_VENUS_COMMAND_BUFFER, COMMAND_BUFFER_ID) ||
		    !pv_venus_null_add(PV_VENUS_IMAGE_VIEW, VIEW_ID))
			return 1;
	begin = now();
	do {
		d->cursor = (const uint8_t *)words;
		d->end = d->cursor + count * sizeof(*words);
		while (d->cursor < d->end && !d->failed) {
			pv_venus_execute(d);
			commands++;
		}
		took = now() - begin;
	} while (took < limit && !d->failed);
	if (d->failed) {
		fprintf(stderr, "%s: %s (%llu) in %s\n", d->failed_field, d->failed_reason,
			(unsigned long long)d->failed_value, pv_venus_commands[d->command_type].name);
		return 1;
	}
	printf("%s: %llu commands, %.1f ns each, %.1f million a second\n", what, (unsigned long long)commands,
	       1e9 * took / (double)commands, 1e-6 * (double)commands / took);
	pv_venus_null_finish();
	free(words);
	return 0;
}

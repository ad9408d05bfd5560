/* SPDX-License-Identifier: MIT */
/* pvgpu-kmsbench: the command line. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kmsbench.h"
#include "program.h"

static const char help[] =
    "Drives a display device through kernel mode setting: known pictures for correctness, rates and round trips\n"
    "for speed. Runs as root without X. Every answer is one line of JSON on stdout.\n"
    "\n"
    "  pvgpu-kmsbench MODE [options]\n"
    "\n"
    "Pictures (PATTERN: solid, solid:RRGGBB, gradient, checker, corners; pattern.h has their formulas)\n"
    "  show [PATTERN ...]   shows a picture until stdin ends; with --connector all, one pattern a head\n"
    "  cursor [PATTERN]     the same with a 64x64 cursor on it\n"
    "  modes [PATTERN]      walks through all modes of the connector\n"
    "  reference PATTERN --size WxH --ppm FILE   writes what `show` must look like; needs no device\n"
    "\n"
    "Measurements\n"
    "  flip                 full-screen updates a second: --method atomic (default), pageflip, dirty\n"
    "  damage               small updates a second: --rect WxH\n"
    "  latency              round trips: --method resource (default: one fenced command), cursor, dirty\n"
    "\n"
    "State\n"
    "  heads                connectors, modes, EDID\n"
    "  formats              what planes and --format take\n"
    "  watch                hotplug events as they come\n"
    "\n"
    "Options\n"
    "  --device PATH        default: the first /dev/dri/card* of virtio_gpu\n"
    "  --connector K        number or name (heads lists them), or `all` for show; default: first connected\n"
    "  --mode WxH, --size WxH   default: the preferred mode; for measurements 1920x1080\n"
    "  --format NAME        show, cursor, modes: a resource in this virtio format instead of a dumb buffer\n"
    "  --seconds S          flip, damage, watch: how long (default 5)\n"
    "  --count N            latency: how many (default 2000)\n"
    "  --rect WxH           damage: default 64x64\n"
    "  --method NAME        flip, latency\n"
    "  --draw               flip, damage: also write the pixels with the CPU\n"
    "  --tick-us N          measurements: frame time of the mode (default 100). Linux 7 lets one update through a\n"
    "                       frame; 0 takes the connector's own mode, and then its refresh rate is what is measured\n"
    "  --pos X,Y            cursor: where (default 100,100)\n"
    "  --hot X,Y            cursor: hot spot (default 0,0)\n"
    "  --move X,Y           cursor: then move there; up to 16 times\n"
    "  --step-ms N          cursor, modes: pause between steps (default 200)\n"
    "  --hold S             show, cursor: keep the picture S seconds instead of until stdin ends\n"
    "\n"
    "Examples\n"
    "  pvgpu-kmsbench flip --size 1920x1080 --seconds 5\n"
    "  pvgpu-kmsbench damage --rect 64x64\n"
    "  pvgpu-kmsbench show corners --mode 1280x800 --hold 10\n"
    "  pvgpu-kmsbench show corners gradient --connector all --hold 30\n"
    "  pvgpu-kmsbench cursor gradient --pos 300,200 --hot 5,7 --move 0,0 --hold 5\n";

enum option_id {
	OPTION_DEVICE,
	OPTION_CONNECTOR,
	OPTION_SIZE,
	OPTION_FORMAT,
	OPTION_SECONDS,
	OPTION_COUNT,
	OPTION_RECT,
	OPTION_METHOD,
	OPTION_DRAW,
	OPTION_TICK_US,
	OPTION_POS,
	OPTION_HOT,
	OPTION_MOVE,
	OPTION_STEP_MS,
	OPTION_HOLD,
	OPTION_PPM,
	OPTION_HELP,
};
#define BIT(option) (1u << OPTION_##option)

static const struct option long_options[] = {
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"connector", required_argument, NULL, OPTION_CONNECTOR},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"mode", required_argument, NULL, OPTION_SIZE},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"rect", required_argument, NULL, OPTION_RECT},
    {"method", required_argument, NULL, OPTION_METHOD},
    {"draw", no_argument, NULL, OPTION_DRAW},
    {"tick-us", required_argument, NULL, OPTION_TICK_US},
    {"pos", required_argument, NULL, OPTION_POS},
    {"hot", required_argument, NULL, OPTION_HOT},
    {"move", required_argument, NULL, OPTION_MOVE},
    {"step-ms", required_argument, NULL, OPTION_STEP_MS},
    {"hold", required_argument, NULL, OPTION_HOLD},
    {"ppm", required_argument, NULL, OPTION_PPM},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static const struct mode {
	const char *name;
	int (*run)(const struct pv_options *options);
	unsigned allowed; /* BIT() of the options it takes */
	unsigned patterns_max;
	uint32_t default_width, default_height;
} modes[] = {
    {"show", pv_run_show, BIT(DEVICE) | BIT(CONNECTOR) | BIT(SIZE) | BIT(FORMAT) | BIT(HOLD), PV_HEADS_MAX, 0, 0},
    {"cursor", pv_run_cursor,
     BIT(DEVICE) | BIT(CONNECTOR) | BIT(SIZE) | BIT(FORMAT) | BIT(POS) | BIT(HOT) | BIT(MOVE) | BIT(STEP_MS) |
	 BIT(HOLD),
     1, 0, 0},
    {"modes", pv_run_modes, BIT(DEVICE) | BIT(CONNECTOR) | BIT(FORMAT) | BIT(STEP_MS), 1, 0, 0},
    {"reference", pv_run_reference, BIT(SIZE) | BIT(PPM), 1, 0, 0},
    {"flip", pv_run_flip,
     BIT(DEVICE) | BIT(CONNECTOR) | BIT(SIZE) | BIT(SECONDS) | BIT(METHOD) | BIT(DRAW) | BIT(TICK_US), 0, 1920, 1080},
    {"damage", pv_run_damage,
     BIT(DEVICE) | BIT(CONNECTOR) | BIT(SIZE) | BIT(SECONDS) | BIT(RECT) | BIT(DRAW) | BIT(TICK_US), 0, 1920, 1080},
    {"latency", pv_run_latency, BIT(DEVICE) | BIT(CONNECTOR) | BIT(SIZE) | BIT(COUNT) | BIT(METHOD) | BIT(TICK_US), 0,
     1920, 1080},
    {"heads", pv_run_heads, BIT(DEVICE), 0, 0, 0},
    {"formats", pv_run_formats, BIT(DEVICE), 0, 0, 0},
    {"watch", pv_run_watch, BIT(DEVICE) | BIT(SECONDS), 0, 0, 0},
};

static const struct mode *find_mode(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(name, modes[i].name) == 0)
			return &modes[i];
	pv_die("there is no mode '%s'; see pvgpu-kmsbench --help", name);
}

static void read_option(struct pv_options *options, enum option_id option, const char *value)
{
	switch (option) {
	case OPTION_DEVICE:
		options->device = value;
		break;
	case OPTION_CONNECTOR:
		options->connector = value;
		break;
	case OPTION_SIZE:
		pv_parse_size("--size (or --mode)", value, &options->width, &options->height);
		break;
	case OPTION_FORMAT:
		options->format = strcmp(value, "XR24") == 0 ? NULL : pv_virtio_format_find(value);
		if (!options->format && strcmp(value, "XR24") != 0)
			pv_die("there is no format '%s'; `pvgpu-kmsbench formats` lists them", value);
		break;
	case OPTION_SECONDS:
		options->seconds = pv_parse_seconds("--seconds", value);
		break;
	case OPTION_COUNT:
		options->count = (uint32_t)pv_parse_uint("--count", value, 1, 10000000);
		break;
	case OPTION_RECT:
		pv_parse_size("--rect", value, &options->rect_width, &options->rect_height);
		break;
	case OPTION_METHOD:
		options->method = value;
		break;
	case OPTION_DRAW:
		options->draw = true;
		break;
	case OPTION_TICK_US:
		options->tick_us = (uint32_t)pv_parse_uint("--tick-us", value, 0, 1000000);
		break;
	case OPTION_POS:
		pv_parse_point("--pos", value, &options->position.x, &options->position.y);
		break;
	case OPTION_HOT:
		pv_parse_point("--hot", value, &options->hot.x, &options->hot.y);
		break;
	case OPTION_MOVE:
		if (options->move_count == PV_MOVES_MAX)
			pv_die("--move can be given %d times, no more", PV_MOVES_MAX);
		pv_parse_point("--move", value, &options->moves[options->move_count].x,
			       &options->moves[options->move_count].y);
		options->move_count++;
		break;
	case OPTION_STEP_MS:
		options->step_ms = (uint32_t)pv_parse_uint("--step-ms", value, 0, 600000);
		break;
	case OPTION_HOLD:
		options->hold_s = pv_parse_seconds("--hold", value);
		break;
	case OPTION_PPM:
		options->ppm = value;
		break;
	case OPTION_HELP:
		break;
	}
}

static void read_patterns(struct pv_options *options, const struct mode *mode, char **words, int word_count)
{
	if ((unsigned)word_count > mode->patterns_max)
		pv_die("mode %s does not know what to do with '%s'; see pvgpu-kmsbench --help", mode->name,
		       words[mode->patterns_max]);
	for (int i = 0; i < word_count; i++)
		if (!pv_pattern_parse(words[i], &options->patterns[options->pattern_count++]))
			pv_die("there is no pattern '%s'; choose from solid, solid:RRGGBB, gradient, checker, corners",
			       words[i]);
	if (options->pattern_count == 0)
		options->patterns[options->pattern_count++] = (struct pv_pattern){.kind = PV_PATTERN_CORNERS};
}

int main(int argc, char **argv)
{
	struct pv_options options = {
	    .rect_width = 64,
	    .rect_height = 64,
	    .tick_us = 100,
	    .count = 2000,
	    .step_ms = 200,
	    .seconds = 5,
	    .hold_s = -1,
	    .position = {100, 100},
	};
	int option, index = 0;

	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(help, stdout);
		return 0;
	}
	if (argc < 2)
		pv_die("name a mode, such as show, flip or heads; see pvgpu-kmsbench --help");
	const struct mode *mode = find_mode(argv[1]);
	options.width = mode->default_width;
	options.height = mode->default_height;
	argv++;
	argc--;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", long_options, &index)) != -1) {
		if (option == ':')
			pv_die("%s needs a value; see pvgpu-kmsbench --help", argv[optind - 1]);
		if (option == OPTION_HELP || option == 'h') {
			fputs(help, stdout);
			return 0;
		}
		if (option == '?')
			pv_die("there is no option '%s'; see pvgpu-kmsbench --help", argv[optind - 1]);
		if (!(mode->allowed >> option & 1))
			pv_die("mode %s has no option --%s; see pvgpu-kmsbench --help", mode->name,
			       long_options[index].name);
		read_option(&options, (enum option_id)option, optarg);
	}
	read_patterns(&options, mode, argv + optind, argc - optind);
	if (mode->run == pv_run_reference && (!options.ppm || options.width == 0))
		pv_die("reference needs --size WxH and --ppm FILE");
	pv_catch_signals();
	return mode->run(&options);
}

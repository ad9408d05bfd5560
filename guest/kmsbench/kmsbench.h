/* SPDX-License-Identifier: MIT */
/* The modes of pvgpu-kmsbench. Each returns the program's exit status. */
#ifndef PVGPU_KMSBENCH_KMSBENCH_H
#define PVGPU_KMSBENCH_KMSBENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "kms.h"
#include "pattern.h"

#define PV_MOVES_MAX 16

struct pv_point {
	int32_t x, y;
};

/* The command line, read and checked. What a mode has no use for, main() has refused. */
struct pv_options {
	const char *device;    /* NULL: find one */
	const char *connector; /* NULL: the mode's default */
	struct pv_pattern patterns[PV_HEADS_MAX];
	unsigned pattern_count;
	uint32_t width, height; /* 0 x 0: the preferred mode */
	uint32_t rect_width, rect_height;
	uint32_t tick_us; /* 0: the connector's own mode */
	uint32_t count;
	uint32_t step_ms;
	double seconds;
	double hold_s; /* negative: until stdin ends */
	bool draw;
	const char *method;                    /* NULL: the mode's default */
	const struct pv_virtio_format *format; /* NULL: a dumb buffer */
	const char *ppm;
	struct pv_point position, hot;
	struct pv_point moves[PV_MOVES_MAX];
	unsigned move_count;
};

int pv_run_flip(const struct pv_options *options);
int pv_run_damage(const struct pv_options *options);
int pv_run_latency(const struct pv_options *options);
int pv_run_show(const struct pv_options *options);
int pv_run_cursor(const struct pv_options *options);
int pv_run_modes(const struct pv_options *options);
int pv_run_heads(const struct pv_options *options);
int pv_run_formats(const struct pv_options *options);
int pv_run_watch(const struct pv_options *options);
int pv_run_reference(const struct pv_options *options);

/* The head that `connector` names, or the first connected one where that is NULL. */
struct pv_head *pv_choose_head(struct pv_kms *kms, const char *connector);

/* The mode to show `--mode` or `--size` in: the connector's own of that size, else one made at 60 Hz. */
drmModeModeInfo pv_choose_mode(const struct pv_head *head, const struct pv_options *options);

/* Writes the fields of a mode, without braces: "width":...,"height":...,"refresh_mhz":... */
void pv_print_mode_fields(const drmModeModeInfo *mode);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Rates and round trips of a display device.
 *
 * What one update costs the device, as virtio_gpu 6.12 and 7.3 issue it for dumb buffers:
 *   flip, atomic or pageflip   TRANSFER_TO_HOST_2D of the whole buffer, SET_SCANOUT, RESOURCE_FLUSH
 *   flip, dirty                TRANSFER_TO_HOST_2D of the whole buffer, RESOURCE_FLUSH
 *   damage                     what `flip, dirty` costs: these kernels make the whole buffer of any rectangle
 * None of these waits for the device, so the guest runs ahead until the queue is full and from then on goes at the
 * device's speed. The clock stops when a last, fenced command is answered: every counted update has been carried out.
 *
 * Besides the mean, a rate is told for windows of a quarter of a second: other work on the host lowers some of them,
 * hardly the best. The process stays on one CPU, and with it the kernel's timer for the ticks: each tick would
 * otherwise wake a second virtual CPU, which measures the hypervisor's wake-ups and not the device.
 */
#include "kmsbench.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <xf86drm.h>

#include "program.h"

#define WARM_UP_UPDATES 8u
#define WARM_UP_TRIPS   64u
#define WINDOW_NS       250000000u
#define WINDOWS_MAX     4096u

struct bench;

struct method {
	const char *name;
	void (*update)(struct bench *bench, uint64_t number);
};

struct bench {
	struct pv_kms kms;
	struct pv_head *head;
	drmModeModeInfo mode;
	uint32_t width, height;
	uint32_t rect_width, rect_height;
	uint32_t tick_us;
	bool draw;
	struct pv_buffer buffers[2];
	struct pv_buffer cursors[2];    /* latency by cursor only */
	uint32_t plane_id, fb_property; /* atomic only */
	bool flip_pending;              /* pageflip only */
};

static const struct method *find_method(const struct method *methods, size_t count, const char *name)
{
	char known[128] = "";
	size_t used = 0;

	if (!name)
		return &methods[0];
	for (size_t i = 0; i < count; i++) {
		if (strcmp(name, methods[i].name) == 0)
			return &methods[i];
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "", methods[i].name);
	}
	pv_die("there is no --method '%s' here; choose from %s", name, known);
}

/* The last CPU: the first has most of the system's interrupts. No harm is done where it is refused. */
static void stay_on_one_cpu(void)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
		return;
	for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
		if (!CPU_ISSET(cpu, &cpus))
			continue;
		CPU_ZERO(&cpus);
		CPU_SET(cpu, &cpus);
		sched_setaffinity(0, sizeof(cpus), &cpus);
		return;
	}
}

static void bench_init(struct bench *bench, const struct pv_options *options)
{
	static const struct pv_pattern pictures[2] = {
	    {.kind = PV_PATTERN_GRADIENT},
	    {.kind = PV_PATTERN_CHECKER},
	};

	stay_on_one_cpu();
	memset(bench, 0, sizeof(*bench));
	bench->tick_us = options->tick_us;
	pv_kms_open(&bench->kms, options->device, true);
	bench->head = pv_choose_head(&bench->kms, options->connector);
	bench->draw = options->draw;
	bench->width = options->width;
	bench->height = options->height;
	if (options->tick_us)
		bench->mode = pv_mode_make(options->width, options->height, options->tick_us);
	else
		bench->mode = pv_choose_mode(bench->head, options);
	for (unsigned i = 0; i < 2; i++) {
		pv_buffer_create_dumb(&bench->kms, &bench->buffers[i], bench->width, bench->height);
		pv_buffer_draw(&bench->kms, &bench->buffers[i], &pictures[i]);
	}
	pv_head_show(&bench->kms, bench->head, &bench->buffers[0], &bench->mode);
}

static void bench_finish(struct bench *bench)
{
	for (unsigned i = 0; i < 2; i++) {
		pv_buffer_destroy(&bench->kms, &bench->buffers[i]);
		if (bench->cursors[i].handle)
			pv_buffer_destroy(&bench->kms, &bench->cursors[i]);
	}
	pv_kms_close(&bench->kms);
}

/* Paints one colour that changes with the update, so that a lost update can be told from a stale one. */
static void draw_rect(struct pv_buffer *buffer, uint64_t number, const drmModeClip *clip)
{
	const uint32_t pixel = 0xff000000u | (uint32_t)(number * 0x9e3779b1u >> 8 & 0xffffffu);

	for (uint32_t y = clip->y1; y < clip->y2; y++) {
		uint32_t *row = (uint32_t *)(void *)(buffer->pixels + y * buffer->stride_bytes);

		for (uint32_t x = clip->x1; x < clip->x2; x++)
			row[x] = pixel;
	}
}

static struct pv_buffer *next_buffer(struct bench *bench, uint64_t number)
{
	struct pv_buffer *buffer = &bench->buffers[(number + 1) % 2];
	const drmModeClip whole = {0, 0, (uint16_t)bench->width, (uint16_t)bench->height};

	if (bench->draw)
		draw_rect(buffer, number, &whole);
	return buffer;
}

static void update_atomic(struct bench *bench, uint64_t number)
{
	drmModeAtomicReq *request = drmModeAtomicAlloc();

	if (!request || drmModeAtomicAddProperty(request, bench->plane_id, bench->fb_property,
						 next_buffer(bench, number)->fb_id) < 0)
		pv_die("out of memory");
	if (drmModeAtomicCommit(bench->kms.fd, request, 0, NULL) != 0)
		pv_die("%s: an atomic commit failed: %s. Try --method pageflip or dirty", bench->kms.path,
		       strerror(errno));
	drmModeAtomicFree(request);
}

static void note_flip(int fd, unsigned sequence, unsigned seconds, unsigned microseconds, void *user)
{
	struct bench *bench = user;

	(void)fd, (void)sequence, (void)seconds, (void)microseconds;
	bench->flip_pending = false;
}

static void update_pageflip(struct bench *bench, uint64_t number)
{
	drmEventContext events = {.version = 2, .page_flip_handler = note_flip};
	struct pollfd event = {.fd = bench->kms.fd, .events = POLLIN};

	bench->flip_pending = true;
	if (drmModePageFlip(bench->kms.fd, bench->head->crtc_id, next_buffer(bench, number)->fb_id,
			    DRM_MODE_PAGE_FLIP_EVENT, bench) != 0)
		pv_die("%s: a page flip failed: %s. Try --method dirty", bench->kms.path, strerror(errno));
	while (bench->flip_pending) {
		const int ready = poll(&event, 1, 5000);

		if (ready == 0)
			pv_die("%s: a page flip was not completed within 5 s", bench->kms.path);
		if (ready > 0)
			drmHandleEvent(bench->kms.fd, &events);
	}
}

static void mark_dirty(struct bench *bench, uint64_t number, drmModeClip clip)
{
	if (bench->draw)
		draw_rect(&bench->buffers[0], number, &clip);
	if (drmModeDirtyFB(bench->kms.fd, bench->buffers[0].fb_id, &clip, 1) != 0)
		pv_die("%s: DIRTYFB failed: %s", bench->kms.path, strerror(errno));
}

static void update_dirty(struct bench *bench, uint64_t number)
{
	mark_dirty(bench, number, (drmModeClip){0, 0, (uint16_t)bench->width, (uint16_t)bench->height});
}

static void update_damage(struct bench *bench, uint64_t number)
{
	/* Steps of 73 and 37 pixels: prime to most sizes, so that the rectangle gets everywhere. */
	const uint32_t x = (uint32_t)(number * 73 % (bench->width - bench->rect_width + 1));
	const uint32_t y = (uint32_t)(number * 37 % (bench->height - bench->rect_height + 1));

	mark_dirty(bench, number,
		   (drmModeClip){(uint16_t)x, (uint16_t)y, (uint16_t)(x + bench->rect_width),
				 (uint16_t)(y + bench->rect_height)});
}

static uint64_t process_cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
}

/* The fields every measurement has, after the opening brace. */
static void print_common(const struct bench *bench, const char *name, const char *method)
{
	struct utsname kernel;

	uname(&kernel);
	printf("{\"bench\":\"%s\",\"method\":\"%s\",\"driver\":", name, method);
	pv_json_string(bench->kms.driver);
	printf(",\"kernel\":");
	pv_json_string(kernel.release);
	printf(",\"connector\":");
	pv_json_string(bench->head->name);
	printf(",\"vblank\":%s,\"tick_us\":%u,", bench->kms.has_vblank ? "true" : "false", bench->tick_us);
	pv_print_mode_fields(&bench->mode);
}

/* Updates a second in consecutive windows of the run. */
struct windows {
	double rates[WINDOWS_MAX];
	unsigned count;
	uint64_t start_ns, start_number;
};

static void windows_note(struct windows *windows, uint64_t now_ns, uint64_t number)
{
	const uint64_t elapsed_ns = now_ns - windows->start_ns;

	if (elapsed_ns < WINDOW_NS || windows->count == WINDOWS_MAX)
		return;
	windows->rates[windows->count++] = (double)(number - windows->start_number) * 1e9 / (double)elapsed_ns;
	windows->start_ns = now_ns;
	windows->start_number = number;
}

static int compare_rates(const void *left, const void *right)
{
	const double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static void windows_print(struct windows *windows)
{
	const unsigned count = windows->count;

	qsort(windows->rates, count, sizeof(windows->rates[0]), compare_rates);
	printf("\"windows\":{\"count\":%u", count);
	if (count > 0)
		printf(",\"min_per_second\":%.2f,\"median_per_second\":%.2f,\"max_per_second\":%.2f", windows->rates[0],
		       windows->rates[count / 2], windows->rates[count - 1]);
	printf("}");
}

static void measure_rate(struct bench *bench, const char *name, const struct method *method, double seconds)
{
	static struct windows windows;
	uint64_t number = 0, now_ns;

	while (number < WARM_UP_UPDATES)
		method->update(bench, number++);
	pv_kms_barrier(&bench->kms);
	const uint64_t cpu_start_ns = process_cpu_ns(), start_ns = pv_now_ns();
	const uint64_t stop_ns = start_ns + (uint64_t)(seconds * 1e9);
	windows = (struct windows){.start_ns = start_ns, .start_number = number};
	do {
		method->update(bench, number++);
		now_ns = pv_now_ns();
		windows_note(&windows, now_ns, number);
	} while (now_ns < stop_ns && !pv_interrupted());
	const bool drained = pv_kms_barrier(&bench->kms);
	const uint64_t end_ns = pv_now_ns();
	const double elapsed_s = (double)(end_ns - start_ns) / 1e9;
	const uint64_t updates = number - WARM_UP_UPDATES;
	const double cpu_us = (double)(process_cpu_ns() - cpu_start_ns) / 1e3;

	print_common(bench, name, method->name);
	printf(",\"rect_width\":%u,\"rect_height\":%u,\"draw\":%s,\"drained\":%s,\"updates\":%llu,"
	       "\"seconds\":%.6f,\"drain_seconds\":%.6f,\"per_second\":%.2f,\"guest_cpu_us_per_update\":%.2f,",
	       bench->rect_width, bench->rect_height, bench->draw ? "true" : "false", drained ? "true" : "false",
	       (unsigned long long)updates, elapsed_s, (double)(end_ns - now_ns) / 1e9, (double)updates / elapsed_s,
	       cpu_us / (double)updates);
	windows_print(&windows);
	printf("}\n");
}

static void prepare_atomic(struct bench *bench)
{
	if (drmSetClientCap(bench->kms.fd, DRM_CLIENT_CAP_ATOMIC, 1) != 0)
		pv_die("%s (%s) has no atomic mode setting; use --method pageflip or dirty", bench->kms.path,
		       bench->kms.driver);
	drmModePlane *plane = pv_head_plane(&bench->kms, bench->head, DRM_PLANE_TYPE_PRIMARY);
	if (!plane)
		pv_die("%s has no primary plane; use --method pageflip or dirty", bench->head->name);
	bench->plane_id = plane->plane_id;
	bench->fb_property = pv_kms_property(&bench->kms, plane->plane_id, DRM_MODE_OBJECT_PLANE, "FB_ID", NULL);
	drmModeFreePlane(plane);
}

int pv_run_flip(const struct pv_options *options)
{
	static const struct method methods[] = {
	    {"atomic", update_atomic},
	    {"pageflip", update_pageflip},
	    {"dirty", update_dirty},
	};
	const struct method *method = find_method(methods, sizeof(methods) / sizeof(methods[0]), options->method);
	struct bench bench;

	bench_init(&bench, options);
	bench.rect_width = bench.width;
	bench.rect_height = bench.height;
	if (method->update == update_atomic)
		prepare_atomic(&bench);
	measure_rate(&bench, "flip", method, options->seconds);
	bench_finish(&bench);
	return 0;
}

int pv_run_damage(const struct pv_options *options)
{
	static const struct method method = {"dirty", update_damage};
	struct bench bench;

	if (options->rect_width > options->width || options->rect_height > options->height)
		pv_die("--rect %ux%u does not fit into --size %ux%u", options->rect_width, options->rect_height,
		       options->width, options->height);
	bench_init(&bench, options);
	bench.rect_width = options->rect_width;
	bench.rect_height = options->rect_height;
	measure_rate(&bench, "damage", &method, options->seconds);
	bench_finish(&bench);
	return 0;
}

/* One command that the device must answer: RESOURCE_CREATE_2D with a fence. Ticks play no part in it. */
static uint64_t trip_resource(struct bench *bench, uint64_t number)
{
	const uint64_t start_ns = pv_now_ns();
	const uint32_t handle = pv_kms_round_trip(&bench->kms);
	const uint64_t end_ns = pv_now_ns();

	(void)number;
	pv_kms_round_trip_release(&bench->kms, handle);
	return end_ns - start_ns;
}

/* A new cursor picture: the kernel waits for its TRANSFER_TO_HOST_2D of 64 x 64, then sends UPDATE_CURSOR. */
static uint64_t trip_cursor(struct bench *bench, uint64_t number)
{
	const uint64_t start_ns = pv_now_ns();

	if (drmModeSetCursor2(bench->kms.fd, bench->head->crtc_id, bench->cursors[number % 2].handle, PV_CURSOR_SIZE,
			      PV_CURSOR_SIZE, 0, 0) != 0)
		pv_die("%s: the cursor cannot be set: %s", bench->kms.path, strerror(errno));
	return pv_now_ns() - start_ns;
}

/* DIRTYFB of one pixel. The kernel waits for the device only where dumb buffers are blobs, for a tick always. */
static uint64_t trip_dirty(struct bench *bench, uint64_t number)
{
	const uint64_t start_ns = pv_now_ns();

	mark_dirty(bench, number, (drmModeClip){0, 0, 1, 1});
	return pv_now_ns() - start_ns;
}

static int compare_ns(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static double percentile_us(const uint64_t *sorted_ns, uint32_t count, uint32_t percent)
{
	const uint64_t rank = (uint64_t)(count - 1) * percent / 100;

	return (double)sorted_ns[rank] / 1e3;
}

int pv_run_latency(const struct pv_options *options)
{
	static const struct {
		const char *name;
		uint64_t (*trip)(struct bench *bench, uint64_t number);
	} methods[] = {{"resource", trip_resource}, {"cursor", trip_cursor}, {"dirty", trip_dirty}};
	const char *wanted = options->method ? options->method : methods[0].name;
	size_t chosen = 0;
	struct bench bench;

	while (chosen < 3 && strcmp(wanted, methods[chosen].name) != 0)
		chosen++;
	if (chosen == 3)
		pv_die("there is no --method '%s' here; choose from resource, cursor, dirty", wanted);
	bench_init(&bench, options);
	if (methods[chosen].trip == trip_resource && !bench.kms.has_virtio_commands)
		pv_die("--method resource needs the driver virtio_gpu; %s has %s. Try --method cursor", bench.kms.path,
		       bench.kms.driver);
	if (methods[chosen].trip == trip_cursor)
		for (unsigned i = 0; i < 2; i++)
			pv_buffer_create_dumb(&bench.kms, &bench.cursors[i], PV_CURSOR_SIZE, PV_CURSOR_SIZE);
	uint64_t *times_ns = calloc(options->count, sizeof(*times_ns));
	if (!times_ns)
		pv_die("out of memory; use a smaller --count");
	for (uint32_t i = 0; i < WARM_UP_TRIPS; i++)
		methods[chosen].trip(&bench, i);
	uint32_t count = 0;
	uint64_t total_ns = 0;
	while (count < options->count && !pv_interrupted()) {
		times_ns[count] = methods[chosen].trip(&bench, count);
		total_ns += times_ns[count++];
	}
	if (count == 0)
		pv_die("interrupted before the first round trip");
	qsort(times_ns, count, sizeof(*times_ns), compare_ns);
	print_common(&bench, "latency", methods[chosen].name);
	printf(",\"count\":%u,\"min_us\":%.2f,\"median_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.2f,"
	       "\"mean_us\":%.2f}\n",
	       count, percentile_us(times_ns, count, 0), percentile_us(times_ns, count, 50),
	       percentile_us(times_ns, count, 90), percentile_us(times_ns, count, 99),
	       percentile_us(times_ns, count, 100), (double)total_ns / 1e3 / count);
	free(times_ns);
	bench_finish(&bench);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* pvgpu-triangle: draws the known triangle of scene.h with Vulkan, to a file, the screen or a window. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xf86drmMode.h>

#include "gpu.h"
#include "kms.h"
#include "program.h"
#include "scene.h"
#include "window.h"

#define DEFAULT_WIDTH     640u
#define DEFAULT_HEIGHT    480u
#define ORDINARY_FRAME_US 16667u
#define WINDOW_SETTLE_NS  5000000000u
#define WINDOW_POLL_NS    20000000u

static const char help[] =
    "Draws one triangle in three colours, the same in every frame (scene.h has its formula), with Vulkan, compares\n"
    "the pixels with the formula, and answers in one line of JSON. Exit status 1 if a pixel is wrong.\n"
    "\n"
    "  pvgpu-triangle --kms | --x11 | --ppm FILE [options]\n"
    "\n"
    "  --kms              draws off screen and shows the picture through kernel mode setting (root, without X)\n"
    "  --x11              draws into a window at the top left of $DISPLAY through a swapchain\n"
    "  --ppm FILE         writes the picture as read back; alone or with one of the above\n"
    "  --size WxH         default: 640x480 with --ppm alone, else the whole screen\n"
    "  --frames N         draws N frames and tells the rate (default 1)\n"
    "  --hold S           keeps the picture S seconds after that (default: not at all; `--hold eof`: until stdin "
    "ends)\n"
    "  --gpu NAME         the GPU whose name contains NAME; default: the first that is not a CPU, else the first\n"
    "  --present MODE     --x11: fifo (default), immediate, mailbox\n"
    "  --device PATH, --connector K   --kms: default: the first card of virtio_gpu, its first connected connector\n"
    "\n"
    "Examples\n"
    "  pvgpu-triangle --ppm triangle.ppm\n"
    "  pvgpu-triangle --kms --hold 10\n"
    "  DISPLAY=:0 pvgpu-triangle --x11 --size 800x600 --frames 300 --present immediate\n";

enum output {
	OUTPUT_NONE,
	OUTPUT_KMS,
	OUTPUT_X11,
};

struct options {
	enum output output;
	const char *ppm, *gpu, *device, *connector;
	uint32_t width, height, frames;
	double hold_s; /* negative: until stdin ends */
	VkPresentModeKHR present;
};

struct result {
	const char *output;
	uint32_t width, height, frames;
	uint64_t elapsed_ns;
	struct pv_scene_check check;
};

enum option_id {
	OPTION_KMS = 256,
	OPTION_X11,
	OPTION_PPM,
	OPTION_SIZE,
	OPTION_FRAMES,
	OPTION_HOLD,
	OPTION_GPU,
	OPTION_PRESENT,
	OPTION_DEVICE,
	OPTION_CONNECTOR,
	OPTION_HELP,
};

static const struct option long_options[] = {
    {"kms", no_argument, NULL, OPTION_KMS},
    {"x11", no_argument, NULL, OPTION_X11},
    {"ppm", required_argument, NULL, OPTION_PPM},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"frames", required_argument, NULL, OPTION_FRAMES},
    {"hold", required_argument, NULL, OPTION_HOLD},
    {"gpu", required_argument, NULL, OPTION_GPU},
    {"present", required_argument, NULL, OPTION_PRESENT},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"connector", required_argument, NULL, OPTION_CONNECTOR},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static void write_ppm(const char *path, const struct pv_picture *picture)
{
	FILE *file = fopen(path, "wb");

	if (!file)
		pv_die("%s cannot be written: %s", path, strerror(errno));
	fprintf(file, "P6\n%u %u\n255\n", picture->width, picture->height);
	for (uint32_t y = 0; y < picture->height; y++) {
		const uint8_t *pixel = picture->pixels + y * picture->stride_bytes;

		for (uint32_t x = 0; x < picture->width; x++, pixel += 4) {
			const uint8_t rgb[3] = {pixel[picture->red_byte], pixel[picture->green_byte],
						pixel[picture->blue_byte]};

			fwrite(rgb, 1, sizeof(rgb), file);
		}
	}
	const bool failed = ferror(file) != 0;
	if (fclose(file) != 0 || failed)
		pv_die("%s cannot be written whole: is the disk full?", path);
}

static void print_result(const struct pv_gpu *gpu, const struct result *result)
{
	const double seconds = (double)result->elapsed_ns / 1e9;

	printf("{\"event\":\"shown\",\"output\":\"%s\",", result->output);
	pv_gpu_print_fields(gpu);
	printf(",\"width\":%u,\"height\":%u,\"frames\":%u,\"seconds\":%.6f,\"fps\":%.2f,", result->width,
	       result->height, result->frames, seconds, result->frames / seconds);
	printf("\"pixels\":{\"checked\":%llu,\"left_out\":%llu,\"wrong\":%llu,\"max_error_inside\":%u,"
	       "\"max_error_outside\":%u}}\n",
	       (unsigned long long)result->check.checked, (unsigned long long)result->check.skipped,
	       (unsigned long long)result->check.wrong, result->check.max_error_inside,
	       result->check.max_error_outside);
}

static void hold(const struct options *options)
{
	fflush(stdout);
	if (options->hold_s != 0)
		pv_hold(options->hold_s);
}

static void run_offscreen(const struct options *options, struct pv_gpu *gpu, struct result *result)
{
	struct pv_offscreen offscreen;

	pv_gpu_choose(gpu, options->gpu, NULL, 0);
	pv_gpu_create_device(gpu, VK_NULL_HANDLE);
	pv_gpu_create_pipeline(gpu, VK_FORMAT_B8G8R8A8_UNORM, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	pv_offscreen_init(gpu, &offscreen, options->width ? options->width : DEFAULT_WIDTH,
			  options->height ? options->height : DEFAULT_HEIGHT);
	const uint64_t start_ns = pv_now_ns();
	while (result->frames < options->frames && !pv_interrupted()) {
		pv_offscreen_render(gpu, &offscreen);
		result->frames++;
	}
	result->elapsed_ns = pv_now_ns() - start_ns;
	result->output = "none";
	result->width = offscreen.width;
	result->height = offscreen.height;
	result->check = pv_scene_compare(&offscreen.picture);
	if (options->ppm)
		write_ppm(options->ppm, &offscreen.picture);
	print_result(gpu, result);
	hold(options);
	pv_offscreen_finish(gpu, &offscreen);
}

static struct pv_head *choose_head(struct pv_kms *kms, const char *connector)
{
	if (connector)
		return pv_kms_head(kms, connector);
	for (unsigned i = 0; i < kms->head_count; i++)
		if (pv_head_connected(&kms->heads[i]))
			return &kms->heads[i];
	pv_die("%s has no connected display; enable an output in the VMM, or name one with --connector", kms->path);
}

static void show_picture(struct pv_kms *kms, struct pv_buffer *buffer, const struct pv_picture *picture)
{
	for (uint32_t y = 0; y < picture->height; y++)
		memcpy(buffer->pixels + y * buffer->stride_bytes, picture->pixels + y * picture->stride_bytes,
		       (size_t)picture->width * 4);
	if (drmModeDirtyFB(kms->fd, buffer->fb_id, NULL, 0) != 0)
		pv_die("%s: DIRTYFB failed: %s", kms->path, strerror(errno));
}

static void run_kms(const struct options *options, struct pv_gpu *gpu, struct result *result)
{
	struct pv_kms kms;
	struct pv_buffer buffer;
	struct pv_offscreen offscreen;

	pv_kms_open(&kms, options->device, true);
	struct pv_head *head = choose_head(&kms, options->connector);
	const drmModeModeInfo *listed =
	    options->width ? pv_head_find_mode(head, options->width, options->height) : pv_head_preferred_mode(head);
	const drmModeModeInfo mode =
	    listed ? *listed : pv_mode_make(options->width, options->height, ORDINARY_FRAME_US);
	pv_gpu_choose(gpu, options->gpu, NULL, 0);
	pv_gpu_create_device(gpu, VK_NULL_HANDLE);
	/* The byte order of XR24 frame buffers. */
	pv_gpu_create_pipeline(gpu, VK_FORMAT_B8G8R8A8_UNORM, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
	pv_offscreen_init(gpu, &offscreen, mode.hdisplay, mode.vdisplay);
	pv_buffer_create_dumb(&kms, &buffer, mode.hdisplay, mode.vdisplay);
	pv_head_show(&kms, head, &buffer, &mode);
	const uint64_t start_ns = pv_now_ns();
	while (result->frames < options->frames && !pv_interrupted()) {
		pv_offscreen_render(gpu, &offscreen);
		show_picture(&kms, &buffer, &offscreen.picture);
		result->frames++;
	}
	pv_kms_barrier(&kms);
	result->elapsed_ns = pv_now_ns() - start_ns;
	result->output = "kms";
	result->width = mode.hdisplay;
	result->height = mode.vdisplay;
	result->check = pv_scene_compare(&offscreen.picture);
	if (options->ppm)
		write_ppm(options->ppm, &offscreen.picture);
	print_result(gpu, result);
	hold(options);
	pv_offscreen_finish(gpu, &offscreen);
	pv_buffer_destroy(&kms, &buffer);
	pv_kms_close(&kms);
}

/* The X server shows a presented frame some time later: reads until the picture is right, or long enough. */
static struct pv_scene_check compare_window(struct pv_window *window)
{
	const uint64_t deadline_ns = pv_now_ns() + WINDOW_SETTLE_NS;

	for (;;) {
		pv_window_read(window);
		const struct pv_scene_check check = pv_scene_compare(&window->picture);
		if (check.wrong == 0 || pv_interrupted() || pv_now_ns() > deadline_ns)
			return check;
		pv_sleep_ns(WINDOW_POLL_NS);
	}
}

static void run_x11(const struct options *options, struct pv_gpu *gpu, struct result *result)
{
	struct pv_window window;

	pv_window_open(&window, options->width, options->height);
	pv_gpu_choose(gpu, options->gpu, pv_window_extensions,
		      sizeof(pv_window_extensions) / sizeof(pv_window_extensions[0]));
	pv_window_create_surface(&window, gpu);
	pv_gpu_create_device(gpu, window.surface);
	pv_window_create_swapchain(&window, gpu, options->present);
	const uint64_t start_ns = pv_now_ns();
	while (result->frames < options->frames && !pv_interrupted()) {
		pv_window_render(&window, gpu);
		result->frames++;
	}
	pv_window_wait(&window, gpu);
	result->elapsed_ns = pv_now_ns() - start_ns;
	result->output = "x11";
	result->width = window.width;
	result->height = window.height;
	result->check = compare_window(&window);
	if (options->ppm)
		write_ppm(options->ppm, &window.picture);
	print_result(gpu, result);
	hold(options);
	pv_window_close(&window, gpu);
}

static VkPresentModeKHR parse_present_mode(const char *text)
{
	if (strcmp(text, "fifo") == 0)
		return VK_PRESENT_MODE_FIFO_KHR;
	if (strcmp(text, "immediate") == 0)
		return VK_PRESENT_MODE_IMMEDIATE_KHR;
	if (strcmp(text, "mailbox") == 0)
		return VK_PRESENT_MODE_MAILBOX_KHR;
	pv_die("--present takes fifo, immediate or mailbox, not '%s'", text);
}

static void choose_output(struct options *options, enum output output)
{
	if (options->output != OUTPUT_NONE && options->output != output)
		pv_die("choose --kms or --x11, not both");
	options->output = output;
}

static void read_option(struct options *options, int option, char **argv)
{
	switch (option) {
	case OPTION_KMS:
		choose_output(options, OUTPUT_KMS);
		break;
	case OPTION_X11:
		choose_output(options, OUTPUT_X11);
		break;
	case OPTION_PPM:
		options->ppm = optarg;
		break;
	case OPTION_SIZE:
		pv_parse_size("--size", optarg, &options->width, &options->height);
		break;
	case OPTION_FRAMES:
		options->frames = (uint32_t)pv_parse_uint("--frames", optarg, 1, UINT32_MAX);
		break;
	case OPTION_HOLD:
		options->hold_s = strcmp(optarg, "eof") == 0 ? -1 : pv_parse_seconds("--hold", optarg);
		break;
	case OPTION_GPU:
		options->gpu = optarg;
		break;
	case OPTION_PRESENT:
		options->present = parse_present_mode(optarg);
		break;
	case OPTION_DEVICE:
		options->device = optarg;
		break;
	case OPTION_CONNECTOR:
		options->connector = optarg;
		break;
	case OPTION_HELP:
	case 'h':
		fputs(help, stdout);
		exit(0);
	case ':':
		pv_die("%s needs a value; see pvgpu-triangle --help", argv[optind - 1]);
	default:
		pv_die("there is no option '%s'; see pvgpu-triangle --help", argv[optind - 1]);
	}
}

int main(int argc, char **argv)
{
	struct options options = {.frames = 1, .present = VK_PRESENT_MODE_FIFO_KHR};
	struct result result = {0};
	struct pv_gpu gpu;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
		read_option(&options, option, argv);
	if (optind < argc)
		pv_die("'%s' is not understood; see pvgpu-triangle --help", argv[optind]);
	pv_catch_signals();
	switch (options.output) {
	case OUTPUT_KMS:
		run_kms(&options, &gpu, &result);
		break;
	case OUTPUT_X11:
		run_x11(&options, &gpu, &result);
		break;
	case OUTPUT_NONE:
		if (!options.ppm)
			pv_die("say where to: --kms, --x11 or --ppm FILE; see pvgpu-triangle --help");
		run_offscreen(&options, &gpu, &result);
		break;
	}
	pv_gpu_destroy(&gpu);
	return result.check.wrong ? 1 : 0;
}

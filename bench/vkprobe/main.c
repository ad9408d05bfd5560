/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

static const struct measurement {
	const char *name, *unit;
	void (*run)(struct pv_probe *probe, struct pv_series *series);
	const char *what;
} measurements[] = {
    {"control", "ms", pv_measure_control, "a loop of the processor alone"},
    {"exchange", "us", pv_measure_exchange, "a number there and back between two threads"},
    {"sleep", "us", pv_measure_sleep, "a sleep of 160 us"},
    {"submit-wait", "us", pv_measure_submit_wait, "vkQueueSubmit + vkWaitForFences of an empty batch"},
    {"submit-wait-timeline", "us", pv_measure_submit_wait_timeline, "the same with a timeline semaphore"},
    {"reply-format", "us", pv_measure_reply_format, "vkGetPhysicalDeviceFormatProperties, each format once"},
    {"reply", "us", pv_measure_reply, "vkGetDescriptorSetLayoutSupport"},
    {"reply-small", "us", pv_measure_reply_small, "vkGetImageSubresourceLayout"},
    {"format-and-fence", "us", pv_measure_format_and_fence, "vkGetPhysicalDeviceFormatProperties + vkGetFenceStatus"},
    {"fence-status", "us", pv_measure_fence_status, "vkGetFenceStatus"},
    {"draws-sync", "1/s", pv_measure_draws_sync, "draws, 10,000 a frame, one frame under way"},
    {"draws-queued", "1/s", pv_measure_draws_queued, "draws, 10,000 a frame, 3 frames under way"},
    {"bound-draws-sync", "1/s", pv_measure_bound_draws_sync, "the same, each with push constants and a descriptor set"},
    {"bound-draws-queued", "1/s", pv_measure_bound_draws_queued, "the same, 3 frames under way"},
    {"recording", "ns", pv_measure_recording, "a draw's share of recording such a frame"},
    {"bound-recording", "ns", pv_measure_bound_recording, "the same with push constants and a descriptor set"},
    {"frames-sync", "1/s", pv_measure_frames_sync, "frames of one triangle, one under way"},
    {"frames-queued", "1/s", pv_measure_frames_queued, "frames of one triangle, 3 under way"},
    {"pipeline", "ms", pv_measure_pipeline, "a graphics pipeline and its first use"},
    {"allocation", "us", pv_measure_allocation, "allocate, map, touch and free 1 MiB"},
    {"large-allocation", "us", pv_measure_large_allocation, "the same of 64 MiB"},
    {"shared-memory", "us", pv_measure_shared_memory, "allocation with a memfd of the system's own"},
    {"mapped-write", "GB/s", pv_measure_mapped_write, "memcpy of 64 MiB to mapped memory"},
    {"plain-write", "GB/s", pv_measure_plain_write, "memcpy of 64 MiB to ordinary memory"},
    {"mapped-read", "GB/s", pv_measure_mapped_read, "memcpy of 64 MiB from mapped memory"},
    {"plain-read", "GB/s", pv_measure_plain_read, "memcpy of 64 MiB from ordinary memory"},
    {"upload-buffer", "GB/s", pv_measure_upload_buffer, "vkCmdCopyBuffer of 64 MiB from a staging buffer"},
    {"upload-image", "GB/s", pv_measure_upload_image, "vkCmdCopyBufferToImage of 64 MiB"},
    {"fill", "1/s", pv_measure_fill, "frames of 1920x1080 with many blended layers, 2 under way"},
    {"compute", "1/s", pv_measure_compute, "frames of 65536 looping invocations, 2 under way"},
    {"read-back", "1/s", pv_measure_read_back, "frames of 1280x720, each read by the processor"},
};

#define MEASUREMENTS (sizeof(measurements) / sizeof(measurements[0]))

static const struct measurement *find(const char *name)
{
	for (size_t i = 0; i < MEASUREMENTS; i++)
		if (strcmp(measurements[i].name, name) == 0)
			return &measurements[i];
	pv_die("there is no measurement '%s'; --list shows all", name);
}

static void run(struct pv_probe *probe, const struct measurement *measurement)
{
	struct pv_series series = {0};

	measurement->run(probe, &series);
	pv_series_print(&series, measurement->name, measurement->unit);
	pv_series_finish(&series);
}

static void print_device(const struct pv_probe *probe)
{
	const uint32_t api = probe->properties.apiVersion;

	printf("{\"gpu\":");
	pv_json_string(probe->properties.deviceName);
	printf(",\"driver_version\":%u,\"api\":\"%u.%u.%u\"}\n", probe->properties.driverVersion, VK_VERSION_MAJOR(api),
	       VK_VERSION_MINOR(api), VK_VERSION_PATCH(api));
	fflush(stdout);
}

static void print_usage(void)
{
	puts("usage: pvgpu-vkprobe [OPTIONS] [MEASUREMENT...]\n"
	     "Measures a Vulkan driver off-screen; without names, everything. A line of JSON for the device and one "
	     "for each\n"
	     "measurement.\n"
	     "  --gpu NAME         a device whose name contains this (default: the first)\n"
	     "  --repeats N        samples of each rate (default 5)\n"
	     "  --sample-ms N      length of each (default 200)\n"
	     "  --latencies N      samples of each latency (default 2000)\n"
	     "  --fill-layers N    layers of the fill-bound frame (default 8)\n"
	     "  --loop-rounds N    rounds of the compute-bound frame (default 512)\n"
	     "  --hold SECONDS     measure nothing: submit once, keep the device for so long, idle\n"
	     "  --list             list the measurements");
}

static void list(void)
{
	for (size_t i = 0; i < MEASUREMENTS; i++)
		printf("%-20s  %-4s  %s\n", measurements[i].name, measurements[i].unit, measurements[i].what);
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
	    {"gpu", required_argument, NULL, 'g'},
	    {"repeats", required_argument, NULL, 'r'},
	    {"sample-ms", required_argument, NULL, 's'},
	    {"latencies", required_argument, NULL, 'l'},
	    {"fill-layers", required_argument, NULL, 'f'},
	    {"loop-rounds", required_argument, NULL, 'c'},
	    {"hold", required_argument, NULL, 'H'},
	    {"list", no_argument, NULL, 'L'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct pv_probe probe = {
	    .options = {.repeats = 5, .sample_ns = 200000000, .latencies = 2000, .fill_layers = 8, .loop_rounds = 512}};
	struct pv_probe_options *options = &probe.options;
	double hold_s = -1;
	int choice;

	while ((choice = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (choice) {
		case 'g':
			options->gpu = optarg;
			break;
		case 'r':
			options->repeats = (uint32_t)pv_parse_uint("--repeats", optarg, 1, 10000);
			break;
		case 's':
			options->sample_ns = pv_parse_uint("--sample-ms", optarg, 1, 1000000) * 1000000;
			break;
		case 'l':
			options->latencies = (uint32_t)pv_parse_uint("--latencies", optarg, 10, 10000000);
			break;
		case 'f':
			options->fill_layers = (uint32_t)pv_parse_uint("--fill-layers", optarg, 1, 1000000);
			break;
		case 'c':
			options->loop_rounds = (uint32_t)pv_parse_uint("--loop-rounds", optarg, 1, 1000000000);
			break;
		case 'H':
			hold_s = pv_parse_seconds("--hold", optarg);
			break;
		case 'L':
			list();
			return 0;
		case 'h':
			print_usage();
			return 0;
		default:
			return 2;
		}
	}
	for (int i = optind; i < argc; i++)
		(void)find(argv[i]);
	pv_probe_start(&probe);
	print_device(&probe);
	if (hold_s >= 0) {
		struct pv_pipe pipe;

		pv_pipe_init(&pipe, &probe, 1);
		(void)pv_pipe_begin(&pipe);
		pv_pipe_submit(&pipe);
		puts("{\"holding\":true}");
		pv_hold(hold_s);
		pv_pipe_finish(&pipe);
	} else if (optind == argc) {
		for (size_t i = 0; i < MEASUREMENTS; i++)
			run(&probe, &measurements[i]);
	} else {
		for (int i = optind; i < argc; i++)
			run(&probe, find(argv[i]));
	}
	pv_probe_end(&probe);
	return 0;
}

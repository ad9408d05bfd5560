/* SPDX-License-Identifier: MIT */
/*
 * vk-tests: cases that exercise a Vulkan driver and report what came out, one JSON object a line:
 * {"case": NAME, "status": "pass" | "skip" | "fail" | "crash", "reason": TEXT, "values": {NAME: HEX, ...}}
 */
#include "vk.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CASE_SECONDS 120u

static const struct vk_case *const tables[] = {object_cases, memory_cases, transfer_cases, compute_cases,
					       draw_cases,   sync_cases,   extension_cases};
static const char *const wanted_extensions[] = {
    "VK_KHR_pipeline_library",
    "VK_EXT_graphics_pipeline_library",
    "VK_EXT_transform_feedback",
    "VK_EXT_conditional_rendering",
    "VK_EXT_vertex_input_dynamic_state",
    "VK_EXT_extended_dynamic_state3",
    "VK_EXT_color_write_enable",
    "VK_EXT_multi_draw",
    "VK_EXT_mutable_descriptor_type",
    "VK_EXT_custom_border_color",
    "VK_EXT_primitives_generated_query",
    "VK_EXT_shader_object",
    "VK_EXT_mesh_shader",
    "VK_EXT_memory_budget",
    "VK_EXT_calibrated_timestamps",
    "VK_KHR_deferred_host_operations",
    "VK_KHR_acceleration_structure",
    "VK_KHR_ray_query",
    "VK_KHR_ray_tracing_pipeline",
};

static const char *case_name;
static const char *pictures;
static char values[16384];
static size_t values_size;
static bool enabled[COUNT(wanted_extensions)];

static _Noreturn void end(const char *status, const char *reason, int code)
{
	printf("{\"case\": \"%s\", \"status\": \"%s\", \"reason\": \"", case_name, status);
	for (const char *at = reason; *at; at++)
		putchar(*at == '"' || *at == '\\' || (unsigned char)*at < 32 ? ' ' : *at);
	printf("\", \"values\": {%s}}\n", values);
	fflush(stdout);
	/* No destructors: the driver's threads may be anywhere. */
	_exit(code);
}

_Noreturn void fail(const char *format, ...)
{
	char reason[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	end("fail", reason, 0);
}

void expect(bool holds, const char *format, ...)
{
	char reason[512];
	va_list arguments;

	if (holds)
		return;
	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	end("fail", reason, 0);
}

void check(VkResult result, const char *call)
{
	expect(result == VK_SUCCESS, "%.*s: VkResult %d", (int)strcspn(call, "("), call, (int)result);
}

void need(bool have, const char *what)
{
	if (!have)
		end("skip", what, 0);
}

bool has_extension(const char *name)
{
	for (size_t i = 0; i < COUNT(wanted_extensions); i++)
		if (strcmp(wanted_extensions[i], name) == 0)
			return enabled[i];
	fail("%s is not in the list of extensions", name);
}

void need_extension(const char *name)
{
	need(has_extension(name), name);
}

PFN_vkVoidFunction device_function(const char *name)
{
	PFN_vkVoidFunction function = vkGetDeviceProcAddr(vk.device, name);

	expect(function != NULL, "there is no %s", name);
	return function;
}

void report(const char *name, uint64_t value)
{
	int size = snprintf(values + values_size, sizeof(values) - values_size, "%s\"%s\": \"%llx\"",
			    values_size ? ", " : "", name, (unsigned long long)value);

	if (size > 0 && (size_t)size < sizeof(values) - values_size)
		values_size += (size_t)size;
	else
		fail("too many values");
}

/* FNV-1a */
uint64_t hash_bytes(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ at[i]) * 0x100000001b3u;
	return hash;
}

void report_hash(const char *name, const void *bytes, size_t size)
{
	report(name, hash_bytes(bytes, size));
}

void report_picture(const char *name, const uint8_t *rgba, uint32_t width, uint32_t height)
{
	char path[512];
	FILE *file;

	report_hash(name, rgba, (size_t)width * height * 4);
	if (!pictures)
		return;
	snprintf(path, sizeof(path), "%s/%s-%s.ppm", pictures, case_name, name);
	for (char *at = path + strlen(pictures) + 1; *at; at++)
		if (*at == '/')
			*at = '-';
	file = fopen(path, "wb");
	expect(file != NULL, "cannot write %s", path);
	fprintf(file, "P6\n%u %u\n255\n", width, height);
	for (size_t i = 0; i < (size_t)width * height; i++)
		fwrite(rgba + i * 4, 3, 1, file);
	fclose(file);
}

static void chain(VkBaseOutStructure **last, void *next, VkStructureType type)
{
	VkBaseOutStructure *structure = next;

	structure->sType = type;
	(*last)->pNext = structure;
	*last = structure;
}

static void query_features(void)
{
	struct vk_features *f = &vk.features;
	VkBaseOutStructure *last = (VkBaseOutStructure *)&f->core;
	const struct {
		const char *extension;
		void *structure;
		VkStructureType type;
	} parts[] = {
	    {"VK_EXT_graphics_pipeline_library", &f->pipeline_library,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GRAPHICS_PIPELINE_LIBRARY_FEATURES_EXT},
	    {"VK_EXT_transform_feedback", &f->transform_feedback,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TRANSFORM_FEEDBACK_FEATURES_EXT},
	    {"VK_EXT_conditional_rendering", &f->conditional_rendering,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_CONDITIONAL_RENDERING_FEATURES_EXT},
	    {"VK_EXT_vertex_input_dynamic_state", &f->vertex_input,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VERTEX_INPUT_DYNAMIC_STATE_FEATURES_EXT},
	    {"VK_EXT_extended_dynamic_state3", &f->dynamic_state3,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT},
	    {"VK_EXT_color_write_enable", &f->color_write,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COLOR_WRITE_ENABLE_FEATURES_EXT},
	    {"VK_EXT_multi_draw", &f->multi_draw, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MULTI_DRAW_FEATURES_EXT},
	    {"VK_EXT_mutable_descriptor_type", &f->mutable_descriptor,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MUTABLE_DESCRIPTOR_TYPE_FEATURES_EXT},
	    {"VK_EXT_custom_border_color", &f->border_color,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_CUSTOM_BORDER_COLOR_FEATURES_EXT},
	    {"VK_EXT_primitives_generated_query", &f->primitives_generated,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRIMITIVES_GENERATED_QUERY_FEATURES_EXT},
	    {"VK_EXT_shader_object", &f->shader_object, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_OBJECT_FEATURES_EXT},
	    {"VK_EXT_mesh_shader", &f->mesh_shader, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MESH_SHADER_FEATURES_EXT},
	    {"VK_KHR_acceleration_structure", &f->acceleration_structure,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ACCELERATION_STRUCTURE_FEATURES_KHR},
	    {"VK_KHR_ray_query", &f->ray_query, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_QUERY_FEATURES_KHR},
	    {"VK_KHR_ray_tracing_pipeline", &f->ray_tracing,
	     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_FEATURES_KHR},
	};

	f->core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
	chain(&last, &f->v11, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
	chain(&last, &f->v12, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
	chain(&last, &f->v13, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES);
	if (vk.version >= VK_API_VERSION_1_4)
		chain(&last, &f->v14, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_4_FEATURES);
	for (size_t i = 0; i < COUNT(parts); i++)
		if (has_extension(parts[i].extension))
			chain(&last, parts[i].structure, parts[i].type);
	vkGetPhysicalDeviceFeatures2(vk.gpu, &f->core);
	f->core.features.robustBufferAccess = VK_FALSE;
	f->v13.robustImageAccess = VK_FALSE;
	f->v14.pipelineRobustness = VK_FALSE;
	f->mesh_shader.primitiveFragmentShadingRateMeshShader = VK_FALSE;
	f->mesh_shader.multiviewMeshShader = VK_FALSE;
	f->acceleration_structure.accelerationStructureCaptureReplay = VK_FALSE;
	f->ray_tracing.rayTracingPipelineShaderGroupHandleCaptureReplay = VK_FALSE;
	f->ray_tracing.rayTracingPipelineShaderGroupHandleCaptureReplayMixed = VK_FALSE;
}

static uint32_t enable_extensions(const char **names)
{
	VkExtensionProperties *all;
	uint32_t count, used = 0;

	CHECK(vkEnumerateDeviceExtensionProperties(vk.gpu, NULL, &count, NULL));
	all = calloc(count + 1, sizeof(*all));
	expect(all, "no memory");
	CHECK(vkEnumerateDeviceExtensionProperties(vk.gpu, NULL, &count, all));
	for (size_t i = 0; i < COUNT(wanted_extensions); i++)
		for (uint32_t k = 0; k < count && !enabled[i]; k++)
			if (strcmp(all[k].extensionName, wanted_extensions[i]) == 0) {
				enabled[i] = true;
				names[used++] = wanted_extensions[i];
			}
	free(all);
	return used;
}

static void make_device(void)
{
	const VkQueueFlags full = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
	float priorities[VK_QUEUES_MAX];
	VkDeviceQueueCreateInfo queues[VK_FAMILIES_MAX];
	const char *names[COUNT(wanted_extensions)];
	uint32_t taken[VK_FAMILIES_MAX] = {0};
	VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
				   .pNext = &vk.features.core,
				   .pQueueCreateInfos = queues,
				   .ppEnabledExtensionNames = names};
	VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
					.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT};

	info.enabledExtensionCount = enable_extensions(names);
	query_features();
	vk.family_count = VK_FAMILIES_MAX;
	vkGetPhysicalDeviceQueueFamilyProperties(vk.gpu, &vk.family_count, vk.families);
	for (size_t i = 0; i < VK_QUEUES_MAX; i++)
		priorities[i] = 1;
	vk.family = UINT32_MAX;
	for (uint32_t f = 0; f < vk.family_count && vk.queue_count < VK_QUEUES_MAX; f++) {
		uint32_t left = VK_QUEUES_MAX - vk.queue_count;

		/* Two of a family are enough, and leave room for the others. */
		taken[f] = vk.families[f].queueCount < 2 ? vk.families[f].queueCount : 2;
		if (taken[f] > left)
			taken[f] = left;
		queues[info.queueCreateInfoCount++] =
		    (VkDeviceQueueCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
					      .queueFamilyIndex = f,
					      .queueCount = taken[f],
					      .pQueuePriorities = priorities};
		if (vk.family == UINT32_MAX && (vk.families[f].queueFlags & full) == full)
			vk.family = f;
		for (uint32_t i = 0; i < taken[f]; i++)
			vk.queue_families[vk.queue_count++] = f;
	}
	need(vk.family != UINT32_MAX, "a queue for graphics and compute");
	CHECK(vkCreateDevice(vk.gpu, &info, NULL, &vk.device));
	for (uint32_t i = 0, index = 0; i < vk.queue_count; i++) {
		index = i && vk.queue_families[i] == vk.queue_families[i - 1] ? index + 1 : 0;
		vkGetDeviceQueue(vk.device, vk.queue_families[i], index, &vk.queues[i]);
	}
	vkGetDeviceQueue(vk.device, vk.family, 0, &vk.queue);
	pool.queueFamilyIndex = vk.family;
	CHECK(vkCreateCommandPool(vk.device, &pool, NULL, &vk.pool));
}

static void make_instance(void)
{
	VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
					 .pApplicationName = "vk-tests",
					 .apiVersion = VK_API_VERSION_1_4};
	VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
	VkPhysicalDevice gpus[16];
	uint32_t count = COUNT(gpus);
	const char *index = getenv("VK_TESTS_DEVICE");

	CHECK(vkCreateInstance(&info, NULL, &vk.instance));
	CHECK(vkEnumeratePhysicalDevices(vk.instance, &count, gpus));
	expect(count > 0, "there is no Vulkan device");
	vk.gpu = gpus[index && strtoul(index, NULL, 10) < count ? strtoul(index, NULL, 10) : 0];
	vkGetPhysicalDeviceProperties(vk.gpu, &vk.properties);
	vkGetPhysicalDeviceMemoryProperties(vk.gpu, &vk.memory);
	vk.version = vk.properties.apiVersion < VK_API_VERSION_1_4 ? vk.properties.apiVersion : VK_API_VERSION_1_4;
	need(vk.version >= VK_API_VERSION_1_3, "Vulkan 1.3");
}

static void run_case(const struct vk_case *c, unsigned seconds)
{
	int status;
	pid_t child = fork();

	case_name = c->name;
	if (child == 0) {
		alarm(seconds);
		make_instance();
		make_device();
		c->run();
		CHECK(vkDeviceWaitIdle(vk.device));
		vkDestroyCommandPool(vk.device, vk.pool, NULL);
		vkDestroyDevice(vk.device, NULL);
		vkDestroyInstance(vk.instance, NULL);
		end("pass", "", 0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) {
		perror("vk-tests");
		exit(2);
	}
	if (WIFSIGNALED(status))
		printf("{\"case\": \"%s\", \"status\": \"crash\", \"reason\": \"%s\", \"values\": {}}\n", c->name,
		       WTERMSIG(status) == SIGALRM ? "out of time" : strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		printf("{\"case\": \"%s\", \"status\": \"crash\", \"reason\": \"exit code %d\", \"values\": {}}\n",
		       c->name, WEXITSTATUS(status));
	fflush(stdout);
}

static bool selected(const char *name, char **patterns, int count)
{
	for (int i = 0; i < count; i++)
		if (strncmp(name, patterns[i], strlen(patterns[i])) == 0)
			return true;
	return count == 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"list", no_argument, NULL, 'l'},
						{"pictures", required_argument, NULL, 'p'},
						{"seconds", required_argument, NULL, 's'},
						{"help", no_argument, NULL, 'h'},
						{0}};
	unsigned seconds = CASE_SECONDS;
	bool list = false;
	int option, ran = 0;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'l':
			list = true;
			break;
		case 'p':
			pictures = optarg;
			break;
		case 's':
			seconds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			fprintf(stderr,
				"vk-tests [--list] [--pictures DIRECTORY] [--seconds A CASE] [CASE OR PREFIX]...\n"
				"VK_TESTS_DEVICE is the number of the device, 0 by default.\n");
			return option == 'h' ? 0 : 2;
		}
	for (size_t t = 0; t < COUNT(tables); t++)
		for (const struct vk_case *c = tables[t]; c->name; c++) {
			if (!selected(c->name, argv + optind, argc - optind))
				continue;
			ran++;
			if (list)
				puts(c->name);
			else
				run_case(c, seconds);
		}
	if (!ran)
		fprintf(stderr, "vk-tests: no case has such a name; --list shows them\n");
	return ran ? 0 : 2;
}

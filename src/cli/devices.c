/* SPDX-License-Identifier: MIT */
/* pvgpu devices: what of the host's GPUs a guest can be given. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/cli.h"
#include "pv/vulkan.h"

enum { OPT_JSON = 1, OPT_PORTABILITY };

static const char *text(yyjson_val *object, const char *name)
{
	const char *value = yyjson_get_str(yyjson_obj_get(object, name));

	return value ? value : "?";
}

static uint64_t number(yyjson_val *object, const char *name)
{
	return yyjson_get_uint(yyjson_obj_get(object, name));
}

static void print_device(yyjson_val *device, bool chosen)
{
	yyjson_val *guest = yyjson_obj_get(device, "guest");
	const char *info = text(device, "driver_info");

	printf("%-3" PRIu64 "%s%s\n", number(device, "index"), text(device, "name"),
	       chosen ? "   (used unless another is asked for)" : "");
	printf("   driver    %s%s%s, Vulkan %s\n", text(device, "driver"), *info ? ", " : "", info,
	       text(device, "api_version"));
	printf("   hardware  %s, %.1f GiB of memory, %04" PRIx64 ":%04" PRIx64 "\n", text(device, "type"),
	       (double)number(device, "memory_bytes") / (1 << 30), number(device, "vendor_id"),
	       number(device, "device_id"));
	if (!guest) {
		printf("   guest     not usable: %s\n", text(device, "refusal"));
		return;
	}
	printf("   guest     Vulkan %s, %zu extensions, %" PRIu64 " memory types, %s%s\n", text(guest, "api_version"),
	       yyjson_arr_size(yyjson_obj_get(guest, "extensions")), number(guest, "memory_types"),
	       yyjson_get_bool(yyjson_obj_get(guest, "shared_memory")) ? "memory shared without copies"
								       : "no shared memory",
	       yyjson_get_bool(yyjson_obj_get(guest, "portability_subset")) ? ", a subset of Vulkan" : "");
}

static bool is_chosen(yyjson_val *root, yyjson_val *device)
{
	yyjson_val *chosen = yyjson_obj_get(root, "chosen");

	return yyjson_is_uint(chosen) && yyjson_get_uint(chosen) == number(device, "index");
}

/* What it draws with is known only once it runs. */
static void print_opengl(void)
{
#ifdef PV_HAVE_VIRGL
	puts("OpenGL by virglrenderer " PV_VIRGL_VERSION ": --renderer=2d,virgl");
#else
	puts("OpenGL: not in this build, which was made without virglrenderer");
#endif
}

/* Returns the exit code. */
static int print_table(yyjson_val *root)
{
	yyjson_val *devices = yyjson_obj_get(root, "devices"), *device;
	size_t i, max;

	yyjson_arr_foreach(devices, i, max, device) print_device(device, is_chosen(root, device));
	print_opengl();
	if (yyjson_is_uint(yyjson_obj_get(root, "chosen")))
		return CLI_OK;
	if (yyjson_arr_size(devices) == 0)
		cli_error(
		    "install one: on Debian mesa-vulkan-drivers, whose lavapipe needs no GPU; for a GPU, may this "
		    "user open /dev/dri/renderD*, and does VK_DRIVER_FILES hide its driver?",
		    "no Vulkan driver of this host has a device");
	else
		cli_error(
		    "update the GPU's driver; or install mesa-vulkan-drivers for its lavapipe, which needs no GPU",
		    "none of these devices can be used for a guest");
	return CLI_FAILED;
}

static int print_json(yyjson_val *root)
{
	char *json = yyjson_val_write(root, YYJSON_WRITE_PRETTY, NULL);

	if (!json) {
		cli_error(NULL, "out of memory");
		return CLI_FAILED;
	}
	puts(json);
	free(json);
	return CLI_OK;
}

static int devices(const struct cli_command *command, int argc, char **argv)
{
	static const struct cli_option options[] = {
	    {OPT_JSON, 'j', "json", false}, {OPT_PORTABILITY, 0, "emulate-portability", false}, {0}};
	struct cli_parser parser = {.command = command, .options = options, .argc = argc, .argv = argv};
	struct pv_vulkan_devices_params params = {.struct_size = sizeof(params)};
	bool as_json = false;
	char *json = NULL;
	yyjson_doc *doc;
	int id, code;

	while ((id = cli_next(&parser)) != CLI_END) {
		if (id == CLI_BAD || id == CLI_HELP)
			return cli_ended(id);
		if (id == CLI_WORD)
			return cli_usage(command, "\"%s\": all devices are listed, this takes no name", parser.value);
		if (id == OPT_JSON)
			as_json = true;
		else
			params.emulate_portability = true;
	}
	cli_not_our_own_guest();
	switch (pv_vulkan_devices(&params, &json)) {
	case PV_OK:
		break;
	case PV_ERR_UNSUPPORTED:
		return CLI_FAILED; /* said so, and what to do */
	default:
		cli_error("install libvulkan1 and a driver: on Debian mesa-vulkan-drivers, whose lavapipe needs no GPU",
			  "the devices cannot be listed");
		return CLI_FAILED;
	}
	doc = yyjson_read(json, strlen(json), 0);
	code = as_json ? print_json(yyjson_doc_get_root(doc)) : print_table(yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	pv_free(json);
	return code;
}

const struct cli_command cli_devices = {
    .name = "devices",
    .run = devices,
    .help = "Usage: pvgpu devices [OPTIONS]\n"
	    "\n"
	    "Lists the host's Vulkan devices, the best first: their drivers, what a guest would be given, and why one\n"
	    "cannot be used. Fails if none can.\n"
	    "\n"
	    "  -j, --json               everything, extensions included, as a JSON object\n"
	    "  --emulate-portability    as if the host had MoltenVK: for tests\n"
	    "\n"
	    "Examples:\n"
	    "  pvgpu devices\n"
	    "  pvgpu devices --json | jq '.devices[0].guest.extensions'\n"
	    "  pvgpu vtest --device=1\n",
};

/* SPDX-License-Identifier: MIT */
/* pvgpu devices: what of the host's GPUs a guest can be given. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/cli.h"
#include "pv/opengl.h"
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

static void print_opengl(yyjson_val *opengl)
{
	if (opengl)
		printf("OpenGL by %s: %s, %s\n", text(opengl, "library"), text(opengl, "name"),
		       text(opengl, "version"));
	else
		puts("OpenGL: none");
}

static void print_table(yyjson_val *root)
{
	yyjson_val *devices = yyjson_obj_get(root, "devices"), *device;
	size_t i, max;

	yyjson_arr_foreach(devices, i, max, device) print_device(device, is_chosen(root, device));
	print_opengl(yyjson_obj_get(root, "opengl"));
}

/* Returns the exit code. */
static int advise(yyjson_val *root)
{
	yyjson_val *devices = yyjson_obj_get(root, "devices");

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

static bool print_json(yyjson_val *root)
{
	char *json = yyjson_val_write(root, YYJSON_WRITE_PRETTY, NULL);

	if (json)
		puts(json);
	free(json);
	return json != NULL;
}

/* What there is of both, as one object; NULL: out of memory. */
static yyjson_doc *join(const char *vulkan, const char *opengl)
{
	yyjson_doc *from = yyjson_read(vulkan, strlen(vulkan), 0);
	yyjson_doc *of_opengl = opengl ? yyjson_read(opengl, strlen(opengl), 0) : NULL, *joined = NULL;
	yyjson_mut_doc *doc = from ? yyjson_doc_mut_copy(from, NULL) : NULL;

	/* Every call takes what a failed one before it left, and does nothing. */
	if (of_opengl)
		yyjson_mut_obj_add_val(doc, yyjson_mut_doc_get_root(doc), "opengl",
				       yyjson_val_mut_copy(doc, yyjson_doc_get_root(of_opengl)));
	if (doc)
		joined = yyjson_mut_doc_imut_copy(doc, NULL);
	yyjson_mut_doc_free(doc);
	yyjson_doc_free(of_opengl);
	yyjson_doc_free(from);
	return joined;
}

static int devices(const struct cli_command *command, int argc, char **argv)
{
	static const struct cli_option options[] = {
	    {OPT_JSON, 'j', "json", false}, {OPT_PORTABILITY, 0, "emulate-portability", false}, {0}};
	struct cli_parser parser = {.command = command, .options = options, .argc = argc, .argv = argv};
	struct pv_vulkan_devices_params params = {.struct_size = sizeof(params)};
	char *vulkan = NULL, *opengl = NULL;
	bool as_json = false;
	enum pv_status status;
	yyjson_val *root;
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
	status = pv_vulkan_devices(&params, &vulkan);
	if (status != PV_OK && status != PV_ERR_UNSUPPORTED)
		cli_error("install libvulkan1 and a driver: on Debian mesa-vulkan-drivers, whose lavapipe needs no GPU",
			  "the devices cannot be listed");
	/* What it lacks has been said. */
	if (pv_opengl_describe(&opengl) != PV_OK)
		opengl = NULL;
	doc = join(status == PV_OK ? vulkan : "{\"devices\": [], \"chosen\": null}", opengl);
	root = yyjson_doc_get_root(doc);
	code = status == PV_OK ? CLI_OK : CLI_FAILED;
	if (doc && !as_json)
		print_table(root);
	if (!doc || (as_json && !print_json(root))) {
		cli_error(NULL, "out of memory");
		code = CLI_FAILED;
	} else if (status == PV_OK && !as_json) {
		code = advise(root);
	}
	yyjson_doc_free(doc);
	pv_free(opengl);
	pv_free(vulkan);
	return code;
}

const struct cli_command cli_devices = {
    .name = "devices",
    .run = devices,
    .help = "Usage: pvgpu devices [OPTIONS]\n"
	    "\n"
	    "Lists the host's Vulkan devices, the best first: their drivers, what a guest would be given, and why one\n"
	    "cannot be used; and the host's OpenGL. Fails if a guest can have no Vulkan.\n"
	    "\n"
	    "  -j, --json               everything, extensions included, as a JSON object\n"
	    "  --emulate-portability    as if the host had MoltenVK: for tests\n"
	    "\n"
	    "Examples:\n"
	    "  pvgpu devices\n"
	    "  pvgpu devices --json | jq '.devices[0].guest.extensions'\n"
	    "  pvgpu vtest --device=1\n",
};

/* SPDX-License-Identifier: MIT */
/* The commands that look at a running device: status, screenshot, resize. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/cli.h"
#include "pv/device.h"

#define INSTANCE_HELP                                                                                                  \
	"  --name=NAME       the device started with this --name; needed when several run\n"                           \
	"  --control=PATH    the device with this control socket\n"

enum { OPT_NAME = 1, OPT_CONTROL, OPT_JSON, OPT_FILE, OPT_SCANOUT, OPT_NO_CURSOR, OPT_OFF };

/* True if `id` was an option that says which device is meant. */
static bool take_instance(const struct cli_parser *parser, int id, struct cli_instance *instance)
{
	if (id == OPT_NAME)
		instance->name = parser->value;
	else if (id == OPT_CONTROL)
		instance->control = parser->value;
	return id == OPT_NAME || id == OPT_CONTROL;
}

static yyjson_mut_doc *new_request(const char *command)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "command", command);
	return doc;
}

static int unexpected_word(const struct cli_parser *parser)
{
	return cli_usage(parser->command, "\"%s\": what is that for?", parser->value);
}

static bool parse_scanout(const char *text, uint64_t *out)
{
	return cli_parse_number(text, PV_DEVICE_MAX_OUTPUTS - 1, out);
}

/* ---- status ---- */

static uint64_t number(yyjson_val *object, const char *name)
{
	return yyjson_get_uint(yyjson_obj_get(object, name));
}

static const char *text(yyjson_val *object, const char *name)
{
	const char *value = yyjson_get_str(yyjson_obj_get(object, name));

	return value ? value : "?";
}

static bool flag(yyjson_val *object, const char *name)
{
	return yyjson_get_bool(yyjson_obj_get(object, name));
}

static double mebibytes(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static void print_front_end(yyjson_val *front_end)
{
	const char *kind = text(front_end, "kind");

	if (!flag(front_end, "connected")) {
		printf("attached   to nothing: waits for a virtual machine\n");
		return;
	}
	printf("attached   by %s", kind);
	if (yyjson_obj_get(front_end, "memory_bytes"))
		printf(", guest memory %.0f MiB in %" PRIu64 " regions", mebibytes(number(front_end, "memory_bytes")),
		       number(front_end, "memory_regions"));
	printf("\n");
}

static void print_scanout(yyjson_val *scanout)
{
	yyjson_val *output = yyjson_obj_get(scanout, "output");

	printf("head %-5" PRIu64 " ", number(scanout, "index"));
	if (flag(scanout, "active"))
		printf("%" PRIu64 "x%" PRIu64 " %s, %" PRIu64 " frames per second, %" PRIu64 " frames",
		       number(scanout, "width"), number(scanout, "height"), text(scanout, "format"),
		       number(scanout, "fps"), number(scanout, "flushes"));
	else
		printf("shows nothing");
	if (!flag(output, "enabled"))
		printf("; the guest is told that it is off\n");
	else if (number(output, "width") != number(scanout, "width") ||
		 number(output, "height") != number(scanout, "height"))
		printf("; the guest is offered %" PRIu64 "x%" PRIu64 "\n", number(output, "width"),
		       number(output, "height"));
	else
		printf("\n");
}

static void print_features(yyjson_val *names)
{
	yyjson_val *name;
	size_t i, max;

	printf("driver     ");
	if (yyjson_arr_size(names) == 0)
		printf("none, or not ready");
	yyjson_arr_foreach(names, i, max, name)
	{
		const char *s = yyjson_get_str(name);

		if (!s)
			continue;
		/* The long prefixes say nothing here. */
		if (strncmp(s, "VIRTIO_GPU_F_", 13) == 0)
			s += 13;
		else if (strncmp(s, "VIRTIO_F_", 9) == 0)
			s += 9;
		printf("%s%s", i ? ", " : "", s);
	}
	printf("\n");
}

static void print_uptime(yyjson_val *status)
{
	uint64_t up = (uint64_t)yyjson_get_num(yyjson_obj_get(status, "uptime_seconds"));

	printf("pvgpu      %s, process %" PRIu64 ", up %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ", renderer %s\n",
	       text(status, "version"), number(status, "pid"), up / 3600, up / 60 % 60, up % 60,
	       text(status, "renderer"));
}

static void print_client(yyjson_val *client)
{
	printf("client %-3" PRIu64 " %s%s: %" PRIu64 " messages, %" PRIu64 " submits, %.1f MiB in %" PRIu64 " blobs",
	       number(client, "number"), text(client, "name"), flag(client, "lost") ? " (its context is lost)" : "",
	       number(client, "messages"), number(client, "submits"), mebibytes(number(client, "blob_bytes")),
	       number(client, "blobs"));
	if (number(client, "memory_bytes"))
		printf(", %.1f MiB of memory", mebibytes(number(client, "memory_bytes")));
	printf("\n");
}

static void print_vtest_status(yyjson_val *status)
{
	yyjson_val *counters = yyjson_obj_get(status, "counters"), *memory = yyjson_obj_get(status, "memory");
	yyjson_val *contexts = yyjson_obj_get(status, "contexts"), *device = yyjson_obj_get(status, "device");
	yyjson_val *clients = yyjson_obj_get(status, "clients"), *entry;
	size_t i, max;

	print_uptime(status);
	printf("device     %s, %s\n", text(device, "name"), text(device, "driver"));
	if (yyjson_obj_get(status, "socket"))
		printf("socket     %s\n", text(status, "socket"));
	printf("clients    %zu of at most %" PRIu64 "; %" PRIu64 " since the start, %" PRIu64 " broke the protocol\n",
	       yyjson_arr_size(clients), number(status, "max_clients"), number(counters, "connections"),
	       number(counters, "broken"));
	yyjson_arr_foreach(clients, i, max, entry) print_client(entry);
	printf("contexts   %" PRIu64 ", %" PRIu64 " lost, %" PRIu64 " ending; %" PRIu64 " rings, %" PRIu64
	       " objects, %.1f MiB shared\n",
	       number(contexts, "count"), number(contexts, "lost"), number(contexts, "ending"),
	       number(contexts, "rings"), number(contexts, "objects"), mebibytes(number(contexts, "shm_bytes")));
	printf("memory     %.1f MiB private, %.1f MiB resident, %.1f MiB at its peak\n",
	       mebibytes(number(memory, "private_bytes")), mebibytes(number(memory, "resident_bytes")),
	       mebibytes(number(memory, "peak_resident_bytes")));
	printf("cpu        %.2f s\n", yyjson_get_num(yyjson_obj_get(status, "cpu_seconds")));
}

static void print_contexts(yyjson_val *status)
{
	yyjson_val *vulkan = yyjson_obj_get(status, "vulkan"), *entry;
	size_t i, max;

	if (vulkan)
		printf("vulkan     %s, %s\n", text(vulkan, "device"), text(vulkan, "driver"));
	yyjson_arr_foreach(yyjson_obj_get(status, "contexts"), i, max, entry)
	{
		printf("context    %" PRIu64 " %s (%s): %.1f MiB in %" PRIu64 " blobs", number(entry, "id"),
		       text(entry, "name"), text(entry, "renderer"), mebibytes(number(entry, "blob_bytes")),
		       number(entry, "blobs"));
		if (number(entry, "host_bytes"))
			printf(", %.1f MiB besides", mebibytes(number(entry, "host_bytes")));
		printf("\n");
	}
}

static void print_worker(yyjson_val *worker)
{
	if (!worker)
		return;
	if (number(worker, "pid"))
		printf("worker     process %" PRIu64 ", started again %" PRIu64
		       " times; %.1f MiB private, %.1f MiB resident with guest memory; cpu %.2f s\n",
		       number(worker, "pid"), number(worker, "restarts"), mebibytes(number(worker, "private_bytes")),
		       mebibytes(number(worker, "resident_bytes")),
		       yyjson_get_num(yyjson_obj_get(worker, "cpu_seconds")));
	else
		printf("worker     none at the moment, started again %" PRIu64 " times\n", number(worker, "restarts"));
}

static void print_status(yyjson_val *status)
{
	yyjson_val *counters = yyjson_obj_get(status, "counters");
	yyjson_val *memory = yyjson_obj_get(status, "memory");
	yyjson_val *entry;
	size_t i, max;

	print_uptime(status);
	print_front_end(yyjson_obj_get(status, "front_end"));
	print_features(yyjson_obj_get(yyjson_obj_get(status, "features"), "driver"));
	yyjson_arr_foreach(yyjson_obj_get(status, "scanouts"), i, max, entry) print_scanout(entry);
	printf("queues     ");
	yyjson_arr_foreach(yyjson_obj_get(status, "queues"), i, max, entry)
	{
		printf("%s%s %s", i ? ", " : "", text(entry, "name"),
		       flag(entry, "broken")    ? "broken until the driver restarts it"
		       : flag(entry, "running") ? "running"
						: "stopped");
	}
	printf("\ncommands   %" PRIu64 ", cursor %" PRIu64 ", failed %" PRIu64 ", interrupts %" PRIu64
	       ", resets %" PRIu64 "\n",
	       number(counters, "commands"), number(counters, "cursor_commands"), number(counters, "failed_commands"),
	       number(counters, "interrupts"), number(counters, "resets"));
	printf("pictures   %.1f of %.0f MiB in %" PRIu64 " resources\n", mebibytes(number(memory, "resource_bytes")),
	       mebibytes(number(memory, "max_resource_bytes")), number(memory, "resources"));
	if (number(memory, "window_bytes"))
		printf("window     %.1f of %.0f MiB\n", mebibytes(number(memory, "window_used_bytes")),
		       mebibytes(number(memory, "window_bytes")));
	print_contexts(status);
	print_worker(yyjson_obj_get(status, "worker"));
	printf("memory     %.1f MiB private, %.1f MiB resident with guest memory, %.1f MiB at its peak\n",
	       mebibytes(number(memory, "private_bytes")), mebibytes(number(memory, "resident_bytes")),
	       mebibytes(number(memory, "peak_resident_bytes")));
	printf("cpu        %.2f s\n", yyjson_get_num(yyjson_obj_get(status, "cpu_seconds")));
}

static int status(const struct cli_command *command, int argc, char **argv)
{
	static const struct cli_option options[] = {
	    {OPT_JSON, 'j', "json", false}, {OPT_NAME, 0, "name", true}, {OPT_CONTROL, 0, "control", true}, {0}};
	struct cli_parser parser = {.command = command, .options = options, .argc = argc, .argv = argv};
	struct cli_instance instance = {0};
	yyjson_doc *reply = NULL;
	bool as_json = false;
	int id, code;

	while ((id = cli_next(&parser)) != CLI_END) {
		if (id == CLI_BAD || id == CLI_HELP)
			return cli_ended(id);
		if (id == CLI_WORD)
			return unexpected_word(&parser);
		if (id == OPT_JSON)
			as_json = true;
		else
			take_instance(&parser, id, &instance);
	}
	yyjson_mut_doc *request = new_request("status");
	code = cli_ask(&instance, request, &reply, NULL);
	yyjson_mut_doc_free(request);
	if (code != CLI_OK)
		return code;
	yyjson_val *root = yyjson_obj_get(yyjson_doc_get_root(reply), "status");
	if (as_json) {
		char *json = yyjson_val_write(root, YYJSON_WRITE_PRETTY, NULL);

		if (json)
			puts(json);
		free(json);
	} else if (strcmp(text(root, "kind"), "vtest") == 0) {
		print_vtest_status(root);
	} else {
		print_status(root);
	}
	yyjson_doc_free(reply);
	return CLI_OK;
}

const struct cli_command cli_status = {
    .name = "status",
    .run = status,
    .help = "Usage: pvgpu status [OPTIONS]\n"
	    "\n"
	    "Shows what a running device does.\n"
	    "\n"
	    "  -j, --json        everything, as a JSON object\n" INSTANCE_HELP "\n"
	    "Examples:\n"
	    "  pvgpu status\n"
	    "  pvgpu status --json --name=work | jq '.scanouts[0].fps'\n",
};

/* ---- screenshot ---- */

/* Whole or not at all, but for things that are no files, such as /dev/stdout. */
static int copy_out(int from, int to, const char *name)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0) {
		for (ssize_t done = 0; done < n;) {
			ssize_t m = write(to, buf + done, (size_t)(n - done));

			if (m < 0 && errno != EINTR) {
				cli_error(NULL, "%s: %s", name, strerror(errno));
				return CLI_FAILED;
			}
			done += m > 0 ? m : 0;
		}
	}
	if (n < 0) {
		cli_error(NULL, "the picture cannot be read: %s", strerror(errno));
		return CLI_FAILED;
	}
	return CLI_OK;
}

static int write_file(int from, const char *path)
{
	int code, to;

	if (strcmp(path, "-") == 0)
		return copy_out(from, STDOUT_FILENO, "standard output");
	to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (to < 0) {
		cli_error("choose a file you can write: -o FILE", "%s: %s", path, strerror(errno));
		return CLI_FAILED;
	}
	code = copy_out(from, to, path);
	if (close(to) < 0 && code == CLI_OK) {
		cli_error(NULL, "%s: %s", path, strerror(errno));
		code = CLI_FAILED;
	}
	return code;
}

static int screenshot(const struct cli_command *command, int argc, char **argv)
{
	static const struct cli_option options[] = {
	    {OPT_FILE, 'o', "output", true},        {OPT_SCANOUT, 's', "scanout", true},
	    {OPT_NO_CURSOR, 0, "no-cursor", false}, {OPT_NAME, 0, "name", true},
	    {OPT_CONTROL, 0, "control", true},      {0}};
	struct cli_parser parser = {.command = command, .options = options, .argc = argc, .argv = argv};
	struct cli_instance instance = {0};
	const char *file = NULL;
	yyjson_doc *reply = NULL;
	uint64_t scanout = 0;
	bool cursor = true;
	int id, code, fd = -1;

	while ((id = cli_next(&parser)) != CLI_END) {
		if (id == CLI_BAD || id == CLI_HELP)
			return cli_ended(id);
		if (id == OPT_FILE || (id == CLI_WORD && !file))
			file = parser.value;
		else if (id == CLI_WORD)
			return unexpected_word(&parser);
		else if (id == OPT_SCANOUT && !parse_scanout(parser.value, &scanout))
			return cli_usage(command, "--scanout=%s: heads are numbered from 0 to 15", parser.value);
		else if (id == OPT_NO_CURSOR)
			cursor = false;
		else
			take_instance(&parser, id, &instance);
	}
	if (!file)
		file = "screenshot.png";
	if (strcmp(file, "-") == 0 && isatty(STDOUT_FILENO))
		return cli_usage(command, "the standard output is a terminal: name a file, -o FILE");

	yyjson_mut_doc *request = new_request("screenshot");
	yyjson_mut_obj_add_uint(request, yyjson_mut_doc_get_root(request), "scanout", scanout);
	yyjson_mut_obj_add_bool(request, yyjson_mut_doc_get_root(request), "cursor", cursor);
	code = cli_ask(&instance, request, &reply, &fd);
	yyjson_mut_doc_free(request);
	yyjson_doc_free(reply);
	if (code != CLI_OK)
		return code;
	if (fd < 0) {
		cli_error(NULL, "the device sent no picture");
		return CLI_FAILED;
	}
	code = write_file(fd, file);
	close(fd);
	if (code == CLI_OK && strcmp(file, "-") != 0)
		printf("%s\n", file);
	return code;
}

const struct cli_command cli_screenshot = {
    .name = "screenshot",
    .run = screenshot,
    .help = "Usage: pvgpu screenshot [OPTIONS] [FILE]\n"
	    "\n"
	    "Writes what a head of a running device shows as PNG and prints the file's name.\n"
	    "\n"
	    "  -o, --output=FILE    default screenshot.png; - is the standard output\n"
	    "  -s, --scanout=N      the head, from 0; default 0\n"
	    "  --no-cursor          leave the cursor out\n" INSTANCE_HELP "\n"
	    "Examples:\n"
	    "  pvgpu screenshot -o now.png\n"
	    "  pvgpu screenshot --scanout=1 --no-cursor -o - | display\n",
};

/* ---- resize ---- */

static int resize(const struct cli_command *command, int argc, char **argv)
{
	/* --output: what the control protocol calls it. */
	static const struct cli_option options[] = {
	    {OPT_SCANOUT, 's', "scanout", true}, {OPT_SCANOUT, 0, "output", true},  {OPT_OFF, 0, "off", false},
	    {OPT_NAME, 0, "name", true},         {OPT_CONTROL, 0, "control", true}, {0}};
	struct cli_parser parser = {.command = command, .options = options, .argc = argc, .argv = argv};
	struct cli_instance instance = {0};
	uint32_t width = 0, height = 0;
	yyjson_doc *reply = NULL;
	uint64_t scanout = 0;
	bool off = false;
	int id, code;

	while ((id = cli_next(&parser)) != CLI_END) {
		const char *end = "";

		if (id == CLI_BAD || id == CLI_HELP)
			return cli_ended(id);
		if (id == OPT_OFF || (id == CLI_WORD && strcmp(parser.value, "off") == 0))
			off = true;
		else if (id == CLI_WORD && width)
			return unexpected_word(&parser);
		else if (id == CLI_WORD && (!cli_parse_size(parser.value, &end, &width, &height) || *end))
			return cli_usage(command, "\"%s\" is no size: write WIDTHxHEIGHT, each 1 to %d, or off",
					 parser.value, PV_DEVICE_MAX_SIDE_PIXELS);
		else if (id == OPT_SCANOUT && !parse_scanout(parser.value, &scanout))
			return cli_usage(command, "--scanout=%s: heads are numbered from 0 to 15", parser.value);
		else
			take_instance(&parser, id, &instance);
	}
	if (off == (width != 0))
		return cli_usage(command, "say either a size, WIDTHxHEIGHT, or --off");

	yyjson_mut_doc *request = new_request("set-output");
	yyjson_mut_val *root = yyjson_mut_doc_get_root(request);
	yyjson_mut_obj_add_uint(request, root, "output", scanout);
	yyjson_mut_obj_add_bool(request, root, "enabled", !off);
	if (!off) {
		yyjson_mut_obj_add_uint(request, root, "width", width);
		yyjson_mut_obj_add_uint(request, root, "height", height);
	}
	code = cli_ask(&instance, request, &reply, NULL);
	yyjson_mut_doc_free(request);
	yyjson_doc_free(reply);
	return code;
}

const struct cli_command cli_resize = {
    .name = "resize",
    .run = resize,
    .help = "Usage: pvgpu resize WIDTHxHEIGHT [OPTIONS]\n"
	    "       pvgpu resize --off [OPTIONS]\n"
	    "\n"
	    "Offers the guest another size for a head, as if another monitor was plugged in; --off unplugs it.\n"
	    "Refused where the VMM shows the screen in a window of its own: there resize that.\n"
	    "\n"
	    "  -s, --scanout=N      the head, from 0; default 0\n" INSTANCE_HELP "\n"
	    "Examples:\n"
	    "  pvgpu resize 1920x1080\n"
	    "  pvgpu resize --off --scanout=1\n",
};

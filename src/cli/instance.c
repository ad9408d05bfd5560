/* SPDX-License-Identifier: MIT */
/* Finding the device that a command is about, and asking it. */
#include "cli/cli.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "pv/control.h"

/* A screenshot of the largest picture takes a while. */
#define TIMEOUT_MS       30000
#define PROBE_TIMEOUT_MS 2000
#define MAX_LISTED       16

static char *join_path(const char *directory, const char *name)
{
	size_t size = strlen(directory) + strlen(name) + sizeof("/.sock");
	char *path = malloc(size);

	if (path)
		snprintf(path, size, "%s/%s.sock", directory, name);
	return path;
}

char *cli_control_path(const char *name, bool create_directory)
{
	char *directory = NULL, *path = NULL;

	/* On failure it has been logged. */
	if (pv_control_directory(create_directory, &directory) == PV_OK)
		path = join_path(directory, name);
	pv_free(directory);
	return path;
}

static bool answers(const char *path)
{
	char *reply = NULL;
	int32_t fd = -1;

	if (pv_control_call(path, "{\"command\":\"outputs\"}", PROBE_TIMEOUT_MS, &reply, &fd) != PV_OK)
		return false;
	if (fd >= 0)
		close(fd);
	pv_free(reply);
	return true;
}

/* The path of the only device that runs; NULL: none, or several; said so. */
static char *only_instance(void)
{
	char *directory = NULL, *found = NULL, names[1024] = "";
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir = NULL;

	if (pv_control_directory(false, &directory) == PV_OK)
		dir = opendir(directory);
	while (dir && (entry = readdir(dir)) && count < MAX_LISTED) {
		size_t len = strlen(entry->d_name), used = strlen(names);
		char *path;

		if (len < 6 || strcmp(entry->d_name + len - 5, ".sock") != 0)
			continue;
		entry->d_name[len - 5] = '\0';
		path = join_path(directory, entry->d_name);
		if (!path || !answers(path)) {
			free(path);
			continue;
		}
		free(found);
		found = path;
		count++;
		snprintf(names + used, sizeof(names) - used, "%s--name=%s", used ? ", " : "", entry->d_name);
	}
	if (dir)
		closedir(dir);
	if (count == 0)
		cli_error("start one: pvgpu vhost-user --socket-path=PATH; or name its control socket: --control=PATH",
			  "no device of this user is running (looked in %s)", directory ? directory : "no directory");
	else if (count > 1)
		cli_error(names, "several devices are running, say which one:");
	pv_free(directory);
	if (count == 1)
		return found;
	free(found);
	return NULL;
}

static char *instance_path(const struct cli_instance *instance)
{
	if (instance->control)
		return strdup(instance->control);
	if (instance->name)
		return cli_control_path(instance->name, false);
	return only_instance();
}

static int judge(const char *text, yyjson_doc **out_reply)
{
	yyjson_doc *reply = yyjson_read(text, strlen(text), 0);
	yyjson_val *root = yyjson_doc_get_root(reply);

	if (yyjson_get_bool(yyjson_obj_get(root, "ok"))) {
		*out_reply = reply;
		return CLI_OK;
	}
	const char *error = yyjson_get_str(yyjson_obj_get(root, "error"));
	cli_error(NULL, "%s", error ? error : "the device's reply makes no sense");
	yyjson_doc_free(reply);
	return CLI_FAILED;
}

int cli_ask(const struct cli_instance *instance, struct yyjson_mut_doc *request, struct yyjson_doc **out_reply,
	    int *out_fd)
{
	char *path, *line = NULL, *text = NULL;
	int code = CLI_FAILED;
	enum pv_status status;
	int32_t fd = -1;

	if (instance->name && !cli_is_name(instance->name)) {
		cli_error(NULL, "--name=%s: names have letters, digits, dots, dashes and underscores", instance->name);
		return CLI_USAGE;
	}
	path = instance_path(instance);
	if (!path)
		return CLI_FAILED;
	line = yyjson_mut_write(request, 0, NULL);
	if (!line) {
		cli_error(NULL, "out of memory");
		goto out;
	}
	status = pv_control_call(path, line, TIMEOUT_MS, &text, &fd);
	if (status == PV_ERR_PEER)
		cli_error("it may be busy or stopped: see the log of its process", "the device at %s does not answer",
			  path);
	else if (status != PV_OK)
		cli_error("is it running, as this user? see what does: pvgpu status", "no device answers at %s", path);
	else
		code = judge(text, out_reply);
	if (out_fd && code == CLI_OK)
		*out_fd = fd;
	else if (fd >= 0)
		close(fd);
out:
	pv_free(text);
	free(line);
	free(path);
	return code;
}

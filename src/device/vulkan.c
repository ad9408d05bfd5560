/* SPDX-License-Identifier: MIT */
/* The host's Vulkan devices as JSON. */
#include "pv/vulkan.h"

#include <stdio.h>

#include "device/device.h"
#include "device/vulkan.h"

static const char *type_name(VkPhysicalDeviceType type)
{
	switch (type) {
	case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
		return "integrated";
	case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
		return "discrete";
	case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
		return "virtual";
	case VK_PHYSICAL_DEVICE_TYPE_CPU:
		return "cpu";
	default:
		return "other";
	}
}

static void add_version(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, uint32_t version)
{
	char text[48];

	snprintf(text, sizeof(text), "%u.%u.%u", VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
		 VK_API_VERSION_PATCH(version));
	yyjson_mut_obj_add_strcpy(doc, object, key, text);
}

static void add_uuid(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, const uint8_t uuid[VK_UUID_SIZE])
{
	char text[2 * VK_UUID_SIZE + 5], *at = text;

	for (size_t i = 0; i < VK_UUID_SIZE; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += snprintf(at, 3, "%02x", uuid[i]);
	}
	yyjson_mut_obj_add_strcpy(doc, object, key, text);
}

/* A driver's text may be anything; JSON is UTF-8. */
static void add_text(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, const char *from, size_t size)
{
	char text[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE + 1];
	size_t len = 0;

	for (; len < size && len < sizeof(text) - 1 && from[len]; len++)
		text[len] = from[len] >= 0x20 && from[len] < 0x7f ? from[len] : '?';
	text[len] = '\0';
	yyjson_mut_obj_add_strcpy(doc, object, key, text);
}

void pv_vulkan_describe(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct pv_venus_host_device *device)
{
	const VkPhysicalDeviceProperties *properties = &device->properties;

	yyjson_mut_obj_add_uint(doc, object, "index", device->index);
	add_text(doc, object, "name", properties->deviceName, sizeof(properties->deviceName));
	yyjson_mut_obj_add_str(doc, object, "type", type_name(properties->deviceType));
	add_text(doc, object, "driver", device->driver.driverName, sizeof(device->driver.driverName));
	add_text(doc, object, "driver_info", device->driver.driverInfo, sizeof(device->driver.driverInfo));
	yyjson_mut_obj_add_uint(doc, object, "vendor_id", properties->vendorID);
	yyjson_mut_obj_add_uint(doc, object, "device_id", properties->deviceID);
	add_uuid(doc, object, "device_uuid", device->id.deviceUUID);
	add_uuid(doc, object, "driver_uuid", device->id.driverUUID);
	add_version(doc, object, "api_version", properties->apiVersion);
	yyjson_mut_obj_add_uint(doc, object, "memory_bytes", device->device_local_bytes);
}

static void add_guest(yyjson_mut_doc *doc, yyjson_mut_val *entry, const struct pv_venus_host_device *device)
{
	yyjson_mut_val *guest = yyjson_mut_obj_add_obj(doc, entry, "guest"), *extensions;

	add_version(doc, guest, "api_version", device->api_version);
	extensions = yyjson_mut_obj_add_arr(doc, guest, "extensions");
	for (uint32_t i = 0; i < device->nr_extensions; i++)
		yyjson_mut_arr_add_strcpy(doc, extensions, device->extensions[i].extensionName);
	yyjson_mut_obj_add_uint(doc, guest, "queue_families", device->nr_queue_families);
	yyjson_mut_obj_add_uint(doc, guest, "memory_types", device->memory.memoryTypeCount);
	yyjson_mut_obj_add_bool(doc, guest, "shared_memory", device->importable_types != 0);
	yyjson_mut_obj_add_bool(doc, guest, "portability_subset", device->portability_subset);
}

static char *list(const struct pv_venus_host *host)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	/* Every call takes what a failed one before it left, and does nothing. */
	yyjson_mut_val *root = yyjson_mut_obj(doc), *array = yyjson_mut_obj_add_arr(doc, root, "devices");
	const struct pv_venus_host_device *devices, *chosen;
	const char *why = NULL;
	size_t count = 0;
	char *json = NULL;

	devices = pv_venus_host_devices(host, &count);
	for (size_t i = 0; i < count; i++) {
		yyjson_mut_val *entry = yyjson_mut_arr_add_obj(doc, array);

		pv_vulkan_describe(doc, entry, &devices[i]);
		yyjson_mut_obj_add_bool(doc, entry, "usable", !devices[i].refusal);
		if (devices[i].refusal)
			yyjson_mut_obj_add_str(doc, entry, "refusal", devices[i].refusal);
		else
			add_guest(doc, entry, &devices[i]);
	}
	chosen = pv_venus_host_chosen(host, &why);
	if (chosen) {
		yyjson_mut_obj_add_uint(doc, root, "chosen", chosen->index);
	} else {
		yyjson_mut_obj_add_null(doc, root, "chosen");
		yyjson_mut_obj_add_str(doc, root, "why_none", why);
	}
	yyjson_mut_doc_set_root(doc, root);
	if (doc)
		json = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	return json;
}

enum pv_status pv_vulkan_devices(const struct pv_vulkan_devices_params *from, char **out_json)
{
	struct pv_vulkan_devices_params params;
	struct pv_venus_host *host = NULL;
	enum pv_status status;
	char *json;

	if (!pv_params_read(&params, sizeof(params), from, from->struct_size))
		return PV_ERR_ARGUMENT;
	const struct pv_venus_host_params host_params = {.emulate_portability = params.emulate_portability,
							 .all = true};
	status = pv_venus_host_create(&host_params, &host);
	if (status != PV_OK)
		return status;
	json = list(host);
	pv_venus_host_destroy(host);
	if (!json)
		return PV_ERR_NO_MEMORY;
	*out_json = json;
	return PV_OK;
}

/* SPDX-License-Identifier: MIT */
#include "venus/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "venus/host_probe.h"

static const char module[] = "venus";

struct pv_venus_host {
	/*
	 * An instance that lives as long as this: it keeps the drivers loaded between the guests' own instances.
	 * Loading takes milliseconds, and NVIDIA's 580 cannot be loaded again after some thirty times.
	 */
	struct pv_venus_probe probe;
	struct pv_venus_host_device *devices; /* best first */
	size_t nr_devices;
	const struct pv_venus_host_device *chosen;
	const char *why;
};

/* The devices in the driver's order, before and while they are sorted. */
struct candidate {
	struct pv_venus_host_device device;
	VkPhysicalDevice handle;
};

static bool alike(const struct pv_venus_host_device *a, const VkPhysicalDeviceProperties *properties,
		  const VkPhysicalDeviceIDProperties *id)
{
	return a->properties.vendorID == properties->vendorID && a->properties.deviceID == properties->deviceID &&
	       memcmp(a->id.deviceUUID, id->deviceUUID, VK_UUID_SIZE) == 0 &&
	       memcmp(a->id.driverUUID, id->driverUUID, VK_UUID_SIZE) == 0 &&
	       strcmp(a->properties.deviceName, properties->deviceName) == 0;
}

static int type_rank(VkPhysicalDeviceType type)
{
	switch (type) {
	case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
		return 0;
	case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
		return 1;
	case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
		return 2;
	case VK_PHYSICAL_DEVICE_TYPE_CPU:
		return 4;
	default:
		return 3;
	}
}

static bool better(const struct candidate *a, const struct candidate *b)
{
	if (!a->device.refusal != !b->device.refusal)
		return !a->device.refusal;
	return type_rank(a->device.properties.deviceType) < type_rank(b->device.properties.deviceType);
}

/* Stable, so that equals stay in the driver's order. There are few. */
static void sort(struct candidate *candidates, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct candidate moved = candidates[i];
		size_t at = i;

		for (; at > 0 && better(&moved, &candidates[at - 1]); at--)
			candidates[at] = candidates[at - 1];
		candidates[at] = moved;
	}
}

static bool contains_ignoring_case(const char *text, const char *part)
{
	size_t len = strlen(part);

	for (; *text; text++)
		if (strncasecmp(text, part, len) == 0)
			return true;
	return false;
}

static bool parse_index(const char *text, size_t *out)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end)
		return false;
	*out = value;
	return true;
}

/* The one to be tried; NULL: there is none. */
static struct candidate *choose(struct candidate *candidates, size_t count, const char *wanted, const char **why)
{
	size_t index;

	if (count == 0) {
		*why = "there is no Vulkan device on this host: a driver package is missing, or its device node is out "
		       "of reach";
		return NULL;
	}
	if (wanted && parse_index(wanted, &index)) {
		if (index < count)
			return &candidates[index];
		*why = "there is no device of that number";
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		bool named = wanted && contains_ignoring_case(candidates[i].device.properties.deviceName, wanted);

		if (wanted ? named : !candidates[i].device.refusal)
			return &candidates[i];
	}
	*why = wanted ? "no device's name contains that" : candidates[0].device.refusal;
	return NULL;
}

static void finish_device(struct pv_venus_host_device *device)
{
	free(device->extensions);
	free(device->queue_families);
}

static enum pv_status list(const struct pv_venus_probe *probe, struct candidate **out, size_t *out_count)
{
	VkPhysicalDevice *handles = NULL;
	struct candidate *candidates = NULL;
	uint32_t count = 0;
	enum pv_status status = PV_ERR_HOST;

	if (probe->list(probe->instance, &count, NULL) != VK_SUCCESS)
		count = 0; /* Loaders say VK_ERROR_INITIALIZATION_FAILED when no driver has a device. */
	handles = calloc(count + 1, sizeof(*handles));
	candidates = calloc(count + 1, sizeof(*candidates));
	if (!handles || !candidates) {
		status = PV_ERR_NO_MEMORY;
		goto out;
	}
	if (count > 0 && probe->list(probe->instance, &count, handles) < 0)
		goto out;
	for (uint32_t i = 0; i < count; i++) {
		candidates[i].handle = handles[i];
		pv_venus_probe_identify(probe, handles[i], &candidates[i].device);
		for (uint32_t k = 0; k < i; k++)
			if (alike(&candidates[k].device, &candidates[i].device.properties, &candidates[i].device.id))
				candidates[i].device.nr_alike_before++;
	}
	sort(candidates, count);
	*out = candidates;
	*out_count = count;
	candidates = NULL;
	status = PV_OK;
out:
	free(handles);
	free(candidates);
	return status;
}

enum pv_status pv_venus_host_create(const struct pv_venus_host_params *params, struct pv_venus_host **out)
{
	struct pv_venus_host *host = calloc(1, sizeof(*host));
	struct candidate *candidates = NULL, *chosen = NULL;
	size_t count = 0;
	enum pv_status status;

	if (!host)
		return PV_ERR_NO_MEMORY;
	status = pv_venus_probe_init(&host->probe);
	if (status == PV_OK)
		status = list(&host->probe, &candidates, &count);
	if (status != PV_OK)
		goto out;

	for (size_t i = 0; i < count; i++) {
		struct pv_venus_host_device *device = &candidates[i].device;

		device->index = (uint32_t)i;
		device->emulate_portability = params->emulate_portability;
		device->max_memory_bytes = params->max_memory_bytes;
		device->dma_buf = params->dma_buf;
		device->virtual_gpu = params->virtual_gpu;
		if (params->all && !device->refusal)
			pv_venus_probe_device(&host->probe, candidates[i].handle, device);
	}
	/* A device found wanting when looked at closely makes room for the next, unless it was asked for. */
	while ((chosen = choose(candidates, count, params->device, &host->why))) {
		if (!chosen->device.refusal && !chosen->device.probed)
			pv_venus_probe_device(&host->probe, chosen->handle, &chosen->device);
		if (!chosen->device.refusal)
			break;
		host->why = chosen->device.refusal;
		if (params->device) {
			chosen = NULL;
			break;
		}
	}

	host->devices = calloc(count + 1, sizeof(*host->devices));
	if (!host->devices) {
		for (size_t i = 0; i < count; i++)
			finish_device(&candidates[i].device);
		status = PV_ERR_NO_MEMORY;
		goto out;
	}
	host->nr_devices = count;
	for (size_t i = 0; i < count; i++)
		host->devices[i] = candidates[i].device;
	if (chosen)
		host->chosen = &host->devices[chosen - candidates];
	*out = host;
	host = NULL;
out:
	free(candidates);
	pv_venus_host_destroy(host);
	return status;
}

void pv_venus_host_destroy(struct pv_venus_host *host)
{
	if (!host)
		return;
	for (size_t i = 0; host->devices && i < host->nr_devices; i++)
		finish_device(&host->devices[i]);
	free(host->devices);
	pv_venus_probe_finish(&host->probe);
	free(host);
}

const struct pv_venus_host_device *pv_venus_host_devices(const struct pv_venus_host *host, size_t *out_count)
{
	*out_count = host->nr_devices;
	return host->devices;
}

const struct pv_venus_host_device *pv_venus_host_chosen(const struct pv_venus_host *host, const char **out_why)
{
	*out_why = host->chosen ? NULL : host->why;
	return host->chosen;
}

VkPhysicalDevice pv_venus_host_device_find(const struct pv_venus_host_device *device, VkInstance instance,
					   PFN_vkEnumeratePhysicalDevices list_devices,
					   PFN_vkGetPhysicalDeviceProperties2 get)
{
	VkPhysicalDevice handles[64], found = VK_NULL_HANDLE;
	uint32_t count = PV_ARRAY_LEN(handles), alike_before = 0;

	if (list_devices(instance, &count, handles) < 0)
		return VK_NULL_HANDLE;
	for (uint32_t i = 0; i < count && !found; i++) {
		VkPhysicalDeviceIDProperties id = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
		VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
							  .pNext = &id};

		get(handles[i], &properties);
		if (!alike(device, &properties.properties, &id))
			continue;
		if (alike_before++ == device->nr_alike_before)
			found = handles[i];
	}
	if (!found)
		pv_log(PV_LOG_ERROR, module, "the host's device \"%s\" is gone", device->properties.deviceName);
	return found;
}

uint64_t pv_venus_host_device_importable_bytes(const struct pv_venus_host_device *device)
{
	uint64_t largest = 0;

	for (uint32_t i = 0; i < device->memory.memoryTypeCount; i++) {
		uint64_t size = device->memory.memoryHeaps[device->memory.memoryTypes[i].heapIndex].size;

		if ((device->importable_types & (1u << i)) && size > largest)
			largest = size;
	}
	return largest;
}

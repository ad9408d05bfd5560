/* SPDX-License-Identifier: MIT */
/*
 * The context's instance. It is created for Vulkan 1.4 whatever the guest asks for: what its application may use is for
 * the guest's driver to say, and that driver may call any function of the versions we show it.
 */
#include <string.h>

#include "base/log.h"
#include "venus/handler.h"
#include "venus/host.h"
#include "venus/host_probe.h"

static const char module[] = "venus";

void pv_venus_context_init_vulkan(struct pv_venus_context *context, const struct pv_venus_host_device *host_device)
{
	context->host_device = host_device;
	pv_mutex_init(&context->vulkan_lock);
}

/* There is one for the context's life: false if there was one already. */
static bool claim_instance(struct pv_venus_context *context)
{
	bool claimed;

	pv_mutex_lock(&context->vulkan_lock);
	claimed = !context->has_instance;
	context->has_instance = true;
	pv_mutex_unlock(&context->vulkan_lock);
	return claimed;
}

static void unclaim_instance(struct pv_venus_context *context)
{
	pv_mutex_lock(&context->vulkan_lock);
	context->has_instance = false;
	pv_mutex_unlock(&context->vulkan_lock);
}

static VkResult create_host_instance(struct pv_venus_context *context, const VkInstanceCreateInfo *guests)
{
	const char *names[1];
	VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO};
	VkInstanceCreateInfo info = {
	    .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
	    .pApplicationInfo = &application,
	    .ppEnabledExtensionNames = names,
	};
	VkResult result;

	if (guests->enabledLayerCount > 0)
		return VK_ERROR_LAYER_NOT_PRESENT;
	if (guests->enabledExtensionCount > 0)
		return VK_ERROR_EXTENSION_NOT_PRESENT;
	/* Drivers know programs by name, and work around their faults. */
	if (guests->pApplicationInfo) {
		application = *guests->pApplicationInfo;
		application.pNext = NULL;
	}
	application.apiVersion = VK_API_VERSION_1_4;
	info.enabledExtensionCount = pv_venus_host_instance_extensions(names, &info.flags);
	result = vkCreateInstance(&info, NULL, &context->instance);
	if (result != VK_SUCCESS) {
		context->instance = VK_NULL_HANDLE;
		return result;
	}
	pv_venus_instance_functions_load(&context->instance_fn, vkGetInstanceProcAddr, context->instance);
	context->physical_device = pv_venus_host_device_find(context->host_device, context->instance,
							     context->instance_fn.EnumeratePhysicalDevices,
							     context->instance_fn.GetPhysicalDeviceProperties2);
	return VK_SUCCESS;
}

void pv_venus_handle_vkCreateInstance(struct pv_venus_decoder *d, struct pv_venus_args_vkCreateInstance *args)
{
	struct pv_venus_context *context = d->context;
	struct pv_venus_object_info info = {.id = args->pInstance_id, .type = PV_VENUS_INSTANCE};
	struct pv_venus_object *object;

	pv_venus_check_new_id(d, args->pInstance_id, "vkCreateInstance.pInstance");
	if (d->failed)
		return;
	if (!claim_instance(context)) {
		pv_venus_fail(d, "vkCreateInstance", "the context has, or had, an instance", args->pInstance_id);
		return;
	}
	args->ret = create_host_instance(context, args->pCreateInfo);
	if (args->ret != VK_SUCCESS) {
		PV_LOG_LIMITED(PV_LOG_WARNING, module, "context %u: vkCreateInstance: VkResult %d", context->id,
			       args->ret);
		unclaim_instance(context);
		return;
	}
	info.handle = PV_VENUS_HANDLE(context->instance);
	if (pv_venus_object_add(d->objects, &info, &object) != PV_OK) {
		/* The host's instance goes with the context. */
		pv_venus_fail(d, "vkCreateInstance.pInstance", "the id is taken", args->pInstance_id);
		return;
	}
	pv_mutex_lock(&context->vulkan_lock);
	context->instance_object = object;
	pv_mutex_unlock(&context->vulkan_lock);
	*args->pInstance = context->instance;
}

/* Devices that are left are not waited for here: they, and the host's instance, go with the context. */
void pv_venus_handle_vkDestroyInstance(struct pv_venus_decoder *d, struct pv_venus_args_vkDestroyInstance *args)
{
	struct pv_venus_context *context = d->context;
	struct pv_venus_object_info ignored;

	pv_mutex_lock(&context->vulkan_lock);
	context->instance_object = NULL;
	pv_mutex_unlock(&context->vulkan_lock);
	if (pv_venus_object_remove(d->objects, args->instance_object, &ignored))
		while (pv_venus_object_remove_child(d->objects, args->instance_object, &ignored))
			;
}

void pv_venus_handle_vkEnumerateInstanceVersion(struct pv_venus_decoder *d,
						struct pv_venus_args_vkEnumerateInstanceVersion *args)
{
	(void)d;
	args->ret = VK_SUCCESS;
	*args->pApiVersion = VK_MAKE_API_VERSION(0, 1, 4, VK_API_VERSION_PATCH(PV_VENUS_VK_XML_VERSION));
}

void pv_venus_handle_vkEnumerateInstanceExtensionProperties(
    struct pv_venus_decoder *d, struct pv_venus_args_vkEnumerateInstanceExtensionProperties *args)
{
	static const VkExtensionProperties extensions[] = {
	    {"VK_EXT_command_serialization", 1},
	    {"VK_MESA_venus_protocol", 4},
	};
	uint32_t written = pv_venus_list(PV_ARRAY_LEN(extensions), args->pProperties, args->pPropertyCount, &args->ret);

	(void)d;
	for (uint32_t i = 0; i < written; i++)
		args->pProperties[i] = extensions[i];
}

void pv_venus_context_release_vulkan(struct pv_venus_context *context)
{
	struct pv_venus_object_info ignored;

	/* No thread of the context is left: the lock is not needed, but for the analysis of it. */
	while (context->devices) {
		struct pv_venus_device *device = context->devices;

		context->devices = device->next;
		pv_venus_device_destroy(device);
	}
	if (context->instance_object && pv_venus_object_remove(context->objects, context->instance_object, &ignored))
		while (pv_venus_object_remove_child(context->objects, context->instance_object, &ignored))
			;
	context->instance_object = NULL;
	pv_venus_context_free_devices(context);
	if (context->instance)
		context->instance_fn.DestroyInstance(context->instance, NULL);
	context->instance = VK_NULL_HANDLE;
	pv_mutex_finish(&context->vulkan_lock);
}

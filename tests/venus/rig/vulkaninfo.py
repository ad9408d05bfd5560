# SPDX-License-Identifier: MIT
"""What vulkaninfo prints, as a flat dictionary, and which differences between the host's and the guest's are right."""

import re

# Extensions of the host that a guest does not see, and why.
HIDDEN = {
    **dict.fromkeys((
        "VK_AMDX_shader_enqueue", "VK_ANDROID_external_memory_android_hardware_buffer", "VK_EXT_descriptor_buffer",
        "VK_EXT_device_generated_commands", "VK_EXT_memory_priority", "VK_EXT_pageable_device_local_memory",
        "VK_EXT_primitive_restart_index", "VK_EXT_shader_object", "VK_EXT_ycbcr_image_arrays",
        "VK_EXT_zero_initialize_device_memory", "VK_KHR_copy_memory_indirect", "VK_KHR_maintenance8", "VK_KHR_maintenance9",
        "VK_KHR_maintenance10", "VK_KHR_unified_image_layouts", "VK_NV_cooperative_matrix2"),
        "Mesa's venus does not know it"),
    "VK_EXT_memory_budget": "Mesa's venus shows it with VN_DEBUG=mem_budget only",
    "VK_EXT_external_memory_host": "it is what the memory of guests is imported with",
    **dict.fromkeys(("VK_EXT_external_memory_dma_buf", "VK_KHR_external_fence_fd", "VK_KHR_external_memory_fd",
                     "VK_KHR_external_semaphore_fd"), "vtest passes no such fd"),
}
# Extensions of the guest that its driver makes itself.
GUESTS_OWN = {"VK_EXT_device_memory_report", "VK_EXT_map_memory_placed", "VK_EXT_physical_device_drm", "VK_KHR_present_id",
              "VK_KHR_present_id2", "VK_KHR_present_wait", "VK_KHR_present_wait2"}
# Keys that may differ: pattern and reason.
DIFFERENT = [
    (r"/Device Extensions$", "a count; each one is looked at"),
    (r"^(Instance Extensions|Layers|Device Properties and Extensions/Layers|Presentable|Device Groups)",
     "of the loader, of layers, or named after the device"),
    (r"VkPhysicalDeviceProperties/(apiVersion|driverVersion|deviceName|pipelineCacheUUID)$", "the guest's driver's own"),
    (r"/(deviceUUID|driverUUID|driverID|driverName|driverInfo|shaderBinaryUUID|conformanceVersion/\w+)$", "the guest's driver's own"),
    (r"LayeredApi", "where the guest's driver tells what is behind it"),
    (r"/(budget|usage)$", "see VK_EXT_memory_budget"),
    (r"VkPhysicalDevice(DescriptorBuffer|DeviceGeneratedCommands|ShaderObject|ExternalMemoryHost|MemoryPriority|"
     r"PageableDeviceLocalMemory|YcbcrImageArrays|Drm|DeviceMemoryReport|MapMemoryPlaced|PresentId|PresentWait|"
     r"CooperativeMatrix2|Maintenance8|Maintenance9|Maintenance10|CopyMemoryIndirect|ShaderEnqueue|UnifiedImageLayouts|"
     r"PrimitiveRestartIndex|ZeroInitializeDeviceMemory)\w*(/|$)", "of an extension above"),
]


def parse(text):
    """Each value by the path of headings and fields above it."""
    values, stack = {}, []
    lines = text.splitlines()

    def put(key, value):
        while key in values:
            key += "+"
        values[key] = value

    for at, line in enumerate(lines):
        word = line.strip()
        depth = len(line) - len(line.lstrip("\t"))
        below = lines[at + 1] if at + 1 < len(lines) else ""
        if not word or re.fullmatch(r"[=-]+", word):
            continue
        if re.fullmatch(r"\s*[=-]{3,}", below):
            # A heading of the outermost kind stays until the next.
            outer = below.strip()[0] == "=" and depth == 0
            stack = [] if outer else [entry for entry in stack if entry[0] < depth]
            stack.append((-1 if outer else depth, word.rstrip(":")))
            continue
        stack = [entry for entry in stack if entry[0] < depth or entry[0] == -1]
        path = "/".join(entry[1] for entry in stack)
        field = re.match(r"\s*([\w\[\]() .]+?)\s*[=:]\s*(.*)$", line)
        if field and field.group(2):
            put(f"{path}/{field.group(1)}", field.group(2))
        elif word.endswith(":"):
            stack.append((depth, word.rstrip(":")))
        else:
            put(f"{path}/{word}", "")
    return values


def extensions(values):
    return {key.rpartition("/")[2]: value for key, value in values.items()
            if key.startswith("Device Properties and Extensions/VK_")}


def unexplained(host, guest):
    """Lines about what differs and should not."""
    lines = []
    for key in sorted(set(host) | set(guest)):
        if host.get(key) == guest.get(key):
            continue
        name = key.rpartition("/")[2]
        if key.startswith("Device Properties and Extensions/VK_"):
            right = (guest.get(key) is None and name in HIDDEN) or (host.get(key) is None and name in GUESTS_OWN)
        else:
            right = any(re.search(pattern, key) for pattern, _ in DIFFERENT)
        if not right:
            lines.append(f"{key}: host {host.get(key)!r}, guest {guest.get(key)!r}")
    return lines

# SPDX-License-Identifier: MIT
"""A driver that does nothing, for tests of the codec: null_functions.c, behind src/venus/null_driver.h."""

import headers
import protocol
from headers import BANNER, object_type

# null_driver.c has these.
BY_HAND = """
vkSetReplyCommandStreamMESA vkSeekReplyCommandStreamMESA vkExecuteCommandStreamsMESA
vkCreateInstance vkEnumeratePhysicalDevices vkCreateDevice vkDestroyDevice vkDestroyInstance
vkFreeMemory vkFreeCommandBuffers vkFreeDescriptorSets vkDestroyCommandPool vkDestroyDescriptorPool vkResetDescriptorPool
""".split()


def stub(codec, command):
    """The driver's function."""
    name = command.name
    parameters = ", ".join(field.declaration for field in command.command.params)
    lines = [f"static {command.command.returns} VKAPI_CALL null_{name}({parameters})", "{"]
    made = [item for item in command.request if headers.is_created(item)]
    lines += [f"\t(void){field.name};" for field in command.command.params]
    lines.append("\tpv_venus_null.nr_calls++;")
    for item in made:
        target = f"*{item.name}" if item.kind == "pointer" else f"{item.name}[i]"
        if item.kind == "array":
            lines.append(f"\tfor (uint32_t i = 0; i < {item.length}; i++)")
        condition = "pv_venus_null.result >= 0 ? " if command.command.returns == "VkResult" else ""
        other = " : VK_NULL_HANDLE" if condition else ""
        lines.append(f"\t{target} = {condition}({item.type})(uintptr_t)++pv_venus_null.last_handle{other};")
    if command.command.returns == "VkResult":
        lines.append("\treturn pv_venus_null.result;")
    elif command.command.returns != "void":
        lines.append("\treturn 0;")
    return lines + ["}", ""]


def handler(codec, command):
    """In place of our own code."""
    name = command.name
    lines = [f"void pv_venus_handle_{name}(struct pv_venus_decoder *d, struct pv_venus_args_{name} *args)", "{", "\t(void)d;"]
    lines.append("\tpv_venus_null.nr_calls++;")
    if command.command.returns == "VkResult":
        lines.append("\targs->ret = pv_venus_null.result;")
    else:
        lines.append("\t(void)args;")
    pool = "pool_object" if any(item.kind == "pointer" and item.type in protocol.POOL_MEMBERS for item in command.request) else None
    for item in command.request:
        if not headers.is_created(item):
            continue
        owner = pool or "device_object"
        result = "args->ret" if command.command.returns == "VkResult" else "VK_SUCCESS"
        call = f"pv_venus_null_make(d, {object_type(item.type)}, %s, {result}, args->{owner})"
        if item.kind == "pointer":
            lines.append(f"\t*args->{item.name} = ({item.type})(uintptr_t)" + call % f"args->{item.name}_id" + ";")
        else:
            lines.append(f"\tfor (uint32_t i = 0; i < args->{item.length}; i++)")
            lines.append(f"\t\targs->{item.name}[i] = ({item.type})(uintptr_t)" + call % f"args->{item.name}_ids[i]" + ";")
    return lines + ["}", ""]


def functions_c(codec):
    wire = codec.wire
    lines = [BANNER + "#include \"venus/null_driver.h\"\n\n#include \"venus/generated/commands.h\"\n"]
    instance, device = [], []
    for command in codec.commands:
        if command.name in protocol.HANDLERS:
            if command.name not in BY_HAND:
                lines += handler(codec, command)
            continue
        lines += stub(codec, command)
        first = command.command.params[0].type
        (instance if first in ("VkInstance", "VkPhysicalDevice") else device).append(command.name)
    for table, names in (("instance", instance), ("device", device)):
        lines += [f"void pv_venus_null_{table}_functions(struct pv_venus_{table}_functions *fn)", "{", "\tmemset(fn, 0, sizeof(*fn));"]
        lines += [f"\tfn->{name[2:]} = null_{name};" for name in names]
        lines += ["}", ""]
    return "\n".join(lines)

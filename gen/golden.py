# SPDX-License-Identifier: MIT
"""What is committed of the generator's output, so that a change of it shows as a diff: gen/golden/."""

import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE / "golden"

# Enough to see what each part of the generator does.
SAMPLE = ["vkCmdDraw", "vkCreateBufferView", "vkCreateImage", "vkAllocateMemory", "vkAllocateCommandBuffers", "vkDestroyBuffer",
          "vkGetPipelineCacheData", "vkCreateComputePipelines", "vkGetPhysicalDeviceProperties2",
          "VkBufferViewCreateInfo", "VkImageCreateInfo", "VkMemoryAllocateInfo", "VkCommandBufferAllocateInfo",
          "VkPhysicalDeviceProperties2", "VkClearValue", "VkAccelerationStructureGeometryDataKHR"]


def layout(model):
    """Every command and struct as it is on the wire."""
    return model.text()


def sample(files):
    """The functions of SAMPLE, from the generated files."""
    text = "\n".join(files[name] for name in sorted(files) if name.startswith(("commands_", "structs_")) and name.endswith(".c"))
    parts = []
    for name in SAMPLE:
        # From a line in the first column to the closing brace there.
        pattern = rf"^(?:static )?(?:bool|void) \w*_{name}\([^;{{]*\)\n{{\n.*?^}}\n"
        found = re.findall(pattern, text, flags=re.M | re.S)
        assert found, name
        parts += found
    return "\n".join(parts)


def counts(text):
    """(commands, structs) of a layout."""
    return len(re.findall(r"^CMD ", text, flags=re.M)), len(re.findall(r"^STRUCT ", text, flags=re.M))


def read(name):
    return (GOLDEN / name).read_text(encoding="ascii")


def blocks(text):
    """Layouts by command or struct. Promotion changes names, so they are compared without the ends that name an author."""
    result, current = {}, None
    for line in text.splitlines():
        line = re.sub(r"\b(Vk\w+?)(?:KHR|EXT)\b", r"\1", line)
        if not line.startswith(" "):
            words = line.split()
            # The sType with the name: of two structs that are alike by name only.
            current = result[" ".join(words if words[0] == "STRUCT" else words[:2])] = [line]
        else:
            kind, _, rest = line.strip().partition(":")
            current.append((kind, sorted(set(rest.strip().split(", "))) if kind == "pnext" else rest.strip()))
    return result


def differences(model):
    """What a registry makes of the protocol, against what is committed. Lines for people; none: all is well.

    Of an older registry things may be missing. What is there must be the same: the wire does not change.
    """
    old, new = blocks(read("layout.txt")), blocks(layout(model))
    older = model.registry.header_version < NEWEST
    result = [f"new: {name}" for name in new if name not in old]
    for name, lines in old.items():
        if name not in new:
            if not older:
                result.append(f"gone: {name}")
            continue
        for was, now in zip(lines, new[name]):
            if was != now and not (older and was[0] == now[0] == "pnext" and set(now[1]) <= set(was[1]) | {"(none)"}):
                result.append(f"{name}:\n  was {was}\n  is  {now}")
        if len(lines) != len(new[name]) and not older:
            result.append(f"{name}: has other modes now")
    return result


NEWEST = 343

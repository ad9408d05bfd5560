# SPDX-License-Identifier: MIT
"""From the registry to what is on the wire (wire format 1).

A struct has up to three layouts: "in" (guest to host, whole), "in~" (guest to host, of a struct that the host is to
fill: what is needed to make room for it) and "out" (host to guest, whole). A command has a request and a reply. Each
layout is a list of Items in wire order.
"""

import csv
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent

# What vk.xml calls a type, by size on the wire; and its name in a layout.
SCALARS = {
    "uint8_t": ("u8(pad4)", 4), "uint16_t": ("u16(pad4)", 4), "uint32_t": ("u32", 4), "int32_t": ("i32", 4),
    "uint64_t": ("u64", 8), "int64_t": ("i64", 8), "size_t": ("size(u64)", 8), "float": ("f32", 4),
    "VkBool32": ("b32", 4), "VkSampleMask": ("u32", 4), "VkFlags": ("u32", 4), "VkFlags64": ("u64", 8),
    "VkDeviceSize": ("u64", 8), "VkDeviceAddress": ("u64", 8), "VkResult": ("i32(VkResult)", 4),
}

# Commands that have an id but no encoding: the guest implements them itself.
NO_ENCODING = {
    "vkGetInstanceProcAddr": "returns a function", "vkGetDeviceProcAddr": "returns a function",
    "vkMapMemory": "the guest maps blobs", "vkMapMemory2": "the guest maps blobs",
    "vkUpdateDescriptorSetWithTemplate": "the guest sends vkUpdateDescriptorSets",
    "vkCmdPushDescriptorSetWithTemplate": "the guest sends vkCmdPushDescriptorSet",
    "vkCmdPushDescriptorSetWithTemplate2": "the guest sends vkCmdPushDescriptorSet2",
    "vkGetMemoryFdKHR": "file descriptors", "vkGetMemoryFdPropertiesKHR": "file descriptors",
    "vkImportFenceFdKHR": "file descriptors", "vkGetFenceFdKHR": "file descriptors",
    "vkImportSemaphoreFdKHR": "file descriptors", "vkGetSemaphoreFdKHR": "file descriptors",
    "vkCopyMemoryToImage": "host pointers; there is vkCopyMemoryToImageMESA",
    "vkCopyImageToMemory": "host pointers; there is vkCopyImageToMemoryMESA",
    "vkBuildAccelerationStructuresKHR": "host pointers", "vkCopyAccelerationStructureToMemoryKHR": "host pointers",
    "vkCopyMemoryToAccelerationStructureKHR": "host pointers",
    "vkWriteSamplerDescriptorsEXT": "host pointers; there is vkWriteSamplerDescriptorMESA",
    "vkWriteResourceDescriptorsEXT": "host pointers; there is vkWriteResourceDescriptorMESA",
}

# The newest registry the protocol was written against: promises nothing of later ones to the guest.
NEWEST_HEADER = 343


class Item:
    """One member or parameter in one layout.

    kind: scalar handle struct pointer array strings string blob null flag
    `payload`, of pointer and array: scalar handle struct none.
    """

    __slots__ = ("field", "kind", "payload", "optional", "length", "mode", "new", "fixed", "outer")

    def __init__(self, field, kind, payload=None, mode="in", optional=False, length=None, new=False, fixed=False,
                 outer=None):
        self.field, self.kind, self.payload, self.mode = field, kind, payload, mode
        self.optional, self.length, self.new, self.fixed, self.outer = optional, length, new, fixed, outer

    @property
    def name(self):
        return self.field.name

    @property
    def type(self):
        return self.field.type

    @property
    def null_if(self):
        """Of handles: the C condition under which it, or an element, may be NULL."""
        key = f"{self.field.owner}.{self.name}"
        if key in NULL_IF:
            return NULL_IF[key]
        if self.field.noauto:
            return "true"
        return "true" if "true" in self.field.optional[1 if self.kind == "array" else 0:] else "false"


class Layout:
    """Of a struct in one mode."""

    def __init__(self, struct, items, chain, union=None):
        self.struct, self.items, self.chain, self.union = struct, items, chain, union


class WireCommand:
    __slots__ = ("id", "name", "aliases", "c_name", "command", "request", "reply", "nonnull", "device_lost")


def pinned(name):
    with open(HERE / name, encoding="ascii") as file:
        return list(csv.reader(line for line in file if not line.startswith("#")))


class Wire:
    def __init__(self, registry):
        self.registry = registry
        self.missing = []        # what is not covered, with the reason
        self.header_version = min(registry.header_version, NEWEST_HEADER)
        self.extensions = []
        for name, number, version in pinned("extensions.csv"):
            extension = registry.extensions.get(name)
            if not extension:
                self.missing.append(f"{name}: not in this registry")
                continue
            assert extension.number == int(number), name
            self.extensions.append((name, int(number), min(int(version), extension.spec_version)))
        self.types, available = registry.available([name for name, _, _ in self.extensions])
        self.chains = self._chains()
        self.undecodable = {}    # struct -> the type that has no encoding
        self.layouts = {}        # (struct, mode) -> Layout
        self.commands = []
        self.pinned_commands = 0
        for number, *names in pinned("command_ids.csv"):
            if names[0] in NO_ENCODING:
                self.missing.append(f"{names[0]}: has no encoding ({NO_ENCODING[names[0]]})")
                continue
            self.pinned_commands += 1
            known = [name for name in names if registry.resolve(name) in available]
            if not known:
                self.missing.append(f"{names[0]}: not in this registry")
                continue
            try:
                self.commands.append(self._try(lambda: self._command(int(number), names, known)))
            except KeyError as error:
                self.missing.append(f"{names[0]}: its type {error.args[0]} is not in this registry")
        # Reached by chains only.
        while True:
            before = len(self.layouts)
            for (_, mode), layout in list(self.layouts.items()):
                for name in list(layout.chain):
                    try:
                        self._try(lambda: self.layout(name, mode))
                    except KeyError as error:
                        self.undecodable[name] = error.args[0]
                        layout.chain.remove(name)
            if len(self.layouts) == before:
                break

    def _try(self, function):
        """What it added is taken back when it fails: a type that has no encoding is often found deep inside."""
        before = dict(self.layouts)
        try:
            return function()
        except KeyError:
            self.layouts = before
            raise

    def _chains(self):
        """Which structs each head accepts."""
        chains = {}
        for struct in self.registry.structs.values():
            if struct.name not in self.types or not struct.stype:
                continue
            if self.registry.enum_value(struct.stype) is None or struct.name in NOT_CHAINED:
                continue
            for head in struct.extends:
                chains.setdefault(self.registry.resolve(head), []).append(struct.name)
        return chains

    def is_struct(self, name):
        return self.registry.resolve(name) in self.registry.structs

    def is_handle(self, name):
        return self.registry.resolve(name) in self.registry.handles

    def width(self, name):
        """Bytes of a scalar on the wire."""
        resolved = self.registry.resolve(name)
        if resolved in SCALARS:
            return SCALARS[resolved][1]
        if self.is_handle(name):
            return 8
        category = self.registry.category.get(resolved)
        if category in ("enum", "bitmask"):
            return 8 if resolved in self.registry.flags64 else 4
        raise KeyError(name)

    def layout(self, name, mode):
        name = self.registry.resolve(name)
        key = (name, mode)
        if key not in self.layouts:
            struct = self.registry.structs[name]
            # Entered first: a struct may be reachable from itself through a chain.
            layout = self.layouts[key] = Layout(struct, [], self.chains.get(name, []) if struct.stype else [])
            if struct.union:
                self._union(layout, mode)
            else:
                fields = lengths_first(struct.fields[2:] if struct.stype else struct.fields)
                layout.items = [item for item in (self._item(field, struct.fields, mode) for field in fields) if item]
        return self.layouts[key]

    def _union(self, layout, mode):
        """Sent as a selector, then the member it selects."""
        fields = layout.struct.fields
        if layout.struct.name in UNIONS:
            cases = [([str(number)], field) for number, field in enumerate(fields)]
        else:
            assert all(field.selection for field in fields), layout.struct.name
            # A value the registry knows by an extension that we do not is no value.
            cases = [([value for value in field.selection if self.registry.enum_value(value) is not None], field)
                     for field in fields]
        layout.union = [values for values, _ in cases]
        layout.items = [self._item(field, fields, mode) for _, field in cases]

    def _payload(self, field, mode):
        if self.is_struct(field.type):
            self.layout(field.type, mode)
            return "struct"
        if self.is_handle(field.type):
            return "handle"
        self.width(field.type)
        return "scalar"

    def _item(self, field, siblings, mode):
        """A struct's member; None if it is not on the wire in this mode."""
        partial = mode == "in~"
        registry = self.registry
        category = registry.category.get(registry.resolve(field.type))
        if field.bits:
            raise KeyError(field.type)
        if category == "funcpointer" or field.type == "VkAllocationCallbacks":
            return Item(field, "null", mode=mode)
        if field.dims:
            assert len(field.dims) == 1, field.declaration
            if field.type == "char" or field.type == "uint8_t":
                return None if partial else Item(field, "blob", mode=mode, length=field.dims[0], fixed=True)
            payload = self._payload(field, mode)
            if partial and payload == "scalar":
                return None
            return Item(field, "array", payload, mode, length=field.dims[0], fixed=True, new=payload == "handle")
        lengths = split_lengths(field.len)
        optional = self._optional(field)
        if field.pointers == 0:
            if self.is_struct(field.type):
                self.layout(field.type, mode)
                return Item(field, "struct", "struct", mode)
            if self.is_handle(field.type):
                return None if partial else Item(field, "handle", "handle", mode)
            self.width(field.type)
            if partial and not is_length(field, siblings):
                return None
            return Item(field, "scalar", "scalar", mode)
        if field.type == "void" or field.type == "uint8_t":
            if not lengths:
                return Item(field, "null", mode=mode)
            return Item(field, "blob", mode=mode, length=lengths[0], optional=optional)
        if lengths and lengths[-1] == "null-terminated":
            if len(lengths) == 1:
                return Item(field, "string", mode=mode, optional=optional)
            return Item(field, "strings", mode=mode, optional=optional, length=lengths[0])
        if lengths:
            # An array of pointers to one struct each is sent like the array of structs.
            payload = self._payload(field, mode)
            return Item(field, "array", payload, mode, optional=optional, length=lengths[0],
                        outer="pointers" if field.pointers == 2 else None)
        payload = self._payload(field, mode)
        return Item(field, "pointer", payload, mode, optional=optional)

    def _optional(self, field):
        return field.optional[0] == "true" or field.noauto or field.name in OPTIONAL

    def _param(self, field, siblings, reply):
        lengths = split_lengths(field.len)
        output = field.pointers and not field.const
        optional = self._optional(field)
        if field.type == "VkAllocationCallbacks":
            return None if reply else Item(field, "null")
        if not output:
            if reply:
                return None
            if field.pointers == 2:
                payload = self._payload(field, "in")
                return Item(field, "array", payload, "in", length=lengths[0], optional=optional, outer="arrays")
            if field.dims:
                return Item(field, "array", self._payload(field, "in"), length=field.dims[0], fixed=True)
            return self._item(field, siblings, "in")
        mode = "out" if reply else "in~"
        if field.type == "void":
            return Item(field, "blob", mode=mode, length=pointee(lengths[0], siblings), optional=optional)
        payload = self._payload(field, mode)
        if lengths:
            return Item(field, "array", payload, mode, optional=optional, length=pointee(lengths[0], siblings),
                        new=payload == "handle")
        if payload == "scalar" and not reply and not is_length(field, siblings) and \
                field.name not in INOUT:
            payload = "none"
        return Item(field, "pointer", payload, mode, optional=optional and not is_length(field, siblings),
                    new=payload == "handle")

    def _command(self, number, names, known):
        wire = WireCommand()
        registry = self.registry
        wire.id, wire.name, wire.aliases = number, names[0], names
        wire.c_name = registry.resolve(known[0])
        wire.command = command = registry.commands[wire.c_name]
        wire.request, wire.reply = [], []
        for field in command.params:
            wire.request.append(self._param(field, command.params, False))
            item = self._param(field, command.params, True)
            if item:
                wire.reply.append(item)
        first = command.params[0]
        dispatched = registry.resolve(first.type) in DISPATCHED and not first.pointers
        wire.nonnull = first.name if dispatched else None
        wire.device_lost = "VK_ERROR_DEVICE_LOST" in command.errors
        return wire

    # ---- As text, to compare and to look at ----

    def scalar_text(self, name):
        resolved = self.registry.resolve(name)
        if resolved in SCALARS:
            return SCALARS[resolved][0]
        if self.registry.category.get(resolved) == "bitmask":
            return "u64" if resolved in self.registry.flags64 else "u32"
        return resolved

    def payload_text(self, item, reply):
        name = self.registry.resolve(item.type)
        if item.payload == "struct":
            return "{%s%s}" % (name, "~" if item.mode == "in~" else "")
        if item.payload == "handle":
            return ("#" if item.new else "@") + name
        return self.scalar_text(item.type)

    def item_text(self, item, reply=False):
        null = "" if reply else "?" if item.optional else "!"
        maybe = "?" if item.optional and not reply else ""
        if item.kind == "null":
            return f"{item.name}:*0"
        if item.kind in ("scalar", "handle", "struct"):
            return f"{item.name}:{self.payload_text(item, reply)}"
        if item.kind == "string":
            return f"{item.name}{maybe}[len]:chars"
        if item.kind == "strings":
            return f"{item.name}{maybe}[{item.length}]:<cstr>"
        if item.kind == "blob":
            what = "no-payload" if item.mode == "in~" else "chars" if item.type == "char" else \
                "u8bytes" if item.type == "uint8_t" else "bytes"
            return f"{item.name}{maybe}[{item.length}]:{what}"
        if item.kind == "pointer":
            return f"{item.name}:*{null}" + ("flag-only" if item.payload == "none" else self.payload_text(item, reply))
        payload = self.payload_text(item, reply)
        if item.outer == "arrays":
            payload = f"<per i: u64 count == {INNER_LENGTHS[item.name]}, then that many {payload}>"
        if item.mode == "in~" and item.payload == "scalar" and not item.new:
            payload = "no-payload"
        return f"{item.name}{maybe}[{item.length}]:{payload}"

    def text(self):
        """Every layout, one line each, sorted: what the golden file holds."""
        lines = []
        for wire in self.commands:
            flags = f" nonnull={wire.nonnull}" if wire.nonnull else ""
            flags += " fatal-on-DEVICE_LOST-if-no-reply" if wire.device_lost else ""
            lines.append(f"CMD {wire.id} {wire.name}{flags}")
            lines.append("  req: " + " ".join(self.item_text(item) for item in wire.request))
            returns = [] if wire.command.returns == "void" else [f"ret:{self.scalar_text(wire.command.returns)}"]
            lines.append("  rep: " + " ".join(returns + [self.item_text(item, True) for item in wire.reply]))
        for name in sorted({name for name, _ in self.layouts}):
            struct = self.registry.structs[name]
            stype = f" sType={self.registry.enum_value(struct.stype)}" if struct.stype else ""
            lines.append(f"STRUCT {name}{stype}")
            layouts = [(mode, self.layouts.get((name, mode))) for mode in ("in", "in~", "out")]
            if struct.stype:
                chain = next(layout.chain for _, layout in layouts if layout)
                lines.append("  pnext: " + (", ".join(sorted(chain)) or "(none)"))
            for mode, layout in layouts:
                if not layout:
                    continue
                if layout.union:
                    lines.append(f"  {mode}: UNION " + "; ".join(
                        f"{'|'.join(values)}={self.item_text(item)}" for values, item in zip(layout.union, layout.items)))
                    continue
                text = " ".join(self.item_text(item, mode == "out") for item in layout.items)
                lines.append(f"  {mode}: {text or '(no fields on the wire)'}")
        return "\n".join(lines) + "\n"


DISPATCHED = ("VkInstance", "VkPhysicalDevice", "VkDevice", "VkQueue", "VkCommandBuffer")

# Structs that extend one we have and are no part of the protocol.
NOT_CHAINED = {
    "VkPhysicalDeviceLayeredApiPropertiesListKHR": "the guest does not send it",
    "VkImportMemoryFdInfoKHR": "file descriptors",
}

# Unions without an enumeration: the selector is the member's number.
UNIONS = ("VkClearColorValue", "VkClearValue", "VkDeviceOrHostAddressKHR", "VkDeviceOrHostAddressConstKHR")

# What may be NULL whatever this registry says: others have it optional.
OPTIONAL = ("pName", "pSampleMask", "ppEnabledLayerNames")
# Handles of which vk.xml does not say it (noautovalidity: may be NULL, for all we know), or says it wrongly. `v` is the struct
# around it, as far as it is decoded: its chain, and the members before.
NULL_IF = {
    # As vkCmdBindDescriptorSets' are: for pipelines made of libraries.
    "VkBindDescriptorSetsInfo.pDescriptorSets": "true",
    # Else it is a swapchain's, and those are the guest's own.
    "VkBindImageMemoryInfo.memory": "false",
    "VkComputePipelineCreateInfo.layout": "pv_venus_may_lack_layout(v->pNext)",
    "VkDescriptorSetLayoutBinding.pImmutableSamplers": "v->descriptorType > VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER",
    "VkDescriptorUpdateTemplateCreateInfo.descriptorSetLayout":
        "v->templateType != VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET",
    "VkDescriptorUpdateTemplateCreateInfo.pipelineLayout":
        "v->templateType == VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET",
    "VkFramebufferCreateInfo.pAttachments": "v->flags & VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT",
    "VkGraphicsPipelineCreateInfo.layout": "pv_venus_may_lack_layout(v->pNext)",
    "VkPipelineShaderStageCreateInfo.module": "pv_venus_may_lack_module(v->pNext)",
    "VkRayTracingPipelineCreateInfoKHR.layout": "pv_venus_may_lack_layout(v->pNext)",
    "vkCmdBindIndexBuffer.buffer": "pv_venus_may_lack_index_buffer(d)",
    "vkCmdBindIndexBuffer2.buffer": "pv_venus_may_lack_index_buffer(d)",
    "vkCmdBindVertexBuffers.pBuffers": "pv_venus_may_be_null_descriptor(d)",
    "vkCmdBindVertexBuffers2.pBuffers": "pv_venus_may_be_null_descriptor(d)",
}
# Output parameters whose value is sent as well.
INOUT = ("pIndex",)
# vk.xml has the outer length only.
INNER_LENGTHS = {"ppBuildRangeInfos": "pInfos[i].geometryCount", "ppMaxPrimitiveCounts": "pInfos[i].geometryCount"}


def lengths_first(fields):
    """Members in wire order: an array's length precedes the array, also where C has it behind."""
    order = []
    for field in fields:
        for length in split_lengths(field.len):
            later = next((other for other in fields if other.name == length), None)
            if later and later not in order:
                order.append(later)
        if field not in order:
            order.append(field)
    return order


def split_lengths(text):
    """Of the attribute len; nothing in it that has commas of its own."""
    return text.split(",") if text else []


def is_length(field, siblings):
    return any(field.name in re.findall(r"\w+", other.len or "") for other in siblings if other is not field and other.pointers)


def pointee(length, siblings):
    """A count parameter that is a pointer counts by what it points to."""
    for field in siblings:
        if field.name == length and field.pointers:
            return f"*{length}"
    return length

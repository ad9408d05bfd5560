# SPDX-License-Identifier: MIT
"""Every command as a guest would send it, and the reply of a driver that does nothing: examples.bin. With NULL where it is
forbidden: nulls.bin.

For tests and as seeds of the fuzzer. Written from the layouts, by other code than what is generated from them. The file is
a sequence of: command type, bytes of the request, bytes of the reply (u32 each), request, reply. Objects of the types in
protocol.OBJECT_TYPES are named 1, 2, ... in its order; what is created is named from NEW_ID on.
"""

import re
import struct

import headers
import protocol
from emit import Shape

NEW_ID = 1000
# Where a driver has not written: what was there before.
UNTOUCHED = 0xEE
VARIANTS = 5


def u32(value):
    return struct.pack("<I", value & 0xFFFFFFFF)


def u64(value):
    return struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)


def padded(data):
    return data + bytes(-len(data) % 4)


class Examples:
    def __init__(self, wire):
        self.wire, self.registry, self.shape = wire, wire.registry, Shape(wire)
        self.null_at = None  # the number of the handle that is NULL instead
        self.handles = []    # items of those written
        self.ids = {name: number + 1 for number, name in enumerate(protocol.OBJECT_TYPES)}

    def all(self):
        out = b""
        for command in headers.served(self.wire):
            seen = set()
            for variant in range(VARIANTS):
                request, reply = self.command(command, variant)
                if request not in seen:
                    seen.add(request)
                    out += u32(command.id) + u32(len(request)) + u32(len(reply)) + request + reply
        return out

    def nulls(self):
        """Each command with each handle NULL that may not be: type, bytes of the request and of the field's name, both."""
        out = b""
        for command in headers.served(self.wire):
            done = set()
            # With chains, and without.
            for variant in (0, 1):
                self.command(command, variant)
                for number, item in enumerate(self.handles):
                    # Of the null driver's device no feature is enabled.
                    never = item.null_if == "false" or variant == 1 and "pNext" in item.null_if or item.null_if.endswith("(d)") or \
                        item.name == protocol.NEVER_NULL_HERE.get(command.name, ("", "", ""))[2]
                    if item.field in done or not never:
                        continue
                    done.add(item.field)
                    self.null_at = number
                    request, _ = self.command(command, variant)
                    self.null_at = None
                    out += u32(command.id) + u32(len(request)) + u32(len(item.name)) + request + padded(item.name.encode())
        return out

    # ---- Requests ----

    def command(self, command, variant):
        self.variant, self.next_id, self.handles = variant, NEW_ID, []
        values = {}
        request = u32(command.id) + u32(1) + self.items(command.request, values)
        reply = u32(command.id)
        if command.command.returns != "void":
            reply += bytes(self.wire.width(command.command.returns))
        for item in command.reply:
            reply += self.reply_item(item, values)
        # The null driver has one physical device.
        if command.name == "vkEnumeratePhysicalDevices":
            reply = u32(2) + u32(0) + u64(1) + u32(1)
            reply += u64(1) + u64(NEW_ID) if values["*pPhysicalDevices"] else u64(0)
        return request, reply

    def present(self, item):
        # Of a descriptor, one array must be there: by its type.
        return not (item.optional and self.variant == 1) or item.field.owner == "VkWriteDescriptorSet"

    def lengths(self, items):
        """What counts must be: names -> values."""
        # Those that commands use from outside of the struct.
        values = {item.name: 2 for item in items if item.name in ("commandBufferCount", "descriptorSetCount", "geometryCount")}
        for item in items:
            if item.kind in ("array", "blob", "strings") and item.length and not item.fixed:
                for name in re.findall(r"[A-Za-z_]\w*", item.length):
                    values[name] = 2
                if item.field.owner == "VkSpecializationInfo":
                    values["dataSize"] = 8  # entries are at 2, of 3 bytes
                if "codeSize" in item.length:
                    values["codeSize"] = 8
                if "amples" in item.length:
                    values[re.search(r"\w*amples", item.length).group(0)] = 1
        for item in items:
            if item.kind == "struct" and item.field.selector:
                values[item.field.selector] = self.registry.enum_value(self.case(item.type)[0])
        return values

    def case(self, union):
        """(selector, item) of this variant."""
        layout = self.wire.layouts[(self.registry.resolve(union), "in")]
        number = self.variant % len(layout.items)
        if union.startswith("VkDeviceOrHostAddress"):
            number = 0 if self.variant != 1 else 1
        selector = layout.union[number][0]
        return selector, layout.items[number]

    def items(self, items, values):
        lengths = self.lengths(items)
        out = b""
        for number, item in enumerate(items):
            out += self.item(item, values, lengths, number)
        return out

    def scalar(self, type_name, value):
        return u64(value) if self.wire.width(type_name) == 8 else u32(value)

    def item(self, item, values, lengths, number):
        name = item.name
        if item.kind == "scalar":
            values[name] = lengths.get(name, number + 1)
            return self.scalar(item.type, values[name])
        if item.kind == "handle":
            return u64(self.handle(item))
        if item.kind == "null":
            return u64(0)
        if item.kind == "struct":
            return self.struct(item.type, item.mode)
        if item.kind == "string":
            return u64(4) + b"abc\0" if self.present(item) else u64(0)
        if item.kind == "pointer":
            return self.pointer(item, values, lengths, number)
        count = self.length(item, values) if self.present(item) else 0
        values["*" + name] = count
        if item.kind == "strings":
            return u64(count) + (u64(2) + b"s\0\0\0") * count
        if item.kind == "blob":
            return u64(count) + (padded(bytes(range(count))) if item.mode != "in~" else b"")
        if item.outer == "arrays":
            one = u64(2) + (bytes(self.shape.element_minimum(item)) * 2)
            return u64(count) + one * count
        return u64(count) + b"".join(self.element(item) for _ in range(count))

    def length(self, item, values):
        if item.fixed:
            return self.shape.constant(item.length)
        text = item.length.lstrip("*").replace("/", "//")
        text = re.sub(r"VK_\w+", lambda name: str(self.shape.constant(name.group(0))), text)
        text = re.sub(r"[A-Za-z_]\w*(?:->\w+)?", lambda name: str(values.get(name.group(0), 2)), text)
        return eval(text)  # noqa: S307: of our own making

    def handle(self, item):
        self.handles.append(item)
        return 0 if self.null_at == len(self.handles) - 1 else self.ids[self.registry.resolve(item.type)]

    def new(self):
        self.next_id += 1
        return self.next_id - 1

    def element(self, item):
        if item.payload == "struct":
            return self.struct(item.type, item.mode)
        if item.payload == "handle":
            if item.new:
                return u64(self.new() if headers.is_created(item) and not item.fixed else 0)
            return u64(self.handle(item))
        return b"" if item.mode == "in~" else self.scalar(item.type, 3)

    def pointer(self, item, values, lengths, number):
        if not self.present(item):
            values[item.name] = None
            return u64(0)
        if item.payload == "none":
            values[item.name] = 0
            return u64(1)
        if item.payload == "struct":
            return u64(1) + self.struct(item.type, item.mode)
        if item.payload == "handle":
            values[item.name] = self.new()
            return u64(1) + u64(values[item.name])
        values[item.name] = lengths.get(item.name, number + 1)
        return u64(1) + self.scalar(item.type, values[item.name])

    def struct(self, name, mode):
        name = self.registry.resolve(name)
        layout = self.wire.layouts[(name, mode)]
        if layout.struct.union:
            selector, item = self.case(name)
            value = int(selector) if selector.isdigit() else self.registry.enum_value(selector)
            return u32(value) + self.item(item, {}, {}, 0)
        if not layout.struct.stype:
            return self.items(layout.items, {})
        return self.head(layout, mode, self.body)

    def body(self, name, mode):
        return self.items(self.wire.layouts[(name, mode)].items, {})

    def head(self, layout, mode, body):
        """sTypes in order, members in reverse."""
        chain = layout.chain if self.variant != 1 else []
        out = u32(self.registry.enum_value(layout.struct.stype))
        for name in chain:
            out += u64(1) + u32(self.registry.enum_value(self.registry.structs[name].stype))
        out += u64(0)
        for name in reversed(chain):
            out += body(name, mode)
        return out + body(layout.struct.name, mode)

    # ---- Replies: zeros, but for what was sent ----

    def reply_item(self, item, values):
        name = item.name
        if item.kind == "pointer":
            if values.get(name, 0) is None:
                return u64(0)
            if item.payload == "struct":
                return u64(1) + self.reply_struct(item.type)
            if item.payload == "handle":
                return u64(1) + u64(values[name])
            return u64(1) + self.scalar(item.type, values[name])
        count = values["*" + name]
        if item.kind == "blob":
            return u64(count) + padded(bytes([UNTOUCHED]) * count)
        if item.payload == "handle":
            return u64(count) + b"".join(u64(NEW_ID + number) for number in range(count))
        if item.payload == "struct":
            return u64(count) + self.reply_struct(item.type) * count
        return u64(count) + bytes(self.wire.width(item.type)) * count

    def reply_struct(self, name):
        name = self.registry.resolve(name)
        layout = self.wire.layouts[(name, "out")]
        if layout.struct.stype:
            return self.head(layout, "out", lambda name, mode: self.reply_body(name))
        return self.reply_body(name)

    def reply_body(self, name):
        """Members of the request ("in~") come back."""
        layout, partial = self.wire.layouts[(name, "out")], self.wire.layouts[(name, "in~")]
        sent = {}
        lengths = self.lengths(partial.items)
        for number, item in enumerate(partial.items):
            self.item(item, sent, lengths, number)
        out = b""
        for item in layout.items:
            if item.kind == "scalar":
                out += self.scalar(item.type, sent.get(item.name, 0))
            elif item.kind == "struct":
                out += self.reply_struct(item.type)
            elif item.kind == "handle":
                out += u64(0)
            elif item.kind == "pointer":
                out += u64(0)
            else:
                count = self.shape.constant(item.length) if item.fixed else sent["*" + item.name]
                out += u64(count)
                if item.kind == "blob":
                    out += padded(bytes(count))
                elif item.payload == "struct":
                    out += self.reply_struct(item.type) * count
                else:
                    out += bytes(self.wire.width(item.type) if item.payload == "scalar" else 8) * count
        return out

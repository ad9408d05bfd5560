# SPDX-License-Identifier: MIT
"""The generated C code: decoding, calling, replying.

Pieces of known size are gathered into runs: one check of what is left of the stream, then loads at constant offsets.
"""

import re

import headers
import protocol
from headers import object_type

# An array of structs that take no room in the stream: nothing but this bounds what the guest makes us allocate.
INDENT = "\t"


class Shape:
    """Sizes of types on the wire and in C."""

    def __init__(self, wire):
        self.wire = wire
        self._same = {}

    def c_scalar(self, name):
        resolved = self.wire.registry.resolve(name)
        return {"uint8_t": 1, "uint16_t": 2}.get(resolved) or self.wire.width(name)

    def same(self, struct_name, mode):
        """(size, alignment) if the struct is the same bytes in C as on the wire, else None."""
        key = (self.wire.registry.resolve(struct_name), mode)
        if key not in self._same:
            self._same[key] = self._find_same(*key)
        return self._same[key]

    def _find_same(self, name, mode):
        struct = self.wire.registry.structs[name]
        if struct.stype or struct.union or mode == "in~":
            return None
        offset, alignment = 0, 4
        layout = self.wire.layout(name, mode)
        if [item.name for item in layout.items] != [field.name for field in struct.fields]:
            return None
        for item in layout.items:
            if item.kind == "scalar":
                size = align = self.wire.width(item.type)
                if self.c_scalar(item.type) != size:
                    return None
            elif item.kind == "struct":
                same = self.same(item.type, mode)
                if not same:
                    return None
                size, align = same
            else:
                return None
            if offset % align:
                return None
            offset += size
            alignment = max(alignment, align)
        return None if offset % alignment or not offset else (offset, alignment)

    def fixed(self, struct_name, mode):
        """Bytes on the wire if that is always the same, else None."""
        struct = self.wire.registry.structs[self.wire.registry.resolve(struct_name)]
        if struct.stype or struct.union:
            return None
        total = 0
        for item in self.wire.layout(struct_name, mode).items:
            size = self.item_fixed(item)
            if size is None:
                return None
            total += size
        return total

    def item_fixed(self, item):
        if item.kind in ("scalar", "handle"):
            return 8 if item.kind == "handle" else self.wire.width(item.type)
        if item.kind == "null":
            return 8
        if item.kind == "struct":
            return self.fixed(item.type, item.mode)
        if item.fixed and item.kind == "blob":
            return 8 + (self.constant(item.length) + 3 & ~3)
        if item.fixed and item.kind == "array":
            element = self.element_fixed(item)
            return None if element is None else 8 + element * self.constant(item.length)
        return None

    def element_fixed(self, item):
        if item.payload == "struct":
            return self.fixed(item.type, item.mode)
        if item.payload == "handle":
            return 8
        return 0 if item.mode == "in~" else self.wire.width(item.type)

    def constant(self, text):
        if text.isdigit():
            return int(text)
        value = self.wire.registry.enum_value(text)
        assert value is not None, text
        return value

    def minimum(self, struct_name, mode):
        """The fewest bytes a struct takes."""
        name = self.wire.registry.resolve(struct_name)
        struct = self.wire.registry.structs[name]
        layout = self.wire.layout(name, mode)
        sizes = [self.item_minimum(item) for item in layout.items]
        if struct.union:
            return 4 + min(sizes)
        return (12 if struct.stype else 0) + sum(sizes)

    def item_minimum(self, item):
        fixed = self.item_fixed(item)
        if fixed is not None:
            return fixed
        return self.minimum(item.type, item.mode) if item.kind == "struct" else 8

    def element_minimum(self, item):
        return self.minimum(item.type, item.mode) if item.payload == "struct" else self.element_fixed(item)


class Body:
    """Lines of a C function. A run is open while pieces of known size are added; `label` is the field that failed."""

    def __init__(self, shape, owner, fail, value):
        self.shape, self.wire, self.owner, self.fail, self.value = shape, shape.wire, owner, fail, value
        self.lines, self.run, self.run_size, self.run_label = [], [], 0, None
        self.depth = 1
        self.uses = set()

    def line(self, text, extra=0):
        self.lines.append(INDENT * (self.depth + extra) + text if text else "")

    def field(self, name):
        return f'"{self.owner}.{name}"'

    # ---- Runs ----

    def take(self, size, name):
        """Room for a piece of known size: the expression of its address."""
        if self.run_label is None:
            self.run_label = name
        at = f"at + {self.run_size}" if self.run_size else "at"
        self.run_size += size
        return at

    def then(self, text):
        self.run.append(text)

    def flush(self):
        if self.run_size:
            self.uses.add("at")
            self.line(f"at = pv_venus_take(d, {self.run_size}, {self.field(self.run_label)});")
            self.line("if (!at)")
            self.line(self.fail, 1)
        for text in self.run:
            self.line(text)
        self.run, self.run_size, self.run_label = [], 0, None

    # ---- Values ----

    def load(self, type_name, at):
        width = self.wire.width(type_name)
        resolved = self.wire.registry.resolve(type_name)
        if resolved == "float":
            return f"pv_venus_load_f32({at})"
        text = f"pv_venus_load_u{width * 8}({at})"
        return text if resolved in ("uint32_t", "uint64_t", "VkFlags", "VkBool32", "size_t") else f"({type_name}){text}"

    def load_handle(self, lvalue, item, at, name):
        self.uses.add("handle")
        arguments = f"d, pv_venus_load_u64({at}), {object_type(item.type)}, {self.field(name)}"
        if protocol.POOL_MEMBERS.get(self.owner) == name:
            text = f"pv_venus_need_object({arguments}, &d->pool_object, &handle)"
        elif item.null_if in ("true", "false"):
            text = f"pv_venus_{'load' if item.null_if == 'true' else 'need'}_handle({arguments}, &handle)"
        else:
            assert self.value == "v->" or "v->" not in item.null_if, name
            text = f"pv_venus_load_handle_if(d, {item.null_if}, {arguments[3:]}, &handle)"
        self.then(f"if (!{text})")
        self.then(INDENT + self.fail)
        self.then(f"{lvalue} = ({item.type})(uintptr_t)handle;")

    def bad(self, condition, name, reason, value):
        self.then(f"if ({condition}) {{")
        self.then(f"{INDENT}pv_venus_fail(d, {self.field(name)}, \"{reason}\", {value});")
        self.then(INDENT + self.fail)
        self.then("}")

    def load_struct(self, item, lvalue, at, label):
        """A struct of known size, inline. `at` and its offset are text: "at + 8"."""
        same = self.shape.same(item.type, item.mode)
        if same:
            self.then(f"memcpy(&{lvalue}, {at}, {same[0]});")
            return
        for inner in self.wire.layout(item.type, item.mode).items:
            self.load_fixed(inner, f"{lvalue}.{inner.name}", at, f"{label}.{inner.name}")
            at = plus(at, self.shape.item_fixed(inner))

    def load_fixed(self, item, lvalue, at, label):
        if item.kind == "scalar":
            self.then(f"{lvalue} = {self.load(item.type, at)};")
        elif item.kind == "handle":
            self.load_handle(lvalue, item, at, label)
        elif item.kind == "null":
            self.bad(f"pv_venus_load_u64({at})", label, "it must be NULL", f"pv_venus_load_u64({at})")
            self.then(f"{lvalue} = NULL;")
        elif item.kind == "struct":
            self.load_struct(item, lvalue, at, label)
        elif item.kind == "blob":
            count = self.shape.constant(item.length)
            self.bad(f"pv_venus_load_u64({at}) != {count}", label, WRONG_COUNT, f"pv_venus_load_u64({at})")
            self.then(f"memcpy({lvalue}, {plus(at, 8)}, {count});")
        else:
            self.load_fixed_array(item, lvalue, at, label)

    def load_fixed_array(self, item, lvalue, at, label):
        count = self.shape.constant(item.length)
        self.bad(f"pv_venus_load_u64({at}) != {count}", label, WRONG_COUNT, f"pv_venus_load_u64({at})")
        element = self.shape.element_fixed(item)
        if not element:
            return
        if item.payload == "scalar" and self.shape.c_scalar(item.type) == element:
            self.then(f"memcpy({lvalue}, {plus(at, 8)}, {element * count});")
            return
        if item.new:
            # Ids that mean nothing yet; the struct is to be filled.
            return
        assert item.payload == "struct", label
        for index in range(count):
            self.load_struct(item, f"{lvalue}[{index}]", plus(at, 8 + index * element), label)

    # ---- Items ----

    def items(self, items):
        for item in items:
            self.item(item, f"{self.value}{item.name}")
        self.flush()

    def item(self, item, lvalue):
        size = self.shape.item_fixed(item)
        if size is not None:
            if size or item.kind == "array":
                at = self.take(size, item.name)
                self.load_fixed(item, lvalue, at, item.name)
            return
        getattr(self, "item_" + item.kind)(item, lvalue)

    def item_struct(self, item, lvalue):
        self.flush()
        selector = ""
        struct = self.wire.registry.structs[self.wire.registry.resolve(item.type)]
        if struct.union:
            selector = f", (uint32_t){self.value}{item.field.selector}" if item.field.selector else ""
        self.line(f"if (!{decode_name(self.wire, item)}(d, &{lvalue}{selector}))")
        self.line(self.fail, 1)

    def expression(self, text):
        """A length in terms of what has been decoded."""
        if text.startswith("*"):
            return f"(uint64_t)*{self.value}{text[1:]}"
        return re.sub(r"[A-Za-z_]\w*(?:->\w+)?(?:\[i\]\.\w+)?",
                      lambda name: name.group(0) if name.group(0).startswith("VK_") else f"(uint64_t){self.value}{name.group(0)}", text)

    def count(self, item, variable):
        """Reads and checks an array's count. The variable is declared by the caller."""
        self.uses.add(variable)
        at = self.take(8, item.name)
        self.then(f"{variable} = pv_venus_load_u64({at});")
        expected = self.expression(item.length)
        nullable = f"{variable} && " if item.optional else ""
        self.bad(f"{nullable}{variable} != {expected}", item.name, WRONG_COUNT, variable)
        self.flush()

    def item_blob(self, item, lvalue):
        variable = self.new_count()
        self.count(item, variable)
        if item.mode == "in~":
            self.line(f"{lvalue} = {variable} ? pv_venus_alloc_output(d, {variable}, 1, {self.field(item.name)}) : NULL;")
            self.line(f"if ({variable} && !{lvalue})")
            self.line(self.fail, 1)
            return
        self.line(f"if (!pv_venus_take_bytes(d, {variable}, {self.field(item.name)}, &bytes))")
        self.line(self.fail, 1)
        self.uses.add("bytes")
        self.line(f"{lvalue} = bytes;" if item.field.const else f"{lvalue} = pv_venus_unconst(bytes);")

    def item_string(self, item, lvalue):
        self.flush()
        self.line(f"if (!pv_venus_decode_string(d, {'true' if item.optional else 'false'}, {self.field(item.name)}, &{lvalue}))")
        self.line(self.fail, 1)

    def item_strings(self, item, lvalue):
        variable = self.new_count()
        self.count(item, variable)
        self.line(f"if (!pv_venus_decode_strings(d, {variable}, {self.field(item.name)}, &{lvalue}))")
        self.line(self.fail, 1)

    def new_count(self):
        return "count"

    def item_pointer(self, item, lvalue):
        at = self.take(8, item.name)
        self.uses.add("present")
        self.then(f"present = pv_venus_load_u64({at});")
        if not item.optional:
            self.bad("!present", item.name, IS_NULL, "0")
        self.flush()
        self.line(f"{lvalue} = NULL;")
        self.line("if (present) {")
        self.depth += 1
        self.pointee(item, lvalue)
        self.depth -= 1
        self.line("}")

    def pointee(self, item, lvalue):
        """Into the arena."""
        zero = "_zeroed" if item.mode == "in~" else ""
        self.line(f"{item.type} *p = pv_venus_alloc{zero}(d, sizeof(*p));")
        self.line("")
        self.line("if (!p)")
        self.line(self.fail, 1)
        self.fill(item, "*p", "p")
        self.line(f"{lvalue} = p;")

    def fill(self, item, lvalue, pointer):
        if item.payload == "struct":
            size = self.shape.fixed(item.type, item.mode)
            if size is not None:
                if size:
                    at = self.take(size, item.name)
                    self.load_struct(item, lvalue if lvalue != "*p" else "(*p)", at, item.name)
                    self.flush()
                return
            self.line(f"if (!{decode_name(self.wire, item)}(d, {pointer}))")
            self.line(self.fail, 1)
        elif item.payload == "scalar":
            at = self.take(self.wire.width(item.type), item.name)
            self.then(f"{lvalue} = {self.load(item.type, at)};")
            self.flush()
        else:
            assert item.payload == "none", item.name

    def item_array(self, item, lvalue):
        if item.outer == "arrays":
            self.array_of_arrays(item, lvalue)
            return
        variable = self.new_count()
        self.count(item, variable)
        if item.outer == "pointers":
            self.line(f"{lvalue} = NULL;")
            self.line(f"if ({variable}) {{")
            self.depth += 1
            self.line(f"const {item.type} **pointers;")
            self.line(f"{item.type} *p;")
            self.line("")
            self.elements(item, variable, None)
            self.line(f"pointers = pv_venus_alloc(d, {variable} * sizeof(*pointers));")
            self.line("if (!pointers)")
            self.line(self.fail, 1)
            self.line(f"for (uint64_t i = 0; i < {variable}; i++)")
            self.line("pointers[i] = &p[i];", 1)
            self.line(f"{lvalue} = pointers;")
            self.depth -= 1
            self.line("}")
            return
        if self.in_place(item):
            self.line(f"if (!pv_venus_take_array(d, {variable}, {self.element_size(item)}, {self.field(item.name)}, &bytes))")
            self.line(self.fail, 1)
            self.uses.add("bytes")
            self.line(f"{lvalue} = (const {item.type} *)bytes;")
            return
        self.line(f"{lvalue} = NULL;")
        self.line(f"if ({variable}) {{")
        self.depth += 1
        self.line(f"{item.type} *p;")
        self.line("")
        self.elements(item, variable, lvalue)
        self.depth -= 1
        self.line("}")

    def element_size(self, item):
        """Bytes of an element that is the same on the wire as in C; else None."""
        if item.mode == "in~" or item.payload == "handle":
            return None
        if item.payload == "struct":
            same = self.shape.same(item.type, item.mode)
            return same[0] if same else None
        size = self.wire.width(item.type)
        return size if self.shape.c_scalar(item.type) == size else None

    def in_place(self, item):
        """Whether an array may stay in the private copy of the stream, which is aligned to 4 bytes."""
        if not item.field.const or self.element_size(item) is None:
            return False
        if item.payload == "struct":
            return self.shape.same(item.type, item.mode)[1] == 4
        return self.wire.width(item.type) == 4

    def elements(self, item, variable, lvalue):
        """Allocates p and decodes `variable` elements into it."""
        minimum = self.shape.element_minimum(item)
        zero = "_output" if item.mode == "in~" else "_array"
        size = f"{minimum}, " if zero == "_array" else ""
        if zero == "_output" and minimum:
            self.line(f"if (!pv_venus_need_array(d, {variable}, {minimum}, {self.field(item.name)}))")
            self.line(self.fail, 1)
        self.line(f"p = pv_venus_alloc{zero}(d, {variable}, {size}sizeof(*p), {self.field(item.name)});")
        self.line("if (!p)")
        self.line(self.fail, 1)
        same = self.element_size(item)
        if same:
            self.uses.add("at")
            self.line(f"at = pv_venus_take(d, {variable} * {same}, {self.field(item.name)});")
            self.line("if (!at)")
            self.line(self.fail, 1)
            self.line(f"memcpy(p, at, {variable} * {same});")
        elif item.payload == "handle":
            self.uses.add("at")
            self.uses.add("handle")
            self.line(f"at = pv_venus_take(d, {variable} * 8, {self.field(item.name)});")
            self.line("if (!at)")
            self.line(self.fail, 1)
            self.line(f"for (uint64_t i = 0; i < {variable}; i++) {{")
            self.depth += 1
            self.load_handle("p[i]", item, "at + 8 * i", item.name)
            self.flush()
            self.depth -= 1
            self.line("}")
        elif minimum or item.payload == "struct" and self.shape.fixed(item.type, item.mode) is None:
            self.line(f"for (uint64_t i = 0; i < {variable}; i++) {{")
            self.depth += 1
            self.fill(item, "p[i]", "&p[i]")
            self.depth -= 1
            self.line("}")
        if lvalue:
            self.line(f"{lvalue} = p;")

    def array_of_arrays(self, item, lvalue):
        import wire as wire_module
        variable = self.new_count()
        self.count(item, variable)
        self.line(f"{lvalue} = NULL;")
        self.line(f"if ({variable}) {{")
        self.depth += 1
        self.line(f"const {item.type} **outer = pv_venus_alloc_array(d, {variable}, 8, sizeof(*outer), {self.field(item.name)});")
        self.line("")
        self.line("if (!outer)")
        self.line(self.fail, 1)
        self.line(f"for (uint64_t i = 0; i < {variable}; i++) {{")
        self.depth += 1
        at = self.take(8, item.name)
        self.uses.add("inner")
        self.then(f"inner = pv_venus_load_u64({at});")
        self.bad(f"inner != {self.expression(wire_module.INNER_LENGTHS[item.name])}", item.name, WRONG_COUNT, "inner")
        self.flush()
        size = self.element_size(item)
        assert size and self.in_place(item), item.name
        self.uses.add("bytes")
        self.line(f"if (!pv_venus_take_array(d, inner, {size}, {self.field(item.name)}, &bytes))")
        self.line(self.fail, 1)
        self.line(f"outer[i] = (const {item.type} *)bytes;")
        self.depth -= 1
        self.line("}")
        self.line(f"{lvalue} = outer;")
        self.depth -= 1
        self.line("}")

    def locals(self):
        types = {"at": "const uint8_t *at", "handle": "uint64_t handle", "count": "uint64_t count",
                 "present": "uint64_t present", "inner": "uint64_t inner", "bytes": "const void *bytes"}
        return [f"\t{types[name]};" for name in types if name in self.uses]


WRONG_COUNT = "it has not as many elements as it should"
IS_NULL = "it must not be NULL"


def plus(at, more):
    """at + 8, 4 -> at + 12"""
    if not more:
        return at
    match = re.fullmatch(r"(.*) \+ (\d+)", at)
    return f"{match.group(1)} + {int(match.group(2)) + more}" if match else f"{at} + {more}"


def decode_name(wire, item):
    prefix = "pv_venus_partial_" if item.mode == "in~" else "pv_venus_decode_"
    return prefix + wire.registry.resolve(item.type)

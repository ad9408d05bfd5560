# SPDX-License-Identifier: MIT
"""The generated sources: structs, chains, commands."""

import re

import headers
import protocol
import wire as wire_module
from emit import Body, Shape, decode_name, plus
from headers import BANNER, object_type

# Functions are spread over this many files: a build uses its processors, and no file takes long.
STRUCT_FILES, COMMAND_FILES = 3, 4


class Writer:
    """The body of a function that writes a reply. Runs as in Body."""

    def __init__(self, shape, value):
        self.shape, self.wire, self.value = shape, shape.wire, value
        self.lines, self.run, self.run_size = [], [], 0
        self.depth, self.uses = 1, set()

    def line(self, text, extra=0):
        self.lines.append("\t" * (self.depth + extra) + text)

    def put(self, size):
        at = f"at + {self.run_size}" if self.run_size else "at"
        self.run_size += size
        return at

    def then(self, text):
        self.run.append(text)

    def flush(self):
        if self.run_size:
            self.uses.add("at")
            self.line(f"at = pv_venus_reply_reserve(r, {self.run_size});")
            self.line("if (!at)")
            self.line("return;", 1)
        for text in self.run:
            self.line(text)
        self.run, self.run_size = [], 0

    def store(self, type_name, at, value):
        width = self.wire.width(type_name)
        if self.wire.registry.resolve(type_name) == "float":
            self.then(f"pv_venus_store_f32({at}, {value});")
        else:
            self.then(f"pv_venus_store_u{width * 8}({at}, (uint{width * 8}_t){value});")

    def fixed(self, item, value, at):
        shape = self.shape
        if item.kind == "scalar":
            self.store(item.type, at, value)
        elif item.kind == "handle":
            self.then(f"pv_venus_store_u64({at}, (uint64_t)(uintptr_t){value});")
        elif item.kind == "struct":
            same = shape.same(item.type, item.mode)
            if same:
                self.then(f"memcpy({at}, &{value}, {same[0]});")
                return
            for inner in self.wire.layout(item.type, item.mode).items:
                self.fixed(inner, f"{value}.{inner.name}", at)
                at = plus(at, shape.item_fixed(inner))
        elif item.kind == "blob":
            count = shape.constant(item.length)
            assert count % 4 == 0, item.name
            self.then(f"pv_venus_store_u64({at}, {count});")
            self.then(f"memcpy({plus(at, 8)}, {value}, {count});")
        else:
            assert item.kind == "array", item.name
            count, element = shape.constant(item.length), shape.element_fixed(item)
            self.then(f"pv_venus_store_u64({at}, {count});")
            at = plus(at, 8)
            if item.payload == "scalar" and shape.c_scalar(item.type) == element:
                self.then(f"memcpy({at}, {value}, {count * element});")
                return
            self.then(f"for (unsigned i = 0; i < {count}; i++) {{")
            offset = f"{at} + {element} * i"
            if item.payload == "handle":
                self.then(f"\tpv_venus_store_u64({offset}, (uint64_t)(uintptr_t){value}[i]);")
            else:
                assert item.payload == "struct", item.name
                mark = len(self.run)
                inner_at = offset
                for inner in self.wire.layout(item.type, item.mode).items:
                    self.fixed(inner, f"{value}[i].{inner.name}", inner_at)
                    inner_at = plus(inner_at, shape.item_fixed(inner))
                self.run[mark:] = ["\t" + text for text in self.run[mark:]]
            self.then("}")

    def items(self, items):
        for item in items:
            self.item(item, f"{self.value}{item.name}")
        self.flush()

    def item(self, item, value):
        size = self.shape.item_fixed(item)
        if size is not None:
            if size:
                self.fixed(item, value, self.put(size))
            return
        if item.kind == "struct":
            self.flush()
            self.line(f"pv_venus_encode_{self.wire.registry.resolve(item.type)}(r, &{value});")
            return
        if item.kind == "blob":
            self.flush()
            length = self.length(item)
            self.line(f"pv_venus_reply_u64(r, {value} ? {length} : 0);")
            self.line(f"if ({value})")
            self.line(f"pv_venus_reply_bytes(r, {value}, {length});", 1)
            return
        if item.kind == "pointer":
            self.flush()
            self.line(f"pv_venus_reply_u64(r, {value} != NULL);")
            self.line(f"if ({value}) {{")
            self.depth += 1
            self.element(item, f"(*{value})", value)
            self.depth -= 1
            self.line("}")
            return
        assert item.kind == "array", item.name
        self.array(item, value, self.length(item))

    def length(self, item):
        return f"(uint64_t){self.value}{item.length}"

    def element(self, item, value, pointer):
        if item.payload == "struct":
            size = self.shape.fixed(item.type, item.mode)
            if size is None:
                self.line(f"pv_venus_encode_{self.wire.registry.resolve(item.type)}(r, {pointer});")
                return
            for inner in self.wire.layout(item.type, item.mode).items:
                self.item(inner, f"{value}.{inner.name}")
        elif item.payload == "scalar":
            self.store(item.type, self.put(self.wire.width(item.type)), value)
        else:
            assert item.payload == "handle", item.name
            self.then(f"pv_venus_store_u64({self.put(8)}, (uint64_t)(uintptr_t){value});")
        self.flush()

    def array(self, item, value, length):
        self.flush()
        self.uses.add("count")
        self.line(f"count = {value} ? {length} : 0;")
        self.line("pv_venus_reply_u64(r, count);")
        size = self.wire.width(item.type) if item.payload == "scalar" else None
        if size and self.shape.c_scalar(item.type) == size:
            self.line(f"pv_venus_reply_bytes(r, {value}, count * {size});")
            return
        self.line("for (uint64_t i = 0; i < count; i++) {")
        self.depth += 1
        self.element(item, f"{value}[i]", f"&{value}[i]")
        self.depth -= 1
        self.line("}")

    def locals(self):
        types = {"at": "uint8_t *at", "count": "uint64_t count"}
        return [f"\t{types[name]};" for name in types if name in self.uses]


class Codec:
    def __init__(self, wire):
        self.wire, self.registry, self.shape = wire, wire.registry, Shape(wire)
        self.commands = headers.served(wire)
        # What chains are made of, numbered.
        self.chained = sorted({name for layout in wire.layouts.values() for name in layout.chain})
        self.numbers = {name: number for number, name in enumerate(self.chained)}
        self.used = self._used()

    def _used(self):
        """Layouts that served commands reach, and that need functions of their own."""
        used, todo = set(), []
        for command in self.commands:
            todo += [(self.registry.resolve(item.type), item.mode) for item in command.request + command.reply
                     if item.payload == "struct"]
        while todo:
            key = todo.pop()
            if key in used:
                continue
            used.add(key)
            layout = self.wire.layouts[key]
            todo += [(name, key[1]) for name in layout.chain]
            todo += [(self.registry.resolve(item.type), item.mode) for item in layout.items if item.payload == "struct"]
        return used

    # ---- Structs ----

    def chain_symbol(self, name):
        chain = self.wire.chains.get(name, [])
        return f"chain_of_{name}" if any(struct in self.numbers for struct in chain) else None

    def bitmap(self, names):
        words = [0] * ((len(self.chained) + 63) // 64)
        for name in names:
            words[self.numbers[name] // 64] |= 1 << (self.numbers[name] % 64)
        return "{{" + ", ".join(f"0x{word:x}" for word in words) + "}}"

    def decoder(self, name, mode):
        """(prototypes, functions) that decode a struct in one mode."""
        struct, layout = self.registry.structs[name], self.wire.layouts[(name, mode)]
        prefix = "pv_venus_partial_" if mode == "in~" else "pv_venus_decode_"
        if struct.union:
            return self.union_decoder(name, layout, prefix)
        if self.shape.fixed(name, mode) is not None:
            return [], []
        prototypes, functions = [], []
        body = Body(self.shape, name, "return false;", "v->")
        if struct.stype:
            body.items(layout.items)
            unused = not body.lines
            lines = [f"static bool self_{prefix[9:]}{name}(struct pv_venus_decoder *d, void *memory)", "{"]
            uses = any("v->" in line for line in body.lines)
            lines += [f"\t{name} *v = memory;"] if uses else []
            lines += body.locals() + [""] + (["\t(void)d;"] if unused else []) + ([] if uses else ["\t(void)memory;"]) + body.lines
            lines += [self.last_line(name), "}", ""]
            functions += lines
            prototypes.append(f"bool {prefix}{name}(struct pv_venus_decoder *d, {name} *v);")
            chain = self.chain_symbol(name)
            functions += [
                f"bool {prefix}{name}(struct pv_venus_decoder *d, {name} *v)", "{",
                f"\tif (!pv_venus_decode_head(d, {self.registry.enum_value(struct.stype)}, {'&' + chain if chain else 'NULL'}, "
                f"{'true' if mode == 'in~' else 'false'}, \"{name}\", &v->sType, &v->pNext))",
                "\t\treturn false;", f"\treturn self_{prefix[9:]}{name}(d, v);", "}", ""]
            if name in self.numbers:
                prototypes.append(f"bool pv_venus_self_{prefix[9:]}{name}(struct pv_venus_decoder *d, void *memory);")
                functions += [f"bool pv_venus_self_{prefix[9:]}{name}(struct pv_venus_decoder *d, void *memory)", "{",
                              f"\treturn self_{prefix[9:]}{name}(d, memory);", "}", ""]
        else:
            body.items(layout.items)
            prototypes.append(f"bool {prefix}{name}(struct pv_venus_decoder *d, {name} *v);")
            functions += [f"bool {prefix}{name}(struct pv_venus_decoder *d, {name} *v)", "{", *body.locals(), "",
                          *body.lines, self.last_line(name), "}", ""]
        return prototypes, functions

    @staticmethod
    def last_line(name):
        return f"\treturn pv_venus_check_{name}(d, v);" if name in protocol.CHECKED else "\treturn true;"

    def union_decoder(self, name, layout, prefix):
        selected = any(field.selection for field in layout.struct.fields)
        body = Body(self.shape, name, "return false;", "v->")
        extra = ", uint32_t wanted" if selected else ""
        body.line("uint32_t selector;")
        body.line("")
        body.line("memset(v, 0, sizeof(*v));")
        body.line(f"if (!pv_venus_need(d, 4, \"{name}\"))")
        body.line("return false;", 1)
        body.line("selector = pv_venus_take_u32(d);")
        if selected:
            body.line("if (selector != wanted) {")
            body.line(f"pv_venus_fail(d, \"{name}\", \"its kind is not what the struct around it says\", selector);", 1)
            body.line("return false;", 1)
            body.line("}")
        body.line("switch (selector) {")
        for values, item in zip(layout.union, layout.items):
            for value in values:
                body.line(f"case {value}:")
            body.depth += 1
            body.item(item, f"v->{item.name}")
            body.flush()
            body.line("return true;")
            body.depth -= 1
        body.line("}")
        body.line(f"pv_venus_fail(d, \"{name}\", \"there is no such kind\", selector);")
        body.line("return false;")
        signature = f"bool {prefix}{name}(struct pv_venus_decoder *d, {name} *v{extra})"
        return [signature + ";"], [signature, "{", *body.locals(), *body.lines, "}", ""]

    def encoder(self, name):
        struct, layout = self.registry.structs[name], self.wire.layouts[(name, "out")]
        if struct.union or self.shape.fixed(name, "out") is not None:
            assert not struct.union, name
            return [], []
        writer = Writer(self.shape, "v->")
        writer.items(layout.items)
        if not struct.stype:
            signature = f"void pv_venus_encode_{name}(struct pv_venus_reply *r, const {name} *v)"
            return [signature + ";"], [signature, "{", *writer.locals(), "", *writer.lines, "}", ""]
        signature = f"void pv_venus_encode_{name}(struct pv_venus_reply *r, const {name} *v)"
        own = f"void pv_venus_self_encode_{name}(struct pv_venus_reply *r, const void *memory)"
        functions = [own, "{", f"\tconst {name} *v = memory;", *writer.locals(), "", *(writer.lines or ["\t(void)r;", "\t(void)v;"]), "}", ""]
        functions += [signature, "{", "\tpv_venus_encode_head(r, v->sType, v->pNext);",
                      f"\tpv_venus_self_encode_{name}(r, v);", "}", ""]
        return [signature + ";", own + ";"], functions

    def structs(self):
        """(prototypes, list of (size, functions, chain sets used))."""
        prototypes, pieces = [], []
        for name in sorted({name for name, _ in self.used}):
            functions = []
            for mode in ("in", "in~"):
                if (name, mode) in self.used:
                    more, lines = self.decoder(name, mode)
                    prototypes += more
                    functions += lines
            if (name, "out") in self.used:
                more, lines = self.encoder(name)
                prototypes += more
                functions += lines
            symbol = self.chain_symbol(name)
            if symbol and functions:
                functions = [f"static const struct pv_venus_chain_set {symbol} =",
                             f"\t{self.bitmap([n for n in self.wire.chains[name] if n in self.numbers])};", ""] + functions
            if functions:
                pieces.append(functions)
        return prototypes, pieces

    def chain_table(self):
        """What chains are made of: one table, and the way from an sType into it."""
        lines = ["const struct pv_venus_chain_struct pv_venus_chain_structs[PV_VENUS_NR_CHAINED] = {"]
        for name in self.chained:
            def function(kind, mode):
                return f"pv_venus_self_{kind}_{name}" if (name, mode) in self.used else "NULL"
            struct = self.registry.structs[name]
            lines.append(f"\t{{{self.registry.enum_value(struct.stype)}, sizeof({name}), {'true' if struct.duplicates else 'false'}, "
                         f"\"{name}\", {function('decode', 'in')}, {function('partial', 'in~')}, {function('encode', 'out')}}},")
        lines += ["};", "", "int pv_venus_chain_number(uint32_t stype)", "{", "\tswitch (stype) {"]
        seen = set()
        for name in self.chained:
            value = self.registry.enum_value(self.registry.structs[name].stype)
            assert value not in seen, name
            seen.add(value)
            lines += [f"\tcase {value}:", f"\t\treturn {self.numbers[name]};"]
        lines += ["\t}", "\treturn -1;", "}", ""]
        return lines

    def internal_h(self, prototypes):
        words = (len(self.chained) + 63) // 64
        body = ["#include \"venus/codec.h\"", "", *prototypes]
        return headers.guarded("INTERNAL", "\n".join(body) + "\n"), words

    # ---- Commands ----

    def execute(self, command):
        """The function that executes one command."""
        name, handler = command.name, command.name in protocol.HANDLERS
        shape = self.shape
        body = Body(shape, name, "return;", "a.")
        created, output_arrays, blobs, locals_ = [], [], [], []
        first = command.command.params[0]
        for item in command.request:
            self.parameter(command, item, body, created, output_arrays, blobs, locals_)
        body.flush()
        if name in protocol.NEVER_NULL_HERE:
            array, count, member = protocol.NEVER_NULL_HERE[name]
            body.line(f"for (uint32_t i = 0; i < a.{count}; i++)")
            body.line(f"if (!pv_venus_never_null_here(d, (uint64_t)(uintptr_t)a.{array}[i].{member}, {body.field(array + '.' + member)}))", 1)
            body.line("return;", 2)
        self.check_queries(command, body)
        lines = body.lines
        signature = f"static void execute_{name}(struct pv_venus_decoder *d)"
        out = [signature, "{", f"\tstruct pv_venus_args_{name} a;"]
        reply_label = False
        middle = []

        def line(text, depth=1):
            middle.append("\t" * depth + text if text else "")

        returns = command.command.returns
        owner = "a.device_object" if first.type == "VkDevice" else "NULL"
        pool = any(item.kind == "pointer" and item.type in protocol.POOL_MEMBERS for item in command.request)
        if pool:
            line("a.pool_object = d->pool_object;")
            owner = "a.pool_object"
        for item in created:
            if name == "vkEnumeratePhysicalDevices":
                # They may be those that were named before: its handler looks.
                continue
            if item.kind == "pointer":
                line(f"pv_venus_check_new_id(d, a.{item.name}_id, {body.field(item.name)});")
            else:
                line(f"for (uint64_t i = 0; i < n_{item.name}; i++)")
                line(f"pv_venus_check_new_id(d, a.{item.name}_ids[i], {body.field(item.name)});", 2)
            line("if (d->failed)")
            line("return;", 2)
        if blobs:
            middle += self.reserve_blob(command, blobs[0], body)
        tombstones = self.has_handles(command)
        skip = tombstones and not (handler and name in protocol.HANDLES_TOMBSTONES)
        destroyed = self.destroyed(command)
        error = "VK_ERROR_DEVICE_LOST" if name in protocol.LOST_WITH_TOMBSTONES else "VK_ERROR_OUT_OF_DEVICE_MEMORY"
        if returns == "VkResult":
            if handler:
                line("a.ret = VK_SUCCESS;")
        elif returns != "void":
            line("a.ret = 0;")
        depth = 1
        if destroyed:
            self.destroy_call(command, destroyed, line)
        else:
            if skip:
                line("if (__builtin_expect(d->tombstone, 0)) {")
                if returns == "VkResult":
                    line(f"a.ret = {error};", 2)
                for item in created:
                    self.tombstone(item, owner, line)
                plain_skip = returns == "void" and not created
                if plain_skip and not command.reply and True:
                    middle[-1:] = [middle[-1]] if middle[-1].strip() != "if (__builtin_expect(d->tombstone, 0)) {" else \
                        ["\tif (__builtin_expect(!d->tombstone, 1)) {"]
                else:
                    if middle[-1].endswith("0)) {"):
                        middle[-1] = "\tif (__builtin_expect(!d->tombstone, 1)) {"
                    else:
                        line("} else {")
                depth = 2
            if handler:
                line(f"pv_venus_handle_{name}(d, &a);", depth)
            else:
                self.call(command, line, depth)
                for item in created:
                    self.enter(command, item, owner, line, depth)
            if skip:
                line("}")
        if handler or created:
            line("if (d->failed)")
            line("return;", 2)
        # The reply.
        asked = "flags" if handler else "d->command_flags"
        if not command.reply and returns == "void":
            line(f"if (__builtin_expect({asked} & PV_VENUS_GENERATE_REPLY, 0))")
            line(f"pv_venus_reply_plain(d, {command.id});", 2)
        else:
            line(f"if ({asked} & PV_VENUS_GENERATE_REPLY)")
            line(f"reply_{name}(d, &a{''.join(', n_' + item.name for item in output_arrays)});", 2)
            if command.device_lost and returns == "VkResult":
                line(f"else if (a.ret == VK_ERROR_DEVICE_LOST{' && !d->tombstone' if tombstones else ''})")
                line(f"pv_venus_fail(d, \"{name}\", \"the device is lost, and the guest asked for no reply\", 0);", 2)
        out += [f"\t{text}" for text in locals_]
        if handler:
            out.append("\tconst uint32_t flags = d->command_flags;")
        if destroyed:
            out.append("\tstruct pv_venus_object_info removed;")
        elif not handler:
            out.append(f"\tPFN_{command.c_name} fn;")
        out += body.locals() + [""]
        if not command.request:
            out += []
        reply = []
        if command.reply or returns != "void":
            reply = self.reply_function(command, output_arrays, blobs)
        return reply + out + lines + middle + ["}", ""]

    def has_handles(self, command):
        """Whether it can name a tombstone."""
        seen = set()

        def reaches(items):
            for item in items:
                if item.payload == "handle" and not item.new:
                    return True
                if item.payload == "struct":
                    key = (self.registry.resolve(item.type), item.mode)
                    if key not in seen:
                        seen.add(key)
                        layout = self.wire.layouts[key]
                        if reaches(layout.items) or any(reaches(self.wire.layouts[(name, item.mode)].items) for name in layout.chain):
                            return True
            return False
        return reaches(command.request)

    @staticmethod
    def check_queries(command, body):
        """Drivers take it for granted that a pool has the queries."""
        names = [param.name for param in command.command.params]
        first = next((name for name in ("query", "firstQuery") if name in names), None)
        if "queryPool" in names and first:
            count = next((f"a.{name}" for name in ("queryCount", "accelerationStructureCount") if name in names), "1")
            body.line(f"if (!pv_venus_check_queries(d, a.queryPool_object, a.{first}, {count}, {body.field(first)}))")
            body.line("return;", 1)

    def parameter(self, command, item, body, created, output_arrays, blobs, locals_):
        """Decodes one parameter into the struct of arguments."""
        lvalue = f"a.{item.name}"
        first = item.field is command.command.params[0]
        if item.kind == "null":
            at = body.take(8, item.name)
            body.bad(f"pv_venus_load_u64({at})", item.name, "it must be NULL", f"pv_venus_load_u64({at})")
            body.then(f"{lvalue} = NULL;")
        elif item.kind == "handle":
            at = body.take(8, item.name)
            function = "pv_venus_load_dispatch" if first and command.nonnull else \
                f"pv_venus_{'need' if item.null_if == 'false' else 'load'}_object"
            body.uses.add("handle")
            body.then(f"if (!{function}(d, pv_venus_load_u64({at}), {object_type(item.type)}, {body.field(item.name)}, &{lvalue}_object, &handle))")
            body.then("\treturn;")
            body.then(f"{lvalue} = ({item.type})(uintptr_t)handle;")
            if item.null_if not in ("true", "false"):
                body.bad(f"!{lvalue} && !{item.null_if}", item.name, "it must not be NULL", "0")
        elif headers.is_created(item) and item.kind == "pointer":
            at = body.take(16, item.name)
            locals_.append(f"{item.type} made_{item.name} = VK_NULL_HANDLE;")
            body.bad(f"!pv_venus_load_u64({at})", item.name, "it must not be NULL", "0")
            body.then(f"{lvalue}_id = pv_venus_load_u64({plus(at, 8)});")
            body.then(f"{lvalue} = &made_{item.name};")
            created.append(item)
        elif headers.is_created(item):
            locals_.append(f"uint64_t n_{item.name};")
            body.count(item, f"n_{item.name}")
            body.uses.discard(f"n_{item.name}")
            body.line(f"{lvalue} = NULL;")
            body.line(f"{lvalue}_ids = NULL;")
            body.line(f"if (n_{item.name} && !pv_venus_take_ids(d, n_{item.name}, sizeof(*{lvalue}), {body.field(item.name)}, (void **)&ids_{item.name}, &{lvalue}_ids))")
            body.line("return;", 1)
            body.lines[-2] = body.lines[-2].replace(f"(void **)&ids_{item.name}", f"&handles_{item.name}")
            locals_.append(f"void *handles_{item.name} = NULL;")
            body.line(f"{lvalue} = handles_{item.name};")
            created.append(item)
            output_arrays.append(item)
        elif item.kind == "blob" and item.mode == "in~":
            locals_.append(f"uint64_t n_{item.name};")
            body.count(item, f"n_{item.name}")
            body.uses.discard(f"n_{item.name}")
            blobs.append(item)
            output_arrays.append(item)
        elif item.kind == "pointer" and not item.optional and item.payload in ("struct", "scalar", "none"):
            self.single(command, item, body, locals_)
        elif item.kind == "array" and item.fixed:
            size = body.element_size(item)
            count = self.shape.constant(item.length)
            assert size == 4, item.name
            at = body.take(8 + size * count, item.name)
            body.bad(f"pv_venus_load_u64({at}) != {count}", item.name, "it has not as many elements as it should", f"pv_venus_load_u64({at})")
            body.then(f"{lvalue} = (const {item.type} *)pv_venus_const({plus(at, 8)});")
        elif item.kind == "array" and item.mode == "in~":
            locals_.append(f"uint64_t n_{item.name};")
            body.count(item, f"n_{item.name}")
            body.uses.discard(f"n_{item.name}")
            body.line(f"{lvalue} = NULL;")
            body.line(f"if (n_{item.name}) {{")
            body.depth += 1
            body.line(f"{item.type} *p;")
            body.line("")
            body.elements(item, f"n_{item.name}", lvalue)
            body.depth -= 1
            body.line("}")
            output_arrays.append(item)
        elif item.kind == "array" and item.payload == "handle" and command.name in protocol.HANDLERS:
            body.count(item, "count")
            locals_.append(f"void *handles_{item.name} = NULL;")
            body.line(f"{lvalue}_objects = NULL;")
            body.line(f"if (count && !pv_venus_take_objects(d, count, {item.null_if}, {object_type(item.type)}, {body.field(item.name)}, &handles_{item.name}, &{lvalue}_objects))")
            body.line("return;", 1)
            body.line(f"{lvalue} = handles_{item.name};")
        else:
            body.item(item, lvalue)

    def single(self, command, item, body, locals_):
        """A struct or scalar of the caller: lives on the stack."""
        output = item.mode == "in~"
        struct = self.registry.structs.get(self.registry.resolve(item.type))
        zero = ""
        if output:
            zero = " = {0}" if struct else " = 0"
        locals_.append(f"{item.type} v_{item.name}{zero};")
        at = body.take(8, item.name)
        body.bad(f"!pv_venus_load_u64({at})", item.name, "it must not be NULL", "0")
        body.then(f"a.{item.name} = &v_{item.name};")
        if item.payload == "none":
            return
        if item.payload == "scalar":
            at = body.take(self.wire.width(item.type), item.name)
            body.then(f"v_{item.name} = {body.load(item.type, at)};")
            return
        size = self.shape.fixed(item.type, item.mode)
        if size is not None:
            if size:
                body.load_struct(item, f"v_{item.name}", body.take(size, item.name), item.name)
            return
        body.flush()
        body.line(f"if (!{decode_name(self.wire, item)}(d, &v_{item.name}))")
        body.line("return;", 1)

    def destroyed(self, command):
        """The parameter whose object a generated destroy takes away; None if it is no such command."""
        if command.name in protocol.HANDLERS or not command.name.startswith("vkDestroy"):
            return None
        params = command.request
        assert len(params) == 3 and params[1].kind == "handle", command.name
        return params[1]

    def functions(self, command):
        first = command.command.params[0]
        if first.type in ("VkInstance", "VkPhysicalDevice"):
            return "d->context->instance_fn"
        return f"a.{first.name}_object->device->fn"

    def call(self, command, line, depth):
        line(f"fn = {self.functions(command)}.{command.name[2:]};", depth)
        line("if (__builtin_expect(!fn, 0)) {", depth)
        line(f"pv_venus_fail(d, \"{command.name}\", \"the host's driver has no such function\", 0);", depth + 1)
        line("return;", depth + 1)
        line("}", depth)
        arguments = ", ".join("a." + field.name for field in command.command.params)
        returned = "" if command.command.returns == "void" else "a.ret = "
        line(f"{returned}fn({arguments});", depth)

    def destroy_function(self, item):
        return "Destroy" + item.type[2:]

    def enter(self, command, item, owner, line, depth):
        """What the driver made gets its id."""
        functions = self.functions(command)
        kind = object_type(item.type)
        destroy = self.destroy_function(item)
        if item.kind == "pointer":
            line(f"if (!pv_venus_created(d, {kind}, a.{item.name}_id, (uint64_t)(uintptr_t)made_{item.name}, a.ret, {owner}) && a.ret >= 0)", depth)
            line(f"{functions}.{destroy}(a.device, made_{item.name}, NULL);", depth + 1)
            return
        line(f"for (uint64_t i = 0; i < n_{item.name}; i++) {{", depth)
        line(f"{item.type} made = a.{item.name}[i];", depth + 1)
        line("", depth + 1)
        line(f"if (!pv_venus_created(d, {kind}, a.{item.name}_ids[i], (uint64_t)(uintptr_t)made, a.ret, {owner}) && made)", depth + 1)
        line(f"{functions}.{destroy}(a.device, made, NULL);", depth + 2)
        line("}", depth)

    def tombstone(self, item, owner, line):
        if item.kind == "pointer":
            line(f"if (!pv_venus_created(d, {object_type(item.type)}, a.{item.name}_id, 0, VK_ERROR_OUT_OF_DEVICE_MEMORY, {owner}))", 2)
            line("return;", 3)
            return
        line(f"for (uint64_t i = 0; i < n_{item.name}; i++)", 2)
        line(f"if (!pv_venus_created(d, {object_type(item.type)}, a.{item.name}_ids[i], 0, VK_ERROR_OUT_OF_DEVICE_MEMORY, {owner}))", 3)
        line("return;", 4)

    def destroy_call(self, command, item, line):
        name = item.name
        member = command.name[2:]
        # Another ring may destroy it at the same time: one of the two does. It may be one of another device by now.
        line(f"if (a.{name}_object && pv_venus_object_remove(d->objects, a.{name}_object, &removed) && removed.handle &&")
        line(f"removed.device->fn.{member})", 2)
        line(f"removed.device->fn.{member}(removed.device->handle, ({item.type})(uintptr_t)removed.handle, NULL);", 2)

    # ---- Replies ----

    def reply_size_before_blob(self, command):
        size = 4 + (0 if command.command.returns == "void" else self.wire.width(command.command.returns))
        for item in command.reply[:-1]:
            assert item.kind == "pointer" and item.payload == "scalar", command.name
            size += 8 + self.wire.width(item.type)
        return size + 8

    def reserve_blob(self, command, item, body):
        """Where the driver writes: in place in the reply, or nowhere in particular."""
        assert command.reply[-1].field is item.field, command.name
        ahead = self.reply_size_before_blob(command)
        return [f"\ta.{item.name} = NULL;",
                f"\tif (n_{item.name} && !pv_venus_reserve_blob(d, {ahead}, n_{item.name}, {body.field(item.name)}, &a.{item.name}))",
                "\t\treturn;"]

    def reply_function(self, command, output_arrays, blobs):
        name = command.name
        writer = Writer(self.shape, "a->")
        at = writer.put(4)
        writer.then(f"pv_venus_store_u32({at}, {command.id});")
        if command.command.returns != "void":
            writer.store(command.command.returns, writer.put(self.wire.width(command.command.returns)), "a->ret")
        for item in command.reply:
            value = f"a->{item.name}"
            if headers.is_created(item) and item.kind == "pointer":
                at = writer.put(16)
                writer.then(f"pv_venus_store_u64({at}, 1);")
                writer.then(f"pv_venus_store_u64({plus(at, 8)}, *{value} ? {value}_id : 0);")
            elif item.kind == "pointer" and item.payload == "scalar" and not item.optional:
                at = writer.put(8)
                writer.then(f"pv_venus_store_u64({at}, 1);")
                writer.store(item.type, writer.put(self.wire.width(item.type)), f"*{value}")
            elif item.kind == "blob":
                writer.flush()
                length = self.reply_length(item)
                writer.line(f"pv_venus_reply_blob(d, {value}, {length});")
            elif item.kind == "array":
                writer.flush()
                length = self.reply_length(item)
                if item.payload == "handle":
                    writer.uses.add("count")
                    writer.line(f"count = {value} ? {length} : 0;")
                    writer.line("pv_venus_reply_u64(r, count);")
                    writer.line("for (uint64_t i = 0; i < count; i++)")
                    writer.line(f"pv_venus_reply_u64(r, {value}[i] ? {value}_ids[i] : 0);", 1)
                else:
                    writer.array(item, value, length)
            elif item.kind == "pointer" and not item.optional and self.shape.fixed(item.type, item.mode) is None:
                at = writer.put(8)
                writer.then(f"pv_venus_store_u64({at}, 1);")
                writer.flush()
                writer.element(item, f"(*{value})", value)
            else:
                writer.item(item, value)
        writer.flush()
        extra = "".join(f", uint64_t n_{item.name}" for item in output_arrays)
        lines = [f"static void reply_{name}(struct pv_venus_decoder *d, const struct pv_venus_args_{name} *a{extra})", "{",
                 "\tstruct pv_venus_reply *r = &d->reply;", *writer.locals(), ""]
        lines += ["\tif (!pv_venus_reply_begin(d))", "\t\treturn;"] if False else []
        return lines + [text.replace("return;", "goto out;") for text in writer.lines] + \
            (["out:"] if any("return;" in text for text in writer.lines) else []) + ["\tpv_venus_reply_end(d);", "}", ""]

    def reply_length(self, item):
        """Elements of an output array: as many as the driver says, but no more than there is room for."""
        length = item.length.lstrip("*")
        if item.length.startswith("*"):
            return f"pv_venus_min((uint64_t)*a->{length}, n_{item.name})"
        return f"n_{item.name}"

    def sources(self):
        prototypes, pieces = self.structs()
        internal, words = self.internal_h([
            f"#define PV_VENUS_NR_COMMANDS {max(command.id for command in self.wire.commands) + 1}u",
            f"#define PV_VENUS_NR_CHAINED {len(self.chained)}",
            "extern const struct pv_venus_chain_struct pv_venus_chain_structs[PV_VENUS_NR_CHAINED];",
            "_Static_assert(PV_VENUS_NR_CHAINED <= 64 * PV_VENUS_CHAIN_SET_WORDS, \"the sets are too small\");", "", *prototypes])
        files = {"internal.h": internal}
        include = BANNER + "#include \"venus/generated/internal.h\"\n\n"
        for number, part in enumerate(spread(pieces, STRUCT_FILES)):
            files[f"structs_{number}.c"] = include + "\n".join(line for piece in part for line in piece)
        files["structs_0.c"] += "\n" + "\n".join(self.chain_table())
        functions = [self.execute(command) for command in self.commands]
        tables = []
        include = BANNER + "#include \"venus/device.h\"\n#include \"venus/generated/commands.h\"\n#include \"venus/generated/internal.h\"\n\n"
        for number, part in enumerate(spread(functions, COMMAND_FILES)):
            text = "\n".join(line for piece in part for line in piece)
            text = re.sub(r"^static void execute_", "void pv_venus_execute_", text, flags=re.M)
            files[f"commands_{number}.c"] = include + text
        tables += [f"void pv_venus_execute_{command.name}(struct pv_venus_decoder *d);" for command in self.commands]
        files["internal.h"] = files["internal.h"].replace("\n#endif\n", "\n" + "\n".join(tables) + "\n\n#endif\n")
        files["dispatch.c"] = self.dispatch()
        return files

    def dispatch(self):
        lines = [BANNER + "#include \"venus/device.h\"\n#include \"venus/generated/commands.h\"\n#include \"venus/generated/internal.h\"\n",
                 "const struct pv_venus_command pv_venus_commands[PV_VENUS_NR_COMMANDS] = {"]
        for command in self.wire.commands:
            function = "NULL" if command.name in protocol.REFUSED else f"pv_venus_execute_{command.name}"
            lines.append(f"\t[{command.id}] = {{{function}, \"{command.name}\"}},")
        lines += ["};", "", "void pv_venus_destroy_handle(struct pv_venus_device *device, unsigned type, uint64_t handle)", "{",
                  "\tswitch (type) {"]
        _, device = headers.function_lists(self.wire)
        members = {member for member, _, _ in device}
        for name in protocol.OBJECT_TYPES:
            member = "Destroy" + name[2:]
            free = None
            if name == "VkDeviceMemory":
                member = "FreeMemory"
            if name in ("VkInstance", "VkDevice") or member not in members:
                continue
            lines += [f"\tcase {object_type(name)}:", f"\t\tif (device->fn.{member})",
                      f"\t\t\tdevice->fn.{member}(device->handle, ({name})(uintptr_t)handle, NULL);", "\t\tbreak;"]
        lines += ["\tdefault:", "\t\tbreak;", "\t}", "}", ""]
        return "\n".join(lines)


def spread(pieces, files):
    """Consecutive pieces, about the same size each."""
    total = sum(map(len, pieces))
    parts, size = [[]], 0
    for piece in pieces:
        if size > total * len(parts) / files:
            parts.append([])
        parts[-1].append(piece)
        size += len(piece)
    while len(parts) < files:
        parts.append([])
    return parts

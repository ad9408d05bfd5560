# SPDX-License-Identifier: MIT
"""A driver that does nothing, for tests of the codec: null_functions.c, behind src/venus/null_driver.h.

With PV_VENUS_NULL_HOST it is only that, for tests of the handlers; without, it takes their place as well.
"""

import headers
import protocol
from emit import Body, WRONG_COUNT, plus
from headers import BANNER, object_type

# null_driver.c has these.
BY_HAND = """
vkSetReplyCommandStreamMESA vkSeekReplyCommandStreamMESA vkExecuteCommandStreamsMESA
vkCreateInstance vkEnumeratePhysicalDevices vkCreateDevice vkDestroyDevice vkDestroyInstance
vkFreeMemory vkFreeCommandBuffers vkFreeDescriptorSets vkDestroyCommandPool vkDestroyDescriptorPool vkResetDescriptorPool
""".split()


class Filler(Body):
    """Reads a recorded reply into what the codec made room for."""

    called = set()

    def load_handle(self, lvalue, item, at, name):
        self.then(f"{lvalue} = ({item.type})(uintptr_t)pv_venus_load_u64({at});")

    def load_fixed_array(self, item, lvalue, at, label):
        if item.payload != "handle":
            super().load_fixed_array(item, lvalue, at, label)
            return
        for index in range(self.shape.constant(item.length)):
            self.load_handle(f"{lvalue}[{index}]", item, plus(at, 8 + 8 * index), label)

    def struct_of(self, item, lvalue):
        size = self.shape.fixed(item.type, item.mode)
        if size is None:
            self.flush()
            self.called.add(self.wire.registry.resolve(item.type))
            pointer = lvalue[1:] if lvalue.startswith("*") else "&" + lvalue
            self.line(f"if (!fill_{self.wire.registry.resolve(item.type)}(d, {pointer}))")
            self.line(self.fail, 1)
        elif size:
            self.load_struct(item, f"({lvalue})", self.take(size, item.name), item.name)
            self.flush()

    def item_struct(self, item, lvalue):
        self.struct_of(item, lvalue)

    def item_blob(self, item, lvalue):
        self.array(item, lvalue, self.expression(item.length))

    def item_array(self, item, lvalue):
        self.array(item, lvalue, self.expression(item.length))

    def array(self, item, lvalue, expected):
        at = self.take(8, item.name)
        self.uses.add("count")
        self.then(f"count = pv_venus_load_u64({at});")
        self.bad(f"count != ({lvalue} ? {expected} : 0)", item.name, WRONG_COUNT, "count")
        self.flush()
        size = 1 if item.kind == "blob" else self.element_size(item) or (8 if item.payload == "handle" else None)
        if size:
            self.uses.add("bytes")
            function = "pv_venus_take_bytes(d, count," if item.kind == "blob" else f"pv_venus_take_array(d, count, {size},"
            self.line(f"if (!{function} {self.field(item.name)}, &bytes))")
            self.line(self.fail, 1)
            # Handles are the null driver's own.
            if item.payload != "handle":
                self.line("if (count)")
                self.line(f"memcpy({lvalue}, bytes, count * {size});", 1)
            return
        self.line("for (uint64_t i = 0; i < count; i++) {")
        self.depth += 1
        self.struct_of(item, f"{lvalue}[i]")
        self.depth -= 1
        self.line("}")

    def item_pointer(self, item, lvalue):
        at = self.take(8, item.name)
        self.bad(f"(pv_venus_load_u64({at}) != 0) != ({lvalue} != NULL)", item.name, "it is not as it was sent", "0")
        self.flush()
        if item.payload == "struct":
            self.struct_of(item, f"*{lvalue}")
        elif item.payload == "handle":
            self.take(8, item.name)
            self.flush()
        else:
            self.then(f"*{lvalue} = {self.load(item.type, self.take(self.wire.width(item.type), item.name))};")
            self.flush()


def struct_fillers(codec):
    prototypes, functions = [], []
    table, bodies = {}, {}
    for name, mode in sorted(codec.used):
        if mode != "out" or codec.shape.fixed(name, mode) is not None:
            continue
        bodies[name] = Filler(codec.shape, name, "return false;", "v->")
        bodies[name].items(codec.wire.layouts[(name, mode)].items)
    for name, body in bodies.items():
        struct = codec.registry.structs[name]
        uses = any("v->" in line for line in body.lines)
        if name in Filler.called:
            prototypes.append(f"static bool fill_{name}(struct pv_venus_decoder *d, {name} *v);")
        if struct.stype:
            prototypes.append(f"static bool fill_self_{name}(struct pv_venus_decoder *d, void *memory);")
            functions += [f"static bool fill_self_{name}(struct pv_venus_decoder *d, void *memory)", "{",
                          *([f"\t{name} *v = memory;"] if uses else []), *body.locals(), "",
                          *([] if uses else ["\t(void)memory;"]), *([] if body.lines else ["\t(void)d;"]),
                          *body.lines, "\treturn true;", "}", ""]
            if name in Filler.called:
                functions += [f"static bool fill_{name}(struct pv_venus_decoder *d, {name} *v)", "{",
                              "\treturn pv_venus_null_fill_head(d, (uint32_t)v->sType, v->pNext, fillers) && "
                              f"fill_self_{name}(d, v);", "}", ""]
            if name in codec.numbers:
                table[codec.numbers[name]] = f"fill_self_{name}"
        else:
            functions += [f"static bool fill_{name}(struct pv_venus_decoder *d, {name} *v)", "{", *body.locals(), "",
                          *body.lines, "\treturn true;", "}", ""]
    lines = prototypes + ["", "static bool (*const fillers[PV_VENUS_NR_CHAINED])(struct pv_venus_decoder *d, void *memory) = {"]
    lines += [f"\t[{number}] = {function}," for number, function in sorted(table.items())]
    return lines + ["};", ""] + functions


def fill(codec, command, prefix):
    """Statements that take the command's results from the recorded reply, into `ret` if it has one."""
    body = Filler(codec.shape, command.name, "goto odd;", prefix)
    body.depth = 2
    body.bad(f"pv_venus_load_u32({body.take(4, 'reply')}) != {command.id}", "reply", "it is another command's", "0")
    if command.command.returns != "void":
        returns = command.command.returns
        body.then(f"ret = {body.load(returns, body.take(codec.wire.width(returns), 'ret'))};")
    for item in command.reply:
        value = prefix + item.name
        if item.kind == "pointer":
            body.item_pointer(item, value)
        else:
            body.array(item, value, body.expression(item.length))
    body.flush()
    return body


def replay(codec, command, prefix):
    body = fill(codec, command, prefix)
    lines = ["\tif (pv_venus_null.recorded.cursor) {", "\t\tstruct pv_venus_decoder *d = &pv_venus_null.recorded;",
             *["\t" + line for line in body.locals()], "", *body.lines, "\t}"]
    return lines, ["odd:"] if any("goto odd;" in line for line in body.lines) else []


def stub(codec, command):
    """The driver's function."""
    name = command.name
    parameters = ", ".join(field.declaration for field in command.command.params)
    lines = [f"static {command.command.returns} VKAPI_CALL null_{name}({parameters})", "{"]
    made = [item for item in command.request if headers.is_created(item)]
    lines += [f"\t(void){field.name};" for field in command.command.params]
    if command.command.returns != "void":
        lines.append(f"\t{command.command.returns} ret = {'pv_venus_null.result' if command.command.returns == 'VkResult' else '0'};")
    lines += ["", "\tpv_venus_null.nr_calls++;"]
    label = []
    if command.reply or command.command.returns != "void":
        more, label = replay(codec, command, "")
        lines += more
    lines += label
    for item in made:
        target = f"*{item.name}" if item.kind == "pointer" else f"{item.name}[i]"
        if item.kind == "array":
            lines.append(f"\tfor (uint32_t i = 0; i < {item.length}; i++)")
        condition = "ret >= 0 ? " if command.command.returns == "VkResult" else ""
        other = " : VK_NULL_HANDLE" if condition else ""
        lines.append(f"\t{target} = {condition}({item.type})(uintptr_t)++pv_venus_null.last_handle{other};")
    if command.command.returns != "void":
        lines.append("\treturn ret;")
    elif label:
        lines.append("\treturn;")
    return lines + ["}", ""]


def handler(codec, command):
    """In place of our own code."""
    name = command.name
    lines = [f"void pv_venus_handle_{name}(struct pv_venus_decoder *decoder, struct pv_venus_args_{name} *args)", "{"]
    returns = command.command.returns
    if returns != "void":
        lines.append(f"\t{returns} ret = {'pv_venus_null.result' if returns == 'VkResult' else '0'};")
    lines += ["", "\t(void)decoder;", "\t(void)args;", "\tpv_venus_null.nr_calls++;"]
    if command.reply or returns != "void":
        more, label = replay(codec, command, "args->")
        lines += more + label
    if returns != "void":
        lines.append("\targs->ret = ret;")
    pool = "pool_object" if any(item.kind == "pointer" and item.type in protocol.POOL_MEMBERS for item in command.request) else None
    for item in command.request:
        if not headers.is_created(item):
            continue
        owner = pool or "device_object"
        result = "args->ret" if command.command.returns == "VkResult" else "VK_SUCCESS"
        call = f"pv_venus_null_make(decoder, {object_type(item.type)}, %s, {result}, args->{owner})"
        if item.kind == "pointer":
            lines.append(f"\t*args->{item.name} = ({item.type})(uintptr_t)" + call % f"args->{item.name}_id" + ";")
        else:
            lines.append(f"\tfor (uint32_t i = 0; i < args->{item.length}; i++)")
            lines.append(f"\t\targs->{item.name}[i] = ({item.type})(uintptr_t)" + call % f"args->{item.name}_ids[i]" + ";")
    if lines[-1] == "odd:":
        lines.append("\treturn;")
    return lines + ["}", ""]


def functions_c(codec):
    wire = codec.wire
    head = [BANNER + "#include \"venus/null_driver.h\"\n\n#include \"venus/generated/commands.h\"\n"
            "#include \"venus/generated/internal.h\"\n"]
    lines, instance, device = [], [], []
    for command in codec.commands:
        name, first = command.name, command.command.params[0].type
        own = name in protocol.HANDLERS
        if own and name not in BY_HAND:
            lines += ["#ifndef PV_VENUS_NULL_HOST", *handler(codec, command), "#endif", ""]
        if own and (name.endswith("MESA") or name in protocol.GLOBAL_FUNCTIONS):
            continue
        lines += ["#ifdef PV_VENUS_NULL_HOST", *stub(codec, command), "#endif", ""] if own else stub(codec, command)
        (instance if first in ("VkInstance", "VkPhysicalDevice") else device).append((name, own))
    for table, names in (("instance", instance), ("device", device)):
        lines += [f"void pv_venus_null_{table}_functions(struct pv_venus_{table}_functions *fn)", "{", "\tmemset(fn, 0, sizeof(*fn));"]
        lines += [f"\tfn->{name[2:]} = null_{name};" for name, own in names if not own]
        lines += ["#ifdef PV_VENUS_NULL_HOST", *[f"\tfn->{name[2:]} = null_{name};" for name, own in names if own], "#endif", "}", ""]
    # Last, when it is known which are called.
    return "\n".join(head + struct_fillers(codec) + lines)

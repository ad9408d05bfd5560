# SPDX-License-Identifier: MIT
"""What vk.xml says, as plain objects: types, members, commands, extensions.

Only what the wire needs is kept. Nothing here knows of Venus.
"""

import re
import xml.etree.ElementTree as ElementTree


class Field:
    """A struct's member or a command's parameter."""

    __slots__ = ("owner", "name", "type", "const", "pointers", "dims", "bits", "len", "optional", "noauto", "values", "selector",
                 "selection", "declaration")

    def __init__(self, element, owner):
        self.owner = owner
        text, after = "", ""
        seen_name = False
        for part, is_tag in _pieces(element):
            if is_tag == "comment":
                continue
            if is_tag == "name":
                self.name = part
                seen_name = True
                text += part
                continue
            text += part
            if seen_name:
                after += part
        self.type = element.findtext("type").strip()
        # "T* name" of vk.xml as "T *name".
        self.declaration = re.sub(r"\s*\*\s*(const\s*\*)?\s*(?=\w)", lambda star: " *" + ("const *" if star.group(1) else ""),
                                  re.sub(r"\s+", " ", text).strip())
        before = self.declaration.split(self.name)[0] if self.name not in self.type else \
            self.declaration.rpartition(self.name)[0]
        self.pointers = before.count("*")
        # Whether what the (outermost) pointer points to may be written: output parameters are not const.
        self.const = before.lstrip().startswith("const ")
        self.dims = re.findall(r"\[([^\]]*)\]", after)
        self.bits = re.search(r":\s*(\d+)", after)
        self.len = element.get("altlen") or element.get("len")
        self.optional = (element.get("optional") or "false").split(",")
        self.noauto = element.get("noautovalidity") == "true"
        self.values = element.get("values")
        self.selector = element.get("selector")
        self.selection = (element.get("selection") or "").split(",") if element.get("selection") else []


class Struct:
    __slots__ = ("name", "union", "fields", "stype", "extends", "duplicates", "returned_only")

    def __init__(self, element):
        self.name = element.get("name")
        self.union = element.get("category") == "union"
        self.fields = [Field(member, self.name) for member in element.findall("member") if _vulkan(member)]
        first = self.fields[0] if self.fields else None
        self.stype = first.values if first and first.name == "sType" else None
        self.extends = (element.get("structextends") or "").split(",") if element.get("structextends") else []
        self.duplicates = element.get("allowduplicate") == "true"
        self.returned_only = element.get("returnedonly") == "true"


class Command:
    __slots__ = ("name", "returns", "params", "errors")

    def __init__(self, element):
        proto = element.find("proto")
        self.name = proto.findtext("name")
        self.returns = proto.findtext("type")
        self.params = [Field(param, self.name) for param in element.findall("param") if _vulkan(param)]
        self.errors = (element.get("errorcodes") or "").split(",")


class Extension:
    __slots__ = ("name", "number", "spec_version", "requires")


def _vulkan(element):
    api = element.get("api")
    return api is None or "vulkan" in api.split(",")


def _pieces(element):
    yield element.text or "", None
    for child in element:
        yield child.text or "", child.tag
        yield child.tail or "", None


def _holds(depends, present):
    """vk.xml's conditions: names, + for and, a comma for or, parentheses; from left to right."""
    tokens = re.findall(r"[\w:]+|[+,()]", depends)

    def term():
        token = tokens.pop(0)
        if token != "(":
            return token.split("::")[0] in present
        value = expression()
        tokens.pop(0)
        return value

    def expression():
        value = term()
        while tokens and tokens[0] in "+,":
            operator, right = tokens.pop(0), term()
            value = (value and right) if operator == "+" else (value or right)
        return value

    return expression()


class Registry:
    def __init__(self, *paths):
        self.structs, self.commands, self.extensions = {}, {}, {}
        self.aliases = {}          # alias -> name, of types and commands
        self.category = {}         # type -> category of vk.xml
        self.flags64 = set()       # 64-bit flag types
        self.handles = {}          # handle -> dispatchable
        self.enum_values, self.constants = {}, {}
        self.core = []             # (version's name, requires)
        self.formats = []          # (name, bytes of a block, extent of a block, formats of its planes)
        self.header_version = 0
        for path in paths:
            self._read(ElementTree.parse(path).getroot())

    def _read(self, root):
        for element in root.findall("types/type"):
            if _vulkan(element):
                self._read_type(element)
        for block in root.findall("enums"):
            for value in block.findall("enum"):
                self._read_enum(value, None)
            if block.get("bitwidth") == "64":
                self.flags64.add(block.get("name"))
        for element in root.findall("formats/format"):
            extent = [int(part) for part in (element.get("blockExtent") or "1,1,1").split(",")]
            planes = [plane.get("compatible") for plane in element.findall("plane")]
            self.formats.append((element.get("name"), int(element.get("blockSize")), extent, planes))
        for element in root.findall("commands/command"):
            if not _vulkan(element):
                continue
            if element.get("alias"):
                self.aliases[element.get("name")] = element.get("alias")
            else:
                command = Command(element)
                self.commands[command.name] = command
        for feature in root.findall("feature"):
            if any(api in ("vulkan", "vulkanbase") for api in feature.get("api").split(",")):
                self.core.append((feature.get("name"), self._read_requires(feature, None)))
        for element in root.findall("extensions/extension"):
            extension = Extension()
            extension.name, extension.number = element.get("name"), int(element.get("number"))
            extension.spec_version = 1
            for enum in element.iter("enum"):
                if (enum.get("name") or "").endswith("_SPEC_VERSION") and (enum.get("value") or "").isdigit():
                    extension.spec_version = int(enum.get("value"))
            supported = (element.get("supported") or "").split(",")
            extension.requires = self._read_requires(element, extension.number)
            if "vulkan" in supported:
                self.extensions[extension.name] = extension

    def _read_type(self, element):
        name, category = element.get("name") or element.findtext("name"), element.get("category")
        if category == "define" and name == "VK_HEADER_VERSION":
            self.header_version = int(re.search(r"VK_HEADER_VERSION\s*(\d+)", "".join(element.itertext())).group(1))
        if not name or category in (None, "define", "include"):
            if name and category is None:
                self.category.setdefault(name, "external")
            return
        self.category[name] = category
        if element.get("alias"):
            self.aliases[name] = element.get("alias")
        elif category in ("struct", "union"):
            self.structs[name] = Struct(element)
        elif category == "handle":
            self.handles[name] = element.findtext("type") == "VK_DEFINE_HANDLE"
        elif category == "bitmask" and element.findtext("type") == "VkFlags64":
            self.flags64.add(name)

    def _read_enum(self, element, extension_number):
        name = element.get("name")
        if not _vulkan(element) or name in self.enum_values:
            return
        if element.get("alias"):
            self.enum_values[name] = element.get("alias")
        elif element.get("offset") is not None:
            number = int(element.get("extnumber") or extension_number)
            value = 1000000000 + (number - 1) * 1000 + int(element.get("offset"))
            self.enum_values[name] = -value if element.get("dir") == "-" else value
        elif element.get("value") is not None:
            text = element.get("value")
            try:
                self.enum_values[name] = int(text, 0)
                self.constants[name] = int(text, 0)
            except ValueError:
                pass

    def _read_requires(self, block, number):
        """What it brings, as (condition, types, commands)."""
        requires = []
        for require in block.findall("require"):
            if not _vulkan(require):
                continue
            requires.append((require.get("depends"), {element.get("name") for element in require.findall("type")},
                             {element.get("name") for element in require.findall("command")}))
            for enum in require.findall("enum"):
                self._read_enum(enum, number)
        return requires

    def available(self, extensions):
        """Types and commands of the core versions and the named extensions, under their own names."""
        present = {name for name, _ in self.core} | set(extensions)
        blocks = [requires for _, requires in self.core] + [self.extensions[name].requires for name in extensions]
        types, commands = set(), set()
        for depends, more_types, more_commands in (require for requires in blocks for require in requires):
            if depends is None or _holds(depends, present):
                types |= more_types
                commands |= more_commands
        return {self.resolve(name) for name in types}, {self.resolve(name) for name in commands}

    def resolve(self, name):
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def enum_value(self, name):
        value = name
        while isinstance(value, str):
            value = self.enum_values.get(value)
        return value

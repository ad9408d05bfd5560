# SPDX-License-Identifier: MIT
"""The generator. test_gen.py VK_XML [unittest's arguments]"""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True

import codec  # noqa: E402
import generate  # noqa: E402
import golden  # noqa: E402
import protocol  # noqa: E402
import registry  # noqa: E402
import wire  # noqa: E402

VK_XML = sys.argv.pop(1)

# A registry with one of each trick.
TINY = """<registry>
<types>
<type category="handle"><type>VK_DEFINE_HANDLE</type>(<name>VkDevice</name>)</type>
<type category="struct" name="VkHead"><member values="VK_STRUCTURE_TYPE_HEAD"><type>VkStructureType</type> <name>sType</name></member>
<member optional="true">const <type>void</type>* <name>pNext</name></member>
<member len="count" optional="true">const <type>uint32_t</type>* <name>pBefore</name></member><member><type>uint32_t</type> <name>count</name></member>
<member len="names,null-terminated">const <type>char</type>* const* <name>ppNames</name></member><member><type>uint32_t</type> <name>names</name></member>
<member api="vulkansc"><type>uint32_t</type> <name>other</name></member>
<member><type>float</type> <name>four</name>[4]</member></type>
<type category="struct" name="VkTail" structextends="VkHead"><member values="VK_STRUCTURE_TYPE_TAIL"><type>VkStructureType</type> <name>sType</name></member>
<member>const <type>void</type>* <name>pNext</name></member><member><type>VkBool32</type> <name>yes</name></member></type>
</types>
<enums name="VkStructureType" type="enum"><enum value="7" name="VK_STRUCTURE_TYPE_HEAD"/></enums>
<feature api="vulkan" name="VK_VERSION_1_0" number="1.0"><require><type name="VkHead"/></require></feature>
<extensions><extension name="VK_A" number="3" supported="vulkan"><require>
<enum offset="2" extends="VkStructureType" name="VK_STRUCTURE_TYPE_TAIL"/><enum value="5" name="VK_A_SPEC_VERSION"/></require>
<require depends="VK_VERSION_1_0+VK_B"><type name="VkTail"/></require></extension></extensions>
</registry>"""


class RegistryTest(unittest.TestCase):
    def setUp(self):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(TINY)
            file.flush()
            self.registry = registry.Registry(file.name)

    def test_members(self):
        fields = self.registry.structs["VkHead"].fields
        self.assertEqual([field.name for field in fields], ["sType", "pNext", "pBefore", "count", "ppNames", "names", "four"])
        self.assertEqual([field.pointers for field in fields], [0, 1, 1, 0, 2, 0, 0])
        self.assertEqual(fields[4].declaration, "const char *const *ppNames")
        self.assertEqual(fields[6].dims, ["4"])

    def test_a_length_behind_its_array_is_sent_before_it(self):
        order = [field.name for field in wire.lengths_first(self.registry.structs["VkHead"].fields[2:])]
        self.assertEqual(order, ["count", "pBefore", "names", "ppNames", "four"])

    def test_values_of_extensions(self):
        self.assertEqual(self.registry.enum_value("VK_STRUCTURE_TYPE_TAIL"), 1000002002)
        self.assertEqual(self.registry.extensions["VK_A"].spec_version, 5)

    def test_conditions(self):
        self.assertNotIn("VkTail", self.registry.available(["VK_A"])[0])
        for text, present, holds in (("A,B", "B", True), ("A+B", "B", False), ("(A,B)+C", "AC", True), ("A,B+C", "A", False),
                                     ("A+(B,C)", "AC", True)):
            self.assertEqual(registry._holds(text, set(present)), holds, text)


class WireTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = generate.load(VK_XML)
        cls.codec = codec.Codec(cls.model)
        cls.files = generate.generate(cls.model)

    def test_layouts_are_those_of_the_protocol(self):
        differences = "\n".join(golden.differences(self.model))
        self.assertFalse(differences, "\n" + differences)

    def test_sample(self):
        self.maxDiff = None
        self.assertMultiLineEqual(golden.sample(self.files), golden.read("sample.golden"),
                                  "./run gen --update-golden, then look at the difference")

    def test_everything_is_covered(self):
        if self.model.registry.header_version < wire.NEWEST_HEADER:
            self.skipTest("an older registry")
        self.assertEqual(len(self.model.commands), 325)
        self.assertEqual(golden.counts(golden.layout(self.model)), (325, 523))
        self.assertEqual(len(self.model.extensions), 187)
        self.assertEqual([line for line in self.model.missing if "has no encoding" not in line], [])

    def test_lists_name_commands_there_are(self):
        names = {line[1] for line in wire.pinned("command_ids.csv")}
        for name in [*protocol.HANDLERS, *protocol.REFUSED, *protocol.HANDLES_TOMBSTONES, *protocol.LOST_WITH_TOMBSTONES,
                     *wire.NO_ENCODING]:
            self.assertIn(name, names)
        self.assertLessEqual(set(protocol.HANDLES_TOMBSTONES), set(protocol.HANDLERS))
        self.assertFalse(set(protocol.HANDLERS) & set(protocol.REFUSED))

    def test_structs_do_not_contain_themselves(self):
        """Decoding is no deeper than the types are: only then may it recurse."""
        def walk(key, path):
            self.assertNotIn(key, path, " in ".join(map(str, path)))
            if key in done:
                return
            layout = self.model.layouts[key]
            for name in [item.type for item in layout.items if item.payload == "struct"] + layout.chain:
                walk((self.model.registry.resolve(name), key[1]), path + [key])
            done.add(key)

        done = set()
        for key in self.codec.used:
            walk(key, [])

    def test_chains_fit(self):
        self.assertLessEqual(len(self.codec.chained), 64 * 6)
        self.assertLess(max(len(layout.chain) for layout in self.model.layouts.values()), 256)

    def test_same_registry_same_files(self):
        self.assertEqual(generate.generate(generate.load(VK_XML)), self.files)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the Venus codec that a Vulkan registry makes possible."""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import codec  # noqa: E402
import examples  # noqa: E402
import formats  # noqa: E402
import golden  # noqa: E402
import headers  # noqa: E402
import null  # noqa: E402
import protocol  # noqa: E402
import registry  # noqa: E402
import wire  # noqa: E402


def load(vk_xml):
    return wire.Wire(registry.Registry(vk_xml, HERE / "venus.xml"))


def generate(model):
    """File name -> contents."""
    writer = codec.Codec(model)
    return {
        "protocol.h": headers.protocol_h(model),
        "functions.h": headers.functions_h(model),
        "commands.h": headers.commands_h(model),
        "functions.c": headers.functions_c(model),
        **writer.sources(),
        "null_functions.c": null.functions_c(writer),
        **formats.sources(model.registry),
    }


def report(model):
    """What is covered, and what is not and why."""
    commands, structs = golden.counts(golden.layout(model))
    all_commands, all_structs = golden.counts(golden.read("layout.txt"))
    refused = sum(command.name in protocol.REFUSED for command in model.commands)
    handled = sum(command.name in protocol.HANDLERS for command in model.commands)
    print(f"{commands} of {all_commands} commands: {commands - refused - handled} passed on to the driver, {handled} to code of "
          f"ours, {refused} refused")
    print(f"{structs} of {all_structs} structs, {len(model.extensions)} of {len(wire.pinned('extensions.csv'))} extensions")
    print(f"registry 1.4.{model.registry.header_version}; guests are told of 1.4.{model.header_version}")
    for line in model.missing:
        print(f"not covered: {line}")
    for name in sorted(protocol.REFUSED):
        print(f"refused: {name}: {protocol.REFUSED[name]}")
    for name, reason in sorted(wire.NOT_CHAINED.items()):
        print(f"in no chain: {name}: {reason}")
    for name, kind in sorted(model.undecodable.items()):
        print(f"in no chain: {name}: there is no encoding of {kind}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vk_xml", type=pathlib.Path, help="the registry")
    parser.add_argument("output", type=pathlib.Path, nargs="?", help="where the files go; without it they go nowhere")
    parser.add_argument("--report", action="store_true", help="say what is covered, and what is not and why")
    parser.add_argument("--update-golden", action="store_true", help="rewrite gen/golden/")
    options = parser.parse_args()
    model = load(options.vk_xml)
    files = generate(model)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (options.output / name).write_text(text, encoding="ascii")
        (options.output / "examples.bin").write_bytes(examples.Examples(model).all())
        (options.output / "nulls.bin").write_bytes(examples.Examples(model).nulls())
    if options.update_golden:
        golden.GOLDEN.mkdir(exist_ok=True)
        (golden.GOLDEN / "layout.txt").write_text(golden.layout(model), encoding="ascii")
        (golden.GOLDEN / "sample.golden").write_text(golden.sample(files), encoding="ascii")
    if options.report:
        report(model)


if __name__ == "__main__":
    main()

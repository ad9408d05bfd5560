#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the Venus codec: generate.py VK_XML OUTPUT_DIRECTORY."""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import codec  # noqa: E402
import headers  # noqa: E402
import null  # noqa: E402
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
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vk_xml", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, text in generate(load(options.vk_xml)).items():
        (options.output / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()

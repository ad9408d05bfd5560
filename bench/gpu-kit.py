# SPDX-License-Identifier: MIT
"""A directory that runs the Venus figures and tests on another machine's GPU: ./run bench gpu-kit DIRECTORY

That machine needs its Vulkan driver, Python 3 and a C library as new as _kit.OLDEST_GLIBC; it needs no Vulkan loader, no network
and nothing installed. There: bash DIRECTORY/run.sh. The driver runs on the machine's own C library, so none is carried.
"""

import argparse
import pathlib
import sys

import _kit
from _kit import LIBRARIES, KitError

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
LIMIT_MIB = 60
# Opened by name at run time, by the loader, by drivers or by the peer.
OPENED = ["libvulkan.so.1", "libvulkan_virtio.so", "libX11.so.6", "libX11-xcb.so.1", "libXext.so.6", "libGLdispatch.so.0", "libGLX.so.0",
          "libEGL.so.1", "libOpenGL.so.0"]

PROGRAMS = [BUILD / "pvgpu", BUILD / "bench/vkprobe/pvgpu-vkprobe", BUILD / "bench-venus-decode", BUILD / "tests/vk/vk-tests",
            pathlib.Path("/usr/bin/vkmark"),
            pathlib.Path("/usr/bin/vulkaninfo"), pathlib.Path("/usr/bin/virgl_test_server"), pathlib.Path("/usr/libexec/virgl_render_server")]


def make(directory):
    _kit.start_directory(directory)
    kit = _kit.Kit(directory)
    kit.add(TOP / "bench/gpu-kit/run.sh", "run.sh")
    for name in ("venus.py", "gpu-kit/compare.py", "gpu-kit/native.sh"):
        kit.add(TOP / "bench" / name, f"bench/{name}")
    for name in ("__init__", "figures", "procs"):
        kit.add(TOP / f"tests/e2e/rig/{name}.py", f"tests/e2e/rig/{name}.py")
    for program in PROGRAMS:
        if program.exists():
            kit.add_program(program)
        else:
            print(f"left out: {program}, which is not here", file=sys.stderr)
    for name in OPENED:
        if (LIBRARIES / name).exists():
            kit.add_library(name, LIBRARIES / name)
    for plugin in (LIBRARIES / "vkmark").glob("headless.so"):
        kit.add_program(plugin, "lib/vkmark")
    kit.add_tree(pathlib.Path("/usr/share/vkmark"), "share/vkmark")
    (directory / "virgl-server.version").write_text(_kit.output_of("dpkg-query", "-W", "-f", "${Version}\n", "virgl-server"))
    size_mib = _kit.size_mib(directory)
    if size_mib > LIMIT_MIB:
        raise KitError(f"{directory} has {size_mib:.0f} MiB, more than {LIMIT_MIB}")
    print(f"{directory}: {size_mib:.0f} MiB; run it with: bash run.sh [ARGUMENTS of bench venus]")


def main():
    parser = argparse.ArgumentParser(prog="./run bench gpu-kit", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path, nargs="?", default=BUILD / "gpu-kit")
    make(parser.parse_args().directory.resolve())
    return 0


if __name__ == "__main__":
    _kit.run(main)

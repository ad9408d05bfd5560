# SPDX-License-Identifier: MIT
"""A directory that runs the Venus figures and tests on another machine's GPU: ./run bench gpu-kit DIRECTORY

That machine needs its Vulkan driver, Python 3 and a C library as new as OLDEST_GLIBC; it needs no Vulkan loader, no network
and nothing installed. There: bash DIRECTORY/run.sh. The driver runs on the machine's own C library, so none is carried.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu")
OLDEST_GLIBC = (2, 39)  # of Ubuntu 24.04
LIMIT_MIB = 60
# The C library's own, which come from the machine, as must whatever belongs to its graphics driver.
OF_THE_MACHINE = re.compile(r"^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|anl|mvec|nss_.*)\.so.*)$")
# Opened by name at run time, by the loader, by drivers or by the peer.
OPENED = ["libvulkan.so.1", "libvulkan_virtio.so", "libX11.so.6", "libX11-xcb.so.1", "libXext.so.6", "libGLdispatch.so.0", "libGLX.so.0",
          "libEGL.so.1", "libOpenGL.so.0"]

PROGRAMS = [BUILD / "pvgpu", BUILD / "bench/vkprobe/pvgpu-vkprobe", BUILD / "bench-venus-decode", BUILD / "tests/vk/vk-tests",
            pathlib.Path("/usr/bin/vkmark"),
            pathlib.Path("/usr/bin/vulkaninfo"), pathlib.Path("/usr/bin/virgl_test_server"), pathlib.Path("/usr/libexec/virgl_render_server")]


class KitError(Exception):
    """Ends the program with a message for the user."""


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needed_libraries(path):
    """{name: path} of the libraries a file needs, those of the machine left out."""
    found = {}
    for line in output_of("ldd", str(path)).splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if not arrow:
            continue
        if "not found" in rest:
            raise KitError(f"{path} needs {name}, which is not here")
        if not OF_THE_MACHINE.match(name):
            found[name] = pathlib.Path(rest.split()[0])
    return found


def check_glibc(path):
    versions = {tuple(map(int, version.split("."))) for version in
                re.findall(r"GLIBC_([0-9.]+)", output_of("objdump", "-T", str(path)))}
    if versions and max(versions) > OLDEST_GLIBC:
        raise KitError(f"{path} needs glibc {'.'.join(map(str, max(versions)))}, newer than {'.'.join(map(str, OLDEST_GLIBC))}")


class Kit:
    def __init__(self, directory):
        self.directory = directory

    def add(self, source, place):
        """Never a link: some ways of carrying a directory lose them."""
        target = self.directory / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        return target

    def add_program(self, source, folder="bin"):
        target = self.add(source, f"{folder}/{source.name}")
        subprocess.run(["strip", "--strip-unneeded", str(target)], check=True)
        check_glibc(target)
        for name, path in needed_libraries(source).items():
            self.add_library(name, path)

    def add_library(self, name, path):
        if (self.directory / "lib" / name).exists():
            return
        check_glibc(self.add(path, f"lib/{name}"))
        for other, other_path in needed_libraries(path).items():
            self.add_library(other, other_path)

    def add_tree(self, source, place):
        for path in sorted(source.rglob("*")):
            if path.is_file():
                self.add(path, f"{place}/{path.relative_to(source)}")


def make(directory):
    marker = directory / "run.sh"
    if directory.exists() and any(directory.iterdir()) and not marker.exists():
        raise KitError(f"{directory} is not empty and no kit: choose another")
    shutil.rmtree(directory, ignore_errors=True)
    kit = Kit(directory)
    kit.add(TOP / "bench/gpu-kit/run.sh", "run.sh")
    for name in ("venus.py", "gpu-kit/compare.py"):
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
    (directory / "virgl-server.version").write_text(output_of("dpkg-query", "-W", "-f", "${Version}\n", "virgl-server"))
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    if size > LIMIT_MIB << 20:
        raise KitError(f"{directory} has {size >> 20} MiB, more than {LIMIT_MIB}")
    print(f"{directory}: {size / (1 << 20):.0f} MiB; run it with: bash run.sh [ARGUMENTS of bench venus]")


def main():
    parser = argparse.ArgumentParser(prog="./run bench gpu-kit", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path, nargs="?", default=BUILD / "gpu-kit")
    make(parser.parse_args().directory.resolve())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KitError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)

# SPDX-License-Identifier: MIT
"""Directories of programs with the libraries they need, to be run on another machine: what gpu-kit.py and vm-kit.py share."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
OLDEST_GLIBC = (2, 39)  # of Ubuntu 24.04
# The C library's own, which come from the machine, as must whatever belongs to its graphics driver.
OF_THE_MACHINE = re.compile(r"^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|anl|mvec|nss_.*)\.so.*)$")
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu")
DYNAMIC_LINKER = pathlib.Path("/lib64/ld-linux-x86-64.so.2")


class KitError(Exception):
    """Ends the program with a message for the user."""


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def in_root(root, path):
    """A file of a root by the path it has in there: its links are followed as they are in there."""
    path = pathlib.Path(path)
    for _ in range(20):
        parts, place = path.parts[1:], root
        for at, name in enumerate(parts):
            place = place / name
            if place.is_symlink():
                target = pathlib.Path(os.readlink(place))
                path = pathlib.Path(os.path.normpath("/" / pathlib.Path(*parts[:at]) / target), *parts[at + 1:])
                break
        else:
            return place
    raise KitError(f"{root}{path}: too many links")


def check_glibc(path):
    versions = {tuple(map(int, version.split("."))) for version in
                re.findall(r"GLIBC_([0-9.]+)", output_of("objdump", "-T", str(path)))}
    if versions and max(versions) > OLDEST_GLIBC:
        raise KitError(f"{path} needs glibc {'.'.join(map(str, max(versions)))}, newer than {'.'.join(map(str, OLDEST_GLIBC))}")


class Kit:
    """Copies programs and what they need from a root into a directory."""

    def __init__(self, directory, root="/", lib_folder="lib", own_glibc=False):
        """own_glibc: it brings its C library, and its programs run with no other."""
        self.directory, self.root = directory, pathlib.Path(root)
        self.lib_folder, self.own_glibc = lib_folder, own_glibc

    def source(self, path):
        """Where a file lies: one of the root, or one of this checkout, which is in no root."""
        path = pathlib.Path(path)
        return path if path.is_relative_to(TOP) else in_root(self.root, path)

    def needed_libraries(self, path):
        """{name: path in the root} of the libraries that a file there names itself."""
        text = output_of("objdump", "-p", str(self.source(path)))
        folders = [folder.replace("$ORIGIN", str(path.parent)) for line in re.findall(r"R(?:UN)?PATH +(\S+)", text)
                   for folder in line.split(":")]
        found = {}
        for name in re.findall(r"NEEDED +(\S+)", text):
            if OF_THE_MACHINE.match(name) and not self.own_glibc:
                continue
            places = [place for place in (pathlib.Path(folder) / name for folder in [*folders, LIBRARIES, DYNAMIC_LINKER.parent])
                      if self.source(place).exists()]
            if not places:
                raise KitError(f"{path} needs {name}, which is not in {self.root}")
            found[name] = places[0]
        return found

    def add(self, source, place):
        """Never a link: some ways of carrying a directory lose them."""
        source, target = self.source(source), self.directory / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        return target

    def add_program(self, source, folder="bin"):
        """A program or a plug-in, with all libraries it needs."""
        target = self.add(source, f"{folder}/{source.name}")
        subprocess.run(["strip", "--strip-unneeded", str(target)], check=True)
        self.add_needed(source, target)

    def add_library(self, name, path):
        if not (self.directory / self.lib_folder / name).exists():
            self.add_needed(path, self.add(path, f"{self.lib_folder}/{name}"))

    def add_needed(self, source, target):
        if not self.own_glibc:
            check_glibc(target)
        for name, path in self.needed_libraries(source).items():
            self.add_library(name, path)

    def add_tree(self, source, place):
        for path in sorted(self.source(source).rglob("*")):
            if path.is_file():
                self.add(path, f"{place}/{path.relative_to(self.source(source))}")


def start_directory(directory):
    """Empties it, if it is a kit or nothing."""
    if directory.exists() and any(directory.iterdir()) and not (directory / "run.sh").exists():
        raise KitError(f"{directory} is not empty and no kit: choose another")
    shutil.rmtree(directory, ignore_errors=True)


def size_mib(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / (1 << 20)


def run(main):
    """The program: main()'s exit code, or what is wrong."""
    try:
        sys.exit(main())
    except (KitError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)

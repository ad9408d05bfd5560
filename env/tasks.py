# SPDX-License-Identifier: MIT
"""The verbs of ./run that work inside the environment. Python 3, standard library only."""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"

# What distinguishes each build directory: compiler and meson options.
FLAVOURS = {
    "build": ("gcc", "g++", []),
    "build/asan": ("clang", "clang++", ["-Db_sanitize=address,undefined", "-Db_lundef=false"]),
    "build/tsan": ("clang", "clang++", ["-Db_sanitize=thread", "-Db_lundef=false"]),
    "build/fuzz": ("clang", "clang++", ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=true"]),
}


class Failure(Exception):
    """Ends the program with a message for the user."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def environment_id():
    """Names the environment a build directory belongs to: compilers of two of them do not mix."""
    try:
        return pathlib.Path("/.pvgpu-root").read_text().strip()
    except FileNotFoundError:
        return "host"


def setup_command(flavour):
    """The meson command that makes a build directory ready, or None if it is."""
    directory = TOP / flavour
    _, _, options = FLAVOURS[flavour]
    wanted = f"{environment_id()} {TOP} {' '.join(options)}\n"
    stamp = directory / ".pvgpu-environment"
    try:
        if stamp.read_text() == wanted and (directory / "build.ninja").exists():
            return None
    except FileNotFoundError:
        pass
    # Made elsewhere, for other options, or half made. Only meson's own: results of earlier runs stay.
    for name in ("meson-private", "meson-info", "meson-logs"):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in ("build.ninja", ".ninja_log", ".ninja_deps", "compile_commands.json"):
        (directory / name).unlink(missing_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    # Written first: meson clears nothing, and build.ninja, which is also asked for, appears at the very end.
    stamp.write_text(wanted)
    return ["meson", "setup", "--buildtype=debugoptimized", *options, str(directory), str(TOP)]


def compiler_environment(flavour):
    cc, cxx, _ = FLAVOURS[flavour]
    return {**os.environ, "CC": cc, "CXX": cxx}


def build(flavour="build"):
    if not (TOP / "meson.build").exists():
        raise Failure(f"{TOP}/meson.build is missing: is this a whole checkout?")
    command = setup_command(flavour)
    if command:
        run(command, env=compiler_environment(flavour))
    run(["ninja", "-C", str(TOP / flavour)])


def run(command, **keywords):
    result = subprocess.run(command, cwd=TOP, check=False, **keywords)
    if result.returncode:
        raise Failure(f"exit code {result.returncode} from: {' '.join(map(str, command))}")


def sources(*suffixes):
    """Tracked and new files with one of the suffixes."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={TOP}", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=TOP, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted(name for name in set(listing) if name.endswith(suffixes) and (TOP / name).exists())


def verb_build(arguments):
    parser = argparse.ArgumentParser(prog="./run build", description="Build with gcc, optimised, into build/.")
    parser.add_argument("flavour", nargs="?", default="gcc", choices=["gcc", "asan", "tsan", "fuzz"])
    flavour = parser.parse_args(arguments).flavour
    build("build" if flavour == "gcc" else f"build/{flavour}")


def verb_fmt(arguments):
    parser = argparse.ArgumentParser(prog="./run fmt", description="Format the C sources in place.")
    parser.add_argument("--staged", action="store_true", help="only what is staged for a commit, and stage the result")
    staged = parser.parse_args(arguments).staged
    names = sources(".c", ".h")
    if staged:
        listing = subprocess.run(["git", "-c", f"safe.directory={TOP}", "diff", "--cached", "--name-only",
                                  "--diff-filter=ACM"], cwd=TOP, check=True, capture_output=True, text=True)
        names = [name for name in listing.stdout.splitlines() if name in names]
    if names:
        run(["clang-format", "-i", *names])
        if staged:
            run(["git", "-c", f"safe.directory={TOP}", "add", "--", *names])


def verb_test(arguments):
    parser = argparse.ArgumentParser(prog="./run test", description="Run tests on the gcc build.")
    parser.add_argument("pattern", nargs="?", default="", help="part of a unit test's name or of a path under tests/")
    pattern = parser.parse_args(arguments).pattern
    build()
    listing = subprocess.run(["meson", "test", "-C", "build", "--list"], cwd=TOP, check=True, capture_output=True, text=True)
    names = [line.rpartition(" / ")[2].strip() for line in listing.stdout.splitlines() if line.strip()]
    units = [name for name in names if pattern in name]
    files = [name for name in sources(".py") if name.startswith("tests/")
             and pathlib.Path(name).name.startswith("test_") and pattern in name]
    if not units and not files:
        raise Failure(f"no test has '{pattern}' in its name; there are: {' '.join(names)}")
    if units:
        run(["meson", "test", "-C", "build", "--no-rebuild", "--print-errorlogs", *units])
    if files:
        run(["pytest", "-q", *files], env={**os.environ, "PVGPU_BUILD": str(BUILD)})


VERBS = {"build": verb_build, "fmt": verb_fmt, "test": verb_test}


def main():
    verb, *arguments = sys.argv[1:]
    try:
        if verb not in VERBS:
            raise Failure(f"./run {verb} is not there yet")
        return VERBS[verb](arguments) or 0
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

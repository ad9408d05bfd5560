# SPDX-License-Identifier: MIT
"""The verbs of ./run that work inside the environment. Python 3, standard library only."""

import argparse
import contextlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"

# What distinguishes each build directory: compiler and meson options.
FLAVOURS = {
    "build": ("gcc", "g++", []),
    "build/asan": ("clang", "clang++", ["-Db_sanitize=address,undefined", "-Db_lundef=false"]),
    "build/tsan": ("clang", "clang++", ["-Db_sanitize=thread", "-Db_lundef=false"]),
    "build/fuzz": ("clang", "clang++", ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=true",
                                         "-Dtests=disabled", "-Dguest_programs=disabled", "-Dman=disabled"]),
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
    listing = git("ls-files", "--cached", "--others", "--exclude-standard").decode().splitlines()
    return sorted(name for name in set(listing) if name.endswith(suffixes) and (TOP / name).exists())


def verb_build(arguments):
    parser = argparse.ArgumentParser(prog="./run build", description="Build with gcc, optimised, into build/.")
    parser.add_argument("flavour", nargs="?", default="gcc", choices=["gcc", "asan", "tsan", "fuzz"])
    flavour = parser.parse_args(arguments).flavour
    build("build" if flavour == "gcc" else f"build/{flavour}")


def git(*arguments):
    """The output of git, as bytes. The checkout may be another user's: the environment is entered as root."""
    return subprocess.run(["git", "-c", f"safe.directory={TOP}", *arguments], cwd=TOP, check=True, capture_output=True).stdout


def verb_fmt(arguments):
    parser = argparse.ArgumentParser(prog="./run fmt", description="Format the C sources in place.")
    parser.add_argument("--staged", action="store_true", help="only what is staged for a commit, and stage the result")
    if not parser.parse_args(arguments).staged:
        run(["clang-format", "-i", *sources(".c", ".h")])
        return
    staged = git("diff", "--cached", "--name-only", "--diff-filter=ACMR").decode().splitlines()
    changed_since = set(git("diff", "--name-only").decode().splitlines())
    whole = [name for name in staged if name.endswith((".c", ".h")) and name not in changed_since]
    if whole:
        run(["clang-format", "-i", *whole])
        git("add", "--", *whole)
    # Of a file staged in part the rest must stay out of the commit, so it is looked at only.
    for name in staged:
        if name.endswith((".c", ".h")) and name in changed_since:
            result = subprocess.run(["clang-format", "--dry-run", "-Werror", f"--assume-filename={name}"], cwd=TOP, check=False,
                                    input=git("show", f":{name}"))
            if result.returncode:
                raise Failure(f"what is staged of {name} is not formatted: ./run fmt, then stage it again")


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
    # Each directory by itself: their conftest.py are modules of one name.
    for directory in sorted({pathlib.Path(name).parent for name in files}):
        run(["pytest", "-q", *(name for name in files if pathlib.Path(name).parent == directory)],
            env={**os.environ, "PVGPU_BUILD": str(BUILD)})


def verb_check(arguments):
    argparse.ArgumentParser(prog="./run check", description="Everything that must hold before a push; a table of the steps "
                            "and their logs go to build/check/.").parse_args(arguments)
    import check
    return check.main()


def verb_fuzz(arguments):
    import check
    parser = argparse.ArgumentParser(prog="./run fuzz", description="Fuzz with libFuzzer, ASan and UBSan. What it learns is "
                                     "kept in build/corpus/, inputs that fail in build/crashes/.")
    parser.add_argument("target", nargs="?", default="all", help="a target's name, or all (in turn)")
    parser.add_argument("seconds", nargs="?", type=int, default=600, help="for each target")
    options = parser.parse_args(arguments)
    build("build/fuzz")
    programs = check.fuzzers()
    names = [program.name.removeprefix("fuzz-") for program in programs]
    if options.target != "all" and options.target not in names:
        raise Failure(f"there is no fuzz target '{options.target}'; there are: {' '.join(names)}")
    for name, program in zip(names, programs):
        if options.target in ("all", name):
            say(f"fuzzing {name} for {options.seconds} s")
            run(check.fuzz_command(program, options.seconds, BUILD / "crashes"), env={**os.environ, **check.SANITIZERS})


def verb_gen(arguments):
    parser = argparse.ArgumentParser(prog="./run gen", description="Generate the Venus codec (into build/), compare it with "
                                     "gen/golden/, and print what it covers.")
    parser.add_argument("--registry", metavar="VK_XML", help="a Vulkan registry other than the environment's; nothing is written")
    parser.add_argument("--update-golden", action="store_true", help="make what is generated now the expected")
    options = parser.parse_args(arguments)
    generator = [sys.executable, str(TOP / "gen/generate.py"), options.registry or "/usr/share/vulkan/registry/vk.xml"]
    more = ["--update-golden"] if options.update_golden else []
    if not options.registry:
        more.append(str(BUILD / "src/venus/generated"))
    run([*generator, "--report", *more])
    run([sys.executable, str(TOP / "gen/tests/test_gen.py"), generator[2]])


def verb_bench(arguments):
    names = sorted(path.stem for path in (TOP / "bench").glob("*.py") if not path.stem.startswith("_"))
    if not arguments or arguments[0] not in names:
        raise Failure(f"./run bench NAME [ARGUMENTS]; NAME is one of: {' '.join(names) or '(there is none)'}")
    build()
    (BUILD / "bench").mkdir(exist_ok=True)
    run(["python3", str(TOP / "bench" / f"{arguments[0]}.py"), *arguments[1:]])


def verb_demo(arguments):
    if not {"-h", "--help"} & set(arguments):
        build()
        run([str(TOP / "guest/build-image")], stdout=subprocess.DEVNULL)
    return subprocess.run(["python3", str(TOP / "demo/demo.py"), *arguments], cwd=TOP, check=False).returncode


def verb_guest(arguments):
    sys.path.insert(0, str(TOP / "guest"))
    import vm
    parser = argparse.ArgumentParser(
        prog="./run guest", usage="./run guest [uml] [OPTIONS] -- CMD [ARGUMENTS]",
        description="Boot the guest, run CMD in it as root, print its output, exit with its exit code. A CMD of one word is "
        "given to the guest's shell as it is: ./run guest -- 'lspci | grep VGA'")
    parser.add_argument("machine", nargs="?", choices=["qemu", "uml"], default="qemu",
                        help="uml: with OpenGL, on a User-Mode-Linux kernel, a program of the host that runs at its speed: made on "
                        "first use, which takes a quarter of an hour")
    parser.add_argument("--gpu", choices=["ours", "qemu"], help="build/pvgpu (default if it is there) or QEMU's virtio-gpu-pci")
    parser.add_argument("--release", choices=vm.RELEASES, default=vm.RELEASES[0], help="of Debian, in the guest")
    parser.add_argument("--front-end", choices=["gpu", "vga", "test"], default="gpu",
                        help="vhost-user-gpu-pci, vhost-user-vga or vhost-user-test-device-pci")
    parser.add_argument("--qemu", choices=["11", "7.2"], default="11", help="QEMU's version")
    parser.add_argument("--x", action="store_true", help="start X first")
    parser.add_argument("--png", metavar="FILE", help="write what is on the screen when CMD has ended")
    parser.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="for CMD; it then ends with 124")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--kernel", default="", metavar="WORDS", help="more words for the guest kernel's command line")
    parser.add_argument("--qemu-args", default="", metavar="ARGS", help="more arguments of QEMU")
    parser.add_argument("--keep", metavar="DIRECTORY", help="where logs, sockets and the shared directory stay")
    if "--" not in arguments:
        parser.print_help()
        if set(arguments) <= {"-h", "--help"}:
            return 0
        raise Failure("no command: put it behind --")
    at = arguments.index("--")
    options, command = parser.parse_args(arguments[:at]), arguments[at + 1:]
    if not command:
        parser.error("no command behind --")
    try:
        return run_guest(vm, options, command[0] if len(command) == 1 else shlex.join(command))
    except vm.GuestError as error:
        raise Failure(str(error)) from error


def run_guest(vm, options, command):
    program = pathlib.Path(os.environ.get("PVGPU_BUILD") or BUILD) / "pvgpu"
    if (options.gpu == "ours" or options.machine == "uml") and not program.exists():
        raise Failure(f"{program} is not there: run ./run build first, or use --gpu qemu")
    with contextlib.ExitStack() as stack:
        keep = pathlib.Path(options.keep).resolve() if options.keep else None
        device = gpu = None
        if options.machine == "uml":
            vm.uml_kernel()
            device = stack.enter_context(vm.Device(program, ["--renderer=2d,virgl"], directory=keep))
            machine = stack.enter_context(vm.UserModeMachine(
                device.uml_arguments(), memory_mib=options.memory, kernel=options.kernel, release=options.release, directory=keep))
        else:
            if options.gpu != "qemu" and program.exists():
                device = stack.enter_context(vm.Device(program, directory=keep))
                gpu = device.qemu_arguments(options.front_end)
            machine = stack.enter_context(vm.Machine(
                gpu=gpu, qemu=options.qemu, memory_mib=options.memory, cpus=options.cpus, kernel=options.kernel,
                release=options.release, extra=shlex.split(options.qemu_args), directory=keep))
        say(f"guest: up after {machine.boot_seconds:.1f} s with {machine.processor}, "
            f"{'build/pvgpu' if device else 'the virtio-gpu of QEMU'}")
        if options.x:
            machine.start_x()
        job = machine.start(command, options.timeout)
        written = {"out": 0, "err": 0}
        while True:
            running = job.running()
            for kind, stream in (("out", sys.stdout), ("err", sys.stderr)):
                path = machine.share / f"{job.number}.{kind}"
                if path.exists():
                    with open(path, "rb") as file:
                        file.seek(written[kind])
                        data = file.read()
                    written[kind] += len(data)
                    stream.buffer.write(data)
                    stream.flush()
            if not running:
                break
            if machine.process.poll() is not None:
                break
            time.sleep(0.1)
        code = job.wait().returncode
        if options.png:
            picture = device.screenshot() if device else machine.screendump()
            picture.write_png(options.png)
        return code


VERBS = {"bench": verb_bench, "build": verb_build, "check": verb_check, "demo": verb_demo, "fmt": verb_fmt, "fuzz": verb_fuzz,
         "gen": verb_gen, "guest": verb_guest, "test": verb_test}


def main():
    verb, *arguments = sys.argv[1:]
    sys.modules["tasks"] = sys.modules["__main__"]
    try:
        return VERBS[verb](arguments) or 0
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

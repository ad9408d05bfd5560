# SPDX-License-Identifier: MIT
"""OpenGL of a guest and of vtest clients: our VirGL, QEMU's, virgl_test_server, zink on our Venus, native: ./run bench gl

The machinery is that of ./run bench vm. A row is a guest of its own, or programs of the host.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
specification = importlib.util.spec_from_file_location("bench_vm", TOP / "bench/vm.py")
bench_vm = importlib.util.module_from_spec(specification)
specification.loader.exec_module(bench_vm)
from rig import figures, session  # noqa: E402 (found by way of bench/vm.py)

PROBE = session.BUILD / "bench/glprobe/pvgpu-glprobe"
SCENES = ("build", "texture", "shading", "bump", "effect2d", "buffer")
OFF_SCREEN = ("build", "texture")
QEMUS_BACK_END = pathlib.Path("/usr/lib/qemu/vhost-user-gpu")
VIRPIPE = {"GALLIUM_DRIVER": "virpipe", "LIBGL_ALWAYS_SOFTWARE": "1"}
Column, Subject, vm = bench_vm.Column, bench_vm.Subject, bench_vm.vm

SUBJECTS = [
    Subject("vfio", "ours: VirGL, vfio-user", "vfio", ("--renderer=2d,virgl", "--window=0"), stock=False),
    Subject("gpu", "ours: VirGL, vhost-user-gpu-pci", "gpu", ("--virgl",), stock=False),
    Subject("qemu-virgl", "QEMU: virtio-gpu-gl-pci", "virtio-gpu-gl-pci", display="sdl,gl=on", stock=False),
    Subject("qemu-back-end", "QEMU: vhost-user-gpu", "vhost-user-gpu-pci", display="sdl,gl=on", stock=False),
    Subject("zink", "ours: zink on Venus, vfio-user", "vfio", ("--renderer=2d,venus",), stock=False),
    Subject("uml", "ours: VirGL, User-Mode Linux", "uml", ("--renderer=2d,virgl",), stock=False),
    Subject("vtest", "ours: vtest, virpipe", gl=VIRPIPE),
    Subject("test-server", "virgl_test_server, virpipe", gl=VIRPIPE),
    Subject("native", "native, llvmpipe", gl={"LIBGL_ALWAYS_SOFTWARE": "1"}),
]
COLUMNS = [
    Column("gears300", "glxgears 300x300", "FPS", True),
    Column("gears720", "glxgears 1280x720", "FPS", True),
    *(Column(f"glmark2-{scene}", f"glmark2 {scene} {bench_vm.SCENE_SIZE}", "FPS", True) for scene in SCENES),
    *(Column(f"off-{scene}", f"glmark2 {scene} {bench_vm.SCENE_SIZE}, off the screen", "FPS", True) for scene in OFF_SCREEN),
    Column("upload", "texture upload, 4 MiB", "MB/s", True),
    Column("readback", "texture read-back, 4 MiB", "MB/s", True),
    Column("roundtrip", "a small draw and glFinish", "us", False),
    Column("command", "a fenced 2D command there and back", "us", False),
    Column("host-cpu", "host's side at glxgears 1280x720", "% of a core", False),
    Column("guest-cpu", "  virtual CPUs meanwhile", "% of a core", False),
    Column("memory", "memory of our process, peak", "MiB", False),
]
# Ours, whose, and how many times as good it shall be at least.
TARGETS = [("vfio", "qemu-virgl", 1.2), ("gpu", "qemu-virgl", 1.2), ("vtest", "test-server", 1.0), ("uml", "vtest", 0.8)]


class Measurer(bench_vm.Measurer):
    def server(self):
        """The process that virpipe talks to; None: none is needed."""
        path = pathlib.Path(self.place.directory) / "vtest.sock" if self.place.qemu_pid is None else None
        commands = {"vtest": [str(session.BUILD / "pvgpu"), "vtest", "--renderer=virgl", f"--socket-path={path}"],
                    "test-server": ["virgl_test_server", "--use-egl-surfaceless", f"--socket-path={path}"]}
        command = commands.get(self.subject.name)
        if not command:
            return None
        process = subprocess.Popen([*vm.CONFINED, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.place.environment["VTEST_SOCKET_NAME"] = str(path)
        session.wait_until(path.exists, 10)
        return process

    def probes(self):
        names = [name for name in ("upload", "readback", "roundtrip") if self.wants(name)]
        if names:
            out = self.run("glprobe", f"{self.place.install(PROBE)} {' '.join(names)}", self.subject.gl)
            for line in session.json_lines(out or ""):
                self.add(line["name"], line["median"])

    def off_screen(self):
        """Without an X server's share."""
        for scene in OFF_SCREEN:
            if self.wants(f"off-{scene}"):
                out = self.run(f"glmark2 {scene} off the screen", f"glmark2 --off-screen -s {bench_vm.SCENE_SIZE} "
                               f"-b {scene}:duration={bench_vm.SCENE_S}", self.subject.gl, good=r"FPS: +\d")
                rates = re.findall(r"FPS: +([\d.]+)", out or "")
                if rates:
                    self.add(f"off-{scene}", float(rates[-1]))

    def all(self):
        server = self.server()
        try:
            if self.wants("command"):
                self.kernel()
            self.probes()
            self.place.start_x()
            self.gears("gears300", "300x300")
            self.gears("gears720", "1280x720")
            self.marks("glmark2", self.subject.gl)
            self.off_screen()
            self.memory()
        finally:
            if server:
                server.terminate()
                server.wait(10)


class UserModeGuest(bench_vm.Guest):
    """A guest whose processor is the host's."""

    vcpus = False

    def boot(self, subject):
        if not vm.uml_kernel(make=False):
            raise vm.GuestError("the kernel is not built: ./run guest uml -- true")
        self.device = vm.Device(arguments=subject.arguments)
        return vm.UserModeMachine(self.device.uml_arguments())


class QemusGuest(bench_vm.Guest):
    """A guest on QEMU's own vhost-user back end."""

    back_end = None

    def boot(self, subject):
        if not QEMUS_BACK_END.exists():
            raise vm.GuestError(f"there is no {QEMUS_BACK_END}")
        self.display = bench_vm.Display()
        os.environ["DISPLAY"] = self.display.name
        self.socket_path, self.log = pathlib.Path(os.environ["XDG_RUNTIME_DIR"], "qemu-gpu.sock"), tempfile.TemporaryFile("w+")
        self.back_end = subprocess.Popen([*vm.CONFINED, QEMUS_BACK_END, "-v", "-s", self.socket_path], stdout=self.log, stderr=self.log)
        session.wait_until(lambda: self.socket_path.exists() or self.back_end.poll() is not None, 10)
        self.check_it_runs()
        self.machine = vm.Machine(gpu=["-chardev", f"socket,id=gpu,path={self.socket_path}", "-device", "vhost-user-gpu-pci,chardev=gpu"],
                                  display=subject.display, boot_timeout=60)
        self.check_it_runs()
        return self.machine

    def check_it_runs(self):
        if self.back_end.poll() is not None:
            self.log.seek(0)
            raise vm.GuestError(f"it ended with {self.back_end.returncode}: {' / '.join(self.log.read().strip().splitlines()[-2:])}")

    def close(self):
        super().close()
        if self.back_end:
            self.back_end.kill()
            self.back_end.wait()
            self.socket_path.unlink(missing_ok=True)


class Bench(bench_vm.Bench):
    measurer = Measurer

    def place(self, subject):
        kinds = {"uml": UserModeGuest, "qemu-back-end": QemusGuest}
        return kinds[subject.name](subject) if subject.name in kinds else super().place(subject)


def median(result, row, column):
    return result["rows"].get(row, {}).get(column.name, {}).get("median")


def ratio(result, column, mine, theirs):
    a, b = median(result, mine, column), median(result, theirs, column)
    if not (a and b):
        return None
    return a / b if column.more_is_better else b / a


def make_table(result):
    names = [name for name in result["titles"] if result["rows"].get(name)]
    body = [[f"{column.title}, {column.unit}", *(figures.spread(result["rows"][name].get(column.name)) for name in names)]
            for column in COLUMNS if any(column.name in result["rows"][name] for name in names)]
    return ["median [lowest to highest]", *(result["titles"][name] for name in names)], body


def check_targets(result):
    found = []
    for mine, theirs, least in TARGETS:
        for column in COLUMNS[:-3]:
            times = ratio(result, column, mine, theirs)
            if times:
                found.append((f"{column.title}: {mine} {least} times {theirs} or better", times >= least, f"{times:.2f}"))
    return found


def arguments(options):
    return " ".join(f"--{name} {value}" for name, value in vars(options).items() if value and name in ("rounds", "windows", "rows", "columns"))


def write_markdown(path, result):
    host, versions = result["host"], result["versions"]
    targets = "\n".join(f"- {'met' if met else 'MISSED'}: {what} ({figure})" for what, met, figure in result["targets"])
    failures = "\n".join(f"- {what}: `{reason.splitlines()[-1] if reason else ''}`" for what, reason in result["failures"].items())
    path.write_text(f"""# OpenGL: VirGL of ours beside QEMU's, zink on Venus and native

Written by `./run bench gl {result['arguments']}`. Median [lowest to highest].

{host['cpus']} x {host['cpu']}, {versions['accelerator']}, {versions['qemu']}, virglrenderer {versions['virglrenderer']}, host Mesa
{versions['host_mesa']}, guest Linux {versions['guest_kernel']} with Mesa {versions['guest_mesa']}, {versions['pvgpu']}, {result['time'][:10]}

{figures.markdown_table(*make_table(result))}

A row is a guest of its own, but for virpipe's and native ones: programs of the host. Where the processor is emulated (TCG) the guest's Mesa and X
are the cost of small frames; User-Mode Linux has one of the host's processors, with a slow way into its kernel and slow page faults.
QEMU's device draws into an SDL window on Xvfb. No display looks at ours. The guest's screen has a mode of 1000 Hz: Linux 7.3's driver
waits for a vertical blank at each update, twice 60 frames a second would be the most that glxgears gets.

## Targets

{targets}
{f'''
## What could not be measured

{failures}
''' if failures else ''}""")


def main():
    parser = argparse.ArgumentParser(prog="./run bench gl", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured (default 3)")
    parser.add_argument("--windows", type=int, default=2, help="windows of 5 s for each size of glxgears (default 2)")
    parser.add_argument("--rows", metavar="ROW,...", help=f"of: {' '.join(subject.name for subject in SUBJECTS)} (default all)")
    parser.add_argument("--columns", metavar="COLUMN,...", help=f"of: {' '.join(column.name for column in COLUMNS)} (default all)")
    parser.add_argument("--output", type=pathlib.Path, default=TOP / "build/bench/gl.json")
    parser.add_argument("--markdown", type=pathlib.Path, nargs="?", const=TOP / "docs/benchmarks/gl.md", help="write the tables there, too")
    parser.add_argument("--lock", type=pathlib.Path, metavar="FILE", action="append", default=[], help="hold this lock "
                        "while a row is measured; can be given again")
    options = parser.parse_args()
    rows = bench_vm.choose(parser, "row", [subject.name for subject in SUBJECTS], options.rows)
    columns = bench_vm.choose(parser, "column", [column.name for column in COLUMNS], options.columns)
    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    bench = Bench([subject for subject in SUBJECTS if subject.name in rows], columns, options, say)
    with tempfile.TemporaryDirectory(prefix="pvgpu-bench-") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory  # QEMU's OpenGL window wants one
        for number in range(options.rounds):
            bench.round(number)
    result = {
        "bench": "gl", "rounds": options.rounds, "arguments": arguments(options),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "host": figures.host(),
        "versions": {
            "pvgpu": figures.first_line(str(session.BUILD / "pvgpu"), "--version"),
            "qemu": figures.first_line("qemu-system-x86_64", "--version"), "guest_kernel": bench.guest.get("kernel", "-"),
            "guest_mesa": bench.guest.get("mesa", "-"), "accelerator": bench.guest.get("accelerator", "-"),
            "virglrenderer": figures.first_line("dpkg-query", "-W", "-f", "${Version}", "libvirglrenderer1"),
            "host_mesa": figures.first_line("dpkg-query", "-W", "-f", "${Version}", "libgl1-mesa-dri")},
        "titles": {subject.name: subject.title for subject in SUBJECTS}, "failures": bench.failures,
        "rows": {subject.name: {column.name: figures.summary(bench.samples[subject.name, column.name]) for column in COLUMNS
                                if bench.samples.get((subject.name, column.name))} for subject in bench.subjects},
    }
    result["targets"] = check_targets(result)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(figures.table(*make_table(result)))
    print("\n" + "\n".join(f"{'met   ' if met else 'MISSED'}  {what}: {figure}" for what, met, figure in result["targets"]))
    if options.markdown:
        write_markdown(options.markdown, result)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (bench_vm.BenchError, session.SessionError, vm.GuestError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)

# SPDX-License-Identifier: MIT
"""A guest with one display device, and what the tests ask of the pair."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "guest"))
import vm  # noqa: E402 (the guest's own module)

from . import dbus, picture, procs  # noqa: E402

BUILD = pathlib.Path(os.environ.get("PVGPU_BUILD") or TOP / "build")
# The host's Vulkan drivers leak, not we: a program that ends with a report of it has failed for who started it.
os.environ.setdefault("LSAN_OPTIONS", f"suppressions={TOP / 'tests/venus/lsan.supp'}:print_suppressions=0")
GiB = 1 << 30
MiB = 1 << 20


class SessionError(Exception):
    """The guest or the device did not get where it should."""


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """A VMM's device that can carry our process (or, for comparison, its own)."""
    name: str
    device: str              # of QEMU, or USER_MODE
    qemu: str = "11"
    ours: bool = True        # served by our process
    console: bool = True     # the VMM has a console for it: screendump
    options: str = ""        # properties of the device
    windows: bool = False    # with a display whose windows can change their size
    arguments: tuple = ()    # of our process
    board: str = "q35"
    release: str = vm.RELEASES[0]  # of Debian, in the guest

    @property
    def kind(self):
        if self.device == "vfio-user-pci":
            return "vfio" if self.board == "q35" else "vfio-bus"
        return {"vhost-user-gpu-pci": "gpu", "vhost-user-vga": "vga", "vhost-user-test-device-pci": "test"}[self.device]

    @property
    def transport(self):
        return "vfio-user" if self.device == "vfio-user-pci" else "vhost-user"

    @property
    def has_window(self):
        return f"--window={WINDOW_BYTES // MiB}M" in self.arguments


USER_MODE = "virtio_uml"  # no VMM: the guest is a program of the host, and its kernel the front end
WINDOW_BYTES = 256 * MiB
# A directory with the libraries of another Mesa's Venus driver, to be put in the place of the guest's.
GUEST_DRIVER = os.environ.get("PVGPU_GUEST_DRIVER")
TWO_HEADS_2D = ("--renderer=2d", "--size=1280x800,off", "--outputs=2")
FRONT_ENDS = {front_end.name: front_end for front_end in (
    FrontEnd("gpu", "vhost-user-gpu-pci", options="max_outputs=2"),
    FrontEnd("test", "vhost-user-test-device-pci", console=False, arguments=("--window=256M", *TWO_HEADS_2D)),
    FrontEnd("vfio", "vfio-user-pci", console=False, arguments=("--window=256M", *TWO_HEADS_2D)),
    # Without a window QEMU does not wait for the answers to a guest's writes.
    FrontEnd("vfio-pc", "vfio-user-pci", console=False, arguments=("--window=0", *TWO_HEADS_2D), board="pc"),
    # Vulkan in the guest, with the window that the program chooses.
    FrontEnd("venus", "vhost-user-test-device-pci", console=False, arguments=("--renderer=2d,venus",)),
    FrontEnd("venus-vfio", "vfio-user-pci", console=False, arguments=("--renderer=2d,venus",)),
    FrontEnd("venus-vram", "vfio-user-pci", console=False, arguments=("--renderer=2d,venus", "--guest-vram")),
    FrontEnd("venus-in-process", "vfio-user-pci", console=False, arguments=("--renderer=2d,venus", "--renderer-in-process")),
    # OpenGL in the guest.
    FrontEnd("virgl", "vhost-user-gpu-pci", arguments=("--virgl",)),
    FrontEnd("virgl-7.2", "vhost-user-gpu-pci", qemu="7.2", arguments=("--virgl",)),
    FrontEnd("virgl-vfio", "vfio-user-pci", console=False, arguments=("--renderer=2d,virgl", "--window=0")),
    # Both: Vulkan programs on a desktop that VirGL draws.
    FrontEnd("venus-virgl", "vfio-user-pci", console=False, arguments=("--renderer=2d,venus,virgl",)),
    FrontEnd("virgl-in-process", "vhost-user-gpu-pci", arguments=("--virgl", "--renderer-in-process")),
    FrontEnd("virgl-uml", USER_MODE, console=False, arguments=("--renderer=2d,virgl",)),
    # Older guests.
    FrontEnd("venus-trixie", "vfio-user-pci", console=False, arguments=("--renderer=2d,venus",), release="trixie"),
    FrontEnd("venus-virgl-trixie", "vfio-user-pci", console=False, arguments=("--renderer=2d,venus,virgl",), release="trixie"),
    FrontEnd("venus-bookworm", "vfio-user-pci", console=False, arguments=("--renderer=2d,venus",), release="bookworm"),
    FrontEnd("virgl-bookworm", "vhost-user-gpu-pci", arguments=("--virgl",), release="bookworm"),
    FrontEnd("vga", "vhost-user-vga"),
    FrontEnd("gpu-7.2", "vhost-user-gpu-pci", qemu="7.2"),
    # Guests of their own for changes of size: QEMU's other displays leave these consoles alone.
    FrontEnd("gpu-windows", "vhost-user-gpu-pci", windows=True, options="max_outputs=2"),
    FrontEnd("gpu-7.2-windows", "vhost-user-gpu-pci", qemu="7.2", windows=True),
    # No product of ours in it: shows that a test is right, and what QEMU's own device does.
    FrontEnd("peer", "virtio-gpu-pci", ours=False, options="max_outputs=2"),
)}


def qemu_program(front_end):
    program = ["qemu-system-x86_64"]
    return program if front_end.qemu == "11" else [str(TOP / "run"), "shell", "--root", "qemu72", "--", *program]


def what_is_missing(front_end):
    """Why there can be no guest on this front end here, or None."""
    if front_end.device == USER_MODE:
        there = vm.uml_kernel(make=bool(os.environ.get("PVGPU_E2E_ALL")))
        return None if there else "the User-Mode-Linux kernel is not made: ./run guest uml -- true"
    return None if qemu_has(front_end) else f"this QEMU has no {front_end.device}"


def qemu_has(front_end):
    """Whether this QEMU has the device."""
    result = subprocess.run([*qemu_program(front_end), "-machine", "none", "-device", f"{front_end.device},help"],
                            capture_output=True, check=False)
    return result.returncode == 0


def qemu_has_dbus_display(front_end):
    result = subprocess.run([*qemu_program(front_end), "-display", "help"], capture_output=True, text=True, check=False)
    return "dbus" in result.stdout.split()


def wait_until(condition, timeout_s=20, interval_s=0.05):
    """Polls until condition() is true; returns its last value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(interval_s)


def json_lines(text):
    """The whole lines of a program's output that are JSON objects."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]


def tail(path, size_bytes=3000):
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - size_bytes))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def stacks(pid):
    command = ["gdb", "-q", "-nx", "-batch", "-p", str(pid), "-ex", "thread apply all backtrace 16"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"--- no stacks of process {pid}: {error}"
    kept = [line for line in result.stdout.splitlines() if line.startswith(("Thread", "#"))]
    return "\n".join([f"--- stacks of process {pid}", *kept])


class Running:
    """A program in the guest that goes on until stop()."""

    def __init__(self, session, command, timeout_s):
        self.session = session
        self.pid_file = f"/run/session-{session.next_number()}.pid"
        self.job = session.vm.start(f"echo $$ >{self.pid_file}; exec {command}", timeout_s)

    def events(self):
        return json_lines(self.job.output())

    def wait_for(self, condition, what, timeout_s=60):
        """Waits until condition(self) is true while the program runs; returns its value."""
        value = wait_until(lambda: condition(self) or not self.job.running(), timeout_s)
        value = condition(self)
        if not value:
            if not self.job.running():
                result = self.job.wait()
                raise SessionError(f"the guest's program ended with {result.returncode} before: {what}\n"
                                   f"{result.stdout}{result.stderr}")
            raise SessionError(f"not within {timeout_s} s: {what}\n{self.job.output()}\n{self.session.vm.logs()}")
        return value

    def wait_for_event(self, name, timeout_s=60):
        return self.wait_for(lambda running: next((event for event in running.events() if event.get("event") == name), None),
                             f"event {name}", timeout_s)

    def stop(self):
        """Its Result. SIGTERM is no failure for the guest's programs."""
        if self.job.running():
            self.session.vm.run(f"kill $(cat {self.pid_file})")
        return self.job.wait()


class Session:
    """A booted guest. `device` is our process, None for the VMM's own device; `vm` is the machine."""

    def __init__(self, front_end, memory_mib=2048, kernel="", picture_at_exit=False, cpus=2, extra=()):
        self.front_end = front_end
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pvgpu-e2e-", dir="/tmp"))
        self.picture_path = self.directory / "at-exit.png"
        self.device = self.vm = None
        self._numbers = 0
        display = "dbus,p2p=on" if front_end.windows and qemu_has_dbus_display(front_end) else "none"
        self.can_resize = bool(self.front_end.ours and not front_end.console) or display != "none"
        try:
            if front_end.ours:
                at_exit = [f"--display=png={self.picture_path}"] if picture_at_exit else []
                self.device = vm.Device(arguments=[*front_end.arguments, *at_exit], transport=front_end.transport)
            self.vm = self._boot(front_end, memory_mib, kernel, display, cpus, extra)
            self.kmsbench, self.triangle = self.vm.install(BUILD / "guest/kmsbench/pvgpu-kmsbench",
                                                           BUILD / "guest/triangle/pvgpu-triangle")
            if GUEST_DRIVER:
                libraries = self.vm.install(*pathlib.Path(GUEST_DRIVER).iterdir())
                self.check(f"cp {' '.join(libraries)} /usr/lib/x86_64-linux-gnu/ && ldconfig")
        except BaseException as error:
            logs = self.logs()
            self.close()
            if isinstance(error, vm.GuestError):
                raise SessionError(f"{error}\n{logs}") from error
            raise

    def _boot(self, front_end, memory_mib, kernel, display, cpus, extra):
        directory = self.directory / "vm"
        if front_end.device == USER_MODE:
            return vm.UserModeMachine(self.device.uml_arguments(), memory_mib=memory_mib, kernel=kernel, directory=directory)
        if front_end.ours:
            gpu = self.device.qemu_arguments(front_end.kind, front_end.options)
        else:
            options = f",{front_end.options}" if front_end.options else ""
            gpu = ["-device", f"{front_end.device},id=gpu{options}"]
        return vm.Machine(gpu=gpu, qemu=front_end.qemu, memory_mib=memory_mib, cpus=cpus, kernel=kernel, display=display,
                          release=front_end.release, board=front_end.board, extra=extra, directory=directory)

    def logs(self):
        """The ends of all logs there are."""
        paths = [self.directory / "vm/qemu.log", self.directory / "vm/serial.log"]
        if self.device:
            paths.append(self.device.log)
        return "\n".join(f"--- {path.name} ---\n{tail(path)}" for path in paths)

    def stacks_if_stuck(self):
        """Where QEMU and our process are, thread by thread, if the guest answers no more: what a rare hang leaves us."""
        if not self.vm or not self.device or self.vm.process.poll() is not None or self.device.process.poll() is not None:
            return ""
        try:
            self.vm.start("true").wait(10)
            return ""
        except vm.GuestError:
            return "\n".join(map(stacks, [self.vm.process.pid, *self.device_pids()]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.vm:
            self.vm.close()
        if self.device:
            self.device.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def next_number(self):
        self._numbers += 1
        return self._numbers

    # What is on the screen

    def screenshot(self, head=0, cursor=False):
        """From our display code; from QEMU's console where the device is QEMU's."""
        if not self.device:
            return self.screendump(head)
        path = self.directory / "screenshot.png"
        self.device.control("screenshot", f"--scanout={head}", "-o", str(path), *([] if cursor else ["--no-cursor"]))
        return picture.read(path)

    def screendump(self, head=0):
        """From QEMU's console."""
        path = self.directory / "screendump.ppm"
        self.vm.qmp.call("screendump", filename=str(path), device="gpu", head=head)
        return picture.read(path)

    def wait_for_picture(self, expected, head=0, cursor=False, console=False, timeout_s=15):
        """Waits for exactly this picture. None once it is there, else how the last one differs."""
        last = None

        def look():
            nonlocal last
            try:
                seen = self.screendump(head) if console else self.screenshot(head, cursor)
            except vm.GuestError as error:
                last = str(error)
                return False
            if seen.size != expected.size or seen.rgb != expected.rgb:
                last = seen
                return False
            last = None
            return True

        wait_until(look, timeout_s, 0.1)
        if isinstance(last, picture.Picture):
            return last.difference(expected)
        return last

    def wait_for_triangle(self, timeout_s=20):
        """Waits for the triangle program's picture, every pixel of it. None once it is there, else what is wrong."""
        last = None

        def look():
            nonlocal last
            last = picture.triangle_difference(self.screenshot())
            return last is None

        wait_until(look, timeout_s, 0.5)
        return last

    def wait_for_change(self, timeout_s=60):
        """Whether what is on the screen moves."""
        first = self.screenshot()
        return wait_until(lambda: self.screenshot().rgb != first.rgb, timeout_s, 0.2)

    # The guest

    def run(self, command, timeout_s=60):
        return self.vm.run(command, timeout_s)

    def check(self, command, timeout_s=60):
        return self.vm.check(command, timeout_s)

    def start(self, command, timeout_s=600):
        return Running(self, command, timeout_s)

    @contextlib.contextmanager
    def showing(self, mode, *arguments):
        """kmsbench with a picture on the screen; its first event."""
        running = self.start(f"{self.kmsbench} {mode} {' '.join(map(str, arguments))} --hold 600")
        try:
            yield running.wait_for_event("shown"), running
        finally:
            running.stop()

    def picture_beside_the_hosts(self, directory):
        """A picture with shaders, textures and blending, made in the guest and by the host's own driver: what the guest's
        driver says of itself, and the share of the channels that differ by more than rounding and edges do."""
        program = BUILD / "bench/glprobe/pvgpu-glprobe"
        in_guest, = self.vm.install(program)
        info = json_lines(self.check(f"{in_guest} info draw /host/guest.ppm", 300))[0]
        subprocess.run([program, "draw", directory / "host.ppm"], check=True, timeout=60, env={**os.environ, "LIBGL_ALWAYS_SOFTWARE": "1"})
        seen, expected = (picture.read(path) for path in (self.vm.share / "guest.ppm", directory / "host.ppm"))
        assert seen.size == expected.size
        return info, sum(abs(a - b) > 8 for a, b in zip(seen.rgb, expected.rgb)) / len(expected.rgb)

    def heads(self):
        return json_lines(self.check(f"{self.kmsbench} heads"))[-1]["heads"]

    def dmesg(self):
        return self.check("dmesg")

    def pci_slot(self):
        """The guest's address of the display device."""
        return self.check("for d in /sys/bus/pci/devices/*/virtio*; do [ \"$(cat $d/device)\" = 0x0010 ] && "
                          "basename $(dirname $d); done").split()[0]

    # The host

    def resize(self, width, height, head=0):
        """Another window size: on the VMM's console as its user would, else through our control socket."""
        if self.front_end.console:
            with dbus.Consoles(self.vm.qmp) as consoles:
                consoles.set_window_size(head, width, height)
        else:
            self.device.control("resize", f"{width}x{height}", f"--scanout={head}")

    def is_at_rest(self):
        """No context but the one that Linux keeps for itself where there is OpenGL, and nothing in the window."""
        status = self.device.status()
        return (len(status["contexts"]) <= ("virgl" in self.front_end.name) and
                not status["memory"].get("window_used_bytes"))

    def complaints(self):
        """
        Errors and warnings in our log. Mesa asks for virgl's resources on its way to Venus's; consoles come and go. Of
        what was too much for the log the next line shows what it was.
        """
        return [line for line in self.device.log.read_text(errors="replace").splitlines()
                if re.match(r"pvgpu: (error|warning): (?!console: )", line)
                and not re.search("does not exist|is a texture|messages like the next one were dropped", line)]

    def device_pids(self):
        """Our process, and the one that draws for it."""
        return procs.with_children(self.device.process.pid)

    def keeps_freed_memory(self):
        """A sanitizer does."""
        return b"__asan_init" in self.device.program.read_bytes()

    def device_cpu_s(self):
        return sum(map(procs.cpu_s, self.device_pids()))

    def device_cpu_share(self, seconds):
        """The part of one core that we use over a time."""
        before, began = self.device_cpu_s(), time.monotonic()
        time.sleep(seconds)
        return (self.device_cpu_s() - before) / (time.monotonic() - began)

# SPDX-License-Identifier: MIT
"""A guest's OpenGL and Vulkan: ours, QEMU's own devices, native: ./run bench vm [--rounds N] [--rows R,..] [--columns C,..]

Each row is a guest of its own, the same image in the same QEMU on the same host drivers; only the graphics device differs.
Each round boots every row in turn, the next round in another order. Guests run unchanged where the device is ours; the
variables that programs need on QEMU's own devices are in the table of rows below.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests/e2e"))
from rig import figures, procs, session  # noqa: E402 (shared with the end-to-end tests)
from rig.session import vm  # noqa: E402

PROBE = session.BUILD / "bench/vkprobe/pvgpu-vkprobe"
BLOBBENCH = session.BUILD / "guest/blobbench/pvgpu-blobbench"
KMSBENCH = session.BUILD / "guest/kmsbench/pvgpu-kmsbench"
GEARS_WINDOW_S = 5      # how often glxgears tells its rate
CUBE_FRAMES = 200
SCENE_S = 4             # of vkmark and glmark2
SCENE_SIZE = "800x600"
FRAME_MS = 100          # of the fill-bound and the compute-bound frame, natively
LONG_FRAME = 10         # times as long: what the guest's driver spends on looking for its end counts less
LIMIT_S = 90            # for one program
CAPSET_VIRGL2 = 2
# Linux 7.3's driver waits at each update of the screen for a vertical blank that it makes up from the mode: 60 Hz would be what is
# measured. This mode has 1000. Its timer is started once and never stopped: two that start it at the same time can wait for each other for
# ever (drm_crtc_vblank_start_timer), and with that the guest.
WITHOUT_REFRESH = """echo 0 >/sys/module/drm/parameters/vblankoffdelay
xrandr --newmode fast 1024 1280 1280 1280 1280 800 800 800 800
xrandr --addmode Virtual-1 fast && xrandr --output Virtual-1 --mode fast"""


class BenchError(Exception):
    """Ends the program with a message for the user."""


class Subject:
    """A row: what draws, and where the programs run."""

    def __init__(self, name, title, device=None, arguments=(), display="none", stock=True, gl=None, vulkan=None, slow=False, extra=False):
        """device: ours: the rig's name of the front end; QEMU's: the words behind -device; None: no guest.
        arguments: of our process. stock: without the guest image's own choice of OpenGL driver, which is for Venus alone.
        gl, vulkan: variables for programs; None for vulkan: it has none. slow: too slow for frames of 100 ms. extra: only if asked for."""
        self.name, self.title, self.device, self.arguments, self.display = name, title, device, arguments, display
        self.stock, self.gl, self.vulkan, self.slow, self.extra = stock, gl or {}, vulkan, slow, extra

    @property
    def ours(self):
        return self.device in vm_front_ends()

    @property
    def qemu_device(self):
        if self.ours:
            return session.FRONT_ENDS[vm_front_ends()[self.device]].device
        return self.device.split(",")[0] if self.device else None


def vm_front_ends():
    """The rig's front ends by the short names used here."""
    return {"vfio": "venus-vfio", "test": "venus", "gpu": "gpu"}


ZINK = {"MESA_LOADER_DRIVER_OVERRIDE": "zink", "LIBGL_ALWAYS_SOFTWARE": "1"}
SUBJECTS = [
    Subject("vfio", "ours: Venus, vfio-user", "vfio", ("--renderer=2d,venus",), stock=False, vulkan={}),
    Subject("vhost", "ours: Venus, vhost-user", "test", ("--renderer=2d,venus",), stock=False, vulkan={}),
    Subject("vfio-virgl", "ours: VirGL and Venus, vfio-user", "vfio", ("--renderer=2d,venus,virgl",), vulkan={}),
    Subject("vhost-virgl", "ours: VirGL and Venus, vhost-user", "test", ("--renderer=2d,venus,virgl",), vulkan={}),
    # What it costs that drivers are loaded into a process of their own.
    Subject("vfio-one", "ours in one process: Venus, vfio-user", "vfio", ("--renderer=2d,venus", "--renderer-in-process"), stock=False, vulkan={},
            extra=True),
    Subject("vfio-virgl-one", "ours in one process: VirGL and Venus, vfio-user", "vfio", ("--renderer=2d,venus,virgl", "--renderer-in-process"),
            vulkan={}, extra=True),
    # A CPU's Vulkan that calls itself one is refused by zink, and its swapchains need dma-bufs that the host has not.
    Subject("qemu-venus", "QEMU: Venus", "virtio-gpu-gl-pci,blob=on,hostmem=2G,venus=on", display="sdl,gl=on", gl=ZINK,
            vulkan={"MESA_VK_WSI_DEBUG": "sw"}),
    Subject("qemu-virgl", "QEMU: VirGL", "virtio-gpu-gl-pci", display="sdl,gl=on"),
    Subject("qemu-2d", "QEMU: 2D, the guest's CPU draws", "virtio-gpu-pci", vulkan={}, slow=True),
    Subject("native", "native, llvmpipe / lavapipe", vulkan={}),
    Subject("native-zink", "native, zink on lavapipe", gl={**ZINK, "GALLIUM_DRIVER": "zink"}),
]


# ---- Where programs run ----

class Display:
    """An X server of the host, for QEMU's OpenGL windows and for native programs."""

    def __init__(self, size="1920x1200"):
        ends = os.pipe()
        self.process = subprocess.Popen([*vm.CONFINED, "Xvfb", "-displayfd", str(ends[1]), "-screen", "0", f"{size}x24", "-nolisten", "tcp",
                                         "-noreset"],
                                        pass_fds=[ends[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(ends[1])
        with os.fdopen(ends[0]) as file:
            number = file.readline().strip()
        if not number:
            raise BenchError("Xvfb does not start")
        self.name = f":{number}"

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class Native:
    """Programs of the host, on an X server without a GPU."""

    boot_s = x_s = None
    host_pids = ()

    def __init__(self, subject):
        self.display = Display("1280x800")
        self.qemu_pid = None
        self.directory = tempfile.mkdtemp(prefix="pvgpu-bench-")
        self.environment = {**os.environ, "DISPLAY": self.display.name, "MESA_SHADER_CACHE_DISABLE": "true", "XDG_RUNTIME_DIR": self.directory}

    def install(self, program):
        return str(program)

    def start_x(self):
        pass

    def run(self, command, limit_s, variables):
        """(exit code, output, errors)"""
        try:
            result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=limit_s, check=False,
                                    env={**self.environment, **variables})
        except subprocess.TimeoutExpired:
            return 124, "", ""
        return result.returncode, result.stdout, result.stderr

    def close(self):
        self.display.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Guest:
    """Programs of a guest."""

    vcpus = True  # threads of its process are its processors

    def __init__(self, subject):
        self.display = self.device = self.machine = None
        self.began = time.monotonic()
        try:
            self.machine = self.boot(subject)
            if subject.stock:
                self.machine.check("rm -f /etc/drirc")
        except BaseException:
            self.close()
            raise
        self.boot_s, self.x_s = self.machine.boot_seconds, None
        self.qemu_pid = self.machine.process.pid

    def boot(self, subject):
        gpu = ["-device", f"{subject.device},id=gpu"]
        if subject.ours:
            front_end = session.FRONT_ENDS[vm_front_ends()[subject.device]]
            self.device = vm.Device(arguments=subject.arguments, transport=front_end.transport)
            gpu = self.device.qemu_arguments(front_end.kind, front_end.options)
        elif subject.display != "none":
            self.display = Display()
            os.environ["DISPLAY"] = self.display.name
        return vm.Machine(gpu=gpu, display=subject.display)

    @property
    def host_pids(self):
        """Processes that draw, besides QEMU."""
        if self.device:
            return procs.with_children(self.device.process.pid)
        return [self.display.process.pid] if self.display else []

    def install(self, program):
        return self.machine.install(program)[0]

    def start_x(self):
        began = time.monotonic()
        self.machine.start_x()
        self.x_s = time.monotonic() - began
        self.machine.check(WITHOUT_REFRESH)

    def run(self, command, limit_s, variables):
        result = self.machine.run(command, limit_s, variables)
        return result.returncode, result.stdout, result.stderr

    def close(self):
        if self.machine:
            self.machine.close()
        for thing in (self.device, self.display):
            if thing:
                thing.close()


class Cost:
    """What the host's side uses over a time: all of QEMU but its virtual CPUs, and what draws beside it."""

    def __init__(self, place):
        groups = {f"host-{pid}": (pid, lambda name: True) for pid in place.host_pids}
        if place.qemu_pid and place.vcpus:
            groups |= {"guest": (place.qemu_pid, procs.is_vcpu), "qemu": (place.qemu_pid, lambda name: not procs.is_vcpu(name))}
        self.meter = procs.CpuMeter(groups)
        self.meter.start()

    def stop(self):
        """(% of a core on the host's side, % of a core of the guest's processors)"""
        used, wall = self.meter.stop()
        guest = used.pop("guest", 0)
        return sum(used.values()) / wall * 100, guest / wall * 100


# ---- What is measured ----

class Column:
    def __init__(self, name, title, unit, more_is_better):
        self.name, self.title, self.unit, self.more_is_better = name, title, unit, more_is_better


COLUMNS = [
    Column("gears300", "glxgears 300x300", "FPS", True),
    Column("gears720", "glxgears 1280x720", "FPS", True),
    Column("cube", "vkcube 500x500", "FPS", True),
    *(Column(f"vkmark-{scene}", f"vkmark {scene} {SCENE_SIZE}", "FPS", True) for scene in ("vertex", "texture", "shading", "cube")),
    *(Column(f"glmark2-{scene}", f"glmark2 {scene} {SCENE_SIZE}", "FPS", True) for scene in ("build", "texture", "shading", "bump")),
    Column("fill", "fill-bound Vulkan frames of 0.1 s", "FPS", True),
    Column("compute", "compute-bound Vulkan frames of 0.1 s", "FPS", True),
    Column("fill-long", "fill-bound Vulkan frames of 1 s", "FPS", True),
    Column("compute-long", "compute-bound Vulkan frames of 1 s", "FPS", True),
    Column("blob", "blob of 1 MiB: create, map, touch, free", "us", False),
    Column("window-write", "memcpy into the window", "GB/s", True),
    Column("ram-write", "  into the guest's memory", "GB/s", True),
    Column("window-read", "memcpy from the window", "GB/s", True),
    Column("ram-read", "  from the guest's memory", "GB/s", True),
    Column("command", "a fenced 2D command there and back", "us", False),
    Column("fence", "an empty 3D submit until its fence signals", "us", False),
    Column("reply", "a Vulkan call with a reply", "us", False),
    Column("submit-wait", "vkQueueSubmit + vkWaitForFences", "us", False),
    Column("x-start", "X starts", "s", False),
    Column("first-frame", "first frame of vkcube, cold", "s", False),
    Column("host-cpu", "host's side at glxgears 1280x720", "% of a core", False),
    Column("guest-cpu", "  virtual CPUs meanwhile", "% of a core", False),
    Column("memory", "memory of the host's side, peak", "MiB", False),
]


FRAMES = ("fill", "compute", "fill-long", "compute-long")


class Measurer:
    """One row in one round."""

    def __init__(self, bench, subject, place):
        self.bench, self.subject, self.place = bench, subject, place

    def wants(self, *names):
        return any(name in self.bench.columns for name in names)

    def add(self, column, *values):
        if column in self.bench.columns:
            self.bench.samples.setdefault((self.subject.name, column), []).extend(values)

    def run(self, what, command, variables, limit_s=LIMIT_S, good=None):
        """The output, None if it failed: noted, once, as the reason why there is no figure. With `good`, a pattern, output that
        has it is a result, even of a program that fails later: some do when they close their windows."""
        code, out, errors = self.place.run(command, limit_s, variables)
        if re.search(good, out) if good else code == 0:
            return out
        reason = f"no end within {limit_s} s" if code == 124 else f"exit code {code}: " + " / ".join((errors or out).strip().splitlines()[-2:])
        self.fail(what, reason)
        return None

    def fail(self, what, reason):
        self.bench.failures.setdefault(f"{self.subject.name} {what}", reason[:300])
        self.bench.say(f"  {what}: {reason[:200]}")

    # Before X

    def kernel(self):
        if self.wants("command") and self.place.qemu_pid:
            out = self.run("kmsbench", f"{self.place.install(KMSBENCH)} latency --count 1500", {})
            if out:
                self.add("command", session.json_lines(out)[-1]["median_us"])
        if self.wants("blob", "window-write", "window-read", "ram-write", "ram-read", "fence") and self.place.qemu_pid \
                and not self.subject.slow:
            # VirGL makes no memory that both sides map.
            program, virgl = self.place.install(BLOBBENCH), "virgl" in self.subject.name
            runs = [f"--capset {CAPSET_VIRGL2} fence"] if virgl else ["fence"]
            runs += ["blob memory"] if self.subject.vulkan is not None else []
            for what in runs:
                for line in session.json_lines(self.run("blobbench", f"{program} {what}", {}) or ""):
                    self.add(line["name"], line["median"])

    def probe(self):
        columns = [name for name in ("reply", "submit-wait", *FRAMES) if self.wants(name)]
        if not columns or self.subject.vulkan is None or self.subject.slow:
            return
        program = self.place.install(PROBE)
        for column in columns:
            measurement = column.removesuffix("-long")
            out = self.run(column, f"{program} {self.bench.probe_arguments(column)} {measurement}", self.subject.vulkan)
            for line in session.json_lines(out or ""):
                if line.get("name") == measurement:
                    self.add(column, line["median"])

    # With X

    def first_frame(self):
        if self.place.x_s is not None:
            self.add("x-start", self.place.x_s)
        if self.wants("first-frame") and self.subject.vulkan is not None:
            seconds = self.cube_seconds(1)
            if seconds:
                self.add("first-frame", seconds)

    def gears(self, column, size):
        if not self.wants(column, *(("host-cpu", "guest-cpu") if column == "gears720" else ())):
            return
        # The first window has the start in it; the last may be cut short.
        seconds = GEARS_WINDOW_S * (self.bench.windows + 1) + 4
        cost = Cost(self.place)
        out = self.run(column, f"timeout -s INT {seconds} glxgears -geometry {size}; true", {**self.subject.gl, "vblank_mode": "0"})
        host, guest = cost.stop()
        rates = [float(rate) for rate in re.findall(r"= +([\d.]+) FPS", out or "")][1:]
        if not rates:
            self.fail(column, "glxgears tells no rate")
            return
        self.add(column, *rates)
        if column == "gears720" and self.place.qemu_pid:
            self.add("host-cpu", host)
            if self.place.vcpus:
                self.add("guest-cpu", guest)

    def cube_seconds(self, frames):
        out = self.run("vkcube", f"read a _ </proc/uptime; vkcube --c {frames} --present_mode 0 >/dev/null 2>/tmp/vkcube || "
                       "{ cat /tmp/vkcube >&2; exit 1; }; read b _ </proc/uptime; echo $a $b", self.subject.vulkan)
        if not out:
            return None
        began, ended = map(float, out.split()[-2:])
        return ended - began

    def cube(self):
        if not self.wants("cube") or self.subject.vulkan is None:
            return
        frames = CUBE_FRAMES * (10 if not self.place.qemu_pid else 1)
        short = self.cube_seconds(20)
        long = short and self.cube_seconds(20 + frames)
        if long and long > short:
            self.add("cube", frames / (long - short))

    def marks(self, program, variables):
        scenes = [column.partition("-")[2] for column in self.bench.columns if column.startswith(f"{program}-")]
        if not scenes or variables is None:
            return
        more = "--winsys xcb -p immediate" if program == "vkmark" else ""
        for scene in scenes:
            out = self.run(f"{program} {scene}", f"{program} {more} -s {SCENE_SIZE} -b {scene}:duration={SCENE_S}", variables,
                           good=r"FPS: +\d")
            rates = re.findall(r"FPS: +([\d.]+)", out or "")
            if rates:
                self.add(f"{program}-{scene}", float(rates[-1]))

    def memory(self):
        if not self.wants("memory") or not self.place.qemu_pid:
            return
        if self.place.device:
            total = sum(memory["peak"] - memory["shared"] for memory in map(procs.memory_bytes, self.place.host_pids))
            self.add("memory", total / session.MiB)

    def all(self):
        self.kernel()
        self.probe()
        self.place.start_x()
        self.first_frame()
        self.gears("gears300", "300x300")
        self.gears("gears720", "1280x720")
        self.cube()
        self.marks("vkmark", self.subject.vulkan)
        self.marks("glmark2", self.subject.gl)
        self.memory()


class Bench:
    measurer = Measurer

    def __init__(self, subjects, columns, options, say):
        self.subjects, self.columns, self.options, self.say = subjects, columns, options, say
        self.windows = options.windows
        self.samples, self.failures, self.guest = {}, {}, {}
        self.layers, self.loop_rounds = 8, 512

    def calibrate(self):
        """How much work makes a frame of FRAME_MS on the host's driver."""
        for _ in range(5):
            result = subprocess.run([str(PROBE), "--repeats", "3", "--sample-ms", "300", "--fill-layers", str(self.layers), "--loop-rounds",
                                     str(self.loop_rounds), "fill", "compute"], capture_output=True, text=True, check=False, timeout=120)
            if result.returncode:
                raise BenchError(f"the host has no Vulkan: {result.stderr.strip()}")
            ms = {line["name"]: 1e3 / line["median"] for line in session.json_lines(result.stdout) if "name" in line}
            if all(FRAME_MS * 0.8 < value < FRAME_MS * 1.25 for value in ms.values()):
                break
            self.layers = max(1, round(self.layers * min(FRAME_MS / ms["fill"], 64)))
            self.loop_rounds = max(1, round(self.loop_rounds * min(FRAME_MS / ms["compute"], 64)))
        self.say(f"a frame of {FRAME_MS} ms: {self.layers} layers of 1920x1080, or 65536 times {self.loop_rounds} rounds")

    def probe_arguments(self, column):
        is_long = column.endswith("-long")
        times = LONG_FRAME if is_long else 1
        return (f"{'--repeats 3 --sample-ms 3000' if is_long else '--repeats 5 --sample-ms 600'} --latencies 1000 "
                f"--fill-layers {self.layers * times} --loop-rounds {self.loop_rounds * times}")

    def round(self, number):
        start = number % len(self.subjects)
        for subject in self.subjects[start:] + self.subjects[:start]:
            with held(self.options.lock):
                self.say(f"round {number + 1} of {self.options.rounds}: {subject.title}")
                self.measure(subject)

    def place(self, subject):
        return Guest(subject) if subject.device else Native(subject)

    def measure(self, subject):
        place = None
        try:
            place = self.place(subject)
            if subject.device:
                self.guest.setdefault("kernel", place.machine.check("uname -r").strip())
                self.guest.setdefault("mesa", place.machine.check("dpkg-query -W -f '${Version}' libgl1-mesa-dri").strip())
                self.guest.setdefault("accelerator", place.machine.processor)
            self.measurer(self, subject, place).all()
        except (vm.GuestError, session.SessionError) as error:
            self.failures.setdefault(f"{subject.name} guest", str(error)[-1500:])
            self.say(f"  {subject.title} failed: {str(error).splitlines()[0]}")
        finally:
            if place:
                place.close()


@contextlib.contextmanager
def held(locks):
    """The machine to itself, as far as others ask for the same locks."""
    with contextlib.ExitStack() as stack:
        for lock in locks:
            fcntl.flock(stack.enter_context(open(lock, "w")), fcntl.LOCK_EX)
        yield


# ---- Results ----

def summarise(samples):
    """{row: {column: summary}}"""
    return {subject.name: {column.name: figures.summary(samples[subject.name, column.name]) for column in COLUMNS
                           if samples.get((subject.name, column.name))} for subject in SUBJECTS}


def ratio(result, column, mine, theirs):
    """How many times as good, from medians; None without both."""
    a, b = (result["rows"].get(name, {}).get(column.name) for name in (mine, theirs))
    if not (a and b and a["median"] and b["median"]):
        return None
    return a["median"] / b["median"] if column.more_is_better else b["median"] / a["median"]


def make_table(result):
    """A line for each column of the measurements: rows of guests are more than fit beside each other otherwise."""
    names = [name for name in result["titles"] if result["rows"].get(name)]
    header = ["median [lowest to highest]", *(result["titles"][name] for name in names)]
    body = []
    for column in COLUMNS:
        if any(column.name in result["rows"][name] for name in names):
            body.append([f"{column.title}, {column.unit}", *(figures.spread(result["rows"][name].get(column.name)) for name in names)])
    return header, body


# Ours, whose, of the same kind.
CONTESTS = [("vfio", "qemu-venus"), ("vhost", "qemu-venus"), ("vfio-virgl", "qemu-virgl"), ("vhost-virgl", "qemu-virgl"),
            ("vfio", "qemu-2d"), ("vfio", "native"), ("vfio", "native-zink"), ("vfio", "vfio-one"), ("vfio-virgl", "vfio-virgl-one")]


def make_ratios(result):
    pairs = [(a, b) for a, b in CONTESTS if result["rows"].get(a) and result["rows"].get(b)]
    header = ["times as good", *(f"{a} : {b}" for a, b in pairs)]
    body = []
    for column in COLUMNS:
        numbers = [ratio(result, column, a, b) for a, b in pairs]
        if any(number is not None for number in numbers) and column.name not in ("ram-write", "ram-read", "host-cpu", "guest-cpu"):
            body.append([column.title.strip(), *(f"{number:.2f}" if number is not None else "-" for number in numbers)])
    return header, body


def check_targets(result):
    """[(what, whether it is met, figures)] of the project's targets for a guest."""
    rows, found = result["rows"], []

    def median(row, column):
        return rows.get(row, {}).get(column, {}).get("median")

    for row in ("vfio", "vhost"):
        gears = median(row, "gears300")
        if gears:
            found.append((f"glxgears at 60 FPS or more, {result['titles'][row]}", gears >= 60, figures.short(gears)))
    for mine, theirs in (("vfio", "qemu-venus"), ("vfio-virgl", "qemu-virgl"), ("vhost-virgl", "qemu-virgl")):
        for column in COLUMNS:
            times = ratio(result, column, mine, theirs)
            if times and column.unit == "FPS" and column.name not in FRAMES:
                found.append((f"{column.title}: 1.3 times {result['titles'][theirs]} or more, {result['titles'][mine]}", times >= 1.3,
                              f"{times:.2f}"))
    for name in FRAMES:
        column = next(column for column in COLUMNS if column.name == name)
        times = ratio(result, column, "vfio", "native")
        if times:
            found.append((f"{column.title}: 0.95 of native or more", times >= 0.95, f"{times:.2f}"))
    if median("vfio", "blob") and median("qemu-venus", "blob"):
        times = median("qemu-venus", "blob") / median("vfio", "blob")
        found.append(("a blob is made and mapped faster than QEMU's", times > 1, f"{times:.2f} times"))
    for way in ("write", "read"):
        if median("vfio", f"window-{way}") and median("vfio", f"ram-{way}"):
            share = median("vfio", f"window-{way}") / median("vfio", f"ram-{way}")
            found.append((f"memory of the window, {way}: 0.95 of the guest's own or more", share >= 0.95, f"{share:.2f}"))
    return found


EXPLANATION = """Each row is a guest of its own: the same image, kernel and Mesa in the same QEMU; only the graphics device differs. glxgears and
vkcube are not held to a refresh rate, and the guest's screen has one of 1000 Hz, since its driver waits for the end of each. On ours no
variable is set in the guest; with Venus alone OpenGL is Mesa's zink on it, with VirGL beside it the desktop draws with that. QEMU's devices draw into
an SDL window on Xvfb, its Venus needs MESA_VK_WSI_DEBUG=sw for Vulkan windows and LIBGL_ALWAYS_SOFTWARE=1 for zink. Where the processor is
emulated (TCG), guest code (Mesa's driver, X) is the cost of all small frames; the fill-bound and compute-bound frames show the renderer.
"The host's side" is all of QEMU but its virtual CPUs, and our process, or Xvfb. Its memory is our process's, guest memory not counted;
QEMU's own devices have no process that could be told from the rest of QEMU. How far a native figure's extremes are apart says how much
other work the machine had between the rounds: ratios of medians are then worth no more than that, and rows of one round are not comparable."""


def machine_line(result):
    host, versions = result["host"], result["versions"]
    return (f"{host['cpus']} x {host['cpu']}, {versions['accelerator']}, {versions['qemu']}, host Mesa {versions['host_mesa']}, guest Linux "
            f"{versions['guest_kernel']} with Mesa {versions['guest_mesa']}, {versions['pvgpu']}, {result['time'][:10]}; "
            f"load of the machine before it began: {host.get('load_at_start', float('nan')):.1f}")


def later_runs(result):
    """What is not of the run that the rest is of."""
    titles = {column.name: column.title.strip() for column in COLUMNS}
    return "\n".join(f"Of a later run, with --rounds {run['rounds']}: {'; '.join(titles[column] for column in run['columns'])}."
                     for run in result.get("later", []))


def write_markdown(path, result):
    targets = "\n".join(f"- {'met' if met else 'MISSED'}: {what} ({figure})" for what, met, figure in result["targets"])
    failures = "\n".join(f"- {what}: `{reason.splitlines()[-1] if reason else ''}`" for what, reason in result["failures"].items())
    path.write_text(f"""# A guest's OpenGL and Vulkan

Written by `./run bench vm --rounds {result['rounds']} --markdown`. Median [lowest to highest].

{machine_line(result)}
{later_runs(result)}

{figures.markdown_table(*make_table(result))}

{EXPLANATION}

## Side by side

More than 1 is better than the other, whatever the unit.

{figures.markdown_table(*make_ratios(result))}

## Targets

{targets}
{f'''
## What could not be measured

{failures}
''' if failures else ''}
More figures: [a command without a guest](benchmarks/trip.md), [2D](benchmarks/2d.md), [OpenGL](benchmarks/gl.md), [Venus without a guest](benchmarks/venus.md), [the same on an NVIDIA GPU](benchmarks/venus-nvidia.md), [VirGL there](benchmarks/gl-nvidia.md), [a guest there](benchmarks/vm-nvidia.md).
""")


def choose(parser, what, names, wanted, default=None):
    if not wanted:
        return default or names
    unknown = [name for name in wanted.split(",") if name not in names]
    if unknown:
        parser.error(f"there is no {what} {', '.join(unknown)}; there are: {' '.join(names)}")
    return [name for name in names if name in wanted.split(",")]


def result_of(bench, rounds, load_at_start, earlier):
    """What is known after so many rounds; earlier: the result of a run that this one completes, or None."""
    samples = {" ".join(key): values for key, values in bench.samples.items()}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if earlier:
        # How large a calibrated frame is differs from run to run.
        anew = {name for name in FRAMES if name in bench.columns} if rounds else set()
        kept = {key: values for key, values in earlier["samples"].items() if key.split(" ")[1] not in anew}
        result = {**earlier, "samples": {**kept, **samples}, "failures": {**earlier["failures"], **bench.failures}}
        if rounds:
            result["later"] = [*earlier.get("later", []), {"rounds": rounds, "time": now, "columns": bench.columns}]
    else:
        result = {
            "bench": "vm", "rounds": rounds, "time": now, "host": {**figures.host(), "load_at_start": load_at_start},
            "versions": {
                "pvgpu": figures.first_line(str(session.BUILD / "pvgpu"), "--version"),
                "qemu": figures.first_line("qemu-system-x86_64", "--version"), "guest_kernel": bench.guest.get("kernel", "-"),
                "guest_mesa": bench.guest.get("mesa", "-"), "accelerator": bench.guest.get("accelerator", "-"),
                "host_mesa": figures.first_line("dpkg-query", "-W", "-f", "${Version}", "mesa-vulkan-drivers")},
            "samples": samples, "failures": bench.failures}
    result["titles"] = {subject.name: subject.title for subject in SUBJECTS}
    result["rows"] = summarise({tuple(key.split(" ")): values for key, values in result["samples"].items()})
    result["targets"] = check_targets(result)
    return result


def main():
    parser = argparse.ArgumentParser(prog="./run bench vm", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is booted and measured (default 3)")
    parser.add_argument("--windows", type=int, default=2, help="windows of 5 s for each size of glxgears (default 2)")
    parser.add_argument("--rows", metavar="ROW,...", help=f"of: {' '.join(subject.name for subject in SUBJECTS)} (default all but *-one)")
    parser.add_argument("--columns", metavar="COLUMN,...", help=f"of: {' '.join(column.name for column in COLUMNS)} (default all)")
    parser.add_argument("--output", type=pathlib.Path, default=TOP / "build/bench/vm.json")
    parser.add_argument("--add-to", type=pathlib.Path, metavar="JSON", help="complete the result of an earlier run with other rows or columns")
    parser.add_argument("--markdown", type=pathlib.Path, nargs="?", const=TOP / "docs/BENCHMARKS.md", help="write the tables there, too "
                        "(docs/BENCHMARKS.md)")
    parser.add_argument("--lock", type=pathlib.Path, metavar="FILE", action="append", default=[], help="hold this lock while a row is "
                        "measured: for a machine with several measurements that take turns; can be given again")
    options = parser.parse_args()
    if options.rounds < (0 if options.add_to else 1) or options.windows < 1:
        parser.error("--rounds and --windows start at 1; with --add-to no rounds only write its tables anew")
    rows = choose(parser, "row", [subject.name for subject in SUBJECTS], options.rows,
                  [subject.name for subject in SUBJECTS if not subject.extra])
    columns = choose(parser, "column", [column.name for column in COLUMNS], options.columns)

    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    subjects = [subject for subject in SUBJECTS if subject.name in rows]
    bench = Bench(subjects, columns, options, say)
    for subject in list(subjects):
        if subject.device and subprocess.run(["qemu-system-x86_64", "-machine", "none", "-device", f"{subject.qemu_device},help"],
                                             capture_output=True, check=False).returncode:
            bench.failures[f"{subject.name} guest"] = f"this QEMU has no {subject.qemu_device}"
            say(f"left out: {subject.title}: this QEMU has no {subject.qemu_device}")
            subjects.remove(subject)
    with contextlib.ExitStack() as stack:
        load_at_start = os.getloadavg()[0]
        # QEMU's OpenGL window wants a runtime directory.
        os.environ["XDG_RUNTIME_DIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="pvgpu-bench-"))
        if options.rounds and set(FRAMES) & set(columns):
            with held(options.lock):
                bench.calibrate()
        earlier = json.loads(options.add_to.read_text()) if options.add_to else None
        options.output.parent.mkdir(parents=True, exist_ok=True)
        for number in range(options.rounds):
            bench.round(number)
            # After each: a run that is broken off keeps what it has.
            options.output.write_text(json.dumps(result_of(bench, number + 1, load_at_start, earlier), indent=1) + "\n")
    result = result_of(bench, options.rounds, load_at_start, earlier)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(figures.table(*make_table(result)), figures.table(*make_ratios(result)), sep="\n\n")
    print("\n" + "\n".join(f"{'met   ' if met else 'MISSED'}  {what}: {figure}" for what, met, figure in result["targets"]))
    print(f"\n{EXPLANATION}\n\n{machine_line(result)}; all of it in {options.output}")
    if options.markdown:
        write_markdown(options.markdown, result)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchError, session.SessionError, vm.GuestError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)

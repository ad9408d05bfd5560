# SPDX-License-Identifier: MIT
"""Venus figures: native, through our decoder, through virgl_test_server: ./run bench venus [--rounds N] [ROW...]

All run on the same host driver. Each round measures each row on every subject in turn, the next row and the next round in
another order, each in a process of its own: a row that a subject cannot do costs that row only. The client is Mesa's
unmodified venus driver over vtest.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests/e2e"))
from rig import figures, procs  # noqa: E402 (shared with the end-to-end tests)

IDLE_S = 10
LIMIT_S = 30
PEER_LIMIT_S = 8  # its client hangs where memory is mapped
FRAME_MS = 25  # of the fill-bound and the compute-bound frame, natively
NO_FEEDBACK = "no_fence_feedback,no_event_feedback,no_semaphore_feedback,no_query_feedback"


class BenchError(Exception):
    """Ends the program with a message for the user."""


class Row:
    """One line of the table: a statistic of one measurement of the probe."""

    def __init__(self, name, probe, statistic="median", more_is_better=False, ratio=None, limit=None, floor=""):
        self.name, self.probe, self.statistic, self.more_is_better = name, probe, statistic, more_is_better
        self.ratio = ratio  # target: ours : native, as in the design (a time's ratio at most, a rate's at least)
        self.limit = limit  # target: of ours, in the row's unit
        self.floor = floor  # what the protocol forces


ROWS = [
    Row("submit + wait, empty batch, median us", "submit-wait", ratio=1.25,
        floor="The batch crosses to the ring's thread (one cache line), which submits it with the guest's feedback command buffer "
        "(a barrier and a fill of 4 bytes) behind it. The guest looks for the 4 bytes 15 times with sched_yield between, 5 us in all where "
        "its processor is its own, and then sleeps 160 us, which the kernel's timer slack makes about 220: a batch that is not done by "
        "then costs that. vkQueueSubmit and the GPU alone take 11 us on an H100, so there the floor is 220 us, and nothing that a server "
        "may say changes Mesa's schedule: it has feedback for every fence that is not exported, on every queue that can fill a buffer. "
        "Without feedback (VN_PERF=no_fence_feedback in the guest) each look is a round trip, so that the guest yields longer, and is "
        "faster than a native wait that sleeps in the kernel: see `same switches`. lavapipe hands each batch to a thread of its own: "
        "natively two switches of threads, with us four (the guest's and the ring's thread yield to one another), about 1 us each where "
        "all share a processor (pinned to one: native 7.5 us, ours 14), and 40 us for native where the processors sleep in between."),
    Row("submit + wait, p99 us", "submit-wait", "p99",
        floor="As above. With less than three free cores the guest's poll, the ring's thread and the driver's thread wait for one "
        "another in the scheduler."),
    Row("submit + wait, timeline semaphore, median us", "submit-wait-timeline",
        floor="As with a fence; the feedback is a copy of 8 bytes instead of a fill of 4."),
    Row("reply round trip, median us", "reply", limit=3,
        floor="Two transfers between cores (tail there, head back) and one sched_yield of the guest's poll, which together are the row "
        "`a number to another thread and back` below; the guest's locking and encoding, our decoding, the driver's function. Native is "
        "a function call: no ratio says anything."),
    Row("reply round trip, p99 us", "reply", "p99"),
    Row("reply round trip, smallest, median us", "reply-small", limit=3),
    Row("first format query, median us", "reply-format", limit=3,
        floor="A round trip; later queries of the format are answered by the guest driver."),
    Row("format query + vkGetFenceStatus, median us", "format-and-fence", limit=3,
        floor="With feedback the guest answers both itself. Without it the second is a round trip, and the second in a row that finds the "
        "fence unsignalled is held back until it signals, for 40 us at most: nobody signals this one."),
    Row("vkGetFenceStatus, median us", "fence-status",
        floor="With feedback a read of memory in the guest; without it as above."),
    Row("draws/s, 1 frame under way", "draws-sync", more_is_better=True, ratio=0.8,
        floor="32 bytes a draw, encoded by the guest, copied once, decoded and recorded by the ring's thread. The guest sends a command "
        "buffer when it ends: a frame takes at least native's time and the guest's encoding, see `recording a draw` below."),
    Row("draws/s, 3 frames under way", "draws-queued", more_is_better=True, ratio=0.8,
        floor="The stages overlap: native, if encoding and decode + recording are each shorter than the driver's work. With as many "
        "cores as stages; two cores carry client, ring's thread and the driver's threads."),
    Row("draws/s with descriptors and constants, 1 under way", "bound-draws-sync", more_is_better=True, ratio=0.8,
        floor="As above with 3 commands and about 150 bytes a draw."),
    Row("draws/s with descriptors and constants, 3 under way", "bound-draws-queued", more_is_better=True, ratio=0.8),
    Row("recording a draw, ns of the calling thread", "recording",
        floor="Native: the driver's share of a draw. Ours: the guest driver's encoding, which the four rows above cannot be faster than. It "
        "sends a command buffer when it ends, so with one frame under way a frame takes native's time and the encoding's: the floor of "
        "`draws/s, 1 frame under way` is native : (native + encoding)."),
    Row("recording a draw with descriptors and constants, ns of the calling thread", "bound-recording",
        floor="The same for `draws/s with descriptors and constants`."),
    Row("frames/s of one triangle, 1 under way", "frames-sync", more_is_better=True,
        floor="About ten commands and one submit + wait a frame."),
    Row("frames/s of one triangle, 3 under way", "frames-queued", more_is_better=True),
    Row("pipeline and first use, ms", "pipeline",
        floor="One message of a few hundred bytes; the host compiles as it does natively."),
    Row("allocate + map + touch + free 1 MiB, us", "allocation",
        floor="Memory that two processes see: a memfd's pages cost the kernel more than a process's own, see the row `shared memory of "
        "the system's own` below. To that come the fd through the socket, a second mapping, and two waits of the guest: for the ring "
        "and for the blob."),
    Row("allocate + map + touch + free 64 MiB, us", "large-allocation",
        floor="As above. Where a GPU's driver pins the pages they are huge ones, wherever the kernel can make them; where a CPU draws they "
        "come when they are touched."),
    Row("write to mapped memory, GB/s", "mapped-write", more_is_better=True, ratio=0.95,
        floor="The same pages in both processes: native."),
    Row("  ordinary memory", "plain-write", more_is_better=True),
    Row("read from mapped memory, GB/s", "mapped-read", more_is_better=True, ratio=0.95),
    Row("  ordinary memory", "plain-read", more_is_better=True),
    Row("upload 64 MiB to a buffer, GB/s", "upload-buffer", more_is_better=True,
        floor="The device reads the guest's pages: native but for the wait at the end of each copy, which the guest may "
        "sleep through (3 ms a copy here)."),
    Row("upload 64 MiB to an image, GB/s", "upload-image", more_is_better=True),
    Row("fill-bound frames/s, 1920x1080", "fill", more_is_better=True, ratio=0.95, floor="The GPU's work alone: native."),
    Row("compute-bound frames/s", "compute", more_is_better=True, ratio=0.95, floor="The GPU's work alone: native."),
    Row("frames/s read back, 1280x720", "read-back", more_is_better=True,
        floor="A submit + wait and a copy by each side: native but for the latency."),
    Row("control: CPU loop ms", "control"),
    Row("control: a number to another thread and back, us", "exchange"),
    Row("control: a sleep of 160 us", "sleep"),
    Row("control: shared memory of the system's own, 1 MiB, us", "shared-memory"),
]
IDLE_ROW = Row("idle client: server, % of a core", "idle", limit=2,
               floor="The monitor thread's one wake-up every 3 s; rings sleep until they are notified.")


DECODER_STREAMS = {"draws": "vkCmdDraw", "frame": "a draw with set, constants, index buffer and viewport", "barriers": "barriers"}
DECODER_ROWS = [
    *(Row(f"decoder alone, {what}, M commands/s", f"decode-{stream}", more_is_better=True,
          floor="The bytes of a command are read once, its object looked up, its arguments put where the ABI wants them: about 25 "
          "instructions for a vkCmdDraw." if stream == "draws" else "") for stream, what in DECODER_STREAMS.items()),
    *(Row(f"decoder alone, {what}, instructions/command", f"instructions-{stream}") for stream, what in DECODER_STREAMS.items()),
]
ALL_ROWS = [*ROWS, IDLE_ROW, *DECODER_ROWS]


class Paths:
    """Programs and drivers; the GPU kit has its own."""

    def __init__(self, options):
        self.probe = options.probe
        self.pvgpu = options.pvgpu
        self.native_icd = options.native_icd
        self.guest_icd = options.guest_icd
        self.peer = options.peer
        self.decoder = options.decoder
        self.libraries = options.libraries

    def environment(self, icd, **changes):
        """Of a program on a driver. No driver's cache on disk may answer for the compiler."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("VK_", "VN_", "VTEST_"))}
        if self.libraries:
            environment["LD_LIBRARY_PATH"] = self.libraries
        return {**environment, "MESA_SHADER_CACHE_DISABLE": "true", "__GL_SHADER_DISK_CACHE": "0", "VK_DRIVER_FILES": str(icd), **changes}


def find_icd(name):
    """A driver's manifest by the start of its name: some releases put the architecture into it."""
    found = sorted(pathlib.Path("/usr/share/vulkan/icd.d").glob(f"{name}_icd*.json"))
    return found[0] if found else None


class Subject:
    """Something that runs the probe: a driver, and the server behind it."""

    def __init__(self, name, title, paths, server=None, perf="", limit_s=LIMIT_S):
        """server: the command of its server, with {socket} in it."""
        self.name, self.title, self.paths, self.server, self.perf, self.limit_s = name, title, paths, server, perf, limit_s
        self.process = None
        self.directory = None
        self.log = None

    def start(self):
        if not self.server or (self.process and self.process.poll() is None):
            return
        self.directory = self.directory or tempfile.TemporaryDirectory(prefix="pvgpu-bench-")
        socket_path = pathlib.Path(self.directory.name) / "socket"
        socket_path.unlink(missing_ok=True)
        self.log = open(pathlib.Path(self.directory.name) / "log", "ab")  # noqa: SIM115 (open as long as the server)
        command = [word.format(socket=socket_path) for word in self.server]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, process_group=0,
                                        env=self.paths.environment(self.paths.native_icd))
        deadline = time.monotonic() + 20
        while not socket_path.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.title} did not start: {self.log_tail()}")
            time.sleep(0.02)

    def stop(self):
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGTERM)
                self.process.wait(10)
            except ProcessLookupError:
                self.process.wait()
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process = None

    def close(self):
        self.stop()
        if self.log:
            self.log.close()
        if self.directory:
            self.directory.cleanup()

    def log_tail(self):
        text = (pathlib.Path(self.directory.name) / "log").read_text(errors="replace")
        return " / ".join(text.strip().splitlines()[-3:])

    def environment(self):
        if not self.server:
            return self.paths.environment(self.paths.native_icd)
        return self.paths.environment(self.paths.guest_icd, VN_DEBUG="vtest", VN_PERF=self.perf,
                                      VTEST_SOCKET_NAME=f"{self.directory.name}/socket")

    def server_pids(self):
        """The server with the workers it has forked."""
        return procs.with_children(self.process.pid) if self.process else []


def json_lines(text):
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return found


class Bench:
    def __init__(self, paths, subjects, options, say):
        self.paths, self.subjects, self.options, self.say = paths, subjects, options, say
        self.samples = {}   # (measurement, statistic, subject): numbers, None for a round without
        self.failures = {}  # (measurement, subject): why
        self.devices = {}   # subject: what the probe says of the device
        self.arguments = ["--repeats", str(options.repeats), "--sample-ms", str(options.sample_ms),
                          "--latencies", str(options.latencies)]
        self.raw = []

    def probe(self, subject, *arguments):
        """The probe's results; an empty list with the reason noted if it failed."""
        subject.start()
        try:
            result = subprocess.run([str(self.paths.probe), *self.arguments, *arguments], env=subject.environment(), text=True,
                                    capture_output=True, timeout=subject.limit_s, check=False)
        except subprocess.TimeoutExpired:
            subject.stop()
            return [], f"no end within {subject.limit_s} s"
        lines = json_lines(result.stdout)
        if lines and "gpu" in lines[0]:
            self.devices[subject.name] = lines[0]
        if result.returncode:
            log = subject.log_tail() if subject.server else ""
            subject.stop()
            return [], f"exit code {result.returncode}: {' / '.join(result.stderr.strip().splitlines()[-2:])} {log}".strip()
        return [line for line in lines if "name" in line], None

    def calibrate(self):
        """How much work makes a frame of FRAME_MS natively, so that any GPU is the bottleneck and none takes all day."""
        native = self.subjects[0]
        layers, loops = 4, 256
        for _ in range(4):
            lines, error = self.probe(native, "--fill-layers", str(layers), "--loop-rounds", str(loops), "fill", "compute")
            if error:
                raise BenchError(f"the probe does not run on the native driver: {error}")
            ms = {line["name"]: 1e3 / line["median"] for line in lines}
            if all(FRAME_MS * 0.6 < value < FRAME_MS * 1.6 for value in ms.values()):
                break
            layers = max(1, round(layers * min(FRAME_MS / ms["fill"], 64)))
            loops = max(1, round(loops * min(FRAME_MS / ms["compute"], 64)))
        self.arguments += ["--fill-layers", str(layers), "--loop-rounds", str(loops)]
        self.say(f"the fill-bound frame has {layers} layers, the compute-bound one {loops} rounds")

    def measure(self, measurement, subject):
        if (measurement, subject.name) in self.failures:
            lines = []
        else:
            lines, error = self.probe(subject, measurement)
            if error:
                self.failures[measurement, subject.name] = error
                self.say(f"{measurement} on {subject.title}: {error}")
        for line in lines:
            self.raw.append({"subject": subject.name, **line})
        for statistic in ("median", "p99"):
            self.samples.setdefault((measurement, statistic, subject.name), []).append(lines[0][statistic] if lines else None)

    def round(self, number, measurements):
        for index, measurement in enumerate(measurements):
            start = (number + index) % len(self.subjects)
            for subject in self.subjects[start:] + self.subjects[:start]:
                self.measure(measurement, subject)

    def decode(self, stream, seconds, *prefix):
        """(what the decoder's program prints, what the program in front of it prints), or None without it."""
        if not self.paths.decoder.exists():
            return None
        result = subprocess.run([*prefix, str(self.paths.decoder), stream, str(seconds)], capture_output=True, text=True, timeout=120,
                                env=self.paths.environment(self.paths.native_icd), check=True)
        return result.stdout, result.stderr

    def measure_decoder(self):
        for stream in DECODER_STREAMS:
            output = self.decode(stream, 0.4)
            if output:
                rate = float(re.search(r"([0-9.]+) million a second", output[0])[1])
                self.samples.setdefault((f"decode-{stream}", "median", "ours"), []).append(rate)

    def count_instructions(self):
        if not shutil.which("valgrind"):
            self.say("no instructions are counted: there is no valgrind")
            return
        for stream in DECODER_STREAMS:
            output = self.decode(stream, 0, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                                 "--toggle-collect=pv_venus_execute")
            if output:
                commands = int(re.search(r"([0-9]+) commands", output[0])[1])
                instructions = int(re.search(r"Collected : ([0-9]+)", output[1])[1])
                self.samples[f"instructions-{stream}", "median", "ours"] = [instructions / commands]

    def measure_idle(self):
        """A client that has drawn keeps its device and does nothing."""
        for subject in self.subjects:
            if not subject.server:
                continue
            subject.start()
            client = subprocess.Popen([str(self.paths.probe), "--hold", str(IDLE_S + 8)], env=subject.environment(),
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            try:
                for line in client.stdout:
                    if "holding" in line:
                        break
                else:
                    self.failures["idle", subject.name] = "the client could not start"
                    continue
                time.sleep(1.5)
                pids = subject.server_pids()
                before, began = sum(map(procs.cpu_s, pids)), time.monotonic()
                time.sleep(IDLE_S)
                used, wall = sum(map(procs.cpu_s, pids)) - before, time.monotonic() - began
                self.samples.setdefault(("idle", "median", subject.name), []).append(used / wall * 100)
            finally:
                client.kill()
                client.wait()


def pair_ratios(bench, row, name, base):
    """Of the rounds, so that a busy minute hits both sides; rates and times alike as mine / base."""
    pairs = zip(bench.samples.get((row.probe, row.statistic, name), []), bench.samples.get((row.probe, row.statistic, base), []))
    return [mine / other for mine, other in pairs if mine and other]


def verdict(row, figure, ratio):
    """'met' or 'missed' with the target, '' where there is none."""
    if row.ratio is not None and ratio:
        good = ratio["median"] >= row.ratio if row.more_is_better else ratio["median"] <= row.ratio
        return f"{'>=' if row.more_is_better else '<='} {row.ratio:g} of native: {'met' if good else 'missed'}"
    if row.limit is not None and figure:
        return f"<= {row.limit:g}: {'met' if figure['median'] <= row.limit else 'missed'}"
    return ""


def summarise(bench, rows):
    entries = []
    for row in rows:
        entry = {"row": row.name, "probe": row.probe, "statistic": row.statistic, "figures": {}, "ratios": {}, "failures": {}}
        for subject in bench.subjects:
            numbers = [n for n in bench.samples.get((row.probe, row.statistic, subject.name), []) if n is not None]
            if numbers:
                entry["figures"][subject.name] = figures.summary(numbers)
            elif (row.probe, subject.name) in bench.failures:
                entry["failures"][subject.name] = bench.failures[row.probe, subject.name]
            ratios = pair_ratios(bench, row, subject.name, "native")
            if subject.name != "native" and ratios:
                entry["ratios"][subject.name] = figures.summary(ratios)
        entry["target"] = verdict(row, entry["figures"].get("ours"), entry["ratios"].get("ours"))
        entries.append(entry)
    return entries


def scaled(figure):
    """Numbers beyond a million as such: draws."""
    if figure and figure["median"] >= 1e6:
        millions = {key: figure[key] / 1e6 for key in ("median", "min", "max")}
        return f"{figures.short(millions['median'])} M [{figures.short(millions['min'])} to {figures.short(millions['max'])}]"
    return figures.spread(figure)


def make_table(entries, subjects):
    others = [subject for subject in subjects if subject.name != "native"]
    header = ["median [lowest to highest]", *(subject.title for subject in subjects),
              *(f"{subject.name} / native" for subject in others), "target"]
    body = []
    for entry in entries:
        cells = ["fails" if subject.name in entry["failures"] else scaled(entry["figures"].get(subject.name)) for subject in subjects]
        body.append([entry["row"], *cells, *(figures.spread(entry["ratios"].get(subject.name)) for subject in others), entry["target"]])
    return header, body


EXPLANATION = """Each figure is the median of the rounds' medians with the lowest and highest of them; ratios are made round by round, the
subject's figure by native's of the same round: times are good below 1, rates above. All use the same host driver, the same
number of its threads and no cache of shaders on disk. Clients yield the processor while they wait for a ring and sleep after
a while: on a machine with few cores the client, the ring's thread and the threads of a software driver share them, and
figures below some 50 us are the scheduler's as much as ours: where submit + wait says 236, most waits ran into the guest's
first sleep, where it says 10 to 25, they ended before it."""

PEER_EXPLANATION = f"""virgl_test_server cannot hand out mapped memory here (it needs dma-buf), so its client runs with
VN_PERF={NO_FEEDBACK}, and rows that map memory fail. `same switches` is ours with that client: the two differ in the server
alone."""


def explain_floors(rows):
    return "\n".join(f"- {row.name.strip()}: {row.floor}" for row in rows if row.floor)


def machine_line(result):
    host, versions = result["host"], result["versions"]
    return (f"{host['cpus']} x {host['cpu']}, load {host['load_1_min']:.1f}, {result['devices'].get('native', {}).get('gpu', '')}, client "
            f"{versions['client']}, {versions['pvgpu']}, {versions['peer'] or 'no peer'}, {result['time'][:10]}")


def explain_failures(result):
    """A line for each reason: the same one mostly stops many rows."""
    reasons = {}
    for entry in result["rows"]:
        for name, why in entry["failures"].items():
            reasons.setdefault((result["subjects"].get(name, name), re.split(r" \w+\[\d+\]: | pvgpu: ", why)[0]), []).append(entry["row"].strip())
    return "\n".join(f"- {title}: {why}: {'all rows' if len(rows) > len(result['rows']) - 8 else '; '.join(rows)}"
                     for (title, why), rows in reasons.items())


def write_markdown(path, result, table, rows):
    failures = explain_failures(result)
    path.write_text(f"""# Venus: ours beside native and virgl_test_server

Written by `./run bench venus --rounds {result['rounds']} --markdown docs/benchmarks/{path.name}`. {result['rounds']} rounds.

{machine_line(result)}

{figures.markdown_table(*table)}

{EXPLANATION}

{PEER_EXPLANATION}

## Floors: what the protocol forces

{explain_floors(rows)}
""" + (f"\n## What failed\n\n{failures}\n" if failures else ""))


def make_subjects(paths, wanted):
    subjects = [Subject("native", "native", paths)]
    ours = [str(paths.pvgpu), "vtest", "--socket-path={socket}"]
    if paths.pvgpu and paths.pvgpu.exists() and paths.guest_icd:
        subjects.append(Subject("ours", "ours", paths, ours))
        subjects.append(Subject("same", "ours, same switches", paths, ours, NO_FEEDBACK))
    if paths.peer and paths.guest_icd:
        peer = [str(paths.peer), "--venus", "--no-virgl", "--multi-clients", "--socket-path", "{socket}"]
        subjects.append(Subject("virgl", "virgl_test_server", paths, peer, NO_FEEDBACK, PEER_LIMIT_S))
    return [subject for subject in subjects if subject.name == "native" or subject.name in wanted]


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./run bench venus", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="measurements of the probe (default all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured (default 3)")
    parser.add_argument("--repeats", type=int, default=3, help="samples of a rate in each round (default 3)")
    parser.add_argument("--sample-ms", type=int, default=150, help="length of such a sample (default 150)")
    parser.add_argument("--latencies", type=int, default=1000, help="samples of a latency in each round (default 1000)")
    parser.add_argument("--only", default="ours,same,virgl", help="beside native, with commas (default ours,same,virgl)")
    parser.add_argument("--output", type=pathlib.Path, default=TOP / "build/bench/venus.json")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table there, too (docs/benchmarks/venus.md)")
    parser.add_argument("--probe", type=pathlib.Path, default=TOP / "build/bench/vkprobe/pvgpu-vkprobe")
    parser.add_argument("--pvgpu", type=pathlib.Path, default=TOP / "build/pvgpu")
    parser.add_argument("--decoder", type=pathlib.Path, default=TOP / "build/bench-venus-decode")
    parser.add_argument("--peer", default=shutil.which("virgl_test_server"), help="virgl_test_server")
    parser.add_argument("--peer-version", default=figures.first_line("dpkg-query", "-W", "-f", "${Version}\n", "virgl-server"),
                        help="its version, to be told with the figures")
    parser.add_argument("--libraries", help="LD_LIBRARY_PATH of all that is run")
    parser.add_argument("--native-icd", type=pathlib.Path, default=find_icd("lvp"),
                        help="manifest of the host's driver (default lavapipe's)")
    parser.add_argument("--guest-icd", type=pathlib.Path, default=find_icd("virtio"), help="manifest of Mesa's venus")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds starts at 1")
    if not options.native_icd:
        parser.error("there is no lavapipe: install mesa-vulkan-drivers, or name another driver with --native-icd")
    known = {row.probe for row in ALL_ROWS}
    for row in options.rows:
        if row not in known:
            parser.error(f"there is no row '{row}'; there are: {' '.join(sorted(known))}")
    return options


def main():
    options = parse_arguments()
    paths = Paths(options)
    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    subjects = make_subjects(paths, options.only.split(","))
    for name in filter(None, options.only.split(",")):
        if name not in {subject.name for subject in subjects}:
            say(f"left out: {name}, which is not there")
    chosen = [row for row in ALL_ROWS if not options.rows or row.probe in options.rows]
    measurements = list(dict.fromkeys(row.probe for row in chosen if row in ROWS))
    decoding = any(row in DECODER_ROWS for row in chosen)
    bench = Bench(paths, subjects, options, say)
    host = figures.host()
    try:
        for subject in list(subjects):
            try:
                subject.start()
            except BenchError as error:
                say(f"left out: {error}")
                subjects.remove(subject)
        if {"fill", "compute"} & set(measurements):
            bench.calibrate()
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            bench.round(number, measurements)
            if decoding:
                bench.measure_decoder()
        if decoding:
            bench.count_instructions()
        if IDLE_ROW in chosen:
            say(f"idle for {IDLE_S} s each")
            bench.measure_idle()
    finally:
        for subject in subjects:
            subject.close()
    entries = summarise(bench, chosen)
    client = bench.devices.get("ours") or bench.devices.get("virgl") or {}
    result = {
        "bench": "venus", "rounds": options.rounds, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "host": host,
        "versions": {"pvgpu": version_of(paths), "client": driver_version(client),
                     "peer": paths.peer and f"virgl_test_server {options.peer_version}"},
        "threads_of_lavapipe": os.environ.get("LP_NUM_THREADS", "default"), "arguments": bench.arguments, "devices": bench.devices,
        "subjects": {subject.name: subject.title for subject in subjects}, "rows": entries, "raw": bench.raw,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    table = make_table(entries, subjects)
    print(figures.table(*table))
    print(f"\n{EXPLANATION}\n\n{machine_line(result)}; all of it in {options.output}")
    if options.markdown:
        write_markdown(options.markdown, result, table, chosen)
    return 0


def version_of(paths):
    result = subprocess.run([str(paths.pvgpu), "--version"], env=paths.environment(paths.native_icd), capture_output=True, text=True,
                            check=False)
    return result.stdout.strip()


def driver_version(device):
    """Mesa packs its version as Vulkan packs its own."""
    version = device.get("driver_version", 0)
    return f"Mesa {version >> 22}.{version >> 12 & 0x3ff}.{version & 0xfff}" if version else "no venus client"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)

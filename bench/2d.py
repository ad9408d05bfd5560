# SPDX-License-Identifier: MIT
"""2D figures of our device beside QEMU's own virtio-gpu-pci: ./run bench 2d [--rounds N] [--seconds S]

All devices sit in one guest in one QEMU, so that they share the guest's kernel, its memory and the machine's mood. Each
round measures every device in turn, the next round in another order. A rate comes from a long run; what an update
costs the host's processors from a long run less a short one, so that starting up is not counted.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests/e2e"))
from rig import figures, procs, session  # noqa: E402 (shared with the end-to-end tests)
from rig.session import vm  # noqa: E402

WIDTH, HEIGHT = 1920, 1080
SHORT_RUN_S = 1
IDLE_S = 12


class Subject:
    """One device under test: QEMU's own or ours behind a front end."""

    def __init__(self, name, title, slot, device):
        self.name, self.title, self.slot, self.qemu_device = name, title, slot, device
        self.process = None  # our process, if it is ours
        self.card = None     # in the guest

    def qemu_arguments(self):
        place = f"id={self.name},addr={self.slot:#x}"
        if not self.process:
            return ["-device", f"{self.qemu_device},{place}"]
        return ["-chardev", f"socket,id=socket-{self.name},path={self.process.socket_path}",
                "-device", f"{self.qemu_device},chardev=socket-{self.name},{place}"]


def subjects():
    return [
        Subject("qemu", "QEMU virtio-gpu-pci", 0x10, "virtio-gpu-pci"),
        Subject("gpu", "ours, vhost-user-gpu-pci", 0x11, "vhost-user-gpu-pci"),
        Subject("test", "ours, vhost-user-test-device-pci", 0x12,
                "vhost-user-test-device-pci,virtio-id=16,num_vqs=2,vq_size=256,config_size=20"),
    ]


class Bench:
    def __init__(self, machine, chosen, seconds, say):
        self.machine, self.subjects, self.seconds, self.say = machine, chosen, seconds, say
        self.program = machine.install(session.BUILD / "guest/kmsbench/pvgpu-kmsbench")[0]
        self.samples = {}  # (row, subject): numbers
        self.raw = []
        for subject in chosen:
            subject.card = "/dev/dri/" + machine.check(
                f"basename $(find /sys/bus/pci/devices/0000:00:{subject.slot:02x}.0/ -path '*/drm/card[0-9]*' -name 'card?')").strip()

    def add(self, row, subject, number):
        self.samples.setdefault((row, subject.name), []).append(number)

    def kmsbench(self, subject, mode, *options):
        """Its JSON, with the processors' time it took by group of threads."""
        device_pid = subject.process.process.pid if subject.process else None
        meter = procs.CpuMeter(procs.machine_groups(self.machine.process.pid, device_pid))
        command = " ".join([self.program, mode, "--device", subject.card, "--size", f"{WIDTH}x{HEIGHT}", *map(str, options)])
        meter.start()
        output = self.machine.check(command, self.seconds + 60)
        cpu, wall = meter.stop()
        result = session.json_lines(output)[-1]
        result.update(subject=subject.name, cpu_s=cpu, wall_s=wall, command=command)
        if mode != "latency" and not result["drained"]:
            raise session.SessionError(f"updates were counted that nobody carried out: {command}")
        self.raw.append(result)
        return result

    def measure_rate(self, subject, what, mode, *options):
        short = self.kmsbench(subject, mode, "--seconds", SHORT_RUN_S, *options)
        before = subject.process and subject.process.status()["counters"]
        long = self.kmsbench(subject, mode, "--seconds", self.seconds, *options)
        self.add(f"{what}/s", subject, long["per_second"])
        if subject.process:
            after = subject.process.status()["counters"]
            flushes = after["flushes"] - before["flushes"]
            self.add(f"{what}: KiB the guest transfers", subject,
                     (after["transferred_bytes"] - before["transferred_bytes"]) / 1024 / max(flushes, 1))
        updates = long["updates"] - short["updates"]
        cost = {group: (long["cpu_s"][group] - short["cpu_s"][group]) / updates * 1e6 for group in long["cpu_s"]}
        self.add(f"{what}: device CPU us", subject, cost["qemu"] + cost["pvgpu"])
        if subject.process:
            self.add(f"{what}: QEMU's part", subject, cost["qemu"])
            self.add(f"{what}: our part", subject, cost["pvgpu"])
        self.add(f"{what}: all CPU us, guest included", subject, sum(cost.values()))

    def measure_round_trip(self, subject):
        result = self.kmsbench(subject, "latency", "--count", 3000)
        self.add("round trip, median us", subject, result["median_us"])
        self.add("round trip, p99 us", subject, result["p99_us"])

    def measure_control(self, subject):
        """The same work for the guest's processor alone: tells a faster device from a machine that is less busy."""
        output = self.machine.check(
            f"read a _ </proc/uptime; {self.program} reference gradient --size {WIDTH}x{HEIGHT} --ppm /dev/null >/dev/null; "
            "read b _ </proc/uptime; echo $a $b")
        began, ended = map(float, output.split())
        self.add("control: guest CPU loop ms", subject, (ended - began) * 1e3)

    def round(self, number):
        start = number % len(self.subjects)
        for subject in self.subjects[start:] + self.subjects[:start]:
            self.say(f"round {number + 1}: {subject.title}")
            self.measure_control(subject)
            self.measure_rate(subject, "full-screen updates", "flip")
            self.measure_rate(subject, "full-screen DIRTYFB", "flip", "--method", "dirty")
            self.measure_rate(subject, "64x64 updates", "damage")
            self.measure_round_trip(subject)

    def measure_idle(self):
        """Nobody draws. Ours only: QEMU's own device has no process that could be told from the rest of QEMU."""
        ours = [subject for subject in self.subjects if subject.process]
        self.say(f"idle for {IDLE_S} s")
        before = {subject.name: procs.cpu_s(subject.process.process.pid) for subject in ours}
        began = time.monotonic()
        time.sleep(IDLE_S)
        wall = time.monotonic() - began
        for subject in ours:
            used = procs.cpu_s(subject.process.process.pid) - before[subject.name]
            self.add("idle, % of a core", subject, used / wall * 100)

    def measure_memory(self):
        """With a full screen shown: resident memory that is neither the guest's (shared) nor a guest surface's picture."""
        for subject in self.subjects:
            if not subject.process:
                continue
            job = self.machine.start(f"echo $$ >/run/show.pid; exec {self.program} show gradient --device {subject.card} "
                                     f"--mode {WIDTH}x{HEIGHT} --hold 100", 120)
            if not session.wait_until(lambda: session.json_lines(job.output()), 30):
                raise session.SessionError(f"nothing was shown on {subject.title}")
            memory = procs.memory_bytes(subject.process.process.pid)
            pictures = subject.process.status()["memory"]["resource_bytes"]
            self.machine.check("kill $(cat /run/show.pid)")
            job.wait()
            self.raw.append({"subject": subject.name, "memory": memory, "pictures": pictures})
            self.add("memory beyond surfaces, MiB", subject,
                     (memory["anonymous"] + memory["file"] - pictures) / session.MiB)
            self.add("  of it program and libraries, MiB", subject, memory["file"] / session.MiB)
            self.add("pictures of guest surfaces, MiB", subject, pictures / session.MiB)


# Row, whether more is better, None for rows that are no contest.
ROWS = [
    ("full-screen updates/s", True),
    ("full-screen DIRTYFB/s", True),
    ("64x64 updates/s", True),
    ("round trip, median us", False),
    ("round trip, p99 us", False),
    ("full-screen updates: device CPU us", False),
    ("full-screen updates: QEMU's part", None),
    ("full-screen updates: our part", None),
    ("full-screen updates: all CPU us, guest included", False),
    ("full-screen DIRTYFB: device CPU us", False),
    ("full-screen DIRTYFB: all CPU us, guest included", False),
    ("64x64 updates: device CPU us", False),
    ("64x64 updates: QEMU's part", None),
    ("64x64 updates: our part", None),
    ("64x64 updates: KiB the guest transfers", None),
    ("64x64 updates: all CPU us, guest included", False),
    ("idle, % of a core", None),
    ("memory beyond surfaces, MiB", None),
    ("  of it program and libraries, MiB", None),
    ("pictures of guest surfaces, MiB", None),
    ("control: guest CPU loop ms", None),
]


def summarise(bench):
    """One entry a row: a summary for each subject, and for each of ours how many times as good as QEMU's it is."""
    rows = []
    for name, more_is_better in ROWS:
        entry = {"row": name, "figures": {}, "ratios": {}}
        for subject in bench.subjects:
            numbers = bench.samples.get((name, subject.name))
            if numbers:
                entry["figures"][subject.name] = figures.summary(numbers)
        peer = entry["figures"].get("qemu")
        for subject in bench.subjects:
            mine = entry["figures"].get(subject.name)
            if more_is_better is None or subject.name == "qemu" or not (peer and mine):
                continue
            # Round by round, so that a busy minute hits both sides of a ratio.
            pairs = zip(bench.samples[name, subject.name], bench.samples[name, "qemu"])
            ratios = [a / b if more_is_better else b / a for a, b in pairs if a and b]
            if ratios:
                entry["ratios"][subject.name] = statistics.median(ratios)
        rows.append(entry)
    return rows


def make_table(rows, chosen):
    """Header and body."""
    others = [subject for subject in chosen if subject.name != "qemu"]
    header = ["median [lowest to highest]", *(subject.title for subject in chosen),
              *(f"{subject.name} : qemu" for subject in others)]
    body = []
    for entry in rows:
        ratios = [f"{entry['ratios'][subject.name]:.2f}" if subject.name in entry["ratios"] else "" for subject in others]
        body.append([entry["row"], *(figures.spread(entry["figures"].get(subject.name)) for subject in chosen), *ratios])
    return header, body


EXPLANATION = """Ratios are the median of the rounds' ratios, turned so that 1.00 and more is at least as good as QEMU's own device.
Device CPU is all of QEMU but its vCPU threads, plus our process. Memory beyond surfaces is what our process holds
resident less the pictures of guest surfaces (those of blobs are paid for only when somebody looks) and less guest
memory, which is the guest's own. A guest kernel that has once shown another buffer may answer every DIRTYFB of 64x64
with a transfer and a flush of the whole screen, on any device: see how much it transfers."""


def machine_line(result):
    host, versions = result["host"], result["versions"]
    return (f"{host['cpus']} x {host['cpu']}, {result['accelerator']}, {versions['qemu']}, guest Linux "
            f"{versions['guest_kernel']}, {versions['pvgpu']}, {result['time'][:10]}")


def write_markdown(path, result, table):
    path.write_text(f"""# 2D: ours beside QEMU's own virtio-gpu-pci

Written by `./run bench 2d --rounds {result['rounds']} --seconds {result['seconds']:g} --markdown {path.name}`. One guest, one QEMU, {result['width']}x{result['height']},
the devices measured in turn, {result['rounds']} rounds. Median [lowest to highest].

{machine_line(result)}

{figures.markdown_table(*table)}

{EXPLANATION}
""")


def main():
    parser = argparse.ArgumentParser(prog="./run bench 2d", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each device is measured (default 3)")
    parser.add_argument("--seconds", type=float, default=5, help="length of the long runs (default 5)")
    parser.add_argument("--only", default="qemu,gpu,test", help="the devices, with commas (default qemu,gpu,test)")
    parser.add_argument("--output", type=pathlib.Path, default=TOP / "build/bench/2d.json")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table there, too (docs/benchmarks/2d.md)")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= SHORT_RUN_S:
        parser.error(f"--rounds starts at 1, --seconds above {SHORT_RUN_S}")

    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    chosen = [subject for subject in subjects() if subject.name in options.only.split(",")]
    for subject in list(chosen):
        if subprocess.run(["qemu-system-x86_64", "-machine", "none", "-device", f"{subject.qemu_device.split(',')[0]},help"],
                             capture_output=True, check=False).returncode:
            say(f"left out: this QEMU has no {subject.qemu_device.split(',')[0]}")
            chosen.remove(subject)
    started = []
    try:
        for subject in chosen:
            if subject.name != "qemu":
                subject.process = vm.Device()
                started.append(subject.process)
        say("booting the guest with " + ", ".join(subject.title for subject in chosen))
        # Without a text cursor: its blinking would draw on the first device only.
        with vm.Machine(gpu=[word for subject in chosen for word in subject.qemu_arguments()],
                        kernel="vt.global_cursor_default=0") as machine:
            bench = Bench(machine, chosen, options.seconds, say)
            for number in range(options.rounds):
                bench.round(number)
            bench.measure_idle()
            bench.measure_memory()
            guest_kernel = machine.check("uname -r").strip()
            accelerator = "kvm" if machine.kvm else "tcg"
    finally:
        for process in started:
            process.close()
    rows = summarise(bench)
    result = {
        "bench": "2d", "width": WIDTH, "height": HEIGHT, "rounds": options.rounds, "seconds": options.seconds,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "host": figures.host(), "accelerator": accelerator,
        "versions": {"pvgpu": figures.first_line(str(session.BUILD / "pvgpu"), "--version"),
                     "qemu": figures.first_line("qemu-system-x86_64", "--version"), "guest_kernel": guest_kernel},
        "subjects": {subject.name: subject.title for subject in chosen}, "rows": rows, "raw": bench.raw,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    table = make_table(rows, chosen)
    print(figures.table(*table))
    print(f"\n{EXPLANATION}\n\n{machine_line(result)}; all of it in {options.output}")
    if options.markdown:
        write_markdown(options.markdown, result, table)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (session.SessionError, vm.GuestError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)

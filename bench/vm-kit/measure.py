# SPDX-License-Identifier: MIT
"""Boots guests on this machine's GPU, tests them and measures them: bash run.sh [OPTIONS]

What ./run bench vm-kit has packed; see there. Each step is done on each front end; the figures are of native and all front ends
in turn.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import time

KIT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(KIT / "bench"), str(KIT / "tests/e2e")]
import venus  # noqa: E402
from rig import figures, picture, session  # noqa: E402
from rig.session import vm  # noqa: E402

STEPS = ["info", "triangle", "older-mesa", "bench", "tests", "ggml", "killed", "worker", "reset", "opengl"]
FRONT_ENDS = {"vfio": ("a guest, vfio-user", "venus-vfio"), "vhost": ("a guest, vhost-user", "venus")}
PROBE = "/host/pvgpu-vkprobe"
OLDER_MESA = {"VK_DRIVER_FILES": "/opt/older-mesa/icd.json", "LD_LIBRARY_PATH": "/opt/older-mesa"}
# A disk of its own, which may be missing.
OPENGL_DISK = KIT / "image/opengl.erofs"
# The guest's own libraries first: they are newer, and its Vulkan driver needs them.
OPENGL = {"LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu:/opt/opengl", "GBM_BACKENDS_PATH": "/opt/opengl/gbm",
          "__EGL_VENDOR_LIBRARY_FILENAMES": "/opt/opengl/vendor.json"}
# Of NVIDIA's driver, where a machine has it and does not say so.
EGL_VENDOR = pathlib.Path("/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json")
FRAME_MS = 100  # of the fill-bound and the compute-bound frame, natively
SAMPLES = ["--repeats", "3", "--sample-ms", "250", "--latencies", "300"]
# The GPU's work alone, for which the guest should cost nothing: longer samples, for there are few frames in them.
GPU_BOUND = ["--repeats", "3", "--sample-ms", "1000"]
# What is measured by one process, so that little time goes for its start.
GROUPS = [["fill", "compute"],
          ["control", "exchange", "sleep", "submit-wait", "reply", "reply-small"],
          ["draws-sync", "draws-queued", "bound-draws-queued", "recording", "frames-sync", "frames-queued"],
          ["pipeline", "allocation", "large-allocation"],
          ["mapped-write", "plain-write", "mapped-read", "plain-read"],
          ["upload-buffer", "upload-image", "read-back"]]
ROW_LIMIT_S = 60
# Cases that the guest's processor, which computes the expected values, manages if it is emulated: some of each type.
GGML = [("MUL_MAT", r"type_a=({type}),type_b=f32,m=16,n=(1|9),k=256,bs=\[1,1\]", ["f32", "f16", "bf16", "q4_0", "q8_0", "q4_K", "q6_K", "iq4_nl"]),
        ("MUL_MAT", r"type_a=f16,type_b=f16,m=16,n=16,k=256,bs=\[1,1\]", None),
        ("ADD", r"type=f32,ne=\[1[06],", None),
        ("SOFT_MAX", r"ne=\[(16|15|32),.*mask=1,sinks=1", None),
        ("ROPE", r"type=f16,ne_a=\[128,(32|40),2,.*,inplace=0", None),
        ("CPY", r"type_src=(f32|q8_0),type_dst=(f16|f32|q8_0|q4_0),ne_src=\[256,", None),
        ("FLASH_ATTN_EXT", r"hsk=64,hsv=64,nh=4,nr23=\[1,1\],kv=113,nb=(1|3),mask=1,.*logit_softcap=0.000000,.*type_K=f16", None)]
GGML_CASE = re.compile(r"^\s*(\w+\(.*\)): .*?(OK|FAIL|not supported)", re.M)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Guest:
    """A guest on one front end: booted when it is wanted, again after it was lost."""

    def __init__(self, name, options, say, arguments=(), extra=()):
        self.name, self.options, self.say, self.arguments, self.extra = name, options, say, arguments, extra
        self.title, self.kind = FRONT_ENDS[name]
        self.session = None
        self.boots = 0
        self.complaints = []

    def start(self):
        if self.session:
            return self.session
        front_end = session.FRONT_ENDS[self.kind]
        front_end = dataclasses.replace(front_end, arguments=(*(self.arguments or front_end.arguments), *self.options.device_arguments.split()))
        self.session = session.Session(front_end, memory_mib=self.options.memory, cpus=self.options.cpus, extra=self.extra)
        self.session.vm.install(session.BUILD / "bench/vkprobe/pvgpu-vkprobe")
        self.boots += 1
        self.say(f"{self.title}: up after {self.session.vm.boot_seconds:.1f} s with {self.session.vm.processor}")
        return self.session

    def stop(self):
        if self.session:
            self.complaints += self.session.complaints()
            for path in (self.session.device.log, self.session.vm.serial_log, self.session.vm.qemu_log):
                target = self.options.output / f"{self.name}-{path.name}"
                with open(target, "ab") as file, contextlib.suppress(OSError):
                    file.write(path.read_bytes())
            self.session.close()
            self.session = None


class Native(venus.Subject):
    def __init__(self, options):
        super().__init__("native", "native", argparse.Namespace(
            environment=lambda icd, **changes: {**os.environ, "LD_LIBRARY_PATH": str(KIT / "lib"), **changes}, native_icd=options.native_icd))


class Bench(venus.Bench):
    """The probe's rows, natively and in guests, several in one process."""

    def __init__(self, subjects, say):
        paths = argparse.Namespace(probe=session.BUILD / "bench/vkprobe/pvgpu-vkprobe")
        super().__init__(paths, subjects, argparse.Namespace(repeats=3, sample_ms=400, latencies=300), say)

    def probe(self, subject, *arguments):
        if isinstance(subject, Native):
            return super().probe(subject, *arguments)
        try:
            result = subject.start().run(" ".join([PROBE, *self.arguments, *arguments]), ROW_LIMIT_S)
        except (vm.GuestError, session.SessionError) as error:
            subject.stop()
            return [], f"the guest is lost: {error}"
        lines = session.json_lines(result.stdout)
        if lines and "gpu" in lines[0]:
            self.devices[subject.name] = lines[0]
        error = None
        if result.returncode:
            error = f"exit code {result.returncode}: {' / '.join((result.stderr or result.stdout).strip().splitlines()[-2:])}"
        return [line for line in lines if "name" in line], error

    def measure_group(self, names, subject):
        wanted = [name for name in names if (name, subject.name) not in self.failures]
        while wanted:
            lines, error = self.probe(subject, *(GPU_BOUND if "fill" in names else SAMPLES), *wanted)
            for line in lines:
                self.raw.append({"subject": subject.name, **line})
                for statistic in ("median", "p99"):
                    self.samples.setdefault((line["name"], statistic, subject.name), []).append(line[statistic])
            wanted = wanted[len(lines):]
            if error and wanted:
                self.failures[wanted[0], subject.name] = error
                self.say(f"{wanted[0]}, {subject.title}: {error[:400]}")
                wanted = wanted[1:]
            elif not lines:
                return

    def round(self, number, groups):
        for index, names in enumerate(groups):
            start = (number + index) % len(self.subjects)
            for subject in self.subjects[start:] + self.subjects[:start]:
                self.measure_group(names, subject)


class Run:
    def __init__(self, options, say):
        self.options, self.say = options, say
        self.guests = [Guest(name, options, say) for name in options.front_ends]
        self.results = {}

    def note(self, step, guest, good, text, **details):
        self.results.setdefault(step, {})[guest.name] = {"good": good, "text": text, **details}
        self.say(f"{step}, {guest.title}: {'good' if good else 'BAD'}: {text}")

    def write(self, name, text):
        (self.options.output / name).write_text(text)

    def on_each(self, step, work):
        for guest in self.guests:
            try:
                work(guest, guest.start())
            except (vm.GuestError, session.SessionError, OSError, IndexError, StopIteration, subprocess.SubprocessError) as error:
                self.note(step, guest, False, str(error)[-1500:] or repr(error))
                guest.stop()

    # What a user sees first

    def info(self, guest, place):
        result = place.run("vulkaninfo --summary", 240)
        self.write(f"{guest.name}-vulkaninfo.txt", result.stdout + result.stderr)
        self.write(f"{guest.name}-dmesg.txt", place.dmesg())
        found = re.search(r"deviceName\s*= (Virtio-GPU Venus \(.*\))", result.stdout)
        idle = place.device_cpu_share(5) * 100
        self.note("info", guest, bool(found) and result.returncode == 0,
                  f"{found[1] if found else result.stderr[-300:]}; idle: {idle:.2f} % of a core", boot_s=place.vm.boot_seconds, idle_cpu_percent=idle)

    def triangle(self, guest, place):
        running = place.start(f"{place.triangle} --kms --hold 300")
        try:
            event = running.wait_for_event("shown", 120)
            wrong = place.wait_for_triangle()
            place.device.control("screenshot", "-o", str(self.options.output / f"{guest.name}-triangle.png"))
        finally:
            running.stop()
        self.note("triangle", guest, event["pixels"]["wrong"] == 0 and wrong is None,
                  f"{event['gpu']}: {event['pixels']['checked']} pixels checked in the guest, {event['pixels']['wrong']} wrong; on the screen: "
                  f"{wrong or 'none wrong'}", event=event)

    def older_mesa(self, guest, place):
        """Mesa before 26.2 is known to lock itself up where memory must have its blob first. The device must not mind."""
        ends = {}
        commands = {what: f"{PROBE} --repeats 1 --sample-ms 100 --latencies 100 {what}" for what in ("reply", "fill", "compute", "draws-sync")}
        # Its shaders are large.
        commands["ggml"] = "test-backend-ops test -b Vulkan0 -o MUL_MAT -p 'type_a=f16,type_b=f16,m=16,n=16,k=256,bs=.1,1.'"
        for what, command in commands.items():
            result = place.vm.run(f"timeout -s KILL 30 {command}", 60, {**OLDER_MESA, "GGML_VK_VISIBLE_DEVICES": "0"})
            ends[what] = "works" if result.returncode == 0 else "hangs" if result.returncode in (124, 137) else f"exit code {result.returncode}"
        rest = session.wait_until(place.is_at_rest, 20, 0.2)
        self.note("older-mesa", guest, rest, ", ".join(f"{what} {how}" for what, how in ends.items()) +
                  (", nothing is left of it" if rest else f", left: {place.device.control('status', '--json')}"), ends=ends)

    # What works as it does natively

    def native_tests(self):
        """Names of the programs' cases, and a file with what they do natively."""
        program, target = session.BUILD / "tests/vk/vk-tests", self.options.output / "native-tests.txt"
        environment = {**os.environ, "LD_LIBRARY_PATH": str(KIT / "lib")}
        # What a lost device leaves running on a GPU without a watchdog, later work waits for.
        names = [name for name in subprocess.run([program, "--list"], env=environment, capture_output=True, text=True, timeout=60,
                                                 check=True).stdout.split() if "device_lost" not in name]
        if not target.exists():
            with open(target, "wb") as file:
                subprocess.run([program, *names], env=environment, stdout=file, stderr=file, timeout=120, check=False)
        return names, target

    def tests(self, guest, place):
        """The programs of tests/vk do the same as natively, but for the names of devices and drivers."""
        names, native = self.native_tests()
        program, = place.vm.install(session.BUILD / "tests/vk/vk-tests")
        # Without that Mesa shows no VK_EXT_memory_budget.
        result = place.vm.run(f"{program} {' '.join(names)}", 240, {"VN_DEBUG": "mem_budget"})
        ours = self.options.output / f"{guest.name}-tests.txt"
        ours.write_text(result.stdout + result.stderr)
        verdict = subprocess.run([sys.executable, KIT / "bench/gpu-kit/compare.py", native, ours], capture_output=True, text=True, check=False)
        self.write(f"{guest.name}-tests-compared.txt", verdict.stdout + verdict.stderr)
        self.note("tests", guest, verdict.returncode == 0, " ".join(line for line in verdict.stdout.splitlines() if not line.startswith(" "))[-1500:])

    def ggml(self, guest, place):
        tally, failed, log, seconds = {}, [], [], time.monotonic()
        for operation, pattern, types in GGML:
            for kind in types or [""]:
                command = f"test-backend-ops test -b Vulkan0 -o {operation} -p '{pattern.replace('{type}', kind)}'"
                began = time.monotonic()
                result = place.vm.run(command, 240, {"GGML_VK_VISIBLE_DEVICES": "0"})
                output = ESCAPES.sub("", result.stdout)
                cases = dict(GGML_CASE.findall(output))
                log.append(f"$ {command}   ({time.monotonic() - began:.1f} s, exit code {result.returncode})\n{output}{result.stderr[-1500:]}")
                counts = tally.setdefault(f"{operation} {kind}".strip(), {})
                for case, verdict in cases.items():
                    counts[verdict] = counts.get(verdict, 0) + 1
                    failed += [case] if verdict == "FAIL" else []
                if not cases:
                    failed.append(f"{operation} {kind}: exit code {result.returncode}, no case: {result.stderr[-200:]}")
        self.write(f"{guest.name}-ggml.txt", "\n".join(log))
        good = sum(counts.get("OK", 0) for counts in tally.values())
        self.note("ggml", guest, not failed and good > 0,
                  f"{good} cases pass, {len(failed)} fail; {time.monotonic() - seconds:.0f} s", tally=tally, failed=failed)

    # What goes wrong

    def works_again(self, place):
        """What is wrong with a program that starts now; None if nothing is."""
        result = place.run(f"{PROBE} --repeats 1 --sample-ms 200 --latencies 50 reply submit-wait draws-queued", 90)
        return None if result.returncode == 0 else f"a new program: exit code {result.returncode}: {result.stderr[-300:]}"

    def busy(self, place, what):
        """A program that draws without an end."""
        running = place.start(f"{PROBE} --repeats 10000 --sample-ms 200 {what}")
        if not session.wait_until(lambda: any(context["blobs"] for context in place.device.status()["contexts"]), 60, 0.2):
            raise session.SessionError(f"it does not draw: {running.job.output()}")
        time.sleep(3)
        return running

    def killed(self, guest, place):
        """A program is killed in the middle of its work."""
        self.busy(place, "draws-queued")
        place.run("pkill -9 vkprobe || killall -9 pvgpu-vkprobe")
        rest = session.wait_until(place.is_at_rest, 30, 0.2)
        wrong = self.works_again(place)
        self.note("killed", guest, rest and not wrong,
                  ("nothing is left of it" if rest else "something is left of it") + f"; {wrong or 'a new one works'}")

    def worker(self, guest, place):
        """The process that draws is killed in the middle of its work."""
        running = self.busy(place, "draws-queued")
        before = place.device.status()["worker"]
        os.kill(before["pid"], 9)
        began = time.monotonic()
        ended = session.wait_until(lambda: not running.job.running(), 60, 0.05)
        seconds = time.monotonic() - began
        code = running.job.wait().returncode if ended else None
        place.run("pkill -9 vkprobe || killall -9 pvgpu-vkprobe")
        again = session.wait_until(lambda: place.device.status()["worker"]["restarts"] > before["restarts"], 30, 0.2)
        wrong = self.works_again(place)
        alive = place.vm.process.poll() is None
        self.note("worker", guest, bool(ended and again and alive and not wrong),
                  (f"the program ends after {seconds:.1f} s with {code}" if ended else "the program hangs") +
                  f"; QEMU {'lives' if alive else 'is gone'}; {wrong or 'a new program works'}")

    def reset(self, guest, place):
        """The guest is reset in the middle of its work."""
        self.busy(place, "fill --fill-layers 64")
        place.vm.reset()
        rest = session.wait_until(place.is_at_rest, 30, 0.2)
        wrong = self.works_again(place)
        self.note("reset", guest, rest and not wrong,
                  ("at rest after it" if rest else "not at rest after it") + f"; {wrong or 'a new program works'}")

    # OpenGL, on guests of their own that have both

    def native_picture(self):
        path = self.options.output / "native-gl.ppm"
        result = subprocess.run([session.BUILD / "bench/glprobe/pvgpu-glprobe", "info", "upload", "readback", "roundtrip", "draw", path], text=True,
                                env={**os.environ, "LD_LIBRARY_PATH": str(KIT / "lib")}, capture_output=True, timeout=120, check=False)
        self.results["opengl-native"] = {"output": result.stdout + result.stderr}
        return picture.read(path) if result.returncode == 0 else None

    def opengl(self):
        expected = self.native_picture()
        if not expected:
            self.say(f"no picture natively: {self.results['opengl-native']['output']}")
        for name in self.options.front_ends:
            guest = Guest(name, self.options, self.say, ("--renderer=2d,venus,virgl",),
                          ["-drive", f"if=none,id=opengl,file={OPENGL_DISK},format=raw,readonly=on", "-device", "virtio-blk-pci,drive=opengl"])
            try:
                self.opengl_on(guest, guest.start(), expected)
            except (vm.GuestError, session.SessionError, OSError) as error:
                self.note("opengl", guest, False, str(error)[-1500:])
            finally:
                guest.stop()

    def opengl_on(self, guest, place, expected):
        place.check("mkdir -p /opt/opengl && mount -t erofs -o ro /dev/vdb /opt/opengl")
        program, = place.vm.install(session.BUILD / "bench/glprobe/pvgpu-glprobe")
        for driver, variables in (("virgl", {}), ("zink", {"MESA_LOADER_DRIVER_OVERRIDE": "zink", "GALLIUM_DRIVER": "zink"})):
            result = place.vm.run(f"{program} info upload readback roundtrip draw /host/{driver}.ppm", 240, {**OPENGL, **variables})
            said = session.json_lines(result.stdout)
            text = f"{driver}: exit code {result.returncode}: {' '.join(map(json.dumps, said))} {result.stderr[-300:]}"
            wrong = None
            if result.returncode == 0 and expected:
                seen = picture.read(place.vm.share / f"{driver}.ppm")
                wrong = sum(abs(a - b) > 8 for a, b in zip(seen.rgb, expected.rgb)) / len(expected.rgb)
                text += f"; {wrong:.5f} of the picture's channels are not the native one's"
            self.note(f"opengl-{driver}", guest, result.returncode == 0 and (wrong is None or wrong < 0.001), text, said=said)
        self.write(f"{guest.name}-opengl-log.txt", "\n".join(place.complaints()))

    # Figures

    def measure(self):
        native = Native(self.options)
        bench = Bench([native, *self.guests], self.say)
        venus.FRAME_MS = FRAME_MS
        groups = [group for group in ([name for name in group if not self.options.rows or name in self.options.rows] for group in GROUPS) if group]
        try:
            if any("fill" in group or "compute" in group for group in groups):
                bench.calibrate()
            for number in range(self.options.rounds):
                self.say(f"round {number + 1} of {self.options.rounds}")
                bench.round(number, groups)
        except venus.BenchError as error:
            self.say(f"nothing is measured: {error}")
        rows = [row for row in venus.ROWS if any(row.probe in group for group in groups)]
        entries = venus.summarise(bench, rows)
        for entry in entries:
            entry["target"] = self.verdict(entry, entries)
        self.results["bench"] = {"rows": entries, "devices": bench.devices, "raw": bench.raw,
                                 "arguments": bench.arguments, "rounds": self.options.rounds}
        table = venus.make_table(entries, bench.subjects)
        print(figures.table(*table))
        for (name, subject), reason in bench.failures.items():
            print(f"failed: {name}, {subject}: {reason[:600]}")
        self.write("table.md", figures.markdown_table(*table) + "\n")

    def verdict(self, entry, entries):
        """What takes the GPU alone, against native; memory that both sides see, against the guest's own."""
        found = {}
        for guest in self.guests:
            figure = entry["figures"].get(guest.name)
            if entry["probe"] in ("fill", "compute"):
                ratio = entry["ratios"].get(guest.name)
                found[guest.name] = bool(ratio) and ratio["median"] >= 0.95
            elif entry["probe"].startswith("mapped-") and figure:
                plain = next((other["figures"].get(guest.name) for other in entries
                              if other["probe"] == entry["probe"].replace("mapped", "plain")), None)
                found[guest.name] = bool(plain) and figure["median"] / plain["median"] >= 0.95
        if not found:
            return ""
        whose = "native" if entry["probe"] in ("fill", "compute") else "the guest's own"
        return f">= 0.95 of {whose}: " + ", ".join(f"{name} {'met' if good else 'missed'}" for name, good in found.items())

    def all(self, after_each):
        """after_each: what came before a step that never ends shall not be lost."""
        try:
            for step in self.options.steps:
                if step == "bench":
                    self.measure()
                elif step == "opengl":
                    for guest in self.guests:
                        guest.stop()
                    if OPENGL_DISK.exists():
                        self.opengl()
                else:
                    self.on_each(step, getattr(self, step.replace("-", "_")))
                after_each()
        finally:
            for guest in self.guests:
                guest.stop()


def main():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", default=",".join(STEPS), help=f"of: {','.join(STEPS)} (default all)")
    parser.add_argument("--front-ends", default=",".join(FRONT_ENDS), help=f"of: {','.join(FRONT_ENDS)} (default all)")
    parser.add_argument("--rows", default="", help="measurements of the probe, with commas (default many)")
    parser.add_argument("--rounds", type=int, default=3, help="of measuring (default 3)")
    parser.add_argument("--cpus", type=int, default=max(1, min(8, (os.cpu_count() or 1) - 4)), help="of a guest")
    parser.add_argument("--memory", type=int, default=4096, metavar="MIB", help="of a guest (default 4096)")
    parser.add_argument("--device-arguments", default="", help="more options of our program, as in --device-arguments=--guest-vram")
    parser.add_argument("--native-icd", type=pathlib.Path, required=True, help="manifest of the machine's Vulkan driver (run.sh finds it)")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="a directory for results (run.sh: OUT)")
    options = parser.parse_args()
    for name, known in (("steps", STEPS), ("front_ends", FRONT_ENDS)):
        setattr(options, name, [word for word in getattr(options, name).split(",") if word])
        for word in getattr(options, name):
            if word not in known:
                parser.error(f"'{word}' is not one of: {' '.join(known)}")
    options.rows = [word for word in options.rows.split(",") if word]
    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", flush=True)

    # Caches on disk would answer for the compiler.
    os.environ.update(VK_DRIVER_FILES=str(options.native_icd), MESA_SHADER_CACHE_DISABLE="true", __GL_SHADER_DISK_CACHE="0")
    if EGL_VENDOR.exists():
        os.environ["__EGL_VENDOR_LIBRARY_FILENAMES"] = str(EGL_VENDOR)
    options.output.mkdir(parents=True, exist_ok=True)
    host = figures.host()
    run = Run(options, say)

    def write():
        result = {"bench": "vm-kit", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "host": host,
                  "versions": {**json.loads((KIT / "versions.json").read_text()),
                               "pvgpu": figures.first_line(str(session.BUILD / "pvgpu"), "--version")},
                  "guest": {"cpus": options.cpus, "memory_mib": options.memory}, "boots": {guest.name: guest.boots for guest in run.guests},
                  "complaints": {guest.name: guest.complaints for guest in run.guests}, "results": run.results}
        (options.output / "vm-kit.json").write_text(json.dumps(result, indent=1) + "\n")
        return result

    run.all(write)
    result = write()
    body = [[step, guest, "good" if found["good"] else "BAD", found["text"].replace("\n", " ")[:160]]
            for step, guests in run.results.items() if step != "bench" and step != "opengl-native" for guest, found in guests.items()]
    print(figures.table(["step", "guest", "verdict", "what"], body))
    print(f"{host['cpus']} x {host['cpu']}; {run.results.get('bench', {}).get('devices', {})}; {result['versions']}; all of it in {options.output}")
    return 0 if all(verdict == "good" for _, _, verdict, _ in body) else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""./run demo: a Linux guest on our device, glxgears in it, a screenshot through our own display code, and figures."""

import argparse
import json
import pathlib
import re
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests/e2e"))
from rig import figures, picture, procs, session  # noqa: E402 (shared with the end-to-end tests)
from rig.session import vm  # noqa: E402

OUTPUT = TOP / "build/demo"
# The best first. The guest needs nothing that only one of them has.
FRONT_ENDS = ("gpu", "test", "vga")
WIDTH, HEIGHT = 1280, 800
GEARS = "600x600+340+100"


class DemoError(Exception):
    """What went wrong, and what to do next."""


class Progress:
    """Numbered steps with the time they took."""

    def __init__(self, steps):
        self.steps, self.number, self.began = steps, 0, time.monotonic()

    def __call__(self, text):
        self.number += 1
        print(f"[{time.monotonic() - self.began:4.0f} s] {self.number}/{self.steps} {text}", file=sys.stderr, flush=True)


def choose_front_end():
    for name in FRONT_ENDS:
        if session.qemu_has(session.FRONT_ENDS[name]):
            return session.FRONT_ENDS[name]
    devices = ", ".join(session.FRONT_ENDS[name].device for name in FRONT_ENDS)
    raise DemoError("qemu-system-x86_64 is missing, or is one without vhost-user display devices\n"
                    f"wanted is one of: {devices}; on Debian: apt install qemu-system-x86, then ./run demo again")


def check_programs():
    missing = [str(path) for path in (session.BUILD / "pvgpu", session.BUILD / "guest/kmsbench/pvgpu-kmsbench",
                                      session.BUILD / "guest/triangle/pvgpu-triangle") if not path.exists()]
    if missing:
        raise DemoError(f"not built: {', '.join(missing)}\ntry ./run build and read what it says about missing libraries")


def show_triangle(guest):
    """Draws the known triangle with Vulkan in the guest; says how our picture of it compares with the formula."""
    running = guest.start(f"{guest.triangle} --kms --hold 300")
    try:
        running.wait_for_event("shown", 120)
        verdict = None

        def right():
            nonlocal verdict
            verdict = picture.triangle_difference(guest.screenshot())
            return verdict is None
        session.wait_until(right, 20, 0.3)
        guest.device.control("screenshot", "-o", str(OUTPUT / "triangle.png"))
        return verdict
    finally:
        running.stop()


def run_gears(guest):
    """(frames per second of each window glxgears reports, our process's share of a core meanwhile). Takes the picture."""
    gears = guest.start(f"glxgears -geometry {GEARS}", 300)
    try:
        def rates():
            return [float(rate) for rate in re.findall(r"= +([\d.]+) FPS", gears.job.output())]
        began, before = time.monotonic(), procs.cpu_s(guest.device.process.pid)
        # It reports every five seconds; the first report has its start in it.
        gears.wait_for(lambda _: len(rates()) >= 2, "glxgears tells its frame rate", 120)
        share = (procs.cpu_s(guest.device.process.pid) - before) / (time.monotonic() - began)
        guest.device.control("screenshot", "-o", str(OUTPUT / "screenshot.png"))
        return rates()[1:], share
    finally:
        gears.stop()


def check_gears(seen):
    """Red, green and blue teeth, and a desktop around them."""
    counts = {"red": 0, "green": 0, "blue": 0}
    for at in range(0, len(seen.rgb), 3 * 5):
        red, green, blue = seen.rgb[at:at + 3]
        if red > 120 and red > 2 * max(green, blue):
            counts["red"] += 1
        elif green > 120 and green > 2 * max(red, blue):
            counts["green"] += 1
        elif blue > 120 and blue > 1.5 * max(red, green):
            counts["blue"] += 1
    if min(counts.values()) < 200:
        raise DemoError(f"the screenshot shows no gears ({counts}): look at {OUTPUT}/screenshot.png")


def demo(say):
    check_programs()
    front_end = choose_front_end()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in ("screenshot.png", "triangle.png", "result.json"):
        (OUTPUT / name).unlink(missing_ok=True)
    say("the guest image" + ("" if (vm.cache_directory() / "guest").exists() else " (made once, some minutes)"))
    vm.guest_image()
    accelerator = "KVM" if vm.kvm_works() else "TCG (no usable KVM here: everything in the guest runs 10 to 60 times slower)"
    say(f"our process, and a guest on QEMU's {front_end.device} with {accelerator}")
    with session.Session(front_end) as guest:
        try:
            return measure(guest, front_end, say)
        except (vm.GuestError, session.SessionError):
            for source in (guest.device.log, guest.vm.serial_log, guest.vm.qemu_log):
                (OUTPUT / source.name).write_bytes(source.read_bytes()[-200000:])
            raise


def measure(guest, front_end, say):
    say(f"guest is up after {guest.vm.boot_seconds:.0f} s; a Vulkan triangle, checked pixel by pixel")
    difference = show_triangle(guest)
    say(f"triangle: {'every pixel as computed' if difference is None else difference}; X with glxgears")
    guest.vm.start_x()
    guest.check("xsetroot -solid '#24506e'; xclock -digital -geometry 240x40+20+20 >/dev/null 2>&1 & "
                "xset s off s noblank 2>/dev/null; true")
    rates, share = run_gears(guest)
    seen = picture.read(OUTPUT / "screenshot.png")
    check_gears(seen)
    say("figures")
    status = guest.device.status()
    renderer = guest.check("glxinfo -B | sed -n 's/.*OpenGL renderer string: *//p'").strip()
    memory = procs.memory_bytes(guest.device.process.pid)
    idle_from = procs.cpu_s(guest.device.process.pid)
    time.sleep(5)
    idle = (procs.cpu_s(guest.device.process.pid) - idle_from) / 5
    return {
        "front_end": front_end.device, "qemu": figures.first_line("qemu-system-x86_64", "--version"),
        "pvgpu": figures.first_line(str(session.BUILD / "pvgpu"), "--version"),
        "accelerator": "kvm" if guest.vm.kvm else "tcg", "host": figures.host(),
        "device_renderer": status["renderer"], "resolution": f"{seen.width}x{seen.height}",
        "guest_driver": renderer, "guest_kernel": guest.check("uname -r").strip(),
        "gears_fps": figures.summary(rates), "triangle": difference or "ok",
        "device_cpu_percent": round(share * 100, 1), "idle_cpu_percent": round(idle * 100, 2),
        "peak_memory_mib": round((memory["peak"] - memory["shared"]) / session.MiB, 1),
        "boot_seconds": round(guest.vm.boot_seconds, 1),
        "screenshot": str(OUTPUT / "screenshot.png"),
    }


def print_result(result):
    rows = [
        ("renderer", f"{result['device_renderer']} (the guest draws: {result['guest_driver']})"),
        ("resolution", result["resolution"]),
        ("guest driver", f"virtio_gpu of Linux {result['guest_kernel']}"),
        ("front end", f"{result['front_end']}, {result['qemu']}, {result['accelerator']}"),
        ("glxgears", f"{figures.short(result['gears_fps']['median'])} FPS"),
        ("host CPU of pvgpu", f"{result['device_cpu_percent']} % of a core, {result['idle_cpu_percent']} % idle"),
        ("peak memory of pvgpu", f"{result['peak_memory_mib']} MiB, guest memory not counted"),
        ("Vulkan triangle", result["triangle"]),
    ]
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        print(f"  {name.ljust(width)}  {value}")
    print(f"\n  the guest's screen: {result['screenshot']}\n  all figures: {OUTPUT / 'result.json'}")


def main():
    argparse.ArgumentParser(prog="./run demo", description=__doc__).parse_args()
    try:
        result = demo(Progress(5))
    except DemoError as error:
        first, *rest = str(error).splitlines()
        print(f"error: {first}", *(f"       {line}" for line in rest), sep="\n", file=sys.stderr)
        return 1
    except (vm.GuestError, session.SessionError) as error:
        print(f"error: {error}\n       logs are in {OUTPUT}; ./run guest -- dmesg shows whether the guest works without our "
              "device", file=sys.stderr)
        return 1
    (OUTPUT / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print_result(result)
    if result["triangle"] != "ok":
        print("\nerror: the triangle is not what it must be: see triangle.png beside the screenshot", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

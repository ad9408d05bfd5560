# SPDX-License-Identifier: MIT
"""./run demo: a Linux guest on our device, Vulkan and OpenGL in it, screenshots through our own display code, and figures."""

import argparse
import contextlib
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
# The best first.
FRONT_ENDS_3D = ("venus-virgl", "venus")
FRONT_ENDS_2D = ("gpu", "test", "vga")
GEARS_2D = "600x600+340+100"
GEARS_3D = "500x500+690+150"
# Where vkcube puts its window, and the colour around its cube.
CUBE = (100, 100, 500, 500)
CUBE_GREY = (0x33, 0x33, 0x33)
CUBE_FRAMES = 150


class DemoError(Exception):
    """What went wrong, and what to do next."""


class Progress:
    """Numbered steps with the time they took."""

    def __init__(self, steps):
        self.steps, self.number, self.began = steps, 0, time.monotonic()

    def __call__(self, text):
        self.number += 1
        print(f"[{time.monotonic() - self.began:4.0f} s] {self.number}/{self.steps} {text}", file=sys.stderr, flush=True)


def choose_front_end(names):
    for name in names:
        if session.qemu_has(session.FRONT_ENDS[name]):
            return session.FRONT_ENDS[name]
    devices = ", ".join(session.FRONT_ENDS[name].device for name in names)
    raise DemoError("qemu-system-x86_64 is missing, or has no device that our process can be\n"
                    f"wanted is one of: {devices}; on Debian: apt install qemu-system-x86, then ./run demo again"
                    + ("" if names == FRONT_ENDS_2D else "\nolder ones than QEMU 11.1 can show 2D: ./run demo --2d"))


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


def run_gears(guest, geometry):
    """(frames per second of each window glxgears reports, our process's share of a core meanwhile). Takes the picture."""
    gears = guest.start(f"env vblank_mode=0 glxgears -geometry {geometry}", 300)
    try:
        def rates():
            return [float(rate) for rate in re.findall(r"= +([\d.]+) FPS", gears.job.output())]
        began, before = time.monotonic(), guest.device_cpu_s()
        # It reports every five seconds; the first report has its start in it.
        gears.wait_for(lambda _: len(rates()) >= 3, "glxgears tells its frame rate", 120)
        share = (guest.device_cpu_s() - before) / (time.monotonic() - began)
        guest.device.control("screenshot", "-o", str(OUTPUT / "screenshot.png"))
        return rates()[1:], share
    finally:
        gears.stop()


def cube_seconds(guest, frames):
    output = guest.check(f"read a _ </proc/uptime; vkcube --present_mode 0 --c {frames} >/dev/null 2>&1; read b _ </proc/uptime; echo $a $b", 120)
    began, ended = map(float, output.split())
    return ended - began


def measure_cube(guest):
    """Frames per second. The difference of two runs, so that starting up is not counted."""
    short, long = cube_seconds(guest, 20), cube_seconds(guest, 20 + CUBE_FRAMES)
    return CUBE_FRAMES / (long - short)


@contextlib.contextmanager
def cube_on_screen(guest):
    """vkcube while it turns."""
    running = guest.start("vkcube", 300)
    try:
        x, y = CUBE[0] + 10, CUBE[1] + 10
        if not session.wait_until(lambda: guest.screenshot().pixel(x, y) == CUBE_GREY, 60, 0.5):
            raise DemoError("vkcube shows nothing within 60 s\ntry: ./run guest -- vulkaninfo --summary")
        first = guest.screenshot().crop(*CUBE)
        if first.colours() < 20:
            raise DemoError("vkcube's window is there, without a cube: see the screenshot")
        if not session.wait_until(lambda: guest.screenshot().crop(*CUBE).rgb != first.rgb, 20, 0.2):
            raise DemoError("vkcube's cube stands still")
        yield
    finally:
        running.stop()


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


def demo(say, in_3d):
    check_programs()
    front_end = choose_front_end(FRONT_ENDS_3D if in_3d else FRONT_ENDS_2D)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in ("screenshot.png", "triangle.png", "vkcube.png", "result.json"):
        (OUTPUT / name).unlink(missing_ok=True)
    say("the guest image" + ("" if (vm.cache_directory() / "guest").exists() else " (made once, some minutes)"))
    vm.guest_image()
    accelerator = "KVM" if vm.kvm_works() else "TCG (no usable KVM here: everything in the guest runs 10 to 60 times slower)"
    say(f"our process, and a guest on QEMU's {front_end.device} with {accelerator}")
    with session.Session(front_end) as guest:
        try:
            return measure(guest, front_end, say, in_3d)
        except (vm.GuestError, session.SessionError):
            for source in (guest.device.log, guest.vm.serial_log, guest.vm.qemu_log):
                (OUTPUT / source.name).write_bytes(source.read_bytes()[-200000:])
            raise


def measure(guest, front_end, say, in_3d):
    say(f"guest is up after {guest.vm.boot_seconds:.0f} s; a Vulkan triangle, checked pixel by pixel")
    difference = show_triangle(guest)
    say(f"triangle: {'every pixel as computed' if difference is None else difference}; X" + (", vkcube" if in_3d else " with glxgears"))
    guest.vm.start_x()
    guest.check("xsetroot -solid '#24506e'; xclock -digital -geometry 240x40+20+20 >/dev/null 2>&1 & "
                "xset s off s noblank 2>/dev/null; true")
    frames = {}
    if in_3d:
        frames["vkcube_fps"] = figures.summary([measure_cube(guest)])
        with cube_on_screen(guest):
            guest.device.control("screenshot", "-o", str(OUTPUT / "vkcube.png"))
        say(f"vkcube: {figures.short(frames['vkcube_fps']['median'])} frames per second; glxgears")
    rates, share = run_gears(guest, GEARS_3D if in_3d else GEARS_2D)
    frames["gears_fps"] = figures.summary(rates)
    if in_3d:
        say(f"glxgears: {figures.short(frames['gears_fps']['median'])} frames per second; both at once")
        show_both(guest)
    seen = picture.read(OUTPUT / "screenshot.png")
    check_gears(seen)
    say("figures")
    status = guest.device.status()
    renderer = guest.check("glxinfo -B | sed -n 's/.*OpenGL renderer string: *//p'", 120).strip()
    memory = [procs.memory_bytes(pid) for pid in guest.device_pids()]
    idle_from = guest.device_cpu_s()
    time.sleep(5)
    idle = (guest.device_cpu_s() - idle_from) / 5
    return {
        "front_end": front_end.device, "qemu": figures.first_line("qemu-system-x86_64", "--version"),
        "pvgpu": figures.first_line(str(session.BUILD / "pvgpu"), "--version"),
        "accelerator": "kvm" if guest.vm.kvm else "tcg", "host": figures.host(),
        "device_renderer": status["renderer"], "host_vulkan": (status.get("vulkan") or {}).get("device"),
        "resolution": f"{seen.width}x{seen.height}",
        "guest_driver": renderer, "guest_kernel": guest.check("uname -r").strip(),
        **frames, "gears_size": (GEARS_3D if in_3d else GEARS_2D).partition("+")[0], "triangle": difference or "ok",
        "device_cpu_percent": round(share * 100, 1), "idle_cpu_percent": round(idle * 100, 2),
        "peak_memory_mib": round(sum(part["peak"] - part["shared"] for part in memory) / session.MiB, 1),
        "boot_seconds": round(guest.vm.boot_seconds, 1),
        "screenshots": [str(OUTPUT / name) for name in ("screenshot.png", "vkcube.png", "triangle.png") if (OUTPUT / name).exists()],
    }


def show_both(guest):
    """Vulkan and OpenGL side by side: the picture of the demo."""
    gears = guest.start(f"glxgears -geometry {GEARS_3D}", 300)
    try:
        with cube_on_screen(guest):
            time.sleep(3)
            guest.device.control("screenshot", "-o", str(OUTPUT / "screenshot.png"))
    finally:
        gears.stop()


def print_result(result):
    rows = [
        ("renderer", f"{result['device_renderer']}" + (f", on the host's {result['host_vulkan']}" if result["host_vulkan"] else "")),
        ("OpenGL in the guest", result["guest_driver"]),
        ("kernel of the guest", f"Linux {result['guest_kernel']}, virtio_gpu"),
        ("front end", f"{result['front_end']}, {result['qemu']}, {result['accelerator']}"),
        ("resolution", result["resolution"]),
        ("Vulkan triangle", "every pixel as computed" if result["triangle"] == "ok" else result["triangle"]),
        *((title, f"{figures.short(result[name]['median'])} FPS") for title, name in
          (("vkcube 500x500", "vkcube_fps"), (f"glxgears {result['gears_size']}", "gears_fps")) if name in result),
        ("host CPU of pvgpu", f"{result['device_cpu_percent']} % of a core at glxgears, {result['idle_cpu_percent']} % idle"),
        ("peak memory of pvgpu", f"{result['peak_memory_mib']} MiB, guest memory not counted"),
    ]
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        print(f"  {name.ljust(width)}  {value}")
    print("\n  the guest's screen: " + "\n                      ".join(result["screenshots"]) + f"\n  all figures: {OUTPUT / 'result.json'}")


def main():
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--2d", dest="in_2d", action="store_true", help="without Vulkan: the guest draws with its processor, any QEMU since 7.2")
    in_3d = not parser.parse_args().in_2d
    try:
        result = demo(Progress(7 if in_3d else 5), in_3d)
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

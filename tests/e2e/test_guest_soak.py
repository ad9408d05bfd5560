# SPDX-License-Identifier: MIT
"""What a guest leaves behind over many reboots, driver rebinds, killed GPU processes and desktops: nothing.

The default is a short run. PVGPU_E2E_ALL=1 is a long one; PVGPU_SOAK="20 50 200" sets how many reboots, rebinds and kills,
PVGPU_SOAK_SECONDS=1800 for how long X and its programs come and go.
"""

import os
import pathlib
import time

from rig import picture, procs, session

MIB = 1 << 20
ALL = bool(os.environ.get("PVGPU_E2E_ALL"))
REBOOTS, REBINDS, KILLS = map(int, os.environ.get("PVGPU_SOAK", "20 50 200" if ALL else "2 6 12").split())
SOAK_S = float(os.environ.get("PVGPU_SOAK_SECONDS", 1800 if ALL else 0))


class Holdings:
    """What our processes hold once they have come to rest: the device, and the one that draws for it."""

    def __init__(self, guest):
        assert session.wait_until(guest.is_at_rest, 30, 0.5), guest.device.status()
        self.processes = {pid: self._of(pathlib.Path(f"/proc/{pid}")) for pid in guest.device_pids()}

    @staticmethod
    def _of(directory):
        # The control connection that has just been used may still be there: the least of a few looks.
        fds = 1 << 30
        for _ in range(5):
            time.sleep(0.1)
            fds = min(fds, len(list((directory / "fd").iterdir())))
        return fds, len(list((directory / "task").iterdir())), procs.memory_bytes(directory.name)["anonymous"]

    def __repr__(self):
        return "; ".join(f"{fds} fds, {threads} threads, {anonymous / MIB:.1f} MiB of its own"
                         for fds, threads, anonymous in self.processes.values())


def check(guest, what, before, allowed_bytes):
    after = Holdings(guest)
    print(f"{what}: {before} -> {after}")
    assert after.processes.keys() == before.processes.keys(), "another worker"
    for pid, (fds, threads, anonymous_bytes) in after.processes.items():
        fds_before, threads_before, anonymous_bytes_before = before.processes[pid]
        assert fds <= fds_before and threads <= threads_before, (before, after)
        assert anonymous_bytes <= anonymous_bytes_before + allowed_bytes, (before, after)


def draw(guest):
    """Vulkan works, with its fences."""
    running = guest.start(f"{guest.triangle} --kms --hold 300")
    try:
        assert running.wait_for_event("shown", 120)["pixels"]["wrong"] == 0
    finally:
        running.stop()


def kill(guest, count):
    """GPU processes that die while they draw, one after the other."""
    for done in range(0, count, 20):
        guest.check(f"for i in $(seq {done + 1} {min(done + 20, count)}); do "
                    f"{guest.triangle} --kms --hold 300 >/dev/null 2>&1 & pid=$!; "
                    "sleep $(awk \"BEGIN { srand($i); print 0.1 + rand() * 2 }\"); kill -9 $pid; wait $pid; done 2>/dev/null; true",
                    140)


def test_killed_processes(ours):
    draw(ours)
    kill(ours, 3)
    before = Holdings(ours)
    kill(ours, KILLS)
    check(ours, f"{KILLS} killed processes", before, 48 * MIB)
    draw(ours)


def test_rebinds(ours):
    def rebind(count):
        ours.check("cd /sys/bus/virtio/drivers/virtio_gpu && device=$(basename virtio*) && "
                   f"for i in $(seq {count}); do echo $device >unbind && echo $device >bind; done", 60 + 5 * count)
    rebind(2)
    draw(ours)
    before = Holdings(ours)
    rebind(REBINDS)
    check(ours, f"{REBINDS} rebinds", before, 16 * MIB)
    draw(ours)


def test_reboots(ours):
    draw(ours)
    before = Holdings(ours)
    for number in range(REBOOTS):
        ours.start(f"{ours.triangle} --kms --hold 300")
        assert session.wait_until(lambda: ours.device.status()["contexts"], 60, 0.2)
        # The guest's kernel does it, or the machine is reset.
        (ours.vm.reset if number % 2 else ours.vm.reboot)()
    check(ours, f"{REBOOTS} reboots and resets in the middle of work", before, 48 * MIB)
    draw(ours)


# Programs draw while the screen and their windows change in size; they end, or are killed.
DESKTOP = """
output=$(xrandr | awk '/ connected/ { print $1 }')
for mode in 1024x768 800x600; do
    xrandr --output $output --mode $mode || exit 1
    glxgears >/dev/null 2>&1 & pid=$!
    window=$(xdotool search --sync --name glxgears | tail -n 1)
    for size in "100 400" "700 500" "1200 30" "300 300"; do xdotool windowsize $window $size && sleep 0.3; done
    glxinfo -B | grep 'renderer string: virgl' || exit 1
    kill $1 $pid; wait $pid
done
exit 0
"""


def test_desktops_come_and_go(ours):
    """Contexts are made and destroyed, resources change in size, X starts again."""
    (ours.vm.share / "desktop").write_text(DESKTOP)
    began = time.monotonic()

    def come_and_go(number):
        """X and its programs, which end or are killed. The most contexts and resources that there were at once."""
        signal, contexts, resources = ("-9" if number % 2 else "-15"), 0, 0
        ours.vm.start_x()
        desktop = ours.vm.start(f"sh /host/desktop {signal}", 300)
        while desktop.running():
            status = ours.device.status()
            contexts, resources = max(contexts, len(status["contexts"])), max(resources, status["memory"]["resources"])
            time.sleep(0.2)
        result = desktop.wait()
        assert result.returncode == 0 and contexts >= 2, (result, contexts)
        ours.check(f"kill {signal} $(cat /run/x-pid)")
        ours.vm.stop_x()
        assert session.wait_until(ours.is_at_rest, 30, 0.5), ours.device.status()
        return contexts, resources

    def resources():
        return ours.device.status()["memory"]["resources"]
    # Drivers keep a little of what they make at first.
    for number in range(2):
        come_and_go(number)
    before, resources_before = Holdings(ours), resources()
    print(f"\n{before}; {resources_before} resources")
    number = 0
    while number < 2 or time.monotonic() - began < SOAK_S:
        contexts, most_resources = come_and_go(number)
        number += 1
        assert session.wait_until(lambda: resources() <= resources_before, 10), resources()
        print(f"{(time.monotonic() - began) / 60:.1f} min, {number} desktops, up to {contexts} contexts and {most_resources} "
              f"resources: {Holdings(ours)}; {resources()} resources", flush=True)
    exact = not ours.keeps_freed_memory()
    check(ours, f"{number} desktops", before, 16 * MIB if exact else 1 << 40)
    # While there was something to draw it was several times as much.
    assert not exact or all(anonymous_bytes < 128 * MIB for _, _, anonymous_bytes in before.processes.values()), before
    ours.vm.start_x()
    running = ours.start("glxgears -geometry 300x300+0+0")
    try:
        assert session.wait_until(lambda: picture.shows_gears(ours.screenshot()), 120, 0.5), "no gears"
    finally:
        running.stop()


def test_nothing_was_complained_of(ours):
    assert not ours.complaints()

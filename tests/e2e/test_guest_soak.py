# SPDX-License-Identifier: MIT
"""What a guest leaves behind over many reboots, driver rebinds and killed GPU processes: nothing.

PVGPU_SOAK="20 50 200" sets how many of each; the default is a short run.
"""

import os
import pathlib
import time

from rig import procs, session

MIB = 1 << 20
REBOOTS, REBINDS, KILLS = map(int, os.environ.get("PVGPU_SOAK", "2 6 12").split())


class Holdings:
    """What our processes hold once they have come to rest."""

    def __init__(self, guest):
        def at_rest():
            status = guest.device.status()
            return not status["contexts"] and status["memory"]["window_used_bytes"] == 0
        assert session.wait_until(at_rest, 30, 0.5), guest.device.status()
        directories = [pathlib.Path(f"/proc/{pid}") for pid in guest.device_pids()]
        # The control connection that has just been used may still be there: the least of a few looks.
        self.fds = 1 << 30
        for _ in range(5):
            time.sleep(0.1)
            self.fds = min(self.fds, sum(len(list((directory / "fd").iterdir())) for directory in directories))
        self.threads = sum(len(list((directory / "task").iterdir())) for directory in directories)
        self.anonymous_bytes = sum(procs.memory_bytes(pid)["anonymous"] for pid in guest.device_pids())

    def __repr__(self):
        return f"{self.fds} fds, {self.threads} threads, {self.anonymous_bytes / MIB:.0f} MiB of its own"


def check(guest, what, before, allowed_bytes):
    after = Holdings(guest)
    print(f"{what}: {before} -> {after}")
    assert after.fds <= before.fds and after.threads <= before.threads, (before, after)
    assert after.anonymous_bytes <= before.anonymous_bytes + allowed_bytes, (before, after)


def draw(guest):
    """Vulkan works, with its fences."""
    running = guest.start(f"{guest.triangle} --kms --hold 300")
    try:
        assert running.wait_for_event("shown", 120)["pixels"]["wrong"] == 0
    finally:
        running.stop()


def kill(guest, count):
    """GPU processes that die while they draw, one after the other."""
    guest.check(f"for i in $(seq {count}); do {guest.triangle} --kms --hold 300 >/dev/null 2>&1 & pid=$!; "
                "sleep $(awk \"BEGIN { srand($i); print 0.1 + rand() * 2 }\"); kill -9 $pid; wait $pid; done 2>/dev/null; true",
                60 + 4 * count)


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
    for _ in range(REBOOTS):
        ours.start(f"{ours.triangle} --kms --hold 300")
        assert session.wait_until(lambda: ours.device.status()["contexts"], 60, 0.2)
        ours.vm.reset()
    check(ours, f"{REBOOTS} resets in the middle of work", before, 48 * MIB)
    draw(ours)

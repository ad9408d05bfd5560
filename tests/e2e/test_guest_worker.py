# SPDX-License-Identifier: MIT
"""Renderers in a process of their own that dies: the guest and QEMU live on."""

import os
import re
import signal

from rig import session


def draws(guest):
    """A program of 3D is on the screen, and moves."""
    guest.vm.start_x()
    running = guest.start("glxgears" if "virgl" in guest.front_end.name else "vkcube", 600)
    assert session.wait_until(lambda: guest.screenshot().crop(100, 100, 200, 200).colours() > 5, 90, 0.5), "nothing drawn"
    first = guest.screenshot()
    assert session.wait_until(lambda: guest.screenshot().rgb != first.rgb, 20, 0.2), "it stands still"
    return running


def end_programs(guest):
    """Mesa ends a process whose ring says that it is lost, X among them; with OpenGL nobody tells it."""
    guest.run("pkill -9 vkcube; pkill -9 glxgears; pkill -9 Xorg; rm -f /run/x-pid", 60)


def lose_worker(guest, number=signal.SIGKILL, timeout_s=20):
    """Sends it a signal, and waits for the next one. The process id that is gone."""
    before = guest.device.status()["worker"]
    os.kill(before["pid"], number)

    def is_replaced():
        now = guest.device.status()["worker"]
        return now["restarts"] > before["restarts"] and now["pid"]
    assert session.wait_until(is_replaced, timeout_s, 0.2)
    return before["pid"]


def test_the_device_loads_no_driver(ours):
    """Nor anything that compiles shaders."""
    pid = ours.device.process.pid
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        loaded = set(re.findall(r"\S*(?:LLVM|lvp|gallium|dri)\S*[.]so\S*", maps.read()))
    assert not loaded


def test_killed_in_the_middle_of_work(ours):
    running = draws(ours)
    lose_worker(ours)
    end_programs(ours)
    del running
    assert session.wait_until(ours.is_at_rest, 60, 0.5), ours.device.status()
    draws(ours).stop()


def test_killed_with_nobody_there(ours):
    end_programs(ours)
    assert session.wait_until(ours.is_at_rest, 60, 0.5), ours.device.status()
    lose_worker(ours)
    draws(ours).stop()


def test_reboot_after_that(ours):
    ours.vm.start_x()
    ours.vm.reset()
    assert ours.is_at_rest(), ours.device.status()
    draws(ours).stop()


def test_one_that_hangs_is_replaced(ours):
    """A driver that never returns, or somebody's kill -STOP: noticed once something waits for it."""
    running = draws(ours)
    pid = lose_worker(ours, signal.SIGSTOP, 90)
    assert f"process {pid} is gone: it hangs" in ours.device.log.read_text(errors="replace")
    end_programs(ours)
    del running
    assert session.wait_until(ours.is_at_rest, 60, 0.5), ours.device.status()
    draws(ours).stop()
    assert re.search(r"^worker +process \d+, started again \d+ times;", ours.device.control("status"), re.M)

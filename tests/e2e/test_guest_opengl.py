# SPDX-License-Identifier: MIT
"""OpenGL in the guest by VirGL: no environment variable is set in the guest.

The tests of one front end share a guest and run in the order of this file.
"""

import re

from rig import picture, session


def test_driver_sees_opengl(ours):
    log = ours.dmesg()
    assert "+virgl" in log and re.search(r"cap set \d: id 1,", log) and re.search(r"cap set \d: id 2,", log), log


def test_x_draws_with_virgl(ours):
    ours.vm.start_x()
    log = (ours.vm.share / "Xorg.log").read_text(errors="replace")
    assert re.search(r"glamor X acceleration enabled on virgl", log), log[-3000:]
    info = ours.check("glxinfo -B", 120)
    assert re.search(r"OpenGL renderer string: virgl \(", info), info
    assert re.search(r"OpenGL core profile version string: 4\.[3-6]", info), info
    ours.check("xsetroot -solid '#336699'")
    assert session.wait_until(lambda: ours.screenshot().pixel(5, 5) == (0x33, 0x66, 0x99), 20, 0.5)


def test_glxgears_picture(ours):
    ours.vm.start_x()
    running = ours.start("glxgears -geometry 300x300+0+0")
    try:
        assert session.wait_until(lambda: picture.shows_gears(ours.screenshot()), 120, 0.5), "no gears"
        if ours.front_end.console:
            assert session.wait_until(lambda: picture.shows_gears(ours.screendump()), 20, 0.5), "no gears on the VMM's console"
        assert ours.wait_for_change(), "the gears stand still"
    finally:
        running.stop()


def test_killed_programs_leave_nothing(ours):
    ours.vm.start_x()
    before = len(ours.device.status()["contexts"])
    for _ in range(5):
        ours.run("glxgears >/dev/null 2>&1 & pid=$!; sleep 2; kill -9 $pid", 60)
    assert session.wait_until(lambda: len(ours.device.status()["contexts"]) == before, 20, 0.5), ours.device.status()["contexts"]


def test_reset_in_the_middle_of_work(ours):
    ours.vm.start_x()
    running = ours.start("glxgears", 600)
    assert session.wait_until(lambda: len(ours.device.status()["contexts"]) >= 2, 60, 0.5)
    del running
    ours.vm.reset()
    assert "Initialized virtio_gpu" in ours.dmesg()
    ours.vm.start_x()
    assert "virgl (" in ours.check("glxinfo -B", 120)


def test_nothing_was_complained_of(ours):
    assert not ours.complaints()

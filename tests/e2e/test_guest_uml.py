# SPDX-License-Identifier: MIT
"""User-Mode Linux: the guest's kernel is a program of the host and the front end itself, without a VMM between.

Runs where the kernel is in the cache; PVGPU_E2E_ALL=1 makes it, which takes a quarter of an hour.
"""

import re

from rig import picture, session
from test_guest import resize


def test_driver_sees_a_display_and_opengl(ours):
    log = ours.dmesg()
    assert "+virgl" in log and "number of scanouts: 1" in log and "Initialized virtio_gpu" in log, log
    assert ours.heads()[0]["status"] == "connected"


def test_pictures_reach_the_screen(ours):
    with ours.showing("show", "corners") as (event, _):
        size = event["heads"][0]["width"], event["heads"][0]["height"]
        assert ours.wait_for_picture(picture.corners(*size)) is None


def test_resize(ours):
    """Of this we tell the guest unasked, and such a front end gives us a pipe to do so."""
    resize(ours, 1440, 900)


def test_x_draws_with_virgl(ours):
    ours.vm.start_x()
    info = ours.check("glxinfo -B", 60)
    assert re.search(r"OpenGL renderer string: virgl \(", info), info
    assert re.search(r"OpenGL core profile version string: 4\.[3-6]", info), info
    ours.check("xsetroot -solid '#336699'")
    assert session.wait_until(lambda: ours.screenshot().pixel(5, 5) == (0x33, 0x66, 0x99), 20, 0.2)


def test_picture_is_the_hosts(ours, tmp_path):
    info, far = ours.picture_beside_the_hosts(tmp_path)
    assert info["renderer"].startswith("virgl ("), info
    assert far < 0.001, f"{far:.1%} of the channels differ"


def test_glxgears(ours):
    ours.vm.start_x()
    gears = ours.start("glxgears -geometry 300x300+0+0")
    assert session.wait_until(lambda: picture.shows_gears(ours.screenshot()), 60, 0.5), "no gears"
    assert ours.wait_for_change(), "the gears stand still"
    gears.wait_for(lambda it: re.search(r"= [0-9.]+ FPS", it.job.output()), "a rate", 60)
    gears.stop()


def test_nothing_was_complained_of(ours):
    assert not ours.complaints()


def test_guest_ends(ours):
    """Our process sees the end of its front end, and ends cleanly with it."""
    ours.vm.process.kill()
    assert ours.device.process.wait(20) == 0

# SPDX-License-Identifier: MIT
"""Vulkan and OpenGL in the guest, drawn by the host: no environment variable is set in the guest.

The tests of one front end share a guest and run in the order of this file.
"""

import re

import pytest

from rig import picture, session


def start_x(guest):
    if guest.run("xdpyinfo >/dev/null 2>&1").returncode:
        guest.vm.start_x()


def contexts(guest):
    return {context["name"]: context for context in guest.device.status()["contexts"]}


def test_driver_sees_venus(ours):
    log = ours.dmesg()
    assert "+virgl" in log and "+context_init" in log and "+host_visible" in log
    assert re.search(r"cap set 0: id 4,", log), log


def test_vulkaninfo(ours):
    info = ours.check("vulkaninfo --summary", 120)
    assert re.search(r"deviceName\s*= Virtio-GPU Venus \(", info), info
    assert re.search(r"apiVersion\s*= 1\.4\.", info), info
    assert "DRIVER_ID_MESA_VENUS" in info


@pytest.mark.parametrize("arguments", ["--kms", "--x11"])
def test_triangle(ours, arguments):
    """Venus draws, and the pixels are right on the host."""
    if arguments == "--x11":
        start_x(ours)
    running = ours.start(f"{ours.triangle} {arguments} --hold 300")
    try:
        event = running.wait_for_event("shown", 120)
        assert "Venus" in event["gpu"] and event["pixels"]["wrong"] == 0
        last = []

        def right():
            last[:] = [picture.triangle_difference(ours.screenshot())]
            return last[0] is None
        assert session.wait_until(right, 20, 0.5), last[0]
        if arguments == "--x11":
            assert any(context["renderer"] == "venus" and context["blobs"] for context in contexts(ours).values())
    finally:
        running.stop()


def test_x_draws_with_opengl_on_venus(ours):
    start_x(ours)
    log = (ours.vm.share / "Xorg.log").read_text(errors="replace")
    assert re.search(r"glamor X acceleration enabled on zink .*Virtio-GPU Venus", log), log[-3000:]
    info = ours.check("glxinfo -B", 120)
    assert re.search(r"OpenGL renderer string: zink .*Virtio-GPU Venus", info), info
    ours.check("xsetroot -solid '#336699'")
    assert session.wait_until(lambda: ours.screenshot().pixel(5, 5) == (0x33, 0x66, 0x99), 20, 0.5)


def test_vkcube(ours):
    start_x(ours)
    running = ours.start("vkcube", 120)
    try:
        grey = (0x33, 0x33, 0x33)
        # Where vkcube puts its window: its background is there, and not all of it.
        assert session.wait_until(lambda: ours.screenshot().pixel(110, 110) == grey, 60, 0.5), "no cube"
        assert ours.screenshot().crop(100, 100, 500, 500).colours() > 20
        first = ours.screenshot()
        assert session.wait_until(lambda: ours.screenshot().rgb != first.rgb, 20, 0.2), "the cube stands still"
    finally:
        running.stop()


@pytest.mark.parametrize("size", ["300x300", "1280x720"])
def test_glxgears(ours, size):
    """Any width: the pitch of a picture is shared, too."""
    start_x(ours)
    result = ours.run(f"vblank_mode=0 timeout -s INT 17 glxgears -geometry {size}", 60)
    rates = [float(rate) for rate in re.findall(r"= ([0-9.]+) FPS", result.stdout)]
    assert rates, result.stdout + result.stderr
    print(f"glxgears {size}: {max(rates):.1f} frames per second")


def test_killed_processes_leave_nothing(ours):
    start_x(ours)
    before = len(ours.device.status()["contexts"])
    for _ in range(5):
        ours.run("vkcube >/dev/null 2>&1 & pid=$!; sleep 2; kill -9 $pid", 60)
    assert session.wait_until(lambda: len(ours.device.status()["contexts"]) == before, 20, 0.5), contexts(ours)


def test_all_is_returned(ours):
    """With X gone nothing is left in the window."""
    start_x(ours)
    ours.check("pid=$(cat /run/x-pid); kill $pid; while readlink /proc/$pid/exe; do sleep 0.1; done; rm /run/x-pid", 60)
    assert session.wait_until(lambda: not ours.device.status()["contexts"], 20, 0.5), contexts(ours)
    assert session.wait_until(lambda: ours.device.status()["memory"]["window_used_bytes"] == 0, 20, 0.5)


def test_reset_in_the_middle_of_work(ours):
    start_x(ours)
    running = ours.start("vkcube", 600)
    assert session.wait_until(lambda: len(ours.device.status()["contexts"]) >= 2, 60, 0.5)
    del running
    ours.vm.reset()
    assert "Initialized virtio_gpu" in ours.dmesg()
    status = ours.device.status()
    assert not status["contexts"] and status["memory"]["window_used_bytes"] == 0
    assert "Virtio-GPU Venus" in ours.check("vulkaninfo --summary", 120)


def test_nothing_was_complained_of(ours):
    log = ours.device.log.read_text(errors="replace")
    # Mesa asks for virgl's resources on its way to Venus's.
    complaints = [line for line in log.splitlines()
                  if re.match(r"pvgpu: (error|warning): ", line) and "does not exist" not in line and "is a texture" not in line]
    assert not complaints, "\n".join(complaints)

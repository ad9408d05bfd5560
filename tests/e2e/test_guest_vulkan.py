# SPDX-License-Identifier: MIT
"""Vulkan and OpenGL in the guest, drawn by the host: no environment variable is set in the guest.

The tests of one front end share a guest and run in the order of this file.
"""

import re

import pytest

from rig import picture, session


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
        ours.vm.start_x()
    running = ours.start(f"{ours.triangle} {arguments} --hold 300")
    try:
        event = running.wait_for_event("shown", 120)
        assert "Venus" in event["gpu"] and event["pixels"]["wrong"] == 0
        assert ours.wait_for_triangle() is None
        if arguments == "--x11":
            assert any(context["renderer"] == "venus" and context["blobs"] for context in contexts(ours).values())
    finally:
        running.stop()


def test_killed_processes_leave_nothing(ours):
    ours.vm.start_x()
    before = len(ours.device.status()["contexts"])
    for _ in range(5):
        ours.run("vkcube >/dev/null 2>&1 & pid=$!; sleep 2; kill -9 $pid", 60)
    assert session.wait_until(lambda: len(ours.device.status()["contexts"]) == before, 20, 0.5), contexts(ours)


def test_all_is_returned(ours):
    """With X gone nothing is left in the window."""
    ours.vm.start_x()
    ours.vm.stop_x()
    assert session.wait_until(ours.is_at_rest, 30, 0.5), ours.device.status()


def test_reset_in_the_middle_of_work(ours):
    ours.vm.start_x()
    running = ours.start("vkcube", 600)
    assert session.wait_until(lambda: len(ours.device.status()["contexts"]) >= 2, 60, 0.5)
    del running
    ours.vm.reset()
    assert "Initialized virtio_gpu" in ours.dmesg()
    status = ours.device.status()
    assert not status["contexts"] and status["memory"]["window_used_bytes"] == 0
    assert "Virtio-GPU Venus" in ours.check("vulkaninfo --summary", 120)


def test_nothing_was_complained_of(ours):
    assert not ours.complaints()

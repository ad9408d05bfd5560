# SPDX-License-Identifier: MIT
"""
Guests as they were released, older than the one of the other tests, and what each has of the host's GPU: the table in README.md.
No environment variable is set in the guest.
"""

import re

import pytest

from rig import picture, session

# Debian 12's Mesa 22.3 is built without the Venus driver.
WITHOUT = ("venus-bookworm",)
WITH_VULKAN = ("venus-trixie", "venus-virgl-trixie")


def has_gpu(guest):
    return guest.front_end.name not in WITHOUT


def with_gpu(guest):
    if not has_gpu(guest):
        pytest.skip("there is no driver in this guest: test_without_a_driver")
    return guest


def test_driver_is_the_releases(guest):
    kernel = guest.check("uname -r")
    assert kernel.startswith({"trixie": "6.12.", "bookworm": "6.1."}[guest.front_end.release]), kernel
    assert "+virgl" in guest.dmesg()


def test_vulkan(guest):
    info = guest.check("vulkaninfo --summary", 120)
    assert ("Virtio-GPU Venus (" in info) == (guest.front_end.name in WITH_VULKAN), info
    if guest.front_end.name not in WITH_VULKAN:
        return
    running = guest.start(f"{guest.triangle} --kms --hold 300")
    try:
        event = running.wait_for_event("shown", 120)
        assert "Venus" in event["gpu"] and event["pixels"]["wrong"] == 0
        assert guest.wait_for_triangle() is None
    finally:
        running.stop()


def test_opengl(guest):
    with_gpu(guest).vm.start_x()
    expected = "zink Vulkan 1.3(Virtio-GPU Venus" if guest.front_end.name == "venus-trixie" else "virgl (LLVMPIPE"
    log = (guest.vm.share / "Xorg.log").read_text(errors="replace")
    assert f"glamor X acceleration enabled on {expected}" in log, log[-3000:]
    assert f"OpenGL renderer string: {expected}" in guest.check("glxinfo -B", 120)
    running = guest.start("glxgears -geometry 300x300+0+0")
    try:
        assert session.wait_until(lambda: picture.shows_gears(guest.screenshot()), 120, 0.5), "no gears"
        assert guest.wait_for_change(), "the gears stand still"
    finally:
        running.stop()


def test_vulkan_in_a_window(guest):
    if guest.front_end.name not in WITH_VULKAN:
        pytest.skip("this guest has no Vulkan")
    guest.vm.start_x()
    running = guest.start("vkcube")
    grey = (0x33, 0x33, 0x33)
    try:
        assert session.wait_until(lambda: guest.screenshot().pixel(110, 110) == grey, 120, 0.5), "no cube"
        assert guest.wait_for_change(), "the cube stands still"
    finally:
        running.stop()


def test_without_a_driver(guest):
    """What there is then: a desktop that the guest's CPU draws."""
    if has_gpu(guest):
        pytest.skip("this guest has a driver")
    guest.vm.start_x()
    assert re.search(r"Refusing to try glamor on llvmpipe", (guest.vm.share / "Xorg.log").read_text(errors="replace"))
    guest.check("xsetroot -solid '#336699'")
    assert session.wait_until(lambda: guest.screenshot().pixel(5, 5) == (0x33, 0x66, 0x99), 60, 0.5)


def test_nothing_was_complained_of(guest):
    assert not guest.complaints()

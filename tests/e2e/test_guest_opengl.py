# SPDX-License-Identifier: MIT
"""OpenGL in the guest by VirGL: no environment variable is set in the guest.

The tests of one front end share a guest and run in the order of this file.
"""

import re

import pytest

from rig import picture, session


def start_x(guest):
    if guest.run("xdpyinfo >/dev/null 2>&1").returncode:
        guest.vm.start_x()


def test_driver_sees_opengl(ours):
    log = ours.dmesg()
    assert "+virgl" in log and re.search(r"cap set \d: id 1,", log) and re.search(r"cap set \d: id 2,", log), log


def test_x_draws_with_virgl(ours):
    start_x(ours)
    log = (ours.vm.share / "Xorg.log").read_text(errors="replace")
    assert re.search(r"glamor X acceleration enabled on virgl", log), log[-3000:]
    info = ours.check("glxinfo -B", 120)
    assert re.search(r"OpenGL renderer string: virgl \(", info), info
    assert re.search(r"OpenGL core profile version string: 4\.[3-6]", info), info
    ours.check("xsetroot -solid '#336699'")
    assert session.wait_until(lambda: ours.screenshot().pixel(5, 5) == (0x33, 0x66, 0x99), 20, 0.5)


def test_picture_is_the_hosts(ours, tmp_path):
    """A picture with shaders, textures and blending, made in the guest and by the host's own driver."""
    program = session.BUILD / "bench/glprobe/pvgpu-glprobe"
    if not program.exists():
        pytest.skip(f"there is no {program}")
    in_guest, = ours.vm.install(program)
    out = ours.check(f"{in_guest} info draw /host/guest.ppm", 120)
    assert "virgl (" in out, out
    session.subprocess.run([program, "draw", tmp_path / "host.ppm"], check=True, timeout=60,
                           env={**session.os.environ, "LIBGL_ALWAYS_SOFTWARE": "1"})
    seen, expected = (picture.read(path) for path in (ours.vm.share / "guest.ppm", tmp_path / "host.ppm"))
    assert seen.size == expected.size
    far = sum(abs(a - b) > 8 for a, b in zip(seen.rgb, expected.rgb))
    assert far < len(expected.rgb) / 1000, f"{far} of {len(expected.rgb)} channels differ"


def gears_are_there(seen):
    """Red, green and blue where glxgears has them at the top left corner, the right way up."""
    blue, red, green = (seen.crop(*box).rgb for box in ((55, 35, 80, 90), (25, 130, 140, 140), (185, 150, 50, 60)))

    def share(rgb, channel):
        hits = sum(rgb[at + channel] > 90 and rgb[at + channel] == max(rgb[at:at + 3]) for at in range(0, len(rgb), 3))
        return hits / (len(rgb) / 3)
    return share(blue, 2) > 0.3 and share(red, 0) > 0.4 and share(green, 1) > 0.25


def test_glxgears_picture(ours):
    start_x(ours)
    running = ours.start("glxgears -geometry 300x300+0+0")
    try:
        assert session.wait_until(lambda: gears_are_there(ours.screenshot()), 60, 0.5), "no gears"
        if ours.front_end.console:
            assert session.wait_until(lambda: gears_are_there(ours.screendump()), 20, 0.5), "no gears on the VMM's console"
        first = ours.screenshot()
        assert session.wait_until(lambda: ours.screenshot().rgb != first.rgb, 20, 0.2), "the gears stand still"
    finally:
        running.stop()


@pytest.mark.parametrize("program", ["glxgears -geometry 1280x720", "es2gears_x11"])
def test_gears_turn(ours, program):
    start_x(ours)
    result = ours.run(f"vblank_mode=0 timeout -s INT 12 stdbuf -oL {program}", 60)
    rates = [float(rate) for rate in re.findall(r"= ([0-9.]+) FPS", result.stdout)]
    assert rates, result.stdout + result.stderr
    print(f"{program}: {max(rates):.1f} frames per second")


def test_glmark2_finds_its_pictures_right(ours):
    start_x(ours)
    out = ours.check("glmark2 --validate -s 400x300 -b build -b texture -b shading -b bump", 170)
    verdicts = re.findall(r"Validation: (\w+)", out)
    assert "GL_RENDERER:    virgl" in out and verdicts.count("Success") >= 3 and "Failure" not in verdicts, out


def test_killed_programs_leave_nothing(ours):
    start_x(ours)
    before = len(ours.device.status()["contexts"])
    for _ in range(5):
        ours.run("glxgears >/dev/null 2>&1 & pid=$!; sleep 2; kill -9 $pid", 60)
    assert session.wait_until(lambda: len(ours.device.status()["contexts"]) == before, 20, 0.5), ours.device.status()["contexts"]


def test_reset_in_the_middle_of_work(ours):
    start_x(ours)
    running = ours.start("glxgears", 600)
    assert session.wait_until(lambda: len(ours.device.status()["contexts"]) >= 2, 60, 0.5)
    del running
    ours.vm.reset()
    assert "Initialized virtio_gpu" in ours.dmesg()
    start_x(ours)
    assert "virgl (" in ours.check("glxinfo -B", 120)


def test_nothing_was_complained_of(ours):
    log = ours.device.log.read_text(errors="replace")
    # The VMM's console goes and comes with a reset.
    complaints = [line for line in log.splitlines() if re.match(r"pvgpu: (error|warning): (?!console: )", line)]
    assert not complaints, "\n".join(complaints)

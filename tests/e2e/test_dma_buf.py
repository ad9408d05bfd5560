# SPDX-License-Identifier: MIT
"""Pictures that go to QEMU as dma-bufs, which takes a DRM device. A User-Mode-Linux guest of ours has one, and QEMU runs there:

    this test's screenshot <- our device <- User-Mode Linux: weston <- QEMU's GTK window <- our device <- the inner guest

Runs where the kernel is in the cache; PVGPU_E2E_ALL=1 makes it.
"""

import pytest

from rig import nest, picture, session
from rig.session import vm

ROOT_COLOUR = bytes((0x33, 0x66, 0x99))


@pytest.fixture(scope="module")
def desktop():
    """Weston in User-Mode Linux, on our device."""
    missing = session.what_is_missing(session.FRONT_ENDS["virgl-uml"])
    if missing:
        pytest.skip(missing)
    with vm.Device(arguments=["--renderer=2d,virgl", "--size=1280x800"]) as device:
        with vm.UserModeMachine(device.uml_arguments(), memory_mib=4096) as machine:
            # There are no virtual terminals.
            machine.check("SEATD_VTBOUND=0 start-weston", 120)
            yield device, machine


def window(device):
    """The part of the screen that the inner guest's X root window has; None: none."""
    path = device.directory / "screen.png"
    device.control("screenshot", "-o", path)
    seen = picture.read(path)
    width, height = seen.size
    rows = [seen.rgb[y * width * 3:(y + 1) * width * 3] for y in range(height)]
    spans = [(at // 3, row.rfind(ROOT_COLOUR) // 3) for row in rows if (at := row.find(ROOT_COLOUR)) >= 0]
    found = [y for y in range(height) if ROOT_COLOUR in rows[y]]
    if not found:
        return None
    left, right = min(first for first, _ in spans), max(last for _, last in spans)
    return seen.crop(left, found[0], right + 1 - left, found[-1] + 1 - found[0])


def test_qemus_window_shows_dma_bufs(desktop):
    device, machine = desktop
    job = nest.start(machine, ["python3", "tests/e2e/rig/nested.py", "/mnt"], 1200)
    log = machine.share / f"{job.number}.err"

    def shows_x():
        inside = window(device)
        return inside is not None and inside.size >= (400, 400) and picture.shows_gears(inside)

    for number, what in enumerate(("X", "console") * 2, 1):
        assert session.wait_until(lambda n=number: len(job.output().split()) >= n or not job.running(), 600, 0.5)
        assert job.output().split()[number - 1:] == [what], log.read_text()
        if what == "X":
            assert session.wait_until(shows_x, 60, 1), "the inner guest's X is not in QEMU's window"
            first = window(device).rgb
            assert session.wait_until(lambda f=first: window(device).rgb != f, 60, 1), "its gears stand still"
        else:
            assert session.wait_until(lambda: window(device) is None, 60, 1), "X is gone and still shown"
        (machine.share / f"seen-{number}").touch()
    result = job.wait(120)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("the VMM is given the GPU's pictures as dma-bufs") == 1, result.stderr

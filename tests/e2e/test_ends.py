# SPDX-License-Identifier: MIT
"""How things end: the VMM killed while the guest draws, our process told to stop, a start that cannot work."""

import os
import signal

import pytest

from rig import picture, procs, session


def pytest_generate_tests(metafunc):
    if "front_end" in metafunc.fixturenames:
        chosen = os.environ.get("PVGPU_FRONT_ENDS", "gpu test vfio").split()
        metafunc.parametrize("front_end", [name for name in ("gpu", "test", "vfio") if name in chosen])


def require(front_end):
    if not session.qemu_has(front_end):
        pytest.skip(f"this QEMU has no {front_end.device}")


def test_vmm_is_killed(front_end):
    """QEMU dies in the middle of a frame: our process notices, writes its last picture and ends with 0."""
    front_end = session.FRONT_ENDS[front_end]
    require(front_end)
    with session.Session(front_end) as guest:
        guest.start(f"{guest.kmsbench} flip --size 1920x1080 --seconds 60")
        busy = guest.device.status()["counters"]["flushes"]
        assert session.wait_until(lambda: guest.device.status()["counters"]["flushes"] > busy + 50, 30)
        children = procs.children(guest.device.process.pid)
        guest.vm.process.send_signal(signal.SIGKILL)
        assert guest.device.process.wait(10) == 0
        assert not any(procs.is_running(child) for child in children)
        assert not guest.device.socket_path.exists()


def test_our_process_is_told_to_stop(front_end):
    """SIGTERM while the guest draws: exit code 0, the picture at exit is whole, QEMU and the guest live on."""
    front_end = session.FRONT_ENDS[front_end]
    require(front_end)
    with session.Session(front_end, picture_at_exit=True) as guest:
        with guest.showing("show", "corners") as (event, _):
            head = event["heads"][0]
            expected = picture.corners(head["width"], head["height"])
            assert guest.wait_for_picture(expected) is None
            guest.device.process.terminate()
            assert guest.device.process.wait(10) == 0
            assert picture.read(guest.picture_path).difference(expected) is None
            assert guest.vm.qmp.call("query-status")["running"]

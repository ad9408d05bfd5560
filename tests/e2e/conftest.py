# SPDX-License-Identifier: MIT
"""One guest per front end, booted when its first test asks for it and kept for all tests of that front end."""

import os

import pytest

from rig import session

# Words of the environment: PVGPU_FRONT_ENDS="gpu test" chooses among them; `peer` is QEMU's own device, which shows
# that a test that fails with ours is right.
DEFAULT = "gpu test vfio vfio-pc vga gpu-7.2"
WITH_WINDOWS = "gpu-windows gpu-7.2-windows"
WITH_VULKAN = "venus venus-vfio venus-in-process"
# Only where asked for: it takes a guest with Mesa 26.2, see PVGPU_GUEST_DRIVER in rig/session.py.
AS_ON_A_GPU = "venus-vram"
WITH_OPENGL = "virgl virgl-vfio virgl-7.2 virgl-in-process"
USER_MODE = "virgl-uml"
WITH_BOTH = "venus-virgl"
OLDER = "venus-trixie venus-virgl-trixie venus-bookworm virgl-bookworm"
# The front ends of modules that do not run with all that have only 2D.
ITS_OWN = {
    "test_guest_vulkan": f"{WITH_VULKAN} {WITH_BOTH} {AS_ON_A_GPU}",
    "test_guest_soak": f"{WITH_VULKAN} {AS_ON_A_GPU} virgl virgl-vfio",
    "test_guest_opengl": WITH_OPENGL,
    "test_guest_uml": USER_MODE,
    "test_guest_desktop": f"venus venus-vfio virgl {WITH_BOTH}",
    "test_guest_worker": "venus venus-vfio virgl",
    "test_guest_releases": OLDER,
}
VULKAN_TESTS = ("test_vkmark_runs", "test_vkcube", "test_ggml_multiplies",
                "test_killed_processes", "test_rebinds", "test_reboots")
VIRGL_TESTS = ("test_desktops_come_and_go",)
RESIZING_TESTS = ("test_resize", "test_two_heads")


def pytest_generate_tests(metafunc):
    if "guest" in metafunc.fixturenames:
        names = os.environ.get("PVGPU_FRONT_ENDS", f"{DEFAULT} {WITH_WINDOWS} {WITH_VULKAN} {WITH_OPENGL} {WITH_BOTH} "
                               f"{USER_MODE} {OLDER}").split()
        with_3d = {name for its_own in ITS_OWN.values() for name in its_own.split()}
        its_own = ITS_OWN.get(metafunc.module.__name__.rpartition(".")[2])
        names = [name for name in names if (name in its_own.split() if its_own else name not in with_3d)]
        if metafunc.function.__name__ in VULKAN_TESTS:
            names = [name for name in names if "venus" in name]
        if metafunc.function.__name__ in VIRGL_TESTS:
            names = [name for name in names if "virgl" in name]
        # Only the control socket or a window can ask for another size.
        with_windows = WITH_WINDOWS.split()
        if metafunc.function.__name__ in RESIZING_TESTS:
            names = [name for name in names if not session.FRONT_ENDS[name].console or name in with_windows]
        else:
            names = [name for name in names if name not in with_windows]
        metafunc.parametrize("guest", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def guest(request):
    front_end = session.FRONT_ENDS[request.param]
    missing = session.what_is_missing(front_end)
    if missing:
        pytest.skip(missing)
    with session.Session(front_end) as running:
        yield running


@pytest.fixture
def ours(guest):
    """A guest on our device."""
    if not guest.device:
        pytest.skip("this device is QEMU's own")
    return guest


@pytest.fixture(autouse=True)
def logs_on_failure(request):
    """The logs of QEMU, the guest and our process go into the report of a failed test."""
    yield
    report = getattr(request.node, "call_report", None)
    machine = request.node.funcargs.get("guest")
    if report and report.failed and machine:
        print(machine.logs())
        print(machine.stacks_if_stuck())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.call_report = report

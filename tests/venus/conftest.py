# SPDX-License-Identifier: MIT
"""
Programs on Mesa's venus driver against `pvgpu vtest`, compared with the same programs on the host's driver.

Words of the environment: PVGPU_VENUS_MESAS="26.1 25.0" chooses among the client drivers, PVGPU_VENUS_ALL=1 runs what is
too long for ./run check, PVGPU_VENUS_NEWEST=1 has programs of Debian sid as well, PVGPU_VENUS_PORTABLE=1 gives each server
--emulate-portability (for test_windows and test_ggml), PVGPU_VENUS_SOAK_SECONDS=600 is for how long clients are killed.
"""

import os
import subprocess

import pytest

from rig import drivers
from rig.screen import Screen
from rig.server import Server

MESAS = os.environ.get("PVGPU_VENUS_MESAS", "26.1 25.0").split()
ALL = bool(os.environ.get("PVGPU_VENUS_ALL"))
PORTABLE = bool(os.environ.get("PVGPU_VENUS_PORTABLE"))


def pytest_generate_tests(metafunc):
    if "mesa" in metafunc.fixturenames and "scene" not in metafunc.fixturenames:
        metafunc.parametrize("mesa", MESAS, scope="module")


@pytest.fixture(scope="session", autouse=True)
def host():
    """Skips everything where there is nothing to test with, and says what is missing."""
    if not drivers.LAVAPIPE:
        pytest.skip("there is no lavapipe (mesa-vulkan-drivers)")
    if not (drivers.BUILD / "pvgpu").exists():
        pytest.skip(f"there is no {drivers.BUILD}/pvgpu")
    listing = subprocess.run([drivers.BUILD / "pvgpu", "vtest", "--help"], capture_output=True, check=False)
    if listing.returncode:
        pytest.skip("this build has no Venus")


@pytest.fixture(scope="module")
def client(mesa):
    """The environment of a program of this Mesa, given a server."""
    if not drivers.MESAS.get(mesa):
        pytest.skip(f"Mesa {mesa}'s venus is not installed here")
    return lambda server: drivers.venus(mesa, server.socket)


class Servers:
    """Starts servers; those that a test did not stop are stopped, and held to account, at its end."""

    def __init__(self, directory):
        self.directory, self.started = directory, []

    def __call__(self, *arguments, environment=None):
        server = Server(self.directory / f"s{len(self.started)}", *arguments, environment=environment)
        self.started.append(server)
        return server

    def stop(self):
        problems = []
        for server in self.started:
            try:
                server.stop()
            except AssertionError as error:
                problems.append(str(error))
            finally:
                server.kill()
        assert not problems, "\n".join(problems)


@pytest.fixture
def servers(tmp_path):
    started = Servers(tmp_path)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all tests of a module: they also show that it outlives them."""
    started = Servers(tmp_path_factory.mktemp("server"))
    yield started()
    started.stop()


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    opened = Screen(tmp_path_factory.mktemp("x"))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def server_log_on_failure(request):
    yield
    report = getattr(request.node, "call_report", None)
    server = request.node.funcargs.get("server")
    if report and report.failed and server:
        print(f"---- the server's log\n{server.log()[-4000:]}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.call_report = report

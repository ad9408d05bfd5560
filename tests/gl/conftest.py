# SPDX-License-Identifier: MIT
"""
OpenGL programs on Mesa's virpipe driver against `pvgpu vtest --renderer=venus,virgl`, beside the host's own driver and
virgl_test_server. PVGPU_GL_ALL=1 runs what is too long for ./run check.
"""

import os
import pathlib
import shutil
import subprocess
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PVGPU_BUILD") or TOP / "build")
# Without sanitizers in any flavour.
PROBE = BUILD / "bench/glprobe/pvgpu-glprobe"
NATIVE = {"LIBGL_ALWAYS_SOFTWARE": "1"}


@pytest.fixture(scope="session", autouse=True)
def host():
    """Skips everything where there is nothing to test with, and says what is missing."""
    if not PROBE.exists():
        pytest.skip(f"there is no {PROBE}")
    devices = subprocess.run([BUILD / "pvgpu", "vhost-user", "--print-capabilities"], capture_output=True, text=True, check=False)
    if "virgl" not in devices.stdout:
        pytest.skip("this build has no OpenGL")


class Server:
    def __init__(self, directory, command, environment=None):
        self.socket, self.log_path = directory / "gpu.sock", directory / "server.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([*map(str, command), f"--socket-path={self.socket}"], stdout=log, stderr=log,
                                            env={**os.environ, "VK_DRIVER_FILES": "/usr/share/vulkan/icd.d/lvp_icd.json", **(environment or {})})
        deadline = time.monotonic() + 20
        while not self._is_listening():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def _is_listening(self):
        """Its file is there a moment before."""
        sockets = [line.split() for line in pathlib.Path("/proc/net/unix").read_text().splitlines()]
        return any(words[-1] == str(self.socket) and int(words[3], 16) & 0x10000 for words in sockets[1:])

    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def client(self):
        """The environment of an OpenGL program."""
        return {"GALLIUM_DRIVER": "virpipe", "LIBGL_ALWAYS_SOFTWARE": "1", "VTEST_SOCKET_NAME": str(self.socket)}

    def children(self):
        listing = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listing.split()]

    def stop(self):
        self.process.terminate()
        code = self.process.wait(30)
        assert code == 0 and "Sanitizer" not in self.log() and "runtime error" not in self.log(), self.log()


@pytest.fixture
def server(tmp_path):
    # As from a shell where its programs' driver is chosen: it must not be its own client.
    running = Server(tmp_path, [BUILD / "pvgpu", "vtest", "--renderer=venus,virgl", "--control=none"], {"GALLIUM_DRIVER": "virpipe"})
    yield running
    running.stop()


@pytest.fixture
def peer(tmp_path):
    """virgl_test_server, of the same library."""
    if not shutil.which("virgl_test_server"):
        pytest.skip("there is no virgl_test_server (virgl-server)")
    (tmp_path / "peer").mkdir()
    running = Server(tmp_path / "peer", ["virgl_test_server", "--use-egl-surfaceless"])
    yield running
    running.process.terminate()
    running.process.wait(30)


def run(command, environment, limit_s=60, **more):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=limit_s, check=False,
                          env={**os.environ, **environment}, **more)

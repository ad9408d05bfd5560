# SPDX-License-Identifier: MIT
"""Our process: started for one front end, asked through its control socket, ended cleanly."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from . import picture, procs

TOP = pathlib.Path(__file__).resolve().parents[3]


class DeviceError(Exception):
    """Our process did not do what was asked."""


def program_path():
    """build/pvgpu, or the one in the build directory that PVGPU_BUILD names."""
    return pathlib.Path(os.environ.get("PVGPU_BUILD") or TOP / "build") / "pvgpu"


class Device:
    """A running `pvgpu vhost-user`. `directory` keeps its sockets and its log."""

    def __init__(self, directory, options=(), command_prefix=()):
        self.directory = pathlib.Path(directory)
        self.socket_path = self.directory / "vhost-user.sock"
        self.control_path = self.directory / "control.sock"
        self.log_path = self.directory / "pvgpu.log"
        program = program_path()
        if not program.exists():
            raise DeviceError(f"{program} is not built: ./run build")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*command_prefix, str(program), "vhost-user", f"--socket-path={self.socket_path}",
                 f"--control={self.control_path}", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_for(self.socket_path.is_socket, 10, "listens on its socket")
        except DeviceError:
            self.close()
            raise

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def is_running(self):
        return self.process.poll() is None

    def control(self, *arguments, timeout_s=20):
        """Runs one of the program's own control commands; returns its output."""
        verb, *rest = arguments
        result = subprocess.run([str(program_path()), verb, f"--control={self.control_path}", *rest],
                                capture_output=True, timeout=timeout_s, check=False)
        if result.returncode:
            raise DeviceError(f"pvgpu {' '.join(map(str, arguments))}: exit code {result.returncode}: "
                              f"{result.stderr.decode(errors='replace').strip()}")
        return result.stdout

    def status(self):
        return json.loads(self.control("status", "--json"))

    def screenshot(self, head=0, cursor=True, path=None):
        """What our display code shows on a head now."""
        keep = path is not None
        if not keep:
            handle, path = tempfile.mkstemp(suffix=".png", dir=self.directory)
            os.close(handle)
        try:
            options = [f"--head={head}"] + ([] if cursor else ["--no-cursor"])
            self.control("screenshot", *options, str(path))
            return picture.read(path)
        finally:
            if not keep:
                os.unlink(path)

    def resize(self, width, height, head=0):
        self.control("resize", f"--head={head}", f"{width}x{height}")

    def memory(self):
        return procs.memory_bytes(self.pid)

    def wait(self, timeout_s=10):
        """The exit code once the process has ended."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise DeviceError(f"pvgpu still runs after {timeout_s} s; the end of its log:\n{self.log()[-2000:]}") from None

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)

    def close(self):
        """Ends the process. Returns its exit code; one that does not end is killed and reported."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise DeviceError("pvgpu did not end within 10 s of SIGTERM") from None

    def _wait_for(self, condition, timeout_s, what):
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self.process.poll() is not None:
                raise DeviceError(f"pvgpu ended with exit code {self.process.returncode} before it {what}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise DeviceError(f"after {timeout_s} s pvgpu still has not: {what}:\n{self.log()}")
            time.sleep(0.01)

# SPDX-License-Identifier: MIT
"""A running `pvgpu vtest`, and what it uses."""

import os
import pathlib
import re
import signal
import subprocess
import time

from . import drivers

REPORTS = re.compile(rb"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")
PATIENCE_S = 60


def poll(condition, what, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Usage:
    """File descriptors, mappings and resident memory of a process at one moment."""

    def __init__(self, pid):
        proc = pathlib.Path(f"/proc/{pid}")
        self.fds = len(os.listdir(proc / "fd"))
        self.mappings = len((proc / "maps").read_bytes().splitlines())
        self.threads = len(os.listdir(proc / "task"))
        status = (proc / "status").read_text()
        self.rss_mib = int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def __str__(self):
        return f"{self.fds} fds, {self.mappings} mappings, {self.threads} threads, {self.rss_mib:.0f} MiB resident"


class Server:
    def __init__(self, directory, *arguments, environment=None):
        if os.environ.get("PVGPU_VENUS_PORTABLE"):
            arguments = {*arguments, "--emulate-portability"}
        directory.mkdir(parents=True, exist_ok=True)
        self.socket = directory / "gpu.sock"
        self.log_path = directory / "server.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [drivers.BUILD / "pvgpu", "vtest", f"--socket-path={self.socket}", "--control=none", *arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**drivers.server(), **(environment or {})})
        poll(lambda: self.socket.exists() or self.process.poll() is not None, "the socket of the server")
        assert self.alive(), self.log()

    def alive(self):
        return self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def usage(self):
        return Usage(self.process.pid)

    def settled(self):
        """What it uses once the clients that ended are cleared away."""
        last, same = self.usage(), 0
        deadline = time.monotonic() + PATIENCE_S
        while same < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
            now = self.usage()
            same = same + 1 if (now.fds, now.threads) == (last.fds, last.threads) else 0
            last = now
        return last

    def contexts_lost(self):
        return [line for line in self.log().splitlines() if "the context is lost" in line]

    def stop(self):
        """Ends it, and holds it to account."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end on SIGTERM\n{self.log()[-4000:]}") from None
        assert not REPORTS.search(self.log_path.read_bytes()), self.log()[-8000:]
        assert code == 0, f"the server ended with {code}\n{self.log()[-4000:]}"

    def kill(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

# SPDX-License-Identifier: MIT
"""Fixtures: each test gets a lab, which starts programs and machines and holds them to account at the end."""

import os
import pathlib
import socket
import subprocess

import pytest

from wirelib.console import Console
from wirelib.machine import Machine
from wirelib.process import PATIENCE, Process, poll, program, socket_pair
from wirelib.vfio_user import VfioMachine


class Server:
    """A pvgpu that listens on a path and takes one front end after the other."""

    def __init__(self, lab, *arguments):
        self.path = lab.path("vhost.sock")
        self.process = lab.start(f"--socket-path={self.path}", "--keep-listening", *arguments)
        poll(self.path.exists, "the socket appears")
        self.idle_fds = None

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        poll(lambda: self._try(sock), "a connection to the listening socket")
        return sock

    def _try(self, sock):
        try:
            sock.connect(str(self.path))
            return True
        except (ConnectionRefusedError, BlockingIOError):
            assert self.process.is_alive(), "\n".join(self.process.log())
            return False

    def machine(self, **options):
        return Machine(self.process, self.connect(), **options)

    def count_idle_fds(self):
        """To be called with no front end connected, before anything happened."""
        with Machine(self.process, self.connect()) as machine:
            machine.realize().start()
        self.idle_fds = self.settle()

    def settle(self):
        """The number of fds once it stays the same: the last front end's are being closed."""
        last = [self.process.fd_count(), 0]

        def steady():
            now = self.process.fd_count()
            last[1] = last[1] + 1 if now == last[0] else 0
            last[0] = now
            return last[1] >= 30
        poll(steady, "a steady number of file descriptors")
        return last[0]

    def check_fds(self):
        poll(lambda: self.process.fd_count() <= self.idle_fds,
             f"back to {self.idle_fds} fds from {self.process.fd_count()}: {self.process.fd_names()}")


class Lab:
    def __init__(self, directory):
        self.directory = directory
        self.processes = []
        self.machines = []
        self.hostile = False  # true: complaints in the log are what the test is about

    def path(self, name):
        path = self.directory / name
        assert len(str(path)) < 100, "too long for a socket"
        return path

    def start(self, *arguments, **keywords):
        if not any(argument.startswith(("--control", "--name")) for argument in arguments):
            arguments = (*arguments, "--control=none")
        # A Vulkan driver takes long to load, and leaks. The tests that want it say so.
        if keywords.get("verb", "vhost-user") != "vtest" and not any(word.startswith("--renderer") for word in arguments):
            arguments = (*arguments, "--renderer=2d")
        process = Process(*arguments, **keywords)
        self.processes.append(process)
        return process

    def new_machine(self, *arguments, **options):
        """A pvgpu and a machine connected to it, silent so far."""
        return self._connected(Machine, "vhost-user", arguments, options)

    def new_vfio_machine(self, *arguments, **options):
        return self._connected(VfioMachine, "vfio-user", arguments, options)

    def _connected(self, kind, verb, arguments, options):
        ours, theirs = socket_pair()
        process = self.start(f"--fd={theirs.fileno()}", *arguments, verb=verb, pass_fds=[theirs.fileno()])
        theirs.close()
        machine = kind(process, ours, **options)
        self.machines.append(machine)
        return machine

    def vfio_machine(self, *arguments, **options):
        """A machine with a PCI device of ours, whose driver is up."""
        machine = self.new_vfio_machine(*arguments, **options)
        machine.realize().start()
        machine.is_healthy()
        return machine

    def machine(self, *arguments, **options):
        """A machine whose driver is up."""
        machine = self.new_machine(*arguments, **options)
        machine.realize().start()
        machine.is_healthy()
        return machine

    def console_machine(self, *arguments, console=None, **options):
        """The same with a console behind the display socket, as vhost-user-gpu-pci has it."""
        return self.machine(*arguments, console=console or Console(), **options)

    def server(self, *arguments):
        return Server(self, *arguments)

    def run(self, *arguments):
        """A short-lived pvgpu: (exit code, stdout, stderr)."""
        done = subprocess.run([program(), *map(str, arguments)], capture_output=True, timeout=PATIENCE, check=False)
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def finish(self):
        """Ends everything; each program must end cleanly and have had nothing to report."""
        try:
            for process in self.processes:
                # 1: the connection was closed over a broken protocol.
                assert process.terminate() in ((0, 1) if self.hostile else (0,)), "\n".join(process.log())
                process.check_log()
                if not self.hostile:
                    assert not process.complaints(), "\n".join(process.log())
            for machine in self.machines:
                if getattr(machine, "console", None):
                    assert not machine.console.errors, machine.console.errors
        finally:
            self.abandon()

    def abandon(self):
        for process in self.processes:
            process.kill()
        for machine in self.machines:
            machine.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.call_failed = report.failed
        if report.failed and "lab" in getattr(item, "funcargs", {}):
            for process in item.funcargs["lab"].processes:
                report.sections.append((f"log of pvgpu {process.pid}", "\n".join(process.log()[-60:])))
    return report


@pytest.fixture
def lab(request):
    # Short: a socket's path has about 100 bytes.
    directory = os.path.join("/tmp", f"pvwire-{os.getpid()}-{id(request) & 0xffffff:x}")
    os.mkdir(directory, 0o700)
    laboratory = Lab(pathlib.Path(directory))
    try:
        yield laboratory
        if getattr(request.node, "call_failed", True):
            laboratory.abandon()
        else:
            laboratory.finish()
    finally:
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)


@pytest.fixture
def hostile(lab):
    """A lab in which programs may complain."""
    lab.hostile = True
    return lab

# SPDX-License-Identifier: MIT
"""The program under test: starts it, follows its log, and holds it to account at the end."""

import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[3]

# One line of the program's own log: "pvgpu: error: module: text".
LOG_LINE = re.compile(r"^pvgpu: (error|warning|info|debug): ")
SANITIZER = re.compile(r"(Address|Leak|Memory|Thread|UndefinedBehavior)Sanitizer|runtime error:|Assertion|DEADLYSIGNAL")

# Generous: sanitizers, two cores and a neighbour that compiles. A correct program never comes near it.
PATIENCE = float(os.environ.get("PVGPU_WIRE_TIMEOUT", "20"))


def program():
    """The pvgpu to test: $PVGPU, else the one in $PVGPU_BUILD, else build/pvgpu."""
    if "PVGPU" in os.environ:
        return os.environ["PVGPU"]
    return str(pathlib.Path(os.environ.get("PVGPU_BUILD", TOP / "build")) / "pvgpu")


def poll(condition, what, timeout=None):
    """Returns the first true value of condition(); fails after `timeout` seconds."""
    deadline = time.monotonic() + (timeout or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out: {what}")
        time.sleep(0.001)


def connect(path):
    """A connection to a listening socket; its file is there a moment before somebody listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)

    def attempt():
        try:
            sock.connect(str(path))
            return True
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            return False

    poll(attempt, f"a connection to {path}")
    return sock


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Process:
    """A running pvgpu. Its stderr is read by a thread, line by line."""

    def __init__(self, *arguments, pass_fds=(), verb="vhost-user"):
        environment = dict(os.environ)
        # Reports of any kind end the process with a code of their own, which no test expects.
        environment["ASAN_OPTIONS"] = "exitcode=99:detect_stack_use_after_return=1:" + environment.get("ASAN_OPTIONS", "")
        # The host's Vulkan drivers leak, not we.
        environment["LSAN_OPTIONS"] = f"suppressions={TOP / 'tests/venus/lsan.supp'}:print_suppressions=0"
        environment["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1:" + environment.get("UBSAN_OPTIONS", "")
        environment["TSAN_OPTIONS"] = "exitcode=99:halt_on_error=1:" + environment.get("TSAN_OPTIONS", "")
        self.lines = []
        self.changed = threading.Condition()
        self.log_closed = False
        self.popen = subprocess.Popen([program(), *([verb] if verb else []), *map(str, arguments)],
                                      pass_fds=pass_fds, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True, errors="replace", env=environment,
                                      preexec_fn=no_core)
        self.pid = self.popen.pid
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()

    def _read_log(self):
        for line in self.popen.stderr:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.log_closed = True
            self.changed.notify_all()

    def log(self, level=None):
        """The log lines so far, of one level ("error") or of all."""
        with self.changed:
            return [line for line in self.lines if level is None or line.startswith(f"pvgpu: {level}: ")]

    def memory_factor(self):
        """How much more memory than usual this build takes: sanitizers keep shadows, red zones and freed blocks."""
        return 4 if self.has_sanitizer(b"__asan_init") or self.has_sanitizer(b"__tsan_init") else 1

    def has_sanitizer(self, symbol):
        with open(f"/proc/{self.pid}/exe", "rb") as file:
            return symbol in file.read()

    def complaints(self):
        """Log lines that say something is wrong."""
        return self.log("error") + self.log("warning")

    def wait_for_log(self, condition, what, timeout=None):
        """Waits until condition(lines) is true and returns its value."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        with self.changed:
            while True:
                value = condition(self.lines)
                if value:
                    return value
                left = deadline - time.monotonic()
                if left <= 0 or (self.log_closed and not condition(self.lines)):
                    raise AssertionError(f"not in the log: {what}; there is:\n" + "\n".join(self.lines))
                self.changed.wait(left)

    def check_one_complaint(self):
        """One thing went wrong: one line says so. It may be on its way to us still; a second one may not."""
        self.wait_for_log(lambda lines: self.complaints(), "a complaint")
        assert len(self.complaints()) == 1, "\n".join(self.log())

    def is_alive(self):
        return self.popen.poll() is None

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def fd_names(self):
        names = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                names.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
            except FileNotFoundError:
                pass
        return sorted(names)

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def children(self):
        """Process ids: of the one that draws, if there is one."""
        found = []
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            try:
                found += map(int, (task / "children").read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                pass  # a thread that has just ended
        return found

    def rss_bytes(self):
        """Of both."""
        status = "".join(pathlib.Path(f"/proc/{pid}/status").read_text() for pid in (self.pid, *self.children()))
        return sum(int(kib) for kib in re.findall(r"VmRSS:\s+(\d+) kB", status)) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, timeout=None):
        """The exit code, once it has ended; everything it said has been read then."""
        try:
            code = self.popen.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"pvgpu does not end; its log:\n" + "\n".join(self.log())) from None
        self.reader.join(PATIENCE)
        return code

    def terminate(self):
        """SIGTERM must be a clean end at any moment."""
        if self.is_alive():
            self.popen.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """Last resort of a failed test."""
        if self.is_alive():
            self.popen.kill()
        self.popen.wait()

    def check_log(self):
        """No sanitizer report, no assertion, nothing but log lines."""
        reports = [line for line in self.log() if SANITIZER.search(line)]
        assert not reports, "\n".join(self.log())
        strange = [line for line in self.log() if not LOG_LINE.match(line)]
        assert not strange, "not in the format of the log:\n" + "\n".join(strange)


def socket_pair():
    """A connected stream pair: (ours, the device's)."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

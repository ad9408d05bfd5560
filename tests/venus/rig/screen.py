# SPDX-License-Identifier: MIT
"""An X server without hardware, and what is on its screen."""

import os
import pathlib
import signal
import struct
import subprocess

from . import drivers
from .server import poll

WIDTH, HEIGHT = 1024, 768


class Picture:
    """Rows of BGRX bytes."""

    def __init__(self, width, height, rows):
        self.width, self.height, self.rows = width, height, rows

    def is_blank(self):
        return all(row == self.rows[0][:4] * self.width for row in self.rows)

    def difference(self, other, threshold=8):
        """The share of pixels of which a channel differs by more than the threshold."""
        assert (self.width, self.height) == (other.width, other.height)
        count = 0
        for mine, theirs in zip(self.rows, other.rows):
            if mine == theirs:
                continue
            for x in range(0, len(mine), 4):
                if mine[x:x + 3] != theirs[x:x + 3]:
                    count += any(abs(a - b) > threshold for a, b in zip(mine[x:x + 3], theirs[x:x + 3]))
        return count / (self.width * self.height)

    def write_ppm(self, path):
        rgb = bytearray()
        for row in self.rows:
            for x in range(0, len(row), 4):
                rgb += bytes((row[x + 2], row[x + 1], row[x]))
        pathlib.Path(path).write_bytes(b"P6\n%d %d\n255\n" % (self.width, self.height) + rgb)


class Screen:
    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        read, write = os.pipe()
        with open(directory / "xvfb.log", "wb") as log:
            self.process = subprocess.Popen(
                ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", str(directory),
                 "-nolisten", "tcp", "-noreset"], pass_fds=[write], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number, (directory / "xvfb.log").read_text(errors="replace")
        self.display = f":{number}"

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def grab(self):
        """The frame buffer as Xvfb keeps it in a file, in the format of xwd."""
        data = (self.directory / "Xvfb_screen0").read_bytes()
        header = struct.unpack(">25I", data[:100])
        size, width, height, stride, colors = header[0], header[4], header[5], header[12], header[19]
        begin = size + colors * 12
        assert header[11] == 32, "not 32 bits a pixel"
        return Picture(width, height, [data[begin + y * stride:begin + y * stride + width * 4] for y in range(height)])

    def show(self, command, environment, mark, still_ms=1000, seconds=60):
        """Runs a demo program until it shows its last picture, which is returned with the program's output."""
        mark.unlink(missing_ok=True)
        log_path = self.directory / "program.log"
        with open(log_path, "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                       env={**environment, "DISPLAY": self.display, "LD_PRELOAD": str(drivers.STILL),
                                            "STILL_MARK": str(mark), "STILL_MS": str(still_ms)})
        try:
            poll(lambda: mark.exists() or process.poll() is not None, f"a still picture of {command}", seconds)
            output = log_path.read_text(errors="replace")
            assert process.poll() is None, f"{command} ended with {process.returncode}\n{output[-3000:]}"
            # What was drawn is on its way through the swapchain and the X server.
            last, same = self.grab(), 0
            while same < 5:
                try:
                    process.wait(0.1)
                except subprocess.TimeoutExpired:
                    pass
                now = self.grab()
                same = same + 1 if now.rows == last.rows else 0
                last = now
            return last, log_path.read_text(errors="replace")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log_path.read_text(errors='replace')[-3000:]}") from None
        finally:
            # The hard way: it is also how clients of the server may end.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

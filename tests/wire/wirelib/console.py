# SPDX-License-Identifier: MIT
"""The VMM's console: the server behind the display socket of vhost-user-gpu. Keeps what a window would show."""

import os
import socket
import struct
import threading

from .process import PATIENCE
from .vhost_user import Channel, Closed

GET_PROTOCOL_FEATURES = 1
SET_PROTOCOL_FEATURES = 2
GET_DISPLAY_INFO = 3
CURSOR_POS = 4
CURSOR_POS_HIDE = 5
CURSOR_UPDATE = 6
SCANOUT = 7
UPDATE = 8
DMABUF_SCANOUT = 9
DMABUF_UPDATE = 10
GET_EDID = 11
DMABUF_SCANOUT2 = 12

REPLY = 4
P_EDID, P_DMABUF2 = 1, 2


class Console:
    """A thread serves the socket. `mute`: requests that get no answer. stall(): reads nothing until resume()."""

    def __init__(self, heads=((1280, 800),), mute=(), protocol_features=P_EDID | P_DMABUF2, send_buffer=None):
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        if send_buffer:
            self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.channel = Channel(ours)
        ours.settimeout(None)
        self.heads = list(heads)
        self.mute = set(mute)
        self.protocol_features = protocol_features
        self.chosen_features = None
        self.lock = threading.Condition()
        self.requests = []      # every request id, in order
        self.screens = {}       # scanout -> (width, height, bytearray of BGRX rows)
        self.updates = []       # (scanout, x, y, width, height)
        self.cursors = []       # (request, scanout, x, y, hot_x, hot_y, pixels)
        self.errors = []        # what a real console would have choked on
        self.reading = threading.Event()
        self.reading.set()
        self.closed = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def stall(self):
        self.reading.clear()

    def resume(self):
        self.reading.set()

    def hand_over(self):
        """The device's end, after it was sent: ours to close."""
        self.theirs.close()

    def _serve(self):
        try:
            while True:
                self.reading.wait()
                request, flags, payload, fds = self.channel.receive()
                for fd in fds:
                    os.close(fd)
                with self.lock:
                    self._handle(request, flags, payload)
                    self.requests.append(request)
                    self.lock.notify_all()
                if request not in self.mute:
                    self._answer(request, payload)
        except (Closed, OSError):
            pass
        with self.lock:
            self.closed = True
            self.lock.notify_all()

    def answer(self, request, payload=b""):
        """Late, to a request that was muted."""
        self._answer(request, payload)

    def _answer(self, request, payload):
        if request == GET_PROTOCOL_FEATURES:
            self._reply(request, struct.pack("<Q", self.protocol_features))
        elif request == GET_DISPLAY_INFO:
            self._reply(request, self.display_info())
        elif request == GET_EDID:
            self._reply(request, struct.pack("<IIQIB3xII", 0x1104, 0, 0, 0, 0, 128, 0) + self.edid(payload) + bytes(896))
        elif request == DMABUF_UPDATE:
            self._reply(request, b"")

    def _reply(self, request, payload):
        self.channel.send(request, payload, flags=REPLY)

    def edid(self, payload):
        """Not a real one: a mark by which a test knows where an EDID came from."""
        return (b"EDID of head %d" % struct.unpack("<I", payload)[0]).ljust(128, b"\0")

    def display_info(self):
        body = struct.pack("<IIQIB3x", 0x1101, 0, 0, 0, 0)
        for i in range(16):
            on = i < len(self.heads) and self.heads[i] is not None
            width, height = self.heads[i] if on else (0, 0)
            body += struct.pack("<IIIIII", 0, 0, width, height, int(on), 0)
        return body

    def _handle(self, request, flags, payload):
        if flags:
            self.errors.append(f"request {request} with flags {flags}")
        if request == SET_PROTOCOL_FEATURES:
            self.chosen_features = struct.unpack("<Q", payload)[0]
        elif request == SCANOUT:
            scanout, width, height = struct.unpack("<III", payload)
            if width and height:
                self.screens[scanout] = (width, height, bytearray(width * height * 4))
            else:
                self.screens.pop(scanout, None)
        elif request == UPDATE:
            self._update(payload)
        elif request in (CURSOR_POS, CURSOR_POS_HIDE):
            self.cursors.append((request, *struct.unpack("<III", payload), None, None, None))
        elif request == CURSOR_UPDATE:
            if len(payload) != 20 + 64 * 64 * 4:
                self.errors.append(f"cursor of {len(payload)} bytes")
            self.cursors.append((request, *struct.unpack_from("<IIIII", payload), payload[20:]))
        elif request not in (GET_PROTOCOL_FEATURES, GET_DISPLAY_INFO, GET_EDID):
            self.errors.append(f"unexpected request {request}")

    def _update(self, payload):
        scanout, x, y, width, height = struct.unpack_from("<IIIII", payload)
        pixels = payload[20:]
        if len(pixels) != width * height * 4:
            self.errors.append(f"update of {width}x{height} with {len(pixels)} bytes")
            return
        screen = self.screens.get(scanout)
        if screen is None or x + width > screen[0] or y + height > screen[1]:
            self.errors.append(f"update of {width}x{height}+{x}+{y} outside scanout {scanout}")
            return
        for row in range(height):
            start = ((y + row) * screen[0] + x) * 4
            screen[2][start:start + width * 4] = pixels[row * width * 4:(row + 1) * width * 4]
        self.updates.append((scanout, x, y, width, height))

    # For tests.

    def wait(self, condition, what):
        """Waits until condition(self) is true; returns its value."""
        with self.lock:
            value = self.lock.wait_for(lambda: condition(self), PATIENCE)
            assert value, f"timed out: {what}; requests {self.requests[-20:]}, updates {self.updates[-10:]}, {self.errors}"
            return value

    def wait_for_request(self, request, count=1):
        self.wait(lambda c: c.requests.count(request) >= count, f"display request {request}")

    def size(self, scanout=0):
        with self.lock:
            screen = self.screens.get(scanout)
            return screen and screen[:2]

    def pixels(self, scanout=0):
        """[(r, g, b)] of a screen, row by row."""
        with self.lock:
            data = bytes(self.screens[scanout][2])
        return list(zip(data[2::4], data[1::4], data[0::4]))

    def wait_for_pixels(self, colours, scanout=0):
        """Waits until the screen shows exactly this."""
        want = b"".join(bytes((b, g, r)) for r, g, b in colours)

        def shows(console):
            screen = console.screens.get(scanout)
            if screen is None or len(screen[2]) * 3 != len(want) * 4:
                return False
            data = screen[2]
            return data[0::4] == want[0::3] and data[1::4] == want[1::3] and data[2::4] == want[2::3]
        self.wait(shows, "the picture on the console")

    def hang_up(self):
        self.reading.set()
        self.channel.close()
        self.thread.join(PATIENCE)

    def close(self):
        self.hang_up()
        self.theirs.close()

# SPDX-License-Identifier: MIT
"""A small VNC client (RFC 6143 and the ExtendedDesktopSize extension): sees a screen, asks for another size."""

import socket
import struct
import time

from . import picture

ENCODING_RAW = 0
ENCODING_DESKTOP_SIZE = -223
ENCODING_EXTENDED_DESKTOP_SIZE = -308
MESSAGE_SET_ENCODINGS = 2
MESSAGE_UPDATE_REQUEST = 3
MESSAGE_SET_DESKTOP_SIZE = 251


class VncError(Exception):
    """The server said or did something this client does not understand."""


class VncClient:
    """One connection to a VNC server on a Unix socket. Each call answers server messages as they come."""

    def __init__(self, path, timeout_s=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_s)
        self.socket.connect(str(path))
        version = self._read(12)
        if not version.startswith(b"RFB 003."):
            raise VncError(f"no VNC server: {version!r}")
        self.socket.sendall(b"RFB 003.008\n")
        if 1 not in self._read(self._read(1)[0]):
            raise VncError("the server asks for a password")
        self.socket.sendall(b"\x01")
        if self._unpack(">I") != (0,):
            raise VncError("the server refused the connection")
        self.socket.sendall(b"\x01")  # shared
        self.width, self.height = self._unpack(">HH")
        self._read(16)
        self.name = self._read(*self._unpack(">I")).decode()
        self.can_resize = False
        self.full = False
        self.screen_id = 0
        self.pixels = bytearray(self.width * self.height * 4)
        # 32 bits a pixel, depth 24, little-endian, true colour, red << 16 | green << 8 | blue
        self.socket.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        encodings = ENCODING_RAW, ENCODING_DESKTOP_SIZE, ENCODING_EXTENDED_DESKTOP_SIZE
        self.socket.sendall(struct.pack(f">BxH{len(encodings)}i", MESSAGE_SET_ENCODINGS, len(encodings), *encodings))
        self._request(incremental=False)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def set_desktop_size(self, width, height, timeout_s=20):
        """Asks for another size. The server passes it to the guest; the screen follows when the guest sets the mode."""
        deadline = time.monotonic() + timeout_s
        while not self.can_resize:
            if not self._serve(deadline):
                raise VncError("the server never said that it can change the size")
        self.socket.sendall(struct.pack(">BxHHBxIHHHHI", MESSAGE_SET_DESKTOP_SIZE, width, height, 1,
                                        self.screen_id, 0, 0, width, height, 0))

    def wait_for(self, condition, timeout_s=30):
        """Serves updates until condition(self) holds; returns whether it did."""
        deadline = time.monotonic() + timeout_s
        while not condition(self):
            if not self._serve(deadline):
                return False
        return True

    def refresh(self, timeout_s=20):
        """Fetches the whole screen."""
        deadline = time.monotonic() + timeout_s
        self.full = False
        self._request(incremental=False)
        while not self.full:
            if not self._serve(deadline):
                raise VncError("the server sent no picture")
        return self.screenshot()

    def screenshot(self):
        rgb = bytearray(self.width * self.height * 3)
        rgb[0::3], rgb[1::3], rgb[2::3] = self.pixels[2::4], self.pixels[1::4], self.pixels[0::4]
        return picture.Picture(self.width, self.height, bytes(rgb))

    def _request(self, incremental):
        self.socket.sendall(struct.pack(">BBHHHH", MESSAGE_UPDATE_REQUEST, incremental, 0, 0, self.width, self.height))

    def _serve(self, deadline):
        """Handles one server message; False at the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self.socket.settimeout(left)
        try:
            kind = self._read(1)[0]
        except TimeoutError:
            return False
        self.socket.settimeout(20)
        if kind == 0:
            self._read_update()
            self._request(incremental=True)
        elif kind == 1:
            self._read(6 * self._unpack(">xHH")[1])
        elif kind == 3:
            self._read(self._unpack(">xxxI")[0])
        elif kind != 2:
            raise VncError(f"unknown server message {kind}")
        return True

    def _read_update(self):
        for _ in range(self._unpack(">xH")[0]):
            x, y, width, height, encoding = self._unpack(">HHHHi")
            if encoding == ENCODING_RAW:
                data = self._read(width * height * 4)
                for row in range(height):
                    at = ((y + row) * self.width + x) * 4
                    self.pixels[at:at + width * 4] = data[row * width * 4:(row + 1) * width * 4]
                if (x, y, width, height) == (0, 0, self.width, self.height):
                    self.full = True
            elif encoding == ENCODING_DESKTOP_SIZE:
                self._resized(width, height)
            elif encoding == ENCODING_EXTENDED_DESKTOP_SIZE:
                screens = [self._unpack(">IHHHHI") for _ in range(self._unpack(">Bxxx")[0])]
                self.can_resize = True
                self.screen_id = screens[0][0] if screens else 0
                self._resized(width, height)
            else:
                raise VncError(f"unknown encoding {encoding}")

    def _resized(self, width, height):
        if (width, height) != (self.width, self.height):
            self.width, self.height = width, height
            self.pixels = bytearray(width * height * 4)
            self._request(incremental=False)

    def _read(self, count):
        parts = []
        while count:
            part = self.socket.recv(min(count, 1 << 20))
            if not part:
                raise VncError("the server hung up")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _unpack(self, layout):
        return struct.unpack(layout, self._read(struct.calcsize(layout)))

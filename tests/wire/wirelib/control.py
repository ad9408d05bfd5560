# SPDX-License-Identifier: MIT
"""A client of the control socket: JSON lines, and the fd that comes with a screenshot."""

import array
import json
import os
import socket

from .process import connect


class Control:
    def __init__(self, path):
        self.sock = connect(path)
        self.buffered = b""

    def send(self, data):
        self.sock.sendall(data)

    def receive(self):
        """The next reply and its fd (or -1); None at the end of the connection."""
        fds = array.array("i")
        while b"\n" not in self.buffered:
            try:
                part, ancillary, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(4 * 4))
            except ConnectionResetError:
                return None, -1
            for level, kind, body in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(body[:len(body) - len(body) % fds.itemsize])
            if not part:
                return None, -1
            self.buffered += part
        line, _, self.buffered = self.buffered.partition(b"\n")
        assert len(fds) <= 1
        return json.loads(line), fds[0] if fds else -1

    def ask(self, command, **fields):
        self.send(json.dumps({"command": command, **fields}).encode() + b"\n")
        reply, fd = self.receive()
        if fd >= 0:
            with os.fdopen(fd, "rb") as file:
                reply["png"] = file.read()
        return reply

    def must(self, command, **fields):
        reply = self.ask(command, **fields)
        assert reply["ok"], reply
        return reply

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

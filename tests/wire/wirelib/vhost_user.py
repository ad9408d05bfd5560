# SPDX-License-Identifier: MIT
"""The front end's side of vhost-user: messages, replies, and the channel on which the back end speaks first."""

import array
import os
import select
import socket
import struct
import threading
import time

from .process import PATIENCE, poll

GET_FEATURES = 1
SET_FEATURES = 2
SET_OWNER = 3
RESET_OWNER = 4
SET_MEM_TABLE = 5
SET_LOG_BASE = 6
SET_LOG_FD = 7
SET_VRING_NUM = 8
SET_VRING_ADDR = 9
SET_VRING_BASE = 10
GET_VRING_BASE = 11
SET_VRING_KICK = 12
SET_VRING_CALL = 13
SET_VRING_ERR = 14
GET_PROTOCOL_FEATURES = 15
SET_PROTOCOL_FEATURES = 16
GET_QUEUE_NUM = 17
SET_VRING_ENABLE = 18
SET_BACKEND_REQ_FD = 21
GET_CONFIG = 24
SET_CONFIG = 25
GPU_SET_SOCKET = 33
RESET_DEVICE = 34
GET_MAX_MEM_SLOTS = 36
ADD_MEM_REG = 37
REM_MEM_REG = 38
SET_STATUS = 39
GET_STATUS = 40
GET_SHMEM_CONFIG = 44

BACKEND_CONFIG_CHANGE = 2
BACKEND_SHMEM_MAP = 9
BACKEND_SHMEM_UNMAP = 10

VERSION, REPLY, NEED_REPLY = 1, 4, 8

P_MQ = 1 << 0
P_REPLY_ACK = 1 << 3
P_BACKEND_REQ = 1 << 5
P_CONFIG = 1 << 9
P_BACKEND_SEND_FD = 1 << 10
P_RESET_DEVICE = 1 << 13
P_CONFIGURE_MEM_SLOTS = 1 << 15
P_STATUS = 1 << 16
P_GPA_ADDRESSES = 1 << 21
P_SHMEM = 1 << 22

F_PROTOCOL_FEATURES = 1 << 30
F_VERSION_1 = 1 << 32

NO_FD = 1 << 8


class Closed(Exception):
    """The device closed the connection."""


def header(request, size, flags=VERSION):
    return struct.pack("<III", request & 0xFFFFFFFF, flags, size & 0xFFFFFFFF)


def send_with_fds(sock, data, fds):
    """All of `data`; the fds go with its first byte."""
    try:
        sent = 0
        while sent < len(data):
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds and not sent else []
            sent += sock.sendmsg([data[sent:]], ancillary)
    except (BrokenPipeError, ConnectionResetError):
        raise Closed from None


class Channel:
    """A stream of messages with 12-byte headers: vhost-user's, and the display socket's which looks the same."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.pending_fds = []

    def send(self, request, payload=b"", fds=(), flags=VERSION):
        send_with_fds(self.sock, header(request, len(payload), flags) + payload, list(fds))

    def send_raw(self, data, fds=()):
        send_with_fds(self.sock, data, list(fds))

    def _receive(self, size):
        data = b""
        while len(data) < size:
            try:
                part, ancillary, _, _ = self.sock.recvmsg(min(size - len(data), 1 << 20), socket.CMSG_SPACE(16 * 4))
            except ConnectionResetError:
                raise Closed from None
            except TimeoutError:
                raise AssertionError("no answer from the device") from None
            for level, kind, body in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds = array.array("i")
                    fds.frombytes(body[:len(body) - len(body) % fds.itemsize])
                    self.pending_fds += list(fds)
            if not part:
                raise Closed
            data += part
        return data

    def receive(self):
        """(request, flags, payload, fds) of the next message."""
        request, flags, size = struct.unpack("<III", self._receive(12))
        assert size <= 1 << 26, f"message {request} claims {size} bytes"
        payload = self._receive(size)
        fds, self.pending_fds = self.pending_fds, []
        return request, flags, payload, fds

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        for fd in self.pending_fds:
            os.close(fd)
        self.pending_fds = []


class FrontEnd(Channel):
    """The main socket. Setters wait for the acknowledgement once REPLY_ACK is negotiated."""

    def __init__(self, sock):
        super().__init__(sock)
        self.protocol_features = 0

    def reply(self, request):
        """The reply to `request`; nothing else may come."""
        got, flags, payload, fds = self.receive()
        assert (got, flags) == (request, VERSION | REPLY) and not fds, f"reply {got} with flags {flags} to {request}"
        return payload

    def ask(self, request, payload=b"", fds=()):
        self.send(request, payload, fds)
        return self.reply(request)

    def ask_u64(self, request, payload=b""):
        answer = self.ask(request, payload)
        assert len(answer) == 8
        return struct.unpack("<Q", answer)[0]

    def tell(self, request, payload=b"", fds=(), expect=0):
        """Sends a message that has no reply of its own; with REPLY_ACK, checks the status that comes back."""
        if not self.protocol_features & P_REPLY_ACK:
            self.send(request, payload, fds)
            return 0
        self.send(request, payload, fds, VERSION | NEED_REPLY)
        status = struct.unpack("<Q", self.reply(request))[0]
        assert expect is None or status == expect, f"message {request}: status {status}"
        return status

    def tell_u64(self, request, value, fds=()):
        return self.tell(request, struct.pack("<Q", value), fds)

    def has_closed(self, timeout=None):
        """True once the device has closed the connection; unread replies are dropped."""
        deadline = time.monotonic() + (PATIENCE if timeout is None else timeout)
        while True:
            left = deadline - time.monotonic()
            if not select.select([self.sock], [], [], max(0, left))[0]:
                return False
            try:
                if not self.sock.recv(65536):
                    return True
            except ConnectionResetError:
                return True


class BackChannel(Channel):
    """The channel of SET_BACKEND_REQ_FD: a thread answers what the device asks, as the VMM's would.

    With `hold` set the thread records messages but answers none until release().
    """

    def __init__(self, hold=False, status=0):
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        super().__init__(ours)
        self.sock.settimeout(None)
        self.messages = []  # (request, flags, payload)
        self.windows = []   # (shmid, fd_offset, shm_offset, len, flags, fd)
        self.status = status
        self.gate = threading.Event()
        if not hold:
            self.gate.set()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def release(self):
        self.gate.set()

    def _serve(self):
        try:
            while True:
                request, flags, payload, fds = self.receive()
                if request == BACKEND_SHMEM_MAP:
                    fields = struct.unpack("<B7xQQQQ", payload)
                    self.windows.append((*fields, fds[0] if fds else -1))
                    fds = fds[1:]
                for fd in fds:
                    os.close(fd)
                self.messages.append((request, flags, payload))
                self.gate.wait()
                if flags & NEED_REPLY:
                    self.send(request, struct.pack("<Q", self.status), flags=VERSION | REPLY)
        except (Closed, OSError):
            pass

    def count(self, request):
        return sum(1 for message in self.messages if message[0] == request)

    def wait_for(self, request, count=1):
        poll(lambda: self.count(request) >= count, f"message {request} on the back channel")
        return [message for message in self.messages if message[0] == request]

    def close(self):
        self.gate.set()
        super().close()
        self.theirs.close()
        self.thread.join(PATIENCE)
        for window in self.windows:
            if window[5] >= 0:
                os.close(window[5])
        self.windows = []

# SPDX-License-Identifier: MIT
"""A client of the vtest protocol, as friendly or hostile as a test wants, and enough of Venus to have something done."""

import mmap
import os
import socket
import struct

from wirelib.process import connect, poll

(RESOURCE_UNREF, BUSY_WAIT, CREATE_RENDERER, PING, PROTOCOL_VERSION, GET_PARAM, GET_CAPSET, CONTEXT_INIT, CREATE_BLOB,
 SYNC_CREATE, SYNC_UNREF, SYNC_READ, SYNC_WRITE, SYNC_WAIT, SUBMIT_CMD2) = (3, 7, 8, 10, 11, *range(15, 25))
HOST3D, MAPPABLE = 2, 1
RING_IDX, IN_FENCE_FD, OUT_FENCE_FD = 1, 2, 4
WAIT_ANY, FOREVER = 1, 0xFFFFFFFF
VENUS = 4

# venus commands
CREATE_INSTANCE, ENUMERATE_INSTANCE_VERSION, SET_REPLY_STREAM, CREATE_RING, NOTIFY_RING = 0, 137, 178, 188, 190
GENERATE_REPLY = 1


class Closed(Exception):
    """The server has closed the connection."""


def words(*values):
    return struct.pack(f"<{len(values)}I", *values)


def u64(value):
    return struct.pack("<Q", value)


def message(command, *values):
    return words(len(values), command, *values)


def split(value):
    return value & 0xFFFFFFFF, value >> 32


class Blob:
    """Memory of the server's. `memory` is None if it cannot be mapped."""

    def __init__(self, client, resource, fd, size):
        self.client, self.resource, self.fd, self.size = client, resource, fd, size
        try:
            self.memory = mmap.mmap(fd, size)
        except (OSError, ValueError):
            self.memory = None

    def word(self, offset):
        return struct.unpack_from("<I", self.memory, offset)[0]

    def unref(self):
        self.client.send(RESOURCE_UNREF, self.resource)
        self.close()

    def close(self):
        if self.memory is not None:
            self.memory.close()
        os.close(self.fd)


class Client:
    def __init__(self, path):
        self.sock = connect(path)
        self.blobs = []

    # ---- The wire ----

    def send_bytes(self, data, fds=()):
        try:
            if fds:
                sent = socket.send_fds(self.sock, [data], fds)
                data = data[sent:]
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def send(self, command, *values):
        self.send_bytes(message(command, *values))

    def read_bytes(self, count):
        data = b""
        while len(data) < count:
            try:
                part = self.sock.recv(count - len(data))
            except ConnectionResetError:
                raise Closed from None
            if not part:
                raise Closed
            data += part
        return data

    def read(self, command):
        """The words of a reply."""
        length, got = struct.unpack("<2I", self.read_bytes(8))
        assert got == command, f"a reply to {got} in place of {command}"
        return struct.unpack(f"<{length}I", self.read_bytes(4 * length))

    def read_fd(self):
        data, fds, _, _ = socket.recv_fds(self.sock, 1, 4)
        if not data:
            raise Closed
        assert data == b"\0" and len(fds) == 1, (data, fds)
        return fds[0]

    def ask(self, command, *values):
        self.send(command, *values)
        return self.read(command)

    def is_closed(self):
        """Waits for the server to close the connection; what it still says is dropped."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise AssertionError("the server keeps the connection") from None
        self.close()
        return True

    def close(self):
        for blob in self.blobs:
            blob.close()
        self.blobs = []
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- The protocol ----

    def introduce(self, name="wire", version=4):
        name = name.encode() + b"\0"
        self.send_bytes(words(len(name), CREATE_RENDERER) + name + message(PING) + message(BUSY_WAIT, 0, 0))
        assert self.read(PING) == () and self.read(BUSY_WAIT) == (0,)
        assert self.ask(PROTOCOL_VERSION, version) == (version,)
        return self

    def start(self, name="wire"):
        """Up to a context, as Mesa does it."""
        self.introduce(name)
        assert self.ask(GET_PARAM, 1) == (1, 64)
        assert self.ask(GET_CAPSET, VENUS, 0)[0] == 1
        self.send(CONTEXT_INIT, VENUS)
        return self

    def blob(self, size, blob_id=0, flags=MAPPABLE):
        self.send(CREATE_BLOB, HOST3D, flags, *split(size), *split(blob_id))
        return self.read_blob(size)

    def read_blob(self, size):
        (resource,) = self.read(CREATE_BLOB)
        assert resource > 0
        blob = Blob(self, resource, self.read_fd(), size)
        self.blobs.append(blob)
        return blob

    def submit(self, commands=b"", syncs=(), ring_idx=0, flags=RING_IDX, fds=()):
        """syncs: (id, value) pairs."""
        points = b"".join(words(sync, *split(value)) for sync, value in syncs)
        size = len(commands) // 4
        body = words(1, flags, 9, size, 9 + size, len(syncs), ring_idx, 0, 0) + commands + points
        self.send_bytes(words(len(body) // 4, SUBMIT_CMD2) + body, fds)

    def sync(self, value=0):
        return self.ask(SYNC_CREATE, *split(value))[0]

    def sync_value(self, sync):
        low, high = self.ask(SYNC_READ, sync)
        return low | high << 32

    def wait(self, targets, flags=0, timeout_ms=FOREVER):
        """A descriptor that becomes readable."""
        self.send(SYNC_WAIT, flags, timeout_ms, *(n for sync, value in targets for n in (sync, *split(value))))
        assert self.read(SYNC_WAIT) == ()
        return self.read_fd()

    def round_trip(self):
        """Everything sent so far has been done."""
        assert self.ask(GET_PARAM, 1) == (1, 64)

    # ---- A little Venus ----

    def ring(self, ring_id=0x1000):
        return Ring(self, ring_id)


class Ring:
    """A ring of 128 KiB in a blob of its own, with its thread in the server."""

    SIZE = 0x20000

    def __init__(self, client, ring_id):
        self.client, self.id, self.tail = client, ring_id, 0
        self.blob = client.blob(0x200c4)
        client.submit(words(CREATE_RING, 0) + u64(ring_id) + u64(1) + words(0x3ba0a600) + u64(0)
                      + words(0, self.blob.resource) + u64(0) + u64(0x200c4) + u64(1000000) + u64(0) + u64(0x40)
                      + u64(0x80) + u64(0xc0) + u64(self.SIZE) + u64(0x200c0) + u64(4))
        client.round_trip()

    def run(self, commands):
        """Returns when they have been executed."""
        for at in range(0, len(commands), 4):
            where = 0xc0 + (self.tail + at) % self.SIZE
            self.blob.memory[where:where + 4] = commands[at:at + 4]
        self.tail = (self.tail + len(commands)) & 0xFFFFFFFF
        self.blob.memory[0x40:0x44] = words(self.tail)
        if self.blob.word(0x80) & 1:
            self.client.submit(words(NOTIFY_RING, 0) + u64(self.id) + words(0, 0))
        poll(lambda: self.blob.word(0) == self.tail or self.blob.word(0x80) & 2, "the ring is worked off")
        assert not self.blob.word(0x80) & 2, "the context is lost"

    def instance_version(self, reply):
        """vkEnumerateInstanceVersion, answered into a blob."""
        reply.memory[:20] = bytes(20)
        self.run(words(SET_REPLY_STREAM, 0, 1, 0, reply.resource, 0, 0, 20, 0,
                       ENUMERATE_INSTANCE_VERSION, GENERATE_REPLY, 1, 0))
        assert [reply.word(at) for at in range(0, 16, 4)] == [ENUMERATE_INSTANCE_VERSION, 0, 1, 0]
        return reply.word(16)

    def create_instance(self, reply):
        """vkCreateInstance without anything, so that the host's driver is in use."""
        self.run(words(SET_REPLY_STREAM, 0, 1, 0, reply.resource, 0, 0, 24, 0, CREATE_INSTANCE, GENERATE_REPLY, 1, 0, 1)
                 + u64(0) + words(0) + u64(0) + words(0) + u64(0) + words(0) + u64(0) + u64(0) + u64(1) + u64(1))
        assert [reply.word(at) for at in range(0, 24, 4)] == [CREATE_INSTANCE, 0, 1, 0, 1, 0]

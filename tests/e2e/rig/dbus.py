# SPDX-License-Identifier: MIT
"""As much of D-Bus as it takes to tell QEMU's consoles how large their windows are, over a socket of one's own.

QEMU offers its consoles with `-display dbus,p2p=on`. Unlike VNC, that takes consoles which may be drawn by another
process, as those of vhost-user-gpu are. Interface: org.qemu.Display1.Console in QEMU's documentation.
"""

import array
import json
import socket
import struct

METHOD_CALL, METHOD_RETURN, ERROR = 1, 2, 3
FIELD_PATH, FIELD_INTERFACE, FIELD_MEMBER, FIELD_REPLY_SERIAL, FIELD_SIGNATURE = 1, 2, 3, 5, 8


class DbusError(Exception):
    """QEMU refused, or said something that is not D-Bus."""


def _pad(data, alignment):
    return data + bytes(-len(data) % alignment)


def _string(text):
    return struct.pack("<I", len(text)) + text.encode() + b"\0"


def _field(code, kind, text):
    value = bytes([len(text)]) + text.encode() + b"\0" if kind == "g" else _string(text)
    # A structure of a byte and a variant: the signature is short enough for its value to be aligned as it is.
    return bytes([code, 1]) + kind.encode() + b"\0" + value


def _method_call(serial, path, interface, member, signature, body):
    fields = b""
    for code, kind, text in ((FIELD_PATH, "o", path), (FIELD_INTERFACE, "s", interface), (FIELD_MEMBER, "s", member),
                             (FIELD_SIGNATURE, "g", signature)):
        fields = _pad(fields, 8) + _field(code, kind, text)
    head = b"l" + bytes([METHOD_CALL, 0, 1]) + struct.pack("<III", len(body), serial, len(fields))
    return _pad(head + fields, 8) + body


class Consoles:
    """QEMU's consoles, through a connection that its monitor is handed."""

    def __init__(self, qmp, timeout_s=20):
        ours, theirs = socket.socketpair()
        self.socket, self.serial = ours, 0
        ours.settimeout(timeout_s)
        with theirs:
            # The descriptor travels with the command that names it.
            qmp.number += 1
            request = {"execute": "getfd", "arguments": {"fdname": "dbus-client"}, "id": qmp.number}
            qmp.link.sendmsg([json.dumps(request).encode() + b"\n"],
                             [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
            qmp.call("add_client", protocol="@dbus-display", fdname="dbus-client")
        ours.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
        replies = b""
        while b"OK " not in replies or not replies.endswith(b"\r\n"):
            data = ours.recv(4096)
            if not data or b"REJECTED" in replies + data:
                raise DbusError(f"QEMU does not let us in: {replies + data!r}")
            replies += data
        ours.sendall(b"BEGIN\r\n")

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def set_window_size(self, console, width, height):
        """What a user does who resizes the window of console number `console`."""
        self._call(f"/org/qemu/Display1/Console_{console}", "org.qemu.Display1.Console", "SetUIInfo", "qqiiuu",
                   struct.pack("<HHiiII", 0, 0, 0, 0, width, height))

    def _call(self, path, interface, member, signature, body):
        self.serial += 1
        self.socket.sendall(_method_call(self.serial, path, interface, member, signature, body))
        while True:
            kind, reply_serial, body = self._read_message()
            if reply_serial != self.serial:
                continue  # a signal, or a call to us
            if kind == ERROR:
                raise DbusError(f"{member}: {body[4:].rstrip(bytes(1)).decode(errors='replace')}")
            if kind == METHOD_RETURN:
                return

    def _read_message(self):
        head = self._read(16)
        if head[:1] != b"l":
            raise DbusError("a message that is not little-endian D-Bus")
        body_bytes, _, fields_bytes = struct.unpack("<III", head[4:])
        fields = self._read(fields_bytes + (-fields_bytes % 8))
        reply_serial, at = None, 0
        # The reply serial is the only field of interest; its value is the only one of signature "u".
        while at + 8 <= fields_bytes:
            if fields[at] == FIELD_REPLY_SERIAL and fields[at + 1:at + 4] == b"\x01u\0":
                reply_serial = struct.unpack_from("<I", fields, at + 4)[0]
                break
            at += 8
        return head[1], reply_serial, self._read(body_bytes)

    def _read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise DbusError("QEMU hung up")
            data += part
        return data

# SPDX-License-Identifier: MIT
"""A hostile front end: messages that lie about themselves, come at the wrong time, or stop in the middle."""

import os
import socket
import struct

import pytest

from wirelib import gpu, vhost_user as vu
from wirelib.machine import CONTROL, MIB, PROTOCOL
from wirelib.memory import Region
from wirelib.process import poll
from wirelib.session import Session

U64 = struct.Struct("<Q").pack
STATE = struct.Struct("<II").pack
REGION = struct.Struct("<QQQQQ").pack
TABLE = struct.Struct("<II").pack
HUGE = 2**64 - 1


def send_and_leave(server, chunks):
    """Sends (bytes, fds) chunks on a new connection and says goodbye; returns what came back before the device closed."""
    sock = server.connect()
    received = b""
    try:
        for data, fds in chunks:
            vu.send_with_fds(sock, data, fds)
        sock.shutdown(socket.SHUT_WR)
    except (vu.Closed, OSError):
        pass
    try:
        while True:
            part = sock.recv(65536)
            if not part:
                break
            received += part
    except ConnectionResetError:
        pass
    except TimeoutError:
        raise AssertionError("the device keeps a connection whose other end has left") from None
    finally:
        sock.close()
    return received


def check_server(server):
    """It still serves a machine, and nothing was left behind."""
    assert server.process.is_alive(), "\n".join(server.process.log())
    with server.machine() as machine:
        machine.realize().start().is_healthy()
    server.check_fds()


@pytest.fixture
def server(hostile):
    server = hostile.server()
    server.count_idle_fds()
    return server


def payload_bytes(request):
    """The right size of a request's payload."""
    return {vu.SET_MEM_TABLE: 8 + 32, vu.SET_VRING_ADDR: 40, vu.SET_CONFIG: 12 + 4, vu.GET_CONFIG: 12 + 20,
            vu.ADD_MEM_REG: 40, vu.REM_MEM_REG: 40, vu.GET_FEATURES: 0, vu.GET_PROTOCOL_FEATURES: 0, vu.SET_OWNER: 0,
            vu.GET_QUEUE_NUM: 0, vu.RESET_DEVICE: 0, vu.GET_MAX_MEM_SLOTS: 0, vu.GET_STATUS: 0, vu.GPU_SET_SOCKET: 0,
            vu.SET_BACKEND_REQ_FD: 0, vu.GET_SHMEM_CONFIG: 0}.get(request, 8)


def opening():
    """Negotiation with everything on, as raw bytes."""
    return (vu.header(vu.GET_FEATURES, 0) + vu.header(vu.GET_PROTOCOL_FEATURES, 0)
            + vu.header(vu.SET_PROTOCOL_FEATURES, 8) + U64(PROTOCOL)
            + vu.header(vu.SET_OWNER, 0) + vu.header(vu.SET_FEATURES, 8) + U64(1 << 30 | 1 << 32))


@pytest.mark.parametrize("negotiated", [False, True], ids=["at-once", "negotiated"])
@pytest.mark.parametrize("fill", [b"\x00", b"\xff", b"\x01"], ids=["zeros", "ones", "bytes-of-1"])
def test_every_request_with_every_wrong_size(server, negotiated, fill):
    start = [(opening(), [])] if negotiated else []
    for request in list(range(0, 48)) + [0x100, 0x7FFFFFFF, 0xFFFFFFFF]:
        right = payload_bytes(request)
        for size in sorted({0, 1, 4, 7, 8, max(0, right - 1), right, right + 1, right + 8, 4096}):
            send_and_leave(server, start + [(vu.header(request, size, vu.VERSION | vu.NEED_REPLY) + fill * size, [])])
    check_server(server)


def test_headers_that_lie(server):
    for flags in (0, 2, 3, vu.VERSION | vu.REPLY, vu.VERSION | 0x10, 0xFFFFFFFF, 0xFFFFFFFD):
        for request in (vu.GET_FEATURES, vu.SET_FEATURES, vu.GET_VRING_BASE):
            send_and_leave(server, [(vu.header(request, 8, flags) + bytes(8), [])])
    for size in (4097, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF4):
        for request in (vu.GET_FEATURES, vu.SET_CONFIG, vu.SET_MEM_TABLE, 99):
            send_and_leave(server, [(vu.header(request, size) + bytes(2000), [])])
    check_server(server)


@pytest.mark.parametrize("request_id", [vu.GET_FEATURES, vu.SET_MEM_TABLE, vu.SET_VRING_KICK, vu.SET_VRING_CALL,
                                        vu.SET_VRING_ERR, vu.SET_BACKEND_REQ_FD, vu.GPU_SET_SOCKET, vu.ADD_MEM_REG,
                                        vu.REM_MEM_REG, vu.SET_LOG_FD, vu.SET_LOG_BASE, 99])
def test_wrong_file_descriptors(server, request_id):
    """Too few, too many, of the wrong kind, in the middle of a message."""
    null = os.open("/dev/null", os.O_RDWR)
    directory = os.open("/", os.O_RDONLY)
    pipe = os.pipe()
    pair = socket.socketpair()
    empty = os.memfd_create("empty")
    kinds = [null, directory, pipe[0], pipe[1], pair[0].fileno(), empty]
    payload = {vu.SET_MEM_TABLE: TABLE(1, 0) + REGION(0, MIB, 0, 0, 0)[:32],
               vu.ADD_MEM_REG: REGION(0, 0, MIB, 0, 0)}.get(request_id, bytes(payload_bytes(request_id)))
    message = vu.header(request_id, len(payload), vu.VERSION | vu.NEED_REPLY) + payload
    try:
        for count in (0, 2, 8, 9, 16, 17, 100, 253):
            send_and_leave(server, [(opening(), []), (message, [null] * count)])
        for fd in kinds:
            send_and_leave(server, [(opening(), []), (message, [fd])])
            send_and_leave(server, [(opening(), []), (message[:5], []), (message[5:], [fd])])
            send_and_leave(server, [(opening(), []), (message[:12], [fd]), (message[12:], [fd])])
    finally:
        for fd in (null, directory, *pipe, empty):
            os.close(fd)
        for end in pair:
            end.close()
    check_server(server)


BAD_MESSAGES = {
    "ring-index": (vu.SET_VRING_NUM, STATE(2, 64)),
    "ring-index-huge": (vu.SET_VRING_NUM, STATE(0xFFFFFFFF, 64)),
    "ring-size-0": (vu.SET_VRING_NUM, STATE(0, 0)),
    "ring-size-not-a-power-of-2": (vu.SET_VRING_NUM, STATE(0, 63)),
    "ring-size-huge": (vu.SET_VRING_NUM, STATE(0, 0x80000000)),
    "ring-size-32768": (vu.SET_VRING_NUM, STATE(0, 65536)),
    "base-index": (vu.SET_VRING_BASE, STATE(7, 0)),
    "base-too-large": (vu.SET_VRING_BASE, STATE(0, 0x10000)),
    "get-base-index": (vu.GET_VRING_BASE, STATE(255, 0)),
    "enable-index": (vu.SET_VRING_ENABLE, STATE(2, 1)),
    "enable-value": (vu.SET_VRING_ENABLE, STATE(0, 2)),
    "addr-index": (vu.SET_VRING_ADDR, STATE(99, 0) + bytes(32)),
    "addr-nowhere": (vu.SET_VRING_ADDR, STATE(0, 0) + struct.pack("<QQQQ", 1 << 50, 1 << 50, 1 << 50, 0)),
    "addr-wraps": (vu.SET_VRING_ADDR, STATE(0, 0) + struct.pack("<QQQQ", HUGE - 8, HUGE - 8, HUGE - 8, 0)),
    "addr-odd": (vu.SET_VRING_ADDR, STATE(0, 0) + struct.pack("<QQQQ", 0x7F0000001001, 0x7F0000002003, 0x7F0000003001, 0)),
    "addr-log": (vu.SET_VRING_ADDR, STATE(0, 1) + bytes(32)),
    "addr-flags": (vu.SET_VRING_ADDR, STATE(0, 0xFFFFFFFE) + bytes(32)),
    "features-not-offered": (vu.SET_FEATURES, U64(HUGE)),
    "features-none": (vu.SET_FEATURES, U64(0)),
    "protocol-not-offered": (vu.SET_PROTOCOL_FEATURES, U64(HUGE)),
    "kick-index": (vu.SET_VRING_KICK, U64(2 | 1 << 8)),
    "kick-high-bits": (vu.SET_VRING_KICK, U64(1 << 63)),
    "call-index": (vu.SET_VRING_CALL, U64(0xFF | 1 << 8)),
    "err-index": (vu.SET_VRING_ERR, U64(0xFF | 1 << 8)),
    "config-offset": (vu.GET_CONFIG, struct.pack("<III", 0xFFFFFFFF, 4, 0) + bytes(4)),
    "config-size": (vu.GET_CONFIG, struct.pack("<III", 0, 0xFFFFFFFF, 0) + bytes(4)),
    "config-wraps": (vu.GET_CONFIG, struct.pack("<III", 0xFFFFFFFC, 8, 0) + bytes(8)),
    "config-257": (vu.GET_CONFIG, struct.pack("<III", 0, 257, 0) + bytes(257)),
    "config-size-mismatch": (vu.GET_CONFIG, struct.pack("<III", 0, 200, 0) + bytes(4)),
    "set-config-offset": (vu.SET_CONFIG, struct.pack("<III", 0xFFFFFFFE, 4, 0) + bytes(4)),
    "set-config-size": (vu.SET_CONFIG, struct.pack("<III", 4, 0xFFFFFFFF, 0) + bytes(4)),
    "set-config-flags": (vu.SET_CONFIG, struct.pack("<III", 4, 4, 7) + bytes(4)),
    "status": (vu.SET_STATUS, U64(HUGE)),
    "table-of-9": (vu.SET_MEM_TABLE, TABLE(9, 0) + bytes(9 * 32)),
    "table-of-4-billion": (vu.SET_MEM_TABLE, TABLE(0xFFFFFFFF, 0) + bytes(32)),
    "table-cut-short": (vu.SET_MEM_TABLE, TABLE(2, 0) + bytes(32)),
    "region-unknown": (vu.REM_MEM_REG, REGION(0, 123 << 40, 4096, 0, 0)),
    "reply-to-nothing": (vu.GET_STATUS, b"\1" * 8),
    "iotlb": (22, bytes(40)),
    "postcopy": (28, b""),
    "inflight": (31, bytes(24)),
    "vring-endian": (23, STATE(0, 1)),
    "set-log-base": (vu.SET_LOG_BASE, bytes(16)),
    "reset-owner": (vu.RESET_OWNER, b""),
    "unknown": (1000, b""),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_one_bad_message_to_a_running_machine(hostile, name):
    """A status, an answer, or a closed connection with one line in the log; then the program ends or goes on."""
    machine = hostile.machine()
    request, payload = BAD_MESSAGES[name]
    machine.front_end.send(request, payload, flags=vu.VERSION | vu.NEED_REPLY)
    try:
        got, flags, _, fds = machine.front_end.receive()
        assert got == request and flags == vu.VERSION | vu.REPLY and not fds
    except vu.Closed:
        machine.process.wait()
        machine.process.check_one_complaint()
        return
    machine.front_end.ask_u64(vu.GET_FEATURES)
    assert len(machine.process.complaints()) <= 1, "\n".join(machine.process.log())


REGIONS = {
    "size-0": (0x100000000, 0, 0),
    "address-wraps": (HUGE - 4095, 8192, 0),
    "offset-wraps": (0x100000000, 4096, HUGE),
    "larger-than-the-file": (0x100000000, 1 << 40, 0),
    "offset-behind-the-file": (0x100000000, 4096, 1 << 40),
    "overlaps-ram": (MIB, 4096, 0),
    "all-of-it": (0, HUGE, 0),
}


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("slots", [True, False], ids=["slots", "table"])
def test_impossible_memory(hostile, name, slots):
    protocol = PROTOCOL if slots else PROTOCOL & ~(vu.P_CONFIGURE_MEM_SLOTS | vu.P_SHMEM)
    machine = hostile.machine(protocol=protocol)
    addr, size, offset = REGIONS[name]
    ram = machine.memory.regions[0]
    fd = os.memfd_create("small")
    os.ftruncate(fd, MIB)
    try:
        if slots:
            payload, fds, request = REGION(0, addr, size, 0x600000000000, offset), [fd], vu.ADD_MEM_REG
        else:
            payload = TABLE(2, 0) + ram.record() + struct.pack("<QQQQ", addr, size, 0x600000000000, offset)
            fds, request = [ram.fd, fd], vu.SET_MEM_TABLE
        try:
            assert machine.front_end.tell(request, payload, fds, expect=None) != 0, "accepted"
            machine.is_healthy()
        except vu.Closed:
            machine.process.wait()
        machine.process.check_one_complaint()
    finally:
        os.close(fd)


def test_more_regions_than_slots(hostile):
    machine = hostile.machine()
    fd = os.memfd_create("page")
    os.ftruncate(fd, 4096)
    try:
        for index in range(machine.max_slots + 2):
            payload = REGION(0, (1 << 40) + index * 8192, 4096, (1 << 44) + index * 8192, 0)
            if machine.front_end.tell(vu.ADD_MEM_REG, payload, [fd], expect=None):
                break
        else:
            raise AssertionError("no limit at all")
    except vu.Closed:
        machine.process.check_one_complaint()
    finally:
        os.close(fd)


def test_ram_removed_under_running_queues(hostile):
    machine = hostile.machine()
    machine.remove_region(machine.memory.regions[0])
    machine.control.kick(force=True)
    machine.front_end.ask_u64(vu.GET_FEATURES)
    for index in range(2):
        machine.stop_ring(index)
    machine.restart()
    machine.is_healthy()


def test_backing_removed_during_use(hostile):
    regions = [Region(0, 16 * MIB), Region(1 << 32, 4 * MIB)]
    machine = hostile.console_machine(regions=regions)
    resource = machine.new_resource()
    machine.must(gpu.create_2d(resource, 512, 512))
    machine.must(gpu.attach_backing(resource, [(1 << 32, MIB)]))
    blob = machine.new_resource()
    machine.must(gpu.create_blob(blob, MIB, [(1 << 32, MIB)]))
    machine.must(gpu.set_scanout_blob(0, blob, (0, 0, 512, 512), 512, 512, 2048))
    requests = [machine.submit(gpu.transfer(resource, (0, 0, 512, 512))) for _ in range(30)]
    machine.remove_region(regions[1])
    for request in requests:
        gpu.Response(machine.control.wait(request).data)
    machine.must_fail(gpu.transfer(resource, (0, 0, 512, 512)))
    machine.command(gpu.flush(blob, (0, 0, 512, 512)))
    machine.is_healthy()


@pytest.mark.parametrize("what", ["rings", "backing", "blob"])
def test_file_behind_memory_is_cut_short(hostile, what):
    """SIGBUS for whoever touches it: the program survives and drops the front end that did it, or serves zeros."""
    regions = [Region(0, 16 * MIB), Region(1 << 32, 4 * MIB)]
    machine = hostile.console_machine(regions=regions)
    resource = machine.new_resource()
    if what == "blob":
        machine.must(gpu.create_blob(resource, MIB, [(1 << 32, MIB)]))
        machine.must(gpu.set_scanout_blob(0, resource, (0, 0, 512, 512), 512, 512, 2048))
    else:
        machine.must(gpu.create_2d(resource, 512, 512))
        machine.must(gpu.attach_backing(resource, [(1 << 32, MIB)]))
    if what == "rings":
        os.ftruncate(regions[0].fd, 0)
        # Our own mapping is just as dead now: only the doorbell is left to us.
        os.eventfd_write(machine.control.kick_fd, 1)
        os.eventfd_write(machine.cursor.kick_fd, 1)
    else:
        os.ftruncate(regions[1].fd, 0)
        command = gpu.flush(resource, (0, 0, 512, 512)) if what == "blob" else gpu.transfer(resource, (0, 0, 512, 512))

        def touched():
            """A blob is not read by the flush but when the console is ready for a frame; the next doorbell notices."""
            before = machine.control.device_used_idx()
            machine.submit(command)
            poll(lambda: machine.control.device_used_idx() != before or machine.process.complaints(), "an answer")
            machine.control.reap()
            return machine.process.complaints()
        poll(touched, "somebody touches it")
    try:
        machine.front_end.ask_u64(vu.GET_FEATURES)
        for index in range(2):
            machine.front_end.ask(vu.GET_VRING_BASE, STATE(index, 0))
        machine.front_end.ask_u64(vu.GET_FEATURES)
    except vu.Closed:
        machine.process.wait()
    machine.process.wait_for_log(lambda lines: any("memory" in line for line in lines), "a word about the memory")
    machine.process.check_one_complaint()


def test_flood_without_reading(server):
    """Ten thousand questions at once; the answers are never read."""
    sock = server.connect()
    sock.setblocking(False)
    message = opening() + vu.header(vu.GET_FEATURES, 0) * 10000
    sent = 0
    try:
        while sent < len(message):
            sent += sock.send(message[sent:])
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    sock.close()
    check_server(server)


def test_flood_of_doorbell_changes(server):
    with server.machine() as machine:
        machine.realize().start()
        for _ in range(1000):
            machine.front_end.send(vu.SET_VRING_KICK, U64(CONTROL), [machine.control.kick_fd])
            machine.front_end.send(vu.SET_VRING_CALL, U64(CONTROL), [machine.control.call_fd])
        assert machine.front_end.ask_u64(vu.GET_FEATURES)
        machine.is_healthy()
    check_server(server)


def test_message_byte_by_byte(server):
    """A slow sender is not a hostile one."""
    sock = server.connect()
    for byte in vu.header(vu.GET_FEATURES, 0) + vu.header(vu.GET_PROTOCOL_FEATURES, 0):
        sock.send(bytes([byte]))
    sock.shutdown(socket.SHUT_WR)
    answer = b""
    while len(answer) < 40:
        part = sock.recv(100)
        assert part
        answer += part
    sock.close()
    check_server(server)


def test_disconnect_after_every_byte_of_a_session(server):
    with Session(server.machine()) as session:
        total = len(session.bytes())
        cut = 0
        while cut < total:
            chunks, left = [], cut
            for data, fds in session.messages:
                if left <= 0:
                    break
                chunks.append((data[:left], fds))
                left -= len(data)
            send_and_leave(server, chunks)
            cut += 1
    check_server(server)


def test_session_without_one_of_its_messages(server):
    with Session(server.machine()) as session:
        for left_out in range(len(session.messages)):
            send_and_leave(server, session.messages[:left_out] + session.messages[left_out + 1:])
    check_server(server)


def test_session_with_each_message_twice(server):
    with Session(server.machine()) as session:
        for index in range(len(session.messages)):
            send_and_leave(server, session.messages[:index + 1] + session.messages[index:])
    check_server(server)


def test_back_channel_that_says_nonsense(hostile):
    for nonsense in (b"\xff" * 100, vu.header(9, 8, 5) + U64(7), vu.header(9, 0xFFFFFFFF, 5), vu.header(77, 0, 5)):
        machine = hostile.new_machine("--window=64M", back_channel=vu.BackChannel(hold=True))
        machine.realize().start()
        machine.back_channel.wait_for(vu.BACKEND_SHMEM_MAP)
        machine.back_channel.send_raw(nonsense)
        machine.back_channel.release()
        before = machine.control.device_used_idx()
        machine.submit(gpu.get_display_info())
        poll(lambda: machine.control.device_used_idx() != before or not machine.process.is_alive(),
             "an answer, or the end of the connection and of the program with it")
        assert len(machine.process.log("error")) <= 1, "\n".join(machine.process.log())


def test_back_channel_hangs_up(hostile):
    machine = hostile.new_machine("--window=64M", back_channel=vu.BackChannel(hold=True))
    machine.realize().start()
    machine.back_channel.wait_for(vu.BACKEND_SHMEM_MAP)
    machine.back_channel.sock.shutdown(socket.SHUT_RDWR)
    machine.is_healthy()
    machine.front_end.ask_u64(vu.GET_FEATURES)


def test_doorbell_that_is_no_eventfd(hostile):
    """A closed pipe, a file, a socket: readable for ever, or never."""
    for kind in ("pipe-end", "null", "file", "socket", "write-end"):
        machine = hostile.machine()
        made = []
        if kind in ("pipe-end", "write-end"):
            made = list(os.pipe())
            fd = made[0] if kind == "pipe-end" else made[1]
            if kind == "pipe-end":
                os.close(made.pop())
        elif kind == "null":
            made = [os.open("/dev/null", os.O_RDWR)]
            fd = made[0]
        elif kind == "file":
            made = [os.memfd_create("file")]
            fd = made[0]
        else:
            ends = socket.socketpair()
            made = [end.detach() for end in ends]
            fd = made[0]
        try:
            machine.front_end.tell(vu.SET_VRING_KICK, U64(CONTROL), [fd], expect=None)
            machine.front_end.tell(vu.SET_VRING_CALL, U64(CONTROL), [fd], expect=None)
            machine.front_end.ask_u64(vu.GET_FEATURES)
            before = machine.process.cpu_seconds()
            machine.front_end.ask_u64(vu.GET_FEATURES)
            poll(lambda: machine.process.cpu_seconds() - before < 5, "no spinning")
        except vu.Closed:
            pass
        finally:
            for fd in made:
                os.close(fd)

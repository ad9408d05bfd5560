# SPDX-License-Identifier: MIT
"""The VMM's side of vfio-user: messages and replies, and a machine whose GPU is a PCI device on such a socket."""

import json
import os
import select
import struct

from . import gpu, ring as rings
from .driver import Driver
from .process import PATIENCE
from .vhost_user import Channel, Closed, send_with_fds  # noqa: F401 (tests take Closed from here)

VERSION = 1
DMA_MAP = 2
DMA_UNMAP = 3
GET_INFO = 4
GET_REGION_INFO = 5
GET_REGION_IO_FDS = 6
GET_IRQ_INFO = 7
SET_IRQS = 8
REGION_READ = 9
REGION_WRITE = 10
DMA_READ = 11
RESET = 13
DIRTY_PAGES = 14
REGION_WRITE_MULTI = 15
DEVICE_FEATURE = 16

REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
EINVAL, ENOTSUP = 22, 95
READ, WRITE = 1, 2
UNMAP_ALL = 2

BAR0, BAR2, CONFIG = 0, 2, 7
MSIX = 2
TRIGGER, DATA_NONE, DATA_BOOL, DATA_EVENTFD, MASK, UNMASK = 0x20, 1, 2, 4, 8, 0x10

# The common structure.
DEVICE_FEATURE_SELECT, DEVICE_FEATURE_BITS, DRIVER_FEATURE_SELECT, DRIVER_FEATURE_BITS = 0, 4, 8, 12
CONFIG_VECTOR, NUM_QUEUES, STATUS, GENERATION = 16, 18, 20, 21
QUEUE_SELECT, QUEUE_SIZE, QUEUE_VECTOR, QUEUE_ENABLE, NOTIFY_OFF = 22, 24, 26, 28, 30
QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE = 32, 40, 48

ACKNOWLEDGE, DRIVER_BIT, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64
NO_VECTOR = 0xFFFF

F_VERSION_1 = 1 << 32
FEATURES = F_VERSION_1 | gpu.F_EDID | gpu.F_UUID | gpu.F_BLOB | rings.F_INDIRECT_DESC | rings.F_EVENT_IDX

QEMU_CAPABILITIES = {"capabilities": {
    "pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576,
    "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": True}}


class Refused(Exception):
    """The device answered with an error."""

    def __init__(self, command, error):
        super().__init__(f"command {command}: error {error}")
        self.error = error


class Client(Channel):
    """The socket. Ids count as QEMU's do."""

    def __init__(self, sock):
        super().__init__(sock)
        self.next_id = 0

    def send(self, command, payload=b"", fds=(), flags=0, size=None):
        self.next_id = (self.next_id + 1) & 0xFFFF
        header = struct.pack("<HHIII", self.next_id, command, 16 + len(payload) if size is None else size, flags, 0)
        send_with_fds(self.sock, header + payload, list(fds))
        return self.next_id

    def reply(self, number, command):
        """The payload and fds of the reply to a message; nothing else may come."""
        got, kind, size, flags, error = struct.unpack("<HHIII", self._receive(16))
        payload = self._receive(size - 16)
        assert (got, kind) == (number, command), f"reply {got} to command {kind}, not {number} to {command}"
        fds, self.pending_fds = self.pending_fds, []
        if flags & ERROR:
            assert flags == REPLY | ERROR and error and not payload
            raise Refused(command, error)
        assert flags == REPLY and error == 0
        return payload, fds

    def ask(self, command, payload=b"", fds=()):
        answer, received = self.reply(self.send(command, payload, fds), command)
        assert not received
        return answer

    def is_quiet(self, seconds=0.05):
        return not select.select([self.sock], [], [], seconds)[0]

    def negotiate(self, capabilities=None):
        text = json.dumps(QEMU_CAPABILITIES if capabilities is None else capabilities).encode() + b"\0"
        answer = self.ask(VERSION, struct.pack("<HH", 0, 0) + text)
        assert struct.unpack_from("<HH", answer) == (0, 0) and answer.endswith(b"\0")
        return json.loads(answer[4:-1])

    def device_info(self, size=16):
        answer = self.ask(GET_INFO, struct.pack("<IIII", size, 0, 0, 0) + bytes(size - 16))
        assert len(answer) == size
        return struct.unpack_from("<IIII", answer)[1:]

    def region_info(self, index):
        """(flags, size, fd or None)"""
        number = self.send(GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0))
        answer, fds = self.reply(number, GET_REGION_INFO)
        argsz, flags, got, cap_offset, size, offset = struct.unpack("<IIIIQQ", answer)
        assert (argsz, got, cap_offset, offset) == (32, index, 0, 0) and len(fds) == bool(flags & 4)
        return flags, size, fds[0] if fds else None

    def irq_count(self, index):
        argsz, _, got, count = struct.unpack("<IIII", self.ask(GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0)))
        assert (argsz, got) == (16, index)
        return count

    def set_irqs(self, flags, start=0, count=0, fds=(), data=b"", index=MSIX):
        assert self.ask(SET_IRQS, struct.pack("<IIIII", 20, flags, index, start, count) + data, fds) == b""

    def dma_map(self, guest_addr, size, fd=None, offset=0, flags=READ | WRITE):
        assert self.ask(DMA_MAP, struct.pack("<IIQQQ", 32, flags, offset, guest_addr, size),
                        [] if fd is None else [fd]) == b""

    def dma_unmap(self, guest_addr, size, flags=0):
        request = struct.pack("<IIQQ", 24, flags, guest_addr, size)
        assert self.ask(DMA_UNMAP, request) == request

    def read(self, region, offset, count):
        request = struct.pack("<QII", offset, region, count)
        answer = self.ask(REGION_READ, request)
        assert answer[:16] == request and len(answer) == 16 + count
        return answer[16:]

    def write(self, region, offset, data):
        request = struct.pack("<QII", offset, region, len(data))
        assert self.ask(REGION_WRITE, request + data) == request

    def post(self, region, offset, data):
        """A write without an answer, as QEMU sends it when nothing of the device is mapped."""
        self.send(REGION_WRITE, struct.pack("<QII", offset, region, len(data)) + data, flags=NO_REPLY)

    def post_many(self, writes):
        entries = b"".join(struct.pack("<QII8s", offset, region, len(data), data) for region, offset, data in writes)
        self.send(REGION_WRITE_MULTI, struct.pack("<Q", len(writes)) + entries, flags=NO_REPLY)

    def reset(self):
        assert self.ask(RESET) == b""

    def has_closed(self):
        try:
            while select.select([self.sock], [], [], PATIENCE)[0]:
                if not self.sock.recv(65536):
                    return True
        except ConnectionResetError:
            return True
        return False


class VfioMachine(Driver):
    """`posted`: doorbells and registers are written without waiting for an answer."""

    def __init__(self, process, sock, features=FEATURES, posted=False, **options):
        super().__init__(process, **options)
        self.client = Client(sock)
        self.want_features = features
        self.posted = posted
        self.vectors = [rings.new_eventfd(), self.control.call_fd, self.cursor.call_fd]
        self.window_fd = None
        for index, ring in enumerate(self.rings):
            ring.doorbell = lambda index=index: self.notify(index)

    # The VMM, in QEMU's order.

    def realize(self):
        client = self.client
        self.capabilities = client.negotiate()["capabilities"]
        self.map_memory()
        flags, regions, irqs = client.device_info()
        assert flags & 3 == 3 and regions == 9 and irqs == 5
        self.regions = {}
        for index in (0, 1, 2, 3, 4, 5, 7):
            region_flags, size, fd = client.region_info(index)
            self.regions[index] = (region_flags, size)
            if fd is not None:
                self.window_fd = fd
        assert client.irq_count(3) == 0
        self.config_space = client.read(CONFIG, 0, 256)
        assert client.irq_count(MSIX) == 3
        client.reset()
        return self

    def map_memory(self):
        for region in self.memory.regions:
            self.client.dma_map(region.guest_addr, region.size, region.fd, region.fd_offset)

    def unmap_memory(self):
        for region in self.memory.regions:
            self.client.dma_unmap(region.guest_addr, region.size)

    def reset(self):
        """The machine's reset button."""
        self.set_vectors_off()
        for _ in range(2):
            self.client.reset()

    def set_vectors_off(self):
        self.client.set_irqs(TRIGGER | DATA_NONE)

    def set_vectors(self):
        """As Linux and QEMU do it together: all off, then one more each time."""
        self.client.set_irqs(TRIGGER | DATA_EVENTFD, 0, 1)
        for count in range(1, len(self.vectors) + 1):
            self.set_vectors_off()
            self.client.set_irqs(TRIGGER | DATA_EVENTFD, 0, count, self.vectors[:count])

    # Registers.

    def get(self, offset, size, region=BAR0):
        return int.from_bytes(self.client.read(region, offset, size), "little")

    def set(self, offset, value, size, region=BAR0):
        data = value.to_bytes(size, "little")
        if self.posted and region == BAR0:
            self.client.post(region, offset, data)
        else:
            self.client.write(region, offset, data)

    def status(self):
        return self.get(STATUS, 1)

    def notify(self, queue):
        self.set(0x3000 + 4 * queue, queue, 2)

    def offered_features(self):
        bits = 0
        for word in range(2):
            self.set(DEVICE_FEATURE_SELECT, word, 4)
            bits |= self.get(DEVICE_FEATURE_BITS, 4) << 32 * word
        return bits

    # The driver's start.

    def reset_registers(self):
        self.set(STATUS, 0, 1)
        while self.status() != 0:
            pass

    def choose_features(self, features=None):
        self.features = self.offered_features() & self.want_features if features is None else features
        for word in range(2):
            self.set(DRIVER_FEATURE_SELECT, word, 4)
            self.set(DRIVER_FEATURE_BITS, self.features >> 32 * word & 0xFFFFFFFF, 4)
        for ring in self.rings:
            ring.features = self.features
        self.set(STATUS, ACKNOWLEDGE | DRIVER_BIT | FEATURES_OK, 1)
        return bool(self.status() & FEATURES_OK)

    def set_up_queue(self, index):
        ring = self.rings[index]
        self.set(QUEUE_SELECT, index, 2)
        assert self.get(QUEUE_SIZE, 2) >= ring.size and self.get(NOTIFY_OFF, 2) == index
        self.set(QUEUE_SIZE, ring.size, 2)
        for offset, addr in ((QUEUE_DESC, ring.desc), (QUEUE_DRIVER, ring.avail), (QUEUE_DEVICE, ring.used)):
            self.set(offset, addr & 0xFFFFFFFF, 4)
            self.set(offset + 4, addr >> 32, 4)
        self.set(QUEUE_VECTOR, index + 1, 2)
        assert self.get(QUEUE_VECTOR, 2) == index + 1
        self.set(QUEUE_ENABLE, 1, 2)

    def start(self):
        self.reset_registers()
        self.set(STATUS, ACKNOWLEDGE, 1)
        self.set(STATUS, ACKNOWLEDGE | DRIVER_BIT, 1)
        assert self.choose_features()
        self.set_vectors()
        self.set(CONFIG_VECTOR, 0, 2)
        assert self.get(NUM_QUEUES, 2) == len(self.rings)
        for index in range(len(self.rings)):
            self.set_up_queue(index)
        self.set(STATUS, ACKNOWLEDGE | DRIVER_BIT | FEATURES_OK | DRIVER_OK, 1)
        return self

    def restart(self):
        """A guest's reboot: the driver's rings begin anew."""
        self.reset_registers()
        for ring in self.rings:
            ring.reset()
        return self.start()

    def config_fields(self):
        """events_read, events_clear, num_scanouts, num_capsets"""
        return struct.unpack("<IIII", self.client.read(BAR0, 0x2000, 16))

    def take_config_interrupts(self):
        try:
            return os.eventfd_read(self.vectors[0])
        except BlockingIOError:
            return 0

    def close(self):
        if self.closed:
            return
        self.closed = True
        self.client.close()
        if self.window_fd is not None:
            os.close(self.window_fd)
        os.close(self.vectors[0])
        self.close_guest()

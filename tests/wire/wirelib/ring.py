# SPDX-License-Identifier: MIT
"""The driver's side of a split virtqueue (virtio 1.3, 2.7), and ways to misuse it."""

import os
import select
import struct
import time

from .process import PATIENCE

NEXT, WRITE, INDIRECT = 1, 2, 4
NO_INTERRUPT = 1
NO_NOTIFY = 1

F_INDIRECT_DESC = 1 << 28
F_EVENT_IDX = 1 << 29


def new_eventfd():
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


class Request:
    """A chain in flight."""

    def __init__(self, head, descriptors, buffers, writable):
        self.head = head
        self.descriptors = descriptors  # ring slots to free
        self.buffers = buffers          # (addr, size) to free
        self.writable = writable        # (addr, size) the device may fill
        self.written = None             # what the device says it wrote


class Ring:
    """One queue. Addresses are guest-physical; memory comes from `memory`."""

    def __init__(self, memory, size=64, features=0):
        self.memory = memory
        self.size = size
        self.features = features
        self.desc = memory.alloc(16 * size)
        self.avail = memory.alloc(6 + 2 * size)
        self.used = memory.alloc(6 + 8 * size)
        self.kick_fd = new_eventfd()
        self.doorbell = lambda: os.eventfd_write(self.kick_fd, 1)
        self.call_fd = new_eventfd()
        self.reset()

    def reset(self, base=0):
        """As a driver that starts afresh: everything in flight is forgotten."""
        for request in getattr(self, "in_flight", {}).values():
            self._release(request)
        self.in_flight = {}
        self.free_slots = list(range(self.size))
        self.avail_idx = base
        self.used_idx = base
        self.kicked_idx = base
        self.finished = {}
        self.calls = 0
        self.kicks = 0
        self.memory.write(self.desc, bytes(16 * self.size))
        self.memory.write(self.avail, struct.pack("<HH", 0, base) + bytes(2 * self.size + 2))
        self.memory.write(self.used, struct.pack("<HH", 0, base) + bytes(8 * self.size + 2))

    def close(self):
        os.close(self.kick_fd)
        os.close(self.call_fd)

    @property
    def event_idx(self):
        return bool(self.features & F_EVENT_IDX)

    # The rings, raw.

    def set_descriptor(self, slot, addr, length, flags=0, next_slot=0, table=None):
        """`table`: an indirect table's address instead of the ring's own."""
        self.memory.write((self.desc if table is None else table) + 16 * slot,
                          struct.pack("<QIHH", addr & (2**64 - 1), length, flags, next_slot))

    def publish(self, head):
        """Puts a head into the available ring. The index is written last."""
        self.memory.write(self.avail + 4 + 2 * (self.avail_idx % self.size), struct.pack("<H", head & 0xFFFF))
        self.set_avail_idx(self.avail_idx + 1)

    def set_avail_idx(self, index):
        self.avail_idx = index & 0xFFFF
        self.memory.write(self.avail + 2, struct.pack("<H", self.avail_idx))

    def set_no_interrupt(self, value):
        self.memory.write(self.avail, struct.pack("<H", NO_INTERRUPT if value else 0))

    def set_used_event(self, index):
        self.memory.write(self.avail + 4 + 2 * self.size, struct.pack("<H", index & 0xFFFF))

    def device_used_idx(self):
        return struct.unpack("<H", self.memory.read(self.used + 2, 2))[0]

    def device_avail_event(self):
        return struct.unpack("<H", self.memory.read(self.used + 4 + 8 * self.size, 2))[0]

    def wants_kick(self):
        if not self.event_idx:
            return not struct.unpack("<H", self.memory.read(self.used, 2))[0] & NO_NOTIFY
        event = self.device_avail_event()
        return ((self.avail_idx - event - 1) & 0xFFFF) < ((self.avail_idx - self.kicked_idx) & 0xFFFF)

    def kick(self, force=False):
        """Rings the doorbell if the device wants that."""
        wanted = self.wants_kick()
        self.kicked_idx = self.avail_idx
        if wanted or force:
            self.kicks += 1
            self.doorbell()

    # Requests.

    def submit(self, readable, writable_sizes, indirect=None, kick=True):
        """Queues one request of `readable` byte strings and writable buffers of the given sizes."""
        if indirect is None:
            indirect = bool(self.features & F_INDIRECT_DESC)
        buffers, writable, descriptors = [], [], []
        for data in readable:
            addr = self.memory.alloc(len(data))
            self.memory.write(addr, data)
            buffers.append((addr, len(data)))
            descriptors.append((addr, len(data), 0))
        for size in writable_sizes:
            addr = self.memory.alloc(size)
            buffers.append((addr, size))
            writable.append((addr, size))
            descriptors.append((addr, size, WRITE))
        slots = []
        if indirect:
            table = self.memory.alloc(16 * len(descriptors))
            buffers.append((table, 16 * len(descriptors)))
            for i, (addr, size, flags) in enumerate(descriptors):
                last = i == len(descriptors) - 1
                self.set_descriptor(i, addr, size, flags | (0 if last else NEXT), 0 if last else i + 1, table=table)
            slots = [self.free_slots.pop(0)]
            self.set_descriptor(slots[0], table, 16 * len(descriptors), INDIRECT)
        else:
            slots = [self.free_slots.pop(0) for _ in descriptors]
            for i, (addr, size, flags) in enumerate(descriptors):
                last = i == len(descriptors) - 1
                self.set_descriptor(slots[i], addr, size, flags | (0 if last else NEXT), 0 if last else slots[i + 1])
        request = Request(slots[0], slots, buffers, writable)
        self.in_flight[request.head] = request
        self.publish(request.head)
        if kick:
            self.kick()
        return request

    def _release(self, request):
        for addr, size in request.buffers:
            self.memory.free(addr, size)

    def reap(self):
        """Takes what the device has finished; returns those requests, their responses in `data`."""
        done = []
        index = self.device_used_idx()
        while self.used_idx != index:
            head, length = struct.unpack("<II", self.memory.read(self.used + 4 + 8 * (self.used_idx % self.size), 8))
            self.used_idx = (self.used_idx + 1) & 0xFFFF
            request = self.in_flight.pop(head, None)
            assert request is not None, f"the device gave back head {head}, which is not in flight"
            request.written = length
            assert length <= sum(size for _, size in request.writable), "more written than there is room"
            whole = b"".join(self.memory.read(addr, size) for addr, size in request.writable)
            request.data = whole[:length]
            request.rest = whole[length:]
            self._release(request)
            self.free_slots += request.descriptors
            done.append(request)
        return done

    def take_calls(self):
        """How often the device has called since the last time."""
        try:
            count = os.eventfd_read(self.call_fd)
        except BlockingIOError:
            return 0
        self.calls += count
        return count

    def wait(self, request, timeout=None):
        """Sleeps on the call fd until `request` is finished. A lost interrupt is a failure, not a delay."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while True:
            for done in self.reap():
                self.finished[id(done)] = done
            if id(request) in self.finished:
                return self.finished.pop(id(request))
            if self.event_idx:
                self.set_used_event(self.used_idx)
                if self.device_used_idx() != self.used_idx:
                    continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.call_fd], [], [], left)[0]:
                stuck = self.device_used_idx() != self.used_idx
                raise AssertionError("finished, but no interrupt came" if stuck else "the device does not finish a request")
            self.take_calls()

    def execute(self, readable, writable_sizes, **keywords):
        return self.wait(self.submit(readable, writable_sizes, **keywords))

# SPDX-License-Identifier: MIT
"""A hostile driver, part one: descriptor chains and rings that make no sense."""

import random
import struct
import threading

import pytest

from wirelib import gpu, ring as rings
from wirelib.machine import CONTROL, DRIVER
from wirelib.process import poll
from wirelib.ring import INDIRECT, NEXT, WRITE

BARE = DRIVER & ~(rings.F_INDIRECT_DESC | rings.F_EVENT_IDX)
END = 64 << 20  # of guest memory


class Chains:
    """Each method writes one chain and publishes it. `good` is a request that would work, `room` a buffer for its answer."""

    def __init__(self, machine):
        self.ring = machine.control
        self.memory = machine.memory
        command = gpu.get_display_info()
        self.length = len(command)
        self.good = self.memory.alloc(4096)
        self.memory.write(self.good, command)
        self.room = self.memory.alloc(4096)
        self.table = self.memory.alloc(65536)

    def chain(self, *descriptors):
        for slot, descriptor in enumerate(descriptors):
            self.ring.set_descriptor(slot, *descriptor)
        self.ring.publish(0)

    def indirect(self, *descriptors, length=None, flags=INDIRECT, next_slot=0):
        for slot, descriptor in enumerate(descriptors):
            self.ring.set_descriptor(slot, *descriptor, table=self.table)
        self.chain((self.table, 16 * len(descriptors) if length is None else length, flags, next_slot))

    # Chains without an end.
    def loop_of_one(self):
        self.chain((self.good, 24, NEXT, 0))

    def loop_of_two(self):
        self.chain((self.good, 24, NEXT, 1), (self.room, 24, NEXT | WRITE, 0))

    def loop_through_the_whole_ring(self):
        self.chain(*((self.good, 24, NEXT, (slot + 1) % self.ring.size) for slot in range(self.ring.size)))

    def loop_in_a_table(self):
        self.indirect((self.good, 24, NEXT, 1), (self.room, 24, NEXT | WRITE, 0))

    # Indices out of range.
    def next_is_the_ring_size(self):
        self.chain((self.good, 24, NEXT, self.ring.size))

    def next_is_65535(self):
        self.chain((self.good, 24, NEXT, 65535))

    def next_behind_the_table(self):
        self.indirect((self.good, 24, NEXT, 2), (self.room, 24, WRITE))

    def next_is_65535_in_a_table(self):
        self.indirect((self.good, 24, NEXT, 65535), (self.room, 24, WRITE))

    def head_is_the_ring_size(self):
        self.ring.publish(self.ring.size)

    def head_is_65535(self):
        self.ring.publish(65535)

    # Available index.
    def index_jumps_past_the_ring(self):
        self.chain((self.good, 24, NEXT, 1), (self.room, 408, WRITE))
        self.ring.set_avail_idx(self.ring.avail_idx + self.ring.size)

    def index_jumps_half_way_round(self):
        self.ring.set_avail_idx(self.ring.avail_idx + 0x8000)

    def index_goes_back(self):
        self.ring.set_avail_idx(self.ring.avail_idx - 1)

    # Addresses and lengths.
    def zero_length(self):
        self.chain((self.good, 0, NEXT, 1), (self.room, 0, WRITE))

    def zero_length_first(self):
        self.chain((self.good, 0, NEXT, 1), (self.good, 24, NEXT, 2), (self.room, 408, WRITE))

    def huge_request(self):
        self.chain((self.good, 0xFFFFFFFF, NEXT, 1), (self.room, 408, WRITE))

    def huge_response(self):
        self.chain((self.good, 24, NEXT, 1), (self.room, 0xFFFFFFFF, WRITE))

    def more_than_four_gigabytes(self):
        self.chain(*((self.good, 0xFFFFFFFF, NEXT, slot + 1) for slot in range(20)), (self.room, 408, WRITE))

    def request_wraps(self):
        self.chain((2**64 - 8, 24, NEXT, 1), (self.room, 408, WRITE))

    def response_wraps(self):
        self.chain((self.good, 24, NEXT, 1), (2**64 - 8, 408, WRITE))

    def request_outside_memory(self):
        self.chain((END, 24, NEXT, 1), (self.room, 408, WRITE))

    def response_outside_memory(self):
        self.chain((self.good, 24, NEXT, 1), (1 << 50, 408, WRITE))

    def request_crosses_the_end(self):
        self.chain((END - 8, 24, NEXT, 1), (self.room, 408, WRITE))

    def response_crosses_the_end(self):
        self.chain((self.good, 24, NEXT, 1), (END - 8, 408, WRITE))

    # Order and kind.
    def writable_before_readable(self):
        self.chain((self.room, 408, NEXT | WRITE, 1), (self.good, 24))

    def readable_after_writable(self):
        self.chain((self.good, 24, NEXT, 1), (self.room, 408, NEXT | WRITE, 2), (self.good, 24))

    def nothing_writable(self):
        self.chain((self.good, 24))

    def nothing_readable(self):
        self.chain((self.room, 408, WRITE))

    def unknown_flags(self):
        self.chain((self.good, 24, NEXT | 0xFFF8, 1), (self.room, 408, WRITE | 0xFFF8))

    def room_for_one_byte(self):
        self.chain((self.good, 24, NEXT, 1), (self.room, 1, WRITE))

    def room_for_half_a_header(self):
        self.chain((self.good, 24, NEXT, 1), (self.room, 23, WRITE))

    def room_for_a_header_alone(self):
        self.chain((self.good, 24, NEXT, 1), (self.room, 24, WRITE))

    def request_of_one_byte(self):
        self.chain((self.good, 1, NEXT, 1), (self.room, 408, WRITE))

    def request_of_23_bytes(self):
        self.chain((self.good, 23, NEXT, 1), (self.room, 408, WRITE))

    # Tables.
    def table_in_a_table(self):
        self.indirect((self.table, 32, INDIRECT), (self.room, 408, WRITE))

    def table_in_a_table_later(self):
        self.indirect((self.good, 24, NEXT, 1), (self.table, 32, INDIRECT | WRITE))

    def table_of_odd_length(self):
        self.indirect((self.good, 24, NEXT, 1), (self.room, 408, WRITE), length=33)

    def table_of_15_bytes(self):
        self.indirect((self.good, 24), length=15)

    def empty_table(self):
        self.indirect(length=0)

    def huge_table(self):
        self.indirect((self.good, 24, NEXT, 1), (self.room, 408, WRITE), length=0xFFFFFFF0)

    def table_of_4096_entries(self):
        self.indirect(*((self.good, 1, NEXT, slot + 1) for slot in range(4095)), (self.room, 408, WRITE))

    def table_with_a_successor(self):
        self.indirect((self.good, 24, NEXT, 1), (self.room, 408, WRITE), flags=INDIRECT | NEXT, next_slot=1)

    def writable_table(self):
        self.indirect((self.good, 24, NEXT, 1), (self.room, 408, WRITE), flags=INDIRECT | WRITE)

    def table_outside_memory(self):
        self.chain((1 << 50, 32, INDIRECT))

    def table_wraps(self):
        self.chain((2**64 - 16, 32, INDIRECT))

    def table_crosses_the_end(self):
        self.chain((END - 16, 32, INDIRECT))

    def table_is_the_ring_itself(self):
        self.chain((self.ring.desc, 32, INDIRECT), (self.room, 408, WRITE))

    # Buffers that are not just buffers.
    def response_over_the_request(self):
        self.chain((self.good, 24, NEXT, 1), (self.good, 408, WRITE))

    def response_over_the_descriptors(self):
        self.chain((self.good, 24, NEXT, 1), (self.ring.desc, 408, WRITE))

    def response_over_the_available_ring(self):
        self.chain((self.good, 24, NEXT, 1), (self.ring.avail, 24, WRITE))

    def response_over_the_used_ring(self):
        self.chain((self.good, 24, NEXT, 1), (self.ring.used, 24, WRITE))

    def request_from_the_used_ring(self):
        self.chain((self.ring.used, 24, NEXT, 1), (self.room, 408, WRITE))


NAMES = [name for name in vars(Chains) if not name.startswith("_") and name not in ("chain", "indirect")]


# No request can be made out of these: nothing may be answered, least of all with somebody else's buffers.
BREAKING = [name for name in NAMES if name.startswith(("loop_", "next_", "head_", "index_"))]


def recover(machine):
    """The driver resets the queue; the device must be as good as new."""
    machine.stop_ring(CONTROL)
    machine.control.reset()
    machine.set_up_ring(CONTROL)
    machine.enable(CONTROL)
    machine.control.take_calls()
    machine.is_healthy()


@pytest.mark.parametrize("features", [DRIVER, BARE], ids=["indirect", "bare"])
@pytest.mark.parametrize("name", NAMES)
def test_chain(hostile, name, features):
    """Answered, or the queue is broken with one line in the log. Never both, and never silence."""
    machine = hostile.machine(features=features)
    ring = machine.control
    before = ring.device_used_idx()
    getattr(Chains(machine), name)()
    if "used_ring" in name and "response" in name:
        ring.kick(force=True)  # whatever the used ring says now is the driver's own fault
    else:
        ring.kick(force=True)
        poll(lambda: ring.device_used_idx() != before or machine.process.complaints(), "an answer or a complaint")
    if name in BREAKING:
        machine.process.check_one_complaint()
        assert ring.device_used_idx() == before, "a request that never was is answered"
    recover(machine)
    assert len(machine.process.complaints()) <= 1, "\n".join(machine.process.log())


def test_too_small_response_buffer_is_not_overrun(hostile):
    machine = hostile.machine()
    for room in range(0, 40):
        place = machine.memory.alloc(4096)
        machine.memory.write(place, b"\xee" * 4096)
        command = machine.memory.alloc(24)
        machine.memory.write(command, gpu.get_display_info())
        machine.control.set_descriptor(0, command, 24, NEXT if room else 0, 1)
        machine.control.set_descriptor(1, place, room, WRITE)
        before = machine.control.device_used_idx()
        machine.control.publish(0)
        machine.control.kick(force=True)
        poll(lambda: machine.control.device_used_idx() != before, "an answer")
        head, written = struct.unpack("<II", machine.memory.read(
            machine.control.used + 4 + 8 * (before % machine.control.size), 8))
        assert head == 0 and written <= room
        assert machine.memory.read(place + room, 4096 - room) == b"\xee" * (4096 - room)
    recover(machine)


def test_broken_queue_stays_quiet_and_the_other_goes_on(hostile):
    machine = hostile.machine()
    Chains(machine).head_is_65535()
    machine.control.kick(force=True)
    machine.process.wait_for_log(lambda lines: machine.process.complaints(), "a complaint")
    for _ in range(100):
        machine.control.kick(force=True)
    machine.move(gpu.move_cursor(0, 1, 1))
    recover(machine)
    machine.process.check_one_complaint()


def test_broken_cursor_queue(hostile):
    machine = hostile.machine()
    machine.cursor.publish(9999)
    machine.cursor.kick(force=True)
    machine.process.wait_for_log(lambda lines: machine.process.complaints(), "a complaint")
    machine.is_healthy()


@pytest.mark.parametrize("seed", range(8))
def test_random_descriptors(hostile, seed):
    """Rings full of plausible nonsense, a hundred times over."""
    machine = hostile.machine(ring_size=32)
    random_ = random.Random(seed)
    chains = Chains(machine)
    addresses = [chains.good, chains.room, chains.table, machine.control.desc, machine.control.used, END - 4, 0, 2**64 - 1]
    lengths = [0, 1, 16, 24, 32, 408, 4096, 65536, 0x7FFFFFFF, 0xFFFFFFFF]

    def descriptor():
        return (random_.choice(addresses) + random_.choice((0, 0, 0, 1, 8)), random_.choice(lengths),
                random_.choice((0, NEXT, NEXT, WRITE, NEXT | WRITE, INDIRECT, INDIRECT | NEXT, random_.getrandbits(16))),
                random_.choice((random_.randrange(32), random_.randrange(32), random_.getrandbits(16))))
    for _ in range(100):
        for slot in range(32):
            machine.control.set_descriptor(slot, *descriptor())
            machine.control.set_descriptor(slot, *descriptor(), table=chains.table)
        for _ in range(random_.randrange(1, 8)):
            machine.control.publish(random_.randrange(34))
        machine.control.kick(force=True)
        machine.stop_ring(CONTROL)
        machine.memory.write(chains.good, gpu.get_display_info())
        machine.control.reset()
        machine.set_up_ring(CONTROL)
        machine.enable(CONTROL)
    recover(machine)


@pytest.mark.parametrize("seed", range(3))
def test_rings_change_while_they_are_read(hostile, seed):
    """Another CPU of the guest scribbles over descriptors, tables and commands all the time."""
    machine = hostile.machine(ring_size=32)
    random_ = random.Random(seed)
    chains = Chains(machine)
    ring = machine.control
    stop = threading.Event()

    def scribble():
        while not stop.is_set():
            slot = random_.randrange(32)
            for table in (None, chains.table):
                ring.set_descriptor(slot, random_.choice((chains.good, chains.room, END - 8)),
                                    random_.choice((24, 408, 0xFFFFFFFF)), random_.choice((NEXT, 0, NEXT | WRITE, WRITE)),
                                    random_.randrange(33), table=table)
            machine.memory.write(chains.good, struct.pack("<I", random_.randrange(0xFF, 0x110)))
    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(60):
            for _ in range(20):
                ring.set_descriptor(0, chains.table, 32 * 16, INDIRECT)
                ring.publish(random_.randrange(32))
                ring.kick(force=True)
            machine.stop_ring(CONTROL)
            ring.reset()
            machine.set_up_ring(CONTROL)
            machine.enable(CONTROL)
    finally:
        stop.set()
        thread.join()
    recover(machine)

# SPDX-License-Identifier: MIT
"""Queues as well-behaved drivers use them: every combination of ring features, wrap-around, interrupts, order."""

import os
import select

import pytest

from wirelib import gpu, ring as rings
from wirelib.machine import CONTROL, CURSOR, DRIVER
from wirelib.process import PATIENCE, poll

BARE = DRIVER & ~(rings.F_INDIRECT_DESC | rings.F_EVENT_IDX)
COMBINATIONS = {"plain": BARE, "indirect": BARE | rings.F_INDIRECT_DESC, "event-idx": BARE | rings.F_EVENT_IDX,
                "both": DRIVER}


@pytest.mark.parametrize("features", COMBINATIONS.values(), ids=COMBINATIONS.keys())
def test_each_ring_feature_combination(lab, features):
    machine = lab.machine(features=features, ring_size=16)
    assert machine.features & features == features
    for _ in range(40):
        machine.is_healthy()
        machine.move(gpu.move_cursor(0, 1, 1))
    resource, _ = machine.picture(64, 64, pieces=5)
    machine.must(gpu.transfer(resource, (0, 0, 64, 64)))


@pytest.mark.parametrize("size", [1, 2, 4, 64, 256, 1024])
def test_ring_sizes(lab, size):
    machine = lab.machine(ring_size=size, features=DRIVER if size < 4 else BARE)
    for _ in range(3 * min(size, 40)):
        machine.is_healthy()


def test_indices_wrap_at_65536(lab):
    machine = lab.machine()
    batch = machine.control.size
    rounds = 65536 // batch + 3
    for _ in range(rounds):
        requests = [machine.submit(gpu.unref(0), kick=False) for _ in range(batch)]
        machine.control.kick()
        machine.control.wait(requests[-1])
        machine.control.finished.clear()
    assert machine.control.used_idx == rounds * batch + 1 & 0xFFFF
    lab.hostile = True  # unref of nothing is an error, and says so


def test_start_in_the_middle_of_the_index_range(lab):
    machine = lab.machine(features=BARE)
    for base in (1, 0x7FFF, 0xFFFF):
        machine.stop_ring(CONTROL)
        machine.control.reset(base)
        machine.set_up_ring(CONTROL, base)
        machine.enable(CONTROL)
        for _ in range(5):
            machine.is_healthy()
        assert machine.stop_ring(CONTROL) == (base + 5) & 0xFFFF
        machine.set_up_ring(CONTROL)
        machine.enable(CONTROL)
        machine.is_healthy()


def test_no_interrupt_flag_is_respected(lab):
    machine = lab.machine(features=BARE)
    machine.is_healthy()
    machine.stop_ring(CURSOR)  # waits for the device thread: interrupts of the start have been raised
    machine.control.take_calls()
    before = machine.control.calls
    machine.control.set_no_interrupt(True)
    request = machine.submit(gpu.get_display_info())
    poll(lambda: machine.control.device_used_idx() != machine.control.used_idx, "the request is finished")
    # The device looks at the flag after it published the answer. Stopping the other ring waits until it has.
    machine.control.reap()
    machine.stop_ring(CURSOR)
    machine.control.set_no_interrupt(False)
    # The next one is called for; had the first been as well, the counter would stand at two.
    machine.command(gpu.get_display_info())
    assert machine.control.calls - before <= 1
    assert request.written


def test_used_event_delays_the_interrupt(lab):
    machine = lab.machine()
    ring = machine.control
    ring.take_calls()
    ring.calls = 0
    first = ring.used_idx
    requests = [machine.submit(gpu.get_display_info(), kick=False) for _ in range(10)]
    ring.set_used_event(first + 9)
    ring.kick(force=True)
    assert select.select([ring.call_fd], [], [], 10)[0], "no interrupt at all"
    assert ring.device_used_idx() == (first + 10) & 0xFFFF, "the interrupt came before the event index"
    ring.reap()
    assert all(request.written for request in requests)


def test_doorbells_are_suppressed_while_the_device_works(lab):
    """A burst is submitted while the device is busy: it must neither need a ring each, nor lose one."""
    machine = lab.machine()
    resource, _ = machine.picture(512, 512)
    machine.control.kicks = 0
    for _ in range(300):
        requests = [machine.submit(gpu.transfer(resource, (0, 0, 512, 512))) for _ in range(8)]
        machine.control.wait(requests[-1])
        machine.control.finished.clear()
    assert machine.control.kicks <= 2400


def test_a_kick_without_work_is_harmless(lab):
    machine = lab.machine()
    for _ in range(100):
        machine.control.kick(force=True)
        machine.cursor.kick(force=True)
    machine.is_healthy()


def test_requests_before_the_kick_are_not_lost(lab):
    """The doorbell may ring once for many requests on both queues."""
    machine = lab.machine()
    control = [machine.submit(gpu.get_display_info(), kick=False) for _ in range(20)]
    cursor = [machine.submit(gpu.move_cursor(0, n, n), queue=CURSOR, response=0, kick=False) for n in range(20)]
    machine.control.kick()
    machine.cursor.kick()
    for request in control:
        machine.control.wait(request)
    for request in cursor:
        machine.cursor.wait(request)


def test_a_response_may_be_scattered(lab):
    machine = lab.machine()
    whole = machine.must(gpu.get_display_info())
    request = machine.control.execute([gpu.get_display_info()], [1, 7, 16, 100, 284])
    assert request.written == gpu.DISPLAY_INFO_BYTES
    response = gpu.Response(request.data)
    assert (response.kind, response.body) == (whole.kind, whole.body)


def test_a_command_may_be_scattered(lab):
    machine = lab.machine()
    command = gpu.create_2d(1, 64, 64)
    request = machine.control.execute([command[i:i + 1] for i in range(len(command))], [24])
    assert gpu.Response(request.data).kind == gpu.OK_NODATA
    machine.must(gpu.unref(1))


def test_a_larger_response_buffer_is_left_alone_behind_the_response(lab):
    machine = lab.machine()
    request = machine.control.execute([gpu.create_2d(1, 64, 64)], [4096])
    assert request.written == gpu.HEADER_BYTES
    assert request.rest == bytes(4096 - gpu.HEADER_BYTES)


def test_call_fd_may_be_replaced_at_any_time(lab):
    machine = lab.machine()
    for _ in range(10):
        old = machine.control.call_fd
        machine.control.call_fd = rings.new_eventfd()
        machine.front_end.tell_u64(13, CONTROL, [machine.control.call_fd])
        os.close(old)
        machine.is_healthy()


def test_interrupt_follows_to_the_last_of_several_call_fds(lab):
    """They overtake each other: the front end has our acknowledgement before the device listens."""
    machine = lab.machine()
    request = machine.submit(gpu.get_display_info())
    poll(lambda: machine.control.device_used_idx() != machine.control.used_idx, "the request is finished")
    for _ in range(3):
        os.close(machine.control.call_fd)
        machine.control.call_fd = rings.new_eventfd()
        machine.front_end.tell_u64(13, CONTROL, [machine.control.call_fd])
    assert select.select([machine.control.call_fd], [], [], PATIENCE)[0], "no interrupt"
    machine.control.wait(request)


def test_polling_driver_without_call_fd(lab):
    """Bit 8 instead of an fd: no interrupts are wanted."""
    machine = lab.machine()
    machine.front_end.tell_u64(13, CONTROL | 1 << 8)
    machine.submit(gpu.get_display_info())
    poll(lambda: machine.control.device_used_idx() != machine.control.used_idx, "the request is finished")

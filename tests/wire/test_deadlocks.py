# SPDX-License-Identifier: MIT
"""Three ways in which a VMM and a device have been seen to wait for each other. Each test is the VMM's half."""

import struct
import time

import pytest

from wirelib import console as display, gpu, vhost_user as vu
from wirelib.console import Console
from wirelib.machine import CONTROL, MIB
from wirelib.memory import Region

# Long enough for sanitizers on a busy machine, far from any timeout inside the device.
PROMPTLY = 1.0


@pytest.fixture
def promptly():
    """Checks that what was done since the last call took no time to speak of."""
    def check():
        took = time.monotonic() - check.start
        check.start = time.monotonic()
        assert took < PROMPTLY, f"{took:.2f} s"
    check.start = time.monotonic()
    return check


@pytest.mark.parametrize("mute", [display.GET_PROTOCOL_FEATURES, display.GET_DISPLAY_INFO, display.GET_EDID])
def test_console_that_never_answers(lab, promptly, mute):
    """QEMU's main thread waits for our acknowledgements and cannot answer on the display socket meanwhile."""
    console = Console(mute=[mute])
    machine = lab.new_machine(console=console)
    machine.realize()
    promptly()
    machine.start()  # ENABLE and CALL, both with need_reply, while the console says nothing
    promptly()
    pending = machine.submit(gpu.get_display_info())
    edid = machine.submit(gpu.get_edid(0))
    for _ in range(10):
        for index, ring in enumerate(machine.rings):
            machine.front_end.tell_u64(vu.SET_VRING_CALL, index, [ring.call_fd])
            machine.enable(index)
        machine.config()
    promptly()
    for index in range(2):
        machine.stop_ring(index)
    promptly()
    assert pending.written is None or pending.written and edid is not None


def test_console_answers_only_after_the_acknowledgements(lab):
    """The same, with a main thread that gets round to it in the end: the guest has its answer then."""
    console = Console()
    console.stall()
    machine = lab.new_machine(console=console)
    machine.realize().start()
    request = machine.submit(gpu.get_display_info())
    for index in range(2):
        machine.enable(index)
    console.heads[0] = (1234, 567)
    console.resume()
    heads = gpu.parse_display_info(gpu.Response(machine.control.wait(request).data))
    assert heads[0][2:4] == (1234, 567)


def test_memory_region_comes_before_the_windows_reply(lab, promptly):
    """QEMU sends ADD_MEM_REG for the new mapping, and wants its reply, before it answers SHMEM_MAP."""
    machine = lab.new_machine("--window=64M", back_channel=vu.BackChannel(hold=True))
    machine.realize()
    promptly()
    machine.start()
    promptly()
    machine.back_channel.wait_for(vu.BACKEND_SHMEM_MAP)
    window = Region(1 << 40, 64 * MIB)
    machine.memory.regions.append(window)
    promptly.start = time.monotonic()
    machine.add_region(window)
    machine.config()
    machine.is_healthy()
    promptly()
    machine.back_channel.release()
    machine.remove_region(window)
    machine.is_healthy()
    machine.stop()
    promptly()


def test_window_reply_never_comes(lab, promptly):
    machine = lab.new_machine("--window=64M", back_channel=vu.BackChannel(hold=True))
    machine.realize().start()
    machine.back_channel.wait_for(vu.BACKEND_SHMEM_MAP)
    promptly.start = time.monotonic()
    machine.is_healthy()
    machine.stop()
    machine.reset_device()
    promptly()


@pytest.mark.parametrize("buffer", [None, 4608], ids=["default", "tiny"])
def test_console_that_does_not_read(lab, promptly, buffer):
    """A stalled viewer: frames pile up nowhere, the guest goes on, and stopping the queues is answered at once."""
    console = Console(send_buffer=buffer)
    machine = lab.new_machine(console=console)
    machine.realize().start()
    data, colours = gpu.pattern("B8G8R8X8", 640, 480)
    resource, _ = machine.picture(640, 480, data=data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 640, 480)))
    machine.must(gpu.flush(resource, (0, 0, 640, 480)))
    console.wait(lambda c: c.updates, "the first picture")
    console.stall()
    before = machine.process.rss_bytes()
    for _ in range(300):
        machine.must(gpu.flush(resource, (0, 0, 640, 480)))
    assert machine.process.rss_bytes() - before < 32 * MIB
    promptly.start = time.monotonic()
    base = machine.stop_ring(CONTROL)
    promptly()
    assert base == machine.control.used_idx
    machine.set_up_ring(CONTROL)
    machine.enable(CONTROL)
    machine.must(gpu.flush(resource, (0, 0, 640, 480)))
    promptly()
    console.resume()
    console.wait_for_pixels(colours)


def test_console_that_does_not_read_during_reset_and_exit(lab, promptly):
    console = Console()
    machine = lab.new_machine(console=console)
    machine.realize().start()
    resource, _ = machine.picture(1024, 768)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 1024, 768)))
    console.stall()
    for _ in range(20):
        machine.must(gpu.flush(resource, (0, 0, 1024, 768)))
    promptly.start = time.monotonic()
    machine.stop()
    machine.reset_device()
    promptly()
    assert machine.process.terminate() == 0


def test_front_end_that_does_not_read_its_replies(lab):
    """The device's replies fill the socket: it must neither block for ever nor eat memory."""
    lab.hostile = True
    machine = lab.machine()
    sock = machine.front_end.sock
    sock.setblocking(False)
    before = machine.process.rss_bytes()
    message = vu.header(vu.GET_CONFIG, 12 + 256, vu.VERSION) + struct.pack("<III", 0, 256, 0) + bytes(256)
    sent = 0
    try:
        while sent < 64 * MIB:
            sent += sock.send(message * 100)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    assert machine.process.rss_bytes() - before < 64 * MIB
    # The queues live on, or the connection was dropped; in both cases the program can be ended.

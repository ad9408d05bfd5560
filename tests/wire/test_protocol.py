# SPDX-License-Identifier: MIT
"""vhost-user as QEMU's front ends speak it: negotiation, memory, stop and start, reset, config, the SHMEM window."""

import os
import select
import socket
import struct
import time

import pytest

from wirelib import console as display, gpu, vhost_user as vu
from wirelib.console import Console
from wirelib.control import Control
from wirelib.machine import CONTROL, CURSOR, DRIVER, MIB, PROTOCOL, Machine
from wirelib.memory import Region
from wirelib.process import PATIENCE, connect, poll

PROTOCOL_SETS = {
    "all": PROTOCOL,
    "mem-table": PROTOCOL & ~(vu.P_CONFIGURE_MEM_SLOTS | vu.P_SHMEM),
    "no-acks": PROTOCOL & ~vu.P_REPLY_ACK,
    "no-status": PROTOCOL & ~vu.P_STATUS,
    "gpu-pci": vu.P_MQ | vu.P_REPLY_ACK | vu.P_BACKEND_REQ | vu.P_CONFIG | vu.P_RESET_DEVICE | vu.P_CONFIGURE_MEM_SLOTS,
    "config-only": vu.P_CONFIG,
}


@pytest.mark.parametrize("protocol", PROTOCOL_SETS.values(), ids=PROTOCOL_SETS.keys())
def test_each_set_of_protocol_features(lab, protocol):
    machine = lab.machine(protocol=protocol)
    assert machine.front_end.protocol_features == protocol & machine.offered_protocol
    resource, _ = machine.picture(64, 64)
    machine.must(gpu.transfer(resource, (0, 0, 64, 64)))
    machine.stop()
    machine.restart()
    machine.is_healthy()


def test_offered_protocol_features(lab):
    machine = lab.machine()
    wanted = (vu.P_MQ | vu.P_REPLY_ACK | vu.P_BACKEND_REQ | vu.P_CONFIG | vu.P_RESET_DEVICE | vu.P_CONFIGURE_MEM_SLOTS
              | vu.P_STATUS)
    assert machine.offered_protocol & wanted == wanted


def test_as_user_mode_linux_speaks(lab):
    """virtio_uml: an acknowledgement for the message that agrees on them, pipes for all that we say, one address for all."""
    path = lab.path("control.sock")
    machine = lab.new_machine(f"--control={path}", regions=[Region(64 << 10, 16 * MIB, user_addr=64 << 10, fd_offset=64 << 10)])
    fe = machine.front_end
    fe.tell(vu.SET_OWNER)
    machine.offered = fe.ask_u64(vu.GET_FEATURES)
    fe.protocol_features = vu.P_MQ | vu.P_REPLY_ACK | vu.P_BACKEND_REQ | vu.P_CONFIG
    assert fe.ask_u64(vu.GET_PROTOCOL_FEATURES) & fe.protocol_features == fe.protocol_features
    fe.tell_u64(vu.SET_PROTOCOL_FEATURES, fe.protocol_features)
    told, ours = os.pipe()
    fe.tell(vu.SET_BACKEND_REQ_FD, fds=[ours])
    os.close(ours)
    assert fe.ask_u64(vu.GET_QUEUE_NUM) == 2
    assert machine.config_fields()[2] == 1
    machine.set_features()
    machine.show_memory()
    for index, ring in enumerate(machine.rings):
        os.close(ring.call_fd)
        ring.call_fd, call = os.pipe2(os.O_NONBLOCK)
        fe.tell_u64(vu.SET_VRING_CALL, index, [call])
        os.close(call)
        fe.tell(vu.SET_VRING_NUM, struct.pack("<II", index, ring.size))
        fe.tell(vu.SET_VRING_BASE, struct.pack("<II", index, 0))
        fe.tell(vu.SET_VRING_ADDR, machine.ring_address(index)[:-8] + b"\xff" * 8)
    for index, ring in enumerate(machine.rings):
        fe.tell_u64(vu.SET_VRING_KICK, index, [ring.kick_fd])
        machine.enable(index)
    machine.is_healthy()
    with Control(path) as control:
        control.must("set-output", output=0, width=1024, height=768, enabled=True)
    assert select.select([told], [], [], PATIENCE)[0]
    assert struct.unpack("<III", os.read(told, 12)) == (vu.BACKEND_CONFIG_CHANGE, 1, 0)
    assert machine.config_fields()[0] == 1
    os.close(told)
    machine.is_healthy()


def test_config_space(lab):
    machine = lab.machine("--outputs=3")
    events_read, events_clear, num_scanouts, num_capsets, _ = machine.config_fields()
    assert (events_read, events_clear, num_scanouts, num_capsets) == (0, 0, 3, 0)
    assert machine.config(8, 4) == struct.pack("<I", 3)
    assert machine.config(9, 2) == bytes(2)
    assert machine.config(0, 1) == bytes(1)


def test_config_write_has_no_effect_but_on_events(lab):
    machine = lab.machine()
    before = machine.config()
    for offset in range(0, 20, 4):
        machine.front_end.tell(vu.SET_CONFIG, struct.pack("<IIII", offset, 4, 0, 0xFFFFFFFF))
    assert machine.config() == before


def test_several_regions_and_a_picture_across_them(lab):
    """Two regions that touch: a buffer may begin in one and end in the next."""
    regions = [Region(0, 16 * MIB), Region(16 * MIB, 16 * MIB, user_addr=0x1000000000), Region(1 << 32, MIB)]
    machine = lab.console_machine(regions=regions)
    data, colours = gpu.pattern("B8G8R8X8", 64, 32)
    start = 16 * MIB - 4096
    resource = machine.new_resource()
    machine.must(gpu.create_2d(resource, 64, 32))
    machine.memory.write(start, data[:4096])
    machine.memory.write(16 * MIB, data[4096:])
    machine.must(gpu.attach_backing(resource, [(start, 8192)]))
    machine.must(gpu.transfer(resource, (0, 0, 64, 32)))
    machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 32)))
    machine.must(gpu.flush(resource, (0, 0, 64, 32)))
    machine.console.wait_for_pixels(colours)


def test_backing_above_four_gigabytes(lab):
    machine = lab.console_machine(regions=[Region(0, 16 * MIB), Region(5 << 32, MIB)])
    data, colours = gpu.pattern("B8G8R8X8", 64, 32)
    machine.memory.write(5 << 32, data)
    resource = machine.new_resource()
    machine.must(gpu.create_2d(resource, 64, 32))
    machine.must(gpu.attach_backing(resource, [(5 << 32, len(data))]))
    machine.must(gpu.transfer(resource, (0, 0, 64, 32)))
    machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 32)))
    machine.must(gpu.flush(resource, (0, 0, 64, 32)))
    machine.console.wait_for_pixels(colours)


@pytest.mark.parametrize("fd_offset", [4096, 0x10000, 12345 * 4096])
def test_region_inside_a_file(lab, fd_offset):
    machine = lab.machine(regions=[Region(0, 16 * MIB, fd_offset=fd_offset)])
    machine.is_healthy()


@pytest.mark.parametrize("protocol", [PROTOCOL_SETS["all"], PROTOCOL_SETS["mem-table"]], ids=["slots", "table"])
def test_memory_changes_while_queues_run(lab, protocol):
    """Hotplug: regions come and go, the rings stay where they are."""
    regions = [Region(0, 32 * MIB), Region(1 << 30, MIB), Region(2 << 30, MIB)]
    machine = lab.machine(protocol=protocol, regions=regions)
    resource = machine.new_resource()
    machine.must(gpu.create_2d(resource, 64, 64))
    machine.must(gpu.attach_backing(resource, [(1 << 30, 64 * 64 * 4)]))
    for _ in range(20):
        requests = [machine.submit(gpu.transfer(resource, (0, 0, 64, 64))) for _ in range(10)]
        if protocol & vu.P_CONFIGURE_MEM_SLOTS:
            machine.remove_region(regions[2])
            machine.add_region(regions[2])
        else:
            machine.show_memory(regions[:2])
            machine.show_memory()
        for request in requests:
            assert gpu.Response(machine.control.wait(request).data).ok


def test_table_swap_in_the_middle_of_a_burst(lab):
    """The same memory under another front end address: the rings are found again."""
    machine = lab.machine(protocol=PROTOCOL_SETS["mem-table"])
    region = machine.memory.regions[0]
    resource, _ = machine.picture(128, 128)
    for round_ in range(20):
        requests = [machine.submit(gpu.transfer(resource, (0, 0, 128, 128))) for _ in range(20)]
        region.user_addr = 0x7F00_0000_0000 + round_ * 0x1_0000_0000
        machine.show_memory()
        for request in requests:
            assert gpu.Response(machine.control.wait(request).data).ok


def test_many_slots(lab):
    """As many slots as the device says it has, minus the first."""
    machine = lab.machine()
    count = min(machine.max_slots - 1, 500)
    regions = [Region((1 << 32) + 0x10000 * index, 4096) for index in range(count)]
    for region in regions:
        machine.add_region(region)
    machine.is_healthy()
    for region in regions[::2] + regions[1::2]:
        machine.remove_region(region)
        region.close()
    machine.is_healthy()


def test_disabled_queue_takes_nothing(lab):
    machine = lab.machine()
    machine.enable(CONTROL, False)
    request = machine.submit(gpu.get_display_info())
    machine.move(gpu.move_cursor(0, 1, 1))  # the other queue runs
    machine.config()
    assert machine.control.device_used_idx() == machine.control.used_idx
    machine.enable(CONTROL)
    machine.control.wait(request)


def test_get_vring_base_in_the_middle_of_a_burst(lab):
    """What was not taken is taken after the restart; what was answered is not done again."""
    machine = lab.machine(features=DRIVER)
    resource, _ = machine.picture(256, 256)
    for burst in range(30):
        requests = [machine.submit(gpu.transfer(resource, (0, 0, 256, 256), fence=burst * 100 + n)) for n in range(30)]
        base = machine.stop_ring(CONTROL)
        finished = machine.control.device_used_idx()
        assert base == finished, "taken and neither answered nor left for later"
        machine.set_up_ring(CONTROL, base)
        machine.enable(CONTROL)
        for request in requests:
            assert gpu.Response(machine.control.wait(request).data).ok


def test_requests_in_flight_across_a_stop(lab):
    """A paused machine: what waits for something is neither answered meanwhile, nor forgotten, nor answered twice."""
    console = Console()
    machine = lab.console_machine(console=console)
    console.mute.add(display.GET_DISPLAY_INFO)
    asked = len(console.requests)
    requests = [machine.submit(gpu.get_display_info()) for _ in range(3)]
    poll(lambda: len(console.requests) > asked, "the console is asked")
    base = machine.stop_ring(CONTROL)
    used = machine.control.device_used_idx()
    assert base != used, "taken and waiting"
    console.mute.clear()
    console.answer(display.GET_DISPLAY_INFO)
    time.sleep(0.1)
    assert machine.control.device_used_idx() == used, "a stopped queue was written to"
    machine.set_up_ring(CONTROL, base)
    machine.enable(CONTROL)
    for request in requests:
        assert gpu.parse_display_info(gpu.Response(machine.control.wait(request).data)) is not None
    before = machine.control.device_used_idx()
    machine.is_healthy()
    assert machine.control.device_used_idx() == (before + 1) % 65536


def test_stopped_queue_writes_nothing_more(lab):
    machine = lab.machine()
    resource, _ = machine.picture(512, 512)
    for _ in range(10):
        for n in range(20):
            machine.submit(gpu.transfer(resource, (0, 0, 512, 512), fence=n))
        machine.stop_ring(CONTROL)
        area = machine.memory.read(machine.control.used, 6 + 8 * machine.control.size)
        machine.config()
        machine.front_end.ask_u64(vu.GET_FEATURES)
        assert machine.memory.read(machine.control.used, len(area)) == area
        machine.control.reset()
        machine.set_up_ring(CONTROL)
        machine.enable(CONTROL)
        machine.is_healthy()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_reset_device_forgets_everything(lab, busy):
    machine = lab.console_machine()
    data, colours = gpu.pattern("B8G8R8X8", 32, 32)
    for _ in range(5):
        machine.next_resource = 1  # an id that was not forgotten would be refused
        resource, _ = machine.picture(32, 32, data=data)
        machine.must(gpu.set_scanout(0, resource, (0, 0, 32, 32)))
        machine.must(gpu.flush(resource, (0, 0, 32, 32)))
        machine.console.wait_for_pixels(colours)
        if busy:
            for _ in range(40):
                machine.submit(gpu.transfer(resource, (0, 0, 32, 32), fence=1))
        machine.stop()
        machine.reset_device()
        machine.console, console = None, machine.console
        machine.restart()
        machine.console = console
        machine.must(gpu.create_2d(resource, 8, 8))
        machine.must(gpu.unref(resource))


def test_reset_device_without_stopping_first(lab):
    machine = lab.machine()
    resource, _ = machine.picture(256, 256)
    for n in range(30):
        machine.submit(gpu.transfer(resource, (0, 0, 256, 256), fence=n))
    machine.reset_device()
    for region in list(machine.memory_shown):
        machine.remove_region(region)
    machine.restart()
    machine.must(gpu.create_2d(resource, 8, 8))


def test_status_zero_is_a_reset(lab):
    """virtio's own way to reset: the driver writes 0 to the status."""
    machine = lab.machine()
    resource, _ = machine.picture(8, 8)
    machine.stop()
    machine.front_end.tell_u64(vu.SET_STATUS, 0)
    assert machine.front_end.ask_u64(vu.GET_STATUS) == 0
    machine.restart()
    machine.must(gpu.create_2d(resource, 8, 8))


def test_reboots(lab):
    machine = lab.machine()
    fds = machine.process.fd_count()
    for _ in range(25):
        resource, _ = machine.picture(64, 64)
        machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 64)))
        machine.must(gpu.flush(resource, (0, 0, 64, 64)))
        machine.stop()
        machine.reset_device()
        machine.restart()
        machine.is_healthy()
    poll(lambda: machine.process.fd_count() <= fds, f"back to {fds} fds")


def test_queues_work_one_at_a_time(lab):
    """A stopped cursor queue does not hold up the control queue, and the other way round."""
    machine = lab.machine()
    machine.stop_ring(CURSOR)
    machine.is_healthy()
    machine.set_up_ring(CURSOR)
    machine.enable(CURSOR)
    machine.stop_ring(CONTROL)
    machine.move(gpu.move_cursor(0, 1, 2))


def test_window_is_mapped_once_and_whole(lab):
    machine = lab.machine("--window=64M")
    assert machine.shmem[0] == 1 and machine.shmem[2 + 1] == 64 * MIB
    machine.back_channel.wait_for(vu.BACKEND_SHMEM_MAP)
    machine.is_healthy()
    machine.stop()
    machine.restart()
    machine.is_healthy()
    assert machine.back_channel.count(vu.BACKEND_SHMEM_UNMAP) in (0, machine.back_channel.count(vu.BACKEND_SHMEM_MAP) - 1)
    shmid, fd_offset, shm_offset, length, flags, fd = machine.back_channel.windows[0]
    assert (shmid, fd_offset, shm_offset, length, flags & 1) == (1, 0, 0, 64 * MIB, 1)
    assert os.fstat(fd).st_size == 64 * MIB


def test_window_refused_by_the_front_end(hostile):
    machine = hostile.new_machine("--window=64M", back_channel=vu.BackChannel(status=1))
    machine.realize().start()
    machine.back_channel.wait_for(vu.BACKEND_SHMEM_MAP)
    machine.is_healthy()


def test_no_window_no_shmem(lab):
    machine = lab.machine("--window=0")
    assert not machine.has(vu.P_SHMEM) or machine.shmem[0] == 0
    machine.is_healthy()
    assert not machine.back_channel or machine.back_channel.count(vu.BACKEND_SHMEM_MAP) == 0


def test_front_end_leaves_and_the_program_ends(lab):
    machine = lab.machine()
    machine.front_end.close()
    assert machine.process.wait() == 0


def test_front_end_leaves_before_it_said_anything(lab):
    machine = lab.new_machine()
    machine.front_end.close()
    assert machine.process.wait() == 0


def test_sigterm_at_every_stage(lab):
    for stage in range(4):
        machine = lab.new_machine()
        if stage >= 1:
            machine.realize()
        if stage >= 2:
            machine.start()
        if stage >= 3:
            resource, _ = machine.picture(512, 512)
            for _ in range(60):
                machine.submit(gpu.transfer(resource, (0, 0, 512, 512), fence=1))
        poll(lambda: machine.process.threads() > 1, "the program is up")
        assert machine.process.terminate() == 0


def test_keep_listening_serves_one_vm_after_the_other(lab):
    server = lab.server()
    server.count_idle_fds()
    for seed in range(10):
        with server.machine() as machine:
            machine.realize().start()
            assert machine.next_resource == 1
            data, _ = gpu.pattern("B8G8R8X8", 16, 16, seed)
            resource, _ = machine.picture(16, 16, data=data)
            machine.must(gpu.set_scanout(0, resource, (0, 0, 16, 16)))
    server.check_fds()
    assert server.process.is_alive()


def test_listening_program_ends_after_its_only_vm(lab):
    path = lab.path("once.sock")
    process = lab.start(f"--socket-path={path}")
    with Machine(process, connect(path)) as machine:
        machine.realize().start().is_healthy()
    assert process.wait() == 0


def test_idle_machine_uses_no_cpu(lab):
    """Nothing polls: with no request in flight no thread runs."""
    machine = lab.console_machine()
    resource, _ = machine.picture(64, 64)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 64)))
    machine.must(gpu.flush(resource, (0, 0, 64, 64)))
    machine.console.wait(lambda c: c.updates, "the picture")

    def switches():
        total = 0
        for task in os.listdir(f"/proc/{machine.process.pid}/task"):
            with open(f"/proc/{machine.process.pid}/task/{task}/status", encoding="ascii") as status:
                total += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
        return total

    if machine.process.has_sanitizer(b"__tsan_init"):
        pytest.skip("the thread sanitizer has a thread of its own that wakes up")

    # Any half second without wake-ups will do; a poller never has one.
    def quiet():
        before = switches()
        time.sleep(0.5)
        return switches() - before <= 2
    poll(quiet, "a quiet half second")


def test_two_front_ends_at_once_the_second_waits_or_is_refused(lab):
    server = lab.server()
    with server.machine() as first:
        first.realize().start()
        second = server.connect()
        first.is_healthy()
        second.close()
        first.is_healthy()

# SPDX-License-Identifier: MIT
"""vfio-user as QEMU and Cloud Hypervisor speak it: the PCI function, its registers, interrupts, memory, resets."""

import mmap
import os
import pathlib
import struct
import time

import pytest

from wirelib import gpu, ring as rings, vfio_user as vfio
from wirelib.control import Control
from wirelib.driver import CONTROL
from wirelib.memory import Region
from wirelib.process import connect, poll
from wirelib.vfio_user import BAR0, BAR2, CONFIG

MIB = 1 << 20
# Long enough for sanitizers on a busy machine, far from QEMU's 5 s.
PROMPTLY = 1.0


def capabilities(machine):
    """[(id, bytes)] of the list in the configuration space."""
    space, at, found = machine.config_space, machine.config_space[0x34], []
    while at:
        assert 0x40 <= at <= 0xFC and at % 4 == 0 and len(found) < 32
        length = {0x11: 12, 0x10: 60}.get(space[at], space[at + 2])
        found.append((space[at], space[at:at + length]))
        assert at + length <= 256 and (space[at + 1] == 0 or space[at + 1] >= at + length)
        at = space[at + 1]
    return found


def virtio_capabilities(machine):
    """{cfg_type: (bar, id, offset, length, rest)}"""
    return {cap[3]: (cap[4], cap[5], *struct.unpack_from("<II", cap, 8), cap[16:])
            for kind, cap in capabilities(machine) if kind == 0x09}


# What is there.

def test_configuration_space(lab):
    machine = lab.new_vfio_machine("--window=64M").realize()
    space = machine.config_space
    assert struct.unpack_from("<HH", space, 0) == (0x1AF4, 0x1050)
    assert space[0x08] >= 1 and space[0x09:0x0C] == b"\x00\x80\x03"
    assert struct.unpack_from("<H", space, 6)[0] & 0x10 and space[0x0E] == 0 and space[0x3D] == 0
    caps = virtio_capabilities(machine)
    assert [kind for kind, _ in capabilities(machine)].count(0x10) == 1
    common, notify, isr, device, access = (caps[kind] for kind in (1, 2, 3, 4, 5))
    for bar, _, offset, length, _ in (common, notify, isr, device):
        assert bar == 0 and offset + length <= machine.regions[BAR0][1] and offset % 4 == 0
    assert struct.unpack("<I", notify[4]) == (4,) and len(access[4]) == 4
    bar, shm_id, offset, length, high = caps[8]
    assert (bar, shm_id, offset, length, struct.unpack("<II", high)) == (2, 1, 0, 64 * MIB, (0, 0))
    assert machine.regions[BAR2] == (7, 64 * MIB) and os.fstat(machine.window_fd).st_size == 64 * MIB
    assert machine.regions[BAR0][0] == 3 and machine.regions[CONFIG] == (3, 4096)


def test_no_window(lab):
    machine = lab.new_vfio_machine("--window=0").realize()
    assert 8 not in virtio_capabilities(machine)
    assert machine.regions[BAR2] == (0, 0) and machine.window_fd is None
    machine.start().is_healthy()


def test_default_window_is_sparse(lab, monkeypatch):
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")  # the Vulkan driver's
    machine = lab.vfio_machine("--renderer=2d,venus")
    size = machine.regions[BAR2][1]
    if size == 0:
        pytest.skip("no Vulkan on this host")
    assert size >= 256 * MIB and size & (size - 1) == 0
    low, high = virtio_capabilities(machine)[8][3], struct.unpack("<II", virtio_capabilities(machine)[8][4])[1]
    assert high << 32 | low == size
    assert os.fstat(machine.window_fd).st_blocks == 0


@pytest.mark.parametrize("size", ["3M", "96M", "1"])
def test_impossible_windows(lab, size):
    code, _, errors = lab.run("vfio-user", "--socket-path=/tmp/never.sock", f"--window={size}")
    assert code == 2 and "--window" in errors


def test_bars_are_sized_as_pci_says(lab):
    """Cloud Hypervisor writes ones and reads back."""
    machine = lab.new_vfio_machine("--window=64M").realize()

    def sized(offset):
        before = machine.get(offset, 4, CONFIG)
        machine.set(offset, 0xFFFFFFFF, 4, CONFIG)
        value = machine.get(offset, 4, CONFIG)
        machine.set(offset, before, 4, CONFIG)
        assert machine.get(offset, 4, CONFIG) == before
        return value
    assert sized(0x10) == 0x100000000 - 0x8000
    assert sized(0x14) == 0
    assert sized(0x18) == 0x100000000 - 64 * MIB | 0xC
    assert sized(0x1C) == 0xFFFFFFFF
    assert sized(0x20) == sized(0x24) == sized(0x30) == 0


def test_read_only_bits_stay(lab):
    machine = lab.new_vfio_machine().realize()
    for offset in range(0, 256, 4):
        if offset not in (0x90 + 16, 0xC8):  # a register behind it; the reset bit
            machine.set(offset, 0xFFFFFFFF, 4, CONFIG)
    after = machine.client.read(CONFIG, 0, 256)
    for start, end in ((0, 4), (6, 0x0C), (0x0D, 0x10), (0x2C, 0x3C), (0x3D, 0x42), (0x44, 0x94), (0xA4, 0xC8)):
        assert after[start:end] == machine.config_space[start:end], hex(start)


def test_registers_through_the_configuration_space(lab):
    """The capability for firmware that cannot reach BARs (virtio 1.3, 4.1.4.9)."""
    machine = lab.vfio_machine()
    at = 0x90

    def point(offset, size, bar=0):
        machine.set(at + 4, bar, 1, CONFIG)
        machine.set(at + 8, offset, 4, CONFIG)
        machine.set(at + 12, size, 4, CONFIG)
    point(vfio.STATUS, 1)
    assert machine.get(at + 16, 1, CONFIG) == 0x0F
    point(vfio.NUM_QUEUES, 2)
    assert machine.get(at + 16, 2, CONFIG) == 2
    point(vfio.QUEUE_SELECT, 2)
    machine.set(at + 16, 1, 2, CONFIG)
    assert machine.get(vfio.QUEUE_SELECT, 2) == 1
    request = machine.submit(gpu.get_display_info(), kick=False)
    point(0x3000, 2)
    machine.set(at + 16, 0, 2, CONFIG)
    machine.control.wait(request)
    for offset, size, bar in ((0x10000, 4, 0), (0xFFFFFFFF, 4, 0), (0, 3, 0), (1, 4, 0), (0, 4, 2), (0, 4, 9)):
        point(offset, size, bar)
        machine.get(at + 16, 4, CONFIG)
        machine.set(at + 16, 0, 4, CONFIG)
    machine.is_healthy()


def test_cloud_hypervisor(lab):
    """Its own way through the handshake (crate vfio_user): sizes of replies are read exactly."""
    machine = lab.new_vfio_machine("--window=64M")
    client = machine.client
    answer = client.negotiate({"max_msg_fds": 1, "max_data_xfer_size": 1048576, "migration": {"pgsize": 4096}})
    # It takes its own keys from the top level, so none of ours there may have another meaning.
    assert set(answer) <= {"capabilities"}
    number = client.send(vfio.GET_INFO, struct.pack("<IIIII", 36, 0, 0, 0, 0))
    info, _ = client.reply(number, vfio.GET_INFO)
    assert len(info) == 20 and struct.unpack("<IIIII", info)[4] == 0
    for index in range(struct.unpack("<IIIII", info)[2]):
        _, size, fd = client.region_info(index)
        if fd is not None:
            assert index == 2 and size == 64 * MIB
            os.close(fd)
    client.reset()
    for index in range(5):
        client.irq_count(index)
    machine.map_memory()
    machine.start()
    machine.is_healthy()
    # Disabling all MSI-X, then INTx, which is not there.
    client.set_irqs(vfio.TRIGGER | vfio.DATA_NONE)
    client.set_irqs(vfio.TRIGGER | vfio.DATA_NONE, index=0)


# The driver.

@pytest.mark.parametrize("posted", [False, True], ids=["answered", "posted"])
@pytest.mark.parametrize("without", [0, rings.F_EVENT_IDX, rings.F_INDIRECT_DESC | rings.F_EVENT_IDX],
                         ids=["all", "no-event-idx", "plain"])
def test_commands(lab, posted, without):
    machine = lab.vfio_machine(features=vfio.FEATURES & ~without, posted=posted)
    data, _ = gpu.pattern("B8G8R8X8", 64, 64)
    resource, _ = machine.picture(64, 64, data=data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 64)))
    for _ in range(200):
        machine.must(gpu.flush(resource, (0, 0, 64, 64)))
    machine.move(gpu.move_cursor(0, 1, 2))
    assert machine.control.kicks > 0


def test_posted_writes_come_in_bunches(lab):
    machine = lab.vfio_machine("--window=0", posted=True)
    requests = [machine.submit(gpu.get_display_info(), kick=False) for _ in range(20)]
    machine.client.post_many([(BAR0, 0x3000, struct.pack("<H", 0))] * 200)
    for request in requests:
        machine.control.wait(request)
    assert machine.client.is_quiet()


def test_a_whole_start_in_one_bunch(lab):
    """More resets and starts in one message than there can be operations at once."""
    machine = lab.vfio_machine("--window=0")
    writes = []
    for _ in range(60):
        writes += [(BAR0, vfio.STATUS, bytes([0]))]
        for word in range(2):
            writes += [(BAR0, vfio.DRIVER_FEATURE_SELECT, struct.pack("<I", word)),
                       (BAR0, vfio.DRIVER_FEATURE_BITS, struct.pack("<I", machine.features >> 32 * word & 0xFFFFFFFF))]
        writes += [(BAR0, vfio.STATUS, bytes([11]))]
        for index, ring in enumerate(machine.rings):
            writes += [(BAR0, vfio.QUEUE_SELECT, struct.pack("<H", index)),
                       (BAR0, vfio.QUEUE_SIZE, struct.pack("<H", ring.size)),
                       (BAR0, vfio.QUEUE_VECTOR, struct.pack("<H", index + 1))]
            for offset, addr in ((32, ring.desc), (40, ring.avail), (48, ring.used)):
                writes += [(BAR0, offset, struct.pack("<Q", addr))]
            writes += [(BAR0, vfio.QUEUE_ENABLE, struct.pack("<H", 1))]
        writes += [(BAR0, vfio.STATUS, bytes([15]))]
    machine.reset_registers()
    for ring in machine.rings:
        ring.reset()
    machine.client.post_many(writes)
    assert machine.status() == 15
    # The device may still be at the first of them; one that is waited for comes behind all.
    machine.restart()
    machine.is_healthy()


def test_features_that_were_not_offered(hostile):
    machine = hostile.new_vfio_machine().realize()
    machine.reset_registers()
    assert not machine.choose_features(1 << 32 | 1 << 27)
    assert not machine.choose_features(gpu.F_EDID)  # without VERSION_1
    assert machine.choose_features(1 << 32 | gpu.F_EDID)
    machine.restart()
    machine.is_healthy()


def test_features_are_settled(lab):
    machine = lab.vfio_machine()
    machine.set(vfio.DRIVER_FEATURE_SELECT, 0, 4)
    machine.set(vfio.DRIVER_FEATURE_BITS, 0, 4)
    assert machine.get(vfio.DRIVER_FEATURE_BITS, 4) == machine.features & 0xFFFFFFFF


def test_registers_that_are_not_there(hostile):
    machine = hostile.vfio_machine()
    machine.set(vfio.QUEUE_SELECT, 7, 2)
    assert machine.get(vfio.QUEUE_SIZE, 2) == 0 and machine.get(vfio.QUEUE_VECTOR, 2) == vfio.NO_VECTOR
    for offset in range(0, 64):
        machine.get(offset, 1)
        machine.get(offset, 4)
    machine.set(vfio.QUEUE_SIZE, 8, 2)
    machine.set(vfio.CONFIG_VECTOR, 3, 2)
    assert machine.get(vfio.CONFIG_VECTOR, 2) == vfio.NO_VECTOR
    machine.set(vfio.DEVICE_FEATURE_SELECT, 9, 4)
    assert machine.get(vfio.DEVICE_FEATURE_BITS, 4) == 0
    for offset, size in ((0x0FFE, 4), (0x7FFC, 4), (0x3001, 2), (0x3FFC, 4), (0x4000, 4), (0x5000, 8), (0x1000, 1), (56, 8)):
        machine.get(offset, size)
        machine.set(offset, 0xFF, size)
    machine.is_healthy()


def test_queue_fields(hostile):
    machine = hostile.new_vfio_machine().realize()
    machine.reset_registers()
    machine.choose_features()
    machine.set(vfio.QUEUE_SELECT, 0, 2)
    largest = machine.get(vfio.QUEUE_SIZE, 2)
    for size in (0, 3, largest * 2, 0xFFFF):
        machine.set(vfio.QUEUE_SIZE, size, 2)
        assert machine.get(vfio.QUEUE_SIZE, 2) == largest
    machine.set_up_queue(CONTROL)
    # What is enabled stays as it is.
    machine.set(vfio.QUEUE_SIZE, 16, 2)
    machine.set(vfio.QUEUE_DESC, 0x1234000, 4)
    machine.set(vfio.QUEUE_ENABLE, 0, 2)
    assert machine.get(vfio.QUEUE_SIZE, 2) == machine.control.size
    assert machine.get(vfio.QUEUE_DESC, 4) == machine.control.desc and machine.get(vfio.QUEUE_ENABLE, 2) == 1


def test_nothing_is_taken_before_driver_ok(lab):
    machine = lab.new_vfio_machine().realize()
    machine.reset_registers()
    machine.set(vfio.STATUS, 3, 1)
    machine.choose_features()
    machine.set_vectors()
    for index in range(2):
        machine.set_up_queue(index)
    request = machine.submit(gpu.get_display_info())
    time.sleep(0.05)
    assert machine.control.device_used_idx() == 0
    machine.set(vfio.STATUS, 15, 1)
    machine.control.wait(request)


def test_a_broken_ring_needs_a_reset(hostile):
    machine = hostile.vfio_machine()
    machine.control.set_avail_idx(machine.control.avail_idx + 1000)
    machine.notify(CONTROL)
    poll(lambda: machine.status() & vfio.NEEDS_RESET, "DEVICE_NEEDS_RESET")
    poll(machine.take_config_interrupts, "the interrupt that says so")
    machine.restart()
    assert machine.status() == 15
    machine.is_healthy()


def test_isr_status_is_read_and_cleared(lab):
    machine = lab.vfio_machine()
    machine.is_healthy()
    assert machine.get(0x1000, 1) & 1
    assert machine.get(0x1000, 1) == 0


# Interrupts.

def test_vectors_can_be_replaced_at_any_time(lab):
    """An interrupt that falls between two sets of fds is not lost."""
    machine = lab.vfio_machine(features=vfio.FEATURES & ~rings.F_EVENT_IDX)
    for _ in range(30):
        request = machine.submit(gpu.get_display_info())
        machine.set_vectors()
        machine.control.wait(request)


def test_vectors_are_closed(lab):
    machine = lab.vfio_machine()
    before = machine.process.fd_count()
    for _ in range(20):
        machine.set_vectors()
    machine.is_healthy()
    assert machine.process.fd_count() == before
    machine.set_vectors_off()
    machine.client.read(CONFIG, 0, 4)
    poll(lambda: machine.process.fd_count() == before - 5, "three fds and the queues' copies are closed")


def test_loopback_triggers(lab):
    machine = lab.vfio_machine()
    machine.take_config_interrupts()
    machine.client.set_irqs(vfio.TRIGGER | vfio.DATA_NONE, 0, 1)
    assert machine.take_config_interrupts()
    machine.client.set_irqs(vfio.TRIGGER | vfio.DATA_BOOL, 0, 2, data=b"\0\1")
    assert not machine.take_config_interrupts() and machine.control.take_calls()


def test_wrong_interrupts(hostile):
    machine = hostile.vfio_machine()
    fd = machine.vectors[0]
    with open("/dev/null", "rb") as null, open(__file__, "rb") as file:
        for arguments in (dict(flags=0x24, start=3, count=1, fds=[fd]), dict(flags=0x24, start=0, count=4, fds=[fd] * 4),
                          dict(flags=0x24, start=0xFFFFFFFF, count=2), dict(flags=0x24, count=2, fds=[fd]),
                          dict(flags=0x28), dict(flags=0x30), dict(flags=0x0C, count=1), dict(flags=0x3F, count=1),
                          dict(flags=0x22, count=2, data=b"\1"), dict(flags=0x21, count=1, index=1),
                          dict(flags=0x21, index=9), dict(flags=0x24, count=1, fds=[null.fileno()]),
                          dict(flags=0x24, count=1, fds=[file.fileno()]), dict(flags=0x21, count=1, fds=[fd])):
            with pytest.raises(vfio.Refused) as refused:
                machine.client.set_irqs(**arguments)
            assert refused.value.error == vfio.EINVAL
    machine.is_healthy()


def test_config_changes(lab):
    """Another monitor: interrupt on vector 0, an event to read and clear, another generation."""
    path = lab.path("control.sock")
    machine = lab.vfio_machine(f"--control={path}")
    poll(path.exists, "the control socket")
    generation = machine.get(vfio.GENERATION, 1)
    with Control(path) as client:
        client.must("set-output", output=0, enabled=True, width=800, height=600)
    poll(machine.take_config_interrupts, "the interrupt")
    assert machine.config_fields()[0] == 1 and machine.get(vfio.GENERATION, 1) != generation
    assert machine.get(0x1000, 1) & 2
    machine.set(0x2004, 1, 4)
    poll(lambda: machine.config_fields()[0] == 0, "the event is cleared")
    assert gpu.parse_display_info(machine.command(gpu.get_display_info()))[0][2:4] == (800, 600)


# Memory.

def mappings(machine):
    """How often the guest's RAM is mapped in our process."""
    inode = os.fstat(machine.memory.regions[0].fd).st_ino
    lines = pathlib.Path(f"/proc/{machine.process.pid}/maps").read_text().splitlines()
    return sum(1 for line in lines if len(line.split()) > 4 and line.split()[4] == str(inode))


def test_pieces_of_one_file_are_mapped_once(lab):
    """What firmware does with the first megabyte."""
    machine = lab.new_vfio_machine()
    machine.client.negotiate()
    ram = machine.memory.regions[0]
    pieces = [(0, 0xC0000), (0xC0000, 0x40000), (0x100000, ram.size - 0x100000)]
    for start, size in pieces:
        machine.client.dma_map(start, size, ram.fd, start)
    for _ in range(30):
        machine.client.dma_unmap(*pieces[0])
        machine.client.dma_map(0, 0xC0000, ram.fd, 0)
        machine.client.dma_unmap(*pieces[1])
        machine.client.dma_map(0xC0000, 0x20000, flags=vfio.READ)  # a ROM, which nobody shares
        machine.client.dma_map(0xE0000, 0x20000, ram.fd, 0xE0000, flags=vfio.READ)
        machine.client.dma_unmap(0xC0000, 0x40000)
        machine.client.dma_map(0xC0000, 0x40000, ram.fd, 0xC0000)
    assert mappings(machine) == 1
    machine.start().is_healthy()
    machine.client.dma_unmap(0, 0, flags=vfio.UNMAP_ALL)
    poll(lambda: mappings(machine) == 0, "all is unmapped")


def test_memory_goes_and_comes_back_under_a_running_driver(lab):
    machine = lab.vfio_machine()
    resource, _ = machine.picture(128, 128)
    for _ in range(20):
        requests = [machine.submit(gpu.transfer(resource, (0, 0, 128, 128))) for _ in range(10)]
        machine.unmap_memory()
        machine.map_memory()
        for request in requests:
            assert gpu.Response(machine.control.wait(request).data).ok


def test_unmapped_memory_is_not_touched_after_the_answer(lab):
    machine = lab.vfio_machine()
    resource, _ = machine.picture(512, 512)
    for _ in range(10):
        for n in range(20):
            machine.submit(gpu.transfer(resource, (0, 0, 512, 512), fence=n))
        machine.unmap_memory()
        area = machine.memory.read(machine.control.used, 6 + 8 * machine.control.size)
        time.sleep(0.005)
        assert machine.memory.read(machine.control.used, len(area)) == area
        machine.map_memory()
        machine.restart()
        resource, _ = machine.picture(512, 512)


def test_overlaps_of_a_moment(lab):
    """Both shapes of a region while the VMM changes it: the newer one counts."""
    machine = lab.vfio_machine()
    ram = machine.memory.regions[0]
    other = Region(0, ram.size)
    try:
        machine.client.dma_map(0, ram.size, other.fd)
        request = machine.submit(gpu.get_display_info(), kick=False)
        machine.client.dma_unmap(0, 0, flags=vfio.UNMAP_ALL)
        machine.map_memory()
        machine.notify(CONTROL)
        machine.control.wait(request)
    finally:
        other.close()


def test_the_windows_own_bar_is_no_memory(hostile):
    machine = hostile.vfio_machine("--window=64M")
    machine.client.dma_map(1 << 40, 64 * MIB)  # as QEMU shows it, without an fd
    machine.client.dma_map(1 << 41, 64 * MIB, machine.window_fd)
    machine.must(gpu.create_2d(1, 8, 8))
    machine.command(gpu.attach_backing(1, [(1 << 41, 4096)]))
    machine.must_fail(gpu.transfer(1, (0, 0, 8, 8)))
    machine.is_healthy()
    machine.client.dma_unmap(1 << 40, 64 * MIB)
    machine.client.dma_unmap(1 << 41, 64 * MIB)
    machine.client.dma_unmap(1 << 42, 4096)  # of nothing


def test_wrong_maps(hostile):
    machine = hostile.vfio_machine()
    client, ram = machine.client, machine.memory.regions[0]
    wrong = [(0, 0, ram.fd, 0), (2**64 - 4096, 8192, ram.fd, 0), (1 << 40, 4096, ram.fd, 2**64 - 1),
             (1 << 40, ram.size + 1, ram.fd, 0), (1 << 40, ram.size, ram.fd, 1), (1 << 40, 4096, machine.vectors[0], 0)]
    for addr, size, fd, offset in wrong:
        with pytest.raises(vfio.Refused):
            client.dma_map(addr, size, fd, offset)
    for addr, size, flags in ((4096, 4096, 0), (0, 4096, 0), (0, 0, 0), (1, 1, vfio.UNMAP_ALL), (0, ram.size, 1), (0, ram.size, 8)):
        with pytest.raises(vfio.Refused):
            client.dma_unmap(addr, size, flags)
    machine.is_healthy()


def test_as_many_maps_as_we_said(hostile):
    machine = hostile.vfio_machine()
    fd = machine.memory.regions[0].fd
    limit = machine.capabilities["max_dma_maps"]
    for n in range(limit - 1):
        machine.client.dma_map((1 << 32) + n * 8192, 4096, fd)
    with pytest.raises(vfio.Refused):
        machine.client.dma_map(1 << 50, 4096, fd)
    machine.is_healthy()
    assert mappings(machine) == 1
    machine.client.dma_unmap(1 << 32, limit * 8192)
    machine.is_healthy()


def test_memory_that_is_not_shared(lab):
    """share=off: the fd comes, but what the guest writes goes elsewhere. The log says what to do."""
    lab.hostile = True
    machine = lab.new_vfio_machine().realize()
    ram = machine.memory.regions[0]
    ram.map.close()
    ram.map = mmap.mmap(ram.fd, ram.size, mmap.MAP_PRIVATE)
    machine.start()
    machine.submit(gpu.get_display_info(), kick=False)
    machine.notify(CONTROL)
    machine.process.wait_for_log(lambda lines: any("share=on" in line for line in lines), "advice")


def test_memory_without_an_fd(lab):
    lab.hostile = True
    machine = lab.new_vfio_machine()
    machine.client.negotiate()
    machine.client.dma_map(0, 64 * MIB)
    machine.start()
    machine.process.wait_for_log(lambda lines: any("share=on" in line for line in lines), "advice")
    assert machine.status() == 15


def test_memory_file_is_cut_short(hostile):
    machine = hostile.vfio_machine()
    resource, spans = machine.picture(256, 256)
    os.ftruncate(machine.memory.regions[0].fd, 4096)
    machine.notify(CONTROL)
    assert machine.client.has_closed()


# The window.

def test_window_by_messages(lab):
    """For a VMM that does not map it: the same bytes."""
    machine = lab.vfio_machine("--window=64M")
    machine.client.write(BAR2, 12345, b"from the guest")
    with mmap.mmap(machine.window_fd, 64 * MIB) as window:
        assert window[12345:12345 + 14] == b"from the guest"
        window[64 * MIB - 4:] = b"ours"
    assert machine.client.read(BAR2, 64 * MIB - 4, 4) == b"ours"
    assert machine.client.read(BAR2, 0, 65536) == bytes(12345) + b"from the guest" + bytes(65536 - 12345 - 14)


# Reset.

@pytest.mark.parametrize("how", ["status", "message", "flr", "reboot"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_reset_forgets_everything(lab, how, busy):
    machine = lab.vfio_machine()
    fds = machine.process.fd_count()
    for _ in range(5):
        machine.next_resource = 1  # an id that was not forgotten would be refused
        resource, _ = machine.picture(512, 512)
        machine.must(gpu.set_scanout(0, resource, (0, 0, 512, 512)))
        for n in range(20 if busy else 0):
            machine.submit(gpu.transfer(resource, (0, 0, 512, 512), fence=n))
        if how == "status":
            machine.reset_registers()
        elif how == "message":
            machine.client.reset()
        elif how == "flr":
            machine.set(0xC8, 0x8000 | 0x2010, 2, CONFIG)
            assert not machine.get(0xC8, 2, CONFIG) & 0x8000
        else:
            machine.reset_registers()
            machine.reset()
            machine.unmap_memory()
            machine.map_memory()
        poll(lambda: machine.status() == 0, "status 0")
        assert machine.get(vfio.QUEUE_ENABLE, 2) == 0 and machine.get(vfio.CONFIG_VECTOR, 2) == vfio.NO_VECTOR
        machine.restart()
        machine.is_healthy()
    poll(lambda: machine.process.fd_count() <= fds, f"back to {fds} fds")


def test_flr_keeps_the_bars(lab):
    machine = lab.vfio_machine()
    machine.set(0x10, 0xFE000000, 4, CONFIG)
    machine.set(0xC8, 0x8000, 2, CONFIG)
    assert machine.get(0x10, 4, CONFIG) == 0xFE000000


def test_after_a_reset_nothing_is_written(lab):
    machine = lab.vfio_machine()
    resource, _ = machine.picture(512, 512)
    for n in range(30):
        machine.submit(gpu.transfer(resource, (0, 0, 512, 512), fence=n))
    machine.reset_registers()
    area = machine.memory.read(machine.control.used, 6 + 8 * machine.control.size)
    time.sleep(0.02)
    assert machine.memory.read(machine.control.used, len(area)) == area


# Promptness.

def test_answers_come_at_once_while_the_device_is_busy(lab):
    """
    A virtual CPU, and all of QEMU with it, waits for each of these. The best of some rounds: a busy host delays an answer
    now and then, a wait for the device delays one in each.
    """
    machine = lab.vfio_machine("--max-host-memory=2G")
    resource, _ = machine.picture(2048, 2048)

    def worst_of_a_round():
        worst = 0.0
        for n in range(30):
            machine.submit(gpu.transfer(resource, (0, 0, 2048, 2048), fence=n))
            for question in (lambda: machine.notify(CONTROL), machine.status, machine.config_fields,
                             lambda: machine.set(0x2004, 0, 4), lambda: machine.client.read(CONFIG, 0, 256)):
                before = time.monotonic()
                question()
                worst = max(worst, time.monotonic() - before)
        poll(lambda: machine.control.reap() is not None and not machine.control.in_flight, "the transfers end", 60)
        return worst

    rounds = []
    while len(rounds) < 5 and not (rounds and min(rounds) < PROMPTLY / 4):
        rounds.append(worst_of_a_round())
    assert min(rounds) < PROMPTLY / 4, rounds


def test_doorbells_are_not_rung_while_we_work(lab):
    """The driver is asked not to: a hundred requests cost a few messages."""
    machine = lab.vfio_machine("--max-host-memory=2G", features=vfio.FEATURES & ~rings.F_INDIRECT_DESC, ring_size=256)
    resource, _ = machine.picture(2048, 2048)
    before = machine.control.kicks
    requests = [machine.submit(gpu.transfer(resource, (0, 0, 2048, 2048))) for _ in range(40)]
    for request in requests:
        machine.control.wait(request)
    assert machine.control.kicks - before < 40


def test_idle_machine_uses_no_cpu(lab):
    machine = lab.vfio_machine()

    def quiet():
        before = machine.process.cpu_seconds()
        time.sleep(0.3)
        return machine.process.cpu_seconds() == before
    poll(quiet, "no processor time")


# Front ends come and go.

def test_front_end_leaves_and_the_program_ends(lab):
    for stage in range(3):
        machine = lab.new_vfio_machine()
        if stage >= 1:
            machine.realize()
        if stage >= 2:
            machine.start()
            machine.is_healthy()
        machine.client.close()
        assert machine.process.wait() == 0


def test_keep_listening_serves_one_vm_after_the_other(lab):
    path = lab.path("vfio.sock")
    process = lab.start(f"--socket-path={path}", "--keep-listening", verb="vfio-user")
    poll(path.exists, "the socket")
    counts = []
    for _ in range(6):
        with vfio.VfioMachine(process, connect(path)) as machine:
            machine.realize().start().is_healthy()
            resource, _ = machine.picture(16, 16)
            assert resource == 1
        poll(lambda: process.fd_count() <= (counts[0] if counts else 1000), "fds are closed")
        time.sleep(0.05)
        counts.append(process.fd_count())


def test_status_names_the_front_end(lab):
    path = lab.path("control.sock")
    machine = lab.vfio_machine(f"--control={path}", "--window=64M")
    poll(path.exists, "the control socket")
    assert machine.is_healthy()
    with Control(path) as client:
        front_end = client.must("status")["status"]["front_end"]
    assert front_end["kind"] == "vfio-user" and front_end["connected"] and front_end["window_mapped"]
    assert front_end["memory_bytes"] == machine.memory.regions[0].size and front_end["doorbells"] > 0


# What is not vfio-user.

def test_errors_are_answered_and_the_connection_stays(hostile):
    """Closing it could take the whole VM down."""
    machine = hostile.vfio_machine()
    access = struct.Struct("<QII")
    wrong = [(0, b""), (17, b""), (999, b"x" * 100), (vfio.GET_REGION_IO_FDS, bytes(16)), (vfio.DMA_READ, bytes(16)),
             (vfio.DIRTY_PAGES, bytes(8)), (vfio.DEVICE_FEATURE, struct.pack("<II", 8, 0x50000)),
             (vfio.GET_INFO, bytes(16)), (vfio.GET_INFO, struct.pack("<I", 16) + bytes(40)), (vfio.GET_INFO, b""),
             (vfio.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, 9, 0, 0, 0)), (vfio.GET_REGION_INFO, bytes(32)),
             (vfio.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, 5, 0)), (vfio.RESET, b"x"),
             (vfio.REGION_READ, access.pack(0, 9, 4)), (vfio.REGION_READ, access.pack(0x8000, 0, 1)),
             (vfio.REGION_READ, access.pack(2**64 - 1, 0, 4)), (vfio.REGION_READ, access.pack(0, 1, 4)),
             (vfio.REGION_READ, access.pack(0, 7, 4097)), (vfio.REGION_READ, access.pack(0, 2, 65537)),
             (vfio.REGION_WRITE, access.pack(0, 0, 4) + b"abc"), (vfio.REGION_WRITE, access.pack(4095, 7, 4) + b"abcd"),
             (vfio.REGION_WRITE_MULTI, struct.pack("<Q", 2**61)), (vfio.REGION_WRITE_MULTI, struct.pack("<Q", 1) + bytes(23)),
             (vfio.REGION_WRITE_MULTI, struct.pack("<QQII8s", 1, 0, 0, 9, b"")), (vfio.VERSION, struct.pack("<HH", 1, 0) + b"\0"),
             (vfio.VERSION, struct.pack("<HH", 0, 0) + b"{}")]
    for command, payload in wrong:
        with pytest.raises(vfio.Refused) as refused:
            machine.client.ask(command, payload)
        assert refused.value.error in (vfio.EINVAL, vfio.ENOTSUP), command
        # Where no answer is wanted, none comes.
        machine.client.send(command, payload, flags=vfio.NO_REPLY)
    machine.is_healthy()
    assert machine.client.is_quiet()


def test_nothing_before_the_version(hostile):
    machine = hostile.new_vfio_machine()
    for command in (vfio.RESET, vfio.GET_INFO):
        with pytest.raises(vfio.Refused):
            machine.client.ask(command, b"" if command == vfio.RESET else struct.pack("<IIII", 16, 0, 0, 0))
    machine.realize().start().is_healthy()


@pytest.mark.parametrize("header", [
    struct.pack("<HHIII", 1, 1, 15, 0, 0), struct.pack("<HHIII", 1, 1, 0, 0, 0), struct.pack("<HHIII", 1, 10, 0xFFFFFFFF, 0, 0),
    struct.pack("<HHIII", 1, 10, 16 + 16 + 65537, 0, 0), struct.pack("<HHIII", 1, 1, 16, 1, 0), struct.pack("<HHIII", 1, 1, 16, 2, 0),
    b"\xff" * 16], ids=["short", "zero", "huge", "too-long", "reply", "type", "ones"])
def test_streams_that_cannot_be_understood(hostile, header):
    machine = hostile.new_vfio_machine()
    machine.client.send_raw(header)
    assert machine.client.has_closed()
    machine.process.check_one_complaint()


def test_fds_where_none_belong(hostile):
    machine = hostile.vfio_machine()
    before = machine.process.fd_count()
    for command, payload in ((vfio.RESET, b""), (vfio.REGION_READ, struct.pack("<QII", 0, 7, 4)), (77, b"")):
        with pytest.raises(vfio.Refused):
            machine.client.ask(command, payload, [machine.vectors[0]] * 16)
    with pytest.raises(vfio.Refused):
        machine.client.ask(vfio.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 1 << 40, 4096), [machine.memory.regions[0].fd] * 2)
    assert machine.process.fd_count() == before
    machine.is_healthy() if machine.status() == 15 else machine.restart().is_healthy()


def test_messages_in_single_bytes(lab):
    machine = lab.vfio_machine()
    client = machine.client
    for _ in range(3):
        client.next_id += 1
        message = struct.pack("<HHIIIQII", client.next_id, vfio.REGION_READ, 32, 0, 0, 0, CONFIG, 4)
        for at in range(len(message)):
            client.send_raw(message[at:at + 1])
        assert client.reply(client.next_id, vfio.REGION_READ)[0][16:] == struct.pack("<HH", 0x1AF4, 0x1050)


@pytest.mark.parametrize("cut", [1, 15, 16, 20, 31])
def test_left_in_the_middle_of_a_message(hostile, cut):
    machine = hostile.vfio_machine()
    machine.client.send_raw(struct.pack("<HHIIIQII", 9, vfio.REGION_READ, 32, 0, 0, 0, CONFIG, 4)[:cut])
    machine.client.close()
    assert machine.process.wait() in (0, 1)


def test_a_front_end_that_does_not_read(hostile):
    """It fills its own socket, and no memory of ours."""
    machine = hostile.vfio_machine("--window=64M")
    before = machine.process.rss_bytes()
    machine.client.sock.settimeout(0.5)
    request = struct.pack("<QII", 0, BAR2, 65536)
    with pytest.raises((TimeoutError, BlockingIOError)):
        for _ in range(100000):
            machine.client.send(vfio.REGION_READ, request)
    assert machine.process.rss_bytes() - before < 16 * MIB
    assert machine.process.terminate() in (0, 1)

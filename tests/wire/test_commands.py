# SPDX-License-Identifier: MIT
"""A well-behaved guest: the 2D commands, their answers and their pixels."""

import pytest

from wirelib import gpu
from wirelib.console import Console
from wirelib.machine import CURSOR, DRIVER
from wirelib.process import poll


def test_display_info_shows_one_enabled_head(lab):
    machine = lab.machine()
    heads = gpu.parse_display_info(machine.must(gpu.get_display_info()))
    assert heads[0][4] == 1 and heads[0][2] > 0 and heads[0][3] > 0
    assert all(head == (0, 0, 0, 0, 0) for head in heads[1:])


def test_sixteen_heads(lab):
    machine = lab.machine("--outputs=16")
    assert machine.config_fields()[2] == 16
    for head in range(16):
        edid = gpu.parse_edid(machine.must(gpu.get_edid(head)))
        assert edid[:8] == bytes.fromhex("00ffffffffffff00")
        resource, _ = machine.picture(16 + head, 16)
        machine.must(gpu.set_scanout(head, resource, (0, 0, 16 + head, 16)))
        machine.must(gpu.flush(resource, (0, 0, 16 + head, 16)))


def test_edid_is_valid_and_has_the_preferred_mode(lab):
    machine = lab.machine("--size=1600x900")
    heads = gpu.parse_display_info(machine.must(gpu.get_display_info()))
    assert heads[0][2:4] == (1600, 900)
    edid = gpu.parse_edid(machine.must(gpu.get_edid(0)))
    for block in range(0, len(edid), 128):
        assert sum(edid[block:block + 128]) % 256 == 0
    timing = edid[54:72]
    assert timing[2] | (timing[4] & 0xF0) << 4 == 1600
    assert timing[5] | (timing[7] & 0xF0) << 4 == 900


def test_every_resource_gets_a_uuid_of_its_own(lab):
    machine = lab.machine()
    uuids = set()
    for _ in range(8):
        resource, _ = machine.picture(8, 8)
        response = machine.must(gpu.assign_uuid(resource))
        assert response.kind == gpu.OK_UUID and len(response.body) == 16
        assert machine.must(gpu.assign_uuid(resource)).body == response.body
        uuids.add(response.body)
    assert len(uuids) == 8 and bytes(16) not in uuids


@pytest.mark.parametrize("name", sorted(gpu.FORMATS))
def test_pixels_of_each_format(lab, name):
    machine = lab.console_machine()
    data, colours = gpu.pattern(name, 33, 17)
    resource, _ = machine.picture(33, 17, name, data, pieces=3)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 33, 17)))
    machine.must(gpu.flush(resource, (0, 0, 33, 17)))
    machine.console.wait_for_pixels(colours)


def test_transfer_of_a_part_reads_with_the_pictures_stride(lab):
    machine = lab.console_machine()
    data, colours = gpu.pattern("B8G8R8X8", 40, 20)
    resource, spans = machine.picture(40, 20, data=bytes(40 * 20 * 4))
    machine.fill(spans, data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 40, 20)))
    x, y, width, height = 7, 3, 12, 9
    machine.must(gpu.transfer(resource, (x, y, width, height), offset=(y * 40 + x) * 4))
    machine.must(gpu.flush(resource, (0, 0, 40, 20)))
    expected = [colours[row * 40 + column] if x <= column < x + width and y <= row < y + height else (0, 0, 0)
                for row in range(20) for column in range(40)]
    machine.console.wait_for_pixels(expected)


def test_transfer_offset_need_not_match_the_rectangle(lab):
    """The offset alone says where the rectangle's first pixel lies in the backing."""
    machine = lab.console_machine()
    data, colours = gpu.pattern("B8G8R8X8", 16, 8)
    resource, spans = machine.picture(16, 8, data=bytes(16 * 8 * 4))
    machine.fill(spans, data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 16, 8)))
    machine.must(gpu.transfer(resource, (4, 4, 8, 4), offset=(1 * 16 + 2) * 4))
    machine.must(gpu.flush(resource, (0, 0, 16, 8)))
    expected = [colours[(row - 4 + 1) * 16 + column - 4 + 2] if 4 <= column < 12 and row >= 4 else (0, 0, 0)
                for row in range(8) for column in range(16)]
    machine.console.wait_for_pixels(expected)


def test_backing_of_single_scattered_pages(lab):
    machine = lab.console_machine()
    width, height = 64, 48
    data, colours = gpu.pattern("B8G8R8A8", width, height)
    resource = machine.new_resource()
    machine.must(gpu.create_2d(resource, width, height, gpu.BGRA))
    pages = [(machine.memory.alloc(4096), 4096) for _ in range(width * height * 4 // 4096)][::-1]
    machine.fill(pages, data)
    machine.must(gpu.attach_backing(resource, pages))
    machine.must(gpu.transfer(resource, (0, 0, width, height)))
    machine.must(gpu.set_scanout(0, resource, (0, 0, width, height)))
    machine.must(gpu.flush(resource, (0, 0, width, height)))
    machine.console.wait_for_pixels(colours)


def test_a_large_backing_list_in_one_descriptor_and_in_two(lab):
    machine = lab.machine()
    page = machine.memory.alloc(4096)
    for split in (True, False):
        resource = machine.new_resource()
        machine.must(gpu.create_2d(resource, 1920, 1080))
        machine.must(gpu.attach_backing(resource, [(page, 4096)] * 2025), split=split)
        machine.must(gpu.transfer(resource, (0, 0, 1920, 1080)))
        machine.must(gpu.unref(resource))


def test_scanout_of_a_part(lab):
    machine = lab.console_machine()
    data, colours = gpu.pattern("B8G8R8X8", 40, 30)
    resource, _ = machine.picture(40, 30, data=data)
    machine.must(gpu.set_scanout(0, resource, (10, 5, 20, 15)))
    machine.must(gpu.flush(resource, (0, 0, 40, 30)))
    machine.console.wait_for_pixels([colours[(y + 5) * 40 + x + 10] for y in range(15) for x in range(20)])


def test_two_scanouts_of_one_resource(lab):
    machine = lab.console_machine("--outputs=2", console=Console(heads=((1280, 800), (1024, 768))))
    data, colours = gpu.pattern("B8G8R8X8", 64, 16)
    resource, _ = machine.picture(64, 16, data=data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 32, 16)))
    machine.must(gpu.set_scanout(1, resource, (32, 0, 32, 16)))
    machine.must(gpu.flush(resource, (0, 0, 64, 16)))
    machine.console.wait_for_pixels([colours[y * 64 + x] for y in range(16) for x in range(32)], scanout=0)
    machine.console.wait_for_pixels([colours[y * 64 + x + 32] for y in range(16) for x in range(32)], scanout=1)


def test_guest_blob_as_scanout_from_scattered_pages(lab):
    machine = lab.console_machine()
    width, height, stride, offset = 50, 20, 256, 4096
    data, colours = gpu.pattern("B8G8R8X8", width, height)
    size = 3 * 4096
    pages = [(machine.memory.alloc(4096), 4096) for _ in range(3)]
    pages = [pages[1], pages[2], pages[0]]
    for row in range(height):
        machine.fill(pages, data[row * width * 4:(row + 1) * width * 4], offset + row * stride)
    blob = machine.new_resource()
    machine.must(gpu.create_blob(blob, size, pages))
    machine.must(gpu.set_scanout_blob(0, blob, (0, 0, width, height), width, height, stride, offset))
    machine.must(gpu.flush(blob, (0, 0, width, height)))
    machine.console.wait_for_pixels(colours)
    # What the guest draws next appears with the next flush, without any transfer.
    machine.fill(pages, gpu.pixel("B8G8R8X8", 1, 2, 3), offset)
    machine.must(gpu.flush(blob, (0, 0, 1, 1)))
    machine.console.wait_for_pixels([(1, 2, 3)] + colours[1:])
    machine.must(gpu.set_scanout(0, 0, (0, 0, 0, 0)))
    machine.must(gpu.unref(blob))


def test_part_of_a_guest_blob_as_scanout(lab):
    machine = lab.console_machine()
    data, colours = gpu.pattern("R8G8B8A8", 32, 32)
    spans = machine.backing(4096)
    machine.fill(spans, data)
    blob = machine.new_resource()
    machine.must(gpu.create_blob(blob, 4096, spans))
    machine.must(gpu.set_scanout_blob(0, blob, (8, 4, 16, 8), 32, 32, 128, 0, gpu.FORMATS["R8G8B8A8"]))
    machine.must(gpu.flush(blob, (0, 0, 32, 32)))
    machine.console.wait_for_pixels([colours[(y + 4) * 32 + x + 8] for y in range(8) for x in range(16)])


class Painting:
    """A picture that is drawn on: every flush has new pixels in all of its rectangle, since known ones are not sent again."""

    def __init__(self, machine, width, height):
        self.machine, self.width, self.seed = machine, width, 0
        data, _ = gpu.pattern("B8G8R8X8", width, height)
        self.resource, self.spans = machine.picture(width, height, data=data)

    def flush(self, rect):
        x, y, width, height = rect
        self.seed += 1
        for row in range(y, y + height):
            colours = bytes((self.seed * 37 + row + i) & 0xFF for i in range(width * 4))
            self.machine.fill(self.spans, colours, (row * self.width + x) * 4)
        self.machine.must(gpu.transfer(self.resource, rect, (y * self.width + x) * 4))
        self.machine.must(gpu.flush(self.resource, rect))

    def settle(self, marker):
        """Flushes one pixel until it arrives alone: nothing else is waiting to be sent then."""
        console = self.machine.console

        def alone():
            before = len(console.updates)
            self.flush((*marker, 1, 1))
            console.wait(lambda c: len(c.updates) > before, "an update")
            return console.updates[before:] == [(0, *marker, 1, 1)]
        poll(alone, "a quiet console")


def test_flush_sends_the_damage_and_nothing_else(lab):
    machine = lab.console_machine()
    painting = Painting(machine, 200, 100)
    machine.must(gpu.set_scanout(0, painting.resource, (0, 0, 200, 100)))
    console = machine.console
    painting.settle((5, 5))
    for rect in [(0, 0, 1, 1), (199, 99, 1, 1), (10, 20, 30, 40), (0, 50, 200, 1)]:
        before = len(console.updates)
        painting.flush(rect)
        console.wait(lambda c: len(c.updates) > before, f"the damage {rect}")
        assert console.updates[before:] == [(0, *rect)]


def test_flush_outside_the_scanout_sends_nothing(lab):
    machine = lab.console_machine()
    painting = Painting(machine, 64, 64)
    machine.must(gpu.set_scanout(0, painting.resource, (0, 0, 32, 32)))
    painting.settle((5, 5))
    before = len(machine.console.updates)
    painting.flush((40, 40, 10, 10))
    painting.flush((30, 30, 10, 10))
    machine.console.wait(lambda c: len(c.updates) > before, "the damage")
    assert machine.console.updates[before:] == [(0, 30, 30, 2, 2)]


def test_what_the_console_has_is_not_sent_again(lab):
    machine = lab.console_machine()
    painting = Painting(machine, 64, 64)
    machine.must(gpu.set_scanout(0, painting.resource, (0, 0, 64, 64)))
    painting.settle((5, 5))
    before = len(machine.console.updates)
    for _ in range(5):
        machine.must(gpu.flush(painting.resource, (0, 0, 64, 64)))
    painting.flush((7, 8, 2, 3))
    machine.console.wait(lambda c: len(c.updates) > before, "the damage")
    assert machine.console.updates[before:] == [(0, 7, 8, 2, 3)]


def test_backing_may_be_detached_and_replaced(lab):
    machine = lab.console_machine()
    first, _ = gpu.pattern("B8G8R8X8", 16, 16, seed=1)
    second, colours = gpu.pattern("B8G8R8X8", 16, 16, seed=2)
    resource, _ = machine.picture(16, 16, data=first)
    machine.must(gpu.detach_backing(resource))
    spans = machine.backing(1024, 2)
    machine.fill(spans, second)
    machine.must(gpu.attach_backing(resource, spans))
    machine.must(gpu.transfer(resource, (0, 0, 16, 16)))
    machine.must(gpu.set_scanout(0, resource, (0, 0, 16, 16)))
    machine.must(gpu.flush(resource, (0, 0, 16, 16)))
    machine.console.wait_for_pixels(colours)


def test_an_id_is_free_again_after_unref(hostile):
    machine = hostile.machine()
    for _ in range(50):
        machine.must(gpu.create_2d(7, 64, 64))
        machine.must(gpu.unref(7))
    machine.must_fail(gpu.unref(7), gpu.ERR_RESOURCE_ID)


@pytest.mark.parametrize("ring_idx", [None, 0, 3])
def test_fences_are_echoed(hostile, ring_idx):
    machine = hostile.machine()
    for kind in (gpu.get_display_info, lambda **h: gpu.create_2d(machine.new_resource(), 8, 8, **h),
                 lambda **h: gpu.unref(12345, **h)):
        response = machine.command(kind(fence=0x1122334455667788, ctx_id=0, ring_idx=ring_idx))
        assert response.flags & gpu.FLAG_FENCE and response.fence_id == 0x1122334455667788
        if ring_idx is not None:
            assert response.flags & gpu.FLAG_RING_IDX and response.ring_idx == ring_idx
        assert response.ctx_id == 0


def test_no_fence_is_made_up(lab):
    machine = lab.machine()
    response = machine.command(gpu.get_display_info())
    assert (response.flags, response.fence_id, response.ctx_id, response.ring_idx) == (0, 0, 0, 0)


def test_many_fences_in_flight_retire_in_order(lab):
    machine = lab.machine()
    resource, _ = machine.picture(64, 64)
    requests = [machine.submit(gpu.transfer(resource, (0, 0, 64, 64), fence=n + 1), kick=False) for n in range(30)]
    machine.control.kick()
    for n, request in enumerate(requests):
        assert gpu.Response(machine.control.wait(request).data).fence_id == n + 1


def test_unknown_commands_are_refused_and_the_device_goes_on(lab):
    machine = lab.machine()
    lab.hostile = True
    for kind in (0, 1, 0xFF, 0x10E, 0x1FF, 0x200, 0x208, 0x300, 0x301, 0x302, 0x1100, 0xFFFFFFFF):
        machine.must_fail(gpu.command(kind), response=64)
    machine.is_healthy()


def test_capsets_are_none_in_2d(lab):
    machine = lab.machine()
    lab.hostile = True
    machine.must_fail(gpu.command(gpu.GET_CAPSET_INFO, "II", 0, 0), response=64)
    machine.must_fail(gpu.command(gpu.GET_CAPSET, "II", 4, 0), response=4096)
    assert machine.config_fields()[3] == 0


def test_cursor_queue_takes_only_cursor_commands_and_goes_on(lab):
    machine = lab.machine()
    lab.hostile = True
    machine.rings[CURSOR].execute([gpu.get_display_info()], [])
    machine.move(gpu.move_cursor(0, 3, 4))
    machine.is_healthy()


def test_without_optional_features(lab):
    """A driver that acknowledges VERSION_1 alone."""
    machine = lab.machine(features=1 << 32)
    data, _ = gpu.pattern("B8G8R8X8", 16, 16)
    resource, _ = machine.picture(16, 16, data=data)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 16, 16)))
    machine.must(gpu.flush(resource, (0, 0, 16, 16)))
    lab.hostile = True
    machine.must_fail(gpu.create_blob(99, 4096, machine.backing(4096)))
    machine.must_fail(gpu.assign_uuid(resource), response=64)


def test_offered_features(lab):
    machine = lab.machine()
    assert machine.offered & DRIVER == DRIVER

# SPDX-License-Identifier: MIT
"""The VMM's console over the display socket: start, pictures, cursor, and consoles that do not behave."""

import struct

import pytest

from wirelib import console as display, gpu
from wirelib.console import Console
from wirelib.process import poll
from wirelib import vhost_user as vu


def show(machine, width=32, height=16, seed=0, scanout=0):
    data, colours = gpu.pattern("B8G8R8X8", width, height, seed)
    resource, spans = machine.picture(width, height, data=data)
    machine.must(gpu.set_scanout(scanout, resource, (0, 0, width, height)))
    machine.must(gpu.flush(resource, (0, 0, width, height)))
    return resource, spans, colours


def cursor_image(machine, fmt="B8G8R8A8", alpha=0xFF):
    data, colours = gpu.pattern(fmt, 64, 64)
    if alpha != 0xFF:
        data = b"".join(gpu.pixel(fmt, 0, 0, 0, 0) for _ in range(64 * 64))
    resource, _ = machine.picture(64, 64, fmt, data)
    return resource, data, colours


def test_protocol_features_are_settled_first(lab):
    machine = lab.console_machine()
    _, _, colours = show(machine)
    machine.console.wait_for_pixels(colours)
    requests = machine.console.requests
    assert requests[0] == display.GET_PROTOCOL_FEATURES
    assert display.SET_PROTOCOL_FEATURES in requests
    assert machine.console.chosen_features & ~(display.P_EDID | display.P_DMABUF2) == 0


def test_display_info_is_the_consoles(lab):
    machine = lab.console_machine("--outputs=2", console=Console(heads=((1111, 777), (640, 480))))
    heads = gpu.parse_display_info(machine.must(gpu.get_display_info()))
    assert heads[0][2:5] == (1111, 777, 1)
    assert heads[1][2:5] == (640, 480, 1)


def test_the_console_is_asked_again_each_time(lab):
    """A window that was resized: the VMM raises the event itself and the guest asks."""
    machine = lab.console_machine()
    machine.console.heads[0] = (1500, 900)
    heads = gpu.parse_display_info(machine.must(gpu.get_display_info()))
    assert heads[0][2:5] == (1500, 900, 1)


def test_scanout_off_is_shown_as_off(lab):
    machine = lab.console_machine()
    _, _, colours = show(machine)
    machine.console.wait_for_pixels(colours)
    machine.must(gpu.set_scanout(0, 0, (0, 0, 0, 0)))
    machine.console.wait(lambda c: c.size() is None, "the head goes dark")


def test_mode_switch(lab):
    machine = lab.console_machine()
    for seed, (width, height) in enumerate([(64, 48), (32, 100), (200, 10), (64, 48)]):
        _, _, colours = show(machine, width, height, seed)
        machine.console.wait_for_pixels(colours)
        assert machine.console.size() == (width, height)


def test_unref_of_what_is_shown(lab):
    machine = lab.console_machine()
    resource, _, colours = show(machine)
    machine.console.wait_for_pixels(colours)
    machine.must(gpu.unref(resource))
    machine.is_healthy()


def test_page_flips_arrive_latest_last(lab):
    """Frames may be left out; the last one may not."""
    machine = lab.console_machine()
    pictures = []
    for seed in range(2):
        data, colours = gpu.pattern("B8G8R8X8", 64, 64, seed)
        resource, _ = machine.picture(64, 64, data=data)
        pictures.append((resource, colours))
    for flip in range(101):
        resource, _ = pictures[flip % 2]
        machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 64)))
        machine.must(gpu.flush(resource, (0, 0, 64, 64)))
    machine.console.wait_for_pixels(pictures[0][1])


def test_cursor_with_hot_spot(lab):
    machine = lab.console_machine()
    show(machine)
    resource, data, _ = cursor_image(machine)
    machine.move(gpu.update_cursor(0, 100, 50, resource, hot_x=7, hot_y=9))
    console = machine.console
    console.wait(lambda c: c.cursors and c.cursors[-1][0] == display.CURSOR_UPDATE, "the cursor's image")
    _, scanout, x, y, hot_x, hot_y, pixels = console.cursors[-1]
    assert (scanout, x, y, hot_x, hot_y) == (0, 100, 50, 7, 9)
    assert pixels == data


def test_cursor_moves_and_hides(lab):
    machine = lab.console_machine()
    show(machine)
    resource, _, _ = cursor_image(machine)
    machine.move(gpu.update_cursor(0, 1, 2, resource))
    machine.move(gpu.move_cursor(0, 300, 200))
    console = machine.console
    console.wait(lambda c: any(entry[2:4] == (300, 200) for entry in c.cursors), "the cursor at its new place")
    machine.move(gpu.update_cursor(0, 300, 200, 0))
    console.wait(lambda c: c.requests and display.CURSOR_POS_HIDE in c.requests, "the cursor is hidden")


def test_transparent_cursor_stays_transparent(lab):
    machine = lab.console_machine()
    show(machine)
    resource, _, _ = cursor_image(machine, alpha=0)
    machine.move(gpu.update_cursor(0, 1, 2, resource))
    machine.console.wait(lambda c: any(entry[0] == display.CURSOR_UPDATE for entry in c.cursors), "the cursor's image")
    image = [entry for entry in machine.console.cursors if entry[0] == display.CURSOR_UPDATE][-1][6]
    assert image == bytes(64 * 64 * 4)


@pytest.mark.parametrize("size", [(1, 1), (63, 64), (64, 63), (65, 65), (128, 128)])
def test_cursor_of_another_size_does_no_harm(hostile, size):
    machine = hostile.console_machine()
    show(machine)
    resource, _ = machine.picture(*size, "B8G8R8A8")
    machine.move(gpu.update_cursor(0, 1, 2, resource))
    machine.is_healthy()


def test_cursor_resource_unref_keeps_the_image(lab):
    machine = lab.console_machine()
    show(machine)
    resource, data, _ = cursor_image(machine)
    machine.move(gpu.update_cursor(0, 5, 6, resource))
    machine.must(gpu.unref(resource))
    machine.move(gpu.move_cursor(0, 9, 9))
    machine.console.wait(lambda c: any(entry[2:4] == (9, 9) for entry in c.cursors), "the cursor at its new place")
    images = [entry[6] for entry in machine.console.cursors if entry[0] == display.CURSOR_UPDATE]
    assert images and all(image == data for image in images)


def test_console_hangs_up_while_frames_flow(hostile):
    machine = hostile.console_machine()
    resource, _, colours = show(machine)
    machine.console.wait_for_pixels(colours)
    machine.console.hang_up()
    for _ in range(200):
        machine.must(gpu.flush(resource, (0, 0, 32, 16)))
    machine.is_healthy()


def test_a_second_console_replaces_the_first(lab):
    machine = lab.console_machine()
    _, _, colours = show(machine)
    machine.console.wait_for_pixels(colours)
    second = Console()
    machine.front_end.tell(vu.GPU_SET_SOCKET, fds=[second.theirs.fileno()])
    second.hand_over()
    second.wait_for_pixels(colours)
    machine.console.close()
    machine.console = second


def garbage_after_features(payload):
    """A console whose answer to the first question is this."""
    class Liar(Console):
        def _answer(self, request, body):
            if request == display.GET_PROTOCOL_FEATURES:
                self.channel.send_raw(payload)
    return Liar()


@pytest.mark.parametrize("payload", [
    b"\xff" * 64,
    struct.pack("<III", 1, 4, 0),                           # an answer without its value
    struct.pack("<III", 1, 4, 0xFFFFFFFF) + bytes(64),      # a huge one
    struct.pack("<III", 3, 4, 8) + bytes(8),                # to another question
    struct.pack("<III", 1, 0, 8) + bytes(8),                # not a reply
    struct.pack("<IIIQ", 1, 4, 8, 2**64 - 1) + bytes(500),  # followed by things nobody asked for
], ids=["noise", "empty", "huge", "other", "no-reply-flag", "unasked"])
def test_lying_console(hostile, payload):
    machine = hostile.machine(console=garbage_after_features(payload))
    resource, _ = machine.picture(32, 16)
    machine.must(gpu.set_scanout(0, resource, (0, 0, 32, 16)))
    for _ in range(20):
        machine.must(gpu.flush(resource, (0, 0, 32, 16)))
    machine.is_healthy()
    machine.console.errors.clear()


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (16384, 16384), (0xFFFFFFFF, 0xFFFFFFFF), (65536, 1)])
def test_console_with_impossible_heads(hostile, size):
    machine = hostile.console_machine(console=Console(heads=(size,)))
    for width, height in [head[2:4] for head in gpu.parse_display_info(machine.must(gpu.get_display_info()))]:
        assert width <= 16384 and height <= 16384
    poll(machine.is_healthy, "an answer")


def test_reboot_with_a_console_of_the_next_boot(lab):
    """QEMU makes a new display socket at every DRIVER_OK."""
    machine = lab.console_machine()
    _, _, colours = show(machine)
    machine.console.wait_for_pixels(colours)
    machine.stop()
    machine.reset_device()
    machine.console.close()
    machine.console = Console()
    machine.restart()
    _, _, colours = show(machine, seed=9)
    machine.console.wait_for_pixels(colours)

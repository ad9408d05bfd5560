# SPDX-License-Identifier: MIT
"""A hostile driver, part two: well-formed chains with commands that ask for the impossible."""

import random
import struct

import pytest

from wirelib import gpu
from wirelib.console import Console
from wirelib.machine import MIB
from wirelib.process import poll

HUGE = 0xFFFFFFFF
HUGE64 = 2**64 - 1


class Scene:
    """What the commands of the table refer to."""
    PICTURE = 100     # 64 x 64 with backing
    BARE = 101        # 64 x 64 without
    BLOB = 102        # a guest blob of 64 KiB
    SHORT = 103       # 64 x 64 with a page of backing

    def __init__(self, machine):
        self.memory = machine.memory
        self.page = machine.memory.alloc(4096)
        self.big = machine.memory.alloc(65536)
        for resource in (self.PICTURE, self.BARE, self.SHORT):
            machine.must(gpu.create_2d(resource, 64, 64))
        machine.must(gpu.attach_backing(self.PICTURE, [(self.big, 16384)]))
        machine.must(gpu.attach_backing(self.SHORT, [(self.page, 4096)]))
        machine.must(gpu.create_blob(self.BLOB, 65536, [(self.big, 65536)]))


P, B, O, S = Scene.PICTURE, Scene.BARE, Scene.BLOB, Scene.SHORT
ID = gpu.ERR_RESOURCE_ID
PARAM = gpu.ERR_PARAMETER
HEAD = gpu.ERR_SCANOUT_ID
ANY = None
OUTSIDE = {
    "right": (1, 0, 64, 64), "below": (0, 1, 64, 64), "far": (HUGE, HUGE, 1, 1), "wraps-x": (HUGE, 0, 2, 1),
    "wraps-y": (0, HUGE, 1, 2), "huge": (0, 0, HUGE, HUGE), "at-the-edge": (64, 64, 1, 1),
}

# name -> (command of the scene, the error)
REFUSED = {
    "create-id-0": (lambda s: gpu.create_2d(0, 8, 8), ID),
    "create-id-taken": (lambda s: gpu.create_2d(P, 8, 8), ID),
    "create-id-of-a-blob": (lambda s: gpu.create_2d(O, 8, 8), ID),
    "create-width-0": (lambda s: gpu.create_2d(7, 0, 8), PARAM),
    "create-height-0": (lambda s: gpu.create_2d(7, 8, 0), PARAM),
    "create-width-max": (lambda s: gpu.create_2d(7, HUGE, 1), ANY),
    "create-height-max": (lambda s: gpu.create_2d(7, 1, HUGE), ANY),
    "create-both-max": (lambda s: gpu.create_2d(7, HUGE, HUGE), ANY),
    "create-area-wraps": (lambda s: gpu.create_2d(7, 0x10000, 0x10000), ANY),
    "create-bytes-wrap": (lambda s: gpu.create_2d(7, 0x8000, 0x8000), ANY),
    "create-stride-wraps": (lambda s: gpu.create_2d(7, 0x40000001, 1), ANY),
    **{f"create-format-{fmt}": (lambda s, fmt=fmt: gpu.create_2d(7, 8, 8, fmt), PARAM)
       for fmt in (0, 5, 66, 69, 120, 122, 133, 135, 0x80000001, HUGE)},
    "unref-0": (lambda s: gpu.unref(0), ID),
    "unref-unknown": (lambda s: gpu.unref(99999), ID),
    "unref-max": (lambda s: gpu.unref(HUGE), ID),
    "attach-unknown": (lambda s: gpu.attach_backing(99, [(s.page, 4096)]), ID),
    "attach-0": (lambda s: gpu.attach_backing(0, [(s.page, 4096)]), ID),
    "attach-twice": (lambda s: gpu.attach_backing(P, [(s.page, 4096)]), ANY),
    "attach-count-max": (lambda s: gpu.attach_backing(B, [(s.page, 4096)], count=HUGE), ANY),
    "attach-count-wraps": (lambda s: gpu.attach_backing(B, [(s.page, 4096)], count=0x10000001), ANY),
    "attach-count-one-more": (lambda s: gpu.attach_backing(B, [(s.page, 4096)], count=2), ANY),
    "attach-count-16385": (lambda s: gpu.attach_backing(B, [(s.page, 4096)] * 16385), ANY),
    "detach-unknown": (lambda s: gpu.detach_backing(99), ID),
    "detach-none": (lambda s: gpu.detach_backing(B), ANY),
    "transfer-unknown": (lambda s: gpu.transfer(99, (0, 0, 1, 1)), ID),
    "transfer-0": (lambda s: gpu.transfer(0, (0, 0, 1, 1)), ID),
    "transfer-without-backing": (lambda s: gpu.transfer(B, (0, 0, 64, 64)), ANY),
    "transfer-beyond-the-backing": (lambda s: gpu.transfer(S, (0, 0, 64, 64)), ANY),
    "transfer-offset-max": (lambda s: gpu.transfer(P, (0, 0, 1, 1), HUGE64), ANY),
    "transfer-offset-wraps": (lambda s: gpu.transfer(P, (0, 0, 64, 64), HUGE64 - 16383), ANY),
    "transfer-offset-end": (lambda s: gpu.transfer(P, (0, 0, 1, 1), 16384), ANY),
    "transfer-offset-last-bytes": (lambda s: gpu.transfer(P, (0, 0, 1, 1), 16381), ANY),
    "transfer-row-beyond": (lambda s: gpu.transfer(P, (0, 0, 64, 64), 4), ANY),
    **{f"transfer-{name}": (lambda s, r=r: gpu.transfer(P, r), PARAM) for name, r in OUTSIDE.items()},
    "scanout-16": (lambda s: gpu.set_scanout(16, P, (0, 0, 64, 64)), HEAD),
    "scanout-max": (lambda s: gpu.set_scanout(HUGE, P, (0, 0, 64, 64)), HEAD),
    "scanout-16-off": (lambda s: gpu.set_scanout(16, 0, (0, 0, 0, 0)), HEAD),
    "scanout-unknown": (lambda s: gpu.set_scanout(0, 99, (0, 0, 64, 64)), ID),
    "scanout-empty": (lambda s: gpu.set_scanout(0, P, (0, 0, 0, 0)), PARAM),
    "scanout-blob-as-2d": (lambda s: gpu.set_scanout(0, O, (0, 0, 16, 16)), ANY),
    **{f"scanout-{name}": (lambda s, r=r: gpu.set_scanout(0, P, r), PARAM) for name, r in OUTSIDE.items()},
    "flush-unknown": (lambda s: gpu.flush(99, (0, 0, 1, 1)), ID),
    "flush-0": (lambda s: gpu.flush(0, (0, 0, 1, 1)), ID),
    **{f"flush-{name}": (lambda s, r=r: gpu.flush(P, r), PARAM) for name, r in OUTSIDE.items()},
    "edid-16": (lambda s: gpu.get_edid(16), ANY),
    "edid-max": (lambda s: gpu.get_edid(HUGE), ANY),
    "uuid-unknown": (lambda s: gpu.assign_uuid(99), ID),
    "uuid-0": (lambda s: gpu.assign_uuid(0), ID),
    "blob-id-0": (lambda s: gpu.create_blob(0, 4096, [(s.page, 4096)]), ID),
    "blob-id-taken": (lambda s: gpu.create_blob(P, 4096, [(s.page, 4096)]), ID),
    "blob-size-0": (lambda s: gpu.create_blob(7, 0, [(s.page, 4096)]), ANY),
    **{f"blob-mem-{mem}": (lambda s, mem=mem: gpu.create_blob(7, 4096, [(s.page, 4096)], mem=mem), ANY)
       for mem in (0, 2, 3, 4, HUGE)},
    "blob-count-max": (lambda s: gpu.create_blob(7, 4096, [(s.page, 4096)], count=HUGE), ANY),
    "blob-count-wraps": (lambda s: gpu.create_blob(7, 4096, [(s.page, 4096)], count=0x10000001), ANY),
    "blob-scanout-unknown": (lambda s: gpu.set_scanout_blob(0, 99, (0, 0, 8, 8), 8, 8, 32), ID),
    "blob-scanout-16": (lambda s: gpu.set_scanout_blob(16, O, (0, 0, 8, 8), 8, 8, 32), HEAD),
    "blob-scanout-of-2d": (lambda s: gpu.set_scanout_blob(0, P, (0, 0, 8, 8), 8, 8, 32), ANY),
    "blob-scanout-width-0": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 0, 8, 32), ANY),
    "blob-scanout-width-max": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), HUGE, 8, 32), ANY),
    "blob-scanout-height-max": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 8, HUGE, 32), ANY),
    "blob-scanout-stride-0": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 8, 8, 0), ANY),
    "blob-scanout-stride-short": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 8, 8, 31), ANY),
    "blob-scanout-stride-max": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 8, 8, HUGE), ANY),
    "blob-scanout-stride-wraps": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 8, 8, 0x80000000), ANY),
    "blob-scanout-offset-max": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 8, 8, 32, HUGE), ANY),
    "blob-scanout-too-large": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 128, 129, 512), ANY),
    "blob-scanout-just-too-far": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 128, 128), 128, 128, 512, 4), ANY),
    "blob-scanout-format": (lambda s: gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 8, 8, 32, 0, 77), ANY),
    **{f"blob-scanout-{name}": (lambda s, r=r: gpu.set_scanout_blob(0, O, r, 64, 64, 256), PARAM)
       for name, r in OUTSIDE.items()},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(hostile, name):
    machine = hostile.console_machine()
    scene = Scene(machine)
    make, error = REFUSED[name]
    command = make(scene)
    fenced = struct.pack("<IIQ", struct.unpack_from("<I", command)[0], gpu.FLAG_FENCE, 77) + command[16:]
    response = machine.must_fail(fenced, *([error] if error else []))
    assert response.flags & gpu.FLAG_FENCE and response.fence_id == 77, "an error ends its fence too"
    # Nothing has changed: the scene works as before.
    machine.must(gpu.transfer(P, (0, 0, 64, 64)))
    machine.must(gpu.set_scanout(0, P, (0, 0, 64, 64)))
    machine.must(gpu.flush(P, (0, 0, 64, 64)))
    assert len(machine.process.complaints()) <= 1, "\n".join(machine.process.log())


# What a device may take or refuse, but must survive.
HARMLESS = {
    "attach-no-entries": lambda s: gpu.attach_backing(B, []),
    "attach-entries-outside": lambda s: gpu.attach_backing(B, [(1 << 60, 4096)]),
    "attach-entries-wrap": lambda s: gpu.attach_backing(B, [(HUGE64 - 100, HUGE)] * 4),
    "attach-entries-of-0": lambda s: gpu.attach_backing(B, [(s.page, 0)] * 100),
    "attach-4-gigabytes-each": lambda s: gpu.attach_backing(B, [(s.page, HUGE)] * 1000),
    "transfer-blob": lambda s: gpu.transfer(O, (0, 0, 1, 1)),
    "transfer-empty": lambda s: gpu.transfer(P, (0, 0, 0, 0)),
    "flush-empty": lambda s: gpu.flush(P, (0, 0, 0, 0)),
    "scanout-off-twice": lambda s: gpu.set_scanout(0, 0, (0, 0, 0, 0)),
    "blob-more-than-its-entries": lambda s: gpu.create_blob(7, 1 << 40, [(s.page, 4096)]),
    "blob-size-max": lambda s: gpu.create_blob(7, HUGE64, [(s.page, 4096)]),
    "blob-no-entries": lambda s: gpu.create_blob(7, 4096, []),
    "blob-flags": lambda s: gpu.create_blob(7, 4096, [(s.page, 4096)], flags=HUGE),
    "header-flags": lambda s: gpu.create_2d(7, 8, 8, flags=0xFFFFFFFE),
    "context-of-nobody": lambda s: gpu.create_2d(7, 8, 8, ctx_id=HUGE),
    "context-and-ring": lambda s: gpu.create_2d(7, 8, 8, ctx_id=5, fence=HUGE64, ring_idx=255),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(hostile, name):
    machine = hostile.console_machine()
    scene = Scene(machine)
    response = machine.command(HARMLESS[name](scene))
    assert response.ok or response.kind in gpu.ERRORS
    for resource in (B, P, S, 7):
        machine.command(gpu.transfer(resource, (0, 0, 64, 64)))
        machine.command(gpu.set_scanout(0, resource, (0, 0, 8, 8)))
        machine.command(gpu.flush(resource, (0, 0, 64, 64)))
    machine.command(gpu.set_scanout_blob(0, 7, (0, 0, 8, 8), 8, 8, 32))
    machine.command(gpu.flush(7, (0, 0, 8, 8)))
    machine.is_healthy()
    machine.must(gpu.transfer(P, (0, 0, 64, 64)))


VALID = [
    gpu.get_display_info(), gpu.get_edid(0), gpu.create_2d(7, 8, 8), gpu.attach_backing(B, [(4096, 16384)]),
    gpu.transfer(P, (0, 0, 8, 8)), gpu.set_scanout(0, P, (0, 0, 64, 64)), gpu.flush(P, (0, 0, 8, 8)),
    gpu.detach_backing(P), gpu.assign_uuid(P), gpu.create_blob(8, 4096, [(4096, 4096)]),
    gpu.set_scanout_blob(0, O, (0, 0, 8, 8), 8, 8, 32), gpu.unref(S),
]


def test_every_command_cut_short_at_every_byte(hostile):
    machine = hostile.console_machine()
    Scene(machine)
    for command in VALID:
        for length in range(1, len(command)):
            request = machine.control.execute([command[:length]], [gpu.response_bytes(struct.unpack_from("<I", command)[0])])
            # Padding at a structure's end may be missing; a device that wants it may refuse.
            response = gpu.Response(request.data) if request.data else None
            if response and response.ok:
                assert length >= len(command) - 4 or length >= 24 and len(command) == 24, (hex(response.kind), length)
                machine.command(gpu.unref(7))
                machine.command(gpu.unref(8))
                machine.command(gpu.create_2d(S, 64, 64))
    machine.is_healthy()


def test_every_command_with_a_long_tail(hostile):
    machine = hostile.console_machine()
    Scene(machine)
    for command in VALID:
        machine.command(command + b"\xff" * 100000, split=False)
    machine.is_healthy()


def test_every_command_with_too_little_room_for_its_answer(hostile):
    machine = hostile.console_machine()
    Scene(machine)
    for command in VALID:
        for room in (1, 4, 23, 24, 25, 40, 400, 1000):
            machine.control.execute([command], [room])
    machine.is_healthy()


def test_commands_on_the_wrong_queue(hostile):
    machine = hostile.console_machine()
    Scene(machine)
    for command in VALID:
        machine.cursor.execute([command], [])
        machine.cursor.execute([command], [1200])
    machine.must_fail(gpu.update_cursor(0, 1, 1, P), response=64)
    machine.is_healthy()


@pytest.mark.parametrize("command", [
    gpu.update_cursor(16, 1, 1, P), gpu.update_cursor(HUGE, 1, 1, P), gpu.update_cursor(0, 1, 1, 99),
    gpu.update_cursor(0, 1, 1, HUGE), gpu.update_cursor(0, 1, 1, B), gpu.update_cursor(0, 1, 1, O),
    gpu.update_cursor(0, HUGE, HUGE, P, HUGE, HUGE), gpu.update_cursor(0, 0x80000000, 0x7FFFFFFF, P, 64, 64),
    gpu.move_cursor(16, 1, 1), gpu.move_cursor(HUGE, 1, 1), gpu.move_cursor(0, HUGE, HUGE), b"", b"\0" * 10,
    gpu.move_cursor(0, 1, 1)[:40], gpu.update_cursor(0, 1, 1, P)[:44],
], ids=range(15))
def test_cursor_commands(hostile, command):
    machine = hostile.console_machine()
    Scene(machine)
    machine.must(gpu.set_scanout(0, P, (0, 0, 64, 64)))
    if command:
        machine.cursor.execute([command], [])
    machine.cursor.execute([command or b"x"], [24])
    machine.move(gpu.move_cursor(0, 1, 1))
    machine.is_healthy()
    for _, _, x, y, *_ in machine.console.cursors:
        assert 0 <= x <= HUGE and 0 <= y <= HUGE


def test_unref_and_detach_of_what_is_in_use(hostile):
    machine = hostile.console_machine("--outputs=2", console=Console(heads=((800, 600), (800, 600))))
    for _ in range(3):
        scene = Scene(machine)
        machine.must(gpu.set_scanout(0, P, (0, 0, 64, 64)))
        machine.must(gpu.set_scanout(1, P, (0, 0, 32, 32)))
        machine.move(gpu.update_cursor(0, 1, 1, P))
        machine.must(gpu.flush(P, (0, 0, 64, 64)))
        machine.must(gpu.detach_backing(P))
        machine.must(gpu.flush(P, (0, 0, 64, 64)))
        machine.must(gpu.unref(P))
        machine.must_fail(gpu.flush(P, (0, 0, 64, 64)), ID)
        machine.must(gpu.set_scanout_blob(0, O, (0, 0, 64, 64), 64, 64, 256))
        machine.must(gpu.flush(O, (0, 0, 64, 64)))
        machine.command(gpu.detach_backing(O))
        machine.command(gpu.flush(O, (0, 0, 64, 64)))
        machine.must(gpu.unref(O))
        machine.command(gpu.flush(O, (0, 0, 64, 64)))
        machine.move(gpu.move_cursor(0, 2, 2))
        machine.must(gpu.unref(B))
        machine.must(gpu.unref(S))
        assert scene.page


def test_uninitialised_pixels_are_black(lab):
    """Nothing of an earlier picture shows through."""
    machine = lab.console_machine()
    first, _ = machine.picture(64, 64, data=b"\xff" * 16384)
    machine.must(gpu.unref(first))
    resource = machine.new_resource()
    machine.must(gpu.create_2d(resource, 64, 64))
    machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 64)))
    machine.must(gpu.flush(resource, (0, 0, 64, 64)))
    machine.console.wait_for_pixels([(0, 0, 0)] * 4096)


def test_memory_limit_and_recovery(hostile):
    """Pictures until the device says no; after they are gone it says yes again."""
    machine = hostile.machine()
    for _ in range(3):
        made = []
        for resource in range(1, 1000):
            response = machine.command(gpu.create_2d(resource, 2048, 2048))
            if not response.ok:
                assert response.kind == gpu.ERR_OUT_OF_MEMORY
                break
            made.append(resource)
        else:
            raise AssertionError("no limit: 16 GiB of pictures")
        assert len(made) >= 8
        machine.is_healthy()
        for resource in made:
            machine.must(gpu.unref(resource))


def test_memory_limit_holds_for_small_resources_too(hostile):
    """A picture of one pixel costs more than four bytes: the number of them is bounded as well, or they stay cheap."""
    machine = hostile.machine()
    before = machine.process.rss_bytes()
    for start in range(1, 100001, 50):
        requests = [machine.submit(gpu.create_2d(resource, 1, 1), kick=False) for resource in range(start, start + 50)]
        machine.control.kick()
        kinds = {gpu.Response(machine.control.wait(request).data).kind for request in requests}
        assert kinds <= {gpu.OK_NODATA, gpu.ERR_OUT_OF_MEMORY}
        if kinds == {gpu.ERR_OUT_OF_MEMORY}:
            break
    assert machine.process.rss_bytes() - before < machine.process.memory_factor() * 520 * MIB
    machine.is_healthy()


def test_memory_limit_holds_for_backing_lists_too(hostile):
    """Lists of pages are memory of ours as well: 16384 entries each, on a great many resources."""
    machine = hostile.machine("--max-host-memory=32M")
    before = machine.process.rss_bytes()
    spans = [(4096, 4096)] * 16384
    for resource in range(1, 601):
        response = machine.command(gpu.create_blob(resource, 4096 * 16384, spans))
        assert response.kind in (gpu.OK_NODATA, gpu.ERR_OUT_OF_MEMORY)
        if not response.ok:
            break
    else:
        raise AssertionError("no limit: 150 MiB of lists")
    assert machine.process.rss_bytes() - before < machine.process.memory_factor() * 64 * MIB
    machine.must(gpu.unref(1))
    machine.must(gpu.create_blob(1, 4096 * 16384, spans))
    machine.is_healthy()


def commands_of(random_, scene):
    """One random command, most of it right."""
    resource = random_.choice((0, 1, 2, 3, 4, 5, P, B, O, S, HUGE))
    small = lambda: random_.choice((0, 1, 2, 7, 8, 16, 63, 64, 65, 100, 16384, 16385, HUGE, 0x80000000))
    rect = tuple(small() for _ in range(4)) if random_.random() < 0.5 else (0, 0, 16, 16)
    spans = [(random_.choice((scene.page, scene.big, 0, 1 << 50)), random_.choice((0, 1, 4096, 16384, HUGE)))
             for _ in range(random_.randrange(6))]
    return random_.choice((
        lambda: gpu.get_display_info(),
        lambda: gpu.get_edid(random_.choice((0, 1, 15, 16, HUGE))),
        lambda: gpu.create_2d(resource, random_.choice((1, 16, 64, small())), random_.choice((1, 16, 64, small())),
                              random_.choice(list(gpu.FORMATS.values()) + [0, 9])),
        lambda: gpu.unref(resource),
        lambda: gpu.attach_backing(resource, spans, count=random_.choice((None, None, None, 0, 1, 9, HUGE))),
        lambda: gpu.detach_backing(resource),
        lambda: gpu.transfer(resource, rect, random_.choice((0, 4, 64, 4095, 1 << 40, HUGE64))),
        lambda: gpu.set_scanout(random_.choice((0, 0, 1, 16)), resource, rect),
        lambda: gpu.flush(resource, rect),
        lambda: gpu.assign_uuid(resource),
        lambda: gpu.create_blob(resource, random_.choice((0, 4096, 65536, HUGE64)), spans, mem=random_.choice((1, 1, 1, 2))),
        lambda: gpu.set_scanout_blob(0, resource, rect, 16, 16, random_.choice((64, 64, 63, HUGE)),
                                     random_.choice((0, 0, 4096, HUGE))),
        lambda: gpu.set_scanout(0, 0, (0, 0, 0, 0)),
    ))()


def mutate(random_, command):
    """Now and then some bytes of it are wrong."""
    data = bytearray(command)
    if random_.random() < 0.3:
        for _ in range(random_.randrange(1, 4)):
            data[random_.randrange(len(data))] = random_.choice((0, 1, 0xFF, 0x7F, random_.getrandbits(8)))
    if random_.random() < 0.05:
        data = data[:random_.randrange(1, len(data) + 1)]
    return bytes(data)


@pytest.mark.parametrize("seed", range(12))
def test_random_commands(hostile, seed):
    """Each gets exactly one answer, and it is one of the specification's."""
    machine = hostile.console_machine()
    random_ = random.Random(seed)
    scene = Scene(machine)
    for round_ in range(60):
        requests = [machine.submit(mutate(random_, commands_of(random_, scene)), response=1100, kick=False)
                    for _ in range(random_.randrange(1, 20))]
        machine.control.kick()
        if random_.random() < 0.3:
            machine.cursor.execute([mutate(random_, gpu.update_cursor(0, 1, 1, random_.choice((P, B, O, 0, 3))))], [])
        if random_.random() < 0.1:
            machine.stop()
            machine.reset_device()
            machine.console, console = None, machine.console
            machine.restart()
            machine.console = console
            scene = Scene(machine)
            continue
        for request in requests:
            data = machine.control.wait(request).data
            if data:
                response = gpu.Response(data)
                assert response.kind in gpu.ERRORS or 0x1100 <= response.kind <= 0x1106, (seed, round_, response)
    assert not machine.console.errors, machine.console.errors
    poll(machine.is_healthy, "an answer")

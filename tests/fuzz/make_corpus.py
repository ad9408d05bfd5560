# SPDX-License-Identifier: MIT
"""Seeds for the fuzzers: valid inputs, from which mutation gets further than from nothing.

    make_corpus.py TARGET DIRECTORY    writes the seeds of one target (see SEEDS) there

Targets without seeds of their own are fine: nothing is written then.
"""

import pathlib
import struct
import sys

NEXT, WRITE, INDIRECT = 1, 2, 4


def descriptor(addr, length, flags, successor):
    return struct.pack("<QIHH", addr, length, flags, successor)


def virtq_seeds():
    """See src/virtio/virtq_fuzz.c for the format: header, image of memory, steps."""
    desc, avail, used = 0x100, 0x200, 0x300

    def seed(bits, base, descriptors, heads, steps, size_log2=3):
        image = bytearray(0x400)
        for slot, data in enumerate(descriptors):
            image[desc + 16 * slot:desc + 16 * slot + 16] = data
        struct.pack_into(f"<HH{len(heads)}H", image, avail, 0, (base + len(heads)) & 0xFFFF, *heads)
        struct.pack_into("<HH", image, used, 0, base)
        return struct.pack("<BBHHHHH", size_log2, bits, base, desc // 16, avail, used, len(image)) + image + steps

    pop, push, interrupt, doorbell, remap, advance, restart = (bytes([n]) for n in (0, 3, 4, 5, 7, 8, 9))
    work = pop + push + b"\x18" + interrupt + doorbell
    plain = [descriptor(0x800, 24, NEXT, 1), descriptor(0x900, 408, WRITE, 0)]
    table = [descriptor(0x180, 32, INDIRECT, 0)] + [bytes(16)] * 7 + plain
    crossing = [descriptor(0x1FF8, 24, NEXT, 1), descriptor(0x100000000, 408, WRITE, 0)]
    yield "plain", seed(0, 0, plain, [0], work)
    yield "event-idx", seed(2, 0xFFFF, plain, [0], work * 3)
    yield "indirect", seed(1, 0, table, [0, 0], work + work)
    yield "both", seed(3, 5, table, [0], work + advance + b"\1" + work + restart + work)
    yield "regions", seed(3, 0, crossing, [0], work + remap + b"\1" + work + remap + b"\0" + advance + b"\1" + work)
    yield "loop", seed(0, 0, [descriptor(0x800, 1, NEXT, 0)], [0], work)
    yield "long", seed(0, 0, [descriptor(0x800, 1, NEXT, (n + 1) & 7) for n in range(7)] + [descriptor(0x800, 1, WRITE, 0)],
                       [0], work)


# Position of each command in the table of src/gpu/gpu_fuzz.c.
(INFO, CREATE, _, UNREF, SCANOUT, FLUSH, TRANSFER, _, ATTACH, DETACH, _, _, EDID, UUID, BLOB, SCANOUT_BLOB, CURSOR,
 MOVE) = range(18)


def gpu_seeds():
    """See src/gpu/gpu_fuzz.c: a step's byte, then how, which command, and its fields, mostly a byte each."""
    def command(which, *fields, how=0):
        return bytes([0, how, which, *(([7] if how & 3 else [])), *fields])

    def raw(value):
        return [0xF8, *struct.pack(">I", value)]

    def picture(resource, width, height, fmt=1, backing=0, length_256=63):
        return (command(CREATE, resource, fmt, width, height)
                + command(ATTACH, resource, 1, 0, backing, 0, length_256))

    def show(resource, width, height, scanout=0):
        return command(SCANOUT, 0, 0, width, height, scanout, resource) + command(FLUSH, 0, 0, width, height, resource)

    square = picture(1, 64, 64) + command(TRANSFER, 0, 0, 64, 64, 0, 1)
    blob = command(BLOB, 2, 0, 1, 0, *raw(16384), 0, 0, 0, 63)
    yield "questions", command(INFO) + command(EDID, 0) + command(EDID, 1, how=1) + command(INFO, how=1)
    yield "picture", square + show(1, 64, 64) + b"\xf6\0\1" + command(UNREF, 1)
    yield "fenced", square + command(FLUSH, 0, 0, 8, 8, 1, how=1) + command(UUID, 1, how=1)
    yield "parts", square + show(1, 32, 16, 1) + command(TRANSFER, 3, 5, 7, 9, 0, 1) + command(FLUSH, 3, 5, 7, 9, 1)
    yield "blob", blob + command(SCANOUT_BLOB, 0, 0, 64, 64, 0, 2, 64, 64, 1, 64, 0) + command(FLUSH, 0, 0, 64, 64, 2)
    yield "cursor", square + show(1, 64, 64) + command(CURSOR, 0, 5, 6, 1, 7, 8) + command(MOVE, 0, 9, 9) + b"\xf6\0\1"
    yield "memory", square + show(1, 64, 64) + b"\xf2\0" + command(TRANSFER, 0, 0, 64, 64, 0, 1) + b"\xf2\1" \
        + command(TRANSFER, 0, 0, 64, 64, 0, 1) + b"\xf2\2\xf0" + square
    yield "reset", square + show(1, 64, 64) + b"\xf0" + square + b"\xf1" + show(1, 64, 64)
    yield "heads", b"\xf4\1\1" + bytes([100, 90, 1, 80, 70]) + command(INFO) + b"\xf7" + command(INFO) + b"\xf5\0\4\0\0" \
        + b"\xf5\4\4\1\1"
    yield "detach", square + show(1, 64, 64) + command(DETACH, 1) + command(FLUSH, 0, 0, 64, 64, 1) + command(UNREF, 1)
    for number, fmt in enumerate(range(8)):
        yield f"format-{number}", picture(3, 16, 16, fmt) + command(TRANSFER, 0, 0, 16, 16, 0, 3) + show(3, 16, 16)


def vfio_user_seeds():
    """See src/transport/vfio_user/vfio_user_fuzz.c: a byte for the window, then steps."""
    start, poke, submit, message = (bytes([n]) for n in (0, 1, 2, 3))
    version, dma_map, unmap, info, region_info, irq_info, set_irqs, read, write, reset, multi = \
        1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 15

    def send(command, *fields, shape=0):
        return message + bytes([command, shape, *(fields or (0, 0))])

    def register(offset, *data):
        """A write to the common structure; the count is 1, 2, 4 or 8."""
        return send(write, 0, 0, 0, offset, len(data).bit_length() - 1, *data)

    display_info = struct.pack("<IIQII", 0x100, 0, 0, 0, 0) + bytes(40)
    request = submit + display_info + b"\0"
    up = start + b"\x3f"
    yield "realize", b"\1" + send(version) + send(info, 1, 0) + b"".join(send(region_info, n, 0) for n in range(9)) \
        + send(irq_info, 2, 0) + send(dma_map, 0x80, 0xF0) + send(set_irqs, 0x62, 0x24, *bytes(8))
    yield "commands", b"\1" + up + request + request + send(read, 0, 0, 0, 0xC8 | 1, 0)
    yield "cursor", b"\0" + start + b"\xbf" + submit + struct.pack("<IIQII", 0x301, 0, 0, 0, 0) + bytes(40) + b"\1"
    yield "resets", b"\1" + up + request + register(20, 0) + up + request + send(reset) + up + send(write, 0, 0, 3, 0xC9, 0, 0x80)
    yield "memory", b"\1" + up + send(unmap, 0, 0) + request + send(dma_map, 0x80, 0xF0) + request
    yield "config-space", b"\1" + up + send(write, 0, 0, 3, 0x98, 2, 20, 0, 0, 0) + send(write, 0, 0, 3, 0x9C, 2, 1, 0, 0, 0) \
        + send(read, 0, 0, 3, 0xA0, 0) + send(write, 0, 0, 3, 0xA0, 0, 0)
    yield "posted", b"\0" + up + send(multi, 2, 0, 0, 20, 0, *bytes(8), 0, 0x83, 1, *bytes(8), shape=1) + poke + bytes(18)


TOP = pathlib.Path(__file__).resolve().parent.parent.parent


def venus_codec_seeds():
    """See src/venus/codec_fuzz.c: a word, then commands. Streams of Mesa's driver, and one of each command."""
    reply = struct.pack("<I", 8)
    for path in sorted((TOP / "src/venus/captures").glob("*.ring.bin")):
        yield path.stem, reply + path.read_bytes()
    examples = TOP / "build/fuzz/src/venus/generated/examples.bin"
    data = examples.read_bytes() if examples.exists() else b""
    at = number = 0
    while at < len(data):
        command, request, reply_bytes = struct.unpack_from("<III", data, at)
        if request < 4096:
            yield f"{command}-{number}", reply + data[at + 12:at + 12 + request]
        at += 12 + request + reply_bytes
        number += 1


def venus_ring_seeds():
    """See src/venus/ring_fuzz.c: steps; a byte below 0xd0 is that number, below 0xf0 the usual one where there is one."""
    context, blob, pump, fence, attach = b"\0", b"\2", b"\x0d", b"\x0c", b"\x0e"
    create, destroy, notify, extra, reach, wait_other, wait, set_reply, seek, execute, nothing = range(11)

    def command(which, *operands, answer=False):
        return bytes([which, 0xFF if answer else 0, *operands])

    def create_ring(name, idle_20us=False, monitored=False):
        """The ring in this blob: numbers count from 0."""
        return command(create, name, *([1, 0] if monitored else [0]), 0, 0, 0 if idle_20us else 1, *bytes(7))

    def submit(*commands, ctx=0):
        return bytes([5, len(commands) - 1]) + b"".join(commands) + bytes([ctx, 0])

    def write(name, *commands, nested_at=None):
        """To the ring in a blob, or behind it, where nested streams are."""
        where = [0xFF, nested_at] if nested_at is not None else [0, 0]
        return bytes([8, name, len(commands) - 1]) + b"".join(commands) + bytes(where)

    def make_blob(name, ctx=0):
        return blob + bytes([name, 0, ctx, 0, 0])

    go = submit(command(notify, 0, 0))
    ring = submit(create_ring(0))
    noops = [command(nothing)] * 3
    yield "plain", ring + write(0, *noops) + go + pump * 3 + write(0, *noops) + go + pump + submit(command(destroy, 0)) + pump * 2
    yield "idle", submit(create_ring(0, True, True)) + pump * 2 + write(0, *noops) + go + pump * 2 + fence + b"\0\0" + pump
    yield "replies", ring + write(0, command(set_reply, 0, 0, 0), command(nothing, answer=True), command(seek, 8)) + go + pump * 2
    yield "nested", ring + write(0, *noops, nested_at=0) + write(0, command(execute, 1, 0, 0, 0, 24)) + go + pump * 3
    yield "waits", ring + submit(command(wait, 0, 24)) + fence + b"\0\0" + write(0, *noops) + go + pump * 3
    yield "order", ring + write(0, command(wait_other, 1), command(nothing)) + go + pump + submit(command(reach, 0, 1)) + pump * 3
    yield "two", make_blob(1) + pump + ring + submit(create_ring(1)) + write(0, *noops) + write(1, *noops) + go \
        + submit(command(notify, 1, 0)) + pump * 3 + submit(command(destroy, 1), command(extra, 0, 0, 7)) + pump
    yield "contexts", context + b"\1\0" + make_blob(1, 1) + attach + bytes([1, 0, 0xFF]) + submit(create_ring(1), ctx=1) \
        + write(1, *noops) + submit(command(notify, 1, 0), ctx=1) + pump * 3 + b"\1\xff\1" + pump
    yield "changed", ring + write(0, *noops) + go + b"\x0b\0\x10\0\xf1\1\2\3\4" + pump * 2 + b"\x0f\xff" + pump


def vtest_steps():
    """See src/transport/vtest/vtest_fuzz.c: whether there is OpenGL, then a step's byte, whose highest bit says which client, and what it takes."""
    close, connect, introduce, descriptor, mood, answer, signal, deaf, opengl, other = 0, 1, 3, 4, 5, 6, 7, 8, 15, 0x80

    def word(value):
        return bytes([value]) if value < 255 else b"\xff" + value.to_bytes(4, "big")

    def message(command, *values, client=0):
        return bytes([9 + client, command, len(values)]) + b"".join(map(word, values))

    def submit(sync, value, ring=1, flags=1, words=2):
        return message(24, 1, flags, 9, words, 9 + words, 1 if sync else 0, ring, 0, 0, *range(words),
                       *([sync, value, 0] if sync else []))

    hello = bytes([introduce])
    late, late_fences, both = bytes([mood, 1]), bytes([mood, 2]), bytes([mood, 3])
    blob = message(18, 2, 1, 4096, 0, 0, 0)
    yield "handshake", message(8) + message(10) + message(7, 0, 0) + message(11, 4) + message(15, 1) + message(16, 4, 0) \
        + message(17, 4)
    yield "blobs", hello + blob + blob + message(3, 1) + bytes([mood, 0x20]) + blob + message(3, 2)
    yield "failures", hello + bytes([mood, 8]) + blob + submit(0, 0) + blob + bytes([mood, 0x30]) + blob
    yield "syncs", hello + message(19, 1, 0) + message(21, 1) + message(23, 0, 255, 1, 5, 0) + message(23, 1, 0, 1, 1, 0) \
        + message(22, 1, 5, 0) + message(20, 1)
    yield "late", late + hello + bytes([answer, 0, 1]) + blob + bytes([answer, 0, 1]) + submit(0, 0) + bytes([answer, 0, 0])
    yield "fences", late_fences + hello + message(19, 0, 0) + submit(1, 1) + submit(1, 2) + submit(1, 3, ring=2) \
        + bytes([signal, 1, signal, 0]) + message(21, 1)
    yield "batches", hello + message(19, 0, 0) + message(24, 2, 1, 17, 1, 18, 1, 1, 0, 0, 1, 21, 1, 22, 1, 2, 0, 0, 7, 1, 1, 0,
                                                         7, 1, 2, 0)
    yield "short-header", hello + message(24, 1, 1, 7, 2, 9, 0, 3, 7, 7)
    yield "fence-fds", hello + submit(0, 0, flags=4) + bytes([descriptor]) + submit(0, 0, flags=2)
    yield "death", both + hello + bytes([answer, 0, 1]) + blob + bytes([close, connect]) + hello + bytes([answer, 0, 1]) \
        + submit(0, 0) + bytes([close])
    yield "deaf", bytes([deaf]) + hello + message(15, 1) * 20 + bytes([deaf])
    yield "two", hello + bytes([introduce + other]) + blob + message(18, 2, 1, 4096, 0, 0, 0, client=other) \
        + message(3, 1, client=other) + message(3, 1)
    texture = message(12, 2, 2, 1, 2, 16, 16, 1, 1, 0, 0, 1024)
    yield "opengl", bytes([opengl]) + message(9) + message(1) + texture + message(14, 2, 0, 0, 0, 0, 16, 16, 1, 0, 0) \
        + message(13, 2, 0, 0, 0, 0, 16, 16, 1, 0, 0) + message(6, 1, 2, 3) + message(7, 2, 1) + message(3, 2)
    yield "opengl-fences", late_fences + bytes([opengl]) + message(7, 1, 0) + message(7, 1, 1) + bytes([signal, 0]) + message(3, 1)
    yield "opengl-two", bytes([opengl, opengl + other]) + bytes([mood, 8]) + texture + message(6, 1, client=other)


def vtest_seeds():
    for name, steps in vtest_steps():
        yield name, bytes([name.startswith("opengl")]) + steps


SEEDS = {"virtq": virtq_seeds, "gpu": gpu_seeds, "vtest": vtest_seeds,
         "vfio-user": vfio_user_seeds, "venus-codec": venus_codec_seeds, "venus-handlers": venus_codec_seeds,
         "venus-ring": venus_ring_seeds}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    target, directory = sys.argv[1].removeprefix("fuzz-"), pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.get(target, lambda: ())():
        (directory / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()

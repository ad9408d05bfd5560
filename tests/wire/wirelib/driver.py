# SPDX-License-Identifier: MIT
"""A guest: memory, two queues and the driver's way with them, whatever carries the queues."""

import struct

from . import gpu
from .memory import Memory, Region
from .ring import Ring

RAM_BYTES = 64 << 20

CONTROL, CURSOR = 0, 1


class Driver:
    def __init__(self, process, ram_bytes=None, regions=None, ring_size=64):
        self.process = process
        self.memory = Memory(regions or [Region(0, ram_bytes or RAM_BYTES)])
        self.rings = [Ring(self.memory, ring_size), Ring(self.memory, ring_size)]
        self.control, self.cursor = self.rings
        self.next_resource = 1
        self.closed = False

    def submit(self, command, queue=CONTROL, response=None, split=True, **keywords):
        """Queues one command. A long one is split behind its fixed part, as Linux does with backing entries."""
        ring = self.rings[queue]
        kind = struct.unpack_from("<I", command)[0] if len(command) >= 4 else 0
        size = gpu.response_bytes(kind) if response is None else response
        fixed = {gpu.ATTACH_BACKING: 32, gpu.CREATE_BLOB: 56}.get(kind)
        parts = [command]
        if split and fixed and len(command) > fixed:
            parts = [command[:fixed], command[fixed:]]
        return ring.submit(parts, [size] if size else [], **keywords)

    def command(self, command, queue=CONTROL, **keywords):
        """Runs one command and returns its response."""
        request = self.rings[queue].wait(self.submit(command, queue, **keywords))
        return gpu.Response(request.data)

    def must(self, command, **keywords):
        response = self.command(command, **keywords)
        assert response.ok, response
        return response

    def must_fail(self, command, *kinds, **keywords):
        response = self.command(command, **keywords)
        assert response.kind in (kinds or gpu.ERRORS), f"{response}, expected {[hex(kind) for kind in kinds]}"
        return response

    def move(self, command):
        """A command on the cursor queue, which has no response worth the name."""
        self.rings[CURSOR].execute([command], [])

    def is_healthy(self):
        """The device still answers."""
        return gpu.parse_display_info(self.command(gpu.get_display_info())) is not None

    # Resources.

    def new_resource(self):
        self.next_resource += 1
        return self.next_resource - 1

    def picture(self, width, height, fmt="B8G8R8X8", data=None, pieces=1):
        """A 2D resource with backing in `pieces`; returns it with its backing's spans."""
        resource = self.new_resource()
        self.must(gpu.create_2d(resource, width, height, gpu.FORMATS[fmt]))
        spans = self.backing(width * height * 4, pieces)
        self.must(gpu.attach_backing(resource, spans))
        if data is not None:
            self.fill(spans, data)
            self.must(gpu.transfer(resource, (0, 0, width, height)))
        return resource, spans

    def backing(self, size, pieces=1):
        """Guest memory in `pieces` that do not follow each other."""
        spans, left = [], size
        for i in range(pieces):
            part = left // (pieces - i)
            if i < pieces - 1:
                part = part // 4 * 4
            spans.append((self.memory.alloc(max(1, part)), part))
            left -= part
        return spans[::-1]

    def fill(self, spans, data, offset=0):
        for addr, length in spans:
            if offset < length:
                part, data = data[:length - offset], data[length - offset:]
                self.memory.write(addr + offset, part)
                offset = 0
            else:
                offset -= length
            if not data:
                return
        assert not data, "the backing is too small"

    def close_guest(self):
        for ring in self.rings:
            ring.close()
        self.memory.close()

    def close(self):
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

# SPDX-License-Identifier: MIT
"""A valid conversation kept as bytes, to be cut, bent and sent again."""

from . import gpu, vhost_user as vu
from .console import Console
from .machine import CURSOR


class Session:
    """The messages of a whole life of a machine, with their fds. Keep it open while they are in use."""

    def __init__(self, machine):
        self.messages = []  # (bytes, fds)
        self.machine = machine
        machine.console = Console()
        send = machine.front_end.send

        def record(request, payload=b"", fds=(), flags=vu.VERSION):
            self.messages.append((vu.header(request, len(payload), flags) + payload, list(fds)))
            send(request, payload, fds, flags)
        machine.front_end.send = record
        machine.realize().start()
        resource, _ = machine.picture(64, 64)
        machine.must(gpu.set_scanout(0, resource, (0, 0, 64, 64)))
        machine.must(gpu.flush(resource, (0, 0, 64, 64)))
        machine.rings[CURSOR].execute([gpu.move_cursor(0, 1, 2)], [])
        machine.config()
        machine.clear_events(1)
        machine.stop()
        machine.reset_device()
        machine.front_end.sock.close()
        # Work for whoever replays this: the rings are full of requests again.
        for ring in machine.rings:
            ring.reset()
        for _ in range(8):
            machine.submit(gpu.get_display_info(), kick=False)
            machine.submit(gpu.move_cursor(0, 1, 2), queue=CURSOR, response=0, kick=False)

    def bytes(self):
        return b"".join(data for data, _ in self.messages)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.machine.close()

# SPDX-License-Identifier: MIT
"""A virtual machine: a front end with memory, queues, a back channel and, if wanted, a console."""

import os
import struct

from . import gpu, ring as rings, vhost_user as vu
from .memory import Memory, Region
from .ring import Ring
from .vhost_user import BackChannel, FrontEnd

MIB = 1 << 20
RAM_BYTES = 64 * MIB

# What QEMU's front ends acknowledge.
PROTOCOL = (vu.P_MQ | vu.P_REPLY_ACK | vu.P_BACKEND_REQ | vu.P_CONFIG | vu.P_BACKEND_SEND_FD | vu.P_RESET_DEVICE
            | vu.P_CONFIGURE_MEM_SLOTS | vu.P_STATUS | vu.P_SHMEM)
DRIVER = vu.F_VERSION_1 | gpu.F_EDID | gpu.F_UUID | gpu.F_BLOB | rings.F_INDIRECT_DESC | rings.F_EVENT_IDX

CONTROL, CURSOR = 0, 1


class Machine:
    """`protocol` and `features` are the most that is acknowledged of what the device offers."""

    def __init__(self, process, sock, protocol=PROTOCOL, features=DRIVER, console=None, back_channel=None,
                 ram_bytes=RAM_BYTES, regions=None, ring_size=64):
        self.process = process
        self.front_end = FrontEnd(sock)
        self.want_protocol = protocol
        self.want_features = features
        self.console = console
        self.back_channel = back_channel
        self.memory = Memory(regions or [Region(0, ram_bytes)])
        self.rings = [Ring(self.memory, ring_size), Ring(self.memory, ring_size)]
        self.control, self.cursor = self.rings
        self.memory_shown = []
        self.next_resource = 1
        self.closed = False

    # Parts of the conversation, in QEMU's order.

    def realize(self):
        """What happens when the VMM creates the device."""
        fe = self.front_end
        self.offered = fe.ask_u64(vu.GET_FEATURES)
        if self.offered & vu.F_PROTOCOL_FEATURES:
            self.offered_protocol = fe.ask_u64(vu.GET_PROTOCOL_FEATURES)
            chosen = self.offered_protocol & self.want_protocol
            fe.send(vu.SET_PROTOCOL_FEATURES, struct.pack("<Q", chosen))
            fe.protocol_features = chosen
        if self.has(vu.P_MQ):
            assert fe.ask_u64(vu.GET_QUEUE_NUM) >= 2
        if self.has(vu.P_CONFIGURE_MEM_SLOTS):
            self.max_slots = fe.ask_u64(vu.GET_MAX_MEM_SLOTS)
            assert self.max_slots >= 8
        if self.has(vu.P_BACKEND_REQ):
            self.back_channel = self.back_channel or BackChannel()
            fe.tell(vu.SET_BACKEND_REQ_FD, fds=[self.back_channel.theirs.fileno()])
        fe.tell(vu.SET_OWNER)
        assert fe.ask_u64(vu.GET_FEATURES) == self.offered
        for index, ring in enumerate(self.rings):
            fe.tell_u64(vu.SET_VRING_CALL, index, [ring.call_fd])
        if self.has(vu.P_SHMEM):
            answer = fe.ask(vu.GET_SHMEM_CONFIG)
            assert len(answer) == 8 + 256 * 8
            self.shmem = struct.unpack("<II256Q", answer)
            assert self.shmem[0] == sum(1 for size in self.shmem[2:] if size)
        return self

    def has(self, protocol_feature):
        return bool(self.front_end.protocol_features & protocol_feature)

    def start(self):
        """What happens when the driver says DRIVER_OK."""
        fe = self.front_end
        if self.console:
            fe.tell(vu.GPU_SET_SOCKET, fds=[self.console.theirs.fileno()])
        self.set_features()
        if self.has(vu.P_STATUS):
            fe.ask_u64(vu.GET_STATUS)
            fe.tell_u64(vu.SET_STATUS, 8)
        self.show_memory()
        for index in range(len(self.rings)):
            self.set_up_ring(index)
        for index in range(len(self.rings)):
            self.enable(index)
        for index, ring in enumerate(self.rings):
            fe.tell_u64(vu.SET_VRING_CALL, index, [ring.call_fd])
        return self

    def set_features(self):
        self.features = self.offered & self.want_features
        for ring in self.rings:
            ring.features = self.features
        backend = self.features | (self.offered & vu.F_PROTOCOL_FEATURES)
        self.front_end.tell_u64(vu.SET_FEATURES, backend)

    def user(self, addr):
        """A guest address as this connection writes it."""
        return addr if self.has(vu.P_GPA_ADDRESSES) else self.memory.to_user(addr)

    def show_memory(self, regions=None):
        """Tells the device about all of guest memory, in the protocol that was negotiated."""
        regions = self.memory.regions if regions is None else regions
        if self.has(vu.P_CONFIGURE_MEM_SLOTS):
            for region in regions:
                self.add_region(region)
        else:
            self.memory_shown = list(regions)
            self.front_end.tell(vu.SET_MEM_TABLE, struct.pack("<II", len(regions), 0)
                                + b"".join(self.region_record(region) for region in regions),
                                [region.fd for region in regions])

    def region_record(self, region):
        user = region.guest_addr if self.has(vu.P_GPA_ADDRESSES) else region.user_addr
        return struct.pack("<QQQQ", region.guest_addr, region.size, user, region.fd_offset)

    def add_region(self, region):
        if not self.has(vu.P_CONFIGURE_MEM_SLOTS):
            return self.show_memory([*self.memory_shown, region])
        self.front_end.tell(vu.ADD_MEM_REG, bytes(8) + self.region_record(region), [region.fd])
        self.memory_shown.append(region)

    def remove_region(self, region):
        if not self.has(vu.P_CONFIGURE_MEM_SLOTS):
            return self.show_memory([shown for shown in self.memory_shown if shown is not region])
        self.front_end.tell(vu.REM_MEM_REG, bytes(8) + self.region_record(region))
        self.memory_shown.remove(region)

    def ring_address(self, index):
        ring = self.rings[index]
        return struct.pack("<IIQQQQ", index, 0, self.user(ring.desc), self.user(ring.used), self.user(ring.avail), 0)

    def set_up_ring(self, index, base=None):
        fe, ring = self.front_end, self.rings[index]
        fe.tell(vu.SET_VRING_NUM, struct.pack("<II", index, ring.size))
        fe.tell(vu.SET_VRING_BASE, struct.pack("<II", index, ring.used_idx if base is None else base))
        fe.tell(vu.SET_VRING_ADDR, self.ring_address(index))
        os.eventfd_write(ring.kick_fd, 1)  # QEMU hands the doorbell over with a ring already in it
        fe.tell_u64(vu.SET_VRING_KICK, index, [ring.kick_fd])
        fe.tell_u64(vu.SET_VRING_CALL, index, [ring.call_fd])

    def enable(self, index, on=True):
        self.front_end.tell(vu.SET_VRING_ENABLE, struct.pack("<II", index, int(on)))

    def stop_ring(self, index):
        """Stops a queue; returns the index of the next request the device would have taken."""
        answer = self.front_end.ask(vu.GET_VRING_BASE, struct.pack("<II", index, 0))
        got, base = struct.unpack("<II", answer)
        assert got == index
        return base

    def stop(self):
        """What happens when the driver goes away."""
        bases = [self.stop_ring(index) for index in range(len(self.rings))]
        if self.has(vu.P_CONFIGURE_MEM_SLOTS):
            for region in list(self.memory_shown):
                self.remove_region(region)
        return bases

    def reset_device(self):
        self.front_end.tell(vu.RESET_DEVICE)

    def restart(self):
        """A guest reboot after the queues stopped: rings start again at 0."""
        for ring in self.rings:
            ring.reset()
        self.start()
        return self

    def config(self, offset=0, size=20):
        request = struct.pack("<III", offset, size, 0)
        answer = self.front_end.ask(vu.GET_CONFIG, request + bytes(size))
        assert answer[:12] == request and len(answer) == 12 + size
        return answer[12:]

    def config_fields(self):
        """events_read, events_clear, num_scanouts, num_capsets, blob_alignment"""
        return struct.unpack("<IIIII", self.config())

    def clear_events(self, events):
        self.front_end.tell(vu.SET_CONFIG, struct.pack("<IIII", 4, 4, 0, events))

    # The driver.

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

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.closed:
            return
        self.closed = True
        self.front_end.close()
        if self.back_channel:
            self.back_channel.close()
        if self.console:
            self.console.close()
        for ring in self.rings:
            ring.close()
        self.memory.close()

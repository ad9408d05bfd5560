# SPDX-License-Identifier: MIT
"""A virtual machine: a front end with memory, queues, a back channel and, if wanted, a console."""

import os
import struct

from . import gpu, ring as rings, vhost_user as vu
from .driver import CONTROL, CURSOR, Driver  # noqa: F401 (tests take these from here)
from .vhost_user import BackChannel, FrontEnd

MIB = 1 << 20

# What QEMU's front ends acknowledge.
PROTOCOL = (vu.P_MQ | vu.P_REPLY_ACK | vu.P_BACKEND_REQ | vu.P_CONFIG | vu.P_BACKEND_SEND_FD | vu.P_RESET_DEVICE
            | vu.P_CONFIGURE_MEM_SLOTS | vu.P_STATUS | vu.P_SHMEM)
DRIVER = vu.F_VERSION_1 | gpu.F_EDID | gpu.F_UUID | gpu.F_BLOB | rings.F_INDIRECT_DESC | rings.F_EVENT_IDX


class Machine(Driver):
    """`protocol` and `features` are the most that is acknowledged of what the device offers."""

    def __init__(self, process, sock, protocol=PROTOCOL, features=DRIVER, console=None, back_channel=None,
                 ram_bytes=None, regions=None, ring_size=64):
        super().__init__(process, ram_bytes, regions, ring_size)
        self.front_end = FrontEnd(sock)
        self.want_protocol = protocol
        self.want_features = features
        self.console = console
        self.back_channel = back_channel
        self.memory_shown = []

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
        # With the window settled there may be more.
        offered = fe.ask_u64(vu.GET_FEATURES)
        assert offered & self.offered == self.offered
        self.offered = offered
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

    def close(self):
        if self.closed:
            return
        self.closed = True
        self.front_end.close()
        if self.back_channel:
            self.back_channel.close()
        if self.console:
            self.console.close()
        self.close_guest()

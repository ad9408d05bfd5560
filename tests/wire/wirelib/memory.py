# SPDX-License-Identifier: MIT
"""Guest memory: memfds that the device maps too, and an allocator over them."""

import mmap
import os
import struct

PAGE = 4096


class Region:
    """One slot of guest memory. `user_addr` is the front end's own address of it, as vhost-user has it."""

    def __init__(self, guest_addr, size, user_addr=None, fd_offset=0):
        self.guest_addr = guest_addr
        self.size = size
        self.user_addr = guest_addr + 0x7F00_0000_0000 if user_addr is None else user_addr
        self.fd_offset = fd_offset
        self.fd = os.memfd_create("guest-ram", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, fd_offset + size)
        self.map = mmap.mmap(self.fd, fd_offset + size)

    def __contains__(self, addr):
        return self.guest_addr <= addr < self.guest_addr + self.size

    def record(self):
        """The region as messages carry it."""
        return struct.pack("<QQQQ", self.guest_addr, self.size, self.user_addr, self.fd_offset)

    def close(self):
        self.map.close()
        os.close(self.fd)


class Memory:
    """All regions of a guest. Allocations come from the first one, zeroed, page-aligned from a page up."""

    def __init__(self, regions):
        self.regions = list(regions)
        self.next = self.regions[0].guest_addr + PAGE  # address 0 stays unused: a zero descriptor is no accident
        self.free_lists = {}

    def region(self, addr, size=1):
        for region in self.regions:
            if addr in region and addr + size <= region.guest_addr + region.size:
                return region
        raise IndexError(f"no guest memory at {addr:#x}+{size:#x}")

    def to_user(self, addr):
        region = self.region(addr)
        return addr - region.guest_addr + region.user_addr

    def write(self, addr, data):
        region = self.region(addr, max(1, len(data)))
        start = addr - region.guest_addr + region.fd_offset
        region.map[start:start + len(data)] = data

    def read(self, addr, size):
        region = self.region(addr, max(1, size))
        start = addr - region.guest_addr + region.fd_offset
        return region.map[start:start + size]

    @staticmethod
    def size_class(size):
        return max(64, 1 << (size - 1).bit_length()) if size > 1 else 64

    def alloc(self, size):
        block = self.size_class(size)
        if self.free_lists.get(block):
            addr = self.free_lists[block].pop()
        else:
            align = min(block, PAGE)
            addr = (self.next + align - 1) // align * align
            self.next = addr + block
            self.region(addr, block)
        self.write(addr, bytes(size))
        return addr

    def free(self, addr, size):
        self.free_lists.setdefault(self.size_class(size), []).append(addr)

    def close(self):
        for region in self.regions:
            region.close()

# SPDX-License-Identifier: MIT
"""virtio-gpu commands and responses (virtio 1.3, 5.7.6)."""

import struct

F_VIRGL, F_EDID, F_UUID, F_BLOB, F_CONTEXT_INIT = (1 << bit for bit in range(5))

GET_DISPLAY_INFO = 0x100
RESOURCE_CREATE_2D = 0x101
RESOURCE_UNREF = 0x102
SET_SCANOUT = 0x103
RESOURCE_FLUSH = 0x104
TRANSFER_TO_HOST_2D = 0x105
ATTACH_BACKING = 0x106
DETACH_BACKING = 0x107
GET_CAPSET_INFO = 0x108
GET_CAPSET = 0x109
GET_CAPSET_INFO = 0x108
GET_CAPSET = 0x109
GET_EDID = 0x10A
ASSIGN_UUID = 0x10B
CREATE_BLOB = 0x10C
SET_SCANOUT_BLOB = 0x10D
CTX_CREATE = 0x200
CTX_DESTROY = 0x201
CTX_ATTACH = 0x202
CTX_DETACH = 0x203
CREATE_3D = 0x204
TRANSFER_TO_HOST_3D = 0x205
TRANSFER_FROM_HOST_3D = 0x206
SUBMIT_3D = 0x207
MAP_BLOB = 0x208
UNMAP_BLOB = 0x209
UPDATE_CURSOR = 0x300
MOVE_CURSOR = 0x301

OK_NODATA = 0x1100
OK_DISPLAY_INFO = 0x1101
OK_EDID = 0x1104
OK_UUID = 0x1105
OK_MAP_INFO = 0x1106
ERR_UNSPEC = 0x1200
ERR_OUT_OF_MEMORY = 0x1201
ERR_SCANOUT_ID = 0x1202
ERR_RESOURCE_ID = 0x1203
ERR_CONTEXT_ID = 0x1204
ERR_PARAMETER = 0x1205
ERRORS = range(0x1200, 0x1206)

FLAG_FENCE = 1
FLAG_RING_IDX = 2

HEADER_BYTES = 24
DISPLAY_INFO_BYTES = 24 + 16 * 24
EDID_BYTES = 24 + 8 + 1024
UUID_BYTES = 24 + 16
CAPSET_INFO_BYTES = 24 + 16
CAPSET_BYTES = 24 + 1024
MAP_INFO_BYTES = 24 + 8

# Name -> (code, which byte of a pixel holds what). The names give bytes in the order of memory.
FORMATS = {"B8G8R8A8": 1, "B8G8R8X8": 2, "A8R8G8B8": 3, "X8R8G8B8": 4,
           "R8G8B8A8": 67, "X8B8G8R8": 68, "A8B8G8R8": 121, "R8G8B8X8": 134}
BGRX = FORMATS["B8G8R8X8"]
BGRA = FORMATS["B8G8R8A8"]


def response_bytes(command):
    """How large the answer to a command can get."""
    return {GET_DISPLAY_INFO: DISPLAY_INFO_BYTES, GET_EDID: EDID_BYTES, ASSIGN_UUID: UUID_BYTES,
            GET_CAPSET_INFO: CAPSET_INFO_BYTES, GET_CAPSET: CAPSET_BYTES, MAP_BLOB: MAP_INFO_BYTES}.get(command, HEADER_BYTES)


class Header:
    """What every command and response starts with."""

    def __init__(self, kind, flags=0, fence_id=0, ctx_id=0, ring_idx=0):
        self.kind, self.flags, self.fence_id, self.ctx_id, self.ring_idx = kind, flags, fence_id, ctx_id, ring_idx

    def pack(self):
        return struct.pack("<IIQIB3x", self.kind, self.flags, self.fence_id, self.ctx_id, self.ring_idx)


class Response(Header):
    def __init__(self, data):
        if len(data) < HEADER_BYTES:
            raise AssertionError(f"the response has {len(data)} bytes, less than a header")
        super().__init__(*struct.unpack_from("<IIQIB3x", data))
        self.body = data[HEADER_BYTES:]

    def __repr__(self):
        return f"<response {self.kind:#x} flags {self.flags} fence {self.fence_id} and {len(self.body)} bytes>"

    @property
    def ok(self):
        return OK_NODATA <= self.kind < ERR_UNSPEC


def command(kind, layout="", *fields, fence=None, ctx_id=0, ring_idx=None, flags=0):
    """One command. `fence`: its id; `ring_idx`: with the flag that says so."""
    if fence is not None:
        flags |= FLAG_FENCE
    if ring_idx is not None:
        flags |= FLAG_RING_IDX
    header = Header(kind, flags, fence or 0, ctx_id, ring_idx or 0)
    return header.pack() + struct.pack("<" + layout, *fields)


def get_display_info(**header):
    return command(GET_DISPLAY_INFO, **header)


def get_edid(scanout, **header):
    return command(GET_EDID, "II", scanout, 0, **header)


def create_2d(resource, width, height, fmt=BGRX, **header):
    return command(RESOURCE_CREATE_2D, "IIII", resource, fmt, width, height, **header)


def unref(resource, **header):
    return command(RESOURCE_UNREF, "II", resource, 0, **header)


def entries(spans):
    """Backing entries from (addr, len) pairs."""
    return b"".join(struct.pack("<QII", addr & (2**64 - 1), length, 0) for addr, length in spans)


def attach_backing(resource, spans, count=None, **header):
    """The whole command in one piece; `count` lies about the number of entries."""
    return command(ATTACH_BACKING, "II", resource, len(spans) if count is None else count, **header) + entries(spans)


def detach_backing(resource, **header):
    return command(DETACH_BACKING, "II", resource, 0, **header)


def set_scanout(scanout, resource, rect, **header):
    return command(SET_SCANOUT, "IIIIII", *rect, scanout, resource, **header)


def flush(resource, rect, **header):
    return command(RESOURCE_FLUSH, "IIIIII", *rect, resource, 0, **header)


def transfer(resource, rect, offset=0, **header):
    return command(TRANSFER_TO_HOST_2D, "IIIIQII", *rect, offset, resource, 0, **header)


def assign_uuid(resource, **header):
    return command(ASSIGN_UUID, "II", resource, 0, **header)


def create_blob(resource, size, spans, mem=1, flags=0, blob_id=0, count=None, **header):
    return command(CREATE_BLOB, "IIIIQQ", resource, mem, flags, len(spans) if count is None else count, blob_id, size,
                   **header) + entries(spans)


def set_scanout_blob(scanout, resource, rect, width, height, stride, offset=0, fmt=BGRX, **header):
    return command(SET_SCANOUT_BLOB, "IIIIIIIIII4I4I", *rect, scanout, resource, width, height, fmt, 0,
                   stride, 0, 0, 0, offset, 0, 0, 0, **header)


# 3D contexts and host blobs.

def get_capset_info(index, **header):
    return command(GET_CAPSET_INFO, "II", index, 0, **header)


def get_capset(capset, version=0, **header):
    return command(GET_CAPSET, "II", capset, version, **header)


def ctx_create(ctx_id, context_init, name=b"", nlen=None, **header):
    return command(CTX_CREATE, "II64s", len(name) if nlen is None else nlen, context_init, name, ctx_id=ctx_id, **header)


def ctx_destroy(ctx_id, **header):
    return command(CTX_DESTROY, ctx_id=ctx_id, **header)


def ctx_attach(ctx_id, resource, **header):
    return command(CTX_ATTACH, "II", resource, 0, ctx_id=ctx_id, **header)


def ctx_detach(ctx_id, resource, **header):
    return command(CTX_DETACH, "II", resource, 0, ctx_id=ctx_id, **header)


def submit_3d(ctx_id, data=b"", size=None, **header):
    return command(SUBMIT_3D, "II", len(data) if size is None else size, 0, ctx_id=ctx_id, **header) + data


def create_host_blob(ctx_id, resource, size, mem=2, flags=1, blob_id=0, entries=0, **header):
    return command(CREATE_BLOB, "IIIIQQ", resource, mem, flags, entries, blob_id, size, ctx_id=ctx_id, **header)


def create_3d(resource, width, height, target=2, fmt=1, bind=1 << 3, depth=1, array_size=1, last_level=0, nr_samples=0,
              **header):
    return command(CREATE_3D, "12I", resource, target, fmt, bind, width, height, depth, array_size, last_level, nr_samples,
                   0, 0, **header)


def map_blob(resource, offset, **header):
    return command(MAP_BLOB, "IIQ", resource, 0, offset, **header)


def unmap_blob(resource, **header):
    return command(UNMAP_BLOB, "II", resource, 0, **header)


def transfer_3d(kind, ctx_id, resource, box=(0, 0, 0, 1, 1, 1), offset=0, level=0, stride=0, layer_stride=0, **header):
    return command(kind, "6IQ4I", *box, offset, resource, level, stride, layer_stride, ctx_id=ctx_id, **header)


def update_cursor(scanout, x, y, resource, hot_x=0, hot_y=0, **header):
    return command(UPDATE_CURSOR, "IIIIIIII", scanout, x & 0xFFFFFFFF, y & 0xFFFFFFFF, 0, resource, hot_x, hot_y, 0,
                   **header)


def move_cursor(scanout, x, y, **header):
    return command(MOVE_CURSOR, "IIIIIIII", scanout, x & 0xFFFFFFFF, y & 0xFFFFFFFF, 0, 0, 0, 0, 0, **header)


def parse_display_info(response):
    """[(x, y, width, height, enabled)] of the 16 scanouts."""
    assert response.kind == OK_DISPLAY_INFO and len(response.body) == 16 * 24, response
    return [struct.unpack_from("<IIIIII", response.body, 24 * i)[:5] for i in range(16)]


def parse_edid(response):
    assert response.kind == OK_EDID and len(response.body) == 8 + 1024, response
    size = struct.unpack_from("<I", response.body)[0]
    assert size % 128 == 0 and 128 <= size <= 1024
    return response.body[8:8 + size]


def pixel(fmt, red, green, blue, alpha=0xFF):
    """One pixel of the named format as bytes."""
    values = {"R": red, "G": green, "B": blue, "A": alpha, "X": alpha}
    return bytes(values[channel] for channel in fmt[0::2])


def pattern(fmt, width, height, seed=0):
    """A picture without symmetries, in the named format: (bytes, [(r, g, b)])."""
    colours = [((x * 7 + seed * 31) & 0xFF, (y * 11 + seed * 17) & 0xFF, (x * 3 ^ y * 5 ^ seed) & 0xFF)
               for y in range(height) for x in range(width)]
    return b"".join(pixel(fmt, *colour) for colour in colours), colours

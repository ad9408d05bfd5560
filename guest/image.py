# SPDX-License-Identifier: MIT
"""Pictures as plain RGB bytes: reads PNG, PPM and XWD, writes PNG. Python 3, standard library only."""

import struct
import zlib


class Image:
    """width x height pixels in `rgb`, three bytes each, rows from top to bottom."""

    def __init__(self, width, height, rgb):
        if len(rgb) != width * height * 3:
            raise ValueError(f"{len(rgb)} bytes are not {width}x{height} pixels")
        self.width, self.height, self.rgb = width, height, bytes(rgb)

    def __eq__(self, other):
        return (self.width, self.height, self.rgb) == (other.width, other.height, other.rgb)

    def __repr__(self):
        return f"<Image {self.width}x{self.height}>"

    def pixel(self, x, y):
        """(red, green, blue)"""
        if not (0 <= x < self.width and 0 <= y < self.height):
            raise IndexError(f"({x}, {y}) is outside {self.width}x{self.height}")
        at = (y * self.width + x) * 3
        return tuple(self.rgb[at:at + 3])

    def crop(self, x, y, width, height):
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise IndexError("the rectangle is not inside the image")
        rows = (self.rgb[((y + row) * self.width + x) * 3:][:width * 3] for row in range(height))
        return Image(width, height, b"".join(rows))

    def colours(self):
        """The set of different pixels."""
        return {self.rgb[at:at + 3] for at in range(0, len(self.rgb), 3)}

    def differing(self, other, tolerance=0):
        """How many pixels differ by more than `tolerance` in some channel."""
        if (self.width, self.height) != (other.width, other.height):
            raise ValueError(f"{self} and {other} are of different size")
        if self.rgb == other.rgb:
            return 0
        count = 0
        for at in range(0, len(self.rgb), 3):
            a, b = self.rgb[at:at + 3], other.rgb[at:at + 3]
            if a != b and max(abs(x - y) for x, y in zip(a, b)) > tolerance:
                count += 1
        return count

    def write_png(self, path):
        raw = b"".join(b"\0" + self.rgb[row * self.width * 3:][:self.width * 3] for row in range(self.height))
        with open(path, "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n")
            for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)),
                               (b"IDAT", zlib.compress(raw, 6)), (b"IEND", b"")):
                file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


def read_image(path):
    """Reads a PNG (8 bits a channel, not interlaced), a PPM (P6) or an XWD (24 or 32 bits a pixel)."""
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _read_png(data)
    if data.startswith(b"P6"):
        return _read_ppm(data)
    return read_xwd(data)


def _read_ppm(data):
    fields, at = [], 2
    while len(fields) < 3:
        while data[at:at + 1].isspace():
            at += 1
        if data[at:at + 1] == b"#":
            at = data.index(b"\n", at)
            continue
        start = at
        while not data[at:at + 1].isspace():
            at += 1
        fields.append(int(data[start:at]))
    width, height, maximum = fields
    if maximum != 255:
        raise ValueError("only PPM with 8 bits a channel")
    return Image(width, height, data[at + 1:at + 1 + width * height * 3])


def _read_png(data):
    at, packed, header, palette = 8, b"", None, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            raise ValueError("a PNG chunk has a wrong checksum")
        at += 12 + length
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = body
        elif kind == b"IDAT":
            packed += body
        elif kind == b"IEND":
            break
    width, height, depth, colour, _, _, interlaced = header
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if depth != 8 or interlaced:
        raise ValueError("only PNG with 8 bits a channel, not interlaced")
    raw, stride = zlib.decompress(packed), width * channels
    previous, rows = bytearray(stride), []
    for row in range(height):
        kind, line = raw[row * (stride + 1)], bytearray(raw[row * (stride + 1) + 1:(row + 1) * (stride + 1)])
        _unfilter(kind, line, previous, channels)
        rows.append(line)
        previous = line
    flat = b"".join(rows)
    if colour == 2:
        return Image(width, height, flat)
    rgb = bytearray(width * height * 3)
    if colour == 3:
        for channel in range(3):
            rgb[channel::3] = bytes(palette[value * 3 + channel] for value in flat)
    else:
        for channel in range(3):
            rgb[channel::3] = flat[(channel if channels > 2 else 0)::channels]
    return Image(width, height, rgb)


def _unfilter(kind, line, previous, step):
    """Undoes a PNG row filter in place."""
    if kind == 2:
        # Whole rows at once: by far the most frequent case in screenshots, with "none".
        both = zip(line, previous)
        line[:] = bytes((a + b) & 255 for a, b in both)
    elif kind == 1:
        for at in range(step, len(line)):
            line[at] = (line[at] + line[at - step]) & 255
    elif kind == 3:
        for at, value in enumerate(line):
            left = line[at - step] if at >= step else 0
            line[at] = (value + (left + previous[at]) // 2) & 255
    elif kind == 4:
        for at, value in enumerate(line):
            left = line[at - step] if at >= step else 0
            corner = previous[at - step] if at >= step else 0
            up = previous[at]
            near = left + up - corner
            best = min((abs(near - left), 0, left), (abs(near - up), 1, up), (abs(near - corner), 2, corner))[2]
            line[at] = (value + best) & 255
    elif kind != 0:
        raise ValueError("unknown PNG filter")


def read_xwd(data):
    """What xwd writes for a true-colour screen."""
    header = struct.unpack_from(">25I", data)
    size, version, form, _, width, height, _, order, _, _, _, bits, stride, _, red, green, blue = header[:17]
    entries = header[19]
    if version != 7 or form != 2 or bits not in (24, 32):
        raise ValueError("only XWD version 7, Z pixmap, 24 or 32 bits")
    start, step = size + entries * 12, bits // 8
    rgb = bytearray(width * height * 3)
    pixels = b"".join(data[start + row * stride:][:width * step] for row in range(height))
    for channel, mask in enumerate((red, green, blue)):
        place = {0xff: 0, 0xff00: 1, 0xff0000: 2}[mask]
        rgb[channel::3] = pixels[(place if order == 0 else step - 1 - place)::step]
    return Image(width, height, rgb)

# SPDX-License-Identifier: MIT
"""Just enough PNG to read what `pvgpu screenshot` writes: 8 bits, RGB or RGBA, not interlaced."""

import struct
import zlib


class Picture:
    def __init__(self, data):
        assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
        chunks, position = {}, 8
        while position < len(data):
            size, kind = struct.unpack_from(">I4s", data, position)
            body = data[position + 8:position + 8 + size]
            crc = struct.unpack_from(">I", data, position + 8 + size)[0]
            assert zlib.crc32(kind + body) == crc, f"chunk {kind} is damaged"
            chunks[kind] = chunks.get(kind, b"") + body
            position += 12 + size
        assert b"IEND" in chunks, "cut short"
        self.width, self.height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        assert depth == 8 and colour in (2, 6) and interlace == 0, (depth, colour, interlace)
        self.channels = {2: 3, 6: 4}[colour]
        self.rows = self._unfilter(zlib.decompress(chunks[b"IDAT"]))

    def _unfilter(self, raw):
        step, stride = self.channels, self.width * self.channels
        assert len(raw) == (stride + 1) * self.height
        rows, above = [], bytes(stride)
        for y in range(self.height):
            kind = raw[y * (stride + 1)]
            row = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
            if kind:
                for i in range(stride):
                    left = row[i - step] if i >= step else 0
                    corner = above[i - step] if i >= step else 0
                    row[i] = (row[i] + self._predict(kind, left, above[i], corner)) & 0xFF
            above = bytes(row)
            rows.append(above)
        return rows

    @staticmethod
    def _predict(kind, left, up, corner):
        if kind == 1:
            return left
        if kind == 2:
            return up
        if kind == 3:
            return (left + up) // 2
        assert kind == 4, "unknown filter"
        estimate = left + up - corner
        return min((left, up, corner), key=lambda value: abs(estimate - value))

    def pixel(self, x, y):
        return tuple(self.rows[y][x * self.channels:x * self.channels + 3])

    def pixels(self):
        """[(r, g, b)], row by row."""
        return [self.pixel(x, y) for y in range(self.height) for x in range(self.width)]

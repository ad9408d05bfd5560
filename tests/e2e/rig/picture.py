# SPDX-License-Identifier: MIT
"""Pictures as rows of RGB bytes: reading PNG and PPM, the guest programs' test patterns, comparing pixel by pixel."""

import ctypes
import ctypes.util
import dataclasses
import pathlib
import re

CURSOR_SIDE = 64


class PictureError(Exception):
    """A file that is no picture."""


@dataclasses.dataclass(frozen=True)
class Picture:
    width: int
    height: int
    rgb: bytes  # 3 bytes a pixel, no padding

    def __post_init__(self):
        assert len(self.rgb) == self.width * self.height * 3

    @property
    def size(self):
        return self.width, self.height

    def pixel(self, x, y):
        at = (y * self.width + x) * 3
        return tuple(self.rgb[at:at + 3])

    def crop(self, x, y, width, height):
        assert 0 <= x and x + width <= self.width and 0 <= y and y + height <= self.height
        stride = self.width * 3
        start = y * stride + x * 3
        return Picture(width, height, b"".join(self.rgb[start + row * stride:start + row * stride + width * 3]
                                               for row in range(height)))

    def paste(self, picture, x, y):
        """This picture with another laid over it; what sticks out is cut off."""
        rows = bytearray(self.rgb)
        left, right = max(x, 0), min(x + picture.width, self.width)
        for row in range(max(y, 0), min(y + picture.height, self.height)):
            if left < right:
                source = ((row - y) * picture.width + left - x) * 3
                target = (row * self.width + left) * 3
                rows[target:target + (right - left) * 3] = picture.rgb[source:source + (right - left) * 3]
        return Picture(self.width, self.height, bytes(rows))

    def colours(self, at_most=4096):
        """The number of different colours, counted up to a limit."""
        seen = set()
        for at in range(0, len(self.rgb), 3):
            seen.add(self.rgb[at:at + 3])
            if len(seen) >= at_most:
                break
        return len(seen)

    def difference_box(self, other):
        """(left, top, right, bottom), the last ones inside, of the pixels in which two pictures of one size differ, or None."""
        assert self.size == other.size
        stride, lefts, rights, rows = self.width * 3, [], [], []
        for y in range(self.height):
            mine, theirs = (rgb[y * stride:(y + 1) * stride] for rgb in (self.rgb, other.rgb))
            if mine != theirs:
                bits = int.from_bytes(mine, "little") ^ int.from_bytes(theirs, "little")
                lefts.append(((bits & -bits).bit_length() - 1) // 24)
                rights.append((bits.bit_length() - 1) // 24)
                rows.append(y)
        return (min(lefts), rows[0], max(rights), rows[-1]) if rows else None

    def difference(self, expected, tolerance=0):
        """None if every channel of every pixel is within `tolerance`, else a sentence that says where it is not."""
        if self.size != expected.size:
            return f"the picture is {self.width}x{self.height}, not {expected.width}x{expected.height}"
        if self.rgb == expected.rgb:
            return None
        wrong, first = 0, None
        for at in range(0, len(self.rgb), 3):
            mine, theirs = self.rgb[at:at + 3], expected.rgb[at:at + 3]
            if mine != theirs and max(abs(a - b) for a, b in zip(mine, theirs)) > tolerance:
                wrong += 1
                first = at if first is None else first
        if not wrong:
            return None
        x, y = first // 3 % self.width, first // 3 // self.width
        return (f"{wrong} of {self.width * self.height} pixels differ, the first at ({x}, {y}): "
                f"{self.pixel(x, y)} instead of {expected.pixel(x, y)}")


def solid(width, height, colour):
    return Picture(width, height, bytes(colour) * (width * height))


def gradient(width, height):
    red = [x * 255 // (width - 1) if width > 1 else 0 for x in range(width)]
    rows = []
    for y in range(height):
        row = bytearray(width * 3)
        row[0::3] = bytes(red)
        row[1::3] = bytes([y * 255 // (height - 1) if height > 1 else 0]) * width
        row[2::3] = bytes([(x ^ y) & 255 for x in range(width)])
        rows.append(bytes(row))
    return Picture(width, height, b"".join(rows))


def checker(width, height):
    def row(phase):
        return b"".join((b"\xe0" if (x // 32 + phase) % 2 == 0 else b"\x20") * 3 for x in range(width))
    rows = [row(0), row(1)]
    return Picture(width, height, b"".join(rows[y // 32 % 2] for y in range(height)))


def corners(width, height):
    picture = solid(width, height, (0x80, 0x80, 0x80))
    for colour, x, y in (((255, 255, 255), width - 64, height - 64), ((0, 0, 255), 0, height - 64),
                         ((0, 255, 0), width - 64, 0), ((255, 0, 0), 0, 0)):
        picture = picture.paste(solid(64, 64, colour), x, y)
    frame = (255, 255, 0)
    for line, x, y in ((solid(width, 1, frame), 0, 0), (solid(width, 1, frame), 0, height - 1),
                       (solid(1, height, frame), 0, 0), (solid(1, height, frame), width - 1, 0)):
        picture = picture.paste(line, x, y)
    return picture


def pattern(name, width, height):
    """The guest programs' pattern of that name: solid:RRGGBB, gradient, checker, corners."""
    kind, _, argument = name.partition(":")
    if kind == "solid":
        return solid(width, height, bytes.fromhex(argument or "3060c0"))
    return {"gradient": gradient, "checker": checker, "corners": corners}[kind](width, height)


def with_cursor(picture, x, y):
    """The picture with the guest programs' test cursor drawn with its top left pixel at (x, y)."""
    half = CURSOR_SIDE // 2
    picture = picture.paste(solid(half, half, (255, 0, 0)), x, y)
    picture = picture.paste(solid(half, half, (0, 255, 0)), x + half, y)
    left, top = max(x, 0), max(y + half, 0)
    right, bottom = min(x + half, picture.width), min(y + 2 * half, picture.height)
    if left < right and top < bottom:
        # Premultiplied blue of 0x80 at an alpha of 0x80 over what is there.
        under = picture.crop(left, top, right - left, bottom - top)
        blended = bytearray(((255 - 0x80) * channel + 127) // 255 for channel in under.rgb)
        blended[2::3] = bytes(min(255, 0x80 + channel) for channel in blended[2::3])
        picture = picture.paste(Picture(under.width, under.height, bytes(blended)), left, top)
    return picture.paste(solid(1, 1, (255, 255, 255)), x, y)


def shows_gears(seen):
    """Whether glxgears of 300x300 is at the top left: red, green and blue where they belong, the right way up."""
    blue, red, green = (seen.crop(*box).rgb for box in ((55, 35, 80, 90), (25, 130, 140, 140), (185, 150, 50, 60)))

    def share(rgb, channel):
        hits = sum(rgb[at + channel] > 90 and rgb[at + channel] == max(rgb[at:at + 3]) for at in range(0, len(rgb), 3))
        return hits / (len(rgb) / 3)
    return share(blue, 2) > 0.3 and share(red, 0) > 0.4 and share(green, 1) > 0.25


class _PngImage(ctypes.Structure):
    """png_image of libpng's simplified interface."""
    _fields_ = [("opaque", ctypes.c_void_p), ("version", ctypes.c_uint32), ("width", ctypes.c_uint32),
                ("height", ctypes.c_uint32), ("format", ctypes.c_uint32), ("flags", ctypes.c_uint32),
                ("colormap_entries", ctypes.c_uint32), ("warning_or_error", ctypes.c_uint32),
                ("message", ctypes.c_char * 64)]


def parse_png(data):
    libpng = ctypes.CDLL(ctypes.util.find_library("png16") or "libpng16.so.16")
    image = _PngImage(version=1)
    libpng.png_image_begin_read_from_memory.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    libpng.png_image_finish_read.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32,
                                             ctypes.c_void_p]
    if not libpng.png_image_begin_read_from_memory(ctypes.byref(image), data, len(data)):
        raise PictureError(f"not a PNG: {image.message.decode()}")
    image.format = 2  # PNG_FORMAT_RGB
    pixels = ctypes.create_string_buffer(image.width * image.height * 3)
    background = (ctypes.c_uint8 * 3)(0, 0, 0)
    if not libpng.png_image_finish_read(ctypes.byref(image), background, pixels, 0, None):
        raise PictureError(f"a broken PNG: {image.message.decode()}")
    return Picture(image.width, image.height, pixels.raw)


def parse_ppm(data):
    """Binary PPM as QEMU's screendump writes it: 8 bits a channel, no comments, each row padded to 4 bytes."""
    header = re.match(rb"P6\s(\d+)\s(\d+)\s255\s", data)
    if not header:
        raise PictureError("not a binary PPM with 8 bits a channel")
    width, height = int(header[1]), int(header[2])
    body = data[header.end():]
    row, padded = width * 3, (width * 3 + 3) // 4 * 4
    if len(body) == row * height:
        return Picture(width, height, body)
    if len(body) != padded * height:
        raise PictureError("a PPM that is cut short")
    return Picture(width, height, b"".join(body[y * padded:y * padded + row] for y in range(height)))


def read(path):
    data = pathlib.Path(path).read_bytes()
    return parse_ppm(data) if data.startswith(b"P6") else parse_png(data)


TRIANGLE_TOLERANCE = 3


def triangle_difference(seen):
    """None if the picture is the guest's test triangle (its scene.h has the formula), else where it is not."""
    width, height = seen.size
    background = bytes((0x20, 0x30, 0x40))
    # Perpendicular distance from a slanted edge is horizontal distance times this.
    steepness = (height / 2) / ((width / 4) ** 2 + (height / 2) ** 2) ** 0.5
    margin = 1 / steepness
    checked = 0
    for y in range(height):
        row = seen.rgb[y * width * 3:(y + 1) * width * 3]
        down = (y + 0.5) / height
        if down < 0.25 or down > 0.75:
            if min(abs(down - 0.25), abs(down - 0.75)) * height >= 1 and row != background * width:
                x = next(x for x in range(width) if row[x * 3:x * 3 + 3] != background)
                return f"({x}, {y}) is {seen.pixel(x, y)} instead of the background"
            continue
        if min(down - 0.25, 0.75 - down) * height < 1.5:
            continue
        top = (0.75 - down) / 0.5
        left_edge, right_edge = width * (0.25 + 0.25 * top), width * (0.75 - 0.25 * top)
        for outside in (range(0, int(left_edge - margin)), range(int(right_edge + margin) + 1, width)):
            if row[outside.start * 3:outside.stop * 3] != background * len(outside):
                x = next(x for x in outside if row[x * 3:x * 3 + 3] != background)
                return f"({x}, {y}) is {seen.pixel(x, y)} instead of the background"
        red = round(255 * top)
        for x in range(int(left_edge + margin) + 1, int(right_edge - margin)):
            # across = 0.25 left + 0.5 top + 0.75 right, and left + top + right = 1
            right = ((x + 0.5) / width - 0.25 - 0.25 * top) / 0.5
            expected = red, round(255 * right), round(255 * (1 - top - right))
            at = x * 3
            if max(abs(row[at] - expected[0]), abs(row[at + 1] - expected[1]),
                   abs(row[at + 2] - expected[2])) > TRIANGLE_TOLERANCE:
                return f"({x}, {y}) is {seen.pixel(x, y)} instead of about {expected}"
            checked += 1
    return None if checked > width * height / 10 else "hardly anything of the triangle is visible"

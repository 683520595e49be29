"""Pictures drawn, encoded, broken and forged for tests, and assertions on what they decode to."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from processor.errors import RejectedImage
from processor.photos.decode import decode

RED, GREEN, BLUE, GREY = (220, 30, 40), (30, 200, 60), (40, 50, 210), (128, 128, 128)


def scene(width=64, height=48, mode="RGB"):
    """Four quadrants: red and green above, blue and grey below."""
    image = Image.new("RGB", (width, height), GREY)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), RED)
    draw.rectangle((width // 2, 0, width, height // 2 - 1), GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height), BLUE)
    return image.convert(mode)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, body):
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png(width, height, depth, colour, row, *extra):
    """A PNG whose rows are all `row` (packed samples), with `extra` chunks before the data."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress((b"\0" + row) * min(height, 1000))
    parts = [chunk(b"IHDR", head), *extra, chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_chunk(data, *chunks):
    """The PNG with chunks inserted after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def with_segment(data, marker, body):
    """The JPEG with a segment inserted before its others."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def with_jpeg_size(data, width, height):
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def corners(photo):
    """The four corner colours, a tenth of the side away from the edge."""
    near = max(1, len(photo.pixels) // 10)
    return [photo.pixels[y, x].astype(int) for y in (near, -near) for x in (near, -near)]


def assert_scene(photo, tolerance=3):
    for seen, drawn in zip(corners(photo), (RED, GREEN, BLUE, GREY), strict=True):
        assert np.abs(seen - drawn).max() <= tolerance, (seen, drawn)


def assert_colour(data, colour, tolerance=1):
    pixels = decode(data, 8).pixels.astype(int)
    assert np.abs(pixels - colour).max() <= tolerance, pixels[0, 0]


def rejection(data, **options):
    with pytest.raises(RejectedImage) as caught:
        decode(data, 32, **options)
    rejected = caught.value
    assert str(rejected) == f"{rejected.reason}: {rejected.detail}"
    assert 0 < len(rejected.detail) <= 300
    assert rejected.detail.isprintable()
    return rejected


def animation(kind, frames=40):
    later = [Image.new("RGB", (64, 48), (i, 0, 255 - i)) for i in range(1, frames)]
    return encode(scene(), kind, save_all=True, append_images=later, lossless=True)


def natural(width=320, height=240, mode="RGB"):
    """Soft shapes and a little grain, so that a JPEG of it has data all over."""
    rng = np.random.default_rng(11)
    soft = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.integers(-12, 13, (height, width, 1), dtype=np.int16)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).convert(mode)

"""Containers: forged sizes and hostile parts beside the picture, through processor.photos.decode."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from processor.photos.decode import decode
from tests.support.pictures import (
    assert_scene,
    chunk,
    encode,
    png,
    rejection,
    scene,
    with_chunk,
    with_segment,
)

HUGE = 50_000

# Bombs


def webp_canvas(width, height):
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_frame(kind):
    data = encode(scene(), "WEBP", lossless=kind == "VP8L")
    bits = 0x3FFF | 0x3FFF << 14
    at = data.index(b"\x9d\x01\x2a") + 3 if kind == "VP8 " else 21
    forged = struct.pack("<HH", 0x3FFF, 0x3FFF) if kind == "VP8 " else struct.pack("<I", bits)
    assert data[12:16] == kind.encode()
    return data[:at] + forged + data[at + 4 :]


def gif_bomb(screen, frame):
    descriptor = struct.pack("<BHHHHB", 0x2C, 0, 0, *frame, 0)
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0) + descriptor + b"\2\1\0\0;"


def bmp_bomb(height):
    data = encode(scene(), "BMP")
    return data[:18] + struct.pack("<ii", HUGE, height) + data[26:]


BOMBS = {
    "PNG": png(HUGE, HUGE, 8, 2, b""),
    "PNG, header only": png(HUGE, HUGE, 8, 2, b"")[:40],
    "PNG, second header": with_chunk(
        encode(scene(), "PNG"), chunk(b"IHDR", struct.pack(">IIBBBBB", HUGE, HUGE, 8, 2, 0, 0, 0))
    ),
    "PNG of 31 bits": png(2**31 - 1, 2**31 - 1, 1, 0, b""),
    "PNG, thin": png(1, 100_000_000, 1, 0, b"\0"),
    "PNG, flat": png(100_000_000, 1, 1, 0, b"\0"),
    "WebP canvas": webp_canvas(HUGE, HUGE),
    "WebP lossy": webp_frame("VP8 "),
    "WebP lossless": webp_frame("VP8L"),
    "BMP": bmp_bomb(HUGE),
    "BMP from the top": bmp_bomb(-HUGE),
    "GIF screen": gif_bomb((HUGE, HUGE), (1, 1)),
    "GIF frame": gif_bomb((1, 1), (HUGE, HUGE)),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bomb_is_rejected_by_its_header(data, monkeypatch):
    def load(self):
        pytest.fail("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    rejected = rejection(data)
    assert rejected.reason == "too-large"
    assert "100,000,000" in rejected.detail


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_limit_is_on_pixels_and_inclusive(kind):
    data = encode(scene(), kind)
    assert decode(data, 8, max_pixels=64 * 48).width == 64
    assert rejection(data, max_pixels=64 * 48 - 1).reason == "too-large"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_hundred_megapixels_pass(kind):
    image = Image.new("1", (10_000, 10_000), 1)
    photo = decode(encode(image.convert("L") if kind == "JPEG" else image, kind), 100)
    assert (photo.width, photo.height) == (10_000, 10_000)
    assert photo.pixels.min() >= 254


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_pillows_own_limit_does_not_matter(kind, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert_scene(decode(encode(scene(), kind, quality=95), 32), tolerance=6)


def test_jpeg_of_a_thousand_scans_is_rejected():
    data = encode(Image.new("L", (64, 48), 90), "JPEG", progressive=True)
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    scan = data[starts[2] : starts[3]]
    bomb = data[: starts[3]] + scan * 1000 + data[starts[3] :]
    assert rejection(bomb).reason == "too-large"


EMPTY = {
    "PNG": png(0, 4, 8, 2, b""),
    "GIF": gif_bomb((0, 0), (0, 0)),
    "GIF of no width": gif_bomb((0, 9), (0, 9)),
    "GIF frame": gif_bomb((9, 9), (0, 0)),
    "BMP": bmp_bomb(0),
    "WebP": webp_frame("VP8 ").replace(struct.pack("<HH", 0x3FFF, 0x3FFF), bytes(4)),
}


@pytest.mark.parametrize("data", EMPTY.values(), ids=EMPTY)
def test_a_photo_without_pixels_is_named(data):
    rejected = rejection(data)
    assert rejected.reason == "corrupt"
    assert "pixels, which is no picture" in rejected.detail


def test_a_gif_without_a_frame_is_named():
    rejected = rejection(b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b";")
    assert rejected.reason == "corrupt"
    assert "no picture" in rejected.detail


# Hostile parts

ZEROS = zlib.compress(bytes(64 << 20), 9)  # 64 KB that inflate to 64 MB
TEXT = b"Comment\0"
ANCILLARY = {
    "iCCP": [chunk(b"iCCP", b"icc\0\0" + ZEROS)],
    "iCCP, other method": [chunk(b"iCCP", b"icc\0\x07" + ZEROS)],
    "zTXt": [chunk(b"zTXt", TEXT + b"\0" + ZEROS)] * 20,
    "iTXt": [chunk(b"iTXt", TEXT + b"\1\0en\0\0" + ZEROS)],
    "tEXt": [chunk(b"tEXt", TEXT + bytes(2 << 20))] * 40,
    "wrong checksum": [chunk(b"tEXt", TEXT)[:-1] + b"?"],
    "too short": [chunk(kind, b"\1") for kind in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"fdAT")],
    "wrong animation": [chunk(b"acTL", bytes(8))] * 2,
    "method of Pillow's": [
        chunk(b"text", b""),
        chunk(b"IPLT", b""),
        chunk(b"\xff\xff\xff\xff", b""),
    ],
    "broken EXIF": [chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")],
}


@pytest.mark.parametrize("chunks", ANCILLARY.values(), ids=ANCILLARY)
def test_hostile_chunks_beside_the_picture_do_not_matter(chunks):
    assert_scene(decode(with_chunk(encode(scene(), "PNG"), *chunks), 32))


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE0, b""),
        (0xEE, b"Adobe"),
        (0xED, b"Photoshop 3.0\x008BIM"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<"),
        (0xFE, b"\0" * 65_000),
        (0xBF, b"reserved"),
    ],
)
def test_malformed_jpeg_segments_do_not_matter(marker, body):
    good = encode(scene(), "JPEG", quality=95)
    assert np.array_equal(
        decode(with_segment(good, marker, body), 32).pixels, decode(good, 32).pixels
    )

"""Decoding: every kind of file that can be drawn, through processor.photos.decode."""

import struct

import numpy as np
import pytest
from PIL import Image

from processor.photos.decode import decode
from tests.support.pictures import (
    animation,
    assert_colour,
    assert_scene,
    chunk,
    encode,
    exif,
    png,
    rejection,
    scene,
    with_chunk,
)

# What is read


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("JPEG", {"quality": 95, "keep_rgb": True}),
        ("JPEG", {"quality": 95, "restart_marker_blocks": 2}),
        ("PNG", {}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
    ],
)
@pytest.mark.parametrize("reduced", [True, False])
def test_every_format_gives_upright_rgb(kind, options, reduced):
    photo = decode(encode(scene(), kind, **options), 32, reduced_decode=reduced)
    assert photo.pixels.shape == (32, 32, 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert (photo.width, photo.height) == (64, 48)
    assert_scene(photo, tolerance=6)


def test_mpo_of_a_phone_gives_its_first_picture():
    other = Image.new("RGB", (64, 48), (0, 0, 0))
    data = encode(scene(), "MPO", save_all=True, append_images=[other], quality=95)
    assert data.count(b"\xff\xd8\xff") == 2
    assert_scene(decode(data, 32), tolerance=6)


def test_video_behind_a_motion_photo_is_ignored():
    data = encode(scene(), "JPEG", quality=95) + b"\xff\xda\xff\xd8" * 10_000
    assert_scene(decode(data, 32), tolerance=6)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "ICO", "TGA", "PDF", "JPEG2000"])
def test_other_formats_are_unsupported(kind):
    assert rejection(encode(scene(), kind)).reason == "unsupported"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"just a note, renamed to photo.jpg", "just a note"),
        (b"<html><body>404 Not Found", "<html>"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1", "isom"),
        (b"\x00\x1b\n\r\xff\xfe" * 100, "JPEG, PNG, WebP or GIF"),
        (b"\xff", "JPEG"),
    ],
)
def test_what_is_not_a_photo_is_unsupported_and_says_what_to_do(data, word):
    rejected = rejection(data)
    assert rejected.reason == "unsupported"
    assert word in rejected.detail


def test_a_file_without_bytes_is_empty():
    assert rejection(b"").reason == "empty"


STORED = {  # upright pixels -> what a camera that records this orientation stores
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(("kind", "factor"), [("JPEG", 1), ("JPEG", 20), ("PNG", 1), ("WEBP", 1)])
def test_orientation_is_applied(kind, factor, orientation):
    upright = np.asarray(scene(64 * factor, 48 * factor))
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    data = encode(stored, kind, exif=exif(orientation), quality=95)
    for reduced in (True, False):
        photo = decode(data, 32, reduced_decode=reduced)
        assert (photo.width, photo.height) == (64 * factor, 48 * factor)
        assert_scene(photo, tolerance=6)


def test_transposing_after_the_resize_equals_transposing_before():
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (97, 61, 3), dtype=np.uint8)
    for orientation, store in STORED.items():
        stored = Image.fromarray(np.ascontiguousarray(store(noise)))
        turned = decode(encode(stored, "PNG", exif=exif(orientation)), 20).pixels.astype(int)
        upright = decode(encode(Image.fromarray(noise), "PNG"), 20).pixels
        assert np.abs(turned - upright).max() <= 1


def test_big_endian_exif_is_read():
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 3, 0)
    block = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    data = encode(scene().transpose(Image.Transpose.ROTATE_180), "JPEG", quality=95, exif=block)
    assert_scene(decode(data, 32), tolerance=6)


def palette_image(transparency):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 40, 60])
    return encode(image, "PNG", transparency=transparency)


COLOURS = {
    "grey JPEG": (encode(Image.new("L", (8, 8), 90), "JPEG"), (90, 90, 90)),
    "grey PNG": (encode(Image.new("L", (8, 8), 90), "PNG"), (90, 90, 90)),
    "black of 1 bit": (encode(Image.new("1", (8, 8), 0), "PNG"), (0, 0, 0)),
    "white of 1 bit": (encode(Image.new("1", (8, 8), 1), "PNG"), (255, 255, 255)),
    "grey of 2 bits": (png(4, 4, 2, 0, b"\xaa"), (170, 170, 170)),
    "palette": (palette_image(None), (200, 40, 60)),
    "palette, other entry transparent": (palette_image(0), (200, 40, 60)),
    "palette, this entry transparent": (palette_image(1), (255, 255, 255)),
    "palette with alpha": (palette_image(b"\0\x80"), (227, 147, 157)),
    "GIF, transparent": (
        encode(Image.new("P", (8, 8), 0), "GIF", transparency=0),
        (255, 255, 255),
    ),
    "LA": (encode(Image.new("LA", (8, 8), (0, 128)), "PNG"), (127, 127, 127)),
    "RGBA": (encode(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG"), (255, 127, 127)),
    "RGBA, opaque": (encode(Image.new("RGBA", (8, 8), (9, 99, 199, 255)), "PNG"), (9, 99, 199)),
    "RGBA, transparent black": (encode(Image.new("RGBA", (8, 8)), "PNG"), (255, 255, 255)),
    "RGBA WebP": (
        encode(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "WEBP", lossless=True),
        (255, 127, 127),
    ),
    "grey with key": (
        png(4, 4, 8, 0, b"\x10" * 4, chunk(b"tRNS", b"\0\x10")),
        (255, 255, 255),
    ),
    "RGB with key": (
        png(2, 2, 8, 2, b"\x01\x02\x03" * 2, chunk(b"tRNS", b"\0\x01\0\x02\0\x03")),
        (255, 255, 255),
    ),
    "RGB without its key": (
        png(2, 2, 8, 2, b"\x01\x02\x03" * 2, chunk(b"tRNS", b"\0\x01\0\x02\0\x04")),
        (1, 2, 3),
    ),
    "16-bit grey": (png(2, 2, 16, 0, b"\x80\x10" * 2), (128, 128, 128)),
    "16-bit grey, dark": (png(2, 2, 16, 0, b"\x02\xff" * 2), (2, 2, 2)),
    "16-bit grey, white": (png(2, 2, 16, 0, b"\xff\xff" * 2), (255, 255, 255)),
    "16-bit grey with key": (
        png(2, 2, 16, 0, b"\x80\x10" * 2, chunk(b"tRNS", b"\0\x01")),
        (128, 128, 128),
    ),
    "16-bit RGB": (png(2, 2, 16, 2, b"\x10\xff\x80\0\xff\xff" * 2), (16, 128, 255)),
    "16-bit LA": (png(2, 2, 16, 4, b"\0\0\x80\0" * 2), (127, 127, 127)),
    "16-bit RGBA": (png(2, 2, 16, 6, b"\xff\xff\0\0\0\0\x80\0" * 2), (255, 127, 127)),
    "CMYK JPEG": (
        encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95),
        (255, 0, 0),
    ),
    "CMYK JPEG, half black": (
        encode(Image.new("CMYK", (8, 8), (0, 0, 0, 128)), "JPEG", quality=95),
        (127, 127, 127),
    ),
}


@pytest.mark.parametrize(("data", "colour"), COLOURS.values(), ids=COLOURS)
def test_every_mode_gives_its_colour(data, colour):
    assert_colour(data, colour, tolerance=2)


def test_ycck_jpeg():
    # The same samples are colour and lightness once the Adobe segment says so (transform 2).
    data = encode(Image.new("CMYK", (8, 8), (55, 127, 127, 0)), "JPEG", quality=100)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    assert_colour(data, (200, 128, 128), tolerance=2)
    assert_colour(data[:at] + b"\2" + data[at + 1 :], (55, 55, 55), tolerance=2)


def test_hidden_colour_does_not_bleed_into_the_edge():
    pixels = np.zeros((64, 64, 4), np.uint8)  # transparent black ...
    pixels[:, ::2] = 255  # ... between opaque white: the page is white all over
    assert_colour(encode(Image.fromarray(pixels), "PNG"), (255, 255, 255), tolerance=0)


# Only the first of several frames


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind):
    assert_scene(decode(animation(kind), 32), tolerance=6)


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_later_frames_are_ignored(kind):
    data = animation(kind, frames=3000 if kind == "GIF" else 200)
    second = data.index(b"\x21\xf9\x04" if kind == "GIF" else b"fcTL", len(data) // 3)
    junk = data[:second] + bytes(len(data) - second)
    if kind == "PNG":  # checksums and lengths hold, contents do not
        junk = with_chunk(data, chunk(b"acTL", b""), chunk(b"fcTL", b"junk"))
    assert_scene(decode(junk, 32), tolerance=6)


def test_small_gif_frame_on_a_large_transparent_screen():
    frame = Image.new("P", (8, 8), 1)
    frame.putpalette([255, 255, 0, 200, 40, 60])
    data = encode(frame, "GIF", transparency=0, disposal=2, optimize=False)
    assert b"\x21\xf9\x04\x09" in data
    photo = decode(data[:6] + struct.pack("<HH", 32, 16) + data[10:], 32)
    assert (photo.width, photo.height) == (32, 16)
    assert photo.pixels[2, 2].tolist() == [200, 40, 60]
    assert photo.pixels[-2, -2].tolist() == [255, 255, 255]


def test_gif_frame_beyond_its_screen_counts():
    data = encode(Image.new("L", (40, 30), 77), "GIF")
    photo = decode(data[:6] + struct.pack("<HH", 1, 1) + data[10:], 8)
    assert (photo.width, photo.height) == (40, 30)

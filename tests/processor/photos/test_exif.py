"""EXIF orientation in every form and turn, through processor.photos.decode."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from processor.photos.decode import decode
from processor.photos.exif import orientation
from tests.support.pictures import (
    assert_scene,
    chunk,
    encode,
    exif,
    scene,
    with_chunk,
    with_segment,
)

# Every turn

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


@pytest.mark.parametrize("turn", STORED)
@pytest.mark.parametrize(("kind", "factor"), [("JPEG", 1), ("JPEG", 20), ("PNG", 1), ("WEBP", 1)])
def test_orientation_is_applied(kind, factor, turn):
    upright = np.asarray(scene(64 * factor, 48 * factor))
    stored = Image.fromarray(np.ascontiguousarray(STORED[turn](upright)))
    data = encode(stored, kind, exif=exif(turn), quality=95)
    for reduced in (True, False):
        photo = decode(data, 32, reduced_decode=reduced)
        assert (photo.width, photo.height) == (64 * factor, 48 * factor)
        assert_scene(photo, tolerance=6)


def test_transposing_after_the_resize_equals_transposing_before():
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (97, 61, 3), dtype=np.uint8)
    for turn, store in STORED.items():
        stored = Image.fromarray(np.ascontiguousarray(store(noise)))
        turned = decode(encode(stored, "PNG", exif=exif(turn)), 20).pixels.astype(int)
        upright = decode(encode(Image.fromarray(noise), "PNG"), 20).pixels
        assert np.abs(turned - upright).max() <= 1


# Every form

INTEGERS = {"BYTE": (1, "B"), "SHORT": (3, "H"), "LONG": (4, "I")}
INTEGERS |= {"SBYTE": (6, "b"), "SSHORT": (8, "h"), "SLONG": (9, "i")}


def block(order, kind, *values):
    """An EXIF block with the tag alone; as many values as fit are beside it, more are behind it."""
    form, letter = INTEGERS[kind]
    body = struct.pack(f"{order}{len(values)}{letter}", *values)
    beside = body.ljust(4, b"\0") if len(body) <= 4 else struct.pack(order + "I", 26)
    start = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HIHHHI", 42, 8, 1, 0x0112, form, len(values))
    return start + head + beside + bytes(4) + (body if len(body) > 4 else b"")


def with_exif(kind, body):
    if kind == "PNG":
        return with_chunk(encode(scene(), kind), chunk(b"eXIf", body))
    if kind == "JPEG":
        return with_segment(encode(scene(), kind, quality=95), 0xE1, b"Exif\0\0" + body)
    return encode(scene(), kind, quality=95, exif=body)


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize("order", ["<", ">"], ids=["II", "MM"])
@pytest.mark.parametrize("more", [(), (1,), (1, 1, 1, 1)], ids=["one", "two", "five"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_first_of_any_integers_is_the_orientation(kind, more, order, integer):
    photo = decode(with_exif(kind, block(order, integer, 6, *more)), 32)
    assert (photo.width, photo.height) == (48, 64)


@pytest.mark.parametrize("value", [0, 9, 255, 256 + 6, -2])
def test_an_orientation_that_does_not_exist_is_none(value):
    assert orientation(block("<", "SLONG", value)) == 1


def test_an_orientation_behind_the_pixels_of_a_png_counts():
    data, end = encode(scene(), "PNG"), chunk(b"IEND", b"")
    assert data.endswith(end)
    late = data.removesuffix(end) + chunk(b"eXIf", block(">", "SHORT", 6)) + end
    assert decode(late, 32).width == 48


# Malformed

LONG_DIRECTORY = b"II*\0" + struct.pack("<IH", 8, 65_535) + b"\x12\x01\xff\xff" * 16_000
BROKEN_EXIF = {
    "cut": b"II*",
    "offset beyond the end": b"II*\0\xff\xff\xff\xff",
    "directory of itself": b"II*\0" + struct.pack("<IH", 0, 9),
    "long directory": LONG_DIRECTORY,
    "no order": b"XX" + block("<", "SHORT", 6)[2:],
    "absurd orientation": exif(99)[6:],
    "zero denominators": b"MM\0*"
    + struct.pack(">IH", 8, 3)
    + struct.pack(">HHII", 0x011A, 5, 1, 50)
    + struct.pack(">HHIHH", 0x0128, 3, 1, 3, 0)
    + struct.pack(">HHII", 0x8769, 4, 1, 0xFFFFFFF0)
    + bytes(64),
    "orientation as text": b"II*\0" + struct.pack("<IHHHI4s", 8, 1, 0x0112, 2, 4, b"\6\0\0\0"),
    "no orientations": b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 0, 6),
    "too many orientations": b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 2**32 - 1, 6),
    "orientations beyond the end": block("<", "LONG", 6, 6)[:-8],
}


@pytest.mark.parametrize("broken", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_malformed_exif_does_not_reject_a_good_photo(kind, broken):
    good = encode(scene(), kind, quality=95)
    assert np.array_equal(decode(with_exif(kind, broken), 32).pixels, decode(good, 32).pixels)


@given(st.binary(max_size=40), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes_have_an_orientation(body, start):
    assert 1 <= orientation(start + body) <= 8

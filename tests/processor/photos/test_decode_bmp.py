"""BMP: every kind that is read, and what is refused, through processor.photos.decode."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from processor.errors import RejectedImage
from processor.photos.decode import decode
from tests.support.pictures import assert_colour, assert_scene, encode, rejection, scene


def bmp(bits, pixels, width=4, height=4, masks=(), header=40, palette=b""):
    """A BMP whose rows are all `pixels`."""
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, 3 * bool(masks), *[0] * 5)
    if header == 12:
        info = struct.pack("<IHHHH", header, width, height, 1, bits)
    rest = b"".join(struct.pack("<I", mask) for mask in masks)
    rest += bytes(max(0, header - len(info) - len(rest))) + palette
    row = pixels + bytes(-len(pixels) % 4)
    size = 14 + len(info) + len(rest)
    return b"BM" + struct.pack("<III", 0, 0, size) + info + rest + row * abs(height)


RGB565, BGRA = (0xF800, 0x7E0, 0x1F), (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
BMP = {
    "24 bits": (bmp(24, bytes((60, 40, 200)) * 3, 3), (200, 40, 60)),
    "16 bits, 555": (bmp(16, struct.pack("<H", 31 << 10) * 4), (255, 0, 0)),
    "16 bits, 565": (bmp(16, struct.pack("<H", 63 << 5) * 4, masks=RGB565), (0, 255, 0)),
    "32 bits": (bmp(32, bytes((60, 40, 200, 0)) * 4), (200, 40, 60)),
    "32 bits with alpha": (
        bmp(32, bytes((0, 0, 255, 128)) * 4, masks=BGRA, header=108),
        (255, 127, 127),
    ),
    "32 bits, transparent": (
        bmp(32, bytes((60, 40, 200, 0)) * 4, masks=BGRA, header=124),
        (200, 40, 60),
    ),
    "palette": (bmp(8, b"\1" * 4, palette=bytes(4) + bytes((60, 40, 200, 0)) * 255), (200, 40, 60)),
    "4 bits": (bmp(4, b"\x11" * 2, palette=bytes(4) + bytes((60, 40, 200, 0)) * 15), (200, 40, 60)),
    "1 bit": (bmp(1, b"\xf0", palette=bytes(4) + b"\xff\xff\xff\0"), (255, 255, 255)),
    "OS/2": (bmp(24, bytes((60, 40, 200)) * 4, header=12), (200, 40, 60)),
    "OS/2, palette": (
        bmp(8, b"\1" * 4, header=12, palette=bytes(3) + bytes((60, 40, 200)) * 255),
        (200, 40, 60),
    ),
}


@pytest.mark.parametrize(("data", "colour"), BMP.values(), ids=BMP)
def test_every_kind_of_bmp_gives_its_colour(data, colour):
    assert_colour(data, colour)


@pytest.mark.parametrize("height", [48, -48])
def test_bmp_may_be_stored_from_the_top_or_from_the_bottom(height):
    data = encode(scene(), "BMP")
    rows = np.frombuffer(data[54:], np.uint8).reshape(48, -1)
    stored = rows if height > 0 else rows[::-1]
    photo = decode(data[:22] + struct.pack("<i", height) + data[26:54] + stored.tobytes(), 32)
    assert (photo.width, photo.height) == (64, 48)
    assert_scene(photo)


@pytest.mark.parametrize("masks", [(1, 2, 4), (0xFF, 0xFF00, 0xFF0000, 0)])
def test_bmp_of_unknown_masks_is_unsupported(masks):
    data = bmp(32, bytes(16), masks=masks, header=108)
    assert rejection(data).reason == "unsupported"


@settings(max_examples=60, deadline=None)
@given(lost=st.integers(1, 3000), mode=st.sampled_from(["RGB", "RGBA", "L", "P", "1"]))
def test_a_cut_bmp_is_truncated(lost, mode):
    data = encode(scene(mode=mode), "BMP")
    assert rejection(data[: max(54, len(data) - lost)]).reason == "truncated"


def test_nothing_is_allocated_for_a_bmp_that_is_not_there(monkeypatch):
    monkeypatch.setattr(Image.core, "new", lambda *_: pytest.fail("allocated"))
    head = struct.pack("<IiiHHIIiiII", 40, 9000, 9000, 1, 24, 0, 0, 0, 0, 0, 0)
    rejected = rejection(b"BM" + struct.pack("<III", 0, 0, 54) + head)
    assert rejected.reason == "truncated"


@given(st.binary(min_size=1, max_size=60))
def test_what_only_begins_like_a_bmp_is_rejected(body):
    with pytest.raises(RejectedImage):
        decode(b"BM" + body, 8)

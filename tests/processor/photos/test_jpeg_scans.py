"""JPEG pixels: intact scans decode as ever, and no scan that lost data passes for a photo."""

import functools
import io

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from processor.errors import RejectedImage
from processor.photos.decode import decode
from tests.support.pictures import encode, natural, rejection

EOI = b"\xff\xd9"
KINDS = {
    "sequential": {"quality": 85},
    "optimised": {"quality": 85, "optimize": True},
    "fine": {"quality": 95, "subsampling": 0},
    "grey": {"quality": 85, "mode": "L"},
    "restarts": {"quality": 85, "restart_marker_rows": 1},
    "progressive": {"quality": 85, "progressive": True},
    "progressive grey": {"quality": 85, "progressive": True, "mode": "L"},
    "progressive with restarts": {
        "quality": 85,
        "progressive": True,
        "restart_marker_rows": 1,
    },
}
each_kind = pytest.mark.parametrize("kind", KINDS)
shares = st.floats(0.02, 0.98)


@functools.cache
def drawn(kind):
    """The file, and where the data of its first scan begins."""
    options = dict(KINDS[kind])
    data = encode(natural(mode=options.pop("mode", "RGB")), "JPEG", **options)
    start = data.index(b"\xff\xda")
    return data, start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")


def place(kind, share):
    """A place in the scans, by its share, that leaves 24 bytes to be missed."""
    data, start = drawn(kind)
    return start + int((len(data) - 26 - start) * share)


def plain(data, size):
    """Pillow's own decoding."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


# Intact


@settings(max_examples=150, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    options=st.fixed_dictionaries(
        {"quality": st.integers(1, 100)},
        optional={
            "progressive": st.booleans(),
            "optimize": st.booleans(),
            "subsampling": st.integers(0, 2),
            "restart_marker_rows": st.integers(1, 3),
            "restart_marker_blocks": st.integers(1, 20),
        },
    ),
    flat=st.booleans(),
)
def test_intact_photos_have_pillows_pixels(sides, mode, options, flat):
    image = Image.new(mode, sides, 90) if flat else natural(*sides, mode)
    data = encode(image, "JPEG", **options)
    for file in (data, data[:-2]):
        assert np.array_equal(decode(file, 20, reduced_decode=False).pixels, plain(data, 20))
        assert decode(file, 20).pixels.shape == (20, 20, 3)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_flat_picture_may_consist_of_zeros(mode, progressive):
    image = Image.new(mode, (3000, 2000), 90)
    data = encode(image, "JPEG", optimize=True, progressive=progressive)
    assert progressive or bytes(64) in data
    assert (decode(data, 100).pixels == decode(data[:-2], 100).pixels).all()


@pytest.mark.parametrize("behind", [b"\x55" * 8, bytes(8), bytes(300), bytes(20_000)])
def test_a_little_padding_before_the_end_marker_passes(behind):
    data, _ = drawn("sequential")
    padded = data[:-2] + behind + EOI
    assert np.array_equal(decode(padded, 32).pixels, decode(data, 32).pixels)


def channels_apart(scans=3):
    """A sequential JPEG with a scan for each channel, as some scanners write it."""
    grey = [encode(channel, "JPEG", quality=85) for channel in natural().split()]
    frame, tables = grey[0].index(b"\xff\xc0"), grey[0].index(b"\xff\xc4")
    start = grey[0].index(b"\xff\xda")
    parts = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    header = b"\xff\xc0\0\x11" + grey[0][frame + 4 : frame + 9] + b"\3" + parts
    data = [
        b"\xff\xda\0\x08\1" + bytes((number, 0)) + each[start + 7 : -2]
        for number, each in zip((1, 2, 3), grey, strict=True)
    ]
    return grey[0][:frame] + header + grey[0][tables:start] + b"".join(data[:scans]) + EOI


def test_channels_in_scans_of_their_own():
    data = channels_apart()
    assert np.array_equal(decode(data, 32, reduced_decode=False).pixels, plain(data, 32))
    assert rejection(channels_apart(scans=2)).reason == "truncated"
    second, third = (i for i in range(700, len(data)) if data[i : i + 5] == b"\xff\xda\0\x08\1")
    middle = (second + third) // 2
    assert rejection(data[:middle] + data[third:]).reason == "corrupt"
    assert rejection(data[:second] + bytes(range(1, 60)) + data[second:]).reason == "corrupt"


# Broken


@each_kind
@settings(max_examples=40, deadline=None)
@given(share=shares)
def test_a_cut_scan_is_truncated(kind, share):
    data, _ = drawn(kind)
    cut = data[: place(kind, share)]
    assert rejection(cut).reason == "truncated"
    assert rejection(cut + EOI).reason == "truncated"
    assert rejection(cut + EOI, reduced_decode=False).reason == "truncated"


@each_kind
@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.02, 0.9))
def test_a_tail_of_zeros_is_truncated(kind, share):
    data, _ = drawn(kind)
    at = place(kind, share)
    # Zeros that begin in the header of a scan, or in its tables, make it corrupt.
    assume(not any(marker in data[at - 64 : at] for marker in (b"\xff\xda", b"\xff\xc4")))
    zeros = bytes(len(data) - at - 2)
    assert rejection(data[:at] + zeros).reason == "truncated"
    assert rejection(data[:at] + zeros + EOI).reason == "truncated"


def caught(kind, shares, instead, length):
    """How many photos are rejected that have ``instead`` of ``length`` bytes at these places."""
    data, _ = drawn(kind)
    count = 0
    for at in (place(kind, share) for share in shares):
        try:
            decode(data[:at] + instead + data[at + length :], 32)
        except RejectedImage as rejected:
            count += rejected.reason in {"corrupt", "truncated"}
    return count


@each_kind
@pytest.mark.parametrize("length", [512, 4096])
def test_a_zeroed_block_is_rejected(kind, length):
    assert caught(kind, np.linspace(0.05, 0.6, 12), bytes(length), length) == 12


# A gap may happen to fit, most easily in a refinement, whose bits do not depend on each other.
@pytest.mark.parametrize(("kind", "least"), [("sequential", 18), ("fine", 18), ("progressive", 12)])
def test_lost_data_is_rejected(kind, least):
    assert caught(kind, np.linspace(0.05, 0.9, 20), b"", 500) >= least


@pytest.mark.parametrize("kind", ["sequential", "grey", "restarts", "progressive"])
def test_data_behind_the_last_pixel_is_corrupt(kind):
    data, _ = drawn(kind)
    rejected = rejection(data[:-2] + bytes(range(1, 60)) + EOI)
    assert rejected.reason == "corrupt"
    assert "left over" in rejected.detail
    assert "replace" in rejected.detail


def test_data_behind_padding_is_corrupt():
    data, _ = drawn("sequential")
    assert rejection(data[:-2] + bytes(300) + b"lost" * 20 + EOI).reason == "corrupt"

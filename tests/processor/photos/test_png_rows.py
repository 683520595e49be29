"""PNGs whose rows are not all there: refused, whatever else is there, and only those."""

import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from processor.photos import png
from processor.photos.decode import decode
from tests.support.pictures import assert_scene, chunk, encode, rejection, scene

NOISE = np.random.default_rng(1).integers(0, 256, (23, 31, 3), dtype=np.uint8)
END = chunk(b"IEND", b"")


def png_of(stream, interlaced=0, pieces=1, size=(31, 23)):
    """A PNG of NOISE's size with this zlib stream in so many chunks, without its end."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, interlaced))
    step = len(stream) // pieces + 1
    parts = [chunk(b"IDAT", stream[at : at + step]) for at in range(0, len(stream), step)]
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(parts)


def filtered(pixels, interlaced=0):
    """The rows of a PNG, each with its filter, in the order in which the format stores them."""
    steps = [(0, 0, 1, 1)]
    if interlaced:
        steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
        steps += [(1, 0, 2, 2), (0, 1, 1, 2)]
    passes = [pixels[top::down, left::right] for left, top, right, down in steps]
    return b"".join(b"\0" + row.tobytes() for each in passes for row in each if row.size)


BOTH = pytest.mark.parametrize("interlaced", [0, 1])


@BOTH
@pytest.mark.parametrize("pieces", [1, 9])
@settings(max_examples=60, deadline=None)
@given(lost=st.integers(0, 300))
def test_a_png_cut_in_its_data_is_truncated_and_behind_them_whole(interlaced, pieces, lost):
    stream = zlib.compress(filtered(NOISE, interlaced))
    data = png_of(stream, interlaced, pieces) + END
    cut = data[: len(data) - lost]
    if lost <= 12 + 4 + 4:  # the end, the last checksum of a chunk, the checksum of the stream
        assert np.array_equal(decode(cut, 40).pixels, decode(data, 40).pixels)
    elif lost > 12 + 4 + 4 + 2:  # the stream's own end, which may share a byte with a pixel
        assert rejection(cut).reason == "truncated"


@BOTH
def test_an_interlaced_png_is_read_as_a_plain_one(interlaced):
    data = png_of(zlib.compress(filtered(NOISE, interlaced)), interlaced) + END
    plain = decode(encode(Image.fromarray(NOISE), "PNG"), 40).pixels
    assert np.array_equal(decode(data, 40).pixels, plain)


@BOTH
@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), whole=st.booleans(), junk=st.binary(max_size=40))
def test_png_data_that_end_early_in_a_whole_file_are_corrupt(interlaced, share, whole, junk):
    """Whether the compressed stream ends early or is cut, and whatever follows it."""
    rows, full = filtered(NOISE, interlaced), zlib.compress(filtered(NOISE, interlaced))
    early = zlib.compress(rows[: int(len(rows) * share)]) + junk
    stream = early if whole else full[: int((len(full) - 8) * share)]
    assert rejection(png_of(stream, interlaced) + END).reason == "corrupt"
    assert rejection(png_of(stream, interlaced)).reason == "truncated"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (5, 1), (8, 8)])
@BOTH
def test_the_last_row_of_a_small_png_counts(size, interlaced):
    rows = filtered(NOISE[: size[1], : size[0]], interlaced)
    assert decode(png_of(zlib.compress(rows), interlaced, size=size), 8).width == size[0]
    early = png_of(zlib.compress(rows[:-1]), interlaced, size=size) + END
    assert rejection(early).reason == "corrupt"


@pytest.mark.parametrize("tail", [b"", bytes(40), b"\0\0\0\0IEND", b"\xff" * 99, END[:-1] + b"?"])
def test_what_follows_the_pixels_of_a_png_may_be_broken(tail):
    whole = encode(scene(), "PNG")
    assert_scene(decode(whole.removesuffix(END) + tail, 32))


@pytest.mark.parametrize(("rows", "reason"), [(23, None), (22, "corrupt")])
def test_data_behind_the_stream_of_a_png_cost_no_time(rows, reason):
    """zlib keeps what follows a stream, and copies it whenever it is given more."""
    stream = zlib.compress(filtered(NOISE[:rows]))
    data = png_of(stream) + chunk(b"IDAT", b"junk" * 100) * 20_000 + END
    began = time.process_time()
    if reason:
        assert rejection(data).reason == reason
    else:
        assert decode(data, 8).width == 31
    assert time.process_time() - began < 1


@BOTH
@pytest.mark.parametrize("shade", [0, 1])
def test_a_black_row_at_the_end_is_counted_and_may_be_the_pictures_own(interlaced, shade):
    pixels = NOISE.copy()
    pixels[-1] = shade
    rows = filtered(pixels, interlaced)
    data = png_of(zlib.compress(rows), interlaced) + END
    plain = decode(encode(Image.fromarray(pixels), "PNG"), 40).pixels
    assert np.array_equal(decode(data, 40).pixels, plain)
    early = png_of(zlib.compress(rows[: -31 * 3 - 1]), interlaced) + END
    assert rejection(early).reason == "corrupt"


def test_rows_are_counted_only_where_the_last_one_may_be_missing(monkeypatch):
    counted = []
    monkeypatch.setattr(png, "check_rows", counted.append)
    decode(encode(Image.fromarray(NOISE), "PNG"), 40)
    assert not counted
    decode(encode(Image.new("RGB", (9, 9)), "PNG"), 40)
    assert len(counted) == 1


MODES = ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_rows_are_missed_in_every_mode(mode):
    picture = scene(mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 256)
    whole = encode(picture, "PNG")
    assert decode(whole, 8).height == picture.height
    photo = png.parse(whole, 10**6)
    png.check_rows(photo)
    at = photo.stream.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", photo.stream, at)
    rows = zlib.decompress(photo.stream[at + 8 : at + 8 + length])
    short = chunk(b"IDAT", zlib.compress(rows[: len(rows) * 3 // 4]))
    assert rejection(photo.stream[:at] + short + END).reason == "corrupt"

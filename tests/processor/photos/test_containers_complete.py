"""Photos whose pixels are not all there: refused, whatever else is there, as processor.photos.decode.

And those of which nothing but pixels is there.
"""

import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from processor.photos.decode import decode
from tests.support.pictures import assert_scene, chunk, encode, rejection, scene

NOISE = np.random.default_rng(1).integers(0, 256, (23, 31, 3), dtype=np.uint8)
END = chunk(b"IEND", b"")

# PNG


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


# GIF


def gif_frame(data):
    """The range of the first frame's data blocks."""
    at = 13 + 3 * (2 << (data[10] & 7))
    assert data[at] == 0x2C
    start = at = at + 11
    while data[at]:
        at += 1 + data[at]
    return start, at


@pytest.mark.parametrize("interlace", [0, 1])
@settings(max_examples=60, deadline=None)
@given(lost=st.integers(1, 6), zeros=st.booleans())
def test_a_gif_whose_data_end_early_is_truncated(interlace, lost, zeros):
    """Also with further frames: Pillow would take their bytes for the rest of the first."""
    frames = [Image.fromarray(np.roll(NOISE, n, axis=1)).quantize(256) for n in range(3)]
    options = {"save_all": True, "append_images": frames[1:], "optimize": False}
    data = encode(frames[0], "GIF", interlace=interlace, **options)
    start, end = gif_frame(data)
    assert end - start > 700
    cut = data[: end - lost * 100]
    block = start
    while block + 1 + data[block] <= len(cut):
        block += 1 + data[block]
    assert rejection(data[:block] + b"\0" + data[end + 1 :]).reason == "truncated"
    assert rejection(cut + bytes(len(data) - len(cut)) if zeros else cut).reason == "truncated"


@pytest.mark.parametrize("lost", [1, 2])
def test_a_gif_without_its_end_is_whole(lost):
    data = encode(scene(), "GIF")
    assert data.endswith(b"\0;")
    assert_scene(decode(data[:-lost], 32))


# WebP


def webp_of(mode, **options):
    image = Image.fromarray(np.kron(NOISE, np.ones((3, 3, 1), np.uint8)))
    if mode == "RGBA":
        image.putalpha(Image.radial_gradient("L").resize(image.size))
    return encode(image, "WEBP", **options)


WEBP = {
    "lossy": webp_of("RGB"),
    "lossless": webp_of("RGB", lossless=True),
    "with alpha": webp_of("RGBA"),
    "animated": webp_of("RGB", save_all=True, append_images=[scene(93, 69)]),
}


@pytest.mark.parametrize("data", WEBP.values(), ids=WEBP)
def test_a_webp_that_is_zero_from_somewhere_on_is_corrupt(data):
    second = data.find(b"ANMF", data.find(b"ANMF") + 1)
    end = second if second > 0 else len(data)
    for at in range(100, end - 200, end // 100):  # of fewer zeros, all may be needed
        broken = data[:at] + bytes(end - at) + data[end:]
        assert rejection(broken).reason in ("corrupt", "truncated")


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.1, 1, exclude_max=True))
def test_a_cut_webp_is_refused_though_its_lengths_are_right(share):
    data = WEBP["lossy"]
    cut = bytearray(data[: 30 + int((len(data) - 40) * share)])
    struct.pack_into("<I", cut, 4, len(cut) - 8)
    struct.pack_into("<I", cut, 16, len(cut) - 20)
    assert rejection(bytes(cut)).reason in ("corrupt", "truncated")


@pytest.mark.parametrize("options", [{"quality": 100, "method": 0}, {"lossless": True}], ids=str)
@pytest.mark.parametrize("upper", [2, 60])
@pytest.mark.parametrize("animated", [False, True])
def test_a_webp_that_ends_in_zeros_because_it_is_flat_is_whole(options, upper, animated):
    image = Image.new("RGB", (900, 900), "white")
    image.paste(scene(900, upper), (0, 0))
    more = {"save_all": True, "append_images": [scene(900, 900)]} if animated else {}
    data = encode(image, "WEBP", **options, **more)
    assert bytes(40) in data or "lossless" in options
    assert decode(data, 32).pixels[-1, -1].tolist() == [255, 255, 255]

"""Photos whose pixels are not all there: refused, whatever else is there, as processor.photos.decode.

And those of which nothing but pixels is there.
"""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from processor.photos.decode import decode
from tests.support.pictures import assert_scene, chunk, encode, rejection, scene

NOISE = np.random.default_rng(1).integers(0, 256, (23, 31, 3), dtype=np.uint8)
END = chunk(b"IEND", b"")

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

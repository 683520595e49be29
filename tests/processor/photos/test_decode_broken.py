"""Broken files (cut, flipped, forged or nonsense): each decodes or is rejected with its reason."""

import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from processor.errors import PhotoError, RejectedImage, Unavailable
from processor.photos.decode import decode
from tests.support.heif import heic
from tests.support.pictures import animation, chunk, encode, exif, png, rejection, scene


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_file_is_truncated(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    rejected = rejection(data[: int(len(data) * share)])
    assert rejected.reason == "truncated"
    assert "upload" in rejected.detail


def test_flipped_bit_in_png_data_is_corrupt():
    data = bytearray(encode(scene(), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    rejected = rejection(bytes(data))
    assert rejected.reason == "corrupt"
    assert "IDAT" in rejected.detail


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF"])
def test_garbage_behind_a_magic_number_is_rejected(magic):
    body = b"\x30\0\0\0WEBPVP8 " if magic == b"RIFF" else b""
    garbage = np.random.default_rng(2).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    rejected = rejection(magic + body + garbage)
    assert rejected.reason in {"corrupt", "truncated", "too-large"}


def test_png_without_a_picture_is_corrupt():
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IEND", b"")
    assert rejection(data).reason == "corrupt"
    assert rejection(png(4, 4, 3, 5, b"")).reason == "corrupt"
    assert rejection(png(0, 4, 8, 2, b"")).reason == "corrupt"


def test_twelve_bit_jpeg_is_unsupported():
    data = encode(scene(), "JPEG")
    at = data.index(b"\xff\xc0") + 4
    assert rejection(data[:at] + b"\x0c" + data[at + 1 :]).reason == "unsupported"


PROFILE = b"profile" * 50
VALID = {
    "JPEG": encode(scene(), "JPEG", exif=exif(6), icc_profile=PROFILE, comment=b"hello"),
    "progressive JPEG": encode(scene(), "JPEG", progressive=True, quality=60),
    "CMYK JPEG": encode(scene(mode="CMYK"), "JPEG"),
    "PNG": encode(scene(mode="RGBA"), "PNG", exif=exif(3), icc_profile=PROFILE),
    "palette PNG": encode(scene(mode="P"), "PNG", transparency=b"\0\x40\x80"),
    "16-bit PNG": png(40, 30, 16, 0, bytes(range(80))),
    "APNG": animation("PNG", frames=3),
    "WebP": encode(scene(), "WEBP", exif=exif(8), icc_profile=PROFILE),
    "lossless WebP": encode(scene(mode="RGBA"), "WEBP", lossless=True),
    "animated WebP": animation("WEBP", frames=3),
    "GIF": animation("GIF", frames=3),
    "BMP": encode(scene(), "BMP"),
    "palette BMP": encode(scene(mode="P"), "BMP"),
    "AVIF": encode(scene(mode="RGBA"), "AVIF", exif=exif(6)),
    "HEIC": heic(scene(mode="RGBA")),
}


def decodes_or_is_rejected(data):
    """Any other outcome fails the test, and so does a warning (pytest is set to raise them)."""
    try:
        outcome = decode(data, 16, max_pixels=10_000_000)
    except RejectedImage as rejected:
        outcome = rejected
    if isinstance(outcome, RejectedImage):
        assert outcome.reason in {"empty", "unsupported", "corrupt", "truncated", "too-large"}
        assert len(outcome.detail) <= 300
        assert outcome.detail.isprintable()
    else:
        assert outcome.pixels.shape == (16, 16, 3)
        assert outcome.pixels.dtype == np.uint8
        assert outcome.width > 0 < outcome.height


@pytest.mark.parametrize("data", VALID.values(), ids=VALID)
@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_prefix_decodes_or_is_rejected(data, share):
    decodes_or_is_rejected(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", VALID.values(), ids=VALID)
@settings(max_examples=150, deadline=None)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1)
)
def test_any_flipped_bytes_decode_or_are_rejected(data, flips):
    broken = bytearray(data)
    for share, mask in flips:
        broken[int(len(data) * share)] ^= mask
    decodes_or_is_rejected(bytes(broken))


@pytest.mark.parametrize("kind", ["PNG", "palette PNG", "16-bit PNG"])
@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_flips_behind_a_valid_checksum(kind, share, mask):
    """Forged checksums get past the first line of defence."""
    data, at, parts = VALID[kind], 8, []
    while at < len(data):
        length = struct.unpack_from(">I", data, at)[0]
        body = bytearray(data[at + 8 : at + 8 + length])
        if body:
            body[int(length * share)] ^= mask
        parts.append(chunk(data[at + 4 : at + 8], bytes(body)))
        at += 12 + length
    decodes_or_is_rejected(data[:8] + b"".join(parts))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("image file is truncated (3 bytes not processed)"), "truncated"),
        (OSError("broken data stream"), "corrupt"),
        (SyntaxError("broken PNG file"), "corrupt"),
        (struct.error("unpack requires a buffer of 2 bytes"), "truncated"),
        (EOFError("no more"), "truncated"),
        (IndexError("index out of range"), "truncated"),
        (KeyError("mode"), "corrupt"),
        (OverflowError("size"), "corrupt"),
        (ZeroDivisionError(), "corrupt"),
        (AssertionError(), "corrupt"),
        (zlib.error("Error -3"), "corrupt"),
        (Image.DecompressionBombError("bomb"), "too-large"),
        (ValueError("line\nfeed \x1b[31m \u202e" + "x" * 999), "corrupt"),
    ],
)
def test_whatever_pillow_raises_becomes_a_rejection(error, reason, monkeypatch):
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    rejected = rejection(encode(scene(), "JPEG"))
    assert rejected.reason == reason
    assert rejected.__cause__ is error


def test_a_machine_short_of_memory_rejects_no_photo(monkeypatch):
    def load(self):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(Unavailable, match="memory"):
        decode(encode(scene(), "JPEG"), 32)


def test_rejection_survives_the_trip_from_a_spark_worker():
    rejected = pickle.loads(pickle.dumps(RejectedImage("corrupt", "a\nb\0c")))
    assert isinstance(rejected, PhotoError)
    assert (rejected.reason, rejected.detail) == ("corrupt", "a b c")


def test_photo_survives_the_trip_from_a_spark_worker():
    photo = decode(encode(scene(), "PNG"), 8)
    copy = pickle.loads(pickle.dumps(photo))
    assert np.array_equal(copy.pixels, photo.pixels)
    assert (copy.width, copy.height) == (64, 48)


@pytest.mark.parametrize(("size", "max_pixels"), [(0, 1), (-1, 1), (8, 0)])
def test_impossible_arguments_are_not_a_rejection(size, max_pixels):
    with pytest.raises(ValueError, match="at least 1") as caught:
        decode(encode(scene(), "PNG"), size, max_pixels=max_pixels)
    assert not isinstance(caught.value, RejectedImage)

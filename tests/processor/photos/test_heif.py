"""HEIF files by their boxes, before any decoder; and AVIF, which Pillow decodes."""

import contextlib
import struct
import time

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image

from processor.errors import RejectedImage
from processor.photos import heic as decoder
from processor.photos import heif
from processor.photos.decode import decode
from tests.processor.photos.test_exif import STORED
from tests.support.heif import box, empty, heic, with_size
from tests.support.pictures import (
    animation,
    assert_colour,
    assert_scene,
    encode,
    exif,
    rejection,
    scene,
)

NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8))


def avif(image, **options):
    return encode(image, "AVIF", **{"quality": 95, "subsampling": "4:4:4", "speed": 10} | options)


FILES = {
    "HEIC": heic(NOISE),
    "HEIC in tiles": heic(NOISE, tile_size=64),
    "AVIF": avif(NOISE),
}


@pytest.fixture
def undecoded(monkeypatch):
    """Fails the test if a decoder gets to see the file."""

    def seen(*arguments, **options):
        raise AssertionError

    monkeypatch.setattr(decoder, "decode", seen)
    monkeypatch.setattr("processor.photos.decode.AvifImageFile", seen)


@pytest.mark.parametrize("kind", FILES)
def test_codec_and_size(kind):
    still = heif.parse(FILES[kind], 1_000_000)
    assert still.codec == (heif.AV1 if kind == "AVIF" else heif.HEVC)
    assert (still.width, still.height) == (300, 200)
    assert 60_000 <= still.pixels <= 65_536


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("kind", FILES)
def test_declared_size_is_checked_before_decoding(kind):
    assert rejection(FILES[kind], max_pixels=59_999).reason == "too-large"
    assert rejection(with_size(FILES[kind], 70_000, 1)).reason == "too-large"


@pytest.mark.usefixtures("undecoded")
def test_frames_larger_than_the_file_declares_count():
    data = with_size(avif(Image.new("RGB", (2048, 2048))), 64, 64)
    rejected = rejection(data, max_pixels=1_000_000)
    assert rejected.reason == "too-large"
    assert "2,048 x 2,048" in rejected.detail


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.005, 0.1, 0.5, 0.9, 0.999])
def test_cut_file_is_truncated(kind, share):
    data = FILES[kind]
    rejected = rejection(data[: int(len(data) * share)])
    assert rejected.reason == "truncated"
    assert "upload" in rejected.detail


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("kind", FILES)
def test_rest_of_zeros_is_truncated(kind):
    data = FILES[kind]
    keep = len(data) * 9 // 10
    assert rejection(data[:keep] + bytes(len(data) - keep)).reason == "truncated"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    "tail", [box(b"mpvd", box(b"ftyp", b"mp42"), bytes(99)), b"MotionPhoto_Data", b"\xff" * 9]
)
def test_video_behind_a_motion_photo_is_ignored(kind, tail):
    plain = decode(FILES[kind], 32)
    assert np.array_equal(decode(FILES[kind] + tail, 32).pixels, plain.pixels)


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("codec", [b"jpeg", b"avc1", b"unci", b"j2k1", b"vvc1"])
def test_other_codecs_are_unsupported_by_name(codec):
    data = FILES["HEIC"]
    at = data.index(b"infe")
    rejected = rejection(data[:at] + data[at:].replace(b"hvc1", codec))
    assert rejected.reason == "unsupported"
    assert codec.decode() in rejected.detail


def test_brand_does_not_decide_the_codec():
    data = FILES["AVIF"]
    assert heif.parse(data[:8] + b"mif1" + data[12:], 1_000_000).codec == heif.AV1


@pytest.mark.usefixtures("undecoded")
def test_animation_without_a_still_is_unsupported():
    data = box(b"ftyp", b"hevc", bytes(4), b"msf1hevc") + box(b"moov", bytes(8))
    assert rejection(data).reason == "unsupported"


def full(name, *parts, version=0):
    return box(name, bytes([version, 0, 0, 0]), *parts)


PITM = full(b"pitm", b"\0\1")
GRID = full(b"infe", b"\0\1\0\0grid", version=2)
IINF = full(b"iinf", b"\0\1", GRID)
ISPE = full(b"ispe", struct.pack(">II", 64, 64))
IPRP = box(b"iprp", box(b"ipco", ISPE), full(b"ipma", struct.pack(">IHBB", 1, 1, 1, 1)))
ILOC = full(b"iloc", b"\0\0\0\0")
BROKEN = {
    "nothing": (),
    "no items": (PITM,),
    "no primary item": (full(b"pitm", b"\0\7"), IINF, IPRP, ILOC),
    "a grid of nothing": (PITM, IINF, IPRP, ILOC),
    "a grid of itself": (
        *(PITM, IINF, IPRP, ILOC),
        full(b"iref", box(b"dimg", struct.pack(">HHH", 1, 1, 1))),
    ),
    "a box without a length": (PITM, b"\0\0\0\4free"),
    "extents of no bytes": (
        *(PITM, IINF, IPRP),
        full(b"iloc", b"\0\0", b"\xff\xff", struct.pack(">HHH", 1, 0, 65_535) * 50_000),
    ),
    "thousands of boxes": (PITM, box(b"free") * 100_000),
    "a list of megabytes": (PITM, IINF, IPRP, full(b"iloc", b"\0\0\xff\xff" + bytes(2_000_000))),
}


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("boxes", BROKEN.values(), ids=BROKEN)
def test_broken_descriptions_are_rejected_soon(boxes):
    start = time.process_time()
    rejected = rejection(empty(*boxes) + box(b"mdat", bytes(100)))
    assert rejected.reason in {"corrupt", "unsupported"}
    assert time.process_time() - start < 2


# AVIF, through Pillow


@pytest.mark.parametrize("reduced", [True, False])
def test_avif_gives_upright_rgb(reduced):
    photo = decode(avif(scene()), 32, reduced_decode=reduced)
    assert (photo.width, photo.height) == (64, 48)
    assert_scene(photo, tolerance=6)


@pytest.mark.parametrize("orientation", STORED)
def test_orientation_of_avif(orientation):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(scene()))))
    photo = decode(avif(stored, exif=exif(orientation)), 32)
    assert (photo.width, photo.height) == (64, 48)
    assert_scene(photo, tolerance=6)


def test_transparent_avif_is_blended_with_white():
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 128))
    assert_colour(avif(image), (255, 127, 127), tolerance=3)


def test_grey_avif():
    assert_colour(avif(Image.new("L", (16, 16), 90)), (90, 90, 90), tolerance=2)


def test_first_frame_of_an_animated_avif():
    data = animation("AVIF", frames=5)
    assert data[8:12] == b"avis"
    assert_scene(decode(data, 32), tolerance=6)


def test_avif_takes_no_threads():
    assert AvifImagePlugin._get_default_max_threads() == 1


def test_parse_raises_nothing_but_what_decode_names():
    data = bytearray(FILES["HEIC in tiles"][:2000])
    rng = np.random.default_rng(2)
    for _ in range(2000):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            broken[at] = rng.integers(0, 256)
        with contextlib.suppress(RejectedImage, EOFError, IndexError, struct.error):
            heif.parse(bytes(broken), 1_000_000)

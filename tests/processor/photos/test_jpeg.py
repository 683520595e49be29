"""JPEG streams: where the picture ends, what lies behind it, how much memory it declares."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from processor.photos import jpeg
from processor.photos.decode import decode
from tests.support.pictures import encode, exif, natural, rejection, scene, with_segment

EOI = b"\xff\xd9"
PHOTO = encode(natural(), "JPEG", quality=85)
NOISE = np.random.default_rng(3).integers(0, 256, 20_000, dtype=np.uint8).tobytes()
KINDS = {
    "sequential": {},
    "optimised": {"optimize": True},
    "grey": {"mode": "L"},
    "restarts": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 7},
}


def jpeg_of(width=320, height=240, mode="RGB", **options):
    return encode(natural(width, height, mode), "JPEG", quality=85, **options)


def with_size(data, width, height):
    """The JPEG with another size in its frame, of whatever process."""
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC1, 0xC2))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


# What is known before decoding


@pytest.mark.parametrize(
    ("options", "sampling", "scans"),
    [
        ({"subsampling": 0}, [(1, 1)] * 3, 1),
        ({"subsampling": 1}, [(2, 1), (1, 1), (1, 1)], 1),
        ({"subsampling": 2}, [(2, 2), (1, 1), (1, 1)], 1),
        ({"mode": "L"}, [(1, 1)], 1),
        ({"mode": "CMYK"}, [(1, 1)] * 4, 1),
        ({"progressive": True}, [(2, 2), (1, 1), (1, 1)], 10),
    ],
)
def test_the_frame_tells_what_decoding_takes(options, sampling, scans):
    photo = jpeg.parse(jpeg_of(70, 50, exif=exif(6), **options))
    frame = photo.frame
    assert (frame.width, frame.height, frame.bits) == (70, 50, 8)
    assert [(each.across, each.down) for each in frame.components] == sampling
    assert len(photo.scans) == scans
    assert photo.buffered == (scans > 1)
    assert photo.exif == exif(6)


@pytest.mark.parametrize(
    ("sampling", "numbers", "mcus", "blocks"),
    [
        ([(2, 2), (1, 1), (1, 1)], b"\1\2\3", 3 * 2, 6),
        ([(2, 2), (1, 1), (1, 1)], b"\1", 5 * 4, 1),
        ([(2, 2), (1, 1), (1, 1)], b"\2", 3 * 2, 1),
        ([(2, 1), (1, 1), (1, 1)], b"\1\2\3", 3 * 4, 4),
        ([(2, 2)], b"\1", 5 * 4, 1),
    ],
)
def test_units_of_a_scan(sampling, numbers, mcus, blocks):
    parts = tuple(jpeg.Component(1 + at, *each) for at, each in enumerate(sampling))
    frame = jpeg.Frame(0, 8, 31, 33, parts, b"")  # 33 wide, 31 high
    assert frame.mcus(numbers) == (mcus, blocks)


# The limit is on what is allocated


def test_108_megapixels_are_read_reduced():
    data = encode(Image.new("L", (12_000, 9_000), 77), "JPEG")
    photo = decode(data, 100)
    assert (photo.width, photo.height) == (12_000, 9_000)
    assert (photo.pixels == 77).all()
    assert rejection(data, reduced_decode=False).reason == "too-large"


def test_the_limit_is_on_the_reduced_size_and_inclusive():
    data = jpeg_of(640, 480)  # to 32 pixels, hence at a quarter
    assert decode(data, 32, max_pixels=160 * 120).width == 640
    rejected = rejection(data, max_pixels=160 * 120 - 1)
    assert rejected.reason == "too-large"
    assert "160 x 120" in rejected.detail


def test_the_limit_is_on_the_full_size_where_all_coefficients_are_held(monkeypatch):
    data = jpeg_of(640, 480, progressive=True)
    assert decode(data, 32, max_pixels=640 * 480).width == 640
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    assert rejection(data, max_pixels=640 * 480 - 1).reason == "too-large"
    rejected = rejection(with_size(data, 50_000, 50_000))
    assert rejected.reason == "too-large"
    assert "100,000,000" in rejected.detail


@pytest.mark.parametrize("size", [(50_000, 50_000), (65_500, 65_500)])
def test_a_forged_size_without_the_data_for_it_is_not_decoded(size, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    rejected = rejection(with_size(encode(scene(), "JPEG"), *size))
    assert rejected.reason == "truncated"
    assert "blocks" in rejected.detail


# What lies behind the picture


def samsung_trailer(video):
    block = b"\0\0\x08\x12" + struct.pack("<I", 18) + b"Panorama_Shot_Info" + video
    directory = b"SEFH" + struct.pack("<IIHHII", 107, 1, 0, 0x1208, len(block), len(block))
    return block + directory + struct.pack("<I", len(directory)) + b"SEFT"


BEHIND = {
    "nothing": b"",
    "a trailer": samsung_trailer(b"\0\0\0\x18ftypmp42" + NOISE),
    "an end marker in a video": samsung_trailer(b"\0\0\0\x18ftypmp42" + EOI + NOISE),
    "another picture": b"\0\0" + encode(scene(), "JPEG"),
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("reduced", [True, False])
def test_a_photo_that_lacks_only_its_end_marker_is_read(options, behind, reduced):
    data = jpeg_of(**options)
    assert data.endswith(EOI)
    photo = decode(data[:-2] + behind, 32, reduced_decode=reduced)
    assert np.array_equal(photo.pixels, decode(data, 32, reduced_decode=reduced).pixels)
    assert (photo.width, photo.height) == (320, 240)


@pytest.mark.parametrize("behind", [*BEHIND.values(), bytes(5000), NOISE])
def test_what_is_behind_the_end_marker_does_not_matter(behind):
    assert np.array_equal(decode(PHOTO + behind, 32).pixels, decode(PHOTO, 32).pixels)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_fill_before_a_marker_is_skipped(options):
    data = jpeg_of(**options)
    filled = data[:-2] + b"\xff" * 5000 + EOI
    assert np.array_equal(decode(filled, 32).pixels, decode(data, 32).pixels)


@pytest.mark.parametrize("options", [{}, {"mode": "L"}, {"optimize": True}], ids=str)
def test_a_sequential_scan_may_leave_its_parameters_zero(options):
    data = jpeg_of(**options)
    at = data.index(b"\0\x3f\0", data.index(b"\xff\xda"))
    assert np.array_equal(
        decode(data[:at] + bytes(3) + data[at + 3 :], 32).pixels, decode(data, 32).pixels
    )


# What is missing or does not belong there


def test_a_file_without_a_scan_is_truncated():
    head = PHOTO[: PHOTO.index(b"\xff\xda")]
    assert rejection(head).reason == "truncated"
    assert rejection(head + EOI).reason == "truncated"


def test_a_scan_before_its_frame_is_corrupt():
    data = PHOTO[:2] + PHOTO[PHOTO.index(b"\xff\xda") :]
    assert "frame" in rejection(data).detail


def test_a_missing_scan_is_truncated():
    data = jpeg_of(progressive=True)
    last = data.rindex(b"\xff\xda")
    tables = data.rindex(b"\xff\xc4", 0, last)
    for cut in (data[:tables] + EOI, data[:tables]):
        assert rejection(cut).reason == "truncated"


@pytest.mark.parametrize("marker", [0x01, 0x02, 0x9F, 0xD3, 0xD8, 0xF0])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_a_marker_inside_a_scan_is_corrupt(options, marker):
    data = jpeg_of(**options)
    at = data.index(b"\xff\xda") + (len(data) - data.index(b"\xff\xda")) // 2
    rejected = rejection(data[:at] + bytes((0xFF, marker, 0x20, 0)) + data[at:])
    assert rejected.reason == "corrupt"
    assert f"FF{marker:02X}" in rejected.detail


def test_restart_markers_must_come_in_order():
    data = jpeg_of(restart_marker_rows=1)  # 15 rows of units, 14 markers
    third = data.index(b"\xff\xd2")
    fourth = data.index(b"\xff\xd3")
    assert rejection(data[:third] + data[fourth:]).reason == "corrupt"
    swapped = data[:third] + b"\xff\xd4" + data[third + 2 :]
    assert rejection(swapped).reason == "corrupt"
    rejected = rejection(data[:fourth] + EOI)
    assert rejected.reason == "truncated"
    assert "3 of 14 restart markers" in rejected.detail


def test_a_restart_marker_behind_the_last_interval_is_read():
    data = jpeg_of(restart_marker_rows=1)
    closed = data[:-2] + b"\xff\xd6" + EOI
    assert np.array_equal(decode(closed, 32).pixels, decode(data, 32).pixels)


def test_a_foreign_segment_between_scans_is_skipped():
    data = jpeg_of(progressive=True)
    at = data.index(b"\xff\xc4", data.index(b"\xff\xda"))
    comment = with_segment(b"", 0xFE, b"between") + with_segment(b"", 0xE5, bytes(300))
    mixed = data[:at] + comment + data[at:]
    assert np.array_equal(decode(mixed, 32).pixels, decode(data, 32).pixels)


@pytest.mark.parametrize("process", [0xC3, 0xC5, 0xCA, 0xCB])
def test_a_rare_process_with_foreign_data_is_rejected(process):
    at = PHOTO.index(b"\xff\xc0")
    forged = PHOTO[: at + 1] + bytes((process,)) + PHOTO[at + 2 :]
    assert rejection(forged).reason in {"corrupt", "truncated"}

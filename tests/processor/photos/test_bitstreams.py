"""Streams of HEVC and AV1: sizes and lost parts."""

import pytest

from processor.photos.bitstreams import av1_sizes, is_whole_hevc


def unit(body):
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("stream", "whole"),
    [
        (unit(b"\x26\x01abc"), True),
        (unit(b"\x26\x01abc") + unit(b"\x26\x01\0\0\3\0\0\3"), True),
        (unit(b"\x26\x01a") + bytes(4), False),
        (unit(b"\x26\x01a\0\0\0b"), False),
        (unit(b"\x26\x01abc")[:-1], False),
        (unit(b"\x26\x01abc") + b"\0", False),
        (unit(b"ab") * 100_000, False),
    ],
)
def test_lost_parts_of_hevc_are_found(stream, whole):
    assert is_whole_hevc(stream, 4) == whole


def test_short_lengths_of_hevc():
    assert is_whole_hevc(b"\0\3abc\0\2de", 2)


def bits(*fields):
    """Fields of (value, count), padded to bytes."""
    text = "".join(f"{value:0{count}b}" for value, count in fields)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def header(*before):
    return bits(*before, (10, 4), (9, 4), (1919, 11), (1007, 10))


SHORT = header((0, 3), (1, 1), (1, 1), (8, 5))
PLAIN = header((0, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 5), (0, 12), (8, 5), (1, 1))
TIMED = header(
    *((0, 3), (0, 1), (0, 1)),
    *((1, 1), (1, 32), (25, 32), (1, 1), (0b011, 3), (1, 1), (9, 5), (1, 32), (3, 5), (4, 5)),
    *((1, 1), (1, 5)),  # two operating points
    *((0, 12), (8, 5), (1, 1), (1, 1), (0, 21), (1, 1), (3, 4)),
    *((0, 12), (7, 5), (0, 1), (0, 1)),
)


@pytest.mark.parametrize("body", [SHORT, PLAIN, TIMED])
@pytest.mark.parametrize("extension", [False, True])
def test_size_in_a_sequence_header(body, extension):
    head = bytes([0x0E, 0]) if extension else bytes([0x0A])
    stream = b"\x12\0" + head + bytes([len(body)]) + body + b"\x32\x80\x01" + bytes(128)
    assert list(av1_sizes(stream)) == [(1920, 1008)]


def test_last_unit_may_lack_a_length():
    assert list(av1_sizes(b"\x12\0\x08" + SHORT)) == [(1920, 1008)]


@pytest.mark.parametrize(
    "stream",
    [b"\x0a", b"\x0a\x20abc", b"\x0a\x01a", b"\x32\xff\xff\xff\xff\xff\xff", b"\x12\0" * 5000],
)
def test_broken_streams_end_early(stream):
    with pytest.raises((EOFError, IndexError)):
        list(av1_sizes(stream))

"""Streams of HEVC and AV1 in HEIF files: what their decoders do not check, or check too late."""

from collections.abc import Iterator

_MAX_UNITS = 1_000  # HEVC's highest level has 600 slices, a still of AV1 a few dozen units
_ABSENT = b"\0\0\0"  # ITU-T H.265, 7.4.2.1: never in a unit, an encoder breaks it up by a 3
_SEQUENCE_HEADER = 1


def is_whole_hevc(stream: bytes, length_size: int) -> bool:
    """Whether units, each behind its length, fill the stream, none of them with three zeros in a row.

    A decoder makes smeared pixels of the zeros that an interrupted copy leaves, without an error.
    """
    at = 0
    for _ in range(_MAX_UNITS):
        if at == len(stream):
            return True
        length = int.from_bytes(stream[at : at + length_size], "big")
        start, at = at + length_size, at + length_size + length
        if not length or at > len(stream) or stream.find(_ABSENT, start, at) >= 0:
            return False
    return False


def av1_sizes(stream: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of the frames, by each sequence header in a stream (AV1, 5.3 to 5.5).

    A decoder allocates them, whatever the file around declares. Raises EOFError or IndexError if the
    stream ends early.
    """
    at = 0
    for _ in range(_MAX_UNITS):
        if at == len(stream):
            return
        head = stream[at]
        at += 2 if head & 4 else 1  # an extension byte
        length = len(stream) - at
        if head & 2:
            length = shift = 0
            while True:  # LEB128
                byte = stream[at]
                length |= (byte & 127) << shift
                at, shift = at + 1, shift + 7
                if byte < 128 or shift > 28:
                    break
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            yield _size(_Bits(stream[at : at + length]))
        at += length
        if at > len(stream):
            raise EOFError("inside a unit of AV1")
    raise EOFError("among a thousand units of AV1")


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:256], "big"), 8 * min(len(data), 256)

    def __call__(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise EOFError("inside a sequence header of AV1")
        return self._value >> self._left & ((1 << count) - 1)


def _size(bits: _Bits) -> tuple[int, int]:
    bits(3 + 1)  # profile, still picture
    if bits(1):  # reduced header
        bits(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits(4) + 1, bits(4) + 1
    return bits(width_bits) + 1, bits(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits(1):  # timing
        bits(64)
        if bits(1):  # equal intervals, then a number in Exp-Golomb code
            zeros = 0
            while not bits(1):
                zeros += 1
            bits(zeros)
        if bits(1):  # decoder model
            delay_bits = bits(5) + 1
            bits(32 + 5 + 5)
    display_delay = bits(1)
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:  # level; the higher ones have a tier
            bits(1)
        if delay_bits and bits(1):
            bits(2 * delay_bits + 1)
        if display_delay and bits(1):
            bits(4)

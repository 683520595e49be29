"""AV1 streams: the size of the frames in them, which a decoder allocates whatever the file around says."""

from collections.abc import Iterator

_SEQUENCE_HEADER = 1
_MAX_UNITS = 10_000  # a still picture has two to a few dozen


def sizes(stream: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of each sequence header in a stream of open bitstream units (AV1, 5.3 to 5.5).

    Raises EOFError or IndexError if the stream ends early.
    """
    at = 0
    for _ in range(_MAX_UNITS):
        if at >= len(stream):
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
    raise EOFError("among thousands of units of AV1")


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

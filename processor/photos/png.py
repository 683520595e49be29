"""PNG files, parsed before Pillow sees them: the chunks that make the picture, their size, its rows."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from processor.errors import RejectedImage
from processor.photos import containers

_START = 8  # where the first chunk begins
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Png:
    """The chunks that make the picture, and its EXIF block or b""."""

    stream: bytes
    exif: bytes
    ended: bool  # the file had its last chunk


def parse(data: bytes, max_pixels: int) -> Png:
    """The picture, the checksums of its chunks verified (Pillow skips IDAT's).

    What follows the last row may be missing or broken; whether it is there, :func:`check_rows` tells.
    Raises RejectedImage, or struct.error if the file ends early.
    """
    view, exif, kind = memoryview(data), b"", b""
    kept: list[bytes | memoryview] = [view[:_START]]
    for kind, start, end in _chunks(data):
        body, whole = view[start + 8 : end - 4], end <= len(data)
        if whole and kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT"):
            if zlib.crc32(view[start + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
                detail = f"the checksum of {kind!r} is wrong; replace the file"
                raise RejectedImage("corrupt", detail)
            kept.append(view[start:end])
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", body)
            containers.check_size(width, height, max_pixels)
        elif kind == b"IDAT" and not whole:  # perhaps only in its checksum
            kept.append(_chunk(kind, bytes(body)))
        elif kind == b"eXIf":
            exif = bytes(body)
    return Png(b"".join([*kept, _chunk(b"IEND", b"")]), exif, ended=kind == b"IEND")


def check_rows(photo: Png) -> None:
    """Inflate the picture, without keeping it, and count its bytes.

    Raises RejectedImage or EOFError if they end before the last row, and zlib.error.
    """
    view, missing, inflater = memoryview(photo.stream), 0, zlib.decompressobj()
    for kind, start, end in _chunks(photo.stream):
        body = view[start + 8 : end - 4]
        if kind == b"IHDR":
            missing = _filtered_bytes(body)
        elif kind == b"IDAT":
            missing -= _inflate(inflater, body, missing)
    if missing and photo.ended:
        raise RejectedImage("corrupt", "its data end before its last row; replace the file")
    if missing:
        raise EOFError("before the last row")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk up to IEND; the last may reach beyond the file."""
    kind, end = b"", _START
    while kind != b"IEND" and end + 8 <= len(data):
        start = end
        length, kind = struct.unpack_from(">I4s", data, start)
        end += 12 + length
        yield kind, start, end


# The passes of an interlaced PNG: first column and row, and steps (PNG, 8.2).
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type


def _filtered_bytes(header: bytes | memoryview) -> int:
    """How many bytes the rows take, each with the number of its filter before it."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", header)
    bits, total = depth * _CHANNELS.get(colour, 0), 0
    for left, top, right, down in _ADAM7 if interlaced else _WHOLE:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return total


def _inflate(inflater: "zlib._Decompress", data: bytes | memoryview, limit: int) -> int:
    """How many bytes `data` inflates to, up to `limit`; in pieces, so that it takes no memory."""
    left = limit
    for at in range(0, len(data), _PIECE):
        piece = data[at : at + _PIECE]
        while left and piece and not inflater.eof:
            left -= len(inflater.decompress(piece, min(left, _PIECE)))
            piece = inflater.unconsumed_tail
    return limit - left


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

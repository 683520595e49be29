"""The footprint of a photo: the most memory that decoding it takes, known from its headers.

Upper bounds of what Pillow, its libraries and :mod:`.decode` were measured to allocate; a test measures
them again. Bytes count when they are touched; those of the file itself do not, only copies of them.
"""

import math
import struct
from dataclasses import dataclass

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from processor.photos.heif import Still
from processor.photos.jpeg import Frame, Jpeg

# Bytes a pixel, by mode: of the picture as it is loaded and of what `decode` converts it to.
_OPAQUE = {"1": 2, "L": 1, "P": 5, "RGB": 4, "CMYK": 8, "I;16": 6}
_TRANSPARENT = {"1": 9, "L": 9, "P": 9, "LA": 12, "RGB": 12, "RGBA": 8, "I;16": 6}
_AVIF = 20  # measured: 9.7 to 15.8, most in 12 bits without subsampling
_WEBP = 16  # libwebp's two canvases, the frame, and either its samples or the picture

_ANY = 2 << 20  # whatever the photo
_COLUMN = 128  # a pixel of the width, for the rows that codecs hold

# Lossless WebP may define 65,536 sets of Huffman tables, each for 4 x 4 pixels or more. libwebp writes
# at most 2,600; a file of 7 MB that is made to harm took 925 MB for a million pixels.
_SETS = 65_536
_SET_BYTES = 20_700  # of one set, at most
_SET_RATIO = 2_400  # bytes for each byte of the file: five tables of 1 kB are written in 20 bits


@dataclass(frozen=True, slots=True)
class Target:
    """What a photo becomes: `size` pixels square. How it is shrunk, see `Image.draft` and `.resize`."""

    size: int
    draft: int | None  # the least width and height at which a JPEG is decoded
    gap: float | None


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that decoding takes: of any honest file with these headers, of the worst forgery."""

    needed: int
    worst: int


def jpeg(image: JpegImageFile, photo: Jpeg, target: Target) -> Footprint:
    """Of a JPEG, opened but not loaded."""
    width, height = image.size
    least = target.draft or max(width, height)
    scale = max(1, min(8, width // least, height // least))
    scale = 1 << (scale.bit_length() - 1)  # as Image.draft chooses it
    copies = 2 * sum([len(scan.data) for scan in photo.scans])
    coefficients = _coefficients(photo.frame) if photo.buffered else 0
    beside = coefficients + _COLUMN * width + copies
    return _picture(image.mode, math.ceil(width / scale), math.ceil(height / scale), target, beside)


def png(image: PngImageFile, stream: bytes, target: Target) -> Footprint:
    """Of a PNG, opened but not loaded."""
    # Pillow obeys a tRNS chunk behind the pixels as well.
    transparent = image.has_transparency_data or b"tRNS" in stream
    return _picture(image.mode, *image.size, target, len(stream), transparent=transparent)


def gif(image: GifImageFile, stream: bytes, target: Target) -> Footprint:
    """Of a GIF, opened but not loaded."""
    transparent = image.has_transparency_data
    return _picture(image.mode, *image.size, target, len(stream), transparent=transparent)


def bmp(image: BmpImageFile, target: Target) -> Footprint:
    """Of a BMP, opened but not loaded."""
    return _picture(image.mode, *image.size, target, 0, transparent=image.has_transparency_data)


def avif(still: Still, data: bytes, target: Target) -> Footprint:
    """Of an AVIF."""
    shrinking = _shrinking(still.width, still.height, target)
    needed = _ANY + _AVIF * still.pixels + shrinking + 2 * len(data)
    return Footprint(needed, needed)


def webp(data: bytes, width: int, height: int, target: Target) -> Footprint:
    """Of a WebP with this canvas; Pillow allocates most of it as it opens the file."""
    pixels = _WEBP * width * height + _shrinking(width, height, target)
    needed = _ANY + _COLUMN * width + pixels + 3 * len(data)
    sets = min(_SETS, math.ceil(width / 4) * math.ceil(height / 4))
    tables = min(sets * _SET_BYTES, _SET_RATIO * _lossless_bytes(data))
    return Footprint(needed, needed + tables)


def _picture(
    mode: str, width: int, height: int, target: Target, beside: int, *, transparent: bool = False
) -> Footprint:
    """Of a picture that Pillow loads with these sides while there are `beside` other bytes."""
    pixels = (_TRANSPARENT if transparent else _OPAQUE)[mode] * width * height
    shrinking = _shrinking(width, height, target)
    needed = _ANY + _COLUMN * width + pixels + shrinking + beside
    return Footprint(needed, needed)


def _coefficients(frame: Frame) -> int:
    """Bytes of all blocks of a JPEG."""
    across = 8 * max([each.across for each in frame.components])
    down = 8 * max([each.down for each in frame.components])
    units = math.ceil(frame.width / across) * math.ceil(frame.height / down)
    return 128 * units * sum([each.across * each.down for each in frame.components])


def _lossless_bytes(data: bytes) -> int:
    """The bytes of a WebP's first picture that are coded without loss: all, its alpha, or none."""
    at, found = 12, 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind in (b"VP8L", b"ALPH"):
            found += length
        if kind in (b"VP8L", b"VP8 "):
            break
        at += 24 if kind == b"ANMF" else 8 + length + length % 2  # a frame's own chunks follow it
    return found


def _shrinking(width: int, height: int, target: Target) -> int:
    """Bytes that resizing takes beside its source: the picture reduced, then resized across."""
    by = [
        int(side / target.size / target.gap) or 1 if target.gap else 1 for side in (width, height)
    ]
    columns, rows = math.ceil(width / by[0]), math.ceil(height / by[1])
    reduced = columns * rows if max(by) > 1 else 0
    return 4 * (reduced + target.size * rows + 4 * target.size**2)

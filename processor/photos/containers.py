"""Image containers but JPEG, parsed before Pillow sees them: the parts that make the pixels, their size.

The size is checked before anything is allocated. Profiles, text, EXIF and further pictures are
dropped, so that none of them can inflate, cause a warning or spoil a photo. Functions that read a
container raise RejectedImage, or EOFError, IndexError or struct.error if the file ends early.
"""

import struct
import zlib

from processor.errors import RejectedImage

_MAX_SIDE = 65_535  # JPEG's own limit; a 1 x 100,000,000 PNG would take 90 GB halfway into resize


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise RejectedImage (`too-large`) above `max_pixels` in all or 65,535 on a side."""
    if width * height > max_pixels or max(width, height) > _MAX_SIDE:
        cause = f"declares {width:,} x {height:,} pixels"
        limit = f"the limit is {max_pixels:,} pixels and {_MAX_SIDE:,} a side"
        fix = "scale it down or raise images.max_pixels"
        raise RejectedImage("too-large", f"{cause}; {limit}; {fix}")


def png(data: bytes, max_pixels: int) -> tuple[bytes, bytes]:
    """The chunks that make the picture, checksums verified (Pillow skips IDAT's), and EXIF or b""."""
    width, height = struct.unpack_from(">II", data, 16)
    check_size(width, height, max_pixels)
    view, exif, kind, at = memoryview(data), b"", b"", 8
    kept = [view[:8]]
    while kind != b"IEND":
        start = at
        length, kind = struct.unpack_from(">I4s", data, start)
        at += 12 + length
        if at > len(data):
            raise EOFError(f"inside a chunk {kind!r}")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            if zlib.crc32(view[start + 4 : at - 4]) != struct.unpack_from(">I", data, at - 4)[0]:
                detail = f"the checksum of {kind!r} is wrong; replace the file"
                raise RejectedImage("corrupt", detail)
            kept.append(view[start:at])
        elif kind == b"eXIf":
            exif = data[start + 8 : at - 4]
    return b"".join(kept), exif


def gif(data: bytes, max_pixels: int) -> bytes:
    """The file with a screen that holds the first frame, without disposal: Pillow allocates both."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 * (2 << (flags & 7)) if flags & 0x80 else 0)
    screen, control = data[10:at], b""
    while data[at] != 0x2C:  # the image descriptor; extensions, each of many blocks, come before
        start, block = at, data[at]
        at += 2 if block == 0x21 else 1
        while block == 0x21 and data[at]:
            at += 1 + data[at]
        at += block == 0x21
        if data[start : start + 3] == b"\x21\xf9\x04" and data[start + 3] & 1:
            control = b"\x21\xf9\x04\x01\0\0" + data[start + 6 : start + 7] + b"\0"  # transparency
    left, top, frame_width, frame_height = struct.unpack_from("<4H", data, at + 1)
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    check_size(width, height, max_pixels)
    return data[:6] + struct.pack("<HH", width, height) + screen + control + data[at:]


def webp_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """The canvas, checked. Pillow would allocate it as soon as it opens the file."""
    width = height = 0
    if data[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif data[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif data[12:16] == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    check_size(width, height, max_pixels)
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise EOFError("before the length in its header")
    return width, height

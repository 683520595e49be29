"""GIF, BMP and WebP, parsed before Pillow sees them: the parts that make the pixels, their size.

The size is checked before anything is allocated. Profiles, text, EXIF and further pictures are
dropped, so that none of them can inflate, cause a warning or spoil a photo. Functions that read a
container raise RejectedImage, or EOFError, IndexError or struct.error if the file ends early.
"""

import struct

from processor.errors import RejectedImage

_TAIL = 32  # bytes; more than an encoder or a muxer pads a picture with
_MAX_SIDE = 65_535  # JPEG's own limit; a 1 x 100,000,000 PNG would take 90 GB halfway into resize


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise RejectedImage: `too-large` above `max_pixels` in all or 65,535 a side, `corrupt` at 0."""
    cause = f"declares {width:,} x {height:,} pixels"
    if width * height > max_pixels or max(width, height) > _MAX_SIDE:
        limit = f"the limit is {max_pixels:,} pixels and {_MAX_SIDE:,} a side"
        fix = "scale it down or raise images.max_pixels"
        raise RejectedImage("too-large", f"{cause}; {limit}; {fix}")
    if min(width, height) < 1:
        raise RejectedImage("corrupt", f"{cause}, which is no picture; replace the file")


def gif(data: bytes, max_pixels: int) -> bytes:
    """The first frame, without disposal, and a screen that holds it: Pillow allocates both."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 * (2 << (flags & 7)) if flags & 0x80 else 0)
    screen, control = data[10:at], b""
    while data[at] != 0x2C:  # the image descriptor; extensions, each of many blocks, come before
        start, block = at, data[at]
        if block == 0x3B:
            raise RejectedImage("corrupt", "it has no picture, only an end; replace the file")
        at += 2 if block == 0x21 else 1
        while block == 0x21 and data[at]:
            at += 1 + data[at]
        at += block == 0x21
        if data[start : start + 3] == b"\x21\xf9\x04" and data[start + 3] & 1:
            control = b"\x21\xf9\x04\x01\0\0" + data[start + 6 : start + 7] + b"\0"  # transparency
    left, top, frame_width, frame_height, flags = struct.unpack_from("<4HB", data, at + 1)
    check_size(frame_width, frame_height, max_pixels)
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    check_size(width, height, max_pixels)
    end = at + 11 + (3 * (2 << (flags & 7)) if flags & 0x80 else 0)
    while end < len(data) and data[end]:  # Pillow would complete the frame with what follows it
        end += 1 + data[end]
    return data[:6] + struct.pack("<HH", width, height) + screen + control + data[at : end + 1]


def bmp(data: bytes, max_pixels: int) -> bool:
    """Check size and length. False unless it is a BMP of plain rows, as those of photos are.

    Pillow expands run-length encoding in Python, and where it ends early, leaves the rest black.
    """
    header, compression = int.from_bytes(data[14:18], "little"), 0
    if header == 12:  # of OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    elif header in (40, 52, 56, 64, 108, 124):
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    else:
        return False
    if bits not in (1, 4, 8, 16, 24, 32) or compression not in (0, 3):
        return False
    height = abs(height)  # negative if the rows are stored from the top
    check_size(width, height, max_pixels)
    if len(data) < int.from_bytes(data[10:14], "little") + -(-width * bits // 32) * 4 * height:
        raise EOFError("before the last row")
    return True


def webp_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """The canvas, checked. Pillow would allocate it as soon as it opens the file."""
    if data[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif data[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif data[12:16] == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        detail = f"begins with {data[12:16]!r} instead of a picture; replace the file"
        raise RejectedImage("corrupt", detail)
    check_size(width, height, max_pixels)
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise EOFError("before the length in its header")
    return width, height


def webp_less(data: bytes) -> bytes | None:
    """A WebP up to its first picture, without that picture's last bytes; None unless they are zero.

    WebP has no checksum, and one that is zero from somewhere on decodes, to a picture with a ruined
    end. It then decodes without the last zeros too; no whole picture does, because entropy coding
    leaves nothing over (one with a flat lower part does end in zeros, but needs them).
    """
    around, at = [4], 12
    while (kind := data[at : at + 4]) not in (b"VP8 ", b"VP8L"):
        if len(kind) < 4:
            return None
        if kind == b"ANMF":
            around.append(at + 4)
            at += 24
        else:
            at += 8 + -(-int.from_bytes(data[at + 4 : at + 8], "little") // 2) * 2
    end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    if data[end - _TAIL : end] != bytes(_TAIL):
        return None
    less = bytearray(data[: end - _TAIL])
    struct.pack_into("<I", less, at + 4, len(less) - at - 8)
    less += bytes(len(less) % 2)
    for field in around:
        struct.pack_into("<I", less, field, len(less) - field - 4)
    return bytes(less)

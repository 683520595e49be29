"""JPEG streams, parsed before Pillow sees them: the parts that make the first picture.

Profiles, text and further pictures are dropped, so that none of them can inflate, cause a warning or
spoil a photo.
"""

import re
import struct

from processor.errors import RejectedImage

_MAX_SCANS = 100  # encoders write about ten; 150 bytes of a scan cost a pass over the whole picture
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")  # neither fill nor part of a scan


def parse(data: bytes) -> tuple[bytes, bytes]:
    """The first picture's tables, frame and scans (ITU T.81, annex B), and its EXIF block or b"".

    Raises RejectedImage, or EOFError, IndexError or struct.error if the file ends early.
    """
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    view, exif, scans, at = memoryview(data), b"", 0, 2
    while found := _MARKER.search(data, at):
        start, marker = found.start(), found[1][0]
        if scans:
            kept.append(view[at:start])  # the scan's compressed data
        at = start + 2
        if marker == 0xD9:  # end of image
            kept.append(view[start:at])
            break
        at += struct.unpack_from(">H", data, at)[0]
        if at > len(data):
            raise EOFError("inside a segment")
        scans += marker == 0xDA
        if scans > _MAX_SCANS:
            detail = f"has more than {_MAX_SCANS} scans; save the photo again"
            raise RejectedImage("too-large", detail)
        name, length = data[start + 4 : start + 10], at - start
        # JFIF and Adobe segments say how colours are coded; libjpeg ignores shorter ones.
        jfif = marker == 0xE0 and name.startswith(b"JFIF\0") and length >= 18
        adobe = marker == 0xEE and name.startswith(b"Adobe") and length >= 16
        if 0xC0 <= marker <= 0xDF or jfif or adobe:
            kept.append(view[start:at])
        elif marker == 0xE1 and name == b"Exif\0\0" and not exif:
            exif = data[start + 4 : at]
    else:
        kept.append(view[at:] if scans else b"")
    return b"".join(kept), exif

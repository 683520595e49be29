"""EXIF: which way up a photo is."""

import struct


def orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or the block is malformed. Never raises."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, form, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112 and form == 3 and 1 <= value <= 8:  # 3: a SHORT, as EXIF demands
                return int(value)
    except struct.error:
        pass
    return 1

"""EXIF: which way up a photo is."""

import struct

_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # TIFF 6.0, section 2: types


def orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or the block is malformed. Never raises.

    EXIF demands one SHORT, and browsers take nothing else. Some software writes a LONG; as libvips
    and Pillow do, the first of any number of integers is taken.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if not order:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, form, count = struct.unpack_from(order + "HHI", tiff, entry)
            if tag != 0x0112 or form not in _INTEGERS or not count:
                continue
            kind, at = order + _INTEGERS[form], entry + 8
            if count * struct.calcsize(kind) > 4:
                (at,) = struct.unpack_from(order + "I", tiff, at)
            (value,) = struct.unpack_from(kind, tiff, at)
            if 1 <= value <= 8:
                return int(value)
    except struct.error:
        pass
    return 1

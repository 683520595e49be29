"""HEIC and AVIF files drawn for tests, and their boxes rewritten."""

import io
import struct

import pillow_heif

from tests.support.pictures import exif as drawn_exif


def heic(*images, primary=0, **options):
    """The images, encoded as HEVC without subsampling; each one Pillow's, or samples and their mode."""
    file = pillow_heif.HeifFile()
    for image in images:
        if isinstance(image, tuple):
            samples, mode = image
            file.add_frombytes(mode, samples.shape[1::-1], samples.tobytes())
        else:
            file.add_from_pillow(image)
    options = {"quality": 95, "chroma": 444, "primary_index": primary} | options
    target = io.BytesIO()
    file.save(target, **options)
    return target.getvalue()


def box(name, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def with_size(data, width, height):
    """The file with another declared size for all its images (box ispe)."""
    parts = data.split(b"ispe")
    size = struct.pack(">II", width, height)
    return b"ispe".join([parts[0], *(part[:4] + size + part[12:] for part in parts[1:])])


def empty(*boxes, brand=b"heic"):
    """A file of the brand that holds a `meta` of these boxes."""
    return box(b"ftyp", brand, bytes(4), b"mif1") + box(b"meta", bytes(4), *boxes)


def oriented(image, orientation, exif):
    """The image with the properties irot and imir for an EXIF orientation, and with an EXIF block."""
    target = io.BytesIO()
    options = {"quality": 95, "chroma": 444, "exif": drawn_exif(orientation)}
    pillow_heif.encode(image.mode, image.size, image.tobytes(), target, **options)
    data = target.getvalue()
    at = data.index(struct.pack(">HHI", 0x0112, 3, 1)) + 8
    return data[:at] + struct.pack(">H", exif) + data[at + 2 :]

"""Thumbnails: photos as small WebP pictures, read and decoded as safely as for the network.

:func:`make` is what runs in a worker.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from common import aws_errors
from processor.errors import PhotoError, ServiceError, Unavailable
from processor.photos import objects
from processor.photos.decode import decode
from processor.photos.memory import MemoryBudget
from processor.report import parts
from processor.report.draw import Photo
from processor.report.points import THUMBNAIL_PIXELS

QUALITY = 60  # of 100: about 1 kB
DOWNLOADS = 2  # photos at a time in a task, each whole
UNAVAILABLE = 20  # photos in a row: then it is not about them

_COLUMNS = pa.schema([pa.field("key", pa.string()), pa.field("thumbnail", pa.binary())])


@dataclass(frozen=True, slots=True)
class Source:
    """Where the photos are, and within which limits they are decoded; sent to workers.

    ``memory`` finds the memory budget of the machine that calls it.
    """

    bucket: str
    max_bytes: int
    max_pixels: int
    unsandboxed_heic: bool
    memory: Callable[[], MemoryBudget]

    def thumbnail(self, photo: Photo, memory: MemoryBudget) -> bytes | None:
        """That of a photo; None if S3 has another version now. Raises :class:`PhotoError`."""
        key, version = photo
        found = objects.get(self.bucket, key, self.max_bytes)
        if found.version != version:
            return None
        decoded = decode(
            found.data,
            THUMBNAIL_PIXELS,
            max_pixels=self.max_pixels,
            unsandboxed_heic=self.unsandboxed_heic,
            reserve=memory.reserve,
        )
        return encoded(decoded.pixels, decoded.width, decoded.height)


def encoded(pixels: npt.NDArray[np.uint8], width: int, height: int) -> bytes:
    """The WebP of a photo with this width and height that was squashed to a square of ``pixels``."""
    longer = max(width, height)
    sides = (
        max(1, round(THUMBNAIL_PIXELS * width / longer)),
        max(1, round(THUMBNAIL_PIXELS * height / longer)),
    )
    picture = io.BytesIO()
    image = Image.fromarray(pixels).resize(sides, Image.Resampling.BOX)
    image.save(picture, "WEBP", quality=QUALITY)
    return picture.getvalue()


def make(photos: Iterable[Photo], source: Source, folder: str) -> Iterator[str]:
    """Make the thumbnails of some photos, and write them as a part in ``folder``; its name.

    Photos that are gone or of another version, or cannot be read or decoded, have none. May be repeated.
    Memory: DOWNLOADS photos, and for decoding what the memory budget gives. Raises
    :class:`ServiceError` for what AWS says of all photos, and where too many in a row are unavailable.
    """
    memory = source.memory()
    made: dict[str, bytes] = {}
    faults: list[str] = []  # of the last photos, while none succeeds

    def one(photo: Photo) -> None:
        if len(faults) >= UNAVAILABLE:
            return
        try:
            thumbnail = source.thumbnail(photo, memory)
        except Unavailable as error:
            faults.append(str(error))
            return
        except PhotoError:
            thumbnail = None
        faults.clear()
        if thumbnail:
            made[photo[0]] = thumbnail

    try:
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            for _ in pool.map(one, photos):
                pass
    except aws_errors.ERRORS as error:  # of which only the text reaches the driver
        raise ServiceError(aws_errors.explain(error)) from error
    if len(faults) >= UNAVAILABLE:
        raise ServiceError(f"{len(faults)} photos in a row are unavailable: {faults[-1]}")
    columns = {"key": list(made), "thumbnail": list(made.values())}
    yield parts.write(folder, pa.table(columns, schema=_COLUMNS))

"""The photos of a benchmark: a folder of real ones, or the demo's drawn sample."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.harness.errors import BenchError
from common.config import Storage
from demo import sample
from demo.fruit import SPECIES

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
MEASURED = 100  # photos, evenly spaced, that are opened to find the median


@dataclass(frozen=True, slots=True)
class Photos:
    """What a result says about its photos."""

    source: str  # "drawn" or "files"
    count: int
    median_megapixels: float
    median_kilobytes: float

    def line(self) -> str:
        """For a person to read."""
        return (
            f"{self.count} photos ({self.source}; median {self.median_megapixels} MP, "
            f"{self.median_kilobytes} kB)"
        )


def gather(folder: Path | None, limit: int, scratch: Path) -> list[Path]:
    """At most ``limit`` photos (0: all) under ``folder``, evenly spaced over all of them.

    Without a folder, ``limit`` photos are drawn under ``scratch``. Raises :class:`BenchError` if
    there are none.
    """
    if folder is None:
        if limit < 1:
            raise BenchError("choose with --limit how many photos to draw, or give --photos DIR")
        sample.write(scratch, per_species=-(-limit // len(SPECIES)))
        folder = scratch
    found = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in SUFFIXES
    )
    if not found:
        raise BenchError(f"no photos under {folder}: it needs {', '.join(sorted(SUFFIXES))} files")
    return spaced(found, limit or len(found))


def spaced(paths: Sequence[Path], count: int) -> list[Path]:
    """``count`` of ``paths`` (all if there are fewer), evenly spaced."""
    if count >= len(paths):
        return list(paths)
    return [paths[n * len(paths) // count] for n in range(count)]


def put(s3: "S3Client", storage: Storage, path: Path, number: int) -> str:
    """Put a photo into S3, named by its label and ``number``; its key."""
    key = f"{storage.photos_prefix}{path.parent.name}/{number:06}{path.suffix}"
    s3.put_object(Bucket=storage.bucket, Key=key, Body=path.read_bytes())
    return key


def describe(paths: Sequence[Path], *, drawn: bool) -> Photos:
    """How many there are and how large the median one is. Raises :class:`BenchError`."""
    pixels = []
    for path in spaced(paths, MEASURED):
        try:
            with Image.open(path) as image:
                pixels.append(image.width * image.height)
        except OSError as error:
            raise BenchError(f"{path} is not a photo: {error}") from error
    kilobytes = statistics.median(path.stat().st_size for path in paths) / 1e3
    return Photos(
        source="drawn" if drawn else "files",
        count=len(paths),
        median_megapixels=round(statistics.median(pixels) / 1e6, 2),
        median_kilobytes=round(kilobytes, 1),
    )

"""The photos of a benchmark: a folder of real ones, or the demo's drawn sample."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.harness.child import BenchError
from common.config import Storage
from demo import sample
from demo.fruit import SPECIES

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}


def gather(folder: Path | None, limit: int, scratch: Path) -> list[Path]:
    """At most ``limit`` photos (0: all) under ``folder``, evenly spaced over all of them.

    Without a folder ``limit`` photos are drawn under ``scratch``. BenchError if there are none.
    """
    if folder is None:
        if limit < 1:
            raise BenchError("say with --limit how many photos to draw, or give --photos DIR")
        sample.write(scratch, per_species=-(-limit // len(SPECIES)))
        folder = scratch
    found = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in SUFFIXES
    )
    if not found:
        raise BenchError(f"no photos under {folder}: it needs {', '.join(sorted(SUFFIXES))} files")
    return spaced(found, limit or len(found))


def spaced(paths: Sequence[Path], count: int) -> list[Path]:
    """``count`` of ``paths`` (all if they are fewer), evenly spaced."""
    if count >= len(paths):
        return list(paths)
    return [paths[n * len(paths) // count] for n in range(count)]


def put(s3: Any, storage: Storage, path: Path, number: int) -> str:
    """Put a photo into S3 under its label and ``number``; the key."""
    key = f"{storage.photos_prefix}{path.parent.name}/{number:06}{path.suffix}"
    s3.put_object(Bucket=storage.bucket, Key=key, Body=path.read_bytes())
    return key


def describe(paths: Sequence[Path], drawn: bool) -> dict[str, Any]:
    """How many there are and how large the median one is, JSON-able."""
    pixels = []
    for path in spaced(paths, 100):
        try:
            with Image.open(path) as image:
                pixels.append(image.width * image.height)
        except OSError as error:
            raise BenchError(f"{path} is no photo: {error}") from error
    return {
        "source": "drawn" if drawn else "files",
        "count": len(paths),
        "median_megapixels": round(statistics.median(pixels) / 1e6, 2),
        "median_kilobytes": round(
            statistics.median(path.stat().st_size for path in paths) / 1e3, 1
        ),
    }


def line(described: Mapping[str, Any]) -> str:
    """The same for humans."""
    return (
        f"{described['count']} photos ({described['source']}; median "
        f"{described['median_megapixels']} MP, {described['median_kilobytes']} kB)"
    )

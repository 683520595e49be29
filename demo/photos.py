"""The photos: files of a folder, dropped into the bucket."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from common import aws
from demo.errors import DemoError

UPLOADERS = 4  # more would only wait for each other: the embedded S3 answers one request at a time
MAX_KEY_BYTES = 1024  # of S3
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".heic", ".avif", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, slots=True)
class Photo:
    """A file and the key that it gets in the bucket."""

    key: str
    path: Path


def check(folder: Path, out: Path) -> None:
    """Raise :class:`DemoError` unless ``folder`` is a folder and not the one to write to."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DemoError(f"--photos {folder} {what}: name a folder with photos in it")
    if folder.resolve() == out.resolve():
        raise DemoError(f"--photos and --out are both {folder}: write the results elsewhere")


def find(folder: Path, prefix: str, out: Path) -> list[Photo]:
    """All photos below ``folder``, in order of their keys ``prefix`` + relative path.

    A photo is a regular file with one of SUFFIXES, whatever its content, or a link to such a file.
    ``out``, the folder that the demo writes to, is skipped. Raises :class:`DemoError`.
    """
    root, skipped = folder.resolve(), out.resolve()
    found: list[Photo] = []
    for where, below, names in os.walk(root, onerror=_unreadable):
        below[:] = [name for name in below if Path(where, name) != skipped]
        paths = [Path(where, name) for name in names if name.lower().endswith(SUFFIXES)]
        found += [Photo(_key(prefix, path, root), path) for path in paths if path.is_file()]
    if not found:
        raise DemoError(
            f"--photos {folder} has no photos in it ({', '.join(SUFFIXES)}): name another folder"
        )
    return sorted(found, key=lambda photo: photo.key)


def upload(photos: Sequence[Photo], bucket: str, report: Callable[[int], None]) -> None:
    """Put all photos into the bucket; ``report`` gets the number uploaded so far. Raises DemoError."""
    with ThreadPoolExecutor(UPLOADERS) as pool:
        jobs = [pool.submit(_put, photo, bucket) for photo in photos]
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                report(done)
        finally:
            pool.shutdown(cancel_futures=True)


def _put(photo: Photo, bucket: str) -> None:
    try:
        with photo.path.open("rb") as body:
            aws.s3().put_object(Bucket=bucket, Key=photo.key, Body=body)
    except OSError as error:
        raise DemoError(
            f"cannot read {photo.path} ({error.strerror}): make it readable, or move it away"
        ) from error


def _key(prefix: str, path: Path, root: Path) -> str:
    key = prefix + path.relative_to(root).as_posix()
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise DemoError(
            f"the name of {os.fsencode(path)!r} is not UTF-8, as keys in S3 must be: rename it"
        ) from error
    if length > MAX_KEY_BYTES:
        raise DemoError(
            f"{path} would get a key of {length:,} bytes, S3 takes {MAX_KEY_BYTES:,}: shorten it"
        )
    return key


def _unreadable(error: OSError) -> None:
    raise DemoError(
        f"cannot look into {error.filename} ({error.strerror}): make it readable, or move it away"
    ) from error

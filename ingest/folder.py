"""A local folder of photos: which of its files are photos, under which keys, in the order of the keys.

Names are any bytes that others chose. What cannot be uploaded as it is is left out, with the reason.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What processor.photos decodes, by the suffixes in use; the decoder itself goes by the bytes.
CONTENT_TYPES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "image/jpeg"),
    **dict.fromkeys((".heic", ".heif"), "image/heic"),
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".png": "image/png",
    ".webp": "image/webp",
}
KEY_BYTES = 1024  # the longest key of S3


@dataclass(frozen=True, slots=True)
class LocalPhoto:
    """A file to be uploaded under ``key``."""

    key: str
    path: Path
    bytes: int

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.path.suffix.lower()]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or a folder that is not uploaded, and why."""

    path: Path
    reason: str
    is_photo: bool = True  # or may hold some; False for files with other names, which nobody misses


def photos(folder: Path, prefix: str, max_bytes: int) -> Iterator[LocalPhoto | LeftOut]:
    """All files under ``folder``, the photos among them in the order of their keys' UTF-8 bytes.

    A key is ``prefix`` and the file's path in the folder. Hidden files and folders are passed over, as
    those that cameras and desktops leave. Symbolic links are left out, because a link in an unpacked
    archive may point at any file of this machine. Raises OSError if ``folder`` cannot be read.
    """
    with os.scandir(folder) as scanned:
        entries = [entry for entry in scanned if not entry.name.startswith(".")]
    # As in a key, a folder's name ends in a slash: "a.jpg" comes before "a/b.jpg".
    named = ((f"{each.name}/" if _is_folder(each) else each.name, each) for each in entries)
    for name, entry in sorted(named, key=lambda pair: os.fsencode(pair[0])):
        path = Path(entry.path)
        if not name.endswith("/"):
            yield _photo(entry, f"{prefix}{name}", max_bytes)
            continue
        try:
            yield from photos(path, f"{prefix}{name}", max_bytes)
        except OSError as error:
            yield LeftOut(path, f"the folder cannot be read: {error.strerror}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _photo(entry: os.DirEntry[str], key: str, max_bytes: int) -> LocalPhoto | LeftOut:
    path = Path(entry.path)
    named = path.suffix.lower() in CONTENT_TYPES
    if entry.is_symlink() and (named or entry.is_dir()):
        return LeftOut(path, "a symbolic link; copy what it points at")
    if not named:
        return LeftOut(path, "its name does not end like a photo's", is_photo=False)
    try:
        state = entry.stat(follow_symlinks=False)
    except OSError as error:
        return LeftOut(path, error.strerror or str(error))
    if not stat.S_ISREG(state.st_mode):
        return LeftOut(path, "not a regular file")
    if not state.st_size:
        return LeftOut(path, "empty")
    if state.st_size > max_bytes:
        return LeftOut(path, f"larger than images.max_bytes ({max_bytes:,} bytes)")
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return LeftOut(path, "its name is not UTF-8; rename it")
    if len(encoded) > KEY_BYTES:
        return LeftOut(path, f"its key would be longer than {KEY_BYTES} bytes; shorten its name")
    return LocalPhoto(key, path, state.st_size)

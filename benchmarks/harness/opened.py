"""Files that any process opens in some folders, watched by the kernel. Linux only."""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

_OPEN, _OVERFLOW, _NONBLOCK = 0x20, 0x4000, 0o4000  # <sys/inotify.h>
_HEADER = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_libc = ctypes.CDLL(None, use_errno=True)


class Opened:
    """A context manager that watches ``folders``, but not what is below them."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)

    def names(self) -> set[str]:
        """The names of the files that were opened since the last call. Raises OSError."""
        found: set[str] = set()
        while True:
            try:
                events = os.read(self._watch, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(events):
                _, mask, _, length = _HEADER.unpack_from(events, at)
                if mask & _OVERFLOW:
                    raise OSError("files were opened faster than they could be counted")
                at += _HEADER.size + length
                if name := events[at - length : at].rstrip(b"\0"):  # without one: the folder
                    found.add(os.fsdecode(name))

    def __enter__(self) -> Self:
        self._watch = _checked(_libc.inotify_init1(_NONBLOCK))
        for folder in self._folders:
            _checked(_libc.inotify_add_watch(self._watch, os.fsencode(folder), _OPEN))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._watch)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result

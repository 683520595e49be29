"""The memory budget: what decoding may take of the machine's memory, all processes together.

Each byte of an empty file stands for one of memory; a large photo locks as many as it takes, by locks
that the kernel ties to an open file (`F_OFD_SETLK`). So a process that dies, however it does, frees what
it held, threads exclude each other as processes do, and nothing has to run beside the workers.
"""

import fcntl
import os
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processor.errors import BudgetError, RejectedImage
from processor.photos.footprint import Footprint

SMALL_BYTES = 16 << 20  # a photo that needs no more is not counted, but only two at a time ...
PROCESS_BYTES = 2 * SMALL_BYTES  # ... so each process needs this beside the budget
_small = threading.Semaphore(PROCESS_BYTES // SMALL_BYTES)

_POLL_SECONDS = 0.005
_FLOCK = struct.Struct("@hhqqi0q")  # struct flock: l_type, l_whence, l_start, l_len, l_pid


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """`total_bytes` for the large photos of all processes that name the same `file`.

    The file lies on the machine whose memory it counts, in a folder where other users cannot replace
    it: /tmp will do. Processes may differ in `total_bytes`; each keeps what all hold below its own.
    """

    total_bytes: int
    file: Path

    @contextmanager
    def reserve(self, footprint: Footprint) -> Iterator[None]:
        """Hold the worst footprint, or all there is; waits for it in turn, so that no photo starves.

        Called from any thread, but not by one that holds a reservation: it could wait for itself.
        Raises RejectedImage (`too-large`) if the whole budget is less than needed, BudgetError if the
        file cannot be used.
        """
        if footprint.worst <= SMALL_BYTES:
            with _small:
                yield
            return
        if footprint.needed > self.total_bytes:
            cause = f"takes {footprint.needed / 1e6:,.0f} MB of memory to decode"
            limit = f"this machine sets {self.total_bytes / 1e6:,.0f} MB aside for large photos"
            fix = "scale it down, save it as JPEG or use a machine with more memory"
            raise RejectedImage("too-large", f"{cause}; {limit}; {fix}")
        descriptor = self._open()
        try:
            self._take(descriptor, min(footprint.worst, self.total_bytes))
            yield
        finally:
            # A child that was forked in the meantime has the open file too: closing is not enough.
            _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0, 0)
            os.close(descriptor)

    def check(self) -> None:
        """Raise BudgetError if the file cannot be used."""
        os.close(self._open())

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.file, flags, 0o600)
        except OSError as error:
            raise self._unusable(f"cannot be opened: {error.strerror}") from error
        found = os.fstat(descriptor)
        private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
        if not (private and stat.S_ISREG(found.st_mode)):
            os.close(descriptor)
            raise self._unusable("is not a file of this user alone")
        return descriptor

    def _unusable(self, fault: str) -> BudgetError:
        fix = "remove it, or set TMPDIR to a folder that this user can write to"
        return BudgetError(f"{self.file}, which counts the memory of large photos, {fault}; {fix}")

    def _take(self, descriptor: int, needed: int) -> None:
        """Lock `needed` free bytes. Byte 0 is the turn: who has it is the only one to take any."""
        try:
            _lock(descriptor, fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, 0, 1)
            os.utime(descriptor)  # or what tidies /tmp would remove it, and with it the locks
            while (start := self._gap(descriptor, needed)) is None:
                time.sleep(_POLL_SECONDS)
            _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, start, needed)
            _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0, 1)
        except OSError as error:
            raise self._unusable(f"cannot be locked: {error.strerror}") from error

    def _gap(self, descriptor: int, needed: int) -> int | None:
        """Where the first `needed` bytes that nobody holds begin."""
        start = 1
        while start + needed <= 1 + self.total_bytes:
            kind, _, held, length, _ = _lock(
                descriptor, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, start, needed
            )
            if kind == fcntl.F_UNLCK:
                return start
            start = held + length
        return None


def _lock(descriptor: int, command: int, kind: int, start: int, length: int) -> tuple[int, ...]:
    flock = _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
    return _FLOCK.unpack(fcntl.fcntl(descriptor, command, flock))

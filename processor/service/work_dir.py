"""The working directory: of one service at a time, because Spark's checkpoint is in it.

Everything in it is a cache. The checkpoint is not even that: after a restart Spark would replay a
micro-batch that the source no longer knows, so each service begins with an empty one, and no damage to
an old one matters.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from processor.errors import PreflightError, ServiceError, SetupError

LOCK = "in-use-by"
CHECKPOINT = "checkpoint"
SPARK = "spark"
FULL = ("no space left on device", "disk quota exceeded")  # as the kernel and Java say it


@dataclass(frozen=True, slots=True)
class Claim:
    """A working directory that this process holds."""

    folder: Path
    lock: BinaryIO

    def check(self) -> None:
        """Raise :class:`ServiceError` if it was deleted: another service may be in its place by now."""
        parts = [self.folder / part for part in (CHECKPOINT, SPARK)]
        missing = [part for part in parts if not part.exists()]
        if not _is_at(self.lock, self.folder / LOCK):
            missing = [self.folder]
        if missing:
            raise ServiceError(
                f"{missing[0]} was deleted while the service ran, which needs it: start it again"
            )


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Keep other services out of ``folder``, which is created, until the end or this process's death.

    Raises :class:`PreflightError` that names the service in it, or says why it cannot be used. An error
    inside becomes a :class:`ServiceError` if it came because the folder was deleted or its disk is full.
    """
    with ExitStack() as held:
        try:
            claim = Claim(folder, held.enter_context(_locked(folder)))
            _prepare(claim)
        except OSError as error:
            where = error.filename or folder
            raise PreflightError(f"service.work_dir {where}: {error.strerror}") from error
        try:
            yield claim
        except Exception as error:
            claim.check()
            if _is_full_disk(error):
                raise ServiceError(
                    f"no space left on the disk of service.work_dir {folder}: make room there, and "
                    "start the service again"
                ) from error
            raise


def _locked(folder: Path) -> BinaryIO:
    """The lock file. Raises OSError, PreflightError."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        lock = os.fdopen(descriptor, "r+b", buffering=0)  # not inherited by children
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = lock.read().decode() or "another service"
            lock.close()
            raise PreflightError(
                f"service.work_dir {folder} is in use by {holder}: stop that one, or give this one a "
                "folder of its own (FRUITS_SERVICE__WORK_DIR)"
            ) from error
        if _is_at(lock, folder / LOCK):
            return lock
        lock.close()  # deleted since it was opened: whoever makes it again would not see this lock


def _prepare(claim: Claim) -> None:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    claim.lock.truncate(0)
    claim.lock.write(f"process {os.getpid()} since {started}".encode())
    with suppress(FileNotFoundError):
        shutil.rmtree(claim.folder / CHECKPOINT)
    for part in (CHECKPOINT, SPARK):
        (claim.folder / part).mkdir(exist_ok=True)


def _is_at(file: BinaryIO, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _is_full_disk(error: BaseException | None) -> bool:
    """Whether it came of a full disk that it does not name.

    Then it is this folder's: errors of Python name the path, those of Java and of writes do not.
    """
    full = False
    while error:
        if isinstance(error, SetupError) or getattr(error, "filename", None):
            return False
        full = full or any(text in _text(error).lower() for text in FULL)
        error = error.__cause__
    return full


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # py4j asks the JVM, which may have ended
        return ""

"""The working directory: of one service at a time, because Spark's checkpoint is in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from processor.errors import PreflightError

LOCK = "in-use-by"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other services out of ``folder``, which is created, until the end or this process's death.

    Raises :class:`PreflightError` that names the service in it, or says why it cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise PreflightError(f"service.work_dir {folder}: {error.strerror}") from error
    with os.fdopen(descriptor, "r+", encoding="utf-8") as lock:  # not inherited by children
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PreflightError(
                f"service.work_dir {folder} is in use by {lock.read() or 'another service'}: stop that "
                "one, or give this one a folder of its own (FRUITS_SERVICE__WORK_DIR)"
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} since {datetime.now(UTC).isoformat(timespec='seconds')}")
        lock.flush()
        yield

"""A cache folder: files that are expensive to make, each made once and kept only if complete.

Several processes may share one. All of it can be deleted at any time.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create ``folder`` if needed and hold its lock; the kernel releases it if the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A temporary folder in ``folder`` for files until they are complete; only while :func:`locked`."""
    for abandoned in folder.glob("making-*"):  # by a process that was killed
        shutil.rmtree(abandoned, ignore_errors=True)
    with TemporaryDirectory(prefix="making-", dir=folder) as temporary:
        yield Path(temporary)

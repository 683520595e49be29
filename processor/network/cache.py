"""A cache folder: files that are expensive to make, each made once and then kept whole.

Several processes may share one. All of it can be deleted at any time.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make ``folder`` if need be, and hold its lock, which the kernel releases when a process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """A place in ``folder`` to make files in before they are moved; only inside :func:`alone`."""
    for abandoned in folder.glob("making-*"):  # by a process that was killed
        shutil.rmtree(abandoned, ignore_errors=True)
    with TemporaryDirectory(prefix="making-", dir=folder) as place:
        yield Path(place)

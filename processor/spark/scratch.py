"""The scratch folder: where Spark puts its temporary files, which a killed process leaves behind.

Each process has one of its own, because ``refit`` may run beside the service. It is locked for as long
as the process lives, so whoever starts next can tell which are left over, and deletes them.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

# Descriptors, whose locks end with this process; children do not inherit them.
_held: list[int] = []


def claim(parent: Path) -> Path:
    """A new folder in ``parent`` that nobody deletes while this process lives; others are swept.

    Only this user can enter it. Raises OSError.
    """
    parent.mkdir(parents=True, exist_ok=True)
    parent.chmod(0o700)  # an earlier start may have made it
    sweeping = os.open(parent, os.O_DIRECTORY)
    try:
        fcntl.flock(sweeping, fcntl.LOCK_EX)  # nobody sweeps a folder that is not locked yet
        for entry in parent.iterdir():
            _sweep(entry)
        folder = Path(tempfile.mkdtemp(prefix="", dir=parent)).resolve()
        _held.append(os.open(folder, os.O_DIRECTORY))
        fcntl.flock(_held[-1], fcntl.LOCK_SH)
    finally:
        os.close(sweeping)
    return folder


def _sweep(entry: Path) -> None:
    """Delete it, unless its process lives; what cannot be deleted harms nobody."""
    with contextlib.suppress(OSError):
        if not entry.is_dir() or entry.is_symlink():
            entry.unlink()
            return
        lock = os.open(entry, os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry, ignore_errors=True)
        finally:
            os.close(lock)

"""Index snapshots: a copy of a table's index beside the table, from which a new machine starts.

To make the index of ten million photos takes a minute, to fetch its gigabyte seconds; what has been
committed since is then read as after any pause. Once a day one of the services puts the copy into a
hidden folder of the table, which no reader of Delta tables looks into. It is a cache, like the index: it
may be deleted, and is believed only if it has the digest at its head.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from common import aws_errors
from processor.store import objects
from processor.store.index import digest_of
from processor.store.patience import patiently

log = logging.getLogger(__name__)

NAME = "_index/rows.sqlite"
LEAST_ROWS = 1_000_000  # a smaller index is made in some seconds
CHECK_SECONDS = 3600.0
RENEWED_SECONDS = 86_400.0
PART_BYTES = 8 << 20
DIGEST_BYTES = 64  # in hexadecimal
STOP_SECONDS = 10.0  # for a part to be sent


class IndexSnapshot:
    """The snapshot of one table's index. Used by one thread; uploads in one of its own."""

    def __init__(self, folder: str) -> None:
        self._uri = f"{folder}/{NAME}"
        self._check_at = 0.0
        self._stopping = threading.Event()
        self._uploading: threading.Thread | None = None

    def fetch(self, file: Path, digest: Path) -> None:
        """Write the index's file and its digest, as far as there is a snapshot.

        A fault of AWS costs no more than the snapshot. Raises OSError if the disk is full.
        """
        began = time.monotonic()
        try:
            patiently(lambda: self._fetch(file, digest))
        except FileNotFoundError:
            return
        except (*aws_errors.ERRORS, *aws_errors.BROKEN_OFF) as error:
            log.warning("the snapshot %s cannot be read: %s", self._uri, error)
            return
        seconds = round(time.monotonic() - began, 1)
        log.info("fetched the index %s", self._uri, extra={"seconds": seconds})

    def _fetch(self, file: Path, digest: Path) -> None:
        with objects.opened(self._uri) as snapshot, file.open("wb") as index:
            digest.write_bytes(snapshot.read(DIGEST_BYTES))
            while part := snapshot.read(PART_BYTES):
                index.write(part)

    def may_be_due(self) -> bool:
        """Once an hour, whether to call :meth:`renew`."""
        now = time.monotonic()
        if now < self._check_at:
            return False
        self._check_at = now + CHECK_SECONDS
        return not (self._uploading and self._uploading.is_alive())

    def renew(self, copy_to: Callable[[Path], None], copy: Path) -> None:
        """Upload a copy of the index, unless there is one of the last day.

        The caller waits for ``copy_to``, which writes it, and not for the upload, which deletes it. If
        one of them fails, it costs no more than the snapshot.
        """
        try:
            if objects.age_seconds(self._uri) < RENEWED_SECONDS:
                return
            copy_to(copy)
        except (OSError, *aws_errors.ERRORS) as error:
            log.warning("no snapshot of the index %s is made: %s", self._uri, error)
            with contextlib.suppress(OSError):
                copy.unlink()
            return
        self._uploading = threading.Thread(
            target=self.write, args=(copy,), name="snapshot", daemon=True
        )
        self._uploading.start()

    def write(self, copy: Path) -> None:
        """Upload a copy of the index, and delete it. Logs what fails."""
        began = time.monotonic()
        try:
            objects.upload(self._uri, self._parts(copy), "application/vnd.sqlite3", {})
        except Exception as error:  # nobody waits for it
            if not self._stopping.is_set():
                log.warning("the snapshot %s could not be written: %s", self._uri, error)
        else:
            seconds = round(time.monotonic() - began, 1)
            log.info("wrote the snapshot %s", self._uri, extra={"seconds": seconds})
        with contextlib.suppress(OSError):
            copy.unlink()

    def stop(self) -> None:
        """Abandon an upload."""
        self._stopping.set()
        if self._uploading:
            self._uploading.join(STOP_SECONDS)

    def _parts(self, copy: Path) -> Iterator[bytes]:
        yield digest_of(copy).encode()
        with copy.open("rb") as index:
            while part := index.read(PART_BYTES):
                if self._stopping.is_set():
                    raise InterruptedError("the service stops")
                yield part

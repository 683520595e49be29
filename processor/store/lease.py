"""The lease: one process at a time does something to a store, and a dead one loses it.

Objects with numbers lie in one folder, and the highest is the lease. To take it is to create the next
number, which S3 grants to one process (``If-None-Match``, on which the Delta log rests too). The holder
writes another beat into its object every BEAT_SECONDS. Whoever sees the same beat for LOST_SECONDS, by
its own clock, takes the holder for dead, and the next number. So no clocks are compared, and no object
has two writers.

It spares work and is no lock: a holder that was stopped for so long wakes up beside another. What both
do has to be right nevertheless.
"""

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from processor.store import objects

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
LOST_SECONDS = 30.0
POLL_SECONDS = 2.0  # between two looks of one who waits
RELEASED = b"released"


class Lease:
    """One process's view of the lease that is kept in ``folder``. Used by one thread."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._token = secrets.token_hex(8)
        self._seen: tuple[int, bytes] = (
            0,
            RELEASED,
        )  # the holder's beat, since when it is the same
        self._seen_at = 0.0

    @contextmanager
    def held(self, *, wait: bool = False) -> Iterator[bool]:
        """Whether it is ours, until the end of the block or of this process.

        False if another holds it; with ``wait``, after no other does. Raises what S3 raises.
        """
        number = self._take()
        while wait and number is None:
            time.sleep(POLL_SECONDS)
            number = self._take()
        if number is None:
            yield False
            return
        ended = threading.Event()
        beating = threading.Thread(
            target=self._beat, args=(number, ended), name="lease", daemon=True
        )
        beating.start()
        try:
            yield True
        finally:
            ended.set()
            beating.join()
            self._write(number, RELEASED)

    def _take(self) -> int | None:
        """The number that is ours now; None if another holds the lease, or was quicker."""
        newest = max(self._numbers(), default=0)
        if newest and not self._is_free(newest):
            return None
        ours = newest + 1
        body = self._body(0)
        if not objects.create(self._uri(ours), body) and objects.get(self._uri(ours)) != body:
            return None
        # It is no longer the next one where others have come, gone and swept since we looked.
        numbers = self._numbers()
        lost = ours != max(numbers, default=0)
        swept = [ours] if lost else [each for each in numbers if each != ours]
        objects.delete_all(self._folder, map(_name, swept))
        return None if lost else ours

    def _is_free(self, number: int) -> bool:
        body = objects.get(self._uri(number))
        if body == RELEASED:
            return True
        now = time.monotonic()
        if body is None or self._seen != (number, body):
            self._seen, self._seen_at = (number, body or b""), now
        if now - self._seen_at < LOST_SECONDS:
            return False
        log.info("whoever held %s gave no sign for %d s", self._uri(number), now - self._seen_at)
        return True

    def _beat(self, number: int, ended: threading.Event) -> None:
        beats = 0
        while not ended.wait(BEAT_SECONDS):
            beats += 1
            self._write(number, self._body(beats))

    def _write(self, number: int, body: bytes) -> None:
        """A beat that is not written may cost the lease, and no more."""
        try:
            objects.put(self._uri(number), body)
        except Exception as error:
            log.warning("the lease %s cannot be written: %s", self._uri(number), error)

    def _numbers(self) -> list[int]:
        names = (each.uri.rpartition("/")[2] for each in objects.listing(self._folder))
        return [int(name) for name in names if name.isdecimal()]

    def _body(self, beats: int) -> bytes:
        return f"{self._token} {beats}".encode()

    def _uri(self, number: int) -> str:
        return f"{self._folder}/{_name(number)}"


def _name(number: int) -> str:
    return f"{number:010}"

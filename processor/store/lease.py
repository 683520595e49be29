"""The lease: of the services of a store one at a time does some work, and a dead one loses it.

The lease is an object. Whoever creates it holds it (``If-None-Match``, on which the Delta log rests
too), and replaces it every BEAT_SECONDS. Whoever sees the same one for LOST_SECONDS, by its own clock,
takes the holder for dead and replaces it (``If-Match``); so no clocks are compared. At the end it is
deleted.

It spares work and is no lock: a holder that was stopped for so long wakes up beside another, and an S3
without conditional requests gives it to all. What two of them do has to be right nevertheless.
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


class Lease:
    """One service's view of the lease that is kept at ``uri``. Used by one thread.

    Of a local store, which one process uses, it is always ours.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._token = secrets.token_hex(8).encode()
        self._seen = ""  # the tag of another's lease, and when it was first seen
        self._seen_at = 0.0

    @contextmanager
    def held(self, *, wait: bool = False) -> Iterator[bool]:
        """Whether it is ours, until the end of the block or of this process.

        False if another holds it; with ``wait``, after no other does. Raises what S3 raises.
        """
        if not self._uri.startswith("s3://"):
            yield True
            return
        tag = self._take()
        while wait and tag is None:
            time.sleep(POLL_SECONDS)
            tag = self._take()
        if tag is None:
            yield False
            return
        ended = threading.Event()
        beating = threading.Thread(target=self._beat, args=(tag, ended), name="lease", daemon=True)
        beating.start()
        try:
            yield True
        finally:
            ended.set()
            beating.join()

    def _take(self) -> str | None:
        """The tag of our lease; None if another holds it, or was quicker."""
        tag = objects.replace(self._uri, self._body(0), None)
        if tag:
            return tag
        found = objects.tagged(self._uri)
        if found is None:  # given back just now
            return None
        body, tag = found
        if body.startswith(
            self._token
        ):  # the answer to our request was lost, or giving it back failed
            return tag
        now = time.monotonic()
        if tag != self._seen:
            self._seen, self._seen_at = tag, now
        if now - self._seen_at < LOST_SECONDS:
            return None
        log.info("whoever held %s gave no sign for %d s", self._uri, now - self._seen_at)
        return objects.replace(self._uri, self._body(0), tag)

    def _beat(self, tag: str, ended: threading.Event) -> None:
        """Replace the object until the end, then delete it; both while it is still ours.

        A beat that fails may cost the lease, and no more.
        """
        beats = 0
        while not ended.wait(BEAT_SECONDS):
            beats += 1
            try:
                replaced = objects.replace(self._uri, self._body(beats), tag)
                found = None if replaced else objects.tagged(self._uri)
            except Exception as error:
                log.warning("the lease %s cannot be kept: %s", self._uri, error)
                continue
            if found and found[0].startswith(self._token):  # the answer to a beat was lost
                replaced = found[1]
            if not replaced:
                log.warning("the lease %s was lost to another service", self._uri)
                return
            tag = replaced
        try:
            objects.delete(self._uri, tag)
        except Exception as error:
            log.warning("the lease %s cannot be given back: %s", self._uri, error)

    def _body(self, beats: int) -> bytes:
        return self._token + f" {beats}".encode()

"""Retries: photos that wait in pending/ are sent to the queue again when they are due.

They go the way of all events, so whatever happens to a retry happens to a message.
"""

import heapq
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pyarrow.compute as pc

from common.layout import BucketLayout
from ingest.events import UNKNOWN_TIME, ObjectEvent, message
from processor.pipeline.outcomes import RETRY, VANISHED
from processor.store import delta

log = logging.getLogger(__name__)

FIRST = timedelta(minutes=1)
GROWTH = 4
LONGEST = timedelta(days=1)
JITTER = 0.2  # the share by which a wait may be longer, so that what failed together spreads
SENT_AT_ONCE = 1000  # the oldest first; the others a minute later
# Then its message is taken for lost: somebody may have purged the queue.
SENT_FOR = timedelta(days=1)
VANISHED_FOR = timedelta(minutes=15)


def retry_at(now: datetime, attempts: int) -> datetime:
    """When to try again after that many attempts: in a minute, four, sixteen, …, at most a day."""
    wait: timedelta = min(LONGEST, FIRST * GROWTH ** min(attempts - 1, 9))
    return now + wait * random.uniform(1, 1 + JITTER)  # noqa: S311


class Retries:
    """The retries of one store. Used by one thread; several services may do it at once."""

    def __init__(self, layout: BucketLayout, send: Callable[[Sequence[str]], object]) -> None:
        """``send`` enqueues message bodies."""
        self._layout = layout
        self._send = send
        # By key, the row's `at` and when it was sent: once is enough.
        self._sent: dict[str, tuple[datetime, datetime]] = {}

    def send_due(self) -> int:
        """Enqueue the photos whose time has come; their number.

        Their rows stay until they are processed, so a photo is enqueued again if the process dies, or
        the message is lost.
        """
        now = _now()
        sent: dict[str, tuple[datetime, datetime]] = {}

        def unsent() -> Iterator[dict[str, Any]]:
            for row in self._rows(self._layout.store.pending, pc.field("retry_at") <= now):
                at, sent_at = self._sent.get(row["key"], (None, now))
                if at == row["at"] and now - sent_at < SENT_FOR:
                    sent[row["key"]] = at, sent_at
                else:
                    yield row

        new = heapq.nsmallest(SENT_AT_ONCE, unsent(), key=lambda row: row["retry_at"])
        self._send([message([self._event(f"ObjectCreated:{RETRY}", row)]) for row in new])
        self._sent = sent | {row["key"]: (row["at"], now) for row in new}
        if new:
            log.info("trying %d photos again", len(new))
        return len(new)

    def recheck_vanished(self) -> int:
        """Have the rejects of photos that were removed a while ago dropped; their number.

        Nothing else drops them if the removal was handled before the creation. If there is a photo
        again, it is processed.
        """
        vanished = (pc.field("reason") == VANISHED) & (pc.field("at") <= _now() - VANISHED_FOR)
        rows = list(islice(self._rows(self._layout.store.rejects, vanished), SENT_AT_ONCE))
        self._send([message([self._event(f"ObjectRemoved:{RETRY}", row)]) for row in rows])
        return len(rows)

    def _rows(self, folder: str, condition: pc.Expression) -> Iterator[dict[str, Any]]:
        table = delta.open_table(folder)
        if table is None:
            return
        names: Iterable[str] = table.columns.names
        columns = [name for name in names if name in ("key", "version", "at", "retry_at")]
        for batch in table.dataset().to_batches(columns=columns, filter=condition):
            yield from batch.to_pylist()

    def _event(self, name: str, row: dict[str, Any]) -> ObjectEvent:
        etag = row["version"] or None
        bucket = self._layout.bucket
        return ObjectEvent(bucket, row["key"], None, etag, None, name, UNKNOWN_TIME, None)


def _now() -> datetime:
    return datetime.now(UTC)

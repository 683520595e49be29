"""Reconciliation: photos in which bucket and store differ are enqueued, whatever became of their events.

Events get lost with a queue, a permission or a typo in a prefix; others never were, as for photos that
are older than the queue. What is enqueued here goes the way of all events.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from common.layout import BucketLayout, StoreLayout
from ingest.events import UNKNOWN_TIME, ObjectEvent, message
from processor.errors import ServiceError
from processor.pipeline.comparison import Compared, Difference, Scope, compare
from processor.pipeline.outcomes import RECONCILIATION
from processor.store import objects
from processor.store.patience import patiently

log = logging.getLogger(__name__)

EVENTS_PER_MESSAGE = 10
SENT_AT_ONCE = 1000  # events
MAX_BACKLOG = 10_000  # messages in the queue
BACKLOG_SECONDS = 60.0  # between looks whether there are fewer
RECORD_SECONDS = 10.0  # between records of how far a pass has come
ABANDONED_AFTER = timedelta(minutes=10)  # without a record: its process died
EXAMPLES = 5  # keys of each difference that are named


@dataclass(slots=True)
class Pass:
    """How far a comparison has come: all keys up to ``after``, with ``objects`` objects in S3.

    ``differences`` are counted, and ``examples`` of their keys named, by :class:`.Difference`.
    """

    began: datetime
    at: datetime
    after: str = ""
    finished: bool = False
    objects: int = 0
    differences: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Difference, 0))
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """The number of differences."""
        return sum(self.differences.values())

    def count(self, compared: Compared) -> None:
        """Advance to a key."""
        key, now, difference = compared
        self.after = key
        self.objects += now is not None
        if difference:
            self.differences[difference] += 1
            examples = self.examples.setdefault(difference, [])
            if len(examples) < EXAMPLES:
                examples.append(key)

    def encode(self) -> bytes:
        """As JSON; times in ISO 8601."""
        return json.dumps(asdict(self), default=datetime.isoformat, indent=1).encode()


def last_pass(layout: StoreLayout) -> Pass | None:
    """The last pass over a whole bucket that any process recorded; None without a legible one."""
    body = objects.get(layout.reconciliation)
    try:
        value: dict[str, Any] = json.loads(body or b"{}")
        times = {name: datetime.fromisoformat(value[name]) for name in ("began", "at")}
        return Pass(**{**value, **times})
    except (ValueError, KeyError, TypeError):
        return None


class Reconciliation:
    """The reconciliation of one store with its bucket. Used by one thread; :meth:`stop` by any.

    Several services may do it at once, at the cost of what is enqueued twice.
    """

    def __init__(
        self,
        layout: BucketLayout,
        scratch: Path,
        send: Callable[[Sequence[str]], object],
        backlog: Callable[[], int] = lambda: 0,
    ) -> None:
        """``send`` enqueues message bodies; ``backlog`` returns how many the queue has.

        With more than MAX_BACKLOG it waits, because nothing tells what of them it would enqueue again.
        """
        self._layout = layout
        self._scratch = scratch
        self._send = send
        self._backlog = backlog
        self._stopping = threading.Event()
        self.ended: datetime | None = None  # the last finished pass, by any process, once known

    def stop(self) -> None:
        """Have :meth:`run` end soon, with :class:`ServiceError`."""
        self._stopping.set()

    def is_due(self, interval: timedelta) -> bool:
        """Whether the last pass began that long ago, or its process has died."""
        last, now = last_pass(self._layout.store), _now()
        if last is None:
            return True
        if last.finished:
            self.ended = last.at
        return now - last.began > interval if last.finished else now - last.at > ABANDONED_AFTER

    def run(
        self,
        scope: Scope,
        *,
        dry_run: bool = False,
        resume_for: timedelta = timedelta(days=1),
        note: Callable[[Pass], object] = lambda _so_far: None,
    ) -> Pass:
        """Compare, and enqueue each difference; with ``dry_run`` only count them.

        A pass over the whole bucket is recorded in the store as it goes on, and one that did not finish
        is continued if its last record is younger than ``resume_for``; of other passes the records are
        not kept. ``note`` is called with each record. May be repeated at any time: what is enqueued
        twice is found settled. Raises like :func:`.compare` and ``send``; nothing is skipped then.
        """
        whole = scope.prefix == self._layout.photos_prefix and not scope.since and not dry_run
        done = (whole and self._unfinished(resume_for)) or Pass(began=_now(), at=_now())
        unsent: list[ObjectEvent] = []

        def record() -> None:
            done.at = _now()
            if whole:
                patiently(lambda: objects.put(self._layout.store.reconciliation, done.encode()))
            note(done)

        def enqueue() -> None:
            while patiently(self._backlog) > MAX_BACKLOG and not self._stopping.wait(
                BACKLOG_SECONDS
            ):
                record()
            patiently(lambda: self._send(_messages(unsent)))
            unsent.clear()

        record()
        recorded = time.monotonic()
        for each in compare(self._layout, scope, self._scratch, done.after):
            if each.difference and not dry_run:
                unsent.append(self._event(each))
            done.count(each)
            if len(unsent) >= SENT_AT_ONCE or time.monotonic() - recorded > RECORD_SECONDS:
                enqueue()
                record()
                recorded = time.monotonic()
            if self._stopping.is_set():
                raise ServiceError(
                    "the reconciliation was stopped; the next one goes on from there"
                )
        enqueue()
        done.finished = True
        record()
        if whole:
            self.ended = done.at
        return done

    def _unfinished(self, resume_for: timedelta) -> Pass | None:
        last = last_pass(self._layout.store)
        if last is None or last.finished or _now() - last.at > resume_for:
            return None
        log.info(
            "continuing a reconciliation", extra={"began": str(last.began), "after": last.after}
        )
        return last

    def _event(self, compared: Compared) -> ObjectEvent:
        bucket, (key, now, _) = self._layout.bucket, compared
        if now is None:
            name = f"ObjectRemoved:{RECONCILIATION}"
            return ObjectEvent(bucket, key, None, None, None, name, UNKNOWN_TIME, None)
        name = f"ObjectCreated:{RECONCILIATION}"
        return ObjectEvent(
            bucket, key, None, now.version or None, now.bytes, name, now.modified, None
        )


def _messages(events: Sequence[ObjectEvent]) -> list[str]:
    starts = range(0, len(events), EVENTS_PER_MESSAGE)
    return [message(events[at : at + EVENTS_PER_MESSAGE]) for at in starts]


def _now() -> datetime:
    return datetime.now(UTC)

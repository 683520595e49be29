"""The micro-batch: from its object events to durable outcomes.

Independent of streaming: the caller acknowledges the events after :meth:`MicroBatches.handle` has
returned, and may pass the same ones in again at any time.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from common.layout import BucketLayout
from common.log_context import bound
from ingest.events import ObjectEvent, newest
from processor.errors import CommitConflict, Refused
from processor.photos import objects
from processor.pipeline.breaker import Breaker
from processor.pipeline.durable import Durable, upload_to_row, uploads
from processor.pipeline.feature_store import FeatureStore, Settled
from processor.pipeline.handled import Handled
from processor.pipeline.notes import Row
from processor.pipeline.outcomes import (
    CRASH,
    VANISHED,
    Extracted,
    Kind,
    Outcome,
    Work,
    of_kind,
)
from processor.store.index import Location
from processor.store.patience import patiently

log = logging.getLogger(__name__)

T = TypeVar("T")

DEATHS = 5  # of workers over a photo alone, over more than an hour, that prove its guilt
MAX_ROUNDS = 20  # of a micro-batch with another service that handles the same photos


@dataclass(frozen=True, slots=True)
class _Round:
    """What could be settled of some photos, and the outcomes that an outage prevented.

    ``later``: the photos that were not tried yet. ``upload_to_row``: as in :class:`Durable`.
    """

    settled: Settled
    results: Sequence[Extracted]
    outage: Sequence[Outcome]
    upload_to_row: Sequence[float]
    later: Set[str]

    @property
    def left(self) -> set[str]:
        """The photos that were tried and have to be processed again."""
        return {*self.settled.again, *(each.key for each in self.outage)}


class MicroBatches:
    """Handles the micro-batches of one store, one after the other. Used by one thread.

    ``extract`` does the work, in Spark tasks or in this process. ``current_version`` is
    :func:`.objects.current_version`, or acts like it. ``still_waiting`` is called at least once a minute
    while an outage is waited out. ``durable`` is called with each :class:`Durable`, and must not raise.
    """

    def __init__(
        self,
        store: FeatureStore,
        layout: BucketLayout,
        extract: Callable[[Sequence[Work]], list[Extracted]],
        current_version: Callable[[str, str], str | None] = objects.current_version,
        still_waiting: Callable[[], object] = lambda: None,
        durable: Callable[[Durable], object] = lambda _durable: None,
    ) -> None:
        self._store = store
        self._layout = layout
        self._extract = extract
        self._current_version = current_version
        self._durable = durable
        self._breaker = Breaker(layout, store.features.some_keys, still_waiting)

    def stop(self) -> None:
        """Wait for the end of no outage any more: :meth:`handle` raises ServiceError instead."""
        self._breaker.stop()

    def limit_patience(self, seconds: float) -> None:
        """Wait at most that long for the end of an outage; without a limit, for as long as it takes."""
        self._breaker.patience_seconds = seconds

    def handle(self, events: Iterable[ObjectEvent], batch_id: int) -> Handled:
        """Make the outcome of every event durable; idempotent. ``batch_id`` is only recorded.

        Faults of AWS that may pass are waited out, see :func:`.patiently`, and so is one that concerns
        everything, see :class:`.Breaker`. Photos that cannot be settled in one round, see
        :attr:`.Settled.again`, are processed again. Raises whatever prevented that; no event may be
        acknowledged then, so all are redelivered.
        """
        with bound(batch=batch_id):
            return self._handle(events, batch_id)

    def _handle(self, events: Iterable[ObjectEvent], batch_id: int) -> Handled:
        began = time.monotonic()
        photos = [event for event in newest(events).values() if self._is_photo(event)]
        handled = Handled(len(photos))
        contradicted = 0
        while True:
            done = self._settle(photos, batch_id)
            _count(handled, done)
            outage = done.outage
            photos = [event for event in photos if event.key in done.left | done.later]
            if not photos:
                handled.seconds = time.monotonic() - began
                return handled
            handled.again += len(done.left)
            contradicted += bool(done.left) and not outage
            if contradicted == MAX_ROUNDS:
                raise CommitConflict(
                    f"other services contradicted {len(done.left)} outcomes {MAX_ROUNDS} times"
                )
            if outage:
                self._breaker.wait(outage)

    def close(self) -> None:
        """Close the store; no micro-batch may be running."""
        self._store.close()

    def _settle(self, photos: Sequence[ObjectEvent], batch_id: int) -> _Round:
        """Settle what can be settled now."""
        began = time.monotonic()
        self._when_possible(self._store.features.refresh)
        planned_on = self._store.features.table_version
        stored = self._store.features.find(event.key for event in photos)
        later = self._later(photos, stored)
        photos = [event for event in photos if event.key not in later]
        keys = [event.key for event in photos]
        waiting = self._when_possible(lambda: self._store.pending.rows(keys))
        now = datetime.now(UTC)
        tried = [event for event in photos if not _is_suspended(event, waiting, now)]
        results = self._extract(_plan(tried, stored))
        outage = self._breaker.outage(results)
        prevented = frozenset(outage)
        results = [_judged(each, waiting, prevented, now) for each in results]
        extracted = time.monotonic()
        settled = self._when_possible(
            lambda: self._store.settle(
                results, planned_on, self._is_current, {"batch": batch_id}, waiting
            )
        )
        ended = time.monotonic()
        lags = upload_to_row(uploads(photos, settled.stored_keys))
        done = _Round(settled, results, outage, lags, later)
        _report(done)
        self._durable(
            Durable(
                settled,
                len(photos) - len(done.left),
                self._store.features.table_version,
                len(self._store.pending),
                ended - began,
                ended - extracted,
                lags,
            )
        )
        return done

    def _when_possible(self, call: Callable[[], T]) -> T:
        """What ``call`` to the store returns, once it is neither out of reach nor denied."""
        return self._breaker.until_allowed(lambda: patiently(call))

    def _is_photo(self, event: ObjectEvent) -> bool:
        if not self._layout.contains(event.bucket, event.key):
            with bound(key=event.key):
                log.warning("ignored an event outside the prefix, of bucket %s", event.bucket)
        return self._layout.is_photo(event.bucket, event.key, event.size)

    def _later(self, photos: Sequence[ObjectEvent], stored: Mapping[str, Location]) -> set[str]:
        """The photos whose rows are to be replaced or dropped by a later commit than this one."""
        later = self._store.features.unaffordable(
            event.key
            for event in photos
            if event.key in stored
            and (event.removed or _version(event) != stored[event.key].object_version)
        )
        if later:
            log.info("too many rows to replace in one commit", extra={"later": len(later)})
        return later

    def _is_current(self, outcome: Outcome) -> bool | None:
        """Whether S3 is still as ``outcome`` found it; None if it refuses to tell.

        Raises :class:`Unavailable`.
        """
        try:
            with bound(key=outcome.key):
                version = self._current_version(self._layout.bucket, outcome.key)
        except Refused:
            return None
        absent = outcome.kind is Kind.GONE or outcome.reason == VANISHED
        return version == (None if absent else outcome.object_version or None)


def _count(handled: Handled, done: _Round) -> None:
    settled = done.settled
    handled.stored += settled.stored
    handled.replaced += settled.replaced
    handled.removed += settled.removed
    handled.unchanged += settled.unchanged
    handled.rejected += settled.rejected
    handled.pending += settled.pending
    handled.overtaken += settled.overtaken
    handled.conflicts += settled.conflicts
    handled.conflict_seconds += settled.conflict_seconds
    handled.add_reasons(done.results, done.left)
    handled.lags += done.upload_to_row


_SAID = {
    Kind.REJECTED: (logging.WARNING, "photo rejected"),
    Kind.PENDING: (logging.WARNING, "photo waits"),
    Kind.STORED: (logging.DEBUG, "photo stored"),
    Kind.UNCHANGED: (logging.DEBUG, "photo unchanged"),
    Kind.GONE: (logging.DEBUG, "photo gone"),
}


def _report(done: _Round) -> None:
    """A line for each photo that was not stored; with the level DEBUG, for each photo."""
    for outcome in of_kind(done.results, *Kind):
        if outcome.key in done.left:
            continue
        level, message = _SAID[outcome.kind]
        why = {"reason": outcome.reason, "detail": outcome.detail} if outcome.reason else {}
        with bound(key=outcome.key):
            log.log(level, message, extra={"version": outcome.object_version, **why})


def _plan(photos: Sequence[ObjectEvent], stored: Mapping[str, Location]) -> list[Work]:
    return [
        Work(
            key=event.key,
            event_version=_version(event),
            event_time=event.event_time,
            removal=event.removed,
            stored_version=stored[event.key].object_version if event.key in stored else None,
        )
        for event in photos
    ]


def _version(event: ObjectEvent) -> str | None:
    return event.version_id or event.etag


def _is_suspended(event: ObjectEvent, waiting: Mapping[str, Row], now: datetime) -> bool:
    """Whether the event is about a suspect that waits: another attempt would kill another worker.

    A removal, which may name the version it removes, is not: reading S3 harms nobody then.
    """
    row = waiting.get(event.key)
    return (
        row is not None
        and not event.removed
        and (row["reason"], row["version"]) == (CRASH, _version(event))
        and row["retry_at"] > now
    )


def _judged(
    result: Extracted, waiting: Mapping[str, Row], outage: Set[Outcome], now: datetime
) -> Extracted:
    """The result without what an outage prevented, and with the verdicts on suspects that were due."""

    def judged(outcome: Outcome) -> Outcome:
        row = waiting.get(outcome.key, {})
        known = (row.get("reason"), row.get("version")) == (CRASH, outcome.object_version)
        due = known and outcome.reason == CRASH and row["retry_at"] <= now
        if due and row["attempts"] + 1 >= DEATHS:
            detail = f"{DEATHS} workers died over it alone; it exploits or exhausts the decoder"
            return replace(outcome, kind=Kind.REJECTED, detail=detail)
        return outcome

    kept = (each for each in result.outcomes if each not in outage)
    return Extracted(result.file, tuple(map(judged, kept)))

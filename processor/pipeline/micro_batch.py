"""The micro-batch: from its object events to durable outcomes.

Independent of streaming: the caller acknowledges the events after :meth:`MicroBatches.handle` has
returned, and may pass the same ones in again at any time.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from common.layout import BucketLayout
from ingest.events import UNKNOWN_TIME, ObjectEvent, newest
from processor.errors import CommitConflict, Refused
from processor.photos import objects
from processor.pipeline.breaker import Breaker
from processor.pipeline.feature_store import FeatureStore, Settled
from processor.pipeline.notes import Row
from processor.pipeline.outcomes import (
    CRASH,
    RECONCILIATION,
    RETRY,
    VANISHED,
    Extracted,
    Kind,
    Outcome,
    Work,
    of_kind,
)
from processor.store.patience import patiently

log = logging.getLogger(__name__)

T = TypeVar("T")

DEATHS = 5  # of workers over a photo alone, over more than an hour, that prove its guilt
MAX_ROUNDS = 20  # of a micro-batch with another service that handles the same photos


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """What a round of a micro-batch has made durable; most have one, see :meth:`MicroBatches.handle`.

    ``photos`` were settled or wait now. ``features_version``: the table's afterwards, ``pending`` all
    photos that wait then. ``commit_seconds`` is the part of ``seconds`` in which the store was written.
    ``upload_to_row``: the seconds since each photo stored was uploaded. An event of S3 tells when that
    was; one that the service sent itself does not, nor does a restoration, so those photos are missing.
    """

    settled: Settled
    photos: int
    features_version: int
    pending: int
    seconds: float
    commit_seconds: float
    upload_to_row: Sequence[float]


class MicroBatches:
    """Handles the micro-batches of one store, one after the other. Used by one thread.

    ``extract`` does the work, in Spark tasks or in this process. ``current_version`` is
    :func:`.objects.current_version`, or acts like it. ``still_waiting`` is called at least once a minute
    while an outage is waited out. ``durable`` is called with each :class:`Round`, and must not raise.
    """

    def __init__(
        self,
        store: FeatureStore,
        layout: BucketLayout,
        extract: Callable[[Sequence[Work]], list[Extracted]],
        current_version: Callable[[str, str], str | None] = objects.current_version,
        still_waiting: Callable[[], object] = lambda: None,
        durable: Callable[[Round], object] = lambda _round: None,
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

    def handle(self, events: Iterable[ObjectEvent], batch_id: int) -> Settled:
        """Make the outcome of every event durable; idempotent. ``batch_id`` is only recorded.

        Faults of AWS that may pass are waited out, see :func:`.patiently`, and so is one that concerns
        everything, see :class:`.Breaker`. Returns what the last of several rounds settled; see
        :attr:`.Settled.again`. Raises whatever prevented that; no event may be acknowledged then, so all
        are redelivered.
        """
        photos = [event for event in newest(events).values() if self._is_photo(event)]
        contradicted = 0
        while True:
            settled, outage = self._settle(photos, batch_id)
            left = {*settled.again, *(each.key for each in outage)}
            photos = [event for event in photos if event.key in left]
            if not photos:
                return settled
            contradicted += not outage
            if contradicted == MAX_ROUNDS:
                raise CommitConflict(
                    f"other services contradicted {len(photos)} outcomes {MAX_ROUNDS} times"
                )
            if outage:
                self._breaker.wait(outage)

    def close(self) -> None:
        """Close the store; no micro-batch may be running."""
        self._store.close()

    def _settle(
        self, photos: Sequence[ObjectEvent], batch_id: int
    ) -> tuple[Settled, Sequence[Outcome]]:
        """Settle what can be settled now; with the outcomes that an outage prevented."""
        began = time.monotonic()
        self._when_possible(self._store.features.refresh)
        planned_on = self._store.features.table_version
        keys = [event.key for event in photos]
        waiting = self._when_possible(lambda: self._store.pending.rows(keys))
        now = datetime.now(UTC)
        tried = [event for event in photos if not _is_suspended(event, waiting, now)]
        results = self._extract(self._plan(tried))
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
        self._report(settled, results, batch_id, len(photos), ended - began)
        self._durable(
            Round(
                settled,
                len(photos) - len(outage) - len(settled.again),
                self._store.features.table_version,
                len(self._store.pending),
                ended - began,
                ended - extracted,
                _upload_to_row(photos, settled.stored_keys),
            )
        )
        return settled, outage

    def _when_possible(self, call: Callable[[], T]) -> T:
        """What ``call`` to the store returns, once it is neither out of reach nor denied."""
        return self._breaker.until_allowed(lambda: patiently(call))

    def _is_photo(self, event: ObjectEvent) -> bool:
        if not self._layout.contains(event.bucket, event.key):
            log.warning("ignored an event outside the prefix: s3://%s/%s", event.bucket, event.key)
        return self._layout.is_photo(event.bucket, event.key, event.size)

    def _plan(self, photos: Sequence[ObjectEvent]) -> list[Work]:
        stored = self._store.features.find(event.key for event in photos)
        return [
            Work(
                key=event.key,
                event_version=event.version_id or event.etag,
                event_time=event.event_time,
                removal=event.removed,
                stored_version=stored[event.key].object_version if event.key in stored else None,
            )
            for event in photos
        ]

    def _is_current(self, outcome: Outcome) -> bool | None:
        """Whether S3 is still as ``outcome`` found it; None if it refuses to tell.

        Raises :class:`Unavailable`.
        """
        try:
            version = self._current_version(self._layout.bucket, outcome.key)
        except Refused:
            return None
        absent = outcome.kind is Kind.GONE or outcome.reason == VANISHED
        return version == (None if absent else outcome.object_version or None)

    @staticmethod
    def _report(
        settled: Settled, results: Sequence[Extracted], batch_id: int, photos: int, seconds: float
    ) -> None:
        log.info(
            "micro-batch durable",
            extra={
                "batch": batch_id,
                "photos": photos,
                **{name: n for name, n in asdict(settled).items() if isinstance(n, int)},
                "again": len(settled.again),
                "seconds": round(seconds, 3),
                "photos_per_s": round(photos / seconds, 2),
            },
        )
        for outcome in of_kind(results, Kind.REJECTED, Kind.PENDING):
            log.warning(
                "photo rejected" if outcome.kind is Kind.REJECTED else "photo waits",
                extra={"key": outcome.key, "reason": outcome.reason, "detail": outcome.detail},
            )


def _is_suspended(event: ObjectEvent, waiting: Mapping[str, Row], now: datetime) -> bool:
    """Whether the event is about a suspect that waits: another attempt would kill another worker.

    A removal, which may name the version it removes, is not: reading S3 harms nobody then.
    """
    row = waiting.get(event.key)
    return (
        row is not None
        and not event.removed
        and (row["reason"], row["version"]) == (CRASH, event.version_id or event.etag)
        and row["retry_at"] > now
    )


def _upload_to_row(photos: Sequence[ObjectEvent], stored: Set[str]) -> list[float]:
    """The seconds since the uploads that the events tell of; 0 where our clock is behind S3's."""
    now = datetime.now(UTC)
    return [
        max(0.0, (now - event.event_time).total_seconds())
        for event in photos
        if event.key in stored and _is_upload(event)
    ]


def _is_upload(event: ObjectEvent) -> bool:
    kind, _, how = event.event_name.partition(":")
    own = how in (RETRY, RECONCILIATION)
    return kind == "ObjectCreated" and not own and event.event_time > UNKNOWN_TIME


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

"""The micro-batch: from its object events to durable outcomes.

Independent of streaming: the caller acknowledges the events after :meth:`MicroBatches.handle` has
returned, and may pass the same ones in again at any time.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial

from common.layout import BucketLayout
from ingest.events import ObjectEvent, message, newest
from processor.errors import CommitConflict, Refused
from processor.photos import objects
from processor.pipeline.feature_store import FeatureStore, Settled
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work, of_kind
from processor.store.patience import patiently

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5  # at a photo that S3 cannot deliver
FIRST_RETRY_SECONDS = 60
MAX_DELAY_SECONDS = 900  # the longest that SQS delays a message
MAX_ROUNDS = 20  # of a micro-batch with another service that handles the same photos


class MicroBatches:
    """Handles the micro-batches of one store, one after the other. Used by one thread.

    ``extract`` does the work, in Spark tasks or in this process. ``send`` enqueues a message body
    with a delay in seconds.
    """

    def __init__(
        self,
        store: FeatureStore,
        layout: BucketLayout,
        extract: Callable[[Sequence[Work]], list[Extracted]],
        send: Callable[[str, int], object],
    ) -> None:
        self._store = store
        self._layout = layout
        self._extract = extract
        self._send = send

    def handle(self, events: Iterable[ObjectEvent], batch_id: int) -> Settled:
        """Make the outcome of every event durable; idempotent. ``batch_id`` is only recorded.

        Returns what the last of several rounds settled; see :attr:`.Settled.again`. Faults of AWS that
        may pass are waited out, see :func:`.patiently`. Raises whatever prevented that; no event may be
        acknowledged then, so all are redelivered.
        """
        photos = [event for event in newest(events).values() if self._is_photo(event)]
        for _ in range(MAX_ROUNDS):
            settled = self._settle(photos, batch_id)
            photos = [event for event in photos if event.key in settled.again]
            if not photos:
                return settled
        raise CommitConflict(
            f"other services contradicted {len(photos)} outcomes {MAX_ROUNDS} times"
        )

    def _settle(self, photos: Sequence[ObjectEvent], batch_id: int) -> Settled:
        began = time.monotonic()
        patiently(self._store.features.refresh)
        planned_on = self._store.features.table_version
        results = self._extract(self._plan(photos))
        self._retry_later(results, photos)
        settled = patiently(
            lambda: self._store.settle(results, planned_on, self._is_current, {"batch": batch_id})
        )
        self._report(settled, results, batch_id, len(photos), time.monotonic() - began)
        return settled

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

    def _is_current(self, outcome: Outcome) -> bool:
        """Whether S3 is still as ``outcome`` found it. Raises :class:`Unavailable`."""
        try:
            version = objects.current_version(self._layout.bucket, outcome.key)
        except Refused:
            return outcome.kind is Kind.REJECTED
        return version == (None if outcome.kind is Kind.GONE else outcome.object_version or None)

    def _retry_later(self, results: Sequence[Extracted], photos: Sequence[ObjectEvent]) -> None:
        """Re-enqueue the events of photos that S3 could not deliver, with exponential backoff."""
        failed = {each.key: each.object_version for each in of_kind(results, Kind.UNAVAILABLE)}
        if not failed:
            return
        tried = self._store.attempts(failed)
        for event in photos:
            attempts = tried.get(event.key, 0) + 1
            if event.key in failed and attempts < MAX_ATTEMPTS:
                delay = min(MAX_DELAY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (attempts - 1))
                patiently(partial(self._send, message([event]), delay))

    @staticmethod
    def _report(
        settled: Settled, results: Sequence[Extracted], batch_id: int, photos: int, seconds: float
    ) -> None:
        log.info(
            "micro-batch durable",
            extra={
                "batch": batch_id,
                "photos": photos,
                **asdict(settled),
                "again": len(settled.again),
                "seconds": round(seconds, 3),
                "photos_per_s": round(photos / seconds, 2),
            },
        )
        for outcome in of_kind(results, Kind.REJECTED, Kind.UNAVAILABLE):
            log.warning(
                "photo rejected",
                extra={"key": outcome.key, "reason": outcome.reason, "detail": outcome.detail},
            )
